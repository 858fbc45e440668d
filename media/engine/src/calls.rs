//! The calls of one worker and the table that finds them by port: the core between two engines.

mod flows;

use crate::batch::{Batch, POOL_SLOTS, Packet, PortId};
use crate::by_port::{Addresses, ByPort};
use crate::counters::Totals;
use crate::due::Due;
use crate::offload::Offload;
use crate::prefetch::prefetch_all;
use crate::transcoder::Exchange;
use crate::{LegPorts, MediaId};
use flows::{Flows, InKernel};
use media::{
    CallStats, Carriage, Component, DropReason, Forward, Notice, Now, Order, Side, Stretch, Verdict,
};
use std::collections::HashMap;
use std::time::Instant;

/// All calls of a worker.
#[derive(Debug)]
pub(crate) struct Calls {
    /// Who owns each port.
    owners: ByPort<Owner>,
    calls: Vec<Option<Call>>,
    free: Vec<u32>,
    /// Read when signalling speaks, never for a packet.
    by_id: HashMap<MediaId, u32>,
    due: Due,
    /// What is to be told, until the worker tells it between batches.
    notices: Vec<(MediaId, Side, Notice)>,
    /// Calls that a transcoder knows.
    transcoded: usize,
    flows: Flows,
}

/// A call; what a packet needs of it is in one line of memory.
#[derive(Debug)]
#[repr(C, align(64))]
struct Call {
    id: MediaId,
    forward: Box<Forward>,
    ports: CallPorts,
    /// A transcoder knows it.
    transcoded: bool,
    /// The kernel forwards what comes in on either side, or on both.
    in_kernel: bool,
    /// What comes in on either side.
    flows: [InKernel; 2],
}

/// What a call leaves.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) ports: CallPorts,
    /// A transcoder is to forget it, too.
    pub(crate) transcoded: bool,
    pub(crate) stats: CallStats,
}

/// The four ports of a call, by side and component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallPorts {
    ports: [[PortId; 2]; 2],
    dscp: [u8; 2],
}

