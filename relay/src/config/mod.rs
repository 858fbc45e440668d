//! Configuration files become a [`Plan`] and what the host needs to run, or a list of all problems.
//!
//! ```text
//! source.rs    bytes, lines, syntax          value.rs       one value
//! reader.rs    one table, key by key         host.rs  trunk.rs  tenant.rs  route.rs    one file
//! assemble.rs  names.rs  overlap.rs  tls_check.rs           what tables say about each other
//! schema/      the same keys as data, for editors
//! ```

mod accounts;
mod assemble;
mod headers;
mod host;
mod names;
mod nearest;
mod overlap;
mod problem;
mod rates;
mod reader;
mod refusals;
mod registrar;
mod route;
pub(crate) mod schema;
mod source;
#[cfg(test)]
mod survey;
mod teams;
mod tenant;
mod tls_check;
mod trunk;
mod value;

#[cfg(test)]
mod tests;

pub use problem::Problem;
pub use refusals::refusals;

use b2bua::plan::Plan;
use certs::Identity;
use host::HostDraft;
use problem::{Place, Problems};
use source::{Layout, Source};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration that holds.
#[derive(Debug)]
pub struct Loaded {
    /// The snapshot; its generation is 0 until it is put in force.
    pub plan: Plan,
    /// Certificates, already loaded: a file that changes meanwhile changes nothing here.
    pub certificates: Vec<Certificate>,
    /// The admin socket.
    pub admin_socket: PathBuf,
    /// Where metrics and health are served.
    pub metrics: SocketAddr,
    /// Which engine moves media.
    pub media_engine: MediaEngine,
    /// Where call records go; `None` where the file has no `[records]`: then to the usual place, if it
    /// can be written to.
    pub records: Option<Records>,
    /// What is logged, and how.
    pub log: Log,
    /// What holds and is hardly meant.
    pub warnings: Vec<Problem>,
    /// Every configuration file that was read.
    pub files: Vec<PathBuf>,
    lines: Lines,
}

/// One `[[certificate]]`.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its name, which listeners refer to.
    pub name: String,
    /// The file of its chain.
    pub chain: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
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

/// `[media] engine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaEngine {
    /// The fastest that this machine allows.
    #[default]
    Auto,
    /// Sockets and epoll, without privileges.
    Portable,
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
#[derive(Debug)]
struct Lines {
    file: PathBuf,
    admin: u32,
    metrics: u32,
    media: u32,
    log: u32,
    addresses: Vec<u32>,
    listeners: Vec<u32>,
}

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

/// Reads the configuration under `path`, a directory or the `tollgate.toml` in it: all of it holds,
/// or every problem is listed.
pub fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
    let layout = Layout::of(path);
    let problems = Problems::default();
    let host = Source::read(&layout.host, &problems).map(|source| host::read(&source, &problems));
    // Without the host's file no name in a tenant's file can be judged.
    let host = host.unwrap_or_else(|| HostDraft { damaged: true, ..HostDraft::default() });
    let mut tenants = Vec::new();
    for path in layout.tenant_files(&problems) {
        if let Some(source) = Source::read(&path, &problems) {
            tenants.push(tenant::read(&path, &source, &problems));
        }
    }
    let assembled = assemble::assemble(&layout.directory, &host, &tenants, &problems);
    let files = problems.files();
    let (errors, warnings) = problems.into_lists();
    let (Some(assembled), Some(metrics), true) = (assembled, host.metrics, errors.is_empty())
    else {
        return Err(errors);
    };
    let line = |place: Place| place.line;
    Ok(Loaded {
        plan: assembled.plan,
        certificates: assembled.certificates,
        admin_socket: layout.directory.join(&host.socket),
        metrics,
        media_engine: host.engine,
        records: host
            .records
            .map(|records| Records { file: layout.directory.join(&records.file), ..records }),
        log: host.log,
        warnings,
        files,
        lines: Lines {
            file: layout.host,
            admin: line(host.lines.admin),
            metrics: line(host.lines.metrics),
            media: line(host.lines.media),
            log: line(host.lines.log),
            addresses: host.media.iter().map(|one| line(one.place)).collect(),
            listeners: host.listeners.iter().map(|one| line(one.place)).collect(),
        },
    })
}
