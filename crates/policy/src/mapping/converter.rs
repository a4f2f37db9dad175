//! The converters of URL variables: what `<int:id>` or `<any(daily,weekly):kind>` accepts.
//!
//! Source: `werkzeug.routing.converters`, Werkzeug 3.1. As there, two questions are separate: whether the *text* fits
//! ([`Converter::fits`], Werkzeug's `regex`), which steers the search for a rule, and whether the *value* is in range
//! ([`Converter::converts`], Werkzeug's `to_python`), which ends the search without a match.

mod arguments;
mod digits;

use std::fmt;
use std::ops::Range;

use self::arguments::{Argument, Bound};
use self::digits::digit_class;
pub use self::digits::digit_value;
use crate::mapping::pattern_error::{PatternError, PatternProblem, unreachable_character};

/// The names under which Flask knows its converters.
const NAMES: [&str; 7] = ["string", "int", "float", "path", "uuid", "any", "default"];

/// Python refuses to read longer decimals (`sys.int_info.default_max_str_digits`).
const MAX_INTEGER_DIGITS: usize = 4300;

/// A converter with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum Converter {
    /// `string`, also `default` and no converter at all: any text without a slash.
    String(Length),
    /// `int`: decimal digits.
    Int(IntegerRange),
    /// `float`: digits, a point, digits.
    Float(FloatRange),
    /// `path`: any text that does not begin with a slash; it may contain slashes, but no line feed.
    Path,
    /// `uuid`: 32 hexadecimal digits in the usual five groups.
    Uuid,
    /// `any`: one of the items. There is at least one item, and no item is empty or contains a slash.
    Any(Vec<Box<str>>),
}

/// How long a `string` may be, in characters (Unicode scalar values, as in Python).
///
/// `{2}` and `{2,2}` are different to Werkzeug: it distinguishes rules by the text of their regex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// `length`: exactly this many; at least 1.
    Exactly(u32),
    /// `minlength` (at least 1) and `maxlength` (no bound if absent).
    Between(u32, Option<u32>),
}

/// The arguments of `int`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntegerRange {
    /// The exact number of characters, including a sign.
    pub fixed_digits: Option<u32>,
    /// The least value.
    pub min: Option<u64>,
    /// The greatest value.
    pub max: Option<u64>,
    /// Whether a `-` may come first.
    pub signed: bool,
}

/// The arguments of `float`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FloatRange {
    /// The least value.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
    /// Whether a `-` may come first.
    pub signed: bool,
}

impl Converter {
    /// The converter of a variable without one (`<id>`).
    pub const DEFAULT: Converter = Converter::String(Length::Between(1, None));

    /// Reads a converter. `name_at` and `arguments_at` are the places where the texts begin in the pattern.
    ///
    /// # Errors
    ///
    /// An unknown converter, and every argument that Werkzeug refuses, silently misreads, or crashes on when a request
    /// arrives.
    pub fn parse(
        name: &str,
        name_at: usize,
        arguments: &str,
        arguments_at: usize,
    ) -> Result<Converter, PatternError> {
        let arguments = arguments::scan(arguments, arguments_at)?;
        match name {
            "string" | "default" => string(arguments),
            "int" => integer(arguments),
            "float" => float(arguments),
            "path" => Bound::new("path", &[], arguments).map(|_| Converter::Path),
            "uuid" => Bound::new("uuid", &[], arguments).map(|_| Converter::Uuid),
            "any" => any(&arguments, name_at..name_at + name.len()),
            _ => {
                let problem = PatternProblem::UnknownConverter(name.to_owned());
                let span = name_at..name_at + name.len();
                Err(PatternError::new(problem, span).suggest_name(name, &NAMES))
            }
        }
    }

    /// Werkzeug's `weight`: the lighter converter is tried first.
    pub fn weight(&self) -> u32 {
        match self {
            Converter::Int(_) | Converter::Float(_) => 50,
            Converter::String(_) | Converter::Uuid | Converter::Any(_) => 100,
            Converter::Path => 200,
        }
    }

    /// Whether a value may extend across slashes, so that the rest of the pattern is one part with it (the opposite of
    /// Werkzeug's `part_isolating`).
    pub fn crosses_slashes(&self) -> bool {
        matches!(self, Converter::Path)
    }

