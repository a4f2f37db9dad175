//! The spool: where audit rows wait, on disk, while the database does not take them.
//!
//! One file per process, in one folder for all gates of a machine. A row is one line, which begins with its checksum:
//!
//! ```text
//! 7b3c55d1 {"record":{...},"link":{...}}
//! ```
//!
//! JSON contains no raw line break, so a torn or altered line costs itself and nothing after it. A file is locked by
//! the process that writes it. An unlocked file was left by a process that died, and the gate that finds it takes it
//! over. Everything here may wait for a disk: it is called where waiting is allowed.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The extension of a spool's file.
pub const EXTENSION: &str = "spool";
/// The checksum in hexadecimal, and the space after it.
const CHECKSUM: usize = 9;
/// No row comes near this length, so a longer line is not a row. It is also the most that is read at once.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// A row was not written to the spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The settings name no folder for the spool.
    #[error("there is no spool")]
    None,
    /// It already holds as many bytes as it may.
    #[error("the spool is full: its limit is {limit} bytes")]
    Full { limit: u64 },
    /// The disk did not take it: full, gone, read-only.
    #[error("the spool cannot be written: {0}")]
    Disk(#[from] io::Error),
}

/// The state of a line in a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// As it was appended.
    Whole(String),
    /// Torn or altered: its checksum does not match its text. Adjacent damaged lines are one.
    Damaged { offset: u64, bytes: u64 },
}

/// The files that a look through the folder found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files that now belong to this process, by their names.
    pub orphans: Vec<Spool>,
    /// Files that cannot be opened, and why.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

/// A spool file that this process has locked.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    file: File,
    /// The place of the next line.
    end: u64,
    /// Up to here, the lines are in the database.
    settled: u64,
    /// The maximum size of the file.
    limit: u64,
    /// Whether bytes of a failed append may lie behind `end`.
    is_torn: bool,
}

