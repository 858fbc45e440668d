//! Several workers on the queues of a card, which a cable with two queues stands for: its other end chooses
//! the queue by the processor that a frame is sent from, as a card does by the rules it was given.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panic")]
#![expect(clippy::disallowed_methods, reason = "packets and the kernel have the time of a clock")]

mod rig;

use media_engine::{Carried, Config, Datapath, Engine, EngineKind, Event, LegPorts};
use rig::namespace::{Namespace, skipped};
use rig::{PATIENCE, far_side, id, receive, rtp, stream};
use sdp::PortBlocks;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

const WORKERS: usize = 2;
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const THEIR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A host with two workers, and far sides behind cables from it.
struct Lab {
    engine: Engine,
    events: Receiver<Event>,
    calls: Vec<Call>,
    theirs: Namespace,
    ours: Namespace,
}

/// A call of one worker, by one cable.
struct Call {
    worker: usize,
    cable: u8,
    ours: [SocketAddr; 2],
    theirs: [UdpSocket; 2],
    next: u16,
}

impl Lab {
    /// Over so many cables; `None` where this process, or the machine, cannot have them.
    fn new(cables: u8) -> Option<Self> {
        if std::thread::available_parallelism().map_or(1, usize::from) < WORKERS {
            skipped("second processor");
            return None;
        }
        let (ours, theirs) = (Namespace::new()?, Namespace::new()?);
        for cable in 0..cables {
            let queues = format!("numrxqueues {WORKERS} numtxqueues {WORKERS}");
            ours.ip(&format!("link add o{cable} {queues} type veth peer name t{cable} {queues}"));
            ours.give(&format!("t{cable}"), &theirs);
            for (side, end, mac, number) in [(&ours, 'o', OUR_MAC, 1), (&theirs, 't', THEIR_MAC, 2)]
            {
                let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
                side.ip(&format!("link set {end}{cable} address {mac}"));
                side.ip(&format!("addr add 10.{cable}.0.{number}/24 dev {end}{cable}"));
                side.ip(&format!("link set {end}{cable} up"));
            }
        }
        let (tell, events) = channel();
        let config = Config {
            workers: WORKERS,
            engine: EngineKind::Xdp,
            media: (0..cables).map(|cable| address(cable, 1)).collect(),
            ..Config::default()
        };
        let engine = ours.run(move || {
            let tell = move |event| drop(tell.send(event));
            Engine::start(config, Box::new(tell)).unwrap()
        });
        let lab = Self { engine, events, calls: Vec::new(), theirs, ours };
        (0..cables).for_each(|cable| lab.know_each_other(cable));
        Some(lab)
    }

    /// So that nobody has to ask first.
    fn know_each_other(&self, cable: u8) {
        for (side, end, mac, number) in
            [(&self.ours, 'o', THEIR_MAC, 2), (&self.theirs, 't', OUR_MAC, 1)]
        {
            let (mac, ip) =
                (mac.map(|octet| format!("{octet:02x}")).join(":"), address(cable, number));
            side.ip(&format!("neigh replace {ip} lladdr {mac} dev {end}{cable} nud permanent"));
        }
    }

    /// A call of a worker, on ports that are the worker's.
    fn call(&mut self, worker: usize, cable: u8) {
        let number = self.calls.len() as u16;
        let blocks = PortBlocks::new(WORKERS);
        let mut ports = (20_000..).step_by(2).filter(|port| blocks.worker_of(*port) == worker);
        let before = self.calls.iter().filter(|call| call.worker == worker).count();
        let ports = [2 * before, 0].map(|skip| ports.nth(skip).unwrap());
        let near = address(cable, 1);
        let theirs = self.theirs.run(move || [(); 2].map(|()| far_side(address(cable, 2))));
        let [a, b] = ports.map(|rtp| LegPorts { bind: near, rtp, dscp: 46 });
        self.engine.open(id(number), worker, a, b, [7; 32]).unwrap();
        let [a, b] = [0, 1].map(|side: usize| Some(stream(&theirs[side], &theirs[side]).into()));
        self.engine.connect(id(number), worker, a, b).unwrap();
        let ours = ports.map(|port| SocketAddr::new(near, port));
        self.calls.push(Call { worker, cable, ours, theirs, next: 1 });
        self.carried(number.into());
    }

    /// Both sides of a call say something, which comes in at this queue, and hear each other.
    fn speak(&mut self, call: usize, queue: usize) {
        let Call { cable, ours, theirs, next, .. } = &mut self.calls[call];
        for (side, other) in [(0, 1), (1, 0)] {
            let packet = rtp(side as u32 + 1, *next);
            let frame = frame(theirs[side].local_addr().unwrap(), ours[side], &packet);
            let device = format!("t{cable}");
            self.theirs.run(move || send_from(queue, &device, &frame));
            assert_eq!(receive(&theirs[other]), (packet, ours[other]), "call {call}");
        }
        *next += 1;
    }

