//! Base64 as Python decodes it: Flask accepts spellings of a cookie that a strict decoder would refuse.

/// For each byte, the six bits that it encodes, or [`NOT_IN_ALPHABET`].
pub(super) type Base64Alphabet = [u8; 256];

const NOT_IN_ALPHABET: u8 = 0xff;

/// RFC 4648 section 4.
pub(super) const STANDARD: Base64Alphabet = base64_alphabet(false);

/// RFC 4648 section 5 and section 4 at once: `urlsafe_b64decode` translates the former and leaves the latter unchanged.
pub(super) const URL_SAFE: Base64Alphabet = base64_alphabet(true);

const fn base64_alphabet(url_safe: bool) -> Base64Alphabet {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut alphabet = [NOT_IN_ALPHABET; 256];
    let mut bits: u8 = 0;
    while bits < 64 {
        alphabet[letters[bits as usize] as usize] = bits;
        bits += 1;
    }
    if url_safe {
        alphabet[b'-' as usize] = 62;
        alphabet[b'_' as usize] = 63;
    }
    alphabet
}

/// Decodes base64 as CPython's `binascii.a2b_base64` does in its lenient mode, with `padding_behind` more `=` than
/// `spelling` has: bytes outside the alphabet are skipped, and decoding ends at the padding that completes a group.
///
/// `None` where Python raises `binascii.Error`: the last group has no padding, or only one character.
pub(super) fn decode_base64(
    spelling: &[u8],
    alphabet: &Base64Alphabet,
    padding_behind: usize,
) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(spelling.len() / 4 * 3 + 3);
    let mut group: u8 = 0;
    let mut held: usize = 0;
    let mut padding: usize = 0;
    for byte in spelling {
        if *byte == b'=' {
            padding += 1;
            if held >= 2 && held + padding >= 4 {
                return Some(decoded);
            }
            continue;
        }
        let bits = alphabet[usize::from(*byte)];
        if bits == NOT_IN_ALPHABET {
            continue;
        }
        padding = 0;
        match held {
            0 => {}
            1 => decoded.push(group << 2 | bits >> 4),
            2 => decoded.push(group << 4 | bits >> 2),
            _ => decoded.push(group << 6 | bits),
        }
        group = bits;
        held = (held + 1) % 4;
    }
    let complete = held == 0 || held >= 2 && held + padding + padding_behind >= 4;
    complete.then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_as_leniently_as_by_python() {
        for (spelling, decoded) in [
            ("QUI=", Some("AB")),
            ("Q!U\nI=", Some("AB")),
            ("QUI=QUI=", Some("AB")),
            ("QUI", None),
            ("Q", None),
            ("Q===", None),
            ("=QUI=", Some("AB")),
            ("QQ=U=I", Some("A\x05")),
            ("", Some("")),
        ] {
            let expected = decoded.map(|text| text.as_bytes().to_vec());
            assert_eq!(decode_base64(spelling.as_bytes(), &STANDARD, 0), expected, "{spelling}");
        }
        assert_eq!(decode_base64(b"__-_", &STANDARD, 0), Some(vec![]));
        assert_eq!(decode_base64(b"_-+/", &URL_SAFE, 0), decode_base64(b"/++/", &STANDARD, 0));
    }
}
