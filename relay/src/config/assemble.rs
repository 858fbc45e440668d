//! Puts the drafts of files together: every name finds its table, every rule between tables is judged,
//! and what holds becomes a [`Plan`] without tenants, and tenants for it.

use super::certificate;
use super::guard::Classes;
use super::host::{HostDraft, ListenerDraft};
use super::names::Names;
use super::problem::Problems;
use super::route::{self, Tables};
use super::tenant::TenantDraft;
use super::trunk::TrunkDraft;
use super::{AcmeOrder, accounts, hook, music, naming, overlap, rates, roots, sbc, tls_check};
use b2bua::accounts::Accounts;
use b2bua::plan::{
    Ceiling, Fqdns, Listener, MediaAddress, Node, NumberIndex, Plan, Rates, Roots, Route, Tenant,
    Tenants, Transport, Trunk, TrunkKind,
};
use certs::Identities;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// What the host's file comes to, with all that tenants are judged by.
#[derive(Debug)]
pub(crate) struct Assembled {
    /// The plan without tenants; `None` only if a problem has been reported.
    pub(crate) plan: Option<Plan>,
    /// Every certificate.
    pub(crate) certificates: certificate::Loaded,
    /// The same, to be chosen among.
    pub(crate) identities: Identities,
    /// What is to be had by ACME.
    pub(crate) acme: Vec<AcmeOrder>,
    pub(crate) linked: Linked,
    directory: PathBuf,
}

/// Which table each reference leads to; `None` where it leads nowhere, which is told.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    pub(crate) listener_of_trunk: Vec<Option<usize>>,
    pub(crate) media_of_trunk: Vec<Option<usize>>,
    /// The address for users inside, where a trunk names one.
    pub(crate) inside_of_trunk: Vec<Option<usize>>,
    pub(crate) certificate_of_listener: Vec<Option<usize>>,
    pub(crate) rates: Option<Vec<Rates>>,
}

/// Judges what single tables of the host's file cannot know.
pub(crate) fn host(
    directory: &Path,
    host: &HostDraft,
    before: Option<&Assembled>,
    now: SystemTime,
    problems: &Problems,
) -> Assembled {
    let linked = link(directory, host, problems);
    for (index, trunk) in host.trunks.iter().enumerate() {
        let listener = linked.listener_of_trunk[index].and_then(|at| host.listeners.get(at));
        if let Some(listener) = listener {
            transport_fits(trunk, listener, host, problems);
        }
        ambiguous_sources(index, host, &linked, problems);
        bypass_fits(index, host, &linked, problems);
        format_fits(trunk, host, problems);
    }
    idle_listeners(host, &linked, problems);
    naming::host(host, &linked, problems);
    overlap::host(host, problems);
    let before = before.map(|before| &before.certificates);
    let certificates = certificate::load(directory, host, before, now, problems);
    let named = certificates.all().map(|it| (it.name.clone(), Arc::clone(&it.identity)));
    let identities = Identities::new(named);
    let plan = plan(directory, host, &linked, problems);
    let shown = tls_check::Shown {
        host,
        linked: &linked,
        certificates: &certificates,
        identities: &identities,
    };
    tls_check::host(directory, &shown, now, problems);
    let acme = acme(directory, host, problems);
    Assembled { plan, certificates, identities, acme, linked, directory: directory.to_owned() }
}

/// What is to be had by ACME.
fn acme(directory: &Path, host: &HostDraft, problems: &Problems) -> Vec<AcmeOrder> {
    let state = directory.join(&host.state);
    let drafts = host.certificates.iter().filter_map(|draft| match &draft.source {
        certificate::Source::Acme(acme) => Some((draft.name.as_ref()?, acme)),
        _ => None,
    });
    drafts.filter_map(|(name, acme)| acme.order(directory, &state, &name.value, problems)).collect()
}

