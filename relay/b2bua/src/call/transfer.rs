//! REFER: the far side of a leg wants its place to be another's (RFC 5589, 6; TDR-XFR-010 to 025).
//!
//! We are the transferee's agent: REFER goes no further than here. The target is called by an INVITE
//! of ours, and when it answers its leg takes the place of the transferor's. Until then the call stays
//! as it is, so that a target that is busy costs nobody anything.

use super::attempt::{Attempt, Candidate, Described, Invitation, Progress, Referred};
use super::destination::{Destination, Refused, direction_of};
use super::numbers::Whose;
use super::referral::{Referral, Referrer};
use super::replace::Former;
use super::{Ask, Call, Fate, Phase, place};
use crate::cause;
use crate::core::{Core, DialogKey};
use crate::credentials::Signed;
use crate::fraud::Toll;
use crate::headers::Crossing;
use crate::identity::Identity;
use crate::io::{Event, Hop, MediaPort, PeerLeg};
use crate::leg;
use crate::party::{Called, Caller};
use crate::plan::{MediaPlace, Ringback};
use crate::timers::Timer;
use sdp::{Carriage, Direction, Media, Order, Sound, Terms};
use sip_core::transaction::ClientId;
use sip_core::usage::refer::Refer;
use sip_core::{Name, Response};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the target may ring (RFC 3261, 16.6: timer C).
const RING_MAX: Duration = Duration::from_secs(185);

/// What a call has to do with transfers.
#[derive(Default)]
pub(super) struct Transfers {
    pending: Option<Box<Transfer>>,
    /// Who is told what came of the last REFER.
    pub(super) referral: Option<Box<Referral>>,
    pub(super) former: Option<Box<Former>>,
    /// A new leg whose media is told to the other side once our re-INVITE there is through.
    pub(super) owed: Option<PeerLeg>,
    /// The dialog of the last REFER that was accepted.
    referred_on: Option<DialogKey>,
    /// How many have taken the place of either leg's far side.
    places_taken: [u32; 2],
}

impl Transfers {
    /// The far side of this leg is another from now on.
    pub(super) const fn place_is_taken(&mut self, which: PeerLeg) {
        let taken = &mut self.places_taken[which as usize];
        *taken = taken.wrapping_add(1);
    }

    /// Which far side of this leg is carried: the one that is in the call, or the target that is heard
    /// in its place.
    pub(super) fn far_side(&self, which: PeerLeg) -> u32 {
        let rings = |it: &Transfer| it.which == which && it.instead.is_some();
        let instead = self.pending.as_deref().is_some_and(rings);
        self.places_taken[which as usize].wrapping_add(u32::from(instead))
    }
}

/// A target that is being called.
struct Transfer {
    /// The leg whose place it is to have.
    which: PeerLeg,
    invitation: Invitation,
    /// The target, for the record.
    to: String,
    /// Microsoft's id of the transferor's call, for the record.
    id: Option<String>,
    waiting: VecDeque<Candidate>,
    attempt: Option<Attempt>,
    /// The trunk that carries the attempt, unless that carries the one who stays: counted in its limit.
    carried_by: Option<String>,
    /// No limit holds it back (TDR-EMG-002).
    emergency: bool,
    /// What it counts for at the fraud guard.
    classes: Vec<Arc<str>>,
    toll: Option<Toll>,
    gives_up: Instant,
    /// The transferor has hung up and waits for nothing.
    left: bool,
    /// The ports of a target whose trunk has its media elsewhere than the transferor's.
    elsewhere: Option<Elsewhere>,
    /// What is carried instead of the transferor's stream: the target's early media, or nothing once
    /// the transferor has left.
    instead: Option<Carriage>,
    /// What the one who stays hears while the target rings, if that is ours to play.
    rings: Option<Sound>,
    /// Where the target is, if its side has said so.
    place: Option<MediaPlace>,
}

/// Ports that a leg moves to, or that it has moved from.
#[derive(Clone, Copy)]
struct Elsewhere {
    /// Those that the leg does not have now.
    other: MediaPort,
    /// It has those of the target.
    moved: bool,
}

impl Transfer {
    /// Nothing is out on the trunk any more.
    fn leave_trunk(&mut self, core: &mut Core) {
        if let Some(trunk) = self.carried_by.take() {
            core.admission.leave(&core.plan, &trunk);
        }
    }

