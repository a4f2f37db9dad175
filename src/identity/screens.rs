//! The pages of the login. They work without a script, except for what only a script can do: use a passkey.

use askama::Template;
use chrono::{DateTime, Utc};
use policy::identity::login::Scope;
use policy::method::Method;
use store::passkeys::StoredPasskey;
use store::sessions::{Ending, StoredSession};

use super::Identity;
use super::answers::{is_form, next, no_session_cookie, text};
use crate::pages::template::render;
use crate::pages::words::{exact, relative};
use crate::pages::{self, POLICY, STYLE};
use crate::rbac_api::query::Query;
use crate::rbac_api::reply::Problem;
use crate::ruling::own_routes::OwnRequest;
use crate::ruling::response::Response;

const SCRIPT: &str =
    concat!(include_str!("../templates/pages/passkey.js"), include_str!("../templates/identity/login.js"));

#[derive(Template)]
#[template(path = "identity/frame.html")]
struct Frame<'p> {
    title: &'p str,
    main: &'p str,
    style: String,
    script: String,
}

#[derive(Template)]
#[template(path = "identity/login.html")]
struct Login<'p> {
    path: &'p str,
    next: &'p str,
}

#[derive(Template)]
#[template(path = "identity/step_up.html")]
struct StepUp<'p> {
    path: &'p str,
    next: &'p str,
    admin: &'p str,
}

#[derive(Template)]
#[template(path = "identity/enrol.html")]
struct Enrol<'p> {
    path: &'p str,
    /// Whose invitation was redeemed, if one was.
    admin: Option<&'p str>,
    problem: Option<&'p str>,
}

#[derive(Template)]
#[template(path = "identity/account.html")]
struct Account<'p> {
    path: &'p str,
    current: &'p StoredSession,
    sessions: Vec<StoredSession>,
    passkeys: Vec<StoredPasskey>,
    is_fresh: bool,
    problem: Option<&'p str>,
    now: DateTime<Utc>,
}

#[derive(Template)]
#[template(ext = "html", source = "<h1>This cannot be done</h1><p>{{ detail }}</p>")]
struct NotDone {
    detail: String,
}

/// What a page is answered with.
enum Shown {
    Page { status: u16, title: &'static str, main: String },
    See { place: String, cookie: Option<String> },
}

impl Identity {
    pub(super) async fn page(&self, asked: &OwnRequest<'_>, path: &str) -> Response {
        if let Some(asset) = asset(asked, path) {
            return asset;
        }
        let shown = match self.shown(asked, path).await {
            Ok(shown) => shown,
            Err(problem) if problem.status == 401 => Shown::See { place: self.place("login"), cookie: None },
            Err(problem) => {
                let page = NotDone { detail: pages::sentence(&problem.detail) };
                Shown::Page { status: problem.status, title: "Not done", main: render(&page) }
            }
        };
        match shown {
            Shown::Page { status, title, main } => {
                let address = |text: &str, kind: &str| {
                    format!("{}/assets/{}.{kind}", self.path, pages::digest_of(text))
                };
                let frame =
                    Frame { title, main: &main, style: address(STYLE, "css"), script: address(SCRIPT, "js") };
                respond(asked, status, render(&frame), "text/html; charset=utf-8")
            }
            Shown::See { place, cookie } => {
                let response = respond(asked, 303, String::new(), "text/plain").with("location", place);
                match cookie {
                    Some(cookie) => response.with("set-cookie", cookie),
                    None => response,
                }
            }
        }
    }

    async fn shown(&self, asked: &OwnRequest<'_>, path: &str) -> Result<Shown, Problem> {
        let is_read = asked.request.method().is_safe();
        if !is_read {
            self.refuse_other_sites(asked)?;
        }
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (is_read, parts.as_slice()) {
            (true, ["login"]) => {
                let wanted = self.wanted(asked);
                let login = Login { path: &self.path, next: &wanted };
                Ok(Shown::Page { status: 200, title: "Log in", main: render(&login) })
            }
            (true, ["step-up"]) => {
                let (session, wanted) = (self.full(asked).await?, self.wanted(asked));
                let page = StepUp { path: &self.path, next: &wanted, admin: &session.admin };
                Ok(Shown::Page { status: 200, title: "Use your passkey", main: render(&page) })
            }
            (true, ["enrol"]) => self.enrol(asked, None).await,
            (false, ["enrol"]) => {
                let form = form(asked, &["code"])?;
                match self.redeem(asked, form.get("code").unwrap_or_default()).await {
                    Ok(cookie) => Ok(Shown::See { place: self.place("enrol"), cookie: Some(cookie) }),
                    Err(problem) if problem.status < 500 => self.enrol(asked, Some(&problem)).await,
                    Err(problem) => Err(problem),
                }
            }
            (true, [] | [""] | ["account"]) => self.account(asked, None).await,
            (false, ["account"]) => self.act(asked).await,
            (false, ["logout"]) => {
                if let Some(session) = self.sessions.current(asked.request).await? {
                    let ending = Ending::One(&session.id);
                    self.sessions.end(&session.admin, ending, &session.admin, "logged_out").await?;
                    self.settle().await?;
                }
                Ok(Shown::See { place: self.place("login"), cookie: Some(no_session_cookie()) })
            }
            _ => Err(super::nothing_here()),
        }
    }

