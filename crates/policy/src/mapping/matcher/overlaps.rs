//! Rules between which only their order decides.
//!
//! Order matters to Werkzeug in two places: among rules of the same shape, and among dynamic parts of the same weight
//! at one node. Everything else - static before dynamic, weight before weight - is decided by the patterns. So the
//! search for overlaps starts at those places and walks down both branches at once, as far as one path can lead down
//! both. Each candidate is then proven or refuted on the languages of the two rules.
//!
//! Among n rules that are all alike there are n²/2 pairs, and a file may contain any number of them. So the search
//! stops after [`MOST_FOUND`] overlaps, or [`MOST_WORK`] steps, and reports that it did.

use std::collections::HashSet;
use std::sync::Arc;

use super::Rule;
use super::language::{Common, Language};
use super::segments::{Edge, NodeIndex};
use super::tree::{Node, Tree};
use crate::mapping::pattern::DynamicPart;
use crate::method::MethodSet;

/// Two rules that can answer the same request, where Werkzeug does not define which one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The rule that comes first in the list, and so wins here.
    pub first: usize,
    /// The other one.
    pub second: usize,
    /// The methods that both serve, except those that are automatic in both; never empty.
    pub methods: MethodSet,
    /// A path that both answer. `None` if the patterns are too large to determine whether there is one.
    pub example: Option<String>,
}

/// The number of overlaps after which the search stops.
const MOST_FOUND: usize = 1_000;
/// The most work of a search: a second or two, and some tens of megabytes. A table of 10,000 typical application rules
/// takes a hundredth of it.
const MOST_WORK: usize = 20_000_000;

/// The result of a search.
#[derive(Debug, Default)]
pub(super) struct Overlaps {
    /// Sorted by the rules.
    pub(super) found: Vec<Overlap>,
    /// Whether every pair was examined. If not, there may be more.
    pub(super) complete: bool,
}

/// Finds the overlaps.
pub(super) fn find(tree: &Tree, rules: &[Rule]) -> Overlaps {
    find_within(tree, rules, MOST_WORK)
}

fn find_within(tree: &Tree, rules: &[Rule], work: usize) -> Overlaps {
    let mut search = Candidates { tree, rules, seen: HashSet::new(), found: Vec::new(), work };
    for node in tree.nodes() {
        search.among(node.rules());
        search.among(node.prefixes());
        search.among_dynamics(node.dynamics());
    }
    let complete = !search.has_ended();
    let mut found = search.found;
    found.sort_by_key(|overlap| (overlap.first, overlap.second));
    Overlaps { found, complete }
}

struct Candidates<'a> {
    tree: &'a Tree,
    rules: &'a [Rule],
    /// The pairs that were proven or refuted.
    seen: HashSet<(usize, usize)>,
    found: Vec<Overlap>,
    /// The remaining work.
    work: usize,
}

