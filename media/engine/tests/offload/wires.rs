//! What is on the wire, judged by eyes that know nothing of how it was made.

use crate::lab::{Lab, Way, makes_checksums};
use crate::rig::{PATIENCE, nothing_for, rtp, stream};
use media::Side;
use sdp::{Direction, Stream};
use socket2::{Domain, Protocol, SockAddrStorage, Socket, Type};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Frames that come in at an interface, as they are.
struct Eye(Socket);

/// What is seen of a datagram.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    ttl: u8,
    dscp: u8,
    /// The sums over the header of IPv4, and over the datagram with its pseudo header, are right.
    ip_sum: bool,
    udp_sum: bool,
    payload: Vec<u8>,
}

impl Eye {
    fn new(device: &str) -> Self {
        let every = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let socket = Socket::new(Domain::from(libc::AF_PACKET), Type::RAW, Some(every)).unwrap();
        let mut name = SockAddrStorage::zeroed();
        let device = std::ffi::CString::new(device).unwrap();
        // SAFETY: any octets are an address of this family, and the storage has room for one.
        let name = unsafe {
            let packet = name.view_as::<libc::sockaddr_ll>();
            packet.sll_family = libc::AF_PACKET as u16;
            packet.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            packet.sll_ifindex = libc::if_nametoindex(device.as_ptr()) as i32;
            socket2::SockAddr::new(name, size_of::<libc::sockaddr_ll>() as libc::socklen_t)
        };
        socket.bind(&name).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next datagram from there.
    fn sees(&self, from: SocketAddr) -> Seen {
        loop {
            let mut frame = [0; 2048];
            let len = (&self.0).read(&mut frame).unwrap();
            if let Some(seen) = datagram(&frame[..len], from) {
                return seen;
            }
        }
    }
}

/// Takes a frame apart, if it is a datagram from there.
fn datagram(frame: &[u8], wanted: SocketAddr) -> Option<Seen> {
    let (ip, addresses, udp) = match frame.get(12..14)? {
        [8, 0] => (&frame[14..34], &frame[26..34], &frame[34..]),
        [0x86, 0xdd] => (&frame[14..54], &frame[22..54], &frame[54..]),
        _ => return None,
    };
    let is_v4 = ip[0] == 0x45;
    let protocol = if is_v4 { ip[9] } else { ip[6] };
    let (from, _) = addresses.split_at(addresses.len() / 2);
    let from: IpAddr = match <[u8; 4]>::try_from(from) {
        Ok(four) => four.into(),
        Err(_) => <[u8; 16]>::try_from(from).unwrap().into(),
    };
    if protocol != 17 || SocketAddr::new(from, u16::from_be_bytes([udp[0], udp[1]])) != wanted {
        return None;
    }
    let length = [udp[4], udp[5]];
    let udp = &udp[..usize::from(u16::from_be_bytes(length))];
    let pseudo = [addresses, &[0, 17], &length].concat();
    let class = u16::from_be_bytes([ip[0], ip[1]]) >> 4;
    Some(Seen {
        ttl: if is_v4 { ip[8] } else { ip[7] },
        dscp: if is_v4 { ip[1] >> 2 } else { (class & 0xff) as u8 >> 2 },
        ip_sum: !is_v4 || sum(ip) == 0xffff,
        udp_sum: udp[6..8] != [0, 0] && sum(&[&pseudo[..], udp].concat()) == 0xffff,
        payload: udp[8..].to_vec(),
    })
}

fn sum(octets: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u32 = octets.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

/// tshark's opinion of the datagrams from there: TTL or hop limit, DSCP, and of the checksums of UDP and IPv4
/// (1: right). `None` where it is not installed.
fn tshark(lab: &Lab, device: &'static str, from: SocketAddr) -> Option<Child> {
    let mut words: Vec<String> = ["-l", "-n", "-i", device, "-c", "30"].map(str::to_owned).into();
    words.extend([
        "-f".to_owned(),
        format!("src host {} and udp src port {}", from.ip(), from.port()),
    ]);
    for option in ["udp.check_checksum:TRUE", "ip.check_checksum:TRUE"] {
        words.extend(["-o".to_owned(), option.to_owned()]);
    }
    words.extend(["-T".to_owned(), "fields".to_owned()]);
    let fields: &[&str] = match from {
        SocketAddr::V4(_) => {
            &["ip.ttl", "ip.dsfield.dscp", "udp.checksum.status", "ip.checksum.status"]
        }
        SocketAddr::V6(_) => &["ipv6.hlim", "ipv6.tclass.dscp", "udp.checksum.status"],
    };
    words.extend(fields.iter().flat_map(|field| ["-e".to_owned(), (*field).to_owned()]));
    let theirs = lab.theirs.as_ref().unwrap();
    theirs.run(move || {
        let mut tshark = Command::new("tshark");
        tshark.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = tshark.spawn().ok()?;
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut lines = said.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("Capturing on")));
        // It has more to say, and nobody who listens would end it.
        std::thread::spawn(move || lines.for_each(drop));
        Some(child)
    })
}