    /// Whether the whole of `text` matches the converter's regex. For a converter that does not [cross
    /// slashes](Converter::crosses_slashes), `text` must not contain any, as no segment does.
    pub fn fits(&self, text: &str) -> bool {
        match self {
            Converter::String(length) => length.fits(text),
            Converter::Int(range) => is_digits(unsigned(text, range.signed)),
            Converter::Float(range) => unsigned(text, range.signed)
                .split_once('.')
                .is_some_and(|(whole, fraction)| is_digits(whole) && is_digits(fraction)),
            // `[^/].*?`, and Python's `.` is any character but a line feed.
            Converter::Path => {
                let mut characters = text.chars();
                characters.next().is_some_and(|first| first != '/') && !characters.as_str().contains('\n')
            }
            Converter::Uuid => is_uuid(text),
            Converter::Any(items) => items.iter().any(|item| **item == *text),
        }
    }

    /// Whether `to_python` accepts a text that [fits](Converter::fits). If not, Werkzeug answers as if there were no
    /// rule at all, and does not try the next one.
    pub fn converts(&self, text: &str) -> bool {
        match self {
            Converter::Int(range) => range.contains(text),
            Converter::Float(range) => range.contains(text),
            Converter::String(_) | Converter::Path | Converter::Uuid | Converter::Any(_) => true,
        }
    }

    /// Werkzeug's regex, for parts that contain more than one converter.
    pub fn regex(&self) -> String {
        let sign = |signed| if signed { "-?" } else { "" };
        match self {
            Converter::String(Length::Exactly(length)) => format!("[^/]{{{length}}}"),
            Converter::String(Length::Between(min, Some(max))) => format!("[^/]{{{min},{max}}}"),
            Converter::String(Length::Between(min, None)) => format!("[^/]{{{min},}}"),
            Converter::Int(range) => format!("{}{}+", sign(range.signed), digit_class()),
            Converter::Float(range) => format!(r"{}{1}+\.{1}+", sign(range.signed), digit_class()),
            Converter::Path => "[^/].*?".to_owned(),
            Converter::Uuid => "[A-Fa-f0-9]{8}-(?:[A-Fa-f0-9]{4}-){3}[A-Fa-f0-9]{12}".to_owned(),
            Converter::Any(items) => {
                let items: Vec<String> = items.iter().map(|item| regex::escape(item)).collect();
                format!("(?:{})", items.join("|"))
            }
        }
    }
}

/// Writes the properties by which Werkzeug's search distinguishes converters: the regex, not the range of values.
impl fmt::Display for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = |signed| if signed { "(signed)" } else { "" };
        match self {
            Converter::String(Length::Exactly(length)) => write!(f, "<string({length})>"),
            Converter::String(Length::Between(1, None)) => f.write_str("<string>"),
            Converter::String(Length::Between(min, None)) => write!(f, "<string({min},)>"),
            Converter::String(Length::Between(min, Some(max))) => write!(f, "<string({min},{max})>"),
            Converter::Int(range) => write!(f, "<int{}>", signed(range.signed)),
            Converter::Float(range) => write!(f, "<float{}>", signed(range.signed)),
            Converter::Path => f.write_str("<path>"),
            Converter::Uuid => f.write_str("<uuid>"),
            // Quoted, so that one item cannot be mistaken for two.
            Converter::Any(items) => write!(f, "<any{items:?}>"),
        }
    }
}

impl Length {
    fn fits(self, text: &str) -> bool {
        match self {
            Length::Between(1, None) => !text.is_empty(),
            Length::Between(min, max) => {
                let length = text.chars().count();
                length >= min as usize && max.is_none_or(|max| length <= max as usize)
            }
            Length::Exactly(exact) => text.chars().count() == exact as usize,
        }
    }
}

