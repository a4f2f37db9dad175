//! Every id that a finding can have, with what it weighs and what it means: the one place where they are listed.

use super::Level;

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Never changes its meaning once released.
    pub id: &'static str,
    pub level: Level,
    /// One line, no final stop.
    pub summary: &'static str,
    /// What to do about it, whatever the finding itself suggests.
    pub help: &'static str,
}

/// The kinds of all commands.
const ALL: [&[Rule]; 5] = [&CHECK, &ROWS, &DIFF, &LINT, &COVERAGE];

/// The kind with this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    ALL.into_iter().flatten().find(|rule| rule.id == id)
}

/// What a finding with this id weighs. One that is not listed weighs most: nothing unknown is waved through.
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

/// What `console-gate check` finds in a mapping file.
pub const CHECK: [Rule; 42] = [
    // The text.
    error(
        "syntax",
        "the file is no TOML",
        "correct the TOML; everything after the first mistake may be misread",
    ),
    error(
        "missing-version",
        "the file does not say which format it is in",
        "begin the file with `version = 1`",
    ),
    error(
        "unknown-version",
        "the file is in a format that this gate does not read",
        "write `version = 1`, or upgrade the gate",
    ),
    error(
        "row-count",
        "the file does not have as many rows as it says",
        "copy the whole file again; if these are all, let `console-gate check --fix` count them",
    ),
    error("unknown-key", "a key that means nothing there", "correct the spelling, or remove the key"),
    error(
        "unknown-word",
        "a value that is none of the words for this key",
        "use one of the words that the message lists",
    ),
    error(
        "wrong-type",
        "a value of the wrong type, such as a string for a list",
        "write a value of the type that the message names",
    ),
    error("empty-string", "a text that says nothing", "write what is meant, or remove the key"),
    error(
        "false-switch",
        "a switch that is written out as `false`, which reads as a promise",
        "leave the key out",
    ),
    error("missing-key", "a table lacks a key that it needs", "add the key"),
    // Routes.
    error(
        "bad-route",
        "a row is not named by methods and a path",
        "name the row \"GET /path\", \"GET,POST /path\" or \"* /path\"",
    ),
    error(
        "unknown-method",
        "a word that is no method of HTTP",
        "use GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS or `*`, in capitals",
    ),
    error(
        "bad-pattern",
        "a path that Flask does not read, or that never arrives",
        "write the path as Console's own rule has it",
    ),
    error(
        "unknown-cluster",
        "a blueprint names a cluster that is not declared",
        "declare the cluster in [clusters], or correct its name",
    ),
    error(
        "overlap",
        "two rows can match the same request and nothing ranks them",
        "keep one of the two rows, or make one more specific",
    ),
    // Rows.
    error(
        "no-gate",
        "a row does not say who may pass",
        "give the row `legacy` and `role`, or one of `public`, `session`, `machine`, `upstream`, `gone`",
    ),
    error(
        "no-v2-gate",
        "a row has a legacy gate and nothing for V2",
        "add `role`, or `undecided` while the question is open",
    ),
    error(
        "no-legacy-gate",
        "an undecided row has no legacy gate to stay on",
        "add `legacy`: the row stays on it until an operator has decided (I-6)",
    ),
    error("contradiction", "keys of one row that exclude each other", "keep the keys of one kind of row"),
    error(
        "empty-legacy",
        "a legacy gate that lists no role",
        "list the arguments of `@require_role`, or leave `legacy` out",
    ),
    error(
        "unknown-legacy-role",
        "a word that is none of the four legacy roles",
        "use superadmin, ops, support or readonly",
    ),
    error("repeated-role", "a legacy gate that lists a role twice", "list each role once"),
    error(
        "bad-pointer",
        "a body rule whose field is no JSON pointer",
        "write a JSON pointer (RFC 6901), such as `/target`",
    ),
    error(
        "when-without-body",
        "a row that looks at the body has a method that carries none",
        "name POST, PUT, PATCH and DELETE alone; without a body such a row denies everybody",
    ),
    // Rows against the roles in the database: the documents' smoke test.
    error(
        "out-of-range",
        "a number that is too small or too large",
        "write a number within the range that the message names",
    ),
    error(
        "empty-cohort",
        "a cohort that is nobody",
        "name groups or a percentage, or put the whole cluster into shadow",
    ),
    error(
        "missing-group",
        "a cohort's group that the database does not have",
        "correct the name, or create the group first",
    ),
    error(
        "missing-role",
        "a row asks for a role that the database does not have",
        "create the role in a migration, or correct its name",
    ),
    error(
        "missing-permission",
        "a row asks for a permission that the database does not have",
        "create the permission in a migration, or correct its name",
    ),
    error(
        "unreachable",
        "an enforced row that no group can pass: everybody would be locked out",
        "give the role to a group first, or take the cluster back to `legacy` or `shadow`",
    ),
    // No mistakes, and worth a look.
    warning(
        "read-role-on-mutation",
        "a method that changes something asks for a role for reading",
        "ask for a role that is meant for changes (the worry of AMBIGUOUS-3)",
    ),
    warning(
        "role-without-group",
        "a role that rows want and that no group holds",
        "give the role to a group before V2 decides (open question 5)",
    ),
    warning(
        "prefix-shadow",
        "methods that an exact row lacks go to a prefix row with another rule",
        "give the methods that fall to the prefix a row of their own",
    ),
    warning(
        "prefix-outranked",
        "an exact row with variables takes paths of a prefix row with another rule",
        "write the paths that matter out as exact rows",
    ),
    warning(
        "unreachable-row",
        "a row that no request finds, because others come before it",
        "remove the row, or the rows that come before it",
    ),
    warning(
        "closed-row",
        "a row without a legacy gate where V2 does not decide: nobody passes",
        "add `legacy` with today's roles, or let V2 decide",
    ),
    warning(
        "no-way-back",
        "a row of V2 without a legacy gate: the kill-switch closes it",
        "add `legacy` with today's roles, so that the kill-switch leaves the row open (I-5)",
    ),
    warning("no-cluster", "a row in no cluster: its V2 role never decides", "give the blueprint a `cluster`"),
    warning(
        "idle-cluster",
        "a cluster whose mode decides nothing",
        "remove the cluster, or give it to the blueprints that it is meant for",
    ),
    note(
        "unmapped-forwarded",
        "paths without a row are forwarded",
        "write `unmapped = \"deny\"` once the table is complete",
    ),
    note(
        "undecided",
        "a row waits for an operator's decision, on its legacy gate",
        "record a decision (I-6), then write `role` and `decided`",
    ),
    note(
        "totp-marker",
        "a row behind which Console asks for TOTP",
        "nothing: the gate never touches that chain (I-3, I-8)",
    ),
];

