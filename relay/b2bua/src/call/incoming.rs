//! A new INVITE: which tenant, which route, may it come in, and what it offers.

use super::asking::{self, Asking};
use super::attempt::Invitation;
use super::candidates::{candidates, note_resting};
use super::failover::RouteTerms;
use super::numbers::{self, Numbers, Whose};
use super::ruling::{self, Advice, Bounds, Prepared, Question, Refused, Ruling};
use super::setup::Setup;
use super::transfer::Transfers;
use super::{Call, Fate, Media, Parties, Phase, text};
use super::{offerless, reliable};
use crate::admission::Entry;
use crate::core::Core;
use crate::headers::Crossing;
use crate::identity::Identity;
use crate::io::{CallId, Event, Flow, MediaPort, Now, Output, PeerLeg};
use crate::leg::{self, Leg};
use crate::lmo::{self, Verdict};
use crate::party::{Called, Caller};
use crate::plan::{MediaPlace, Plan, RouteFrom, Tenant};
use crate::record::{Record, TeamsLeg};
use crate::reject::Reject;
use crate::routing::{self, Trace};
use crate::session::Session;
use rand_core::RngCore as _;
use sdp::Refusal;
use sip_core::transaction::ServerId;
use sip_core::{Dialog, Name, Request, Response};
use std::sync::Arc;
use std::time::Duration;

/// Max-Forwards of an INVITE that came without one (RFC 3261, 16.6).
const MAX_FORWARDS: u8 = 70;

/// A new INVITE as the transport and the transaction layer hand it on.
pub(crate) struct NewCall {
    /// The number the call gets, should it become one.
    pub(crate) id: CallId,
    pub(crate) server: ServerId,
    pub(crate) flow: Flow,
    pub(crate) request: Request,
}

/// What is known of a new INVITE before anything is committed to it.
pub(crate) struct Arrival {
    new: Box<NewCall>,
    plan: Arc<Plan>,
    trunk: usize,
    direction: RouteFrom,
    caller: Caller,
    called: Called,
    max_forwards: u8,
    /// When it came: a hook may take its time.
    at: Now,
}

/// Whose call a new INVITE is.
struct Whom {
    tenant: usize,
    /// The name that the Teams leg speaks under.
    fqdn: String,
    numbers: Numbers,
    /// Whether an emergency number was dialled.
    emergency: bool,
}

/// What becomes of a new INVITE.
pub(crate) enum Begun {
    /// A call.
    Call(Box<Call>),
    /// Its tenant's routing hook is asked.
    Asks(Box<Asking>),
    /// A refusal: it leaves a record and nothing else.
    Refused,
}

impl Begun {
    fn of(call: Option<Call>) -> Self {
        call.map_or(Self::Refused, |call| Self::Call(Box::new(call)))
    }
}

/// An INVITE of which only is open where it goes.
pub(crate) struct Open {
    pub(super) prepared: Prepared,
    /// The tenant's FQDN on the Teams leg.
    fqdn: String,
    pub(super) trace: Trace,
}

/// Reads a new INVITE; one that names nobody that could be called is refused.
pub(crate) fn arrive(core: &mut Core, new: Box<NewCall>) -> Option<Arrival> {
    match Arrival::of(core, new) {
        Ok(arrival) => Some(arrival),
        Err(new) => {
            let NewCall { server, request, .. } = *new;
            let response = Response::to(&request, 484, Some(core.token().as_bytes()));
            core.respond(server, response);
            None
        }
    }
}

/// Makes a call of a new INVITE, or refuses it; `room` says whether it may wait for a hook.
pub(crate) fn begin(core: &mut Core, arrival: Arrival, open: Open, room: bool) -> Begun {
    let hook = match arrival.plan.tenants.get(open.prepared.question.tenant) {
        Some(tenant) if !open.prepared.emergency => tenant.hook.clone(),
        _ => None,
    };
    match hook {
        None => Begun::of(arrival.proceed(core, open, Advice::Table(None))),
        Some(hook) if room => {
            core.servers.insert(arrival.new.server, arrival.new.id);
            Begun::Asks(Asking::begin(core, arrival, open, hook))
        }
        Some(hook) => Begun::of(asking::no_room(core, &arrival, open, &hook)),
    }
}

