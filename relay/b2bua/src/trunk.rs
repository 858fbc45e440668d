//! A trunk's targets: whether each is up, told by the OPTIONS we send (TDR-OPT-001, TDR-FO-005).

use crate::core::{Core, Owner};
use crate::identity::{Identity, PRODUCT};
use crate::io::{Event, Hop, NOT_ASKED_YET, Target, TargetView};
use crate::plan::{Model, Plan, TargetName, Trunk, TrunkKind};
use crate::timers::Timer;
use sip_core::transaction::ClientId;
use sip_core::{Method, Name, Request, Response};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// OPTIONS that go unanswered before a target counts as down (TDR-FO-005: 2 to 3).
const MISSES_MAX: u32 = 2;
/// OPTIONS are spread by this share of the interval, so that targets are not probed in step.
const JITTER_PERCENT: u32 = 10;
/// After a miss, the next OPTIONS comes this soon, so that two misses are not two minutes.
const RETRY: Duration = Duration::from_secs(5);

/// OPTIONS of tenants that are trunks of their own begin so many milliseconds apart: a host with thousands
/// of them does not ask for all at once.
const PACE_MS: u64 = 10;

/// A probed target, numbered for its timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ProbeId(u64);

/// All targets that are probed.
#[derive(Debug, Default)]
pub(crate) struct Health {
    probes: BTreeMap<ProbeId, Probe>,
    /// Those under the base FQDN; a few.
    base: Vec<ProbeId>,
    /// Those under the FQDN of a tenant that is a trunk of its own; a few each.
    own: HashMap<String, Vec<ProbeId>>,
    next: u64,
}

#[derive(Debug)]
struct Probe {
    trunk: String,
    target: TargetName,
    /// The tenant's FQDN that is asked under; `None`: the base FQDN.
    fqdn: Option<String>,
    /// `None` until the first answer or the second miss: new calls treat it as up.
    up: Option<bool>,
    /// Since when it has been up.
    up_since: Option<Instant>,
    misses: u32,
    answered: Option<Instant>,
    last: String,
    /// The OPTIONS that is out, and where it went.
    asked: Option<(ClientId, Target)>,
    /// When it is asked next; other timers of it are stale.
    due: Instant,
}

/// What the targets of a trunk say under one FQDN.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Whether one of them takes our OPTIONS, and since when the first has.
    pub(crate) up_since: Option<Instant>,
    /// Whether none of them does: each has missed as often as it may.
    pub(crate) down: bool,
    /// The last 2xx of any.
    pub(crate) answered: Option<Instant>,
    /// What each brought last, in the order of the trunk.
    pub(crate) last: Vec<(String, String)>,
}

impl Health {
    /// Follows the snapshot: new targets are probed at once, others keep their state, and those
    /// that are gone are forgotten.
    pub(crate) fn follow(core: &mut Core) {
        let plan = Arc::clone(&core.plan);
        let names = names_of_trunks(&plan);
        core.health.forget(&plan, &names);
        let mut new = 0;
        for (index, trunk) in plan.trunks.iter().enumerate() {
            let Some(interval) = trunk.options_interval else { continue };
            for target in &trunk.targets {
                core.health_begin(&trunk.name, target, None, core.now.mono);
            }
            for fqdn in names.get(&index).into_iter().flatten() {
                // Well within the interval, however many there are.
                let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
                let wait = Duration::from_millis(new * PACE_MS % interval_ms);
                for target in &trunk.targets {
                    let due = core.now.mono + wait;
                    new += u64::from(core.health_begin(&trunk.name, target, Some(fqdn), due));
                }
            }
        }
    }

    fn forget(&mut self, plan: &Plan, names: &HashMap<usize, BTreeSet<String>>) {
        let wanted = |probe: &Probe| {
            plan.trunks.iter().enumerate().any(|(index, trunk)| {
                trunk.options_interval.is_some()
                    && trunk.name == probe.trunk
                    && trunk.targets.contains(&probe.target)
                    && probe.fqdn.as_ref().is_none_or(|fqdn| {
                        names.get(&index).is_some_and(|names| names.contains(fqdn))
                    })
            })
        };
        self.probes.retain(|_, probe| wanted(probe));
        let probes = &self.probes;
        self.base.retain(|id| probes.contains_key(id));
        self.own.retain(|_, ids| {
            ids.retain(|id| probes.contains_key(id));
            !ids.is_empty()
        });
    }

    fn find(&self, trunk: &str, target: &TargetName, fqdn: Option<&str>) -> Option<&Probe> {
        let ids = match fqdn {
            None => &self.base,
            Some(fqdn) => self.own.get(fqdn)?,
        };
        let mut probes = ids.iter().filter_map(|id| self.probes.get(id));
        probes.find(|probe| probe.trunk == trunk && probe.target == *target)
    }

