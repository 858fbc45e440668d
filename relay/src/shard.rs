//! Drives one back-to-back user agent: feed it, drain it, arm its timer.

mod asked;

use crate::admin::{Answer, Request};
use crate::clock;
use crate::dns::Found;
use crate::hook::{Answered, Hooks};
use crate::lent::LentFile;
use crate::looks::Looks;
use crate::readiness::Readiness;
use crate::record_file::RecordWriter;
use crate::telemetry::{self, Telemetry};
use crate::trace::{Seen, Tracer};
use crate::transport::{self, Transports};
use b2bua::io::{CallId, Hop, MediaPort, MediaPorts, PeerLeg};
use b2bua::{B2bua, Carried, Input, Output, Plan};
use bytes::Bytes;
use media::Side;
use media_engine::{Engine, LegPorts, MediaId};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// What others ask of a shard.
#[derive(Debug)]
pub(crate) enum Order {
    /// A new snapshot for new calls.
    Plan(Arc<Plan>),
    /// Records go to this file from now on.
    Records(Option<RecordWriter>),
    /// A question from the admin socket.
    Ask(Request, oneshot::Sender<Answer>),
    /// End all calls, then end.
    Shutdown,
}

/// The mailboxes of a shard.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// From the transports.
    pub(crate) sip: transport::Events,
    /// From the media engine.
    pub(crate) media: mpsc::Receiver<media_engine::Event>,
    /// From DNS.
    pub(crate) names: mpsc::Receiver<Found>,
    /// From the tenants' routing hooks.
    pub(crate) hooks: mpsc::Receiver<Answered>,
    /// From the supervisor.
    pub(crate) orders: mpsc::Receiver<Order>,
}

/// One shard: the core and what it drives.
pub(crate) struct Shard {
    /// The core.
    pub b2bua: B2bua,
    /// Where messages go.
    pub(crate) transports: Transports,
    /// Where media commands go.
    pub(crate) engine: Engine,
    /// Whether the kernel may send on packets by itself.
    pub(crate) offload: bool,
    /// Where calls are asked about.
    pub(crate) hooks: Hooks,
    /// Where records go; `None` keeps none.
    pub(crate) records: Option<RecordWriter>,
    /// Where it is kept whom a number leads to.
    pub(crate) lent: LentFile,
    /// Where events go.
    pub(crate) telemetry: Telemetry,
    /// Who looks at a call.
    pub(crate) looks: Looks,
    /// What is told of whether calls are taken.
    pub(crate) readiness: Arc<Readiness>,
    /// Who ends the process once it is drained.
    pub(crate) drained: mpsc::Sender<()>,
    /// When it was last looked at how Microsoft sees us, and at who is full.
    pub(crate) looked: Option<std::time::Instant>,
    /// Who looks at a tenant's SIP.
    pub(crate) tracer: Tracer,
}

impl Shard {
    /// Runs until a shutdown is complete.
    pub(crate) async fn run(mut self, mut inbox: Inbox) -> Self {
        let mut refresh = every_second();
        let mut alarm = pin!(tokio::time::sleep(Duration::ZERO));
        let mut pace = Pace::new(clock::now().mono);
        self.drain();
        loop {
            let due = self.b2bua.poll_timeout().map(Instant::from_std);
            if let Some(due) = due.filter(|due| *due != alarm.deadline()) {
                alarm.as_mut().reset(due);
            }
            let mut more = false;
            let mut asked = false;
            tokio::select! {
                Some(event) = inbox.sip.recv() => {
                    asked = true;
                    more = self.sip_burst(event, &mut inbox.sip);
                }
                Some(event) = inbox.media.recv() => self.media_burst(event, &mut inbox.media),
                Some(order) = inbox.orders.recv() => self.order(order),
                Some(Found { sought, located }) = inbox.names.recv() => {
                    self.b2bua.handle_input(clock::now(), Input::Located { sought, located });
                }
                Some(Answered { call, tenant, answer }) = inbox.hooks.recv() => {
                    let answer = Input::RouteAnswer { call, tenant, answer };
                    self.b2bua.handle_input(clock::now(), answer);
                }
                () = &mut alarm, if due.is_some() => self.b2bua.handle_timeout(clock::now()),
                _ = refresh.tick() => self.refresh(),
            }
            if self.drain() {
                // Calls for help that were up have ended just now.
                self.lent.flush();
                return self;
            }
            if more {
                // Datagrams are to be taken from the kernel meanwhile: see `transport::udp`.
                tokio::task::yield_now().await;
            } else if asked {
                pace.gather();
            }
        }
    }

    /// Takes what else has come meanwhile: timers and orders are looked at once for all of it. Whether
    /// there may be more.
    fn sip_burst(&mut self, first: transport::Event, more: &mut transport::Events) -> bool {
        self.sip(first);
        for _ in 1..BURST_MAX {
            let Some(event) = more.try_recv() else { return false };
            self.sip(event);
        }
        true
    }