    /// The target and the id, for the record: it is over.
    fn names(&mut self) -> (String, Option<String>) {
        (std::mem::take(&mut self.to), self.id.take())
    }
}

impl Transfers {
    /// Whether the far side of this leg has asked for the transfer that is under way.
    pub(super) fn asked_by(&self, which: PeerLeg) -> bool {
        self.pending.as_ref().is_some_and(|transfer| transfer.which == which && !transfer.left)
    }

    /// The leg whose place a target is to have that rings, and what the other one hears of that.
    pub(super) fn ringing(&self) -> Option<(PeerLeg, &Sound)> {
        self.pending.as_ref().and_then(|transfer| Some((transfer.which, transfer.rings.as_ref()?)))
    }

    /// Whether a target that only rings is heard in the place of this leg.
    pub(super) fn is_early(&self, which: PeerLeg) -> bool {
        self.pending.as_ref().is_some_and(|it| it.which == which && it.instead.is_some())
    }

    /// Whether the far side of this leg has hung up, and its place waits for the target.
    pub(super) fn has_left(&self, which: PeerLeg) -> bool {
        self.pending.as_ref().is_some_and(|transfer| transfer.which == which && transfer.left)
    }

    /// Who takes the place of this leg has asked for nothing.
    pub(super) fn forget_referral_of(&mut self, which: PeerLeg) {
        self.referral.take_if(|referral| referral.by == Referrer::Leg(which));
    }

    /// Nobody is left to be told.
    pub(super) fn forget_former_referral(&mut self) {
        self.referral.take_if(|referral| referral.by == Referrer::Former);
    }
}

impl Call {
    /// Whether a target is being called.
    pub(super) fn is_being_transferred(&self) -> bool {
        self.transfers.pending.is_some()
    }

    /// A REFER came in on a leg.
    pub(super) fn refer(&mut self, core: &mut Core, ask: &Ask) -> Fate {
        let (refer, destination) = match self.judge_refer(core, ask) {
            Ok(accepted) => accepted,
            Err(Refused { status, why }) => {
                let mut response = self.reply(ask, status);
                let agent = &self.plan.node.fqdn;
                let why: String = why.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
                response.headers.push(Name::Warning, format!("399 {agent} \"{why}\""));
                core.respond(ask.server, response);
                return Fate::Lives;
            }
        };
        // At once, as the transferor waits for it and not for the target (TDR-XFR-011).
        core.respond(ask.server, self.reply(ask, 202));
        self.referred(core, ask, &refer);
        let which = ask.leg;
        let gives_up = core.now.mono + RING_MAX;
        core.timers.arm(gives_up, Timer::Transfer(self.id));
        self.transfers.pending = Some(Box::new(Transfer {
            which,
            invitation: self.invitation(
                which,
                destination.called,
                destination.caller,
                destination.whose,
                destination.referred,
            ),
            to: super::text(&refer.target),
            id: correlation_id(&refer),
            waiting: destination.candidates.into(),
            attempt: None,
            carried_by: None,
            emergency: destination.emergency,
            classes: destination.classes,
            toll: None,
            gives_up,
            left: false,
            elsewhere: None,
            instead: None,
            rings: None,
            place: None,
        }));
        self.call_target(core, 503, "no_address")
    }

    /// Subscribes the transferor to the outcome, unless it does not want to know (RFC 4488).
    fn referred(&mut self, core: &mut Core, ask: &Ask, refer: &Refer) {
        let key = self.leg(ask.leg).map(|leg| leg.key());
        let again = self.transfers.referred_on == key;
        self.transfers.referred_on = key;
        self.transfers.referral = None;
        if !refer.unsubscribed {
            let cseq = ask.request.headers.cseq().number;
            self.subscribe(core, ask.leg, again.then_some(cseq));
        }
    }

