//! The shapes in which Teams offers and answers (docs/teams.md).

use crate::support::*;
use sdp::*;

/// A non-bypass offer: wide-band codecs first, both suites, an origin on loopback.
fn teams_offer(more: &str) -> String {
    format!(
        "v=0\r\no=- 85 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 198.51.100.7\r\n\
         b=CT:10000000\r\nt=0 0\r\nm=audio 52004 RTP/SAVP 104 9 103 111 18 0 8 97 101 13 118\r\n\
         c=IN IP4 198.51.100.8\r\na=rtcp:52005\r\na=label:audio-0\r\na=mid:1\r\n\
         a=crypto:{}\r\na=crypto:{}\r\na=rtpmap:104 SILK/16000\r\n\
         a=fmtp:104 useinbandfec=1; usedtx=0\r\na=rtpmap:9 G722/8000\r\na=rtpmap:103 SILK/8000\r\n\
         a=rtpmap:111 SIREN/16000\r\na=fmtp:111 bitrate=16000\r\na=rtpmap:18 G729/8000\r\n\
         a=fmtp:18 annexb=no\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:97 RED/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
         a=rtpmap:13 CN/8000\r\na=rtpmap:118 CN/16000\r\na=x-mediabw:main-audio send=1;recv=1\r\n\
         a=ptime:20\r\n{more}",
        crypto(0, SHORT, KEY_A, "|2^31"),
        crypto(1, LONG, KEY_B, "|2^31"),
    )
}

/// TDR-SDP-002, TDR-SRTP-001
#[test]
fn the_long_suite_is_chosen_from_any_position_and_its_tag_is_echoed() {
    for (lines, tag, first) in [
        (vec![crypto(0, SHORT, KEY_A, "|2^31"), crypto(1, LONG, KEY_B, "|2^31")], 1, b'B'),
        (vec![crypto(0, LONG, KEY_A, ""), crypto(1, SHORT, KEY_B, "")], 0, b'A'),
        (vec![crypto(7, "AEAD_AES_256_GCM", KEY_A, ""), crypto(9, LONG, KEY_B, "")], 9, b'B'),
        (vec![crypto(2, LONG, KEY_A, "|2^31|1:1"), crypto(3, LONG, KEY_B, "|2^31")], 3, b'B'),
        (vec![crypto(2, LONG, KEY_A, "AA"), crypto(3, LONG, KEY_B, "")], 3, b'B'),
        (vec![crypto(5, SHORT, KEY_A, "")], 5, b'A'),
    ] {
        let mut leg = leg(Ability::srtp());
        let offered = leg.receive_offer(secured(&lines, "").as_bytes()).unwrap();
        let (answer, stream) = leg.make_answer(&offered).unwrap();
        let written = crate::support::lines(&answer, "a=crypto:");
        assert_eq!(written.len(), 1, "{lines:?}");
        assert!(written[0].starts_with(&format!("a=crypto:{tag} ")), "{lines:?}: {written:?}");
        let agreed = stream.crypto.unwrap();
        assert_eq!(first_octets(&agreed.remote), [first], "{lines:?}");
        assert_eq!(agreed.local.key_salt(), [OUR_KEY; 30]);
        assert_eq!(agreed.local.suite(), agreed.remote[0].suite());
    }
}

/// TDR-SDP-004
#[test]
fn keys_of_the_wrong_length_are_no_srtp() {
    for bad in [("QUFB", 0), ("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB", 0), ("", 0)] {
        let offer = secured(&[crypto(1, LONG, bad, "|2^31")], "");
        assert_eq!(
            leg(Ability::srtp()).receive_offer(offer.as_bytes()),
            Err(Refusal::SrtpRequired)
        );
    }
}

/// TDR-SDP-003, TDR-SDP-001
#[test]
fn two_crypto_lines_in_an_answer_give_two_keys_the_one_without_mki_first() {
    let mut leg = leg(Ability::srtp());
    leg.make_offer(&Media::g711());
    let lines = [crypto(2, LONG, KEY_A, "|2^31|1:1"), crypto(3, LONG, KEY_B, "|2^31")];
    let body = secured(&lines, "a=rtcp:52004\r\na=rtcp-mux\r\n")
        .replace("8 0 101\r\n", "111 103 104 9 0 8 description 106 13 110 112 113 126\r\n");
    let (agreed, stream) = leg.receive_answer(body.as_bytes()).unwrap();
    let keys = stream.crypto.unwrap().remote;
    assert_eq!(first_octets(&keys), [b'B', b'A']);
    assert_eq!((keys[0].mki(), keys[1].mki()), (None, Some((1, 1))));
    assert_eq!(numbers(&agreed.payloads), [0, 8, 13]);
    assert!(stream.rtcp_mux);
}

