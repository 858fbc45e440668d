//! One leg's session timer, and how the far side wants to be refreshed (RFC 4028).

use crate::core::Core;
use crate::io::{CallId, PeerLeg};
use crate::plan::{Plan, TrunkKind};
use crate::timers::Timer;
use sip_core::transaction::ClientId;
use sip_core::usage::session_timer::{Due, SessionTimer};
use sip_core::{Headers, Name};
use std::time::{Duration, Instant};

/// The session of one leg.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) timer: SessionTimer,
    kind: TrunkKind,
    /// Its Allow names UPDATE, which changes nothing where it is used to refresh.
    takes_update: bool,
    /// Its Allow names INFO.
    takes_info: bool,
    /// A 422 has raised what we offer, and no 2xx has come since.
    raised: bool,
    /// The deadline that is armed; others are stale.
    armed: Option<Instant>,
    /// The UPDATE that is out. Another may be on its way that a leg before this one has sent.
    update: Option<ClientId>,
}

impl Session {
    /// The session of a leg on `trunk`.
    pub(crate) fn new(plan: &Plan, trunk: usize) -> Self {
        let of = plan.trunks.get(trunk);
        Self {
            timer: SessionTimer::new(of.and_then(|trunk| trunk.session_timer)),
            kind: of.map_or(TrunkKind::Carrier, |trunk| trunk.kind),
            takes_update: false,
            takes_info: false,
            raised: false,
            armed: None,
            update: None,
        }
    }

    /// Our refresh is on its way in this transaction.
    pub(crate) const fn asks(&mut self, update: ClientId) {
        self.update = Some(update);
    }

    /// Whether our refresh was sent in this transaction, which is over.
    pub(crate) fn has_asked(&mut self, update: ClientId) -> bool {
        self.update.take_if(|ours| *ours == update).is_some()
    }

    /// The far side has hung up: it is not asked any more.
    pub(crate) fn end(&mut self) {
        self.timer = SessionTimer::default();
        self.armed = None;
        self.update = None;
    }

    /// Reads in a message of the far side what it allows.
    pub(crate) fn note(&mut self, headers: &Headers) {
        if headers.get(Name::Allow).is_some() {
            self.takes_update = headers.has_token(Name::Allow, "UPDATE");
            self.takes_info = headers.has_token(Name::Allow, "INFO");
        }
    }

    /// Whether the far side says that it takes INFO.
    pub(crate) const fn takes_info(&self) -> bool {
        self.takes_info
    }

    /// A 2xx to a session refresh request of ours, or to our first INVITE.
    pub(crate) fn accepted(&mut self, now: Instant, headers: &Headers) {
        self.note(headers);
        self.raised = false;
        self.timer.accepted(now, headers);
    }

    /// A 422: whether the request is to be tried again, which happens once (TDR-DLG-032).
    pub(crate) fn raise(&mut self, headers: &Headers) -> bool {
        let raises = !self.raised && self.timer.was_too_small(headers);
        self.raised |= raises;
        raises
    }

    /// It has refused an UPDATE.
    pub(crate) const fn takes_no_update(&mut self) {
        self.takes_update = false;
    }

    /// Whether a refresh of ours is an UPDATE; Teams gets none, whatever it says (TDR-DLG-033).
    pub(crate) fn by_update(&self) -> bool {
        self.takes_update && self.kind == TrunkKind::Carrier
    }

    /// Puts a refresh that is due off by so much; whether it was one.
    pub(crate) fn put_off(&mut self, now: Instant, by: Duration) -> bool {
        let due = self.armed.is_some_and(|armed| armed <= now);
        let refresh = due && self.timer.wants_refresh();
        if refresh {
            self.armed = Some(now + by);
        }
        refresh
    }

    /// What is due by now, if the deadline that fired is the one that stands.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.armed.is_none_or(|armed| armed > now) {
            return None;
        }
        self.armed = None;
        self.timer.handle_timeout(now)
    }

    /// Arms the next deadline. One that is armed for earlier stays and finds out by itself.
    pub(crate) fn arm(&mut self, core: &mut Core, call: CallId, leg: PeerLeg) {
        let Some(due) = self.timer.poll_timeout() else { return };
        if self.armed.is_none_or(|armed| armed > due) {
            self.armed = Some(due);
            core.timers.arm(due, Timer::Session { call, leg });
        }
    }
}
