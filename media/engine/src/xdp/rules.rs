//! Rules by which a card brings a worker's ports to the worker's queue (`ethtool -N`), where its driver takes
//! them.
//!
//! They are taken back when the interface is let go. What a process that was killed has left is found by the
//! next one: taken over where that has the same rules to lay, and cleared where it has another number of
//! workers. No other process of ours is at it then: an interface has one program of AF_XDP, and that is ours.

use super::interface;
use crate::kernel::WORKERS_MAX;
use sdp::{PortBlocks, PortClass};
use std::fmt;
use std::io;
use std::net::IpAddr;

/// Datagrams to some ports of an address, or of all addresses of a family, go to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    to: IpAddr,
    ports: PortClass,
    queue: u32,
}

/// Those that were laid on one interface.
#[derive(Debug)]
pub(super) struct Laid {
    interface: u32,
    /// Where they are in the card's table.
    places: Vec<u32>,
}

/// Takes away what a process with another number of workers has left on an interface for these addresses; how
/// many they were.
pub(super) fn clear(interface: u32, workers: usize, addresses: &[IpAddr]) -> io::Result<usize> {
    clear_left(workers, addresses, &mut |request| request.ask(interface))
}

/// Those of a worker (from 0) of so many, whose queue it is, for ports on these addresses.
pub(super) fn of_worker(
    (worker, workers): (usize, usize),
    addresses: &[IpAddr],
    queue: u32,
) -> Vec<Rule> {
    let blocks = PortBlocks::new(workers);
    let classes = || blocks.classes().filter(|class| class.worker == worker);
    let of = |to| classes().map(move |ports| Rule { to, ports, queue });
    addresses.iter().copied().flat_map(of).collect()
}

impl fmt::Display for Rule {
    /// As ethtool(8) has it, whose masks say which bits do not count.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, ports: PortClass { bits, mask, .. }, queue } = self;
        let family = if to.is_ipv4() { "udp4" } else { "udp6" };
        write!(f, "flow-type {family} ")?;
        if !to.is_unspecified() {
            write!(f, "dst-ip {to} ")?;
        }
        write!(f, "dst-port {bits:#x} m {:#x} action {queue}", !mask)
    }
}

impl Laid {
    /// Lays them all or none.
    pub(super) fn new(interface: u32, rules: &[Rule]) -> io::Result<Self> {
        let places = lay(rules, &mut |request| request.ask(interface))?;
        Ok(Self { interface, places })
    }
}

impl Drop for Laid {
    fn drop(&mut self) {
        take_back(&self.places, &mut |request| request.ask(self.interface));
    }
}

/// `struct ethtool_rxnfc`, with room for the places of rules.
#[derive(Clone)]
#[repr(C)]
struct Request {
    command: u32,
    flow_type: u32,
    data: u64,
    spec: Spec,
    count: u32,
    places: [u32; RULES_MAX + 1],
}

/// `struct ethtool_rx_flow_spec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Spec {
    flow_type: u32,
    value: Headers,
    value_more: [u8; 20],
    mask: Headers,
    mask_more: [u8; 20],
    queue: u64,
    place: u32,
}

/// `union ethtool_flow_union`: bits of headers that are looked at.
type Headers = [u8; 52];

const _: () = {
    assert!(std::mem::offset_of!(Request, places) == 188);
    assert!(size_of::<Spec>() == 168 && std::mem::offset_of!(Spec, queue) == 152);
};

/// Asks a driver.
type Ask<'a> = &'a mut dyn FnMut(&mut Request) -> io::Result<()>;

// ETHTOOL_GRXCLSRLCNT and its neighbours.
const COUNT: u32 = 0x2e;
const GET: u32 = 0x2f;
const LIST: u32 = 0x30;
const DELETE: u32 = 0x31;
const INSERT: u32 = 0x32;
// UDP_V4_FLOW and UDP_V6_FLOW.
const UDP_V4: u32 = 2;
const UDP_V6: u32 = 6;
/// The driver finds a place by itself (`RX_CLS_LOC_SPECIAL`), if told so (`RX_CLS_LOC_ANY`).
const FINDS_PLACE: u64 = 0x8000_0000;
const ANY_PLACE: u32 = 0xffff_ffff;
/// Rules of a card that are looked at: of one that has more, some are laid twice.
const RULES_MAX: usize = 1024;

impl Request {
    fn new(command: u32) -> Box<Self> {
        let spec = Spec {
            flow_type: 0,
            value: [0; 52],
            value_more: [0; 20],
            mask: [0; 52],
            mask_more: [0; 20],
            queue: 0,
            place: 0,
        };
        let places = [0; RULES_MAX + 1];
        Box::new(Self { command, flow_type: 0, data: 0, spec, count: 0, places })
    }

    /// Has the driver of an interface answer it.
    fn ask(&mut self, index: u32) -> io::Result<()> {
        // SAFETY: it is what the kernel answers its commands in, with room for as many places as it asks for.
        unsafe { interface::ask_driver(index, (&raw mut *self).cast()) }
    }
}

