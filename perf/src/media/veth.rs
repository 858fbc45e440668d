//! Rounds over a pair of virtual interfaces: open loop on two processors, closed loop on one.

use super::live::{Live, Pace, TICKS_MAX};
use super::measured::{Measured, Percentiles};
use super::order::{Order, Relay};
use super::subject::{Subject, Used, kernel_threads, used_ns};
use super::verify;
use crate::{clock, machine, sys};
use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

type Failure = Box<dyn Error>;

/// 50 packets a second of each stream, whatever the relay does.
pub(super) fn open_loop(order: &Order, seconds: u32) -> Result<Measured, Failure> {
    let relay = Subject::start(order)?;
    let flows = 2 * order.far_ports.len() as u32;
    let wanted = f64::from(flows * TICKS_PER_SECOND) * SLOT.as_secs_f64();
    let batch = (wanted.round() as u32).clamp(1, BATCH_MAX);
    let slot_ns = 1_000_000_000 * u64::from(batch) / u64::from(flows * TICKS_PER_SECOND);
    let warm_up = if order.offload { OFFLOADED_TICKS } else { WARM_UP_TICKS };
    let window = [warm_up, warm_up + seconds * TICKS_PER_SECOND];
    let ticks = window[1] + AFTER_TICKS;
    if ticks > TICKS_MAX {
        return Err("so long the far sides cannot talk".into());
    }
    let pace = Pace { batch, slot_ns, ticks, window };
    let mut live = Live::new(order.legs, &relay.ready.ports, &order.far_ports, ticks)?;
    relay.place(RELAY_CPU)?;
    let sending = live.sending(&pace)?;
    let watch = Watch::begin(RELAY_CPU, WATCH_PRIORITY)?;
    let sender = on_thread(SENDER_CPU, None, sending)?;
    let before = watch.at(&live, window[0], &relay, None)?;
    let after = watch.at(&live, window[1], &relay, None)?;
    sender.join()?;
    thread_rest(GRACE);
    let forwarded = (after.counted - before.counted) as f64;
    let used = after.used - before.used;
    let mut measured = finish(order, &relay, &live, &pace)?;
    measured.cpu_us_per_packet = used as f64 / 1e3 / forwarded;
    measured.relay_us_per_packet = (after.of.relay - before.of.relay) as f64 / 1e3 / forwarded;
    let arrivals = after.of.kernel - before.of.kernel;
    measured.arrivals_us_per_packet = arrivals as f64 / 1e3 / forwarded;
    measured.cores = used as f64 / 1e9 / (after.at - before.at).as_secs_f64();
    Ok(measured)
}

/// Batches of exactly `batch` packets on one processor, each once the relay has done with the one before.
/// What it gives is the cost of everything there, to be taken less that of a relay that does nothing.
pub(super) fn closed_loop(order: &Order, batch: u32, packets: u32) -> Result<Measured, Failure> {
    let relay = Subject::start(order)?;
    let flows = 2 * order.far_ports.len() as u32;
    let counted = packets.div_ceil(flows).max(1);
    let warm_up = if order.offload { OFFLOADED_PACKETS } else { WARM_UP_PACKETS };
    let warm_up = warm_up.div_ceil(flows).max(2);
    let window = [warm_up, warm_up + counted];
    let pace = Pace { batch, slot_ns: 0, ticks: window[1], window };
    if pace.ticks > TICKS_MAX {
        return Err("so many packets the far sides do not have".into());
    }
    let mut live = Live::new(order.legs, &relay.ready.ports, &order.far_ports, pace.ticks)?;
    relay.place(RELAY_CPU)?;
    let sending = live.sending(&pace)?;
    let watch = Watch::begin(SENDER_CPU, WATCH_PRIORITY)?;
    let sender = on_thread(RELAY_CPU, Some(LAST_PRIORITY), sending)?;
    let before = watch.at(&live, window[0], &relay, Some(sender.id))?;
    let after = watch.end(&live, &relay, sender)?;
    let packets = (after.batches - before.batches) * u64::from(batch);
    let mut measured = finish(order, &relay, &live, &pace)?;
    let used = after.used - before.used;
    measured.cpu_us_per_packet = used as f64 / 1e3 / packets as f64;
    let of_relay = after.of.relay - before.of.relay;
    measured.relay_us_per_packet = of_relay as f64 / 1e3 / packets as f64;
    measured.cores = used as f64 / 1e9 / (after.at - before.at).as_secs_f64();
    Ok(measured)
}

