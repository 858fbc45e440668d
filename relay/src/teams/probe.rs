//! Finds what there is to be found: in the configuration, by DNS, over connections, at the daemon.

use super::facts::{
    Certificate, Daemon, Door, Facts, Name, Reached, Target, Tenant, Trouble, Trunk,
};
use super::wire::{self, Line, Us};
use super::{Known, facts, places};
use crate::admin::{self, Answer, FqdnRow, Request};
use crate::config::{self, Loaded, Problem};
use crate::{clock, dns};
use b2bua::Plan;
use b2bua::plan::{self, Cidr, Model, RouteFrom, TrunkKind};
use certs::{Identity, KeyKind, Roots};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at once.
const CONNECTIONS_MAX: usize = 32;

/// Looks at all there is, or at what concerns one tenant.
pub(crate) fn look(path: &Path, loaded: &Loaded, tenant: Option<&str>) -> std::io::Result<Facts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(Probe::new(path, loaded, tenant).run()))
}

struct Probe<'a> {
    path: &'a Path,
    loaded: &'a Loaded,
    plan: &'a Plan,
    /// The tenants that are looked at.
    tenants: Vec<&'a plan::Tenant>,
    /// Accepted roots of each trunk to Teams, as far as they can be read.
    roots: BTreeMap<usize, Roots>,
}

impl<'a> Probe<'a> {
    fn new(path: &'a Path, loaded: &'a Loaded, tenant: Option<&str>) -> Self {
        let plan = &loaded.plan;
        let wanted = |it: &&plan::Tenant| tenant.is_none_or(|name| it.name == name);
        let read = |roots: &plan::Roots| crate::transport::load_roots(roots).ok();
        let teams = plan.trunks.iter().enumerate().filter(|(_, it)| it.kind == TrunkKind::Teams);
        let roots = teams.filter_map(|(index, it)| Some((index, read(&it.roots)?))).collect();
        let tenants = plan.tenants.iter().filter(wanted).collect();
        Self { path, loaded, plan, tenants, roots }
    }

