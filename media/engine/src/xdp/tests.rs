//! The engine by itself, on a cable between two network namespaces, without threads of its own.

use super::socket::{Mode, RING, SEND_RING};
use super::*;
use crate::kernel::Queue;
use crate::namespace::{Namespace, skipped};
use crate::portable::Portable;
use crate::sys::Bell;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

mod wrong;

/// Sockets, and the kernel is told which ports they have.
struct Below {
    sockets: Portable,
    bell: Arc<Bell>,
    kernel: Arc<Mutex<Kernel>>,
    worker: usize,
    ports: Vec<(PortId, SocketAddr)>,
    routes: Routes,
}

impl super::Below for Below {
    fn routes(&mut self) -> &mut Routes {
        &mut self.routes
    }
}

impl Below {
    fn new(kernel: &Arc<Mutex<Kernel>>, worker: usize) -> Self {
        let bell = Arc::new(Bell::new().unwrap());
        let sockets = Portable::new(Arc::clone(&bell), "".into()).unwrap();
        let (ports, routes) = (Vec::new(), Routes::new().unwrap());
        Self { sockets, bell, kernel: Arc::clone(kernel), worker, ports, routes }
    }
}

impl PacketIo for Below {
    fn open(&mut self, port: PortId, at: SocketAddr, dscp: u8) -> io::Result<()> {
        self.sockets.open(port, at, dscp)?;
        self.kernel.lock().unwrap().take_port(at, self.worker).unwrap();
        self.ports.push((port, at));
        Ok(())
    }
    fn close(&mut self, port: PortId) {
        self.sockets.close(port);
        for (_, at) in self.ports.extract_if(.., |(open, _)| *open == port) {
            self.kernel.lock().unwrap().leave_port(at, self.worker);
        }
    }
    fn receive(&mut self, batch: &mut Batch) -> bool {
        self.routes.follow();
        self.sockets.receive(batch)
    }
    fn send(&mut self, batch: &mut Batch) {
        self.sockets.send(batch);
    }
    fn await_ring(&mut self) {
        self.bell.await_ring();
    }
    fn wait(&mut self) {}
    fn ready_at(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.sockets.ready_at()
    }
    fn carries(&self, port: PortId) -> Carried {
        self.sockets.carries(port)
    }
    fn faults(&self) -> Faults {
        self.sockets.faults()
    }
}

/// An engine with its batch.
struct Plane {
    xdp: Xdp,
    batch: Batch,
}

// SAFETY: its packets point into its own pool and its own frames, which nothing binds to a thread.
unsafe impl Send for Plane {}

const PATIENCE: Duration = Duration::from_secs(10);
const PORT: PortId = PortId { address: 0, number: 20_000 };

impl Plane {
    fn new() -> Self {
        Self::of(&Arc::new(Mutex::new(Kernel::load().unwrap())), (0, 1))
    }

    fn of(kernel: &Arc<Mutex<Kernel>>, of: (usize, usize)) -> Self {
        Self::with_media(kernel, of, &[])
    }

    fn with_media(
        kernel: &Arc<Mutex<Kernel>>,
        (worker, workers): (usize, usize),
        media: &[IpAddr],
    ) -> Self {
        let below = Box::new(Below::new(kernel, worker));
        let bell = Arc::clone(&below.bell);
        let part = Part { worker, workers, generic: true, media: media.into() };
        let xdp = Xdp::new(below, bell, Arc::clone(kernel), part);
        Self { xdp, batch: Batch::new() }
    }

    fn open(&mut self, port: PortId, ip: &str) -> SocketAddr {
        let at = SocketAddr::new(ip.parse().unwrap(), port.number);
        self.xdp.open(port, at, 46).unwrap();
        at
    }

    /// Receives until there is something.
    fn receive(&mut self) -> usize {
        let end = now() + PATIENCE;
        loop {
            self.turn();
            match self.batch.packets().len() {
                0 => assert!(now() < end, "nothing has come"),
                count => return count,
            }
        }
    }

    fn turn(&mut self) {
        self.batch.clear();
        self.xdp.receive(&mut self.batch);
    }

