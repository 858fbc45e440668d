//! The subscription that a REFER makes, at the end that was referred: what the referrer is told of
//! the new call, and when (RFC 3515, 2.4.4 to 2.4.6; RFC 6665, 4.2).
//!
//! One NOTIFY is out at a time, so that none overtakes another; news that come meanwhile are told
//! together afterwards, and the outcome after [`PATIENCE`] at the latest. Whoever refuses a NOTIFY is told
//! nothing more; one that nothing was heard of is only lost.

use crate::message::{Method, Name, Request, Response};
use std::time::{Duration, Instant};

/// How long the referrer is to wait for the next word of ours (TDR-XFR-011).
pub const EXPIRES: Duration = Duration::from_secs(60);
/// The last word is repeated so long after it: early enough that a NOTIFY that is lost for some
/// seconds still comes in time.
pub const RENEW: Duration = Duration::from_secs(40);
/// So long the last NOTIFY waits for the answer to the one before. Where the connection of that one has
/// closed meanwhile (TDR-CON-009) its answer never comes, and the referrer waits for the outcome.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// After this long without an outcome nothing more is told: no call rings so long.
pub const LIFETIME: Duration = Duration::from_secs(300);

/// The subscription to the outcome of one REFER.
#[derive(Clone, Debug)]
pub struct Subscription {
    state: State,
    /// The last status of the new call.
    status: u16,
    ends: Instant,
}

/// A NOTIFY to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The status of the new call that it tells of.
    pub status: u16,
    state: &'static str,
    expires: Option<Duration>,
}

impl Notice {
    /// Makes a request of the dialog the NOTIFY. `id` is the CSeq number of a REFER that is not the
    /// first of its dialog (RFC 3515, 2.4.6).
    pub fn write(&self, request: &mut Request, id: Option<u32>) {
        debug_assert_eq!(request.method, Method::Notify);
        let state = match self.expires {
            Some(expires) => format!("{};expires={}", self.state, expires.as_secs()),
            None => self.state.to_owned(),
        };
        let event = id.map_or_else(|| "refer".to_owned(), |id| format!("refer;id={id}"));
        request.headers.push(Name::Event, event);
        request.headers.push(Name::SubscriptionState, state);
        let phrase = Response::new(self.status).reason;
        let mut body = format!("SIP/2.0 {} ", self.status).into_bytes();
        body.extend_from_slice(&phrase);
        body.extend_from_slice(b"\r\n");
        request.set_body("message/sipfrag;version=2.0", body);
    }

    /// Whether it is the last.
    pub const fn is_last(&self) -> bool {
        self.expires.is_none()
    }
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The new call makes progress.
    Progress,
    /// The new call is answered or refused.
    Outcome,
    /// A 2xx to our NOTIFY came.
    Delivered,
    /// The far side refuses our NOTIFY.
    Refused,
    /// Nothing was heard of our NOTIFY: its connection may have closed (TDR-CON-009).
    Lost,
    /// It is time to repeat the last word.
    Renew,
    /// The answer to the NOTIFY before the last has had its time.
    Waited,
    /// Nobody waits so long.
    End,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// NOTIFY, `active`.
    Notify,
    /// NOTIFY, `terminated;reason=noresource`.
    Conclude,
    /// NOTIFY, `terminated;reason=timeout`.
    TimeOut,
    /// Nobody expected that.
    Unexpected,
}

/// What the referrer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All there is.
    Quiet { renew: Instant },
    /// A NOTIFY is out, and there is nothing newer.
    Told,
    /// A NOTIFY is out, and there is something newer.
    Behind,
    /// A NOTIFY is out, and the outcome is known meanwhile.
    Closing { conclude: Instant },
    /// The last NOTIFY is out.
    Last,
    /// The subscription is over.
    Over,
}

