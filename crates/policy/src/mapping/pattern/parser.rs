//! Parses the text of a pattern into parts.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use regex::Regex;

use super::part::{Part, Piece};
use super::{Parsed, Pattern, PatternKind, SharedParts, Variable};
use crate::mapping::converter::Converter;
use crate::mapping::pattern_error::{PatternError, PatternProblem, unreachable_character};

/// A variable, in the words of Werkzeug's `_part_re`: the arguments end at the first `):name>`.
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    const NAME: &str = "[a-zA-Z_][a-zA-Z0-9_]*";
    let source = format!(r"\A<(?:(?<converter>{NAME})(?:\((?<arguments>.*?)\))?:)?(?<name>{NAME})>");
    Regex::new(&source).expect("the expression is constant and well-formed")
});

/// See [`Pattern::parse_shared`].
pub(super) fn parse(
    source: &Arc<str>,
    start: usize,
    shared: &mut SharedParts,
) -> Result<Pattern, PatternError> {
    let text = &source[start..];
    if !text.starts_with('/') {
        let first = text.chars().next().map_or(0, char::len_utf8);
        // For a full URL, only the path is a pattern.
        let path = match text.split_once("://") {
            Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
            None => text,
        };
        return Err(
            PatternError::new(PatternProblem::NoLeadingSlash, 0..first).suggest(format!("write `/{path}`"))
        );
    }
    let (body, kind) = match text.strip_suffix("/*") {
        Some(body) => (body, PatternKind::Prefix),
        None => (text, PatternKind::Exact),
    };
    let mut parser = Parser::new(body, kind, shared);
    parser.run()?;
    let (parts, variables) = (parser.parts.into(), parser.variables);
    let variables = shared.variables(variables);
    Ok(Pattern(Arc::new(Parsed { source: source.clone(), start, kind, parts, variables })))
}

/// See [`Pattern::shape`].
pub(super) fn shape(parts: &[Part], kind: PatternKind) -> String {
    let mut shape = String::new();
    for part in parts {
        match part {
            // The shape of a part that takes the rest already includes its slash.
            Part::Static(text) if text.is_empty() && shape.ends_with('/') => {}
            Part::Static(text) => shape.extend(["/", text]),
            Part::Dynamic(part) => shape.extend(["/", &part.shape()]),
        }
    }
    if kind == PatternKind::Prefix {
        shape.push_str("/*");
    }
    shape
}

/// A variable as written.
#[derive(Debug, PartialEq, Eq)]
struct Written<'t> {
    converter: Option<&'t str>,
    /// The arguments and the place where they begin.
    arguments: Option<(&'t str, usize)>,
    name: &'t str,
    length: usize,
}

