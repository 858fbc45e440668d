//! Workers share nothing that a packet waits for: one that is held up holds up no other.

mod rig;

use media_engine::{Config, Engine, Event, LegPorts};
use rig::{PATIENCE, far_side, id, receive, rtp, stream};
use std::sync::Mutex;
use std::sync::mpsc::channel;

#[test]
fn a_worker_that_is_held_up_holds_up_no_other() {
    let base = rig::free_ports(rig::own_host(), 8);
    let (tell, told) = channel();
    let (let_go, held) = channel::<()>();
    let held = Mutex::new(held);
    // Events come on the workers' threads: this one stays in the first.
    let on_event = move |event| {
        let Event::Stats { call, .. } = event else { return };
        tell.send(call).unwrap();
        if call == id(0) {
            held.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
    };
    let config = Config { workers: 2, ..Config::default() };
    let engine = Engine::start(config, Box::new(on_event)).unwrap();
    let sides: Vec<_> =
        (0..2).map(|_| (far_side(rig::own_host()), far_side(rig::own_host()))).collect();
    let port = |call: u16, side: u16| base + 4 * call + 2 * side;
    for (call, (a, b)) in (0..2).zip(&sides) {
        let leg = |side| LegPorts { bind: rig::own_host(), rtp: port(call, side), dscp: 46 };
        let worker = usize::from(call);
        engine.open(id(call), worker, leg(0), leg(1), [7; 32]).unwrap();
        let [a, b] = [stream(a, a), stream(b, b)].map(|stream| Some(stream.into()));
        engine.connect(id(call), worker, a, b).unwrap();
    }
    // Both are connected when their counters come.
    for call in [1, 0] {
        engine.stats(id(call), usize::from(call)).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), id(call));
    }

    let say = |call: u16, sequence: u16| {
        let (a, _) = &sides[usize::from(call)];
        a.send_to(&rtp(1, sequence), (rig::own_host(), port(call, 0))).unwrap();
    };
    say(0, 1);
    for sequence in 0..100 {
        say(1, sequence);
        assert_eq!(receive(&sides[1].1).0, rtp(1, sequence));
    }
    rig::nothing_for(&sides[0].1);
    let_go.send(()).unwrap();
    assert_eq!(receive(&sides[0].1).0, rtp(1, 1));
}
