//! Sums that are looked up by borrowed keys, without allocating.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

/// The sums of one shard. Sums of one hash are chained.
pub(super) struct Sums<S> {
    first: HashMap<u64, usize, BuildHasherDefault<AsItIs>>,
    sums: Vec<Chained<S>>,
}

struct Chained<S> {
    sum: S,
    next: Option<usize>,
}

impl<S> Default for Sums<S> {
    fn default() -> Self {
        Sums { first: HashMap::default(), sums: Vec::new() }
    }
}

impl<S> Sums<S> {
    /// The sum with this hash that is meant.
    pub(super) fn find(&mut self, hash: u64, is_meant: impl Fn(&S) -> bool) -> Option<&mut S> {
        let mut place = self.first.get(&hash).copied();
        while let Some(found) = place {
            if is_meant(&self.sums[found].sum) {
                return Some(&mut self.sums[found].sum);
            }
            place = self.sums[found].next;
        }
        None
    }

    /// Adds a sum that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, sum: S) {
        let place = self.sums.len();
        let next = match self.first.entry(hash) {
            Entry::Occupied(mut first) => Some(first.insert(place)),
            Entry::Vacant(first) => {
                first.insert(place);
                None
            }
        };
        self.sums.push(Chained { sum, next });
    }

    /// Takes all sums.
    pub(super) fn take(&mut self) -> impl Iterator<Item = S> + use<S> {
        // The map keeps its room for the next sums.
        self.first.clear();
        std::mem::take(&mut self.sums).into_iter().map(|chained| chained.sum)
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_one_hash_are_distinguished() {
        let mut sums = Sums::default();
        for (hash, word) in [(1, "a"), (1, "b"), (2, "c"), (1, "d")] {
            assert!(sums.find(hash, |sum| *sum == word).is_none());
            sums.insert(hash, word);
        }
        for (hash, word) in [(1, "d"), (1, "a"), (1, "b"), (2, "c")] {
            assert_eq!(sums.find(hash, |sum| *sum == word), Some(&mut { word }));
        }
        assert!(sums.find(2, |sum| *sum == "a").is_none());
        assert_eq!(sums.take().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert!(sums.find(1, |_| true).is_none());
    }
}
