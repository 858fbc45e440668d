//! A PBX registers with us: when it is believed, how it is reached, and when it is not there.

use b2bua::accounts::{Account, Registrar, Secret, Times, User};
use b2bua::io::Event;
use b2bua::plan::{Plan, Transport};
use callflow::plan::{ANNA, COLT, CONTOSO, NODE, PSTN};
use callflow::script::{connect, hang_up, usual_sdp};
use callflow::{Party, Who, World, secs};
use sip_core::auth::{Algorithm, Standing, challenges};
use sip_core::{Message, Method, Name, Request, Response};
use std::sync::Arc;

const LINE: &str = "<sip:line@198.51.100.20:5060>";

/// Colt is a PBX that registers, and calls of contoso go there alone.
fn registrar(plan: &mut Plan) {
    let user = |name: &str| User { name: name.into(), secret: Secret::new("s3cret") };
    let trunk = &mut plan.trunks[COLT];
    trunk.targets.clear();
    trunk.accounts.registrar = Some(Arc::new(Registrar {
        realm: NODE.into(),
        users: vec![user("pbx"), user("spare")],
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        times: Times { least: secs(60), most: secs(300) },
        challenge_calls: true,
    }));
    plan.tenants[0].routes[0].to = vec![COLT].into();
}

fn vary(plan: &mut Plan, change: impl FnOnce(&mut Registrar)) {
    let of = plan.trunks[COLT].accounts.registrar.as_mut().expect("it has one");
    change(Arc::make_mut(of));
}

/// One that registers.
struct Pbx {
    account: Account,
    standing: Standing,
    port: u16,
    call_id: String,
    cseq: u32,
}

impl Pbx {
    fn new(user: &str, secret: &str) -> Self {
        Self::at(user, secret, Who::Colt.address().port())
    }

    /// The same, sending from this port.
    fn at(user: &str, secret: &str, port: u16) -> Self {
        let secret = Secret::new(secret.to_owned());
        let account = Account { user: user.into(), secret, realm: None };
        let call_id = format!("register-{user}-{port}");
        Self { account, standing: Standing::default(), port, call_id, cseq: 0 }
    }

    fn branch(&self) -> String {
        format!("z9hG4bK{}{}{}", self.port, self.call_id, self.cseq)
    }

    fn via(&self) -> String {
        format!("SIP/2.0/UDP {};rport;branch={}", Who::Colt.address(), self.branch())
    }

    /// Sends REGISTER with these lines, signed with what was asked last; `want` is what it is
    /// answered.
    fn asks(&mut self, world: &mut World, lines: &[(Name, &str)], want: &str) -> Response {
        self.cseq += 1;
        let mut request = Request::new(Method::Register, format!("sip:{NODE}"));
        let headers = &mut request.headers;
        headers.push(Name::Via, self.via());
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, format!("<sip:pbx@{NODE}>;tag=r{}", self.cseq));
        headers.push(Name::To, format!("<sip:pbx@{NODE}>"));
        headers.push(Name::CallId, self.call_id.clone());
        headers.push(Name::CSeq, format!("{} REGISTER", self.cseq));
        for (name, value) in lines {
            headers.push(*name, (*value).to_owned());
        }
        self.standing.sign(&mut request, &self.account);
        self.sends(world, request);
        let response = heard(world, &format!("{want} REGISTER"));
        match response.status {
            200 => self.standing.accepted(&response),
            401 => {
                // A refusal that is meant to come.
                let _ = self.standing.challenged(&response, &self.account, "c0ffee");
            }
            _ => {}
        }
        response
    }

    fn sends(&self, world: &mut World, message: impl Into<Message>) {
        match self.port == Who::Colt.address().port() {
            true => world.send(Who::Colt, message),
            false => world.send_from_port(Who::Colt, self.port, message),
        }
    }

    /// Registers this Contact: challenged, then taken.
    fn registers(&mut self, world: &mut World, contact: &str) -> Response {
        self.asks(world, &[(Name::Contact, contact)], "401");
        self.asks(world, &[(Name::Contact, contact)], "200")
    }

    /// Answers an INVITE that came over its flow.
    fn answers(&self, world: &mut World, invite: &Request, status: u16, contact: &str) {
        let mut response = Response::to(invite, status, Some(b"pbx"));
        response.headers.push(Name::Contact, contact.to_owned());
        if status == 200 {
            response.set_body("application/sdp", usual_sdp(Who::Colt));
        }
        self.sends(world, response);
    }
}

