//! Changes of a call that is up: hold, resume and refresh, from either side (RFC 3261, 14).

use crate::call::{Call, State};
use crate::core::{Asked, Core};
use crate::io::Event;
use crate::mp_sdp::Role;
use media::Now;
use rand_core::RngCore;
use sdp::ice::Credentials;
use sdp::{Direction, Media};
use sip_core::transaction::{ClientId, ServerId};
use sip_core::{Method, Name, Request, Response};
use std::time::Duration;

/// What a re-INVITE of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Hold,
    Resume,
    /// Nothing new (TDR-DLG-013).
    Refresh,
    /// ICE anew, as when a call moves to another client (TDR-XFR-050).
    Restart,
    /// On hold with music from another source (TDR-HLD-003).
    Music,
    /// From another source, both ways.
    Move,
}

impl Wish {
    const fn moves(self) -> bool {
        matches!(self, Self::Music | Self::Move)
    }
}

/// A re-INVITE under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    wish: Wish,
    way: Way,
    cseq: u32,
}

/// How it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Reinvite,
    /// A re-INVITE without an offer, which asks for one.
    Offerless,
    Update,
    /// An UPDATE without an offer: nothing but a refresh.
    BareUpdate,
}

impl Way {
    const fn method(self) -> Method {
        match self {
            Self::Reinvite | Self::Offerless => Method::Invite,
            Self::Update | Self::BareUpdate => Method::Update,
        }
    }

    const fn offers(self) -> bool {
        matches!(self, Self::Reinvite | Self::Update)
    }

    /// One that this agent can, by chance.
    fn choose(core: &mut Core, wish: Wish) -> Self {
        let Some(abilities) = core.persona.abilities() else { return Self::Reinvite };
        if wish.moves() {
            return Self::Reinvite;
        }
        let (update, offerless) = (abilities.update, abilities.offerless);
        if !update && !offerless {
            return Self::Reinvite;
        }
        let chance = core.rng.next_u32() % 4;
        match (wish, chance) {
            (Wish::Refresh, 0) if update => Self::BareUpdate,
            (_, 0 | 1) if update => Self::Update,
            (Wish::Refresh, 2) if offerless => Self::Offerless,
            _ => Self::Reinvite,
        }
    }
}

impl Call {
    /// Sends a re-INVITE; whether the call is in a state for one.
    pub(crate) fn change(&mut self, core: &mut Core, now: Now, wish: Wish) -> bool {
        if !matches!(&self.state, State::Up(up) if up.change.is_none()) {
            return false;
        }
        if wish.moves() && !self.begin_move(core) {
            return false;
        }
        let State::Up(up) = &mut self.state else { return false };
        let way = Way::choose(core, wish);
        let last = self.negotiation.last_local_media().cloned();
        let direction = match wish {
            Wish::Hold => core.persona.hold(),
            Wish::Resume | Wish::Move => Direction::SendRecv,
            Wish::Music => Direction::SendOnly,
            Wish::Refresh | Wish::Restart => {
                last.as_ref().map_or(Direction::SendRecv, |media| media.direction)
            }
        };
        let media = Media { direction, ..last.unwrap_or_else(|| core.persona.offers()) };
        let mut request = up.dialog.request(way.method());
        up.change = Some(Change { wish, way, cseq: request.headers.cseq().number });
        let next = up.dialog.next_hop();
        request.headers.push(Name::Contact, self.contact.clone());
        if way.method() == Method::Invite {
            core.persona.extend(&mut request.headers);
        }
        self.session.offer(&mut request.headers);
        if wish == Wish::Restart {
            self.negotiation.restart_ice(Credentials::generate(&mut core.rng));
        }
        if way.offers() {
            let offer = self.negotiation.make_offer(&media);
            let offer = core.persona.dress(&offer, Role::Offer, &self.dress);
            request.set_body("application/sdp", offer);
            self.sound.expect_checks(self.negotiation.ice_offered().as_ref());
        }
        let hop = core.persona.next_hop(&next, &self.hop);
        let asked = match way.method() {
            Method::Update => Asked::Update(self.id),
            _ => Asked::Reinvite(self.id),
        };
        core.request(now.mono, &hop, request, asked);
        true
    }

