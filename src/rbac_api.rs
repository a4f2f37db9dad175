//! `/api/rbac` on the proxy's own address: who holds what and why, and the changes of it.
//!
//! ```text
//! request -> ruling (its row: gate = true) -> route -> caller, as of now -> a read
//!                                                 \-> origin, key, guards -> people::apply -> barrier -> answer
//! ```
//!
//! The row of a request says who may send it. What is checked here is what no row can say: that nobody grants what they do
//! not hold, that a browser's request comes from the gate's own pages, that an edit is of what the client has read.
//! Every change is made by [`grants`], as the commands make them.

mod audit;
mod break_glass;
mod csrf;
mod cutover;
mod grant_id;
mod guard;
mod history;
mod keys;
pub(crate) mod local;
mod mapping;
mod offers;
mod openapi;
pub(crate) mod query;
mod readers;
mod recorded;
pub(crate) mod reply;
mod requests;
mod reviews;
pub mod routes;
mod seals;
mod turn;
mod viewed;
mod views;
mod writes;

pub(crate) use csrf::comes_from_here;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use clock::SharedClock;
use grants::break_glass::BreakGlass;
use policy::decision::{Control, Denial};
use policy::firewall::Request;
use policy::identity::{Principal, Subject};
use policy::ids::Epoch;
use policy::mapping::{Freshness, Mapping};
use policy::method::Method;
use policy::rbac::catalog::Catalog;
use policy::rbac::census::CallerKind;
use policy::rbac::{Access, Standing};
use store::SharedStore;

use self::keys::Keys;
use self::reply::{Outcome, Problem, Reply};
use self::routes::{Endpoint, Met};
use self::seals::Seals;
use crate::activation::MappingHolder;
use crate::freshness::AccessResolver;
use crate::ruling::message::Form;
use crate::ruling::offer::Offer;
use crate::ruling::own_routes::{Answer, OwnRequest, ServesOwnRoutes};
use crate::ruling::ways::Asked;
use crate::settings;
use crate::settings::secrets::NamedKey;
use crate::tickets::Tickets;
use ledger::Notary;

/// What the API works with.
pub struct Parts {
    pub store: SharedStore,
    pub access: Arc<AccessResolver>,
    pub mappings: Arc<MappingHolder>,
    pub notary: Notary,
    pub clock: SharedClock,
    /// The help desk; `None` where there is none, or grants for tickets are switched off.
    pub tickets: Option<Arc<Tickets>>,
    pub settings: settings::RbacApi,
    /// How the decision log is kept, by which the last use of a grant is known.
    pub decisions: settings::Decisions,
    pub break_glass: Arc<BreakGlass>,
    /// The permission to close reviews of break-glass sessions.
    pub review: Option<String>,
    /// The file of checkpoints that the gates write, if they write one.
    pub checkpoints: Option<PathBuf>,
    pub mapping_file: MappingFile,
}

/// The file that the running mapping comes from, and what a candidate for it is checked against.
pub struct MappingFile {
    pub path: PathBuf,
    /// The names of the servers beside Console.
    pub upstreams: BTreeSet<String>,
    /// A method and a path of each route that the gate serves itself.
    pub own_routes: Vec<(Method, String)>,
}

/// Serves the rows with `gate = true`.
pub struct RbacApi {
    parts: Parts,
    keys: Keys,
    /// Held by the change that is being made.
    turn: tokio::sync::Mutex<()>,
    /// The registry as it was last read, and the epoch at which it was read.
    registry: tokio::sync::Mutex<Option<(Epoch, Arc<Catalog>)>>,
    seals: Seals,
}

/// Who asks, and what it holds now.
struct Caller {
    principal: Principal,
    control: Control,
    access: Arc<Access>,
}

impl Caller {
    fn kind(&self) -> CallerKind {
        match self.principal {
            Principal::Admin { .. } => CallerKind::Admin,
            Principal::Machine { .. } => CallerKind::Machine,
        }
    }

    fn id(&self) -> &str {
        self.principal.id()
    }

    /// Whether the caller holds the permission that the settings name for something; nobody does where they name none.
    fn holds(&self, permission: Option<&String>) -> bool {
        permission.is_some_and(|name| self.access.permissions.contains(name.as_str()))
    }
}

impl RbacApi {
    /// The API, which signs with keys that are derived from `keys`.
    pub fn new(parts: Parts, keys: &[NamedKey]) -> RbacApi {
        let seals = Seals::new(parts.checkpoints.clone(), parts.notary.keys().clone());
        RbacApi {
            parts,
            keys: Keys::new(keys),
            turn: Default::default(),
            registry: Default::default(),
            seals,
        }
    }

