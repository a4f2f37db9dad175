//! Text files that people name: settings, mappings, lists.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

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