    /// Whether new calls under this FQDN should try this target before those that are down. One that
    /// is no trunk of its own has the health of its base (TDR-OPT-010).
    pub(crate) fn is_up(&self, trunk: &str, target: &TargetName, fqdn: Option<&str>) -> bool {
        let own = fqdn.and_then(|fqdn| self.find(trunk, target, Some(fqdn)));
        let probe = own.or_else(|| self.find(trunk, target, None));
        probe.is_none_or(|probe| probe.up != Some(false))
    }

    /// What the targets of `trunk` say under this FQDN; `None` where they are not asked under it.
    pub(crate) fn said(&self, trunk: &Trunk, fqdn: Option<&str>) -> Option<Said> {
        let mut said = Said { down: true, ..Said::default() };
        for target in &trunk.targets {
            let Some(probe) = self.find(&trunk.name, target, fqdn) else { continue };
            let first = [said.up_since, probe.up_since].into_iter().flatten().min();
            said.up_since = first;
            said.down &= probe.up == Some(false);
            said.answered = said.answered.max(probe.answered);
            said.last.push((target.to_string(), probe.last.clone()));
        }
        (!said.last.is_empty()).then_some(said)
    }

    /// The FQDNs of tenants that this trunk's targets are asked under, by name.
    pub(crate) fn names_asked_under(&self, trunk: &str) -> Vec<String> {
        let asked = |ids: &[ProbeId]| {
            ids.iter().any(|id| self.probes.get(id).is_some_and(|probe| probe.trunk == trunk))
        };
        let names = self.own.iter().filter(|(_, ids)| asked(ids));
        let mut names: Vec<String> = names.map(|(fqdn, _)| fqdn.clone()).collect();
        names.sort_unstable();
        names
    }

    /// A drain is over: whoever was not asked meanwhile is asked now, under the base FQDN or those of the
    /// tenant. A tenant's that waited for the host comes within its interval.
    pub(crate) fn wake(core: &mut Core, tenant: Option<&str>) {
        let plan = Arc::clone(&core.plan);
        let tenant = tenant.map(|name| plan.tenant(name));
        let ids: Vec<ProbeId> = match tenant {
            None => core.health.base.clone(),
            Some(tenant) => {
                let fqdns = tenant.iter().flat_map(|tenant| &tenant.fqdns);
                fqdns.filter_map(|fqdn| core.health.own.get(fqdn)).flatten().copied().collect()
            }
        };
        for id in ids {
            if core.leads_to_teams(id) && !core.keeps_quiet(id) && !probe_is_busy(core, id) {
                ask_again(core, id, core.now.mono);
            }
        }
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
        let (target, fqdn) = (probe.target.clone(), probe.fqdn.clone());
        let spread = interval * JITTER_PERCENT / 100;
        let jitter = spread.mul_f64(core.random_fraction() * 2.0);
        ask_again(core, id, core.now.mono + interval - spread + jitter);
        if probe_is_busy(core, id) || core.keeps_quiet(id) {
            return;
        }
        let Some(to) = core.target(&plan, index, &target) else {
            let why = format!("{} has no address", target.host);
            return Self::missed(core, id, why);
        };
        let us = Identity::new(&plan, index, fqdn.as_deref());
        let request = options(core, &plan, (index, &us), &target);
        let hop = Hop::Target(to.clone()).under(us.certified());
        let client = core.layer.request(core.now.mono, hop, request);
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
        let teams = plan.trunk(&probe.trunk).is_none_or(|trunk| trunk.kind == TrunkKind::Teams);
        // Teams serves only with 2xx (TDR-OPT-009). Carriers answer OPTIONS as they please, 404
        // and 405 among it; what counts there is that somebody serves.
        let serves = match response.status {
            200..=299 => true,
            408 | 500..=599 => false,
            _ => !teams,
        };
        let mut said = format!("{} {}", response.status, String::from_utf8_lossy(&response.reason));
        // What Teams has against us stands there (TDR-OPT-009).
        if let Some(why) = response.headers.get(Name::Reason).filter(|_| !serves) {
            said.extend([": ", &String::from_utf8_lossy(why)]);
        }
        if !serves {
            return Self::missed(core, id, said);
        }
        probe.last = said.clone();
        probe.misses = 0;
        probe.answered = Some(core.now.mono);
        probe.up_since.get_or_insert(core.now.mono);
        let (trunk, target) = (probe.trunk.clone(), probe.target.to_string());
        let was = probe.up.replace(true);
        let own = probe.fqdn.is_some();
        let wakes = answered_from.and_then(|to| core.breakers.answers_options(&to));
        wakes.into_iter().for_each(|event| core.emit(event));
        // The health of a trunk's targets is that under its base FQDN.
        if own {
            return;
        }
        core.emit(Event::Options {
            trunk: trunk.clone(),
            target: target.clone(),
            direction: "out",
        });
        if was != Some(true) {
            core.emit(Event::TargetUp { trunk, target, up: true, why: said });
        }
    }

