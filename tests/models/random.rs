//! Random choices that a seed repeats.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The choices of one scenario, all of them from one seed.
pub struct Random(StdRng);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(StdRng::seed_from_u64(seed))
    }

    /// The seed of another scenario.
    pub fn seed(&mut self) -> u64 {
        // Short enough to be typed.
        self.0.random_range(1..1_000_000_000)
    }

    /// A number from 0 to `end`, without `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// Whether something happens that happens so often.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the list, which has at least one.
    pub fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// From `least` to `most` of the list, each once, in the list's order.
    pub fn some<T: Clone>(&mut self, list: &[T], least: usize, most: usize) -> Vec<T> {
        let most = most.min(list.len());
        let wanted = least.min(most) + self.below(most - least.min(most) + 1);
        let mut taken: Vec<usize> = Vec::new();
        while taken.len() < wanted {
            let one = self.below(list.len());
            if !taken.contains(&one) {
                taken.push(one);
            }
        }
        taken.sort_unstable();
        taken.into_iter().map(|one| list[one].clone()).collect()
    }
}