    /// Sends back what is in the batch; how many came here and not below.
    fn echo(&mut self) -> usize {
        let mut here = 0;
        for packet in self.batch.packets_mut() {
            packet.send = true;
            here += usize::from(packet.lent().is_some());
        }
        self.xdp.send(&mut self.batch);
        here
    }

    fn account(&self) -> [usize; 3] {
        self.xdp.frames.account(Mode::Copy)
    }

    /// Turns until the kernel has given back what was sent.
    fn settle(&mut self) {
        let end = now() + PATIENCE;
        while self.account()[2] > 0 {
            assert!(now() < end, "frames never came back: {:?}", self.account());
            self.xdp.frames.turn();
            self.xdp.frames.kick();
        }
        let [free, waiting, _] = self.account();
        assert_eq!(free + waiting, frames::FRAMES);
    }

    /// One packet of a far side there and back, so that the kernel knows it and the engine does, too.
    fn greet(&mut self, far: &UdpSocket, at: SocketAddr) {
        far.send_to(b"hello", at).unwrap();
        self.receive();
        self.echo();
        hears(far, b"hello", at);
        self.xdp.look_around();
    }

    /// Looks around until there are sockets again: the kernel gives a queue up only after a while.
    fn attach(&mut self) {
        let end = now() + PATIENCE;
        while self.account()[1] == 0 {
            assert!(now() < end, "{:?}", self.xdp.attached);
            self.xdp.look_around();
        }
    }