impl IntegerRange {
    fn contains(&self, text: &str) -> bool {
        let digits = unsigned(text, self.signed);
        if self.fixed_digits.is_some_and(|fixed| text.chars().count() != fixed as usize)
            || digits.chars().count() > MAX_INTEGER_DIGITS
        {
            return false;
        }
        // Saturating is exact enough: the limits are at most 64 bits wide.
        let magnitude = digits
            .chars()
            .filter_map(digit_value)
            .fold(0_i128, |value, digit| value.saturating_mul(10).saturating_add(i128::from(digit)));
        let value = if digits.len() < text.len() { -magnitude } else { magnitude };
        self.min.is_none_or(|min| value >= i128::from(min))
            && self.max.is_none_or(|max| value <= i128::from(max))
    }
}

impl FloatRange {
    fn contains(&self, text: &str) -> bool {
        let ascii = |character| {
            digit_value(character).and_then(|value| char::from_digit(value, 10)).unwrap_or(character)
        };
        let value = if text.is_ascii() {
            text.parse::<f64>()
        } else {
            text.chars().map(ascii).collect::<String>().parse()
        };
        value.is_ok_and(|value| {
            self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
        })
    }
}

fn unsigned(text: &str, signed: bool) -> &str {
    if signed { text.strip_prefix('-').unwrap_or(text) } else { text }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| digit_value(character).is_some())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn string(arguments: Vec<Argument<'_>>) -> Result<Converter, PatternError> {
    let bound = Bound::new("string", &["minlength", "maxlength", "length"], arguments)?;
    let min = bound.length("minlength")?.unwrap_or(1);
    let max = bound.length("maxlength")?;
    let exact = bound.length("length")?;
    for (parameter, length) in [("minlength", Some(min)), ("maxlength", max), ("length", exact)] {
        if length == Some(0) {
            // It would match the empty segment, which is a trailing slash.
            return Err(bound.out_of_range(parameter, "at least 1"));
        }
    }
    if max.is_some_and(|max| max < min) {
        return Err(bound.out_of_range("maxlength", "at least `minlength`"));
    }
    // Werkzeug ignores the other two when `length` is given.
    Ok(Converter::String(exact.map_or(Length::Between(min, max), Length::Exactly)))
}

fn integer(arguments: Vec<Argument<'_>>) -> Result<Converter, PatternError> {
    let bound = Bound::new("int", &["fixed_digits", "min", "max", "signed"], arguments)?;
    let range = IntegerRange {
        // Zero is Werkzeug's default, "not fixed".
        fixed_digits: bound.length("fixed_digits")?.filter(|digits| *digits != 0),
        min: bound.integer("min")?,
        max: bound.integer("max")?,
        signed: bound.flag("signed")?,
    };
    match (range.min, range.max) {
        (Some(min), Some(max)) if max < min => Err(bound.out_of_range("max", "at least `min`")),
        _ => Ok(Converter::Int(range)),
    }
}

fn float(arguments: Vec<Argument<'_>>) -> Result<Converter, PatternError> {
    let bound = Bound::new("float", &["min", "max", "signed"], arguments)?;
    let range =
        FloatRange { min: bound.number("min")?, max: bound.number("max")?, signed: bound.flag("signed")? };
    match (range.min, range.max) {
        (Some(min), Some(max)) if max < min => Err(bound.out_of_range("max", "at least `min`")),
        _ => Ok(Converter::Float(range)),
    }
}

fn any(arguments: &[Argument<'_>], name: Range<usize>) -> Result<Converter, PatternError> {
    if arguments.is_empty() {
        return Err(PatternError::new(PatternProblem::EmptyAny, name));
    }
    let items = arguments.iter().map(any_item).collect::<Result<_, _>>()?;
    Ok(Converter::Any(items))
}

fn any_item(argument: &Argument<'_>) -> Result<Box<str>, PatternError> {
    let item = argument.item()?;
    let refuse = |problem| Err(PatternError::new(problem, argument.span()));
    match item {
        "" => refuse(PatternProblem::EmptyAny),
        "." | ".." => refuse(PatternProblem::DotSegment(item.to_owned())),
        // `any` is confined to one segment, and a segment contains no slash.
        _ if item.contains('/') => refuse(PatternProblem::UnreachableCharacter('/')),
        _ => match unreachable_character(item) {
            Some((_, character)) => refuse(PatternProblem::UnreachableCharacter(character)),
            None => Ok(item.into()),
        },
    }
}