/// What `console-gate check` finds in the access tables. None of it keeps a mapping from being activated: such a row grants
/// nothing, and that may be what is wrong with it.
pub const ROWS: [Rule; 4] = [
    warning(
        "unknown-role-word",
        "an admin or token has a word for a legacy role that is none of the four",
        "write superadmin, ops, support or readonly, exactly so, or remove the row",
    ),
    warning(
        "unusable-row",
        "a row of the access tables lacks an id, a name or a time that can be read",
        "correct the row, or remove it",
    ),
    warning(
        "misspelt-switch",
        "a row that looks like FLAG_RBAC_V2 or its promotion and is neither",
        "write `FLAG_RBAC_V2` and `production` exactly so, or remove the row",
    ),
    note(
        "dangling-grant",
        "a grant of something, or to somebody, that does not exist",
        "remove the row, or correct the id: capitals and spaces count",
    ),
];

/// What `console-gate diff` finds.
pub const DIFF: [Rule; 2] = [
    warning(
        "access-gain",
        "somebody would be let in who is kept out today",
        "confirm that each of them shall be let in",
    ),
    warning(
        "access-loss",
        "somebody would be kept out who is let in today",
        "grant what is missing first, or confirm it",
    ),
];

/// What `console-gate lint` finds.
pub const LINT: [Rule; 11] = [
    error(
        "gate-differs",
        "the arguments of @require_role differ from the row's legacy column",
        "correct the row or the decorator: the gate must decide as Console does",
    ),
    error(
        "gate-above-route",
        "@require_role stands above the route, so Flask serves the view without it",
        "move it below the route's own decorator",
    ),
    error(
        "site-without-row",
        "a gated view has no row",
        "add a row with the decorator's arguments as `legacy`",
    ),
    error(
        "syntax-error",
        "a file is no Python and was left out",
        "correct the file: what is not read may hold a site",
    ),
    error(
        "require-role-left",
        "a @require_role is left after the cutover",
        "replace it by @require_rbac_role or @require_permission",
    ),
    warning(
        "row-without-site",
        "a row has a legacy gate and its view has none",
        "look whether something else gates the view, or correct the row",
    ),
    warning(
        "site-without-route",
        "a @require_role that belongs to no route that can be read",
        "compare it with the mapping by hand",
    ),
    warning(
        "unreadable-site",
        "the running program alone knows what is asked for, or where",
        "write the arguments and the path out, or compare it with the mapping by hand",
    ),
    warning(
        "may-gate",
        "something runs before a view, may refuse a request and is not understood",
        "compare what it asks for with the row by hand",
    ),
    note(
        "plain-hook",
        "something runs before views, and no refusal is seen in it",
        "nothing, if it refuses no request",
    ),
    warning(
        "inline-role-check",
        "a view compares roles by itself",
        "the gate cannot replace it: move it into a row or a permission of V2",
    ),
];