impl Spool {
    /// Creates an empty file `name` in `folder`, and the folder if it does not exist.
    ///
    /// # Errors
    ///
    /// The folder cannot be written. It is better to fail at the start than when the database is unavailable.
    pub fn create(folder: &Path, name: &str, limit: u64) -> io::Result<Spool> {
        // Its rows name people, so it is for the gate's user alone, whatever the umask.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(format!("{name}.{EXTENSION}"));
        // Under another name until it is locked: an unlocked file would be taken for that of a dead process.
        let unlocked = folder.join(format!("{name}.new"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&unlocked)?;
        file.lock()?;
        std::fs::rename(&unlocked, &path)?;
        // The name must survive a crash, as the lines must.
        File::open(folder)?.sync_all()?;
        Ok(Spool { path, file, end: 0, settled: 0, limit, is_torn: false })
    }

    /// Takes over the files that dead processes left in `folder`. Files of live processes are not touched; a file that
    /// cannot be opened (another user's, a folder) does not block the others.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn orphans(folder: &Path, limit: u64) -> io::Result<Scan> {
        let mut scan = Scan::default();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            match Spool::take_over(path.clone(), limit) {
                Ok(Some(orphan)) => scan.orphans.push(orphan),
                Ok(None) => {}
                Err(error) => scan.unreadable.push((path, error)),
            }
        }
        scan.orphans.sort_by(|one, other| one.path.cmp(&other.path));
        scan.unreadable.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(scan)
    }

    /// Opens and locks a file, unless another process has it locked, or has just settled and removed it.
    fn take_over(path: PathBuf, limit: u64) -> io::Result<Option<Spool>> {
        // Opening a pipe would wait for a writer.
        let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let about = file.metadata()?;
        if !about.is_file() {
            let what = if about.file_type().is_fifo() { "it is a pipe" } else { "it is not a regular file" };
            return Err(io::Error::other(what));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Its length, now that no process writes to it.
        let end = file.metadata()?.len();
        Ok(Some(Spool { path, file, end, settled: 0, limit, is_torn: false }))
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether every line is settled.
    pub fn is_settled(&self) -> bool {
        self.settled == self.end
    }

    /// The number of waiting bytes.
    pub fn waiting_bytes(&self) -> u64 {
        self.end - self.settled
    }

    /// Appends all lines or none. When this returns, they are on the disk.
    ///
    /// # Errors
    ///
    /// The spool is full, or the disk did not take them.
    pub fn append(&mut self, lines: &[String]) -> Result<(), SpoolError> {
        let mut bytes = Vec::with_capacity(lines.iter().map(|line| line.len() + CHECKSUM + 1).sum());
        for line in lines {
            debug_assert!(!line.contains('\n'), "a line is one line");
            bytes.extend_from_slice(format!("{:08x} ", crc32fast::hash(line.as_bytes())).as_bytes());
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        if self.end + bytes.len() as u64 > self.limit {
            return Err(SpoolError::Full { limit: self.limit });
        }
        if self.is_torn {
            self.file.set_len(self.end)?;
            self.is_torn = false;
        }
        if let Err(error) = self.write(&bytes) {
            // A half-written line must not remain between this one and the next.
            self.is_torn = self.file.set_len(self.end).is_err();
            return Err(error.into());
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }

    /// The oldest lines that are not settled, at most `most`, and the mark to settle them by.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn oldest(&self, most: usize) -> io::Result<(Vec<Line>, Mark)> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.settled))?;
        let mut reader = BufReader::new(file);
        let mut lines = Vec::new();
        let mut offset = self.settled;
        while lines.len() < most && offset < self.end && offset - self.settled < LONGEST_LINE {
            let mut bytes = Vec::new();
            // Bytes behind `end` are from a failed append.
            let longest = LONGEST_LINE.min(self.end - offset);
            let length = reader.by_ref().take(longest).read_until(b'\n', &mut bytes)? as u64;
            if length == 0 {
                break;
            }
            match (check(&bytes), lines.last_mut()) {
                (Some(text), _) => lines.push(Line::Whole(text)),
                (None, Some(Line::Damaged { bytes, .. })) => *bytes += length,
                (None, _) => lines.push(Line::Damaged { offset, bytes: length }),
            }
            offset += length;
        }
        Ok((lines, Mark(offset)))
    }

    /// Notes that everything before `mark` is in the database, and leaves the file as it is.
    pub fn pass(&mut self, mark: Mark) {
        self.settled = mark.0;
    }

    /// Notes that everything before `mark` is in the database. A completely settled spool begins anew.
    ///
    /// # Errors
    ///
    /// The file cannot be truncated. Its lines would be replayed once more, which does no harm: they are identified by
    /// their ids.
    pub fn settle(&mut self, mark: Mark) -> io::Result<()> {
        self.pass(mark);
        if self.is_settled() && self.end > 0 {
            self.file.set_len(0)?;
            self.file.sync_data()?;
            (self.end, self.settled) = (0, 0);
        }
        Ok(())
    }

    /// Removes the file of a settled spool. An unsettled one stays, for the next gate.
    ///
    /// # Errors
    ///
    /// The file cannot be removed.
    pub fn close(&self) -> io::Result<()> {
        if self.is_settled() { std::fs::remove_file(&self.path) } else { Ok(()) }
    }

    /// Moves the file aside, so that its parts that are not rows can be inspected: `NAME.damaged`.
    ///
    /// # Errors
    ///
    /// The file cannot be renamed.
    pub fn put_aside(self) -> io::Result<PathBuf> {
        let aside = self.path.with_extension("damaged");
        std::fs::rename(&self.path, &aside)?;
        Ok(aside)
    }
}

/// A place in a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// The text of a line, if its checksum matches.
fn check(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (checksum, text) = line.split_at_checked(CHECKSUM)?;
    let expected = u32::from_str_radix(checksum.strip_suffix(' ')?, 16).ok()?;
    (crc32fast::hash(text.as_bytes()) == expected).then(|| text.to_owned())
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
