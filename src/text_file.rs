//! Text files that people name: settings, mappings, lists.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, access};
use tempfile::NamedTempFile;

/// How long a pipe may be silent before its first byte.
const PIPE: Duration = Duration::from_secs(5);
/// Between two looks into a pipe.
const AGAIN: Duration = Duration::from_millis(10);

/// The text of a file, or of a pipe such as `<(make-routes)`.
///
/// # Errors
///
/// It cannot be read; it is a pipe that nothing writes to; or it is not UTF-8, and the error names the line.
pub fn read(path: &Path) -> io::Result<String> {
    read_within(path, PIPE)
}

fn read_within(path: &Path, silence: Duration) -> io::Result<String> {
    // Opening a pipe would wait for a writer, which may never come.
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let bytes = match file.metadata()?.file_type().is_fifo() {
        true => read_pipe(file, silence)?,
        false => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            bytes
        }
    };
    String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        let (before, byte) = (&error.as_bytes()[..start], error.as_bytes()[start]);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = format!("line {line} is not UTF-8 (byte 0x{byte:02x}): save the file as UTF-8");
        io::Error::new(ErrorKind::InvalidData, message)
    })
}

/// Everything that comes through a pipe. Before the first byte, an end may mean that the writer is yet to come.
fn read_pipe(mut pipe: File, silence: Duration) -> io::Result<Vec<u8>> {
    let (began, mut bytes, mut part) = (Instant::now(), Vec::new(), [0; 8_192]);
    loop {
        match pipe.read(&mut part) {
            Ok(0) if bytes.is_empty() => {}
            Ok(0) => return Ok(bytes),
            Ok(count) => {
                bytes.extend_from_slice(&part[..count]);
                continue;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        if bytes.is_empty() && began.elapsed() > silence {
            return Err(io::Error::new(ErrorKind::TimedOut, "it is a pipe, into which nothing writes"));
        }
        sleep(AGAIN);
    }
}

/// A text that is whole on the disk, beside the file that it is to replace. Dropped, it is removed.
pub struct Replacement {
    text: NamedTempFile,
    target: PathBuf,
}

impl Replacement {
    /// Writes a text beside a file, with the file's owner and mode. A symlink stays a symlink: its target is replaced.
    ///
    /// # Errors
    ///
    /// The file does not exist, or its folder cannot be written.
    pub fn prepare(file: &Path, text: &str) -> io::Result<Replacement> {
        let target = file.canonicalize()?;
        let kind = std::fs::metadata(&target)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut new =
            tempfile::Builder::new().prefix(&format!("{name}.new-")).tempfile_in(folder_of(&target))?;
        let own = new.as_file().metadata()?;
        if (own.uid(), own.gid()) != (kind.uid(), kind.gid()) {
            fchown(new.as_file(), Some(kind.uid()), Some(kind.gid()))?;
        }
        new.as_file().set_permissions(kind.permissions())?;
        new.write_all(text.as_bytes())?;
        new.as_file().sync_all()?;
        Ok(Replacement { text: new, target })
    }

    /// Puts it in the file's place, in one step.
    ///
    /// # Errors
    ///
    /// The folder cannot be written.
    pub fn put(self) -> io::Result<()> {
        self.text.persist(&self.target).map_err(|failed| failed.error)?;
        File::open(folder_of(&self.target))?.sync_all()
    }
}

/// Whether this process may replace a file. The answer is of now: replacing it may fail all the same.
pub fn is_replaceable(file: &Path) -> bool {
    file.canonicalize().is_ok_and(|target| access(folder_of(&target), AccessFlags::W_OK).is_ok())
}

/// Waits until no other process replaces files of this file's folder; until it is dropped, none does that asks.
///
/// # Errors
///
/// The file or its folder cannot be read.
pub fn lock_folder_of(file: &Path) -> io::Result<File> {
    let folder = File::open(folder_of(&file.canonicalize()?))?;
    folder.lock()?;
    Ok(folder)
}

fn folder_of(target: &Path) -> &Path {
    target.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_through_a_symlink() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "old").unwrap();
        std::fs::set_permissions(path("file"), std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        assert!(is_replaceable(&path("link")) && !is_replaceable(&path("none")));
        drop(Replacement::prepare(&path("link"), "never").unwrap());
        assert_eq!(read(&path("file")).unwrap(), "old");
        let _lock = lock_folder_of(&path("link")).unwrap();
        Replacement::prepare(&path("link"), "new").unwrap().put().unwrap();
        assert_eq!(read(&path("file")).unwrap(), "new");
        assert_eq!(std::fs::metadata(path("file")).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(std::fs::symlink_metadata(path("link")).unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_text_says_why_and_a_pipe_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let fails = |name: &str| read_within(&path(name), AGAIN).unwrap_err().to_string();
        std::fs::write(path("sound"), "caf\u{e9}\n").unwrap();
        assert_eq!(read(&path("sound")).unwrap(), "caf\u{e9}\n");
        std::fs::write(path("latin"), b"version = 1\n# caf\xe9\n").unwrap();
        assert_eq!(fails("latin"), "line 2 is not UTF-8 (byte 0xe9): save the file as UTF-8");
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        assert_eq!(fails("pipe"), "it is a pipe, into which nothing writes");
        let pipe = path("pipe");
        let writing = std::thread::spawn(move || {
            File::options().write(true).open(pipe).unwrap().write_all(&[b'x'; 200_000]).unwrap();
        });
        assert_eq!(read(&path("pipe")).unwrap().len(), 200_000);
        writing.join().unwrap();
        assert!(fails("nothing").contains("No such file"));
    }
}
