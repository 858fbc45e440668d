//! How one leg's stream came in: loss and how it was spread, reordering, jitter and gaps
//! (RFC 3550, 6.4.1, A.1, A.3, A.8; RFC 3611, 4.7.2).
//!
//! A packet costs additions and a shift; what needs a division is worked out when somebody asks.

use crate::losses::Losses;
use crate::rtp::Header;
use sdp::Bursts;
use std::time::{Duration, Instant};

/// A step ahead larger than this is a restart of the source, not loss (RFC 3550, A.1).
const MAX_DROPOUT: i16 = 3000;
/// A step back larger than this is a restart of the source, not a late packet (RFC 3550, A.1).
const MAX_MISORDER: i16 = 100;
/// How far behind the newest a packet is waited for before it counts as lost: a second and more.
const WINDOW: u64 = u64::BITS as u64;
/// A packet that comes so much after its time has missed the jitter buffer of any telephone.
const LATE_S: f64 = 0.1;
/// How slowly the time that packets are expected at follows the one they come at, in packets: as
/// adaptive buffers do, and faster than clocks drift apart.
const LATE_SMOOTHING: f64 = 1.0 / 64.0;
/// The same after a late packet: a buffer that was missed grows at once, so that one stall is not
/// taken for a hundred late packets.
const LATE_GROWTH: f64 = 1.0 / 4.0;
/// Timestamps that step by so much more or less than time does are those of another recording: no
/// network delays, or hastens, a packet so.
const DISCONTINUITY_S: f64 = 1.0;
/// The length of a packet, before two have come.
const USUAL_PACKET_S: f64 = 0.02;

/// What came in on one leg. A new SSRC, and a source that starts anew, count from there on. What a packet
/// needs stands in front.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Reception {
    source: Option<Source>,
    last: Option<Instant>,
    longest_gap: Duration,
    losses: Losses,
    /// Of the sources before this one.
    before: Counts,
}

/// What is counted over all sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) expected: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Source {
    duplicates: u64,
    reordered: u64,
    /// Expected and received when the last report was made.
    reported: (u64, u64),
    ssrc: u32,
    /// Where a packet far off would have to be followed up for the source to have restarted.
    restart_at: Option<u16>,
    /// The first and the highest extended sequence number.
    base: u64,
    highest: u64,
    received: u64,
    /// Bit `n` is set if the packet `n` before the highest has come.
    window: u64,
    late: u64,
    playout: Option<Playout>,
    /// In units of the clock.
    jitter: f64,
    /// The clock of its payload; zero before the first that has one.
    clock_hz: u32,
    /// The last step of two timestamps in a row: the length of a packet.
    packet_units: u32,
    payload_type: u8,
}

/// The last speech packet, for the next one's jitter.
#[derive(Clone, Copy, Debug)]
struct Playout {
    at: Instant,
    timestamp: u32,
    sequence: u16,
    /// How much later than the first it came, and the usual of that, in units of the clock.
    behind: f64,
    usual: f64,
}

/// What an RTCP report block says of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub(crate) fraction_lost: u8,
    /// Lost altogether, as a signed number of 24 bits.
    pub(crate) lost: i32,
    pub(crate) highest: u32,
    /// In units of the clock.
    pub(crate) jitter: u32,
}

impl Reception {
    /// Counts a packet that is believed. `clock_hz` is its payload's clock, `None` where its
    /// timestamp says nothing about when it was sent (telephone events, RFC 4733, 2.5.1.2).
    pub(crate) fn count(&mut self, now: Instant, header: &Header, clock_hz: Option<u32>) {
        let source = match &mut self.source {
            Some(source)
                if source.ssrc == header.ssrc && !source.restarts_with(header.sequence) =>
            {
                source
            }
            other => {
                if let Some(old) = other {
                    self.before.add(&old.counts());
                    old.flush(&mut self.losses);
                }
                other.insert(Source::starting(header))
            }
        };
        let gap = self.last.map(|last| (last, now.saturating_duration_since(last)));
        let mut paused = false;
        if source.follow(header.sequence, &mut self.losses)
            && let Some(clock_hz) = clock_hz
        {
            source.payload_type = header.payload_type;
            paused = source.measure(now, gap, header, clock_hz);
        }
        self.last = Some(now);
        if let Some((_, gap)) = gap
            && !paused
        {
            self.longest_gap = self.longest_gap.max(gap);
        }
    }

