//! Plays pairs, many at once: ends come up, one calls the other, both talk, one hangs up.

use super::super::audio::Audio;
use super::super::baresip::{self, Agent};
use super::channel::{BORDER, Channel, PORT, TLS_PORT};
use super::judge::{Heard, descriptions};
use super::network::{self, TALKERS};
use super::pair::{End, Keying, Pair, Peer, Transport, Weather};
use super::rtpengine::Session;
use super::stage::Placed;
use super::station::{self, Station};
use super::talker::Talker;
use crate::fail::{Fail, Outcome, While, ensure};
use std::path::Path;
use std::time::{Duration, Instant};

/// A pair with its two ends in place.
pub(super) struct Play {
    pub(super) pair: Pair,
    pub(super) ends: [Placed; 2],
    pub(super) tones_hz: [u16; 2],
    parties: Vec<Party>,
}

/// Whoever is at one end.
enum Party {
    Agent(Box<Agent>),
    Station(Box<Station>),
}

impl Play {
    /// Starts both ends; the talkers make the weather themselves where the network cannot.
    pub(super) fn prepare(
        pair: Pair,
        ends: [Placed; 2],
        number: usize,
        weather: Weather,
        folder: &Path,
        pem: &Path,
    ) -> Outcome<Self> {
        // Nobody else of those that talk meanwhile has one of these.
        let tones_hz =
            [CALLERS_HZ, CALLEES_HZ].map(|low| low + TONE_STEP_HZ * (number as u16 % TONES));
        let mut parties = Vec::new();
        for (side, placed) in ends.iter().enumerate() {
            let calls = side == 0;
            parties.push(match placed.end.peer {
                Peer::Baresip => {
                    Party::Agent(Box::new(agent(placed, tones_hz[side], folder, pem)?))
                }
                Peer::Rtpengine | Peer::Plain => {
                    let tone = (tones_hz[side], weather);
                    Party::Station(Box::new(station(placed, calls, tone, number * 2 + side, pem)?))
                }
            });
        }
        Ok(Self { pair, ends, tones_hz, parties })
    }

    /// A call that Tollgate ends by itself.
    pub(super) fn is_refused(&mut self) -> Outcome {
        let number = self.ends[1].number.clone();
        let transport = self.ends[0].end.transport;
        let [caller, callee] = self.parties.as_mut_slice() else {
            return Err(Fail::new("no two ends"));
        };
        caller.dial(&number, transport)?;
        until("end of the call that is not to be", REFUSAL, caller, callee, Party::is_over)
    }

    /// The call from its beginning to its end, and what both have heard.
    pub(super) fn play(&mut self, even: bool) -> Outcome<[Heard; 2]> {
        let number = self.ends[1].number.clone();
        let transport = self.ends[0].end.transport;
        let [caller, callee] = self.parties.as_mut_slice() else {
            return Err(Fail::new("no two ends"));
        };
        caller.dial(&number, transport)?;
        until("established call", SETUP, caller, callee, Party::is_up)?;
        let began = Instant::now();
        while began.elapsed() < TALK {
            caller.pump()?;
            callee.pump()?;
            ensure(!caller.is_over()? && !callee.is_over()?, || {
                "the call ended in the talk".to_owned()
            })?;
        }
        // Either side may be the one.
        let who = if even { &mut *caller } else { &mut *callee };
        who.hang_up()?;
        until("end of the call on both sides", TEARDOWN, caller, callee, Party::is_over)?;
        let mut heard = self.parties.drain(..).map(Party::heard);
        let mut next = || heard.next().unwrap_or_else(|| Err(Fail::new("no end")));
        Ok([next()?, next()?])
    }
}

const CALLERS_HZ: u16 = 310;
const CALLEES_HZ: u16 = 1530;
const TONE_STEP_HZ: u16 = 50;
/// Pairs with tones of their own; more cannot be played at once.
pub(super) const TONES: u16 = 24;

const TALK: Duration = Duration::from_millis(6200);
const SETUP: Duration = Duration::from_secs(15);
const TEARDOWN: Duration = Duration::from_secs(8);
/// A handshake that leads nowhere is given up in this.
const REFUSAL: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);

fn until(
    what: &str,
    patience: Duration,
    caller: &mut Party,
    callee: &mut Party,
    mut holds: impl FnMut(&mut Party) -> Outcome<bool>,
) -> Outcome {
    let began = Instant::now();
    loop {
        caller.pump()?;
        callee.pump()?;
        let (near, far) = (holds(caller)?, holds(callee)?);
        if near && far {
            return Ok(());
        }
        for party in [&*caller, &*callee] {
            if let Party::Station(station) = party
                && let Some(refusal) = station.refused()
            {
                return Err(Fail(format!("no {what}: {refusal}")));
            }
        }
        ensure(began.elapsed() < patience, || {
            format!("no {what} within {} s: caller {near}, callee {far}", patience.as_secs())
        })?;
    }
}

