//! The daemon: puts a configuration in force, keeps it in force, and ends in order.

mod beside;
mod engine;
mod error;
pub(crate) mod records;
mod signalled;

pub use error::DaemonError;

use crate::admin::{AlarmRow, Answer, Asked, Request};
use crate::alarms::Alarms;
use crate::config::{Loaded, Started};
use crate::http::Shown;
use crate::in_force::InForce;
use crate::readiness::{Phase, Readiness};
use crate::reload::Reloads;
use crate::shard::{Order, Shard};
use crate::signalling::Signalling;
use crate::{media_setup, telemetry};
use beside::{Beside, Doors};
use metrics_exporter_prometheus::PrometheusHandle;
use signalled::{Driven, Running};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What is put in force at the start.
const FIRST_GENERATION: u64 = 1;
/// After the last call is over, how long the transports may take to send what is queued.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// How long proofs may take to be taken away again: a hook may have to tell DNS.
const PROOFS_MAX: Duration = Duration::from_secs(10);

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
        loaded.plan.generation = FIRST_GENERATION;
        let plan = Arc::new(loaded.plan.clone());
        let alarms = Alarms::new();
        let readiness = Arc::new(Readiness::default());
        // First of all: whoever finds a listener open finds somebody to be asked about it.
        let doors = Doors::open(&loaded).await?;
        let driven = match Driven::start(&loaded, &plan, &alarms) {
            Ok(driven) => driven,
            Err(error) => {
                doors.close(&loaded);
                return Err(error);
            }
        };
        let transports = driven.transports.clone();
        let metrics = doors.metrics;
        let shown = Shown { metrics: recorder, readiness: Arc::clone(&readiness) };
        let beside = Beside::start(doors, shown, &loaded, &plan, transports.clone(), &alarms);
        let Beside { helpers, ordering, asked, found, names, certificates, acme } = beside;
        let running = driven.serve(&loaded, &plan, found, alarms.clone(), Arc::clone(&readiness));
        let Running { shard, signalling, orders, drained } = running.await;
        let mut force = InForce {
            loaded,
            generation: FIRST_GENERATION,
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
            tracing::info!("{remark}");
        }
        readiness.enter(Phase::Ready);
        Ok(Self {
            path: path.to_owned(),
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
            Some((Request::Knock { from }, answer)) => {
                let full = || Answer::Failed { why: "too many are knocking already".into() };
                let room = self.force.transports.expect_knock(&from);
                let _ = answer.send(if room { Answer::Expected } else { full() });
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
        remove_socket(&self.force.loaded);
    }
}

/// A socket that nobody serves only misleads the next client.
fn remove_socket(loaded: &Loaded) {
    let _ = std::fs::remove_file(&loaded.admin_socket);
}

/// Tells systemd, if it is listening.
pub(crate) fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd was not told");
    }
}
