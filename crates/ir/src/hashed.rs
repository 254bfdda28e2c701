//! A value with its hash: compared by pointer first, then by hash.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

/// A shared value whose 128-bit hash was computed once.
///
/// The hash lives in one process only: it feeds memo tables, never a version that Envoy sees.
pub struct Hashed<T> {
    hash: u128,
    value: Arc<T>,
}

impl<T: Hash> Hashed<T> {
    /// Hashes a value once.
    #[must_use]
    pub fn new(value: T) -> Self {
        let mut hasher = Xxh3::new();
        value.hash(&mut hasher);
        Self {
            hash: hasher.digest128(),
            value: Arc::new(value),
        }
    }
}

impl<T> Hashed<T> {
    /// The 128-bit hash.
    #[must_use]
    pub fn hash128(&self) -> u128 {
        self.hash
    }
}

impl<T> Deref for Hashed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Clone for Hashed<T> {
    fn clone(&self) -> Self {
        Self {
            hash: self.hash,
            value: Arc::clone(&self.value),
        }
    }
}

impl<T> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value) || self.hash == other.hash
    }
}

impl<T> Eq for Hashed<T> {}

impl<T> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Hashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_equal_without_sharing() {
        assert_eq!(Hashed::new(vec![1, 2]), Hashed::new(vec![1, 2]));
        assert_ne!(Hashed::new(vec![1, 2]), Hashed::new(vec![2, 1]));
    }
}
