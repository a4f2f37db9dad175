//! `POST /api/rbac/clusters/{name}/mode`: an operator turns a cluster.
//!
//! ```text
//! operator? -> rollback in force? -> the file is what runs -> one word replaced -> would a gate refuse it? -> effect
//!    dry run: shown, with its digest and the file's
//!    else:    same file, same effect -> audit row -> file replaced in one step -> every gate runs it, or is named
//! ```
//!
//! The mode is in the file alone. Where the gate may not write it, the answer is the patch.

use std::sync::Arc;
use std::time::Duration;

use grants::effects::Affected;
use grants::registry::Registry;
use grants::requests::confirmed;
use ledger::AuditEvent;
use policy::diagnostic::Lines;
use policy::identity::Principal;
use policy::mapping::parse::sha256_of;
use policy::mapping::{ClusterMode, Mapping, NotTurned, turned};
use policy::rbac::census::CallerKind;
use policy::rbac::grant::Origin;
use serde::Deserialize;
use serde_json::{Value, json};
use store::access_grants::GrantsOf;
use workbench::impact::AccessChange;
use workbench::report::Finding;

use super::keys::digest;
use super::mapping::{FILE, compare, etag, patch};
use super::query::Query;
use super::reply::{Outcome, Problem, Reply};
use super::writes::{body, checked_reason, field};
use super::{Caller, RbacApi};
use crate::activation::Turned;
use crate::activation::agreement::{self, Agreement, Goal, Why};
use crate::facts::findings::{Known, refusals};
use crate::facts::{self, Cutover, WorkbenchError};
use crate::ruling::own_routes::OwnRequest;
use crate::text_file::{self, Replacement, lock_folder_of};

/// Longer than the lease of a gate that has gone silent, and than any gate takes for a look.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMode {
    mode: String,
    reason: String,
}

/// A turn, worked out.
struct Turn {
    cluster: Cutover,
    mode: ClusterMode,
    reason: String,
    /// The file as it is, and as it would be.
    file: String,
    text: String,
    running: Arc<Mapping>,
    /// Whether it undoes the turn that brought the running file.
    is_back: bool,
    shown: Value,
}

impl RbacApi {
    pub(super) async fn turn_cluster(&self, asked: &OwnRequest<'_>, caller: &Caller, name: &str) -> Outcome {
        let query = Query::parse(asked.request.target().query(), &["dry_run", "expect"])?;
        self.may_operate(caller)?;
        let NewMode { mode, reason } = body(asked)?;
        let reason = checked_reason(Some(&reason))?.unwrap_or_default();
        let mode = ClusterMode::WORDS.into_iter().find(|(word, _)| *word == mode).map(|(_, mode)| mode);
        let mode = mode.ok_or_else(|| Problem::new(422, "`mode` is `legacy`, `shadow` or `v2`"))?;
        let known = field(asked, "if-match")?;
        let is_dry = query.switch("dry_run")? == Some(true);
        if known.is_none() && !is_dry {
            return Err(Problem::new(428, "send `If-Match` with the ETag of /api/rbac/mapping"));
        }
        let turn = self.worked_out(caller, (name, mode, reason), known).await?;
        if is_dry {
            let tag = etag(&turn.file);
            return Ok(Reply::ok(turn.shown).with("etag", tag));
        }
        let current = &turn.shown["preview_sha256"];
        match query.get("expect") {
            Some(expected) if *current == expected => {}
            Some(_) => {
                let detail = "the turn does not do any more what was shown; look at it again";
                return Err(Problem::new(412, detail).with("preview_sha256", current.clone()));
            }
            None if turn.is_back => {}
            None => return Err(Problem::new(428, "send `expect`, the `preview_sha256` of a dry run")),
        }
        if !self.writes_file() {
            let detail = "this gate does not write its mapping file: apply the patch where the file is kept";
            return Err(Problem::new(409, detail).with("patch", turn.shown["patch"].clone()));
        }
        self.write_turn(caller, &turn).await?;
        self.agreed(&turn).await
    }

