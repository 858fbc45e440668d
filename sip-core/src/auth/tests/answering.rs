//! A challenged client: what it says, and when it stops.

use super::{account, challenged, invite, response, said, text};
use crate::auth::{Refusal, STALE_MAX, Standing, answer};
use crate::message::Name;

const ASKED: &str = "Digest realm=\"biloxi.example.com\", qop=\"auth\", algorithm=MD5, \
                     nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"op,1\"";

fn with_nonce(nonce: &str, more: &str) -> String {
    format!("Digest realm=\"r\", qop=\"auth\", algorithm=SHA-256, nonce=\"{nonce}\"{more}")
}

#[test]
fn credentials_are_whole() {
    let mut request = invite();
    let bob = account("bob", "zanzibar");
    let mut standing = Standing::default();
    answer(&mut request, &challenged(ASKED), &bob, &mut standing, "0a4f113b").unwrap();
    let line = request.headers.get(Name::Authorization).unwrap();
    assert_eq!(
        std::str::from_utf8(line).unwrap(),
        "Digest username=\"bob\", realm=\"biloxi.example.com\", \
         nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"sip:bob@biloxi.example.com\", \
         response=\"d842aeb901c6e474dad4af7f84c64e56\", opaque=\"op,1\", cnonce=\"0a4f113b\", \
         algorithm=MD5, qop=auth, nc=00000001"
    );
}

#[test]
fn legacy_challenge_is_answered_without_qop_and_cnonce() {
    let mut request = invite();
    let (bob, mut standing) = (account("bob", "zanzibar"), Standing::default());
    let asked = "Digest realm=\"biloxi.example.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
    answer(&mut request, &challenged(asked), &bob, &mut standing, "0a4f113b").unwrap();
    assert_eq!(said(&request, "response"), Some("92799a6353125e154102392085633253"));
    for absent in ["algorithm", "qop", "nc", "cnonce", "opaque"] {
        assert_eq!(said(&request, absent), None, "{absent}");
    }
}

#[test]
fn session_algorithm_shows_its_cnonce_even_without_qop() {
    let mut request = invite();
    let (bob, mut standing) = (account("bob", "zanzibar"), Standing::default());
    let asked = "Digest realm=\"biloxi.example.com\", algorithm=MD5-sess, \
                 nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
    answer(&mut request, &challenged(asked), &bob, &mut standing, "0a4f113b").unwrap();
    assert_eq!(said(&request, "response"), Some("9f41e2cbdd11ff1b6a36f281fe491612"));
    assert_eq!(said(&request, "cnonce"), Some("0a4f113b"));
}

#[test]
fn quotes_in_a_user_name_are_escaped() {
    let mut request = invite();
    let odd = account("b\"o\\b", "x");
    answer(&mut request, &challenged(ASKED), &odd, &mut Standing::default(), "c").unwrap();
    assert_eq!(said(&request, "username"), Some("b\\\"o\\\\b"));
}

#[test]
fn server_and_proxy_are_answered_in_one_request() {
    let mut request = invite();
    let both = response(
        407,
        &[
            ("Proxy-Authenticate", "Digest realm=\"p\", nonce=\"1\", algorithm=SHA-512-256"),
            ("Proxy-Authenticate", "Digest realm=\"p\", nonce=\"1\", algorithm=MD5"),
            ("WWW-Authenticate", "Digest realm=\"w\", nonce=\"2\""),
        ],
    );
    let bob = account("bob", "zanzibar");
    answer(&mut request, &both, &bob, &mut Standing::default(), "c").unwrap();
    assert_eq!(request.headers.all(Name::Authorization).count(), 1);
    let proxy: Vec<_> = request.headers.all(Name::ProxyAuthorization).collect();
    assert_eq!(proxy.len(), 1);
    assert!(String::from_utf8_lossy(proxy[0]).contains("SHA-512-256"));
}

#[test]
fn the_same_challenge_twice_is_a_wrong_secret() {
    let mut request = invite();
    let (bob, mut standing) = (account("bob", "wrong"), Standing::default());
    answer(&mut request, &challenged(ASKED), &bob, &mut standing, "c").unwrap();
    let before = text(&request);
    let again = answer(&mut request, &challenged(ASKED), &bob, &mut standing, "d");
    assert_eq!(again, Err(Refusal::WrongCredentials));
    assert_eq!(text(&request), before, "a refusal leaves the request as it was");
}

#[test]
fn a_new_nonce_without_stale_is_a_wrong_secret_too() {
    let mut request = invite();
    let (bob, mut standing) = (account("bob", "wrong"), Standing::default());
    answer(&mut request, &challenged(&with_nonce("1", "")), &bob, &mut standing, "c").unwrap();
    let again = answer(&mut request, &challenged(&with_nonce("2", "")), &bob, &mut standing, "d");
    assert_eq!(again, Err(Refusal::WrongCredentials));
}

