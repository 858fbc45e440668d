//! `tollgate.toml`: what it may say, table by table, each value judged by itself.
//!
//! The drafts hold `None` where a value is missing or wrong; `plan.rs` puts them together.

use super::certificate::{self, CertificateDraft};
use super::guard::ClassDraft;
use super::numbers;
use super::problem::{At, Place, Problems};
use super::rates::RatesDraft;
use super::reader::{Reader, read_file};
use super::source::Source;
use super::trunk::TrunkDraft;
use super::{Level, Log, LogFormat, Records, teams, value};
use b2bua::numbering::Country;
use b2bua::plan::{Block, Transport};
use media_engine::EngineKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Calls on one host if `calls_max` is not written: more than its media ports hold by default.
const CALLS_DEFAULT: u32 = 10_000;
/// The most that `calls_max` may say: what 4 ports a call leave of a few dozen addresses.
const CALLS_MAX: u32 = 500_000;
/// Media workers: a core each, and no machine has more to give.
const WORKERS_MAX: u32 = 128;
/// Addresses of one name in `[resolve]`.
const RESOLVED_MAX: usize = 16;
/// Longest path of a Unix socket, without its final zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;
/// The mark of voice (RFC 4594, 4.1).
const EXPEDITED_FORWARDING: u8 = 46;
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);
/// Where the daemon is asked, if `[admin]` does not say.
pub(crate) const ADMIN_SOCKET: &str = "/run/tollgate/admin.sock";
/// Where generations are kept, if neither `[state]` nor systemd says.
const STATE_DIRECTORY: &str = "/var/lib/tollgate";
const METRICS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// The host's file, as read.
#[derive(Debug, Default)]
pub(crate) struct HostDraft {
    pub(crate) fqdn: Option<At<String>>,
    pub(crate) shutdown_deadline: Duration,
    pub(crate) calls_max: u32,
    /// The country of tenants and trunks that name none.
    pub(crate) country: Option<&'static Country>,
    pub(crate) socket: PathBuf,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) workers: u32,
    pub(crate) transcoders: u32,
    pub(crate) engine: EngineKind,
    pub(crate) offload: bool,
    pub(crate) media: Vec<MediaDraft>,
    pub(crate) block: Block,
    pub(crate) resolve: Vec<(At<String>, Vec<IpAddr>)>,
    pub(crate) certificates: Vec<CertificateDraft>,
    pub(crate) listeners: Vec<ListenerDraft>,
    pub(crate) trunks: Vec<TrunkDraft>,
    pub(crate) rates: Vec<RatesDraft>,
    pub(crate) classes: Vec<ClassDraft>,
    pub(crate) records: Option<Records>,
    /// `[state] directory`.
    pub(crate) state: PathBuf,
    pub(crate) log: Log,
    /// First lines of the tables, for problems that a reload finds.
    pub(crate) lines: Sections,
    /// Whether there were syntax errors: then names that are not found may well be there.
    pub(crate) damaged: bool,
}

/// Lines on which the tables begin.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sections {
    pub(crate) admin: Place,
    pub(crate) metrics: Place,
    pub(crate) media: Place,
    /// The key `engine`, or the table where it is not there.
    pub(crate) engine: Place,
    pub(crate) records: Place,
    pub(crate) log: Place,
    pub(crate) state: Place,
}

/// One `[[media.address]]`.
#[derive(Debug)]
pub(crate) struct MediaDraft {
    pub(crate) name: Option<At<String>>,
    pub(crate) bind: Option<At<IpAddr>>,
    pub(crate) advertise: Option<IpAddr>,
    pub(crate) ports: Option<At<RangeInclusive<u16>>>,
    pub(crate) dscp: u8,
}

/// One `[[listener]]`.
#[derive(Debug)]
pub(crate) struct ListenerDraft {
    pub(crate) name: Option<At<String>>,
    pub(crate) transport: Option<Transport>,
    pub(crate) bind: Option<At<SocketAddr>>,
    pub(crate) advertise: Option<At<SocketAddr>>,
    pub(crate) certificate: Option<At<String>>,
    pub(crate) place: Place,
    pub(crate) whose: String,
}

const TRANSPORTS: &[(&str, Transport)] =
    &[("udp", Transport::Udp), ("tcp", Transport::Tcp), ("tls", Transport::Tls)];
const ENGINES: &[(&str, EngineKind)] = &[
    ("auto", EngineKind::Auto),
    ("portable", EngineKind::Portable),
    ("steer", EngineKind::Steer),
    ("xdp", EngineKind::Xdp),
];
const LEVELS: &[(&str, Level)] = &[
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];
const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Reads `tollgate.toml`.
pub(crate) fn read(source: &Source, problems: &Problems) -> HostDraft {
    let (mut host, damaged) = read_file(source, problems, host);
    host.damaged = damaged;
    host
}

