//! `--help` and man pages: subcommands under headings, examples at the end, global options where they do something.

use clap::Command;
use clap::builder::StyledStr;

use super::Command as SubCommand;

/// Examples, by the path of the subcommand: `group add`. A test parses each line.
pub(super) type Examples = &'static [(&'static str, &'static [&'static str])];

const OF_THE_PROGRAM: Examples = &[(
    "",
    &["console-gate demo", "console-gate --config gate.toml check", "console-gate --config gate.toml serve"],
)];

/// Subcommands for which a global option has no effect, or the only ones for which it has one: by the first word of the
/// path, or the whole path.
const WITHOUT_SETTINGS: &[&str] = &["completions", "man", "keygen", "import", "demo", "config schema"];
const WITHOUT_DATABASE: &[&str] = &["lint", "pages", "healthcheck"];
const WITH_MAPPING: &[&str] = &[
    "serve",
    "exec",
    "check",
    "test",
    "doctor",
    "config",
    "diff",
    "explain",
    "coverage",
    "lint",
    "drift",
    "soak",
    "replay",
    "backfill",
    "who",
    "pages",
    "rollback",
    "review",
    "break-glass",
    "token",
];
const WITH_ENVIRONMENT: &[&str] =
    &["serve", "exec", "check", "doctor", "config", "explain", "who", "promote", "verify"];

fn does_something(option: &str, path: &str) -> bool {
    let is_in = |list: &[&str]| {
        list.iter()
            .any(|one| path == *one || path.strip_prefix(one).is_some_and(|rest| rest.starts_with(' ')))
    };
    match option {
        "color" => !is_in(&["completions", "man"]),
        _ if is_in(WITHOUT_SETTINGS) => false,
        "database" => !is_in(WITHOUT_DATABASE),
        "mapping" => is_in(WITH_MAPPING),
        "environment" => is_in(WITH_ENVIRONMENT),
        _ => true,
    }
}

/// The command line as `--help` and man pages show it.
pub(super) fn arranged(command: Command) -> Command {
    let groups = subcommands_under_headings(&command);
    let header = *command.get_styles().get_header();
    let globals: Vec<clap::Arg> =
        command.get_arguments().filter(|option| option.is_global_set()).cloned().collect();
    add(command, "", &globals).help_template(format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{}\n{header}Options:{header:#}\n{{options}}{{after-help}}",
        groups.ansi()
    ))
}

fn subcommands_under_headings(command: &Command) -> StyledStr {
    let mut all = command.get_subcommands();
    let width = command.get_subcommands().map(|inner| inner.get_name().len()).max().unwrap_or_default();
    let style = command.get_styles();
    let (header, literal) = (style.get_header(), style.get_literal());
    let mut text = String::new();
    for (heading, count) in SubCommand::HEADINGS {
        text += &format!("\n{header}{heading}:{header:#}\n");
        for inner in all.by_ref().take(*count) {
            let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
            text += &format!("  {literal}{:width$}{literal:#}  {about}\n", inner.get_name());
        }
    }
    StyledStr::from(text)
}

/// The subcommand at `path` with its examples, and all below it.
fn add(command: Command, path: &str, globals: &[clap::Arg]) -> Command {
    let command = match of(path) {
        Some(examples) => command.after_help(format!("Examples:\n  {}", examples.join("\n  "))),
        None => command,
    };
    // An option of the subcommand's own is not passed down to it.
    let own = globals.iter().filter(|_| !path.is_empty()).map(|option| {
        let option = option.clone().hide_env(true).hide_default_value(true);
        let is_shown = does_something(option.get_id().as_str(), path);
        option.hide(!is_shown)
    });
    let command = command.args(own);
    command.mut_subcommands(|inner| {
        let path = format!("{path} {}", inner.get_name());
        add(inner, path.trim_start(), globals)
    })
}

fn all() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    std::iter::once(&OF_THE_PROGRAM).chain(SubCommand::EXAMPLES).flat_map(|of_file| of_file.iter().copied())
}

fn of(path: &str) -> Option<&'static [&'static str]> {
    all().find_map(|(name, examples)| (name == path).then_some(examples))
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
        let unknown: Vec<_> = all().filter(|(path, _)| !paths.iter().any(|one| one == path)).collect();
        assert!(unknown.is_empty(), "there is no such command: {unknown:?}");
        for path in &paths {
            let examples = of(path);
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
        let mut command = arranged(Arguments::command());
        let group = command.find_subcommand_mut("group").unwrap();
        let help = group.find_subcommand_mut("add").unwrap().render_long_help().to_string();
        assert!(
            help.contains("Examples:\n  console-gate --config gate.toml group add night-shift"),
            "{help}"
        );
    }

    #[test]
    fn each_subcommand_is_under_a_heading() {
        let help = arranged(Arguments::command()).term_width(80).render_help().to_string();
        for (heading, _) in SubCommand::HEADINGS {
            assert!(help.contains(&format!("\n{heading}:\n  ")), "{help}");
        }
        for inner in Arguments::command().get_subcommands() {
            assert!(
                help.contains(&format!("\n  {} ", inner.get_name())),
                "{} is missing: {help}",
                inner.get_name()
            );
        }
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }

    #[test]
    fn global_options_are_shown_where_they_do_something() {
        let mut command = arranged(Arguments::command());
        command.build();
        let mut help = |path: &[&str]| {
            let at = path.iter().fold(&mut command, |at, name| at.find_subcommand_mut(name).unwrap());
            at.render_long_help().to_string()
        };
        assert!(help(&["check"]).contains("\nGlobal options:\n      --config <FILE>"));
        assert!(help(&["check"]).contains("--mapping <FILE>"));
        assert!(!help(&["keygen"]).contains("--config"));
        assert!(
            !help(&["group", "add"]).contains("--mapping") && help(&["group", "add"]).contains("--database")
        );
    }
}
