//! The file of `tollgate emulate`: one table for the side, then tenants, users and calls.

use super::Failure;
use super::peer::{Access, MediaPorts, Tones};
use super::pki;
use super::script::{self, Change, Planned};
use crate::config::reader::{Reader, read_file};
use crate::config::{Problems, Source, value};
use b2bua::plan::{self, Cidr};
use certs::Identities;
use emulate::{
    Abilities, AnswerKeys, Carrier, Endpoint, Health, Manner, Reliability, Script, Teams, Tenant,
    Transport,
};
use sdp::{Ability, Direction, Security};
use sip_core::usage::session_timer::{MIN_SE_S, Terms};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// Which side is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Teams,
    Carrier,
}

impl Side {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Teams => "teams",
            Self::Carrier => "carrier",
        }
    }
}

/// Who is to be played.
pub(super) enum Part {
    Teams(Teams),
    Carrier(Carrier),
}

/// Everything that a round needs.
pub(super) struct Setup {
    pub(super) part: Part,
    pub(super) access: Access,
    pub(super) tones: Tones,
    pub(super) calls: Vec<Planned>,
    pub(super) changes: Vec<Change>,
    /// The tenant's FQDN and address that peers without a right certificate call at, from where, and
    /// with what else they show.
    pub(super) attack: Option<Attack>,
    /// What the operator should know of it.
    pub(super) told: Vec<String>,
}

/// Peers that must get no answer (fixture F-21).
pub(super) struct Attack {
    pub(super) fqdn: String,
    pub(super) sbc: SocketAddr,
    /// An address that is one of Microsoft's, as far as the border controller knows.
    pub(super) inside: IpAddr,
    /// One that is not.
    pub(super) outside: Option<IpAddr>,
    /// A certificate of the accepted root for somebody else.
    pub(super) stranger: Option<Identities>,
    pub(super) roots: plan::Roots,
    /// When, from the beginning on.
    pub(super) after: Duration,
}

/// The names of Microsoft's commercial cloud.
const NAMES: [&str; 3] =
    ["sip.pstnhub.microsoft.com", "sip2.pstnhub.microsoft.com", "sip3.pstnhub.microsoft.com"];
/// Where media ports are looked for: the media processors' own range (TDR-MED-002).
const MEDIA_PORTS: RangeInclusive<u16> = 49_152..=53_247;
/// Calls at once, if the file does not say: two sockets each.
const CALLS_DEFAULT: u32 = 16;
const CALLS_MAX: u32 = 1000;
/// Where certificates are made, if the file names none: each side has a root of its own.
const TEAMS_LAB: &str = "emulate-lab";
const CARRIER_LAB: &str = "emulate-lab-carrier";
/// Tables of one kind.
const LIST_MAX: usize = 1000;
/// When strangers call, if the file does not say: the border controller is up by then.
const ATTACK_AFTER: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(86_400);
/// What Teams plays and carriers play: far enough apart, and whole periods in 20 ms.
const TEAMS_HZ: u32 = 1000;
const CARRIER_HZ: u32 = 600;

/// Reads the file for this side.
pub(super) fn read(side: Side, path: &Path) -> Result<Setup, Failure> {
    let problems = Problems::default();
    let draft = Source::read(path, &problems).and_then(|source| {
        let (draft, _) = read_file(&source, &problems, |top| match side {
            Side::Teams => teams(top),
            Side::Carrier => carrier(top),
        });
        draft
    });
    let (errors, _) = problems.into_lists();
    match draft.filter(|_| errors.is_empty()) {
        Some(draft) => draft.settle(side, path.parent().unwrap_or(Path::new("."))),
        None => Err(Failure::File(errors)),
    }
}

/// The file as read, before any certificate.
struct Draft {
    part: Part,
    transport: plan::Transport,
    common: Common,
    listeners: Vec<(String, SocketAddr)>,
    /// FQDN and address of each trunk of the border controller, or its one address.
    sbc: Vec<(String, SocketAddr)>,
    sources: Vec<Cidr>,
    fresh_connections: bool,
    calls: Vec<Planned>,
    changes: Vec<Change>,
    attack: Option<(Option<IpAddr>, Option<String>, Duration)>,
}

/// What both sides have.
struct Common {
    media: Option<IpAddr>,
    ports: RangeInclusive<u16>,
    calls: usize,
    certificate: Option<(String, String)>,
    roots: Option<String>,
    lab: String,
}

