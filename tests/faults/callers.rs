//! Callers that go on asking whatever happens, and distinguish a lost request from one that was never sent.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

/// Beyond this a request counts as lost. Longer than any promise that is tested.
const PATIENCE: Duration = Duration::from_secs(30);

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered {
        status: u16,
        request_id: String,
    },
    /// Nobody took the connection: the request was not sent.
    Unreachable,
    /// It was sent, and no whole answer came.
    Lost(String),
}

/// One caller, as a browser is one: it keeps its connection, and where that was closed while nothing was under way, it
/// opens another. It never sends a request a second time.
pub struct Caller {
    /// Where it may ask. The next one is tried when the one takes no connection.
    gates: Vec<PathBuf>,
    keeps: bool,
    connection: Option<UnixStream>,
}

impl Caller {
    pub fn to(socket: &Path) -> Caller {
        Caller::to_either(&[socket])
    }

    /// A caller who knows several gates, as a load balancer does.
    pub fn to_either(gates: &[&Path]) -> Caller {
        let gates = gates.iter().map(|gate| (*gate).to_owned()).collect();
        Caller { gates, keeps: true, connection: None }
    }

    /// A caller with a new connection for each request.
    #[must_use]
    pub fn one_shot(self) -> Caller {
        Caller { keeps: false, ..self }
    }

    /// Whether its connection is still open.
    pub fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(is_open)
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: &str) -> Outcome {
        let asked = tokio::time::timeout(PATIENCE, self.try_ask(request)).await;
        asked.unwrap_or_else(|_| Outcome::Lost(format!("no answer within {PATIENCE:?}")))
    }

    async fn connect(&mut self) -> Option<UnixStream> {
        for _ in 0..self.gates.len() {
            // In turn, so that each gate has its share.
            self.gates.rotate_left(1);
            if let Ok(stream) = UnixStream::connect(&self.gates[0]).await {
                return Some(stream);
            }
        }
        None
    }

    async fn try_ask(&mut self, request: &str) -> Outcome {
        let kept = self.connection.take().filter(is_open);
        let was_kept = kept.is_some();
        let Some(mut stream) = (match kept {
            Some(stream) => Some(stream),
            None => self.connect().await,
        }) else {
            return Outcome::Unreachable;
        };
        if let Err(error) = stream.write_all(request.as_bytes()).await {
            // A socket whose other end is closed takes no byte.
            if !was_kept {
                return Outcome::Lost(format!("a new connection did not take the request: {error}"));
            }
            let Some(another) = self.connect().await else { return Outcome::Unreachable };
            stream = another;
            if let Err(error) = stream.write_all(request.as_bytes()).await {
                return Outcome::Lost(format!("a new connection did not take the request: {error}"));
            }
        }
        match read_answer(&mut stream).await {
            Ok((outcome, closes)) => {
                if self.keeps && !closes {
                    self.connection = Some(stream);
                }
                outcome
            }
            Err(error) => Outcome::Lost(format!("{error}, kept: {was_kept}")),
        }
    }
}

fn is_open(stream: &UnixStream) -> bool {
    let mut byte = [0];
    matches!(stream.try_read(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// One answer, and whether the connection ends with it.
async fn read_answer(stream: &mut UnixStream) -> std::io::Result<(Outcome, bool)> {
    let mut read = Vec::with_capacity(1024);
    let head_end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        read_more(stream, &mut read).await?;
    };
    let head = String::from_utf8_lossy(&read[..head_end]).to_ascii_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let length: usize = header("content-length").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    while read.len() < head_end + length {
        read_more(stream, &mut read).await?;
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("no status line"))?;
    let request_id = header("x-request-id").unwrap_or_default().trim().to_owned();
    Ok((Outcome::Answered { status, request_id }, header("connection").is_some_and(|value| value == "close")))
}

async fn read_more(stream: &mut UnixStream, read: &mut Vec<u8>) -> std::io::Result<()> {
    let so_far = read.len();
    if stream.read_buf(read).await? == 0 {
        return Err(std::io::Error::new(
            ErrorKind::UnexpectedEof,
            format!("closed after {so_far} bytes of the answer"),
        ));
    }
    Ok(())
}

/// One request of a load.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What kind of request it was.
    pub kind: &'static str,
    pub began: Instant,
    pub took: Duration,
    pub outcome: Outcome,
}

impl Sample {
    /// The status; 0 where there was no answer.
    pub fn status(&self) -> u16 {
        match self.outcome {
            Outcome::Answered { status, .. } => status,
            Outcome::Unreachable | Outcome::Lost(_) => 0,
        }
    }

    pub fn ended(&self) -> Instant {
        self.began + self.took
    }

    /// The number of the answer, which its audit row carries.
    pub fn request_id(&self) -> &str {
        match &self.outcome {
            Outcome::Answered { request_id, .. } => request_id,
            Outcome::Unreachable | Outcome::Lost(_) => "",
        }
    }
}

/// Callers that ask one after the other, until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    callers: JoinSet<Vec<Sample>>,
}

impl Load {
    pub fn new() -> Load {
        Load { stop: Arc::default(), asked: Arc::default(), callers: JoinSet::new() }
    }

    /// Adds `count` callers that send `request` again and again, each with a pause between two.
    #[must_use]
    pub fn with(
        mut self,
        count: usize,
        kind: &'static str,
        request: &str,
        pause: Duration,
        caller: impl Fn() -> Caller,
    ) -> Load {
        for _ in 0..count {
            let (stop, asked, request) = (self.stop.clone(), self.asked.clone(), request.to_owned());
            let mut caller = caller();
            self.callers.spawn(async move {
                let mut samples = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let outcome = caller.ask(&request).await;
                    samples.push(Sample { kind, began, took: began.elapsed(), outcome });
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                }
                samples
            });
        }
        self
    }

    /// Waits until that many further requests have been answered, or have failed.
    pub async fn further(&self, requests: usize) {
        let goal = self.asked.load(Ordering::Relaxed) + requests;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.asked.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < deadline, "the callers are stuck");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Stops the callers, and returns the outcome of each request, in the order of their beginnings.
    pub async fn stop(mut self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        while let Some(of_one) = self.callers.join_next().await {
            samples.extend(of_one.expect("a caller does not panic"));
        }
        samples.sort_by_key(|sample| sample.began);
        samples
    }
}
