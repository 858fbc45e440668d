//! The numbers that others have published, and those of an independent implementation.

use crate::auth::algorithm::Ingredients;
use crate::auth::{Algorithm, Qop, Secret};

fn response(
    algorithm: Algorithm,
    qop: Option<Qop>,
    user: [&str; 3],
    nonces: [&str; 2],
    request: [&str; 3],
) -> String {
    let [method, uri, body] = request;
    algorithm.response(&Ingredients {
        user: user[0].as_bytes(),
        realm: user[1].as_bytes(),
        secret: &Secret::new(user[2]),
        nonce: nonces[0].as_bytes(),
        cnonce: nonces[1].as_bytes(),
        nc: b"00000001",
        qop,
        method: method.as_bytes(),
        uri: uri.as_bytes(),
        body: body.as_bytes(),
    })
}

const INDEX: [&str; 3] = ["GET", "/dir/index.html", ""];

#[test]
fn rfc_2617_section_3_5() {
    let user = ["Mufasa", "testrealm@host.com", "Circle Of Life"];
    let nonces = ["dcd98b7102dd2f0e8b11d0f600bfb0c093", "0a4f113b"];
    let got = response(Algorithm::Md5, Some(Qop::Auth), user, nonces, INDEX);
    assert_eq!(got, "6629fae49393a05397450978507c4ef1");
}

#[test]
fn rfc_2069_section_2_4_as_corrected() {
    let user = ["Mufasa", "testrealm@host.com", "CircleOfLife"];
    let nonces = ["dcd98b7102dd2f0e8b11d0f600bfb0c093", ""];
    let got = response(Algorithm::Md5, None, user, nonces, INDEX);
    assert_eq!(got, "1949323746fe6a43ef61f9606e7febea");
}

#[test]
fn rfc_7616_section_3_9_1() {
    let user = ["Mufasa", "http-auth@example.org", "Circle of Life"];
    let nonces = [
        "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    ];
    let md5 = response(Algorithm::Md5, Some(Qop::Auth), user, nonces, INDEX);
    assert_eq!(md5, "8ca523f5e9506fed4657c9700eebdbec");
    let sha256 = response(Algorithm::Sha256, Some(Qop::Auth), user, nonces, INDEX);
    assert_eq!(sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
}

#[test]
fn rfc_7616_section_3_9_2_as_corrected_by_erratum_4897() {
    let user = ["J\u{e4}s\u{f8}n Doe", "api@example.org", "Secret, or not?"];
    let nonces = [
        "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
    ];
    let request = ["GET", "/doe.json", ""];
    let got = response(Algorithm::Sha512Trunc256, Some(Qop::Auth), user, nonces, request);
    assert_eq!(got, "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5");
}

/// Computed with Python's hashlib.
#[test]
fn every_algorithm_with_every_qop() {
    let user = ["bob", "biloxi.example.com", "zanzibar"];
    let nonces = ["dcd98b7102dd2f0e8b11d0f600bfb0c093", "0a4f113b"];
    let request = ["INVITE", "sip:bob@biloxi.example.com", "v=0\r\n"];
    let (auth, int) = (Some(Qop::Auth), Some(Qop::AuthInt));
    for (algorithm, qop, want) in [
        ("MD5", auth, "d842aeb901c6e474dad4af7f84c64e56"),
        ("MD5", int, "e833d715555b5db557637b4de4a0c03e"),
        ("MD5", None, "92799a6353125e154102392085633253"),
        ("MD5-sess", auth, "6cd0cf072b432d52a4a77f23849a0e4b"),
        ("MD5-sess", int, "90fea1e63fd1ddce2e590f873f5383a5"),
        ("MD5-sess", None, "9f41e2cbdd11ff1b6a36f281fe491612"),
        ("SHA-256", auth, "6beb7b2bfe7a50d425314e7961c7f01bcd8afed8bf5c87c2f5479d1dca2d498f"),
        ("SHA-256", int, "6512bebd93efa04d8f84514e0414e67871aabe3f3b8e5f552e7afb3c2c492718"),
        ("SHA-256", None, "bae2a0dec552792ac0c8a0ac00c7b84f993beeb29e3efa35a55716b853cac050"),
        ("SHA-256-sess", auth, "989c59a9d2e78eba01b2a3bfb19be08e22adb5d229579775dbdf5f5ab4fa980c"),
        ("SHA-256-sess", int, "3bed58eb27620717d813169a6130da5acbb1ec15ff7e3797b1184d5104be1453"),
        ("SHA-256-sess", None, "4ac10f6620991a221916d67dd0fa9262af8060e917b8c5e7359c40de24e8d3b7"),
        ("SHA-512-256", auth, "ff36f0111fa81b909a997021f3a040d2f75674daead33f422a33dbdc6966897e"),
        ("SHA-512-256", int, "9bf56347c5d105d30b8ee3bdec3ee15368cb6054075f93aa4f1e03ed825d0930"),
        ("SHA-512-256", None, "9c4e7f3ce9226bcea3a8328521254bc22259144dc10a09857ef7f4ecbe424375"),
        (
            "SHA-512-256-sess",
            auth,
            "38b80e2aee2756c7ac8bc072101ab8943971625973b3b010af6825713ac03617",
        ),
        (
            "SHA-512-256-sess",
            int,
            "b64817fae72b39f8b79c7376720eeb4cd8dd49fb3dd9b5365ca700a3c383711d",
        ),
        (
            "SHA-512-256-sess",
            None,
            "21a0f05c9d22083149f42b6fc539239d89577bcb155ac08bb73cf77e7601dea7",
        ),
    ] {
        let named = Algorithm::named(algorithm.to_ascii_lowercase().as_bytes()).unwrap();
        assert_eq!(named.as_str(), algorithm);
        assert_eq!(response(named, qop, user, nonces, request), want, "{algorithm} {qop:?}");
    }
}
