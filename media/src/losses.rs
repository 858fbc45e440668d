//! How loss was spread over a stream: bursts and gaps (RFC 3611, 4.7.2), told one packet after the other.

use sdp::Bursts;
use std::time::Duration;

/// So many good packets in a row end a burst (RFC 3611, 4.7.2 recommends 16).
const GMIN: u32 = 16;

/// What is known of a stream's losses so far.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Losses {
    packets: u64,
    /// Good packets since the last lost one.
    good: u32,
    /// The losses that may yet be of one burst, and the packets from the first to the last of them.
    open_lost: u64,
    open_packets: u64,
    /// Bursts that are over.
    bursts: u64,
    burst_lost: u64,
    burst_packets: u64,
    lost: u64,
    /// Times that a good packet was followed by a lost one.
    runs: u64,
}

impl Losses {
    /// What a packet that came touches of it ends here.
    pub(crate) const fn touched_to(&self) -> &u32 {
        &self.good
    }

    #[inline]
    pub(crate) fn came(&mut self) {
        self.packets += 1;
        self.good = self.good.saturating_add(1);
    }

    /// So many were lost in a row.
    #[cold]
    pub(crate) fn lost(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        if self.good > 0 || self.lost == 0 {
            self.runs += 1;
        }
        if self.good >= GMIN || self.open_lost == 0 {
            self.close();
        } else {
            self.open_packets += u64::from(self.good);
        }
        self.good = 0;
        self.open_lost += count;
        self.open_packets += count;
        self.packets += count;
        self.lost += count;
    }

    /// What may have become a burst is one if it has more than one loss.
    fn close(&mut self) {
        if self.open_lost > 1 {
            self.bursts += 1;
            self.burst_lost += self.open_lost;
            self.burst_packets += self.open_packets;
        }
        (self.open_lost, self.open_packets) = (0, 0);
    }

    /// How much longer runs of lost packets were than those of random loss: `BurstR` of G.107.
    pub(crate) fn burst_ratio(&self) -> f64 {
        if self.runs == 0 || self.packets == 0 {
            return 1.0;
        }
        let mean_run = self.lost as f64 / self.runs as f64;
        mean_run * (1.0 - self.lost as f64 / self.packets as f64)
    }

    /// With packets of this length.
    pub(crate) fn bursts(mut self, packet_s: f64) -> Bursts {
        self.close();
        let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
        let gap_packets = self.packets - self.burst_packets;
        let mean = |packets: u64, of: u64| Duration::from_secs_f64(share(packets, of) * packet_s);
        Bursts {
            count: self.bursts,
            burst_density: share(self.burst_lost, self.burst_packets),
            gap_density: share(self.lost - self.burst_lost, gap_packets),
            burst_length: mean(self.burst_packets, self.bursts),
            // There is one before the first burst, and one after the last.
            gap_length: mean(gap_packets, self.bursts + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `.` came, `x` was lost.
    fn of(text: &str) -> Losses {
        let mut losses = Losses::default();
        for packet in text.bytes() {
            match packet {
                b'x' => losses.lost(1),
                _ => losses.came(),
            }
        }
        losses
    }

    fn good(count: usize) -> String {
        ".".repeat(count)
    }

    #[test]
    fn two_losses_with_fifteen_between_are_a_burst_and_with_sixteen_are_none() {
        let near = of(&format!("{}x{}x{}", good(20), good(15), good(20))).bursts(0.02);
        assert_eq!((near.count, near.burst_length), (1, Duration::from_millis(17 * 20)));
        assert!((near.burst_density - 2.0 / 17.0).abs() < 1e-9);
        assert!(near.gap_density.abs() < 1e-9);
        let far = of(&format!("{}x{}x{}", good(20), good(16), good(20))).bursts(0.02);
        assert_eq!(far.count, 0);
        assert!((far.gap_density - 2.0 / 58.0).abs() < 1e-9);
    }

    #[test]
    fn gap_and_burst_lengths_add_up_to_the_call() {
        let losses = of(&format!("{}xx.xx{}x{}xxx{}", good(100), good(50), good(50), good(100)));
        let bursts = losses.bursts(0.02);
        assert_eq!(bursts.count, 2);
        assert_eq!(bursts.burst_length, Duration::from_millis(4 * 20));
        assert_eq!(bursts.gap_length, Duration::from_secs_f64(301.0 / 3.0 * 0.02));
        assert!((bursts.burst_density - 7.0 / 8.0).abs() < 1e-9);
        assert!((bursts.gap_density - 1.0 / 301.0).abs() < 1e-9);
    }

    #[test]
    fn many_lost_at_once_are_the_same_as_one_by_one() {
        let (mut one, mut all) = (of(&good(30)), of(&good(30)));
        all.lost(40);
        (0..40).for_each(|_| one.lost(1));
        assert_eq!(one.bursts(0.02), all.bursts(0.02));
        assert!((one.burst_ratio() - all.burst_ratio()).abs() < 1e-9);
        assert!(all.burst_ratio() > 10.0);
    }

    #[test]
    fn random_loss_has_a_ratio_of_about_one() {
        let (mut losses, mut state) = (Losses::default(), 7u32);
        for _ in 0..100_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match state >> 16 < 65_536 / 20 {
                true => losses.lost(1),
                false => losses.came(),
            }
        }
        assert!((losses.burst_ratio() - 1.0).abs() < 0.03, "{}", losses.burst_ratio());
        assert!((Losses::default().burst_ratio() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_stream_without_loss_is_one_gap() {
        let bursts = of(&good(50)).bursts(0.02);
        assert_eq!(bursts.gap_length, Duration::from_secs(1));
        assert_eq!(Losses::default().bursts(0.02), Bursts::default());
    }
}