impl Arrival {
    /// Whose call it is and what it asks for, before anybody is asked where it goes; one that cannot be
    /// made is refused.
    pub(crate) fn open(&self, core: &mut Core) -> Option<Open> {
        let mut trace = Trace::default();
        match self.prepare(core, &mut trace) {
            Ok((prepared, fqdn)) => Some(Open { prepared, fqdn, trace }),
            Err(refused) => {
                self.refuse(core, &refused, &trace);
                None
            }
        }
    }

    /// The INVITE comes back if it names nobody that could be called.
    fn of(core: &Core, new: Box<NewCall>) -> Result<Self, Box<NewCall>> {
        let plan = Arc::clone(&core.plan);
        let called = new.request.request_uri().ok().and_then(|uri| Called::of(&uri));
        let trunk = plan.trunk_named(&new.flow.trunk);
        let (Some(called), Some(trunk)) = (called, trunk) else { return Err(new) };
        let Some(of) = plan.trunks.get(trunk) else { return Err(new) };
        let direction = routing::direction_from(of.kind);
        let caller = Caller::of(&new.request.headers);
        let max_forwards = new.request.headers.max_forwards().unwrap_or(MAX_FORWARDS);
        Ok(Self { new, plan, trunk, direction, caller, called, max_forwards, at: core.now })
    }

    /// The tenant: by Request-URI host from Teams (TDR-IN-001), by called number from a carrier
    /// (TDR-MT-004). With it, the FQDN that the Teams leg speaks under.
    fn tenant(&self, called: &Called) -> Result<(usize, String), Refused> {
        let host = self.host();
        let unknown = |absent: Option<String>, why: String| match absent {
            Some(broken) => Refused::new(Reject::TenantInvalid, broken, None),
            None => Refused::new(Reject::UnknownTenant, why, None),
        };
        let absent = &self.plan.absent;
        match self.direction {
            RouteFrom::Teams => {
                let tenant = self.plan.tenant_of_fqdn(&host).ok_or_else(|| {
                    unknown(absent.fqdn(&host), format!("no tenant has the FQDN {host}"))
                })?;
                Ok((tenant, host))
            }
            RouteFrom::Carrier => {
                let number = &called.number;
                let tenant = self.plan.numbers.tenant(number).ok_or_else(|| {
                    unknown(absent.number(number), format!("no tenant has the number {number}"))
                })?;
                let of = self.plan.tenants.get(tenant);
                // An SBC behind us calls under its own name (TDR-LMO-004).
                let sbc = of.and_then(|of| of.sbcs.iter().find(|sbc| sbc.trunk == self.trunk));
                let fqdn = sbc.map(|sbc| &sbc.fqdn).or(of.and_then(|of| of.fqdns.first()));
                Ok((tenant, fqdn.unwrap_or(&self.plan.node.fqdn).clone()))
            }
        }
    }

    /// The host of the Request-URI.
    fn host(&self) -> String {
        let uri = self.new.request.request_uri();
        let host = uri.as_ref().map_or(&b""[..], |uri| uri.host);
        String::from_utf8_lossy(host).to_ascii_lowercase()
    }

    /// Whose call it is and under which numbers, as its trunk means them.
    fn whom(&self, trace: &mut Trace) -> Result<Whom, Refused> {
        let (called, caller) = (self.called.clone(), self.caller.clone());
        let mut numbers = Numbers { called, caller, crossing: self.crossing() };
        // Teams names the tenant by its FQDN, and only with the tenant an emergency number is one.
        let named = match self.direction {
            RouteFrom::Teams => Some(self.tenant(&numbers.called)?),
            RouteFrom::Carrier => None,
        };
        let tenant = named.as_ref().and_then(|(tenant, _)| self.plan.tenants.get(*tenant));
        let emergency = tenant.is_some_and(|tenant| {
            routing::is_emergency(tenant, self.direction, &numbers.called.number)
        });
        let whose = Whose { tenant: None, from: self.direction, emergency };
        numbers::received(&self.plan, self.trunk, whose, &mut numbers, trace);
        let (tenant, fqdn) = named.map_or_else(|| self.tenant(&numbers.called), Ok)?;
        Ok(Whom { tenant, fqdn, numbers, emergency })
    }

    /// The trunk of the SBC behind us that Teams calls.
    fn behind(&self, tenant: &Tenant) -> Option<usize> {
        let host = lmo::host_of(&self.new.request);
        lmo::behind(tenant, &host).filter(|_| self.direction == RouteFrom::Teams)
    }

