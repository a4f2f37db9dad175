//! A stand-in for a key service and for the place of checkpoints: a real server with the documented answers of the
//! transit engine of HashiCorp Vault (`POST /v1/transit/decrypt/:name`).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The token that it takes.
pub const TOKEN: &str = "s.tests";

#[derive(Default)]
struct Inner {
    /// What each ciphertext unwraps to.
    wrapped: HashMap<String, Vec<u8>>,
    checkpoints: Vec<(String, Value)>,
    /// How many requests are answered as if it were sealed.
    sealed: u32,
}

/// The server. It stops with this value.
pub struct Transit {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    serving: JoinHandle<()>,
}

impl Transit {
    pub async fn start() -> Transit {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let router = Router::new()
            .route("/v1/transit/decrypt/{key}", post(decrypt))
            .route("/checkpoints", post(take))
            .with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Transit { address, inner, serving }
    }

    /// Wraps a key; the first `sealed` requests are answered 503.
    pub fn wrap(&self, id: &str, key: &[u8], sealed: u32) -> String {
        let ciphertext = format!("vault:v1:{id}");
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.wrapped.insert(ciphertext.clone(), key.to_vec());
        inner.sealed = sealed;
        format!("{id}:{ciphertext}")
    }

    /// The checkpoints that came, each with its Authorization.
    pub fn checkpoints(&self) -> Vec<(String, Value)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).checkpoints.clone()
    }
}

impl Drop for Transit {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Answer = (StatusCode, Json<Value>);

fn refusal(status: StatusCode, error: &str) -> Answer {
    (status, Json(json!({ "errors": [error] })))
}

async fn decrypt(
    State(inner): State<Arc<Mutex<Inner>>>,
    Path(key): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
    if inner.sealed > 0 {
        inner.sealed -= 1;
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "Vault is sealed");
    }
    if headers.get("x-vault-token").is_none_or(|token| token != TOKEN) || key != "audit" {
        return refusal(StatusCode::FORBIDDEN, "permission denied");
    }
    let plaintext = body["ciphertext"].as_str().and_then(|text| inner.wrapped.get(text));
    match plaintext {
        Some(key) => (StatusCode::OK, Json(json!({ "data": { "plaintext": STANDARD.encode(key) } }))),
        None => refusal(StatusCode::BAD_REQUEST, "invalid ciphertext: no prefix"),
    }
}

async fn take(
    State(inner): State<Arc<Mutex<Inner>>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    let authorization =
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
    inner.checkpoints.push((authorization.to_owned(), body));
    StatusCode::NO_CONTENT
}
