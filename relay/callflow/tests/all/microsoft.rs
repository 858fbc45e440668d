//! What an operator learns of how Microsoft sees us: which regions ask, that none does, and what comes of
//! trunks that tenants have set up themselves.

use b2bua::io::FqdnView;
use b2bua::plan::Model;
use callflow::plan::{ANNA, CONTOSO, FABRIKAM, NODE, PSTN};
use callflow::script::{carrier_calls_teams, hang_up, uri_of};
use callflow::{Party, Who, World, ms, secs};
use sip_core::{Message, Name, Response};

/// The row of this FQDN.
fn row(world: &World, fqdn: &str, tenant: Option<&str>) -> FqdnView {
    let rows = world.core().fqdns(world.now(), tenant);
    rows.into_iter().find(|row| row.fqdn == fqdn).expect("the FQDN is shown")
}

/// A world in which contoso has set its name up as a trunk of its own.
fn classic() -> World {
    let mut world = World::with(1, |plan| {
        plan.trunks[0].options_interval = Some(secs(60));
        plan.tenants[0].model = Model::Classic;
    });
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    world
}

fn contact(message: &Message) -> String {
    uri_of(message.headers().get(Name::Contact).expect("a Contact"))
}

/// TDR-OPT-021 TDR-OPT-024
#[test]
fn microsoft_asks_from_several_regions_and_each_has_an_age() {
    let mut world = World::new(1);
    for (who, region, wait) in [(Who::Sip, "euwe", 100), (Who::Sip2, "us", 60), (Who::Sip, "eu", 5)]
    {
        let mut options = crate::options::options(who, &format!("sip:{NODE}:5061;transport=tls"));
        let from = format!("<sip:sip-du-a-{region}.pstnhub.microsoft.com:5061>;tag={region}");
        options.headers.set(Name::From, from);
        options.headers.set(Name::CallId, format!("ping-{region}"));
        let branch = format!("SIP/2.0/TLS {};branch=z9hG4bK{region}", who.address());
        options.headers.set(Name::Via, branch);
        world.send(who, options);
        world.expect(who, "200 OPTIONS");
        world.run_for(secs(wait));
    }
    let seen = row(&world, NODE, None).regions;
    let told: Vec<_> = seen.iter().map(|it| (it.region, it.proxies, it.ago.as_secs())).collect();
    assert_eq!(told, [("us", 1, 65), ("eu", 2, 5)]);
    assert_eq!(seen[1].from, Who::Sip.address().ip());
    assert!(row(&world, CONTOSO, Some("contoso")).regions.is_empty());
    // Who has not been heard for a day is gone.
    world.run_for(secs(86_400));
    let mut options = crate::options::options(Who::Sip, &format!("sip:{NODE}:5061;transport=tls"));
    options.headers.set(Name::From, "<sip:sip-du-a-asse.pstnhub.microsoft.com>;tag=as");
    world.send(Who::Sip, options);
    world.expect(Who::Sip, "200 OPTIONS");
    let seen = row(&world, NODE, None).regions;
    assert_eq!(seen.iter().map(|it| it.region).collect::<Vec<_>>(), ["as"]);
}

/// TDR-OPT-021
#[test]
fn a_name_in_from_lets_nobody_in() {
    let mut world = World::new(1);
    let mut options = crate::options::options(Who::Colt, "sip:203.0.113.10");
    options.headers.set(Name::From, "<sip:sip-du-a-eu.pstnhub.microsoft.com>;tag=1");
    world.send(Who::Colt, options);
    world.expect(Who::Colt, "200 OPTIONS");
    assert!(row(&world, NODE, None).regions.is_empty(), "it is a carrier, whatever it says");
}

/// TDR-OPT-024 TDR-OPT-001
#[test]
fn microsoft_takes_ours_and_asks_no_more_which_is_told_after_five_minutes() {
    let mut world = World::with(1, |plan| plan.trunks[0].options_interval = Some(secs(60)));
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    // It asks once, as soon as it has heard us, and never again.
    let vary = |teams: &mut emulate::Teams| teams.options_every = secs(86_400);
    world.emulate_varied(callflow::teams_script(), vary, |_| {});
    world.run_for(secs(290));
    let before = row(&world, NODE, None);
    assert!(before.up && before.unseen.is_none() && !before.regions.is_empty());
    world.run_for(secs(15));
    let unseen = row(&world, NODE, None).unseen.expect("it cannot connect to us");
    assert!((secs(300)..secs(306)).contains(&unseen), "{unseen:?}");
    // Whoever does not take ours either is another trouble.
    for who in [Who::Sip, Who::Sip2, Who::Sip3] {
        world.refuse_connections(who);
    }
    world.run_for(secs(130));
    let down = row(&world, NODE, None);
    assert!(down.down && !down.up && down.unseen.is_none());
}

