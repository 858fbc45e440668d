//! Crypto lines and profiles: several suites, tags in any order, every profile to every other.

use crate::support::*;
use sdp::*;

/// A carrier's leg that takes these suites, first preferred.
fn of(suites: &[Suite]) -> Ability {
    Ability { suites: suites.iter().copied().collect(), ..Ability::srtp() }
}

/// A crypto line with a key of this octet.
fn keyed(tag: u32, suite: Suite, octet: u8) -> String {
    let key = SrtpKey::from_octets(suite, &[octet; 46][..suite.key_salt_len()]).unwrap();
    let mut writer = Negotiation::new(
        Local {
            address: "192.0.2.5".parse().unwrap(),
            rtp_port: 4000,
            rtcp_port: 4001,
            session_id: 1,
            keys: vec![key],
        },
        of(&[suite]),
    );
    let offer = writer.make_offer(&Media::g711());
    line(&offer, "a=crypto:1 ").replace("a=crypto:1 ", &format!("{tag} "))
}

#[test]
fn an_offer_has_a_crypto_line_for_each_suite_with_a_key_of_its_own() {
    let order = [Suite::AeadAes256Gcm, Suite::AesCm128HmacSha1_80, Suite::Aes256CmHmacSha1_80];
    let mut leg = leg(of(&order));
    let offer = leg.make_offer(&Media::g711());
    let written = lines(&offer, "a=crypto:");
    assert_eq!(written.len(), 3);
    for (n, suite) in order.into_iter().enumerate() {
        let start = format!("a=crypto:{} {} inline:", n + 1, suite.name());
        assert!(written[n].starts_with(&start), "{}", written[n]);
    }
}

#[test]
fn the_answer_takes_the_best_suite_that_both_have_wherever_its_line_stands() {
    use Suite::*;
    let order = [AeadAes256Gcm, AeadAes128Gcm, Aes256CmHmacSha1_80, AesCm128HmacSha1_80];
    for (offered, tag, suite) in [
        (vec![(1, AesCm128HmacSha1_32), (2, AesCm128HmacSha1_80)], 2, AesCm128HmacSha1_80),
        (vec![(9, AesCm128HmacSha1_80), (3, AeadAes128Gcm)], 3, AeadAes128Gcm),
        (vec![(7, AeadAes128Gcm), (0, AeadAes256Gcm), (5, Aes256CmHmacSha1_80)], 0, AeadAes256Gcm),
        (vec![(4, AesCm128HmacSha1_80), (2, Aes256CmHmacSha1_80)], 2, Aes256CmHmacSha1_80),
    ] {
        let lines: Vec<String> =
            offered.iter().map(|(tag, suite)| keyed(*tag, *suite, 0x41)).collect();
        let mut leg = leg(of(&order));
        let media = leg.receive_offer(secured(&lines, "").as_bytes()).unwrap();
        let (answer, stream) = leg.make_answer(&media).unwrap();
        let written = crate::support::lines(&answer, "a=crypto:");
        let start = format!("a=crypto:{tag} {} inline:", suite.name());
        assert!(written.len() == 1 && written[0].starts_with(&start), "{written:?}");
        let crypto = stream.crypto.unwrap();
        assert_eq!((crypto.local.suite(), crypto.remote[0].suite()), (suite, suite));
        assert_eq!(crypto.local.key_salt(), &[OUR_KEY; 46][..suite.key_salt_len()]);
    }
}

#[test]
fn without_a_suite_in_common_there_is_no_srtp() {
    let offer = secured(&[keyed(1, Suite::AeadAes128Gcm, 1)], "");
    let mut common = leg(Ability::srtp());
    assert_eq!(common.receive_offer(offer.as_bytes()), Err(Refusal::SrtpRequired));
    common.make_offer(&Media::g711());
    assert_eq!(common.receive_answer(offer.as_bytes()), Err(Refusal::SrtpRequired));
}

#[test]
fn an_answer_chooses_among_our_lines_by_tag_and_suite() {
    use Suite::*;
    let order = [AesCm128HmacSha1_80, AeadAes128Gcm, AesCm128HmacSha1_32];
    for (answered, suite, first) in [
        (vec![(2, AeadAes128Gcm, 0x42)], AeadAes128Gcm, 0x42),
        (vec![(3, AesCm128HmacSha1_32, 0x43)], AesCm128HmacSha1_32, 0x43),
        // A tag that is not ours: the suite says what is meant.
        (vec![(8, AeadAes128Gcm, 0x44)], AeadAes128Gcm, 0x44),
        // Two lines, and only the second echoes one of ours.
        (vec![(9, AesCm128HmacSha1_80, 0x45), (2, AeadAes128Gcm, 0x46)], AeadAes128Gcm, 0x46),
    ] {
        let lines: Vec<String> =
            answered.iter().map(|(tag, suite, octet)| keyed(*tag, *suite, *octet)).collect();
        let mut leg = leg(of(&order));
        leg.make_offer(&Media::g711());
        let (_, stream) = leg.receive_answer(secured(&lines, "").as_bytes()).unwrap();
        let crypto = stream.crypto.unwrap();
        assert_eq!((crypto.local.suite(), first_octets(&crypto.remote)), (suite, vec![first]));
        // From then on the leg stays with it.
        let again = leg.make_offer(&Media::g711());
        let written = crate::support::lines(&again, "a=crypto:");
        assert!(
            written.len() == 1 && written[0].starts_with(&format!("a=crypto:1 {}", suite.name()))
        );
    }
}

