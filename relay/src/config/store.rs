//! The configuration in force, file by file, and what another look at the files makes of it.
//!
//! A file that has not changed is not read again, and a tenant whose file has not changed keeps its
//! compiled form: one change among ten thousand tenants costs what one tenant costs.

use super::diff::{Difference, differences};
use super::disk::{self, Content, Look, Print, Scope, Seen};
use super::hostside::HostSide;
use super::problem::Problem;
use super::rollback::Frozen;
use super::settle::{Claimant, settle};
use super::source::Layout;
use super::version::{Sum, Version};
use super::{Broken, Loaded};
use crate::watch::Places;
use b2bua::plan::{Absent, Fqdns, NumberIndex, Plan, Tenants};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The configuration of one directory.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) layout: Layout,
    host: Option<Arc<HostSide>>,
    plan: Option<Plan>,
    entries: Arc<BTreeMap<Arc<str>, Entry>>,
    broken: BTreeSet<Arc<str>>,
    /// How the host's file and those it names looked when they were last read, if they held or not.
    host_files: Vec<(PathBuf, Option<Print>)>,
    /// The files on disk were rolled back from.
    frozen: Option<Arc<Frozen>>,
    /// The last look was refused: nothing changes until the host's file, or what it names, does.
    refused: bool,
}

/// A tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// How its file looked when it was read.
    print: Option<Print>,
    /// What its file says.
    pub(crate) on_disk: Option<Arc<Version>>,
    /// What it serves under.
    pub(crate) in_force: Option<Arc<Version>>,
    /// Why what its file says is not in force.
    refused: Arc<Vec<Problem>>,
}

/// What a look at the files came to; nothing has changed yet.
#[derive(Debug)]
pub struct Candidate {
    /// For the daemon.
    pub loaded: Loaded,
    host: Arc<HostSide>,
    /// Tenants that are not as they were; `None`: gone.
    entries: Vec<(Arc<str>, Option<Entry>)>,
    broken: BTreeSet<Arc<str>>,
}

/// One source that another takes the place of.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// The tenant; `None` for the host's file.
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) old: Option<Arc<str>>,
    pub(crate) new: Option<Arc<str>>,
}

/// The texts of one configuration, each with its name.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) host: (Arc<str>, Sum),
    pub(crate) tenants: Vec<(Arc<str>, Arc<str>, Sum)>,
}

impl Store {
    /// The configuration under `path`, of which nothing is in force yet.
    pub fn new(path: &Path) -> Self {
        Self {
            layout: Layout::of(path),
            host: None,
            plan: None,
            entries: Arc::default(),
            broken: BTreeSet::new(),
            host_files: Vec::new(),
            frozen: None,
            refused: false,
        }
    }

    /// Looks at the files.
    pub(crate) fn look(&mut self, scope: &Scope, now: SystemTime) -> Look {
        if let Some(frozen) = self.frozen.clone() {
            let named = self.host_has_changed(now);
            match self.look_frozen(&frozen, named, now).filter(|_| !scope.asked) {
                Some(look) => return look,
                // Everything is read anew.
                None => self.frozen = None,
            }
            return self.look_at_disk(&Scope { held: scope.held.clone(), ..Scope::all() }, now);
        }
        self.look_at_disk(scope, now)
    }

