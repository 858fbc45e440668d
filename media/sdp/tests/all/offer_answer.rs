//! RFC 3264 on one leg, flow by flow.

use crate::support::*;
use sdp::*;

#[test]
fn a_plain_offer_is_answered_with_what_the_call_allows_of_it() {
    let mut leg = leg(Ability::plain());
    let offered = leg.receive_offer(carrier("a=ptime:20\r\n").as_bytes()).unwrap();
    assert_eq!(numbers(&offered.payloads), [8, 0, 101]);

    let (answer, stream) =
        leg.make_answer(&media(&[(0, "PCMU"), (97, "telephone-event"), (9, "G722")])).unwrap();
    assert_eq!(
        text(&answer),
        "v=0\r\no=- 77 1 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\n\
         m=audio 20000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    assert_eq!(stream.remote_rtp, "192.0.2.5:4000".parse().ok());
    assert_eq!(stream.remote_rtcp, "192.0.2.5:4001".parse().ok());
    assert_eq!((stream.crypto.as_ref(), stream.rtcp_mux), (None, false));
    assert_eq!(leg.stream(), Some(&stream));
}

/// TDR-SDP-005, TDR-SDP-006, TDR-SDP-001
#[test]
fn our_offer_to_teams_is_one_crypto_line_and_multiplexed_rtcp() {
    let mut leg = leg(Ability { one_line: true, ..Ability::srtp() });
    let offer = leg.make_offer(&media(&[(8, "PCMA"), (96, "opus/48000/2")]));
    assert_eq!(
        text(&offer),
        "v=0\r\no=- 77 1 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\n\
         m=audio 20000 RTP/SAVP 8 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 opus/48000/2\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:ERERERERERERERERERERERERERERERERERERERER|2^31\r\n\
         a=rtcp:20000\r\na=rtcp-mux\r\na=ptime:20\r\na=sendrecv\r\n"
    );
}

/// TDR-SDP-006
#[test]
fn rtcp_goes_where_both_sides_agreed() {
    // (our ability, offer has mux, attribute) -> (mux, RTCP port)
    for (more, mux, rtcp) in [
        ("", false, "192.0.2.5:4001"),
        ("a=rtcp:4555\r\n", false, "192.0.2.5:4555"),
        ("a=rtcp:4555 IN IP4 192.0.2.6\r\n", false, "192.0.2.6:4555"),
        ("a=rtcp:4001\r\na=rtcp-mux\r\n", true, "192.0.2.5:4000"),
    ] {
        let mut answering = leg(Ability::plain());
        let offered = answering.receive_offer(carrier(more).as_bytes()).unwrap();
        let (answer, stream) = answering.make_answer(&offered).unwrap();
        assert_eq!((stream.rtcp_mux, stream.remote_rtcp), (mux, rtcp.parse().ok()), "{more}");
        let written = if mux { vec!["a=rtcp:20000", "a=rtcp-mux"] } else { vec![] };
        assert_eq!(lines(&answer, "a=rtcp"), written, "{more}");

        // A plain offer of ours has no mux, so an answer cannot agree it.
        let mut offering = leg(Ability::plain());
        assert!(lines(&offering.make_offer(&offered), "a=rtcp").is_empty());
        let (_, stream) = offering.receive_answer(carrier(more).as_bytes()).unwrap();
        assert!(!stream.rtcp_mux, "{more}");
    }

    for (more, mux, rtcp) in [
        ("a=rtcp:52004\r\na=rtcp-mux\r\n", true, 52004),
        ("a=rtcp:52009\r\n", false, 52009),
        ("", false, 52005),
    ] {
        let mut leg = leg(Ability::srtp());
        leg.make_offer(&Media::g711());
        let answer = secured(&[crypto(1, LONG, KEY_A, "")], more);
        let (_, stream) = leg.receive_answer(answer.as_bytes()).unwrap();
        assert_eq!(stream.rtcp_mux, mux, "{more}");
        assert_eq!(stream.remote_rtcp.unwrap().port(), rtcp, "{more}");
    }
}

#[test]
fn an_rtcp_port_that_is_not_the_next_one_is_written() {
    let mut leg = Negotiation::new(
        Local {
            address: "2001:db8::1".parse().unwrap(),
            rtp_port: 20000,
            rtcp_port: 30000,
            session_id: 1,
            keys: our_keys(),
        },
        Ability::plain(),
    );
    let offer = leg.make_offer(&Media::g711());
    assert_eq!(line(&offer, "a=rtcp:"), "a=rtcp:30000");
    assert_eq!(line(&offer, "c="), "c=IN IP6 2001:db8::1");
}

/// TDR-MED-001
#[test]
fn the_profile_decides_what_is_refused() {
    let key = |proto: &str| {
        secured(&[crypto(1, LONG, KEY_A, "")], "").replace("RTP/SAVP", proto).into_bytes()
    };
    let refused = |ability, body: &[u8]| leg(ability).receive_offer(body).err();
    assert_eq!(refused(Ability::srtp(), carrier("").as_bytes()), Some(Refusal::SrtpRequired));
    assert_eq!(refused(Ability::plain(), &key("RTP/SAVP")), Some(Refusal::SrtpNotAllowed));
    assert_eq!(refused(Ability::either(), &key("TCP/RTP/SAVP")), Some(Refusal::NoAudio));
    assert_eq!(refused(Ability::srtp(), secured(&[], "").as_bytes()), Some(Refusal::SrtpRequired));
    let fingerprint = secured(&[], "a=fingerprint:sha-256 AE:24\r\na=setup:actpass\r\n");
    assert_eq!(refused(Ability::srtp(), fingerprint.as_bytes()), Some(Refusal::SrtpRequired));

    for proto in ["RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "rtp/savp"] {
        for ability in [Ability::srtp(), Ability::either()] {
            let mut leg = leg(ability);
            let offered = leg.receive_offer(&key(proto)).unwrap();
            let (answer, stream) = leg.make_answer(&offered).unwrap();
            assert_eq!(line(&answer, "m="), format!("m=audio 20000 {proto} 8 0 101"));
            assert!(stream.crypto.is_some());
        }
    }
    for proto in ["RTP/AVP", "RTP/AVPF"] {
        // Crypto lines under a plain profile are best effort: taken by who would have SRTP.
        for ability in [Ability::plain(), Ability::either(), Ability::srtp()] {
            let secured = ability.security != Security::Off;
            let mut leg = leg(ability);
            let offered = leg.receive_offer(&key(proto)).unwrap();
            let (answer, stream) = leg.make_answer(&offered).unwrap();
            assert_eq!(line(&answer, "m="), format!("m=audio 20000 {proto} 8 0 101"));
            assert_eq!(stream.crypto.is_some(), secured);
            assert_eq!(lines(&answer, "a=crypto").len(), usize::from(secured));
        }
    }
}

/// TDR-SDP-004
#[test]
fn an_answer_must_keep_the_security_of_the_offer() {
    let teams = Ability { one_line: true, ..Ability::srtp() };
    for (ability, answer, refusal) in [
        (Ability::srtp(), carrier(""), Refusal::SrtpRequired),
        (Ability::either(), carrier(""), Refusal::SrtpRequired),
        (Ability::srtp(), secured(&[], ""), Refusal::SrtpRequired),
        (teams, secured(&[crypto(1, SHORT, KEY_A, "")], ""), Refusal::SrtpRequired),
        (Ability::plain(), secured(&[crypto(1, LONG, KEY_A, "")], ""), Refusal::SrtpNotAllowed),
        (Ability::plain(), carrier("").replace("audio 4000", "audio 0"), Refusal::NoAudio),
        (Ability::plain(), carrier("").replace("m=audio", "m=image"), Refusal::NoAudio),
        (Ability::plain(), carrier("").replace("8 0 101", "18 3 101"), Refusal::NoCommonCodec),
        (Ability::plain(), carrier("").replace("8 0 101", "101"), Refusal::NoCommonCodec),
    ] {
        let mut leg = leg(ability);
        leg.make_offer(&Media::g711());
        assert_eq!(leg.receive_answer(answer.as_bytes()).unwrap_err(), refusal, "{answer}");
        assert_eq!(leg.stream(), None);
    }
}

#[test]
fn a_stream_at_port_0_or_without_audio_is_no_audio() {
    for body in [
        carrier("").replace("audio 4000", "audio 0"),
        carrier("").replace("m=audio 4000 RTP/AVP", "m=video 4000 RTP/AVP"),
        "v=0\r\nc=IN IP4 192.0.2.5\r\n".to_owned(),
        String::new(),
    ] {
        assert_eq!(leg(Ability::plain()).receive_offer(body.as_bytes()), Err(Refusal::NoAudio));
    }
    let no_connection = carrier("").replace("c=IN", "i=IN");
    assert!(matches!(
        leg(Ability::plain()).receive_offer(no_connection.as_bytes()),
        Err(Refusal::Unreadable(SdpError { line: 6, .. }))
    ));
}

/// TDR-SDP-008
#[test]
fn further_streams_are_refused_in_their_place_and_stay_refused() {
    let mut leg = leg(Ability::plain());
    let offer = "v=0\r\nc=IN IP4 192.0.2.5\r\nm=video 6000/2 RTP/AVPF 96 97\r\n\
                 a=rtpmap:96 H264/90000\r\nm=audio 4000 RTP/AVP 8\r\n\
                 m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nm=audio 4010 RTP/AVP 0\r\n";
    let offered = leg.receive_offer(offer.as_bytes()).unwrap();
    let (answer, _) = leg.make_answer(&offered).unwrap();
    let wanted = [
        "m=video 0 RTP/AVPF 96 97",
        "m=audio 20000 RTP/AVP 8",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        "m=audio 0 RTP/AVP 0",
    ];
    assert_eq!(lines(&answer, "m="), wanted);

    let again = leg.make_offer(&offered);
    assert_eq!(lines(&again, "m="), wanted);
    let answer = "v=0\nc=IN IP4 192.0.2.5\nm=video 0 RTP/AVPF 96\nm=audio 4002 RTP/AVP 8\n\
                  m=application 0 UDP/DTLS/SCTP x\nm=audio 0 RTP/AVP 0\n";
    let (_, stream) = leg.receive_answer(answer.as_bytes()).unwrap();
    assert_eq!(stream.remote_rtp, "192.0.2.5:4002".parse().ok());
}

#[test]
fn of_a_plain_and_a_secured_stream_the_one_we_can_carry_is_taken() {
    let offer = format!(
        "v=0\r\nc=IN IP4 192.0.2.5\r\nm=audio 4000 RTP/AVP 8\r\n\
         m=audio 4010 RTP/SAVP 8\r\na=crypto:{}\r\n",
        crypto(3, LONG, KEY_A, "")
    );
    for (ability, port) in [(Ability::plain(), 4000), (Ability::srtp(), 4010)] {
        let mut leg = leg(ability);
        let offered = leg.receive_offer(offer.as_bytes()).unwrap();
        let (answer, stream) = leg.make_answer(&offered).unwrap();
        assert_eq!(stream.remote_rtp.unwrap().port(), port);
        assert_eq!(lines(&answer, "m=audio 0").len(), 1);
    }
}

#[test]
fn a_direction_never_exceeds_what_the_far_side_left() {
    use Direction::*;
    // (they offer, we want) -> ours
    for (offered, wanted, answered) in [
        ("sendrecv", SendRecv, SendRecv),
        ("sendrecv", Inactive, Inactive),
        ("sendrecv", SendOnly, SendOnly),
        ("sendonly", SendRecv, RecvOnly),
        ("sendonly", SendOnly, Inactive),
        ("sendonly", Inactive, Inactive),
        ("recvonly", SendRecv, SendOnly),
        ("recvonly", RecvOnly, Inactive),
        ("inactive", SendRecv, Inactive),
    ] {
        let far = carrier(&format!("a={offered}\r\n"));
        let mut answering = leg(Ability::plain());
        let mut wants = answering.receive_offer(far.as_bytes()).unwrap();
        wants.direction = wanted;
        let (answer, stream) = answering.make_answer(&wants).unwrap();
        assert_eq!(stream.direction, answered, "{offered} {wanted:?}");
        let written = format!("{answered:?}").to_lowercase();
        assert_eq!(line(&answer, &format!("a={written}")), format!("a={written}"));

        // The same as an answer to our offer.
        let mut offering = leg(Ability::plain());
        offering.make_offer(&wants);
        let (_, stream) = offering.receive_answer(far.as_bytes()).unwrap();
        assert_eq!(stream.direction, answered, "{wanted:?} answered {offered}");
    }
}

#[test]
fn a_hold_by_the_zero_address_reads_as_inactive_and_names_nowhere_to_send() {
    for zero in ["IN IP4 0.0.0.0", "IN IP6 ::"] {
        let mut leg = leg(Ability::plain());
        let offer = carrier("").replace("c=IN IP4 192.0.2.5", &format!("c={zero}"));
        let offered = leg.receive_offer(offer.as_bytes()).unwrap();
        assert_eq!(offered.direction, Direction::Inactive);
        let (answer, stream) = leg.make_answer(&media(&[(8, "PCMA")])).unwrap();
        assert_eq!(line(&answer, "c="), "c=IN IP4 203.0.113.10");
        assert_eq!(line(&answer, "a=inactive"), "a=inactive");
        assert_eq!((stream.remote_rtp, stream.remote_rtcp), (None, None));
    }
}

/// TDR-SDP-009
#[test]
fn the_version_rises_only_when_the_body_changes() {
    let mut leg = leg(Ability::plain());
    let mut wants = media(&[(8, "PCMA")]);
    let version = |body: &[u8]| line(body, "o=").split(' ').nth(2).unwrap().to_owned();

    let first = leg.make_offer(&wants);
    assert_eq!(version(&first), "1");
    assert_eq!(leg.make_offer(&wants), first, "the same offer again, after a 491 say");
    leg.receive_answer(carrier("").as_bytes()).unwrap();
    assert_eq!(leg.make_offer(&wants), first);
    leg.rollback();

    wants.direction = Direction::Inactive;
    let held = leg.make_offer(&wants);
    assert_eq!(version(&held), "2");
    assert_eq!(line(&held, "o="), "o=- 77 2 IN IP4 203.0.113.10");
    assert_eq!(leg.last_local(), Some(&held));
    leg.rollback();
    assert_eq!(leg.last_local(), Some(&first), "a failed re-INVITE leaves the old state");

    wants.direction = Direction::RecvOnly;
    assert_eq!(version(&leg.make_offer(&wants)), "3", "a refused version is not used again");
}

/// TDR-SDP-009
#[test]
fn a_refresh_is_known_and_answered_octet_by_octet() {
    let mut leg = leg(Ability::srtp());
    let offer = secured(&[crypto(0, SHORT, KEY_B, ""), crypto(1, LONG, KEY_A, "")], "");
    let offered = leg.receive_offer(offer.as_bytes()).unwrap();
    assert!(!leg.is_refresh());
    let (answer, stream) = leg.make_answer(&offered).unwrap();

    for body in [offer.clone(), offer.replace("o=- 85 0", "o=- 85 1")] {
        leg.receive_offer(body.as_bytes()).unwrap();
        assert!(leg.is_refresh());
        assert_eq!(leg.answer_refresh().unwrap(), (answer.clone(), stream.clone()));
    }
    let held = format!("{offer}a=inactive\r\n");
    leg.receive_offer(held.as_bytes()).unwrap();
    assert!(!leg.is_refresh());
}

#[test]
fn a_refresh_by_the_side_that_answered_echoes_its_tag() {
    let mut leg = leg(Ability::srtp());
    leg.make_offer(&Media::g711());
    let answer = secured(&[crypto(3, LONG, KEY_A, "|2^31")], "a=rtcp-mux\r\n");
    let (_, stream) = leg.receive_answer(answer.as_bytes()).unwrap();

    leg.receive_offer(answer.as_bytes()).unwrap();
    assert!(leg.is_refresh());
    let (body, again) = leg.answer_refresh().unwrap();
    assert!(line(&body, "a=crypto").starts_with("a=crypto:3 "));
    assert_eq!(again.crypto, stream.crypto);
    assert_eq!(numbers(&again.payloads), [8, 0, 101]);
}

#[test]
fn a_new_key_of_the_far_side_takes_effect_and_ours_stays() {
    let mut leg = leg(Ability::srtp());
    let offered = leg.receive_offer(secured(&[crypto(1, LONG, KEY_A, "")], "").as_bytes()).unwrap();
    let (first, before) = leg.make_answer(&offered).unwrap();
    let moved = secured(&[crypto(1, LONG, KEY_B, "")], "a=sendonly\r\n").replace("52004", "50444");
    leg.receive_offer(moved.as_bytes()).unwrap();
    assert_eq!(leg.stream(), Some(&before), "an open offer changes nothing yet");
    let (second, after) = leg.make_answer(&offered).unwrap();

    let (before, after) = (before.crypto.unwrap(), after.crypto.unwrap());
    assert_eq!(before.local, after.local);
    assert_eq!(
        (first_octets(&before.remote), first_octets(&after.remote)),
        (vec![b'A'], vec![b'B'])
    );
    for start in ["a=crypto", "m=", "c="] {
        assert_eq!(line(&first, start), line(&second, start), "port, address and key stay");
    }
    assert_eq!(line(&second, "a=recvonly"), "a=recvonly");
}

#[test]
fn our_reoffer_keeps_profile_suite_and_mux_as_agreed() {
    let mut leg = leg(Ability::either());
    let offer = secured(&[crypto(4, SHORT, KEY_A, "")], "").replace("RTP/SAVP", "RTP/SAVPF");
    let offered = leg.receive_offer(offer.as_bytes()).unwrap();
    let (answer, stream) = leg.make_answer(&offered).unwrap();
    assert!(
        line(&answer, "a=crypto").starts_with("a=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:ERER")
    );
    assert_eq!(stream.crypto.unwrap().local.suite(), Suite::AesCm128HmacSha1_32);
    let again = leg.make_offer(&offered);
    assert!(line(&again, "m=").contains("RTP/SAVPF"));
    assert!(line(&again, "a=crypto").starts_with("a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:ERER"));

    for (ability, more, mux) in [
        (Ability::either(), "a=rtcp-mux\r\n", 1),
        (Ability::plain(), "a=rtcp-mux\r\n", 1),
        (Ability::either(), "", 0),
    ] {
        let mut plain = crate::support::leg(ability);
        let offered = plain.receive_offer(carrier(more).as_bytes()).unwrap();
        plain.make_answer(&offered).unwrap();
        let again = plain.make_offer(&offered);
        assert!(line(&again, "m=").contains("RTP/AVP"));
        let written = (lines(&again, "a=crypto").len(), lines(&again, "a=rtcp-mux").len());
        assert_eq!(written, (0, mux), "{ability:?} {more}");
    }
}

#[test]
fn our_key_does_not_move_to_another_suite_while_its_suite_is_offered() {
    let mut leg = leg(Ability::srtp());
    let short = crypto(1, SHORT, KEY_A, "");
    let offered = leg.receive_offer(secured(std::slice::from_ref(&short), "").as_bytes()).unwrap();
    leg.make_answer(&offered).unwrap();
    let both = secured(&[crypto(2, LONG, KEY_B, ""), short], "");
    leg.receive_offer(both.as_bytes()).unwrap();
    let (_, stream) = leg.make_answer(&offered).unwrap();
    assert_eq!(stream.crypto.unwrap().local.suite(), Suite::AesCm128HmacSha1_32);
}

#[test]
fn an_answer_is_read_in_the_place_of_our_stream() {
    let mut leg = leg(Ability::plain());
    let offer = format!(
        "v=0\r\nc=IN IP4 192.0.2.5\r\nm=audio 4000 RTP/SAVP 8\r\na=crypto:{}\r\n\
         m=audio 4010 RTP/AVP 8\r\n",
        crypto(1, LONG, KEY_A, "")
    );
    let offered = leg.receive_offer(offer.as_bytes()).unwrap();
    leg.make_answer(&offered).unwrap();
    assert!(lines(&leg.make_offer(&offered), "m=")[1].starts_with("m=audio 20000 "));
    let answer = "v=0\nc=IN IP4 192.0.2.5\nm=audio 5000 RTP/AVP 8\nm=audio 5010 RTP/AVP 8\n";
    let (_, stream) = leg.receive_answer(answer.as_bytes()).unwrap();
    assert_eq!(stream.remote_rtp.unwrap().port(), 5010);
}

#[test]
fn an_answer_may_come_again_and_a_later_one_to_the_same_offer_counts() {
    let mut leg = leg(Ability::plain());
    leg.make_offer(&Media::g711());
    let early = leg.receive_answer(carrier("").as_bytes()).unwrap();
    assert_eq!(leg.receive_answer(carrier("").as_bytes()), Ok(early.clone()));

    let moved = carrier("").replace("audio 4000", "audio 4100");
    let (_, stream) = leg.receive_answer(moved.as_bytes()).unwrap();
    assert_eq!(stream.remote_rtp.unwrap().port(), 4100);
    assert_eq!(leg.receive_answer(b"v=0\r\n"), Err(Refusal::NoAudio));
    assert_eq!(leg.stream(), Some(&stream));

    // Once an offer of theirs was answered, nothing is left to answer.
    let offered = leg.receive_offer(carrier("a=sendonly\r\n").as_bytes()).unwrap();
    leg.make_answer(&offered).unwrap();
    assert_eq!(leg.receive_answer(carrier("").as_bytes()), Err(Refusal::OutOfTurn));
}

#[test]
fn forks_of_one_offer_are_told_apart() {
    let mut first = leg(Ability::srtp());
    first.make_offer(&Media::g711());
    let mut second = first.clone();
    let a = secured(&[crypto(1, LONG, KEY_A, "")], "");
    let b = secured(&[crypto(1, LONG, KEY_B, "")], "").replace("52004", "53000");
    let (_, a) = first.receive_answer(a.as_bytes()).unwrap();
    let (_, b) = second.receive_answer(b.as_bytes()).unwrap();
    assert_eq!(a.remote_rtp.unwrap().port(), 52004);
    assert_eq!(first_octets(&b.crypto.unwrap().remote), [b'B']);
}

#[test]
fn what_comes_out_of_turn_is_refused() {
    let offer = carrier("");
    let wants = Media::g711();
    let mut leg = leg(Ability::plain());
    assert_eq!(leg.receive_answer(offer.as_bytes()), Err(Refusal::OutOfTurn));
    assert_eq!(leg.make_answer(&wants), Err(Refusal::OutOfTurn));
    assert_eq!(leg.answer_refresh(), Err(Refusal::OutOfTurn));
    leg.receive_offer(offer.as_bytes()).unwrap();
    assert_eq!(leg.receive_offer(offer.as_bytes()), Err(Refusal::OutOfTurn));
    leg.rollback();
    leg.make_offer(&wants);
    assert_eq!(leg.receive_offer(offer.as_bytes()), Err(Refusal::OutOfTurn), "glare");
    assert_eq!(leg.make_answer(&wants), Err(Refusal::OutOfTurn));
}

#[test]
fn a_refused_offer_can_be_followed_by_a_good_one() {
    let mut leg = leg(Ability::plain());
    assert!(leg.receive_offer(b"m=audio x").is_err());
    let offered = leg.receive_offer(carrier("").as_bytes()).unwrap();
    assert_eq!(leg.make_answer(&media(&[(9, "G722")])), Err(Refusal::NoCommonCodec));
    assert!(leg.make_answer(&offered).is_ok(), "the offer was still open");
}

#[test]
fn an_answer_with_other_numbers_is_sent_by_them_and_received_by_both() {
    let mut leg = leg(Ability::plain());
    leg.make_offer(&media(&[(8, "PCMA"), (101, "telephone-event"), (96, "opus/48000/2")]));
    let answer = carrier("").replace("101", "99");
    let (agreed, stream) = leg.receive_answer(answer.as_bytes()).unwrap();
    assert_eq!(numbers(&agreed.payloads), [8, 99]);
    assert_eq!(numbers(&stream.payloads), [8, 99, 101]);
    assert_eq!(stream.payloads[1].encoding, stream.payloads[2].encoding);
}

#[test]
fn an_answer_without_a_mapping_means_what_we_offered_by_that_number() {
    let mut leg = leg(Ability::plain());
    leg.make_offer(&media(&[(8, "PCMA"), (101, "telephone-event")]));
    let answer = "v=0\nc=IN IP4 192.0.2.5\nm=audio 4000 RTP/AVP 8 101 102\n";
    let (agreed, _) = leg.receive_answer(answer.as_bytes()).unwrap();
    assert_eq!(numbers(&agreed.payloads), [8, 101]);
}

/// TDR-SDP-010
#[test]
fn a_payload_number_keeps_its_meaning_on_the_leg() {
    let opus = (97, "opus/48000/2");
    let offers = |leg: &mut Negotiation, wants: &[(u8, &str)]| {
        line(&leg.make_offer(&media(wants)), "m=").split_off("m=audio 20000 RTP/AVP ".len())
    };

    // We offered: the other leg now has 101 for opus, and 99 for events.
    let mut leg = leg(Ability::plain());
    assert_eq!(offers(&mut leg, &[(8, "PCMA"), (101, "telephone-event"), (96, "x")]), "8 101 96");
    leg.receive_answer(carrier("").as_bytes()).unwrap();
    let wants = [(101, "opus/48000/2"), (99, "telephone-event"), (8, "PCMA")];
    assert_eq!(offers(&mut leg, &wants), "97 101 8", "96 was x, though it was not accepted");

    // They offered, and we did not take 97.
    let mut leg = crate::support::leg(Ability::plain());
    let offer = carrier("a=rtpmap:97 x/8000\r\n").replace("8 0 101", "8 97");
    leg.receive_offer(offer.as_bytes()).unwrap();
    leg.make_answer(&media(&[(8, "PCMA")])).unwrap();
    assert_eq!(offers(&mut leg, &[(8, "PCMA"), opus]), "8 96");

    // They answered events with a number of their own.
    let mut leg = crate::support::leg(Ability::plain());
    leg.make_offer(&media(&[(8, "PCMA"), (101, "telephone-event")]));
    leg.receive_answer(carrier("").replace("101", "97").as_bytes()).unwrap();
    assert_eq!(offers(&mut leg, &[(8, "PCMA"), opus]), "8 96");
}

/// TDR-SDP-010
#[test]
fn an_offer_never_holds_what_cannot_be_written() {
    let mut wants = media(&[(8, "PCMA"), (8, "PCMU"), (200, "GSM"), (97, "x y"), (98, "a\r\na=b")]);
    wants.payloads[0].fmtp = Some("1\r\na=evil".to_owned());
    let offer = leg(Ability::plain()).make_offer(&wants);
    assert_eq!(line(&offer, "m="), "m=audio 20000 RTP/AVP 8 96 99");
    assert!(!text(&offer).contains("evil") && lines(&offer, "a=rtpmap").len() == 3);
    let mut answering = leg(Ability::plain());
    answering.receive_offer(carrier("").as_bytes()).unwrap();
    assert!(!text(&answering.make_answer(&wants).unwrap().0).contains("evil"));
    // Nothing that speaks: G.711 then, so that the offer is one.
    let offer = leg(Ability::plain()).make_offer(&media(&[(101, "telephone-event")]));
    assert_eq!(line(&offer, "m="), "m=audio 20000 RTP/AVP 8 0 101 13");
}

/// TDR-SRTP-003
#[test]
fn no_key_is_shown_by_debug() {
    let mut leg = leg(Ability::srtp());
    leg.make_offer(&Media::g711());
    leg.receive_answer(secured(&[crypto(1, LONG, KEY_A, "")], "").as_bytes()).unwrap();
    let shown = format!("{leg:?}");
    assert!(shown.contains("stream") && !shown.contains("ERER") && !shown.contains("QUFB"));
    assert!(!shown.contains("17, 17"), "{shown}");
}

/// TDR-LMO-003
#[test]
fn an_address_that_was_proposed_and_refused_is_described_no_more() {
    let there: std::net::IpAddr = [192, 0, 2, 77].into();
    let mut leg = leg(Ability::plain());
    let media = leg.receive_offer(carrier("").as_bytes()).unwrap();
    let (first, _) = leg.make_answer(&media).unwrap();
    leg.propose(there, 30_000, 30_001);
    assert_eq!(lines(&leg.make_offer(&media), "m=audio"), ["m=audio 30000 RTP/AVP 8 0 101"]);
    leg.rollback();
    assert_eq!(leg.make_offer(&media).len(), first.len(), "as before, but for its version");
    leg.rollback();
    // What was agreed is not rolled back with what is refused later.
    leg.propose(there, 30_000, 30_001);
    let offer = leg.make_offer(&media);
    leg.receive_answer(carrier("").as_bytes()).unwrap();
    leg.rollback();
    assert_eq!(lines(&leg.make_offer(&media), "m="), lines(&offer, "m="));
}
