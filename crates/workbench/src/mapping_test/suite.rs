//! `routes.test.toml`: text to cases and invariants, or every mistake in the file at once.

mod table;

use std::ops::Range;

use policy::decision::Verdict;
use policy::diagnostic::{Diagnostic, Diagnostics, Syntax};
use policy::mapping::Row;
use policy::mapping::reader::Reader;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::table::{caller_table, sent_body};
use super::caller::Caller;
use super::judge::{Answer, Body, Decided, Under, steps_up};
use super::names::{GrantName, Names};
use super::requests::{Mistake, Selected, Selector};
use super::{TestFile, World};
use crate::explanation::answer::Ending;

const TOP_KEYS: [&str; 7] = ["version", "registry", "callers", "case", "never", "always", "only"];
const CASE_KEYS: [&str; 6] = ["as", "under", "json", "form", "body", "because"];
const INVARIANT_KEYS: [&str; 7] = ["who", "reaches", "under", "json", "form", "body", "because"];
const ONLY_KEYS: [&str; 2] = ["under", "because"];

/// The outcome that a case must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Is(Answer),
    /// The gate forwards it, and Console asks for TOTP.
    StepUp,
}

impl Expect {
    const WORDS: [(&'static str, Expect); 9] = [
        ("allow", Expect::Is(Answer::Ends(Ending::Allow))),
        ("deny", Expect::Is(Answer::Ends(Ending::Deny))),
        ("login", Expect::Is(Answer::Ends(Ending::Login))),
        ("step-up", Expect::StepUp),
        ("400", Expect::Is(Answer::Refused)),
        ("401", Expect::Is(Answer::Ends(Ending::Unauthorized))),
        ("403", Expect::Is(Answer::Ends(Ending::Unknown))),
        ("404", Expect::Is(Answer::Ends(Ending::Quiet))),
        ("410", Expect::Is(Answer::Ends(Ending::Gone))),
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        Expect::WORDS.into_iter().find(|(_, expect)| *expect == self).map_or("", |(word, _)| word)
    }

    /// Whether an answer is as expected.
    pub fn holds(self, decided: &Decided) -> bool {
        match self {
            Expect::Is(answer) => decided.answer == answer,
            Expect::StepUp => decided.steps_up,
        }
    }

    /// The same for a verdict about a row.
    pub(super) fn holds_for(self, verdict: &Verdict, row: Option<&Row>) -> bool {
        match self {
            Expect::Is(answer) => Answer::of(verdict) == answer,
            Expect::StepUp => steps_up(verdict, row),
        }
    }
}

/// One caller, the requests of one selector, and the outcome that each of them must have.
#[derive(Clone, Debug)]
pub struct Case {
    pub caller: Caller,
    pub under: Under,
    pub body: Body,
    /// As written.
    pub selector: String,
    pub requests: Selected,
    pub expect: Expect,
    /// The place of the expectation in the file.
    pub span: Range<usize>,
    pub because: Option<String>,
}

/// The kinds of invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InvariantKind {
    Never,
    Always,
    Only,
}

impl InvariantKind {
    /// The table of the file.
    pub const fn word(self) -> &'static str {
        match self {
            InvariantKind::Never => "never",
            InvariantKind::Always => "always",
            InvariantKind::Only => "only",
        }
    }
}

/// The callers of an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// For `never`, this caller; for `always`, every caller that holds at least this.
    Caller(Caller),
    /// Every possible caller that holds none of these.
    Without(Vec<GrantName>),
}

/// A statement about all possible callers and requests.
#[derive(Clone, Debug)]
pub struct Invariant {
    pub kind: InvariantKind,
    pub who: Vec<Who>,
    pub under: Under,
    pub body: Body,
    pub selector: String,
    pub requests: Selected,
    pub span: Range<usize>,
    pub because: Option<String>,
}

/// The registry that a test file names, read before anything else of it; `None` also for a file that is not sound.
pub fn registry_of(source: &str) -> Option<String> {
    let (document, _) = DeTable::parse_recoverable(source);
    match document.get_ref().get("registry")?.get_ref() {
        DeValue::String(name) => Some(name.to_string()),
        _ => None,
    }
}

