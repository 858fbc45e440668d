//! How each worker comes by the way of its packets.

use crate::EngineError;
use crate::datapath::{Chosen, Datapath, EngineKind};
use crate::io::PacketIo;
use crate::kernel::Kernel;
use crate::portable::Portable;
use crate::steer::Steer;
use crate::sys::Bell;
use std::io;
use std::sync::{Arc, Mutex};

/// What the workers of one engine share of it.
#[derive(Debug)]
pub(crate) struct Ways {
    chosen: Chosen,
    /// Loaded for those that need its programs.
    kernel: Option<Arc<Mutex<Kernel>>>,
}

impl Ways {
    /// Readies what `engine` needs; an error where this host does not have it.
    pub(crate) fn new(engine: EngineKind) -> Result<Self, EngineError> {
        let not_here = |why: String| EngineError::NotHere { engine, why };
        let chosen = |by, why: &str| Chosen { by, why: why.to_owned() };
        match engine {
            EngineKind::Portable => {
                Ok(Self { chosen: chosen(Datapath::Portable, "configured"), kernel: None })
            }
            EngineKind::Auto => Ok(Self {
                chosen: chosen(Datapath::Portable, "the one that there is"),
                kernel: None,
            }),
            EngineKind::Steer => {
                let mut kernel = Kernel::load().map_err(|why| not_here(why.to_string()))?;
                kernel.steer().map_err(|why| not_here(why.to_string()))?;
                let kernel = Some(Arc::new(Mutex::new(kernel)));
                Ok(Self { chosen: chosen(Datapath::Steer, "configured"), kernel })
            }
            EngineKind::Xdp => Err(not_here("only sockets can be had".to_owned())),
        }
    }

    /// What there is, and why this.
    pub(crate) fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// The way of a worker (from 0).
    pub(crate) fn build(&self, worker: usize, bell: Arc<Bell>) -> io::Result<Box<dyn PacketIo>> {
        Ok(match &self.kernel {
            Some(kernel) => {
                let steer = Steer::new(worker, bell, Arc::clone(kernel));
                Box::new(steer.map_err(io::Error::other)?)
            }
            None => Box::new(Portable::new(bell, "".into())?),
        })
    }
}
