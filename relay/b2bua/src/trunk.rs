//! A trunk's targets: whether each is up, told by the OPTIONS we send (TDR-OPT-001, TDR-FO-005).

use crate::core::{Core, Owner};
use crate::identity::{Identity, PRODUCT};
use crate::io::{Event, Hop, Output, Target, TargetView};
use crate::plan::{Plan, TargetName, TrunkKind};
use crate::timers::Timer;
use sip_core::transaction::ClientId;
use sip_core::{Method, Name, Request, Response};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// OPTIONS that go unanswered before a target counts as down (TDR-FO-005: 2 to 3).
const MISSES_MAX: u32 = 2;
/// OPTIONS are spread by this share of the interval, so that targets are not probed in step.
const JITTER_PERCENT: u32 = 10;
/// After a miss, the next OPTIONS comes this soon, so that two misses are not two minutes.
const RETRY: Duration = Duration::from_secs(5);

/// A probed target, numbered for its timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ProbeId(u64);

/// All targets that are probed.
#[derive(Debug, Default)]
pub(crate) struct Health {
    probes: BTreeMap<ProbeId, Probe>,
    next: u64,
}

#[derive(Debug)]
struct Probe {
    trunk: String,
    target: TargetName,
    /// `None` until the first answer or the second miss: new calls treat it as up.
    up: Option<bool>,
    misses: u32,
    answered: Option<Instant>,
    last: String,
    /// The OPTIONS that is out, and where it went.
    asked: Option<(ClientId, Target)>,
    /// When it is asked next; other timers of it are stale.
    due: Instant,
}

impl Health {
    /// Follows the snapshot: new targets are probed at once, others keep their state, and those
    /// that are gone are forgotten.
    pub(crate) fn follow(core: &mut Core) {
        let plan = Arc::clone(&core.plan);
        let wanted = |probe: &Probe| {
            plan.trunks.iter().any(|trunk| {
                trunk.options_interval.is_some()
                    && trunk.name == probe.trunk
                    && trunk.targets.contains(&probe.target)
            })
        };
        core.health.probes.retain(|_, probe| wanted(probe));
        for trunk in plan.trunks.iter().filter(|trunk| trunk.options_interval.is_some()) {
            for target in &trunk.targets {
                if core.health.find(&trunk.name, target).is_some() {
                    continue;
                }
                let id = ProbeId(core.health.next);
                core.health.next += 1;
                let probe = Probe {
                    trunk: trunk.name.clone(),
                    target: target.clone(),
                    up: None,
                    misses: 0,
                    answered: None,
                    last: "not asked yet".into(),
                    asked: None,
                    due: core.now.mono,
                };
                core.health.probes.insert(id, probe);
                core.arm(Duration::ZERO, Timer::Probe(id));
            }
        }
    }

    fn find(&self, trunk: &str, target: &TargetName) -> Option<&Probe> {
        self.probes.values().find(|probe| probe.trunk == trunk && probe.target == *target)
    }

    /// Whether new calls should try this target before those that are down.
    pub(crate) fn is_up(&self, trunk: &str, target: &TargetName) -> bool {
        self.find(trunk, target).is_none_or(|probe| probe.up != Some(false))
    }

    /// OPTIONS is due.
    pub(crate) fn probe(core: &mut Core, id: ProbeId) {
        if core.stopping {
            return;
        }
        let plan = Arc::clone(&core.plan);
        let Some(probe) = core.health.probes.get(&id) else { return };
        if probe.due > core.now.mono {
            return;
        }
        let Some(index) = plan.trunk_named(&probe.trunk) else { return };
        let Some(interval) = plan.trunks.get(index).and_then(|trunk| trunk.options_interval) else {
            return;
        };
        let target = probe.target.clone();
        let spread = interval * JITTER_PERCENT / 100;
        let jitter = spread.mul_f64(core.random_fraction() * 2.0);
        ask_again(core, id, core.now.mono + interval - spread + jitter);
        if probe_is_busy(core, id) {
            return;
        }
        let Some(to) = core.target(&plan, index, &target) else {
            let why = format!("{} has no address", target.host);
            return Self::missed(core, id, why);
        };
        let request = options(core, &plan, index, &target);
        let client = core.layer.request(core.now.mono, Hop::Target(to.clone()), request);
        core.clients.insert(client, Owner::Probe(id));
        if let Some(probe) = core.health.probes.get_mut(&id) {
            probe.asked = Some((client, to));
        }
    }

    /// A final response to OPTIONS.
    pub(crate) fn answered(core: &mut Core, id: ProbeId, response: &Response) {
        let plan = Arc::clone(&core.plan);
        let Some(probe) = core.health.probes.get_mut(&id) else { return };
        let mut answered_from = None;
        if let Some((_, to)) = probe.asked.take() {
            core.endpoints.heard(&to);
            answered_from = Some(to);
        }
        let teams = plan
            .trunk_named(&probe.trunk)
            .and_then(|trunk| plan.trunks.get(trunk))
            .is_none_or(|trunk| trunk.kind == TrunkKind::Teams);
        // Teams serves only with 2xx (TDR-OPT-009). Carriers answer OPTIONS as they please, 404
        // and 405 among it; what counts there is that somebody serves.
        let serves = match response.status {
            200..=299 => true,
            408 | 500..=599 => false,
            _ => !teams,
        };
        let said = format!("{} {}", response.status, String::from_utf8_lossy(&response.reason));
        if !serves {
            return Self::missed(core, id, said);
        }
        probe.last = said.clone();
        probe.misses = 0;
        probe.answered = Some(core.now.mono);
        let (trunk, target) = (probe.trunk.clone(), probe.target.to_string());
        let was = probe.up.replace(true);
        core.outputs.push_back(Output::Event(Event::Options {
            trunk: trunk.clone(),
            target: target.clone(),
            direction: "out",
        }));
        let wakes = answered_from.and_then(|to| core.breakers.answers_options(&to));
        wakes.into_iter().for_each(|event| core.emit(event));
        if was != Some(true) {
            core.outputs.push_back(Output::Event(Event::TargetUp {
                trunk,
                target,
                up: true,
                why: said,
            }));
        }
    }

