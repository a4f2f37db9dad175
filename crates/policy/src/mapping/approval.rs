//! `[approval]`: which groups people may ask to join, who approves that, and for how long at most.
//!
//! ```toml
//! [approval]
//! raxx-devops-team = { by = ["raxx-platform-admins"], quorum = 2, longest = "8h" }
//! [approval.edits]        # edits of groups, roles and permissions over the API wait for approval
//! by = ["raxx-platform-admins"]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::{Reader, distinct};
use crate::diagnostic::Diagnostic;
use crate::rbac::census::BREAK_GLASS;
use crate::span;

/// The rule for requesting membership of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRule {
    /// The groups whose members may approve.
    pub by: BTreeSet<Arc<str>>,
    /// The number of members that have to approve.
    pub quorum: u32,
    /// The longest time for which membership is granted.
    pub longest: TimeDelta,
    /// Where the group is named in the file, in bytes.
    pub(super) offset: usize,
}

impl ApprovalRule {
    /// Whether a member of `groups` may approve.
    pub fn allows(&self, groups: &BTreeSet<Arc<str>>) -> bool {
        !self.by.is_disjoint(groups)
    }
}

/// The rules by group.
pub type Approvals = BTreeMap<Arc<str>, ApprovalRule>;

pub(super) const KEYS: [&str; 3] = ["by", "quorum", "longest"];
/// The rule for edits, which are not granted for a limited time.
const EDITS: &str = "edits";
pub(super) const KEYS_OF_EDITS: [&str; 2] = ["by", "quorum"];
/// More approvers are not practical.
const MOST: u32 = 10;
/// The longest membership under a rule that does not specify one.
const LONGEST: TimeDelta = TimeDelta::hours(8);
/// The most that a rule may specify: a longer membership is not a temporary one.
const LONGEST_OF_ALL: TimeDelta = TimeDelta::days(366);

/// Every readable rule, and the one for edits; mistakes in the others are reported.
pub(super) fn approvals(reader: &mut Reader, root: &DeTable<'_>) -> (Approvals, Option<ApprovalRule>) {
    let (mut approvals, mut edits) = (Approvals::new(), None);
    let Some(value) = root.get("approval") else { return (approvals, edits) };
    let Some(table) = reader.table(value, "approval") else { return (approvals, edits) };
    for (name, value) in table.iter() {
        let group = name.get_ref().as_ref();
        if group == EDITS {
            edits = rule(reader, value, name.span().start, &KEYS_OF_EDITS);
            continue;
        }
        if group == BREAK_GLASS {
            reader.report(
                Diagnostic::new(
                    "bad-approval",
                    name.span(),
                    format!("`{BREAK_GLASS}` is not asked for: its roles come with a session alone"),
                )
                .suggest("remove the line"),
            );
        }
        if let Some(rule) = rule(reader, value, name.span().start, &KEYS) {
            approvals.insert(group.into(), rule);
        }
    }
    (approvals, edits)
}

fn rule(
    reader: &mut Reader,
    value: &Spanned<DeValue<'_>>,
    offset: usize,
    keys: &[&str],
) -> Option<ApprovalRule> {
    let table = reader.table(value, "an approval rule")?;
    reader.no_unknown_keys(table, keys, "an approval rule");
    let Some(by) = table.get("by") else {
        reader.report(
            Diagnostic::new(
                "missing-key",
                value.span(),
                "an approval rule must name the groups that approve",
            )
            .suggest("add `by = [\"...\"]`"),
        );
        return None;
    };
    let place = by.span();
    let names = reader.strings(by, "by")?;
    let names = distinct(names.into_iter().map(|name| Arc::from(name.into_inner())));
    let by = match names {
        Ok(names) if !names.is_empty() => names,
        Ok(_) => {
            reader.report(Diagnostic::new(
                "bad-approval",
                place,
                "`by` names no group: nobody could approve",
            ));
            return None;
        }
        Err(()) => {
            reader.report(Diagnostic::new("bad-approval", place, "`by` names a group twice"));
            return None;
        }
    };
    let quorum = match table.get("quorum") {
        Some(value) => reader.integer(value, "quorum", 1..=MOST)?,
        None => 1,
    };
    let longest = match table.get("longest") {
        Some(value) => {
            let text = reader.string(value, "longest")?;
            let Some(longest) = span::parse(&text).filter(|span| *span <= LONGEST_OF_ALL) else {
                let message = format!("`longest` must be {}, of 366 days at most", span::FORM);
                reader.report(Diagnostic::new("bad-approval", value.span(), message));
                return None;
            };
            longest
        }
        None => LONGEST,
    };
    Some(ApprovalRule { by, quorum, longest, offset })
}

#[cfg(test)]
mod tests {
    use crate::mapping::Mapping;

    #[test]
    fn a_rule_has_defaults() {
        let text = "version = 1\n[approval]\nops = { by = [\"leads\"] }\n\"night shift\" = { by = [\"leads\", \"heads\"], quorum = 2, longest = \"30m\" }\n";
        let mapping = Mapping::parse("routes.toml", text).unwrap();
        let ops = mapping.approval("ops").unwrap();
        assert_eq!((ops.quorum, ops.longest.num_hours(), ops.by.len()), (1, 8, 1));
        let night = mapping.approval("night shift").unwrap();
        assert_eq!((night.quorum, night.longest.num_minutes(), night.by.len()), (2, 30, 2));
        assert!(mapping.approval("leads").is_none());
        assert!(mapping.approval_of_edits().is_none());
    }

    #[test]
    fn edits_have_a_rule_of_their_own() {
        let text = "version = 1\n[approval.edits]\nby = [\"leads\"]\nquorum = 2\n";
        let mapping = Mapping::parse("routes.toml", text).unwrap();
        assert_eq!(mapping.approval_of_edits().map(|rule| rule.quorum), Some(2));
        assert!(mapping.approval("edits").is_none(), "it is no group that can be asked for");
    }

    #[test]
    fn each_mistake_says_what_is_wrong() {
        let table = [
            ("approval = 1", "`approval` must be a table"),
            ("[approval]\nops = \"leads\"", "an approval rule must be a table"),
            ("[approval]\nops = {}", "must name the groups that approve"),
            ("[approval]\nops = { by = [] }", "nobody could approve"),
            ("[approval]\nops = { by = [\"a\", \"a\"] }", "twice"),
            ("[approval]\nops = { by = \"a\" }", "a list of strings"),
            ("[approval]\nops = { by = [\"a\"], quorum = 0 }", "from 1 to 10"),
            ("[approval]\nops = { by = [\"a\"], quorum = \"2\" }", "an integer"),
            ("[approval]\nops = { by = [\"a\"], longest = \"8\" }", "a span like `90m`, `8h` or `7d`"),
            ("[approval]\nops = { by = [\"a\"], longest = \"400d\" }", "366 days at most"),
            ("[approval]\nops = { by = [\"a\"], quorums = 2 }", "`quorums` is not a key of an approval rule"),
            ("[approval]\nbreak-glass = { by = [\"a\"] }", "is not asked for"),
            ("[approval]\nedits = { quorum = 2 }", "must name the groups that approve"),
            (
                "[approval.edits]\nby = [\"a\"]\nlongest = \"1h\"",
                "`longest` is not a key of an approval rule",
            ),
        ];
        for (text, expected) in table {
            let mistakes = Mapping::parse("routes.toml", &format!("version = 1\n{text}\n")).unwrap_err();
            assert!(mistakes.to_string().contains(expected), "{text}: {mistakes}");
        }
    }
}
