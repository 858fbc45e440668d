//! What our end of a leg may agree: the policy of its trunk, as far as SDP goes, and what it has.

use crate::suite::{SrtpKey, Suites};
use std::net::IpAddr;

/// What our end may agree. The default is a leg of plain RTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ability {
    /// Whether media is encrypted.
    pub security: Security,
    /// The crypto suites we take in an answer, and offer.
    pub suites: Suites,
    /// Our offers hold one crypto line, of the first suite, whatever else we take (TDR-SDP-005).
    pub one_line: bool,
    /// How our offers say the keys; an answer follows the offer, where that leaves no choice.
    pub keying: Keying,
    /// The far side is behind NAT: it has to begin a DTLS handshake, as we cannot reach it before.
    pub behind_nat: bool,
    /// Which telephone events are agreed (RFC 4733).
    pub events: Events,
    /// The packet time that our descriptions ask for; `None`: what the other leg asks for.
    pub ptime_ms: Option<u16>,
    /// A fax by T.38 may take the place of speech, on a leg whose packets are not encrypted.
    pub fax: bool,
    /// Comfort noise (RFC 3389) is offered, and agreed, whatever the other leg has.
    pub comfort_noise: bool,
}

/// What our end of a leg has: fixed for the life of the dialog (TDR-DLG-012), but for a Teams user who is
/// elsewhere than was thought.
#[derive(Clone, Debug)]
pub struct Local {
    /// The address we advertise.
    pub address: IpAddr,
    /// Our RTP port.
    pub rtp_port: u16,
    /// Our RTCP port where the far side does not multiplex.
    pub rtcp_port: u16,
    /// `o=` session id.
    pub session_id: u64,
    /// The keys we protect with, made fresh for this dialog: one for each suite that may be agreed,
    /// as no key serves two suites. Unused when plain RTP is agreed.
    pub keys: Vec<SrtpKey>,
}

/// How the keys of SRTP are agreed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Keying {
    /// In SDP (RFC 4568).
    #[default]
    Sdes,
    /// By a handshake in the media (RFC 5764), for a leg that has a certificate.
    Dtls,
}

/// Which telephone events a leg agrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Events {
    /// Those that the other leg has.
    #[default]
    Shared,
    /// Some in any case: keys are told in another way where the other leg has none.
    Own,
    /// None.
    No,
}

/// Whether the media of a leg is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Security {
    /// RTP/AVP only.
    #[default]
    Off,
    /// Either in an answer; an offer of ours is RTP/SAVP.
    Preferred,
    /// RTP/SAVP only; a plain offer is refused (TDR-MED-001).
    Required,
}

impl Ability {
    /// A leg with this security and what else is usual.
    pub fn secured(security: Security) -> Self {
        Self { security, ..Self::default() }
    }

    /// A leg of plain RTP.
    pub fn plain() -> Self {
        Self::secured(Security::Off)
    }
    /// A leg of SRTP.
    pub fn srtp() -> Self {
        Self::secured(Security::Required)
    }
    /// A leg that takes both.
    pub fn either() -> Self {
        Self::secured(Security::Preferred)
    }
}
