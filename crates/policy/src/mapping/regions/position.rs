//! Where a search can be after some segments of a path, in both mappings at once.

use super::outline::{Likenesses, Outline};
use super::program::{Characters, Progress};
use crate::mapping::matcher::Matcher;

/// The trees of both tables: the old one and the new one.
pub(super) struct Pair<'m> {
    outlines: [Outline<'m>; 2],
}

/// Everything that decides how a path can continue and what it finds: two paths with the same position find the same
/// rows, whatever follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Position {
    sides: [Side; 2],
}

/// A position in one mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Side {
    /// The branches, in the order in which the search tries them.
    branches: Vec<Branch>,
    /// The place of the longest prefix.
    prefix: Option<usize>,
}

/// One way to read the segments so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Branch {
    reached: Reached,
    /// Values out of range: the place after the part, and the variant that refuses the value.
    refusals: Vec<(usize, usize)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reached {
    /// At a place.
    At(usize),
    /// Inside the part that takes the rest: the place before it, and which of its parts it is.
    Within(usize, usize, Progress),
}

/// A segment that is being read, with the parts that it can still fit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reading {
    parts: Vec<PartReading>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PartReading {
    side: usize,
    branch: usize,
    /// The index among the place's dynamic parts.
    dynamic: usize,
    progress: Progress,
}