impl CallPorts {
    /// The ports of both legs, or in words why these cannot be.
    pub(crate) fn new(addresses: &mut Addresses, a: LegPorts, b: LegPorts) -> Result<Self, String> {
        let dscp = [a.dscp, b.dscp];
        let a = leg_ports(addresses, a)?;
        let b = leg_ports(addresses, b).inspect_err(|_| addresses.give_back(a[0].address))?;
        Ok(Self { ports: [a, b], dscp })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = PortId> + use<> {
        self.ports.into_iter().flatten()
    }

    /// Both ports of a leg.
    pub(crate) const fn of(&self, side: Side) -> [PortId; 2] {
        self.ports[side as usize]
    }

    const fn at(&self, side: Side, component: Component) -> PortId {
        self.ports[side as usize][component as usize]
    }
}

/// A leg's ports, with its address taken into use.
pub(crate) fn leg_ports(addresses: &mut Addresses, leg: LegPorts) -> Result<[PortId; 2], String> {
    let LegPorts { bind, rtp, .. } = leg;
    if rtp == 0 || rtp % 2 != 0 {
        return Err(format!("{rtp} is not an even port with its next one"));
    }
    let address = addresses.take(bind);
    let address = address.ok_or_else(|| format!("no room for media address {bind}"))?;
    let rtp = PortId { address, number: rtp };
    Ok([rtp, PortId { number: rtp.number + 1, ..rtp }])
}

impl Calls {
    /// Without calls. Their flows go to the kernel by `offload`; or why they do not, empty where nobody
    /// wants it.
    pub(crate) fn new(offload: Result<Offload, String>) -> Self {
        Self {
            owners: ByPort::new(),
            calls: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            due: Due::new(),
            notices: Vec::with_capacity(NOTICES_MAX),
            transcoded: 0,
            flows: Flows::new(offload),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether speech may come back from a transcoder.
    pub(crate) fn transcode(&self) -> bool {
        self.transcoded > 0
    }

    /// When a call has a packet of its own to send next.
    pub(crate) fn next_due(&mut self) -> Option<Instant> {
        self.due.next()
    }

    pub(crate) fn contains(&self, id: MediaId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Takes a call whose ports are open. The caller has checked that it is new.
    pub(crate) fn insert(&mut self, id: MediaId, ports: CallPorts, forward: Box<Forward>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            (self.calls.len() - 1) as u32
        });
        for (side, component) in EACH_PORT {
            self.owners
                .set(ports.at(side, component), Some(Owner { call: place, side, component }));
        }
        self.calls[place as usize] = Some(Call {
            id,
            forward,
            ports,
            transcoded: false,
            in_kernel: false,
            flows: [InKernel::NOT_ASKED; 2],
        });
        self.by_id.insert(id, place);
        self.due.reserve(self.calls.len());
    }

    /// Tells a call what its legs have agreed; a call that is gone does not mind.
    pub(crate) fn connect(
        &mut self,
        now: Now,
        id: MediaId,
        a: Option<Carriage>,
        b: Option<Carriage>,
    ) {
        let Some(&place) = self.by_id.get(&id) else { return };
        if let Some(call) = &mut self.calls[place as usize] {
            call.absorb(now, &mut self.flows);
            call.forward.connect(a, b);
            call.compare(now, &mut self.flows);
            // It plans its own packets when it is first asked for one.
            self.due.arm(place, Some(now.mono));
        }
    }

    /// Has something done on a leg; a call that is gone does not mind.
    pub(crate) fn order(&mut self, now: Now, id: MediaId, side: Side, order: &Order) {
        let Some(&place) = self.by_id.get(&id) else { return };
        if let Some(call) = &mut self.calls[place as usize] {
            call.absorb(now, &mut self.flows);
            call.forward.order(now, side, order);
            call.compare(now, &mut self.flows);
            call.hear(&mut self.notices);
            self.due.arm(place, Some(now.mono));
        }
    }

    /// Fills an empty batch with what is to be said at the end of a call.
    pub(crate) fn farewell(&mut self, now: Now, id: MediaId, batch: &mut Batch) {
        let Some(&place) = self.by_id.get(&id) else { return };
        let Some(call) = &mut self.calls[place as usize] else { return };
        call.bring_back_all(now, &mut self.flows);
        for side in [Side::A, Side::B] {
            let Some(packet) = batch.spare() else { return };
            if let Some(Verdict::Forward { side, component, to }) =
                call.forward.farewell(now, side, packet.slot_mut())
            {
                packet.address(call.ports.at(side, component), to);
                batch.take();
            }
        }
    }

    /// Gives a leg other ports, which are open; those it had are returned so that they can be closed.
    pub(crate) fn move_leg(
        &mut self,
        now: Now,
        id: MediaId,
        side: Side,
        to: [PortId; 2],
        dscp: u8,
    ) -> Option<[PortId; 2]> {
        let place = *self.by_id.get(&id)?;
        let call = self.calls[place as usize].as_mut()?;
        call.bring_back_all(now, &mut self.flows);
        call.ports.dscp[side as usize] = dscp;
        let old = std::mem::replace(&mut call.ports.ports[side as usize], to);
        for (component, (old, new)) in
            [Component::Rtp, Component::Rtcp].into_iter().zip(old.into_iter().zip(to))
        {
            self.owners.set(old, None);
            self.owners.set(new, Some(Owner { call: place, side, component }));
        }
        Some(old)
    }

    /// Forgets a call. What it had is returned: ports to be closed, and whether a transcoder knows it.
    pub(crate) fn remove(&mut self, now: Now, id: MediaId) -> Option<Removed> {
        let place = self.by_id.remove(&id)?;
        let mut call = self.calls[place as usize].take()?;
        call.bring_back_all(now, &mut self.flows);
        self.free.push(place);
        self.due.disarm(place);
        for port in call.ports.all() {
            self.owners.set(port, None);
        }
        call.forward.settle(now);
        let Call { ports, transcoded, .. } = call;
        self.transcoded -= usize::from(transcoded);
        Some(Removed { ports, transcoded, stats: call.forward.stats() })
    }

    pub(crate) fn stats(&mut self, now: Now, id: MediaId) -> Option<(CallPorts, CallStats)> {
        let call = self.calls[*self.by_id.get(&id)? as usize].as_mut()?;
        call.absorb(now, &mut self.flows);
        call.forward.settle(now);
        Some((call.ports, call.forward.stats()))
    }

    /// The ports of a call.
    pub(crate) fn ports(&self, id: MediaId) -> Option<CallPorts> {
        Some(self.calls[*self.by_id.get(&id)? as usize].as_ref()?.ports)
    }

    /// All ports open now, with what their packets are marked with.
    pub(crate) fn all_ports(&self) -> Vec<(PortId, u8)> {
        let calls = self.calls.iter().flatten();
        let legs = calls.flat_map(|call| call.ports.ports.into_iter().zip(call.ports.dscp));
        legs.flat_map(|(pair, dscp)| pair.map(|port| (port, dscp))).collect()
    }

    /// The calls open now.
    pub(crate) fn ids(&self) -> Vec<MediaId> {
        self.by_id.keys().copied().collect()
    }

    /// What has happened since it was last asked.
    pub(crate) fn notices(&mut self) -> std::vec::Drain<'_, (MediaId, Side, Notice)> {
        self.notices.drain(..)
    }

