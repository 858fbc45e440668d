//! Calls by chance over a bad network: nobody knows what happens, but the laws hold.
//!
//! A failure prints its seed with the ladder; `CALLFLOW_SEED=n` plays that one alone, and
//! `CALLFLOW_FLOWS=n` plays more of them.

use callflow::plan::{ANNA, BORIS, CONTOSO, FABRIKAM, PSTN};
use callflow::{Who, World, ms, secs};
use emulate::{Behaviour, CallId, Progress, Script};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;

/// As many as a test run can wait for.
const FLOWS: u64 = 300;
const PLACES: [Who; 3] = [Who::Sip, Who::Colt, Who::Bt];

/// Choices from a seed.
struct Dice(ChaCha20Rng);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    fn script(&mut self) -> Script {
        let behaviour = match self.below(8) {
            0 => Behaviour::refuse(self.of(&[404, 480, 486, 488, 503, 504, 603])),
            1 => Behaviour::Silent,
            _ => Behaviour::Answer {
                ring_after: ms(u64::from(self.below(1000))),
                progress: self.of(&[
                    Progress::None,
                    Progress::Ringing,
                    Progress::EarlyMedia,
                    Progress::RingingThenEarlyMedia,
                    Progress::Forks,
                ]),
                answer_after: (self.below(6) > 0).then(|| ms(u64::from(self.below(3000)))),
                talk: (self.below(3) == 0).then(|| ms(u64::from(self.below(4000)))),
            },
        };
        Script::always(behaviour)
    }
}

/// Plays one flow; the causes in its records.
fn play(seed: u64) -> Vec<String> {
    let mut dice = Dice(ChaCha20Rng::seed_from_u64(seed));
    let mut world = World::new(seed);
    let scripts = (dice.script(), dice.script());
    world.emulate(scripts.0, scripts.1);
    world.network.loss = f64::from(dice.below(15)) / 100.0;
    world.network.duplication = f64::from(dice.below(15)) / 100.0;
    world.network.disorder = f64::from(dice.below(20)) / 100.0;
    for _ in 0..4 + dice.below(8) {
        act(&mut world, &mut dice);
        world.run_for(ms(u64::from(dice.below(1200))));
    }
    for who in PLACES {
        for call in 1..=12 {
            world.act(who, |agent, now| agent.hang_up(now, CallId(call)));
        }
        world.run_for(ms(u64::from(dice.below(300))));
    }
    // What rang nowhere by then, or answered late, is over when the world is at rest.
    world.run_for(secs(4));
    for who in PLACES {
        for call in 1..=12 {
            world.act(who, |agent, now| agent.hang_up(now, CallId(call)));
        }
    }
    world.run_for(secs(40));
    world.records.iter().map(|record| record.cause.clone()).collect()
}

fn act(world: &mut World, dice: &mut Dice) {
    let who = dice.of(&PLACES);
    let call = CallId(u64::from(1 + dice.below(3)));
    match dice.below(9) {
        0 | 1 => {
            let (tenant, from) = dice.of(&[(CONTOSO, ANNA), (FABRIKAM, BORIS)]);
            world.teams_dials(tenant, from, PSTN);
        }
        2 | 3 => {
            let (carrier, to) = (dice.of(&[Who::Colt, Who::Bt]), dice.of(&[ANNA, BORIS]));
            world.carrier_dials(carrier, PSTN, to);
        }
        4 => drop(world.act(who, |agent, now| agent.hold(now, call))),
        5 => drop(world.act(who, |agent, now| agent.resume(now, call))),
        6 => drop(world.act(who, |agent, now| agent.refresh(now, call))),
        7 => world.act(who, |agent, now| agent.hang_up(now, call)),
        _ => world.drop_connections(dice.of(&[Who::Sip, Who::Sip2])),
    }
}

#[test]
fn whatever_happens_the_laws_hold() {
    if let Ok(seed) = std::env::var("CALLFLOW_SEED") {
        play(seed.parse().expect("CALLFLOW_SEED is a number"));
        return;
    }
    let mut causes: BTreeMap<String, u32> = BTreeMap::new();
    let flows = std::env::var("CALLFLOW_FLOWS").ok().and_then(|flows| flows.parse().ok());
    for cause in (0..flows.unwrap_or(FLOWS)).flat_map(play) {
        *causes.entry(cause).or_default() += 1;
    }
    // Chance has met what it was to meet.
    for cause in ["caller_hangup", "callee_hangup", "cancelled", "busy", "timeout"] {
        assert!(causes.get(cause).is_some_and(|met| *met >= 10), "{cause}: {causes:?}");
    }
}
