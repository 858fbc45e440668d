//! What goes wrong with packets, rings and interfaces.

use super::*;
use crate::namespace::{command, no_process_is_made};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_frame_is_not_accounted_for_after_100_000_packets() {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far("10.7.0.2");
    lab.ours.run(move || {
        let mut plane = Plane::new();
        let at = plane.open(PORT, "10.7.0.1");
        plane.greet(&far, at);
        let (mut received, mut sent) = (0, 0);
        while received < 100_000 {
            for number in 0..100_u8 {
                far.send_to(&[number; 172], at).unwrap();
            }
            loop {
                plane.turn();
                let count = plane.batch.packets().len();
                if count == 0 {
                    break;
                }
                // Every third is dropped, every seventh goes where nobody is known.
                for packet in plane.batch.packets_mut() {
                    assert!(packet.lent().is_some(), "by the stack");
                    received += 1;
                    packet.send = received % 3 != 0;
                    if received % 7 == 0 {
                        packet.peer = "10.7.0.99:9".parse().unwrap();
                    } else {
                        sent += usize::from(packet.send);
                    }
                }
                plane.xdp.send(&mut plane.batch);
            }
            far.set_nonblocking(true).unwrap();
            while far.recv(&mut [0; 256]).is_ok() {
                sent -= 1;
            }
        }
        assert_eq!(sent, 0, "packets that never came");
        plane.settle();
        assert_eq!(plane.xdp.faults().receive, 0);
    });
}

#[test]
fn a_worker_that_was_held_up_is_as_short_of_frames_the_next_time_or_for_ever_keeps_too_many() {
    let Some(lab) = Lab::new() else { return };
    let raw = lab.raw();
    let headers = lab.headers("10.7.0.2:9".parse().unwrap(), "10.7.0.1:20000".parse().unwrap());
    let whole = frame(&headers, &[5; 172]);
    lab.ours.run(move || {
        let mut plane = Plane::new();
        plane.open(PORT, "10.7.0.1");
        // So many come while nobody looks, and then they are taken.
        let held_up = move |plane: &mut Plane, packets: u32| {
            let mut awaited = packets.min(plane.account()[1] as u32);
            (0..packets).for_each(|_| raw.send(&whole));
            while awaited > 0 {
                awaited -= plane.receive() as u32;
                plane.xdp.send(&mut plane.batch);
            }
            plane.turn();
            plane.account()[1] as u32
        };
        let first = frames::FILL_FIRST;
        assert_eq!(held_up(&mut plane, 64), first, "as ever");
        assert_eq!(held_up(&mut plane, first / 4 + 1), 2 * first, "a little late");
        assert_eq!(held_up(&mut plane, first), 4 * first, "more");
        held_up(&mut plane, 5 * first);
        assert!(plane.xdp.frames.look_around() > 0, "more than there were");
        assert_eq!(held_up(&mut plane, 64), RING);
        for _ in 0..3 * frames::CALM {
            plane.xdp.frames.look_around();
        }
        assert_eq!(held_up(&mut plane, 64), RING - 64, "what waits is not taken back");
        let rest = RING - 64 - first;
        (0..rest.div_ceil(64)).for_each(|_| _ = held_up(&mut plane, 64));
        assert_eq!(held_up(&mut plane, 64), first);
    });
}

