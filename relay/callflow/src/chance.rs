//! Flows by chance: calls, holds, faults of the network and misbehaving far sides, all from a seed.

use crate::chance_rules;
use crate::dice::Dice;
use crate::met::Met;
use crate::mischief;
use crate::plan::{ANNA, BORIS, BT, COLT, CONTOSO, ELSEWHERE, FABRIKAM, PSTN, TEAMS, TERMS};
use crate::{Who, World, ms, secs};
use b2bua::Plan;
use b2bua::accounts::{Account, Secret};
use b2bua::hook::{Failure, RouteAnswer, RouteQuestion};
use b2bua::plan::{
    Breaker, Ceiling, Class, Fallback, HoldPolicy, Hook, Limits, Reliable, RouteFrom,
    TransferPolicy,
};
use emulate::{Abilities, Behaviour, CallId, Challenges, Dial, Progress, Reliability, Script};
use sip_core::auth::{Algorithm, Asker, User};
use sip_core::usage::session_timer::Terms;
use std::sync::Arc;
use std::time::Duration;

/// Where calls begin and end.
const PLACES: [Who; 3] = [Who::Sip, Who::Colt, Who::Bt];
/// No flow makes more calls than this at one place.
const CALLS_MAX: u64 = 24;
/// Who we are to a carrier that asks.
const ACCOUNT: (&str, &str) = ("trunk-7", "s3cret");
/// What a routing hook may take; some take longer.
const HOOK_TIMEOUT: Duration = ms(500);
/// Sessions as short as they may be.
const SHORT: Terms = Terms { interval_s: 90, min_s: 90 };

/// What came of a flow.
#[derive(Debug, Default)]
pub struct Played {
    /// The causes in its records.
    pub causes: Vec<String>,
    /// What it has met.
    pub met: Met,
}

impl Dice {
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

    /// What a carrier does beyond plain calls. Every third does nothing.
    fn abilities(&mut self, known: bool) -> Abilities {
        if self.once_in(3) {
            return Abilities::default();
        }
        Abilities {
            reliable: match self.below(8) {
                0 => Reliability::Required,
                1 | 2 => Reliability::Off,
                _ => Reliability::Supported,
            },
            offerless: self.once_in(4),
            update: !self.once_in(3),
            session: match self.below(6) {
                0 => Some(TERMS),
                1 => Some(SHORT),
                2 => Some(Terms { interval_s: 60, min_s: 60 }),
                3 => Some(Terms { interval_s: 2400, min_s: 400 }),
                _ => None,
            },
            challenges: self.once_in(4).then(|| self.challenges(known)),
            redirect: self.once_in(5).then(|| ELSEWHERE.to_owned()),
            glares: self.of(&[0, 1, 4]),
            puts_off: self.of(&[0, 1, 4]),
        }
    }

    fn challenges(&mut self, known: bool) -> Challenges {
        let (weak, strong) = (Algorithm::Md5, Algorithm::Sha256);
        let (name, secret) = ACCOUNT;
        Challenges {
            asker: self.of(&[Asker::Server, Asker::Proxy]),
            algorithms: self.of(&[&[weak][..], &[strong], &[weak, strong]]).to_vec(),
            user: User { name: name.into(), secret: Secret::new(secret) },
            // Who cannot answer cannot hang up either.
            within: known && self.once_in(2),
        }
    }

    /// What a routing hook says, and how soon.
    fn hook(&mut self, question: &RouteQuestion) -> Option<(Duration, RouteAnswer)> {
        let names: &[&[&str]] = match question.from {
            RouteFrom::Teams => &[&["colt"], &["bt"], &["bt", "colt"], &["teams"], &[]],
            RouteFrom::Carrier => &[&["teams"], &["teams"], &["colt"], &["nobody"]],
        };
        let answer = match self.below(8) {
            0 => return None,
            1 => RouteAnswer::Table,
            2 => RouteAnswer::Failed(Failure::Unavailable, "502".into()),
            3 => RouteAnswer::Reject { status: self.of(&[403, 486, 200]), reason: "no".into() },
            _ => RouteAnswer::Route {
                to: self.of(names).iter().map(|name| (*name).to_owned()).collect(),
                called: self.once_in(4).then(|| question.called.clone()),
                caller: self.once_in(4).then(|| self.of(&[ANNA, BORIS, PSTN]).to_owned()),
            },
        };
        Some((ms(u64::from(self.below(700))), answer))
    }

