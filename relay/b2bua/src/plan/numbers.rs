//! Whose a number is.

/// An E.164 range of numbers of equal length, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NumberRange {
    /// First number, without `+`.
    pub first: u64,
    /// Last number, without `+`.
    pub last: u64,
    /// Digits in each.
    pub digits: u8,
}

/// Called number to tenant: ranges that do not overlap, sorted.
#[derive(Clone, Debug, Default)]
pub struct NumberIndex {
    ranges: super::Shared<(NumberRange, usize)>,
}

impl NumberIndex {
    /// An index of `ranges`, or the first two entries that overlap.
    pub fn new(ranges: Vec<(NumberRange, usize)>) -> Result<Self, [(NumberRange, usize); 2]> {
        let mut ranges = ranges;
        ranges.sort_unstable_by_key(|(range, tenant)| (range.digits, range.first, *tenant));
        for pair in ranges.windows(2) {
            if let [one, two] = pair
                && one.0.digits == two.0.digits
                && two.0.first <= one.0.last
            {
                return Err([*one, *two]);
            }
        }
        Ok(Self { ranges: ranges.into() })
    }
    /// The tenant that owns `number` (E.164 with or without `+`).
    pub fn tenant(&self, number: &str) -> Option<usize> {
        let digits = number.strip_prefix('+').unwrap_or(number);
        let length = u8::try_from(digits.len()).ok()?;
        if length == 0 || length > E164_DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let value: u64 = digits.parse().ok()?;
        let after = self
            .ranges
            .partition_point(|(range, _)| (range.digits, range.first) <= (length, value));
        let (range, tenant) = self.ranges.get(after.checked_sub(1)?)?;
        (range.digits == length && value <= range.last).then_some(*tenant)
    }
}

/// E.164 allows 15 digits; a few more are seen with extensions, and 18 always fit in 64 bits.
pub const E164_DIGITS_MAX: u8 = 18;
