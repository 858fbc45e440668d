//! The media of one call: plays a tone in G.711 and judges what comes back.

use crate::io::Output;
use crate::judge::{Heard, Judge};
use crate::rtcp::{self, Sent};
use crate::tone;
use bytes::Bytes;
use media::Component;
use media::demux::Kind;
use media::dtls::{Association, Outcome};
use media::g711::{Law, RATE_HZ};
use media::ice::Agent;
use media::rtp::Header;
use media::srtp::{Receiver, Sender};
use media::{Now, PacketBuf};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;
use sdp::{SrtpKey, Stream};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// What an agent has for media.
#[derive(Clone, Debug)]
pub struct MediaPlan {
    /// The address in its SDP.
    pub address: IpAddr,
    /// RTP ports that it may use, one per call at a time; RTCP uses the next port above each.
    pub rtp_ports: Vec<u16>,
    /// The tone that it plays, in Hz.
    pub plays_hz: u32,
    /// The tone that it should hear, in Hz.
    pub expects_hz: u32,
}

/// One packet's worth of sound.
const PACKET: Duration = Duration::from_millis(20);
const SAMPLES: u32 = RATE_HZ / 50;
/// The longest pause that is caught up packet by packet; after a longer one the stream goes on
/// from now, as a device does whose process was stopped.
const CATCH_UP: Duration = Duration::from_millis(200);
/// Pause between reports (TDR-SRTP-005).
const REPORT: Duration = Duration::from_secs(5);

pub(crate) struct Sound {
    pub(crate) rtp_port: u16,
    /// Where media goes on from as soon as the far side has agreed.
    pub(crate) moving_to: Option<u16>,
    plays_hz: u32,
    expects_hz: u32,
    agreed: Option<Agreed>,
    /// Its connectivity checks, once it was offered or has agreed any.
    ice: Option<Box<Agent>>,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    /// What makes the keys, where SDP names none; with rtcp-mux alone.
    handshake: Option<Association>,
    pub(crate) shakes_hands: bool,
    /// Where that goes to.
    shakes_with: Option<SocketAddr>,
    first_ssrc: u32,
    source: Source,
    next_packet: Option<Instant>,
    next_report: Option<Instant>,
    whole: Judge,
    /// Since [`Self::listen_anew`].
    recent: Judge,
    pub(crate) sent: u64,
    slot: PacketBuf,
}

/// What of the stream in force packets need.
struct Agreed {
    remote_rtp: Option<SocketAddr>,
    remote_rtcp: Option<SocketAddr>,
    rtcp_mux: bool,
    /// The payload type to send and its law.
    codec: Option<(u8, Law)>,
    /// All payload types that may come in; the law of those that can be judged.
    payloads: Vec<(u8, Option<Law>)>,
}

struct Source {
    ssrc: u32,
    sequence: u16,
    first_timestamp: u32,
    /// Samples since the first packet, silence included.
    clock: u64,
    last: Option<Instant>,
    octets: u64,
}

impl Source {
    fn new(rng: &mut ChaCha20Rng) -> Self {
        Self {
            ssrc: rng.next_u32(),
            sequence: rng.next_u32() as u16,
            first_timestamp: rng.next_u32(),
            clock: 0,
            last: None,
            octets: 0,
        }
    }
}

impl Sound {
    pub(crate) fn new(rtp_port: u16, plan: &MediaPlan, rng: &mut ChaCha20Rng) -> Self {
        Self {
            rtp_port,
            moving_to: None,
            plays_hz: plan.plays_hz,
            expects_hz: plan.expects_hz,
            agreed: None,
            ice: None,
            sender: None,
            receiver: None,
            handshake: None,
            shakes_hands: false,
            shakes_with: None,
            first_ssrc: rng.next_u32(),
            source: Source::new(rng),
            next_packet: None,
            next_report: None,
            whole: Judge::default(),
            recent: Judge::default(),
            sent: 0,
            slot: PacketBuf::new(),
        }
    }

    /// Goes on from where it is to move to, as another source; whether there was such a place.
    pub(crate) fn take_move(&mut self, rng: &mut ChaCha20Rng) -> bool {
        let Some(port) = self.moving_to.take() else { return false };
        self.rtp_port = port;
        self.first_ssrc = rng.next_u32();
        self.source = Source::new(rng);
        self.sender = None;
        true
    }

