//! What the API answers without changing anything.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use grants::State;
use grants::apart::{let_in, outcome};
use policy::decision::ticket::TicketName;
use policy::decision::{Caller as Deciding, Control, LetInBy, Target};
use policy::firewall::Policy;
use policy::identity::Principal;
use policy::ids::AdminId;
use policy::mapping::{Row, RowKind, V2Gate};
use policy::rbac::Requirement;
use policy::rbac::break_glass::capped;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::{CallerKind, Person};
use policy::rbac::grant::Origin;
use serde_json::{Value, json};
use store::access_grants::{AccessGrant, GrantsOf};
use store::grant_pages::AuditFilter;
use workbench::explanation;

use super::grant_id::GrantId;
use super::query::Query;
use super::reply::{Outcome, Problem, Reply};
use super::views::{self, Held, etag, held, ways};
use super::{Caller, RbacApi, csrf};
use crate::outbound::freescout::TicketState;
use crate::ruling::own_routes::OwnRequest;

/// Rows of a page, where the client does not say how many, and the most.
const USUAL_PAGE: u32 = 100;
const MOST_PAGE: u32 = 500;

/// One request that only reads.
pub(super) struct Reading<'r> {
    pub(super) api: &'r RbacApi,
    pub(super) asked: &'r OwnRequest<'r>,
    pub(super) caller: &'r Caller,
}

