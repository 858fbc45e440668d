//! A description as Microsoft's media processor writes it (fixtures F-03 and D2).

use crate::AnswerKeys;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sdp::SrtpKey;

/// What a description is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Offer,
    Answer,
}

/// Puts the lines of `body` into the media processor's order and adds what it adds. `second` is
/// the key of the line that makes two.
pub(crate) fn dress(body: &Bytes, role: Role, keys: AnswerKeys, second: &SrtpKey) -> Bytes {
    let text = String::from_utf8_lossy(body);
    let lines = || text.lines();
    let with = |start: &'static str| lines().filter(move |line| line.starts_with(start));
    let mut out: Vec<String> = Vec::new();
    let mut say = |line: &str| out.push(line.to_owned());

    with("v=").for_each(&mut say);
    for line in with("o=") {
        // The origin's address is nobody's (TDR-SDP-009).
        let named: Vec<&str> = line.split(' ').take(3).collect();
        say(&format!("{} IN IP4 127.0.0.1", named.join(" ")));
    }
    say("s=session");
    with("c=").for_each(&mut say);
    say("b=CT:10000000");
    with("t=").for_each(&mut say);
    with("m=").for_each(&mut say);
    with("c=").for_each(&mut say);
    with("a=rtcp:").for_each(&mut say);
    for line in
        lines().filter(|line| line.starts_with("a=ice-ufrag") || line.starts_with("a=ice-pwd"))
    {
        say(line);
    }
    // RTCP is multiplexed; what else a client has is not for us (TDR-ICE-011).
    for line in with("a=candidate:1 1 ") {
        say(line);
        say(
            "a=candidate:4 1 tcp-pass 18087935 52.112.143.212 3478 typ relay raddr 10.0.22.127 rport 3478",
        );
        say("a=candidate:5 1 UDP 2130705919 2001:db8::55 50014 typ host");
    }
    say("a=label:audio-0");
    say("a=mid:1");
    for line in with("a=crypto:") {
        crypto(line, role, keys, second).iter().for_each(|line| say(line));
    }
    for direction in ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"] {
        with(direction).for_each(&mut say);
    }
    lines()
        .filter(|line| line.starts_with("a=rtpmap:") || line.starts_with("a=fmtp:"))
        .for_each(&mut say);
    with("a=ptime:").for_each(&mut say);
    with("a=rtcp-mux").for_each(&mut say);
    out.push(String::new());
    out.join("\r\n").into()
}

/// Our crypto line and its companion.
fn crypto(line: &str, role: Role, keys: AnswerKeys, second: &SrtpKey) -> Vec<String> {
    let second = STANDARD.encode(second.key_salt());
    let inline = line.split_once("inline:").map_or("", |(_, inline)| inline);
    let suite = line.split(' ').nth(1).unwrap_or_default();
    match (role, keys) {
        // TDR-SDP-002: the short suite stands first, under tag 0.
        (Role::Offer, _) => vec![
            format!("a=crypto:0 AES_CM_128_HMAC_SHA1_32 inline:{second}|2^31"),
            line.to_owned(),
        ],
        (Role::Answer, AnswerKeys::OneLine) => vec![line.to_owned()],
        (Role::Answer, AnswerKeys::TwoLines | AnswerKeys::TwoLinesMki) => vec![
            format!("a=crypto:2 {suite} inline:{second}|2^31|1:1"),
            format!("a=crypto:3 {suite} inline:{inline}"),
        ],
    }
}
