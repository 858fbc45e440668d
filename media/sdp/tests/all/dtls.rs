//! DTLS-SRTP in offers and answers: roles, fingerprints, and when an association goes on.

use crate::support::*;
use sdp::*;
use std::sync::Arc;

fn certificate() -> Arc<Certificate> {
    Arc::new(Certificate::new(vec![1], vec![2], &[0xab; 32]).unwrap())
}

fn dtls_leg(keying: Keying) -> Negotiation {
    let ability = Ability { keying, ..Ability::srtp() };
    leg(ability).with_certificate(Some(certificate()))
}

fn sha256(octet: u8) -> String {
    format!("sha-256 {}", vec![format!("{octet:02X}"); 32].join(":"))
}

/// A far side's description under this profile with these attributes.
fn theirs(proto: &str, at: &str, attributes: &[&str]) -> Vec<u8> {
    let attributes: String = attributes.iter().map(|a| format!("a={a}\r\n")).collect();
    format!(
        "v=0\r\no=- 85 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 {at}\r\nt=0 0\r\n\
         m=audio 4000 {proto} 8 101\r\n{attributes}a=rtpmap:101 telephone-event/8000\r\na=rtcp-mux\r\n"
    )
    .into_bytes()
}

const UDP_TLS: &str = "UDP/TLS/RTP/SAVPF";
const HERE: &str = "192.0.2.5";
const THERE: &str = "192.0.2.6";

fn answer(leg: &mut Negotiation, offer: &[u8]) -> (String, Stream) {
    leg.receive_offer(offer).unwrap();
    let (answer, stream) = leg.make_answer(&Media::g711()).unwrap();
    (text(&answer), stream)
}

fn association(stream: &Stream) -> Dtls {
    assert!(stream.crypto.is_none());
    stream.dtls.clone().expect("DTLS")
}

#[test]
fn an_offer_with_a_fingerprint_is_answered_with_ours_and_a_role() {
    for proto in [UDP_TLS, "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"] {
        for (setup, answered, role) in [
            ("setup:actpass", "a=setup:active", Role::Active),
            ("setup:active", "a=setup:passive", Role::Passive),
            ("setup:passive", "a=setup:active", Role::Active),
            ("no-setup", "a=setup:passive", Role::Passive),
        ] {
            let fingerprint = format!("fingerprint:{}", sha256(1));
            let offer = theirs(proto, HERE, &[&fingerprint, setup]);
            let (body, stream) = answer(&mut dtls_leg(Keying::Sdes), &offer);
            assert!(body.contains(&format!("m=audio 20000 {proto} 8")), "{body}");
            assert!(body.contains(&format!("a=fingerprint:{}\r\n", sha256(0xab))), "{body}");
            assert!(body.contains(answered), "{setup}: {body}");
            assert!(!body.contains("a=crypto") && !body.contains("a=tls-id"), "{body}");
            let dtls = association(&stream);
            assert_eq!((dtls.role, dtls.remote[0].digest()), (role, &[1; 32][..]));
        }
    }
}

#[test]
fn behind_nat_the_far_side_begins() {
    let ability = Ability { behind_nat: true, ..Ability::srtp() };
    let mut leg = leg(ability).with_certificate(Some(certificate()));
    let fingerprint = format!("fingerprint:{}", sha256(1));
    let (body, stream) = answer(&mut leg, &theirs(UDP_TLS, HERE, &[&fingerprint, "setup:actpass"]));
    assert!(body.contains("a=setup:passive"));
    assert_eq!(association(&stream).role, Role::Passive);
}

#[test]
fn an_offer_with_both_is_answered_by_policy() {
    let line = format!("crypto:{}", crypto(1, LONG, KEY_A, ""));
    let fingerprint = format!("fingerprint:{}", sha256(1));
    let offer = theirs("RTP/SAVP", HERE, &[&line, &fingerprint, "setup:actpass"]);
    let (body, stream) = answer(&mut dtls_leg(Keying::Sdes), &offer);
    assert!(stream.dtls.is_none() && stream.crypto.is_some() && body.contains("a=crypto:1"));
    let (body, stream) = answer(&mut dtls_leg(Keying::Dtls), &offer);
    assert!(stream.dtls.is_some() && !body.contains("a=crypto"));
    // Teams' legs have no certificate.
    let (_, stream) = answer(&mut leg(Ability::srtp()), &offer);
    assert!(stream.dtls.is_none() && stream.crypto.is_some());
    // What it began with, a call goes on with.
    let mut begun = dtls_leg(Keying::Sdes);
    answer(&mut begun, &theirs("RTP/SAVP", HERE, &[&fingerprint, "setup:actpass"]));
    assert!(answer(&mut begun, &offer).1.dtls.is_some());
}

