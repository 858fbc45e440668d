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

/// The numbers under which one leg's far side hears its stream. What a packet needs stands in front.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Outgoing {
    /// What is heard now; `None` before the first packet.
    heard: Option<Heard>,
    /// The SSRC of packets of ours where nothing is carried.
    own_ssrc: u32,
    /// What was heard before that: two sources may take turns (a conference, a fork), and one that
    /// comes back goes on after its last number.
    former: Option<Heard>,
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
    /// The first number that is moved by `shift`; `None`: all are.
    from: Option<u16>,
    /// The numbers before packets of ours came in between: a late one of them still has its place.
    before: Option<Span>,
    /// The next one is the first after ours.
    resumes: bool,
}

/// Sequence numbers of a source that were moved alike.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The first; `None`: all up to the last.
    from: Option<u16>,
    until: u16,
    shift: u16,
}

impl Outgoing {
    /// A stream of which nothing was heard. `own_ssrc` is random.
    pub(crate) const fn new(own_ssrc: u32) -> Self {
        Self { own_ssrc, heard: None, former: None }
    }

    /// A packet that is carried: gives it, and its header, the number that it goes out under. `clocked`
    /// says whether its timestamp is the stream's clock (it is not for telephone events).
    ///
    /// `false` for a packet that comes so late that its number has gone to others: it stays behind.
    #[must_use]
    #[inline(always)]
    pub(crate) fn carry(
        &mut self,
        now: Instant,
        header: &mut Header,
        slot: &mut PacketBuf,
        clocked: bool,
    ) -> bool {
        if let Some(heard) = &mut self.heard
            && heard.takes_next(now, header, clocked)
        {
            return true;
        }
        let Some(place) = self.follow(now, header, clocked) else { return false };
        if place.number != header.sequence {
            rtp::set_source(slot.packet_mut(), place.number, header.ssrc);
            header.sequence = place.number;
        }
        if place.resumes {
            rtp::set_marker(slot.packet_mut());
        }
        true
    }

    /// Where what a packet touches of it ends.
    pub(crate) const fn touched_to(&self) -> &impl Sized {
        &self.heard
    }

    /// The same for a packet that somebody else sends on, or will: its place in the stream, if it has
    /// one.
    #[inline(never)]
    pub(crate) fn follow(&mut self, now: Instant, header: &Header, clocked: bool) -> Option<Place> {
        self.turn_to(header.ssrc);
        let heard = match &mut self.heard {
            Some(heard) if heard.ssrc == header.ssrc => heard,
            other => {
                *other = Some(Heard::of(header, now));
                return Some(Place { number: header.sequence, resumes: false });
            }
        };
        let carried = heard.carried.get_or_insert(Carried::of(header));
        let step = header.sequence.wrapping_sub(carried.highest) as i16;
        let jumps = step < -STEP_MAX;
        if jumps {
            (carried.from, carried.before) = (None, None);
        }
        if step > 0 || jumps {
            carried.highest = header.sequence;
            carried.forget_what_is_old();
        }
        let number = header.sequence.wrapping_add(carried.shift_of(header.sequence)?);
        let resumes = step > 0 && std::mem::take(&mut carried.resumes);
        if jumps || (number.wrapping_sub(heard.sequence) as i16) > 0 {
            heard.sequence = number;
            if clocked {
                (heard.timestamp, heard.at) = (header.timestamp, now);
            }
        }
        Some(Place { number, resumes })
    }

    /// The source that is carried, and what is added to each of its numbers, late ones too; `None` while
    /// they are not all moved alike, or the next one has to be marked.
    pub(crate) fn steady(&self) -> Option<(u32, u16)> {
        let heard = self.heard.as_ref()?;
        let carried = heard.carried.filter(|it| it.from.is_none() && it.before.is_none());
        carried.filter(|it| !it.resumes).map(|it| (heard.ssrc, it.shift))
    }

    /// A packet that would be carried and stays behind: its number is not missed.
    pub(crate) fn withhold(&mut self, header: &Header) {
        if let Some(heard) = self.heard.as_mut().filter(|heard| heard.ssrc == header.ssrc)
            && let Some(carried) = &mut heard.carried
            && (header.sequence.wrapping_sub(carried.highest) as i16) > 0
        {
            let skipped = header.sequence.wrapping_sub(carried.highest);
            carried.interrupt();
            carried.highest = header.sequence;
            carried.from = Some(header.sequence.wrapping_add(1));
            carried.shift = carried.shift.wrapping_sub(skipped);
            carried.forget_what_is_old();
        }
    }

