//! Every id that a finding can have, with its level and meaning: the only place where they are listed.

use super::Level;

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its meaning never changes once it is released.
    pub id: &'static str,
    pub level: Level,
    /// One line, no final stop.
    pub summary: &'static str,
    /// What to do about it, whatever the finding itself suggests.
    pub help: &'static str,
}

/// The kinds of all commands.
const ALL: [&[Rule]; 8] = [&CHECK, &CONSOLE, &ROWS, &SETTINGS, &DIFF, &LINT, &COVERAGE, &TEST];

/// The kind with this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    ALL.into_iter().flatten().find(|rule| rule.id == id)
}

/// The level of a finding with this id. An unlisted id has the highest level: nothing unknown passes.
pub fn level_of(id: &str) -> Level {
    rule(id).map_or(Level::Error, |rule| rule.level)
}

const fn error(id: &'static str, summary: &'static str, help: &'static str) -> Rule {
    Rule { id, level: Level::Error, summary, help }
}

const fn warning(id: &'static str, summary: &'static str, help: &'static str) -> Rule {
    Rule { id, level: Level::Warning, summary, help }
}

const fn note(id: &'static str, summary: &'static str, help: &'static str) -> Rule {
    Rule { id, level: Level::Note, summary, help }
}

/// The findings of `console-gate check` about a mapping file.
pub const CHECK: [Rule; 60] = [
    // The text.
    error(
        "syntax",
        "the file is not valid TOML",
        "correct the TOML; everything after the first mistake may be misread",
    ),
    error(
        "missing-version",
        "the file does not state its format version",
        "begin the file with `version = 1`",
    ),
    error(
        "unknown-version",
        "this gate does not support the format version of the file",
        "write `version = 1`, or upgrade the gate",
    ),
    error(
        "row-count",
        "the file does not have the number of rows that it states",
        "copy the whole file again; if it is complete, run `console-gate check --fix`",
    ),
    error("unknown-key", "a key that is not known there", "correct the spelling, or remove the key"),
    error(
        "unknown-word",
        "a value that this key does not accept",
        "use one of the values that the message lists",
    ),
    error(
        "wrong-type",
        "a value of the wrong type, such as a string instead of a list",
        "use a value of the type that the message names",
    ),
    error("empty-string", "an empty string", "write a value, or remove the key"),
    error("false-switch", "a switch is set to `false`, which has no meaning", "remove the key"),
    error("missing-key", "a required key is missing from a table", "add the key"),
    // Routes.
    error(
        "bad-route",
        "a row is not named by methods and a path",
        "name the row \"GET /path\", \"GET,POST /path\" or \"* /path\"",
    ),
    error(
        "unknown-method",
        "a method is not an HTTP method",
        "use GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS or `*`, in capitals",
    ),
    error(
        "bad-pattern",
        "a path that Flask cannot parse, or that the firewall refuses",
        "write the path exactly as in Console's own rule",
    ),
    error(
        "unknown-cluster",
        "a blueprint names a cluster that is not declared",
        "declare the cluster in [clusters], or correct its name",
    ),
    error(
        "overlap",
        "two rows can match the same request, and neither takes precedence",
        "keep one of the two rows, or make one more specific",
    ),
    error(
        "overlaps-not-counted",
        "too many rows overlap or are alike: not all of them were compared",
        "correct the rows that can match the same paths, then check again",
    ),
    error(
        "bad-approval",
        "a rule of [approval] is malformed, or names no possible approver",
        "correct the line: `group = { by = [\"...\"], quorum = 1, longest = \"8h\" }`",
    ),
    error(
        "bad-quiet-path",
        "an entry of `quiet` is not one exact path",
        "write one whole path, such as \"/favicon.ico\"",
    ),
    error(
        "quiet-row",
        "a row covers a path that `quiet` names",
        "remove the path from `quiet`, or remove the row",
    ),
    // Rows.
    error(
        "no-gate",
        "a row does not define who has access",
        "add `legacy` and `role`, or one of `public`, `session`, `machine`, `upstream`, `gone`",
    ),
    error(
        "no-v2-gate",
        "a row has a legacy gate, but no V2 role or permission",
        "add `role`, or `undecided` while the question is open",
    ),
    error(
        "no-legacy-gate",
        "an undecided row has no legacy gate",
        "add `legacy`: it decides until an operator chooses a V2 role",
    ),
    error("contradiction", "keys of a row exclude each other", "keep the keys of one kind of row"),
    error(
        "empty-legacy",
        "a legacy gate has no role",
        "list the arguments of `@require_role`, or remove `legacy`",
    ),
    error(
        "unknown-legacy-role",
        "a row accepts a legacy role that `legacy_roles` does not declare",
        "correct the role, or add it to `legacy_roles`",
    ),
    error(
        "malformed-legacy-role",
        "a text that cannot be a legacy role",
        "write one word, as `@require_role` has it",
    ),
    error(
        "unknown-option",
        "a decision names an option that the row does not have",
        "name one of the row's `options`, or write `option = \"custom\"` with a `reason`",
    ),
    error(
        "decided-otherwise",
        "a row requires something else than the option that was decided for",
        "require what the option specifies, or write `option = \"custom\"` with a `reason`",
    ),
    error("repeated-role", "a legacy gate or a rule about tickets lists a role twice", "list each role once"),
    error(
        "bad-pointer",
        "the field of a body rule is not a JSON pointer",
        "write a JSON pointer (RFC 6901), such as `/target`",
    ),
    error(
        "bad-upstream",
        "a row names an upstream in a way that no section of the settings can",
        "write lower-case letters, digits and `-`, as in `[upstreams.raptor]` of gate.toml",
    ),
    error(
        "unknown-upstream",
        "a row leads to an upstream that gate.toml does not have",
        "correct the name, or add `[upstreams.NAME]` with its `servers` to gate.toml",
    ),
    error(
        "bad-ticket",
        "a row for a ticket does not say where the ticket or the customer is named",
        "write `ticket = { query = \"ticket_id\", customer = \"path:id\" }`, with a variable of the row's path",
    ),
    error(
        "when-without-body",
        "a row with body rules has a method without a body",
        "use only POST, PUT, PATCH and DELETE; without a body such a row denies every request",
    ),
    // Rows against the roles in the database: the documents' smoke test.
    error(
        "out-of-range",
        "a number is too small or too large",
        "use a number within the range that the message names",
    ),
    error(
        "empty-cohort",
        "an empty cohort",
        "name groups or a percentage, or use shadow for the whole cluster",
    ),
    error(
        "missing-group",
        "a cohort names a group that the database does not have",
        "correct the name, or create the group first",
    ),
    error(
        "missing-role",
        "a row requires a role that the database does not have",
        "create the role in a migration, or correct its name",
    ),
    error(
        "missing-permission",
        "a row requires a permission that the database does not have",
        "create the permission in a migration, or correct its name",
    ),
    error(
        "unreachable",
        "no group has access to an enforced row: every request would be denied",
        "give the role to a group first, or set the cluster back to `legacy` or `shadow`",
    ),
    error(
        "out-of-order",
        "a cluster goes to v2 before those that come first, or without its soak",
        "wait until that is met, or add an `override` with its reason to the cluster",
    ),
    error(
        "taken-back",
        "a rollback is in force, and the file contains what it took back",
        "take that out of the file, or release the rollback: `console-gate rollback --release`",
    ),
    // Not mistakes, but worth a look.
    warning(
        "read-role-on-mutation",
        "a method that changes data requires a role for reading",
        "use a role that allows changes, or have an operator confirm this one",
    ),
    warning(
        "role-without-group",
        "a role that rows require and no group has",
        "give the role to a group before V2 decides",
    ),
    warning(
        "unreviewed-row",
        "a row that `import` left to Console, not yet reviewed",
        "give the row its gate, or remove `unreviewed` if Console is to decide",
    ),
    warning(
        "unheld-legacy-role",
        "a legacy role that rows accept and no admin holds",
        "correct the role, or declare every role that exists with `legacy_roles`",
    ),
    warning(
        "undeclared-legacy-role",
        "a legacy role that an admin holds and `legacy_roles` does not declare",
        "correct the role in the database, or add it to `legacy_roles`",
    ),
    warning(
        "prefix-shadow",
        "methods that an exact row lacks fall to a prefix row with another gate",
        "add a row for the methods that fall to the prefix",
    ),
    warning(
        "prefix-outranked",
        "an exact row with variables takes paths from a prefix row with another gate",
        "add exact rows for the paths that matter",
    ),
    warning(
        "unreachable-row",
        "a row that no request can reach, because others take precedence",
        "remove the row, or the rows that take precedence",
    ),
    warning(
        "foreign-variable",
        "a variable in the notation of another framework, which is plain text here",
        "write variables as Flask does: `<name>` or `<int:name>`",
    ),
    warning(
        "unknown-gate-route",
        "a row with `gate = true` for which the gate has no route",
        "correct the path of the row, or remove `gate = true`",
    ),
    warning(
        "closed-row",
        "a row has no legacy gate and V2 does not decide: every request is denied",
        "add `legacy` with today's roles, or let V2 decide",
    ),
    warning(
        "no-way-back",
        "a V2 row has no legacy gate: the kill-switch closes it",
        "add `legacy` with today's roles, so that the kill-switch keeps the row open",
    ),
    warning(
        "no-cluster",
        "a row in no cluster: its V2 role never decides",
        "add a `cluster` to the blueprint",
    ),
    warning(
        "idle-cluster",
        "a cluster whose mode has no effect",
        "remove the cluster, or assign it to the blueprints that it is meant for",
    ),
    note(
        "unmapped-forwarded",
        "paths without a row are forwarded",
        "write `unmapped = \"deny\"` once the table is complete",
    ),
    note(
        "undecided",
        "a row is undecided; the legacy gate decides",
        "have an operator choose a role, then write `role` and `decided`",
    ),
    note(
        "order-overridden",
        "a cluster goes to v2 before its time, by override",
        "no action: the gate audits it when it activates the mapping",
    ),
    note("totp-marker", "a row for which Console also requires TOTP", "no action: TOTP stays in Console"),
];

