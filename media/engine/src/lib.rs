//! Moves packets between the kernel and the forwarding core, in batches, one thread per media core.
//!
//! Signalling talks to a worker through a bounded ring that is read between batches; counters
//! leave by being read. This is the only crate with `unsafe`.
//!
//! ```text
//!  signalling          │ worker thread, for ever
//!  open, connect, ─ring─▶ commands ─▶ tick ─▶ receive ─▶ process ─▶ send ─┐
//!  stats, close        │     ▲                  ▲          until empty    │
//!  ◀──── events ───────│     │                  └──────────────────────────┤
//!  ◀──── totals ───────│     └── sleep a tick, or until there is something ┘
//! ```
//!
//! Speech that has to become that of another codec leaves the worker for a thread of its own and comes
//! back (`transcoder`).
#![warn(unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]

mod auto;
mod batch;
mod by_port;
mod calls;
mod clock;
mod counters;
mod datapath;
mod due;
mod io;
mod kernel;
mod needs;
mod offload;
mod pace;
mod portable;
mod prefetch;
mod routes;
mod socket;
mod steer;
mod sys;
mod transcoder;
mod ways;
mod wire;
mod worker;
mod xdp;

#[cfg(test)]
#[path = "../tests/rig/namespace.rs"]
mod namespace;

pub use auto::would_take_xdp;
pub use counters::Totals;
pub use datapath::{Carried, Chosen, Datapath, EngineKind};
pub use needs::{Lack, lacks};

use crate::sys::Bell;
use crate::ways::Ways;
use crate::worker::{Command, Events, Shared, Worker};
use media::{CallStats, Carriage, Forward, Notice, Order, Side};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};

/// A call, named by signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(pub u64);

/// What the engine runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Media cores.
    pub workers: usize,
    /// Threads that turn speech from one codec to another; none, and what needs it is dropped.
    pub transcoders: usize,
    /// How packets get from the kernel and back.
    pub engine: EngineKind,
    /// Whether streams that nothing has to be done to may be forwarded within the kernel.
    pub offload: bool,
    /// The addresses that ports will be bound on, as far as they are known at the start: `auto` judges by
    /// the interfaces that have them, and cards are told which ports are of which worker's queue.
    pub media: Vec<IpAddr>,
    /// Whether packets gather for a tick where many come. Without it a worker comes with the first one,
    /// always: that is for measuring what a batch of a given size costs.
    pub gather: bool,
}

impl Default for Config {
    /// One worker on sockets.
    fn default() -> Self {
        Self {
            workers: 1,
            transcoders: 1,
            engine: EngineKind::Portable,
            offload: false,
            media: Vec::new(),
            gather: true,
        }
    }
}

/// The ports of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegPorts {
    /// The address to bind.
    pub bind: IpAddr,
    /// The RTP port (even); RTCP is the next.
    pub rtp: u16,
    /// What packets that leave from there are marked with (RFC 2474); 46 is voice (RFC 4594, 4.1).
    pub dscp: u8,
}

/// What signalling learns from the engine.
#[derive(Clone, Debug)]
pub enum Event {
    /// A port could not be bound. A call that was to be opened has no media and holds no port; one
    /// whose leg was to move is as it was.
    OpenFailed {
        /// The call.
        call: MediaId,
        /// Why, in words for a log.
        why: String,
    },
    /// Something happened on a leg of a call.
    Notice {
        /// The call.
        call: MediaId,
        /// The leg.
        side: Side,
        /// What happened.
        notice: Notice,
    },
    /// The counters of a call that goes on, as [`Engine::stats`] asked.
    Stats {
        /// The call.
        call: MediaId,
        /// Its counters so far.
        stats: CallStats,
        /// What carries its legs.
        carried: [Carried; 2],
    },
    /// The call is closed; these were its counters.
    Closed {
        /// The call.
        call: MediaId,
        /// Its final counters.
        stats: CallStats,
        /// What carried its legs in the end; `None` where it was not open.
        carried: Option<[Carried; 2]>,
    },
    /// What carries the legs of each call of a worker, as [`Engine::list`] asked.
    Listed {
        /// The worker.
        worker: usize,
        /// Its calls.
        calls: Vec<(MediaId, [Datapath; 2])>,
    },
    /// The way that a worker's packets took is closed; its calls go on another.
    FellBack {
        /// The worker.
        worker: usize,
        /// What carries its calls now.
        to: Datapath,
        /// What happened, in words for a log.
        why: String,
        /// Ports that could not be had there: their calls hear nothing any more.
        lost: usize,
    },
    /// What a worker had fallen back from is there again, and carries its calls.
    Regained {
        /// The worker.
        worker: usize,
        /// What carries its calls now.
        by: Datapath,
    },
}

