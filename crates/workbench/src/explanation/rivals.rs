//! The rows that could have answered, and why each did not.

use policy::mapping::matcher::{Candidate, Fit, Lead};
use policy::mapping::pattern::Precedence;
use policy::mapping::{Mapping, Row};
use policy::method::Method;
use serde::Serialize;

use super::place::line_of;

/// A row whose pattern also fits the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rival {
    pub route: String,
    pub line: usize,
    #[serde(flatten)]
    pub lost: Lost,
}

/// Why a row does not answer, in Werkzeug's terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "lost", rename_all = "snake_case")]
pub enum Lost {
    /// It does not serve the method.
    OtherMethod { serves: String },
    /// At the first place where they differ, the winner has a static segment and this row has variables.
    StaticFirst { segment: String, part: String },
    /// At the first place where they differ, both have variables, and the winner's part is tried first.
    Weight { part: String, winner: String, by: Precedence },
    /// Its value is out of range. The search ends there: no exact row answers.
    OutOfRange { variable: String, value: String },
    /// It would have come after a row whose value is out of range.
    SearchEnded { at: String },
    /// It requires a slash at the end of the path, and the winner answers without one.
    StrictSlash,
    /// It is a prefix, and an exact row answers.
    Prefix,
    /// It is a shorter prefix than the winner.
    ShorterPrefix,
    /// It comes after the winner in the file, and nothing else distinguishes them.
    Order,
}

/// Every row except `winner` that `path` fits, in the order of the search.
pub(super) fn rivals(mapping: &Mapping, path: &str, method: Method, winner: Option<&Row>) -> Vec<Rival> {
    let candidates = mapping.candidates(path);
    let is_winner = |row: &Row| winner.is_some_and(|winner| winner.offset == row.offset);
    let won = candidates.iter().find(|(row, _)| is_winner(row)).map(|(_, candidate)| candidate);
    // The first exact row with the method stops the search, whether it matches or not.
    let stop = candidates.iter().find(|(_, one)| one.fit != Fit::Prefix && one.stops(method));
    let ended = stop.filter(|(_, one)| one.ends_search(method)).map(|(row, one)| (*row, one.rule));
    let rival = |(row, candidate): &(&Row, Candidate<'_>)| Rival {
        route: row.route.to_string(),
        line: line_of(mapping, row),
        lost: lost(row, candidate, method, won, ended),
    };
    candidates.iter().filter(|(row, _)| !is_winner(row)).map(rival).collect()
}

fn lost(
    row: &Row,
    candidate: &Candidate<'_>,
    method: Method,
    won: Option<&Candidate<'_>>,
    ended: Option<(&Row, usize)>,
) -> Lost {
    if !candidate.stops(method) {
        return Lost::OtherMethod { serves: row.methods.to_string() };
    }
    match (candidate.fit, ended, won) {
        (Fit::Prefix, _, Some(Candidate { fit: Fit::Prefix, .. })) => Lost::ShorterPrefix,
        (Fit::Prefix, ..) => Lost::Prefix,
        (_, Some((_, rule)), _) if rule == candidate.rule => {
            let (variable, value) = candidate.out_of_range.unwrap_or_default();
            Lost::OutOfRange { variable: variable.to_owned(), value: value.to_owned() }
        }
        (_, Some((at, _)), _) => Lost::SearchEnded { at: at.route.to_string() },
        (_, None, Some(won)) => match won.lead_over(candidate) {
            Lead::Static { segment, part } => Lost::StaticFirst { segment, part },
            Lead::Weight { lighter, heavier, by } => Lost::Weight { part: heavier, winner: lighter, by },
            Lead::Slash => Lost::StrictSlash,
            Lead::Order => Lost::Order,
        },
        (_, None, None) => Lost::Order,
    }
}

impl Lost {
    /// The reason in words.
    pub fn in_words(&self) -> String {
        match self {
            Lost::OtherMethod { serves } => format!("it serves {serves}"),
            Lost::StaticFirst { segment, part } => {
                format!("the segment `{segment}` takes precedence over its part `{part}`")
            }
            Lost::Weight { part, winner, by } => {
                format!("the part `{winner}` takes precedence over its part `{part}`: {}", by_in_words(*by))
            }
            Lost::OutOfRange { variable, value } => format!(
                "{value} is out of the range of `{variable}`, which ends the search: no exact row matches"
            ),
            Lost::SearchEnded { at } => format!("the search ended before it, at `{at}`"),
            Lost::StrictSlash => "it requires a trailing slash".to_owned(),
            Lost::Prefix => "a prefix matches only if no exact row does".to_owned(),
            Lost::ShorterPrefix => "a longer prefix matches".to_owned(),
            Lost::Order => "it comes later in the file".to_owned(),
        }
    }
}

fn by_in_words(by: Precedence) -> String {
    match by {
        Precedence::MoreLiterals => "it has more fixed text".to_owned(),
        Precedence::LongerLiterals => "its fixed text is longer".to_owned(),
        Precedence::MoreVariables => "it has more variables".to_owned(),
        Precedence::LighterConverter { weight, other } => {
            format!("its converter has a lower weight ({weight} < {other})")
        }
    }
}
