//! The way to a far side, as the kernel knows it: which interface, which neighbour, how large a packet.
//!
//! It is followed by netlink. Who has headers of its own to write keeps what it was told with the
//! [`Routes::generation`] it was told in, and asks again in the next.

mod netlink;
mod policies;
mod tables;

use netlink::Socket;
pub(crate) use policies::{Policies, output_policies};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tables::{Interface, Neighbour};

/// What the kernel has told so far.
#[derive(Debug)]
pub(crate) struct Routes {
    /// Hears of changes.
    changes: Socket,
    /// Asks.
    questions: Socket,
    /// When the first was last read, by those who come again and again.
    followed: Option<Instant>,
    /// How often it was read.
    #[cfg(test)]
    pub(crate) looks: u32,
    generation: u32,
    layout: u32,
    interfaces: HashMap<u32, Interface>,
    neighbours: HashMap<(u32, IpAddr), Neighbour>,
    /// Neighbours that were asked for in this generation and are not known.
    wanted: HashSet<(u32, IpAddr)>,
    /// The answers so far, until something changes that they rest on.
    ways: HashMap<(IpAddr, IpAddr), Option<Way>>,
    local: Vec<(IpAddr, u32)>,
}

/// How a packet gets to a far side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// With these headers.
    Ready(Link),
    /// The kernel has to send: it does not know the neighbour and asks for it then, or the interface
    /// (which is named) is none that we can write headers for.
    Asking(u32),
    /// There is no way.
    Unreachable,
}

/// Where a frame leaves, and what its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Where the frame leaves: of a VLAN's device it is the parent, and `vlan` is set.
    pub(crate) interface: u32,
    /// The interface that the route names.
    pub(crate) device: u32,
    pub(crate) vlan: Option<u16>,
    /// The largest IP packet, as far as the kernel has learned of the path.
    pub(crate) mtu: u16,
    /// The largest that will always get there, whatever the kernel learns of the path later on.
    pub(crate) mtu_sure: u16,
    pub(crate) source_mac: [u8; 6],
    pub(crate) mac: [u8; 6],
    /// The source address: the one that was asked with, or what the route prefers.
    pub(crate) from: IpAddr,
    /// It stays on this host.
    pub(crate) loopback: bool,
}

/// What a route says.
#[derive(Clone, Copy, Debug)]
struct Way {
    device: u32,
    /// The neighbour: the gateway, or the far side itself.
    next: IpAddr,
    mtu: u32,
    from: IpAddr,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unicast,
    Local,
    /// Broadcast, multicast, or with another header around it.
    Other,
}

/// The kernel believes in no narrower path (`net.ipv4.route.min_pmtu`), and IPv6 has none (RFC 8200, 5).
const PATH_V4_MIN: u16 = 552;
const PATH_V6_MIN: u16 = 1280;
/// Ways that are kept: far sides of one worker are hosts of carriers and of Microsoft, and few. With
/// more it only asks more often.
const WAYS_MAX: usize = 4096;
/// Neighbours that are kept; of those beyond, the kernel sends. Its own bound is 1024 by default.
const NEIGHBOURS_MAX: usize = 16 * 1024;
/// Neighbours that are waited for by name; with more, any that comes may be one.
const WANTED_MAX: usize = WAYS_MAX;
/// How long what the kernel has told may wait to be read: a packet or two go the old way meanwhile, as they
/// did while the kernel itself was changing its mind.
const FOLLOW_EVERY: Duration = Duration::from_millis(5);
/// Datagrams of changes that are read in one go, so that a storm of routes does not hold up packets.
const LOOKS: usize = 16;

const GROUPS: [u32; 9] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_NEXTHOP,
];