    fn judge_refer(&mut self, core: &mut Core, ask: &Ask) -> Result<(Refer, Destination), Refused> {
        let refused = |status, why: &str| Refused { status, why: why.to_owned() };
        let Some(leg) = self.leg(ask.leg) else { return Err(refused(481, "no such leg")) };
        if !leg.identity.takes_refer() {
            return Err(refused(405, "REFER is not taken here"));
        }
        let trunk = leg.trunk;
        self.ours_gives_way(core);
        // One at a time, and not while the legs are being changed (fixture F-15: the second waits).
        let busy = self.is_being_transferred() || self.is_renegotiating();
        if busy || !matches!(self.phase, Phase::Up(_)) {
            return Err(refused(491, "another change of the call is under way"));
        }
        let refer = Refer::of(&ask.request.headers)
            .map_err(|error| Refused { status: 400, why: error.to_string() })?;
        if refer.replaces.is_some() {
            // Microsoft is sent no Replaces (TDR-OUT-008), and joins by what stands in Referred-By
            // (TDR-XFR-021).
            return Err(refused(403, "Refer-To with Replaces is not followed"));
        }
        if self.is_of_another_tenant(trunk, &refer) {
            return Err(refused(403, "Referred-By names another tenant of Microsoft's"));
        }
        let mut destination = self.destination(core, ask.leg, trunk, &refer)?;
        let from = direction_of(&self.plan, trunk);
        // Back to Teams, nothing goes out.
        let called = destination.referred.uri.is_none().then_some(&destination.called);
        let classes = self.may_call_again(core, from, called, destination.emergency);
        destination.classes = classes.map_err(|full| {
            core.emit(Event::Rejected { tenant: Some(self.tenant.clone()), reason: full.reject });
            Refused { status: full.reject.status(), why: full.why }
        })?;
        Ok((refer, destination))
    }

    /// Whether the transferor is a user of somebody else's Teams: `x-t` of Referred-By, where we know what
    /// Microsoft calls the tenant (TDR-XFR-022).
    fn is_of_another_tenant(&self, trunk: usize, refer: &Refer) -> bool {
        let tenant = self.own_tenant();
        let Some(ours) = tenant.and_then(|tenant| tenant.tenant_id.as_deref()) else {
            return false;
        };
        let theirs = refer.referrer_param("x-t");
        leg::is_teams(&self.plan, trunk)
            && theirs.is_some_and(|theirs| !theirs.eq_ignore_ascii_case(ours.as_bytes()))
    }

    /// The target is called in the name of the one who stays, with what that one's leg has agreed.
    fn invitation(
        &self,
        which: PeerLeg,
        called: Called,
        (caller, crossing): (Caller, Crossing),
        whose: Whose,
        referred: Referred,
    ) -> Invitation {
        let agreed = self.at(which.other()).and_then(|leg| leg.negotiation.stream());
        let offer =
            agreed.map_or_else(Media::g711, |stream| Media::of(stream, Direction::SendRecv));
        let max_forwards = self.parties.max_forwards;
        let referred = Some(referred);
        Invitation { caller, called, crossing, max_forwards, offer, whose, referred }
    }

    /// Sends the INVITE to the next place where the target may be; where none is left, the transfer
    /// has failed with `status`.
    fn call_target(&mut self, core: &mut Core, status: u16, outcome: &str) -> Fate {
        let plan = Arc::clone(&self.plan);
        let Some(mut transfer) = self.transfers.pending.take() else { return Fate::Lives };
        transfer.leave_trunk(core);
        self.media_stays(core, &mut transfer);
        while let Some(candidate) = transfer.waiting.pop_front() {
            let Some(trunk) = plan.trunks.get(candidate.trunk) else { continue };
            let stays_on = self.leg(transfer.which).map(|leg| leg.trunk) == Some(candidate.trunk);
            if !stays_on
                && !transfer.emergency
                && core.admission.would_carry(core.now.mono, trunk).is_err()
            {
                continue;
            }
            let Ok(to) = candidate.to.clone() else { continue };
            let here = self.fresh_negotiation(core, transfer.which, candidate.trunk);
            let negotiation = here.or_else(|| {
                let (there, other) = self.negotiation_elsewhere(core, candidate.trunk)?;
                transfer.elsewhere = Some(Elsewhere { other, moved: false });
                Some(there)
            });
            let Some(negotiation) = negotiation else { continue };
            let identity = Identity::new(&plan, candidate.trunk, Some(&self.fqdn));
            let to = (&candidate, to);
            let us = (identity, negotiation);
            let attempt = transfer.invitation.send(core, &plan, self.id, to, us, None);
            core.dialogs.insert(attempt.key(), (self.id, transfer.which));
            self.expect_checks(core, transfer.which, attempt.ice_offered());
            transfer.attempt = Some(attempt);
            transfer.place = None;
            if !transfer.classes.is_empty() {
                transfer.toll = self.begin_toll(core, std::mem::take(&mut transfer.classes));
            }
            if !stays_on {
                core.admission.carry(core.now.mono, trunk);
                transfer.carried_by = Some(trunk.name.clone());
            }
            self.transfers.pending = Some(transfer);
            return Fate::Lives;
        }
        self.transfers.pending = Some(transfer);
        self.transfer_failed(core, status, outcome)
    }