#[test]
fn stale_nonce_is_replaced_but_not_for_ever() {
    let mut request = invite();
    let (bob, mut standing) = (account("bob", "zanzibar"), Standing::default());
    answer(&mut request, &challenged(&with_nonce("0", "")), &bob, &mut standing, "c").unwrap();
    for n in 1..=STALE_MAX {
        let stale = challenged(&with_nonce(&n.to_string(), ", stale=true"));
        answer(&mut request, &stale, &bob, &mut standing, "c").unwrap();
        assert_eq!(said(&request, "nonce"), Some(n.to_string().as_str()));
        assert_eq!(said(&request, "nc"), Some("00000001"));
        assert_eq!(request.headers.all(Name::Authorization).count(), 1);
    }
    let stale = challenged(&with_nonce("9", ", stale=true"));
    let end = answer(&mut request, &stale, &bob, &mut standing, "c");
    assert_eq!(end, Err(Refusal::AlwaysStale));
}

#[test]
fn a_nonce_that_was_taken_signs_the_next_request_with_a_higher_count() {
    let mut request = invite();
    let (bob, mut standing) = (account("bob", "zanzibar"), Standing::default());
    answer(&mut request, &challenged(ASKED), &bob, &mut standing, "0a4f113b").unwrap();
    standing.accepted(&response(200, &[]));
    standing.sign(&mut request, &bob);
    assert_eq!(said(&request, "nc"), Some("00000002"));
    assert_eq!(said(&request, "cnonce"), Some("0a4f113b"));
    // It was right before, so another challenge says nothing about the secret; a second one does.
    answer(&mut request, &challenged(&with_nonce("2", "")), &bob, &mut standing, "c").unwrap();
    let mut standing_of_r = standing;
    let again =
        answer(&mut request, &challenged(&with_nonce("3", "")), &bob, &mut standing_of_r, "c");
    assert_eq!(again, Err(Refusal::WrongCredentials));
}

#[test]
fn authentication_info_brings_the_next_nonce() {
    let mut request = invite();
    let (bob, mut standing) = (account("bob", "zanzibar"), Standing::default());
    answer(&mut request, &challenged(ASKED), &bob, &mut standing, "c").unwrap();
    let info = "qop=auth, rspauth=\"x,y\", nextnonce=\"fresh\", cnonce=\"c\", nc=00000001";
    standing.accepted(&response(200, &[("Authentication-Info", info)]));
    standing.sign(&mut request, &bob);
    assert_eq!((said(&request, "nonce"), said(&request, "nc")), (Some("fresh"), Some("00000001")));
    // Old news: the same nonce again does not set its count back.
    standing.accepted(&response(200, &[("Authentication-Info", "nextnonce=\"fresh\"")]));
    standing.sign(&mut request, &bob);
    assert_eq!(said(&request, "nc"), Some("00000002"));
}

#[test]
fn a_session_is_not_carried_over_to_the_next_nonce() {
    let mut request = invite();
    let (bob, mut standing) = (account("bob", "zanzibar"), Standing::default());
    let asked = challenged("Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm=SHA-256-sess");
    answer(&mut request, &asked, &bob, &mut standing, "c").unwrap();
    standing.accepted(&response(200, &[("Authentication-Info", "nextnonce=\"2\"")]));
    standing.sign(&mut request, &bob);
    assert_eq!(request.headers.get(Name::Authorization), None);
}

#[test]
fn another_realm_gets_no_answer() {
    let mut request = invite();
    let mut bob = account("bob", "zanzibar");
    bob.realm = Some("biloxi.example.com".into());
    let elsewhere = challenged(&with_nonce("1", ""));
    let got = answer(&mut request, &elsewhere, &bob, &mut Standing::default(), "c");
    assert_eq!(got, Err(Refusal::OtherRealm));
    assert_eq!(request.headers.get(Name::Authorization), None);
    answer(&mut request, &challenged(ASKED), &bob, &mut Standing::default(), "c").unwrap();
}

#[test]
fn nothing_that_can_be_answered_is_no_loop() {
    let mut request = invite();
    let bob = account("bob", "zanzibar");
    for lines in [&[][..], &[("WWW-Authenticate", "Basic realm=\"r\"")]] {
        let got = answer(&mut request, &response(401, lines), &bob, &mut Standing::default(), "c");
        assert_eq!(got, Err(Refusal::NothingToAnswer));
    }
}

#[test]
fn body_is_hashed_where_only_auth_int_is_offered() {
    let mut request = invite();
    request.set_body("application/sdp", "v=0\r\n");
    let bob = account("bob", "zanzibar");
    let asked = "Digest realm=\"biloxi.example.com\", qop=\"auth-int\", algorithm=SHA-256, \
                 nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
    answer(&mut request, &challenged(asked), &bob, &mut Standing::default(), "0a4f113b").unwrap();
    assert_eq!(
        said(&request, "response"),
        Some("6512bebd93efa04d8f84514e0414e67871aabe3f3b8e5f552e7afb3c2c492718")
    );
}

#[test]
fn a_secret_does_not_show() {
    assert!(!format!("{:?}", account("bob", "zanzibar")).contains("zanzibar"));
}
