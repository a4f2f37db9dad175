//! The limits on a request's size.

/// The sizes above which a request is refused. All are in bytes except [`Limits::header_count`].
///
/// The caller limits the total time for a head: this module has no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The request target, including the absolute form. 414 above it. RFC 9112 3 recommends that everyone supports
    /// 8,000.
    pub target_bytes: usize,
    /// The whole head, including the blank line. 431 above it.
    pub head_bytes: usize,
    /// The number of field lines. 431 above it. gunicorn takes 100, and the gate adds up to six.
    pub header_count: usize,
    /// One field: its name, the colon and its value. 431 above it.
    pub header_bytes: usize,
    /// The body. 413 above it. There is no value for "unlimited": `0` lets no body pass.
    ///
    /// Here only a declared length can be compared with it; the reader of a chunked body counts the bytes.
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
