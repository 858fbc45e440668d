//! Challenges as they come.

use super::{challenged, response};
use crate::auth::{Algorithm, Asker, Challenge, MAX_CHALLENGES, Qop, challenges};

fn one(value: &str) -> Option<Challenge> {
    let mut all = challenges(&challenged(value).headers);
    assert!(all.len() <= 1, "{all:?}");
    all.pop()
}

#[test]
fn each_part_in_any_case_order_and_spacing() {
    let got = one(
        "DIGEST  Nonce = \"n,1\" ,REALM=\"a, \\\"b\\\"\",x-new=\"y,z\" ,, stale=TRUE, Opaque=\"\", \
         Algorithm=sha-256, domain=\"<sip:x>, sip:y\", qop = \"auth-int, AUTH , other\", charset=UTF-8",
    )
    .unwrap();
    let want = Challenge {
        asker: Asker::Server,
        realm: b"a, \\\"b\\\"".to_vec(),
        nonce: b"n,1".to_vec(),
        opaque: Some(Vec::new()),
        algorithm: (Algorithm::Sha256, true),
        qop: Some(Qop::Auth),
        stale: true,
    };
    assert_eq!(got, want);
}

#[test]
fn without_algorithm_or_qop_it_is_rfc_2069() {
    let got = one("Digest realm=\"r\", nonce=\"n\"").unwrap();
    assert_eq!((got.algorithm, got.qop, got.stale), ((Algorithm::Md5, false), None, false));
    let int = one("Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"").unwrap();
    assert_eq!(int.qop, Some(Qop::AuthInt));
}

#[test]
fn what_cannot_be_answered_is_passed_over() {
    for value in [
        "Basic realm=\"r\"",
        "Negotiate",
        "Negotiate YIIabc==",
        "Digest",
        "Digest realm=\"r\"",
        "Digest nonce=\"n\"",
        "Digest realm=\"r\", nonce=\"n\", algorithm=AKAv1-MD5",
        "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256-new",
        "Digest realm=\"r\", nonce=\"n\", qop=\"auth-conf\"",
        "Digest realm=\"r\", nonce=\"n\", realm=\"other\"",
        "Digest realm=\"r\", nonce=\"n",
        "Digest realm=\"r\", nonce=\"n\", \"stray\"",
        "realm=\"r\", nonce=\"n\"",
        "Bearer realm=\"r\", nonce=\"n\"",
    ] {
        assert_eq!(one(value), None, "{value}");
    }
}

#[test]
fn topmost_wins_but_md5_gives_way() {
    let algorithms = |order: [&str; 3]| {
        let lines = order.map(|algorithm| {
            format!("Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm={algorithm}")
        });
        let lines: Vec<_> = lines.iter().map(|l| ("WWW-Authenticate", l.as_str())).collect();
        let all = challenges(&response(401, &lines).headers);
        assert_eq!(all.len(), 1);
        all[0].algorithm.0
    };
    assert_eq!(algorithms(["SHA-256", "SHA-512-256", "MD5"]), Algorithm::Sha256);
    assert_eq!(algorithms(["SHA-512-256", "SHA-256", "MD5"]), Algorithm::Sha512Trunc256);
    assert_eq!(algorithms(["MD5", "SHA-256", "SHA-512-256"]), Algorithm::Sha256);
    assert_eq!(algorithms(["AKAv2-MD5", "MD5-sess", "MD5"]), Algorithm::Md5Sess);
}

#[test]
fn several_challenges_on_one_line_are_several() {
    let all = challenges(
        &challenged(
            "Basic realm=\"x, Digest y\", Digest realm=\"r\", nonce=\"1\", Negotiate, \
             Digest realm=\"s\", nonce=\"2\", algorithm=SHA-256",
        )
        .headers,
    );
    let realms: Vec<_> = all.iter().map(|challenge| challenge.realm.as_slice()).collect();
    assert_eq!(realms, [b"r", b"s"]);
    assert_eq!(all[1].algorithm.0, Algorithm::Sha256);
}

#[test]
fn server_and_proxies_of_one_realm_ask_each_for_itself() {
    let answer = response(
        407,
        &[
            ("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"p\""),
            ("WWW-Authenticate", "Digest realm=\"r\", nonce=\"w\""),
            ("Proxy-Authenticate", "Digest realm=\"s\", nonce=\"q\""),
        ],
    );
    let all = challenges(&answer.headers);
    let got: Vec<_> = all.iter().map(|c| (c.asker, c.realm[0], c.nonce[0])).collect();
    let want =
        [(Asker::Server, b'r', b'w'), (Asker::Proxy, b'r', b'p'), (Asker::Proxy, b's', b'q')];
    assert_eq!(got, want);
}

#[test]
fn a_flood_of_challenges_is_cut() {
    let lines: Vec<_> =
        (0..2 * MAX_CHALLENGES).map(|n| format!("Digest realm=\"{n}\", nonce=\"n\"")).collect();
    let lines: Vec<_> = lines.iter().map(|l| ("WWW-Authenticate", l.as_str())).collect();
    assert_eq!(challenges(&response(401, &lines).headers).len(), MAX_CHALLENGES);
}
