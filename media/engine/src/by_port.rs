//! What belongs to each of our ports, found by index, and the addresses that ports are bound on.

use crate::batch::PortId;
use crate::prefetch::prefetch;
use std::net::IpAddr;

/// Ports of one page: a call takes four beside each other, or nearly.
const PAGE: usize = 256;
const PORTS_PER_ADDRESS: usize = 1 << 16;
const PAGES_PER_ADDRESS: usize = PORTS_PER_ADDRESS / PAGE;
/// Addresses of a host that have ports open at once. A reload may bring another one at any time; those
/// that no call has any more make room.
pub(crate) const ADDRESSES_MAX: usize = 256;

/// One value per port of each address. Pages are made when a call opens a port there, and stay.
#[derive(Debug)]
pub(crate) struct ByPort<T>(Vec<Option<Box<[Option<T>; PAGE]>>>);

impl<T> ByPort<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn get(&self, port: PortId) -> Option<&T> {
        let (page, place) = place_of(port);
        self.0.get(page)?.as_deref()?.get(place)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, port: PortId) -> Option<&mut T> {
        let (page, place) = place_of(port);
        self.0.get_mut(page)?.as_deref_mut()?.get_mut(place)?.as_mut()
    }

    /// Has what belongs to a port fetched from memory, without waiting for it.
    pub(crate) fn prefetch(&self, port: PortId) {
        let (page, place) = place_of(port);
        if let Some(Some(page)) = self.0.get(page)
            && let Some(entry) = page.get(place)
        {
            prefetch(entry);
        }
    }

    /// All ports that have something.
    pub(crate) fn ports(&self) -> impl Iterator<Item = PortId> {
        let pages = self.0.iter().enumerate();
        pages.filter_map(|(at, page)| Some((at * PAGE, page.as_deref()?))).flat_map(
            |(first, page)| {
                let taken = page.iter().enumerate().filter(|(_, entry)| entry.is_some());
                taken.map(move |(place, _)| port_at(first + place))
            },
        )
    }

    /// Puts a value in its place, or takes it out.
    pub(crate) fn set(&mut self, port: PortId, value: Option<T>) {
        let (page, place) = place_of(port);
        if page >= self.0.len() {
            if value.is_none() {
                return;
            }
            self.0.resize_with(page + 1, || None);
        }
        let Some(entry) = self.0.get_mut(page) else { return };
        let page = entry.get_or_insert_with(|| Box::new([const { None }; PAGE]));
        if let Some(place) = page.get_mut(place) {
            *place = value;
        }
    }
}

fn place_of(port: PortId) -> (usize, usize) {
    let number = usize::from(port.number);
    (usize::from(port.address) * PAGES_PER_ADDRESS + number / PAGE, number % PAGE)
}

/// The port that comes after so many others.
const fn port_at(place: usize) -> PortId {
    let (address, number) = (place / PORTS_PER_ADDRESS, place % PORTS_PER_ADDRESS);
    PortId { address: address as u16, number: number as u16 }
}

/// The addresses that ports are bound on, by the index that [`PortId`] names them with.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Vec<(IpAddr, usize)>);

impl Addresses {
    /// The index of `bind` for one more pair of ports; `None` where there are too many.
    pub(crate) fn take(&mut self, bind: IpAddr) -> Option<u16> {
        let known = self.0.iter().position(|(known, _)| *known == bind);
        let unused = || self.0.iter().position(|(_, pairs)| *pairs == 0);
        let at = known.or_else(unused).unwrap_or(self.0.len());
        if at == self.0.len() {
            if at >= ADDRESSES_MAX {
                return None;
            }
            self.0.push((bind, 0));
        }
        let entry = self.0.get_mut(at)?;
        *entry = (bind, entry.1 + 1);
        u16::try_from(at).ok()
    }

    /// A pair of ports is closed.
    pub(crate) fn give_back(&mut self, address: u16) {
        if let Some((_, pairs)) = self.0.get_mut(usize::from(address)) {
            *pairs = pairs.saturating_sub(1);
        }
    }

    pub(crate) fn of(&self, address: u16) -> Option<IpAddr> {
        self.0.get(usize::from(address)).map(|(bind, _)| *bind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(address: u16, number: u16) -> PortId {
        PortId { address, number }
    }

    #[test]
    fn ports_of_two_addresses_are_not_mixed_up() {
        let mut by_port = ByPort::new();
        let ports = [port(0, 0), port(0, 255), port(0, 256), port(0, 65_535), port(1, 0)];
        for (n, port) in ports.into_iter().enumerate() {
            by_port.set(port, Some(n));
        }
        for (n, port) in ports.into_iter().enumerate() {
            assert_eq!(by_port.get(port), Some(&n));
        }
        assert!(by_port.ports().eq(ports));
        by_port.set(port(0, 256), None);
        by_port.set(port(7, 1), None);
        assert_eq!(by_port.get(port(0, 256)), None);
        assert_eq!(by_port.get(port(7, 1)), None);
        assert_eq!(by_port.get(port(0, 255)), Some(&1));
    }

    #[test]
    fn an_address_without_ports_makes_room_for_another_and_one_with_ports_does_not() {
        let mut addresses = Addresses::default();
        let ip = |n: u16| IpAddr::from([127, 1, (n >> 8) as u8, n as u8]);
        for n in 0..ADDRESSES_MAX as u16 {
            assert_eq!(addresses.take(ip(n)), Some(n));
        }
        assert_eq!(addresses.take(ip(5)), Some(5));
        assert_eq!(addresses.take(ip(999)), None);
        addresses.give_back(5);
        assert_eq!(addresses.take(ip(999)), None, "one of two pairs is still open");
        addresses.give_back(5);
        assert_eq!(addresses.take(ip(999)), Some(5));
        assert_eq!(addresses.of(5), Some(ip(999)));
    }
}
