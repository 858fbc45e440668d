//! The daemon: puts a configuration in force, keeps it in force, and ends in order.

use crate::admin::{self, AlarmRow, Answer, Asked, Request};
use crate::alarms::Alarms;
use crate::config::{Loaded, Problem, Records, Started};
use crate::hook::Hooks;
use crate::http::{self, Shown};
use crate::in_force::InForce;
use crate::lent::LentFile;
use crate::looks::Looks;
use crate::readiness::{Phase, Readiness};
use crate::record_file::{RecordFile, RecordWriter};
use crate::reload::Reloads;
use crate::shard::{Inbox, Order, Shard};
use crate::signalling::Signalling;
use crate::telemetry::{self, Telemetry};
use crate::transport::{self, Runtimes, Transports};
use crate::{acme, clock, dns, expiry, media_setup, past_calls};
use b2bua::{B2bua, Input, Plan};
use media_engine::Engine;
use metrics_exporter_prometheus::PrometheusHandle;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Orders and questions that wait for the shard.
const ORDERS_MAX: usize = 64;
/// Answers of routing hooks that wait for the shard; requests wait beyond.
const HOOK_ANSWERS_MAX: usize = 256;
/// Notices and counters of running calls that wait for the shard; beyond that they are lost and counted.
const MEDIA_NOTICES_MAX: usize = 65_536;
/// Room that is kept in the same queue for what must arrive, because a call waits for it: that its media
/// is closed, or could not be opened. Four of each call of a host that is as full as it may be, all at
/// once. The queue takes memory for what is in it only.
const MEDIA_ENDS_MAX: usize = 4 * CALLS_CEILING;
/// What `calls_max` of `[node]` may be at most.
const CALLS_CEILING: usize = 500_000;
/// After the last call is over, how long the transports may take to send what is queued.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// How long proofs may take to be taken away again: a hook may have to tell DNS.
const PROOFS_MAX: Duration = Duration::from_secs(10);

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// No async runtime or signal handler.
    #[error("cannot start: {0}")]
    Runtime(#[from] std::io::Error),
    /// A listener.
    #[error(transparent)]
    Transport(#[from] transport::StartError),
    /// The media engine.
    #[error(transparent)]
    Media(#[from] media_engine::EngineError),
    /// The media engine that the configuration names cannot be had here, and trying again would not
    /// change it.
    #[error("{0}")]
    NoSuchEngine(Problem),
    /// SRTP.
    #[error(transparent)]
    Srtp(#[from] media::srtp::WrongAnswer),
    /// The metrics address.
    #[error("cannot serve metrics on {address}: {error}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The admin socket.
    #[error("cannot use the admin socket {}: {error}", path.display())]
    Admin {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file of call records.
    #[error("cannot write call records to {}: {error}", path.display())]
    Records {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Signalling has ended though nobody told it to.
    #[error("signalling has failed: {0}")]
    Shard(String),
    /// The metrics recorder.
    #[error("cannot record metrics: {0}")]
    Recorder(#[from] metrics_exporter_prometheus::BuildError),
}

impl DaemonError {
    /// What an operator can do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Runtime(_) => "is the limit of processes or open files reached (ulimit -a)?",
            Self::Transport(_) => {
                "is the address on this host, and is nobody else on the port (ss -lnp)?"
            }
            Self::NoSuchEngine(_) => {
                "or set [media] engine = \"auto\", which goes on with what there is"
            }
            Self::Media(_) => "is the limit of threads or open files reached (ulimit -a)?",
            Self::Srtp(_) => {
                "do not run it here: what it protects could not be read, or by anybody"
            }
            Self::Metrics { .. } => {
                "choose another [metrics] listen, or end who holds it (ss -lntp)"
            }
            Self::Admin { .. } => "is another tollgate running, and may this user write there?",
            Self::Records { .. } => "may this user write there ([records] file)?",
            Self::Shard(_) => "this is a bug of ours: please report it with the log before it",
            Self::Recorder(_) => "this is a bug of ours: one process has one recorder",
        }
    }
}

/// A running SBC.
pub struct Daemon {
    path: PathBuf,
    force: InForce,
    reloads: Reloads,
    readiness: Arc<Readiness>,
    /// That the host drains and is empty, or its deadline has come.
    drained: mpsc::Receiver<()>,
    shard: JoinHandle<Shard>,
    /// The thread that the shard runs on.
    _signalling: Signalling,
    asked: mpsc::Receiver<Asked>,
    helpers: Vec<JoinHandle<()>>,
    /// Who orders certificates, and takes proofs away again.
    ordering: JoinHandle<()>,
    /// Where metrics are served; the port is the one that was free where 0 was configured.
    metrics: SocketAddr,
}

/// The signals that the daemon lives by.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Runs the SBC in the foreground until SIGTERM or SIGINT.
pub fn run(path: &Path, started: Started) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything else: a signal that nobody expects ends the process.
        let signals = Signals::new()?;
        let recorder = telemetry::install()?;
        let daemon = Daemon::start(path, started, recorder).await?;
        daemon.serve(signals).await
    })
}

impl Daemon {
    /// Puts what was read in force: listeners are bound and served when this returns.
    pub async fn start(
        path: &Path,
        started: Started,
        recorder: PrometheusHandle,
    ) -> Result<Self, DaemonError> {
        if let Err(error) = media_engine::raise_descriptor_limit() {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
        let Started { store, mut loaded, generations } = started;
        let rolled_back = store.is_rolled_back();
        let generation = 1;
        let alarms = Alarms::new();
        loaded.plan.generation = generation;
        let plan = Arc::new(loaded.plan.clone());
        let records = match &loaded.records {
            Some(records) => Some(open_records(records)?),
            None => usual_records(),
        };
        let identities = loaded.identities.clone();
        let signalling = Signalling::start()?;
        let runtimes =
            Runtimes { core: signalling.handle().clone(), handshakes: Handle::current() };
        let (transports, sip) =
            Transports::start_on(runtimes, Arc::clone(&plan), identities, alarms.clone())?;
        let (media_events, media) = mpsc::channel(MEDIA_NOTICES_MAX + MEDIA_ENDS_MAX);
        let engine = start_engine(&loaded, media_events)?;
        let mut telemetry = Telemetry::new(alarms.clone());
        telemetry.chosen(engine.chosen(), engine.workers());
        let (orders, order) = mpsc::channel(ORDERS_MAX);
        let (found, located) = mpsc::channel(ORDERS_MAX);
        let (hook_answers, hooks) = mpsc::channel(HOOK_ANSWERS_MAX);
        let (names, wanted) = watch::channel(dns::Wanted::of(&plan));
        let (certificates, expiring) = watch::channel(loaded.identities.clone());
        let (acme, orders_of_acme) = watch::channel(loaded.acme.as_slice().into());
        acme::make_room(&loaded.acme);
        let (ask, asked) = mpsc::channel(ORDERS_MAX);
        let readiness = Arc::new(Readiness::default());
        let (over, drained) = mpsc::channel(1);
        let Doors { metrics, listener, socket } = Doors::open(&loaded).await?;
        let shown = Shown { metrics: recorder.clone(), readiness: Arc::clone(&readiness) };
        let helpers = vec![
            tokio::spawn(http::show(listener, shown)),
            tokio::spawn(admin::serve(socket, ask)),
            tokio::spawn(dns::keep_located(wanted, found, alarms.clone())),
            tokio::spawn(expiry::keep(expiring, transports.clone(), alarms.clone())),
            tokio::spawn(keep_up(recorder)),
        ];
        let ordering = tokio::spawn(acme::keep(orders_of_acme, alarms.clone()));
        let mut b2bua = core(&plan, loaded.records.clone().unwrap_or_default()).await;
        let (lent, known) = LentFile::open(&loaded.state, clock::now().wall);
        b2bua.handle_input(clock::now(), Input::Lent(known));
        let shard = Shard {
            b2bua,
            transports: transports.clone(),
            engine,
            offload: loaded.media_offload,
            hooks: Hooks::new(hook_answers, Handle::current()),
            records,
            lent,
            telemetry,
            looks: Looks::default(),
            readiness: Arc::clone(&readiness),
            drained: over,
            looked: None,
            tracer: crate::trace::Tracer::default(),
        };
        let inbox = Inbox { sip, media, names: located, hooks, orders: order };
        let shard = signalling.handle().spawn(shard.run(inbox));
        let mut force = InForce {
            loaded,
            generation,
            transports,
            orders,
            names,
            certificates,
            acme,
            alarms,
            retired: Vec::new(),
            plan,
            rolled_back: None,
        };
        let reloads = Reloads::new(store, generations);
        // Only then: what is being kept for the first time may take long to write.
        force.rolled_back = rolled_back.then(|| reloads.current()).flatten();
        force.show();
        force.judge_media(true);
        if let Some(remark) = media_setup::remark(&media_setup::Here) {
            tracing::info!(remark, "media");
        }
        readiness.enter(Phase::Ready);
        let path = path.to_owned();
        Ok(Self {
            path,
            force,
            reloads,
            readiness,
            drained,
            shard,
            _signalling: signalling,
            asked,
            helpers,
            ordering,
            metrics,
        })
    }

    /// Where metrics are served.
    pub const fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Serves signals and the admin socket until SIGTERM or SIGINT, then ends in order.
    async fn serve(mut self, signals: Signals) -> Result<(), DaemonError> {
        let Signals { mut hangup, mut terminate, mut interrupt } = signals;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            configuration = %self.path.display(),
            tenants = self.force.loaded.plan.tenants.len(),
            trunks = self.force.loaded.plan.trunks.len(),
            "serving"
        );
        notify(&[sd_notify::NotifyState::Ready]);
        loop {
            tokio::select! {
                _ = hangup.recv() => self.reloads.want(None),
                next = self.reloads.next() => self.reloads.handle(&mut self.force, next).await,
                asked = self.asked.recv() => {
                    if !self.answer(asked).await {
                        break;
                    }
                }
                // Without it nothing is served, whatever else still runs: better to be started anew.
                ended = &mut self.shard => {
                    let why = ended.err().map_or_else(|| "it has ended".into(), |e| e.to_string());
                    return Err(DaemonError::Shard(why));
                }
                Some(()) = self.drained.recv() => {
                    tracing::info!("drained: ends");
                    break;
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        notify(&[sd_notify::NotifyState::Stopping]);
        tokio::select! {
            () = self.stop() => {}
            _ = terminate.recv() => tracing::warn!("told twice to stop: calls are cut off"),
            _ = interrupt.recv() => tracing::warn!("told twice to stop: calls are cut off"),
        }
        Ok(())
    }

    /// Serves the admin socket until `ended`, then ends in order: for a process that does more than
    /// run the SBC.
    pub async fn serve_until(mut self, ended: impl Future<Output = ()>) {
        let mut ended = std::pin::pin!(ended);
        loop {
            tokio::select! {
                () = &mut ended => break,
                Some(()) = self.drained.recv() => break,
                next = self.reloads.next() => self.reloads.handle(&mut self.force, next).await,
                asked = self.asked.recv() => {
                    if !self.answer(asked).await {
                        break;
                    }
                }
            }
        }
        self.stop().await;
    }

    /// Answers a question from the admin socket; `false` if there will be no more.
    async fn answer(&mut self, asked: Option<Asked>) -> bool {
        match asked {
            Some((Request::Reload, answer)) => self.reloads.want(Some(answer)),
            Some((Request::Diff { with }, answer)) => self.reloads.show(with, answer),
            Some((Request::Replay { with }, answer)) => self.reloads.replay(with, answer),
            Some((Request::Rollback { number }, answer)) => self.reloads.roll_back(number, answer),
            Some((Request::Generations, answer)) => self.reloads.list(answer),
            Some((Request::Alarms, answer)) => {
                let alarms = self.force.alarms.list().into_iter().map(AlarmRow::from).collect();
                let _ = answer.send(Answer::Alarms { alarms });
            }
            Some((request, answer)) => self.pass_on(request, answer).await,
            None => return false,
        }
        true
    }

    async fn pass_on(&self, request: Request, answer: tokio::sync::oneshot::Sender<Answer>) {
        // A shard that is gone drops the sender, which the client reads as "stopping".
        let _ = self.force.orders.send(Order::Ask(request, answer)).await;
    }

    /// Asks the shard, as the admin socket does.
    pub async fn ask(&self, request: Request) -> Option<Answer> {
        let (sender, answer) = tokio::sync::oneshot::channel();
        self.pass_on(request, sender).await;
        answer.await.ok()
    }

    /// Ends all calls, waits for them within the deadline, and closes everything.
    pub async fn stop(self) {
        self.readiness.enter(Phase::Stopping);
        // Who has asked and got no answer yet learns that there will be none.
        drop(self.asked);
        // An order that is open is given up.
        drop(self.force.acme);
        let deadline = self.force.loaded.plan.node.shutdown_deadline;
        let shard = self.shard.abort_handle();
        let orderly = async {
            let _ = self.force.orders.send(Order::Shutdown).await;
            match self.shard.await {
                Ok(shard) => {
                    self.force.transports.shutdown(FLUSH_MAX).await;
                    drop(shard);
                    tracing::info!("stopped");
                }
                Err(error) => tracing::error!(%error, "the signalling shard failed"),
            }
        };
        if tokio::time::timeout(deadline, orderly).await.is_err() {
            tracing::warn!(?deadline, "not every far side had answered by the deadline");
            shard.abort();
        }
        for helper in self.helpers {
            helper.abort();
        }
        let ordering = self.ordering.abort_handle();
        if tokio::time::timeout(PROOFS_MAX, self.ordering).await.is_err() {
            tracing::warn!("a proof for an authority may be left, as its hook has not ended");
            ordering.abort();
        }
        // A socket that nobody serves only misleads the next client.
        let _ = std::fs::remove_file(&self.force.loaded.admin_socket);
    }
}

/// Where the daemon is asked how it does.
struct Doors {
    /// Where metrics are served.
    metrics: SocketAddr,
    listener: TcpListener,
    /// The admin socket.
    socket: UnixListener,
}

impl Doors {
    async fn open(loaded: &Loaded) -> Result<Self, DaemonError> {
        let failed = |error| DaemonError::Metrics { address: loaded.metrics, error };
        let listener = TcpListener::bind(loaded.metrics).await.map_err(failed)?;
        let metrics = listener.local_addr().map_err(failed)?;
        let path = &loaded.admin_socket;
        let socket = admin::bind(path)
            .await
            .map_err(|error| DaemonError::Admin { path: path.clone(), error })?;
        Ok(Self { metrics, listener, socket })
    }
}

pub(crate) fn open_records(records: &Records) -> Result<RecordWriter, DaemonError> {
    RecordFile::open(&records.file, records.size_max, records.files_max)
        .and_then(RecordWriter::start)
        .map_err(|error| DaemonError::Records { path: records.file.clone(), error })
}

/// Without `[records]`, calls are recorded in the usual place, where there is one to write to.
pub(crate) fn usual_records() -> Option<RecordWriter> {
    let records = Records::default();
    match open_records(&records) {
        Ok(writer) => Some(writer),
        Err(error) => {
            tracing::warn!(%error, "calls are not recorded; [records] file names another place");
            None
        }
    }
}

/// The core, with a certificate of its own and what the records tell of past calls.
async fn core(plan: &Arc<Plan>, records: Records) -> B2bua {
    let mut b2bua = B2bua::new(clock::now(), Arc::clone(plan), ChaCha20Rng::from_os_rng());
    match dtls_certificate() {
        Some(certificate) => b2bua = b2bua.with_certificate(Arc::new(certificate)),
        None => tracing::warn!("no certificate for DTLS could be made: media goes without"),
    }
    if plan.tenants.iter().any(|tenant| !tenant.fraud.is_empty()) {
        let read = move || past_calls::read(&records, clock::now().wall);
        let calls = tokio::task::spawn_blocking(read).await.unwrap_or_default();
        tracing::info!(calls = calls.len(), "the fraud guard counts what the records tell");
        b2bua.handle_input(clock::now(), Input::Past(calls));
    }
    b2bua
}

/// Who we are in the DTLS handshakes of this process; its key is nowhere else.
fn dtls_certificate() -> Option<sdp::Certificate> {
    media::dtls::prepare();
    let made = certs::dtls::self_signed().ok()?;
    sdp::Certificate::new(made.certificate, made.key, &made.sha256)
}

fn start_engine(
    loaded: &Loaded,
    events: mpsc::Sender<media_engine::Event>,
) -> Result<Engine, DaemonError> {
    let config = media_engine::Config {
        workers: loaded.plan.media_workers,
        transcoders: loaded.plan.transcoders,
        engine: loaded.media_engine,
        offload: loaded.media_offload,
        media: loaded.plan.media.iter().map(|address| address.bind).collect(),
        ..media_engine::Config::default()
    };
    let srtp = media::srtp::choose(|| clock::now().mono)?;
    tracing::info!(
        counter_mode = srtp.counter_mode.as_str(),
        sha1 = srtp.sha1.as_str(),
        gcm = srtp.gcm.as_str(),
        counter_mode_took = ?srtp.counter_mode_took,
        "SRTP is protected by these"
    );
    let engine = Engine::start(config, Box::new(move |event| tell(&events, event)));
    let engine = engine.map_err(|error| match error {
        media_engine::EngineError::NotHere { why, .. } => {
            DaemonError::NoSuchEngine(loaded.engine_is_not_here(&why))
        }
        other => other.into(),
    })?;
    let media_engine::Chosen { by, why } = engine.chosen();
    tracing::info!(engine = %by, why, workers = engine.workers(), "media engine");
    Ok(engine)
}

/// Passes an event of the media engine on. What can be lost goes only where there is room beside what
/// cannot.
fn tell(events: &mpsc::Sender<media_engine::Event>, event: media_engine::Event) {
    use media_engine::Event::{Closed, FellBack, Listed, Notice, OpenFailed, Regained, Stats};
    let may_go = match &event {
        Closed { .. } | OpenFailed { .. } | FellBack { .. } | Regained { .. } => true,
        Notice { .. } | Stats { .. } | Listed { .. } => events.capacity() > MEDIA_ENDS_MAX,
    };
    if !may_go {
        metrics::counter!("tollgate_media_notices_lost_total").increment(1);
    } else if events.try_send(event).is_err() {
        tracing::warn!("a media event is lost: the shard has ended");
    }
}

/// The recorder keeps histogram samples until somebody folds them.
async fn keep_up(recorder: PrometheusHandle) {
    let mut interval = tokio::time::interval(Duration::from_secs(5));
    loop {
        interval.tick().await;
        recorder.run_upkeep();
    }
}

/// Tells systemd, if it is listening.
pub(crate) fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd was not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media_engine::{Event, MediaId};

    #[test]
    fn notices_that_nobody_reads_leave_room_for_the_end_of_every_call() {
        let (sender, mut events) = mpsc::channel(MEDIA_NOTICES_MAX + MEDIA_ENDS_MAX);
        for call in 0..MEDIA_NOTICES_MAX as u64 + 1000 {
            let notice = sdp::Notice::Silent(sdp::Silence::NoPackets);
            tell(&sender, Event::Notice { call: MediaId(call), side: media::Side::A, notice });
        }
        let ends = 10_000;
        for call in 0..ends {
            tell(
                &sender,
                Event::Closed {
                    call: MediaId(call),
                    stats: media::CallStats::default(),
                    carried: None,
                },
            );
        }
        let (mut notices, mut closed) = (0, 0);
        while let Ok(event) = events.try_recv() {
            match event {
                Event::Notice { .. } => notices += 1,
                _ => closed += 1,
            }
        }
        assert_eq!((notices, closed), (MEDIA_NOTICES_MAX, ends));
    }
}
