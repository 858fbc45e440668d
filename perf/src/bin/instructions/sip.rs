//! SIP messages: read, written, framed, refused.

use bytes::Bytes;
use sip_core::Message;
use sip_core::framing::Framer;
use std::hint::black_box;

const INVITE: &[u8] = include_bytes!("../../../../sip-core/tests/corpus/extra/bench-invite.sip");

pub(crate) fn parse(times: u32) {
    let octets = Bytes::from_static(INVITE);
    for _ in 0..times {
        drop(black_box(Message::parse(black_box(octets.clone()))));
    }
}

pub(crate) fn serialise(times: u32) {
    let Ok(message) = Message::parse(Bytes::from_static(INVITE)) else { return };
    let mut out = Vec::with_capacity(2 * INVITE.len());
    for _ in 0..times {
        out.clear();
        black_box(&message).write(&mut out);
        black_box(&out);
    }
}

/// With another Via, as each message that goes on has.
pub(crate) fn serialise_changed(times: u32) {
    let Ok(mut message) = Message::parse(Bytes::from_static(INVITE)) else { return };
    message.headers_mut().push_front(sip_core::Name::Via, "SIP/2.0/TLS sbc;branch=z9hG4bK1");
    let mut out = Vec::with_capacity(2 * INVITE.len());
    for _ in 0..times {
        out.clear();
        black_box(&message).write(&mut out);
        black_box(&out);
    }
}

/// In two reads, the first of which ends within the headers.
pub(crate) fn framing(times: u32) {
    let (first, second) = INVITE.split_at(400);
    let mut framer = Framer::new();
    for _ in 0..times {
        for part in [first, second] {
            if framer.push(black_box(part)).is_err() {
                return;
            }
            framer.by_ref().for_each(|framed| drop(black_box(framed)));
        }
    }
}

/// What a flood of malformed requests costs: the refusal with its answer.
pub(crate) fn refuse(times: u32) {
    let text = String::from_utf8_lossy(INVITE).replacen("INVITE\r\n", "BYE\r\n", 1);
    let octets = Bytes::from(text.into_bytes());
    for _ in 0..times {
        drop(black_box(Message::parse(black_box(octets.clone()))));
    }
}
