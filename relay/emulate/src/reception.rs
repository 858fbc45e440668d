//! Loss and jitter of what comes in (RFC 3550, A.1, A.3 and A.8), counted apart from the relay's own
//! so that each checks the other.

use media::g711::RATE_HZ;
use media::rtp::Header;
use std::time::Instant;

/// A step of the sequence number larger than this is a source that starts anew (RFC 3550, A.1).
const MAX_STEP: i16 = 3000;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reception {
    pub(crate) received: u64,
    expected_before: u64,
    source: Option<Source>,
    /// In units of the clock.
    jitter: f64,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    lowest: i64,
    highest: i64,
    arrived: Instant,
    timestamp: u32,
}

/// What a report block needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) ssrc: u32,
    pub(crate) highest: u32,
}

impl Reception {
    pub(crate) fn count(&mut self, now: Instant, header: &Header) {
        self.received += 1;
        let follows = self.source.and_then(|source| {
            let step = header.sequence.wrapping_sub(source.highest as u16) as i16;
            let near = source.ssrc == header.ssrc && (-MAX_STEP..=MAX_STEP).contains(&step);
            near.then(|| (source, source.highest + i64::from(step)))
        });
        let fresh = Source {
            ssrc: header.ssrc,
            lowest: i64::from(header.sequence),
            highest: i64::from(header.sequence),
            arrived: now,
            timestamp: header.timestamp,
        };
        self.source = Some(match follows {
            Some((source, index)) => {
                self.measure(&source, now, header.timestamp);
                let (lowest, highest) = (source.lowest.min(index), source.highest.max(index));
                Source { lowest, highest, ..fresh }
            }
            None => {
                self.expected_before = self.expected();
                fresh
            }
        });
    }

    /// RFC 3550, A.8.
    fn measure(&mut self, last: &Source, now: Instant, timestamp: u32) {
        let arrived = now.saturating_duration_since(last.arrived).as_secs_f64();
        let sent = f64::from(timestamp.wrapping_sub(last.timestamp) as i32);
        let difference = (arrived * f64::from(RATE_HZ) - sent).abs();
        self.jitter += (difference - self.jitter) / 16.0;
    }

    fn expected(&self) -> u64 {
        let now = self.source.map_or(0, |source| (source.highest - source.lowest + 1) as u64);
        self.expected_before + now
    }

    pub(crate) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    pub(crate) fn loss_fraction(&self) -> f64 {
        self.lost() as f64 / self.expected().max(1) as f64
    }

    pub(crate) fn jitter_ms(&self) -> f64 {
        self.jitter * 1000.0 / f64::from(RATE_HZ)
    }

    pub(crate) fn jitter_units(&self) -> u32 {
        self.jitter as u32
    }

    pub(crate) fn extent(&self) -> Option<Extent> {
        self.source.map(|source| Extent { ssrc: source.ssrc, highest: source.highest as u32 })
    }
}
