//! Protects what we send: no two different packets under one (key, SSRC, index), whatever the
//! source does (RFC 3711, 9.1: a repeated keystream gives the audio away).

use super::PacketIndex;
use super::replay::{Arrival, Window};
use super::srtcp::{RTCP_CLEAR, Srtcp, trailer_len};
use super::suite::{Mki, Session};
use crate::rtp::{self, Header};
use crate::{DropReason, PacketBuf, Stretch};
use sdp::SrtpKey;
use std::sync::Arc;

/// Sources that are carried side by side; the one longest silent makes room for a further one, and
/// gets a new SSRC should it come back.
const MAX_STREAMS: usize = 8;
/// Sources whose own SSRC is kept under one key. All of them are remembered for the key's life;
/// further ones get SSRCs of ours, which never repeat.
const MAX_KEPT: usize = 32;
/// A source whose packets, so many in a row and in sequence, all lie at or before what we have sent
/// has started anew. Fewer are late or repeated packets.
const RESTART_RUN: u8 = 4;
/// RFC 3711, 3.3.1 wants sequences to start below this, so that a far side that misses our first
/// packets cannot miss a rollover. A source that starts above is moved by as much.
const HALF_ROUND: u16 = 1 << 15;
/// SRTCP indices have 31 bits (RFC 3711, 3.4).
const RTCP_INDEX_END: u32 = 1 << 31;
/// No key protects more SRTP packets (RFC 3711, 9.2).
const LIFETIME_MAX: u64 = 1 << 48;
/// A key is worn when so many packets are left, ten minutes of speech in packets of 20 ms: time
/// enough to agree another.
const WORN_LEFT: u64 = 30_000;
/// A source that goes on under a new key keeps its numbers, unless they are so near to their end that
/// a far side which misses a minute's packets could miss the rollover, too.
const GOES_ON_BELOW: u16 = u16::MAX - 3000;

/// Where a stream of ours comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The source's own SSRC.
    pub ssrc: u32,
    /// What to add to our sequence numbers to have the source's.
    pub sequence_shift: u16,
}

/// The context of one key of ours.
///
/// What an RTP packet needs stands together and in front, as in a receiver.
#[repr(C, align(64))]
pub struct Sender {
    session: Session,
    /// How many more SRTP packets may go out, of all SSRCs.
    left: u64,
    mki: Option<Mki>,
    /// Another key should be agreed, however many packets are left.
    is_worn: bool,
    streams: Streams,
    /// One count for all SSRCs: every SRTCP packet of this key has its own index.
    rtcp_next: u32,
    /// SRTCP indices end here.
    rtcp_end: u32,
    fresh: FreshSsrcs,
    kept: Vec<u32>,
    /// What went out under the key before, and goes on under this one.
    before: Vec<(Origin, u32)>,
    key: Arc<SrtpKey>,
}

/// The sources that are carried: those in use stand in front, the one heard last first.
#[repr(C)]
struct Streams {
    len: u8,
    all: [Stream; MAX_STREAMS],
}

impl std::ops::Deref for Streams {
    type Target = [Stream];
    fn deref(&self) -> &[Stream] {
        &self.all[..usize::from(self.len)]
    }
}

impl std::ops::DerefMut for Streams {
    fn deref_mut(&mut self) -> &mut [Stream] {
        &mut self.all[..usize::from(self.len)]
    }
}

impl Streams {
    /// Moves a stream before all others.
    fn bring_forward(&mut self, at: usize) -> &mut Stream {
        if at > 0 {
            self.all[..=at].rotate_right(1);
        }
        &mut self.all[0]
    }

    /// A place for one more: behind the others, or that of the one longest silent.
    fn make_room(&mut self) -> usize {
        if usize::from(self.len) < MAX_STREAMS {
            self.len += 1;
        }
        usize::from(self.len) - 1
    }
}

