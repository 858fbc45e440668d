//! Which media worker a port is of, as signalling draws ports and the packet plane lays them on the
//! receive queues of a card.
//!
//! Ports are worker by worker in blocks of [`BLOCK`], and the blocks in [`PortBlocks::classes`] that come
//! round again and again. So a port's worker is seen by some bits of its number, whatever ranges the
//! configuration has: a card needs one rule with a mask for each class, not one for each range.

/// Contiguous ports of one worker: eight legs. Small, so that every worker has ports in the range of a
/// trunk that has one of its own.
const BLOCK: u16 = 16;
/// More classes than workers, where their number is no power of two: then no worker has more than an eighth
/// more ports than another.
const CLASSES_PER_WORKER: u16 = 8;
/// Classes of one bit pattern each; as many blocks as there are.
const CLASSES_MAX: u16 = (1 << 15) / (BLOCK / 2);

/// The ports of so many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortBlocks {
    workers: u16,
    classes: u16,
}

/// Ports that have these bits, of those in the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortClass {
    /// What the bits are.
    pub bits: u16,
    /// Which bits say it.
    pub mask: u16,
    /// The worker, from 0.
    pub worker: usize,
}

impl PortBlocks {
    /// For one worker at least, and `CLASSES_MAX` at most: the ports of more are those of the first.
    pub fn new(workers: usize) -> Self {
        let workers = u16::try_from(workers).unwrap_or(CLASSES_MAX).clamp(1, CLASSES_MAX);
        let classes = match workers.is_power_of_two() {
            true => workers,
            false => (workers.next_power_of_two() * CLASSES_PER_WORKER).min(CLASSES_MAX),
        };
        Self { workers, classes }
    }

    /// The worker (from 0) that a port is of.
    pub fn worker_of(self, port: u16) -> usize {
        usize::from(port / BLOCK % self.classes % self.workers)
    }

    /// All ports, by what their numbers have in common.
    pub fn classes(self) -> impl Iterator<Item = PortClass> {
        (0..self.classes).map(move |class| PortClass {
            bits: class * BLOCK,
            mask: (self.classes - 1) * BLOCK,
            worker: usize::from(class % self.workers),
        })
    }
}

impl PortClass {
    /// Whether a port is one of them.
    pub const fn has(self, port: u16) -> bool {
        port & self.mask == self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_of_no_worker_or_of_two_by_the_rules_of_a_card() {
        for workers in [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 100, 128] {
            let blocks = PortBlocks::new(workers);
            let classes: Vec<_> = blocks.classes().collect();
            let mut count = vec![0; workers];
            for port in 0..=u16::MAX {
                let mut of = classes.iter().filter(|class| class.has(port));
                let (Some(class), None) = (of.next(), of.next()) else { panic!("port {port}") };
                assert_eq!(class.worker, blocks.worker_of(port), "port {port} of {workers}");
                count[class.worker] += 1;
            }
            let (least, most) = (count.iter().min().unwrap(), count.iter().max().unwrap());
            assert!(most - least <= least / 8, "{workers} workers: {least} to {most} ports");
        }
    }

    #[test]
    fn a_pair_that_is_of_two_workers() {
        for workers in 1..=128 {
            let blocks = PortBlocks::new(workers);
            for rtp in (0..u16::MAX).step_by(2) {
                assert_eq!(blocks.worker_of(rtp), blocks.worker_of(rtp + 1));
            }
        }
    }

    #[test]
    fn the_number_of_workers_goes_beyond_what_ports_can_tell() {
        assert_eq!(PortBlocks::new(0).worker_of(20_000), 0);
        let most = PortBlocks::new(1 << 20);
        assert!((0..=u16::MAX).all(|port| most.worker_of(port) < usize::from(CLASSES_MAX)));
    }
}
