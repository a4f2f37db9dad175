//! Pages for people at `/console/rbac`: who may do what and why, requests and their approval, grants, tickets.
//!
//! ```text
//! request -> its row (gate = true, session) -> page -> the API within the process, each call by its own row
//!                                                \-> template -> page
//! ```
//!
//! A page holds no authority of its own: what it shows and changes is what the same caller could by `/api/rbac`
//! ([`crate::rbac_api::local`]). Every change ends on a page that shows its exact effect, whose digest travels with the form, so
//! that what is confirmed is what was read. Every page works without a script.

mod break_glass;
mod change;
mod compare;
mod cutover;
mod effect;
mod graph;
mod groups;
mod history;
mod home;
mod lists;
mod mapping;
mod matrix;
mod people;
mod requests;
mod reviews;
mod shell;
pub(crate) mod template;
mod tester;
mod tickets;
mod viewed;
mod views;
pub(crate) mod words;

pub(crate) use shell::{digest_of, sentence};

use policy::firewall::Request;
use policy::mapping::Mapping;
use policy::method::Method;

use crate::rbac_api::RbacApi;
use crate::rbac_api::local::Local;
use crate::rbac_api::reply::Problem;
use crate::ruling::message::Form;
use crate::ruling::offer::Offer;
use crate::ruling::own_routes::{Answer, OwnRequest, ServesOwnRoutes};
use crate::ruling::response::Response;
use policy::decision::Denial;

/// Where the pages are.
pub const PREFIX: &str = "/console/rbac";

pub(crate) const STYLE: &str = include_str!("templates/pages/style.css");
const SCRIPT: &str = include_str!("templates/pages/keys.js");
/// On the pages of break-glass, and on all while a session runs.
const GLASS: &str =
    concat!(include_str!("templates/pages/passkey.js"), include_str!("templates/pages/glass.js"));
/// No script but the gate's own file, nothing from elsewhere, and in no frame.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What a page is answered with.
enum Shown {
    /// The title, and what stands in `main`.
    Page { status: u16, title: String, main: String },
    /// What another person sees: with the navigation of these reads, and no form.
    Viewed { title: String, main: String, reads: Vec<String> },
    /// 303: the browser reads that address.
    See(String),
}

impl Shown {
    /// 200.
    fn page(title: impl Into<String>, main: String) -> Shown {
        Shown::Page { status: 200, title: title.into(), main }
    }
}

/// A page, or why there is none.
type Outcome = Result<Shown, Problem>;

/// The routes that the gate itself serves: the API, and the pages before it.
pub struct Site {
    api: RbacApi,
}

impl Site {
    pub fn new(api: RbacApi) -> Site {
        Site { api }
    }

    async fn page(&self, asked: OwnRequest<'_>, path: &str) -> Answer {
        if let Some(asset) = asset(&asked, path) {
            return Answer { response: asset, refusal: None };
        }
        let local = match self.api.local(&asked).await {
            Ok(local) => local,
            Err(problem) => return bare(&problem, &asked),
        };
        let outcome = route(&local, &asked, path).await;
        let refusal = outcome.as_ref().err().and_then(|problem| problem.refusal.as_deref().cloned());
        let (status, title, main, viewed) = match outcome {
            Ok(Shown::See(place)) => return Answer { response: see(&place, &asked), refusal },
            Ok(Shown::Page { status, title, main }) => (status, title, main, None),
            Ok(Shown::Viewed { title, main, reads }) => (200, title, main, Some(reads)),
            Err(problem) => {
                (problem.status, "Not done".to_owned(), shell::problem(&problem, Some(&local)), None)
            }
        };
        // htmx puts it into a page of Console's.
        let body = match Form::wanted_by(asked.request) {
            Form::Fragment => main,
            Form::Page | Form::Problem => match viewed {
                Some(reads) => shell::viewed(&local, &reads, &title, &main),
                None => shell::whole(&local, path, &title, &main).await,
            },
        };
        let kind = "text/html; charset=utf-8".to_owned();
        Answer { response: respond(&asked, status, body, vec![("content-type", kind)]), refusal }
    }
}

