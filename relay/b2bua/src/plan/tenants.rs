//! All tenants of a snapshot. One that stays keeps its index from snapshot to snapshot, and is
//! shared with those before: changing one of ten thousand copies none of the others.

use super::{Shared, Tenant};
use std::collections::HashMap;
use std::sync::Arc;

/// The tenants of a host.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    /// `None` where one was and is no more: the next new one takes the place.
    slots: Shared<Option<Arc<Tenant>>>,
    names: Arc<HashMap<Arc<str>, usize>>,
}

impl Tenants {
    /// The tenant at this index.
    pub fn get(&self, index: usize) -> Option<&Tenant> {
        self.slots.get(index)?.as_deref()
    }

    /// The index of the tenant of this name.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Tenant> {
        self.slots.iter().filter_map(|slot| slot.as_deref())
    }

    /// The same with their indices.
    pub fn indexed(&self) -> impl Iterator<Item = (usize, &Tenant)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_deref()?)))
    }

    /// All of them, to change; names have to stay as they are.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tenant> {
        self.slots.iter_mut().filter_map(|slot| slot.as_mut().map(Arc::make_mut))
    }

    /// Puts `tenant` in the place of the one of its name, or in a free one; the index of that.
    pub fn insert(&mut self, tenant: Tenant) -> usize {
        let name: Arc<str> = tenant.name.as_str().into();
        let free = || self.slots.iter().position(Option::is_none);
        let index = self.named(&name).or_else(free).unwrap_or(self.slots.len());
        let tenant = Some(Arc::new(tenant));
        match self.slots.get_mut(index) {
            Some(slot) => *slot = tenant,
            None => self.slots.push(tenant),
        }
        // Most changes are of one that is there: then the names stay shared.
        if self.named(&name).is_none() {
            Arc::make_mut(&mut self.names).insert(name, index);
        }
        index
    }

    /// Whether this very tenant is at `index`.
    pub fn is(&self, index: usize, tenant: &Arc<Tenant>) -> bool {
        let slot = self.slots.get(index).and_then(Option::as_ref);
        slot.is_some_and(|own| Arc::ptr_eq(own, tenant))
    }

    /// Indices that new tenants may take, the first free one first.
    pub fn free(&self) -> impl Iterator<Item = usize> {
        let holes = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_none());
        holes.map(|(index, _)| index).chain(self.slots.len()..)
    }

    /// Puts `tenant` at `index`: its own, or one that is [`Self::free`].
    pub fn put(&mut self, index: usize, tenant: Arc<Tenant>) {
        while self.slots.len() <= index {
            self.slots.push(None);
        }
        if self.named(&tenant.name).is_none() {
            Arc::make_mut(&mut self.names).insert(tenant.name.as_str().into(), index);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(tenant);
        }
    }

    /// Takes the tenant of this name away; its index until now.
    pub fn remove(&mut self, name: &str) -> Option<usize> {
        let index = Arc::make_mut(&mut self.names).remove(name)?;
        *self.slots.get_mut(index)? = None;
        Some(index)
    }
}

impl From<Vec<Tenant>> for Tenants {
    fn from(list: Vec<Tenant>) -> Self {
        let names = list.iter().enumerate().map(|(index, it)| (it.name.as_str().into(), index));
        let names = Arc::new(names.collect());
        Self { names, slots: list.into_iter().map(|tenant| Some(Arc::new(tenant))).collect() }
    }
}

impl std::ops::Index<usize> for Tenants {
    type Output = Tenant;
    #[expect(clippy::expect_used, reason = "as with any list, an index out of bounds is a bug")]
    fn index(&self, index: usize) -> &Tenant {
        self.get(index).expect("no tenant at this index")
    }
}

impl std::ops::IndexMut<usize> for Tenants {
    #[expect(clippy::expect_used, reason = "as with any list, an index out of bounds is a bug")]
    fn index_mut(&mut self, index: usize) -> &mut Tenant {
        let slot = self.slots.get_mut(index).and_then(Option::as_mut);
        Arc::make_mut(slot.expect("no tenant at this index"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Tenant {
        Tenant { name: name.into(), ..Tenant::default() }
    }

    #[test]
    fn a_tenant_keeps_its_index_while_others_come_and_go() {
        let before = Tenants::from(vec![named("a"), named("b"), named("c")]);
        let mut after = before.clone();
        assert_eq!(after.remove("a"), Some(0));
        assert_eq!(after.remove("a"), None);
        assert_eq!((after.named("c"), after.len()), (Some(2), 2));
        assert_eq!(after.insert(named("d")), 0, "the place that is free");
        assert_eq!(after.insert(named("c")), 2, "its own");
        assert_eq!(after.insert(named("e")), 3);
        let names: Vec<&str> = before.iter().map(|tenant| tenant.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"], "a snapshot does not change");
    }
}