    /// What is in force here, with its next look at the files of another directory: to tell what these
    /// would change, never to put them in force.
    pub(crate) fn looking_at(&self, instead: Option<&Path>) -> Cow<'_, Self> {
        match instead {
            Some(path) => Cow::Owned(Self { layout: Layout::of(path), ..self.clone() }),
            None => Cow::Borrowed(self),
        }
    }

    /// The same, whatever was rolled back from.
    pub(crate) fn look_at_disk(&self, scope: &Scope, now: SystemTime) -> Look {
        let mut known = self.entries.iter().map(|(name, it)| (Arc::clone(name), it.print));
        let mut scope = scope.clone();
        let polled = scope.poll && self.host.is_some();
        scope.host = match polled {
            true => self.host_has_changed(now),
            false => scope.host || self.refused || self.host.is_none(),
        };
        if polled && self.refused && !scope.host {
            return Look { refused: true, ..Look::default() };
        }
        let look = disk::look(&self.layout, &scope, self.host.is_some(), &mut known, now);
        // While it is being written, what was refused stays so.
        Look { refused: self.refused && look.host.is_none(), ..look }
    }

    fn host_has_changed(&self, now: SystemTime) -> bool {
        self.host_files.iter().any(|(file, before)| {
            let about = Print::now(file, now);
            match (before, about) {
                (Some(before), Some(about)) => !before.still(&about) && about.is_settled(),
                (before, about) => before.is_some() != about.is_some(),
            }
        })
    }

    /// Notes how the files looked that were read for this outcome.
    pub(crate) fn looked(&mut self, outcome: &Result<Candidate, Vec<Problem>>, now: SystemTime) {
        let host = match outcome {
            Ok(candidate) => Some(&candidate.host),
            Err(_) => self.host.as_ref(),
        };
        let named = host.map(|host| host.named(&self.layout)).unwrap_or_default();
        let files = std::iter::once(self.layout.host.clone()).chain(named);
        self.host_files = files.map(|file| (file.clone(), Print::now(&file, now))).collect();
    }

    /// Whether the files on disk were rolled back from.
    pub(crate) fn is_rolled_back(&self) -> bool {
        self.frozen.is_some()
    }

    pub(crate) fn set_frozen(&mut self, frozen: Option<Frozen>) {
        self.frozen = frozen.map(Arc::new);
    }

    /// The snapshot in force.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// The tenants that are known.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.keys()
    }

    /// Nothing of the last look is in force, or all that could be; how it was before.
    pub(crate) fn set_refused(&mut self, refused: bool) -> bool {
        std::mem::replace(&mut self.refused, refused)
    }

    /// Where it is on disk.
    pub(crate) fn places(&self) -> Places {
        let named = self.host.as_ref().map(|host| host.named(&self.layout)).unwrap_or_default();
        Places::find(&self.layout.host, &self.layout.tenants, &named)
    }

    /// The file of a tenant.
    pub(crate) fn tenant_file(&self, name: &str) -> PathBuf {
        self.layout.tenant(name)
    }

    /// Makes these tenants ones that were in force before the start. Only before the first judgement.
    pub(crate) fn remember(&mut self, name: &str, text: Arc<str>, sum: Sum) {
        let version = Version::remembered(self.layout.tenant(name), text, sum);
        let entry = Entry { in_force: Some(Arc::new(version)), ..Entry::default() };
        Arc::make_mut(&mut self.entries).insert(name.into(), entry);
    }

    /// Judges what was found: what would be in force, or why nothing is to change.
    pub(crate) fn judge(&self, look: Look, idle: bool) -> Result<Candidate, Vec<Problem>> {
        Judgement::new(self, look, idle).conclude()
    }

    /// The candidate is in force from now on.
    pub fn commit(&mut self, candidate: Candidate) {
        let Candidate { loaded, host, entries, broken } = candidate;
        let own = Arc::make_mut(&mut self.entries);
        for (name, entry) in entries {
            match entry {
                Some(entry) => own.insert(name, entry),
                None => own.remove(&name),
            };
        }
        self.host = Some(host);
        self.broken = broken;
        self.plan = Some(loaded.plan);
    }

    /// The sources in force: the host's, and each tenant's with the name of its content.
    pub(crate) fn in_force(&self) -> Option<Sources> {
        let host = self.host.as_ref()?;
        let tenants = self.entries.iter();
        let tenants = tenants.filter_map(|(name, it)| {
            let version = it.in_force.as_ref()?;
            Some((Arc::clone(name), Arc::clone(version.text.as_ref()?), version.sum))
        });
        Some(Sources { host: (Arc::clone(&host.text), host.sum), tenants: tenants.collect() })
    }

    /// What the candidate changes, in words.
    pub(crate) fn differences(&self, candidate: &Candidate) -> Vec<Difference> {
        let old = match (&self.host, &self.plan) {
            (Some(host), Some(plan)) => host.loaded(&self.layout, plan.clone()),
            _ => None,
        };
        match old {
            Some(old) => differences(&self.replaced(candidate), &old, &candidate.loaded),
            None => Vec::new(),
        }
    }

    /// What of the candidate no reload can change.
    pub(crate) fn refusals(&self, candidate: &Candidate) -> Vec<Problem> {
        let old = match (&self.host, &self.plan) {
            (Some(host), Some(plan)) => host.loaded(&self.layout, plan.clone()),
            _ => None,
        };
        old.map(|old| super::refusals(&old, &candidate.loaded)).unwrap_or_default()
    }

    /// What the candidate changes, source by source; the host's first.
    pub(crate) fn replaced(&self, candidate: &Candidate) -> Vec<Replaced> {
        let mut list = Vec::new();
        let old = self.host.as_ref().map(|host| Arc::clone(&host.text));
        if old.as_ref() != Some(&candidate.host.text) {
            list.push(Replaced { tenant: None, old, new: Some(Arc::clone(&candidate.host.text)) });
        }
        for (name, entry) in &candidate.entries {
            let text = |version: Option<&Arc<Version>>| version.and_then(|it| it.text.clone());
            let old = text(self.entries.get(name).and_then(|it| it.in_force.as_ref()));
            let new = text(entry.as_ref().and_then(|it| it.in_force.as_ref()));
            if old != new {
                list.push(Replaced { tenant: Some(Arc::clone(name)), old, new });
            }
        }
        list
    }
}

