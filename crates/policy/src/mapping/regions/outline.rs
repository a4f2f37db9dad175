//! The places of a mapping's tree, with the facts that a walk through two trees at once needs about each.

use std::collections::{BTreeSet, HashMap};

use super::program::Program;
use crate::mapping::converter::Converter;
use crate::mapping::matcher::tree::{Node, Tree};
use crate::mapping::matcher::{Matcher, Rule};
use crate::mapping::pattern::{DynamicPart, Piece, Variable};

/// The places of a tree. The first is the one after the leading slash.
#[derive(Debug)]
pub(super) struct Outline<'m> {
    places: Vec<OutlineNode<'m>>,
    /// Whether some part was too long to examine.
    pub(super) skips_parts: bool,
}

/// A place in the paths.
#[derive(Debug, Default)]
pub(super) struct OutlineNode<'m> {
    /// Targets of static segments, sorted by segment. The empty segment, a final slash, is not included.
    pub(super) statics: Vec<(&'m str, usize)>,
    /// The dynamic parts, in the order in which they are tried.
    pub(super) dynamics: Vec<Dynamic>,
    /// Whether a path that ends here, or here with a final slash, can have an exact row.
    pub(super) ends: bool,
    /// Whether prefixes end here.
    pub(super) has_prefixes: bool,
    /// Whether prefixes end here or below.
    pub(super) leads_to_prefixes: bool,
    /// Whether the way here contains no variable. This holds for every place where prefixes end.
    pub(super) is_static: bool,
    /// Equal for places below which the same requests find corresponding rows, wherever the places are.
    pub(super) likeness: usize,
}

/// A dynamic part of a place.
#[derive(Debug)]
pub(super) struct Dynamic {
    pub(super) program: Program,
    pub(super) takes_rest: bool,
    pub(super) child: usize,
}

/// Assigns the same number to places that are alike, in one tree or in two.
#[derive(Default)]
pub(super) struct Likenesses<'m> {
    known: HashMap<Description<'m>, usize>,
}

/// Everything about a place that matters to a search, except which rows are found.
#[derive(PartialEq, Eq, Hash)]
struct Description<'m> {
    statics: Vec<(&'m str, usize)>,
    dynamics: Vec<(String, usize)>,
    rules: Vec<String>,
    prefixes: Vec<String>,
}

impl<'m> Outline<'m> {
    pub(super) fn new(matcher: &'m Matcher, likenesses: &mut Likenesses<'m>) -> Outline<'m> {
        let mut builder = Builder {
            tree: matcher.tree(),
            rules: matcher.rules(),
            likenesses,
            outline: Outline { places: Vec::new(), skips_parts: false },
        };
        builder.place(builder.tree.at(Tree::ROOT), true, 0);
        builder.outline
    }

    /// The place after the leading slash.
    pub(super) const ROOT: usize = 0;
}

impl<'m> std::ops::Index<usize> for Outline<'m> {
    type Output = OutlineNode<'m>;

    fn index(&self, place: usize) -> &OutlineNode<'m> {
        &self.places[place]
    }
}

impl OutlineNode<'_> {
    /// The place that a static segment leads to.
    pub(super) fn child(&self, segment: &str) -> Option<usize> {
        let found = self.statics.binary_search_by_key(&segment, |(known, _)| known).ok()?;
        Some(self.statics[found].1)
    }
}

struct Builder<'b, 'm> {
    tree: &'m Tree,
    rules: &'m [Rule],
    likenesses: &'b mut Likenesses<'m>,
    outline: Outline<'m>,
}

impl<'m> Builder<'_, 'm> {
    /// Adds a node and everything below it. `variables` is the number of variables on the way to it. Returns its place
    /// and the rules that end at it or below.
    fn place(&mut self, node: Node<'m>, is_static: bool, variables: usize) -> (usize, Vec<usize>) {
        let index = self.outline.places.len();
        self.outline.places.push(OutlineNode::default());
        let mut below = [node.rules(), node.prefixes()].concat();
        let rule = |rule: &usize| description_of(&self.rules[*rule]);
        let mut description = Description {
            statics: Vec::new(),
            dynamics: Vec::new(),
            rules: node.rules().iter().map(rule).collect(),
            prefixes: node.prefixes().iter().map(rule).collect(),
        };
        let mut place = OutlineNode {
            ends: !node.rules().is_empty(),
            has_prefixes: !node.prefixes().is_empty(),
            leads_to_prefixes: !node.prefixes().is_empty(),
            is_static,
            ..OutlineNode::default()
        };
        for edge in node.statics() {
            let segment: &str = &edge.text;
            let (child, rules) = self.place(self.tree.at(edge.child), is_static, variables);
            place.leads_to_prefixes |= self.outline[child].leads_to_prefixes;
            description.statics.push((segment, self.outline[child].likeness));
            if segment.is_empty() {
                place.ends |= self.outline[child].ends;
            } else {
                place.statics.push((segment, child));
            }
            below.extend(rules);
        }
        place.statics.sort_unstable();
        description.statics.sort_unstable();
        for (part, child) in node.dynamics() {
            let own = part.pieces().iter().filter(|piece| matches!(piece, Piece::Variable(_))).count();
            let (child, rules) = self.place(self.tree.at(*child), false, variables + own);
            description.dynamics.push((part.shape(), self.outline[child].likeness));
            match Program::new(part, &self.variants(part, variables, own, &rules)) {
                Some(program) => {
                    place.dynamics.push(Dynamic { program, takes_rest: part.takes_rest(), child });
                }
                None => self.outline.skips_parts = true,
            }
            below.extend(rules);
        }
        place.likeness = self.likenesses.of(description);
        self.outline.places[index] = place;
        (index, below)
    }

    /// The distinct lists of converters that rules have at a part.
    fn variants(
        &self,
        part: &DynamicPart,
        first: usize,
        count: usize,
        rules: &[usize],
    ) -> Vec<Vec<&'m Converter>> {
        let is_number =
            |piece: &Piece| matches!(piece, Piece::Variable(Converter::Int(_) | Converter::Float(_)));
        if !part.pieces().iter().any(is_number) {
            return Vec::new();
        }
        let mut known = BTreeSet::new();
        let mut variants = Vec::new();
        for rule in rules {
            let variables = &self.rules[*rule].pattern.variables()[first..first + count];
            let converters: Vec<&Converter> = variables.iter().map(Variable::converter).collect();
            if known.insert(format!("{converters:?}")) {
                variants.push(converters);
            }
        }
        variants
    }
}

/// The properties of a rule that matter to a search at the place where it ends: its methods, its handling of slashes,
/// and the ranges of its numbers.
fn description_of(rule: &Rule) -> String {
    let converters = rule.pattern.variables().iter().map(Variable::converter);
    let numbers: Vec<&Converter> =
        converters.filter(|converter| matches!(converter, Converter::Int(_) | Converter::Float(_))).collect();
    format!("{} {} {} {numbers:?}", rule.methods, rule.strict_slashes, rule.merge_slashes)
}

impl<'m> Likenesses<'m> {
    fn of(&mut self, description: Description<'m>) -> usize {
        let next = self.known.len();
        *self.known.entry(description).or_insert(next)
    }
}
