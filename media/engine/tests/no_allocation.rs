//! The packet path allocates nothing, counted by the allocator on the worker's own thread.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod rig;

use media_engine::{Engine, Event, MediaId};
use rig::{encrypted, far_side, id, receive, rtp, stream};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // During the end of a thread there is nothing left to ask, and nothing to count.
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_forwarded_packet_allocates_nothing() {
    rig::by_each_in_turn(forwards_without_allocating);
}

/// Events come on the worker's thread: counters of the watched call that are asked for once start the
/// watch there, and end it when they are asked for again.
fn forwards_without_allocating() {
    let base = rig::free_ports(rig::own_host(), 8);
    let (tell, events) = sync_channel(8);
    let on_event = move |event| {
        let watched = WATCHED.replace(false);
        let toggles = matches!(event, Event::Stats { call, .. } if call == WATCH);
        let _ = tell.send(ALLOCATIONS.load(Ordering::Relaxed));
        WATCHED.set(watched != toggles);
    };
    let engine = Engine::start(rig::config(), Box::new(on_event)).unwrap();
    let allocations = || events.recv_timeout(rig::PATIENCE).unwrap();

    // Two calls end to end: RTP in, SRTP between them, RTP out, so that one worker does it all.
    let (a, b) = (far_side(rig::own_host()), far_side(rig::own_host()));
    let ports =
        |number| media_engine::LegPorts { bind: rig::own_host(), rtp: base + number, dscp: 46 };
    engine.open(WATCH, 0, ports(0), ports(2), [1; 32]).unwrap();
    engine.open(id(1), 0, ports(4), ports(6), [2; 32]).unwrap();
    let leg = |stream: sdp::Stream| Some(stream.into());
    let at = |number: u16| {
        let mut middle = stream(&a, &a);
        middle.remote_rtp = Some((rig::own_host(), base + number).into());
        middle.remote_rtcp = middle.remote_rtp;
        middle
    };
    engine.connect(WATCH, 0, leg(stream(&a, &a)), leg(encrypted(at(4), 1, 2))).unwrap();
    engine.connect(id(1), 0, leg(encrypted(at(2), 2, 1)), leg(stream(&b, &b))).unwrap();
    engine.stats(id(1), 0).unwrap();
    allocations();

    let talk = |sequence| {
        a.send_to(&rtp(1, sequence), (rig::own_host(), base)).unwrap();
        assert_eq!(speech(&b), rtp(1, sequence));
        b.send_to(&rtp(2, sequence), (rig::own_host(), base + 6)).unwrap();
        assert_eq!(speech(&a), rtp(2, sequence));
    };
    (0..50).for_each(talk);
    engine.stats(WATCH, 0).unwrap();
    let before = allocations();
    let began = now();
    let mut sequences = (0..=u16::MAX).cycle().skip(50);
    let mut packets = 0;
    while now() < began + LOOKS {
        sequences.by_ref().take(100).for_each(talk);
        packets += 4 * 100;
    }
    engine.stats(WATCH, 0).unwrap();
    assert_eq!(allocations() - before, 0, "allocations for {packets} packets");

    // That the watch sees anything at all: the end of a call gives memory back.
    engine.stats(WATCH, 0).unwrap();
    let before = allocations();
    engine.close(id(1), 0).unwrap();
    assert!(allocations() > before);
}

/// What arrives next, reports aside: they come every few seconds.
fn speech(socket: &std::net::UdpSocket) -> Vec<u8> {
    loop {
        let (packet, _) = receive(socket);
        if !(200..=204).contains(&packet[1]) {
            return packet;
        }
    }
}

/// A worker looks around once a second, beside its packets.
const LOOKS: Duration = Duration::from_millis(1200);

#[expect(clippy::disallowed_methods, reason = "a test watches for so long")]
fn now() -> Instant {
    Instant::now()
}

const WATCH: MediaId = MediaId(0);