    /// Turns each packet received into one to be sent, or into a count.
    pub(crate) fn process(
        &mut self,
        now: Now,
        batch: &mut Batch,
        exchange: &Exchange,
        totals: &mut Totals,
    ) {
        let owners = self.owners(batch.packets());
        (0..2 * AHEAD).for_each(|at| self.foresee(owners.get(at)));
        (0..AHEAD).for_each(|at| self.foresee_keys(owners.get(at)));
        for (at, packet) in batch.packets_mut().iter_mut().enumerate() {
            self.foresee(owners.get(at + 2 * AHEAD));
            self.foresee_keys(owners.get(at + AHEAD));
            totals.received += 1;
            match self.packet(now, owners[at], packet, exchange) {
                Verdict::Forward { .. } => totals.forwarded += 1,
                Verdict::Consumed | Verdict::Transcode(_) => {}
                Verdict::Drop(reason) => totals.drop_packet(reason),
            }
        }
        self.count_passed(totals);
    }

    /// Whose the packets of a batch are. Thousands of calls are in no cache, and one after the other each
    /// packet would wait for its own: their entries are fetched from memory side by side.
    fn owners(&self, packets: &[Packet]) -> [Option<Owner>; POOL_SLOTS] {
        let mut owners = [None; POOL_SLOTS];
        for (packet, place) in packets.iter().zip(&mut owners) {
            *place = self.owners.get(packet.port).copied();
            if let Some(call) = place.and_then(|owner| self.calls.get(owner.call as usize)) {
                prefetch_all([Stretch::first_line_of(call)]);
            }
        }
        owners
    }

    /// Has what the packet of this owner will touch of its call fetched.
    fn foresee(&self, owner: Option<&Option<Owner>>) {
        if let Some(Some(owner)) = owner
            && let Some(Some(call)) = self.calls.get(owner.call as usize)
        {
            prefetch_all(call.forward.touched(owner.side));
        }
    }

    /// The same of its keys, once that is there.
    fn foresee_keys(&self, owner: Option<&Option<Owner>>) {
        if let Some(Some(owner)) = owner
            && let Some(Some(call)) = self.calls.get(owner.call as usize)
        {
            prefetch_all(call.forward.keys_touched(owner.side));
        }
    }

    fn packet(
        &mut self,
        now: Now,
        owner: Option<Owner>,
        packet: &mut Packet,
        exchange: &Exchange,
    ) -> Verdict {
        const NO_FLOW: Verdict = Verdict::Drop(DropReason::NoFlow);
        let Some(owner) = owner else { return NO_FLOW };
        let Some(Some(call)) = self.calls.get_mut(owner.call as usize) else { return NO_FLOW };
        if packet.cut {
            call.forward.dropped(owner.side, DropReason::TooBig);
            return Verdict::Drop(DropReason::TooBig);
        }
        let in_kernel = call.in_kernel;
        if in_kernel {
            call.absorb(now, &mut self.flows);
            call.comes_up(now, (owner.side, owner.component), packet, &mut self.flows);
        }
        let verdict =
            call.forward.packet(now, owner.side, owner.component, packet.peer, packet.slot_mut());
        // What is dropped has changed nothing.
        if in_kernel && !matches!(verdict, Verdict::Drop(_)) {
            call.compare(now, &mut self.flows);
        }
        let verdict = match verdict {
            Verdict::Forward { side, component, to } => {
                packet.address(call.ports.at(side, component), to);
                verdict
            }
            Verdict::Transcode(conversion) => {
                match exchange.turn(call.id, owner.side, conversion, packet.slot()) {
                    Ok(()) => {
                        self.transcoded += usize::from(!call.transcoded);
                        call.transcoded = true;
                        verdict
                    }
                    Err(reason) => {
                        call.forward.dropped(owner.side, reason);
                        Verdict::Drop(reason)
                    }
                }
            }
            Verdict::Consumed | Verdict::Drop(_) => verdict,
        };
        call.hear(&mut self.notices);
        self.due.arm_earlier(owner.call, call.forward.due_sooner());
        verdict
    }

