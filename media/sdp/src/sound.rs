//! Sounds that a leg's far side is played instead of what would be carried to it.

use std::sync::Arc;

/// A sound, from its beginning over and over until something else is to be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    /// A tone of the telephone network.
    Tone(Tone),
    /// A recording.
    Recording(Recording),
}

/// A tone with its cadence (ITU-T E.180).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    /// One frequency or two at once, in Hz; 0 is none.
    pub hz: [u16; 2],
    /// How long it sounds, rests, sounds again and rests again, in ms.
    pub cadence_ms: [u16; 4],
}

impl Tone {
    /// The ringing tone of most of Europe.
    pub const RINGING: Self = Self { hz: [425, 0], cadence_ms: [1000, 4000, 0, 0] };
    /// Now and then two short notes: somebody is there, and will be back.
    pub const HOLDING: Self = Self { hz: [425, 0], cadence_ms: [200, 200, 200, 4400] };

    /// What a caller hears while it rings in this country (ISO 3166), by ITU-T E.180, supplement 2.
    pub fn ringing_in(country: &str) -> Self {
        let tone = |hz, cadence_ms| Self { hz, cadence_ms };
        match country {
            "US" | "CA" | "PR" | "JM" | "BS" | "BB" | "DO" | "TT" => {
                tone([440, 480], [2000, 4000, 0, 0])
            }
            "GB" | "IE" | "GG" | "JE" | "IM" | "GI" | "MT" | "HK" | "MY" | "NZ" | "ZA" => {
                tone([400, 450], [400, 200, 400, 2000])
            }
            "AU" | "IN" | "SG" => tone([400, 425], [400, 200, 400, 2000]),
            "JP" => tone([400, 420], [1000, 2000, 0, 0]),
            "KR" | "TW" => tone([440, 480], [1000, 2000, 0, 0]),
            "FR" | "MC" => tone([440, 0], [1500, 3500, 0, 0]),
            "ES" => tone([425, 0], [1500, 3000, 0, 0]),
            "BE" => tone([425, 0], [1000, 3000, 0, 0]),
            "SE" | "LT" => tone([425, 0], [1000, 5000, 0, 0]),
            "HU" => tone([425, 0], [1250, 3750, 0, 0]),
            "TR" => tone([450, 0], [2000, 4000, 0, 0]),
            "CN" => tone([450, 0], [1000, 4000, 0, 0]),
            "IL" => tone([400, 0], [1000, 3000, 0, 0]),
            _ => Self::RINGING,
        }
    }
}

/// Speech or music at 8000 Hz in 16 bits. Who plays it shares it.
#[derive(Clone, PartialEq, Eq)]
pub struct Recording(Arc<[i16]>);

impl Recording {
    /// Of these samples; `None` if there is none.
    pub fn new(samples: Vec<i16>) -> Option<Self> {
        (!samples.is_empty()).then(|| Self(samples.into()))
    }
    /// Its samples.
    pub fn samples(&self) -> &[i16] {
        &self.0
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recording({} ms)", self.0.len() / 8)
    }
}
