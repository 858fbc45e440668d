//! What Microsoft's media processor refuses in a description, and what it is known to misunderstand.

use crate::strict::{Fault, expect};
use bytes::Bytes;
use sdp::ice::Candidate;
use sdp::section::MediaDescription;
use sdp::{Direction, SessionDescription, Suite};
use std::net::SocketAddr;

/// Checks an offer; `before` is the far side's last description in this dialog.
pub(crate) fn offer(bypass: bool, body: &[u8], before: Option<&Bytes>, faults: &mut Vec<Fault>) {
    let Ok(sdp) = SessionDescription::parse(body) else {
        return faults.push(Fault::refused("TDR-SDP-001", 488, 531_000, "SDP cannot be read"));
    };
    let Some(audio) = sdp.media().find(|media| media.line().media == "audio") else {
        return faults.push(Fault::refused("TDR-SDP-001", 488, 531_000, "No audio"));
    };
    if !audio.line().proto.contains("SAVP") {
        faults.push(Fault::refused("TDR-MED-001", 488, 531_000, "SrtpEncryptionRequired"));
    }
    if audio.connection().is_some_and(|connection| connection.is_hold()) {
        let text = "Cannot negotiate a new modality with blackhole media";
        faults.push(Fault::refused("TDR-HLD-001", 488, 531_052, text));
    }
    payload_types(&audio, faults);
    crypto(&audio, &[1], faults);
    ice(bypass, &sdp, &audio, faults);
    common(&sdp, &audio, faults);
    if let Some(before) = before {
        let half = matches!(audio.direction(), Direction::SendOnly | Direction::RecvOnly);
        expect(!half, "TDR-HLD-001", "hold by another direction than inactive", faults);
        continuity(&sdp, &audio, body, before, faults);
    }
}

/// Checks an answer; `early` is the one that came before in a provisional response, if any.
pub(crate) fn answer(bypass: bool, body: &[u8], early: Option<&Bytes>, faults: &mut Vec<Fault>) {
    if body.is_empty() {
        return;
    }
    let parsed = SessionDescription::parse(body);
    let audio = parsed.as_ref().ok().and_then(|sdp| sdp.media().next().map(|audio| (sdp, audio)));
    let Some((sdp, audio)) = audio else {
        return faults.push(Fault::noted("TDR-SDP-001", "SDP cannot be read, or has no audio"));
    };
    // Tag 1 of our offers is the long suite, tag 0 the short one.
    crypto(&audio, &[0, 1], faults);
    ice(bypass, sdp, &audio, faults);
    common(sdp, &audio, faults);
    if let Some(early) = early {
        continuity(sdp, &audio, body, early, faults);
    }
}

fn payload_types(audio: &MediaDescription<'_>, faults: &mut Vec<Fault>) {
    let types: Vec<u8> = audio.line().payload_types().collect();
    if types.iter().enumerate().any(|(at, number)| types[..at].contains(number)) {
        faults.push(Fault::refused("TDR-SDP-010", 488, 531_000, "A payload type twice"));
    }
    let mapped = audio.section().attribute("rtpmap").filter_map(|map| {
        let number = map.split(|octet| *octet == b' ').next()?;
        std::str::from_utf8(number).ok()?.parse::<u8>().ok()
    });
    let mapped: Vec<u8> = mapped.collect();
    if mapped.iter().any(|number| !types.contains(number)) {
        faults.push(Fault::refused(
            "TDR-SDP-010",
            488,
            531_000,
            "rtpmap of a payload type not in m=",
        ));
    }
}

