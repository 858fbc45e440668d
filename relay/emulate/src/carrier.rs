//! A carrier's user agent: plain SIP from an address, G.711 over RTP.

use crate::abilities::{Abilities, Reliability};
use crate::persona::Opening;
use crate::script::Script;
use crate::{Dial, Hop, Transport};
use sdp::{Ability, Certificate, Direction, IcePolicy, Media};
use sip_core::{Headers, Name};
use std::net::SocketAddr;
use std::sync::Arc;

/// A carrier's side.
#[derive(Clone, Debug)]
pub struct Carrier {
    /// The transport.
    pub transport: Transport,
    /// Its own SIP address.
    pub local: SocketAddr,
    /// The SIP address of the border controller.
    pub sbc: SocketAddr,
    /// What it does with calls.
    pub script: Script,
    /// What it offers, and answers with, first preferred.
    pub media: Media,
    /// RTP, SRTP or either.
    pub ability: Ability,
    /// Who it is in a DTLS handshake; without, it knows none.
    pub certificate: Option<Arc<Certificate>>,
    /// Whether a handshake that it has agreed takes place.
    pub shakes_hands: bool,
    /// What it does about ICE.
    pub ice: IcePolicy,
    /// The direction it offers to hold a call.
    pub hold: Direction,
    /// What it calls itself.
    pub product: String,
    /// What it does beyond plain calls.
    pub abilities: Abilities,
}

impl Carrier {
    /// One that speaks G.711 over RTP and holds with `sendonly`.
    pub fn new(transport: Transport, local: SocketAddr, sbc: SocketAddr, script: Script) -> Self {
        Self {
            transport,
            local,
            sbc,
            script,
            media: Media::g711(),
            ability: Ability::plain(),
            certificate: None,
            shakes_hands: true,
            ice: IcePolicy::Off,
            hold: Direction::SendOnly,
            product: "Carrier/1".to_owned(),
            abilities: Abilities::default(),
        }
    }

    pub(crate) fn opening(&self, dial: &Dial) -> Opening {
        let (from, to, sbc) = (&dial.from, &dial.to, self.sbc);
        let hop = Hop {
            transport: self.transport,
            local: self.local,
            remote: sbc,
            server_name: None,
            flow: None,
        };
        Opening {
            uri: format!("sip:{to}@{sbc};user=phone{}", self.parameter()),
            from: format!("<sip:{from}@{};user=phone>", self.local),
            to: format!("<sip:{to}@{sbc};user=phone>"),
            contact: self.contact(&hop, from),
            further: Vec::new(),
            routed: false,
            hop,
        }
    }

    pub(crate) fn contact(&self, hop: &Hop, user: &str) -> String {
        let at = if user.is_empty() { "" } else { "@" };
        format!("<sip:{user}{at}{}{}>", hop.local, self.parameter())
    }

    pub(crate) fn stamp(&self, product: Name, headers: &mut Headers) {
        headers.set(product, self.product.clone());
        let reliable = self.abilities.reliable != Reliability::Off;
        let allow = match (reliable, self.abilities.update) {
            (false, false) => "INVITE, ACK, CANCEL, BYE, OPTIONS",
            (true, false) => "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK",
            (false, true) => "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE",
            (true, true) => "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE",
        };
        headers.set(Name::Allow, allow);
    }

    const fn parameter(&self) -> &'static str {
        match self.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        }
    }
}
