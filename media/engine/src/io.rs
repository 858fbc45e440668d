//! The seam between the kernel and the core: what every engine does for a worker.

use crate::batch::{Batch, PortId};
use crate::clock;
use crate::datapath::{Carried, Datapath};
use crate::pace::TICK;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// One way of getting packets from the kernel and back to it. A worker owns one and calls it from
/// its own thread only.
pub(crate) trait PacketIo: Send {
    /// Takes a port into use, which is `at`: from now on its packets are received, and those that
    /// leave from it are marked with `dscp`.
    fn open(&mut self, port: PortId, at: SocketAddr, dscp: u8) -> io::Result<()>;

    /// Gives a port back. One that is not open is no error.
    fn close(&mut self, port: PortId);

    /// Adds what has arrived to an empty batch, without waiting, and says whether there may be more.
    fn receive(&mut self, batch: &mut Batch) -> bool;

    /// Sends the packets of the batch that are marked so. What the kernel refuses is counted and gone:
    /// a late voice packet is worth nothing.
    /// To be called for each batch that was received, sent or not: an engine that has lent the packets
    /// takes them back here.
    fn send(&mut self, batch: &mut Batch);

    /// Has signalling ring from now on. The caller then looks for commands once more: those that came
    /// before have not rung.
    fn await_ring(&mut self);

    /// Waits until a packet has arrived or signalling has rung since [`Self::await_ring`].
    fn wait(&mut self);

    /// As [`Self::wait`], but for `longest` at most. An engine that cannot wait for its packets comes
    /// back after a tick instead.
    fn wait_at_most(&mut self, longest: Duration) {
        clock::pause(longest.min(TICK));
    }

    /// What becomes readable when a packet has arrived, where that can be waited for.
    fn ready_at(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Sees whether what it stands on is still there: some times a second as long as packets come.
    fn check(&mut self) {}

    /// Looks about once a second at what changes by itself: routes, addresses, interfaces.
    fn look_around(&mut self) {}

    /// What carries the packets of a port.
    fn carries(&self, port: PortId) -> Carried;

    /// The same without the reason: asked once a second for each leg.
    fn datapath(&self, port: PortId) -> Datapath {
        self.carries(port).by
    }

    /// Why this way is closed for good, if it is: the worker then goes on with sockets.
    fn lost(&self) -> Option<String> {
        None
    }

    /// What has become of a way that goes on, since this was last asked: once a second.
    fn turned(&mut self) -> Option<Turn> {
        None
    }

    /// What went wrong so far.
    fn faults(&self) -> Faults;
}

/// An engine over another loses what it stands on, or has it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// What it had goes by the engine below.
    Lost { to: Datapath, why: String },
    /// All is as it was.
    Regained { by: Datapath },
}

/// Errors of the kernel that cost a packet at most, and detours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) receive: u64,
    pub(crate) send: u64,
    /// Packets that came in at the queue of another worker.
    pub(crate) astray: u64,
}

impl Faults {
    /// Those of an engine and of the one before it.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            receive: self.receive + other.receive,
            send: self.send + other.send,
            astray: self.astray + other.astray,
        }
    }
}
