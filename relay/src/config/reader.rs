//! Reads one TOML table key by key, and remembers: what is wrong with each value, and which keys
//! were asked for, so that the rest can be called unknown.
//!
//! A reader never stops at a problem. A value that does not hold is reported and reads as absent,
//! so one pass finds everything that is wrong in a file.

use super::nearest::did_you_mean;
use super::problem::{At, Place, Problems};
use super::source::Source;
#[cfg(test)]
use super::survey::{self, How};
use super::value::{kind, pattern, quote, show};
use b2bua::plan::{Pattern, Patterns};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use toml::de::{DeTable, DeValue};

/// Patterns of one key: more belong into a prefix, or into a file of rates.
const PATTERNS_MAX: usize = 1000;

/// What is wrong with a value: `said` completes the sentence that begins with key and value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Such as `is not an address`.
    pub(crate) said: String,
    /// What to write instead.
    pub(crate) hint: Option<String>,
}

impl Wrong {
    /// A value that `said`, with no better one known.
    pub(crate) fn new(said: impl Into<String>) -> Self {
        Self { said: said.into(), hint: None }
    }

    /// The same with a way out.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Reads a whole file: `read` gets its top table. Syntax errors are reported first; what can still
/// be read around them is, so that the names in it count as known. Returns whether there were any.
pub(crate) fn read_file<T>(
    source: &Source,
    problems: &Problems,
    read: impl FnOnce(&mut Reader<'_>) -> T,
) -> (T, bool) {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let broken = source.syntax(&errors, problems);
    let damaged = !broken.is_empty();
    let file = File { source, problems, broken };
    let mut top = Reader::new(&file, table.get_ref(), source.place(&(0..0)), String::new());
    let value = read(&mut top);
    top.finish();
    (value, damaged)
}

/// The file a reader's table is in.
struct File<'a> {
    source: &'a Source,
    problems: &'a Problems,
    /// Lines with a syntax error: what recovery made of them is nobody's mistake.
    broken: BTreeSet<u32>,
}

impl File<'_> {
    fn error(&self, place: Place, message: String, hint: Option<String>) {
        if !self.broken.contains(&place.line) {
            self.problems.error(place, message, hint);
        }
    }
}

