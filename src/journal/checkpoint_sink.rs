//! The second place of checkpoints: a file, or an HTTP endpoint.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::checkpoint::Checkpoint;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::outbound::{Outbound, OutboundError, Request, Url};

/// A checkpoint did not reach its second place.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file did not accept it.
    #[error("the checkpoint file `{path}` cannot be written: {cause}")]
    File { path: PathBuf, cause: io::Error },
    /// The endpoint could not be reached.
    #[error("the checkpoint endpoint cannot be reached: {0}")]
    Outbound(#[from] OutboundError),
    /// The endpoint answered with a status other than 2xx.
    #[error("the checkpoint endpoint answered {0}")]
    Refused(u16),
}

/// Takes checkpoints.
pub trait CheckpointSink {
    /// Returns when the checkpoint is durable there.
    ///
    /// # Errors
    ///
    /// It is not known to be durable. It may be put again: a second copy of a checkpoint adds nothing.
    fn put(&self, checkpoint: &Checkpoint) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// Appends lines to a file; each counts only once it is on the disk.
#[derive(Clone, Debug)]
pub struct FileSink {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl FileSink {
    /// Opens the file, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// The file cannot be opened for writing.
    pub async fn open(path: &Path) -> Result<FileSink, SinkError> {
        let place = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || open(&place)).await;
        let opened = opened.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        let file = opened.map_err(|cause| SinkError::File { path: path.to_owned(), cause })?;
        Ok(FileSink { path: path.to_owned(), file: Arc::new(Mutex::new(file)) })
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    // The name of a new file is durable only with its folder.
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

impl CheckpointSink for FileSink {
    async fn put(&self, checkpoint: &Checkpoint) -> Result<(), SinkError> {
        let line = checkpoint.to_line();
        // Locked before the thread is taken: for a disk that hangs, one thread waits rather than one for each
        // checkpoint.
        let mut file = Arc::clone(&self.file).lock_owned().await;
        let written = tokio::task::spawn_blocking(move || append(&mut file, &line));
        let written = written.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        written.map_err(|cause| SinkError::File { path: self.path.clone(), cause })
    }
}

fn append(file: &mut File, line: &str) -> io::Result<()> {
    // A torn line (a full disk, a crash) must not swallow the next one.
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let start = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{start}{line}\n").as_bytes())?;
    file.sync_data()
}

/// Posts each checkpoint, as JSON, to an endpoint that answers 2xx once it is durable there.
#[derive(Clone)]
pub struct HttpSink {
    outbound: Outbound,
    url: Url,
    token: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for HttpSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpSink({:?})", self.url)
    }
}

impl HttpSink {
    /// Posts to `url`, with `Authorization: Bearer` if there is a token.
    pub fn new(outbound: Outbound, url: Url, token: Option<Zeroizing<String>>) -> HttpSink {
        HttpSink { outbound, url, token }
    }
}

impl CheckpointSink for HttpSink {
    async fn put(&self, checkpoint: &Checkpoint) -> Result<(), SinkError> {
        let authorization =
            self.token.as_ref().map(|token| Zeroizing::new(format!("Bearer {}", token.as_str())));
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        let body = checkpoint.to_line().into_bytes();
        let answer = self.outbound.send(&self.url, Request::Post { body: &body }, &headers).await?;
        if (200..300).contains(&answer.status) { Ok(()) } else { Err(SinkError::Refused(answer.status)) }
    }
}
