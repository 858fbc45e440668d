//! Who calls, and who answered, as far as each side may know it.

use b2bua::plan::{PrivacyId, Trust};
use callflow::plan::{ANNA, CONTOSO, PSTN, TEAMS};
use callflow::script::{connect, hang_up, uri_of, whole};
use callflow::{Party, Who, World};
use sip_core::{Headers, Name, Request};

/// What Teams sends with ForwardPai (TDR-PRI-001).
const ASSERTED: &str = "<tel:+493010001234>,<sip:anna@contoso.example>";
const OURS: &str = "203.0.113.10";

/// Teams calls a carrier with these headers; what the carrier is sent.
fn teams_calls(world: &mut World, headers: &[(Name, &str)]) -> (Party, Party) {
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    call(world, Who::Sip, ANNA, &uri, headers)
}

/// A carrier calls Teams with these headers.
fn carrier_calls(world: &mut World, headers: &[(Name, &str)]) -> (Party, Party) {
    let uri = format!("sip:{ANNA}@{}", Who::Colt.ours());
    call(world, Who::Colt, PSTN, &uri, headers)
}

fn call(
    world: &mut World,
    who: Who,
    from: &str,
    uri: &str,
    headers: &[(Name, &str)],
) -> (Party, Party) {
    let caller = Party::call(world, who, from, uri, |invite| {
        for (name, value) in headers {
            match name {
                Name::From => from_is(invite, value),
                name => invite.headers.push(*name, (*value).to_owned()),
            }
        }
    });
    let callee = Party::called(world, if who.is_teams() { Who::Colt } else { Who::Sip });
    (caller, callee)
}

fn from_is(invite: &mut Request, value: &str) {
    let tag = String::from_utf8_lossy(invite.headers.from().tag().unwrap_or_default()).into_owned();
    invite.headers.set(Name::From, format!("{value};tag={tag}"));
}

/// Lets the call be answered and ended, so that every law is checked.
fn play(world: &mut World, (mut caller, mut callee): (Party, Party)) {
    connect(world, &mut caller, &callee);
    hang_up(world, &mut callee, &caller);
}

fn value(headers: &Headers, name: Name) -> String {
    let lines: Vec<&[u8]> = headers.all(name).collect();
    String::from_utf8_lossy(&lines.join(&b" | "[..])).into_owned()
}

fn from(party: &Party) -> String {
    uri_of(party.invite.headers.get(Name::From).unwrap_or_default())
}

/// TDR-PRI-001, TDR-PRI-003.
#[test]
fn private_caller_is_named_to_a_trusted_carrier_with_the_wish_to_stay_private() {
    let mut world = World::new(1);
    let headers = [
        (Name::From, "\"Anonymous\" <sip:anonymous@anonymous.invalid>"),
        (Name::PAssertedIdentity, ASSERTED),
        (Name::Privacy, "id"),
    ];
    let (anna, subscriber) = teams_calls(&mut world, &headers);
    let got = &subscriber.invite.headers;
    assert_eq!(from(&subscriber), "sip:anonymous@anonymous.invalid");
    assert_eq!(
        value(got, Name::PAssertedIdentity),
        format!("<tel:{ANNA}>, <sip:anna@{OURS}>"),
        "the tenant's own host stays behind"
    );
    assert_eq!(value(got, Name::Privacy), "id");
    play(&mut world, (anna, subscriber));
}

/// TDR-PRI-003.
#[test]
fn private_caller_is_not_named_to_an_untrusted_carrier() {
    let mut world = World::with(1, |plan| {
        for trunk in &mut plan.trunks {
            trunk.headers.identity = Trust::Untrusted;
        }
    });
    let headers = [(Name::PAssertedIdentity, ASSERTED), (Name::Privacy, "id")];
    let (anna, subscriber) = teams_calls(&mut world, &headers);
    let message = whole(&subscriber.invite);
    assert_eq!(from(&subscriber), "sip:anonymous@anonymous.invalid");
    for name in [ANNA, "anna", "contoso", "Privacy", "P-Asserted"] {
        assert!(!message.contains(name), "{name}: {message}");
    }
    play(&mut world, (anna, subscriber));
}

#[test]
fn an_untrusted_carrier_is_told_an_identity_only_if_the_caller_says_so() {
    for (privacy, told) in [(None, false), (Some("none"), true)] {
        let mut world = World::with(1, |plan| {
            for trunk in &mut plan.trunks {
                trunk.headers.identity = Trust::Untrusted;
            }
        });
        let mut headers = vec![(Name::PAssertedIdentity, ASSERTED)];
        headers.extend(privacy.map(|privacy| (Name::Privacy, privacy)));
        let (anna, subscriber) = teams_calls(&mut world, &headers);
        let got = &subscriber.invite.headers;
        assert_eq!(from(&subscriber), format!("sip:{ANNA}@{OURS};user=phone"));
        assert_eq!(got.get(Name::PAssertedIdentity).is_some(), told, "{privacy:?}");
        play(&mut world, (anna, subscriber));
    }
}

