//! One row of `routes.toml`: the inline table after the route.

mod decided;
mod ticket;
mod upstream;
mod when;

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::legacy;
use super::reader::Reader;
use super::table::{Decided, Forbidden, Freshness, RowKind, Totp, Unauthenticated, V2Gate};
use crate::diagnostic::{Diagnostic, closest};
use crate::rbac::Requirement;
use crate::span::Unit;
pub(super) use decided::KEYS as DECIDED_KEYS;
pub(super) use ticket::{KEYS as TICKET_KEYS, names_a_variable};
pub(super) use when::{WHEN_KEYS, methods_carry_bodies};

/// Every key that a row may have.
pub(super) const ROW_KEYS: [&str; 27] = [
    "legacy",
    "role",
    "permission",
    "undecided",
    "options",
    "decided",
    "when",
    "ticket",
    "totp",
    "public",
    "session",
    "machine",
    "machine_or_session",
    "upstream",
    "unreviewed",
    "gone",
    "gate",
    "identity",
    "step_up",
    "notifies",
    "unauthenticated",
    "forbidden",
    "websocket",
    "stream",
    "cors",
    "freshness",
    "note",
];
/// The keys each of which alone specifies the kind of a row.
const KIND_SWITCHES: [&str; 6] = ["public", "session", "machine", "upstream", "gone", "identity"];
/// The keys that only a gated row may have.
const GATE_KEYS: [&str; 9] = [
    "legacy",
    "role",
    "permission",
    "undecided",
    "options",
    "decided",
    "when",
    "ticket",
    "machine_or_session",
];

/// From a minute, in which a person can act, to a day: NIST 800-63B-4 asks for a login each day anyway.
const STEP_UP_SECONDS: RangeInclusive<u32> = 60..=86_400;

/// Keys that a row served by the gate itself cannot have.
const NOT_OF_THE_GATE: [&str; 5] = ["websocket", "stream", "cors", "totp", "forbidden"];

/// The contents of a row's inline table.
pub(super) struct RowBody {
    pub kind: RowKind,
    pub unauthenticated: Unauthenticated,
    pub forbidden: Forbidden,
    pub websocket: bool,
    pub stream: bool,
    pub cors: bool,
    pub gate: bool,
    pub upstream: Option<Arc<str>>,
    pub notifies: BTreeSet<Requirement>,
    pub totp: Option<Totp>,
    pub decided: Option<Box<Decided>>,
    pub unreviewed: Option<Arc<str>>,
    pub freshness: Option<Freshness>,
    pub step_up: Option<Duration>,
}

/// Reads a row; `None` if it has a mistake, which is then already reported.
pub(super) fn parse_row(
    reader: &mut Reader,
    value: &Spanned<DeValue<'_>>,
    route: Range<usize>,
) -> Option<RowBody> {
    let before = reader.findings.len();
    let table = reader.table(value, "a row")?;
    reader.no_unknown_keys(table, &ROW_KEYS, "a row");
    let kind = kind(reader, table, &route);
    let totp_words = [("elevation", Totp::Elevation), ("inline", Totp::Inline)];
    let body = RowBody {
        unauthenticated: table
            .get("unauthenticated")
            .and_then(|value| reader.word(value, "unauthenticated", &Unauthenticated::WORDS))
            .unwrap_or(Unauthenticated::Redirect),
        forbidden: forbidden(reader, table, kind.as_ref()),
        websocket: table.get("websocket").and_then(|value| reader.switch(value, "websocket")).is_some(),
        stream: table.get("stream").and_then(|value| reader.switch(value, "stream")).is_some(),
        cors: cors(reader, table, kind.as_ref()),
        gate: gate(reader, table, kind.as_ref()) || table.contains_key("identity"),
        upstream: upstream::named(reader, table),
        notifies: upstream::notifies(reader, table, kind.as_ref()),
        totp: table.get("totp").and_then(|value| reader.word(value, "totp", &totp_words)),
        decided: decided::read(reader, table, kind.as_ref(), &route).map(Box::new),
        unreviewed: unreviewed(reader, table, kind.as_ref()),
        freshness: freshness(reader, table, kind.as_ref()),
        step_up: step_up(reader, table, kind.as_ref()),
        kind: kind?,
    };
    if let Some(note) = table.get("note") {
        reader.string(note, "note");
    }
    (reader.findings.len() == before).then_some(body)
}

/// `cors = true`: preflights, which carry no credential, pass. On rows that require no credential, they pass anyway.
fn cors(reader: &mut Reader, table: &DeTable<'_>, kind: Option<&RowKind>) -> bool {
    let Some(value) = table.get("cors") else { return false };
    if kind.is_some_and(|kind| !kind.asks_who() && *kind != RowKind::Machine) {
        contradiction(reader, &value.span(), "`cors` is only for a row that asks for a credential");
    }
    reader.switch(value, "cors").is_some()
}

