//! ICE in SDP (RFC 8839): who an agent is, where the far side may be reached, and what came of it.

use crate::section::{MediaDescription, Section, socket};
use crate::words::{number, text, words};
use std::net::{IpAddr, SocketAddr};
use zeroize::ZeroizeOnDrop;

/// What our end of a leg does about ICE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IcePolicy {
    /// Nothing: the far side's lines are passed over, and it goes by the address of the m-line.
    #[default]
    Off,
    /// Answers checks and sends none (RFC 8445, 2.5).
    Lite,
    /// The same for media bypass: one candidate whatever is multiplexed, and no doubt about a far
    /// side whose default address is none of its candidates (TDR-ICE-001).
    Bypass,
    /// Checks by itself, too.
    Full,
}

/// By what one end of a stream knows its checks (RFC 8839, 5.4). Its `Debug` shows no password.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Credentials {
    #[zeroize(skip)]
    ufrag: String,
    pwd: String,
}

/// Octets of a fresh user fragment: 48 bits tell every call of a host apart.
const UFRAG_LEN: usize = 8;
/// Octets of a fresh password: 144 bits, where 128 are asked for.
const PWD_LEN: usize = 24;
/// The bounds that RFC 8839, 5.4 sets.
const UFRAG: std::ops::RangeInclusive<usize> = 4..=256;
const PWD: std::ops::RangeInclusive<usize> = 22..=256;
/// The characters of both, 64 of them.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Credentials {
    /// What stands in two attributes, if it can be used.
    pub fn new(ufrag: &str, pwd: &str) -> Option<Self> {
        let ice_chars = |text: &str| text.bytes().all(|octet| ALPHABET.contains(&octet));
        let fits = UFRAG.contains(&ufrag.len()) && PWD.contains(&pwd.len());
        (fits && ice_chars(ufrag) && ice_chars(pwd))
            .then(|| Self { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() })
    }

    /// Fresh ones. Only a cryptographic generator can make them.
    pub fn generate<R: rand_core::CryptoRng + rand_core::RngCore>(rng: &mut R) -> Self {
        let mut drawn = [0; UFRAG_LEN + PWD_LEN];
        rng.fill_bytes(&mut drawn);
        let mut text = drawn.iter().map(|octet| char::from(ALPHABET[usize::from(octet & 63)]));
        Self { ufrag: text.by_ref().take(UFRAG_LEN).collect(), pwd: text.collect() }
    }

    /// The user fragment.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// The password.
    pub fn pwd(&self) -> &str {
        &self.pwd
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.ufrag)
    }
}

/// Our end of ICE before anybody has answered: what checks that overtake the answer are judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceOffered {
    /// What our description names.
    pub local: Credentials,
    /// Whether we only answer checks.
    pub lite: bool,
}

/// ICE as one leg has agreed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ice {
    /// What our description names.
    pub local: Credentials,
    /// What the far side's names.
    pub remote: Credentials,
    /// Whether we only answer checks.
    pub lite: bool,
    /// Whether the far side only answers checks.
    pub remote_lite: bool,
    /// Whether the description that began this was ours: then we lead, where both ends are alike
    /// (RFC 8445, 6.1.1).
    pub ours_first: bool,
    /// Where the far side may be reached, with UDP and by an address of our family.
    pub candidates: Vec<Candidate>,
    /// The far side names the pair it has chosen (`a=remote-candidates`): its end of it is the
    /// address of its m-line (TDR-ICE-009).
    pub concluded: bool,
}

/// One `a=candidate` that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// 1 for RTP, 2 for RTCP that is not multiplexed.
    pub component: u8,
    /// Its priority.
    pub priority: u32,
    /// Where it is.
    pub address: SocketAddr,
}

/// Most candidates that are kept: a client with a few interfaces, relays and both families has some
/// twenty.
pub const CANDIDATES_MAX: usize = 40;

