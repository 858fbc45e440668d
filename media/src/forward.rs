//! One call's streams: a packet in, a [`Verdict`] out.

mod fax;
mod offload;
mod ours;
mod reaching;
mod reports;
mod speech;

use crate::agreed::Agreed;
use crate::demux::Kind;
use crate::keys;
use crate::leg::LegMedia;
use crate::notices::Notices;
use crate::packet::PACKET_MAX;
use crate::transform::Path;
use crate::{CallStats, Component, DropReason, Now, PacketBuf, Side, Stretch};
use sdp::{Carriage, Conversion, Notice, Rtcp};
use std::net::SocketAddr;
use std::time::Instant;

pub use offload::{Flow, Passed, Stays};
use speech::{Speech, depart};

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the slot, changed in place, out of this leg's port to `to`.
    Forward {
        /// The leg to send on.
        side: Side,
        /// The port to send from.
        component: Component,
        /// The destination.
        to: SocketAddr,
    },
    /// The slot holds speech in the clear that the other leg wants in another codec: to be turned,
    /// payload alone, and given to [`Forward::transcoded`].
    Transcode(Conversion),
    /// Nothing to send: it was meant for us, or the other leg does not want it now (hold).
    Consumed,
    /// Drop it for this reason.
    Drop(DropReason),
}

/// The media of one call. What an ordinary packet touches is told by [`Self::touched`].
#[derive(Debug)]
#[repr(C)]
pub struct Forward {
    /// The packets that come in on each side are ordinary ones: with them is done what is done with every
    /// packet, and nothing else has to be looked at.
    usual: [bool; 2],
    /// What has happened since it was asked may have brought forward when something is due.
    sooner: bool,
    /// RTCP of either leg ends here.
    terminates: bool,
    notices: Notices,
    /// When it was told last that neither side is heard.
    dead_told: Option<Instant>,
    /// What becomes of the keys in the direction that starts at each side.
    crossings: [keys::Crossing; 2],
    /// Those directions, once both legs have agreed.
    paths: [Option<Path>; 2],
    legs: [LegMedia; 2],
}

impl Forward {
    /// A call whose ports are open and whose media is not agreed: every packet drops (`no_flow`).
    /// `seed` is fresh random: our own SSRCs and CNAMEs are drawn from it.
    pub fn new(seed: [u8; 32]) -> Self {
        let (a, b) = seed.split_at(16);
        Self {
            usual: [false; 2],
            sooner: true,
            terminates: false,
            notices: Notices::default(),
            dead_told: None,
            crossings: Default::default(),
            paths: [None, None],
            legs: [LegMedia::new(a), LegMedia::new(b)],
        }
    }

    /// What a packet that comes in on `side`, or the notices after it, will touch of the call, but for
    /// [`Self::keys_touched`]. Nothing of it is looked at.
    pub fn touched(&self, side: Side) -> [Stretch; 6] {
        let (from, to) = (&self.legs[side as usize], &self.legs[side.other() as usize]);
        let ([a, b], [c, d]) = (from.touched_coming(), to.touched_going());
        let path = Path::touched(&self.paths[side as usize]);
        [Stretch::between(&self.usual, self.notices.touched_to()), path, a, b, c, d]
    }

    /// What it will touch of the keys. Where these are is looked up in what [`Self::touched`] names.
    pub fn keys_touched(&self, side: Side) -> [Stretch; 2] {
        let path = self.paths[side as usize].as_ref();
        path.map_or_else(Default::default, |path| path.transform.touched())
    }

    /// Finds out which packets are ordinary ones: to be called after whatever is not one.
    fn look_for_the_unusual(&mut self) {
        self.legs.iter_mut().for_each(LegMedia::follow_checks);
        self.usual = [Side::A, Side::B].map(|side| self.is_usual(side));
    }

    fn is_usual(&self, side: Side) -> bool {
        let path = self.paths[side as usize].as_ref();
        let authenticated = path.is_some_and(|path| path.transform.authenticates());
        path.is_some_and(|path| !path.transform.passes() && !path.is_retiring())
            && self.legs[side as usize].speaks_plainly(authenticated)
            && self.legs[side.other() as usize].is_told_plainly()
    }

    /// Whether packets that come in on `side` are ordinary ones, which cost least.
    pub const fn is_ordinary(&self, side: Side) -> bool {
        self.usual[side as usize]
    }

