//! Many calls over a network that loses, repeats and delays: each ends once, and nothing is left.

use super::network::{Fate, Network, Side, Wire};
use super::{ack, answer, ms, text};
use crate::transaction::{Event, GIVE_UP};

/// A linear congruential generator (Knuth's MMIX constants): the same calls in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }
}

const LABELS: [&str; 10] = [
    "INVITE",
    "100 INVITE",
    "180 INVITE",
    "200 INVITE",
    "486 INVITE",
    "487 INVITE",
    "ACK",
    "CANCEL",
    "200 CANCEL",
    "481 CANCEL",
];

/// Bob's part: he rings, then accepts or refuses, and obeys CANCEL.
fn play_bob(net: &mut Network, dice: &mut Dice, open: &mut Option<crate::message::Request>) {
    for event in net.events(Side::Bob) {
        match event {
            Event::Request { server, request, .. } => {
                assert!(open.is_none(), "one request came twice");
                net.respond(server, answer(&request, 180));
                if dice.roll(3) > 0 {
                    let status = [200, 486][dice.roll(2) as usize];
                    net.respond(server, answer(&request, status));
                }
                *open = Some(request);
            }
            Event::Cancel { server, .. } => {
                if let Some(request) = open {
                    net.respond(server, answer(request, 487));
                }
            }
            Event::Ack { .. } | Event::AckMissing { .. } => {}
            other => panic!("not for Bob: {other:?}"),
        }
    }
}

#[test]
fn calls_over_a_bad_network_end_once_and_leave_nothing() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut net = Network::new(Wire::Udp);
        for _ in 0..8 {
            let fate = match dice.roll(3) {
                0 => Fate::Lost,
                1 => Fate::Twice,
                _ => Fate::Late(ms(dice.roll(1_500))),
            };
            let label = LABELS[dice.roll(LABELS.len() as u64) as usize];
            net.fate(1 + dice.roll(3) as usize, label, fate);
        }
        let id = net.request(&text("INVITE", "z9hG4bKchaos"));
        let (mut open, mut ends) = (None, 0);
        for step in 0..400 {
            net.run_for(ms(200));
            play_bob(&mut net, &mut dice, &mut open);
            for event in net.events(Side::Alice) {
                match event {
                    Event::Response { response, .. } if response.status >= 200 => {
                        ends += 1;
                        if response.status == 200 {
                            net.acknowledge(id, &ack("b1"));
                        }
                    }
                    Event::Response { .. } => {}
                    Event::Timeout { .. } => ends += 1,
                    other => panic!("not for Alice: {other:?}"),
                }
            }
            if step == 20 {
                net.cancel(id, None);
            }
        }
        assert_eq!(ends, 1, "seed {seed}");
        net.run_for(GIVE_UP);
        net.finish();
    }
}
