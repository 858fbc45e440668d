//! Looks at a packet that came back: the right payload, and under the right key where there is one.

use super::live::Sample;
use super::order::{Order, Ready, Relay, Suite};
use super::wire::{RTP_LEN, plain};
use crate::libsrtp::Libsrtp;
use media::{PacketBuf, srtp};

/// What opens packets: libsrtp, or our own receiver where that is not installed.
pub(super) struct Opener(Option<Libsrtp>);

impl Opener {
    pub(super) fn new() -> Self {
        Self(Libsrtp::load())
    }

    pub(super) fn name(&self) -> &'static str {
        if self.0.is_some() { "libsrtp" } else { "our own receiver" }
    }

    fn open(&self, suite: Suite, octets: &[u8], packet: &[u8]) -> Option<Vec<u8>> {
        if let Some(libsrtp) = &self.0 {
            return libsrtp.open(suite, octets, packet);
        }
        let mut slot = PacketBuf::new();
        slot.set_len(packet.len());
        slot.packet_mut().copy_from_slice(packet);
        srtp::Receiver::new(&[suite.key(octets)]).unprotect(&mut slot).ok()?;
        Some(slot.packet().to_vec())
    }
}

/// Whether a packet of this tick is what the far side of its leg was to get.
pub(super) fn is_whole(
    opener: &Opener,
    order: &Order,
    ready: &Ready,
    sample: &Sample,
    tick: u32,
) -> bool {
    let (call, side) = (sample.call, sample.side);
    let wanted = plain(1 - side, tick as u16);
    // The floor passes on what it got, under the key it came with.
    let under = match order.relay {
        Relay::Floor => order.legs.is_encrypted(1 - side).then(|| order.suite.far_key(1 - side)),
        _ => ready.keys[call][side].clone(),
    };
    match under {
        None => same(&sample.octets, &wanted),
        Some(octets) => {
            let opened = opener.open(order.suite, &octets, &sample.octets);
            opened.is_some_and(|opened| same(&opened, &wanted))
        }
    }
}

/// A relay may have its own SSRC and time, but speech stays as it was.
fn same(packet: &[u8], wanted: &[u8; RTP_LEN]) -> bool {
    packet.len() == RTP_LEN && packet[..4] == wanted[..4] && packet[12..] == wanted[12..]
}