    /// Where the caller's media is to be reached, and how that is counted.
    fn place(&self, tenant: usize, crossing: &Crossing) -> (MediaPlace, Option<&'static str>) {
        let optimised = self.plan.trunks.get(self.trunk).is_some_and(|it| it.inside.is_some());
        let (true, Some(said), Some(tenant)) =
            (optimised, crossing.place(), self.plan.tenants.get(tenant))
        else {
            return (MediaPlace::Outside, None);
        };
        match said.at_setup(&self.plan, tenant) {
            Verdict::At(MediaPlace::Inside) => (MediaPlace::Inside, Some("inside")),
            Verdict::At(MediaPlace::Outside) => (MediaPlace::Outside, Some("outside")),
            Verdict::Unknown => (MediaPlace::Outside, Some("lmo_path_unknown")),
        }
    }

    /// The caller's ports, and the worker of a call that leaves by `out`. Who calls for help is better told
    /// the wrong address than none.
    fn ports(
        &self,
        core: &mut Core,
        (tenant, out): (usize, usize),
        crossing: &Crossing,
        emergency: bool,
    ) -> Option<(MediaPort, usize)> {
        let (place, result) = self.place(tenant, crossing);
        if let (Some(result), Some(tenant)) = (result, self.plan.tenants.get(tenant)) {
            core.emit(Event::LocalMedia { tenant: tenant.name.clone(), result });
        }
        let legs = [(self.trunk, place), (out, MediaPlace::Inside)];
        let worker = core.ports.worker(core.now.mono, &self.plan, legs);
        let mut take = |place| core.take_ports_at(&self.plan, (self.trunk, place), worker);
        let port = match take(place) {
            None if emergency => take(place.other()),
            port => port,
        };
        Some((port?, worker))
    }

    /// The trunks of both legs, and from where they are reached, if this calls for help and is a call
    /// that will be tried: nobody gives way to one that is refused. Nor does anybody to who calls back to
    /// an ELIN.
    pub(crate) fn legs_for_help(
        &self,
        core: &mut Core,
        open: &Open,
    ) -> Option<[(usize, MediaPlace); 2]> {
        let Open { prepared, fqdn, .. } = open;
        if !prepared.emergency || self.direction != RouteFrom::Teams {
            return None;
        }
        let decided = || Some(prepared.decide(&self.plan, &mut Trace::default()).ok()?.trunks);
        let behind = prepared.question.behind.map(|trunk| vec![trunk]);
        let trunks = behind.or_else(decided)?;
        let candidates = candidates(core, &self.plan, (&trunks, fqdn), true);
        if candidates.iter().all(|candidate| candidate.to.is_err()) {
            return None;
        }
        let out = candidates.first()?.trunk;
        let tenant = prepared.question.tenant;
        let place = self.place(tenant, &prepared.question.numbers.crossing).0;
        let (home, ports) = self.plan.media_at(self.trunk, place)?;
        let dscp = self.plan.dscp_of(self.trunk);
        let (bind, advertise, rtp) = (home.bind, home.advertise, *ports.start());
        let anywhere = MediaPort { bind, advertise, rtp, dscp };
        let whose = Whose { tenant: Some(tenant), from: self.direction, emergency: true };
        let session = self.session().ok()?;
        self.leg(core, anywhere, (fqdn, whose), session).ok()?;
        Some([(self.trunk, place), (out, MediaPlace::Inside)])
    }

    /// The terms of the session, unless its interval is too small.
    fn session(&self) -> Result<Session, String> {
        let headers = &self.new.request.headers;
        let mut session = Session::new(&self.plan, self.trunk);
        session.note(headers);
        match session.timer.judge(headers) {
            Err(small) => Err(small.to_string()),
            Ok(()) => Ok(session),
        }
    }

    fn question(
        &self,
        core: &mut Core,
        tenant: usize,
        numbers: Numbers,
        emergency: bool,
    ) -> Question {
        Question {
            tenant,
            from: self.direction,
            via: self.trunk,
            numbers,
            emergency,
            at: self.at.wall,
            draw: core.rng.next_u64(),
            behind: self.plan.tenants.get(tenant).and_then(|tenant| self.behind(tenant)),
        }
    }

