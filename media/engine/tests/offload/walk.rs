//! Whatever happens to a call in whatever order: each packet crosses once, and each is counted once.

use crate::lab::{Lab, labs};
use crate::rig::{PATIENCE, far_side, id, rtcp, rtp, stream};
use media::{Carriage, Side, Terms};
use sdp::{Direction, Payload, Stream};
use std::time::Instant;

struct Walk {
    lab: Lab,
    state: u32,
    /// Packets of either side since the call began.
    said: [u64; 2],
    /// Those of them that came during a hold.
    held: [u64; 2],
}

fn with_keys(stream: Stream) -> Stream {
    let event = Payload {
        number: 101,
        encoding: "telephone-event".into(),
        clock_hz: 8000,
        channels: 1,
        fmtp: None,
    };
    let payloads = [&stream.payloads[..], std::slice::from_ref(&event)].concat();
    Stream { payloads, ..stream }
}

impl Walk {
    fn random(&mut self, below: u32) -> u32 {
        // xorshift (Marsaglia, 2003).
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state % below
    }

    fn connect(&mut self, direction: Direction) {
        let leg = |socket| {
            let stream = Stream { direction, ..with_keys(stream(socket, socket)) };
            Some(Carriage { stream, terms: Terms::default() })
        };
        let (a, b) = (leg(&self.lab.a), leg(&self.lab.b));
        self.lab.rig.engine.connect(id(0), 0, a, b).unwrap();
        self.lab.rig.stats(0);
    }

    fn number(&mut self, side: Side) -> u16 {
        self.said[side as usize] += 1;
        let next = &mut self.lab.next[side as usize];
        *next = next.wrapping_add(1);
        next.wrapping_sub(1)
    }

    /// The next packet that is one of RTCP, or none; reports of ours may come at any time.
    fn hears(&self, side: Side, of_rtcp: bool) -> Vec<u8> {
        loop {
            let packet = self.lab.hears(side);
            if (200..208).contains(&packet[1]) == of_rtcp {
                return packet;
            }
        }
    }

    fn speak(&mut self, side: Side) {
        let number = self.number(side);
        let packet = rtp(side as u32 + 1, number);
        self.lab.says(side, &packet);
        assert_eq!(self.hears(side.other(), false), packet, "{:?}", self.lab.way);
    }

    fn press(&mut self, side: Side) {
        let timestamp = u32::from(self.lab.next[side as usize]) * 160;
        for n in 0..6 {
            let number = self.number(side);
            let mut packet = rtp(side as u32 + 1, number);
            packet[1] = 101;
            packet.truncate(12);
            packet.extend([5, if n > 2 { 0x8a } else { 10 }, 0, 160]);
            packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
            self.lab.says(side, &packet);
            assert_eq!(self.hears(side.other(), false), packet);
        }
    }

    fn stranger(&mut self, side: Side) {
        let there = self.lab.theirs.as_ref().unwrap_or(&self.lab.ours);
        let at = self.lab.far(side).local_addr().unwrap().ip();
        let stranger = there.run(move || far_side(at));
        for n in 0..20 {
            let packet = rtp(side as u32 + 1, self.lab.next[side as usize] + n);
            stranger.send_to(&packet, self.lab.near_of(side)).unwrap();
        }
    }

    fn step(&mut self) {
        let side = if self.random(2) == 0 { Side::A } else { Side::B };
        match self.random(10) {
            0 => self.press(side),
            1 => self.stranger(side),
            2 => {
                self.lab.says(side, &rtcp(side as u32 + 1));
                assert_eq!(self.hears(side.other(), true)[1], 200);
            }
            3 => {
                self.connect(Direction::Inactive);
                for _ in 0..5 {
                    let number = self.number(side);
                    let packet = rtp(side as u32 + 1, number);
                    self.lab.says(side, &packet);
                }
                // They came, and are no packets that were carried.
                let came = |walk: &Self| {
                    let stats = walk.lab.rig.stats(0);
                    let of = [&stats.a, &stats.b][side as usize];
                    of.expected_packets - of.lost_packets
                };
                let start = Instant::now();
                while came(self) < self.said[side as usize] {
                    assert!(start.elapsed() < PATIENCE, "they never came");
                }
                self.held[side as usize] += 5;
                self.connect(Direction::SendRecv);
            }
            4 => {
                let there = self.lab.theirs.as_ref().unwrap_or(&self.lab.ours);
                let at = self.lab.far(side).local_addr().unwrap().ip();
                let moved = there.run(move || far_side(at));
                *[&mut self.lab.a, &mut self.lab.b][side as usize] = moved;
                self.connect(Direction::SendRecv);
            }
            5 => {
                self.end();
                self.lab.again(self.state as u16 & 0x3fff);
                self.connect(Direction::SendRecv);
            }
            _ => {}
        }
        for _ in 0..self.random(60) {
            let side = if self.random(2) == 0 { Side::A } else { Side::B };
            self.speak(side);
        }
    }

    /// Everything was counted, and nothing twice; the call is still there.
    fn end(&mut self) {
        let stats = self.lab.rig.stats(0);
        for (side, stats) in [(Side::A, &stats.a), (Side::B, &stats.b)] {
            let said = self.said[side as usize] - self.held[side as usize];
            assert_eq!(stats.received_packets, said, "{:?} {side:?} {stats:?}", self.lab.way);
            assert_eq!((stats.lost_packets, stats.duplicate_packets), (0, 0), "{side:?}");
        }
        (self.said, self.held) = ([0; 2], [0; 2]);
    }
}

#[test]
fn a_packet_is_lost_or_counted_twice_by_the_order_in_which_things_happen() {
    for (seed, mut lab) in (1..).zip(labs()) {
        lab.again(1);
        let mut walk =
            Walk { lab, state: 0x9e37_79b9_u32.wrapping_mul(seed), said: [0; 2], held: [0; 2] };
        walk.connect(Direction::SendRecv);
        for _ in 0..60 {
            walk.step();
        }
        walk.end();
    }
}