fn common(table: &mut Reader<'_>, lab: &str) -> Common {
    let chain = table.optional("chain", value::path);
    let key = table.optional("key", value::path);
    if chain.is_some() != key.is_some() {
        let place = table.place();
        table.error(place, "`chain` and `key` belong together", None);
    }
    Common {
        media: table.optional("media", value::host_address).map(|at| at.value),
        ports: table.optional_or("media_ports", value::port_range, MEDIA_PORTS),
        calls: table.optional_or("calls", value::whole(1..=CALLS_MAX), CALLS_DEFAULT) as usize,
        certificate: chain.zip(key).map(|(chain, key)| (chain.value, key.value)),
        roots: table.optional("roots", value::path).map(|at| at.value),
        lab: table.optional_or("lab", value::path, lab.to_owned()),
    }
}

fn teams(top: &mut Reader<'_>) -> Option<Draft> {
    let read = top.section("teams", teams_table);
    if read.is_none() {
        top.missing("teams", Some("[teams] says where it listens: listen = [...]".to_owned()));
    }
    let tenants = top.each("tenant", "tenant", "fqdn", tenant);
    if tenants.is_empty() && !top.has("tenant") {
        let hint = "each [[tenant]] names a trunk: fqdn, and the address it leads to";
        top.missing("tenant", Some(hint.to_owned()));
    }
    let script = users(top, "user");
    let calls = top.each("call", "call", "to", |table| script::planned(table, true));
    let changes = top.each("change", "change", "endpoint", script::change);
    let attack = top.section("attack", |table| {
        let outside = table.optional("outside", value::host_address).map(|at| at.value);
        let after = table.optional_or("after", value::duration(Duration::ZERO..=DAY), ATTACK_AFTER);
        (outside, table.optional("tenant", value::fqdn).map(|at| at.value), after)
    });
    let (mut teams, listeners, common, fresh_connections, sources) = read??;
    let tenants: Vec<Tenant> = tenants.into_iter().collect::<Option<_>>()?;
    let sbc: Vec<_> = tenants.iter().map(|it| (it.fqdn.clone(), it.address)).collect();
    teams.tenants = tenants;
    teams.script = script;
    Some(Draft {
        part: Part::Teams(teams),
        transport: plan::Transport::Tls,
        common,
        listeners,
        sources: sources_or(sources, &sbc),
        sbc,
        fresh_connections,
        calls: calls.into_iter().flatten().collect(),
        changes: changes.into_iter().flatten().collect(),
        attack,
    })
}

type TeamsTable = (Teams, Vec<(String, SocketAddr)>, Common, bool, Option<Vec<Cidr>>);

fn teams_table(table: &mut Reader<'_>) -> Option<TeamsTable> {
    let listen = table.list("listen", 1..=LIST_MAX, value::advertised_address);
    if listen.is_none() {
        let hint = "listen = [\"127.0.1.1:5061\", \"127.0.1.2:5061\", \"127.0.1.3:5061\"]";
        table.missing("listen", Some(hint.to_owned()));
    }
    let names = table.list("names", 1..=LIST_MAX, value::fqdn);
    let names = names.map(|names| names.into_iter().map(|at| at.value).collect::<Vec<_>>());
    let names = names.unwrap_or_else(|| NAMES.map(str::to_owned).to_vec());
    let common = common(table, TEAMS_LAB);
    let sources = cidrs(table);
    let manner = manner(table);
    let fresh = table.optional_or("fresh_connections", value::flag, true);
    let listeners: Vec<(String, SocketAddr)> =
        names.into_iter().zip(listen?.into_iter().map(|at| at.value)).collect();
    let endpoint = |(fqdn, local): &(String, SocketAddr)| Endpoint {
        fqdn: fqdn.clone(),
        local: *local,
        health: Health::Up,
    };
    let endpoints = listeners.iter().map(endpoint).collect();
    let mut teams = Teams::new(endpoints, Vec::new(), script::usual());
    teams.manner = manner;
    teams.strict = table.optional_or("strict", value::flag, true);
    teams.bypass = table.optional_or("bypass", value::flag, false);
    teams.record_route = table.optional_or("record_route", value::flag, false);
    teams.answer_keys =
        table.optional_or("answer_keys", value::one_of(ANSWER_KEYS), AnswerKeys::OneLine);
    let pause = value::duration(Duration::from_secs(1)..=DAY);
    teams.options_every = table.optional_or("options_every", pause, Duration::from_secs(60));
    Some((teams, listeners, common, fresh, sources))
}

