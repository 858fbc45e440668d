//! Rounds over the loopback: the far sides are sockets, as no privilege is needed for them.

use super::measured::{LostAt, Measured, Percentiles};
use super::order::{Account, Order};
use super::subject::Subject;
use super::wire::{self, PAYLOAD_TYPE, Payload};
use super::{live, verify};
use crate::{clock, sys};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

type Failure = Box<dyn Error>;

/// The sockets of the far sides: of legs A, then of legs B; calls share them in turn.
pub(super) struct FarSides(Vec<UdpSocket>);

impl FarSides {
    pub(super) fn new() -> io::Result<Self> {
        let mut sockets = Vec::new();
        for _ in 0..2 * SOCKETS {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            sys::stamp_arrivals(socket.as_raw_fd(), RECEIVE_BUFFER)?;
            sockets.push(socket);
        }
        Ok(Self(sockets))
    }

    /// Where the far sides of a call are.
    pub(super) fn ports(&self, call: usize) -> io::Result<[u16; 2]> {
        let port = |side: usize| io::Result::Ok(self.0[socket_of(call, side)].local_addr()?.port());
        Ok([port(0)?, port(1)?])
    }
}

/// 50 packets a second of each stream, whatever the relay does.
pub(super) fn open_loop(
    far_sides: &FarSides,
    order: &Order,
    seconds: u32,
) -> Result<Measured, Failure> {
    let mut relay = Subject::start(order)?;
    let ticks = WARM_UP_TICKS + seconds * TICKS_PER_SECOND;
    let payloads = [0, 1].map(|side| wire::payloads(order, side, ticks as usize));
    let [a, b] = payloads;
    let mut generator = Generator::new(&far_sides.0, order, &relay, [a?, b?]);
    sys::sleep_precisely();
    sys::pin(0, SENDER_CPU);
    relay.pin(RELAY_CPU)?;
    generator.drain();
    generator.slots(0, WARM_UP_TICKS * SLOTS_PER_TICK);
    let (cpu_before, before, begun) =
        (relay.used_ns()?.relay, generator.seen.packets, clock::monotonic());
    generator.seen.from_tick = WARM_UP_TICKS;
    let slots = seconds * TICKS_PER_SECOND * SLOTS_PER_TICK;
    let (sent, late) = generator.slots(WARM_UP_TICKS, slots);
    let cpu = relay.used_ns()?.relay - cpu_before;
    let wall = clock::monotonic() - begun;
    let forwarded = generator.seen.packets - before;
    // What is still under way at the end was sent in time; it is waited for.
    let due = clock::monotonic() + GRACE;
    while clock::monotonic() < due {
        generator.receive();
    }
    let seen = generator.seen;
    let opener = verify::Opener::new();
    let damaged = seen.samples.iter().filter(|sample| {
        let tick = u32::from(u16::from_be_bytes([sample.octets[2], sample.octets[3]]));
        !verify::is_whole(&opener, order, &relay.ready, sample, tick)
    });
    let damaged = damaged.count() as u64;
    let resident = relay.resident()?;
    let Account { carried, full, dropped, cable_out, .. } = relay.close(order)?;
    Ok(Measured {
        cpu_us_per_packet: cpu as f64 / 1e3 / forwarded as f64,
        relay_us_per_packet: cpu as f64 / 1e3 / forwarded as f64,
        cores: cpu as f64 / 1e9 / wall.as_secs_f64(),
        sent,
        lost: sent.saturating_sub(seen.latency_ns.len() as u64),
        lost_at: LostAt { cable_in: 0, full, dropped: dropped.into_iter().collect(), cable_out },
        looked_at: seen.samples.len() as u64,
        damaged,
        opened_by: opener.name().to_owned(),
        latency_us: Percentiles::of(seen.latency_ns),
        late_share: f64::from(late) / f64::from(slots),
        carried,
        resident,
        resident_before: relay.ready.resident_before,
        ..Measured::default()
    })
}

/// One thread that plays both far sides of every call.
struct Generator<'s> {
    sockets: &'s [UdpSocket],
    payloads: [Vec<Payload>; 2],
    flows: Vec<Flow>,
    /// Where a packet from this port of the relay belongs, by the socket of its far side.
    awaited: HashMap<u16, usize>,
    /// The order of the flows within 20 ms: neighbours in time are not neighbours in memory.
    order: Vec<usize>,
    seen: Seen,
}

/// One direction of one call.
struct Flow {
    side: usize,
    socket: usize,
    to: sys::Name,
    sent_ns: [u64; REMEMBERED],
}

