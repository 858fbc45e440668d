//! RTCP of one leg: when it is due, what it says, what the far side says of us.

use super::LegMedia;
use crate::rtcp::{self, OwnBlock, OwnReport, Said, SentSoFar};
use crate::{DropReason, Now, PacketBuf};
use std::time::{Duration, Instant};

/// How often a leg that wants RTCP gets it (TDR-SRTP-005), in the middle.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// The rules of RFC 3550 make intervals longer in the long run; this takes it out again (6.3.1).
const COMPENSATION: f64 = 1.218_28;
/// A far side that sends reports has sent one by then.
const REPORT_INTERVAL_MAX: Duration = Duration::from_millis(6_200);

/// How long it took to the far side and back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrips {
    count: u32,
    sum: Duration,
    pub(super) longest: Duration,
}

impl LegMedia {
    /// Whether the far side is to have RTCP: with SRTP always (TDR-SRTP-005), where it is ours to make,
    /// and where it has sent some itself. To others we might only do harm.
    const fn wants_reports(&self) -> bool {
        (self.manner.encrypted || self.terminates || self.reports_itself) && !self.is_fax()
    }

    /// Both legs have agreed on what becomes of RTCP.
    pub(crate) fn rtcp_agreed(&mut self, terminates: bool) {
        self.terminates = terminates;
        if !self.wants_reports() {
            self.report_due = None;
        }
    }

    /// Starts the wait for RTCP, on a leg that is to have it: the first is early (RFC 3550, 6.2).
    /// Says whether it begins.
    #[inline]
    pub(crate) fn expect_reports(&mut self, now: Instant) -> bool {
        let begins = self.awaits_reports();
        if begins {
            self.expect_first(now);
        }
        begins
    }

    /// Whether the next packet begins that wait.
    pub(crate) const fn awaits_reports(&self) -> bool {
        self.report_due.is_none() && self.wants_reports()
    }

    #[cold]
    fn expect_first(&mut self, now: Instant) {
        self.report_due = Some(now + self.interval() / 2);
    }

    /// A report of the other leg's far side has passed to this one: as long as these come, it needs
    /// none of ours.
    pub(crate) fn report_passed(&mut self, now: Instant) {
        if self.wants_reports() {
            self.report_due = Some(now + REPORT_INTERVAL_MAX);
        }
    }

    /// The time from one report of ours to the next (RFC 3550, 6.3.1, for two members).
    fn interval(&mut self) -> Duration {
        // xorshift32: nobody has to be unable to guess it.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 17;
        self.dice ^= self.dice << 5;
        let share = f64::from(self.dice) / f64::from(u32::MAX);
        REPORT_INTERVAL.mul_f64((0.5 + share) / COMPENSATION)
    }

    pub(crate) const fn report_due(&self) -> Option<Instant> {
        self.report_due
    }

    pub(crate) const fn own_report(&self) -> Option<u32> {
        self.own_report
    }

    /// The source that the far side hears.
    pub(crate) fn sent_ssrc(&self) -> Option<u32> {
        self.sent.map(|sent| sent.ssrc)
    }

    /// What RTCP that came in says to us.
    pub(crate) fn hear(&mut self, now: Instant, said: &Said) {
        self.reports_itself = true;
        self.stats.rtcp_packets = self.stats.rtcp_packets.saturating_add(1);
        if let Some(heard) = said.heard {
            self.heard = Some((heard, now));
        }
        let Some(told) = said.told else { return };
        self.told = Some(told);
        let answered = self.reports.iter().flatten().find(|(middle, _)| *middle == told.last);
        let waited = Duration::from_secs_f64(f64::from(told.since_last) / 65_536.0);
        if let Some((_, sent)) = answered.filter(|_| told.last != 0)
            && let Some(took) = now.saturating_duration_since(*sent).checked_sub(waited)
        {
            self.round_trips.took(took);
        }
    }

    /// A sender report has gone out, ours or one that was passed on.
    pub(crate) fn passed_report(&mut self, now: Instant, ntp_middle: u32) {
        self.reports = [Some((ntp_middle, now)), self.reports[0]];
    }

    /// Writes a report of our own: a sender report if we have sent since the last but one (RFC 3550,
    /// 6.4).
    pub(crate) fn write_report(
        &mut self,
        now: Now,
        slot: &mut PacketBuf,
    ) -> Result<(), DropReason> {
        let sent = self.sent.filter(|sent| sent.packets != sent.reported[1]).map(|sent| {
            let since_s = now.mono.saturating_duration_since(sent.at).as_secs_f64();
            let since = (since_s * f64::from(sent.clock_hz)) as u32;
            SentSoFar {
                wall: now.wall,
                timestamp: sent.timestamp.wrapping_add(since),
                packets: sent.packets,
                octets: sent.octets,
            }
        });
        if let Some(sent) = &mut self.sent {
            sent.reported = [sent.packets, sent.reported[0]];
        }
        self.report_due = Some(now.mono + self.interval());
        let heard = self.heard;
        let block = self.reception.report().map(|reported| {
            let answered = heard.filter(|(heard, _)| heard.ssrc == reported.ssrc);
            let (last, since_last) = answered.map_or((0, 0), |(heard, at)| {
                let since_s = now.mono.saturating_duration_since(at).as_secs_f64();
                (heard.ntp_middle, (since_s * 65_536.0) as u32)
            });
            OwnBlock { reported, last, since_last }
        });
        let ssrc = self.sent.map_or_else(|| self.first_ssrc(), |sent| sent.ssrc);
        let written = rtcp::write(slot, &OwnReport { ssrc, sent, block }, &self.cname())?;
        self.own_report = written.or(self.own_report);
        if let Some(ntp_middle) = written {
            self.passed_report(now.mono, ntp_middle);
        }
        Ok(())
    }

    /// Writes our last report, which says good-bye, if we have said anything before (RFC 3550, 6.3.7).
    pub(crate) fn write_farewell(&mut self, now: Now, slot: &mut PacketBuf) -> Option<()> {
        if !self.wants_reports() || self.sent.is_none() && self.stats.rtcp_generated == 0 {
            return None;
        }
        self.write_report(now, slot).ok()?;
        rtcp::append_bye(slot, self.sent.map_or_else(|| self.first_ssrc(), |sent| sent.ssrc)).ok()
    }
}

impl RoundTrips {
    fn took(&mut self, time: Duration) {
        self.count += 1;
        self.sum += time;
        self.longest = self.longest.max(time);
    }

    pub(super) fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count)
    }
}
