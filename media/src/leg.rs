//! One leg's side of a call's media: what it has agreed, whom it believes, what it has counted.

mod reports;

use crate::agreed::{Agreed, End, Kept, Keys, Manner};
use crate::dtls::Association;
use crate::forks::Forks;
use crate::handshakes::Handshakes;
use crate::ice::Agent;
use crate::keys::{Ear, Hearing, Pressing};
use crate::latch::{Latch, ReportsLatch};
use crate::mos::{Codec, Way};
use crate::outgoing::Outgoing;
use crate::reception::Reception;
use crate::rtcp::{Cname, Heard, ToldBlock};
use crate::rtp::Header;
use crate::sound::Player;
use crate::watch::Watch;
use crate::{Component, DropReason, LegStats, Stretch};
use reports::RoundTrips;
use sdp::{Carriage, Direction, IceOffered, Protocol, Terms, Told};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How soon a flight is looked at again that has nowhere to go yet.
const FLIGHT_WAITS: Duration = Duration::from_millis(20);

/// So long neither side of a fax may say anything: a page is printed, or a telephone rings (T.30, T5).
const FAX_PAUSES: Duration = Duration::from_secs(60);
/// Datagrams of a fax have no SSRC: they are all of one source.
const FAX_SSRC: u32 = 0;

/// The state of one leg.
///
/// Between two packets of one call are those of thousands of others, and each line of memory has to be
/// fetched anew. So what an ordinary packet touches stands together, in three stretches of whole lines:
/// where the latch begins, from the end of the watch up to the losses, and from `went` up to what is heard
/// of the stream that goes out.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct LegMedia {
    pub(crate) rtp: Latch,
    pub(crate) watch: Watch,
    /// What was received and went on.
    pub(crate) came: Carried,
    pub(crate) reception: Reception,
    manner: Manner,
    /// RTCP of either leg ends with us.
    terminates: bool,
    /// The far side has sent RTCP itself.
    reports_itself: bool,
    /// The far side has named another address since the watch was told of it.
    moved: bool,
    /// When it has had no RTCP for so long that we make it.
    report_due: Option<Instant>,
    /// Its connectivity checks, once it was offered or has agreed any.
    pub(crate) ice: Option<Box<Agent>>,
    /// What was sent, ours included.
    pub(crate) went: Carried,
    sent: Option<Sent>,
    pub(crate) outgoing: Outgoing,
    /// Before the answer: which of the far side's forks is carried, and who else may send.
    pub(crate) forks: Option<Box<Forks>>,
    pub(crate) ear: Option<Box<Ear>>,
    agreed: Option<Box<Agreed>>,
    pub(crate) stats: Counters,
    /// What it hears of ours beside.
    pub(crate) player: Player,
    /// The keys that its far side is told.
    pub(crate) pressing: Pressing,
    /// The keys of its far side.
    pub(crate) hearing: Hearing,
    pub(crate) terms: Kept,
    rtcp: ReportsLatch,
    handshakes: Handshakes,
    /// The last sender report that came in, and when.
    heard: Option<(Heard, Instant)>,
    /// The NTP middle of our own last sender report.
    own_report: Option<u32>,
    /// The last two sender reports that went out, ours or passed on: their NTP middle, and when.
    reports: [Option<(u32, Instant)>; 2],
    round_trips: RoundTrips,
    told: Option<ToldBlock>,
    /// Where the next interval comes from.
    dice: u32,
    /// Our SSRC, CNAME and credentials are drawn from it.
    seed: [u8; 16],
}

/// Packets of one direction, and their octets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried {
    packets: u64,
    octets: u64,
}

impl Carried {
    #[inline]
    pub(crate) const fn count(&mut self, octets: u64) {
        self.packets += 1;
        self.octets += octets;
    }
}

/// What else is counted packet by packet; the rest of [`LegStats`] is worked out when somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) made_packets: u32,
    pub(crate) rtcp_packets: u32,
    pub(crate) rtcp_generated: u32,
    drops: [u32; DropReason::ALL.len()],
}