#[test]
fn a_full_ring_holds_frames_for_ever() {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far("10.7.0.2");
    let headers = lab.headers("10.7.0.2:9".parse().unwrap(), "10.7.0.1:20000".parse().unwrap());
    lab.ours.run(move || {
        let mut plane = Plane::new();
        let at = plane.open(PORT, "10.7.0.1");
        plane.greet(&far, at);
        plane.settle();
        let place = plane.xdp.attached.sender(interface("o0"), &plane.xdp.frames).unwrap();
        // Nobody kicks: what does not fit is counted and nobody waits.
        for _ in 0..SEND_RING + 5 {
            plane.batch.clear();
            let packet = plane.batch.spare().unwrap();
            packet.slot_mut().set_len(172);
            plane.xdp.frames.send(place, &headers, 1, packet);
        }
        assert_eq!(plane.xdp.faults().send, 5);
        plane.settle();
        // And of packets that were received, when there is not one free frame either.
        let mut taken = 0;
        while plane.xdp.frames.take_one(Mode::Copy) {
            taken += 1;
        }
        far.send_to(b"still here", at).unwrap();
        assert_eq!(plane.receive(), 1);
        plane.batch.packets_mut()[0].send = true;
        plane.xdp.send(&mut plane.batch);
        hears(&far, b"still here", at);
        let ours = plane.batch.spare().unwrap();
        ours.slot_mut().set_len(20);
        plane.xdp.frames.send(place, &headers, 1, ours);
        assert!(plane.xdp.faults().send == 6 || taken == 0);
    });
}

#[test]
fn frames_that_are_no_packets_disturb() {
    let Some(lab) = Lab::new() else { return };
    let (far, raw) = (lab.far("10.7.0.2"), lab.raw());
    let at = "10.7.0.1:20000".parse().unwrap();
    let headers = lab.headers(far.local_addr().unwrap(), at);
    lab.ours.run(move || {
        let mut plane = Plane::new();
        plane.open(PORT, "10.7.0.1");
        plane.greet(&far, at);
        let whole = frame(&headers, &[5; 172]);
        let mut seed = 1_u32;
        let mut random = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize
        };
        let (mut came, mut batches) = (0, 0);
        for _ in 0..20_000 {
            let mut broken = whole.clone();
            for _ in 0..random() % 3 {
                // Mostly in the headers, and so that it is still for us.
                let place = random() % broken.len().min(60);
                if !(0..14).contains(&place) {
                    broken[place] ^= 1 << (random() % 8);
                }
            }
            if random() % 4 == 0 {
                broken.truncate(14 + random() % (broken.len() - 14));
            }
            raw.send(&broken);
            if random() % 64 == 0 {
                plane.turn();
                batches += 1;
                for packet in plane.batch.packets() {
                    assert!(packet.slot().len() <= 172);
                    came += 1;
                }
                plane.xdp.send(&mut plane.batch);
            }
        }
        assert!(came > 0 && batches > 0);
        far.set_nonblocking(false).unwrap();
        // What waits comes first.
        loop {
            plane.turn();
            if plane.batch.packets().is_empty() {
                break;
            }
            plane.xdp.send(&mut plane.batch);
        }
        plane.xdp.look_around();
        assert!(plane.xdp.faults().receive > 0);
        assert_eq!(plane.by_ring(&far, at), (true, true));
        plane.settle();
    });
}

#[test]
fn a_wrong_checksum_is_believed() {
    let Some(lab) = Lab::new() else { return };
    let (far, raw) = (lab.far("10.7.0.2"), lab.raw());
    let at = "10.7.0.1:20000".parse().unwrap();
    let headers = lab.headers(far.local_addr().unwrap(), at);
    lab.ours.run(move || {
        let mut plane = Plane::new();
        plane.open(PORT, "10.7.0.1");
        let mut wrong = frame(&headers, b"wrong");
        *wrong.last_mut().unwrap() ^= 1;
        raw.send(&wrong);
        raw.send(&frame(&headers, b"right"));
        assert_eq!(plane.receive(), 1);
        assert_eq!(plane.batch.packets()[0].slot().packet(), b"right");
        assert_eq!(plane.xdp.faults().receive, 1);
        // None at all is allowed over IPv4.
        let mut none = frame(&headers, b"none");
        none[40..42].fill(0);
        raw.send(&none);
        plane.receive();
        assert_eq!(plane.batch.packets()[0].slot().packet(), b"none");
    });
}

