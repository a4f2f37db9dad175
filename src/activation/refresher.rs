//! The one task that replaces the running mapping.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use policy::diagnostic::{Diagnostic, Diagnostics};
use policy::ids::MappingSha256;
use policy::mapping::Mapping;
use policy::mapping::order::Untimely;
use policy::mapping::parse::sha256_of;
use store::mappings::Pin;
use store::running::Runs;
use store::{SharedStore, StoreError};
use tokio::sync::mpsc;

use super::file::{FileReader, Seen, Stamp};
use super::presence::Presence;
use super::record::{Recorder, Refused, Trigger, show};
use super::settling::{Look, Settling};
use super::{ActivationError, Ask, MappingHolder, MappingProblem, MappingProblemKind};
use crate::facts::rolled_back::against;
use crate::facts::untimely;

/// The interval between looks at the pin and the file, even if the kernel reports no change.
pub(super) const POLL: Duration = Duration::from_millis(500);
/// A file that has not settled after this time is reported.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most characters of a reported problem: `rollback` prints it.
const MOST_PROBLEM: usize = 2_000;
/// Precedes the problem of a gate that started with an unusable file.
const FALLBACK: &str = "started with the mapping that was activated last, because its file cannot be used: ";

/// Looks at the file and at the rollback in force, and replaces the running mapping.
///
/// A rollback holds this gate from the moment the gate sees it until the gate's own file settles as a valid one that
/// the rollback does not replace. A torn, missing or broken file changes nothing, here as elsewhere.
pub struct Refresher {
    pub(super) holder: Arc<MappingHolder>,
    pub(super) asked: mpsc::Receiver<Ask>,
    pub(super) file: FileReader,
    pub(super) settling: Settling<Stamp>,
    pub(super) recorder: Recorder,
    pub(super) presence: Presence,
    /// The last order that this gate acted on.
    pub(super) pin: Pin,
    /// Whether a rollback decides here rather than the file.
    pub(super) is_held: bool,
    /// The file as it last settled; `None` if it could not be read.
    pub(super) file_sha256: Option<MappingSha256>,
    /// Why a look at the file is due; `None`: it is not.
    pub(super) wanted: Option<Trigger>,
    pub(super) troubles: Troubles,
}

/// The problems that keep the gate from running the mapping that it should; each is reported once.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// The file, by its content.
    file: Option<Refusal<Result<MappingSha256, String>>>,
    /// The pinned mapping.
    pin: Option<Refusal<MappingSha256>>,
    /// The database, which may be available at the next look: logged, and not reported as a refusal.
    database: Option<String>,
    is_unsettled: bool,
}

#[derive(Debug)]
struct Refusal<T> {
    what: T,
    why: String,
    is_recorded: bool,
}

impl Refresher {
    /// Looks at the pin and, if requested, at the file. Returns the longest time until the next look.
    pub(super) async fn look(&mut self) -> Duration {
        let outcome = self.try_look().await;
        match &outcome {
            Ok(_) => self.troubles.database = None,
            Err(error) => {
                // This does not concern the file, and the next look comes soon.
                let message = error.to_string();
                if self.troubles.database.as_ref() != Some(&message) {
                    tracing::warn!(%error, "the mapping could not be checked; the running mapping stays");
                    self.troubles.database = Some(message);
                }
            }
        }
        gauge!("gate_mapping_pinned").set(f64::from(u8::from(self.is_held)));
        self.holder.problem.store(self.problem().map(Arc::new));
        self.presence.report_if_due(self.runs()).await;
        // Last, so that a test that counts looks finds their results.
        counter!("gate_mapping_looks_total").increment(1);
        outcome.unwrap_or(POLL)
    }

    async fn try_look(&mut self) -> Result<Duration, StoreError> {
        let pin = self.store().pin().await?;
        self.meet(pin).await?;
        let again = self.look_at_file().await?;
        if let (true, Some(sha256)) = (self.is_held, self.pin.sha256.clone()) {
            self.hold(&sha256).await?;
        }
        Ok(again)
    }

