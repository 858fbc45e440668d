//! Connections that an operator's tool has announced, to see whether a listener is open: each is refused
//! like anybody's, but it is no peer that was turned away, so no counter rises and no alarm comes of it.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are expected at once: `tollgate teams doctor` knocks at some dozens of names together,
/// from two addresses each where there is NAT.
const EXPECTED_MAX: usize = 256;
/// One that has not come for so long does not come: twice what who knocks waits for a connection.
const EXPECTED_FOR: Duration = Duration::from_secs(8);

/// From where somebody is going to knock.
#[derive(Default)]
pub(super) struct Knocks {
    expected: Mutex<Vec<(SocketAddr, Instant)>>,
}

impl Knocks {
    /// A connection is going to come from one of these; `false` if there is no room for them.
    pub(super) fn expect(&self, now: Instant, from: &[SocketAddr]) -> bool {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.retain(|(_, until)| *until > now);
        let room = expected.len() + from.len() <= EXPECTED_MAX;
        if room {
            expected.extend(from.iter().map(|from| (*from, now + EXPECTED_FOR)));
        }
        room
    }

    /// Whether this connection is one that was announced; the next from there is not.
    pub(super) fn is_one(&self, now: Instant, remote: SocketAddr) -> bool {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let before = expected.iter().position(|(from, until)| *from == remote && *until > now);
        before.map(|at| expected.swap_remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn an_announced_connection_is_known_once_and_for_a_while_and_no_other_is() {
        let (knocks, now) = (Knocks::default(), clock::now().mono);
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        assert!(knocks.expect(now, &[at(1), at(2)]));
        assert!(!knocks.is_one(now, at(3)));
        assert!(knocks.is_one(now, at(1)) && !knocks.is_one(now, at(1)));
        assert!(!knocks.is_one(now + EXPECTED_FOR, at(2)));
    }

    #[test]
    fn announcements_without_end_are_not_remembered_and_make_room_with_time() {
        let (knocks, now) = (Knocks::default(), clock::now().mono);
        let one = [SocketAddr::from(([127, 0, 0, 1], 1))];
        let taken = (0..2 * EXPECTED_MAX).filter(|_| knocks.expect(now, &one)).count();
        assert_eq!(taken, EXPECTED_MAX);
        assert!(knocks.expect(now + EXPECTED_FOR, &one));
    }
}
