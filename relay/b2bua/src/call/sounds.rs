//! Sounds of our own that a far side hears: that it rings, and music while it is held.

use super::{Call, Phase};
use crate::core::Core;
use crate::io::PeerLeg;
use crate::leg;
use sdp::{Carriage, Direction, Media, Payload};
use std::sync::Arc;

impl Call {
    /// Tells the caller that it rings by a tone of ours, in early media of its first G.711; by 180
    /// where it has offered none.
    pub(super) fn ring_aloud(&mut self, core: &mut Core, trunk: usize) {
        let plan = Arc::clone(&self.plan);
        let whose = self.whose();
        let Phase::Setup(setup) = &self.phase else { return };
        let Some(early) = spoken_in_g711(&setup.invitation.offer, |payloads| {
            leg::codecs(&plan, trunk, whose).of(payloads)
        }) else {
            return self.ring(core, 180);
        };
        let tone = leg::ringing_tone(&plan, [trunk, self.a.trunk]);
        if let Phase::Setup(setup) = &mut self.phase {
            (setup.ringing.plays, setup.ringing.passes) = (Some(tone), Some(Direction::SendOnly));
        }
        self.describe_early(core, 183, &early);
        let a = self.early_a();
        if a.is_some() {
            self.connect(core, a, None);
        }
    }

    /// Has the one who stays hear that a transfer's target on `trunk` rings: it may be on hold.
    pub(super) fn lets_hear_ringing(&mut self, core: &mut Core, which: PeerLeg) -> super::Fate {
        self.agreed(core);
        let stays = self.leg(which.other()).and_then(|leg| leg.negotiation.stream());
        let early = stays.map(|stream| Media::of(stream, Direction::SendRecv));
        early.map_or(super::Fate::Lives, |early| self.carry_early(core, which, &early))
    }

    /// Adds what each side hears of ours: that a target rings, else the music of its trunk while the
    /// other side holds.
    pub(super) fn with_sounds(
        &self,
        (mut a, mut b): (Option<Carriage>, Option<Carriage>),
    ) -> (Option<Carriage>, Option<Carriage>) {
        let rings = self.transfers.ringing();
        let rings_for = |which: PeerLeg| {
            rings.filter(|(target, _)| target.other() == which).map(|(_, sound)| sound.clone())
        };
        let music = [
            a.as_ref().and_then(|to| held_music(to, b.as_ref())),
            b.as_ref().and_then(|to| held_music(to, a.as_ref())),
        ];
        let legs = [(PeerLeg::A, &mut a), (PeerLeg::B, &mut b)];
        for ((which, to), music) in legs.into_iter().zip(music) {
            if let Some(to) = to {
                to.terms.plays = rings_for(which).or(music);
            }
        }
        (a, b)
    }
}

/// The music of a leg's trunk, while the other side has nothing to hear from it.
fn held_music(to: &Carriage, from: Option<&Carriage>) -> Option<sdp::Sound> {
    let held = from.is_some_and(|from| !from.stream.direction.sends());
    let music = to.terms.music_on_hold.as_ref();
    music.filter(|_| held && to.stream.direction.sends()).cloned()
}

/// An answer to `offer` with one codec of G.711, the first that the other leg may have as well.
fn spoken_in_g711(offer: &Media, allowed: impl Fn(&[Payload]) -> Vec<Payload>) -> Option<Media> {
    let is_g711 = |payload: &Payload| {
        let named = |name: &str| payload.encoding.eq_ignore_ascii_case(name);
        payload.clock_hz == 8000 && (named("PCMA") || named("PCMU"))
    };
    let speech = allowed(&offer.payloads).into_iter().find(is_g711)?;
    let beside = offer.payloads.iter().filter(|it| !it.is_speech() && it.clock_hz == 8000);
    let payloads = std::iter::once(speech).chain(beside.cloned()).collect();
    Some(Media { payloads, direction: Direction::SendRecv, ptime_ms: offer.ptime_ms, fax: None })
}
