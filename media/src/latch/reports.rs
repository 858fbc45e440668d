//! Which source an RTCP port believes. It follows the stream of its leg: no source is tried here.

use super::Latch;
use crate::LatchPolicy;
use std::net::SocketAddr;

/// The latch of one leg's RTCP port. What goes for its stream goes for it, so it is told `rtp`, the latch
/// of that.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportsLatch {
    /// Who was heard here; `None`: nobody.
    owner: Option<SocketAddr>,
    signalled: Option<SocketAddr>,
}

impl ReportsLatch {
    /// Takes a new negotiation. Another address ends what was; none at all says nothing.
    pub fn renegotiate(&mut self, signalled: Option<SocketAddr>) {
        if signalled.is_some() && signalled != self.signalled {
            *self = Self { owner: None, signalled };
        }
    }

    /// Where our reports go.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.owner.or(self.signalled)
    }

    /// Whether a source that was not signalled may begin a handshake.
    pub fn is_open_to_strangers(&self, rtp: &Latch) -> bool {
        rtp.policy == LatchPolicy::Symmetric && self.owner.is_none()
    }

    /// An authentic packet that is the newest of its source came from here ([`Latch::follow`]).
    pub fn follow(&mut self, from: SocketAddr, rtp: &Latch) {
        if self.signalled == Some(from) || rtp.may_be_at(from.ip()) {
            self.owner = Some(from);
        }
    }

    /// Whether a plain RTCP packet of `ssrc` is believed: from the signalled address, or under
    /// [`LatchPolicy::Symmetric`] from the host that owns the RTP stream, if it is sent as that stream
    /// is: others may be behind the same NAT.
    pub fn admits(&mut self, from: SocketAddr, ssrc: Option<u32>, rtp: &Latch) -> bool {
        let learned = rtp.policy == LatchPolicy::Symmetric && rtp.is_sent(from.ip(), ssrc);
        let believed = match self.owner {
            Some(owner) if owner == from => return true,
            // The stream has another host by now.
            Some(owner) => learned && owner.ip() != from.ip(),
            None => self.signalled == Some(from) || learned,
        };
        if believed {
            self.owner = Some(from);
        }
        believed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, zero as start};
    use sdp::Terms;
    use std::time::{Duration, Instant};

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn signalled(address: &str) -> ReportsLatch {
        let mut latch = ReportsLatch::default();
        latch.renegotiate(Some(at(address)));
        latch
    }

    fn learn(latch: &mut Latch, from: Instant, source: SocketAddr) {
        let mut packets = (0..10).map(|n: u16| (from + ms(20) * u32::from(n), 100 + n));
        assert!(packets.any(|(at, sequence)| latch.admits(at, source, 7, sequence)), "{source}");
    }

    #[test]
    fn rtcp_from_another_host_or_of_another_source_is_not_believed_even_when_symmetric() {
        let symmetric = Terms::latching(LatchPolicy::Symmetric);
        let mut rtp = Latch::new(&symmetric, Some(at("10.0.0.1:4000")));
        let mut rtcp = signalled("10.0.0.1:4001");
        let nat = at("198.51.100.1:61001");
        assert!(!rtcp.admits(nat, Some(7), &rtp));
        learn(&mut rtp, start(), at("198.51.100.1:61000"));
        assert!(!rtcp.admits(at("203.0.113.9:61001"), Some(7), &rtp));
        assert!(!rtcp.admits(at("198.51.100.1:9"), Some(8), &rtp), "a neighbour behind the NAT");
        assert!(!rtcp.admits(at("198.51.100.1:9"), None, &rtp));
        assert!(rtcp.admits(nat, Some(7), &rtp));
        assert!(!rtcp.admits(at("198.51.100.1:61003"), Some(7), &rtp));
        assert_eq!(rtcp.destination(), Some(nat));
    }

    #[test]
    fn rtcp_moves_with_a_stream_that_has_moved_to_another_host() {
        let terms = Terms {
            relatch_after: Some(Duration::from_secs(5)),
            ..Terms::latching(LatchPolicy::Symmetric)
        };
        let mut rtp = Latch::new(&terms, Some(at("10.0.0.1:4000")));
        let mut rtcp = signalled("10.0.0.1:4001");
        learn(&mut rtp, start(), at("198.51.100.1:61000"));
        assert!(rtcp.admits(at("198.51.100.1:61001"), Some(7), &rtp));
        learn(&mut rtp, start() + ms(9000), at("198.51.100.2:40000"));
        assert!(!rtcp.admits(at("203.0.113.9:1"), Some(7), &rtp));
        assert!(rtcp.admits(at("198.51.100.2:40001"), Some(7), &rtp));
    }
}
