//! A web server that answers what a test wants, and keeps what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::task::JoinHandle;

/// How it answers.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    Answer(u16, &'static [(&'static str, &'static str)], &'static str),
    /// Never.
    Silent,
}

/// A status, fields and a body, then the word of the error that this is, and what it says.
pub(crate) type Refusal =
    (u16, &'static [(&'static str, &'static str)], &'static str, &'static str, &'static str);

/// What it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

struct Inner {
    mood: Mood,
    asked: Vec<Asked>,
}

/// The server. It stops with this value.
pub(crate) struct WebServer {
    pub(crate) address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    serving: JoinHandle<()>,
}

impl WebServer {
    pub(crate) async fn start() -> WebServer {
        let inner = Arc::new(Mutex::new(Inner { mood: Mood::Silent, asked: Vec::new() }));
        let router = Router::new().fallback(answer).with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        WebServer { address, inner, serving }
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.inner.lock().unwrap().mood = mood;
    }

    /// What it was asked since this was called last.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.inner.lock().unwrap().asked)
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    State(inner): State<Arc<Mutex<Inner>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mood = {
        let mut inner = inner.lock().unwrap();
        let body = String::from_utf8_lossy(&body).into_owned();
        inner.asked.push(Asked { path: uri.path().to_owned(), headers, body });
        inner.mood.clone()
    };
    match mood {
        Mood::Answer(status, fields, body) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in fields {
                response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            response
        }
        Mood::Silent => std::future::pending().await,
    }
}
