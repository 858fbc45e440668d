//! Least-cost tables: what each trunk asks for calls to a prefix, a million rows of it.
//!
//! Prefixes are sorted as text, each with its nearest shorter one that it begins with. The greatest prefix
//! up to a number is then below its longest one, or that itself, and the others are its ancestors: one
//! search and a short walk.

use crate::plan::E164_DIGITS_MAX;
use std::collections::HashMap;
use std::fmt;

/// Rates by prefix, as in a file. Trunks are as named there; the plan says which they are.
#[derive(Default)]
pub struct RateTable {
    /// The trunks, each with the first line that names it.
    names: Vec<(String, u32)>,
    /// Prefixes, sorted.
    keys: Box<[Key]>,
    /// For each prefix the nearest one that it begins with, or [`NONE`].
    parents: Box<[u32]>,
    /// For each prefix the first of its rows, and at the end the number of rows.
    first: Box<[u32]>,
    /// Rows by prefix.
    rows: Box<[Row]>,
}

/// Digits in halves of an octet from the top, each one more than its digit, so that an end sorts first.
type Key = u64;

/// Price in millionths above, trunk in the lower 16 bits: sorted by price.
type Row = u64;

const NONE: u32 = u32::MAX;
/// Digits of a prefix: E.164 has 15.
const PREFIX_DIGITS_MAX: usize = 16;
/// Trunks in one table: more than a host is meant for.
const TRUNKS_MAX: usize = 1000;
/// Rows of one table.
const ROWS_MAX: usize = 2_000_000;
/// Decimals of a price.
const DECIMALS: usize = 6;
/// The largest price, in millionths.
const PRICE_MAX: u64 = (1 << 48) - 1;
/// Problems of one file that are told; a file in the wrong format has a million of them.
pub const PROBLEMS_MAX: usize = 20;

/// What a trunk asks for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The trunk, by its place in [`RateTable::trunks`].
    pub trunk: usize,
    /// The price in millionths.
    pub price: u64,
    /// Digits of the prefix that it is for.
    pub digits: usize,
}

/// What is wrong with a row, and on which line.
pub type Wrong = (u32, String);

impl RateTable {
    /// Reads `prefix,trunk,price`, a row a line; a first line that names the columns and lines that begin
    /// with `#` are passed over. Otherwise what is wrong: the first [`PROBLEMS_MAX`] of it.
    pub fn read(text: &[u8]) -> Result<Self, Vec<Wrong>> {
        let mut reading = Reading::default();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line_number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let line = line.trim_ascii();
            let heading = index == 0 && line.to_ascii_lowercase().starts_with(b"prefix");
            if line.is_empty() || line.starts_with(b"#") || heading {
                continue;
            }
            if let Err(why) = reading.row(line, line_number) {
                reading.wrong.push((line_number, why));
            }
            if reading.wrong.len() >= PROBLEMS_MAX {
                break;
            }
        }
        reading.finish()
    }

    /// The trunks it names, each with the first line that does.
    pub fn trunks(&self) -> &[(String, u32)] {
        &self.names
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What it takes in memory.
    pub fn octets(&self) -> usize {
        self.keys.len() * (size_of::<Key>() + 2 * size_of::<u32>())
            + self.rows.len() * size_of::<Row>()
    }

    /// What each trunk asks for `number` by its longest prefix, the cheapest first, and of equal ones
    /// the more exact.
    pub fn offers(&self, number: &str) -> Vec<Offer> {
        let mut offers: Vec<Offer> = Vec::new();
        let Some(sought) = key(number.strip_prefix('+').unwrap_or(number)) else { return offers };
        let after = self.keys.partition_point(|key| *key <= sought);
        let mut at = after.checked_sub(1).and_then(|at| u32::try_from(at).ok()).unwrap_or(NONE);
        while let Some(key) = self.keys.get(at as usize).copied() {
            if begins_with(sought, key) {
                for row in self.rows_of(at as usize) {
                    let trunk = usize::try_from(row & 0xffff).unwrap_or_default();
                    if !offers.iter().any(|offer| offer.trunk == trunk) {
                        offers.push(Offer { trunk, price: row >> 16, digits: length(key) });
                    }
                }
            }
            at = self.parents.get(at as usize).copied().unwrap_or(NONE);
        }
        offers.sort_by_key(|offer| (offer.price, std::cmp::Reverse(offer.digits), offer.trunk));
        offers
    }

    fn rows_of(&self, at: usize) -> &[Row] {
        let bound = |at: usize| self.first.get(at).map_or(0, |first| *first as usize);
        self.rows.get(bound(at)..bound(at + 1)).unwrap_or_default()
    }
}

