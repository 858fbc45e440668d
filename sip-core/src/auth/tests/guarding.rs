//! A challenging server: whom it believes, and what it keeps.

use super::{account, invite, said};
use crate::auth::{
    Algorithm, Asker, Denied, Guard, NONCE_LIFE, NONCES_MAX, Secret, Standing, User, Verdict,
    answer,
};
use crate::message::{Method, Name, Request, Response};
use std::time::{Duration, Instant};

struct Rig {
    now: Instant,
    guard: Guard,
    users: Vec<User>,
    number: u64,
}

impl Rig {
    fn new() -> Self {
        Self::offering(&[Algorithm::Sha512Trunc256, Algorithm::Sha256, Algorithm::Md5])
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    fn offering(algorithms: &[Algorithm]) -> Self {
        let now = Instant::now();
        let guard = Guard::new(now, [7; 32], "pbx.example.net", algorithms);
        let user =
            |name: &str, secret: &str| User { name: name.into(), secret: Secret::new(secret) };
        let users = vec![user("alice", "wonder"), user("b\"o\\b", "zanzibar")];
        Self { now, guard, users, number: 0 }
    }

    fn challenge(&mut self, stale: bool) -> Response {
        self.number += 1;
        let mut response = super::response(401, &[]);
        self.guard.challenge(self.now, Asker::Server, &mut response, stale, self.number);
        response
    }

    fn judge(&mut self, request: &Request) -> Verdict {
        self.guard.judge(self.now, Asker::Server, request, &self.users)
    }

    /// An INVITE with credentials to a fresh challenge.
    fn signed(&mut self, user: &str, secret: &str) -> (Request, Standing) {
        let (mut request, mut standing) = (invite(), Standing::default());
        let challenge = self.challenge(false);
        answer(&mut request, &challenge, &account(user, secret), &mut standing, "cn").unwrap();
        (request, standing)
    }
}

const fn denied(why: Denied) -> Verdict {
    Verdict::Denied(why)
}

#[test]
fn who_knows_the_secret_comes_in_with_each_algorithm() {
    for algorithm in
        ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"]
    {
        let mut rig = Rig::offering(&[Algorithm::named(algorithm.as_bytes()).unwrap()]);
        let (request, _) = rig.signed("alice", "wonder");
        assert_eq!(said(&request, "algorithm"), Some(algorithm));
        assert_eq!(rig.judge(&request), Verdict::Genuine(0), "{algorithm}");
        let (request, _) = rig.signed("b\"o\\b", "zanzibar");
        assert_eq!(rig.judge(&request), Verdict::Genuine(1), "{algorithm}");
    }
}

#[test]
fn challenge_lists_algorithms_in_order_of_preference() {
    let response = Rig::new().challenge(true);
    let lines: Vec<_> =
        response.headers.all(Name::WwwAuthenticate).map(String::from_utf8_lossy).collect();
    assert_eq!(lines.len(), 3);
    for (line, algorithm) in lines.iter().zip(["SHA-512-256", "SHA-256", "MD5"]) {
        assert!(line.contains(&format!("algorithm={algorithm},")) && line.contains("stale=true"));
    }
}

#[test]
fn stranger_leaves_no_trace() {
    let mut rig = Rig::new();
    assert_eq!(rig.judge(&invite()), denied(Denied::Missing));
    for (user, secret) in [("alice", "wrong"), ("mallory", "wonder"), ("ALICE", "wonder")] {
        let (request, _) = rig.signed(user, secret);
        assert_eq!(rig.judge(&request), denied(Denied::WrongCredentials), "{user}");
    }
    assert_eq!(rig.guard.nonces_held(), 0);
}

#[test]
fn unreadable_credentials_count_as_none() {
    let mut rig = Rig::new();
    for value in [
        "Digest username=\"alice\"",
        "Basic YWxpY2U6d29uZGVy",
        "Digest username=\"alice\", realm=\"pbx.example.net\", nonce=\"n\", uri=\"u\", \
         response=\"r\", qop=auth, cnonce=\"c\", nc=+0000001",
        "Digest username=\"alice\", realm=\"pbx.example.net\", nonce=\"n\", uri=\"u\", \
         response=\"r\", qop=auth, cnonce=\"c\", nc=00000000",
        "Digest username=\"alice\", realm=\"pbx.example.net\", nonce=\"n\", uri=\"u\", \
         response=\"r\", qop=auth, nc=00000001",
        "Digest username=\"alice\", realm=\"pbx.example.net\", nonce=\"n\", uri=\"u\", \
         response=\"r\", userhash=true",
        "Digest username=\"alice\", realm=\"elsewhere\", nonce=\"n\", uri=\"u\", response=\"r\"",
    ] {
        let mut request = invite();
        request.headers.push(Name::Authorization, value);
        assert_eq!(rig.judge(&request), denied(Denied::Missing), "{value}");
    }
}

#[test]
fn replayed_request_is_refused_and_a_higher_count_is_not() {
    let mut rig = Rig::new();
    let (mut request, mut standing) = rig.signed("alice", "wonder");
    assert_eq!(rig.judge(&request), Verdict::Genuine(0));
    assert_eq!(rig.judge(&request), denied(Denied::Replayed));
    standing.accepted(&super::response(200, &[]));
    let alice = account("alice", "wonder");
    let mut late = None;
    for count in 2..80 {
        standing.sign(&mut request, &alice);
        if count == 5 || count == 70 {
            late = late.or(Some(request.clone()));
            if count == 70 {
                let overtaken = request.clone();
                standing.sign(&mut request, &alice);
                assert_eq!(rig.judge(&request), Verdict::Genuine(0));
                assert_eq!(rig.judge(&overtaken), Verdict::Genuine(0), "71 overtook 70");
                assert_eq!(rig.judge(&overtaken), denied(Denied::Replayed));
            }
            continue;
        }
        assert_eq!(rig.judge(&request), Verdict::Genuine(0), "{count}");
    }
    assert_eq!(rig.judge(&late.unwrap()), denied(Denied::Replayed), "5 is out of the window");
    assert_eq!(rig.guard.nonces_held(), 1);
}

#[test]
fn old_nonce_is_stale_for_who_knows_the_secret() {
    let mut rig = Rig::new();
    let (good, _) = rig.signed("alice", "wonder");
    let (bad, _) = rig.signed("alice", "wrong");
    rig.now += NONCE_LIFE + Duration::from_millis(1);
    assert_eq!(rig.judge(&good), denied(Denied::Stale));
    assert_eq!(rig.judge(&bad), denied(Denied::WrongCredentials));
    assert!(Denied::Stale.is_stale() && !Denied::WrongCredentials.is_stale());
}

#[test]
fn nonce_of_an_earlier_life_or_another_realm_is_stale() {
    let mut rig = Rig::new();
    let (request, _) = rig.signed("alice", "wonder");
    rig.guard = Guard::new(rig.now, [8; 32], "pbx.example.net", &[Algorithm::Sha512Trunc256]);
    assert_eq!(rig.judge(&request), denied(Denied::Stale));

    let mut forged = rig.challenge(false);
    let lines: Vec<_> = forged.headers.all(Name::WwwAuthenticate).map(<[u8]>::to_vec).collect();
    forged.headers.remove(Name::WwwAuthenticate);
    let text = String::from_utf8(lines[0].clone()).unwrap();
    let at = text.find("nonce=\"").unwrap() + 7;
    let digit = if text.as_bytes()[at + 15] == b'0' { "1" } else { "0" };
    let changed = format!("{}{digit}{}", &text[..at + 15], &text[at + 16..]);
    forged.headers.push(Name::WwwAuthenticate, changed);
    let mut request = invite();
    let alice = account("alice", "wonder");
    answer(&mut request, &forged, &alice, &mut Standing::default(), "c").unwrap();
    assert_eq!(rig.judge(&request), denied(Denied::Stale), "its issue time was changed");
}

#[test]
fn credentials_are_for_one_method_uri_and_body() {
    let mut rig = Rig::new();
    let (mut request, _) = rig.signed("alice", "wonder");
    request.uri = "sip:+1900premium@biloxi.example.com".into();
    assert_eq!(rig.judge(&request), denied(Denied::OtherUri));
    let (mut request, _) = rig.signed("alice", "wonder");
    request.method = Method::Register;
    assert_eq!(rig.judge(&request), denied(Denied::WrongCredentials));
}

#[test]
fn an_algorithm_that_is_not_offered_is_refused() {
    let mut rig = Rig::offering(&[Algorithm::Md5]);
    let (request, _) = rig.signed("alice", "wonder");
    rig.guard = Guard::new(rig.now, [7; 32], "pbx.example.net", &[Algorithm::Sha256]);
    assert_eq!(rig.judge(&request), denied(Denied::Algorithm));
}

#[test]
fn without_qop_a_nonce_serves_once() {
    let mut rig = Rig::offering(&[Algorithm::Md5]);
    let challenge = rig.challenge(false);
    let line = challenge.headers.get(Name::WwwAuthenticate).unwrap();
    let legacy = String::from_utf8_lossy(line).replace(", qop=\"auth,auth-int\"", "");
    let mut request = invite();
    let alice = account("alice", "wonder");
    let asked = super::challenged(&legacy);
    answer(&mut request, &asked, &alice, &mut Standing::default(), "c").unwrap();
    assert_eq!(rig.judge(&request), Verdict::Genuine(0));
    assert_eq!(rig.judge(&request), denied(Denied::Replayed));
}

#[test]
fn more_nonces_than_are_kept_are_stale_and_never_fresh_again() {
    let mut rig = Rig::offering(&[Algorithm::Md5]);
    let mut first = Vec::new();
    for n in 0..NONCES_MAX + 50 {
        rig.now += Duration::from_millis(1);
        let (request, _) = rig.signed("alice", "wonder");
        assert_eq!(rig.judge(&request), Verdict::Genuine(0));
        assert!(rig.guard.nonces_held() <= NONCES_MAX);
        if n < 50 {
            first.push(request);
        }
    }
    for request in first {
        assert_eq!(rig.judge(&request), denied(Denied::Stale));
    }
    rig.now += NONCE_LIFE * 2;
    let (request, _) = rig.signed("alice", "wonder");
    assert_eq!(rig.judge(&request), Verdict::Genuine(0));
    assert_eq!(rig.guard.nonces_held(), 1, "those that are too old are dropped");
}

#[test]
fn a_realm_cannot_break_out_of_its_quotes() {
    let rig = Rig::new();
    let guard = Guard::new(rig.now, [1; 32], "a\"\r\nX: \\b", &[Algorithm::Md5]);
    let mut response = super::response(401, &[]);
    guard.challenge(rig.now, Asker::Server, &mut response, false, 1);
    let line = response.headers.get(Name::WwwAuthenticate).unwrap();
    assert!(line.starts_with(b"Digest realm=\"aX: b\", nonce=\""));
}
