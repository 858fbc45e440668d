//! Our own re-INVITEs: what one leg asks of the other, tried again after a glare, and what becomes of
//! who waits for the outcome (RFC 3261, 14.1).

use super::{Ask, Call, Fate, Phase, Up};
use crate::cause;
use crate::core::{Core, Owner};
use crate::credentials::{Signed, show_again};
use crate::io::{Hop, MediaPort, PeerLeg};
use crate::leg::{self, SDP};
use crate::plan::MediaPlace;
use crate::record::Fax;
use crate::timers::Timer;
use sdp::ice::Credentials;
use sdp::{Media, Refusal};
use sip_core::transaction::{ClientId, GIVE_UP, ServerId};
use sip_core::{Method, Name, Request, Response};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a re-INVITE that met one of theirs is sent again: each pause is at most 4 s, and the
/// side that asked does not wait much longer than ten.
const GLARES_MAX: u32 = 3;
/// The longest Retry-After that is waited for: RFC 3261, 14.2 asks for 0 to 10 s.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// A re-INVITE of ours that has no outcome yet.
pub(super) struct Renegotiation {
    /// The leg it is for.
    on: PeerLeg,
    why: Why,
    /// What it offers.
    out: Media,
    stage: Stage,
    /// How often it met one of theirs.
    glares: u32,
    /// It was answered 500 with Retry-After once.
    waited: bool,
}

/// On whose account it is sent.
pub(super) enum Why {
    /// The other leg asks, and waits for the outcome.
    Asked(Box<Asker>),
    /// The other leg has what it wants already.
    Told,
    /// The other leg's UPDATE has asked, and was refused as this took too long.
    Lapsed,
    /// Nobody: it changes nothing and asks whether the far side is there.
    Refresh,
    /// Nobody: it tells a new key of ours.
    Rekey,
    /// Nobody: it tells another address of ours, which the leg has once that is agreed.
    Moved(MediaPlace, MediaPort),
}

/// A re-INVITE of theirs that has not been answered yet.
pub(super) struct Asker {
    pub(super) ask: Ask,
    pub(super) offer: Media,
}

enum Stage {
    /// It is out. Where its ACK goes if the call ends before its answer comes, and the ACK.
    Sent { client: ClientId, parting: Box<(Hop, Request)> },
    /// It is sent again then.
    Waits { until: Instant },
}

impl Renegotiation {
    /// Whether a request of this leg waits for it.
    pub(super) fn is_asked_by(&self, which: PeerLeg) -> bool {
        self.on == which.other() && matches!(self.why, Why::Asked(_))
    }

    /// Whether it is on its way to this leg.
    pub(super) fn is_out_on(&self, which: PeerLeg) -> bool {
        self.on == which && matches!(self.stage, Stage::Sent { .. })
    }

    /// Whether it is of our own accord, changes something, and waits for its next try.
    fn can_wait_longer(&self) -> bool {
        let own = matches!(self.why, Why::Rekey | Why::Moved(..));
        own && matches!(self.stage, Stage::Waits { .. })
    }

    fn is_of(&self, client: ClientId) -> bool {
        matches!(self.stage, Stage::Sent { client: ours, .. } if ours == client)
    }

    fn asker(self) -> Option<Asker> {
        match self.why {
            Why::Asked(asker) => Some(*asker),
            Why::Told | Why::Lapsed | Why::Refresh | Why::Rekey | Why::Moved(..) => None,
        }
    }
}

impl Call {
    /// Whether nothing new can be begun on leg `which`: a re-INVITE of ours has no outcome yet, or
    /// the last 200 of ours there no ACK.
    pub(super) fn is_busy(&self, which: PeerLeg) -> bool {
        let free = matches!(&self.phase, Phase::Up(up) if up.ours.is_none());
        !free || self.is_unacknowledged(which)
    }

    /// Whether a re-INVITE of ours has no outcome yet.
    pub(super) fn is_renegotiating(&self) -> bool {
        matches!(&self.phase, Phase::Up(up) if up.ours.is_some())
    }

