//! A carrier asks who we are: INVITE, re-INVITE and BYE go out again with credentials.

use b2bua::accounts::{Account, Secret};
use b2bua::io::Event;
use b2bua::plan::Plan;
use callflow::plan::{BT, COLT, CONTOSO, PSTN};
use callflow::script::{connect, hang_up, value};
use callflow::{Party, Who, World, sdp_text, secs};
use sip_core::auth::{Algorithm, Asker, Guard, User, Verdict};
use sip_core::{Message, Method, Name, Request};
use std::sync::Arc;

/// The carrier's doorkeeper.
pub(crate) struct Gate {
    guard: Guard,
    users: Vec<User>,
    asker: Asker,
    number: u64,
}

impl Gate {
    pub(crate) fn new(world: &World, asker: Asker, algorithms: &[Algorithm]) -> Self {
        let guard = Guard::new(world.now(), [3; 32], "carrier.example", algorithms);
        let users = vec![User { name: "trunk-7".into(), secret: Secret::new("s3cret") }];
        Self { guard, users, asker, number: 0 }
    }

    pub(crate) fn judges(&mut self, world: &World, request: &Request) -> Verdict {
        self.guard.judge(world.now(), self.asker, request, &self.users)
    }

    /// Challenges a request.
    pub(crate) fn asks(
        &mut self,
        world: &mut World,
        party: &Party,
        request: &Request,
        stale: bool,
    ) {
        let status = if self.asker == Asker::Proxy { 407 } else { 401 };
        self.number += 1;
        let (now, number) = (world.now(), self.number);
        party.answer(world, request, status, |response| {
            self.guard.challenge(now, self.asker, response, stale, number);
        });
    }
}

pub(crate) fn account(secret: &str) -> Arc<Account> {
    Arc::new(Account { user: "trunk-7".into(), secret: Secret::new(secret), realm: None })
}

fn with_account(secret: &'static str) -> impl FnOnce(&mut Plan) {
    move |plan| plan.trunks[COLT].accounts.ours = Some(account(secret))
}

/// Gets an INVITE, challenges it, and gets it again with credentials that are right.
fn let_in(world: &mut World, gate: &mut Gate) -> Party {
    let asked = Party::called(world, Who::Colt);
    gate.asks(world, &asked, &asked.invite.clone(), false);
    asked.gets(world, "ACK");
    let callee = Party::called(world, Who::Colt);
    assert_eq!(gate.judges(world, &callee.invite), Verdict::Genuine(0));
    callee
}

#[test]
fn invite_challenged_with_two_algorithms_goes_out_again_with_the_better_one() {
    for asker in [Asker::Server, Asker::Proxy] {
        let mut world = World::with(1, with_account("s3cret"));
        let mut gate = Gate::new(&world, asker, &[Algorithm::Md5, Algorithm::Sha256]);
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let asked = Party::called(&mut world, Who::Colt);
        gate.asks(&mut world, &asked, &asked.invite.clone(), false);
        asked.gets(&mut world, "ACK");
        let mut callee = Party::called(&mut world, Who::Colt);
        let (first, second) = (&asked.invite, &callee.invite);
        for same in [Name::CallId, Name::From, Name::To, Name::Contact] {
            assert_eq!(value(first, same), value(second, same), "{same:?}");
        }
        assert_eq!(value(second, Name::CSeq), "2 INVITE");
        assert_ne!(value(first, Name::Via), value(second, Name::Via));
        assert_eq!((&first.uri, first.body()), (&second.uri, second.body()));
        assert!(value(second, asker.answers()).contains("algorithm=SHA-256"));
        assert_eq!(gate.judges(&world, second), Verdict::Genuine(0));
        connect(&mut world, &mut anna, &callee);
        assert_eq!(world.sent_to(Who::Sip, "401") + world.sent_to(Who::Sip, "407"), 0);
        hang_up(&mut world, &mut callee, &anna);
        world.run_for(secs(1));
        let attempts = &world.records[0].attempts;
        assert_eq!(attempts.len(), 1, "being asked is no failure of the target");
        assert_eq!(attempts[0].outcome, "200");
    }
}

