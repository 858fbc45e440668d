//! Dialogs made from literal messages.

use super::{Dialog, DialogError, Early, EarlyDialogs, MAX_EARLY};
use crate::message::{Message, Method, Name, Request, Response};
use bytes::Bytes;

/// A Contact as Teams writes it (TDR-IN-006).
const TEAMS_TARGET: &str =
    "sip:api-du-a-euwe.pstnhub.microsoft.com:443;x-i=00000000-0000-0000;x-c=aa/d/8/bb";

fn request(text: &str) -> Request {
    match Message::parse(Bytes::copy_from_slice(text.as_bytes())) {
        Ok(Message::Request(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

fn response(text: &str) -> Response {
    match Message::parse(Bytes::copy_from_slice(text.as_bytes())) {
        Ok(Message::Response(response)) => response,
        other => panic!("not a response: {other:?}"),
    }
}

/// Their INVITE to us, by way of two proxies.
fn their_invite() -> Request {
    request(&format!(
        "INVITE sip:+49301234@sbc.example SIP/2.0\r\n\
         Via: SIP/2.0/TLS proxy.example;branch=z9hG4bK1\r\n\
         Record-Route: <sip:near.example:5061;transport=tls;lr>,<sip:far.example;lr>\r\n\
         Max-Forwards: 70\r\n\
         From: \"Alice\" <sip:alice@a.example>;tag=a1\r\n\
         To: sip:+49301234@sbc.example\r\n\
         Call-ID: c1\r\n\
         CSeq: 100 INVITE\r\n\
         Contact: <{TEAMS_TARGET}>;expires=3\r\n\r\n"
    ))
}

/// Their request within the dialog of [`their_invite`].
fn their_request(method: &str, cseq: u32, contact: &str) -> Request {
    request(&format!(
        "{method} sip:sbc.example SIP/2.0\r\n\
         Via: SIP/2.0/TLS proxy.example;branch=z9hG4bK{cseq}\r\n\
         Max-Forwards: 70\r\n\
         From: \"Alice\" <sip:alice@a.example>;tag=a1\r\n\
         To: <sip:+49301234@sbc.example>;tag=us\r\n\
         Call-ID: c1\r\n\
         CSeq: {cseq} {method}\r\n\
         {contact}\r\n"
    ))
}

fn our_invite() -> Request {
    request(
        "INVITE sip:bob@b.example SIP/2.0\r\n\
         Via: SIP/2.0/UDP sbc.example;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:us@sbc.example>;tag=us\r\n\
         To: <sip:bob@b.example>\r\n\
         Call-ID: c2\r\n\
         CSeq: 5 INVITE\r\n\
         Contact: <sip:sbc.example>\r\n\r\n",
    )
}

/// An answer to [`our_invite`].
fn their_answer(status: u16, to_tag: &str, more: &str) -> Response {
    response(&format!(
        "SIP/2.0 {status} Whatever\r\n\
         Via: SIP/2.0/UDP sbc.example;branch=z9hG4bK1\r\n\
         From: <sip:us@sbc.example>;tag=us\r\n\
         To: <sip:bob@b.example>{to_tag}\r\n\
         Call-ID: c2\r\n\
         CSeq: 5 INVITE\r\n\
         {more}\r\n"
    ))
}

fn routes(request: &Request) -> Vec<String> {
    request.headers.all(Name::Route).map(text).collect()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// TDR-IN-006, TDR-FO-007.
#[test]
fn callee_sends_bye_through_the_proxies_to_the_exact_contact() {
    let mut dialog = Dialog::uas(&their_invite(), b"us").unwrap();
    assert_eq!(dialog.remote_target(), TEAMS_TARGET);
    let bye = dialog.request(Method::Bye);
    let expected = format!(
        "BYE {TEAMS_TARGET} SIP/2.0\r\n\
         Route: <sip:near.example:5061;transport=tls;lr>\r\n\
         Route: <sip:far.example;lr>\r\n\
         Max-Forwards: 70\r\n\
         From: sip:+49301234@sbc.example;tag=us\r\n\
         To: \"Alice\" <sip:alice@a.example>;tag=a1\r\n\
         Call-ID: c1\r\n\
         CSeq: 1 BYE\r\n\
         Content-Length: 0\r\n\r\n"
    );
    assert_eq!(text(&Message::Request(bye).to_bytes()), expected);
    assert_eq!(dialog.next_hop(), "sip:near.example:5061;transport=tls;lr");
}

#[test]
fn caller_reverses_the_record_route_and_counts_from_its_invite() {
    let answer = their_answer(
        200,
        ";tag=b1",
        "Record-Route: <sip:far.example;lr>\r\n\
         Record-Route: <sip:near.example;lr>\r\n\
         Contact: <sip:bob@10.0.0.9:5070>\r\n",
    );
    let mut dialog = Dialog::uac(&our_invite(), &answer).unwrap();
    let ack = dialog.ack(5);
    assert_eq!(ack.headers.cseq().number, 5);
    assert_eq!(ack.uri, "sip:bob@10.0.0.9:5070");
    assert_eq!(routes(&ack), ["<sip:near.example;lr>", "<sip:far.example;lr>"]);
    assert_eq!(dialog.next_hop(), "sip:near.example;lr");
    assert_eq!(dialog.request(Method::Invite).headers.cseq().number, 6);
    assert_eq!(dialog.request(Method::Bye).headers.cseq().number, 7);
    assert_eq!(*dialog.id(), Dialog::id_of_response(&answer));
}

#[test]
fn strict_router_becomes_the_request_uri() {
    let answer = their_answer(
        200,
        ";tag=b1",
        "Record-Route: <sip:far.example;lr>, <sip:old.example;maddr=10.0.0.1>\r\n\
         Contact: <sip:bob@10.0.0.9>\r\n",
    );
    let mut dialog = Dialog::uac(&our_invite(), &answer).unwrap();
    let bye = dialog.request(Method::Bye);
    assert_eq!(bye.uri, "sip:old.example;maddr=10.0.0.1");
    assert_eq!(routes(&bye), ["<sip:far.example;lr>", "<sip:bob@10.0.0.9>"]);
    assert_eq!(dialog.next_hop(), "sip:old.example;maddr=10.0.0.1");
}

#[test]
fn parameter_of_the_route_header_does_not_make_a_router_loose() {
    let answer = their_answer(
        200,
        ";tag=b1",
        "Record-Route: <sip:old.example>;lr\r\nContact: <sip:bob@10.0.0.9>\r\n",
    );
    let mut dialog = Dialog::uac(&our_invite(), &answer).unwrap();
    assert_eq!(dialog.request(Method::Bye).uri, "sip:old.example");
}

#[test]
fn request_out_of_order_is_refused_and_moves_nothing() {
    let mut dialog = Dialog::uas(&their_invite(), b"us").unwrap();
    let moved = "Contact: <sip:elsewhere.example>\r\n";
    for cseq in [99, 100] {
        let late = their_request("INVITE", cseq, moved);
        assert_eq!(dialog.receive(&late), Err(DialogError::OutOfOrder));
    }
    assert_eq!(dialog.remote_target(), TEAMS_TARGET);
    assert_eq!(dialog.receive(&their_request("INFO", 250, "")), Ok(()), "gaps are allowed");
    assert_eq!(dialog.receive(&their_request("BYE", 249, "")), Err(DialogError::OutOfOrder));
    assert_eq!(dialog.receive(&their_request("ACK", 100, "")), Ok(()), "ACK has the INVITE's");
    assert_eq!(dialog.receive(&their_request("BYE", 251, "")), Ok(()));
}

#[test]
fn only_target_refreshes_move_the_target() {
    let mut dialog = Dialog::uas(&their_invite(), b"us").unwrap();
    dialog.receive(&their_request("INFO", 101, "Contact: <sip:info.example>\r\n")).unwrap();
    assert_eq!(dialog.remote_target(), TEAMS_TARGET);
    dialog.receive(&their_request("INVITE", 102, "Contact: <sip:new.example>\r\n")).unwrap();
    assert_eq!(dialog.remote_target(), "sip:new.example");
    dialog.receive(&their_request("UPDATE", 103, "Contact: <tel:+4930>\r\n")).unwrap();
    assert_eq!(dialog.remote_target(), "sip:new.example", "nothing can be sent to a number");
}

#[test]
fn refused_reinvite_of_ours_does_not_move_the_target() {
    let contact = "Contact: <sip:bob@10.0.0.9>\r\n";
    let mut dialog = Dialog::uac(&our_invite(), &their_answer(200, ";tag=b1", contact)).unwrap();
    dialog.refresh(&their_answer(488, ";tag=b1", "Contact: <sip:x.example>\r\n"));
    assert_eq!(dialog.remote_target(), "sip:bob@10.0.0.9");
    dialog.refresh(&their_answer(200, ";tag=b1", "Contact: <sip:x.example>\r\n"));
    assert_eq!(dialog.remote_target(), "sip:x.example");
}

#[test]
fn answer_to_bye_does_not_move_the_target() {
    let contact = "Contact: <sip:bob@10.0.0.9>\r\n";
    let mut dialog = Dialog::uac(&our_invite(), &their_answer(200, ";tag=b1", contact)).unwrap();
    let mut answer = their_answer(200, ";tag=b1", "Contact: <sip:x.example>\r\n");
    answer.headers.set(Name::CSeq, "6 BYE");
    dialog.refresh(&answer);
    assert_eq!(dialog.remote_target(), "sip:bob@10.0.0.9");
}

#[test]
fn tag_that_we_gave_before_is_not_given_twice() {
    let mut dialog =
        Dialog::uas(&their_request("INVITE", 9, "Contact: <sip:a>\r\n"), b"new").unwrap();
    assert_eq!(dialog.id().local_tag, "us");
    let bye = dialog.request(Method::Bye);
    assert_eq!(bye.headers.get(Name::From), Some(&b"<sip:+49301234@sbc.example>;tag=us"[..]));
}

#[test]
fn answer_without_usable_contact_makes_no_dialog() {
    for contact in ["", "Contact: <tel:+4930>\r\n"] {
        let answer = their_answer(200, ";tag=b1", contact);
        assert_eq!(Dialog::uac(&our_invite(), &answer).unwrap_err(), DialogError::NoContact);
    }
}

#[test]
fn peer_without_tag_is_known_by_the_empty_one() {
    let mut text = String::from_utf8(Message::Request(their_invite()).to_bytes().to_vec()).unwrap();
    text = text.replace(";tag=a1", "");
    let mut dialog = Dialog::uas(&request(&text), b"us").unwrap();
    assert_eq!(dialog.id().remote_tag, "");
    let bye = dialog.request(Method::Bye);
    assert_eq!(bye.headers.to().tag(), None);

    let contact = "Contact: <sip:bob@10.0.0.9>\r\n";
    let mut early = Dialog::uac(&our_invite(), &their_answer(183, "", contact)).unwrap();
    early.confirm(&their_answer(200, ";tag=b1", contact));
    assert_eq!(early.id().remote_tag, "b1");
    assert_eq!(early.ack(5).headers.to().tag(), Some(&b"b1"[..]));
}

#[test]
fn both_ends_agree_on_the_dialog() {
    let dialog = Dialog::uas(&their_invite(), b"us").unwrap();
    assert_eq!(*dialog.id(), Dialog::id_of_request(&their_request("BYE", 101, "")));
}

#[test]
fn fork_that_wins_takes_its_route_and_target_from_the_2xx() {
    let invite = our_invite();
    let mut forks = EarlyDialogs::new();
    let ringing = |tag: &str, host: &str| {
        their_answer(
            180,
            tag,
            &format!("Contact: <sip:{host}>\r\nRecord-Route: <sip:p.example;lr>\r\n"),
        )
    };
    assert!(matches!(forks.provisional(&invite, &their_answer(100, "", "")), Early::None));
    assert!(matches!(forks.provisional(&invite, &ringing(";tag=b1", "one")), Early::New(_)));
    assert!(matches!(forks.provisional(&invite, &ringing(";tag=b2", "two")), Early::New(_)));
    assert!(matches!(forks.provisional(&invite, &ringing(";tag=b1", "one")), Early::Known(_)));
    assert_eq!(forks.get_mut(b"b1").unwrap().request(Method::Prack).headers.cseq().number, 6);

    let answer = their_answer(200, ";tag=b1", "Contact: <sip:three>\r\n");
    let mut dialog = forks.winner(&invite, &answer).unwrap();
    assert_eq!(forks.len(), 1);
    assert_eq!(dialog.remote_target(), "sip:three");
    let bye = dialog.request(Method::Bye);
    assert_eq!((bye.headers.cseq().number, routes(&bye).len()), (7, 0), "after its PRACK");

    let unannounced = their_answer(200, ";tag=b9", "Contact: <sip:nine>\r\n");
    assert_eq!(forks.winner(&invite, &unannounced).unwrap().id().remote_tag, "b9");
}

#[test]
fn ringing_without_contact_is_no_dialog_but_its_2xx_is() {
    let invite = our_invite();
    let mut forks = EarlyDialogs::new();
    let ringing = their_answer(180, ";tag=b1", "");
    assert!(matches!(forks.provisional(&invite, &ringing), Early::None));
    let answer = their_answer(200, ";tag=b1", "Contact: <sip:b>\r\n");
    assert!(forks.winner(&invite, &answer).is_ok());
}

#[test]
fn forks_without_end_are_not_remembered() {
    let invite = our_invite();
    let mut forks = EarlyDialogs::new();
    for fork in 0..MAX_EARLY {
        let ringing = their_answer(180, &format!(";tag=f{fork}"), "Contact: <sip:b>\r\n");
        assert!(matches!(forks.provisional(&invite, &ringing), Early::New(_)));
    }
    let ringing = their_answer(180, ";tag=last", "Contact: <sip:b>\r\n");
    assert!(matches!(forks.provisional(&invite, &ringing), Early::TooMany));
    assert_eq!(forks.len(), MAX_EARLY);
}
