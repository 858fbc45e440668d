//! The local admin socket: one JSON request a line, one JSON answer a line.
//!
//! The command line is its client. Answers are copies; nothing here holds on to the core.

use crate::alarms::Alarm;
use crate::config::{Difference, Kept};
use crate::explained::{RouteAnswer, RouteQuestion};
use crate::replay::{self, Replayed};
use crate::telemetry::EngineRow;
use crate::trace::Traced;
use b2bua::io::{CallView, DrainView, FqdnView, RegionView, TargetView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    /// Which way media goes.
    Media,
    /// The calls that are up.
    Calls,
    /// One of them, with what its media does.
    Call {
        /// Its number.
        call: u64,
    },
    /// The trunks and their targets.
    Trunks,
    /// How Microsoft sees us.
    Teams {
        /// Under the FQDNs of this tenant as well.
        #[serde(default)]
        tenant: Option<String>,
    },
    /// Take no new calls but emergency calls; without a tenant end, too, once no call is up.
    Drain {
        /// Only of this tenant.
        #[serde(default)]
        tenant: Option<String>,
        /// When calls that are still up are ended.
        #[serde(default)]
        deadline_seconds: Option<u64>,
    },
    /// Take calls again.
    Resume {
        /// Of this tenant.
        #[serde(default)]
        tenant: Option<String>,
    },
    /// Who takes no new calls.
    Drains,
    /// The SIP of a tenant's calls, from this message on.
    Trace {
        /// The tenant.
        tenant: String,
        /// The number that was answered last; without it, what comes from now on.
        #[serde(default)]
        since: Option<u64>,
    },
    /// The alarms that stand.
    Alarms,
    /// Where a call would go, and why.
    Route(RouteQuestion),
    /// Read the configuration again and put it in force if it holds.
    Reload,
    /// Read it, and tell what it would change.
    Diff {
        /// Read this one instead: a directory, or the tollgate.toml in it.
        #[serde(default)]
        with: Option<PathBuf>,
    },
    /// Read it, and tell which calls of the last day would go elsewhere.
    Replay {
        /// Read this one instead.
        #[serde(default)]
        with: Option<PathBuf>,
    },
    /// Put a configuration of before in force: this one, or the one before.
    Rollback {
        /// Its number in the list.
        number: Option<u64>,
    },
    /// The configurations that can be gone back to.
    Generations,
    /// Somebody is going to connect to a listener, to see whether it is open: who comes from one of these
    /// addresses is refused like anybody, and not counted.
    Knock {
        /// As the listener may see them.
        from: Vec<SocketAddr>,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Media`].
    Media(MediaRow),
    /// To [`Request::Calls`].
    Calls {
        /// One row a call.
        calls: Vec<CallRow>,
    },
    /// To [`Request::Call`].
    Call {
        /// The call.
        call: Box<CallRow>,
        /// What its packets did so far, as its record will say; nothing where no media is open.
        media: Option<serde_json::Value>,
    },
    /// To [`Request::Trunks`].
    Trunks {
        /// One row a target.
        targets: Vec<TargetRow>,
        /// One row an FQDN that Teams knows a trunk by.
        #[serde(default)]
        fqdns: Vec<FqdnRow>,
    },
    /// To [`Request::Teams`].
    Teams {
        /// One row an FQDN.
        fqdns: Vec<FqdnRow>,
        /// Who takes no new calls.
        drains: Vec<DrainRow>,
    },
    /// To [`Request::Drain`], [`Request::Resume`] and [`Request::Drains`].
    Drains {
        /// One row for the host, and for each tenant.
        drains: Vec<DrainRow>,
    },
    /// To [`Request::Trace`].
    Trace {
        /// Messages, in the order that they were seen in.
        messages: Vec<Traced>,
        /// What to ask from next.
        next: u64,
        /// Messages before these that were not kept.
        lost: u64,
    },
    /// To [`Request::Alarms`].
    Alarms {
        /// One row an alarm.
        alarms: Vec<AlarmRow>,
    },
    /// To [`Request::Route`].
    Route(Box<RouteAnswer>),
    /// The configuration is in force.
    Reloaded {
        /// Its number.
        generation: u64,
        /// What is wrong with files of tenants, which stay as they were.
        #[serde(default)]
        problems: Vec<String>,
    },
    /// To [`Request::Diff`].
    Differs {
        /// What a reload would change.
        differences: Vec<Difference>,
        /// What is wrong with files: such a tenant would stay as it is, or absent.
        problems: Vec<String>,
        /// Nothing would change, because of the problems.
        refused: bool,
    },
    /// To [`Request::Replay`].
    Replayed(Box<Replayed>),
    /// To [`Request::Generations`].
    Generations {
        /// The newest last.
        generations: Vec<Kept>,
        /// The number of the one in force.
        current: u64,
    },
    /// The configuration is refused, and the one before stays in force; or the question cannot be
    /// asked.
    Refused {
        /// Every problem, as `tollgate check` prints it.
        problems: Vec<String>,
    },
    /// To [`Request::Knock`]: it may come.
    Expected,
    /// The request was not understood or the daemon is stopping.
    Failed {
        /// Why.
        why: String,
    },
}

/// A call as `tollgate calls --json` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of CallView")]
pub struct CallRow {
    pub call: u64,
    pub tenant: String,
    pub direction: String,
    pub from: String,
    pub to: String,
    pub state: String,
    pub trunk_in: String,
    pub trunk_out: Option<String>,
    pub age_seconds: u64,
    pub call_id_in: String,
    pub call_id_out: Option<String>,
    pub media_ports: Option<(u16, u16)>,
    /// Whether each leg (A, B) is heard: `flows`, or why not; `fax` while the call is one; nothing before
    /// the answer.
    #[serde(default)]
    pub audio: Option<(String, String)>,
    /// What carries the media of each leg (A, B); nothing where no media is open.
    #[serde(default)]
    pub datapath: Option<(String, String)>,
}

/// The word for both legs of a fax by T.38, which neither flows nor is silent.
pub(crate) const FAX: &str = "fax";

#[cfg(test)]
impl CallRow {
    /// A call from Teams that has been answered.
    pub(crate) fn example(call: u64) -> Self {
        Self {
            call,
            tenant: "contoso".into(),
            direction: "from_teams".into(),
            from: "+4930123450".into(),
            to: "+498912345".into(),
            state: "answered".into(),
            trunk_in: "teams".into(),
            trunk_out: Some("colt".into()),
            age_seconds: 12,
            call_id_in: String::new(),
            call_id_out: None,
            media_ports: None,
            audio: None,
            datapath: None,
        }
    }
}

impl From<CallView> for CallRow {
    fn from(view: CallView) -> Self {
        Self {
            call: view.call.0,
            tenant: view.tenant,
            direction: crate::direction::word(view.direction).into(),
            from: view.from,
            to: view.to,
            state: view.state.into(),
            trunk_in: view.trunk_in,
            trunk_out: view.trunk_out,
            age_seconds: view.age.as_secs(),
            call_id_in: view.call_ids.0,
            call_id_out: view.call_ids.1,
            media_ports: view.ports,
            audio: view.silent.map(|(a, b)| {
                if view.fax {
                    return (FAX.to_owned(), FAX.to_owned());
                }
                let word = |silence: Option<sdp::Silence>| {
                    silence.map_or("flows", sdp::Silence::as_str).to_owned()
                };
                (word(a), word(b))
            }),
            datapath: None,
        }
    }
}

/// Which way media goes, as `tollgate status --json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRow {
    /// What each media worker runs with.
    pub engines: Vec<EngineRow>,
    /// Legs of calls, by what carries them.
    pub legs: BTreeMap<String, u64>,
    /// Whether the kernel may send on what nothing has to be done to.
    pub offload: bool,
    /// Packets that it has sent on.
    pub offloaded_packets: u64,
    /// Receives that brought an error, and packets that could not be sent.
    pub errors: (u64, u64),
}

/// A trunk's target as `tollgate trunks --json` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of TargetView")]
pub struct TargetRow {
    pub trunk: String,
    pub target: String,
    pub address: Option<String>,
    pub up: bool,
    #[serde(default)]
    pub resting_seconds: Option<u64>,
    pub answered_seconds_ago: Option<u64>,
    pub last: String,
    pub calls: usize,
}

impl From<TargetView> for TargetRow {
    fn from(view: TargetView) -> Self {
        Self {
            trunk: view.trunk,
            target: view.target,
            address: view.address.map(|address| address.to_string()),
            up: view.up,
            resting_seconds: view.rests.map(|left| left.as_secs()),
            answered_seconds_ago: view.answered_ago.map(|ago| ago.as_secs()),
            last: view.last,
            calls: view.calls,
        }
    }
}

/// How Microsoft sees us under an FQDN, as `tollgate trunks --json` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of FqdnView")]
pub struct FqdnRow {
    pub trunk: String,
    pub fqdn: String,
    pub tenant: Option<String>,
    pub asks: bool,
    pub up: bool,
    pub answered_seconds_ago: Option<u64>,
    pub last: Vec<(String, String)>,
    pub regions: Vec<RegionRow>,
    pub unseen_seconds: Option<u64>,
    pub invited: Option<InvitedRow>,
    pub called_seconds_ago: Option<u64>,
}

/// OPTIONS from one of Microsoft's regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of RegionView")]
pub struct RegionRow {
    pub region: String,
    pub proxies: usize,
    pub seconds_ago: u64,
    pub from: String,
}

/// What the last INVITE to Teams brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct InvitedRow {
    pub status: u16,
    pub phrase: Option<String>,
    pub seconds_ago: u64,
}

impl From<FqdnView> for FqdnRow {
    fn from(view: FqdnView) -> Self {
        let region = |it: RegionView| RegionRow {
            region: it.region.to_owned(),
            proxies: it.proxies,
            seconds_ago: it.ago.as_secs(),
            from: it.from.to_string(),
        };
        Self {
            trunk: view.trunk,
            fqdn: view.fqdn,
            tenant: view.tenant,
            asks: view.asks,
            up: view.up,
            answered_seconds_ago: view.answered_ago.map(|ago| ago.as_secs()),
            last: view.last,
            regions: view.regions.into_iter().map(region).collect(),
            unseen_seconds: view.unseen.map(|missing| missing.as_secs()),
            invited: view.invited.map(|(status, phrase, ago)| InvitedRow {
                status,
                phrase,
                seconds_ago: ago.as_secs(),
            }),
            called_seconds_ago: view.called_ago.map(|ago| ago.as_secs()),
        }
    }
}

/// Who takes no new calls, as `tollgate drain --json` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainRow {
    /// The tenant; none for the host.
    pub tenant: Option<String>,
    /// For how long.
    pub seconds: u64,
    /// When what is still up is ended.
    pub ends_in_seconds: Option<u64>,
    /// Calls that are up.
    pub calls: usize,
    /// The same in words.
    pub text: String,
}

