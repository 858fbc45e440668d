//! One worker's sockets in network namespaces: packets over a cable, and what can happen to them.

use super::*;
use crate::namespace::{Namespace, no_process_is_made};
use crate::routes::tests::wired;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
const PORT: PortId = PortId { address: 0, number: 20_000 };

/// The programs at work in the calling thread's namespace.
fn kernel() -> Arc<Mutex<Kernel>> {
    let mut kernel = Kernel::load().unwrap();
    kernel.steer().unwrap();
    Arc::new(Mutex::new(kernel))
}

fn steer() -> Steer {
    Steer::new(0, Arc::new(Bell::new().unwrap()), kernel()).unwrap()
}

/// With one port open.
fn steer_at(at: &str) -> Steer {
    let mut steer = steer();
    steer.open(PORT, at.parse().unwrap(), 46).unwrap();
    steer
}

/// A far side's socket there.
fn far_side(namespace: &Namespace, at: &'static str) -> UdpSocket {
    let socket = namespace.run(move || UdpSocket::bind(at)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn put(batch: &mut Batch, from: PortId, to: SocketAddr, payload: &[u8]) {
    let packet = batch.spare().unwrap();
    packet.slot_mut().octets_mut()[..payload.len()].copy_from_slice(payload);
    packet.slot_mut().set_len(payload.len());
    (packet.port, packet.peer, packet.send) = (from, to, true);
    batch.take();
}

/// Sends these in one batch.
fn send(steer: &mut Steer, to: &[(SocketAddr, Vec<u8>)]) {
    let mut batch = Batch::new();
    to.iter().for_each(|(to, payload)| put(&mut batch, PORT, *to, payload));
    steer.send(&mut batch);
}

#[track_caller]
fn heard(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut octets = [0; 2048];
    let (len, from) = socket.recv_from(&mut octets).expect("a packet");
    (octets[..len].to_vec(), from)
}

/// What has been received by when it holds.
#[expect(clippy::disallowed_methods, reason = "the kernel delivers when it likes")]
fn receive_until(steer: &mut Steer, batch: &mut Batch, done: impl Fn(&Steer, &Batch) -> bool) {
    let start = Instant::now();
    while !done(steer, batch) {
        assert!(start.elapsed() < PATIENCE, "it does not come to that: {:?}", batch.packets());
        steer.receive(batch);
    }
}

/// Follows until the way from the port is by frames.
fn until_frames(steer: &mut Steer, to: SocketAddr) {
    let at = bound_at(&steer.addresses, PORT).unwrap();
    receive_until(steer, &mut Batch::new(), |_, _| {
        let mut routes = Routes::new().unwrap();
        matches!(By::find(at, to, 46, &mut routes), By::Frame { .. })
    });
    // What another knows has been told to this one, too.
    steer.routes.follow();
}

fn leaves_by_frames(steer: &Steer) -> bool {
    let outlet = steer.ports.get(PORT).and_then(|port| port.outlet.as_ref());
    matches!(outlet, Some(Outlet { by: By::Frame { .. }, .. }))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it is about how often within a time")]
fn each_turn_asks_whether_routes_have_changed() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let mut steer = steer_at("127.0.0.1:20000");
        let (start, looks) = (Instant::now(), steer.routes.looks);
        let mut batch = Batch::new();
        (0..1000).for_each(|_| assert!(!steer.receive(&mut batch)));
        let most = start.elapsed().as_millis() / 5 + 2;
        let looks = steer.routes.looks - looks;
        assert!(looks > 0 && u128::from(looks) <= most, "{looks} of {most} at most");
    });
}

#[test]
fn packets_that_a_worker_is_too_slow_for_are_lost_without_a_word() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let mut steer = steer_at("127.0.0.1:20000");
        let far = UdpSocket::bind("127.0.0.1:0").unwrap();
        const SENT: u64 = 40_000;
        for _ in 0..SENT {
            far.send_to(&[0; 172], "127.0.0.1:20000").unwrap();
        }
        let (mut batch, mut came) = (Batch::new(), 0);
        loop {
            batch.clear();
            let more = steer.receive(&mut batch);
            came += batch.packets().len() as u64;
            if !more {
                break;
            }
        }
        assert!(came < SENT, "there is room for all");
        for _ in 0..2 {
            steer.look_around();
            assert_eq!(steer.faults().receive, SENT - came);
        }
    });
}

