//! Far sides that act by themselves: the strict Teams, and carriers, with tones in their audio.

use crate::peer::{OURS, Who};
use crate::plan::{CONTOSO, FABRIKAM, NODE};
use crate::world::World;
use bytes::Bytes;
use emulate::{
    Agent, Behaviour, CallId, Carrier, Dial, Endpoint, Event, Health, Heard, Hop, Input, MediaPlan,
    Output, Progress, Script, Teams, Tenant, Transport,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sip_core::Message;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The tone that Teams plays, in Hz.
const TEAMS_HZ: u32 = 440;
/// The tone that carriers play, in Hz.
const CARRIER_HZ: u32 = 1000;

/// One far side.
pub(crate) struct Emulated {
    agent: Agent,
    media: IpAddr,
    at: Vec<Who>,
    events: Vec<Event>,
}

/// Teams users ring at once and answer after two seconds.
pub fn teams_script() -> Script {
    Script::always(Behaviour::answer_after(Duration::from_secs(2)))
}

/// Carriers give early media after half a second and answer after two.
pub fn carrier_script() -> Script {
    Script::always(Behaviour::Answer {
        ring_after: Duration::from_millis(500),
        progress: Progress::EarlyMedia,
        answer_after: Some(Duration::from_secs(2)),
        talk: None,
    })
}

/// A certificate for DTLS, another each time.
pub fn certificate() -> Arc<sdp::Certificate> {
    let made = certs::dtls::self_signed().expect("a key can be made");
    let made = sdp::Certificate::new(made.certificate, made.key, &made.sha256);
    Arc::new(made.expect("a digest of 32 octets"))
}

/// That of the border controller in every world.
pub(crate) fn our_certificate() -> Arc<sdp::Certificate> {
    static OURS: OnceLock<Arc<sdp::Certificate>> = OnceLock::new();
    Arc::clone(OURS.get_or_init(certificate))
}

impl World {
    /// Puts emulated agents in all places.
    pub fn emulate(&mut self, teams: Script, carriers: Script) {
        self.emulate_with(teams, |carrier| carrier.script = carriers.clone());
    }

    /// The same, with carriers that differ.
    pub fn emulate_with(&mut self, teams: Script, vary: impl FnMut(&mut Carrier)) {
        self.emulate_varied(teams, |_| {}, vary);
    }

    /// The same, with a Teams that differs, too.
    pub fn emulate_varied(
        &mut self,
        teams: Script,
        vary_teams: impl FnOnce(&mut Teams),
        mut vary: impl FnMut(&mut Carrier),
    ) {
        let endpoints = [Who::Sip, Who::Sip2, Who::Sip3].map(|who| Endpoint {
            fqdn: who.host(),
            local: who.address(),
            health: Health::Up,
        });
        let tenants = [CONTOSO, FABRIKAM, NODE].map(|fqdn| Tenant::new(fqdn, Who::Sip.ours()));
        let mut teams = Teams::new(endpoints.into(), tenants.into(), teams);
        vary_teams(&mut teams);
        let media = Ipv4Addr::new(52, 115, 0, 9).into();
        let plan = media_plan(media, TEAMS_HZ, CARRIER_HZ);
        let agent = Agent::teams(teams, plan, self.fresh_rng());
        let at = vec![Who::Sip, Who::Sip2, Who::Sip3];
        self.emulated.push(Emulated { agent, media, at, events: Vec::new() });
        for (who, media) in
            [(Who::Colt, Ipv4Addr::new(198, 51, 100, 21)), (Who::Bt, Ipv4Addr::new(192, 0, 2, 31))]
        {
            let script = carrier_script();
            let mut carrier = Carrier::new(Transport::Udp, who.address(), who.ours(), script);
            vary(&mut carrier);
            let plan = media_plan(media.into(), CARRIER_HZ, TEAMS_HZ);
            let agent = Agent::carrier(carrier, plan, self.fresh_rng());
            let media = media.into();
            self.emulated.push(Emulated { agent, media, at: vec![who], events: Vec::new() });
        }
    }

    fn fresh_rng(&mut self) -> ChaCha20Rng {
        let seed = self.seed() << 8 | self.emulated.len() as u64;
        ChaCha20Rng::seed_from_u64(seed)
    }

    /// Lets the agent in this place do something.
    pub fn act<T>(&mut self, who: Who, act: impl FnOnce(&mut Agent, media::Now) -> T) -> T {
        let now = self.clock.for_media();
        let at = self.index(who);
        let done = act(&mut self.one(at).agent, now);
        self.drain_emulated(at);
        done
    }

    /// A user of the tenant with this FQDN dials, from Teams.
    pub fn teams_dials(&mut self, tenant: &str, from: &str, to: &str) -> CallId {
        let (tenant, from, to) = (tenant.to_owned(), from.to_owned(), to.to_owned());
        let dial = Dial { tenant, from, to, ..Dial::default() };
        self.act(Who::Sip, |agent, now| agent.call(now, &dial).expect("a port is free"))
    }

    /// A subscriber of this carrier dials.
    pub fn carrier_dials(&mut self, who: Who, from: &str, to: &str) -> CallId {
        let dial = Dial { from: from.to_owned(), to: to.to_owned(), ..Dial::default() };
        self.act(who, |agent, now| agent.call(now, &dial).expect("a port is free"))
    }

    /// What a call at this place has heard since the last resume or [`Agent::listen_anew`].
    pub fn heard(&mut self, who: Who, call: CallId) -> Heard {
        let heard = self.act(who, |agent, _| agent.heard_recently(call));
        heard.unwrap_or_else(|| panic!("{who:?} has no call {call:?}"))
    }

    /// What the agent in this place has seen so far.
    pub fn seen(&self, who: Who) -> &[Event] {
        &self.emulated.get(self.index(who)).expect("an index of this very list").events
    }

    /// Lets time pass until the agent in this place sees this, at most 10 s.
    pub fn sees(&mut self, who: Who, event: impl Fn(&Event) -> bool) {
        let limit = Duration::from_secs(10);
        let seen = self.run_until(limit, |world| world.seen(who).iter().any(&event));
        assert!(seen, "{who:?} has only seen {:?}", self.seen(who));
    }

    fn index(&self, who: Who) -> usize {
        let found = self.emulated.iter().position(|emulated| emulated.at.contains(&who));
        found.unwrap_or_else(|| panic!("nobody is emulated at {who:?}"))
    }

    fn one(&mut self, at: usize) -> &mut Emulated {
        self.emulated.get_mut(at).expect("an index of this very list")
    }
}

impl World {
    pub(crate) fn emulated_due(&self) -> Option<Instant> {
        self.emulated.iter().filter_map(|one| one.agent.poll_timeout()).min()
    }

    pub(crate) fn run_emulated(&mut self) {
        let now = self.clock.for_media();
        for at in 0..self.emulated.len() {
            let agent = &mut self.one(at).agent;
            if agent.poll_timeout().is_some_and(|due| due <= now.mono) {
                agent.handle_timeout(now);
                self.drain_emulated(at);
            }
        }
    }

    pub(crate) fn emulated_at(&self, address: SocketAddr) -> Option<usize> {
        let here = |one: &Emulated| one.at.iter().any(|who| who.address() == address);
        self.emulated.iter().position(here)
    }

    pub(crate) fn emulated_media(&self, to: SocketAddr) -> Option<usize> {
        self.emulated.iter().position(|one| one.media == to.ip())
    }

    pub(crate) fn emulated_message(
        &mut self,
        at: usize,
        (from, to): (SocketAddr, SocketAddr),
        flow: Option<u64>,
        message: Message,
    ) {
        let transport = if flow.is_some() { Transport::Tls } else { Transport::Udp };
        let hop = Hop { transport, local: to, remote: from, server_name: None, flow };
        let now = self.clock.for_media();
        self.one(at).agent.handle_input(now, Input::Message { hop, message });
        self.drain_emulated(at);
    }

    pub(crate) fn emulated_packet(&mut self, from: SocketAddr, to: SocketAddr, octets: Bytes) {
        let Some(at) = self.emulated_media(to) else { return };
        let now = self.clock.for_media();
        let input = Input::Packet { local_port: to.port(), from, octets };
        self.one(at).agent.handle_input(now, input);
        self.drain_emulated(at);
    }

    fn drain_emulated(&mut self, at: usize) {
        let one = self.one(at);
        let media = one.media;
        let outputs: Vec<Output> = std::iter::from_fn(|| one.agent.poll_output()).collect();
        for output in outputs {
            match output {
                Output::Send { hop, bytes, .. } if hop.remote.ip() == OURS => {
                    let message = Message::parse(bytes).expect("agents write whole messages");
                    let reliable = hop.transport != Transport::Udp;
                    let flow = hop.flow.filter(|flow| self.is_open(*flow));
                    let flow = reliable
                        .then(|| flow.unwrap_or_else(|| self.association(hop.remote, hop.local)));
                    self.transmit(hop.local, hop.remote, flow, &message);
                }
                Output::Send { .. } => {}
                Output::SendPacket { from_port, to, octets } => {
                    self.send_packet(SocketAddr::new(media, from_port), to, octets);
                }
                Output::Event(event) => self.one(at).events.push(event),
            }
        }
    }

    pub(crate) fn emulated_calls(&self) -> usize {
        self.emulated.iter().map(|one| one.agent.calls_in_progress()).sum()
    }

    /// What Teams found wrong with us.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let found = self.emulated.iter().flat_map(|one| one.agent.violations());
        found.map(|it| format!("{} {} in {}", it.rule, it.what, it.message)).collect()
    }
}

fn media_plan(address: IpAddr, plays_hz: u32, expects_hz: u32) -> MediaPlan {
    let rtp_ports = (49_152..49_352).step_by(2).collect();
    MediaPlan { address, rtp_ports, plays_hz, expects_hz }
}
