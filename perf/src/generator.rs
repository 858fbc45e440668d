//! Both far sides of every call: sends 50 packets a second each way, and times what comes back.

use crate::{clock, cpu, sys};
use ::media::{PacketBuf, srtp};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The far sides.
pub(crate) struct Generator {
    /// Sockets of the far sides of legs A, then of legs B; calls share them in turn.
    sockets: Vec<UdpSocket>,
    flows: Vec<Flow>,
    /// The order of the flows within 20 ms: neighbours in time are not neighbours in memory.
    order: Vec<usize>,
    seen: Seen,
}

/// One direction of one call.
struct Flow {
    from: usize,
    to: sys::Name,
    sequence: u16,
    protect: Option<srtp::Sender>,
    sent_ns: [u64; REMEMBERED],
}

#[derive(Default)]
struct Seen {
    packets: u64,
    /// Sampled between warm-up and end.
    latency_ns: Vec<u64>,
    counting: bool,
}

/// What one run showed.
pub(crate) struct Measured {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) cpu_us_per_packet: f64,
    pub(crate) latency_us_p50: f64,
    pub(crate) latency_us_p99: f64,
    /// The part of the run in which the generator was late: above a few percent the latencies are its
    /// own.
    pub(crate) late_share: f64,
}

impl Generator {
    pub(crate) fn new() -> io::Result<Self> {
        let mut sockets = Vec::new();
        for _ in 0..2 * SOCKETS {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            sys::stamp_arrivals(socket.as_raw_fd(), RECEIVE_BUFFER)?;
            sockets.push(socket);
        }
        Ok(Self { sockets, flows: Vec::new(), order: Vec::new(), seen: Seen::default() })
    }

    /// Where the far side of a leg is: side 0 or 1 of a call.
    pub(crate) fn far_side(&self, call: usize, side: usize) -> io::Result<SocketAddrV4> {
        match self.sockets[side * SOCKETS + call % SOCKETS].local_addr()? {
            std::net::SocketAddr::V4(address) => Ok(address),
            std::net::SocketAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Adds a call whose legs are at `legs`; leg B's far side speaks SRTP if it has a sender.
    pub(crate) fn add(&mut self, call: usize, legs: [SocketAddrV4; 2], b: Option<srtp::Sender>) {
        for (side, (leg, protect)) in legs.into_iter().zip([None, b]).enumerate() {
            self.flows.push(Flow {
                from: side * SOCKETS + call % SOCKETS,
                to: sys::Name::new(leg),
                sequence: 0,
                protect,
                sent_ns: [0; REMEMBERED],
            });
        }
    }

    /// Talks for `seconds` after a warm-up, and measures the relay's threads meanwhile.
    pub(crate) fn run(&mut self, relay: &[i32], seconds: u32) -> io::Result<Measured> {
        sys::sleep_precisely();
        let flows = self.flows.len();
        // A stride that shares no factor with the number of flows visits each once.
        let stride = (flows * 5 / 8..flows).find(|&stride| coprime(stride, flows)).unwrap_or(1);
        self.order = (0..flows).map(|at| at * stride % flows).collect();
        self.slots(WARM_UP_SLOTS);
        let (cpu_before, before) = (cpu::used_ns(relay)?, self.seen.packets);
        self.seen.counting = true;
        let slots = seconds * SLOTS_PER_SECOND;
        let (sent, late) = self.slots(slots);
        let cpu = cpu::used_ns(relay)? - cpu_before;
        let forwarded = self.seen.packets - before;
        // What is still under way at the end was sent in time; it is waited for.
        let due = clock::monotonic() + GRACE;
        while clock::monotonic() < due {
            self.receive();
        }
        let mut latency = std::mem::take(&mut self.seen.latency_ns);
        latency.sort_unstable();
        let percentile = |share: usize| {
            let at = latency.len() * share / 100;
            latency.get(at).map_or(f64::NAN, |&ns| ns as f64 / 1e3)
        };
        Ok(Measured {
            sent,
            received: latency.len() as u64,
            cpu_us_per_packet: cpu as f64 / 1e3 / forwarded as f64,
            latency_us_p50: percentile(50),
            latency_us_p99: percentile(99),
            late_share: f64::from(late) / f64::from(slots),
        })
    }

    /// Sends for so many slots; says how many packets, and in how many slots it came too late.
    fn slots(&mut self, slots: u32) -> (u64, u32) {
        let start = clock::monotonic();
        let (mut sent, mut late) = (0, 0);
        let per_round = SLOTS_PER_ROUND as usize;
        for slot in 0..slots {
            late += u32::from(!clock::sleep_until(start + SLOT * slot));
            let place = slot as usize % per_round;
            let flows = self.flows.len();
            for at in place * flows / per_round..(place + 1) * flows / per_round {
                sent += u64::from(self.send(self.order[at]));
            }
            self.receive();
        }
        (sent, late)
    }

    fn send(&mut self, index: usize) -> bool {
        let flow = &mut self.flows[index];
        let sequence = flow.sequence;
        flow.sequence = sequence.wrapping_add(1);
        let mut slot = PacketBuf::new();
        slot.set_len(12 + 160);
        let packet = slot.packet_mut();
        packet[..2].copy_from_slice(&[0x80, 8]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&(FIRST_SSRC + index as u32).to_be_bytes());
        if let Some(sender) = &mut flow.protect
            && sender.protect(&mut slot).is_err()
        {
            return false;
        }
        // A packet of the warm-up does not count when it comes.
        flow.sent_ns[usize::from(sequence) % REMEMBERED] =
            if self.seen.counting { clock::wall_ns() } else { 0 };
        sys::send(self.sockets[flow.from].as_raw_fd(), slot.packet(), &flow.to)
    }

    /// Takes all that has arrived. SSRC and sequence number are in clear in SRTP too.
    fn receive(&mut self) {
        let mut packet = [0; 2048];
        for socket in &self.sockets {
            while let Some((len, at_ns, _)) = sys::receive_stamped(socket.as_raw_fd(), &mut packet)
            {
                if len < 12 || packet[1] & 0x7f != 8 {
                    continue; // RTCP of the relay's own
                }
                let sequence = u16::from_be_bytes([packet[2], packet[3]]);
                let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
                let flow = self.flows.get_mut(ssrc.wrapping_sub(FIRST_SSRC) as usize);
                let Some(flow) = flow else { continue };
                self.seen.packets += 1;
                let sent_ns = &mut flow.sent_ns[usize::from(sequence) % REMEMBERED];
                if *sent_ns != 0 {
                    self.seen.latency_ns.push(at_ns.saturating_sub(std::mem::take(sent_ns)));
                }
            }
        }
    }
}

fn coprime(a: usize, b: usize) -> bool {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

/// Packets leave in slots of 200 us, as a network card would hand them over that gathers interrupts.
const SLOT: Duration = Duration::from_micros(200);
const SLOTS_PER_SECOND: u32 = 5_000;
/// In 20 ms, each flow has one packet.
const SLOTS_PER_ROUND: u32 = 100;
/// Half a second, in which the relay latches and memory is touched for the first time.
const WARM_UP_SLOTS: u32 = SLOTS_PER_SECOND / 2;
/// A packet that takes longer than this counts as lost.
const GRACE: Duration = Duration::from_millis(200);
/// Packets per flow whose time of sending is known; more than a second's.
const REMEMBERED: usize = 64;
/// Sockets per side: one each would make the far side the bottleneck.
const SOCKETS: usize = 8;
const RECEIVE_BUFFER: i32 = 4 << 20;
const FIRST_SSRC: u32 = 0x1000_0000;
