//! A single value of a JSON body, compared with the text of a rule.
//!
//! Console compares with Python's `==`, for which `30`, `30.0` and `3e1` are equal, and `1` and `true` too. A rule
//! compares texts. The two agree as long as each number has only one spelling. Where they would not agree, the answer
//! is neither yes nor no.

/// A value in its only spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    Text(String),
    Flag(bool),
    /// The canonical spelling of a number: no exponent, no zero that could be left out, no `-0`.
    Number(String),
}

impl Scalar {
    /// The number with this spelling in a JSON text; `None` unless it is the canonical one.
    pub fn number(spelling: &str) -> Option<Scalar> {
        is_canonical(spelling).then(|| Scalar::Number(spelling.to_owned()))
    }

    /// Whether this is the value that a rule names; `None` if the text differs but the value is the same to Python.
    pub fn is(&self, equals: &str) -> Option<bool> {
        let (text, number) = match self {
            Scalar::Text(text) => return Some(text == equals),
            Scalar::Flag(flag) => (flag_word(*flag), Some(f64::from(u8::from(*flag)))),
            Scalar::Number(spelling) => (spelling.as_str(), spelling.parse().ok()),
        };
        if text == equals {
            return Some(true);
        }
        // Two canonical spellings are two numbers, however little they differ.
        let are_two_numbers = matches!(self, Scalar::Number(_)) && is_canonical(equals);
        let may_be_same = !are_two_numbers && number.is_some() && number == number_of(equals);
        (!may_be_same).then_some(false)
    }

    /// The numbers and truth values that Python considers equal to what this text spells.
    pub fn like(equals: &str) -> Vec<Scalar> {
        let Some(number) = number_of(equals) else { return Vec::new() };
        let flags = [false, true].into_iter().filter(|flag| f64::from(u8::from(*flag)) == number);
        // Plus zero, because of minus zero.
        flags.map(Scalar::Flag).chain(Scalar::number(&(number + 0.0).to_string())).collect()
    }
}

const fn flag_word(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

/// The number that a text spells, to Python or in JSON: `True` is 1.
fn number_of(text: &str) -> Option<f64> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(1.0),
        "false" => Some(0.0),
        other => other.parse().ok(),
    }
}

/// An integer of any length, or a fraction in the shortest form that reads back as the same number.
fn is_canonical(spelling: &str) -> bool {
    let digits = spelling.strip_prefix('-').unwrap_or(spelling);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return spelling != "-0" && (digits == "0" || !digits.starts_with('0'));
    }
    // The shortest form of a number without a fraction has no dot, so `30.0` is not canonical.
    digits.contains('.') && spelling.parse::<f64>().is_ok_and(|number| number.to_string() == spelling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        for spelling in [
            "0",
            "30",
            "-7",
            "1.5",
            "-0.25",
            "0.0000001",
            "18446744073709551616",
            "123456789012345678901234567890",
        ] {
            assert!(Scalar::number(spelling).is_some(), "{spelling}");
        }
        for spelling in [
            "30.0",
            "3e1",
            "3E1",
            "30e0",
            "1.50",
            "-0",
            "-0.0",
            "0.0",
            "1e400",
            "30.00000000000000000001",
            "007",
            "+1",
            ".5",
            "5.",
            "",
            "-",
            "inf",
            "NaN",
        ] {
            assert!(Scalar::number(spelling).is_none(), "{spelling}");
        }
    }

    /// As Python's `==` has it, or neither.
    #[test]
    fn a_value_is_compared_as_python_would_or_not_at_all() {
        let number = |spelling: &str| Scalar::number(spelling).unwrap();
        let text = |text: &str| Scalar::Text(text.to_owned());
        let table = [
            (number("30"), "30", Some(true)),
            (number("31"), "30", Some(false)),
            (number("30"), "prod", Some(false)),
            (number("1.5"), "1.5", Some(true)),
            (number("1.5"), "1.50", None),
            (number("30"), "30.0", None),
            (number("30"), "3e1", None),
            (number("30"), " 30", None),
            (number("31"), "30.0", Some(false)),
            // As floats they are the same, as integers not.
            (number("18446744073709551616"), "18446744073709551617", Some(false)),
            (number("18446744073709551616"), "18446744073709551616", Some(true)),
            (number("100000000000000000000"), "1e20", None),
            (Scalar::Flag(true), "true", Some(true)),
            (Scalar::Flag(true), "false", Some(false)),
            (Scalar::Flag(true), "True", None),
            (Scalar::Flag(true), "1", None),
            (Scalar::Flag(false), "0", None),
            (Scalar::Flag(false), "0.0", None),
            (Scalar::Flag(true), "0", Some(false)),
            (Scalar::Flag(true), "prod", Some(false)),
            (number("1"), "true", None),
            (number("0"), "false", None),
            (number("2"), "true", Some(false)),
            // Texts are equal or not.
            (text("30"), "30", Some(true)),
            (text("30.0"), "30", Some(false)),
            (text("true"), "true", Some(true)),
            (text("True"), "true", Some(false)),
            (text("1"), "true", Some(false)),
        ];
        for (value, equals, expected) in table {
            assert_eq!(value.is(equals), expected, "{value:?} {equals}");
        }
    }

    /// Every value that a comparison with this text cannot settle is among those that are like it.
    #[test]
    fn what_is_not_settled_is_listed() {
        let values: Vec<Scalar> = ["0", "1", "2", "30", "1.5", "100000000000000000000"]
            .into_iter()
            .filter_map(Scalar::number)
            .chain([Scalar::Flag(false), Scalar::Flag(true)])
            .collect();
        for equals in [
            "0", "1", "true", "True", "false", "1.0", "30", "3e1", "1.50", "1e20", "prod", "-0", "nan", "inf",
        ] {
            for value in values.iter().filter(|value| value.is(equals).is_none()) {
                assert!(Scalar::like(equals).contains(value), "{value:?} {equals}");
            }
        }
    }
}
