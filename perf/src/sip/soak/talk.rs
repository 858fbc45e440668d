//! The far sides' speech: 50 packets a second in each direction of each call, and who hears what when.

use super::gaps::{Ear, Gap, Sent, Stall};
use crate::floor::{self, Floor};
use crate::{clock, sys};
use ::media::{PacketBuf, srtp};
use media::DropReason;
use sdp::SrtpKey;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a leg has agreed: where our packets go, and the keys of both directions.
pub(super) struct Agreed {
    /// Of the calls' near sides, then of their far sides.
    pub(super) leg: usize,
    /// 0: the near side, 1: the far side.
    pub(super) side: usize,
    pub(super) to: SocketAddrV4,
    /// Ours, theirs.
    pub(super) keys: Option<(SrtpKey, SrtpKey)>,
}

/// All streams of all calls.
pub(super) struct Talk {
    sockets: [Vec<UdpSocket>; 2],
    legs: Vec<Option<Leg>>,
    /// Which leg sends from this port of Tollgate's, by side.
    by_port: HashMap<(usize, u16), usize>,
    control: Control,
    orders: Receiver<Agreed>,
    progress: Arc<Mutex<Progress>>,
    seen: Progress,
}

/// One far side.
struct Leg {
    side: usize,
    socket: usize,
    to: SocketAddrV4,
    name: sys::Name,
    protect: Option<srtp::Sender>,
    unprotect: Option<srtp::Receiver>,
    sequence: u16,
    index: u64,
    sent: Vec<Sent>,
    ear: Ear,
    /// Whose voice is heard here.
    partner: Option<usize>,
}

/// What has been seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) streams: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) missing: u64,
    pub(super) late: u64,
    pub(super) longest_ns: u64,
    pub(super) gaps: Vec<Gap>,
    /// Packets that could not be opened, or came where nobody is, or hold another call's voice.
    pub(super) refused: u64,
    pub(super) strange: u64,
    pub(super) foreign: u64,
    /// Packets on a leg whose answer had not been read yet: an offerer hears them early (RFC 3264, 5.1).
    pub(super) early: u64,
    /// Times in which the plainest of relays held a packet up.
    pub(super) stalls: Vec<Stall>,
    /// Slots that began late, of all.
    pub(super) slots_late: u64,
    pub(super) slots: u64,
    pub(super) over: bool,
}

/// A stream through the floor, beside all others.
struct Control {
    _floor: Floor,
    from: UdpSocket,
    to: UdpSocket,
    name: sys::Name,
    sent: Vec<Sent>,
    index: u64,
}

impl Talk {
    /// Opens the far sides' sockets at these addresses.
    pub(super) fn new(
        calls: usize,
        sides: [Ipv4Addr; 2],
        orders: Receiver<Agreed>,
        progress: Arc<Mutex<Progress>>,
    ) -> io::Result<Self> {
        let open = |at: Ipv4Addr| (0..SOCKETS).map(|_| socket(at)).collect::<io::Result<Vec<_>>>();
        Ok(Self {
            sockets: [open(sides[0])?, open(sides[1])?],
            legs: (0..2 * calls).map(|_| None).collect(),
            by_port: HashMap::new(),
            control: Control::new(sides[0])?,
            orders,
            progress,
            seen: Progress::default(),
        })
    }

    /// The port of a leg's far side.
    pub(super) fn ports(&self) -> io::Result<[Vec<u16>; 2]> {
        let of = |sockets: &[UdpSocket]| -> io::Result<Vec<u16>> {
            sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect()
        };
        Ok([of(&self.sockets[0])?, of(&self.sockets[1])?])
    }

    /// Talks until it is told that everything is over; a slot of 200 us after another.
    pub(super) fn run(mut self) -> io::Result<()> {
        sys::sleep_precisely();
        let mut slot = 0_u64;
        let start = clock::monotonic();
        loop {
            let on_time =
                clock::sleep_until(start + SLOT * u32::try_from(slot).unwrap_or(u32::MAX));
            self.seen.slots += 1;
            self.seen.slots_late += u64::from(!on_time);
            while let Ok(agreed) = self.orders.try_recv() {
                self.agree(agreed)?;
            }
            let place = (slot % SLOTS_PER_ROUND) as usize;
            let (legs, per_round) = (self.legs.len(), SLOTS_PER_ROUND as usize);
            for leg in place * legs / per_round..(place + 1) * legs / per_round {
                // Both directions of a call do not leave together.
                self.send(leg * STRIDE % legs)?;
            }
            if slot.is_multiple_of(CONTROL_SLOTS) {
                self.control.send();
            }
            self.receive();
            self.control.receive(&mut self.seen.stalls);
            if slot.is_multiple_of(PUBLISH_SLOTS) && self.publish() {
                return Ok(());
            }
            slot += 1;
        }
    }

