//! The tree of parts along which a search walks.
//!
//! A large table has many nodes, nearly all alike: one segment, one rule. So nodes are ranges of lists that all nodes
//! share. For a node with many static segments, a hash table finds the right one.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::Arc;

use super::Rule;
use super::segments::{Edge, NodeIndex, Segments};
use crate::mapping::pattern::{DynamicPart, Part, PatternKind, Rest, split_segment};

/// A place in the paths (Werkzeug's `State`).
#[derive(Clone, Copy, Debug)]
pub(in crate::mapping) struct Node<'t> {
    tree: &'t Tree,
    index: NodeIndex,
    /// The end of the node's own ranges, after the end of the ranges of the node before.
    ends: &'t [Ends; 2],
}

/// The ranges of a node's parts in the lists of all nodes: each range begins where that of the previous node ends.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    statics: u32,
    dynamics: u32,
    rules: u32,
    prefixes: u32,
}

/// All nodes.
#[derive(Debug)]
pub(in crate::mapping) struct Tree {
    /// The ends by node, with one entry before the first.
    ends: Box<[Ends]>,
    segments: Segments,
    /// The dynamic parts of each node, in the order in which they are tried.
    dynamics: Box<[(Arc<DynamicPart>, NodeIndex)]>,
    /// The exact rules that end at each node, in the given order.
    rules: Box<[usize]>,
    /// The prefixes that end at each node, in the given order.
    prefixes: Box<[usize]>,
}

impl<'t> Node<'t> {
    /// The node that a static segment leads to; the empty segment is a final slash.
    pub(super) fn child(self, segment: &str) -> Option<NodeIndex> {
        self.edge(segment).map(|edge| edge.child)
    }

    /// The same, with the segment as stored in the tree.
    pub(super) fn edge(self, segment: &str) -> Option<&'t Edge> {
        self.tree.segments.find(self.index, self.range(|ends| ends.statics), segment)
    }

    /// The static segments with their targets, in the given order.
    pub(in crate::mapping) fn statics(self) -> &'t [Edge] {
        self.tree.segments.of(self.range(|ends| ends.statics))
    }

    pub(in crate::mapping) fn dynamics(self) -> &'t [(Arc<DynamicPart>, NodeIndex)] {
        &self.tree.dynamics[self.range(|ends| ends.dynamics)]
    }

    pub(in crate::mapping) fn rules(self) -> &'t [usize] {
        &self.tree.rules[self.range(|ends| ends.rules)]
    }

    pub(in crate::mapping) fn prefixes(self) -> &'t [usize] {
        &self.tree.prefixes[self.range(|ends| ends.prefixes)]
    }

    fn range(self, end: impl Fn(&Ends) -> u32) -> Range<usize> {
        let [before, own] = self.ends;
        end(before) as usize..end(own) as usize
    }
}

impl Tree {
    /// The place after the leading slash.
    pub(in crate::mapping) const ROOT: NodeIndex = NodeIndex(0);

    pub(super) fn new(rules: &[Rule]) -> Tree {
        let mut builder = Builder { nodes: 1, ..Builder::default() };
        for (index, rule) in rules.iter().enumerate() {
            builder.add(index, rule);
        }
        builder.finish()
    }

    /// A node.
    pub(in crate::mapping) fn at(&self, index: NodeIndex) -> Node<'_> {
        let ends = self.ends[index.0 as usize..].first_chunk().expect("the last node has an end, too");
        Node { tree: self, index, ends }
    }

    /// The longest prefix of the path among those that are `eligible`.
    pub(super) fn longest_prefix(&self, rest: Rest<'_>, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let mut longest = None;
        if self.prefixes.is_empty() {
            return longest;
        }
        let mut node = Some(Tree::ROOT);
        let mut rest = rest;
        while let Some(index) = node {
            let mut prefixes = self.at(index).prefixes().iter().copied();
            longest = prefixes.find(|rule| eligible(*rule)).or(longest);
            node = rest.and_then(|left| {
                let (segment, after) = split_segment(left);
                rest = after;
                self.at(index).child(segment)
            });
        }
        longest
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (0..self.ends.len() - 1).map(|node| self.at(number(node)))
    }
}

