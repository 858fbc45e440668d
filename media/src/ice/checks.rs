//! A check of ours on its way: sent, repeated, answered or given up (RFC 8445, 7.2.5; RFC 8489, 6.2.1).

use super::stun::Transaction;
use std::time::{Duration, Instant};

/// How soon a check is repeated; then twice as late, and so on.
const RTO: Duration = Duration::from_millis(500);
/// How often a check is sent. The last is waited for 8 s: within that a NAT has opened or none will.
const SENDS_MAX: u8 = 5;

/// The state of a pair's check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Check {
    /// Not to be sent.
    #[default]
    None,
    /// To be sent; before others if a check of the far side asks for it (RFC 8445, 7.3.1.4).
    Waiting { triggered: bool },
    /// Sent.
    Sent { transaction: Transaction, again_at: Instant, sends: u8, nominates: bool },
    /// Answered.
    Succeeded,
    /// Never answered, or refused.
    Failed,
}

impl Check {
    /// The far side has named the address.
    pub(super) fn begin(&mut self) {
        if matches!(self, Self::None) {
            *self = Self::Waiting { triggered: false };
        }
    }

    /// A check has come from there.
    pub(super) fn trigger(&mut self) {
        if matches!(self, Self::None | Self::Failed | Self::Waiting { .. }) {
            *self = Self::Waiting { triggered: true };
        }
    }

    pub(super) fn sent(&mut self, now: Instant, transaction: Transaction, nominates: bool) {
        *self = Self::Sent { transaction, again_at: now + RTO, sends: 1, nominates };
    }

    pub(super) const fn has_succeeded(&self) -> bool {
        // One that is checked again to be chosen works already.
        matches!(self, Self::Succeeded | Self::Sent { nominates: true, .. })
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Sent { .. })
    }

    /// What is to be repeated now; one that has had its time fails.
    pub(super) fn repeat(&mut self, now: Instant) -> Option<(Transaction, bool)> {
        let Self::Sent { transaction, again_at, sends, nominates } = self else { return None };
        if *again_at > now {
            return None;
        }
        if *sends == SENDS_MAX {
            *self = Self::Failed;
            return None;
        }
        *again_at = now + RTO * 2u32.pow(u32::from(*sends));
        *sends += 1;
        Some((*transaction, *nominates))
    }

    pub(super) const fn again_at(&self) -> Option<Instant> {
        match self {
            Self::Sent { again_at, .. } => Some(*again_at),
            _ => None,
        }
    }

    /// Whether this is the answer to it, and whether that chooses the pair.
    pub(super) fn is_answered_by(&self, answered: &Transaction) -> Option<bool> {
        match self {
            Self::Sent { transaction, nominates, .. } if transaction == answered => {
                Some(*nominates)
            }
            _ => None,
        }
    }
}

/// Consent to send on the pair in use (RFC 7675).
#[derive(Clone, Copy, Debug)]
pub(super) struct Consent {
    /// The check that is out.
    pub(super) transaction: Option<Transaction>,
    pub(super) next: Instant,
    pub(super) expires: Instant,
}

impl Consent {
    /// How often it is asked for; a fifth less or more (RFC 7675, 5.1).
    pub(super) const EVERY: Duration = Duration::from_secs(5);
    /// For how long an answer is good.
    pub(super) const LASTS: Duration = Duration::from_secs(30);

    pub(super) fn given(now: Instant) -> Self {
        Self { transaction: None, next: now + Self::EVERY, expires: now + Self::LASTS }
    }
}
