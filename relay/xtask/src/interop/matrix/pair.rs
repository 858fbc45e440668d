//! Which pairs there are: every way a leg may be signalled, keyed and reached, with whom, and who calls.

use std::fmt;

/// How SIP reaches the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// How its audio is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keying {
    Rtp,
    Sdes80,
    Sdes32,
    Gcm128,
    Gcm256,
    Dtls,
}

/// Where its RTCP goes, and how it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// RTCP on a port of its own.
    Apart,
    /// RTCP on RTP's port.
    Mux,
    /// The same, and connectivity checks before any of it.
    MuxIce,
    /// What a matrix of independent choices would hold too.
    ApartIce,
}

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Baresip,
    Rtpengine,
    /// Our own, which speaks nothing but RTP: the other end of most pairs.
    Plain,
}

/// One end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) peer: Peer,
    pub(super) transport: Transport,
    pub(super) keying: Keying,
    pub(super) path: Path,
}

/// What the network does to the packets of both ends on their way to Tollgate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fair,
    Loss,
    Jitter,
    Reorder,
    Duplicates,
}

/// One call: who calls whom, and in which weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) caller: End,
    pub(super) callee: End,
    pub(super) weather: Weather,
}

const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];
const KEYINGS: [Keying; 6] =
    [Keying::Rtp, Keying::Sdes80, Keying::Sdes32, Keying::Gcm128, Keying::Gcm256, Keying::Dtls];
const PATHS: [Path; 4] = [Path::Apart, Path::Mux, Path::MuxIce, Path::ApartIce];
const PEERS: [Peer; 2] = [Peer::Baresip, Peer::Rtpengine];

/// Over UDP, in the clear, RTCP apart.
pub(super) const PLAIN: End =
    End { peer: Peer::Plain, transport: Transport::Udp, keying: Keying::Rtp, path: Path::Apart };

impl Keying {
    /// What the suite adds to a packet of RTP; a handshake may choose one of several.
    pub(super) const fn tags(self) -> &'static [usize] {
        match self {
            Self::Rtp => &[0],
            Self::Sdes80 => &[10],
            Self::Sdes32 => &[4],
            Self::Gcm128 | Self::Gcm256 => &[16],
            Self::Dtls => &[10, 16],
        }
    }

    /// Its name in SDP, if keys go through SDP.
    pub(super) const fn suite(self) -> Option<&'static str> {
        match self {
            Self::Rtp | Self::Dtls => None,
            Self::Sdes80 => Some("AES_CM_128_HMAC_SHA1_80"),
            Self::Sdes32 => Some("AES_CM_128_HMAC_SHA1_32"),
            Self::Gcm128 => Some("AEAD_AES_128_GCM"),
            Self::Gcm256 => Some("AEAD_AES_256_GCM"),
        }
    }
}

impl Path {
    pub(super) const fn mux(self) -> bool {
        matches!(self, Self::Mux | Self::MuxIce)
    }

    pub(super) const fn ice(self) -> bool {
        matches!(self, Self::MuxIce | Self::ApartIce)
    }
}

impl Pair {
    /// Why there is no such call, if there is none.
    fn impossible(&self) -> Option<&'static str> {
        [(self.caller, true), (self.callee, false)]
            .into_iter()
            .find_map(|(end, calls)| end.impossible(calls))
    }

    /// Why Tollgate ends such a call, as its record says, where it is not to carry it.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        // The certificate that baresip 1.0.0 makes for itself has an RSA key.
        let rsa = |end: End| end.peer == Peer::Baresip && end.keying == Keying::Dtls;
        (rsa(self.caller) || rsa(self.callee)).then_some("dtls_no_ecdsa")
    }

    /// The end that the pair is about.
    const fn end(&self) -> (End, bool) {
        match self.caller.peer {
            Peer::Plain => (self.callee, false),
            Peer::Baresip | Peer::Rtpengine => (self.caller, true),
        }
    }
}

