//! G.722 at 64 kbit/s (ITU-T G.722, mode 1): two bands of 8 kHz by a quadrature mirror filter, each
//! coded by adaptive differences. The names of the steps are those of the recommendation, clause 6.

/// From 16 kHz samples to octets, two samples each.
#[derive(Clone, Debug)]
pub struct Encoder {
    delay: [i32; TAPS],
    low: Band,
    high: Band,
}

/// From octets to 16 kHz samples, two of them for each.
#[derive(Clone, Debug)]
pub struct Decoder {
    delay: [i32; TAPS],
    low: Band,
    high: Band,
}

impl Encoder {
    /// An encoder at rest.
    pub const fn new() -> Self {
        Self { delay: [0; TAPS], low: Band::new(DET_LOW), high: Band::new(DET_HIGH) }
    }

    /// Codes each two samples.
    pub fn encode(&mut self, samples: &[i16], octets: &mut Vec<u8>) {
        for pair in samples.chunks_exact(2) {
            let (low, high) = self.split(pair[0], pair[1]);
            octets.push(self.high.code_high(high) << 6 | self.low.code_low(low));
        }
    }

    /// The transmit QMF (3.1).
    fn split(&mut self, first: i16, second: i16) -> (i32, i32) {
        self.delay.copy_within(2.., 0);
        self.delay[TAPS - 2] = first.into();
        self.delay[TAPS - 1] = second.into();
        let (mut even, mut odd) = (0, 0);
        for (n, pair) in self.delay.chunks_exact(2).enumerate() {
            odd += pair[0] * QMF[n];
            even += pair[1] * QMF[QMF.len() - 1 - n];
        }
        ((even + odd) >> 14, (even - odd) >> 14)
    }
}

impl Decoder {
    /// A decoder at rest.
    pub const fn new() -> Self {
        Self { delay: [0; TAPS], low: Band::new(DET_LOW), high: Band::new(DET_HIGH) }
    }

    /// Decodes each octet to two samples.
    pub fn decode(&mut self, octets: &[u8], samples: &mut Vec<i16>) {
        for octet in octets {
            let low = self.low.decode_low(octet & 0x3f);
            let high = self.high.decode_high(octet >> 6);
            samples.extend(self.join(low, high));
        }
    }

