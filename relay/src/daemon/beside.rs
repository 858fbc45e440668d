//! What works beside the shard: who is asked, and who keeps names, certificates and metrics up.

use super::error::DaemonError;
use crate::admin::{self, Asked};
use crate::alarms::Alarms;
use crate::config::{AcmeOrder, Loaded};
use crate::http::{self, Shown};
use crate::transport::Transports;
use crate::{acme, dns, expiry};
use b2bua::Plan;
use certs::Identities;
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Who works beside the shard, with what each is told by and heard through.
pub(super) struct Beside {
    pub(super) helpers: Vec<JoinHandle<()>>,
    /// Who orders certificates, and takes proofs away again.
    pub(super) ordering: JoinHandle<()>,
    /// What comes from the admin socket.
    pub(super) asked: mpsc::Receiver<Asked>,
    /// What DNS has found.
    pub(super) found: mpsc::Receiver<dns::Found>,
    pub(super) names: watch::Sender<dns::Wanted>,
    pub(super) certificates: watch::Sender<Identities>,
    pub(super) acme: watch::Sender<Arc<[AcmeOrder]>>,
}

impl Beside {
    pub(super) fn start(
        Doors { listener, socket, .. }: Doors,
        shown: Shown,
        loaded: &Loaded,
        plan: &Plan,
        transports: Transports,
        alarms: &Alarms,
    ) -> Self {
        let (ask, asked) = mpsc::channel(QUESTIONS_MAX);
        let (tell, found) = mpsc::channel(QUESTIONS_MAX);
        let (names, wanted) = watch::channel(dns::Wanted::of(plan));
        let (certificates, expiring) = watch::channel(loaded.identities.clone());
        let (acme, ordered) = watch::channel(loaded.acme.as_slice().into());
        acme::make_room(&loaded.acme);
        let helpers = vec![
            tokio::spawn(keep_up(shown.metrics.clone())),
            tokio::spawn(http::show(listener, shown)),
            tokio::spawn(admin::serve(socket, ask)),
            tokio::spawn(dns::keep_located(wanted, tell, alarms.clone())),
            tokio::spawn(expiry::keep(expiring, transports, alarms.clone())),
        ];
        let ordering = tokio::spawn(acme::keep(ordered, alarms.clone()));
        Self { helpers, ordering, asked, found, names, certificates, acme }
    }
}

/// Where the daemon is asked how it does.
pub(super) struct Doors {
    /// Where metrics are served.
    pub(super) metrics: SocketAddr,
    listener: TcpListener,
    /// The admin socket.
    socket: UnixListener,
}

impl Doors {
    pub(super) async fn open(loaded: &Loaded) -> Result<Self, DaemonError> {
        let failed = |error| DaemonError::Metrics { address: loaded.metrics, error };
        let listener = TcpListener::bind(loaded.metrics).await.map_err(failed)?;
        let metrics = listener.local_addr().map_err(failed)?;
        let path = &loaded.admin_socket;
        let socket = admin::bind(path)
            .await
            .map_err(|error| DaemonError::Admin { path: path.clone(), error })?;
        Ok(Self { metrics, listener, socket })
    }

    /// Nobody will ever answer there.
    pub(super) fn close(self, loaded: &Loaded) {
        drop(self);
        super::remove_socket(loaded);
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

/// Questions, and names that were found, that wait for the daemon.
const QUESTIONS_MAX: usize = 64;