    /// Acts on a new order: a rollback holds this gate whatever its file is.
    async fn meet(&mut self, mut pin: Pin) -> Result<(), StoreError> {
        let is_known =
            |pin: &Pin, known: &Pin| (&pin.id, &pin.sha256, pin.at) == (&known.id, &known.sha256, known.at);
        if !is_known(&pin, &self.pin) {
            if pin.sha256.is_some() {
                // The present file precedes the rollback, although the command may not have known it: this gate had not
                // reported the file yet, or the file has yet to settle.
                let present = self.file.look().await.stamp.content.ok();
                for file in self.file_sha256.iter().chain(&present) {
                    if pin.sha256.as_ref() != Some(file) && !pin.replaces.contains(file) {
                        self.store().replace_by_pin(&pin.id, file).await?;
                        pin.replaces.insert(file.clone());
                    }
                }
            } else if self.is_held {
                self.wanted = Some(Trigger::Release { by: pin.by.clone() });
            }
            self.is_held = pin.sha256.is_some();
            self.troubles.pin = None;
        }
        self.pin = pin;
        Ok(())
    }

    async fn look_at_file(&mut self) -> Result<Duration, StoreError> {
        let Some(trigger) = self.wanted.clone() else { return Ok(POLL) };
        let began = Instant::now();
        let seen = self.file.look().await;
        match self.settling.note(seen.stamp.clone(), began, Instant::now()) {
            Look::Settled => {
                self.note_changing(Duration::ZERO);
                self.take(&seen, &trigger).await?;
                self.wanted = None;
                Ok(POLL)
            }
            Look::Changing { again, since } => {
                self.note_changing(since);
                Ok(again.min(POLL))
            }
        }
    }

    fn note_changing(&mut self, since: Duration) {
        gauge!("gate_mapping_file_changing_seconds").set(since.as_secs_f64());
        let is_unsettled = since >= self.settling.time() + PATIENCE;
        if is_unsettled && !self.troubles.is_unsettled {
            let file = self.file.path().display();
            tracing::warn!(
                %file, ?since,
                "the mapping file keeps changing; it is not activated until it stays the same"
            );
        }
        self.troubles.is_unsettled = is_unsettled;
    }

    /// Takes up a settled file, unless a rollback replaces it.
    async fn take(&mut self, seen: &Seen, trigger: &Trigger) -> Result<(), StoreError> {
        self.file_sha256 = seen.stamp.content.as_ref().ok().cloned();
        let (Some(sha256), Ok(text)) = (self.file_sha256.clone(), &seen.text) else {
            let path = self.file.path().display().to_string();
            let why = seen.text.as_ref().err().cloned().unwrap_or_default();
            return self.refuse_file(seen, &ActivationError::Unreadable { path, why }, trigger).await;
        };
        let turn = self.holder.turned.load_full().filter(|turn| turn.sha256 == sha256);
        let turn = turn.map(|turn| Trigger::Turn { by: turn.by.clone(), what: turn.what.clone() });
        let trigger = turn.as_ref().unwrap_or(trigger);
        let is_signal = *trigger == Trigger::Signal;
        if self.pin.sha256.is_some() && self.pin.replaces.contains(&sha256) {
            if !self.is_held || is_signal {
                tracing::warn!(
                    %sha256, by = self.pin.by,
                    "the mapping file was rolled back and is not activated: change it, or use `console-gate \
                     rollback --release`"
                );
            }
            self.is_held = true;
            self.troubles.file = None;
            return Ok(());
        }
        if sha256 == *self.holder.running().sha256() {
            if is_signal {
                tracing::info!("SIGHUP: the mapping file is already active");
            }
        } else {
            let (path, running) = (self.file.path().display().to_string(), self.holder.running());
            match in_order(&path, text, Some(&running), (&self.pin, &self.recorder)).await {
                Ok((mapping, overridden)) => {
                    if let (Some(pinned), true) = (&self.pin.sha256, self.is_held) {
                        tracing::info!(
                            rollback = pinned.short(), by = self.pin.by, %sha256,
                            "the mapping file contains no part that the rollback took back: it ends the rollback for this gate"
                        );
                    }
                    self.activate(mapping, trigger, &overridden).await?;
                }
                Err(ActivationError::Store(error)) => return Err(error),
                Err(error) => return self.refuse_file(seen, &error, trigger).await,
            }
        }
        self.is_held = false;
        self.troubles.file = None;
        self.holder.set_fallback(false);
        Ok(())
    }

