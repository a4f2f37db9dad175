//! The facts that a search needs about the digits of a number: on which side of each limit its value lies.
//!
//! A number has infinitely many values, but there are only finitely many places between the limits that the rows set
//! for it.

use std::cmp::Ordering;

use crate::mapping::converter::{Converter, FloatRange, IntegerRange};

/// The limits that some rows set for one variable.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    values: Vec<Decimal>,
    /// The greatest number of characters that a row requires (`fixed_digits`).
    length: u32,
}

/// A limit, as digits without zeros at either end.
#[derive(Clone, Debug, PartialEq)]
struct Decimal {
    whole: Vec<u8>,
    fraction: Vec<u8>,
}

/// The requirements of one row for the variable. The values are indices into those of its [`Limits`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Range {
    min: Option<usize>,
    max: Option<usize>,
    length: Option<u32>,
}

/// A number, as far as it has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Number {
    negative: bool,
    /// Whether a digit other than zero has been read.
    not_zero: bool,
    /// Characters, counted up to one more than any row requires.
    length: u32,
    /// Digits from the first nonzero one, counted up to one more than any limit has.
    whole: usize,
    /// Digits after the point, counted up to as many as any limit has; `None` before the point.
    fraction: Option<usize>,
    /// How the digits read so far compare with the same number of digits of each limit.
    orders: Vec<Ordering>,
}

impl Limits {
    /// Adds the requirements of a row; `None` if its variable has no limits.
    pub(super) fn range(&mut self, converter: &Converter) -> Option<Range> {
        let range = match converter {
            Converter::Int(IntegerRange { fixed_digits, min, max, .. }) => Range {
                min: min.map(|min| self.value(&min.to_string())),
                max: max.map(|max| self.value(&max.to_string())),
                length: *fixed_digits,
            },
            Converter::Float(FloatRange { min, max, .. }) => Range {
                min: min.map(|min| self.value(&min.to_string())),
                max: max.map(|max| self.value(&max.to_string())),
                length: None,
            },
            _ => return None,
        };
        self.length = self.length.max(range.length.unwrap_or(0));
        (range != Range::default()).then_some(range)
    }

    /// A number before anything has been read.
    pub(super) fn start(&self) -> Number {
        Number { orders: vec![Ordering::Equal; self.values.len()], ..Number::default() }
    }

    fn value(&mut self, text: &str) -> usize {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().map(|digit| digit - b'0').collect();
        let value = Decimal {
            whole: digits(whole.trim_start_matches('0')),
            fraction: digits(fraction.trim_end_matches('0')),
        };
        self.values.iter().position(|known| *known == value).unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        })
    }
}

impl Number {
    /// Reads a sign, a digit or the point.
    pub(super) fn read(&mut self, character: char, limits: &Limits) {
        self.length = (self.length + 1).min(limits.length + 1);
        match character.to_digit(10) {
            Some(digit) => self.digit(digit, limits),
            None if character == '-' => self.negative = true,
            None => {
                // From here on, an order summarizes all digits before the point.
                self.orders = self.compare_all(limits);
                self.whole = 0;
                self.fraction = Some(0);
            }
        }
    }

    /// Whether a row accepts the number, once it has been read.
    pub(super) fn is_within(&self, range: &Range, limits: &Limits) -> bool {
        let orders = self.compare_all(limits);
        // Limits have no sign: a value less than zero is less than any of them.
        let order =
            |limit: usize| if self.negative && self.not_zero { Ordering::Less } else { orders[limit] };
        range.length.is_none_or(|length| self.length == length)
            && range.min.is_none_or(|min| order(min).is_ge())
            && range.max.is_none_or(|max| order(max).is_le())
    }

    fn digit(&mut self, digit: u32, limits: &Limits) {
        self.not_zero |= digit > 0;
        if let Some(place) = self.fraction {
            for (order, limit) in self.orders.iter_mut().zip(&limits.values) {
                let expected = limit.fraction.get(place).copied().unwrap_or(0);
                *order = order.then(digit.cmp(&u32::from(expected)));
            }
            let longest = limits.values.iter().map(|limit| limit.fraction.len()).max().unwrap_or(0);
            self.fraction = Some((place + 1).min(longest));
        } else if self.not_zero {
            for (order, limit) in self.orders.iter_mut().zip(&limits.values) {
                *order = match limit.whole.get(self.whole) {
                    Some(expected) => order.then(digit.cmp(&u32::from(*expected))),
                    // The number has more digits than the limit; that alone decides which is greater.
                    None => Ordering::Equal,
                };
            }
            let longest = limits.values.iter().map(|limit| limit.whole.len()).max().unwrap_or(0);
            self.whole = (self.whole + 1).min(longest + 1);
        }
    }

    /// How the number compares with each limit if no digit follows, ignoring the sign.
    fn compare_all(&self, limits: &Limits) -> Vec<Ordering> {
        let compare = |(order, limit): (&Ordering, &Decimal)| match self.fraction {
            None => self.whole.cmp(&limit.whole.len()).then(*order),
            Some(place) if place < limit.fraction.len() => order.then(Ordering::Less),
            Some(_) => *order,
        };
        self.orders.iter().zip(&limits.values).map(compare).collect()
    }
}