fn heard(world: &mut World, what: &str) -> Response {
    let response = match world.expect(Who::Colt, what) {
        Message::Response(response) => Some(response),
        Message::Request(_) => None,
    };
    response.expect("a response")
}

fn contacts(response: &Response) -> Vec<String> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    response.headers.list(Name::Contact).map(text).collect()
}

/// What `tollgate trunks` shows of the trunk: whether it is up, and why.
fn shown(world: &World) -> Vec<(bool, String)> {
    let rows = world.core().targets(world.now()).into_iter().filter(|row| row.trunk == "colt");
    rows.map(|row| (row.up, row.last)).collect()
}

fn nobody() -> Vec<(bool, String)> {
    vec![(false, "nobody is registered".to_owned())]
}

/// How many bindings were told of, each time it changed.
fn told(world: &World) -> Vec<Option<usize>> {
    let bindings = |event: &Event| match event {
        Event::Bindings { bindings, .. } => Some(*bindings),
        _ => None,
    };
    world.events.iter().filter_map(bindings).collect()
}

fn refusals(world: &World) -> Vec<&'static str> {
    let reason = |event: &Event| match event {
        Event::RegistrarRefused { reason, .. } => Some(*reason),
        _ => None,
    };
    world.events.iter().filter_map(reason).collect()
}

/// A call that finds the trunk down.
fn call_finds_nobody(world: &mut World) {
    let mut anna = Party::from_teams(world, CONTOSO, PSTN);
    let refused = anna.hears(world, "503 INVITE");
    anna.acknowledges_failure(world, &refused);
    world.run_for(secs(1));
    let record = world.records.last().expect("a record");
    assert_eq!(record.cause, "trunk_down");
}

fn outcomes(world: &World) -> Vec<(&str, &str)> {
    let record = world.records.last().expect("a record");
    record.attempts.iter().map(|it| (it.target.as_str(), it.outcome.as_str())).collect()
}

#[test]
fn registers_and_is_called_under_its_contact_with_the_number_that_was_called() {
    let mut world = World::with(1, registrar);
    let mut pbx = Pbx::new("pbx", "s3cret");
    let contact = "<sip:line@198.51.100.20:5060;transport=udp;line=abc;user=phone;ob>;expires=90";
    let challenge = pbx.asks(&mut world, &[(Name::Contact, contact)], "401");
    let asked = challenges(&challenge.headers);
    assert_eq!(asked.len(), 1, "of two algorithms the better one is answered");
    assert_eq!(challenge.headers.all(Name::WwwAuthenticate).count(), 2);
    assert_eq!(told(&world), [Some(0)], "nothing is bound by who has only asked");
    let granted = pbx.asks(&mut world, &[(Name::Contact, contact)], "200");
    let bound = "<sip:line@198.51.100.20:5060;transport=udp;line=abc;user=phone;ob>;expires=90";
    assert_eq!(contacts(&granted), [bound]);
    assert_eq!(told(&world), [Some(0), Some(1)]);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let callee = Party::called(&mut world, Who::Colt);
    assert_eq!(
        callee.invite.uri,
        format!("sip:{PSTN}@198.51.100.20:5060;user=phone;transport=udp;line=abc;ob")
    );
    connect(&mut world, &mut anna, &callee);
    hang_up(&mut world, &mut anna, &callee);
    world.run_for(secs(1));
    assert_eq!(outcomes(&world), [("198.51.100.20:5060", "200")]);
    assert!(refusals(&world).is_empty(), "who had no nonce yet did nothing wrong");
}

#[test]
fn stranger_registers_with_a_wrong_secret_or_name() {
    for (user, secret) in [("pbx", "wrong"), ("nobody", "s3cret")] {
        let mut world = World::with(1, registrar);
        let mut pbx = Pbx::new(user, secret);
        pbx.asks(&mut world, &[(Name::Contact, LINE)], "401");
        let again = pbx.asks(&mut world, &[(Name::Contact, LINE)], "401");
        assert!(!challenges(&again.headers)[0].stale);
        assert_eq!(refusals(&world), ["wrong_credentials"]);
        assert_eq!((shown(&world), told(&world)), (nobody(), vec![Some(0)]));
        call_finds_nobody(&mut world);
        assert_eq!(outcomes(&world), [(NODE, "not_registered")]);
        assert_eq!(world.sent_to(Who::Colt, "INVITE"), 0);
    }
}

