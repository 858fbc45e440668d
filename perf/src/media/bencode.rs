//! As much of bencode as rtpengine's ng protocol needs.

use std::collections::BTreeMap;

/// What was said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Integer(i64),
    Text(String),
    List(Vec<Value>),
    Dictionary(BTreeMap<String, Value>),
}

impl Value {
    /// A text of a dictionary.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        match self {
            Self::Dictionary(entries) => match entries.get(name)? {
                Self::Text(text) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A dictionary of texts and one list; names stand in order.
pub(super) fn dictionary(texts: &[(&str, &str)], (name, list): &(&str, &[&str])) -> Vec<u8> {
    let text = |text: &str| format!("{}:{text}", text.len());
    let items: String = list.iter().map(|item| text(item)).collect();
    let mut entries: BTreeMap<&str, String> =
        texts.iter().map(|&(name, value)| (name, text(value))).collect();
    entries.insert(name, format!("l{items}e"));
    let body: String = entries.iter().map(|(name, value)| text(name) + value).collect();
    format!("d{body}e").into_bytes()
}

/// Reads one value that is nothing but that.
pub(super) fn read(octets: &[u8]) -> Option<Value> {
    let mut rest = octets;
    let value = value(&mut rest, 0)?;
    rest.is_empty().then_some(value)
}

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
            Some(Value::Dictionary(entries))
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
        let written = dictionary(&[("sdp", "v=0\r\n"), ("command", "offer")], &("SDES", &["no-x"]));
        assert_eq!(written, b"d4:SDESl4:no-xe7:command5:offer3:sdp5:v=0\r\ne");
        let read = read(&written).unwrap();
        assert_eq!(read.get("sdp"), Some("v=0\r\n"));
        assert_eq!(read.get("SDES"), None);
    }

    #[test]
    fn what_is_cut_or_goes_on_is_nothing() {
        for octets in [&b"d3:sdp5:v="[..], b"i5", b"i5ei6e", b"99999999999999999999:x", b"l", b""] {
            assert_eq!(read(octets), None, "{octets:?}");
        }
        assert_eq!(read(&[b'l'; 100]), None);
    }
}
