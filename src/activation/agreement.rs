//! Waits until every gate of a database has acted on a rollback or a release, and names those that do not follow.
//!
//! Every running gate [reports](super::presence) its mapping and the order that it has acted on. A gate that has acted
//! and runs something else reports why. A gate that stays silent for its lease has stopped, or does not reach the
//! database, and is not waited for any longer.

use std::time::Duration;

use policy::ids::{MappingSha256, PinId};
use store::running::RunningGate;
use store::{Store, StoreError};
use tokio::time::{Instant, sleep};

use super::presence::Others;

/// Between two looks at the reports.
const LOOK: Duration = Duration::from_millis(50);

/// The order for every gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The order to act on.
    pub pin: PinId,
    /// The mapping to run then; `None`: the gate's own file.
    pub mapping: Option<MappingSha256>,
    /// Whether the mapping comes with the gate's own file, and not by a rollback.
    pub is_file: bool,
}

/// The outcome of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The gates that follow, by name.
    pub followers: Vec<String>,
    /// The gates that do not.
    pub strays: Vec<Stray>,
}

/// A gate that does not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    pub name: String,
    /// Its mapping, as it last reported.
    pub runs: MappingSha256,
    pub why: Why,
}

/// Why a gate does not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It refused the mapping that it was to run.
    Refused(String),
    /// Its file is newer than the rollback.
    NewerFile,
    /// It has not reported for this long.
    Silent(Duration),
    /// It reports, but has not acted on the order in this time.
    Late(Duration),
}

/// Waits, `limit` at most, until no gate remains that may still act.
///
/// # Errors
///
/// The database did not answer. The order itself is recorded.
pub async fn wait(store: &Store, goal: &Goal, limit: Duration) -> Result<Agreement, StoreError> {
    let started = Instant::now();
    let mut others = Others::default();
    loop {
        let gates = store.running_gates().await?;
        let silent = others.silent(gates.clone(), Instant::now());
        let is_over = started.elapsed() >= limit;
        let mut agreement = Agreement::default();
        let (mut is_open, mut forgotten) = (false, Vec::new());
        for gate in gates {
            let why = match judge(&gate, goal) {
                Progress::Follows => {
                    agreement.followers.push(gate.name);
                    continue;
                }
                Progress::Strays(why) => why,
                Progress::Open if silent.contains(&gate) => {
                    forgotten.push(gate.clone());
                    Why::Silent(gate.lease)
                }
                Progress::Open => {
                    is_open = true;
                    Why::Late(limit)
                }
            };
            agreement.strays.push(Stray { name: gate.name, runs: gate.runs.mapping, why });
        }
        if !is_open || is_over {
            // The next command then need not wait for gates that have ended. A gate that has reported since is kept.
            store.forget_silent(&forgotten).await?;
            return Ok(agreement);
        }
        sleep(LOOK).await;
    }
}

enum Progress {
    Follows,
    Strays(Why),
    /// It has yet to act.
    Open,
}

fn judge(gate: &RunningGate, goal: &Goal) -> Progress {
    let runs = &gate.runs;
    if runs.pin != goal.pin {
        return Progress::Open;
    }
    let wanted = goal.mapping.as_ref().or(runs.file.as_ref());
    match &runs.problem {
        _ if wanted == Some(&runs.mapping) => Progress::Follows,
        // A gate that has not seen the file yet may still report what was wrong with the one before.
        _ if goal.is_file && runs.file != goal.mapping => Progress::Open,
        Some(problem) => Progress::Strays(Why::Refused(problem.clone())),
        None if goal.mapping.is_some() && !goal.is_file && !runs.is_held => Progress::Strays(Why::NewerFile),
        None => Progress::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::ids::InstanceId;
    use store::running::Runs;

    /// A report of `(mapping, file, pin, is_held, problem)`.
    type Reported = (&'static str, Option<&'static str>, &'static str, bool, Option<&'static str>);

    fn judged((mapping, file, pin, is_held, problem): Reported, goal: &Goal) -> String {
        let runs = Runs {
            mapping: MappingSha256::new(mapping),
            file: file.map(MappingSha256::new),
            pin: PinId::new(pin),
            is_held,
            problem: problem.map(str::to_owned),
        };
        let instance = InstanceId::new("i");
        let lease = Duration::from_secs(10);
        match judge(&RunningGate { instance, name: "g/1".into(), reports: 1, lease, runs }, goal) {
            Progress::Follows => "follows".to_owned(),
            Progress::Strays(why) => format!("{why:?}"),
            Progress::Open => "open".to_owned(),
        }
    }

    #[test]
    fn a_rollback_is_followed_by_who_runs_its_mapping_since() {
        let goal = Goal { pin: PinId::new("2"), mapping: Some(MappingSha256::new("a")), is_file: false };
        let table: [(Reported, &str); 7] = [
            (("b", Some("b"), "1", false, None), "open"),
            // It runs the same by chance, and will not hold it.
            (("a", Some("a"), "1", false, None), "open"),
            (("a", Some("b"), "2", true, None), "follows"),
            (("a", Some("a"), "2", false, None), "follows"),
            (("a", Some("c"), "2", true, Some("its new file is refused")), "follows"),
            (("b", Some("b"), "2", true, Some("no such role")), "Refused(\"no such role\")"),
            (("c", Some("c"), "2", false, None), "NewerFile"),
        ];
        for (reported, expected) in table {
            assert_eq!(judged(reported, &goal), expected, "{reported:?}");
        }
    }

    #[test]
    fn a_release_is_followed_by_who_runs_its_own_file_since() {
        let goal = Goal { pin: PinId::new("2"), mapping: None, is_file: false };
        let table: [(Reported, &str); 5] = [
            (("a", Some("b"), "1", true, None), "open"),
            (("b", Some("b"), "2", false, None), "follows"),
            // Its file is changing right now.
            (("a", Some("b"), "2", false, None), "open"),
            (("a", Some("b"), "2", false, Some("row-count")), "Refused(\"row-count\")"),
            (("a", None, "2", false, Some("no such file")), "Refused(\"no such file\")"),
        ];
        for (reported, expected) in table {
            assert_eq!(judged(reported, &goal), expected, "{reported:?}");
        }
    }
    #[test]
    fn a_turn_is_followed_by_who_runs_the_written_file() {
        let goal = Goal { pin: PinId::new("2"), mapping: Some(MappingSha256::new("a")), is_file: true };
        let table: [(Reported, &str); 5] = [
            (("b", Some("b"), "2", false, None), "open"),
            (("a", Some("a"), "2", false, None), "follows"),
            // What was wrong with the file before.
            (("b", Some("c"), "2", false, Some("row-count")), "open"),
            (("b", Some("a"), "2", false, Some("row-count")), "Refused(\"row-count\")"),
            (("b", Some("a"), "1", true, None), "open"),
        ];
        for (reported, expected) in table {
            assert_eq!(judged(reported, &goal), expected, "{reported:?}");
        }
    }
}
