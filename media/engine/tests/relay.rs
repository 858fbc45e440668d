//! Calls through a running engine, over real sockets on the loopback.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panic")]

mod rig;

use media::DropReason;
use media_engine::{Engine, EngineError, Event, LegPorts, MediaId};
use rig::{Rig, encrypted, far_side, id, nothing_for, receive, rtcp, rtp, stream};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{channel, sync_channel};

rig::by_each_engine!(
    rtp_passes_both_ways_and_the_end_tells_how_much,
    rtp_passes_over_ipv6,
    rtcp_passes_on_a_port_of_its_own,
    what_crosses_the_middle_is_encrypted_and_what_arrives_is_as_it_was_sent,
    a_stranger_is_not_forwarded_and_does_not_disturb,
    a_packet_before_anything_is_agreed_has_no_flow,
    a_datagram_larger_than_a_slot_is_dropped_whole,
    a_port_that_somebody_holds_fails_the_call_and_frees_the_others,
    ports_that_make_no_sense_fail_the_call,
    a_call_opened_twice_keeps_its_first_ports,
    closing_what_was_never_open_ends_with_zeros,
    a_call_that_comes_after_an_idle_time_is_served,
    a_full_ring_refuses_and_recovers,
    a_worker_that_does_not_exist_is_refused,
    the_end_of_the_engine_is_the_end_of_its_calls,
    a_leg_that_moves_speaks_from_its_new_port_and_its_old_one_is_free,
    a_call_between_ipv4_and_ipv6_is_carried,
    speech_that_one_side_does_not_know_comes_in_the_codec_it_knows,
    without_a_transcoder_what_needs_one_is_dropped_and_counted,
);

fn rtp_passes_both_ways_and_the_end_tells_how_much() {
    passes_both_ways(&Rig::new(1));
}

fn rtp_passes_over_ipv6() {
    passes_both_ways(&Rig::on(IpAddr::V6(Ipv6Addr::LOCALHOST), 1));
}

fn passes_both_ways(rig: &Rig) {
    let (a, b) = (far_side(rig.bind), far_side(rig.bind));
    rig.open(0);
    rig.connect(0, stream(&a, &a), stream(&b, &b));
    for sequence in 0..50 {
        a.send_to(&rtp(1, sequence), rig.address(rig.a(0).rtp)).unwrap();
        assert_eq!(receive(&b), (rtp(1, sequence), rig.address(rig.b(0).rtp)));
        b.send_to(&rtp(2, sequence), rig.address(rig.b(0).rtp)).unwrap();
        assert_eq!(receive(&a), (rtp(2, sequence), rig.address(rig.a(0).rtp)));
    }
    assert_eq!(rig.stats(0).a.received_packets, 50);
    let stats = rig.close(0);
    assert_eq!((stats.a.received_packets, stats.b.received_packets), (50, 50));
    assert_eq!((stats.a.sent_packets, stats.b.sent_packets), (50, 50));
    assert_eq!((stats.a.lost_packets, stats.a.drops), (0, [0; DropReason::ALL.len()]));
    let totals = rig.engine.totals();
    assert_eq!((totals.received, totals.forwarded, totals.send_errors), (100, 100, 0));
    assert_eq!((totals.calls, totals.ports), (0, 0));
}

fn rtcp_passes_on_a_port_of_its_own() {
    let rig = Rig::new(1);
    let [a, a_rtcp, b, b_rtcp] = [(); 4].map(|()| far_side(rig.bind));
    rig.open(0);
    rig.connect(0, stream(&a, &a_rtcp), stream(&b, &b_rtcp));
    a_rtcp.send_to(&rtcp(1), rig.address(rig.a(0).rtp + 1)).unwrap();
    assert_eq!(report(receive(&b_rtcp)), report((rtcp(1), rig.address(rig.b(0).rtp + 1))));
    b_rtcp.send_to(&rtcp(2), rig.address(rig.b(0).rtp + 1)).unwrap();
    assert_eq!(report(receive(&a_rtcp)), report((rtcp(2), rig.address(rig.a(0).rtp + 1))));
    let stats = rig.close(0);
    assert_eq!((stats.a.rtcp_packets, stats.b.rtcp_packets), (1, 1));
}

