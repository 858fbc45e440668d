//! What was used within the last hour or day, in slots that are bounded.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back is looked, and in how fine slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    slot_ms: i64,
    slots: i64,
}

/// In minutes: what is used counts for 60 to 61 of them.
pub(super) const HOUR: Span = Span { slot_ms: 60_000, slots: 60 };
/// In quarters of an hour: what is used counts for 24 hours, and up to a quarter more.
pub(super) const DAY: Span = Span { slot_ms: 900_000, slots: 96 };

/// Calls that began and time that was talked, by slot: sparse, oldest first, at most one more than the
/// span has, so that its whole length is always covered.
#[derive(Clone, Debug)]
pub(super) struct Window {
    span: Span,
    slots: VecDeque<Slot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    index: i64,
    used: Used,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) calls: u64,
    pub(super) talk_ms: u64,
}

impl Window {
    pub(super) const fn new(span: Span) -> Self {
        Self { span, slots: VecDeque::new() }
    }

    /// A call began.
    pub(super) fn call(&mut self, now: i64, at: i64) {
        if let Some(used) = self.at(now, at) {
            used.calls += 1;
        }
    }

    /// `calls` calls were up from `from` on until `to`.
    pub(super) fn talk(&mut self, now: i64, calls: u64, (from, to): (i64, i64)) {
        let slot = self.span.slot_ms;
        let mut from = from.max(self.first(now) * slot);
        while from < to {
            let end = ((from.div_euclid(slot) + 1) * slot).min(to);
            let ms = u64::try_from(end - from).unwrap_or_default();
            if let Some(used) = self.at(now, from) {
                used.talk_ms += ms * calls;
            }
            from = end;
        }
    }

    /// What was used until now, with `calls` calls that are up since `since` and were not told yet.
    pub(super) fn used(&self, now: i64, calls: u64, since: i64) -> Used {
        let first = self.first(now);
        let known = self.slots.iter().filter(|slot| slot.index >= first);
        let mut used = known.fold(Used::default(), |sum, slot| Used {
            calls: sum.calls + slot.used.calls,
            talk_ms: sum.talk_ms + slot.used.talk_ms,
        });
        let untold = now - since.max(first * self.span.slot_ms);
        used.talk_ms += calls * u64::try_from(untold).unwrap_or_default();
        used
    }

    /// How long until what `of` reads is below `bound`, if nothing more is used.
    pub(super) fn frees(&self, now: i64, bound: u64, of: impl Fn(&Used) -> u64) -> Duration {
        let first = self.first(now);
        let live = || self.slots.iter().filter(|slot| slot.index >= first);
        let mut left: u64 = live().map(|slot| of(&slot.used)).sum();
        let mut at = now;
        for slot in live() {
            if left < bound {
                break;
            }
            left -= of(&slot.used);
            at = (slot.index + self.span.slots + 1) * self.span.slot_ms;
        }
        Duration::from_millis(u64::try_from(at - now).unwrap_or_default())
    }

    /// Nothing was used.
    pub(super) fn is_empty(&self, now: i64) -> bool {
        self.slots.back().is_none_or(|slot| slot.index < self.first(now))
    }

    /// The oldest slot that counts.
    const fn first(&self, now: i64) -> i64 {
        now.div_euclid(self.span.slot_ms) - self.span.slots
    }

    /// The slot of a time, unless that is too long ago.
    fn at(&mut self, now: i64, at: i64) -> Option<&mut Used> {
        let (first, index) = (self.first(now), at.div_euclid(self.span.slot_ms));
        while self.slots.front().is_some_and(|slot| slot.index < first) {
            self.slots.pop_front();
        }
        if index < first {
            return None;
        }
        let place = self.slots.partition_point(|slot| slot.index < index);
        if self.slots.get(place).is_none_or(|slot| slot.index != index) {
            self.slots.insert(place, Slot { index, used: Used::default() });
        }
        self.slots.get_mut(place).map(|slot| &mut slot.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const AN_HOUR: i64 = 60 * MINUTE;

    #[test]
    fn a_call_counts_for_an_hour_to_the_end_of_its_minute_and_no_longer() {
        let mut window = Window::new(HOUR);
        let began = 5 * MINUTE + 30_000;
        window.call(began, began);
        let calls = |now| window.used(now, 0, 0).calls;
        assert_eq!(calls(began + AN_HOUR), 1);
        assert_eq!(calls(66 * MINUTE - 1), 1);
        assert_eq!(calls(66 * MINUTE), 0);
        let frees = window.frees(began, 1, |used| used.calls);
        assert_eq!(frees, Duration::from_secs(60 * 60 + 30));
        assert!(window.is_empty(66 * MINUTE) && !window.is_empty(66 * MINUTE - 1));
    }

    #[test]
    fn talk_is_spread_over_the_minutes_it_took_and_ages_with_them() {
        let mut window = Window::new(HOUR);
        // Two calls, for ninety minutes: what is older than the window is none of it.
        window.talk(90 * MINUTE, 2, (0, 90 * MINUTE));
        let used = |now| window.used(now, 0, 0).talk_ms / 60_000;
        assert_eq!(used(90 * MINUTE), 2 * 60);
        assert_eq!(used(91 * MINUTE - 1), 2 * 60);
        assert_eq!(used(91 * MINUTE), 2 * 59);
        assert_eq!(used(151 * MINUTE), 0);
        assert!(window.slots.len() <= 61);
    }

    #[test]
    fn a_call_that_is_up_counts_as_far_as_it_lies_within_the_window() {
        let window = Window::new(HOUR);
        assert_eq!(window.used(30 * MINUTE, 3, 10 * MINUTE).talk_ms, 60 * 60_000);
        assert_eq!(window.used(500 * MINUTE, 1, 0).talk_ms, 60 * 60_000);
    }

    #[test]
    fn it_frees_when_enough_of_it_has_aged() {
        let mut window = Window::new(DAY);
        for hour in 0..4 {
            window.call(hour * AN_HOUR, hour * AN_HOUR);
        }
        let now = 4 * AN_HOUR;
        let frees = |bound| window.frees(now, bound, |used| used.calls).as_secs() / 60;
        assert_eq!(frees(5), 0);
        assert_eq!(frees(4), (24 - 4) * 60 + 15);
        assert_eq!(frees(2), (24 - 2) * 60 + 15);
    }

    #[test]
    fn what_the_records_tell_of_the_past_goes_where_it_belongs() {
        let mut window = Window::new(HOUR);
        window.call(0, -10 * MINUTE);
        window.call(0, -90 * MINUTE);
        window.call(0, -10 * MINUTE);
        window.call(0, -20 * MINUTE);
        window.talk(0, 1, (-70 * MINUTE, -50 * MINUTE));
        assert_eq!(window.used(0, 0, 0), Used { calls: 3, talk_ms: 10 * 60_000 });
        assert_eq!(window.used(45 * MINUTE, 0, 0).calls, 2);
    }

    #[test]
    fn slots_stay_bounded_however_long_it_goes_on() {
        let mut window = Window::new(DAY);
        for minute in 0..20_000 {
            window.call(minute * MINUTE, minute * MINUTE);
        }
        assert!(window.slots.len() <= 97);
        assert!((1440..=1455).contains(&window.used(19_999 * MINUTE, 0, 0).calls));
    }
}