/// Only a row with a role or permission denies known callers. `forbidden` on any other row would read as a promise that
/// nothing keeps.
fn forbidden(reader: &mut Reader, table: &DeTable<'_>, kind: Option<&RowKind>) -> Forbidden {
    let Some(value) = table.get("forbidden") else { return Forbidden::default() };
    if kind.is_some_and(|kind| !matches!(kind, RowKind::Gated { .. })) {
        contradiction(
            reader,
            &value.span(),
            "`forbidden` is only for a row that asks for a role or a permission",
        );
    }
    reader.word(value, "forbidden", &Forbidden::WORDS).unwrap_or_default()
}

/// `gate = true`: the gate itself serves the route. It serves only known callers. Nothing goes to Console, so there is
/// no WebSocket, no stream, no preflight and no TOTP of Console's.
fn gate(reader: &mut Reader, table: &DeTable<'_>, kind: Option<&RowKind>) -> bool {
    if table.contains_key("identity") {
        exclude(reader, table, "identity");
    }
    let Some(value) = table.get("gate") else { return false };
    if kind.is_some_and(|kind| !kind.asks_who()) {
        contradiction(reader, &value.span(), "`gate` is only for a row that identifies the caller");
    }
    exclude(reader, table, "gate");
    reader.switch(value, "gate").is_some()
}

/// What a row that the gate serves cannot have.
fn exclude(reader: &mut Reader, table: &DeTable<'_>, by: &str) {
    for key in NOT_OF_THE_GATE {
        if let Some(other) = table.get(key) {
            let message = format!("`{by}` and `{key}` exclude each other: the route does not go to Console");
            contradiction(reader, &other.span(), &message);
        }
    }
}

/// `freshness` on a row that identifies no principal would read as a promise that nothing keeps.
fn freshness(reader: &mut Reader, table: &DeTable<'_>, kind: Option<&RowKind>) -> Option<Freshness> {
    let value = table.get("freshness")?;
    if kind.is_some_and(|kind| !kind.asks_who()) {
        contradiction(reader, &value.span(), "`freshness` is only for a row that identifies the caller");
    }
    reader.word(value, "freshness", &Freshness::WORDS)
}

/// Whether a row can ask for a passkey: it has to know the caller, and no machine has one.
pub(super) fn takes_step_up(kind: &RowKind) -> bool {
    matches!(kind, RowKind::Session | RowKind::Gated { machine: false, .. })
}

/// `step_up = "15m"`: a passkey of the caller's session must have signed within that time.
fn step_up(reader: &mut Reader, table: &DeTable<'_>, kind: Option<&RowKind>) -> Option<Duration> {
    let value = table.get("step_up")?;
    if kind.is_some_and(|kind| !takes_step_up(kind)) {
        let message = "`step_up` is only for a row that admits admins alone: no one else has a passkey";
        contradiction(reader, &value.span(), message);
    }
    step_up_age(reader, value)
}