impl Rule {
    fn spec(&self) -> Spec {
        let (mut value, mut mask) = ([0; 52], [0; 52]);
        // Of IPv4 two addresses come first, then two ports; of IPv6 likewise.
        let (flow_type, to, port) = match self.to {
            IpAddr::V4(to) => (UDP_V4, to.octets().to_vec(), 10),
            IpAddr::V6(to) => (UDP_V6, to.octets().to_vec(), 34),
        };
        if !self.to.is_unspecified() {
            value[to.len()..2 * to.len()].copy_from_slice(&to);
            mask[to.len()..2 * to.len()].fill(0xff);
        }
        value[port..port + 2].copy_from_slice(&self.ports.bits.to_be_bytes());
        mask[port..port + 2].copy_from_slice(&self.ports.mask.to_be_bytes());
        let queue = self.queue.into();
        let (value_more, mask_more) = ([0; 20], [0; 20]);
        Spec { flow_type, value, value_more, mask, mask_more, queue, place: ANY_PLACE }
    }
}

impl Rule {
    /// Whether it is one of those that so many workers lay, each with the first queue that is its own.
    fn is_of(&self, workers: usize) -> bool {
        let Self { ports: PortClass { bits, mask, .. }, queue, .. } = *self;
        PortBlocks::new(workers).classes().any(|class| {
            (class.bits, class.mask) == (bits, mask) && u32::try_from(class.worker) == Ok(queue)
        })
    }
}

impl Spec {
    /// The rule for this address that it says, and nothing beside.
    fn rule(&self, to: IpAddr) -> Option<Rule> {
        let at = if to.is_ipv4() { 10 } else { 34 };
        let port =
            |octets: &Headers| Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]));
        let queue = u32::try_from(self.queue).ok()?;
        let ports = PortClass { bits: port(&self.value)?, mask: port(&self.mask)?, worker: 0 };
        let rule = Rule { to, ports, queue };
        (Self { place: ANY_PLACE, ..*self } == rule.spec()).then_some(rule)
    }
}

/// Lays rules, but for those that are there, and says where they all are; if one cannot be, none stays.
fn lay(rules: &[Rule], ask: Ask<'_>) -> io::Result<Vec<u32>> {
    let mut request = Request::new(COUNT);
    ask(&mut request)?;
    let finds_place = request.data & FINDS_PLACE != 0;
    let mut known = known(ask, request.count)?;
    let mut places = Vec::with_capacity(rules.len());
    for rule in rules {
        let wanted = rule.spec();
        let is_so = |(_, there): &&(u32, Spec)| Spec { place: wanted.place, ..*there } == wanted;
        if let Some((place, _)) = known.1.iter().find(is_so) {
            places.push(*place);
            continue;
        }
        let mut request = Request::new(INSERT);
        request.spec = wanted;
        if !finds_place {
            // The last that is free: what an operator has laid before it comes first.
            let taken = |place: &u32| known.1.iter().any(|(other, _)| other == place);
            let free = (0..known.0).rev().find(|place| !taken(place));
            request.spec.place = free.unwrap_or_default();
        }
        if let Err(error) = ask(&mut request) {
            take_back(&places, ask);
            return Err(error);
        }
        places.push(request.spec.place);
        known.1.push((request.spec.place, request.spec));
    }
    Ok(places)
}

fn clear_left(workers: usize, addresses: &[IpAddr], ask: Ask<'_>) -> io::Result<usize> {
    let mut request = Request::new(COUNT);
    ask(&mut request)?;
    let (_, known) = known(ask, request.count)?;
    let ours = |spec: &Spec, workers| {
        addresses.iter().any(|to| spec.rule(*to).is_some_and(|rule| rule.is_of(workers)))
    };
    let left = known.iter().filter(|(_, spec)| {
        !ours(spec, workers) && (2..=WORKERS_MAX).any(|workers| ours(spec, workers))
    });
    let places: Vec<u32> = left.map(|(place, _)| *place).collect();
    take_back(&places, ask);
    Ok(places.len())
}

/// How many rules a card has room for, and those it has.
fn known(ask: Ask<'_>, count: u32) -> io::Result<(u32, Vec<(u32, Spec)>)> {
    let mut list = Request::new(LIST);
    list.count = count.min(RULES_MAX as u32);
    ask(&mut list)?;
    let mut known = Vec::new();
    for place in list.places.iter().take(list.count as usize) {
        let mut get = Request::new(GET);
        get.spec.place = *place;
        // One that was taken away meanwhile is none.
        if ask(&mut get).is_ok() {
            known.push((*place, get.spec));
        }
    }
    Ok((u32::try_from(list.data).unwrap_or(0), known))
}

