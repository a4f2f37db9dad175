//! Request bodies, and how a row's rules read them (docs/mapping.md, `when`; cutover design, AMBIGUOUS-4).
//!
//! A body meets a rule when the field is what the rule names. "V2 denies a body that the rules cannot read, and a request
//! without one: not the type, a field that is not there or given twice, a number in another than its shortest spelling"
//! (docs/mapping.md); an OPTIONS request is never read (docs/workbench.md, "Kinds of body"). "Texts are compared as they are", a
//! number by its only spelling, and what a comparison of texts could get wrong is unreadable: to Python `1` and `true`
//! are one (docs/decisions/0020). Where the documents are silent: `true` and `false` are compared by their names,
//! and what has no one value (null, a list, an object) cannot be read as the rule needs.

use std::collections::BTreeSet;

use crate::format::{Field, Rule};
use crate::random::Random;

pub const JSON: &str = "application/json";
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The JSON pointers that rules use.
pub const POINTERS: [&str; 4] = ["/target", "/deploy/env", "/list/0", "/a~1b"];
/// The form fields that rules use.
pub const FIELDS: [&str; 2] = ["target", "env name"];
/// The values that rules ask for.
pub const VALUES: [&str; 5] = ["prod", "30", "true", "a b", "1"];

/// A body, and what a reader can know of it.
#[derive(Clone, Debug)]
pub struct Body {
    /// What it is, for a person.
    pub what: String,
    pub content_type: Option<&'static str>,
    pub bytes: Vec<u8>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Json(Vec<(&'static str, Value)>),
    Form(Vec<(&'static str, String)>),
    Unreadable,
}

/// What a JSON field is.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    /// As it is spelled.
    Number(&'static str),
    Flag(bool),
    /// null, a list or an object, as it is spelled.
    Other(&'static str),
}

/// How a row's rules read a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    Unreadable,
    /// The numbers of the rules that it meets.
    Meets(BTreeSet<usize>),
}

impl Body {
    pub fn none() -> Body {
        Body {
            what: "no body".to_owned(),
            content_type: None,
            bytes: Vec::new(),
            content: Content::Unreadable,
        }
    }

    /// How these rules, all of JSON or all of forms, read it.
    pub fn read(&self, rules: &[Rule]) -> Reading {
        let mut met = BTreeSet::new();
        for (number, rule) in rules.iter().enumerate() {
            match self.meets(rule) {
                None => return Reading::Unreadable,
                Some(true) => {
                    met.insert(number);
                }
                Some(false) => {}
            }
        }
        Reading::Meets(met)
    }

    fn meets(&self, rule: &Rule) -> Option<bool> {
        match (&self.content, rule.field) {
            (Content::Json(fields), Field::Json(pointer)) => {
                let (_, value) = fields.iter().find(|(name, _)| *name == pointer)?;
                value.is(rule.equals)
            }
            (Content::Form(fields), Field::Form(name)) => {
                let (_, value) = fields.iter().find(|(field, _)| *field == name)?;
                Some(value == rule.equals)
            }
            _ => None,
        }
    }

    fn json(what: String, fields: Vec<(&'static str, Value)>) -> Body {
        let bytes = json_text(&fields).into_bytes();
        Body { what, content_type: Some(JSON), bytes, content: Content::Json(fields) }
    }

    fn form(what: String, fields: Vec<(&'static str, String)>) -> Body {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
        Body {
            what,
            content_type: Some(FORM),
            bytes: pairs.join("&").into_bytes(),
            content: Content::Form(fields),
        }
    }

    fn unreadable(what: &str, content_type: Option<&'static str>, text: &str) -> Body {
        Body {
            what: what.to_owned(),
            content_type,
            bytes: text.as_bytes().to_vec(),
            content: Content::Unreadable,
        }
    }
}

impl Value {
    fn is(&self, expected: &str) -> Option<bool> {
        match self {
            Value::Text(text) => Some(text == expected),
            // To Python `1` is `True`, which is spelled in another way.
            Value::Number("1") if expected == "true" => None,
            Value::Number(spelled) => is_only_spelling(spelled).then_some(*spelled == expected),
            Value::Flag(true) if expected == "1" => None,
            Value::Flag(flag) => Some(flag.to_string() == expected),
            Value::Other(_) => None,
        }
    }

    fn spelled(&self) -> String {
        match self {
            Value::Text(text) => format!("\"{text}\""),
            Value::Number(spelled) | Value::Other(spelled) => (*spelled).to_owned(),
            Value::Flag(flag) => flag.to_string(),
        }
    }
}

/// Whether a number is an integer, or the shortest fraction without an exponent.
fn is_only_spelling(spelled: &str) -> bool {
    let digits = spelled.strip_prefix('-').unwrap_or(spelled);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "1"));
    let is_plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain(whole) && is_plain(fraction) && !fraction.ends_with('0') && spelled != "-0"
}

/// The object whose fields are there, in their order.
fn json_text(fields: &[(&'static str, Value)]) -> String {
    let members: Vec<String> = fields
        .iter()
        .map(|(pointer, value)| {
            let value = value.spelled();
            match *pointer {
                "/target" => format!("\"target\": {value}"),
                "/deploy/env" => format!("\"deploy\": {{\"by\": \"me\", \"env\": {value}}}"),
                "/list/0" => format!("\"list\": [{value}, \"last\"]"),
                "/a~1b" => format!("\"a/b\": {value}"),
                other => panic!("no such pointer: {other}"),
            }
        })
        .collect();
    format!("{{\"first\": [1, {{\"target\": \"deep\"}}], {}}}", members.join(", "))
}

/// As a browser sends a form.
fn escaped(text: &str) -> String {
    text.replace(' ', "+").replace('/', "%2F")
}

/// Bodies that distinguish these rules, the rules of the rows that one request finds in two mappings: each rule met
/// alone, all of them, none, and what cannot be read.
pub fn about(rules: &[Rule], random: &mut Random) -> Vec<Body> {
    let mut bodies = vec![Body::none()];
    let of_json: Vec<Rule> =
        rules.iter().filter(|rule| matches!(rule.field, Field::Json(_))).cloned().collect();
    let of_form: Vec<Rule> =
        rules.iter().filter(|rule| matches!(rule.field, Field::Form(_))).cloned().collect();
    if !of_json.is_empty() {
        bodies.extend(json_bodies(&of_json, random));
    }
    if !of_form.is_empty() {
        bodies.extend(form_bodies(&of_form));
    }
    bodies
}

fn fields_of(rules: &[Rule]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = rules.iter().map(|rule| rule.field.name()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A value for each field: the rule's own where `met` has its number, else one that no rule asks for.
fn values(rules: &[Rule], met: impl Fn(&Rule) -> bool) -> Vec<(&'static str, String)> {
    fields_of(rules)
        .into_iter()
        .map(|name| {
            let rule = rules.iter().find(|rule| rule.field.name() == name && met(rule));
            (name, rule.map_or("something else", |rule| rule.equals).to_owned())
        })
        .collect()
}

fn as_json(values: Vec<(&'static str, String)>) -> Vec<(&'static str, Value)> {
    values.into_iter().map(|(name, value)| (name, Value::Text(value))).collect()
}

fn json_bodies(rules: &[Rule], random: &mut Random) -> Vec<Body> {
    let none = as_json(values(rules, |_| false));
    let one = random.pick(rules);
    let name = one.field.name();
    let with = |value: Value| {
        let mut fields = none.clone();
        for field in &mut fields {
            if field.0 == name {
                field.1 = value.clone();
            }
        }
        Body::json(format!("{name} is {}", value.spelled()), fields)
    };
    let mut bodies = vec![
        Body::json("no field as a rule has it".to_owned(), none.clone()),
        Body::json("each field as a rule has it".to_owned(), as_json(values(rules, |_| true))),
        Body::unreadable("broken JSON", Some(JSON), "{\"target\": \"prod\""),
        Body::unreadable("an empty body", Some(JSON), ""),
        Body::unreadable("no object", Some(JSON), "[\"prod\"]"),
        Body::unreadable("JSON of another type", Some("text/plain"), &json_text(&none)),
        // Not unreadable, for the row of the other mapping may ask for a form.
        Body::form("a form for JSON".to_owned(), vec![("target", "prod".to_owned())]),
        twin(&none, name),
        too_large(&none),
    ];
    // What is nearly the value that the rule asks for, and what is the same in another spelling.
    let near: &[Value] = match one.equals {
        "30" => &[
            Value::Number("30"),
            Value::Number("30.0"),
            Value::Number("3e1"),
            Value::Number("0.3E+2"),
            Value::Number("31"),
            Value::Number("30.5"),
            Value::Number("30.50"),
            Value::Number("-30"),
        ],
        "1" => &[
            Value::Number("1"),
            Value::Number("1.0"),
            Value::Number("10e-1"),
            Value::Flag(true),
            Value::Number("-1"),
        ],
        "true" => &[Value::Flag(true), Value::Flag(false), Value::Number("1"), Value::Other("null")],
        _ => &[
            Value::Other("null"),
            Value::Other("[\"prod\"]"),
            Value::Other("{\"prod\": true}"),
            Value::Number("31"),
            Value::Number("31.0"),
        ],
    };
    bodies.extend(near.iter().map(|value| with(value.clone())));
    bodies.push(with(Value::Text("PROD".to_owned())));
    for rule in rules {
        let fields = as_json(values(rules, |other| other == rule));
        bodies.push(Body::json(format!("{} is {}", rule.field.name(), rule.equals), fields));
    }
    let missing: Vec<_> = none.iter().filter(|(field, _)| *field != name).cloned().collect();
    bodies.push(if missing.is_empty() {
        Body::unreadable("the field is missing", Some(JSON), "{\"other\": 1}")
    } else {
        Body::json(format!("{name} is missing"), missing)
    });
    bodies
}

/// A field that comes twice, with two values: which one Console takes is Console's business.
fn twin(fields: &[(&'static str, Value)], name: &str) -> Body {
    let mut doubled = fields.to_vec();
    let (name, _) = *doubled.iter().find(|(field, _)| *field == name).expect("it is one of the fields");
    doubled.push((name, Value::Text("prod".to_owned())));
    Body::unreadable("a field that comes twice", Some(JSON), &json_text(&doubled))
}

/// Larger than what is read to decide, by its space alone.
fn too_large(fields: &[(&'static str, Value)]) -> Body {
    let text = format!("{}{}", json_text(fields), " ".repeat(70_000));
    Body::unreadable("a body of 70,000 bytes", Some(JSON), &text)
}

fn form_bodies(rules: &[Rule]) -> Vec<Body> {
    let none = values(rules, |_| false);
    let name = none[0].0;
    let twice = format!("{0}=x&{0}=prod", escaped(name));
    let mut bodies = vec![
        Body::form("no field as a rule has it".to_owned(), none.clone()),
        Body::form("each field as a rule has it".to_owned(), values(rules, |_| true)),
        Body::unreadable("an empty form", Some(FORM), ""),
        Body::unreadable("a form of another type", Some("text/plain"), "target=prod"),
        Body::json("JSON for a form".to_owned(), vec![("/target", Value::Text("prod".to_owned()))]),
        Body::unreadable("a field that comes twice", Some(FORM), &twice),
        Body::unreadable("the field is missing", Some(FORM), "other=1"),
    ];
    for rule in rules {
        let fields = values(rules, |other| other == rule);
        bodies.push(Body::form(format!("{} is {}", rule.field.name(), rule.equals), fields));
    }
    bodies
}