/// A million rows are not printed.
impl fmt::Debug for RateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RateTable({} rows of {:?})", self.len(), self.names)
    }
}

/// A price as it is written: 0.0125.
pub fn price_text(price: u64) -> String {
    let unit = 10u64.pow(u32::try_from(DECIMALS).unwrap_or_default());
    let text = format!("{}.{:06}", price / unit, price % unit);
    // Two decimals at least: prices look like that.
    let kept = text.trim_end_matches('0').len().max(text.len() - DECIMALS + 2);
    text.get(..kept).unwrap_or(&text).to_owned()
}

/// Rows as they come in.
#[derive(Default)]
struct Reading {
    names: Vec<(String, u32)>,
    trunks: HashMap<Box<[u8]>, u16>,
    rows: Vec<(Key, Row, u32)>,
    wrong: Vec<Wrong>,
}

impl Reading {
    fn row(&mut self, line: &[u8], number: u32) -> Result<(), String> {
        let mut fields = line.split(|byte| *byte == b',').map(bare);
        let (Some(prefix), Some(trunk), Some(price), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err("is not prefix,trunk,price".into());
        };
        let digits = prefix.strip_prefix(b"+").unwrap_or(prefix);
        let key = match digits {
            b"*" => 0,
            b"" => return Err("has no prefix; \"*\" is every number".into()),
            digits if digits.len() > PREFIX_DIGITS_MAX => {
                return Err(format!("has a prefix of more than {PREFIX_DIGITS_MAX} digits"));
            }
            digits => std::str::from_utf8(digits)
                .ok()
                .and_then(key)
                .ok_or_else(|| format!("\"{}\" is no prefix", shown(prefix)))?,
        };
        let price = amount(price)
            .ok_or_else(|| format!("\"{}\" is no price such as 0.0125", shown(price)))?;
        let trunk = self.trunk(trunk, number)?;
        if self.rows.len() >= ROWS_MAX {
            return Err(format!("is more than the {ROWS_MAX} rows of a table"));
        }
        self.rows.push((key, price << 16 | u64::from(trunk), number));
        Ok(())
    }

    fn trunk(&mut self, name: &[u8], line: u32) -> Result<u16, String> {
        if let Some(known) = self.trunks.get(name) {
            return Ok(*known);
        }
        let text = std::str::from_utf8(name).ok().filter(|name| !name.is_empty());
        let text = text.ok_or_else(|| format!("\"{}\" is no trunk", shown(name)))?;
        let index = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        if usize::from(index) >= TRUNKS_MAX {
            return Err(format!("names more than {TRUNKS_MAX} trunks"));
        }
        self.names.push((text.to_owned(), line));
        self.trunks.insert(name.into(), index);
        Ok(index)
    }

    fn finish(mut self) -> Result<RateTable, Vec<Wrong>> {
        self.rows.sort_unstable();
        self.doubles();
        if !self.wrong.is_empty() {
            self.wrong.sort();
            return Err(self.wrong);
        }
        let mut keys = Vec::new();
        let mut first = Vec::new();
        for (index, (key, ..)) in self.rows.iter().enumerate() {
            if keys.last() != Some(key) {
                keys.push(*key);
                first.push(u32::try_from(index).unwrap_or(NONE));
            }
        }
        first.push(u32::try_from(self.rows.len()).unwrap_or(NONE));
        Ok(RateTable {
            names: self.names,
            parents: parents(&keys),
            keys: keys.into(),
            first: first.into(),
            rows: self.rows.iter().map(|(_, row, _)| *row).collect(),
        })
    }