/// TDR-PRI-002.
#[test]
fn privacy_that_teams_sends_with_every_identity_need_not_hide_everybody() {
    let anonymous = (Name::From, "<sip:anonymous@anonymous.invalid>");
    let usual = [(Name::PAssertedIdentity, ASSERTED), (Name::Privacy, "id")];
    for (policy, hidden, asked) in [
        (PrivacyId::Honour, false, "id"),
        (PrivacyId::IfAnonymous, false, ""),
        (PrivacyId::IfAnonymous, true, "id"),
        (PrivacyId::Strip, false, ""),
        // Who hides in From is not found in an asserted identity either.
        (PrivacyId::Strip, true, "id"),
    ] {
        let mut world = World::with(1, |plan| plan.trunks[TEAMS].headers.privacy_id = policy);
        let mut headers = usual.to_vec();
        headers.extend(hidden.then_some(anonymous));
        let (anna, subscriber) = teams_calls(&mut world, &headers);
        assert_eq!(value(&subscriber.invite.headers, Name::Privacy), asked, "{policy:?} {hidden}");
        play(&mut world, (anna, subscriber));
    }
}

/// TDR-PRI-006.
/// TDR-OUT-004, TDR-OUT-017.
#[test]
fn a_carrier_that_vouches_for_another_number_has_it_shown_by_teams() {
    let mut world = World::new(1);
    let headers = [
        (Name::From, "\"Shop\" <sip:4711@198.51.100.20>"),
        (Name::PAssertedIdentity, "\"Shop GmbH\" <sip:+49-89-555@10.1.2.3;user=phone>"),
    ];
    let (caller, anna) = carrier_calls(&mut world, &headers);
    let got = &anna.invite.headers;
    let expected = format!("\"Shop GmbH\" <sip:+4989555@{CONTOSO};user=phone>");
    assert!(value(got, Name::From).starts_with(&expected), "{}", value(got, Name::From));
    let message = whole(&anna.invite);
    assert!(!message.contains("10.1.2.3") && !message.contains("Asserted"), "{message}");
    play(&mut world, (caller, anna));
}

/// TDR-PRI-006.
#[test]
fn a_private_caller_of_a_carrier_is_not_named_to_teams_however_it_is_asked() {
    let rpid = Name::Other("Remote-Party-ID");
    let asserted = (Name::PAssertedIdentity, "<sip:+4989123456@198.51.100.20>");
    let anonymous = (Name::From, "<sip:anonymous@anonymous.invalid>");
    for headers in [
        vec![asserted, (Name::Privacy, "id")],
        vec![asserted, (Name::Privacy, "user;critical")],
        vec![asserted, (Name::Privacy, "header; full")],
        vec![asserted, anonymous],
        vec![asserted, (Name::From, "<sip:Anonymous@198.51.100.20>")],
        vec![(rpid, "<sip:+4989123456@198.51.100.20>;party=calling;privacy=full;screen=yes")],
    ] {
        let mut world = World::new(1);
        let (caller, anna) = carrier_calls(&mut world, &headers);
        assert_eq!(from(&anna), "sip:anonymous@anonymous.invalid");
        let message = whole(&anna.invite);
        assert!(!message.contains(PSTN) && !message.contains("Privacy"), "{message}");
        play(&mut world, (caller, anna));
    }
}

#[test]
fn an_untrusted_pbx_vouches_for_nobody_but_may_say_what_it_prefers() {
    let untrusted = |plan: &mut b2bua::Plan| {
        for trunk in &mut plan.trunks {
            trunk.headers.identity = Trust::Untrusted;
        }
    };
    for (name, shown) in [(Name::PAssertedIdentity, PSTN), (Name::PPreferredIdentity, "+4989555")] {
        let mut world = World::with(1, untrusted);
        let (caller, anna) = carrier_calls(&mut world, &[(name, "<sip:+4989555@pbx.example>")]);
        assert_eq!(from(&anna), format!("sip:{shown}@{CONTOSO};user=phone"));
        play(&mut world, (caller, anna));
    }
}

#[test]
fn a_privacy_we_cannot_give_ends_a_call_only_where_it_is_critical() {
    let mut world = World::new(1);
    let uri = format!("sip:{ANNA}@{}", Who::Colt.ours());
    let caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
        invite.headers.push(Name::Privacy, "veil;critical");
    });
    let refusal = caller.clone().hears(&mut world, "500 INVITE");
    caller.acknowledges_failure(&mut world, &refusal);
    assert_eq!(world.records[0].cause, "privacy");
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 0);
    let (caller, anna) = carrier_calls(&mut world, &[(Name::Privacy, "veil")]);
    play(&mut world, (caller, anna));
}