#[test]
fn stale_nonce_is_renewed_without_a_word_about_the_secret() {
    let mut world = World::with(1, registrar);
    let mut pbx = Pbx::new("pbx", "s3cret");
    pbx.registers(&mut world, LINE);
    world.run_for(secs(150));
    pbx.asks(&mut world, &[(Name::Contact, LINE)], "200");
    world.run_for(secs(200));
    let stale = pbx.asks(&mut world, &[(Name::Contact, LINE)], "401");
    assert!(challenges(&stale.headers)[0].stale);
    assert_eq!(shown(&world).len(), 1, "what is bound stays");
    assert!(shown(&world)[0].0);
    pbx.asks(&mut world, &[(Name::Contact, LINE)], "200");
    assert_eq!(refusals(&world), ["stale"]);
    assert_eq!(told(&world), [Some(0), Some(1)], "refreshes change nothing");
}

#[test]
fn binding_expires_and_the_trunk_is_down() {
    let mut world = World::with(1, registrar);
    let mut pbx = Pbx::new("pbx", "s3cret");
    pbx.registers(&mut world, "<sip:line@198.51.100.20:5060>;expires=60");
    world.run_for(secs(59));
    assert_eq!(told(&world), [Some(0), Some(1)]);
    assert_eq!(shown(&world), [(true, "pbx registered, 0 s left".to_owned())]);
    world.run_for(secs(1));
    assert_eq!(told(&world), [Some(0), Some(1), Some(0)], "nobody had to ask");
    assert_eq!(shown(&world), nobody());
    call_finds_nobody(&mut world);
    assert_eq!(outcomes(&world), [(NODE, "not_registered")]);
}

#[test]
fn call_goes_to_the_next_trunk_while_nobody_is_registered() {
    let mut world = World::with(1, |plan| {
        let routes = plan.tenants[0].routes[0].to.clone();
        registrar(plan);
        plan.tenants[0].routes[0].to = routes;
    });
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let subscriber = Party::called(&mut world, Who::Bt);
    connect(&mut world, &mut anna, &subscriber);
    hang_up(&mut world, &mut anna, &subscriber);
}

#[test]
fn pbx_behind_nat_is_reached_over_the_flow_it_registered_on() {
    let mut world = World::with(1, registrar);
    let mut pbx = Pbx::at("pbx", "s3cret", 41_000);
    let inside = "<sip:line@10.0.0.7:5060>";
    pbx.registers(&mut world, inside);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let invite = Party::called(&mut world, Who::Colt).invite;
    assert_eq!(invite.uri, format!("sip:{PSTN}@10.0.0.7:5060;user=phone;transport=udp"));
    pbx.answers(&mut world, &invite, 180, inside);
    anna.hears(&mut world, "180 INVITE");
    pbx.answers(&mut world, &invite, 200, inside);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.expect(Who::Colt, "ACK");
    anna.hangs_up(&mut world);
    let Message::Request(bye) = world.expect(Who::Colt, "BYE") else { panic!("no request") };
    assert_eq!(bye.uri, "sip:line@10.0.0.7:5060");
    pbx.sends(&mut world, Response::to(&bye, 200, None));
    world.run_for(secs(1));
    for what in ["INVITE", "ACK", "BYE"] {
        assert_eq!(world.ports_sent_to(Who::Colt, what), [41_000], "{what}");
    }
}

/// The PBX's listener is one for TCP.
fn over_tcp(plan: &mut Plan) {
    registrar(plan);
    let listener = plan.trunks[COLT].listener;
    plan.listeners[listener].transport = Transport::Tcp;
}

#[test]
fn connection_is_lost_and_a_pbx_behind_nat_counts_as_gone_until_it_registers_again() {
    let mut world = World::with(1, over_tcp);
    let mut pbx = Pbx::new("pbx", "s3cret");
    pbx.registers(&mut world, "<sip:line@10.0.0.7:5060>");
    world.drop_connections(Who::Colt);
    call_finds_nobody(&mut world);
    assert_eq!(outcomes(&world), [("10.0.0.7:5060", "connection closed")]);
    assert_eq!(told(&world), [Some(0), Some(1), Some(0)]);
    assert_eq!(shown(&world), nobody());
    pbx.asks(&mut world, &[(Name::Contact, "<sip:line@10.0.0.7:5060>")], "200");
    assert!(shown(&world)[0].0);
    Party::from_teams(&mut world, CONTOSO, PSTN).cancels_when_it_rings(&mut world);
}

