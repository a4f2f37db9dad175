//! The record of activations and refusals.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clock::SharedClock;
use ledger::{AuditEvent, Notary, Note};
use metrics::counter;
use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use policy::mapping::order::Untimely;
use store::mappings::Activation;
use store::{SharedStore, StoreError};

/// The cause of an activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// The gate starts.
    Start,
    /// The file changed.
    File,
    /// An operator turned a cluster over the API of this gate, which wrote the file.
    Turn { by: String, what: String },
    /// SIGHUP.
    Signal,
    /// An operator rolled back.
    Rollback { by: String },
    /// An operator released the rollback: the files decide again.
    Release { by: String },
    /// The gate starts with an unusable file: the mapping that was activated last runs.
    Fallback,
}

impl Trigger {
    /// For the audit.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Trigger::Start => "start",
            Trigger::File => "file",
            Trigger::Turn { .. } => "turn",
            Trigger::Signal => "signal",
            Trigger::Rollback { .. } => "rollback",
            Trigger::Release { .. } => "release",
            Trigger::Fallback => "fallback",
        }
    }

    /// For the history: the actor, as far as it is known. For a file that is its owner, who put it there in most
    /// places; a gate learns neither who wrote to it nor who sent a signal.
    fn in_words(&self, file: &Path) -> String {
        let word = self.word();
        match self {
            Trigger::Rollback { by } | Trigger::Release { by } | Trigger::Turn { by, .. } => {
                format!("{word} by {by}")
            }
            Trigger::Start | Trigger::File | Trigger::Signal => match owner(file) {
                Some(owner) => format!("{word} of {owner}"),
                None => word.to_owned(),
            },
            Trigger::Fallback => word.to_owned(),
        }
    }
}

/// The owner of the file, by name if the system has one.
fn owner(file: &Path) -> Option<String> {
    let id = std::fs::metadata(file).ok()?.uid();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(id)).ok().flatten();
    Some(user.map_or_else(|| format!("user {id}"), |user| user.name))
}

/// A refused mapping.
pub(super) struct Refused<'r> {
    pub(super) sha256: MappingSha256,
    /// Empty if there is no text.
    pub(super) text: &'r str,
    pub(super) why: &'r str,
    pub(super) trigger: &'r Trigger,
    pub(super) running: &'r MappingSha256,
}

/// Writes activations and refusals, each with its audit row.
pub(super) struct Recorder {
    /// `routes.toml`.
    pub(super) file: PathBuf,
    pub(super) store: SharedStore,
    pub(super) clock: SharedClock,
    /// The gate's name.
    pub(super) name: String,
    pub(super) notary: Notary,
    /// The servers beside Console that rows may name.
    pub(super) upstreams: BTreeSet<String>,
}

impl Recorder {
    /// Records that `mapping` is activated, and which clusters it flips before their time by override. The mapping may
    /// run only after that.
    pub(super) async fn activated(
        &self,
        mapping: &Mapping,
        previous: Option<&MappingSha256>,
        trigger: &Trigger,
        overridden: &[Untimely],
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let event = AuditEvent::MappingActivated {
            sha256: mapping.sha256().clone(),
            previous: previous.cloned(),
            trigger: trigger.word(),
        };
        let activation = Activation {
            id: uuid::Uuid::now_v7(),
            sha256: mapping.sha256().clone(),
            activated_at: now,
            activated_by: trigger.in_words(&self.file),
            instance: self.name.clone(),
            outcome: "activated",
            diagnostics: match trigger {
                Trigger::Turn { what, .. } => Some(what.clone()),
                _ => None,
            },
            previous: previous.cloned(),
        };
        let note = self.notary.note(event.into_record(now));
        let further: Vec<Note> = overridden
            .iter()
            .filter_map(|untimely| {
                let excuse = untimely.excuse.clone()?;
                let event = AuditEvent::OrderOverridden {
                    sha256: mapping.sha256().clone(),
                    cluster: untimely.cluster.clone(),
                    missing: untimely.missing.clone(),
                    reason: excuse.reason,
                    reference: excuse.reference,
                };
                Some(self.notary.note(event.into_record(now)))
            })
            .collect();
        self.store.record_activation_with(&activation, mapping.source(), &note, &further).await
    }

    pub(super) async fn refused(&self, refused: &Refused<'_>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let event = AuditEvent::MappingRefused {
            sha256: refused.sha256.clone(),
            running: Some(refused.running.clone()),
            diagnostics: refused.why.to_owned(),
        };
        let activation = Activation {
            id: uuid::Uuid::now_v7(),
            sha256: refused.sha256.clone(),
            activated_at: now,
            activated_by: refused.trigger.in_words(&self.file),
            instance: self.name.clone(),
            outcome: "refused",
            diagnostics: Some(refused.why.to_owned()),
            previous: Some(refused.running.clone()),
        };
        let note = self.notary.note(event.into_record(now));
        self.store.record_activation(&activation, refused.text, &note).await
    }
}

/// Shows which mapping runs.
pub(super) fn show(mapping: &Mapping, is_first: bool) {
    if !is_first {
        counter!("gate_mapping_reloads_total", "outcome" => "activated").increment(1);
    }
    // With the cohort: `S1=v2 for ops-admins, shadow for the rest` is not `S1=v2`.
    let modes = mapping.clusters().iter().map(|(name, rollout)| format!("{name}={rollout}"));
    let clusters = modes.collect::<Vec<_>>().join("; ");
    tracing::info!(sha256 = %mapping.sha256(), rows = mapping.rows().len(), %clusters, "mapping activated");
}
