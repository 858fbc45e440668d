//! One side of a call: its dialog, its offer/answer state, and who we are there.

use crate::call::fax;
use crate::call::keys::Told;
use crate::call::numbers::Whose;
use crate::core::{Core, DialogKey, Farewell};
use crate::identity::{Identity, PRODUCT};
use crate::io::{Flow, Hop, MediaPort, Target};
use crate::nat;
use crate::plan::{HoldDialect, Plan, ReasonPolicy, Ringback, SrtpPolicy, TrunkKind};
use crate::session::Session;
use bytes::Bytes;
use rand_core::RngCore;
use sdp::ice::Credentials;
use sdp::{
    Ability, Carriage, Codec, Codecs, Dtmf, Events, LatchPolicy, Local, Negotiation, Security,
    Sound, SrtpKey, Terms, Tone,
};
use sip_core::transaction::ServerId;
use sip_core::{Dialog, Headers, Method, Name, Request, Uri};
use std::net::{IpAddr, SocketAddr};

/// The body type of every offer and answer.
pub(crate) const SDP: &str = "application/sdp";

/// The SDP of a message, alone or beside other parts (TDR-EMG-003); empty where there is none.
pub(crate) fn sdp_of(headers: &Headers, body: &Bytes) -> Bytes {
    sip_core::message::body_part(headers, body, SDP).unwrap_or_default()
}

/// One side of a call, from the moment its far side is known.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) trunk: usize,
    pub(crate) identity: Identity,
    /// Our Contact on this leg, the same for its whole life.
    pub(crate) contact: Bytes,
    pub(crate) dialog: Dialog,
    pub(crate) negotiation: Negotiation,
    /// The flow its last message came on.
    pub(crate) flow: Option<Flow>,
    /// Where its INVITE went, if it was ours.
    pub(crate) invited: Option<Target>,
    pub(crate) session: Session,
    /// Keys that its far side is told by INFO.
    pub(crate) told: Told,
    /// Our last 200 to an INVITE there, as long as its ACK has not come.
    pub(crate) unacknowledged: Option<Unacknowledged>,
}

/// A 200 of ours whose ACK is to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unacknowledged {
    pub(crate) server: ServerId,
    /// It has made the dialog.
    pub(crate) opening: bool,
    /// The ACK will hold the answer to our offer.
    pub(crate) with_answer: bool,
}

impl Leg {
    /// How [`Core::dialogs`] finds it.
    pub(crate) fn key(&self) -> DialogKey {
        let id = self.dialog.id();
        (id.call_id.clone(), id.local_tag.clone())
    }

    /// Remembers the flow the far side used last. What another trunk lets in does not move the leg
    /// there.
    pub(crate) fn heard_on(&mut self, plan: &Plan, flow: &Flow) {
        if plan.trunks.get(self.trunk).is_some_and(|trunk| *trunk.name == *flow.trunk) {
            self.flow = Some(flow.clone());
        }
    }

    /// Where the next request of the dialog goes (RFC 3261, 12.2.1.1; TDR-FO-007).
    ///
    /// Route set and remote target decide, where they can be believed and lead elsewhere than the
    /// connection last heard from does; else that connection is used again (RFC 5626, 5.3), and if it
    /// is gone, one to where they lead, or where the INVITE went. A far side that called us, closed
    /// its connection (TDR-CON-009) and named a host that we have no address for is reached like any
    /// new call of its trunk.
    pub(crate) fn hop(&self, core: &Core, plan: &Plan) -> Option<Hop> {
        Some(self.way(core, plan)?.under(self.identity.certified()))
    }