    /// Where what a packet touches of it ends.
    pub(crate) const fn touched_to(&self) -> &u32 {
        self.losses.touched_to()
    }

    /// When the last packet came, unless nothing was expected since.
    pub(crate) const fn last(&self) -> Option<Instant> {
        self.last
    }

    /// Nothing is expected for a while: that is no gap.
    pub(crate) const fn pause(&mut self) {
        self.last = None;
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = self.before;
        if let Some(source) = &self.source {
            counts.add(&source.counts());
        }
        counts
    }

    /// Interarrival jitter in ms.
    pub(crate) fn jitter_ms(&self) -> f64 {
        match &self.source {
            Some(source) if source.clock_hz > 0 => {
                source.jitter * 1000.0 / f64::from(source.clock_hz)
            }
            _ => 0.0,
        }
    }

    pub(crate) const fn longest_gap(&self) -> Duration {
        self.longest_gap
    }

    /// How loss was spread, and `BurstR` (G.107).
    pub(crate) fn bursts(&self) -> (Bursts, f64) {
        let (mut losses, mut packet_s) = (self.losses, USUAL_PACKET_S);
        if let Some(source) = &self.source {
            source.flush(&mut losses);
            if source.packet_units > 0 && source.clock_hz > 0 {
                packet_s = f64::from(source.packet_units) / f64::from(source.clock_hz);
            }
        }
        (losses.bursts(packet_s), losses.burst_ratio())
    }

    /// The payload type of the last speech, and its clock.
    pub(crate) fn speech(&self) -> Option<(u8, u32)> {
        let source = self.source.as_ref().filter(|source| source.clock_hz > 0)?;
        Some((source.payload_type, source.clock_hz))
    }

    /// The source that is heard.
    pub(crate) fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// What to report of the source; the fraction counts from the last report on.
    pub(crate) fn report(&mut self) -> Option<Reported> {
        self.source.as_mut().map(Source::report)
    }
}

impl Counts {
    const fn add(&mut self, more: &Self) {
        self.expected += more.expected;
        self.lost += more.lost;
        self.late += more.late;
        self.duplicates += more.duplicates;
        self.reordered += more.reordered;
    }
}

impl Source {
    /// A source whose first packet is still to be followed.
    fn starting(header: &Header) -> Self {
        // One round ahead, so that a packet before the first has a number, too.
        let first = 1 << 16 | u64::from(header.sequence);
        Self {
            ssrc: header.ssrc,
            base: first,
            highest: first,
            received: 0,
            window: 0,
            late: 0,
            duplicates: 0,
            reordered: 0,
            restart_at: None,
            reported: (0, 0),
            playout: None,
            clock_hz: 0,
            jitter: 0.0,
            packet_units: 0,
            payload_type: header.payload_type,
        }
    }

    fn ahead(&self, sequence: u16) -> i16 {
        sequence.wrapping_sub(self.highest as u16) as i16
    }

    fn is_near(&self, sequence: u16) -> bool {
        (-MAX_MISORDER..=MAX_DROPOUT).contains(&self.ahead(sequence))
    }

    fn restarts_with(&self, sequence: u16) -> bool {
        self.restart_at == Some(sequence) && !self.is_near(sequence)
    }

    /// Counts the packet, unless it is so far off that it may be stray.
    fn follow(&mut self, sequence: u16, losses: &mut Losses) -> bool {
        if !self.is_near(sequence) {
            self.restart_at = Some(sequence.wrapping_add(1));
            return false;
        }
        self.restart_at = None;
        self.received += 1;
        let ahead = self.ahead(sequence);
        if ahead == 1 {
            self.leave(WINDOW - 1, losses);
            self.window = self.window << 1 | 1;
            self.highest += 1;
            return true;
        }
        let index = self.highest.saturating_add_signed(i64::from(ahead));
        if ahead > 0 {
            self.advance(ahead.unsigned_abs().into(), losses);
            return true;
        }
        let behind = u64::from(ahead.unsigned_abs());
        let bit = if behind < WINDOW { 1 << behind } else { 0 };
        if self.window & bit != 0 {
            self.duplicates += 1;
        } else if behind > 0 {
            self.reordered += 1;
        }
        self.window |= bit;
        self.base = self.base.min(index);
        true
    }

