//! Frames as a card might bring them, given to the programs by hand: there need be no card, and no device of
//! a VLAN.

use super::*;
use crate::namespace::{Namespace, command, skipped};
use crate::wire;
use std::net::IpAddr;

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
/// Where frames come in that are given to a program by hand.
const LOOPBACK: u32 = 1;

/// A flow from a far side to another, whose packets leave where they came from.
fn flow() -> Flow {
    let mut payload_types = [Flow::COMES_HERE; 128];
    payload_types[8] = 0;
    let [from, to] = ["192.0.2.1:4000", "192.0.2.2:5000"].map(|at| at.parse().unwrap());
    Flow { from, to, ssrc: 7, shift: 3, payload_types }
}

fn link(mac: u8, vlan: Option<u16>, from: &str) -> Link {
    Link {
        interface: 1,
        device: 1,
        vlan,
        mtu: 1500,
        mtu_sure: 1500,
        source_mac: [2, 0, 0, 0, 0, 1],
        mac: [2, 0, 0, 0, 0, mac],
        from: from.parse::<IpAddr>().unwrap(),
        loopback: false,
    }
}

/// A frame with one packet of the flow, behind a tag if it is of a VLAN.
fn frame(vlan: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let Flow { from, .. } = flow();
    let link = link(2, vlan, "192.0.2.1");
    let headers = Template::new(Some(&link), from, at(), 0).unwrap();
    let mut frame = vec![0; headers.len() + payload.len()];
    let (room, rest) = frame.split_at_mut(headers.len());
    rest.copy_from_slice(payload);
    headers.write(room, payload, 1);
    frame
}

fn packet() -> Vec<u8> {
    let mut packet = vec![0x80, 8, 0xff, 0xfe, 0, 0, 0, 160, 0, 0, 0, 7];
    packet.extend(0..160);
    packet
}

/// This moment on the clock of programs, too.
fn now() -> shared::Clock {
    Anchor::new().clock(crate::clock::now().mono)
}

/// Where the flow comes in.
fn at() -> SocketAddr {
    "198.51.100.1:20000".parse().unwrap()
}

/// A kernel with the flow, and its memory; `None` where BPF cannot be had.
fn with_flow() -> Option<(Kernel, Region)> {
    let mut kernel = match Kernel::load_with_flows() {
        Ok(kernel) => kernel,
        Err(error) => {
            skipped(&error.to_string());
            return None;
        }
    };
    let region = kernel.flows().unwrap();
    let template =
        Template::new(Some(&link(3, None, "198.51.100.1")), at(), flow().to, 46).unwrap();
    let exit = Exit { hook: Hook::Xdp, interface: 1, mtu: 1500, back: true };
    region.set(5, &Rules::new(&flow(), (at(), LOOPBACK), &template, exit), Hook::Xdp);
    kernel.take_flow(at(), 5).unwrap();
    Some((kernel, region))
}

#[test]
fn a_frame_of_a_flow_leaves_with_something_wrong() {
    let Some((mut kernel, region)) = with_flow() else { return };
    for program in ["to_queue", "forward_xdp"] {
        let (verdict, goes) = kernel.run_by_hand(program, &frame(None, &packet()));
        assert_eq!(verdict, XDP_TX, "{program}");
        assert_eq!(goes[..12], [2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 1]);
        assert_eq!((goes[15] >> 2, goes[22]), (46, 64), "DSCP and TTL");
        // The checksums are right, or it would be none.
        let parsed = wire::parse(&goes).unwrap();
        assert_eq!((parsed.from, parsed.to), (at(), flow().to));
        let mut expected = packet();
        expected[1] = 0;
        expected[2..4].copy_from_slice(&1_u16.to_be_bytes());
        assert_eq!(goes[parsed.payload], expected);
    }
    let mut next = 0;
    assert_eq!(region.take(5, &mut next, now()).waiting(), 2);
}

#[test]
fn a_packet_of_a_flow_is_taken_from_an_interface_that_its_far_side_is_not_behind() {
    let Some((mut kernel, region)) = with_flow() else { return };
    let came = frame(None, &packet());
    assert_eq!(kernel.run_by_hand("to_queue", &came).0, XDP_TX);
    region.clear(5);
    let template =
        Template::new(Some(&link(3, None, "198.51.100.1")), at(), flow().to, 46).unwrap();
    let exit = Exit { hook: Hook::Xdp, interface: LOOPBACK, mtu: 1500, back: true };
    let rules = Rules::new(&flow(), (at(), LOOPBACK + 1), &template, exit);
    region.set(5, &rules, Hook::Xdp);
    for program in ["to_queue", "forward_xdp"] {
        assert_eq!(kernel.run_by_hand(program, &came), (XDP_PASS, came.clone()), "{program}");
    }
}

