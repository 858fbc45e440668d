//! Rounds over a pair of virtual interfaces: open loop on two processors, closed loop on one.

use super::live::{Live, Pace, Sending, TICKS_MAX};
use super::measured::{LostAt, Measured, Percentiles};
use super::order::{Account, Order, Relay};
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
    let mut relay = Subject::start(order)?;
    let flows = 2 * order.calls() as u32;
    let wanted = f64::from(flows * TICKS_PER_SECOND) * SLOT.as_secs_f64();
    let batch = (wanted.round() as u32).clamp(1, BATCH_MAX);
    let slot_ns = 1_000_000_000 * u64::from(batch) / u64::from(flows * TICKS_PER_SECOND);
    let warm_up = if order.relay.offload().is_some() { OFFLOADED_TICKS } else { WARM_UP_TICKS };
    let window = [warm_up, warm_up + seconds * TICKS_PER_SECOND];
    let ticks = window[1] + AFTER_TICKS;
    if ticks > TICKS_MAX {
        return Err("so long the far sides cannot talk".into());
    }
    let pace = Pace { batch, slot_ns, ticks, window };
    let mut live = Live::new(order, &relay.ready.ports, ticks)?;
    relay.place(&[RELAY_CPU])?;
    let sending = live.sending(&pace, &[SENDER_CPU])?;
    let mut watch = Watch::begin(RELAY_CPU, &[RELAY_CPU])?;
    let senders = start(sending, &[SENDER_CPU], None)?;
    let before = watch.at(&live, window[0], &relay, &[])?;
    watch.held_up = Duration::ZERO;
    let after = watch.at(&live, window[1], &relay, &[])?;
    join(senders)?;
    thread_rest(GRACE);
    let forwarded = (after.counted - before.counted) as f64;
    let used = after.used - before.used;
    let mut measured = finish(order, &mut relay, &live, &pace)?;
    measured.held_up_ms = watch.held_up.as_secs_f64() * 1e3;
    measured.cpu_us_per_packet = used as f64 / 1e3 / forwarded;
    measured.relay_us_per_packet = (after.of.relay - before.of.relay) as f64 / 1e3 / forwarded;
    let arrivals = after.of.kernel - before.of.kernel;
    measured.arrivals_us_per_packet = arrivals as f64 / 1e3 / forwarded;
    measured.cores = used as f64 / 1e9 / (after.at - before.at).as_secs_f64();
    Ok(measured)
}

/// Batches of exactly `batch` packets on one processor, each once the relay has done with the one before.
/// What it gives is the cost of everything there, to be taken less that of a relay that does nothing. Of two
/// workers each has a processor like that, with a sender of its own.
pub(super) fn closed_loop(order: &Order, batch: u32, packets: u32) -> Result<Measured, Failure> {
    let mut relay = Subject::start(order)?;
    let flows = 2 * order.calls() as u32;
    let counted = packets.div_ceil(flows).max(1);
    let warm_up = if order.relay.offload().is_some() { OFFLOADED_PACKETS } else { WARM_UP_PACKETS };
    let warm_up = warm_up.div_ceil(flows).max(2);
    let window = [warm_up, warm_up + counted];
    let pace = Pace { batch, slot_ns: 0, ticks: window[1], window };
    if pace.ticks > TICKS_MAX {
        return Err("so many packets the far sides do not have".into());
    }
    let cpus = &[RELAY_CPU, SENDER_CPU][..order.workers.min(2)];
    let mut live = Live::new(order, &relay.ready.ports, pace.ticks)?;
    relay.place(cpus)?;
    let sending = live.sending(&pace, cpus)?;
    let mut watch = Watch::begin(SENDER_CPU, cpus)?;
    let senders = start(sending, cpus, Some(LAST_PRIORITY))?;
    let ids: Vec<i32> = senders.iter().map(|sender| sender.id).collect();
    let before = watch.at(&live, window[0], &relay, &ids)?;
    let sent = join(senders)?;
    let after = watch.now(&live, &relay, sent)?;
    let packets = (after.batches - before.batches) * u64::from(batch);
    let mut measured = finish(order, &mut relay, &live, &pace)?;
    let used = after.used - before.used;
    measured.cpu_us_per_packet = used as f64 / 1e3 / packets as f64;
    let of_relay = after.of.relay - before.of.relay;
    measured.relay_us_per_packet = of_relay as f64 / 1e3 / packets as f64;
    measured.cores = used as f64 / 1e9 / (after.at - before.at).as_secs_f64();
    Ok(measured)
}

