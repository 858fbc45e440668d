//! Tones, and how loud they are.

use std::f64::consts::TAU;

/// A tone of half the scale.
pub(crate) fn sine(hz: f64, rate_hz: u32, samples: u32) -> Vec<i16> {
    let step = TAU * hz / f64::from(rate_hz);
    (0..samples).map(|n| (16_384.0 * (step * f64::from(n)).sin()) as i16).collect()
}

/// The level at one frequency, in dB, over the later half of the samples: filters have settled.
pub(crate) fn level_db(samples: &[i16], hz: f64, rate_hz: u32) -> f64 {
    let settled = &samples[samples.len() / 2..];
    let step = TAU * hz / f64::from(rate_hz);
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in settled.iter().enumerate() {
        // A Hann window: what lies beside does not leak.
        let window = 0.5 - 0.5 * (TAU * n as f64 / settled.len() as f64).cos();
        let value = f64::from(*sample) * window;
        re += value * (step * n as f64).cos();
        im += value * (step * n as f64).sin();
    }
    20.0 * (re.hypot(im) / settled.len() as f64).max(1e-9).log10()
}

/// All energy, in dB on the scale of [`level_db`].
pub(crate) fn power_db(samples: &[i16]) -> f64 {
    let settled = &samples[samples.len() / 2..];
    let sum: f64 = settled.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    // The amplitude of a tone of that power, through the window's mean of one half, in one of the two
    // halves of the spectrum.
    20.0 * ((2.0 * sum / settled.len() as f64).sqrt() / 4.0).max(1e-9).log10()
}