    /// Two prices of one trunk for one prefix.
    fn doubles(&mut self) {
        for rows in self.rows.chunk_by(|one, other| one.0 == other.0) {
            let mut by_trunk: Vec<_> =
                rows.iter().map(|(_, row, line)| (row & 0xffff, line)).collect();
            by_trunk.sort_unstable();
            for pair in by_trunk.windows(2) {
                if let [(one, first), (other, second)] = pair
                    && one == other
                    && self.wrong.len() < PROBLEMS_MAX
                {
                    let why = format!("has the prefix and the trunk of line {first} once more");
                    self.wrong.push((**second, why));
                }
            }
        }
    }
}

/// For each of the sorted keys the nearest before it that it begins with.
fn parents(keys: &[Key]) -> Box<[u32]> {
    let mut open: Vec<(Key, u32)> = Vec::new();
    let mut parents = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        while open.last().is_some_and(|(above, _)| !begins_with(*key, *above)) {
            open.pop();
        }
        parents.push(open.last().map_or(NONE, |(_, at)| *at));
        open.push((*key, u32::try_from(index).unwrap_or(NONE)));
    }
    parents.into()
}

/// The key of these digits; of more than fit, the first ones.
fn key(digits: &str) -> Option<Key> {
    if digits.is_empty() || digits.len() > usize::from(E164_DIGITS_MAX) {
        return None;
    }
    let mut key = 0;
    for (index, byte) in digits.bytes().enumerate() {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        if index < PREFIX_DIGITS_MAX {
            key |= u64::from(digit + 1) << (60 - 4 * index);
        }
    }
    Some(key)
}

/// Digits of a key.
const fn length(key: Key) -> usize {
    PREFIX_DIGITS_MAX - (key.trailing_zeros() / 4) as usize
}

fn begins_with(number: Key, prefix: Key) -> bool {
    let shift = 64 - 4 * u32::try_from(length(prefix)).unwrap_or_default();
    (number ^ prefix).checked_shr(shift).is_none_or(|rest| rest == 0)
}

/// A field without spaces and quotes.
fn bare(field: &[u8]) -> &[u8] {
    let field = field.trim_ascii();
    let inner = field.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\""));
    inner.unwrap_or(field)
}

fn shown(field: &[u8]) -> String {
    field.get(..SHOWN_MAX).unwrap_or(field).escape_ascii().to_string()
}

/// Octets of a field that are shown.
const SHOWN_MAX: usize = 40;

