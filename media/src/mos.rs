//! What a call sounded like, from what its packets did: the E-model (ITU-T G.107 for narrowband, G.107.1
//! for wideband), with the codecs of G.113.
//!
//! Each band has its own best: 4.41 is as good as G.711 gets, and as good as G.722 would be without its
//! own loss of quality.

/// What a codec itself takes away, and how it bears loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codec {
    /// `Ie`: what it takes away without any loss.
    impairment: f64,
    /// `Bpl`: how well it bears random loss.
    robustness: f64,
    band: Band,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Band {
    Narrow,
    Wide,
}

/// What happened on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Way {
    /// Lost, and late beyond use: 0 to 1.
    pub loss_fraction: f64,
    /// How much longer the runs of lost packets were than those of random loss (`BurstR`); 0 is taken
    /// as 1.
    pub burst_ratio: f64,
    /// Interarrival jitter.
    pub jitter_ms: f64,
    /// One-way delay of the network.
    pub delay_ms: f64,
}

/// R of a narrowband call with nothing wrong but the network (G.107 defaults).
const R_NARROW: f64 = 93.2;
/// R of a wideband call with nothing wrong but the network (G.107.1 defaults).
const R_WIDE: f64 = 129.0;
/// A far side's jitter buffer is taken to hold twice the interarrival jitter.
const BUFFER_PER_JITTER: f64 = 2.0;
/// One-way delay from which conversation suffers, in ms (Cole and Rosenbluth's fit to G.107).
const DELAY_KNEE_MS: f64 = 177.3;
/// G.107 was made for no burstier loss.
const BURST_RATIO_MAX: f64 = 4.0;

impl Codec {
    /// G.711 without concealment.
    pub const G711: Self = Self::narrow(0.0, 4.3);

    /// The codec of an encoding name (any case) in SDP; `None` where nobody has measured it.
    ///
    /// Values are those of G.113, Appendix I (narrowband) and IV (wideband), for Opus, which has none
    /// there, what its makers and WebRTC take for 24 kbit/s and more without FEC.
    pub fn named(encoding: &str) -> Option<Self> {
        const KNOWN: [(&str, Codec); 13] = [
            ("PCMA", Codec::G711),
            ("PCMU", Codec::G711),
            ("G729", Codec::narrow(11.0, 19.0)),
            ("G723", Codec::narrow(15.0, 16.1)),
            ("GSM", Codec::narrow(20.0, 10.0)),
            ("GSM-EFR", Codec::narrow(5.0, 10.0)),
            ("AMR", Codec::narrow(5.0, 10.0)),
            ("iLBC", Codec::narrow(11.0, 32.0)),
            ("G726-32", Codec::narrow(7.0, 4.3)),
            ("G722", Codec::wide(13.0, 4.9)),
            ("AMR-WB", Codec::wide(13.0, 4.9)),
            ("G7221", Codec::wide(13.0, 4.9)),
            ("opus", Codec::wide(6.0, 10.0)),
        ];
        let known = KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(encoding));
        known.map(|(_, codec)| *codec)
    }

    const fn narrow(impairment: f64, robustness: f64) -> Self {
        Self { impairment, robustness, band: Band::Narrow }
    }

    const fn wide(impairment: f64, robustness: f64) -> Self {
        Self { impairment, robustness, band: Band::Wide }
    }

    /// The mean opinion score of one direction, 1 to 4.5.
    pub fn mos(self, way: Way) -> f64 {
        let loss_percent = 100.0 * way.loss_fraction.clamp(0.0, 1.0);
        let burst_ratio = way.burst_ratio.clamp(1.0, BURST_RATIO_MAX);
        let delay_ms = way.delay_ms.max(0.0) + BUFFER_PER_JITTER * way.jitter_ms.max(0.0);
        let delay = 0.024 * delay_ms + 0.11 * (delay_ms - DELAY_KNEE_MS).max(0.0);
        let by_loss = loss_percent / (loss_percent / burst_ratio + self.robustness);
        let equipment = self.impairment + (95.0 - self.impairment) * by_loss;
        from_r(match self.band {
            Band::Narrow => R_NARROW - delay - equipment,
            // G.107.1 ends on the scale of narrowband by this ratio.
            Band::Wide => (R_WIDE - delay - equipment) / R_WIDE * 100.0,
        })
    }
}

/// The mean opinion score, 1 to 4.4, of one direction of a G.711 call: `loss_fraction` from 0 to 1
/// with loss taken as random (BurstR = 1), interarrival jitter and one-way network delay in ms.
pub fn mos(loss_fraction: f64, jitter_ms: f64, delay_ms: f64) -> f64 {
    Codec::G711.mos(Way { loss_fraction, burst_ratio: 1.0, jitter_ms, delay_ms })
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

    fn clean(encoding: &str) -> f64 {
        Codec::named(encoding).unwrap().mos(Way::default())
    }

    #[test]
    fn each_codec_has_its_own_best_and_an_unknown_one_has_none() {
        // R of G.729A is 82.2, of G.722 116 of 129.
        assert!((clean("g729") - 4.11).abs() < 0.02, "{}", clean("g729"));
        assert!((clean("G722") - 4.34).abs() < 0.03, "{}", clean("G722"));
        assert!(clean("opus") > clean("G722"));
        assert_eq!(clean("pcmu"), clean("PCMA"));
        assert_eq!(Codec::named("telephone-event"), None);
        assert_eq!(Codec::named("SILK"), None);
    }

    #[test]
    fn loss_in_bursts_is_worse_than_the_same_loss_spread_out() {
        let g711 = Codec::G711;
        let way = Way { loss_fraction: 0.01, burst_ratio: 1.0, ..Way::default() };
        let bursty = Way { burst_ratio: 3.0, ..way };
        assert!(g711.mos(bursty) < g711.mos(way) - 0.05);
        assert_eq!(g711.mos(Way { burst_ratio: 0.0, ..way }), g711.mos(way));
        let g729 = Codec::named("G729").unwrap();
        assert!(
            g729.mos(Way { loss_fraction: 0.05, ..way })
                > g711.mos(Way { loss_fraction: 0.05, ..way }),
            "concealment"
        );
    }
}
