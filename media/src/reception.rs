//! How one leg's stream came in: loss, reordering and jitter (RFC 3550, 6.4.1, A.1, A.3, A.8).

use crate::rtp::Header;
use std::time::Instant;

/// A step ahead larger than this is a restart of the source, not loss (RFC 3550, A.1).
const MAX_DROPOUT: i16 = 3000;
/// A step back larger than this is a restart of the source, not a late packet (RFC 3550, A.1).
const MAX_MISORDER: i16 = 100;

/// What came in on one leg. A new SSRC, and a source that starts anew, count from there on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reception {
    source: Option<Source>,
    /// Lost packets of the sources before this one.
    lost_before: u64,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    /// The first and the highest extended sequence number.
    base: u64,
    highest: u64,
    received: u64,
    /// Where a packet far off would have to be followed up for the source to have restarted.
    restart_at: Option<u16>,
    /// Expected and received when the last report was made.
    reported: (u64, u64),
    playout: Option<Playout>,
    /// In units of the clock.
    jitter: f64,
    clock_hz: u32,
}

/// The last speech packet, for the next one's jitter.
#[derive(Clone, Copy, Debug)]
struct Playout {
    at: Instant,
    timestamp: u32,
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
                self.lost_before += other.as_ref().map_or(0, Source::lost);
                other.insert(Source::starting(header))
            }
        };
        if source.follow(header.sequence)
            && let Some(clock_hz) = clock_hz
        {
            source.measure(now, header.timestamp, clock_hz);
        }
    }

    /// Packets that were sent to us and never came.
    pub(crate) fn lost(&self) -> u64 {
        self.lost_before + self.source.as_ref().map_or(0, Source::lost)
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

    /// What to report of the source; the fraction counts from the last report on.
    pub(crate) fn report(&mut self) -> Option<Reported> {
        self.source.as_mut().map(Source::report)
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
            restart_at: None,
            reported: (0, 0),
            playout: None,
            jitter: 0.0,
            clock_hz: 0,
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
    fn follow(&mut self, sequence: u16) -> bool {
        if !self.is_near(sequence) {
            self.restart_at = Some(sequence.wrapping_add(1));
            return false;
        }
        self.restart_at = None;
        self.received += 1;
        let index = self.highest.saturating_add_signed(i64::from(self.ahead(sequence)));
        self.highest = self.highest.max(index);
        self.base = self.base.min(index);
        true
    }

    /// RFC 3550, A.8.
    fn measure(&mut self, now: Instant, timestamp: u32, clock_hz: u32) {
        if self.clock_hz != clock_hz {
            (self.clock_hz, self.jitter, self.playout) = (clock_hz, 0.0, None);
        }
        if let Some(last) = self.playout {
            let arrived =
                now.saturating_duration_since(last.at).as_secs_f64() * f64::from(clock_hz);
            let sent = f64::from(timestamp.wrapping_sub(last.timestamp) as i32);
            self.jitter += ((arrived - sent).abs() - self.jitter) / 16.0;
        }
        self.playout = Some(Playout { at: now, timestamp });
    }

    fn expected(&self) -> u64 {
        self.highest - self.base + 1
    }

    /// RFC 3550, A.3; repeated packets do not make up for lost ones below zero.
    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
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
        assert_eq!(run([65_533, 65_535, 0, 2]).lost(), 2);
    }

    #[test]
    fn late_and_repeated_packets_are_not_loss() {
        assert_eq!(run([10, 12, 11, 13, 13]).lost(), 0);
        assert_eq!(run([10, 9, 11]).lost(), 0);
    }

    #[test]
    fn a_restarted_source_is_not_thousands_of_lost_packets() {
        let mut reception = run([10, 12, 40_000, 40_001, 40_002, 40_004]);
        assert_eq!(reception.lost(), 2);
        assert_eq!(reception.report().unwrap().highest, 40_004);
    }

    #[test]
    fn one_stray_packet_restarts_nothing() {
        assert_eq!(run([10, 40_000, 11, 12]).lost(), 0);
    }

    #[test]
    fn a_new_ssrc_keeps_the_loss_so_far() {
        let mut reception = run([1, 3]);
        reception.count(zero(), &header(5000, 0, 8), None);
        assert_eq!(reception.lost(), 1);
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
}
