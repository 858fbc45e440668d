//! Which call has a packet of its own to send next: a heap with one live deadline per call.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Deadlines of calls, named by their place in the worker's table. A call that is armed anew leaves
/// its old entry in the heap; it is dead because it is no longer what `armed` says.
#[derive(Debug)]
pub(crate) struct Due {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
    armed: Vec<Option<Instant>>,
}

impl Due {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), armed: Vec::new() }
    }

    /// Makes room for `calls` places. Only this allocates: twice as many entries as can be live
    /// means that clearing the dead ones out always makes room.
    pub(crate) fn reserve(&mut self, calls: usize) {
        if self.armed.len() < calls {
            self.armed.resize(calls, None);
        }
        self.heap.reserve((2 * calls).saturating_sub(self.heap.len()));
    }

    /// Sets or clears the deadline of a call.
    pub(crate) fn arm(&mut self, place: u32, due: Option<Instant>) {
        let Some(armed) = self.armed.get_mut(place as usize) else { return };
        if *armed == due {
            return;
        }
        *armed = due;
        if let Some(due) = due {
            self.push(due, place);
        }
    }

    /// Brings the deadline of a call forward. A later one waits until the earlier has passed, which
    /// costs nothing here for every packet.
    pub(crate) fn arm_earlier(&mut self, place: u32, due: Option<Instant>) {
        let Some(due) = due else { return };
        let armed = self.armed.get(place as usize).copied().flatten();
        if armed.is_none_or(|armed| due < armed) {
            self.arm(place, Some(due));
        }
    }

    pub(crate) fn disarm(&mut self, place: u32) {
        self.arm(place, None);
    }

    /// The first call that is due by `now`. It stays due until it is armed anew.
    pub(crate) fn first(&mut self, now: Instant) -> Option<u32> {
        let (due, place) = self.earliest()?;
        (due <= now).then_some(place)
    }

    /// When the first call is due.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        Some(self.earliest()?.0)
    }

    fn earliest(&mut self) -> Option<(Instant, u32)> {
        while let Some(&Reverse((due, place))) = self.heap.peek() {
            if self.armed[place as usize] == Some(due) {
                return Some((due, place));
            }
            self.heap.pop();
        }
        None
    }

    fn push(&mut self, due: Instant, place: u32) {
        if self.heap.len() == self.heap.capacity() {
            let armed = &self.armed;
            self.heap.retain(|Reverse((due, place))| armed[*place as usize] == Some(*due));
        }
        self.heap.push(Reverse((due, place)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[expect(clippy::disallowed_methods, reason = "an instant has to come from somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_earliest_is_first_and_stays_so_until_armed_anew() {
        let t = start();
        let mut due = Due::new();
        due.reserve(2);
        due.arm(0, Some(t + ms(20)));
        due.arm(1, Some(t + ms(10)));
        assert_eq!(due.first(t), None);
        assert_eq!(due.first(t + ms(20)), Some(1));
        assert_eq!(due.first(t + ms(20)), Some(1));
        due.arm(1, Some(t + ms(30)));
        assert_eq!(due.first(t + ms(20)), Some(0));
        assert_eq!(due.next(), Some(t + ms(20)));
        due.disarm(0);
        assert_eq!(due.next(), Some(t + ms(30)), "what is disarmed is waited for by nobody");
        assert_eq!(due.first(t + ms(20)), None);
        assert_eq!(due.first(t + ms(30)), Some(1));
    }

    #[test]
    fn a_later_deadline_does_not_hide_an_earlier_one() {
        let t = start();
        let mut due = Due::new();
        due.reserve(1);
        due.arm_earlier(0, Some(t + ms(10)));
        due.arm_earlier(0, Some(t + ms(50)));
        due.arm_earlier(0, None);
        assert_eq!(due.first(t + ms(10)), Some(0));
        due.arm_earlier(0, Some(t + ms(5)));
        assert_eq!(due.first(t + ms(5)), Some(0));
    }

    #[test]
    fn a_call_that_is_armed_for_ever_does_not_grow_the_heap() {
        let t = start();
        let mut due = Due::new();
        due.reserve(4);
        let room = due.heap.capacity();
        for turn in 0..10_000 {
            due.arm((turn % 4) as u32, Some(t + ms(turn)));
        }
        assert_eq!(due.heap.capacity(), room);
        assert_eq!(due.first(t + ms(10_000)), Some(0));
    }

    #[test]
    fn a_place_taken_by_another_call_does_not_inherit_its_deadline() {
        let t = start();
        let mut due = Due::new();
        due.reserve(1);
        due.arm(0, Some(t));
        due.disarm(0);
        due.arm(0, Some(t + ms(10)));
        assert_eq!(due.first(t), None);
        assert_eq!(due.first(t + ms(10)), Some(0));
    }
}
