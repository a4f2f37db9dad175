//! Rules between which only their order decides.
//!
//! Order matters to Werkzeug in two places: among rules of the same shape, and among dynamic parts of the same
//! weight at one node. All else - static before dynamic, weight before weight - is decided by the patterns.
//! So the search for overlaps starts at those places and walks down both branches at once, as far as one path can
//! lead down both; what it finds is then proven or refuted on the languages of the two rules.

use super::Rule;
use super::language::{Common, Language};
use super::tree::{NodeIndex, Tree};
use crate::mapping::pattern::DynamicPart;
use crate::method::MethodSet;

/// Two rules that can answer the same request, where no rule of Werkzeug says which one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The rule that comes first in the list, and so wins here.
    pub first: usize,
    /// The other one.
    pub second: usize,
    /// The methods that both serve, but for those that are automatic in both; never empty.
    pub methods: MethodSet,
    /// A path that both answer. `None` if the patterns are too large to find out whether there is one.
    pub example: Option<String>,
}

/// Finds every overlap, sorted by the rules.
pub(super) fn find(tree: &Tree, rules: &[Rule]) -> Vec<Overlap> {
    let mut candidates = Candidates { tree, rules, pairs: Vec::new() };
    for node in tree.nodes() {
        candidates.among(node.rules());
        candidates.among(node.prefixes());
        candidates.among_dynamics(node.dynamics());
    }
    let Candidates { mut pairs, .. } = candidates;
    pairs.sort_unstable();
    pairs.dedup();
    pairs.into_iter().filter_map(|(first, second)| overlap(rules, first, second)).collect()
}

/// The proof for two rules with a method in contention.
fn overlap(rules: &[Rule], first: usize, second: usize) -> Option<Overlap> {
    let (one, other) = (&rules[first], &rules[second]);
    let methods = one.contended(other);
    let example = match Language::of_rule(one).common(&Language::of_rule(other)) {
        Common::Nothing => return None,
        Common::Text(path) => Some(path),
        Common::Unknown => None,
    };
    Some(Overlap { first, second, methods, example })
}

struct Candidates<'a> {
    tree: &'a Tree,
    rules: &'a [Rule],
    pairs: Vec<(usize, usize)>,
}

impl Candidates<'_> {
    /// Rules of one shape.
    fn among(&mut self, rules: &[usize]) {
        for (index, one) in rules.iter().enumerate() {
            self.across(&[*one], &rules[index + 1..]);
        }
    }

    /// Dynamic parts of one node: only those of equal weight are tried in the order given.
    fn among_dynamics(&mut self, dynamics: &[(DynamicPart, NodeIndex)]) {
        for siblings in dynamics.chunk_by(|(one, _), (other, _)| one.weight() == other.weight()) {
            // Parts whose leading literals agree are neighbours once sorted, so that many siblings with
            // a literal of their own (`/v-<id>`, `/w-<id>`) are not compared each with each.
            let mut siblings: Vec<_> = siblings.iter().collect();
            siblings.sort_by_key(|(part, _)| part.leading_literal());
            for (index, (one, node)) in siblings.iter().enumerate() {
                siblings[index + 1..]
                    .iter()
                    .take_while(|(other, _)| other.leading_literal().starts_with(one.leading_literal()))
                    .for_each(|(other, other_node)| self.dynamics(one, *node, other, *other_node));
            }
        }
    }

    /// Two dynamic parts and what lies behind them.
    fn dynamics(&mut self, one: &DynamicPart, node: NodeIndex, other: &DynamicPart, other_node: NodeIndex) {
        if one.takes_rest() || other.takes_rest() {
            // How much of the other branch one of them takes, only the languages of whole rules show.
            self.across(&self.below(node), &self.below(other_node));
        } else if Language::of_part(one).common(&Language::of_part(other)) != Common::Nothing {
            self.descend(node, other_node);
        }
    }

    /// Two nodes to which the same path can lead.
    fn descend(&mut self, one: NodeIndex, other: NodeIndex) {
        let tree = self.tree;
        self.across(tree[one].rules(), tree[other].rules());
        self.beside_slash(one, other);
        self.beside_slash(other, one);
        let fewer_first = tree[one].statics().len() <= tree[other].statics().len();
        let (few, many) = if fewer_first { (one, other) } else { (other, one) };
        for (segment, child) in tree[few].statics() {
            if let Some(counterpart) = tree[many].child(segment) {
                self.descend(*child, counterpart);
            }
        }
        self.statics_beside_dynamics(one, other);
        self.statics_beside_dynamics(other, one);
        for (part, child) in tree[one].dynamics() {
            for (other_part, other_child) in tree[other].dynamics() {
                self.dynamics(part, *child, other_part, *other_child);
            }
        }
    }

    /// A rule that ends at one node, and one that ends a slash later at the other: the first may not mind
    /// a slash more, the second redirects when there is one less.
    fn beside_slash(&mut self, one: NodeIndex, other: NodeIndex) {
        if let Some(slash) = self.tree[other].child("") {
            self.across(self.tree[one].rules(), self.tree[slash].rules());
        }
    }

    fn statics_beside_dynamics(&mut self, statics: NodeIndex, dynamics: NodeIndex) {
        let tree = self.tree;
        for (part, child) in tree[dynamics].dynamics() {
            for (segment, static_child) in tree[statics].statics() {
                if part.takes_rest() {
                    self.across(&self.below(*static_child), &self.below(*child));
                } else if part.fits(segment) {
                    self.descend(*static_child, *child);
                }
            }
        }
    }

    /// Notes every pair with a method in contention, the smaller index first.
    fn across(&mut self, ones: &[usize], others: &[usize]) {
        for one in ones {
            for other in others {
                if !self.rules[*one].contended(&self.rules[*other]).is_empty() {
                    self.pairs.push((*one.min(other), *one.max(other)));
                }
            }
        }
    }

    /// All exact rules at a node and below.
    fn below(&self, node: NodeIndex) -> Vec<usize> {
        let mut rules = Vec::new();
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            let node = &self.tree[node];
            rules.extend_from_slice(node.rules());
            open.extend(node.statics().values());
            open.extend(node.dynamics().iter().map(|(_, child)| *child));
        }
        rules
    }
}