/// The findings of `console-gate check` about the access tables. None of them prevents a mapping from being activated:
/// such a row grants nothing, and that may be its only fault.
pub const ROWS: [Rule; 5] = [
    warning(
        "malformed-role-word",
        "the legacy role of an admin or token is empty or no single word",
        "write one word, as `@require_role` has it, or remove the row",
    ),
    warning(
        "unusable-row",
        "a row of the access tables has no readable id, name or time",
        "correct the row, or remove it",
    ),
    warning(
        "misspelt-switch",
        "a row looks like FLAG_RBAC_V2 or its promotion, but is neither",
        "write exactly `FLAG_RBAC_V2` and `production`, or remove the row",
    ),
    note(
        "dangling-grant",
        "a grant names something that does not exist",
        "remove the row, or correct the id: case and spaces matter",
    ),
    note(
        "standing-break-glass",
        "a member of break-glass holds none of its roles without a session",
        "remove them from the group, unless they are meant to be able to start a session",
    ),
];

/// The findings of `console-gate check` about the tables that it reads from Console. None of them is about the mapping.
pub const CONSOLE: [Rule; 5] = [
    error(
        "console-select",
        "a SELECT of [console] does not fit Console's tables: no gate starts with it",
        "correct the SELECT; `console-gate adopt --inspect` proposes one",
    ),
    warning(
        "console-relation",
        "something of Console is not read as it could be",
        "follow the message, or leave it if that is intended",
    ),
    warning(
        "console-unqualified",
        "a table in a SELECT of [console] is named without its schema",
        "write the schema, so that no other table of that name is read",
    ),
    warning(
        "console-unheard",
        "changes of Console's tables go unnoticed: they are read for each request",
        "run `console-gate migrate`, which names the table that refuses",
    ),
    note(
        "no-legacy-roles",
        "Console's legacy roles are gone, so rows on their legacy gate are refused",
        "set `legacy_roles = \"none\"` in [console] if that is meant, or the SELECT that reads them",
    ),
];

