//! PBXs that register with us: who may, what they have bound, and the ways that calls to them take
//! (RFC 3261, 10.3; RFC 5626, 5.3).
//!
//! Each user of a trunk's registrar is one address-of-record. Nothing is kept of who does not know
//! the secret, but what the transaction keeps of any request.

use crate::accounts::Registrar;
use crate::core::Core;
use crate::identity::PRODUCT;
use crate::io::{Event, Flow, Hop, Target, TargetView};
use crate::plan::{Plan, TargetName, Trunk};
use crate::timers::Timer;
use rand_core::RngCore;
use sip_core::auth::{Asker, Denied, Guard, User, Verdict};
use sip_core::message::Params;
use sip_core::transaction::ServerId;
use sip_core::usage::bindings::{Binding, Bindings, Refused};
use sip_core::{Name, Request, Response, Uri};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// The registrars of all trunks that have one.
#[derive(Debug, Default)]
pub(crate) struct Registrars {
    /// By trunk.
    kept: BTreeMap<String, Kept>,
    /// The first deadline in the heap.
    armed: Option<Instant>,
}

#[derive(Debug)]
struct Kept {
    of: Arc<Registrar>,
    guard: Guard,
    /// By user; none is here that `of` has not.
    bindings: BTreeMap<String, Bindings<Flow>>,
    /// How many there were when that was last told.
    told: Option<usize>,
}

/// How a call reaches what is bound.
pub(crate) struct Way {
    /// Host and port of the Contact URI.
    pub(crate) target: TargetName,
    /// Its parameters that mean something to who wrote them, each with its `;`.
    pub(crate) params: String,
    /// The flow it was bound over; if that is gone, the host, where its trunk says it may be.
    pub(crate) hop: Hop,
}

