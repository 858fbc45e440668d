//! The caller gives up, and what crosses his CANCEL.

use callflow::plan::{CONTOSO, PSTN};
use callflow::script::hang_up;
use callflow::{Party, Who, World, ms, secs};
use sip_core::{Method, Name};

/// TDR-DLG-042, TDR-FO-014.
#[test]
fn cancelled_while_it_rings() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    anna.cancels(&mut world, Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    anna.hears(&mut world, "200 CANCEL");
    let refused = anna.hears(&mut world, "487 INVITE");
    anna.acknowledges_failure(&mut world, &refused);
    let cancel = subscriber.is_cancelled(&mut world);
    let reason = String::from_utf8_lossy(cancel.headers.get(Name::Reason).unwrap()).into_owned();
    assert!(reason.contains("SIP;cause=200"), "{reason}");
    world.run_for(secs(1));
    assert_eq!(world.records[0].cause, "cancelled");
}

/// TDR-DLG-044.
#[test]
fn cancel_crosses_the_carriers_200_which_gets_ack_and_bye() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    anna.cancels(&mut world, None);
    world.run_for(ms(15));
    subscriber.reply(&mut world, 200);
    anna.hears(&mut world, "487 INVITE");
    let cancel = subscriber.gets(&mut world, "CANCEL");
    subscriber.answer(&mut world, &cancel, 200, |_| {});
    subscriber.gets(&mut world, "ACK");
    subscriber.is_hung_up(&mut world);
}

/// TDR-DLG-044.
#[test]
fn our_200_crosses_the_callers_cancel_and_the_call_is_up() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 200);
    world.run_for(ms(12));
    anna.cancels(&mut world, None);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    anna.hears(&mut world, "200 CANCEL");
    assert_eq!(world.sent_to(Who::Sip, "487 INVITE"), 0);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn cancel_before_anything_was_heard_waits_for_the_first_word() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    anna.cancels(&mut world, None);
    anna.hears(&mut world, "487 INVITE");
    assert_eq!(world.sent_to(Who::Colt, "CANCEL"), 0);
    subscriber.reply(&mut world, 100);
    subscriber.is_cancelled(&mut world);
}

/// TDR-DLG-044.
#[test]
fn a_bye_in_the_early_dialog_cancels_too() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    anna.asks(&mut world, Method::Bye, None);
    anna.hears(&mut world, "200 BYE");
    anna.hears(&mut world, "487 INVITE");
    subscriber.is_cancelled(&mut world);
}

#[test]
fn cancelled_after_the_first_trunk_failed_only_the_second_hears_of_it() {
    let mut world = World::new(1);
    let anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let full = Party::called(&mut world, Who::Colt);
    full.reply(&mut world, 503);
    let subscriber = Party::called(&mut world, Who::Bt);
    subscriber.reply(&mut world, 180);
    world.run_for(ms(50));
    anna.cancels(&mut world, None);
    subscriber.is_cancelled(&mut world);
    assert_eq!(world.sent_to(Who::Colt, "CANCEL"), 0);
}

#[test]
fn a_200_without_contact_to_a_cancelled_invite_leaves_nothing_behind() {
    let mut world = World::new(1);
    world.without_laws(); // Nobody can acknowledge a 200 that does not say where to.
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    anna.cancels(&mut world, None);
    subscriber.gets(&mut world, "CANCEL");
    subscriber.answer(&mut world, &subscriber.invite, 200, |response| {
        response.headers.remove(Name::Contact);
    });
    world.run_for(secs(80));
    assert_eq!(world.core().held().clients, 0);
}

#[test]
fn a_cancel_that_fits_no_invite_changes_nothing() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    for (name, value) in
        [(Name::CSeq, "2 CANCEL"), (Name::Via, "SIP/2.0/TLS 192.0.2.99:5061;branch=z9hG4bKunknown")]
    {
        let mut stray = anna.clone();
        stray.invite.headers.set(name, value);
        stray.cancels(&mut world, None);
        anna.hears(&mut world, "481 CANCEL");
    }
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    // Too late: it is answered, and the call stays.
    anna.cancels(&mut world, None);
    anna.hears(&mut world, "200 CANCEL");
    world.run_for(ms(50));
    assert_eq!(world.sent_to(Who::Colt, "CANCEL"), 0);
    hang_up(&mut world, &mut anna, &subscriber);
}