/// The findings of `console-gate check` about the settings.
pub const SETTINGS: [Rule; 11] = [
    error(
        "bad-setting",
        "a setting that a gate would refuse at its start",
        "correct the value: the message states what the key takes",
    ),
    error(
        "unreadable-file",
        "a file that the settings name and that cannot be read",
        "correct the path, or make the file readable for the user of the gate",
    ),
    warning(
        "revoked-sessions-pass",
        "a session that Console ends before its time keeps passing",
        "let the gate see Console's sessions: `session_id_key` or another `kind` in [session]; see docs/sessions.md",
    ),
    error(
        "step-up-without-login",
        "a row asks for a passkey, and no login of the gate's own could ask for one",
        "add [identity] to the settings, or remove `step_up` from the row; see docs/identity.md",
    ),
    warning(
        "login-without-row",
        "the gate's own login is switched on, and no row leads to it",
        "add rows with `identity = true` for `[identity] path` and /api/v1/auth; see docs/identity.md",
    ),
    warning(
        "nobody-may-approve",
        "a group can be asked for, and too few people may approve that",
        "add members to the groups of `by`, name further groups, or lower `quorum`",
    ),
    warning(
        "power-without-role",
        "a group whose members hold a power brings no role that shows it",
        "give the group a role that names the power, or note who is in it",
    ),
    warning(
        "no-second-approver",
        "no approver is set for API edits that require two people",
        "add `[approval.edits]` with `by`; until then such changes are made by command alone (docs/guards.md)",
    ),
    warning(
        "unknown-caller",
        "a machine token that [api] or [ingest] names and that does not exist",
        "correct the name, or create the token: `console-gate token create NAME`",
    ),
    warning(
        "unknown-api-permission",
        "a permission that [rbac_api] names and that does not exist",
        "correct the name in [rbac_api], or create the permission",
    ),
    warning(
        "tickets-without-freescout",
        "rows ask for a ticket, and gate.toml names no FreeScout to verify it",
        "set `url` and `mailboxes` in [freescout]: until then only who needs no ticket is let in",
    ),
];

