//! A dynamic part as a program that reads one character after another.
//!
//! The threads of a program are in the order in which Python's backtracking would try them, so that the first one that
//! accepts holds the values that the application would get (Pike's algorithm). That order matters only for ranges: for
//! `<int(max=9):n><rest>`, it decides where the number ends.

use super::number::{Limits, Number, Range};
use crate::mapping::converter::{Converter, Length};
use crate::mapping::pattern::{DynamicPart, Piece};

/// Longer programs are not built; only lengths in the thousands lead to one.
const MAX_INSTRUCTIONS: usize = 4096;

/// The instructions of a part, and the ranges that its rows set for the numbers in it.
#[derive(Debug)]
pub(super) struct Program {
    instructions: Vec<Instruction>,
    /// The limits of each variable with a range, from left to right.
    limits: Vec<Limits>,
    /// The requirements of each kind of row below the part for those variables.
    variants: Vec<Vec<Option<Range>>>,
}

#[derive(Debug)]
enum Instruction {
    /// Reads a character of the number with that index.
    Read(Characters, Option<usize>),
    /// Continues at both places; the first one is tried first.
    Fork(usize, usize),
    Go(usize),
    Accept,
}

/// A set of characters. Characters that no path contains (line feeds, digits of other scripts) may be in any set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Characters {
    One(char),
    Digits,
    HexDigits,
    AllButSlash,
    All,
}

/// One possible reading of the text so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Thread {
    at: usize,
    numbers: Vec<Number>,
}

/// The state of a program: its threads, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    threads: Vec<Thread>,
}

impl Program {
    /// The program of a part. `variants` are the lists of converters that rows have at this part; they differ only in
    /// the ranges of numbers. `None` if the program would be too long.
    pub(super) fn new(part: &DynamicPart, variants: &[Vec<&Converter>]) -> Option<Program> {
        let count = part.pieces().iter().filter(|piece| matches!(piece, Piece::Variable(_))).count();
        let mut program = Program { instructions: Vec::new(), limits: Vec::new(), variants: Vec::new() };
        program.variants.resize(variants.len(), Vec::new());
        let mut numbers = vec![None; count];
        for (variable, number) in numbers.iter_mut().enumerate() {
            let mut limits = Limits::default();
            let ranges: Vec<_> = variants.iter().map(|variant| limits.range(variant[variable])).collect();
            if ranges.iter().any(Option::is_some) {
                *number = Some(program.limits.len());
                program.limits.push(limits);
                program.variants.iter_mut().zip(ranges).for_each(|(variant, range)| variant.push(range));
            }
        }
        let mut numbers = numbers.into_iter();
        for piece in part.pieces() {
            match piece {
                Piece::Literal(text) => program.literal(text),
                Piece::Variable(converter) => program.converter(converter, numbers.next().flatten())?,
            }
        }
        program.instructions.push(Instruction::Accept);
        (program.instructions.len() <= MAX_INSTRUCTIONS).then_some(program)
    }

    /// The state before anything has been read.
    pub(super) fn start(&self) -> Progress {
        let numbers = self.limits.iter().map(Limits::start).collect();
        let mut progress = Progress { threads: Vec::new() };
        self.follow(Thread { at: 0, numbers }, &mut progress.threads);
        progress
    }

    /// Reads a character; `None` if the part cannot begin with this text.
    pub(super) fn read(&self, progress: &Progress, character: char) -> Option<Progress> {
        let mut threads = Vec::new();
        for thread in &progress.threads {
            let Instruction::Read(characters, number) = self.instructions[thread.at] else { continue };
            if characters.contains(character) {
                let mut next = Thread { at: thread.at + 1, numbers: thread.numbers.clone() };
                if let Some(number) = number {
                    next.numbers[number].read(character, &self.limits[number]);
                }
                self.follow(next, &mut threads);
            }
        }
        (!threads.is_empty()).then_some(Progress { threads })
    }

    /// Whether the part fits the text so far. If it does, returns the variants that then have a value out of range.
    pub(super) fn accept(&self, progress: &Progress) -> Option<Vec<usize>> {
        let first = progress
            .threads
            .iter()
            .find(|thread| matches!(self.instructions[thread.at], Instruction::Accept))?;
        let refuses = |ranges: &Vec<Option<Range>>| {
            let mut numbers = ranges.iter().zip(&first.numbers).zip(&self.limits);
            numbers.any(|((range, number), limits)| {
                range.as_ref().is_some_and(|range| !number.is_within(range, limits))
            })
        };
        let variants = self.variants.iter().enumerate();
        Some(variants.filter(|(_, ranges)| refuses(ranges)).map(|(variant, _)| variant).collect())
    }

