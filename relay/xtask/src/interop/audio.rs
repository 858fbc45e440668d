//! Listens: which tone dominates a piece of audio, from recordings and from G.711 packets.

use crate::fail::{Fail, Outcome, While, ensure};
use std::f64::consts::PI;
use std::path::Path;

/// A piece of audio, one channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Audio {
    pub(super) samples: Vec<f64>,
    pub(super) rate_hz: u32,
}

/// The strongest tone of a piece of audio.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tone {
    pub(super) hz: f64,
    /// Part of the energy within [`AROUND_HZ`] of it, 0 to 1.
    pub(super) share: f64,
}

/// A tone may lie this far from what was sent: the window's resolution and the resampler's error.
const TOLERANCE_HZ: f64 = 15.0;

/// Energy this near to the peak is the tone's own.
const AROUND_HZ: f64 = 20.0;

/// A clean G.711 tone has more than 0.95; silence, noise or a second voice stay far below this.
const SHARE_MIN: f64 = 0.6;

/// Less than this much audio proves nothing, in seconds.
const LENGTH_MIN: f64 = 1.0;

impl Audio {
    /// What G.711 mu-law packets carry.
    pub(super) fn from_mulaw<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let samples = payloads.into_iter().flatten().map(|byte| f64::from(mulaw(*byte))).collect();
        Self { samples, rate_hz: 8000 }
    }

    /// A recording: the first channel of a 16-bit PCM file. The lengths in the header of a recording
    /// that was cut short are wrong, so the data goes to the end of the file.
    pub(super) fn from_wav(path: &Path) -> Outcome<Self> {
        let bytes = std::fs::read(path).while_(path.display())?;
        wav(&bytes).ok_or_else(|| Fail(format!("{}: not a 16-bit PCM recording", path.display())))
    }

    /// Fails unless this tone dominates.
    pub(super) fn must_be(&self, hz: u16, whose: &str) -> Outcome {
        let length = self.samples.len() as f64 / f64::from(self.rate_hz.max(1));
        ensure(length >= LENGTH_MIN, || format!("{whose}: only {length:.2} s of audio"))?;
        let Tone { hz: heard, share } = self.tone();
        let right = (heard - f64::from(hz)).abs() < TOLERANCE_HZ && share > SHARE_MIN;
        let percent = share * 100.0;
        ensure(right, || format!("{whose}: {heard:.0} Hz with {percent:.0} % instead of {hz} Hz"))
    }

    /// Its first so many seconds.
    pub(super) fn first(&self, seconds: f64) -> Self {
        let samples = (seconds * f64::from(self.rate_hz)) as usize;
        Self { samples: self.samples.iter().copied().take(samples).collect(), ..*self }
    }

    /// The keys that are pressed in it by tones (ITU-T Q.23): those that two frames in a row hold.
    pub(super) fn keys(&self) -> String {
        let frame = (self.rate_hz / 50) as usize;
        let mut keys = String::new();
        let (mut last, mut said) = (None, None);
        for samples in self.samples.chunks_exact(frame.max(1)) {
            let key = self.key(samples);
            if key.is_some() && key == last && said != key {
                keys.extend(key);
                said = key;
            }
            if key.is_none() && last.is_none() {
                said = None;
            }
            last = key;
        }
        keys
    }

    /// The key whose two tones are nearly all that a frame holds.
    fn key(&self, samples: &[f64]) -> Option<char> {
        let energy: f64 = samples.iter().map(|sample| sample * sample).sum();
        let share = |hz: f64| {
            let turn = |at: usize| 2.0 * PI * hz * at as f64 / f64::from(self.rate_hz);
            let both = samples.iter().enumerate().fold((0.0, 0.0), |(re, im), (at, sample)| {
                (re + sample * turn(at).cos(), im + sample * turn(at).sin())
            });
            2.0 * (both.0 * both.0 + both.1 * both.1) / (samples.len() as f64 * energy.max(1.0))
        };
        let strongest = |tones: &[f64; 4]| {
            let all = tones.iter().enumerate().map(|(at, hz)| (at, share(*hz)));
            all.max_by(|a, b| a.1.total_cmp(&b.1))
        };
        let ((row, low), (column, high)) = strongest(&ROWS).zip(strongest(&COLUMNS))?;
        let loud = energy / samples.len() as f64 > LOUD_MIN;
        let both = low > 0.2 && high > 0.2 && low + high > 0.75;
        (loud && both).then(|| KEYS.get(row)?.chars().nth(column)).flatten()
    }

    /// The strongest tone of the middle of the piece.
    fn tone(&self) -> Tone {
        let length = prev_power_of_two(self.samples.len()).min(WINDOW_MAX);
        let start = (self.samples.len() - length) / 2;
        let window = self.samples.get(start..start + length).unwrap_or_default();
        let mut real: Vec<f64> = window
            .iter()
            .enumerate()
            .map(|(at, sample)| sample * (0.5 - 0.5 * (2.0 * PI * at as f64 / length as f64).cos()))
            .collect();
        let mut imaginary = vec![0.0; length];
        fourier(&mut real, &mut imaginary);
        let hz = |bin: usize| bin as f64 * f64::from(self.rate_hz) / length as f64;
        let energy = |bin: usize| real[bin] * real[bin] + imaginary[bin] * imaginary[bin];
        let bins = 1..length / 2;
        let total: f64 = bins.clone().map(energy).sum();
        let peak =
            bins.clone().max_by(|a, b| energy(*a).total_cmp(&energy(*b))).unwrap_or_default();
        let near = bins.filter(|bin| (hz(*bin) - hz(peak)).abs() < AROUND_HZ);
        let share = if total > 0.0 { near.map(energy).sum::<f64>() / total } else { 0.0 };
        Tone { hz: hz(peak), share }
    }
}

