//! What somebody who was denied can ask for.

use std::sync::Arc;

use chrono::TimeDelta;
use grants::requests::opening;
use policy::decision::{Denial, Reason};
use policy::firewall::Request;
use policy::identity::{Principal, Subject};
use policy::ids::Epoch;
use policy::mapping::{Freshness, Mapping};
use policy::method::Method;
use policy::rbac::catalog::Catalog;
use policy::rbac::{Access, Requirement};
use policy::span;
use store::StoreError;

use super::{RbacApi, csrf};
use crate::ruling::offer::{ASK_PATH, Offer};

/// The hours that a page offers, as far as the rule of the group goes.
const HOURS: [i64; 5] = [1, 2, 4, 8, 24];

impl RbacApi {
    /// The groups that open what was denied, where the denied person may ask for them.
    pub(super) async fn offered(
        &self,
        mapping: &Mapping,
        request: &Request,
        denial: &Denial,
    ) -> Option<Offer> {
        let Principal::Admin { id, .. } = &denial.principal else { return None };
        // Of what only a legacy role opens, no group does.
        if mapping.approvals().is_empty()
            || !matches!(denial.lack.reason, Reason::MissingRole | Reason::MissingPermission)
        {
            return None;
        }
        let ask = mapping.find(ASK_PATH, Method::Post).row().filter(|row| row.gate)?;
        let (method, path) = (request.method(), request.target().path());
        let required: Vec<Requirement> =
            mapping.find(path, method).row()?.kind.requirements().into_iter().cloned().collect();
        if required.is_empty() {
            return None;
        }
        let control = self.parts.access.observe(Freshness::Strict).await.ok()?;
        let subject = Subject::Admin { id: id.clone(), session: None };
        let access = self.parts.access.resolve(&subject, control.epoch).await.ok()?;
        if !control.rbac_v2 || !ask.kind.requirements().into_iter().all(|one| is_held(&access, one)) {
            return None;
        }
        let catalog = self.registry(control.epoch).await.inspect_err(|error| {
            tracing::warn!(%error, "a denial could not say which groups can be asked for");
        });
        let catalog = catalog.ok()?;
        let groups = opening(mapping, &catalog, &required);
        let longest = mapping.approval(groups.first()?)?.longest;
        let hours = HOURS.map(TimeDelta::hours).into_iter().filter(|span| *span < longest);
        Some(Offer {
            route: format!("{method} {path}"),
            spans: hours.chain([longest]).map(span::in_words).collect(),
            groups: groups.iter().map(ToString::to_string).collect(),
            token: csrf::token(request, &denial.principal, &self.keys).unwrap_or_default(),
        })
    }

    /// The registry as of an epoch, read once for all requests until access changes.
    pub(super) async fn registry(&self, epoch: Epoch) -> Result<Arc<Catalog>, StoreError> {
        let mut kept = self.registry.lock().await;
        if let Some((of, catalog)) = &*kept
            && *of >= epoch
        {
            return Ok(catalog.clone());
        }
        let catalog = Arc::new(self.parts.store.catalog().await?);
        *kept = Some((epoch, catalog.clone()));
        Ok(catalog)
    }
}

fn is_held(access: &Access, requirement: &Requirement) -> bool {
    match requirement {
        Requirement::Role(name) => access.roles.contains(name),
        Requirement::Permission(name) => access.permissions.contains(name),
    }
}