#[test]
fn connection_is_lost_within_a_call_and_the_bye_goes_over_the_one_that_is_registered_now() {
    let mut world = World::with(1, over_tcp);
    let mut pbx = Pbx::new("pbx", "s3cret");
    let inside = "<sip:line@10.0.0.7:5060>";
    pbx.registers(&mut world, inside);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let invite = Party::called(&mut world, Who::Colt).invite;
    pbx.answers(&mut world, &invite, 200, inside);
    let answer = anna.hears(&mut world, "200 INVITE");
    anna.acknowledges(&mut world, &answer);
    world.expect(Who::Colt, "ACK");
    world.drop_connections(Who::Colt);
    pbx.asks(&mut world, &[(Name::Contact, inside)], "200");
    let before = world.connections(Who::Colt);
    anna.hangs_up(&mut world);
    let Message::Request(bye) = world.expect(Who::Colt, "BYE") else { panic!("no request") };
    pbx.sends(&mut world, Response::to(&bye, 200, None));
    world.run_for(secs(1));
    assert_eq!(world.connections(Who::Colt), before, "behind NAT we could open none");
}

#[test]
fn connection_is_lost_and_a_pbx_whose_contact_is_in_the_sources_is_called_there() {
    let mut world = World::with(1, over_tcp);
    let mut pbx = Pbx::new("pbx", "s3cret");
    pbx.registers(&mut world, LINE);
    let before = world.connections(Who::Colt);
    world.drop_connections(Who::Colt);
    Party::from_teams(&mut world, CONTOSO, PSTN).cancels_when_it_rings(&mut world);
    assert_eq!(world.connections(Who::Colt), before + 1, "we have opened one");
    assert_eq!(told(&world), [Some(0), Some(1)]);
}

trait Briefly {
    fn cancels_when_it_rings(self, world: &mut World);
}

impl Briefly for Party {
    fn cancels_when_it_rings(mut self, world: &mut World) {
        let callee = Party::called(world, Who::Colt);
        callee.reply(world, 180);
        self.hears(world, "180 INVITE");
        self.cancels(world, None);
        callee.is_cancelled(world);
        self.hears(world, "487 INVITE");
    }
}

#[test]
fn deregisters_one_contact_or_all() {
    let other = "<sip:other@198.51.100.20:5060>";
    let star = [(Name::Contact, "*"), (Name::Expires, "0")];
    let mut world = World::with(1, registrar);
    let mut pbx = Pbx::new("pbx", "s3cret");
    pbx.registers(&mut world, LINE);
    pbx.asks(&mut world, &[(Name::Contact, other)], "200");
    assert_eq!(shown(&world).len(), 2);
    let mut spare = Pbx::new("spare", "s3cret");
    spare.registers(&mut world, LINE);
    let gone = format!("{LINE};expires=0");
    let left = pbx.asks(&mut world, &[(Name::Contact, &gone)], "200");
    assert_eq!(contacts(&left), [format!("{other};expires=300")]);
    assert!(contacts(&pbx.asks(&mut world, &star, "200")).is_empty());
    let words: Vec<String> = shown(&world).into_iter().map(|(_, last)| last).collect();
    assert_eq!(words.len(), 1, "{words:?}");
    assert!(words[0].starts_with("spare registered"), "nobody removes what is another's");
    spare.asks(&mut world, &star, "200");
    assert_eq!(shown(&world), nobody());
    assert_eq!(told(&world), [0, 1, 2, 3, 2, 1, 0].map(Some));
    call_finds_nobody(&mut world);
}

