//! The stage: the real SBC and the emulated sides around it, all running in this process.

use super::lab::{self, Folder, Lab, LabFailure};
use super::scenarios::COLT_REFUSES;
use crate::admin::{self, Answer, Request, TargetRow};
use crate::clock;
use crate::config;
use crate::daemon::{Daemon, DaemonError};
use crate::emulation::peer::{Access, MediaPorts, Peer, PeerFailure, Tones};
use crate::terminal::complain;
use b2bua::plan::{Cidr, Roots as RootsOf, Transport};
use certs::{Identities, Roots};
use emulate::{Agent, Behaviour, Carrier, Endpoint, Health, Progress, Script, Teams, Tenant};
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// What Teams plays and the carriers play: far enough apart, and whole periods in 20 ms.
const TEAMS_HZ: u32 = 1000;
const CARRIER_HZ: u32 = 600;
/// The first OPTIONS are answered in milliseconds.
const PROBES_MAX: Duration = Duration::from_secs(8);
/// Between two looks at the trunks.
const LOOK: Duration = Duration::from_millis(100);

/// How much is to be played on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Calls that one side can have at once.
    pub(crate) calls: usize,
    /// Media ports of the SBC: four a call, and they rest for a while after it.
    pub(crate) media_ports: u16,
    /// When a phone rings.
    pub(crate) ring_after: Duration,
    /// When it is picked up.
    pub(crate) answer_after: Duration,
}

impl Size {
    /// A handful of calls that people can follow.
    pub(super) const DEMO: Self = Self {
        calls: 8,
        media_ports: 64,
        ring_after: Duration::from_millis(100),
        answer_after: Duration::from_millis(600),
    };
}

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageFailure {
    #[error(transparent)]
    Lab(#[from] LabFailure),
    #[error(transparent)]
    Peer(#[from] PeerFailure),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error("our own configuration does not hold: {0}")]
    Configuration(String),
}

impl StageFailure {
    /// Whether other ports may do better: one was taken between choosing and binding it.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Peer(_) | Self::Daemon(_) => true,
            Self::Lab(_) | Self::Configuration(_) => false,
        }
    }
}

/// One of the emulated sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Teams,
    Colt,
    Bt,
}

/// Talk on stderr, with the time since the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: clock::now().mono }
    }

    /// Says what is going on.
    pub(crate) fn say(&self, about: &str, text: &str) {
        let seconds = self.elapsed().as_secs_f64();
        complain(&format!("{seconds:6.2} s  {about:<15}  {text}"));
    }

    pub(super) fn elapsed(&self) -> Duration {
        clock::now().mono.saturating_duration_since(self.started)
    }
}

/// Everything that runs.
pub(crate) struct Stage {
    pub(super) teams: Peer,
    pub(super) colt: Peer,
    pub(crate) bt: Peer,
    pub(super) progress: Clock,
    pub(super) recorder: PrometheusHandle,
    pub(super) records: PathBuf,
    pub(super) sbc_tls: SocketAddr,
    pub(super) rogue: Identities,
    pub(super) roots: Roots,
    /// Where metrics are served.
    pub(super) metrics: SocketAddr,
    admin_socket: PathBuf,
    end: oneshot::Sender<()>,
    /// Whether the SBC has ended by itself, as it was drained.
    gone: watch::Receiver<bool>,
    sbc: JoinHandle<()>,
}