impl State {
    pub(crate) fn on(&mut self, now: Instant, event: Event) -> &'static [Action] {
        use Action::{Conclude, Notify, TimeOut, Unexpected};
        let (next, actions): (Self, &'static [Action]) = match (&self, event) {
            (Self::Quiet { .. }, Event::Progress | Event::Renew) => (Self::Told, &[Notify]),
            (Self::Quiet { .. }, Event::Outcome) => (Self::Last, &[Conclude]),
            (Self::Quiet { .. }, Event::End) => (Self::Last, &[TimeOut]),
            (Self::Told | Self::Behind, Event::Progress) => (Self::Behind, &[]),
            (Self::Told | Self::Behind, Event::Outcome) => {
                (Self::Closing { conclude: now + PATIENCE }, &[])
            }
            (Self::Told, Event::Delivered) => (Self::Quiet { renew: now + RENEW }, &[]),
            (Self::Behind, Event::Delivered) => (Self::Told, &[Notify]),
            (Self::Told, Event::Lost) => (Self::Quiet { renew: now + RENEW }, &[]),
            (Self::Behind, Event::Lost) => (Self::Told, &[Notify]),
            (Self::Closing { .. }, Event::Delivered | Event::Lost | Event::Waited) => {
                (Self::Last, &[Conclude])
            }
            (Self::Last, Event::Delivered | Event::Lost) => (Self::Over, &[]),
            (Self::Told | Self::Behind | Self::Closing { .. } | Self::Last, Event::Refused) => {
                (Self::Over, &[])
            }
            _ => return &[Unexpected],
        };
        *self = next;
        actions
    }
}

impl Subscription {
    /// A REFER has been accepted, and its first NOTIFY: the new call is being tried.
    pub fn begin(now: Instant) -> (Self, Notice) {
        let subscription = Self { state: State::Told, status: 100, ends: now + LIFETIME };
        let notice = subscription.notice(Action::Notify);
        (subscription, notice)
    }

    /// The new call rings, or the like. The same status again is no news.
    pub fn progress(&mut self, now: Instant, status: u16) -> Option<Notice> {
        if status == self.status {
            return None;
        }
        self.status = status;
        self.on(now, Event::Progress)
    }

    /// The new call is answered (200), or has failed.
    pub fn outcome(&mut self, now: Instant, status: u16) -> Option<Notice> {
        self.status = status;
        self.on(now, Event::Outcome)
    }

    /// A final response to a NOTIFY of ours; `None`: nothing came.
    pub fn answered(&mut self, now: Instant, status: Option<u16>) -> Option<Notice> {
        let event = match status {
            Some(200..300) => Event::Delivered,
            Some(_) => Event::Refused,
            None => Event::Lost,
        };
        self.on(now, event)
    }