/// A price in millionths.
fn amount(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let holds = !(whole.is_empty() && decimals.is_empty())
        && whole.len() <= 9
        && decimals.len() <= DECIMALS
        && digits(whole)
        && digits(decimals);
    let value = |part: &str| if part.is_empty() { Some(0) } else { part.parse::<u64>().ok() };
    let scale = 10u64.pow(u32::try_from(DECIMALS - decimals.len().min(DECIMALS)).ok()?);
    let price = value(whole)? * 1_000_000 + value(decimals)? * scale;
    (holds && price <= PRICE_MAX).then_some(price)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore as _, SeedableRng as _};

    fn table(text: &str) -> RateTable {
        RateTable::read(text.as_bytes()).unwrap()
    }

    fn asked(table: &RateTable, number: &str) -> String {
        let offers = table.offers(number);
        let text = offers.iter().map(|offer| {
            format!(
                "{} {} {}",
                table.trunks()[offer.trunk].0,
                price_text(offer.price),
                offer.digits
            )
        });
        text.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_longest_prefix_of_each_trunk_counts_and_then_the_price() {
        let table = table(
            "prefix,trunk,price\r\n+49,colt,0.01\r\n49,bt,0.012\n# a comment\n\n\
             +4915,colt,0.09\n\"4915\",\"bt\",\"0.08\"\n+4930,dtag,0.0005\n*,world,1\n",
        );
        assert_eq!(
            asked(&table, "+4930123"),
            "dtag 0.0005 4, colt 0.01 2, bt 0.012 2, world 1.00 0"
        );
        assert_eq!(asked(&table, "+4915123"), "bt 0.08 4, colt 0.09 4, world 1.00 0");
        assert_eq!(asked(&table, "4989"), "colt 0.01 2, bt 0.012 2, world 1.00 0");
        assert_eq!(asked(&table, "+1"), "world 1.00 0");
        assert_eq!(asked(&table, "anna"), "");
        assert_eq!(table.len(), 6);
    }

    #[test]
    fn every_row_that_is_wrong_is_told_with_its_line() {
        let wrong = RateTable::read(
            b"+49,colt\n+49,colt,x\n4a,colt,1\n,colt,1\n+49,,1\n+49,colt,1\n49,colt,2\n+49,colt,0.0000001",
        );
        let said: Vec<String> =
            wrong.unwrap_err().into_iter().map(|(line, why)| format!("{line} {why}")).collect();
        assert_eq!(
            said,
            [
                "1 is not prefix,trunk,price",
                "2 \"x\" is no price such as 0.0125",
                "3 \"4a\" is no prefix",
                "4 has no prefix; \"*\" is every number",
                "5 \"\" is no trunk",
                "7 has the prefix and the trunk of line 6 once more",
                "8 \"0.0000001\" is no price such as 0.0125",
            ]
        );
        let all = "nonsense\n".repeat(1000);
        assert_eq!(RateTable::read(all.as_bytes()).unwrap_err().len(), PROBLEMS_MAX);
    }

    /// By looking at every row.
    fn naive(rows: &[(String, usize, u64)], number: &str) -> Vec<(usize, u64)> {
        let mut best: HashMap<usize, (usize, u64)> = HashMap::new();
        for (prefix, trunk, price) in rows {
            if number.starts_with(prefix.as_str()) {
                let entry = best.entry(*trunk).or_insert((prefix.len(), *price));
                if prefix.len() > entry.0 {
                    *entry = (prefix.len(), *price);
                }
            }
        }
        let mut list: Vec<_> = best.into_iter().collect();
        list.sort_by_key(|(trunk, (digits, price))| (*price, usize::MAX - digits, *trunk));
        list.into_iter().map(|(trunk, (_, price))| (trunk, price)).collect()
    }

    #[test]
    fn a_table_finds_what_looking_at_every_row_finds() {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let digits = |rng: &mut ChaCha20Rng, most: u32| {
            // Few different digits, so that prefixes nest.
            let length = 1 + rng.next_u32() % most;
            (0..length).map(|_| ['0', '1', '9'][(rng.next_u32() % 3) as usize]).collect::<String>()
        };
        for _ in 0..200 {
            let mut rows: Vec<(String, usize, u64)> = Vec::new();
            let mut text = String::new();
            for trunk in 0..4 {
                text += &format!("777777777777777{trunk},t{trunk},9\n");
                rows.push((format!("777777777777777{trunk}"), trunk, 9_000_000));
            }
            for _ in 0..rng.next_u32() % 300 {
                let (prefix, trunk) = (digits(&mut rng, 9), (rng.next_u32() % 4) as usize);
                let price = u64::from(rng.next_u32() % 50);
                if !rows.iter().any(|(known, other, _)| *known == prefix && *other == trunk) {
                    text += &format!("{prefix},t{trunk},0.{price:06}\n");
                    rows.push((prefix, trunk, price));
                }
            }
            let table = table(&text);
            for _ in 0..200 {
                let number = digits(&mut rng, 18);
                let found = table.offers(&number);
                let found: Vec<_> = found.iter().map(|offer| (offer.trunk, offer.price)).collect();
                assert_eq!(found, naive(&rows, &number), "{number} in\n{text}");
            }
        }
    }
}
