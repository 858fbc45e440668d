//! Media ports, chosen here so that no step of call set-up waits for an answer from below.
//!
//! A port belongs to an address, not to a plan: after a reload calls keep theirs, and nobody is given
//! one that is still in use. It is of one media worker ([`PortBlocks`]) and both legs of a call are of the
//! same, so that a card can bring both to the worker's own queue; where no such port is left another does
//! as well, at the price of a detour within the kernel.

use crate::io::MediaPort;
use crate::plan::{MediaPlace, Plan};
use rand_core::RngCore;
use sdp::PortBlocks;
use std::collections::{BTreeSet, VecDeque};
use std::iter;
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::time::{Duration, Instant};

/// How long a released pair rests before it is used again: late packets of the old call, and its
/// peers' caches, must not meet the next one.
const QUARANTINE: Duration = Duration::from_secs(10);
/// A pair is drawn among so many at least, or twice as many as are taken: too many to guess, and few enough
/// that what media keeps of them stands together in memory, and not a page of it for each.
const SPREAD_MIN: usize = 4_096;
/// An even port and the next one.
const PAIRS: usize = 32_768;
const WORDS: usize = PAIRS / 64;

/// The RTP/RTCP port pairs of every media address.
#[derive(Debug)]
pub(crate) struct PortPool {
    addresses: Vec<Pairs>,
    workers: usize,
    blocks: PortBlocks,
    next_worker: usize,
    /// Trunks that wanted a pair there and got none since they last had one.
    wanting: BTreeSet<(String, MediaPlace)>,
    /// What a call has given up for the one that is about to begin, and its worker.
    given: Option<(usize, Vec<MediaPort>)>,
}

/// The pairs of one address that are not free.
#[derive(Debug)]
struct Pairs {
    bind: IpAddr,
    /// One bit per pair.
    taken: Box<[u64; WORDS]>,
    /// Released, oldest first, and until when.
    resting: VecDeque<(Instant, u16)>,
    in_use: usize,
}

