//! Reliable provisional responses and the PRACK that acknowledges them (RFC 3262).
//!
//! [`Uas`] serves one INVITE that we received, [`Uac`] one early dialog of an INVITE that we sent.
//! Neither writes a message of its own: they say what may go out now, and what is to be heard.

use crate::message::{Headers, Method, Name, Request, Response};
use crate::transaction::{GIVE_UP, T1};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The option tag of RFC 3262.
pub const REL100: &str = "100rel";
/// Provisional responses that wait until the one before them is acknowledged: 180 to 183 once each
/// and as many again after a failed target. What a callee's side sends beyond that tells nobody
/// anything.
pub const QUEUE_MAX: usize = 8;
/// The first RSeq is drawn from 1 to this (RFC 3262, 3).
const FIRST_RSEQ_MAX: u32 = (1 << 31) - 1;

/// RAck: which response a PRACK acknowledges (RFC 3262, 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The response's RSeq.
    pub rseq: u32,
    /// The number in the response's CSeq.
    pub cseq: u32,
    /// The method in the response's CSeq.
    pub method: Method,
}

impl RAck {
    /// The RAck of a PRACK; `None` if it has none that can be read.
    pub fn of(headers: &Headers) -> Option<Self> {
        let value = std::str::from_utf8(headers.get(Name::RAck)?).ok()?;
        let mut words = value.split_ascii_whitespace();
        let rack = Self {
            rseq: number(words.next()?)?,
            cseq: number(words.next()?)?,
            method: Method::from(words.next()?.as_bytes()),
        };
        words.next().is_none().then_some(rack)
    }
}

impl std::fmt::Display for RAck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.rseq, self.cseq, self.method)
    }
}

/// Digits alone: `+7` is no number here.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The reliable provisional responses of one INVITE that we received (RFC 3262, 3).
#[derive(Debug)]
pub struct Uas {
    state: Serving,
    invite_cseq: u32,
    next_rseq: u32,
    /// The response whose PRACK has not come.
    sent: Option<Sent>,
    queue: VecDeque<Response>,
}

#[derive(Debug)]
struct Sent {
    rseq: u32,
    response: Response,
}

/// What a PRACK made possible.
#[derive(Debug)]
pub struct Acknowledged {
    /// The response that it acknowledges carried a session description.
    pub described: bool,
    /// The next response, to be sent now.
    pub next: Option<Response>,
    /// The 2xx that was held back may go out.
    pub answer: bool,
}

/// What a deadline asks for.
#[derive(Debug)]
pub enum Overdue {
    /// Send this again.
    Repeat(Response),
    /// No PRACK within 64*T1: the INVITE is to be refused with a 5xx.
    GiveUp,
}

/// More than [`QUEUE_MAX`] responses wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many provisional responses wait for PRACK")]
pub struct QueueFull;

impl Uas {
    /// Nothing sent yet. `random` chooses the first RSeq.
    pub fn new(invite: &Request, random: u32) -> Self {
        Self {
            state: Serving::Idle,
            invite_cseq: invite.headers.cseq().number,
            next_rseq: random % FIRST_RSEQ_MAX + 1,
            sent: None,
            queue: VecDeque::new(),
        }
    }

    /// The user has a provisional response (101-199) for the caller: what goes out now, with Require
    /// and RSeq; nothing while an earlier one is unacknowledged, or after the final response.
    pub fn respond(
        &mut self,
        now: Instant,
        response: Response,
    ) -> Result<Option<Response>, QueueFull> {
        let sdp = !response.body().is_empty();
        match self.state.on(now, Event::Respond { sdp }) {
            [Action::Send] => Ok(Some(self.issue(response))),
            [Action::Queue] if self.queue.len() == QUEUE_MAX => Err(QueueFull),
            [Action::Queue] => {
                self.queue.push_back(response);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// A PRACK came: what it acknowledges, to be answered with 2xx; `None`: nothing that is
    /// outstanding, to be answered with 481.
    pub fn prack(&mut self, now: Instant, prack: &Request) -> Option<Acknowledged> {
        let rack = RAck::of(&prack.headers)?;
        let ours = |sent: &&mut Sent| sent.rseq == rack.rseq;
        self.sent.as_mut().filter(ours)?;
        if rack.cseq != self.invite_cseq || rack.method != Method::Invite {
            return None;
        }
        let described = self.sent.take().is_some_and(|sent| !sent.response.body().is_empty());
        let answer = self.state.on(now, Event::Prack).contains(&Action::Answer);
        if answer {
            // No new reliable response follows the final one.
            self.queue.clear();
        }
        let next = self.queue.pop_front();
        let next = next.and_then(|next| self.respond(now, next).ok().flatten());
        Some(Acknowledged { described, next, answer })
    }

    /// The user has a 2xx: whether it may go out now. If not, as a session description is
    /// unacknowledged, [`Acknowledged::answer`] says when.
    pub fn accept(&mut self, now: Instant) -> bool {
        let at_once = self.state.on(now, Event::Accept).contains(&Action::Answer);
        if at_once {
            self.queue.clear();
        }
        at_once
    }

    /// When to call [`Self::handle_timeout`].
    pub fn due(&self) -> Option<Instant> {
        self.state.due().map(|(at, _)| at)
    }

    /// Lets the deadline pass, if it is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Overdue> {
        let (at, event) = self.state.due()?;
        if at > now {
            return None;
        }
        match self.state.on(now, event) {
            [Action::Repeat] => {
                self.sent.as_ref().map(|sent| Overdue::Repeat(sent.response.clone()))
            }
            [Action::Refuse] => {
                self.queue.clear();
                Some(Overdue::GiveUp)
            }
            _ => None,
        }
    }

    fn issue(&mut self, mut response: Response) -> Response {
        let rseq = self.next_rseq;
        self.next_rseq = rseq.wrapping_add(1);
        response.headers.push(Name::Require, REL100);
        response.headers.push(Name::RSeq, rseq.to_string());
        self.sent = Some(Sent { rseq, response: response.clone() });
        response
    }
}

/// Where the server side is with its one unacknowledged response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serving {
    /// Nothing is unacknowledged.
    Idle,
    /// A response is out and repeated until its PRACK comes, on any transport.
    Unacknowledged { sdp: bool, repeat: Repeats },
    /// The same, and the user's 2xx waits for that PRACK.
    AnswerHeld { repeat: Repeats },
    /// The 2xx is out; a PRACK that is still on its way is welcome.
    Answered,
    /// No PRACK came.
    GivenUp,
}

/// Repeats after T1, 2*T1, 4*T1 and so on, and an end after 64*T1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Repeats {
    pause: Duration,
    at: Instant,
    give_up: Instant,
}

