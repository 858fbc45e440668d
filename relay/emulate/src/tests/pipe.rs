//! A wire without delay between a carrier and Teams, and the clock of both.

use crate::{
    Agent, CallId, Carrier, Dial, Endpoint, Event, Health, Hop, Input, MediaPlan, Output, Script,
    Teams, Tenant, Transport, ladder,
};
use bytes::Bytes;
use media::Now;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sdp::Ability;
use sip_core::Message;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Virtual time zero.
pub(crate) fn zero() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
    fn any() -> Instant {
        Instant::now()
    }
    static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ZERO.get_or_init(any)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const TENANT: &str = "woodgrovebank.sbc1.adatum.biz";

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

pub(crate) fn carrier_address() -> SocketAddr {
    address(5060)
}

/// Of `sip`, `sip2`, `sip3`.
pub(crate) fn teams_address(endpoint: u16) -> SocketAddr {
    address(6061 + endpoint)
}

fn media(first_port: u16, plays_hz: u32, expects_hz: u32) -> MediaPlan {
    MediaPlan {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        rtp_ports: (0..4).map(|pair| first_port + 2 * pair).collect(),
        plays_hz,
        expects_hz,
    }
}

pub(crate) fn teams(script: Script) -> Teams {
    let names = ["sip", "sip2", "sip3"];
    let endpoints = names.into_iter().zip(0..).map(|(name, n)| Endpoint {
        fqdn: format!("{name}.pstnhub.microsoft.com"),
        local: teams_address(n),
        health: Health::Up,
    });
    let tenant = Tenant::new(TENANT, carrier_address());
    Teams::new(endpoints.collect(), vec![tenant], script)
}

pub(crate) fn teams_agent(teams: Teams) -> Agent {
    Agent::teams(teams, media(52_000, 600, 1000), ChaCha20Rng::seed_from_u64(2))
}

/// Both sides and what they did.
pub(crate) struct Pipe {
    pub(crate) carrier: Agent,
    pub(crate) teams: Agent,
    now: Duration,
    pub(crate) at_carrier: Vec<Event>,
    pub(crate) at_teams: Vec<Event>,
    /// Of the packets to Teams, every so many-th is lost.
    pub(crate) lose_every: Option<usize>,
    packets: usize,
    /// The messages of the carrier and of Teams, as they went.
    pub(crate) wire: Vec<Bytes>,
}

impl Pipe {
    /// A carrier that speaks SRTP and a Teams that is lenient, as the one stands for the border
    /// controller and is none.
    pub(crate) fn new(carrier_script: Script, teams_side: Teams) -> Self {
        Self::of(carrier_script, teams_side, |_| {})
    }