/// One source and what it is sent as.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    /// The source's own, and what to add to our sequence numbers to have its: [`Origin`] without gaps.
    origin_ssrc: u32,
    sequence_shift: u16,
    /// The last refused sequence number and how many came so in a row.
    refused: Option<(u16, u8)>,
    /// Indices that have been used.
    used: Window,
}

impl Sender {
    /// A sender under a key that nothing was sent under. Where a source's SSRC cannot be kept, ours
    /// are counted up from `first_ssrc`, which is random.
    pub fn new(key: &SrtpKey, first_ssrc: u32) -> Self {
        Self::of(Arc::new(key.clone()), first_ssrc)
    }

    /// The same under a key that others have, too.
    pub(crate) fn of(key: Arc<SrtpKey>, first_ssrc: u32) -> Self {
        let lifetime = key.lifetime().unwrap_or(LIFETIME_MAX).min(LIFETIME_MAX);
        let rtcp_end = lifetime.min(RTCP_INDEX_END.into()) as u32;
        Self {
            left: lifetime,
            rtcp_end,
            before: Vec::new(),
            session: Session::new(&key),
            mki: Mki::of(&key),
            // One that is another leg's has done its service once we have to protect under it ourselves.
            is_worn: key.is_passed() || is_worn_by_rtcp(0, rtcp_end),
            streams: Streams { len: 0, all: [Stream::NONE; MAX_STREAMS] },
            kept: Vec::with_capacity(MAX_KEPT),
            fresh: FreshSsrcs { first: first_ssrc, issued: 0 },
            rtcp_next: 0,
            key,
        }
    }

    /// A sender under a key that takes the place of another's: what was sent goes on under its SSRC
    /// and sequence numbers, at ROC 0.
    pub fn after(before: &Self, key: &SrtpKey, first_ssrc: u32) -> Self {
        Self::following(before, Arc::new(key.clone()), first_ssrc)
    }

    /// The same under a key that others have, too.
    pub(crate) fn following(before: &Self, key: Arc<SrtpKey>, first_ssrc: u32) -> Self {
        let kept = |stream: &&Stream| !key.is_passed() || stream.ssrc != stream.origin_ssrc;
        let known = before.streams.iter().filter(kept);
        let known = known.map(|stream| (stream.origin(), stream.ssrc)).collect();
        Self { before: known, fresh: before.fresh, ..Self::of(key, first_ssrc) }
    }

    /// What an RTP packet touches.
    pub(crate) fn touched(&self) -> Stretch {
        Stretch::between(&self.session, &self.streams.all[0])
    }

    /// Whether it protects under this key.
    pub fn is_of(&self, key: &SrtpKey) -> bool {
        self.key.is_same_secret(key)
    }

    /// Whether another key should be agreed: this one may protect few packets more.
    pub const fn is_worn(&self) -> bool {
        self.is_worn || self.left <= WORN_LEFT
    }

    /// Turns an RTP packet into SRTP in place. SSRC and sequence number stay where that is safe and
    /// become ours where not. A repeated packet is refused as `Replay`.
    pub fn protect(&mut self, slot: &mut PacketBuf) -> Result<(), DropReason> {
        let header = Header::read(slot.packet()).ok_or(DropReason::Malformed)?;
        self.seal(&header, slot)
    }

    /// The same with its header, which has been read.
    pub(crate) fn seal(&mut self, header: &Header, slot: &mut PacketBuf) -> Result<(), DropReason> {
        let trailer = self.session.tag_len() + self.mki.map_or(0, Mki::len);
        has_room(slot, trailer)?;
        let left = self.left.checked_sub(1).ok_or(DropReason::KeySpent)?;
        let (ssrc, index) = self.next(header)?;
        self.left = left;

        // From here on the index is used up, even if the packet is not sent.
        rtp::set_source(slot.packet_mut(), index.sequence(), ssrc);
        self.session.seal(slot, header.payload_at, (ssrc, index), self.mki)
    }