fn plan(directory: &Path, host: &HostDraft, linked: &Linked, problems: &Problems) -> Option<Plan> {
    let trunks: Option<Vec<Trunk>> =
        collect(host.trunks.iter().enumerate().map(|(index, draft)| {
            let transport =
                linked.listener_of_trunk[index].and_then(|at| host.listeners[at].transport);
            let tls = tls_check::is_tls(transport);
            let named = match tls {
                false => Roots::System,
                true => {
                    let who = (draft.whose.as_str(), draft.place);
                    roots::load(directory, &draft.roots, draft.usual_roots(), who, problems)
                }
            };
            let fqdn = host.fqdn.as_ref().map(|at| at.value.as_str());
            let accounts = accounts::load(directory, draft, fqdn, problems);
            let music = music::load(directory, draft, problems);
            trunk(
                draft,
                host,
                music?,
                (
                    linked.listener_of_trunk[index]?,
                    linked.media_of_trunk[index]?,
                    linked.inside_of_trunk[index],
                ),
                transport?,
                named,
                accounts?,
            )
        }));
    Some(Plan {
        generation: 0,
        node: Node {
            fqdn: host.fqdn.as_ref()?.value.clone(),
            shutdown_deadline: host.shutdown_deadline,
            calls_max: usize::try_from(host.calls_max).ok()?,
        },
        media: collect(host.media.iter().map(media_address))?.into(),
        media_workers: usize::try_from(host.workers).ok()?,
        transcoders: usize::try_from(host.transcoders).ok()?,
        listeners: collect(host.listeners.iter().map(listener))?.into(),
        trunks: trunks?.into(),
        tenants: Tenants::default(),
        fqdns: Fqdns::default(),
        numbers: NumberIndex::default(),
        absent: std::sync::Arc::default(),
        rates: linked.rates.clone()?.into(),
        block: host.block.clone().into(),
        resolve: host
            .resolve
            .iter()
            .map(|(name, to)| (name.value.clone(), to.clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into(),
    })
}

/// What a tenant's file is judged by besides itself: the host's, right or wrong.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    assembled: &'a Assembled,
    tables: Tables<'a>,
    classes: Classes,
}

impl<'a> Ground<'a> {
    pub(crate) fn new(host: &'a HostDraft, assembled: &'a Assembled) -> Self {
        // What is wrong with names is told already, where it was assembled.
        let told = Problems::default();
        let (trunks, rates) = (trunk_names(host, &told), rate_names(host, &told));
        Self {
            assembled,
            tables: Tables { host, trunks, rates },
            classes: Classes::of(&host.classes, host.damaged),
        }
    }

    /// The host's file.
    pub(crate) fn host(&self) -> &'a HostDraft {
        self.tables.host
    }

    /// What certificates there are.
    pub(crate) fn shown(&self) -> tls_check::Shown<'a> {
        let Assembled { linked, certificates, identities, .. } = self.assembled;
        tls_check::Shown { host: self.tables.host, linked, certificates, identities }
    }

    /// The tenant that `draft` describes; `None` only if a problem has been reported.
    pub(crate) fn tenant(&self, draft: &TenantDraft, problems: &Problems) -> Option<Tenant> {
        let (routes, teams_trunks) = route::link(draft, &self.tables, problems);
        tls_check::tenant(&self.shown(), draft, &teams_trunks, problems);
        naming::tenant(self, draft, &teams_trunks, problems);
        let country = draft.country.or(self.tables.host.country);
        let fraud = self.classes.ceilings(&draft.fraud, country, problems);
        let hook = match &draft.hook {
            Some(draft) => Some(Arc::new(hook::load(&self.assembled.directory, draft, problems)?)),
            None => None,
        };
        let sbcs = sbc::link(&draft.sbcs, &self.tables, problems);
        let tenant = tenant(draft, self.tables.host, routes, fraud)?;
        Some(Tenant { hook, sbcs: sbcs?, ..tenant })
    }
}

fn trunk_names<'a>(host: &'a HostDraft, problems: &Problems) -> Names<'a> {
    let names = host.trunks.iter().map(|one| one.name.as_ref());
    Names::new("trunk", names, host.damaged, problems)
}

fn rate_names<'a>(host: &'a HostDraft, problems: &Problems) -> Names<'a> {
    let names = host.rates.iter().map(|one| one.name.as_ref());
    Names::new("rates", names, host.damaged, problems)
}

/// All or nothing; unlike `collect` into an `Option`, every item is looked at.
fn collect<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