impl Candidate {
    /// Whether anything would change by it.
    pub(crate) fn is_change(&self, store: &Store) -> bool {
        let same_host = store.host.as_ref().is_some_and(|host| host.same(&self.host));
        let sum = |version: Option<&Arc<Version>>| version.map(|it| it.sum);
        let changed = |(name, entry): &(Arc<str>, Option<Entry>)| {
            let before = store.entries.get(name);
            let Some(entry) = entry else { return true };
            let was = before.and_then(|before| sum(before.in_force.as_ref()));
            let why = before.is_none_or(|before| before.refused != entry.refused);
            was != sum(entry.in_force.as_ref()) || why
        };
        !same_host || self.entries.iter().any(changed)
    }
}

/// A look that is being judged.
struct Judgement<'a> {
    store: &'a Store,
    host: Arc<HostSide>,
    /// Tenants that have to be judged anew.
    work: BTreeMap<Arc<str>, Entry>,
    gone: Vec<Arc<str>>,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Every tenant is judged anew, as the host's file is another.
    anew: bool,
    idle: bool,
}

/// Which version of a tenant is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    OnDisk,
    InForce,
}

impl<'a> Judgement<'a> {
    fn new(store: &'a Store, look: Look, idle: bool) -> Self {
        let Look { host, tenants, errors, warnings, missing: _, refused: _ } = look;
        let before = store.host.as_ref();
        let host = match (host, before) {
            (Some(content), _) => {
                let now = crate::clock::now().wall;
                let before = before.map(|before| &**before);
                Arc::new(HostSide::judge(&store.layout, content, before, now))
            }
            (None, Some(before)) => Arc::clone(before),
            (None, None) => {
                let content = Content::read(&store.layout.host, SystemTime::UNIX_EPOCH);
                let now = crate::clock::now().wall;
                Arc::new(HostSide::judge(&store.layout, content, None, now))
            }
        };
        // Under a file that does not hold nothing will serve: only what changed is told of.
        let anew = before.is_none_or(|before| !before.same_ground(&host)) && host.errors.is_empty();
        let mut work = BTreeMap::new();
        let mut gone = Vec::new();
        let entry = |name: &Arc<str>| store.entries.get(name).cloned().unwrap_or_default();
        for (name, seen) in tenants {
            match seen {
                Seen::Same => {}
                Seen::Gone => gone.push(name),
                Seen::Read(content) => {
                    let mut entry = entry(&name);
                    entry.print = content.print;
                    entry.on_disk = Some(Arc::new(Version::read(content)));
                    work.insert(name, entry);
                }
            }
        }
        if anew {
            for (name, entry) in store.entries.iter().filter(|(name, _)| !gone.contains(name)) {
                work.entry(Arc::clone(name)).or_insert_with(|| entry.clone());
            }
        }
        // What was refused may hold now: whoever had the number may have given it up.
        for name in store.broken.iter().filter(|name| !gone.contains(name)) {
            work.entry(Arc::clone(name)).or_insert_with(|| entry(name));
        }
        // A tenant of before the start whose file was deleted meanwhile is gone.
        if before.is_none() {
            let lost: Vec<_> = work.iter().filter(|(_, it)| it.on_disk.is_none()).collect();
            gone.extend(lost.into_iter().map(|(name, _)| Arc::clone(name)).collect::<Vec<_>>());
            work.retain(|_, it| it.on_disk.is_some());
        }
        Self { store, host, work, gone, errors, warnings, anew, idle }
    }

