//! What an agent does with the calls it gets, by called number.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What to do with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Signal progress, then answer.
    Answer {
        /// When progress is signalled, from the INVITE on.
        ring_after: Duration,
        /// How.
        progress: Progress,
        /// When it is answered, from the INVITE on; `None` rings until it is cancelled.
        answer_after: Option<Duration>,
        /// How long to talk before hanging up; `None` leaves that to the far side.
        talk: Option<Duration>,
    },
    /// Refuse.
    Refuse {
        /// With this status.
        status: u16,
        /// When, from the INVITE on.
        after: Duration,
    },
    /// Give no sign of life.
    Silent,
}

/// How a callee signals progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not at all.
    None,
    /// 180.
    Ringing,
    /// 183 with SDP, and media with it.
    EarlyMedia,
    /// 180, then 183 with SDP.
    RingingThenEarlyMedia,
    /// As Teams does with several clients: 180, 180 of another, 183 with SDP of that one, and the
    /// 200 of a third (TDR-EM-001).
    Forks,
}

impl Behaviour {
    /// Rings at once and answers after a while.
    pub const fn answer_after(answer_after: Duration) -> Self {
        Self::Answer {
            ring_after: Duration::ZERO,
            progress: Progress::Ringing,
            answer_after: Some(answer_after),
            talk: None,
        }
    }

    /// Refuses at once.
    pub const fn refuse(status: u16) -> Self {
        Self::Refuse { status, after: Duration::ZERO }
    }
}

/// Behaviours by the longest prefix of the called number.
#[derive(Clone, Debug)]
pub struct Script {
    /// Prefix and behaviour.
    pub by_prefix: Vec<(String, Behaviour)>,
    /// For all other numbers.
    pub otherwise: Behaviour,
}

impl Script {
    /// The same for every number.
    pub const fn always(otherwise: Behaviour) -> Self {
        Self { by_prefix: Vec::new(), otherwise }
    }

    /// Adds a prefix.
    #[must_use]
    pub fn with(mut self, prefix: &str, behaviour: Behaviour) -> Self {
        self.by_prefix.push((prefix.to_owned(), behaviour));
        self
    }

    pub(crate) fn find(&self, number: &[u8]) -> Behaviour {
        self.by_prefix
            .iter()
            .filter(|(prefix, _)| number.starts_with(prefix.as_bytes()))
            .max_by_key(|(prefix, _)| prefix.len())
            .map_or(self.otherwise, |(_, behaviour)| *behaviour)
    }
}

/// One answer to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// 180 with the tag of this fork.
    Ring(Fork),
    /// 183 with SDP.
    Progress(Fork),
    Answer {
        talk: Option<Duration>,
    },
    Refuse {
        status: u16,
    },
}

/// Which To tag: that of the dialog to come, or of a client that will not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fork {
    Winner,
    First,
    Second,
}

/// The answers to an INVITE that came at `start`, in order of time.
pub(crate) fn acts(behaviour: Behaviour, start: Instant) -> VecDeque<(Instant, Act)> {
    let mut acts = VecDeque::new();
    match behaviour {
        Behaviour::Silent => {}
        Behaviour::Refuse { status, after } => {
            acts.push_back((start + after, Act::Refuse { status }));
        }
        Behaviour::Answer { ring_after, progress, answer_after, talk } => {
            let ring = start + ring_after;
            let signs: &[Act] = match progress {
                Progress::None => &[],
                Progress::Ringing => &[Act::Ring(Fork::Winner)],
                Progress::EarlyMedia => &[Act::Progress(Fork::Winner)],
                Progress::RingingThenEarlyMedia => {
                    &[Act::Ring(Fork::Winner), Act::Progress(Fork::Winner)]
                }
                Progress::Forks => {
                    &[Act::Ring(Fork::First), Act::Ring(Fork::Second), Act::Progress(Fork::Second)]
                }
            };
            acts.extend(signs.iter().map(|act| (ring, *act)));
            if let Some(answer_after) = answer_after {
                acts.push_back(((start + answer_after).max(ring), Act::Answer { talk }));
            }
        }
    }
    acts
}