#[test]
fn two_contacts_and_the_first_does_not_answer() {
    let mut world = World::with(1, registrar);
    let mut pbx = Pbx::new("pbx", "s3cret");
    pbx.registers(&mut world, LINE);
    let silent = "<sip:line@198.51.100.20:41001>";
    let mut second = Pbx::at("pbx", "s3cret", 41_001);
    second.registers(&mut world, silent);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    world.expect(Who::Colt, "INVITE");
    assert_eq!(world.ports_sent_to(Who::Colt, "INVITE"), [41_001], "the latest comes first");
    world.run_for(secs(3));
    let callee = loop {
        let callee = Party::called(&mut world, Who::Colt);
        if callee.invite.uri.starts_with(format!("sip:{PSTN}@198.51.100.20:5060").as_bytes()) {
            break callee;
        }
    };
    connect(&mut world, &mut anna, &callee);
    hang_up(&mut world, &mut anna, &callee);
    world.run_for(secs(1));
    assert_eq!(
        outcomes(&world),
        [("198.51.100.20:41001", "timeout"), ("198.51.100.20:5060", "200")]
    );
    // The next call does not wait for the same silence.
    world.forget(Who::Colt);
    let mut anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    let callee = Party::called(&mut world, Who::Colt);
    assert!(callee.invite.uri.starts_with(format!("sip:{PSTN}@198.51.100.20:5060").as_bytes()));
    connect(&mut world, &mut anna, &callee);
    hang_up(&mut world, &mut anna, &callee);
    // Once it registers again it is there again.
    second.asks(&mut world, &[(Name::Contact, silent)], "200");
    let anna = Party::from_teams(&mut world, CONTOSO, PSTN);
    world.run_for(secs(1));
    assert_eq!(world.ports_sent_to(Who::Colt, "INVITE").last(), Some(&41_001));
    anna.cancels(&mut world, None);
    world.forget(Who::Colt);
}

/// A call of the PBX that is challenged; it, and what it was answered.
fn challenged_call(world: &mut World) -> (Party, Response) {
    let mut caller = Party::from_carrier(world, Who::Colt, ANNA);
    let challenge = caller.hears(world, "401 INVITE");
    caller.acknowledges_failure(world, &challenge);
    (caller, challenge)
}

/// The same call with the answer to the challenge.
fn signed_call(world: &mut World, challenge: &Response, secret: &str) -> Party {
    let account = Pbx::new("pbx", secret).account;
    let uri = format!("sip:{ANNA}@{}:5060;user=phone", Who::Colt.ours().ip());
    Party::call(world, Who::Colt, PSTN, &uri, |invite| {
        let mut standing = Standing::default();
        standing.challenged(challenge, &account, "c0ffee").expect("a challenge");
        standing.sign(invite, &account);
    })
}

#[test]
fn invite_from_a_flow_that_nobody_registered_on_is_challenged_then_passes() {
    let mut world = World::with(1, registrar);
    let (_, challenge) = challenged_call(&mut world);
    assert_eq!(world.sent_to(Who::Sip, "INVITE"), 0);
    let mut wrong = signed_call(&mut world, &challenge, "wrong");
    let again = wrong.hears(&mut world, "401 INVITE");
    wrong.acknowledges_failure(&mut world, &again);
    assert_eq!(refusals(&world), ["wrong_credentials"]);
    world.run_for(secs(1));
    assert!(world.records.is_empty(), "being asked is no refused call");
    let mut caller = signed_call(&mut world, &again, "s3cret");
    let callee = Party::called(&mut world, Who::Sip);
    connect(&mut world, &mut caller, &callee);
    let credentials = callee.invite.headers.get(Name::Authorization);
    assert_eq!(credentials, None, "they are for us alone");
    hang_up(&mut world, &mut caller, &callee);
}

#[test]
fn invite_over_a_registered_flow_passes_until_the_binding_ends() {
    let mut world = World::with(1, registrar);
    let mut pbx = Pbx::new("pbx", "s3cret");
    pbx.registers(&mut world, LINE);
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let callee = Party::called(&mut world, Who::Sip);
    connect(&mut world, &mut caller, &callee);
    hang_up(&mut world, &mut caller, &callee);
    // Another port of the same host is another flow.
    let mut elsewhere = Request::clone(&caller.invite);
    elsewhere.headers.set(Name::CallId, "elsewhere");
    elsewhere.headers.set(Name::Via, Pbx::at("x", "y", 41_000).via());
    world.send_from_port(Who::Colt, 41_000, elsewhere.clone());
    let challenge = heard(&mut world, "401 INVITE");
    caller.acknowledges_failure_of(&mut world, &elsewhere, &challenge);
    pbx.asks(&mut world, &[(Name::Contact, "*"), (Name::Expires, "0")], "200");
    challenged_call(&mut world);
}