    fn way(&self, core: &Core, plan: &Plan) -> Option<Hop> {
        let routed = self.routed(core, plan);
        let Some(flow) = &self.flow else {
            return routed.or_else(|| self.invited.clone()).map(Hop::Target);
        };
        if let Some(to) = &routed
            && self.leads_away(core, plan, flow, to)
        {
            return routed.map(Hop::Target);
        }
        let moved = core.registrars.moved(core.now.mono, flow, &self.dialog.next_hop());
        let flow = moved.unwrap_or(flow).clone();
        if !flow.transport.reliable() {
            // What we wrote to and what answered may differ in the port; the former is configured.
            let invited = self.invited.clone().filter(|to| to.address.ip() == flow.remote.ip());
            let flow = Hop::Flow { flow, otherwise: None };
            return Some(invited.filter(|_| routed.is_none()).map_or(flow, Hop::Target));
        }
        let otherwise = routed.or_else(|| self.invited.clone());
        let otherwise = otherwise.or_else(|| core.first_target(plan, self.trunk));
        Some(Hop::Flow { flow, otherwise })
    }

    /// Whether the route set or remote target `to` is to be gone to, rather than back on `flow`.
    fn leads_away(&self, core: &Core, plan: &Plan, flow: &Flow, to: &Target) -> bool {
        let Some(trunk) = plan.trunks.get(self.trunk) else { return false };
        let (named, heard) = (to.address.ip(), flow.remote.ip());
        if trunk.is_symmetric() || nat::shows(named, heard) {
            return false;
        }
        // The far side is where its trunk says it may be: from elsewhere it could not even answer.
        let of_trunk = trunk.sources.iter().any(|block| block.contains(named))
            || trunk.targets.iter().any(|target| {
                core.addresses(plan, self.trunk, target).iter().any(|it| it.ip() == named)
            });
        // Microsoft's Contact names a host that is not to be dialled while a connection is open
        // (TDR-FO-007); its Record-Route is a proxy that wants to be passed.
        let says = trunk.kind != TrunkKind::Teams || self.dialog.has_routes();
        // A connection to the same host is the same host, whatever its port; a datagram goes to the
        // port that is named.
        of_trunk && says && (named != heard || !flow.transport.reliable())
    }

    /// The route set or remote target as an address, where its host is one or is known.
    fn routed(&self, core: &Core, plan: &Plan) -> Option<Target> {
        let next = self.dialog.next_hop();
        let uri = Uri::parse(&next).ok()?;
        let host = std::str::from_utf8(uri.host).ok()?.to_ascii_lowercase();
        let trunk = plan.trunks.get(self.trunk)?;
        let listener = plan.listeners.get(trunk.listener)?;
        let port = uri.port.unwrap_or(listener.transport.default_port());
        let literal = host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
        let name = crate::plan::TargetName { host: host.clone(), port: uri.port };
        let heard = self.flow.as_ref().map(|flow| flow.remote.ip());
        let address = literal.or_else(|| {
            let known = core.addresses(plan, self.trunk, &name);
            let same = known.iter().find(|address| Some(address.ip()) == heard);
            same.or(known.first()).copied()
        })?;
        // A certificate names hosts, not addresses: for a literal, ask for the name we dialled.
        let dialled = self.invited.as_ref().and_then(|target| target.server_name.clone());
        Some(Target {
            trunk: trunk.name.as_str().into(),
            listener: listener.name.as_str().into(),
            transport: listener.transport,
            address,
            server_name: if literal.is_some() { dialled } else { Some(host.as_str().into()) },
            own_name: None,
        })
    }

    /// A request within the dialog, with Via, Contact and our name.
    pub(crate) fn request(&mut self, core: &mut Core, method: Method) -> Request {
        let mut request = self.dialog.request(method);
        request.headers.push_front(Name::Via, self.identity.via(&core.branch()));
        request.headers.push(Name::Contact, self.contact.clone());
        request.headers.push(Name::Allow, self.identity.allow());
        request.headers.push(Name::UserAgent, PRODUCT);
        request
    }

    /// The ACK for the 2xx to our INVITE with this CSeq number.
    pub(crate) fn ack(&self, core: &mut Core, cseq: u32) -> Request {
        let mut ack = self.dialog.ack(cseq);
        ack.headers.push_front(Name::Via, self.identity.via(&core.branch()));
        ack
    }

