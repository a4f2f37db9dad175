//! The static segments of all nodes, and the search for one of them.

use std::ops::Range;
use std::sync::Arc;

/// Names a node of the tree: a place in the paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::mapping) struct NodeIndex(pub(super) u32);

/// A static segment and where it leads.
#[derive(Debug)]
pub(in crate::mapping) struct Edge {
    pub(in crate::mapping) text: Arc<str>,
    pub(in crate::mapping) child: NodeIndex,
}

/// A node with at most this many segments is searched linearly: that is quicker than a hash.
const FEW: usize = 4;

/// The segments of each node are adjacent.
#[derive(Debug)]
pub(super) struct Segments {
    edges: Box<[Edge]>,
    /// An open-addressing hash table with the segments of nodes that have many; its length is a power of two, and half
    /// of it is empty.
    slots: Box<[Slot]>,
    seed: u64,
}

/// The upper half of a segment's hash, and the segment's place in the list, counted from 1; 0 marks an empty slot.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u32,
    place: u32,
}

impl Segments {
    /// `parents` are the nodes that the edges leave, in order. `seed` should be unpredictable.
    pub(super) fn new(edges: Box<[Edge]>, parents: &[NodeIndex], seed: u64) -> Segments {
        let nodes = parents.chunk_by(|one, other| one == other);
        let many: usize = nodes.map(<[_]>::len).filter(|count| *count > FEW).sum();
        let slots = if many == 0 { 0 } else { (2 * many).next_power_of_two() };
        let mut segments = Segments { edges, slots: vec![Slot::default(); slots].into(), seed };
        let mut first = 0;
        for node in parents.chunk_by(|one, other| one == other) {
            if node.len() > FEW {
                (first..first + node.len()).for_each(|edge| segments.insert(node[0], edge));
            }
            first += node.len();
        }
        segments
    }

    /// The segments of one node.
    pub(super) fn of(&self, edges: Range<usize>) -> &[Edge] {
        &self.edges[edges]
    }

    /// Finds a segment among those of one node.
    pub(super) fn find(&self, node: NodeIndex, edges: Range<usize>, segment: &str) -> Option<&Edge> {
        if edges.len() <= FEW {
            return self.edges[edges].iter().find(|edge| *edge.text == *segment);
        }
        let (hash, mut at) = self.place(node, segment);
        loop {
            let slot = self.slots[at];
            let edge = (slot.place as usize).checked_sub(1)?;
            // A segment of another node may have the same hash.
            if slot.hash == hash && edges.contains(&edge) && *self.edges[edge].text == *segment {
                return Some(&self.edges[edge]);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    fn insert(&mut self, node: NodeIndex, edge: usize) {
        let (hash, mut at) = self.place(node, &self.edges[edge].text);
        while self.slots[at].place != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        let place = u32::try_from(edge + 1).expect("fewer segments than a file of 64 MiB has bytes");
        self.slots[at] = Slot { hash, place };
    }

    /// A segment's hash, and the slot at which the search for it starts.
    fn place(&self, node: NodeIndex, segment: &str) -> (u32, usize) {
        let hash = hash(self.seed ^ u64::from(node.0), segment.as_bytes());
        let [a, b, c, d, lower @ ..] = hash.to_be_bytes();
        let lower = u32::from_be_bytes(lower) as usize;
        (u32::from_be_bytes([a, b, c, d]), lower & (self.slots.len() - 1))
    }
}

/// Hashes eight bytes at a time, like wyhash and its successors: much quicker than SipHash. Because the seed is secret,
/// the author of a table cannot know which segments collide. A collision costs only a comparison.
fn hash(seed: u64, text: &[u8]) -> u64 {
    const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];
    let (words, _) = text.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word)).chain([last_word(text)]);
    let state = words.fold(seed ^ ODD[0], |state, word| mix(state ^ word, ODD[1]));
    mix(state ^ text.len() as u64, ODD[0])
}

/// The last eight bytes. For a shorter text, the whole text with some bytes repeated: no other text of the same length
/// gives the same word.
fn last_word(text: &[u8]) -> u64 {
    if let Some(last) = text.last_chunk::<8>() {
        return u64::from_le_bytes(*last);
    }
    match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Both halves of the product, combined by XOR.
fn mix(one: u64, other: u64) -> u64 {
    let (lower, upper) = one.carrying_mul(other, 0);
    lower ^ upper
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node of `segments`, beside others with the same ones.
    fn nodes(counts: &[usize], seed: u64) -> Segments {
        let node = |number: usize| NodeIndex(number.try_into().expect("few nodes"));
        let places =
            || counts.iter().enumerate().flat_map(|(at, count)| (0..*count).map(move |edge| (at, edge)));
        let edges =
            places().map(|(at, edge)| Edge { text: text(edge).into(), child: node(1_000 * at + edge) });
        let parents: Vec<NodeIndex> = places().map(|(at, _)| node(at)).collect();
        Segments::new(edges.collect(), &parents, seed)
    }

    /// Of every length, with an empty one.
    fn text(edge: usize) -> String {
        "segment-".repeat(3)[..edge % 25].to_owned()
            + &if edge == 0 { String::new() } else { edge.to_string() }
    }

    #[test]
    fn each_node_has_its_own_segments() {
        let counts = [0, 1, FEW, FEW + 1, 100, 0, 500, FEW + 1];
        for seed in [0, 1, u64::MAX] {
            let segments = nodes(&counts, seed);
            let mut first = 0;
            for (node, count) in counts.into_iter().enumerate() {
                let index = NodeIndex(node.try_into().expect("few nodes"));
                for edge in 0..600 {
                    let found = segments.find(index, first..first + count, &text(edge));
                    let expected = (edge < count).then(|| u32::try_from(1_000 * node + edge).expect("small"));
                    assert_eq!(found.map(|edge| edge.child.0), expected, "{node} {edge}");
                }
                first += count;
            }
        }
    }

    #[test]
    fn hashes_of_similar_segments_differ() {
        let texts = (0..10_000).map(|number| format!("area{number}"));
        let hashes: std::collections::BTreeSet<u64> =
            texts.map(|text| hash(7, text.as_bytes()) & 0xf_ffff).collect();
        // 10,000 of a million places: by chance alone 50 pairs or so meet.
        assert!(hashes.len() > 9_900, "{}", hashes.len());
        assert_ne!(hash(7, b"a"), hash(7, b"a\0"), "the length counts");
        assert_ne!(hash(7, b"a"), hash(8, b"a"), "the seed counts");
    }
}