impl Candidate {
    /// Reads the value of the attribute. What we cannot send to, TCP, names of mDNS and foreign
    /// components among it, is none (TDR-ICE-011); what follows the type is passed over.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut words = words(value).map(text);
        let mut next = || words.next().flatten();
        let _foundation = next()?;
        let component =
            number(next()?.as_bytes()).filter(|component| (1..=2).contains(component))?;
        let transport = next()?;
        let priority = number(next()?.as_bytes())?;
        let address = next()?.parse::<IpAddr>().ok()?;
        let port = number(next()?.as_bytes())?;
        let typed = next()?.eq_ignore_ascii_case("typ") && next().is_some();
        let usable = typed && transport.eq_ignore_ascii_case("UDP");
        usable.then(|| socket(address, port)).flatten().map(|address| Self {
            component,
            priority,
            address,
        })
    }
}

/// The priority of the one candidate that each of our components has (RFC 8445, 5.1.2.1): of type
/// host, with the highest local preference.
pub const fn host_priority(component: u8) -> u32 {
    (126 << 24) | (65_535 << 8) | (256 - component as u32)
}

/// What a description says of ICE.
#[derive(Clone, Debug)]
pub(crate) struct RemoteIce {
    pub(crate) credentials: Credentials,
    pub(crate) lite: bool,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) concluded: bool,
    /// The address of the m-line is none of the candidates: somebody on the way has changed it
    /// (RFC 8839, 4.2.5).
    pub(crate) mismatch: bool,
}

impl RemoteIce {
    /// Reads the lines of an m-line and its session; `None` where there is no ICE, or none that can be
    /// used. `default` is the address of the m-line.
    pub(crate) fn read(
        session: Section<'_>,
        media: &MediaDescription<'_>,
        default: Option<SocketAddr>,
    ) -> Option<Self> {
        let own = media.section();
        let first = |name: &str| {
            own.attribute(name).next().or_else(|| session.attribute(name).next()).and_then(text)
        };
        let is_there = |name: &str| {
            own.attribute(name).next().is_some() || session.attribute(name).next().is_some()
        };
        let credentials = Credentials::new(first("ice-ufrag")?, first("ice-pwd")?)?;
        // The far side saw our address changed: it goes without ICE, whatever else it writes.
        if is_there("ice-mismatch") {
            return None;
        }
        let all = || own.attribute("candidate").filter_map(Candidate::parse);
        let candidates: Vec<Candidate> = all().take(CANDIDATES_MAX).collect();
        // Port 9 is that of a description whose candidates are still to come (RFC 8840).
        let known = default.is_none_or(|default| {
            default.port() == 9
                || own.attribute("candidate").next().is_none()
                || all().any(|candidate| candidate.address == default)
        });
        Some(Self {
            credentials,
            lite: session.attribute("ice-lite").next().is_some(),
            candidates,
            concluded: own.attribute("remote-candidates").next().is_some(),
            mismatch: !known,
        })
    }
}

/// What a description of ours says of ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OurIce {
    /// Nothing.
    None,
    /// That the far side's default address is none of its candidates.
    Mismatch,
    /// That we take part, as the policy says.
    Agent(IcePolicy, Credentials),
}

impl OurIce {
    pub(crate) const fn offered(&self) -> Option<(IcePolicy, &Credentials)> {
        match self {
            Self::Agent(policy, credentials) => Some((*policy, credentials)),
            Self::None | Self::Mismatch => None,
        }
    }

    /// Whether RTCP on a port of its own has a candidate; towards Teams it has none (TDR-ICE-001).
    pub(crate) fn has_rtcp_apart(&self) -> bool {
        matches!(self, Self::Agent(policy, _) if *policy != IcePolicy::Bypass)
    }

    /// Together with what the far side says: what is agreed.
    pub(crate) fn with(
        &self,
        theirs: Option<&RemoteIce>,
        local: IpAddr,
        ours_first: bool,
    ) -> Option<Ice> {
        let (policy, credentials) = self.offered()?;
        let theirs = theirs.filter(|theirs| policy == IcePolicy::Bypass || !theirs.mismatch)?;
        let of_family = |candidate: &&Candidate| candidate.address.is_ipv4() == local.is_ipv4();
        Some(Ice {
            local: credentials.clone(),
            remote: theirs.credentials.clone(),
            lite: policy != IcePolicy::Full,
            remote_lite: theirs.lite,
            ours_first,
            candidates: theirs.candidates.iter().filter(of_family).copied().collect(),
            concluded: theirs.concluded,
        })
    }