    /// The highest packet came so many after the one before it: as many leave the window.
    #[cold]
    fn advance(&mut self, steps: u64, losses: &mut Losses) {
        for _ in 0..steps.min(WINDOW) {
            self.leave(WINDOW - 1, losses);
            self.window <<= 1;
            self.highest += 1;
        }
        let beyond = steps.saturating_sub(WINDOW);
        losses.lost(beyond);
        self.highest += beyond;
        self.window |= 1;
    }

    /// Judges the packet so many before the highest.
    fn leave(&self, behind: u64, losses: &mut Losses) {
        if self.highest - behind >= self.base {
            match self.window >> behind & 1 {
                1 => losses.came(),
                _ => losses.lost(1),
            }
        }
    }

    /// Judges all that are in the window.
    fn flush(&self, losses: &mut Losses) {
        (0..WINDOW).rev().for_each(|behind| self.leave(behind, losses));
    }

    /// RFC 3550, A.8. Whether the source itself was silent for a while before this packet.
    /// `gap`: when the last packet of any kind came, and how long ago that is.
    fn measure(
        &mut self,
        now: Instant,
        gap: Option<(Instant, Duration)>,
        header: &Header,
        clock_hz: u32,
    ) -> bool {
        if self.clock_hz != clock_hz {
            (self.clock_hz, self.jitter, self.playout) = (clock_hz, 0.0, None);
        }
        let units_per_s = f64::from(clock_hz);
        let mut playout = Playout {
            at: now,
            timestamp: header.timestamp,
            sequence: header.sequence,
            behind: 0.0,
            usual: 0.0,
        };
        let mut paused = false;
        if let Some(last) = self.playout {
            let since = match gap {
                Some((before, gap)) if before == last.at => gap,
                _ => now.saturating_duration_since(last.at),
            };
            let arrived = units(since, units_per_s);
            let step = header.timestamp.wrapping_sub(last.timestamp);
            let drift = arrived - f64::from(step as i32);
            if drift.abs() < DISCONTINUITY_S * units_per_s {
                self.jitter += (drift.abs() - self.jitter) * (1.0 / 16.0);
                playout.behind = last.behind + drift;
                let late_by = playout.behind - last.usual;
                let late = late_by > LATE_S * units_per_s;
                self.late += u64::from(late);
                let share = if late { LATE_GROWTH } else { LATE_SMOOTHING };
                playout.usual = last.usual + late_by * share;
            }
            if header.sequence == last.sequence.wrapping_add(1) {
                paused = self.packet_units > 0 && step > 2 * self.packet_units;
                if !paused && step > 0 {
                    self.packet_units = step;
                }
            }
        }
        self.playout = Some(playout);
        paused
    }

    fn expected(&self) -> u64 {
        self.highest - self.base + 1
    }

    fn counts(&self) -> Counts {
        Counts {
            expected: self.expected(),
            // RFC 3550, A.3; but repeated packets do not make up for lost ones.
            lost: (self.expected() + self.duplicates).saturating_sub(self.received),
            late: self.late,
            duplicates: self.duplicates,
            reordered: self.reordered,
        }
    }

    fn report(&mut self) -> Reported {
        let now = (self.expected(), self.received);
        let expected = now.0 - self.reported.0;
        let lost = expected.saturating_sub(now.1 - self.reported.1);
        self.reported = now;
        let lost_in_all = now.0 as i64 - now.1 as i64;
        Reported {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8,
            lost: lost_in_all.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest: (self.highest - (1 << 16)) as u32,
            jitter: self.jitter as u32,
        }
    }
}