    fn media_burst(
        &mut self,
        first: media_engine::Event,
        more: &mut mpsc::Receiver<media_engine::Event>,
    ) {
        self.media(first);
        for _ in 1..BURST_MAX {
            let Ok(event) = more.try_recv() else { break };
            self.media(event);
        }
    }

    fn sip(&mut self, event: transport::Event) {
        let now = clock::now();
        let input = match event {
            transport::Event::Message { flow, message, at } => {
                // What belongs to a call that is up goes ahead, and is no measure of the wait.
                if transport::begins(&message) {
                    let waited = now.mono.saturating_duration_since(at);
                    self.b2bua.handle_input(now, Input::Waited(waited));
                }
                if self.tracer.is_on() {
                    self.saw(
                        true,
                        &Hop::Flow { flow: flow.clone(), otherwise: None },
                        message.to_bytes(),
                    );
                }
                Input::Message { flow, message }
            }
            transport::Event::SendFailed { client, why } => Input::SendFailed { client, why },
        };
        self.b2bua.handle_input(now, input);
    }

    fn media(&mut self, event: media_engine::Event) {
        let input = match event {
            media_engine::Event::OpenFailed { call, why } => {
                Input::MediaFailed { call: CallId(call.0), why }
            }
            media_engine::Event::Closed { call, stats, carried } => {
                let carried = carried.map(|legs| Box::new(legs.map(told)));
                self.looks.answer(call, Some((&stats, carried.as_deref())));
                Input::MediaClosed { call: CallId(call.0), summary: stats, carried }
            }
            media_engine::Event::Notice { call, side, notice } => {
                let leg = if side == Side::A { PeerLeg::A } else { PeerLeg::B };
                Input::MediaNotice { call: CallId(call.0), leg, notice }
            }
            media_engine::Event::Stats { call, stats, carried } => {
                self.looks.answer(call, Some((&stats, Some(&carried.map(told)))));
                return;
            }
            media_engine::Event::Listed { worker, calls } => {
                self.looks.listed(worker, &calls);
                return;
            }
            media_engine::Event::FellBack { worker, to, why, lost } => {
                self.telemetry.fell_back(worker, to, &why, lost);
                return;
            }
            media_engine::Event::Regained { worker, by } => {
                self.telemetry.regained(worker, by);
                return;
            }
        };
        self.b2bua.handle_input(clock::now(), input);
    }

    /// A message crosses while somebody looks.
    fn saw(&mut self, came: bool, hop: &Hop, octets: Bytes) {
        let (trunk, listener, transport, remote) = match hop {
            Hop::Flow { flow, .. } => (&flow.trunk, &flow.listener, flow.transport, flow.remote),
            Hop::Target(to) => (&to.trunk, &to.listener, to.transport, to.address),
        };
        let Some(local) = self.b2bua.advertised(listener) else { return };
        let (trunk, transport) = (trunk.to_string(), transport.param());
        let at = clock::now().wall;
        self.tracer.saw(Seen { at, came, trunk, transport, local, remote, octets });
    }

    fn refresh(&mut self) {
        let now = clock::now().mono;
        self.looks.give_up(now);
        self.tracer.forget(now);
        telemetry::connections(self.transports.open_flows());
        let (ports, trunks) = (self.b2bua.media_ports_in_use(), self.b2bua.trunk_calls());
        self.telemetry.refresh(now, ports, trunks);
        self.telemetry.without_ports(self.b2bua.trunks_without_ports(now));
        self.show_drains();
        let look =
            |at: std::time::Instant| now.saturating_duration_since(at) >= telemetry::teams::LOOK;
        if self.looked.is_none_or(look) {
            self.looked = Some(now);
            let Telemetry { teams, alarms, .. } = &mut self.telemetry;
            teams.fqdns(alarms, &self.b2bua.fqdns(now, None));
            telemetry::teams::crowded(alarms, self.b2bua.crowded());
        }
        let totals = self.engine.totals();
        telemetry::media::drops(&totals.drops);
        telemetry::media::transcoded_packets(totals.transcoded);
        telemetry::counted(&totals);
    }

