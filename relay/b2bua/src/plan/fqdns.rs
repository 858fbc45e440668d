//! Whose an FQDN is: a map in parts that snapshots share, so that one tenant's change copies a small
//! part of it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

/// FQDN in lower case to tenant.
#[derive(Clone, Debug)]
pub struct Fqdns {
    parts: Arc<Vec<Part>>,
}

type Part = Arc<HashMap<Arc<str>, usize>>;

/// With 10,000 tenants, a part holds some forty names.
const PARTS: usize = 256;

impl Default for Fqdns {
    fn default() -> Self {
        Self { parts: Arc::new(vec![Part::default(); PARTS]) }
    }
}

impl Fqdns {
    /// The tenant of this name, which is in lower case.
    pub fn get(&self, fqdn: &str) -> Option<usize> {
        self.parts.get(part(fqdn))?.get(fqdn).copied()
    }

    /// Adds a name; or whose it is, and nothing is added.
    pub fn insert(&mut self, fqdn: &str, tenant: usize) -> Result<(), usize> {
        if let Some(owner) = self.get(fqdn) {
            return Err(owner);
        }
        if let Some(names) = Arc::make_mut(&mut self.parts).get_mut(part(fqdn)) {
            Arc::make_mut(names).insert(fqdn.into(), tenant);
        }
        Ok(())
    }

    /// Takes a name of this tenant away; whether it was there.
    pub fn remove(&mut self, fqdn: &str, tenant: usize) -> bool {
        if self.get(fqdn) != Some(tenant) {
            return false;
        }
        if let Some(names) = Arc::make_mut(&mut self.parts).get_mut(part(fqdn)) {
            Arc::make_mut(names).remove(fqdn);
        }
        true
    }
}

impl FromIterator<(String, usize)> for Fqdns {
    fn from_iter<I: IntoIterator<Item = (String, usize)>>(names: I) -> Self {
        let mut fqdns = Self::default();
        for (name, tenant) in names {
            // Whoever is first keeps it.
            let _ = fqdns.insert(&name, tenant);
        }
        fqdns
    }
}

impl From<HashMap<String, usize>> for Fqdns {
    fn from(names: HashMap<String, usize>) -> Self {
        names.into_iter().collect()
    }
}

/// The same in every snapshot.
fn part(fqdn: &str) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(fqdn);
    usize::try_from(hash % PARTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_with_who_has_it_and_a_snapshot_does_not_change() {
        let before: Fqdns = [("a.example.net".to_owned(), 1)].into_iter().collect();
        let mut after = before.clone();
        assert_eq!(after.insert("a.example.net", 2), Err(1));
        assert!(!after.remove("a.example.net", 2));
        assert!(after.remove("a.example.net", 1));
        assert_eq!(after.insert("a.example.net", 2), Ok(()));
        assert_eq!((before.get("a.example.net"), after.get("a.example.net")), (Some(1), Some(2)));
        let shared = before.parts.iter().zip(after.parts.iter());
        assert_eq!(shared.filter(|(one, two)| !Arc::ptr_eq(one, two)).count(), 1);
    }
}