    /// Changes what the operator may choose; `known` says where we have an account.
    fn vary(&mut self, plan: &mut Plan, known: [bool; 2]) {
        for (trunk, known) in [COLT, BT].into_iter().zip(known) {
            let reliable = match self.below(12) {
                0 => Reliable::Required,
                1 => Reliable::Off,
                _ => Reliable::Supported,
            };
            let follow_redirects = self.once_in(2);
            let session_timer = self.of(&[None, Some(TERMS), Some(SHORT)]);
            let transfer = self.of(&[TransferPolicy::Refer, TransferPolicy::None]);
            let Some(trunk) = plan.trunks.get_mut(trunk) else { continue };
            trunk.reliable = reliable;
            trunk.transfer = transfer;
            trunk.follow_redirects = follow_redirects;
            trunk.session_timer = session_timer;
            let (user, secret) = (ACCOUNT.0.to_owned(), Secret::new(ACCOUNT.1));
            trunk.accounts.ours = known.then(|| Arc::new(Account { user, secret, realm: None }));
        }
        if let Some(teams) = plan.trunks.get_mut(TEAMS) {
            teams.session_timer = self.of(&[None, Some(TERMS), Some(SHORT)]);
        }
        for tenant in plan.tenants.iter_mut() {
            tenant.transfer =
                self.of(&[TransferPolicy::Refer, TransferPolicy::Refer, TransferPolicy::None]);
            tenant.hold = self.of(&[HoldPolicy::Inactive, HoldPolicy::Absorb]);
            tenant.hook = self.once_in(6).then(|| {
                let fallback = self.of(&[Fallback::Table, Fallback::Table, Fallback::Refuse]);
                Arc::new(Hook { timeout: HOOK_TIMEOUT, fallback, ..Hook::default() })
            });
        }
    }
}

impl Dice {
    /// Bounds and what is done about targets that fail, in every third flow.
    fn bound(&mut self, plan: &mut Plan) {
        if !self.once_in(3) {
            return;
        }
        for trunk in &mut plan.trunks {
            trunk.breaker = self.once_in(2).then(|| Breaker {
                failures: 1 + self.below(3),
                pause: secs(u64::from(1 + self.below(5))),
            });
            trunk.failover =
                self.once_in(3).then(|| [408, 480, 486, 500, 503].into_iter().collect());
            trunk.answer_timeout = self.once_in(3).then(|| ms(500 + u64::from(self.below(4000))));
            (trunk.limits, trunk.limits_in, trunk.limits_out) =
                (self.limits(), self.limits(), self.limits());
        }
        for tenant in plan.tenants.iter_mut() {
            tenant.suspended = self.once_in(12);
            tenant.limits_from_teams = self.limits();
            tenant.limits_from_carrier = self.limits();
            let bound = 1 + self.below(5);
            let prefixes = ["+4989"].into_iter().collect();
            let class = Class { name: "munich".into(), outside: None, prefixes };
            let of = |dice: &mut Self| dice.once_in(2).then_some(bound);
            tenant.fraud = vec![Ceiling {
                class: Arc::new(class),
                calls_per_hour: of(self),
                minutes_per_hour: of(self),
                alarm_at: 0.8,
                ..Ceiling::default()
            }];
        }
    }

    fn limits(&mut self) -> Limits {
        Limits {
            calls: self.once_in(4).then(|| 1 + self.below(4)),
            calls_per_second: self.once_in(4).then(|| 1 + self.below(4)),
            burst: self.once_in(4).then(|| 1 + self.below(8)),
        }
    }
}

/// Plays the flow of this seed to its end and checks the laws; what came of it.
///
/// # Panics
/// If a law is broken; the ladder is printed.
pub fn play(seed: u64) -> Played {
    let mut dice = Dice::new(seed);
    let known = [!dice.once_in(4), !dice.once_in(4)];
    // Dice of their own, so that seeds of before play the same calls.
    let mut bounds = Dice::new(seed.wrapping_add(0x0067_7561_7264));
    let mut rules = Dice::new(seed.wrapping_add(0x7275_6c65));
    let mut world = World::with(seed, |plan| {
        dice.vary(plan, known);
        bounds.bound(plan);
        chance_rules::vary(&mut rules, plan);
    });
    let mut says = Dice::new(seed.wrapping_add(0x686f_6f6b));
    world.hook = Some(Box::new(move |question| says.hook(question)));
    let teams = dice.script();
    let mut carriers = known.map(|known| (dice.script(), dice.abilities(known))).into_iter();
    world.emulate_with(teams, |carrier| {
        if let Some((script, abilities)) = carriers.next() {
            (carrier.script, carrier.abilities) = (script, abilities);
        }
    });
    world.network.loss = f64::from(dice.below(15)) / 100.0;
    world.network.duplication = f64::from(dice.below(15)) / 100.0;
    world.network.disorder = f64::from(dice.below(20)) / 100.0;
    // Most flows have decent far sides, so that what goes wrong there is the network's doing.
    let misbehaves = dice.below(3) == 0;
    let mut met = Met::default();
    for _ in 0..4 + dice.below(8) {
        act(&mut world, &mut dice, &mut met, known);
        world.run_for(ms(u64::from(dice.below(1200))));
        if misbehaves {
            mischief::play(&mut world, &mut dice);
        }
    }
    end(&mut world, &mut dice, &mut met);
    met.read(world.steps());
    for _ in &world.questions {
        met.count("hook asked");
    }
    Played { causes: world.records.iter().map(|record| record.cause.clone()).collect(), met }
}

