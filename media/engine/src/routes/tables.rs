//! What single messages say: interfaces, addresses, neighbours, routes.

use super::netlink::{Attributes, DUMP_ALL, Message, Request, address, half_at, word_at};
use super::{Kind, NEIGHBOURS_MAX, WANTED_MAX, Way};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

/// An interface of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) up: bool,
    pub(super) ethernet: bool,
    pub(super) mac: [u8; 6],
    pub(super) mtu: u32,
    /// Of a VLAN's device the parent, and the VLAN's number.
    pub(super) vlan: Option<(u32, u16)>,
}

/// A host on a link of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbour {
    pub(super) mac: [u8; 6],
    /// The kernel has not heard of it for a while.
    pub(super) stale: bool,
    /// Somebody was told of it.
    pub(super) given: bool,
}

/// What a message changes of what was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// What was said of one, or that it is not known: hosts come and go beside us all the time, and any of
    /// them can have all of its neighbours ask for it.
    Neighbour,
    /// A route to these addresses, of which so many bits count.
    Prefix(IpAddr, u8),
    Anything,
}

pub(super) struct Tables<'a> {
    pub(super) interfaces: &'a mut HashMap<u32, Interface>,
    pub(super) neighbours: &'a mut HashMap<(u32, IpAddr), Neighbour>,
    /// Those that somebody was told are not known.
    pub(super) wanted: &'a HashSet<(u32, IpAddr)>,
    pub(super) local: &'a mut Vec<(IpAddr, u32)>,
}

impl Tables<'_> {
    /// Takes one message over.
    pub(super) fn take(&mut self, message: &Message<'_>) -> Change {
        match message.kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => self.link(message),
            libc::RTM_NEWADDR | libc::RTM_DELADDR => self.address(message),
            libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => self.neighbour(message),
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => prefix_of(message),
            // Rules and next hops.
            _ => Some(Change::Anything),
        }
        .unwrap_or(Change::Nothing)
    }

    fn link(&mut self, message: &Message<'_>) -> Option<Change> {
        // A bridge tells of its ports in the same words.
        if *message.body.first()? != libc::AF_UNSPEC as u8 {
            return None;
        }
        let index = word_at(message.body, 4)?;
        if message.kind == libc::RTM_DELLINK {
            self.neighbours.retain(|(interface, _), _| *interface != index);
            return self.interfaces.remove(&index).map(|_| Change::Anything);
        }
        let flags = word_at(message.body, 8)?;
        let mut interface = Interface {
            up: flags & libc::IFF_UP as u32 != 0,
            ethernet: half_at(message.body, 2)? == libc::ARPHRD_ETHER,
            mac: [0; 6],
            mtu: 0,
            vlan: None,
        };
        let (mut parent, mut tag) = (None, None);
        for (kind, value) in message.attributes(LINK_FIXED) {
            match kind {
                libc::IFLA_ADDRESS => interface.mac = value.try_into().unwrap_or_default(),
                libc::IFLA_MTU => interface.mtu = word_at(value, 0)?,
                libc::IFLA_LINK => parent = word_at(value, 0),
                libc::IFLA_LINKINFO => tag = tag_of(value),
                _ => {}
            }
        }
        if let Some(tag) = tag {
            interface.vlan = parent.zip(tag);
            // Tags of another protocol are not ours to write.
            interface.ethernet &= interface.vlan.is_some();
        }
        let before = self.interfaces.insert(index, interface);
        (before != Some(interface)).then_some(Change::Anything)
    }

    fn address(&mut self, message: &Message<'_>) -> Option<Change> {
        let interface = word_at(message.body, 4)?;
        let of = |kind| message.attributes(ADDRESS_FIXED).find(|(other, _)| *other == kind);
        // Of a link between two the local one stands beside that of the far end.
        let (_, octets) = of(libc::IFA_LOCAL).or_else(|| of(libc::IFA_ADDRESS))?;
        let entry = (address(octets)?, interface);
        let known = self.local.iter().position(|known| *known == entry);
        match (message.kind == libc::RTM_NEWADDR, known) {
            (true, None) => self.local.push(entry),
            (false, Some(at)) => drop(self.local.swap_remove(at)),
            // Told again as its lifetime is renewed.
            (true, Some(_)) | (false, None) => return None,
        }
        Some(Change::Anything)
    }

    fn neighbour(&mut self, message: &Message<'_>) -> Option<Change> {
        let (mut ip, mut mac) = (None, None);
        for (kind, value) in message.attributes(NEIGHBOUR_FIXED) {
            match kind {
                libc::NDA_DST => ip = address(value),
                libc::NDA_LLADDR => mac = <[u8; 6]>::try_from(value).ok(),
                _ => {}
            }
        }
        let key = (word_at(message.body, 4)?, ip?);
        let state = half_at(message.body, 8)?;
        let usable = message.kind == libc::RTM_NEWNEIGH && state & NUD_VALID != 0;
        let Some(mac) = mac.filter(|_| usable) else {
            let gone = self.neighbours.remove(&key)?;
            return gone.given.then_some(Change::Neighbour);
        };
        let stale = state & libc::NUD_STALE != 0;
        if let Some(known) = self.neighbours.get_mut(&key) {
            known.stale = stale;
            let before = std::mem::replace(&mut known.mac, mac);
            return (known.given && before != mac).then_some(Change::Neighbour);
        }
        if self.neighbours.len() < NEIGHBOURS_MAX {
            self.neighbours.insert(key, Neighbour { mac, stale, given: false });
        }
        let wanted = self.wanted.len() >= WANTED_MAX || self.wanted.contains(&key);
        wanted.then_some(Change::Neighbour)
    }
}