#[test]
fn what_cannot_be_believed_is_refused() {
    let good = format!("fingerprint:{}", sha256(1));
    let md5 = format!("fingerprint:md5 {}", ["01"; 16].join(":"));
    for (attributes, refusal) in [
        (&[&md5[..], "setup:actpass"][..], Refusal::NoFingerprint),
        (&["fingerprint:sha-256 01:02", "setup:actpass"], Refusal::NoFingerprint),
        (&["setup:actpass"], Refusal::SrtpRequired),
    ] {
        let mut leg = dtls_leg(Keying::Dtls);
        let refused = leg.receive_offer(&theirs(UDP_TLS, HERE, attributes));
        assert_eq!(refused.unwrap_err(), refusal);
        leg.receive_offer(&theirs(UDP_TLS, HERE, &[&good, "setup:actpass"])).unwrap();
    }
    let mut no_certificate = leg(Ability::srtp());
    let refused = no_certificate.receive_offer(&theirs(UDP_TLS, HERE, &[&good, "setup:actpass"]));
    assert_eq!(refused.unwrap_err(), Refusal::SrtpRequired);
    let mut held = dtls_leg(Keying::Dtls);
    held.receive_offer(&theirs(UDP_TLS, HERE, &[&good, "setup:holdconn"])).unwrap();
    assert_eq!(held.make_answer(&Media::g711()).unwrap_err(), Refusal::NoFingerprint);
}

#[test]
fn our_offer_leaves_the_role_open() {
    let mut leg = dtls_leg(Keying::Dtls);
    let offer = text(&leg.make_offer(&Media::g711()));
    assert!(offer.contains("m=audio 20000 UDP/TLS/RTP/SAVP "), "{offer}");
    assert!(offer.contains("a=setup:actpass\r\na=tls-id:"), "{offer}");
    assert!(offer.contains("a=rtcp-mux") && !offer.contains("a=crypto"), "{offer}");
    let id = line(offer.as_bytes(), "a=tls-id:");
    assert!((20..=255).contains(&id["a=tls-id:".len()..].len()));
    let fingerprint = format!("fingerprint:{}", sha256(1));
    for (setup, role) in [
        ("setup:active", Role::Passive),
        ("setup:passive", Role::Active),
        ("no-setup", Role::Passive),
    ] {
        let mut leg = leg.clone();
        let answer = theirs("UDP/TLS/RTP/SAVP", HERE, &[&fingerprint, setup]);
        let (_, stream) = leg.receive_answer(&answer).unwrap();
        assert_eq!(association(&stream).role, role, "{setup}");
    }
    let line = format!("crypto:{}", crypto(1, LONG, KEY_A, ""));
    let refused = leg.receive_answer(&theirs("UDP/TLS/RTP/SAVP", HERE, &[&line]));
    assert_eq!(refused.unwrap_err(), Refusal::NoFingerprint);
    // A leg without a certificate offers what it has.
    let mut sdes = super::support::leg(Ability { keying: Keying::Dtls, ..Ability::srtp() });
    assert!(text(&sdes.make_offer(&Media::g711())).contains("a=crypto:1"));
}

