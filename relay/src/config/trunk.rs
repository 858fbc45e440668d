//! `[[trunk]]`: what a trunk may say, with Microsoft's values where a Teams trunk says nothing.

use super::accounts::{self, AuthDraft, RegisterDraft};
use super::guard::{self, LimitsDraft};
use super::headers;
use super::music;
use super::numbers::{self, TrunkNumbers};
use super::problem::{At, Place};
use super::reader::{Reader, Wrong};
use super::registrar::{self, RegistrarDraft};
use super::roots::{self, RootsDraft};
use super::srtp;
use super::teams::{self, CLOUDS, Cloud};
use super::terms;
use super::value;
use b2bua::numbering::Country;
use b2bua::plan::{
    Breaker, Cidr, EarlyMedia, Failover, FaxPolicy, HeaderPolicy, HoldDialect, Reliable, Roots,
    SrtpPolicy, TargetName, TransferPolicy, Transport, TrunkKind,
};
use sdp::{IcePolicy, Keying, Suites};
use sip_core::usage::session_timer::{INTERVAL_MAX_S, MIN_SE_S, Terms};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use toml::de::DeValue;

/// Targets of one trunk: each is tried in turn while a caller waits.
const TARGETS_MAX: usize = 16;
/// Address blocks of one trunk.
const SOURCES_MAX: usize = 256;
/// Names of which a peer's certificate carries one.
const PEER_NAMES_MAX: usize = 16;
/// Sets of roots that a trunk's peers may chain to.
const ROOTS_MAX: usize = 16;
const OPTIONS_INTERVAL: Duration = Duration::from_secs(60);
/// What Microsoft offers too (TDR-DLG-030).
const SESSION_INTERVAL: Duration = Duration::from_secs(1800);

/// The host of a target, and its port if one is written.
pub(crate) type WrittenTarget = (String, Option<u16>);

/// One `[[trunk]]`, as read.
#[derive(Debug)]
pub(crate) struct TrunkDraft {
    pub(crate) name: Option<At<String>>,
    pub(crate) kind: Option<TrunkKind>,
    pub(crate) cloud: Cloud,
    /// Its base FQDN, if it is not the host's (a Teams trunk).
    pub(crate) fqdn: Option<At<String>>,
    pub(crate) listener: Option<At<String>>,
    pub(crate) targets: Vec<At<WrittenTarget>>,
    pub(crate) sources: Vec<At<Cidr>>,
    pub(crate) srtp: SrtpPolicy,
    pub(crate) suites: Suites,
    pub(crate) keying: Keying,
    pub(crate) passthrough: bool,
    pub(crate) options_interval: Option<Duration>,
    pub(crate) session_timer: Option<Terms>,
    pub(crate) media: Option<At<String>>,
    pub(crate) media_inside: Option<At<String>>,
    pub(crate) ports: Option<At<RangeInclusive<u16>>>,
    pub(crate) dscp: Option<u8>,
    pub(crate) limits: LimitsDraft,
    pub(crate) failover: Option<Failover>,
    pub(crate) answer_timeout: Option<Duration>,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) country: Option<&'static Country>,
    pub(crate) headers: HeaderPolicy,
    pub(crate) numbers: TrunkNumbers,
    pub(crate) terms: sdp::Terms,
    pub(crate) ice: Option<At<IcePolicy>>,
    pub(crate) fax: FaxPolicy,
    pub(crate) music_on_hold: Option<At<String>>,
    pub(crate) reliable: Reliable,
    pub(crate) early_media: EarlyMedia,
    pub(crate) hold: HoldDialect,
    pub(crate) follow_redirects: bool,
    pub(crate) transfer: TransferPolicy,
    pub(crate) peer_names: Option<Vec<At<String>>>,
    pub(crate) roots: Vec<At<RootsDraft>>,
    pub(crate) auth: Option<AuthDraft>,
    pub(crate) register: Option<RegisterDraft>,
    pub(crate) registrar: Option<RegistrarDraft>,
    pub(crate) place: Place,
    pub(crate) whose: String,
}