    /// What a person does with passkeys and sessions of their own.
    async fn act(&self, asked: &OwnRequest<'_>) -> Result<Shown, Problem> {
        let form = form(asked, &["end", "remove"])?;
        let done = match (form.get("end"), form.get("remove")) {
            (Some("others"), None) => self.end_others(asked).await,
            (Some(id), None) => self.end_one(asked, id).await,
            (None, Some(id)) => self.remove_passkey(asked, id).await,
            _ => Err(Problem::new(400, "the form is not one of this page")),
        };
        match done {
            Ok(()) => Ok(Shown::See { place: self.place("account"), cookie: None }),
            Err(problem) if problem.status == 401 && self.full(asked).await.is_ok() => {
                let place = format!("{}?next={}", self.place("step-up"), self.place("account"));
                Ok(Shown::See { place, cookie: None })
            }
            Err(problem) if problem.status < 500 => self.account(asked, Some(&problem)).await,
            Err(problem) => Err(problem),
        }
    }

    async fn enrol(&self, asked: &OwnRequest<'_>, problem: Option<&Problem>) -> Result<Shown, Problem> {
        let session = self.sessions.current(asked.request).await?;
        let session = session.filter(|session| session.scope != Scope::Full.word());
        let page = Enrol {
            path: &self.path,
            admin: session.as_ref().map(|session| session.admin.as_str()),
            problem: problem.map(|problem| problem.detail.as_str()),
        };
        let status = problem.map_or(200, |problem| problem.status);
        Ok(Shown::Page { status, title: "Register a passkey", main: render(&page) })
    }

    async fn account(&self, asked: &OwnRequest<'_>, problem: Option<&Problem>) -> Result<Shown, Problem> {
        let current = self.full(asked).await?;
        let now = self.clock.now();
        let mut sessions = self.store.sessions_of(&current.admin, now).await?;
        sessions.retain(|session| session.scope == Scope::Full.word());
        sessions.sort_by_key(|session| session.id != current.id);
        let page = Account {
            path: &self.path,
            passkeys: self.store.passkeys(Some(&current.admin), false).await?,
            is_fresh: self.fresh(&current).is_ok(),
            sessions,
            current: &current,
            problem: problem.map(|problem| problem.detail.as_str()),
            now,
        };
        let status = problem.map_or(200, |problem| problem.status);
        Ok(Shown::Page { status, title: "Your account", main: render(&page) })
    }

    fn place(&self, page: &str) -> String {
        format!("{}/{page}", self.path)
    }

    /// Where the person wants to go, as the query says.
    fn wanted(&self, asked: &OwnRequest<'_>) -> String {
        let query = Query::parse(asked.request.target().query(), &["next"]).unwrap_or_default();
        next(query.get("next"), &self.path, &asked.options.pages.home_path).to_owned()
    }
}

fn form(asked: &OwnRequest<'_>, known: &[&str]) -> Result<Query, Problem> {
    if !is_form(asked.request) {
        return Err(Problem::new(415, "this address takes the form of its page"));
    }
    Query::parse(text(asked.body), known)
}

fn asset(asked: &OwnRequest<'_>, path: &str) -> Option<Response> {
    if asked.request.method() != Method::Get {
        return None;
    }
    let (body, kind) = match path.strip_prefix("/assets/")?.split_once('.')? {
        (digest, "css") if digest == pages::digest_of(STYLE) => (STYLE, "text/css; charset=utf-8"),
        (digest, "js") if digest == pages::digest_of(SCRIPT) => (SCRIPT, "text/javascript; charset=utf-8"),
        _ => return None,
    };
    let mut response = respond(asked, 200, body.to_owned(), kind);
    response.fields.retain(|(name, _)| *name != "cache-control");
    Some(response.with("cache-control", "public, max-age=31536000, immutable".to_owned()))
}

fn respond(asked: &OwnRequest<'_>, status: u16, body: String, kind: &str) -> Response {
    let fields = vec![
        ("content-type", kind.to_owned()),
        ("cache-control", "no-store".to_owned()),
        ("content-security-policy", POLICY.to_owned()),
        // Not `no-referrer`: browsers would send `Origin: null` with a form then.
        ("referrer-policy", "same-origin".to_owned()),
        ("x-request-id", asked.id.to_string()),
    ];
    let outcome = if status < 400 { "served" } else { "declined" };
    Response { outcome, status, fields, body, about: None }
}
