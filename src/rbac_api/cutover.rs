//! Clusters between the legacy gate and V2, and the gates that serve them: read here, turned in [`super::turn`].

use grants::registry::Registry;
use serde_json::{Value, json};
use workbench::drift::{Disagreement, Situation};

use super::query::Query;
use super::reply::{Outcome, Problem, Reply};
use super::routes::Endpoint;
use super::{Caller, RbacApi};
use crate::facts::{self, WorkbenchError};
use crate::ruling::own_routes::OwnRequest;
use crate::text_file::is_replaceable;

/// Disagreements that one answer lists.
const MOST_DRIFT: usize = 200;

impl RbacApi {
    /// Answers what concerns the mapping; `None` for any other endpoint.
    pub(super) async fn cutover(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        endpoint: Endpoint,
        values: &[&str],
    ) -> Option<Outcome> {
        Some(match (endpoint, values) {
            (Endpoint::Fleet, _) => self.fleet(asked).await,
            (Endpoint::Clusters, _) => self.clusters(asked, caller).await,
            (Endpoint::Cluster, [name]) => self.cluster(asked, caller, name).await,
            (Endpoint::TurnCluster, [name]) => {
                self.once(asked, caller, async |_| self.turn_cluster(asked, caller, name).await).await
            }
            (Endpoint::Mapping, _) => self.mapping(asked).await,
            (Endpoint::MappingHistory, _) => self.mapping_history(asked).await,
            (Endpoint::MappingDiff, _) => self.mapping_diff(asked).await,
            (Endpoint::MappingText, [sha256]) => self.mapping_text(asked, sha256).await,
            (Endpoint::CompareMapping, _) => self.compare_mapping(asked, caller).await,
            _ => return None,
        })
    }

    /// What every gate runs.
    async fn fleet(&self, asked: &OwnRequest<'_>) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        Ok(Reply::ok(json!(facts::fleet(&self.parts.store).await?)))
    }

    async fn clusters(&self, asked: &OwnRequest<'_>, caller: &Caller) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let mapping = self.parts.mappings.running();
        let clusters = facts::cutover(&self.parts.store, &mapping, self.parts.clock.now()).await?;
        Ok(Reply::ok(json!({
            "mapping_sha256": mapping.sha256().as_str(),
            "may_turn": self.may_operate(caller).is_ok(),
            "clusters": clusters,
        })))
    }

    /// One cluster, with the disagreements of the two gates about it.
    async fn cluster(&self, asked: &OwnRequest<'_>, caller: &Caller, name: &str) -> Outcome {
        Query::parse(asked.request.target().query(), &[])?;
        let (store, now) = (&self.parts.store, self.parts.clock.now());
        let mapping = self.parts.mappings.running();
        let mut clusters = facts::cutover(store, &mapping, now).await?.into_iter();
        let found = clusters.find(|one| one.state.cluster == name);
        let found = found.ok_or_else(|| Problem::new(404, "the running mapping has no such cluster"))?;
        let registry = Registry::read(store, now).await.map_err(WorkbenchError::from)?;
        let situation = Situation::new(&mapping, &registry.catalog, &registry.people);
        let mut drift = facts::drift(store, &situation).await?.disagreements;
        drift.retain(|one| one.cluster == name);
        drift.sort_by_key(Disagreement::is_explained);
        drift.truncate(MOST_DRIFT);
        let drift: Vec<Value> = drift
            .iter()
            .map(|one| {
                let mut shown = json!(one);
                shown["explained"] = one.is_explained().into();
                shown
            })
            .collect();
        let mut shown = json!(found);
        shown["drift"] = drift.into();
        shown["mapping_sha256"] = mapping.sha256().as_str().into();
        shown["may_turn"] = self.may_operate(caller).is_ok().into();
        shown["writes_file"] = self.writes_file().into();
        Ok(Reply::ok(shown))
    }

    /// Whether a turn writes the file.
    pub(super) fn writes_file(&self) -> bool {
        self.parts.settings.write_mapping && is_replaceable(&self.parts.mapping_file.path)
    }

    /// Refuses whoever does not hold the permission to operate the gate. A break-glass session does not count: its roles are
    /// for what Console has to offer, and its uses are counted by row.
    pub(super) fn may_operate(&self, caller: &Caller) -> Result<(), Problem> {
        const WORD: &str = "not_an_operator";
        let Some(permission) = &self.parts.settings.operate else {
            let detail =
                "no caller may do this here: `operate` in [rbac_api] of gate.toml names no permission";
            return Err(Problem::forbidden(WORD, detail, &["an operator, by editing the mapping file"]));
        };
        let without = caller.access.without_break_glass();
        let access = without.as_ref().unwrap_or(&caller.access);
        match access.permissions.contains(permission.as_str()) {
            true => Ok(()),
            false => {
                let could = format!("holders of the permission `{permission}`");
                let detail =
                    format!("this takes the permission `{permission}` besides what the row asks for");
                Err(Problem::forbidden(WORD, detail, &[&could])
                    .requiring([format!("permission {permission}")]))
            }
        }
    }
}

impl From<WorkbenchError> for Problem {
    fn from(error: WorkbenchError) -> Problem {
        match error {
            WorkbenchError::Store(error) => error.into(),
            error => Problem::unavailable(&error),
        }
    }
}