const KINDS: &[(&str, TrunkKind)] = &[("teams", TrunkKind::Teams), ("carrier", TrunkKind::Carrier)];
const ICE: &[(&str, IcePolicy)] =
    &[("off", IcePolicy::Off), ("lite", IcePolicy::Lite), ("full", IcePolicy::Full)];
/// What a Teams client says something within, muted or not: checks, if nothing else (TDR-ICE-012).
const ICE_TIMEOUT: Duration = Duration::from_secs(30);
const FAX: &[(&str, FaxPolicy)] = &[("t38", FaxPolicy::T38), ("audio", FaxPolicy::Audio)];
const EARLY_MEDIA: &[(&str, EarlyMedia)] =
    &[("open", EarlyMedia::Open), ("authorized", EarlyMedia::Authorized)];
const HOLD: &[(&str, HoldDialect)] = &[
    ("pass", HoldDialect::Pass),
    ("sendonly", HoldDialect::SendOnly),
    ("inactive", HoldDialect::Inactive),
    ("zero", HoldDialect::Zero),
    ("absorb", HoldDialect::Absorb),
];
const RELIABLE: &[(&str, Reliable)] =
    &[("off", Reliable::Off), ("supported", Reliable::Supported), ("required", Reliable::Required)];

/// Reads one `[[trunk]]`.
pub(crate) fn read(table: &mut Reader<'_>) -> TrunkDraft {
    let name = table.required("name", value::name);
    let kind = table.required("kind", value::one_of(KINDS)).map(|at| at.value);
    let teams = kind == Some(TrunkKind::Teams);
    let (cloud, fqdn) = (cloud(table, kind), fqdn(table, teams));
    let (targets, sources) = far_side(table, kind);
    let srtp = srtp::policy(table, teams);
    let suites = srtp::suites(table, teams);
    let passthrough = srtp::passthrough(table);
    let ice = ice(table, teams);
    let ice_timeout = ice_timeout(table, ice.as_ref().map(|at| at.value).unwrap_or_default());
    let music_on_hold = music::read(table, teams);
    if teams {
        idle_accounts(table);
    }
    TrunkDraft {
        name,
        kind,
        cloud,
        fqdn,
        listener: table.required("listener", value::name),
        targets,
        sources,
        srtp,
        suites,
        keying: srtp::keying(table, teams),
        passthrough,
        options_interval: options_interval(table, teams),
        session_timer: session_timer(table),
        media: table.optional("media", value::name),
        media_inside: media_inside(table, teams),
        ports: table.optional("ports", value::port_range),
        dscp: table.optional("dscp", value::dscp).map(|at| at.value),
        limits: table.section("limits", guard::limits(guard::WAYS)).unwrap_or_default(),
        failover: guard::failover(table),
        answer_timeout: guard::answer_timeout(table),
        breaker: table.section("breaker", guard::breaker),
        country: country(table, teams),
        headers: headers::read(table, teams),
        numbers: numbers::trunk(table, teams),
        terms: sdp::Terms { ice_timeout, ..terms::read(table, teams) },
        ice,
        fax: fax(table, teams, srtp),
        hold: hold(table, teams, music_on_hold.is_some()),
        music_on_hold,
        reliable: reliable(table, teams),
        early_media: early_media(table, teams),
        follow_redirects: follow_redirects(table, teams),
        transfer: transfer(table, teams),
        peer_names: table.list("peer_names", 1..=PEER_NAMES_MAX, peer_name),
        roots: table.one_or_more("roots", 1..=ROOTS_MAX, roots::read).unwrap_or_default(),
        auth: if teams { None } else { table.section("auth", accounts::auth) },
        register: if teams { None } else { table.section("register", accounts::register) },
        registrar: if teams { None } else { table.section("registrar", registrar::read) },
        place: table.place(),
        whose: table.whose().to_owned(),
    }
}

