//! Small requests to other services: JSON over HTTP/1.1, plain or TLS, within a time and a size.
//!
//! One connection for each request, and no redirects: only the configured service is asked. Used a few times a minute
//! at most, so a pool would only add risk.

pub mod freescout;
pub mod postmark;
pub mod sentry;
pub mod slack;
pub mod smtp;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST};
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

/// Why there is no answer. No variant contains a header or a body.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Not an absolute `http` or `https` address without a user.
    #[error("`{0}` is not an http or https address without a user name")]
    Url(String),
    /// A header value that HTTP does not allow, such as a token with a line break.
    #[error("the value of header `{0}` is not allowed in HTTP")]
    Header(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// The connection was refused, or its handshake.
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    /// The connection broke, or the received bytes are not HTTP.
    #[error("the answer cannot be read: {0}")]
    Answer(#[from] hyper::Error),
    /// The answer was cut off, or does not match its head.
    #[error("the answer's body cannot be read: {0}")]
    Body(String),
    /// The answer is larger than the limit.
    #[error("the answer is larger than {0} bytes")]
    Large(usize),
    /// No answer within the time.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// The address of a service.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// A Unix socket instead of a host and a port.
    socket: Option<PathBuf>,
    is_tls: bool,
    host: String,
    port: u16,
    path: String,
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    Get,
    /// With a body of JSON.
    Post {
        body: &'a [u8],
    },
    /// Any other method, with a body of the given type.
    Any {
        method: &'a str,
        body: Option<(&'a str, &'a [u8])>,
    },
}

/// The answer. The body may contain a key, so it is zeroed when it is dropped.
pub struct Reply {
    pub status: u16,
    pub fields: http::HeaderMap,
    pub body: Zeroizing<Vec<u8>>,
}

/// Sends requests to other services.
#[derive(Clone)]
pub struct Outbound {
    tls: Arc<ClientConfig>,
    timeout: Duration,
    answer_bytes: usize,
}

impl Url {
    /// Reads an absolute `http` or `https` address, or `unix:` and the path of a socket.
    ///
    /// # Errors
    ///
    /// It is something else, or carries a user name, which would end up in logs.
    pub fn parse(text: &str) -> Result<Url, OutboundError> {
        let refused = || OutboundError::Url(text.split('@').next_back().unwrap_or_default().to_owned());
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            let (socket, host) = (Some(path.into()), "localhost".to_owned());
            return Ok(Url { socket, is_tls: false, host, port: 80, path: "/".to_owned() });
        }
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(refused()),
        };
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(refused)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Url { socket: None, is_tls, host: authority.host().to_owned(), port, path })
    }

    /// The address below this one.
    #[must_use]
    pub fn join(&self, path: &str) -> Url {
        Url { path: format!("{}/{path}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    /// The same server with another target: a path as it is sent, with its query.
    #[must_use]
    pub fn at(&self, target: &str) -> Url {
        Url { path: target.to_owned(), ..self.clone() }
    }

    /// Whether the address names more than the server.
    pub fn has_path(&self) -> bool {
        self.path != "/"
    }

    /// The host as a name to resolve: an IPv6 address without its brackets.
    fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl Outbound {
    /// Trusts the machine's certificate authorities and those in `roots`; an answer has to be complete within
    /// `timeout` and have at most `answer_bytes`.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up, or one of `roots` is not a certificate.
    pub fn new(
        roots: Vec<CertificateDer<'static>>,
        timeout: Duration,
        answer_bytes: usize,
    ) -> Result<Self, OutboundError> {
        let mut trusted = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in native.errors {
            tracing::warn!(%error, "a certificate authority of this machine cannot be read");
        }
        trusted.add_parsable_certificates(native.certs);
        for root in roots {
            trusted.add(root)?;
        }
        // The provider is named rather than taken from the process, so that nothing else can choose the ciphers.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        Ok(Outbound { tls: Arc::new(config), timeout, answer_bytes })
    }

    /// Sends a request once.
    ///
    /// # Errors
    ///
    /// There is no complete answer within the time and the size. An answer of any status counts.
    pub async fn send(
        &self,
        url: &Url,
        request: Request<'_>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, OutboundError> {
        let request = build(url, request, headers)?;
        let exchange = async {
            if let Some(socket) = &url.socket {
                return self.exchange(UnixStream::connect(socket).await?, request).await;
            }
            let stream = TcpStream::connect((url.name(), url.port)).await?;
            if !url.is_tls {
                return self.exchange(stream, request).await;
            }
            let name = ServerName::try_from(url.name().to_owned());
            let name = name.map_err(|_| OutboundError::Url(url.host.clone()))?;
            let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
            self.exchange(stream, request).await
        };
        tokio::time::timeout(self.timeout, exchange).await.map_err(|_| OutboundError::Late(self.timeout))?
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: http::Request<Full<Bytes>>,
    ) -> Result<Reply, OutboundError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Driven together with the exchange and dropped with it: nothing outlives the timeout.
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let fields = response.headers().clone();
            let collected = Limited::new(response.into_body(), self.answer_bytes).collect().await;
            let body = collected.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => OutboundError::Large(self.answer_bytes),
                None => OutboundError::Body(error.to_string()),
            })?;
            Ok(Reply { status, fields, body: Zeroizing::new(body.to_bytes().into()) })
        };
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // The connection may end before the answer has been read; the answer is then ready nevertheless.
            _ = connection => answer.await,
        }
    }
}

/// A subject without characters that would begin another field.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The pause in seconds that an answer asks for (RFC 9110, 10.2.3); a minute if it names none.
fn retry_after(fields: &http::HeaderMap) -> Duration {
    let asked =
        fields.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(asked.unwrap_or(60))
}

fn build(
    url: &Url,
    request: Request<'_>,
    headers: &[(&str, &str)],
) -> Result<http::Request<Full<Bytes>>, OutboundError> {
    let (method, body) = match request {
        Request::Get => (http::Method::GET, Bytes::new()),
        Request::Post { body } => (http::Method::POST, Bytes::copy_from_slice(body)),
        Request::Any { method, body } => {
            let method = method.parse().map_err(|_| OutboundError::Header("method".to_owned()))?;
            (method, body.map_or_else(Bytes::new, |(_, body)| Bytes::copy_from_slice(body)))
        }
    };
    let refused = |name: &str| OutboundError::Header(name.to_owned());
    let mut built = http::Request::new(Full::new(body));
    *built.method_mut() = method;
    *built.uri_mut() = url.path.parse().map_err(|_| OutboundError::Url(url.path.clone()))?;
    let host = format!("{}:{}", url.host, url.port);
    let fields = built.headers_mut();
    fields.insert(HOST, HeaderValue::from_str(&host).map_err(|_| refused("host"))?);
    fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
    fields.insert(CONNECTION, HeaderValue::from_static("close"));
    let content_type = match request {
        Request::Get | Request::Any { body: None, .. } => None,
        Request::Post { .. } => Some("application/json"),
        Request::Any { body: Some((content_type, _)), .. } => Some(content_type),
    };
    if let Some(content_type) = content_type {
        fields
            .insert(CONTENT_TYPE, HeaderValue::from_str(content_type).map_err(|_| refused("content-type"))?);
    }
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| refused(name))?;
        value.set_sensitive(true);
        fields.insert(name.parse::<HeaderName>().map_err(|_| refused(name))?, value);
    }
    Ok(built)
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket) = &self.socket {
            return write!(f, "unix:{}{}", socket.display(), self.path);
        }
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} bytes)", self.status, self.body.len())
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