    /// OPTIONS was refused, timed out or could not be sent.
    pub(crate) fn missed(core: &mut Core, id: ProbeId, why: String) {
        let Some(probe) = core.health.probes.get_mut(&id) else { return };
        if let Some((_, to)) = probe.asked.take() {
            // Nothing came back from there: the next OPTIONS, and the next call, go elsewhere first. What
            // is asked under one tenant's name says nothing about the calls of others.
            if probe.fqdn.is_none() {
                core.endpoints.failed(core.now.mono, &to);
            }
        }
        probe.misses += 1;
        probe.last.clone_from(&why);
        let (trunk, target) = (probe.trunk.clone(), probe.target.to_string());
        let down = probe.misses >= MISSES_MAX;
        let (was, own) = (probe.up, probe.fqdn.is_some());
        if down {
            probe.up = Some(false);
            probe.up_since = None;
        } else {
            ask_again(core, id, core.now.mono + RETRY);
        }
        if down && was != Some(false) && !own {
            core.emit(Event::TargetUp { trunk, target, up: false, why });
        }
    }

    /// Every target of every trunk, for the operator.
    pub(crate) fn view(core: &Core, now: Instant) -> Vec<TargetView> {
        let mut rows = Vec::new();
        for (index, trunk) in core.plan.trunks.iter().enumerate() {
            rows.extend(core.registrars.view(core, index, now));
            for target in &trunk.targets {
                let probe = core.health.find(&trunk.name, target, None);
                let quiet = trunk.kind == TrunkKind::Teams && core.drains.holds(None);
                rows.push(TargetView {
                    trunk: trunk.name.clone(),
                    target: target.to_string(),
                    address: core.addresses(&core.plan, index, target).first().copied(),
                    up: core.is_up(&trunk.name, target, None),
                    rests: core.rests(&core.plan, index, target, now),
                    answered_ago: probe
                        .and_then(|probe| probe.answered)
                        .map(|at| now.saturating_duration_since(at)),
                    last: match core.registrations.down(&trunk.name) {
                        Some(why) => why.to_owned(),
                        None if quiet => "not asked while the host drains".into(),
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

/// The FQDNs of tenants that are trunks of their own, by the trunk that leads to Teams for them.
fn names_of_trunks(plan: &Plan) -> HashMap<usize, BTreeSet<String>> {
    let mut names: HashMap<usize, BTreeSet<String>> = HashMap::new();
    for tenant in plan.tenants.iter().filter(|tenant| tenant.model == Model::Classic) {
        for trunk in plan.teams_trunks_of(tenant) {
            // The base is asked under anyway.
            // An SBC behind us sends OPTIONS of its own.
            let own = tenant.own_fqdns().filter(|fqdn| *fqdn != plan.base_of(trunk));
            names.entry(trunk).or_default().extend(own.cloned());
        }
    }
    names
}

/// OPTIONS as Microsoft wants them: FQDN in Contact, no user, no Record-Route (TDR-OPT-003, -004, -007).
/// The FQDN is that of a tenant that is a trunk of its own (TDR-MT-011), or the base.
fn options(
    core: &mut Core,
    plan: &Plan,
    (trunk, us): (usize, &Identity),
    target: &TargetName,
) -> Request {
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
    pub(crate) fn is_up(&self, trunk: &str, target: &TargetName, fqdn: Option<&str>) -> bool {
        self.health.is_up(trunk, target, fqdn) && self.registrations.down(trunk).is_none()
    }

    /// Begins to probe a target, first at `due`; whether it was not probed before.
    fn health_begin(
        &mut self,
        trunk: &str,
        target: &TargetName,
        fqdn: Option<&String>,
        due: Instant,
    ) -> bool {
        if self.health.find(trunk, target, fqdn.map(String::as_str)).is_some() {
            return false;
        }
        let id = ProbeId(self.health.next);
        self.health.next += 1;
        let probe = Probe {
            trunk: trunk.to_owned(),
            target: target.clone(),
            fqdn: fqdn.cloned(),
            up: None,
            up_since: None,
            misses: 0,
            answered: None,
            last: NOT_ASKED_YET.into(),
            asked: None,
            due,
        };
        self.health.probes.insert(id, probe);
        match fqdn {
            None => self.health.base.push(id),
            Some(fqdn) => self.health.own.entry(fqdn.clone()).or_default().push(id),
        }
        self.timers.arm(due, Timer::Probe(id));
        true
    }

    /// Whether this probe's target is to learn of no health of ours: Teams sends calls elsewhere once it
    /// hears nothing (TDR-FO-016).
    fn keeps_quiet(&self, id: ProbeId) -> bool {
        let Some(probe) = self.health.probes.get(&id) else { return true };
        let tenant = probe.fqdn.as_ref().and_then(|fqdn| self.plan.tenant_under(fqdn));
        self.drains.holds(tenant.map(|it| it.name.as_str())) && self.leads_to_teams(id)
    }

    fn leads_to_teams(&self, id: ProbeId) -> bool {
        let trunk = self.health.probes.get(&id).and_then(|it| self.plan.trunk(&it.trunk));
        trunk.is_some_and(|trunk| trunk.kind == TrunkKind::Teams)
    }
}
