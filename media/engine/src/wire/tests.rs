//! Headers against octets that tshark finds right, and there and back with whatever comes.

use super::*;

const PAYLOAD: &[u8] = b"tollgate!";
const PLAIN: &str = "02000000000202000000000108004 5b800251234400040113ba5c0000201c63364024e209c4100114b90\
                     746f6c6c6761746521";
const TAGGED: &str = "0200000000020200000000018100000708004 5b800251234400040113ba5c0000201c63364024e209c41\
                      00114b90746f6c6c6761746521";
const SIX: &str = "02000000000202000000000186dd6b8000000011114020010db800000000000000000000000120010db8\
                   0001000000000000000000024e209c410011dc51746f6c6c6761746521";
/// As text2pcap writes it, padded to the shortest frame.
const PADDED: &str = "205245435600 2053454e4400 0800 45000025123400 00ff11bd5cc0000201c63364024e209c4100114b90\
                      746f6c6c6761746521 0000000000000000 00";

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn link(vlan: Option<u16>) -> Link {
    Link {
        interface: 2,
        device: 2,
        vlan,
        mtu: 1500,
        mtu_sure: 1500,
        source_mac: [2, 0, 0, 0, 0, 1],
        mac: [2, 0, 0, 0, 0, 2],
        from: [192, 0, 2, 1].into(),
        loopback: false,
    }
}

fn written(template: &Template, payload: &[u8], id: u16) -> Vec<u8> {
    let mut frame = vec![0xff; template.len()];
    template.write(&mut frame, payload, id);
    frame.extend(payload);
    frame
}

fn v4() -> (SocketAddr, SocketAddr) {
    ("192.0.2.1:20000".parse().unwrap(), "198.51.100.2:40001".parse().unwrap())
}

fn v6() -> (SocketAddr, SocketAddr) {
    ("[2001:db8::1]:20000".parse().unwrap(), "[2001:db8:1::2]:40001".parse().unwrap())
}

#[test]
fn a_header_is_not_what_it_should_be() {
    for ((from, to), vlan, frame) in
        [(v4(), None, PLAIN), (v4(), Some(7), TAGGED), (v6(), None, SIX)]
    {
        let frame = octets(frame);
        let template = Template::new(Some(&link(vlan)), from, to, 46).unwrap();
        assert_eq!(written(&template, PAYLOAD, 0x1234), frame);
        let payload = frame.len() - PAYLOAD.len()..frame.len();
        assert_eq!(parse(&frame), Some(Parsed { from, to, payload, vlan }));

        let ethernet = if vlan.is_some() { 18 } else { 14 };
        let template = Template::new(None, from, to, 46).unwrap();
        assert_eq!(written(&template, PAYLOAD, 0x1234), frame[ethernet..]);
    }
}

#[test]
fn padding_is_taken_for_a_part_of_the_packet() {
    let frame = octets(PADDED);
    let (from, to) = v4();
    let payload = 42..42 + PAYLOAD.len();
    assert!(frame.len() > payload.end);
    assert_eq!(parse(&frame), Some(Parsed { from, to, payload, vlan: None }));
}

/// Whatever one octet is changed to: nothing that is taken differs in what the checksums cover.
#[test]
fn a_damaged_or_cut_frame_is_taken() {
    for frame in [PLAIN, TAGGED, SIX].map(octets) {
        let whole = parse(&frame).unwrap();
        for len in 0..frame.len() {
            assert_eq!(parse(&frame[..len]), None, "{len} octets");
        }
        let ip = whole.payload.start - UDP - if whole.to.is_ipv4() { IPV4 } else { IPV6 };
        for at in ip..frame.len() {
            for flip in 1..=u8::MAX {
                let mut damaged = frame.clone();
                damaged[at] ^= flip;
                let six = whole.to.is_ipv6();
                // Class, label and hop limit of IPv6 are under no checksum, a checksum of zero is none
                // in IPv4, and here no octet becomes it by itself.
                let uncovered = six && (ip..ip + 4).contains(&at) && damaged[ip] >> 4 == 6
                    || six && at == ip + 7;
                assert_eq!(parse(&damaged).is_some(), uncovered, "octet {at} ^ {flip:#x}");
            }
        }
    }
}

