//! The set of texts that a part or a rule answers, as a finite automaton.
//!
//! Two sets are compared by walking through both automata at once. The answer is exact for the language of Werkzeug's
//! regexes, before ranges of values are checked (a value out of range is an answer, too: it ends the search).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::Rule;
use crate::mapping::converter::{Converter, Length};
use crate::mapping::pattern::{DynamicPart, Part, Piece};

/// Automata with more states than this are not examined (only lengths in the thousands lead to them).
const MAX_STATES: usize = 4096;

/// The number of pairs of states after which a comparison gives up.
const MAX_PAIRS: usize = 1 << 20;

/// The intersection of two languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Common {
    /// Empty: proven.
    Nothing,
    /// Contains at least this text; few texts in it are shorter.
    Text(String),
    /// Undetermined: the automata are too large.
    Unknown,
}

/// A nondeterministic automaton. It begins in state 0 and accepts in state `end`.
pub(super) struct Language {
    states: Vec<State>,
    end: usize,
    complete: bool,
}

#[derive(Default)]
struct State {
    steps: Vec<(Characters, usize)>,
    /// States that are reached without reading a character.
    skips: Vec<usize>,
}

/// A set of characters.
#[derive(Clone, Copy)]
enum Characters {
    One(char),
    Digits,
    HexDigits,
    AllButSlash,
    AllButLineFeed,
}

impl Language {
    /// The texts that a part consumes; for a part that takes the rest, without the slash that may follow.
    pub(super) fn of_part(part: &DynamicPart) -> Language {
        let mut language = Language::empty_text();
        language.part(part);
        language
    }

    /// The paths that a rule answers, including by a redirect for a missing slash.
    pub(super) fn of_rule(rule: &Rule) -> Language {
        let mut language = Language::empty_text();
        let parts = rule.pattern.parts();
        if parts.is_empty() {
            // The prefix of everything.
            language.literal("/");
        }
        for (index, part) in parts.iter().enumerate() {
            let is_slash_at_end = index > 0 && matches!(part, Part::Static(text) if text.is_empty());
            let before_slash = language.end;
            language.literal("/");
            match part {
                Part::Static(_) if is_slash_at_end => language.skip(before_slash, language.end),
                Part::Static(text) => language.literal(text),
                Part::Dynamic(part) => language.part(part),
            }
        }
        // After a part that takes the rest, no slash is ever left over.
        let takes_rest = |part: &Part| matches!(part, Part::Dynamic(part) if part.takes_rest());
        if !rule.strict_slashes && !parts.iter().any(takes_rest) {
            let before_slash = language.end;
            language.literal("/");
            language.skip(before_slash, language.end);
        }
        language
    }

    /// The number of states.
    pub(super) fn size(&self) -> usize {
        self.states.len()
    }

    /// The intersection of the two, and the number of steps that it took.
    pub(super) fn compare(&self, other: &Language) -> (Common, usize) {
        if !self.complete || !other.complete {
            return (Common::Unknown, 0);
        }
        let start = (0, 0);
        let mut origins = HashMap::from([(start, None)]);
        let mut queue = VecDeque::from([start]);
        while let Some(pair) = queue.pop_front() {
            if pair == (self.end, other.end) {
                return (Common::Text(spell(&origins, pair)), origins.len());
            }
            if origins.len() > MAX_PAIRS {
                return (Common::Unknown, origins.len());
            }
            for (character, next) in self.moves(other, pair) {
                if let Entry::Vacant(vacant) = origins.entry(next) {
                    vacant.insert(Some((pair, character)));
                    // Moves that read no character go first, so that the text found is a short one.
                    if character.is_some() { queue.push_back(next) } else { queue.push_front(next) }
                }
            }
        }
        (Common::Nothing, origins.len())
    }

    /// The pairs of states that follow a pair, each with the character in between, if there is one.
    fn moves(&self, other: &Language, (here, there): Pair) -> Vec<(Option<char>, Pair)> {
        let (mine, theirs) = (&self.states[here], &other.states[there]);
        let mut moves = Vec::new();
        moves.extend(mine.skips.iter().map(|next| (None, (*next, there))));
        moves.extend(theirs.skips.iter().map(|next| (None, (here, *next))));
        for (my_set, my_next) in &mine.steps {
            for (their_set, their_next) in &theirs.steps {
                if let Some(character) = my_set.common(*their_set) {
                    moves.push((Some(character), (*my_next, *their_next)));
                }
            }
        }
        moves
    }

    fn empty_text() -> Language {
        Language { states: vec![State::default()], end: 0, complete: true }
    }

    fn part(&mut self, part: &DynamicPart) {
        for piece in part.pieces() {
            match piece {
                Piece::Literal(text) => self.literal(text),
                Piece::Variable(converter) => self.converter(converter),
            }
        }
    }