    /// Whether somebody who has answered a call for help calls back: then who had called is called,
    /// whatever number stood for the place (TDR-EMG-005).
    fn calls_back(
        &self,
        core: &Core,
        tenant: usize,
        numbers: &mut Numbers,
        trace: &mut Trace,
    ) -> bool {
        let Some(tenant) = self.plan.tenants.get(tenant) else { return false };
        let elin = numbers.called.clone().with_plus().number;
        let user = core.callbacks.user(core.now.mono, &tenant.name, &elin);
        let Some(user) = user else { return false };
        trace.note(format!("called {elin} -> {user} (calls back to an ELIN)"));
        numbers.called = Called::by_user(user);
        true
    }

    fn prepare(&self, core: &mut Core, trace: &mut Trace) -> Result<(Prepared, String), Refused> {
        if core.stopping {
            return Err(Refused::new(Reject::Draining, "the host is stopping", None));
        }
        let Whom { tenant, fqdn, mut numbers, mut emergency } = self.whom(trace)?;
        match self.direction {
            RouteFrom::Teams => {
                core.microsoft.called(core.now.mono, &self.new.flow.trunk, &fqdn);
            }
            // Nothing holds it back either, as it is the other half of a call for help.
            RouteFrom::Carrier => emergency = self.calls_back(core, tenant, &mut numbers, trace),
        }
        if self.max_forwards == 0 {
            return Err(Refused::new(Reject::Loop, "Max-Forwards ran out", Some(tenant)));
        }
        let question = self.question(core, tenant, numbers, emergency);
        let mut prepared = ruling::prepare(&self.plan, question, trace)?;
        if let Some(why) = drained(core, &self.plan, &prepared) {
            return Err(Refused::new(Reject::Draining, why, Some(tenant)));
        }
        let crossing = &mut prepared.question.numbers.crossing;
        *crossing = std::mem::take(crossing).for_emergency(prepared.emergency);
        // Nobody need be asked where a call goes that cannot be made.
        match crossing.refusal() {
            Some((reject, why)) => Err(Refused::new(reject, why, Some(tenant))),
            None => Ok((prepared, fqdn)),
        }
    }

    /// Makes the call, or refuses it.
    pub(super) fn proceed(&self, core: &mut Core, open: Open, advice: Advice) -> Option<Call> {
        let Open { prepared, fqdn, mut trace } = open;
        let mut call = match self.admit(core, prepared, fqdn, advice, &mut trace) {
            Ok(call) => call,
            Err(refused) => {
                self.refuse(core, &refused, &trace);
                return None;
            }
        };
        core.servers.insert(self.new.server, call.id);
        core.dialogs.insert(call.a.key(), (call.id, PeerLeg::A));
        core.emit(Event::CallStarted { direction: call.direction, tenant: call.tenant.clone() });
        call.arm_progress(core);
        match call.try_next(core) {
            Fate::Lives => Some(call),
            Fate::Done => {
                core.outputs.push_back(call.into_record());
                None
            }
        }
    }

