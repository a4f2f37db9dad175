//! The audit's keys, places and writer, as the settings say.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clock::SharedClock;
use ledger::chain::{Chain, is_sealed_by};
use ledger::checkpoint::Checkpoint;
use ledger::keys::KeyRing;
use ledger::{AuditEvent, Notary};
use store::{SharedStore, StoreError};
use zeroize::Zeroizing;

use crate::journal::AuditWriter;
use crate::journal::checkpoint_sink::{FileSink, HttpSink};
use crate::journal::checkpoints::{Checkpoints, Destination};
use crate::journal::control_watch::ControlWatch;
use crate::journal::key_file;
use crate::journal::kms::TransitKeys;
use crate::journal::writer::WriterOptions;
use crate::outbound::{Outbound, Url};
use crate::settings::{Audit, Kms, Settings};

/// The keys of the audit's chain, from where the settings say.
///
/// # Errors
///
/// There are none, and unsealed events are not recorded.
pub async fn audit_keys(settings: &Settings) -> anyhow::Result<KeyRing> {
    let audit = &settings.audit;
    let text = || {
        let name = &audit.keys_env;
        let missing = || {
            format!(
                "{name} is not set, and no key file is configured (`console-gate keygen` generates a key)"
            )
        };
        std::env::var(name).map(Zeroizing::new).with_context(missing)
    };
    let keys = match (&audit.kms, &audit.keys_file) {
        (None, Some(file)) => key_file::read(file).await.map_err(Into::into),
        (None, None) => text().and_then(|text| KeyRing::parse(&text).map_err(Into::into)),
        (Some(kms), file) => unwrapped_keys(kms, file.as_deref(), text).await,
    };
    keys.context("the keys of the audit")
}

/// Refuses keys under whose ids other keys have sealed rows: every row that such a key seals would break the chain for good. The
/// fingerprint of a key that is seen for the first time is kept in the database.
///
/// # Errors
///
/// Another key of that id has sealed rows, or the database did not answer.
pub async fn refuse_other_keys(store: &SharedStore, keys: &KeyRing) -> anyhow::Result<()> {
    for key in keys.iter() {
        let fingerprint = key.fingerprint();
        let kept = match store.audit_key(key.id()).await {
            // `migrate` brings the table, and a gate without it does not start.
            Err(StoreError::Schema(_)) => return Ok(()),
            other => other.context("the fingerprints of the audit's keys")?,
        };
        let is_other = match kept {
            Some(kept) => kept != fingerprint,
            // Rows of releases that kept no fingerprint. One that was changed proves nothing; all of the newest would.
            None => {
                let rows = store.sealed_with(key.id()).await.context("the newest rows of the audit")?;
                !rows.is_empty() && !rows.iter().any(|(link, previous)| is_sealed_by(key, link, previous))
            }
        };
        let is_other = is_other
            || match store.keep_audit_key(key.id(), &fingerprint, chrono::Utc::now()).await {
                Ok(kept) => kept != fingerprint,
                // A role that only reads, such as that of `audit verify`, seals nothing.
                Err(StoreError::Forbidden(_)) => false,
                Err(error) => return Err(error).context("the fingerprint of the audit's key"),
            };
        anyhow::ensure!(
            !is_other,
            "rows of the audit are sealed with another key named `{id}`: this one has the fingerprint {fingerprint}. Give it an \
             id of its own (`console-gate keygen` names a key by its fingerprint), put it in front, and keep the other key \
             behind it",
            id = key.id(),
        );
    }
    Ok(())
}

/// How long the key service may take at start, retries included.
const KMS_PATIENCE: Duration = Duration::from_secs(20);