impl Counters {
    /// A packet was dropped. A flood that lasts for hours counts no further than there is room.
    pub(crate) const fn drop(&mut self, reason: DropReason) {
        let count = &mut self.drops[reason as usize];
        *count = count.saturating_add(1);
    }
}

/// What was sent on this leg under one SSRC.
#[derive(Clone, Copy, Debug)]
struct Sent {
    ssrc: u32,
    packets: u32,
    octets: u32,
    /// How many packets there were at the last two reports of ours, the last one first.
    reported: [u32; 2],
    timestamp: u32,
    at: Instant,
    clock_hz: u32,
    payload_type: u8,
}

impl LegMedia {
    /// A leg that has agreed nothing; `seed` are 16 random octets.
    pub(crate) fn new(seed: &[u8]) -> Self {
        let octet = |at: usize| seed.get(at).copied().unwrap_or(0);
        Self {
            rtp: Latch::new(&Terms::default(), None),
            watch: Watch::default(),
            came: Carried::default(),
            reception: Reception::default(),
            manner: Manner::NONE,
            terminates: false,
            reports_itself: false,
            moved: false,
            report_due: None,
            ice: None,
            went: Carried::default(),
            sent: None,
            outgoing: Outgoing::new(u32::from_be_bytes(std::array::from_fn(octet))),
            forks: None,
            ear: None,
            agreed: None,
            stats: Counters::default(),
            player: Player::default(),
            pressing: Pressing::default(),
            hearing: Hearing::default(),
            terms: Kept::default(),
            rtcp: ReportsLatch::default(),
            handshakes: Handshakes::default(),
            heard: None,
            own_report: None,
            reports: [None; 2],
            round_trips: RoundTrips::default(),
            told: None,
            // Never zero, from which nothing would come.
            dice: u32::from_be_bytes(std::array::from_fn(|at| octet(12 + at))) | 1,
            seed: std::array::from_fn(octet),
        }
    }

    /// Takes a new agreement.
    pub(crate) fn agree(&mut self, leg: Carriage) {
        let expects = leg.stream.direction.receives();
        self.rtp.renegotiate(&leg.terms, leg.stream.remote_rtp, expects);
        self.rtcp.renegotiate(leg.stream.remote_rtcp);
        let named = |agreed: &Agreed| agreed.remote_rtp;
        if self.agreed.as_deref().and_then(named) != leg.stream.remote_rtp {
            self.moved = true;
            // Who is there now may know nothing of RTCP.
            self.reports_itself = false;
        }
        self.pressing.agree(&leg.stream, leg.terms.dtmf);
        self.player.agree(&leg.stream, &leg.terms);
        let ear = Ear::of(&leg.stream, leg.terms.dtmf);
        // One that listens already goes on, if it is to listen to the same.
        if ear.is_none()
            || self.agreed.as_ref().is_none_or(|old| old.payloads != leg.stream.payloads)
        {
            self.ear = ear;
        }
        match &leg.stream.ice {
            Some(ice) => {
                let talks = leg.stream.direction == Direction::SendRecv;
                let patience = leg.terms.ice_timeout.filter(|_| talks);
                self.agent().try_out(leg.terms.on_trial);
                self.agent().agree(ice, &leg.stream, patience);
            }
            None => {
                if let Some(agent) = &mut self.ice {
                    agent.try_out(leg.terms.on_trial);
                    agent.leave();
                }
            }
        }
        let forks = leg.terms.early.as_deref();
        self.forks = forks.map(|early| Box::new(Forks::new(early, self.forks.as_deref())));
        self.terms = Kept::of(&leg.terms);
        if !leg.stream.direction.receives() || leg.stream.protocol == Protocol::Udptl {
            self.tell_heard();
            self.reception.pause();
        }
        self.handshakes.agree(leg.stream.dtls.as_ref(), leg.stream.rtcp_mux);
        self.manner = Manner {
            direction: leg.stream.direction,
            protocol: leg.stream.protocol,
            rtcp_mux: leg.stream.rtcp_mux,
            encrypted: leg.stream.crypto.is_some(),
        };
        self.agreed = Some(Box::new(Agreed::of(leg.stream)));
        self.take_keys();
    }

