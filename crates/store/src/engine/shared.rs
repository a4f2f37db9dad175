//! Values that thousands of rows repeat.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Values of which equal ones are held once: thousands of people hold the same.
pub(crate) struct Shared<T: Ord + ?Sized>(BTreeSet<Arc<T>>);

impl<T: Ord + ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Shared(BTreeSet::new())
    }
}

impl<T: Ord + ?Sized> Shared<T> {
    pub(crate) fn of(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.0.get(&value) {
            return known.clone();
        }
        self.0.insert(value.clone());
        value
    }
}
