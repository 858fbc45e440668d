//! A registration and what registrars do to it.

use super::{
    BACKOFF_MIN, Draw, EXPIRES_MAX, Failure, LEAVE_MAX, Order, REFUSED_MIN, Registration,
    SILENCE_ALONE_MAX, SILENCE_MAX, Terms,
};
use crate::auth::{Account, Refusal, Secret};
use crate::message::{Message, Name, Request, Response};
use bytes::Bytes;
use std::time::{Duration, Instant};

struct Rig {
    now: Instant,
    registration: Registration,
    fraction: f64,
}

const CONTACT: &str = "sip:bob@192.0.2.1:5060;transport=udp";

impl Rig {
    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    fn new(registrars: usize) -> Self {
        let now = Instant::now();
        let account = Account { user: "bob".into(), secret: Secret::new("zanzibar"), realm: None };
        let terms = Terms {
            domain: "sip:carrier.example".into(),
            aor: "sip:bob@carrier.example".into(),
            contact: CONTACT.into(),
            registrars,
            expires: secs(600),
            account,
            product: "Tollgate".into(),
        };
        let registration = Registration::start(now, terms, "call-1".into(), "tag1".into());
        Self { now, registration, fraction: 0.0 }
    }

    fn draw(&self) -> Draw {
        Draw { fraction: self.fraction, token: "cn".into() }
    }

    fn orders(&mut self) -> Vec<Order> {
        std::iter::from_fn(|| self.registration.poll_order()).collect()
    }

    /// The one REGISTER that is to be sent now.
    fn sent(&mut self) -> (usize, Request) {
        match self.orders().as_slice() {
            [Order::Send { registrar, request }] => (*registrar, request.clone()),
            other => panic!("not one REGISTER: {other:?}"),
        }
    }

    fn answer(&mut self, status: u16, lines: &[(&str, &str)]) {
        let response = response(status, lines);
        let draw = self.draw();
        self.registration.response(self.now, &response, &draw);
    }

    fn grant(&mut self, seconds: u32) {
        self.answer(200, &[("Contact", &format!("<{CONTACT}>;expires={seconds}"))]);
    }

    fn lose(&mut self, failure: Failure) {
        let draw = self.draw();
        self.registration.lost(self.now, failure, &draw);
    }

    /// Lets time pass until the next deadline; how long that was.
    fn wait(&mut self) -> Duration {
        let due = self.registration.poll_timeout().unwrap();
        let waited = due - self.now;
        self.now = due;
        let draw = self.draw();
        self.registration.handle_timeout(due, &draw);
        waited
    }

    fn up(&mut self) -> Duration {
        match self.orders().as_slice() {
            [Order::Up { bound, .. }] => *bound - self.now,
            other => panic!("not up: {other:?}"),
        }
    }

    fn down(&mut self) -> Failure {
        match self.orders().as_slice() {
            [Order::Down(failure)] => *failure,
            other => panic!("not down: {other:?}"),
        }
    }

