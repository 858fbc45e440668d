//! One context per leg and SSRC for the life of a call, against far sides that are libsrtp's and
//! rtpengine's: what they sent in each flow of libsrtp/flows.txt and rtpengine/flows.txt reaches the other
//! leg as it was meant, and what we send in the like flow is what they would have sent, octet for octet.
//! Once for each suite. (rtpengine has read libsrtp's packets as well: rtpengine/record.py.)

use crate::wire::{
    CARRIER, Call, TEAMS, addr, carrier_stream, forward_to, octets, slot, teams_stream,
};
use media::srtp::{Receiver, Sender};
use media::{DropReason, Side, Verdict};
use sdp::{Crypto, Direction, SrtpKey, Stream, Suite};

const FLOWS: [&str; 2] = [include_str!("libsrtp/flows.txt"), include_str!("rtpengine/flows.txt")];

/// What a far side did.
struct Flow {
    keys: [SrtpKey; 2],
    packets: Vec<Packet>,
}

struct Packet {
    key: usize,
    plain: Vec<u8>,
    protected: Vec<u8>,
}

/// The flow of this name, of each implementation and suite.
fn flows(name: &str) -> Vec<Flow> {
    let found: Vec<Flow> = FLOWS.into_iter().flat_map(|text| flows_in(text, name)).collect();
    assert_eq!(found.len(), 10, "{name}");
    found
}

fn flows_in(text: &str, name: &str) -> Vec<Flow> {
    let mut found = Vec::new();
    let mut lines = text.lines().filter(|line| !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] != "flow" || words[1] != name {
            continue;
        }
        let suite = Suite::named(words[2]).unwrap();
        let keys = [0, 1].map(|_| {
            let written = lines.next().unwrap().strip_prefix("key ").unwrap();
            SrtpKey::from_octets(suite, &octets(written)).unwrap()
        });
        let mut packets = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("rtp ")) {
            let words: Vec<&str> = line.split(' ').collect();
            let key = words[1].parse().unwrap();
            packets.push(Packet { key, plain: octets(words[2]), protected: octets(words[3]) });
        }
        found.push(Flow { keys, packets });
    }
    found
}

/// The leg of a far side that protects with this key.
fn with_key(key: &SrtpKey) -> Stream {
    let mut stream = teams_stream();
    let local = crate::wire::key_of(key.suite(), 1);
    stream.crypto = Some(Crypto { local, remote: vec![key.clone()] });
    stream
}

/// A call whose leg A is that far side.
fn call(key: &SrtpKey) -> Call {
    let mut call = Call::unconnected();
    call.connect(&with_key(key), &carrier_stream());
    call
}

/// The packet comes in, and what the carrier hears is what was meant.
fn heard(call: &mut Call, packet: &Packet) {
    let mut slot = slot(&packet.protected);
    assert_eq!(call.comes(Side::A, TEAMS, &mut slot), forward_to(Side::B, CARRIER));
    assert_eq!(slot.packet(), packet.plain);
}

/// We send what libsrtp sent, from the same plain packets.
fn sends(sender: &mut Sender, flow: &Flow, packet: &Packet) {
    assert!(sender.is_of(&flow.keys[packet.key]));
    let mut slot = slot(&packet.plain);
    sender.protect(&mut slot).unwrap();
    assert_eq!(slot.packet(), packet.protected);
}

/// TDR-SRTP-002
#[test]
fn hold_and_resume_with_the_same_key_keep_the_roc() {
    for flow in flows("hold_over_a_rollover") {
        let mut call = call(&flow.keys[0]);
        let mut sender = Sender::new(&flow.keys[0], 1);
        for (n, packet) in flow.packets.iter().enumerate() {
            if n == 5 {
                for direction in [Direction::Inactive, Direction::SendOnly, Direction::SendRecv] {
                    let mut held = with_key(&flow.keys[0]);
                    held.direction = direction;
                    call.connect(&held, &carrier_stream());
                }
            }
            heard(&mut call, packet);
            sends(&mut sender, &flow, packet);
        }
    }
}

#[test]
fn packets_while_held_move_the_roc_all_the_same() {
    for flow in flows("hold_over_a_rollover") {
        let mut call = call(&flow.keys[0]);
        for (n, packet) in flow.packets.iter().enumerate() {
            let mut stream = with_key(&flow.keys[0]);
            // It goes over its end while nobody hears it.
            if (2..6).contains(&n) {
                stream.direction = Direction::SendOnly;
                call.connect(&stream, &carrier_stream());
                let verdict = call.comes(Side::A, TEAMS, &mut slot(&packet.protected));
                assert_eq!(verdict, Verdict::Consumed);
            } else {
                call.connect(&stream, &carrier_stream());
                heard(&mut call, packet);
            }
        }
    }
}

/// TDR-DLG-014, TDR-SRTP-002
#[test]
fn a_new_key_starts_at_roc_0() {
    for flow in flows("new_key") {
        let mut call = call(&flow.keys[0]);
        let mut sender = Sender::new(&flow.keys[0], 1);
        for (n, packet) in flow.packets.iter().enumerate() {
            if n == 4 {
                call.connect(&with_key(&flow.keys[1]), &carrier_stream());
                sender = Sender::after(&sender, &flow.keys[1], 2);
            }
            heard(&mut call, packet);
            sends(&mut sender, &flow, packet);
        }
    }
}