/// Why the engine cannot start, or a command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A thread, socket or epoll could not be made.
    #[error("cannot start the media engine: {0}")]
    Start(#[from] std::io::Error),
    /// The configuration asks for no worker at all.
    #[error("the media engine needs at least one worker")]
    NoWorkers,
    /// This host, or this process, cannot have the engine that the configuration asks for.
    #[error("media engine \"{engine}\" cannot be had here: {why}")]
    NotHere {
        /// The engine.
        engine: EngineKind,
        /// What is missing.
        why: String,
    },
    /// There is no such worker.
    #[error("there is no media worker {0}")]
    NoSuchWorker(usize),
    /// The command ring of the worker is full.
    #[error("the command ring of media worker {0} is full")]
    RingFull(usize),
    /// The worker's thread has ended: it panicked, which is a bug of ours.
    #[error("media worker {0} has ended")]
    Ended(usize),
}

/// The running engine. Dropping it is [`Self::shutdown`].
#[derive(Debug)]
pub struct Engine {
    workers: Vec<Running>,
    chosen: Chosen,
    transcoders: transcoder::Running,
}

#[derive(Debug)]
struct Running {
    ring: SyncSender<Command>,
    bell: Arc<Bell>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the workers, on threads named `media-0`, `media-1` and so on. `events` is called from
    /// worker threads, between batches: packets wait while it runs, so it must not block.
    pub fn start(
        config: Config,
        events: Box<dyn Fn(Event) + Send + Sync>,
    ) -> Result<Self, EngineError> {
        if config.workers == 0 {
            return Err(EngineError::NoWorkers);
        }
        let events: Events = events.into();
        let ways = Ways::new(&config)?;
        let (transcoders, exchanges) = transcoder::start(config.transcoders, config.workers)?;
        let chosen = ways.chosen().clone();
        let mut engine = Self { workers: Vec::with_capacity(config.workers), chosen, transcoders };
        for (index, exchange) in exchanges.into_iter().enumerate() {
            let running = Running::start(index, &config, &ways, &events, exchange);
            engine.workers.push(running?);
        }
        Ok(engine)
    }

    /// What the workers have begun with; a worker that goes on another way says so
    /// ([`Event::FellBack`]).
    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// How many workers there are; commands name them from 0.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Binds a call's ports on its worker; nothing is forwarded yet. `seed` is fresh random.
    /// [`Event::OpenFailed`] follows if a port cannot be had, nothing if all is well.
    pub fn open(
        &self,
        call: MediaId,
        worker: usize,
        a: LegPorts,
        b: LegPorts,
        seed: [u8; 32],
    ) -> Result<(), EngineError> {
        let forward = Box::new(Forward::new(seed));
        self.command(worker, Command::Open { call, a, b, forward })
    }

    /// Takes what the legs have agreed (see [`media::Forward::connect`]). Nothing happens if the
    /// call is not open.
    pub fn connect(
        &self,
        call: MediaId,
        worker: usize,
        a: Option<Carriage>,
        b: Option<Carriage>,
    ) -> Result<(), EngineError> {
        self.command(worker, Command::Connect { call, legs: Box::new((a, b)) })
    }

    /// Has something done on a leg of a call now (see [`media::Forward::order`]). Nothing happens if
    /// the call is not open.
    pub fn order(
        &self,
        call: MediaId,
        worker: usize,
        side: Side,
        order: Order,
    ) -> Result<(), EngineError> {
        self.command(worker, Command::Order { call, side, order })
    }

    /// Gives a leg of an open call other ports; the other leg and all counters stay. It takes effect
    /// before what is told to the call next. [`Event::OpenFailed`] follows if a port cannot be had:
    /// then the leg keeps those it had.
    pub fn move_leg(
        &self,
        call: MediaId,
        worker: usize,
        side: Side,
        to: LegPorts,
    ) -> Result<(), EngineError> {
        self.command(worker, Command::Move { call, side, to })
    }

