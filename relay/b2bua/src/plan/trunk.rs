//! `[[trunk]]`: the far sides of this host.

use super::{
    Breaker, Cidr, Failover, HeaderPolicy, HeaderRule, Limits, Rewrite, Ringback, TransferPolicy,
};
use crate::accounts::Accounts;
use crate::numbering::{Country, NumberFormat};
use sdp::{Codecs, IcePolicy, Suites};
use sip_core::usage::session_timer::Terms;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a trunk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrunkKind {
    /// Microsoft Teams, for all tenants of this host.
    Teams,
    /// A carrier or a PBX.
    #[default]
    Carrier,
}

/// Media encryption on a trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SrtpPolicy {
    /// RTP only.
    #[default]
    Off,
    /// SRTP where the far side offers it; our offers are SRTP.
    Preferred,
    /// SRTP only.
    Required,
}

/// Reliable provisional responses on a trunk (RFC 3262), for each leg on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reliable {
    /// Neither sent nor announced; an INVITE that requires them is refused with 420.
    Off,
    /// Sent where the far side requires them, and announced in our INVITEs.
    #[default]
    Supported,
    /// Always sent, and required in our INVITEs; an INVITE without them is refused with 421.
    Required,
}

/// Whose early media a carrier may send (RFC 5009).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyMedia {
    /// What it describes, unless its P-Early-Media says otherwise.
    #[default]
    Open,
    /// What its P-Early-Media authorizes, which our INVITEs ask for.
    Authorized,
}

/// How a carrier is told that Teams holds (TDR-HLD-005).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HoldDialect {
    /// As Teams says it.
    #[default]
    Pass,
    /// `a=sendonly`.
    SendOnly,
    /// `a=inactive`.
    Inactive,
    /// The address 0.0.0.0 (RFC 2543).
    Zero,
    /// Not at all.
    Absorb,
}

/// What becomes of a fax on a trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaxPolicy {
    /// It may go on by T.38 over UDPTL, where the other leg may, too.
    #[default]
    T38,
    /// It stays in the audio: T.38 is refused with 488.
    Audio,
}

/// One address a trunk is reached at, as configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetName {
    /// A name (lower case) or an IP address in text.
    pub host: String,
    /// The port; a name without one is asked for by NAPTR and SRV ([`crate::locate`]). An address
    /// has one.
    pub port: Option<u16>,
}

impl TargetName {
    /// The host as it stands in a URI: an IPv6 address in brackets.
    pub fn host_part(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl std::fmt::Display for TargetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.host_part())?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// One `[[trunk]]`.
#[derive(Clone, Debug, Default)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: TrunkKind,
    /// The base FQDN that Microsoft knows it by (Teams); `None`: the node's.
    pub fqdn: Option<String>,
    /// The listener its messages come in on and go out from.
    pub listener: usize,
    /// Where it is reached, in order of preference.
    pub targets: Vec<TargetName>,
    /// The addresses its messages may come from.
    pub sources: Vec<Cidr>,
    /// Media encryption.
    pub srtp: SrtpPolicy,
    /// The crypto suites it may agree, first preferred.
    pub suites: Suites,
    /// How its keys are agreed in an offer of ours, and where the far side leaves the choice.
    pub keying: sdp::Keying,
    /// Whether a call's far sides are told each other's keys, where the other trunk has it so, too.
    pub passthrough: bool,
    /// How often OPTIONS is sent to each target; `None`: never, and every target counts as up.
    pub options_interval: Option<Duration>,
    /// Session timers (RFC 4028) on its legs; `None`: none are kept.
    pub session_timer: Option<Terms>,
    /// The media address.
    pub media: usize,
    /// The media address for Teams users inside the corporate network (Local Media Optimization).
    pub inside: Option<usize>,
    /// Which of its ports; `None`: all.
    pub ports: Option<RangeInclusive<u16>>,
    /// What its packets are marked with; `None`: what those of the media address are.
    pub dscp: Option<u8>,
    /// Bounds on calls over it, whichever way.
    pub limits: Limits,
    /// Where its numbers are dialled (a carrier); without, they are E.164 or stay as they are.
    pub country: Option<&'static Country>,
    /// How it is told numbers (a carrier); `None`: as they are.
    pub format: Option<NumberFormat>,
    /// Changes of numbers, the first that is for a number decides.
    pub rewrite: Vec<Rewrite>,
    /// Changes of header lines in INVITEs to it, in order.
    pub header_rules: Vec<HeaderRule>,
    /// The codecs of its legs.
    pub codecs: Codecs,
    /// What becomes of a fax.
    pub fax: FaxPolicy,
    /// Whether its calls may be transcoded; `None`: what the other trunk and the tenant say.
    pub transcode: Option<bool>,
    /// What callers are told and hear before it answers; `None`: what the tenant says.
    pub ringback: Option<Ringback>,
    /// Whose early media it may send (a carrier).
    pub early_media: EarlyMedia,
    /// How it is told that Teams holds (a carrier).
    pub hold: HoldDialect,
    /// Bounds on calls that come in on it.
    pub limits_in: Limits,
    /// Bounds on calls that go out on it.
    pub limits_out: Limits,
    /// After which responses the next target is tried; `None`: the usual ones.
    pub failover: Option<Failover>,
    /// How long a target may say nothing before the next one is tried; `None`: the usual time.
    pub answer_timeout: Option<Duration>,
    /// When a target rests.
    pub breaker: Option<Breaker>,
    /// What its headers may say, and what it is told.
    pub headers: HeaderPolicy,
    /// Connectivity checks on its legs; media bypass on a Teams trunk.
    pub ice: IcePolicy,
    /// How the media of its legs is carried.
    pub terms: sdp::Terms,
    /// Reliable provisional responses (a carrier; Teams has none).
    pub reliable: Reliable,
    /// Whether a 3xx is followed to this trunk's own hosts (a carrier).
    pub follow_redirects: bool,
    /// Whether REFER is taken from a carrier; for Teams the tenant says so.
    pub transfer: TransferPolicy,
    /// Names that the peer's certificate must carry one of, in lower case (Teams: `sip.pstnhub.microsoft.com`).
    pub peer_names: Vec<String>,
    /// Accepted roots: the system's or a file.
    pub roots: Roots,
    /// Who we are there.
    pub accounts: Accounts,
}

impl Trunk {
    /// Whether its plain RTP may come from elsewhere than signalled: a NAT is in front of it.
    pub fn is_symmetric(&self) -> bool {
        self.terms.latch == sdp::LatchPolicy::Symmetric
    }
}

/// From where a leg's far side reaches its media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaPlace {
    /// From everywhere.
    Outside,
    /// From inside the corporate network.
    Inside,
}

impl MediaPlace {
    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Outside => Self::Inside,
            Self::Inside => Self::Outside,
        }
    }
}

/// Where accepted roots come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The operating system's store.
    #[default]
    System,
    /// Those that Microsoft's certificates chain to (TDR-CRT-020), which are shipped.
    Microsoft,
    /// A PEM file.
    File(std::path::PathBuf),
    /// All of these.
    All(Vec<Roots>),
}
