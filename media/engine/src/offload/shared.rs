//! Flows as the programs have them, in memory that both share (`bpf/flow.h`).
//!
//! A flow is written while it is off; programs write down each packet that they send on, and we read that
//! without a call into the kernel.

use crate::wire::{self, Template};
use crate::{clock, sys};
use media::{Flow, Passed};
use std::cell::UnsafeCell;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Flows that all workers together may have in the kernel; as many as `FLOWS_MAX` in the program. They
/// take 23 MB, and are those of eight thousand calls.
pub(crate) const FLOWS_MAX: u32 = 16_384;
/// Packets that are written down until they are read: a second of one every 20 ms. A flow whose log is
/// full has its packets come up.
pub(crate) const LOG: u32 = 64;
/// Both the octets of the longest headers, and what stands for them in the program.
const HEADERS: usize = 14 + 40 + 8;
/// The program keeps time in units of so many nanoseconds, which go round in eighteen minutes.
const UNIT_NS: u64 = 256;

/// Which program has a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub(crate) enum Hook {
    Xdp = 1,
    Tc = 2,
}

/// How a flow leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Whose program sends it.
    pub(crate) hook: Hook,
    /// By which interface.
    pub(crate) interface: u32,
    /// The largest IP packet.
    pub(crate) mtu: u16,
    /// The driver can send it back itself, to where it came from.
    pub(crate) back: bool,
}

/// What a program knows of a flow; the fields are those of `struct flow`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Rules {
    ssrc: [u8; 4],
    from: [u8; 16],
    from_port: [u8; 2],
    is_v6: u16,
    came_by: u32,
    interface: u32,
    mtu: u16,
    shift: u16,
    ip_sum: u16,
    pseudo_came: u16,
    pseudo_goes: u16,
    addresses: u16,
    ports: u16,
    headers: [u8; HEADERS],
    payload_types: [u8; 128],
    ports_go: [u8; 4],
    back: u8,
}

impl Rules {
    /// Of a flow whose packets come in at `at` by an interface, and leave with the headers of `template`.
    pub(crate) fn new(
        flow: &Flow,
        (at, came_by): (SocketAddr, u32),
        template: &Template,
        exit: Exit,
    ) -> Self {
        let Exit { hook: _, interface, mtu, back } = exit;
        let mut headers = [0; HEADERS];
        let goes = template.octets();
        headers[..goes.len()].copy_from_slice(goes);
        // Behind Ethernet come addresses at the end of the IP header, and ports.
        let (addresses, ports) = match flow.from.is_ipv6() {
            true => (&goes[14 + 8..14 + 40], &goes[14 + 40..14 + 44]),
            false => (&goes[14 + 12..14 + 20], &goes[14 + 20..14 + 24]),
        };
        let mut came = octets_of(flow.from.ip());
        came.extend(octets_of(at.ip()));
        let ports_came = [flow.from.port().to_be_bytes(), at.port().to_be_bytes()].concat();
        let protocol = [0, libc::IPPROTO_UDP as u8];
        let pseudo_came = wire::folded(wire::sum(&came) + wire::sum(&protocol));
        let pseudo_goes = wire::folded(wire::sum(addresses) + wire::sum(&protocol));
        let instead = |old: u16, new: u16| wire::folded(u64::from(!old) + u64::from(new));
        let whole = |octets: &[u8]| wire::folded(wire::sum(octets));
        Self {
            ssrc: flow.ssrc.to_be_bytes(),
            from: mapped(flow.from.ip()),
            from_port: flow.from.port().to_be_bytes(),
            is_v6: flow.from.is_ipv6().into(),
            came_by,
            interface,
            mtu,
            shift: flow.shift,
            ip_sum: template.ip_sum(),
            pseudo_came,
            pseudo_goes,
            addresses: instead(pseudo_came, pseudo_goes),
            ports: instead(whole(&ports_came), whole(ports)),
            headers,
            payload_types: flow.payload_types,
            ports_go: std::array::from_fn(|at| ports.get(at).copied().unwrap_or(0)),
            back: back.into(),
        }
    }
}

/// `struct flow`.
#[repr(C, align(64))]
struct Shared {
    on: AtomicU32,
    /// Written by us alone, while the flow is off.
    rules: UnsafeCell<Rules>,
    written: Line<AtomicU32>,
    read: Line<AtomicU32>,
    log: [[AtomicU64; 2]; LOG as usize],
}

#[repr(C, align(64))]
struct Line<T>(T);

/// As large as the program says.
pub(crate) const FLOW_SIZE: usize = 1408;
const _: () = assert!(size_of::<Shared>() == FLOW_SIZE);

/// The memory of all flows.
#[derive(Debug)]
pub(crate) struct Region {
    flows: NonNull<Shared>,
}

