//! Requests to the API from within the process: the gate's pages. A page shows and changes what the same caller could by HTTP, since
//! each of its requests is decided by its own row of the mapping and answered by the same endpoint.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use policy::decision::body::BodyFacts;
use policy::decision::{self, Control, Permit, Question, Rejection, Target, decide, stepped_up};
use policy::firewall::{Policy, Request, inspect};
use policy::mapping::Mapping;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::access_grants::{AccessGrant, GrantsOf};
use store::break_glass::StoredGlass;

use super::query::Query;
use super::reply::{Outcome, Problem, Reply};
use super::routes::{self, Met};
use super::{Caller, Parts, RbacApi, csrf};
use crate::ruling::own_routes::OwnRequest;

/// The API on behalf of one request of a page.
pub(crate) struct Local<'a> {
    api: &'a RbacApi,
    asked: &'a OwnRequest<'a>,
    caller: Caller,
    mapping: Arc<Mapping>,
}

/// A request that changes something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'c> {
    pub(crate) method: &'static str,
    pub(crate) target: &'c str,
    pub(crate) body: Option<&'c Value>,
    /// The ETag that the edit is made on.
    pub(crate) if_match: Option<&'c str>,
    /// Whether it creates what is not there yet.
    pub(crate) is_new: bool,
    /// The `Idempotency-Key`.
    pub(crate) key: Option<&'c str>,
}

impl<'c> Call<'c> {
    /// A read.
    pub(crate) fn get(target: &'c str) -> Call<'c> {
        Call { method: "GET", target, body: None, if_match: None, is_new: false, key: None }
    }
}

impl RbacApi {
    /// The API for the caller of a page.
    ///
    /// # Errors
    ///
    /// The caller is not known any more, or what it holds cannot be read.
    pub(crate) async fn local<'a>(&'a self, asked: &'a OwnRequest<'a>) -> Result<Local<'a>, Problem> {
        let caller = self.caller(asked).await?;
        // The use of a break-glass session is recorded where a row is decided, which is not here: a page counts none.
        let access = caller.access.without_break_glass().map_or_else(|| caller.access.clone(), Arc::new);
        let caller = Caller { access, ..caller };
        Ok(Local { api: self, asked, caller, mapping: self.parts.mappings.running() })
    }
}

