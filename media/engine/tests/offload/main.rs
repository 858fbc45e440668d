//! Flows that the kernel sends on, in namespaces of their own: what arrives, what is counted, and that it
//! ends with whatever changes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panic")]
#![expect(clippy::disallowed_methods, reason = "packets and the kernel have the time of a clock")]

mod lab;
#[path = "../rig/mod.rs"]
mod rig;
mod walk;
mod wires;

use lab::{Lab, Way, labs};
use media::{DropReason, Notice, Order, Side};
use media_engine::{Carried, Datapath, Event};
use rig::namespace::{command, skipped};
use rig::{PATIENCE, far_side, id, nothing_for, rtcp, rtp, stream};
use sdp::{Payload, Silence, Stream};
use std::time::{Duration, Instant};

#[test]
fn packets_cross_in_the_kernel_and_each_is_counted() {
    for mut lab in labs() {
        let (before, _) = lab.rig.carried(0);
        let offloaded = lab.offloaded_packets();
        for _ in 0..300 {
            lab.speak(Side::A);
            lab.speak(Side::B);
        }
        let stats = lab.rig.stats(0);
        for (now, before) in [(&stats.a, &before.a), (&stats.b, &before.b)] {
            assert_eq!(now.received_packets, before.received_packets + 300);
            assert_eq!(now.received_octets, before.received_octets + 300 * 172);
            assert_eq!(now.sent_packets, before.sent_packets + 300);
            assert_eq!((now.lost_packets, now.duplicate_packets, now.reordered_packets), (0, 0, 0));
            assert_eq!(now.expected_packets, now.received_packets);
        }
        let by_kernel = lab.offloaded_packets() - offloaded;
        // A worker that is kept from reading what the kernel writes down has packets come up instead, so how
        // many went by is the machine's to say.
        assert!(by_kernel > 0, "{:?}: {by_kernel} of 600", lab.way);
        let said = u64::from(lab.next[0] - 1);
        let stats = lab.rig.close(0);
        assert_eq!((stats.a.received_packets, stats.b.received_packets), (said, said));
        let totals = lab.rig.engine.totals();
        assert_eq!((totals.received, totals.forwarded), (2 * said, 2 * said));
    }
}

#[test]
fn the_end_of_a_call_says_that_the_kernel_carried_it() {
    for mut lab in labs() {
        lab.until_offloaded();
        lab.rig.engine.close(id(0), 0).unwrap();
        match lab.rig.event() {
            Event::Closed { carried: Some(carried), .. } => {
                assert!(carried.iter().all(|it| it.by == lab.way.datapath()), "{carried:?}");
            }
            other => panic!("{other:?} instead of the end of the call"),
        }
    }
}

#[test]
fn loss_repetition_and_order_are_known_of_packets_that_nobody_here_has_seen() {
    for lab in labs() {
        let before = lab.rig.stats(0).a;
        let first = lab.next[0] + 1;
        for round in 0..40_u16 {
            // Of ten, one is lost; one comes twice, and two in the wrong order.
            for step in [0, 1, 2, 2, 4, 3, 5, 6, 7, 9] {
                let packet = rtp(1, first + round * 10 + step);
                lab.says(Side::A, &packet);
                assert_eq!(lab.hears(Side::B), packet);
            }
        }
        let stats = lab.rig.stats(0).a;
        assert_eq!(stats.lost_packets, before.lost_packets + 40 + 1);
        assert_eq!(stats.duplicate_packets, before.duplicate_packets + 40);
        assert_eq!(stats.reordered_packets, before.reordered_packets + 40);
        assert_eq!(stats.received_packets, before.received_packets + 400);
    }
}

