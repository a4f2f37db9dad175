//! The arguments in `<converter(arguments):name>`.
//!
//! Source: `werkzeug.routing.rules.parse_converter_args`. Only input that this function reads in the obvious way is
//! accepted: it ignores trailing garbage, reads `2,3` as one value, and guesses types by trying them.

use std::ops::Range;

use crate::mapping::pattern_error::{PatternError, PatternProblem};

/// One argument as written.
#[derive(Clone, Debug)]
pub(super) struct Argument<'t> {
    name: Option<&'t str>,
    value: Value<'t>,
    span: Range<usize>,
}

/// An argument's value before its type is known.
#[derive(Clone, Copy, Debug)]
enum Value<'t> {
    Quoted(&'t str),
    Word(&'t str),
}

impl Argument<'_> {
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The text that Werkzeug passes to `any`.
    ///
    /// # Errors
    ///
    /// The argument has a name, or Python reads the bare word as a number or a constant.
    pub(super) fn item(&self) -> Result<&str, PatternError> {
        if let Some(name) = self.name {
            let argument = name.to_owned();
            let problem = PatternProblem::UnknownArgument { converter: "any", argument };
            return Err(PatternError::new(problem, self.span()));
        }
        match self.value {
            Value::Quoted(text) => Ok(text),
            Value::Word(word) if !is_python_literal(word) => Ok(word),
            Value::Word(word) => {
                Err(PatternError::new(PatternProblem::UnquotedItem(word.to_owned()), self.span())
                    .suggest(format!("write `\"{word}\"`")))
            }
        }
    }
}

/// Whether Python's `int` or `float` might accept the word, or the word names a constant. If in doubt, true.
fn is_python_literal(word: &str) -> bool {
    let numeric = word.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && word.bytes().all(|byte| byte.is_ascii_digit() || b"._eE".contains(&byte));
    let constant = matches!(word, "True" | "False" | "None");
    numeric || constant || ["inf", "infinity", "nan"].iter().any(|name| word.eq_ignore_ascii_case(name))
}

/// Splits the text between the parentheses; `offset` is where it begins in the pattern.
pub(super) fn scan(text: &str, offset: usize) -> Result<Vec<Argument<'_>>, PatternError> {
    let mut scanner = Scanner { text, offset, position: 0 };
    let mut arguments = Vec::new();
    scanner.skip_spaces();
    if scanner.rest().is_empty() {
        return Ok(arguments);
    }
    loop {
        arguments.push(scanner.argument()?);
        if scanner.rest().is_empty() {
            return Ok(arguments);
        }
        if !scanner.skip(',') {
            return Err(scanner.malformed());
        }
    }
}

struct Scanner<'t> {
    text: &'t str,
    offset: usize,
    position: usize,
}

impl<'t> Scanner<'t> {
    fn argument(&mut self) -> Result<Argument<'t>, PatternError> {
        self.skip_spaces();
        let start = self.position;
        let mut name = None;
        let mut value = self.value()?;
        self.skip_spaces();
        if let Value::Word(word) = value
            && self.skip('=')
        {
            name = Some(word);
            self.skip_spaces();
            value = self.value()?;
        }
        let span = self.offset + start..self.offset + self.position;
        self.refuse_joined_numbers(value, span.start)?;
        self.skip_spaces();
        Ok(Argument { name, value, span })
    }

    fn value(&mut self) -> Result<Value<'t>, PatternError> {
        for quote in ['"', '\''] {
            if self.skip(quote) {
                let end = self.rest().find(quote).ok_or_else(|| self.malformed())?;
                let text = &self.rest()[..end];
                self.position += end + 1;
                return Ok(Value::Quoted(text));
            }
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        let length = self.rest().bytes().take_while(|byte| is_word(*byte)).count();
        if length == 0 {
            return Err(self.malformed());
        }
        let word = &self.rest()[..length];
        self.position += length;
        Ok(Value::Word(word))
    }

    /// To Werkzeug's `\d+.\d+`, `int(2,10)` is one argument, the text `2,10`; the rule then never matches.
    fn refuse_joined_numbers(&self, value: Value<'_>, start: usize) -> Result<(), PatternError> {
        let Value::Word(word) = value else { return Ok(()) };
        let digit_follows = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
        match self.rest().strip_prefix(',') {
            Some(after) if digit_follows(after) && word.bytes().all(|byte| byte.is_ascii_digit()) => {
                let end = self.offset + self.position + 1;
                Err(PatternError::new(PatternProblem::JoinedNumbers, start..end)
                    .suggest("put a space after the comma"))
            }
            _ => Ok(()),
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.position..]
    }

    fn skip(&mut self, character: char) -> bool {
        let found = self.rest().starts_with(character);
        self.position += if found { character.len_utf8() } else { 0 };
        found
    }

    fn skip_spaces(&mut self) {
        self.position += self.rest().len() - self.rest().trim_start_matches(' ').len();
    }

    fn malformed(&self) -> PatternError {
        let start = self.offset + self.position;
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        PatternError::new(PatternProblem::MalformedArgument, start..start + length)
    }
}