/// States in which a neighbour's address is good to be sent to.
const NUD_VALID: u16 = libc::NUD_PERMANENT
    | libc::NUD_NOARP
    | libc::NUD_REACHABLE
    | libc::NUD_PROBE
    | libc::NUD_STALE
    | libc::NUD_DELAY;
const LINK_FIXED: usize = 16;
const ADDRESS_FIXED: usize = 8;
const NEIGHBOUR_FIXED: usize = 12;
const ROUTE_FIXED: usize = 12;

/// Of a link's particulars: `None`, it is no VLAN's device; `Some(None)`, it is one that we do not know.
fn tag_of(particulars: &[u8]) -> Option<Option<u16>> {
    let of = |kind| Attributes(particulars).find(|(other, _)| *other == kind);
    let (_, kind) = of(libc::IFLA_INFO_KIND)?;
    if kind.strip_suffix(b"\0").unwrap_or(kind) != b"vlan" {
        return None;
    }
    let (mut id, mut plain) = (None, true);
    for (kind, value) in of(libc::IFLA_INFO_DATA).into_iter().flat_map(|(_, data)| Attributes(data))
    {
        match kind {
            IFLA_VLAN_ID => id = half_at(value, 0),
            IFLA_VLAN_PROTOCOL => plain = value == 0x8100_u16.to_be_bytes(),
            _ => {}
        }
    }
    Some(id.filter(|_| plain))
}

const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;

/// The addresses that a route is for.
fn prefix_of(message: &Message<'_>) -> Option<Change> {
    let (family, len) = (*message.body.first()?, *message.body.get(1)?);
    let to = message.attributes(ROUTE_FIXED).find(|(kind, _)| *kind == libc::RTA_DST);
    let to = match to {
        Some((_, octets)) => address(octets)?,
        None if i32::from(family) == libc::AF_INET => [0; 4].into(),
        None => Ipv6Addr::UNSPECIFIED.into(),
    };
    Some(Change::Prefix(to, len))
}

