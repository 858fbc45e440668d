//! Ethernet, IP and UDP headers of media packets, written and taken apart (RFC 791, 8200, 768; IEEE 802.1Q).

use crate::routes::Link;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

/// The longest headers: Ethernet with a tag, IPv6, UDP.
pub(crate) const HEADERS_MAX: usize = ETHERNET + TAG + IPV6 + UDP;

const ETHERNET: usize = 14;
const TAG: usize = 4;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;

const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const TYPE_TAG: u16 = 0x8100;
const PROTOCOL_UDP: u8 = 17;
/// What the system's own sockets send with, unless told otherwise.
const HOPS: u8 = 64;
/// A datagram on a path that is too narrow comes back as an ICMP error, as for the system's own sockets.
const DONT_FRAGMENT: u16 = 0x4000;
/// A fragment's offset, and that more of them follow.
const FRAGMENT: u16 = 0x3fff;

/// The headers of one of our ports towards one far side, ready but for lengths, IP id and checksums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    octets: [u8; HEADERS_MAX],
    len: u8,
    /// Where the IP header begins, and the UDP header.
    ip: u8,
    udp: u8,
    /// Sums over what stays: of the IPv4 header, and of the pseudo header with the ports.
    ip_sum: u16,
    udp_sum: u16,
}

impl Template {
    /// Headers for packets that leave by `link`, or without it from IP on. `None` where nothing can go
    /// from the one to the other: families differ, or `from` stands for several addresses.
    pub(crate) fn new(
        link: Option<&Link>,
        from: SocketAddr,
        to: SocketAddr,
        dscp: u8,
    ) -> Option<Self> {
        if from.ip().is_unspecified() || from.is_ipv4() != to.is_ipv4() {
            return None;
        }
        let (ip_len, kind) = if to.is_ipv4() { (IPV4, TYPE_IPV4) } else { (IPV6, TYPE_IPV6) };
        let mut room = Room { octets: [0; HEADERS_MAX], len: 0 };
        if let Some(link) = link {
            room.put(&link.mac);
            room.put(&link.source_mac);
            if let Some(vlan) = link.vlan {
                room.put(&TYPE_TAG.to_be_bytes());
                room.put(&vlan.to_be_bytes());
            }
            room.put(&kind.to_be_bytes());
        }
        let ip = room.len;
        // The six bits of the DSCP come before the two of ECN (RFC 2474, 3).
        let class = dscp << 2;
        match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                room.put(&[0x45, class, 0, 0, 0, 0]);
                room.put(&DONT_FRAGMENT.to_be_bytes());
                room.put(&[HOPS, PROTOCOL_UDP, 0, 0]);
                room.put(&from.octets());
                room.put(&to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                room.put(&[0x60 | class >> 4, class << 4, 0, 0, 0, 0, PROTOCOL_UDP, HOPS]);
                room.put(&from.octets());
                room.put(&to.octets());
            }
            _ => return None,
        }
        room.put(&from.port().to_be_bytes());
        room.put(&to.port().to_be_bytes());
        room.put(&[0; 4]);
        let Room { octets, len } = room;
        let udp = ip + ip_len;
        let addresses = pseudo_header(&octets[ip..udp]);
        Some(Self {
            octets,
            len: len as u8,
            ip: ip as u8,
            udp: udp as u8,
            ip_sum: folded(sum(&octets[ip..udp])),
            udp_sum: folded(addresses + sum(&octets[udp..len])),
        })
    }

    /// How long the headers are.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// How long they are from the IP header on.
    pub(crate) fn ip_len(&self) -> usize {
        self.len() - usize::from(self.ip)
    }

    pub(crate) fn is_ipv4(&self) -> bool {
        self.udp - self.ip == IPV4 as u8
    }

    /// The address that packets leave from.
    pub(crate) fn source(&self) -> IpAddr {
        let ip = usize::from(self.ip);
        let octets = |at: usize| &self.octets[ip + at..];
        if self.is_ipv4() {
            octets(12).first_chunk::<4>().map_or(Ipv4Addr::UNSPECIFIED.into(), |ip| (*ip).into())
        } else {
            octets(8).first_chunk::<16>().map_or(Ipv6Addr::UNSPECIFIED.into(), |ip| (*ip).into())
        }
    }

    /// The headers.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets[..self.len()]
    }

    /// The sum over the IPv4 header without what a packet adds.
    pub(crate) fn ip_sum(&self) -> u16 {
        self.ip_sum
    }

    /// Writes the headers of `payload` into `room`, whose length is [`Self::len`].
    pub(crate) fn write(&self, room: &mut [u8], payload: &[u8], id: u16) {
        let (ip, udp) = (usize::from(self.ip), usize::from(self.udp));
        room.copy_from_slice(&self.octets[..self.len()]);
        let (headers, datagram) = room.split_at_mut(udp);
        let len = ((UDP + payload.len()) as u16).to_be_bytes();
        if let Some(header) = headers.get_mut(ip..).and_then(<[u8]>::first_chunk_mut::<IPV4>)
            && self.is_ipv4()
        {
            let total = ((IPV4 + UDP + payload.len()) as u16).to_be_bytes();
            let id = id.to_be_bytes();
            let words = u64::from(self.ip_sum) + word(total) + word(id);
            header[2..4].copy_from_slice(&total);
            header[4..6].copy_from_slice(&id);
            header[10..12].copy_from_slice(&(!folded(words)).to_ne_bytes());
        } else {
            headers[ip + 4..ip + 6].copy_from_slice(&len);
        }
        // The length stands in the pseudo header, too.
        let words = u64::from(self.udp_sum) + 2 * word(len) + sum(payload);
        datagram[4..6].copy_from_slice(&len);
        datagram[6..8].copy_from_slice(&udp_checksum(words).to_ne_bytes());
    }
}