/// TDR-OPT-010 TDR-MT-011
#[test]
fn a_tenant_that_is_a_trunk_of_its_own_is_asked_under_its_own_name_and_others_are_not() {
    let mut world = classic();
    let mut contacts: Vec<String> =
        (0..2).map(|_| contact(&world.expect(Who::Sip, "OPTIONS"))).collect();
    contacts.sort();
    let expected = [CONTOSO, NODE].map(|fqdn| format!("sip:{fqdn}:5061;transport=tls"));
    assert_eq!(contacts, expected);
    world.run_for(secs(20));
    assert_eq!(world.sent_to(Who::Sip, "OPTIONS"), 2);
    let shown = world.core().fqdns(world.now(), None);
    let asked: Vec<_> = shown.iter().filter(|row| row.asks).map(|row| &row.fqdn).collect();
    assert_eq!(asked, [NODE, CONTOSO]);
    assert!(!row(&world, FABRIKAM, Some("fabrikam")).asks);
    // The model is changed while it runs: nobody asks under that name any more.
    world.replan(|plan| plan.tenants[0].model = Model::Carrier);
    world.forget(Who::Sip);
    world.run_for(secs(200));
    for _ in 0..3 {
        let contact = contact(&world.expect(Who::Sip, "OPTIONS"));
        assert_eq!(contact, format!("sip:{NODE}:5061;transport=tls"));
    }
}

/// TDR-MT-011 TDR-OPT-009
#[test]
fn microsoft_knows_no_trunk_of_that_name_and_calls_of_others_do_not_suffer() {
    let mut world = classic();
    // Twice under the tenant's name, as a miss is tried again soon, and once under the base.
    for _ in 0..3 {
        let Message::Request(probe) = world.expect(Who::Sip, "OPTIONS") else {
            panic!("a response")
        };
        let own = uri_of(probe.headers.get(Name::Contact).expect("a Contact")).contains(CONTOSO);
        let status = if own { 403 } else { 200 };
        world.send(Who::Sip, Response::to(&probe, status, Some(b"1")));
        world.run_for(ms(100));
    }
    let (base, own) = (row(&world, NODE, None), row(&world, CONTOSO, None));
    assert!(base.up && !own.up);
    assert_eq!(own.last[0], ("sip.pstnhub.microsoft.com:5061".into(), "403 Forbidden".into()));
    assert!(world.core().targets(world.now())[0].up, "the target's health is the base's");
    // Fabrikam's calls go to the first target, contoso's to the next that may take them.
    Party::from_carrier(&mut world, Who::Colt, callflow::plan::BORIS);
    Party::called(&mut world, Who::Sip);
    Party::from_carrier(&mut world, Who::Colt, ANNA);
    Party::called(&mut world, Who::Sip2);
}

/// TDR-MT-011 TDR-FO-005
#[test]
fn microsoft_is_silent_to_a_tenants_own_name_and_calls_of_others_go_where_they_went() {
    let mut world = classic();
    for who in [Who::Sip, Who::Sip2, Who::Sip3].into_iter().flat_map(|who| [who, who]) {
        let Message::Request(probe) = world.expect(who, "OPTIONS") else { panic!("a response") };
        let own = uri_of(probe.headers.get(Name::Contact).expect("a Contact")).contains(CONTOSO);
        if !(own && who == Who::Sip) {
            world.send(who, Response::to(&probe, 200, Some(b"1")));
        }
    }
    // The tenant's has timed out, and the base is not due yet.
    world.run_for(secs(34));
    assert!(!row(&world, CONTOSO, None).last[0].1.contains("200"), "the tenant's name is silent");
    assert!(row(&world, NODE, None).up);
    Party::from_carrier(&mut world, Who::Colt, callflow::plan::BORIS);
    Party::called(&mut world, Who::Sip);
    assert_eq!(world.sent_to(Who::Sip2, "INVITE"), 0);
}

/// TDR-MT-011 TDR-MT-003
#[test]
fn calls_of_a_trunk_of_its_own_carry_its_name_on_the_same_port_as_others() {
    let mut world = World::with(1, |plan| plan.tenants[0].model = Model::Classic);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let contact = uri_of(anna.invite.headers.get(Name::Contact).expect("a Contact"));
    assert!(contact.contains(&format!("@{CONTOSO}:5061;")), "{contact}");
    hang_up(&mut world, &mut caller, &anna);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, callflow::plan::BORIS);
    let boris = Party::called(&mut world, Who::Sip);
    let contact = uri_of(boris.invite.headers.get(Name::Contact).expect("a Contact"));
    assert!(contact.contains(&format!("@{FABRIKAM}:5061;")), "{contact}");
    callflow::script::connect(&mut world, &mut caller, &boris);
    hang_up(&mut world, &mut caller, &boris);
}