#[test]
fn many_crypto_lines_do_not_cost_many_trials() {
    let lines: Vec<String> = (1..50).map(|tag| crypto(tag, LONG, KEY_A, "")).collect();
    let mut leg = leg(Ability::srtp());
    leg.make_offer(&Media::g711());
    let (_, stream) = leg.receive_answer(secured(&lines, "").as_bytes()).unwrap();
    assert_eq!(stream.crypto.unwrap().remote.len(), 4);
}

/// TDR-SDP-007, TDR-SDP-011, TDR-SDP-001, TDR-COD-001, TDR-COD-002
#[test]
fn a_call_from_teams_is_answered_with_what_the_carrier_took() {
    let (mut teams, mut carrier) = (leg(Ability::srtp()), leg(Ability::plain()));
    let from_teams = teams.receive_offer(teams_offer("a=rtcp-mux\r\n").as_bytes()).unwrap();
    assert_eq!(numbers(&from_teams.payloads), [104, 9, 103, 111, 18, 0, 8, 97, 101, 13, 118]);

    let allow = ["PCMA", "PCMU", "G722", "G729", "telephone-event", "cn"];
    let offer = carrier.make_offer(&from_teams.for_other_leg(Some(&allow)).unwrap());
    assert_eq!(line(&offer, "m="), "m=audio 20000 RTP/AVP 9 18 0 8 101 13");
    assert_eq!(line(&offer, "a=fmtp:18"), "a=fmtp:18 annexb=no");
    for unknown in ["a=label", "a=mid", "a=x-", "b=", "a=crypto", "a=rtcp"] {
        assert!(lines(&offer, unknown).is_empty(), "{unknown}");
    }

    let (from_carrier, carrier_stream) = carrier
        .receive_answer(crate::support::carrier("").replace("101", "100").as_bytes())
        .unwrap();
    let (answer, teams_stream) =
        teams.make_answer(&from_carrier.answer_for(&from_teams).unwrap()).unwrap();
    assert_eq!(line(&answer, "m="), "m=audio 20000 RTP/SAVP 8 0 101");
    assert!(line(&answer, "a=crypto").starts_with("a=crypto:1 AES_CM_128_HMAC_SHA1_80 "));
    assert_eq!(lines(&answer, "a=rtcp"), ["a=rtcp:20000", "a=rtcp-mux"]);
    assert_eq!(teams_stream.remote_rtp, "198.51.100.8:52004".parse().ok());
    assert_eq!(teams_stream.remote_rtcp, teams_stream.remote_rtp);

    let numbers = |from: &sdp::Stream, to: &sdp::Stream, number: u8| {
        let payload = from.payloads.iter().find(|it| it.number == number)?;
        sdp::counterpart(payload, &to.payloads).map(|it| it.number)
    };
    assert_eq!(numbers(&teams_stream, &carrier_stream, 101), Some(100));
    assert_eq!(numbers(&teams_stream, &carrier_stream, 8), Some(8));
    assert_eq!(numbers(&carrier_stream, &teams_stream, 100), Some(101));
}

/// TDR-COD-010, TDR-COD-002
#[test]
fn a_call_to_teams_offers_the_carriers_codec_first() {
    let (mut carrier, mut teams) = (leg(Ability::plain()), leg(Ability::srtp()));
    let from_carrier = carrier.receive_offer(crate::support::carrier("").as_bytes()).unwrap();
    let offer = teams.make_offer(&from_carrier.for_other_leg(None).unwrap());
    assert_eq!(line(&offer, "m="), "m=audio 20000 RTP/SAVP 8 0 101");

    let lines = [crypto(1, LONG, KEY_B, "|2^31")];
    let (from_teams, _) =
        teams.receive_answer(secured(&lines, "a=rtcp-mux\r\n").as_bytes()).unwrap();
    let (answer, stream) =
        carrier.make_answer(&from_teams.answer_for(&from_carrier).unwrap()).unwrap();
    assert_eq!(line(&answer, "m="), "m=audio 20000 RTP/AVP 8 0 101");
    assert_eq!(stream.crypto, None);
}

/// TDR-COD-003
#[test]
fn teams_is_asked_for_20_ms_whatever_the_carrier_asks_for() {
    let twenty = Ability { ptime_ms: Some(20), ..Ability::srtp() };
    let (mut carrier, mut teams) = (leg(Ability::plain()), leg(twenty));
    let thirty = crate::support::carrier("a=ptime:30\r\n");
    let from_carrier = carrier.receive_offer(thirty.as_bytes()).unwrap();
    let offer = teams.make_offer(&from_carrier.for_other_leg(None).unwrap());
    assert_eq!(lines(&offer, "a=ptime"), ["a=ptime:20"]);
    let lines_of = [crypto(1, LONG, KEY_B, "|2^31")];
    let (from_teams, _) =
        teams.receive_answer(secured(&lines_of, "a=ptime:20\r\n").as_bytes()).unwrap();
    let (answer, _) = carrier.make_answer(&from_teams.answer_for(&from_carrier).unwrap()).unwrap();
    assert_eq!(lines(&answer, "a=ptime"), ["a=ptime:20"], "and the carrier for what Teams sends");
    let mut teams = leg(twenty);
    let from_teams = teams.receive_offer(teams_offer("").as_bytes()).unwrap();
    let answer = Media { ptime_ms: Some(30), ..from_teams };
    assert_eq!(lines(&teams.make_answer(&answer).unwrap().0, "a=ptime"), ["a=ptime:20"]);
}

