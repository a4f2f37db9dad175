//! A client over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::Authority;
use super::certificates::HOST;

/// Somebody who connects, and remembers the sessions of before.
pub struct Client {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Client {
    pub fn trusting(authority: &Authority, address: SocketAddr) -> Client {
        Client::speaking(authority, address, ALL_VERSIONS, &[])
    }

    /// With certain versions of TLS and certain application protocols.
    pub fn speaking(
        authority: &Authority,
        address: SocketAddr,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Client { address, config: Arc::new(config) }
    }

    /// Shakes hands, certificate and name verified.
    pub async fn shake_hands(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(HOST).unwrap();
        TlsConnector::from(self.config.clone()).connect(name, stream).await
    }

    /// A connection for HTTP/1.1.
    pub async fn connect(&self) -> Connection {
        let stream = self.shake_hands().await.unwrap();
        let certificate = certificate(&stream);
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Connection { certificate, sender: Sender::One(sender) }
    }

    /// A connection for HTTP/2.
    pub async fn connect_http2(&self) -> Connection {
        let stream = self.shake_hands().await.unwrap();
        let certificate = certificate(&stream);
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Connection { certificate, sender: Sender::Two(sender) }
    }

    /// Sends bytes as they are and reads until the gate closes.
    pub async fn send_raw(&self, request: &str) -> String {
        let mut stream = self.shake_hands().await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // An end without TLS's closing alert would be an error here.
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

/// The certificate that the other side showed.
pub fn certificate(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// A kept connection.
pub struct Connection {
    pub certificate: CertificateDer<'static>,
    sender: Sender,
}

impl Connection {
    pub async fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target, &[], Bytes::new()).await
    }

    pub async fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let mut request = http::Request::builder().method(method);
        request = match &self.sender {
            Sender::One(_) => request.uri(target).header("host", HOST),
            Sender::Two(_) => request.uri(format!("https://{HOST}{target}")),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        let response = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await
            }
            Sender::Two(sender) => sender.send_request(request).await,
        };
        let (head, body) =
            response.unwrap_or_else(|error| panic!("{method} {target}: {error:?}")).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// What Console reported about the request.
    pub fn echo(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
