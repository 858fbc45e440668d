//! The one RTP stream that a far side hears: what is carried over to it, and what we put in between,
//! under numbers that never jump (RFC 3550, 5.1).
//!
//! ```text
//!  carried   n   n+1              n+2   n+3
//!  of ours            k1   k2   k3
//!  goes out  n   n+1  n+2  n+3  n+4  n+5 n+6      one SSRC, one clock
//! ```
//!
//! As long as nothing is put in between, a carried packet goes out as it is.

use crate::PacketBuf;
use crate::rtp::{self, FIXED_HEADER, Header};
use std::time::Instant;

/// A step between two carried packets larger than this starts the numbers anew: nobody reorders so
/// far, and a source that restarts has no old packets on their way.
const STEP_MAX: i16 = 3000;

/// The numbers under which one leg's far side hears its stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The SSRC of packets of ours where nothing is carried.
    own_ssrc: u32,
    /// What is heard now; `None` before the first packet.
    heard: Option<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    ssrc: u32,
    /// The last sequence number and timestamp that went out, and when.
    sequence: u16,
    timestamp: u32,
    at: Instant,
    /// The source that is carried under this SSRC; `None`: only ours were heard.
    carried: Option<Carried>,
}

#[derive(Clone, Copy, Debug)]
struct Carried {
    /// Its highest sequence number.
    highest: u16,
    /// What is added to its sequence numbers.
    shift: u16,
    /// What was added to those up to here, before packets of ours came in between.
    before: Option<(u16, u16)>,
    /// The next one is the first after ours.
    resumes: bool,
}

impl Outgoing {
    /// A stream of which nothing was heard. `own_ssrc` is random.
    pub(crate) const fn new(own_ssrc: u32) -> Self {
        Self { own_ssrc, heard: None }
    }

    /// A packet that is carried: gives it the number that it goes out under. `clocked` says whether
    /// its timestamp is the stream's clock (it is not for telephone events).
    pub(crate) fn carry(&mut self, now: Instant, slot: &mut PacketBuf, clocked: bool) {
        let Some(header) = Header::read(slot.packet()) else { return };
        let heard = match &mut self.heard {
            Some(heard) if heard.ssrc == header.ssrc => heard,
            other => {
                *other = Some(Heard::of(&header, now));
                return;
            }
        };
        let carried = heard.carried.get_or_insert(Carried::of(&header));
        let step = header.sequence.wrapping_sub(carried.highest) as i16;
        let jumps = step < -STEP_MAX;
        if step > 0 || jumps {
            carried.highest = header.sequence;
        }
        let number = header.sequence.wrapping_add(carried.shift_of(header.sequence));
        if number != header.sequence {
            rtp::set_source(slot.packet_mut(), number, header.ssrc);
        }
        if step > 0 && std::mem::take(&mut carried.resumes) {
            rtp::set_marker(slot.packet_mut());
        }
        if jumps || (number.wrapping_sub(heard.sequence) as i16) > 0 {
            heard.sequence = number;
            if clocked {
                (heard.timestamp, heard.at) = (header.timestamp, now);
            }
        }
    }

    #[cfg_attr(not(test), expect(dead_code, reason = "keys are the first to need it"))]
    /// A packet that would be carried and stays behind: its number is not missed.
    pub(crate) fn withhold(&mut self, header: &Header) {
        if let Some(heard) = self.heard.as_mut().filter(|heard| heard.ssrc == header.ssrc)
            && let Some(carried) = &mut heard.carried
            && (header.sequence.wrapping_sub(carried.highest) as i16) > 0
        {
            let skipped = header.sequence.wrapping_sub(carried.highest);
            carried.before = Some((carried.highest, carried.shift));
            carried.highest = header.sequence;
            carried.shift = carried.shift.wrapping_sub(skipped);
            carried.resumes = true;
        }
    }

    #[cfg_attr(not(test), expect(dead_code, reason = "keys are the first to need it"))]
    /// The timestamp that a packet of ours has if it goes out now.
    pub(crate) fn clock(&self, now: Instant, clock_hz: u32) -> u32 {
        let Some(heard) = &self.heard else { return 0 };
        let since = now.saturating_duration_since(heard.at).as_micros();
        heard.timestamp.wrapping_add((since * u128::from(clock_hz) / 1_000_000) as u32)
    }

    #[cfg_attr(not(test), expect(dead_code, reason = "keys are the first to need it"))]
    /// Writes a packet of ours into the slot: the next of the stream. `clocked` as in [`Self::carry`].
    pub(crate) fn write(&mut self, now: Instant, slot: &mut PacketBuf, ours: &Ours<'_>) {
        let heard = self.heard.get_or_insert(Heard {
            ssrc: self.own_ssrc,
            sequence: (self.own_ssrc >> 16) as u16 & 0x7fff,
            timestamp: ours.timestamp,
            at: now,
            carried: None,
        });
        heard.sequence = heard.sequence.wrapping_add(1);
        if ours.clocked {
            (heard.timestamp, heard.at) = (ours.timestamp, now);
        }
        if let Some(carried) = &mut heard.carried {
            let next = heard.sequence.wrapping_sub(carried.highest);
            if carried.before.is_none_or(|(until, _)| until != carried.highest) {
                carried.before = Some((carried.highest, carried.shift));
            }
            carried.shift = next;
            carried.resumes = true;
        }
        let (sequence, ssrc) = (heard.sequence, heard.ssrc);
        let len = FIXED_HEADER + ours.payload.len();
        slot.set_len(len);
        let packet = slot.packet_mut();
        packet[0] = 0x80;
        packet[1] = u8::from(ours.marker) << 7 | ours.payload_type & 0x7f;
        packet[4..8].copy_from_slice(&ours.timestamp.to_be_bytes());
        rtp::set_source(packet, sequence, ssrc);
        packet[FIXED_HEADER..].copy_from_slice(ours.payload);
    }

