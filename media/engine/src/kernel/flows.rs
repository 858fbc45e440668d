//! Flows that the kernel forwards: which port has which, and the programs that look.

use super::link::{Mode, XdpLink};
use super::{Kernel, KernelError, load};
use crate::offload::{Hook, Region};
use aya::programs::tc::{SchedClassifier, TcAttachOptions, TcAttachType};
use aya::programs::{LinkOrder, Xdp};
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

    /// Has flows looked for on an interface, unless they are already.
    pub(crate) fn forward_on(&mut self, interface: u32, hook: Hook) -> Result<(), KernelError> {
        match hook {
            Hook::Xdp => {
                if self.attached.get(&interface).is_some_and(|it| it.native)
                    || self.forwards.get(&interface).is_some_and(XdpLink::is_attached)
                {
                    return Ok(());
                }
                let program = self.programs.program_mut("forward_xdp");
                let program: &mut Xdp =
                    program.ok_or(KernelError::NoSuch("forward_xdp"))?.try_into()?;
                if program.fd().is_err() {
                    load(|| program.load())?;
                }
                let link = XdpLink::new(program.fd()?.as_fd(), interface, Mode::Driver)?;
                self.forwards.insert(interface, link);
            }
            Hook::Tc => {
                if self.forwards_by_tc.contains(&interface) {
                    return Ok(());
                }
                let program = self.programs.program_mut("forward_tc");
                let program: &mut SchedClassifier =
                    program.ok_or(KernelError::NoSuch("forward_tc"))?.try_into()?;
                if program.fd().is_err() {
                    load(|| program.load())?;
                }
                // By a link, which ends with the process: a filter of clsact would stay behind.
                let order = TcAttachOptions::TcxOrder(LinkOrder::default());
                let name = crate::sys::interface_name(interface)?;
                program.attach_with_options(&name, TcAttachType::Ingress, order)?;
                self.forwards_by_tc.insert(interface);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{BPF, NET_ADMIN, NET_RAW, Namespace, keep_capabilities, skipped};

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
}
