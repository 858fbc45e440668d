//! The RTP header, read and rewritten in place (RFC 3550, 5.1).

use crate::packet::{PACKET_MAX, PacketBuf};

/// The fixed header, in octets.
pub const FIXED_HEADER: usize = 12;

/// What forwarding and SRTP need of an RTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The payload type.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp, in units of the payload's clock.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
    /// Where the payload starts, behind CSRCs and header extension.
    pub payload_at: usize,
}

impl Header {
    /// Reads the header of an RTP or SRTP packet; `None` if it is not one or is cut off.
    #[inline]
    pub fn read(packet: &[u8]) -> Option<Self> {
        let (fixed, rest) = packet.split_first_chunk::<FIXED_HEADER>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut payload_at = FIXED_HEADER + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let extension = rest.get(payload_at - FIXED_HEADER..)?.first_chunk::<4>()?;
            payload_at += 4 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
        }
        (payload_at <= packet.len()).then(|| Self {
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            payload_at,
        })
    }
}

/// Gives a packet another payload type; the marker stays.
pub fn set_payload_type(packet: &mut [u8], payload_type: u8) {
    if let Some(octet) = packet.get_mut(1) {
        *octet = *octet & 0x80 | payload_type & 0x7f;
    }
}

/// Marks a packet as the first after a pause (RFC 3551, 4.1).
pub fn set_marker(packet: &mut [u8]) {
    if let Some(octet) = packet.get_mut(1) {
        *octet |= 0x80;
    }
}

/// Gives a packet that has a fixed header alone another payload; `None` if that is too large.
pub fn set_payload(slot: &mut PacketBuf, payload: &[u8]) -> Option<()> {
    let len = FIXED_HEADER + payload.len();
    if len > PACKET_MAX {
        return None;
    }
    slot.octets_mut().get_mut(FIXED_HEADER..len)?.copy_from_slice(payload);
    slot.set_len(len);
    Some(())
}

/// Gives a packet another timestamp.
pub fn set_timestamp(packet: &mut [u8], timestamp: u32) {
    if let Some(header) = packet.first_chunk_mut::<FIXED_HEADER>() {
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    }
}

/// The source of a packet.
pub fn source(packet: &[u8]) -> Option<u32> {
    packet.get(8..FIXED_HEADER)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

/// Gives a packet another sequence number and source.
pub fn set_source(packet: &mut [u8], sequence: u16, ssrc: u32) {
    if let Some(header) = packet.first_chunk_mut::<FIXED_HEADER>() {
        header[2..4].copy_from_slice(&sequence.to_be_bytes());
        header[8..12].copy_from_slice(&ssrc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csrcs_and_extension_are_not_payload() {
        let mut packet = vec![0x92, 0x88, 0x12, 0x34];
        packet.extend(7u32.to_be_bytes());
        packet.extend(9u32.to_be_bytes());
        packet.extend([0; 8]); // two CSRCs
        packet.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        packet.extend([0xd5; 3]);
        let header = Header::read(&packet).unwrap();
        assert_eq!(header.payload_at, packet.len() - 3);
        assert_eq!((header.payload_type, header.sequence), (8, 0x1234));
        assert_eq!((header.timestamp, header.ssrc), (7, 9));
    }

    #[test]
    fn a_header_cut_anywhere_is_refused() {
        let mut packet = vec![0x91; 12];
        packet.extend([0; 4]);
        packet.extend([0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(Header::read(&packet).is_some());
        for end in 0..packet.len() {
            assert_eq!(Header::read(&packet[..end]), None, "{end}");
        }
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(Header::read(&[0x40; 12]), None);
    }
}