    /// Takes what the legs have agreed, also anew after a re-INVITE. A leg whose keys did not
    /// change keeps its SRTP contexts, ROC and replay window; a leg whose remote address did not
    /// change keeps its latch. `None` leaves a leg as it is (or without media). Ask
    /// [`Self::generate`] once afterwards, so that handshakes begin and reports are due even if no
    /// packet ever comes.
    pub fn connect(&mut self, a: Option<Carriage>, b: Option<Carriage>) {
        let before = [Side::A, Side::B].map(|side| {
            let leg = &self.legs[side as usize];
            (leg.is_early(), leg.terms)
        });
        for (side, agreed) in [(Side::A, a), (Side::B, b)] {
            if let Some(carriage) = agreed {
                self.legs[side as usize].agree(carriage);
            }
        }
        self.pave();
        for side in [Side::A, Side::B] {
            let leg = &self.legs[side as usize];
            let (was_early, were) = before[side as usize];
            let is_another =
                leg.terms.far_side != were.far_side || were.on_trial && !leg.terms.on_trial;
            if let Some(path) =
                self.paths[side as usize].as_mut().filter(|_| was_early || is_another)
            {
                path.leave_others(!leg.is_early() && !leg.terms.on_trial);
            }
        }
        self.look_for_the_unusual();
    }

    /// Takes the keys and payload types of both legs for either direction.
    fn pave(&mut self) {
        self.terminates = self.legs.iter().any(|leg| leg.terms.rtcp == Rtcp::Terminate);
        let may_pass = !self.terminates;
        for side in [Side::A, Side::B] {
            let (from, to) = (&self.legs[side as usize], &self.legs[side.other() as usize]);
            // A leg alone can be played to already; nothing comes from the other yet.
            let nobody = Agreed::default();
            if let Some(goes) = to.agreed() {
                let came = from.agreed().unwrap_or(&nobody);
                let (ssrc, transcode) = (to.first_ssrc(), from.terms.transcode);
                let path = match &mut self.paths[side as usize] {
                    Some(path) => {
                        path.renegotiate(came, goes, ssrc, may_pass, transcode);
                        path
                    }
                    path => path.insert(Path::between(came, goes, ssrc, may_pass, transcode)),
                };
                path.protect_rtcp_apart(from.keys_of_rtcp(), to.keys_of_rtcp(), ssrc);
                self.crossings[side as usize] = keys::Crossing::between(came, goes, to.terms.dtmf);
            }
        }
        for side in [Side::A, Side::B] {
            let (from, to) = pair(&mut self.legs, side);
            if self.crossings[side as usize].has_keys_pressed() || from.ear.is_some() {
                to.pressing.get_ready();
            }
            let path = self.paths[side as usize].as_ref();
            from.rtp.tries(path.is_none_or(|path| !path.transform.authenticates()));
            from.rtcp_agreed(self.terminates);
            if from.agreed().is_some() && to.agreed().is_some() {
                from.watch_agreed(to.speaks());
            }
        }
    }

    /// What has happened that signalling should know, oldest first; `None` when that is all. To be
    /// asked after each packet, order and turn of [`Self::generate`].
    #[inline]
    pub fn poll_notice(&mut self) -> Option<(Side, Notice)> {
        self.notices.next()
    }

    /// One packet that came in on `side`'s `component` port from `from`; on `Forward` the slot
    /// holds what is to be sent.
    pub fn packet(
        &mut self,
        now: Now,
        side: Side,
        component: Component,
        from: SocketAddr,
        slot: &mut PacketBuf,
    ) -> Verdict {
        let kind = Kind::of(slot.packet());
        let usual = kind == Kind::Rtp && self.usual[side as usize];
        #[cfg(debug_assertions)]
        debug_assert!(!self.usual[side as usize] || self.is_usual(side));
        #[cfg(debug_assertions)]
        let due = self.next_due().filter(|_| !self.sooner);
        // Of RTP it is known what changes nothing.
        self.sooner |= kind != Kind::Rtp;
        let carried = match (kind, component) {
            _ if slot.len() > PACKET_MAX => Err(DropReason::TooBig),
            // The number that a datagram of a fax begins with may look like anything.
            _ if !usual && self.legs[side as usize].is_fax() => {
                self.fax(now, side, component, from, slot)
            }
            (Kind::Rtp, Component::Rtp) => self.rtp(now, side, from, slot),
            (Kind::Rtcp, _) => self.rtcp(now, side, component, from, slot),
            (Kind::Stun, _) => self.stun(now, side, component, from, slot),
            (Kind::Dtls, _) => self.dtls(now, side, component, from, slot),
            (Kind::Rtp, Component::Rtcp) | (Kind::Other, _) => Err(DropReason::Malformed),
        };
        let verdict = carried.unwrap_or_else(|reason| {
            self.dropped(side, reason);
            if kind == Kind::Rtp {
                let leg = &mut self.legs[side as usize];
                leg.watch.dropped(reason);
                if let Some(forks) = &mut leg.forks
                    && self.notices.has_room()
                    && let Some(notice) = forks.stranger(now.mono, reason, from, slot)
                {
                    self.notices.push(side, notice);
                }
            }
            Verdict::Drop(reason)
        });
        if !usual || self.sooner {
            self.look_for_the_unusual();
        }
        #[cfg(debug_assertions)]
        debug_assert!(
            self.sooner || self.next_due().is_none_or(|at| due.is_some_and(|it| it <= at))
        );
        verdict
    }