#[test]
fn a_changed_answer_to_one_offer_may_choose_another_of_its_lines() {
    let order = [Suite::AesCm128HmacSha1_80, Suite::AeadAes128Gcm];
    let mut leg = leg(of(&order));
    leg.make_offer(&Media::g711());
    for suite in [Suite::AeadAes128Gcm, Suite::AesCm128HmacSha1_80] {
        let body = secured(&[keyed(1, suite, 0x41)], "");
        let (_, stream) = leg.receive_answer(body.as_bytes()).unwrap();
        assert_eq!(stream.crypto.unwrap().local.suite(), suite);
    }
}

#[test]
fn a_line_that_asks_for_what_we_cannot_do_is_passed_over() {
    for rest in [" KDR=4", " UNENCRYPTED_SRTP", " FEC_ORDER=SRTP_FEC", " X-OWN=1", "|2^64"] {
        let both = [crypto(1, LONG, KEY_A, rest), crypto(2, SHORT, KEY_B, "|2^20|1:4 WSH=128")];
        let mut leg = leg(Ability::srtp());
        let offered = leg.receive_offer(secured(&both, "").as_bytes()).unwrap();
        let (answer, stream) = leg.make_answer(&offered).unwrap();
        assert!(line(&answer, "a=crypto:").starts_with("a=crypto:2 "), "{rest}");
        let key = &stream.crypto.unwrap().remote[0];
        assert_eq!((key.mki(), key.lifetime()), (Some((1, 4)), Some(1 << 20)));

        let alone = secured(&both[..1], "");
        let mut leg = crate::support::leg(Ability::srtp());
        assert_eq!(leg.receive_offer(alone.as_bytes()), Err(Refusal::SrtpRequired), "{rest}");
    }
}

#[test]
fn every_profile_is_bridged_to_every_other_and_answered_in_kind() {
    const PROFILES: [&str; 8] = [
        "RTP/AVP",
        "RTP/AVPF",
        "RTP/SAVP",
        "RTP/SAVPF",
        "UDP/RTP/AVP",
        "UDP/RTP/AVPF",
        "UDP/RTP/SAVP",
        "UDP/RTP/SAVPF",
    ];
    const FEEDBACK: &str = "a=rtcp-fb:* nack\r\na=rtcp-fb:* ccm fir\r\n";
    let body = |profile: &str| {
        let lines = [crypto(1, LONG, KEY_A, "")];
        let lines = if profile.contains("SAVP") { &lines[..] } else { &[] };
        secured(lines, FEEDBACK).replace("RTP/SAVP", profile)
    };
    for from in PROFILES {
        for to in PROFILES {
            let mut a = leg(Ability::either());
            let offered = a.receive_offer(body(from).as_bytes()).unwrap();
            let ability = if to.contains("SAVP") { Ability::srtp() } else { Ability::plain() };
            let mut b = leg(ability);
            let offer = b.make_offer(&offered.for_other_leg(None).unwrap());
            assert!(lines(&offer, "a=rtcp-fb").is_empty(), "{from} to {to}");
            let (answered, out) = b.receive_answer(body(to).as_bytes()).unwrap();
            let (answer, back) = a.make_answer(&answered.answer_for(&offered).unwrap()).unwrap();
            assert_eq!(line(&answer, "m=").split(' ').nth(2), Some(from), "{from} to {to}");
            assert!(lines(&answer, "a=rtcp-fb").is_empty(), "{from} to {to}");
            assert_eq!(back.crypto.is_some(), from.contains("SAVP"), "{from} to {to}");
            assert_eq!(out.crypto.is_some(), to.contains("SAVP"), "{from} to {to}");
        }
    }
}

#[test]
fn a_far_side_that_sends_our_own_key_back_has_none() {
    let theirs = |offer: &[u8]| line(offer, "a=crypto:").replace("a=crypto:", "");
    let mut offering = leg(Ability::srtp());
    let offer = offering.make_offer(&Media::g711());
    let echoed = [theirs(&offer)];
    let refused = offering.receive_answer(secured(&echoed, "").as_bytes());
    assert_eq!(refused.unwrap_err(), Refusal::SrtpRequired);
    let both = [theirs(&offer), crypto(2, LONG, KEY_A, "")];
    let (_, stream) = offering.receive_answer(secured(&both, "").as_bytes()).unwrap();
    assert_eq!(stream.crypto.unwrap().remote.len(), 1);
    let offered = leg(Ability::srtp()).receive_offer(secured(&echoed, "").as_bytes());
    assert_eq!(offered.unwrap_err(), Refusal::SrtpRequired);
}
