//! Session timers (RFC 4028): what our end of a dialog offers and answers, when it refreshes, and
//! when it takes the far side for gone.
//!
//! One [`SessionTimer`] belongs to one dialog. It writes and reads the headers and tells its next
//! deadline; the requests are its user's.

mod clock;

#[cfg(test)]
mod tests;

use crate::message::{Headers, Name};
use clock::{Action, Clock, Event};
use std::time::{Duration, Instant};

/// The option tag.
pub const OPTION: &str = "timer";

/// The smallest interval that anybody may ask for, in seconds (RFC 4028, 4).
pub const MIN_SE_S: u32 = 90;

/// The longest interval that we take over from a far side, in seconds: a day. A session that lives
/// longer without a word is not watched at all.
pub const INTERVAL_MAX_S: u32 = 86_400;

/// What our end wants of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The interval that we offer and do not go beyond unless the far side must.
    pub interval_s: u32,
    /// The smallest that we accept: [`MIN_SE_S`] or more.
    pub min_s: u32,
}

/// The session timer of one dialog.
#[derive(Clone, Debug, Default)]
pub struct SessionTimer {
    /// Without terms there is no timer, whatever the far side says.
    terms: Option<Terms>,
    /// The greatest Min-SE that the far side has named.
    min_s: u32,
    clock: Clock,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A refresh is to be sent.
    Refresh,
    /// The session has expired: BYE (RFC 4028, 10).
    End,
}

/// Their interval is below our minimum: 422 with this Min-SE (RFC 4028, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session interval below {min_s} s")]
pub struct TooSmall {
    /// For Min-SE, in seconds.
    pub min_s: u32,
}

impl SessionTimer {
    /// A timer on these terms, or none at all.
    pub fn new(terms: Option<Terms>) -> Self {
        Self { terms, ..Self::default() }
    }

    /// Whether our end keeps session timers on this dialog.
    pub fn is_on(&self) -> bool {
        self.terms.is_some()
    }

    /// Writes what a session refresh request of ours, or its first INVITE, offers; over what it
    /// offered before, if it is tried again.
    pub fn offer(&self, headers: &mut Headers) {
        let Some(terms) = self.terms else { return };
        let interval_s = terms.interval_s.max(self.min_s);
        // Who refreshes goes on to do so (RFC 4028, 7.4); at first the far side may choose.
        let refresher = match self.clock.is_ours() {
            Some(true) => ";refresher=uac",
            Some(false) => ";refresher=uas",
            None => "",
        };
        if !headers.has_token(Name::Supported, OPTION) {
            headers.push(Name::Supported, OPTION);
        }
        headers.set(Name::SessionExpires, format!("{interval_s}{refresher}"));
        let min_s = self.min_s.max(terms.min_s);
        if min_s > MIN_SE_S {
            headers.set(Name::MinSe, min_s.to_string());
        }
    }

    /// A 2xx to such a request has come.
    pub fn accepted(&mut self, now: Instant, headers: &Headers) {
        let Some(terms) = self.terms else { return };
        let said = Said::of(headers);
        let event = match said.interval_s {
            // RFC 4028, 7.2: the far side keeps no timer, which forbids us none.
            None => Event::Alone(seconds(terms.interval_s.max(self.min_s))),
            Some(interval_s) => {
                let interval = seconds(interval_s.clamp(MIN_SE_S, INTERVAL_MAX_S));
                match said.refresher {
                    Some(Role::Uas) => Event::Theirs(interval),
                    Some(Role::Uac) | None => Event::Ours(interval),
                }
            }
        };
        self.clock.on(now, event);
    }

    /// Such a request was answered 422; whether it may be tried again with what was learnt.
    pub fn was_too_small(&mut self, headers: &Headers) -> bool {
        let Some(terms) = self.terms else { return false };
        let offered_s = terms.interval_s.max(self.min_s);
        match Said::of(headers).min_s {
            Some(min_s) if min_s > offered_s && min_s <= INTERVAL_MAX_S => {
                self.min_s = min_s;
                true
            }
            _ => false,
        }
    }

