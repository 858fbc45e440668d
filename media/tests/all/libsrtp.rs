//! Our SRTP against libsrtp's, octet for octet and both ways, over a rollover (libsrtp/).

use crate::wire::{octets, slot};
use media::srtp::{Receiver, Sender};
use sdp::{SrtpKey, Suite};

const PACKETS: &str = include_str!("libsrtp/packets.txt");

/// `rtp` or `rtcp`, the packet, and what libsrtp made of it.
type Line = (&'static str, Vec<u8>, Vec<u8>);

/// Each key with its lines.
fn scenarios() -> Vec<(SrtpKey, Vec<Line>)> {
    let mut all = Vec::new();
    for line in PACKETS.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["key", suite, mki_len, key_salt] => {
                let suite = Suite::named(suite).unwrap();
                let key = SrtpKey::from_octets(suite, &octets(key_salt)).unwrap();
                let key = match mki_len.parse().unwrap() {
                    0 => key,
                    len => key.with_mki(1, len),
                };
                all.push((key, Vec::new()));
            }
            [kind, plain, protected] => {
                all.last_mut().unwrap().1.push((kind, octets(plain), octets(protected)));
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!(all.len(), 15);
    all
}

#[test]
fn libsrtp_would_have_sent_the_same() {
    for (key, lines) in scenarios() {
        let mut sender = Sender::new(&key, 1);
        // libsrtp's first SRTCP index is 1.
        sender.protect_rtcp(&mut slot(&[0x80, 201, 0, 1, 0, 0, 0, 1])).unwrap();
        for (kind, plain, protected) in lines {
            let mut packet = slot(&plain);
            match kind {
                "rtp" => sender.protect(&mut packet).unwrap(),
                _ => sender.protect_rtcp(&mut packet).unwrap(),
            }
            assert_eq!(packet.packet(), protected, "{key:?} {:?}", key.mki());
        }
    }
}

#[test]
fn what_libsrtp_sent_is_read_as_it_was_meant() {
    for (key, lines) in scenarios() {
        let mut receiver = Receiver::new(std::slice::from_ref(&key));
        for (kind, plain, protected) in lines {
            let mut packet = slot(&protected);
            match kind {
                "rtp" => receiver.unprotect(&mut packet).unwrap(),
                _ => receiver.unprotect_rtcp(&mut packet).unwrap(),
            };
            assert_eq!(packet.packet(), plain, "{key:?} {:?}", key.mki());
        }
    }
}

/// A corner of the RFC's test suite as libsrtp ships it: one G.711-like packet, 80 and 32 bits.
#[test]
fn the_reference_packet_of_libsrtp() {
    let key_salt = octets("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
    let key = SrtpKey::from_octets(Suite::AesCm128HmacSha1_80, &key_salt).unwrap();
    let plain = octets("800f1234decafbadcafebabeabababababababababababababababab");
    let protected =
        octets("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb");
    let mut packet = slot(&plain);
    Sender::new(&key, 1).protect(&mut packet).unwrap();
    assert_eq!(packet.packet(), protected);
    Receiver::new(&[key]).unprotect(&mut packet).unwrap();
    assert_eq!(packet.packet(), plain);
}
