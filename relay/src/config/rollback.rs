//! The way back: a generation in place of the files on disk, until these are changed.

use super::Problem;
use super::disk::{Content, Look, Print, Scope, Seen};
use super::generations::{Generations, digest};
use super::store::{Candidate, Sources, Store};
use super::version::{Sum, sum};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// What the files on disk said when they were rolled back from. As long as they say that, they are not
/// in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frozen {
    host: (Option<Print>, Sum),
    tenants: BTreeMap<Arc<str>, (Option<Print>, Sum)>,
}

impl Frozen {
    fn of(look: &Look) -> Self {
        let tenants = look.tenants.iter().filter_map(|(name, seen)| match seen {
            Seen::Read(content) => Some((Arc::clone(name), (content.print, content.sum()))),
            Seen::Same | Seen::Gone => None,
        });
        let host = look.host.as_ref();
        Self {
            host: host.map_or((None, sum("")), |host| (host.print, host.sum())),
            tenants: tenants.collect(),
        }
    }

    /// The name of all that the files say.
    pub(crate) fn digest(&self) -> String {
        digest(&self.host.1, self.tenants.iter().map(|(name, (_, sum))| (&**name, sum)))
    }
}

impl Content {
    /// The name of what it says; of why it cannot be read, if so.
    fn sum(&self) -> Sum {
        match &self.text {
            Ok((_, sum)) => *sum,
            Err(problem) => sum(&problem.to_string()),
        }
    }

    fn of(path: std::path::PathBuf, text: Arc<str>, sum: Sum) -> Self {
        Self { path, text: Ok((text, sum)), print: None }
    }
}

impl Store {
    /// Everything on disk, read anew.
    pub(crate) fn freeze(&self, now: SystemTime) -> Frozen {
        Frozen::of(&super::disk::look(
            &self.layout,
            &Scope::all(),
            true,
            &mut std::iter::empty(),
            now,
        ))
    }

    /// A look at these sources in place of the files.
    pub(crate) fn look_back(&self, sources: Sources) -> Look {
        let Sources { host: (text, sum), tenants } = sources;
        let mut look = Look {
            host: Some(Content::of(self.layout.host.clone(), text, sum)),
            ..Look::default()
        };
        for (name, text, sum) in tenants {
            let content = Content::of(self.layout.tenant(&name), text, sum);
            look.tenants.push((name, Seen::Read(content)));
        }
        let gone: Vec<Arc<str>> = self
            .names()
            .filter(|name| !look.tenants.iter().any(|(other, _)| other == *name))
            .cloned()
            .collect();
        look.tenants.extend(gone.into_iter().map(|name| (name, Seen::Gone)));
        look
    }

    /// A look where the files on disk were rolled back from. `None`: they have changed since, and count
    /// again.
    pub(crate) fn look_frozen(
        &self,
        frozen: &Frozen,
        named: bool,
        now: SystemTime,
    ) -> Option<Look> {
        let mut known = frozen.tenants.iter().map(|(name, (print, _))| (Arc::clone(name), *print));
        let scope = Scope { host: true, ..Scope::default() };
        let found = super::disk::look(&self.layout, &scope, true, &mut known, now);
        let host = found.host.as_ref().is_some_and(|host| host.sum() != frozen.host.1);
        let tenant = |(name, seen): &(Arc<str>, Seen)| match seen {
            Seen::Same => false,
            Seen::Gone => true,
            Seen::Read(content) => {
                frozen.tenants.get(name).is_none_or(|(_, sum)| *sum != content.sum())
            }
        };
        if host || found.tenants.iter().any(tenant) {
            return None;
        }
        // A certificate is not part of what was rolled back.
        let host = self.in_force().filter(|_| named).map(|sources| {
            let (text, sum) = sources.host;
            Content::of(self.layout.host.clone(), text, sum)
        });
        Some(Look { host, ..Look::default() })
    }
}

/// What is in force at a start: the generation that was rolled back to, if the files on disk are still
/// those that were rolled back from; else the files, with each tenant as it last was behind its own.
pub(crate) fn start(
    store: &mut Store,
    look: Look,
    generations: Option<&Generations>,
) -> Result<Candidate, Vec<Problem>> {
    let Some(generations) = generations else { return store.judge(look, false) };
    let frozen = Frozen::of(&look);
    if generations.rolled_back_from() == Some(frozen.digest().as_str()) {
        let sources = generations.sources(generations.list().1).ok();
        let back = sources.and_then(|sources| store.judge(store.look_back(sources), false).ok());
        if let Some(candidate) = back {
            store.set_frozen(Some(frozen));
            return Ok(candidate);
        }
    }
    let before = generations.current().unwrap_or_default();
    for (name, seen) in &look.tenants {
        let Seen::Read(content) = seen else { continue };
        let Some(object) = before.get(&**name) else { continue };
        match &content.text {
            Ok((text, sum)) if super::generations::hex(sum) == *object => {
                store.remember(name, Arc::clone(text), *sum);
            }
            _ => {
                if let Some(text) = generations.text(object) {
                    store.remember(name, text.as_str().into(), sum(&text));
                }
            }
        }
    }
    store.judge(look, false)
}
