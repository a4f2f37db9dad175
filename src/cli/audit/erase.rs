//! `console-gate audit erase`

use clap::Args;

use crate::cli::{Common, Ended, checkpoint, operator, with_notary};
use crate::journal::erasure;

/// Erase an admin's personal data from every row
///
/// Blanks the id, the session, the address and the path in every audit row that names the admin, records the erasure,
/// and keeps the chain verifiable. Deletes the admin from drift, sign-offs and the decision log, including what a
/// running gate has not written yet. Gates do the same automatically within a minute after the admin's row is deleted.
#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The admin's id, as written in audit rows
    actor: String,
}

pub(super) fn run(command: &Erase, common: &Common) -> anyhow::Result<Ended> {
    let settings = common.settings()?;
    with_notary(&settings, async |store, notary| {
        let erased =
            erasure::erase(store.as_ref(), &notary, &command.actor, &operator(), chrono::Utc::now()).await?;
        checkpoint::keep(&settings, &store, &notary).await;
        crate::cli::announce(format_args!(
            "{} audit rows and {} customers' events erased; its drift and decisions are deleted",
            erased.rows, erased.customer_rows
        ));
        Ok(Ended::Clean)
    })
}
