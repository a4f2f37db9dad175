//! The values that a search has collected so far.

/// The number of values that need no allocation. Few patterns have more variables.
const INLINE: usize = 6;

/// A stack of texts from the path. A search pushes on its way down and truncates when it backtracks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captures<'p> {
    inline: [&'p str; INLINE],
    spilled: Vec<&'p str>,
    len: usize,
}

impl<'p> Captures<'p> {
    pub(crate) fn push(&mut self, value: &'p str) {
        match self.inline.get_mut(self.len) {
            Some(slot) => *slot = value,
            None => self.spilled.push(value),
        }
        self.len += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Removes all but the first `len` values.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.spilled.truncate(len.saturating_sub(INLINE));
        self.len = self.len.min(len);
    }

    /// The values in the order in which they were pushed.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'p str> {
        self.inline.iter().take(self.len).chain(&self.spilled).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_in_order_over_the_inline_limit() {
        let texts = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let mut captures = Captures::default();
        for len in 0..=texts.len() {
            texts[..len].iter().for_each(|text| captures.push(text));
            assert_eq!(captures.iter().collect::<Vec<_>>(), &texts[..len]);
            captures.truncate(len / 2);
            assert_eq!(captures.iter().collect::<Vec<_>>(), &texts[..len / 2]);
            captures.truncate(0);
        }
    }
}