/// The sender report of a compound, and where it came from: what follows it, the source's name, does
/// not cross the border.
fn report((mut compound, from): (Vec<u8>, SocketAddr)) -> (Vec<u8>, SocketAddr) {
    compound.truncate(28);
    (compound, from)
}

/// RTP, a border, SRTP over a wire that we listen on, another border, RTP; and back.
fn what_crosses_the_middle_is_encrypted_and_what_arrives_is_as_it_was_sent() {
    let (left, right) = (Rig::new(1), Rig::new(1));
    let (a, wire, b) = (far_side(left.bind), far_side(left.bind), far_side(left.bind));
    left.open(0);
    right.open(0);
    left.connect(0, stream(&a, &a), encrypted(stream(&wire, &wire), 1, 2));
    right.connect(0, encrypted(stream(&wire, &wire), 2, 1), stream(&b, &b));
    let (left_middle, right_middle) = (left.address(left.b(0).rtp), right.address(right.a(0).rtp));

    for sequence in 0..50 {
        a.send_to(&rtp(1, sequence), left.address(left.a(0).rtp)).unwrap();
        hears_only_noise(&wire, &rtp(1, sequence), right_middle);
        assert_eq!(receive(&b).0, rtp(1, sequence));

        b.send_to(&rtp(2, sequence), right.address(right.b(0).rtp)).unwrap();
        hears_only_noise(&wire, &rtp(2, sequence), left_middle);
        assert_eq!(receive(&a).0, rtp(2, sequence));
    }
    a.send_to(&rtcp(1), left.address(left.a(0).rtp)).unwrap();
    hears_only_noise(&wire, &rtcp(1), right_middle);
    assert_eq!(report(receive(&b)), report((rtcp(1), right.address(right.b(0).rtp))));
    assert_eq!(right.close(0).a.received_packets, 50);
}

/// Takes a packet off the wire, sees that it tells nothing, and passes it on.
fn hears_only_noise(wire: &UdpSocket, plain: &[u8], to: SocketAddr) {
    // The borders report of themselves every few seconds; that is not what is waited for here.
    let secret = loop {
        let (secret, _) = receive(wire);
        if secret[..2] == plain[..2] {
            break secret;
        }
    };
    assert!(secret.len() >= plain.len() + 10, "no tag");
    assert_ne!(secret[12..plain.len()], plain[12..], "in clear");
    wire.send_to(&secret, to).unwrap();
}

fn a_stranger_is_not_forwarded_and_does_not_disturb() {
    let rig = Rig::new(1);
    let (a, b, stranger) = (far_side(rig.bind), far_side(rig.bind), far_side(rig.bind));
    rig.open(0);
    rig.connect(0, stream(&a, &a), stream(&b, &b));
    for sequence in 0..20 {
        stranger.send_to(&rtp(9, 500 + sequence), rig.address(rig.a(0).rtp)).unwrap();
        a.send_to(&rtp(1, sequence), rig.address(rig.a(0).rtp)).unwrap();
        assert_eq!(receive(&b).0, rtp(1, sequence));
    }
    b.send_to(&rtp(2, 0), rig.address(rig.b(0).rtp)).unwrap();
    assert_eq!(receive(&a).0, rtp(2, 0));
    nothing_for(&b);
    nothing_for(&stranger);
    let stats = rig.close(0);
    assert_eq!(stats.a.drops[DropReason::Unlatched as usize], 20);
    assert_eq!(stats.a.received_packets, 20);
    assert_eq!(rig.engine.totals().dropped(DropReason::Unlatched), 20);
}

fn a_packet_before_anything_is_agreed_has_no_flow() {
    let rig = Rig::new(1);
    let (a, b) = (far_side(rig.bind), far_side(rig.bind));
    rig.open(0);
    rig.stats(0);
    a.send_to(&rtp(1, 0), rig.address(rig.a(0).rtp)).unwrap();
    // Its own port is read in order, so a packet that arrives shows that the first was judged.
    while rig.stats(0).a.drops[DropReason::NoFlow as usize] == 0 {}
    rig.connect(0, stream(&a, &a), stream(&b, &b));
    a.send_to(&rtp(1, 1), rig.address(rig.a(0).rtp)).unwrap();
    assert_eq!(receive(&b).0, rtp(1, 1));
    assert_eq!(rig.close(0).a.drops[DropReason::NoFlow as usize], 1);
}

