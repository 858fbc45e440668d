//! A call: two legs and the rule that pairs them. Each phase has its own file.

mod align;
mod asking;
mod attempt;
mod authorized;
mod candidates;
mod destination;
mod early;
mod explain;
mod failover;
pub(crate) mod fax;
mod guard;
mod help;
pub(crate) mod incoming;
pub(crate) mod keys;
mod noticed;
pub(crate) mod numbers;
mod offerless;
mod place;
mod ports;
mod preempted;
mod progress;
mod redirect;
mod referral;
mod reinvite;
mod reliable;
mod renegotiate;
mod replace;
mod replay;
mod ringing;
mod ruling;
mod session;
mod setup;
mod sounds;
mod srtp_keys;
mod teams;
mod teardown;
mod transcoding;
mod transfer;
mod update;

pub(crate) use asking::{ASKING_MAX, Asking};
pub(crate) use attempt::hang_up_late;
pub(crate) use explain::explain;
pub use explain::{Explanation, Inquiry, TargetState, When};
pub(crate) use reliable::lacks_reliable;
pub(crate) use replace::Newcomer;
pub use replay::{Destination, PastInvite, Refusal, Replay, Unasked};

use crate::core::Core;
use crate::fraud::Toll;
use crate::headers::Crossing;
use crate::io::{CallId, CallView, Flow, MediaPorts, Output, PeerLeg};
use crate::leg::{self, Leg};
use crate::party::{Called, Caller};
use crate::plan::{MediaPlace, Plan, RouteFrom, Tenant};
use crate::record::Record;
use crate::routing::Trace;
use bytes::Bytes;
use numbers::Whose;
use renegotiate::Renegotiation;
use sdp::{Carriage, Direction, IceOffered, Order, Silence};
use setup::Setup;
use sip_core::transaction::ServerId;
use sip_core::{Method, Name, Request, Response};
use std::sync::Arc;
use std::time::Instant;
use transfer::Transfers;

/// One call.
pub(crate) struct Call {
    pub(crate) id: CallId,
    /// The snapshot in force when its INVITE came; the call keeps it.
    plan: Arc<Plan>,
    direction: RouteFrom,
    tenant: String,
    /// It was made to an emergency number.
    emergency: bool,
    /// The tenant's FQDN on the Teams leg of this call (TDR-MT-003).
    fqdn: String,
    /// The leg its INVITE came in on.
    a: Leg,
    /// The leg it went out on, once answered.
    b: Option<Leg>,
    phase: Phase,
    /// Provisional responses to leg A's caller, if it has them sent reliably.
    reliable: Option<Box<reliable::Provisional>>,
    media: Media,
    record: Record,
    began: Instant,
    /// The trunk that carries it out: counted in its limit.
    trunk_out: Option<String>,
    /// The trunk that carries who has taken the caller's place, counted likewise.
    trunk_moved: Option<String>,
    parties: Parties,
    transfers: Transfers,
    /// How it was ruled on, for its record.
    trace: Box<Trace>,
    /// Whether its speech is turned from one codec to another.
    transcoding: transcoding::Transcoding,
    /// What the legs count for at the fraud guard.
    tolls: (Option<Toll>, Option<Toll>),
    /// The number that its caller is shown under and can be called back at.
    elin: Option<Box<help::Elin>>,
}

/// Who called whom: a transfer calls another in the name of the one who stays.
struct Parties {
    caller: Caller,
    called: Called,
    crossing: Crossing,
    /// Max-Forwards of the INVITEs of this call.
    max_forwards: u8,
}

enum Phase {
    /// INVITE is on its way to one target after another.
    Setup(Box<Setup>),
    /// Answered.
    Up(Up),
    /// Over; waiting for the media's last counters.
    Ending,
}

/// An answered call.
struct Up {
    answered: Instant,
    /// Our re-INVITE, one at a time.
    ours: Option<Renegotiation>,
    /// The direction that leg A has asked of leg B by its offers, and leg B of leg A.
    asked: (Direction, Direction),
    held: bool,
}

/// The call's media, as far as it is open.
#[derive(Default)]
struct Media {
    ports: Option<MediaPorts>,
    /// Why nothing is heard from leg A, and from leg B; `None` where something is.
    silent: (Option<Silence>, Option<Silence>),
    /// How often leg A, and leg B, was told a new key of ours by a re-INVITE for its sake.
    rekeys: [u8; 2],
    /// Whether leg A, and leg B, is to be told one once nothing else is under way there.
    owes_key: [bool; 2],
    /// Where the far side of leg A, and of leg B, is, which its ports do not follow yet.
    moves: [Option<MediaPlace>; 2],
}