impl Stage {
    /// Sets it up in `folder`.
    pub(crate) async fn set(
        folder: &Folder,
        recorder: PrometheusHandle,
        progress: Clock,
        size: Size,
    ) -> Result<Self, StageFailure> {
        let dir = folder.path();
        let made = dir.to_owned();
        // Making RSA keys takes a while, and nobody else is to wait for it.
        let lab = tokio::task::spawn_blocking(move || Lab::new(&made, size.media_ports)).await;
        let lab = lab.map_err(|error| StageFailure::Configuration(error.to_string()))??;
        progress.say("lab", &format!("certificates and configuration are in {}", dir.display()));
        let [teams, colt, bt] = peers(&lab, size)?;
        let started = config::start(dir).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            StageFailure::Configuration(problems.join("; "))
        })?;
        crate::logging::install(started.loaded.log);
        let admin_socket = started.loaded.admin_socket.clone();
        let daemon = Daemon::start(dir, started, recorder.clone()).await?;
        let metrics = daemon.metrics();
        let (end, ended) = oneshot::channel::<()>();
        let (went, gone) = watch::channel(false);
        let sbc = tokio::spawn(async move {
            daemon.serve_until(async { drop(ended.await) }).await;
            went.send_replace(true);
        });
        let ports = &lab.ports;
        progress.say(
            "sbc",
            &format!("SIP over TLS on {}, SIP over UDP on {}", ports.sbc_tls, ports.sbc_udp),
        );
        Ok(Self {
            teams,
            colt,
            bt,
            progress,
            recorder,
            records: lab.records(),
            sbc_tls: ports.sbc_tls,
            roots: lab.roots()?,
            rogue: lab.rogue,
            metrics,
            admin_socket,
            end,
            gone,
            sbc,
        })
    }

    pub(super) fn peer(&self, who: Who) -> &Peer {
        match who {
            Who::Teams => &self.teams,
            Who::Colt => &self.colt,
            Who::Bt => &self.bt,
        }
    }

    /// Waits until every target has answered OPTIONS; those that have not.
    pub(crate) async fn probes(&self) -> Vec<String> {
        let begun = self.progress.elapsed();
        loop {
            let targets = self.targets().await;
            let silent = targets.iter().filter(|target| target.answered_seconds_ago.is_none());
            let silent: Vec<String> =
                silent.map(|it| format!("{} {}: {}", it.trunk, it.target, it.last)).collect();
            let waited = self.progress.elapsed().saturating_sub(begun);
            if waited < PROBES_MAX && (targets.is_empty() || !silent.is_empty()) {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            for TargetRow { trunk, target, last, .. } in &targets {
                self.progress.say("OPTIONS", &format!("{trunk} {target}: {last}"));
            }
            return match targets.is_empty() {
                true => vec!["the admin socket does not answer".into()],
                false => silent,
            };
        }
    }

    /// As `tollgate trunks` asks.
    async fn targets(&self) -> Vec<TargetRow> {
        let socket = self.admin_socket.clone();
        let asked = tokio::task::spawn_blocking(move || admin::ask(&socket, Request::Trunks));
        match asked.await {
            Ok(Ok(Answer::Trunks { targets, .. })) => targets,
            _ => Vec::new(),
        }
    }

    /// What the SBC sent that it must not send, by the rules that the emulated sides know.
    pub(super) async fn violations(&self) -> Vec<String> {
        let mut all = Vec::new();
        for peer in [&self.teams, &self.colt, &self.bt] {
            let seen = peer.with(|agent, _| {
                agent.violations().iter().map(ToString::to_string).collect::<Vec<_>>()
            });
            let seen = seen.await.unwrap_or_default();
            all.extend(seen.into_iter().map(|what| format!("{}: {what}", peer.name)));
        }
        all
    }

    /// Waits until the SBC has ended by itself.
    pub(super) async fn gone(&self) {
        let mut gone = self.gone.clone();
        // Whoever would tell is gone with it.
        drop(gone.wait_for(|gone| *gone).await);
    }

    /// Ends the SBC in order, then the sides around it.
    pub(crate) async fn strike(self) {
        let _ = self.end.send(());
        let _ = self.sbc.await;
        for peer in [self.teams, self.colt, self.bt] {
            peer.stop().await;
        }
    }
}

fn peers(lab: &Lab, size: Size) -> Result<[Peer; 3], StageFailure> {
    let ports = &lab.ports;
    let (sbc_tls, sbc_udp) = (ports.sbc_tls, ports.sbc_udp);
    let named = lab::TEAMS_NAMES.iter().zip(ports.teams);
    let listeners: Vec<(String, SocketAddr)> =
        named.map(|(name, address)| ((*name).to_owned(), address)).collect();
    let endpoints = listeners
        .iter()
        .map(|(fqdn, local)| Endpoint { fqdn: fqdn.clone(), local: *local, health: Health::Up })
        .collect();
    let tenants = [lab::SBC_NAME, lab::CONTOSO_NAME, lab::FABRIKAM_NAME]
        .map(|fqdn| Tenant::new(fqdn, sbc_tls));
    // Several clients of the user ring, as with the real Teams (TDR-EM-001).
    let picks_up = |progress| Behaviour::Answer {
        ring_after: size.ring_after,
        progress,
        answer_after: Some(size.answer_after),
        talk: None,
    };
    let script = Script::always(picks_up(Progress::Forks));
    let teams = Teams::new(endpoints, tenants.to_vec(), script);
    let access = Access {
        name: "teams",
        listeners,
        transport: Transport::Tls,
        sources: vec![Cidr { network: sbc_tls.ip(), length: 32 }],
        names: vec![lab::SBC_NAME.to_owned()],
        roots: RootsOf::File(lab.root.clone()),
        identities: lab.teams.clone(),
        media: media_ports(ports.teams[0].ip(), size.calls),
        fresh_connections: false,
    };
    let tones = Tones { plays_hz: TEAMS_HZ, expects_hz: CARRIER_HZ };
    let teams = Peer::start(access, tones, |media, rng| Agent::teams(teams, media, rng))?;
    let carrier = |name, local: SocketAddr, progress| {
        let script = Script::always(picks_up(progress)).with(
            COLT_REFUSES,
            match name {
                "colt" => Behaviour::refuse(503),
                _ => picks_up(progress),
            },
        );
        let carrier = Carrier::new(emulate::Transport::Udp, local, sbc_udp, script);
        let access = Access {
            name,
            listeners: vec![(name.to_owned(), local)],
            transport: Transport::Udp,
            sources: vec![Cidr { network: sbc_udp.ip(), length: 32 }],
            names: Vec::new(),
            roots: RootsOf::File(lab.root.clone()),
            identities: Identities::new([]),
            media: media_ports(local.ip(), size.calls),
            fresh_connections: false,
        };
        let tones = Tones { plays_hz: CARRIER_HZ, expects_hz: TEAMS_HZ };
        Peer::start(access, tones, |media, rng| Agent::carrier(carrier, media, rng))
    };
    let colt = carrier("colt", ports.colt, Progress::EarlyMedia)?;
    let bt = carrier("bt", ports.bt, Progress::Ringing)?;
    Ok([teams, colt, bt])
}

fn media_ports(address: std::net::IpAddr, calls: usize) -> MediaPorts {
    MediaPorts { address, ports: lab::MEDIA_PORTS, calls }
}
