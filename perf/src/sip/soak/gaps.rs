//! Who made a gap: the generator that was late, the machine that gave nobody a processor, or Tollgate.

use serde::Serialize;

/// A silence that is heard: three packets of 20 ms.
pub(super) const GAP_NS: u64 = 60_000_000;
/// The beat of every stream.
pub(super) const BEAT_NS: u64 = 20_000_000;

/// When a packet left the generator: before and after the call that sent it, as it may be put aside in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) before_ns: u64,
    pub(super) after_ns: u64,
}

/// Time between two packets of a stream that is longer than [`GAP_NS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    /// How much longer than its beat the generator may have waited in between.
    pub(super) own_ns: u64,
}

/// A time in which the machine kept somebody waiting, and for how long of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) waited_ns: u64,
}

/// Who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It would not have been one had the generator kept its beat.
    Generator,
    /// Nor had the machine given a processor to who was ready to run.
    Machine,
    Tollgate,
}

/// One stream as it arrives.
#[derive(Clone, Debug, Default)]
pub(super) struct Ear {
    last: Option<(u64, u64, Sent)>,
    pub(super) packets: u64,
    /// Those that never came, as far as later ones did.
    pub(super) missing: u64,
    /// Those that came after a later one, or twice.
    pub(super) late: u64,
    pub(super) longest_ns: u64,
}

impl Ear {
    /// A packet arrived; the gap before it, if it was one.
    pub(super) fn hear(&mut self, index: u64, at_ns: u64, sent: Sent) -> Option<Gap> {
        self.packets += 1;
        let Some((last, last_at, last_sent)) = self.last else {
            self.last = Some((index, at_ns, sent));
            return None;
        };
        if index <= last {
            self.late += 1;
            self.missing = self.missing.saturating_sub(1);
            return None;
        }
        self.last = Some((index, at_ns, sent));
        self.missing += index - last - 1;
        let gap = at_ns.saturating_sub(last_at);
        self.longest_ns = self.longest_ns.max(gap);
        let apart = sent.after_ns.saturating_sub(last_sent.before_ns);
        (gap > GAP_NS).then(|| Gap {
            began_ns: last_at,
            ended_ns: at_ns,
            own_ns: apart.saturating_sub(BEAT_NS * (index - last)),
        })
    }
}

impl Gap {
    /// Who made it, by what is known of the machine; `stalls` of one source do not overlap.
    pub(super) fn cause(&self, stalls: &[&[Stall]]) -> Cause {
        let length = self.ended_ns - self.began_ns;
        let left = length.saturating_sub(self.own_ns);
        if left <= GAP_NS {
            return Cause::Generator;
        }
        // Nobody's waiting is counted twice: the worst of the sources stands for all.
        let waited = stalls.iter().map(|stalls| self.waited(stalls)).max().unwrap_or(0);
        if left.saturating_sub(waited) <= GAP_NS { Cause::Machine } else { Cause::Tollgate }
    }

    fn waited(&self, stalls: &[Stall]) -> u64 {
        stalls
            .iter()
            .filter(|it| it.ended_ns > self.began_ns && it.began_ns < self.ended_ns)
            .map(|it| {
                let within = it.ended_ns.min(self.ended_ns) - it.began_ns.max(self.began_ns);
                it.waited_ns.min(within)
            })
            .sum()
    }
}

/// Gaps by who made them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Causes {
    pub(super) generator: u64,
    pub(super) machine: u64,
    pub(super) tollgate: u64,
}

impl Causes {
    pub(super) fn of(gaps: &[Gap], stalls: &[&[Stall]]) -> Self {
        let mut causes = Self::default();
        for gap in gaps {
            match gap.cause(stalls) {
                Cause::Generator => causes.generator += 1,
                Cause::Machine => causes.machine += 1,
                Cause::Tollgate => causes.tollgate += 1,
            }
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Ear, Gap, Sent, Stall};

    const MS: u64 = 1_000_000;

    fn sent(at_ms: u64) -> Sent {
        Sent { before_ns: at_ms * MS, after_ns: at_ms * MS }
    }

    /// Packets as (index, sent, arrived), in ms.
    fn gaps(packets: &[(u64, u64, u64)]) -> (Ear, Vec<Gap>) {
        let mut ear = Ear::default();
        let hear =
            |&(index, at, arrived): &(u64, u64, u64)| ear.hear(index, arrived * MS, sent(at));
        let gaps = packets.iter().filter_map(hear).collect();
        (ear, gaps)
    }

    #[test]
    fn a_relay_that_sits_on_a_packet_has_made_the_gap() {
        let (_, gaps) = gaps(&[(0, 0, 1), (1, 20, 21), (2, 40, 90)]);
        assert_eq!(gaps.len(), 1);
        assert_eq!(gaps[0].cause(&[&[]]), Cause::Tollgate);
    }

    #[test]
    fn a_relay_that_loses_three_packets_has_made_the_gap() {
        let (ear, gaps) = gaps(&[(0, 0, 1), (4, 80, 81)]);
        assert_eq!(ear.missing, 3);
        assert_eq!(gaps[0].cause(&[&[]]), Cause::Tollgate);
    }

    #[test]
    fn a_generator_that_was_late_blames_nobody() {
        let (_, gaps) = gaps(&[(0, 0, 1), (1, 75, 76)]);
        assert_eq!(gaps[0].cause(&[&[]]), Cause::Generator);
        // What the relay added to it would not have been a gap by itself.
        let (_, gaps) = self::gaps(&[(0, 0, 1), (1, 75, 100)]);
        assert_eq!(gaps[0].cause(&[&[]]), Cause::Generator);
    }

    #[test]
    fn who_waited_for_a_processor_is_excused_for_as_long_as_that_took() {
        let (_, gaps) = gaps(&[(0, 0, 1), (1, 20, 101)]);
        let stall =
            |waited| Stall { began_ns: 20 * MS, ended_ns: 100 * MS, waited_ns: waited * MS };
        assert_eq!(gaps[0].cause(&[&[stall(70)], &[]]), Cause::Machine);
        assert_eq!(gaps[0].cause(&[&[stall(10)], &[]]), Cause::Tollgate);
        let before = Stall { began_ns: 0, ended_ns: MS, waited_ns: MS };
        assert_eq!(gaps[0].cause(&[&[before]]), Cause::Tollgate);
    }

    #[test]
    fn a_late_packet_is_missing_no_more() {
        let (ear, _) = gaps(&[(0, 0, 1), (2, 40, 41), (1, 20, 42)]);
        assert_eq!((ear.missing, ear.late, ear.packets), (0, 1, 3));
    }
}