    /// The stream in force from now on. `key` is what we protect with where it is not the one that
    /// the stream names.
    pub(crate) fn agree(&mut self, now: Now, stream: &Stream, key: Option<&SrtpKey>) {
        match &stream.ice {
            Some(ice) => self.agent().agree(ice, stream, None),
            None => {
                if let Some(agent) = &mut self.ice {
                    agent.leave();
                }
            }
        }
        let law = |payload: &sdp::Payload| Law::of(&payload.encoding);
        self.agreed = Some(Agreed {
            remote_rtp: stream.remote_rtp,
            remote_rtcp: stream.remote_rtcp,
            rtcp_mux: stream.rtcp_mux,
            codec: stream.payloads.iter().find_map(|p| Some((p.number, law(p)?))),
            payloads: stream.payloads.iter().map(|p| (p.number, law(p))).collect(),
        });
        match &stream.crypto {
            Some(crypto) => {
                let local = key.unwrap_or(&crypto.local);
                if !self.sender.as_ref().is_some_and(|sender| sender.is_of(local)) {
                    self.sender = Some(Sender::new(local, self.first_ssrc));
                }
                if !self.receiver.as_ref().is_some_and(|known| known.is_of(&crypto.remote)) {
                    self.receiver = Some(Receiver::new(&crypto.remote));
                }
            }
            None => (self.sender, self.receiver) = (None, None),
        }
        match (&mut self.handshake, &stream.dtls) {
            (Some(known), Some(dtls)) if known.is_of(dtls) => self.take_keys(),
            (handshake, dtls) => *handshake = dtls.clone().map(Association::new),
        }
        self.shakes_with = stream.remote_rtp;
        self.next_packet = match stream.direction.sends() {
            true => self.next_packet.or(Some(now.mono)),
            false => None,
        };
        self.next_report = self.next_report.or(Some(now.mono + REPORT));
    }

    fn take_keys(&mut self) {
        if let Some(keys) = self.handshake.as_ref().and_then(Association::keys) {
            if !self.sender.as_ref().is_some_and(|sender| sender.is_of(&keys.local)) {
                self.sender = Some(Sender::new(&keys.local, self.first_ssrc));
            }
            if !self.receiver.as_ref().is_some_and(|known| known.is_of(&keys.remote)) {
                self.receiver = Some(Receiver::new(&keys.remote));
            }
        }
    }

