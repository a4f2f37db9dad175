//! From text to parts.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::part::{DynamicPart, Part, Piece};
use super::{Pattern, PatternKind, Variable};
use crate::mapping::converter::Converter;
use crate::mapping::pattern_error::{PatternError, PatternProblem, unreachable_character};

/// A variable, in the words of Werkzeug's `_part_re`: the arguments end at the first `):name>`.
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    const NAME: &str = "[a-zA-Z_][a-zA-Z0-9_]*";
    let source = format!(r"\A<(?:(?<converter>{NAME})(?:\((?<arguments>.*?)\))?:)?(?<name>{NAME})>");
    Regex::new(&source).expect("the expression is constant and well-formed")
});

/// See [`Pattern::parse`].
pub(super) fn parse(text: &str) -> Result<Pattern, PatternError> {
    if !text.starts_with('/') {
        let first = text.chars().next().map_or(0, char::len_utf8);
        // Of an address, the path alone is a pattern.
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
    let mut parser = Parser::new(body, kind);
    parser.run()?;
    let shape = shape(&parser.parts, kind).into();
    Ok(Pattern { source: text.into(), shape, kind, parts: parser.parts, variables: parser.variables })
}

fn shape(parts: &[Part], kind: PatternKind) -> String {
    let mut shape = String::new();
    for part in parts {
        match part {
            // The slash of the part that takes the rest is in that part's own shape.
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

struct Parser<'t> {
    text: &'t str,
    kind: PatternKind,
    position: usize,
    /// The pieces of the part that is being read, which began at `part_start`.
    pieces: Vec<Piece>,
    part_start: usize,
    takes_rest: bool,
    parts: Vec<Part>,
    variables: Vec<Variable>,
}

impl<'t> Parser<'t> {
    /// `text` is empty, which only the prefix of everything (`/*`) is, or begins with a slash.
    fn new(text: &'t str, kind: PatternKind) -> Parser<'t> {
        Parser {
            text,
            kind,
            position: 1,
            pieces: Vec::new(),
            part_start: 1,
            takes_rest: false,
            parts: Vec::new(),
            variables: Vec::new(),
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
            self.parts.push(Part::Static("".into()));
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
        let Some(found) = VARIABLE.captures(self.rest()) else {
            return Err(self.malformed_variable());
        };
        let group = |name| found.name(name).map(|group| (group.as_str(), start + group.start()));
        let end = start + found[0].len();
        if self.kind == PatternKind::Prefix {
            return Err(PatternError::new(PatternProblem::VariableInPrefix, start..end));
        }
        let converter = match group("converter") {
            None => Converter::DEFAULT,
            Some((name, name_at)) => {
                let (arguments, arguments_at) = group("arguments").unwrap_or(("", end));
                Converter::parse(name, name_at, arguments, arguments_at)?
            }
        };
        let name = &found["name"];
        if self.variables.iter().any(|variable| *variable.name == *name) {
            let problem = PatternProblem::DuplicateVariable(name.to_owned());
            return Err(PatternError::new(problem, end - 1 - name.len()..end - 1));
        }
        self.takes_rest |= converter.crosses_slashes();
        self.pieces.push(Piece::Variable(converter.clone()));
        self.variables.push(Variable { name: name.into(), converter });
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
            [] => self.parts.push(Part::Static("".into())),
            [Piece::Literal(text)] => self.parts.push(Part::Static(std::mem::take(text))),
            _ => return self.finish_dynamic(false),
        }
        self.pieces.clear();
        Ok(())
    }

    fn finish_dynamic(&mut self, slash_follows: bool) -> Result<(), PatternError> {
        let pieces = std::mem::take(&mut self.pieces);
        let part = DynamicPart::new(pieces, self.takes_rest, slash_follows)
            .map_err(|_| PatternError::new(PatternProblem::TooLarge, self.part_start..self.position))?;
        self.parts.push(Part::Dynamic(part));
        Ok(())
    }

    fn rest(&self) -> &'t str {
        &self.text[self.position..]
    }
}