    async fn run(self) -> Facts {
        let trunks = self.trunks();
        let names = self.names(&trunks);
        let mut asked: BTreeSet<String> = names.iter().map(|(fqdn, ..)| fqdn.clone()).collect();
        for trunk in trunks.iter().filter_map(|trunk| self.plan.trunks.get(*trunk)) {
            asked.extend(trunk.targets.iter().map(|target| target.host.clone()));
        }
        let fixed =
            |name: &String| name.parse::<IpAddr>().is_ok() || self.plan.resolve.contains_key(name);
        let unknown = asked.iter().filter(|name| !fixed(name)).cloned().collect();
        let found = dns::addresses(unknown).await;
        let located = |name: &str| -> Result<Vec<IpAddr>, String> {
            if let Ok(literal) = name.parse() {
                return Ok(vec![literal]);
            }
            let fixed = self.plan.resolve.get(name).cloned().map(Ok);
            fixed.or_else(|| found.get(name).cloned()).unwrap_or_else(|| Err("not asked".into()))
        };
        let system = Roots::system().ok();
        let mut work = JoinSet::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut facts = Facts {
            now: clock::now().wall,
            daemon: self.daemon(),
            clock: media_engine::clock_error().map_err(|error| error.to_string()),
            trunks: trunks.iter().filter_map(|trunk| self.trunk(*trunk)).collect(),
            names: Vec::new(),
            tenants: self.tenants.iter().map(|tenant| self.tenant(tenant)).collect(),
        };
        for (place, trunk) in trunks.iter().enumerate() {
            for target in self.plan.trunks.get(*trunk).iter().flat_map(|it| &it.targets) {
                let at = located(&target.host).map_err(Trouble::Unresolved);
                let (tries, names) = (self.tries(*trunk, target, at), self.shown_as(*trunk));
                let room = Arc::clone(&room);
                work.spawn(async move { (place, Arc::new(tries).all(names, room).await) });
            }
        }
        let mut tried: Vec<(usize, Target)> = Vec::new();
        while let Some(done) = work.join_next().await {
            tried.extend(done.ok());
        }
        // In the order of the configuration, whoever was the faster.
        for (place, trunk) in trunks.iter().enumerate() {
            let Some(of) = self.plan.trunks.get(*trunk) else { continue };
            let order =
                |target: &Target| of.targets.iter().position(|it| it.to_string() == target.name);
            let own = tried.iter().filter(|(at, _)| *at == place);
            let mut own: Vec<Target> = own.map(|(_, target)| target.clone()).collect();
            own.sort_by_key(|target| order(target));
            if let Some(trunk) = facts.trunks.get_mut(place) {
                trunk.targets = own;
            }
        }
        let socket = config::admin_socket(self.path);
        let mut doors = JoinSet::new();
        for (place, (fqdn, trunk, known)) in names.into_iter().enumerate() {
            let Some(mut name) = self.name(&fqdn, trunk, known, system.as_ref()) else { continue };
            name.addresses = located(&fqdn);
            let to = name.addresses.as_ref().ok().and_then(|all| {
                all.iter().find(|it| it.is_ipv4() == name.advertise.is_ipv4()).copied()
            });
            let from = to.and_then(|to| self.lab_source(trunk, to));
            let (socket, advertise) = (socket.clone(), name.advertise);
            let room = Arc::clone(&room);
            doors.spawn(async move {
                let _permit = room.acquire_owned().await;
                if let Some(to) = to {
                    let (fqdn, to) = (name.fqdn.clone(), SocketAddr::new(to, name.port));
                    let announce = move |local| announce(&socket, local, advertise);
                    let knock = move || wire::knock(&fqdn, from, to, announce);
                    name.door = tokio::task::spawn_blocking(knock).await.unwrap_or(Door::Untried);
                }
                (place, name)
            });
        }
        let mut found: Vec<(usize, Name)> = Vec::new();
        while let Some(done) = doors.join_next().await {
            found.extend(done.ok());
        }
        found.sort_by_key(|(place, _)| *place);
        facts.names = found.into_iter().map(|(_, name)| name).collect();
        facts
    }

    /// The trunks to Teams that the tenants use; without tenants, all of them.
    fn trunks(&self) -> Vec<usize> {
        let used: BTreeSet<usize> =
            self.tenants.iter().flat_map(|tenant| self.plan.teams_trunks_of(tenant)).collect();
        match used.is_empty() {
            true => {
                let all = self.plan.trunks.iter().enumerate();
                all.filter(|(_, it)| it.kind == TrunkKind::Teams).map(|(index, _)| index).collect()
            }
            false => used.into_iter().collect(),
        }
    }

    /// The names that Teams reaches us by: of each trunk, then of the tenants.
    fn names(&self, trunks: &[usize]) -> Vec<(String, usize, Known)> {
        let bases =
            trunks.iter().map(|trunk| (self.plan.base_of(*trunk).to_owned(), *trunk, Known::Base));
        let mut names: Vec<_> = bases.collect();
        for tenant in &self.tenants {
            for (fqdn, trunk) in places(self.plan, tenant) {
                let known = Known::of(self.plan, trunk, tenant, fqdn);
                if !names.iter().any(|(name, at, _)| name == fqdn && *at == trunk) {
                    names.push((fqdn.to_owned(), trunk, known));
                }
            }
        }
        names
    }

