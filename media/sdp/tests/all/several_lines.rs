//! More than one m-line: the first audio that can be had is taken, all else is refused in its place.

use crate::support::*;
use sdp::*;

fn offer(lines: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n\
         a=group:BUNDLE 0 1 2 3\r\n{lines}"
    )
}

fn answered(leg: &mut Negotiation, lines: &str) -> (String, Stream) {
    let media = leg.receive_offer(offer(lines).as_bytes()).unwrap();
    let (answer, stream) = leg.make_answer(&media).unwrap();
    (text(&answer), stream)
}

fn m_lines(answer: &str) -> Vec<&str> {
    answer.lines().filter(|line| line.starts_with("m=")).collect()
}

/// TDR-SDP-008
#[test]
fn a_bundle_is_declined_and_its_lines_are_refused_each_in_its_place() {
    let (answer, stream) = answered(
        &mut leg(Ability::plain()),
        "m=video 9 RTP/AVP 96\r\na=mid:0\r\na=rtpmap:96 H264/90000\r\n\
         m=audio 0 RTP/AVP 8\r\na=mid:1\r\na=bundle-only\r\n\
         m=audio 4000 RTP/AVP 8 101\r\na=mid:2\r\na=rtpmap:101 telephone-event/8000\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:3\r\n",
    );
    // RFC 9143, 7.3.2: without the group in the answer, no line is bundled.
    assert!(!answer.contains("a=group"), "{answer}");
    assert!(!answer.contains("bundle-only"), "{answer}");
    let lines = m_lines(&answer);
    assert_eq!(lines.len(), 4, "{answer}");
    assert_eq!(lines[0], "m=video 0 RTP/AVP 96");
    assert_eq!(lines[1], "m=audio 0 RTP/AVP 8");
    assert!(lines[2].starts_with("m=audio 20000 RTP/AVP 8 101"), "{answer}");
    // Who groups its lines finds ours by their names all the same (RFC 5888, 9.1).
    assert!(answer.contains("8 101\r\na=mid:2\r\n"), "{answer}");
    assert_eq!(lines[3], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel");
    assert_eq!(stream.remote_rtp, Some("192.0.2.5:4000".parse().unwrap()));
}

#[test]
fn of_two_audio_lines_the_first_is_taken_and_an_offer_of_ours_keeps_both_places() {
    let mut leg = leg(Ability::plain());
    let both = "m=audio 4000 RTP/AVP 8\r\nm=audio 5000 RTP/AVP 8\r\n";
    let (answer, _) = answered(&mut leg, both);
    assert_eq!(m_lines(&answer), ["m=audio 20000 RTP/AVP 8", "m=audio 0 RTP/AVP 8"]);
    let ours = text(&leg.make_offer(&Media::g711()));
    assert_eq!(m_lines(&ours).len(), 2, "{ours}");
    assert_eq!(m_lines(&ours)[1], "m=audio 0 RTP/AVP 8");
}

/// TDR-SDP-007: a name without a group is nobody's.
#[test]
fn a_line_keeps_its_name_in_what_we_say_where_lines_are_grouped_and_nowhere_else() {
    let mut grouped = leg(Ability::plain());
    let (answer, _) =
        answered(&mut grouped, "m=audio 4000 RTP/AVP 8\r\na=mid:sp\u{f6}k\r\na=mid:a1\r\n");
    assert_eq!(answer.matches("a=mid:").count(), 1);
    assert!(answer.contains("m=audio 20000 RTP/AVP 8\r\na=mid:a1\r\n"), "{answer}");
    let ours = text(&grouped.make_offer(&Media::g711()));
    assert!(ours.contains("a=mid:a1\r\n"), "{ours}");
    let mut alone = leg(Ability::plain());
    let media = alone.receive_offer(carrier("a=mid:1\r\n").as_bytes()).unwrap();
    let (answer, _) = alone.make_answer(&media).unwrap();
    assert!(!text(&answer).contains("a=mid"), "{}", text(&answer));
}

/// TDR-SDP-008
#[test]
fn an_offer_whose_audio_is_disabled_has_none() {
    let refused = leg(Ability::plain()).receive_offer(offer("m=audio 0 RTP/AVP 8\r\n").as_bytes());
    assert_eq!(refused.unwrap_err(), Refusal::NoAudio);
}

#[test]
fn clearmode_passes_as_any_codec_does() {
    let lines = "m=audio 4000 RTP/AVP 97 8\r\na=rtpmap:97 CLEARMODE/8000\r\n";
    let mut here = leg(Ability::plain());
    let media = here.receive_offer(offer(lines).as_bytes()).unwrap();
    let mut there = leg(Ability::plain());
    let across = text(&there.make_offer(&media.for_other_leg(None).unwrap()));
    assert!(across.contains("a=rtpmap:97 CLEARMODE/8000"), "{across}");
    let (answer, stream) = here.make_answer(&media).unwrap();
    assert!(text(&answer).contains("a=rtpmap:97 CLEARMODE/8000"));
    assert_eq!(stream.payloads[0].encoding, "CLEARMODE");
}
