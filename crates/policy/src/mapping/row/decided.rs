//! `options` and `decided`: the choices of an operator, and the choice that was made (cutover design, I-6).
//!
//! A decided row keeps its options, so that the file itself shows that its role is the chosen one.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{contradiction, requirement};
use crate::diagnostic::{Diagnostic, closest};
use crate::mapping::reader::Reader;
use crate::mapping::table::{Decided, RowKind, V2Gate};

pub(in crate::mapping) const KEYS: [&str; 5] = ["option", "by", "ref", "reason", "at"];

/// The row's options; empty if it has no such key. `None` if there is a mistake.
pub(super) fn options(reader: &mut Reader, table: &DeTable<'_>) -> Option<BTreeMap<String, String>> {
    let Some(value) = table.get("options") else { return Some(BTreeMap::new()) };
    let table = reader.table(value, "options")?;
    let mut options = BTreeMap::new();
    for (name, role) in table.iter() {
        if name.get_ref() == Decided::CUSTOM {
            contradiction(reader, &name.span(), "`custom` is the word for what is none of the options");
            return None;
        }
        options.insert(name.get_ref().to_string(), reader.string(role, "an option")?);
    }
    Some(options)
}

/// Who chose which option. The row's role must be the role of that option; any other choice is `custom`, with a reason.
pub(super) fn read(
    reader: &mut Reader,
    row: &DeTable<'_>,
    kind: Option<&RowKind>,
    route: &Range<usize>,
) -> Option<Decided> {
    let value = row.get("decided")?;
    if matches!(kind, Some(RowKind::Gated { v2: V2Gate::Undecided { .. }, .. })) {
        contradiction(reader, route, "an `undecided` row cannot be `decided`");
        return None;
    }
    let table = reader.table(value, "decided")?;
    reader.no_unknown_keys(table, &KEYS, "`decided`");
    let option = needed(reader, table, "option", value);
    let by = needed(reader, table, "by", value);
    let reference = needed(reader, table, "ref", value);
    let at = table.get("at").and_then(|text| reader.string(text, "at"));
    let reason = table.get("reason").and_then(|text| reader.string(text, "reason"));
    let (option, place) = (option?, table.get("option")?.span());
    if option == Decided::CUSTOM {
        if !table.contains_key("reason") {
            reader.report(
                Diagnostic::new("missing-key", value.span(), "a `custom` decision must name its `reason`")
                    .suggest("add `reason = \"...\"`: why none of the options was taken"),
            );
        }
    } else {
        // These were already read with the kind: their mistakes are reported only once.
        let before = reader.findings.len();
        let options = options(reader, row);
        reader.findings.truncate(before);
        is_chosen(reader, row, &option, &options?, place);
    }
    Some(Decided { option, by: by?, reference: reference?, reason, at })
}

fn needed(
    reader: &mut Reader,
    table: &DeTable<'_>,
    key: &str,
    whole: &Spanned<DeValue<'_>>,
) -> Option<String> {
    let Some(text) = table.get(key) else {
        let message = format!("`decided` must name its `{key}`");
        reader.report(Diagnostic::new("missing-key", whole.span(), message));
        return None;
    };
    reader.string(text, key)
}

/// Reports an option that the row does not have, and a row whose requirement differs from its option.
fn is_chosen(
    reader: &mut Reader,
    row: &DeTable<'_>,
    option: &str,
    options: &BTreeMap<String, String>,
    place: Range<usize>,
) {
    let Some(chosen) = options.get(option) else {
        let names: Vec<&str> = options.keys().map(String::as_str).collect();
        let finding = Diagnostic::new(
            "unknown-option",
            place,
            match names.is_empty() {
                true => format!("`decided` names the option `{option}`, and the row has no `options`"),
                false => format!("`{option}` is none of the row's options: {}", names.join(", ")),
            },
        );
        // Among one-letter names, each is as close as any other.
        let same = names.iter().copied().find(|name| name.eq_ignore_ascii_case(option));
        let is_long = option.chars().count() > 2;
        let near = || closest(option, names.iter().copied().chain([Decided::CUSTOM])).filter(|_| is_long);
        reader.report(match same.or_else(near) {
            Some(near) => finding.suggest(format!("did you mean `{near}`?")),
            None if names.is_empty() => finding.suggest(
                "keep the `options` that were decided about, or write `option = \"custom\"` with a `reason`",
            ),
            None => finding.suggest("name one of them, or write `option = \"custom\"` with a `reason`"),
        });
        return;
    };
    let before = reader.findings.len();
    let required = requirement(reader, row, &place);
    reader.findings.truncate(before);
    if let Some(Some(required)) = required.map(|all| all.into_iter().next())
        && **required.name() != **chosen
    {
        reader.report(
            Diagnostic::new(
                "decided-otherwise",
                place,
                format!("the option `{option}` is `{chosen}`, but the row requires the {required}"),
            )
            .suggest(format!("require `{chosen}`, or write `option = \"custom\"` with a `reason`")),
        );
    }
}
