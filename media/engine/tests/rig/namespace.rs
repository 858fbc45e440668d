//! A network namespace for a test: a thread that lives in it and does there what it is given.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panic")]
#![allow(clippy::print_stderr, reason = "a test that is left out says so")]

use std::any::Any;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread;

type Deed = Box<dyn FnOnce() + Send>;

/// It ends with its last thread, socket and value of this type.
pub(crate) struct Namespace {
    deeds: Sender<Deed>,
    thread: i32,
}

impl Namespace {
    /// A fresh one, whose loopback is up. `None` where this process may not make any: that is said
    /// aloud, and fails the test where `TOLLGATE_STRICT` is set.
    pub(crate) fn new() -> Option<Self> {
        let (deeds, to_do) = channel::<Deed>();
        let (tell, told) = channel();
        thread::spawn(move || {
            // SAFETY: takes no pointer; only this thread's namespace changes.
            let done = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            let error = std::io::Error::last_os_error();
            // SAFETY: as above, it changes nothing.
            let thread = unsafe { libc::gettid() };
            tell.send(if done == 0 { Ok(thread) } else { Err(error) }).unwrap();
            if done == 0 {
                to_do.into_iter().for_each(|deed| deed());
            }
        });
        match told.recv().unwrap() {
            Ok(thread) => {
                let namespace = Self { deeds, thread };
                namespace.run(loopback_up);
                Some(namespace)
            }
            Err(error) => {
                skipped(&format!("a network namespace (CAP_SYS_ADMIN): {error}"));
                None
            }
        }
    }

    /// Does something there, and waits for it. What it makes there, sockets and threads, stays there.
    pub(crate) fn run<T: Send + 'static>(&self, deed: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel::<Result<T, Box<dyn Any + Send>>>();
        let deed = move || drop(tell.send(catch_unwind(AssertUnwindSafe(deed))));
        self.deeds.send(Box::new(deed)).unwrap();
        told.recv().unwrap().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs `ip` with these words.
    pub(crate) fn ip(&self, words: &str) {
        let words = words.to_owned();
        self.run(move || command(&format!("ip {words}")));
    }

    /// Moves an interface to another.
    pub(crate) fn give(&self, device: &str, other: &Self) {
        self.ip(&format!("link set {device} netns {}", other.thread));
    }

    /// Lays a cable between two: `near` is this end's name, `far` that of the other's.
    pub(crate) fn cable(&self, near: &str, other: &Self, far: &str) {
        self.ip(&format!("link add {near} type veth peer name {far} netns {}", other.thread));
    }
}

/// Without `ip`: a process that is just being made holds all descriptors of this one for a moment, and
/// tests beside this one count on ports that they have closed.
fn loopback_up() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // SAFETY: zeroes are a request without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the kernel reads the request, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

pub(crate) const NET_ADMIN: u8 = 12;
pub(crate) const NET_RAW: u8 = 13;
pub(crate) const BPF: u8 = 39;

/// Leaves this thread these capabilities, and no others.
pub(crate) fn keep_capabilities(kept: &[u8]) {
    let kept = kept.iter().fold(0_u64, |kept, bit| kept | 1 << bit);
    let header: [u32; 2] = [0x2008_0522, 0];
    let halves = [kept as u32, (kept >> 32) as u32].map(|half| [half, half, 0]);
    // SAFETY: the kernel reads a header of version 3 and two sets of three words each.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), halves.as_ptr()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Held for writing while a process is made, which has all descriptors of this one until it runs its program.
static MAKING: RwLock<()> = RwLock::new(());

/// Keeps tests beside this one from making processes, for one that counts on ports that it has just closed.
#[allow(dead_code, reason = "not every test closes ports")]
pub(crate) fn no_process_is_made() -> RwLockReadGuard<'static, ()> {
    MAKING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a command, which must succeed, and returns what it prints.
pub(crate) fn command(words: &str) -> String {
    let mut words_of = words.split_whitespace();
    let mut command = Command::new(words_of.next().unwrap());
    command.args(words_of).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // It comes back when the program runs.
    let making = MAKING.write().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn();
    drop(making);
    let output = child.and_then(std::process::Child::wait_with_output);
    let output = output.unwrap_or_else(|error| panic!("{words}: {error}"));
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Says that a test is left out for want of something: that is a failure where `TOLLGATE_STRICT` is set, or
/// where no privilege is missing.
pub(crate) fn skipped(want: &str) {
    assert!(std::env::var_os("TOLLGATE_STRICT").is_none() && !privileged(), "no {want}");
    eprintln!("SKIPPED: no {want}");
}

/// Whether this process has CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN and CAP_BPF.
fn privileged() -> bool {
    const NEEDED: u64 = 1 << 12 | 1 << 13 | 1 << 21 | 1 << 39;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|bits| bits & NEEDED == NEEDED)
}