    /// Judges each version by itself and by the host's file.
    fn compile(&mut self) {
        let mut jobs: Vec<(Arc<str>, Which, Arc<Version>)> = Vec::new();
        for (name, entry) in &self.work {
            let Some(on_disk) = &entry.on_disk else { continue };
            let same = entry.in_force.as_ref().is_some_and(|it| it.sum == on_disk.sum);
            if self.anew || !same {
                jobs.push((Arc::clone(name), Which::OnDisk, Arc::clone(on_disk)));
            }
            if let (true, false, Some(in_force)) = (self.anew, same, &entry.in_force) {
                jobs.push((Arc::clone(name), Which::InForce, Arc::clone(in_force)));
            }
        }
        let host = Arc::clone(&self.host);
        let ground = host.ground();
        let judged = disk::parallel(&jobs, self.idle, |(_, _, version)| version.again(&ground));
        for ((name, which, _), judged) in jobs.into_iter().zip(judged) {
            let Some(entry) = self.work.get_mut(&name) else { continue };
            let judged = Arc::new(judged);
            let same = entry.in_force.as_ref().is_some_and(|it| it.sum == judged.sum);
            if which == Which::InForce || same {
                entry.in_force = Some(Arc::clone(&judged));
            }
            if which == Which::OnDisk {
                entry.on_disk = Some(judged);
            }
        }
        for entry in self.work.values_mut() {
            let same = match (&entry.on_disk, &entry.in_force) {
                (Some(on_disk), Some(in_force)) => on_disk.sum == in_force.sum,
                _ => false,
            };
            if same {
                entry.on_disk.clone_from(&entry.in_force);
            }
        }
    }

    fn conclude(mut self) -> Result<Candidate, Vec<Problem>> {
        self.compile();
        let start = self.store.host.is_none();
        let mut errors = std::mem::take(&mut self.errors);
        for entry in self.work.values_mut() {
            let Some(in_force) = entry.in_force.as_ref().filter(|it| it.tenant.is_none()) else {
                continue;
            };
            match start {
                // What served before the start does not hold under the host's file of now.
                true => entry.in_force = None,
                false if entry.on_disk.as_ref().is_some_and(|it| it.tenant.is_some()) => {}
                false => errors.extend(in_force.errors.iter().cloned()),
            }
        }
        if !errors.is_empty() || !self.host.errors.is_empty() {
            let tenants = self.work.values().filter_map(|entry| entry.on_disk.as_ref());
            errors.extend(tenants.flat_map(|version| version.errors.iter().cloned()));
            errors.sort_by(|one, two| (&one.file, one.line).cmp(&(&two.file, two.line)));
            errors.splice(0..0, self.host.errors.iter().cloned());
            errors.dedup();
            return Err(errors);
        }
        let slots = self.slots();
        let base = self.base(&slots);
        let (fqdns, numbers) = self.settle(&slots, base)?;
        self.plan(&slots, fqdns, numbers)
    }