#[test]
fn what_the_kernel_sends_on_is_marked_or_summed_otherwise_than_what_we_send() {
    for way in [Way::Tc, Way::Xdp, Way::Between] {
        for v6 in [false, true] {
            let Some(mut lab) = Lab::offloaded(way, v6) else { return };
            let device = if way == Way::Between { "away" } else { "far" };
            let theirs = lab.theirs.take().unwrap();
            // Else that is left to a card, whose place nothing takes here; nor for what comes up and leaves by
            // our socket.
            theirs.run(|| makes_checksums("far"));
            lab.ours
                .run(move || makes_checksums(if way == Way::Between { "other" } else { "near" }));
            let eye = theirs.run(move || Eye::new(device));
            lab.theirs = Some(theirs);
            lab.until_offloaded();
            let (from, first) = (lab.near_of(Side::B), lab.next[0]);
            let offloaded = lab.offloaded_packets();
            for _ in 0..50 {
                lab.speak(Side::A);
            }
            assert!(lab.offloaded_packets() > offloaded, "{way:?}");
            let mut next = None;
            while next != Some(first + 50) {
                let seen = eye.sees(from);
                // What came before is user space's, of which all that must be so as well.
                let number = u16::from_be_bytes([seen.payload[2], seen.payload[3]]);
                let expected = Seen {
                    ttl: 64,
                    dscp: 46,
                    ip_sum: true,
                    udp_sum: true,
                    payload: rtp(1, number),
                };
                assert_eq!(seen, expected, "{way:?}, IPv6: {v6}");
                assert!(next.is_none_or(|next| next == number), "{number} instead of {next:?}");
                next = Some(number + 1);
            }
            by_tshark(&mut lab, device, from);
        }
    }
}

fn by_tshark(lab: &mut Lab, device: &'static str, from: SocketAddr) {
    let Some(mut child) = tshark(lab, device, from) else { return };
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "tshark does not end");
        lab.speak(Side::A);
    }
    let mut judged = String::new();
    child.stdout.take().unwrap().read_to_string(&mut judged).unwrap();
    let lines: Vec<&str> = judged.lines().collect();
    let expected = if from.is_ipv4() { "64\t46\t1\t1" } else { "64\t46\t1" };
    assert_eq!(lines, [expected; 30], "{:?}", lab.way);
}

#[test]
fn a_call_that_is_held_goes_on_in_the_kernel() {
    for (way, v6) in [(Way::Tc, true), (Way::Xdp, false), (Way::Between, false)] {
        let Some(mut lab) = Lab::offloaded(way, v6) else { return };
        let held = |stream: Stream| Stream { direction: Direction::Inactive, ..stream };
        let legs = |lab: &Lab| (stream(&lab.a, &lab.a), stream(&lab.b, &lab.b));
        let (a, b) = legs(&lab);
        lab.rig.connect(0, held(a), held(b));
        let (heard, came) = (lab.rig.stats(0).b.sent_packets, lab.totals().received);
        for _ in 0..20 {
            lab.says(Side::A, &rtp(1, lab.next[0]));
            lab.next[0] += 1;
        }
        let start = Instant::now();
        while lab.totals().received < came + 20 {
            assert!(start.elapsed() < PATIENCE, "they never came");
        }
        let (a, b) = legs(&lab);
        lab.rig.connect(0, a, b);
        assert_eq!(lab.rig.stats(0).b.sent_packets, heard, "{way:?}");
        nothing_for(&lab.b);
        lab.until_offloaded();
    }
}