impl From<DrainView> for DrainRow {
    fn from(view: DrainView) -> Self {
        Self {
            text: crate::telemetry::teams::drain_text(&view),
            tenant: view.tenant,
            seconds: view.since.as_secs(),
            ends_in_seconds: view.left.map(|left| left.as_secs()),
            calls: view.calls,
        }
    }
}

/// An alarm as `tollgate alarms --json` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Alarm")]
pub struct AlarmRow {
    pub alarm: String,
    pub subject: String,
    pub text: String,
    pub since: String,
}

impl From<Alarm> for AlarmRow {
    fn from(alarm: Alarm) -> Self {
        Self {
            alarm: alarm.word.into(),
            subject: alarm.subject.to_string(),
            text: alarm.text,
            since: humantime::format_rfc3339_seconds(alarm.since).to_string(),
        }
    }
}

/// A request with the place for its answer.
pub type Asked = (Request, oneshot::Sender<Answer>);

/// A request line is a few words.
const REQUEST_MAX: u64 = 4096;
/// Clients served at once; more wait.
const CLIENTS_MAX: usize = 16;
/// A client that asks nothing for so long is let go.
const IDLE_MAX: Duration = Duration::from_secs(30);
const _: () = assert!(replay::TIME_MAX.as_secs() < IDLE_MAX.as_secs());