/// A request of the far side within a dialog, which waits for its response.
pub(crate) struct Ask {
    /// The leg it came in on.
    pub(crate) leg: PeerLeg,
    pub(crate) server: ServerId,
    pub(crate) request: Request,
}

/// Whether a call goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It does.
    Lives,
    /// Its record is written; forget it.
    Done,
}

impl Call {
    /// The leg, if it exists yet.
    fn at(&self, which: PeerLeg) -> Option<&Leg> {
        match which {
            PeerLeg::A => Some(&self.a),
            PeerLeg::B => self.b.as_ref(),
        }
    }

    /// The same, to be changed.
    fn leg(&mut self, which: PeerLeg) -> Option<&mut Leg> {
        match which {
            PeerLeg::A => Some(&mut self.a),
            PeerLeg::B => self.b.as_mut(),
        }
    }

    /// Remembers the flow the far side used last: in-dialog requests may come over another
    /// connection than the INVITE (TDR-IN-010).
    pub(crate) fn heard_on(&mut self, which: PeerLeg, flow: &Flow) {
        let plan = Arc::clone(&self.plan);
        if let Some(leg) = self.leg(which) {
            leg.heard_on(&plan, flow);
        }
    }

    /// The dialog's identity on this leg, as the far side's tag tells it.
    pub(crate) fn remote_tag(&self, which: PeerLeg) -> Option<&Bytes> {
        self.at(which).map(|leg| &leg.dialog.id().remote_tag)
    }

    /// A response on leg `which`, with what every response of ours carries there (TDR-IN-015,
    /// TDR-IN-016).
    fn response(leg: &Leg, request: &Request, status: u16) -> Response {
        let mut response = Response::to(request, status, Some(&leg.dialog.id().local_tag));
        if let Some(route) = leg.identity.record_route()
            && request.method == Method::Invite
            && (101..300).contains(&status)
        {
            response.headers.push_front(Name::RecordRoute, route);
        }
        response.headers.push(Name::Contact, leg.contact.clone());
        response.headers.push(Name::Allow, leg.identity.allow());
        response.headers.push(Name::Supported, crate::identity::EXTENSIONS);
        response.headers.push(Name::Server, crate::identity::PRODUCT);
        response
    }

    /// Gives both legs' streams to the media engine.
    fn connect(&mut self, core: &mut Core, mut a: Option<Carriage>, mut b: Option<Carriage>) {
        // An offer in our answer waits for its own.
        self.expect_checks(core, PeerLeg::A, self.a.negotiation.ice_offered());
        self.note_transcoding(core, a.as_ref(), b.as_ref());
        if self.is_fax() {
            self.note_fax(core, crate::record::Fax::T38);
        }
        for (which, carriage) in [(PeerLeg::A, &mut a), (PeerLeg::B, &mut b)] {
            if let Some(carriage) = carriage {
                carriage.terms.transcode = self.transcoding.allowed;
                carriage.terms.far_side = self.transfers.far_side(which);
            }
        }
        if let Some(ports) = self.media.ports {
            let (call, worker) = (self.id, ports.worker);
            let [a, b] = [a, b].map(|leg| leg.map(|leg| ports.not_to_themselves(leg)));
            core.outputs.push_back(Output::ConnectMedia { call, worker, a, b });
        }
    }

    /// An offer of ours has gone out: checks may overtake its answer (TDR-ICE-006).
    fn expect_checks(&self, core: &mut Core, leg: PeerLeg, offered: Option<IceOffered>) {
        if let Some(offered) = offered {
            self.order(core, leg, Order::ExpectChecks(offered));
        }
    }

    /// Has something done on a leg's media.
    fn order(&self, core: &mut Core, leg: PeerLeg, order: Order) {
        if let Some(ports) = self.media.ports {
            let (call, worker) = (self.id, ports.worker);
            core.outputs.push_back(Output::OrderMedia { call, worker, leg, order });
        }
    }

    /// CANCEL of the INVITE or re-INVITE in this transaction.
    pub(crate) fn cancel(&mut self, core: &mut Core, server: ServerId, request: &Request) -> Fate {
        match &self.phase {
            Phase::Setup(_) => self.cancelled(core, request),
            Phase::Up(_) => self.reinvite_cancelled(core, server),
            Phase::Ending => Fate::Lives,
        }
    }