    /// A response to our re-INVITE.
    pub(crate) fn change_response(
        &mut self,
        core: &mut Core,
        now: Now,
        client: ClientId,
        response: &Response,
    ) {
        if response.status < 200 {
            return;
        }
        let State::Up(up) = &mut self.state else {
            // Our BYE has overtaken it.
            return;
        };
        let Some(change) = up.change.take() else { return };
        if response.status >= 300 {
            if response.status == 422 && self.session.was_too_small(&response.headers) {
                up.retry = Some((now.mono, change.wish));
            }
            return self.change_refused(core, now, change, response.status);
        }
        up.dialog.refresh(response);
        let dialog = up.dialog.clone();
        self.session.accepted(now.mono, &response.headers);
        match change.way {
            Way::Reinvite => self.acknowledge(core, now, client, &dialog, change.cseq, None),
            Way::Offerless => {
                let answer = self.answer_theirs(core, now, response.body());
                self.acknowledge(core, now, client, &dialog, change.cseq, answer);
                return core.emit(Event::Refreshed { call: self.id });
            }
            Way::Update => {}
            Way::BareUpdate => return core.emit(Event::Refreshed { call: self.id }),
        }
        let body = core.persona.understand(self.negotiation.last_local(), response.body());
        match self.negotiation.receive_answer(&body) {
            Ok((_, stream)) => {
                if change.wish.moves() {
                    self.end_move(core);
                }
                match change.wish {
                    Wish::Hold | Wish::Music => self.on_hold = true,
                    Wish::Resume | Wish::Move => self.on_hold = false,
                    Wish::Refresh | Wish::Restart => {
                        core.emit(Event::Refreshed { call: self.id });
                    }
                }
                self.agree(core, now, &stream, Role::Offer, true);
            }
            Err(_) => self.change_refused(core, now, change, 488),
        }
    }

    fn change_refused(&mut self, core: &mut Core, now: Now, change: Change, status: u16) {
        self.negotiation.rollback();
        if change.wish.moves() {
            self.undo_move(core);
        }
        self.session.refused(now.mono);
        let State::Up(up) = &mut self.state else { return };
        match status {
            491 => {
                // Whose Call-ID it is waits longer (RFC 3261, 14.1).
                let spread = core.rng.next_u32() % 190;
                let wait = if up.owner { 2100 + 10 * spread } else { 10 * spread };
                let at = now.mono + Duration::from_millis(u64::from(wait));
                up.retry = Some((at, change.wish));
            }
            408 | 481 => self.hang_up(core, now),
            _ => core.emit(Event::ChangeRefused { call: self.id, status }),
        }
    }

    /// Our re-INVITE found no answer, or could not be sent.
    pub(crate) fn change_failed(&mut self, core: &mut Core, now: Now, status: u16) {
        let State::Up(up) = &mut self.state else { return };
        if let Some(change) = up.change.take() {
            self.change_refused(core, now, change, status);
        }
    }

    /// The far side's re-INVITE.
    pub(crate) fn changed(
        &mut self,
        core: &mut Core,
        now: Now,
        server: ServerId,
        request: &Request,
    ) {
        let State::Up(up) = &mut self.state else {
            return core.answer(now.mono, server, request, 491, None);
        };
        if up.change.is_some() {
            return core.answer(now.mono, server, request, 491, None);
        }
        if up.dialog.receive(request).is_err() {
            return core.answer(now.mono, server, request, 500, None);
        }
        if self.refuses_interval(core, now, server, request) {
            return;
        }
        if self.negotiation.wants_credentials() {
            self.negotiation.spare_credentials(Credentials::generate(&mut core.rng));
        }
        if self.negotiation.receive_offer(request.body()).is_err() {
            return core.answer(now.mono, server, request, 488, None);
        }
        let refresh = self.negotiation.is_refresh();
        let direction = if self.on_hold { core.persona.hold() } else { Direction::SendRecv };
        let answered = match refresh {
            true => self.negotiation.answer_refresh(),
            false => self.negotiation.make_answer(&Media { direction, ..core.persona.answers() }),
        };
        let Ok((body, stream)) = answered else {
            self.negotiation.rollback();
            return core.answer(now.mono, server, request, 488, None);
        };
        self.seen.sdp = Some(request.body().clone());
        let body = core.persona.dress(&body, Role::Answer, &self.dress);
        if request.method == Method::Invite {
            core.servers.insert(server, self.id);
        }
        self.accept(core, now, server, request, &body);
        if refresh {
            core.emit(Event::Refreshed { call: self.id });
        }
        self.agree(core, now, &stream, Role::Answer, false);
    }
}