    /// The target is heard from now on, at ports of its own if its trunk has its media elsewhere.
    fn media_moves(&mut self, core: &mut Core, transfer: &mut Transfer) {
        if let Some(elsewhere) = transfer.elsewhere.as_mut().filter(|it| !it.moved) {
            elsewhere.other = self.exchange_media(core, transfer.which, elsewhere.other);
            elsewhere.moved = true;
        }
    }

    /// The target is not heard, or no more: the leg keeps, or gets back, the ports it had.
    fn media_stays(&mut self, core: &mut Core, transfer: &mut Transfer) {
        if let Some(Elsewhere { other, moved }) = transfer.elsewhere.take() {
            let unused = match moved {
                true => self.exchange_media(core, transfer.which, other),
                false => other,
            };
            core.release_ports(unused);
        }
    }

    /// A response to the INVITE to the target.
    pub(super) fn transfer_response(
        &mut self,
        core: &mut Core,
        client: ClientId,
        hop: &Hop,
        response: &Response,
    ) -> Fate {
        if !self.calls_target(client) {
            return Fate::Lives;
        }
        let id = self.id;
        let attempt = self.transfers.pending.as_mut().and_then(|it| it.attempt.as_mut());
        if response.status == 422 && attempt.is_some_and(|it| it.raise(core, id, response)) {
            return Fate::Lives;
        }
        match response.status {
            100 => Fate::Lives,
            101..=199 => self.target_rings(core, hop, response),
            200..=299 => self.target_answered(core, hop, response),
            // Once Microsoft has looked at it, it is not asked again: what stands in Referred-By is
            // good for one INVITE (TDR-XFR-019).
            503 => self.try_elsewhere(core, client, "503"),
            status => {
                core.clients.remove(&client);
                self.transfer_failed(core, status, &status.to_string())
            }
        }
    }

    /// The INVITE to the target could not be sent, or was never answered.
    pub(super) fn transfer_lost(&mut self, core: &mut Core, client: ClientId, why: &str) -> Fate {
        match self.calls_target(client) {
            false => Fate::Lives,
            true if why == crate::b2bua::TIMEOUT => self.transfer_failed(core, 408, why),
            true => {
                let transfer = self.transfers.pending.as_ref();
                if let Some(attempt) = transfer.and_then(|transfer| transfer.attempt.as_ref()) {
                    attempt.could_not_be_sent(core);
                }
                self.try_elsewhere(core, client, why)
            }
        }
    }

    /// The target's side has asked who we are: the INVITE goes out again with credentials.
    pub(super) fn transfer_signed(
        &mut self,
        core: &mut Core,
        client: ClientId,
        signed: Signed,
    ) -> Fate {
        let attempt = self.transfers.pending.as_mut().and_then(|it| it.attempt.as_mut());
        if let Some(attempt) = attempt.filter(|attempt| attempt.client == client) {
            attempt.sign(core, signed);
        }
        Fate::Lives
    }

    fn try_elsewhere(&mut self, core: &mut Core, client: ClientId, outcome: &str) -> Fate {
        core.clients.remove(&client);
        let transfer = self.transfers.pending.as_mut();
        if let Some(attempt) = transfer.and_then(|transfer| transfer.attempt.take()) {
            core.dialogs.remove(&attempt.key());
        }
        self.call_target(core, 503, outcome)
    }

    fn calls_target(&self, client: ClientId) -> bool {
        let attempt = self.transfers.pending.as_ref().and_then(|it| it.attempt.as_ref());
        attempt.is_some_and(|attempt| attempt.client == client)
    }