/// One table.
pub(crate) struct Reader<'a> {
    file: &'a File<'a>,
    table: &'a DeTable<'a>,
    place: Place,
    /// Whose table it is, as problems name it: `trunk "colt"`; empty at the top of a file.
    whose: String,
    asked: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a File<'a>, table: &'a DeTable<'a>, place: Place, whose: String) -> Self {
        Self { file, table, place, whose, asked: Vec::new() }
    }

    /// Where the table begins.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Where it begins, for whoever is told of it later: `tenants.d/contoso.toml:14`.
    pub(crate) fn named_place(&self) -> String {
        self.file.problems.locate_below(self.place)
    }

    /// Whose table it is, as problems name it.
    pub(crate) fn whose(&self) -> &str {
        &self.whose
    }

    /// The value of `key`, or a problem that it is missing.
    pub(crate) fn required<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        if self.find(key).is_none() {
            self.missing(key, None);
        }
        self.optional(key, parse)
    }

    /// The value of `key`, if it is there and holds.
    pub(crate) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        let (place, value) = self.find(key)?;
        self.judged(place, parse(value), || format!("`{key} = {}`", show(value)))
    }

    /// The value at `place`, unless it is wrong: then `what` is.
    fn judged<T>(
        &mut self,
        place: Place,
        parsed: Result<T, Wrong>,
        what: impl FnOnce() -> String,
    ) -> Option<At<T>> {
        match parsed {
            Ok(value) => Some(At { value, place }),
            Err(wrong) => {
                self.error(place, &format!("{} {}", what(), wrong.said), wrong.hint);
                None
            }
        }
    }

    /// The value of `key` if it is there and holds, else `default`.
    pub(crate) fn optional_or<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
        default: T,
    ) -> T {
        self.optional(key, parse).map_or(default, |at| at.value)
    }

    /// The elements of the array `key`, each judged by itself; `None` if the key is not there.
    pub(crate) fn list<T>(
        &mut self,
        key: &str,
        count: RangeInclusive<usize>,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<Vec<At<T>>> {
        #[cfg(test)]
        survey::asked(key, How::List);
        let (place, value) = self.find(key)?;
        let DeValue::Array(array) = value else {
            let said =
                format!("`{key} = {}` is {} where a list is expected", show(value), kind(value));
            self.error(place, &said, Some(format!("{key} = [{}]", show(value))));
            return Some(Vec::new());
        };
        if !count.contains(&array.len()) {
            let said = match array.len() {
                0 => format!("`{key}` is empty"),
                some => format!("`{key}` has {some} entries; {} are the most", count.end()),
            };
            self.error(place, &said, None);
        }
        let mut list = Vec::with_capacity(array.len().min(*count.end()));
        for element in array.iter().take(*count.end()) {
            let (place, value) = (self.file.source.place(&element.span()), element.get_ref());
            list.extend(self.judged(place, parse(value), || format!("{} in `{key}`", show(value))));
        }
        Some(list)
    }

    /// The value of `key`, or the elements of the array that it is: `match = "+49*"` is short for
    /// `match = ["+49*"]`.
    pub(crate) fn one_or_more<T>(
        &mut self,
        key: &str,
        count: RangeInclusive<usize>,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<Vec<At<T>>> {
        #[cfg(test)]
        survey::asked(key, How::OneOrMore);
        match self.table.get(key).map(|value| value.get_ref()) {
            Some(DeValue::Array(_)) => self.list(key, count, parse),
            Some(_) => Some(self.optional(key, parse).into_iter().collect()),
            None => self.list(key, count, parse),
        }
    }

    /// The patterns of `key`, one or a list; `None` if it is not there or one does not hold.
    pub(crate) fn patterns(&mut self, key: &str) -> Option<At<Patterns>> {
        #[cfg(test)]
        survey::asked(key, How::OneOrMore);
        let place = self.find(key)?.0;
        let list = self.one_or_more(key, 1..=PATTERNS_MAX, pattern)?;
        let asked = match self.table.get(key).map(|value| value.get_ref()) {
            Some(DeValue::Array(array)) => array.len(),
            _ => 1,
        };
        let value: Vec<Pattern> = list.into_iter().map(|at| at.value).collect();
        (value.len() == asked).then(|| At { value: value.into(), place })
    }

    /// The table `key`, read by `read`; `None` if it is not there.
    pub(crate) fn section<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> Option<T> {
        #[cfg(test)]
        survey::asked(key, How::Table);
        let Some((place, value)) = self.find(key) else {
            #[cfg(test)]
            self.explore(key, read);
            return None;
        };
        let DeValue::Table(table) = value else {
            let said = match value {
                DeValue::Array(_) => {
                    format!("`[[{key}]]` stands where there is only one `[{key}]`")
                }
                other => format!(
                    "`{key} = {}` is {} where a table is expected",
                    show(other),
                    kind(other)
                ),
            };
            self.error(place, &said, Some(format!("write [{key}]")));
            return None;
        };
        let whose = match self.whose.as_str() {
            "" => format!("[{key}]"),
            outer => format!("{outer}, {key}"),
        };
        #[cfg(test)]
        survey::enter(key);
        let mut inner = Reader::new(self.file, table, place, whose);
        let value = read(&mut inner);
        inner.finish();
        #[cfg(test)]
        survey::leave();
        Some(value)
    }

    /// In a survey, what is absent is read as an empty table.
    #[cfg(test)]
    fn explore<T>(&self, key: &str, read: impl FnOnce(&mut Reader<'_>) -> T) {
        if survey::enter(key) {
            let empty = DeTable::new();
            read(&mut Reader::new(self.file, &empty, self.place, self.whose.clone()));
        }
        survey::leave();
    }

    /// Every table of the array `key`, read by `read`. Problems name each one by its `label` key,
    /// or by its number if that is missing.
    pub(crate) fn each<T>(
        &mut self,
        key: &str,
        what: &str,
        label: &str,
        mut read: impl FnMut(&mut Reader<'_>) -> T,
    ) -> Vec<T> {
        #[cfg(test)]
        survey::asked(key, How::Tables);
        let Some((place, value)) = self.find(key) else {
            #[cfg(test)]
            self.explore(key, read);
            return Vec::new();
        };
        let DeValue::Array(array) = value else {
            let said = format!("`{key}` is {} where a list of tables is expected", kind(value));
            self.error(place, &said, Some(format!("write [[{key}]]: there may be several")));
            return Vec::new();
        };
        let mut list = Vec::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            let place = self.file.source.place(&element.span());
            let DeValue::Table(table) = element.get_ref() else {
                let said = format!(
                    "{} in `{key}` is {}, not a table",
                    show(element.get_ref()),
                    kind(element.get_ref())
                );
                self.error(place, &said, Some(format!("write [[{key}]]")));
                continue;
            };
            let whose = match table.get(label).map(|value| value.get_ref()) {
                Some(DeValue::String(name)) => format!("{what} {}", quote(name)),
                _ => format!("{what} {}", index + 1),
            };
            #[cfg(test)]
            survey::enter(key);
            let mut inner = Reader::new(self.file, table, place, whose);
            list.push(read(&mut inner));
            inner.finish();
            #[cfg(test)]
            survey::leave();
        }
        list
    }

    /// Every key of a table that is a map (`[resolve]`), in place of asking for known ones.
    pub(crate) fn entries(&mut self) -> Vec<At<String>> {
        let entries = self.table.keys().map(|key| At {
            value: key.get_ref().to_string(),
            place: self.file.source.place(&key.span()),
        });
        entries.collect()
    }

    /// Reports `key` if it is there: in this table it would do nothing, and `why` says so.
    pub(crate) fn idle(&mut self, key: &str, why: &str) {
        if let Some((place, _)) = self.look(key) {
            self.error(place, &format!("`{key}` does nothing here: {why}"), None);
        }
    }

    /// Whether `key` is there, right or wrong.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Reports that `key` is missing.
    pub(crate) fn missing(&self, key: &str, hint: Option<String>) {
        // Behind a syntax error a key may well be there and not be seen.
        if self.file.broken.is_empty() {
            self.error(self.place, &format!("`{key}` is missing"), hint);
        }
    }

    /// Reports a problem of this table.
    pub(crate) fn error(&self, place: Place, said: &str, hint: Option<String>) {
        let message = match self.whose.as_str() {
            "" => said.to_owned(),
            whose => format!("{whose}: {said}"),
        };
        self.file.error(place, message, hint);
    }

    /// Reports something that holds and is hardly meant.
    pub(crate) fn warning(&self, place: Place, said: &str, hint: Option<String>) {
        let message = match self.whose.as_str() {
            "" => said.to_owned(),
            whose => format!("{whose}: {said}"),
        };
        self.file.problems.warning(place, message, hint);
    }

    fn find(&mut self, key: &str) -> Option<(Place, &'a DeValue<'a>)> {
        #[cfg(test)]
        survey::asked(key, How::Value);
        self.look(key)
    }

    /// [`Self::find`] for a key that means nothing here.
    fn look(&mut self, key: &str) -> Option<(Place, &'a DeValue<'a>)> {
        self.asked.push(key.to_owned());
        let (key, value) = self.table.get_key_value(key)?;
        Some((self.file.source.place(&key.span()), value.get_ref()))
    }

    /// Reports the keys nobody asked for.
    fn finish(self) {
        for (key, value) in self.table {
            let name = key.get_ref().as_ref();
            if self.asked.iter().any(|asked| asked == name) {
                continue;
            }
            let said = match value.get_ref() {
                DeValue::Table(_) => format!("unknown table `{name}`"),
                _ => format!("unknown key `{name}`"),
            };
            let hint = match did_you_mean(name, self.asked.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known().join(", ")),
            };
            self.error(self.file.source.place(&key.span()), &said, Some(hint));
        }
    }

    fn known(&self) -> Vec<&str> {
        let known: BTreeSet<&str> = self.asked.iter().map(String::as_str).collect();
        known.into_iter().collect()
    }
}