    /// The characters that can be read next; `true` if each digit counts separately.
    pub(super) fn next(&self, progress: &Progress) -> impl Iterator<Item = (Characters, bool)> {
        progress.threads.iter().filter_map(|thread| match self.instructions[thread.at] {
            Instruction::Read(characters, number) => Some((characters, number.is_some())),
            _ => None,
        })
    }

    /// Adds the places where a thread comes to rest, except places that a thread tried earlier has already reached.
    fn follow(&self, thread: Thread, threads: &mut Vec<Thread>) {
        match self.instructions[thread.at] {
            Instruction::Fork(first, second) => {
                self.follow(Thread { at: first, numbers: thread.numbers.clone() }, threads);
                self.follow(Thread { at: second, ..thread }, threads);
            }
            Instruction::Go(next) => self.follow(Thread { at: next, ..thread }, threads),
            _ if threads.iter().any(|known| known.at == thread.at) => {}
            _ => threads.push(thread),
        }
    }

    fn converter(&mut self, converter: &Converter, number: Option<usize>) -> Option<()> {
        match converter {
            Converter::String(Length::Exactly(length)) => self.repeat(Characters::AllButSlash, *length)?,
            Converter::String(Length::Between(min, max)) => {
                self.repeat(Characters::AllButSlash, *min)?;
                match max {
                    Some(max) => self.at_most(Characters::AllButSlash, max.saturating_sub(*min))?,
                    None => self.any_number(Characters::AllButSlash, None),
                }
            }
            Converter::Int(range) => {
                self.sign(range.signed, number);
                self.digits(number);
            }
            Converter::Float(range) => {
                self.sign(range.signed, number);
                self.digits(number);
                self.step(Characters::One('.'), number);
                self.digits(number);
            }
            Converter::Path => {
                self.step(Characters::AllButSlash, None);
                // `.*?` prefers stopping to continuing.
                let fork = self.instructions.len();
                self.instructions.push(Instruction::Fork(fork + 3, fork + 1));
                self.step(Characters::All, None);
                self.instructions.push(Instruction::Go(fork));
            }
            Converter::Uuid => {
                for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
                    self.literal(if index > 0 { "-" } else { "" });
                    self.repeat(Characters::HexDigits, length)?;
                }
            }
            Converter::Any(items) => self.one_of(items),
        }
        Some(())
    }

    fn literal(&mut self, text: &str) {
        text.chars().for_each(|character| self.step(Characters::One(character), None));
    }

    fn sign(&mut self, signed: bool, number: Option<usize>) {
        if signed {
            let fork = self.instructions.len();
            self.instructions.push(Instruction::Fork(fork + 1, fork + 2));
            self.step(Characters::One('-'), number);
        }
    }

    fn digits(&mut self, number: Option<usize>) {
        self.step(Characters::Digits, number);
        self.any_number(Characters::Digits, number);
    }

    fn one_of(&mut self, items: &[Box<str>]) {
        let length = |item: &str| item.chars().count() + 2;
        let end = self.instructions.len() + items.iter().map(|item| length(item)).sum::<usize>() - 1;
        for (index, item) in items.iter().enumerate() {
            let fork = self.instructions.len();
            if index + 1 < items.len() {
                self.instructions.push(Instruction::Fork(fork + 1, fork + length(item)));
            }
            self.literal(item);
            self.instructions.push(Instruction::Go(end));
        }
    }

    fn any_number(&mut self, characters: Characters, number: Option<usize>) {
        let fork = self.instructions.len();
        self.instructions.push(Instruction::Fork(fork + 1, fork + 3));
        self.step(characters, number);
        self.instructions.push(Instruction::Go(fork));
    }

    fn repeat(&mut self, characters: Characters, count: u32) -> Option<()> {
        let count = usize::try_from(count).ok().filter(|count| *count <= MAX_INSTRUCTIONS)?;
        (0..count).for_each(|_| self.step(characters, None));
        Some(())
    }

    fn at_most(&mut self, characters: Characters, count: u32) -> Option<()> {
        let count = usize::try_from(count).ok().filter(|count| *count <= MAX_INSTRUCTIONS)?;
        let end = self.instructions.len() + 2 * count;
        for _ in 0..count {
            self.instructions.push(Instruction::Fork(self.instructions.len() + 1, end));
            self.step(characters, None);
        }
        Some(())
    }

    fn step(&mut self, characters: Characters, number: Option<usize>) {
        self.instructions.push(Instruction::Read(characters, number));
    }
}

impl Characters {
    pub(super) fn contains(self, character: char) -> bool {
        match self {
            Characters::One(one) => one == character,
            Characters::Digits => character.is_ascii_digit(),
            Characters::HexDigits => character.is_ascii_hexdigit(),
            Characters::AllButSlash => character != '/',
            Characters::All => true,
        }
    }
}