/// Reads a test file against the names of `world`.
pub(super) fn read(path: &str, source: &str, world: &World<'_>) -> Result<TestFile, Diagnostics> {
    let (document, errors) = DeTable::parse_recoverable(source);
    let mut reader = Reader::default();
    match Syntax::of(source, &errors) {
        Syntax::Sound => {}
        Syntax::Repeats(repeats) => reader.findings.extend(repeats),
        Syntax::Broken(cause) => return Err(Diagnostics::new(path, source, vec![cause])),
    }
    let mut suite = Suite {
        reader,
        names: Names::new(world.mapping, world.catalog, world.people),
        selector: Selector::new(world.mapping, world.policy),
        cases: Vec::new(),
        invariants: Vec::new(),
    };
    suite.document(document.get_ref(), document.span());
    if suite.reader.findings.is_empty() {
        Ok(TestFile {
            path: path.to_owned(),
            source: source.into(),
            cases: suite.cases,
            invariants: suite.invariants,
        })
    } else {
        Err(Diagnostics::new(path, source, suite.reader.findings))
    }
}

/// The part of a file that has been read.
pub(super) struct Suite<'a> {
    reader: Reader,
    names: Names<'a>,
    selector: Selector<'a>,
    cases: Vec<Case>,
    invariants: Vec<Invariant>,
}

