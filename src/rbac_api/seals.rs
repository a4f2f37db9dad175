//! Which rows of the audit a checkpoint covers, by the file of checkpoints that the gates write.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::checkpoint::Checkpoint;
use ledger::keys::KeyRing;
use tokio::sync::Mutex;

/// The most bytes of the file that are read at once, from its end.
const MOST_READ: u64 = 64 << 20;

/// The checkpoint that reaches furthest, of each chain: its number of rows, and when it was made.
pub(super) type Reach = BTreeMap<String, (i64, String)>;

/// Reads the file as it grows.
pub(super) struct Seals {
    file: Option<PathBuf>,
    keys: KeyRing,
    known: Mutex<Known>,
}

#[derive(Clone, Default)]
struct Known {
    read: u64,
    reach: Arc<Reach>,
}

impl Seals {
    pub(super) fn new(file: Option<PathBuf>, keys: KeyRing) -> Seals {
        Seals { file, keys, known: Default::default() }
    }

    /// What is known of checkpoints now; `None` if this gate cannot read them: it has no file, or another service keeps them.
    pub(super) async fn reach(&self) -> Option<Arc<Reach>> {
        let file = self.file.clone()?;
        let mut known = self.known.lock().await;
        let (before, keys) = (known.clone(), self.keys.clone());
        let read = tokio::task::spawn_blocking(move || before.read(&file, &keys)).await;
        match read.unwrap_or_else(|stopped| Err(io::Error::other(stopped))) {
            Ok(now) => {
                *known = now;
                Some(known.reach.clone())
            }
            Err(error) => {
                tracing::warn!(%error, "the file of checkpoints cannot be read");
                None
            }
        }
    }
}

impl Known {
    fn read(mut self, path: &Path, keys: &KeyRing) -> io::Result<Known> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        if length < self.read {
            // Another file.
            self = Known::default();
        }
        let mut reach = Reach::clone(&self.reach);
        self.read = self.read.max(length.saturating_sub(MOST_READ));
        file.seek(SeekFrom::Start(self.read))?;
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        // A line that is still being written is read the next time.
        while lines.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            self.read += line.len() as u64;
            let checkpoint =
                std::str::from_utf8(&line).ok().and_then(|line| Checkpoint::parse(line.trim()).ok());
            // A line that no gate signed proves nothing.
            if let Some(checkpoint) = checkpoint
                && let Ok((chain, head)) = checkpoint.check(keys)
                && reach.get(chain).is_none_or(|(reached, _)| *reached < head.sequence)
            {
                reach.insert(chain.to_owned(), (head.sequence, checkpoint.at().to_owned()));
            }
            line.clear();
        }
        self.reach = Arc::new(reach);
        Ok(self)
    }
}
