//! What one relay has shown in one round.

use super::live;
use super::order::Carried;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One relay in one round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) round: u32,
    pub(super) relay: String,
    /// Relay, arrivals, and in the closed loop all else, without the cost of making the traffic.
    #[serde(deserialize_with = "or_none")]
    pub(super) cpu_us_per_packet: f64,
    /// The part of it that the relay's own threads took.
    #[serde(deserialize_with = "or_none")]
    pub(super) relay_us_per_packet: f64,
    /// The part of it that the kernel's thread for arrivals took.
    #[serde(deserialize_with = "or_none")]
    pub(super) arrivals_us_per_packet: f64,
    /// Processors in use.
    #[serde(deserialize_with = "or_none")]
    pub(super) cores: f64,
    pub(super) latency_us: Percentiles,
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) lost_at: LostAt,
    /// The longest that nothing at all ran on the relay's processor, in the open loop: then the machine had it.
    pub(super) held_up_ms: f64,
    pub(super) wrong_port: u64,
    /// Packets looked at whole, and how many of them were not as they should be.
    pub(super) looked_at: u64,
    pub(super) damaged: u64,
    /// What opened those that were encrypted.
    pub(super) opened_by: String,
    /// The part of its slots that the generator began too late: above a few percent its processor was not its
    /// own.
    #[serde(deserialize_with = "or_none")]
    pub(super) late_share: f64,
    /// What carried our legs in the end.
    pub(super) carried: Vec<Carried>,
    pub(super) resident: u64,
    pub(super) resident_before: u64,
}

/// Where packets were lost, warm-up included, as far as kernel and relay say; what a closed loop or the far
/// sides do not send is lost nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LostAt {
    /// On the cable towards the relay, whose 256 places were full.
    pub(super) cable_in: u64,
    /// At a full socket of the relay, or a full ring of AF_XDP.
    pub(super) full: u64,
    /// By the relay, for a reason.
    pub(super) dropped: BTreeMap<String, u64>,
    /// On the way out: refused by the kernel, or the cable full at the far end.
    pub(super) cable_out: u64,
}

impl fmt::Display for LostAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = [
            ("on the cable in", self.cable_in),
            ("at full sockets or rings", self.full),
            ("on the way out", self.cable_out),
        ];
        let places = places.into_iter().chain(self.dropped.iter().map(|(why, &n)| (&**why, n)));
        let said: Vec<String> = places
            .filter(|&(_, packets)| packets > 0)
            .map(|(place, packets)| format!("{packets} {place}"))
            .collect();
        f.write_str(&if said.is_empty() { "nowhere known".to_owned() } else { said.join(", ") })
    }
}

/// Added latency in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Percentiles {
    #[serde(deserialize_with = "or_none")]
    pub(super) p50: f64,
    #[serde(deserialize_with = "or_none")]
    pub(super) p99: f64,
    #[serde(deserialize_with = "or_none")]
    pub(super) p999: f64,
}

/// JSON has no figure for one that could not be taken.
fn or_none<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

impl Percentiles {
    /// Of single latencies, in nanoseconds.
    pub(super) fn of(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        let at = |share: f64| {
            let place = (all.len() as f64 * share) as usize;
            all.get(place).map_or(f64::NAN, |&ns| ns as f64 / 1e3)
        };
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }

    /// Of buckets that latencies were counted in.
    pub(super) fn of_buckets(buckets: &[u64]) -> Self {
        let all: u64 = buckets.iter().sum();
        let at = |share: f64| {
            let wanted = (all as f64 * share) as u64;
            let mut seen = 0;
            let bucket = buckets.iter().position(|count| {
                seen += count;
                seen > wanted
            });
            bucket.map_or(f64::NAN, |bucket| live::bucket_end_ns(bucket) as f64 / 1e3)
        };
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

/// The middle one, and how far the others are from it.
pub(super) fn median(mut values: Vec<f64>) -> Spread {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (values.first(), values.last()) else {
        return Spread::NONE;
    };
    Spread { median: values[values.len() / 2], low, high }
}

/// Several rounds of one figure.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Spread {
    #[serde(deserialize_with = "or_none")]
    pub(super) median: f64,
    #[serde(deserialize_with = "or_none")]
    pub(super) low: f64,
    #[serde(deserialize_with = "or_none")]
    pub(super) high: f64,
}

impl Spread {
    pub(super) const NONE: Self = Self { median: f64::NAN, low: f64::NAN, high: f64::NAN };

    /// A figure that was taken once.
    pub(super) fn one(value: f64) -> Self {
        Self { median: value, low: value, high: value }
    }

    /// How often it goes into one.
    pub(super) fn inverse(self) -> Self {
        Self { median: 1.0 / self.median, low: 1.0 / self.high, high: 1.0 / self.low }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_buckets_are_those_of_what_was_counted() {
        let mut buckets = vec![0; 1024];
        buckets[31] = 50;
        buckets[63] = 49;
        buckets[95] = 1;
        let seen = Percentiles::of_buckets(&buckets);
        assert_eq!((seen.p50, seen.p99, seen.p999), (0.064, 0.128, 0.128));
        assert!(Percentiles::of_buckets(&[0; 4]).p50.is_nan());
        assert_eq!(Percentiles::of((1..=1000).rev().collect()).p50, 0.501);
    }

    #[test]
    fn the_middle_is_the_middle() {
        let spread = median(vec![3.0, f64::NAN, 1.0, 2.0]);
        assert_eq!((spread.median, spread.low, spread.high), (2.0, 1.0, 3.0));
    }
}