/// Follows every reference between tables.
fn link(directory: &Path, host: &HostDraft, problems: &Problems) -> Linked {
    let damaged = host.damaged;
    let media_names = host.media.iter().map(|one| one.name.as_ref());
    let media = Names::new("media address", media_names, damaged, problems);
    let certificate_names = host.certificates.iter().map(|one| one.name.as_ref());
    let certificates = Names::new("certificate", certificate_names, damaged, problems);
    let listener_names = host.listeners.iter().map(|one| one.name.as_ref());
    let listeners = Names::new("listener", listener_names, damaged, problems);
    let trunks = trunk_names(host, problems);
    rate_names(host, problems);

    if host.media.is_empty() && !damaged {
        let hint = "[[media.address]] name = \"outside\" bind = \"0.0.0.0\" advertise = \"203.0.113.10\" ports = \"20000-29999\"";
        problems.error(
            host.lines.media,
            "there is no `[[media.address]]` for audio",
            Some(hint.to_owned()),
        );
    }
    let mut linked = Linked::default();
    for trunk in &host.trunks {
        let listener = trunk.listener.as_ref();
        linked
            .listener_of_trunk
            .push(listener.and_then(|name| listeners.find(name, &trunk.whose, problems)));
        let inside = trunk.media_inside.as_ref();
        linked
            .inside_of_trunk
            .push(inside.and_then(|name| media.find(name, &trunk.whose, problems)));
        linked.media_of_trunk.push(match &trunk.media {
            Some(name) => media.find(name, &trunk.whose, problems),
            None => (!host.media.is_empty()).then_some(0),
        });
    }
    for listener in &host.listeners {
        let certificate = listener.certificate.as_ref();
        let found = certificate.and_then(|name| certificates.find(name, &listener.whose, problems));
        if let (Some(name), Some(draft)) =
            (certificate, found.and_then(|at| host.certificates.get(at)))
            && draft.is_directory()
        {
            let message = format!(
                "{}: {} is a directory of certificates, and a listener has one of its own",
                listener.whose, draft.whose
            );
            let hint = "those of a directory are shown to whoever asks for their names".to_owned();
            problems.error(name.place, message, Some(hint));
        }
        linked.certificate_of_listener.push(found);
    }
    linked.rates = rates::load(directory, host, &trunks, problems);
    linked
}

/// What a trunk's kind and keys demand of its listener.
fn transport_fits(
    trunk: &TrunkDraft,
    listener: &ListenerDraft,
    host: &HostDraft,
    problems: &Problems,
) {
    let Some(place) = trunk.listener.as_ref().map(|name| name.place) else { return };
    let Some(transport) = listener.transport else { return };
    let tls = transport == Transport::Tls;
    if trunk.kind == Some(TrunkKind::Teams) && !tls {
        let message = format!(
            "{}: Teams is reached over TLS only, and {} has transport \"{}\"",
            trunk.whose,
            listener.whose,
            transport.param()
        );
        let others = host.listeners.iter().filter(|other| other.transport == Some(Transport::Tls));
        let names: Vec<&str> = others
            .filter_map(|other| other.name.as_ref())
            .map(|name| name.value.as_str())
            .collect();
        let hint = match names.as_slice() {
            [] => "add a [[listener]] with transport = \"tls\"".to_owned(),
            [one] => format!("did you mean listener = \"{one}\"?"),
            several => format!("listeners with TLS are {}", several.join(", ")),
        };
        problems.error(place, message, Some(hint));
    }
    if let (true, Some(registrar)) = (tls && trunk.peers().is_empty(), &trunk.registrar) {
        let message = format!(
            "{}: without `targets`, `peer_names` has to say which certificate the PBX shows",
            trunk.whose
        );
        let hint = "peer_names = [\"pbx.example.net\"]".to_owned();
        problems.error(registrar.place, message, Some(hint));
    }
    if trunk.kind == Some(TrunkKind::Carrier) && !tls {
        let why = format!("{} has no TLS", listener.whose);
        if let Some(name) = trunk.peer_names.as_ref().and_then(|names| names.first()) {
            problems.error(
                name.place,
                format!("{}: `peer_names` does nothing here: {why}", trunk.whose),
                None,
            );
        }
        if let Some(roots) = trunk.roots.first() {
            problems.error(
                roots.place,
                format!("{}: `roots` does nothing here: {why}", trunk.whose),
                None,
            );
        }
    }
    if let (Some(TrunkKind::Teams), true, Some(advertise)) =
        (trunk.kind, trunk.cloud.fixes_port(), &listener.advertise)
        && advertise.value.port() != super::teams::PORT
    {
        let message = format!(
            "{}: this cloud reaches an SBC on port {} only, and {} advertises {}",
            trunk.whose,
            super::teams::PORT,
            listener.whose,
            advertise.value
        );
        problems.error(place, message, None);
    }
}

