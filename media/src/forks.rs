//! Forks of an INVITE that is not answered: whether the one that is carried sends, and which other one sends
//! instead (TDR-EM-007).
//!
//! A packet of another fork is dropped as any stranger's; who it is of is looked at after that, and told
//! to signalling, which has that fork carried.

use crate::srtp::Receiver;
use crate::{DropReason, PacketBuf};
use sdp::{Early, Fork, Notice};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A ringing tone with its silence suppressed pauses for four seconds: one that is silent for longer has
/// stopped.
const STOPS_AFTER: Duration = Duration::from_secs(6);
/// Forks that are looked for, a handful of clients: beyond that the one that is carried has to do.
const OTHERS_MAX: usize = 8;
/// How often a packet may be tried under the keys of others: enough to find a stream within its first
/// packets, and no work to speak of in a flood.
const TRY_EVERY: Duration = Duration::from_millis(5);
/// How soon another fork is told of again: who was told may not have heard.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What is known of the forks of one leg.
pub(crate) struct Forks {
    carried: u32,
    /// When the one that is carried was heard last.
    heard: Option<Instant>,
    /// Signalling knows that it sends.
    told: bool,
    others: Vec<Other>,
    tried: Option<Instant>,
}

/// One that is not carried.
struct Other {
    number: u32,
    remote_rtp: Option<SocketAddr>,
    /// `None`: it sends plain RTP.
    receiver: Option<Box<Receiver>>,
    told: Option<Instant>,
}

impl Forks {
    /// What is carried now; what was known of the same fork before stays.
    pub(crate) fn new(early: &Early, before: Option<&Self>) -> Self {
        let same = before.filter(|before| before.carried == early.fork);
        let other = |fork: &Fork| Other {
            number: fork.number,
            remote_rtp: fork.remote_rtp,
            receiver: (!fork.keys.is_empty()).then(|| Box::new(Receiver::new(&fork.keys))),
            told: None,
        };
        Self {
            carried: early.fork,
            heard: same.and_then(|before| before.heard),
            told: same.is_some_and(|before| before.told),
            others: early.others.iter().take(OTHERS_MAX).map(other).collect(),
            tried: None,
        }
    }

    /// A packet of the one that is carried is believed.
    pub(crate) fn heard(&mut self, now: Instant) -> Option<Notice> {
        self.heard = Some(now);
        let news = !std::mem::replace(&mut self.told, true);
        news.then_some(Notice::Streams(self.carried))
    }

    /// A packet was dropped: if another fork has sent it while the one that is carried does not, that is
    /// told. The slot is of no use afterwards.
    pub(crate) fn stranger(
        &mut self,
        now: Instant,
        reason: DropReason,
        from: SocketAddr,
        slot: &mut PacketBuf,
    ) -> Option<Notice> {
        let sends = self.heard.is_some_and(|heard| now < heard + STOPS_AFTER);
        let tried_lately = self.tried.is_some_and(|tried| now < tried + TRY_EVERY);
        if sends || tried_lately || self.others.is_empty() {
            return None;
        }
        self.tried = Some(now);
        let other = self.others.iter_mut().find_map(|other| {
            let is_its = match (&mut other.receiver, reason) {
                (None, DropReason::Unlatched) => other.remote_rtp == Some(from),
                // Of one SSRC, another's packet may look like one that came before.
                (Some(receiver), DropReason::BadTag | DropReason::Replay) => {
                    receiver.unprotect(slot).is_ok()
                }
                _ => false,
            };
            is_its.then_some(other)
        })?;
        if other.told.is_some_and(|told| now < told + TELL_EVERY) {
            return None;
        }
        other.told = Some(now);
        Some(Notice::Streams(other.number))
    }

    /// When to look whether the one that is carried has stopped.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.heard.filter(|_| self.told).map(|heard| heard + STOPS_AFTER)
    }

    /// Whether it has.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Notice> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        self.told = false;
        Some(Notice::Stops(self.carried))
    }
}

impl std::fmt::Debug for Forks {
    /// Shows what is carried and known of it: what strangers send leaves no trace here.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forks")
            .field("carried", &self.carried)
            .field("heard", &self.heard)
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