impl Registrars {
    /// Follows the snapshot: who may not register any more, or not from there, is not bound any more.
    pub(crate) fn follow(core: &mut Core) {
        let plan = Arc::clone(&core.plan);
        let has = |name: &String| of(&plan, name).is_some();
        let (kept, gone) = std::mem::take(&mut core.registrars.kept)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(name, _)| has(name));
        core.registrars.kept = kept;
        for trunk in gone.into_keys() {
            core.emit(Event::Bindings { trunk, bindings: None, why: "the registrar is gone" });
        }
        for trunk in &plan.trunks {
            let Some(of) = trunk.accounts.registrar.clone() else { continue };
            let mut key = [0; 32];
            core.rng.fill_bytes(&mut key);
            let guard = || Guard::new(core.now.mono, key, &of.realm, &of.algorithms);
            match core.registrars.kept.get_mut(&trunk.name) {
                Some(kept) => {
                    if kept.of.realm != of.realm || kept.of.algorithms != of.algorithms {
                        kept.guard = guard();
                    }
                    kept.follow(of, &plan, trunk);
                }
                None => {
                    let guard = guard();
                    let kept = Kept { of, guard, bindings: BTreeMap::new(), told: None };
                    core.registrars.kept.insert(trunk.name.clone(), kept);
                }
            }
        }
        Self::changed(core, "a configuration came into force");
    }

    /// A binding may have ended.
    pub(crate) fn handle_timeout(core: &mut Core) {
        let now = core.now.mono;
        if core.registrars.armed.is_none_or(|due| due > now) {
            return;
        }
        core.registrars.armed = None;
        Self::changed(core, "a binding has expired");
    }

    /// Takes a REGISTER, or refuses it.
    pub(crate) fn register(core: &mut Core, server: ServerId, flow: &Flow, request: &Request) {
        let response = |core: &mut Core, status: u16| {
            let mut response = Response::to(request, status, Some(core.token().as_bytes()));
            response.headers.push(Name::Server, PRODUCT);
            response
        };
        if core.stopping {
            let response = response(core, 503);
            return core.respond(server, response);
        }
        let Some(user) = Self::believed(core, server, flow, request) else { return };
        let now = core.now.mono;
        let Some(kept) = core.registrars.kept.get_mut(&*flow.trunk) else { return };
        let Some(user) = kept.of.users.get(user).map(|user| user.name.clone()) else { return };
        let times = kept.of.times;
        let bindings = kept.bindings.entry(user).or_default();
        let taken = bindings.register(now, request, flow, times);
        let contacts = bindings.contacts(now);
        match taken {
            Ok(()) => {
                let mut response = response(core, 200);
                for contact in contacts {
                    response.headers.push(Name::Contact, contact);
                }
                core.respond(server, response);
                let hop = Hop::Flow { flow: flow.clone(), otherwise: None };
                core.endpoints.heard(&hop.endpoint());
                Self::changed(core, "it was asked for");
            }
            Err(refused) => {
                let mut response = response(core, refused.status());
                if refused == Refused::TooBrief {
                    let least = times.least.as_secs().to_string();
                    response.headers.push(Name::MinExpires, least);
                }
                core.respond(server, response);
                refuse(core, flow, refused.as_str());
            }
        }
    }

    /// Whether an INVITE may go on: it needs credentials where its trunk asks for them and nobody has
    /// registered over its flow. Else it is answered.
    pub(crate) fn admits(
        core: &mut Core,
        server: ServerId,
        flow: &Flow,
        request: &Request,
    ) -> bool {
        let now = core.now.mono;
        let Some(kept) = core.registrars.kept.get(&*flow.trunk) else { return true };
        !kept.of.challenge_calls
            || kept.all(now).any(|(_, binding)| same(&binding.flow, flow))
            || Self::believed(core, server, flow, request).is_some()
    }

    /// A connection has turned out to be gone: what was bound over it is not reached any more
    /// (RFC 5626, 5.3).
    pub(crate) fn lost(core: &mut Core, flow: &Flow) {
        let Some(kept) = core.registrars.kept.get_mut(&*flow.trunk) else { return };
        kept.retain(|binding| !same(&binding.flow, flow));
        Self::changed(core, "its connection is gone");
    }

    /// The user that the request comes from; else it is challenged.
    fn believed(
        core: &mut Core,
        server: ServerId,
        flow: &Flow,
        request: &Request,
    ) -> Option<usize> {
        let (now, token, number) = (core.now.mono, core.token(), core.rng.next_u64());
        let kept = core.registrars.kept.get_mut(&*flow.trunk)?;
        let denied = match kept.guard.judge(now, Asker::Server, request, &kept.of.users) {
            Verdict::Genuine(user) => return Some(user),
            Verdict::Denied(denied) => denied,
        };
        let mut response = Response::to(request, 401, Some(token.as_bytes()));
        response.headers.push(Name::Server, PRODUCT);
        kept.guard.challenge(now, Asker::Server, &mut response, denied.is_stale(), number);
        core.respond(server, response);
        // Who knows no nonce yet has done nothing wrong.
        if denied != Denied::Missing {
            refuse(core, flow, denied.as_str());
        }
        None
    }

    /// Tells what has changed, and sees to the end of the binding that ends first.
    fn changed(core: &mut Core, why: &'static str) {
        let now = core.now.mono;
        let Registrars { kept, armed } = &mut core.registrars;
        let mut next: Option<Instant> = None;
        let mut told = Vec::new();
        for (trunk, kept) in kept {
            for bindings in kept.bindings.values_mut() {
                bindings.expire(now);
                next = next.into_iter().chain(bindings.next_end()).min();
            }
            let bindings = Some(kept.all(now).count());
            if kept.told != bindings {
                kept.told = bindings;
                told.push(Event::Bindings { trunk: trunk.clone(), bindings, why });
            }
        }
        if let Some(due) = next.filter(|due| armed.is_none_or(|armed| armed > *due)) {
            *armed = Some(due);
            core.timers.arm(due, Timer::Binding);
        }
        told.into_iter().for_each(|event| core.emit(event));
    }

    /// The ways to all that is bound on a trunk, in the order to try.
    pub(crate) fn ways(&self, now: Instant, plan: &Plan, trunk: usize) -> Vec<Way> {
        let Some(trunk) = plan.trunks.get(trunk) else { return Vec::new() };
        let Some(kept) = self.kept.get(&trunk.name) else { return Vec::new() };
        kept.all(now).filter_map(|(_, binding)| way(trunk, binding)).collect()
    }

    /// The flow that `contact` is bound over now, if `flow` is none of those bound (RFC 5626, 5.3): a
    /// dialog outlives its connection, and a NAT's idea of it.
    pub(crate) fn moved(&self, now: Instant, flow: &Flow, contact: &[u8]) -> Option<&Flow> {
        let kept = self.kept.get(&*flow.trunk)?;
        let wanted = Uri::parse(contact).ok()?;
        let mut found = None;
        for (_, binding) in kept.all(now) {
            if same(&binding.flow, flow) {
                return None;
            }
            let bound = Uri::parse(&binding.contact);
            if bound.is_ok_and(|it| it.port == wanted.port && it.host == wanted.host) {
                found = found.or(Some(&binding.flow));
            }
        }
        found
    }

    /// What is bound on a trunk that has a registrar, for the operator.
    pub(crate) fn view(&self, core: &Core, trunk: usize, now: Instant) -> Vec<TargetView> {
        let Some(trunk) = core.plan.trunks.get(trunk) else { return Vec::new() };
        let Some(kept) = self.kept.get(&trunk.name) else { return Vec::new() };
        let row = |target, address, up, last| TargetView {
            trunk: trunk.name.clone(),
            target,
            address,
            up,
            rests: None,
            answered_ago: None,
            last,
            calls: core.admission.trunk_calls(&trunk.name).iter().sum::<u32>() as usize,
        };
        let rows = kept.all(now).map(|(user, binding)| {
            let contact = String::from_utf8_lossy(&binding.contact).into_owned();
            let left = binding.ends.saturating_duration_since(now).as_secs();
            row(
                contact,
                Some(binding.flow.remote),
                true,
                format!("{user} registered, {left} s left"),
            )
        });
        let rows: Vec<TargetView> = rows.collect();
        if rows.is_empty() {
            let nobody = "nobody is registered".to_owned();
            return vec![row(kept.of.realm.clone(), None, false, nobody)];
        }
        rows
    }
}

