//! A registration of ours with a carrier: one Contact, kept alive (RFC 3261, 10.2).
//!
//! Contract: call one input method ([`Registration::response`], [`Registration::lost`],
//! [`Registration::handle_timeout`], [`Registration::stop`]), then drain [`Registration::poll_order`],
//! then arm [`Registration::poll_timeout`]. At most one REGISTER is out at a time; an answer to one
//! that was given up is not to be handed in.

mod answer;
mod machine;

#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod tests;

use crate::auth::{Account, Refusal, Standing};
use crate::message::{Method, Name, Request, Response};
use answer::{granted, min_expires, retry_after};
use bytes::Bytes;
use machine::{Action, Event, State, Timer};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The longest time that is asked for or believed: a registrar that asks for more than a day by
/// 423 means none.
pub const EXPIRES_MAX: Duration = Duration::from_secs(24 * 3600);
/// A binding is refreshed when between these shares of its time have passed, so that thousands of
/// them do not fall into step and a failover fits into the rest.
const REFRESH_PERCENT: (u32, u32) = (65, 80);
/// A binding granted for less is not refreshed more often than this.
const REFRESH_MIN: Duration = Duration::from_secs(5);
/// How long a registrar may be silent where there is another: four transmissions over UDP.
const SILENCE_MAX: Duration = Duration::from_secs(8);
/// How long it may be where there is none: what the transaction takes (timer F), and a little, so
/// that the transaction's word comes first.
const SILENCE_ALONE_MAX: Duration = Duration::from_secs(33);
/// The first wait when all registrars have failed, doubled each time (RFC 5626, 4.5: base-time).
const BACKOFF_MIN: Duration = Duration::from_secs(30);
/// The longest wait (RFC 5626, 4.5: max-time).
const BACKOFF_MAX: Duration = Duration::from_secs(1800);
/// Wrong secrets are not tried faster than this: registrars lock accounts and block addresses.
const REFUSED_MIN: Duration = Duration::from_secs(300);
/// The longest Retry-After that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// How long the end of a registration is waited for: it must fit into a stop of the process.
pub const LEAVE_MAX: Duration = Duration::from_secs(4);

/// What is to be registered, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The Request-URI: the registrar's domain, without a user.
    pub domain: Bytes,
    /// The address-of-record: a URI.
    pub aor: Bytes,
    /// Where its calls are to go: a URI.
    pub contact: Bytes,
    /// How many registrars there are; they are tried in order.
    pub registrars: usize,
    /// The time asked for.
    pub expires: Duration,
    /// Who we are.
    pub account: Account,
    /// User-Agent.
    pub product: Bytes,
}

/// Randomness for one input.
#[derive(Clone, Debug)]
pub struct Draw {
    /// From 0 up to 1.
    pub fraction: f64,
    /// A token for cnonce.
    pub token: String,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Order {
    /// Send this REGISTER, once it has its Via.
    Send {
        /// Which registrar, from 0.
        registrar: usize,
        /// The request.
        request: Request,
    },
    /// Calls may come now.
    Up {
        /// Which registrar has granted it.
        registrar: usize,
        /// When the binding ends, if it is not refreshed.
        bound: Instant,
    },
    /// There is no binding any more.
    Down(Failure),
    /// Nothing more will come.
    Ended,
}

/// Why a registration failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Failure {
    /// No answer.
    #[error("no answer")]
    Silence,
    /// REGISTER could not be sent.
    #[error("unreachable")]
    Unreachable,
    /// This final response.
    #[error("answered {0}")]
    Status(u16),
    /// The challenge was not to be met.
    #[error("{0}")]
    Challenge(#[from] Refusal),
    /// 2xx, but not for our Contact.
    #[error("granted for no time")]
    NothingGranted,
    /// The binding has ended while nobody would refresh it.
    #[error("expired")]
    Expired,
}

impl Failure {
    /// Whether another registrar would say the same: it knows the same users.
    const fn is_about_us(self) -> bool {
        match self {
            Self::Silence | Self::Unreachable | Self::NothingGranted | Self::Expired => false,
            Self::Status(status) => {
                !matches!(status, 408 | 430 | 480 | 491 | 500..=599) && status >= 300
            }
            Self::Challenge(refusal) => !matches!(refusal, Refusal::AlwaysStale),
        }
    }
}

/// One registration.
#[derive(Debug)]
pub struct Registration {
    terms: Terms,
    call_id: Bytes,
    from_tag: Bytes,
    cseq: u32,
    state: State,
    orders: VecDeque<Order>,
    standing: Standing,
    /// The registrar that is asked.
    asked: usize,
    /// The registrar that granted the binding.
    home: usize,
    /// Times in a row that all have failed.
    rounds: u32,
    registrars: Vec<Registrar>,
    expires: Duration,
    last: Failure,
    unexpected: u64,
}

/// What we know of one registrar.
#[derive(Clone, Copy, Debug, Default)]
struct Registrar {
    /// It has failed since the last grant or wait.
    failed: bool,
    /// Until when it wants to be left alone (503 with Retry-After).
    closed: Option<Instant>,
}

impl Registration {
    /// Asks the first registrar at once. Call-ID and tag are fresh, and stay for its whole life
    /// (RFC 3261, 10.2.4).
    pub fn start(now: Instant, terms: Terms, call_id: Bytes, from_tag: Bytes) -> Self {
        let registrars = vec![Registrar::default(); terms.registrars.max(1)];
        let expires = terms.expires.min(EXPIRES_MAX);
        let mut registration = Self {
            terms,
            call_id,
            from_tag,
            cseq: 0,
            state: State::Ended,
            orders: VecDeque::new(),
            standing: Standing::default(),
            asked: 0,
            home: 0,
            rounds: 0,
            registrars,
            expires,
            last: Failure::Silence,
            unexpected: 0,
        };
        let silence = now + registration.silence_max();
        registration.state = State::Registering { silence, bound: None };
        registration.send(registration.expires);
        registration
    }

