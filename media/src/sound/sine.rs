//! Tones by table: exact, the same everywhere, and cheap enough for thousands of calls.

use crate::g711::RATE_HZ;

/// One turn at 1 Hz: a tone of `n` Hz takes every `n`th.
static TURN: [i16; RATE_HZ as usize] = turn();

/// The sample `at` of a tone of `hz` at full scale.
pub(crate) const fn sample(hz: u32, at: u64) -> i16 {
    TURN[(at * hz as u64 % RATE_HZ as u64) as usize]
}

/// The amplitude of a tone, out of 32 767, of `-level` dBm0: 0 dBm0 is 3.14 dB below full scale in
/// G.711's A-law and 3.17 in its mu-law (ITU-T G.711).
pub(crate) const fn amplitude(level_db: u8) -> i32 {
    // 10^(-1/20) in 16 bits, so often.
    let (mut amplitude, mut db) = (22_827_i64 << 16, 0);
    while db < level_db {
        amplitude = (amplitude * 58_409) >> 16;
        db += 1;
    }
    (amplitude >> 16) as i32
}

const fn turn() -> [i16; RATE_HZ as usize] {
    let mut samples = [0; RATE_HZ as usize];
    let mut at = 0;
    while at < samples.len() {
        let angle = at as f64 / RATE_HZ as f64;
        samples[at] = (sine(angle) * i16::MAX as f64) as i16;
        at += 1;
    }
    samples
}

/// The sine of a share of a turn, from 0 to 1: its series, within a quarter turn.
const fn sine(turns: f64) -> f64 {
    let within = if turns < 0.25 {
        turns
    } else if turns < 0.75 {
        0.5 - turns
    } else {
        turns - 1.0
    };
    let x = within * std::f64::consts::TAU;
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while n < 20.0 {
        term = -term * x * x / ((n + 1.0) * (n + 2.0));
        sum += term;
        n += 2.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_sine() {
        for (at, sample) in TURN.iter().enumerate() {
            let exact = (std::f64::consts::TAU * at as f64 / f64::from(RATE_HZ)).sin() * 32_767.0;
            assert!((f64::from(*sample) - exact).abs() < 1.5, "{at}");
        }
    }

    #[test]
    fn twenty_decibels_are_a_tenth() {
        assert_eq!(amplitude(0), 22_827);
        assert!((amplitude(20) - 2282).abs() < 15, "{}", amplitude(20));
    }
}