#[derive(Default)]
struct Seen {
    packets: u64,
    latency_ns: Vec<u64>,
    /// Packets before do not count.
    from_tick: u32,
    samples: Vec<live::Sample>,
}

impl<'s> Generator<'s> {
    fn new(
        sockets: &'s [UdpSocket],
        order: &Order,
        relay: &Subject,
        payloads: [Vec<Payload>; 2],
    ) -> Self {
        let (mut flows, mut awaited) = (Vec::new(), HashMap::new());
        for (call, ports) in relay.ready.ports.iter().enumerate() {
            for side in [0, 1] {
                // It comes back from the port of the other leg.
                awaited.insert(ports[1 - side], flows.len());
                flows.push(Flow {
                    side,
                    socket: socket_of(call, side),
                    to: sys::Name::new(SocketAddrV4::new(order.addresses().0, ports[side])),
                    sent_ns: [0; REMEMBERED],
                });
            }
        }
        let order = live::in_order(relay.ready.ports.len());
        let order = order.into_iter().map(|(call, side)| 2 * call + side).collect();
        Self {
            sockets,
            payloads,
            flows,
            awaited,
            order,
            seen: Seen { from_tick: u32::MAX, ..Seen::default() },
        }
    }

    /// Sends for so many slots; says how many packets, and in how many slots it came too late.
    fn slots(&mut self, from_tick: u32, slots: u32) -> (u64, u32) {
        let start = clock::monotonic();
        let (mut sent, mut late) = (0, 0);
        let flows = self.flows.len();
        let per_tick = SLOTS_PER_TICK as usize;
        for slot in 0..slots {
            late += u32::from(!clock::sleep_until(start + SLOT * slot));
            let tick = from_tick + slot / SLOTS_PER_TICK;
            let place = slot as usize % per_tick;
            for at in place * flows / per_tick..(place + 1) * flows / per_tick {
                sent += u64::from(self.send(self.order[at], tick));
            }
            self.receive();
        }
        (sent, late)
    }

    fn send(&mut self, index: usize, tick: u32) -> bool {
        let flow = &mut self.flows[index];
        let payload = &self.payloads[flow.side][tick as usize];
        flow.sent_ns[tick as usize % REMEMBERED] = clock::wall_ns();
        sys::send(self.sockets[flow.socket].as_raw_fd(), &payload.octets, &flow.to)
    }

    /// Throws away what is left of the round before.
    fn drain(&mut self) {
        self.receive();
        self.seen = Seen { from_tick: u32::MAX, ..Seen::default() };
    }

    /// Takes all that has arrived. Sequence numbers are in clear in SRTP too.
    fn receive(&mut self) {
        let mut packet = [0; 2048];
        for socket in self.sockets {
            while let Some((len, at_ns, from)) =
                sys::receive_stamped(socket.as_raw_fd(), &mut packet)
            {
                if len < 12 || packet[1] & 0x7f != PAYLOAD_TYPE {
                    continue; // RTCP of the relay's own
                }
                let Some(&index) = self.awaited.get(&from) else { continue };
                let flow = &mut self.flows[index];
                self.seen.packets += 1;
                let tick = u32::from(u16::from_be_bytes([packet[2], packet[3]]));
                let sent_ns = std::mem::take(&mut flow.sent_ns[tick as usize % REMEMBERED]);
                if tick < self.seen.from_tick || sent_ns == 0 {
                    continue;
                }
                self.seen.latency_ns.push(at_ns.saturating_sub(sent_ns));
                if self.seen.samples.len() < SAMPLES && tick > self.seen.from_tick {
                    let (call, side) = (index / 2, 1 - flow.side);
                    let octets = packet[..len].to_vec();
                    self.seen.samples.push(live::Sample { call, side, octets });
                }
            }
        }
    }
}

fn socket_of(call: usize, side: usize) -> usize {
    side * SOCKETS + call % SOCKETS
}

const RELAY_CPU: usize = 0;
const SENDER_CPU: usize = 1;
/// Packets leave in slots of 200 us, as a network card would hand them over that gathers interrupts.
const SLOT: Duration = Duration::from_micros(200);
const SLOTS_PER_TICK: u32 = 100;
const TICKS_PER_SECOND: u32 = 50;
/// In which the relay latches and memory is touched for the first time.
const WARM_UP_TICKS: u32 = 50;
/// A packet that takes longer than this counts as lost.
const GRACE: Duration = Duration::from_millis(300);
/// Packets per flow whose time of sending is known; more than a second's.
const REMEMBERED: usize = 64;
/// Sockets per side: one each would make the far side the bottleneck.
const SOCKETS: usize = 8;
const RECEIVE_BUFFER: i32 = 4 << 20;
const SAMPLES: usize = 64;