    /// Counts a packet of `side` that was dropped before it came here.
    pub fn dropped(&mut self, side: Side, reason: DropReason) {
        self.legs[side as usize].stats.drop(reason);
    }

    /// Fills `slot` with a packet that we generate ourselves and that is due, if any: call until
    /// `None`. Never `Consumed` or `Drop`.
    ///
    /// Generated are the keys that we press, the sounds that we play, and RTCP reports, at the
    /// intervals of RFC 3550, on a leg that wants them and whose other leg sends none, or none that
    /// may pass ([`sdp::Rtcp`]); also while the call is held (TDR-SRTP-005); and the datagrams of our handshakes.
    pub fn generate(&mut self, now: Now, slot: &mut PacketBuf) -> Option<Verdict> {
        let verdict = self.make(now, slot);
        self.look_for_the_unusual();
        verdict
    }

    fn make(&mut self, now: Now, slot: &mut PacketBuf) -> Option<Verdict> {
        self.watch(now.mono);
        self.end_lost_keys(now.mono);
        let sides = [Side::A, Side::B];
        let check = sides.into_iter().find_map(|side| self.check(now, side, slot));
        let shaken = check.or_else(|| self.shake(now, slot));
        shaken.or_else(|| {
            let mut sides = sides.into_iter();
            sides.find_map(|side| {
                self.ours(now, side, slot).or_else(|| self.report(now, side, slot))
            })
        })
    }

    /// When [`Self::generate`] has something next.
    pub fn next_due(&self) -> Option<Instant> {
        let legs = self.legs.iter();
        let due = legs.filter_map(LegMedia::due).min();
        let handshakes = self.legs.iter().filter_map(LegMedia::handshake_due).min();
        earlier(earlier(due, handshakes), self.dead_at())
    }

    /// The same, after a packet: `None` where that has brought nothing forward since it was last asked,
    /// which nearly no packet does.
    #[inline]
    pub fn due_sooner(&mut self) -> Option<Instant> {
        match std::mem::take(&mut self.sooner) {
            true => self.next_due(),
            false => None,
        }
    }

    /// Looks whether both sides are heard, and tells what has changed.
    fn watch(&mut self, now: Instant) {
        for side in [Side::A, Side::B] {
            self.legs[side as usize].rtp.begin(now);
            self.legs[side as usize].rtp.rest(now);
            if let Some(forks) = &mut self.legs[side as usize].forks
                && self.notices.has_room()
                && let Some(notice) = forks.look(now)
            {
                self.notices.push(side, notice);
            }
            let watch = &mut self.legs[side as usize].watch;
            let due = watch.is_new() || watch.due().is_some_and(|due| due <= now);
            if due
                && self.notices.has_room()
                && let Some(notice) = watch.look(now)
            {
                self.notices.push(side, notice);
            }
        }
        if self.dead_at().is_some_and(|at| at <= now) && self.notices.has_room() {
            self.dead_told = Some(now);
            self.notices.push(Side::A, Notice::Dead);
        }
    }

    /// When nothing will have come from either side for too long. It is told again each time that as
    /// much has passed: who was told may not have heard.
    fn dead_at(&self) -> Option<Instant> {
        let [a, b] = &self.legs;
        let timeout = a.terms.media_timeout.max(b.terms.media_timeout)?;
        let timeout = timeout.max(a.pauses().max(b.pauses()));
        let alive = a.watch.alive()?.max(b.watch.alive()?);
        Some(self.dead_told.map_or(alive, |told| told.max(alive)) + timeout)
    }

    /// Brings up to date what grows with time: to be asked before [`Self::stats`].
    pub fn settle(&mut self, now: Now) {
        self.legs.iter_mut().for_each(|leg| leg.watch.settle(now.mono));
    }

    /// The counters so far.
    pub fn stats(&self) -> CallStats {
        CallStats { a: self.legs[0].counted(), b: self.legs[1].counted() }
    }
}

/// The earlier of the two, if there is one.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// What belongs to a side, and to the other.
fn pair<T>(both: &mut [T; 2], side: Side) -> (&mut T, &mut T) {
    let [a, b] = both;
    match side {
        Side::A => (a, b),
        Side::B => (b, a),
    }
}
