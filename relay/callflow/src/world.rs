//! The world: our core and media in the middle, the far sides around, one clock for all.

use crate::clock::Clock;
use crate::emulated::Emulated;
use crate::ladder::{self, Step};
use crate::laws;
use crate::media_plane::MediaPlane;
use crate::net::{Arrival, Fate, Load, Network, is};
use crate::peer::{OURS, Who};
use crate::plan;
use b2bua::fraud::PastCall;
use b2bua::hook::{RouteAnswer, RouteQuestion};
use b2bua::io::{Event, Flow, FlowId, Hop, PeerLeg, Target};
use b2bua::locate::{Located, Service, Sought};
use b2bua::plan::TrunkKind;
use b2bua::record::Record;
use b2bua::{B2bua, Input, LentNumber, Output, Plan};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sdp::Notice;
use sip_core::Message;
use sip_core::transaction::ClientId;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a test waits for a message it expects.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long everything may take to come to rest: a re-INVITE that is never answered takes 64*T1
/// until it is cancelled and as much again, and then comes BYE.
const REST: Duration = Duration::from_secs(120);
/// Steps of the clock at one instant: more means that somebody's deadline does not move.
const SAME_INSTANT_MAX: u32 = 10_000;

/// Answers questions by itself; `None`: not at all.
pub(crate) type HookSays = Box<dyn FnMut(&RouteQuestion) -> Option<(Duration, RouteAnswer)>>;

/// The whole world of a test. When it is dropped it lets everything end and checks the laws; when
/// the test has failed it prints the ladder instead.
pub struct World {
    /// The wires.
    pub network: Network,
    /// The records written so far.
    pub records: Vec<Record>,
    /// What the core had to say so far.
    pub events: Vec<Event>,
    /// Numbers that lead to who has called for help, as they were to be kept, oldest first.
    pub lent: Vec<LentNumber>,
    /// Whether a shutdown is complete.
    pub stopped: bool,
    /// Whether a drained host may stop.
    pub drained: bool,
    /// What routing hooks were asked so far.
    pub questions: Vec<RouteQuestion>,
    /// What they say, and how soon; without it a test answers by [`Self::hook_says`].
    pub(crate) hook: Option<HookSays>,
    /// Makes the engine refuse to open ports.
    pub media_refuses: bool,
    /// Calls whose ports it has refused.
    unopened: BTreeSet<b2bua::CallId>,
    plan: Arc<Plan>,
    pub(crate) clock: Clock,
    core: B2bua,
    media: MediaPlane,
    mailboxes: BTreeMap<Who, VecDeque<Message>>,
    /// The far sides that act by themselves; the others are written by hand.
    pub(crate) emulated: Vec<Emulated>,
    refusing: BTreeSet<Who>,
    packets: HashMap<SocketAddr, Vec<(SocketAddr, Bytes)>>,
    flows: Vec<Association>,
    steps: Vec<Step>,
    broken: Vec<String>,
    /// The names that our certificates on connections had to cover, for requests of ours.
    pub certified: BTreeSet<String>,
    seed: u64,
    tokens: u64,
    same_instant: u32,
    lawless: bool,
    /// Far sides have sent what no decent one sends.
    pub(crate) misbehaved: bool,
}

/// A connection, or a pair of UDP addresses.
#[derive(Debug)]
struct Association {
    ours: SocketAddr,
    remote: SocketAddr,
    open: bool,
    /// We closed it: what we had sent still arrives.
    closed_by_us: bool,
}

