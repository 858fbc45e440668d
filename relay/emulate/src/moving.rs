//! Media that goes on from another source of ours: another port and another key (TDR-HLD-003).

use crate::call::Call;
use crate::core::Core;
use sdp::SrtpKey;
use sdp::ice::Credentials;

impl Call {
    /// Lets our next offer name another port and fresh keys; `false` if no port is left.
    pub(crate) fn begin_move(&mut self, core: &mut Core) -> bool {
        let Some(port) = core.further_port(self.id) else { return false };
        if let Some(unused) = self.sound.moving_to.replace(port) {
            core.give_back(unused);
        }
        self.negotiation.relocate(core.plan.address, port, port + 1);
        let suites = core.persona.ability().suites;
        self.negotiation.renew(suites.iter().map(|suite| SrtpKey::generate(suite, &mut core.rng)));
        self.dress.renew(&mut core.rng);
        if core.persona.ice() != sdp::IcePolicy::Off {
            // Another machine, so another agent of ICE, which checks before it is agreed.
            self.negotiation.restart_ice(Credentials::generate(&mut core.rng));
            self.end_move(core);
        }
        true
    }

    /// The far side has agreed: media goes on from there.
    pub(crate) fn end_move(&mut self, core: &mut Core) {
        let before = self.sound.rtp_port;
        if self.sound.take_move(&mut core.rng) {
            core.give_back(before);
        }
    }

    /// The far side has refused: everything is as it was.
    pub(crate) fn undo_move(&mut self, core: &mut Core) {
        if let Some(port) = self.sound.moving_to.take() {
            core.give_back(port);
        }
        let port = self.sound.rtp_port;
        self.negotiation.relocate(core.plan.address, port, port + 1);
    }
}
