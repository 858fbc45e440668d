//! Speech on its way to another codec: what leaves for it, and how what comes back is timed.
//!
//! Packets to be turned leave [`crate::Forward`] opened ([`crate::Verdict::Transcode`]) and come back
//! one for one, so they keep their sequence numbers; only the clock may be another.

use crate::PacketBuf;
use crate::rtp::{FIXED_HEADER, Header};
use sdp::Conversion;

/// A source's timestamps on the clock of another codec. Both go on from the same value, so that a
/// clock that stays changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock(Option<Known>);

/// A point in time of a source, on both clocks.
#[derive(Clone, Copy, Debug)]
struct Known {
    ssrc: u32,
    conversion: Conversion,
    came: u32,
    goes: u32,
}

impl Clock {
    /// The timestamp that a packet of the source goes out with.
    pub(crate) fn turn(&mut self, header: &Header, conversion: Conversion) -> u32 {
        let fresh =
            Known { ssrc: header.ssrc, conversion, came: header.timestamp, goes: header.timestamp };
        let known = match &mut self.0 {
            Some(known) if (known.ssrc, known.conversion) == (header.ssrc, conversion) => known,
            other => other.insert(fresh),
        };
        let (came, goes) = known.steps(header.timestamp);
        let turned = known.goes.wrapping_add(goes as u32);
        if goes > 0 {
            (known.came, known.goes) = (known.came.wrapping_add(came as u32), turned);
        }
        turned
    }

    /// The same for a timestamp that its source names in a report; one that is not turned stays.
    pub(crate) fn told(&self, ssrc: u32, timestamp: u32) -> u32 {
        match self.0 {
            Some(known) if known.ssrc == ssrc => {
                known.goes.wrapping_add(known.steps(timestamp).1 as u32)
            }
            _ => timestamp,
        }
    }

    /// Jitter of the source that was measured on the clock it was turned to, on its own.
    pub(crate) fn jitter_back(&self, ssrc: u32, jitter: u32) -> u32 {
        match self.0 {
            Some(Known { ssrc: source, conversion: Conversion { from, to }, .. })
                if source == ssrc =>
            {
                let turned = u64::from(jitter) * u64::from(from.clock_hz());
                u32::try_from(turned / u64::from(to.clock_hz())).unwrap_or(u32::MAX)
            }
            _ => jitter,
        }
    }
}

impl Known {
    /// From here to `timestamp` on both clocks, in whole steps of the slower one.
    fn steps(&self, timestamp: u32) -> (i32, i32) {
        let (came_hz, goes_hz) = (self.conversion.from.clock_hz(), self.conversion.to.clock_hz());
        let since = i64::from(timestamp.wrapping_sub(self.came) as i32);
        let goes = since * i64::from(goes_hz) / i64::from(came_hz);
        ((goes * i64::from(came_hz) / i64::from(goes_hz)) as i32, goes as i32)
    }
}

/// Leaves the fixed header and the payload alone; `false` if there is no payload.
pub(crate) fn strip(slot: &mut PacketBuf, header: &Header) -> bool {
    let packet = slot.packet_mut();
    let padding = match packet[0] & 0x20 {
        0 => 0,
        _ => usize::from(packet.last().copied().unwrap_or(0)),
    };
    let end = packet.len().saturating_sub(padding);
    if end <= header.payload_at {
        return false;
    }
    packet.copy_within(header.payload_at..end, FIXED_HEADER);
    packet[0] = 0x80;
    slot.set_len(FIXED_HEADER + end - header.payload_at);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp;
    use sdp::Codec;

    fn header(ssrc: u32, timestamp: u32) -> Header {
        Header { payload_type: 8, sequence: 1, timestamp, ssrc, payload_at: FIXED_HEADER }
    }

    #[test]
    fn a_faster_clock_and_a_slower_one_go_on_over_their_ends() {
        let up = Conversion { from: Codec::Pcma, to: Codec::Opus };
        let down = Conversion { from: Codec::Opus, to: Codec::Pcma };
        for (conversion, came, goes) in [(up, 160_u32, 960_u32), (down, 960, 160)] {
            let mut clock = Clock::default();
            let begin = u32::MAX - 300;
            let (mut timestamp, mut expected) = (begin, begin);
            for _ in 0..100_000 {
                assert_eq!(clock.turn(&header(7, timestamp), conversion), expected);
                timestamp = timestamp.wrapping_add(came);
                expected = expected.wrapping_add(goes);
            }
            assert_eq!(clock.told(7, timestamp), expected);
            assert_eq!(clock.told(8, timestamp), timestamp, "another source");
            // One that comes late has its place.
            let late = timestamp.wrapping_sub(3 * came);
            let place = expected.wrapping_sub(3 * goes);
            assert_eq!(clock.turn(&header(7, late), conversion), place);
            assert_eq!(clock.turn(&header(7, timestamp), conversion), expected);
            assert_eq!(clock.turn(&header(9, 5), conversion), 5, "a new source, as itself");
        }
    }

    #[test]
    fn the_same_clock_stays() {
        let mut clock = Clock::default();
        let wide = Conversion { from: Codec::Pcmu, to: Codec::G722 };
        for timestamp in [5, 165, 3_000_000_000, 0, 160] {
            assert_eq!(clock.turn(&header(7, timestamp), wide), timestamp);
        }
    }

    #[test]
    fn extensions_and_padding_are_no_speech() {
        let mut slot = PacketBuf::new();
        let packet = [
            0xb1, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 0xd5,
            0xd6, 0, 0, 3,
        ];
        slot.octets_mut()[..packet.len()].copy_from_slice(&packet);
        slot.set_len(packet.len());
        let header = Header::read(slot.packet()).unwrap();
        assert!(strip(&mut slot, &header));
        assert_eq!(slot.packet()[FIXED_HEADER..], [0xd5, 0xd6]);
        let again = Header::read(slot.packet()).unwrap();
        assert_eq!((again.ssrc, again.sequence, again.payload_at), (3, 1, FIXED_HEADER));
        rtp::set_payload_type(slot.packet_mut(), 8);
        slot.set_len(FIXED_HEADER);
        assert!(!strip(&mut slot, &again), "nothing is left");
    }
}
