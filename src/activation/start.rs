//! The first mapping of a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use policy::mapping::order::Untimely;
use store::SharedStore;
use store::mappings::{Pin, StoredActivation};

use super::file::{FileReader, Seen, Stamp};
use super::presence::Presence;
use super::record::{Recorder, Trigger, show};
use super::refresher::{Refresher, Troubles, in_order, pinned};
use super::settling::{Look, Settling};
use super::{ActivationError, MappingHolder, Sources};
use crate::settings::OnBroken;

/// Time for a copy that is under way when the gate starts.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn start(sources: Sources) -> Result<(Arc<MappingHolder>, Refresher), ActivationError> {
    let Sources { file, settle, on_broken, store, clock, name, notary, upstreams } = sources;
    let recorded = file.clone();
    let mut file = FileReader::new(file);
    let mut settling = Settling::new(settle);
    let seen = settled(&mut file, &mut settling).await;
    let pin = store.pin().await?;
    let recorder = Recorder {
        file: recorded,
        store: store.clone(),
        clock: clock.clone(),
        name: name.clone(),
        notary,
        upstreams,
    };
    let first = First::of(&file, &seen, &pin, &recorder, on_broken).await?;
    recorder.activated(&first.mapping, None, &first.trigger, &first.overridden).await?;
    show(&first.mapping, true);
    let (holder, asked) = MappingHolder::holding(first.mapping);
    let mut refresher = Refresher {
        holder: holder.clone(),
        asked,
        file,
        settling,
        recorder,
        presence: Presence::new(store, clock, name),
        is_held: matches!(first.trigger, Trigger::Rollback { .. }),
        pin,
        file_sha256: seen.as_ref().ok().and_then(|seen| seen.stamp.content.clone().ok()),
        wanted: None,
        troubles: Troubles::default(),
    };
    holder.set_fallback(false);
    if let Some(error) = &first.refused {
        let text = seen.as_ref().ok().and_then(|seen| seen.text.as_deref().ok()).unwrap_or_default();
        let content = match &seen {
            Ok(seen) => seen.stamp.content.clone(),
            Err(error) => Err(error.to_string()),
        };
        refresher.fall_back(content, text, error).await?;
    }
    // Before the first request, so that `rollback` knows every serving gate.
    refresher.presence.report_if_due(refresher.runs()).await;
    Ok((holder, refresher))
}

/// The file once it has settled.
async fn settled(file: &mut FileReader, settling: &mut Settling<Stamp>) -> Result<Seen, ActivationError> {
    let mut looks = 0_u32;
    loop {
        let began = Instant::now();
        let seen = file.look().await;
        let Look::Changing { again, since } = settling.note(seen.stamp.clone(), began, Instant::now()) else {
            return Ok(seen);
        };
        if since >= settling.time() + PATIENCE {
            return Err(ActivationError::Unsettled { path: file.path().display().to_string() });
        }
        looks += 1;
        if looks == 2 {
            tracing::info!(file = %file.path().display(), "the mapping file is changing: waiting until it stays the same");
        }
        tokio::time::sleep(again).await;
    }
}

struct First {
    mapping: Mapping,
    trigger: Trigger,
    /// Why the file is not used, if this is only the mapping that was activated last.
    refused: Option<ActivationError>,
    /// The clusters that it flips to V2 before their time.
    overridden: Vec<Untimely>,
}

impl First {
    /// The pinned mapping if the pin replaces the file; otherwise the file. With an unusable file, the last rollback
    /// stays in force, as it does in a running gate.
    async fn of(
        file: &FileReader,
        seen: &Result<Seen, ActivationError>,
        pin: &Pin,
        recorder: &Recorder,
        on_broken: OnBroken,
    ) -> Result<First, ActivationError> {
        let store = &recorder.store;
        let sha256 = seen.as_ref().ok().and_then(|seen| seen.stamp.content.as_ref().ok());
        if let Some(target) = &pin.sha256
            && sha256.is_some_and(|sha256| pin.replaces.contains(sha256))
        {
            return First::pinned(target, pin, recorder).await;
        }
        let error = match First::file(file, seen, (pin, recorder)).await {
            Ok((mapping, overridden)) => {
                return Ok(First { mapping, trigger: Trigger::Start, refused: None, overridden });
            }
            Err(ActivationError::Store(error)) => return Err(error.into()),
            Err(error) => error,
        };
        let latest = store.latest_activation().await?;
        match (&pin.sha256, latest) {
            (Some(target), Some(latest)) if latest.sha256 == target.as_str() => {
                tracing::error!(%error, "the mapping file cannot be used; the last rollback stays in force");
                First::pinned(target, pin, recorder).await
            }
            (_, Some(latest)) if on_broken == OnBroken::ServeLast => First::last(latest, error, store).await,
            _ => Err(error),
        }
    }

    /// The mapping that was activated last. It is not compared with the present roles in the database: a running gate
    /// also keeps running it, and a role that no longer exists grants no access.
    async fn last(
        latest: StoredActivation,
        error: ActivationError,
        store: &SharedStore,
    ) -> Result<First, ActivationError> {
        let text = store.mapping_text(&MappingSha256::new(latest.sha256.as_str())).await?;
        let mapping = text.and_then(|text| Mapping::parse(&latest.sha256, &text).ok());
        match mapping {
            Some(mapping) => Ok(First {
                mapping,
                trigger: Trigger::Fallback,
                refused: Some(error),
                overridden: Vec::new(),
            }),
            None => {
                tracing::error!(
                    sha256 = latest.sha256,
                    "the mapping that was activated last cannot be read by this version of the gate either"
                );
                Err(error)
            }
        }
    }

    async fn pinned(
        target: &MappingSha256,
        pin: &Pin,
        recorder: &Recorder,
    ) -> Result<First, ActivationError> {
        let mapping = pinned(target, recorder).await?;
        Ok(First {
            mapping,
            trigger: Trigger::Rollback { by: pin.by.clone() },
            refused: None,
            overridden: Vec::new(),
        })
    }

    async fn file(
        file: &FileReader,
        seen: &Result<Seen, ActivationError>,
        from: (&Pin, &Recorder),
    ) -> Result<(Mapping, Vec<Untimely>), ActivationError> {
        let path = file.path().display().to_string();
        match seen {
            Ok(Seen { text: Ok(text), .. }) => in_order(&path, text, None, from).await,
            Ok(Seen { text: Err(why), .. }) => Err(ActivationError::Unreadable { path, why: why.clone() }),
            Err(_) => Err(ActivationError::Unsettled { path }),
        }
    }
}