impl<'t> Written<'t> {
    /// The variable at the start of a text that begins with `<`.
    fn read(text: &'t str) -> Option<Written<'t>> {
        Written::plain(text).or_else(|| Written::any(text))
    }

    /// `<id>` and `<int:id>`, the form of nearly all variables, without the cost of the regular expression.
    fn plain(text: &'t str) -> Option<Written<'t>> {
        let inside = &text[1..];
        let end = inside.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_'))?;
        let (converter, name, length) = match inside.as_bytes()[end] {
            b'>' => (None, &inside[..end], end + 2),
            b':' => {
                let rest = &inside[end + 1..];
                let name = &rest[..rest.find('>')?];
                (Some(&inside[..end]), name, end + name.len() + 3)
            }
            _ => return None,
        };
        (is_name(name) && converter.is_none_or(is_name)).then_some(Written {
            converter,
            arguments: None,
            name,
            length,
        })
    }

    fn any(text: &'t str) -> Option<Written<'t>> {
        let found = VARIABLE.captures(text)?;
        let group = |name| found.name(name).map(|group| group.as_str());
        let arguments = found.name("arguments").map(|group| (group.as_str(), group.start()));
        Some(Written {
            converter: group("converter"),
            arguments,
            name: group("name")?,
            length: found[0].len(),
        })
    }
}

/// A Python identifier, in ASCII.
fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

struct Parser<'t, 's> {
    text: &'t str,
    kind: PatternKind,
    position: usize,
    /// The pieces of the part being read, which began at `part_start`.
    pieces: Vec<Piece>,
    part_start: usize,
    takes_rest: bool,
    parts: Vec<Part>,
    variables: Vec<Variable>,
    shared: &'s mut SharedParts,
}

impl<'t, 's> Parser<'t, 's> {
    /// `text` begins with a slash or is empty; it is empty only for the prefix of everything (`/*`).
    fn new(text: &'t str, kind: PatternKind, shared: &'s mut SharedParts) -> Parser<'t, 's> {
        Parser {
            text,
            kind,
            position: 1,
            pieces: Vec::new(),
            part_start: 1,
            takes_rest: false,
            parts: Vec::new(),
            variables: Vec::new(),
            shared,
        }
    }

    fn run(&mut self) -> Result<(), PatternError> {
        if self.text.is_empty() {
            return Ok(());
        }
        while let Some(next) = self.rest().bytes().next() {
            match next {
                b'/' => self.slash()?,
                b'<' => self.variable()?,
                _ => self.literal()?,
            }
        }
        if self.kind == PatternKind::Prefix && self.text.ends_with('/') {
            let end = self.text.len();
            return Err(PatternError::new(PatternProblem::EmptySegment, end - 1..end + 1));
        }
        if !self.takes_rest {
            return self.finish_part();
        }
        let slash_follows = match self.pieces.last_mut() {
            Some(Piece::Literal(text)) if text.ends_with('/') => {
                *text = text[..text.len() - 1].into();
                true
            }
            _ => false,
        };
        self.pieces.retain(|piece| !matches!(piece, Piece::Literal(text) if text.is_empty()));
        self.finish_dynamic(slash_follows)?;
        if slash_follows {
            self.push_segment("");
        }
        Ok(())
    }

    fn slash(&mut self) -> Result<(), PatternError> {
        let at = self.position;
        if self.text[..at].ends_with('/') {
            return Err(PatternError::new(PatternProblem::EmptySegment, at - 1..at + 1));
        }
        if self.takes_rest {
            self.push_literal("/");
        } else {
            self.finish_part()?;
        }
        self.position += 1;
        self.part_start = if self.takes_rest { self.part_start } else { self.position };
        Ok(())
    }

    fn literal(&mut self) -> Result<(), PatternError> {
        let start = self.position;
        let text = &self.rest()[..self.rest().find(['/', '<']).unwrap_or(self.rest().len())];
        let end = start + text.len();
        self.position = end;
        let is_segment = self.text[..start].ends_with('/') && !self.rest().starts_with('<');
        if is_segment && matches!(text, "." | "..") {
            return Err(PatternError::new(PatternProblem::DotSegment(text.to_owned()), start..end));
        }
        let refuse = |at: usize, length: usize, problem| {
            Err(PatternError::new(problem, start + at..start + at + length))
        };
        if let Some((at, character)) = unreachable_character(text) {
            let problem = PatternProblem::UnreachableCharacter(character);
            return refuse(at, character.len_utf8(), problem).map_err(|error| match character {
                '?' => error.suggest("remove the query: a row is for its path with any query"),
                '#' => error.suggest("remove it: a browser sends no fragment"),
                '%' => error.suggest("write the character itself: a row is compared with the decoded path"),
                _ => error,
            });
        }
        if let Some(at) = text.find('*') {
            return refuse(at, 1, PatternProblem::MisplacedWildcard);
        }
        if let Some(at) = text.find('>') {
            return refuse(at, 1, PatternProblem::MalformedVariable);
        }
        self.push_literal(text);
        Ok(())
    }

    fn variable(&mut self) -> Result<(), PatternError> {
        let start = self.position;
        let Some(written) = Written::read(self.rest()) else {
            return Err(self.malformed_variable());
        };
        let end = start + written.length;
        if self.kind == PatternKind::Prefix {
            return Err(PatternError::new(PatternProblem::VariableInPrefix, start..end));
        }
        let converter = match written.converter {
            None => Converter::DEFAULT,
            Some(name) => {
                let (arguments, arguments_at) = written.arguments.unwrap_or(("", written.length));
                Converter::parse(name, start + 1, arguments, start + arguments_at)?
            }
        };
        let name = written.name;
        if self.variables.iter().any(|variable| *variable.name == *name) {
            let problem = PatternProblem::DuplicateVariable(name.to_owned());
            return Err(PatternError::new(problem, end - 1 - name.len()..end - 1));
        }
        self.takes_rest |= converter.crosses_slashes();
        self.pieces.push(Piece::Variable(converter.clone()));
        let name = self.shared.text(name);
        self.variables.push(Variable { name, converter });
        self.position = end;
        Ok(())
    }

    fn malformed_variable(&self) -> PatternError {
        let rest = self.rest();
        let end = rest.find('>').map(|at| at + 1).or_else(|| rest.find('/')).unwrap_or(rest.len());
        let span: Range<usize> = self.position..self.position + end;
        PatternError::new(PatternProblem::MalformedVariable, span)
            .suggest("write `<name>`, `<converter:name>` or `<converter(arguments):name>`")
    }

    fn push_literal(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Literal(literal)) => *literal = format!("{literal}{text}").into(),
            _ => self.pieces.push(Piece::Literal(text.into())),
        }
    }

    fn finish_part(&mut self) -> Result<(), PatternError> {
        match &mut self.pieces[..] {
            [] => self.push_segment(""),
            [Piece::Literal(text)] => {
                let text = std::mem::take(text);
                self.push_segment(&text);
            }
            _ => return self.finish_dynamic(false),
        }
        self.pieces.clear();
        Ok(())
    }

    fn finish_dynamic(&mut self, slash_follows: bool) -> Result<(), PatternError> {
        let pieces = std::mem::take(&mut self.pieces);
        let part = self
            .shared
            .part(pieces, self.takes_rest, slash_follows)
            .map_err(|_| PatternError::new(PatternProblem::TooLarge, self.part_start..self.position))?;
        self.parts.push(part);
        Ok(())
    }

    fn push_segment(&mut self, text: &str) {
        let segment = self.shared.segment(text);
        self.parts.push(segment);
    }

    fn rest(&self) -> &'t str {
        &self.text[self.position..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The quick way reads only what the expression reads, and the same.
        #[test]
        fn plain_variables_are_read_as_the_expression_reads_them(text in "<[a1_:<>(é)]{0,8}") {
            if let Some(plain) = Written::plain(&text) {
                prop_assert_eq!(Some(plain), Written::any(&text));
            }
        }
    }
}