    /// Whether it is for this leg.
    pub(super) fn is_renegotiating_on(&self, which: PeerLeg) -> bool {
        matches!(&self.phase, Phase::Up(up) if up.ours.as_ref().is_some_and(|it| it.on == which))
    }

    pub(super) fn is_unacknowledged(&self, which: PeerLeg) -> bool {
        self.at(which).is_some_and(|leg| leg.unacknowledged.is_some())
    }

    /// Sends a re-INVITE on leg `on`; its answer makes that of who asked.
    pub(super) fn renegotiate(
        &mut self,
        core: &mut Core,
        on: PeerLeg,
        why: Why,
        out: Media,
    ) -> Fate {
        if let Why::Asked(asker) = &why {
            match asker.ask.request.method {
                Method::Invite => core.servers.insert(asker.ask.server, self.id),
                _ => self.limit_update(core, &asker.ask),
            }
        }
        self.offer(core, Draft { on, why, out, glares: 0, waited: false })
    }

    fn offer(&mut self, core: &mut Core, draft: Draft) -> Fate {
        let plan = Arc::clone(&self.plan);
        let id = self.id;
        let Draft { on, why, out, glares, waited } = draft;
        let Some(leg) = self.leg(on) else { return Fate::Lives };
        let Some(hop) = leg.hop(core, &plan) else {
            return match why {
                Why::Asked(asker) => self.refuse(core, &asker.ask, &Refusal::OutOfTurn),
                Why::Refresh => self.refresh_refused(core, on, 503),
                Why::Moved(_, to) => {
                    self.stays(core, to);
                    Fate::Lives
                }
                Why::Told | Why::Lapsed | Why::Rekey => Fate::Lives,
            };
        };
        if let Why::Moved(_, to) = why {
            leg.negotiation.propose(to.advertise, to.rtp, to.rtp + 1);
            // Whom ICE has led to the old one checks again (RFC 8839, 4.4.1.1.1).
            leg.negotiation.restart_ice(Credentials::generate(&mut core.rng));
        }
        let mut invite = leg.request(core, Method::Invite);
        leg.session.timer.offer(&mut invite.headers);
        invite.set_body(SDP, leg.negotiation.make_offer(&out));
        let parting = Box::new((hop.clone(), leg.ack(core, invite.headers.cseq().number)));
        let client = core.request(hop, invite, Owner::Reinvite(id, on));
        core.arm(GIVE_UP, Timer::Reinvite { call: id, client });
        let stage = Stage::Sent { client, parting };
        if let Phase::Up(up) = &mut self.phase {
            up.ours = Some(Renegotiation { on, why, out, stage, glares, waited });
        }
        Fate::Lives
    }

    /// Leg `which` has asked who we are: our re-INVITE goes out again with credentials.
    pub(crate) fn reinvite_signed(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        client: ClientId,
        signed: Signed,
    ) -> Fate {
        let id = self.id;
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        let cseq = leg.dialog.next_cseq();
        let mut ack = leg.ack(core, cseq);
        let (after, invite) = core.send_signed(signed, cseq);
        show_again(&invite, &mut ack);
        core.arm(GIVE_UP, Timer::Reinvite { call: id, client: after });
        if let Phase::Up(up) = &mut self.phase
            && let Some(ours) = up.ours.as_mut().filter(|ours| ours.is_of(client))
            && let Stage::Sent { client, parting } = &mut ours.stage
        {
            *client = after;
            parting.1 = ack;
        }
        Fate::Lives
    }

    /// A response to our re-INVITE on leg `which`.
    pub(crate) fn reinvite_response(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        client: ClientId,
        hop: &Hop,
        response: &Response,
    ) -> Fate {
        if response.status < 200 {
            return Fate::Lives;
        }
        if let Hop::Flow { flow, .. } = hop {
            self.heard_on(which, flow);
        }
        core.clients.remove(&client);
        if response.status < 300 {
            self.acknowledge(core, which, client, response);
        }
        let Some(pending) = self.take_ours(client) else { return Fate::Lives };
        match response.status {
            200..=299 => self.renegotiated(core, pending, response),
            status => match self.pause(core, &pending, response) {
                Some(pause) => {
                    if let Some(leg) = self.leg(pending.on) {
                        leg.negotiation.rollback();
                    }
                    self.wait(core, pending, status, pause)
                }
                None => self.renegotiation_failed(core, pending, status),
            },
        }
    }