#[async_trait::async_trait]
impl ServesOwnRoutes for Site {
    async fn serve(&self, request: OwnRequest<'_>) -> Answer {
        let path = request.request.target().path().to_owned();
        match path.strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            Some(rest) => Box::pin(self.page(request, rest)).await,
            None => self.api.serve(request).await,
        }
    }

    async fn offer(&self, mapping: &Mapping, request: &Request, denial: &Denial) -> Option<Offer> {
        self.api.offer(mapping, request, denial).await
    }
}

/// The page of an address below [`PREFIX`].
async fn route(local: &Local<'_>, asked: &OwnRequest<'_>, path: &str) -> Outcome {
    let query = asked.request.target().query();
    let parts: Vec<&str> = path.split('/').skip(1).filter(|part| !part.is_empty()).collect();
    match (asked.request.method(), parts.as_slice()) {
        (Method::Get | Method::Head, parts) => match parts {
            [] => home::home(local).await,
            ["me"] => people::me(local).await,
            ["people"] => lists::people(local, query).await,
            ["people", "compare"] => compare::page(local, query).await,
            ["people", "compare", "give"] => compare::give(local, query).await,
            ["as", id] => viewed::page(local, id).await,
            ["people", id] => people::person(local, id).await,
            ["groups"] => groups::groups(local).await,
            ["groups", "new"] => change::edits::new_group(local).await,
            ["groups", name] => groups::group(local, name).await,
            ["roles"] => groups::roles(local).await,
            ["roles", "new"] => change::edits::new_role(local).await,
            ["permissions", "new"] => change::edits::new_permission(local),
            ["roles", name] => groups::role(local, name).await,
            ["grants"] => lists::grants(local, query).await,
            ["grants", "new"] => change::form(local, query).await,
            // The second is the address of the RBAC V2 design, which Console may have a page of its own at.
            ["timeline"] | ["grants", "audit"] => history::timeline(local, query).await,
            ["timeline", id] => history::event(local, id).await,
            ["audit"] => history::audit(local, query).await,
            ["audit", id] => history::row(local, id).await,
            ["reviews"] => reviews::list(local).await,
            ["reviews", id] => reviews::one(local, id, query).await,
            ["reviews", id, "items", item, "end"] => reviews::end(local, id, item).await,
            ["grants", id, "end"] => change::end(local, id).await,
            ["requests"] => requests::inbox(local).await,
            ["requests", "new"] => requests::form(local, query),
            ["requests", id] => requests::one(local, id, None).await,
            ["customers", id, "tickets"] => tickets::panel(local, id).await,
            ["break-glass"] => break_glass::page(local).await,
            ["break-glass", id] => break_glass::session(local, id, break_glass::wants_requests(query)?).await,
            ["matrix"] => matrix::matrix(local, query).await,
            ["try"] => tester::page(local, query).await,
            ["search"] => lists::search(local, query).await,
            ["cutover"] => cutover::list(local).await,
            ["cutover", name] => cutover::cluster(local, name).await,
            ["mapping"] => mapping::running(local).await,
            ["mapping", "diff"] => mapping::diff(local, query).await,
            ["mapping", sha256] => mapping::version(local, sha256).await,
            _ => Err(Problem::new(404, "there is no such page")),
        },
        // Before each address that changes something: one does not act as another person.
        (Method::Post, ["as", ..]) => Err(viewed::refused()),
        (Method::Post, _) if query.is_some_and(viewed::is_as) => Err(viewed::refused()),
        (Method::Post, ["change"]) => change::review(local).await,
        (Method::Post, ["change", "confirm"]) => change::confirm(local).await,
        (Method::Post, ["requests"]) => requests::ask(local).await,
        (Method::Post, ["reviews", id]) => reviews::decide(local, id).await,
        (Method::Post, ["requests", id]) => requests::decide(local, id).await,
        (Method::Post, ["break-glass", id]) => break_glass::act(local, id).await,
        (Method::Post, ["cutover", name]) => cutover::review(local, name).await,
        (Method::Post, ["cutover", name, "confirm"]) => cutover::confirm(local, name).await,
        (Method::Post, ["cutover", name, "back"]) => cutover::back(local, name).await,
        (Method::Post, ["mapping", "compare"]) => mapping::compare(local).await,
        _ => Err(Problem::new(405, "this address takes GET")),
    }
}