    /// Whether keys are still to be made.
    fn awaits_keys(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| handshake.keys().is_none())
    }

    /// Does what a handshake has to do.
    fn shake(&mut self, now: Now, out: &mut impl Extend<Output>) {
        let Some(handshake) = self.handshake.as_mut().filter(|_| self.shakes_hands) else { return };
        handshake.turn(now.mono);
        let done = handshake.outcome() == Some(Outcome::Keyed);
        while let (Some(datagram), Some(to)) = (handshake.datagram(), self.shakes_with) {
            let octets = Bytes::from(datagram);
            out.extend([Output::SendPacket { from_port: self.rtp_port, to, octets }]);
        }
        if done {
            self.take_keys();
        }
    }

    /// An offer of ours with ICE has gone out.
    pub(crate) fn expect_checks(&mut self, offered: Option<&sdp::IceOffered>) {
        if let Some(offered) = offered {
            self.agent().expect(offered);
        }
    }

    fn agent(&mut self) -> &mut Agent {
        let seed = (u64::from(self.first_ssrc) << 16 | u64::from(self.rtp_port)).to_be_bytes();
        self.ice.get_or_insert_with(|| Box::new(Agent::new(&seed)))
    }

    /// How far ICE has come.
    pub(crate) fn ice(&self) -> Option<sdp::IceReport> {
        self.ice.as_ref()?.report()
    }

    /// Where our packets go.
    fn destination(&self, component: Component) -> Option<SocketAddr> {
        if let Some(agent) = self.ice.as_ref().filter(|agent| agent.leads()) {
            return agent.destination(component);
        }
        let agreed = self.agreed.as_ref()?;
        match component {
            Component::Rtp => agreed.remote_rtp,
            Component::Rtcp => agreed.remote_rtcp,
        }
    }

    /// Stops for good; what was heard stays.
    pub(crate) fn stop(&mut self) {
        if let Some(agent) = &mut self.ice {
            agent.leave();
        }
        (self.next_packet, self.next_report, self.agreed) = (None, None, None);
        self.handshake = None;
    }

    /// Begins a new window for [`Self::heard_recently`].
    pub(crate) fn listen_anew(&mut self) {
        self.recent = Judge::default();
    }

    pub(crate) fn heard(&self) -> Heard {
        self.whole.heard(self.expects_hz)
    }

    pub(crate) fn heard_recently(&self) -> Heard {
        self.recent.heard(self.expects_hz)
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        let handshake = self.handshake.as_ref().filter(|_| self.shakes_hands);
        let handshake = handshake.and_then(Association::due);
        let check = self.ice.as_ref().and_then(|agent| agent.next_due());
        [self.next_packet, self.next_report, handshake, check].into_iter().flatten().min()
    }

    /// Sends what is due.
    pub(crate) fn run(&mut self, now: Now, out: &mut impl Extend<Output>) {
        self.shake(now, out);
        if let Some(agent) = &mut self.ice {
            while let Some((component, to)) = agent.generate(now.mono, &mut self.slot) {
                let from_port = self.rtp_port + component as u16;
                let octets = Bytes::copy_from_slice(self.slot.packet());
                out.extend([Output::SendPacket { from_port, to, octets }]);
            }
        }
        while let Some(due) = self.next_packet.filter(|due| *due <= now.mono) {
            let late = now.mono.saturating_duration_since(due);
            let due = if late > CATCH_UP { now.mono } else { due };
            self.next_packet = Some(due + PACKET);
            out.extend(self.play(due));
        }
        if self.next_report.is_some_and(|due| due <= now.mono) {
            self.next_report = Some(now.mono + REPORT);
            out.extend(self.report(now));
        }
    }

    fn play(&mut self, due: Instant) -> Option<Output> {
        if self.awaits_keys() {
            return None;
        }
        let (number, law) = self.agreed.as_ref()?.codec?;
        let to = self.destination(Component::Rtp)?;
        let source = &mut self.source;
        // The clock runs on through a pause (RFC 3550, 5.1).
        let pause = source.last.map(|last| due.saturating_duration_since(last));
        let in_sequence = pause.is_some_and(|pause| pause <= PACKET + CATCH_UP);
        source.clock += match pause {
            Some(pause) if !in_sequence => (pause.as_micros() as u64 * 8 / 1000).max(1),
            Some(_) => u64::from(SAMPLES),
            None => 0,
        };
        source.last = Some(due);
        source.sequence = source.sequence.wrapping_add(1);
        source.octets += u64::from(SAMPLES);

        let slot = &mut self.slot;
        slot.set_len(12 + SAMPLES as usize);
        let packet = slot.packet_mut();
        packet[0] = 0x80;
        packet[1] = number | if in_sequence { 0 } else { 0x80 };
        packet[2..4].copy_from_slice(&source.sequence.to_be_bytes());
        let timestamp = source.first_timestamp.wrapping_add(source.clock as u32);
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&source.ssrc.to_be_bytes());
        for (octet, at) in packet[12..].iter_mut().zip(source.clock..) {
            *octet = law.encode(tone::sample(self.plays_hz, at));
        }
        if let Some(sender) = &mut self.sender {
            sender.protect(slot).ok()?;
        }
        self.sent += 1;
        let octets = Bytes::copy_from_slice(slot.packet());
        Some(Output::SendPacket { from_port: self.rtp_port, to, octets })
    }

    fn report(&mut self, now: Now) -> Option<Output> {
        if self.awaits_keys() {
            return None;
        }
        let agreed = self.agreed.as_ref()?;
        let mux = agreed.rtcp_mux;
        let to = self.destination(if mux { Component::Rtp } else { Component::Rtcp })?;
        let source = &self.source;
        let since = source.last.map_or(0, |last| {
            let since = now.mono.saturating_duration_since(last);
            (since.as_micros() as u64 * 8 / 1000) as u32
        });
        let ssrc = self.sender.as_ref().and_then(|s| s.ssrc_of(source.ssrc)).unwrap_or(source.ssrc);
        let timestamp = source.first_timestamp.wrapping_add(source.clock as u32);
        let sent = Sent {
            ssrc,
            timestamp: timestamp.wrapping_add(since),
            packets: self.sent,
            octets: source.octets,
        };
        let compound = rtcp::write(now.wall, &sent, &self.whole.reception);
        self.slot.set_len(compound.len());
        self.slot.packet_mut().copy_from_slice(&compound);
        if let Some(sender) = &mut self.sender {
            sender.protect_rtcp(&mut self.slot).ok()?;
        }
        let from_port = if mux { self.rtp_port } else { self.rtp_port + 1 };
        Some(Output::SendPacket {
            from_port,
            to,
            octets: Bytes::copy_from_slice(self.slot.packet()),
        })
    }

    /// A datagram came to one of our ports.
    pub(crate) fn hear(
        &mut self,
        now: Now,
        (port, from): (u16, SocketAddr),
        octets: &[u8],
        out: &mut impl Extend<Output>,
    ) {
        if let (Kind::Stun, Some(agent)) = (Kind::of(octets), &mut self.ice) {
            self.slot.set_len(octets.len());
            self.slot.packet_mut().copy_from_slice(octets);
            let even = port == self.rtp_port || self.moving_to == Some(port);
            let component = if even { Component::Rtp } else { Component::Rtcp };
            if let Ok(Some(_)) = agent.packet(now.mono, component, from, &mut self.slot) {
                let octets = Bytes::copy_from_slice(self.slot.packet());
                out.extend([Output::SendPacket { from_port: port, to: from, octets }]);
            }
            return;
        }
        if let (Kind::Dtls, Some(handshake)) = (Kind::of(octets), &mut self.handshake) {
            if self.shakes_hands && self.shakes_with == Some(from) {
                // What it refuses it would refuse from anybody.
                let _ = handshake.receive(now.mono, None, octets);
            }
            return;
        }
        let verdict = self.judge(port, from, octets);
        for judge in [&mut self.whole, &mut self.recent] {
            match verdict {
                Verdict::Sound(header, law) => {
                    let payload = &self.slot.packet()[header.payload_at..];
                    judge.packet(now.mono, &header, law.map(|law| (law, self.expects_hz, payload)));
                }
                Verdict::Report => judge.reports += 1,
                Verdict::Forged => judge.srtp_failures += 1,
                Verdict::Stray => judge.strays += 1,
                Verdict::Early => {}
            }
        }
    }

    fn judge(&mut self, port: u16, from: SocketAddr, octets: &[u8]) -> Verdict {
        if self.awaits_keys() {
            return Verdict::Early;
        }
        let Some(agreed) = &self.agreed else { return Verdict::Early };
        if octets.len() > media::packet::PACKET_MAX {
            return Verdict::Stray;
        }
        self.slot.set_len(octets.len());
        self.slot.packet_mut().copy_from_slice(octets);
        let on_rtcp_port = port != self.rtp_port && self.moving_to != Some(port);
        if rtcp::is_rtcp(octets) {
            let expected = if on_rtcp_port { agreed.remote_rtcp } else { agreed.remote_rtp };
            if expected != Some(from) || on_rtcp_port == agreed.rtcp_mux {
                return Verdict::Stray;
            }
            let receiver = self.receiver.as_mut();
            return match receiver.map(|receiver| receiver.unprotect_rtcp(&mut self.slot)) {
                Some(Err(_)) => Verdict::Forged,
                _ if rtcp::is_whole(self.slot.packet()) => Verdict::Report,
                _ => Verdict::Stray,
            };
        }
        if on_rtcp_port || agreed.remote_rtp != Some(from) {
            return Verdict::Stray;
        }
        let receiver = self.receiver.as_mut();
        if let Some(Err(_)) = receiver.map(|receiver| receiver.unprotect(&mut self.slot)) {
            return Verdict::Forged;
        }
        let Some(header) = Header::read(self.slot.packet()) else { return Verdict::Stray };
        match agreed.payloads.iter().find(|(number, _)| *number == header.payload_type) {
            Some((_, law)) => Verdict::Sound(header, *law),
            None => Verdict::Stray,
        }
    }
}

#[derive(Clone, Copy)]
enum Verdict {
    Sound(Header, Option<Law>),
    Report,
    Forged,
    Stray,
    /// It overtook the answer to our offer (RFC 3264, 5.1).
    Early,
}
