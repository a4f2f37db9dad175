//! Why a pattern was refused, and where.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use thiserror::Error;

/// A refused pattern: the problem, its place in the text, and the probable intention.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct PatternError {
    problem: PatternProblem,
    span: Range<usize>,
    suggestion: Option<String>,
}

impl PatternError {
    pub fn new(problem: PatternProblem, span: Range<usize>) -> PatternError {
        PatternError { problem, span, suggestion: None }
    }

    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> PatternError {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Suggests the one of `names` that is spelled most like `written`, if any is close enough.
    #[must_use]
    pub fn suggest_name(self, written: &str, names: &[&str]) -> PatternError {
        let nearest = names
            .iter()
            .map(|name| (strsim::damerau_levenshtein(&written.to_ascii_lowercase(), name), name))
            .filter(|(distance, name)| *distance <= 2 && *distance < name.len())
            .min_by_key(|(distance, _)| *distance);
        match nearest {
            Some((_, name)) => self.suggest(format!("did you mean `{name}`?")),
            None if names.is_empty() => self,
            None => self.suggest(format!("known are `{}`", names.join("`, `"))),
        }
    }

    /// The problem.
    pub fn problem(&self) -> &PatternProblem {
        &self.problem
    }

    /// The faulty place, in bytes of the pattern's text. Both ends lie on character boundaries.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The probable intention, as a sentence for a help line.
    pub fn suggestion(&self) -> Option<&str> {
        self.suggestion.as_deref()
    }
}

/// The faults of a pattern.
///
/// Werkzeug reports some of them too. Some crash it when a request arrives, or make a rule that never matches. Some are
/// rules for paths that the request firewall never passes: a row that can never match looks like protection but gives
/// none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternProblem {
    /// Werkzeug refuses such a rule as well.
    #[error("a pattern must start with `/`")]
    NoLeadingSlash,
    /// The firewall refuses `//`, and Werkzeug would merge it in the rule.
    #[error("the firewall refuses paths with an empty segment (`//`)")]
    EmptySegment,
    /// The firewall refuses dot segments.
    #[error("the firewall refuses paths with the segment `{0}`")]
    DotSegment(String),
    /// The firewall refuses the character, raw and percent-encoded.
    #[error("the firewall refuses paths with the character {0:?}")]
    UnreachableCharacter(char),
    /// A `<` that does not start a variable, or a `>` that does not end one.
    #[error("malformed variable")]
    MalformedVariable,
    /// Werkzeug would silently keep the last of the two converters for both values.
    #[error("the variable `{0}` occurs twice")]
    DuplicateVariable(String),
    /// Not one of Werkzeug's default converters.
    #[error("the converter `{0}` does not exist")]
    UnknownConverter(String),
    /// Neither a quoted string nor a bare word of letters, digits, `_` and `.`.
    #[error("malformed converter argument")]
    MalformedArgument,
    /// Werkzeug's argument pattern reads a number, *any* character and a number as one value.
    #[error("Werkzeug reads a number, a comma and a number without a space as one value")]
    JoinedNumbers,
    /// The converter has no parameter of this name.
    #[error("the converter `{converter}` has no argument `{argument}`")]
    UnknownArgument {
        /// The converter's name.
        converter: &'static str,
        /// The argument's name as written.
        argument: String,
    },
    /// More positional arguments than parameters.
    #[error("the converter `{converter}` takes at most {most} argument(s)")]
    TooManyArguments {
        /// The converter's name.
        converter: &'static str,
        /// The number of its parameters.
        most: usize,
    },
    /// The same parameter is given more than once.
    #[error("the argument `{0}` is given twice")]
    DuplicateArgument(&'static str),
    /// The value is not of the parameter's type.
    #[error("the argument `{argument}` must be {expected}")]
    WrongType {
        /// The parameter's name.
        argument: &'static str,
        /// The type, with its article.
        expected: &'static str,
    },
    /// The value has the right type but is not valid.
    #[error("the argument `{argument}` must be {expected}")]
    OutOfRange {
        /// The parameter's name.
        argument: &'static str,
        /// The valid values.
        expected: &'static str,
    },
    /// `any` without an item, or with an empty item: it would match the empty segment.
    #[error("`any` needs at least one item, and no item may be empty")]
    EmptyAny,
    /// An item of `any` that Werkzeug turns into a number or a constant, and then fails to escape.
    #[error("`{0}` must be quoted for Werkzeug")]
    UnquotedItem(String),
    /// `*` is literal in Werkzeug, but every reader would take it for a wildcard.
    #[error("`*` is allowed only at the end, as in `/console/beta/*`")]
    MisplacedWildcard,
    /// The length of a prefix decides which prefix wins, so it has to be fixed.
    #[error("a prefix pattern cannot contain variables")]
    VariableInPrefix,
    /// The part needs a regular expression that exceeds the size limit.
    #[error("the lengths in this part are too large")]
    TooLarge,
}

/// The characters that the request firewall refuses in a path, raw and percent-encoded; of spaces only the plain one
/// passes.
static UNREACHABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[;?#\\%\p{Cc}\p{Cf}\p{Zl}\p{Zp}[\p{Zs}--\x20][\p{Nd}--0-9]]")
        .expect("the expression is constant and well-formed")
});

/// The first character of `text` that no path can contain, with its place in bytes.
pub fn unreachable_character(text: &str) -> Option<(usize, char)> {
    // Nearly every text is plain ASCII, and needs no regular expression.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b";?#\\%".contains(&byte)) {
        return None;
    }
    let found = UNREACHABLE.find(text)?;
    found.as_str().chars().next().map(|character| (found.start(), character))
}
