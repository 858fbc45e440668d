//! What a location says in words: the elements of a civic address (RFC 5139) in a PIDF-LO, whatever
//! their namespace is called there.

/// Elements that are read: a civic address has some forty.
const ELEMENTS_MAX: usize = 128;
/// Octets of one text.
const TEXT_MAX: usize = 256;

/// The elements that hold text alone, by their names without prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Civic(Vec<(String, String)>);

impl Civic {
    /// Reads the parts of a body that hold locations. What is no XML says nothing.
    pub(super) fn of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut elements = Vec::new();
        for part in parts {
            read(&String::from_utf8_lossy(part), &mut elements);
        }
        Self(elements)
    }

    /// Whether it says this, in letters of any case.
    pub(crate) fn says(&self, element: &str, text: &str) -> bool {
        let same = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case(element) && value.to_lowercase() == text.to_lowercase()
        };
        self.0.iter().any(same)
    }

    /// The numbers that stand for the location (TDR-EMG-005): in an element of their own, several
    /// of them with a comma or semicolon between.
    pub(crate) fn elins(&self) -> impl Iterator<Item = String> {
        let named = self.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case("ELIN"));
        let numbers = named.flat_map(|(_, text)| text.split([',', ';']));
        let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
        numbers.map(digits).filter(|digits| !digits.is_empty()).map(|digits| format!("+{digits}"))
    }
}

fn read(text: &str, elements: &mut Vec<(String, String)>) {
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let Some(end) = rest.find('>') else { return };
        let (tag, behind) = (&rest[..end], &rest[end + 1..]);
        let name = tag.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
        if name.is_empty() || tag.starts_with(['!', '?']) || tag.ends_with('/') {
            continue;
        }
        let Some(value) = behind.find('<').map(|at| &behind[..at]) else { return };
        let closed = behind[value.len() + 1..].strip_prefix('/');
        let leaf = closed.is_some_and(|closing| closing.starts_with(name));
        let value = value.trim();
        if leaf && !value.is_empty() && value.len() <= TEXT_MAX {
            let local = name.rsplit(':').next().unwrap_or(name);
            elements.push((local.to_owned(), plain(value)));
        }
        if elements.len() >= ELEMENTS_MAX {
            return;
        }
    }
}

/// The five entities that XML has without being told.
fn plain(text: &str) -> String {
    let known = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    known.iter().fold(text.to_owned(), |text, (entity, meant)| text.replace(entity, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn civic(text: &str) -> Civic {
        Civic::of([text.as_bytes()].into_iter())
    }

    #[test]
    fn an_address_is_read_under_any_prefix_and_in_any_case() {
        let found = civic(
            "Content-Type: application/pidf+xml\r\n\r\n<?xml version=\"1.0\"?>\n<presence><!-- x -->\
             <ca:civicAddress xmlns:ca=\"urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr\">\
             <ca:country>US</ca:country><ca:A3> Redmond </ca:A3><ca:NAM>Smith &amp; Sons</ca:NAM><FLR/>\
             <ca:ELIN>1 (425) 555-0911;14255550912,</ca:ELIN></ca:civicAddress></presence>",
        );
        assert!(found.says("a3", "redmond") && found.says("NAM", "Smith & Sons"));
        assert!(!found.says("A3", "Bellevue") && !found.says("FLR", ""));
        assert_eq!(found.elins().collect::<Vec<_>>(), ["+14255550911", "+14255550912"]);
    }

    #[test]
    fn what_is_no_xml_says_nothing_and_harms_nobody() {
        for text in [
            "",
            "<",
            "<a",
            "<a>",
            "<a>b",
            "<a>b<",
            "<>x</>",
            "<a>b</b>",
            "a<b>c</b",
            "\u{e9}<\u{e9}>",
        ] {
            let found = civic(text);
            assert!(found.0.len() <= 1 && found.elins().next().is_none(), "{text}");
        }
        let many = "<ELIN>1</ELIN>".repeat(10_000);
        assert_eq!(civic(&many).0.len(), ELEMENTS_MAX);
        let long = format!("<ELIN>{}</ELIN>", "1".repeat(TEXT_MAX + 1));
        assert_eq!(civic(&long), Civic::default());
    }
}
