//! What the system says of an interface, in this thread's network namespace (netdevice(7), ethtool).

use crate::routes::Routes;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// Receive queues of one interface that are looked at; no card has more.
const QUEUES_MAX: u32 = 256;

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) loopback: bool,
    /// Receive queues, and transmit queues.
    pub(crate) queues: (u32, u32),
    /// The one that this VLAN is on.
    pub(crate) parent: Option<u32>,
}

/// Asks for an interface; an error where there is none of this index.
pub(crate) fn look_at(index: u32) -> io::Result<Interface> {
    let (fd, name) = (socket()?, name_of(index)?);
    let flags = flags(&fd, name)?;
    let text = name.map(|octet| octet as u8);
    let text = CStr::from_bytes_until_nul(&text).map_err(io::Error::other)?;
    Ok(Interface {
        name: text.to_string_lossy().into_owned(),
        up: flags & libc::IFF_UP != 0,
        loopback: flags & libc::IFF_LOOPBACK != 0,
        queues: queues(&fd, name),
        parent: parent(&fd, name),
    })
}

/// Any socket is good to ask with.
fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer; the result is checked before it is used.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn name_of(index: u32) -> io::Result<Name> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the room that a name may take.
    if unsafe { libc::if_indextoname(index, name.as_mut_ptr()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    Ok(name)
}

type Name = [libc::c_char; libc::IF_NAMESIZE];

fn flags(fd: &OwnedFd, name: Name) -> io::Result<c_int> {
    // SAFETY: zeroes are a request without a name.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_name = name;
    ask(fd, libc::SIOCGIFFLAGS as libc::Ioctl, (&raw mut request).cast())?;
    // SAFETY: the kernel has answered with flags.
    Ok(c_int::from(unsafe { request.ifr_ifru.ifru_flags }))
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    most: [u32; 4],
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// One of each where the driver does not say.
fn queues(fd: &OwnedFd, name: Name) -> (u32, u32) {
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    // SAFETY: it is what the kernel answers this command in.
    if unsafe { ethtool(fd, name, (&raw mut channels).cast()) }.is_err() {
        return (1, 1);
    }
    let count = |own: u32| own.saturating_add(channels.combined).clamp(1, QUEUES_MAX);
    (count(channels.receive), count(channels.transmit))
}

/// The interfaces that have such addresses of the host; a VLAN's frames are its parent's.
pub(crate) fn interfaces_with(routes: &Routes, has: impl Fn(IpAddr) -> bool) -> Vec<u32> {
    let having = routes.local().iter().filter(|(local, _)| has(*local));
    let mut found: Vec<u32> = having.map(|(_, index)| framed_by(*index)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The interface that has the frames of this one: a VLAN's parent.
pub(crate) fn framed_by(index: u32) -> u32 {
    look_at(index).ok().and_then(|found| found.parent).unwrap_or(index)
}

/// Whether a wildcard stands for this address of the host, too: not for the loopback, and not for
/// addresses of one link, which say nothing without their interface.
pub(crate) fn stands_for(wildcard: IpAddr, local: IpAddr) -> bool {
    let of_link = matches!(local, IpAddr::V6(local) if local.is_unicast_link_local());
    wildcard.is_unspecified()
        && wildcard.is_ipv4() == local.is_ipv4()
        && !local.is_loopback()
        && !of_link
}

/// Has the driver of an interface answer a request of ethtool.
///
/// # Safety
///
/// The request begins with its command, and has the room that the kernel answers this command in.
pub(super) unsafe fn ask_driver(index: u32, request: *mut c_void) -> io::Result<()> {
    // SAFETY: the caller has seen to it.
    unsafe { ethtool(&socket()?, name_of(index)?, request) }
}

/// # Safety
///
/// As for [`ask_driver`].
unsafe fn ethtool(fd: &OwnedFd, name: Name, request: *mut c_void) -> io::Result<()> {
    // SAFETY: zeroes are a request without a name.
    let mut named: libc::ifreq = unsafe { mem::zeroed() };
    named.ifr_name = name;
    named.ifr_ifru.ifru_data = request.cast();
    ask(fd, libc::SIOCETHTOOL as libc::Ioctl, (&raw mut named).cast())
}

/// `struct vlan_ioctl_args`.
#[repr(C)]
struct Vlan {
    command: c_int,
    device: [libc::c_char; 24],
    answer: [libc::c_char; 24],
    priority: libc::c_short,
}

const SIOCGIFVLAN: libc::Ioctl = 0x8982;
const GET_VLAN_REALDEV_NAME_CMD: c_int = 8;

fn parent(fd: &OwnedFd, name: Name) -> Option<u32> {
    let mut vlan =
        Vlan { command: GET_VLAN_REALDEV_NAME_CMD, device: [0; 24], answer: [0; 24], priority: 0 };
    vlan.device[..name.len()].copy_from_slice(&name);
    ask(fd, SIOCGIFVLAN, (&raw mut vlan).cast()).ok()?;
    // SAFETY: the kernel has written a string that ends within the answer.
    match unsafe { libc::if_nametoindex(vlan.answer.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}

fn ask(fd: &OwnedFd, what: libc::Ioctl, request: *mut c_void) -> io::Result<()> {
    debug_assert!(!ptr::eq(request, ptr::null()));
    // SAFETY: each caller gives a request of the kind that `what` is answered in, which outlives the call.
    match unsafe { libc::ioctl(fd.as_raw_fd(), what, request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_known_and_what_is_not_there_is_an_error() {
        // SAFETY: a string that ends.
        let index = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
        let found = look_at(index).unwrap();
        assert!(found.loopback && found.name == "lo" && found.parent.is_none(), "{found:?}");
        assert_eq!(found.queues, (1, 1));
        assert!(look_at(u32::MAX).is_err());
    }
}
