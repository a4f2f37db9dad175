//! A stand-in for Console: it shows which view ran and which admin the gate's assertion names. It gates nothing.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use policy::identity::flask_cookie::SigningKeys;
use policy::mapping::{ClusterMode, Mapping, RowKind, V2Gate};
use policy::method::MethodSet;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use store::SharedStore;

use super::Persona;
use crate::assertion;
use crate::facts::running;
use crate::settings::secrets::{Secret, Secrets};

struct Console {
    secrets: Secrets,
    keys: SigningKeys,
    personas: Vec<Persona>,
    store: SharedStore,
}

/// Serves until the demo ends.
pub(super) async fn serve(
    listener: tokio::net::UnixListener,
    secrets: Secrets,
    personas: Vec<Persona>,
    store: SharedStore,
) -> anyhow::Result<()> {
    let no_fallbacks: [&[u8]; 0] = [];
    let secret = secrets.session_key.as_ref().map_or(&b"nothing is signed here"[..], Secret::expose);
    let keys = SigningKeys::new(secret, no_fallbacks)?;
    let console = Arc::new(Console { secrets, keys, personas, store });
    let router = Router::new()
        .route("/auth/healthz", get(async || "ok\n"))
        .route("/auth/home", get(home))
        .route("/auth/login", get(login_page).post(login))
        .route("/auth/logout", get(logout))
        .fallback(view)
        .with_state(console);
    axum::serve(listener, router).await?;
    Ok(())
}

#[derive(Template)]
#[template(path = "demo_home.html")]
struct HomePage {
    who: String,
    personas: Vec<Persona>,
    clusters: Vec<(String, String, Vec<Link>)>,
}

struct Link {
    method: String,
    path: String,
    needs: String,
    is_get: bool,
    is_post: bool,
}

#[derive(Template)]
#[template(path = "demo_login.html")]
struct LoginPage {
    personas: Vec<Persona>,
    next: String,
}

#[derive(Template)]
#[template(path = "demo_view.html")]
struct ViewPage {
    view: String,
    method: String,
    path: String,
    body_bytes: usize,
    claims: String,
    verified: bool,
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct LogIn {
    r#as: String,
    #[serde(default)]
    next: String,
}

async fn home(State(console): State<Arc<Console>>, headers: HeaderMap) -> Response {
    // The running mapping: after a rollback, it is not the one in the file.
    let clusters = running(&console.store).await.map_or_else(|_| Vec::new(), |runs| clusters(&runs.mapping));
    page(&HomePage { who: console.who(&headers), personas: console.personas.clone(), clusters })
}

fn clusters(mapping: &Mapping) -> Vec<(String, String, Vec<Link>)> {
    mapping
        .clusters()
        .iter()
        .map(|(name, rollout)| {
            let rows = mapping.rows().iter().filter(|row| row.cluster.as_ref() == Some(name));
            let links = rows.filter_map(|row| link(row, rollout.mode)).collect();
            (name.to_string(), rollout.to_string(), links)
        })
        .collect()
}

fn link(row: &policy::mapping::Row, mode: ClusterMode) -> Option<Link> {
    let RowKind::Gated { legacy, v2, .. } = &row.kind else { return None };
    let legacy_names = || {
        let names: Vec<&str> =
            legacy.iter().flat_map(|roles| roles.iter()).map(policy::rbac::LegacyRole::as_str).collect();
        format!("legacy role {}", names.join(" or "))
    };
    let needs = match (v2, mode) {
        (V2Gate::Undecided { question, .. }, _) => format!("{} ({question})", legacy_names()),
        (V2Gate::Requires { .. }, ClusterMode::V2) => v2.demand(),
        (V2Gate::Requires { .. }, _) => legacy_names(),
    };
    // A value for each variable; the stand-in accepts any.
    let mut path = String::new();
    let mut inside = false;
    for character in row.pattern.as_str().chars() {
        match character {
            '<' => inside = true,
            '>' => {
                inside = false;
                path.push('7');
            }
            _ if inside => {}
            other => path.push(other),
        }
    }
    let path = path.replace("/*", "/");
    let is_get = row.methods.contains(policy::method::Method::Get);
    let is_post = row.methods.contains(policy::method::Method::Post);
    let method = if row.methods == MethodSet::ALL { "*".to_owned() } else { row.methods.to_string() };
    Some(Link { method, path, needs, is_get, is_post })
}

async fn login_page(State(console): State<Arc<Console>>, Query(query): Query<Next>) -> Response {
    page(&LoginPage { personas: console.personas.clone(), next: inside(&query.next).to_owned() })
}

async fn login(State(console): State<Arc<Console>>, Form(form): Form<LogIn>) -> Response {
    if !console.personas.iter().any(|persona| persona.id == form.r#as) {
        return (StatusCode::BAD_REQUEST, "there is no person with that name\n").into_response();
    }
    let cookie = console.keys.sign(&json!({ "admin_id": form.r#as }), chrono::Utc::now());
    let cookie = format!("session={cookie}; Path=/; HttpOnly; SameSite=Lax");
    (StatusCode::SEE_OTHER, [(SET_COOKIE, cookie), (LOCATION, inside(&form.next).to_owned())]).into_response()
}

async fn logout() -> Response {
    let gone = "session=; Path=/; Max-Age=0".to_owned();
    (StatusCode::SEE_OTHER, [(SET_COOKIE, gone), (LOCATION, "/auth/home".to_owned())]).into_response()
}

/// Only a path on this host: an open redirect could send a user who just logged in to any site.
fn inside(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    if is_path { next } else { "/auth/home" }
}

async fn view(
    State(console): State<Arc<Console>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let view = running(&console.store).await.ok().and_then(|runs| {
        let method = policy::method::Method::parse(method.as_str())?;
        runs.mapping.find(uri.path(), method).row().map(|row| row.route.to_string())
    });
    let claims = console.claims(&headers);
    page(&ViewPage {
        view: view.unwrap_or_else(|| "no row".to_owned()),
        method: method.to_string(),
        path: uri.to_string(),
        body_bytes: body.len(),
        verified: claims.is_some(),
        claims: claims.map_or_else(String::new, |claims| format!("{claims:#}")),
    })
}

impl Console {
    /// The claims of the gate's assertion, if its signature holds.
    fn claims(&self, headers: &HeaderMap) -> Option<Value> {
        let token = headers.get(assertion::HEADER)?.to_str().ok()?;
        let (signed, signature) = token.rsplit_once('.')?;
        let key = self.secrets.assertion_keys.first()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.secret.expose()).ok()?;
        mac.update(signed.as_bytes());
        mac.verify_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    /// The name in the session cookie. Public pages carry no identity in the assertion.
    fn who(&self, headers: &HeaderMap) -> String {
        let cookies = headers.get("cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let cookie = cookies.split("; ").find_map(|pair| pair.strip_prefix("session="));
        let payload = cookie.and_then(|cookie| cookie.split('.').next());
        payload
            .and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok())
            .and_then(|payload| serde_json::from_slice::<Value>(&payload).ok())
            .and_then(|payload| payload["admin_id"].as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(page) => Html(page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
