//! Bytes as hexadecimal digits.

/// Two lower-case hexadecimal digits for each byte.
pub fn lower(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = bytes.as_ref();
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_written_as_the_formatter_writes_it() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(lower(&all), all.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        assert_eq!(lower([]), "");
    }
}