#[test]
fn the_same_fingerprint_goes_on_and_another_begins_anew() {
    let one = format!("fingerprint:{}", sha256(1));
    let two = format!("fingerprint:{}", sha256(2));
    let ice = ["ice-ufrag:abcd", "ice-pwd:0123456789012345678901"];
    let id = ["tls-id:01234567890123456789", "tls-id:9876543210987654321098"];
    for (first, then, goes_on) in [
        (theirs(UDP_TLS, HERE, &[&one]), theirs(UDP_TLS, HERE, &[&one]), true),
        (theirs(UDP_TLS, HERE, &[&one]), theirs(UDP_TLS, HERE, &[&one, "sendonly"]), true),
        (theirs(UDP_TLS, HERE, &[&one]), theirs(UDP_TLS, "0.0.0.0", &[&one]), true),
        (theirs(UDP_TLS, HERE, &[&one]), theirs(UDP_TLS, HERE, &[&two]), false),
        (theirs(UDP_TLS, HERE, &[&one]), theirs(UDP_TLS, THERE, &[&one]), false),
        (theirs(UDP_TLS, HERE, &[&one]), theirs(UDP_TLS, HERE, &[&one, "setup:passive"]), false),
        (
            theirs(UDP_TLS, HERE, &[&one, ice[0], ice[1]]),
            theirs(UDP_TLS, THERE, &[&one, ice[0], ice[1]]),
            true,
        ),
        (theirs(UDP_TLS, HERE, &[&one, id[0]]), theirs(UDP_TLS, HERE, &[&one, id[0]]), true),
        (theirs(UDP_TLS, HERE, &[&one, id[0]]), theirs(UDP_TLS, THERE, &[&one, id[0]]), true),
        (theirs(UDP_TLS, HERE, &[&one, id[0]]), theirs(UDP_TLS, HERE, &[&one, id[1]]), false),
    ] {
        let mut leg = dtls_leg(Keying::Dtls);
        let (before, stream) = answer(&mut leg, &first);
        let earlier = association(&stream);
        let (after, stream) = answer(&mut leg, &then);
        let what = text(&then);
        assert_eq!(association(&stream) == earlier, goes_on, "{what}");
        // Where the far side names its associations, so do we ours.
        let named = |body: &str| lines(body.as_bytes(), "a=tls-id:");
        assert_eq!(named(&before) == named(&after), goes_on || named(&before).is_empty(), "{what}");
    }
}

#[test]
fn our_own_reinvite_means_the_association_that_there_is() {
    let one = format!("fingerprint:{}", sha256(1));
    let mut leg = dtls_leg(Keying::Sdes);
    let (_, stream) = answer(&mut leg, &theirs(UDP_TLS, HERE, &[&one, "setup:actpass"]));
    let first = association(&stream);
    let held = Media { direction: Direction::SendOnly, ..Media::g711() };
    let offer = text(&leg.make_offer(&held));
    assert!(offer.contains(UDP_TLS) && offer.contains("a=setup:actpass"), "{offer}");
    let (_, stream) =
        leg.receive_answer(&theirs(UDP_TLS, HERE, &[&one, "setup:passive", "recvonly"])).unwrap();
    assert_eq!(association(&stream), first);
    leg.make_offer(&Media::g711());
    let (_, stream) = leg.receive_answer(&theirs(UDP_TLS, HERE, &[&one, "setup:active"])).unwrap();
    assert_ne!(association(&stream), first, "it has changed its role");
}

#[test]
fn a_refresh_is_answered_octet_by_octet() {
    let one = format!("fingerprint:{}", sha256(1));
    let offer = theirs(UDP_TLS, HERE, &[&one, "setup:actpass", "tls-id:01234567890123456789"]);
    let mut leg = dtls_leg(Keying::Sdes);
    let (first, stream) = answer(&mut leg, &offer);
    leg.receive_offer(&offer).unwrap();
    assert!(leg.is_refresh());
    let (again, same) = leg.answer_refresh().unwrap();
    assert_eq!((text(&again), same), (first, stream));
}

#[test]
fn two_forks_with_one_certificate_are_two_associations() {
    let one = format!("fingerprint:{}", sha256(1));
    let mut leg = dtls_leg(Keying::Dtls);
    leg.make_offer(&Media::g711());
    let mut other = leg.clone();
    let of = |leg: &mut Negotiation, at| {
        let answer = theirs("UDP/TLS/RTP/SAVP", at, &[&one, "setup:active"]);
        association(&leg.receive_answer(&answer).unwrap().1)
    };
    let first = of(&mut leg, HERE);
    assert_ne!(first, of(&mut other, THERE));
    assert_eq!(first, of(&mut leg, HERE), "183, then 200");
}
