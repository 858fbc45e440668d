//! Flows that the kernel forwards: which port has which, and the programs that look.

use super::link::{Mode, ProgramLink};
use super::{Kernel, KernelError, load};
use crate::offload::{Hook, Region};
use aya::programs::{SchedClassifier, Xdp};
use std::net::SocketAddr;
use std::os::fd::AsFd;

impl Kernel {
    /// The memory of all flows.
    pub(crate) fn flows(&self) -> Result<Region, KernelError> {
        Ok(Region::new(self.flows.fd().as_fd())?)
    }

    /// What comes in on this port, which is even, is of the flow in this slot from now on.
    pub(crate) fn take_flow(&mut self, at: SocketAddr, slot: u32) -> Result<(), KernelError> {
        let slot = u16::try_from(slot + 1).map_err(|_| KernelError::Taken)?;
        let index = self.index_of(at.ip())?;
        let taken = self.set_slot(index, at.port(), slot);
        if let Some((_, ports)) = self.indices.get_mut(&at.ip()) {
            *ports += usize::from(taken.is_ok());
        }
        self.forget_if_unused(at.ip());
        taken
    }

    /// What comes in on this port, which had one, is of no flow from now on.
    pub(crate) fn leave_flow(&mut self, at: SocketAddr) {
        let Some(&(index, _)) = self.indices.get(&at.ip()) else { return };
        // A map that cannot be written was lost with the namespace, and the port with it.
        let _ = self.set_slot(index, at.port(), 0);
        if let Some((_, ports)) = self.indices.get_mut(&at.ip()) {
            *ports = ports.saturating_sub(1);
        }
        self.forget_if_unused(at.ip());
    }

    fn set_slot(&mut self, index: u32, port: u16, slot: u16) -> Result<(), KernelError> {
        let (place, within) = ((index << 16 | u32::from(port)) / 8, usize::from(port / 2 % 4));
        let mut slots = self.slots.get(&place, 0)?;
        slots[within] = slot;
        Ok(self.slots.set(place, slots, 0)?)
    }

    /// Has flows looked for on an interface, unless they are already. Not where somebody has taken that program
    /// away: who does so does not want it there.
    pub(crate) fn forward_on(&mut self, interface: u32, hook: Hook) -> Result<(), KernelError> {
        if hook == Hook::Xdp {
            if self.attached.get(&interface).is_some_and(|it| it.native) {
                return Ok(());
            }
            if self.taken_away.contains(&interface) {
                return Err(KernelError::TakenAway);
            }
        }
        match self.forwards.get(&(interface, hook)) {
            Some(link) if link.is_attached() => return Ok(()),
            Some(_) => return Err(KernelError::TakenAway),
            None => {}
        }
        let link = match hook {
            Hook::Xdp => {
                let program = self.programs.program_mut("forward_xdp");
                let program: &mut Xdp =
                    program.ok_or(KernelError::NoSuch("forward_xdp"))?.try_into()?;
                if program.fd().is_err() {
                    load(|| program.load())?;
                }
                ProgramLink::new(program.fd()?.as_fd(), interface, Mode::Driver)?
            }
            Hook::Tc => {
                let program = self.programs.program_mut("forward_tc");
                let program: &mut SchedClassifier =
                    program.ok_or(KernelError::NoSuch("forward_tc"))?.try_into()?;
                if program.fd().is_err() {
                    load(|| program.load())?;
                }
                // A filter of clsact would stay behind when the process ends.
                ProgramLink::new(program.fd()?.as_fd(), interface, Mode::Ingress)?
            }
        };
        self.forwards.insert((interface, hook), link);
        Ok(())
    }

    /// Forgets what was on interfaces that are gone: another may have the number of one.
    pub(crate) fn forget_gone(&mut self) {
        let is_there = |interface: u32| crate::sys::interface_name(interface).is_ok();
        self.forwards.retain(|(interface, _), _| is_there(*interface));
        self.taken_away.retain(|interface| is_there(*interface));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{
        BPF, NET_ADMIN, NET_RAW, Namespace, command, keep_capabilities, skipped,
    };

    #[test]
    fn each_program_loads_with_the_capabilities_that_the_unit_gives() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(|| {
            keep_capabilities(&[NET_ADMIN, NET_RAW, BPF]);
            let mut kernel = match Kernel::load() {
                Ok(kernel) => kernel,
                Err(error) => return skipped(&error.to_string()),
            };
            kernel.steer().unwrap();
            for name in ["to_queue", "forward_xdp"] {
                let program: &mut Xdp =
                    kernel.programs.program_mut(name).unwrap().try_into().unwrap();
                load(|| program.load()).unwrap();
            }
            kernel.forward_on(1, Hook::Tc).unwrap();
        });
    }

    #[test]
    fn an_interface_that_flows_are_sent_on_by_is_none_for_af_xdp() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.ip("link add near type veth peer name far");
        ["near", "far"].iter().for_each(|end| namespace.ip(&format!("link set {end} up")));
        namespace.run(|| {
            let loaded = || Kernel::load().map_err(|error| skipped(&error.to_string()));
            let (Ok(mut kernel), Ok(mut other)) = (loaded(), loaded()) else { return };
            // SAFETY: a string that ends.
            let interface = unsafe { libc::if_nametoindex(c"near".as_ptr()) };
            kernel.forward_on(interface, Hook::Xdp).unwrap();
            assert!(kernel.watch(interface).unwrap(), "by the driver, as before");
            assert!(kernel.has_program(interface));
            // Its program looks for flows as well.
            kernel.forward_on(interface, Hook::Xdp).unwrap();
            assert!(kernel.forwards.is_empty());
            let taken = other.watch(interface);
            assert!(matches!(taken, Err(KernelError::HasProgram)), "{taken:?}");
            drop(kernel);
            assert!(other.watch(interface).unwrap());
        });
    }

    #[test]
    fn a_program_that_somebody_has_taken_away_is_put_back_or_counts_as_there() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.ip("link add near type veth peer name far");
        namespace.run(|| {
            let mut kernel = match Kernel::load_with_flows() {
                Ok(kernel) => kernel,
                Err(error) => return skipped(&error.to_string()),
            };
            // SAFETY: a string that ends.
            let near = unsafe { libc::if_nametoindex(c"near".as_ptr()) };
            for hook in [Hook::Xdp, Hook::Tc] {
                kernel.forward_on(near, hook).unwrap();
                kernel.forward_on(near, hook).unwrap();
                kernel.forwards[&(near, hook)].take_away();
                let again = kernel.forward_on(near, hook);
                assert!(matches!(again, Err(KernelError::TakenAway)), "{hook:?}: {again:?}");
            }
            // AF_XDP's own is followed by none that does the half of it.
            assert!(kernel.watch_native(near).unwrap());
            kernel.take_away(near);
            assert!(!kernel.has_program(near));
            kernel.forget_gone();
            let again = kernel.forward_on(near, Hook::Xdp);
            assert!(matches!(again, Err(KernelError::TakenAway)), "{again:?}");
            // Another interface is not to blame, and may have the number of one that is gone.
            command("ip link del near");
            kernel.forget_gone();
            command(&format!("ip link add near index {near} type veth peer name far"));
            for hook in [Hook::Xdp, Hook::Tc] {
                kernel.forward_on(near, hook).unwrap();
                assert!(kernel.forwards[&(near, hook)].is_attached());
            }
        });
    }
}