impl Reading<'_> {
    pub(super) fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        Query::parse(self.asked.request.target().query(), known)
    }

    pub(super) async fn state(&self) -> Result<State, Problem> {
        Ok(State::read(&self.api.parts.store, &[], self.api.parts.clock.now()).await?)
    }

    /// Who asks, what it holds and why.
    pub(super) async fn me(&self) -> Outcome {
        self.query(&[])?;
        let state = self.state().await?;
        let (caller, access) = (self.caller, &self.caller.access);
        let grants = match person(&state, caller.kind(), caller.id()) {
            Some(person) => self.held(&state, person).await?,
            None => Vec::new(),
        };
        let mut grants: Vec<Value> = grants.iter().map(|grant| self.own(grant, &state)).collect();
        let mut tickets = Vec::new();
        if caller.kind() == CallerKind::Admin {
            tickets = self.ticket_grants_of(caller.id(), &state).await?;
            self.recorded_of(caller.id(), [&mut grants, &mut tickets]).await?;
        }
        let token = match caller.principal {
            Principal::Machine { .. } => None,
            Principal::Admin { .. } => csrf::token(self.asked.request, &caller.principal, &self.api.keys),
        };
        Ok(Reply::ok(json!({
            "subject": caller.id(),
            "kind": caller.kind(),
            "groups": access.groups,
            "roles": access.roles,
            "permissions": access.permissions,
            "legacy_roles": access.legacy.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "grants": grants,
            "ticket_grants": tickets,
            "rbac_v2": caller.control.rbac_v2,
            "csrf_token": token,
        })))
    }

    /// One of the caller's own grants, with what it can do about it.
    fn own(&self, grant: &Held, state: &State) -> Value {
        let mut own = json!(grant);
        let is_asked_for = ["timed", "request"].contains(&grant.origin);
        own["ends_soon"] = self.ends_soon(grant.until, state).into();
        own["can_end"] = (grant.id.is_some() && (is_asked_for || grant.origin == "break_glass")).into();
        let has_rule = self.api.parts.mappings.running().approval(&grant.group).is_some();
        own["can_extend"] = (is_asked_for && has_rule).into();
        own
    }

    /// Adds their records to the grants of an admin.
    pub(super) async fn recorded_of(
        &self,
        admin: &str,
        [grants, tickets]: [&mut Vec<Value>; 2],
    ) -> Result<(), Problem> {
        let of = GrantsOf { admin: Some(admin), of: None };
        let count = grants.len();
        grants.append(tickets);
        self.api.with_records(self.caller, of, "id", grants).await?;
        *tickets = grants.split_off(count);
        Ok(())
    }

    /// An admin's live grants for tickets.
    pub(super) async fn ticket_grants_of(&self, admin: &str, state: &State) -> Result<Vec<Value>, Problem> {
        let of = GrantsOf { admin: Some(admin), of: None };
        let all = self.api.parts.store.access_grants(of).await?;
        let live = all.iter().filter(|one| one.origin == Origin::Ticket && one.is_live(state.now));
        let shown = live.map(|one| {
            json!({
                "id": one.id, "role": one.role, "ticket_id": one.ticket, "customer_id": one.customer,
                "until": one.ends, "ends_soon": self.ends_soon(one.ends, state),
            })
        });
        Ok(shown.collect())
    }

    /// Whether an end is near.
    fn ends_soon(&self, until: Option<DateTime<Utc>>, state: &State) -> bool {
        let minutes = i64::try_from(self.api.parts.settings.ends_soon_minutes.0).unwrap_or(i64::MAX);
        let near = TimeDelta::try_minutes(minutes).and_then(|near| state.now.checked_add_signed(near));
        until.is_some_and(|until| near.is_none_or(|near| until <= near))
    }

    /// Whether somebody holds a permission, and for the ticket and customer that are named: oneself, or another for those who
    /// may ask.
    pub(super) async fn check(&self) -> Outcome {
        let query = self.query(&["permission", "user", "ticket", "customer"])?;
        let permission = query.get("permission").filter(|name| !name.is_empty());
        let Some(permission) = permission else {
            return Err(Problem::new(400, "`permission` is missing"));
        };
        let name = match (query.get("ticket"), query.get("customer")) {
            (None, None) => None,
            (Some(ticket), Some(customer)) => TicketName::parse(ticket, customer),
            _ => None,
        };
        if name.is_none() && (query.get("ticket").is_some() || query.get("customer").is_some()) {
            return Err(Problem::new(
                400,
                "`ticket` and `customer` are two positive numbers, without leading zeros",
            ));
        }
        let (kind, id) = match query.get("user") {
            Some(user) if !(self.caller.kind() == CallerKind::Admin && user == self.caller.id()) => {
                self.may_ask_about_others()?;
                (CallerKind::Admin, user)
            }
            _ => (self.caller.kind(), self.caller.id()),
        };
        let state = self.state().await?;
        let requirement = Requirement::Permission(permission.into());
        let person = person(&state, kind, id);
        let grants = person.map(|person| held(&state, person)).unwrap_or_default();
        let catalog = &state.registry.catalog;
        let without = self.without_a_ticket(permission, catalog);
        let through: Vec<_> = match &without {
            None => ways(catalog, &grants, &requirement),
            Some(roles) => roles.iter().flat_map(|role| ways(catalog, &grants, role)).collect(),
        };
        let for_ticket = match name.filter(|_| kind == CallerKind::Admin && person.is_some()) {
            Some(name) => self.granted_for(id, &name, &requirement, &state).await?,
            None => Vec::new(),
        };
        Ok(Reply::ok(json!({
            "subject": id,
            "kind": kind,
            "permission": permission,
            "allowed": !through.is_empty() || !for_ticket.is_empty(),
            "needs_ticket": without.is_some(),
            "through": through,
            "through_tickets": for_ticket,
        })))
    }

    pub(super) fn may_ask_about_others(&self) -> Result<(), Problem> {
        let may = &self.api.parts.settings.check_others;
        if self.caller.holds(may.as_ref()) {
            return Ok(());
        }
        let required = may.iter().map(|name| format!("permission `{name}`"));
        let could = match may {
            Some(name) => format!("holders of the permission `{name}`"),
            None => "an operator, by `console-gate who`".to_owned(),
        };
        let detail = "you may ask only about yourself";
        Err(Problem::forbidden("others_asked_about", detail, &[&could]).requiring(required))
    }

    /// The roles that need no ticket for a permission, where every row that asks for it asks for a ticket; `None` where one
    /// does not, or none asks for it.
    fn without_a_ticket(&self, permission: &str, catalog: &Catalog) -> Option<BTreeSet<Requirement>> {
        let mapping = self.api.parts.mappings.running();
        let asks = |base: &Requirement| match base {
            Requirement::Permission(name) => **name == *permission,
            Requirement::Role(name) => {
                catalog.permissions_of(&catalog.with_inherited([name.clone()])).contains(permission)
            }
        };
        let mut without = None;
        for row in mapping.rows() {
            let RowKind::Gated { v2: V2Gate::Requires { base, also, when, ticket }, .. } = &row.kind else {
                continue;
            };
            // A ticket is about the row's own requirement alone.
            if also.iter().chain(when.iter().map(|rule| &rule.requires)).any(asks) {
                return None;
            }
            match ticket {
                _ if !asks(base) => {}
                None => return None,
                Some(rule) => without.get_or_insert_with(BTreeSet::new).extend(rule.without.iter().cloned()),
            }
        }
        without
    }

    /// The live grants for a ticket and a customer that bring what is required, where the ticket is open.
    async fn granted_for(
        &self,
        admin: &str,
        name: &TicketName,
        requirement: &Requirement,
        state: &State,
    ) -> Result<Vec<Value>, Problem> {
        let (store, catalog) = (&self.api.parts.store, &state.registry.catalog);
        let Some(tickets) = &self.api.parts.tickets else { return Ok(Vec::new()) };
        let access = store.ticket_access(&AdminId::new(admin), name, state.now).await?;
        if !access.is_enabled || !access.holding.meets(requirement) {
            return Ok(Vec::new());
        }
        match tickets.freescout().ticket(&name.ticket).await {
            Ok(TicketState::Open) => {}
            Ok(TicketState::Ended(_)) => return Ok(Vec::new()),
            Err(error) => {
                tracing::warn!(%error, ticket = name.ticket, "whether a ticket is open is not known");
                return Err(Problem::new(
                    503,
                    "FreeScout does not say whether the ticket is open; try again",
                ));
            }
        }
        let brings = |grant: &Value| {
            let roles = catalog.with_inherited([Arc::from(grant["role"].as_str().unwrap_or_default())]);
            let is_it = grant["ticket_id"] == *name.ticket && grant["customer_id"] == name.customer;
            is_it
                && match requirement {
                    Requirement::Role(role) => roles.contains(role),
                    Requirement::Permission(permission) => {
                        catalog.permissions_of(&roles).contains(permission)
                    }
                }
        };
        Ok(self.ticket_grants_of(admin, state).await?.into_iter().filter(brings).collect())
    }

    /// Who holds a role or a permission, or is let in by a route, and how.
    pub(super) async fn who(&self) -> Outcome {
        let query = self.query(&["permission", "role", "route"])?;
        let asked = [query.get("permission"), query.get("role"), query.get("route")];
        let state = self.state().await?;
        let requirement = match asked {
            [Some(name), None, None] => Requirement::Permission(name.into()),
            [None, Some(name), None] => Requirement::Role(name.into()),
            [None, None, Some(route)] => return self.who_passes(route, &state),
            _ => return Err(Problem::new(400, "give one of `permission`, `role` and `route`")),
        };
        let catalog = &state.registry.catalog;
        if !catalog.defines(&requirement) {
            return Err(Problem::new(404, format!("there is no {requirement}")));
        }
        let holders = state.registry.people.iter().filter_map(|person| {
            let through = ways(catalog, &held(&state, person), &requirement);
            (!through.is_empty())
                .then(|| json!({ "kind": person.kind, "subject": person.id, "through": through }))
        });
        Ok(Reply::ok(json!({ "requirement": requirement.to_string(), "who": holders.collect::<Vec<_>>() })))
    }

    fn who_passes(&self, route: &str, state: &State) -> Outcome {
        let bad = || Problem::new(400, "`route` is a method and a path: `GET /console/audit`");
        let (method, path) = route.split_once(' ').ok_or_else(bad)?;
        let policy = Policy::default();
        let request = explanation::request(method, path, &policy).map_err(|refusal| {
            Problem::new(400, format!("the firewall refuses such a request: {}", refusal.word()))
        })?;
        let mapping = self.api.parts.mappings.running();
        let target = Target::of(&mapping, request.target().path(), request.method());
        let catalog = &state.registry.catalog;
        let control = &self.caller.control;
        let passing = state.registry.people.iter().filter_map(|person| {
            let by = let_in(target, person, catalog, control)?;
            Some(json!({
                "kind": person.kind,
                "subject": person.id,
                "decided_by": by.word(),
                "through": through(&target, by, person, state),
            }))
        });
        Ok(Reply::ok(json!({
            "route": target.row().map(|row| &row.route),
            "anyone": is_open(target, control),
            "body_rules": body_rules(target.row()),
            "who": passing.collect::<Vec<_>>(),
        })))
    }

    pub(super) async fn roles(&self) -> Outcome {
        self.query(&[])?;
        let state = self.state().await?;
        let catalog = &state.registry.catalog;
        let roles: Vec<Value> =
            catalog.roles.iter().filter_map(|name| views::role(catalog, &state.grantors, name)).collect();
        Ok(Reply::ok(json!({ "roles": roles })))
    }

    pub(super) async fn role(&self, name: &str) -> Outcome {
        self.query(&[])?;
        let state = self.state().await?;
        tagged(views::role(&state.registry.catalog, &state.grantors, name), "role")
    }

    pub(super) async fn permissions(&self) -> Outcome {
        self.query(&[])?;
        let state = self.state().await?;
        let catalog = &state.registry.catalog;
        let permissions = catalog.permissions.iter().map(|name| {
            let direct = catalog.role_permissions.iter().filter(|(_, names)| names.contains(name));
            json!({ "name": name, "roles": direct.map(|(role, _)| role).collect::<Vec<_>>() })
        });
        Ok(Reply::ok(json!({ "permissions": permissions.collect::<Vec<_>>() })))
    }

    pub(super) async fn groups(&self) -> Outcome {
        self.query(&[])?;
        let state = self.state().await?;
        let catalog = &state.registry.catalog;
        let none = BTreeSet::new();
        let groups = catalog.groups.iter().map(|name| {
            let direct = state.memberships.iter().filter(|one| *one.group == **name);
            let live = state.timed.iter().filter(|one| *one.group == **name && one.span().is_live(state.now));
            let members: BTreeSet<&str> =
                direct.clone().map(|one| &*one.admin).chain(live.map(|one| one.admin.as_str())).collect();
            let roles = catalog.group_roles.get(name).unwrap_or(&none);
            json!({ "name": name, "roles": roles, "members": members.len(), "direct_members": direct.count() })
        });
        Ok(Reply::ok(json!({ "groups": groups.collect::<Vec<_>>() })))
    }

    pub(super) async fn group(&self, name: &str) -> Outcome {
        self.query(&[])?;
        let state = self.state().await?;
        let mut reply = tagged(views::group(&state.registry, &state, &state.grantors, name), "group")?;
        // After its ETag was made: a use is no edit.
        if let Some(members) = reply.body.as_mut().and_then(|group| group["members"].as_array_mut()) {
            let of = GrantsOf { admin: None, of: Some(name) };
            self.api.with_records(self.caller, of, "grant", members).await?;
        }
        Ok(reply)
    }

    pub(super) async fn admins(&self) -> Outcome {
        let query = self.query(&["limit", "cursor", "q"])?;
        let page = self.page(&query)?;
        let wanted = query.get("q").unwrap_or_default().to_lowercase();
        let state = self.state().await?;
        let mut admins = self.api.parts.store.admins().await?;
        admins.retain(|admin| {
            let names = [Some(&admin.id), admin.display_name.as_ref(), Some(&admin.email)];
            wanted.is_empty() || names.into_iter().flatten().any(|name| name.to_lowercase().contains(&wanted))
        });
        admins.sort_by(|one, other| one.id.cmp(&other.id));
        let (admins, next) =
            self.part(&page, admins.into_iter().map(|admin| (admin.id.clone(), admin)).collect());
        let shown = admins.into_iter().map(|admin| {
            let person = person(&state, CallerKind::Admin, &admin.id);
            json!({
                "id": admin.id,
                "email": admin.email,
                "display_name": admin.display_name,
                "enabled": person.is_some(),
                "groups": person.map(|person| person.granting_groups().collect::<BTreeSet<_>>()).unwrap_or_default(),
            })
        });
        Ok(Reply::ok(json!({ "admins": shown.collect::<Vec<Value>>(), "next": next })))
    }

    /// Everything that an admin holds, each with the grants behind it.
    pub(super) async fn admin(&self, id: &str) -> Outcome {
        self.query(&[])?;
        let state = self.state().await?;
        let Some(person) = person(&state, CallerKind::Admin, id) else {
            let is_known = self.api.parts.store.admins().await?.iter().any(|admin| admin.id == id);
            let nothing = json!({
                "id": id, "enabled": false, "grants": [], "ticket_grants": [], "legacy_roles": [], "roles": [],
                "permissions": [],
            });
            return match is_known {
                true => Ok(Reply::ok(nothing)),
                false => Err(Problem::new(404, "there is no such admin")),
            };
        };
        let catalog = &state.registry.catalog;
        let (grants, roles) = (self.held(&state, person).await?, person.roles(catalog));
        let mut held: Vec<Value> = grants.iter().map(|grant| json!(grant)).collect();
        let mut tickets = self.ticket_grants_of(id, &state).await?;
        self.recorded_of(id, [&mut held, &mut tickets]).await?;
        let role = |name: &Arc<str>| {
            let through = ways(catalog, &grants, &Requirement::Role(name.clone()));
            json!({ "name": name, "through": through })
        };
        let permission = |name: &Arc<str>| {
            let through = ways(catalog, &grants, &Requirement::Permission(name.clone()));
            json!({ "name": name, "through": through })
        };
        Ok(Reply::ok(json!({
            "id": id,
            "enabled": true,
            "grants": held,
            "ticket_grants": tickets,
            "legacy_roles": person.legacy.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "roles": roles.iter().map(role).collect::<Vec<_>>(),
            "permissions": catalog.permissions_of(&roles).iter().map(permission).collect::<Vec<_>>(),
        })))
    }

    /// Every row that lets an admin in, and why.
    pub(super) async fn routes_of(&self, id: &str) -> Outcome {
        self.query(&[])?;
        let state = self.state().await?;
        let Some(person) = person(&state, CallerKind::Admin, id) else {
            return Err(Problem::new(404, "there is no such admin, or it is disabled"));
        };
        let mapping = self.api.parts.mappings.running();
        let (catalog, control) = (&state.registry.catalog, &self.caller.control);
        let routes = mapping.rows().iter().filter_map(|row| {
            let target = Target::Row(row, mapping.rollout_of(row));
            let by = let_in(target, person, catalog, control)?;
            Some(json!({
                "route": row.route,
                "cluster": row.cluster,
                "decided_by": by.word(),
                "anyone": is_open(target, control),
                "through": through(&target, by, person, &state),
                "body_rules": body_rules(Some(row)),
            }))
        });
        Ok(Reply::ok(json!({
            "id": id,
            "mapping_sha256": mapping.sha256().as_str(),
            "routes": routes.collect::<Vec<_>>(),
        })))
    }

    pub(super) async fn grants(&self) -> Outcome {
        let query =
            self.query(&["user", "group", "origin", "ticket", "customer", "live", "limit", "cursor"])?;
        let page = self.page(&query)?;
        let origin = query.get("origin");
        if origin.is_some_and(|origin| Origin::parse(origin).is_none()) {
            return Err(Problem::new(
                400,
                format!("`origin` is one of {}", Origin::ALL.map(Origin::word).join(", ")),
            ));
        }
        let live = query.switch("live")?;
        let now = self.api.parts.clock.now();
        let customer = query.get("customer").map(|wanted| wanted.parse::<i64>().ok());
        let fits = |grant: &AccessGrant| {
            let is =
                |value: Option<&str>, name: &str| query.get(name).is_none_or(|wanted| value == Some(wanted));
            customer.is_none_or(|wanted| wanted.is_some() && grant.customer == wanted)
                && is(grant.ticket.as_deref(), "ticket")
                && is(grant.group.as_deref(), "group")
                && is(Some(grant.origin.word()), "origin")
                && live.is_none_or(|live| grant.is_live(now) == live)
        };
        let of = GrantsOf { admin: query.get("user"), of: None };
        let all = self.api.parts.store.access_grants(of).await?.into_iter().filter(fits);
        let mut rows: Vec<(String, AccessGrant)> = all.map(|grant| (place_of(&grant), grant)).collect();
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        let (shown, next) = self.part(&page, rows);
        let grants = self.api.recorded(self.caller, &shown).await?;
        Ok(Reply::ok(json!({ "grants": grants, "next": next })))
    }

    pub(super) async fn grant(&self, id: &str) -> Outcome {
        self.query(&[])?;
        let unknown = || Problem::new(404, "there is no such grant");
        let id = GrantId::parse(id).ok_or_else(unknown)?;
        let is_it = |grant: &AccessGrant| match &id {
            GrantId::Direct { user, group } => {
                grant.id.is_none() && grant.admin == *user && grant.group.as_deref() == Some(group)
            }
            GrantId::Stored(id) => grant.id.as_deref() == Some(id),
        };
        let mut all = self.api.parts.store.access_grants(GrantsOf::default()).await?;
        all.retain(is_it);
        all.truncate(1);
        self.api.recorded(self.caller, &all).await?.pop().map(Reply::ok).ok_or_else(unknown)
    }

    /// The live grants of somebody, a break-glass session with its end.
    pub(super) async fn held(&self, state: &State, person: &Person) -> Result<Vec<Held>, Problem> {
        let mut grants = held(state, person);
        if let Some(session) = grants.iter_mut().find(|grant| grant.origin == Origin::BreakGlass.word()) {
            let of = GrantsOf { admin: Some(&person.id), of: None };
            let stored = self.api.parts.store.access_grants(of).await?;
            let live = stored.iter().filter(|one| one.origin == Origin::BreakGlass && one.is_live(state.now));
            // Of several, the one that ends last.
            let end = |one: &&AccessGrant| capped(one.span()).ends;
            if let Some(last) = live.max_by_key(end) {
                (session.id, session.until) = (last.id.clone(), end(&last));
            }
        }
        Ok(grants)
    }

    pub(super) async fn grants_audit(&self) -> Outcome {
        const EVENTS: [&str; 6] =
            ["grant", "revoke", "ticket_grant", "ticket_expire", "break_glass_grant", "break_glass_expire"];
        let query = self.query(&["user", "group", "role", "event", "by", "limit", "cursor"])?;
        if query.get("event").is_some_and(|event| !EVENTS.contains(&event)) {
            return Err(Problem::new(400, format!("`event` is one of {}", EVENTS.join(", "))));
        }
        let page = self.page::<(String, String)>(&query)?;
        let filter = AuditFilter {
            admin: query.get("user"),
            group: query.get("group"),
            role: query.get("role"),
            event_type: query.get("event"),
            granted_by: query.get("by"),
        };
        let after = page.after.as_ref().map(|(place, id)| (place.as_str(), id.as_str()));
        let store = &self.api.parts.store;
        // One more than is shown says whether there is a next page.
        let mut rows = store.grants_audit_page(filter, after, page.limit + 1).await?;
        let more = rows.len() > page.limit as usize;
        rows.truncate(page.limit as usize);
        let last = rows.last().filter(|_| more);
        let next = last.and_then(|row| self.api.keys.cursor(&page.list, &(&row.place, &row.id)));
        Ok(Reply::ok(json!({ "events": rows, "next": next })))
    }

    /// Which part of a list is asked for.
    pub(super) fn page<T: serde::de::DeserializeOwned>(&self, query: &Query) -> Result<Page<T>, Problem> {
        let list = format!("{}?{}", self.asked.request.target().path(), query.without_page());
        let limit = query.count("limit", USUAL_PAGE, MOST_PAGE)?;
        let after = query.get("cursor").map(|cursor| self.api.keys.place(&list, cursor)).transpose()?;
        Ok(Page { list, limit, after })
    }

    /// The part of sorted `rows` that is asked for. Each has its place, which stays its own while others come and go.
    pub(super) fn paged(&self, name: &str, page: &Page<String>, rows: Vec<(String, Value)>) -> Outcome {
        let (shown, next) = self.part(page, rows);
        Ok(Reply::ok(json!({ name: shown, "next": next })))
    }

    /// The rows of that part, and the cursor of the next.
    fn part<T>(&self, page: &Page<String>, rows: Vec<(String, T)>) -> (Vec<T>, Option<String>) {
        let is_after = |place: &String| page.after.as_ref().is_none_or(|after| place > after);
        let mut rows = rows.into_iter().filter(|(place, _)| is_after(place)).peekable();
        let (mut shown, mut last) = (Vec::new(), None);
        for (place, row) in rows.by_ref().take(page.limit as usize) {
            shown.push(row);
            last = Some(place);
        }
        let last = last.filter(|_| rows.peek().is_some());
        (shown, last.and_then(|place| self.api.keys.cursor(&page.list, &place)))
    }
}

