//! The media of all calls, as the engine would carry it: ports to calls, packets through them.

use crate::plan::MEDIA_PORTS;
use b2bua::io::PeerLeg;
use b2bua::{CallId, MediaPort, MediaPorts};
use bytes::Bytes;
use codec::Transcoders;
use media::{
    CallStats, Carriage, Component, Forward, Notice, Now, Order, PacketBuf, Side, Verdict, rtp,
};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// All open calls.
#[derive(Debug, Default)]
pub(crate) struct MediaPlane {
    calls: BTreeMap<CallId, Open>,
    ports: HashMap<u16, (CallId, Side, Component)>,
    /// Here it is done at once.
    transcoders: Transcoders<(CallId, Side)>,
}

#[derive(Debug)]
struct Open {
    forward: Forward,
    ports: MediaPorts,
}

/// A packet to send: from which of our ports, where to, what.
pub(crate) type Outgoing = (u16, SocketAddr, Bytes);

impl MediaPlane {
    /// Opens a call's ports; what is wrong with that, if anything.
    pub(crate) fn open(
        &mut self,
        call: CallId,
        ports: MediaPorts,
        seed: [u8; 32],
    ) -> Result<(), String> {
        for (side, port) in [(Side::A, ports.a), (Side::B, ports.b)] {
            self.open_leg(call, side, port)?;
        }
        match self.calls.insert(call, Open { forward: Forward::new(seed), ports }) {
            Some(_) => Err(format!("call {call} opens its media twice")),
            None => Ok(()),
        }
    }

    /// Opens the ports of a leg: those of a media address of the plan.
    fn open_leg(&mut self, call: CallId, side: Side, port: MediaPort) -> Result<(), String> {
        if !MEDIA_PORTS.iter().any(|range| range.contains(&port.rtp)) {
            return Err(format!("call {call} opens a port of no media address"));
        }
        for (component, port) in [(Component::Rtp, port.rtp), (Component::Rtcp, port.rtp + 1)] {
            if self.ports.insert(port, (call, side, component)).is_some() {
                return Err(format!("call {call} opens port {port}, which is open"));
            }
        }
        Ok(())
    }

    /// Gives a leg other ports.
    pub(crate) fn move_leg(
        &mut self,
        call: CallId,
        leg: PeerLeg,
        to: MediaPort,
    ) -> Result<(), String> {
        let side = if leg == PeerLeg::A { Side::A } else { Side::B };
        let open = self.calls.get_mut(&call).ok_or(format!("call {call} has no media open"))?;
        match side {
            Side::A => open.ports.a = to,
            Side::B => open.ports.b = to,
        }
        self.ports.retain(|_, (owner, of, _)| (*owner, *of) != (call, side));
        self.open_leg(call, side, to)
    }

    /// Takes what the legs have agreed.
    pub(crate) fn connect(
        &mut self,
        call: CallId,
        worker: usize,
        a: Option<Carriage>,
        b: Option<Carriage>,
    ) -> Result<(), String> {
        let open = self.calls.get_mut(&call).ok_or(format!("call {call} has no media open"))?;
        if open.ports.worker != worker {
            return Err(format!("call {call} moved to another worker"));
        }
        open.forward.connect(a, b);
        Ok(())
    }

    /// Has something done on a leg.
    pub(crate) fn order(&mut self, now: Now, call: CallId, leg: PeerLeg, order: &Order) {
        let side = if leg == PeerLeg::A { Side::A } else { Side::B };
        if let Some(open) = self.calls.get_mut(&call) {
            open.forward.order(now, side, order);
        }
    }

    /// Something that has happened on a leg.
    pub(crate) fn notice(&mut self) -> Option<(CallId, PeerLeg, Notice)> {
        self.calls.iter_mut().find_map(|(call, open)| {
            let (side, notice) = open.forward.poll_notice()?;
            Some((*call, if side == Side::A { PeerLeg::A } else { PeerLeg::B }, notice))
        })
    }

    /// Closes a call's ports.
    pub(crate) fn close(&mut self, call: CallId) -> Option<CallStats> {
        let open = self.calls.remove(&call)?;
        self.ports.retain(|_, (owner, ..)| *owner != call);
        [Side::A, Side::B].iter().for_each(|side| self.transcoders.forget(&(call, *side)));
        Some(open.forward.stats())
    }

    /// A packet that came to `port`.
    pub(crate) fn packet(
        &mut self,
        now: Now,
        port: u16,
        from: SocketAddr,
        octets: &[u8],
    ) -> Option<Outgoing> {
        let (call, side, component) = *self.ports.get(&port)?;
        let open = self.calls.get_mut(&call)?;
        let mut slot = PacketBuf::new();
        slot.octets_mut().get_mut(..octets.len())?.copy_from_slice(octets);
        slot.set_len(octets.len());
        let mut verdict = open.forward.packet(now, side, component, from, &mut slot);
        if let Verdict::Transcode(conversion) = verdict {
            let (mut out, payload) = (Vec::new(), slot.packet().get(rtp::FIXED_HEADER..)?);
            let key = (call, side);
            let turned = self.transcoders.transcode(now.mono, key, conversion, payload, &mut out);
            turned.ok()?;
            rtp::set_payload(&mut slot, &out)?;
            verdict = open.forward.transcoded(now, side, conversion, &mut slot);
        }
        outgoing(open.ports, verdict, &slot)
    }

    /// A packet of our own that is due.
    pub(crate) fn generate(&mut self, now: Now) -> Option<Outgoing> {
        for open in self.calls.values_mut() {
            let mut slot = PacketBuf::new();
            if let Some(verdict) = open.forward.generate(now, &mut slot) {
                return outgoing(open.ports, verdict, &slot);
            }
        }
        None
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.calls.values().filter_map(|open| open.forward.next_due()).min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.ports.is_empty() && self.transcoders.is_empty()
    }

    /// Whether this address and port are ours and open.
    pub(crate) fn serves(&self, address: SocketAddr, ours: IpAddr) -> bool {
        address.ip() == ours && self.ports.contains_key(&address.port())
    }
}

fn outgoing(ports: MediaPorts, verdict: Verdict, slot: &PacketBuf) -> Option<Outgoing> {
    let Verdict::Forward { side, component, to } = verdict else { return None };
    let MediaPort { rtp, .. } = if side == Side::A { ports.a } else { ports.b };
    let port = if component == Component::Rtp { rtp } else { rtp + 1 };
    Some((port, to, Bytes::copy_from_slice(slot.packet())))
}
