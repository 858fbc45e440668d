//! A fax: datagrams that cross as they came.

use super::{Forward, Verdict, pair};
use crate::{Component, DropReason, Now, PacketBuf, Side, udptl};
use std::net::SocketAddr;

impl Forward {
    /// A datagram that came in while a fax is agreed on the leg.
    pub(super) fn fax(
        &mut self,
        now: Now,
        side: Side,
        component: Component,
        source: SocketAddr,
        slot: &PacketBuf,
    ) -> Result<Verdict, DropReason> {
        if component == Component::Rtcp {
            return Err(DropReason::NoFlow);
        }
        let number = udptl::number(slot.packet()).ok_or(DropReason::Malformed)?;
        let (from, to) = pair(&mut self.legs, side);
        if !from.admits_fax(now.mono, source, number) {
            return Err(DropReason::Unlatched);
        }
        self.sooner = true;
        from.note_alive(now.mono);
        if let Some(notice) = from.watch.heard(now.mono) {
            self.notices.push(side, notice);
        }
        if !from.hears() || !to.speaks() || !to.is_fax() {
            return Ok(Verdict::Consumed);
        }
        let Some(destination) = to.destination(component) else { return Ok(Verdict::Consumed) };
        let octets = slot.len() as u64;
        from.came.count(octets);
        to.went.count(octets);
        Ok(Verdict::Forward { side: side.other(), component, to: destination })
    }
}