impl Kept {
    fn follow(&mut self, of: Arc<Registrar>, plan: &Plan, trunk: &Trunk) {
        let stays = |name: &String| {
            let before = self.of.users.iter().find(|user| user.name == *name);
            before.is_some_and(|user: &User| of.users.contains(user))
        };
        self.bindings.retain(|name, _| stays(name));
        self.of = of;
        let listener = plan.listeners.get(trunk.listener).map(|listener| listener.name.as_str());
        self.retain(|binding| {
            listener == Some(&binding.flow.listener) && allows(trunk, binding.flow.remote.ip())
        });
    }

    fn retain(&mut self, keep: impl Fn(&Binding<Flow>) -> bool) {
        self.bindings.values_mut().for_each(|bindings| bindings.retain(&keep));
    }

    /// All bindings with their users, in the order of those, the latest of each first.
    fn all(&self, now: Instant) -> impl Iterator<Item = (&str, &Binding<Flow>)> {
        self.of.users.iter().flat_map(move |user| {
            let bindings = self.bindings.get(&user.name);
            let bindings = bindings.into_iter().flat_map(move |bindings| bindings.iter(now));
            bindings.map(|binding| (user.name.as_str(), binding))
        })
    }
}

fn of<'a>(plan: &'a Plan, trunk: &str) -> Option<&'a Registrar> {
    plan.trunk(trunk)?.accounts.registrar.as_deref()
}

fn refuse(core: &mut Core, flow: &Flow, reason: &'static str) {
    let (trunk, source) = (flow.trunk.to_string(), flow.remote);
    core.emit(Event::RegistrarRefused { trunk, source, reason });
}

/// Whether two messages came over the same flow: a connection, or a pair of UDP addresses, whose
/// number may be given anew.
fn same(one: &Flow, other: &Flow) -> bool {
    match one.transport.reliable() {
        true => one.id == other.id,
        false => one.listener == other.listener && one.remote == other.remote,
    }
}

fn allows(trunk: &Trunk, address: IpAddr) -> bool {
    trunk.sources.iter().any(|block| block.contains(address))
}

fn way(trunk: &Trunk, binding: &Binding<Flow>) -> Option<Way> {
    let uri = Uri::parse(&binding.contact).ok()?;
    let host = std::str::from_utf8(uri.host).ok()?.to_owned();
    let flow = binding.flow.clone();
    let named = host.parse::<IpAddr>().ok().filter(|ip| allows(trunk, *ip));
    let port = uri.port.unwrap_or(flow.transport.default_port());
    let otherwise = named.map(|ip| Target {
        trunk: Arc::clone(&flow.trunk),
        listener: Arc::clone(&flow.listener),
        transport: flow.transport,
        address: SocketAddr::new(ip, port),
        server_name: trunk.peer_names.first().map(|name| name.as_str().into()),
        own_name: None,
    });
    let target = TargetName { host, port: uri.port };
    Some(Way { target, params: params(&uri), hop: Hop::Flow { flow, otherwise } })
}

/// The parameters by which a PBX knows its line again; those that we write ourselves, and a method,
/// which stands in no Request-URI (RFC 3261, 19.1.1), are left out.
fn params(uri: &Uri<'_>) -> String {
    let ours = |name: &[u8]| {
        ["transport", "user", "method"].iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()))
    };
    let mut kept = String::new();
    for (name, value) in Params::new(uri.params()).filter(|(name, _)| !ours(name)) {
        kept.push(';');
        kept.push_str(&String::from_utf8_lossy(name));
        if let Some(value) = value {
            kept.push('=');
            kept.push_str(&String::from_utf8_lossy(value));
        }
    }
    kept
}