fn finish(
    order: &Order,
    relay: &mut Subject,
    live: &Live,
    pace: &Pace,
) -> Result<Measured, Failure> {
    let counts = live.counts()?;
    let progress = live.progress()?;
    let sent = u64::from(pace.window[1] - pace.window[0]) * u64::from(live.flows());
    let (mut looked_at, mut damaged, opener) = (0, 0, verify::Opener::new());
    for sample in live.samples()? {
        looked_at += 1;
        let tick = pace.window[1] - 1;
        damaged += u64::from(!verify::is_whole(&opener, order, &relay.ready, &sample, tick));
    }
    let resident = relay.resident()?;
    let Account { carried, cable_in, full, dropped, cable_out } = relay.close(order)?;
    Ok(Measured {
        latency_us: Percentiles::of_buckets(&live.latency()?),
        sent,
        lost: if order.relay == Relay::Nothing { 0 } else { sent.saturating_sub(counts.in_window) },
        lost_at: LostAt { cable_in, full, dropped: dropped.into_iter().collect(), cable_out },
        wrong_port: counts.wrong_port,
        looked_at,
        damaged,
        opened_by: opener.name().to_owned(),
        late_share: progress.late as f64 / progress.batches.max(1) as f64,
        carried,
        resident,
        resident_before: relay.ready.resident_before,
        ..Measured::default()
    })
}

/// Somebody who looks at the clock and at the counters beside all that runs.
struct Watch {
    /// The threads for what interrupts have put off.
    put_off: Vec<i32>,
    /// The longest that nothing ran on its processor, as it comes before all others there.
    held_up: Duration,
}

/// What was seen at one moment.
struct Seen {
    at: std::time::Instant,
    of: Used,
    /// Relay, arrivals, what the kernel put off, and the senders if they share its processors.
    used: u64,
    counted: u64,
    batches: u64,
}

impl Watch {
    /// On one processor, before all others; what counts is on `counted`.
    fn begin(cpu: usize, counted: &[usize]) -> Result<Self, Failure> {
        sys::sleep_precisely();
        sys::pin(0, cpu);
        machine::go_first(0, WATCH_PRIORITY)?;
        let mut put_off = Vec::new();
        for cpu in counted {
            put_off.extend(kernel_threads(&format!("ksoftirqd/{cpu}"))?);
        }
        Ok(Self { put_off, held_up: Duration::ZERO })
    }

    /// Waits until the far sides have come to a tick.
    fn at(
        &mut self,
        live: &Live,
        tick: u32,
        relay: &Subject,
        senders: &[i32],
    ) -> Result<Seen, Failure> {
        let mut looked = clock::monotonic();
        let due = looked + PATIENCE;
        while live.progress()?.tick < tick {
            thread_rest(LOOK_EVERY);
            let now = clock::monotonic();
            if now > due {
                return Err("the far sides do not get on".into());
            }
            self.held_up = self.held_up.max((now - looked).saturating_sub(LOOK_EVERY));
            looked = now;
        }
        self.now(live, relay, senders.iter().map(|&sender| used_ns(sender)).sum())
    }

    fn now(&self, live: &Live, relay: &Subject, senders: u64) -> Result<Seen, Failure> {
        let of = relay.used_ns()?;
        let put_off: u64 = self.put_off.iter().map(|&thread| used_ns(thread)).sum();
        Ok(Seen {
            at: clock::monotonic(),
            of,
            used: of.relay + of.kernel + put_off + senders,
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

/// Waits for all of them; gives back the CPU time that they have used.
fn join(senders: Vec<Sender>) -> Result<u64, Failure> {
    senders.into_iter().map(|sender| Ok(sender.result.recv()??)).sum()
}

/// Sends on threads of their own, one a processor. One that waits for the clock never sleeps: with a place
/// before all others it would be stopped for a twentieth of each second, so it only gets more time than most.
fn start(
    sendings: Vec<Sending>,
    cpus: &[usize],
    priority: Option<i32>,
) -> Result<Vec<Sender>, Failure> {
    let on_cpu = |(sending, &cpu): (Sending, &usize)| -> Result<Sender, Failure> {
        let (tell_id, id) = mpsc::channel();
        let (tell, result) = mpsc::channel();
        thread::Builder::new().name("far-sides".to_owned()).spawn(move || {
            let me = machine::this_thread();
            sys::pin(0, cpu);
            let first = priority
                .map_or_else(machine::go_before_most, |priority| machine::go_first(0, priority));
            // Whoever listened is gone if nobody hears.
            let _ = tell_id.send(me);
            let sent = first.and_then(|()| sending.send()).map(|()| used_ns(me));
            let _ = tell.send(sent);
        })?;
        Ok(Sender { id: id.recv()?, result })
    };
    sendings.into_iter().zip(cpus).map(on_cpu).collect()
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
