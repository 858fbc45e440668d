//! Whose a number is: ranges in sorted chunks that snapshots share, so that one tenant's change copies
//! the few chunks it touches and none of the others.

use crate::numbering::E164_DIGITS_MAX;
use std::sync::Arc;

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

impl NumberRange {
    /// Whether a number is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.digits == other.digits && self.first <= other.last && other.first <= self.last
    }

    fn key(&self) -> Key {
        (self.digits, self.first)
    }
}

impl std::fmt::Display for NumberRange {
    /// As in a file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = usize::from(self.digits);
        write!(f, "+{:0width$}", self.first)?;
        match self.first == self.last {
            true => Ok(()),
            false => write!(f, "-+{:0width$}", self.last),
        }
    }
}

/// Order in the index: by length, then by first number.
type Key = (u8, u64);
type Entry = (NumberRange, usize);

/// Called number to tenant: ranges that do not overlap.
#[derive(Clone, Debug, Default)]
pub struct NumberIndex {
    /// Each with the key it begins with; none is empty.
    chunks: Arc<Vec<(Key, Arc<Vec<Entry>>)>>,
}

/// Ranges of a chunk: a change copies 16 KiB and a list of chunks that is as long, with a million
/// ranges.
const CHUNK: usize = 512;

impl NumberIndex {
    /// An index of `ranges`, or the first two entries that overlap.
    pub fn new(ranges: Vec<(NumberRange, usize)>) -> Result<Self, [(NumberRange, usize); 2]> {
        let mut ranges = ranges;
        ranges.sort_unstable_by_key(|(range, tenant)| (range.key(), *tenant));
        for pair in ranges.windows(2) {
            if let [one, two] = pair
                && two.0.overlaps(&one.0)
            {
                return Err([*one, *two]);
            }
        }
        let chunk =
            |entries: &[Entry]| Some((entries.first()?.0.key(), Arc::new(entries.to_vec())));
        Ok(Self { chunks: Arc::new(ranges.chunks(CHUNK).filter_map(chunk).collect()) })
    }

    /// The tenant that owns `number` (E.164 with or without `+`).
    pub fn tenant(&self, number: &str) -> Option<usize> {
        let digits = number.strip_prefix('+').unwrap_or(number);
        let length = u8::try_from(digits.len()).ok()?;
        if length == 0 || length > E164_DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let value: u64 = digits.parse().ok()?;
        let (range, tenant) = self.up_to((length, value))?;
        (range.digits == length && value <= range.last).then_some(*tenant)
    }

    /// An entry that has a number in common with `range`.
    pub fn overlapping(&self, range: &NumberRange) -> Option<(NumberRange, usize)> {
        // Entries do not overlap each other: of those that begin before its end, the last one reaches
        // furthest.
        let found = self.up_to((range.digits, range.last))?;
        found.0.overlaps(range).then_some(*found)
    }

