//! One leg takes the place of another: the target of a transfer that has answered, or an INVITE with
//! Replaces (RFC 3891, 3; TDR-XFR-030).
//!
//! The media is anchored, so the new leg speaks from the port of the old one under a key of its own,
//! and the other side hears of it only if its codec or direction must change (TDR-XFR-031).

use super::incoming::reject_of;
use super::{Call, Fate, Phase, place, ports};
use crate::core::{Core, DialogKey};
use crate::identity::{Identity, PRODUCT};
use crate::io::{Flow, MediaPort, PeerLeg};
use crate::leg::{self, Leg, SDP, Unacknowledged};
use crate::party::Caller;
use crate::plan::MediaPlace;
use crate::record;
use crate::session::Session;
use crate::timers::Timer;
use bytes::Bytes;
use sdp::{Direction, Media, Negotiation, Refusal};
use sip_core::transaction::ServerId;
use sip_core::{Dialog, Method, Name, Request, Response};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the leg that gave its place away may take to send the BYE that is its to send; then we
/// do (TDR-XFR-017).
const FAREWELL_MAX: Duration = Duration::from_secs(32);

/// An INVITE that is to take the place of a leg.
pub(crate) struct Newcomer {
    pub(crate) server: ServerId,
    pub(crate) flow: Flow,
    pub(crate) request: Request,
    pub(crate) early_only: bool,
}

/// A leg that has given its place away and has not said good-bye yet.
pub(super) struct Former {
    pub(super) leg: Leg,
    /// When we say it.
    pub(super) due: Instant,
}

/// Why a newcomer stays outside.
struct Refused {
    status: u16,
    why: String,
    /// With 422: the interval that would do (RFC 4028, 9).
    min_se_s: Option<u32>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { status: reject_of(&refusal).status(), why: refusal.to_string(), min_se_s: None }
    }
}

impl Call {
    /// Whether an INVITE from there may take the place of this leg at all: it comes over the same
    /// trunk and, where tenants share that trunk, names the same tenant (TDR-XFR-030).
    pub(crate) fn may_be_replaced(&self, which: PeerLeg, flow: &Flow, invite: &Request) -> bool {
        let trunk = self.plan.trunk_named(&flow.trunk);
        let Some(leg) = self.at(which).filter(|leg| trunk == Some(leg.trunk)) else {
            return false;
        };
        if !matches!(self.phase, Phase::Up(_)) {
            return false;
        }
        !leg::is_teams(&self.plan, leg.trunk) || self.fqdn_named_by(invite).is_some()
    }

    /// The FQDN of our tenant that the INVITE is addressed to.
    fn fqdn_named_by(&self, invite: &Request) -> Option<String> {
        let host = invite.request_uri().ok()?.host;
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        let tenant = self.plan.tenant_under(&host)?;
        (tenant.name == self.tenant).then_some(host)
    }

    /// An INVITE that [may](Self::may_be_replaced) take the place of leg `which` came in.
    pub(crate) fn replace(&mut self, core: &mut Core, which: PeerLeg, newcomer: Newcomer) -> Fate {
        let plan = Arc::clone(&self.plan);
        let who = Caller::of(&newcomer.request.headers).user;
        let to = self.newcomers_ports(core, which, &newcomer.request);
        let (new, response) = match self.admit(core, which, &newcomer, to.map(|(_, to)| to)) {
            Ok(admitted) => admitted,
            Err(refused) => {
                if let Some((_, unused)) = to {
                    core.release_ports(unused);
                }
                self.note_transfer(
                    core,
                    "replaces",
                    which,
                    (who, None),
                    &refused.status.to_string(),
                );
                return self.turn_away(core, &newcomer, &refused);
            }
        };
        core.respond(newcomer.server, response);
        core.servers.insert(newcomer.server, self.id);
        self.note_transfer(core, "replaces", which, (who, None), "200");
        self.transfers.forget_referral_of(which);
        if let Some(mut old) = self.take_place(core, which, new) {
            core.dialogs.remove(&old.key());
            old.bye(core, &plan, None);
        }
        if let Some(to) = to {
            self.has_moved(core, which, to);
        }
        let id = self.id;
        if let Some(leg) = self.leg(which) {
            leg.session.arm(core, id, which);
        }
        self.agreed(core);
        self.carry_across(core, which)
    }