    /// Such a request was answered with another failure that leaves the dialog standing.
    pub fn refused(&mut self, now: Instant) {
        self.clock.on(now, Event::Refused);
    }

    /// Whether their request asks for too short an interval. Who does not know the extension would
    /// not understand 422: then a proxy has written it, and it is made longer.
    pub fn judge(&self, request: &Headers) -> Result<(), TooSmall> {
        let Some(Terms { min_s, .. }) = self.terms else { return Ok(()) };
        let said = Said::of(request);
        let small = said.interval_s.is_some_and(|interval_s| interval_s < min_s);
        if small && said.supported { Err(TooSmall { min_s }) } else { Ok(()) }
    }

    /// Writes into our 2xx what their session refresh request, or first INVITE, is answered.
    pub fn answer(&mut self, now: Instant, request: &Headers, response: &mut Headers) {
        let Some(terms) = self.terms else { return };
        let said = Said::of(request);
        response.push(Name::Supported, OPTION);
        self.min_s = self.min_s.max(said.min_s.unwrap_or_default().min(INTERVAL_MAX_S));
        let ours_s = terms.interval_s.max(self.min_s);
        if !said.supported {
            self.clock.on(now, Event::Alone(seconds(ours_s)));
            return;
        }
        // RFC 4028, 9: not above what they asked for, nor below their minimum.
        let interval_s = said.interval_s.map_or(ours_s, |asked_s| ours_s.min(asked_s));
        let interval_s = interval_s.max(MIN_SE_S);
        // Who names an interval and no refresher refreshes (TDR-DLG-031); who names neither is not
        // burdened with it.
        let refresher = said.refresher.unwrap_or(match said.interval_s {
            Some(_) => Role::Uac,
            None => Role::Uas,
        });
        let (word, event) = match refresher {
            Role::Uac => ("uac", Event::Theirs(seconds(interval_s))),
            Role::Uas => ("uas", Event::Ours(seconds(interval_s))),
        };
        response.push(Name::Require, OPTION);
        response.push(Name::SessionExpires, format!("{interval_s};refresher={word}"));
        self.clock.on(now, event);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.clock.due()
    }

    /// Whether the next deadline is that of a refresh.
    pub fn wants_refresh(&self) -> bool {
        self.clock.wants_refresh()
    }

    /// What is due by now.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if self.clock.due().is_none_or(|due| due > now) {
            return None;
        }
        match self.clock.on(now, Event::Timer) {
            [Action::Refresh] => Some(Due::Refresh),
            [Action::End] => Some(Due::End),
            _ => None,
        }
    }
}

/// The two ends of the request that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Uac,
    Uas,
}

/// What a message says about the session. What cannot be read is not said.
struct Said {
    interval_s: Option<u32>,
    refresher: Option<Role>,
    min_s: Option<u32>,
    supported: bool,
}

impl Said {
    fn of(headers: &Headers) -> Self {
        // Of several the first that can be read counts: some proxies add one of their own.
        let expires = headers.list(Name::SessionExpires).find_map(|value| {
            let (number, parameters) = split(value);
            Some((delta_seconds(number)?, parameters))
        });
        let refresher = expires.and_then(|(_, parameters)| {
            let value = crate::message::Params::new(parameters).value("refresher")?;
            match value {
                uac if uac.eq_ignore_ascii_case(b"uac") => Some(Role::Uac),
                uas if uas.eq_ignore_ascii_case(b"uas") => Some(Role::Uas),
                _ => None,
            }
        });
        let mut mins = headers.list(Name::MinSe).map(|value| delta_seconds(split(value).0));
        Self {
            interval_s: expires.map(|(interval_s, _)| interval_s),
            refresher,
            min_s: mins.find_map(|min_s| min_s),
            supported: headers.has_token(Name::Supported, OPTION)
                || headers.has_token(Name::Require, OPTION),
        }
    }
}

/// A value and its parameters.
fn split(value: &[u8]) -> (&[u8], &[u8]) {
    let end = value.iter().position(|octet| *octet == b';');
    end.map_or((value, &[][..]), |end| (&value[..end], &value[end + 1..]))
}

/// Digits; more than fit are very many.
fn delta_seconds(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}
