//! Keeps each configuration that is put in force, on threads that may wait for a disk.

use crate::admin::Answer;
use crate::config::{Generations, Sources, Store};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The generations of the daemon's configuration; clones are handles to the same.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Or why none are kept.
    generations: Mutex<Result<Generations, String>>,
    /// What is to be kept next. While the disk is busy, a newer one takes its place.
    next: Mutex<Option<(Sources, String)>>,
}

impl Keeper {
    pub(crate) fn new(generations: io::Result<Generations>) -> Self {
        let generations = generations.map_err(|error| {
            tracing::warn!(
                %error,
                "configurations are not kept: no rollback, and a broken tenant is absent after a \
                 restart; [state] directory names another place"
            );
            format!("configurations are not kept: {error}")
        });
        let generations = Mutex::new(generations);
        Self { shared: Arc::new(Shared { generations, next: Mutex::new(None) }) }
    }

    /// Has what is in force kept, as one that changed `what`.
    pub(crate) fn keep(&self, store: &Store, what: &str) {
        let Some(sources) = store.in_force() else { return };
        *lock(&self.shared.next) = Some((sources, what.to_owned()));
        let keeper = self.clone();
        tokio::task::spawn_blocking(move || keeper.flush());
    }

    /// Writes what waits to be written.
    fn flush(&self) {
        let mut generations = lock(&self.shared.generations);
        let Some((sources, what)) = lock(&self.shared.next).take() else { return };
        let Ok(generations) = &mut *generations else { return };
        if let Err(error) = generations.keep(&sources, &what) {
            tracing::warn!(%error, "this configuration is not kept");
        }
    }

    /// The sources of a generation: of this one, else of the one before that in force.
    pub(crate) fn sources(&self, number: Option<u64>) -> Result<(u64, Sources), String> {
        self.flush();
        let generations = lock(&self.shared.generations);
        let generations = generations.as_ref().map_err(Clone::clone)?;
        let number = number.or_else(|| generations.previous());
        let number = number.ok_or("there is no configuration before this one")?;
        Ok((number, generations.sources(number)?))
    }

    /// Notes that this generation is in force in place of the files on disk, which say that.
    pub(crate) fn rolled_back(&self, number: u64, from: &str) {
        let mut generations = lock(&self.shared.generations);
        let Ok(generations) = &mut *generations else { return };
        if let Err(error) = generations.rolled_back(number, from) {
            tracing::warn!(%error, "after a restart the files on disk are in force again");
        }
    }

    /// The generation in force, if any are kept.
    pub(crate) fn current(&self) -> Option<u64> {
        lock(&self.shared.generations).as_ref().ok().map(|generations| generations.list().1)
    }

    /// Answers which there are.
    pub(crate) fn list(&self, answer: oneshot::Sender<Answer>) {
        let keeper = self.clone();
        tokio::task::spawn_blocking(move || {
            keeper.flush();
            let said = match &*lock(&keeper.shared.generations) {
                Ok(generations) => {
                    let (generations, current) = generations.list();
                    Answer::Generations { generations, current }
                }
                Err(why) => Answer::Refused { problems: vec![why.clone()] },
            };
            let _ = answer.send(said);
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