/// TDR-MT-012 TDR-MT-013
#[test]
fn the_first_calls_of_a_tenant_say_whether_microsoft_knows_it() {
    let mut world = World::new(1);
    let before = row(&world, CONTOSO, Some("contoso"));
    assert!(before.invited.is_none() && before.called_ago.is_none());
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    anna.answer(&mut world, &anna.invite, 403, |response| {
        response.headers.push(Name::Reason, "Q.850;cause=63;text=\"6c1e;Tenant not configured\"");
    });
    let refusal = caller.hears(&mut world, "403 INVITE");
    caller.acknowledges_failure(&mut world, &refusal);
    world.run_for(secs(7));
    let (status, phrase, ago) = row(&world, CONTOSO, Some("contoso")).invited.expect("an answer");
    assert_eq!((status, phrase.as_deref()), (403, Some("6c1e;Tenant not configured")));
    assert_eq!(ago.as_secs(), 7);
    assert!(row(&world, FABRIKAM, Some("fabrikam")).invited.is_none());
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let pstn = Party::called(&mut world, Who::Colt);
    callflow::script::connect(&mut world, &mut anna, &pstn);
    hang_up(&mut world, &mut anna, &pstn);
    assert!(row(&world, CONTOSO, Some("contoso")).called_ago.is_some());
}

/// TDR-MON-003
#[test]
fn a_trunk_with_nine_tenths_of_its_calls_is_told_before_one_is_refused() {
    use b2bua::io::{Crowded, CrowdedView};
    use b2bua::plan::Limits;
    let mut world = World::with(1, |plan| {
        plan.tenants[0].limits = Limits { calls: Some(2), ..Limits::default() };
        plan.trunks[1].limits = Limits { calls: Some(1), ..Limits::default() };
    });
    assert!(world.core().crowded().is_empty());
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    let colt = CrowdedView { who: Crowded::Trunk("colt".into()), calls: 1, bound: 1 };
    assert_eq!(world.core().crowded(), [colt], "a tenant with half of its calls is not crowded");
    hang_up(&mut world, &mut caller, &anna);
    world.run_for(secs(1));
    assert!(world.core().crowded().is_empty());
}

/// TDR-FO-010
#[test]
fn microsoft_cannot_connect_from_one_datacentre_and_the_next_one_gets_through() {
    let mut world = World::new(1);
    world.drop_connections(Who::Sip);
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    let mut anna = Party::call(&mut world, Who::Sip2, ANNA, &uri, |_| {});
    let pstn = Party::called(&mut world, Who::Colt);
    callflow::script::connect(&mut world, &mut anna, &pstn);
    hang_up(&mut world, &mut anna, &pstn);
}

/// TDR-FO-012
#[test]
fn microsoft_hears_100_long_before_it_would_try_another_trunk() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let began = world.elapsed();
    anna.hears(&mut world, "100 INVITE");
    assert!(world.elapsed() - began < ms(200));
    let pstn = Party::called(&mut world, Who::Colt);
    callflow::script::connect(&mut world, &mut anna, &pstn);
    hang_up(&mut world, &mut anna, &pstn);
}

/// TDR-FO-014
#[test]
fn microsoft_takes_a_call_back_that_it_has_sent_elsewhere_and_the_carriers_leg_is_gone_at_once() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let pstn = Party::called(&mut world, Who::Colt);
    pstn.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    let began = world.elapsed();
    anna.cancels(&mut world, None);
    pstn.is_cancelled(&mut world);
    assert!(world.elapsed() - began < ms(500));
    let refusal = anna.hears(&mut world, "487 INVITE");
    anna.acknowledges_failure(&mut world, &refusal);
}

