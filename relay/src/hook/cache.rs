//! Answers that still hold: bounded, each for as long as the tenant says.

use b2bua::hook::{RouteAnswer, RouteQuestion};
use b2bua::plan::RouteFrom;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Answers of one tenant that are kept, half a megabyte of them.
const ANSWERS_MAX: usize = 1_000;

/// What of a question an answer depends on. A service that looks at the rest keeps its cache off.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    from: RouteFrom,
    via: String,
    called: String,
    calling: String,
}

impl Key {
    pub(super) fn of(question: &RouteQuestion) -> Self {
        Self {
            from: question.from,
            via: question.via.clone(),
            called: question.called.clone(),
            calling: question.calling.clone(),
        }
    }
}

/// The answers of one tenant.
#[derive(Debug)]
pub(super) struct Cache {
    holds: Option<Duration>,
    answers: HashMap<Key, (Instant, RouteAnswer)>,
}

impl Cache {
    /// Answers that hold for so long; `None` keeps none.
    pub(super) fn new(holds: Option<Duration>) -> Self {
        Self { holds, answers: HashMap::new() }
    }

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<RouteAnswer> {
        let (until, answer) = self.answers.get(key)?;
        (now < *until).then(|| answer.clone())
    }

    pub(super) fn put(&mut self, key: Key, answer: RouteAnswer, now: Instant) {
        let Some(holds) = self.holds else { return };
        if self.answers.len() >= ANSWERS_MAX && !self.answers.contains_key(&key) {
            self.answers.retain(|_, (until, _)| now < *until);
            // All still hold: any of them makes room.
            if self.answers.len() >= ANSWERS_MAX
                && let Some(one) = self.answers.keys().next().cloned()
            {
                self.answers.remove(&one);
            }
        }
        self.answers.insert(key, (now + holds, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(called: usize) -> Key {
        let (via, calling) = ("colt".to_owned(), String::new());
        Key { from: RouteFrom::Carrier, via, called: called.to_string(), calling }
    }

    #[test]
    fn an_answer_is_used_after_its_time_or_kept_without_end() {
        let now = crate::clock::now().mono;
        let mut cache = Cache::new(Some(Duration::from_secs(60)));
        for called in 0..3 * ANSWERS_MAX {
            cache.put(key(called), RouteAnswer::Table, now);
        }
        assert_eq!(cache.answers.len(), ANSWERS_MAX);
        let last = key(3 * ANSWERS_MAX - 1);
        assert_eq!(cache.get(&last, now + Duration::from_secs(59)), Some(RouteAnswer::Table));
        assert_eq!(cache.get(&last, now + Duration::from_secs(60)), None);
        cache.put(key(4 * ANSWERS_MAX), RouteAnswer::Table, now + Duration::from_secs(61));
        assert_eq!(cache.answers.len(), 1);
    }

    #[test]
    fn a_cache_that_is_off_keeps_an_answer() {
        let now = crate::clock::now().mono;
        let mut cache = Cache::new(None);
        cache.put(key(0), RouteAnswer::Table, now);
        assert_eq!(cache.get(&key(0), now), None);
    }
}
