//! Where the two sides of the border differ in what they write.

use crate::abilities::Abilities;
use crate::carrier::Carrier;
use crate::deed::{Deeds, Forward};
use crate::manner::Style;
use crate::mp_sdp::Role;
use crate::script::{Behaviour, Script};
use crate::strict::Said;
use crate::teams::{Dress, Teams};
use crate::{Dial, Hop, Transport};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use sdp::{Ability, Certificate, Direction, IcePolicy, Media, SrtpKey};
use sip_core::{Headers, Method, Name, NameAddr, Request, Response, Uri};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(crate) enum Persona {
    Carrier(Carrier),
    Teams(Teams),
}

/// An INVITE to be: what of it depends on who we are.
pub(crate) struct Opening {
    pub(crate) hop: Hop,
    pub(crate) uri: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) contact: String,
    /// Headers that say who calls, beyond From.
    pub(crate) further: Vec<(String, String)>,
    /// Whether it comes with a Record-Route that is not usual.
    pub(crate) routed: bool,
}

impl Persona {
    /// What it does beyond plain calls; Teams does nothing of that.
    pub(crate) fn abilities(&self) -> Option<&Abilities> {
        match self {
            Self::Carrier(carrier) => Some(&carrier.abilities),
            Self::Teams(_) => None,
        }
    }

    pub(crate) fn ability(&self) -> Ability {
        match self {
            Self::Carrier(carrier) => carrier.ability,
            Self::Teams(_) => Ability::srtp(),
        }
    }

    pub(crate) fn certificate(&self) -> Option<Arc<Certificate>> {
        match self {
            Self::Carrier(carrier) => carrier.certificate.clone(),
            Self::Teams(_) => None,
        }
    }

    pub(crate) fn shakes_hands(&self) -> bool {
        matches!(self, Self::Carrier(carrier) if carrier.shakes_hands)
    }

    /// What it does about ICE.
    pub(crate) const fn ice(&self) -> IcePolicy {
        match self {
            Self::Carrier(carrier) => carrier.ice,
            Self::Teams(teams) if teams.bypass => IcePolicy::Full,
            Self::Teams(_) => IcePolicy::Off,
        }
    }

    /// What our offers name.
    pub(crate) fn offers(&self) -> Media {
        match self {
            Self::Carrier(carrier) => carrier.media.clone(),
            Self::Teams(_) => Teams::offers(),
        }
    }

    /// What our answers allow, first preferred.
    pub(crate) fn answers(&self) -> Media {
        match self {
            Self::Carrier(carrier) => carrier.media.clone(),
            Self::Teams(_) => Media::g711(),
        }
    }

    /// The direction that means hold.
    pub(crate) fn hold(&self) -> Direction {
        match self {
            Self::Carrier(carrier) => carrier.hold,
            Self::Teams(_) => Direction::Inactive,
        }
    }

    fn script(&self) -> &Script {
        match self {
            Self::Carrier(carrier) => &carrier.script,
            Self::Teams(teams) => &teams.script,
        }
    }

    pub(crate) fn behaviour(&self, number: &[u8]) -> Behaviour {
        self.script().find(number)
    }

    pub(crate) fn deeds(&self, number: &[u8]) -> Deeds {
        self.script().find_deeds(number)
    }

    /// Where this user's calls go; a carrier forwards nothing itself.
    pub(crate) fn forward(&self, number: &[u8]) -> Option<Forward> {
        matches!(self, Self::Teams(_)).then(|| self.script().find_forward(number)).flatten()
    }

    pub(crate) const fn is_teams(&self) -> bool {
        matches!(self, Self::Teams(_))
    }

    /// How the next call is written.
    pub(crate) fn style(&self, rng: &mut ChaCha20Rng) -> Style {
        match self {
            Self::Teams(teams) if teams.manner.varied => Style::new(true, rng.next_u32()),
            _ => Style::default(),
        }
    }

    pub(crate) fn patience(&self) -> Option<Duration> {
        match self {
            Self::Carrier(_) => None,
            Self::Teams(teams) => teams.manner.patience,
        }
    }

    pub(crate) fn refresh_every(&self) -> Option<Duration> {
        match self {
            Self::Carrier(_) => None,
            Self::Teams(teams) => teams.manner.refresh_every,
        }
    }

    /// Adds what this side says in each INVITE and in its answers to INVITE.
    pub(crate) fn extend(&self, headers: &mut Headers) {
        if let Self::Teams(teams) = self {
            for (name, value) in &teams.manner.headers {
                headers.push_named(name, value.clone());
            }
        }
    }

    /// `token` is fresh random in hexadecimal, `guid` too.
    pub(crate) fn opening(
        &self,
        dial: &Dial,
        token: &str,
        guid: &str,
        style: Style,
    ) -> Option<Opening> {
        match self {
            Self::Carrier(carrier) => Some(carrier.opening(dial)),
            Self::Teams(teams) => teams.opening(dial, token, guid, style),
        }
    }

