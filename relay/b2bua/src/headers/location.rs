//! The location of an emergency caller: body parts beside the SDP, passed on octet by octet
//! (RFC 6442; TDR-EMG-003, TDR-EMG-004).

use bytes::Bytes;
use sip_core::Request;
use sip_core::message::body_parts;

/// The type of a location.
const PIDF: &str = "application/pidf+xml";
/// Locations of one caller: a client names one, a network may add its own.
const LOCATIONS_MAX: usize = 4;

/// The parts that hold locations, each with its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Locations(Vec<Bytes>);

impl Locations {
    pub(crate) fn of(request: &Request) -> Self {
        let parts = body_parts(&request.headers, request.body(), PIDF);
        Self(parts.take(LOCATIONS_MAX).collect())
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|part| &part[..])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body of SDP and locations, and its Content-Type. `token` is random; what is made of it
    /// stands in no part.
    pub(crate) fn beside(&self, sdp: &Bytes, token: &str) -> (String, Bytes) {
        let boundary = self.boundary(sdp, token);
        let mut body = Vec::new();
        let head = &b"Content-Type: application/sdp\r\n\r\n"[..];
        let sdp = [head, sdp].concat();
        for part in [sdp.as_slice()].into_iter().chain(self.0.iter().map(|part| &part[..])) {
            body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            body.extend_from_slice(part);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        (format!("multipart/mixed;boundary={boundary}"), body.into())
    }

    /// A delimiter that no part holds: parts are finite, so some number is free.
    fn boundary(&self, sdp: &[u8], token: &str) -> String {
        let mut number = 0_u32;
        loop {
            let boundary = format!("{token}-{number}");
            let held = |part: &[u8]| part.windows(boundary.len()).any(|w| w == boundary.as_bytes());
            if !held(sdp) && !self.0.iter().any(|part| held(part)) {
                return boundary;
            }
            number = number.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_in_no_part_even_if_somebody_knew_the_token() {
        let hostile = Bytes::from_static(b"Content-Type: a/b\r\n\r\n--x-0\r\n--x-1--\r\n");
        let locations = Locations(vec![hostile.clone()]);
        let (kind, body) = locations.beside(&Bytes::from_static(b"v=0\r\n"), "x");
        assert_eq!(kind, "multipart/mixed;boundary=x-2");
        let whole = "--x-2\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--x-2\r\n";
        let expected = [whole.as_bytes(), &hostile, b"\r\n--x-2--\r\n"].concat();
        assert_eq!(body, expected);
    }
}