/// The age that `step_up` names.
pub(super) fn step_up_age(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<Duration> {
    let seconds = reader.time(value, "step_up", Unit::Seconds, STEP_UP_SECONDS)?;
    Some(Duration::from_secs(seconds.into()))
}

/// `upstream = true, unreviewed = "no @require_role"`: `import` left the row to Console.
fn unreviewed(reader: &mut Reader, table: &DeTable<'_>, kind: Option<&RowKind>) -> Option<Arc<str>> {
    let value = table.get("unreviewed")?;
    if kind.is_some_and(|kind| *kind != RowKind::Upstream) {
        contradiction(reader, &value.span(), "`unreviewed` is only for a row with `upstream = true`");
    }
    reader.shared_string(value, "unreviewed")
}

/// Whether it may be a misspelt key that specifies who has access.
fn is_misspelt(key: &str) -> bool {
    !ROW_KEYS.contains(&key) && closest(key, KIND_SWITCHES.into_iter().chain(GATE_KEYS)).is_some()
}

fn kind(reader: &mut Reader, table: &DeTable<'_>, route: &Range<usize>) -> Option<RowKind> {
    // `upstream = "raptor"` specifies where the row leads, and not who has access.
    let is_switch =
        |key: &&str| table.get(*key).is_some_and(|value| *key != "upstream" || !upstream::is_name(value));
    let switches: Vec<&str> = KIND_SWITCHES.into_iter().filter(is_switch).collect();
    let gate_keys: Vec<&str> = GATE_KEYS.into_iter().filter(|key| table.contains_key(*key)).collect();
    match (switches.as_slice(), gate_keys.as_slice()) {
        // A misspelt key has its own finding.
        ([], []) if table.iter().any(|(key, _)| is_misspelt(key.get_ref())) => None,
        ([], []) => {
            reader.report(
                Diagnostic::new("no-gate", route.clone(), "the row does not define who has access").suggest(
                    if table.contains_key("upstream") {
                        "add `role` or `session`; or `machine` or `public`, where that upstream decides by itself"
                    } else {
                        "add `legacy` and `role`, or one of `public`, `session`, `machine`, `upstream`, `gone`"
                    },
                ),
            );
            None
        }
        ([], _) => gated(reader, table, route),
        ([switch], []) => {
            let value = table.get(*switch)?;
            reader.switch(value, switch)?;
            Some(match *switch {
                // The gate serves its login to everybody.
                "public" | "identity" => RowKind::Public,
                "session" => RowKind::Session,
                "machine" => RowKind::Machine,
                "upstream" => RowKind::Upstream,
                _ => RowKind::Gone,
            })
        }
        (_, _) => {
            let all: Vec<&str> = switches.iter().chain(&gate_keys).copied().collect();
            reader.report(Diagnostic::new(
                "contradiction",
                route.clone(),
                format!("`{}` exclude each other: a row has one kind", all.join("`, `")),
            ));
            None
        }
    }
}

fn gated(reader: &mut Reader, table: &DeTable<'_>, route: &Range<usize>) -> Option<RowKind> {
    let legacy = match table.get("legacy") {
        Some(value) => Some(legacy::of_row(reader, value)?),
        None => None,
    };
    let machine = table
        .get("machine_or_session")
        .and_then(|value| reader.switch(value, "machine_or_session"))
        .is_some();
    let when = match table.get("when") {
        Some(value) => when::body_rules(reader, value)?,
        None => Vec::new(),
    };
    let ticket = match table.get("ticket") {
        Some(value) => Some(Box::new(ticket::rule(reader, table, value)?)),
        None => None,
    };
    let options = decided::options(reader, table)?;
    let required = requirement(reader, table, route)?;
    if required.len() > 1 && (ticket.is_some() || table.contains_key("decided")) {
        let message = "several permissions exclude `ticket` and `decided`: those are about one";
        contradiction(reader, route, message);
        return None;
    }
    let mut required = required.into_iter();
    let v2 = match (table.get("undecided"), required.next()) {
        (Some(question), None) => {
            let question = reader.string(question, "undecided")?;
            if legacy.is_none() {
                reader.report(
                    Diagnostic::new("no-legacy-gate", route.clone(), "an undecided row needs a legacy gate")
                        .suggest("add `legacy = [...]`"),
                );
                return None;
            }
            if !when.is_empty() {
                contradiction(reader, route, "`when` needs a decided role");
                return None;
            }
            V2Gate::Undecided { question, options }
        }
        (Some(_), Some(_)) => {
            contradiction(reader, route, "a row with a `role` or `permission` cannot be `undecided`");
            return None;
        }
        (None, Some(_)) if table.contains_key("options") && !table.contains_key("decided") => {
            contradiction(reader, route, "`options` belong to a row that is `undecided` or `decided`");
            return None;
        }
        (None, Some(base)) => V2Gate::Requires { base, also: required.collect(), when, ticket },
        (None, None) => {
            reader.report(
                Diagnostic::new(
                    "no-v2-gate",
                    route.clone(),
                    "the row has a legacy gate, but no V2 role or permission",
                )
                .suggest("add `role = \"...\"`, or `undecided = \"...\"` while the question is open"),
            );
            return None;
        }
    };
    Some(RowKind::Gated { legacy, v2, machine })
}

fn contradiction(reader: &mut Reader, route: &Range<usize>, message: &str) {
    reader.report(Diagnostic::new("contradiction", route.clone(), message));
}

/// All requirements of the row; empty without `role` and `permission`. `None` for a mistake, which is then already
/// reported.
fn requirement(reader: &mut Reader, table: &DeTable<'_>, place: &Range<usize>) -> Option<Vec<Requirement>> {
    match (table.get("role"), table.get("permission")) {
        (Some(role), None) => Some(vec![Requirement::Role(reader.shared_string(role, "role")?)]),
        (None, Some(value)) if value.get_ref().is_array() => permissions(reader, value),
        (None, Some(permission)) => {
            Some(vec![Requirement::Permission(reader.shared_string(permission, "permission")?)])
        }
        (None, None) => Some(Vec::new()),
        (Some(_), Some(_)) => {
            contradiction(reader, place, "`role` and `permission` exclude each other");
            None
        }
    }
}

/// `permission = ["a", "b"]`: all of them are required.
fn permissions(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<Vec<Requirement>> {
    let mut all: Vec<Requirement> = Vec::new();
    for name in value.get_ref().as_array().into_iter().flat_map(|names| names.iter()) {
        let permission = Requirement::Permission(reader.shared_string(name, "permission")?);
        if all.contains(&permission) {
            contradiction(reader, &name.span(), &format!("the {permission} is named twice"));
            return None;
        }
        all.push(permission);
    }
    if all.is_empty() {
        let message = "an empty list of permissions would let in everybody who is logged in";
        reader.report(
            Diagnostic::new("no-v2-gate", value.span(), message)
                .suggest("name the permissions, or write `session = true`"),
        );
        return None;
    }
    Some(all)
}
