//! The map of the laboratory: who has which address, name and number. The addresses are those set aside for
//! documentation and benchmarks, each side in a network of its own.

use std::net::{Ipv4Addr, SocketAddrV4};

/// One side: a network namespace with a wire to Tollgate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) network: &'static str,
    /// Its hosts. What binds to no address speaks from the first.
    pub(super) hosts: &'static [Ipv4Addr],
    /// Tollgate's end of the wire.
    pub(super) gateway: Ipv4Addr,
}

pub(super) const TEAMS: Side = Side {
    name: "teams",
    network: "198.51.100.0/24",
    hosts: &[USER, FRONT, Ipv4Addr::new(198, 51, 100, 2), Ipv4Addr::new(198, 51, 100, 3)],
    gateway: Ipv4Addr::new(198, 51, 100, 254),
};

pub(super) const CARRIERS: Side = Side {
    name: "carriers",
    network: "192.0.2.0/24",
    hosts: &[CARRIER, BUSY, SECOND, CALLER, CALLEE, REGISTRAR, SECURE, PBX, RINGER],
    gateway: Ipv4Addr::new(192, 0, 2, 254),
};

/// In nobody's `sources`.
pub(super) const ELSEWHERE: Side = Side {
    name: "elsewhere",
    network: "198.18.0.0/24",
    hosts: &[Ipv4Addr::new(198, 18, 0, 9)],
    gateway: Ipv4Addr::new(198, 18, 0, 254),
};

/// Carriers on another wire, so that a call of plain RTP comes in by one and leaves by the other.
pub(super) const PARTNERS: Side = Side {
    name: "partners",
    network: "198.18.1.0/24",
    hosts: &[PARTNER],
    gateway: Ipv4Addr::new(198, 18, 1, 254),
};

pub(super) const SIDES: [Side; 4] = [TEAMS, CARRIERS, PARTNERS, ELSEWHERE];

/// Teams' front: sip, sip2 and sip3 are .1, .2 and .3.
pub(super) const FRONT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The names of the front, in the order in which Tollgate tries them.
pub(super) const FRONT_NAMES: [(&str, Ipv4Addr); 3] = [
    ("sip.pstnhub.microsoft.com", FRONT),
    ("sip2.pstnhub.microsoft.com", TEAMS.hosts[2]),
    ("sip3.pstnhub.microsoft.com", TEAMS.hosts[3]),
];

/// The Teams user behind the front.
pub(super) const USER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
pub(super) const USER_PORT: u16 = 5072;
pub(super) const USER_NUMBER: &str = "+4930123450";
/// The same user, whom carriers reach by media bypass under this one.
pub(super) const BYPASS_NUMBER: &str = "+4930123451";

/// What begins every address of a side: none may be seen on the other.
pub(super) const TEAMS_PREFIX: &str = "198.51.100.";
pub(super) const CARRIERS_PREFIX: &str = "192.0.2.";

/// Tollgate.
pub(super) const BORDER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub(super) const BORDER_TLS: SocketAddrV4 = SocketAddrV4::new(BORDER, 5061);
/// Media bypass has a listener of its own.
pub(super) const BORDER_BYPASS: SocketAddrV4 = SocketAddrV4::new(BORDER, 5063);
pub(super) const BORDER_SECURE: SocketAddrV4 = SocketAddrV4::new(BORDER, 5062);
pub(super) const BORDER_SIP: SocketAddrV4 = SocketAddrV4::new(BORDER, 5060);
pub(super) const BORDER_METRICS: SocketAddrV4 = SocketAddrV4::new(BORDER, 9464);

/// Below the system's ephemeral range, which begins at 32768.
pub(super) const BORDER_MEDIA: &str = "20000-20999";

/// The name of the host and of its one tenant.
pub(super) const BASE_FQDN: &str = "sbc1.interop.example";
pub(super) const TENANT_FQDN: &str = "contoso.sbc1.interop.example";

/// The carrier with people on it.
pub(super) const CARRIER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const CARRIER_NUMBER: &str = "+498955501";

/// The carrier that answers 503, and the one after it on the route.
pub(super) const BUSY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(super) const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
pub(super) const SECOND_NUMBER: &str = "+494077701";

/// SIPp on a trunk that calls and on one that is called, each over UDP and over TCP.
pub(super) const CALLER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 4);
pub(super) const CALLEE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
/// The callee's number, by the transport it is reached over.
pub(super) const OVER_UDP: &str = "+49308881";
pub(super) const OVER_TCP: &str = "+49308882";

/// Numbers of tenants that come and go while calls cross: of one whose calls do, and of a guest.
pub(super) const CROSSING: &str = "+49308883";
pub(super) const GUEST: &str = "+49308884";

/// A carrier that wants us to register.
pub(super) const REGISTRAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 6);

/// A PBX that registers with us; its port is in no configuration.
pub(super) const PBX: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 8);
pub(super) const PBX_PORT: u16 = 5074;
pub(super) const PBX_NUMBER: &str = "+4977733";

/// A carrier that is rung by a tone of ours, and has its keys as tones.
pub(super) const RINGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
pub(super) const RINGER_NUMBER: &str = "+4966612";

/// A carrier that speaks TLS and SRTP; baresip listens for TLS on the port above.
pub(super) const SECURE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
pub(super) const SECURE_NAME: &str = "secure.carrier.example";
pub(super) const SECURE_NUMBER: &str = "+4969555";

/// A carrier on the other wire.
pub(super) const PARTNER: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
pub(super) const PARTNER_NUMBER: &str = "+4955512";

/// Where SIP over UDP is spoken by everyone but the Teams user.
pub(super) const SIP_PORT: u16 = 5060;

/// RTP ports of the peers.
pub(super) const USER_MEDIA: &str = "11000-11998";
pub(super) const CARRIER_MEDIA: &str = "12000-12998";
pub(super) const PARTNER_MEDIA: &str = "14000-14998";
pub(super) const SIPP_MEDIA: u16 = 13000;
pub(super) const SIPP_USER_MEDIA: u16 = 11100;
/// Where SIPp's fax terminals are.
pub(super) const FAX_MEDIA: u16 = 13100;

/// Every UDP port that may carry RTP here; the judge cannot know it from SDP that went through TLS.
pub(super) const MEDIA_PORTS: std::ops::RangeInclusive<u16> = 11000..=20999;

/// What each side plays, in Hz; far enough apart that no harmonic of one is another.
pub(super) const CARRIER_TONE: u16 = 440;
pub(super) const USER_TONE: u16 = 1000;
pub(super) const SIPP_TONE: u16 = 700;
pub(super) const PARTNER_TONE: u16 = 620;
