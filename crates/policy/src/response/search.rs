//! Finding the end of a response's head in a buffer that grows.

use memchr::memchr;

use super::ResponseFault;

/// The longest head that is taken, in bytes, blank line included.
const HEAD_BYTES: usize = 64 * 1024;

/// A search for the end of a head that remembers how far it has looked.
#[derive(Debug, Default)]
pub struct ResponseSearch {
    /// Where the line that is being searched begins.
    line_start: usize,
    /// Up to where there is no line feed that was not looked at.
    searched: usize,
}

impl ResponseSearch {
    /// Looks at what `buffer` has gained, and gives the length of the head once it is complete. Between two calls the
    /// buffer may only grow.
    ///
    /// # Errors
    ///
    /// No continuation can make this a head.
    pub fn advance(&mut self, buffer: &[u8]) -> Result<Option<usize>, ResponseFault> {
        // What is no response at all is not waited for.
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