    /// The same with a carrier that is changed first.
    pub(crate) fn of(script: Script, mut teams_side: Teams, change: impl Fn(&mut Carrier)) -> Self {
        teams_side.strict = false;
        let local = carrier_address();
        let mut carrier = Carrier::new(Transport::Tls, local, teams_address(0), script);
        carrier.ability = Ability::srtp();
        change(&mut carrier);
        let rng = ChaCha20Rng::seed_from_u64(1);
        Self {
            carrier: Agent::carrier(carrier, media(20_000, 1000, 600), rng),
            teams: teams_agent(teams_side),
            now: Duration::ZERO,
            at_carrier: Vec::new(),
            at_teams: Vec::new(),
            lose_every: None,
            packets: 0,
            wire: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        at(self.now)
    }

    /// Carries everything that is there to carry.
    fn carry(&mut self) {
        loop {
            let now = self.now();
            let (from_teams, output) = match (self.carrier.poll_output(), self.teams.poll_output())
            {
                (Some(output), put_back) => {
                    // One at a time: what Teams has to say is carried next.
                    if let Some(output) = put_back {
                        self.deliver(now, true, output);
                    }
                    (false, output)
                }
                (None, Some(output)) => (true, output),
                (None, None) => return,
            };
            self.deliver(now, from_teams, output);
        }
    }

    fn deliver(&mut self, now: Now, from_teams: bool, output: Output) {
        let input = match output {
            Output::Send { hop, bytes, .. } => {
                self.wire.push(bytes.clone());
                let message = Message::parse(bytes).unwrap();
                let hop = Hop {
                    local: hop.remote,
                    remote: hop.local,
                    server_name: None,
                    flow: Some(1),
                    ..hop
                };
                Input::Message { hop, message }
            }
            Output::SendPacket { from_port, to, octets } => {
                self.packets += 1;
                if !from_teams && self.lose_every.is_some_and(|n| self.packets.is_multiple_of(n)) {
                    return;
                }
                Input::Packet { local_port: to.port(), from: address(from_port), octets }
            }
            Output::Event(event) => {
                let seen = if from_teams { &mut self.at_teams } else { &mut self.at_carrier };
                return seen.push(event);
            }
        };
        let to = if from_teams { &mut self.carrier } else { &mut self.teams };
        to.handle_input(now, input);
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.carry();
            let due = [self.carrier.poll_timeout(), self.teams.poll_timeout()];
            let next = due.into_iter().flatten().min().map(|at| at - zero());
            match next.filter(|next| *next <= end) {
                Some(next) => {
                    self.now = self.now.max(next);
                    let now = self.now();
                    self.carrier.handle_timeout(now);
                    self.teams.handle_timeout(now);
                }
                None => break,
            }
        }
        self.now = end;
    }

    pub(crate) fn carrier_calls(&mut self, to: &str) -> CallId {
        let dial = Dial { from: "+4930111".to_owned(), to: to.to_owned(), ..Dial::default() };
        let call = self.carrier.call(self.now(), &dial).unwrap();
        self.carry();
        call
    }

    pub(crate) fn teams_calls(&mut self, to: &str) -> CallId {
        let dial = Dial {
            from: "+49891".to_owned(),
            to: to.to_owned(),
            tenant: TENANT.to_owned(),
            ..Dial::default()
        };
        let call = self.teams.call(self.now(), &dial).unwrap();
        self.carry();
        call
    }

    /// Both tones were heard, whole, by both ends of the call that is the first on both sides.
    #[track_caller]
    pub(crate) fn assert_clear(&self, recently: bool) {
        for agent in [&self.carrier, &self.teams] {
            let heard = match recently {
                true => agent.heard_recently(CallId(1)).unwrap(),
                false => agent.heard(CallId(1)).unwrap(),
            };
            assert!(heard.tone_ok && heard.packets > 20, "{heard:?}\n{}", self.ladder());
            assert_eq!((heard.lost, heard.srtp_failures, heard.strays), (0, 0, 0), "{heard:?}");
            assert!(heard.jitter_ms < 0.1 && heard.mos > 4.3, "{heard:?}");
        }
    }

    /// Nothing is left over when the last transaction has died away.
    #[track_caller]
    pub(crate) fn assert_quiet(&mut self) {
        self.run_for(ms(70_000));
        for agent in [&self.carrier, &self.teams] {
            assert_eq!(agent.calls_in_progress(), 0, "{}", self.ladder());
            assert_eq!(agent.transactions(), 0, "{}", self.ladder());
        }
    }

    pub(crate) fn ladder(&self) -> String {
        ladder(self.carrier.steps())
    }

    /// What the carrier sent and got, without times.
    pub(crate) fn steps(&self) -> Vec<String> {
        let arrow = |sent| if sent { '>' } else { '<' };
        self.carrier.steps().iter().map(|s| format!("{} {}", arrow(s.sent), s.what)).collect()
    }
}

pub(crate) fn at(after: Duration) -> Now {
    Now { mono: zero() + after, wall: UNIX_EPOCH + ms(1_750_000_000_000) + after }
}
