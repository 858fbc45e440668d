//! Re-INVITEs: hold, resume, keys that change and keys that stay.

use crate::wire::*;
use media::srtp::{Receiver, Sender};
use media::{Carriage, DropReason, Side, Terms, Verdict};
use sdp::{Direction, SrtpKey};

#[test]
fn one_way_hold_lets_only_the_holder_speak_and_is_no_loss() {
    let mut call = Call::new();
    call.carrier_sends(&mut rtp(8, 1, 1));
    call.teams_sends(&mut rtp(7, 1, 1));
    // Teams holds with music: it sends only.
    let (mut teams, mut carrier) = (teams_stream(), carrier_stream());
    teams.direction = Direction::RecvOnly;
    carrier.direction = Direction::SendOnly;
    call.connect(&teams, &carrier);
    for n in 2..50 {
        assert_eq!(call.carrier_sends(&mut rtp(8, n, 1)), Verdict::Consumed);
        assert_eq!(call.teams_sends(&mut rtp(7, n, 1)), forward_to(Side::B, CARRIER));
    }
    call.connect(&teams_stream(), &carrier_stream());
    assert_eq!(call.carrier_sends(&mut rtp(8, 50, 1)), forward_to(Side::A, TEAMS));
    let stats = call.forward.stats();
    assert_eq!((stats.a.lost_packets, stats.b.lost_packets), (0, 0));
    assert_eq!((stats.b.received_packets, stats.a.sent_packets), (2, 2));
    assert_eq!(stats.b.drops, [0; DropReason::ALL.len()]);
}

#[test]
fn media_of_a_leg_that_has_agreed_to_be_silent_goes_nowhere() {
    let mut call = Call::new();
    let mut teams = teams_stream();
    teams.direction = Direction::SendOnly;
    call.connect(&teams, &carrier_stream());
    assert_eq!(call.teams_sends(&mut rtp(7, 1, 1)), Verdict::Consumed);
    assert_eq!(call.carrier_sends(&mut rtp(8, 1, 1)), forward_to(Side::A, TEAMS));
}

#[test]
fn hold_by_a_null_address_keeps_the_latch() {
    let mut call = Call::new();
    call.teams.protect(&mut rtp(7, 1, 1)).unwrap();
    let mut packet = rtp(7, 2, 2);
    call.teams.protect(&mut packet).unwrap();
    call.comes(Side::A, "52.112.7.7:3480", &mut packet);
    let mut held = teams_stream();
    held.direction = Direction::Inactive;
    (held.remote_rtp, held.remote_rtcp) = (None, None);
    call.connect(&held, &carrier_stream());
    assert_eq!(call.carrier_sends(&mut rtp(8, 1, 1)), Verdict::Consumed);
    call.connect(&teams_stream(), &carrier_stream());
    assert_eq!(call.carrier_sends(&mut rtp(8, 2, 1)), forward_to(Side::A, "52.112.7.7:3480"));
}

#[test]
fn a_far_side_without_an_address_is_sent_nothing() {
    let mut call = Call::unconnected();
    let mut nowhere = carrier_stream();
    (nowhere.remote_rtp, nowhere.remote_rtcp) = (None, None);
    call.connect(&teams_stream(), &nowhere);
    assert_eq!(call.teams_sends(&mut rtp(7, 1, 1)), Verdict::Consumed);
}

#[test]
fn roc_wraps_in_hold() {
    let mut call = Call::new();
    let mut sequence = 30_000u16;
    let mut next = || {
        sequence = sequence.wrapping_add(1);
        sequence
    };
    call.teams_sends(&mut rtp(7, next(), 1));
    let mut held = (teams_stream(), carrier_stream());
    held.0.direction = Direction::Inactive;
    held.1.direction = Direction::Inactive;
    call.connect(&held.0, &held.1);
    // Teams goes on all through the hold, past the rollover and beyond half a round.
    for _ in 0..70_000 {
        assert_eq!(call.teams_sends(&mut rtp(7, next(), 1)), Verdict::Consumed);
    }
    call.connect(&teams_stream(), &carrier_stream());
    let mut packet = rtp(7, next(), 42);
    assert_eq!(call.teams_sends(&mut packet), forward_to(Side::B, CARRIER));
    assert_eq!(mark_of(&packet), 42);
    assert_eq!(call.forward.stats().a.lost_packets, 0);
}

/// Takes both directions to ROC 1.
fn wrapped_call() -> Call {
    let mut call = Call::new();
    for sequence in [30_000, 60_000, 10, 11] {
        assert_eq!(call.teams_sends(&mut rtp(7, sequence, 1)), forward_to(Side::B, CARRIER));
        assert_eq!(call.carrier_sends(&mut rtp(8, sequence, 1)), forward_to(Side::A, TEAMS));
    }
    call
}

