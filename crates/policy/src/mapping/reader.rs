//! Reads TOML values as typed ones, with a finding for each value of another type. Every part of `routes.toml` is read
//! with it.

use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::pattern::SharedParts;
use crate::diagnostic::{Diagnostic, closest};
use crate::rbac::LegacyRole;
use crate::span::Unit;

/// Collects findings while it converts TOML values into typed ones.
#[derive(Default)]
pub struct Reader {
    /// The mistakes so far.
    pub findings: Vec<Diagnostic>,
    /// The syntax error; if there is one, no other finding counts.
    pub(super) broken: Option<Diagnostic>,
    /// The words of `legacy_roles`; `None` if the file does not declare them.
    pub(super) declared_roles: Option<BTreeSet<LegacyRole>>,
    /// Values that many rows share, stored once.
    pub(super) shared: SharedParts,
    pub(super) shared_roles: HashSet<Arc<BTreeSet<LegacyRole>>>,
}

impl Reader {
    /// Adds a finding.
    pub fn report(&mut self, finding: Diagnostic) {
        self.findings.push(finding);
    }

    /// Adds a suggestion to the last finding.
    pub(super) fn suggest_last(&mut self, suggestion: &str) {
        if let Some(last) = self.findings.pop() {
            self.findings.push(last.suggest(suggestion));
        }
    }

    /// Reports each key of a table that is not `known`.
    pub fn no_unknown_keys(&mut self, table: &DeTable<'_>, known: &[&str], place: &str) {
        for (key, _) in table.iter() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let mut finding =
                Diagnostic::new("unknown-key", key.span(), format!("`{name}` is not a key of {place}"));
            finding = match closest(name, known.iter().copied()) {
                _ if name.contains(" /") => {
                    finding.suggest("it looks like a route: these are in [blueprints.NAME.routes]")
                }
                Some(near) => finding.suggest(format!("did you mean `{near}`?")),
                None => finding.suggest(format!("known keys: {}", known.join(", "))),
            };
            self.report(finding);
        }
    }

    /// The table of a value.
    pub fn table<'t, 'i>(&mut self, value: &'t Spanned<DeValue<'i>>, what: &str) -> Option<&'t DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => self.wrong_type(value, what, "a table", other),
        }
    }

    /// [`Reader::table`], taken out of the document.
    pub(super) fn take_table<'i>(&mut self, value: Spanned<DeValue<'i>>, what: &str) -> Option<DeTable<'i>> {
        self.table(&value, what)?;
        match value.into_inner() {
            DeValue::Table(table) => Some(table),
            _ => None,
        }
    }

    /// [`Reader::string`] for a word that many rows share.
    pub(super) fn shared_string(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Option<Arc<str>> {
        self.text(value, what).map(|text| self.shared.text(text))
    }

    /// A non-empty text, owned.
    pub fn string(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Option<String> {
        self.text(value, what).map(str::to_owned)
    }

    /// A non-empty text.
    fn text<'t>(&mut self, value: &'t Spanned<DeValue<'_>>, what: &str) -> Option<&'t str> {
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Some(text),
            DeValue::String(_) => {
                self.report(Diagnostic::new("empty-string", value.span(), format!("`{what}` is empty")));
                None
            }
            other => self.wrong_type(value, what, "a string", other),
        }
    }

    /// A switch that may only be `true`: `public = false` would read as a promise that was never made.
    pub fn switch(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Option<()> {
        match value.get_ref() {
            DeValue::Boolean(true) => Some(()),
            DeValue::Boolean(false) => {
                self.report(
                    Diagnostic::new("false-switch", value.span(), format!("`{what} = false` has no meaning"))
                        .suggest(format!("remove `{what}`")),
                );
                None
            }
            other => self.wrong_type(value, what, "`true`", other),
        }
    }

    /// The meaning of one of `words`.
    pub fn word<T: Copy>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(value, what)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let mut finding = Diagnostic::new(
            "unknown-word",
            value.span(),
            format!("`{text}` is not one of {}", known.join(", ")),
        );
        if let Some(near) = closest(&text.to_lowercase(), known) {
            finding = finding.suggest(format!("did you mean `{near}`?"));
        }
        self.report(finding);
        None
    }

    /// A list of texts, each with its place.
    pub fn strings(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Option<Vec<Spanned<String>>> {
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong_type(value, what, "a list of strings", value.get_ref());
        };
        let texts: Vec<Option<Spanned<String>>> = items
            .iter()
            .map(|item| self.string(item, what).map(|text| Spanned::new(item.span(), text)))
            .collect();
        texts.into_iter().collect()
    }

    /// A whole number within a range.
    pub fn integer(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let DeValue::Integer(number) = value.get_ref() else {
            return self.wrong_type(value, what, "an integer", value.get_ref());
        };
        let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let within = number.filter(|number| range.contains(number));
        if within.is_none() {
            let message = format!("`{what}` must be from {} to {}", range.start(), range.end());
            self.report(Diagnostic::new("out-of-range", value.span(), message));
        }
        within
    }

    /// A number in `unit`, or text with a unit of its own: `24h`.
    pub(super) fn time(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        unit: Unit,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let DeValue::String(text) = value.get_ref() else { return self.integer(value, what, range) };
        let count = match unit.count_in(text) {
            Ok(count) => u32::try_from(count).ok(),
            Err(mistake) => {
                let message = format!("`{what}` {mistake}");
                self.report(Diagnostic::new("wrong-type", value.span(), message));
                return None;
            }
        };
        let within = count.filter(|count| range.contains(count));
        if within.is_none() {
            let message =
                format!("`{what}` must be from {} to {} {}", range.start(), range.end(), unit.word());
            self.report(Diagnostic::new("out-of-range", value.span(), message));
        }
        within
    }

    fn wrong_type<T>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        wanted: &str,
        found: &DeValue<'_>,
    ) -> Option<T> {
        // `a row` is not a key.
        let what_in_words = if what.contains(' ') { what.to_owned() } else { format!("`{what}`") };
        let message = format!("{what_in_words} must be {wanted}, not {}", type_name(found));
        let finding = Diagnostic::new("wrong-type", value.span(), message);
        self.report(match written(what, wanted, found) {
            Some(written) => finding.suggest(format!("write `{written}`")),
            None => finding,
        });
        None
    }
}

/// The probable intended value, written with the expected type.
fn written(what: &str, wanted: &str, found: &DeValue<'_>) -> Option<String> {
    match (wanted, found) {
        ("a table", DeValue::String(_)) if what == "a row" => {
            Some("{ legacy = [\"...\"], role = \"...\" }".to_owned())
        }
        ("a list of strings", DeValue::String(text)) => Some(format!("{what} = [\"{text}\"]")),
        ("a string", DeValue::Integer(number)) => Some(format!("{what} = \"{}\"", number.as_str())),
        ("`true`", DeValue::String(text)) if text == "true" => Some(format!("{what} = true")),
        ("an integer", DeValue::String(text)) => {
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            (!digits.is_empty()).then(|| format!("{what} = {digits}"))
        }
        _ => None,
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A set of names without repetitions, for lists of roles in the file.
pub(super) fn distinct<T: Ord>(items: impl IntoIterator<Item = T>) -> Result<BTreeSet<T>, ()> {
    let mut set = BTreeSet::new();
    for item in items {
        if !set.insert(item) {
            return Err(());
        }
    }
    Ok(set)
}