    /// Turns an RTCP packet into SRTCP in place, under its next index. Its SSRCs are the caller's to
    /// map before ([`Self::ssrc_of`], [`Self::origin_of`]).
    pub fn protect_rtcp(&mut self, slot: &mut PacketBuf) -> Result<(), DropReason> {
        let packet = slot.packet();
        let ssrc = packet.get(4..RTCP_CLEAR).and_then(|ssrc| ssrc.first_chunk::<4>());
        let ssrc = u32::from_be_bytes(*ssrc.ok_or(DropReason::Malformed)?);
        has_room(slot, trailer_len(self.key.suite(), self.mki))?;
        if self.key.is_passed() && !self.fresh.is_ours(ssrc) {
            return Err(DropReason::NoFlow);
        }
        let index = self.rtcp_next;
        if index == self.rtcp_end {
            return Err(DropReason::KeySpent);
        }
        self.rtcp_next += 1;
        self.is_worn |= is_worn_by_rtcp(self.rtcp_next, self.rtcp_end);
        Srtcp::new(&self.key).seal(slot, ssrc, index, self.mki)
    }

    /// What a source is sent as, if it has sent anything.
    pub fn ssrc_of(&self, source: u32) -> Option<u32> {
        self.streams.iter().find(|stream| stream.origin_ssrc == source).map(|stream| stream.ssrc)
    }

    /// Which source is sent as `ssrc`; `None` if none is, or no longer.
    pub fn origin_of(&self, ssrc: u32) -> Option<Origin> {
        self.streams.iter().find(|stream| stream.ssrc == ssrc).map(Stream::origin)
    }

    /// The SSRC and index a packet goes out under; its stream is opened if need be.
    fn next(&mut self, header: &Header) -> Result<(u32, PacketIndex), DropReason> {
        let known = self.streams.iter().position(|stream| stream.origin_ssrc == header.ssrc);
        if let Some(at) = known
            && !self.streams[at].restarts_with(header.sequence)
        {
            return self.streams.bring_forward(at).advance(header.sequence);
        }
        let (stream, index) = match self.going_on(header) {
            Some((origin, ssrc)) => Stream::open(header, origin, ssrc),
            None => {
                let ssrc = self.new_ssrc(header.ssrc)?;
                let sequence_shift = header.sequence & HALF_ROUND;
                let origin = Origin { ssrc: header.ssrc, sequence_shift };
                Stream::open(header, origin, ssrc)
            }
        };
        let ssrc = stream.ssrc;
        let at = known.unwrap_or_else(|| self.streams.make_room());
        *self.streams.bring_forward(at) = stream;
        Ok((ssrc, index))
    }

    /// What a source was sent as under the key before, if it can go on so: once.
    fn going_on(&mut self, header: &Header) -> Option<(Origin, u32)> {
        let at = self.before.iter().position(|(origin, _)| origin.ssrc == header.ssrc)?;
        let (origin, ssrc) = self.before.swap_remove(at);
        let number = header.sequence.wrapping_sub(origin.sequence_shift);
        let unused = ssrc != header.ssrc || !self.kept.contains(&ssrc);
        let room = ssrc != header.ssrc || self.kept.len() < MAX_KEPT;
        (number < GOES_ON_BELOW && unused && room).then(|| {
            if ssrc == header.ssrc {
                self.kept.push(ssrc);
            }
            (origin, ssrc)
        })
    }