    /// The other side has accepted.
    fn renegotiated(
        &mut self,
        core: &mut Core,
        pending: Renegotiation,
        response: &Response,
    ) -> Fate {
        let (on, offered) = (pending.on, pending.out.direction);
        let faxes = pending.out.fax.is_some();
        let Some(leg) = self.leg(on) else { return Fate::Lives };
        let answer =
            leg.negotiation.receive_answer(&leg::sdp_of(&response.headers, response.body()));
        if answer.is_err() {
            leg.negotiation.rollback();
        }
        self.session_accepted(core, on, response);
        let told = !matches!(pending.why, Why::Refresh | Why::Rekey | Why::Moved(..));
        if let Phase::Up(up) = &mut self.phase
            && told
        {
            match on {
                PeerLeg::A => up.asked.1 = offered,
                PeerLeg::B => up.asked.0 = offered,
            }
        }
        match pending.why {
            Why::Moved(place, to) if answer.is_ok() => self.has_moved(core, on, (place, to)),
            Why::Moved(_, to) => self.stays(core, to),
            _ => {}
        }
        let lapsed = matches!(pending.why, Why::Lapsed);
        let Some(Asker { ask, offer }) = pending.asker() else {
            self.agreed(core);
            return if lapsed { self.take_back(core, on) } else { self.settled(core) };
        };
        let body = answer.and_then(|(media, _)| {
            let mut answer = media;
            // A hold was translated, so its answer is translated back (TDR-HLD-001).
            if offered != offer.direction {
                answer.direction = offer.direction.reversed();
            }
            self.answer_from_there(core, &ask, |leg| leg.answer_like(&answer))
        });
        let refused = body.is_err();
        self.accept(core, &ask, body);
        match faxes && refused {
            true => self.speaks_again(core, on),
            false => self.settled(core),
        }
    }

    /// The other side has agreed to what the asker was refused: it is asked for what holds.
    fn take_back(&mut self, core: &mut Core, on: PeerLeg) -> Fate {
        let asker = self.leg(on.other()).and_then(|leg| leg.negotiation.last_remote().cloned());
        let out = asker.and_then(|holds| self.crossing(on.other(), &holds));
        out.map_or(Fate::Lives, |out| self.renegotiate(core, on, Why::Told, out))
    }

    /// Gives up what waits for the request in this transaction; on whose account it was sent.
    pub(super) fn lapse(&mut self, core: &mut Core, server: ServerId) -> Option<Why> {
        let Phase::Up(up) = &mut self.phase else { return None };
        let asks = |why: &Why| matches!(why, Why::Asked(asker) if asker.ask.server == server);
        let ours = up.ours.as_mut().filter(|ours| asks(&ours.why))?;
        let why = std::mem::replace(&mut ours.why, Why::Lapsed);
        match ours.stage {
            Stage::Sent { client, .. } => core.cancel(client, None),
            Stage::Waits { .. } => up.ours = None,
        }
        Some(why)
    }

    fn acknowledge(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        client: ClientId,
        response: &Response,
    ) {
        let plan = Arc::clone(&self.plan);
        let Some(leg) = self.leg(which) else { return };
        leg.dialog.refresh(response);
        let mut ack = leg.ack(core, response.headers.cseq().number);
        if let Phase::Up(Up { ours: Some(ours), .. }) = &self.phase
            && let Stage::Sent { client: of, parting } = &ours.stage
            && *of == client
        {
            show_again(&parting.1, &mut ack);
        }
        let Some(leg) = self.leg(which) else { return };
        if let Some(to) = leg.hop(core, &plan) {
            core.acknowledge(client, to, ack);
        }
    }

    fn take_ours(&mut self, client: ClientId) -> Option<Renegotiation> {
        let Phase::Up(up) = &mut self.phase else { return None };
        up.ours.take_if(|ours| ours.is_of(client))
    }