    /// The line of the session part, if there is one.
    pub(crate) const fn session_line(&self) -> &'static str {
        match self {
            Self::Agent(IcePolicy::Lite | IcePolicy::Bypass, _) => "a=ice-lite\r\n",
            _ => "",
        }
    }

    /// The lines of the m-line. `rtcp` is our RTCP port where it has a candidate of its own.
    pub(crate) fn write(
        &self,
        out: &mut String,
        address: IpAddr,
        rtp_port: u16,
        rtcp: Option<u16>,
    ) {
        let (policy, credentials) = match self {
            Self::None => return,
            Self::Mismatch => return out.push_str("a=ice-mismatch\r\n"),
            Self::Agent(policy, credentials) => (*policy, credentials),
        };
        let Credentials { ufrag, pwd } = credentials;
        out.push_str(&format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n"));
        if policy == IcePolicy::Full {
            // We nominate once (RFC 8445, 10).
            out.push_str("a=ice-options:ice2\r\n");
        }
        let rtcp = rtcp.filter(|_| policy != IcePolicy::Bypass);
        for (component, port) in [(1, Some(rtp_port)), (2, rtcp)] {
            if let Some(port) = port {
                let priority = host_priority(component);
                out.push_str(&format!(
                    "a=candidate:1 {component} UDP {priority} {address} {port} typ host\r\n"
                ));
            }
        }
    }
}

/// How far ICE has come on a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IceState {
    /// Agreed, and no check has succeeded.
    #[default]
    Waiting,
    /// A pair works; none is chosen.
    Checked,
    /// A pair is chosen.
    Selected,
    /// Neither end checks: the addresses of the m-lines hold (TDR-ICE-008).
    BothLite,
    /// The far side does not consent any more (RFC 7675).
    ConsentLost,
}

impl IceState {
    /// The word for it in metrics and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Checked => "checked",
            Self::Selected => "selected",
            Self::BothLite => "both_lite",
            Self::ConsentLost => "consent_lost",
        }
    }
}

/// What came of ICE on a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IceReport {
    /// How far it has come.
    pub state: IceState,
    /// Where media goes to.
    pub selected: Option<SocketAddr>,
    /// Checks that came in, right or wrong.
    pub checks_received: u64,
    /// Those that were answered with success.
    pub checks_answered: u64,
    /// Checks of ours, repeats among them.
    pub checks_sent: u64,
    /// How often it was begun anew.
    pub restarts: u32,
}

/// What is wrong with ICE on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceTrouble {
    /// It was agreed, and no check has succeeded for as long as it should take.
    NeverCompleted,
    /// Nothing at all has come for as long as the trunk says, while something should.
    Silent,
    /// Our checks of the chosen pair are not answered any more (RFC 7675).
    ConsentLost,
}

impl IceTrouble {
    /// The word for it in metrics, logs and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverCompleted => "ice_never_completed",
            Self::Silent => "ice_silent",
            Self::ConsentLost => "ice_consent_lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionDescription;

    fn read(body: &str) -> Option<RemoteIce> {
        let sdp = SessionDescription::parse(body.as_bytes()).unwrap();
        let media = sdp.media().next().unwrap();
        let default = media.connection().and_then(|c| c.socket(media.line().port));
        RemoteIce::read(sdp.session(), &media, default)
    }

    const LINES: &str = "a=ice-ufrag:Xk3d\r\na=ice-pwd:0aV5bSx1uDkqPq9mZr2cT7yE\r\n";