fn host(top: &mut Reader<'_>) -> HostDraft {
    let mut host = HostDraft {
        shutdown_deadline: SHUTDOWN_DEADLINE,
        calls_max: CALLS_DEFAULT,
        socket: PathBuf::from(ADMIN_SOCKET),
        state: state_directory(),
        metrics: Some(METRICS_LISTEN),
        workers: 1,
        transcoders: 1,
        lines: Sections {
            admin: top.place(),
            metrics: top.place(),
            media: top.place(),
            engine: top.place(),
            records: top.place(),
            log: top.place(),
            state: top.place(),
        },
        ..HostDraft::default()
    };
    if top.section("node", |table| node(table, &mut host)).is_none() && !top.has("node") {
        top.missing("node", Some("[node] names this host: fqdn = \"sbc1.example.net\"".to_owned()));
    }
    top.section("admin", |table| {
        host.lines.admin = table.place();
        if let Some(socket) = table.optional("socket", value::path) {
            if socket.value.len() > SOCKET_PATH_MAX {
                let said = format!(
                    "`socket` is longer than the {SOCKET_PATH_MAX} bytes of a Unix socket's path"
                );
                table.error(socket.place, &said, None);
            }
            host.socket = PathBuf::from(socket.value);
        }
    });
    top.section("metrics", |table| {
        host.lines.metrics = table.place();
        host.metrics =
            table.optional_or("listen", |v| value::socket_address(v).map(Some), host.metrics);
    });
    top.section("media", |table| media(table, &mut host));
    host.block = numbers::block(top);
    top.section("resolve", |table| host.resolve = resolve(table));
    top.section("records", |table| {
        host.lines.records = table.place();
        host.records = records(table);
    });
    top.section("state", |table| {
        host.lines.state = table.place();
        if let Some(directory) = table.optional("directory", value::path) {
            host.state = PathBuf::from(directory.value);
        }
    });
    top.section("log", |table| {
        host.lines.log = table.place();
        host.log.level = table.optional_or("level", value::one_of(LEVELS), Level::default());
        host.log.format = table.optional_or("format", value::one_of(FORMATS), LogFormat::default());
    });
    host.certificates = top.each("certificate", "certificate", "name", certificate::read);
    host.listeners = top.each("listener", "listener", "name", listener);
    host.classes = top.each("class", "class", "name", super::guard::class);
    host.trunks = top.each("trunk", "trunk", "name", super::trunk::read);
    host.rates = super::rates::read(top);
    for (key, tables) in [("listener", host.listeners.len()), ("trunk", host.trunks.len())] {
        if tables == 0 && !top.has(key) {
            top.missing(key, Some(format!("there is at least one [[{key}]]")));
        }
    }
    host
}

/// Where state is if `[state]` does not say: where systemd gives us room, else the usual place.
fn state_directory() -> PathBuf {
    // systemd names several, separated by colons, where a unit asks for several.
    let given = std::env::var("STATE_DIRECTORY").unwrap_or_default();
    match given.split(':').next().filter(|first| !first.is_empty()) {
        Some(first) => PathBuf::from(first),
        None => PathBuf::from(STATE_DIRECTORY),
    }
}

impl HostDraft {
    /// Files and folders that its meaning depends on.
    pub(crate) fn named(&self, directory: &Path) -> Vec<PathBuf> {
        let state = directory.join(&self.state);
        let certificates = self.certificates.iter().flat_map(|it| it.named(directory, &state));
        let acme = self.certificates.iter().filter_map(|it| match &it.source {
            certificate::Source::Acme(draft) => Some(draft.named()),
            _ => None,
        });
        let rates = self.rates.iter().filter_map(RatesDraft::named);
        let trunks = self.trunks.iter().flat_map(TrunkDraft::named);
        let others = acme.flatten().chain(rates).chain(trunks).map(|file| directory.join(file));
        certificates.chain(others).collect()
    }
}

fn node(table: &mut Reader<'_>, host: &mut HostDraft) {
    host.fqdn = table.required("fqdn", teams::sbc_fqdn);
    let deadline = value::duration(Duration::ZERO..=Duration::from_secs(600));
    host.shutdown_deadline = table.optional_or("shutdown_deadline", deadline, SHUTDOWN_DEADLINE);
    host.calls_max = table.optional_or("calls_max", value::whole(1..=CALLS_MAX), CALLS_DEFAULT);
    host.country = table.optional("country", value::country).map(|at| at.value);
}

