use super::*;
use crate::batch::Batch;
use crate::transcoder;
use media::Terms;
use sdp::{Key, Payload, Stream};
use std::io;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

/// How long a worker means to wait: `None` is for ever.
type Waits = Arc<Mutex<Vec<Option<Duration>>>>;

/// No packet ever comes. The first wait is the last: the worker is told to stop.
struct Silent {
    waits: Waits,
    shared: Arc<Shared>,
}

impl Silent {
    fn waits(&self, longest: Option<Duration>) {
        self.waits.lock().unwrap().push(longest);
        self.shared.stop.store(true, Ordering::Release);
    }
}

impl PacketIo for Silent {
    fn open(&mut self, _: PortId, _: SocketAddr, _: u8) -> io::Result<()> {
        Ok(())
    }
    fn close(&mut self, _: PortId) {}
    fn receive(&mut self, _: &mut Batch) -> bool {
        false
    }
    fn send(&mut self, _: &mut Batch) {}
    fn await_ring(&mut self) {}
    fn wait(&mut self) {
        self.waits(None);
    }
    fn wait_at_most(&mut self, longest: Duration) {
        self.waits(Some(longest));
    }
    fn carries(&self, _: PortId) -> Carried {
        Carried { by: Datapath::Portable, why_not_faster: "".into() }
    }
    fn faults(&self) -> Faults {
        Faults::default()
    }
}

/// How long a worker waits that was told this and hears nothing.
fn waits(commands: Vec<Command>) -> Vec<Option<Duration>> {
    let shared = Arc::new(Shared {
        published: Published::new(),
        stop: AtomicBool::new(false),
        gather: true,
    });
    let waits = Waits::default();
    let io = Silent { waits: Arc::clone(&waits), shared: Arc::clone(&shared) };
    let (ring, ordered) = sync_channel(commands.len());
    commands.into_iter().for_each(|command| ring.try_send(command).unwrap());
    let (_transcoders, mut exchanges) = transcoder::start(0, 1).unwrap();
    let bell = Arc::new(Bell::new().unwrap());
    let events: Events = Arc::new(|_| {});
    let exchange = exchanges.remove(0);
    Worker::new(0, (Box::new(io), bell), ordered, events, shared, exchange, Err(String::new()))
        .run();
    Arc::into_inner(waits).unwrap().into_inner().unwrap()
}

fn leg(rtp: u16) -> LegPorts {
    LegPorts { bind: [127, 0, 0, 1].into(), rtp, dscp: 46 }
}

const CALL: MediaId = MediaId(1);

/// A call whose sides know telephone events.
fn call() -> Vec<Command> {
    let event = Payload {
        number: 101,
        encoding: "telephone-event".into(),
        clock_hz: 8000,
        channels: 1,
        fmtp: None,
    };
    let remote = Some(([192, 0, 2, 1], 40_000).into());
    let stream = Stream {
        remote_rtp: remote,
        remote_rtcp: remote,
        payloads: vec![event],
        ..Stream::default()
    };
    let side = || Some(Carriage { stream: stream.clone(), terms: Terms::default() });
    let forward = Box::new(Forward::new([1; 32]));
    vec![
        Command::Open { call: CALL, a: leg(20_000), b: leg(20_002), forward },
        Command::Connect { call: CALL, legs: Box::new((side(), side())) },
    ]
}

#[test]
fn a_worker_without_calls_is_woken_by_nothing_but_what_comes() {
    assert_eq!(waits(Vec::new()), [None]);
    let mut closed = call();
    closed.push(Command::Close { call: CALL });
    assert_eq!(waits(closed), [None]);
}

#[test]
fn silence_in_a_call_costs_a_wake_up_a_second() {
    let waits = waits(call());
    let [Some(wait)] = waits[..] else { panic!("{waits:?}") };
    assert!(wait <= PUBLISH_EVERY && wait > PUBLISH_EVERY / 2, "{wait:?}");
}

#[test]
fn a_worker_that_hears_nothing_says_in_time_what_is_its_own() {
    let mut pressing = call();
    let key = Key { event: 5, held: Duration::from_millis(100) };
    pressing.push(Command::Order { call: CALL, side: Side::A, order: Order::Press(key) });
    let waits = waits(pressing);
    let [Some(wait)] = waits[..] else { panic!("{waits:?}") };
    assert!(wait <= Duration::from_millis(20), "the next packet of a key is due: {wait:?}");
}