/// The cloud of Microsoft's that a Teams trunk leads to.
fn cloud(table: &mut Reader<'_>, kind: Option<TrunkKind>) -> Cloud {
    match kind {
        Some(TrunkKind::Carrier) => {
            table.idle("cloud", "only a trunk with kind = \"teams\" is in a cloud of Microsoft's");
            Cloud::default()
        }
        Some(TrunkKind::Teams) | None => {
            table.optional_or("cloud", value::one_of(CLOUDS), Cloud::default())
        }
    }
}

fn fqdn(table: &mut Reader<'_>, teams: bool) -> Option<At<String>> {
    if teams {
        return table.optional("fqdn", teams::sbc_fqdn);
    }
    table.idle("fqdn", "a carrier knows us by the listener's address");
    None
}

/// Where the far side is reached, and where it calls from.
fn far_side(
    table: &mut Reader<'_>,
    kind: Option<TrunkKind>,
) -> (Vec<At<WrittenTarget>>, Vec<At<Cidr>>) {
    let targets = table.list("targets", 1..=TARGETS_MAX, |v| {
        if kind == Some(TrunkKind::Teams) { teams_target(v) } else { value::target(v) }
    });
    let sources = table.list("sources", 1..=SOURCES_MAX, value::cidr);
    if kind == Some(TrunkKind::Carrier) {
        // What a PBX registers is where it is reached; we register at targets.
        if targets.is_none() && (!table.has("registrar") || table.has("register")) {
            table.missing(
                "targets",
                Some("where the carrier is reached: targets = [\"192.0.2.7:5060\"]".to_owned()),
            );
        }
        if sources.is_none() {
            table.missing(
                "sources",
                Some("where the carrier calls from: sources = [\"192.0.2.0/28\"]".to_owned()),
            );
        }
    }
    for block in sources.iter().flatten().filter(|block| block.value.length == 0) {
        let said = "`sources` lets the whole Internet call in";
        table.warning(block.place, said, Some("name the blocks of the far side".to_owned()));
    }
    (targets.unwrap_or_default(), sources.unwrap_or_default())
}

/// Keys of accounts say nothing in a Teams trunk.
fn idle_accounts(table: &mut Reader<'_>) {
    table.idle("auth", "Teams knows us by our certificate and challenges nobody");
    table.idle("register", "nobody registers with Teams");
    table.idle("registrar", "Teams registers with nobody");
}

fn options_interval(table: &mut Reader<'_>, teams: bool) -> Option<Duration> {
    let interval = value::off_or_duration(Duration::from_secs(1)..=Duration::from_secs(3600));
    let Some(written) = table.optional("options_interval", interval) else {
        return Some(OPTIONS_INTERVAL);
    };
    let known = written.value.is_some_and(|interval| teams::OPTIONS_INTERVAL.contains(&interval));
    if teams && !known {
        let said = "Teams sends calls only to an SBC whose OPTIONS it sees every 30 to 180 seconds";
        table.warning(written.place, said, Some("options_interval = \"60s\"".to_owned()));
    }
    written.value
}

/// `session_timer` and the smallest interval that the far side may ask for.
fn session_timer(table: &mut Reader<'_>) -> Option<Terms> {
    let least = Duration::from_secs(u64::from(MIN_SE_S));
    let most = Duration::from_secs(u64::from(INTERVAL_MAX_S));
    let written = table.optional("session_timer", value::off_or_duration(least..=most));
    let Some(interval) = written.map_or(Some(SESSION_INTERVAL), |at| at.value) else {
        table.idle("session_timer_min", "session_timer is \"off\"");
        return None;
    };
    let min = table.optional("session_timer_min", value::duration(least..=interval));
    let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(INTERVAL_MAX_S);
    Some(Terms {
        interval_s: seconds(interval),
        min_s: min.map_or(MIN_SE_S, |at| seconds(at.value)),
    })
}

/// Connectivity checks: of Teams clients under media bypass (TDR-ICE-001), of a carrier as `ice` says.
fn ice(table: &mut Reader<'_>, teams: bool) -> Option<At<IcePolicy>> {
    if teams {
        table.idle("ice", "Teams checks us under media bypass alone: `bypass`");
        let bypass = table.optional("bypass", value::flag)?;
        let ice = if bypass.value { IcePolicy::Bypass } else { IcePolicy::Off };
        return Some(At { value: ice, place: bypass.place });
    }
    table.idle("bypass", "media bypass is between Teams clients and us");
    table.optional("ice", value::one_of(ICE))
}