#[test]
fn a_frame_of_a_vlan_is_forwarded_without_its_tag_or_changed() {
    let Some((mut kernel, region)) = with_flow() else { return };
    let plain = frame(None, &packet());
    let tagged = |tags: &[[u8; 4]]| {
        let mut tagged = plain.clone();
        tagged.splice(12..12, tags.concat());
        tagged
    };
    assert_eq!(tagged(&[[0x81, 0, 0, 7]]), frame(Some(7), &packet()));
    // Of VLAN 7, with a priority alone, and within a provider's.
    for tags in [
        &[[0x81, 0, 0, 7]][..],
        &[[0x81, 0, 0xa0, 0]],
        &[[0x88, 0xa8, 0, 8], [0x81, 0, 0, 7]],
        &[[0x81, 0, 0, 8], [0x81, 0, 0, 7]],
    ] {
        let came = tagged(tags);
        for program in ["to_queue", "forward_xdp"] {
            assert_eq!(kernel.run_by_hand(program, &came), (XDP_PASS, came.clone()), "{tags:?}");
        }
    }
    let mut next = 0;
    let waiting = region.take(5, &mut next, now()).waiting();
    assert_eq!(waiting, 0, "written down");

    // Behind one tag it is still known for what it is: a packet to a port of a worker.
    kernel.take_port(at(), 1).unwrap();
    for (tags, astray) in [(&[[0x81, 0, 0, 7]][..], 1), (&[[0x88, 0xa8, 0, 8]], 1), (&[], 1)] {
        kernel.run_by_hand("to_queue", &tagged(tags));
        assert_eq!(kernel.astray(1), astray, "{tags:?}");
    }
}