    /// The timestamp that a packet of ours has if it goes out now.
    pub(crate) fn clock(&self, now: Instant, clock_hz: u32) -> u32 {
        let Some(heard) = &self.heard else { return 0 };
        let since = now.saturating_duration_since(heard.at).as_micros();
        heard.timestamp.wrapping_add((since * u128::from(clock_hz) / 1_000_000) as u32)
    }

    /// Writes a packet of ours into the slot: the next of the stream. `clocked` as in [`Self::carry`].
    pub(crate) fn write(&mut self, now: Instant, slot: &mut PacketBuf, ours: &Ours<'_>) {
        let heard = self.heard.get_or_insert(Heard {
            ssrc: self.own_ssrc,
            // Below half a round, where SRTP wants a stream to start (RFC 3711, 3.3.1).
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
            carried.interrupt();
            carried.from = Some(carried.highest.wrapping_add(1));
            carried.shift = heard.sequence.wrapping_sub(carried.highest);
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
        let both = [&self.heard, &self.former].into_iter().flatten();
        let heard = both.into_iter().find(|heard| heard.ssrc == ssrc);
        heard.and_then(|heard| heard.carried).map_or(0, |carried| carried.shift)
    }

    /// Another source speaks, perhaps one that was heard before.
    fn turn_to(&mut self, ssrc: u32) {
        if self.heard.is_some_and(|heard| heard.ssrc != ssrc) {
            let again = self.former.filter(|former| former.ssrc == ssrc);
            self.former = std::mem::replace(&mut self.heard, again);
        }
    }
}

/// The place of a carried packet in the stream that is heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    number: u16,
    /// It is the first after ours.
    resumes: bool,
}

impl Heard {
    /// Takes a packet that goes out as it came: the next, or one a few later, of the source that is carried
    /// and whose numbers were never moved. `false`, and nothing is changed, if it is another.
    #[inline]
    fn takes_next(&mut self, now: Instant, header: &Header, clocked: bool) -> bool {
        let Some(carried) = &mut self.carried else { return false };
        let step = header.sequence.wrapping_sub(carried.highest) as i16;
        let plain = carried.from.is_none() && carried.shift == 0 && !carried.resumes;
        let next = self.sequence == carried.highest && step > 0;
        if !plain || !next || self.ssrc != header.ssrc {
            return false;
        }
        (carried.highest, self.sequence) = (header.sequence, header.sequence);
        if clocked {
            (self.timestamp, self.at) = (header.timestamp, now);
        }
        true
    }

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
        Self { highest: header.sequence, shift: 0, from: None, before: None, resumes: false }
    }

    /// Something else comes after its highest: what was carried so far is a span of its own.
    fn interrupt(&mut self) {
        self.resumes = true;
        if self.from != Some(self.highest.wrapping_add(1)) {
            self.before = Some(Span { from: self.from, until: self.highest, shift: self.shift });
        }
    }

    /// What is added to a number; `None` where it lies between two spans, or before both.
    fn shift_of(&self, sequence: u16) -> Option<u16> {
        let lies_from =
            |from: Option<u16>| from.is_none_or(|from| (sequence.wrapping_sub(from) as i16) >= 0);
        if lies_from(self.from) {
            return Some(self.shift);
        }
        let span = self.before?;
        let within = lies_from(span.from) && (sequence.wrapping_sub(span.until) as i16) <= 0;
        within.then_some(span.shift)
    }

    /// Numbers are compared over half a round: what lies far back must not seem to lie ahead.
    fn forget_what_is_old(&mut self) {
        let behind = |number: u16| self.highest.wrapping_sub(number);
        // One ahead of the highest is where nothing was carried yet.
        let is_old = |number: u16| behind(number) > STEP_MAX as u16 && behind(number) != u16::MAX;
        if self.from.is_some_and(is_old) {
            (self.from, self.before) = (None, None);
        }
        self.before.take_if(|span| is_old(span.until));
        if let Some(span) = &mut self.before
            && span.from.is_some_and(is_old)
        {
            span.from = None;
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
mod tests;