impl Candidates<'_> {
    fn has_ended(&self) -> bool {
        self.work == 0 || self.found.len() >= MOST_FOUND
    }

    fn spend(&mut self, work: usize) {
        self.work = self.work.saturating_sub(work);
    }

    /// What two languages have in common.
    fn compare(&mut self, one: &Language, other: &Language) -> Common {
        let (common, steps) = one.compare(other);
        self.spend(steps + one.size() + other.size());
        common
    }

    /// Proves or refutes the overlap of two rules with a method in contention.
    fn prove(&mut self, first: usize, second: usize) {
        let (one, other) = (&self.rules[first], &self.rules[second]);
        let example = match self.compare(&Language::of_rule(one), &Language::of_rule(other)) {
            Common::Nothing => return,
            Common::Text(path) => Some(path),
            Common::Unknown => None,
        };
        self.found.push(Overlap { first, second, methods: one.contended(other), example });
    }

    /// Compares rules of one shape.
    fn among(&mut self, rules: &[usize]) {
        for (index, one) in rules.iter().enumerate() {
            if self.has_ended() {
                return;
            }
            self.across(&[*one], &rules[index + 1..]);
        }
    }

    /// Compares dynamic parts of one node: only those of equal weight are tried in the given order.
    fn among_dynamics(&mut self, dynamics: &[(Arc<DynamicPart>, NodeIndex)]) {
        for siblings in dynamics.chunk_by(|(one, _), (other, _)| one.weight() == other.weight()) {
            // Once sorted, parts whose leading literals agree are neighbours, so that many siblings with different
            // literals (`/v-<id>`, `/w-<id>`) are not all compared with each other.
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

    /// Compares two dynamic parts and everything below them.
    fn dynamics(&mut self, one: &DynamicPart, node: NodeIndex, other: &DynamicPart, other_node: NodeIndex) {
        if self.has_ended() {
            return;
        }
        if one.takes_rest() || other.takes_rest() {
            // Only the languages of whole rules show how much of the other branch one of them takes.
            let (ones, others) = (self.below(node), self.below(other_node));
            self.across(&ones, &others);
        } else if self.compare(&Language::of_part(one), &Language::of_part(other)) != Common::Nothing {
            self.descend(node, other_node);
        }
    }

    /// Compares two nodes to which the same path can lead.
    fn descend(&mut self, one: NodeIndex, other: NodeIndex) {
        if self.has_ended() {
            return;
        }
        let (one, other) = (self.tree.at(one), self.tree.at(other));
        self.spend(1 + one.statics().len().min(other.statics().len()));
        self.across(one.rules(), other.rules());
        self.beside_slash(one, other);
        self.beside_slash(other, one);
        let fewer_first = one.statics().len() <= other.statics().len();
        let (few, many) = if fewer_first { (one, other) } else { (other, one) };
        for Edge { text, child } in few.statics() {
            if let Some(counterpart) = many.child(text) {
                self.descend(*child, counterpart);
            }
        }
        self.statics_beside_dynamics(one, other);
        self.statics_beside_dynamics(other, one);
        for (part, child) in one.dynamics() {
            for (other_part, other_child) in other.dynamics() {
                self.dynamics(part, *child, other_part, *other_child);
            }
        }
    }

    /// Compares a rule that ends at one node with a rule that ends one slash later at the other: the first may tolerate
    /// an additional slash, and the second redirects if the slash is missing.
    fn beside_slash(&mut self, one: Node<'_>, other: Node<'_>) {
        if let Some(slash) = other.child("") {
            self.across(one.rules(), self.tree.at(slash).rules());
        }
    }

    fn statics_beside_dynamics(&mut self, statics: Node<'_>, dynamics: Node<'_>) {
        for (part, child) in dynamics.dynamics() {
            if self.has_ended() {
                return;
            }
            self.spend(statics.statics().len());
            for Edge { text, child: static_child } in statics.statics() {
                if part.takes_rest() {
                    let (ones, others) = (self.below(*static_child), self.below(*child));
                    self.across(&ones, &others);
                } else if part.fits(text) {
                    self.descend(*static_child, *child);
                }
            }
        }
    }

    /// Compares every pair with a method in contention, the smaller index first.
    fn across(&mut self, ones: &[usize], others: &[usize]) {
        for one in ones {
            for other in others {
                if self.has_ended() {
                    return;
                }
                self.spend(1);
                let pair = (*one.min(other), *one.max(other));
                if !self.rules[*one].contended(&self.rules[*other]).is_empty() && self.seen.insert(pair) {
                    self.prove(pair.0, pair.1);
                }
            }
        }
    }

    /// All exact rules at a node and below.
    fn below(&mut self, node: NodeIndex) -> Vec<usize> {
        let mut rules = Vec::new();
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            self.spend(1);
            let node = self.tree.at(node);
            rules.extend_from_slice(node.rules());
            open.extend(node.statics().iter().map(|edge| edge.child));
            open.extend(node.dynamics().iter().map(|(_, child)| *child));
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::pattern::Pattern;

    fn alike(count: usize) -> Vec<Rule> {
        let rule = |number| {
            let pattern = Pattern::parse(&format!("/a/<x{number}>/b")).unwrap();
            Rule::declared(pattern, MethodSet::ALL)
        };
        (0..count).map(rule).collect()
    }

    #[test]
    fn of_many_overlaps_the_first_are_found() {
        for (count, expected, complete) in [(10, 45, true), (45, 990, true), (46, MOST_FOUND, false)] {
            let rules = alike(count);
            let overlaps = find(&Tree::new(&rules), &rules);
            assert_eq!((overlaps.found.len(), overlaps.complete), (expected, complete), "{count}");
        }
        let rules = alike(20_000);
        let overlaps = find(&Tree::new(&rules), &rules);
        assert_eq!((overlaps.found.len(), overlaps.complete), (MOST_FOUND, false));
    }

    /// Whatever work is left, a search that found nothing does not say that there is nothing.
    #[test]
    fn a_search_that_ends_early_says_so() {
        let rules = alike(3);
        let tree = Tree::new(&rules);
        let enough = (1..).find(|work| find_within(&tree, &rules, *work).complete).unwrap();
        assert_eq!(find_within(&tree, &rules, enough).found.len(), 3);
        for work in 0..enough {
            let overlaps = find_within(&tree, &rules, work);
            assert!(!overlaps.complete && overlaps.found.len() <= 3, "{work}");
        }
    }

    /// Parts that share a position and no path: each pair of them is compared, and none overlaps.
    #[test]
    fn the_work_of_a_large_table_is_bounded() {
        let rule = |number: usize| {
            // Of one weight, so that only their values distinguish them.
            let pattern = Pattern::parse(&format!("/<any(a{number:05}, b{number:05}):x>/<y>")).unwrap();
            Rule::declared(pattern, MethodSet::ALL)
        };
        let few: Vec<Rule> = (0..100).map(rule).collect();
        let overlaps = find_within(&Tree::new(&few), &few, MOST_WORK / 20);
        assert!(overlaps.complete && overlaps.found.is_empty());
        let many: Vec<Rule> = (0..2_000).map(rule).collect();
        let overlaps = find_within(&Tree::new(&many), &many, MOST_WORK / 20);
        assert!(!overlaps.complete && overlaps.found.is_empty());
    }

    #[test]
    fn a_large_application_is_looked_through() {
        let rule = |number: usize| {
            let path = match number % 4 {
                0 => format!("/console/area{number}/list"),
                1 => format!("/console/area{}/<id>/view{number}", number % 100),
                2 => format!("/console/area{}/<int:n>/<slug>/view{number}", number % 100),
                _ => format!("/console/files{number}/<path:rest>"),
            };
            Rule::declared(Pattern::parse(&path).unwrap(), MethodSet::EMPTY.with(crate::method::Method::Get))
        };
        let rules: Vec<Rule> = (0..10_000).map(rule).collect();
        let overlaps = find_within(&Tree::new(&rules), &rules, MOST_WORK / 100);
        assert!(overlaps.complete && overlaps.found.is_empty(), "{:?}", overlaps.found.first());
    }
}
