//! Which way packets take between the kernel and a worker, and how that is chosen and told.

use std::fmt;

/// The way that the configuration asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// The fastest that this host can have.
    #[default]
    Auto,
    /// One UDP socket per port; no privileges.
    Portable,
    /// One socket per worker, to which a BPF program hands all its ports.
    Steer,
    /// AF_XDP: packets are taken where the driver has them, before the stack.
    Xdp,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Portable => "portable",
            Self::Steer => "steer",
            Self::Xdp => "xdp",
        })
    }
}

/// What carries the packets of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datapath {
    /// A socket of its own.
    Portable,
    /// The worker's socket, and a socket for packets with headers of our own.
    Steer,
    /// AF_XDP.
    Xdp,
    /// The kernel sends them on, where the driver has them.
    XdpOffload,
    /// The kernel sends them on, before its stack.
    TcOffload,
}

impl Datapath {
    /// All of them, each at its own number.
    pub const ALL: [Self; 5] =
        [Self::Portable, Self::Steer, Self::Xdp, Self::XdpOffload, Self::TcOffload];

    /// Its name in configuration, logs, metrics and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Steer => "steer",
            Self::Xdp => "xdp",
            Self::XdpOffload => "xdp-offload",
            Self::TcOffload => "tc-offload",
        }
    }
}

impl fmt::Display for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What carries a leg, and what keeps it from a faster way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// What carries it.
    pub by: Datapath,
    /// Why nothing faster does, in words for a log; empty where nothing is faster.
    pub why_not_faster: std::borrow::Cow<'static, str>,
}

impl Carried {
    /// The same, where the kernel does not send its packets on either.
    pub(crate) fn nor_in_kernel(self, why: &str) -> Self {
        let why_not_faster = match self.why_not_faster.is_empty() {
            true => format!("the kernel does not send on by itself: {why}"),
            false => {
                format!("{}; the kernel does not send on by itself: {why}", self.why_not_faster)
            }
        };
        Self { why_not_faster: why_not_faster.into(), ..self }
    }
}

/// The way that the workers of an engine have begun with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What carries their packets, as far as it can.
    pub by: Datapath,
    /// Why this one, in words for a log.
    pub why: String,
}
