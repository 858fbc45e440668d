//! The packet index, which RTP carries only the low half of (RFC 3711, 3.3.1).

/// ROC * 2^16 + SEQ, 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketIndex(u64);

impl PacketIndex {
    /// One past the last index a key may be used for (RFC 3711, 9.2).
    const END: u64 = 1 << 48;

    /// The index of `sequence` under rollover counter `roc`.
    pub const fn new(roc: u32, sequence: u16) -> Self {
        Self((roc as u64) << 16 | sequence as u64)
    }

    /// Picks the index nearest to this one, the highest authenticated so far (RFC 3711, 3.3.1).
    /// `None` where it would lie before the first index or behind the last.
    pub fn nearest(self, sequence: u16) -> Option<Self> {
        let ahead = match sequence.wrapping_sub(self.sequence()) as i16 {
            // Exactly half way round both are as near; the RFC then stays in the same ROC.
            i16::MIN => i64::from(sequence) - i64::from(self.sequence()),
            ahead => i64::from(ahead),
        };
        self.0.checked_add_signed(ahead).filter(|&index| index < Self::END).map(Self)
    }

    /// The rollover counter.
    pub const fn roc(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The sequence number.
    pub const fn sequence(self) -> u16 {
        self.0 as u16
    }

    /// All 48 bits.
    pub const fn get(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_packet_after_the_wrap_has_the_old_roc() {
        let highest = PacketIndex::new(1, 2);
        assert_eq!(highest.nearest(65_534), Some(PacketIndex::new(0, 65_534)));
        assert_eq!(highest.nearest(3), Some(PacketIndex::new(1, 3)));
    }

    #[test]
    fn the_wrap_itself_counts_one_up() {
        assert_eq!(PacketIndex::new(0, 65_535).nearest(0), Some(PacketIndex::new(1, 0)));
        assert_eq!(PacketIndex::new(6, 65_000).nearest(9), Some(PacketIndex::new(7, 9)));
    }

    #[test]
    fn nothing_lies_before_the_first_or_behind_the_last_index() {
        assert_eq!(PacketIndex::new(0, 1).nearest(65_535), None);
        assert_eq!(PacketIndex::new(u32::MAX, 65_535).nearest(0), None);
    }

    #[test]
    fn half_way_round_stays_in_the_same_roc_as_the_rfc_has_it() {
        assert_eq!(PacketIndex::new(3, 1).nearest(32_769), Some(PacketIndex::new(3, 32_769)));
        assert_eq!(PacketIndex::new(3, 40_000).nearest(7_232), Some(PacketIndex::new(3, 7_232)));
    }
}