/// Whether an address is one of a prefix.
pub(super) fn covers(prefix: IpAddr, len: u8, ip: IpAddr) -> bool {
    match (prefix, ip) {
        (IpAddr::V4(prefix), IpAddr::V4(ip)) => {
            let differ = u32::from(prefix) ^ u32::from(ip);
            differ.leading_zeros() >= u32::from(len)
        }
        (IpAddr::V6(prefix), IpAddr::V6(ip)) => {
            let differ = u128::from(prefix) ^ u128::from(ip);
            differ.leading_zeros() >= u32::from(len)
        }
        _ => false,
    }
}

/// What is to be asked for in order to know everything.
pub(super) fn everything() -> [Request; 3] {
    [libc::RTM_GETLINK, libc::RTM_GETADDR, libc::RTM_GETNEIGH].map(|kind| {
        let fixed = match kind {
            libc::RTM_GETLINK => LINK_FIXED,
            libc::RTM_GETADDR => ADDRESS_FIXED,
            _ => NEIGHBOUR_FIXED,
        };
        Request::new(kind, DUMP_ALL, &[0; LINK_FIXED][..fixed])
    })
}

/// The question for a route.
pub(super) fn route_to(from: IpAddr, to: IpAddr) -> Request {
    let (family, bits) = match to {
        IpAddr::V4(_) => (libc::AF_INET, 32),
        IpAddr::V6(_) => (libc::AF_INET6, 128),
    };
    let mut fixed = [0; ROUTE_FIXED];
    let source = !from.is_unspecified();
    fixed[..3].copy_from_slice(&[family as u8, bits, if source { bits } else { 0 }]);
    let mut request = Request::new(libc::RTM_GETROUTE, 0, &fixed);
    put_address(&mut request, libc::RTA_DST, to);
    if source {
        put_address(&mut request, libc::RTA_SRC, from);
    }
    request
}

/// What the kernel says of a route.
pub(super) fn read_route(message: &Message<'_>, from: IpAddr, to: IpAddr) -> Option<Way> {
    let kind = match *message.body.get(7)? {
        libc::RTN_UNICAST => Kind::Unicast,
        libc::RTN_LOCAL => Kind::Local,
        libc::RTN_BROADCAST | libc::RTN_MULTICAST | libc::RTN_ANYCAST => Kind::Other,
        _ => return None,
    };
    let mut way = Way { device: 0, next: to, mtu: 0, from, kind };
    for (kind, value) in message.attributes(ROUTE_FIXED) {
        match kind {
            libc::RTA_OIF => way.device = word_at(value, 0)?,
            libc::RTA_GATEWAY => way.next = address(value)?,
            // A gateway of the other family: it comes first, in two octets.
            libc::RTA_VIA => way.next = address(value.get(2..)?)?,
            libc::RTA_PREFSRC if from.is_unspecified() => way.from = address(value)?,
            libc::RTA_METRICS => {
                let mtu = Attributes(value).find(|(kind, _)| *kind == RTAX_MTU);
                way.mtu = mtu.and_then(|(_, value)| word_at(value, 0)).unwrap_or(0);
            }
            libc::RTA_ENCAP => way.kind = Kind::Other,
            _ => {}
        }
    }
    Some(way)
}

const RTAX_MTU: u16 = 2;

/// Has the kernel act as if it had sent something to a neighbour itself.
pub(super) fn use_of(interface: u32, ip: IpAddr) -> Request {
    let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut fixed = [0; NEIGHBOUR_FIXED];
    fixed[0] = family as u8;
    fixed[4..8].copy_from_slice(&interface.to_ne_bytes());
    fixed[10] = libc::NTF_USE;
    let mut request = Request::new(libc::RTM_NEWNEIGH, 0, &fixed);
    put_address(&mut request, libc::NDA_DST, ip);
    request
}

fn put_address(request: &mut Request, kind: u16, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => request.attribute(kind, &ip.octets()),
        IpAddr::V6(ip) => request.attribute(kind, &ip.octets()),
    }
}