impl PortPool {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            addresses: Vec::new(),
            workers: workers.max(1),
            blocks: PortBlocks::new(workers),
            next_worker: 0,
            wanting: BTreeSet::new(),
            given: None,
        }
    }

    /// The worker that owns the next call, whose legs are these: each in turn, of those that have ports for
    /// both.
    pub(crate) fn worker(
        &mut self,
        now: Instant,
        plan: &Plan,
        legs: [(usize, MediaPlace); 2],
    ) -> usize {
        // There the ports are closed before they are opened.
        if let Some((worker, _)) = &self.given {
            return *worker;
        }
        if self.workers == 1 {
            return 0;
        }
        self.rest(now);
        let ranges = legs.map(|(trunk, place)| plan.media_at(trunk, place));
        let has_ports = |worker: &usize| {
            ranges.iter().flatten().all(|(home, ports)| {
                self.free(home.bind, ports, 0).any(|port| self.blocks.worker_of(port) == *worker)
            })
        };
        let mut in_turn = (0..self.workers).map(|step| (self.next_worker + step) % self.workers);
        let worker = in_turn.find(has_ports).unwrap_or(self.next_worker);
        self.next_worker = (worker + 1) % self.workers;
        worker
    }

    /// A free pair for a leg on `trunk` of a call that `worker` owns, drawn by lot: who knows one call's ports
    /// knows nothing of the next one's. `None` where none is left.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        rng: &mut impl RngCore,
        plan: &Plan,
        (trunk, place): (usize, MediaPlace),
        worker: usize,
    ) -> Option<MediaPort> {
        let (home, ports) = plan.media_at(trunk, place)?;
        let name = || plan.trunks.get(trunk).map(|trunk| (trunk.name.clone(), place));
        self.rest(now);
        let Some(rtp) = self.draw(rng, home.bind, &ports, worker) else {
            let fits = |port: &mut MediaPort| fits(plan, (trunk, place), port);
            let given =
                self.given.as_mut().and_then(|(_, given)| given.extract_if(.., fits).next());
            if let Some(MediaPort { rtp, .. }) = given {
                let dscp = plan.dscp_of(trunk);
                return Some(MediaPort { bind: home.bind, advertise: home.advertise, rtp, dscp });
            }
            self.wanting.extend(name());
            return None;
        };
        if !self.wanting.is_empty()
            && let Some(name) = name()
        {
            self.wanting.remove(&name);
        }
        let pairs = self.of(home.bind);
        pairs.set(rtp, true);
        pairs.in_use += 1;
        let dscp = plan.dscp_of(trunk);
        Some(MediaPort { bind: home.bind, advertise: home.advertise, rtp, dscp })
    }

    /// The sockets of this pair are closed.
    pub(crate) fn release(&mut self, now: Instant, port: MediaPort) {
        let pairs = self.of(port.bind);
        pairs.in_use = pairs.in_use.saturating_sub(1);
        pairs.resting.push_back((now + QUARANTINE, port.rtp));
    }

    /// Whether there are so many pairs, free or given, for legs on `trunk` whose far side is there.
    pub(crate) fn has_pairs(
        &mut self,
        now: Instant,
        plan: &Plan,
        leg: (usize, MediaPlace),
        count: usize,
    ) -> bool {
        self.rest(now);
        let Some((home, ports)) = plan.media_at(leg.0, leg.1) else { return false };
        let free = self.free(home.bind, &ports, 0);
        let given = self.given.iter().flat_map(|(_, given)| given);
        let given = given.filter(|port| fits(plan, leg, port)).count();
        given + free.take(count).count() >= count
    }

    /// The worker that what was given so far is of.
    pub(crate) fn given_by(&self) -> Option<usize> {
        self.given.as_ref().map(|(worker, _)| *worker)
    }

    /// A call gives up its pairs for the one that begins now, which its worker is to have as well.
    pub(crate) fn give(&mut self, worker: usize, pairs: [MediaPort; 2]) {
        self.given.get_or_insert((worker, Vec::new())).1.extend(pairs);
    }

    /// The call has begun: what it did not take of the pairs that were given rests.
    pub(crate) fn take_back(&mut self, now: Instant) {
        for pair in self.given.take().into_iter().flat_map(|(_, pairs)| pairs) {
            self.release(now, pair);
        }
    }

    /// Ports (not pairs) in use now.
    pub(crate) fn in_use(&self) -> usize {
        self.addresses.iter().map(|pairs| pairs.in_use * 2).sum()
    }

    /// The trunks that found no free pair and would still find none.
    pub(crate) fn wanting(&mut self, now: Instant, plan: &Plan) -> Vec<String> {
        self.rest(now);
        let mut wanting = std::mem::take(&mut self.wanting);
        wanting.retain(|(name, place)| {
            let ports = plan.trunk_named(name).and_then(|trunk| plan.media_at(trunk, *place));
            ports.is_some_and(|(home, ports)| self.free(home.bind, &ports, 0).next().is_none())
        });
        self.wanting = wanting;
        let mut names: Vec<String> = self.wanting.iter().map(|(name, _)| name.clone()).collect();
        names.dedup();
        names
    }

    fn draw(
        &self,
        rng: &mut impl RngCore,
        bind: IpAddr,
        ports: &RangeInclusive<u16>,
        worker: usize,
    ) -> Option<u16> {
        let count = u32::try_from(pairs_of(ports).len()).ok().filter(|count| *count > 0)?;
        let start = (rng.next_u32() % count.min(self.spread(bind))) as u16;
        let mut free = self.free(bind, ports, start);
        // Most often one of the first few is the worker's.
        let first = free.next()?;
        let mut all = iter::once(first).chain(free);
        all.find(|port| self.blocks.worker_of(*port) == worker).or(Some(first))
    }

    /// The RTP ports of the pairs of a range that are free, from the pair with this number on and round.
    fn free(
        &self,
        bind: IpAddr,
        ports: &RangeInclusive<u16>,
        start: u16,
    ) -> impl Iterator<Item = u16> {
        let pairs = pairs_of(ports);
        let start = pairs.start + start;
        let parts = [start..pairs.end, pairs.start..start];
        let free = move |pairs| free_of(pairs, move |word| self.taken(bind, word));
        parts.into_iter().flat_map(free).map(|pair| pair * 2)
    }

    /// Among how many pairs of a range one is drawn.
    fn spread(&self, bind: IpAddr) -> u32 {
        let of = self.addresses.iter().find(|pairs| pairs.bind == bind);
        let taken = of.map_or(0, |pairs| pairs.in_use + pairs.resting.len());
        SPREAD_MIN.max(taken * 2) as u32
    }

    /// The pairs of a word that the kernel would refuse to bind: bound there, or on all addresses.
    fn taken(&self, bind: IpAddr, word: usize) -> u64 {
        let same = |pairs: &&Pairs| {
            let (one, other) = (pairs.bind, bind);
            one == other
                || one.is_ipv4() == other.is_ipv4()
                    && (one.is_unspecified() || other.is_unspecified())
        };
        self.addresses.iter().filter(same).fold(0, |taken, pairs| taken | pairs.taken[word])
    }

    /// Those that have rested are free, and addresses that nobody has anything on are forgotten.
    fn rest(&mut self, now: Instant) {
        for pairs in &mut self.addresses {
            while let Some((rested, port)) = pairs.resting.front().copied()
                && rested <= now
            {
                pairs.resting.pop_front();
                pairs.set(port, false);
            }
        }
        self.addresses.retain(|pairs| pairs.in_use > 0 || !pairs.resting.is_empty());
    }

    fn of(&mut self, bind: IpAddr) -> &mut Pairs {
        let at = self.addresses.iter().position(|pairs| pairs.bind == bind);
        let at = at.unwrap_or_else(|| {
            let taken = Box::new([0; WORDS]);
            self.addresses.push(Pairs { bind, taken, resting: VecDeque::new(), in_use: 0 });
            self.addresses.len() - 1
        });
        &mut self.addresses[at]
    }
}

