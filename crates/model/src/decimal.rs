//! A number with a fraction that can be compared and hashed.

/// A finite number, as users write percentages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(u64);

impl Decimal {
    /// The number; none: it is not finite.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        // Both zeros are the same number.
        number.is_finite().then(|| Self((number + 0.0).to_bits()))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}
