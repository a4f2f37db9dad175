//! Looks at the mapping file.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use policy::ids::MappingSha256;
use policy::mapping::parse::sha256_of;
use tokio::task::JoinHandle;

/// 100,000 rows take some 20 MB.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
const READ_TIME: Duration = Duration::from_secs(5);

/// The result of a look.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The text, or why there is none.
    pub(super) text: Result<String, String>,
    pub(super) stamp: Stamp,
}

/// The basis for comparing two looks. The text alone is not enough: a writer that starts again writes the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) content: Result<MappingSha256, String>,
    identity: Option<Identity>,
}

/// The identity of the file, and when it was last written. It is the inode's time of change, which cannot be set back,
/// as `cp -p` and `touch` do with the time of modification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Identity {
    fn of(kind: &Metadata) -> Identity {
        Identity {
            device: kind.dev(),
            inode: kind.ino(),
            size: kind.size(),
            changed: (kind.ctime(), kind.ctime_nsec()),
        }
    }
}

type Reading = (Option<Identity>, std::io::Result<String>);

/// Reads one file, on a thread of its own: a share that hangs must not block the decisions of the running mapping.
#[derive(Debug)]
pub(super) struct FileReader {
    path: PathBuf,
    /// A read that has not returned. Another one would hang too, and the number of threads is limited.
    stuck: Option<JoinHandle<Reading>>,
}

impl FileReader {
    pub(super) fn new(path: PathBuf) -> FileReader {
        FileReader { path, stuck: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn look(&mut self) -> Seen {
        let path = self.path.clone();
        let mut reading =
            self.stuck.take().unwrap_or_else(|| tokio::task::spawn_blocking(move || read(&path)));
        let (identity, text) = match tokio::time::timeout(READ_TIME, &mut reading).await {
            Ok(read) => read.unwrap_or_else(|_| (None, Err(ErrorKind::Interrupted.into()))),
            Err(_) => {
                self.stuck = Some(reading);
                (None, Err(ErrorKind::TimedOut.into()))
            }
        };
        let text = text.map_err(|error| error.to_string());
        let content = text.as_ref().map(|text| sha256_of(text)).map_err(Clone::clone);
        Seen { text, stamp: Stamp { content, identity } }
    }
}

fn read(path: &Path) -> Reading {
    let kind = match std::fs::metadata(path) {
        Ok(kind) => kind,
        Err(error) => return (None, Err(error)),
    };
    // Opening a pipe would wait for a writer.
    let text = if !kind.is_file() || kind.len() > MOST_BYTES {
        Err(std::io::Error::other("it is not a regular file of at most 64 MiB"))
    } else {
        std::fs::read_to_string(path).and_then(without_nul)
    };
    (Some(Identity::of(&kind)), text)
}

/// Refuses a text with U+0000: Postgres cannot store it, so neither the mapping nor its refusal could be recorded.
fn without_nul(text: String) -> std::io::Result<String> {
    let Some(place) = text.find('\0') else { return Ok(text) };
    let line = text[..place].matches('\n').count() + 1;
    let why = format!("line {line} contains a NUL byte; save the file as plain UTF-8");
    Err(std::io::Error::new(ErrorKind::InvalidData, why))
}