    /// The receive QMF (4.4).
    fn join(&mut self, low: i32, high: i32) -> [i16; 2] {
        self.delay.copy_within(2.., 0);
        self.delay[TAPS - 2] = low + high;
        self.delay[TAPS - 1] = low - high;
        let (mut first, mut second) = (0, 0);
        for (n, pair) in self.delay.chunks_exact(2).enumerate() {
            second += pair[0] * QMF[n];
            first += pair[1] * QMF[QMF.len() - 1 - n];
        }
        [to_sample(first >> 11), to_sample(second >> 11)]
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// The adaptive predictor and quantizer of one band; encoder and decoder run the same.
#[derive(Clone, Debug)]
struct Band {
    /// The prediction of the next sample, and the part of it that the zeros make.
    predicted: i32,
    by_zeros: i32,
    /// The last two reconstructed samples, and without the poles' part.
    rebuilt: [i32; 2],
    partly_rebuilt: [i32; 2],
    /// The predictor's coefficients.
    poles: [i32; 2],
    zeros: [i32; 6],
    /// The last six differences.
    differences: [i32; 6],
    /// The logarithm of the quantizer's scale, and the scale.
    log_scale: i32,
    scale: i32,
}

impl Band {
    const fn new(scale: i32) -> Self {
        Self {
            predicted: 0,
            by_zeros: 0,
            rebuilt: [0; 2],
            partly_rebuilt: [0; 2],
            poles: [0; 2],
            zeros: [0; 6],
            differences: [0; 6],
            log_scale: 0,
            scale,
        }
    }

    /// SUBTRA and QUANTL: the six bits of a sample.
    fn code_low(&mut self, sample: i32) -> u8 {
        let difference = saturated(sample - self.predicted);
        let magnitude = if difference >= 0 { difference } else { -(difference + 1) };
        let reached = |level: &&i32| magnitude >= (**level * self.scale) >> 12;
        let interval = LEVELS.iter().take_while(reached).count();
        let code = match difference >= 0 {
            true => 61 - interval as u8,
            // The two largest steps down share what the code has no room for.
            false if interval < 2 => 63 - interval as u8,
            false => 33 - interval as u8,
        };
        self.adapt_low(code);
        code
    }

    /// SUBTRA and QUANTH: the two bits of a sample.
    fn code_high(&mut self, sample: i32) -> u8 {
        let difference = saturated(sample - self.predicted);
        let magnitude = if difference >= 0 { difference } else { -(difference + 1) };
        let outer = magnitude >= (LEVEL_HIGH * self.scale) >> 12;
        let code = match (difference >= 0, outer) {
            (true, false) => 3,
            (true, true) => 2,
            (false, false) => 1,
            (false, true) => 0,
        };
        self.adapt_high(code);
        code
    }

    /// INVQBL, RECONS and LIMIT: a sample from its six bits.
    fn decode_low(&mut self, code: u8) -> i32 {
        let step = STEPS_6[usize::from(code & 0x3f)];
        let sample = limited(self.predicted + ((self.scale * step) >> 15));
        self.adapt_low(code);
        sample
    }

    /// INVQAH, RECONS and LIMIT: a sample from its two bits.
    fn decode_high(&mut self, code: u8) -> i32 {
        let step = STEPS_2[usize::from(code & 3)];
        let sample = limited(self.predicted + ((self.scale * step) >> 15));
        self.adapt_high(code);
        sample
    }

    /// INVQAL, LOGSCL and SCALEL, then the predictor.
    fn adapt_low(&mut self, code: u8) {
        let coarse = usize::from(code >> 2 & 0x0f);
        let difference = (self.scale * STEPS_4[coarse]) >> 15;
        self.rescale(SCALES_LOW[coarse], 18_432, 8);
        self.predict(difference);
    }

    /// INVQAH, LOGSCH and SCALEH, then the predictor.
    fn adapt_high(&mut self, code: u8) {
        let code = usize::from(code & 3);
        let difference = (self.scale * STEPS_2[code]) >> 15;
        self.rescale(SCALES_HIGH[code], 22_528, 10);
        self.predict(difference);
    }

    fn rescale(&mut self, by: i32, most: i32, exponent: i32) {
        self.log_scale = (((self.log_scale * 127) >> 7) + by).clamp(0, most);
        let mantissa = INVERSE_LOG[(self.log_scale >> 6 & 31) as usize];
        let shift = exponent - (self.log_scale >> 11);
        self.scale = if shift < 0 { mantissa << -shift } else { mantissa >> shift } << 2;
    }

    /// Block 4: adapts the predictor to what was reconstructed, and predicts the next sample.
    fn predict(&mut self, difference: i32) {
        // RECONS and PARREC.
        let rebuilt = saturated(self.predicted + difference);
        let partly = saturated(self.by_zeros + difference);

        // UPPOL2.
        let [before, before_that] = self.partly_rebuilt.map(i32::is_negative);
        let same = partly.is_negative() == before;
        let quarter = saturated(self.poles[0] << 2);
        let step = if same { -quarter } else { quarter }.min(32_767);
        let step = (step >> 7) + if partly.is_negative() == before_that { 128 } else { -128 };
        let second = (step + ((self.poles[1] * 32_512) >> 15)).clamp(-12_288, 12_288);

        // UPPOL1.
        let step = if same { 192 } else { -192 };
        let first = saturated(step + ((self.poles[0] * 32_640) >> 15));
        let most = saturated(15_360 - second);
        self.poles = [first.clamp(-most, most), second];

        // UPZERO and DELAYA.
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, past) in self.zeros.iter_mut().zip(self.differences) {
            let same = past.is_negative() == difference.is_negative();
            *zero = saturated(if same { step } else { -step } + ((*zero * 32_640) >> 15));
        }
        self.differences.copy_within(..5, 1);
        self.differences[0] = difference;
        self.rebuilt = [rebuilt, self.rebuilt[0]];
        self.partly_rebuilt = [partly, self.partly_rebuilt[0]];

        // FILTEP, FILTEZ and PREDIC.
        let product =
            |(coefficient, value): (&i32, &i32)| (coefficient * saturated(value << 1)) >> 15;
        let by_poles: i32 = self.poles.iter().zip(&self.rebuilt).map(product).sum();
        let by_zeros: i32 = self.zeros.iter().zip(&self.differences).map(product).sum();
        self.by_zeros = saturated(by_zeros);
        self.predicted = saturated(saturated(by_poles) + self.by_zeros);
    }
}

fn saturated(value: i32) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}