impl Party {
    fn dial(&mut self, number: &str, transport: Transport) -> Outcome {
        match self {
            Self::Station(station) => station.dial(number),
            Self::Agent(agent) => {
                let (port, transport) = match transport {
                    Transport::Udp => (PORT, "udp"),
                    Transport::Tcp => (PORT, "tcp"),
                    Transport::Tls => (TLS_PORT, "tls"),
                };
                agent
                    .command("dial", &format!("sip:{number}@{BORDER}:{port};transport={transport}"))
            }
        }
    }

    fn hang_up(&mut self) -> Outcome {
        match self {
            Self::Station(station) => station.hang_up(),
            Self::Agent(agent) => agent.command("hangup", ""),
        }
    }

    fn pump(&mut self) -> Outcome {
        match self {
            Self::Station(station) => station.pump(GLANCE),
            Self::Agent(agent) => agent.saw("").map(drop),
        }
    }

    fn is_up(&mut self) -> Outcome<bool> {
        match self {
            Self::Station(station) => Ok(station.is_up()),
            Self::Agent(agent) => agent.saw("CALL_ESTABLISHED"),
        }
    }

    fn is_over(&mut self) -> Outcome<bool> {
        match self {
            Self::Station(station) => Ok(station.is_over()),
            Self::Agent(agent) => agent.saw("CALL_CLOSED"),
        }
    }

    fn heard(self) -> Outcome<Heard> {
        match self {
            Self::Station(station) => {
                let descriptions = format!("{}{}", station.ours, station.theirs);
                Ok(Heard { audio: station.end().audio(), descriptions })
            }
            Self::Agent(agent) => {
                let descriptions = descriptions(&agent.said());
                Ok(Heard { audio: Audio::from_wav(&agent.recording()?)?, descriptions })
            }
        }
    }
}

fn agent(placed: &Placed, tone_hz: u16, folder: &Path, pem: &Path) -> Outcome<Agent> {
    let Placed { end, address, name, number } = placed;
    let End { transport, keying, path, .. } = *end;
    let (port, transport) = match transport {
        Transport::Udp => (PORT, "udp"),
        Transport::Tcp => (PORT, "tcp"),
        Transport::Tls => (TLS_PORT, "tls"),
    };
    let keys = match keying {
        Keying::Rtp => "",
        Keying::Dtls => ";mediaenc=dtls_srtp",
        _ => ";mediaenc=srtp-mand",
    };
    let ice = if path.ice() { ";medianat=ice" } else { "" };
    let account = format!(
        "<sip:{number}@{address}:{port};transport={transport}>;regint=0;answermode=auto;\
         audio_codecs=PCMU{keys}{ice}"
    );
    Agent::start(&baresip::Setup {
        name,
        namespace: name,
        address: *address,
        // Its TLS is on the port above.
        port: PORT,
        account: &account,
        tone_hz,
        rtcp_mux: path.mux(),
        rtp: "12000-12998",
        modules: &["dtls_srtp", "stun", "ice"],
        certificate: Some(pem.to_owned()),
        folder: folder.to_owned(),
    })
}

fn station(
    placed: &Placed,
    calls: bool,
    (tone_hz, weather): (u16, Weather),
    at: usize,
    pem: &Path,
) -> Outcome<Station> {
    let Placed { end, address, number, .. } = placed.clone();
    let open = if calls { Channel::connect } else { Channel::listen };
    let port = 14_000 + 2 * u16::try_from(at).while_("too many talkers")?;
    let (host, engine) = match end.peer {
        Peer::Rtpengine => {
            let call = format!("{number}-{at}");
            (TALKERS, Some(Session::new(address, end, call)?))
        }
        _ => (address, None),
    };
    let talker = Talker::new(host, port, tone_hz, weather)?;
    Ok(Station::new(station::Setup {
        address,
        end,
        number,
        channel: open(end.transport, address, pem)?,
        talker,
        at: (host, port),
        engine,
    }))
}

/// Gives both ends of all pairs their addresses, names and numbers.
pub(super) fn place(pairs: &[Pair]) -> Outcome<Vec<[Placed; 2]>> {
    let mut places = Vec::new();
    for (at, pair) in pairs.iter().enumerate() {
        let mut ends = Vec::new();
        for (side, end) in [pair.caller, pair.callee].into_iter().enumerate() {
            let number = 2 * at + side;
            let third = u8::try_from(1 + number / 250).while_("too many ends")?;
            let fourth = u8::try_from(1 + number % 250).while_("too many ends")?;
            let address = std::net::Ipv4Addr::new(198, 18, third, fourth);
            let name = format!("e{third}-{fourth}");
            network::connect(&name, address, end.peer)?;
            ends.push(Placed { end, address, name, number: format!("+49301{number:05}") });
        }
        places.push(ends.try_into().map_err(|_| Fail::new("no two ends"))?);
    }
    Ok(places)
}
