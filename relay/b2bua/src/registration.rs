//! Our registrations with carriers: one for each trunk that asks for it. The trunk's targets are its
//! registrars; while it is refused, the trunk counts as down.

use crate::core::{Core, Owner};
use crate::identity::{Identity, PRODUCT};
use crate::io::{Event, Hop, Target};
use crate::plan::{Plan, TargetName};
use crate::timers::Timer;
use sip_core::transaction::ClientId;
use sip_core::usage::registration::{Draw, Failure, Order, Registration, Terms};
use sip_core::{Name, NameAddr, Response};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A registration, numbered for its timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RegistrationId(u64);

/// All registrations of ours, those that are leaving among them.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    kept: BTreeMap<RegistrationId, Kept>,
    next: u64,
}

#[derive(Debug)]
struct Kept {
    trunk: String,
    targets: Vec<TargetName>,
    machine: Registration,
    /// The REGISTER whose answer counts.
    client: Option<ClientId>,
    /// `None` until the first grant or failure: calls treat it as up.
    up: Option<bool>,
    /// What it brought last.
    last: String,
    /// It removes its binding, and is then forgotten.
    leaving: bool,
    /// Where it was asked last, and as whom: there it takes its leave if the trunk is gone.
    asked: Option<(Target, Identity)>,
    /// A registrar had no address when it was to be asked.
    homeless: bool,
    /// Its deadline that counts; others in the heap are stale.
    armed: Option<std::time::Instant>,
}

