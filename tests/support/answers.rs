//! `tests/data/upstream/answers.toml`: what an upstream server answers, and what the client gets of it.

use serde::Deserialize;
use std::collections::BTreeMap;

/// A server's answer.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// `section: name`.
    pub(crate) name: String,
    /// Up to the end of the final head.
    pub(crate) head: Vec<u8>,
    /// What is sent together with it.
    pub(crate) body: Vec<u8>,
    /// What is sent when the client has its answer.
    pub(crate) later: Vec<u8>,
    pub(crate) end: End,
    client: Vec<Outcome>,
    to_head: Vec<Outcome>,
    reuse: Option<bool>,
    /// Fields as `name: value`: all of these names, in this order.
    pub(crate) has: Vec<(String, Vec<u8>)>,
    pub(crate) lacks: Vec<String>,
    methods: Vec<Method>,
}

/// The state of the server's connection after it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    Closed,
    Reset,
}

/// The request that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    /// A GET that asks for a WebSocket.
    Upgrade,
}

/// What the client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The whole answer.
    Pass(u16, Vec<u8>),
    /// At most so much of it, and then the end of the connection; or a refusal.
    Cut(u16, Vec<u8>),
    /// An answer of the gate's.
    Refuse(u16),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    head: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    later: String,
    #[serde(default)]
    close: bool,
    #[serde(default)]
    reset: bool,
    client: OneOrMore,
    to_head: Option<OneOrMore>,
    reuse: Option<bool>,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
    methods: Option<Vec<Method>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn outcomes(&self) -> Vec<Outcome> {
        match self {
            OneOrMore::One(one) => vec![outcome(one)],
            OneOrMore::More(more) => more.iter().map(|one| outcome(one)).collect(),
        }
    }
}

/// Every case of the file's text, in the order of sections and names.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    let sections: BTreeMap<String, BTreeMap<String, Written>> =
        toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let named = sections.into_iter().flat_map(|(section, cases)| {
        cases.into_iter().map(move |(name, written)| Case::new(format!("{section}: {name}"), &written))
    });
    named.collect()
}

impl Case {
    /// An answer that passes, and after which the connection is kept.
    pub(crate) fn whole(name: &str, head: &[u8], body: &[u8], data: &[u8]) -> Case {
        Case {
            name: name.to_owned(),
            head: head.to_vec(),
            body: body.to_vec(),
            later: Vec::new(),
            end: End::Open,
            client: vec![Outcome::Pass(200, data.to_vec())],
            to_head: Vec::new(),
            reuse: None,
            has: Vec::new(),
            lacks: Vec::new(),
            methods: vec![Method::Get],
        }
    }

    fn new(name: String, written: &Written) -> Case {
        let client = written.client.outcomes();
        // An answer to a HEAD ends with its head: there is nothing to cut.
        let derived = client.iter().map(|outcome| match outcome {
            Outcome::Pass(status, _) | Outcome::Cut(status, _) => Outcome::Pass(*status, Vec::new()),
            Outcome::Refuse(status) => Outcome::Refuse(*status),
        });
        let has = written.has.iter().map(|field| {
            let (name, value) = field.split_once(": ").unwrap_or_else(|| panic!("{name}: no field: {field}"));
            (name.to_owned(), bytes(value))
        });
        Case {
            to_head: written.to_head.as_ref().map_or_else(|| derived.collect(), OneOrMore::outcomes),
            has: has.collect(),
            head: bytes(&written.head),
            body: bytes(&written.body),
            later: bytes(&written.later),
            end: match (written.close, written.reset) {
                (_, true) => End::Reset,
                (true, false) => End::Closed,
                (false, false) => End::Open,
            },
            client,
            reuse: written.reuse,
            lacks: written.lacks.clone(),
            methods: written.methods.clone().unwrap_or(vec![Method::Get, Method::Head, Method::Post]),
            name,
        }
    }

    /// Whether it is an answer to such a request.
    pub(crate) fn answers(&self, method: Method) -> bool {
        self.methods.contains(&method)
    }

    /// What the client may get.
    pub(crate) fn outcomes(&self, method: Method) -> &[Outcome] {
        if method == Method::Head { &self.to_head } else { &self.client }
    }

    /// Whether the server's connection carries another request; `None`: it may.
    pub(crate) fn reuse(&self, method: Method) -> Option<bool> {
        let passes = |outcome: &Outcome| matches!(outcome, Outcome::Pass(..));
        if method == Method::Head || !self.outcomes(method).iter().any(passes) {
            return Some(false);
        }
        self.reuse
    }
}

fn outcome(text: &str) -> Outcome {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (status, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let number = || status.parse().unwrap_or_else(|_| panic!("no status: {text}"));
    match verb {
        "pass" => Outcome::Pass(number(), bytes(body)),
        "cut" => Outcome::Cut(number(), bytes(body)),
        "refuse" if status.is_empty() => Outcome::Refuse(502),
        "refuse" => Outcome::Refuse(number()),
        _ => panic!("no outcome: {text}"),
    }
}

/// `|` is CRLF, `<3*ab>` is `ababab`, a character is the byte of its number.
fn bytes(text: &str) -> Vec<u8> {
    let characters: Vec<char> = text.chars().collect();
    let (bytes, rest) = until_end(&characters, false);
    assert!(rest.is_empty(), "a repetition ends that has not begun: {text}");
    bytes
}

/// Up to the end of the text, or of the repetition, and what follows.
fn until_end(mut text: &[char], is_repeated: bool) -> (Vec<u8>, &[char]) {
    let mut bytes = Vec::new();
    while let [first, rest @ ..] = text {
        text = rest;
        match first {
            '|' => bytes.extend(b"\r\n"),
            '>' if is_repeated => return (bytes, rest),
            '<' => match repetition(rest) {
                Some((count, within)) => {
                    let (part, after) = until_end(within, true);
                    bytes.extend(part.repeat(count));
                    text = after;
                }
                None => bytes.push(b'<'),
            },
            other => bytes.push(u8::try_from(*other).unwrap_or_else(|_| panic!("no byte: {other}"))),
        }
    }
    assert!(!is_repeated, "a repetition has no end");
    (bytes, text)
}

/// `3*`, and what follows it.
fn repetition(text: &[char]) -> Option<(usize, &[char])> {
    let star = text.iter().position(|character| *character == '*')?;
    let count: String = text[..star].iter().collect();
    Some((count.parse().ok()?, &text[star + 1..]))
}