/// The findings of `console-gate diff`.
pub const DIFF: [Rule; 2] = [
    warning("access-gain", "a caller gains access", "confirm that each of them should have access"),
    warning("access-loss", "a caller loses access", "first grant the missing access, or confirm the loss"),
];

/// The findings of `console-gate test`.
pub const TEST: [Rule; 2] = [
    error(
        "failed-case",
        "a case of routes.test.toml gets another answer than it expects",
        "correct the mapping, or the case if the answer is the intended one",
    ),
    error(
        "violated-invariant",
        "an invariant of routes.test.toml does not hold for a possible caller",
        "correct the mapping or the grants, or the invariant if it is not meant",
    ),
];

/// The findings of `console-gate lint`.
pub const LINT: [Rule; 12] = [
    error(
        "gate-differs",
        "the arguments of @require_role differ from the row's legacy roles",
        "correct the row or the decorator: the gate must decide as Console does",
    ),
    error(
        "gate-above-route",
        "@require_role is above the route decorator: Flask serves the view without it",
        "move it below the route decorator",
    ),
    error(
        "site-without-row",
        "a gated view has no row",
        "add a row with the decorator's arguments as `legacy`",
    ),
    error(
        "syntax-error",
        "a file is not valid Python and was not read",
        "correct the file: it may contain a @require_role that was not found",
    ),
    error(
        "require-role-left",
        "a @require_role remains after the cutover",
        "replace it with @require_rbac_role or @require_permission",
    ),
    warning(
        "row-without-site",
        "a row has a legacy gate, but its view has none",
        "check whether something else gates the view, or correct the row",
    ),
    warning(
        "site-without-route",
        "a @require_role that does not belong to any route that can be read",
        "compare it with the mapping by hand",
    ),
    warning(
        "unreadable-site",
        "the required role, or its place, is only known at run time",
        "write literal arguments and paths, or compare it with the mapping by hand",
    ),
    warning(
        "may-gate",
        "code that runs before a view may refuse requests; it could not be analysed",
        "compare what it requires with the row by hand",
    ),
    warning(
        "deferred-effects",
        "a decorator that is deferred to the gate does more than refuse",
        "mark its role check with `role_check`, or name what has to run by `keep`",
    ),
    note(
        "plain-hook",
        "code runs before views; it was not found to refuse requests",
        "no action, if it does not refuse requests",
    ),
    warning(
        "inline-role-check",
        "a view checks roles itself",
        "the gate cannot replace this check: move it to a row or a V2 permission",
    ),
];