    /// What the daemon knows; each tenant's names are asked for by themselves.
    fn daemon(&self) -> Result<Daemon, String> {
        let socket = config::admin_socket(self.path);
        let ask = |tenant: Option<String>| match admin::ask(&socket, Request::Teams { tenant }) {
            Ok(Answer::Teams { fqdns, drains }) => Ok((fqdns, drains)),
            Ok(Answer::Failed { why }) => Err(why),
            Ok(_) => Err("it is another version".to_owned()),
            Err(error) => Err(format!("{}: {error}", socket.display())),
        };
        let (mut fqdns, drains) = ask(None)?;
        for tenant in &self.tenants {
            let (more, _) = ask(Some(tenant.name.clone()))?;
            let new = |row: &FqdnRow| {
                !fqdns
                    .iter()
                    .any(|known: &FqdnRow| known.fqdn == row.fqdn && known.trunk == row.trunk)
            };
            let more: Vec<FqdnRow> = more.into_iter().filter(new).collect();
            fqdns.extend(more);
        }
        let mine = |row: &FqdnRow| {
            let tenant = row.tenant.as_ref();
            tenant.is_none_or(|name| self.tenants.iter().any(|it| it.name == *name))
        };
        fqdns.retain(mine);
        Ok(Daemon { fqdns, drains })
    }

    fn trunk(&self, index: usize) -> Option<Trunk> {
        let trunk = self.plan.trunks.get(index)?;
        let listener = self.plan.listeners.get(trunk.listener)?;
        let sources = trunk.sources.iter().map(|it| format!("{}/{}", it.network, it.length));
        Some(Trunk {
            name: trunk.name.clone(),
            advertise: listener.advertise.ip(),
            media: self.plan.media_of(index)?.0.advertise,
            asks: trunk.options_interval.is_some(),
            sources: sources.collect::<Vec<_>>().join(", "),
            targets: Vec::new(),
        })
    }

    /// The names that OPTIONS is sent under on a trunk: its base, and those that are trunks themselves.
    fn asked_under(&self, trunk: usize) -> Vec<String> {
        let mut names = vec![self.plan.base_of(trunk).to_owned()];
        for tenant in self.tenants.iter().filter(|it| it.model == Model::Classic) {
            let own = places(self.plan, tenant).into_iter().filter(|(_, at)| *at == trunk);
            names.extend(own.map(|(fqdn, _)| fqdn.to_owned()));
        }
        names.dedup();
        names
    }

    /// The names that OPTIONS is sent under, each with the certificate that goes with it.
    fn shown_as(&self, trunk: usize) -> Vec<(String, Option<Arc<Identity>>)> {
        let default = self.listener(trunk).and_then(|it| it.certificate.as_deref());
        let with = |fqdn: String| {
            let identity = self.loaded.identities.choose(Some(&fqdn), default.unwrap_or_default());
            (fqdn, identity)
        };
        self.asked_under(trunk).into_iter().map(with).collect()
    }