    /// What it is for.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The next thing to do.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.state.due().map(|(at, _)| at)
    }

    /// Lets deadlines that are due pass.
    pub fn handle_timeout(&mut self, now: Instant, draw: &Draw) {
        while let Some((at, timer)) = self.state.due()
            && at <= now
        {
            match timer {
                Timer::Silence => self.failed(now, draw, Failure::Silence, None),
                Timer::Retry => self.retry(now),
                Timer::Expiry => {
                    self.last = Failure::Expired;
                    self.timer(now, timer);
                }
                Timer::Refresh | Timer::GiveUp => self.timer(now, timer),
            }
        }
    }

    /// A final response to the REGISTER that is out. Provisional ones change nothing.
    pub fn response(&mut self, now: Instant, response: &Response, draw: &Draw) {
        if response.status < 200 || !self.state.awaits_answer() {
            return;
        }
        match response.status {
            200..=299 => self.accepted(now, response, draw),
            401 | 407 => self.challenged(now, response, draw),
            423 => self.too_brief(now, response, draw),
            status => {
                let after = retry_after(&response.headers).map(|wait| wait.min(RETRY_AFTER_MAX));
                self.failed(now, draw, Failure::Status(status), after);
            }
        }
    }

    /// The REGISTER that is out could not be sent ([`Failure::Unreachable`]) or was never answered
    /// ([`Failure::Silence`]).
    pub fn lost(&mut self, now: Instant, failure: Failure, draw: &Draw) {
        if self.state.awaits_answer() {
            self.failed(now, draw, failure, None);
        }
    }

    /// Removes the binding and ends; [`Order::Ended`] comes after at most [`LEAVE_MAX`].
    pub fn stop(&mut self, now: Instant) {
        if self.state != State::Ended {
            self.step(Event::Stop { give_up: now + LEAVE_MAX });
        }
    }

    /// Asks again now, if it only waits: what stood in the way is gone.
    pub fn hasten(&mut self, now: Instant) {
        if matches!(self.state, State::Waiting { .. }) {
            self.retry(now);
        }
    }

    /// Inputs that the state had no use for.
    pub fn unexpected(&self) -> u64 {
        self.unexpected
    }

    fn accepted(&mut self, now: Instant, response: &Response, draw: &Draw) {
        self.standing.accepted(response);
        let leaving = matches!(self.state, State::Leaving { .. });
        let time = match granted(&response.headers, &self.terms.contact, self.expires) {
            time if time.is_zero() && !leaving => {
                return self.failed(now, draw, Failure::NothingGranted, None);
            }
            time => time.min(EXPIRES_MAX),
        };
        (self.home, self.rounds) = (self.asked, 0);
        self.forgive();
        let (least, most) = REFRESH_PERCENT;
        let share = f64::from(least) + f64::from(most - least) * draw.fraction;
        let refresh = now + time.mul_f64(share / 100.0).max(REFRESH_MIN);
        // Whoever grants less than our least pause keeps a binding between two refreshes.
        let bound = (now + time).max(refresh);
        self.step(Event::Granted { refresh, bound });
    }

    fn challenged(&mut self, now: Instant, response: &Response, draw: &Draw) {
        match self.standing.challenged(response, &self.terms.account, &draw.token) {
            Ok(()) => self.again(now),
            Err(refusal) => self.failed(now, draw, refusal.into(), None),
        }
    }

    /// RFC 3261, 10.2.8. A registrar that asks for no more than it was offered is not understood.
    fn too_brief(&mut self, now: Instant, response: &Response, draw: &Draw) {
        match min_expires(&response.headers) {
            Some(least) if least > self.expires && least <= EXPIRES_MAX => {
                // Whoever judges the time has let the credentials pass.
                self.standing.accepted(response);
                self.expires = least;
                self.again(now);
            }
            _ => self.failed(now, draw, Failure::Status(423), None),
        }
    }

