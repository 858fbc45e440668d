//! What holds for every sequence of octets, as a body and as what the far side says in a dialog: one
//! function each, for ordinary tests and for the fuzz targets alike. A law that does not hold panics.

use sdp::{
    Ability, Local, Media, Negotiation, Protocol, Security, SessionDescription, SrtpKey, Suite,
};

/// What is read is written as it came, and every view of it can be taken. Whether it was read.
pub(crate) fn text(octets: &[u8]) -> bool {
    let Ok(sdp) = SessionDescription::parse(octets) else { return false };
    let printed = sdp.to_bytes();
    assert_eq!(&printed[..], octets, "{}", octets.escape_ascii());
    let again = SessionDescription::parse(&printed).unwrap();
    assert_eq!(format!("{again:?}"), format!("{sdp:?}"));
    let _ = (sdp.origin(), sdp.session().attributes().count());
    for media in sdp.media() {
        let _ = (media.payloads(), media.rtcp(), media.ptime_ms(), media.crypto().count());
    }
    true
}

/// A dialog: the first octet says what our end may agree, and each part, up to [`PART_END`], is what
/// happens next: its first octet says what, the rest is what the far side says. What is refused
/// leaves the leg as it was, in all that it shows and all that it does from then on. How often
/// something was agreed.
pub(crate) fn dialog(octets: &[u8]) -> usize {
    let Some((first, rest)) = octets.split_first() else { return 0 };
    let ability = [Ability::plain(), Ability::srtp(), Ability::either()][usize::from(first % 3)];
    let ability = Ability { fax: ability.security != Security::Required, ..ability };
    let mut leg = leg(ability);
    let mut agreed = 0;
    for part in rest.split(|b| *b == PART_END).take(PARTS_MAX) {
        let Some((what, body)) = part.split_first() else { continue };
        let before = leg.clone();
        let refused = match what % 5 {
            0 => leg.receive_offer(body).is_err(),
            1 => leg.receive_answer(body).is_err(),
            2 => match leg.last_remote().cloned() {
                Some(media) => leg.make_answer(&media).is_err(),
                None => leg.make_answer(&Media::g711()).is_err(),
            },
            3 => {
                let offer = leg.make_offer(&Media::g711());
                assert!(SessionDescription::parse(&offer).is_ok(), "we can read what we write");
                assert_eq!(leg.make_offer(&Media::g711()), offer, "said again, it is the same");
                false
            }
            _ => {
                leg.rollback();
                false
            }
        };
        if refused {
            same(&before, &leg);
        }
        agreed += usize::from(leg.stream() != before.stream());
        sound(&leg, ability);
    }
    agreed
}

/// Ends a part: no octet of a text in UTF-8.
pub(crate) const PART_END: u8 = 0xff;

/// Parts of a dialog that are played: the laws should stay quick.
const PARTS_MAX: usize = 16;

fn leg(ability: Ability) -> Negotiation {
    let key = |suite: Suite| SrtpKey::from_octets(suite, &[0x11; 46][..suite.key_salt_len()]);
    let local = Local {
        address: "203.0.113.10".parse().unwrap(),
        rtp_port: 20000,
        rtcp_port: 20001,
        session_id: 77,
        keys: Suite::ALL.into_iter().filter_map(key).collect(),
    };
    Negotiation::new(local, ability)
}

/// Two legs that nobody can tell apart, now or later.
fn same(one: &Negotiation, other: &Negotiation) {
    assert_eq!(one.stream(), other.stream());
    assert_eq!(one.last_local(), other.last_local());
    assert_eq!(one.last_remote(), other.last_remote());
    assert_eq!(one.is_refresh(), other.is_refresh());
    for rolled_back in [false, true] {
        assert_eq!(future(one.clone(), rolled_back), future(other.clone(), rolled_back));
    }
}

/// What a leg does from here: it shows its version, its payload numbers and its open offer.
fn future(mut leg: Negotiation, rolled_back: bool) -> String {
    let mut text = String::new();
    if rolled_back {
        leg.rollback();
    }
    for offer in [PLAIN, SECURED, FAX] {
        text += &format!("{:?} ", leg.receive_offer(offer.as_bytes()));
        text += &format!("{:?} ", leg.make_answer(&Media::g711()));
        text += &format!("{:?} ", leg.receive_answer(offer.as_bytes()));
        text += &format!("{:?} ", leg.make_offer(&Media::g711()));
        text += &format!("{:?} ", leg.receive_answer(offer.as_bytes()));
    }
    text
}

const PLAIN: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n";

const SECURED: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n\
    m=audio 4000 RTP/SAVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\r\n";

const FAX: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n\
    m=image 4000 udptl t38\r\na=T38FaxVersion:0\r\n";

/// What is in force is what the ability allows.
fn sound(leg: &Negotiation, ability: Ability) {
    let Some(stream) = leg.stream() else { return };
    match ability.security {
        Security::Off => assert!(stream.crypto.is_none()),
        Security::Required => assert!(stream.crypto.is_some()),
        Security::Preferred => {}
    }
    match stream.protocol {
        Protocol::Rtp => assert!(stream.payloads.iter().any(sdp::Payload::is_speech)),
        Protocol::Udptl => assert!(ability.fax && stream.crypto.is_none()),
    }
}
