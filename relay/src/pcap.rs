//! Traced messages as a capture that Wireshark, tshark and sngrep read: classic pcap, each message a
//! datagram, whatever it really came by, as TLS is opened here and nowhere else.

use crate::trace::Traced;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

/// Raw IP: no link below (https://www.tcpdump.org/linktypes.html).
const LINKTYPE_RAW: u32 = 101;
/// Octets of a packet that are written: all of them.
const SNAPLEN: u32 = 262_144;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
/// What a datagram holds at most; a longer message is cut.
const PAYLOAD_MAX: usize = 65_000;
/// TLS has this port for SIP, and readers look for plain SIP at the one before.
const SIPS: u16 = 5061;
const SIP: u16 = 5060;

/// The head of a capture.
pub(crate) fn head(out: &mut impl Write) -> io::Result<()> {
    for (value, octets) in
        [(0xa1b2_c3d4, 4), (2, 2), (4, 2), (0, 4), (0, 4), (SNAPLEN, 4), (LINKTYPE_RAW, 4)]
    {
        out.write_all(&u32::to_le_bytes(value)[..octets])?;
    }
    Ok(())
}

/// One message.
pub(crate) fn message(out: &mut impl Write, traced: &Traced) -> io::Result<()> {
    let (from, to) = match traced.came {
        true => (traced.remote, traced.local),
        false => (traced.local, traced.remote),
    };
    let packet = packet(from, to, traced.text.as_bytes());
    let length = u32::try_from(packet.len()).unwrap_or(SNAPLEN);
    let (seconds, micros) = (traced.at_us / 1_000_000, traced.at_us % 1_000_000);
    for value in [seconds, micros] {
        out.write_all(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes())?;
    }
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&packet)
}

fn packet(from: SocketAddr, to: SocketAddr, text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(PAYLOAD_MAX)];
    let udp_length = u16::try_from(text.len() + UDP_HEADER).unwrap_or(u16::MAX);
    let port = |address: SocketAddr| if address.port() == SIPS { SIP } else { address.port() };
    let mut udp = Vec::with_capacity(text.len() + UDP_HEADER);
    for value in [port(from), port(to), udp_length, 0] {
        udp.extend_from_slice(&value.to_be_bytes());
    }
    udp.extend_from_slice(text);
    let (mut header, pseudo) = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = udp_length.saturating_add(20);
            let mut header = vec![0x45, 0];
            header.extend_from_slice(&length.to_be_bytes());
            header.extend_from_slice(&[0, 0, 0x40, 0, 64, UDP, 0, 0]);
            let mut pseudo = from.octets().to_vec();
            pseudo.extend_from_slice(&to.octets());
            header.extend_from_slice(&pseudo);
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            (header, pseudo)
        }
        (from, to) => {
            let v6 = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            let mut header = vec![0x60, 0, 0, 0];
            header.extend_from_slice(&udp_length.to_be_bytes());
            header.extend_from_slice(&[UDP, 64]);
            let mut pseudo = v6(from).octets().to_vec();
            pseudo.extend_from_slice(&v6(to).octets());
            header.extend_from_slice(&pseudo);
            (header, pseudo)
        }
    };
    let mut sum = pseudo;
    sum.extend_from_slice(&[0, UDP]);
    sum.extend_from_slice(&udp_length.to_be_bytes());
    sum.extend_from_slice(&udp);
    let sum = match checksum(&sum) {
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    header.append(&mut udp);
    header
}

/// The Internet checksum (RFC 1071).
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| {
        u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_as_long_as_it_says_and_its_checksums_hold() {
        for (from, to, ip) in [
            ("203.0.113.10:5061", "52.114.75.24:5061", 20),
            ("[2001:db8::1]:5060", "[2001:db8::2]:5070", 40),
        ] {
            let packet =
                packet(from.parse().unwrap(), to.parse().unwrap(), b"OPTIONS sip:a SIP/2.0\r\n");
            assert_eq!(packet.len(), ip + UDP_HEADER + 23);
            if ip == 20 {
                assert_eq!(checksum(&packet[..20]), 0);
                let mut whole = packet[12..20].to_vec();
                whole.extend_from_slice(&[0, UDP, 0, 31]);
                whole.extend_from_slice(&packet[20..]);
                assert_eq!(checksum(&whole), 0);
            }
            assert_eq!(&packet[ip..ip + 2], &SIP.to_be_bytes(), "TLS reads as plain SIP");
        }
        let mut octets = Vec::new();
        head(&mut octets).unwrap();
        assert_eq!(octets.len(), 24);
        assert_eq!(packet(([1; 4], 1).into(), ([2; 4], 2).into(), &[0; 100_000]).len(), 65_028);
    }
}
