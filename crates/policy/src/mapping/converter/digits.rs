//! Decimal digits as Python's `\d` and `int` see them.

/// The zeros of the decimal digits outside ASCII, in order; the nine characters after each are 1 to 9.
///
/// Source: general category Nd in Unicode 14, the version of Python 3.11. Digits that later versions of Unicode add
/// make no difference to the gate: its request firewall refuses every digit outside ASCII.
#[rustfmt::skip]
const ZEROS: [char; 65] = [
    '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}',
    '\u{be6}', '\u{c66}', '\u{ce6}', '\u{d66}', '\u{de6}', '\u{e50}', '\u{ed0}', '\u{f20}',
    '\u{1040}', '\u{1090}', '\u{17e0}', '\u{1810}', '\u{1946}', '\u{19d0}', '\u{1a80}', '\u{1a90}',
    '\u{1b50}', '\u{1bb0}', '\u{1c40}', '\u{1c50}', '\u{a620}', '\u{a8d0}', '\u{a900}', '\u{a9d0}',
    '\u{a9f0}', '\u{aa50}', '\u{abf0}', '\u{ff10}', '\u{104a0}', '\u{10d30}', '\u{11066}', '\u{110f0}',
    '\u{11136}', '\u{111d0}', '\u{112f0}', '\u{11450}', '\u{114d0}', '\u{11650}', '\u{116c0}', '\u{11730}',
    '\u{118e0}', '\u{11950}', '\u{11c50}', '\u{11d50}', '\u{11da0}', '\u{16a60}', '\u{16ac0}', '\u{16b50}',
    '\u{1d7ce}', '\u{1d7d8}', '\u{1d7e2}', '\u{1d7ec}', '\u{1d7f6}', '\u{1e140}', '\u{1e2f0}', '\u{1e950}',
    '\u{1fbf0}',
];

/// The value of a decimal digit of any script (Python's `unicodedata.decimal`).
pub fn digit_value(character: char) -> Option<u32> {
    if character.is_ascii() {
        return character.to_digit(10);
    }
    let after = ZEROS.partition_point(|zero| *zero <= character);
    let zero = *ZEROS.get(after.checked_sub(1)?)?;
    let value = character as u32 - zero as u32;
    (value < 10).then_some(value)
}

/// The regular expression of one such digit: Python's `\d`, pinned to the same table.
pub(super) fn digit_class() -> String {
    let mut class = String::from("[0-9");
    for zero in ZEROS {
        let zero = zero as u32;
        class.push_str(&format!(r"\x{{{:x}}}-\x{{{:x}}}", zero, zero + 9));
    }
    class.push(']');
    class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_every_script_have_their_value() {
        for (character, value) in
            [('0', Some(0)), ('9', Some(9)), ('٤', Some(4)), ('𝟝', Some(5)), ('๙', Some(9))]
        {
            assert_eq!(digit_value(character), value, "{character}");
        }
    }

    #[test]
    fn what_only_looks_like_a_digit_is_none() {
        for character in ['a', '/', ':', '²', '½', '五', 'Ⅷ', '①', '\u{66a}', '\u{80}', '\u{10ffff}'] {
            assert_eq!(digit_value(character), None, "{character}");
        }
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(ZEROS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
