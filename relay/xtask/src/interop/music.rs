//! Music on hold as Teams plays it: from another source under another key, where the call stays (TDR-HLD-003).

use super::audio::{Audio, mulaw_tone};
use super::bad_line::pcap;
use super::capture::{Capture, Packet, Trace};
use super::peers::{self, Sipp};
use super::{Lab, lab, srtp};
use crate::fail::{Fail, Outcome, While, ensure};
use std::path::Path;

/// In Hz.
const MUSIC: u16 = 700;
/// The keys of the user and of the media processor: octets from 0 and from 30 on.
const FIRST: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";
const SECOND: &str = "Hh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7";
/// Where the processor is, as the scenario has it.
const PROCESSOR: u16 = lab::SIPP_USER_MEDIA + 20;
/// A re-INVITE and its answers, and what was under way.
const SETTLE_S: f64 = 0.5;

/// SIPp is the Teams user behind the front, its audio sealed by OpenSSL; baresip the carrier's subscriber.
///
/// TDR-HLD-002, TDR-HLD-003, TDR-DLG-014.
pub(super) fn music_from_teams_comes_from_another_source_under_another_key(
    lab: &mut Lab,
) -> Outcome {
    let folder = lab.scratch("teams_music")?;
    let mut scenario = include_str!("../../peers/teams_music.xml").to_owned();
    for (name, hz, key, first) in [
        ("SPEECH", lab::USER_TONE, FIRST, 1),
        ("MUSIC", MUSIC, SECOND, 1),
        ("AGAIN", lab::USER_TONE, SECOND, 400),
    ] {
        let file = folder.join(format!("{name}.pcap"));
        std::fs::write(&file, played(&folder, hz, key, first)?).while_(file.display())?;
        scenario = scenario.replace(&format!("@{name}@"), &file.display().to_string());
    }
    let scenario = scenario.replace("@FIRST@", FIRST).replace("@SECOND@", SECOND);
    let capture = Capture::start(&folder)?;
    let mut carrier = peers::carrier(&folder)?;
    let user = Sipp::user(&folder, "teams_music", &scenario, lab::CARRIER_NUMBER)?;
    lab.plays(&mut carrier, user)?;
    drop(carrier);
    let trace = capture.stop()?;
    let held = told(&trace, "a=sendonly")?;
    let resumed = told(&trace, "a=sendrecv")?;
    heard(&trace, 0.0, held).must_be(lab::USER_TONE, "what the carrier hears of the user")?;
    heard(&trace, held + SETTLE_S, resumed).must_be(MUSIC, "what it hears in the hold")?;
    let end = f64::MAX;
    heard(&trace, resumed + SETTLE_S, end)
        .must_be(lab::USER_TONE, "what it hears after the hold")?;
    // The carrier's own voice follows to where the processor is.
    let to = |port: u16, since: f64| {
        trace.rtp(lab::BORDER, lab::USER).filter(|it| it.to.port() == port && it.at > since).count()
    };
    let (there, before) = (to(PROCESSOR, resumed + SETTLE_S), to(lab::SIPP_USER_MEDIA, held));
    ensure(there > 100, || format!("{there} packets to the processor after the hold"))?;
    ensure(before < 10, || format!("{before} packets to the user after it had gone"))?;
    let record = lab.tollgate.record(lab.calls)?;
    let refused = record["media"]["a"]["drops"]["bad_tag"].as_u64().unwrap_or(0);
    ensure(refused < 5, || format!("{refused} packets did not authenticate: {record}"))
}

/// What the carrier heard between two moments.
fn heard(trace: &Trace, since: f64, until: f64) -> Audio {
    let between = |packet: &&Packet| (since..until).contains(&packet.at);
    let packets = trace.rtp(lab::BORDER, lab::CARRIER).filter(between);
    Audio::from_mulaw(packets.filter_map(|packet| packet.payload.get(12..)))
}

/// When the carrier was told this direction by a re-INVITE.
fn told(trace: &Trace, direction: &str) -> Outcome<f64> {
    let mut invites = trace.packets.iter().filter(|packet| {
        let ours = *packet.from.ip() == lab::BORDER && *packet.to.ip() == lab::CARRIER;
        ours && packet.sip().is_some_and(|sip| {
            sip.starts_with("INVITE ") && sip.contains(";tag=") && sip.contains(direction)
        })
    });
    // The first INVITE is sendrecv, too.
    let found = if direction == "a=sendrecv" { invites.next_back() } else { invites.next() };
    let found = found.map(|packet| packet.at);
    found.ok_or_else(|| Fail(format!("the carrier was told of no {direction}")))
}

/// Three seconds of a tone as SRTP of one source, as SIPp plays it.
fn played(folder: &Path, hz: u16, key: &str, first: u16) -> Outcome<Vec<u8>> {
    let sealed = srtp::seal(&tone_packets(hz, 3, first), key, folder)?;
    let timed = (0..).zip(sealed).map(|(n, packet)| (n * 20_000, packet));
    Ok(pcap(&timed.collect::<Vec<_>>()))
}

/// A tone as RTP of one source, which is named by its frequency.
pub(super) fn tone_packets(hz: u16, seconds: usize, first: u16) -> Vec<Vec<u8>> {
    let tone = mulaw_tone(hz, seconds);
    let rtp = |(n, payload): (u16, &[u8])| {
        let mut packet = vec![0x80, 0];
        packet.extend((first + n).to_be_bytes());
        packet.extend((u32::from(first + n) * 160).to_be_bytes());
        packet.extend(u32::from(hz).to_be_bytes());
        packet.extend(payload);
        packet
    };
    (0..).zip(tone.chunks_exact(160)).map(rtp).collect()
}