#[test]
fn packets_are_lost_while_their_neighbour_is_asked_for() {
    for (at, far_at) in
        [("10.1.0.1:20000", "10.1.0.2:40000"), ("[fd00::1]:20000", "[fd00::2]:40000")]
    {
        let Some((near, far)) = wired() else { return };
        near.run(move || {
            let mut steer = steer_at(at);
            let socket = far_side(&far, far_at);
            let to = socket.local_addr().unwrap();
            let packets: Vec<_> = (0..20).map(|n| (to, vec![n; 172])).collect();
            send(&mut steer, &packets);
            assert!(!leaves_by_frames(&steer), "nobody knows the neighbour yet");
            let from: SocketAddr = at.parse().unwrap();
            (0..20).for_each(|n| assert_eq!(heard(&socket), (vec![n; 172], from)));
            until_frames(&mut steer, to);
            let packets: Vec<_> = (20..84).map(|n| (to, vec![n; 172])).collect();
            send(&mut steer, &packets);
            assert!(leaves_by_frames(&steer));
            (20..84).for_each(|n| assert_eq!(heard(&socket), (vec![n; 172], from)));

            // And back, with both addresses as they are.
            socket.send_to(&[9; 100], from).unwrap();
            let mut batch = Batch::new();
            receive_until(&mut steer, &mut batch, |_, batch| !batch.packets().is_empty());
            let packet = &batch.packets()[0];
            assert_eq!((packet.port, packet.peer, packet.cut), (PORT, to, false));
            assert_eq!(packet.slot().packet(), [9; 100]);
            assert_eq!(steer.faults(), Faults::default());
        });
    }
}

/// All addresses of this host: what leaves has the one that the route prefers.
#[test]
fn a_port_of_all_addresses_has_no_address_of_its_own() {
    let Some((near, far)) = wired() else { return };
    near.run(move || {
        for (at, from, far_at) in [
            ("0.0.0.0:20000", "10.1.0.1:20000", "10.1.0.2:40000"),
            ("[::]:20000", "[fd00::1]:20000", "[fd00::2]:40000"),
        ] {
            let mut steer = steer_at(at);
            let (socket, from) = (far_side(&far, far_at), from.parse().unwrap());
            let to = socket.local_addr().unwrap();
            send(&mut steer, &[(to, vec![1])]);
            assert_eq!(heard(&socket), (vec![1], from));
            until_frames(&mut steer, to);
            send(&mut steer, &[(to, vec![2])]);
            assert!(leaves_by_frames(&steer));
            assert_eq!(heard(&socket), (vec![2], from));
            socket.send_to(&[3], from).unwrap();
            let mut batch = Batch::new();
            receive_until(&mut steer, &mut batch, |_, batch| !batch.packets().is_empty());
            assert_eq!((batch.packets()[0].port, batch.packets()[0].peer), (PORT, to));
        }
    });
}

#[test]
fn a_packet_larger_than_its_path_is_lost() {
    let Some((near, far)) = wired() else { return };
    // The cable takes 1400 octets, and one way of it less.
    near.ip("route add 10.1.0.2/32 dev near src 10.1.0.1 mtu 1000");
    near.run(move || {
        // Each that is too large has a socket of its own, at the same port.
        let _ports = no_process_is_made();
        for (at, far_at, lengths) in [
            ("10.1.0.1:20000", "10.1.0.2:40000", [972, 973, 1450]),
            ("[fd00::1]:20000", "[fd00::2]:40000", [1352, 1353, 1450]),
        ] {
            let mut steer = steer_at(at);
            let socket = far_side(&far, far_at);
            let to = socket.local_addr().unwrap();
            send(&mut steer, &[(to, vec![0])]);
            heard(&socket);
            until_frames(&mut steer, to);
            for len in lengths {
                send(&mut steer, &[(to, vec![len as u8; len])]);
                assert!(leaves_by_frames(&steer));
                assert_eq!(heard(&socket), (vec![len as u8; len], at.parse().unwrap()));
            }
            assert_eq!(steer.faults(), Faults::default());
        }
    });
}