/// How many units of a clock a time has.
fn units(time: Duration, units_per_s: f64) -> f64 {
    (time.as_secs() as f64 + f64::from(time.subsec_nanos()) * 1e-9) * units_per_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, zero};

    fn header(sequence: u16, timestamp: u32, ssrc: u32) -> Header {
        Header { payload_type: 8, sequence, timestamp, ssrc, payload_at: 12 }
    }

    fn run(sequences: impl IntoIterator<Item = u16>) -> Reception {
        let mut reception = Reception::default();
        for sequence in sequences {
            reception.count(zero(), &header(sequence, 0, 7), None);
        }
        reception
    }

    #[test]
    fn loss_over_the_wrap_is_counted() {
        assert_eq!(run([65_533, 65_535, 0, 2]).counts().lost, 2);
    }

    #[test]
    fn late_and_repeated_packets_are_not_loss() {
        assert_eq!(run([10, 12, 11, 13, 13]).counts().lost, 0);
        assert_eq!(run([10, 9, 11]).counts().lost, 0);
    }

    #[test]
    fn a_restarted_source_is_not_thousands_of_lost_packets() {
        let mut reception = run([10, 12, 40_000, 40_001, 40_002, 40_004]);
        assert_eq!(reception.counts().lost, 2);
        assert_eq!(reception.report().unwrap().highest, 40_004);
    }

    #[test]
    fn one_stray_packet_restarts_nothing() {
        assert_eq!(run([10, 40_000, 11, 12]).counts().lost, 0);
    }

    #[test]
    fn a_new_ssrc_keeps_the_loss_so_far() {
        let mut reception = run([1, 3]);
        reception.count(zero(), &header(5000, 0, 8), None);
        assert_eq!(reception.counts().lost, 1);
    }

    #[test]
    fn jitter_follows_rfc_3550_a8_in_ms() {
        let mut reception = Reception::default();
        let mut arrival = zero();
        for n in 0..1000u16 {
            // Every other packet is 8 ms late: |D| is 8 ms each time.
            let late = if n % 2 == 1 { ms(8) } else { ms(0) };
            let packet = header(n, u32::from(n) * 160, 7);
            reception.count(arrival + late, &packet, Some(8000));
            arrival += ms(20);
        }
        assert!((reception.jitter_ms() - 8.0).abs() < 0.01, "{}", reception.jitter_ms());
    }

    #[test]
    fn the_fraction_counts_from_the_last_report() {
        let mut reception = run([1, 2, 3, 5]);
        let first = reception.report().unwrap();
        assert_eq!((first.fraction_lost, first.lost), (51, 1)); // 1 of 5
        reception.count(zero(), &header(6, 0, 7), None);
        let second = reception.report().unwrap();
        assert_eq!((second.fraction_lost, second.lost, second.highest), (0, 1, 6));
    }

    #[test]
    fn repeated_and_reordered_packets_are_told_apart_and_make_up_for_no_loss() {
        let counts = run([10, 12, 12, 11, 11, 15, 14, 20]).counts();
        // 13, 16, 17, 18 and 19 are missing of 10 to 20.
        assert_eq!(counts, Counts { expected: 11, lost: 5, late: 0, duplicates: 2, reordered: 2 });
    }

    #[test]
    fn a_burst_is_seen_whether_it_has_left_the_window_or_not() {
        let lossy = |after: u16| {
            let lost = [30, 31, 33, 34];
            run((1..34 + after).filter(|n| !lost.contains(n))).bursts().0
        };
        for after in [5, 50, 500] {
            let bursts = lossy(after);
            assert_eq!((bursts.count, bursts.burst_length), (1, Duration::from_millis(100)));
            assert!((bursts.burst_density - 0.8).abs() < 1e-9);
        }
        // A packet that comes late is lost only while it is not there.
        let mut late = run((1..60).filter(|n| ![30, 31].contains(n)));
        assert_eq!(late.bursts().0.count, 1);
        late.count(zero(), &header(30, 0, 7), None);
        late.count(zero(), &header(31, 0, 7), None);
        assert_eq!((late.bursts().0.count, late.counts().lost), (0, 0));
    }

    #[test]
    fn an_outage_longer_than_the_window_is_one_burst() {
        let reception = run((1..200).chain(1200..1400));
        assert_eq!(reception.counts().lost, 1000);
        let (bursts, ratio) = reception.bursts();
        assert_eq!((bursts.count, bursts.burst_length), (1, Duration::from_secs(20)));
        assert!((bursts.burst_density - 1.0).abs() < 1e-9);
        assert!(ratio > 100.0);
    }

    /// A stream of 20 ms each, arriving as `delay` says of each packet.
    fn arriving(packets: u16, delay: impl Fn(u16) -> u32) -> Reception {
        let mut arrivals: Vec<_> =
            (0..packets).map(|n| (20 * u32::from(n) + delay(n), n)).collect();
        arrivals.sort_unstable();
        let mut reception = Reception::default();
        for (at, n) in arrivals {
            reception.count(zero() + ms(1) * at, &header(n, u32::from(n) * 160, 7), Some(8000));
        }
        reception
    }

    #[test]
    fn a_packet_that_misses_any_jitter_buffer_is_late_and_not_lost() {
        let reception = arriving(500, |n| if n % 100 == 50 { 150 } else { 10 });
        let counts = reception.counts();
        assert_eq!((counts.late, counts.reordered, counts.lost), (5, 5, 0));
        let moved = arriving(1000, |n| if n < 500 { 10 } else { 400 }).counts();
        assert!((1..10).contains(&moved.late), "another way is got used to: {}", moved.late);
    }

    #[test]
    fn the_longest_gap_is_the_networks_not_the_sources_own_silence() {
        let mut reception = arriving(50, |n| match n {
            20 => 60,
            21 => 40,
            22 => 20,
            _ => 0,
        });
        assert_eq!(reception.longest_gap(), ms(80));
        // Silence suppression: the numbers go on and the clock tells of the pause.
        let (mut at, mut timestamp) = (zero() + ms(20) * 49, 49 * 160);
        for n in 50..60 {
            (at, timestamp) = (at + ms(2000), timestamp + 16_000);
            reception.count(at, &header(n, timestamp, 7), Some(8000));
        }
        assert_eq!(reception.longest_gap(), ms(80));
        reception.pause();
        reception.count(at + ms(60_000), &header(60, timestamp + 160, 7), Some(8000));
        assert_eq!(reception.longest_gap(), ms(80), "a hold");
        reception.count(at + ms(60_500), &header(61, timestamp + 320, 7), Some(8000));
        assert_eq!(reception.longest_gap(), ms(500));
    }

    #[test]
    fn another_recording_is_no_jitter() {
        let mut reception = arriving(50, |_| 0);
        let at = zero() + ms(1000);
        for n in 50..100 {
            let timestamp = 4_000_000_000 + u32::from(n) * 160;
            let at = at + ms(20) * u32::from(n - 50);
            reception.count(at, &header(n, timestamp, 7), Some(8000));
        }
        assert!(reception.jitter_ms() < 0.01, "{}", reception.jitter_ms());
        assert_eq!(reception.counts().late, 0);
    }

    #[test]
    fn whatever_the_network_does_the_counts_are_those_of_who_knows_all() {
        let mut state = 3u64;
        let mut dice = |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % sides
        };
        for round in 0..50 {
            let first = 65_000 + round * 37;
            // When it arrives, in packets, and which it is.
            let mut arrivals = Vec::new();
            for n in 0..1500u64 {
                for _ in 0..1 + u64::from(dice(20) == 0) {
                    arrivals.push((n + dice(25), n));
                }
            }
            arrivals.retain(|_| dice(12) > 0);
            arrivals.sort_by_key(|(at, _)| *at);
            let mut reception = Reception::default();
            for (_, n) in &arrivals {
                reception.count(zero(), &header((first + n) as u16, 0, 7), None);
            }
            let came: std::collections::BTreeSet<u64> = arrivals.iter().map(|(_, n)| *n).collect();
            let (low, high) = (*came.first().unwrap(), *came.last().unwrap());
            let counts = reception.counts();
            assert_eq!(counts.expected, high - low + 1);
            assert_eq!(counts.lost, counts.expected - came.len() as u64);
            assert_eq!(counts.duplicates, (arrivals.len() - came.len()) as u64);
            let mut losses = Losses::default();
            for n in low..=high {
                if came.contains(&n) { losses.came() } else { losses.lost(1) }
            }
            assert_eq!(reception.bursts().0, losses.bursts(USUAL_PACKET_S), "round {round}");
        }
    }
}
