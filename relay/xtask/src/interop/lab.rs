//! The map of the laboratory: who has which address, name and number.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Teams' front: sip, sip2 and sip3 are .1, .2 and .3.
pub(super) const FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

/// The Teams user behind the front.
pub(super) const USER: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 9);
pub(super) const USER_PORT: u16 = 5072;
pub(super) const USER_NUMBER: &str = "+4930123450";

/// What Tollgate believes to be Teams.
pub(super) const TEAMS_SOURCES: &str = "127.0.1.0/24";

/// Tollgate.
pub(super) const BORDER: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);
pub(super) const BORDER_TLS: SocketAddrV4 = SocketAddrV4::new(BORDER, 5061);
pub(super) const BORDER_SIP: SocketAddrV4 = SocketAddrV4::new(BORDER, 5060);
pub(super) const BORDER_METRICS: SocketAddrV4 = SocketAddrV4::new(BORDER, 9464);

/// Below the system's ephemeral range, which begins at 32768.
pub(super) const BORDER_MEDIA: &str = "20000-20999";

/// The name of the host and of its one tenant.
pub(super) const BASE_FQDN: &str = "sbc1.interop.example";
pub(super) const TENANT_FQDN: &str = "contoso.sbc1.interop.example";

/// The carrier with people on it.
pub(super) const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 3, 1);
pub(super) const CARRIER_NUMBER: &str = "+498955501";

/// The carrier that answers 503, and the one after it on the route.
pub(super) const BUSY: Ipv4Addr = Ipv4Addr::new(127, 0, 3, 2);
pub(super) const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 3, 3);
pub(super) const SECOND_NUMBER: &str = "+494077701";

/// In nobody's `sources`.
pub(super) const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 9);

/// Where SIP over UDP is spoken by everyone but the Teams user.
pub(super) const SIP_PORT: u16 = 5060;

/// RTP ports of the peers.
pub(super) const USER_MEDIA: &str = "11000-11998";
pub(super) const CARRIER_MEDIA: &str = "12000-12998";
pub(super) const SIPP_MEDIA: u16 = 13000;

/// Every UDP port that may carry RTP here; the judge cannot know it from SDP that went through TLS.
pub(super) const MEDIA_PORTS: std::ops::RangeInclusive<u16> = 11000..=20999;

/// What each side plays, in Hz; far enough apart that no harmonic of one is another.
pub(super) const CARRIER_TONE: u16 = 440;
pub(super) const USER_TONE: u16 = 1000;
pub(super) const SIPP_TONE: u16 = 700;
