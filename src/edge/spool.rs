//! A queue of bytes between a client and Console: in memory up to a bound, then in a temporary file.
//!
//! It decouples their pace. A client that sends slowly holds no thread of Console, because Console is asked when the
//! body is complete; a client that reads slowly holds none, because Console's answer is taken as fast as it comes. Both
//! are bounded, for one queue and for all together.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use metrics::{Gauge, gauge};

use super::byte_queue::ByteQueue;
use crate::settings;

/// How much is read back from a file at once.
const PIECE: usize = 64 * 1024;

/// Bytes that may be in use together.
#[derive(Debug)]
struct Budget {
    used: AtomicU64,
    most: u64,
    shown: Gauge,
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is shown, nothing counts with it")]
impl Budget {
    fn new(most: u64, shown: Gauge) -> Budget {
        Budget { used: AtomicU64::new(0), most, shown }
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.most);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if taken {
            self.shown.increment(bytes as f64);
        }
        taken
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.shown.decrement(bytes as f64);
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// What all queues of this process may use.
#[derive(Debug)]
pub struct Buffers {
    folder: PathBuf,
    memory: Budget,
    files: Budget,
    /// The share of the files that bodies of unidentified clients may use.
    strangers: Budget,
    request_memory: usize,
    response_memory: usize,
    response_file: u64,
}

impl Buffers {
    /// The buffers that the settings allow.
    ///
    /// # Errors
    ///
    /// No file can be made in the folder: better found out at start than with the first large upload.
    pub fn new(settings: &settings::Buffers) -> Result<Buffers, BuffersError> {
        let folder = settings.folder.clone();
        tempfile::tempfile_in(&folder).map_err(|error| BuffersError { folder: folder.clone(), error })?;
        Ok(Buffers {
            folder,
            memory: Budget::new(settings.memory_bytes, gauge!("gate_buffer_bytes", "kind" => "memory")),
            files: Budget::new(settings.files_bytes, gauge!("gate_buffer_bytes", "kind" => "files")),
            strangers: Budget::new(settings.files_bytes / 2, Gauge::noop()),
            request_memory: settings.request_memory_bytes.0,
            response_memory: settings.response_memory_bytes.0,
            response_file: settings.response_file_bytes,
        })
    }
}

/// Why a queue takes no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    #[error("`files_bytes` of [buffers] is used up")]
    Full,
    #[error("the temporary file cannot be used: {0}")]
    File(#[from] io::Error),
}

/// The folder for temporary files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "no file can be made in `{folder}`: {error}. Correct `folder` in [buffers], or let the gate's user write there"
)]
pub struct BuffersError {
    folder: PathBuf,
    error: io::Error,
}

/// One queue.
#[derive(Debug)]
pub(super) struct Spool {
    buffers: Arc<Buffers>,
    memory: ByteQueue,
    most_memory: usize,
    file: Option<SpoolFile>,
    most_file: u64,
    is_strangers: bool,
}

/// The part of a queue that is in a file: the bytes from `read` to `written`.
#[derive(Debug)]
struct SpoolFile {
    /// It has no name: it is gone when it is closed, however this process ends.
    file: File,
    read: u64,
    written: u64,
}

impl Spool {
    /// For the body of a request, whose size is bounded where it is read. Strangers share a part of the files.
    pub(super) fn for_request(buffers: &Arc<Buffers>) -> Spool {
        Spool::new(buffers, buffers.request_memory, u64::MAX)
    }

    /// For the body of a response.
    pub(super) fn for_response(buffers: &Arc<Buffers>) -> Spool {
        Spool::new(buffers, buffers.response_memory, buffers.response_file)
    }

    fn new(buffers: &Arc<Buffers>, most_memory: usize, most_file: u64) -> Spool {
        Spool {
            buffers: buffers.clone(),
            memory: ByteQueue::default(),
            most_memory,
            file: None,
            most_file,
            is_strangers: false,
        }
    }

    /// The bytes that follow are a stranger's, as long as nothing is in a file.
    pub(super) fn of_stranger(&mut self, is_strangers: bool) {
        if self.file.is_none() {
            self.is_strangers = is_strangers;
        }
    }

