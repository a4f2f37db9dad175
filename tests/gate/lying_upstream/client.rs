//! Clients that take nothing from the gate but well-formed answers, and say of each whether it was whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::support::http::HOST;

/// How long a client waits for bytes before it calls them missing.
const LIMIT: Duration = Duration::from_secs(20);

/// The outcome of a request.
#[derive(Debug)]
pub(super) enum Got {
    Answer(Answer),
    /// The connection ended before a head was whole.
    Nothing,
    /// What no gate may send, or no bytes for too long.
    Odd(String),
}

/// An answer, as far as it came.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The statuses of the interim answers before it.
    pub(super) interim: Vec<u16>,
    pub(super) status: u16,
    /// Names in small letters.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// How many frames of HTTP/2 the body came in.
    pub(super) frames: usize,
    /// Whether it has come to its end.
    pub(super) is_whole: bool,
    /// Whether the end of the connection is the only end that it has.
    pub(super) ends_by_close: bool,
}

impl Answer {
    /// The values of a field.
    pub(super) fn all(&self, name: &str) -> Vec<&[u8]> {
        let fields = self.fields.iter().filter(|(known, _)| known == name);
        fields.map(|(_, value)| value.as_slice()).collect()
    }

    /// Whether a text is anywhere in it.
    pub(super) fn mentions(&self, text: &str) -> bool {
        let is_in = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        is_in(&self.body) || self.fields.iter().any(|(_, value)| is_in(value))
    }
}

/// Why no further answer can be read.
enum Stop {
    /// The connection has ended.
    End,
    Odd(String),
}

/// A connection, whatever it goes over.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Where clients come in.
#[derive(Clone)]
pub(super) struct Door {
    socket: PathBuf,
    /// `None`: in clear.
    tls: Option<TlsConnector>,
}

impl Door {
    pub(super) fn plain(socket: PathBuf) -> Door {
        Door { socket, tls: None }
    }

    pub(super) fn tls(socket: PathBuf, connector: TlsConnector) -> Door {
        Door { socket, tls: Some(connector) }
    }

    async fn open(&self) -> Box<dyn Duplex> {
        let stream = UnixStream::connect(&self.socket).await.expect("the gate takes connections");
        match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from(HOST).expect("a name");
                Box::new(tls.connect(name, stream).await.expect("a handshake"))
            }
        }
    }
}

/// A connection for HTTP/1.
pub(super) struct Client {
    stream: Box<dyn Duplex>,
    read: Vec<u8>,
    /// It has ended otherwise than in order: with a reset, or over TLS without a goodbye.
    is_broken: bool,
}

impl Client {
    pub(super) async fn to(socket: &Path) -> Client {
        Client::at(&Door::plain(socket.to_owned())).await
    }

    pub(super) async fn at(door: &Door) -> Client {
        Client { stream: door.open().await, read: Vec::new(), is_broken: false }
    }

    /// Sends bytes, as far as the gate takes them.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends a request and reads its answer.
    pub(super) async fn ask(&mut self, request: &str) -> Got {
        self.send(request.as_bytes()).await;
        self.answer(request.starts_with("HEAD ")).await
    }

    /// The next final answer.
    pub(super) async fn answer(&mut self, is_to_head: bool) -> Got {
        let mut answer = Answer::default();
        loop {
            match self.head(&mut answer).await {
                Ok(()) if (100..200).contains(&answer.status) && answer.status != 101 => {
                    answer = Answer {
                        interim: [answer.interim, vec![answer.status]].concat(),
                        ..Answer::default()
                    };
                }
                Ok(()) => break,
                Err(Stop::End) => return Got::Nothing,
                Err(Stop::Odd(what)) => return Got::Odd(what),
            }
        }
        match self.body(&mut answer, is_to_head).await {
            Ok(()) => answer.is_whole = true,
            Err(Stop::End) => {}
            Err(Stop::Odd(what)) => {
                let fields =
                    answer.fields.iter().map(|(name, value)| format!("{name}: {}", value.escape_ascii()));
                return Got::Odd(format!(
                    "{what} ({}, {})",
                    answer.status,
                    fields.collect::<Vec<_>>().join("; ")
                ));
            }
        }
        Got::Answer(answer)
    }