/// The part of a list that is asked for.
pub(super) struct Page<T> {
    /// The route and the filters: what its cursors are bound to.
    pub(super) list: String,
    pub(super) limit: u32,
    pub(super) after: Option<T>,
}

/// A grant as it is answered.
pub(super) fn shown(grant: &AccessGrant, now: DateTime<Utc>) -> Value {
    json!({
        "id": id_of(grant),
        "origin": grant.origin,
        "user": grant.admin,
        "group": grant.group,
        "role": grant.role,
        "ticket_id": grant.ticket,
        "customer_id": grant.customer,
        "granted_by": grant.granted_by,
        "starts_at_utc": grant.starts,
        "ends_at_utc": grant.ends,
        "reason": grant.reason,
        "revoked_at_utc": grant.revoked_at,
        "revoked_by": grant.revoked_by,
        "live": grant.is_live(now),
    })
}

/// Where a grant is in the order of lists: by user, group and id, each ended so that no two read alike.
fn place_of(grant: &AccessGrant) -> String {
    [&grant.admin, grant.group.as_deref().unwrap_or_default(), &id_of(grant)].join("\u{1}")
}

fn id_of(grant: &AccessGrant) -> String {
    let direct = || GrantId::direct(&grant.admin, grant.group.as_deref().unwrap_or_default());
    grant.id.clone().unwrap_or_else(direct)
}

