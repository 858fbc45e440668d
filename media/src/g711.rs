//! G.711: 16-bit samples to octets and back (ITU-T G.711, tables 1 and 2).

/// The two laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// `PCMA`.
    A,
    /// `PCMU`.
    Mu,
}

/// Samples per second.
pub const RATE_HZ: u32 = 8000;

impl Law {
    /// The law of an SDP encoding name.
    pub fn of(encoding: &str) -> Option<Self> {
        if encoding.eq_ignore_ascii_case("PCMA") {
            Some(Self::A)
        } else if encoding.eq_ignore_ascii_case("PCMU") {
            Some(Self::Mu)
        } else {
            None
        }
    }

    /// The octet of a sample.
    pub const fn encode(self, sample: i16) -> u8 {
        // The positive half is one step nearer to zero than the negative.
        let magnitude = if sample < 0 { !sample } else { sample } as u16;
        match self {
            Self::A => {
                let sign = if sample < 0 { 0 } else { 0x80 };
                let value = magnitude >> 3;
                let octet = match value {
                    ..32 => value >> 1,
                    _ => {
                        let segment = value.ilog2() - 4;
                        (segment as u16) << 4 | value >> segment & 0xf
                    }
                };
                (sign | octet as u8) ^ EVEN_BITS
            }
            Self::Mu => {
                let sign = if sample < 0 { 0x80 } else { 0 };
                let value = (magnitude >> 2) + MU_BIAS;
                let value = if value > MU_MAX { MU_MAX } else { value };
                let segment = value.ilog2() - 5;
                let octet = (segment as u16) << 4 | value >> (segment + 1) & 0xf;
                !(sign | octet as u8)
            }
        }
    }

    /// The sample in the middle of those that have this octet.
    pub const fn decode(self, octet: u8) -> i16 {
        let (negative, magnitude) = match self {
            Self::A => {
                let octet = octet ^ EVEN_BITS;
                let (segment, step) = (octet >> 4 & 7, (octet & 0xf) as i16 * 2);
                let value = if segment == 0 { step + 1 } else { (step + 33) << (segment - 1) };
                (octet & 0x80 == 0, value << 3)
            }
            Self::Mu => {
                let octet = !octet;
                let (segment, step) = (octet >> 4 & 7, (octet & 0xf) as i16 * 2);
                (octet & 0x80 != 0, (((step + 33) << segment) - MU_BIAS as i16) << 2)
            }
        };
        if negative { -magnitude } else { magnitude }
    }
}

/// A-law octets travel with their even bits inverted.
const EVEN_BITS: u8 = 0x55;
const MU_BIAS: u16 = 33;
const MU_MAX: u16 = 0x1fff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_tables() {
        for (law, sample, octet, back) in [
            (Law::A, 0, 0xd5, 8),
            (Law::A, -1, 0x55, -8),
            (Law::A, i16::MAX, 0xaa, 32_256),
            (Law::A, i16::MIN, 0x2a, -32_256),
            (Law::Mu, 0, 0xff, 0),
            (Law::Mu, i16::MAX, 0x80, 32_124),
            (Law::Mu, i16::MIN, 0x00, -32_124),
        ] {
            assert_eq!(law.encode(sample), octet, "{law:?} {sample}");
            assert_eq!(law.decode(octet), back, "{law:?} {octet:#x}");
        }
    }

    #[test]
    fn every_octet_survives_a_round() {
        for law in [Law::A, Law::Mu] {
            for octet in 0..=u8::MAX {
                let sample = law.decode(octet);
                // Mu-law has two zeros.
                let same = law.encode(sample) == octet || sample == 0;
                assert!(same, "{law:?} {octet:#x} {sample}");
            }
        }
    }
}
