//! Sockets at the queues of an interface, and the rules that bring ports to their queue.

use super::{Attached, NoSockets, Sockets, Then, Watched};
use crate::kernel::Queue;
use crate::routes::Routes;
use crate::xdp::Part;
use crate::xdp::frames::Frames;
use crate::xdp::interface::{self, Interface, interfaces_with, stands_for};
use crate::xdp::rules::{self, Laid};
use crate::xdp::socket::Mode;
use std::io::ErrorKind;
use std::net::IpAddr;

impl Attached {
    pub(super) fn open_one(&mut self, frames: &mut Frames, routes: &Routes, index: u32) -> Watched {
        let found = interface::look_at(index);
        let queues = found.as_ref().map_or((0, 0), |found| found.queues);
        let name = found.as_ref().map_or_else(|_| index.to_string(), |found| found.name.clone());
        let sockets = match found {
            Err(error) => Err(NoSockets::new(error.to_string())),
            Ok(Interface { up: false, .. }) => Err(NoSockets::new("it is down")),
            Ok(found) => self.open_queues(frames, index, &found).map(|mut sockets| {
                sockets.rules = self.lay_rules(&sockets, frames, routes, (index, &name));
                sockets
            }),
        };
        Watched { index, name, queues, sockets }
    }

    /// Sockets at this worker's queues: of several workers each has every so-manieth.
    fn open_queues(
        &mut self,
        frames: &mut Frames,
        index: u32,
        found: &Interface,
    ) -> Result<Sockets, NoSockets> {
        let (receivers, senders) = found.queues;
        let Part { worker, workers, generic, .. } = self.part;
        let ours = (worker as u32..receivers).step_by(workers.max(1));
        if ours.len() == 0 {
            let why = format!("it has {receivers} queues for {workers} workers");
            return Err(NoSockets::new(why));
        }
        let native = match generic {
            true => self.kernel().watch(index),
            false => self.kernel().watch_native(index),
        };
        let native = native.map_err(|error| NoSockets::new(error.to_string()))?;
        if !native && !generic {
            return Err(NoSockets::new(NOT_NATIVE));
        }
        let mut sockets = Sockets {
            native,
            mode: if native { Mode::ZeroCopy } else { Mode::Copy },
            places: Vec::new(),
            missing: ours.map(|number| Queue { interface: index, number }).collect(),
            senders,
            rules: None,
        };
        let no = self.open_missing(frames, &mut sockets);
        if sockets.places.is_empty() {
            return Err(no);
        }
        if !sockets.missing.is_empty() {
            tracing::warn!(interface = found.name, why = no.why, "a queue without AF_XDP");
        }
        Ok(sockets)
    }

    /// Sockets at queues that have none yet; why not at the last of those that are still without.
    fn open_missing(&mut self, frames: &mut Frames, sockets: &mut Sockets) -> NoSockets {
        let mut no = NoSockets::new("");
        for queue in std::mem::take(&mut sockets.missing) {
            match self.open_queue(frames, queue, sockets) {
                Ok(place) => sockets.places.push(place),
                Err(why) => {
                    no = NoSockets { why: format!("queue {}: {}", queue.number, why.why), ..why };
                    if no.then == Then::Look {
                        sockets.missing.push(queue);
                    }
                }
            }
        }
        no
    }

    /// All queues of an interface have the same mode: the first one finds out.
    fn open_queue(
        &mut self,
        frames: &mut Frames,
        queue: Queue,
        sockets: &mut Sockets,
    ) -> Result<u8, NoSockets> {
        let opened = match (sockets.mode, sockets.places.is_empty()) {
            (Mode::ZeroCopy, true) => frames.open_fastest(queue),
            (mode, _) => frames.open(queue, mode).map(|place| (place, mode)),
        };
        let (place, mode) = opened.map_err(|error| {
            let then = match error.kind() {
                ErrorKind::ResourceBusy => Then::Look,
                _ => Then::Change,
            };
            NoSockets { why: error.to_string(), then }
        })?;
        sockets.mode = mode;
        let taken = frames.socket(place).map(|socket| {
            let mut kernel = self.kernel();
            kernel.set_queue(queue, self.part.worker, socket.fd())
        });
        if let Some(Err(error)) = taken {
            frames.close(place);
            return Err(NoSockets::new(error.to_string()));
        }
        self.queues.push(queue);
        Ok(place)
    }

    /// Has the card bring the ports of this worker to a queue of its own, if others have theirs; or says what
    /// an administrator could type.
    fn lay_rules(
        &self,
        sockets: &Sockets,
        frames: &Frames,
        routes: &Routes,
        (index, interface): (u32, &str),
    ) -> Option<Laid> {
        let Part { worker, workers, media, .. } = &self.part;
        let queue = frames.socket(*sockets.places.first()?)?.queue.number;
        if !sockets.native {
            return None;
        }
        let is_here = |bind: &&IpAddr| {
            let has = |local| **bind == local || stands_for(**bind, local);
            interfaces_with(routes, has).contains(&index)
        };
        let here: Vec<IpAddr> = media.iter().filter(is_here).copied().collect();
        // One worker at a time: a place that one has cleared may be where another lays.
        let _turn = self.kernel();
        // A card that knows no rules has none.
        if let Ok(left @ 1..) = rules::clear(index, *workers, &here) {
            tracing::info!(interface, worker, left, "rules of an earlier process were on the card");
        }
        if *workers < 2 {
            return None;
        }
        let wanted = rules::of_worker((*worker, *workers), &here, queue);
        match Laid::new(index, &wanted) {
            Ok(laid) => {
                let rules = wanted.len();
                tracing::info!(
                    interface,
                    worker,
                    queue,
                    rules,
                    "the card brings ports to their queue"
                );
                Some(laid)
            }
            Err(error) => {
                tracing::warn!(
                    interface, worker, queue, %error,
                    "the card takes no rules from us: ports of this worker may come in at another's queue"
                );
                for rule in wanted.iter().take(RULES_TOLD) {
                    tracing::info!(worker, "by hand: ethtool -N {interface} {rule}");
                }
                None
            }
        }
    }

    /// Sockets at queues that were somebody else's when their interface was looked at; says whether there are
    /// any more.
    pub(super) fn open_given_up(&mut self, frames: &mut Frames) -> bool {
        let mut more = false;
        let mut interfaces = std::mem::take(&mut self.interfaces);
        for watched in &mut interfaces {
            if let Ok(sockets) = &mut watched.sockets {
                let places = sockets.places.len();
                self.open_missing(frames, sockets);
                more |= sockets.places.len() > places;
            }
        }
        self.interfaces = interfaces;
        more
    }
}

/// Rules that an administrator is told of: all, where workers are as many as a power of two.
const RULES_TOLD: usize = 16;
/// Why an interface is left to steer where the operator has not asked for AF_XDP by name.
pub(crate) const NOT_NATIVE: &str =
    "its driver runs no XDP program, and by the stack it would cost more than steer";
