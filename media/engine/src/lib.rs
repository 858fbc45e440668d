//! Moves packets between the kernel and the forwarding core, in batches, one thread per media core.
//!
//! Signalling talks to a worker through a bounded ring that is read between batches; counters
//! leave by being read. This is the only crate with `unsafe`.

use media::{CallStats, Leg};
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// A call, named by signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(pub u64);

/// One media address to bind ports on.
#[derive(Clone, Debug)]
pub struct Address {
    /// The address to bind.
    pub bind: IpAddr,
    /// The port range; even ports are RTP, the next odd one RTCP.
    pub ports: RangeInclusive<u16>,
}

/// What the engine runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Media cores.
    pub workers: usize,
    /// Addresses, named by index in commands.
    pub addresses: Vec<Address>,
}

/// The ports of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegPorts {
    /// Index of the media address.
    pub address: usize,
    /// The RTP port (even); RTCP is the next.
    pub rtp: u16,
}

/// What signalling learns from the engine.
#[derive(Clone, Debug)]
pub enum Event {
    /// A port could not be bound; the call has no media.
    OpenFailed {
        /// The call.
        call: MediaId,
        /// Why, in words for a log.
        why: String,
    },
    /// The call is closed; these were its counters.
    Closed {
        /// The call.
        call: MediaId,
        /// Its final counters.
        stats: CallStats,
    },
}

/// Why the engine cannot start, or a command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A thread, socket or epoll could not be made.
    #[error("cannot start the media engine: {0}")]
    Start(#[from] std::io::Error),
    /// The command ring of the worker is full.
    #[error("the command ring of media worker {0} is full")]
    RingFull(usize),
}

/// The running engine.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// Starts the workers. `events` is called from worker threads, between batches.
    pub fn start(config: Config, events: Box<dyn Fn(Event) + Send + Sync>) -> Result<Self, EngineError> {
        let _ = (config, events);
        todo!()
    }
    /// Binds a call's ports on its worker; nothing is forwarded yet.
    pub fn open(&self, call: MediaId, worker: usize, a: LegPorts, b: LegPorts, seed: [u8; 32]) -> Result<(), EngineError> {
        let _ = (call, worker, a, b, seed);
        todo!()
    }
    /// Takes what the legs have agreed (see [`media::Forward::connect`]).
    pub fn connect(&self, call: MediaId, worker: usize, a: Option<Leg>, b: Option<Leg>) -> Result<(), EngineError> {
        let _ = (call, worker, a, b);
        todo!()
    }
    /// Releases a call's ports; [`Event::Closed`] brings its counters.
    pub fn close(&self, call: MediaId, worker: usize) -> Result<(), EngineError> {
        let _ = (call, worker);
        todo!()
    }
}