/// A number is international or national somewhere.
fn format_fits(trunk: &TrunkDraft, host: &HostDraft, problems: &Problems) {
    if let Some(format) = &trunk.numbers.format
        && format.value.needs_country()
        && trunk.country.or(host.country).is_none()
    {
        let word = format.value.word();
        let message = format!("{}: `format = \"{word}\"` needs `country`", trunk.whose);
        let hint = "country = \"DE\", here or in [node]".to_owned();
        problems.error(format.place, message, Some(hint));
    }
}

/// Media bypass has one candidate, which is IPv4 (TDR-MED-006), and Microsoft knows an FQDN with its
/// port as a trunk with bypass or as one without, never as both.
fn bypass_fits(index: usize, host: &HostDraft, linked: &Linked, problems: &Problems) {
    let trunk = &host.trunks[index];
    let bypasses = |trunk: &TrunkDraft| {
        trunk.ice.as_ref().is_some_and(|at| at.value == sdp::IcePolicy::Bypass)
    };
    let Some(ice) = trunk.ice.as_ref().filter(|_| bypasses(trunk)) else { return };
    let media = linked.media_of_trunk[index].and_then(|at| host.media.get(at));
    if let Some(advertise) = media.and_then(|media| media.advertise)
        && advertise.is_ipv6()
    {
        let message = format!(
            "{}: media bypass is IPv4 only, and its media address advertises {advertise}",
            trunk.whose
        );
        let hint = "media = \"NAME\" of a [[media.address]] with IPv4".to_owned();
        problems.error(ice.place, message, Some(hint));
    }
    let listener = linked.listener_of_trunk[index];
    let other = host.trunks.iter().enumerate().find(|(at, other)| {
        other.kind == Some(TrunkKind::Teams)
            && listener.is_some()
            && linked.listener_of_trunk[*at] == listener
            && !bypasses(other)
    });
    if let Some((_, other)) = other {
        let message = format!(
            "{}: `bypass = true` needs a listener of its own: Microsoft knows one FQDN and port as a \
             trunk with media bypass or as one without, and {} is on the same",
            trunk.whose, other.whose
        );
        let hint =
            "a second [[listener]] on another port, and a second trunk at Microsoft".to_owned();
        problems.error(ice.place, message, Some(hint));
    }
}

/// Two trunks of one listener with the same block: messages from it always count as the first's.
fn ambiguous_sources(index: usize, host: &HostDraft, linked: &Linked, problems: &Problems) {
    let trunk = &host.trunks[index];
    let listener = linked.listener_of_trunk[index];
    for (before, other) in host.trunks.iter().enumerate().take(index) {
        if listener.is_none() || linked.listener_of_trunk[before] != listener {
            continue;
        }
        let theirs = other.source_blocks();
        if let Some(block) = trunk.source_blocks().into_iter().find(|block| theirs.contains(block))
        {
            let place = trunk
                .sources
                .iter()
                .find(|at| at.value == block)
                .map_or(trunk.place, |at| at.place);
            let message = format!(
                "{}: what comes from {}/{} counts as {}, which has the same block on the same listener",
                trunk.whose, block.network, block.length, other.whose
            );
            let hint = "give each a listener of its own to tell them apart";
            problems.warning(place, message, Some(hint.to_owned()));
        }
    }
}

fn idle_listeners(host: &HostDraft, linked: &Linked, problems: &Problems) {
    let complete = !host.damaged && linked.listener_of_trunk.iter().all(Option::is_some);
    for (index, listener) in host.listeners.iter().enumerate() {
        if complete && !linked.listener_of_trunk.contains(&Some(index)) {
            let message =
                format!("{} is used by no trunk, so nobody may talk to it", listener.whose);
            problems.warning(listener.place, message, None);
        }
    }
}

fn media_address(draft: &super::host::MediaDraft) -> Option<MediaAddress> {
    Some(MediaAddress {
        name: draft.name.as_ref()?.value.clone(),
        bind: draft.bind.as_ref()?.value,
        advertise: draft.advertise?,
        ports: draft.ports.as_ref()?.value.clone(),
        dscp: draft.dscp,
    })
}