    fn admit(
        &self,
        core: &mut Core,
        prepared: Prepared,
        fqdn: String,
        advice: Advice,
        trace: &mut Trace,
    ) -> Result<Call, Refused> {
        let request = &self.new.request;
        let tenant = prepared.question.tenant;
        let refused = |reject, why: &str| Refused::new(reject, why, Some(tenant));
        let ruling = ruling::settle(Bounds::of(core), &self.plan, prepared, advice, trace)?;
        let Ruling { numbers, decision, classes, elin } = ruling;
        let Numbers { called, caller, crossing } = numbers;
        let whose =
            Whose { tenant: Some(tenant), from: self.direction, emergency: decision.emergency };
        let way = (&*decision.trunks, fqdn.as_str());
        let candidates = candidates(core, &self.plan, way, decision.emergency);
        note_resting(&self.plan, &candidates, trace);
        let Some(first) = candidates.first() else {
            return Err(Refused::new(Reject::TrunkDown, decision.why, Some(tenant)));
        };
        let session = self.session().map_err(|small| refused(Reject::SessionTooShort, &small))?;
        // The ports come first: the offer cannot be read into a leg that has no address.
        let trunk_b = first.trunk;
        let ports = self.ports(core, (tenant, trunk_b), &crossing, decision.emergency);
        let Some((port_a, worker)) = ports else {
            return Err(refused(Reject::NoMediaPort, "no media port is free"));
        };
        let undo = |core: &mut Core| core.release_ports(port_a);
        let read = self.leg(core, port_a, (&fqdn, whose), session);
        let (a, offer) = read.map_err(|(reject, why)| {
            undo(core);
            Refused::new(reject, why, Some(tenant))
        })?;
        let emergency = decision.emergency;
        let entry = Entry { trunk: self.trunk, tenant, from: self.direction, emergency };
        if let Err(full) = core.admission.begin(core.now.mono, &self.plan, entry) {
            undo(core);
            return Err(refused(full.reject, &full.why));
        }
        let mut record = self.record();
        record.tenant = self.plan.tenants.get(tenant).map(|tenant| tenant.name.clone());
        record.fqdn = Some(fqdn.clone());
        record.route = decision.why;
        let invitation = Invitation {
            caller: caller.clone(),
            called: called.clone(),
            max_forwards: self.max_forwards - 1,
            crossing: crossing.clone(),
            offer,
            whose,
            referred: None,
        };
        let parties = Parties { caller, called, crossing, max_forwards: self.max_forwards - 1 };
        let terms = RouteTerms::of(self.plan.tenants.get(tenant), decision.route);
        let setup = Setup::new(self.new.server, request.clone(), invitation, terms, candidates);
        let mut call = Call {
            id: self.new.id,
            plan: Arc::clone(&self.plan),
            direction: self.direction,
            tenant: record.tenant.clone().unwrap_or_default(),
            emergency,
            fqdn,
            a,
            b: None,
            phase: Phase::Setup(Box::new(setup)),
            reliable: reliable::Provisional::wanted(core, &self.plan, self.trunk, request)
                .map(Box::new),
            media: Media::default(),
            record,
            began: self.at.mono,
            trunk_out: None,
            trunk_moved: None,
            parties,
            transfers: Transfers::default(),
            trace: Box::new(std::mem::take(trace)),
            transcoding: super::transcoding::Transcoding::default(),
            tolls: (None, None),
            elin: elin.map(Box::new),
        };
        if !call.open_media(core, worker, port_a, trunk_b) {
            undo(core);
            let of = (call.tenant.as_str(), call.direction);
            core.admission.end(&core.plan, &call.record.trunk_in, of);
            return Err(refused(Reject::NoMediaPort, "no media port is free"));
        }
        call.lend_elin(core);
        let toll = call.begin_toll(core, classes);
        call.takes_toll(core, PeerLeg::B, toll);
        Ok(call)
    }

    fn crossing(&self) -> Crossing {
        let trunk = self.plan.trunks.get(self.trunk);
        let read = |trunk| Crossing::of(trunk, &self.caller, &self.new.request);
        trunk.map(read).unwrap_or_default()
    }

    /// The caller's leg at this media address and port, and what it offers.
    fn leg(
        &self,
        core: &mut Core,
        port: MediaPort,
        (fqdn, whose): (&str, Whose),
        session: Session,
    ) -> Result<(Leg, sdp::Media), (Reject, String)> {
        let request = &self.new.request;
        let mut negotiation = leg::negotiation(core, &self.plan, (self.trunk, whose), port);
        let offered = leg::sdp_of(&request.headers, request.body());
        let offer = offerless::offer(self.direction, &mut negotiation, &offered)
            .map_err(|refusal| (reject_of(&refusal), refusal.to_string()))?;
        let tag = core.token();
        let dialog = Dialog::uas(request, tag.as_bytes())
            .map_err(|_| (Reject::NoRoute, "the INVITE has no usable Contact".to_owned()))?;
        let identity = Identity::new(&self.plan, self.trunk, Some(fqdn));
        let leg = Leg {
            trunk: self.trunk,
            contact: identity.contact(&self.called.user),
            identity,
            dialog,
            negotiation,
            flow: Some(self.new.flow.clone()),
            invited: None,
            session,
            unacknowledged: None,
            told: crate::call::keys::Told::default(),
        };
        Ok((leg, offer))
    }

    /// Who has sent it, where that is Microsoft.
    fn teams(&self) -> TeamsLeg {
        if self.direction != RouteFrom::Teams {
            return TeamsLeg::default();
        }
        let agent = self.new.request.headers.get(Name::UserAgent).map(text);
        TeamsLeg { address: Some(self.new.flow.remote.ip()), agent, ..TeamsLeg::default() }
    }