    /// The target rings: the transferor is told, and the one who waits hears what there is to hear
    /// (TDR-XFR-016).
    fn target_rings(&mut self, core: &mut Core, from: &Hop, response: &Response) -> Fate {
        let (plan, whose) = (Arc::clone(&self.plan), self.whose());
        let Some(transfer) = &mut self.transfers.pending else { return Fate::Lives };
        let Some(attempt) = &mut transfer.attempt else { return Fate::Lives };
        let (which, trunk) = (transfer.which, attempt.trunk);
        let progress = attempt.progress(core, &plan, from, response);
        // RFC 6228: a fork has ended; it rings nobody.
        if response.status == 199 {
            attempt.forget(response);
            return Fate::Lives;
        }
        transfer.place = place::said(&plan, trunk, &response.headers).or(transfer.place);
        let progress = match progress {
            Progress::Described(early) if !early.authorized.receives() => Progress::Ringing,
            progress => progress,
        };
        match progress {
            Progress::Ignored => Fate::Lives,
            Progress::Ringing => {
                let aloud = leg::ringback(&plan, trunk, whose) == Ringback::Tone;
                let begins = aloud && transfer.rings.is_none() && transfer.instead.is_none();
                if begins {
                    transfer.rings = Some(leg::ringing_tone(&plan, [trunk, trunk]));
                }
                self.tell_progress(core, response.status);
                match begins {
                    true => self.lets_hear_ringing(core, which),
                    false => Fate::Lives,
                }
            }
            Progress::Described(Described { stream, answer, .. }) => {
                let terms = Terms { on_trial: true, ..leg::terms(&plan, trunk) };
                transfer.instead = Some(Carriage { stream, terms });
                transfer.rings = None;
                if let Some(mut transfer) = self.transfers.pending.take() {
                    self.media_moves(core, &mut transfer);
                    self.transfers.pending = Some(transfer);
                }
                self.agreed(core);
                self.tell_progress(core, response.status);
                self.carry_early(core, which, &answer)
            }
        }
    }

    /// The streams to carry: those of the legs, but for the one that a target is heard instead of.
    pub(super) fn heard_now(
        &self,
        a: Option<Carriage>,
        b: Option<Carriage>,
    ) -> (Option<Carriage>, Option<Carriage>) {
        let pending = self.transfers.pending.as_ref();
        match pending.and_then(|transfer| Some((transfer.which, transfer.instead.clone()?))) {
            Some((PeerLeg::A, instead)) => (Some(instead), b),
            Some((PeerLeg::B, instead)) => (a, Some(instead)),
            None => (a, b),
        }
    }

    fn target_answered(&mut self, core: &mut Core, from: &Hop, response: &Response) -> Fate {
        let plan = Arc::clone(&self.plan);
        let pending = self.transfers.pending.as_mut();
        let Some((attempt, which)) = pending.and_then(|it| Some((it.attempt.take()?, it.which)))
        else {
            return Fate::Lives;
        };
        let new = match attempt.answered(core, &plan, from, response) {
            Ok((new, Some(_))) => new,
            Ok((mut new, None)) => {
                new.bye(core, &plan, Some(&cause::reason_of(488)));
                return self.transfer_failed(core, 488, "no_common_codec");
            }
            Err(_) => return self.transfer_failed(core, 502, "no_contact"),
        };
        let Some(mut transfer) = self.transfers.pending.take() else { return Fate::Lives };
        self.note_transfer(core, "refer", which, transfer.names(), "200");
        self.media_moves(core, &mut transfer);
        if let Some(Elsewhere { other, .. }) = transfer.elsewhere.take() {
            core.release_ports(other);
        }
        let place = place::said(&plan, new.trunk, &response.headers).or(transfer.place);
        self.count_moved(core, which, transfer.carried_by.take());
        if let Some(old) = self.take_place(core, which, new)
            && !transfer.left
        {
            if let Some(referral) = &mut self.transfers.referral {
                referral.by = Referrer::Former;
            }
            self.await_farewell(core, old);
            self.tell_outcome(core, 200);
        }
        if place.is_some() {
            *self.owed_move(which) = place;
        }
        self.takes_toll(core, which, transfer.toll.take());
        self.toll_runs(core, which);
        let id = self.id;
        if let Some(leg) = self.leg(which) {
            leg.session.arm(core, id, which);
        }
        self.agreed(core);
        self.order(core, which, Order::Watch);
        // What the one who stays has changed meanwhile, once the target is told of nothing else.
        match self.carry_across(core, which) {
            Fate::Lives => self.settled(core),
            Fate::Done => Fate::Done,
        }
    }