/// In Hz (ITU-T Q.23).
const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [&str; 4] = ["123A", "456B", "789C", "*0#D"];

/// Mean square of a frame in which something is said.
const LOUD_MIN: f64 = 10_000.0;

/// Enough for a resolution below 1 Hz at 48 kHz, small enough to be instant.
const WINDOW_MAX: usize = 1 << 16;

fn prev_power_of_two(length: usize) -> usize {
    if length == 0 { 0 } else { 1 << length.ilog2() }
}

/// The fast Fourier transform in place, for a length that is a power of two.
fn fourier(real: &mut [f64], imaginary: &mut [f64]) {
    let length = real.len();
    let mut partner = 0;
    for at in 1..length {
        let mut bit = length >> 1;
        while partner & bit != 0 {
            partner ^= bit;
            bit >>= 1;
        }
        partner |= bit;
        if at < partner {
            real.swap(at, partner);
            imaginary.swap(at, partner);
        }
    }
    let mut size = 2;
    while size <= length {
        let step = -2.0 * PI / size as f64;
        for start in (0..length).step_by(size) {
            for offset in 0..size / 2 {
                let (sin, cos) = (step * offset as f64).sin_cos();
                let (low, high) = (start + offset, start + offset + size / 2);
                let re = real[high] * cos - imaginary[high] * sin;
                let im = real[high] * sin + imaginary[high] * cos;
                (real[high], imaginary[high]) = (real[low] - re, imaginary[low] - im);
                (real[low], imaginary[low]) = (real[low] + re, imaginary[low] + im);
            }
        }
        size *= 2;
    }
}

/// ITU-T G.711, mu-law, as 16-bit linear.
fn mulaw(byte: u8) -> i16 {
    let value = !byte;
    let magnitude = ((i32::from(value & 0x0f) << 3) + 0x84) << (value >> 4 & 7);
    let linear = magnitude - 0x84;
    (if value & 0x80 == 0 { linear } else { -linear }) as i16
}

/// The same backwards: what a peer plays that wants its audio encoded already.
pub(super) fn to_mulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs() + 0x84).min(0x7fff);
    let exponent = (magnitude >> 7).max(1).ilog2();
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent as u8) << 4 | mantissa as u8)
}

/// A tone of this length as mu-law bytes at half of full scale.
pub(super) fn mulaw_tone(hz: u16, seconds: usize) -> Vec<u8> {
    let phase = 2.0 * PI * f64::from(hz) / 8000.0;
    (0..seconds * 8000).map(|at| to_mulaw(((at as f64 * phase).sin() * 16383.0) as i16)).collect()
}