    fn listener(&self, trunk: usize) -> Option<&'a plan::Listener> {
        self.plan.listeners.get(self.plan.trunks.get(trunk)?.listener)
    }

    /// What it takes to ask one of Microsoft's names.
    fn tries(
        &self,
        trunk: usize,
        target: &plan::TargetName,
        at: Result<Vec<IpAddr>, Trouble>,
    ) -> Tries {
        let listener = self.listener(trunk);
        Tries {
            at,
            bind: listener.map(|it| it.bind.ip()).filter(|bind| !bind.is_unspecified()),
            v4: listener.is_none_or(|listener| listener.bind.is_ipv4()),
            port: listener.map_or(5061, |listener| listener.advertise.port()),
            roots: self.roots.get(&trunk).cloned(),
            host: target.host.clone(),
            name: target.to_string(),
            to_port: target.port.unwrap_or(5061),
        }
    }

    /// A name of ours, before it is looked up and tried.
    fn name(&self, fqdn: &str, trunk: usize, known: Known, system: Option<&Roots>) -> Option<Name> {
        let of = self.plan.trunks.get(trunk)?;
        let listener = self.plan.listeners.get(of.listener)?;
        let default = listener.certificate.as_deref().unwrap_or_default();
        let identity = self.loaded.identities.choose(Some(fqdn), default);
        let now = clock::now().wall;
        let certificate = identity.map(|identity| {
            let own =
                |it: &&config::Certificate| it.identity.fingerprint() == identity.fingerprint();
            let named = self.loaded.certificates.iter().find(own);
            let broken = self.loaded.broken_certificates.iter();
            let missing = |name: &str| {
                let why = broken.clone().find(|(broken, _)| broken == name);
                let said = |(_, why): &(String, Problem)| {
                    format!("{}: {}", why.file.display(), why.message)
                };
                why.map_or_else(|| "it has not been issued yet".to_owned(), said)
            };
            let name = named.map_or_else(|| default.to_owned(), |it| it.name.clone());
            // A bare host has at least those that come with us.
            let shipped = || identity.reaches(&Roots::microsoft(), now).is_ok().then_some(Ok(()));
            let private = !matches!(of.roots, plan::Roots::System | plan::Roots::Microsoft);
            let private = self.roots.get(&trunk).filter(|_| private);
            Certificate {
                missing: identity.is_pending().then(|| missing(&name)),
                name,
                names: identity.names().to_vec(),
                covers: identity.covers(fqdn),
                not_before: identity.not_before(),
                not_after: identity.not_after(),
                for_servers: identity.for_servers(),
                rsa: match identity.key_kind() {
                    KeyKind::Rsa(bits) => Some(bits),
                    KeyKind::Ecdsa(_) | KeyKind::Other => None,
                },
                chain: identity.chain_len(),
                public: system.map_or_else(shipped, |roots| {
                    Some(identity.reaches(roots, now).map_err(|refusal| refusal.to_string()))
                }),
                private: private.is_some_and(|roots| identity.reaches(roots, now).is_ok()),
            }
        });
        Some(Name {
            fqdn: fqdn.to_owned(),
            trunk: of.name.clone(),
            known,
            advertise: listener.advertise.ip(),
            addresses: Err("not asked".into()),
            fixed: self.plan.resolve.contains_key(fqdn),
            port: listener.advertise.port(),
            door: Door::Untried,
            certificate,
        })
    }

    /// Where all is on this host, an address that the trunk lets in: a lab can be looked at as Teams
    /// would.
    fn lab_source(&self, trunk: usize, to: IpAddr) -> Option<IpAddr> {
        let sources = &self.plan.trunks.get(trunk)?.sources;
        let within = |cidr: &Cidr| match cidr.network {
            IpAddr::V4(v4) if v4.is_loopback() && cidr.length >= 8 => {
                let host = if cidr.length <= 24 { 250 } else { 0 };
                Some(IpAddr::V4(Ipv4Addr::from(u32::from(v4) | host)))
            }
            _ => None,
        };
        to.is_loopback().then(|| sources.iter().find_map(within)).flatten()
    }

    fn tenant(&self, tenant: &plan::Tenant) -> Tenant {
        let teams = |trunk: usize| {
            self.plan.trunks.get(trunk).is_some_and(|it| it.kind == TrunkKind::Teams)
        };
        let routes = |from| tenant.routes.iter().filter(move |route| route.from == from);
        Tenant {
            name: tenant.name.clone(),
            fqdns: tenant.own_fqdns().cloned().collect(),
            number: tenant.numbers.first().map(|range| {
                let width = usize::from(range.digits);
                format!("+{:0width$}", range.first)
            }),
            suspended: tenant.suspended,
            routes_out: routes(RouteFrom::Teams).next().is_some(),
            routes_in: routes(RouteFrom::Carrier).any(|route| route.to.trunks().any(teams)),
        }
    }
}

/// Tells the daemon that we knock from there, so that it counts no stranger. Where NAT leads back inside,
/// it may see us under the address that is ours outside.
fn announce(socket: &Path, local: SocketAddr, outside: IpAddr) -> Result<(), String> {
    let mut from = vec![local, SocketAddr::new(outside, local.port())];
    from.dedup();
    match admin::ask(socket, Request::Knock { from }) {
        Ok(Answer::Expected) => Ok(()),
        Ok(Answer::Failed { why }) => Err(why),
        Ok(_) => Err("it is another version".to_owned()),
        // Nobody is there who would count it.
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            Ok(())
        }
        Err(error) => Err(format!("{}: {error}", socket.display())),
    }
}

