//! The shard of the daemon, and what it drives.

use super::error::DaemonError;
use super::{engine, records};
use crate::alarms::Alarms;
use crate::config::{Loaded, Records};
use crate::hook::Hooks;
use crate::lent::LentFile;
use crate::looks::Looks;
use crate::readiness::Readiness;
use crate::record_file::RecordWriter;
use crate::shard::{Inbox, Order, Shard};
use crate::signalling::Signalling;
use crate::telemetry::Telemetry;
use crate::trace::Tracer;
use crate::transport::{Events, Runtimes, Transports};
use crate::{clock, dns, past_calls};
use b2bua::{B2bua, Input, Plan};
use media_engine::Engine;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What a shard drives, and what that says: it waits here until there is one.
pub(super) struct Driven {
    signalling: Signalling,
    records: Option<RecordWriter>,
    pub(super) transports: Transports,
    sip: Events,
    engine: Engine,
    media: mpsc::Receiver<media_engine::Event>,
}

/// A shard at work.
pub(super) struct Running {
    pub(super) shard: JoinHandle<Shard>,
    /// The thread that it runs on.
    pub(super) signalling: Signalling,
    pub(super) orders: mpsc::Sender<Order>,
    /// That the host drains and is empty, or its deadline has come.
    pub(super) drained: mpsc::Receiver<()>,
}

impl Driven {
    /// Opens the records, binds the listeners, starts the engine.
    pub(super) fn start(
        loaded: &Loaded,
        plan: &Arc<Plan>,
        alarms: &Alarms,
    ) -> Result<Self, DaemonError> {
        let records = match &loaded.records {
            Some(named) => Some(records::open(named)?),
            None => records::usual(),
        };
        let signalling = Signalling::start()?;
        let runtimes =
            Runtimes { core: signalling.handle().clone(), handshakes: Handle::current() };
        let identities = loaded.identities.clone();
        let (transports, sip) =
            Transports::start_on(runtimes, Arc::clone(plan), identities, alarms.clone())
                .map_err(|error| DaemonError::of_transports(error, loaded))?;
        let (engine, media) = engine::start(loaded)?;
        Ok(Self { signalling, records, transports, sip, engine, media })
    }

    /// Gives all of it to a shard, which tells `alarms` and `readiness` how it does.
    pub(super) async fn serve(
        self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        names: mpsc::Receiver<dns::Found>,
        alarms: Alarms,
        readiness: Arc<Readiness>,
    ) -> Running {
        let Self { signalling, records, transports, sip, engine, media } = self;
        let mut telemetry = Telemetry::new(alarms);
        telemetry.chosen(engine.chosen(), engine.workers());
        let mut b2bua = core(plan, loaded.records.clone().unwrap_or_default()).await;
        let (lent, known) = LentFile::open(&loaded.state, clock::now().wall);
        b2bua.handle_input(clock::now(), Input::Lent(known));
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (answers, hooks) = mpsc::channel(HOOK_ANSWERS_MAX);
        let (over, drained) = mpsc::channel(1);
        let shard = Shard {
            b2bua,
            transports,
            engine,
            offload: loaded.media_offload,
            hooks: Hooks::new(answers, Handle::current()),
            records,
            lent,
            telemetry,
            looks: Looks::default(),
            readiness,
            drained: over,
            looked: None,
            tracer: Tracer::default(),
        };
        let inbox = Inbox { sip, media, names, hooks, orders: ordered };
        let shard = signalling.handle().spawn(shard.run(inbox));
        Running { shard, signalling, orders, drained }
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

/// Orders that wait for the shard.
const ORDERS_MAX: usize = 64;
/// Answers of routing hooks that wait for the shard; requests wait beyond.
const HOOK_ANSWERS_MAX: usize = 256;