#[test]
fn what_is_too_large_for_a_frame_or_in_fragments_is_lost() {
    let Some(lab) = Lab::new() else { return };
    for (side, device) in [(&lab.ours, "o0"), (&lab.theirs, "t0")] {
        side.ip(&format!("link set {device} mtu 3000"));
    }
    let far = lab.far("10.7.0.2");
    lab.ours.run(move || {
        let mut plane = Plane::new();
        let at = plane.open(PORT, "10.7.0.1");
        plane.greet(&far, at);
        for len in [2000, 9000] {
            far.send_to(&vec![1; len], at).unwrap();
            assert_eq!(plane.receive(), 1);
            assert!(plane.batch.packets()[0].cut, "{len} octets");
            plane.xdp.send(&mut plane.batch);
        }
        // Larger than a slot takes, and not too large for a frame.
        far.send_to(&[1; 1600], at).unwrap();
        plane.receive();
        assert!(plane.batch.packets()[0].cut && plane.batch.packets()[0].lent().is_some());
        plane.xdp.send(&mut plane.batch);
        plane.settle();
        assert_eq!(plane.xdp.faults(), Faults::default());
    });
}

#[test]
fn what_is_larger_than_the_way_out_takes_is_lost() {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far("10.7.0.2");
    lab.ours.ip("route add 10.7.0.2/32 dev o0 mtu 600");
    lab.ours.run(move || {
        let mut plane = Plane::new();
        let at = plane.open(PORT, "10.7.0.1");
        plane.greet(&far, at);
        assert_eq!(plane.by_ring(&far, at), (true, true));
        far.send_to(&[3; 573], at).unwrap();
        plane.receive();
        let in_flight = plane.account()[2];
        plane.echo();
        // In pieces, as the stack cuts it.
        hears(&far, &[3; 573], at);
        assert!(plane.account()[2] < in_flight, "it went back: {:?}", plane.account());
        plane.settle();
    });
}

#[test]
fn an_interface_that_goes_takes_calls_along() {
    goes_and_comes_back("");
}

#[test]
fn an_interface_that_comes_back_under_its_number_is_believed_to_have_its_program() {
    goes_and_comes_back("index 77");
}

fn goes_and_comes_back(number: &str) {
    let Some(lab) = Lab::new() else { return };
    lab.ours.ip("link del o0");
    let cable = format!("link add o0 {number} type veth peer name t0");
    lab.ours.ip(&cable);
    lab.ours.give("t0", &lab.theirs);
    lab.addresses();
    let far = lab.far("10.7.0.2");
    let (mut plane, at) = lab.ours.run({
        let far = far.try_clone().unwrap();
        move || {
            let mut plane = Plane::new();
            let at = plane.open(PORT, "10.7.0.1");
            plane.greet(&far, at);
            // Some are on their way in, one out, and one is in hand when it goes.
            for _ in 0..9 {
                far.send_to(b"hello", at).unwrap();
            }
            plane.receive();
            (plane, at)
        }
    });
    lab.ours.ip("link del o0");
    plane = lab.ours.run(move || {
        plane.echo();
        plane.xdp.look_around();
        assert_eq!(plane.account(), [frames::FRAMES, 0, 0]);
        let carried = plane.xdp.carries(PORT);
        assert_eq!(carried.by, Datapath::Portable, "{carried:?}");
        assert!(is_lost(&mut plane, "o0: it is gone"));
        plane.turn();
        plane.turn();
        plane
    });
    // Another cable in its place is as good.
    lab.ours.ip(&cable);
    lab.ours.give("t0", &lab.theirs);
    lab.addresses();
    lab.ours.run(move || {
        plane.attach();
        assert_eq!(plane.xdp.turned(), Some(Turn::Regained { by: Datapath::Xdp }));
        plane.greet(&far, at);
        assert_eq!(plane.by_ring(&far, at), (true, true));
        plane.settle();
        plane.xdp.close(PORT);
    });
}