    fn carried(&self, call: usize) -> [Carried; 2] {
        let worker = self.calls[call].worker;
        self.engine.stats(id(call as u16), worker).unwrap();
        match self.events.recv_timeout(PATIENCE).unwrap() {
            Event::Stats { stats, carried, .. } => {
                assert_eq!((stats.a.lost_packets, stats.b.lost_packets), (0, 0));
                carried
            }
            other => panic!("{other:?} instead of counters"),
        }
    }

    fn is_by(&self, call: usize, datapath: Datapath) {
        let carried = self.carried(call);
        assert!(carried.iter().all(|leg| leg.by == datapath), "{carried:?}");
    }

    /// Each worker tells this once, and none of them anything else.
    fn each_tells(&self, whose: impl Fn(&Event) -> Option<usize>) {
        let mut told = [(); WORKERS].map(|()| {
            let event = self.events.recv_timeout(PATIENCE).unwrap();
            whose(&event).unwrap_or_else(|| panic!("{event:?}"))
        });
        told.sort_unstable();
        assert_eq!(told, [0, 1]);
    }

    /// Waits until workers have told of so many packets, and says how many of them came in elsewhere.
    fn astray(&self, received: u64) -> u64 {
        let start = Instant::now();
        // A worker looks about once a second and tells then: what it told before that counts for nothing.
        let before = self.engine.totals();
        loop {
            let totals = self.engine.totals();
            if totals.received >= received && (before.received < received || totals.astray > 0) {
                return totals.astray;
            }
            assert!(start.elapsed() < PATIENCE, "{totals:?}");
            std::thread::yield_now();
        }
    }
}

fn address(cable: u8, number: u8) -> IpAddr {
    Ipv4Addr::new(10, cable, 0, number).into()
}

/// A frame with a datagram of IPv4 without a checksum of UDP.
fn frame(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let ip = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => panic!("{ip}"),
    };
    let length = payload.len() as u16;
    let mut frame = [OUR_MAC, THEIR_MAC].concat();
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((length + 28).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(ip(from.ip()));
    frame.extend(ip(to.ip()));
    let words = frame[14..].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    for word in [from.port(), to.port(), length + 8, 0] {
        frame.extend(word.to_be_bytes());
    }
    frame.extend(payload);
    frame
}

/// Sends a frame from the processor of this number, so that it leaves by the queue of the same.
fn send_from(processor: usize, device: &str, frame: &[u8]) {
    // SAFETY: a set of processors is plain bits, and the calls get its size; the result of each is checked.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &raw const set), 0);
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        let fd = OwnedFd::from_raw_fd(fd);
        let on = 1_i32;
        let done = libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const on).cast(),
            4,
        );
        assert_eq!(done, 0);
        let mut to: libc::sockaddr_ll = std::mem::zeroed();
        to.sll_family = libc::AF_PACKET as u16;
        let device = std::ffi::CString::new(device).unwrap();
        to.sll_ifindex = libc::if_nametoindex(device.as_ptr()) as i32;
        let sent = libc::sendto(
            fd.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of_val(&to) as u32,
        );
        assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
    }
}

#[test]
fn a_packet_at_its_workers_queue_takes_a_detour_or_one_at_anothers_gets_lost() {
    let Some(mut lab) = Lab::new(1) else { return };
    for call in 0..8 {
        lab.call(call % WORKERS, 0);
    }
    for _ in 0..25 {
        for call in 0..8 {
            lab.speak(call, call % WORKERS);
        }
    }
    (0..8).for_each(|call| lab.is_by(call, Datapath::Xdp));
    assert_eq!(lab.astray(25 * 8 * 2), 0);
    for _ in 0..10 {
        for call in 0..8 {
            lab.speak(call, 1 - call % WORKERS);
        }
    }
    assert_eq!(lab.astray(35 * 8 * 2), 10 * 8 * 2);
    (0..8).for_each(|call| lab.is_by(call, Datapath::Xdp));
}

#[test]
fn an_interface_that_is_lost_takes_calls_elsewhere_with_it_or_is_lost_for_ever() {
    let Some(mut lab) = Lab::new(2) else { return };
    for worker in 0..WORKERS {
        lab.call(worker, worker as u8);
        lab.speak(worker, worker);
        lab.is_by(worker, Datapath::Xdp);
    }
    lab.ours.ip("link set o0 down");
    lab.each_tells(|event| match event {
        Event::FellBack { worker, to: Datapath::Steer, why, lost: 0 }
            if why == "o0: it is down" =>
        {
            Some(*worker)
        }
        _ => None,
    });
    for _ in 0..20 {
        lab.speak(1, 1);
    }
    lab.is_by(1, Datapath::Xdp);
    let [a, _] = lab.carried(0);
    assert_eq!((a.by, &*a.why_not_faster), (Datapath::Steer, "o0: it is down"));

    lab.ours.ip("link set o0 up");
    lab.know_each_other(0);
    lab.each_tells(|event| match event {
        Event::Regained { worker, by: Datapath::Xdp } => Some(*worker),
        _ => None,
    });
    for _ in 0..20 {
        lab.speak(0, 0);
    }
    lab.is_by(0, Datapath::Xdp);
}
