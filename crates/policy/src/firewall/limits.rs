//! How much of a request the gate is willing to look at.

/// The sizes above which a request is refused. All in bytes but [`Limits::header_count`].
///
/// The total time for a head is the caller's to keep: this module never sees a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The request target, absolute form included. 414 above it. 8,000 is what RFC 9112 3 asks of everyone.
    pub target_bytes: usize,
    /// The whole head, blank line included. 431 above it.
    pub head_bytes: usize,
    /// The number of field lines. 431 above it. gunicorn takes 100, and the gate adds up to six.
    pub header_count: usize,
    /// One field: its name, the colon and its value. 431 above it.
    pub header_bytes: usize,
    /// The body. 413 above it. There is no value for "unlimited": `0` lets no body pass.
    ///
    /// Here only a declared length can be compared with it; the reader of a chunked body counts it.
    pub body_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            target_bytes: 8 * 1024,
            head_bytes: 32 * 1024,
            header_count: 94,
            header_bytes: 16 * 1024,
            body_bytes: 32 * 1024 * 1024,
        }
    }
}