#[test]
fn what_is_cut_short_is_read_beyond_its_end() {
    let Some((mut kernel, _region)) = with_flow() else { return };
    kernel.take_port(at(), 1).unwrap();
    let whole = frame(None, &packet());
    // Shorter frames than Ethernet has are not taken by hand either.
    for len in 14..whole.len() {
        let (verdict, goes) = kernel.run_by_hand("to_queue", &whole[..len]);
        assert_eq!((verdict, &goes[..]), (XDP_PASS, &whole[..len]));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a worker has something else to do meanwhile")]
fn a_packet_seems_to_have_come_earlier_the_later_its_flow_is_read() {
    let Some((mut kernel, region)) = with_flow() else { return };
    let (anchor, mut next) = (Anchor::new(), 0);
    let mut came = Vec::new();
    // Of what a worker does between its look at the clock and a flow there is more or less.
    for busy in [0, 30, 0] {
        let before = crate::clock::now().mono;
        assert_eq!(kernel.run_by_hand("to_queue", &frame(None, &packet())).0, XDP_TX);
        let looked = crate::clock::now().mono;
        std::thread::sleep(Duration::from_millis(busy));
        let passed = region.take(5, &mut next, anchor.clock(looked)).next().unwrap();
        came.push((before, passed.at, looked));
    }
    let unit = Duration::from_micros(1);
    assert!(came.iter().all(|(a, at, b)| *at + unit >= *a && *at <= *b), "{came:?}");
}

#[test]
fn a_frame_that_is_not_of_the_flow_or_damaged_leaves_as_if_it_were_whole() {
    let Some((mut kernel, region)) = with_flow() else { return };
    let (whole, mut state, mut next) = (frame(None, &packet()), 0x9e37_79b9_u32, 0);
    let mut random = |below: usize| {
        // xorshift (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize % below
    };
    let (mut passed, mut damaged) = (0, 0);
    for round in 0..30_000 {
        let mut came = whole.clone();
        for _ in 0..round % 4 {
            // Headers first of all.
            let anywhere = random(4) == 0;
            let at = random(if anywhere { came.len() } else { 60 });
            came[at] ^= 1 << random(8);
        }
        let program = if round % 2 == 0 { "to_queue" } else { "forward_xdp" };
        let (verdict, goes) = kernel.run_by_hand(program, &came);
        // Lest the log is full.
        region.take(5, &mut next, now()).for_each(drop);
        if verdict != XDP_TX {
            assert_eq!((verdict, &goes), (XDP_PASS, &came));
            continue;
        }
        passed += 1;
        // What of the headers it is known by, and what nobody changes.
        for known in [12..18, 21..22, 23..24, 26..40] {
            assert_eq!(came[known.clone()], whole[known], "{came:02x?}");
        }
        assert_eq!(wire::folded(wire::sum(&came[14..34])), 0xffff, "{came:02x?}");
        assert_eq!(goes.len(), came.len());
        // UDP's sum is as right as it was.
        let is_right = |frame: &[u8]| wire::parse(frame).is_some();
        damaged += usize::from(!is_right(&came));
        assert_eq!(is_right(&goes), is_right(&came), "{came:02x?}");
    }
    assert!(passed > 8_000 && damaged > 500, "{passed}, of which damaged {damaged}");
}

/// Does something with the flows of one worker out of so many, whose far sides are on a cable.
fn on_a_cable(workers: usize, deed: impl FnOnce(&mut Offload) + Send + 'static) {
    let Some(namespace) = Namespace::new() else { return };
    namespace.ip("link add near type veth peer name far");
    namespace.ip("addr add 10.7.0.1/24 dev near");
    namespace.ip("link set far up");
    namespace.ip("link set near up");
    for far in 2..=4 {
        namespace.ip(&format!("neigh add 10.7.0.{far} lladdr 02:00:00:00:00:0{far} dev near"));
    }
    namespace.run(move || {
        let kernel = match Kernel::load_with_flows() {
            Ok(kernel) => kernel,
            Err(error) => return skipped(&error.to_string()),
        };
        let region = Arc::new(kernel.flows().unwrap());
        let kernel = Arc::new(Mutex::new(kernel));
        deed(&mut Offload::new(kernel, region, (0, workers)).unwrap());
    });
}

/// Has a flow to this far side go in; its slot.
fn goes_in(offload: &mut Offload, call: u16, to: &str) -> u32 {
    let flow = Flow {
        from: "10.7.0.2:4000".parse().unwrap(),
        to: SocketAddr::new(to.parse().unwrap(), 5000),
        ..flow()
    };
    let at = |port| SocketAddr::from(([10, 7, 0, 1], port));
    let ends = Ends { comes: at(20_000 + 4 * call), goes: at(20_002 + 4 * call), dscp: 46 };
    let of = (u32::from(call), MediaId(call.into()), Side::A);
    offload.take_in(of, flow, ends).unwrap()
}

#[test]
fn a_program_that_was_held_up_sends_a_packet_as_another_calls() {
    // Of so many workers each has four slots.
    on_a_cable(FLOWS_MAX as usize / 4, |offload| {
        let now = crate::clock::now();
        let slot = goes_in(offload, 1, "10.7.0.3");
        offload.stop(slot);
        offload.let_go(slot, now.mono);
        let at = |later| Now { mono: now.mono + later, ..now };
        assert!(!offload.left(at(Duration::from_millis(900)), |_, _| ()));
        assert!(offload.left(at(GRACE), |_, _| ()));
        let others = [2, 3, 4].map(|call| goes_in(offload, call, "10.7.0.3"));
        assert!(!others.contains(&slot), "{slot} of {others:?}");
        assert_eq!(goes_in(offload, 5, "10.7.0.3"), slot);
    });
}

#[test]
fn a_flow_is_passed_over_when_another_goes_while_they_are_asked_for_their_ways() {
    on_a_cable(1, |offload| {
        let last = WAYS_PER_TURN as u16 + 40;
        let far = |call| if call == 0 || call == last { "10.7.0.4" } else { "10.7.0.3" };
        let slots: Vec<u32> = (0..=last).map(|call| goes_in(offload, call, far(call))).collect();
        command("ip neigh replace 10.7.0.4 lladdr 02:00:00:00:00:99 dev near");
        let (mut astray, mut some) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            offload.led_astray(crate::clock::now().mono, &mut some);
            for slot in &some {
                offload.stop(*slot);
                offload.let_go(*slot, crate::clock::now().mono);
            }
            astray.append(&mut some);
        }
        astray.sort_unstable();
        assert_eq!(astray, [slots[0], slots[usize::from(last)]]);
    });
}

/// Of a narrow path the sockets below are told, and nobody else: what a router might refuse is theirs.
#[test]
fn what_a_path_may_turn_out_too_narrow_for_is_sent_on_by_the_kernel() {
    on_a_cable(1, |offload| {
        command("ip route add 192.0.2.0/24 via 10.7.0.3");
        command("ip route add 198.51.100.0/24 via 10.7.0.3 mtu 500");
        let mut mtu = |call, to| {
            let slot = goes_in(offload, call, to);
            offload.at(slot).unwrap().exit.mtu
        };
        assert_eq!(mtu(1, "10.7.0.4"), 1500);
        assert_eq!((mtu(2, "192.0.2.9"), mtu(3, "198.51.100.9")), (552, 500));
        assert_eq!(mtu(4, "10.7.0.4"), 1500);
    });
}