    fn converter(&mut self, converter: &Converter) {
        match converter {
            Converter::String(Length::Exactly(length)) => self.repeat(Characters::AllButSlash, *length),
            Converter::String(Length::Between(min, max)) => {
                self.repeat(Characters::AllButSlash, *min);
                match max {
                    Some(max) => self.at_most(Characters::AllButSlash, max.saturating_sub(*min)),
                    None => self.any_number(Characters::AllButSlash),
                }
            }
            Converter::Int(range) => {
                self.sign(range.signed);
                self.digits();
            }
            Converter::Float(range) => {
                self.sign(range.signed);
                self.digits();
                self.literal(".");
                self.digits();
            }
            Converter::Path => {
                self.step(Characters::AllButSlash);
                self.any_number(Characters::AllButLineFeed);
            }
            Converter::Uuid => {
                for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
                    self.literal(if index > 0 { "-" } else { "" });
                    self.repeat(Characters::HexDigits, length);
                }
            }
            Converter::Any(items) => self.one_of(items),
        }
    }

    fn literal(&mut self, text: &str) {
        text.chars().for_each(|character| self.step(Characters::One(character)));
    }

    fn sign(&mut self, signed: bool) {
        if signed {
            let before = self.end;
            self.literal("-");
            self.skip(before, self.end);
        }
    }

    fn digits(&mut self) {
        self.step(Characters::Digits);
        self.any_number(Characters::Digits);
    }

    fn one_of(&mut self, items: &[Box<str>]) {
        let start = self.end;
        let end = self.push_state();
        for item in items {
            self.end = start;
            self.literal(item);
            self.skip(self.end, end);
        }
        self.end = end;
    }

    fn repeat(&mut self, characters: Characters, count: u32) {
        for _ in 0..count {
            if !self.complete {
                return;
            }
            self.step(characters);
        }
    }

    fn at_most(&mut self, characters: Characters, count: u32) {
        let mut reached = vec![self.end];
        for _ in 0..count {
            if !self.complete {
                return;
            }
            self.step(characters);
            reached.push(self.end);
        }
        let end = self.end;
        reached.into_iter().filter(|state| *state != end).for_each(|state| self.skip(state, end));
    }

    /// A loop in a state of its own, so that it does not change what leads to the present state.
    fn any_number(&mut self, characters: Characters) {
        let state = self.push_state();
        self.skip(self.end, state);
        if self.complete {
            self.states[state].steps.push((characters, state));
        }
        self.end = state;
    }

    fn step(&mut self, characters: Characters) {
        let next = self.push_state();
        if self.complete {
            self.states[self.end].steps.push((characters, next));
        }
        self.end = next;
    }

    fn skip(&mut self, from: usize, to: usize) {
        if self.complete {
            self.states[from].skips.push(to);
        }
    }

    fn push_state(&mut self) -> usize {
        if self.states.len() == MAX_STATES {
            self.complete = false;
            return 0;
        }
        self.states.push(State::default());
        self.states.len() - 1
    }
}

type Pair = (usize, usize);

/// The characters on the way to a pair of states.
fn spell(origins: &HashMap<Pair, Option<(Pair, Option<char>)>>, last: Pair) -> String {
    let mut reversed = Vec::new();
    let mut pair = last;
    while let Some(Some((before, character))) = origins.get(&pair) {
        reversed.extend(*character);
        pair = *before;
    }
    reversed.into_iter().rev().collect()
}

impl Characters {
    fn contains(self, character: char) -> bool {
        match self {
            Characters::One(one) => one == character,
            Characters::Digits => crate::mapping::converter::digit_value(character).is_some(),
            Characters::HexDigits => character.is_ascii_hexdigit(),
            Characters::AllButSlash => character != '/',
            Characters::AllButLineFeed => character != '\n',
        }
    }

    /// A character that is in both sets.
    fn common(self, other: Characters) -> Option<char> {
        let candidate = match (self, other) {
            (Characters::One(one), _) | (_, Characters::One(one)) => one,
            (Characters::Digits | Characters::HexDigits, _)
            | (_, Characters::Digits | Characters::HexDigits) => '0',
            _ => 'x',
        };
        (self.contains(candidate) && other.contains(candidate)).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::pattern::Pattern;
    use crate::method::MethodSet;

    fn common(one: &str, other: &str) -> Common {
        let language = |text| Language::of_rule(&Rule::new(Pattern::parse(text).unwrap(), MethodSet::ALL));
        language(one).compare(&language(other)).0
    }

    #[test]
    fn texts_in_common_are_found() {
        for (one, other, text) in [
            ("/a", "/a/", "/a"),
            ("/<x>", "/a", "/a"),
            ("/<int:n>", "/<uuid:u>-<b>", ""),
            ("/<int(signed=True):n>", "/-<x>", "/-0"),
            ("/<any(ab, cd):k>", "/<any(xy, cd):k>", "/cd"),
            ("/<path:p>/a", "/b/<x>", "/b/a"),
            ("/<string(length=3):a>", "/<string(maxlength=3):a>", "/xxx"),
            ("/<path:p>/", "/<path:p>", "/x"),
        ] {
            match (common(one, other), text) {
                (Common::Text(found), text) => assert_eq!(found, text, "{one} {other}"),
                (nothing, "") => assert_eq!(nothing, Common::Nothing, "{one} {other}"),
                (nothing, _) => panic!("{one} {other}: {nothing:?}"),
            }
        }
    }

    #[test]
    fn what_has_nothing_in_common_is_proven() {
        for (one, other) in [
            ("/a", "/b"),
            ("/<int:n>", "/<float:n>"),
            ("/<any(a, b):k>", "/<any(c, d):k>"),
            ("/<string(length=2):a>", "/<string(minlength=3):a>"),
            ("/<path:p>/edit", "/<path:p>/view"),
            ("/v-<a>", "/w-<a>"),
            ("/<uuid:u>", "/<string(maxlength=35):a>"),
            ("/<a>/<b>", "/<a>"),
        ] {
            assert_eq!(common(one, other), Common::Nothing, "{one} {other}");
        }
    }

    #[test]
    fn huge_lengths_are_not_looked_into() {
        assert_eq!(common("/<string(length=5000):a>", "/<int:n>"), Common::Unknown);
    }
}
