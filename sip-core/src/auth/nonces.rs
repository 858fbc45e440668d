//! Nonces that need no memory until somebody has used one rightly (RFC 7616, 3.3 and 5.4).

use super::algorithm::hex;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Nonces whose counters are kept. Each is in use by somebody who knows a secret, so a handful per
/// PBX is usual; a nonce that had to make room counts as stale.
pub const NONCES_MAX: usize = 1024;

/// Counts below the highest that may still come: requests overtake each other over UDP.
const WINDOW: u32 = 64;

/// Octets of issue time and number, which are in the clear.
const HEAD: usize = 16;
/// Octets of the authentication code: nobody gets more than a few thousand guesses in the life of
/// a nonce, and gains nothing by a right one.
const CODE: usize = 16;

/// What a nonce is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// Of ours, young enough, and with this count for the first time.
    Fresh,
    /// Too old, from before a restart, forged, or crowded out.
    Stale,
    /// With a count that was used before.
    Replayed,
}

/// The nonces of one realm.
pub(super) struct Nonces {
    key: Zeroizing<[u8; 32]>,
    /// What issue times count from.
    epoch: Instant,
    life: Duration,
    /// Those used rightly, by issue time and number.
    used: BTreeMap<Head, Counts>,
    /// No nonce up to this one is fresh unless it is in `used`: its counts are forgotten.
    forgotten: Option<Head>,
}

/// Milliseconds since the epoch, and a random number.
type Head = (u64, u64);

/// The highest count seen, and which of those just below it (bit 0 is the highest itself).
#[derive(Clone, Copy, Debug)]
struct Counts {
    highest: u32,
    seen: u64,
}

impl Nonces {
    pub(super) fn new(now: Instant, key: [u8; 32], life: Duration) -> Self {
        let (key, used) = (Zeroizing::new(key), BTreeMap::new());
        Self { key, epoch: now, life, used, forgotten: None }
    }

    /// A nonce issued now; `number` is random, so that two of one millisecond differ.
    pub(super) fn issue(&self, now: Instant, number: u64, realm: &str) -> String {
        let mut octets = head_octets((self.millis(now), number)).to_vec();
        let code = self.code(&octets, realm);
        octets.extend_from_slice(&code);
        hex(&octets)
    }

    /// Uses a nonce for the `count`th time. Only for those whose digest was right.
    pub(super) fn spend(&mut self, now: Instant, nonce: &[u8], count: u32, realm: &str) -> Worth {
        let Some(head) = self.genuine(nonce, realm) else { return Worth::Stale };
        let life = self.life.as_millis() as u64;
        let now = self.millis(now);
        if now.saturating_sub(head.0) > life {
            return Worth::Stale;
        }
        self.used.retain(|(issued, _), _| now.saturating_sub(*issued) <= life);
        if let Some(counts) = self.used.get_mut(&head) {
            return if counts.take(count) { Worth::Fresh } else { Worth::Replayed };
        }
        if self.forgotten.is_some_and(|forgotten| head <= forgotten) {
            return Worth::Stale;
        }
        if self.used.len() >= NONCES_MAX
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.forgotten = Some(oldest);
            if head <= oldest {
                return Worth::Stale;
            }
        }
        self.used.insert(head, Counts { highest: count, seen: 1 });
        Worth::Fresh
    }

    /// Nonces with counters.
    pub(super) fn held(&self) -> usize {
        self.used.len()
    }

    fn genuine(&self, nonce: &[u8], realm: &str) -> Option<Head> {
        let octets = unhex(nonce)?;
        let (head, code) = octets.split_at_checked(HEAD)?;
        let right: bool = self.code(head, realm).ct_eq(code).into();
        let (issued, number) = head.split_first_chunk::<8>()?;
        let number = number.first_chunk::<8>()?;
        right.then(|| (u64::from_be_bytes(*issued), u64::from_be_bytes(*number)))
    }

    fn code(&self, head: &[u8], realm: &str) -> [u8; CODE] {
        let mut code = [0; CODE];
        // HMAC takes keys of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*self.key) {
            mac.update(head);
            mac.update(realm.as_bytes());
            let whole = mac.finalize().into_bytes();
            code.copy_from_slice(&whole[..CODE]);
        }
        code
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }
}

impl Counts {
    /// Whether `count` comes for the first time and not too late.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        if behind >= WINDOW || self.seen >> behind & 1 == 1 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

fn head_octets((issued, number): Head) -> [u8; HEAD] {
    let mut octets = [0; HEAD];
    octets[..8].copy_from_slice(&issued.to_be_bytes());
    octets[8..].copy_from_slice(&number.to_be_bytes());
    octets
}

/// The octets of a nonce of ours; `None` for another length or other digits.
fn unhex(text: &[u8]) -> Option<[u8; HEAD + CODE]> {
    let mut octets = [0; HEAD + CODE];
    if text.len() != 2 * octets.len() {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *octet = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(octets)
}