    /// Ends the dialog from our side.
    pub(crate) fn bye(&mut self, core: &mut Core, plan: &Plan, reason: Option<&str>) {
        let Some(hop) = self.hop(core, plan) else { return };
        let reason = reason.filter(|_| is_told_reasons(plan, self.trunk));
        match self.unacknowledged {
            Some(Unacknowledged { server, opening: true, .. }) => {
                let (dialog, identity) = (self.dialog.clone(), self.identity.clone());
                let reason = reason.map(str::to_owned);
                let farewell = Farewell { dialog, hop, identity, reason };
                core.farewells.insert(server, Box::new(farewell));
            }
            _ => core.bye(&mut self.dialog, hop, &self.identity, reason),
        }
    }

    /// What the media engine is to carry, once something is agreed.
    pub(crate) fn carriage(&self, plan: &Plan) -> Option<Carriage> {
        let stream = self.negotiation.stream()?.clone();
        let mut terms = terms(plan, self.trunk);
        terms.unroutable = self
            .flow
            .as_ref()
            .zip(stream.remote_rtp)
            .is_some_and(|(flow, rtp)| nat::shows(rtp.ip(), flow.remote.ip()));
        terms.signaller = self.flow.as_ref().map(|flow| flow.remote.ip());
        Some(Carriage { stream, terms })
    }
}

/// How the media of a leg on `trunk` is to be carried.
pub(crate) fn terms(plan: &Plan, trunk: usize) -> Terms {
    plan.trunks.get(trunk).map(|trunk| trunk.terms.clone()).unwrap_or_default()
}

/// Whether the trunk leads to Teams.
pub(crate) fn is_teams(plan: &Plan, trunk: usize) -> bool {
    plan.trunks.get(trunk).is_some_and(|trunk| trunk.kind == TrunkKind::Teams)
}

/// Whether the trunk is told why a call ends (TDR-ERR-002).
pub(crate) fn is_told_reasons(plan: &Plan, trunk: usize) -> bool {
    plan.trunks.get(trunk).is_none_or(|trunk| trunk.headers.reason != ReasonPolicy::Drop)
}

/// A fresh offer/answer state for a leg on `trunk` whose ports are `port`: the key is drawn here, so that none is ever used for two dialogs (TDR-SRTP-003).
pub(crate) fn negotiation(
    core: &mut Core,
    plan: &Plan,
    (trunk, whose): (usize, Whose),
    port: MediaPort,
) -> Negotiation {
    let ability = ability(plan, trunk);
    let local = Local {
        address: port.advertise,
        rtp_port: port.rtp,
        rtcp_port: port.rtp + 1,
        // RFC 8866, 5.2 asks for a number unlikely to repeat; 63 bits fit every parser.
        session_id: core.rng.next_u64() >> 1,
        keys: keys(core, plan, trunk),
    };
    let ice = plan.trunks.get(trunk).map(|trunk| trunk.ice).unwrap_or_default();
    // Teams knows SDES alone.
    let certificate = core.certificate.clone().filter(|_| !is_teams(plan, trunk));
    Negotiation::new(local, ability)
        .with_certificate(certificate)
        .with_codecs(codecs(plan, trunk, whose))
        .with_ice(ice, Credentials::generate(&mut core.rng))
        .with_old_hold(plan.trunks.get(trunk).is_some_and(|trunk| trunk.hold == HoldDialect::Zero))
}

/// What the far side of a leg needs to begin ICE anew by its next offer.
pub(crate) fn may_restart_ice(core: &mut Core, negotiation: &mut Negotiation) {
    if negotiation.wants_credentials() {
        negotiation.spare_credentials(Credentials::generate(&mut core.rng));
    }
}

/// Fresh keys for a leg on `trunk`: one for each suite that it may agree, none where it knows no SRTP.
pub(crate) fn keys(core: &mut Core, plan: &Plan, trunk: usize) -> Vec<SrtpKey> {
    let Ability { security, suites, .. } = ability(plan, trunk);
    let suites = suites.iter().filter(|_| security != Security::Off);
    suites.map(|suite| SrtpKey::generate(suite, &mut core.rng)).collect()
}

