//! What signalling tells media beyond the agreed stream, and what media tells signalling: the words
//! that pass between the two columns.

use crate::ice::{IceOffered, IceTrouble};
use crate::{Cidr, Silence, Sound, SrtpKey, Stream, Suite};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// One leg as it is to be carried from now on.
#[derive(Clone, Debug)]
pub struct Carriage {
    /// The agreed stream.
    pub stream: Stream,
    /// How its trunk and tenant want it carried.
    pub terms: Terms,
}

impl From<Stream> for Carriage {
    /// The stream of a leg that asks for nothing more.
    fn from(stream: Stream) -> Self {
        Self { stream, terms: Terms::default() }
    }
}

/// How a leg's media is carried, beyond what its SDP says: the policy of its trunk and tenant, and
/// what signalling has in mind for it. The default is a leg that asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Which source is believed.
    pub latch: LatchPolicy,
    /// Under [`LatchPolicy::Symmetric`]: after so much silence another source may be believed; `None`:
    /// after a negotiation only.
    pub relatch_after: Option<Duration>,
    /// An authentic source that was not signalled is learned only within these; `None`: anywhere, as a
    /// Teams client under media bypass may be (TDR-MED-003, TDR-MED-005).
    pub learned_within: Option<Arc<[Cidr]>>,
    /// The host that signalling comes from: a source there is believed before others.
    pub signaller: Option<IpAddr>,
    /// What becomes of RTCP.
    pub rtcp: Rtcp,
    /// The address that the far side's SDP names is one of a network that is not ours: nothing that we
    /// send arrives there.
    pub unroutable: bool,
    /// The call is over if nothing comes from either side for so long; `None`: that ends no call.
    pub media_timeout: Option<Duration>,
    /// How its far side is told keys.
    pub dtmf: Dtmf,
    /// How long nothing at all may come on a leg with ICE that is not held (TDR-ICE-012); `None`: as
    /// long as it likes.
    pub ice_timeout: Option<Duration>,
    /// Speech that the other leg does not know may be turned into one that it knows.
    pub transcode: bool,
    /// Its far side gets comfort noise while the other is silent.
    pub comfort_noise: bool,
    /// What its far side is to hear in a hold; `None`: what the holder plays.
    pub music_on_hold: Option<Sound>,
    /// What its far side hears now instead of the other.
    pub plays: Option<Sound>,
    /// What is carried of an INVITE that may have forked and has no final answer yet.
    pub early: Option<Box<Early>>,
    /// Its far side only rings: who was carried here before may get the place back.
    pub on_trial: bool,
    /// Which far side the leg has, as signalling counts those that have taken the place of another: who
    /// has left the call is not heard any more, whatever it still sends.
    pub far_side: u32,
}

/// Early media: one fork is carried, and others may send instead (TDR-EM-007).
#[derive(Clone, Debug, Default)]
pub struct Early {
    /// The one that is carried, by the number that signalling has given it.
    pub fork: u32,
    /// The others that may be heard.
    pub others: Vec<Fork>,
}

/// A fork that is not carried, and how its packets are known.
#[derive(Clone, Debug)]
pub struct Fork {
    /// Its number.
    pub number: u32,
    /// Where its plain RTP comes from.
    pub remote_rtp: Option<SocketAddr>,
    /// What its SRTP authenticates under; none for plain RTP.
    pub keys: Vec<SrtpKey>,
}

impl Terms {
    /// The default but for the latch.
    pub fn latching(latch: LatchPolicy) -> Self {
        Self { latch, ..Self::default() }
    }
}

/// Which source a leg believes before anything is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LatchPolicy {
    /// SRTP: the first authenticated packet takes the latch. RTP: only the signalled address.
    #[default]
    Signalled,
    /// As above, but plain RTP from elsewhere takes the latch if its SSRC is consistent within a
    /// bounded window (a NATed carrier).
    Symmetric,
}

