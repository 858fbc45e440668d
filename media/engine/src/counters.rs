//! Counters of one worker: plain integers while it works, published for others to read.

use crate::datapath::Datapath;
use crate::io::Faults;
use media::DropReason;
use std::sync::atomic::{AtomicU64, Ordering};

const REASONS: usize = DropReason::ALL.len();
const DATAPATHS: usize = Datapath::ALL.len();

/// What the workers have done since they started. Published about once a second, and whenever a
/// port was opened or closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets taken from the kernel, dropped ones included.
    pub received: u64,
    /// Packets received and sent on.
    pub forwarded: u64,
    /// Packets that we made ourselves.
    pub generated: u64,
    /// Packets sent on in another codec than they came in; `forwarded` includes them.
    pub transcoded: u64,
    /// Packets that the kernel sent on itself; `received` and `forwarded` include them, once they are
    /// read: twice a second at least.
    pub offloaded: u64,
    /// Dropped packets, indexed as [`DropReason::ALL`].
    pub drops: [u64; REASONS],
    /// Receives that brought an error instead of a packet (an ICMP message, mostly).
    pub receive_errors: u64,
    /// Packets that the kernel refused to send; `forwarded` and `generated` include them.
    pub send_errors: u64,
    /// Packets that came in at a queue of AF_XDP that is another worker's, and took the stack's way to theirs.
    pub astray: u64,
    /// Calls open now.
    pub calls: u64,
    /// Ports bound now.
    pub ports: u64,
    /// Legs open now by what carries them, indexed as [`Datapath::ALL`].
    pub legs: [u64; DATAPATHS],
}

impl Totals {
    /// How many packets were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    pub(crate) fn drop_packet(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    pub(crate) fn set_faults(&mut self, faults: Faults) {
        self.receive_errors = faults.receive;
        self.send_errors = faults.send;
        self.astray = faults.astray;
    }

    /// Adds the counters of another worker.
    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = *other;
        for (sum, more) in self.words_mut().zip(other.words_mut()) {
            *sum += *more;
        }
    }

    /// Every counter, in one fixed order, `received` first.
    fn words_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        let Self {
            received,
            forwarded,
            generated,
            transcoded,
            offloaded,
            drops,
            receive_errors,
            send_errors,
            astray,
            calls,
            ports,
            legs,
        } = self;
        let counts = [received, forwarded, generated, transcoded, offloaded];
        let counts = counts.into_iter().chain([receive_errors, send_errors, astray, calls, ports]);
        counts.chain(drops).chain(legs)
    }
}

const WORDS: usize = 10 + REASONS + DATAPATHS;

/// Where a worker publishes its counters. Each is right by itself; who reads while they are written has some
/// of them newer than `received`, but none older: what became of a packet is known once it counts.
#[derive(Debug)]
pub(crate) struct Published([AtomicU64; WORDS]);

impl Published {
    pub(crate) fn new() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    pub(crate) fn publish(&self, totals: &Totals) {
        let mut totals = *totals;
        let [received, others @ ..] = &self.0;
        for (place, word) in others.iter().zip(totals.words_mut().skip(1)) {
            place.store(*word, Ordering::Relaxed);
        }
        received.store(totals.received, Ordering::Release);
    }

    pub(crate) fn read(&self) -> Totals {
        let mut totals = Totals::default();
        for (place, word) in self.0.iter().zip(totals.words_mut()) {
            // Those that come after `received` are read after it.
            *word = place.load(Ordering::Acquire);
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_counter_is_lost_or_mixed_up_on_the_way_to_a_reader() {
        let mut totals = Totals::default();
        for (word, value) in totals.words_mut().zip(1..) {
            *word = value;
        }
        let published = Published::new();
        published.publish(&totals);
        assert_eq!(published.read(), totals);
        let mut sum = totals;
        sum.add(&totals);
        assert_eq!((sum.received, sum.ports), (2, 20));
        assert_eq!(sum.dropped(DropReason::PoolEmpty), 2 * (11 + DropReason::PoolEmpty as u64));
    }

    /// One thread has all counters rise together, the other reads.
    #[test]
    fn a_packet_counts_before_it_is_known_what_became_of_it() {
        let published = std::sync::Arc::new(Published::new());
        let worker = {
            let published = std::sync::Arc::clone(&published);
            std::thread::spawn(move || {
                for packets in 1..=200_000 {
                    let totals = Totals { received: packets, astray: packets, ..Totals::default() };
                    published.publish(&totals);
                }
            })
        };
        while !worker.is_finished() {
            let totals = published.read();
            assert!(totals.astray >= totals.received, "{totals:?}");
        }
    }

    #[test]
    fn each_datapath_has_its_own_place() {
        for (place, datapath) in Datapath::ALL.into_iter().enumerate() {
            assert_eq!(datapath as usize, place);
        }
    }

    #[test]
    fn each_drop_reason_has_its_own_counter() {
        for (place, reason) in DropReason::ALL.into_iter().enumerate() {
            let mut totals = Totals::default();
            totals.drop_packet(reason);
            assert_eq!(totals.drops[place], 1);
            assert_eq!(totals.dropped(reason), 1);
        }
    }
}