    /// What a turn would do to the file as it is, and to everybody's access as it is.
    async fn worked_out(
        &self,
        caller: &Caller,
        (name, mode, reason): (&str, ClusterMode, String),
        known: Option<&str>,
    ) -> Result<Turn, Problem> {
        let (store, now) = (&self.parts.store, self.parts.clock.now());
        let running = self.parts.mappings.running();
        let file = self.file().await?;
        if known.is_some_and(|known| known != etag(&file)) {
            return Err(changed());
        }
        let clusters = facts::cutover(store, &running, now).await?;
        let cluster = clusters.into_iter().find(|one| one.state.cluster == name);
        let cluster = cluster.ok_or_else(|| Problem::new(404, "the running mapping has no such cluster"))?;
        let back = cluster.back.clone().filter(|back| back.mode == mode.as_str());
        self.is_the_file_in_force(name, &file, &running, back.is_some()).await?;
        let text = turned(&file, name, mode).map_err(not_turned)?;
        let registry = Registry::read(store, now).await.map_err(WorkbenchError::from)?;
        let new = self.acceptable(&text, &registry, &running).await?;
        let (impact, effects) = compare(&running, new, registry).await?;
        let mut own = self.tickets_opened(caller, name, mode, &running).await?;
        let me = Affected { kind: caller.kind(), id: caller.id().to_owned() };
        let gains = effects.iter().filter(|one| one.change == AccessChange::Gain && one.who.contains(&me));
        own.extend(gains.flat_map(|one| one.now.clone()));
        // The way back from a turn of one's own returns what that turn took.
        if !own.is_empty() && back.as_ref().is_none_or(|back| back.by != name_of(caller)) {
            let detail =
                format!("it would open {} to you, so another operator has to make the turn", own.join(", "));
            return Err(Problem::forbidden("own_gain", detail, &["another operator"]));
        }
        let mut shown = json!({
            "dry_run": true, "cluster": name, "before": cluster.state.rollout, "after": mode.as_str(),
            "from_sha256": sha256_of(&file).as_str(), "to_sha256": sha256_of(&text).as_str(),
            "patch": patch(&file, &text), "writes_file": self.writes_file(), "is_back": back.is_some(),
            "undecided": cluster.undecided, "soak": cluster.state, "impact": impact,
        });
        let seen = ["cluster", "after", "from_sha256", "to_sha256"].map(|name| &shown[name]);
        shown["preview_sha256"] =
            digest(json!([seen, confirmed(&shown["impact"])]).to_string().as_bytes()).into();
        Ok(Turn { cluster, mode, reason, file, text, running, is_back: back.is_some(), shown })
    }

    /// The mapping of a text that every gate would activate.
    async fn acceptable(
        &self,
        text: &str,
        registry: &Registry,
        running: &Mapping,
    ) -> Result<Mapping, Problem> {
        let new = Mapping::parse(FILE, text).map_err(|error| Problem::unavailable(&error))?;
        let now = self.parts.clock.now();
        let known = Known::read(&self.parts.store, &new, registry, running, now).await?;
        let refused = refusals(FILE, &new, &known, &self.parts.mapping_file.upstreams);
        let Some(first) = refused.first() else { return Ok(new) };
        let detail = format!("no gate would activate the file: {}", first.message);
        let lines = Lines::new(text);
        let findings = refused.iter().map(|found| json!(Finding::in_file(FILE, &lines, found)));
        Err(Problem::new(422, detail).with("findings", findings.collect::<Vec<Value>>()))
    }

    /// The routes that V2 may open to a caller for tickets that they hold a live grant for. The effect has only access that
    /// needs no ticket, so each row with a ticket counts.
    async fn tickets_opened(
        &self,
        caller: &Caller,
        cluster: &str,
        mode: ClusterMode,
        mapping: &Mapping,
    ) -> Result<Vec<String>, Problem> {
        if mode != ClusterMode::V2 || caller.kind() != CallerKind::Admin {
            return Ok(Vec::new());
        }
        let now = self.parts.clock.now();
        let grants = self.parts.store.access_grants(GrantsOf { admin: Some(caller.id()), of: None }).await?;
        if !grants.iter().any(|grant| grant.origin == Origin::Ticket && grant.is_live(now)) {
            return Ok(Vec::new());
        }
        let rows = mapping.rows().iter();
        let rows = rows.filter(|row| row.cluster.as_deref() == Some(cluster) && row.ticket().is_some());
        Ok(rows.map(|row| row.route.to_string()).collect())
    }

