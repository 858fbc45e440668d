//! What an agent does with the calls it gets, by called number.

use crate::deed::{Deeds, Forward};
use crate::failure::Failure;
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
    /// Refuse as Microsoft does, in its words.
    Fail {
        /// What it says.
        failure: &'static Failure,
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
    /// What calls to these prefixes do once they are up.
    pub deeds: Vec<(String, Deeds)>,
    /// Where calls to these prefixes go, beside or in place of what they do.
    pub forwards: Vec<(String, Forward)>,
}

impl Script {
    /// The same for every number.
    pub const fn always(otherwise: Behaviour) -> Self {
        Self { by_prefix: Vec::new(), otherwise, deeds: Vec::new(), forwards: Vec::new() }
    }

    /// Adds a prefix.
    #[must_use]
    pub fn with(mut self, prefix: &str, behaviour: Behaviour) -> Self {
        self.by_prefix.push((prefix.to_owned(), behaviour));
        self
    }

    /// Adds what calls to a prefix do once they are up.
    #[must_use]
    pub fn then(mut self, prefix: &str, deeds: Deeds) -> Self {
        self.deeds.push((prefix.to_owned(), deeds));
        self
    }

    /// Adds where calls to a prefix go.
    #[must_use]
    pub fn forwarding(mut self, prefix: &str, forward: Forward) -> Self {
        self.forwards.push((prefix.to_owned(), forward));
        self
    }

    pub(crate) fn find(&self, number: &[u8]) -> Behaviour {
        longest(&self.by_prefix, number).copied().unwrap_or(self.otherwise)
    }

    pub(crate) fn find_deeds(&self, number: &[u8]) -> Deeds {
        longest(&self.deeds, number).cloned().unwrap_or_default()
    }

    pub(crate) fn find_forward(&self, number: &[u8]) -> Option<Forward> {
        longest(&self.forwards, number).cloned()
    }
}

fn longest<'a, T>(by_prefix: &'a [(String, T)], number: &[u8]) -> Option<&'a T> {
    by_prefix
        .iter()
        .filter(|(prefix, _)| number.starts_with(prefix.as_bytes()))
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, found)| found)
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
    Fail(&'static Failure),
    /// Call the number that it goes to as well.
    Forward,
}

/// Which To tag: that of the dialog to come, or of a client that will not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fork {
    Winner,
    First,
    Second,
}

/// The answers to an INVITE that came at `start`, in order of time.
pub(crate) fn acts(
    behaviour: Behaviour,
    forward: Option<&Forward>,
    start: Instant,
) -> VecDeque<(Instant, Act)> {
    let mut acts = VecDeque::new();
    if let Some(forward) = forward.filter(|forward| !forward.rings_too) {
        // Its own clients ring until then, if that is not at once.
        if !forward.after.is_zero() {
            acts.push_back((start, Act::Ring(Fork::Winner)));
        }
        acts.push_back((start + forward.after, Act::Forward));
        return acts;
    }
    match behaviour {
        Behaviour::Silent => {}
        Behaviour::Refuse { status, after } => {
            acts.push_back((start + after, Act::Refuse { status }));
        }
        Behaviour::Fail { failure, after } => {
            acts.push_back((start + after, Act::Fail(failure)));
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
    if let Some(forward) = forward {
        let at = start + forward.after;
        let place = acts.iter().position(|(due, _)| *due > at).unwrap_or(acts.len());
        acts.insert(place, (at, Act::Forward));
    }
    acts
}
