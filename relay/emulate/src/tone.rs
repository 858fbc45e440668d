//! A tone, made and recognised.

use media::g711::RATE_HZ;
use std::f64::consts::TAU;

/// Loud, and far from clipping: -10 dBm0, about.
const AMPLITUDE: f64 = 8000.0;

/// The sample `at` of a tone that never stops.
pub(crate) fn sample(hz: u32, at: u64) -> i16 {
    let turn = (at * u64::from(hz)) % u64::from(RATE_HZ);
    (AMPLITUDE * (TAU * turn as f64 / f64::from(RATE_HZ)).sin()) as i16
}

/// How much of what was heard was the tone: block by block, so that neither loss nor a jump of
/// phase counts against it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    tone: f64,
    all: f64,
}

impl Share {
    /// Adds a block of samples (Goertzel's algorithm at `hz`).
    pub(crate) fn add(&mut self, hz: u32, block: impl ExactSizeIterator<Item = i16>) {
        let len = block.len() as f64;
        let turn = TAU * f64::from(hz) / f64::from(RATE_HZ);
        let factor = 2.0 * turn.cos();
        let (mut last, mut before, mut energy) = (0.0, 0.0, 0.0);
        for sample in block {
            let sample = f64::from(sample);
            energy += sample * sample;
            (last, before) = (sample + factor * last - before, last);
        }
        let power = last * last + before * before - factor * last * before;
        self.all += energy;
        if len > 0.0 {
            // A tone of amplitude a has power (a * len / 2)^2 here, and energy a^2 * len / 2.
            self.tone += 2.0 * power / len;
        }
    }

    /// From 0 to 1; 0 in silence.
    pub(crate) fn get(self) -> f64 {
        if self.all > 0.0 { (self.tone / self.all).clamp(0.0, 1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::g711::Law;

    fn heard(law: Law, played: u32, expected: u32) -> f64 {
        let mut share = Share::default();
        for packet in 0..50_u64 {
            let samples: Vec<i16> = (packet * 160..(packet + 1) * 160)
                .map(|at| law.decode(law.encode(sample(played, at))))
                .collect();
            share.add(expected, samples.into_iter());
        }
        share.get()
    }

    #[test]
    fn own_tone_is_heard_and_another_is_not() {
        for law in [Law::A, Law::Mu] {
            assert!(heard(law, 1000, 1000) > 0.99);
            assert!(heard(law, 425, 425) > 0.97);
            assert!(heard(law, 1000, 600) < 0.01);
        }
    }

    #[test]
    fn silence_and_nothing_are_no_tone() {
        assert_eq!(Share::default().get(), 0.0);
        let mut share = Share::default();
        share.add(1000, std::iter::repeat_n(0, 160));
        assert_eq!(share.get(), 0.0);
    }
}