    /// When to call [`Self::handle_timeout`].
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Quiet { renew } => Some(renew),
            State::Closing { conclude } => Some(conclude),
            _ => None,
        }
    }

    /// Repeats the last word, or the end where that is overdue.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Notice> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        let event = match self.state {
            State::Closing { .. } => Event::Waited,
            _ if now < self.ends => Event::Renew,
            _ => Event::End,
        };
        self.on(now, event)
    }

    /// Whether nothing more is told.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn on(&mut self, now: Instant, event: Event) -> Option<Notice> {
        let action = self.state.on(now, event).first()?;
        (*action != Action::Unexpected).then(|| self.notice(*action))
    }

    const fn notice(&self, action: Action) -> Notice {
        let (state, expires) = match action {
            Action::Conclude => ("terminated;reason=noresource", None),
            Action::TimeOut => ("terminated;reason=timeout", None),
            Action::Notify | Action::Unexpected => ("active", Some(EXPIRES)),
        };
        Notice { status: self.status, state, expires }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing::{self, Row, event_words, first_word, words};

    /// Virtual time zero.
    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    fn zero() -> Instant {
        Instant::now()
    }

    const EVENTS: [Event; 8] = [
        Event::Progress,
        Event::Outcome,
        Event::Delivered,
        Event::Refused,
        Event::Lost,
        Event::Renew,
        Event::Waited,
        Event::End,
    ];

    #[test]
    fn refer_subscription_is_as_drawn() {
        let now = zero();
        let states = [
            State::Quiet { renew: now },
            State::Told,
            State::Behind,
            State::Closing { conclude: now },
            State::Last,
            State::Over,
        ];
        let mut rows: Vec<Row> = Vec::new();
        for (state, event) in states.iter().flat_map(|state| EVENTS.map(|event| (*state, event))) {
            let mut after = state;
            let actions = after.on(now, event);
            if actions == [Action::Unexpected] {
                assert_eq!(after, state, "{state:?} moves on what it does not expect");
                continue;
            }
            let next = first_word(&after);
            rows.push([
                first_word(&state),
                event_words(&event),
                "any".into(),
                next,
                words(actions),
            ]);
        }
        let columns = ["state", "event", "condition", "next", "actions"];
        let title =
            "The subscription of a REFER, at the end referred (RFC 3515, 2.4.4; RFC 6665, 4.2)";
        drawing::compare("refer-subscription", title, columns, &rows);
    }

    fn text(notice: &Notice) -> String {
        let mut request = Request::new(Method::Notify, "sip:a@b");
        notice.write(&mut request, None);
        let state = request.headers.get(Name::SubscriptionState).unwrap_or_default();
        format!("{} {}", String::from_utf8_lossy(state), String::from_utf8_lossy(request.body()))
    }

    #[test]
    fn a_transfer_that_comes_off_is_told_step_by_step() {
        let now = zero();
        let (mut it, first) = Subscription::begin(now);
        assert_eq!(text(&first), "active;expires=60 SIP/2.0 100 Trying\r\n");
        assert_eq!(it.answered(now, Some(200)), None);
        let ringing = it.progress(now, 180).unwrap();
        assert_eq!(text(&ringing), "active;expires=60 SIP/2.0 180 Ringing\r\n");
        assert_eq!(it.answered(now, Some(200)), None);
        assert_eq!(it.progress(now, 180), None, "the same again is no news");
        let last = it.outcome(now, 200).unwrap();
        assert_eq!(text(&last), "terminated;reason=noresource SIP/2.0 200 OK\r\n");
        assert!(last.is_last() && !it.is_over());
        assert_eq!(it.answered(now, Some(200)), None);
        assert!(it.is_over());
    }

    #[test]
    fn news_wait_for_the_notify_that_is_out() {
        let now = zero();
        let (mut it, _) = Subscription::begin(now);
        assert_eq!(it.progress(now, 180), None);
        assert_eq!(it.progress(now, 183), None);
        assert_eq!(it.answered(now, Some(200)).map(|notice| notice.status), Some(183));
        assert_eq!(it.outcome(now, 486), None);
        let last = it.answered(now, Some(200)).unwrap();
        assert_eq!(text(&last), "terminated;reason=noresource SIP/2.0 486 Busy Here\r\n");
    }

    #[test]
    fn the_outcome_waits_for_no_answer_that_never_comes() {
        let start = zero();
        let (mut it, _) = Subscription::begin(start);
        assert_eq!(it.outcome(start, 200), None, "the first NOTIFY is out");
        let due = it.due().unwrap();
        assert_eq!(due, start + PATIENCE);
        assert_eq!(it.handle_timeout(due - Duration::from_millis(1)), None);
        let last = it.handle_timeout(due).unwrap();
        assert_eq!(text(&last), "terminated;reason=noresource SIP/2.0 200 OK\r\n");
        assert_eq!(it.due(), None);
        assert_eq!(it.answered(due, Some(200)), None);
        assert!(it.is_over());
    }

    #[test]
    fn a_notify_that_nothing_is_heard_of_keeps_no_outcome_back() {
        let start = zero();
        let (mut it, _) = Subscription::begin(start);
        // Its connection has closed; the target rings on after that.
        assert_eq!(it.answered(start + Duration::from_secs(32), None), None);
        assert!(!it.is_over());
        let last = it.outcome(start + Duration::from_secs(40), 200).unwrap();
        assert_eq!(text(&last), "terminated;reason=noresource SIP/2.0 200 OK\r\n");
        assert_eq!(it.answered(start + Duration::from_secs(72), None), None);
        assert!(it.is_over(), "nobody is told for ever");
    }

    #[test]
    fn whoever_refuses_a_notify_hears_no_more() {
        for status in [481, 408, 500] {
            let now = zero();
            let (mut it, _) = Subscription::begin(now);
            assert_eq!(it.answered(now, Some(status)), None);
            assert!(it.is_over());
            assert_eq!(it.outcome(now, 200), None);
            assert_eq!(it.due(), None);
        }
    }

    #[test]
    fn a_long_ringing_call_is_told_again_before_the_referrer_gives_up_and_not_for_ever() {
        let start = zero();
        let (mut it, _) = Subscription::begin(start);
        let mut told = 0;
        let mut now = start;
        it.answered(now, Some(200));
        let last = loop {
            let due = it.due().unwrap();
            assert!(due - now < EXPIRES);
            assert_eq!(it.handle_timeout(due - Duration::from_millis(1)), None);
            now = due;
            let notice = it.handle_timeout(now).unwrap();
            if notice.is_last() {
                break notice;
            }
            told += 1;
            it.answered(now, Some(200));
        };
        assert_eq!(text(&last), "terminated;reason=timeout SIP/2.0 100 Trying\r\n");
        assert!(told >= 5 && now - start <= LIFETIME + RENEW);
    }
}
