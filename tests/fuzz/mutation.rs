//! Mutations of kept inputs without libFuzzer: the same ones on every machine and on every run.

use std::ops::Range;

/// A mutation is not made longer than this, in bytes.
const LONGEST: usize = 4096;
/// The longest piece that is cut out, doubled or taken from another input, in bytes.
const LONGEST_PIECE: usize = 32;

/// splitmix64 (Steele, Lea, Flood 2014): all that mutations need.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("less than a usize")
    }

    fn piece(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.below(bytes.len() + 1);
        start..(start + self.below(LONGEST_PIECE)).min(bytes.len())
    }

    /// A stretch of bytes of one kind: a word, a number, a line.
    fn stretch(&mut self, bytes: &[u8], is_of_it: impl Fn(&u8) -> bool) -> Range<usize> {
        let at = self.below(bytes.len() + 1);
        let start = bytes[..at].iter().rposition(|byte| !is_of_it(byte)).map_or(0, |last| last + 1);
        let end = bytes[at..].iter().position(|byte| !is_of_it(byte)).map_or(bytes.len(), |first| at + first);
        start..end
    }
}

/// One to three edits of one input, some of which take a part of another one in.
///
/// Half of the edits respect words and lines: an input that loses its form at once says little about what is behind
/// the first refusal.
pub(crate) fn mutate(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(3) {
        let piece = random.piece(&bytes);
        match random.below(10) {
            0 if piece.start < bytes.len() => bytes[piece.start] ^= 1 << random.below(8),
            1 => bytes.insert(piece.start, u8::try_from(random.below(256)).expect("a byte")),
            2 => drop(bytes.drain(piece)),
            3 => {
                let twice = bytes[piece.clone()].to_vec();
                bytes.splice(piece.start..piece.start, twice);
            }
            4 => {
                let theirs = random.piece(other);
                bytes.splice(piece, other[theirs].iter().copied());
            }
            5 | 6 => exchange(&mut bytes, other, random, u8::is_ascii_alphanumeric),
            7 | 8 => exchange(&mut bytes, other, random, |byte| *byte != b'\n'),
            _ => {
                let line = random.stretch(&bytes, |byte| *byte != b'\n');
                let end = (line.end + 1).min(bytes.len());
                drop(bytes.drain(line.start..end));
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Puts a word, or a line, of another input in the place of one.
fn exchange(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random, is_of_it: fn(&u8) -> bool) {
    let (ours, theirs) = (random.stretch(bytes, is_of_it), random.stretch(other, is_of_it));
    bytes.splice(ours, other[theirs].iter().copied());
}
