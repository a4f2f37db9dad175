//! Finds the end of a response's head in a growing buffer.

use memchr::memchr;

use super::ResponseFault;

/// The longest head that is accepted, in bytes, including the blank line.
const HEAD_BYTES: usize = 64 * 1024;

/// A search for the end of a head that remembers its position.
#[derive(Debug, Default)]
pub struct ResponseSearch {
    /// Where the line that is being searched begins.
    line_start: usize,
    /// There is no unexamined line feed before this position.
    searched: usize,
}

impl ResponseSearch {
    /// Examines the bytes added to `buffer`, and returns the length of the head once it is complete. Between two calls
    /// the buffer may only grow.
    ///
    /// # Errors
    ///
    /// No continuation can make this a head.
    pub fn advance(&mut self, buffer: &[u8]) -> Result<Option<usize>, ResponseFault> {
        // Bytes that cannot begin a response are refused at once, without waiting for more.
        if !b"HTTP/1.".starts_with(&buffer[..buffer.len().min(7)]) {
            return Err(ResponseFault::StatusLine);
        }
        while let Some(offset) = memchr(b'\n', &buffer[self.searched..]) {
            let line_feed = self.searched + offset;
            let line =
                buffer[self.line_start..line_feed].strip_suffix(b"\r").ok_or(ResponseFault::BareLineFeed)?;
            self.searched = line_feed + 1;
            self.line_start = self.searched;
            if self.searched > HEAD_BYTES {
                return Err(ResponseFault::HeadTooLarge);
            }
            if line.is_empty() {
                return Ok(Some(self.searched));
            }
        }
        self.searched = buffer.len();
        if buffer.len() > HEAD_BYTES { Err(ResponseFault::HeadTooLarge) } else { Ok(None) }
    }
}