#[test]
fn who_answered_is_told_to_the_carrier_and_never_to_teams() {
    let asserted = "\"Anna\" <sip:+493010001234@sip.pstnhub.microsoft.com>";
    let answer = |world: &mut World, callee: &Party, status, privacy: Option<&str>| {
        callee.answer(world, &callee.invite, status, |response| {
            response.headers.push(Name::PAssertedIdentity, asserted);
            response.headers.push(Name::Other("P-Early-Media"), "supported");
            if let Some(privacy) = privacy {
                response.headers.push(Name::Privacy, privacy.to_owned());
            }
            let sdp = callflow::script::usual_sdp(callee.who);
            response.set_body("application/sdp", if status == 200 { sdp } else { String::new() });
        });
    };
    let mut world = World::new(1);
    let (mut caller, mut anna) = carrier_calls(&mut world, &[]);
    for status in [180, 200] {
        answer(&mut world, &anna, status, Some("id"));
        let heard = caller.hears(&mut world, &format!("{status} INVITE"));
        let told = format!("\"Anna\" <sip:{ANNA}@{OURS};user=phone>");
        assert_eq!(value(&heard.headers, Name::PAssertedIdentity), told);
        assert_eq!(value(&heard.headers, Name::Privacy), "id");
        assert_eq!(heard.headers.get(Name::Other("P-Early-Media")), None);
        if status == 200 {
            caller.acknowledges(&mut world, &heard);
        }
    }
    anna.gets(&mut world, "ACK");
    hang_up(&mut world, &mut anna, &caller);

    let (mut anna, mut subscriber) = teams_calls(&mut world, &[]);
    answer(&mut world, &subscriber, 200, None);
    let heard = anna.hears(&mut world, "200 INVITE");
    assert_eq!(heard.headers.get(Name::PAssertedIdentity), None);
    anna.acknowledges(&mut world, &heard);
    subscriber.gets(&mut world, "ACK");
    hang_up(&mut world, &mut subscriber, &anna);
}

/// TDR-OUT-010.
#[test]
fn what_concerns_one_network_alone_does_not_reach_the_other() {
    let private = [
        (Name::Other("P-Charging-Vector"), "icid-value=1;orig-ioi=a.example"),
        (Name::Other("P-Charging-Function-Addresses"), "ccf=192.0.2.9"),
        (Name::Other("X-MS-TenantID"), "6d0c"),
        (Name::Other("X-Carrier-Trunk"), "7"),
        (Name::Other("P-Early-Media"), "supported"),
        (Name::AlertInfo, "<http://pbx.example/bell>"),
        (Name::CallInfo, "<http://pbx.example/anna.png>;purpose=icon"),
        (Name::ReferredBy, "<sip:+4930@sip.pstnhub.microsoft.com>"),
        (Name::Subject, "secret"),
    ];
    let both = [
        (Name::Other("User-to-User"), "56a390f3d2b7310023a2;encoding=hex"),
        (Name::Priority, "urgent"),
    ];
    let headers: Vec<(Name, &str)> = private.into_iter().chain(both).collect();
    let mut world = World::new(1);
    for outward in [true, false] {
        let (caller, callee) = match outward {
            true => teams_calls(&mut world, &headers),
            false => carrier_calls(&mut world, &headers),
        };
        for (name, said) in &headers {
            let crosses = both.iter().any(|(crossing, _)| crossing == name);
            let expected = if crosses { *said } else { "" };
            assert_eq!(value(&callee.invite.headers, *name), expected, "{name:?}");
        }
        play(&mut world, (caller, callee));
    }
}

/// TDR-ERR-002.
#[test]
fn the_cause_a_carrier_gives_reaches_teams_and_microsofts_does_not_reach_the_carrier() {
    let busy = "Q.850;cause=34;text=\"4f;busy\", Preemption;cause=5;text=\"x\", X.25;cause=1";
    let refuse = |world: &mut World, callee: &Party| {
        callee.answer(world, &callee.invite, 486, |response| {
            response.headers.push(Name::Reason, busy);
        });
        callee.gets(world, "ACK");
    };
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls(&mut world, &[]);
    refuse(&mut world, &subscriber);
    let heard = anna.hears(&mut world, "486 INVITE");
    assert_eq!(value(&heard.headers, Name::Reason), "Q.850;cause=34, Preemption;cause=5");
    anna.acknowledges_failure(&mut world, &heard);

    let (mut caller, anna) = carrier_calls(&mut world, &[]);
    refuse(&mut world, &anna);
    let heard = caller.hears(&mut world, "486 INVITE");
    assert_eq!(value(&heard.headers, Name::Reason), "Q.850;cause=17, Preemption;cause=5");
    caller.acknowledges_failure(&mut world, &heard);
}