    /// Other ports for leg `which`, where the newcomer's user is not where the old one is (TDR-LMO-003); one
    /// of whom nothing is said is outside, as in any call from Teams (TDR-LMO-002).
    fn newcomers_ports(
        &self,
        core: &mut Core,
        which: PeerLeg,
        invite: &Request,
    ) -> Option<(MediaPlace, MediaPort)> {
        let trunk = self.trunk_of(which);
        self.plan.trunks.get(trunk)?.inside?;
        let said = place::said(&self.plan, trunk, &invite.headers);
        let place = said.unwrap_or(MediaPlace::Outside);
        Some((place, self.ports_there(core, which, place)?))
    }

    /// The leg that the newcomer becomes, at the ports of the old one or at these, and its 200.
    fn admit(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        newcomer: &Newcomer,
        to: Option<MediaPort>,
    ) -> Result<(Leg, Response), Refused> {
        let refused = |status, why: &str| Refused { status, why: why.to_owned(), min_se_s: None };
        let request = &newcomer.request;
        if newcomer.early_only {
            return Err(refused(486, "the dialog is confirmed"));
        }
        if self.is_being_transferred() || self.is_renegotiating() {
            return Err(refused(491, "the call is being changed"));
        }
        let trunk = self.leg(which).map(|leg| leg.trunk).ok_or(Refusal::OutOfTurn)?;
        let mut session = Session::new(&self.plan, trunk);
        session.note(&request.headers);
        if let Err(small) = session.timer.judge(&request.headers) {
            let why = small.to_string();
            return Err(Refused { status: 422, why, min_se_s: Some(small.min_s) });
        }
        let there = to.map(|to| self.fresh(core, trunk, to));
        let negotiation = there.or_else(|| self.fresh_negotiation(core, which, trunk));
        let mut negotiation = negotiation.ok_or_else(|| refused(500, "no media"))?;
        let body = leg::sdp_of(&request.headers, request.body());
        negotiation.receive_offer(&body)?;
        let other = self.at(which.other());
        let agreed = other.and_then(|leg| leg.negotiation.stream()).ok_or(Refusal::OutOfTurn)?;
        // A fax has no speech to go on with: who comes speaks as one does, and the other side is told.
        let answer = match agreed.payloads.is_empty() {
            true => Media::g711(),
            false => Media::of(agreed, Direction::SendRecv),
        };
        let (answer, _) = negotiation.answer_like(&answer)?;
        let tag = core.token();
        let dialog =
            Dialog::uas(request, tag.as_bytes()).map_err(|_| refused(400, "no usable Contact"))?;
        let fqdn = self.fqdn_named_by(request).unwrap_or_else(|| self.fqdn.clone());
        let identity = Identity::new(&self.plan, trunk, Some(&fqdn));
        let user = request.request_uri().ok().and_then(|uri| uri.user).unwrap_or_default();
        let mut new = Leg {
            trunk,
            contact: identity.contact(&String::from_utf8_lossy(user)),
            identity,
            dialog,
            negotiation,
            flow: Some(newcomer.flow.clone()),
            invited: None,
            session,
            unacknowledged: Some(Unacknowledged {
                server: newcomer.server,
                opening: true,
                with_answer: false,
            }),
            told: super::keys::Told::default(),
        };
        let mut response = Self::response(&new, request, 200);
        response.set_body(SDP, answer);
        let timer = &mut new.session.timer;
        timer.answer(core.now.mono, &request.headers, &mut response.headers);
        Ok((new, response))
    }

    fn turn_away(&self, core: &mut Core, newcomer: &Newcomer, refused: &Refused) -> Fate {
        let tag = core.token();
        let mut response = Response::to(&newcomer.request, refused.status, Some(tag.as_bytes()));
        let agent = &self.plan.node.fqdn;
        response.headers.push(Name::Server, PRODUCT);
        response.headers.push(Name::Warning, format!("399 {agent} \"{}\"", refused.why));
        if let Some(min_se_s) = refused.min_se_s {
            response.headers.push(Name::MinSe, min_se_s.to_string());
        }
        core.respond(newcomer.server, response);
        Fate::Lives
    }

    /// A fresh offer/answer state for whoever takes the place of leg `which`: its port stays, as the
    /// other side's does; the key is new. `None` if `trunk` has its media elsewhere: then it takes a
    /// [move](Self::negotiation_elsewhere).
    pub(super) fn fresh_negotiation(
        &self,
        core: &mut Core,
        which: PeerLeg,
        trunk: usize,
    ) -> Option<Negotiation> {
        let port = self.media.ports?.of(which);
        let at_home = ports::is_at_home(&self.plan, trunk, port);
        at_home.then(|| self.fresh(core, trunk, port))
    }

