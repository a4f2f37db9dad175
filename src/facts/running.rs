//! The mappings that the gates of a database run.

use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use serde::Serialize;
use store::mappings::StoredActivation;
use store::running::RunningGate;
use store::{SharedStore, StoreError};

use super::WorkbenchError;

/// The running mapping, whatever a file contains by now.
#[derive(Debug)]
pub struct Running {
    /// The mapping that every gate runs. If they differ: the one that was activated last if a gate runs it, otherwise
    /// the first gate's.
    pub mapping: Mapping,
    /// The gates, if they run different mappings: [`Running::mapping`] is then not the mapping of all.
    pub differing: Vec<GateRuns>,
}

/// What one gate runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GateRuns {
    /// Host and process id.
    pub gate: String,
    pub mapping_sha256: String,
}

impl Running {
    /// A sentence if the gates differ.
    pub fn warning(&self) -> Option<String> {
        let gates = in_words(&self.differing)?;
        let used = self.mapping.sha256().short();
        Some(format!("the gates run different mappings: {gates}; this report uses {used}"))
    }
}

/// `a/1 runs 0123456789ab, b/2 runs fedcba987654`; `None` if no gate differs.
pub fn in_words(differing: &[GateRuns]) -> Option<String> {
    let short = |sha256: &str| sha256.get(..12).unwrap_or(sha256).to_owned();
    let runs = |one: &GateRuns| format!("{} runs {}", one.gate, short(&one.mapping_sha256));
    let gates: Vec<String> = differing.iter().map(runs).collect();
    (!gates.is_empty()).then(|| gates.join(", "))
}

/// The mapping that the gates report; if no gate is running, the one that was activated last.
///
/// # Errors
///
/// No mapping was activated yet, or the database is away.
pub async fn running(store: &SharedStore) -> Result<Running, WorkbenchError> {
    let Observed { gates, runs } = observed(store).await?;
    let sha256 = runs.ok_or(WorkbenchError::NoMapping)?;
    let text = store.mapping_text(&sha256).await?.ok_or(WorkbenchError::NoMapping)?;
    let mapping = Mapping::parse("the running mapping", &text)?;
    Ok(Running { mapping, differing: differing(&gates) })
}

/// The gates, and what they run.
pub struct Observed {
    pub gates: Vec<RunningGate>,
    /// The mapping that was activated last. If gates run and none of them runs it, the first gate's; `None` if there
    /// never was one.
    pub runs: Option<MappingSha256>,
}

/// Looks at the gates.
///
/// # Errors
///
/// The database is away.
pub async fn observed(store: &SharedStore) -> Result<Observed, StoreError> {
    let gates = store.running_gates().await?;
    Ok(together(gates, store.latest_activation().await?))
}

/// A gate records a mapping before it runs and reports it, so the latest record is newer than the same gate's report.
fn together(mut gates: Vec<RunningGate>, latest: Option<StoredActivation>) -> Observed {
    let latest = latest.map(|latest| (latest.instance, MappingSha256::new(latest.sha256)));
    if let Some((name, sha256)) = &latest {
        for gate in gates.iter_mut().filter(|gate| gate.name == *name) {
            gate.runs.mapping = sha256.clone();
        }
    }
    let is_run = |sha256: &MappingSha256| gates.iter().any(|gate| gate.runs.mapping == *sha256);
    let latest = latest.map(|(_, sha256)| sha256).filter(|latest| gates.is_empty() || is_run(latest));
    let runs = latest.or_else(|| gates.first().map(|gate| gate.runs.mapping.clone()));
    Observed { gates, runs }
}

/// Every gate with its mapping, unless all run the same.
pub fn differing(gates: &[RunningGate]) -> Vec<GateRuns> {
    if gates.windows(2).all(|pair| pair[0].runs.mapping == pair[1].runs.mapping) {
        return Vec::new();
    }
    let runs = |gate: &RunningGate| GateRuns {
        gate: gate.name.clone(),
        mapping_sha256: gate.runs.mapping.as_str().to_owned(),
    };
    gates.iter().map(runs).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use policy::ids::{InstanceId, PinId};
    use store::running::Runs;

    fn gates(mappings: &[&str]) -> Vec<RunningGate> {
        let gate = |(number, mapping): (usize, &&str)| RunningGate {
            instance: InstanceId::new(number.to_string()),
            name: format!("g/{number}"),
            reports: 1,
            lease: Duration::from_secs(10),
            runs: Runs {
                mapping: MappingSha256::new(*mapping),
                file: None,
                pin: PinId::new(""),
                is_held: false,
                problem: None,
            },
        };
        mappings.iter().enumerate().map(gate).collect()
    }

    fn activation(gate: &str, sha256: &str) -> StoredActivation {
        StoredActivation {
            sha256: sha256.into(),
            activated_at_utc: chrono::DateTime::UNIX_EPOCH,
            activated_by: "file".into(),
            instance: gate.into(),
            outcome: "activated".into(),
            diagnostics: None,
            previous_sha256: None,
        }
    }

    #[test]
    fn what_runs_is_what_the_gates_report() {
        // What the gates report, which gate recorded what last, and what runs then; how many gates differ.
        let table = [
            (vec![], None, None, 0),
            (vec![], Some(("g/9", "a")), Some("a"), 0),
            (vec!["a"], Some(("g/0", "a")), Some("a"), 0),
            (vec!["a"], None, Some("a"), 0),
            // Recorded by a gate that has stopped.
            (vec!["a", "a"], Some(("g/9", "b")), Some("a"), 0),
            (vec!["a", "b"], Some(("g/9", "b")), Some("b"), 2),
            (vec!["a", "b", "a"], Some(("g/9", "c")), Some("a"), 3),
            // Recorded by a gate that has yet to report it.
            (vec!["a"], Some(("g/0", "b")), Some("b"), 0),
            (vec!["a", "b"], Some(("g/0", "b")), Some("b"), 0),
            (vec!["a", "a"], Some(("g/1", "b")), Some("b"), 2),
        ];
        for (reported, latest, expected, differ) in table {
            let observed = together(gates(&reported), latest.map(|(gate, sha256)| activation(gate, sha256)));
            assert_eq!(
                observed.runs.as_ref().map(MappingSha256::as_str),
                expected,
                "{reported:?} {latest:?}"
            );
            assert_eq!(differing(&observed.gates).len(), differ, "{reported:?} {latest:?}");
        }
    }
}
