//! As much of bencode as the ng protocol needs.

use std::collections::BTreeMap;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Integer(i64),
    /// Octets, as text.
    Text(String),
    /// One after the other.
    List(Vec<Value>),
    /// By name.
    Dictionary(Words),
}

/// An order, or the answer to it: what is said, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(BTreeMap<String, Value>);

impl Words {
    /// These and one more, in place of what had its name.
    #[must_use]
    pub fn and(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The text of this name.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Value::Text(text) => Some(text),
            Value::Integer(_) | Value::List(_) | Value::Dictionary(_) => None,
        }
    }

    /// Reads a dictionary that is followed by nothing.
    pub(crate) fn read(octets: &[u8]) -> Option<Self> {
        let mut rest = octets;
        match value(&mut rest, 0)? {
            Value::Dictionary(words) => rest.is_empty().then_some(words),
            Value::Integer(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// Names stand in order.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        to.push(b'd');
        for (name, value) in &self.0 {
            write_text(name, to);
            value.write(to);
        }
        to.push(b'e');
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Words {
    fn from(texts: [(&str, &str); N]) -> Self {
        Self(texts.map(|(name, text)| (name.to_owned(), text.into())).into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&[&str]> for Value {
    fn from(texts: &[&str]) -> Self {
        Self::List(texts.iter().map(|text| (*text).into()).collect())
    }
}

impl Value {
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Integer(number) => to.extend(format!("i{number}e").bytes()),
            Self::Text(text) => write_text(text, to),
            Self::List(values) => {
                to.push(b'l');
                values.iter().for_each(|value| value.write(to));
                to.push(b'e');
            }
            Self::Dictionary(words) => words.write(to),
        }
    }
}

fn write_text(text: &str, to: &mut Vec<u8>) {
    to.extend(format!("{}:{text}", text.len()).bytes());
}

/// Takes one value from the front.
fn value(rest: &mut &[u8], depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    match *rest.first()? {
        b'i' => {
            let end = rest.iter().position(|&octet| octet == b'e')?;
            let number = std::str::from_utf8(&rest[1..end]).ok()?.parse().ok()?;
            *rest = &rest[end + 1..];
            Some(Value::Integer(number))
        }
        b'l' => {
            *rest = &rest[1..];
            let mut items = Vec::new();
            while *rest.first()? != b'e' {
                items.push(value(rest, depth + 1)?);
            }
            *rest = &rest[1..];
            Some(Value::List(items))
        }
        b'd' => {
            *rest = &rest[1..];
            let mut entries = BTreeMap::new();
            while *rest.first()? != b'e' {
                let name = text(rest)?;
                entries.insert(name, value(rest, depth + 1)?);
            }
            *rest = &rest[1..];
            Some(Value::Dictionary(Words(entries)))
        }
        _ => text(rest).map(Value::Text),
    }
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let colon = rest.iter().position(|&octet| octet == b':')?;
    let len: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    let end = (colon + 1).checked_add(len)?;
    let text = rest.get(colon + 1..end)?;
    *rest = &rest[end..];
    Some(String::from_utf8_lossy(text).into_owned())
}

/// What it answers to us is two deep.
const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let words = Words::from([("sdp", "v=0\r\n"), ("command", "offer")])
            .and("SDES", &["no-x", "no-y"][..])
            .and("n", Value::Integer(-3));
        let mut written = Vec::new();
        words.write(&mut written);
        assert_eq!(
            String::from_utf8_lossy(&written),
            "d4:SDESl4:no-x4:no-ye7:command5:offer1:ni-3e3:sdp5:v=0\r\ne"
        );
        assert_eq!(words.text("sdp"), Some("v=0\r\n"));
        assert_eq!(words.text("SDES"), None);
        assert_eq!(Words::read(&written), Some(words));
    }

    #[test]
    fn what_is_cut_or_goes_on_or_is_no_dictionary_is_nothing() {
        for octets in
            [&b"d3:sdp5:v="[..], b"i5", b"dei6e", b"i6e", b"d99999999999999999999:x", b"dl", b""]
        {
            assert_eq!(Words::read(octets), None, "{octets:?}");
        }
        assert_eq!(Words::read(&[b'l'; 100]), None);
        let deep = [b"d1:a".repeat(100), b"e".repeat(100)].concat();
        assert_eq!(Words::read(&deep), None);
    }
}