fn a_datagram_larger_than_a_slot_is_dropped_whole() {
    let rig = Rig::new(1);
    let (a, b) = (far_side(rig.bind), far_side(rig.bind));
    rig.open(0);
    rig.connect(0, stream(&a, &a), stream(&b, &b));
    let mut long = rtp(1, 0);
    long.resize(media::packet::PACKET_MAX + 1, 0);
    a.send_to(&long, rig.address(rig.a(0).rtp)).unwrap();
    a.send_to(&rtp(1, 1), rig.address(rig.a(0).rtp)).unwrap();
    assert_eq!(receive(&b).0, rtp(1, 1));
    let stats = rig.close(0);
    assert_eq!(stats.a.drops[DropReason::TooBig as usize], 1);
    assert_eq!(stats.b.drops, [0; DropReason::ALL.len()]);
    assert_eq!(rig.engine.totals().dropped(DropReason::TooBig), 1);
}

fn a_port_that_somebody_holds_fails_the_call_and_frees_the_others() {
    let rig = Rig::new(2);
    let taken = UdpSocket::bind((rig.bind, rig.b(0).rtp + 1)).unwrap();
    rig.open(0);
    match rig.event() {
        Event::OpenFailed { call, why } => {
            assert_eq!(call, id(0));
            assert!(why.contains(&(rig.b(0).rtp + 1).to_string()), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let ours = [rig.a(0).rtp, rig.a(0).rtp + 1, rig.b(0).rtp];
    assert!(ours.iter().all(|&port| UdpSocket::bind((rig.bind, port)).is_ok()));
    drop(taken);
    rig.open(0);
    rig.stats(0);
    let held = |port: &u16| UdpSocket::bind((rig.bind, *port)).is_err();
    assert!(!rig::binds_ports() || ours.iter().all(held));
}

fn ports_that_make_no_sense_fail_the_call() {
    let rig = Rig::new(2);
    let odd = LegPorts { rtp: rig.base + 1, ..rig.a(0) };
    let not_ours = LegPorts { bind: [192, 0, 2, 1].into(), ..rig.a(0) };
    for bad in [odd, not_ours, rig.a(0)] {
        rig.engine.open(id(0), 0, rig.a(0), bad, [7; 32]).unwrap();
        assert!(matches!(rig.event(), Event::OpenFailed { call, .. } if call == id(0)), "{bad:?}");
    }
    rig.open(0);
    rig.stats(0);
    assert_eq!(rig.engine.totals().ports, 4);
}

fn a_call_opened_twice_keeps_its_first_ports() {
    let rig = Rig::new(2);
    rig.open(0);
    rig.engine.open(id(0), 0, rig.a(1), rig.b(1), [7; 32]).unwrap();
    assert!(matches!(rig.event(), Event::OpenFailed { .. }));
    assert!(!rig::binds_ports() || UdpSocket::bind((rig.bind, rig.a(0).rtp)).is_err());
    let carried = rig.stats(0);
    assert_eq!(carried.a.received_packets, 0);
    assert!(UdpSocket::bind((rig.bind, rig.a(1).rtp)).is_ok());
}

fn closing_what_was_never_open_ends_with_zeros() {
    let rig = Rig::new(1);
    assert_eq!(rig.close(3), media::CallStats::default());
}

fn a_call_that_comes_after_an_idle_time_is_served() {
    let rig = Rig::new(1);
    let (a, b) = (far_side(rig.bind), far_side(rig.bind));
    for sequence in 0..200 {
        rig.open(0);
        rig.connect(0, stream(&a, &a), stream(&b, &b));
        a.send_to(&rtp(1, sequence), rig.address(rig.a(0).rtp)).unwrap();
        assert_eq!(receive(&b).0, rtp(1, sequence));
        assert_eq!(rig.close(0).a.received_packets, 1);
    }
}

fn a_full_ring_refuses_and_recovers() {
    let config = rig::config();
    let (entered, at_event) = channel();
    let (release, go_on) = sync_channel::<()>(0);
    let go_on = std::sync::Mutex::new(go_on);
    let engine = Engine::start(
        config,
        Box::new(move |_| {
            let _ = entered.send(());
            let _ = go_on.lock().unwrap().recv();
        }),
    )
    .unwrap();
    engine.close(id(0), 0).unwrap();
    at_event.recv_timeout(rig::PATIENCE).unwrap();
    // The worker now stands in its event: nothing is read.
    let mut waiting = 0;
    let refusal = loop {
        match engine.close(id(0), 0) {
            Ok(()) => waiting += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, EngineError::RingFull(0)), "{refusal}");
    assert!(waiting >= 100, "a ring of {waiting} is no ring");
    drop(release);
    for _ in 0..waiting {
        at_event.recv_timeout(rig::PATIENCE).unwrap();
    }
    engine.close(id(0), 0).unwrap();
    at_event.recv_timeout(rig::PATIENCE).unwrap();
}

fn a_worker_that_does_not_exist_is_refused() {
    let rig = Rig::new(1);
    assert!(matches!(rig.engine.close(MediaId(1), 1), Err(EngineError::NoSuchWorker(1))));
    let none = media_engine::Config { workers: 0, ..rig::config() };
    assert!(matches!(Engine::start(none, Box::new(|_| ())), Err(EngineError::NoWorkers)));
}

fn the_end_of_the_engine_is_the_end_of_its_calls() {
    let Rig { engine, events, bind, base } = {
        let rig = Rig::new(3);
        (0..3).for_each(|call| rig.open(call));
        rig.stats(2);
        rig
    };
    engine.shutdown();
    let mut closed: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Closed { call, .. } => call.0,
            other => panic!("{other:?}"),
        })
        .collect();
    closed.sort_unstable();
    assert_eq!(closed, [0, 1, 2]);
    assert!((base..base + 12).all(|port| UdpSocket::bind((bind, port)).is_ok()));
}

fn a_leg_that_moves_speaks_from_its_new_port_and_its_old_one_is_free() {
    let rig = Rig::new(2);
    let (a, b) = (far_side(rig.bind), far_side(rig.bind));
    rig.open(0);
    rig.connect(0, stream(&a, &a), stream(&b, &b));
    a.send_to(&rtp(1, 1), rig.address(rig.a(0).rtp)).unwrap();
    assert_eq!(receive(&b).1, rig.address(rig.b(0).rtp));
    rig.engine.move_leg(id(0), 0, media::Side::B, rig.b(1)).unwrap();
    rig.stats(0);
    a.send_to(&rtp(1, 2), rig.address(rig.a(0).rtp)).unwrap();
    assert_eq!(receive(&b), (rtp(1, 2), rig.address(rig.b(1).rtp)));
    b.send_to(&rtp(2, 1), rig.address(rig.b(1).rtp)).unwrap();
    assert_eq!(receive(&a), (rtp(2, 1), rig.address(rig.a(0).rtp)));
    assert!(UdpSocket::bind((rig.bind, rig.b(0).rtp)).is_ok());

    // Where it cannot go, it stays.
    let taken = UdpSocket::bind((rig.bind, rig.a(1).rtp + 1)).unwrap();
    rig.engine.move_leg(id(0), 0, media::Side::B, rig.a(1)).unwrap();
    assert!(matches!(rig.event(), Event::OpenFailed { call, .. } if call == id(0)));
    drop(taken);
    a.send_to(&rtp(1, 3), rig.address(rig.a(0).rtp)).unwrap();
    assert_eq!(receive(&b), (rtp(1, 3), rig.address(rig.b(1).rtp)));
    assert_eq!(rig.close(0).a.received_packets, 3);
    for port in [rig.b(0).rtp, rig.b(1).rtp, rig.a(1).rtp] {
        assert!(UdpSocket::bind((rig.bind, port)).is_ok());
    }
}

fn a_call_between_ipv4_and_ipv6_is_carried() {
    let rig = Rig::new(1);
    let six = std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    let (a, b) = (far_side(rig.bind), far_side(six));
    let leg_b = LegPorts { bind: six, ..rig.b(0) };
    rig.engine.open(id(0), 0, rig.a(0), leg_b, [7; 32]).unwrap();
    rig.connect(0, stream(&a, &a), stream(&b, &b));
    a.send_to(&rtp(1, 1), rig.address(rig.a(0).rtp)).unwrap();
    assert_eq!(receive(&b), (rtp(1, 1), (six, leg_b.rtp).into()));
    b.send_to(&rtp(2, 1), (six, leg_b.rtp)).unwrap();
    assert_eq!(receive(&a), (rtp(2, 1), rig.address(rig.a(0).rtp)));
}

fn speech_that_one_side_does_not_know_comes_in_the_codec_it_knows() {
    let rig = Rig::new(1);
    let (a, b) = (far_side(rig.bind), far_side(rig.bind));
    let opus = media::Codec::Opus.payload();
    let other = sdp::Stream { payloads: vec![opus], ..encrypted(stream(&b, &b), 1, 1) };
    rig.open(0);
    let terms = media::Terms { transcode: true, ..media::Terms::default() };
    let leg = |stream| Some(media::Carriage { stream, terms: terms.clone() });
    let connect = |b| rig.engine.connect(id(0), 0, leg(stream(&a, &a)), leg(b)).unwrap();
    connect(other);
    rig.stats(0);
    for sequence in 0..50 {
        a.send_to(&rtp(1, sequence), rig.address(rig.a(0).rtp)).unwrap();
        let (packet, _) = receive(&b);
        assert_eq!((packet[1], packet[2..4].to_vec()), (111, sequence.to_be_bytes().to_vec()));
        assert_eq!(packet[4..8], (u32::from(sequence) * 960).to_be_bytes(), "48 kHz");
        assert!(packet.len() < 100, "20 ms of Opus under SRTP: {} octets", packet.len());
    }
    // It agrees on another codec: what its transcoder has in hand is not sent.
    let wide = media::Codec::G722.payload();
    connect(sdp::Stream { payloads: vec![wide], ..stream(&b, &b) });
    rig.stats(0);
    a.send_to(&rtp(1, 50), rig.address(rig.a(0).rtp)).unwrap();
    let (packet, _) = receive(&b);
    assert_eq!((packet[1], packet.len()), (9, 172));
    // What is no packet of 20 ms of anything.
    a.send_to(&[&rtp(1, 51)[..], &[0; 1000]].concat(), rig.address(rig.a(0).rtp)).unwrap();
    a.send_to(&rtp(1, 52), rig.address(rig.a(0).rtp)).unwrap();
    assert_eq!(receive(&b).0[2..4], 52_u16.to_be_bytes());
    let stats = rig.close(0);
    assert_eq!((stats.a.received_packets, stats.b.sent_packets), (53, 52));
    assert_eq!(stats.a.dropped(DropReason::Untranscodable), 1);
    assert_eq!(rig.engine.totals().transcoded, 52);
}

fn without_a_transcoder_what_needs_one_is_dropped_and_counted() {
    let base = rig::free_ports(rig::own_host(), 4);
    let config = media_engine::Config { transcoders: 0, ..rig::config() };
    let (tell, events) = channel();
    let engine = Engine::start(config, Box::new(move |event| drop(tell.send(event)))).unwrap();
    let (a, b) = (far_side(rig::own_host()), far_side(rig::own_host()));
    let port = |rtp| LegPorts { bind: rig::own_host(), rtp, dscp: 46 };
    engine.open(id(0), 0, port(base), port(base + 2), [7; 32]).unwrap();
    let terms = media::Terms { transcode: true, ..media::Terms::default() };
    let leg = |stream| Some(media::Carriage { stream, terms: terms.clone() });
    let wide = sdp::Stream { payloads: vec![media::Codec::G722.payload()], ..stream(&b, &b) };
    engine.connect(id(0), 0, leg(stream(&a, &a)), leg(wide)).unwrap();
    engine.stats(id(0), 0).unwrap();
    events.recv_timeout(rig::PATIENCE).unwrap();
    a.send_to(&rtp(1, 1), (rig::own_host(), base)).unwrap();
    b.send_to(&rtp(2, 1), (rig::own_host(), base + 2)).unwrap();
    assert_eq!(receive(&a).0, rtp(2, 1), "A-law is understood there");
    engine.close(id(0), 0).unwrap();
    match events.recv_timeout(rig::PATIENCE).unwrap() {
        Event::Closed { stats, .. } => {
            assert_eq!(stats.a.dropped(DropReason::TranscoderFull), 1);
        }
        other => panic!("{other:?}"),
    }
}
