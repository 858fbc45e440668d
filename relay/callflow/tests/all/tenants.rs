//! Many tenants on one host: what each has for itself, and that none sees anything of another.

use b2bua::plan::{HoldPolicy, Patterns, TransferPolicy};
use callflow::plan::{ANNA, BORIS, BT, COLT, CONTOSO, FABRIKAM, PSTN};
use callflow::script::{connect, hang_up, held_sdp, uri_of, whole};
use callflow::{Party, Who, World, ms};
use sip_core::{Method, Name};

/// A second FQDN of contoso's.
const BRANCH: &str = "branch.sbc.example.net";

/// TDR-MT-001, TDR-MT-002.
#[test]
fn a_tenant_with_two_fqdns_is_spoken_to_under_the_one_that_teams_used() {
    for fqdn in [CONTOSO, BRANCH] {
        let mut world = World::with(1, |plan| {
            plan.tenants[0].fqdns.push(BRANCH.into());
            plan.fqdns.insert(BRANCH, 0).expect("it is nobody's");
        });
        let mut anna = Party::from_teams(&mut world, fqdn, PSTN);
        let mut subscriber = Party::called(&mut world, Who::Colt);
        subscriber.reply(&mut world, 180);
        let ringing = anna.hears(&mut world, "180 INVITE");
        let contact = uri_of(ringing.headers.get(Name::Contact).unwrap());
        assert!(contact.ends_with(&format!("@{fqdn}:5061;transport=tls")), "{contact}");
        callflow::script::connect_ringing(&mut world, &mut anna, &subscriber);
        subscriber.hangs_up(&mut world);
        let bye = anna.is_hung_up(&mut world);
        assert!(whole(&bye).contains(fqdn));
    }
}

/// TDR-MT-001, TDR-MT-003, TDR-OUT-003.
#[test]
fn calls_of_two_tenants_cross_in_every_step_and_none_names_the_other() {
    let mut world = World::new(1);
    let mut calls = Vec::new();
    for round in 0..6 {
        let (number, fqdn, who) = match round % 2 {
            0 => (ANNA, CONTOSO, Who::Colt),
            _ => (BORIS, FABRIKAM, Who::Bt),
        };
        let mut caller = Party::from_carrier(&mut world, who, number);
        let callee = Party::called(&mut world, Who::Sip);
        callee.reply(&mut world, 180);
        caller.hears(&mut world, "180 INVITE");
        let other = if fqdn == CONTOSO { FABRIKAM } else { CONTOSO };
        let message = whole(&callee.invite);
        assert!(message.contains(fqdn) && !message.contains(other), "{message}");
        calls.push((caller, callee));
    }
    for (caller, callee) in &mut calls {
        callflow::script::connect_ringing(&mut world, caller, callee);
    }
    // Every request and response on the Teams legs is looked at by a law when the world ends.
    for (caller, callee) in calls.iter_mut().rev() {
        caller.asks(&mut world, Method::Invite, Some(held_sdp(caller.who)));
        let asked = callee.gets(&mut world, "INVITE");
        callee.agrees(&mut world, &asked, held_sdp(Who::Sip));
        let answer = caller.hears(&mut world, "200 INVITE");
        caller.acknowledges(&mut world, &answer);
        callee.gets(&mut world, "ACK");
    }
    world.run_for(ms(20));
    for (caller, callee) in &mut calls {
        hang_up(&mut world, caller, callee);
    }
}

/// TDR-MT-004.
#[test]
fn both_tenants_dial_the_same_short_number_and_each_reaches_its_own() {
    let mut world = World::with(1, |plan| {
        for tenant in plan.tenants.iter_mut() {
            tenant.routes[0].called = Patterns::default();
        }
        plan.tenants[0].routes[0].to = vec![COLT].into();
        plan.tenants[1].routes[0].to = vec![BT].into();
    });
    for (fqdn, who) in [(CONTOSO, Who::Colt), (FABRIKAM, Who::Bt), (CONTOSO, Who::Colt)] {
        let mut user = Party::from_teams(&mut world, fqdn, "+1001");
        let mut reception = Party::called(&mut world, who);
        connect(&mut world, &mut user, &reception);
        hang_up(&mut world, &mut reception, &user);
    }
    // And who is called from outside follows from the number, whichever trunk it comes by.
    for (number, fqdn) in [(ANNA, CONTOSO), (BORIS, FABRIKAM)] {
        let mut caller = Party::from_carrier(&mut world, Who::Colt, number);
        let mut user = Party::called(&mut world, Who::Sip);
        assert!(uri_of(user.invite.headers.get(Name::Contact).unwrap()).contains(fqdn));
        connect(&mut world, &mut caller, &user);
        hang_up(&mut world, &mut user, &caller);
    }
}

/// TDR-MT-005.
#[test]
fn what_one_tenant_wants_leaves_the_other_as_it_is() {
    let mut world = World::with(1, |plan| {
        let contoso = &mut plan.tenants[0];
        contoso.hold = HoldPolicy::Absorb;
        contoso.transfer = TransferPolicy::None;
        contoso.limits.calls = Some(1);
        contoso.emergency = vec!["112".into()];
        contoso.routes[0].called = Patterns::default();
        plan.tenants[1].emergency = vec!["999".into()];
    });
    for (number, who, absorbs) in [(ANNA, Who::Colt, true), (BORIS, Who::Bt, false)] {
        let mut caller = Party::from_carrier(&mut world, who, number);
        let callee = Party::called(&mut world, Who::Sip);
        assert_eq!(callee.invite.headers.has_token(Name::Allow, "REFER"), !absorbs);
        connect(&mut world, &mut caller, &callee);
        let invited = world.sent_to(Who::Sip, "INVITE");
        caller.asks(&mut world, Method::Invite, Some(held_sdp(who)));
        if !absorbs {
            let asked = callee.gets(&mut world, "INVITE");
            callee.agrees(&mut world, &asked, held_sdp(Who::Sip));
        }
        let answer = caller.hears(&mut world, "200 INVITE");
        caller.acknowledges(&mut world, &answer);
        world.run_for(ms(50));
        let more = world.sent_to(Who::Sip, "INVITE") - invited;
        assert_eq!(more, usize::from(!absorbs));
        // A second call of the tenant beside it.
        let mut second = Party::from_carrier(&mut world, who, number);
        if absorbs {
            let refusal = second.hears(&mut world, "503 INVITE");
            second.acknowledges_failure(&mut world, &refusal);
        } else {
            let other = Party::called(&mut world, Who::Sip);
            connect(&mut world, &mut second, &other);
            hang_up(&mut world, &mut second, &other);
        }
        hang_up(&mut world, &mut caller, &callee);
    }
    // What is an emergency for one is a number without route for the other.
    for (fqdn, dialled, who) in [(CONTOSO, "112", Some(Who::Colt)), (FABRIKAM, "112", None)] {
        let mut user = Party::from_teams(&mut world, fqdn, dialled);
        match who {
            Some(who) => {
                let mut centre = Party::called(&mut world, who);
                connect(&mut world, &mut user, &centre);
                hang_up(&mut world, &mut centre, &user);
            }
            None => {
                let refusal = user.hears(&mut world, "404 INVITE");
                user.acknowledges_failure(&mut world, &refusal);
            }
        }
    }
}
