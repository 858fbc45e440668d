//! Whether new calls are taken: what `/readyz` says, and systemd is told.

use std::sync::atomic::{AtomicU8, Ordering};

/// Shared by who knows and who is asked.
#[derive(Debug, Default)]
pub(crate) struct Readiness(AtomicU8);

/// A phase in the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Starting = 0,
    Ready = 1,
    /// Calls that are up go on, and new ones are refused.
    Draining = 2,
    Stopping = 3,
}

impl Readiness {
    /// What is answered now.
    pub(crate) fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            2 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// From now on it is this phase.
    pub(crate) fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    /// The host drains, or does not any more; whoever stops goes on stopping. Whether that is new.
    pub(crate) fn drains(&self, is: bool) -> bool {
        let (from, to) = match is {
            true => (Phase::Ready, Phase::Draining),
            false => (Phase::Draining, Phase::Ready),
        };
        let changed =
            self.0.compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed);
        changed.is_ok()
    }
}

impl Phase {
    /// In words, for who asks.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_stops_is_not_made_ready_again_by_a_drain_that_is_cancelled() {
        let readiness = Readiness::default();
        assert!(!readiness.drains(true), "not before it has started");
        readiness.enter(Phase::Ready);
        assert!(readiness.drains(true) && !readiness.drains(true));
        assert_eq!(readiness.phase(), Phase::Draining);
        assert!(readiness.drains(false));
        readiness.drains(true);
        readiness.enter(Phase::Stopping);
        assert!(!readiness.drains(false));
        assert_eq!(readiness.phase(), Phase::Stopping);
    }
}
