//! One side of a call: its dialog, its offer/answer state, and who we are there.

use crate::core::{Core, DialogKey, Farewell};
use crate::identity::{Identity, PRODUCT};
use crate::io::{Flow, Hop, LegMedia, Target};
use crate::plan::{Plan, SrtpPolicy, TrunkKind};
use crate::session::Session;
use bytes::Bytes;
use rand_core::RngCore;
use sdp::{Ability, Local, Negotiation, SrtpKey, Suite};
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

    /// Where the next request of the dialog goes (RFC 3261, 12.2.1.1; TDR-FO-007): over a
    /// connection the far side uses, else by route set or remote target, else where the INVITE
    /// went. A far side that called us, closed its connection (TDR-CON-009) and named a host that
    /// we have no address for is reached like any new call of its trunk.
    pub(crate) fn hop(&self, core: &Core, plan: &Plan) -> Option<Hop> {
        let routed = self.routed(core, plan).or_else(|| self.invited.clone());
        match (&self.flow, routed) {
            (Some(flow), routed) if flow.transport.reliable() => {
                let otherwise = routed.or_else(|| core.first_target(plan, self.trunk));
                Some(Hop::Flow { flow: flow.clone(), otherwise })
            }
            (_, Some(target)) => Some(Hop::Target(target)),
            (Some(flow), None) => Some(Hop::Flow { flow: flow.clone(), otherwise: None }),
            (None, None) => None,
        }
    }

    /// The route set or remote target as an address, where its host is one or is known.
    fn routed(&self, core: &Core, plan: &Plan) -> Option<Target> {
        let next = self.dialog.next_hop();
        let uri = Uri::parse(&next).ok()?;
        let host = std::str::from_utf8(uri.host).ok()?.to_ascii_lowercase();
        let trunk = plan.trunks.get(self.trunk)?;
        let listener = plan.listeners.get(trunk.listener)?;
        let default = if listener.transport == crate::plan::Transport::Tls { 5061 } else { 5060 };
        let name =
            crate::plan::TargetName { host: host.clone(), port: uri.port.unwrap_or(default) };
        let literal = host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, name.port));
        let address = literal.or_else(|| core.address(plan, &name))?;
        // A certificate names hosts, not addresses: for a literal, ask for the name we dialled.
        let dialled = self.invited.as_ref().and_then(|target| target.server_name.clone());
        Some(Target {
            trunk: trunk.name.as_str().into(),
            listener: listener.name.as_str().into(),
            transport: listener.transport,
            address,
            server_name: if literal.is_some() { dialled } else { Some(host.as_str().into()) },
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
    pub(crate) fn media(&self, plan: &Plan) -> Option<LegMedia> {
        let stream = self.negotiation.stream()?.clone();
        Some(LegMedia { stream, symmetric: symmetric(plan, self.trunk) })
    }
}

/// Whether the trunk's plain RTP may latch on an address that was not signalled.
pub(crate) fn symmetric(plan: &Plan, trunk: usize) -> bool {
    plan.trunks.get(trunk).is_some_and(|trunk| trunk.symmetric_rtp)
}

/// Whether the trunk leads to Teams.
pub(crate) fn is_teams(plan: &Plan, trunk: usize) -> bool {
    plan.trunks.get(trunk).is_some_and(|trunk| trunk.kind == TrunkKind::Teams)
}

/// A fresh offer/answer state for a leg on `trunk` whose RTP port is `port` of media address
/// `address`: the key is drawn here, so that none is ever used for two dialogs (TDR-SRTP-003).
pub(crate) fn negotiation(
    core: &mut Core,
    plan: &Plan,
    trunk: usize,
    address: usize,
    port: u16,
) -> Negotiation {
    let advertise =
        plan.media.get(address).map_or(IpAddr::from([0, 0, 0, 0]), |media| media.advertise);
    let ability = match plan.trunks.get(trunk).map(|trunk| trunk.srtp) {
        Some(SrtpPolicy::Off) => Ability::Plain,
        Some(SrtpPolicy::Preferred) => Ability::Either,
        Some(SrtpPolicy::Required) | None => Ability::Srtp,
    };
    let local = Local {
        address: advertise,
        rtp_port: port,
        rtcp_port: port + 1,
        // RFC 8866, 5.2 asks for a number unlikely to repeat; 63 bits fit every parser.
        session_id: core.rng.next_u64() >> 1,
        key: SrtpKey::generate(Suite::AesCm128HmacSha1_80, &mut core.rng),
    };
    Negotiation::new(local, ability)
}