    /// A request came in on one of the call's dialogs.
    pub(crate) fn asked(&mut self, core: &mut Core, ask: Ask, flow: &Flow) -> Fate {
        if ask.leg == PeerLeg::B && self.b.is_none() {
            return self.asked_early(core, &ask);
        }
        if self.leg(ask.leg).is_none_or(|leg| leg.dialog.receive(&ask.request).is_err()) {
            // RFC 3261, 12.2.2: an older CSeq than the last.
            core.respond(ask.server, Response::to(&ask.request, 500, None));
            return Fate::Lives;
        }
        // Only now: what is old says nothing of where the far side is.
        self.heard_on(ask.leg, flow);
        if let Some(leg) = self.leg(ask.leg) {
            leg.session.note(&ask.request.headers);
            if matches!(ask.request.method, Method::Invite | Method::Update) {
                leg::may_restart_ice(core, &mut leg.negotiation);
            }
        }
        match ask.request.method {
            Method::Invite => self.reinvite(core, ask),
            Method::Bye => self.bye(core, &ask),
            Method::Update => self.update(core, ask),
            Method::Options => self.options(core, &ask),
            Method::Info if !leg::is_teams(&self.plan, self.trunk_of(ask.leg)) => {
                self.info(core, &ask)
            }
            Method::Prack => self.prack(core, &ask),
            Method::Refer => self.refer(core, &ask),
            // It belongs to no subscription of ours.
            Method::Notify => self.answer(core, &ask, 481),
            _ => self.answer(core, &ask, 405),
        }
    }

    /// Whether it is a call of this tenant.
    pub(crate) fn is_of(&self, tenant: &str) -> bool {
        self.tenant == tenant
    }

    /// Whether it was made to an emergency number.
    pub(crate) const fn is_emergency(&self) -> bool {
        self.emergency
    }

    /// The tenant whose call it is, as it was when its INVITE came.
    fn own_tenant(&self) -> Option<&Tenant> {
        self.plan.tenant(&self.tenant)
    }

    /// Whose call it is: what of it is begun later is no emergency call.
    fn whose(&self) -> Whose {
        let emergency = self.emergency && matches!(self.phase, Phase::Setup(_));
        let tenant = self.plan.tenants.named(&self.tenant);
        Whose { tenant, from: self.direction, emergency }
    }

    fn trunk_of(&self, which: PeerLeg) -> usize {
        match (which, &self.b, &self.phase) {
            (PeerLeg::B, Some(leg), _) => leg.trunk,
            (PeerLeg::B, None, Phase::Setup(setup)) => {
                setup.attempt.as_ref().map_or(self.a.trunk, |attempt| attempt.trunk)
            }
            _ => self.a.trunk,
        }
    }

    /// Answers without a body.
    fn answer(&self, core: &mut Core, ask: &Ask, status: u16) -> Fate {
        core.respond(ask.server, self.reply(ask, status));
        Fate::Lives
    }

    /// A response to a request within a dialog.
    fn reply(&self, ask: &Ask, status: u16) -> Response {
        match (ask.leg, &self.b, &self.phase) {
            (PeerLeg::B, Some(leg), _) => Self::response(leg, &ask.request, status),
            (PeerLeg::B, None, Phase::Setup(setup)) => {
                let attempt = setup.attempt.as_ref();
                match attempt.and_then(|attempt| attempt.fork_of(&ask.request)) {
                    Some(fork) => Self::response(&fork.leg, &ask.request, status),
                    None => Response::to(&ask.request, status, None),
                }
            }
            _ => Self::response(&self.a, &ask.request, status),
        }
    }

    /// The call for the operator.
    pub(crate) fn view(&self, now: Instant) -> CallView {
        let state = match &self.phase {
            Phase::Setup(setup) if setup.ringing.told.is_some() => "ringing",
            Phase::Setup(_) => "trying",
            Phase::Up(up) if up.held => "held",
            Phase::Up(_) => "answered",
            Phase::Ending => "ending",
        };
        CallView {
            call: self.id,
            tenant: self.tenant.clone(),
            direction: self.direction,
            from: self.record.from.clone(),
            to: self.record.to.clone(),
            state,
            trunk_in: self.record.trunk_in.clone(),
            trunk_out: self.record.attempts.last().map(|attempt| attempt.trunk.clone()),
            age: now.saturating_duration_since(self.began),
            call_ids: (self.record.call_id_in.clone(), self.record.call_id_out.clone()),
            ports: self.media.ports.map(|ports| (ports.a.rtp, ports.b.rtp)),
            worker: self.media.ports.map(|ports| ports.worker),
            silent: matches!(self.phase, Phase::Up(_)).then_some(self.media.silent),
            fax: self.is_fax(),
        }
    }
}

/// Header text for a record or a log: what is not UTF-8 is replaced.
fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