#[test]
fn wrong_secret_is_tried_once_and_the_next_trunk_takes_the_call() {
    let mut world = World::with(1, with_account("wrong"));
    let mut gate = Gate::new(&world, Asker::Server, &[Algorithm::Md5]);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    for _ in 0..2 {
        let asked = Party::called(&mut world, Who::Colt);
        assert!(matches!(gate.judges(&world, &asked.invite), Verdict::Denied(_)));
        gate.asks(&mut world, &asked, &asked.invite.clone(), false);
        asked.gets(&mut world, "ACK");
    }
    let subscriber = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
    world.run_for(secs(1));
    assert_eq!(world.sent_to(Who::Colt, "INVITE"), 2);
    let outcomes: Vec<_> = world.records[0]
        .attempts
        .iter()
        .map(|it| (it.trunk.as_str(), it.outcome.as_str()))
        .collect();
    assert_eq!(outcomes, [("colt", "401"), ("bt", "200")]);
    let told = world.events.iter().filter(|e| matches!(e, Event::ChallengeRefused { .. }));
    assert_eq!(told.count(), 1);
}

#[test]
fn without_an_account_a_challenge_is_503_to_the_caller() {
    let mut world = World::new(1);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    for who in [Who::Colt, Who::Bt] {
        let asked = Party::called(&mut world, who);
        Gate::new(&world, Asker::Proxy, &[Algorithm::Sha256]).asks(
            &mut world,
            &asked,
            &asked.invite.clone(),
            false,
        );
    }
    let refused = anna.hears(&mut world, "503 INVITE");
    assert_eq!(refused.headers.get(Name::ProxyAuthenticate), None, "it is our business");
}

#[test]
fn stale_nonce_is_answered_with_the_new_one() {
    let mut world = World::with(1, with_account("s3cret"));
    let mut gate = Gate::new(&world, Asker::Server, &[Algorithm::Sha512Trunc256]);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    for stale in [false, true] {
        let asked = Party::called(&mut world, Who::Colt);
        gate.asks(&mut world, &asked, &asked.invite.clone(), stale);
    }
    let callee = Party::called(&mut world, Who::Colt);
    assert_eq!(value(&callee.invite, Name::CSeq), "3 INVITE");
    assert_eq!(gate.judges(&world, &callee.invite), Verdict::Genuine(0));
    connect(&mut world, &mut anna, &callee);
    hang_up(&mut world, &mut anna, &callee);
}

#[test]
fn credentials_of_one_trunk_are_not_shown_to_another() {
    let mut world = World::with(1, with_account("s3cret"));
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    Party::called(&mut world, Who::Colt).reply(&mut world, 503);
    let other = Party::called(&mut world, Who::Bt);
    let mut gate = Gate::new(&world, Asker::Server, &[Algorithm::Md5]);
    gate.asks(&mut world, &other, &other.invite.clone(), false);
    anna.hears(&mut world, "503 INVITE");
    assert_eq!(world.sent_to(Who::Bt, "INVITE"), 1);
    assert_eq!(world.sent_to(Who::Bt, "ACK"), 1);
}

#[test]
fn cancel_while_the_signed_invite_rings() {
    let mut world = World::with(1, with_account("s3cret"));
    let mut gate = Gate::new(&world, Asker::Proxy, &[Algorithm::Sha256]);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let callee = let_in(&mut world, &mut gate);
    callee.reply(&mut world, 180);
    anna.hears(&mut world, "180 INVITE");
    anna.cancels(&mut world, None);
    let cancel = callee.is_cancelled(&mut world);
    assert_eq!(cancel.headers.cseq().number, 2, "it cancels the one that is out");
    anna.hears(&mut world, "487 INVITE");
}

#[test]
fn challenge_is_lost_and_comes_again() {
    let mut world = World::with(1, with_account("s3cret"));
    world.network.lose(1, "401").from(Who::Colt);
    let mut gate = Gate::new(&world, Asker::Server, &[Algorithm::Sha256]);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let asked = Party::called(&mut world, Who::Colt);
    gate.asks(&mut world, &asked, &asked.invite.clone(), false);
    let repeat = Party::called(&mut world, Who::Colt);
    assert_eq!(value(&repeat.invite, Name::CSeq), "1 INVITE");
    gate.asks(&mut world, &repeat, &repeat.invite.clone(), false);
    let callee = Party::called(&mut world, Who::Colt);
    assert_eq!(gate.judges(&world, &callee.invite), Verdict::Genuine(0));
    connect(&mut world, &mut anna, &callee);
    hang_up(&mut world, &mut anna, &callee);
}