    /// Tells how far we are; true if it is over.
    fn publish(&mut self) -> bool {
        self.seen.streams = self.legs.iter().flatten().count() as u64;
        let ears = || self.legs.iter().flatten().map(|leg| &leg.ear);
        self.seen.missing = ears().map(|ear| ear.missing).sum();
        self.seen.late = ears().map(|ear| ear.late).sum();
        self.seen.longest_ns = ears().map(|ear| ear.longest_ns).max().unwrap_or(0);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let over = progress.over;
        progress.clone_from(&self.seen);
        progress.over = over;
        over
    }

    fn agree(&mut self, agreed: Agreed) -> io::Result<()> {
        let Agreed { leg: at, side, to, keys } = agreed;
        let legs = self.legs.len();
        let slot = self.legs.get_mut(at).ok_or(io::ErrorKind::InvalidInput)?;
        if let Some(leg) = slot {
            // A session that goes on: the same place and the same keys, so no stream begins anew.
            if leg.to != to {
                self.by_port.remove(&(side, leg.to.port()));
                self.by_port.insert((side, to.port()), at);
                (leg.to, leg.name) = (to, sys::Name::new(to));
            }
            return Ok(());
        }
        let ssrc = FIRST_SSRC + at as u32;
        let (protect, unprotect) = match &keys {
            Some((ours, theirs)) => (
                Some(srtp::Sender::new(ours, ssrc)),
                Some(srtp::Receiver::new(std::slice::from_ref(theirs))),
            ),
            None => (None, None),
        };
        self.by_port.insert((side, to.port()), at);
        *slot = Some(Leg {
            side,
            socket: (at % (legs / 2)) % SOCKETS,
            to,
            name: sys::Name::new(to),
            protect,
            unprotect,
            // Below the half, as a sender is to begin (RFC 3711, 3.3.1); it wraps after half an hour's third.
            sequence: (at as u16).wrapping_mul(73) & 0x7fff,
            index: 0,
            sent: vec![Sent::default(); REMEMBERED],
            ear: Ear::default(),
            partner: None,
        });
        Ok(())
    }

    fn send(&mut self, at: usize) -> io::Result<()> {
        let Some(Some(leg)) = self.legs.get_mut(at) else { return Ok(()) };
        let mut slot = PacketBuf::new();
        slot.set_len(12 + 160);
        let packet = slot.packet_mut();
        packet[..2].copy_from_slice(&[0x80, PCMA]);
        packet[2..4].copy_from_slice(&leg.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&((leg.index * 160) as u32).to_be_bytes());
        packet[8..12].copy_from_slice(&(FIRST_SSRC + at as u32).to_be_bytes());
        packet[12..16].copy_from_slice(&(at as u32).to_be_bytes());
        packet[16..24].copy_from_slice(&leg.index.to_be_bytes());
        packet[24..].fill(SILENCE);
        if let Some(protect) = &mut leg.protect {
            protect.protect(&mut slot).map_err(|it| io::Error::other(format!("{it:?}")))?;
        }
        let before_ns = clock::wall_ns();
        sys::send(self.sockets[leg.side][leg.socket].as_raw_fd(), slot.packet(), &leg.name);
        let after_ns = clock::wall_ns();
        leg.sent[leg.index as usize % REMEMBERED] = Sent { before_ns, after_ns };
        leg.sequence = leg.sequence.wrapping_add(1);
        leg.index += 1;
        self.seen.sent += 1;
        Ok(())
    }

    fn receive(&mut self) {
        let mut slot = PacketBuf::new();
        for side in 0..2 {
            for socket in 0..SOCKETS {
                let fd = self.sockets[side][socket].as_raw_fd();
                loop {
                    slot.set_len(MTU);
                    let Some((len, at_ns, port)) = sys::receive_stamped(fd, slot.packet_mut())
                    else {
                        break;
                    };
                    slot.set_len(len);
                    self.take(side, port, at_ns, &mut slot);
                }
            }
        }
    }

