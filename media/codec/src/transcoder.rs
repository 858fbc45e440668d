//! One direction of one call, from codec to codec.

use crate::resample::{Down, Up};
use crate::{Failure, PACKET_MS_MAX, g722, opus};
use media::g711::Law;
use sdp::{Codec, Conversion};

/// Turns packets of one codec into such of another.
#[derive(Debug)]
pub struct Transcoder {
    conversion: Conversion,
    from: Decoder,
    rate: Rate,
    to: Encoder,
    /// Samples as decoded, and at the other rate.
    samples: Vec<i16>,
    resampled: Vec<i16>,
}

#[derive(Debug)]
enum Decoder {
    G711(Law),
    G722(Box<g722::Decoder>),
    Opus(opus::Decoder),
}

#[derive(Debug)]
enum Encoder {
    G711(Law),
    G722(Box<g722::Encoder>),
    Opus(opus::Encoder),
}

/// From the rate of one codec's samples to that of the other's.
#[derive(Debug)]
enum Rate {
    Same,
    Up(Box<Up>),
    Down(Box<Down>),
}

/// Samples a second; Opus has whatever the other codec has.
const NARROW_HZ: u32 = 8000;
const WIDE_HZ: u32 = 16_000;

const fn rate_hz(codec: Codec) -> Option<u32> {
    match codec {
        Codec::Pcma | Codec::Pcmu => Some(NARROW_HZ),
        Codec::G722 => Some(WIDE_HZ),
        Codec::Opus => None,
    }
}

impl Transcoder {
    /// A transcoder at rest.
    pub fn new(conversion: Conversion) -> Result<Self, Failure> {
        let Conversion { from, to } = conversion;
        let (one, two) = (rate_hz(from), rate_hz(to));
        let came_hz = one.or(two).unwrap_or(WIDE_HZ);
        let goes_hz = two.or(one).unwrap_or(WIDE_HZ);
        let rate = match came_hz.cmp(&goes_hz) {
            std::cmp::Ordering::Equal => Rate::Same,
            std::cmp::Ordering::Less => Rate::Up(Box::default()),
            std::cmp::Ordering::Greater => Rate::Down(Box::default()),
        };
        let from = match from {
            Codec::Pcma => Decoder::G711(Law::A),
            Codec::Pcmu => Decoder::G711(Law::Mu),
            Codec::G722 => Decoder::G722(Box::default()),
            Codec::Opus => Decoder::Opus(opus::Decoder::new(came_hz)?),
        };
        let to = match to {
            Codec::Pcma => Encoder::G711(Law::A),
            Codec::Pcmu => Encoder::G711(Law::Mu),
            Codec::G722 => Encoder::G722(Box::default()),
            Codec::Opus => Encoder::Opus(opus::Encoder::new(goes_hz)?),
        };
        let (samples, resampled) = (Vec::new(), Vec::new());
        Ok(Self { conversion, from, rate, to, samples, resampled })
    }

    /// What it does.
    pub const fn conversion(&self) -> Conversion {
        self.conversion
    }

