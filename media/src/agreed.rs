//! What is kept of what a leg has agreed: its stream without what others have taken of it, and those of its
//! terms that are asked for again.

use sdp::{Crypto, Direction, Dtmf, Payload, Protocol, Rtcp, SrtpKey, Stream, Terms};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The stream of a leg.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    pub(crate) remote_rtp: Option<SocketAddr>,
    pub(crate) payloads: Vec<Payload>,
    /// Keys of SDP, or those that a handshake has made.
    pub(crate) keys: Option<Keys>,
    /// A handshake makes them.
    is_dtls: bool,
}

impl Agreed {
    pub(crate) fn of(stream: Stream) -> Self {
        Self {
            remote_rtp: stream.remote_rtp,
            payloads: stream.payloads,
            keys: stream.crypto.map(Keys::from),
            is_dtls: stream.dtls.is_some(),
        }
    }

    /// How the leg is protected.
    pub(crate) fn end(&self) -> End<&Keys> {
        match &self.keys {
            Some(keys) => End::Keyed(keys),
            None if self.is_dtls => End::Awaited,
            None => End::Plain,
        }
    }
}

/// One end of a direction.
#[derive(Debug)]
pub enum End<T> {
    /// RTP.
    Plain,
    /// SRTP.
    Keyed(T),
    /// SRTP, once a handshake has made its keys.
    Awaited,
}

impl<T> End<T> {
    pub(crate) fn map<U>(self, make: impl FnOnce(T) -> U) -> End<U> {
        match self {
            Self::Plain => End::Plain,
            Self::Keyed(context) => End::Keyed(make(context)),
            Self::Awaited => End::Awaited,
        }
    }

    pub(crate) fn into_context(self) -> Option<T> {
        match self {
            Self::Keyed(context) => Some(context),
            Self::Plain | Self::Awaited => None,
        }
    }
}

/// Master keys, which what protects under them has as well.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// We protect with this.
    pub(crate) local: Arc<SrtpKey>,
    /// The far side protects with one of these.
    pub(crate) remote: Arc<[SrtpKey]>,
}

impl From<Crypto> for Keys {
    fn from(crypto: Crypto) -> Self {
        Self { local: Arc::new(crypto.local), remote: crypto.remote.into() }
    }
}

/// What a packet has to know of it, at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) direction: Direction,
    pub(crate) protocol: Protocol,
    pub(crate) rtcp_mux: bool,
    pub(crate) encrypted: bool,
}

impl Manner {
    /// That of a leg that has agreed nothing.
    pub(crate) const NONE: Self = Self {
        direction: Direction::Inactive,
        protocol: Protocol::Rtp,
        rtcp_mux: false,
        encrypted: false,
    };
}

/// What is kept of a leg's terms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) media_timeout: Option<Duration>,
    pub(crate) rtcp: Rtcp,
    pub(crate) dtmf: Dtmf,
    pub(crate) unroutable: bool,
    pub(crate) transcode: bool,
    pub(crate) far_side: u32,
    pub(crate) on_trial: bool,
}

impl Kept {
    pub(crate) const fn of(terms: &Terms) -> Self {
        Self {
            media_timeout: terms.media_timeout,
            rtcp: terms.rtcp,
            dtmf: terms.dtmf,
            unroutable: terms.unroutable,
            transcode: terms.transcode,
            far_side: terms.far_side,
            on_trial: terms.on_trial,
        }
    }
}