/// One line, with the tag and suite that we expect (TDR-SDP-002, TDR-SDP-005).
fn crypto(audio: &MediaDescription<'_>, tags: &[u32], faults: &mut Vec<Fault>) {
    let lines: Vec<_> = audio.crypto().collect();
    let written = audio.section().attribute("crypto").count();
    if lines.is_empty() {
        return faults.push(Fault::refused(
            "TDR-SDP-004",
            488,
            531_000,
            "No crypto line that can be used",
        ));
    }
    expect(written == 1, "TDR-SDP-005", "more than one crypto line", faults);
    let line = &lines[0];
    expect(tags.contains(&line.tag), "TDR-SDP-002", "another crypto tag", faults);
    expect(line.suite == Suite::AesCm128HmacSha1_80, "TDR-SRTP-001", "another suite", faults);
    expect(!line.has_mki(), "TDR-SDP-005", "an MKI", faults);
}

/// ICE-lite with exactly one candidate, IPv4, under media bypass; none without (TDR-ICE-001).
fn ice(
    bypass: bool,
    sdp: &SessionDescription,
    audio: &MediaDescription<'_>,
    faults: &mut Vec<Fault>,
) {
    let written = audio.section().attribute("candidate").count();
    if !bypass {
        return expect(written == 0, "TDR-ICE-001", "ICE without media bypass", faults);
    }
    let candidates: Vec<_> =
        audio.section().attribute("candidate").filter_map(Candidate::parse).collect();
    if candidates.is_empty() {
        return faults.push(Fault::refused("TDR-ICE-001", 488, 531_027, "No ICE candidates"));
    }
    let one = written == 1
        && candidates.iter().all(|candidate| {
            candidate.component == 1
                && candidate.address.is_ipv4()
                && Some(candidate.address) == place(audio)
        });
    expect(one, "TDR-ICE-001", "not the one IPv4 candidate of the m-line", faults);
    let lite = sdp.session().attribute("ice-lite").next().is_some();
    expect(lite, "TDR-ICE-001", "no a=ice-lite for the session", faults);
}

fn common(sdp: &SessionDescription, audio: &MediaDescription<'_>, faults: &mut Vec<Fault>) {
    expect(audio.rtcp_mux(), "TDR-SDP-006", "no rtcp-mux", faults);
    let rtcp = audio.rtcp().is_some_and(|(port, _)| port == audio.line().port);
    expect(rtcp, "TDR-SDP-006", "no a=rtcp with the RTP port", faults);
    for (name, _) in sdp.session().attributes().chain(audio.section().attributes()) {
        if !ATTRIBUTES.contains(&name) {
            faults.push(Fault::noted("TDR-SDP-012", format!("a={name}")));
        }
    }
}

/// Address, port and origin stay; the version rises on change only (TDR-DLG-012, TDR-SDP-009).
fn continuity(
    sdp: &SessionDescription,
    audio: &MediaDescription<'_>,
    body: &[u8],
    before: &Bytes,
    faults: &mut Vec<Fault>,
) {
    let Ok(earlier) = SessionDescription::parse(before) else { return };
    let Some(earlier_audio) = earlier.media().next() else { return };
    expect(place(audio) == place(&earlier_audio), "TDR-DLG-012", "media moved", faults);
    let (Some(now), Some(then)) = (sdp.origin(), earlier.origin()) else { return };
    expect(now.session_id == then.session_id, "TDR-SDP-009", "another session id", faults);
    let version = |text: &str| text.parse::<u64>().unwrap_or(0);
    let (now, then) = (version(now.version), version(then.version));
    let right = if body == &before[..] { now == then } else { now > then };
    expect(right, "TDR-SDP-009", "o= version does not count changes", faults);
}

fn place(audio: &MediaDescription<'_>) -> Option<SocketAddr> {
    audio.connection()?.socket(audio.line().port)
}

/// TDR-SDP-012.
const ATTRIBUTES: [&str; 15] = [
    "rtpmap",
    "fmtp",
    "ptime",
    "maxptime",
    "sendrecv",
    "sendonly",
    "recvonly",
    "inactive",
    "crypto",
    "rtcp",
    "rtcp-mux",
    "ice-lite",
    "ice-ufrag",
    "ice-pwd",
    "candidate",
];