impl Registrations {
    /// Follows the snapshot: what is new or changed registers, what is gone or changed leaves.
    pub(crate) fn follow(core: &mut Core) {
        let plan = Arc::clone(&core.plan);
        let wanted: Vec<(String, Vec<TargetName>, Terms)> =
            (0..plan.trunks.len()).filter_map(|trunk| wanted(&plan, trunk)).collect();
        let same = |kept: &Kept, (trunk, targets, terms): &(String, Vec<TargetName>, Terms)| {
            !kept.leaving
                && kept.trunk == *trunk
                && kept.targets == *targets
                && kept.machine.terms() == terms
        };
        let gone: Vec<RegistrationId> = (core.registrations.kept.iter())
            .filter(|(_, kept)| !kept.leaving && !wanted.iter().any(|it| same(kept, it)))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            Self::leave(core, id);
        }
        for one in wanted {
            if !core.registrations.kept.values().any(|kept| same(kept, &one)) {
                Self::enter(core, one);
            }
        }
    }

    fn enter(core: &mut Core, (trunk, targets, terms): (String, Vec<TargetName>, Terms)) {
        let (call_id, tag) = (core.token(), core.token());
        let machine = Registration::start(core.now.mono, terms, call_id.into(), tag.into());
        let id = RegistrationId(core.registrations.next);
        core.registrations.next += 1;
        let last = "not answered yet".to_owned();
        let kept = Kept {
            trunk,
            targets,
            machine,
            client: None,
            up: None,
            last,
            leaving: false,
            asked: None,
            homeless: false,
            armed: None,
        };
        core.registrations.kept.insert(id, kept);
        Self::drive(core, id);
    }

    fn leave(core: &mut Core, id: RegistrationId) {
        let now = core.now.mono;
        if let Some(kept) = core.registrations.kept.get_mut(&id) {
            kept.leaving = true;
            kept.machine.stop(now);
        }
        Self::drive(core, id);
    }

    /// The host stops: every binding is removed, which [`Self::is_empty`] tells.
    pub(crate) fn stop(core: &mut Core) {
        let all: Vec<RegistrationId> = core.registrations.kept.keys().copied().collect();
        for id in all {
            Self::leave(core, id);
        }
    }

    /// A name has been located: who could not be asked for want of one is asked now.
    pub(crate) fn located(core: &mut Core) {
        let now = core.now.mono;
        let homeless = core.registrations.kept.iter_mut().filter(|(_, kept)| kept.homeless);
        let mut hastened = Vec::new();
        for (id, kept) in homeless {
            kept.homeless = false;
            kept.machine.hasten(now);
            hastened.push(*id);
        }
        for id in hastened {
            Self::drive(core, id);
        }
    }

    /// Whether none is held or leaving.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Why new calls should try another trunk before this one, if they should.
    pub(crate) fn down(&self, trunk: &str) -> Option<&str> {
        let kept = self.kept.values().find(|kept| kept.trunk == trunk && !kept.leaving)?;
        (kept.up == Some(false)).then_some(kept.last.as_str())
    }

    /// A deadline has come.
    pub(crate) fn handle_timeout(core: &mut Core, id: RegistrationId) {
        let now = core.now.mono;
        let Some(kept) = core.registrations.kept.get_mut(&id) else { return };
        if kept.armed.is_none_or(|due| due > now) {
            return;
        }
        kept.armed = None;
        Self::tell(core, id, None, |machine, now, draw| machine.handle_timeout(now, draw));
    }

    /// A final response to REGISTER.
    pub(crate) fn answered(
        core: &mut Core,
        id: RegistrationId,
        client: ClientId,
        response: &Response,
    ) {
        Self::tell(core, id, Some(client), |machine, now, draw| {
            machine.response(now, response, draw);
        });
    }

    /// REGISTER was never answered, or could not be sent.
    pub(crate) fn lost(core: &mut Core, id: RegistrationId, client: ClientId, why: &str) {
        let failure =
            if why == crate::b2bua::TIMEOUT { Failure::Silence } else { Failure::Unreachable };
        Self::tell(core, id, Some(client), |machine, now, draw| machine.lost(now, failure, draw));
    }

    /// Tells the machine what happened to the request that is out (`client`; another one is past),
    /// and does what it says.
    fn tell(
        core: &mut Core,
        id: RegistrationId,
        client: Option<ClientId>,
        act: impl FnOnce(&mut Registration, std::time::Instant, &Draw),
    ) {
        let draw = core.draw();
        let now = core.now.mono;
        let Some(kept) = core.registrations.kept.get_mut(&id) else { return };
        if client.is_some() && kept.client != client {
            return;
        }
        if client.is_some() {
            kept.client = None;
        }
        act(&mut kept.machine, now, &draw);
        Self::drive(core, id);
    }

    /// Does what the machine wants done, until it wants nothing.
    fn drive(core: &mut Core, id: RegistrationId) {
        while let Some(kept) = core.registrations.kept.get_mut(&id) {
            match kept.machine.poll_order() {
                Some(Order::Send { registrar, request }) => {
                    Self::send(core, id, registrar, request);
                }
                Some(Order::Up { registrar, .. }) => {
                    let target = kept.targets.get(registrar);
                    let at = target.map_or_else(String::new, ToString::to_string);
                    Self::turn(core, id, true, format!("registered at {at}"));
                }
                Some(Order::Down(failure)) => {
                    Self::turn(core, id, false, format!("not registered: {failure}"));
                }
                Some(Order::Ended) => {
                    let trunk = kept.trunk.clone();
                    core.registrations.kept.remove(&id);
                    core.emit(Event::Registered { trunk, up: None, why: "removed".into() });
                }
                None => {
                    if let Some(due) = kept.machine.poll_timeout()
                        && kept.armed != Some(due)
                    {
                        kept.armed = Some(due);
                        core.timers.arm(due, Timer::Registration(id));
                    }
                    return;
                }
            }
        }
    }

    fn send(core: &mut Core, id: RegistrationId, registrar: usize, mut request: sip_core::Request) {
        let plan = Arc::clone(&core.plan);
        let Some(kept) = core.registrations.kept.get(&id) else { return };
        let target = kept.targets.get(registrar).cloned();
        let trunk = plan.trunk_named(&kept.trunk);
        let before = kept.asked.clone().filter(|_| kept.leaving);
        let to = target.zip(trunk).and_then(|(target, trunk)| {
            Some((core.target(&plan, trunk, &target)?, Identity::new(&plan, trunk, None)))
        });
        let Some((to, us)) = to.or(before) else {
            let (now, draw) = (core.now.mono, core.draw());
            if let Some(kept) = core.registrations.kept.get_mut(&id) {
                kept.client = None;
                kept.homeless = true;
                kept.machine.lost(now, Failure::Unreachable, &draw);
            }
            return;
        };
        request.headers.push_front(Name::Via, us.via(&core.branch()));
        let hop = Hop::Target(to.clone());
        let client = core.request(hop, request, Owner::Registration(id));
        if let Some(kept) = core.registrations.kept.get_mut(&id) {
            kept.client = Some(client);
            kept.asked = Some((to, us));
        }
    }

    fn turn(core: &mut Core, id: RegistrationId, up: bool, why: String) {
        let Some(kept) = core.registrations.kept.get_mut(&id) else { return };
        let changed = kept.up != Some(up) || kept.last != why;
        kept.up = Some(up);
        kept.last.clone_from(&why);
        let trunk = kept.trunk.clone();
        if changed {
            core.emit(Event::Registered { trunk, up: Some(up), why });
        }
    }
}

impl Core {
    fn draw(&mut self) -> Draw {
        Draw { fraction: self.random_fraction(), token: self.token() }
    }
}

/// What a trunk wants to be registered as, if it does.
fn wanted(plan: &Plan, trunk: usize) -> Option<(String, Vec<TargetName>, Terms)> {
    let of = plan.trunks.get(trunk)?;
    let register = of.accounts.register.as_ref()?;
    let account = of.accounts.ours.as_deref()?.clone();
    let contact = Identity::new(plan, trunk, None).contact(&register.user);
    let terms = Terms {
        domain: format!("sip:{}", register.domain).into(),
        aor: format!("sip:{}@{}", register.user, register.domain).into(),
        contact: NameAddr::parse(&contact).ok()?.uri.to_vec().into(),
        registrars: of.targets.len(),
        expires: register.expires,
        account,
        product: PRODUCT.into(),
    };
    Some((of.name.clone(), of.targets.clone(), terms))
}
