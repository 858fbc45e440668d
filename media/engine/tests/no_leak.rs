//! Calls that come and go leave no descriptor behind. Alone in its process, so that it can count.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod rig;

use rig::{Rig, far_side, receive, rtp, stream};

#[test]
fn two_hundred_calls_leave_no_descriptor() {
    rig::by_each_in_turn(calls_come_and_go);
}

fn calls_come_and_go() {
    const CALLS: u16 = 200;
    let rig = Rig::new(CALLS);
    let (a, b) = (far_side(rig.bind), far_side(rig.bind));
    // What an engine has once for all calls it may take with the first.
    rig.open(0);
    rig.close(0);
    let before = descriptors();
    for call in 0..CALLS {
        rig.open(call);
        rig.connect(call, stream(&a, &a), stream(&b, &b));
    }
    let sockets = if rig::binds_ports() { 4 * usize::from(CALLS) } else { 0 };
    assert_eq!(descriptors(), before + sockets);
    assert_eq!(rig.engine.totals().ports, 4 * u64::from(CALLS));
    for call in 0..CALLS {
        a.send_to(&rtp(1, call), rig.address(rig.a(call).rtp)).unwrap();
        assert_eq!(receive(&b).0, rtp(1, call));
    }
    for call in 0..CALLS {
        assert_eq!(rig.close(call).b.sent_packets, 1);
    }
    assert_eq!(descriptors(), before);
    assert_eq!(rig.engine.totals().ports, 0);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
