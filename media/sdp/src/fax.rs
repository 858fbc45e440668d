//! Fax by T.38 over UDPTL: `m=image PORT udptl t38` (ITU-T T.38, annex D; RFC 3362).

use crate::section::{MediaLine, Section};
use crate::words::is_parameters;

/// The transport of an m-line that we offer.
pub(crate) const PROTO: &str = "udptl";
/// The one format there is.
pub(crate) const FORMAT: &str = "t38";
/// Most attributes that are carried: annex D knows a dozen, and vendors some more.
const MAX_ATTRIBUTES: usize = 24;
/// Octets of one of them; the longest that is written has fifty.
const MAX_ATTRIBUTE: usize = 128;

/// What a description says of a fax: which version, how fast, how lost packets are made good. It is
/// agreed between the terminals, and crosses as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fax {
    /// Each `a=T38...` line, without `a=`.
    attributes: Vec<String>,
}

impl Fax {
    pub(crate) fn read(section: Section<'_>) -> Self {
        let of_fax = section.attributes().filter(|(name, _)| is_of_fax(name));
        let written = of_fax.filter_map(|(name, value)| {
            let value = std::str::from_utf8(value).ok()?;
            let line = match value {
                "" => name.to_owned(),
                value if is_parameters(value) => format!("{name}:{value}"),
                _ => return None,
            };
            (line.len() <= MAX_ATTRIBUTE).then_some(line)
        });
        Self { attributes: written.take(MAX_ATTRIBUTES).collect() }
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(String::as_str)
    }
}

/// Whether the m-line is an image that is not refused.
pub(crate) fn is_image(line: &MediaLine<'_>) -> bool {
    line.media.eq_ignore_ascii_case("image") && line.port != 0
}

/// Whether it is a fax that can be carried: not over TCP, nor TLS.
pub(crate) fn is_fax(line: &MediaLine<'_>) -> bool {
    let t38 = |format: &&str| format.eq_ignore_ascii_case(FORMAT);
    is_image(line) && line.proto.eq_ignore_ascii_case(PROTO) && line.formats.iter().any(t38)
}

/// `T38FaxVersion`, `T38MaxBitRate`, ...
fn is_of_fax(name: &str) -> bool {
    let known = name.get(..FORMAT.len()).is_some_and(|it| it.eq_ignore_ascii_case(FORMAT));
    known && name.bytes().all(|octet| octet.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::SessionDescription;

    fn read(lines: &str) -> (bool, Vec<String>) {
        let body = format!("v=0\r\nc=IN IP4 192.0.2.1\r\n{lines}");
        let sdp = SessionDescription::parse(body.as_bytes()).expect("readable");
        let media = sdp.media().next().expect("an m-line");
        (is_fax(media.line()), Fax::read(media.section()).attributes)
    }

    #[test]
    fn what_is_said_of_a_fax_is_kept_and_nothing_else() {
        let (fax, said) = read(
            "m=image 4000 UDPTL T38\r\na=T38FaxVersion:0\r\na=t38MaxBitRate: 14400 \r\n\
             a=T38FaxFillBitRemoval\r\na=T38VendorInfo:0 0 37\r\na=sendrecv\r\na=X-T38:1\r\n\
             a=T38Evil;x:1\r\na=T38FaxUdpEC:t38UDP\rRedundancy\r\n",
        );
        assert!(fax);
        let kept = [
            "T38FaxVersion:0",
            "t38MaxBitRate:14400",
            "T38FaxFillBitRemoval",
            "T38VendorInfo:0 0 37",
        ];
        assert_eq!(said, kept, "and no line end gets in by a value");
    }

    #[test]
    fn a_fax_over_anything_but_udptl_is_none_that_can_be_carried() {
        for line in [
            "m=image 0 udptl t38",
            "m=image 4000 tcp t38",
            "m=image 4000 UDP/TLS/UDPTL t38",
            "m=image 4000 udptl jpeg",
            "m=audio 4000 udptl t38",
        ] {
            assert!(!read(&format!("{line}\r\n")).0, "{line}");
        }
    }

    #[test]
    fn a_hundred_attributes_or_a_long_one_are_not_kept() {
        let many = "a=T38FaxVersion:0\r\n".repeat(100);
        assert_eq!(read(&format!("m=image 1 udptl t38\r\n{many}")).1.len(), MAX_ATTRIBUTES);
        let long = "1".repeat(MAX_ATTRIBUTE);
        let (_, said) = read(&format!("m=image 1 udptl t38\r\na=T38FaxVersion:{long}\r\n"));
        assert!(said.is_empty());
    }
}
