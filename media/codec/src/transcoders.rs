//! All directions that one thread transcodes, each found by its key.

use crate::{Failure, Transcoder};
use sdp::Conversion;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Directions of one thread: a hundred calls. Opus both ways takes a core 1 % of its time for a call,
/// and the other half is for those who share the core.
pub const TRANSCODERS_MAX: usize = 200;

/// A direction without packets for so long is over, or will not mind a fresh start.
pub const IDLE_MAX: Duration = Duration::from_secs(30);

/// The transcoders at work.
#[derive(Debug)]
pub struct Transcoders<K> {
    at_work: HashMap<K, AtWork>,
}

#[derive(Debug)]
struct AtWork {
    transcoder: Box<Transcoder>,
    used: Instant,
}

impl<K> Default for Transcoders<K> {
    fn default() -> Self {
        Self { at_work: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Transcoders<K> {
    /// Transcodes the next packet of `key` (see [`Transcoder::transcode`]); the first one, or another
    /// conversion than before, starts it anew.
    pub fn transcode(
        &mut self,
        now: Instant,
        key: K,
        conversion: Conversion,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let known = self.at_work.get(&key).map(|it| it.transcoder.conversion());
        if known != Some(conversion) {
            if known.is_none() && self.at_work.len() >= TRANSCODERS_MAX {
                self.forget_idle(now);
            }
            if known.is_none() && self.at_work.len() >= TRANSCODERS_MAX {
                return Err(Failure::Full);
            }
            let transcoder = Box::new(Transcoder::new(conversion)?);
            self.at_work.insert(key, AtWork { transcoder, used: now });
        }
        let Some(it) = self.at_work.get_mut(&key) else { return Err(Failure::Full) };
        it.used = now;
        it.transcoder.transcode(payload, out)
    }

    /// The direction is over.
    pub fn forget(&mut self, key: &K) {
        self.at_work.remove(key);
    }

    /// Forgets those that have had nothing to do for [`IDLE_MAX`].
    pub fn forget_idle(&mut self, now: Instant) {
        self.at_work.retain(|_, it| now.saturating_duration_since(it.used) < IDLE_MAX);
    }

    /// How many directions there are.
    pub fn len(&self) -> usize {
        self.at_work.len()
    }

    /// Whether nothing is transcoded.
    pub fn is_empty(&self) -> bool {
        self.at_work.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdp::Codec;

    const TO_ULAW: Conversion = Conversion { from: Codec::Pcma, to: Codec::Pcmu };

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any time will do")]
    fn one_direction_too_many_is_refused_until_another_is_over_or_idle() {
        let (start, mut out) = (Instant::now(), Vec::new());
        let mut transcoders = Transcoders::default();
        let mut say = |at: Duration, key: usize, to: Conversion| {
            transcoders.transcode(start + at, key, to, &[0xd5; 160], &mut out)
        };
        for key in 0..TRANSCODERS_MAX {
            assert_eq!(say(Duration::ZERO, key, TO_ULAW), Ok(()));
        }
        let to_g722 = Conversion { to: Codec::G722, ..TO_ULAW };
        let later = IDLE_MAX - Duration::from_secs(1);
        assert_eq!(say(later, TRANSCODERS_MAX, TO_ULAW), Err(Failure::Full));
        assert_eq!(say(later, 0, to_g722), Ok(()), "who is there may change its codec");
        assert_eq!(say(IDLE_MAX, TRANSCODERS_MAX, TO_ULAW), Ok(()));
        assert_eq!(transcoders.len(), 2, "the one that went on, and the new one");
        transcoders.forget(&0);
        transcoders.forget(&TRANSCODERS_MAX);
        assert!(transcoders.is_empty());
    }
}
