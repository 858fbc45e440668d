//! What a far side hears of ours: that it rings, and music while it is held.

use b2bua::plan::Ringback;
use callflow::plan::{ANNA, COLT, CONTOSO, PSTN, TEAMS};
use callflow::script::{body, hang_up, line};
use callflow::{Party, Who, World, ms, sdp_text, secs};
use media::g711::Law;
use sdp::{Sound, Tone};
use sip_core::{Method, Name};

/// How much of what came to a place is a tone of 425 Hz, and how many packets there were.
fn heard(world: &mut World, who: Who) -> (usize, f64) {
    let packets = world.packets(who.media());
    let speech = packets.iter().filter(|(_, packet)| packet.len() == 172);
    let samples: Vec<f64> = speech
        .flat_map(|(_, packet)| packet[12..].iter().map(|octet| f64::from(Law::A.decode(*octet))))
        .collect();
    let (mut re, mut im, mut energy) = (0.0, 0.0, 1.0);
    for (at, sample) in samples.iter().enumerate() {
        let angle = std::f64::consts::TAU * 425.0 * at as f64 / 8000.0;
        (re, im) = (re + sample * angle.cos(), im + sample * angle.sin());
        energy += sample * sample;
    }
    (packets.len(), 2.0 * (re * re + im * im) / (samples.len().max(1) as f64 * energy))
}

/// Teams without SRTP, so that what it hears can be looked at.
fn plain_teams(vary: impl FnOnce(&mut b2bua::Plan)) -> World {
    World::with(1, |plan| {
        plan.trunks[TEAMS].srtp = b2bua::plan::SrtpPolicy::Off;
        vary(plan);
    })
}

fn teams_calls(world: &mut World) -> Party {
    let uri = format!("sip:{PSTN}@{CONTOSO}:5061;user=phone;transport=tls");
    Party::call(world, Who::Sip, ANNA, &uri, |invite| {
        let payloads = ["8 PCMA/8000", "0 PCMU/8000", "101 telephone-event/8000"];
        invite.set_body("application/sdp", sdp_text::plain(Who::Sip.media(), &payloads));
    })
}

/// TDR-EM-004, TDR-EM-021.
#[test]
fn a_caller_whose_tenant_wants_it_hears_our_ringing_until_the_answer() {
    let mut world = plain_teams(|plan| plan.tenants[0].ringback = Ringback::Tone);
    let mut anna = teams_calls(&mut world);
    let subscriber = Party::called(&mut world, Who::Colt);
    subscriber.reply(&mut world, 180);
    let early = anna.hears(&mut world, "183 INVITE");
    assert!(line(&body(&early), "m=audio").ends_with(" 8 101"), "{}", body(&early));
    // What the callee's side plays is not heard.
    subscriber.reply(&mut world, 183);
    world.run_for(ms(900));
    let (packets, tone) = heard(&mut world, Who::Sip);
    assert!((40..=50).contains(&packets) && tone > 0.95, "{packets} packets, {tone}");
    assert_eq!(world.packets(Who::Colt.media()).len(), 0);
    subscriber.reply(&mut world, 200);
    let answer = anna.hears(&mut world, "200 INVITE");
    assert_eq!(body(&answer), body(&early), "one description (TDR-EM-021)");
    anna.acknowledges(&mut world, &answer);
    subscriber.gets(&mut world, "ACK");
    world.packets(Who::Sip.media());
    world.run_for(secs(1));
    assert_eq!(heard(&mut world, Who::Sip).0, 0, "the tone has stopped");
    assert_eq!(world.sent_to(Who::Sip, "180 INVITE"), 0);
    hang_up(&mut world, &mut anna, &subscriber);
    assert!(world.records[0].media.as_ref().expect("media was open").a.made_packets >= 40);
}

/// TDR-XFR-016, TDR-XFR-025.
#[test]
fn a_caller_who_is_transferred_hears_our_ringing_while_the_target_rings_without_media() {
    let mut world = plain_teams(|plan| plan.tenants[0].ringback = Ringback::Tone);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let mut anna = Party::called(&mut world, Who::Sip);
    let plain = || sdp_text::plain(Who::Sip.media(), &["8 PCMA/8000", "101 telephone-event/8000"]);
    anna.accepts(&mut world, plain());
    let answer = caller.hears(&mut world, "200 INVITE");
    caller.acknowledges(&mut world, &answer);
    anna.gets(&mut world, "ACK");
    let mut refer = anna.request(&mut world, Method::Refer);
    refer.headers.push(Name::ReferTo, "<sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:6b65a6a4>");
    world.send(Who::Sip, refer);
    anna.hears(&mut world, "202 REFER");
    let told = |world: &mut World| {
        let notify = anna.gets(world, "NOTIFY");
        anna.answer(world, &notify, 200, |_| {});
    };
    told(&mut world);
    let clara = Party::called(&mut world, Who::Sip);
    clara.reply(&mut world, 180);
    told(&mut world);
    world.packets(Who::Colt.media());
    world.run_for(ms(900));
    let (packets, tone) = heard(&mut world, Who::Colt);
    assert!((40..=50).contains(&packets) && tone > 0.95, "{packets} packets, {tone}");
    clara.accepts(&mut world, plain());
    clara.gets(&mut world, "ACK");
    told(&mut world);
    let mut anna = anna;
    anna.hangs_up(&mut world);
    world.packets(Who::Colt.media());
    world.run_for(secs(1));
    assert_eq!(heard(&mut world, Who::Colt).0, 0, "the tone has stopped");
    hang_up(&mut world, &mut caller, &clara);
}