    /// Asks for the counters of a call that goes on: [`Event::Stats`] brings them. A call that is
    /// not open brings nothing.
    pub fn stats(&self, call: MediaId, worker: usize) -> Result<(), EngineError> {
        self.command(worker, Command::Query { call })
    }

    /// Asks what carries the calls of a worker: [`Event::Listed`] tells.
    pub fn list(&self, worker: usize) -> Result<(), EngineError> {
        self.command(worker, Command::List)
    }

    /// Releases a call's ports; [`Event::Closed`] brings its counters, exactly once per close, zeros
    /// where the call was not open.
    pub fn close(&self, call: MediaId, worker: usize) -> Result<(), EngineError> {
        self.command(worker, Command::Close { call })
    }

    /// The counters of all workers together, as last published.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for worker in &self.workers {
            sum.add(&worker.shared.published.read());
        }
        sum.drops[media::DropReason::TranscoderFull as usize] += self.transcoders.lost();
        sum
    }

    /// Closes every call ([`Event::Closed`] for each), stops the workers and waits for them.
    /// Commands that no worker has read yet are lost.
    pub fn shutdown(self) {
        drop(self);
    }

    fn command(&self, worker: usize, command: Command) -> Result<(), EngineError> {
        let running = self.workers.get(worker).ok_or(EngineError::NoSuchWorker(worker))?;
        running.ring.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => EngineError::RingFull(worker),
            TrySendError::Disconnected(_) => EngineError::Ended(worker),
        })?;
        running.bell.ring();
        Ok(())
    }
}

impl Running {
    fn start(
        index: usize,
        config: &Config,
        ways: &Ways,
        events: &Events,
        exchange: transcoder::Exchange,
    ) -> Result<Self, EngineError> {
        let (ring, commands) = mpsc::sync_channel(RING);
        let bell = Arc::new(Bell::new()?);
        let io = (ways.build(index, Arc::clone(&bell))?, Arc::clone(&bell));
        let (offload, heeds) = (ways.offload(index), ways.heeds(index));
        let shared = Arc::new(Shared {
            published: counters::Published::new(),
            stop: AtomicBool::new(false),
            gather: config.gather,
        });
        let events = Arc::clone(events);
        let of_worker = Arc::clone(&shared);
        let thread = thread::Builder::new().name(format!("media-{index}")).spawn(move || {
            let worker = Worker::new(index, io, commands, events, of_worker, exchange, offload);
            worker.heeding(heeds).run();
        })?;
        Ok(Self { ring, bell, shared, thread: Some(thread) })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.shared.stop.store(true, Ordering::Release);
            worker.bell.ring();
        }
        let mut by_a_worker = false;
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            // A worker that drops the engine out of its own event cannot wait for itself.
            if thread.thread().id() == thread::current().id() {
                by_a_worker = true;
            } else if thread.join().is_err() {
                tracing::error!("a media worker panicked");
            }
        }
        if !by_a_worker {
            self.transcoders.join();
        }
    }
}

/// Raises this process's limit of open descriptors as far as it may go and returns it. A call takes
/// four; the usual soft limit of 1024 would end at 250 calls.
pub fn raise_descriptor_limit() -> std::io::Result<u64> {
    sys::raise_descriptor_limit()
}

/// Has programs that this process starts get none of the capabilities that its engines need (systemd's
/// `AmbientCapabilities` would go on to them). To be called before there is a second thread.
pub fn keep_privileges_from_children() -> std::io::Result<()> {
    sys::keep_privileges_from_children()
}

/// How far the system's clock may be off, as who keeps it says; `None`: nobody keeps it.
pub fn clock_error() -> std::io::Result<Option<std::time::Duration>> {
    sys::clock_error()
}

/// From now on the calling thread runs only where no other wants to: for long computations beside
/// packets. There is no way back (it would need a privilege), so it is for threads that end soon.
pub fn idle_priority() -> std::io::Result<()> {
    sys::idle_priority()
}

/// Commands that may wait for a worker, half a megabyte. A worker reads them every half millisecond; where
/// the machine is busy it may be kept from it for a second, in which a busy host opens and closes a
/// thousand calls with three commands each. Beyond it a call is refused rather than kept waiting.
const RING: usize = 8192;