/// Arguments assigned to the parameters of a converter.
pub(super) struct Bound<'t> {
    parameters: &'static [&'static str],
    slots: Vec<Option<Argument<'t>>>,
}

impl<'t> Bound<'t> {
    /// Assigns the arguments to parameters as a Python call would.
    pub(super) fn new(
        converter: &'static str,
        parameters: &'static [&'static str],
        arguments: Vec<Argument<'t>>,
    ) -> Result<Bound<'t>, PatternError> {
        let mut slots = vec![None; parameters.len()];
        let mut positional = 0..parameters.len();
        for argument in arguments {
            let slot = match argument.name {
                Some(name) => {
                    parameters.iter().position(|parameter| *parameter == name).ok_or_else(|| {
                        let problem =
                            PatternProblem::UnknownArgument { converter, argument: name.to_owned() };
                        PatternError::new(problem, argument.span()).suggest_name(name, parameters)
                    })?
                }
                None => positional.next().ok_or_else(|| {
                    let problem = PatternProblem::TooManyArguments { converter, most: parameters.len() };
                    PatternError::new(problem, argument.span())
                })?,
            };
            if slots[slot].is_some() {
                let problem = PatternProblem::DuplicateArgument(parameters[slot]);
                return Err(PatternError::new(problem, argument.span()));
            }
            slots[slot] = Some(argument);
        }
        Ok(Bound { parameters, slots })
    }

    /// The argument for a parameter, if it was given.
    pub(super) fn argument(&self, parameter: &str) -> Option<&Argument<'t>> {
        let slot = self.parameters.iter().position(|known| *known == parameter)?;
        self.slots[slot].as_ref()
    }

    /// A whole number; Werkzeug's argument grammar has no sign.
    pub(super) fn integer(&self, parameter: &'static str) -> Result<Option<u64>, PatternError> {
        self.word(parameter, "a whole number of at most 64 bits", |word| {
            word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
        })
    }

    /// A number of characters.
    pub(super) fn length(&self, parameter: &'static str) -> Result<Option<u32>, PatternError> {
        let Some(length) = self.integer(parameter)? else { return Ok(None) };
        u32::try_from(length)
            .map(Some)
            .map_err(|_| self.out_of_range(parameter, "a length that a path can have"))
    }

    /// A number with or without a fraction.
    pub(super) fn number(&self, parameter: &'static str) -> Result<Option<f64>, PatternError> {
        let number = self.word(parameter, "a number", |word| {
            let plain = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            plain.then(|| word.parse::<f64>().ok()).flatten()
        })?;
        // Python compares a whole number with a float exactly; above 2^53 an f64 cannot.
        match number {
            Some(value) if value > 9_007_199_254_740_992.0 => {
                Err(self.out_of_range(parameter, "at most 9007199254740992"))
            }
            _ => Ok(number),
        }
    }

    /// `True` or `False`; false if it is not given.
    pub(super) fn flag(&self, parameter: &'static str) -> Result<bool, PatternError> {
        let flag = self.word(parameter, "`True` or `False`", |word| match word {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        })?;
        Ok(flag.unwrap_or(false))
    }

    /// The error for an invalid value, at the place of the value.
    pub(super) fn out_of_range(&self, parameter: &'static str, expected: &'static str) -> PatternError {
        let span = self.argument(parameter).map_or(0..0, Argument::span);
        PatternError::new(PatternProblem::OutOfRange { argument: parameter, expected }, span)
    }

    fn word<T>(
        &self,
        parameter: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, PatternError> {
        let Some(argument) = self.argument(parameter) else { return Ok(None) };
        let read = match argument.value {
            Value::Word(word) => read(word),
            Value::Quoted(_) => None,
        };
        read.map(Some).ok_or_else(|| {
            PatternError::new(PatternProblem::WrongType { argument: parameter, expected }, argument.span())
        })
    }
}
