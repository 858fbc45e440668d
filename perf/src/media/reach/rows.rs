//! How each group of rows is measured and judged.

use super::super::capacity;
use super::super::measured::{Measured, Spread, median};
use super::super::order::{Datapath, Hook, Legs, Relay};
use super::super::{Failure, Loop, MAX_CALLS, Plan, measure, one};
use super::Name;
use super::report::{Bound, Goal, Group, Looked};
use crate::sip;

/// Measures the rows of one group.
pub(super) struct Judge<'p> {
    plan: &'p Plan,
    pub(super) group: Group,
}

/// About how long a group takes.
pub(super) fn seconds(name: Name, plan: &Plan) -> u32 {
    let (open, rounds, certain) = (plan.seconds + 3, plan.rounds, certain(plan));
    match name {
        Name::Cost => 6 * CLOSED_SECONDS * certain,
        Name::CostOpen => 5 * open * rounds,
        Name::Many => 4 * CLOSED_SECONDS * certain,
        Name::Offload => 5 * OFFLOADED_SECONDS * certain,
        Name::OffloadOpen => 4 * (open + OFFLOADED_SECONDS) * rounds,
        Name::OffloadMany => 4 * OFFLOADED_SECONDS * certain,
        Name::Capacity => 4 * 12 * open,
        Name::Memory => 3 * (open + 2),
        Name::Scaling => 8 * CLOSED_SECONDS * certain,
        Name::Workers => 10 * CLOSED_SECONDS * rounds,
        Name::Load => 5 * LOADS.len() as u32 * open,
        Name::Sip => 3 * 10 * rounds,
    }
}

/// Rounds of the closed loop, in which none takes long: of what has to be known best.
fn certain(plan: &Plan) -> u32 {
    plan.rounds + 2
}