    /// Refuses a turn of a file that does not decide. The way back needs no agreement of the gates.
    async fn is_the_file_in_force(
        &self,
        name: &str,
        file: &str,
        running: &Mapping,
        is_back: bool,
    ) -> Result<(), Problem> {
        let fleet = facts::fleet(&self.parts.store).await?;
        if let Some(rollback) = fleet.rollback {
            let mode = |mapping: &Mapping| mapping.clusters().get(name).map(ToString::to_string);
            let of_file = Mapping::parse(FILE, file).ok().and_then(|mapping| mode(&mapping));
            let detail = match (mode(running), of_file) {
                (Some(runs), Some(stated)) if runs != stated => {
                    format!("A rollback is in force: {name} runs as {runs} although the file has {stated}.")
                }
                _ => format!(
                    "A rollback is in force: the gates run {} by {}, whatever the file has.",
                    rollback.sha256.get(..12).unwrap_or(&rollback.sha256),
                    rollback.by
                ),
            };
            return Err(Problem::new(409, detail));
        }
        if sha256_of(file) != *running.sha256() {
            let detail =
                "the mapping file is not what this gate runs: it is being taken up, or it was refused";
            return Err(Problem::new(409, detail));
        }
        if !is_back && fleet.mapping_sha256.as_deref() != Some(running.sha256().as_str()) {
            return Err(Problem::new(
                409,
                "the gates run different mappings, so no effect would be that of all",
            ));
        }
        Ok(())
    }

    /// Records the turn, and puts the file in its place in one step.
    async fn write_turn(&self, caller: &Caller, turn: &Turn) -> Result<(), Problem> {
        let path = self.parts.mapping_file.path.clone();
        let _lock = blocking(move || lock_folder_of(&path)).await?;
        if self.file().await? != turn.file {
            return Err(changed());
        }
        let (path, text) = (self.parts.mapping_file.path.clone(), turn.text.clone());
        let replacement = blocking(move || Replacement::prepare(&path, &text)).await?;
        let (cluster, sha256, by) =
            (turn.cluster.state.cluster.clone(), sha256_of(&turn.text), name_of(caller));
        let (before, after) = (turn.cluster.state.rollout.clone(), turn.mode.as_str());
        let turned = Turned {
            sha256: sha256.clone(),
            by: by.clone(),
            what: format!("{cluster} to {after}: {}", turn.reason),
        };
        let event = AuditEvent::ClusterTurned {
            cluster,
            before,
            after,
            previous: turn.running.sha256().clone(),
            sha256,
            reason: turn.reason.clone(),
            by,
        };
        let note = self.parts.notary.note(event.into_record(self.parts.clock.now()));
        self.parts.store.record(&note).await?;
        self.parts.mappings.note_turn(turned);
        blocking(move || replacement.put()).await?;
        self.parts.mappings.reload();
        Ok(())
    }

    /// Waits until every gate runs the file, and names those that do not.
    async fn agreed(&self, turn: &Turn) -> Outcome {
        let store = &self.parts.store;
        let mapping = sha256_of(&turn.text);
        let waited = async {
            let pin = store.pin().await?.id;
            agreement::wait(store, &Goal { pin, mapping: Some(mapping.clone()), is_file: true }, PATIENCE)
                .await
        };
        let Agreement { followers, strays } = waited.await.map_err(|error| {
            tracing::error!(%error, "a turn is written, and which gates follow is not known");
            Problem::new(503, "the file is written, but which gates run it could not be determined")
        })?;
        let strays = strays.into_iter().map(|stray| {
            let why = match stray.why {
                Why::Refused(why) => format!("it refuses the file: {why}"),
                Why::Silent(lease) => format!("it has not reported for {} s", lease.as_secs()),
                Why::NewerFile | Why::Late(_) => {
                    "it does not have this file, or does not watch it".to_owned()
                }
            };
            json!({ "gate": stray.name, "mapping_sha256": stray.runs.as_str(), "why": why })
        });
        Ok(Reply::ok(json!({
            "cluster": turn.cluster.state.cluster, "mode": turn.mode.as_str(),
            "mapping_sha256": mapping.as_str(), "gates": followers, "not_yet": strays.collect::<Vec<_>>(),
        })))
    }

    /// The text of the mapping file.
    async fn file(&self) -> Result<String, Problem> {
        let path = self.parts.mapping_file.path.clone();
        blocking(move || text_file::read(&path)).await
    }
}

/// How the history names a caller.
fn name_of(caller: &Caller) -> String {
    match &caller.principal {
        Principal::Admin { .. } => caller.id().to_owned(),
        Principal::Machine { .. } => format!("machine {}", caller.id()),
    }
}

fn changed() -> Problem {
    Problem::new(412, "the mapping file has changed since it was shown; look at it again")
}

fn not_turned(error: NotTurned) -> Problem {
    match error {
        NotTurned::Unknown => Problem::new(404, error.to_string()),
        error => Problem::new(422, error.to_string()),
    }
}

/// Work on the file, off the threads that serve requests.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other);
    done.and_then(|done| done).map_err(|error| {
        // The path is the operator's, and is in the log.
        tracing::error!(%error, "the mapping file could not be read or written for a turn");
        Problem::new(503, format!("the mapping file could not be read or written ({})", error.kind()))
    })
}