    /// The same where `trunk` has its media elsewhere: with ports there, which the leg has yet to
    /// move to. `None` where none is free.
    pub(super) fn negotiation_elsewhere(
        &self,
        core: &mut Core,
        trunk: usize,
    ) -> Option<(Negotiation, MediaPort)> {
        let port = core.take_ports(&self.plan, trunk, self.media.ports?.worker)?;
        Some((self.fresh(core, trunk, port), port))
    }

    fn fresh(&self, core: &mut Core, trunk: usize, port: MediaPort) -> Negotiation {
        let mut fresh = leg::negotiation(core, &self.plan, (trunk, self.whose()), port);
        self.tell_transcoding(trunk, &mut fresh);
        fresh
    }

    /// Puts `new` in the place of leg `which`; the old one comes back, still to be found by its tags.
    pub(super) fn take_place(&mut self, core: &mut Core, which: PeerLeg, new: Leg) -> Option<Leg> {
        core.dialogs.insert(new.key(), (self.id, which));
        self.transfers.place_is_taken(which);
        self.toll_is_over(core, which);
        // Where the old one's user is, is nothing to it either.
        *self.owed_move(which) = None;
        if self.is_renegotiating_on(which) {
            // A session refresh of the old leg: its outcome is nothing to the new one.
            self.drop_renegotiation(core);
        }
        if let Phase::Up(up) = &mut self.phase {
            // It has been offered to talk, whatever the old one was told (TDR-HLD-008).
            match which.other() {
                PeerLeg::A => up.asked.0 = Direction::SendRecv,
                PeerLeg::B => up.asked.1 = Direction::SendRecv,
            }
        }
        match which {
            PeerLeg::A => Some(std::mem::replace(&mut self.a, new)),
            PeerLeg::B => self.b.replace(new),
        }
    }

    /// Gives the old leg time to say good-bye.
    pub(super) fn await_farewell(&mut self, core: &mut Core, leg: Leg) {
        self.say_farewell(core);
        let due = core.now.mono + FAREWELL_MAX;
        core.timers.arm(due, Timer::Transfer(self.id));
        self.transfers.former = Some(Box::new(Former { leg, due }));
    }

    /// Says good-bye to the old leg ourselves, if it is still there.
    pub(super) fn say_farewell(&mut self, core: &mut Core) {
        let plan = Arc::clone(&self.plan);
        if let Some(mut former) = self.transfers.former.take() {
            core.dialogs.remove(&former.leg.key());
            former.leg.bye(core, &plan, None);
        }
    }

    /// Whether this dialog is that of the leg that gave its place away.
    pub(crate) fn was_replaced(&self, key: &DialogKey, remote_tag: &Bytes) -> bool {
        self.transfers.former.as_ref().is_some_and(|former| {
            former.leg.key() == *key && former.leg.dialog.id().remote_tag == *remote_tag
        })
    }

    /// A request of the leg that gave its place away: it is expected to hang up, and has no other
    /// say in the call.
    pub(crate) fn asked_once_more(
        &mut self,
        core: &mut Core,
        server: ServerId,
        request: &Request,
        flow: &Flow,
    ) -> Fate {
        let Some(former) = &mut self.transfers.former else { return Fate::Lives };
        let received = former.leg.dialog.receive(request);
        if received.is_ok() {
            former.leg.heard_on(&self.plan, flow);
        }
        let status = match (received, &request.method) {
            (Err(_), _) => 500,
            (Ok(()), Method::Bye | Method::Options) => 200,
            (Ok(()), _) => 481,
        };
        core.respond(server, Response::to(request, status, None));
        if status == 200 && request.method == Method::Bye {
            core.dialogs.remove(&former.leg.key());
            self.transfers.former = None;
            self.transfers.forget_former_referral();
        }
        Fate::Lives
    }

    /// Notes a transfer in the record, to whom and by which id; those beyond [`RECORDED_MAX`] are not told apart any more.
    pub(super) fn note_transfer(
        &mut self,
        core: &Core,
        by: &'static str,
        which: PeerLeg,
        (to, id): (String, Option<String>),
        outcome: &str,
    ) {
        if self.record.transfers.len() < RECORDED_MAX {
            self.record.transfers.push(record::Transfer {
                by,
                leg: if which == PeerLeg::A { "a" } else { "b" },
                to,
                id,
                after: core.now.mono.saturating_duration_since(self.began),
                outcome: outcome.to_owned(),
            });
        }
    }
}

/// Transfers that a record tells: a queue hands a call on some times, a far side that does nothing
/// else must not fill our memory.
const RECORDED_MAX: usize = 32;
