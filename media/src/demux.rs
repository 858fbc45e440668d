//! Tells RTP, RTCP, STUN and DTLS apart by the first octets (RFC 7983, 7; RFC 5761, 4).

/// What a datagram on a media port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RTP or SRTP.
    Rtp,
    /// RTCP or SRTCP.
    Rtcp,
    /// STUN with a right header.
    Stun,
    /// DTLS, with as much as a record has at least.
    Dtls,
    /// None of these.
    Other,
}

/// RTCP packet types without their top bit, which in RTP is the marker: payload types 64 to 95 are
/// never given to RTP under rtcp-mux (RFC 5761, 4).
const RTCP_TYPES: std::ops::RangeInclusive<u8> = 64..=95;
/// Every STUN message carries it (RFC 8489, 5).
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// A STUN header, in octets.
const STUN_HEADER: usize = 20;
/// The shortest DTLS record, one octet under the unified header of DTLS 1.3 (RFC 9147, 4).
const DTLS_LEAST: usize = 3;

impl Kind {
    /// Looks at a datagram's first octets.
    pub fn of(packet: &[u8]) -> Self {
        match packet {
            [128..=191, second, ..] if RTCP_TYPES.contains(&(second & 0x7f)) => Self::Rtcp,
            [128..=191, _, ..] => Self::Rtp,
            [0..=3, _, high, low, cookie @ ..]
                if cookie.starts_with(&STUN_COOKIE)
                    && packet.len()
                        == STUN_HEADER + usize::from(u16::from_be_bytes([*high, *low])) =>
            {
                Self::Stun
            }
            [20..=63, ..] if packet.len() >= DTLS_LEAST => Self::Dtls,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_g711_packet_is_not_taken_for_rtcp() {
        assert_eq!(Kind::of(&[0x80, 0x80, 0, 1]), Kind::Rtp);
        assert_eq!(Kind::of(&[0x80, 0x88, 0, 1]), Kind::Rtp);
        assert_eq!(Kind::of(&[0x80, 0x80 | 101, 0, 1]), Kind::Rtp);
    }

    #[test]
    fn every_rtcp_type_of_rfc_5761_is_rtcp() {
        for kind in 192..=223 {
            assert_eq!(Kind::of(&[0x81, kind, 0, 1]), Kind::Rtcp);
        }
        assert_eq!(Kind::of(&[0x81, 224, 0, 1]), Kind::Rtp);
    }

    #[test]
    fn stun_with_a_wrong_length_or_cookie_is_nothing() {
        let mut binding = [0; 20];
        binding[1] = 1;
        binding[4..8].copy_from_slice(&STUN_COOKIE);
        assert_eq!(Kind::of(&binding), Kind::Stun);
        assert_eq!(Kind::of(&binding[..19]), Kind::Other);
        binding[4] = 0;
        assert_eq!(Kind::of(&binding), Kind::Other);
        assert_eq!(Kind::of(&[]), Kind::Other);
        assert_eq!(Kind::of(&[19, 254, 253]), Kind::Other);
        assert_eq!(Kind::of(&[64, 254, 253]), Kind::Other, "TURN");
    }

    #[test]
    fn dtls_is_told_by_its_first_octet_alone() {
        for first in [20, 22, 23, 25, 0b0010_1100, 63] {
            assert_eq!(Kind::of(&[first, 254, 253]), Kind::Dtls);
        }
        assert_eq!(Kind::of(&[22, 254]), Kind::Other);
    }
}