fn media(table: &mut Reader<'_>, host: &mut HostDraft) {
    host.lines.media = table.place();
    host.workers = table.optional_or("workers", value::whole(1..=WORKERS_MAX), 1);
    host.transcoders = table.optional_or("transcoders", value::whole(0..=WORKERS_MAX), 1);
    let engine = table.optional("engine", value::one_of(ENGINES));
    host.lines.engine = engine.as_ref().map_or(host.lines.media, |engine| engine.place);
    host.engine = engine.map_or_else(EngineKind::default, |engine| engine.value);
    host.offload = table.optional_or("offload", value::flag, false);
    host.media = table.each("address", "media address", "name", media_address);
}

fn media_address(table: &mut Reader<'_>) -> MediaDraft {
    let bind = table.required("bind", value::ip);
    let advertise = table.optional("advertise", value::host_address);
    if let (Some(bind), Some(advertise)) = (&bind, &advertise)
        && bind.value.is_ipv4() != advertise.value.is_ipv4()
    {
        let said = "`bind` and `advertise` are not of one address family";
        table.error(advertise.place, said, None);
    }
    if bind.as_ref().is_some_and(|bind| bind.value.is_unspecified()) && !table.has("advertise") {
        table.missing(
            "advertise",
            Some("with bind on all addresses, say which one peers send to".to_owned()),
        );
    }
    MediaDraft {
        name: table.required("name", value::name),
        advertise: advertise.map(|at| at.value).or(bind.as_ref().map(|at| at.value)),
        bind,
        ports: table.required("ports", value::port_range),
        dscp: table.optional_or("dscp", value::dscp, EXPEDITED_FORWARDING),
    }
}

fn listener(table: &mut Reader<'_>) -> ListenerDraft {
    let transport = table.required("transport", value::one_of(TRANSPORTS)).map(|at| at.value);
    let bind = table.required("bind", value::socket_address);
    let advertise = table.optional("advertise", value::advertised_address);
    if let (Some(bind), Some(advertise)) = (&bind, &advertise)
        && bind.value.is_ipv4() != advertise.value.is_ipv4()
    {
        let said = "`bind` and `advertise` are not of one address family";
        table.error(advertise.place, said, None);
    }
    if let Some(bind) = &bind
        && bind.value.ip().is_unspecified()
        && !table.has("advertise")
    {
        let hint = format!(
            "with bind on all addresses, say which one peers send to, such as \"203.0.113.10:{}\"",
            bind.value.port()
        );
        table.missing("advertise", Some(hint));
    }
    let certificate = match transport {
        Some(Transport::Tls) => table.required("certificate", value::name),
        None => table.optional("certificate", value::name),
        Some(Transport::Udp | Transport::Tcp) => {
            table.idle("certificate", "only a listener with transport = \"tls\" has one");
            None
        }
    };
    let copied = bind.as_ref().map(|at| At { value: at.value, place: at.place });
    ListenerDraft {
        name: table.required("name", value::name),
        transport,
        advertise: if table.has("advertise") { advertise } else { copied },
        bind,
        certificate,
        place: table.place(),
        whose: table.whose().to_owned(),
    }
}

fn resolve(table: &mut Reader<'_>) -> Vec<(At<String>, Vec<IpAddr>)> {
    let mut names: Vec<(At<String>, Vec<IpAddr>)> = Vec::new();
    for name in table.entries() {
        let addresses = table.list(&name.value, 1..=RESOLVED_MAX, value::host_address);
        let lower = name.value.to_ascii_lowercase();
        if let Err(wrong) = teams::not_retired(&lower) {
            table.error(name.place, &format!("\"{lower}\" {}", wrong.said), wrong.hint);
        }
        if names.iter().any(|(other, _)| other.value == lower) {
            table.error(
                name.place,
                &format!("\"{lower}\" stands twice; case does not count"),
                None,
            );
        }
        let addresses = addresses.unwrap_or_default().into_iter().map(|at| at.value).collect();
        names.push((At { value: lower, place: name.place }, addresses));
    }
    names
}

fn records(table: &mut Reader<'_>) -> Option<Records> {
    let usual = Records::default();
    let file = table.optional("file", value::path).map(|at| PathBuf::from(at.value));
    let size = value::size(64 << 10..=64 << 30);
    let size_max = table.optional_or("size_max", size, usual.size_max);
    let files_max = table.optional_or("files_max", value::whole(1..=1000), usual.files_max);
    Some(Records { file: file.unwrap_or(usual.file), size_max, files_max })
}