    /// Runs the pinned mapping.
    async fn hold(&mut self, sha256: &MappingSha256) -> Result<(), StoreError> {
        if *self.holder.running().sha256() != *sha256 {
            let trigger = Trigger::Rollback { by: self.pin.by.clone() };
            match pinned(sha256, &self.recorder).await {
                Ok(mapping) => self.activate(mapping, &trigger, &[]).await?,
                Err(ActivationError::Store(error)) => return Err(error),
                Err(error) => return self.refuse_pin(sha256, &error, &trigger).await,
            }
        }
        self.troubles.pin = None;
        self.holder.set_fallback(false);
        Ok(())
    }

    async fn activate(
        &self,
        mapping: Mapping,
        trigger: &Trigger,
        overridden: &[Untimely],
    ) -> Result<(), StoreError> {
        let running = self.holder.running();
        self.recorder.activated(&mapping, Some(running.sha256()), trigger, overridden).await?;
        let mapping = Arc::new(mapping);
        self.holder.running.store(mapping.clone());
        self.holder.set_fallback(false);
        show(&mapping, false);
        Ok(())
    }

    /// The same for the file that the gate started with. The mapping that was activated last runs.
    pub(super) async fn fall_back(
        &mut self,
        content: Result<MappingSha256, String>,
        text: &str,
        error: &ActivationError,
    ) -> Result<(), StoreError> {
        self.holder.set_fallback(true);
        let what = content.clone();
        let news = Refusal::news(None, &what, error, || {
            self.log_refusal(
                error,
                "the mapping file cannot be used; the gate serves with the mapping that was activated last",
            );
        });
        let (sha256, running) = (sha256_of(text), self.holder.running());
        let (why, trigger) = (&news.why, &Trigger::Start);
        self.recorder.refused(&Refused { sha256, text, why, trigger, running: running.sha256() }).await?;
        self.troubles.file = Some(Refusal { is_recorded: true, ..news });
        Ok(())
    }

    /// Counts, logs and records that the file was refused: once for each state of it.
    async fn refuse_file(
        &mut self,
        seen: &Seen,
        error: &ActivationError,
        trigger: &Trigger,
    ) -> Result<(), StoreError> {
        let content = &seen.stamp.content;
        let news = Refusal::news(self.troubles.file.take(), content, error, || {
            self.log_refusal(error, "the mapping file was refused; the running mapping stays");
        });
        let refusal = self.troubles.file.insert(news);
        if *trigger == Trigger::Signal {
            tracing::error!(why = refusal.why, "SIGHUP: the mapping file was refused");
        }
        if !refusal.is_recorded {
            let text = seen.text.as_deref().unwrap_or_default();
            let (sha256, running) = (sha256_of(text), self.holder.running());
            let refused = Refused { sha256, text, why: &refusal.why, trigger, running: running.sha256() };
            self.recorder.refused(&refused).await?;
            refusal.is_recorded = true;
        }
        Ok(())
    }

    /// The same for the pinned mapping.
    async fn refuse_pin(
        &mut self,
        sha256: &MappingSha256,
        error: &ActivationError,
        trigger: &Trigger,
    ) -> Result<(), StoreError> {
        let news = Refusal::news(self.troubles.pin.take(), sha256, error, || {
            self.log_refusal(error, "the mapping of the rollback was refused; the running mapping stays");
        });
        let refusal = self.troubles.pin.insert(news);
        // A text that is not stored cannot be recorded under its hash.
        let text = match refusal.is_recorded {
            true => None,
            false => self.recorder.store.mapping_text(sha256).await?,
        };
        if let Some(text) = text {
            let running = self.holder.running();
            let refused = Refused {
                sha256: sha256.clone(),
                text: &text,
                why: &refusal.why,
                trigger,
                running: running.sha256(),
            };
            self.recorder.refused(&refused).await?;
        }
        refusal.is_recorded = true;
        Ok(())
    }

    fn log_refusal(&self, error: &ActivationError, what: &'static str) {
        counter!("gate_mapping_reloads_total", "outcome" => "refused").increment(1);
        let running = self.holder.running().sha256().clone();
        tracing::error!(diagnostics = %in_lines(error), %running, "{what}");
    }