impl<'m> Pair<'m> {
    pub(super) fn new(old: &'m Matcher, new: &'m Matcher) -> Pair<'m> {
        let mut likenesses = Likenesses::default();
        Pair { outlines: [old, new].map(|matcher| Outline::new(matcher, &mut likenesses)) }
    }

    /// Whether all parts could be examined.
    pub(super) fn is_complete(&self) -> bool {
        self.outlines.iter().all(|outline| !outline.skips_parts)
    }

    /// The position after the leading slash.
    pub(super) fn start(&self) -> Position {
        let side = |outline: &Outline<'_>| Side {
            branches: vec![Branch { reached: Reached::At(Outline::ROOT), refusals: Vec::new() }],
            prefix: outline[Outline::ROOT].has_prefixes.then_some(Outline::ROOT),
        };
        Position { sides: self.outlines.each_ref().map(side) }
    }

    /// Whether a path that ends here may find a row.
    pub(super) fn may_end(&self, position: &Position) -> bool {
        self.outlines.iter().zip(&position.sides).any(|(outline, side)| {
            side.prefix.is_some()
                || side.branches.iter().any(|branch| match branch.reached {
                    Reached::At(place) => outline[place].ends,
                    Reached::Within(..) => true,
                })
        })
    }

    /// The static segments that lead on from here, without duplicates, sorted.
    pub(super) fn statics(&self, position: &Position) -> Vec<&'m str> {
        let mut segments = Vec::new();
        for (outline, side) in self.outlines.iter().zip(&position.sides) {
            for branch in &side.branches {
                if let Reached::At(place) = branch.reached {
                    segments.extend(outline[place].statics.iter().map(|(segment, _)| *segment));
                }
            }
        }
        segments.sort_unstable();
        segments.dedup();
        segments
    }

    /// Begins reading a segment.
    pub(super) fn begin(&self, position: &Position) -> Reading {
        let mut parts = Vec::new();
        for (side, outline) in self.outlines.iter().enumerate() {
            for (branch, Branch { reached, .. }) in position.sides[side].branches.iter().enumerate() {
                match reached {
                    Reached::At(place) => {
                        for (dynamic, part) in outline[*place].dynamics.iter().enumerate() {
                            let progress = part.program.start();
                            parts.push(PartReading { side, branch, dynamic, progress });
                        }
                    }
                    Reached::Within(place, dynamic, progress) => {
                        let program = &outline[*place].dynamics[*dynamic].program;
                        if let Some(progress) = program.read(progress, '/') {
                            parts.push(PartReading { side, branch, dynamic: *dynamic, progress });
                        }
                    }
                }
            }
        }
        Reading { parts }
    }

    /// Reads a character of a segment.
    pub(super) fn read(&self, position: &Position, reading: &Reading, character: char) -> Reading {
        let part = |part: &PartReading| {
            let program = &self.dynamic(position, part).program;
            let progress = program.read(&part.progress, character)?;
            Some(PartReading { progress, ..part.clone() })
        };
        Reading { parts: reading.parts.iter().filter_map(part).collect() }
    }

    /// The characters with which a segment can continue, and whether each digit counts separately.
    pub(super) fn next<'a>(
        &'a self,
        position: &'a Position,
        reading: &'a Reading,
    ) -> impl Iterator<Item = (Characters, bool)> + 'a {
        reading.parts.iter().flat_map(|part| self.dynamic(position, part).program.next(&part.progress))
    }

    /// The position after a segment that has been read completely.
    pub(super) fn arrive(&self, position: &Position, segment: &str, reading: &Reading) -> Position {
        let mut sides =
            [0, 1].map(|side: usize| Side { branches: Vec::new(), prefix: position.sides[side].prefix });
        let mut parts = reading.parts.iter().peekable();
        for (index, side) in sides.iter_mut().enumerate() {
            let outline = &self.outlines[index];
            for (number, before) in position.sides[index].branches.iter().enumerate() {
                let static_child = match before.reached {
                    Reached::At(place) => outline[place].child(segment),
                    Reached::Within(..) => None,
                };
                if let Some(child) = static_child {
                    side.branches.push(Branch { reached: Reached::At(child), ..before.clone() });
                    if outline[child].is_static && outline[child].has_prefixes {
                        side.prefix = Some(child);
                    }
                }
                while let Some(part) = parts.next_if(|part| (part.side, part.branch) == (index, number)) {
                    side.branches.extend(self.behind(position, before, part));
                }
            }
        }
        Position { sides }
    }

    /// The branch after a part that has read a whole segment; `None` if the part does not fit.
    fn behind(&self, position: &Position, before: &Branch, part: &PartReading) -> Option<Branch> {
        let dynamic = self.dynamic(position, part);
        if dynamic.takes_rest {
            let place = match before.reached {
                Reached::At(place) | Reached::Within(place, ..) => place,
            };
            let reached = Reached::Within(place, part.dynamic, part.progress.clone());
            return Some(Branch { reached, refusals: before.refusals.clone() });
        }
        let refusing = dynamic.program.accept(&part.progress)?;
        let refusals = refusing.into_iter().map(|variant| (dynamic.child, variant));
        let refusals = before.refusals.iter().copied().chain(refusals).collect();
        Some(Branch { reached: Reached::At(dynamic.child), refusals })
    }

    fn dynamic(&self, position: &Position, part: &PartReading) -> &super::outline::Dynamic {
        let place = match position.sides[part.side].branches[part.branch].reached {
            Reached::At(place) | Reached::Within(place, ..) => place,
        };
        &self.outlines[part.side][place].dynamics[part.dynamic]
    }

    /// Splits a position: its first branches, and the remaining ones.
    ///
    /// `None` unless the first `count` branches on both sides are alike. If they are, a search goes through the same
    /// first branches on both sides: on both sides it finds corresponding rows there, or ends there, or continues with
    /// the other branches. So every pair of the position also belongs to one of the two returned positions.
    pub(super) fn split(&self, position: &Position, count: usize) -> Option<(Position, Position)> {
        let [old, new] = position.sides.each_ref().map(|side| side.branches.get(..count));
        let alike = old?.iter().zip(new?).all(|(old, new)| self.are_alike(old, new));
        let part = |range: fn(&[Branch], usize) -> &[Branch]| Position {
            sides: position
                .sides
                .each_ref()
                .map(|side| Side { branches: range(&side.branches, count).to_vec(), prefix: side.prefix }),
        };
        alike
            .then(|| (part(|branches, count| &branches[..count]), part(|branches, count| &branches[count..])))
    }

    fn are_alike(&self, old: &Branch, new: &Branch) -> bool {
        let (Reached::At(old_place), Reached::At(new_place)) = (&old.reached, &new.reached) else {
            return false;
        };
        let [old_place, new_place] = [&self.outlines[0][*old_place], &self.outlines[1][*new_place]];
        // Below a prefix, a path that both sides leave to the other branches could find the prefix on only one side.
        old_place.likeness == new_place.likeness
            && !(old_place.leads_to_prefixes || new_place.leads_to_prefixes)
            && old.refusals.is_empty()
            && new.refusals.is_empty()
    }
}

impl Position {
    /// Whether no row is left, whatever follows.
    pub(super) fn is_dead(&self) -> bool {
        self.sides.iter().all(|side| side.branches.is_empty() && side.prefix.is_none())
    }

    /// Whether the rest of the path can matter: without branches, only the prefixes are left.
    pub(super) fn goes_on(&self) -> bool {
        self.sides.iter().any(|side| !side.branches.is_empty())
    }

    /// The greater number of branches of the two sides.
    pub(super) fn width(&self) -> usize {
        self.sides.iter().map(|side| side.branches.len()).max().unwrap_or(0)
    }
}

impl Reading {
    /// Whether no part fits any more.
    pub(super) fn is_over(&self) -> bool {
        self.parts.is_empty()
    }

    /// The number of parts that may still fit.
    pub(super) fn width(&self) -> usize {
        self.parts.len()
    }
}