    /// Whether who is carried is one fork of several that may answer.
    pub(crate) const fn is_early(&self) -> bool {
        self.forks.is_some()
    }

    /// The call is answered: who is only there now has all the time that there is.
    pub(crate) fn answered(&mut self) {
        self.handshakes.answered();
        if let Some(agent) = &mut self.ice {
            agent.call_answered();
        }
    }

    /// Puts the keys that a handshake has made where those of SDP would stand.
    pub(crate) fn take_keys(&mut self) {
        let handshake = self.handshakes.of(Component::Rtp);
        if let (Some(agreed), Some(handshake)) = (&mut self.agreed, handshake) {
            agreed.keys = handshake.keys().cloned().map(Keys::from);
            self.manner.encrypted = agreed.keys.is_some();
        }
    }

    /// What RTCP is protected with, where that is not what RTP is protected with.
    pub(crate) fn keys_of_rtcp(&self) -> Option<End<Keys>> {
        let keys = self.handshakes.of(Component::Rtcp)?.keys().cloned();
        Some(keys.map_or(End::Awaited, |keys| End::Keyed(keys.into())))
    }

    pub(crate) fn handshake(&mut self, component: Component) -> Option<&mut Association> {
        self.handshakes.of_mut(component)
    }

    /// When one of its handshakes has something to do.
    pub(crate) fn handshake_due(&self) -> Option<Instant> {
        let due = |component: Component| {
            let due = self.handshakes.of(component)?.due()?;
            let waits = self.handshake_destination(component).is_none();
            Some(if waits { due + FLIGHT_WAITS } else { due })
        };
        [Component::Rtp, Component::Rtcp].into_iter().filter_map(due).min()
    }

    /// A datagram of DTLS, if it comes from where the far side is believed to be.
    pub(crate) fn shake(
        &mut self,
        now: Instant,
        component: Component,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        if let Some(agent) = self.led_by() {
            let checked = agent.believes(component, from);
            let handshake = self.handshake(component).ok_or(DropReason::Dtls)?;
            return match checked {
                true => handshake.receive(now, None, datagram),
                false => Err(DropReason::Unlatched),
            };
        }
        let unsignalled = (self.latched(component) != Some(from)).then_some(from);
        let is_open = match component {
            Component::Rtp => self.rtp.is_open_to_strangers(),
            Component::Rtcp => self.rtcp.is_open_to_strangers(&self.rtp),
        };
        let handshake = self.handshake(component).ok_or(DropReason::Dtls)?;
        let stranger = is_open && handshake.admits(now, from, datagram);
        if unsignalled.is_some() && !stranger && handshake.peer() != unsignalled {
            return Err(DropReason::Unlatched);
        }
        handshake.receive(now, unsignalled, datagram)
    }

    /// Where this component's packets go by its latch.
    #[inline]
    fn latched(&self, component: Component) -> Option<SocketAddr> {
        match component {
            Component::Rtp => self.rtp.destination(),
            Component::Rtcp => self.rtcp.destination(),
        }
    }

    /// A handshake was finished from here: this is the far side, whatever it has sent yet.
    pub(crate) fn follow_handshake(&mut self, component: Component, from: SocketAddr) {
        match component {
            Component::Rtp => self.rtp.follow(from),
            Component::Rtcp => self.rtcp.follow(from, &self.rtp),
        }
    }

    /// Where a datagram of a handshake goes.
    pub(crate) fn handshake_destination(&self, component: Component) -> Option<SocketAddr> {
        let handshake = self.handshakes.of(component)?;
        match self.led_by() {
            Some(agent) => agent.destination(component),
            None => handshake.peer().or(self.latched(component)),
        }
    }