/// What `console-gate coverage` finds.
pub const COVERAGE: [Rule; 22] = [
    warning(
        "unmapped-hit",
        "somebody asked for a path that no row covers",
        "add a row, if Console serves the path",
    ),
    error(
        "route-without-row",
        "Console serves a route that no row covers",
        "add a row; until then the route is closed, or open to Console's own decorators, as `unmapped` says",
    ),
    error(
        "method-without-row",
        "Console serves a method of a path that has rows for other methods alone",
        "add a row for the method, or the method to the row",
    ),
    error(
        "path-without-row",
        "a route serves paths besides those of its row, and no row takes them",
        "add a row for the path, or correct the pattern of the route's row",
    ),
    error(
        "other-row-decides",
        "a route serves paths that another row decides than the one that is meant for it",
        "correct the patterns, so that every path of the route is decided by its own row",
    ),
    error(
        "websocket-differs",
        "a row and its route differ in whether they take WebSockets",
        "add `websocket = true` to the row of a WebSocket, and to no other row",
    ),
    warning(
        "host-ignored",
        "a route answers on one host alone, and rows know no host",
        "ask the same of routes that differ in the host alone, or run a gate for each host",
    ),
    warning(
        "unknown-order",
        "two routes can match the same request, and which one answers is not known",
        "use the output of deploy/flask/dump_routes.py, which has the order",
    ),
    warning(
        "not-compared",
        "not every path could be compared",
        "simplify lengths in the thousands, or compare part of the routes",
    ),
    warning(
        "converter-differs",
        "the row of a route has another converter, and so other paths",
        "write the path as Console's own rule has it",
    ),
    warning(
        "slash-differs",
        "a row and its route differ in the slash at the end",
        "write the path as Console's own rule has it",
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
        "a route has no row of its own and is decided by one with a variable in its place",
        "add a row, so that somebody has decided for this route",
    ),
    warning(
        "gone-route-exists",
        "a row says that a route was deleted, and Console still serves it",
        "delete the route from Console",
    ),
    warning(
        "unreadable-route",
        "a route of Console that cannot be compared with any row",
        "look at the route by hand, or use the output of deploy/flask/dump_routes.py",
    ),
    note(
        "never-served",
        "a rule that no request meets",
        "nothing, if it is meant only to build URLs; else look why it is not served",
    ),
    note(
        "console-redirects",
        "a route whose requests Console redirects before its view",
        "nothing: the row decides first, and the target has a row of its own",
    ),
    note(
        "own-converter",
        "a route with a converter that is the application's own",
        "nothing, if the row takes everything that the converter takes",
    ),
    note(
        "unlisted",
        "the list of routes may leave something out",
        "look at it by hand, or use the output of deploy/flask/dump_routes.py",
    ),
    note(
        "covered-by-prefix",
        "a route has no row of its own and is decided by a prefix row",
        "nothing, if the prefix is meant for it",
    ),
    note(
        "only-in-one-list",
        "a route that Flask lists is not in the source, or the other way round",
        "look whether its blueprint is registered, or declared at run time",
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
