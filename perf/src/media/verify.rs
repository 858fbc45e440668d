//! Looks at a packet that came back: the right payload, and under the right key where there is one.

use super::live::Sample;
use super::order::{Order, Ready, Relay, far_key, key};
use super::wire::{RTP_LEN, plain};
use media::{PacketBuf, srtp};

/// Whether a packet of this tick is what the far side of its leg was to get.
pub(super) fn is_whole(order: &Order, ready: &Ready, sample: &Sample, tick: u32) -> bool {
    let (call, side) = (sample.call, sample.side);
    let wanted = plain(1 - side, tick as u16);
    // The floor passes on what it got, under the key it came with.
    let under = match order.relay {
        Relay::Floor => order.legs.is_encrypted(1 - side).then(|| far_key(1 - side).to_vec()),
        _ => ready.keys[call][side].clone(),
    };
    match under {
        None => same(&sample.octets, &wanted),
        Some(octets) => <[u8; 30]>::try_from(octets).is_ok_and(|octets| {
            let mut slot = PacketBuf::new();
            slot.set_len(sample.octets.len());
            slot.packet_mut().copy_from_slice(&sample.octets);
            let opened = srtp::Receiver::new(&[key(octets)]).unprotect(&mut slot);
            opened.is_ok() && same(slot.packet(), &wanted)
        }),
    }
}

/// A relay may have its own SSRC and time, but speech stays as it was.
fn same(packet: &[u8], wanted: &[u8; RTP_LEN]) -> bool {
    packet.len() == RTP_LEN && packet[..4] == wanted[..4] && packet[12..] == wanted[12..]
}
