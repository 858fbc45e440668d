//! Where the two sides of the border differ in what they write.

use crate::abilities::Abilities;
use crate::carrier::Carrier;
use crate::mp_sdp::Role;
use crate::script::Behaviour;
use crate::teams::{Dress, Teams};
use crate::{Dial, Hop, Transport};
use bytes::Bytes;
use sdp::{Ability, Certificate, Direction, IcePolicy, Media, SrtpKey};
use sip_core::{Method, Name, NameAddr, Request, Response, Uri};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

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
            Self::Teams(_) => Ability { one_line: true, ..Ability::srtp() },
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

    pub(crate) fn behaviour(&self, number: &[u8]) -> Behaviour {
        match self {
            Self::Carrier(carrier) => carrier.script.find(number),
            Self::Teams(teams) => teams.script.find(number),
        }
    }

    /// `token` is fresh random in hexadecimal, `guid` too.
    pub(crate) fn opening(&self, dial: &Dial, token: &str, guid: &str) -> Option<Opening> {
        match self {
            Self::Carrier(carrier) => Some(carrier.opening(dial)),
            Self::Teams(teams) => teams.opening(dial, token, guid),
        }
    }

    /// Our Contact in answers to an INVITE that came on `hop`.
    pub(crate) fn contact(&self, hop: &Hop, user: &str, token: &str, guid: &str) -> String {
        match self {
            Self::Carrier(carrier) => carrier.contact(hop, user),
            Self::Teams(_) => Teams::contact(token, guid),
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
    pub(crate) fn explain(&self, response: &mut Response, guid: &str, text: Option<&str>) {
        match self {
            Self::Carrier(_) => {}
            Self::Teams(_) => Teams::explain(response, guid, text),
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