#[test]
fn without_challenge_calls_the_sources_alone_decide() {
    let mut world = World::with(1, |plan| {
        registrar(plan);
        vary(plan, |registrar| registrar.challenge_calls = false);
    });
    let mut caller = Party::from_carrier(&mut world, Who::Colt, ANNA);
    let callee = Party::called(&mut world, Who::Sip);
    connect(&mut world, &mut caller, &callee);
    hang_up(&mut world, &mut caller, &callee);
}

#[test]
fn reload_removes_the_trunks_registrar_and_what_is_bound_there() {
    let mut world = World::with(1, registrar);
    let mut pbx = Pbx::new("pbx", "s3cret");
    pbx.registers(&mut world, LINE);
    world.replan(|_| {});
    assert_eq!(told(&world), [Some(0), Some(1)], "what has not changed stays");
    world.replan(|plan| plan.trunks[COLT].accounts.registrar = None);
    assert_eq!(told(&world), [Some(0), Some(1), None]);
    assert!(shown(&world).is_empty());
    pbx.asks(&mut world, &[(Name::Contact, LINE)], "405");
    world.replan(registrar);
    assert_eq!(shown(&world), nobody(), "it does not come back with the trunk");
    call_finds_nobody(&mut world);
}

#[test]
fn reload_takes_away_who_may_not_register_any_more() {
    let changes: [fn(&mut Plan); 4] = [
        |plan| vary(plan, |registrar| drop(registrar.users.remove(0))),
        |plan| vary(plan, |registrar| registrar.users[0].secret = Secret::new("new")),
        |plan| plan.trunks[COLT].sources.clear(),
        |plan| plan.trunks[COLT].listener = 0,
    ];
    for change in changes {
        let mut world = World::with(1, registrar);
        Pbx::new("spare", "s3cret").registers(&mut world, LINE);
        Pbx::new("pbx", "s3cret").registers(&mut world, LINE);
        world.replan(|plan| vary(plan, |registrar| registrar.realm = "new.example".into()));
        assert_eq!(shown(&world).len(), 2, "another realm takes nothing away");
        world.replan(change);
        let left: Vec<String> = shown(&world).into_iter().map(|(_, last)| last).collect();
        assert!(!left.iter().any(|last| last.starts_with("pbx")), "{left:?}");
    }
}

#[test]
fn time_too_brief_late_repeat_and_one_contact_too_many_change_nothing() {
    let mut world = World::with(1, registrar);
    let mut pbx = Pbx::new("pbx", "s3cret");
    pbx.registers(&mut world, LINE);
    let brief = pbx.asks(&mut world, &[(Name::Contact, "<sip:x@h>;expires=59")], "423");
    assert_eq!(brief.headers.get(Name::MinExpires), Some(&b"60"[..]));
    pbx.asks(&mut world, &[(Name::Contact, "*")], "400");
    let many: Vec<String> = (0..9).map(|n| format!("<sip:{n}@h>")).collect();
    pbx.asks(&mut world, &[(Name::Contact, &many.join(", "))], "403");
    pbx.asks(&mut world, &[(Name::Contact, LINE)], "200");
    // One that others have overtaken.
    let late = format!("{LINE};expires=0");
    let mut other = Pbx::at("pbx", "s3cret", 41_000);
    other.asks(&mut world, &[], "401");
    (other.call_id, other.cseq) = (pbx.call_id.clone(), pbx.cseq - 2);
    other.asks(&mut world, &[(Name::Contact, &late)], "500");
    assert_eq!(refusals(&world), ["too_brief", "contact", "full", "out_of_order"]);
    let asked = pbx.asks(&mut world, &[], "200");
    assert_eq!(contacts(&asked), [format!("{LINE};expires=300")]);
}

/// TDR-IN-011.
#[test]
fn register_on_a_trunk_without_a_registrar_is_405() {
    let mut world = World::new(1);
    let refused = Pbx::new("pbx", "s3cret").asks(&mut world, &[(Name::Contact, LINE)], "405");
    let allow = String::from_utf8_lossy(refused.headers.get(Name::Allow).unwrap_or_default());
    assert!(!allow.contains("REGISTER"), "{allow}");
    assert!(told(&world).is_empty());
}

#[test]
fn register_while_the_host_stops_is_503() {
    let mut world = World::with(1, registrar);
    let mut pbx = Pbx::new("pbx", "s3cret");
    pbx.registers(&mut world, LINE);
    world.shut_down();
    assert!(world.stopped, "nobody has to be told");
    pbx.asks(&mut world, &[(Name::Contact, LINE)], "503");
}
