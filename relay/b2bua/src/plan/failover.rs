//! When a target gives way to the next one, and when it rests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The responses after which the next target is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover(Arc<[u16]>);

/// Unless it is said otherwise (TDR-FO-001, TDR-FO-004): who does not know us by the credentials that
/// we have has not asked his subscriber.
const USUAL: &[u16] = &[401, 407, 408, 503, 504];
/// Answers of the subscriber's: ringing again elsewhere would show as several missed calls. A class of
/// statuses does not mean them; they can be named.
const SUBSCRIBERS: &[u16] = &[404, 410, 480, 484, 485, 486];
/// What the one we cancelled answers.
const CANCELLED: u16 = 487;

impl Default for Failover {
    fn default() -> Self {
        Self(USUAL.into())
    }
}

/// Why a word names no statuses: `said` completes the sentence that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoStatus {
    /// What is wrong.
    pub said: &'static str,
    /// What to write instead, if that is known.
    pub hint: Option<&'static str>,
}

impl Failover {
    /// Whether the next target is tried after this status.
    pub fn holds(&self, status: u16) -> bool {
        self.0.binary_search(&status).is_ok()
    }

    /// Whether the status says that the target itself is in trouble, which counts for its breaker.
    pub fn is_trouble(&self, status: u16) -> bool {
        matches!(status, 408 | 500..=599) && self.holds(status)
    }

    /// The statuses that a word such as `503` or `5xx` means.
    pub fn statuses(word: &str) -> Result<Vec<u16>, NoStatus> {
        let no = |said, hint| Err(NoStatus { said, hint });
        let class = word.strip_suffix("xx").and_then(|digit| digit.parse::<u16>().ok());
        let status = word.parse::<u16>().ok().filter(|_| word.len() == 3);
        match (class, status) {
            (Some(1 | 2), _) | (_, Some(100..=299)) => no("is no failure", None),
            (Some(6), _) => no(
                "is what the subscriber has decided for all his places",
                Some("name the ones that are meant, such as \"604\""),
            ),
            (_, Some(CANCELLED)) => no("is what the caller's own hang-up leads to", None),
            (Some(class @ 3..=5), _) => {
                let of = (class * 100..class * 100 + 100)
                    .filter(|status| *status != CANCELLED && !SUBSCRIBERS.contains(status));
                Ok(of.collect())
            }
            (_, Some(status @ 300..=699)) => Ok(vec![status]),
            _ => no("is no status such as \"503\" or \"5xx\"", None),
        }
    }
}

impl FromIterator<u16> for Failover {
    fn from_iter<I: IntoIterator<Item = u16>>(statuses: I) -> Self {
        Self(statuses.into_iter().collect::<BTreeSet<_>>().into_iter().collect())
    }
}

/// `[trunk.breaker]`: a target that fails calls one after the other gets none for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// So many in a row.
    pub failures: u32,
    /// For so long, and twice as long each time again.
    pub pause: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_statuses_spares_the_subscribers_answer_unless_it_is_named() {
        let failover = |words: &[&str]| {
            words.iter().flat_map(|word| Failover::statuses(word).unwrap()).collect::<Failover>()
        };
        let some = failover(&["4xx", "503"]);
        for (status, tried) in [
            (403, true),
            (408, true),
            (488, true),
            (503, true),
            (404, false),
            (480, false),
            (486, false),
            (487, false),
            (500, false),
            (603, false),
        ] {
            assert_eq!(some.holds(status), tried, "{status}");
        }
        assert!(failover(&["486"]).holds(486) && failover(&["603", "302"]).holds(302));
        assert!(failover(&["5xx"]).is_trouble(502) && !failover(&["403"]).is_trouble(403));
        for word in ["1xx", "200", "2xx", "487", "6xx", "7xx", "700", "99", "5x", "", "+50", "abc"]
        {
            assert!(Failover::statuses(word).is_err(), "{word}");
        }
    }
}
