//! Who has called for help under a number that stands for a place (ELIN): whoever answered calls that
//! number back, and has to reach the caller (TDR-EMG-005).

use crate::io::Now;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

/// Numbers that lead to somebody at once: beyond it, the one that would do so shortest is given up.
pub const LENT_MAX: usize = 10_000;
/// Longer than any tenant may say: what another process has kept for longer had a clock that was wrong.
const KEPT_MAX: Duration = Duration::from_secs(8 * 24 * 3600);

/// A number that leads to who has called under it, as the next process has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LentNumber {
    /// Whose number it is.
    pub tenant: String,
    /// The number.
    pub number: String,
    /// The user part that is called.
    pub user: String,
    /// Until then.
    pub until: SystemTime,
}

/// The numbers that lead to who has called under them, by tenant. They outlive the call and any
/// configuration.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    lent: HashMap<(String, String), Lent>,
}

#[derive(Debug)]
struct Lent {
    /// The user part that is called.
    user: String,
    until: Instant,
}

impl Callbacks {
    /// Which of a place's numbers a caller is shown under: the one that leads to them already, else one
    /// that leads to nobody, else the one that would soonest.
    pub(crate) fn choose<'a>(
        &self,
        now: Instant,
        tenant: &str,
        elins: &'a [String],
        user: Option<&str>,
    ) -> Option<&'a String> {
        let lent = |elin: &String| self.of(now, tenant, elin);
        let same = |elin: &&String| lent(elin).is_some_and(|lent| Some(lent.user.as_str()) == user);
        let free = |elin: &&String| lent(elin).is_none();
        let found = elins.iter().find(same).or_else(|| elins.iter().find(free));
        found.or_else(|| elins.iter().min_by_key(|elin| lent(elin).map(|lent| lent.until)))
    }

    /// From now on, and for so long, the number leads to this user of the tenant.
    pub(crate) fn lend(
        &mut self,
        (now, keep): (Instant, Duration),
        tenant: &str,
        elin: &str,
        user: &str,
    ) {
        let key = (tenant.to_owned(), elin.to_owned());
        if self.lent.len() >= LENT_MAX && !self.lent.contains_key(&key) {
            self.lent.retain(|_, lent| lent.until > now);
            let first = self.lent.iter().min_by_key(|(_, lent)| lent.until);
            if let Some(first) = first.map(|(key, _)| key.clone())
                && self.lent.len() >= LENT_MAX
            {
                self.lent.remove(&first);
            }
        }
        self.lent.insert(key, Lent { user: user.to_owned(), until: now + keep });
    }

    /// A call under the number is over: the time counts from now, unless it leads to another already.
    /// Whether it does.
    pub(crate) fn ended(
        &mut self,
        (now, keep): (Instant, Duration),
        tenant: &str,
        elin: &str,
        user: &str,
    ) -> bool {
        let key = (tenant.to_owned(), elin.to_owned());
        let counts = self.lent.get(&key).is_none_or(|lent| lent.user == user);
        if counts {
            self.lend((now, keep), tenant, elin, user);
        }
        counts
    }

    /// What the process before this one has lent.
    pub(crate) fn lend_again(&mut self, now: Now, lent: Vec<LentNumber>) {
        for LentNumber { tenant, number, user, until } in lent {
            if let Ok(keep) = until.duration_since(now.wall) {
                self.lend((now.mono, keep.min(KEPT_MAX)), &tenant, &number, &user);
            }
        }
    }

    /// To whom a number of the tenant leads now.
    pub(crate) fn user(&self, now: Instant, tenant: &str, elin: &str) -> Option<&str> {
        self.of(now, tenant, elin).map(|lent| lent.user.as_str())
    }

    fn of(&self, now: Instant, tenant: &str, elin: &str) -> Option<&Lent> {
        // Nobody is asked for but by carriers' calls, and few tenants have any.
        if self.lent.is_empty() {
            return None;
        }
        let key = (tenant.to_owned(), elin.to_owned());
        self.lent.get(&key).filter(|lent| lent.until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Virtual time zero.
    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    fn zero() -> Instant {
        Instant::now()
    }

    const KEEP: Duration = Duration::from_secs(3600);

    /// TDR-EMG-005: two callers from one place are told apart as long as there are numbers for both.
    #[test]
    fn two_callers_from_one_place_are_called_back_each_under_their_own_number() {
        let (now, mut callbacks) = (zero(), Callbacks::default());
        let elins = ["+1".to_owned(), "+2".to_owned()];
        for (user, elin, at) in
            [("anna", "+1", 0), ("boris", "+2", 1), ("anna", "+1", 2), ("carl", "+2", 3)]
        {
            let now = now + Duration::from_secs(at);
            let chosen = callbacks.choose(now, "contoso", &elins, Some(user)).unwrap().clone();
            assert_eq!(chosen, elin, "{user}");
            callbacks.lend((now, KEEP), "contoso", &chosen, user);
        }
        assert_eq!(callbacks.user(now, "contoso", "+1"), Some("anna"));
        assert_eq!(callbacks.user(now, "fabrikam", "+1"), None);
        // Boris hangs up, and Carl has his number by now.
        callbacks.ended((now, KEEP), "contoso", "+2", "boris");
        assert_eq!(callbacks.user(now, "contoso", "+2"), Some("carl"));
        assert_eq!(callbacks.user(now + KEEP + Duration::from_secs(9), "contoso", "+2"), None);
    }

    #[test]
    fn more_callers_than_are_kept_push_out_who_called_first() {
        let (now, mut callbacks) = (zero(), Callbacks::default());
        for count in 0..=LENT_MAX as u64 {
            let now = now + Duration::from_millis(count);
            callbacks.lend((now, KEEP), "contoso", &format!("+{count}"), "anna");
        }
        assert_eq!(callbacks.lent.len(), LENT_MAX);
        assert_eq!(callbacks.user(now, "contoso", "+0"), None);
        assert_eq!(callbacks.user(now, "contoso", "+1"), Some("anna"));
    }
}
