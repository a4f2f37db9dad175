//! What an admin sees of their own access, for those who may ask about others. The caller stays who it is: the viewed admin is
//! data that is read, never a caller.

use std::collections::BTreeSet;

use grants::apart::let_in;
use grants::requests::rule_of_request;
use ledger::AuditEvent;
use policy::decision::Target;
use policy::method::Method;
use policy::rbac::census::{CallerKind, Person};
use serde_json::{Value, json};
use store::access_requests::RequestState;

use super::readers::{Reading, person};
use super::reply::{Outcome, Problem, Reply};
use super::requests::MOST_LISTED;
use super::routes::ROUTES;
use super::views;

impl Reading<'_> {
    /// What an admin sees: what it holds, the requests of its own and those that wait for it, and the reads that it may make. Each
    /// look is recorded first.
    pub(super) async fn view_of(&self, id: &str) -> Outcome {
        self.query(&[])?;
        self.may_ask_about_others()?;
        let state = self.state().await?;
        let unknown = || Problem::new(404, "there is no such admin, or it is disabled");
        let person = person(&state, CallerKind::Admin, id).ok_or_else(unknown)?;
        let looked = AuditEvent::AccessViewed { about: id.to_owned(), by: self.caller.id().to_owned() };
        let note = self.api.parts.notary.note(looked.into_record(state.now));
        self.api.parts.store.record(&note).await?;
        // A page counts no break-glass session.
        let person = &Person { break_glass: false, ..person.clone() };
        let (mapping, catalog) = (self.api.parts.mappings.running(), &state.registry.catalog);
        let may = |path: &str| {
            let target = Target::of(&mapping, path, Method::Get);
            let is_served = target.row().is_some_and(|row| row.gate);
            is_served && let_in(target, person, catalog, &self.caller.control).is_some()
        };
        let (mut held, mut tickets) = (Vec::new(), Vec::new());
        if may("/api/rbac/me") {
            held = self.held(&state, person).await?.iter().map(|grant| json!(grant)).collect();
            tickets = self.ticket_grants_of(id, &state).await?;
            self.recorded_of(id, [&mut held, &mut tickets]).await?;
        }
        let (mut waiting, mut own): (Vec<Value>, Vec<Value>) = Default::default();
        if may("/api/rbac/requests") {
            let pending =
                self.api.parts.store.access_requests(Some(RequestState::Pending), None, MOST_LISTED).await?;
            for request in pending.iter().filter(|request| request.closes_at > state.now) {
                let is_own = [&request.admin, &request.requested_by].into_iter().any(|one| *one == *id);
                let decides =
                    rule_of_request(&mapping, request).is_ok_and(|rule| rule.allows(&person.groups));
                if is_own {
                    own.push(views::request(request, state.now));
                } else if decides {
                    waiting.push(views::request(request, state.now));
                }
            }
        }
        let roles = person.roles(catalog);
        let reads = ROUTES.iter().filter(|route| route.method == Method::Get).map(|route| route.example);
        let reads: BTreeSet<&str> = reads.filter(|path| may(path)).collect();
        Ok(Reply::ok(json!({
            "subject": id,
            "groups": person.groups,
            "legacy_roles": person.legacy.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "permissions": catalog.permissions_of(&roles),
            "roles": roles,
            "grants": held,
            "ticket_grants": tickets,
            "requests": own,
            "waiting": waiting,
            "reads": reads,
        })))
    }
}