fn asset(asked: &OwnRequest<'_>, path: &str) -> Option<Response> {
    let (body, kind) = match path.strip_prefix("/assets/")?.split_once('.')? {
        (digest, "css") if digest == shell::digest_of(STYLE) => (STYLE, "text/css; charset=utf-8"),
        (digest, "js") => {
            let script = [SCRIPT, GLASS].into_iter().find(|script| digest == shell::digest_of(script))?;
            (script, "text/javascript; charset=utf-8")
        }
        _ => return None,
    };
    let mut response = respond(asked, 200, body.to_owned(), vec![("content-type", kind.to_owned())]);
    // Its address is its digest.
    response.fields.retain(|(name, _)| *name != "cache-control");
    Some(response.with("cache-control", "private, max-age=31536000, immutable".to_owned()))
}

fn see(place: &str, asked: &OwnRequest<'_>) -> Response {
    respond(asked, 303, String::new(), vec![("location", place.to_owned())])
}

/// A problem, for a caller that is not known.
fn bare(problem: &Problem, asked: &OwnRequest<'_>) -> Answer {
    let body = shell::alone(&shell::problem(problem, None));
    let fields = vec![("content-type", "text/html; charset=utf-8".to_owned())];
    let refusal = problem.refusal.as_deref().cloned();
    Answer { response: respond(asked, problem.status, body, fields), refusal }
}

fn respond(
    asked: &OwnRequest<'_>,
    status: u16,
    body: String,
    mut fields: Vec<(&'static str, String)>,
) -> Response {
    fields.extend([
        ("cache-control", "no-store".to_owned()),
        ("content-security-policy", POLICY.to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("referrer-policy", "same-origin".to_owned()),
        ("x-request-id", asked.id.to_string()),
    ]);
    let outcome = if status < 400 { "served" } else { "declined" };
    Response { outcome, status, fields, body, about: None }
}

/// A method and a path of each kind of page, for those who look whether a row leads to one.
pub fn examples() -> Vec<(Method, &'static str)> {
    let reads = [
        "/console/rbac",
        "/console/rbac/me",
        "/console/rbac/people",
        "/console/rbac/people/a",
        "/console/rbac/as/a",
        "/console/rbac/people/compare",
        "/console/rbac/people/compare/give",
        "/console/rbac/groups",
        "/console/rbac/groups/new",
        "/console/rbac/groups/g",
        "/console/rbac/roles",
        "/console/rbac/roles/new",
        "/console/rbac/permissions/new",
        "/console/rbac/roles/r",
        "/console/rbac/grants",
        "/console/rbac/grants/new",
        "/console/rbac/grants/audit",
        "/console/rbac/timeline",
        "/console/rbac/timeline/x",
        "/console/rbac/audit",
        "/console/rbac/audit/x",
        "/console/rbac/reviews",
        "/console/rbac/reviews/x",
        "/console/rbac/reviews/x/items/y/end",
        "/console/rbac/grants/direct.YQ.Zw/end",
        "/console/rbac/requests",
        "/console/rbac/requests/new",
        "/console/rbac/requests/x",
        "/console/rbac/customers/7/tickets",
        "/console/rbac/break-glass",
        "/console/rbac/break-glass/x",
        "/console/rbac/matrix",
        "/console/rbac/try",
        "/console/rbac/search",
        "/console/rbac/cutover",
        "/console/rbac/cutover/c",
        "/console/rbac/mapping",
        "/console/rbac/mapping/diff",
        "/console/rbac/mapping/0a1b2c3d",
    ];
    let writes = [
        "/console/rbac/change",
        "/console/rbac/change/confirm",
        "/console/rbac/requests",
        "/console/rbac/requests/x",
        "/console/rbac/break-glass/x",
        "/console/rbac/cutover/c",
        "/console/rbac/cutover/c/confirm",
        "/console/rbac/cutover/c/back",
        "/console/rbac/mapping/compare",
        "/console/rbac/reviews/x",
    ];
    let reads = reads.into_iter().map(|path| (Method::Get, path));
    reads.chain(writes.into_iter().map(|path| (Method::Post, path))).collect()
}
