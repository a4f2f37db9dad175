//! A Console that answers with what it was asked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, StreamExt as _};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::sync::Semaphore;

/// The echo, while the value lives.
#[derive(Clone)]
pub struct Console {
    reached: Arc<AtomicUsize>,
    /// What `/open/held` waits for.
    pub release: Arc<Semaphore>,
}

impl Console {
    /// Listens on a Unix socket.
    pub fn start(socket: &Path) -> Console {
        let console = Console { reached: Arc::default(), release: Arc::new(Semaphore::new(0)) };
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let router = axum::Router::new().fallback(echo).with_state(console.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        console
    }

    /// How many requests came, health checks left out.
    pub fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

/// The request as JSON. Console has a header of its own for what the gate knows better: how long to stay with HTTPS.
async fn echo(State(console): State<Console>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let target = head.uri.to_string();
    if target == "/healthz" {
        return "well".into_response();
    }
    console.reached.fetch_add(1, Ordering::SeqCst);
    // Without a length: whole, cut, and never ending.
    let begun = stream::iter([Ok::<_, std::io::Error>("a part")]);
    match target.as_str() {
        "/open/streamed" => return Body::from_stream(begun).into_response(),
        "/open/cut" => {
            // Before the gate has begun to answer, it would be a 502.
            let cut = stream::once(async move {
                console.release.acquire().await.unwrap().forget();
                Err(std::io::Error::other("cut"))
            });
            return Body::from_stream(begun.chain(cut)).into_response();
        }
        "/open/endless" => return Body::from_stream(begun.chain(stream::pending())).into_response(),
        _ => {}
    }
    let body = body.collect().await.unwrap().to_bytes();
    if target == "/open/held" {
        console.release.acquire().await.unwrap().forget();
    }
    let headers: serde_json::Map<String, serde_json::Value> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let seen = json!({
        "method": head.method.as_str(),
        "target": target,
        "headers": headers,
        "body_bytes": body.len(),
        "padding": if target == "/open/large" { "x".repeat(1_000_000) } else { String::new() },
    });
    ([("strict-transport-security", "max-age=1")], seen.to_string()).into_response()
}
