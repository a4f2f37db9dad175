//! A stand-in for FreeScout: a real server with the documented answers of its API ("API & Webhooks" module), and with all
//! that can be wrong about them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;
use tokio::task::JoinHandle;

/// The key that it takes, and the secret by which it signs.
pub const KEY: &str = "freescout-key-of-the-tests";
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The mailbox whose tickets count.
pub const MAILBOX: u64 = 3;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Honest,
    /// A status with an error in JSON.
    Failing(u16),
    /// The same once, and honest after that.
    FailingOnce(u16),
    /// A page in HTML instead.
    Page(u16),
    /// Never.
    Silent,
    /// About the conversation with the next number.
    Confused,
    /// Half of the answer.
    Torn,
}

struct Inner {
    conversations: HashMap<u64, Value>,
    mood: Mood,
    questions: usize,
}

/// The server. It stops with this value.
pub struct FreeScout {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    serving: JoinHandle<()>,
}

impl FreeScout {
    pub async fn start() -> FreeScout {
        let inner = Inner { conversations: HashMap::new(), mood: Mood::Honest, questions: 0 };
        let inner = Arc::new(Mutex::new(inner));
        let router =
            Router::new().route("/help/api/conversations/{id}", get(conversation)).with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        FreeScout { address, inner, serving }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The section of the settings.
    pub fn settings(&self, deadline_ms: u64) -> String {
        format!(
            "[freescout]\nurl = \"http://{}/help\"\nmailboxes = [{MAILBOX}, 4]\ndeadline_ms = {deadline_ms}\n\
             poll_seconds = 3600\n",
            self.address
        )
    }

    /// A conversation as it is from now on.
    pub fn put(&self, id: u64, status: &str, state: &str, mailbox: u64) -> Value {
        let conversation = json!({
            "id": id, "number": id + 1000, "threadsCount": 2, "type": "email", "folderId": 11, "status": status,
            "state": state, "subject": "Refund", "preview": "Could you please ...", "mailboxId": mailbox,
            "createdAt": "2020-03-15T22:46:22Z", "updatedAt": chrono::Utc::now().to_rfc3339(),
            "closedAt": null, "_embedded": { "threads": [{ "id": 1, "body": "Hello" }] },
        });
        self.inner().conversations.insert(id, conversation.clone());
        conversation
    }

    /// An open conversation.
    pub fn open(&self, id: u64) -> Value {
        self.put(id, "active", "published", MAILBOX)
    }

    /// Forgets a conversation: it was deleted forever.
    pub fn forget(&self, id: u64) {
        self.inner().conversations.remove(&id);
    }

    pub fn is(&self, mood: Mood) {
        self.inner().mood = mood;
    }

    /// How often it was asked.
    pub fn questions(&self) -> usize {
        self.inner().questions
    }

    /// Refuses connections from now on.
    pub async fn stop(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for FreeScout {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The value of `X-FreeScout-Signature` for a body.
pub fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).expect("any key will do");
    mac.update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}

async fn conversation(
    State(inner): State<Arc<Mutex<Inner>>>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Response {
    let (mood, found) = {
        let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.questions += 1;
        let mood = inner.mood;
        if let Mood::FailingOnce(_) = mood {
            inner.mood = Mood::Honest;
        }
        let asked = if mood == Mood::Confused { id + 1 } else { id };
        (mood, inner.conversations.get(&asked).cloned())
    };
    let in_json = |status: u16, body: Value| {
        let status = StatusCode::from_u16(status).expect("a status");
        (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
    };
    match mood {
        Mood::Silent => std::future::pending().await,
        Mood::Failing(status) | Mood::FailingOnce(status) => {
            in_json(status, json!({ "message": "Error occurred", "errorCode": "ERR" }))
        }
        Mood::Page(status) => {
            let page = "<!DOCTYPE html><html><title>FreeScout</title></html>";
            let status = StatusCode::from_u16(status).expect("a status");
            (status, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], page).into_response()
        }
        Mood::Torn => {
            let half = r#"{"id":42,"status":"active","#;
            ([(header::CONTENT_TYPE, "application/json")], half).into_response()
        }
        Mood::Honest | Mood::Confused => {
            if headers.get("x-freescout-api-key").is_none_or(|key| key != KEY) {
                return in_json(401, json!({ "message": "Invalid API key" }));
            }
            match found {
                Some(conversation) => in_json(200, conversation),
                None => in_json(404, json!({ "message": "Conversation not found" })),
            }
        }
    }
}
