//! A running engine with its events, free ports, and far sides on real sockets.
#![allow(dead_code, reason = "each test file uses its part, and one may use all")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panic"
)]

pub(crate) mod namespace;

use media::CallStats;
use media_engine::{Carried, Config, Engine, EngineKind, Event, LegPorts, MediaId};
use namespace::{Namespace, skipped};
use sdp::{Crypto, Direction, Payload, SrtpKey, Stream, Suite};
use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Long enough for the busiest machine; only a test that fails waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// An address of this host that no other test process has: tests run side by side in several, and those
/// with hundreds of calls would take each other's ports.
pub(crate) fn own_host() -> IpAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // Numbers of processes have 22 bits; 127.0.0.0/16 is left to everything else.
    Ipv4Addr::new(127, high | 0x40, middle, low).into()
}

/// Has tests run over each engine, in a module of its name.
#[allow(unused_macros, reason = "each test file uses its part")]
macro_rules! by_each_engine {
    ($($test:ident),+ $(,)?) => {
        mod portable {
            $(#[test] fn $test() { super::rig::by(media_engine::EngineKind::Portable, super::$test) })+
        }
        mod steer {
            $(#[test] fn $test() { super::rig::by(media_engine::EngineKind::Steer, super::$test) })+
        }
        mod xdp {
            $(#[test] fn $test() { super::rig::by(media_engine::EngineKind::Xdp, super::$test) })+
        }
    };
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use by_each_engine;

thread_local! {
    static ENGINE: Cell<EngineKind> = const { Cell::new(EngineKind::Portable) };
}

/// Runs a test by an engine: by those with help of the kernel in a network namespace of its own, so that
/// no test gets the packets of another.
pub(crate) fn by(engine: EngineKind, test: fn()) {
    if engine == EngineKind::Portable {
        return test();
    }
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(move || {
        ENGINE.set(engine);
        match Engine::start(config(), Box::new(|_| ())) {
            Ok(_) => test(),
            Err(error) => skipped(&format!("engine {engine:?}: {error}")),
        }
    });
}

/// Runs a test by each engine, one after the other: for what is counted over the whole process.
pub(crate) fn by_each_in_turn(test: fn()) {
    for engine in [EngineKind::Portable, EngineKind::Steer, EngineKind::Xdp] {
        by(engine, test);
    }
}

/// One worker of the engine that the test is run by.
pub(crate) fn config() -> Config {
    Config { workers: 1, transcoders: 1, engine: ENGINE.get(), ..Default::default() }
}

/// Whether a port of the engine is a socket: elsewhere it is a number, and free for others to bind.
pub(crate) fn binds_ports() -> bool {
    ENGINE.get() == EngineKind::Portable
}

pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) events: Receiver<Event>,
    pub(crate) bind: IpAddr,
    pub(crate) base: u16,
}

impl Rig {
    /// One worker with room for `calls` calls.
    pub(crate) fn new(calls: u16) -> Self {
        Self::on(own_host(), calls)
    }

    pub(crate) fn on(bind: IpAddr, calls: u16) -> Self {
        Self::with(config(), bind, calls)
    }

    pub(crate) fn with(config: Config, bind: IpAddr, calls: u16) -> Self {
        let base = free_ports(bind, 4 * calls);
        let (tell, events) = channel();
        let engine = Engine::start(
            config,
            Box::new(move |event| {
                let _ = tell.send(event);
            }),
        )
        .unwrap();
        Self { engine, events, bind, base }
    }

    pub(crate) fn a(&self, call: u16) -> LegPorts {
        LegPorts { bind: self.bind, rtp: self.base + 4 * call, dscp: 46 }
    }

    pub(crate) fn b(&self, call: u16) -> LegPorts {
        LegPorts { bind: self.bind, rtp: self.base + 4 * call + 2, dscp: 46 }
    }

    pub(crate) fn open(&self, call: u16) {
        self.engine.open(id(call), 0, self.a(call), self.b(call), [7; 32]).unwrap();
    }

    pub(crate) fn connect(&self, call: u16, a: Stream, b: Stream) {
        let leg = |stream: Stream| Some(stream.into());
        self.engine.connect(id(call), 0, leg(a), leg(b)).unwrap();
        // Commands are carried out in order: when the counters come, the call is connected.
        self.stats(call);
    }

    pub(crate) fn stats(&self, call: u16) -> CallStats {
        self.carried(call).0
    }

    /// The counters, and what carries either leg.
    pub(crate) fn carried(&self, call: u16) -> (CallStats, [Carried; 2]) {
        self.engine.stats(id(call), 0).unwrap();
        match self.event() {
            Event::Stats { call: of, stats, carried } if of == id(call) => (stats, carried),
            other => panic!("{other:?} instead of counters"),
        }
    }

    pub(crate) fn close(&self, call: u16) -> CallStats {
        self.engine.close(id(call), 0).unwrap();
        match self.event() {
            Event::Closed { call: of, stats, .. } if of == id(call) => stats,
            other => panic!("{other:?} instead of the end of the call"),
        }
    }

    pub(crate) fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        (self.bind, port).into()
    }
}

pub(crate) fn id(call: u16) -> MediaId {
    MediaId(u64::from(call))
}

/// A far side's socket.
pub(crate) fn far_side(bind: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((bind, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv_from(&mut buffer) {
            // A process that was stopped and goes on is told so.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => {
                let (len, from) = received.expect("a packet");
                return (buffer[..len].to_vec(), from);
            }
        }
    }
}

/// Nothing has arrived; only asked after something sent later has come back.
pub(crate) fn nothing_for(socket: &UdpSocket) {
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv_from(&mut [0; 2048]).is_err(), "a packet came that should not have");
    socket.set_nonblocking(false).unwrap();
}

/// A plain stream whose far side is at `rtp` and, for RTCP, at `rtcp`.
pub(crate) fn stream(rtp: &UdpSocket, rtcp: &UdpSocket) -> Stream {
    Stream {
        remote_rtp: Some(rtp.local_addr().unwrap()),
        remote_rtcp: Some(rtcp.local_addr().unwrap()),
        rtcp_mux: rtp.local_addr().unwrap() == rtcp.local_addr().unwrap(),
        direction: Direction::SendRecv,
        payloads: vec![Payload::mono(8, "PCMA", 8000)],
        ptime_ms: Some(20),
        ..Stream::default()
    }
}

/// The same stream under SDES keys.
pub(crate) fn encrypted(stream: Stream, local: u8, remote: u8) -> Stream {
    let key = |octet| SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &[octet; 30]).unwrap();
    Stream { crypto: Some(Crypto { local: key(local), remote: vec![key(remote)] }), ..stream }
}

/// An RTP packet of 20 ms of PCMA.
pub(crate) fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..160).map(|octet| octet as u8 ^ sequence as u8));
    packet
}

/// A sender report without report blocks, and the source description that must follow it.
pub(crate) fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0; 20]);
    packet.extend([0x81, 202, 0, 3]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([1, 4, b't', b'e', b's', b't', 0, 0]);
    packet
}

/// An even port with `count` free ones from it on, below the range that the system gives away. No test
/// of this process gets the same twice, and elsewhere than at [`own_host`] each process starts elsewhere.
pub(crate) fn free_ports(bind: IpAddr, count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + (std::process::id() % 500) as u16 * 40;
    for _ in 0..1000 {
        let base = start + NEXT.fetch_add(count, Ordering::Relaxed) % 2000;
        if (base..base + count).all(|port| UdpSocket::bind((bind, port)).is_ok()) {
            return base;
        }
    }
    panic!("no free ports");
}