#[test]
fn an_interface_that_is_down_for_a_while_never_comes_back() {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far("10.7.0.2");
    let (mut plane, at, far) = lab.ours.run(move || {
        let mut plane = Plane::new();
        let at = plane.open(PORT, "10.7.0.1");
        plane.greet(&far, at);
        (plane, at, far)
    });
    lab.ours.ip("link set o0 down");
    plane = lab.ours.run(move || {
        let faults = plane.xdp.faults();
        for _ in 0..3 {
            plane.batch.clear();
            let packet = plane.batch.spare().unwrap();
            packet.slot_mut().set_len(172);
            (packet.port, packet.peer, packet.send) = (PORT, "10.7.0.2:9".parse().unwrap(), true);
            plane.batch.take();
            plane.xdp.send(&mut plane.batch);
        }
        assert_eq!(plane.xdp.faults().send, faults.send + 3);
        // It is looked at because it refuses, before its time.
        (0..=BROKEN_TURNS).for_each(|_| plane.turn());
        assert_eq!(plane.account(), [frames::FRAMES, 0, 0]);
        assert!(is_lost(&mut plane, "o0: it is down"));
        plane
    });
    lab.ours.ip("link set o0 up");
    lab.ours.run(move || {
        plane.attach();
        plane.greet(&far, at);
        assert_eq!(plane.by_ring(&far, at), (true, true));
    });
}

#[test]
fn a_program_that_is_taken_away_takes_calls_along() {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far("10.7.0.2");
    lab.ours.run(move || {
        let kernel = Arc::new(Mutex::new(Kernel::load().unwrap()));
        let mut plane = Plane::of(&kernel, (0, 1));
        let at = plane.open(PORT, "10.7.0.1");
        plane.greet(&far, at);
        assert_eq!(plane.by_ring(&far, at), (true, true));
        kernel.lock().unwrap().take_away(interface("o0"));
        assert!(!plane.by_ring(&far, at).0, "before it is noticed");
        plane.xdp.look_around();
        assert_eq!(plane.by_ring(&far, at), (false, false));
        assert!(plane.xdp.carries(PORT).why_not_faster.contains("taken away"));
        assert_eq!(plane.account(), [frames::FRAMES, 0, 0]);
        assert!(is_lost(&mut plane, "o0: its XDP program was taken away, which takes a restart"));
        // Who takes it away does not want it there.
        plane.xdp.look_around();
        assert_eq!((plane.by_ring(&far, at), plane.xdp.turned()), ((false, false), None));
    });
}

#[test]
fn a_queue_that_is_added_has_no_socket() {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far("10.7.0.2");
    lab.ours.run(move || {
        let mut plane = Plane::new();
        let at = plane.open(PORT, "10.7.0.1");
        plane.greet(&far, at);
        assert_eq!(plane.xdp.frames.fds().count(), 1);
        set_queues("o0", 2);
        plane.xdp.look_around();
        let lost = plane.xdp.turned();
        plane.attach();
        // Unless both were at once.
        if let Some(Turn::Lost { why, .. }) = &lost {
            assert_eq!(why, "o0: it has 2 queues, and had 1");
        }
        let regained = lost.map(|_| Turn::Regained { by: Datapath::Xdp });
        assert_eq!(plane.xdp.turned(), regained);
        // The one that there was is given up a while after its socket is closed.
        let end = now() + PATIENCE;
        while plane.xdp.frames.fds().count() < 2 {
            assert!(now() < end, "{:?}", plane.xdp.attached);
            plane.xdp.look_around();
        }
        plane.greet(&far, at);
        assert_eq!(plane.by_ring(&far, at), (true, true));
        plane.settle();
    });
}