    async fn head(&mut self, answer: &mut Answer) -> Result<(), Stop> {
        let line = self.line().await?;
        let text = String::from_utf8_lossy(&line).into_owned();
        let odd = |what: &str| Err(Stop::Odd(format!("{what}: {text:?}")));
        let code = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).filter(|code| {
            code.bytes().all(|byte| byte.is_ascii_digit())
                && matches!(text.as_bytes().get(12), None | Some(b' '))
        });
        let Some(code) = code else { return odd("no status line") };
        answer.status = code.parse().expect("three digits");
        loop {
            let line = match self.line().await {
                // A head that is cut: nothing may be made of it.
                Err(Stop::End) => return odd("half a head"),
                line => line?,
            };
            if line.is_empty() {
                return Ok(());
            }
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
            let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
            let value = line[colon + 1..].trim_ascii();
            if colon == 0 || !line[..colon].iter().all(is_token) || value.iter().any(|byte| is_control(*byte))
            {
                return odd(&format!("no field: {}", line.escape_ascii()));
            }
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            answer.fields.push((name, value.to_vec()));
        }
    }

    async fn body(&mut self, answer: &mut Answer, is_to_head: bool) -> Result<(), Stop> {
        let lengths = answer.all("content-length");
        let codings = answer.all("transfer-encoding");
        let length = match (&lengths[..], &codings[..]) {
            ([], [] | [b"chunked"]) => None,
            ([length], []) => {
                let text = std::str::from_utf8(length).unwrap_or_default();
                let number = text.parse::<usize>().ok().filter(|number| number.to_string() == text);
                Some(number.ok_or_else(|| Stop::Odd(format!("a length: {text:?}")))?)
            }
            _ => return Err(Stop::Odd("a framing that is none".to_owned())),
        };
        let is_chunked = !codings.is_empty();
        if is_to_head || matches!(answer.status, 204 | 304) {
            return Ok(());
        }
        if let Some(length) = length {
            return self.exactly(length, &mut answer.body).await;
        }
        if !is_chunked {
            answer.ends_by_close = true;
            while self.more().await? {}
            answer.body.append(&mut self.read);
            return if self.is_broken { Err(Stop::End) } else { Ok(()) };
        }
        loop {
            let line = self.line().await?;
            let text = String::from_utf8_lossy(&line).into_owned();
            let size = usize::from_str_radix(&text, 16)
                .ok()
                .filter(|size| text.eq_ignore_ascii_case(&format!("{size:x}")));
            let Some(size) = size else { return Err(Stop::Odd(format!("a chunk's size: {text:?}"))) };
            self.exactly(size, &mut answer.body).await?;
            if !self.line().await?.is_empty() {
                return Err(Stop::Odd("a trailer, or no line end after a chunk".to_owned()));
            }
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// A line without its CRLF.
    async fn line(&mut self) -> Result<Vec<u8>, Stop> {
        let mut looked_at = 0;
        loop {
            let end = self.read[looked_at..].windows(2).position(|window| window == b"\r\n");
            if let Some(end) = end.map(|end| end + looked_at) {
                let line: Vec<u8> = self.read.drain(..end + 2).take(end).collect();
                return match line.iter().any(|byte| is_control(*byte)) {
                    true => Err(Stop::Odd(format!("a control character: {}", line.escape_ascii()))),
                    false => Ok(line),
                };
            }
            looked_at = self.read.len().saturating_sub(1);
            if !self.more().await? {
                return Err(Stop::End);
            }
        }
    }

    /// So many bytes, or as many of them as come.
    async fn exactly(&mut self, count: usize, taken: &mut Vec<u8>) -> Result<(), Stop> {
        while self.read.len() < count {
            if !self.more().await? {
                taken.append(&mut self.read);
                return Err(Stop::End);
            }
        }
        taken.extend(self.read.drain(..count));
        Ok(())
    }

    /// Whether there was more. A connection that was reset is as closed as one that was ended.
    async fn more(&mut self) -> Result<bool, Stop> {
        match timeout(LIMIT, self.stream.read_buf(&mut self.read)).await {
            Ok(read) => {
                self.is_broken |= read.is_err();
                Ok(matches!(read, Ok(1..)))
            }
            Err(_) => Err(Stop::Odd(format!("no more came after {}", self.read.escape_ascii()))),
        }
    }
}

fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// One request over HTTP/2 with prior knowledge.
pub(super) async fn ask_over_http2(door: &Door, method: &str, target: &str, body: &'static [u8]) -> Got {
    let asked = timeout(LIMIT, http2(door, method, target, body)).await;
    asked.unwrap_or_else(|_| Got::Odd("no answer over HTTP/2".to_owned()))
}

async fn http2(door: &Door, method: &str, target: &str, body: &'static [u8]) -> Got {
    let stream = door.open().await;
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let shaken = builder.max_header_list_size(1 << 20).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.expect("an HTTP/2 connection");
    tokio::spawn(connection);
    let request = http::Request::builder().method(method).uri(format!("http://{HOST}{target}"));
    let request = request.body(Full::new(Bytes::from_static(body))).expect("a request that http can hold");
    let Ok(response) = sender.send_request(request).await else { return Got::Nothing };
    let (head, mut body) = response.into_parts();
    let fields = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let mut answer = Answer {
        status: head.status.as_u16(),
        fields: fields.collect(),
        is_whole: true,
        ..Answer::default()
    };
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => {
                answer.frames += 1;
                answer.body.extend_from_slice(&data);
            }
            Ok(Err(_trailers)) => return Got::Odd("trailers".to_owned()),
            Err(_) => {
                answer.is_whole = false;
                break;
            }
        }
    }
    Got::Answer(answer)
}