    fn again(&mut self, now: Instant) {
        self.step(Event::Again { silence: now + self.silence_max() });
    }

    /// The registrar that was asked is of no use now.
    fn failed(&mut self, now: Instant, draw: &Draw, failure: Failure, after: Option<Duration>) {
        self.last = failure;
        if let Some(registrar) = self.registrars.get_mut(self.asked) {
            *registrar = Registrar { failed: true, closed: after.map(|wait| now + wait) };
        }
        if failure.is_about_us() {
            let wait = self.backoff(draw).max(REFUSED_MIN);
            // What was asked for may be what was wrong.
            self.expires = self.terms.expires.min(EXPIRES_MAX);
            return self.step(Event::Refused { retry: now + wait.max(after.unwrap_or_default()) });
        }
        match self.open_from(now, self.asked + 1) {
            Some(next) if matches!(self.state, State::Registering { .. }) => {
                self.ask(next);
                self.step(Event::Next { silence: now + self.silence_max() });
            }
            _ => {
                let opens = self.registrars.iter().map(|one| one.closed.unwrap_or(now)).min();
                let retry = (now + self.backoff(draw)).max(opens.unwrap_or(now));
                self.step(Event::Exhausted { retry });
            }
        }
    }

    /// The next wait: between half and all of a time that doubles (RFC 5626, 4.5).
    fn backoff(&mut self, draw: &Draw) -> Duration {
        let doubled = BACKOFF_MIN.saturating_mul(1 << self.rounds.min(16));
        self.rounds = self.rounds.saturating_add(1);
        doubled.min(BACKOFF_MAX).mul_f64(0.5 + draw.fraction / 2.0)
    }

    /// The first registrar from `start` on, in a ring, that has not failed and does not want to be
    /// left alone.
    fn open_from(&self, now: Instant, start: usize) -> Option<usize> {
        let count = self.registrars.len();
        let open = |one: &Registrar| !one.failed && one.closed.is_none_or(|until| until <= now);
        (0..count)
            .map(|step| (start + step) % count)
            .find(|at| self.registrars.get(*at).is_some_and(open))
    }

    /// Each registrar gets another chance.
    fn forgive(&mut self) {
        for registrar in &mut self.registrars {
            registrar.failed = false;
        }
    }

    /// Turns to another registrar, whose nonces are its own.
    fn ask(&mut self, registrar: usize) {
        if self.asked != registrar {
            self.asked = registrar;
            self.standing = Standing::default();
        }
    }

    fn retry(&mut self, now: Instant) {
        self.forgive();
        self.ask(self.open_from(now, 0).unwrap_or(0));
        self.timer(now, Timer::Retry);
    }

    fn timer(&mut self, now: Instant, timer: Timer) {
        self.step(Event::Timer { timer, silence: now + self.silence_max() });
    }

    fn silence_max(&self) -> Duration {
        if self.registrars.len() > 1 { SILENCE_MAX } else { SILENCE_ALONE_MAX }
    }

    fn step(&mut self, event: Event) {
        for action in self.state.on(event) {
            match action {
                Action::Register => self.send(self.expires),
                Action::Deregister => {
                    self.ask(self.home);
                    self.send(Duration::ZERO);
                }
                Action::TellUp => {
                    if let Event::Granted { bound, .. } = event {
                        self.orders.push_back(Order::Up { registrar: self.home, bound });
                    }
                }
                Action::TellDown => self.orders.push_back(Order::Down(self.last)),
                Action::TellEnded => self.orders.push_back(Order::Ended),
                Action::Unexpected => self.unexpected += 1,
            }
        }
    }

    /// Sends REGISTER, signed with the challenge that was met last, if any.
    fn send(&mut self, expires: Duration) {
        self.cseq += 1;
        let mut request = Request::new(Method::Register, self.terms.domain.clone());
        let address = |tag: &[u8]| [b"<", self.terms.aor.as_ref(), b">", tag].concat();
        let headers = &mut request.headers;
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, address(&[b";tag=", self.from_tag.as_ref()].concat()));
        headers.push(Name::To, address(b""));
        headers.push(Name::CallId, self.call_id.clone());
        headers.push(Name::CSeq, format!("{} REGISTER", self.cseq));
        headers.push(Name::Contact, [b"<", self.terms.contact.as_ref(), b">"].concat());
        headers.push(Name::Expires, expires.as_secs().to_string());
        headers.push(Name::UserAgent, self.terms.product.clone());
        self.standing.sign(&mut request, &self.terms.account);
        self.orders.push_back(Order::Send { registrar: self.asked, request });
    }
}