impl Pairs {
    fn set(&mut self, port: u16, taken: bool) {
        let pair = usize::from(port / 2);
        let bit = 1 << (pair % 64);
        match taken {
            true => self.taken[pair / 64] |= bit,
            false => self.taken[pair / 64] &= !bit,
        }
    }
}

/// Whether a leg on that trunk whose far side is there could have this pair.
pub(crate) fn fits(plan: &Plan, (trunk, place): (usize, MediaPlace), port: &MediaPort) -> bool {
    plan.media_at(trunk, place)
        .is_some_and(|(home, ports)| port.bind == home.bind && ports.contains(&port.rtp))
}

/// Those of `pairs` that are free, where `taken` says which of a word are not. Many that are not are passed
/// by at once: on a busy host most of the first pairs of a range are taken or at rest.
fn free_of(mut pairs: Range<u16>, taken: impl Fn(usize) -> u64) -> impl Iterator<Item = u16> {
    iter::from_fn(move || {
        while !pairs.is_empty() {
            let (word, bit) = (usize::from(pairs.start / 64), pairs.start % 64);
            let taken = (taken(word) >> bit).trailing_ones() as u16;
            if taken == 0 {
                return pairs.next();
            }
            pairs.start += taken;
        }
        None
    })
}

/// The pairs of a range by half their RTP port: both ports of each lie in it.
fn pairs_of(ports: &RangeInclusive<u16>) -> Range<u16> {
    let first = ports.start().div_ceil(2);
    let end = u32::from(*ports.end()).div_ceil(2);
    first..(end as u16).max(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{MediaAddress, Trunk};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use std::cell::Cell;

    const OUT: MediaPlace = MediaPlace::Outside;

    /// Virtual time zero.
    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    fn zero() -> Instant {
        Instant::now()
    }

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([1; 32])
    }

    fn plan(ports: RangeInclusive<u16>, trunks: &[Option<RangeInclusive<u16>>]) -> Plan {
        let outside = MediaAddress {
            name: "outside".into(),
            bind: [127, 0, 0, 1].into(),
            advertise: [192, 0, 2, 1].into(),
            ports,
            dscp: 46,
        };
        let trunk = |(at, ports): (usize, &Option<RangeInclusive<u16>>)| Trunk {
            name: format!("trunk{at}"),
            ports: ports.clone(),
            ..Trunk::default()
        };
        let trunks: Vec<Trunk> = trunks.iter().enumerate().map(trunk).collect();
        Plan { media: vec![outside].into(), trunks: trunks.into(), ..Plan::default() }
    }

    fn all(pool: &mut PortPool, plan: &Plan, trunk: usize) -> Vec<u16> {
        let (mut rng, now) = (rng(), zero());
        let taken = std::iter::from_fn(|| pool.take(now, &mut rng, plan, (trunk, OUT), 0));
        taken.map(|port| port.rtp).collect()
    }

    /// TDR-MED-002: RTP and RTCP of a leg, whatever is multiplexed.
    #[test]
    fn pairs_are_even_and_run_out() {
        let plan = plan(20_001..=20_006, &[None]);
        let mut pool = PortPool::new(2);
        let mut ports = all(&mut pool, &plan, 0);
        ports.sort_unstable();
        assert_eq!(ports, [20_002, 20_004], "20006 has no RTCP port beside it");
        assert_eq!(pool.in_use(), 4);
        assert_eq!(
            pool.take(zero(), &mut rng(), &plan, (1, OUT), 0),
            None,
            "there is no second trunk"
        );
        let top = self::plan(65_533..=65_535, &[None]);
        assert_eq!(all(&mut PortPool::new(1), &top, 0), [65_534]);
    }

    #[test]
    fn a_released_pair_rests_before_it_is_used_again() {
        let now = zero();
        let plan = plan(20_000..=20_001, &[None]);
        let mut pool = PortPool::new(1);
        let port = pool.take(now, &mut rng(), &plan, (0, OUT), 0).unwrap();
        pool.release(now, port);
        assert_eq!(pool.in_use(), 0);
        assert_eq!(pool.take(now + QUARANTINE / 2, &mut rng(), &plan, (0, OUT), 0), None);
        assert_eq!(pool.wanting(now + QUARANTINE / 2, &plan), ["trunk0"]);
        assert_eq!(pool.wanting(now + QUARANTINE, &plan), [""; 0]);
        assert_eq!(pool.take(now + QUARANTINE, &mut rng(), &plan, (0, OUT), 0), Some(port));
    }

    #[test]
    fn a_trunk_that_finds_none_in_one_place_is_wanting_while_the_other_has_some() {
        let now = zero();
        let mut plan = plan(20_000..=20_001, &[None]);
        let inside = MediaAddress { bind: [127, 0, 0, 9].into(), ..plan.media[0].clone() };
        plan.media = vec![plan.media[0].clone(), inside].into();
        plan.trunks = vec![Trunk { inside: Some(1), ..plan.trunks[0].clone() }].into();
        let mut pool = PortPool::new(1);
        let port = pool.take(now, &mut rng(), &plan, (0, OUT), 0).unwrap();
        assert_eq!(pool.take(now, &mut rng(), &plan, (0, OUT), 0), None);
        assert!(!pool.has_pairs(now, &plan, (0, OUT), 1));
        assert!(pool.has_pairs(now, &plan, (0, MediaPlace::Inside), 1));
        assert_eq!(pool.wanting(now, &plan), ["trunk0"]);
        pool.release(now, port);
        assert_eq!(pool.wanting(now + QUARANTINE, &plan), [""; 0]);
    }

    #[test]
    fn a_pair_is_passed_by_that_is_free_between_others() {
        for first in [20_000_u16, 20_002, 20_126, 20_128] {
            let plan = plan(first..=first + 511, &[None]);
            let mut pool = PortPool::new(1);
            assert_eq!(all(&mut pool, &plan, 0).len(), 256, "of {first}");
            for at in [0, 1, 62, 63, 64, 65, 190, 255] {
                let rtp = first + 2 * at;
                let port = MediaPort { rtp, ..pool_port(&plan) };
                pool.release(zero(), port);
                let mut rng = ChaCha20Rng::from_seed([at as u8; 32]);
                let found = pool.take(zero() + QUARANTINE, &mut rng, &plan, (0, OUT), 0);
                assert_eq!(found.map(|port| port.rtp), Some(rtp));
            }
        }
    }

    #[test]
    fn a_range_that_is_nearly_full_is_looked_at_pair_by_pair() {
        let looks = Cell::new(0);
        let taken = |word: usize| {
            looks.set(looks.get() + 1);
            if word == 156 { !(1 << 20) } else { u64::MAX }
        };
        let found: Vec<u16> = free_of(30..15_000, taken).collect();
        assert_eq!(found, [156 * 64 + 20]);
        assert!(looks.get() <= 15_000 / 64 + 3, "{} looks", looks.get());
    }

    /// A port as the pool of `plan` gives them.
    fn pool_port(plan: &Plan) -> MediaPort {
        PortPool::new(1).take(zero(), &mut rng(), plan, (0, OUT), 0).unwrap()
    }

    #[test]
    fn the_next_port_is_not_beside_the_last() {
        let plan = plan(20_000..=29_999, &[None]);
        let (mut pool, mut rng, now) = (PortPool::new(1), rng(), zero());
        let mut take = || i32::from(pool.take(now, &mut rng, &plan, (0, OUT), 0).unwrap().rtp);
        let mut last = take();
        let near = (0..200).filter(|_| {
            let port = take();
            (std::mem::replace(&mut last, port) - port).abs() < 100
        });
        assert!(near.count() < 20, "chance alone has two in a hundred so near");
    }

    #[test]
    fn the_legs_of_a_call_come_to_two_workers() {
        let (mut rng, now) = (rng(), zero());
        let plan = plan(20_000..=23_999, &[Some(20_000..=20_399), Some(21_000..=21_399)]);
        for workers in [2, 3, 4] {
            let mut pool = PortPool::new(workers);
            let blocks = PortBlocks::new(workers);
            let mut calls = vec![0; workers];
            // All but the last: there is no longer a choice for these.
            for _ in 0..150 {
                let worker = pool.worker(now, &plan, [(0, OUT), (1, OUT)]);
                calls[worker] += 1;
                for trunk in [0, 1] {
                    let port = pool.take(now, &mut rng, &plan, (trunk, OUT), worker).unwrap();
                    assert_eq!(blocks.worker_of(port.rtp), worker, "{port:?} of {workers}");
                }
            }
            assert!(calls.iter().all(|calls| *calls >= 150 / workers / 2), "{calls:?}");
        }
    }

    #[test]
    fn a_port_of_another_worker_is_better_than_none() {
        let plan = plan(20_000..=20_015, &[None]);
        let mut pool = PortPool::new(2);
        let block = PortBlocks::new(2).worker_of(20_000);
        let worker = pool.worker(zero(), &plan, [(0, OUT); 2]);
        assert_eq!(worker, block, "the other has none");
        let mut rng = rng();
        let other = (0..8).map(|_| pool.take(zero(), &mut rng, &plan, (0, OUT), 1 - block));
        assert!(other.flatten().count() == 8);
        assert_eq!(pool.take(zero(), &mut rng, &plan, (0, OUT), block), None);
    }

    /// TDR-MED-002
    #[test]
    fn a_trunk_keeps_to_its_ports_and_shares_them_with_those_that_have_none() {
        let plan = plan(20_000..=20_007, &[Some(20_002..=20_005), None]);
        let mut pool = PortPool::new(1);
        let mut own = all(&mut pool, &plan, 0);
        own.sort_unstable();
        assert_eq!(own, [20_002, 20_004]);
        let mut others = all(&mut pool, &plan, 1);
        others.sort_unstable();
        assert_eq!(others, [20_000, 20_006]);
    }

    #[test]
    fn after_a_reload_no_call_is_given_a_port_that_another_still_has() {
        let old = plan(20_000..=20_003, &[None]);
        let mut pool = PortPool::new(1);
        assert_eq!(all(&mut pool, &old, 0).len(), 2);
        // The same ports under another name, and on all addresses; on another one they are free.
        let mut moved = old.clone();
        let on = |bind: [u8; 4]| MediaAddress { bind: bind.into(), ..old.media[0].clone() };
        moved.media = vec![on([0; 4])].into();
        assert_eq!(all(&mut pool, &moved, 0), [0; 0]);
        moved.media = vec![on([127, 0, 0, 2])].into();
        assert_eq!(all(&mut pool, &moved, 0).len(), 2);
    }

    #[test]
    fn few_calls_stay_together_in_a_large_range_and_many_get_all_of_it() {
        let plan = plan(20_000..=36_383, &[None]);
        let (mut pool, mut rng) = (PortPool::new(1), rng());
        let mut take = |count: usize| -> Vec<u16> {
            let taken = std::iter::from_fn(|| pool.take(zero(), &mut rng, &plan, (0, OUT), 0));
            taken.take(count).map(|port| port.rtp).collect()
        };
        let few = take(500);
        let apart = |ports: &[u16]| ports.iter().max().unwrap() - ports.iter().min().unwrap();
        assert!(usize::from(apart(&few)) < SPREAD_MIN * 2 + 64);
        assert!(apart(&few) > 6_000, "and are drawn by lot");
        assert_eq!(take(usize::MAX).len(), 8_192 - 500);
    }
}