fn tagged(view: Option<Value>, kind: &str) -> Outcome {
    let view = view.ok_or_else(|| Problem::new(404, format!("there is no such {kind}")))?;
    let tag = etag(&view);
    Ok(Reply::ok(view).with("etag", tag))
}

/// An enabled admin or a live machine.
pub(super) fn person<'s>(state: &'s State, kind: CallerKind, id: &str) -> Option<&'s Person> {
    state.registry.person(kind, id)
}

/// Whether a stranger is let in.
fn is_open(target: Target<'_>, control: &Control) -> bool {
    outcome(target, Deciding::Nobody, control).is_some()
}

/// The ways by which somebody passes who is let in by this.
fn through(target: &Target<'_>, by: LetInBy, person: &Person, state: &State) -> Vec<Value> {
    let Some(RowKind::Gated { legacy, v2, .. }) = target.row().map(|row| &row.kind) else {
        return Vec::new();
    };
    match (by, v2) {
        (LetInBy::V2, V2Gate::Requires { base, also, .. }) => {
            let held = held(state, person);
            let all = std::iter::once(base).chain(also);
            let ways = all.flat_map(|requirement| ways(&state.registry.catalog, &held, requirement));
            ways.map(|way| json!(way)).collect()
        }
        (LetInBy::Legacy, _) => {
            let accepted =
                legacy.iter().flat_map(|roles| roles.iter()).filter(|role| person.legacy.contains(*role));
            accepted.map(|role| json!({ "legacy_role": role.as_str() })).collect()
        }
        _ => Vec::new(),
    }
}

/// What some bodies ask for besides.
fn body_rules(row: Option<&Row>) -> Vec<Value> {
    let rules = row.map(|row| Cow::Borrowed(row.kind.body_rules())).unwrap_or_default();
    let rule = |rule: &policy::mapping::BodyRule| json!({ "field": rule.field.name(), "equals": rule.equals, "requires": rule.requires.to_string() });
    rules.iter().map(rule).collect()
}
