//! RTCP that comes in, and reports of ours.

use super::{Forward, Verdict, pair};
use crate::outgoing::Outgoing;
use crate::rtcp::{self, Names};
use crate::srtp::Origin;
use crate::transcode::Clock;
use crate::transform::{Opened, Transform};
use crate::{Component, DropReason, Now, PacketBuf, Side};
use std::net::SocketAddr;

impl Forward {
    pub(super) fn rtcp(
        &mut self,
        now: Now,
        side: Side,
        component: Component,
        source: SocketAddr,
        slot: &mut PacketBuf,
    ) -> Result<Verdict, DropReason> {
        let (outward, homeward) = pair(&mut self.paths, side);
        let (Some(outward), Some(homeward)) = (outward, homeward) else {
            return Err(DropReason::NoFlow);
        };
        let (from, to) = pair(&mut self.legs, side);
        if from.agreed().is_none() || to.agreed().is_none() {
            return Err(DropReason::NoFlow);
        }
        match outward.open_rtcp(now.mono, component, slot)? {
            Opened::Authentic(authentic) if authentic.newest => {
                from.follow_rtcp(component, source);
            }
            Opened::Authentic(_) => {}
            Opened::Unproven => {
                if !from.admits_rtcp(component, source, rtcp::sender(slot.packet())) {
                    return Err(DropReason::Unlatched);
                }
            }
        }

        from.note_alive(now.mono);
        if outward.transform.passes() {
            from.watch.heard_rtcp(now.mono);
            let (component, destination) = to.rtcp_destination();
            let Some(to) = destination else { return Ok(Verdict::Consumed) };
            return Ok(Verdict::Forward { side: side.other(), component, to });
        }
        let names = Naming {
            outward: &outward.transform,
            clock: &outward.clock,
            homeward: &homeward.transform,
            homeward_clock: &homeward.clock,
            heard: &from.outgoing,
            own_report: from.own_report(),
        };
        let said = rtcp::read(slot.packet(), from.sent_ssrc())?;
        let sendable = !self.terminates && rtcp::relay(slot, &names, &to.cname())?;
        from.watch.heard_rtcp(now.mono);
        from.hear(now.mono, &said);
        from.expect_reports(now.mono);
        if !sendable {
            return Ok(Verdict::Consumed);
        }
        let (component, destination) = to.rtcp_destination();
        let Some(destination) = destination else { return Ok(Verdict::Consumed) };
        outward.seal_rtcp(slot)?;
        to.report_passed(now.mono);
        if let Some(heard) = said.heard {
            to.passed_report(now.mono, heard.ntp_middle);
        }
        Ok(Verdict::Forward { side: side.other(), component, to: destination })
    }

    /// A report of our own on `side`, if one is due there.
    pub(super) fn report(&mut self, now: Now, side: Side, slot: &mut PacketBuf) -> Option<Verdict> {
        let path = self.paths[side.other() as usize].as_mut()?;
        let leg = &mut self.legs[side as usize];
        leg.expect_reports(now.mono);
        if leg.report_due()? > now.mono {
            return None;
        }
        leg.write_report(now, slot).ok()?;
        let (component, destination) = leg.rtcp_destination();
        let to = destination?;
        path.seal_rtcp(slot).ok()?;
        leg.stats.rtcp_generated += 1;
        Some(Verdict::Forward { side, component, to })
    }

    /// The call is over: fills `slot` with the last RTCP of ours on `side`, which says good-bye there, if
    /// we have said anything before.
    pub fn farewell(&mut self, now: Now, side: Side, slot: &mut PacketBuf) -> Option<Verdict> {
        let path = self.paths[side.other() as usize].as_mut()?;
        let leg = &mut self.legs[side as usize];
        let (component, destination) = leg.rtcp_destination();
        let to = destination?;
        leg.write_farewell(now, slot)?;
        path.seal_rtcp(slot).ok()?;
        leg.stats.rtcp_generated += 1;
        Some(Verdict::Forward { side, component, to })
    }
}

/// A compound of one leg, named for the other.
struct Naming<'p> {
    /// From the leg the compound came in on.
    outward: &'p Transform,
    /// What the timestamps of its sources are turned into.
    clock: &'p Clock,
    /// To that leg: its report blocks speak of what we sent there.
    homeward: &'p Transform,
    homeward_clock: &'p Clock,
    /// What was heard there.
    heard: &'p Outgoing,
    own_report: Option<u32>,
}

impl Names for Naming<'_> {
    fn outward(&self, source: u32) -> u32 {
        self.outward.outward(source)
    }
    fn timestamp(&self, source: u32, timestamp: u32) -> u32 {
        self.clock.told(source, timestamp)
    }
    fn jitter(&self, source: u32, jitter: u32) -> u32 {
        self.homeward_clock.jitter_back(source, jitter)
    }
    fn origin(&self, ssrc: u32) -> Option<Origin> {
        let mut origin = self.homeward.origin(ssrc)?;
        origin.sequence_shift = origin.sequence_shift.wrapping_sub(self.heard.shift(origin.ssrc));
        Some(origin)
    }
    fn own_report(&self) -> Option<u32> {
        self.own_report
    }
}