/// The findings of `console-gate coverage`.
pub const COVERAGE: [Rule; 22] = [
    warning("unmapped-hit", "requests for a path that no row covers", "add a row if Console serves the path"),
    error(
        "route-without-row",
        "Console serves a route that no row covers",
        "add a row; until then `unmapped` decides: denied, or forwarded to Console's own decorators",
    ),
    error(
        "method-without-row",
        "Console serves a method of a path that has rows only for other methods",
        "add a row for the method, or the method to the row",
    ),
    error(
        "path-without-row",
        "a route serves paths that its row does not match, and no other row does",
        "add a row for the path, or correct the pattern of the route's row",
    ),
    error(
        "other-row-decides",
        "a route serves paths that are decided by a row not meant for it",
        "correct the patterns, so that its own row decides every path of the route",
    ),
    error(
        "websocket-differs",
        "a row and its route differ in whether they allow WebSockets",
        "add `websocket = true` to the row of a WebSocket, and to no other row",
    ),
    warning(
        "host-ignored",
        "a route answers only on one host, but rows apply to every host",
        "use the same gate for routes that differ only in the host, or run a gate for each host",
    ),
    warning(
        "unknown-order",
        "two routes can match the same request; which one answers is unknown",
        "use the output of deploy/flask/dump_routes.py, which has the order",
    ),
    warning(
        "not-compared",
        "not every path could be compared",
        "simplify lengths in the thousands, or compare part of the routes",
    ),
    warning(
        "converter-differs",
        "the row of a route has another converter, and so matches other paths",
        "write the path exactly as in Console's own rule",
    ),
    warning(
        "slash-differs",
        "a row and its route differ in the trailing slash",
        "write the path exactly as in Console's own rule",
    ),
    warning(
        "row-without-route",
        "a row that no route of Console matches",
        "correct the path, or remove the row",
    ),
    warning(
        "method-without-route",
        "a row names a method that Console does not serve there",
        "remove the method from the row",
    ),
    warning(
        "covered-by-wider-row",
        "a route has no row of its own: a row with a variable decides it",
        "add a row that decides this route explicitly",
    ),
    warning(
        "gone-route-exists",
        "a row marks a route as deleted, but Console still serves it",
        "delete the route from Console",
    ),
    warning(
        "unreadable-route",
        "a route of Console that cannot be compared with any row",
        "review the route by hand, or use the output of deploy/flask/dump_routes.py",
    ),
    note(
        "never-served",
        "a rule that no request can match",
        "no action, if it is meant only to build URLs; otherwise check why it is not served",
    ),
    note(
        "console-redirects",
        "a route whose requests Console redirects before its view",
        "no action: the row decides first, and the target has its own row",
    ),
    note(
        "own-converter",
        "a route uses a converter that the application defines",
        "no action, if the row matches everything that the converter matches",
    ),
    note(
        "unlisted",
        "the list of routes may be incomplete",
        "review it by hand, or use the output of deploy/flask/dump_routes.py",
    ),
    note(
        "covered-by-prefix",
        "a route has no row of its own: a prefix row decides it",
        "no action, if the prefix is meant for it",
    ),
    note(
        "only-in-one-list",
        "a route is only in the list from Flask, or only in the source",
        "check whether its blueprint is registered, or declared at run time",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_id_is_listed_once_and_its_summary_is_one_line() {
        let mut seen = BTreeSet::new();
        for rule in ALL.into_iter().flatten() {
            assert!(seen.insert(rule.id), "{} is listed twice", rule.id);
            assert!(rule.summary.len() <= 80 && !rule.summary.ends_with('.'), "{}", rule.summary);
            assert!(
                rule.id
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'),
                "{}",
                rule.id
            );
        }
    }

    #[test]
    fn what_is_not_listed_weighs_most() {
        assert_eq!(level_of("totp-marker"), Level::Note);
        assert_eq!(level_of("never-heard-of"), Level::Error);
    }
}
