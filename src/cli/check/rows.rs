//! Findings in the access tables: rows that cannot be used.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::rbac::census::BREAK_GLASS;
use policy::rbac::flaw::{Flaw, FlawKind};
use workbench::report::{Finding, rules};

/// At most this many names are listed for rows of one kind; the others are counted.
const MOST_NAMES: usize = 5;

/// One finding for each word in a column, with the holders of all its rows; the most severe first.
pub(super) fn findings(flaws: &[Flaw]) -> Vec<Finding> {
    let mut alike: BTreeMap<Flaw, Vec<&Flaw>> = BTreeMap::new();
    for flaw in flaws {
        alike.entry(Flaw { holder: None, ..flaw.clone() }).or_default().push(flaw);
    }
    let finding = |(flaw, rows): (&Flaw, &Vec<&Flaw>)| {
        let id = flaw.kind.word();
        let suggestion = rules::rule(id).map(|rule| rule.help.to_owned());
        Finding { suggestion, ..Finding::new(id, None, message(flaw, rows)) }
    };
    let mut findings: Vec<Finding> = alike.iter().map(finding).collect();
    findings.sort_by_key(|finding| finding.level);
    findings
}

/// The finding about the members of the break-glass group, if there are any.
pub(super) fn standing(members: &[Arc<str>]) -> Option<Finding> {
    const ID: &str = "standing-break-glass";
    let (first, _) = members.split_first()?;
    let others = match members.len() - 1 {
        0 => " is a member".to_owned(),
        more => format!(" and {more} more are members"),
    };
    let message = format!("`{first}`{others} of `{BREAK_GLASS}`: a membership grants none of its roles");
    let suggestion = rules::rule(ID).map(|rule| rule.help.to_owned());
    Some(Finding { suggestion, ..Finding::new(ID, None, message) })
}

fn message(flaw: &Flaw, rows: &[&Flaw]) -> String {
    let outcome = match flaw.kind {
        FlawKind::MalformedRole | FlawKind::Dangling => "it grants nothing",
        FlawKind::Unusable => "it allows nothing",
        FlawKind::Misspelt => "it has no effect",
        FlawKind::NoLegacyRoles => "RBAC V2 rows work",
    };
    format!("{flaw}: {outcome}{}", about(rows))
}

/// The holders of the rows, as far as they are known.
fn about(rows: &[&Flaw]) -> String {
    let names: Vec<String> =
        rows.iter().filter_map(|row| row.holder.as_deref()).map(|name| format!("`{name}`")).collect();
    let named = names.len().min(MOST_NAMES);
    match (named, rows.len() - named) {
        (0, 1) => String::new(),
        (0, all) => format!(" ({all} rows)"),
        (_, 0) => format!(" ({})", names.join(", ")),
        (_, more) => format!(" ({} and {more} more)", names[..named].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(kind: FlawKind, word: Option<&str>, holder: Option<&str>) -> Flaw {
        let (word, holder) = (word.map(Into::into), holder.map(Into::into));
        Flaw { kind, table: "t".into(), column: "c".into(), word, holder }
    }

    #[test]
    fn rows_that_are_alike_are_reported_together() {
        let roles = ["a", "b", "c", "d", "e", "f", "g"];
        let mut flaws: Vec<Flaw> =
            roles.iter().map(|id| flaw(FlawKind::MalformedRole, Some("o ps"), Some(id))).collect();
        flaws.push(flaw(FlawKind::Dangling, Some("Anna"), None));
        flaws.push(flaw(FlawKind::Unusable, None, None));
        flaws.push(flaw(FlawKind::Unusable, None, None));
        flaws.push(flaw(FlawKind::Unusable, Some("soon"), Some("ben")));
        let messages: Vec<String> = findings(&flaws).into_iter().map(|finding| finding.message).collect();
        assert_eq!(
            messages,
            [
                "`t.c` is `o ps`, and a role is 1 to 64 characters without white space, commas and quotes: it grants \
                 nothing (`a`, `b`, `c`, `d`, `e` and 2 more)",
                "`t.c` is empty or cannot be read: it allows nothing (2 rows)",
                "`t.c` is `soon`, which is not a valid time: it allows nothing (`ben`)",
                "`t.c` is `Anna`, which does not exist: it grants nothing",
            ]
        );
    }
}