impl World {
    /// The world of [`plan::plan`]; all chance in it comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, |_| {})
    }

    /// The same with another plan.
    pub fn with(seed: u64, vary: impl FnOnce(&mut Plan)) -> Self {
        Self::bounded(seed, vary, usize::MAX / 2)
    }

    /// The same with room for so many transactions.
    pub fn bounded(seed: u64, vary: impl FnOnce(&mut Plan), transactions_max: usize) -> Self {
        let mut plan = plan::plan();
        vary(&mut plan);
        let plan = Arc::new(plan);
        let clock = Clock::new();
        let rng = ChaCha20Rng::seed_from_u64(seed.wrapping_add(1));
        let core = B2bua::bounded(clock.for_core(), Arc::clone(&plan), rng, transactions_max)
            .with_certificate(crate::emulated::our_certificate());
        let mut world = Self {
            network: Network::new(seed),
            records: Vec::new(),
            events: Vec::new(),
            lent: Vec::new(),
            questions: Vec::new(),
            hook: None,
            stopped: false,
            drained: false,
            media_refuses: false,
            unopened: BTreeSet::new(),
            plan,
            clock,
            core,
            media: MediaPlane::default(),
            mailboxes: BTreeMap::new(),
            emulated: Vec::new(),
            refusing: BTreeSet::new(),
            packets: HashMap::new(),
            flows: Vec::new(),
            steps: Vec::new(),
            broken: Vec::new(),
            certified: BTreeSet::new(),
            seed,
            tokens: 0,
            same_instant: 0,
            lawless: false,
            misbehaved: false,
        };
        world.drain();
        world
    }

    /// The core, to look at.
    pub fn core(&self) -> &B2bua {
        &self.core
    }

    /// What would become of a call, as an operator asks.
    pub fn explain(&mut self, inquiry: &b2bua::Inquiry) -> Result<b2bua::Explanation, String> {
        self.core.explain(self.clock.for_core(), inquiry)
    }

    /// The virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// What all chance comes from.
    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// The time as the core is told it.
    pub fn time(&self) -> b2bua::Now {
        self.clock.for_core()
    }

    /// The monotonic time.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Puts another plan in force.
    pub fn replan(&mut self, vary: impl FnOnce(&mut Plan)) {
        let mut plan = Plan::clone(&self.plan);
        plan.generation += 1;
        vary(&mut plan);
        self.plan = Arc::new(plan);
        self.input(Input::Plan(Arc::clone(&self.plan)));
    }

    /// Tells the core that messages wait for so long.
    pub fn messages_wait(&mut self, wait: Duration) {
        self.input(Input::Waited(wait));
    }

    /// Tells the core what the records have of calls before it began.
    pub fn remember(&mut self, past: Vec<PastCall>) {
        self.input(Input::Past(past));
    }

    /// Tells the core which numbers it has lent before it began.
    pub fn lend_again(&mut self, lent: Vec<LentNumber>) {
        self.input(Input::Lent(lent));
    }

    /// The hook answers what it was asked last.
    pub fn hook_says(&mut self, answer: RouteAnswer) {
        let asked = self.questions.last().expect("no hook was asked");
        let (call, tenant) = (asked.call, asked.tenant.clone());
        self.input(Input::RouteAnswer { call, tenant, answer });
    }

    /// Tells the core to take no new calls: none, or none of this tenant.
    pub fn begin_drain(&mut self, tenant: Option<&str>, deadline: Option<Duration>) {
        let until = deadline.map(|deadline| self.clock.now() + deadline);
        self.input(Input::Drain { tenant: tenant.map(str::to_owned), until });
    }

    /// Tells the core to take calls again.
    pub fn resume(&mut self, tenant: Option<&str>) {
        self.input(Input::Resume { tenant: tenant.map(str::to_owned) });
    }

    /// Tells the core to stop.
    pub fn shut_down(&mut self) {
        self.input(Input::Shutdown);
    }

    /// From now on this one refuses connections and its port is closed.
    pub fn refuse_connections(&mut self, who: Who) {
        self.refusing.insert(who);
        self.drop_connections(who);
    }

    /// This one listens again.
    pub fn accept_connections(&mut self, who: Who) {
        self.refusing.remove(&who);
    }

    /// Breaks all connections with this one; what is on its way is lost.
    pub fn drop_connections(&mut self, who: Who) {
        for flow in self.flows.iter_mut().filter(|flow| flow.remote == who.address()) {
            flow.open = false;
        }
    }

    /// How many connections have been opened with this one.
    pub fn connections(&self, who: Who) -> usize {
        self.flows.iter().filter(|flow| flow.remote == who.address()).count()
    }

    /// How many of them are open.
    pub fn open_connections(&self, who: Who) -> usize {
        self.flows.iter().filter(|flow| flow.open && flow.remote == who.address()).count()
    }

    /// Throws away what has come to `who` and nobody has looked at.
    pub fn forget(&mut self, who: Who) {
        self.mailboxes.remove(&who);
    }

    /// DNS has this to say of a carrier's name without a port: priority, weight, and where.
    pub fn locate(&mut self, host: &str, services: &[(u16, u16, Who)]) {
        let service = |(priority, weight, who): &(u16, u16, Who)| Service {
            priority: *priority,
            weight: *weight,
            addresses: vec![who.address()],
        };
        let located = Arc::new(Located::new(services.iter().map(service)));
        let trunks = self.plan.trunks.iter().enumerate();
        let wanting: Vec<Sought> = trunks
            .flat_map(|(index, trunk)| trunk.targets.iter().map(move |target| (index, target)))
            .filter(|(_, target)| target.host == host)
            .filter_map(|(index, target)| Sought::of(&self.plan, index, target))
            .collect();
        for sought in wanting {
            self.input(Input::Located { sought, located: Arc::clone(&located) });
        }
    }

    /// Sends a datagram with a message from `who`, but from another port.
    pub fn send_from_port(&mut self, who: Who, port: u16, message: impl Into<Message>) {
        let mut from = who.address();
        from.set_port(port);
        self.transmit(from, who.ours(), None, &message.into());
    }

    /// The ports of `who` that messages of ours went to, in order.
    pub fn ports_sent_to(&self, who: Who, what: &str) -> Vec<u16> {
        let ours = self.steps.iter().filter(|step| !step.to_us && is(&step.message, what));
        ours.filter(|step| step.peer.ip() == who.address().ip())
            .map(|step| step.peer.port())
            .collect()
    }

    /// No laws are checked at the end: for tests that break them on purpose.
    pub fn without_laws(&mut self) {
        self.lawless = true;
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        while self.step(end) {}
    }

    /// Lets time pass until `done`, at most `limit`; whether it came to that.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.clock.now() + limit;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                return done(self);
            }
        }
    }

    /// The next message to `who` that is `what`; those before it are skipped.
    pub fn expect(&mut self, who: Who, what: &str) -> Message {
        let mut found = None;
        self.run_until(PATIENCE, |world| {
            let mailbox = world.mailboxes.entry(who).or_default();
            while let Some(message) = mailbox.pop_front() {
                if is(&message, what) {
                    found = Some(message);
                    return true;
                }
            }
            false
        });
        found.unwrap_or_else(|| panic!("{who:?} waited for {what} in vain"))
    }

    /// How many messages that are `what` we have sent to `who`, those that got lost among them.
    pub fn sent_to(&self, who: Who, what: &str) -> usize {
        self.count(who, what, false)
    }

    /// How many messages that are `what` this one has sent to us.
    pub fn sent_by(&self, who: Who, what: &str) -> usize {
        self.count(who, what, true)
    }

    fn count(&self, who: Who, what: &str, to_us: bool) -> usize {
        let of = |step: &&Step| step.peer == who.address() && step.to_us == to_us;
        self.steps.iter().filter(of).filter(|step| is(&step.message, what)).count()
    }

    /// A token that no message holds yet.
    pub(crate) fn token(&mut self) -> String {
        self.tokens += 1;
        format!("{:06x}-{:04}", self.seed & 0x00ff_ffff, self.tokens)
    }

    /// Sends a message from `who` to us.
    pub fn send(&mut self, who: Who, message: impl Into<Message>) {
        let message = message.into();
        let ours = who.ours();
        let flow = who.transport().reliable().then(|| self.association(ours, who.address()));
        self.transmit(who.address(), ours, flow, &message);
    }

    /// Opens another connection from `who`, which it uses from now on.
    pub fn reconnect(&mut self, who: Who) {
        let (ours, remote) = (who.ours(), who.address());
        self.flows.push(Association { ours, remote, open: true, closed_by_us: false });
    }

    /// Sends a datagram between media ports.
    pub fn send_packet(&mut self, from: SocketAddr, to: SocketAddr, octets: impl Into<Bytes>) {
        let load = Load::Media(octets.into());
        self.network.send(self.clock.now(), from, to, load);
    }

    /// The datagrams that came to this address since the last look, with their sources.
    pub fn packets(&mut self, to: SocketAddr) -> Vec<(SocketAddr, Bytes)> {
        self.packets.remove(&to).unwrap_or_default()
    }

    /// Every message so far.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Our media address and port.
    pub fn our_media(port: u16) -> SocketAddr {
        (OURS, port).into()
    }

    /// The ladder so far.
    pub fn ladder(&self) -> String {
        ladder::draw(&self.steps)
    }
}

