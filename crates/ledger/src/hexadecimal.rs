//! Lower-case hexadecimal only: one value has one spelling, so a changed letter is a change.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Two digits per byte.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    String::from_utf8(text).expect("digits are ASCII")
}

/// The bytes that `text` spells, if it spells exactly `N` bytes in lower case.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        assert_eq!(encode(&[0, 10, 255]), "000aff");
        assert_eq!(decode::<3>("000aff"), Some([0, 10, 255]));
        for refused in ["000AFF", "000af", "000aff0", "000aff00", "00 aff", "000afg", "é0aff"] {
            assert_eq!(decode::<3>(refused), None, "{refused}");
        }
    }
}