/// What leaves the nodes or ends at them, in the given order.
#[derive(Default)]
struct Builder<'r> {
    nodes: usize,
    statics: Vec<(NodeIndex, &'r Arc<str>, NodeIndex)>,
    dynamics: Vec<(NodeIndex, &'r Arc<DynamicPart>, NodeIndex)>,
    rules: Vec<(NodeIndex, usize)>,
    prefixes: Vec<(NodeIndex, usize)>,
    by_segment: HashMap<(NodeIndex, &'r str), NodeIndex>,
    by_shape: HashMap<(NodeIndex, usize), NodeIndex>,
    /// A part is identified by its shape, and the shape by a number: a table has few different parts, and each occurs
    /// often.
    shapes: HashMap<String, usize>,
    shape_of_part: HashMap<*const DynamicPart, usize>,
}

impl<'r> Builder<'r> {
    fn add(&mut self, index: usize, rule: &'r Rule) {
        let mut node = Tree::ROOT;
        for part in rule.pattern.parts() {
            node = match part {
                Part::Static(text) => self.static_child(node, text),
                Part::Dynamic(part) => self.dynamic_child(node, part),
            };
        }
        match rule.pattern.kind() {
            PatternKind::Exact => self.rules.push((node, index)),
            PatternKind::Prefix => self.prefixes.push((node, index)),
        }
    }

    fn static_child(&mut self, node: NodeIndex, text: &'r Arc<str>) -> NodeIndex {
        let next = number(self.nodes);
        let child = *self.by_segment.entry((node, text)).or_insert(next);
        if child == next {
            self.nodes += 1;
            self.statics.push((node, text, child));
        }
        child
    }

    fn dynamic_child(&mut self, node: NodeIndex, part: &'r Arc<DynamicPart>) -> NodeIndex {
        let shapes = &mut self.shapes;
        let shape = *self.shape_of_part.entry(Arc::as_ptr(part)).or_insert_with(|| {
            let next = shapes.len();
            *shapes.entry(part.shape()).or_insert(next)
        });
        let next = number(self.nodes);
        let child = *self.by_shape.entry((node, shape)).or_insert(next);
        if child == next {
            self.nodes += 1;
            self.dynamics.push((node, part, child));
        }
        child
    }

    fn finish(mut self) -> Tree {
        // The sorts are stable, like Python's: equal weights stay in the given order.
        self.statics.sort_by_key(|(node, ..)| *node);
        self.dynamics.sort_by(|(node, one, _), (other_node, other, _)| {
            node.cmp(other_node).then_with(|| one.weight().cmp(other.weight()))
        });
        self.rules.sort_by_key(|(node, _)| *node);
        self.prefixes.sort_by_key(|(node, _)| *node);
        let mut ends = vec![Ends::default(); self.nodes + 1];
        let mut count =
            |node: NodeIndex, end: fn(&mut Ends) -> &mut u32| *end(&mut ends[node.0 as usize + 1]) += 1;
        self.statics.iter().for_each(|(node, ..)| count(*node, |ends| &mut ends.statics));
        self.dynamics.iter().for_each(|(node, ..)| count(*node, |ends| &mut ends.dynamics));
        self.rules.iter().for_each(|(node, _)| count(*node, |ends| &mut ends.rules));
        self.prefixes.iter().for_each(|(node, _)| count(*node, |ends| &mut ends.prefixes));
        let mut sum = Ends::default();
        for ends in &mut ends {
            sum.statics += ends.statics;
            sum.dynamics += ends.dynamics;
            sum.rules += ends.rules;
            sum.prefixes += ends.prefixes;
            *ends = sum;
        }
        let edges = self.statics.iter().map(|(_, text, child)| Edge { text: (*text).clone(), child: *child });
        let parents: Vec<NodeIndex> = self.statics.iter().map(|(node, ..)| *node).collect();
        // Random, as in a `HashMap`, so that the author of the table cannot make segments collide.
        let seed = RandomState::new().hash_one(parents.len());
        Tree {
            segments: Segments::new(edges.collect(), &parents, seed),
            dynamics: self.dynamics.iter().map(|(_, part, child)| ((*part).clone(), *child)).collect(),
            rules: self.rules.iter().map(|(_, rule)| *rule).collect(),
            prefixes: self.prefixes.iter().map(|(_, rule)| *rule).collect(),
            ends: ends.into(),
        }
    }
}

/// A table of four billion nodes does not fit into memory.
fn number(node: usize) -> NodeIndex {
    NodeIndex(u32::try_from(node).expect("fewer nodes than a file of 64 MiB has bytes"))
}
