//! Silence: noticed within three seconds on each side, with one cause.

use crate::wire::*;
use media::{Carriage, DropReason, Notice, Order, PacketBuf, Side, Terms, Verdict};
use sdp::{Direction, Silence, Stream};
use std::time::Duration;

impl Call {
    pub(crate) fn answered() -> Self {
        let mut call = Self::new();
        call.forward.order(call.now(), Side::A, &Order::Watch);
        call.noticed();
        call
    }

    /// What is told by now.
    pub(crate) fn noticed(&mut self) -> Vec<(Side, Notice)> {
        let now = self.now();
        while self.forward.generate(now, &mut PacketBuf::new()).is_some() {}
        std::iter::from_fn(|| self.forward.poll_notice()).collect()
    }

    /// What is told until then, and when, as one asks whenever something is due.
    pub(crate) fn told_until(&mut self, ms: u64) -> Vec<(u64, Side, Notice)> {
        let mut told = Vec::new();
        while self.ms < ms {
            let due = self.forward.next_due().map_or(ms, |due| {
                (0..=ms - self.ms)
                    .find(|n| now(self.ms + n).mono >= due)
                    .map_or(ms, |n| self.ms + n)
            });
            self.ms = due.min(ms);
            let at = self.ms;
            told.extend(self.noticed().into_iter().map(|(side, notice)| (at, side, notice)));
            assert!(self.forward.next_due().is_none_or(|due| due > now(at).mono), "it moves on");
        }
        told
    }

    /// Both sides talk for a second.
    fn talk(&mut self, first: u16) {
        for n in first..first + 25 {
            assert_eq!(self.teams_sends(&mut rtp(7, n, 1)), forward_to(Side::B, CARRIER));
            assert_eq!(self.carrier_sends(&mut rtp(8, n, 1)), forward_to(Side::A, TEAMS));
        }
    }
}

fn silent(cause: Silence) -> Notice {
    Notice::Silent(cause)
}

/// Of side B only: A is let be.
fn of_b(told: &[(u64, Side, Notice)]) -> Vec<(u64, Notice)> {
    told.iter()
        .filter(|(_, side, _)| *side == Side::B)
        .map(|(at, _, it)| (*at, it.clone()))
        .collect()
}

#[test]
fn a_call_without_any_packet_is_silent_on_both_sides_after_three_seconds() {
    let mut call = Call::answered();
    let told = call.told_until(20_000);
    let cause = || silent(Silence::NoPackets);
    assert_eq!(told, [(3000, Side::A, cause()), (3000, Side::B, cause())], "once each");
}

#[test]
fn before_the_answer_silence_is_no_news() {
    let mut call = Call::new();
    assert_eq!(call.told_until(30_000), []);
    call.forward.order(call.now(), Side::A, &Order::Watch);
    assert_eq!(call.noticed(), []);
    assert_eq!(call.told_until(32_990), []);
    assert_eq!(call.told_until(33_000).len(), 2);
}

#[test]
fn one_way_audio_is_told_of_the_side_that_is_not_heard_and_so_is_its_return() {
    let mut call = Call::answered();
    call.talk(1);
    let last = call.ms;
    let mut told = Vec::new();
    for n in 26..400 {
        call.teams_sends(&mut rtp(7, n, 1));
        let at = call.ms;
        told.extend(call.noticed().into_iter().map(|it| (at, it)));
    }
    assert_eq!(told, [(last + 3000, (Side::B, silent(Silence::NoPackets)))]);
    call.carrier_sends(&mut rtp(8, 26, 1));
    let heard = Notice::Heard(Duration::from_millis(call.ms - last));
    assert_eq!(call.noticed(), [(Side::B, heard)]);
    let silences = call.forward.stats().b.silence;
    assert_eq!((silences.now, silences.first), (None, Some(Silence::NoPackets)));
    assert_eq!(silences.total, Duration::from_millis(call.ms - last));
    assert_eq!(call.forward.stats().a.silence, media::LegStats::default().silence);
}

