//! `console-gate audit erase`

use clap::Args;

use crate::cli::{Common, Finding, checkpoint, operator, with_notary};
use crate::journal::erasure;

/// Take what is personal of an admin out of every row
///
/// Blanks the id, the session, the address and the path in every row that names the admin, records that it was done, and
/// leaves the chain whole. Removes the admin from drift, its sign-offs and the decision log, whatever a running gate has
/// not written yet included. A gate does the same by itself within a minute after the admin's row is deleted.
#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The admin's id, as audit rows have it
    actor: String,
}

pub(super) fn run(command: &Erase, common: &Common) -> anyhow::Result<Finding> {
    let settings = common.settings()?;
    with_notary(&settings, async |store, notary| {
        let erased =
            erasure::erase(store.as_ref(), &notary, &command.actor, &operator(), chrono::Utc::now()).await?;
        checkpoint::keep(&settings, &store, &notary).await;
        crate::cli::announce(format_args!(
            "{} rows and {} customers' events are without a name now; drift and decisions of it are gone",
            erased.rows, erased.customer_rows
        ));
        Ok(Finding::Clean)
    })
}