/// Keys as mu-law bytes: each is held for a tenth of a second, with as much silence behind it.
pub(super) fn mulaw_keys(keys: &str) -> Vec<u8> {
    let place = |key: char| {
        let column = |row: &&str| row.chars().position(|it| it == key);
        KEYS.iter().zip(ROWS).find_map(|(row, low)| Some((low, *COLUMNS.get(column(row)?)?)))
    };
    let sample = |at: usize, (low, high): (f64, f64)| {
        let turn = |hz: f64| (2.0 * PI * hz * at as f64 / 8000.0).sin();
        to_mulaw(((turn(low) + turn(high)) * 6000.0) as i16)
    };
    let silence = || std::iter::repeat_n(to_mulaw(0), 800);
    let of_key = |tones| (0..800).map(move |at| sample(at, tones)).chain(silence());
    // The first half second is for both ends to find each other.
    let pause = (0..5).flat_map(|_| silence());
    pause.chain(keys.chars().filter_map(place).flat_map(of_key)).collect()
}

fn wav(bytes: &[u8]) -> Option<Audio> {
    let number = |at: usize, length: usize| {
        bytes
            .get(at..at + length)?
            .iter()
            .rev()
            .try_fold(0_usize, |sum, byte| Some(sum << 8 | usize::from(*byte)))
    };
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut format) = (12, None);
    while let Some(name) = bytes.get(at..at + 4) {
        let body = at + 8;
        match name {
            b"fmt " => {
                format = Some((number(body + 2, 2)?, number(body + 4, 4)?, number(body + 14, 2)?))
            }
            b"data" => {
                let (channels, rate, bits) = format?;
                if bits != 16 || channels == 0 {
                    return None;
                }
                let frames = bytes.get(body..)?.chunks_exact(2 * channels);
                let samples = frames
                    .map(|frame| f64::from(i16::from_le_bytes([frame[0], frame[1]])))
                    .collect();
                return Some(Audio { samples, rate_hz: u32::try_from(rate).ok()? });
            }
            _ => {}
        }
        at = body + number(at + 4, 4)?.next_multiple_of(2);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Audio, mulaw, mulaw_keys, mulaw_tone, to_mulaw, wav};

    #[test]
    fn the_right_tone_passes_and_its_neighbour_does_not() {
        let tone = mulaw_tone(700, 2);
        let audio = Audio::from_mulaw([tone.as_slice()]);
        assert!(audio.must_be(700, "test").is_ok());
        assert!(audio.must_be(730, "test").is_err());
    }

    #[test]
    fn keys_are_heard_in_order_and_in_no_voice() {
        let pressed = mulaw_keys("5#08*11D");
        assert_eq!(Audio::from_mulaw([pressed.as_slice()]).keys(), "5#08*11D");
        for hz in [440, 700, 941, 1000, 1209] {
            let tone = mulaw_tone(hz, 2);
            assert_eq!(Audio::from_mulaw([tone.as_slice()]).keys(), "", "{hz}");
        }
    }

    #[test]
    fn silence_noise_and_a_snippet_are_no_tone() {
        let silence = vec![0xff; 16000];
        assert!(Audio::from_mulaw([silence.as_slice()]).must_be(440, "test").is_err());
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(16000)
        .collect();
        assert!(Audio::from_mulaw([noise.as_slice()]).must_be(440, "test").is_err());
        let snippet = mulaw_tone(440, 1);
        assert!(Audio::from_mulaw([&snippet[..4000]]).must_be(440, "test").is_err());
    }

    #[test]
    fn mulaw_survives_both_ways() {
        for byte in 0..=255 {
            // Two codes stand for zero; the encoder knows one.
            if byte != 0x7f {
                assert_eq!(to_mulaw(mulaw(byte)), byte, "{byte:#x}");
            }
        }
    }

    #[test]
    fn a_recording_cut_short_is_read_to_its_end() {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0".to_vec();
        file.extend(b"\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0\x01\0\xff\xff");
        let audio = wav(&file).unwrap();
        assert_eq!((audio.rate_hz, audio.samples), (8000, vec![1.0, -1.0]));
    }
}