async fn unwrapped_keys(
    kms: &Kms,
    file: Option<&Path>,
    text: impl FnOnce() -> anyhow::Result<Zeroizing<String>>,
) -> anyhow::Result<KeyRing> {
    let wrapped = match file {
        Some(file) => {
            let read = tokio::fs::read_to_string(file).await;
            Zeroizing::new(read.with_context(|| file.display().to_string())?)
        }
        None => text()?,
    };
    let token = std::env::var(&kms.token_env).with_context(|| format!("{} is not set", kms.token_env))?;
    let outbound = Outbound::new(Vec::new(), OUTBOUND_TIME, OUTBOUND_BYTES)?;
    let url = Url::parse(&kms.url)?;
    let keys =
        TransitKeys::new(outbound, &url, &kms.key, token.into(), wrapped.as_str().to_owned(), KMS_PATIENCE);
    Ok(keys.keys().await?)
}

/// For one exchange with a service of others, and the most that is read of its answer.
const OUTBOUND_TIME: Duration = Duration::from_secs(5);
const OUTBOUND_BYTES: usize = 64 * 1024;

/// The second places of checkpoints that the settings name, each opened or with the reason why it cannot be.
pub async fn checkpoint_places(audit: &Audit) -> Vec<(String, anyhow::Result<Destination>)> {
    let mut places = Vec::new();
    if let Some(file) = &audit.checkpoint_file {
        let place = FileSink::open(file).await.map(Destination::File).map_err(Into::into);
        places.push((file.display().to_string(), place));
    }
    if let Some(url) = &audit.checkpoint_url {
        places.push((
            "`audit.checkpoint_url`".to_owned(),
            http_place(url, audit.checkpoint_token_env.as_deref()),
        ));
    }
    places
}

fn http_place(url: &str, token: Option<&str>) -> anyhow::Result<Destination> {
    let token = match token {
        None => None,
        Some(name) => {
            Some(std::env::var(name).map(Zeroizing::new).with_context(|| format!("{name} is not set"))?)
        }
    };
    let outbound = Outbound::new(Vec::new(), OUTBOUND_TIME, OUTBOUND_BYTES)?;
    Ok(Destination::Http(HttpSink::new(outbound, Url::parse(url)?, token)))
}

/// Starts what keeps checkpoints, where there is a place for them. One that cannot be opened is found now, not when it is
/// needed.
async fn checkpoints(audit: &Audit) -> anyhow::Result<Option<Checkpoints>> {
    let places = checkpoint_places(audit).await.into_iter().map(|(_, place)| place);
    let places = places.collect::<anyhow::Result<Vec<_>>>().context("checkpoints")?;
    Ok((!places.is_empty()).then(|| Checkpoints::start(places)))
}

/// Begins this process's chain and its writer.
pub(super) async fn start(
    settings: &Settings,
    store: &SharedStore,
    notary: &Notary,
    clock: &SharedClock,
) -> anyhow::Result<AuditWriter> {
    let audit = &settings.audit;
    let heads = store.heads().await?;
    let chain = Chain::new(uuid::Uuid::now_v7().to_string(), notary.keys().clone());
    let options = WriterOptions {
        batch: audit.batch.0,
        patience: audit.timeout_ms.duration(),
        spool: (audit.spool_bytes > 0).then(|| (audit.spool_folder.clone(), audit.spool_bytes)),
    };
    let folder = || format!("the spool's folder {}", audit.spool_folder.display());
    let checkpoints = checkpoints(audit).await?;
    let writer = AuditWriter::start(store.clone(), chain, clock.clone(), checkpoints.clone(), &options)
        .await
        .with_context(folder)?;
    if let Some(checkpoints) = &checkpoints {
        // A gate that was killed left rows behind its last checkpoint.
        for head in &heads {
            match Checkpoint::of(notary.keys(), head, clock.now()) {
                Some(checkpoint) => drop(checkpoints.offer(&checkpoint)),
                None => {
                    tracing::error!(
                        chain = %head.chain,
                        "the last row of a chain has no MAC: it was changed outside the gate"
                    );
                }
            }
        }
    }
    let keys = notary.keys().clone();
    tokio::spawn(ControlWatch::new(store.clone(), keys, clock.clone(), checkpoints).follow());
    writer.write(AuditEvent::ChainStarted { heads }.into_record(clock.now())).await?;
    Ok(writer)
}