impl World {
    /// Goes to the next thing that happens before `end`, or to `end`; whether something did.
    fn step(&mut self, end: Instant) -> bool {
        let cores = [self.network.next_due(), self.core.poll_timeout(), self.media.next_due()];
        let next = cores.into_iter().chain([self.emulated_due()]).flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.clock.advance(end);
            return false;
        };
        self.same_instant = if next > self.clock.now() { 0 } else { self.same_instant + 1 };
        assert!(self.same_instant < SAME_INSTANT_MAX, "a deadline does not move");
        self.clock.advance(next);
        let now = self.clock.now();
        while let Some(arrival) = self.network.arrived(now) {
            self.arrive(arrival);
        }
        if self.core.poll_timeout().is_some_and(|due| due <= now) {
            self.core.handle_timeout(self.clock.for_core());
            self.drain();
        }
        self.run_emulated();
        while let Some((port, to, octets)) = self.media.generate(self.clock.for_media()) {
            self.send_packet(Self::our_media(port), to, octets);
        }
        self.hear_media();
        true
    }

    fn arrive(&mut self, arrival: Arrival) {
        let Arrival { from, to, load } = arrival;
        match load {
            Load::Sip { bytes, step, flow } => {
                if flow.is_some_and(|flow| !self.delivers(flow, to)) {
                    return;
                }
                if let Some(step) = self.steps.get_mut(step) {
                    step.arrived += 1;
                }
                let message = Message::parse(bytes).expect("only whole messages are sent");
                if to.ip() == OURS {
                    self.arrive_here(from, to, flow, message);
                } else if let Some(at) = self.emulated_at(to) {
                    self.emulated_message(at, (from, to), flow, message);
                } else if let Some(who) = who(to) {
                    self.mailboxes.entry(who).or_default().push_back(message);
                }
            }
            Load::Media(octets) if self.media.serves(to, OURS.into()) => {
                let now = self.clock.for_media();
                if let Some((port, to, octets)) = self.media.packet(now, to.port(), from, &octets) {
                    self.send_packet(Self::our_media(port), to, octets);
                }
            }
            Load::Media(octets) if self.emulated_media(to).is_some() => {
                self.emulated_packet(from, to, octets);
            }
            Load::Media(octets) => self.packets.entry(to).or_default().push((from, octets)),
            Load::Core(input) => self.input(*input),
        }
    }

    /// What the transports do before the core sees a message.
    fn arrive_here(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        flow: Option<u64>,
        message: Message,
    ) {
        let plan = Arc::clone(&self.plan);
        let at = plan.listeners.iter().enumerate().find(|(_, it)| it.advertise == to);
        let Some((index, listener)) = at else { return };
        // A stranger gets no answer.
        let Some(trunk) = plan.trunk_of_source(index, from.ip()) else { return };
        let Some(trunk) = plan.trunks.get(trunk) else { return };
        let id = flow.unwrap_or_else(|| self.association(to, from));
        let flow = Flow {
            id: FlowId(id),
            listener: listener.name.as_str().into(),
            transport: listener.transport,
            remote: from,
            trunk: trunk.name.as_str().into(),
        };
        self.input(Input::Message { flow, message });
    }

    /// Media tells the core this of a leg of the only call.
    pub fn media_says(&mut self, leg: PeerLeg, notice: Notice) {
        let call = self.core.calls(self.clock.now())[0].call;
        self.input(Input::MediaNotice { call, leg, notice });
    }

    fn input(&mut self, input: Input) {
        self.core.handle_input(self.clock.for_core(), input);
        self.drain();
    }

    /// Everything the core wants done, before it is told anything else.
    fn drain(&mut self) {
        let outputs: Vec<Output> = std::iter::from_fn(|| self.core.poll_output()).collect();
        for output in outputs {
            self.execute(output);
        }
    }

    fn execute(&mut self, output: Output) {
        let now = self.clock.now();
        match output {
            Output::Send { hop, bytes, client } => self.send_out(&hop, bytes, client),
            Output::CloseFlow(flow) => {
                if let Some(flow) = self.flows.get_mut(flow.0 as usize) {
                    flow.open = false;
                    flow.closed_by_us = true;
                }
            }
            Output::OpenMedia { call, ports, seed } => {
                if self.media_refuses {
                    self.unopened.insert(call);
                    let why = "address already in use".into();
                    return self.tell_core(now, Input::MediaFailed { call, why });
                }
                let opened = self.media.open(call, ports, seed);
                self.broken.extend(opened.err());
            }
            Output::ConnectMedia { call, worker, a, b } => {
                if !self.unopened.contains(&call) {
                    let connected = self.media.connect(call, worker, a, b);
                    self.broken.extend(connected.err());
                }
            }
            Output::OrderMedia { call, leg, order, .. } => {
                self.media.order(self.clock.for_media(), call, leg, &order);
                self.hear_media();
            }
            Output::MoveMedia { call, leg, to, .. } => {
                if let Err(why) = self.media.move_leg(call, leg, to) {
                    self.broken.push(why);
                }
            }
            Output::CloseMedia { call, .. } => {
                if let Some(summary) = self.media.close(call) {
                    self.tell_core(now, Input::MediaClosed { call, summary, carried: None });
                }
            }
            Output::AskRoute(question) => self.ask_hook(now, *question),
            Output::Record(record) => self.records.push(*record),
            Output::Event(event) => self.events.push(event),
            Output::Lent(lent) => self.lent.push(lent),
            Output::Drained => self.drained = true,
            Output::Stopped => self.stopped = true,
        }
    }

    fn ask_hook(&mut self, now: Instant, question: RouteQuestion) {
        if let Some((after, answer)) = self.hook.as_mut().and_then(|says| says(&question)) {
            let (call, tenant) = (question.call, question.tenant.clone());
            self.tell_core(now + after, Input::RouteAnswer { call, tenant, answer });
        }
        self.questions.push(question);
    }

    /// Takes what media has to say to the core.
    fn hear_media(&mut self) {
        let now = self.clock.now();
        while let Some((call, leg, notice)) = self.media.notice() {
            self.tell_core(now, Input::MediaNotice { call, leg, notice });
        }
    }

    fn tell_core(&mut self, now: Instant, input: Input) {
        let nowhere = SocketAddr::from((OURS, 0));
        self.network.send(now, nowhere, nowhere, Load::Core(Box::new(input)));
    }

    fn send_out(&mut self, hop: &Hop, bytes: Bytes, client: Option<ClientId>) {
        let message = Message::parse(bytes).expect("the core writes whole messages");
        self.certify(hop, &message);
        let (ours, remote, flow) = match self.route(hop) {
            Ok(route) => route,
            Err((remote, why)) => {
                self.note(remote, false, message, Fate::Lost);
                if let Some(client) = client {
                    let failed = Input::SendFailed { client, why: why.into() };
                    self.tell_core(self.clock.now(), failed);
                }
                return;
            }
        };
        self.transmit(ours, remote, flow, &message);
    }

    /// Each request to Teams says which name the certificate on its connection has to cover: the one that it
    /// goes by (TDR-CON-005). One that begins something also names whom we dial (TDR-TLS-004).
    fn certify(&mut self, hop: &Hop, message: &Message) {
        let (Hop::Target(to) | Hop::Flow { otherwise: Some(to), .. }) = hop else { return };
        let Message::Request(request) = message else { return };
        let trunk = self.plan.trunk_named(&to.trunk).map(|at| &self.plan.trunks[at]);
        let teams = trunk.is_some_and(|trunk| trunk.kind == TrunkKind::Teams);
        let via = String::from_utf8_lossy(request.headers.top_via().host).into_owned();
        let expected = teams.then_some(via.as_str());
        if to.own_name.as_deref() != expected {
            let said = format!("{} by {via} goes under {:?}", request.method, to.own_name);
            self.broken.push(said);
        }
        let begins = request.headers.to().tag().is_none();
        let dialled = Who::at(to.address).map(Who::host).filter(|_| teams && begins);
        if dialled.is_some_and(|name| to.server_name.as_deref() != Some(&*name)) {
            let said = format!("{} asks for {:?}", request.method, to.server_name);
            self.broken.push(said);
        }
        self.certified.extend(to.own_name.as_deref().map(str::to_owned));
    }

    /// From where, to where, and on which connection a message of ours goes.
    fn route(
        &mut self,
        hop: &Hop,
    ) -> Result<(SocketAddr, SocketAddr, Option<u64>), (SocketAddr, &'static str)> {
        let target: &Target = match hop {
            Hop::Flow { flow, .. } if !flow.transport.reliable() => {
                return match who(flow.remote) {
                    Some(who) if self.refusing.contains(&who) => Err((flow.remote, "refused")),
                    _ => Ok((self.listening(&flow.listener), flow.remote, None)),
                };
            }
            Hop::Flow { flow, .. } if self.is_open(flow.id.0) => {
                return Ok((self.listening(&flow.listener), flow.remote, Some(flow.id.0)));
            }
            Hop::Flow { flow, otherwise } => {
                otherwise.as_ref().ok_or((flow.remote, "connection closed"))?
            }
            Hop::Target(target) => target,
        };
        let address = target.address;
        let listens = who(address).is_some_and(|who| !self.refusing.contains(&who));
        if !listens {
            return Err((address, "refused"));
        }
        let ours = self.listening(&target.listener);
        let reliable = target.transport.reliable();
        Ok((ours, address, reliable.then(|| self.association(ours, address))))
    }

    fn listening(&self, listener: &str) -> SocketAddr {
        let found = self.plan.listeners.iter().find(|it| it.name == listener);
        found.unwrap_or_else(|| panic!("there is no listener {listener}")).advertise
    }

    pub(crate) fn is_open(&self, flow: u64) -> bool {
        self.flows.get(flow as usize).is_some_and(|flow| flow.open)
    }

    fn delivers(&self, flow: u64, to: SocketAddr) -> bool {
        let ours = self.flows.get(flow as usize).filter(|flow| flow.closed_by_us);
        self.is_open(flow) || ours.is_some_and(|flow| flow.remote == to)
    }

    /// The newest open association between these two, or a new one.
    pub(crate) fn association(&mut self, ours: SocketAddr, remote: SocketAddr) -> u64 {
        let open = |flow: &Association| flow.open && flow.ours == ours && flow.remote == remote;
        let found = self.flows.iter().rposition(open);
        let index = found.unwrap_or_else(|| {
            self.flows.push(Association { ours, remote, open: true, closed_by_us: false });
            self.flows.len() - 1
        });
        index as u64
    }

    pub(crate) fn transmit(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        flow: Option<u64>,
        message: &Message,
    ) {
        let step = self.steps.len();
        let mut octets = Vec::new();
        message.write(&mut octets);
        let bytes = Bytes::from(octets);
        let load = || Load::Sip { bytes: bytes.clone(), step, flow };
        let now = self.clock.now();
        let fate = self.network.send_sip(now, (from, to), flow.is_some(), message, load);
        let to_us = to.ip() == OURS;
        self.note(if to_us { from } else { to }, to_us, message.clone(), fate);
    }

    fn note(&mut self, peer: SocketAddr, to_us: bool, message: Message, fate: Fate) {
        let at = self.clock.elapsed();
        self.steps.push(Step { at, peer, to_us, message, fate, arrived: 0 });
    }

    /// Lets everything come to rest, then checks the laws.
    fn check_laws(&mut self) {
        let at_rest = self.run_until(REST, |world| world.left().is_empty());
        let mut broken = std::mem::take(&mut self.broken);
        if !at_rest {
            broken.extend(self.left());
        }
        broken.extend(laws::broken_by_messages(&self.steps, self.misbehaved));
        broken.extend(self.network.unused_faults());
        broken.extend(self.complaints());
        let count = |wanted: fn(&Event) -> bool| self.events.iter().filter(|e| wanted(e)).count();
        let began = count(|event| matches!(event, Event::CallStarted { .. }));
        let ended = count(|event| matches!(event, Event::CallEnded { .. }));
        if began != ended {
            broken.push(format!("{began} calls began and {ended} ended"));
        }
        if !broken.is_empty() {
            eprintln!("seed {}\n{}", self.seed, self.ladder());
            panic!("broken at the end:\n  {}", broken.join("\n  "));
        }
    }

    /// What is still there.
    fn left(&self) -> Vec<String> {
        let held = self.core.held();
        let tables = [
            ("calls", held.calls),
            ("transactions", held.transactions),
            ("requests of ours that somebody waits for", held.clients),
            ("INVITEs that somebody answers", held.servers),
            ("dialogs", held.dialogs),
            ("places in limits", held.counted),
            ("media ports", self.core.media_ports_in_use()),
            ("calls in the media", usize::from(!self.media.is_empty())),
            ("calls at the far sides", self.emulated_calls()),
        ];
        let left = tables.into_iter().filter(|(_, count)| *count > 0);
        left.map(|(what, count)| format!("{count} {what} left")).collect()
    }
}

/// Who is at this IP address, whatever the port.
fn who(address: SocketAddr) -> Option<Who> {
    Who::ALL.into_iter().find(|who| who.address().ip() == address.ip())
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}\n{}", self.seed, self.ladder());
        } else if !self.lawless {
            self.check_laws();
        }
    }
}