fn manner(table: &mut Reader<'_>) -> Manner {
    let regions = table.list("regions", 1..=LIST_MAX, value::label);
    let regions = regions.map_or_else(
        || ["eu", "us", "as"].map(str::to_owned).to_vec(),
        |regions| regions.into_iter().map(|at| at.value).collect(),
    );
    let region = |it: &String| format!("sip-du-a-{it}.pstnhub.microsoft.com");
    let second = Duration::from_secs(1);
    Manner {
        varied: table.optional_or("varied", value::flag, true),
        forward_pai: table.optional_or("forward_pai", value::flag, false),
        forward_history: table.optional_or("forward_history", value::flag, false),
        regions: regions.iter().map(region).collect(),
        min_se_s: table.optional_or("min_se", value::whole(MIN_SE_S..=86_400), 300),
        patience: table.optional_or(
            "failover_time",
            value::off_or_duration(second..=DAY),
            Some(10 * second),
        ),
        refresh_every: table.optional_or(
            "refresh_every",
            value::off_or_duration(second..=DAY),
            Some(900 * second),
        ),
        headers: script::headers(table),
    }
}

fn tenant(table: &mut Reader<'_>) -> Option<Tenant> {
    let fqdn = table.required("fqdn", value::fqdn);
    let address = table.required("address", value::advertised_address);
    let numbers = table.list("numbers", 1..=LIST_MAX, script::prefix);
    let mut tenant = Tenant::new(fqdn?.value, address?.value);
    tenant.numbers = numbers.into_iter().flatten().map(|at| at.value).collect();
    Some(tenant)
}

fn carrier(top: &mut Reader<'_>) -> Option<Draft> {
    let read = top.section("carrier", carrier_table);
    if read.is_none() {
        top.missing("carrier", Some("[carrier] says where it is: listen, sbc".to_owned()));
    }
    let script = users(top, "number");
    let calls = top.each("call", "call", "to", |table| script::planned(table, false));
    let (mut carrier, common, sbc_name, sources) = read??;
    carrier.script = script;
    let transport = match carrier.transport {
        Transport::Udp => plan::Transport::Udp,
        Transport::Tcp => plan::Transport::Tcp,
        Transport::Tls => plan::Transport::Tls,
    };
    let sbc = vec![(sbc_name.unwrap_or_else(|| carrier.sbc.ip().to_string()), carrier.sbc)];
    Some(Draft {
        listeners: vec![("carrier".to_owned(), carrier.local)],
        part: Part::Carrier(carrier),
        transport,
        common,
        sources: sources_or(sources, &sbc),
        sbc,
        fresh_connections: false,
        calls: calls.into_iter().flatten().collect(),
        changes: Vec::new(),
        attack: None,
    })
}

type CarrierTable = (Carrier, Common, Option<String>, Option<Vec<Cidr>>);

fn carrier_table(table: &mut Reader<'_>) -> Option<CarrierTable> {
    let listen = table.required("listen", value::advertised_address);
    let sbc = table.required("sbc", value::advertised_address);
    let transport = table.optional_or("transport", value::one_of(TRANSPORTS), Transport::Udp);
    let common = common(table, CARRIER_LAB);
    let sources = cidrs(table);
    let sbc_name = table.optional("sbc_name", value::fqdn).map(|at| at.value);
    let mut carrier = Carrier::new(transport, listen?.value, sbc?.value, script::usual());
    let security = table.optional_or("srtp", value::one_of(SECURITY), Security::Off);
    carrier.ability = Ability::secured(security);
    carrier.hold = table.optional_or("hold", value::one_of(HOLDS), Direction::SendOnly);
    let session = value::off_or_duration(Duration::from_secs(u64::from(MIN_SE_S))..=DAY);
    let session = table.optional_or("session", session, None);
    carrier.abilities = Abilities {
        reliable: table.optional_or("reliable", value::one_of(RELIABLE), Reliability::Off),
        offerless: table.optional_or("offerless", value::flag, false),
        update: table.optional_or("update", value::flag, false),
        session: session.map(|it| Terms { interval_s: it.as_secs() as u32, min_s: MIN_SE_S }),
        redirect: table.optional("redirect", script::number).map(|at| at.value),
        ..Abilities::default()
    };
    Some((carrier, common, sbc_name, sources))
}

