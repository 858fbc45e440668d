//! Configuration files become a [`Plan`] and what the host needs to run, or a list of all problems.
//!
//! ```text
//! source.rs    bytes, lines, syntax          value.rs       one value
//! reader.rs    one table, key by key         host.rs  trunk.rs  tenant.rs  route.rs    one file
//! certificate.rs  acme.rs                  where certificates come from
//! assemble.rs  names.rs  naming.rs  overlap.rs  tls_check.rs   what tables say about each other
//! disk.rs      what has changed              hostside.rs  version.rs         one file, judged
//! settle.rs    who gets a number             store.rs       all of it, in force or about to be
//! schema/      the same keys as data, for editors
//! ```

mod accounts;
mod acme;
mod assemble;
mod certificate;
mod credentials;
mod diff;
mod disk;
mod generations;
mod guard;
mod header_rules;
mod headers;
mod help;
mod hook;
mod host;
mod hostside;
mod music;
mod names;
mod naming;
mod nearest;
mod numbers;
mod overlap;
mod problem;
mod rates;
pub(crate) mod reader;
mod refusals;
mod registrar;
mod rollback;
mod roots;
mod route;
mod sbc;
pub(crate) mod schema;
mod settle;
mod source;
mod srtp;
mod store;
#[cfg(test)]
pub(crate) mod survey;
mod teams;
mod tenant;
mod terms;
mod tls_check;
mod trunk;
pub(crate) mod value;
mod version;

#[cfg(test)]
mod tests;

pub use acme::{AcmeOrder, Challenge};
pub use diff::Difference;
pub(crate) use diff::summary;
pub use disk::Scope;
pub(crate) use disk::is_tenant_file;
pub use generations::Kept;
pub(crate) use generations::{Generations, write as write_state};
pub(crate) use nearest::did_you_mean;
pub use problem::Problem;
pub(crate) use problem::Problems;
pub use refusals::refusals;
pub(crate) use rollback::Frozen;
pub(crate) use source::Source;
pub(crate) use store::Sources;
pub use store::{Candidate, Store};
pub(crate) use teams::Cloud;
pub(crate) use tls_check::RSA_BITS_MIN;
pub(crate) use value::is_name;

use b2bua::plan::Plan;
use certs::{Identities, Identity};
use media_engine::EngineKind;
use source::Layout;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration that holds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The snapshot; its generation is 0 until it is put in force.
    pub plan: Plan,
    /// Certificates, already loaded: a file that changes meanwhile changes nothing here.
    pub certificates: Vec<Certificate>,
    /// The same, to be chosen among: one set, as long as the host's file and certificates stay.
    pub(crate) identities: Identities,
    /// Certificates of directories, and of ACME, that cannot be used: each is as it last was, or absent.
    pub broken_certificates: Vec<(String, Problem)>,
    /// Certificates that are to be had, and renewed, by ACME.
    pub acme: Vec<AcmeOrder>,
    /// The admin socket.
    pub admin_socket: PathBuf,
    /// Where metrics and health are served.
    pub metrics: SocketAddr,
    /// Which engine moves media.
    pub media_engine: EngineKind,
    /// Whether media that needs nothing done to it may be forwarded within the kernel.
    pub media_offload: bool,
    /// Where call records go; `None` where the file has no `[records]`: then to the usual place, if it
    /// can be written to.
    pub records: Option<Records>,
    /// What is logged, and how.
    pub log: Log,
    /// What holds and is hardly meant.
    pub warnings: Vec<Problem>,
    /// Tenants whose files do not hold: each is as it last was, or absent.
    pub broken: Vec<Broken>,
    /// `[state] directory`.
    pub state: PathBuf,
    /// Files that the configuration names: certificates, keys, roots and the like.
    pub named: Vec<PathBuf>,
    lines: Lines,
}

impl Loaded {
    /// That what this listener binds cannot be had here.
    pub(crate) fn cannot_bind(&self, listener: &str, why: &str) -> Problem {
        let line = self.lines.listeners.iter().find(|(name, _)| name == listener);
        Problem {
            file: self.lines.file.clone(),
            line: line.map_or(1, |(_, line)| *line),
            message: why.to_owned(),
            hint: Some(BIND_HINT.to_owned()),
        }
    }

    /// That this host cannot have the engine that the file asks for.
    pub(crate) fn engine_is_not_here(&self, why: &str) -> Problem {
        let lacks = media_engine::lacks(self.media_engine, self.media_offload);
        let hint = match lacks.first() {
            Some(lack) => format!("{}; {}", lack.what, lack.mend),
            None => "engine = \"auto\" takes the fastest that can be had \
                     (docs/operations/media-engine.md)"
                .to_owned(),
        };
        Problem {
            file: self.lines.file.clone(),
            line: self.lines.engine,
            message: format!("`engine = \"{}\"` cannot be had here: {why}", self.media_engine),
            hint: Some(hint),
        }
    }
}

/// A tenant whose file does not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The tenant.
    pub tenant: String,
    /// Whether its calls are refused; else it is as it last was.
    pub absent: bool,
    /// What is wrong.
    pub problems: Arc<Vec<Problem>>,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its name, which listeners refer to; of one in a directory, that of the table before a slash.
    pub name: String,
    /// Both, loaded.
    pub identity: Arc<Identity>,
}

/// `[records]`: one JSON line per call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The file that is written.
    pub file: PathBuf,
    /// At this many bytes the next file is begun.
    pub size_max: u64,
    /// At most this many files are kept, the one being written counted.
    pub files_max: u32,
}

impl Default for Records {
    fn default() -> Self {
        // A record is about 1 KiB: 64 MiB hold a busy day of a small host.
        Self { file: "/var/lib/tollgate/records.jsonl".into(), size_max: 64 << 20, files_max: 8 }
    }
}