/// LIMIT: 15 bits, as both bands are added afterwards.
fn limited(value: i32) -> i32 {
    value.clamp(-16_384, 16_383)
}

fn to_sample(value: i32) -> i16 {
    saturated(value) as i16
}

const TAPS: usize = 24;
/// Every other coefficient of the symmetric filter, from its end (table 11).
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
/// The scales at rest.
const DET_LOW: i32 = 32;
const DET_HIGH: i32 = 8;

/// Decision levels of QUANTL.
const LEVELS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// The decision level of QUANTH.
const LEVEL_HIGH: i32 = 564;
/// Outputs of the inverse quantizers of six, four and two bits.
const STEPS_6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
const STEPS_4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
const STEPS_2: [i32; 4] = [-7408, -1616, 7408, 1616];
/// What each coarse code adds to the logarithm of the scale.
const SCALES_LOW: [i32; 16] =
    [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];
const SCALES_HIGH: [i32; 4] = [798, -214, 798, -214];
const INVERSE_LOG: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise that is loud and low by turns.
    fn rough(count: usize) -> Vec<i16> {
        let (mut seed, mut level) = (1_u32, 0_i32);
        let step = |n: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let loud = if n % 4000 < 2000 { 1 } else { 8 };
            level = (level * 3 + i32::from((seed >> 16) as i16) / loud) / 4;
            level as i16
        };
        (0..count).map(step).collect()
    }

    fn digest(octets: impl IntoIterator<Item = u8>) -> u64 {
        octets.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// The digests are those of libspandsp 0.0.6, which passes the ITU's test sequences.
    #[test]
    fn another_implementation_says_the_same_bit_by_bit() {
        let (mut octets, mut samples) = (Vec::new(), Vec::new());
        Encoder::new().encode(&rough(48_000), &mut octets);
        assert_eq!(octets[1000..1004], [0x98, 0x7a, 0xb9, 0xba]);
        assert_eq!(digest(octets.iter().copied()), 0xe488_5828_f8f8_bfe8);
        Decoder::new().decode(&octets, &mut samples);
        assert_eq!(samples[2000..2004], [-555, -1468, -7896, -3989]);
        let samples = samples.into_iter().flat_map(i16::to_be_bytes);
        assert_eq!(digest(samples), 0xb781_c01b_ee9c_793e);
    }

    #[test]
    fn no_input_overflows() {
        let mut samples = Vec::new();
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for n in 0..200_000_u32 {
            let value = n.wrapping_mul(2_654_435_761) >> 16;
            samples.push(match value % 3 {
                0 => i16::MAX,
                1 => i16::MIN,
                _ => value as i16,
            });
        }
        encoder.encode(&samples, &mut Vec::new());
        let octets: Vec<u8> = samples.iter().map(|sample| *sample as u8).collect();
        decoder.decode(&octets, &mut Vec::new());
        decoder.decode(&[0; 50_000], &mut Vec::new());
        decoder.decode(&[0xff; 50_000], &mut Vec::new());
    }
}