    /// An SSRC that was never used under this key: the source's own, or one of ours.
    fn new_ssrc(&mut self, source: u32) -> Result<u32, DropReason> {
        // Who owns a key that was passed to us may send under its own SSRCs.
        let used =
            self.key.is_passed() || self.kept.contains(&source) || self.fresh.has_issued(source);
        if !used && self.kept.len() < MAX_KEPT {
            self.kept.push(source);
            return Ok(source);
        }
        self.fresh.draw(&self.kept, source).ok_or(DropReason::NoFlow)
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("key", &self.key)
            .field("streams", &&self.streams[..])
            .field("kept", &self.kept)
            .field("fresh", &self.fresh)
            .field("rtcp_next", &self.rtcp_next)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// The place of one.
    const NONE: Self = Self {
        ssrc: 0,
        origin_ssrc: 0,
        sequence_shift: 0,
        refused: None,
        used: Window::starting(0),
    };

    /// Where it comes from.
    const fn origin(&self) -> Origin {
        Origin { ssrc: self.origin_ssrc, sequence_shift: self.sequence_shift }
    }

    /// A stream from its first packet on, with that packet's index.
    const fn open(header: &Header, origin: Origin, ssrc: u32) -> (Self, PacketIndex) {
        let Origin { ssrc: origin_ssrc, sequence_shift } = origin;
        let index = PacketIndex::new(0, header.sequence.wrapping_sub(sequence_shift));
        let used = Window::starting(index.get());
        (Self { ssrc, origin_ssrc, sequence_shift, refused: None, used }, index)
    }

    /// Uses up the index of a packet, or refuses it.
    fn advance(&mut self, sequence: u16) -> Result<(u32, PacketIndex), DropReason> {
        match self.unused(sequence) {
            Some(index) => {
                self.used.insert(index.get());
                self.refused = None;
                Ok((self.ssrc, index))
            }
            None => {
                let run = match self.refused {
                    Some((last, run)) if last.wrapping_add(1) == sequence => run.saturating_add(1),
                    _ => 1,
                };
                self.refused = Some((sequence, run));
                Err(DropReason::Replay)
            }
        }
    }

    /// Whether a packet ends a run of refused ones: its source has started anew.
    fn restarts_with(&self, sequence: u16) -> bool {
        let in_a_row = self
            .refused
            .is_some_and(|(last, run)| last.wrapping_add(1) == sequence && run + 1 >= RESTART_RUN);
        in_a_row && self.unused(sequence).is_none()
    }

    /// The index of a packet, if it was not used: late packets still go out.
    fn unused(&self, sequence: u16) -> Option<PacketIndex> {
        let ours = sequence.wrapping_sub(self.sequence_shift);
        let highest = self.used.highest();
        let index = PacketIndex::new((highest >> 16) as u32, highest as u16).nearest(ours)?;
        (self.used.look(index.get()) == Arrival::New).then_some(index)
    }
}

/// SSRCs of ours: counted up, so that none comes twice.
#[derive(Clone, Copy, Debug)]
struct FreshSsrcs {
    first: u32,
    issued: u32,
}

impl FreshSsrcs {
    fn has_issued(&self, ssrc: u32) -> bool {
        ssrc.wrapping_sub(self.first) < self.issued
    }

    /// Whether we may send RTCP as it: it was issued, or is the next.
    fn is_ours(&self, ssrc: u32) -> bool {
        ssrc.wrapping_sub(self.first) <= self.issued
    }

    /// The next that is neither the source's own nor one of the `kept`; `None` when all have been used.
    fn draw(&mut self, kept: &[u32], source: u32) -> Option<u32> {
        loop {
            let ssrc = self.first.wrapping_add(self.issued);
            self.issued = self.issued.checked_add(1)?;
            if ssrc != source && !kept.contains(&ssrc) {
                return Some(ssrc);
            }
        }
    }
}

/// Whether few SRTCP packets are left.
const fn is_worn_by_rtcp(next: u32, end: u32) -> bool {
    end - next <= 1
}

/// Whether `trailer` octets fit behind the packet.
fn has_room(slot: &mut PacketBuf, trailer: usize) -> Result<(), DropReason> {
    let fits = slot.len() + trailer <= slot.octets_mut().len();
    fits.then_some(()).ok_or(DropReason::TooBig)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdp::Suite;

    #[test]
    fn what_a_packet_touches_fills_no_more_than_five_lines_of_memory() {
        for suite in Suite::ALL {
            let key = SrtpKey::from_octets(suite, &vec![7; suite.key_salt_len()]).unwrap();
            assert!(Sender::new(&key, 1).touched().lines().count() <= 5, "{suite:?}");
        }
    }
}