/// `[log]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least that is logged.
    pub level: Level,
    /// How it is written.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Bugs of ours.
    Error,
    /// And what an operator should see to.
    Warn,
    /// And what happens in normal service.
    #[default]
    Info,
    /// And each message.
    Debug,
    /// And each packet.
    Trace,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Lines of `tollgate.toml` on which things begin that a reload may have to refuse.
#[derive(Clone, Debug)]
struct Lines {
    file: PathBuf,
    admin: u32,
    metrics: u32,
    media: u32,
    engine: u32,
    log: u32,
    state: u32,
    /// Where each listener says what it binds.
    listeners: Vec<(String, u32)>,
}

/// What to do where a listener's address cannot be bound.
pub(crate) const BIND_HINT: &str =
    "is the address on this host (ip address), and is nobody else on the port (ss -lnp)?";

/// Where the configuration is if neither a flag nor the environment says: `/etc/tollgate`.
pub const DEFAULT_PATH: &str = "/etc/tollgate";
/// The environment variable that says where it is, if no flag does.
pub const PATH_VARIABLE: &str = "TOLLGATE_CONFIG";

/// The path in force: the one given, else `$TOLLGATE_CONFIG`, else `/etc/tollgate`.
pub fn path(given: Option<PathBuf>) -> PathBuf {
    let environment = || std::env::var_os(PATH_VARIABLE).filter(|path| !path.is_empty());
    given.or_else(|| environment().map(PathBuf::from)).unwrap_or_else(|| DEFAULT_PATH.into())
}

/// The admin socket that a daemon with this configuration listens on. Also where the files do not
/// hold: the running daemon must stay reachable, above all then.
pub fn admin_socket(path: &Path) -> PathBuf {
    let layout = Layout::of(path);
    let problems = Problems::default();
    let host = Source::read(&layout.host, &problems).map(|source| host::read(&source, &problems));
    layout.directory.join(host.map_or_else(|| host::ADMIN_SOCKET.into(), |host| host.socket))
}

/// Where the daemon of this configuration keeps its records, right or wrong as the rest of it may be.
pub(crate) fn records(path: &Path) -> Records {
    let layout = Layout::of(path);
    let problems = Problems::default();
    let host = Source::read(&layout.host, &problems).map(|source| host::read(&source, &problems));
    let records = host.and_then(|host| host.records).unwrap_or_default();
    Records { file: layout.directory.join(&records.file), ..records }
}

/// Reads the configuration under `path`, a directory or the `tollgate.toml` in it: all of it holds,
/// or every problem is listed.
pub fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
    let mut store = Store::new(path);
    let look = store.look(&Scope::all(), crate::clock::now().wall);
    let loaded = store.judge(look, false)?.loaded;
    match loaded.broken.is_empty() {
        true => Ok(loaded),
        false => Err(loaded.broken.iter().flat_map(|it| it.problems.iter().cloned()).collect()),
    }
}

/// Every file and folder that the configuration under `path` is made of.
pub(crate) fn files(path: &Path, loaded: &Loaded) -> Vec<PathBuf> {
    let layout = Layout::of(path);
    let tenants = layout.tenant_files(&Problems::default()).unwrap_or_default();
    let hooks = loaded.plan.tenants.iter().filter_map(|tenant| tenant.hook.as_deref());
    let tokens = hooks.filter_map(|hook| hook.token_file.clone());
    let own = [layout.directory, layout.host, layout.tenants].into_iter();
    own.chain(tenants).chain(loaded.named.iter().cloned()).chain(tokens).collect()
}

/// [`load`] as if these tenants' files, by tenant, were there and said this.
pub(crate) fn load_with(
    path: &Path,
    tenants: &BTreeMap<&str, &str>,
) -> Result<Loaded, Vec<Problem>> {
    let mut store = Store::new(path);
    let mut look = store.look(&Scope::all(), crate::clock::now().wall);
    look.assume(&store.layout, tenants);
    let loaded = store.judge(look, false)?.loaded;
    match loaded.broken.is_empty() {
        true => Ok(loaded),
        false => Err(loaded.broken.iter().flat_map(|it| it.problems.iter().cloned()).collect()),
    }
}

/// The file of a tenant of the configuration under `path`.
pub(crate) fn tenant_file(path: &Path, tenant: &str) -> PathBuf {
    Layout::of(path).tenant(tenant)
}

/// A configuration as it is when the daemon starts.
#[derive(Debug)]
pub struct Started {
    /// Its files, for reloads to compare with.
    pub store: Store,
    /// What they come to.
    pub loaded: Loaded,
    /// The generations before, or why none are kept.
    pub(crate) generations: std::io::Result<Generations>,
}

/// Reads the configuration under `path` with each file judged by itself: an error only if
/// `tollgate.toml` does not hold. A tenant whose file does not hold is as it last was, over restarts.
pub fn start(path: &Path) -> Result<Started, Vec<Problem>> {
    let mut store = Store::new(path);
    let now = crate::clock::now().wall;
    let look = store.look(&Scope::all(), now);
    let generations = Generations::open(&state(&store.layout), &store.layout.host);
    let outcome = rollback::start(&mut store, look, generations.as_ref().ok());
    store.looked(&outcome, now);
    let candidate = outcome?;
    let loaded = candidate.loaded.clone();
    store.commit(candidate);
    Ok(Started { store, loaded, generations })
}

/// `[state] directory` of the file on disk, which need not hold.
fn state(layout: &Layout) -> PathBuf {
    let problems = Problems::default();
    let host = Source::read(&layout.host, &problems).map(|source| host::read(&source, &problems));
    layout.directory.join(host.unwrap_or_default().state)
}
