//! Notices when files of the configuration change: the directory, the tenants', what symbolic links on
//! the way lead to, and every file that is named. A file counts when it is closed or renamed into
//! place, never while it is being written.

mod places;

use crate::clock;
use crate::config::Scope;
use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask};
use places::Meaning;
pub(crate) use places::Places;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, MissedTickBehavior};

/// What comes together is looked at together: the last of it so long ago,
const QUIET: Duration = Duration::from_millis(10);
/// or the first of it so long ago. One tenant's change has 100 ms to be in force.
const GATHER_MAX: Duration = Duration::from_millis(40);
/// An editor that replaces a file takes it away first and is back within this.
const GONE_AFTER: Duration = Duration::from_millis(300);
/// How often everything is looked at in case an event was missed: on network file systems there are none.
const POLL: Duration = Duration::from_secs(10);
/// Files that are being written at once, in watched directories. Beyond it none is held back.
const HELD_MAX: usize = 100_000;
/// Room for a few hundred events a read.
const BUFFER: usize = 64 << 10;

/// Watches one configuration.
#[derive(Debug)]
pub(crate) struct Watch {
    /// `None` where the system has none to give: then there is the poll alone.
    inotify: Option<AsyncFd<Inotify>>,
    places: Places,
    folders: HashMap<WatchDescriptor, PathBuf>,
    /// Files that are written to and were not closed since, by folder and name.
    held: HashSet<(PathBuf, OsString)>,
    /// The same, on their way from one name to another.
    moving: HashSet<u32>,
    /// What has changed, and since when, until when.
    changed: Scope,
    since: Option<(Instant, Instant)>,
    /// Tenants and the host's file that are gone, or there in an odd way, and when that is believed.
    gone: HashMap<PathBuf, (Meaning, Instant)>,
    poll: Interval,
}

impl Watch {
    /// Watches these places.
    pub(crate) fn new(places: Places) -> Self {
        let inotify = Inotify::init().and_then(registered);
        let inotify = inotify.inspect_err(|error| {
            tracing::warn!(%error, "changes of files are noticed by a look every 10 seconds only");
        });
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll.reset();
        let mut watch = Self {
            inotify: inotify.ok(),
            places: Places::default(),
            folders: HashMap::new(),
            held: HashSet::new(),
            moving: HashSet::new(),
            changed: nothing(),
            since: None,
            gone: HashMap::new(),
            poll,
        };
        watch.follow(places);
        watch
    }

    /// Watches these places from now on. What happens between looking for them and watching them is
    /// found by a look at everything.
    pub(crate) fn follow(&mut self, places: Places) {
        let Some(inotify) = &mut self.inotify else { return };
        let mut watches = inotify.get_mut().watches();
        let before = std::mem::take(&mut self.folders);
        for folder in places.folders() {
            // One that is watched already, and is still what it was, has the same descriptor.
            match watches.add(folder, mask()) {
                Ok(descriptor) => drop(self.folders.insert(descriptor, folder.to_owned())),
                Err(error) => {
                    tracing::debug!(folder = %folder.display(), %error, "is not watched");
                }
            }
        }
        let added = self.folders.keys().any(|descriptor| !before.contains_key(descriptor));
        for descriptor in before.into_keys().filter(|it| !self.folders.contains_key(it)) {
            // It may be gone, and its watch with it.
            let _ = watches.remove(descriptor);
        }
        self.places = places;
        if added {
            self.note(&Meaning::Everything);
        }
    }

    /// Files that are being written now.
    pub(crate) fn held(&self) -> BTreeSet<PathBuf> {
        let held = self.held.iter();
        held.filter_map(|(folder, name)| self.places.file(folder, name)).collect()
    }

    /// These tenants' files were not found: their tenants go unless they come back.
    pub(crate) fn missing(&mut self, tenants: Vec<(PathBuf, String)>) {
        let due = clock::now().mono + GONE_AFTER;
        for (file, tenant) in tenants {
            self.gone.entry(file).or_insert((Meaning::Tenant(tenant), due));
        }
    }

    /// What is to be looked at, when there is something. Whoever stops waiting loses nothing.
    pub(crate) async fn next(&mut self) -> Scope {
        loop {
            let now = clock::now().mono;
            self.believe(now);
            let due = self.since.map(|(first, last)| (first + GATHER_MAX).min(last + QUIET));
            if due.is_some_and(|due| due <= now) {
                self.since = None;
                return std::mem::replace(&mut self.changed, nothing());
            }
            let believed = self.gone.values().map(|(_, due)| *due).min();
            let due = due.into_iter().chain(believed).min();
            tokio::select! {
                read = readable(&mut self.inotify) => {
                    if let Err(error) = read.and_then(|()| self.read()) {
                        tracing::warn!(%error, "changes of files are not noticed at once any more");
                        self.inotify = None;
                    }
                }
                () = sleep_until(due) => {}
                _ = self.poll.tick() => {
                    return Scope { host: true, poll: true, patient: true, ..Scope::default() };
                }
            }
        }
    }