struct Room {
    octets: [u8; HEADERS_MAX],
    len: usize,
}

impl Room {
    fn put(&mut self, octets: &[u8]) {
        self.octets[self.len..self.len + octets.len()].copy_from_slice(octets);
        self.len += octets.len();
    }
}

/// A frame taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// Where the payload lies in the frame.
    pub(crate) payload: Range<usize>,
    pub(crate) vlan: Option<u16>,
}

/// Takes an Ethernet frame apart. `None` for what is not one whole UDP datagram over IPv4 without
/// options or over IPv6 without extension headers, and for one whose checksum is wrong.
pub(crate) fn parse(frame: &[u8]) -> Option<Parsed> {
    let (mut kind, mut ip) = (number(frame, 12)?, ETHERNET);
    let mut vlan = None;
    if kind == TYPE_TAG {
        vlan = Some(number(frame, ip)? & 0xfff);
        kind = number(frame, ip + 2)?;
        ip += TAG;
    }
    let rest = frame.get(ip..)?;
    let (from, to, header, end) = match kind {
        TYPE_IPV4 => parse_v4(rest)?,
        TYPE_IPV6 => parse_v6(rest)?,
        _ => return None,
    };
    // A short frame is padded: what counts is IP's length.
    let datagram = rest.get(header..end)?;
    let len = usize::from(number(datagram, 4)?);
    let datagram = datagram.get(..len).filter(|datagram| datagram.len() >= UDP)?;
    match number(datagram, 6)? {
        // Only IPv4 may do without (RFC 8200, 8.1).
        0 if kind == TYPE_IPV4 => {}
        0 => return None,
        _ => {
            let before = pseudo_header(rest.get(..header)?) + word((len as u16).to_be_bytes());
            let whole = folded(before + sum(datagram)) == u16::MAX;
            // A sender on this host leaves the rest of the sum to a device, and there was none.
            if !whole && datagram.get(6..8)? != folded(before).to_ne_bytes() {
                return None;
            }
        }
    }
    let payload = ip + header + UDP..ip + header + len;
    let (from, to) = ((from, number(datagram, 0)?), (to, number(datagram, 2)?));
    Some(Parsed { from: from.into(), to: to.into(), payload, vlan })
}

/// What IP and UDP add to a payload for this far side.
pub(crate) fn overhead(to: SocketAddr) -> u16 {
    (UDP + if to.is_ipv4() { IPV4 } else { IPV6 }) as u16
}

/// The addresses of an IPv4 packet, and where its payload begins and ends.
fn parse_v4(packet: &[u8]) -> Option<(IpAddr, IpAddr, usize, usize)> {
    let header = packet.first_chunk::<IPV4>()?;
    let plain = header[0] == 0x45 && header[9] == PROTOCOL_UDP;
    let whole = number(header, 6)? & FRAGMENT == 0;
    if !plain || !whole || folded(sum(header)) != u16::MAX {
        return None;
    }
    let address = |at: usize| {
        header.get(at..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into())
    };
    Some((address(12)?, address(16)?, IPV4, usize::from(number(header, 2)?)))
}

/// The same of an IPv6 packet.
fn parse_v6(packet: &[u8]) -> Option<(IpAddr, IpAddr, usize, usize)> {
    let header = packet.first_chunk::<IPV6>()?;
    if header[0] >> 4 != 6 || header[6] != PROTOCOL_UDP {
        return None;
    }
    let address = |at: usize| {
        header.get(at..)?.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into())
    };
    Some((address(8)?, address(24)?, IPV6, IPV6 + usize::from(number(header, 4)?)))
}

/// A number of two octets in network order.
fn number(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

/// The sum over the addresses and the protocol (RFC 768; RFC 8200, 8.1), without the length.
fn pseudo_header(ip: &[u8]) -> u64 {
    let addresses = if ip.len() == IPV4 { 12..IPV4 } else { 8..IPV6 };
    sum(&ip[addresses]) + word([0, PROTOCOL_UDP])
}

/// The ones' complement sum of octets, in words of the machine's order: it comes out right in any
/// (RFC 1071, 2.B). To be folded at the end, and good for far more than any packet.
pub(crate) fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let mut total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let (halves, last) = rest.as_chunks::<2>();
    total += halves.iter().map(|half| word(*half)).sum::<u64>();
    total + last.first().map_or(0, |octet| word([*octet, 0]))
}

/// Two octets of the network as the sums have them.
fn word(octets: [u8; 2]) -> u64 {
    u64::from(u16::from_ne_bytes(octets))
}

/// A sum in sixteen bits.
pub(crate) fn folded(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// Nothing but zero means that there is no checksum, so that one which is zero is sent as its other
/// form (RFC 768).
fn udp_checksum(words: u64) -> u16 {
    match !folded(words) {
        0 => u16::MAX,
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests;
