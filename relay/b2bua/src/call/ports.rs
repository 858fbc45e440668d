//! The ports of a call's legs: opened, and exchanged for those of where a leg has its media next.

use super::Call;
use crate::core::Core;
use crate::io::{MediaPort, MediaPorts, Output, PeerLeg};
use crate::plan::{MediaPlace, Plan};
use std::sync::Arc;

/// Whether ports are among those that a leg on `trunk` has: marked as its packets are, too.
pub(super) fn is_at_home(plan: &Plan, trunk: usize, port: MediaPort) -> bool {
    is_at(plan, trunk, MediaPlace::Inside, port) || is_at(plan, trunk, MediaPlace::Outside, port)
}

/// Whether they are those of a leg whose far side is there.
pub(super) fn is_at(plan: &Plan, trunk: usize, place: MediaPlace, port: MediaPort) -> bool {
    plan.media_at(trunk, place).is_some_and(|(home, ports)| {
        (home.bind, home.advertise) == (port.bind, port.advertise)
            && ports.contains(&port.rtp)
            && ports.contains(&(port.rtp + 1))
            && plan.dscp_of(trunk) == port.dscp
    })
}

impl Call {
    /// Opens the call's ports, or moves leg B's to where the next trunk has its media.
    pub(super) fn open_media(
        &mut self,
        core: &mut Core,
        worker: usize,
        a: MediaPort,
        trunk_b: usize,
    ) -> bool {
        let plan = Arc::clone(&self.plan);
        if self.media.ports.is_some_and(|ports| is_at_home(&plan, trunk_b, ports.b)) {
            return true;
        }
        let Some(b) = core.take_ports(&plan, trunk_b, worker) else { return false };
        if self.media.ports.is_some() {
            self.move_media(core, PeerLeg::B, b);
            return true;
        }
        let ports = MediaPorts { worker, a, b };
        self.media.ports = Some(ports);
        let mut seed = [0; 32];
        rand_core::RngCore::fill_bytes(&mut core.rng, &mut seed);
        core.outputs.push_back(Output::OpenMedia { call: self.id, ports, seed });
        true
    }

    /// Gives a leg other ports, which have been taken for it.
    pub(super) fn move_media(&mut self, core: &mut Core, leg: PeerLeg, to: MediaPort) {
        let old = self.exchange_media(core, leg, to);
        core.release_ports(old);
    }

    /// The same, and those it had come back, to be released or gone back to.
    pub(super) fn exchange_media(
        &mut self,
        core: &mut Core,
        leg: PeerLeg,
        to: MediaPort,
    ) -> MediaPort {
        let Some(ports) = &mut self.media.ports else { return to };
        let (call, worker) = (self.id, ports.worker);
        let place = match leg {
            PeerLeg::A => &mut ports.a,
            PeerLeg::B => &mut ports.b,
        };
        core.outputs.push_back(Output::MoveMedia { call, worker, leg, to });
        std::mem::replace(place, to)
    }
}