    /// Fills an empty batch with what has come back in another codec. A full batch means that there
    /// may be more.
    pub(crate) fn take_back(
        &mut self,
        now: Now,
        batch: &mut Batch,
        exchange: &Exchange,
        totals: &mut Totals,
    ) {
        while let Some(packet) = batch.spare()
            && let Some(speech) = exchange.back()
        {
            let Some(&place) = self.by_id.get(&speech.call) else { continue };
            let Some(call) = &mut self.calls[place as usize] else { continue };
            *packet.slot_mut() = speech.slot;
            let verdict = match speech.outcome {
                Ok(()) => {
                    let (side, conversion) = (speech.side, speech.conversion);
                    call.forward.transcoded(now, side, conversion, packet.slot_mut())
                }
                Err(reason) => {
                    call.forward.dropped(speech.side, reason);
                    Verdict::Drop(reason)
                }
            };
            match verdict {
                Verdict::Forward { side, component, to } => {
                    packet.address(call.ports.at(side, component), to);
                    batch.take();
                    totals.forwarded += 1;
                    totals.transcoded += 1;
                }
                Verdict::Consumed | Verdict::Transcode(_) => {}
                Verdict::Drop(reason) => totals.drop_packet(reason),
            }
        }
    }

    /// Fills an empty batch with packets of our own that are due. A full batch means that there may
    /// be more: send it and come again.
    pub(crate) fn tick(&mut self, now: Now, batch: &mut Batch, totals: &mut Totals) {
        while let Some(place) = self.due.first(now.mono) {
            let Some(Some(call)) = self.calls.get_mut(place as usize) else {
                self.due.disarm(place);
                continue;
            };
            let in_kernel = call.in_kernel;
            if in_kernel {
                call.absorb(now, &mut self.flows);
            }
            loop {
                // A call that finds the batch full stays due, and is first when it comes again.
                let Some(packet) = batch.spare() else { return };
                match call.forward.generate(now, packet.slot_mut()) {
                    Some(Verdict::Forward { side, component, to }) => {
                        packet.address(call.ports.at(side, component), to);
                        batch.take();
                        totals.generated += 1;
                    }
                    Some(Verdict::Consumed | Verdict::Transcode(_) | Verdict::Drop(_)) | None => {
                        break;
                    }
                }
            }
            if in_kernel {
                call.compare(now, &mut self.flows);
            }
            call.hear(&mut self.notices);
            // Even a call that is always due must not hold the worker in this loop.
            let next = call.forward.next_due().map(|due| due.max(now.mono + crate::pace::TICK));
            self.due.arm(place, next);
        }
    }
}

impl Call {
    /// Takes down what has happened. Beyond the bound it waits in the call for the next turn.
    fn hear(&mut self, notices: &mut Vec<(MediaId, Side, Notice)>) {
        while notices.len() < NOTICES_MAX
            && let Some((side, notice)) = self.forward.poll_notice()
        {
            notices.push((self.id, side, notice));
        }
    }
}

/// Notices of one batch and its turn: few packets of a batch are worth one.
const NOTICES_MAX: usize = 256;

impl Packet {
    /// Marks the packet to be sent from `port` to `peer`.
    fn address(&mut self, port: PortId, peer: std::net::SocketAddr) {
        self.port = port;
        self.peer = peer;
        self.send = true;
    }
}

/// How many packets before its own what a packet touches of its keys is fetched; what it touches of its
/// call, twice as many. Enough for memory to answer meanwhile, and few enough for the nearest cache.
const AHEAD: usize = 4;

/// Whose a port is: an index into the calls, and which of the call's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    call: u32,
    side: Side,
    component: Component,
}