    /// OPTIONS was refused, timed out or could not be sent.
    pub(crate) fn missed(core: &mut Core, id: ProbeId, why: String) {
        let Some(probe) = core.health.probes.get_mut(&id) else { return };
        if let Some((_, to)) = probe.asked.take() {
            // Nothing came back from there: the next OPTIONS, and the next call, go elsewhere first.
            core.endpoints.failed(core.now.mono, &to);
        }
        probe.misses += 1;
        probe.last.clone_from(&why);
        let (trunk, target) = (probe.trunk.clone(), probe.target.to_string());
        let down = probe.misses >= MISSES_MAX;
        let was = probe.up;
        if down {
            probe.up = Some(false);
        } else {
            ask_again(core, id, core.now.mono + RETRY);
        }
        if down && was != Some(false) {
            core.outputs.push_back(Output::Event(Event::TargetUp {
                trunk,
                target,
                up: false,
                why,
            }));
        }
    }

    /// Every target of every trunk, for the operator.
    pub(crate) fn view(core: &Core, now: Instant) -> Vec<TargetView> {
        let mut rows = Vec::new();
        for (index, trunk) in core.plan.trunks.iter().enumerate() {
            rows.extend(core.registrars.view(core, index, now));
            for target in &trunk.targets {
                let probe = core.health.find(&trunk.name, target);
                rows.push(TargetView {
                    trunk: trunk.name.clone(),
                    target: target.to_string(),
                    address: core.addresses(&core.plan, index, target).first().copied(),
                    up: core.is_up(&trunk.name, target),
                    rests: core.rests(&core.plan, index, target, now),
                    answered_ago: probe
                        .and_then(|probe| probe.answered)
                        .map(|at| now.saturating_duration_since(at)),
                    last: match core.registrations.down(&trunk.name) {
                        Some(why) => why.to_owned(),
                        None => probe.map_or_else(|| "OPTIONS is off".into(), |it| it.last.clone()),
                    },
                    calls: core.admission.trunk_calls(&trunk.name).iter().sum::<u32>() as usize,
                });
            }
        }
        rows
    }
}

fn ask_again(core: &mut Core, id: ProbeId, due: Instant) {
    if let Some(probe) = core.health.probes.get_mut(&id) {
        probe.due = due;
        core.timers.arm(due, Timer::Probe(id));
    }
}

fn probe_is_busy(core: &Core, id: ProbeId) -> bool {
    core.health.probes.get(&id).is_some_and(|probe| probe.asked.is_some())
}

/// OPTIONS as Microsoft wants them: FQDN in Contact, no user, no Record-Route (TDR-OPT-003, -004, -007).
fn options(core: &mut Core, plan: &Plan, trunk: usize, target: &TargetName) -> Request {
    let us = Identity::new(plan, trunk, None);
    let transport =
        plan.trunks.get(trunk).and_then(|t| plan.listeners.get(t.listener)).map(|l| l.transport);
    let uri = match transport {
        Some(transport) => format!("sip:{target};transport={}", transport.param()),
        None => format!("sip:{target}"),
    };
    let mut request = Request::new(Method::Options, uri);
    let headers = &mut request.headers;
    headers.push(Name::Via, us.via(&core.branch()));
    headers.push(Name::MaxForwards, "70");
    headers.push(Name::From, format!("<sip:{}>;tag={}", us.sent_by(), core.token()));
    headers.push(Name::To, format!("<sip:{target}>"));
    headers.push(Name::CallId, core.token());
    headers.push(Name::CSeq, "1 OPTIONS");
    headers.push(Name::Contact, us.contact(""));
    headers.push(Name::Allow, us.allow());
    headers.push(Name::Accept, "application/sdp");
    headers.push(Name::UserAgent, PRODUCT);
    request
}

impl Core {
    /// How long a target takes no new call: of its endpoints that rest, the one that is the soonest to
    /// take one again.
    fn rests(
        &self,
        plan: &Plan,
        trunk: usize,
        target: &TargetName,
        now: Instant,
    ) -> Option<Duration> {
        let endpoints = self.fixed_order(plan, trunk, target);
        let rests = endpoints
            .iter()
            .filter_map(|to| self.breakers.rests(now, to).max(self.endpoints.rest_left(now, to)));
        rests.min()
    }

    /// Whether new calls should try this target before those that are down: it answers OPTIONS, and
    /// a trunk where we are to be registered has not refused that.
    pub(crate) fn is_up(&self, trunk: &str, target: &TargetName) -> bool {
        self.health.is_up(trunk, target) && self.registrations.down(trunk).is_none()
    }
}