    fn ended(&mut self) -> bool {
        matches!(self.orders().as_slice(), [Order::Ended])
            && self.registration.poll_timeout().is_none()
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn response(status: u16, lines: &[(&str, &str)]) -> Response {
    let mut text = format!(
        "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
         To: <sip:b@h>;tag=2\r\nCall-ID: c1\r\nCSeq: 1 REGISTER\r\n"
    );
    for (name, value) in lines {
        text += &format!("{name}: {value}\r\n");
    }
    match Message::parse(Bytes::from(text + "\r\n")) {
        Ok(Message::Response(response)) => response,
        other => panic!("not a response: {other:?}"),
    }
}

fn text(request: &Request, name: Name) -> String {
    String::from_utf8_lossy(request.headers.get(name).unwrap_or_default()).into_owned()
}

const ASKED: (&str, &str) =
    ("WWW-Authenticate", "Digest realm=\"carrier\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256");

#[test]
fn register_is_as_the_rfc_wants_it() {
    let mut rig = Rig::new(1);
    let (_, request) = rig.sent();
    assert_eq!(request.uri, "sip:carrier.example");
    assert_eq!(text(&request, Name::To), "<sip:bob@carrier.example>");
    assert_eq!(text(&request, Name::From), "<sip:bob@carrier.example>;tag=tag1");
    assert_eq!(text(&request, Name::CSeq), "1 REGISTER");
    assert_eq!(text(&request, Name::Contact), format!("<{CONTACT}>"));
    assert_eq!(text(&request, Name::Expires), "600");
    assert_eq!(request.headers.get(Name::Authorization), None);
}

#[test]
fn challenged_then_granted_then_refreshed_without_being_asked_again() {
    let mut rig = Rig::new(1);
    rig.sent();
    rig.answer(401, &[ASKED]);
    let (_, signed) = rig.sent();
    assert_eq!(text(&signed, Name::CSeq), "2 REGISTER");
    assert_eq!(text(&signed, Name::CallId), "call-1");
    assert!(text(&signed, Name::Authorization).contains("nc=00000001"));
    rig.grant(600);
    assert_eq!(rig.up(), secs(600));
    assert_eq!(rig.wait(), secs(390), "65 % of the time at the least");
    let (_, refresh) = rig.sent();
    assert_eq!(text(&refresh, Name::CSeq), "3 REGISTER");
    assert!(text(&refresh, Name::Authorization).contains("nc=00000002"));
    rig.grant(600);
    rig.up();
    assert_eq!(rig.registration.unexpected(), 0);
}

#[test]
fn refresh_is_spread_but_stays_before_the_end() {
    for (fraction, want) in [(0.0, 390), (0.5, 435), (0.999_999, 480)] {
        let mut rig = Rig::new(1);
        rig.fraction = fraction;
        rig.sent();
        rig.grant(600);
        rig.up();
        assert_eq!(rig.wait().as_secs_f64().round() as u64, want);
    }
}

#[test]
fn time_granted_is_read_from_our_contact_first() {
    for (lines, want) in [
        (&[("Contact", "<sip:bob@192.0.2.1:5060>;expires=60"), ("Expires", "90")][..], 60),
        (
            &[("Contact", "<sip:x@198.51.100.9>;expires=20, <sip:bob@192.0.2.1:5060>;expires=70")],
            70,
        ),
        (&[("Contact", "<sip:bob@192.0.2.1:5060>"), ("Expires", "90")], 90),
        (&[("Contact", "<sip:bob@198.51.100.9:777>;expires=120")], 120),
        (&[("Expires", "90")], 90),
        (&[], 600),
        (&[("Contact", "<sip:bob@192.0.2.1:5060>;expires=nonsense"), ("Expires", "+5")], 600),
        (&[("Expires", "4294967295")], EXPIRES_MAX.as_secs()),
        // Less than our least pause between two refreshes.
        (&[("Expires", "1")], 5),
    ] {
        let mut rig = Rig::new(1);
        rig.sent();
        rig.answer(200, lines);
        assert_eq!(rig.up(), secs(want), "{lines:?}");
    }
}

#[test]
fn granted_for_no_time_is_no_binding() {
    let mut rig = Rig::new(1);
    rig.sent();
    rig.grant(0);
    assert_eq!(rig.down(), Failure::NothingGranted);
}

#[test]
fn refresh_challenged_with_a_new_nonce_is_signed_anew() {
    for stale in ["", ", stale=true"] {
        let mut rig = Rig::new(1);
        rig.sent();
        rig.answer(401, &[ASKED]);
        rig.sent();
        rig.grant(600);
        rig.up();
        rig.wait();
        rig.sent();
        let anew = format!("Digest realm=\"carrier\", nonce=\"n2\", qop=\"auth\"{stale}");
        rig.answer(401, &[("WWW-Authenticate", &anew)]);
        let (_, request) = rig.sent();
        let said = text(&request, Name::Authorization);
        assert!(said.contains("nonce=\"n2\"") && said.contains("nc=00000001"), "{said}");
        rig.grant(600);
        rig.up();
    }
}

#[test]
fn wrong_secret_is_not_hammered_and_not_tried_elsewhere() {
    let mut rig = Rig::new(2);
    rig.sent();
    rig.answer(401, &[ASKED]);
    rig.sent();
    rig.answer(401, &[ASKED]);
    assert_eq!(rig.down(), Failure::Challenge(Refusal::WrongCredentials));
    assert_eq!(rig.wait(), REFUSED_MIN);
    let (registrar, request) = rig.sent();
    assert_eq!((registrar, text(&request, Name::CSeq).as_str()), (0, "3 REGISTER"));
}

#[test]
fn forbidden_takes_an_older_binding_down_at_once() {
    let mut rig = Rig::new(1);
    rig.sent();
    rig.grant(600);
    rig.up();
    rig.wait();
    rig.sent();
    rig.answer(403, &[]);
    assert_eq!(rig.down(), Failure::Status(403));
}

#[test]
fn interval_too_brief_is_asked_for_longer_once() {
    let mut rig = Rig::new(1);
    rig.sent();
    rig.answer(401, &[ASKED]);
    rig.sent();
    rig.answer(423, &[("Min-Expires", "1800")]);
    let (_, request) = rig.sent();
    assert_eq!(text(&request, Name::Expires), "1800");
    rig.answer(401, &[("WWW-Authenticate", "Digest realm=\"carrier\", nonce=\"n2\"")]);
    rig.sent();
    rig.answer(423, &[("Min-Expires", "1800")]);
    assert_eq!(rig.down(), Failure::Status(423), "it has what it asked for");
    rig.wait();
    assert_eq!(text(&rig.sent().1, Name::Expires), "600");
}

#[test]
fn interval_that_is_never_long_enough_is_refused() {
    for least in ["", "0", "600", "99999999", "x"] {
        let mut rig = Rig::new(1);
        rig.sent();
        rig.answer(423, &[("Min-Expires", least)]);
        assert_eq!(rig.down(), Failure::Status(423), "{least}");
    }
}

#[test]
fn silent_registrar_gives_way_to_the_next_and_its_nonce_stays_behind() {
    let mut rig = Rig::new(2);
    rig.sent();
    rig.answer(401, &[ASKED]);
    rig.sent();
    rig.grant(600);
    rig.up();
    rig.wait();
    assert_eq!(rig.sent().0, 0);
    assert_eq!(rig.wait(), SILENCE_MAX);
    let (registrar, request) = rig.sent();
    assert_eq!((registrar, text(&request, Name::CSeq).as_str()), (1, "4 REGISTER"));
    assert_eq!(text(&request, Name::CallId), "call-1");
    assert_eq!(request.headers.get(Name::Authorization), None);
    rig.grant(600);
    assert_eq!(rig.up(), secs(600), "it was never down");
    rig.wait();
    assert_eq!(rig.sent().0, 1, "it stays where it was granted");
}

#[test]
fn each_kind_of_server_failure_goes_on_to_the_next() {
    for status in [408, 430, 480, 500, 503, 504] {
        let mut rig = Rig::new(2);
        rig.sent();
        rig.answer(status, &[]);
        assert_eq!(rig.sent().0, 1, "{status}");
    }
    for failure in [Failure::Unreachable, Failure::Silence] {
        let mut rig = Rig::new(2);
        rig.sent();
        rig.lose(failure);
        assert_eq!(rig.sent().0, 1);
    }
    for status in [301, 400, 403, 404, 405, 603] {
        let mut rig = Rig::new(2);
        rig.sent();
        rig.answer(status, &[]);
        assert_eq!(rig.down(), Failure::Status(status));
    }
}

#[test]
fn when_all_fail_the_wait_doubles_up_to_half_an_hour() {
    let mut rig = Rig::new(2);
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(rig.sent().0, 0, "the preferred one is first again");
        rig.lose(Failure::Unreachable);
        assert_eq!(rig.sent().0, 1);
        rig.lose(Failure::Unreachable);
        assert_eq!(rig.down(), Failure::Unreachable);
        waits.push(rig.wait().as_secs());
    }
    assert_eq!(waits, [15, 30, 60, 120, 240, 480, 900, 900, 900]);
    rig.sent();
    rig.grant(600);
    rig.up();
    rig.wait();
    rig.sent();
    rig.lose(Failure::Unreachable);
    rig.sent();
    rig.lose(Failure::Unreachable);
    assert!(rig.orders().is_empty(), "the binding still holds");
    assert_eq!(rig.wait(), BACKOFF_MIN / 2, "a grant sets the wait back");
}

#[test]
fn binding_that_nobody_refreshes_ends_when_it_ends() {
    let mut rig = Rig::new(1);
    rig.sent();
    rig.grant(100);
    rig.up();
    let mut passed = rig.wait();
    rig.sent();
    passed += rig.wait();
    assert_eq!(passed, secs(65) + SILENCE_ALONE_MAX);
    assert!(rig.orders().is_empty());
    passed += rig.wait();
    assert_eq!((passed, rig.down()), (secs(100), Failure::Expired));
    rig.wait();
    rig.sent();
    rig.grant(100);
    rig.up();
}

#[test]
fn binding_may_end_while_its_refresh_is_out() {
    let mut rig = Rig::new(1);
    rig.sent();
    rig.grant(60);
    rig.up();
    rig.wait();
    rig.sent();
    assert_eq!(rig.wait(), secs(21));
    assert_eq!(rig.down(), Failure::Expired);
    rig.grant(60);
    assert_eq!(rig.up(), secs(60), "late is better than never");
}

#[test]
fn retry_after_keeps_us_away_from_that_registrar_only() {
    let mut rig = Rig::new(2);
    rig.sent();
    rig.answer(503, &[("Retry-After", "120 (maintenance);duration=9")]);
    assert_eq!(rig.sent().0, 1);
    rig.answer(500, &[]);
    rig.down();
    assert_eq!(rig.wait(), secs(15));
    assert_eq!(rig.sent().0, 1, "the first one still wants to be left alone");
    rig.lose(Failure::Unreachable);
    rig.down();
}

#[test]
fn retry_after_of_all_is_waited_for_but_not_for_days() {
    let mut rig = Rig::new(1);
    rig.sent();
    rig.answer(503, &[("Retry-After", "4294967295")]);
    rig.down();
    assert_eq!(rig.wait(), secs(3600));
    rig.sent();
}

#[test]
fn stop_removes_the_binding_where_it_was_granted() {
    let mut rig = Rig::new(2);
    rig.sent();
    rig.lose(Failure::Unreachable);
    rig.sent();
    rig.answer(401, &[ASKED]);
    rig.sent();
    rig.grant(600);
    rig.up();
    rig.registration.stop(rig.now);
    let (registrar, request) = rig.sent();
    assert_eq!((registrar, text(&request, Name::Expires).as_str()), (1, "0"));
    assert!(text(&request, Name::Authorization).contains("nc=00000002"));
    rig.answer(401, &[("WWW-Authenticate", "Digest realm=\"carrier\", nonce=\"n9\"")]);
    let (_, request) = rig.sent();
    assert_eq!(text(&request, Name::Expires), "0");
    rig.answer(200, &[]);
    assert!(rig.ended());
}

#[test]
fn stop_is_not_held_up_by_a_dead_registrar() {
    let mut rig = Rig::new(1);
    rig.sent();
    rig.grant(600);
    rig.up();
    rig.registration.stop(rig.now);
    rig.sent();
    assert_eq!(rig.wait(), LEAVE_MAX);
    assert!(rig.ended());
}

#[test]
fn stop_while_register_is_out_awaits_its_answer() {
    let mut rig = Rig::new(1);
    rig.sent();
    rig.registration.stop(rig.now);
    assert!(rig.orders().is_empty(), "one REGISTER at a time");
    rig.grant(600);
    let (_, request) = rig.sent();
    assert_eq!(text(&request, Name::Expires), "0");
    rig.answer(200, &[]);
    assert!(rig.ended());

    let mut rig = Rig::new(2);
    rig.sent();
    rig.registration.stop(rig.now);
    rig.lose(Failure::Unreachable);
    assert!(rig.ended(), "nothing was granted, nothing is to be removed");
}

#[test]
fn stop_with_nothing_granted_is_over_at_once() {
    let mut rig = Rig::new(1);
    rig.sent();
    rig.answer(403, &[]);
    rig.down();
    rig.registration.stop(rig.now);
    assert!(rig.ended());
    rig.registration.stop(rig.now);
    rig.answer(200, &[]);
    assert!(rig.orders().is_empty());
}

#[test]
fn provisional_answers_change_nothing() {
    let mut rig = Rig::new(1);
    rig.sent();
    let due = rig.registration.poll_timeout();
    rig.answer(100, &[]);
    assert!(rig.orders().is_empty());
    assert_eq!(rig.registration.poll_timeout(), due);
}