/// A Teams user, as Microsoft names it (fixture F-14).
const CLARA: &str = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;\
                     x-m=8:orgid:6b65a6a4-8b81-48f6-b38a-088ca65ed389";

/// Transfers one of the calls at this place, or takes its place.
fn transfer(world: &mut World, dice: &mut Dice, who: Who) {
    let first = u64::from(dice.below(6));
    let (tenant, number) = dice.of(&[(CONTOSO, ANNA), (FABRIKAM, BORIS)]);
    let to = match (who.is_teams(), dice.below(3)) {
        (true, 0) => format!("sip:{PSTN}@{tenant}:5061;user=phone;transport=tls"),
        (true, _) => CLARA.to_owned(),
        (false, _) => format!("sip:{number}@{}", who.ours().ip()),
    };
    let consulted = dice.once_in(2).then_some(CallId(1 + first));
    let replaces = dice.once_in(2);
    for call in (0..6).map(|next| CallId(1 + (first + next) % 6)) {
        let place = Dial {
            tenant: tenant.to_owned(),
            from: number.to_owned(),
            to: if who.is_teams() { PSTN } else { number }.to_owned(),
            replaces: Some(call),
            ..Dial::default()
        };
        let done = world.act(who, |agent, now| match replaces {
            true => agent.call(now, &place).is_ok(),
            false => agent.transfer(now, call, &to, consulted.filter(|other| *other != call)),
        });
        if done {
            return;
        }
    }
}

/// Lets some calls stand for a while, then ends all.
fn end(world: &mut World, dice: &mut Dice, met: &mut Met) {
    if dice.once_in(25) {
        met.count("long calls");
        world.run_for(secs(u64::from(45 + dice.below(60))));
    }
    if dice.once_in(20) {
        met.count("shutdown");
        world.shut_down();
        world.run_for(ms(u64::from(dice.below(12_000))));
    }
    world.media_refuses = false;
    hang_up_all(world, dice);
    // What rang nowhere by then, or answered late, is over when the world is at rest.
    world.run_for(secs(4));
    hang_up_all(world, dice);
    world.run_for(secs(40));
}

fn hang_up_all(world: &mut World, dice: &mut Dice) {
    // Every second time the two ends of a call hang up at once.
    let crosses = dice.once_in(2);
    for who in PLACES {
        for call in 1..=CALLS_MAX {
            world.act(who, |agent, now| agent.hang_up(now, CallId(call)));
        }
        if !crosses {
            world.run_for(ms(u64::from(dice.below(300))));
        }
    }
}

/// Changes one of the calls that stand at this place.
fn change(world: &mut World, dice: &mut Dice, who: Who) {
    let (wish, first) = (dice.below(3), u64::from(dice.below(6)));
    for call in (0..6).map(|next| CallId(1 + (first + next) % 6)) {
        let changed = world.act(who, |agent, now| match wish {
            0 => agent.hold(now, call),
            1 => agent.resume(now, call),
            _ => agent.refresh(now, call),
        });
        if changed {
            return;
        }
    }
}

fn act(world: &mut World, dice: &mut Dice, met: &mut Met, known: [bool; 2]) {
    let who = dice.of(&PLACES);
    let call = CallId(u64::from(1 + dice.below(3)));
    match dice.below(27) {
        0..=5 => {
            let (tenant, from) = dice.of(&[(CONTOSO, ANNA), (FABRIKAM, BORIS)]);
            world.teams_dials(tenant, from, PSTN);
        }
        6..=11 => {
            let (carrier, to) = (dice.of(&[Who::Colt, Who::Bt]), dice.of(&[ANNA, BORIS]));
            world.carrier_dials(carrier, PSTN, to);
        }
        12..=17 => change(world, dice, who),
        18 | 19 => world.act(who, |agent, now| agent.hang_up(now, call)),
        24..=26 => transfer(world, dice, who),
        // Both ends want something of their calls at once.
        20 => {
            for who in PLACES {
                world.act(who, |agent, now| agent.hold(now, call));
            }
        }
        21 => {
            met.count("reload");
            world.replan(|plan| dice.vary(plan, known));
        }
        22 if dice.once_in(3) => {
            met.count("media refused");
            world.media_refuses = !world.media_refuses;
        }
        _ => {
            met.count("connection dropped");
            world.drop_connections(dice.of(&[Who::Sip, Who::Sip2]));
        }
    }
}