impl<'p> Judge<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self { plan, group: Group::default() }
    }

    pub(super) fn look(&mut self, name: Name) -> Result<(), Failure> {
        match name {
            Name::Cost => self.cost(FEW, Loop::Closed),
            Name::CostOpen => self.cost(FEW, Loop::Open),
            Name::Many => self.cost(MANY_IN_USE, Loop::Closed),
            Name::Offload => self.offload(FEW, Loop::Closed),
            Name::OffloadOpen => self.offload(FEW, Loop::Open),
            Name::OffloadMany => self.offload(MANY_IN_USE, Loop::Closed),
            Name::Capacity => self.capacity(),
            Name::Memory => self.memory(),
            Name::Scaling => self.scaling(),
            Name::Workers => self.workers(),
            Name::Load => self.load(),
            Name::Sip => self.sip(),
        }
    }

    /// The engines in user space, RTP to SRTP.
    fn cost(&mut self, calls: u16, pace: Loop) -> Result<(), Failure> {
        let plan = self.paced(pace);
        let mut judged = vec![
            (Relay::ours(Datapath::Portable), 1.1, None),
            (Relay::ours(Datapath::Steer), 0.5, None),
            (Relay::ours(Datapath::Xdp), 0.3, Some(6.0)),
        ];
        if calls != FEW {
            // The others have no goal there.
            judged.remove(0);
        }
        self.beside(&plan, calls, &judged)
    }

    /// The kernel sends packets on, RTP to RTP.
    fn offload(&mut self, calls: u16, pace: Loop) -> Result<(), Failure> {
        let plan = Plan { legs: Legs::RtpRtp, ..self.paced(pace) };
        let judged = [
            (Relay::offloaded(Datapath::Xdp, Hook::Xdp), 0.08, Some(20.0)),
            (Relay::offloaded(Datapath::Portable, Hook::Tc), 0.2, Some(20.0)),
        ];
        self.beside(&plan, calls, &judged)
    }

    fn paced(&self, pace: Loop) -> Plan {
        let rounds = if pace == Loop::Closed { certain(self.plan) } else { self.plan.rounds };
        Plan { pace, rounds, ..self.plan.clone() }
    }

    /// In turn with the floor, of whose cost each is to be at most a part; at few calls also with rtpengine,
    /// than which some are to be so many times cheaper.
    fn beside(
        &mut self,
        plan: &Plan,
        calls: u16,
        judged: &[(Relay, f64, Option<f64>)],
    ) -> Result<(), Failure> {
        let mut relays = vec![Relay::Floor];
        if calls == FEW {
            relays.push(Relay::Rtpengine);
        }
        relays.extend(judged.iter().map(|&(relay, ..)| relay));
        let pace = if plan.pace == Loop::Closed { "closed loop" } else { "open loop" };
        let what = format!("{}, {calls} calls, {pace}", plan.legs.name());
        let row = measure(plan, &relays, calls)?;
        for &(relay, most, times) in judged {
            let name = relay.name();
            // Where it has no goal at so many calls, it is stated.
            let is_goal = calls == FEW || most < 0.5;
            let bound = is_goal.then_some(Bound::AtMost(most));
            let what = format!("{name}, {what}");
            let spread = |of: Option<&Spread>| of.copied().unwrap_or(Spread::NONE);
            let us = |of: &str| spread(row.cost_us.get(of)).median;
            let found = spread(row.to_floor.get(&name));
            let of = format!("{:.2} us beside {:.2}", us(&name), us("floor"));
            self.group.goals.push(Goal::new(&what, bound, "of the floor's cost", found).from(of));
            if calls == FEW {
                let found = spread(row.to_rtpengine.get(&name)).inverse();
                let of = format!("{:.2} us beside {:.2}", us(&name), us("rtpengine"));
                let (bound, unit) = (times.map(Bound::AtLeast), "times cheaper than rtpengine");
                self.group.goals.push(Goal::new(&what, bound, unit, found).from(of));
            }
        }
        if !row.left_out.is_empty() {
            self.group.left_open = Some(row.left_out.join("; "));
        }
        self.group.rows.push(Looked { what, row });
        Ok(())
    }

    fn capacity(&mut self) -> Result<(), Failure> {
        let engines = [Datapath::Portable, Datapath::Steer, Datapath::Xdp].map(Relay::ours);
        let relays = [&[Relay::Rtpengine][..], &engines].concat();
        let found = capacity::of(self.plan, &relays, FROM, MAX_CALLS as u16, EXACTLY)?;
        let (theirs, ours) = found.split_first().ok_or("nobody was asked")?;
        let mut halves = Vec::new();
        for (capacity, &relay) in ours.iter().zip(&engines) {
            let times = f64::from(capacity.calls) / f64::from(theirs.calls.max(1));
            let what = format!("{}, rtp-srtp, calls on one core", capacity.relay);
            let of = format!(
                "{}{} beside {}; but for what the lab lost {} beside {}; a core is full at {:.0} beside {:.0}",
                if capacity.at_least { "at least " } else { "" },
                capacity.calls,
                theirs.calls,
                capacity.calls_but_for_the_lab,
                theirs.calls_but_for_the_lab,
                capacity.by_cost,
                theirs.by_cost,
            );
            // What is asked of the fastest.
            let bound = (relay == Relay::ours(Datapath::Xdp)).then_some(Bound::AtLeast(8.0));
            let goal = Goal::new(what, bound, "times rtpengine's", Spread::one(times));
            self.group.goals.push(goal.from(of));
            halves.push((relay, (capacity.calls_but_for_the_lab / 2).max(1)));
        }
        self.group.capacities = found;
        for (relay, half) in halves {
            let rounds = (0..self.plan.rounds).map(|_| one(self.plan, relay, half));
            let rounds = rounds.collect::<Result<Vec<Measured>, Failure>>()?;
            let of = |at: fn(&Measured) -> f64| median(rounds.iter().map(at).collect());
            let what = format!("{}, added latency at {half} calls, half of them", relay.name());
            let held_up = of(|run| run.held_up_ms);
            let held_up = format!("held up by the machine for {:.1} ms at most", held_up.high);
            for (which, most, found) in [
                ("p50", 0.6, of(|run| run.latency_us.p50 / 1e3)),
                ("p99", 2.0, of(|run| run.latency_us.p99 / 1e3)),
            ] {
                let goal = Goal::new(format!("{what}, {which}"), Bound::AtMost(most), "ms", found);
                self.group.goals.push(goal.from(held_up.clone()));
            }
        }
        Ok(())
    }

    fn memory(&mut self) -> Result<(), Failure> {
        for (engine, calls) in MOST {
            let plan = Plan { seconds: 1, ..self.plan.clone() };
            let run = one(&plan, Relay::ours(engine), calls)?;
            let legs = 2.0 * f64::from(calls);
            let grown = run.resident.saturating_sub(run.resident_before) as f64;
            let what = format!("{}, rtp-srtp, memory per leg at {calls} calls", engine.name());
            let of = format!("resident: {:.1} MB more than before the first call", grown / 1e6);
            let found = Spread::one(grown / legs / 1e3);
            self.group.goals.push(Goal::new(what, Bound::AtMost(4.0), "kB", found).from(of));
        }
        Ok(())
    }

    /// Cost per packet at many calls beside that at few, the batch being the same.
    fn scaling(&mut self) -> Result<(), Failure> {
        let plan = self.paced(Loop::Closed);
        let mut costs = [[(); 2]; 3].map(|pair| pair.map(|()| Vec::new()));
        for _ in 0..plan.rounds {
            let nothing = [FEW, MOST_CALLS].map(|calls| one(&plan, Relay::Nothing, calls));
            let [few, many] = nothing;
            let nothing = [few?.cpu_us_per_packet, many?.cpu_us_per_packet];
            for ((engine, many), costs) in MOST.into_iter().zip(&mut costs) {
                for ((calls, nothing), costs) in [FEW, many].into_iter().zip(nothing).zip(costs) {
                    let ours = one(&plan, Relay::ours(engine), calls)?;
                    costs.push(ours.cpu_us_per_packet - nothing);
                }
            }
        }
        for ((engine, many), [at_few, at_many]) in MOST.into_iter().zip(costs) {
            let ratios = at_many.iter().zip(&at_few).map(|(many, few)| many / few).collect();
            let what = format!("{}, rtp-srtp, {many} calls beside {FEW}", engine.name());
            let of =
                format!("{:.2} us beside {:.2}", median(at_many).median, median(at_few).median);
            let found = median(ratios);
            self.group
                .goals
                .push(Goal::new(what, Bound::AtMost(1.25), "of the cost", found).from(of));
        }
        Ok(())
    }

    /// Two workers on two processors, each with a sender of its own, beside one on one with as many calls as
    /// either. What two of them do to each other without a word (caches, memory, the same core's two threads)
    /// they do to the floor as well, whose threads share nothing: that is taken off.
    fn workers(&mut self) -> Result<(), Failure> {
        let alone = Plan { pace: Loop::Closed, ..self.plan.clone() };
        let both = Plan { workers: 2, packets: 2 * alone.packets, ..alone.clone() };
        let engines = [Datapath::Portable, Datapath::Steer, Datapath::Xdp].map(Relay::ours);
        let relays = [&[Relay::Floor][..], &engines].concat();
        let mut costs: Vec<[Vec<f64>; 2]> = vec![Default::default(); relays.len()];
        for _ in 0..self.plan.rounds {
            for (at, (plan, calls)) in [(&alone, FEW), (&both, 2 * FEW)].into_iter().enumerate() {
                let nothing = one(plan, Relay::Nothing, calls)?.cpu_us_per_packet;
                for (&relay, costs) in relays.iter().zip(&mut costs) {
                    costs[at].push(one(plan, relay, calls)?.cpu_us_per_packet - nothing);
                }
            }
        }
        let ratios: Vec<Vec<f64>> = costs
            .iter()
            .map(|[alone, both]| both.iter().zip(alone).map(|(both, alone)| both / alone).collect())
            .collect();
        for ((relay, costs), own) in relays.iter().zip(&costs).zip(&ratios) {
            let [alone, both] = costs.clone().map(|costs| median(costs).median);
            let of = format!("{both:.2} us beside {alone:.2}");
            if *relay == Relay::Floor {
                let what = format!("floor, two threads on two processors, {FEW} calls each");
                let unit = "of the cost of one";
                self.group.goals.push(Goal::new(what, None, unit, median(own.clone())).from(of));
                continue;
            }
            let what = format!("{}, two workers on two processors, {FEW} calls each", relay.name());
            let found = own.iter().zip(&ratios[0]).map(|(own, floors)| own / floors).collect();
            let unit = "of the cost of one, the floor's taken off";
            let goal = Goal::new(what, Bound::AtMost(1.25), unit, median(found));
            self.group.goals.push(goal.from(of));
        }
        Ok(())
    }

    /// What the picture shows.
    fn load(&mut self) -> Result<(), Failure> {
        let plan = Plan { rounds: 1, ..self.plan.clone() };
        let engines = [Datapath::Portable, Datapath::Steer, Datapath::Xdp].map(Relay::ours);
        let relays = [&[Relay::Floor, Relay::Rtpengine][..], &engines].concat();
        for calls in LOADS {
            let row = measure(&plan, &relays, calls)?;
            let what = format!("rtp-srtp, {calls} calls, open loop");
            self.group.rows.push(Looked { what, row });
        }
        Ok(())
    }

    fn sip(&mut self) -> Result<(), Failure> {
        let report = sip::run(&sip::Plan::beside_kamailio(self.plan.rounds))?;
        for (way, most) in [("UDP to UDP", 0.7), ("UDP to TLS", 0.9)] {
            let ratio = report.ratio(way).map_or(Spread::NONE, Spread::one);
            let what = format!("calls, {way}, 1,000 a second");
            let of = "median of the rounds".to_owned();
            let unit = "of Kamailio's CPU per call";
            self.group.goals.push(Goal::new(what, Bound::AtMost(most), unit, ratio).from(of));
        }
        Ok(())
    }
}

const FEW: u16 = 500;
const MANY_IN_USE: u16 = 2000;
const MOST_CALLS: u16 = 5000;
/// With a socket for each of four ports, portable has as many as the usual limit of 20,000 descriptors lets be.
const MOST: [(Datapath, u16); 3] =
    [(Datapath::Portable, 4900), (Datapath::Steer, MOST_CALLS), (Datapath::Xdp, MOST_CALLS)];
const LOADS: [u16; 5] = [100, 200, 500, 1000, 2000];
/// What one run of the closed loop takes, set-up included; and one in which flows leave for the kernel first.
const CLOSED_SECONDS: u32 = 3;
const OFFLOADED_SECONDS: u32 = 5;
/// Where the search for capacities begins, and how exactly it ends: to a tenth.
const FROM: u16 = 400;
const EXACTLY: u16 = 10;