    /// How many bytes are queued.
    pub(super) fn len(&self) -> u64 {
        self.memory.len() as u64 + self.file.as_ref().map_or(0, |file| file.written - file.read)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds bytes at the end.
    pub(super) fn push(&mut self, bytes: Bytes) -> Result<(), SpoolError> {
        let length = bytes.len();
        // While bytes are in the file, further bytes go to the file too, to keep their order.
        let fits = self.file.is_none()
            && self.memory.len() + length <= self.most_memory
            && self.buffers.memory.take(length as u64);
        if fits {
            self.memory.push(bytes);
            return Ok(());
        }
        self.push_to_file(&bytes)
    }

    fn push_to_file(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let length = bytes.len() as u64;
        let in_file = self.file.as_ref().map_or(0, |file| file.written);
        if in_file + length > self.most_file || !self.take_file(length) {
            return Err(SpoolError::Full);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => match tempfile::tempfile_in(&self.buffers.folder) {
                Ok(file) => self.file.insert(SpoolFile { file, read: 0, written: 0 }),
                Err(error) => {
                    self.give_back_file(length);
                    return Err(error.into());
                }
            },
        };
        // Into the page cache: as nginx does, without a thread of its own.
        let written = file.file.write_all_at(bytes, file.written);
        if let Err(error) = written {
            self.give_back_file(length);
            return Err(error.into());
        }
        file.written += length;
        Ok(())
    }

    fn take_file(&self, length: u64) -> bool {
        if self.is_strangers && !self.buffers.strangers.take(length) {
            return false;
        }
        let taken = self.buffers.files.take(length);
        if !taken && self.is_strangers {
            self.buffers.strangers.give_back(length);
        }
        taken
    }

    fn give_back_file(&self, length: u64) {
        self.buffers.files.give_back(length);
        if self.is_strangers {
            self.buffers.strangers.give_back(length);
        }
    }

    /// Takes bytes from the beginning; `None` where there are none.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn pop(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(bytes) = self.memory.pop(usize::MAX) {
            self.buffers.memory.give_back(bytes.len() as u64);
            return Ok(Some(bytes));
        }
        let Some(file) = &mut self.file else { return Ok(None) };
        let length = usize::try_from(file.written - file.read).unwrap_or(usize::MAX).min(PIECE);
        let mut piece = BytesMut::zeroed(length);
        file.file.read_exact_at(&mut piece, file.read)?;
        file.read += length as u64;
        if file.read == file.written {
            let length = file.written;
            self.file = None;
            self.give_back_file(length);
        }
        Ok(Some(piece.freeze()))
    }

    /// Whether so many bytes more can be added.
    pub(super) fn has_room(&self, length: usize) -> bool {
        if self.file.is_none() && self.memory.len() + length <= self.most_memory {
            return true;
        }
        // Its length on the disk: what was read of it is given back when all was.
        let in_file = self.file.as_ref().map_or(0, |file| file.written);
        in_file + length as u64 <= self.most_file
            && self.buffers.files.used() + length as u64 <= self.buffers.files.most
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.buffers.memory.give_back(self.memory.len() as u64);
        if let Some(file) = self.file.take() {
            self.give_back_file(file.written);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::PositiveCount;

    fn buffers(memory: usize, files: u64) -> Arc<Buffers> {
        let settings = settings::Buffers {
            folder: std::env::temp_dir(),
            memory_bytes: memory as u64 * 2,
            files_bytes: files,
            request_memory_bytes: PositiveCount(memory),
            response_memory_bytes: PositiveCount(memory),
            response_file_bytes: files,
        };
        Arc::new(Buffers::new(&settings).unwrap())
    }

    fn in_use(buffers: &Buffers) -> (u64, u64) {
        (buffers.memory.used(), buffers.files.used())
    }

    fn drain(spool: &mut Spool) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(bytes) = spool.pop().unwrap() {
            out.extend_from_slice(&bytes);
        }
        out
    }

    proptest! {
        /// Whatever is added and taken, in whatever order, comes out as it went in, and nothing stays in use.
        #[test]
        fn bytes_come_out_as_they_went_in(steps in proptest::collection::vec((0_usize..300, any::<bool>()), 0..60)) {
            let buffers = buffers(500, 1 << 20);
            let mut spool = Spool::for_response(&buffers);
            let (mut expected, mut out, mut next) = (Vec::new(), Vec::new(), 0_u8);
            for (length, takes) in steps {
                let bytes: Vec<u8> = (0..length).map(|_| { next = next.wrapping_add(1); next }).collect();
                expected.extend_from_slice(&bytes);
                spool.push(bytes.into()).unwrap();
                if takes && let Some(bytes) = spool.pop().unwrap() {
                    out.extend_from_slice(&bytes);
                }
                prop_assert_eq!(spool.len(), (expected.len() - out.len()) as u64);
            }
            out.extend(drain(&mut spool));
            prop_assert_eq!(out, expected);
            prop_assert_eq!(in_use(&buffers), (0, 0));
        }
    }

    #[test]
    fn what_is_queued_is_bounded_and_given_back() {
        let buffers = buffers(10, 100);
        let mut spool = Spool::for_request(&buffers);
        spool.push(Bytes::from_static(b"0123456789")).unwrap();
        spool.push(Bytes::from(vec![b'x'; 100])).unwrap();
        assert_eq!(in_use(&buffers), (10, 100));
        assert!(!spool.has_room(1));
        assert!(matches!(spool.push(Bytes::from_static(b"y")), Err(SpoolError::Full)));
        drop(spool);
        assert_eq!(in_use(&buffers), (0, 0));
        // Strangers leave half of it to those who are known.
        let mut stranger = Spool::for_request(&buffers);
        stranger.of_stranger(true);
        assert!(matches!(stranger.push(Bytes::from(vec![b'x'; 51])), Err(SpoolError::Full)));
        stranger.push(Bytes::from(vec![b'x'; 50])).unwrap();
        assert_eq!(drain(&mut stranger).len(), 50);
        assert_eq!((in_use(&buffers), buffers.strangers.used()), ((0, 0), 0));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_found_out_at_start() {
        let settings = settings::Buffers { folder: "/nowhere/at/all".into(), ..settings::Buffers::default() };
        let message = Buffers::new(&settings).unwrap_err().to_string();
        assert!(message.contains("`/nowhere/at/all`") && message.contains("[buffers]"), "{message}");
    }
}