impl Local<'_> {
    /// The id of the caller.
    pub(crate) fn id(&self) -> &str {
        self.caller.id()
    }

    /// The groups that the caller is in.
    pub(crate) fn is_in_any(&self, groups: &std::collections::BTreeSet<Arc<str>>) -> bool {
        !self.caller.access.groups.is_disjoint(groups)
    }

    /// The switches, as of this request.
    pub(crate) fn control(&self) -> &Control {
        &self.caller.control
    }

    /// The mapping that decides this page.
    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// What the API works with.
    pub(crate) fn parts(&self) -> &Parts {
        &self.api.parts
    }

    /// The token that a form of this session carries.
    pub(crate) fn csrf_token(&self) -> String {
        csrf::token(self.asked.request, &self.caller.principal, &self.api.keys).unwrap_or_default()
    }

    /// The form that a page has sent, with these names and no others, from a page of this site.
    ///
    /// # Errors
    ///
    /// It is no such form, or another site may have caused it.
    pub(crate) fn form(&self, names: &[&str]) -> Result<Query, Problem> {
        self.form_with_lists(names, &[])
    }

    /// The same; each of `lists` may be repeated.
    ///
    /// # Errors
    ///
    /// As [`Local::form`].
    pub(crate) fn form_with_lists(&self, names: &[&str], lists: &[&str]) -> Result<Query, Problem> {
        if !csrf::is_form(self.asked.request) {
            return Err(Problem::new(415, "this address takes a form"));
        }
        let text = std::str::from_utf8(self.asked.body);
        let text = text.map_err(|_| Problem::new(400, "the form is not UTF-8"))?;
        let names: Vec<&str> = names.iter().copied().chain([csrf::TOKEN_MEMBER]).collect();
        let form = Query::with_lists(Some(text), &names, lists)?;
        csrf::check(self.asked, &self.caller.principal, &self.api.keys, Some(&form))?;
        Ok(form)
    }

    /// Whether a row of the API lets the caller in.
    pub(crate) fn may(&self, method: &'static str, path: &str) -> bool {
        let call = Call { method, ..Call::get(path) };
        request(&call).and_then(|request| self.permit(&request)).is_ok()
    }

    /// Whether the caller may look as another person.
    pub(crate) fn may_ask_about_others(&self) -> bool {
        self.caller.holds(self.api.parts.settings.check_others.as_ref())
    }

    /// Refuses a page that shows what a read of the API would refuse.
    ///
    /// # Errors
    ///
    /// The row of that address does not let the caller in.
    pub(crate) fn require(&self, path: &str) -> Result<(), Problem> {
        let call = Call::get(path);
        self.permit(&request(&call)?).map(drop)
    }

    /// What the API answers to a read.
    ///
    /// # Errors
    ///
    /// What it would answer otherwise.
    pub(crate) async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, Problem> {
        let call = Call::get(target);
        let reply = self.send(call).await?;
        serde_json::from_value(reply.body.unwrap_or_default()).map_err(|error| Problem::unavailable(&error))
    }

    /// The grants that fit, as the API lists them, whatever their number.
    ///
    /// # Errors
    ///
    /// As [`Local::get`].
    pub(crate) async fn grants<T: DeserializeOwned>(
        &self,
        fits: impl FnMut(&AccessGrant) -> bool,
    ) -> Result<Vec<T>, Problem> {
        self.require("/api/rbac/grants")?;
        let mut all = self.api.parts.store.access_grants(GrantsOf::default()).await?;
        all.retain(fits);
        let grants = self.api.recorded(&self.caller, &all).await?.into_iter().map(serde_json::from_value);
        grants.collect::<Result<_, _>>().map_err(|error| Problem::unavailable(&error))
    }

    /// The holders of the break-glass sessions that run now, with their ids and ends, as far as a row of the API lets the caller
    /// see them.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub(crate) async fn running_sessions(&self) -> Result<Vec<(String, String, DateTime<Utc>)>, Problem> {
        if self.require("/api/rbac/break-glass").is_err() || !self.caller.control.rbac_v2 {
            return Ok(Vec::new());
        }
        let sessions = self.api.running_sessions(&self.caller, self.may("GET", "/api/rbac/grants")).await?;
        let ends = |one: StoredGlass| Some((one.admin.clone(), one.id.clone(), one.over_at()?));
        Ok(sessions.into_iter().filter_map(ends).collect())
    }

    /// What the API answers.
    ///
    /// # Errors
    ///
    /// As [`Local::get`].
    pub(crate) async fn send(&self, call: Call<'_>) -> Outcome {
        let request = request(&call)?;
        let permit = self.permit(&request)?;
        let body = call.body.map(Value::to_string).unwrap_or_default();
        let (id, options) = (self.asked.id, self.asked.options);
        let client = self.asked.client;
        let asked =
            OwnRequest { request: &request, id, permit: &permit, body: body.as_bytes(), options, client };
        match routes::find(request.method(), request.target().path()) {
            Met::Route(endpoint, values) => {
                Box::pin(self.api.answer_to(&asked, &self.caller, endpoint, &values)).await
            }
            Met::WrongMethod(_) | Met::Nothing => Err(Problem::nothing_here()),
        }
    }

    fn permit(&self, request: &Request) -> Result<Permit, Problem> {
        let target = Target::of(&self.mapping, request.target().path(), request.method());
        let question = Question {
            upgrade: false,
            target,
            caller: decision::Caller::Known(&self.caller.principal, &self.caller.access),
            control: Some(&self.caller.control),
            body: &BodyFacts::NotRead,
        };
        let outcome = decide(&question).outcome;
        match stepped_up(outcome, &target, self.asked.permit.login(), self.api.parts.clock.now()) {
            Ok(permit) if permit.served_by_gate() => Ok(permit),
            Ok(_) => Err(Problem::new(
                404,
                "no row of the mapping turns the API over to the gate (docs/rbac-api.md)",
            )),
            Err(Rejection::Denied(denial)) => {
                let required = denial.lack.required;
                let could: Vec<String> = required.iter().map(|one| format!("holders of the {one}")).collect();
                let could: Vec<&str> = could.iter().map(String::as_str).collect();
                let detail = format!("this takes {}", required.join(" and "));
                Err(Problem::forbidden(denial.lack.reason.word(), detail, &could).requiring(required))
            }
            Err(Rejection::StepUp(_)) => {
                Err(Problem::new(401, "this takes a passkey that has signed a moment ago: log in again"))
            }
            Err(_) => Err(Problem::new(404, "FLAG_RBAC_V2 is off, or no row covers this address of the API")),
        }
    }
}

/// The request that a client would have sent.
fn request(call: &Call<'_>) -> Result<Request, Problem> {
    let bad = || Problem::new(400, "a name in the address cannot be sent");
    let new = call.is_new.then_some("*");
    let fields = [("If-Match", call.if_match), ("If-None-Match", new), ("Idempotency-Key", call.key)];
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n",
        call.method, call.target
    );
    for (name, value) in fields {
        let Some(value) = value else { continue };
        if value.is_empty() || !value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(bad());
        }
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if call.body.is_some() {
        head.push_str("Content-Type: application/json\r\n");
    }
    head.push_str("\r\n");
    // A space or a line break in the target would make a head of another request.
    match call.target.contains(|one: char| one.is_whitespace() || one.is_control()) {
        true => Err(bad()),
        false => inspect(head.as_bytes(), &Policy::default()).map_err(|_| bad()),
    }
}

impl Problem {
    /// A member that programs read.
    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }
}

impl Reply {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }
}
