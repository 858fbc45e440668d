//! How each worker comes by the way of its packets.

use crate::EngineError;
use crate::datapath::{Chosen, Datapath, EngineKind};
use crate::io::PacketIo;
use crate::kernel::Kernel;
use crate::portable::Portable;
use crate::steer::Steer;
use crate::sys::Bell;
use crate::xdp::Xdp;
use std::io;
use std::sync::{Arc, Mutex};

/// What the workers of one engine share of it.
#[derive(Debug)]
pub(crate) struct Ways {
    chosen: Chosen,
    workers: usize,
    /// Loaded for those that need its programs.
    kernel: Option<Arc<Mutex<Kernel>>>,
}

impl Ways {
    /// Readies what `engine` needs for so many workers; an error where this host does not have it.
    pub(crate) fn new(engine: EngineKind, workers: usize) -> Result<Self, EngineError> {
        let not_here = |why: String| EngineError::NotHere { engine, why };
        let chosen = |by, why: &str| Chosen { by, why: why.to_owned() };
        match engine {
            EngineKind::Portable => {
                Ok(Self { chosen: chosen(Datapath::Portable, "configured"), workers, kernel: None })
            }
            EngineKind::Auto => Ok(Self {
                chosen: chosen(Datapath::Portable, "the one that there is"),
                workers,
                kernel: None,
            }),
            // What does not come by AF_XDP is steered.
            EngineKind::Steer | EngineKind::Xdp => {
                let mut kernel = Kernel::load().map_err(|why| not_here(why.to_string()))?;
                kernel.steer().map_err(|why| not_here(why.to_string()))?;
                let kernel = Some(Arc::new(Mutex::new(kernel)));
                let by = match engine {
                    EngineKind::Xdp => Datapath::Xdp,
                    _ => Datapath::Steer,
                };
                Ok(Self { chosen: chosen(by, "configured"), workers, kernel })
            }
        }
    }

    /// What there is, and why this.
    pub(crate) fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// The way of a worker (from 0).
    pub(crate) fn build(&self, worker: usize, bell: Arc<Bell>) -> io::Result<Box<dyn PacketIo>> {
        let Some(kernel) = &self.kernel else {
            return Ok(Box::new(Portable::new(bell, "".into())?));
        };
        let steer = Steer::new(worker, Arc::clone(&bell), Arc::clone(kernel));
        let steer = Box::new(steer.map_err(io::Error::other)?);
        if self.chosen.by != Datapath::Xdp {
            return Ok(steer);
        }
        let of = (worker, self.workers);
        Ok(Box::new(Xdp::new(steer, bell, Arc::clone(kernel), of)?))
    }
}
