//! RTP on its way from leg to leg: an ordinary packet one way, every other packet another way, in the
//! same steps.

use super::{Forward, Verdict, ours, pair};
use crate::leg::LegMedia;
use crate::notices::Notices;
use crate::rtp::{self, Header};
use crate::transcode;
use crate::transform::{Becomes, Mapped, Opened, Path};
use crate::{Component, DropReason, Now, PacketBuf, Side};
use sdp::{Conversion, Notice};
use std::net::SocketAddr;
use std::time::Instant;

impl Forward {
    #[inline]
    pub(super) fn rtp(
        &mut self,
        now: Now,
        side: Side,
        source: SocketAddr,
        slot: &mut PacketBuf,
    ) -> Result<Verdict, DropReason> {
        match self.usual[side as usize] {
            true => self.carry_ordinary(now, side, source, slot),
            false => self.carry_other(now, side, source, slot),
        }
    }

    /// With an ordinary packet is done what is done with every packet: it is opened, believed, counted,
    /// numbered and sealed.
    #[inline]
    fn carry_ordinary(
        &mut self,
        now: Now,
        side: Side,
        source: SocketAddr,
        slot: &mut PacketBuf,
    ) -> Result<Verdict, DropReason> {
        let path = self.paths[side as usize].as_mut().ok_or(DropReason::NoFlow)?;
        let (from, to) = pair(&mut self.legs, side);
        let mut header = Header::read(slot.packet()).ok_or(DropReason::Malformed)?;
        let octets_received = slot.len() as u64;
        let opened = path.transform.open(&header, slot)?;
        believe(opened, source, from, |from| {
            from.rtp.admits(now.mono, source, header.ssrc, header.sequence)
        })?;
        self.sooner |= from.watch.begins();
        let payload = take_down(now.mono, &header, (from, side), path, &mut self.notices);
        let passes = !payload.event || {
            self.sooner = true;
            let crossing = &self.crossings[side as usize];
            let ears = (&mut self.notices, side);
            ours::hear(now.mono, (from, to), crossing, (&header, slot.packet()), ears)?
        };
        if !passes || payload.quiet {
            to.outgoing.withhold(&header);
            return Ok(Verdict::Consumed);
        }
        let Some(destination) = to.rtp.destination() else { return Ok(Verdict::Consumed) };
        if let Some(becomes) = payload.becomes {
            return Ok(hand_over(becomes, slot, &header, (from, octets_received)));
        }
        if !take_its_place(now.mono, to, slot, &mut header, payload)? {
            return Ok(Verdict::Consumed);
        }
        let speech = Speech { header, clock_hz: payload.clock_hz };
        depart(now.mono, (to, side.other()), path, slot, speech, &mut self.notices)?;
        from.came.count(octets_received);
        Ok(Verdict::Forward { side: side.other(), component: Component::Rtp, to: destination })
    }

    /// Any other packet may come under an old key, in the clear over ICE, before the answer, on hold, or
    /// while something of ours is heard instead of it; it may begin or end a wait, and its keys may pass
    /// through.
    #[inline(never)]
    fn carry_other(
        &mut self,
        now: Now,
        side: Side,
        source: SocketAddr,
        slot: &mut PacketBuf,
    ) -> Result<Verdict, DropReason> {
        let octets = slot.len() as u64;
        let (header, payload) = self.take_in_other(now, side, source, slot)?;
        let (from, to) = pair(&mut self.legs, side);
        // Speech is nothing to a side that is in a fax.
        if !from.hears() || to.is_fax() {
            return Ok(Verdict::Consumed);
        }
        // What stays encrypted tells nothing.
        let passes = self.paths[side as usize].as_ref().is_some_and(|it| it.transform.passes());
        let goes_on = passes || self.is_heard_beyond(now, side, (&header, payload), slot)?;
        let to = &mut self.legs[side.other() as usize];
        if !to.speaks() {
            return Ok(Verdict::Consumed);
        }
        if !goes_on {
            to.outgoing.withhold(&header);
            return Ok(Verdict::Consumed);
        }
        self.send_on_other(now, side, (header, payload, octets), slot)
    }