    /// Writes what `payload` says in the other codec, behind what is in `out` already. What fails
    /// leaves `out` as it was.
    pub fn transcode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        self.samples.clear();
        self.decode(payload)?;
        let samples = match &mut self.rate {
            Rate::Same => &self.samples,
            Rate::Up(up) => {
                self.resampled.clear();
                up.run(&self.samples, &mut self.resampled);
                &self.resampled
            }
            Rate::Down(down) => {
                self.resampled.clear();
                down.run(&self.samples, &mut self.resampled);
                &self.resampled
            }
        };
        match &mut self.to {
            Encoder::G711(law) => out.extend(samples.iter().map(|sample| law.encode(*sample))),
            Encoder::G722(encoder) => encoder.encode(samples, out),
            Encoder::Opus(encoder) => encoder.encode(samples, out)?,
        }
        Ok(())
    }

    fn decode(&mut self, payload: &[u8]) -> Result<(), Failure> {
        if payload.is_empty() {
            return Err(Failure::Empty);
        }
        // 64 kbit/s, all of them but Opus.
        if !matches!(self.from, Decoder::Opus(_)) && payload.len() > 8 * PACKET_MS_MAX {
            return Err(Failure::TooLong);
        }
        match &mut self.from {
            Decoder::G711(law) => self.samples.extend(payload.iter().map(|o| law.decode(*o))),
            Decoder::G722(decoder) => decoder.decode(payload, &mut self.samples),
            Decoder::Opus(decoder) => decoder.decode(payload, &mut self.samples)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{level_db, power_db, sine};

    /// The tone as this codec says it, in packets of `ms`.
    fn spoken(codec: Codec, hz: f64, ms: usize) -> Vec<Vec<u8>> {
        let Some(rate) = rate_hz(codec) else {
            let mut to_opus =
                Transcoder::new(Conversion { from: Codec::G722, to: Codec::Opus }).unwrap();
            return through(&mut to_opus, &spoken(Codec::G722, hz, ms));
        };
        let samples = sine(hz, rate, 2 * rate);
        let mut wide = g722::Encoder::new();
        let packet = |samples: &[i16]| {
            let mut packet = Vec::new();
            match codec {
                Codec::Pcma => packet.extend(samples.iter().map(|it| Law::A.encode(*it))),
                Codec::Pcmu => packet.extend(samples.iter().map(|it| Law::Mu.encode(*it))),
                Codec::G722 | Codec::Opus => wide.encode(samples, &mut packet),
            }
            packet
        };
        samples.chunks_exact(rate as usize * ms / 1000).map(packet).collect()
    }

    fn through(transcoder: &mut Transcoder, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let turned = |packet: &Vec<u8>| {
            let mut out = Vec::new();
            transcoder.transcode(packet, &mut out).unwrap();
            out
        };
        packets.iter().map(turned).collect()
    }

    /// What is heard of it.
    fn heard(codec: Codec, packets: &[Vec<u8>]) -> (Vec<i16>, u32) {
        let mut samples = Vec::new();
        match codec {
            Codec::Pcma => samples.extend(packets.iter().flatten().map(|o| Law::A.decode(*o))),
            Codec::Pcmu => samples.extend(packets.iter().flatten().map(|o| Law::Mu.decode(*o))),
            Codec::G722 => g722::Decoder::new().decode(&packets.concat(), &mut samples),
            Codec::Opus => {
                let mut decoder = opus::Decoder::new(WIDE_HZ).unwrap();
                packets.iter().for_each(|it| decoder.decode(it, &mut samples).unwrap());
            }
        }
        (samples, rate_hz(codec).unwrap_or(WIDE_HZ))
    }

    /// A tone of half the scale, on the scale of `level_db`: a quarter of its amplitude.
    const AS_SAID_DB: f64 = 72.25;

    fn judge(what: &str, (samples, rate_hz): (Vec<i16>, u32), hz: f64, clean_db: f64) {
        let (level, all) = (level_db(&samples, hz, rate_hz), power_db(&samples));
        let off = level - AS_SAID_DB;
        assert!(off.abs() < 1.0, "{what}: {hz} Hz is off by {off:.2} dB");
        let noise = 10.0 * (10_f64.powf(all / 10.0) - 10_f64.powf(level / 10.0)).max(1.0).log10();
        assert!(
            level - noise > clean_db,
            "{what}: {hz} Hz is {:.1} dB above the rest",
            level - noise
        );
    }

    #[test]
    fn a_tone_stays_that_tone_from_every_codec_to_every_other() {
        for from in Codec::ALL {
            for to in Codec::ALL.into_iter().filter(|to| *to != from) {
                let mut transcoder = Transcoder::new(Conversion { from, to }).unwrap();
                let out = through(&mut transcoder, &spoken(from, 1000.0, 20));
                assert_eq!(out.len(), 100);
                judge(&format!("{from:?} to {to:?}"), heard(to, &out), 1000.0, 20.0);
            }
        }
    }

    #[test]
    fn three_codecs_in_a_row_still_say_the_tone() {
        for hz in [400.0, 1004.0, 3000.0] {
            let mut one =
                Transcoder::new(Conversion { from: Codec::Pcma, to: Codec::G722 }).unwrap();
            let mut two =
                Transcoder::new(Conversion { from: Codec::G722, to: Codec::Pcmu }).unwrap();
            let out = through(&mut two, &through(&mut one, &spoken(Codec::Pcma, hz, 20)));
            judge("A-law, G.722, µ-law", heard(Codec::Pcmu, &out), hz, 25.0);
        }
    }

    #[test]
    fn a_packet_lasts_as_long_as_it_did() {
        for from in Codec::ALL {
            for to in Codec::ALL.into_iter().filter(|to| *to != from) {
                for ms in [10, 20, 30, 40, 60, 120] {
                    let mut transcoder = Transcoder::new(Conversion { from, to }).unwrap();
                    let out = through(&mut transcoder, &spoken(from, 500.0, ms));
                    let (samples, rate_hz) = heard(to, &out);
                    let said_ms = samples.len() * 1000 / rate_hz as usize;
                    assert_eq!(said_ms, out.len() * ms, "{from:?} to {to:?}, {ms} ms");
                    let most = if to == Codec::Opus { 60 * ms / 10 } else { 8 * ms };
                    assert!(out.iter().all(|packet| packet.len() <= most));
                }
            }
        }
    }

    #[test]
    fn what_nobody_can_have_meant_is_refused_and_the_next_packet_is_heard() {
        let mut to_opus =
            Transcoder::new(Conversion { from: Codec::Pcma, to: Codec::Opus }).unwrap();
        let mut out = vec![7];
        assert_eq!(to_opus.transcode(&[], &mut out), Err(Failure::Empty));
        assert_eq!(to_opus.transcode(&[0xd5; 161], &mut out), Err(Failure::OddLength));
        assert_eq!(to_opus.transcode(&[0xd5; 1000], &mut out), Err(Failure::TooLong));
        assert_eq!(out, [7]);
        assert_eq!(to_opus.transcode(&[0xd5; 160], &mut out), Ok(()));
        assert!(out.len() > 1);

        let mut from_opus =
            Transcoder::new(Conversion { from: Codec::Opus, to: Codec::G722 }).unwrap();
        let mut seed = 1_u32;
        for n in 0..20_000 {
            let mut octet = || {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as u8
            };
            let packet: Vec<u8> = (0..n % 300).map(|_| octet()).collect();
            out.clear();
            let _ = from_opus.transcode(&packet, &mut out);
            assert!(out.len() <= 8 * PACKET_MS_MAX);
        }
        let speech = spoken(Codec::Opus, 1000.0, 20);
        judge("after noise", heard(Codec::G722, &through(&mut from_opus, &speech)), 1000.0, 20.0);
    }
}
