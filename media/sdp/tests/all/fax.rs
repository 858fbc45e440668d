//! A fax by T.38: it takes the place of speech, and speech comes back (ITU-T T.38, annex D).

use crate::support::*;
use sdp::*;

const SAID: &str = "a=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\n\
    a=T38FaxRateManagement:transferredTCF\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n";

/// A fax at 192.0.2.5:4500.
pub(crate) fn fax(more: &str) -> String {
    format!(
        "v=0\r\no=carrier 1 2 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n\
         m=image 4500 udptl t38\r\n{SAID}{more}"
    )
}

fn faxing() -> Negotiation {
    leg(Ability { fax: true, ..Ability::plain() })
}

/// A leg that has agreed PCMA on an offer of its far side.
fn speaking(ability: Ability) -> Negotiation {
    let mut leg = leg(ability);
    leg.receive_offer(carrier("").as_bytes()).unwrap();
    leg.make_answer(&media(&[(8, "PCMA")])).unwrap();
    leg
}

fn plain_with_fax() -> Ability {
    Ability { fax: true, ..Ability::plain() }
}

fn m_lines(sdp: &[u8]) -> Vec<String> {
    lines(sdp, "m=")
}

#[test]
fn a_fax_takes_the_place_of_speech_with_what_the_far_sides_say_of_it_and_speech_comes_back() {
    let mut a = speaking(plain_with_fax());
    let mut b = speaking(plain_with_fax());
    let offered = a.receive_offer(fax("").as_bytes()).unwrap();
    assert!(offered.fax.is_some() && offered.payloads.is_empty());

    let ours = b.make_offer(&offered);
    assert_eq!(m_lines(&ours), ["m=image 20000 udptl t38"], "the line changes what it is");
    assert_eq!(line(&ours, "o="), "o=- 77 2 IN IP4 203.0.113.10");
    assert!(text(&ours).ends_with(SAID), "as it came, and nothing of RTP: {}", text(&ours));
    let answer = fax("").replace("14400", "9600");
    let (agreed, stream) = b.receive_answer(answer.as_bytes()).unwrap();
    assert_eq!(stream.protocol, Protocol::Udptl);
    assert_eq!(stream.remote_rtp, Some("192.0.2.5:4500".parse().unwrap()));
    assert_eq!((stream.remote_rtcp, stream.payloads.len()), (None, 0));

    let (answer, stream) = a.answer_like(&agreed).unwrap();
    assert!(text(&answer).contains("a=T38MaxBitRate:9600\r\n"), "{}", text(&answer));
    assert_eq!((stream.protocol, stream.direction), (Protocol::Udptl, Direction::SendRecv));

    let speech = a.receive_offer(carrier("").replace("r 1 1", "r 1 3").as_bytes()).unwrap();
    let ours = b.make_offer(&speech.for_other_leg(None).unwrap());
    assert_eq!(m_lines(&ours), ["m=audio 20000 RTP/AVP 8 0 101"]);
    let (agreed, stream) = b.receive_answer(carrier("").as_bytes()).unwrap();
    assert_eq!((stream.protocol, numbers(&stream.payloads)), (Protocol::Rtp, vec![8, 0, 101]));
    let (answer, stream) = a.answer_like(&agreed).unwrap();
    assert_eq!(m_lines(&answer), ["m=audio 20000 RTP/AVP 8 0 101"]);
    assert_eq!(stream.remote_rtcp, Some("192.0.2.5:4001".parse().unwrap()));
}

#[test]
fn a_fax_beside_audio_with_port_0_is_taken_and_the_lines_keep_their_places() {
    let mut a = speaking(plain_with_fax());
    let both = fax("").replace("m=image", "m=audio 0 RTP/AVP 8 101\r\nm=image");
    let offered = a.receive_offer(both.as_bytes()).unwrap();
    let (answer, _) = a.make_answer(&offered).unwrap();
    assert_eq!(m_lines(&answer), ["m=audio 0 RTP/AVP 8 101", "m=image 20000 udptl t38"]);
    let ours = a.make_offer(&media(&[(8, "PCMA")]));
    assert_eq!(
        m_lines(&ours),
        ["m=audio 20000 RTP/AVP 8", "m=image 0 udptl t38"],
        "each in its own"
    );
    let back = carrier("m=image 0 udptl t38\r\n");
    let (_, stream) = a.receive_answer(back.as_bytes()).unwrap();
    assert_eq!(stream.protocol, Protocol::Rtp);
    let ours = a.make_offer(&offered);
    assert_eq!(m_lines(&ours), ["m=audio 0 RTP/AVP 8", "m=image 20000 udptl t38"]);
}

