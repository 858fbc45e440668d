//! Sender and receiver reports of one source (RFC 3550, 6.4).

use crate::reception::Reception;
use std::time::{SystemTime, UNIX_EPOCH};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
/// From the NTP era's start (1900) to Unix' (1970), in seconds.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// What was sent so far, for a sender report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) ssrc: u32,
    /// The RTP timestamp that belongs to the report's time.
    pub(crate) timestamp: u32,
    pub(crate) packets: u64,
    pub(crate) octets: u64,
}

/// Whether a datagram on a multiplexed port is RTCP (RFC 5761, 4).
pub(crate) fn is_rtcp(packet: &[u8]) -> bool {
    packet.get(1).is_some_and(|kind| (192..=223).contains(kind))
}

/// Whether it is a compound as RFC 3550, A.2 wants it: a report first, lengths that add up.
pub(crate) fn is_whole(mut packet: &[u8]) -> bool {
    if !matches!(packet.get(1), Some(&(SENDER_REPORT | RECEIVER_REPORT))) {
        return false;
    }
    while let [first, _, high, low, ..] = *packet {
        let size = 4 * (1 + usize::from(u16::from_be_bytes([high, low])));
        if first >> 6 != 2 || size > packet.len() {
            return false;
        }
        packet = &packet[size..];
    }
    packet.is_empty()
}

/// A compound: a report and a CNAME.
pub(crate) fn write(wall: SystemTime, sent: &Sent, heard: &Reception) -> Vec<u8> {
    let mut out = Vec::with_capacity(80);
    let block = heard.extent();
    let (kind, words) = if sent.packets > 0 { (SENDER_REPORT, 6) } else { (RECEIVER_REPORT, 1) };
    let size = words + if block.is_some() { 6 } else { 0 };
    out.extend([0x80 | u8::from(block.is_some()), kind, 0, size]);
    put(&mut out, sent.ssrc);
    if sent.packets > 0 {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        put(&mut out, (since.as_secs() + NTP_TO_UNIX_S) as u32);
        put(&mut out, ((u64::from(since.subsec_nanos()) << 32) / 1_000_000_000) as u32);
        put(&mut out, sent.timestamp);
        put(&mut out, sent.packets as u32);
        put(&mut out, sent.octets as u32);
    }
    if let Some(extent) = block {
        put(&mut out, extent.ssrc);
        let fraction = (heard.loss_fraction() * 256.0).min(255.0) as u32;
        put(&mut out, fraction << 24 | (heard.lost() as u32).min(0x7f_ffff));
        put(&mut out, extent.highest);
        put(&mut out, heard.jitter_units());
        put(&mut out, 0);
        put(&mut out, 0);
    }
    describe(&mut out, sent.ssrc);
    out
}

/// SDES with a CNAME that says nothing about anybody (RFC 7022).
fn describe(out: &mut Vec<u8>, ssrc: u32) {
    out.extend([0x81, SOURCE_DESCRIPTION, 0, 4]);
    put(out, ssrc);
    let name = format!("{ssrc:08x}");
    // Item, its length, the name, an end and a padding octet: three words.
    out.extend([1, name.len() as u8]);
    out.extend(name.as_bytes());
    out.extend([0, 0]);
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend(word.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::rtp::Header;

    #[test]
    fn what_we_write_is_whole_and_cut_anywhere_is_not() {
        let sent = Sent { ssrc: 7, timestamp: 9, packets: 3, octets: 480 };
        let mut heard = Reception::default();
        let header = Header { payload_type: 8, sequence: 5, timestamp: 0, ssrc: 1, payload_at: 12 };
        heard.count(crate::tests::zero(), &header);
        let compound = write(UNIX_EPOCH, &sent, &heard);
        assert!(is_rtcp(&compound) && is_whole(&compound));
        for end in 0..compound.len() {
            let cut = &compound[..end];
            assert!(!is_whole(cut) || end == 52, "{end}");
        }
        let silent = Sent { packets: 0, ..sent };
        assert!(is_whole(&write(UNIX_EPOCH, &silent, &Reception::default())));
    }
}