    /// The place of each tenant in the plan, also of those that are new.
    fn slots(&self) -> HashMap<Arc<str>, usize> {
        let none = Tenants::default();
        let tenants = self.store.plan.as_ref().map_or(&none, |plan| &plan.tenants);
        let mut free = tenants.free();
        let names = self.work.keys().chain(&self.gone);
        let slot = |name: &Arc<str>| {
            let slot = tenants.named(name).or_else(|| free.next());
            (Arc::clone(name), slot.unwrap_or(usize::MAX))
        };
        names.map(slot).collect()
    }

    /// Whose is what before the change. At a start: what was in force before it.
    fn base(&mut self, slots: &HashMap<Arc<str>, usize>) -> (Fqdns, NumberIndex) {
        if let Some(plan) = &self.store.plan {
            return (plan.fqdns.clone(), plan.numbers.clone());
        }
        let before: Vec<Claimant<'_>> = self
            .work
            .iter()
            .filter_map(|(name, entry)| {
                let new = Some(entry.in_force.as_deref()?);
                Some(Claimant { name, slot: *slots.get(name)?, old: None, new })
            })
            .collect();
        if before.is_empty() {
            return Default::default();
        }
        let settled = settle(&Fqdns::default(), &NumberIndex::default(), &before, &|_| None);
        let lost: Vec<Arc<str>> = settled
            .refused
            .keys()
            .filter_map(|at| Some(Arc::from(before.get(*at)?.name)))
            .collect();
        for name in lost {
            if let Some(entry) = self.work.get_mut(&name) {
                entry.in_force = None;
            }
        }
        (settled.fqdns, settled.numbers)
    }

    /// Who gets what. Those that do not get all they claim stay as they were.
    fn settle(
        &mut self,
        slots: &HashMap<Arc<str>, usize>,
        (fqdns, numbers): (Fqdns, NumberIndex),
    ) -> Result<(Fqdns, NumberIndex), Vec<Problem>> {
        let store = self.store;
        for entry in self.work.values_mut() {
            entry.refused = Arc::default();
        }
        let slot = |name: &Arc<str>| slots.get(name).copied().unwrap_or(usize::MAX);
        let mut claimants: Vec<Claimant<'_>> = Vec::new();
        for (name, entry) in &self.work {
            let (old, new) = (entry.in_force.as_deref(), entry.on_disk.as_deref());
            let Some(new) = new.filter(|new| new.tenant.is_some()) else { continue };
            if old.is_none_or(|old| old.sum != new.sum) {
                claimants.push(Claimant { name, slot: slot(name), old, new: Some(new) });
            }
        }
        for name in &self.gone {
            let old = store.entries.get(name).and_then(|entry| entry.in_force.as_deref());
            claimants.push(Claimant { name, slot: slot(name), old, new: None });
        }
        claimants.sort_by_key(|one| one.name);
        let in_force = |slot: usize| {
            let name = match store.plan.as_ref().and_then(|plan| plan.tenants.get(slot)) {
                Some(tenant) => tenant.name.as_str(),
                None => slots.iter().find(|(_, own)| **own == slot).map(|(name, _)| &**name)?,
            };
            let entry = self.work.get(name).or_else(|| store.entries.get(name))?;
            Some((name, entry.in_force.as_deref()?))
        };
        let settled = settle(&fqdns, &numbers, &claimants, &in_force);
        let refused: Vec<(Arc<str>, Vec<Problem>)> = settled
            .refused
            .into_iter()
            .filter_map(|(at, why)| Some((Arc::from(claimants.get(at)?.name), why)))
            .collect();
        for (name, mut why) in refused {
            let Some(entry) = self.work.get_mut(&name) else { continue };
            // It stays as it was, which has to hold, too.
            if let Some(in_force) = entry.in_force.as_ref().filter(|it| it.tenant.is_none()) {
                return Err(in_force.errors.clone());
            }
            why.sort_by(|one, two| (one.line, &one.message).cmp(&(two.line, &two.message)));
            entry.refused = Arc::new(why);
        }
        for entry in self.work.values_mut() {
            let Some(on_disk) = &entry.on_disk else { continue };
            match on_disk.tenant {
                None => entry.refused = Arc::new(on_disk.errors.clone()),
                Some(_) if entry.refused.is_empty() => entry.in_force = Some(Arc::clone(on_disk)),
                Some(_) => {}
            }
        }
        Ok((settled.fqdns, settled.numbers))
    }