    async fn answer(&self, asked: &OwnRequest<'_>) -> Outcome {
        let (method, path) = (asked.request.method(), asked.request.target().path());
        let (endpoint, values) =
            match routes::find(method, path) {
                Met::Route(endpoint, values) => (endpoint, values),
                Met::WrongMethod(methods) => {
                    let names: Vec<&str> = methods.into_iter().map(Method::as_str).collect();
                    let allow = names.join(", ");
                    return match method {
                        Method::Options => Ok(Reply::empty(204).with("allow", allow)),
                        _ => Err(Problem::new(405, format!("this address takes {allow}"))
                            .with_field("allow", allow)),
                    };
                }
                Met::Nothing => return Err(Problem::nothing_here()),
            };
        let caller = self.caller(asked).await?;
        self.answer_to(asked, &caller, endpoint, &values).await
    }

    /// What an endpoint answers to a caller.
    async fn answer_to(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        endpoint: Endpoint,
        values: &[&str],
    ) -> Outcome {
        let is_safe = asked.request.method().is_safe();
        if endpoint.needs_v2() && !caller.control.rbac_v2 {
            return Err(Problem::nothing_here());
        }
        if !is_safe {
            let form = requests::form(asked, endpoint)?;
            csrf::check(asked, &caller.principal, &self.keys, form.as_ref())?;
        }
        if let Some(outcome) = self.requests(asked, caller, endpoint, values).await {
            return outcome;
        }
        if let Some(outcome) = Box::pin(self.break_glass(asked, caller, endpoint, values)).await {
            return outcome;
        }
        if let Some(outcome) = Box::pin(self.cutover(asked, caller, endpoint, values)).await {
            return outcome;
        }
        if let Some(outcome) = Box::pin(self.reviews(asked, caller, endpoint, values)).await {
            return outcome;
        }
        if is_safe {
            self.read(asked, caller, endpoint, values).await
        } else {
            self.write(asked, caller, endpoint, values).await
        }
    }

    /// Who was let in, with what it holds now. A row that lets in whom nobody knows leads nowhere here.
    async fn caller(&self, asked: &OwnRequest<'_>) -> Result<Caller, Problem> {
        let unknown = || Problem::new(401, "the API answers only callers whom the gate knows");
        let principal = asked.permit.principal().cloned().ok_or_else(unknown)?;
        let subject = match &principal {
            Principal::Admin { id, .. } => Subject::Admin { id: id.clone(), session: None },
            Principal::Machine { id } => Subject::Enrolled(id.clone()),
        };
        let control = self.parts.access.observe(Freshness::Strict).await?;
        let access = self.parts.access.resolve(&subject, control.epoch).await?;
        match access.standing {
            Standing::Active => Ok(Caller { principal, control, access }),
            _ => Err(unknown()),
        }
    }

    async fn read(
        &self,
        asked: &OwnRequest<'_>,
        caller: &Caller,
        endpoint: Endpoint,
        values: &[&str],
    ) -> Outcome {
        let reading = readers::Reading { api: self, asked, caller };
        match (endpoint, values) {
            (Endpoint::OpenApi, _) => Ok(Reply::ok(openapi::document())),
            (Endpoint::Me, _) => reading.me().await,
            (Endpoint::Check, _) => reading.check().await,
            (Endpoint::Who, _) => reading.who().await,
            (Endpoint::Roles, _) => reading.roles().await,
            (Endpoint::Role, [name]) => reading.role(name).await,
            (Endpoint::Permissions, _) => reading.permissions().await,
            (Endpoint::Groups, _) => reading.groups().await,
            (Endpoint::Group, [name]) => reading.group(name).await,
            (Endpoint::Admins, _) => reading.admins().await,
            (Endpoint::Admin, [id]) => reading.admin(id).await,
            (Endpoint::AdminView, [id]) => reading.view_of(id).await,
            (Endpoint::AdminRoutes, [id]) => reading.routes_of(id).await,
            (Endpoint::Grants, _) => reading.grants().await,
            (Endpoint::Grant, [id]) => reading.grant(id).await,
            (Endpoint::GrantsAudit, _) => reading.grants_audit().await,
            (Endpoint::Timeline, _) => reading.timeline().await,
            (Endpoint::TimelineEvent, [id]) => reading.timeline_event(id).await,
            (Endpoint::Audit, _) => reading.audit().await,
            (Endpoint::AuditState, _) => reading.audit_state().await,
            (Endpoint::AuditRow, [id]) => reading.audit_row(id).await,
            _ => Err(Problem::nothing_here()),
        }
    }
}

#[async_trait::async_trait]
impl ServesOwnRoutes for RbacApi {
    async fn serve(&self, request: OwnRequest<'_>) -> Answer {
        let outcome = self.answer(&request).await;
        let refusal = outcome.as_ref().err().and_then(|problem| problem.refusal.as_deref().cloned());
        let response = match Form::wanted_by(request.request) {
            // A person has sent a form, and reads the answer.
            Form::Page | Form::Fragment if csrf::is_form(request.request) => {
                let OwnRequest { request, id, options, .. } = request;
                reply::page(&outcome, Asked { request, id, options })
            }
            _ => reply::response(outcome, request.id),
        };
        Answer { response, refusal }
    }

    async fn offer(&self, mapping: &Mapping, request: &Request, denial: &Denial) -> Option<Offer> {
        self.offered(mapping, request, denial).await
    }
}
