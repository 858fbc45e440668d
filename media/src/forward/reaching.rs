//! Finding the far side and agreeing keys with it in the media: connectivity checks and handshakes.

use super::{Forward, Verdict};
use crate::dtls::Outcome;
use crate::ice::Reply;
use crate::{Component, DropReason, Now, PacketBuf, Side};
use sdp::Notice;
use std::net::SocketAddr;

impl Forward {
    /// A connectivity check, or an answer to one of ours: it ends here.
    pub(super) fn stun(
        &mut self,
        now: Now,
        side: Side,
        component: Component,
        source: SocketAddr,
        slot: &mut PacketBuf,
    ) -> Result<Verdict, DropReason> {
        let leg = &mut self.legs[side as usize];
        // Where nobody was offered ICE, nobody waits for an answer.
        let Some(agent) = &mut leg.ice else { return Ok(Verdict::Consumed) };
        match agent.packet(now.mono, component, source, slot)? {
            None => Ok(Verdict::Consumed),
            Some(Reply { refused }) => {
                if let Some(reason) = refused {
                    leg.stats.drop(reason);
                }
                Ok(Verdict::Forward { side, component, to: source })
            }
        }
    }

    /// A connectivity check of our own on `side`, if one is due there.
    pub(super) fn check(&mut self, now: Now, side: Side, slot: &mut PacketBuf) -> Option<Verdict> {
        let leg = &mut self.legs[side as usize];
        leg.tell_heard();
        let agent = leg.ice.as_deref_mut()?;
        let check = agent.generate(now.mono, slot);
        if self.notices.has_room()
            && let Some(trouble) = agent.take_trouble()
        {
            self.notices.push(side, Notice::Ice(trouble));
        }
        check.map(|(component, to)| Verdict::Forward { side, component, to })
    }

    /// A datagram of DTLS: what it asks for is sent by [`Self::generate`].
    pub(super) fn dtls(
        &mut self,
        now: Now,
        side: Side,
        component: Component,
        source: SocketAddr,
        slot: &PacketBuf,
    ) -> Result<Verdict, DropReason> {
        let leg = &mut self.legs[side as usize];
        leg.shake(now.mono, component, source, slot.packet())?;
        self.shaken(side, component, Some(source));
        Ok(Verdict::Consumed)
    }

    /// Takes what has come of a handshake: by the last datagram, if there is a source.
    fn shaken(&mut self, side: Side, component: Component, source: Option<SocketAddr>) {
        // What could not be told is told with the next turn.
        if !self.notices.has_room() {
            return;
        }
        let leg = &mut self.legs[side as usize];
        let Some(outcome) = leg.handshake(component).and_then(|it| it.outcome()) else { return };
        let notice = match outcome {
            // Speech has its keys: only reports are missing.
            Outcome::Failed(_) if component == Component::Rtcp => return,
            Outcome::Failed(why) => Notice::HandshakeFailed(why),
            Outcome::Keyed => {
                if let Some(source) = source {
                    leg.follow_handshake(component, source);
                }
                leg.take_keys();
                let suite = leg.handshake(component).and_then(|it| Some(it.keys()?.local.suite()));
                self.pave();
                let Some(suite) = suite else { return };
                Notice::HandshakeDone(suite)
            }
        };
        self.notices.push(side, notice);
    }

    /// A datagram of our handshakes, if one is due.
    pub(super) fn shake(&mut self, now: Now, slot: &mut PacketBuf) -> Option<Verdict> {
        for (side, component) in EACH_COMPONENT {
            let leg = &mut self.legs[side as usize];
            let Some(handshake) = leg.handshake(component) else { continue };
            handshake.turn(now.mono);
            // Without a destination (ICE has no pair yet) the flight waits.
            let leg = &mut self.legs[side as usize];
            if let Some(to) = leg.handshake_destination(component)
                && let Some(datagram) = leg.handshake(component)?.datagram()
            {
                slot.set_len(datagram.len());
                slot.packet_mut().copy_from_slice(&datagram);
                return Some(Verdict::Forward { side, component, to });
            }
            self.shaken(side, component, None);
        }
        None
    }
}

const EACH_COMPONENT: [(Side, Component); 4] = [
    (Side::A, Component::Rtp),
    (Side::A, Component::Rtcp),
    (Side::B, Component::Rtp),
    (Side::B, Component::Rtcp),
];
