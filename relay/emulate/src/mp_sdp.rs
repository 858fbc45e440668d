//! A description as Microsoft's media processor writes it (fixtures F-03 and D2).

use crate::AnswerKeys;
use crate::manner::Style;
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
pub(crate) fn dress(
    body: &Bytes,
    role: Role,
    keys: AnswerKeys,
    (second, short): (&SrtpKey, Option<&str>),
    style: Style,
) -> Bytes {
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
    for line in with("a=rtcp:") {
        say(&rtcp(line, style));
    }
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
    match role {
        Role::Offer => {
            let lines: Vec<&str> = with("a=crypto:").collect();
            offered(&lines, second, short).iter().for_each(|line| say(line));
        }
        Role::Answer => {
            for line in with("a=crypto:") {
                answered(line, keys, second).iter().for_each(|line| say(line));
            }
        }
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

/// `a=rtcp` names the next port at times, though RTCP is multiplexed (fixture F-03).
fn rtcp(line: &str, style: Style) -> String {
    let port = line.strip_prefix("a=rtcp:").and_then(|rest| rest.trim().parse::<u16>().ok());
    match port.filter(|port| style.rtcp_next() && port.is_multiple_of(2)) {
        Some(port) => format!("a=rtcp:{}", port + 1),
        None => line.to_owned(),
    }
}

const SHORT: &str = "AES_CM_128_HMAC_SHA1_32";

/// The crypto lines of an offer: the short suite stands first, under tag 0 (TDR-SDP-002). Where the long
/// one is agreed, its companion is a key that nobody should choose.
fn offered(lines: &[&str], second: &SrtpKey, known: Option<&str>) -> Vec<String> {
    let short = lines.iter().find_map(|line| line_of_short(line));
    let short = match short.or(known) {
        Some(rest) => format!("a=crypto:0 {rest}"),
        None => format!("a=crypto:0 {SHORT} inline:{}|2^31", STANDARD.encode(second.key_salt())),
    };
    let others = lines.iter().filter(|line| !line.contains(SHORT)).map(|line| (*line).to_owned());
    std::iter::once(short).chain(others).collect()
}

/// What stands behind the tag of a crypto line of the short suite.
fn line_of_short(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix("a=crypto:")?.split_once(' ')?;
    rest.starts_with(SHORT).then_some(rest)
}

/// The line of the short suite in our first offer: it stays, though the long one is agreed.
pub(crate) fn short_of(offer: &Bytes) -> Option<String> {
    let text = String::from_utf8_lossy(offer);
    text.lines().find_map(line_of_short).map(str::to_owned)
}

/// An answer to our offer `ours`, with the tag that the short suite has there.
pub(crate) fn understand(ours: &Bytes, answer: &Bytes) -> Bytes {
    let ours = String::from_utf8_lossy(ours);
    let short = ours.lines().find(|line| line.starts_with("a=crypto:") && line.contains(SHORT));
    let tag = short.and_then(|line| line.strip_prefix("a=crypto:")?.split(' ').next());
    let text = std::str::from_utf8(answer).ok().filter(|text| text.contains("a=crypto:0 "));
    match (tag, text) {
        (Some(tag), Some(text)) => text.replace("a=crypto:0 ", &format!("a=crypto:{tag} ")).into(),
        _ => answer.clone(),
    }
}

/// The crypto lines of an answer.
fn answered(line: &str, keys: AnswerKeys, second: &SrtpKey) -> Vec<String> {
    let second = STANDARD.encode(second.key_salt());
    let inline = line.split_once("inline:").map_or("", |(_, inline)| inline);
    let suite = line.split(' ').nth(1).unwrap_or_default();
    match keys {
        AnswerKeys::OneLine => vec![line.to_owned()],
        AnswerKeys::TwoLines | AnswerKeys::TwoLinesMki => vec![
            format!("a=crypto:2 {suite} inline:{second}|2^31|1:1"),
            format!("a=crypto:3 {suite} inline:{inline}"),
        ],
    }
}