    /// Adds a range; or the entry that it overlaps, and nothing is added.
    pub fn insert(
        &mut self,
        range: NumberRange,
        tenant: usize,
    ) -> Result<(), (NumberRange, usize)> {
        if let Some(taken) = self.overlapping(&range) {
            return Err(taken);
        }
        let key = range.key();
        let at = self.chunk_of(key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some((first, chunk)) = chunks.get_mut(at) else {
            chunks.push((key, Arc::new(vec![(range, tenant)])));
            return Ok(());
        };
        let entries = Arc::make_mut(chunk);
        entries.insert(entries.partition_point(|(other, _)| other.key() < key), (range, tenant));
        *first = (*first).min(key);
        if entries.len() > 2 * CHUNK {
            let rest = entries.split_off(CHUNK);
            if let Some((begins, _)) = rest.first() {
                chunks.insert(at + 1, (begins.key(), Arc::new(rest)));
            }
        }
        Ok(())
    }

    /// Takes this very range of this tenant away; whether it was there.
    pub fn remove(&mut self, range: &NumberRange, tenant: usize) -> bool {
        let key = range.key();
        let at = self.chunk_of(key);
        let Some((_, chunk)) = self.chunks.get(at) else { return false };
        let Ok(place) = chunk.binary_search_by_key(&key, |(other, _)| other.key()) else {
            return false;
        };
        if chunk.get(place) != Some(&(*range, tenant)) {
            return false;
        }
        let chunks = Arc::make_mut(&mut self.chunks);
        if let Some((first, chunk)) = chunks.get_mut(at) {
            let entries = Arc::make_mut(chunk);
            entries.remove(place);
            match entries.first() {
                Some((begins, _)) => *first = begins.key(),
                None => drop(chunks.remove(at)),
            }
        }
        true
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|(_, chunk)| chunk.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The last entry that begins at `key` or before.
    fn up_to(&self, key: Key) -> Option<&Entry> {
        let after = self.chunks.partition_point(|(first, _)| *first <= key);
        let (_, chunk) = self.chunks.get(after.checked_sub(1)?)?;
        chunk.get(chunk.partition_point(|(range, _)| range.key() <= key).checked_sub(1)?)
    }

    /// The chunk that an entry with this key is in, or belongs into.
    fn chunk_of(&self, key: Key) -> usize {
        self.chunks.partition_point(|(first, _)| *first <= key).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn range(first: u64, last: u64) -> NumberRange {
        NumberRange { first, last, digits: 6 }
    }

    #[test]
    fn a_range_that_overlaps_is_not_added_and_says_whom_it_meets() {
        let mut index = NumberIndex::new(vec![(range(200_000, 299_999), 1)]).unwrap();
        let whole = range(200_000, 299_999);
        for (first, last) in
            [(100_000, 200_000), (299_999, 300_000), (250_000, 250_000), (100_000, 900_000)]
        {
            assert_eq!(index.insert(range(first, last), 2), Err((whole, 1)));
        }
        assert_eq!(index.insert(range(100_000, 199_999), 2), Ok(()));
        assert_eq!(index.insert(NumberRange { digits: 7, ..range(200_000, 200_000) }, 3), Ok(()));
        assert!(!index.remove(&whole, 2), "another's");
        assert!(index.remove(&whole, 1));
        assert_eq!(index.tenant("+250000"), None);
        assert_eq!(index.tenant("150000"), Some(2));
        assert_eq!(index.len(), 2);
    }

    /// Against a plain map, with enough in it for chunks to split, empty and be shared.
    #[test]
    fn the_index_says_what_a_plain_map_says_and_a_snapshot_does_not_change() {
        let mut state = 7u64;
        let mut random = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut index = NumberIndex::default();
        let mut naive: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
        let mut snapshots = Vec::new();
        for step in 0..20_000 {
            let first = 100_000 + random(800_000);
            let last = first + random(60);
            let taken = naive.range(..=last).next_back().filter(|(_, (end, _))| *end >= first);
            let taken = taken.map(|(begin, (end, tenant))| (*begin, *end, *tenant));
            match (random(3) == 0, taken) {
                (true, Some((begin, end, tenant))) => {
                    assert!(index.remove(&range(begin, end), tenant));
                    naive.remove(&begin);
                }
                (_, taken) => {
                    let done = index.insert(range(first, last), step);
                    assert_eq!(done.is_err(), taken.is_some());
                    if done.is_ok() {
                        naive.insert(first, (last, step));
                    }
                }
            }
            if step % 4_000 == 0 {
                snapshots.push((index.clone(), naive.clone()));
            }
        }
        snapshots.push((index, naive));
        for (index, naive) in snapshots {
            assert_eq!(index.len(), naive.len());
            for number in (100_000..900_060).step_by(7) {
                let owner =
                    naive.range(..=number).next_back().filter(|(_, (end, _))| *end >= number);
                assert_eq!(
                    index.tenant(&format!("+{number}")),
                    owner.map(|(_, (_, tenant))| *tenant)
                );
            }
        }
    }

    #[test]
    fn one_tenants_change_shares_all_but_a_few_chunks() {
        let ranges = (0..100_000).map(|n| (range(n * 9, n * 9 + 8), 0)).collect();
        let before = NumberIndex::new(ranges).unwrap();
        let mut after = before.clone();
        assert!(after.remove(&range(9_000, 9_008), 0));
        after.insert(range(9_000, 9_004), 1).unwrap();
        let same = before.chunks.iter().zip(after.chunks.iter());
        let copied = same.filter(|(one, two)| !Arc::ptr_eq(&one.1, &two.1)).count();
        assert_eq!(copied, 1);
    }
}
