//! Frames and packets as they are on the wire, made before the clock runs.

use super::order::{FAR, FAR_HARDWARE, Order, RELAY, RELAY_HARDWARE};
use media::PacketBuf;

/// One packet of a stream.
pub(super) struct Payload {
    pub(super) octets: Vec<u8>,
}

/// The packets that all far sides of one side send, one each 20 ms.
pub(super) fn payloads(order: &Order, side: usize, count: usize) -> Result<Vec<Payload>, String> {
    let mut sender = order.legs.is_encrypted(side).then(|| order.suite.far_sender(side));
    let mut slot = PacketBuf::new();
    let made = (0..count).map(|tick| {
        let plain = plain(side, tick as u16);
        slot.set_len(plain.len());
        slot.packet_mut().copy_from_slice(&plain);
        if let Some(sender) = &mut sender {
            sender
                .protect(&mut slot)
                .map_err(|reason| format!("a packet is not made: {reason:?}"))?;
        }
        Ok(Payload { octets: slot.packet().to_vec() })
    });
    made.collect()
}

/// 20 ms of PCMA.
pub(super) fn plain(side: usize, sequence: u16) -> [u8; RTP_LEN] {
    let mut packet = [side as u8 ^ sequence as u8; RTP_LEN];
    packet[..2].copy_from_slice(&[0x80, PAYLOAD_TYPE]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&(FIRST_SSRC + side as u32).to_be_bytes());
    packet
}

/// What stands before a payload of `len` octets on its way to a relay's port: Ethernet, IP and UDP without its
/// checksum, and the sum of what the checksum has of it.
pub(super) fn head(from_port: u16, to_port: u16, len: usize) -> ([u8; HEAD_LEN], u32) {
    let mut head = [0; HEAD_LEN];
    let udp_len = 8 + len as u16;
    head[..6].copy_from_slice(&RELAY_HARDWARE);
    head[6..12].copy_from_slice(&FAR_HARDWARE);
    head[12..14].copy_from_slice(&[8, 0]);
    // Version and length, DSCP of voice; do not fragment; 64 hops, UDP.
    head[14..16].copy_from_slice(&[0x45, 46 << 2]);
    head[16..18].copy_from_slice(&(20 + udp_len).to_be_bytes());
    head[20..24].copy_from_slice(&[0x40, 0, 64, 17]);
    head[26..30].copy_from_slice(&FAR.octets());
    head[30..34].copy_from_slice(&RELAY.octets());
    let checksum = !fold(sum(&head[14..34]));
    head[24..26].copy_from_slice(&checksum.to_ne_bytes());
    head[34..36].copy_from_slice(&from_port.to_be_bytes());
    head[36..38].copy_from_slice(&to_port.to_be_bytes());
    head[38..40].copy_from_slice(&udp_len.to_be_bytes());
    let pseudo = sum(&[0, 17]) + sum(&udp_len.to_be_bytes());
    let sum = sum(&head[26..40]) + pseudo;
    (head, u32::from(fold(sum)))
}

/// The sum of 16-bit words in the machine's order: the checksum does not mind which (RFC 1071, 2).
pub(super) fn sum(octets: &[u8]) -> u32 {
    let words = octets.chunks(2).map(|word| match *word {
        [first, second] => u32::from(u16::from_ne_bytes([first, second])),
        [last] => u32::from(u16::from_ne_bytes([last, 0])),
        _ => 0,
    });
    words.sum()
}

pub(super) fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// An address of hardware, as people write it.
pub(super) fn hardware(address: &[u8; 6]) -> String {
    address.map(|octet| format!("{octet:02x}")).join(":")
}

pub(super) const PAYLOAD_TYPE: u8 = 8;
pub(super) const RTP_LEN: usize = 172;
/// With the longest tag, that of AES-GCM.
pub(super) const PAYLOAD_MAX: usize = 188;
pub(super) const HEAD_LEN: usize = 42;
const FIRST_SSRC: u32 = 0x1000_0000;

#[cfg(test)]
mod tests {
    use super::super::order::{Legs, Relay, Suite};
    use super::*;
    use media::srtp;

    #[test]
    fn checksums_of_a_frame_add_up() {
        let payload = plain(1, 77);
        let (head, partial) = head(40_000, 10_002, payload.len());
        assert_eq!(fold(sum(&head[14..34])), 0xffff, "IP");
        let checksum = !fold(partial + sum(&payload));
        let udp_len = (8 + payload.len() as u16).to_be_bytes();
        let all = sum(&head[26..34]) + sum(&[0, 17]) + sum(&udp_len) + sum(&head[34..40]);
        let all = all + u32::from(checksum) + sum(&payload);
        assert_eq!(fold(all), 0xffff, "UDP");
    }

    #[test]
    fn a_far_sides_packets_open_under_its_key_and_keep_their_numbers() {
        for (suite, len) in [(Suite::AesCm, RTP_LEN + 10), (Suite::AesGcm, PAYLOAD_MAX)] {
            let order = Order::small(Relay::Floor, Legs::RtpSrtp, suite);
            let mut receiver = srtp::Receiver::new(&[suite.key(&suite.far_key(1))]);
            for (tick, payload) in payloads(&order, 1, 300).unwrap().iter().enumerate() {
                assert_eq!(payload.octets.len(), len);
                let mut slot = PacketBuf::new();
                slot.set_len(len);
                slot.packet_mut().copy_from_slice(&payload.octets);
                receiver.unprotect(&mut slot).unwrap();
                assert_eq!(slot.packet(), plain(1, tick as u16));
            }
            assert_eq!(payloads(&order, 0, 1).unwrap()[0].octets, plain(0, 0));
        }
    }
}