    /// Whether the next packet from there comes by a ring, and whether its answer leaves by one.
    fn by_ring(&mut self, far: &UdpSocket, at: SocketAddr) -> (bool, bool) {
        far.send_to(b"by which way?", at).unwrap();
        self.receive();
        let here = self.echo() == 1;
        hears(far, b"by which way?", at);
        (here, self.xdp.carries(PORT).by == Datapath::Xdp)
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has to give up at some time")]
fn now() -> Instant {
    Instant::now()
}

/// A host and a far side with a cable between them, `10.7.0.1` and `10.7.0.2`, `fd07::1` and `fd07::2`.
struct Lab {
    ours: Namespace,
    theirs: Namespace,
}

impl Lab {
    fn new() -> Option<Self> {
        let lab = Self { ours: Namespace::new()?, theirs: Namespace::new()? };
        if let Err(error) = Kernel::load() {
            skipped(&error.to_string());
            return None;
        }
        lab.ours.cable("o0", &lab.theirs, "t0");
        lab.addresses();
        Some(lab)
    }

    fn addresses(&self) {
        for (side, device, number) in [(&self.ours, "o0", 1), (&self.theirs, "t0", 2)] {
            side.ip(&format!("addr add 10.7.0.{number}/24 dev {device}"));
            side.ip(&format!("addr add fd07::{number}/64 dev {device} nodad"));
            side.ip(&format!("link set {device} up"));
        }
    }

    /// Sends frames as they are from the far side's end of the cable.
    fn raw(&self) -> Raw {
        self.theirs.run(|| Raw::new("t0"))
    }

    /// The headers that the far side's packets from `from` to `to` have.
    fn headers(&self, from: SocketAddr, to: SocketAddr) -> Template {
        self.theirs.run(move || {
            let end = now() + PATIENCE;
            let mut routes = Routes::new().unwrap();
            // What the kernel sends has it ask for the neighbour.
            UdpSocket::bind((from.ip(), 0)).unwrap().send_to(&[], (to.ip(), 9)).unwrap();
            loop {
                routes.follow();
                if let Hop::Ready(link) = routes.hop(from.ip(), to.ip()) {
                    return Template::new(Some(&link), from, to, 0).unwrap();
                }
                assert!(now() < end, "no way to {to}");
            }
        })
    }

    /// A far side's socket.
    fn far(&self, ip: &str) -> UdpSocket {
        let ip = ip.to_owned();
        self.theirs.run(move || {
            let socket = UdpSocket::bind((ip.as_str(), 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
    }
}

/// A socket for whole frames on an interface.
struct Raw(socket2::Socket);

impl Raw {
    fn new(device: &str) -> Self {
        let kind = socket2::Domain::from(libc::AF_PACKET);
        let socket = socket2::Socket::new(kind, socket2::Type::RAW, None).unwrap();
        let mut name = socket2::SockAddrStorage::zeroed();
        let device = std::ffi::CString::new(device).unwrap();
        // SAFETY: any octets are an address of this family, and the storage has room for one.
        let name = unsafe {
            let packet = name.view_as::<libc::sockaddr_ll>();
            packet.sll_family = libc::AF_PACKET as u16;
            packet.sll_ifindex = libc::if_nametoindex(device.as_ptr()) as i32;
            socket2::SockAddr::new(name, size_of::<libc::sockaddr_ll>() as libc::socklen_t)
        };
        socket.bind(&name).unwrap();
        Self(socket)
    }

    fn send(&self, frame: &[u8]) {
        assert_eq!(self.0.send(frame).unwrap(), frame.len());
    }
}

/// A whole frame.
fn frame(headers: &Template, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; headers.len() + payload.len()];
    let (room, rest) = frame.split_at_mut(headers.len());
    rest.copy_from_slice(payload);
    headers.write(room, payload, 1);
    frame
}

fn hears(socket: &UdpSocket, expected: &[u8], from: SocketAddr) {
    let mut buffer = [0; 2048];
    let (len, source) = socket.recv_from(&mut buffer).expect("a packet");
    assert_eq!((&buffer[..len], source), (expected, from));
}

#[test]
fn a_packet_comes_and_goes_in_its_frame_over_ipv4() {
    there_and_back("10.7.0.1", "10.7.0.2");
}

#[test]
fn a_packet_comes_and_goes_in_its_frame_over_ipv6() {
    there_and_back("fd07::1", "fd07::2");
}

fn there_and_back(near: &'static str, far: &str) {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far(far);
    let raw = lab.raw();
    let whole =
        lab.headers(far.local_addr().unwrap(), (near.parse::<IpAddr>().unwrap(), 20_000).into());
    lab.ours.run(move || {
        let mut plane = Plane::new();
        let at = plane.open(PORT, near);
        plane.greet(&far, at);
        for len in [0, 1, 12, 172, 1200] {
            let payload: Vec<u8> = (0..len).map(|octet| octet as u8).collect();
            // The far side's kernel leaves the checksum to the card; a router would not have.
            for by_kernel in [true, false] {
                if by_kernel {
                    far.send_to(&payload, at).unwrap();
                } else {
                    raw.send(&frame(&whole, &payload));
                }
                assert_eq!(plane.receive(), 1);
                let packet = &plane.batch.packets()[0];
                assert_eq!((packet.port, packet.peer), (PORT, far.local_addr().unwrap()));
                assert_eq!(packet.slot().packet(), payload);
                assert_eq!(plane.echo(), 1);
                let carried = plane.xdp.carries(PORT);
                assert_eq!(carried.by, Datapath::Xdp, "{carried:?}");
                hears(&far, &payload, at);
            }
        }
        plane.settle();
        assert_eq!(plane.xdp.faults(), Faults::default());
    });
}

#[test]
fn a_packet_leaves_with_longer_headers_than_it_came_with() {
    let Some(lab) = Lab::new() else { return };
    let (four, six) = (lab.far("10.7.0.2"), lab.far("fd07::2"));
    lab.ours.run(move || {
        let other = PortId { address: 1, number: 20_002 };
        let mut plane = Plane::new();
        let (at_four, at_six) = (plane.open(PORT, "10.7.0.1"), plane.open(other, "fd07::1"));
        plane.greet(&four, at_four);
        plane.greet(&six, at_six);
        let payload = [7; 1400];
        for (from, at, to, out, by) in
            [(&four, at_four, &six, other, at_six), (&six, at_six, &four, PORT, at_four)]
        {
            from.send_to(&payload, at).unwrap();
            plane.receive();
            let free = plane.account()[0];
            let packet = &mut plane.batch.packets_mut()[0];
            (packet.port, packet.peer) = (out, to.local_addr().unwrap());
            // As much longer as SRTP makes it.
            packet.slot_mut().set_len(payload.len() + 10);
            packet.slot_mut().packet_mut()[payload.len()..].fill(9);
            plane.echo();
            assert_eq!(plane.account()[0], free, "it was copied");
            hears(to, &[&payload[..], &[9; 10]].concat(), by);
        }
        plane.settle();
    });
}

#[test]
fn a_tag_in_front_of_a_packet_is_in_the_way() {
    let Some(lab) = Lab::new() else { return };
    let (far, raw) = (lab.far("10.7.0.2"), lab.raw());
    let headers = lab.headers(far.local_addr().unwrap(), "10.7.0.1:20000".parse().unwrap());
    lab.ours.run(move || {
        let mut plane = Plane::new();
        plane.open(PORT, "10.7.0.1");
        let mut tagged = frame(&headers, b"tagged");
        tagged.splice(12..12, [0x81, 0, 0, 7]);
        raw.send(&tagged);
        assert_eq!(plane.receive(), 1);
        assert_eq!(plane.batch.packets()[0].slot().packet(), b"tagged");
        // Two tags are not for us, and nobody else wants them here.
        tagged.splice(12..12, [0x88, 0xa8, 0, 8]);
        raw.send(&tagged);
        raw.send(&frame(&headers, b"plain"));
        plane.receive();
        assert_eq!(plane.batch.packets()[0].slot().packet(), b"plain");
        assert_eq!(plane.batch.packets().len(), 1);
    });
}

#[test]
fn the_first_call_waits_for_a_driver() {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far("10.7.0.2");
    lab.ours.run(move || {
        let kernel = Arc::new(Mutex::new(Kernel::load().unwrap()));
        let mut plane = Plane::with_media(&kernel, (0, 1), &["10.7.0.1".parse().unwrap()]);
        assert_eq!(plane.account()[1], frames::FILL_FIRST as usize, "before there is a port");
        let at = plane.open(PORT, "10.7.0.1");
        assert_eq!(plane.account()[1], frames::FILL_FIRST as usize);
        plane.greet(&far, at);
        plane.settle();
    });
}

#[test]
fn a_packet_is_lost_as_soon_as_the_kernel_knows_of_a_queue() {
    let Some(lab) = Lab::new() else { return };
    lab.ours.run(move || {
        let device = c"o0";
        // SAFETY: a name that ends.
        let interface = unsafe { libc::if_nametoindex(device.as_ptr()) };
        let mut frames = frames::Frames::new();
        frames.open(Queue { interface, number: 0 }, Mode::Copy).unwrap();
        assert_eq!(frames.account(Mode::Copy)[1], frames::FILL_MIN);
    });
}

#[test]
fn a_driver_without_zero_copy_costs_the_memory_of_one_that_has_it_as_well() {
    let Some(lab) = Lab::new() else { return };
    lab.ours.run(move || {
        // SAFETY: a name that ends.
        let interface = unsafe { libc::if_nametoindex(c"o0".as_ptr()) };
        let mut frames = frames::Frames::new();
        let opened = frames.open_fastest(Queue { interface, number: 0 }).unwrap();
        assert_eq!(opened, (0, Mode::Copy));
        let all = |mode| frames.account(mode).iter().sum::<usize>();
        assert_eq!([all(Mode::Copy), all(Mode::ZeroCopy)], [frames::FRAMES, 0]);
    });
}

#[test]
fn a_sleeping_worker_is_not_woken_by_a_packet() {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far("10.7.0.2");
    lab.ours.run(move || {
        let mut plane = Plane::new();
        let at = plane.open(PORT, "10.7.0.1");
        plane.greet(&far, at);
        // Nothing has come: it ends when it is to.
        plane.xdp.wait_at_most(Duration::from_millis(1));
        let begun = now();
        for way in ["ring", "stack"] {
            // The stack takes fragments.
            let len = if way == "ring" { 172 } else { 1480 };
            far.send_to(&vec![0; len], at).unwrap();
            plane.xdp.wait_at_most(PATIENCE);
            plane.turn();
            assert_eq!(plane.batch.packets().len(), 1, "by the {way}");
            plane.echo();
        }
        plane.xdp.await_ring();
        plane.xdp.bell.ring();
        plane.xdp.wait();
        assert!(now() - begun < PATIENCE);
    });
}

#[test]
fn what_comes_to_a_wildcard_comes_by_the_stack() {
    let Some(lab) = Lab::new() else { return };
    let (four, six) = (lab.far("10.7.0.2"), lab.far("fd07::2"));
    lab.ours.ip("addr add 10.7.0.8/24 dev o0");
    let later = |lab: &Lab| lab.ours.ip("addr add 10.7.0.9/24 dev o0");
    let mut plane = lab.ours.run(move || {
        let other = PortId { address: 1, number: 20_002 };
        let third = PortId { address: 2, number: 20_004 };
        let mut plane = Plane::new();
        plane.open(PORT, "0.0.0.0");
        plane.open(other, "::");
        // An address of its own beside the wildcard.
        plane.open(third, "10.7.0.8");
        for (far, at, port, from) in [
            (&four, "10.7.0.1:20000", PORT, "10.7.0.1:20000"),
            (&six, "[fd07::1]:20002", other, "[fd07::1]:20002"),
            // What leaves from a wildcard leaves from the address that the route prefers.
            (&four, "10.7.0.8:20000", PORT, "10.7.0.1:20000"),
            (&four, "10.7.0.8:20004", third, "10.7.0.8:20004"),
        ] {
            far.send_to(b"hello", at.parse::<SocketAddr>().unwrap()).unwrap();
            assert_eq!(plane.receive(), 1);
            assert_eq!(plane.batch.packets()[0].port, port, "{at}");
            assert_eq!(plane.echo(), 1, "{at}");
            hears(far, b"hello", from.parse().unwrap());
        }
        // Then it is one of all again.
        plane.xdp.close(third);
        four.send_to(b"hello", "10.7.0.8:20000").unwrap();
        assert_eq!(plane.receive(), 1);
        assert_eq!(plane.echo(), 1);
        hears(&four, b"hello", "10.7.0.1:20000".parse().unwrap());
        (plane, four)
    });
    later(&lab);
    lab.ours.run(move || {
        let (plane, far) = (&mut plane.0, &plane.1);
        plane.xdp.look_around();
        far.send_to(b"hello", "10.7.0.9:20000").unwrap();
        assert_eq!(plane.receive(), 1);
        assert_eq!(plane.echo(), 1);
        hears(far, b"hello", "10.7.0.1:20000".parse().unwrap());
        plane.settle();
    });
}

#[test]
fn a_packet_at_the_queue_of_another_worker_is_lost() {
    let Some(lab) = Lab::new() else { return };
    lab.ours.ip("link del o0");
    let queues = "numrxqueues 2 numtxqueues 2";
    lab.ours.ip(&format!("link add o0 {queues} type veth peer name t0 {queues}"));
    lab.ours.give("t0", &lab.theirs);
    lab.addresses();
    let far: Vec<UdpSocket> = (0..64).map(|_| lab.far("10.7.0.2")).collect();
    lab.ours.run(move || {
        let kernel = Arc::new(Mutex::new(Kernel::load().unwrap()));
        let mut planes = [0, 1].map(|worker| Plane::of(&kernel, (worker, 2)));
        let other = PortId { address: 0, number: 20_002 };
        let at = [planes[0].open(PORT, "10.7.0.1"), planes[1].open(other, "10.7.0.1")];
        for (plane, at) in planes.iter_mut().zip(at) {
            plane.greet(&far[0], at);
            let mut ways = [0, 0];
            for far in &far {
                far.send_to(b"hello", at).unwrap();
                assert_eq!(plane.receive(), 1);
                ways[plane.echo()] += 1;
                hears(far, b"hello", at);
            }
            // Each queue has its share of the far sides: its own worker's come by the ring.
            assert!(ways[0] > 0 && ways[1] > 0, "{ways:?}");
            plane.settle();
        }
    });
}
