//! Keys that cross from leg to leg, and packets of ours: keys, tones, music, comfort noise.

use super::{Forward, Speech, Verdict, depart, pair};
use crate::g711::RATE_HZ;
use crate::keys::{self, How, Step};
use crate::leg::LegMedia;
use crate::notices::Notices;
use crate::rtp::Header;
use crate::{Component, DropReason, Now, PacketBuf, Side};
use sdp::{Key, Notice, Order};
use std::time::Instant;

impl Forward {
    /// Does on a leg what signalling wants done now. Ask [`Self::generate`] once afterwards.
    pub fn order(&mut self, now: Now, side: Side, order: &Order) {
        let (from, to) = pair(&mut self.legs, side);
        match order {
            Order::Watch => {
                from.watch.begin();
                to.watch.begin();
                from.answered();
                to.answered();
            }
            Order::ExpectChecks(offered) => from.expect_checks(offered),
            Order::Press(key) => from.pressing.press(now.mono, key.event, Some(key.held)),
            Order::Pressed(key) => {
                if from.hearing.info(now.mono) {
                    press(now.mono, to, *key, &mut self.notices, side);
                }
            }
        }
        self.look_for_the_unusual();
    }

    /// Keys whose end was lost are over.
    pub(super) fn end_lost_keys(&mut self, now: Instant) {
        for side in [Side::A, Side::B] {
            let (from, to) = pair(&mut self.legs, side);
            while self.notices.has_room()
                && let Some(key) = from.hearing.overdue(now)
            {
                tell(now, to, Step::Release(key), &mut self.notices, side);
            }
        }
    }

    /// A packet of a key that is pressed on `side`, or of what is played there, if one is due.
    pub(super) fn ours(&mut self, now: Now, side: Side, slot: &mut PacketBuf) -> Option<Verdict> {
        let leg = &mut self.legs[side as usize];
        leg.player.begin(now.mono);
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now.mono);
        if !is_due(leg.pressing.due()) && !is_due(leg.player.due()) {
            return None;
        }
        if leg.speaks() && leg.destination(Component::Rtp).is_none() {
            // ICE has no pair yet: a tone waits, a key has missed its time.
            leg.pressing.stop();
            leg.player.wait(now.mono);
            return None;
        }
        let destination = leg.destination(Component::Rtp).filter(|_| leg.speaks());
        // Nothing of ours can go between packets whose keys pass through.
        let path = self.paths[side.other() as usize].as_mut();
        let path = path.filter(|path| !path.transform.passes());
        let (Some(path), Some(to)) = (path, destination) else {
            leg.pressing.stop();
            leg.player.stop();
            return None;
        };
        let clock_hz = if leg.pressing.write(now.mono, &mut leg.outgoing, slot) {
            matches!(leg.pressing.how(), How::Tones(..)).then_some(RATE_HZ)
        } else {
            let busy = leg.pressing.is_busy();
            if !leg.player.write(now.mono, busy, &mut leg.outgoing, slot) {
                return None;
            }
            Some(RATE_HZ)
        };
        let speech = Speech { header: Header::read(slot.packet())?, clock_hz };
        depart(now.mono, (leg, side), path, slot, speech, &mut self.notices).ok()?;
        leg.stats.made_packets += 1;
        Some(Verdict::Forward { side, component: Component::Rtp, to })
    }
}

/// Looks for keys in a packet that is believed; whether it goes on to the other leg.
#[inline(never)]
pub(super) fn hear(
    now: Instant,
    (from, to): (&mut LegMedia, &mut LegMedia),
    crossing: &keys::Crossing,
    (header, packet): (&Header, &[u8]),
    (notices, side): (&mut Notices, Side),
) -> Result<bool, DropReason> {
    let ear = (&mut from.hearing, from.ear.as_deref_mut());
    let busy = to.pressing.is_busy();
    let fate = keys::hear(now, ear, crossing, (header, packet), busy, |step| {
        tell(now, to, step, notices, side);
    });
    match fate {
        keys::Fate::Passes => Ok(to.is_free()),
        keys::Fate::StaysBehind => Ok(false),
        keys::Fate::Malformed => Err(DropReason::Malformed),
    }
}

/// The far side of `from` presses or releases a key, and the leg `to` is to have it.
fn tell(now: Instant, to: &mut LegMedia, step: Step, notices: &mut Notices, from: Side) {
    match (to.pressing.how(), step) {
        (How::BySignalling(_), Step::Press(_)) => {}
        (How::BySignalling(_), Step::Release(key)) => notices.push(from, Notice::Pressed(key)),
        (_, Step::Press(code)) => to.pressing.press(now, code, None),
        (_, Step::Release(key)) => to.pressing.release(now, key.event, key.held),
    }
}

/// A whole key, for the leg `to`.
fn press(now: Instant, to: &mut LegMedia, key: Key, notices: &mut Notices, from: Side) {
    match to.pressing.how() {
        How::BySignalling(_) => notices.push(from, Notice::Pressed(key)),
        _ => to.pressing.press(now, key.event, Some(key.held)),
    }
}
