//! The chunked coding (RFC 9112 7.1), read as strictly as can be.

/// The data of a whole chunked body; nothing unless every size is plain hexadecimal without leading zeros, every line
/// ends in CRLF, the last chunk is there, and no extension, trailer or further byte is.
pub fn unchunk(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n")?;
        let written = std::str::from_utf8(&body[..end]).ok()?;
        let size = usize::from_str_radix(written, 16).ok()?;
        if !written.eq_ignore_ascii_case(&format!("{size:x}")) {
            return None;
        }
        body = &body[end + 2..];
        data.extend_from_slice(body.get(..size)?);
        body = body.get(size..)?.strip_prefix(b"\r\n")?;
        if size == 0 {
            return body.is_empty().then_some(data);
        }
    }
}