impl Routes {
    /// Reads what there is in the calling thread's network namespace.
    pub(crate) fn new() -> io::Result<Self> {
        let mut routes = Self {
            changes: Socket::new(&GROUPS)?,
            questions: Socket::new(&[])?,
            followed: None,
            #[cfg(test)]
            looks: 0,
            generation: 1,
            layout: 1,
            interfaces: HashMap::new(),
            neighbours: HashMap::new(),
            wanted: HashSet::new(),
            ways: HashMap::new(),
            local: Vec::new(),
        };
        routes.read_all()?;
        Ok(routes)
    }

    /// As [`Self::follow`], where that was not just done: for who comes with each batch, and would ask the
    /// kernel in vain nearly always.
    pub(crate) fn follow_in_time(&mut self, now: Instant) {
        let since = self.followed.map(|at| now.saturating_duration_since(at));
        if since.is_none_or(|since| since >= FOLLOW_EVERY) {
            self.followed = Some(now);
            self.follow();
        }
    }

    /// Reads what the kernel has told meanwhile, without waiting. Any change to what was answered raises the
    /// generation.
    pub(crate) fn follow(&mut self) {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        let (mut changed, mut laid_out_anew) = (false, false);
        for _ in 0..LOOKS {
            let Self { changes, interfaces, neighbours, wanted, ways, local, .. } = self;
            match changes.told() {
                Ok(Some(messages)) => {
                    let mut tables = tables::Tables { interfaces, neighbours, wanted, local };
                    for message in messages {
                        let change = tables.take(&message);
                        changed |= forget(ways, change);
                        laid_out_anew |= change == tables::Change::Anything;
                    }
                }
                Ok(None) => break,
                // It told more than it could keep for us.
                Err(_) => {
                    // Without an answer the next look tries again: the socket says so again.
                    let read = self.read_all().is_ok();
                    changed |= read;
                    laid_out_anew |= read;
                }
            }
        }
        self.layout = self.layout.wrapping_add(laid_out_anew.into());
        if changed {
            self.doubt_neighbours();
        }
    }

    /// Which state of things answers belong to.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Which state interfaces and addresses are in: it takes the kernel some time to say more of these, and
    /// neighbours and routes come and go without them.
    pub(crate) fn layout(&self) -> u32 {
        self.layout
    }

    /// Forgets what it was told of routes: an ICMP error says that one of them is not so.
    pub(crate) fn doubt(&mut self) {
        self.ways.clear();
        self.doubt_neighbours();
    }

    fn doubt_neighbours(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.wanted.clear();
    }

    /// Has the kernel see whether the neighbours that were given out are still there, where it has not
    /// heard of them for a while: packets with headers of our own are none that it would notice.
    /// To be called about once a second.
    pub(crate) fn confirm(&mut self) {
        let Self { neighbours, questions, .. } = self;
        for ((interface, ip), neighbour) in neighbours {
            if neighbour.given && neighbour.stale {
                // Refused without CAP_NET_ADMIN; then what the kernel sends itself has to do.
                let _ = questions.tell(&mut tables::use_of(*interface, *ip));
            }
        }
    }

    /// The way from one of our addresses to a far side.
    pub(crate) fn hop(&mut self, from: IpAddr, to: IpAddr) -> Hop {
        let way = match self.ways.get(&(from, to)) {
            Some(way) => *way,
            None => match self.new_way(from, to) {
                Ok(way) => {
                    if self.ways.len() >= WAYS_MAX {
                        self.ways.clear();
                    }
                    self.ways.insert((from, to), way);
                    way
                }
                Err(_) => return Hop::Asking(0),
            },
        };
        way.map_or(Hop::Unreachable, |way| self.hop_on(&way, to))
    }

    /// The source address of packets from one of our addresses, or all of them, to a far side that
    /// [`Self::hop`] was asked for.
    pub(crate) fn source(&self, from: IpAddr, to: IpAddr) -> Option<IpAddr> {
        if !from.is_unspecified() {
            return Some(from);
        }
        let way = self.ways.get(&(from, to))?.as_ref()?;
        Some(way.from).filter(|source| !source.is_unspecified())
    }