    /// What it has agreed, if anything.
    pub(crate) fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_deref()
    }

    /// Whether we may send media here.
    pub(crate) const fn speaks(&self) -> bool {
        self.manner.direction.sends()
    }

    /// Whether media from here goes anywhere.
    pub(crate) const fn hears(&self) -> bool {
        self.manner.direction.receives()
    }

    /// Whether a fax is agreed.
    pub(crate) const fn is_fax(&self) -> bool {
        matches!(self.manner.protocol, Protocol::Udptl)
    }

    /// How long it may be before nothing means that nobody is there.
    pub(crate) fn pauses(&self) -> Duration {
        if self.is_fax() { FAX_PAUSES } else { Duration::ZERO }
    }

    /// Both legs have agreed; something is to come from here if `wanted` by the other.
    pub(crate) fn watch_agreed(&mut self, wanted: bool) {
        let expected = wanted && self.hears();
        let moved = std::mem::take(&mut self.moved);
        self.watch.agreed(expected, self.terms.unroutable, moved);
        self.watch.takes_turns(self.is_fax());
    }

    /// Has the latch know what connectivity checks say, so that an ordinary packet need not ask them.
    pub(crate) fn follow_checks(&mut self) {
        match self.ice.as_deref().filter(|agent| agent.leads()) {
            Some(agent) => self.rtp.lead(agent.destination(Component::Rtp)),
            None => self.rtp.lead_no_more(),
        }
    }

    /// Whether nothing but what is done to every packet is to be done to those that come from here. Those that
    /// are not `authenticated` have to come from a checked pair, where there are any.
    pub(crate) fn speaks_plainly(&self, authenticated: bool) -> bool {
        (authenticated || self.led_by().is_none())
            && self.forks.is_none()
            && self.ear.is_none()
            && self.agreed.is_some()
            && self.hears()
            && !self.is_fax()
            && !self.awaits_reports()
    }

    /// The same of those that go there.
    pub(crate) fn is_told_plainly(&self) -> bool {
        let checked = self.led_by().map(|agent| agent.destination(Component::Rtp));
        checked.is_none_or(|to| to.is_some() && to == self.rtp.destination())
            && self.speaks()
            && !self.is_fax()
            && self.is_free()
            && self.player.is_idle()
            && !self.awaits_reports()
    }

    /// What a packet that comes from here touches.
    pub(crate) fn touched_coming(&self) -> [Stretch; 2] {
        let rest = Stretch::between(self.watch.touched_from(), self.reception.touched_to());
        [self.rtp.touched(), rest]
    }

    /// What a packet that goes there touches.
    pub(crate) fn touched_going(&self) -> [Stretch; 2] {
        let rest = Stretch::between(&self.went, self.outgoing.touched_to());
        [self.rtp.touched(), rest]
    }

    /// Whether nothing of ours takes the place of what is carried to it.
    pub(crate) fn is_free(&self) -> bool {
        !self.pressing.is_busy() && !self.player.is_playing()
    }

    pub(crate) fn first_ssrc(&self) -> u32 {
        u32::from_be_bytes(std::array::from_fn(|at| self.seed[at]))
    }

    pub(crate) fn cname(&self) -> Cname {
        std::array::from_fn(|at| {
            let octet = self.seed[4 + at / 2];
            let nibble = if at % 2 == 0 { octet >> 4 } else { octet & 0x0f };
            char::from_digit(nibble.into(), 16).map_or(b'0', |digit| digit as u8)
        })
    }

    /// An authenticated compound that is the newest of its source came from here.
    ///
    /// On the RTP port it speaks for the stream only where multiplexing was agreed: a far side that was
    /// offered rtcp-mux and declined may send its reports to that port from one of its own, and is not
    /// to hear speech there.
    pub(crate) fn follow_rtcp(&mut self, component: Component, from: SocketAddr) {
        match component {
            Component::Rtp if self.agreed.is_some() && !self.manner.rtcp_mux => {}
            Component::Rtp => self.rtp.follow(from),
            Component::Rtcp => self.rtcp.follow(from, &self.rtp),
        }
    }

    /// An offer of ours with ICE has gone out.
    pub(crate) fn expect_checks(&mut self, offered: &IceOffered) {
        self.agent().expect(offered);
    }

    fn agent(&mut self) -> &mut Agent {
        let seed = self.seed;
        self.ice.get_or_insert_with(|| Box::new(Agent::new(&seed)))
    }

    /// The agent, where its checks say who the far side is and where.
    fn led_by(&self) -> Option<&Agent> {
        self.ice.as_deref().filter(|agent| agent.leads())
    }

    /// Whose plain RTP is believed by its address alone, once that is settled.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        match self.led_by() {
            Some(agent) => agent.destination(Component::Rtp),
            None => self.rtp.locked(),
        }
    }

    /// Where media goes from this component.
    #[inline]
    pub(crate) fn destination(&self, component: Component) -> Option<SocketAddr> {
        match self.led_by() {
            Some(agent) => agent.destination(component),
            None => self.latched(component),
        }
    }

    /// Tells the checks when media was heard last, as not every packet of it does.
    pub(crate) fn tell_heard(&mut self) {
        if let Some(last) = self.reception.last() {
            self.note_alive(last);
        }
    }

    /// Something of the far side that is no media came in, and is believed.
    pub(crate) fn note_alive(&mut self, now: Instant) {
        if let Some(agent) = &mut self.ice {
            agent.hear(now);
        }
    }

    /// Whether plain RTP is believed.
    #[inline]
    pub(crate) fn admits(&mut self, now: Instant, from: SocketAddr, header: &Header) -> bool {
        match self.led_by() {
            Some(agent) => agent.believes(Component::Rtp, from),
            None => self.rtp.admits(now, from, header.ssrc, header.sequence),
        }
    }

    /// Whether a datagram of a fax is believed.
    pub(crate) fn admits_fax(&mut self, now: Instant, from: SocketAddr, number: u16) -> bool {
        self.rtp.admits(now, from, FAX_SSRC, number)
    }

    /// Whether plain RTCP is believed.
    pub(crate) fn admits_rtcp(
        &mut self,
        component: Component,
        from: SocketAddr,
        ssrc: Option<u32>,
    ) -> bool {
        if let Some(agent) = self.led_by() {
            return agent.believes(component, from);
        }
        match component {
            Component::Rtp => self.rtp.admits_muxed_rtcp(from),
            Component::Rtcp => self.rtcp.admits(from, ssrc, &self.rtp),
        }
    }

    /// Which of our ports RTCP leaves from, and where to.
    pub(crate) fn rtcp_destination(&self) -> (Component, Option<SocketAddr>) {
        let component = if self.manner.rtcp_mux { Component::Rtp } else { Component::Rtcp };
        (component, self.destination(component))
    }

    /// Counts a packet that goes out on this leg, with its header as it goes.
    #[inline]
    pub(crate) fn count_sent(
        &mut self,
        now: Instant,
        header: &Header,
        payload_octets: usize,
        clock_hz: Option<u32>,
    ) {
        let sent = match &mut self.sent {
            Some(sent) if sent.ssrc == header.ssrc => sent,
            other => {
                // What the far side said was of another source.
                self.told = None;
                other.insert(Sent {
                    ssrc: header.ssrc,
                    packets: 0,
                    octets: 0,
                    reported: [0; 2],
                    timestamp: header.timestamp,
                    at: now,
                    clock_hz: 0,
                    payload_type: header.payload_type,
                })
            }
        };
        sent.packets = sent.packets.wrapping_add(1);
        sent.octets = sent.octets.wrapping_add(payload_octets as u32);
        if let Some(clock_hz) = clock_hz {
            (sent.timestamp, sent.at, sent.clock_hz) = (header.timestamp, now, clock_hz);
            sent.payload_type = header.payload_type;
        }
    }

    /// The counters, with what the reception works out.
    pub(crate) fn counted(&self) -> LegStats {
        let counts = self.reception.counts();
        let (bursts, burst_ratio) = self.reception.bursts();
        let jitter_ms = self.reception.jitter_ms();
        let round_trip = self.round_trips.mean();
        let delay_ms = round_trip.map_or(0.0, |both| both.as_secs_f64() * 500.0);
        let heard = self.reception.speech().filter(|_| counts.expected >= MOS_PACKETS_MIN);
        let loss_fraction = share(counts.lost + counts.late, counts.expected);
        LegStats {
            expected_packets: counts.expected,
            lost_packets: counts.lost,
            late_packets: counts.late,
            duplicate_packets: counts.duplicates,
            reordered_packets: counts.reordered,
            jitter_ms,
            bursts,
            longest_gap: self.reception.longest_gap(),
            round_trip,
            round_trip_max: round_trip.map(|_| self.round_trips.longest),
            mos: heard.and_then(|(payload_type, _)| {
                let way = Way { loss_fraction, burst_ratio, jitter_ms, delay_ms };
                Some(self.codec(payload_type)?.mos(way))
            }),
            told: self.told(delay_ms),
            silence: self.watch.silences(),
            unplayed: self.player.unplayed,
            keys: self.hearing.keys,
            keys_lost: self.pressing.lost,
            ice: self.ice.as_deref().and_then(Agent::report),
            received_packets: self.came.packets,
            received_octets: self.came.octets,
            sent_packets: self.went.packets,
            sent_octets: self.went.octets,
            made_packets: self.stats.made_packets.into(),
            rtcp_packets: self.stats.rtcp_packets.into(),
            rtcp_generated: self.stats.rtcp_generated.into(),
            drops: self.stats.drops.map(u64::from),
        }
    }

    /// What the far side says of what we sent.
    fn told(&self, delay_ms: f64) -> Option<Told> {
        let (told, sent) = (self.told?, self.sent?);
        let jitter_ms = match sent.clock_hz {
            0 => 0.0,
            hz => f64::from(told.jitter) * 1000.0 / f64::from(hz),
        };
        let lost = u64::try_from(told.lost).unwrap_or_default();
        let way = Way {
            loss_fraction: share(lost, sent.packets.into()),
            burst_ratio: 1.0,
            jitter_ms,
            delay_ms,
        };
        let heard = u64::from(sent.packets) >= MOS_PACKETS_MIN;
        let codec = self.codec(sent.payload_type).filter(|_| heard);
        Some(Told { lost_packets: told.lost.into(), jitter_ms, mos: codec.map(|it| it.mos(way)) })
    }

    fn codec(&self, payload_type: u8) -> Option<Codec> {
        let mut payloads = self.agreed.as_ref()?.payloads.iter();
        Codec::named(&payloads.find(|payload| payload.number == payload_type)?.encoding)
    }

    /// When there is something to do here without a packet.
    pub(crate) fn due(&self) -> Option<Instant> {
        let keys = [self.pressing.due(), self.hearing.due(), self.player.due()];
        let check = self.ice.as_deref().and_then(Agent::next_due);
        let forks = self.forks.as_ref().and_then(|forks| forks.due());
        let rest = [self.report_due, self.watch.due(), check, forks];
        keys.into_iter().chain(rest).flatten().min()
    }
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// Fewer packets than a second of speech has say nothing of how it sounds.
const MOS_PACKETS_MIN: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_ordinary_packet_touches_of_a_leg_fills_seven_lines_of_memory() {
        let leg = LegMedia::new(&[7; 16]);
        let lines = |stretch: Stretch| stretch.lines().count();
        assert_eq!(leg.touched_coming().map(lines), [1, 4]);
        assert_eq!(leg.touched_going().map(lines), [1, 2]);
    }
}
