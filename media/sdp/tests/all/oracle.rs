//! Our reading against the `sdp-types` crate's, on bodies that both take.

use crate::support::*;
use sdp::SessionDescription;
use sdp_types::Session;

/// Reads `body` with both and compares everything that both show.
fn compare(body: &str) {
    let ours = SessionDescription::parse(body.as_bytes()).expect("ours reads it");
    let theirs = Session::parse(body.as_bytes()).expect("the oracle reads it");

    let origin = ours.origin().expect("an origin");
    assert_eq!(origin.username, theirs.origin.username.as_deref().unwrap_or("-"));
    assert_eq!(origin.session_id, theirs.origin.sess_id);
    assert_eq!(origin.version, theirs.origin.sess_version.to_string());
    assert_eq!(origin.address, theirs.origin.unicast_address);

    let address = |c: &sdp_types::Connection| {
        c.connection_address.split('/').next().and_then(|host| host.parse().ok())
    };
    let connection = ours.session().connection();
    assert_eq!(connection.map(|c| c.address), theirs.connection.as_ref().map(address));
    assert_same_attributes(ours.session(), &theirs.attributes);

    assert_eq!(ours.media().count(), theirs.medias.len());
    for (ours, theirs) in ours.media().zip(&theirs.medias) {
        let line = ours.line();
        assert_eq!(
            (line.media, line.port, line.proto),
            (&*theirs.media, theirs.port, &*theirs.proto)
        );
        assert_eq!(line.count, theirs.num_ports.unwrap_or(1));
        assert_eq!(line.formats.join(" "), theirs.fmt);
        let connection = ours.section().connection();
        assert_eq!(connection.map(|c| c.address), theirs.connections.first().map(address));
        assert_same_attributes(ours.section(), &theirs.attributes);
    }
}

fn assert_same_attributes(ours: sdp::section::Section<'_>, theirs: &[sdp_types::Attribute]) {
    let ours: Vec<(String, String)> = ours
        .attributes()
        .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into_owned()))
        .collect();
    let theirs: Vec<(String, String)> = theirs
        .iter()
        .map(|a| (a.attribute.clone(), a.value.clone().unwrap_or_default().trim().to_owned()))
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn both_read_the_same() {
    let bodies = [
        carrier("a=ptime:20\r\na=sendonly\r\n"),
        carrier("m=video 0 RTP/AVP 31\r\n"),
        secured(&[crypto(0, SHORT, KEY_A, "|2^31"), crypto(1, LONG, KEY_B, "|2^31|1:1")], ""),
        "v=0\r\no=jdoe 2890844526 2890842807 IN IP6 2001:db8::1\r\ns=Talk\r\ni=About\r\n\
         u=http://example.com\r\ne=j@example.com\r\nc=IN IP6 2001:db8::2\r\nb=AS:64\r\n\
         t=2873397496 2873404696\r\na=recvonly\r\nm=audio 49170/2 RTP/AVP 0 96\r\n\
         c=IN IP4 233.252.0.1/127/3\r\nc=IN IP4 192.0.2.9\r\na=rtpmap:96 L8/8000\r\n\
         m=image 4000 udptl t38\r\na=T38FaxVersion:0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
            .to_owned(),
        "v=0\no=- 1 2 IN IP4 192.0.2.1\ns=-\nt=0 0\nm=audio 9 UDP/TLS/RTP/SAVPF 111\n\
         c=IN IP4 0.0.0.0\na=ice-options:trickle\na=extmap:1 urn:x:y\na=rtcp-fb:111 nack"
            .to_owned(),
    ];
    for body in &bodies {
        compare(body);
        compare(&body.replace("\r\n", "\n"));
    }
}

#[test]
fn the_oracle_reads_what_we_write() {
    let mut srtp = leg(sdp::Ability::srtp());
    compare(&text(&srtp.make_offer(&sdp::Media::g711())));
    let offered = leg(sdp::Ability::plain()).receive_offer(carrier("").as_bytes()).unwrap();
    let mut plain = leg(sdp::Ability::plain());
    plain.receive_offer(carrier("m=video 5 RTP/AVP 96 97\r\n").as_bytes()).unwrap();
    compare(&text(&plain.make_answer(&offered).unwrap().0));
}
