//! A worker's AF_XDP sockets and the frames that they share: what is received, sent and taken back.

use super::socket::{Descriptor, Mode, RING, XdpSocket};
use super::umem::{Frame, SOCKETS_MAX, Umem};
use crate::batch::Packet;
use crate::kernel::Queue;
use crate::wire::Template;
use media::PacketBuf;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// Frames of a worker for each way that packets come, 16 MB of memory. Up to half of them wait for
/// packets at its queues; the others are in hand or on their way out.
pub(super) const FRAMES: usize = 8192;
/// Frames that may wait at a queue at least, even where earlier ones have most of them: a batch.
pub(super) const FILL_MIN: usize = 64;
/// Frames that are kept for what leaves, whatever queues could take.
const KEPT: usize = FRAMES / 4;
/// Frames that wait at a queue to begin with: those of 500 calls for 10 ms. Frames come round in turn, so
/// that with many of them no packet finds its own in a cache.
pub(super) const FILL_FIRST: u32 = 512;
/// Frames that are fetched into a cache before the kernel puts packets there: those of two batches.
const EXPECTED_MAX: u32 = 128;
/// Times as many wait as were needed at once.
const RESERVE: u32 = 4;
/// Looks around, one a second, without need of more than a quarter of that, until half as many wait.
pub(super) const CALM: u8 = 60;

/// All sockets of a worker. Frames belong to one of two pools: those of copied packets, and those that
/// drivers write to. A packet that comes in one and leaves by the other is copied.
#[derive(Debug)]
pub(super) struct Frames {
    sockets: Vec<Option<Held>>,
    pools: [Option<Umem>; 2],
    /// Frames that may wait at each queue, and those that do so whatever else wants them.
    fill: u32,
    fill_min: u32,
    /// Packets that could not be sent.
    pub(super) unsent: u64,
    /// What the kernel threw away at sockets that are closed.
    thrown_away: u64,
}

/// A socket, and what it has to do.
#[derive(Debug)]
struct Held {
    socket: XdpSocket,
    mode: Mode,
    /// Frames that wait for packets there.
    filled: u32,
    /// Frames that are to wait there: as many as the worker needed when it was held up.
    wanted: u32,
    /// The most packets that waited at once, since it was last looked around.
    most: u32,
    /// Looks around since as many frames were needed.
    calm: u8,
    /// Packets that the kernel threw away, as of the last look around.
    thrown_away: u64,
    /// Something was written to its ring since the kernel was last told.
    kick: bool,
    /// Why it cannot be used any more.
    broken: Option<io::ErrorKind>,
}

/// A packet that has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// Where its frame begins.
    pub(super) address: u64,
    pub(super) len: usize,
    pub(super) frame: Frame,
    pub(super) mode: Mode,
}