    /// Opens it, believes it, and takes it down.
    fn take_in_other(
        &mut self,
        now: Now,
        side: Side,
        source: SocketAddr,
        slot: &mut PacketBuf,
    ) -> Result<(Header, Mapped), DropReason> {
        let path = self.paths[side as usize].as_mut().ok_or(DropReason::NoFlow)?;
        let (from, to) = pair(&mut self.legs, side);
        if from.agreed().is_none() {
            return Err(DropReason::NoFlow);
        }
        let header = Header::read(slot.packet()).ok_or(DropReason::Malformed)?;
        let opened = path.open(now.mono, &header, slot)?;
        believe(opened, source, from, |from| from.admits(now.mono, source, &header))?;

        // What follows may have something due sooner where a side is heard for the first time, has keys
        // to be heard, or is found among forks.
        self.sooner |= from.watch.begins() || from.forks.is_some();
        if let Some(notice) = from.forks.as_deref_mut().and_then(|it| it.heard(now.mono)) {
            self.notices.push(side, notice);
        }
        let payload = take_down(now.mono, &header, (from, side), path, &mut self.notices);
        self.sooner |= from.expect_reports(now.mono) | to.expect_reports(now.mono);
        Ok((header, payload))
    }

    /// Whether the other leg is to have it as it is: nothing of ours is heard there, and it is no key that
    /// is told there in another way.
    fn is_heard_beyond(
        &mut self,
        now: Now,
        side: Side,
        (header, payload): (&Header, Mapped),
        slot: &PacketBuf,
    ) -> Result<bool, DropReason> {
        let (from, to) = pair(&mut self.legs, side);
        let passes = if payload.event || from.ear.is_some() {
            self.sooner = true;
            let crossing = &self.crossings[side as usize];
            let ears = (&mut self.notices, side);
            ours::hear(now.mono, (from, to), crossing, (header, slot.packet()), ears)?
        } else {
            to.is_free()
        };
        Ok(passes && !payload.quiet)
    }

    /// Sends it on, unless there is nowhere to send it to.
    fn send_on_other(
        &mut self,
        now: Now,
        side: Side,
        (mut header, payload, octets): (Header, Mapped, u64),
        slot: &mut PacketBuf,
    ) -> Result<Verdict, DropReason> {
        let path = self.paths[side as usize].as_mut().ok_or(DropReason::NoFlow)?;
        let (from, to) = pair(&mut self.legs, side);
        let Some(destination) = to.destination(Component::Rtp) else {
            return Ok(Verdict::Consumed);
        };
        if let Some(becomes) = payload.becomes {
            return Ok(hand_over(becomes, slot, &header, (from, octets)));
        }
        let passes = path.transform.passes();
        let placed = match (passes, payload.number) {
            // Noise that the other leg has not agreed, and that was not listened to as it passes.
            (_, None) if payload.quiet => false,
            (true, None) => return Err(DropReason::Malformed),
            (true, Some(_)) => true,
            (false, _) => take_its_place(now.mono, to, slot, &mut header, payload)?,
        };
        if !placed {
            return Ok(Verdict::Consumed);
        }
        self.sooner |= to.player.begins_to_wait();
        to.player.carries(now.mono);
        let speech = Speech { header, clock_hz: payload.clock_hz };
        match passes {
            true => speech.count(now.mono, to, slot.len()),
            false => depart(now.mono, (to, side.other()), path, slot, speech, &mut self.notices)?,
        }
        from.came.count(octets);
        Ok(Verdict::Forward { side: side.other(), component: Component::Rtp, to: destination })
    }

    /// Speech of `side` comes back in another codec: the slot holds it under the header it left with.
    pub fn transcoded(
        &mut self,
        now: Now,
        side: Side,
        conversion: Conversion,
        slot: &mut PacketBuf,
    ) -> Verdict {
        let verdict = self.carry_transcoded(now, side, conversion, slot);
        self.look_for_the_unusual();
        verdict.unwrap_or_else(|reason| {
            self.dropped(side, reason);
            Verdict::Drop(reason)
        })
    }

