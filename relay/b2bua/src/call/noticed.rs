//! What happens on a leg's media and what it means for the call.

use super::{Call, Fate, Phase};
use crate::core::Core;
use crate::io::{Event, PeerLeg};
use sdp::{Notice, Silence};
use std::time::Duration;

impl Call {
    /// Something happened on leg `which`.
    pub(crate) fn noticed(&mut self, core: &mut Core, which: PeerLeg, notice: Notice) -> Fate {
        match notice {
            Notice::Pressed(_) => Fate::Lives,
            Notice::Silent(cause) => self.heard_or_not(core, which, Some(cause), None),
            Notice::Heard(after) => self.heard_or_not(core, which, None, Some(after)),
            Notice::Dead => self.media_dead(core),
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
}