/// TDR-SRTP-002
#[test]
fn same_key_keeps_roc_and_replay_window() {
    let mut call = wrapped_call();
    let mut old = rtp(7, 12, 1);
    assert_eq!(call.teams_sends(&mut old), forward_to(Side::B, CARRIER));
    let mut teams = teams_stream();
    teams.remote_rtp = Some(addr("52.112.9.9:50000")); // only the address changes
    call.connect(&teams, &carrier_stream());
    let mut again = rtp(7, 13, 1);
    call.teams.protect(&mut again).unwrap();
    let mut replayed = again.clone();
    assert_eq!(call.comes(Side::A, TEAMS, &mut again), forward_to(Side::B, CARRIER));
    call.connect(&teams_stream(), &carrier_stream());
    let verdict = call.comes(Side::A, TEAMS, &mut replayed);
    assert_eq!(verdict, Verdict::Drop(DropReason::Replay));
    // Ours: the far side's receiver, at ROC 1, still reads.
    assert_eq!(call.carrier_sends(&mut rtp(8, 12, 1)), forward_to(Side::A, TEAMS));
}

/// TDR-DLG-014, TDR-SRTP-002
#[test]
fn key_change_resets_roc_in_each_direction_by_itself() {
    let mut call = wrapped_call();
    let mut teams = teams_stream();
    teams.crypto.as_mut().unwrap().remote = vec![key(9)];
    call.connect(&teams, &carrier_stream());
    let mut under_old = rtp(7, 14, 1);
    call.teams.protect(&mut under_old).unwrap();
    call.teams = Sender::new(&key(9), 1);
    assert_eq!(call.teams_sends(&mut rtp(7, 15, 3)), forward_to(Side::B, CARRIER));
    // What is on its way is heard for five seconds.
    call.ms += 5000;
    let verdict = call.comes(Side::A, TEAMS, &mut under_old);
    assert_eq!(verdict, Verdict::Drop(DropReason::BadTag));
    // Our key stayed, and its ROC with it.
    assert_eq!(call.carrier_sends(&mut rtp(8, 12, 1)), forward_to(Side::A, TEAMS));

    teams.crypto.as_mut().unwrap().local = key(10);
    call.connect(&teams, &carrier_stream());
    call.teams_hears = Receiver::new(&[key(10)]);
    assert_eq!(call.carrier_sends(&mut rtp(8, 13, 1)), forward_to(Side::A, TEAMS));
}

/// TDR-XFR-016
#[test]
fn who_has_left_the_call_is_not_heard_for_as_long_as_a_key_that_was_changed() {
    let mut call = wrapped_call();
    let carry = |call: &mut Call, far_side: u32, remote: SrtpKey| {
        let mut teams = teams_stream();
        teams.crypto.as_mut().unwrap().remote = vec![remote];
        let terms = Terms { far_side, ..Terms::default() };
        call.forward.connect(Some(Carriage { stream: teams, terms }), leg(&carrier_stream()));
    };
    let mut under_old = rtp(7, 14, 1);
    call.teams.protect(&mut under_old).unwrap();
    carry(&mut call, 1, key(9));
    let verdict = call.comes(Side::A, TEAMS, &mut under_old);
    assert_eq!(verdict, Verdict::Drop(DropReason::BadTag));
    call.teams = Sender::new(&key(9), 1);
    assert_eq!(call.teams_sends(&mut rtp(7, 15, 3)), forward_to(Side::B, CARRIER));
}

#[test]
fn a_key_that_comes_back_after_plain_rtp_goes_on_where_it_was() {
    let mut call = wrapped_call();
    let mut sent = rtp(8, 12, 1);
    call.comes(Side::B, CARRIER, &mut sent);
    let mut replayed = rtp(7, 12, 1);
    call.teams.protect(&mut replayed).unwrap();
    call.comes(Side::A, TEAMS, &mut replayed.clone());

    call.connect(&stream(TEAMS, None), &carrier_stream());
    call.comes(Side::B, CARRIER, &mut rtp(8, 13, 1));
    call.connect(&teams_stream(), &carrier_stream());

    // The same sequence number with other content must not go out under the same index.
    let verdict = call.comes(Side::B, CARRIER, &mut rtp(8, 12, 99));
    assert_eq!(verdict, Verdict::Drop(DropReason::Replay));
    let verdict = call.comes(Side::A, TEAMS, &mut replayed);
    assert_eq!(verdict, Verdict::Drop(DropReason::Replay));
    assert_eq!(call.carrier_sends(&mut rtp(8, 14, 1)), forward_to(Side::A, TEAMS));
}

/// TDR-SRTP-002
#[test]
fn a_new_ssrc_without_a_re_invite_starts_at_roc_0() {
    let mut call = wrapped_call();
    assert_eq!(call.teams_sends(&mut rtp(77, 5, 1)), forward_to(Side::B, CARRIER));
    assert_eq!(call.teams_sends(&mut rtp(7, 12, 1)), forward_to(Side::B, CARRIER));
}

#[test]
fn connecting_one_leg_anew_leaves_the_other() {
    let mut call = wrapped_call();
    let mut carrier = carrier_stream();
    carrier.remote_rtp = Some(addr("192.0.2.99:7000"));
    call.forward.connect(None, leg(&carrier));
    assert_eq!(call.teams_sends(&mut rtp(7, 12, 1)), forward_to(Side::B, "192.0.2.99:7000"));
    let verdict = call.comes(Side::B, CARRIER, &mut rtp(8, 12, 1));
    assert_eq!(verdict, Verdict::Drop(DropReason::Unlatched));
    let verdict = call.comes(Side::B, "192.0.2.99:7000", &mut rtp(8, 12, 1));
    assert_eq!(verdict, forward_to(Side::A, TEAMS));
}