fn finish(order: &Order, relay: &Subject, live: &Live, pace: &Pace) -> Result<Measured, Failure> {
    let counts = live.counts()?;
    let progress = live.progress()?;
    let sent = u64::from(pace.window[1] - pace.window[0]) * u64::from(live.flows());
    let (mut looked_at, mut damaged, opener) = (0, 0, verify::Opener::new());
    for sample in live.samples()? {
        looked_at += 1;
        let tick = pace.window[1] - 1;
        damaged += u64::from(!verify::is_whole(&opener, order, &relay.ready, &sample, tick));
    }
    Ok(Measured {
        latency_us: Percentiles::of_buckets(&live.latency()?),
        sent,
        lost: if order.relay == Relay::Nothing { 0 } else { sent.saturating_sub(counts.in_window) },
        wrong_port: counts.wrong_port,
        looked_at,
        damaged,
        opened_by: opener.name(),
        late_share: progress.late as f64 / progress.batches.max(1) as f64,
        carried: relay.ready.carried.clone(),
        resident: relay.resident()?,
        resident_before: relay.ready.resident_before,
        ..Measured::default()
    })
}

/// Somebody who looks at the clock and at the counters beside all that runs.
struct Watch {
    /// The thread for what interrupts have put off.
    put_off: Vec<i32>,
}

/// What was seen at one moment.
struct Seen {
    at: std::time::Instant,
    of: Used,
    /// Relay, arrivals, what the kernel put off, and the sender if it shares the processor.
    used: u64,
    counted: u64,
    batches: u64,
}

impl Watch {
    fn begin(cpu: usize, priority: i32) -> Result<Self, Failure> {
        sys::sleep_precisely();
        sys::pin(0, cpu);
        machine::go_first(0, priority)?;
        Ok(Self { put_off: kernel_threads(&format!("ksoftirqd/{RELAY_CPU}"))? })
    }

    /// Waits until the far sides have come to a tick.
    fn at(
        &self,
        live: &Live,
        tick: u32,
        relay: &Subject,
        sender: Option<i32>,
    ) -> Result<Seen, Failure> {
        let due = clock::monotonic() + PATIENCE;
        while live.progress()?.tick < tick {
            if clock::monotonic() > due {
                return Err("the far sides do not get on".into());
            }
            thread_rest(LOOK_EVERY);
        }
        self.now(live, relay, sender.map(used_ns))
    }

    /// Waits until all is sent.
    fn end(&self, live: &Live, relay: &Subject, sender: Sender) -> Result<Seen, Failure> {
        let used = sender.join()?;
        self.now(live, relay, Some(used))
    }

    fn now(&self, live: &Live, relay: &Subject, sender: Option<u64>) -> Result<Seen, Failure> {
        let of = relay.used_ns()?;
        let put_off: u64 = self.put_off.iter().map(|&thread| used_ns(thread)).sum();
        Ok(Seen {
            at: clock::monotonic(),
            of,
            used: of.relay + of.kernel + put_off + sender.unwrap_or(0),
            counted: live.counts()?.all,
            batches: live.progress()?.batches,
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Where it was allowed to go first, it is allowed not to.
        let _ = machine::go_as_others(0);
    }
}

/// The thread that sends.
struct Sender {
    id: i32,
    result: mpsc::Receiver<std::io::Result<u64>>,
}

impl Sender {
    /// Waits for it; gives back the CPU time that it has used.
    fn join(self) -> Result<u64, Failure> {
        Ok(self.result.recv()??)
    }
}

/// Sends on a thread of its own. One that waits for the clock never sleeps: with a place before all others it
/// would be stopped for a twentieth of each second, so it only gets more time than most.
fn on_thread(
    cpu: usize,
    priority: Option<i32>,
    sending: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> Result<Sender, Failure> {
    let (tell_id, id) = mpsc::channel();
    let (tell, result) = mpsc::channel();
    thread::Builder::new().name("far-sides".to_owned()).spawn(move || {
        let me = machine::this_thread();
        sys::pin(0, cpu);
        let first = priority
            .map_or_else(machine::go_before_most, |priority| machine::go_first(0, priority));
        // Whoever listened is gone if nobody hears.
        let _ = tell_id.send(me);
        let sent = first.and_then(|()| sending()).map(|()| used_ns(me));
        let _ = tell.send(sent);
    })?;
    Ok(Sender { id: id.recv()?, result })
}

#[expect(clippy::disallowed_methods, reason = "a measurement takes its time")]
fn thread_rest(time: Duration) {
    thread::sleep(time);
}

/// Where everything is that the relay costs.
const RELAY_CPU: usize = 0;
const SENDER_CPU: usize = 1;
/// In the closed loop: after relay and arrivals.
const LAST_PRIORITY: i32 = 5;
const WATCH_PRIORITY: i32 = 30;
const TICKS_PER_SECOND: u32 = 50;
/// In which the relay latches and memory is touched for the first time.
const WARM_UP_TICKS: u32 = 50;
const WARM_UP_PACKETS: u32 = 50_000;
/// In which all streams have left for the kernel.
const OFFLOADED_TICKS: u32 = 200;
const OFFLOADED_PACKETS: u32 = 2_500_000;
/// What is sent after the last packet that counts, so that nobody profits from the end.
const AFTER_TICKS: u32 = 5;
/// Packets come as from a network card that gathers interrupts for so long.
const SLOT: Duration = Duration::from_micros(200);
/// No test run takes more.
const BATCH_MAX: u32 = 256;
/// A packet that takes longer than this counts as lost.
const GRACE: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(120);