/// TDR-FO-012
#[test]
fn a_carrier_says_nothing_for_long_and_microsoft_is_told_that_the_call_makes_its_way() {
    let mut world = World::with(1, |plan| {
        plan.tenants[0].progress_after = Some(secs(8));
        plan.trunks[1].answer_timeout = Some(secs(20));
    });
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let pstn = Party::called(&mut world, Who::Colt);
    // It is on its way, and has not rung yet.
    pstn.reply(&mut world, 100);
    let progress = anna.hears(&mut world, "183 INVITE");
    assert!((secs(8)..secs(9)).contains(&world.elapsed()));
    assert!(progress.body().is_empty(), "there is no early media to hear");
    callflow::script::connect(&mut world, &mut anna, &pstn);
    hang_up(&mut world, &mut anna, &pstn);
    // One that rings in time needs no such word, and nobody tells a carrier.
    let (mut anna, pstn) = callflow::script::teams_calls_carrier(&mut world);
    world.run_for(secs(10));
    hang_up(&mut world, &mut anna, &pstn);
    assert_eq!(world.sent_to(Who::Sip, "183 INVITE"), 1);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let anna = Party::called(&mut world, Who::Sip);
    anna.reply(&mut world, 100);
    world.run_for(secs(9));
    callflow::script::connect(&mut world, &mut caller, &anna);
    hang_up(&mut world, &mut caller, &anna);
    assert_eq!(world.sent_to(Who::Colt, "183 INVITE"), 0);
}

#[test]
fn our_own_word_of_progress_is_not_the_callees_first() {
    for described in [false, true] {
        let mut world = World::with(1, |plan| {
            plan.tenants[0].progress_after = Some(secs(8));
            plan.tenants[0].ringback = b2bua::plan::Ringback::First;
            plan.trunks[1].answer_timeout = Some(secs(20));
        });
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let pstn = Party::called(&mut world, Who::Colt);
        pstn.reply(&mut world, 100);
        let progress = anna.hears(&mut world, "183 INVITE");
        assert!(progress.body().is_empty());
        let invite = pstn.invite.clone();
        match described {
            false => {
                pstn.reply(&mut world, 180);
                anna.hears(&mut world, "180 INVITE");
            }
            true => {
                let sdp = callflow::script::usual_sdp(Who::Colt);
                pstn.answer(&mut world, &invite, 183, |it| it.set_body("application/sdp", sdp));
                let early = anna.hears(&mut world, "183 INVITE");
                assert!(!early.body().is_empty(), "its announcement is heard");
            }
        }
        pstn.reply(&mut world, 200);
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        pstn.gets(&mut world, "ACK");
        hang_up(&mut world, &mut anna, &pstn);
    }
}

/// TDR-MT-010
#[test]
fn ten_thousand_tenants_come_while_a_call_is_up_and_the_last_of_them_calls_at_once() {
    use b2bua::plan::Tenant;
    let mut world = World::new(1);
    let (mut caller, anna) = carrier_calls_teams(&mut world);
    world.replan(|plan| {
        let like = plan.tenants[1].clone();
        for number in 0..10_000 {
            let (name, fqdn) = (format!("t{number}"), format!("t{number}.sbc.example.net"));
            let tenant =
                Tenant { name, fqdns: vec![fqdn.clone()], numbers: Vec::new(), ..like.clone() };
            let index = plan.tenants.insert(tenant);
            plan.fqdns.insert(&fqdn, index).expect("each name is new");
        }
    });
    let mut last = Party::from_teams(&mut world, "t9999.sbc.example.net", PSTN);
    let pstn = Party::called(&mut world, Who::Bt);
    callflow::script::connect(&mut world, &mut last, &pstn);
    hang_up(&mut world, &mut caller, &anna);
    // They go again under the call of one of them.
    world.replan(|plan| {
        for number in 0..10_000 {
            let index = plan.tenants.remove(&format!("t{number}")).expect("it is there");
            plan.fqdns.remove(&format!("t{number}.sbc.example.net"), index);
        }
    });
    hang_up(&mut world, &mut last, &pstn);
    let mut gone = Party::from_teams(&mut world, "t9999.sbc.example.net", PSTN);
    let refusal = gone.hears(&mut world, "404 INVITE");
    gone.acknowledges_failure(&mut world, &refusal);
}

/// TDR-MT-008
#[test]
fn two_hosts_serve_one_tenant_and_each_calls_under_its_own_name() {
    for base in ["sbc1.example.net", "sbc2.example.net"] {
        let own = format!("contoso.{base}");
        let mut world = World::with(1, |plan| {
            plan.node.fqdn = base.into();
            let index = plan.tenants.named("contoso").expect("it is there");
            plan.fqdns.remove(CONTOSO, index);
            plan.fqdns.insert(&own, index).expect("the name is new");
            plan.tenants[index].fqdns = vec![own.clone()];
        });
        let (mut caller, anna) = carrier_calls_teams(&mut world);
        let contact = uri_of(anna.invite.headers.get(Name::Contact).expect("a Contact"));
        assert!(contact.contains(&format!("@{own}:")), "{contact}");
        hang_up(&mut world, &mut caller, &anna);
    }
}