#[test]
fn what_is_no_whole_plain_datagram_is_taken() {
    let refixed = |change: &dyn Fn(&mut [u8])| {
        let mut frame = octets(PLAIN);
        change(&mut frame);
        frame[24..26].fill(0);
        let checksum = !folded(sum(&frame[14..34]));
        frame[24..26].copy_from_slice(&checksum.to_ne_bytes());
        parse(&frame)
    };
    assert!(refixed(&|_| ()).is_some());
    assert_eq!(refixed(&|frame| frame[20] = 0x20), None, "more fragments");
    assert_eq!(refixed(&|frame| frame[21] = 1), None, "a later fragment");
    assert_eq!(refixed(&|frame| frame[14] = 0x46), None, "options");
    assert_eq!(refixed(&|frame| frame[23] = 6), None, "TCP");
    assert_eq!(refixed(&|frame| frame[12] = 0x86), None, "another type");
    assert_eq!(refixed(&|frame| frame[39] = 7), None, "a length below the header's");
    assert!(refixed(&|frame| frame[40..42].fill(0)).is_some(), "IPv4 without a checksum");
    let mut six = octets(SIX);
    six[60..62].fill(0);
    assert_eq!(parse(&six), None, "IPv6 without a checksum");
    let twice = [&octets(TAGGED)[..12], &[0x81, 0, 0, 1], &octets(TAGGED)[12..]].concat();
    assert_eq!(parse(&twice), None, "two tags");
}

#[test]
fn headers_are_made_where_nothing_can_go() {
    let ((from, to), (from_six, to_six)) = (v4(), v6());
    assert!(Template::new(None, from, to_six, 0).is_none());
    assert!(Template::new(None, from_six, to, 0).is_none());
    assert!(Template::new(None, "0.0.0.0:20000".parse().unwrap(), to, 0).is_none());
    assert!(Template::new(None, "[::]:20000".parse().unwrap(), to_six, 0).is_none());
}

/// Ones that add up to zero must not be sent as none.
#[test]
fn a_checksum_of_zero_is_sent() {
    let (from, to) = v4();
    let template = Template::new(Some(&link(None)), from, to, 0).unwrap();
    let frame = written(&template, &[0, 0], 0);
    // Chosen so that with it all adds up to nothing.
    let payload = [frame[40], frame[41]];
    let frame = written(&template, &payload, 0);
    assert_eq!(frame[40..42], [0xff, 0xff]);
    assert!(parse(&frame).is_some());
}

#[test]
fn what_is_written_does_not_come_back_as_it_was() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        // xorshift64: any sequence will do that is not our own.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let port = random() as u16;
        let octets = |random: &mut dyn FnMut() -> u64| {
            let octets = [random().to_be_bytes(), random().to_be_bytes()].concat();
            <[u8; 16]>::try_from(octets).unwrap()
        };
        let (one, other) = (octets(&mut random), octets(&mut random));
        let six = random() % 2 == 0;
        let address = |octets: [u8; 16], port: u16| {
            let first = *octets.first_chunk::<4>().unwrap();
            let ip = if six { IpAddr::from(octets) } else { IpAddr::from(first) };
            SocketAddr::new(ip, port)
        };
        let (from, to) = (address(one, port), address(other, !port));
        let vlan = (random() % 3 == 0).then(|| random() as u16 & 0xfff);
        let Some(template) = Template::new(Some(&link(vlan)), from, to, (random() % 64) as u8)
        else {
            continue;
        };
        let payload: Vec<u8> = (0..random() % 1500).map(|_| random() as u8).collect();
        let frame = written(&template, &payload, random() as u16);
        let parsed = parse(&frame).unwrap();
        assert_eq!((parsed.from, parsed.to, parsed.vlan), (from, to, vlan));
        assert_eq!(frame[parsed.payload], payload);
    }
}