    /// How long to wait before the re-INVITE is tried again, if it is to be (RFC 3261, 14.1): the
    /// owner of the Call-ID waits longer, so that one of two succeeds.
    fn pause(
        &mut self,
        core: &mut Core,
        pending: &Renegotiation,
        response: &Response,
    ) -> Option<Duration> {
        match response.status {
            491 if pending.glares < GLARES_MAX => {
                let tens = match self.leg(pending.on)?.invited.is_some() {
                    true => 210 + tens_below(core, 191),
                    false => tens_below(core, 201),
                };
                Some(Duration::from_millis(tens * 10))
            }
            422 => {
                let raised = self.leg(pending.on)?.session.raise(&response.headers);
                raised.then_some(Duration::ZERO)
            }
            500 if !pending.waited => {
                let value = response.headers.get(Name::RetryAfter)?;
                let value = std::str::from_utf8(value).ok()?;
                let digits = value.split([';', '(']).next()?.trim();
                let after = Duration::from_secs(digits.parse().ok()?);
                (after <= RETRY_AFTER_MAX).then_some(after)
            }
            _ => None,
        }
    }

    /// It is tried again later. Until then theirs may go first.
    fn wait(
        &mut self,
        core: &mut Core,
        pending: Renegotiation,
        status: u16,
        pause: Duration,
    ) -> Fate {
        let stage = Stage::Waits { until: core.now.mono + pause };
        core.arm(pause, Timer::Again(self.id));
        if let Phase::Up(up) = &mut self.phase {
            let glares = pending.glares + u32::from(status == 491);
            let waited = pending.waited || status == 500;
            up.ours = Some(Renegotiation { stage, glares, waited, ..pending });
        }
        Fate::Lives
    }

    /// A far side asks for something while a key or an address of ours waits to be told after a glare, to
    /// either: that goes first.
    pub(super) fn ours_gives_way(&mut self, core: &mut Core) {
        let Phase::Up(up) = &mut self.phase else { return };
        let Some(ours) = up.ours.take_if(|ours| ours.can_wait_longer()) else { return };
        match ours.why {
            Why::Rekey => self.media.owes_key[usize::from(ours.on == PeerLeg::B)] = true,
            Why::Moved(place, to) => {
                core.release_ports(to);
                self.owed_move(ours.on).get_or_insert(place);
            }
            Why::Asked(_) | Why::Told | Why::Lapsed | Why::Refresh => {}
        }
    }

    /// The pause after a glare is over.
    pub(crate) fn try_again(&mut self, core: &mut Core) -> Fate {
        let now = core.now.mono;
        let due =
            |ours: &mut Renegotiation| matches!(ours.stage, Stage::Waits { until } if until <= now);
        let Phase::Up(up) = &mut self.phase else { return Fate::Lives };
        let Some(ours) = up.ours.take_if(due) else {
            // What has given way, and was not told since, is told now.
            let free = up.ours.is_none() && !self.is_being_transferred();
            return if free { self.settled(core) } else { Fate::Lives };
        };
        if self.is_unacknowledged(ours.on) {
            // Theirs went first, and its ACK is not here yet.
            return self.wait(core, ours, 0, ACK_PAUSE);
        }
        let Renegotiation { on, why, mut out, glares, waited, .. } = ours;
        if matches!(why, Why::Refresh | Why::Rekey | Why::Moved(..))
            && let Some(now) = self.leg(on).and_then(|leg| leg.negotiation.last_local_media())
        {
            // It may be on hold by now.
            out = now.clone();
        }
        self.offer(core, Draft { on, why, out, glares, waited })
    }