// SAFETY: programs and workers change it by atomics alone, but for rules, which only the worker that has
// the slot writes (`Region::set` says so).
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Has the memory of the map `flows` in this process as well.
    pub(crate) fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses where, so nothing of ours is mapped over; the result is checked.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::LEN,
                access,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let flows = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { flows })
    }

    const LEN: usize = FLOWS_MAX as usize * FLOW_SIZE;

    fn of(&self, slot: u32) -> &Shared {
        let slot = slot.min(FLOWS_MAX - 1) as usize;
        // SAFETY: the region holds `FLOWS_MAX` flows as long as it lives, for which any octets are valid,
        // on a page of its own, so that they are aligned.
        unsafe { self.flows.add(slot).as_ref() }
    }

    /// Turns a flow on, and says from which number on its packets are written down. The slot is off, has
    /// been so for long enough that no program is at it any more, and is the caller's.
    pub(crate) fn set(&self, slot: u32, rules: &Rules, hook: Hook) -> u32 {
        let shared = self.of(slot);
        debug_assert_eq!(shared.on.load(Ordering::Relaxed), 0);
        // SAFETY: while it is off no program reads the rules, and no other worker has the slot. Volatile,
        // as somebody reads it whom the compiler does not see.
        unsafe { shared.rules.get().write_volatile(*rules) };
        let next = shared.written.0.load(Ordering::Acquire);
        shared.read.0.store(next, Ordering::Relaxed);
        shared.on.store(hook as u32, Ordering::Release);
        next
    }

    /// From now on its packets come up, but for those that a program has in hand at this moment.
    pub(crate) fn clear(&self, slot: u32) {
        self.of(slot).on.store(0, Ordering::SeqCst);
    }

    /// What has been written down from `next` on, which is then the number of the first that is not.
    pub(crate) fn take<'r>(&'r self, slot: u32, next: &'r mut u32, clock: Clock) -> Taken<'r> {
        let shared = self.of(slot);
        Taken { shared, until: shared.written.0.load(Ordering::Acquire), next, clock }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `new` mapped it so, and nothing that was lent outlives it.
        unsafe { libc::munmap(self.flows.as_ptr().cast(), Self::LEN) };
    }
}

/// One moment on the clock of programs and on ours, which go alike. Whoever looked at the one for each reading,
/// and had looked at the other a while ago, would have packets come as much too early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    at: Instant,
    monotonic: Duration,
}

impl Anchor {
    /// Now: of some looks at both in a row the one in which least time passed.
    pub(crate) fn new() -> Self {
        let looks = (0..LOOKS).map(|_| {
            let (before, at, after) = (sys::monotonic(), clock::now().mono, sys::monotonic());
            let took = after.saturating_sub(before);
            (took, Self { at, monotonic: before + took / 2 })
        });
        let least = looks.min_by_key(|(took, _)| *took);
        least.map_or(Self { at: clock::now().mono, monotonic: sys::monotonic() }, |(_, it)| it)
    }

    /// What both say at `now`, which is not before this.
    pub(crate) fn clock(self, now: Instant) -> Clock {
        let monotonic = self.monotonic + now.saturating_duration_since(self.at);
        Clock { now, units: (monotonic.as_nanos() / u128::from(UNIT_NS)) as u32 }
    }
}

/// Looks at both clocks.
const LOOKS: usize = 8;

/// One moment on both clocks, to tell others by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    now: Instant,
    units: u32,
}

impl Clock {
    fn at(&self, units: u32) -> Instant {
        // What came since then is not older than it.
        let ago = self.units.wrapping_sub(units).cast_signed().max(0);
        let ago = Duration::from_nanos(u64::from(ago.unsigned_abs()) * UNIT_NS);
        self.now.checked_sub(ago).unwrap_or(self.now)
    }
}

/// Packets of a flow, oldest first.
pub(crate) struct Taken<'r> {
    shared: &'r Shared,
    next: &'r mut u32,
    until: u32,
    clock: Clock,
}

impl Taken<'_> {
    /// How many there are.
    pub(crate) fn waiting(&self) -> u32 {
        self.until.wrapping_sub(*self.next)
    }
}

impl Iterator for Taken<'_> {
    type Item = Passed;

    fn next(&mut self) -> Option<Passed> {
        let left = self.until.wrapping_sub(*self.next);
        if left > LOG {
            // More processors at once than can be: what was overwritten cannot be told.
            *self.next = self.until.wrapping_sub(LOG);
        }
        if left == 0 {
            return None;
        }
        let [when, what] = self.shared.log.get((*self.next % LOG) as usize)?;
        let what = what.load(Ordering::Acquire);
        if (what >> 56) as u8 != (*self.next / LOG + 1) as u8 {
            // Somebody is about to write it.
            return None;
        }
        let when = when.load(Ordering::Relaxed);
        *self.next = self.next.wrapping_add(1);
        Some(Passed {
            at: self.clock.at(when as u32),
            timestamp: (when >> 32) as u32,
            sequence: what as u16,
            payload_octets: (what >> 16) as u16,
            octets: (what >> 32) as u16,
            payload_type: (what >> 48) as u8,
        })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // Programs may write there again.
        self.shared.read.0.store(*self.next, Ordering::Release);
    }
}

/// An address as the programs know it.
fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn octets_of(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().into(),
        IpAddr::V6(ip) => ip.octets().into(),
    }
}