fn listener(draft: &ListenerDraft) -> Option<Listener> {
    Some(Listener {
        name: draft.name.as_ref()?.value.clone(),
        transport: draft.transport?,
        bind: draft.bind.as_ref()?.value,
        advertise: draft.advertise.as_ref()?.value,
        certificate: draft.certificate.as_ref().map(|name| name.value.clone()),
    })
}

fn trunk(
    draft: &TrunkDraft,
    host: &HostDraft,
    music_on_hold: Option<sdp::Sound>,
    (listener, media, inside): (usize, usize, Option<usize>),
    transport: Transport,
    roots: Roots,
    accounts: Accounts,
) -> Option<Trunk> {
    let tls = transport == Transport::Tls;
    Some(Trunk {
        name: draft.name.as_ref()?.value.clone(),
        kind: draft.kind?,
        fqdn: draft.fqdn.as_ref().map(|fqdn| fqdn.value.clone()),
        listener,
        targets: draft.target_names(transport),
        sources: draft.source_blocks(),
        srtp: draft.srtp,
        suites: draft.suites,
        keying: draft.keying,
        passthrough: draft.passthrough,
        options_interval: draft.options_interval,
        session_timer: draft.session_timer,
        media,
        inside,
        ports: draft.ports.as_ref().map(|at| at.value.clone()),
        dscp: draft.dscp,
        limits: draft.limits.all,
        limits_in: draft.limits.sides[0],
        limits_out: draft.limits.sides[1],
        failover: draft.failover.clone(),
        answer_timeout: draft.answer_timeout,
        breaker: draft.breaker,
        country: draft.country.or(host.country.filter(|_| draft.kind != Some(TrunkKind::Teams))),
        headers: draft.headers,
        terms: sdp::Terms {
            music_on_hold,
            learned_within: draft.learned_within(),
            ..draft.terms.clone()
        },
        ice: draft.ice.as_ref().map(|at| at.value).unwrap_or_default(),
        fax: draft.fax,
        reliable: draft.reliable,
        follow_redirects: draft.follow_redirects,
        transfer: draft.transfer,
        peer_names: if tls { draft.peers() } else { Vec::new() },
        roots,
        accounts,
        format: draft.numbers.format.as_ref().map(|at| at.value),
        rewrite: draft.numbers.rewrite.clone(),
        header_rules: draft.numbers.header_rules.clone(),
        codecs: draft.numbers.codecs.clone(),
        transcode: draft.numbers.transcode,
        ringback: draft.numbers.ringback,
        early_media: draft.early_media,
        hold: draft.hold,
    })
}

fn tenant(
    draft: &TenantDraft,
    host: &HostDraft,
    routes: Option<Vec<Route>>,
    fraud: Option<Vec<Ceiling>>,
) -> Option<Tenant> {
    Some(Tenant {
        name: draft.name.clone(),
        model: draft.model,
        fqdns: draft.names().map(|at| at.value.clone()).collect(),
        // Their trunks are looked up where it is known to be read.
        sbcs: Vec::new(),
        tenant_id: draft.tenant_id.clone(),
        numbers: draft.numbers.iter().map(|at| at.value).collect(),
        limits: draft.limits.all,
        limits_from_teams: draft.limits.sides[0],
        limits_from_carrier: draft.limits.sides[1],
        fraud: fraud?,
        suspended: draft.suspended,
        routes: routes?,
        country: draft.country.or(host.country),
        timezone: draft.timezone.clone(),
        progress_after: draft.progress_after,
        hold: draft.hold,
        transfer: draft.transfer,
        emergency: route::emergency_numbers(draft, host),
        help: draft.help.clone(),
        busy_when_full: draft.limits.busy_when_full,
        block: draft.rules.block.clone(),
        rewrite: draft.rules.rewrite.clone(),
        header_rules: draft.rules.header_rules.clone(),
        caller: draft.rules.caller.value.clone(),
        privacy: draft.rules.privacy,
        codecs: draft.rules.codecs.clone(),
        transcode: draft.rules.transcode,
        ringback: draft.rules.ringback,
        // Its files are looked into where it is known to be read.
        hook: None,
    })
}
