//! Who is heard in a transfer: never one that has left the call.

use crate::hold_dialects::says;
use crate::transfer::{CLARA, is_accepted, is_told};
use callflow::script::{carrier_calls_teams, hang_up};
use callflow::{Who, World, sdp_text};
use std::net::SocketAddr;

/// The key and salt of the target: octets 30 to 59.
const CLARAS: &str = "Hh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7";

/// How many of ten packets under this key reach the carrier.
fn heard(world: &mut World, way: (SocketAddr, SocketAddr), key: u8, first: u16) -> usize {
    world.packets(Who::Colt.media());
    says(world, way, key, first);
    world.packets(Who::Colt.media()).len()
}

/// TDR-XFR-016.
#[test]
fn a_transferor_is_not_heard_any_more_once_the_target_is() {
    for early in [false, true] {
        let mut world = World::new(1);
        let (caller, mut anna) = carrier_calls_teams(&mut world);
        let ports = world.core().calls(world.now())[0].ports.expect("media is open");
        // Both behind the same media processor.
        let way = (Who::Sip.media(), World::our_media(ports.1));
        assert_eq!(heard(&mut world, way, 0, 1), 10);
        let mut clara = is_accepted(&mut world, &mut anna, CLARA);
        assert_eq!(heard(&mut world, way, 0, 11), 10, "she is still there");
        let sdp = sdp_text::teams(Who::Sip.media()).replace(sdp_text::KEY, CLARAS);
        let invite = clara.invite.clone();
        if early {
            let sdp = sdp.clone();
            clara.answer(&mut world, &invite, 183, |it| it.set_body("application/sdp", sdp));
            is_told(&mut world, &anna, "183 Session Progress", "active;expires=60");
            assert_eq!(heard(&mut world, way, 30, 1), 10);
            assert_eq!(heard(&mut world, way, 0, 21), 0, "the target is heard in her place");
        }
        clara.agrees(&mut world, &invite, sdp);
        clara.gets(&mut world, "ACK");
        is_told(&mut world, &anna, "200 OK", "terminated;reason=noresource");
        assert_eq!(heard(&mut world, way, 30, 11), 10);
        assert_eq!(heard(&mut world, way, 0, 31), 0);
        anna.hangs_up(&mut world);
        hang_up(&mut world, &mut clara, &caller);
    }
}

/// TDR-XFR-018.
#[test]
fn a_transferor_is_heard_again_at_once_where_the_target_only_rang_and_the_target_is_not() {
    let mut world = World::new(1);
    let (caller, mut anna) = carrier_calls_teams(&mut world);
    let ports = world.core().calls(world.now())[0].ports.expect("media is open");
    let way = (Who::Sip.media(), World::our_media(ports.1));
    assert_eq!(heard(&mut world, way, 0, 1), 10);
    let clara = is_accepted(&mut world, &mut anna, CLARA);
    let sdp = sdp_text::teams(Who::Sip.media()).replace(sdp_text::KEY, CLARAS);
    let invite = clara.invite.clone();
    clara.answer(&mut world, &invite, 183, |it| it.set_body("application/sdp", sdp));
    is_told(&mut world, &anna, "183 Session Progress", "active;expires=60");
    assert_eq!(heard(&mut world, way, 30, 1), 10);
    clara.reply(&mut world, 486);
    is_told(&mut world, &anna, "486 Busy Here", "terminated;reason=noresource");
    assert_eq!(heard(&mut world, way, 0, 11), 10);
    assert_eq!(heard(&mut world, way, 30, 11), 0);
    hang_up(&mut world, &mut anna, &caller);
}