#[test]
fn a_batch_of_nothing_but_packets_larger_than_their_path_holds_up_the_others() {
    let Some((near, far)) = wired() else { return };
    near.run(move || {
        let _ports = no_process_is_made();
        let mut steer = steer_at("10.1.0.1:20000");
        let socket = far_side(&far, "10.1.0.2:40000");
        let to = socket.local_addr().unwrap();
        send(&mut steer, &[(to, vec![0])]);
        heard(&socket);
        until_frames(&mut steer, to);
        let spare = 2;
        for _ in 0..2 {
            let large = SINGLY_PER_BATCH as usize + spare;
            let mut batch = vec![(to, vec![1; 1450]); large];
            batch.push((to, vec![2; 160]));
            send(&mut steer, &batch);
            for _ in 0..SINGLY_PER_BATCH {
                assert_eq!(heard(&socket).0, vec![1; 1450]);
            }
            assert_eq!(heard(&socket).0, vec![2; 160], "as many as were heard have gone");
        }
        assert_eq!(steer.faults().send, 2 * spare as u64);
    });
}

/// A router with a narrow way behind it says so; what comes after is cut to it.
#[test]
fn a_path_that_turns_out_narrower_is_not_learned() {
    let Some((near, router)) = wired() else { return };
    let Some(far) = Namespace::new() else { return };
    router.cable("onward", &far, "end");
    router.ip("link set onward mtu 1000 up");
    router.ip("addr add 10.2.0.1/24 dev onward");
    router.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap();
    far.ip("link set end mtu 1000 up");
    far.ip("addr add 10.2.0.2/24 dev end");
    far.ip("route add default via 10.2.0.1");
    near.ip("route add default via 10.1.0.2");
    near.run(move || {
        let mut steer = steer_at("10.1.0.1:20000");
        let socket = far_side(&far, "10.2.0.2:40000");
        let to = socket.local_addr().unwrap();
        send(&mut steer, &[(to, vec![0])]);
        heard(&socket);
        until_frames(&mut steer, to);
        send(&mut steer, &[(to, vec![1; 1200])]);
        assert!(leaves_by_frames(&steer));
        receive_until(&mut steer, &mut Batch::new(), |steer, _| steer.faults.receive == 1);
        send(&mut steer, &[(to, vec![2; 1200])]);
        assert_eq!(heard(&socket).0, vec![2; 1200]);
    });
}

#[test]
fn a_far_side_that_nothing_gets_to_holds_up_the_others() {
    let Some((near, far)) = wired() else { return };
    near.cable("second", &far, "other");
    near.ip("link set second up");
    near.ip("addr add 10.3.0.1/24 dev second");
    near.ip("neigh add 10.3.0.2 lladdr 02:00:00:00:00:03 dev second nud permanent");
    near.ip("route add prohibit 192.0.2.0/24");
    near.run(move || {
        let mut steer = steer();
        steer.open(PORT, "0.0.0.0:20000".parse().unwrap(), 0).unwrap();
        let socket = far_side(&far, "10.1.0.2:40000");
        let to = socket.local_addr().unwrap();
        send(&mut steer, &[(to, vec![0])]);
        heard(&socket);
        until_frames(&mut steer, to);
        let other: SocketAddr = "10.3.0.2:40000".parse().unwrap();
        let (no_route, forbidden) =
            ("198.51.100.1:9".parse().unwrap(), "192.0.2.1:9".parse().unwrap());
        // Each outlet is for one far side: they take turns, as they would in several calls.
        let mut batch = Batch::new();
        for (n, to) in [to, no_route, to, other, to, forbidden, to].into_iter().enumerate() {
            put(&mut batch, PORT, to, &[n as u8; 20]);
        }
        crate::namespace::command("ip link set second down");
        steer.send(&mut batch);
        for n in [0, 2, 4, 6] {
            assert_eq!(heard(&socket).0, [n; 20]);
        }
        assert_eq!(steer.faults(), Faults { send: 3, ..Faults::default() });
    });
}

/// An ICMP error is counted, and what comes after it is received.
#[test]
fn a_far_side_that_has_gone_makes_the_worker_deaf() {
    let Some((near, far)) = wired() else { return };
    near.run(move || {
        for (at, far_at, gone) in [
            ("10.1.0.1:20000", "10.1.0.2:40000", "10.1.0.2:9"),
            ("[fd00::1]:20000", "[fd00::2]:40000", "[fd00::2]:9"),
        ] {
            let mut steer = steer_at(at);
            let socket = far_side(&far, far_at);
            let mut batch = Batch::new();
            send(&mut steer, &[(gone.parse().unwrap(), vec![0; 20])]);
            receive_until(&mut steer, &mut batch, |steer, _| steer.faults.receive == 1);
            socket.send_to(&[1], at).unwrap();
            receive_until(&mut steer, &mut batch, |_, batch| !batch.packets().is_empty());
            assert_eq!(batch.packets()[0].slot().packet(), [1]);
        }
    });
}

