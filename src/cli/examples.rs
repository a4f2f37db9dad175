//! Examples, at the end of each `--help` and man page. A test parses every line, so none can rot.

use clap::Command;

/// The commands, by their names, each with its examples.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "console-gate demo",
            "console-gate --config gate.toml check",
            "console-gate --config gate.toml serve",
        ],
    ),
    (
        "serve",
        &[
            "console-gate --config /etc/console-gate/gate.toml serve",
            "console-gate serve --listen 0.0.0.0:8080 --upstream unix:/run/console/console.sock",
            "console-gate --config gate.toml serve --upgrade",
        ],
    ),
    (
        "exec",
        &[
            "console-gate --config gate.toml exec -- gunicorn app:app",
            "console-gate --config gate.toml exec --listen 0.0.0.0:8080 -- uvicorn --uds {socket} app:app",
        ],
    ),
    (
        "migrate",
        &[
            "console-gate --database sqlite:gate.sqlite migrate --seed rbac-v2",
            "console-gate migrate --plan",
            "console-gate migrate --grant-to console_gate",
        ],
    ),
    (
        "adopt",
        &["console-gate --database postgres://localhost/console adopt --inspect --console-src ./console"],
    ),
    (
        "check",
        &[
            "console-gate --config gate.toml check",
            "console-gate check routes.toml --offline",
            "console-gate check routes.toml --offline --format sarif",
            "console-gate check routes.toml --fix",
        ],
    ),
    (
        "doctor",
        &[
            "console-gate --config gate.toml doctor",
            "console-gate --config gate.toml doctor --cookie - --bundle report.tar.gz",
        ],
    ),
    ("config", &["console-gate --config gate.toml config show"]),
    (
        "config show",
        &[
            "console-gate --config gate.toml config show",
            "console-gate --config gate.toml config show --format json",
        ],
    ),
    ("config schema", &["console-gate config schema routes", "console-gate config schema gate"]),
    (
        "diff",
        &[
            "console-gate --config gate.toml diff",
            "console-gate --config gate.toml diff routes.toml new.toml",
            "console-gate --config gate.toml diff routes.toml --cluster S3=v2 --only losses",
            "console-gate --config gate.toml diff routes.toml new.toml --admin admin-07",
        ],
    ),
    (
        "coverage",
        &[
            "console-gate coverage --console-src ./console",
            "console-gate --config gate.toml coverage --hits 14d",
        ],
    ),
    ("lint", &["console-gate lint --console-src ./console"]),
    (
        "import",
        &[
            "console-gate import --console-src ./console --output routes.toml",
            "console-gate import --console-src ./console --guard api_or_session=machine-or-session --guard login_required=session",
        ],
    ),
    (
        "drift",
        &[
            "console-gate --config gate.toml drift --cluster S3",
            "console-gate --config gate.toml drift --explain d41d8cd98f00",
            "console-gate --config gate.toml drift --sign-off d41d8cd98f00 --reason 'wanted, see #1473'",
        ],
    ),
    ("soak", &["console-gate --config gate.toml soak --cluster S3"]),
    (
        "who",
        &[
            "console-gate --config gate.toml who GET /secrets",
            "console-gate --config gate.toml who GET /secrets --at 2026-11-17T06:00:00Z",
            "console-gate --config gate.toml who GET /secrets --from 2026-11-01 --to 2026-12-01 --did --format csv",
        ],
    ),
    (
        "explain",
        &[
            "console-gate --config gate.toml explain GET /console/customers/ --as admin-07",
            "console-gate --mapping routes.toml explain POST /console/orders/12/refund --group raxx-support-team",
        ],
    ),
    (
        "flag",
        &[
            "console-gate --config gate.toml flag rbac-v2 show",
            "console-gate --config gate.toml flag rbac-v2 off",
        ],
    ),
    (
        "rollback",
        &[
            "console-gate --config gate.toml rollback --to 3f9a1c",
            "console-gate --config gate.toml rollback --release",
        ],
    ),
    (
        "history",
        &["console-gate --config gate.toml history", "console-gate --config gate.toml history --show 3f9a1c"],
    ),
    ("audit", &["console-gate --config gate.toml audit tail"]),
    ("audit tail", &["console-gate --config gate.toml audit tail --limit 100"]),
    ("audit verify", &["console-gate --config gate.toml audit verify --checkpoints checkpoints.jsonl"]),
    (
        "audit export",
        &["console-gate --config gate.toml audit export --since 2026-11-01 --until 2026-12-01 --format csv"],
    ),
    ("audit erase", &["console-gate --config gate.toml audit erase admin-07"]),
    ("replay", &["console-gate --config gate.toml --mapping new.toml replay --since 2026-11-01"]),
    ("backup", &["console-gate --config gate.toml backup gate-2026-11-22.sqlite"]),
    ("restore", &["console-gate --config gate.toml restore gate-2026-11-22.sqlite"]),
    ("retention", &["console-gate --config gate.toml retention --dry-run"]),
    (
        "verify",
        &[
            "console-gate --config gate.toml verify --gate http://127.0.0.1:8080",
            "console-gate --config gate.toml verify --gate http://127.0.0.1:8080 --cluster S3 --report verified.json",
        ],
    ),
    ("token", &["console-gate --config gate.toml token list"]),
    (
        "token create",
        &["console-gate --config gate.toml token create raptor --group raptor-machines --days 90d"],
    ),
    (
        "token enroll",
        &["console-gate --config gate.toml token enroll --name raptor --sha256 \
             9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    ),
    ("token rotate", &["console-gate --config gate.toml token rotate raptor"]),
    ("token revoke", &["console-gate --config gate.toml token revoke raptor"]),
    ("token list", &["console-gate --config gate.toml token list"]),
    ("admin", &["console-gate --config gate.toml admin list"]),
    (
        "admin add",
        &[
            "console-gate --config gate.toml admin add admin-07 --email ann@example.org --group raxx-support-team",
        ],
    ),
    ("admin disable", &["console-gate --config gate.toml admin disable admin-07 --reason 'left'"]),
    ("admin enable", &["console-gate --config gate.toml admin enable admin-07"]),
    ("admin list", &["console-gate --config gate.toml admin list --format json"]),
    ("admin show", &["console-gate --config gate.toml admin show admin-07"]),
    ("group", &["console-gate --config gate.toml group list"]),
    ("group create", &["console-gate --config gate.toml group create night-shift --role console-user"]),
    (
        "group add",
        &["console-gate --config gate.toml group add night-shift admin-07 admin-12 --until 8h --dry-run"],
    ),
    ("group remove", &["console-gate --config gate.toml group remove night-shift admin-07"]),
    ("group grant-role", &["console-gate --config gate.toml group grant-role night-shift console-user"]),
    (
        "group revoke-role",
        &["console-gate --config gate.toml group revoke-role night-shift console-user --dry-run"],
    ),
    ("group list", &["console-gate --config gate.toml group list"]),
    ("group show", &["console-gate --config gate.toml group show night-shift"]),
    ("grantors", &["console-gate --config gate.toml grantors list"]),
    (
        "grantors add",
        &["console-gate --config gate.toml grantors add --group night-shift team-leads --with-approval"],
    ),
    ("grantors remove", &["console-gate --config gate.toml grantors remove --group night-shift team-leads"]),
    ("grantors list", &["console-gate --config gate.toml grantors list --format json"]),
    ("grant", &["console-gate --config gate.toml grant list --of admin-07"]),
    ("grant list", &["console-gate --config gate.toml grant list --group night-shift --all"]),
    (
        "grant end",
        &["console-gate --config gate.toml grant end 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10 --reason 'done'"],
    ),
    ("ticket", &["console-gate --config gate.toml ticket list"]),
    (
        "ticket grant",
        &[
            "console-gate --config gate.toml ticket grant admin-07 customer-reader --ticket 4711 --customer 12 --until 8h",
        ],
    ),
    ("ticket end", &["console-gate --config gate.toml ticket end 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"]),
    ("ticket list", &["console-gate --config gate.toml ticket list --ticket 4711"]),
    ("ticket check", &["console-gate --config gate.toml ticket check --end"]),
    ("alert", &["console-gate --config gate.toml alert test"]),
    ("alert test", &["console-gate --config gate.toml alert test"]),
    ("alert list", &["console-gate --config gate.toml alert list --days 30d"]),
    ("review", &["console-gate --config gate.toml review show"]),
    ("review open", &["console-gate --config gate.toml review open"]),
    ("review list", &["console-gate --config gate.toml review list"]),
    ("review show", &["console-gate --config gate.toml review show --undecided"]),
    (
        "review decide",
        &["console-gate --config gate.toml review decide revoke 17 18 --comment 'not used since May'"],
    ),
    ("review close", &["console-gate --config gate.toml review close 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"]),
    ("change-window", &["console-gate --config gate.toml change-window list"]),
    (
        "change-window open",
        &["console-gate --config gate.toml change-window open --for 30m --reason 'new role, #1473'"],
    ),
    ("change-window close", &["console-gate --config gate.toml change-window close"]),
    ("change-window list", &["console-gate --config gate.toml change-window list"]),
    ("role", &["console-gate --config gate.toml role list"]),
    (
        "role create",
        &["console-gate --config gate.toml role create refunder --inherits console-user --permission refund"],
    ),
    ("role inherit", &["console-gate --config gate.toml role inherit refunder console-user"]),
    ("role disinherit", &["console-gate --config gate.toml role disinherit refunder console-user --dry-run"]),
    ("role permit", &["console-gate --config gate.toml role permit refunder refund --create"]),
    ("role forbid", &["console-gate --config gate.toml role forbid refunder refund"]),
    ("role list", &["console-gate --config gate.toml role list"]),
    (
        "backfill",
        &[
            "console-gate --config gate.toml backfill --map ops=raxx-support-team --plan backfill.json",
            "console-gate --config gate.toml backfill --apply backfill.json --reason 'cutover of S3'",
        ],
    ),
    ("passkey", &["console-gate --config gate.toml passkey list"]),
    ("passkey invite", &["console-gate --config gate.toml passkey invite admin-07"]),
    ("passkey list", &["console-gate --config gate.toml passkey list --of admin-07"]),
    (
        "passkey revoke",
        &["console-gate --config gate.toml passkey revoke 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"],
    ),
    ("break-glass", &["console-gate --config gate.toml break-glass list"]),
    ("break-glass list", &["console-gate --config gate.toml break-glass list --all"]),
    (
        "break-glass end",
        &["console-gate --config gate.toml break-glass end 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"],
    ),
    (
        "break-glass requests",
        &["console-gate --config gate.toml break-glass requests 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10"],
    ),
    (
        "break-glass review",
        &[
            "console-gate --config gate.toml break-glass review 0199f3c2-7d1e-7cc0-8b1c-2f6d1f9b7a10 --comment 'as agreed'",
        ],
    ),
    ("break-glass drill", &["console-gate --config gate.toml break-glass drill"]),
    (
        "promote",
        &[
            "console-gate --config gate.toml promote --environment production",
            "console-gate --config gate.toml promote --list",
        ],
    ),
    ("keygen", &["console-gate keygen", "console-gate keygen --id 2026-11"]),
    (
        "healthcheck",
        &[
            "console-gate healthcheck",
            "console-gate healthcheck --ready --admin unix:/run/console-gate/admin.sock",
        ],
    ),
    ("completions", &["console-gate completions bash"]),
    ("man", &["console-gate man /usr/local/share/man/man1"]),
    ("demo", &["console-gate demo", "console-gate demo --port 9000"]),
];

/// The command with the examples of each of its subcommands.
pub(super) fn with_examples(command: Command) -> Command {
    add(command, "")
}

fn add(command: Command, path: &str) -> Command {
    let examples = EXAMPLES.iter().find(|(name, _)| *name == path).map(|(_, examples)| examples);
    let command = match examples {
        Some(examples) => command.after_help(format!("Examples:\n  {}", examples.join("\n  "))),
        None => command,
    };
    command.mut_subcommands(|inner| {
        let path = format!("{path} {}", inner.get_name());
        add(inner, path.trim_start())
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Arguments;
    use super::*;

    /// The words of a line as a shell splits it: single quotes are the only ones that examples use.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        let words = parts.flat_map(|(number, part)| match number % 2 {
            1 => vec![part.to_owned()],
            _ => part.split_whitespace().map(ToOwned::to_owned).collect(),
        });
        words.collect()
    }

    fn each(command: &Command, path: &str, seen: &mut Vec<String>) {
        seen.push(path.to_owned());
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            each(inner, format!("{path} {}", inner.get_name()).trim_start(), seen);
        }
    }

    #[test]
    fn every_command_has_examples_that_parse() {
        let (mut paths, mut command) = (Vec::new(), Arguments::command());
        command.build();
        each(&command, "", &mut paths);
        let unknown: Vec<_> =
            EXAMPLES.iter().filter(|(path, _)| !paths.iter().any(|one| one == path)).collect();
        assert!(unknown.is_empty(), "there is no such command: {unknown:?}");
        for path in &paths {
            let examples = EXAMPLES.iter().find(|(name, _)| name == path).map(|(_, examples)| *examples);
            let examples = examples.unwrap_or_else(|| panic!("`{path}` has no example"));
            for example in examples {
                let parsed = Arguments::command().try_get_matches_from(words(example));
                let matches = parsed.unwrap_or_else(|error| panic!("{example}: {error}"));
                let (mut within, mut named) = (&matches, String::new());
                while let Some((name, inner)) = within.subcommand() {
                    named = format!("{named} {name}");
                    within = inner;
                }
                assert!(named.trim_start().starts_with(path.as_str()), "{example} is no example of `{path}`");
            }
        }
    }

    #[test]
    fn help_ends_with_the_examples() {
        let mut command = with_examples(Arguments::command());
        let group = command.find_subcommand_mut("group").unwrap();
        let help = group.find_subcommand_mut("add").unwrap().render_long_help().to_string();
        assert!(
            help.contains("Examples:\n  console-gate --config gate.toml group add night-shift"),
            "{help}"
        );
    }
}