/// `ethtool -L`.
fn set_queues(device: &str, count: u32) {
    const ETHTOOL_SCHANNELS: u32 = 0x3d;
    let mut channels = [ETHTOOL_SCHANNELS, 0, 0, 0, 0, count, count, 0, 0];
    // SAFETY: zeroes are a request without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, octet) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *place = octet as libc::c_char;
    }
    request.ifr_ifru.ifru_data = channels.as_mut_ptr().cast();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let (fd, what) = (std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCETHTOOL as libc::Ioctl);
    // SAFETY: the kernel reads the nine words of the channels, which outlive the call.
    let done = unsafe { libc::ioctl(fd, what, &raw mut request) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn ports_and_queues_of_an_engine_that_ends_stay_in_the_kernel() {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far("10.7.0.2");
    lab.ours.run(move || {
        let kernel = Arc::new(Mutex::new(Kernel::load().unwrap()));
        let _ports = no_process_is_made();
        for _ in 0..3 {
            let mut plane = Plane::of(&kernel, (0, 1));
            let at = plane.open(PORT, "10.7.0.1");
            plane.attach();
            plane.greet(&far, at);
            assert_eq!(plane.by_ring(&far, at), (true, true));
            // In hand, on its way in, and on its way out.
            far.send_to(b"late", at).unwrap();
            plane.receive();
            far.send_to(b"later", at).unwrap();
            plane.xdp.close(PORT);
            plane.echo();
        }
        assert_eq!(kernel.lock().unwrap().queues_taken(), 0);
    });
}

/// An engine below that has so many packets, and says that there may be more where they fill a batch.
struct Waiting {
    left: Arc<AtomicUsize>,
    routes: Routes,
}

impl super::super::Below for Waiting {
    fn routes(&mut self) -> &mut Routes {
        &mut self.routes
    }
}

impl PacketIo for Waiting {
    fn open(&mut self, _: PortId, _: SocketAddr, _: u8) -> io::Result<()> {
        Ok(())
    }
    fn close(&mut self, _: PortId) {}
    fn receive(&mut self, batch: &mut Batch) -> bool {
        let count = self.left.load(Ordering::Relaxed).min(batch.spares().len());
        self.left.fetch_sub(count, Ordering::Relaxed);
        (0..count).for_each(|_| batch.take());
        batch.spares().is_empty()
    }
    fn send(&mut self, _: &mut Batch) {}
    fn await_ring(&mut self) {}
    fn wait(&mut self) {}
    fn carries(&self, _: PortId) -> Carried {
        Carried { by: Datapath::Steer, why_not_faster: "".into() }
    }
    fn faults(&self) -> Faults {
        Faults::default()
    }
}

#[test]
fn what_the_engine_below_has_waits_for_several_turns_or_for_the_next_one() {
    let Some(lab) = Lab::new() else { return };
    lab.ours.run(|| {
        let kernel = Arc::new(Mutex::new(Kernel::load().unwrap()));
        let left = Arc::new(AtomicUsize::new(0));
        let below = Waiting { left: Arc::clone(&left), routes: Routes::new().unwrap() };
        let part = Part { worker: 0, workers: 1, generic: true, media: Vec::new().into() };
        let mut xdp = Xdp::new(Box::new(below), Arc::new(Bell::new().unwrap()), kernel, part);
        let mut batch = Batch::new();
        // As a worker does in each of its turns: until nothing is left.
        let mut turn = || {
            let mut count = 0;
            loop {
                batch.clear();
                let more = xdp.receive(&mut batch);
                count += batch.packets().len();
                xdp.send(&mut batch);
                if !more {
                    return count;
                }
            }
        };
        // Nobody knows of the first; those that come then are a few in each turn, as the voices of a few
        // calls, and at last more than a batch.
        left.store(3, Ordering::Relaxed);
        assert_eq!((0..=BELOW_EVERY).map(|_| turn()).sum::<usize>(), 3);
        for packets in [3, 1, 63, 64, 200, 1] {
            left.store(packets, Ordering::Relaxed);
            assert_eq!(turn(), packets);
        }
    });
}

#[test]
fn addresses_that_come_and_go_leave_no_room_for_others() {
    let Some(lab) = Lab::new() else { return };
    let far = lab.far("fd07::2");
    lab.ours.run(move || {
        let kernel = Arc::new(Mutex::new(Kernel::load().unwrap()));
        let mut plane = Plane::of(&kernel, (0, 1));
        plane.open(PORT, "::");
        let at: SocketAddr = "[fd07::1]:20000".parse().unwrap();
        plane.greet(&far, at);
        // As addresses for privacy do (RFC 8981), one a day; the kernel tells of them a moment later.
        let adds = |plane: &mut Plane, ip: &str| {
            command(&format!("ip addr add {ip}/64 dev o0 nodad"));
            let (end, ip) = (now() + PATIENCE, ip.parse::<IpAddr>().unwrap());
            while plane.xdp.attached.locals.iter().all(|(local, _)| *local != ip) {
                assert!(now() < end, "{ip} never came");
                plane.xdp.look_around();
            }
        };
        for day in 0..crate::kernel::ADDRESSES_MAX - 1 {
            let ip = format!("fd07::1:{day}");
            adds(&mut plane, &ip);
            command(&format!("ip addr del {ip}/64 dev o0"));
            plane.xdp.look_around();
        }
        adds(&mut plane, "fd07::2:7");
        adds(&mut plane, "fd07::2:8");
        let other = PortId { address: 1, number: 20_002 };
        plane.open(other, "fd07::2:8");
        for (to, port) in
            [("[fd07::2:7]:20000", PORT), ("[fd07::2:8]:20002", other), ("[fd07::1]:20000", PORT)]
        {
            far.send_to(b"by a ring", to).unwrap();
            assert_eq!(plane.receive(), 1);
            let packet = &plane.batch.packets()[0];
            assert_eq!((packet.port, packet.lent().is_some()), (port, true), "{to}");
            plane.xdp.send(&mut plane.batch);
        }
    });
}

/// It is told once.
fn is_lost(plane: &mut Plane, wanted: &str) -> bool {
    let told = plane.xdp.turned();
    let is_so =
        |turn| matches!(turn, Turn::Lost { to: Datapath::Steer, why } if why.starts_with(wanted));
    told.is_some_and(is_so) && plane.xdp.turned().is_none()
}

fn interface(name: &str) -> u32 {
    let name = std::ffi::CString::new(name).unwrap();
    // SAFETY: a string that ends.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

#[test]
fn later_ones_of_many_queues_are_deaf() {
    let Some(lab) = Lab::new() else { return };
    lab.ours.ip("link del o0");
    let queues = "numrxqueues 32 numtxqueues 32";
    lab.ours.ip(&format!("link add o0 {queues} type veth peer name t0 {queues}"));
    lab.ours.give("t0", &lab.theirs);
    lab.addresses();
    lab.ours.ip("link add o1 numrxqueues 4 numtxqueues 4 type veth peer name o2");
    lab.ours.ip("addr add 10.8.0.1/24 dev o1");
    lab.ours.ip("link set o1 up");
    let far: Vec<UdpSocket> = (0..64).map(|_| lab.far("10.7.0.2")).collect();
    lab.ours.run(move || {
        let mut plane = Plane::new();
        let at = plane.open(PORT, "10.7.0.1");
        assert_eq!(plane.xdp.frames.waiting(), [frames::FRAMES as u32 / 64; 32]);
        plane.greet(&far[0], at);
        // By its far sides they come in at all of them, of which each can take a batch without a pause.
        for round in 0..64 {
            for far in &far {
                far.send_to(&[round; 172], at).unwrap();
            }
            let mut heard = 0;
            while heard < far.len() {
                heard += plane.receive();
                assert_eq!(plane.echo(), plane.batch.packets().len());
            }
            far.iter().for_each(|far| hears(far, &[round; 172], at));
        }
        // One of ours finds a frame to leave in.
        plane.batch.clear();
        let ours = plane.batch.spare().unwrap();
        ours.slot_mut().set_len(5);
        ours.slot_mut().packet_mut().copy_from_slice(b"music");
        (ours.port, ours.peer, ours.send) = (PORT, far[7].local_addr().unwrap(), true);
        plane.batch.take();
        plane.xdp.send(&mut plane.batch);
        hears(&far[7], b"music", at);
        assert_eq!(plane.xdp.faults(), Faults::default());
        // An interface that comes when others have their frames.
        plane.open(PortId { address: 1, number: 20_002 }, "10.8.0.1");
        let waiting = plane.xdp.frames.waiting();
        assert!(waiting.len() == 36 && waiting.iter().all(|frames| *frames >= 64), "{waiting:?}");
        plane.settle();
    });
}
