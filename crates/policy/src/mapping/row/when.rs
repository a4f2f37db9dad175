//! `when`: the rules of a row about the body. A rule that no body could ever meet is refused, because it would deny
//! everyone.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::{contradiction, requirement};
use crate::diagnostic::Diagnostic;
use crate::mapping::reader::Reader;
use crate::mapping::table::{BodyField, BodyRule};
use crate::method::{Method, MethodSet};

pub(in crate::mapping) const WHEN_KEYS: [&str; 5] = ["json", "form", "equals", "role", "permission"];

pub(super) fn body_rules(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<Vec<BodyRule>> {
    let DeValue::Array(items) = value.get_ref() else {
        let finding = Diagnostic::new("wrong-type", value.span(), "`when` must be a list of tables");
        reader.report(finding.suggest("write `when = [{ ... }]`"));
        return None;
    };
    let rules: Vec<Option<BodyRule>> = items.iter().map(|item| body_rule(reader, item)).collect();
    let rules: Vec<BodyRule> = rules.into_iter().collect::<Option<_>>()?;
    let forms = rules.iter().filter(|rule| matches!(rule.field, BodyField::Form(_))).count();
    if forms > 0 && forms < rules.len() {
        // A body cannot be both, so one of the rules could never be met and the row would always deny.
        contradiction(reader, &value.span(), "`json` and `form` rules cannot be in one row");
        return None;
    }
    let fields = || rules.iter().map(|rule| &rule.field);
    if let Some((outer, inner)) =
        fields().find_map(|one| Some((one, fields().find(|other| one.is_around(other))?)))
    {
        let message =
            format!("a body cannot have a value both at `{}` and at `{}`", outer.name(), inner.name());
        contradiction(reader, &value.span(), &message);
        return None;
    }
    Some(rules)
}

/// A rule needs a body, so every method of its row has to carry one. An undeclared HEAD comes with GET.
pub(in crate::mapping) fn methods_carry_bodies(
    reader: &mut Reader,
    route: &str,
    methods: MethodSet,
    rules: &[BodyRule],
    place: Range<usize>,
) -> bool {
    let without: MethodSet = methods.iter().filter(|method| !method.carries_body()).collect();
    if rules.is_empty() || without.is_empty() {
        return true;
    }
    let with: MethodSet = Method::ALL.into_iter().filter(|method| method.carries_body()).collect();
    let verb = if without.iter().nth(1).is_none() { "carries" } else { "carry" };
    reader.report(
        Diagnostic::new(
            "when-without-body",
            place,
            format!("`{route}` requires a role depending on the body, but {without} {verb} no body"),
        )
        .suggest(format!("use only methods of {with}, and add a row without `when` for the others")),
    );
    false
}

fn body_rule(reader: &mut Reader, item: &Spanned<DeValue<'_>>) -> Option<BodyRule> {
    let table = reader.table(item, "a body rule")?;
    reader.no_unknown_keys(table, &WHEN_KEYS, "a body rule");
    let field = match (table.get("json"), table.get("form")) {
        (Some(pointer), None) => json_pointer(reader, pointer)?,
        (None, Some(field)) => BodyField::Form(reader.string(field, "form")?),
        _ => {
            reader.report(Diagnostic::new(
                "missing-key",
                item.span(),
                "a body rule needs exactly one of `json` and `form`",
            ));
            return None;
        }
    };
    let Some(equals) = table.get("equals") else {
        reader.report(Diagnostic::new("missing-key", item.span(), "a body rule needs `equals`"));
        return None;
    };
    let equals = reader.string(equals, "equals")?;
    let mut required = requirement(reader, table, &item.span())?.into_iter();
    match (required.next(), required.next()) {
        (Some(requires), None) => Some(BodyRule { field, equals, requires }),
        (Some(_), Some(_)) => {
            let message = "a body rule has one permission: write a rule for each";
            reader.report(Diagnostic::new("contradiction", item.span(), message));
            None
        }
        (None, _) => {
            reader.report(Diagnostic::new(
                "missing-key",
                item.span(),
                "a body rule needs a `role` or a `permission`",
            ));
            None
        }
    }
}

/// RFC 6901: each step begins with a slash; `~` is written `~0` and `/` is written `~1`.
fn json_pointer(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<BodyField> {
    let text = reader.string(value, "json")?;
    let is_escape = |rest: &str| rest.starts_with(['0', '1']);
    let (problem, suggestion) = if !text.starts_with('/') {
        (format!("`{text}` is not a JSON pointer"), format!("write `/{text}`"))
    } else if !text.split('~').skip(1).all(is_escape) {
        (format!("`{text}` is not a JSON pointer"), "write `~0` for `~` and `~1` for `/` in a key".to_owned())
    } else if text.matches('/').count() > BodyField::MAX_DEPTH {
        let problem = format!("the pointer is more than {} levels deep", BodyField::MAX_DEPTH);
        (problem, "use a field further out: deeper nested bodies are not read".to_owned())
    } else {
        return Some(BodyField::Json(text));
    };
    reader.report(Diagnostic::new("bad-pointer", value.span(), problem).suggest(suggestion));
    None
}