impl Held {
    fn look_around(&mut self) -> u64 {
        // A driver that fell asleep for want of frames, in case that was not seen.
        if self.socket.fill.needs_wakeup() {
            self.socket.wake_driver();
        }
        let before = std::mem::replace(&mut self.thrown_away, self.socket.thrown_away());
        let most = std::mem::take(&mut self.most);
        if self.thrown_away > before {
            self.wanted = RING;
        }
        if self.thrown_away > before || most > self.wanted / (4 * RESERVE) {
            self.calm = 0;
        } else {
            self.calm += 1;
        }
        if self.calm >= CALM {
            (self.wanted, self.calm) = ((self.wanted / 2).max(FILL_FIRST), 0);
        }
        self.thrown_away
    }
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self {
            sockets: Vec::new(),
            pools: [None, None],
            fill: RING,
            fill_min: 0,
            unsent: 0,
            thrown_away: 0,
        }
    }

    /// Places of sockets, of which some may be empty.
    pub(super) const fn places(&self) -> usize {
        self.sockets.len()
    }

    pub(super) fn socket(&self, place: u8) -> Option<&XdpSocket> {
        self.sockets.get(usize::from(place))?.as_ref().map(|held| &held.socket)
    }

    pub(super) fn broken(&self, place: u8) -> Option<io::ErrorKind> {
        self.sockets.get(usize::from(place))?.as_ref()?.broken
    }

    /// What becomes readable when a packet has arrived.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().flatten().map(|held| held.socket.fd())
    }

    /// A socket at a queue whose packets come in this mode; its place. It has a batch of frames, so that whoever
    /// has packets brought there loses none, and the others with the next [`Self::turn`], when it is known among
    /// how many they are to be shared.
    pub(super) fn open(&mut self, queue: Queue, mode: Mode) -> io::Result<u8> {
        self.open_with(queue, mode, &mut None)
    }

    /// The same where the driver is asked whether it has zero-copy; with the mode that it came to.
    pub(super) fn open_fastest(&mut self, queue: Queue) -> io::Result<(u8, Mode)> {
        // Memory that the one does not take the other has.
        let mut spare = None;
        let fastest = self.open_with(queue, Mode::ZeroCopy, &mut spare);
        let opened = fastest.map(|place| (place, Mode::ZeroCopy));
        opened.or_else(|_| Ok((self.open_with(queue, Mode::Copy, &mut spare)?, Mode::Copy)))
    }

    fn open_with(&mut self, queue: Queue, mode: Mode, spare: &mut Option<Umem>) -> io::Result<u8> {
        let free = self.sockets.iter().position(Option::is_none).unwrap_or(self.sockets.len());
        let place = u8::try_from(free).ok().filter(|place| usize::from(*place) < SOCKETS_MAX);
        let place = place.ok_or(io::ErrorKind::StorageFull)?;
        let pool = &mut self.pools[mode as usize];
        let is_new = pool.is_none();
        if is_new {
            *pool = Some(spare.take().map_or_else(|| Umem::new(FRAMES), Ok)?);
        }
        let umem = pool.as_ref().ok_or(io::ErrorKind::OutOfMemory)?;
        let alike = |held: &&Held| held.mode == mode && held.broken.is_none();
        let first = self.sockets.iter().flatten().find(alike).map(|held| &held.socket);
        let socket = XdpSocket::open(umem, first, queue, mode);
        if is_new && socket.is_err() {
            *spare = pool.take();
        }
        let socket = socket?;
        let held = Held {
            socket,
            mode,
            filled: 0,
            wanted: FILL_FIRST,
            most: 0,
            calm: 0,
            thrown_away: 0,
            kick: false,
            broken: None,
        };
        if free == self.sockets.len() {
            self.sockets.push(None);
        }
        self.sockets[free] = Some(held);
        self.share();
        self.refill(place, self.fill_min);
        Ok(place)
    }

    /// Closes a socket and takes back what frames it had.
    pub(super) fn close(&mut self, place: u8) -> Option<Queue> {
        let Held { socket, mode, .. } = self.sockets.get_mut(usize::from(place))?.take()?;
        let queue = socket.queue;
        self.thrown_away += socket.thrown_away();
        // Once it is closed the kernel neither reads nor writes its frames: copies are made while it is
        // told to send, and a driver gives its queue up before the socket goes.
        drop(socket);
        if let Some(umem) = &mut self.pools[mode as usize] {
            umem.reclaim(place);
        }
        self.share();
        Some(queue)
    }

    fn share(&mut self) {
        let count = |mode| self.sockets.iter().flatten().filter(|held| held.mode == mode).count();
        let most = count(Mode::Copy).max(count(Mode::ZeroCopy)).max(1);
        let share = FRAMES / 2 / most;
        self.fill = share.min(RING as usize) as u32;
        self.fill_min = share.min(FILL_MIN) as u32;
    }

    /// Takes back what was sent, and has frames wait for packets again.
    pub(super) fn turn(&mut self) {
        for place in 0..self.sockets.len() as u8 {
            let Some(Some(held)) = self.sockets.get_mut(usize::from(place)) else { continue };
            let Some(umem) = &mut self.pools[held.mode as usize] else { continue };
            if held.socket.completion.look() > 0 {
                while let Some(address) = held.socket.completion.pop() {
                    umem.sent(address, place);
                }
                held.socket.completion.release();
            }
            let most = held.wanted.min(self.fill);
            if held.filled < most {
                self.refill(place, most);
            }
        }
    }

    /// Has frames wait for packets at a socket, so many at most.
    fn refill(&mut self, place: u8, most: u32) {
        let Some(Some(held)) = self.sockets.get_mut(usize::from(place)) else { return };
        let Some(umem) = &mut self.pools[held.mode as usize] else { return };
        let before = held.filled;
        // Those that wait at other queues come back by packets alone.
        while held.filled < most
            && (held.filled < self.fill_min || umem.free() > KEPT)
            && let Some(frame) = umem.take()
        {
            if !held.socket.fill.push(Umem::address(frame)) {
                umem.give_back(frame);
                break;
            }
            umem.hand_over(frame, place);
            held.filled += 1;
        }
        held.socket.fill.publish();
        // As many as came are likely to come next.
        let came = (held.filled - before).min(EXPECTED_MAX);
        held.socket.fill.next(came).for_each(|address| umem.expect(address));
        if held.socket.fill.needs_wakeup() {
            held.socket.wake_driver();
        }
    }

    /// How many packets wait at a socket.
    pub(super) fn look(&mut self, place: u8) -> u32 {
        let Some(Some(held)) = self.sockets.get_mut(usize::from(place)) else { return 0 };
        let waiting = held.socket.receive.look();
        held.most = held.most.max(waiting);
        if waiting > held.wanted / RESERVE {
            held.wanted = (waiting * RESERVE).next_power_of_two().min(RING);
        }
        waiting
    }

    /// The next packet of a socket, of those that were there at the last look.
    pub(super) fn next(&mut self, place: u8) -> Option<Arrived> {
        let held = self.sockets.get_mut(usize::from(place))?.as_mut()?;
        let umem = self.pools[held.mode as usize].as_mut()?;
        let Descriptor { address, len, .. } = held.socket.receive.pop()?;
        held.filled = held.filled.saturating_sub(1);
        let frame = umem.hand_back(address, place)?;
        Some(Arrived { address, len: len as usize, frame, mode: held.mode })
    }

    /// Lets a processor fetch what a packet that comes later begins with.
    pub(super) fn prefetch(&self, place: u8, ahead: u32) {
        if let Some(Some(held)) = self.sockets.get(usize::from(place))
            && let Some(umem) = &self.pools[held.mode as usize]
            && let Some(next) = held.socket.receive.peek(ahead)
        {
            umem.prefetch(next.address);
        }
    }

    /// Lets the kernel have the places of what was taken from a socket.
    pub(super) fn release(&mut self, place: u8) {
        if let Some(Some(held)) = self.sockets.get_mut(usize::from(place)) {
            held.socket.receive.release();
        }
    }

    /// The octets of a packet that has arrived.
    pub(super) fn octets(&mut self, arrived: Arrived) -> Option<&mut [u8]> {
        self.pools[arrived.mode as usize].as_mut()?.octets(arrived.address, arrived.len)
    }

    /// The slot of a payload that begins `at` octets into a packet that has arrived.
    pub(super) fn slot(&self, arrived: Arrived, at: usize) -> Option<NonNull<PacketBuf>> {
        self.pools[arrived.mode as usize].as_ref()?.slot_at(arrived.address + at as u64)
    }

    /// A packet in hand that is not to be sent.
    pub(super) fn drop_frame(&mut self, frame: Frame, mode: Mode) {
        if let Some(umem) = &mut self.pools[mode as usize] {
            umem.give_back(frame);
        }
    }

    /// The same of one that was lent.
    pub(super) fn drop_slot(&mut self, slot: NonNull<PacketBuf>) {
        for umem in self.pools.iter_mut().flatten() {
            if let Some(frame) = umem.frame_of(slot) {
                umem.give_back(frame);
            }
        }
    }

    /// Puts a packet with its headers into a socket's ring: one that lies in a frame of that socket's
    /// as it is, others by a copy. It leaves with the next [`Self::kick`].
    pub(super) fn send(&mut self, place: u8, template: &Template, id: u16, packet: &mut Packet) {
        let sent = self.put(place, template, id, packet);
        self.unsent += u64::from(sent.is_none());
        if let Some(slot) = packet.take_home() {
            self.drop_slot(slot);
        }
    }

    /// `None` where there is no frame, no room in the ring or no such socket.
    fn put(&mut self, place: u8, template: &Template, id: u16, packet: &mut Packet) -> Option<()> {
        let held = self.sockets.get_mut(usize::from(place))?.as_mut()?;
        // Until the interface is looked at: what is in the ring already was counted.
        if held.broken.is_some() {
            return None;
        }
        let umem = self.pools[held.mode as usize].as_mut()?;
        let (headers, len) = (template.len(), packet.slot().len());
        let here = packet.lent().and_then(|slot| umem.frame_of(slot).zip(Some(slot)));
        let (frame, start) = match here {
            Some((frame, slot)) => (frame, umem.address_of(slot)),
            None => {
                let frame = umem.take()?;
                let start = Umem::start_of(frame);
                umem.octets(start, len)?.copy_from_slice(packet.slot().packet());
                (frame, start)
            }
        };
        // From here on the packet is the frame's octets and no slot any more.
        packet.take_home();
        let start = start - headers as u64;
        let written = umem.octets(start, headers + len).map(|octets| {
            let (room, payload) = octets.split_at_mut(headers);
            template.write(room, payload, id);
        });
        let descriptor = Descriptor { address: start, len: (headers + len) as u32, options: 0 };
        if written.is_none() || !held.socket.transmit.push(descriptor) {
            umem.give_back(frame);
            return None;
        }
        umem.hand_over(frame, place);
        held.kick = true;
        Some(())
    }

    /// Has the kernel send what was put into rings.
    pub(super) fn kick(&mut self) {
        for held in self.sockets.iter_mut().flatten() {
            if !held.kick {
                continue;
            }
            held.socket.transmit.publish();
            held.kick = false;
            if !held.socket.transmit.needs_wakeup() {
                continue;
            }
            match held.socket.kick() {
                Ok(kicked) => {
                    self.unsent += kicked.lost;
                    // What it could not take now it may take in the next turn.
                    held.kick = kicked.left;
                }
                Err(error) => {
                    self.unsent += u64::from(held.socket.transmit.pending());
                    held.broken = Some(error.kind());
                }
            }
        }
    }

    /// Whether a packet waits to be sent that the kernel did not take.
    pub(super) fn unkicked(&self) -> bool {
        self.sockets.iter().flatten().any(|held| held.kick)
    }

    /// Whether a socket refuses to be used.
    pub(super) fn any_broken(&self) -> bool {
        self.sockets.iter().flatten().any(|held| held.broken.is_some())
    }

    /// Looks once a second at whether more frames wait than are needed, or fewer; says how many packets the
    /// kernel had for us and threw away.
    pub(super) fn look_around(&mut self) -> u64 {
        let open = self.sockets.iter_mut().flatten().map(Held::look_around);
        self.thrown_away + open.sum::<u64>()
    }

    /// Frames that wait at each queue.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> Vec<u32> {
        self.sockets.iter().flatten().map(|held| held.filled).collect()
    }

    /// Takes a free frame away, if there is one.
    #[cfg(test)]
    pub(super) fn take_one(&mut self, mode: Mode) -> bool {
        self.pools[mode as usize].as_mut().and_then(Umem::take).is_some()
    }

    /// Frames that are free, waiting at queues, in hand and on their way out.
    #[cfg(test)]
    pub(super) fn account(&self, mode: Mode) -> [usize; 3] {
        let held = self.sockets.iter().flatten().filter(|held| held.mode == mode);
        let waiting = held.map(|held| held.filled as usize).sum();
        match &self.pools[mode as usize] {
            Some(umem) => [umem.free(), waiting, umem.held() - waiting],
            None => [0; 3],
        }
    }
}