#[test]
fn packets_from_elsewhere_are_a_wrong_source_and_a_few_strays_are_not() {
    let mut call = Call::answered();
    let mut told = Vec::new();
    for n in 0..200 {
        assert_eq!(
            call.comes(Side::B, STRANGER, &mut rtp(8, n, 1)),
            Verdict::Drop(DropReason::Unlatched)
        );
        told.extend(call.noticed());
    }
    assert!(told.contains(&(Side::B, silent(Silence::WrongSource))));
    assert!(told.contains(&(Side::A, silent(Silence::NoPackets))));
    let mut call = Call::answered();
    for n in 0..5 {
        call.comes(Side::B, STRANGER, &mut rtp(8, n, 1));
    }
    assert_eq!(of_b(&call.told_until(10_000)), [(3000, silent(Silence::NoPackets))]);
}

#[test]
fn packets_under_another_key_are_authentication_failed() {
    let mut call = Call::answered();
    call.talk(1);
    let mut told = Vec::new();
    for n in 30..200 {
        // As plain RTP.
        let verdict = call.comes(Side::A, TEAMS, &mut rtp(7, n, 1));
        assert_eq!(verdict, Verdict::Drop(DropReason::BadTag));
        told.extend(call.noticed());
    }
    assert!(told.contains(&(Side::A, silent(Silence::BadTag))), "{told:?}");
}

#[test]
fn packets_of_a_payload_type_that_leads_nowhere_are_told_as_that() {
    let (mut teams, mut carrier) = (teams_stream(), carrier_stream());
    teams.payloads = vec![payload(8, "PCMA"), payload(101, "telephone-event")];
    carrier.payloads = vec![payload(8, "PCMA"), payload(101, "iLBC")];
    let mut call = Call::unconnected();
    call.connect(&teams, &carrier);
    call.forward.order(call.now(), Side::A, &Order::Watch);
    let mut told = Vec::new();
    for n in 0..200 {
        let verdict = call.carrier_sends(&mut rtp_of(101, 8, n, u32::from(n) * 160, 0));
        assert_eq!(verdict, Verdict::Drop(DropReason::Malformed));
        told.extend(call.noticed());
    }
    assert!(told.contains(&(Side::B, silent(Silence::PayloadType))), "{told:?}");
}

#[test]
fn nothing_from_a_side_whose_sdp_names_a_private_address_is_put_down_to_that() {
    let mut call = Call::unconnected();
    let carrier = stream("10.0.0.7:4000", None);
    let terms = Terms { unroutable: true, ..Terms::default() };
    call.forward.connect(leg(&teams_stream()), Some(Carriage { stream: carrier, terms }));
    call.forward.order(call.now(), Side::A, &Order::Watch);
    call.noticed();
    assert_eq!(of_b(&call.told_until(9000)), [(3000, silent(Silence::PrivateAddress))]);
    // Once something has come from there, the address cannot be it.
    call.comes(Side::B, "10.0.0.7:4000", &mut rtp(8, 1, 1));
    call.noticed();
    let last = call.ms;
    let told = of_b(&call.told_until(last + 9000));
    assert_eq!(told, [(last + 3000, silent(Silence::NoPackets))]);
}

