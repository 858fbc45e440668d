//! What `perf media` asks of the kernel beyond sockets: namespaces, priorities, limits, and test runs of
//! BPF programs.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// Puts the calling thread, and the processes that it starts, into a network of their own, with a `/sys`
/// that shows it. It is gone with the last of them.
pub(crate) fn enter_network() -> io::Result<()> {
    // SAFETY: takes flags and touches no memory of ours.
    done(unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) })?;
    let (nothing, root, sys) = (c"none", c"/", c"/sys");
    // SAFETY: the kernel reads three strings that end in zero and outlive the calls.
    unsafe {
        let private = libc::MS_REC | libc::MS_PRIVATE;
        done(libc::mount(nothing.as_ptr(), root.as_ptr(), ptr::null(), private, ptr::null()))?;
        done(libc::mount(nothing.as_ptr(), sys.as_ptr(), c"sysfs".as_ptr(), 0, ptr::null()))
    }
}

/// Has NAPI take what arrives at a virtual interface, as at a network card, so that frames can be given
/// to it (ethtool's `gro on`).
pub(crate) fn gather_arrivals(interface: &str) -> io::Result<()> {
    const SET_GRO: u32 = 0x2c;
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    // SAFETY: takes no pointer; the result is checked before it is used.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    done(fd)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut value = [SET_GRO, 1];
    // SAFETY: plain octets, for which zero is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: the kernel reads and writes the request and the two words it points to; both outlive the
    // call.
    done(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &mut request) })
}

/// The index of an interface of this network.
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the kernel's library reads a string that ends in zero and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Gives a thread a place before all that share the processor by time; the higher goes first. One that has
/// ended since it was looked for needs none.
pub(crate) fn go_first(thread: i32, priority: i32) -> io::Result<()> {
    let wish = libc::sched_param { sched_priority: priority };
    // SAFETY: the kernel reads one value, which outlives the call.
    match done(unsafe { libc::sched_setscheduler(thread, libc::SCHED_FIFO, &wish) }) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        placed => placed,
    }
}

/// The calling thread, as the kernel numbers it.
pub(crate) fn this_thread() -> i32 {
    // SAFETY: takes nothing and touches no memory of ours.
    unsafe { libc::gettid() }
}

/// Lets this process hold so many descriptors, beyond the limit where it is privileged.
pub(crate) fn allow_descriptors(wanted: u64) {
    let limit = libc::rlimit { rlim_cur: wanted, rlim_max: wanted };
    // SAFETY: the kernel reads one value, which outlives the call. Where it is not granted, what cannot
    // be opened fails by itself.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
}

/// Has a child end when the thread that starts it does, however that ends.
pub(crate) fn end_with_us(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only one system call is made, which takes numbers.
    unsafe {
        command
            .pre_exec(|| done(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)))
    }
}

/// The kernel's view of `union bpf_attr` for BPF_PROG_TEST_RUN.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    rest: u32,
}

/// Runs an XDP program on `packets` frames of `len` octets that are then really sent where it says,
/// `batch` at a time. It takes as long as the program does.
pub(crate) fn send_frames(
    program: BorrowedFd<'_>,
    len: usize,
    packets: u32,
    batch: u32,
) -> io::Result<()> {
    const PROG_TEST_RUN: libc::c_long = 10;
    const LIVE_FRAMES: u32 = 1 << 1;
    let frame = vec![0_u8; len];
    let run = TestRun {
        program: program.as_raw_fd() as u32,
        data_size_in: len as u32,
        data_in: frame.as_ptr() as u64,
        repeat: packets,
        flags: LIVE_FRAMES,
        batch,
        ..TestRun::default()
    };
    // SAFETY: the kernel reads as much of the attributes as is said, and of the frame; both outlive the
    // call. Live frames write nothing back.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, &raw const run, size_of_val(&run)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the calling thread get more time than those it shares a processor with.
pub(crate) fn go_before_most() -> io::Result<()> {
    // SAFETY: takes numbers and touches no memory of ours.
    done(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) })
}

/// Takes that place away again.
pub(crate) fn go_as_others(thread: i32) -> io::Result<()> {
    let wish = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one value, which outlives the call.
    done(unsafe { libc::sched_setscheduler(thread, libc::SCHED_OTHER, &wish) })
}

/// Octets of a process that are in memory.
pub(crate) fn resident(process: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    Ok(1024 * kb.ok_or_else(|| io::Error::other("/proc/.../status cannot be read"))?)
}

#[cfg(test)]
mod tests {
    use super::go_first;
    use std::process::Command;

    /// The kernel's threads for another run's relay end whenever that run does.
    #[test]
    fn a_thread_that_has_ended_meanwhile_ends_the_run() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(go_first(child.id() as i32, 1).is_ok());
    }
}
