//! The audit's keys, places and writer, as the settings say.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use zeroize::Zeroizing;

use crate::audit::chain::Chain;
use crate::audit::checkpoint_sink::{FileSink, HttpSink};
use crate::audit::checkpoints::{Checkpoints, Place};
use crate::audit::keys::{FileKeys, KeyRing, KeySource as _, TextKeys};
use crate::audit::kms::TransitKeys;
use crate::audit::writer::WriterOptions;
use crate::audit::{AuditEvent, AuditWriter, Notary};
use crate::clock::SharedClock;
use crate::outbound::{Outbound, Url};
use crate::settings::{Audit, Kms, Settings};
use crate::store::SharedStore;

/// The keys of the audit's chain, from where the settings say.
///
/// # Errors
///
/// There are none, and what is not sealed is not recorded.
pub async fn audit_keys(settings: &Settings) -> anyhow::Result<KeyRing> {
    let audit = &settings.audit;
    let text = || {
        let name = &audit.keys_env;
        let missing =
            || format!("{name} is not set, and no file is named instead (`console-gate keygen` makes one)");
        std::env::var(name).map(Zeroizing::new).with_context(missing)
    };
    let keys = match (&audit.kms, &audit.keys_file) {
        (None, Some(file)) => FileKeys(file.clone()).keys().await.map_err(Into::into),
        (None, None) => match text() {
            Ok(text) => TextKeys(text).keys().await.map_err(Into::into),
            Err(error) => Err(error),
        },
        (Some(kms), file) => unwrapped_keys(kms, file.as_deref(), text).await,
    };
    keys.context("the keys of the audit")
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
            Zeroizing::new(std::fs::read_to_string(file).with_context(|| file.display().to_string())?)
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

/// The second places of checkpoints. They are opened at start, so that one that cannot be is found then.
fn checkpoint_places(audit: &Audit) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    if let Some(file) = &audit.checkpoint_file {
        places.push(Place::File(FileSink::open(file)?));
    }
    if let Some(url) = &audit.checkpoint_url {
        let outbound = Outbound::new(Vec::new(), OUTBOUND_TIME, OUTBOUND_BYTES)?;
        let token = match &audit.checkpoint_token_env {
            None => None,
            Some(name) => {
                Some(std::env::var(name).map(Zeroizing::new).with_context(|| format!("{name} is not set"))?)
            }
        };
        places.push(Place::Http(HttpSink::new(outbound, Url::parse(url)?, token)));
    }
    Ok(places)
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
    let places = checkpoint_places(audit).context("checkpoints")?;
    let checkpoints = (!places.is_empty()).then(|| Checkpoints::start(places, clock.now()));
    let writer = AuditWriter::start(store.clone(), chain, clock.clone(), checkpoints, &options)
        .with_context(folder)?;
    writer.write(AuditEvent::ChainStarted { heads }.into_record(clock.now())).await?;
    Ok(writer)
}