impl End {
    fn impossible(self, calls: bool) -> Option<&'static str> {
        match self {
            Self { path: Path::ApartIce, .. } => {
                Some("ICE comes with rtcp-mux alone: who checks one path multiplexes")
            }
            Self {
                peer: Peer::Baresip,
                keying: Keying::Sdes32 | Keying::Gcm128 | Keying::Gcm256,
                path: Path::MuxIce,
                ..
            } if !calls => Some(
                "baresip 1.0.0 with ICE answers AES_CM_128_HMAC_SHA1_80 to whatever was offered",
            ),
            Self {
                peer: Peer::Baresip,
                keying: Keying::Sdes32 | Keying::Gcm128 | Keying::Gcm256,
                ..
            } if calls => Some("baresip 1.0.0 offers AES_CM_128_HMAC_SHA1_80 and nothing else"),
            Self { keying: Keying::Rtp, path: Path::Mux | Path::MuxIce, .. } if !calls => {
                Some("an offer of plain RTP by Tollgate keeps RTCP on a port of its own")
            }
            _ => None,
        }
    }
}

/// Every pair that can be, and every one that cannot with the reason.
pub(super) fn all() -> (Vec<Pair>, Vec<(Pair, &'static str)>) {
    let (mut pairs, mut impossible) = (Vec::new(), Vec::new());
    for pair in combinations() {
        match pair.impossible() {
            None => pairs.push(pair),
            Some(reason) => impossible.push((pair, reason)),
        }
    }
    for pair in unlike().into_iter().chain(weather()) {
        match pair.impossible() {
            None => pairs.push(pair),
            Some(reason) => impossible.push((pair, reason)),
        }
    }
    (pairs, impossible)
}

/// The product of all choices, in which the other end is [`PLAIN`].
fn combinations() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for peer in PEERS {
        for transport in TRANSPORTS {
            for keying in KEYINGS {
                for path in PATHS {
                    let end = End { peer, transport, keying, path };
                    let weather = Weather::Fair;
                    pairs.push(Pair { caller: end, callee: PLAIN, weather });
                    pairs.push(Pair { caller: PLAIN, callee: end, weather });
                }
            }
        }
    }
    pairs
}

/// Two ends that have little in common, and neither is plain.
fn unlike() -> Vec<Pair> {
    use {Keying::*, Path::*, Peer::*, Transport::*};
    let end = |peer, transport, keying, path| End { peer, transport, keying, path };
    let pair = |caller, callee| Pair { caller, callee, weather: Weather::Fair };
    vec![
        pair(end(Baresip, Tls, Sdes80, Mux), end(Rtpengine, Udp, Sdes32, Apart)),
        pair(end(Rtpengine, Tcp, Gcm256, Apart), end(Baresip, Tls, Sdes80, MuxIce)),
        pair(end(Rtpengine, Tls, Dtls, MuxIce), end(Baresip, Udp, Gcm128, Apart)),
        pair(end(Baresip, Tcp, Sdes80, MuxIce), end(Rtpengine, Tls, Dtls, Mux)),
        pair(end(Baresip, Udp, Rtp, Apart), end(Baresip, Tls, Gcm256, Mux)),
    ]
}

/// Each weather over plain RTP, over SDES and over an authenticated cipher, with the sequence wrapping.
fn weather() -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for weather in [Weather::Loss, Weather::Jitter, Weather::Reorder, Weather::Duplicates] {
        for keying in [Keying::Rtp, Keying::Sdes80, Keying::Gcm128] {
            let end =
                End { peer: Peer::Rtpengine, transport: Transport::Tcp, keying, path: Path::Apart };
            pairs.push(Pair { caller: PLAIN, callee: end, weather });
        }
    }
    pairs
}

