//! The two tones of a key (ITU-T Q.23): made, and recognised in speech (Q.24; Goertzel's algorithm).

use crate::g711::{Law, RATE_HZ};
use crate::sound::sine;

/// Keys that have tones: 0 to 9, `*`, `#` and A to D.
pub(crate) const KEYS: u8 = 16;
/// Samples of a packet of 20 ms.
pub(crate) const FRAME: usize = RATE_HZ as usize / 50;

const LOW_HZ: [u32; 4] = [697, 770, 852, 941];
const HIGH_HZ: [u32; 4] = [1209, 1336, 1477, 1633];
/// The event of each pair, low tones down, high tones across (RFC 4733, 3.2).
const PAD: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];

/// What a telephone sends: -9 dBm0 low, 2 dB more high, as lines take more of it away.
const LOW: i32 = sine::amplitude(9);
const HIGH: i32 = sine::amplitude(7);

/// Fills a packet with a key's tones from sample `first` on.
pub(crate) fn fill(frame: &mut [u8], law: Law, code: u8, first: u64) {
    let [low, high] = pair(code);
    for (octet, at) in frame.iter_mut().zip(first..) {
        let [low, high] = [(low, LOW), (high, HIGH)]
            .map(|(hz, amplitude)| (i32::from(sine::sample(hz, at)) * amplitude) >> 15);
        *octet = law.encode((low + high) as i16);
    }
}

fn pair(code: u8) -> [u32; 2] {
    for (row, codes) in PAD.iter().enumerate() {
        if let Some(column) = codes.iter().position(|of| *of == code) {
            return [LOW_HZ[row], HIGH_HZ[column]];
        }
    }
    [0, 0]
}

/// Samples that are judged together: 12.75 ms, so that a key of 40 ms fills two blocks wherever
/// they begin, and neighbouring tones are told apart.
const BLOCK: u16 = 102;
/// The weakest tone that counts: -34 dBm0, as power of the algorithm.
const TONE_MIN: f32 = 3.6e8;
/// The high tone may be 8 dB weaker than the low one, or 4 dB stronger (Q.24 for most countries);
/// as ratios of power.
const TWIST: f32 = 6.3;
const REVERSE_TWIST: f32 = 2.5;
/// A tone is 8 dB stronger than any other of its group.
const PEAK: f32 = 6.3;
/// The share of the block's energy that is in the two tones: speech has far more beside them. A pure
/// pair would have half the block's length.
const SHARE: f32 = 41.0;

/// Recognises keys in the speech of one leg.
///
/// A key begins with two blocks alike and ends with two that are not: one spoiled by a lost packet
/// ends nothing, and speech that looks like a key for one block begins nothing.
#[derive(Clone)]
pub(crate) struct Detector {
    filters: [Filter; 8],
    energy: f32,
    samples: u16,
    /// What the last block and the one before were.
    last: Option<u8>,
    misses: u8,
    key: Option<u8>,
}

#[derive(Clone, Copy, Default)]
struct Filter {
    factor: f32,
    last: f32,
    before: f32,
}

impl Detector {
    pub(crate) fn new() -> Self {
        let mut filters = [Filter::default(); 8];
        for (filter, hz) in filters.iter_mut().zip(LOW_HZ.into_iter().chain(HIGH_HZ)) {
            let turn = std::f64::consts::TAU * f64::from(hz) / f64::from(RATE_HZ);
            filter.factor = (2.0 * turn.cos()) as f32;
        }
        Self { filters, energy: 0.0, samples: 0, last: None, misses: 0, key: None }
    }

    /// Hears a packet of speech; the key that is heard at its end.
    pub(crate) fn hear(&mut self, law: Law, payload: &[u8]) -> Option<u8> {
        for octet in payload {
            let sample = f32::from(law.decode(*octet));
            self.energy += sample * sample;
            for filter in &mut self.filters {
                let now = sample + filter.factor * filter.last - filter.before;
                (filter.before, filter.last) = (filter.last, now);
            }
            self.samples += 1;
            if self.samples == BLOCK {
                let seen = self.judge();
                self.follow(seen);
            }
        }
        self.key
    }

    /// The key of the block that is full, which is then empty.
    fn judge(&mut self) -> Option<u8> {
        let power = self.filters.map(Filter::power);
        let energy = std::mem::take(&mut self.energy);
        self.samples = 0;
        for filter in &mut self.filters {
            (filter.last, filter.before) = (0.0, 0.0);
        }
        let (low, high) = (peak(&power[..4])?, peak(&power[4..])?);
        let (weak, strong) = (power[low], power[4 + high]);
        let loud = weak >= TONE_MIN && strong >= TONE_MIN;
        let balanced = strong < weak * REVERSE_TWIST && weak < strong * TWIST;
        let pure = weak + strong > SHARE * energy;
        (loud && balanced && pure).then(|| PAD[low][high])
    }

    fn follow(&mut self, seen: Option<u8>) {
        match (self.key, seen) {
            (Some(key), Some(seen)) if key == seen => self.misses = 0,
            (Some(_), _) if self.misses == 0 && self.last == self.key => self.misses = 1,
            (_, Some(seen)) if self.last == Some(seen) => {
                (self.key, self.misses) = (Some(seen), 0);
            }
            (Some(_), _) => (self.key, self.misses) = (None, 0),
            (None, _) => {}
        }
        self.last = seen;
    }
}

impl Filter {
    fn power(self) -> f32 {
        self.last * self.last + self.before * self.before - self.factor * self.last * self.before
    }
}

/// Which of a group stands out.
fn peak(group: &[f32]) -> Option<usize> {
    let (at, strongest) = group.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let alone =
        group.iter().enumerate().all(|(other, power)| other == at || power * PEAK < *strongest);
    alone.then_some(at)
}