    /// TDR-ICE-011
    #[test]
    fn candidates_of_strange_kinds_are_read_and_only_udp_addresses_are_kept() {
        let udp = "1 1 UDP 54001663 52.112.143.212 3480 typ relay raddr 10.0.22.127 rport 3480 MTURNID 12802342406253994546";
        let read = Candidate::parse(udp.as_bytes()).unwrap();
        assert_eq!((read.component, read.priority), (1, 54_001_663));
        assert_eq!(read.address, "52.112.143.212:3480".parse().unwrap());
        let six = b"5 2 udp 2130705919 2001:db8::55 50014 typ host generation 0 network-cost 999";
        assert_eq!(Candidate::parse(six).unwrap().address, "[2001:db8::55]:50014".parse().unwrap());
        for none in [
            "3 1 tcp-pass 18087935 52.112.143.212 3478 typ relay raddr 10.0.22.127 rport 3478",
            "3 1 TCP 18087935 52.112.143.212 9 typ host tcptype active",
            "1 1 UDP 2122260223 6b1f2a44-7f2c-4b6b-8d1e-0c2a1c9f5a31.local 50000 typ host",
            "1 3 UDP 1 192.0.2.1 5000 typ host",
            "1 1 UDP 4294967296 192.0.2.1 5000 typ host",
            "1 1 UDP 1 192.0.2.1 0 typ host",
            "1 1 UDP 1 192.0.2.1 5000 typ",
            "1 1 UDP 1 192.0.2.1",
            "1 1 UDP 1 224.0.0.1 5000 typ host",
            "",
        ] {
            assert_eq!(Candidate::parse(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn credentials_of_the_session_hold_and_those_of_the_m_line_go_first() {
        let session = format!("a=ice-lite\r\n{LINES}m=audio 1 RTP/AVP 8\r\nc=IN IP4 192.0.2.1\r\n");
        let of_session = read(&session).unwrap();
        assert_eq!((of_session.credentials.ufrag(), of_session.lite), ("Xk3d", true));
        let both = format!("{session}a=ice-ufrag:Zq9w\r\na=ice-pwd:9pLmN3vB7xYtR2kQw5eUo8Hs\r\n");
        assert_eq!(read(&both).unwrap().credentials.pwd(), "9pLmN3vB7xYtR2kQw5eUo8Hs");
    }

    #[test]
    fn credentials_that_are_too_short_or_hold_other_characters_are_no_ice() {
        for (ufrag, pwd) in [
            ("abc", "0aV5bSx1uDkqPq9mZr2cT7yE"),
            ("Xk3d", "0aV5bSx1uDkqPq9mZr2cT"),
            ("Xk:d", "0aV5bSx1uDkqPq9mZr2cT7yE"),
            ("Xk3d", "0aV5bSx1uDkqPq9m-r2cT7yE"),
        ] {
            assert_eq!(Credentials::new(ufrag, pwd), None, "{ufrag} {pwd}");
        }
        assert!(read("m=audio 1 RTP/AVP 8\r\na=ice-ufrag:Xk3d\r\n").is_none());
    }

    #[test]
    fn a_default_address_that_is_no_candidate_is_a_mismatch() {
        let with = |address: &str, port: u16, candidate: &str| {
            let body =
                format!("m=audio {port} RTP/AVP 8\r\nc=IN IP4 {address}\r\n{LINES}{candidate}\r\n");
            read(&body).unwrap().mismatch
        };
        let candidate = "a=candidate:1 1 UDP 1 192.0.2.1 5000 typ host";
        assert!(!with("192.0.2.1", 5000, candidate));
        assert!(with("192.0.2.9", 5000, candidate));
        assert!(!with("0.0.0.0", 5000, candidate), "a hold");
        assert!(!with("192.0.2.9", 9, candidate), "candidates are still to come");
        assert!(!with("192.0.2.9", 5000, "a=end-of-candidates"), "they are not told at all");
        let mismatch = format!("m=audio 1 RTP/AVP 8\r\n{LINES}a=ice-mismatch\r\n");
        assert!(read(&mismatch).is_none());
    }

    #[test]
    fn a_flood_of_candidates_is_cut() {
        let lines: String = (0..200)
            .map(|n| format!("a=candidate:{n} 1 UDP {n} 192.0.2.1 {} typ host\r\n", 5000 + n))
            .collect();
        let body = format!("m=audio 5199 RTP/AVP 8\r\nc=IN IP4 192.0.2.1\r\n{LINES}{lines}");
        let read = read(&body).unwrap();
        assert_eq!(read.candidates.len(), CANDIDATES_MAX);
        assert!(!read.mismatch, "the default may stand behind those that are kept");
    }

    #[test]
    fn no_password_is_shown() {
        let credentials = Credentials::new("Xk3d", "0aV5bSx1uDkqPq9mZr2cT7yE").unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials(Xk3d)");
    }
}