/// What becomes of a leg's RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Rtcp {
    /// Reports pass to the other leg and back, in its names; where one side sends none, we make them.
    #[default]
    Relay,
    /// It ends here: each side gets reports of what we have measured ourselves. One leg is enough for
    /// both.
    Terminate,
}

/// How the far side of a leg is told which keys are pressed at the other, and tells its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Dtmf {
    /// Telephone events (RFC 4733) where they are agreed; else INFO where the far side takes it; else
    /// tones. Heard are events and INFO.
    #[default]
    Auto,
    /// Telephone events only.
    Rfc4733,
    /// SIP INFO only; no telephone events are agreed.
    Info,
    /// Tones in the speech, both heard and made; no telephone events are agreed.
    Inband,
}

/// Something that signalling wants done on a leg now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The call is answered: from now on silence is told, on either leg.
    Watch,
    /// Press a key towards the far side of the leg.
    Press(Key),
    /// The far side of the leg has pressed a key, as its signalling tells.
    Pressed(Key),
    /// Answer checks of whoever takes the offer that goes out now, before it is answered
    /// (TDR-ICE-006).
    ExpectChecks(IceOffered),
}

/// Something that happened on a leg and that signalling may have to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nothing is heard from the far side any more, or now for another cause.
    Silent(Silence),
    /// Something is heard again, after so long.
    Heard(Duration),
    /// Nothing has come from either side for as long as [`Terms::media_timeout`] allows.
    Dead,
    /// The far side of the leg has pressed a key, and released it: signalling is to tell the other.
    Pressed(Key),
    /// ICE on the leg is not as it should be.
    Ice(IceTrouble),
    /// The key that we protect with on the leg may protect few packets more.
    KeyWorn,
    /// This fork sends early media: the one that is carried, or another while that one does not.
    Streams(u32),
    /// The fork that is carried has sent early media and does not any more.
    Stops(u32),
    /// DTLS has made the keys of the leg, for this suite.
    HandshakeDone(Suite),
    /// DTLS will make no keys of the leg: nothing can be said or heard there.
    HandshakeFailed(DtlsFailure),
}

/// Why a DTLS handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtlsFailure {
    /// The far side did not finish it, or did not begin, in time.
    Timeout,
    /// Its certificate has none of the fingerprints in its SDP.
    Fingerprint,
    /// It has no certificate that we can use: RSA, perhaps, where we take ECDSA alone.
    NoEcdsa,
    /// It took none of the SRTP profiles we have.
    NoProfile,
    /// It ended the handshake by this alert (RFC 5246, 7.2).
    Alert(u8),
    /// What it sent breaks the protocol, or asks for what we do not have.
    Protocol,
}

impl DtlsFailure {
    /// The words for each, in metrics and records.
    pub const ALL: [&str; 6] =
        ["timeout", "fingerprint", "no_ecdsa", "no_profile", "alert", "protocol"];

    /// What ended a call, in its record.
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Timeout => "dtls_timeout",
            Self::Fingerprint => "dtls_fingerprint",
            Self::NoEcdsa => "dtls_no_ecdsa",
            Self::NoProfile => "dtls_no_profile",
            Self::Alert(_) => "dtls_alert",
            Self::Protocol => "dtls_protocol",
        }
    }

    /// The word for it in metrics and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => Self::ALL[0],
            Self::Fingerprint => Self::ALL[1],
            Self::NoEcdsa => Self::ALL[2],
            Self::NoProfile => Self::ALL[3],
            Self::Alert(_) => Self::ALL[4],
            Self::Protocol => Self::ALL[5],
        }
    }
}

/// A key of a telephone, and how long it was held. Its `Debug` shows no digit: it may be part of a PIN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The event of RFC 4733, 3.2: 0 to 9, 10 for `*`, 11 for `#`, 12 to 15 for A to D, 16 for flash.
    pub event: u8,
    /// How long.
    pub held: Duration,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?})", self.held)
    }
}
