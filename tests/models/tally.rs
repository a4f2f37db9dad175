//! What was compared, and what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::disagreement::{Disagreement, Report};

/// Counts of one run.
#[derive(Default)]
pub struct Tally {
    pairs: BTreeMap<Report, usize>,
    disagreements: BTreeMap<Report, usize>,
    /// The first disagreement of each sort, and how many there were.
    kinds: Vec<(Disagreement, usize)>,
    mappings: BTreeSet<String>,
    people: usize,
    keys: BTreeSet<&'static str>,
}

impl Tally {
    pub fn count(&mut self, report: Report) {
        *self.pairs.entry(report).or_default() += 1;
    }

    pub fn pairs(&self, report: Report) -> usize {
        self.pairs.get(&report).copied().unwrap_or_default()
    }

    pub fn met(&mut self, mapping: &str) {
        self.mappings.insert(mapping.to_owned());
        for key in KEYS {
            if mapping.contains(key) {
                self.keys.insert(key);
            }
        }
    }

    pub fn met_people(&mut self, number: usize) {
        self.people += number;
    }

    /// Notes disagreements; those of a new kind come back, one each.
    pub fn disagree(&mut self, found: &[Disagreement]) -> Vec<Disagreement> {
        let mut news = Vec::new();
        for one in found {
            *self.disagreements.entry(one.report).or_default() += 1;
            match self.kinds.iter_mut().find(|(known, _)| known.is_like(one)) {
                Some((_, count)) => *count += 1,
                None => {
                    self.kinds.push((one.clone(), 1));
                    news.push(one.clone());
                }
            }
        }
        news
    }

    pub fn total(&self) -> usize {
        self.disagreements.values().sum()
    }

    /// Each sort of disagreement with its count, a line each.
    pub fn sorts(&self) -> String {
        let lines =
            self.kinds.iter().map(|(one, count)| format!("{} ({}): {count}", one.report.name(), one.kind));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The keys of the format that no mapping had.
    pub fn missing_keys(&self) -> Vec<&'static str> {
        KEYS.into_iter().filter(|key| !self.keys.contains(key)).collect()
    }

    /// One line for a person.
    pub fn line(&self) -> String {
        let mut line = format!(
            "models: {} pairs of request and caller, {} mappings, {} people and machines; disagreements",
            self.pairs(Report::Gate),
            self.mappings.len(),
            self.people
        );
        for report in Report::ALL {
            let disagreements = self.disagreements.get(&report).copied().unwrap_or_default();
            write!(line, " {} {disagreements} of {},", report.name(), self.pairs(report))
                .expect("a string takes whatever is written");
        }
        line.trim_end_matches(',').to_owned()
    }
}

/// Every key and word of the format, as a file spells it.
const KEYS: [&str; 40] = [
    "unmapped = \"deny\"",
    "unmapped = \"forward\"",
    " = \"legacy\"",
    " = \"shadow\"",
    " = \"v2\"\n",
    "mode = \"v2\"",
    "groups = [",
    "percent = ",
    "cluster = ",
    "\nfreshness = \"push\"",
    "\"GET /",
    "\"* /",
    ",POST",
    "/*\" =",
    "<id>",
    "<int:n>",
    "<path:p>",
    "legacy = [",
    "role = ",
    "permission = ",
    "when = [{ json",
    "when = [{ form",
    "ticket = {",
    "undecided = ",
    "options = ",
    "decided = {",
    "machine_or_session = true",
    "machine = true",
    "public = true",
    "session = true",
    "upstream = true",
    "gone = true",
    "unauthenticated = \"401\"",
    "unauthenticated = \"403\"",
    "forbidden = \"302\"",
    "permission = [",
    ", freshness = \"",
    "totp = \"",
    "websocket = true",
    "rows = ",
];
