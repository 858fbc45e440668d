//! How each worker comes by the way of its packets.

use crate::auto::{self, Heeds};
use crate::datapath::{Chosen, Datapath, EngineKind};
use crate::io::PacketIo;
use crate::kernel::{Kernel, KernelError};
use crate::offload::{Offload, Region};
use crate::portable::Portable;
use crate::steer::Steer;
use crate::sys::Bell;
use crate::xdp::{Part, Xdp};
use crate::{Config, EngineError};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Why an engine that is asked for by name is taken.
const CONFIGURED: &str = "configured";

/// What is warned of where an engine that was asked for by name passes by IPsec policies.
pub(crate) const IN_THE_CLEAR: &str = "what this host is to encrypt may leave as it is";

/// What the workers of one engine share of it.
#[derive(Debug)]
pub(crate) struct Ways {
    chosen: Chosen,
    workers: usize,
    media: Arc<[IpAddr]>,
    /// The engine was asked for by name: AF_XDP is had also where the stack has to run its program, and nothing
    /// gives way to IPsec policies.
    by_name: bool,
    /// There were policies that it goes past.
    warned: bool,
    /// Loaded for those that need its programs.
    kernel: Option<Arc<Mutex<Kernel>>>,
    /// Flows that the kernel sends on; or why there are none, empty where nobody wants any.
    flows: Result<(Arc<Mutex<Kernel>>, Arc<Region>), String>,
}

impl Ways {
    /// Readies what the engine needs, an error where this host does not have it, and what it takes that the
    /// kernel sends on flows, without which calls go on as well.
    pub(crate) fn new(config: &Config) -> Result<Self, EngineError> {
        let mut ways = Self::of(config)?;
        if config.offload {
            let flows = ways.flows().map_err(|error| error.to_string());
            // Without it calls go on as well, so that it is not worth a doubt.
            ways.flows = flows.and_then(|flows| match auto::passes_policies() {
                None => Ok(flows),
                Some(why) => Err(why),
            });
        }
        Ok(ways)
    }

    fn of(config: &Config) -> Result<Self, EngineError> {
        let Config { engine, workers, offload, ref media, .. } = *config;
        let not_here = |why: String| EngineError::NotHere { engine, why };
        let by = |by, why: &str, kernel| {
            let chosen = Chosen { by, why: why.to_owned() };
            let media = media.as_slice().into();
            let flows = Err(String::new());
            Self { chosen, workers, media, by_name: true, warned: false, kernel, flows }
        };
        match engine {
            EngineKind::Portable => Ok(by(Datapath::Portable, CONFIGURED, None)),
            EngineKind::Auto => {
                let (chosen, kernel) = auto::choose(media, workers, offload);
                Ok(Self { by_name: false, ..by(chosen.by, &chosen.why, kernel) })
            }
            // What does not come by AF_XDP is steered.
            EngineKind::Steer | EngineKind::Xdp => {
                let kernel = if offload { Kernel::load_with_flows() } else { Kernel::load() };
                let mut kernel = kernel.map_err(|why| not_here(why.to_string()))?;
                kernel.steer().map_err(|why| not_here(why.to_string()))?;
                let kernel = Arc::new(Mutex::new(kernel));
                Steer::try_for(&kernel, workers).map_err(not_here)?;
                let passes = auto::passes_policies();
                if let Some(why) = &passes {
                    tracing::warn!(%engine, why, "{IN_THE_CLEAR}");
                }
                let datapath = match engine {
                    EngineKind::Xdp => Datapath::Xdp,
                    _ => Datapath::Steer,
                };
                let ways = by(datapath, CONFIGURED, Some(kernel));
                Ok(Self { warned: passes.is_some(), ..ways })
            }
        }
    }

    fn flows(&self) -> Result<(Arc<Mutex<Kernel>>, Arc<Region>), KernelError> {
        let kernel = match &self.kernel {
            Some(kernel) => Arc::clone(kernel),
            None => Arc::new(Mutex::new(Kernel::load_with_flows()?)),
        };
        let region = kernel.lock().unwrap_or_else(PoisonError::into_inner).flows()?;
        Ok((kernel, Arc::new(region)))
    }

    /// What has the kernel send on flows of a worker (from 0); or why nothing does, empty where nobody
    /// wants it.
    pub(crate) fn offload(&self, worker: usize) -> Result<Offload, String> {
        let (kernel, region) = self.flows.as_ref().map_err(String::clone)?;
        Offload::new(Arc::clone(kernel), Arc::clone(region), (worker, self.workers))
            .map_err(|error| error.to_string())
    }

    /// What a worker (from 0) does about IPsec policies that come later; `None` where it has nothing to do.
    pub(crate) fn heeds(&self, worker: usize) -> Option<Heeds> {
        let past_the_stack = self.kernel.is_some();
        let gives_way = past_the_stack && !self.by_name;
        // Of those that have been told to stay one says so.
        let warns = past_the_stack && self.by_name && !self.warned && worker == 0;
        let any = gives_way || warns || self.flows.is_ok();
        any.then(|| Heeds::new(gives_way)).flatten()
    }

    /// What there is, and why this.
    pub(crate) fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// The way of a worker (from 0).
    pub(crate) fn build(&self, worker: usize, bell: Arc<Bell>) -> io::Result<Box<dyn PacketIo>> {
        let Some(kernel) = &self.kernel else {
            // "configured" is no more than the operator knows.
            let why = if self.chosen.why == CONFIGURED { "" } else { &self.chosen.why };
            return Ok(Box::new(Portable::new(bell, why.to_owned().into())?));
        };
        let steer = Steer::new(worker, Arc::clone(&bell), Arc::clone(kernel));
        let steer = Box::new(steer.map_err(io::Error::other)?);
        if self.chosen.by != Datapath::Xdp {
            return Ok(steer);
        }
        let part = Part {
            worker,
            workers: self.workers,
            generic: self.by_name,
            media: Arc::clone(&self.media),
        };
        Ok(Box::new(Xdp::new(steer, bell, Arc::clone(kernel), part)))
    }
}
