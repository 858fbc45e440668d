//! What holds for every body: no panic, nothing lost, nothing agreed that was not offered.

use crate::support::*;
use proptest::prelude::*;
use sdp::*;

/// Bodies near the ones we know: cut, doubled and overwritten.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let both = [crypto(2, LONG, KEY_A, "|2^31|1:1"), crypto(3, LONG, KEY_B, "|2^31")];
    let seeds = vec![
        carrier("a=ptime:20\r\na=sendonly\r\n"),
        carrier("a=rtcp:4005\r\na=rtcp-mux\r\nm=video 4 RTP/AVP 96\r\n"),
        carrier("")
            .replace("8 0 101", "96 8 101 9")
            .replace("a=f", "a=rtpmap:96 opus/48000/2\na=f"),
        secured(&both, "a=rtcp-mux\r\n"),
        secured(&[crypto(0, SHORT, KEY_A, "")], "a=inactive\r\n"),
    ];
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4u8, any::<u8>());
    (prop::sample::select(seeds), prop::collection::vec(edit, 0..6)).prop_map(|(seed, edits)| {
        let mut body = seed.into_bytes();
        for (at, to, kind, octet) in edits {
            let (at, to) = (at.index(body.len()), to.index(body.len()));
            match kind {
                0 => body[at] = octet,
                1 => drop(body.drain(at.min(to)..at.max(to).min(at.min(to) + 30))),
                2 => body.insert(at, b" 0198=:/\n"[usize::from(octet) % 9]),
                _ => {
                    let part = body[at.min(to)..at.max(to)].to_vec();
                    body.splice(at..at, part);
                }
            }
            if body.is_empty() {
                body.push(b'v');
            }
        }
        body
    })
}

fn ability() -> impl Strategy<Value = Ability> {
    prop::sample::select(vec![Ability::plain(), Ability::srtp(), Ability::either()])
}

/// All that a negotiation shows; equal before and after what it refuses.
fn shown(leg: &Negotiation) -> impl PartialEq + std::fmt::Debug + use<> {
    (leg.stream().cloned(), leg.last_local().cloned(), leg.last_remote().cloned(), leg.is_refresh())
}

fn assert_sound(body: &[u8], stream: &Stream) {
    let sdp = SessionDescription::parse(body).expect("we can read what we write");
    let audio: Vec<_> = sdp.media().filter(|m| m.line().port == 20000).collect();
    assert_eq!(audio.len(), 1, "{}", text(body));
    let mut listed: Vec<u8> = audio[0].line().payload_types().collect();
    assert_eq!(listed.len(), audio[0].line().formats.len());
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed.len(), audio[0].line().formats.len(), "a payload type twice");
    // Keys may stand under a plain profile, too: SRTP as best effort.
    let secure = audio[0].line().proto.to_uppercase().contains("SAVP");
    assert!(stream.crypto.is_some() || !secure);
    let known = ["rtpmap", "fmtp", "crypto", "rtcp", "rtcp-mux", "ptime", "sendrecv", "sendonly"];
    for (name, _) in audio[0].section().attributes() {
        assert!(known.contains(&name) || ["recvonly", "inactive"].contains(&name), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_octets_come_back_unless_refused(body in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(sdp) = SessionDescription::parse(&body) {
            prop_assert_eq!(&sdp.to_bytes()[..], &body[..]);
        }
    }

    #[test]
    fn a_body_comes_back_and_every_view_of_it_can_be_taken(body in body()) {
        if let Ok(sdp) = SessionDescription::parse(&body) {
            prop_assert_eq!(&sdp.to_bytes()[..], &body[..]);
            let _ = (format!("{sdp:?}"), sdp.origin(), sdp.session().attributes().count());
            for media in sdp.media() {
                let _ = (media.payloads(), media.rtcp(), media.ptime_ms(), media.crypto().count());
            }
        }
    }

    #[test]
    fn an_answer_of_ours_holds_nothing_that_was_not_offered(body in body(), ability in ability()) {
        let mut leg = leg(ability);
        let before = shown(&leg);
        match leg.receive_offer(&body) {
            Err(_) => prop_assert_eq!(shown(&leg), before),
            Ok(offered) => {
                let mut wants = Media::g711();
                wants.payloads.extend(offered.payloads.iter().rev().cloned());
                if let Ok((answer, stream)) = leg.make_answer(&wants) {
                    assert_sound(&answer, &stream);
                    for payload in &stream.payloads {
                        let same = |o: &Payload| o.number == payload.number && o.same_encoding(payload);
                        prop_assert!(offered.payloads.iter().any(same));
                    }
                    let limit = offered.direction.reversed();
                    prop_assert_eq!(stream.direction, stream.direction.within(limit));
                    let again = leg.make_offer(&offered);
                    assert_sound(&again, &stream);
                }
            }
        }
    }

    #[test]
    fn an_answer_of_theirs_agrees_nothing_that_was_not_offered(body in body(), ability in ability()) {
        let mut leg = leg(ability);
        let mut offered = Media::g711();
        offered.direction = Direction::SendOnly;
        leg.make_offer(&offered);
        let before = shown(&leg);
        match leg.receive_answer(&body) {
            Err(_) => prop_assert_eq!(shown(&leg), before),
            Ok((agreed, stream)) => {
                for payload in agreed.payloads.iter().chain(&stream.payloads) {
                    prop_assert!(offered.payloads.iter().any(|o| o.same_encoding(payload)));
                }
                prop_assert!(!stream.direction.receives());
                prop_assert_eq!(stream.crypto.is_some(), ability.security != Security::Off);
                prop_assert!(stream.rtcp_mux <= (ability.security != Security::Off));
                prop_assert_eq!(leg.receive_answer(&body), Ok((agreed, stream)));
            }
        }
    }

    #[test]
    fn what_is_refused_in_a_call_leaves_it_as_it_was(body in body(), other in body()) {
        let mut leg = leg(Ability::either());
        leg.make_offer(&Media::g711());
        let answer = secured(&[crypto(1, LONG, KEY_A, "")], "");
        leg.receive_answer(answer.as_bytes()).unwrap();
        let before = shown(&leg);
        if leg.receive_answer(&body).is_err() {
            prop_assert_eq!(shown(&leg), before);
        }
        let before = (leg.stream().cloned(), leg.last_local().cloned(), leg.last_remote().cloned());
        let _ = leg.receive_offer(&other);
        leg.rollback();
        let after = (leg.stream().cloned(), leg.last_local().cloned(), leg.last_remote().cloned());
        prop_assert_eq!(before, after);
    }
}