/// Whether a fax goes on by T.38, whose datagrams nothing protects.
fn fax(table: &mut Reader<'_>, teams: bool, srtp: SrtpPolicy) -> FaxPolicy {
    if teams {
        table.idle("fax", "Teams knows no T.38: its calls stay in audio");
        return FaxPolicy::Audio;
    }
    if srtp == SrtpPolicy::Required {
        table.idle("fax", "T.38 is not encrypted, and srtp is \"required\"");
        return FaxPolicy::Audio;
    }
    table.optional_or("fax", value::one_of(FAX), FaxPolicy::default())
}

/// How long nothing may come on a leg with ICE that is not held (TDR-ICE-012).
fn ice_timeout(table: &mut Reader<'_>, ice: IcePolicy) -> Option<Duration> {
    let range = Duration::from_secs(10)..=Duration::from_secs(600);
    let written = table.optional("ice_timeout", value::off_or_duration(range));
    if ice == IcePolicy::Off {
        table.idle("ice_timeout", "no leg of this trunk does ICE; media_timeout ends calls of any");
        return None;
    }
    written.map_or(Some(ICE_TIMEOUT), |at| at.value)
}

/// Whether a carrier or PBX may transfer its calls by REFER.
fn transfer(table: &mut Reader<'_>, teams: bool) -> TransferPolicy {
    if teams {
        table.idle("transfer", "each tenant says who does its transfers: `transfer` in its file");
        return TransferPolicy::default();
    }
    table.optional_or("transfer", value::one_of(super::tenant::TRANSFER), TransferPolicy::default())
}

/// The media address for users inside the corporate network.
fn media_inside(table: &mut Reader<'_>, teams: bool) -> Option<At<String>> {
    if !teams {
        table.idle("media_inside", "only Teams says whether its users are inside");
        return None;
    }
    table.optional("media_inside", value::name)
}

