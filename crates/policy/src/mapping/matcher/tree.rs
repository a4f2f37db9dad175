//! The tree of parts along which a search walks.

use std::collections::HashMap;
use std::ops::Index;

use super::Rule;
use crate::mapping::pattern::{DynamicPart, Part, PatternKind, Rest, split_segment};

/// Names a node of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::mapping) struct NodeIndex(usize);

/// A place in the paths (Werkzeug's `State`).
#[derive(Debug, Default)]
pub(in crate::mapping) struct Node {
    statics: HashMap<Box<str>, NodeIndex>,
    /// In the order in which they are tried.
    dynamics: Vec<(DynamicPart, NodeIndex)>,
    /// The exact rules that end here, in the order given.
    rules: Vec<usize>,
    /// The prefixes that end here, in the order given.
    prefixes: Vec<usize>,
}

impl Node {
    /// Where a static segment leads; the empty one is a slash at the end.
    pub(super) fn child(&self, segment: &str) -> Option<NodeIndex> {
        self.statics.get(segment).copied()
    }

    pub(in crate::mapping) fn statics(&self) -> &HashMap<Box<str>, NodeIndex> {
        &self.statics
    }

    pub(in crate::mapping) fn dynamics(&self) -> &[(DynamicPart, NodeIndex)] {
        &self.dynamics
    }

    pub(in crate::mapping) fn rules(&self) -> &[usize] {
        &self.rules
    }

    pub(in crate::mapping) fn prefixes(&self) -> &[usize] {
        &self.prefixes
    }
}

/// All nodes, in one list.
#[derive(Debug)]
pub(in crate::mapping) struct Tree {
    nodes: Vec<Node>,
}

impl Index<NodeIndex> for Tree {
    type Output = Node;

    fn index(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.0]
    }
}

impl Tree {
    /// The place after the leading slash.
    pub(in crate::mapping) const ROOT: NodeIndex = NodeIndex(0);

    pub(super) fn new(rules: &[Rule]) -> Tree {
        let mut tree = Tree { nodes: vec![Node::default()] };
        // A part is known by its shape; looking it up here keeps the build linear where siblings are many.
        let mut dynamics = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let mut node = Tree::ROOT;
            for part in rule.pattern.parts() {
                node = match part {
                    Part::Static(text) => tree.static_child(node, text),
                    Part::Dynamic(part) => *dynamics
                        .entry((node, part.shape()))
                        .or_insert_with(|| tree.dynamic_child(node, part)),
                };
            }
            let node = &mut tree.nodes[node.0];
            match rule.pattern.kind() {
                PatternKind::Exact => node.rules.push(index),
                PatternKind::Prefix => node.prefixes.push(index),
            }
        }
        for node in &mut tree.nodes {
            // The sort is stable, as Python's is: equal weights stay in the order given.
            node.dynamics.sort_by(|(one, _), (other, _)| one.weight().cmp(other.weight()));
        }
        tree
    }

    /// The longest prefix of the path among those that are `eligible`.
    pub(super) fn longest_prefix(&self, rest: Rest<'_>, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let mut longest = None;
        let mut node = Some(Tree::ROOT);
        let mut rest = rest;
        while let Some(index) = node {
            let mut prefixes = self[index].prefixes.iter().copied();
            longest = prefixes.find(|rule| eligible(*rule)).or(longest);
            node = rest.and_then(|left| {
                let (segment, after) = split_segment(left);
                rest = after;
                self[index].child(segment)
            });
        }
        longest
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn static_child(&mut self, node: NodeIndex, text: &str) -> NodeIndex {
        if let Some(child) = self[node].child(text) {
            return child;
        }
        let child = self.push_node();
        self.nodes[node.0].statics.insert(text.into(), child);
        child
    }

    fn dynamic_child(&mut self, node: NodeIndex, part: &DynamicPart) -> NodeIndex {
        let child = self.push_node();
        self.nodes[node.0].dynamics.push((part.clone(), child));
        child
    }

    fn push_node(&mut self) -> NodeIndex {
        self.nodes.push(Node::default());
        NodeIndex(self.nodes.len() - 1)
    }
}