#[test]
fn rtcp_keys_strangers_and_other_sources_come_up_and_speech_goes_on_beside() {
    for mut lab in labs() {
        let event = Payload::mono(101, "telephone-event", 8000);
        let with_keys = |stream: Stream| {
            let payloads = [&stream.payloads[..], std::slice::from_ref(&event)].concat();
            Stream { payloads, ..stream }
        };
        let (a, b) = (stream(&lab.a, &lab.a), stream(&lab.b, &lab.b));
        lab.rig.connect(0, with_keys(a), with_keys(b));
        lab.until_offloaded();
        let before = lab.rig.stats(0).a;

        lab.says(Side::A, &rtcp(1));
        assert_eq!(lab.hears(Side::B)[..28], rtcp(1)[..28], "the report");
        assert_eq!(lab.rig.stats(0).a.rtcp_packets, 1);

        for n in 0..6 {
            let number = lab.next[0];
            lab.next[0] += 1;
            let mut packet = rtp(1, number);
            packet[1] = 101;
            packet.truncate(12);
            packet.extend([5, if n > 2 { 0x8a } else { 10 }, 0, 160]);
            let timestamp = u32::from(number - n) * 160;
            packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
            lab.says(Side::A, &packet);
            assert_eq!(lab.hears(Side::B), packet);
            assert_eq!(lab.rig.carried(0).1[0].by, lab.way.datapath(), "keys pass as they are");
        }
        assert_eq!(lab.rig.stats(0).a.keys, 1);
        assert_eq!(lab.rig.stats(0).a.lost_packets, before.lost_packets);

        let there = lab.theirs.as_ref().unwrap_or(&lab.ours);
        let at = lab.a.local_addr().unwrap().ip();
        let stranger = there.run(move || far_side(at));
        for n in 0..20 {
            stranger.send_to(&rtp(1, lab.next[0] + n), lab.near_of(Side::A)).unwrap();
        }
        lab.speak(Side::A);
        while lab.rig.stats(0).a.drops[DropReason::Unlatched as usize] < 20 {}
        nothing_for(&lab.b);
        assert_eq!(lab.rig.carried(0).1[0].by, lab.way.datapath());

        // The far side is another telephone by now.
        for number in 0..10 {
            let packet = rtp(77, number);
            lab.says(Side::A, &packet);
            assert_eq!(lab.hears(Side::B), packet);
        }
        let (stats, carried) = lab.rig.carried(0);
        assert_eq!(stats.a.lost_packets, before.lost_packets);
        assert_eq!(stats.a.received_packets, before.received_packets + 6 + 1 + 10);
        assert_eq!(carried[1].by, lab.way.datapath(), "it has nothing to do with that");
    }
}

#[test]
fn a_far_side_that_moves_is_followed_without_a_lost_packet() {
    for mut lab in labs() {
        let there = lab.theirs.as_ref().unwrap_or(&lab.ours);
        let at = lab.b.local_addr().unwrap().ip();
        let moved = there.run(move || far_side(at));
        let (a, b) = (stream(&lab.a, &lab.a), stream(&moved, &moved));
        lab.rig.connect(0, a, b);
        let before = std::mem::replace(&mut lab.b, moved);
        for _ in 0..20 {
            lab.speak(Side::A);
            lab.speak(Side::B);
        }
        nothing_for(&before);
        let stats = lab.rig.stats(0);
        assert_eq!((stats.a.lost_packets, stats.b.lost_packets), (0, 0));
        assert_eq!(stats.a.received_packets, u64::from(lab.next[0] - 1));
        lab.until_offloaded();
    }
}

#[test]
fn silence_is_noticed_in_its_usual_time() {
    // Each takes as long as silence does.
    let labs: Vec<Lab> = labs().step_by(3).collect();
    let now = Instant::now();
    for mut lab in labs {
        lab.rig.engine.order(id(0), 0, Side::A, Order::Watch).unwrap();
        let start = now.elapsed();
        while now.elapsed() < start + Duration::from_millis(1200) {
            lab.speak(Side::A);
            lab.speak(Side::B);
            std::thread::sleep(Duration::from_millis(20));
        }
        // The last packet comes between these.
        let before = Instant::now();
        lab.until_offloaded();
        let after = Instant::now();
        let silent = lab.rig.event();
        let (at_least, at_most) = (after.elapsed(), before.elapsed());
        assert!(
            matches!(silent, Event::Notice { notice: Notice::Silent(Silence::NoPackets), .. }),
            "{silent:?}"
        );
        assert!(at_most > Duration::from_secs(3), "{at_most:?}");
        assert!(at_least < Duration::from_millis(3500), "{at_least:?}");
    }
}

#[test]
fn a_burst_that_the_log_has_no_room_for_crosses_all_the_same() {
    for mut lab in labs() {
        let first = lab.next[0];
        for number in first..first + 100 {
            lab.says(Side::A, &rtp(1, number));
        }
        lab.next[0] += 100;
        let mut came: Vec<_> = (0..100).map(|_| lab.hears(Side::B)[2..4].to_vec()).collect();
        came.sort();
        let sent: Vec<_> = (first..first + 100).map(|n| n.to_be_bytes().to_vec()).collect();
        assert_eq!(came, sent);
        lab.speak(Side::A);
        assert_eq!(lab.rig.stats(0).a.received_packets, u64::from(lab.next[0] - 1));
        assert_eq!(lab.rig.stats(0).a.lost_packets, 0);
    }
}

#[test]
fn a_neighbour_that_changes_is_followed() {
    for way in [Way::Tc, Way::Xdp] {
        let Some(mut lab) = Lab::offloaded(way, false) else { return };
        let theirs = lab.theirs.take().unwrap();
        theirs.ip("link set far address 02:00:00:00:00:99");
        lab.ours.ip("neigh replace 10.9.0.2 lladdr 02:00:00:00:00:99 dev near");
        lab.theirs = Some(theirs);
        let start = Instant::now();
        // Until it is told, packets go where the old one was.
        lab.b.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        loop {
            let packet = rtp(1, lab.next[0]);
            lab.next[0] += 1;
            lab.says(Side::A, &packet);
            if lab.b.recv(&mut [0; 2048]).is_ok() {
                break;
            }
            assert!(start.elapsed() < PATIENCE);
        }
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        lab.b.set_read_timeout(Some(PATIENCE)).unwrap();
        lab.until_offloaded();
    }
}

