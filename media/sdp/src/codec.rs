//! The codecs that speech can be turned into one another.

use crate::payload::Payload;
use crate::stream::Stream;

/// A codec that we can decode and encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 A-law.
    Pcma,
    /// G.711 µ-law.
    Pcmu,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus (RFC 7587).
    Opus,
}

/// From one codec to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conversion {
    /// What comes in.
    pub from: Codec,
    /// What goes out.
    pub to: Codec,
}

impl Codec {
    /// All of them, the one that costs least first.
    pub const ALL: [Self; 4] = [Self::Pcma, Self::Pcmu, Self::G722, Self::Opus];

    /// The codec of a payload type, if it is one of these.
    pub fn of(payload: &Payload) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| {
            let (encoding, clock_hz, channels) = codec.mapping();
            payload.encoding.eq_ignore_ascii_case(encoding)
                && (payload.clock_hz, payload.channels) == (clock_hz, channels)
        })
    }

    /// Its encoding name.
    pub const fn as_str(self) -> &'static str {
        self.mapping().0
    }

    /// The clock of its timestamps in Hz: that of G.722 is half its samples (RFC 3551, 4.5.2), that of
    /// Opus is 48 kHz whatever it carries (RFC 7587, 4.1).
    pub const fn clock_hz(self) -> u32 {
        self.mapping().1
    }

    /// It as it is offered, by its usual number.
    pub fn payload(self) -> Payload {
        let (encoding, clock_hz, channels) = self.mapping();
        let number = match self {
            Self::Pcma => 8,
            Self::Pcmu => 0,
            Self::G722 => 9,
            Self::Opus => 111,
        };
        Payload { number, encoding: encoding.into(), clock_hz, channels, fmtp: None }
    }

    const fn mapping(self) -> (&'static str, u32, u8) {
        match self {
            Self::Pcma => ("PCMA", 8000, 1),
            Self::Pcmu => ("PCMU", 8000, 1),
            Self::G722 => ("G722", 8000, 1),
            Self::Opus => ("opus", 48_000, 2),
        }
    }
}

impl Conversion {
    /// What two legs need that have no speech in common, from the one to the other; `None` where they
    /// have, or where it cannot be done.
    pub fn between(from: &Stream, to: &Stream) -> Option<Self> {
        let speech = |payload: &&Payload| payload.is_speech();
        let shared = |payload: &Payload| to.payloads.iter().any(|it| it.same_encoding(payload));
        if from.payloads.iter().filter(speech).any(shared) {
            return None;
        }
        let from = from.payloads.iter().find_map(Codec::of)?;
        Some(Self { from, to: to.payloads.iter().find_map(Codec::of)? })
    }
}