#[test]
fn of_audio_and_a_fax_the_audio_is_taken() {
    let mut a = faxing();
    let both = carrier("m=image 4500 udptl t38\r\na=T38FaxVersion:0\r\n");
    let offered = a.receive_offer(both.as_bytes()).unwrap();
    assert_eq!(offered.fax, None);
    let (answer, _) = a.make_answer(&offered).unwrap();
    assert_eq!(m_lines(&answer)[1], "m=image 0 udptl t38");
}

#[test]
fn a_call_may_begin_as_a_fax_and_become_speech() {
    let (mut a, mut b) = (faxing(), faxing());
    let offered = a.receive_offer(fax("").as_bytes()).unwrap();
    let ours = b.make_offer(&offered.for_other_leg(None).unwrap());
    assert_eq!(m_lines(&ours), ["m=image 20000 udptl t38"]);
    let (agreed, _) = b.receive_answer(fax("").as_bytes()).unwrap();
    let (answer, _) = a.answer_like(&agreed).unwrap();
    assert_eq!(m_lines(&answer), ["m=image 20000 udptl t38"]);
    let ours = b.make_offer(&Media::g711());
    assert_eq!(m_lines(&ours), ["m=audio 20000 RTP/AVP 8 0 101 13"]);
}

/// TDR-SDP-013: Teams has no T.38, and no more has a leg that is encrypted.
#[test]
fn a_fax_is_refused_where_it_cannot_be_carried_and_what_is_agreed_stays() {
    let encrypted = Ability { fax: true, ..Ability::either() };
    let mut secure = leg(encrypted);
    let lines = [crypto(1, LONG, KEY_A, "")];
    secure.receive_offer(secured(&lines, "").as_bytes()).unwrap();
    secure.make_answer(&media(&[(8, "PCMA")])).unwrap();
    for mut leg in [speaking(Ability::plain()), secure] {
        let before = leg.stream().cloned();
        assert!(!leg.can_fax());
        assert_eq!(leg.receive_offer(fax("").as_bytes()).unwrap_err(), Refusal::NoFax);
        assert_eq!(leg.stream(), before.as_ref());
    }
    let tcp = fax("").replace("udptl", "tcp");
    assert_eq!(faxing().receive_offer(tcp.as_bytes()).unwrap_err(), Refusal::NoFax);
}

#[test]
fn a_fax_that_the_far_side_answers_with_port_0_leaves_speech_which_is_described_anew() {
    let mut leg = speaking(plain_with_fax());
    let mut other = faxing();
    let offered = other.receive_offer(fax("").as_bytes()).unwrap();
    leg.make_offer(&offered);
    let refused = fax("").replace("m=image 4500", "m=image 0");
    assert_eq!(leg.receive_answer(refused.as_bytes()).unwrap_err(), Refusal::NoFax);
    leg.abandon();
    assert_eq!(leg.stream().unwrap().protocol, Protocol::Rtp);
    let again = leg.make_offer(&leg.last_local_media().unwrap().clone());
    assert_eq!(m_lines(&again), ["m=audio 20000 RTP/AVP 8"]);
    assert_eq!(line(&again, "o="), "o=- 77 3 IN IP4 203.0.113.10", "no version comes again");
}

#[test]
fn an_answer_of_speech_to_a_fax_is_none() {
    let mut leg = speaking(plain_with_fax());
    let offered = faxing().receive_offer(fax("").as_bytes()).unwrap();
    leg.make_offer(&offered);
    assert_eq!(leg.receive_answer(carrier("").as_bytes()).unwrap_err(), Refusal::NoFax);
    let mut asked = speaking(plain_with_fax());
    asked.receive_offer(fax("").as_bytes()).unwrap();
    assert_eq!(asked.answer_like(&Media::g711()).unwrap_err(), Refusal::NoFax);
}