/// What can happen to it. A PRACK is one that acknowledges what is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Respond { sdp: bool },
    Prack,
    Accept,
    Repeat,
    GiveUp,
}

/// What it wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Send,
    Queue,
    Repeat,
    Answer,
    HoldAnswer,
    Refuse,
    Unexpected,
}

impl Serving {
    /// Its one transition table.
    fn on(&mut self, now: Instant, event: Event) -> &'static [Action] {
        use Action::*;
        use Event as E;
        match (&mut *self, event) {
            (Self::Idle, E::Respond { sdp }) => {
                *self = Self::Unacknowledged { sdp, repeat: Repeats::start(now) };
                &[Send]
            }
            (Self::Unacknowledged { .. }, E::Respond { .. }) => &[Queue],
            (Self::Unacknowledged { .. }, E::Prack) => {
                *self = Self::Idle;
                &[]
            }
            (Self::AnswerHeld { .. }, E::Prack)
            | (Self::Idle | Self::Unacknowledged { sdp: false, .. }, E::Accept) => {
                *self = Self::Answered;
                &[Answer]
            }
            (Self::Unacknowledged { sdp: true, repeat }, E::Accept) => {
                *self = Self::AnswerHeld { repeat: *repeat };
                &[HoldAnswer]
            }
            (Self::Unacknowledged { repeat, .. } | Self::AnswerHeld { repeat }, E::Repeat) => {
                repeat.double(now);
                &[Repeat]
            }
            (Self::Unacknowledged { .. } | Self::AnswerHeld { .. }, E::GiveUp) => {
                *self = Self::GivenUp;
                &[Refuse]
            }
            (Self::Answered, E::Prack) => &[],
            _ => &[Unexpected],
        }
    }

    /// Its next deadline.
    fn due(&self) -> Option<(Instant, Event)> {
        match self {
            Self::Unacknowledged { repeat, .. } | Self::AnswerHeld { repeat } => {
                Some(match repeat.at < repeat.give_up {
                    true => (repeat.at, Event::Repeat),
                    false => (repeat.give_up, Event::GiveUp),
                })
            }
            Self::Idle | Self::Answered | Self::GivenUp => None,
        }
    }
}

impl Repeats {
    fn start(now: Instant) -> Self {
        Self { pause: T1, at: now + T1, give_up: now + GIVE_UP }
    }

    /// Without the bound T2 that other repeats have (RFC 3262, 3).
    fn double(&mut self, now: Instant) {
        self.pause *= 2;
        self.at = now + self.pause;
    }
}

/// The reliable provisional responses of one early dialog of an INVITE that we sent
/// (RFC 3262, 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uac {
    /// The RSeq that was acknowledged last.
    last: Option<u32>,
}

/// What to do with a provisional response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is not sent reliably: take it.
    Unreliable,
    /// Take it, and acknowledge it with a PRACK that carries this.
    Acknowledge(RAck),
    /// It was acknowledged before, and its PRACK repeats itself: ignore it.
    Repeat,
    /// One before it is missing: ignore it, it will come again.
    OutOfOrder,
}

impl Uac {
    /// A provisional response of this dialog came.
    pub fn hear(&mut self, response: &Response) -> Heard {
        let headers = &response.headers;
        let rseq = headers.get(Name::RSeq).and_then(|value| std::str::from_utf8(value).ok());
        let rseq = rseq.and_then(|text| number(text.trim())).filter(|rseq| *rseq > 0);
        // 100 comes from the next hop alone, whatever it requires (RFC 3262, 4).
        let reliable = response.status > 100 && headers.has_token(Name::Require, REL100);
        let Some(rseq) = rseq.filter(|_| reliable) else { return Heard::Unreliable };
        match self.last {
            Some(last) if rseq <= last => Heard::Repeat,
            Some(last) if rseq - last > 1 => Heard::OutOfOrder,
            _ => {
                self.last = Some(rseq);
                let cseq = headers.cseq();
                Heard::Acknowledge(RAck { rseq, cseq: cseq.number, method: cseq.method })
            }
        }
    }
}

#[cfg(test)]
mod tests;
