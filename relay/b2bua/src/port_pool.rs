//! Media ports, chosen here so that no step of call set-up waits for an answer from below.

use crate::plan::MediaAddress;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a released pair rests before it is used again: late packets of the old call, and its
/// peers' caches, must not meet the next one.
const QUARANTINE: Duration = Duration::from_secs(10);

/// The free RTP/RTCP port pairs of every media address.
#[derive(Debug)]
pub(crate) struct PortPool {
    addresses: Vec<Pairs>,
    workers: usize,
    next_worker: usize,
}

/// The pairs of one address, oldest release first.
#[derive(Debug)]
struct Pairs {
    free: VecDeque<u16>,
    resting: VecDeque<(Instant, u16)>,
    in_use: usize,
}

impl PortPool {
    pub(crate) fn new(addresses: &[MediaAddress], workers: usize) -> Self {
        let pairs = |address: &MediaAddress| {
            let (first, last) = (*address.ports.start(), *address.ports.end());
            let first = first.saturating_add(first % 2);
            Pairs { free: (first..last).step_by(2).collect(), resting: VecDeque::new(), in_use: 0 }
        };
        Self {
            addresses: addresses.iter().map(pairs).collect(),
            workers: workers.max(1),
            next_worker: 0,
        }
    }

    /// The worker that owns the next call.
    pub(crate) fn worker(&mut self) -> usize {
        let worker = self.next_worker;
        self.next_worker = (worker + 1) % self.workers;
        worker
    }

    /// The RTP port of a free pair on media address `address`; `None` where none is left.
    pub(crate) fn take(&mut self, now: Instant, address: usize) -> Option<u16> {
        self.addresses.get_mut(address)?.take(now)
    }

    /// The sockets of this pair are closed.
    pub(crate) fn release(&mut self, now: Instant, address: usize, port: u16) {
        if let Some(pairs) = self.addresses.get_mut(address) {
            pairs.in_use = pairs.in_use.saturating_sub(1);
            pairs.resting.push_back((now + QUARANTINE, port));
        }
    }

    /// Ports (not pairs) in use now.
    pub(crate) fn in_use(&self) -> usize {
        self.addresses.iter().map(|pairs| pairs.in_use * 2).sum()
    }
}

impl Pairs {
    fn take(&mut self, now: Instant) -> Option<u16> {
        while let Some((rested, port)) = self.resting.front().copied()
            && rested <= now
        {
            self.resting.pop_front();
            self.free.push_back(port);
        }
        let port = self.free.pop_front()?;
        self.in_use += 1;
        Some(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Virtual time zero.
    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    fn zero() -> Instant {
        Instant::now()
    }

    fn pool(ports: std::ops::RangeInclusive<u16>) -> PortPool {
        let address = MediaAddress {
            name: "outside".into(),
            bind: [127, 0, 0, 1].into(),
            advertise: [127, 0, 0, 1].into(),
            ports,
        };
        PortPool::new(&[address], 2)
    }

    #[test]
    fn pairs_are_even_and_run_out() {
        let now = zero();
        let mut pool = pool(20001..=20006);
        assert_eq!(pool.take(now, 0), Some(20002));
        assert_eq!(pool.take(now, 0), Some(20004));
        assert_eq!(pool.in_use(), 4);
        assert_eq!(pool.take(now, 0), None, "20006 has no RTCP port beside it");
        assert_eq!(pool.take(now, 1), None, "there is no second address");
    }

    #[test]
    fn a_released_pair_rests_before_it_is_used_again() {
        let now = zero();
        let mut pool = pool(20000..=20001);
        let port = pool.take(now, 0).unwrap();
        pool.release(now, 0, port);
        assert_eq!(pool.in_use(), 0);
        assert_eq!(pool.take(now + QUARANTINE / 2, 0), None);
        assert_eq!(pool.take(now + QUARANTINE, 0), Some(port));
    }
}