fn cidrs(table: &mut Reader<'_>) -> Option<Vec<Cidr>> {
    let sources = table.list("sources", 1..=LIST_MAX, value::cidr)?;
    Some(sources.into_iter().map(|at| at.value).collect())
}

/// Where the border controller's messages come from: where it is called at, unless the file says more.
fn sources_or(sources: Option<Vec<Cidr>>, sbc: &[(String, SocketAddr)]) -> Vec<Cidr> {
    sources.unwrap_or_else(|| {
        let host = |ip: IpAddr| Cidr { network: ip, length: if ip.is_ipv4() { 32 } else { 128 } };
        sbc.iter().map(|(_, at)| host(at.ip())).collect()
    })
}

fn users(top: &mut Reader<'_>, key: &str) -> Script {
    let users = top.each(key, key, "number", script::user);
    users.into_iter().flatten().fold(script::usual(), |script, add| add(script))
}

impl Draft {
    /// Loads or makes the certificates that it needs.
    fn settle(self, side: Side, folder: &Path) -> Result<Setup, Failure> {
        let Self { common, listeners, transport, sbc, .. } = self;
        let at = |path: &str| folder.join(path);
        let mut told = Vec::new();
        let mut roots = common.roots.as_deref().map(|path| plan::Roots::File(at(path)));
        let mut stranger = None;
        let identities = match (&common.certificate, transport) {
            (Some((chain, key)), _) => pki::load(side.name(), &at(chain), &at(key))?,
            (None, plan::Transport::Tls) => {
                let lab = at(&common.lab);
                let ours: Vec<&str> = listeners.iter().map(|(name, _)| name.as_str()).collect();
                let theirs: Vec<&str> = sbc.iter().map(|(name, _)| name.as_str()).collect();
                let made = pki::prepare(&lab, side, &ours, &theirs)?;
                told.extend(made.told);
                roots = roots.or(Some(plan::Roots::File(made.root)));
                stranger = Some(made.stranger);
                made.identities
            }
            (None, plan::Transport::Udp | plan::Transport::Tcp) => Identities::new([]),
        };
        let roots = roots.unwrap_or_default();
        let first = listeners.first().map_or(IpAddr::from([127, 0, 0, 1]), |(_, at)| at.ip());
        let attack = self.attack.and_then(|(outside, tenant, after)| {
            let meant = |(fqdn, _): &&(String, SocketAddr)| {
                tenant.as_ref().is_none_or(|tenant| tenant == fqdn)
            };
            let (fqdn, at) = sbc.iter().find(meant)?;
            let (fqdn, sbc, roots) = (fqdn.clone(), *at, roots.clone());
            Some(Attack { fqdn, sbc, inside: first, outside, stranger, roots, after })
        });
        let address = common.media.unwrap_or(first);
        let (plays_hz, expects_hz) = match side {
            Side::Teams => (TEAMS_HZ, CARRIER_HZ),
            Side::Carrier => (CARRIER_HZ, TEAMS_HZ),
        };
        Ok(Setup {
            part: self.part,
            access: Access {
                name: side.name(),
                listeners,
                transport,
                sources: self.sources,
                names: sbc.into_iter().map(|(name, _)| name).collect(),
                roots,
                identities,
                media: MediaPorts { address, ports: common.ports, calls: common.calls },
                fresh_connections: self.fresh_connections,
            },
            tones: Tones { plays_hz, expects_hz },
            calls: self.calls,
            changes: self.changes,
            attack,
            told,
        })
    }
}

const ANSWER_KEYS: &[(&str, AnswerKeys)] = &[
    ("one-line", AnswerKeys::OneLine),
    ("two-lines", AnswerKeys::TwoLines),
    ("two-lines-mki", AnswerKeys::TwoLinesMki),
];
const TRANSPORTS: &[(&str, Transport)] =
    &[("udp", Transport::Udp), ("tcp", Transport::Tcp), ("tls", Transport::Tls)];
const SECURITY: &[(&str, Security)] =
    &[("off", Security::Off), ("preferred", Security::Preferred), ("required", Security::Required)];
const HOLDS: &[(&str, Direction)] = &[
    ("sendonly", Direction::SendOnly),
    ("inactive", Direction::Inactive),
    ("recvonly", Direction::RecvOnly),
];
const RELIABLE: &[(&str, Reliability)] = &[
    ("off", Reliability::Off),
    ("supported", Reliability::Supported),
    ("required", Reliability::Required),
];
