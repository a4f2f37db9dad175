//! Checkpoints of the commands' chain, kept before a command reports success.
//!
//! Commands write to the chain `control`, and there may be no gate to checkpoint it. The settings name the places for
//! checkpoints. If one of them is a file that exists only on a gate's machine, the operator is warned.

use ledger::Notary;
use ledger::checkpoint::Checkpoint;
use store::SharedStore;

use crate::journal::control_watch;
use crate::settings::{Audit, Settings};

/// Keeps a checkpoint of the commands' chain in each place that the settings name, if anything was recorded since the
/// last one. A checkpoint that cannot be kept is reported on standard error and stops nothing: the change is made.
pub(super) async fn keep(settings: &Settings, store: &SharedStore, notary: &Notary) {
    let audit = &settings.audit;
    if !notary.take_news() || (audit.checkpoint_file.is_none() && audit.checkpoint_url.is_none()) {
        return;
    }
    match control_watch::checkpoint(store.as_ref(), notary.keys(), chrono::Utc::now()).await {
        Ok(Some(checkpoint)) => keep_everywhere(audit, &checkpoint).await,
        Ok(None) => {}
        Err(error) => warn("", &error.to_string()),
    }
}

async fn keep_everywhere(audit: &Audit, checkpoint: &Checkpoint) {
    let was_there = audit.checkpoint_file.as_ref().is_none_or(|file| file.exists());
    for (name, place) in crate::server::checkpoint_places(audit).await {
        let kept = match place {
            Ok(place) => place.keep(checkpoint).await.map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            warn(&format!(" to {name}"), &format!("{error:#}"));
        }
    }
    if let Some(file) = audit.checkpoint_file.as_ref().filter(|file| !was_there && file.exists()) {
        eprintln!(
            "console-gate: note: {} was created on this machine. If the gates keep theirs on another machine, give \
             `console-gate audit verify` both",
            file.display()
        );
    }
}

fn warn(place: &str, cause: &str) {
    eprintln!(
        "console-gate: warning: the checkpoint of this change was not written{place}: {cause}. Until a gate writes one \
         there (each does within a minute), someone who can write to the database could remove the record unnoticed"
    );
}