    /// Does everything the core wants done; whether it has stopped.
    fn drain(&mut self) -> bool {
        while let Some(output) = self.b2bua.poll_output() {
            match output {
                Output::Send { hop, bytes, client } => {
                    if self.tracer.is_on() {
                        self.saw(false, &hop, bytes.clone());
                    }
                    self.transports.send(hop, bytes, client);
                }
                Output::CloseFlow(flow) => self.transports.close(flow),
                Output::OpenMedia { call, ports, seed } => self.open_media(call, ports, seed),
                Output::ConnectMedia { call, worker, a, b } => {
                    let done = self.engine.connect(MediaId(call.0), worker, a, b);
                    self.check_media(call, done);
                }
                Output::OrderMedia { call, worker, leg, order } => {
                    let side = if leg == PeerLeg::A { Side::A } else { Side::B };
                    let done = self.engine.order(MediaId(call.0), worker, side, order);
                    self.check_media(call, done);
                }
                Output::MoveMedia { call, worker, leg, to } => {
                    let side = if leg == PeerLeg::A { Side::A } else { Side::B };
                    let done = self.engine.move_leg(MediaId(call.0), worker, side, leg_ports(to));
                    self.check_media(call, done);
                }
                Output::CloseMedia { call, worker } => {
                    let done = self.engine.close(MediaId(call.0), worker);
                    self.check_media(call, done);
                }
                Output::AskRoute(question) => {
                    if let Some(answer) = self.hooks.ask(&question) {
                        let (call, tenant) = (question.call, question.tenant);
                        let answer = Input::RouteAnswer { call, tenant, answer };
                        self.b2bua.handle_input(clock::now(), answer);
                    }
                }
                Output::Record(record) => {
                    self.telemetry.record(clock::now().mono, &record);
                    self.tracer.learn_from(&record);
                    if let Some(records) = &self.records {
                        records.write(record);
                    }
                }
                Output::Event(event) => self.telemetry.event(clock::now().mono, event),
                Output::Lent(number) => self.lent.keep(clock::now().wall, number),
                // Once is enough, and whoever is told ends this.
                Output::Drained => drop(self.drained.try_send(())),
                Output::Stopped => return true,
            }
        }
        if self.tracer.is_on() {
            let Self { tracer, b2bua, .. } = self;
            tracer.settle(clock::now().mono, |call_id| b2bua.tenant_of(call_id));
        }
        false
    }

    fn open_media(&mut self, call: CallId, ports: MediaPorts, seed: [u8; 32]) {
        let (a, b) = (leg_ports(ports.a), leg_ports(ports.b));
        let done = self.engine.open(MediaId(call.0), ports.worker, a, b, seed);
        self.check_media(call, done);
    }

    fn check_media(&mut self, call: CallId, done: Result<(), media_engine::EngineError>) {
        if let Err(error) = done {
            let why = error.to_string();
            self.b2bua.handle_input(clock::now(), Input::MediaFailed { call, why });
        }
    }
}

/// Lets messages gather on a busy host, as the media worker does with packets: one that wakes this
/// thread, and then the far side by its answer, costs twice one that is taken along.
struct Pace {
    /// When there was nothing more to do.
    rested: std::time::Instant,
}

impl Pace {
    fn new(now: std::time::Instant) -> Self {
        Self { rested: now }
    }

    /// All messages are handled and their answers are out: waits for more to come, if these came
    /// right after the last.
    fn gather(&mut self) {
        if self.gathers(clock::now().mono) {
            clock::pause(GATHER);
        }
        self.rested = clock::now().mono;
    }

    fn gathers(&self, now: std::time::Instant) -> bool {
        now.saturating_duration_since(self.rested) < GATHER
    }
}

/// The end of a drain that begins now; `None` if no clock goes so far.
fn deadline(now: std::time::Instant, seconds: u64) -> Option<std::time::Instant> {
    let wait = Some(Duration::from_secs(seconds)).filter(|wait| *wait <= DEADLINE_MAX);
    now.checked_add(wait?)
}

const fn leg_ports(port: MediaPort) -> LegPorts {
    LegPorts { bind: port.bind, rtp: port.rtp, dscp: port.dscp }
}

/// What carries a leg, in the core's words.
fn told(carried: media_engine::Carried) -> Carried {
    let media_engine::Carried { by, why_not_faster } = carried;
    Carried { by: by.name(), why_not_faster: why_not_faster.into_owned() }
}

fn every_second() -> Interval {
    let mut interval = tokio::time::interval(telemetry::REFRESH);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// The longest that a drain waits: whoever means to wait longer sets no deadline.
const DEADLINE_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Messages taken in before answers go out: enough to share the cost of a turn, and a millisecond at
/// most.
const BURST_MAX: usize = 16;

/// How long messages gather: far less than any network takes to bring them, and several messages of a
/// host that is busy. A call that is set up alone waits for none of it.
const GATHER: Duration = Duration::from_micros(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_set_up_alone_waits_for_others_and_those_of_a_busy_host_wake_us_one_by_one() {
        let start = clock::now().mono;
        let after = |us: u64| start + Duration::from_micros(us);
        let pace = Pace::new(start);
        // A thousand calls a second bring a message in 100 us, a hundred one in a millisecond.
        assert!([0, 100, 450].into_iter().all(|us| pace.gathers(after(us))));
        assert!([500, 1_000, 20_000].into_iter().all(|us| !pace.gathers(after(us))));
    }
}