    /// What is to be taken from a sequence number of `ssrc` that the far side names to have the
    /// source's own.
    pub(crate) fn shift(&self, ssrc: u32) -> u16 {
        let heard = self.heard.as_ref().filter(|heard| heard.ssrc == ssrc);
        heard.and_then(|heard| heard.carried).map_or(0, |carried| carried.shift)
    }
}

impl Heard {
    fn of(header: &Header, now: Instant) -> Self {
        Self {
            ssrc: header.ssrc,
            sequence: header.sequence,
            timestamp: header.timestamp,
            at: now,
            carried: Some(Carried::of(header)),
        }
    }
}

impl Carried {
    const fn of(header: &Header) -> Self {
        Self { highest: header.sequence, shift: 0, before: None, resumes: false }
    }

    fn shift_of(&self, sequence: u16) -> u16 {
        match self.before {
            Some((until, shift)) if (sequence.wrapping_sub(until) as i16) <= 0 => shift,
            _ => self.shift,
        }
    }
}

/// A packet of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours<'p> {
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) timestamp: u32,
    /// Whether its timestamp is when it is sent; that of a telephone event is when it began.
    pub(crate) clocked: bool,
    /// At most what a packet holds.
    pub(crate) payload: &'p [u8],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, zero};

    fn carried(sequence: u16, timestamp: u32) -> PacketBuf {
        let mut slot = PacketBuf::new();
        slot.set_len(FIXED_HEADER + 160);
        slot.packet_mut()[..2].copy_from_slice(&[0x80, 8]);
        slot.packet_mut()[4..8].copy_from_slice(&timestamp.to_be_bytes());
        rtp::set_source(slot.packet_mut(), sequence, 7);
        slot
    }

    fn read(slot: &PacketBuf) -> (u16, u32, u32, bool) {
        let header = Header::read(slot.packet()).unwrap();
        (header.sequence, header.timestamp, header.ssrc, slot.packet()[1] & 0x80 != 0)
    }

    fn key(timestamp: u32) -> Ours<'static> {
        Ours { payload_type: 101, marker: false, timestamp, clocked: false, payload: &[1, 0, 0, 0] }
    }

    #[test]
    fn what_is_only_carried_goes_out_as_it_came() {
        let mut out = Outgoing::new(9);
        for (n, sequence) in [65_534, 65_535, 0, 2, 1, 3, 40_000].into_iter().enumerate() {
            let mut slot = carried(sequence, n as u32 * 160);
            let before = slot.packet().to_vec();
            out.carry(zero(), &mut slot, true);
            assert_eq!(slot.packet(), before);
        }
        assert_eq!(out.shift(7), 0);
    }

    #[test]
    fn packets_of_ours_come_in_between_and_no_number_twice() {
        let (mut out, t) = (Outgoing::new(9), zero());
        let mut slot = carried(65_534, 0);
        out.carry(t, &mut slot, true);
        assert_eq!(out.clock(t + ms(20), 8000), 160);
        let mut numbers = vec![read(&slot).0];
        for _ in 0..3 {
            out.write(t + ms(20), &mut slot, &key(160));
            numbers.push(read(&slot).0);
            assert_eq!(read(&slot).2, 7, "one source");
        }
        let mut late = carried(65_533, 0);
        out.carry(t + ms(30), &mut late, true);
        assert_eq!(read(&late).0, 65_533, "it belongs before ours");
        for sequence in [65_535, 0, 1] {
            slot = carried(sequence, 0);
            out.carry(t + ms(40), &mut slot, true);
            numbers.push(read(&slot).0);
            assert_eq!(read(&slot).3, sequence == 65_535, "the first after ours is marked");
        }
        assert_eq!(numbers, [65_534, 65_535, 0, 1, 2, 3, 4]);
        assert_eq!(out.shift(7), 3);
    }

    #[test]
    fn what_stays_behind_is_not_missed() {
        let (mut out, t) = (Outgoing::new(9), zero());
        let mut slot = carried(10, 0);
        out.carry(t, &mut slot, true);
        for sequence in 11..14 {
            out.withhold(&Header::read(carried(sequence, 0).packet()).unwrap());
        }
        out.write(t, &mut slot, &key(0));
        assert_eq!(read(&slot).0, 11);
        slot = carried(14, 480);
        out.carry(t, &mut slot, true);
        assert_eq!(read(&slot), (12, 480, 7, true));
    }

    #[test]
    fn before_anything_is_carried_ours_are_a_stream_of_their_own() {
        let (mut out, t) = (Outgoing::new(9), zero());
        let mut slot = PacketBuf::new();
        let tone = |n: u32| Ours {
            payload_type: 8,
            marker: n == 0,
            timestamp: 160 * n,
            clocked: true,
            payload: &[0xd5; 160],
        };
        out.write(t, &mut slot, &tone(0));
        let first = read(&slot);
        out.write(t + ms(20), &mut slot, &tone(1));
        let second = read(&slot);
        assert_eq!((first.2, second.2, second.0), (9, 9, first.0.wrapping_add(1)));
        assert_eq!(out.clock(t + ms(40), 8000), 320);
        slot = carried(500, 1_000_000);
        out.carry(t + ms(40), &mut slot, true);
        assert_eq!(read(&slot), (500, 1_000_000, 7, false), "another source, as itself");
    }
}
