//! Turns speech from one codec to another on threads of its own, beside the workers.
//!
//! ```text
//!  worker ──ring──▶ transcoder: turns one packet after another ──ring──▶ worker
//!         never waits: a full ring drops           of the call's own worker
//! ```
//!
//! The packets of a call go through one thread, so they come back in the order they left.

use crate::pace::TICK;
use crate::{MediaId, clock};
use codec::{IDLE_MAX, Transcoders};
use media::{Conversion, DropReason, PacketBuf, Side, rtp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Packets that may wait for a thread, and for a worker on their way back: 25 ms of a hundred calls.
/// What would wait for longer comes too late to be heard.
const RING: usize = 256;
/// A thread that has had nothing to do for so long sleeps until a worker wakes it, which costs that
/// worker a system call.
const AWAKE: Duration = Duration::from_millis(100);

/// What a worker asks of a transcoder.
#[derive(Debug)]
enum Job {
    Turn {
        worker: usize,
        speech: Speech,
    },
    /// The call is over.
    Forget(MediaId),
}

/// A packet that leaves for another codec, or comes back in it.
#[derive(Debug)]
pub(crate) struct Speech {
    pub(crate) call: MediaId,
    /// The leg that it came in on.
    pub(crate) side: Side,
    pub(crate) conversion: Conversion,
    /// What it is worth when it comes back.
    pub(crate) outcome: Result<(), DropReason>,
    pub(crate) slot: PacketBuf,
}

/// A worker's ends of the rings.
#[derive(Debug)]
pub(crate) struct Exchange {
    worker: usize,
    to: Box<[SyncSender<Job>]>,
    back: Receiver<Speech>,
}

/// The threads, and what they could not give back.
#[derive(Debug)]
pub(crate) struct Running {
    threads: Vec<JoinHandle<()>>,
    lost: Arc<AtomicU64>,
}

/// Starts the threads, named `transcoder-0` and so on; an exchange for each worker.
pub(crate) fn start(threads: usize, workers: usize) -> std::io::Result<(Running, Vec<Exchange>)> {
    let (to_workers, backs): (Vec<_>, Vec<_>) = (0..workers).map(|_| sync_channel(RING)).unzip();
    let lost = Arc::new(AtomicU64::new(0));
    let mut running = Running { threads: Vec::new(), lost: Arc::clone(&lost) };
    let mut to = Vec::new();
    for index in 0..threads {
        let (jobs_to, jobs) = sync_channel(RING);
        to.push(jobs_to);
        let transcoder = Transcoder {
            jobs,
            back: to_workers.clone(),
            transcoders: Transcoders::default(),
            out: Vec::new(),
            lost: Arc::clone(&lost),
        };
        let builder = thread::Builder::new().name(format!("transcoder-{index}"));
        running.threads.push(builder.spawn(move || transcoder.run())?);
    }
    let exchange = |(worker, back)| Exchange { worker, to: to.clone().into(), back };
    Ok((running, backs.into_iter().enumerate().map(exchange).collect()))
}

impl Running {
    /// Packets that found the ring to their worker full.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits for the threads, which end when the last worker has.
    pub(crate) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a transcoder panicked");
            }
        }
    }
}

impl Exchange {
    /// Sends a packet on its way, or says why not.
    pub(crate) fn turn(
        &self,
        call: MediaId,
        side: Side,
        conversion: Conversion,
        slot: &PacketBuf,
    ) -> Result<(), DropReason> {
        let to = self.thread_of(call).ok_or(DropReason::TranscoderFull)?;
        let speech = Speech { call, side, conversion, outcome: Ok(()), slot: slot.clone() };
        let job = Job::Turn { worker: self.worker, speech };
        to.try_send(job).map_err(|_| DropReason::TranscoderFull)
    }

    /// The next packet that has come back.
    pub(crate) fn back(&self) -> Option<Speech> {
        self.back.try_recv().ok()
    }

    /// The call is over. Where the ring is full, its transcoders are found idle after a while.
    pub(crate) fn forget(&self, call: MediaId) {
        if let Some(to) = self.thread_of(call) {
            let _ = to.try_send(Job::Forget(call));
        }
    }

    fn thread_of(&self, call: MediaId) -> Option<&SyncSender<Job>> {
        let threads = self.to.len() as u64;
        self.to.get(call.0.checked_rem(threads)? as usize)
    }
}

/// One thread.
struct Transcoder {
    jobs: Receiver<Job>,
    back: Vec<SyncSender<Speech>>,
    transcoders: Transcoders<(MediaId, Side)>,
    /// The payload in hand.
    out: Vec<u8>,
    lost: Arc<AtomicU64>,
}

impl Transcoder {
    /// Works until the last worker is gone.
    fn run(mut self) {
        let mut asked = clock::now().mono;
        loop {
            match self.jobs.try_recv() {
                Ok(job) => self.work(job, &mut asked),
                Err(TryRecvError::Empty) if clock::now().mono - asked < AWAKE => {
                    clock::pause(TICK);
                }
                Err(TryRecvError::Empty) => match self.sleep() {
                    Ok(job) => self.work(job, &mut asked),
                    Err(()) => return,
                },
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    /// Waits for a job, without end where nothing is at work.
    fn sleep(&mut self) -> Result<Job, ()> {
        while !self.transcoders.is_empty() {
            match self.jobs.recv_timeout(IDLE_MAX) {
                Ok(job) => return Ok(job),
                Err(RecvTimeoutError::Timeout) => self.transcoders.forget_idle(clock::now().mono),
                Err(RecvTimeoutError::Disconnected) => return Err(()),
            }
        }
        self.jobs.recv().map_err(|_| ())
    }

    /// Does a job. Speech is seldom alone, so `asked` is when it came last; an end is.
    fn work(&mut self, job: Job, asked: &mut Instant) {
        match job {
            Job::Turn { worker, mut speech } => {
                *asked = clock::now().mono;
                speech.outcome = self.turn(&mut speech);
                let sent = self.back.get(worker).is_some_and(|back| back.try_send(speech).is_ok());
                if !sent {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            Job::Forget(call) => {
                for side in [Side::A, Side::B] {
                    self.transcoders.forget(&(call, side));
                }
            }
        }
    }

    fn turn(&mut self, speech: &mut Speech) -> Result<(), DropReason> {
        let Speech { call, side, conversion, slot, .. } = speech;
        let payload = slot.packet().get(rtp::FIXED_HEADER..).ok_or(DropReason::Untranscodable)?;
        self.out.clear();
        let now = clock::now().mono;
        let key = (*call, *side);
        let turned = self.transcoders.transcode(now, key, *conversion, payload, &mut self.out);
        turned.map_err(|failure| match failure {
            codec::Failure::Full => DropReason::TranscoderFull,
            _ => DropReason::Untranscodable,
        })?;
        rtp::set_payload(slot, &self.out).ok_or(DropReason::TooBig)
    }
}