    /// The call's place in the limits moves with its leg, where that goes to another trunk; the one
    /// that was counted when the call came is kept beside it to its end (TDR-CC-001).
    fn count_moved(&mut self, core: &mut Core, which: PeerLeg, carried_by: Option<String>) {
        let Some(new) = carried_by else { return };
        let place = match which {
            PeerLeg::A => &mut self.trunk_moved,
            PeerLeg::B => &mut self.trunk_out,
        };
        if let Some(old) = place.replace(new) {
            core.admission.leave(&core.plan, &old);
        }
    }

    /// The target cannot be had: the call stays what it was (TDR-XFR-018), unless nobody is left at
    /// that end (TDR-XFR-017).
    fn transfer_failed(&mut self, core: &mut Core, status: u16, outcome: &str) -> Fate {
        let Some(mut transfer) = self.transfers.pending.take() else { return Fate::Lives };
        transfer.leave_trunk(core);
        self.media_stays(core, &mut transfer);
        let which = transfer.which;
        self.note_transfer(core, "refer", which, transfer.names(), outcome);
        if let Some(attempt) = transfer.attempt.take() {
            core.dialogs.remove(&attempt.key());
        }
        if transfer.left {
            let reason = cause::reason_of(cause::across(status));
            self.transfers.referral = None;
            return self.hang_up(core, Some(which), Some(&reason), "transfer_failed");
        }
        let told = if matches!(status, 300..=399 | 401 | 407) { 503 } else { status };
        self.tell_outcome(core, told);
        if transfer.instead.is_some() || transfer.rings.is_some() {
            self.agreed(core);
        }
        match self.rekey_owed(core) {
            Fate::Lives => self.follow_user(core),
            Fate::Done => Fate::Done,
        }
    }

    /// The transferor hangs up before the outcome: the other one stays and waits for the target.
    pub(super) fn transferor_left(&mut self, core: &mut Core) -> Fate {
        let plan = Arc::clone(&self.plan);
        let Some(which) = self.transfers.pending.as_ref().map(|it| it.which) else {
            return Fate::Lives;
        };
        self.transfers.referral = None;
        if self.is_renegotiating_on(which) {
            self.drop_renegotiation(core);
        }
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        leg.session.end();
        leg.unacknowledged = None;
        let (key, media) = (leg.key(), leg.carriage(&plan));
        core.dialogs.remove(&key);
        let silent = media.map(|mut media| {
            media.stream.direction = Direction::Inactive;
            media
        });
        if let Some(transfer) = &mut self.transfers.pending {
            transfer.left = true;
            transfer.instead = transfer.instead.take().or(silent);
        }
        self.agreed(core);
        Fate::Lives
    }

    /// The call ends: so does what is under way in it. The leg that has hung up already.
    pub(super) fn drop_transfer(&mut self, core: &mut Core) -> Option<PeerLeg> {
        self.transfers.owed = None;
        let mut gone = None;
        if let Some(mut transfer) = self.transfers.pending.take() {
            transfer.leave_trunk(core);
            self.media_stays(core, &mut transfer);
            self.note_transfer(core, "refer", transfer.which, transfer.names(), "cancelled");
            if let Some(attempt) = transfer.attempt {
                attempt.abandon(core, None);
            }
            gone = transfer.left.then_some(transfer.which);
            self.tell_outcome(core, 487);
        }
        self.say_farewell(core);
        self.transfers.referral = None;
        gone
    }

    /// Something of a transfer is due, or was.
    pub(crate) fn transfer_due(&mut self, core: &mut Core) -> Fate {
        let now = core.now.mono;
        self.tell_again(core);
        if self.transfers.former.as_ref().is_some_and(|former| former.due <= now) {
            self.say_farewell(core);
            self.transfers.forget_former_referral();
        }
        if self.transfers.pending.as_ref().is_none_or(|transfer| transfer.gives_up > now) {
            return Fate::Lives;
        }
        let pending = self.transfers.pending.as_mut();
        if let Some(attempt) = pending.and_then(|transfer| transfer.attempt.take()) {
            attempt.abandon(core, None);
        }
        self.transfer_failed(core, 408, "no_answer")
    }
}

/// `x-ti` of Referred-By: what Microsoft calls the call of who transfers (TDR-XFR-022).
fn correlation_id(refer: &Refer) -> Option<String> {
    let id = refer.referrer_param("x-ti")?;
    (id.len() <= CORRELATION_ID_MAX).then(|| super::text(id))
}

/// Octets of an id: a GUID has 36.
const CORRELATION_ID_MAX: usize = 64;
