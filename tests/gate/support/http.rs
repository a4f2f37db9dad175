//! A client with one kept connection, that follows nothing and adds nothing but a Host.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The Host that callers name.
pub const HOST: &str = "console.test";

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: String,
    pub target: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Ask {
    pub fn new(method: &str, target: &str) -> Ask {
        Ask { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }

    pub fn get(target: &str) -> Ask {
        Ask::new("GET", target)
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Ask {
        self.headers.push((name, value.into()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Ask {
        self.body = body.into();
        self
    }

    /// With Flask's session cookie.
    #[must_use]
    pub fn cookie(self, cookie: &str) -> Ask {
        self.header("cookie", format!("session={cookie}"))
    }

    /// With a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Ask {
        self.header("authorization", format!("Bearer {token}"))
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The value of a header; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn request_id(&self) -> &str {
        self.header("x-request-id")
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// One caller.
pub struct Client {
    socket: PathBuf,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub fn to(socket: &Path) -> Client {
        Client { socket: socket.to_owned(), connection: None }
    }

    /// Sends a request over the kept connection, or over a new one where the other side has closed it.
    pub async fn send(&mut self, ask: &Ask) -> Answer {
        let mut connection = match self.connection.take() {
            Some(kept) => kept,
            None => self.connect().await,
        };
        if connection.ready().await.is_err() {
            connection = self.connect().await;
        }
        let mut request = http::Request::builder().method(ask.method.as_str()).uri(ask.target.as_str());
        request = request.header("host", HOST);
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(ask.body.clone())).expect("a request that http can hold");
        let response = connection.send_request(request).await;
        let (head, body) =
            response.unwrap_or_else(|error| panic!("{} {}: {error:?}", ask.method, ask.target)).into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        self.connection = Some(connection);
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let stream = UnixStream::connect(&self.socket).await.expect("the gate takes connections");
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        tokio::spawn(connection);
        sender
    }
}

/// One request over HTTP/2 with prior knowledge: the status and the body.
pub async fn send_http2(socket: &Path, method: &str, target: &str, body: &'static [u8]) -> (u16, Bytes) {
    let stream = UnixStream::connect(socket).await.expect("the gate takes connections");
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream))
        .await
        .expect("an HTTP/2 connection");
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://{HOST}{target}"))
        .body(Full::new(Bytes::from_static(body)))
        .expect("a request that http can hold");
    let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
    (head.status.as_u16(), body.collect().await.expect("a whole body").to_bytes())
}
