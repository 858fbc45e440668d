//! 8 kHz to 16 kHz and back by a half-band filter: flat to 3.5 kHz, and nothing above 4.5 kHz comes
//! through (down by 60 dB).

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Coefficients beside the middle one, of which every second is zero: 63 taps, 2 ms of delay.
const SIDE: usize = 16;
/// The shape of the Kaiser window, for 60 dB.
const BETA: f64 = 5.65;

/// The coefficients at odd distances from the middle, nearest first; the middle one is a half.
static HALF_BAND: LazyLock<[f32; SIDE]> = LazyLock::new(|| {
    let ideal = |at: f64| (PI * at / 2.0).sin() / (PI * at);
    let window = |at: f64| {
        let reach = at / (2 * SIDE) as f64;
        bessel(BETA * (1.0 - reach * reach).sqrt()) / bessel(BETA)
    };
    let mut side: [f64; SIDE] = std::array::from_fn(|n| {
        let at = (2 * n + 1) as f64;
        ideal(at) * window(at)
    });
    // Exactly one at no frequency at all, so that the level stays.
    let sum: f64 = side.iter().sum::<f64>() * 2.0;
    side.iter_mut().for_each(|tap| *tap *= 0.5 / sum);
    side.map(|tap| tap as f32)
});

/// The modified Bessel function of order zero.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..32 {
        term *= x / (2.0 * f64::from(n));
        sum += term * term;
    }
    sum
}

/// Twice as many samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct Up {
    past: [f32; 2 * SIDE - 1],
}

impl Up {
    /// Writes two samples for each.
    pub(crate) fn run(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        for sample in samples {
            let mut line = [0.0; 2 * SIDE];
            line[..2 * SIDE - 1].copy_from_slice(&self.past);
            line[2 * SIDE - 1] = f32::from(*sample);
            out.push(rounded(line[SIDE - 1]));
            out.push(rounded(2.0 * beside(&line)));
            self.past.copy_from_slice(&line[1..]);
        }
    }
}

/// Half as many samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct Down {
    odd: [f32; 2 * SIDE - 1],
    even: [f32; SIDE - 1],
}

impl Down {
    /// Writes a sample for each two.
    pub(crate) fn run(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        for pair in samples.chunks_exact(2) {
            let mut line = [0.0; 2 * SIDE];
            line[..2 * SIDE - 1].copy_from_slice(&self.odd);
            line[2 * SIDE - 1] = f32::from(pair[1]);
            out.push(rounded(0.5 * self.even[0] + beside(&line)));
            self.odd.copy_from_slice(&line[1..]);
            self.even.copy_within(1.., 0);
            self.even[SIDE - 2] = f32::from(pair[0]);
        }
    }
}

/// The filter without its middle, over every second sample: its middle lies between the two halves.
fn beside(line: &[f32; 2 * SIDE]) -> f32 {
    let (before, after) = line.split_at(SIDE);
    let pairs = before.iter().rev().zip(after);
    HALF_BAND.iter().zip(pairs).map(|(tap, (before, after))| tap * (before + after)).sum()
}

fn rounded(sample: f32) -> i16 {
    // A cast of a float saturates.
    sample.round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{level_db, sine};

    #[test]
    fn speech_keeps_its_level_and_what_has_no_room_is_gone() {
        for hz in [300.0, 1000.0, 2000.0, 3400.0] {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            Up::default().run(&sine(hz, 8000, 8000), &mut up);
            Down::default().run(&sine(hz, 16_000, 16_000), &mut down);
            for (samples, rate_hz) in [(&up, 16_000), (&down, 8000)] {
                let kept = level_db(samples, hz, rate_hz)
                    - level_db(&sine(hz, rate_hz, rate_hz), hz, rate_hz);
                assert!(kept.abs() < 0.1, "{hz} Hz at {rate_hz}: {kept} dB");
            }
            let image = level_db(&up, 8000.0 - hz, 16_000) - level_db(&up, hz, 16_000);
            assert!(image < -55.0, "the image of {hz} Hz: {image} dB");
        }
        for hz in [4600.0, 5000.0, 7000.0] {
            let mut down = Vec::new();
            Down::default().run(&sine(hz, 16_000, 16_000), &mut down);
            let alias = level_db(&down, 8000.0 - hz, 8000)
                - level_db(&sine(hz, 16_000, 16_000), hz, 16_000);
            assert!(alias < -55.0, "the alias of {hz} Hz: {alias} dB");
        }
    }
}