    /// The mapping that this gate runs, and its problems.
    pub(super) fn runs(&self) -> Runs {
        Runs {
            mapping: self.holder.running().sha256().clone(),
            file: self.file_sha256.clone(),
            pin: self.pin.id.clone(),
            is_held: self.is_held,
            // A changing file is not a refusal: `rollback` waits for it.
            problem: self.problem().filter(|problem| problem.kind != MappingProblemKind::Changing).map(
                |problem| {
                    let fallback = if self.holder.is_fallback() { FALLBACK } else { "" };
                    fallback.chars().chain(problem.why.chars()).take(MOST_PROBLEM).collect()
                },
            ),
        }
    }

    /// Why the mapping that should run does not.
    pub(super) fn problem(&self) -> Option<MappingProblem> {
        use MappingProblemKind::{Changing, Fallback, Missing, Refused, RollbackRefused};
        let Troubles { file, pin, is_unsettled, .. } = &self.troubles;
        let (kind, why) = match (pin, file) {
            (Some(refusal), _) => (RollbackRefused, refusal.why.clone()),
            (None, Some(refusal)) if self.holder.is_fallback() => (Fallback, refusal.why.clone()),
            (None, Some(Refusal { what: Err(_), why, .. })) => (Missing, why.clone()),
            (None, Some(refusal)) => (Refused, refusal.why.clone()),
            (None, None) if *is_unsettled => (Changing, "the mapping file keeps changing".to_owned()),
            (None, None) => return None,
        };
        Some(MappingProblem { kind, why })
    }

    fn store(&self) -> &SharedStore {
        &self.recorder.store
    }
}

impl<T: Clone + PartialEq> Refusal<T> {
    /// The refusal of `what`: `before` if it is the same, or a new one, which is reported.
    fn news(before: Option<Refusal<T>>, what: &T, error: &ActivationError, log: impl FnOnce()) -> Refusal<T> {
        let known = before.filter(|refusal| refusal.what == *what);
        known.unwrap_or_else(|| {
            log();
            Refusal { what: what.clone(), why: in_lines(error), is_recorded: false }
        })
    }
}

/// The first mistakes, one per line, and their number, for records.
fn in_lines(error: &ActivationError) -> String {
    match error {
        ActivationError::Unsound(diagnostics) => diagnostics.in_brief(),
        other => other.to_string(),
    }
}

/// A mapping that is valid by itself, with this gate's servers, and against the database.
pub(super) async fn checked(path: &str, text: &str, recorder: &Recorder) -> Result<Mapping, ActivationError> {
    let mapping = Mapping::parse(path, text)?;
    mapping.check_upstreams(path, &recorder.upstreams)?;
    mapping.check_against(path, &recorder.store.catalog().await?)?;
    Ok(mapping)
}

/// A valid mapping that contains no part that the rollback in force took back, with the clusters that it flips to V2
/// before their time for a stated reason. A rollback is checked for neither, so that they cannot stop it.
pub(super) async fn in_order(
    path: &str,
    text: &str,
    running: Option<&Mapping>,
    (pin, recorder): (&Pin, &Recorder),
) -> Result<(Mapping, Vec<Untimely>), ActivationError> {
    let mapping = checked(path, text, recorder).await?;
    let rolled_back = against(&recorder.store, pin.clone(), &mapping).await?;
    if let Some(found) = rolled_back.and_then(|rolled_back| rolled_back.finding()) {
        return Err(Diagnostics::new(path, text, vec![found]).into());
    }
    let untimely = untimely(&recorder.store, &mapping, running, recorder.clock.now()).await?;
    let refused = untimely.iter().filter(|one| one.excuse.is_none());
    let refused: Vec<Diagnostic> = refused.map(Untimely::finding).collect();
    match refused.is_empty() {
        true => Ok((mapping, untimely)),
        false => Err(Diagnostics::new(path, text, refused).into()),
    }
}

/// The pinned mapping.
pub(super) async fn pinned(sha256: &MappingSha256, recorder: &Recorder) -> Result<Mapping, ActivationError> {
    let text = recorder.store.mapping_text(sha256).await?;
    let text = text.ok_or_else(|| ActivationError::UnknownPin(sha256.clone()))?;
    checked(sha256.short(), &text, recorder).await
}