    /// Local addresses of the host with their interfaces.
    pub(crate) fn local(&self) -> &[(IpAddr, u32)] {
        &self.local
    }

    fn hop_on(&mut self, way: &Way, to: IpAddr) -> Hop {
        let Way { device, next, mtu, from, kind } = *way;
        let Some(interface) = self.interfaces.get(&device) else { return Hop::Asking(device) };
        let mtu = match mtu {
            0 => interface.mtu,
            mtu => mtu.min(interface.mtu),
        };
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let mtu_sure = match (kind == Kind::Local || next == to, to) {
            // Nobody is on the way who could refuse one.
            (true, _) => mtu,
            (false, IpAddr::V4(_)) => mtu.min(PATH_V4_MIN),
            (false, IpAddr::V6(_)) => mtu.min(PATH_V6_MIN),
        };
        let mut link = Link {
            interface: device,
            device,
            vlan: None,
            mtu,
            mtu_sure,
            source_mac: interface.mac,
            mac: interface.mac,
            from,
            loopback: kind == Kind::Local,
        };
        if link.loopback {
            return Hop::Ready(link);
        }
        if kind != Kind::Unicast || !interface.ethernet || !interface.up {
            return Hop::Asking(device);
        }
        if let Some((parent, vlan)) = interface.vlan {
            (link.interface, link.vlan) = (parent, Some(vlan));
        }
        match self.neighbours.get_mut(&(device, next)) {
            Some(neighbour) => {
                neighbour.given = true;
                link.mac = neighbour.mac;
                Hop::Ready(link)
            }
            None => {
                if self.wanted.len() < WANTED_MAX {
                    self.wanted.insert((device, next));
                }
                Hop::Asking(device)
            }
        }
    }

    /// The way to a far side that has none yet, or none any more. Its first packet goes where it is by now:
    /// what else the way leads over is read before it.
    fn new_way(&mut self, from: IpAddr, to: IpAddr) -> io::Result<Option<Way>> {
        self.follow();
        self.way(from, to)
    }

    /// Asks the kernel for a route; `Ok(None)`: it has none.
    fn way(&mut self, from: IpAddr, to: IpAddr) -> io::Result<Option<Way>> {
        // Without its interface an address of one link says nothing; the far side's is not known here.
        if matches!(to, IpAddr::V6(to) if to.is_unicast_link_local()) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut request = tables::route_to(from, to);
        let mut way = None;
        let answer = self.questions.ask(&mut request, |message| {
            way = tables::read_route(&message, from, to);
        });
        match answer.map_err(|error| error.raw_os_error()) {
            Ok(()) => Ok(way),
            Err(Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)) => {
                Ok(None)
            }
            Err(code) => {
                Err(code.map_or(io::ErrorKind::Other.into(), io::Error::from_raw_os_error))
            }
        }
    }

    fn read_all(&mut self) -> io::Result<()> {
        self.interfaces.clear();
        self.neighbours.clear();
        self.local.clear();
        self.ways.clear();
        let Self { questions, interfaces, neighbours, wanted, local, .. } = self;
        let mut tables = tables::Tables { interfaces, neighbours, wanted, local };
        for mut request in tables::everything() {
            questions.ask(&mut request, |message| {
                tables.take(&message);
            })?;
        }
        Ok(())
    }
}

/// Drops the answers that a change may make wrong, and says whether what was given out may be wrong now.
fn forget(ways: &mut HashMap<(IpAddr, IpAddr), Option<Way>>, change: tables::Change) -> bool {
    match change {
        tables::Change::Nothing => false,
        tables::Change::Neighbour => true,
        tables::Change::Anything => {
            ways.clear();
            true
        }
        tables::Change::Prefix(prefix, len) => {
            let before = ways.len();
            ways.retain(|(_, to), _| !tables::covers(prefix, len, *to));
            ways.len() < before
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