#[test]
fn without_a_way_the_call_is_back_in_user_space_and_with_one_it_goes_on() {
    for way in [Way::Tc, Way::Xdp] {
        let Some(mut lab) = Lab::offloaded(way, false) else { return };
        lab.ours.ip("link set near down");
        let start = Instant::now();
        loop {
            let [a, b] = lab.rig.carried(0).1;
            if a.by == Datapath::Portable && b.by == Datapath::Portable {
                assert!(!a.why_not_faster.is_empty());
                break;
            }
            assert!(start.elapsed() < PATIENCE);
        }
        lab.ours.ip("link set near up");
        // Carrier and neighbours take their time; then it is as before.
        lab.ours.run(|| {
            for _ in 0..50 {
                if command("ip link show near").contains("state UP") {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        lab.until_offloaded();
    }
}

#[test]
fn what_a_far_side_on_this_host_is_sent_from_elsewhere_is_lost() {
    let Some(mut lab) = Lab::new(Way::Tc, false) else { return };
    // Without what a socket knows of the way, the kernel takes a packet on its loopback from an address of
    // its own for a lie.
    let near = lab.near[1];
    lab.b = lab.ours.run(move || far_side(near));
    lab.rig.connect(0, stream(&lab.a, &lab.a), stream(&lab.b, &lab.b));
    let start = Instant::now();
    let why = loop {
        lab.speak(Side::A);
        lab.speak(Side::B);
        let [a, _] = lab.rig.carried(0).1;
        assert_eq!(a.by, Datapath::Portable);
        if a.why_not_faster.contains("on this host") {
            break a.why_not_faster;
        }
        assert!(start.elapsed() < PATIENCE, "{}", a.why_not_faster);
    };
    for _ in 0..100 {
        lab.speak(Side::A);
        lab.speak(Side::B);
    }
    assert_eq!(lab.rig.carried(0).1[0].why_not_faster, why);
    assert_eq!(lab.rig.close(0).a.received_packets, u64::from(lab.next[0] - 1));
}

#[test]
fn the_kernel_sends_on_past_a_policy_that_comes() {
    for mut lab in labs() {
        let by_ipsec = lab.ours.run(|| std::path::Path::new("/proc/net/xfrm_stat").exists());
        if !by_ipsec {
            return skipped("IPsec in the kernel");
        }
        lab.ours.ip("xfrm policy add dir out dst 192.0.2.77 action block");
        let start = Instant::now();
        loop {
            let (_, carried) = lab.rig.carried(0);
            let here = |it: &Carried| {
                !matches!(it.by, Datapath::XdpOffload | Datapath::TcOffload)
                    && it.why_not_faster.contains("IPsec policies of this host (1)")
            };
            if carried.iter().all(here) {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{:?}: {carried:?}", lab.way);
        }
        let before = lab.rig.stats(0).a.received_packets;
        for _ in 0..20 {
            lab.speak(Side::A);
            lab.speak(Side::B);
        }
        assert_eq!(lab.rig.stats(0).a.received_packets, before + 20);
        let offloaded = lab.offloaded_packets();
        lab.speak(Side::A);
        assert_eq!(lab.offloaded_packets(), offloaded);
    }
}

#[test]
fn what_is_encrypted_says_why_it_stays() {
    let Some(lab) = Lab::new(Way::Loopback, false) else { return };
    let (a, b) = (stream(&lab.a, &lab.a), stream(&lab.b, &lab.b));
    lab.rig.connect(0, a, rig::encrypted(b, 1, 2));
    let start = Instant::now();
    loop {
        lab.says(Side::A, &rtp(1, 1));
        let [a, _] = lab.rig.carried(0).1;
        assert_eq!(a.by, Datapath::Portable);
        if a.why_not_faster.contains("SRTP has to be made or opened") {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{}", a.why_not_faster);
    }
}

#[test]
fn the_end_of_a_call_frees_its_place_and_the_end_of_the_engine_the_interfaces() {
    let Some(mut lab) = Lab::offloaded(Way::Xdp, false) else { return };
    assert!(lab.ours.run(|| command("ip -d link show near")).contains("prog/xdp"));
    for round in 0..3 {
        lab.again(1000 * round + 1);
        lab.until_offloaded();
    }
    let Lab { rig, ours, .. } = lab;
    drop(rig);
    assert!(!ours.run(|| command("ip -d link show near")).contains("prog/xdp"));
}