/// What a leg on `trunk` may agree.
fn ability(plan: &Plan, trunk: usize) -> Ability {
    let security = match plan.trunks.get(trunk).map(|trunk| trunk.srtp) {
        Some(SrtpPolicy::Off) => Security::Off,
        Some(SrtpPolicy::Preferred) => Security::Preferred,
        Some(SrtpPolicy::Required) | None => Security::Required,
    };
    let on = plan.trunks.get(trunk);
    Ability {
        security,
        suites: on.map(|trunk| trunk.suites).unwrap_or_default(),
        one_line: is_teams(plan, trunk),
        keying: on.map(|trunk| trunk.keying).unwrap_or_default(),
        behind_nat: on.is_some_and(|trunk| trunk.terms.latch == LatchPolicy::Symmetric),
        events: match on.map(|trunk| trunk.terms.dtmf) {
            Some(Dtmf::Auto | Dtmf::Rfc4733) | None => Events::Own,
            Some(Dtmf::Info | Dtmf::Inband) => Events::No,
        },
        // TDR-COD-003
        ptime_ms: is_teams(plan, trunk).then_some(20),
        fax: fax::may_fax(plan, trunk),
        comfort_noise: on.is_some_and(|trunk| trunk.terms.comfort_noise),
    }
}

/// The codecs of a leg on `trunk`: what it and the tenant both allow. Nothing is held back from an
/// emergency call.
pub(crate) fn codecs(plan: &Plan, trunk: usize, whose: Whose) -> Codecs {
    if whose.emergency {
        return Codecs::default();
    }
    let of_trunk = plan.trunks.get(trunk).map(|trunk| trunk.codecs.clone()).unwrap_or_default();
    let tenant = whose.tenant.and_then(|tenant| plan.tenants.get(tenant));
    tenant.map_or_else(|| of_trunk.clone(), |tenant| of_trunk.and(&tenant.codecs))
}

/// Whether what is between two legs on these trunks may be transcoded: a trunk that says no is heard
/// before one that says yes, and the tenant where neither says.
pub(crate) fn may_transcode(plan: &Plan, trunks: [usize; 2], whose: Whose) -> bool {
    let says = trunks.map(|trunk| plan.trunks.get(trunk).and_then(|trunk| trunk.transcode));
    let tenant = || whose.tenant.and_then(|tenant| plan.tenants.get(tenant));
    match says {
        _ if says.contains(&Some(false)) => false,
        _ if says.contains(&Some(true)) => true,
        _ => tenant().is_some_and(|tenant| tenant.transcode),
    }
}

/// What a leg on `trunk` may speak where the other leg does not; Teams has no Opus for telephones.
pub(crate) fn transcodable(plan: &Plan, trunk: usize) -> &'static [Codec] {
    match is_teams(plan, trunk) {
        true => &[Codec::Pcma, Codec::Pcmu, Codec::G722],
        false => &Codec::ALL,
    }
}

/// What the caller hears before the answer of a callee on `trunk`.
pub(crate) fn ringback(plan: &Plan, trunk: usize, whose: Whose) -> Ringback {
    let of_trunk = plan.trunks.get(trunk).and_then(|trunk| trunk.ringback);
    let tenant = || plan.tenants.get(whose.tenant?).map(|tenant| tenant.ringback);
    match whose.emergency {
        true => Ringback::Pass,
        false => of_trunk.or_else(tenant).unwrap_or_default(),
    }
}

/// Whether early media from `trunk` stays away from the caller.
pub(crate) fn rings_locally(plan: &Plan, trunk: usize, whose: Whose) -> bool {
    matches!(ringback(plan, trunk, whose), Ringback::Local | Ringback::Tone)
}

/// The tone of a telephone that rings on the first of these trunks that has a country.
pub(crate) fn ringing_tone(plan: &Plan, trunks: [usize; 2]) -> Sound {
    let mut countries = trunks.iter().filter_map(|trunk| plan.trunks.get(*trunk)?.country);
    let country = countries.next();
    Sound::Tone(country.map_or(Tone::RINGING, |country| Tone::ringing_in(country.iso)))
}