    fn carry_transcoded(
        &mut self,
        now: Now,
        side: Side,
        conversion: Conversion,
        slot: &mut PacketBuf,
    ) -> Result<Verdict, DropReason> {
        let path = self.paths[side as usize].as_mut().ok_or(DropReason::NoFlow)?;
        let (from, to) = pair(&mut self.legs, side);
        // Meanwhile the legs may have agreed something else.
        let Some(payload_type) = path.payloads.goal(conversion) else {
            return Ok(Verdict::Consumed);
        };
        if !from.hears() || !to.speaks() {
            return Ok(Verdict::Consumed);
        }
        let Some(destination) = to.destination(Component::Rtp) else {
            return Ok(Verdict::Consumed);
        };
        let header = Header::read(slot.packet()).ok_or(DropReason::Malformed)?;
        if !to.is_free() {
            to.outgoing.withhold(&header);
            return Ok(Verdict::Consumed);
        }
        self.sooner |= to.player.begins_to_wait();
        to.player.carries(now.mono);
        rtp::set_timestamp(slot.packet_mut(), path.clock.turn(&header, conversion));
        rtp::set_payload_type(slot.packet_mut(), payload_type);
        let mut header = Header::read(slot.packet()).ok_or(DropReason::Malformed)?;
        if !to.outgoing.carry(now.mono, &mut header, slot, true) {
            return Ok(Verdict::Consumed);
        }
        let speech = Speech { header, clock_hz: Some(conversion.to.clock_hz()) };
        depart(now.mono, (to, side.other()), path, slot, speech, &mut self.notices)?;
        Ok(Verdict::Forward { side: side.other(), component: Component::Rtp, to: destination })
    }
}

/// A packet that was opened is the far side's if its tag says so, and the latch follows it; else if it
/// `admits` who has sent it.
#[inline(always)]
fn believe(
    opened: Opened,
    source: SocketAddr,
    from: &mut LegMedia,
    admits: impl FnOnce(&mut LegMedia) -> bool,
) -> Result<(), DropReason> {
    match opened {
        Opened::Authentic(authentic) if authentic.newest => from.rtp.follow(source),
        Opened::Authentic(_) => {}
        Opened::Unproven => {
            if !admits(from) {
                return Err(DropReason::Unlatched);
            }
        }
    }
    Ok(())
}

/// Takes down a packet that is believed; what becomes of its payload type.
#[inline(always)]
fn take_down(
    now: Instant,
    header: &Header,
    (from, side): (&mut LegMedia, Side),
    path: &mut Path,
    notices: &mut Notices,
) -> Mapped {
    let payload = path.payloads.of(header.payload_type);
    from.reception.count(now, header, payload.clock_hz);
    match payload.number.is_some() || payload.becomes.is_some() || payload.quiet {
        true => {
            if let Some(notice) = from.watch.heard(now) {
                notices.push(side, notice);
            }
        }
        false => from.watch.has_no_payload_type(),
    }
    payload
}

/// Speech leaves to be turned into that of another codec.
fn hand_over(
    becomes: Becomes,
    slot: &mut PacketBuf,
    header: &Header,
    (from, octets): (&mut LegMedia, u64),
) -> Verdict {
    if !transcode::strip(slot, header) {
        return Verdict::Consumed;
    }
    from.came.count(octets);
    Verdict::Transcode(becomes.conversion)
}

/// Gives a packet the payload type and the numbers that it goes out under; `false` where these have
/// gone to others.
#[inline(always)]
fn take_its_place(
    now: Instant,
    to: &mut LegMedia,
    slot: &mut PacketBuf,
    header: &mut Header,
    payload: Mapped,
) -> Result<bool, DropReason> {
    let payload_type = payload.number.ok_or(DropReason::Malformed)?;
    if payload_type != header.payload_type {
        rtp::set_payload_type(slot.packet_mut(), payload_type);
        header.payload_type = payload_type;
    }
    Ok(to.outgoing.carry(now, header, slot, payload.clock_hz.is_some()))
}

/// What counting needs to know of a packet that leaves.
pub(super) struct Speech {
    pub(super) header: Header,
    /// The clock of its timestamp, where that says when it was sent.
    pub(super) clock_hz: Option<u32>,
}

impl Speech {
    /// Counts it as sent to a leg; `len` is its length in the clear.
    #[inline(always)]
    fn count(&self, now: Instant, to: &mut LegMedia, len: usize) {
        to.went.count(len as u64);
        to.count_sent(now, &self.header, len - self.header.payload_at, self.clock_hz);
    }
}

/// A packet leaves on leg `side`: it is sealed and counted.
#[inline(always)]
pub(super) fn depart(
    now: Instant,
    (to, side): (&mut LegMedia, Side),
    path: &mut Path,
    slot: &mut PacketBuf,
    mut speech: Speech,
    notices: &mut Notices,
) -> Result<(), DropReason> {
    let len = slot.len();
    path.transform.seal(&speech.header, slot)?;
    // Its source may have to be sent as another.
    speech.header.ssrc = rtp::source(slot.packet()).unwrap_or(speech.header.ssrc);
    if path.wears_out() {
        notices.push(side, Notice::KeyWorn);
    }
    speech.count(now, to, len);
    Ok(())
}
