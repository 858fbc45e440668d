//! What happens on a leg's media and what it means for the call.

use super::{Call, Fate, Phase};
use crate::core::Core;
use crate::io::{Event, PeerLeg};
use sdp::{DtlsFailure, IceTrouble, Notice, Silence, Suite};
use std::time::Duration;

impl Call {
    /// Something happened on leg `which`.
    pub(crate) fn noticed(&mut self, core: &mut Core, which: PeerLeg, notice: Notice) -> Fate {
        match notice {
            Notice::HandshakeDone(suite) => self.handshake_done(core, which, suite),
            Notice::HandshakeFailed(why) => self.handshake_failed(core, which, why),
            Notice::Pressed(key) => self.key_pressed(core, which, key),
            Notice::KeyWorn => self.rekey(core, which),
            Notice::Silent(cause) => self.heard_or_not(core, which, Some(cause), None),
            Notice::Heard(after) => self.heard_or_not(core, which, None, Some(after)),
            Notice::Dead => self.media_dead(core),
            Notice::Streams(fork) => self.fork_streams(core, which, fork),
            Notice::Stops(fork) => self.fork_stops(core, which, fork),
            Notice::Ice(trouble) => self.ice_trouble(core, which, trouble),
        }
    }

    /// Nothing is heard from a leg, or something again.
    fn heard_or_not(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        silence: Option<Silence>,
        after: Option<Duration>,
    ) -> Fate {
        if let Phase::Up(_) = &self.phase {
            let silent = match which {
                PeerLeg::A => &mut self.media.silent.0,
                PeerLeg::B => &mut self.media.silent.1,
            };
            *silent = silence;
            let trunk = self.plan.trunks.get(self.trunk_of(which));
            core.emit(Event::Silence {
                call: self.id,
                tenant: self.tenant.clone(),
                trunk: trunk.map_or_else(String::new, |trunk| trunk.name.clone()),
                leg: which,
                silence,
                after,
            });
        }
        Fate::Lives
    }

    /// Neither side has sent anything for as long as the trunks allow, and nobody holds.
    fn media_dead(&mut self, core: &mut Core) -> Fate {
        match &self.phase {
            Phase::Up(up) if !up.held => {
                let reason = "SIP;cause=408;text=\"No media from either side\"";
                self.hang_up(core, None, Some(reason), "media_timeout")
            }
            Phase::Up(_) | Phase::Setup(_) | Phase::Ending => Fate::Lives,
        }
    }

    fn handshake_done(&mut self, core: &mut Core, which: PeerLeg, suite: Suite) -> Fate {
        self.note_handshake(core, which, suite.name(), "done");
        Fate::Lives
    }

    /// Nothing can be said or heard on a leg without keys: an answered call ends. One that is being
    /// set up may get its keys yet, as its 200 agrees the leg again.
    fn handshake_failed(&mut self, core: &mut Core, which: PeerLeg, why: DtlsFailure) -> Fate {
        self.note_handshake(core, which, why.as_str(), why.as_str());
        match &self.phase {
            // So may a target that only rings.
            Phase::Up(_) if self.transfers.is_early(which) => Fate::Lives,
            Phase::Up(_) => self.hang_up(core, None, Some("SIP;cause=488"), why.cause()),
            Phase::Setup(_) | Phase::Ending => Fate::Lives,
        }
    }

    fn note_handshake(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        noted: &'static str,
        result: &'static str,
    ) {
        let place =
            if which == PeerLeg::A { &mut self.record.dtls.0 } else { &mut self.record.dtls.1 };
        *place = Some(noted);
        let trunk = self.plan.trunks.get(self.trunk_of(which));
        let trunk = trunk.map(|trunk| trunk.name.clone()).unwrap_or_default();
        core.emit(Event::Handshake { call: self.id, trunk, result });
    }

    /// ICE on leg `which` is not as it should be. Before the answer it may yet become so: whoever
    /// rings need not check. A leg that nothing comes from any more is gone (TDR-ICE-012).
    fn ice_trouble(&mut self, core: &mut Core, which: PeerLeg, trouble: IceTrouble) -> Fate {
        if !matches!(self.phase, Phase::Up(_)) || self.transfers.is_early(which) {
            return Fate::Lives;
        }
        let trunk = self.plan.trunks.get(self.trunk_of(which));
        let trunk = trunk.map_or_else(String::new, |trunk| trunk.name.clone());
        core.emit(Event::IceTrouble { call: self.id, trunk, trouble });
        match trouble {
            // The far side gives up by itself, or media comes all the same.
            IceTrouble::NeverCompleted => Fate::Lives,
            IceTrouble::Silent | IceTrouble::ConsentLost => {
                self.hang_up(core, None, Some("SIP;cause=408"), trouble.as_str())
            }
        }
    }
}