impl std::fmt::Debug for Detector {
    /// Shows no digit.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key as some telephone sends it: levels in dBm0, and how far its tones are off.
    fn key(code: u8, ms: u64, (low_db, high_db): (f64, f64), off: f64) -> Vec<i16> {
        let [low, high] = pair(code).map(|hz| f64::from(hz) * off * std::f64::consts::TAU / 8000.0);
        let amplitude = |db: f64| 22_827.0 * 10_f64.powf(db / 20.0);
        (0..ms * 8)
            .map(|at| {
                let low = amplitude(low_db) * (low * at as f64).sin();
                (low + amplitude(high_db) * (high * at as f64 + 1.0).sin()) as i16
            })
            .collect()
    }

    /// The keys that begin in this sound.
    fn heard(samples: impl IntoIterator<Item = i16>) -> Vec<u8> {
        let mut detector = Detector::new();
        let (mut keys, mut last) = (Vec::new(), None);
        let octets: Vec<u8> = samples.into_iter().map(|sample| Law::A.encode(sample)).collect();
        for packet in octets.chunks(FRAME) {
            let now = detector.hear(Law::A, packet);
            if now != last {
                keys.extend(now);
            }
            last = now;
        }
        keys
    }

    fn silence(ms: usize) -> impl Iterator<Item = i16> {
        std::iter::repeat_n(0, ms * 8)
    }

    fn noise(samples: usize, level: f64) -> Vec<i16> {
        let mut state = 1_u32;
        (0..samples)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((f64::from(state >> 16) - 32_768.0) * level) as i16
            })
            .collect()
    }

    #[test]
    fn short_quiet_uneven_and_detuned_keys_are_heard_wherever_they_begin() {
        for code in 0..KEYS {
            for start in [0, 3, 7, 11] {
                for (levels, off) in [
                    ((-9.0, -7.0), 1.0),
                    ((-3.0, -1.0), 1.0),
                    ((-30.0, -30.0), 1.0),
                    ((-10.0, -16.0), 1.0),
                    ((-14.0, -11.0), 1.0),
                    ((-9.0, -7.0), 1.012),
                    ((-9.0, -7.0), 0.988),
                ] {
                    let two = || key(code, 50, levels, off).into_iter().chain(silence(50));
                    let sound = silence(start).chain(two()).chain(two());
                    assert_eq!(heard(sound), [code, code], "{start} ms, {levels:?}, {off}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_key_is_not_heard() {
        // Too short, too weak, one tone alone, too uneven, detuned.
        for (ms, levels, off) in [
            (20, (-9.0, -7.0), 1.0),
            (100, (-45.0, -45.0), 1.0),
            (100, (-9.0, -60.0), 1.0),
            (100, (-6.0, -18.0), 1.0),
            (100, (-18.0, -6.0), 1.0),
            (100, (-9.0, -7.0), 1.05),
        ] {
            for code in 0..KEYS {
                let sound = silence(13).chain(key(code, ms, levels, off)).chain(silence(60));
                assert_eq!(heard(sound), [0; 0], "{code} for {ms} ms at {levels:?}, {off}");
            }
        }
    }

    #[test]
    fn a_lost_packet_does_not_press_a_key_twice() {
        let mut sound = key(5, 300, (-9.0, -7.0), 1.0);
        sound.drain(1000..1160);
        assert_eq!(heard(sound.into_iter().chain(silence(60))), [5]);
    }

    #[test]
    fn a_key_is_heard_over_noise() {
        let sound: Vec<i16> =
            key(9, 100, (-9.0, -7.0), 1.0).into_iter().chain(silence(60)).collect();
        let noisy = sound.iter().zip(noise(sound.len(), 0.03)).map(|(key, noise)| key + noise);
        assert_eq!(heard(noisy), [9]);
    }

    /// Vowels at every pitch, gliding, with the formants of five of them: what sounds most like
    /// keys in speech.
    #[test]
    fn speech_presses_no_key() {
        let formants = [
            [730., 1090., 2440.],
            [270., 2290., 3010.],
            [300., 870., 2240.],
            [530., 1840., 2480.],
            [660., 1720., 2410.],
        ];
        let mut talked_off = 0;
        for (turn, formants) in formants.iter().cycle().take(60).enumerate() {
            let pitch = 80.0 + 4.0 * turn as f64;
            let mut phase = 0.0_f64;
            let sound: Vec<i16> = (0..24_000_u32)
                .map(|at| {
                    let glide = 1.0 + 0.3 * (f64::from(at) / 9000.0).sin();
                    phase += pitch * glide * std::f64::consts::TAU / 8000.0;
                    let harmonics = (3500.0 / (pitch * glide)) as u32;
                    let sum: f64 = (1..=harmonics)
                        .map(|n| {
                            let hz = pitch * glide * f64::from(n);
                            let gain: f64 = formants
                                .iter()
                                .map(|formant| 1.0 / (1.0 + ((hz - formant) / 60.0).powi(2)))
                                .sum();
                            gain * (phase * f64::from(n)).sin()
                        })
                        .sum();
                    (sum * 6000.0) as i16
                })
                .collect();
            talked_off += heard(sound).len();
        }
        assert_eq!(talked_off, 0);
        assert_eq!(heard(noise(8000 * 60, 0.5)), [0; 0]);
    }

    #[test]
    fn our_own_tones_are_keys_in_either_law() {
        for law in [Law::A, Law::Mu] {
            for code in 0..KEYS {
                let mut detector = Detector::new();
                let mut seen = None;
                for packet in 0..4 {
                    let mut frame = [0; FRAME];
                    fill(&mut frame, law, code, packet * FRAME as u64);
                    seen = detector.hear(law, &frame);
                }
                assert_eq!(seen, Some(code));
            }
        }
    }
}