    /// Puts it together.
    fn plan(
        self,
        slots: &HashMap<Arc<str>, usize>,
        fqdns: Fqdns,
        numbers: NumberIndex,
    ) -> Result<Candidate, Vec<Problem>> {
        let Self { store, host, work, gone, mut warnings, .. } = self;
        let mut tenants = store.plan.as_ref().map(|it| it.tenants.clone()).unwrap_or_default();
        for name in &gone {
            tenants.remove(name);
        }
        let mut broken: BTreeSet<Arc<str>> = store.broken.clone();
        broken.retain(|name| !gone.contains(name));
        for (name, entry) in &work {
            match entry.refused.is_empty() {
                true => broken.remove(name),
                false => broken.insert(Arc::clone(name)),
            };
            warnings.extend(entry.on_disk.iter().flat_map(|it| it.warnings.iter().cloned()));
            let tenant = entry.in_force.as_ref().and_then(|it| it.tenant.as_ref());
            if let (Some(tenant), Some(slot)) = (tenant, slots.get(name)) {
                // One that is in force as it was need not be put there again.
                let same = tenants.named(name).is_some_and(|at| tenants.is(at, tenant));
                if !same {
                    tenants.put(*slot, Arc::clone(tenant));
                }
            }
        }
        let list: Vec<Broken> = broken
            .iter()
            .filter_map(|name| {
                let entry = work.get(name).or_else(|| store.entries.get(name))?;
                Some(Broken {
                    tenant: name.to_string(),
                    absent: entry.in_force.is_none(),
                    problems: Arc::clone(&entry.refused),
                })
            })
            .collect();
        let absent = list.iter().filter(|it| it.absent).filter_map(|it| {
            let entry = work.get(&*it.tenant).or_else(|| store.entries.get(&*it.tenant))?;
            Some((it.tenant.as_str(), entry.on_disk.as_deref()?))
        });
        let absent = Arc::new(absences(absent));
        let Some(base) = host.plan() else { return Err(host.errors.clone()) };
        let plan = Plan { tenants, fqdns, numbers, absent, ..base.clone() };
        let Some(mut loaded) = host.loaded(&store.layout, plan) else {
            return Err(host.errors.clone());
        };
        loaded.warnings.extend(warnings);
        loaded.broken = list;
        let gone = gone.into_iter().map(|name| (name, None));
        let entries =
            work.into_iter().map(|(name, entry)| (name, Some(entry))).chain(gone).collect();
        Ok(Candidate { loaded, host, entries, broken })
    }
}

/// Whose calls are refused because their files do not hold.
fn absences<'a>(tenants: impl Iterator<Item = (&'a str, &'a Version)>) -> Absent {
    let mut absent = Absent::default();
    for (place, (name, version)) in tenants.enumerate() {
        absent.tenants.push(name.to_owned());
        // Where two claim the same, either name is as good an answer.
        for fqdn in version.fqdns() {
            let _ = absent.fqdns.insert(fqdn, place);
        }
        for range in version.numbers() {
            let _ = absent.numbers.insert(*range, place);
        }
        absent.fqdns_unknown |= version.fqdns_unknown();
        absent.numbers_unknown |= version.numbers_unknown();
    }
    absent
}