/// The daemon's user and group may ask; whoever may is a matter of who is in the group.
const MODE: u32 = 0o660;

/// Binds the socket, replacing one that a dead daemon left behind. A live one is not replaced, nor
/// is anything that is no socket.
pub async fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if let Ok(found) = std::fs::symlink_metadata(path) {
        let taken = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
        if !found.file_type().is_socket() {
            return taken("there is something else in its place");
        }
        if UnixStream::connect(path).await.is_ok() {
            return taken("another tollgate answers on this socket");
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok(listener)
}

/// Serves clients until the receiver of `ask` is gone.
pub async fn serve(listener: UnixListener, ask: mpsc::Sender<Asked>) {
    let clients = std::sync::Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(permit) = std::sync::Arc::clone(&clients).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "admin socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if ask.is_closed() {
            return;
        }
        let ask = ask.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let _ = tokio::time::timeout(IDLE_MAX, serve_one(stream, ask)).await;
        });
    }
}

async fn serve_one(stream: UnixStream, ask: mpsc::Sender<Asked>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(REQUEST_MAX)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => {
            let (sender, answer) = oneshot::channel();
            let sent = ask.send((request, sender)).await.is_ok();
            let stopping = Answer::Failed { why: "the daemon is stopping".into() };
            if sent { answer.await.unwrap_or(stopping) } else { stopping }
        }
        Err(error) => Answer::Failed { why: format!("not a request: {error}") },
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

/// The client's side: asks and reads the answer.
pub fn ask(path: &Path, request: Request) -> io::Result<Answer> {
    use std::io::{BufRead as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(IDLE_MAX))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    std::io::BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_dead_socket_is_replaced_and_others_cannot_ask() {
        let folder = std::env::temp_dir().join(format!("tollgate-admin-{}", std::process::id()));
        let path = folder.join("run/admin.sock");
        let first = bind(&path).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(bind(&path).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind(&path).await.unwrap();

        let file = folder.join("precious");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(bind(&file).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