    /// Our Contact in answers to an INVITE that came on `hop`.
    pub(crate) fn contact(
        &self,
        hop: &Hop,
        user: &str,
        token: &str,
        guid: &str,
        style: Style,
    ) -> String {
        match self {
            Self::Carrier(carrier) => carrier.contact(hop, user),
            Self::Teams(_) => Teams::contact(token, guid, style),
        }
    }

    /// Where a request in a dialog goes: what its URI says, or where the dialog began.
    pub(crate) fn next_hop(&self, uri: &[u8], first: &Hop) -> Hop {
        let Some(uri) = Uri::parse(uri).ok().filter(Uri::is_sip) else { return first.clone() };
        match self {
            Self::Carrier(_) => {
                let address =
                    std::str::from_utf8(uri.host).ok().and_then(|h| h.parse::<IpAddr>().ok());
                let Some(address) = address else { return first.clone() };
                let default = if first.transport == Transport::Tls { 5061 } else { 5060 };
                let remote = SocketAddr::new(address, uri.port.unwrap_or(default));
                match remote == first.remote {
                    true => first.clone(),
                    false => Hop { remote, flow: None, ..first.clone() },
                }
            }
            // Microsoft resolves the name in our Contact and dials it (TDR-IN-010).
            Self::Teams(teams) => match teams.tenant(uri.host) {
                Some(tenant) => teams.hop_to(tenant, first.local),
                None => first.clone(),
            },
        }
    }

    pub(crate) fn stamp_request(&self, request: &mut Request) {
        match self {
            Self::Carrier(carrier) => carrier.stamp(Name::UserAgent, &mut request.headers),
            Self::Teams(teams) => teams.stamp_request(request),
        }
    }

    pub(crate) fn stamp_response(&self, response: &mut Response) {
        match self {
            Self::Carrier(carrier) => carrier.stamp(Name::Server, &mut response.headers),
            Self::Teams(teams) => teams.stamp_response(response),
        }
    }

    /// Whether our answer to `request` gives To a tag: Teams' to OPTIONS does not (TDR-OPT-008).
    pub(crate) fn tags_answer(&self, request: &Request) -> bool {
        match self {
            Self::Carrier(_) => true,
            Self::Teams(_) => request.method != Method::Options,
        }
    }

    /// Says why a request was refused, in a Reason header.
    pub(crate) fn explain(&self, response: &mut Response, guid: &str, said: Option<Said>) {
        match self {
            Self::Carrier(_) => {}
            Self::Teams(teams) => teams.explain(response, guid, said),
        }
    }

    /// The Reason of BYE and CANCEL.
    pub(crate) fn farewell(&self, guid: &str) -> String {
        match self {
            Self::Carrier(_) => "Q.850;cause=16;text=\"Normal call clearing\"".to_owned(),
            Self::Teams(_) => Teams::farewell(guid),
        }
    }

    /// Our description as it goes out.
    pub(crate) fn dress(&self, body: &Bytes, role: Role, dress: &Dress) -> Bytes {
        match self {
            Self::Carrier(_) => body.clone(),
            Self::Teams(teams) => teams.dress(body, role, dress),
        }
    }

    /// The far side's answer to our description `ours`, as our negotiation knows it.
    pub(crate) fn understand(&self, ours: Option<&Bytes>, answer: &Bytes) -> Bytes {
        match (self, ours) {
            (Self::Teams(_), Some(ours)) => crate::mp_sdp::understand(ours, answer),
            _ => answer.clone(),
        }
    }

    /// What media is protected with, where it is not the key that the stream names.
    pub(crate) fn media_key<'a>(&self, role: Role, dress: &'a Dress) -> Option<&'a SrtpKey> {
        match self {
            Self::Carrier(_) => None,
            Self::Teams(teams) => teams.media_key(role, dress),
        }
    }

    /// A message as this side spells it.
    pub(crate) fn spell(&self, bytes: Bytes) -> Bytes {
        match self {
            Self::Carrier(_) => bytes,
            Self::Teams(_) => crate::teams::upper_case(&bytes),
        }
    }
}

/// The user part of an address or URI, as text.
pub(crate) fn user_of(uri: &[u8]) -> String {
    let user = Uri::parse(uri).ok().and_then(|uri| uri.user).unwrap_or_default();
    String::from_utf8_lossy(user).into_owned()
}

/// The host of an address, in lower case.
pub(crate) fn host_of(address: &NameAddr<'_>) -> String {
    let host = address.uri().map_or_else(|_| Vec::new(), |uri| uri.host.to_ascii_lowercase());
    String::from_utf8_lossy(&host).into_owned()
}
