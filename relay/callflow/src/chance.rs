//! Flows by chance: calls, holds, faults of the network and misbehaving far sides, all from a seed.

use crate::mischief;
use crate::plan::{ANNA, BORIS, CONTOSO, FABRIKAM, PSTN};
use crate::{Who, World, ms, secs};
use emulate::{Behaviour, CallId, Progress, Script};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Where calls begin and end.
const PLACES: [Who; 3] = [Who::Sip, Who::Colt, Who::Bt];
/// No flow makes more calls than this at one place.
const CALLS_MAX: u64 = 12;

/// Choices from a seed.
pub struct Dice(ChaCha20Rng);

impl Dice {
    /// The dice of this seed.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound.max(1)
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
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

/// Plays the flow of this seed to its end and checks the laws; the causes in its records.
///
/// # Panics
/// If a law is broken; the ladder is printed.
pub fn play(seed: u64) -> Vec<String> {
    let mut dice = Dice::new(seed);
    let mut world = World::new(seed);
    let scripts = (dice.script(), dice.script());
    world.emulate(scripts.0, scripts.1);
    world.network.loss = f64::from(dice.below(15)) / 100.0;
    world.network.duplication = f64::from(dice.below(15)) / 100.0;
    world.network.disorder = f64::from(dice.below(20)) / 100.0;
    // Most flows have decent far sides, so that what goes wrong there is the network's doing.
    let misbehaves = dice.below(3) == 0;
    for _ in 0..4 + dice.below(8) {
        act(&mut world, &mut dice);
        world.run_for(ms(u64::from(dice.below(1200))));
        if misbehaves {
            mischief::play(&mut world, &mut dice);
        }
    }
    hang_up_all(&mut world, &mut dice);
    // What rang nowhere by then, or answered late, is over when the world is at rest.
    world.run_for(secs(4));
    hang_up_all(&mut world, &mut dice);
    world.run_for(secs(40));
    world.records.iter().map(|record| record.cause.clone()).collect()
}

fn hang_up_all(world: &mut World, dice: &mut Dice) {
    for who in PLACES {
        for call in 1..=CALLS_MAX {
            world.act(who, |agent, now| agent.hang_up(now, CallId(call)));
        }
        world.run_for(ms(u64::from(dice.below(300))));
    }
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