fn take_back(places: &[u32], ask: Ask<'_>) {
    for place in places {
        let mut request = Request::new(DELETE);
        request.spec.place = *place;
        // It has gone with its interface, or an administrator has taken it.
        let _ = ask(&mut request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// What a driver does.
    struct Driver {
        finds_place: bool,
        room: u32,
        rules: BTreeMap<u32, Spec>,
    }

    impl Driver {
        fn ask(&mut self, request: &mut Request) -> io::Result<()> {
            match request.command {
                COUNT => {
                    request.count = self.rules.len() as u32;
                    request.data = if self.finds_place { FINDS_PLACE } else { 0 };
                }
                LIST => {
                    assert_eq!(request.count as usize, self.rules.len());
                    request.data = self.room.into();
                    for (slot, place) in request.places.iter_mut().zip(self.rules.keys()) {
                        *slot = *place;
                    }
                }
                GET => request.spec = self.rules[&request.spec.place],
                INSERT => {
                    if request.spec.place == ANY_PLACE {
                        assert!(self.finds_place);
                        let free = (0..self.room).find(|place| !self.rules.contains_key(place));
                        request.spec.place = free.ok_or(io::ErrorKind::StorageFull)?;
                    }
                    if self.rules.contains_key(&request.spec.place) {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                    self.rules.insert(request.spec.place, request.spec);
                }
                DELETE => drop(self.rules.remove(&request.spec.place)),
                other => panic!("{other}"),
            }
            Ok(())
        }
    }

    fn addresses() -> [IpAddr; 2] {
        ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap())
    }

    #[test]
    fn rules_of_a_process_that_was_killed_are_laid_again_beside_them() {
        let rules = of_worker((1, 3), &addresses(), 1);
        assert_eq!(rules.len(), 2 * 11);
        for finds_place in [true, false] {
            let mut driver = Driver { finds_place, room: 64, rules: BTreeMap::new() };
            let operators = of_worker((0, 2), &addresses()[..1], 7)[0].spec();
            driver.rules.insert(63, Spec { place: 63, ..operators });
            let places = lay(&rules, &mut |request| driver.ask(request)).unwrap();
            assert_eq!(driver.rules.len(), 1 + 22);
            let again = lay(&rules, &mut |request| driver.ask(request)).unwrap();
            assert_eq!((again, driver.rules.len()), (places.clone(), 1 + 22));
            take_back(&places, &mut |request| driver.ask(request));
            assert_eq!(driver.rules.keys().collect::<Vec<_>>(), [&63]);
        }
    }

    #[test]
    fn rules_of_a_process_with_more_workers_bring_ports_to_queues_of_others() {
        let all = |workers, addresses: &[IpAddr]| {
            let of = |worker| of_worker((worker, workers), addresses, worker as u32);
            (0..workers).flat_map(of).collect::<Vec<_>>()
        };
        let elsewhere: IpAddr = "192.0.2.77".parse().unwrap();
        for (before, now) in [(4, 2), (2, 4), (3, 2), (8, 1), (128, 3)] {
            let mut driver = Driver { finds_place: true, room: 1024, rules: BTreeMap::new() };
            // An operator's: to another queue, for another address, some ports, from somewhere, of TCP.
            let [mut some, mut from, mut tcp] = [all(2, &addresses())[0].spec(); 3];
            some.mask[10..12].copy_from_slice(&0xfff0_u16.to_be_bytes());
            (from.value[3], from.mask[3]) = (9, 0xff);
            tcp.flow_type = 1;
            let queue = of_worker((0, 2), &addresses()[..1], 7)[0].spec();
            let others = [queue, all(2, &[elsewhere])[0].spec(), some, from, tcp];
            for (place, spec) in (900..).zip(others) {
                driver.rules.insert(place, Spec { place, ..spec });
            }
            let mut ask = |request: &mut Request| driver.ask(request);
            lay(&all(before, &addresses()), &mut ask).unwrap();
            assert!(clear_left(now, &addresses(), &mut ask).unwrap() > 0, "{before}, {now}");
            let places = lay(&all(now, &addresses()), &mut ask).unwrap();
            assert_eq!(driver.rules.len(), others.len() + places.len(), "{before}, {now}");
            // Those of others of the same process stay.
            let cleared = clear_left(now, &addresses(), &mut |request| driver.ask(request));
            assert_eq!(cleared.unwrap(), 0);
            take_back(&places, &mut |request| driver.ask(request));
            assert!(driver.rules.keys().copied().eq(900..905), "{before}, {now}");
        }
    }

    #[test]
    fn a_card_that_has_no_room_for_all_of_them_keeps_some() {
        let rules = of_worker((1, 3), &addresses(), 1);
        for finds_place in [true, false] {
            let mut driver = Driver { finds_place, room: 21, rules: BTreeMap::new() };
            assert!(lay(&rules, &mut |request| driver.ask(request)).is_err());
            assert!(driver.rules.is_empty());
        }
    }

    #[test]
    fn an_operator_is_told_what_to_type() {
        let told = |worker, workers| {
            let rules = of_worker((worker, workers), &addresses(), worker as u32);
            rules.iter().map(Rule::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            told(1, 2),
            [
                "flow-type udp4 dst-ip 192.0.2.1 dst-port 0x10 m 0xffef action 1",
                "flow-type udp6 dst-ip 2001:db8::1 dst-port 0x10 m 0xffef action 1",
            ]
        );
        assert_eq!(told(0, 3).len(), 2 * 11);
        let all = of_worker((3, 4), &["0.0.0.0".parse().unwrap()], 3);
        assert_eq!(all[0].to_string(), "flow-type udp4 dst-port 0x30 m 0xffcf action 3");
    }
}