    /// What has been gone for long enough is gone.
    fn believe(&mut self, now: Instant) {
        let due: Vec<PathBuf> = self
            .gone
            .iter()
            .filter(|(_, (_, due))| *due <= now)
            .map(|(file, _)| file.clone())
            .collect();
        for file in due {
            if let Some((meaning, _)) = self.gone.remove(&file) {
                self.note(&meaning);
            }
        }
    }

    /// Takes the events that are there.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let Some(inotify) = &mut self.inotify else { return Ok(()) };
            let events = match inotify.get_mut().read_events(&mut buffer) {
                Ok(events) => events.map(|event| event.to_owned()).collect::<Vec<_>>(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            for event in events {
                self.event(&event);
            }
        }
    }

    fn event(&mut self, event: &Event<OsString>) {
        let mask = event.mask;
        if mask.contains(EventMask::Q_OVERFLOW) {
            self.held.clear();
            return self.note(&Meaning::Everything);
        }
        if mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED) {
            self.folders.remove(&event.wd);
            if let Some(inotify) = &mut self.inotify {
                // It has moved away, or is gone and its watch with it.
                let _ = inotify.get_mut().watches().remove(event.wd.clone());
            }
            return self.note(&Meaning::Everything);
        }
        let (Some(folder), Some(name)) = (self.folders.get(&event.wd).cloned(), &event.name) else {
            return;
        };
        let key = (folder, name.clone());
        if mask.intersects(EventMask::MOVED_FROM | EventMask::DELETE) {
            if self.held.remove(&key) && mask.contains(EventMask::MOVED_FROM) {
                if self.moving.len() >= HELD_MAX {
                    // They went where nobody watches.
                    self.moving.clear();
                }
                self.moving.insert(event.cookie);
            }
            return self.later(&key);
        }
        if mask.contains(EventMask::CREATE) && written(&key) && filled(&key) {
            // One that was written without a name (`O_TMPFILE`) is whole, and is not closed under this
            // one. Of any other we hear in a moment that it is written to.
            return self.later(&key);
        }
        if mask.contains(EventMask::MODIFY) || (mask.contains(EventMask::CREATE) && written(&key)) {
            if self.held.len() >= HELD_MAX {
                self.held.clear();
            }
            self.held.insert(key);
            return;
        }
        if mask.contains(EventMask::MOVED_TO) && self.moving.remove(&event.cookie) {
            self.held.insert(key);
            return;
        }
        if mask.contains(EventMask::CLOSE_WRITE) {
            self.held.remove(&key);
        }
        if self.held.contains(&key) {
            return;
        }
        if let Some(meaning) = self.places.meaning(&key.0, &key.1) {
            self.gone.remove(&key.0.join(&key.1));
            if let Some(file) = self.places.file(&key.0, &key.1) {
                self.gone.remove(&file);
            }
            self.note(&meaning);
        }
    }

    /// Has a name looked at in a while, unless there is news of it before.
    fn later(&mut self, (folder, name): &(PathBuf, OsString)) {
        let Some(meaning) = self.places.meaning(folder, name) else { return };
        let file = self.places.file(folder, name).unwrap_or_else(|| folder.join(name));
        let due = clock::now().mono + GONE_AFTER;
        self.gone.insert(file, (meaning, due));
    }

    fn note(&mut self, meaning: &Meaning) {
        match meaning {
            Meaning::Everything => {
                self.changed.host = true;
                self.changed.tenants = None;
            }
            Meaning::Host => self.changed.host = true,
            Meaning::Tenant(name) => {
                if let Some(tenants) = &mut self.changed.tenants {
                    tenants.insert(name.clone());
                }
            }
        }
        // Whoever is gone was waited for; a look at everything finds others that are not there.
        self.changed.patient = self.changed.tenants.is_none();
        let now = clock::now().mono;
        self.since = Some((self.since.map_or(now, |(first, _)| first), now));
    }
}

fn nothing() -> Scope {
    Scope { tenants: Some(BTreeSet::new()), ..Scope::default() }
}

fn mask() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::MODIFY
        | WatchMask::ATTRIB
        | WatchMask::CLOSE_WRITE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}

/// Whether what is new is being written: a link is whole at once.
fn written((folder, name): &(PathBuf, OsString)) -> bool {
    let about = std::fs::symlink_metadata(folder.join(name));
    about.is_ok_and(|about| about.is_file() && about.nlink() == 1)
}

/// Whether what is new says something already: it was written before, or since.
fn filled((folder, name): &(PathBuf, OsString)) -> bool {
    std::fs::symlink_metadata(folder.join(name)).is_ok_and(|about| about.len() > 0)
}

#[expect(deprecated, reason = "its successor is unsafe; an Inotify keeps its descriptor for life")]
fn registered(inotify: Inotify) -> io::Result<AsyncFd<Inotify>> {
    AsyncFd::new(inotify)
}

async fn readable(inotify: &mut Option<AsyncFd<Inotify>>) -> io::Result<()> {
    match inotify {
        Some(inotify) => {
            let mut ready = inotify.readable().await?;
            // It is read until there is no more.
            ready.clear_ready();
            Ok(())
        }
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// As in `tenants.d`.
fn is_tenant_file(name: &OsStr) -> bool {
    name.to_str().is_some_and(crate::config::is_tenant_file)
}

#[cfg(test)]
mod tests;