    fn take(&mut self, side: usize, port: u16, at_ns: u64, slot: &mut PacketBuf) {
        if slot.packet().get(1).is_none_or(|second| (192..=223).contains(second)) {
            return; // RTCP
        }
        let known = self.by_port.get(&(side, port)).copied();
        let Some(Some(leg)) = known.map(|at| self.legs.get_mut(at).and_then(Option::as_mut)) else {
            // Of nobody only once everybody is known.
            let all_up = self.legs.iter().all(Option::is_some);
            *(if all_up { &mut self.seen.strange } else { &mut self.seen.early }) += 1;
            return;
        };
        let opened = leg.unprotect.as_mut().map_or(Ok(()), |it| it.unprotect(slot).map(drop));
        if let Err(reason) = opened {
            // What came twice is no fault of anybody's but counted.
            self.seen.refused += u64::from(reason != DropReason::Replay);
            return;
        }
        let packet = slot.packet();
        let (Some(voice), Some(index)) = (packet.get(12..16), packet.get(16..24)) else {
            self.seen.strange += 1;
            return;
        };
        let voice = u32::from_be_bytes([voice[0], voice[1], voice[2], voice[3]]) as usize;
        let index = u64::from_be_bytes(std::array::from_fn(|at| index[at]));
        if *leg.partner.get_or_insert(voice) != voice {
            self.seen.foreign += 1;
            return;
        }
        let Some(sent) = self
            .legs
            .get(voice)
            .and_then(Option::as_ref)
            .map(|it| it.sent.get(index as usize % REMEMBERED).copied().unwrap_or_default())
        else {
            self.seen.strange += 1;
            return;
        };
        self.seen.received += 1;
        let leg = known.and_then(|at| self.legs.get_mut(at).and_then(Option::as_mut));
        let gap = leg.and_then(|leg| leg.ear.hear(index, at_ns, sent));
        if self.seen.gaps.len() < KEPT {
            self.seen.gaps.extend(gap);
        }
    }
}

impl Control {
    fn new(at: Ipv4Addr) -> io::Result<Self> {
        let (from, to) = (socket(at)?, socket(at)?);
        let address = |socket: &UdpSocket| match socket.local_addr()? {
            std::net::SocketAddr::V4(address) => Ok(address),
            std::net::SocketAddr::V6(_) => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
        };
        let bind = |_| -> io::Result<SocketAddrV4> { address(&socket(at)?) };
        let (near, far) = (bind(0)?, bind(1)?);
        let legs = [
            floor::Leg { bind: near, far_side: address(&from)? },
            floor::Leg { bind: far, far_side: address(&to)? },
        ];
        let floor = Floor::start(&[vec![legs]])?;
        let sent = vec![Sent::default(); REMEMBERED];
        Ok(Self { _floor: floor, from, to, name: sys::Name::new(near), sent, index: 0 })
    }

    fn send(&mut self) {
        let before_ns = clock::wall_ns();
        sys::send(self.from.as_raw_fd(), &self.index.to_be_bytes(), &self.name);
        let after_ns = clock::wall_ns();
        self.sent[self.index as usize % REMEMBERED] = Sent { before_ns, after_ns };
        self.index += 1;
    }

    fn receive(&mut self, stalls: &mut Vec<Stall>) {
        let mut packet = [0; 64];
        while let Some((len, at_ns, _)) = sys::receive_stamped(self.to.as_raw_fd(), &mut packet) {
            let Some(index) = packet.get(..len).and_then(|it| it.try_into().ok()) else { continue };
            let sent = self.sent[u64::from_be_bytes(index) as usize % REMEMBERED];
            let waited_ns = at_ns.saturating_sub(sent.after_ns);
            let began_ns = sent.after_ns;
            // Those behind the first of a stall waited in the same time.
            let known = stalls.last().is_some_and(|last| began_ns < last.ended_ns);
            if waited_ns > STALL_NS && !known && stalls.len() < KEPT {
                stalls.push(Stall { began_ns, ended_ns: at_ns, waited_ns });
            }
        }
    }
}

fn socket(at: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((at, 0))?;
    socket.set_nonblocking(true)?;
    sys::stamp_arrivals(socket.as_raw_fd(), RECEIVE_BUFFER)?;
    Ok(socket)
}

const PCMA: u8 = 8;
/// A-law, as far as anybody listens.
const SILENCE: u8 = 0xd5;
const MTU: usize = 1500;
/// Packets leave in slots, as a network card would hand them over that gathers interrupts.
const SLOT: Duration = Duration::from_micros(200);
const SLOTS_PER_ROUND: u64 = 100;
/// Five milliseconds.
const CONTROL_SLOTS: u64 = 25;
/// A tenth of a second.
const PUBLISH_SLOTS: u64 = 500;
/// Shares no factor with any number of legs up to its own.
const STRIDE: usize = 7919;
/// Packets of a stream whose time of sending is known: five seconds.
const REMEMBERED: usize = 256;
/// Sockets of a side: one for each leg would make the far side the bottleneck.
const SOCKETS: usize = 8;
const RECEIVE_BUFFER: i32 = 8 << 20;
const FIRST_SSRC: u32 = 0x2000_0000;
/// The floor forwards in less than a tenth of this on a machine that is not busy.
const STALL_NS: u64 = 5_000_000;
/// More of them say nothing that the first ones do not.
const KEPT: usize = 20_000;