const EACH_PORT: [(Side, Component); 4] = [
    (Side::A, Component::Rtp),
    (Side::A, Component::Rtcp),
    (Side::B, Component::Rtp),
    (Side::B, Component::Rtcp),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn leg(rtp: u16) -> LegPorts {
        LegPorts { bind: IpAddr::V4(Ipv4Addr::LOCALHOST), rtp, dscp: 46 }
    }

    #[test]
    fn an_odd_port_and_none_at_all_are_refused_and_hold_no_address() {
        let mut addresses = Addresses::default();
        for bad in [leg(20_001), leg(0)] {
            assert!(CallPorts::new(&mut addresses, leg(20_000), bad).is_err(), "{bad:?}");
            assert!(CallPorts::new(&mut addresses, bad, leg(20_000)).is_err(), "{bad:?}");
        }
        let other = LegPorts { bind: [127, 0, 0, 2].into(), ..leg(65_534) };
        let ports = CallPorts::new(&mut addresses, other, leg(20_006)).unwrap();
        assert_eq!(ports.at(Side::A, Component::Rtcp), PortId { address: 0, number: 65_535 });
        assert_eq!(ports.at(Side::B, Component::Rtcp), PortId { address: 1, number: 20_007 });
    }

    /// A leg with SRTP whose far side must hear RTCP, in front of one that sends none.
    fn agreed(crypto: bool) -> Option<Carriage> {
        let key = || sdp::SrtpKey::from_octets(sdp::Suite::AesCm128HmacSha1_80, &[1; 30]).unwrap();
        let stream = sdp::Stream {
            crypto: crypto.then(|| sdp::Crypto { local: key(), remote: vec![key()] }),
            ..sdp::Stream::muxed(([192, 0, 2, 1], 40_000).into())
        };
        Some(stream.into())
    }

    #[test]
    fn packets_of_our_own_that_do_not_fit_one_batch_come_in_the_next() {
        const CALLS: u16 = 100;
        let mut addresses = Addresses::default();
        let mut calls = Calls::new(Err(String::new()));
        let (mut batch, mut totals) = (Batch::new(), Totals::default());
        let start = crate::clock::now();
        for call in 0..CALLS {
            let id = MediaId(call.into());
            let (a, b) = (leg(20_000 + 4 * call), leg(20_002 + 4 * call));
            let ports = CallPorts::new(&mut addresses, a, b).unwrap();
            calls.insert(id, ports, Box::new(Forward::new([1; 32])));
            calls.connect(start, id, agreed(false), agreed(true));
        }
        calls.tick(start, &mut batch, &mut totals);
        assert!(batch.packets().is_empty(), "nothing is due yet");

        // A minute without a packet: one report for each call, from the port of the leg with SRTP.
        let later = Now { mono: start.mono + std::time::Duration::from_secs(60), ..start };
        let mut from = Vec::new();
        loop {
            batch.clear();
            calls.tick(later, &mut batch, &mut totals);
            if batch.packets().is_empty() {
                break;
            }
            assert!(batch.packets().iter().all(|packet| packet.send && !packet.slot().is_empty()));
            from.extend(batch.packets().iter().map(|packet| packet.port.number));
        }
        from.sort_unstable();
        assert!(from.into_iter().eq((0..CALLS).map(|call| 20_000 + 4 * call + 2)));
        assert_eq!(totals.generated, u64::from(CALLS));

        // A call that is gone says nothing more.
        (0..CALLS).for_each(|call| assert!(calls.remove(later, MediaId(call.into())).is_some()));
        let later = Now { mono: later.mono + std::time::Duration::from_secs(60), ..later };
        batch.clear();
        calls.tick(later, &mut batch, &mut totals);
        assert!(batch.packets().is_empty());
    }

    #[test]
    fn a_leg_that_moves_is_found_at_its_new_ports_alone() {
        let mut addresses = Addresses::default();
        let mut calls = Calls::new(Err(String::new()));
        let ports = CallPorts::new(&mut addresses, leg(20_000), leg(20_002)).unwrap();
        calls.insert(MediaId(1), ports, Box::new(Forward::new([1; 32])));
        let elsewhere = LegPorts { bind: [127, 0, 0, 2].into(), ..leg(20_002) };
        let new = leg_ports(&mut addresses, elsewhere).unwrap();
        let old = calls.move_leg(crate::clock::now(), MediaId(1), Side::B, new, 46).unwrap();
        assert_eq!(old, ports.of(Side::B));
        assert!(old.iter().all(|port| calls.owners.get(*port).is_none()));
        let owner = Owner { call: 0, side: Side::B, component: Component::Rtcp };
        assert_eq!(calls.owners.get(new[1]), Some(&owner));
        let ports = calls.remove(crate::clock::now(), MediaId(1)).unwrap().ports;
        assert_eq!(ports.of(Side::B), new);
        assert!(ports.all().all(|port| calls.owners.get(port).is_none()));
    }
}