impl Suite<'_> {
    fn document(&mut self, root: &DeTable<'_>, whole: Range<usize>) {
        self.reader.no_unknown_keys(root, &TOP_KEYS, "the top level");
        match root.get("version").map(|value| (value.get_ref(), value.span())) {
            Some((DeValue::Integer(number), _)) if number.as_str() == "1" => {}
            Some((_, span)) => {
                self.reader.report(Diagnostic::new("unknown-version", span, "`version` must be 1"));
            }
            None => self.reader.report(
                Diagnostic::new("missing-version", whole.start..whole.start, "`version` is missing")
                    .suggest("begin the file with `version = 1`"),
            ),
        }
        if let Some(registry) = root.get("registry") {
            self.reader.string(registry, "registry");
        }
        if let Some(callers) = root.get("callers") {
            self.callers(callers);
        }
        for table in self.tables(root, "case") {
            self.case(table);
        }
        for (word, kind) in [("never", InvariantKind::Never), ("always", InvariantKind::Always)] {
            for table in self.tables(root, word) {
                self.invariant(kind, table);
            }
        }
        for table in self.tables(root, "only") {
            self.only(table);
        }
        self.cases.sort_by_key(|case| case.span.start);
        self.invariants.sort_by_key(|invariant| invariant.span.start);
    }

    /// The tables of `[[word]]`.
    fn tables<'t, 'i>(&mut self, root: &'t DeTable<'i>, word: &str) -> Vec<&'t Spanned<DeValue<'i>>> {
        match root.get(word).map(|value| (value, value.get_ref())) {
            None => Vec::new(),
            Some((_, DeValue::Array(items))) if items.iter().all(|item| item.get_ref().is_table()) => {
                items.iter().collect()
            }
            Some((value, _)) => {
                let message = format!("`{word}` must be a list of tables");
                let help = format!("write `[[{word}]]`");
                self.reader.report(Diagnostic::new("wrong-type", value.span(), message).suggest(help));
                Vec::new()
            }
        }
    }

    fn callers(&mut self, value: &Spanned<DeValue<'_>>) {
        let Some(table) = self.reader.table(value, "callers") else { return };
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            if super::names::WORDS.contains(&name) || name.contains(':') {
                let message = format!("`{name}` cannot name a caller: it has a meaning of its own");
                self.reader.report(Diagnostic::new("ambiguous-name", key.span(), message));
            } else if self.names.grant(name).is_ok() {
                let message = format!("`{name}` is a group, role or legacy role already");
                self.reader.report(
                    Diagnostic::new("ambiguous-name", key.span(), message)
                        .suggest("name the caller differently"),
                );
            } else if let Some(table) = self.reader.table(value, "a caller")
                && let Some(caller) = caller_table(&mut self.reader, &self.names, table)
            {
                self.names.callers.insert(name.to_owned(), caller);
            }
        }
    }

    fn case(&mut self, value: &Spanned<DeValue<'_>>) {
        let Some(table) = self.reader.table(value, "a case") else { return };
        self.selectors_or_known(table, &CASE_KEYS, "a case");
        let Some(given) = table.get("as") else {
            let missing = Diagnostic::new("missing-key", value.span(), "the case does not name its caller");
            return self.reader.report(missing.suggest("add `as = \"...\"`"));
        };
        let (under, because) = self.terms(table);
        let body = sent_body(&mut self.reader, table).unwrap_or(Body::Every);
        let is_list = given.get_ref().is_array();
        let callers = self.each(given, "as", Self::caller);
        let mut is_empty = true;
        for (key, value) in selectors(table, &CASE_KEYS) {
            is_empty = false;
            let text = key.get_ref().as_ref();
            let Some(requests) = self.requests(text, key.span()) else { continue };
            for (caller, expect, span) in self.expectations(value, &callers, is_list) {
                self.cases.push(Case {
                    caller,
                    under,
                    body: body.clone(),
                    selector: text.to_owned(),
                    requests: requests.clone(),
                    expect,
                    span,
                    because: because.clone(),
                });
            }
        }
        if is_empty {
            let missing = Diagnostic::new("no-request", value.span(), "the case has no request");
            self.reader.report(missing.suggest("add \"GET /path\" = \"allow\""));
        }
    }

    /// Each caller with its expectation: one for all, or a list with one for each caller of `as`.
    fn expectations(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        callers: &[Caller],
        is_list: bool,
    ) -> Vec<(Caller, Expect, Range<usize>)> {
        let DeValue::Array(items) = value.get_ref() else {
            let Some(expect) = self.reader.word(value, "an expectation", &Expect::WORDS) else {
                return Vec::new();
            };
            return callers.iter().map(|caller| (caller.clone(), expect, value.span())).collect();
        };
        if !is_list || items.len() != callers.len() {
            let message = format!("{} expectations for {} callers", items.len(), callers.len());
            self.reader.report(
                Diagnostic::new("length-mismatch", value.span(), message)
                    .suggest("write one expectation for each caller of `as`, or one for all"),
            );
            return Vec::new();
        }
        let mut all = Vec::new();
        for (item, caller) in items.iter().zip(callers) {
            let expect = self.reader.word(item, "an expectation", &Expect::WORDS);
            all.extend(expect.map(|expect| (caller.clone(), expect, item.span())));
        }
        all
    }

    fn invariant(&mut self, kind: InvariantKind, value: &Spanned<DeValue<'_>>) {
        let Some(table) = self.reader.table(value, "an invariant") else { return };
        self.reader.no_unknown_keys(table, &INVARIANT_KEYS, "an invariant");
        for key in ["who", "reaches"].into_iter().filter(|key| !table.contains_key(*key)) {
            let message = format!("the invariant does not name `{key}`");
            self.reader.report(Diagnostic::new("missing-key", value.span(), message));
        }
        let (Some(who), Some(reaches)) = (table.get("who"), table.get("reaches")) else { return };
        let (under, because) = self.terms(table);
        let usual = if kind == InvariantKind::Always { Body::EveryReadable } else { Body::Every };
        let body = sent_body(&mut self.reader, table).unwrap_or(usual);
        let who = match who.get_ref() {
            DeValue::Table(_) => self.without(kind, who).into_iter().collect(),
            _ => self.each(who, "who", |suite, value| suite.caller(value).map(Who::Caller)),
        };
        let selectors = self.each(reaches, "reaches", |suite, value| {
            suite.reader.string(value, "reaches").map(|text| (text, value.span()))
        });
        for (selector, span) in selectors {
            let Some(requests) = self.requests(&selector, span.clone()) else { continue };
            let (who, body, because) = (who.clone(), body.clone(), because.clone());
            self.invariants.push(Invariant { kind, who, under, body, selector, requests, span, because });
        }
    }

    /// `{ not = ["group:a", "legacy:b"] }`.
    fn without(&mut self, kind: InvariantKind, value: &Spanned<DeValue<'_>>) -> Option<Who> {
        let table = self.reader.table(value, "who")?;
        self.reader.no_unknown_keys(table, &["not"], "`who`");
        let Some(not) = table.get("not") else {
            let missing =
                Diagnostic::new("missing-key", value.span(), "`who` does not name what is not held");
            self.reader.report(missing.suggest("write `who = { not = [\"group:NAME\"] }`, or a caller"));
            return None;
        };
        if kind == InvariantKind::Always {
            let message = "`always` is about callers that hold something: name them";
            self.reader.report(Diagnostic::new("wrong-type", value.span(), message));
            return None;
        }
        Some(Who::Without(self.each(not, "not", Self::grant)))
    }

    fn only(&mut self, value: &Spanned<DeValue<'_>>) {
        let Some(table) = self.reader.table(value, "an invariant") else { return };
        self.selectors_or_known(table, &ONLY_KEYS, "`[[only]]`");
        let (under, because) = self.terms(table);
        for (key, value) in selectors(table, &ONLY_KEYS) {
            let span = key.span().start..value.span().end;
            let Some(requests) = self.requests(key.get_ref(), key.span()) else { continue };
            let grants = self.each(value, "only", Self::grant);
            self.invariants.push(Invariant {
                kind: InvariantKind::Only,
                who: vec![Who::Without(grants)],
                under,
                body: Body::Every,
                selector: key.get_ref().to_string(),
                requests,
                span,
                because: because.clone(),
            });
        }
    }

    /// Reports the keys that are neither known nor a selector.
    fn selectors_or_known(&mut self, table: &DeTable<'_>, known: &[&str], place: &str) {
        let mut others = DeTable::new();
        for (key, value) in table.iter().filter(|(key, _)| !Selector::is_selector(key.get_ref())) {
            others.insert(key.clone(), value.clone());
        }
        self.reader.no_unknown_keys(&others, known, place);
    }

    /// `under` and `because`.
    fn terms(&mut self, table: &DeTable<'_>) -> (Under, Option<String>) {
        let under = table.get("under").and_then(|value| self.reader.word(value, "under", &Under::WORDS));
        let because = table.get("because").and_then(|value| self.reader.string(value, "because"));
        (under.unwrap_or_default(), because)
    }

    /// The value, or each item of it, if it is a list.
    fn each<T>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        mut read: impl FnMut(&mut Self, &Spanned<DeValue<'_>>) -> Option<T>,
    ) -> Vec<T> {
        match value.get_ref() {
            DeValue::Array(items) if items.is_empty() => {
                self.reader.report(Diagnostic::new("empty-list", value.span(), format!("`{what}` is empty")));
                Vec::new()
            }
            DeValue::Array(items) => items.iter().filter_map(|item| read(self, item)).collect(),
            _ => read(self, value).into_iter().collect(),
        }
    }

    /// A caller by its name or as a table.
    fn caller(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Caller> {
        if let DeValue::Table(table) = value.get_ref() {
            return caller_table(&mut self.reader, &self.names, table);
        }
        let text = self.reader.string(value, "a caller")?;
        let found = self.names.caller(&text);
        self.named(found, value.span())
    }

    fn grant(&mut self, value: &Spanned<DeValue<'_>>) -> Option<GrantName> {
        let text = self.reader.string(value, "a group or role")?;
        let found = self.names.grant(&text);
        self.named(found, value.span())
    }

    fn requests(&mut self, text: &str, span: Range<usize>) -> Option<Selected> {
        let found = self.selector.select(text);
        self.named(found, span)
    }

    fn named<T>(&mut self, found: Result<T, Mistake>, span: Range<usize>) -> Option<T> {
        table::named(&mut self.reader, found, span)
    }
}

/// The selectors of a table, in the order of the file.
fn selectors<'t, 'i>(
    table: &'t DeTable<'i>,
    keys: &[&str],
) -> Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
    let mut all: Vec<_> = table
        .iter()
        .filter(|(key, _)| !keys.contains(&key.get_ref().as_ref()) && Selector::is_selector(key.get_ref()))
        .collect();
    all.sort_by_key(|(key, _)| key.span().start);
    all
}