/// TDR-COD-008
#[test]
fn a_side_that_goes_on_with_rtcp_is_muted_and_when_that_ends_too_gone() {
    let mut call = Call::answered();
    call.talk(1);
    let last = call.ms;
    let report = |call: &mut Call| {
        let mut packet = slot(&[0x80, 201, 0, 1, 0, 0, 0, 8]);
        let verdict = call.comes_rtcp(Side::B, "192.0.2.10:4001", &mut packet);
        assert!(matches!(verdict, Verdict::Forward { .. }));
    };
    let mut told = Vec::new();
    for round in 0..6 {
        report(&mut call);
        told.extend(of_b(&call.told_until(last + 5000 * (round + 1))));
    }
    assert_eq!(told, [(last + 3000, silent(Silence::Muted))]);
    let since = call.ms - 5000;
    let told = of_b(&call.told_until(since + 20_000));
    let [(at, cause)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(*cause, silent(Silence::NoPackets));
    assert_eq!(*at, since + 7600, "as soon as the next report is overdue");
    let silences = call.forward.stats().b.silence;
    assert_eq!(silences.first, Some(Silence::NoPackets), "the first fault is what is recorded");
}

fn held(stream: Stream, direction: Direction) -> Stream {
    Stream { direction, ..stream }
}

#[test]
fn a_hold_is_told_at_once_and_is_no_fault_and_resume_gives_time_anew() {
    let mut call = Call::answered();
    call.talk(1);
    call.connect(
        &held(teams_stream(), Direction::Inactive),
        &held(carrier_stream(), Direction::Inactive),
    );
    let cause = || silent(Silence::Held);
    assert_eq!(call.noticed(), [(Side::A, cause()), (Side::B, cause())]);
    let began = call.ms;
    // Packets on their way change nothing.
    call.carrier_sends(&mut rtp(8, 26, 1));
    assert_eq!(call.told_until(began + 60_000), []);
    call.connect(&teams_stream(), &carrier_stream());
    let heard = || Notice::Heard(Duration::from_secs(60));
    assert_eq!(call.noticed(), [(Side::A, heard()), (Side::B, heard())]);
    let resumed = call.ms;
    let told = call.told_until(resumed + 9000);
    let cause = || silent(Silence::NoPackets);
    assert_eq!(told, [(resumed + 3000, Side::A, cause()), (resumed + 3000, Side::B, cause())]);
}

#[test]
fn music_while_one_side_holds_leaves_only_the_held_one_silent() {
    let mut call = Call::answered();
    call.talk(1);
    call.connect(
        &held(teams_stream(), Direction::RecvOnly),
        &held(carrier_stream(), Direction::SendOnly),
    );
    let mut told = call.noticed();
    for n in 26..400 {
        call.teams_sends(&mut rtp(7, n, 1));
        told.extend(call.noticed());
    }
    assert_eq!(told, [(Side::B, silent(Silence::Held))]);
}

/// A call of which leg B's trunk ends what is dead for a minute.
fn with_timeout() -> Call {
    let mut call = Call::unconnected();
    let terms = Terms { media_timeout: Some(Duration::from_secs(60)), ..Terms::default() };
    call.forward.connect(leg(&teams_stream()), Some(Carriage { stream: carrier_stream(), terms }));
    call.forward.order(call.now(), Side::A, &Order::Watch);
    call
}

fn deaths(told: &[(u64, Side, Notice)]) -> Vec<u64> {
    told.iter().filter(|(.., notice)| *notice == Notice::Dead).map(|(at, ..)| *at).collect()
}

#[test]
fn a_call_of_which_both_sides_are_dead_is_told_of_and_again() {
    let mut call = with_timeout();
    call.talk(1);
    let last = call.ms;
    let told = call.told_until(last + 200_000);
    assert_eq!(deaths(&told), [last + 60_000, last + 120_000, last + 180_000]);
}

/// TDR-COD-008
#[test]
fn one_side_that_lives_be_it_by_rtcp_keeps_the_call() {
    let mut call = with_timeout();
    call.talk(1);
    for round in 0..60 {
        let mut packet = slot(&[0x80, 201, 0, 1, 0, 0, 0, 7]);
        call.teams.protect_rtcp(&mut packet).unwrap();
        call.comes(Side::A, TEAMS, &mut packet);
        let until = 5000 * (round + 1);
        assert_eq!(deaths(&call.told_until(until)), [], "Teams is muted");
    }
}

#[test]
fn a_held_call_never_dies_and_after_the_hold_it_has_its_time_anew() {
    let mut call = with_timeout();
    call.talk(1);
    let terms = Terms { media_timeout: Some(Duration::from_secs(60)), ..Terms::default() };
    let carrier = |direction| {
        Some(Carriage { stream: held(carrier_stream(), direction), terms: terms.clone() })
    };
    call.forward.connect(None, carrier(Direction::Inactive));
    assert_eq!(deaths(&call.told_until(3_600_000)), []);
    call.forward.connect(None, carrier(Direction::SendRecv));
    call.noticed();
    assert_eq!(deaths(&call.told_until(3_600_000 + 100_000)), [3_660_000]);
}

#[test]
fn without_a_timeout_a_dead_call_is_silent_and_goes_on() {
    let mut call = Call::answered();
    assert_eq!(deaths(&call.told_until(600_000)), []);
}
