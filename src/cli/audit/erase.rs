//! `console-gate audit erase`

use clap::Args;
use policy::identity::Subject;
use policy::ids::AdminId;
use policy::rbac::Standing;

use crate::cli::{Common, Ended, checkpoint, operator, with_notary};
use crate::journal::erasure;

/// Erase an admin's personal data from every row
///
/// Blanks the id, the session, the address and the path in every audit row that names the admin, records the erasure,
/// and keeps the chain verifiable. Deletes the admin from drift, sign-offs and the decision log, including what a
/// running gate has not written yet. Gates do the same automatically within a minute after the admin's row is deleted.
/// Exits 1 if nothing names the admin.
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
        let admin = Subject::Admin { id: AdminId::new(command.actor.as_str()), session: None };
        let is_known = async || {
            store.access(&admin, chrono::Utc::now()).await.map(|access| access.standing != Standing::Unknown)
        };
        if (erased.rows, erased.customer_rows) == (0, 0) && !is_known().await? {
            crate::cli::announce(format_args!(
                "no audit row names `{}`, and Console has no such admin: check the id. Drift and decisions of it, if there \
                 were any, are deleted",
                command.actor.escape_debug()
            ));
            return Ok(Ended::Findings);
        }
        crate::cli::announce(format_args!(
            "{} audit rows and {} customers' events erased; its drift and decisions are deleted",
            erased.rows, erased.customer_rows
        ));
        Ok(Ended::Clean)
    })
}