#[test]
fn a_late_joiner_with_a_roc_that_is_not_0_is_found() {
    for flow in flows("late_joiner") {
        let mut call = call(&flow.keys[0]);
        for packet in &flow.packets {
            heard(&mut call, packet);
        }
    }
}

#[test]
fn the_search_for_a_late_joiner_is_bounded_and_seldom() {
    for flow in flows("late_joiner") {
        let mut receiver = Receiver::new(&flow.keys[..1]);
        // Somebody forges: the first of sixteen is searched for, the others are not.
        let mut forged = slot(&flow.packets[0].protected);
        let last = forged.len() - 1;
        forged.packet_mut()[last] ^= 1;
        for _ in 0..7 {
            assert_eq!(receiver.unprotect(&mut forged.clone()).unwrap_err(), DropReason::BadTag);
        }
        let tries = |receiver: &mut Receiver| {
            let mut packet = slot(&flow.packets[1].protected);
            receiver.unprotect(&mut packet).is_ok()
        };
        let lost = (0..200).take_while(|_| !tries(&mut receiver)).count();
        // ROC 3 is in the first of eight slices, which comes round after 128 failures.
        assert_eq!(lost, 128 - 7);
    }
}

#[test]
fn a_change_of_the_source_and_back_loses_nothing() {
    for flow in flows("source_change") {
        let mut call = call(&flow.keys[0]);
        for packet in &flow.packets {
            heard(&mut call, packet);
        }
    }
}

#[test]
fn jumps_of_the_sequence_are_followed() {
    for flow in flows("jumps") {
        let mut call = call(&flow.keys[0]);
        let mut sender = Sender::new(&flow.keys[0], 1);
        for packet in &flow.packets {
            heard(&mut call, packet);
            sends(&mut sender, &flow, packet);
        }
    }
}

#[test]
fn packets_out_of_order_around_the_wrap_are_read_under_their_own_roc() {
    for flow in flows("wrap_out_of_order") {
        let mut call = call(&flow.keys[0]);
        let mut sender = Sender::new(&flow.keys[0], 1);
        for packet in &flow.packets {
            heard(&mut call, packet);
            sends(&mut sender, &flow, packet);
        }
        // And none of them passes again.
        for packet in &flow.packets {
            let again = call.comes(Side::A, TEAMS, &mut slot(&packet.protected));
            assert!(matches!(again, Verdict::Drop(_)));
        }
    }
}

#[test]
fn while_a_new_key_is_agreed_both_are_alive_and_then_the_old_one_dies() {
    for flow in flows("two_keys_alive") {
        let mut call = call(&flow.keys[0]);
        let (last, before) = flow.packets.split_last().unwrap();
        for (n, packet) in before.iter().enumerate() {
            if n == 2 {
                call.connect(&with_key(&flow.keys[1]), &carrier_stream());
            }
            heard(&mut call, packet);
        }
        // A refresh with the new key does not lengthen the life of the old.
        call.connect(&with_key(&flow.keys[1]), &carrier_stream());
        call.ms += 5000;
        let dead = call.comes(Side::A, TEAMS, &mut slot(&last.protected));
        assert_eq!(dead, Verdict::Drop(DropReason::BadTag));
    }
}

#[test]
fn what_comes_under_the_old_key_moves_no_latch() {
    for flow in flows("two_keys_alive") {
        let mut call = call(&flow.keys[0]);
        heard(&mut call, &flow.packets[0]);
        call.connect(&with_key(&flow.keys[1]), &carrier_stream());
        heard(&mut call, &flow.packets[2]);
        let mut late = slot(&flow.packets[3].protected);
        let verdict = call.comes(Side::A, "203.0.113.66:6666", &mut late);
        assert_eq!(verdict, forward_to(Side::B, CARRIER), "it is authentic");
        let mut back = crate::wire::rtp(5, 1, 1);
        let verdict = call.forward.packet(
            call.now(),
            Side::B,
            media::Component::Rtp,
            addr(CARRIER),
            &mut back,
        );
        assert_eq!(verdict, forward_to(Side::A, TEAMS));
    }
}

#[test]
fn a_carrier_that_restarts_its_sequence_is_sent_on_under_another_ssrc() {
    for flow in flows("restart_of_a_carrier") {
        let mut sender = Sender::new(&flow.keys[0], 0xcafe_0000);
        let (running, anew) = flow.packets.split_at(3);
        for packet in running {
            sends(&mut sender, &flow, packet);
        }
        // The same source, from 500 on: three in a row are refused before it is believed.
        let from_7 = |packet: &Packet, sequence: u16| {
            let mut octets = packet.plain.clone();
            octets[2..4].copy_from_slice(&sequence.to_be_bytes());
            octets[8..12].copy_from_slice(&7u32.to_be_bytes());
            slot(&octets)
        };
        for sequence in 500..503 {
            let refused = sender.protect(&mut from_7(&anew[0], sequence));
            assert_eq!(refused, Err(DropReason::Replay));
        }
        for (packet, sequence) in anew.iter().zip(503..) {
            let mut sent = from_7(packet, sequence);
            sender.protect(&mut sent).unwrap();
            assert_eq!(sent.packet(), packet.protected);
        }
    }
}