    fn record(&self) -> Record {
        Record {
            call: self.new.id.0,
            direction: self.direction,
            tenant: None,
            fqdn: None,
            started: self.at.wall,
            ringing: None,
            setup: None,
            talk: Duration::ZERO,
            from: self.caller.user.clone(),
            to: self.called.user.clone(),
            call_id_in: text(self.new.request.headers.call_id()),
            call_id_out: None,
            trunk_in: self.plan.trunks.get(self.trunk).map_or_else(String::new, |t| t.name.clone()),
            attempts: Vec::new(),
            classes: Vec::new(),
            route: String::new(),
            decision: Vec::new(),
            status: 0,
            cause: String::new(),
            reason: None,
            microsoft: None,
            teams: self.teams(),
            transcoded: None,
            transfers: Vec::new(),
            dtls: (None, None),
            passthrough: None,
            carried: None,
            fax: None,
            media: None,
        }
    }

    pub(super) fn refuse(&self, core: &mut Core, refused: &Refused, trace: &Trace) {
        let tenant = refused.tenant.and_then(|tenant| self.plan.tenants.get(tenant));
        let tenant = tenant.map(|tenant| tenant.name.clone());
        let status = refused.status.unwrap_or_else(|| refused.reject.status());
        let mut response = Response::to(&self.new.request, status, Some(core.token().as_bytes()));
        response.headers.push(Name::Server, crate::identity::PRODUCT);
        if leg::is_told_reasons(&self.plan, self.trunk) {
            response.headers.push(Name::Reason, crate::cause::reason_of(status));
        }
        // Microsoft shows its admins what we say (TDR-ERR-003).
        if status == refused.reject.status() {
            response.reason = refused.reject.phrase().into();
        }
        if refused.reject == Reject::SessionTooShort
            && let Some(terms) = self.plan.trunks.get(self.trunk).and_then(|t| t.session_timer)
        {
            response.headers.push(Name::MinSe, terms.min_s.to_string());
        }
        let quoted: String = refused.why.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
        let agent = &self.plan.node.fqdn;
        response.headers.push(Name::Warning, format!("399 {agent} \"{quoted}\""));
        core.respond(self.new.server, response);
        let mut record = self.record();
        record.tenant.clone_from(&tenant);
        record.status = status;
        record.cause = refused.reject.as_str().into();
        record.route.clone_from(&refused.why);
        record.explain(trace, &self.plan);
        core.emit(Event::Rejected { tenant, reason: refused.reject });
        if refused.reject == Reject::UnknownTenant && self.direction == RouteFrom::Teams {
            core.emit(Event::unknown_fqdn(&self.new.flow.trunk, &self.host()));
        }
        core.outputs.push_back(Output::Record(Box::new(record.clipped())));
    }

    /// The caller has given up before anybody was called.
    pub(super) fn cancelled(&self, core: &mut Core, open: &Open, cancel: &Request) {
        let mut response = Response::to(&self.new.request, 487, Some(core.token().as_bytes()));
        response.headers.push(Name::Server, crate::identity::PRODUCT);
        response.headers.push(Name::Reason, crate::cause::reason_of(487));
        core.respond(self.new.server, response);
        let tenant = self.plan.tenants.get(open.prepared.question.tenant);
        let mut record = self.record();
        record.tenant = tenant.map(|tenant| tenant.name.clone());
        record.status = 487;
        record.cause = "cancelled".into();
        record.route = "the hook was being asked".into();
        if self.direction == RouteFrom::Teams {
            record.note_reason(&cancel.headers, None);
        }
        record.explain(&open.trace, &self.plan);
        core.outputs.push_back(Output::Record(Box::new(record.clipped())));
    }

    /// The number the call has, or would have.
    pub(super) const fn id(&self) -> CallId {
        self.new.id
    }

    pub(super) const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }
}

/// Why a call is refused as its tenant or the host takes no new calls; emergency calls always pass
/// (TDR-FO-016, TDR-MT-007).
pub(super) fn drained(core: &Core, plan: &Plan, prepared: &Prepared) -> Option<String> {
    let tenant = plan.tenants.get(prepared.question.tenant).filter(|_| !prepared.emergency)?;
    core.drains.refusal(&tenant.name)
}

/// Which reject a refused offer is.
pub(super) const fn reject_of(refusal: &Refusal) -> Reject {
    match refusal {
        Refusal::SrtpRequired => Reject::SrtpRequired,
        Refusal::NoFax => Reject::NoFax,
        _ => Reject::NoCommonCodec,
    }
}
