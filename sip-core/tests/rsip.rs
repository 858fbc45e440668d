//! The `rsip` crate as a second opinion, where it has one: plain messages over IPv4.

#![expect(clippy::unwrap_used, reason = "a plain message that either refuses fails the test")]

use bytes::Bytes;
use proptest::prelude::*;
use rsip::SipMessage;
use rsip::headers::{ToTypedHeader as _, UntypedHeader as _};
use rsip::message::HeadersExt as _;
use sip_core::Message;

/// What both must agree on.
#[derive(Debug, PartialEq)]
struct Gist {
    start: String,
    call_id: String,
    cseq: (u32, String),
    from_tag: Option<String>,
    branch: Option<String>,
    body: Vec<u8>,
}

fn ours(text: &str) -> Gist {
    let message = Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
    let string = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    let start = match &message {
        Message::Request(request) => {
            format!("{} {}", request.method, string(&request.uri).to_lowercase())
        }
        Message::Response(response) => response.status.to_string(),
    };
    let headers = message.headers();
    let cseq = headers.cseq();
    Gist {
        start,
        call_id: string(headers.call_id()),
        cseq: (cseq.number, cseq.method.to_string()),
        from_tag: headers.from().tag().map(string),
        branch: headers.top_via().branch().map(string),
        body: message.body().to_vec(),
    }
}

fn theirs(text: &str) -> Gist {
    let message = SipMessage::try_from(text).unwrap();
    let start = match &message {
        SipMessage::Request(request) => {
            // rsip writes a transport in upper case.
            format!("{} {}", request.method, request.uri.to_string().to_lowercase())
        }
        SipMessage::Response(response) => response.status_code.code().to_string(),
    };
    let cseq = message.cseq_header().unwrap().typed().unwrap();
    let from = message.from_header().unwrap().typed().unwrap();
    let via = message.via_header().unwrap().typed().unwrap();
    Gist {
        start,
        call_id: message.call_id_header().unwrap().value().to_owned(),
        cseq: (cseq.seq, cseq.method.to_string()),
        from_tag: from.tag().map(ToString::to_string),
        branch: via.branch().map(ToString::to_string),
        body: message.body().clone(),
    }
}

fn start_line() -> impl Strategy<Value = (String, String)> {
    let method = prop::sample::select(vec!["INVITE", "BYE", "OPTIONS", "CANCEL", "UPDATE", "INFO"]);
    let uri = ("[a-z][a-z0-9]{0,8}", "[a-z]{1,8}\\.example\\.com", prop::option::of(1_u16..));
    prop_oneof![
        (method.clone(), uri, prop::sample::select(vec!["", ";user=phone", ";transport=tcp"]))
            .prop_map(|(method, (user, host, port), params)| {
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                (format!("{method} sip:{user}@{host}{port}{params} SIP/2.0"), method.to_owned())
            }),
        (prop::sample::select(vec![100_u16, 180, 183, 200, 302, 404, 486, 503, 603]), method)
            .prop_map(|(status, method)| (format!("SIP/2.0 {status} Reason"), method.to_owned())),
    ]
}

fn plain_message() -> impl Strategy<Value = String> {
    let token = "[a-zA-Z0-9]{1,12}";
    let body = "([a-z]=[ -~]{0,20}\r\n){0,4}";
    (start_line(), any::<u32>(), token, token, token, any::<[u8; 4]>(), body).prop_map(
        |((start, method), cseq, call_id, tag, branch, [a, b, c, d], body)| {
            // rsip keeps the number in 31 bits and less.
            let cseq = cseq >> 1;
            let len = body.len();
            format!(
                "{start}\r\n\
                 Via: SIP/2.0/UDP {a}.{b}.{c}.{d}:5060;branch=z9hG4bK{branch};rport\r\n\
                 Max-Forwards: 70\r\n\
                 From: \"Alice\" <sip:alice@example.com>;tag={tag}\r\n\
                 To: <sip:bob@example.com>\r\n\
                 Call-ID: {call_id}@{a}.{b}.{c}.{d}\r\n\
                 CSeq: {cseq} {method}\r\n\
                 Contact: <sip:alice@{a}.{b}.{c}.{d}:5060>\r\n\
                 X-Custom: {call_id}\r\n\
                 Content-Length: {len}\r\n\
                 \r\n\
                 {body}"
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn both_read_a_plain_message_the_same(text in plain_message()) {
        prop_assume!(!text.starts_with("SIP/2.0 ") || !text.contains("Via: SIP/2.0/UDP 255.255.255.255"));
        prop_assert_eq!(ours(&text), theirs(&text));
    }
}

#[cfg(feature = "rsip")]
mod conversion {
    use super::*;
    use sip_core::rsip::RsipError;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

        #[test]
        fn plain_message_survives_the_way_there_and_back(text in plain_message()) {
            let message = Message::parse(Bytes::from(text.clone())).unwrap();
            let there = SipMessage::try_from(&message).unwrap();
            let back = Message::try_from(there).unwrap().to_bytes();
            let (_, sent) = text.split_once("\r\n").unwrap();
            let back = std::str::from_utf8(&back).unwrap();
            prop_assert_eq!(back.split_once("\r\n").unwrap().1, sent);
            prop_assert_eq!(ours(back).start, ours(&text).start);
        }
    }

    const OPTIONS: &str = "OPTIONS sip:a@example.com SIP/2.0\r\n\
        v: SIP/2.0/TLS h.example.com;branch=z9hG4bK1\r\n\
        f: <sip:b@example.com>;tag=1\r\n\
        t:\r\n <sip:a@example.com>\r\n\
        i: c1\r\n\
        CSeq: 1 OPTIONS\r\n\
        l: 6\r\n\
        \r\n";

    fn message(head: &str) -> Message {
        Message::parse([head.as_bytes(), b"\xff\r\n\r\n\0"].concat().into()).unwrap()
    }

    #[test]
    fn compact_names_folds_and_binary_bodies_arrive() {
        let there = SipMessage::try_from(&message(OPTIONS)).unwrap();
        assert_eq!(there.call_id_header().unwrap().value(), "c1");
        assert_eq!(there.to_header().unwrap().value(), "<sip:a@example.com>");
        let back = Message::try_from(there).unwrap();
        assert_eq!(&back.body()[..], b"\xff\r\n\r\n\0");
    }

    #[test]
    fn what_rsip_cannot_hold_is_an_error_and_not_another_message() {
        for uri in ["sip:a@[2001:db8::1]", "tel:+4930123456"] {
            let message = message(&OPTIONS.replacen("sip:a@example.com", uri, 1));
            assert!(SipMessage::try_from(&message).is_err(), "{uri}");
        }
        let lower = message(&OPTIONS.replace("OPTIONS", "options"));
        let error = SipMessage::try_from(&lower).unwrap_err();
        assert!(matches!(error, RsipError::Changed("method")));
    }
}
