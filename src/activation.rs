//! The running mapping: read, held against the database, swapped in at once, recorded.
//!
//! A mapping takes effect whole or not at all. Requests in flight finish under the one that they began with, because
//! each holds its own reference. Every activation is an audit row, and so is every refusal.

pub mod watch;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{counter, gauge};

use crate::audit::{AuditEvent, Notary};
use crate::clock::SharedClock;
use crate::diagnostic::Diagnostics;
use crate::ids::MappingSha256;
use crate::mapping::Mapping;
use crate::mapping::parse::sha256_of;
use crate::store::mappings::{Activation, Pin};
use crate::store::{SharedStore, StoreError};

/// 100,000 rows take some 20 MB.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
const READ_TIME: Duration = Duration::from_secs(5);

/// Why a mapping was not activated. The running one stays.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error(transparent)]
    Unsound(#[from] Diagnostics),
    /// An activation that leaves no record does not happen.
    #[error("the activation could not be recorded: {0}")]
    NotRecorded(#[from] StoreError),
    #[error("the pinned mapping {0} is not kept in the database")]
    UnknownPin(MappingSha256),
}

/// Holds the running mapping and replaces it.
pub struct MappingHolder {
    running: ArcSwap<Mapping>,
    file: PathBuf,
    store: SharedStore,
    clock: SharedClock,
    instance: String,
    notary: Notary,
    /// The file that was refused last, so that a broken file is recorded once and not at every look.
    refused: Mutex<Option<MappingSha256>>,
}

impl MappingHolder {
    /// Activates the pinned mapping, or else the file: the first mapping of a process.
    ///
    /// # Errors
    ///
    /// There is no mapping that could be activated; a gate without one does not start.
    pub async fn start(
        file: &Path,
        store: SharedStore,
        clock: SharedClock,
        instance: String,
        notary: Notary,
    ) -> Result<MappingHolder, ActivationError> {
        let source = read(file).await?;
        let pin = standing_pin(store.pin().await?, &source);
        let chosen = match &pin {
            Some(pin) => pinned_source(&store, pin).await?,
            None => source,
        };
        let mapping = checked(&file.display().to_string(), &chosen, &store).await?;
        let holder = MappingHolder {
            running: ArcSwap::from_pointee(mapping),
            file: file.to_owned(),
            store,
            clock,
            instance,
            notary,
            refused: Mutex::new(None),
        };
        let trigger = if pin.is_some() { "rollback" } else { "start" };
        holder.record(&holder.running(), None, trigger, pin.as_ref()).await?;
        show(&holder.running());
        Ok(holder)
    }

    /// The mapping for a request that begins now.
    pub fn running(&self) -> Arc<Mapping> {
        self.running.load_full()
    }

    /// The file that is watched.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Looks at the file and at the pin, and activates what should run. `Ok(false)`: it runs already.
    ///
    /// # Errors
    ///
    /// What should run cannot; the running mapping stays, and the refusal is recorded and counted.
    pub async fn refresh(&self, trigger: &'static str) -> Result<bool, ActivationError> {
        match self.try_refresh(trigger).await {
            Ok(activated) => Ok(activated),
            // The database is away: that says nothing about the file, and the next look comes soon.
            Err(error @ ActivationError::NotRecorded(_)) => {
                tracing::warn!(%error, "the mapping file could not be looked at");
                Err(error)
            }
            Err(error) => {
                self.refuse(&error).await;
                Err(error)
            }
        }
    }

    async fn try_refresh(&self, trigger: &'static str) -> Result<bool, ActivationError> {
        let pin = self.store.pin().await?;
        let source = match read(&self.file).await {
            Ok(source) => source,
            // A vanished file changes nothing while a rollback is in force.
            Err(error) if pin.is_none() => return Err(error),
            Err(_) => String::new(),
        };
        let pin = standing_pin(pin, &source);
        let (chosen, trigger) = match &pin {
            Some(pin) => (pinned_source(&self.store, pin).await?, "rollback"),
            None => (source, trigger),
        };
        let running = self.running();
        if sha256_of(&chosen) == *running.sha256() {
            self.forget_refusal();
            return Ok(false);
        }
        let mapping = Arc::new(checked(&self.file.display().to_string(), &chosen, &self.store).await?);
        self.record(&mapping, Some(running.sha256()), trigger, pin.as_ref()).await?;
        self.running.store(mapping.clone());
        self.forget_refusal();
        counter!("gate_mapping_reloads_total", "outcome" => "activated").increment(1);
        gauge!("gate_mapping_info", "sha256" => running.sha256().as_str().to_owned()).set(0.0);
        show(&mapping);
        Ok(true)
    }

    async fn record(
        &self,
        mapping: &Mapping,
        previous: Option<&MappingSha256>,
        trigger: &'static str,
        pin: Option<&Pin>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let event = AuditEvent::MappingActivated {
            sha256: mapping.sha256().clone(),
            previous: previous.cloned(),
            trigger,
        };
        let activation = Activation {
            id: uuid::Uuid::now_v7(),
            sha256: mapping.sha256().clone(),
            activated_at: now,
            activated_by: pin.map_or_else(|| trigger.to_owned(), |pin| format!("{trigger} by {}", pin.by)),
            instance: self.instance.clone(),
            outcome: "activated",
            diagnostics: None,
            previous: previous.cloned(),
        };
        self.store
            .record_activation(&activation, mapping.source(), &self.notary.note(event.into_record(now)))
            .await
    }

    /// Counts, logs and records a refusal: once for each state of the file.
    async fn refuse(&self, error: &ActivationError) {
        let source = read(&self.file).await.unwrap_or_default();
        let sha256 = sha256_of(&source);
        let is_news = {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.replace(sha256.clone()) != Some(sha256.clone())
        };
        if !is_news {
            return;
        }
        counter!("gate_mapping_reloads_total", "outcome" => "refused").increment(1);
        let diagnostics = match error {
            ActivationError::Unsound(diagnostics) => diagnostics.one_line_each(),
            other => other.to_string(),
        };
        let running = self.running().sha256().clone();
        tracing::error!(%diagnostics, running = %running, "the mapping file was refused and the running mapping stays");
        let now = self.clock.now();
        let event = AuditEvent::MappingRefused {
            sha256: sha256.clone(),
            running: Some(running.clone()),
            diagnostics: diagnostics.clone(),
        };
        let activation = Activation {
            id: uuid::Uuid::now_v7(),
            sha256,
            activated_at: now,
            activated_by: "file".to_owned(),
            instance: self.instance.clone(),
            outcome: "refused",
            diagnostics: Some(diagnostics),
            previous: Some(running),
        };
        if let Err(error) = self
            .store
            .record_activation(&activation, &source, &self.notary.note(event.into_record(now)))
            .await
        {
            tracing::error!(%error, "the refusal could not be recorded");
            self.forget_refusal();
        }
    }

    fn forget_refusal(&self) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Reads the file on a thread of its own: a share that hangs must not hang the decisions of the running mapping.
async fn read(file: &Path) -> Result<String, ActivationError> {
    let path = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let kind = std::fs::metadata(&path)?;
        // Opening a pipe would wait for somebody who writes to it.
        if !kind.is_file() || kind.len() > MOST_BYTES {
            return Err(std::io::Error::other("it is no regular file of at most 64 MiB"));
        }
        std::fs::read_to_string(&path)
    });
    let unreadable = |error| ActivationError::Unreadable { path: file.display().to_string(), error };
    let read =
        tokio::time::timeout(READ_TIME, reading).await.map_err(|_| unreadable(ErrorKind::TimedOut.into()))?;
    read.map_err(|_| unreadable(ErrorKind::Interrupted.into()))?.map_err(unreadable)
}

async fn checked(path: &str, source: &str, store: &SharedStore) -> Result<Mapping, ActivationError> {
    let mapping = Mapping::parse(path, source)?;
    mapping.check_against(path, &store.catalog().await?)?;
    Ok(mapping)
}

/// A pin stands until the file is no longer the one that was rolled back.
fn standing_pin(pin: Option<Pin>, file: &str) -> Option<Pin> {
    pin.filter(|pin| {
        pin.replaced_file_sha256
            .as_ref()
            .is_none_or(|replaced| file.is_empty() || *replaced == sha256_of(file))
    })
}

async fn pinned_source(store: &SharedStore, pin: &Pin) -> Result<String, ActivationError> {
    store.mapping_text(&pin.sha256).await?.ok_or_else(|| ActivationError::UnknownPin(pin.sha256.clone()))
}

fn show(mapping: &Mapping) {
    gauge!("gate_mapping_info", "sha256" => mapping.sha256().as_str().to_owned()).set(1.0);
    tracing::info!(sha256 = %mapping.sha256(), rows = mapping.rows().len(), "mapping activated");
}