    /// The other side refused: the call stays as it was (TDR-DLG-017), unless it is gone there.
    fn renegotiation_failed(
        &mut self,
        core: &mut Core,
        pending: Renegotiation,
        status: u16,
    ) -> Fate {
        // The other leg's offer goes with ours only if it is the same.
        let asker = matches!(pending.why, Why::Asked(_)).then(|| pending.on.other());
        for which in [Some(pending.on), asker].into_iter().flatten() {
            if let Some(leg) = self.leg(which) {
                leg.negotiation.rollback();
            }
        }
        if let Why::Moved(_, to) = pending.why {
            self.stays(core, to);
        }
        if matches!(pending.why, Why::Refresh) {
            return match self.refresh_refused(core, pending.on, status) {
                Fate::Lives => self.settled(core),
                Fate::Done => Fate::Done,
            };
        }
        if pending.out.fax.is_some() && matches!(pending.why, Why::Asked(_)) {
            self.note_fax(core, Fax::Refused);
        }
        let gone = matches!(status, 408 | 481);
        let status = if gone { 481 } else { cause::across(status) };
        self.answer_asker(core, pending.asker(), status);
        if gone {
            let word = "dialog_gone";
            return self.hang_up(core, None, Some("SIP;cause=481"), word);
        }
        self.settled(core)
    }

    /// Our re-INVITE was never answered (408), or could not be sent, which counts as 503 and does
    /// not end the call (RFC 3261, 8.1.3.1 and 12.2.1.2).
    pub(crate) fn reinvite_lost(&mut self, core: &mut Core, client: ClientId, status: u16) -> Fate {
        match self.take_ours(client) {
            Some(pending) => self.renegotiation_failed(core, pending, status),
            None => Fate::Lives,
        }
    }

    /// CANCEL of a re-INVITE: ours goes on, and what the other side makes of it is the answer. Its
    /// 487 leaves the state before; its 200 may have crossed the CANCEL, and then both sides have
    /// what they agreed. One that waits for its next try is given up.
    pub(crate) fn reinvite_cancelled(&mut self, core: &mut Core, server: ServerId) -> Fate {
        let Phase::Up(up) = &mut self.phase else { return Fate::Lives };
        let asks = |why: &Why| matches!(why, Why::Asked(asker) if asker.ask.server == server);
        let Some(ours) = up.ours.take_if(|ours| asks(&ours.why)) else { return Fate::Lives };
        match &ours.stage {
            Stage::Sent { client, .. } => {
                core.cancel(*client, None);
                up.ours = Some(ours);
                Fate::Lives
            }
            Stage::Waits { .. } => self.renegotiation_failed(core, ours, 487),
        }
    }

    /// Our re-INVITE was heard and never answered: it is cancelled, which ends it in time.
    pub(crate) fn reinvite_overdue(&mut self, core: &mut Core, client: ClientId) -> Fate {
        if let Phase::Up(up) = &self.phase
            && up.ours.as_ref().is_some_and(|ours| ours.is_of(client))
        {
            core.cancel(client, None);
        }
        Fate::Lives
    }

    /// The call ends while a re-INVITE of ours has no outcome.
    pub(super) fn drop_renegotiation(&mut self, core: &mut Core) {
        let Phase::Up(up) = &mut self.phase else { return };
        let Some(Renegotiation { why, stage, .. }) = up.ours.take() else { return };
        match why {
            Why::Asked(asker) => self.answer_asker(core, Some(*asker), 487),
            Why::Moved(_, to) => core.release_ports(to),
            Why::Told | Why::Lapsed | Why::Refresh | Why::Rekey => {}
        }
        if let Stage::Sent { client, parting } = stage {
            core.cancel(client, None);
            core.clients.insert(client, Owner::Ended(parting));
        }
    }

    /// Refuses the re-INVITE that waits for one of ours, if there is one.
    fn answer_asker(&self, core: &mut Core, asker: Option<Asker>, status: u16) {
        if let Some(Asker { ask, .. }) = asker {
            core.servers.remove(ask.server);
            self.answer(core, &ask, status);
        }
    }
}

/// A re-INVITE before it is sent.
struct Draft {
    on: PeerLeg,
    why: Why,
    out: Media,
    glares: u32,
    waited: bool,
}

/// How long to wait for the ACK of who went first: a round trip or two.
const ACK_PAUSE: Duration = Duration::from_millis(500);

/// A number below `bound` by chance: tens of milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction of a small bound"
)]
fn tens_below(core: &mut Core, bound: u32) -> u64 {
    (core.random_fraction() * f64::from(bound)) as u64
}