/// Where its numbers are dialled.
fn country(table: &mut Reader<'_>, teams: bool) -> Option<&'static Country> {
    if teams {
        table.idle("country", "Teams has its numbers in E.164");
        return None;
    }
    table.optional("country", value::country).map(|at| at.value)
}

fn reliable(table: &mut Reader<'_>, teams: bool) -> Reliable {
    if teams {
        table.idle("reliable", "Teams knows no reliable provisional responses");
        return Reliable::Off;
    }
    table.optional_or("reliable", value::one_of(RELIABLE), Reliable::default())
}

/// Whose early media a carrier may send.
fn early_media(table: &mut Reader<'_>, teams: bool) -> EarlyMedia {
    if teams {
        table.idle("early_media", "Teams says no P-Early-Media");
        return EarlyMedia::default();
    }
    table.optional_or("early_media", value::one_of(EARLY_MEDIA), EarlyMedia::default())
}

/// How a carrier is told that the other side holds.
fn hold(table: &mut Reader<'_>, teams: bool, music: bool) -> HoldDialect {
    if teams {
        table.idle("hold", "each tenant says how Teams is told of a hold: `hold` in its file");
        return HoldDialect::default();
    }
    let Some(written) = table.optional("hold", value::one_of(HOLD)) else {
        return HoldDialect::default();
    };
    if music && matches!(written.value, HoldDialect::Inactive | HoldDialect::Zero) {
        let said = "`hold` asks the carrier not to listen, so that nobody hears `music_on_hold`";
        table.warning(written.place, said, Some("hold = \"sendonly\"".to_owned()));
    }
    written.value
}

fn follow_redirects(table: &mut Reader<'_>, teams: bool) -> bool {
    if teams {
        table.idle("follow_redirects", "Teams redirects no call");
        return false;
    }
    table.optional_or("follow_redirects", value::flag, false)
}

/// A target by name: Microsoft's addresses change, and its certificate names names (TDR-DNS-003).
fn teams_target(value: &DeValue<'_>) -> Result<(String, Option<u16>), Wrong> {
    let (host, port) = value::target(value)?;
    if host.parse::<IpAddr>().is_ok() {
        return Err(Wrong::new("is an address; Teams is reached by name")
            .hint("in a lab, name it here and give its address under [resolve]"));
    }
    teams::not_retired(&host)?;
    Ok((host, port))
}

/// A name, or an address, that a certificate can carry.
fn peer_name(value: &DeValue<'_>) -> Result<String, Wrong> {
    match value::target(value)? {
        (host, None) => Ok(host),
        (host, Some(_)) => Err(Wrong::new("has a port, which no certificate names")
            .hint(format!("did you mean \"{host}\"?"))),
    }
}

impl TrunkDraft {
    /// Files that its meaning depends on.
    pub(crate) fn named(&self) -> Vec<&str> {
        let roots = self.roots.iter().filter_map(|at| match &at.value {
            RootsDraft::File(file) => Some(file.as_str()),
            RootsDraft::System | RootsDraft::Microsoft => None,
        });
        let auth = self.auth.iter().filter_map(AuthDraft::named);
        let users = self.registrar.iter().flat_map(RegistrarDraft::named);
        let music = self.music_on_hold.as_ref().and_then(music::named);
        roots.chain(auth).chain(users).chain(music).collect()
    }

    /// Where it is reached, by a listener of this transport. A carrier's name without a port is left
    /// to NAPTR and SRV; Microsoft has none of these (TDR-DNS-003).
    pub(crate) fn target_names(&self, transport: Transport) -> Vec<TargetName> {
        if self.kind == Some(TrunkKind::Teams) && self.targets.is_empty() {
            return self.cloud.targets();
        }
        let asked_by_service =
            |host: &str| self.kind != Some(TrunkKind::Teams) && host.parse::<IpAddr>().is_err();
        let target = |(host, port): (String, Option<u16>)| {
            let port = match asked_by_service(&host) {
                true => port,
                false => Some(port.unwrap_or(transport.default_port())),
            };
            TargetName { host, port }
        };
        self.targets.iter().map(|at| target(at.value.clone())).collect()
    }

    /// The addresses its messages may come from.
    pub(crate) fn source_blocks(&self) -> Vec<Cidr> {
        match self.kind {
            Some(TrunkKind::Teams) if self.sources.is_empty() => self.cloud.sources(),
            _ => self.sources.iter().map(|at| at.value).collect(),
        }
    }

    /// Where an authentic source of media that SDP does not name may be: media of Teams without bypass is
    /// its processors', which are where it signals from (TDR-MED-002, TDR-MED-005). Users that speak to us
    /// themselves may be anywhere.
    pub(crate) fn learned_within(&self) -> Option<Arc<[Cidr]>> {
        let bypass = self.ice.as_ref().is_some_and(|ice| ice.value != IcePolicy::Off);
        let processors =
            self.kind == Some(TrunkKind::Teams) && !bypass && self.media_inside.is_none();
        processors.then(|| self.source_blocks().into())
    }

    /// Where its peers' certificates end if it says nothing: Microsoft has announced where those of the
    /// commercial cloud do (TDR-CRT-020), and nothing of its other clouds.
    pub(crate) fn usual_roots(&self) -> Roots {
        match (self.kind, self.cloud) {
            (Some(TrunkKind::Teams), Cloud::Commercial) => Roots::Microsoft,
            _ => Roots::System,
        }
    }

    /// The names of which the peer's certificate carries one: those written, else Microsoft's, else
    /// what it is dialled by.
    pub(crate) fn peers(&self) -> Vec<String> {
        match (&self.peer_names, self.kind) {
            (Some(names), _) => names.iter().map(|at| at.value.clone()).collect(),
            (None, Some(TrunkKind::Teams)) => self.cloud.peer_names(),
            (None, _) => self.targets.iter().map(|at| at.value.0.clone()).collect(),
        }
    }
}
