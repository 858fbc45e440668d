//! Both far sides of every call: 50 packets a second each way, and what becomes of them.

use crate::clock;
use media::{PacketBuf, srtp};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Everybody who talks.
pub(super) struct FarSides {
    /// Of legs A, then of legs B; calls share them in turn.
    sockets: Vec<UdpSocket>,
    flows: Vec<Flow>,
    heard: Heard,
    /// A packet that takes longer is lost.
    pub(super) grace: Duration,
}

/// One direction of a call.
struct Flow {
    from: usize,
    to: SocketAddr,
    sequence: u16,
    protect: Option<srtp::Sender>,
    sent: [Option<Instant>; REMEMBERED],
}

/// What has come through since it was last asked.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// How long packets took, as far as can be seen from outside of the kernel.
    pub(super) took: Vec<Duration>,
    /// Slots, and those that began too late as this thread had no processor.
    pub(super) slots: u32,
    pub(super) late: u32,
}

impl FarSides {
    pub(super) fn new() -> io::Result<Self> {
        let socket = |_| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            // What the system's bound does not allow is as much as there can be.
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        let sockets = (0..2 * SOCKETS).map(socket).collect::<io::Result<_>>()?;
        Ok(Self { sockets, flows: Vec::new(), heard: Heard::default(), grace: GRACE })
    }

    /// Where the far side of a leg (0 or 1) is.
    pub(super) fn address(&self, call: usize, side: usize) -> io::Result<SocketAddr> {
        self.sockets[side * SOCKETS + call % SOCKETS].local_addr()
    }

    /// A call begins whose legs are at `legs`; leg B's far side speaks SRTP if it has a sender.
    pub(super) fn add(&mut self, call: usize, legs: [SocketAddr; 2], b: Option<srtp::Sender>) {
        for (side, (to, protect)) in legs.into_iter().zip([None, b]).enumerate() {
            let from = side * SOCKETS + call % SOCKETS;
            self.flows.push(Flow { from, to, sequence: 0, protect, sent: [None; REMEMBERED] });
        }
    }

    /// Everybody talks for so long.
    pub(super) fn talk(&mut self, time: Duration) -> Heard {
        let begin = clock::now().mono;
        let slots = (time.as_nanos() / SLOT.as_nanos()) as u32;
        for slot in 0..slots {
            let due = begin + SLOT * slot;
            let now = clock::now().mono;
            match due.checked_duration_since(now) {
                Some(early) if !early.is_zero() => clock::pause(early),
                _ => self.heard.late += u32::from(now > due + SLOT),
            }
            let (flows, place) = (self.flows.len(), (slot % SLOTS_PER_ROUND) as usize);
            let rounds = SLOTS_PER_ROUND as usize;
            for flow in place * flows / rounds..(place + 1) * flows / rounds {
                // Neighbours in time are not neighbours in memory, as on any host.
                self.send(flow * STRIDE % flows);
            }
            self.receive();
        }
        self.heard.slots += slots;
        self.linger();
        std::mem::take(&mut self.heard)
    }

    /// Takes what is still under way.
    fn linger(&mut self) {
        let end = clock::now().mono + self.grace;
        while self.heard.received < self.heard.sent {
            // What came while this thread had no processor is not lost.
            let over = clock::now().mono >= end;
            self.receive();
            if over {
                return;
            }
            clock::pause(SLOT);
        }
    }

    fn send(&mut self, index: usize) {
        let Some(flow) = self.flows.get_mut(index) else { return };
        let sequence = flow.sequence;
        flow.sequence = sequence.wrapping_add(1);
        let mut slot = PacketBuf::new();
        slot.set_len(12 + 160);
        let packet = slot.packet_mut();
        packet[..2].copy_from_slice(&[0x80, 8]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&(FIRST_SSRC + index as u32).to_be_bytes());
        if flow.protect.as_mut().is_some_and(|sender| sender.protect(&mut slot).is_err()) {
            return;
        }
        flow.sent[usize::from(sequence) % REMEMBERED] = Some(clock::now().mono);
        let sent = self.sockets[flow.from].send_to(slot.packet(), flow.to);
        self.heard.sent += u64::from(sent.is_ok());
    }

    /// SSRC and sequence number are in clear in SRTP, too.
    fn receive(&mut self) {
        let mut packet = [0; 2048];
        for socket in &self.sockets {
            while let Ok(len) = socket.recv(&mut packet) {
                if len < 12 || packet[1] & 0x7f != 8 {
                    continue; // RTCP of the engine's own
                }
                let sequence = u16::from_be_bytes([packet[2], packet[3]]);
                let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
                let flow = self.flows.get_mut(ssrc.wrapping_sub(FIRST_SSRC) as usize);
                let Some(flow) = flow else { continue };
                let sent = flow.sent[usize::from(sequence) % REMEMBERED].take();
                if let Some(sent) = sent {
                    self.heard.received += 1;
                    self.heard.took.push(clock::now().mono.saturating_duration_since(sent));
                }
            }
        }
    }
}

impl Heard {
    /// So many percent of the packets took no longer.
    pub(super) fn percentile(&mut self, percent: usize) -> Duration {
        self.took.sort_unstable();
        self.took.get(self.took.len() * percent / 100).copied().unwrap_or_default()
    }

    /// The share of what was sent that never came.
    pub(super) fn lost(&self) -> f64 {
        self.sent.saturating_sub(self.received) as f64 / self.sent.max(1) as f64
    }

    /// The share of slots that began late.
    pub(super) fn late(&self) -> f64 {
        f64::from(self.late) / f64::from(self.slots.max(1))
    }
}

/// Packets leave in slots of this length, as a network card hands them over that gathers interrupts.
const SLOT: Duration = Duration::from_micros(200);
/// In 20 ms each flow has one packet.
const SLOTS_PER_ROUND: u32 = 100;
/// A prime, which shares no factor with a number of flows below it.
const STRIDE: usize = 1_000_003;
/// Ten times what a receiver's jitter buffer waits for.
const GRACE: Duration = Duration::from_millis(200);
/// Packets of a flow whose time is known: more than a second of them.
const REMEMBERED: usize = 64;
/// Sockets per side: with one, the far side would be what is measured.
const SOCKETS: usize = 8;
const RECEIVE_BUFFER: usize = 4 << 20;
const FIRST_SSRC: u32 = 0x1000_0000;
