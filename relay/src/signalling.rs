//! The thread of a shard: the core, its timers, its datagrams and its open connections on one runtime,
//! so that a message on its way in and out wakes nobody else.

use std::io;
use std::thread;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The running thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Signalling {
    handle: Handle,
    _end: oneshot::Sender<()>,
}

impl Signalling {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("signalling".into()).spawn(move || {
            // The other half is never used, only dropped.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self { handle, _end: end })
    }

    /// Where tasks for this thread are spawned.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