#[test]
fn a_carrier_that_is_held_hears_our_music_where_its_trunk_wants_that() {
    for teams_says in ["inactive", "sendonly"] {
        let mut world = plain_teams(|plan| {
            let tone = Tone { hz: [425, 0], cadence_ms: [0; 4] };
            plan.trunks[COLT].terms.music_on_hold = Some(Sound::Tone(tone));
        });
        let mut anna = teams_calls(&mut world);
        let subscriber = Party::called(&mut world, Who::Colt);
        subscriber.reply(&mut world, 200);
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        subscriber.gets(&mut world, "ACK");
        world.run_for(ms(50));
        let offer = |direction: &str| {
            let payloads = ["8 PCMA/8000", "101 telephone-event/8000"];
            let plain = sdp_text::plain(Who::Sip.media(), &payloads);
            let version = if direction == "sendrecv" { " 3 IN" } else { " 2 IN" };
            plain.replace("a=sendrecv", &format!("a={direction}")).replacen(" 1 IN", version, 1)
        };
        let hold = offer(teams_says);
        assert!(hold.contains(teams_says), "{hold}");
        anna.asks(&mut world, Method::Invite, Some(hold));
        let asked = subscriber.gets(&mut world, "INVITE");
        assert!(body(&asked).contains("a=sendonly"), "{}", body(&asked));
        subscriber.answer(&mut world, &asked, 200, |response| {
            let payloads = ["8 PCMA/8000", "101 telephone-event/8000"];
            let held = sdp_text::plain(Who::Colt.media(), &payloads);
            let held = held.replace("a=sendrecv", "a=recvonly");
            response.set_body("application/sdp", held);
        });
        let accepted = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &accepted);
        world.packets(Who::Colt.media());
        world.run_for(secs(1));
        let (packets, tone) = heard(&mut world, Who::Colt);
        assert!((48..=52).contains(&packets) && tone > 0.95, "{packets} packets, {tone}");
        assert_eq!(world.packets(Who::Sip.media()).len(), 0);
        anna.asks(&mut world, Method::Invite, Some(offer("sendrecv")));
        let asked = subscriber.gets(&mut world, "INVITE");
        subscriber.answer(&mut world, &asked, 200, |response| {
            let payloads = ["8 PCMA/8000", "101 telephone-event/8000"];
            let talks = sdp_text::plain(Who::Colt.media(), &payloads);
            response.set_body("application/sdp", talks);
        });
        let accepted = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &accepted);
        world.run_for(ms(100));
        world.packets(Who::Colt.media());
        world.run_for(secs(1));
        assert_eq!(heard(&mut world, Who::Colt).0, 0, "the music has stopped");
        hang_up(&mut world, &mut anna, &subscriber);
    }
}

/// TDR-EM-004.
#[test]
fn our_ringing_goes_on_when_the_caller_offers_anew_before_the_answer() {
    for by_prack in [true, false] {
        let mut world = World::with(1, |plan| plan.tenants[0].ringback = Ringback::Tone);
        let uri = format!("sip:{ANNA}@{}:5060;user=phone", Who::Colt.ours().ip());
        let mut caller = Party::call(&mut world, Who::Colt, PSTN, &uri, |invite| {
            if by_prack {
                invite.headers.push(Name::Require, "100rel");
            }
        });
        let anna = Party::called(&mut world, Who::Sip);
        anna.reply(&mut world, 180);
        let early = caller.hears(&mut world, "183 INVITE");
        let mut elsewhere = Who::Colt.media();
        elsewhere.set_port(40_010);
        let offer = sdp_text::carrier(elsewhere);
        if by_prack {
            let rseq = early.headers.get(Name::RSeq).unwrap_or_default();
            let mut prack = caller.request(&mut world, Method::Prack);
            let rack = format!("{} 1 INVITE", String::from_utf8_lossy(rseq));
            prack.headers.push(Name::RAck, rack);
            prack.set_body("application/sdp", offer);
            world.send(Who::Colt, prack);
            caller.hears(&mut world, "200 PRACK");
        } else {
            caller.asks(&mut world, Method::Update, Some(offer));
            caller.hears(&mut world, "200 UPDATE");
        }
        world.packets(elsewhere);
        world.run_for(secs(10));
        let heard = world.packets(elsewhere).len();
        assert!(
            (490..=510).contains(&heard),
            "by PRACK: {by_prack}: {heard} packets in ten seconds"
        );
        anna.reply(&mut world, 200);
        let answer = caller.hears(&mut world, "200 INVITE");
        caller.acknowledges(&mut world, &answer);
        anna.gets(&mut world, "ACK");
        world.packets(elsewhere);
        world.run_for(secs(6));
        assert_eq!(world.packets(elsewhere).len(), 0, "the tone has stopped");
        hang_up(&mut world, &mut caller, &anna);
    }
}