/// TDR-SDP-012, TDR-SDP-001
#[test]
fn teams_is_told_nothing_that_it_is_not_known_to_take() {
    const TAKEN: [&str; 12] = [
        "rtpmap",
        "fmtp",
        "ptime",
        "sendrecv",
        "crypto",
        "rtcp",
        "rtcp-mux",
        "ice-lite",
        "ice-ufrag",
        "ice-pwd",
        "candidate",
        "inactive",
    ];
    let from_carrier = {
        let more = "a=silenceSupp:off - - - -\r\na=T38FaxVersion:0\r\na=X-nat:0\r\na=tcap:1 RTP/SAVP\r\n\
                    a=curr:qos local none\r\na=ssrc:7 cname:x\r\na=extmap:1 urn:x\r\na=maxptime:40\r\n\
                    b=AS:80\r\n";
        leg(Ability::plain()).receive_offer(crate::support::carrier(more).as_bytes()).unwrap()
    };
    let mut called = leg(Ability { one_line: true, ..Ability::srtp() });
    let offer = called.make_offer(&from_carrier.for_other_leg(None).unwrap());
    let mut calling = leg(Ability::srtp());
    let theirs = calling.receive_offer(teams_offer("a=rtcp-mux\r\n").as_bytes()).unwrap();
    let (answer, _) = calling.make_answer(&from_carrier.answer_for(&theirs).unwrap()).unwrap();
    for ours in [offer, answer] {
        let kinds: String = text(&ours).lines().map(|line| &line[..1]).collect();
        assert!(kinds.starts_with("vosctma") && !kinds.contains('b'), "{kinds}");
        assert!(line(&ours, "m=").contains(" RTP/SAVP "));
        for attribute in lines(&ours, "a=") {
            let name = attribute[2..].split(':').next().unwrap();
            assert!(TAKEN.contains(&name), "{attribute}");
        }
    }
}

/// TDR-COD-006
#[test]
fn of_events_at_many_clocks_the_one_of_the_speech_is_answered() {
    let body = format!(
        "v=0\r\nc=IN IP4 198.51.100.7\r\n\
         m=audio 52884 RTP/SAVP 111 103 104 9 0 8 106 13 110 112 113 126\r\na=rtcp:52884\r\n\
         a=ice-ufrag:Xk3d\r\na=ice-pwd:0aV5bSx1uDkqPq9mZr2cT7yE\r\na=rtcp-mux\r\n\
         a=candidate:4 1 tcp-pass 18087935 198.51.100.7 3478 typ relay raddr 192.0.2.1 rport 9\r\n\
         a=crypto:{}\r\na=rtpmap:104 SILK/16000\r\na=rtpmap:103 SILK/8000\r\n\
         a=rtpmap:111 SIREN/16000\r\na=rtpmap:106 CN/32000\r\na=rtpmap:110 telephone-event/48000\r\n\
         a=rtpmap:112 telephone-event/32000\r\na=rtpmap:113 telephone-event/16000\r\n\
         a=rtpmap:126 telephone-event/8000\r\na=fmtp:126 0-16\r\n",
        crypto(1, LONG, KEY_A, "|2^31")
    );
    let mut teams = leg(Ability::srtp());
    let offered = teams.receive_offer(body.as_bytes()).unwrap();
    let (answer, _) = teams.make_answer(&Media::g711().answer_for(&offered).unwrap()).unwrap();
    assert_eq!(line(&answer, "m="), "m=audio 20000 RTP/SAVP 8 0 126 13");
    assert_eq!(line(&answer, "a=fmtp:126"), "a=fmtp:126 0-16");
}

#[test]
fn holds_are_answered_in_kind_from_the_same_port() {
    let mut leg = leg(Ability::srtp());
    let offered = leg.receive_offer(teams_offer("").as_bytes()).unwrap();
    leg.make_answer(&offered).unwrap();
    for (hold, answered) in
        [("a=inactive\r\n", "a=inactive"), ("a=sendonly\r\n", "a=recvonly"), ("", "a=sendrecv")]
    {
        let offered = leg.receive_offer(teams_offer(hold).as_bytes()).unwrap();
        let (answer, _) =
            leg.make_answer(&Media { direction: Direction::SendRecv, ..offered }).unwrap();
        assert_eq!(line(&answer, answered), answered);
        assert!(line(&answer, "m=").starts_with("m=audio 20000 "));
    }
}