#[test]
fn a_packet_comes_to_another_worker() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let kernel = kernel();
        let bell = || Arc::new(Bell::new().unwrap());
        let mut workers =
            [0, 1].map(|worker| Steer::new(worker, bell(), Arc::clone(&kernel)).unwrap());
        let at = |number: u16| SocketAddr::from(([127, 0, 0, 1], number));
        for (number, worker) in (20_000..20_010).zip([0, 1].into_iter().cycle()) {
            workers[worker].open(PortId { address: 0, number }, at(number), 46).unwrap();
        }
        let taken = workers[0].open(PortId { address: 0, number: 20_001 }, at(20_001), 46);
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        (20_000..20_010).for_each(|number| drop(socket.send_to(&[number as u8], at(number))));
        for (worker, steer) in workers.iter_mut().enumerate() {
            let mut batch = Batch::new();
            receive_until(steer, &mut batch, |_, batch| batch.packets().len() == 5);
            for packet in batch.packets() {
                assert_eq!(usize::from(packet.port.number % 2), worker);
                assert_eq!(packet.slot().packet(), [packet.port.number as u8]);
            }
        }
        // A worker that ends leaves its ports to the other.
        let [one, mut other] = workers;
        drop(one);
        other.open(PortId { address: 0, number: 20_000 }, at(20_000), 46).unwrap();
    });
}

#[test]
fn a_port_that_the_programs_have_no_room_for_is_refused() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let mut steer = steer();
        let of = |address: u16| {
            let at = SocketAddr::from(([127, 0, 1, address as u8], 20_000));
            (PortId { address, number: 20_000 }, at)
        };
        for address in 0..=64 {
            let (port, at) = of(address);
            steer.open(port, at, 46).unwrap();
        }
        let carried = [0, 63, 64].map(|address| steer.carries(of(address).0));
        assert_eq!(
            carried.each_ref().map(|carried| carried.by),
            [Datapath::Steer, Datapath::Steer, Datapath::Portable]
        );
        assert!(carried[2].why_not_faster.contains("64"), "{carried:?}");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = Batch::new();
        for address in [0, 64] {
            socket.send_to(&[address as u8], of(address).1).unwrap();
        }
        receive_until(&mut steer, &mut batch, |_, batch| batch.packets().len() == 2);
        for packet in batch.packets_mut() {
            assert_eq!(packet.slot().packet(), [packet.port.address as u8]);
            packet.send = true;
        }
        steer.send(&mut batch);
        let mut back = [heard(&socket), heard(&socket)];
        back.sort();
        assert_eq!(back, [(vec![0], of(0).1), (vec![64], of(64).1)]);
        // It is woken by either.
        for address in [0, 64] {
            socket.send_to(&[7], of(address).1).unwrap();
            steer.await_ring();
            steer.wait();
            batch.clear();
            receive_until(&mut steer, &mut batch, |_, batch| batch.packets().len() == 1);
        }
        let _ports = no_process_is_made();
        steer.close(of(64).0);
        assert!(UdpSocket::bind(of(64).1).is_ok());
    });
}

#[test]
fn a_program_that_was_taken_away_is_not_missed() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let mut steer = steer_at("127.0.0.1:20000");
        steer.look_around();
        assert_eq!(steer.lost(), None);
        locked(&steer.kernel).stop_steering();
        steer.look_around();
        assert!(steer.lost().is_some());
    });
}

#[test]
fn packets_wait_while_another_worker_has_the_programs_in_hand() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let kernel = kernel();
        let mut steer = Steer::new(0, Arc::new(Bell::new().unwrap()), Arc::clone(&kernel)).unwrap();
        let in_hand = locked(&kernel);
        // It would wait for this very thread.
        steer.check();
        drop(in_hand);
        assert_eq!(steer.lost(), None);
        locked(&kernel).stop_steering();
        steer.check();
        assert!(steer.lost().is_some());
    });
}
