//! The facts for an operator's questions about a rollout, read from the store as of one moment: for commands and the
//! API alike.

mod cutover;
mod drift;
pub mod explanation;
pub mod findings;
mod fleet;
mod order;
pub mod rolled_back;
mod running;
mod soak;
pub mod who;

use grants::registry::RegistryError;
use policy::diagnostic::Diagnostics;
use store::StoreError;

pub use cutover::{Back, Cutover, Step, compared, cutover};
pub use drift::{DriftReport, drift};
pub use fleet::{Fleet, GateState, History, fleet, history};
pub use order::untimely;
pub use running::{GateRuns, Observed, Running, differing, in_words, observed, running};
pub use soak::{evidence_lost, soak};

/// Why no report is possible.
#[derive(Debug, thiserror::Error)]
pub enum WorkbenchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A gate that runs on this database would have recorded what it activated.
    #[error("no gate has activated a mapping on this database yet")]
    NoMapping,
    #[error("the running mapping cannot be read by this version: {0}")]
    Unsound(#[from] Diagnostics),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}
