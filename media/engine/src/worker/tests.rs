use super::*;
use crate::auto::Heeds;
use crate::batch::Batch;
use crate::kernel::Kernel;
use crate::namespace::{Namespace, command, skipped};
use crate::steer::Steer;
use crate::transcoder;
use sdp::{Key, Payload, Stream};
use std::io;
use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};

/// What a worker means to do until something comes.
#[derive(Default)]
struct Waiting {
    /// How long: `None` is for ever.
    longest: Mutex<Vec<Option<Duration>>>,
    /// Signalling is to wake it.
    is_to_be_rung: AtomicBool,
}

type Waits = Arc<Waiting>;

/// No packet ever comes. The first wait is the last: the worker is told to stop.
struct Silent {
    waits: Waits,
    shared: Arc<Shared>,
}

impl Silent {
    fn waits(&self, longest: Option<Duration>) {
        self.waits.longest.lock().unwrap().push(longest);
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
    fn await_ring(&mut self) {
        self.waits.is_to_be_rung.store(true, Ordering::Relaxed);
    }
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

/// A worker that was told this and hears nothing, and what keeps it at work.
fn silent(commands: Vec<Command>) -> (Worker, Waits, SyncSender<Command>) {
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
    let io = (Box::new(io) as Box<dyn PacketIo>, bell);
    let worker = Worker::new(0, io, ordered, events, shared, exchange, Err(String::new()));
    (worker, waits, ring)
}

/// How long it waits.
fn waits(commands: Vec<Command>) -> Vec<Option<Duration>> {
    let (worker, waits, _ring) = silent(commands);
    worker.run();
    Arc::into_inner(waits).unwrap().longest.into_inner().unwrap()
}

fn leg(rtp: u16) -> LegPorts {
    LegPorts { bind: [127, 0, 0, 1].into(), rtp, dscp: 46 }
}

const CALL: MediaId = MediaId(1);

/// A call whose sides know telephone events.
fn call() -> Vec<Command> {
    let stream = Stream {
        payloads: vec![Payload::mono(101, "telephone-event", 8000)],
        ..Stream::muxed(([192, 0, 2, 1], 40_000).into())
    };
    let side = || Some(stream.clone().into());
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

/// Each time a worker is rung, a thread wakes.
#[test]
fn a_worker_is_rung_for_each_thing_that_a_busy_host_asks_or_waits_with_what_one_call_asks() {
    for busy in [false, true] {
        let mut asked = call();
        asked.push(Command::Close { call: CALL });
        let (mut worker, waits, _ring) = silent(asked);
        let before = clock::now().mono;
        // However slow this test is: the time of what was asked just before is not earlier.
        assert_eq!(worker.obey(), Orders::AllRead);
        if busy {
            worker.asked.note(before);
        }
        // Alone, it was asked for the first time.
        let _ = worker.sleep(before);
        assert_eq!(waits.is_to_be_rung.load(Ordering::Relaxed), !busy);
        let longest = waits.longest.lock().unwrap();
        match longest[..] {
            [Some(wait)] if busy => assert!(wait <= GATHER, "{wait:?}"),
            [None] if !busy => {}
            _ => panic!("busy: {busy}, {longest:?}"),
        }
    }
}

#[test]
fn the_legs_of_the_last_call_stay_when_it_is_over() {
    let (mut worker, _, _ring) = silent(call());
    worker.obey();
    worker.count_legs();
    worker.publish();
    let legs = |worker: &Worker| worker.shared.published.read().legs.iter().sum::<u64>();
    assert_eq!(legs(&worker), 2);
    worker.close(CALL);
    assert_eq!(legs(&worker), 0);
}

/// A worker that is steered, with a call between two far sides of this host, and these.
fn steered(
    index: usize,
    kernel: &Arc<Mutex<Kernel>>,
    events: &Events,
) -> (Worker, [UdpSocket; 2], SyncSender<Command>) {
    let bell = Arc::new(Bell::new().unwrap());
    let io = Steer::new(index, Arc::clone(&bell), Arc::clone(kernel)).unwrap();
    let (ring, ordered) = sync_channel(2);
    let far_sides = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let first = 20_000 + 4 * index as u16;
    let [a, b] = [0, 1].map(|side: usize| {
        far_sides[side].set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let far_side = far_sides[side].local_addr().unwrap();
        let payloads = vec![Payload::mono(8, "PCMA", 8000)];
        Some(Stream { payloads, ..Stream::muxed(far_side) }.into())
    });
    let forward = Box::new(Forward::new([1; 32]));
    let call = MediaId(index as u64);
    ring.send(Command::Open { call, a: leg(first), b: leg(first + 2), forward }).unwrap();
    ring.send(Command::Connect { call, legs: Box::new((a, b)) }).unwrap();
    let shared = Arc::new(Shared {
        published: Published::new(),
        stop: AtomicBool::new(false),
        gather: true,
    });
    let (_transcoders, mut exchanges) = transcoder::start(0, 1).unwrap();
    let (io, events) = ((Box::new(io) as Box<dyn PacketIo>, bell), Arc::clone(events));
    let exchange = exchanges.remove(0);
    let mut worker = Worker::new(index, io, ordered, events, shared, exchange, Err(String::new()));
    assert_eq!(worker.obey(), Orders::AllRead);
    (worker, far_sides, ring)
}

/// A packet crosses the call of a worker; what carries it.
#[expect(clippy::disallowed_methods, reason = "a test has to give up at some time")]
fn crosses(worker: &mut Worker, [a, b]: &[UdpSocket; 2], sequence: u8) -> Datapath {
    let mut packet = vec![0x80, 8, 0, sequence, 0, 0, 0, sequence, 0, 0, 0, 1];
    packet.extend([sequence; 160]);
    a.send_to(&packet, ("127.0.0.1", 20_000 + 4 * worker.index as u16)).unwrap();
    let start = Instant::now();
    let mut heard = [0; 256];
    loop {
        worker.drain();
        if let Ok(len) = b.recv(&mut heard) {
            assert_eq!(heard[..len], packet);
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "it does not come");
    }
    let ports = worker.calls.ports(MediaId(worker.index as u64)).unwrap();
    worker.io.datapath(ports.of(Side::B)[0])
}

#[test]
fn a_worker_that_falls_back_takes_the_ports_of_another_along() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let loaded = Kernel::load().and_then(|mut kernel| kernel.steer().map(|()| kernel));
        let kernel = match loaded {
            Ok(kernel) => Arc::new(Mutex::new(kernel)),
            Err(error) => return skipped(&error.to_string()),
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let events: Events = Arc::new(move |event| tell.lock().unwrap().push(event));
        let mut workers = [0, 1].map(|index| steered(index, &kernel, &events));
        for (worker, far_sides, _ring) in &mut workers {
            assert_eq!(crosses(worker, far_sides, 1), Datapath::Steer);
        }
        // What has come by then is not lost.
        let (worker, [a, b], _ring) = &mut workers[0];
        let mut packet = [8; 172];
        packet[..12].copy_from_slice(&[0x80, 8, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1]);
        a.send_to(&packet, "127.0.0.1:20000").unwrap();
        worker.fall_back("its socket is gone".to_owned());
        b.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut heard = [0; 256];
        assert_eq!(b.recv(&mut heard).ok(), Some(packet.len()));
        b.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let first = told.lock().unwrap().pop();
        assert!(
            matches!(
                first,
                Some(Event::FellBack { worker: 0, to: Datapath::Portable, lost: 0, .. })
            ),
            "{first:?}"
        );
        for (by, (worker, far_sides, _ring)) in
            [Datapath::Portable, Datapath::Steer].into_iter().zip(&mut workers)
        {
            for sequence in 3..20 {
                assert_eq!(crosses(worker, far_sides, sequence), by);
            }
        }

        // The other loses it as well: the program is taken from all.
        kernel.lock().unwrap().stop_steering();
        let (worker, far_sides, _ring) = &mut workers[1];
        worker.publish_in_time(clock::now().mono + PUBLISH_EVERY);
        assert_eq!(crosses(worker, far_sides, 20), Datapath::Portable);
        match told.lock().unwrap().pop() {
            Some(Event::FellBack { worker: 1, lost: 0, why, .. }) => {
                assert!(why.contains("taken away"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    });
}

/// A tunnel comes up while calls are up: what it is for is not for us to tell.
#[test]
fn what_this_host_is_to_encrypt_from_now_on_leaves_as_it_is() {
    for gives_way in [true, false] {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run(move || {
            let loaded = Kernel::load().and_then(|mut kernel| kernel.steer().map(|()| kernel));
            let kernel = match (loaded, Heeds::new(gives_way)) {
                (Ok(kernel), Some(_)) => Arc::new(Mutex::new(kernel)),
                (Err(error), _) => return skipped(&error.to_string()),
                (_, None) => return skipped("IPsec in the kernel"),
            };
            let told = Arc::new(Mutex::new(Vec::new()));
            let tell = Arc::clone(&told);
            let events: Events = Arc::new(move |event| tell.lock().unwrap().push(event));
            let (worker, far_sides, _ring) = steered(0, &kernel, &events);
            let mut worker = worker.heeding(Heeds::new(gives_way));
            let mut later = clock::now().mono;
            let mut looks = |worker: &mut Worker| {
                later += CHECK_EVERY;
                worker.check_in_time(later);
            };
            looks(&mut worker);
            // What goes around a tunnel is none.
            command("ip xfrm policy add dir out dst 198.51.100.3");
            looks(&mut worker);
            assert_eq!(crosses(&mut worker, &far_sides, 1), Datapath::Steer);
            assert!(told.lock().unwrap().is_empty());

            command("ip xfrm policy add dir out dst 198.51.100.2 action block");
            looks(&mut worker);
            let by = crosses(&mut worker, &far_sides, 2);
            match (gives_way, by, told.lock().unwrap().pop()) {
                (true, Datapath::Portable, Some(Event::FellBack { lost: 0, why, .. })) => {
                    assert!(why.contains("IPsec policies of this host (1)"), "{why}");
                }
                (false, Datapath::Steer, None) => {}
                other => panic!("{other:?}"),
            }
            // A tunnel that is made anew finds it as it is.
            command("ip xfrm policy flush");
            looks(&mut worker);
            assert_eq!(crosses(&mut worker, &far_sides, 3), by);
            assert!(told.lock().unwrap().is_empty());
        });
    }
}