/// What it takes to ask one of Microsoft's names.
struct Tries {
    at: Result<Vec<IpAddr>, Trouble>,
    bind: Option<IpAddr>,
    v4: bool,
    port: u16,
    roots: Option<Roots>,
    host: String,
    name: String,
    to_port: u16,
}

impl Tries {
    /// Connects and asks under the first of our names; if that can be done, under all others at once.
    async fn all(
        self: Arc<Self>,
        names: Vec<(String, Option<Arc<Identity>>)>,
        room: Arc<Semaphore>,
    ) -> Target {
        let name = self.name.clone();
        let never = || Trouble::Tls("nothing to ask as".into());
        let mut names = names.into_iter();
        let Some((base, identity)) = names.next() else {
            return Target { name, reached: Err(never()) };
        };
        let (tries, permit) = (Arc::clone(&self), Arc::clone(&room).acquire_owned().await);
        let first = tokio::task::spawn_blocking(move || tries.first(base, identity)).await;
        drop(permit);
        let mut reached = first.unwrap_or_else(|_| Err(never()));
        if let Ok(reached) = &mut reached {
            let mut work = JoinSet::new();
            for (place, (fqdn, identity)) in names.enumerate() {
                let (tries, room) = (Arc::clone(&self), Arc::clone(&room));
                work.spawn(async move {
                    let _permit = room.acquire_owned().await;
                    let ask = move || (place, tries.other(fqdn, identity));
                    tokio::task::spawn_blocking(ask).await
                });
            }
            let mut others = Vec::new();
            while let Some(done) = work.join_next().await {
                others.extend(done.ok().and_then(Result::ok));
            }
            others.sort_by_key(|(place, _)| *place);
            reached.answers.extend(others.into_iter().map(|(_, answer)| answer));
        }
        Target { name, reached }
    }

    fn open(&self, identity: Option<Arc<Identity>>) -> Result<(Line, SocketAddr), Trouble> {
        let all = self.at.clone()?;
        let ip = all.into_iter().find(|it| it.is_ipv4() == self.v4);
        let ip = ip.ok_or_else(|| Trouble::Unresolved("none of its kind".into()))?;
        let to = SocketAddr::new(ip, self.to_port);
        let nothing = || Trouble::Tls("we have no certificate, or no roots".into());
        let us = Us {
            from: self.bind,
            identity: identity.ok_or_else(nothing)?,
            roots: self.roots.clone().ok_or_else(nothing)?,
        };
        Line::open(&us, &self.host, to).map(|line| (line, to))
    }

    fn first(&self, base: String, identity: Option<Arc<Identity>>) -> Result<Reached, Trouble> {
        let (mut line, to) = self.open(identity)?;
        let (version, suite) = line.agreed();
        let answer = line.options(&self.name, &format!("{base}:{}", self.port));
        Ok(Reached { address: to.to_string(), version, suite, answers: vec![(base, answer)] })
    }

    /// Another name may go with another certificate, which is shown once a connection.
    fn other(&self, fqdn: String, identity: Option<Arc<Identity>>) -> Answered {
        let answer = match self.open(identity) {
            Ok((mut line, _)) => line.options(&self.name, &format!("{fqdn}:{}", self.port)),
            Err(trouble) => Err(trouble.words()),
        };
        (fqdn, answer)
    }
}

/// What OPTIONS under one of our names brought.
type Answered = (String, Result<facts::Answer, String>);

impl Trouble {
    fn words(self) -> String {
        match self {
            Self::Unresolved(why) | Self::Unreachable(why) | Self::Tls(why) => why,
        }
    }
}
