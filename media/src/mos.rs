//! What a call sounded like, from what its packets did: the E-model for G.711 (ITU-T G.107, G.113).

/// R of a G.711 call with nothing wrong but the network (G.107 defaults).
const R_BEST: f64 = 93.2;
/// Packet-loss robustness of G.711 without concealment (G.113, Appendix I); its `Ie` is 0.
const BPL_G711: f64 = 4.3;
/// A far side's jitter buffer is taken to hold twice the interarrival jitter.
const BUFFER_PER_JITTER: f64 = 2.0;
/// One-way delay from which conversation suffers, in ms (Cole and Rosenbluth's fit to G.107).
const DELAY_KNEE_MS: f64 = 177.3;

/// The mean opinion score, 1 to 4.4, of one direction of a G.711 call: `loss_fraction` from 0 to 1
/// with loss taken as random (BurstR = 1), interarrival jitter and one-way network delay in ms.
pub fn mos(loss_fraction: f64, jitter_ms: f64, delay_ms: f64) -> f64 {
    let loss_percent = 100.0 * loss_fraction.clamp(0.0, 1.0);
    let mouth_to_ear_ms = delay_ms.max(0.0) + BUFFER_PER_JITTER * jitter_ms.max(0.0);
    let delay_impairment =
        0.024 * mouth_to_ear_ms + 0.11 * (mouth_to_ear_ms - DELAY_KNEE_MS).max(0.0);
    let equipment_impairment = 95.0 * loss_percent / (loss_percent + BPL_G711);
    from_r(R_BEST - delay_impairment - equipment_impairment)
}

/// G.107, Annex B.
fn from_r(r: f64) -> f64 {
    let r = r.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_call_is_as_good_as_g711_gets() {
        assert!((mos(0.0, 0.0, 0.0) - 4.41).abs() < 0.01);
    }

    #[test]
    fn loss_without_concealment_is_heard_at_once() {
        // Ie,eff = 95 * 1 / 5.3 = 17.9: R = 75.3.
        assert!((mos(0.01, 0.0, 0.0) - 3.84).abs() < 0.02);
        assert!(mos(0.10, 0.0, 0.0) < 2.0);
    }

    #[test]
    fn delay_behind_the_knee_and_nonsense_stay_in_range() {
        assert!(mos(0.0, 0.0, 400.0) < mos(0.0, 0.0, 150.0) - 0.5);
        assert!(mos(0.0, 60.0, 60.0) < mos(0.0, 0.0, 60.0));
        for wild in [mos(2.0, 1e9, 1e9), mos(-1.0, -5.0, -5.0)] {
            assert!((1.0..=4.5).contains(&wild));
        }
    }
}
