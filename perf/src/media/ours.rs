//! Our engine with its calls, in the process that relays.

use super::order::{Account, Carried, Order, Ready, Way, port};
use crate::machine;
use ::media::DropReason;
use media_engine::{Config, Engine, Event, LegPorts, MediaId};
use sdp::{Crypto, Stream};
use std::error::Error;
use std::net::SocketAddrV4;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

type Failure = Box<dyn Error>;

/// The engine, and who listens to it.
pub(super) struct Ours {
    engine: Engine,
    events: Receiver<Event>,
    /// The worker of each call.
    workers: Vec<usize>,
}

impl Ours {
    /// Opens all calls.
    pub(super) fn start(order: &Order, way: Way, ready: &mut Ready) -> Result<Self, Failure> {
        let (tell, events) = channel();
        let tell = move |event| {
            // The other end is gone only when the run is over.
            let _ = tell.send(event);
        };
        let engine = Engine::start(config(order, way), Box::new(tell))?;
        // What an engine takes without a call is no leg's: the frames of AF_XDP, as many as they are.
        ready.resident_before = machine::resident(std::process::id())?;
        let workers = (0..order.calls()).map(|call| order.worker_of(call)).collect();
        let ours = Self { engine, events, workers };
        for call in 0..order.calls() {
            ready.keys[call] = ours.open(order, call)?;
        }
        Ok(ours)
    }

    /// Opens a call; gives back the keys that its legs are protected by.
    fn open(&self, order: &Order, call: usize) -> Result<[Option<Vec<u8>>; 2], Failure> {
        let (relay, far) = order.addresses();
        let (id, worker) = (MediaId(call as u64), self.workers[call]);
        let [a, b] =
            [0, 1].map(|side| LegPorts { bind: relay.into(), rtp: port(call, side), dscp: 46 });
        self.engine.open(id, worker, a, b, [call as u8; 32])?;
        let keys = [0, 1]
            .map(|side| order.legs.is_encrypted(side).then(|| order.suite.our_key(call, side)));
        let [a, b] = [0, 1].map(|side| {
            let crypto = keys[side].as_deref().map(|ours| Crypto {
                local: order.suite.key(ours),
                remote: vec![order.suite.key(&order.suite.far_key(side))],
            });
            let far_side = SocketAddrV4::new(far, order.far_ports[call][side]);
            Some(Stream { crypto, ..Stream::muxed(far_side.into()) }.into())
        });
        self.engine.connect(id, worker, a, b)?;
        self.engine.stats(id, worker)?;
        self.until(|event| matches!(event, Event::Stats { .. }).then_some(()))?;
        Ok(keys)
    }

    /// Closes all calls; says what carried them in the end, and what was dropped.
    pub(super) fn close(&self) -> Result<Account, Failure> {
        let mut account = Account::default();
        for (call, &worker) in self.workers.iter().enumerate() {
            let id = MediaId(call as u64);
            self.engine.stats(id, worker)?;
            let carried = self.until(|event| match event {
                Event::Stats { carried, .. } => Some(carried),
                _ => None,
            })?;
            for leg in carried {
                count(&mut account.carried, leg.by.name(), &leg.why_not_faster);
            }
            self.engine.close(id, worker)?;
            self.until(|event| matches!(event, Event::Closed { .. }).then_some(()))?;
        }
        // Published with each call that is closed.
        let totals = self.engine.totals();
        account.full = totals.receive_errors;
        account.cable_out = totals.send_errors;
        let dropped = DropReason::ALL.into_iter();
        let dropped = dropped.map(|reason| (reason.as_str().to_owned(), totals.dropped(reason)));
        account.dropped = dropped.filter(|&(_, packets)| packets > 0).collect();
        Ok(account)
    }

    /// Waits for what the engine has to say.
    fn until<T>(&self, wanted: impl Fn(Event) -> Option<T>) -> Result<T, Failure> {
        loop {
            match self.events.recv_timeout(PATIENCE)? {
                Event::OpenFailed { why, .. } | Event::FellBack { why, .. } => {
                    return Err(why.into());
                }
                event => {
                    if let Some(found) = wanted(event) {
                        return Ok(found);
                    }
                }
            }
        }
    }
}

fn count(carried: &mut Vec<Carried>, by: &str, why_not_faster: &str) {
    match carried.iter_mut().find(|known| known.by == by) {
        Some(known) => known.legs += 1,
        None => carried.push(Carried {
            by: by.to_owned(),
            legs: 1,
            why_not_faster: why_not_faster.to_owned(),
        }),
    }
}

fn config(order: &Order, way: Way) -> Config {
    Config {
        workers: order.workers,
        transcoders: 0,
        engine: way.engine.kind(),
        offload: way.offload.is_some(),
        media: vec![order.addresses().0.into()],
        gather: order.gather,
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
