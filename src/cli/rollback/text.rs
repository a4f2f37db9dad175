//! The text for the operator about a rollback or a release.

use workbench::report::style::columns;
use workbench::report::text::wrapped;

use crate::activation::agreement::{Agreement, Goal, Stray, Why};

/// The immediate step: the order is recorded.
pub(super) fn ordered(goal: &Goal) -> String {
    match &goal.mapping {
        Some(mapping) => format!("the rollback to {} is recorded", mapping.short()),
        None => "the release is recorded".to_owned(),
    }
}

/// Which gates follow, which do not, and why.
pub(super) fn outcome(agreement: &Agreement, goal: &Goal) -> String {
    let Agreement { followers, strays } = agreement;
    let done = match &goal.mapping {
        Some(mapping) => format!("rolled back to {}", mapping.short()),
        None => "the file is in force again".to_owned(),
    };
    let all = followers.len() + strays.len();
    let first = match (followers.len(), strays.len()) {
        (0, 0) => format!("{done}: no gate is running; it applies to the next gate that starts"),
        (1, 0) => format!("{done} at the only running gate, {}", followers[0]),
        (_, 0) => format!("{done} at all {all} gates: {}", followers.join(", ")),
        (0, _) => format!("{}, but none of {all} gate(s) follows", ordered(goal)),
        (some, _) => format!("{done} at {some} of {all} gates only: {}", followers.join(", ")),
    };
    let mut text = wrapped(&first, columns(), 0, 4) + "\n";
    for stray in strays {
        text.push_str(&sentence(stray, goal));
        text.push('\n');
    }
    text
}

fn sentence(Stray { name, runs, why }: &Stray, goal: &Goal) -> String {
    let runs = runs.short();
    let (word, what) = match &goal.mapping {
        Some(mapping) => ("rollback", mapping.short()),
        None => ("release", "its file"),
    };
    let line = |text: &str| wrapped(text, columns(), 0, 4);
    match why {
        Why::Refused(why) => {
            let why: Vec<String> = why.lines().map(|line| format!("    {line}")).collect();
            let first = line(&format!("{name} runs {runs} and refuses {what}:"));
            let help = match &goal.mapping {
                Some(_) => "    Correct what it names, or roll back to another mapping (`--to`).",
                None => "    Correct the file.",
            };
            format!("{first}\n{}\n{help}", why.join("\n"))
        }
        Why::NewerFile => line(&format!(
            "{name} runs {runs}: its file changed after the rollback, and a newer file wins. Roll back again to \
             replace that one too."
        )),
        Why::Silent(lease) => line(&format!(
            "{name} has not reported for {} s: it has stopped or cannot reach the database. It ran {runs}; it \
             follows when it is back.",
            lease.as_secs()
        )),
        Why::Late(limit) => line(&format!(
            "{name} runs {runs} and has not acted on the {word} for {} s: check its log.",
            limit.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use policy::ids::{MappingSha256, PinId};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_operator_reads_who_follows_and_what_to_do_about_the_others() {
        let rollback = Goal {
            pin: PinId::new("1"),
            mapping: Some(MappingSha256::new("0123456789abcdef")),
            is_file: false,
        };
        let release = Goal { pin: PinId::new("2"), mapping: None, is_file: false };
        let stray = |name: &str, why| {
            let runs = MappingSha256::new("fedcba9876543210");
            vec![Stray { name: name.to_owned(), runs, why }]
        };
        let refused = Why::Refused("routes.toml:1:1: no `x` [missing-role]\nroutes.toml:2:1: b".into());
        let ten = Duration::from_secs(10);
        let table = [
            (
                &rollback,
                names(&[]),
                vec![],
                "rolled back to 0123456789ab: no gate is running; it applies to the next gate\n    that starts\n",
            ),
            (
                &rollback,
                names(&["a/1"]),
                vec![],
                "rolled back to 0123456789ab at the only running gate, a/1\n",
            ),
            (
                &release,
                names(&["a/1", "b/2"]),
                vec![],
                "the file is in force again at all 2 gates: a/1, b/2\n",
            ),
            (
                &rollback,
                names(&["a/1"]),
                stray("b/2", refused.clone()),
                "rolled back to 0123456789ab at 1 of 2 gates only: a/1\n\
                 b/2 runs fedcba987654 and refuses 0123456789ab:\n    \
                 routes.toml:1:1: no `x` [missing-role]\n    routes.toml:2:1: b\n    \
                 Correct what it names, or roll back to another mapping (`--to`).\n",
            ),
            (
                &rollback,
                names(&[]),
                stray("b/2", Why::Silent(ten)),
                "the rollback to 0123456789ab is recorded, but none of 1 gate(s) follows\n\
                 b/2 has not reported for 10 s: it has stopped or cannot reach the database. It\n    \
                 ran fedcba987654; it follows when it is back.\n",
            ),
            (
                &release,
                names(&["a/1"]),
                stray("b/2", Why::Late(ten)),
                "the file is in force again at 1 of 2 gates only: a/1\n\
                 b/2 runs fedcba987654 and has not acted on the release for 10 s: check its log.\n",
            ),
        ];
        for (goal, followers, strays, expected) in table {
            assert_eq!(outcome(&Agreement { followers, strays }, goal), expected);
        }
    }
}