#[test]
fn a_target_that_falls_silent_after_its_challenge_gives_way() {
    let mut world = World::with(1, with_account("s3cret"));
    let mut gate = Gate::new(&world, Asker::Server, &[Algorithm::Sha256]);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let silent = let_in(&mut world, &mut gate);
    let subscriber = Party::called(&mut world, Who::Bt);
    assert!(world.elapsed() < secs(4));
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
    silent.reply(&mut world, 486);
}

#[test]
fn reinvite_and_bye_are_challenged_and_counted_on() {
    let mut world = World::with(1, with_account("s3cret"));
    let mut gate = Gate::new(&world, Asker::Proxy, &[Algorithm::Sha256]);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let callee = let_in(&mut world, &mut gate);
    connect(&mut world, &mut anna, &callee);

    let hold = sdp_text::teams(Who::Sip.media()).replace("a=sendrecv", "a=inactive");
    anna.asks(&mut world, Method::Invite, Some(hold));
    let Message::Request(asked) = world.expect(Who::Colt, "INVITE") else { panic!("no request") };
    assert_eq!(value(&asked, Name::CSeq), "3 INVITE");
    gate.asks(&mut world, &callee, &asked, false);
    let Message::Request(signed) = world.expect(Who::Colt, "INVITE") else { panic!("no request") };
    assert_eq!(value(&signed, Name::CSeq), "4 INVITE");
    assert_eq!(gate.judges(&world, &signed), Verdict::Genuine(0));
    callee.answer(&mut world, &signed, 200, |response| {
        let held = sdp_text::carrier(Who::Colt.media()).replace("a=sendrecv", "a=inactive");
        response.set_body("application/sdp", held);
    });
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    let ack = callee.gets(&mut world, "ACK");
    let ack = if ack.headers.cseq().number == 4 { ack } else { callee.gets(&mut world, "ACK") };
    assert_eq!(ack.headers.cseq().number, 4);
    let shown = value(&signed, Name::ProxyAuthorization);
    assert_eq!(value(&ack, Name::ProxyAuthorization), shown, "RFC 3261, 22.1");

    anna.hangs_up(&mut world);
    let bye = callee.gets(&mut world, "BYE");
    assert_eq!(value(&bye, Name::CSeq), "5 BYE");
    gate.asks(&mut world, &callee, &bye, false);
    let bye = callee.is_hung_up(&mut world);
    assert_eq!(value(&bye, Name::CSeq), "6 BYE");
    assert_eq!(gate.judges(&world, &bye), Verdict::Genuine(0));
}

#[test]
fn challenge_to_options_shows_that_the_target_is_there_and_is_not_answered() {
    let mut world = World::with(1, |plan| {
        plan.trunks[BT].options_interval = Some(secs(60));
        plan.trunks[BT].accounts.ours = Some(account("s3cret"));
    });
    world.without_laws(); // Probes go on for ever, so nothing comes to rest.
    let Message::Request(options) = world.expect(Who::Bt, "OPTIONS") else { panic!("no request") };
    let party = Party::of_invite(&mut world, Who::Bt, &Message::Request(options.clone()));
    Gate::new(&world, Asker::Server, &[Algorithm::Md5]).asks(&mut world, &party, &options, false);
    world.run_for(secs(2));
    assert_eq!(world.sent_to(Who::Bt, "OPTIONS"), 1);
    assert!(world.core().targets(world.now()).iter().any(|row| row.trunk == "bt" && row.up));
}

#[test]
fn ack_shows_the_credentials_of_its_invite() {
    for asker in [Asker::Server, Asker::Proxy] {
        let mut world = World::with(1, with_account("s3cret"));
        let mut gate = Gate::new(&world, asker, &[Algorithm::Sha256]);
        let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
        let callee = let_in(&mut world, &mut gate);
        callee.reply(&mut world, 200);
        let ack = callee.gets(&mut world, "ACK");
        for name in [Name::Authorization, Name::ProxyAuthorization] {
            assert_eq!(value(&ack, name), value(&callee.invite, name), "RFC 3261, 13.2.2.4");
        }
        let answer = anna.hears(&mut world, "200 INVITE");
        anna.acknowledges(&mut world, &answer);
        world.run_for(secs(1));
        hang_up(&mut world, &mut anna, &callee);
    }
}