/// So few pairs that each two choices meet in one of them that can meet at all; and of those with two
/// ends and those in bad weather, a few.
pub(super) fn covering() -> Vec<Pair> {
    let (every, _) = all();
    let mut left: Vec<(Choice, Choice)> = Vec::new();
    let candidates: Vec<Pair> =
        every.iter().copied().filter(|pair| combinations().contains(pair)).collect();
    for meeting in candidates.iter().flat_map(meetings) {
        if !left.contains(&meeting) {
            left.push(meeting);
        }
    }
    let mut chosen = Vec::new();
    while !left.is_empty() {
        let fresh = |pair: &&Pair| meetings(pair).iter().filter(|it| left.contains(it)).count();
        // The first of the best: the same choice on every machine.
        let Some(best) = candidates.iter().rev().max_by_key(fresh).copied() else { break };
        left.retain(|it| !meetings(&best).contains(it));
        chosen.push(best);
    }
    chosen.extend(unlike().into_iter().filter(|pair| pair.impossible().is_none()).take(2));
    chosen.extend(weather().into_iter().filter(|pair| {
        matches!(pair.weather, Weather::Loss | Weather::Reorder)
            && pair.callee.keying == Keying::Sdes80
    }));
    chosen
}

/// One choice: of which question, and which answer.
type Choice = (u8, u8);

/// Each two choices that meet in a pair.
fn meetings(pair: &Pair) -> Vec<(Choice, Choice)> {
    let (end, calls) = pair.end();
    // GCM is one choice with two lengths of key.
    let keying = if end.keying == Keying::Gcm256 { Keying::Gcm128 } else { end.keying };
    let choices = [
        (0, end.transport as u8),
        (1, keying as u8),
        (2, end.path as u8),
        (3, end.peer as u8),
        (4, u8::from(calls)),
    ];
    let mut meetings = Vec::new();
    for (at, one) in choices.iter().enumerate() {
        for other in choices.iter().skip(at + 1) {
            meetings.push((*one, *other));
        }
    }
    meetings
}

impl fmt::Display for Pair {
    /// As one asks for it: `rtpengine-tls-gcm128-mux-ice-calls`, `plain-calls-baresip-udp-rtp-apart`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caller, callee, weather } = self;
        match (caller.peer, callee.peer) {
            (Peer::Plain, _) => write!(f, "{callee}-called")?,
            (_, Peer::Plain) => write!(f, "{caller}-calls")?,
            _ => write!(f, "{caller}-calls-{callee}")?,
        }
        match weather {
            Weather::Fair => Ok(()),
            Weather::Loss => f.write_str("-in-loss"),
            Weather::Jitter => f.write_str("-in-jitter"),
            Weather::Reorder => f.write_str("-in-disorder"),
            Weather::Duplicates => f.write_str("-in-duplicates"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = match self.peer {
            Peer::Baresip => "baresip",
            Peer::Rtpengine => "rtpengine",
            Peer::Plain => "plain",
        };
        let transport = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        };
        let keying = match self.keying {
            Keying::Rtp => "rtp",
            Keying::Sdes80 => "sdes80",
            Keying::Sdes32 => "sdes32",
            Keying::Gcm128 => "gcm128",
            Keying::Gcm256 => "gcm256",
            Keying::Dtls => "dtls",
        };
        let path = match self.path {
            Path::Apart => "apart",
            Path::Mux => "mux",
            Path::MuxIce => "mux-ice",
            Path::ApartIce => "apart-ice",
        };
        write!(f, "{peer}-{transport}-{keying}-{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Pair, all, combinations, covering, meetings};

    #[test]
    fn no_combination_is_left_out_in_silence() {
        let (pairs, impossible) = all();
        let named =
            |pair: &Pair| pairs.contains(pair) || impossible.iter().any(|(other, _)| other == pair);
        assert!(combinations().iter().all(named));
    }

    #[test]
    fn each_two_choices_that_can_meet_do_so_in_the_few() {
        let few = covering();
        let covered: Vec<_> = few.iter().flat_map(meetings).collect();
        let (pairs, _) = all();
        let missed = pairs
            .iter()
            .filter(|pair| combinations().contains(pair))
            .flat_map(meetings)
            .filter(|meeting| !covered.contains(meeting))
            .count();
        assert_eq!(missed, 0);
        assert!(few.len() <= 30, "{} pairs are no few", few.len());
    }

    #[test]
    fn names_are_told_apart() {
        let (pairs, _) = all();
        let mut names: Vec<String> = pairs.iter().map(Pair::to_string).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), pairs.len());
    }
}
