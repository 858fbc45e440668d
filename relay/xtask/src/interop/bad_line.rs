//! A line that loses, repeats, delays and reorders: what Tollgate measures of it is what tshark sees, in the
//! record and in the RTCP that it sends.
//!
//! The line is a capture that SIPp plays, because not every kernel has a queue that spoils packets.

use super::capture::{Capture, Trace};
use super::peers::{self, Sipp};
use super::{Lab, lab};
use crate::fail::{Fail, Outcome, While, ensure};
use serde_json::Value;

/// Fifteen seconds of 20 ms.
const PACKETS: u32 = 750;
/// A burst: these never come.
const BURST: std::ops::Range<u32> = 300..312;
/// How much later a packet may be than the one it follows in time, in ms: more than reorders them.
const DELAY_MAX_MS: u32 = 24;
/// What we and tshark may differ in, as each has its own clock on its own end of a wire.
const CLOCKS_MS: f64 = 4.0;

pub(super) fn a_bad_line_is_measured_as_tshark_sees_it(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("bad_line")?;
    let capture = Capture::start(&folder)?;
    let mut user = peers::user(&folder)?;
    let line = folder.join("line.pcap");
    std::fs::write(&line, bad_line()).while_(line.display())?;
    let caller = Sipp::over_a_bad_line(&folder, lab::SECOND, &line)?;
    lab.plays(&mut user, caller)?;
    let trace = capture.stop()?;
    let record = lab.tollgate.record(lab.calls)?;
    let leg = &record["media"]["a"];
    println!("      the record: {leg}");
    same_as_tshark(&trace, leg)?;
    let user = &record["media"]["b"];
    let answered = user["rtcp_received"].as_u64() > Some(0) && user["round_trip_ms"].is_number();
    ensure(answered, || format!("the Teams user's RTCP was not understood: {user}"))?;
    reports_are_right(&trace)
}

/// Loss, jitter and gaps, of what came from the carrier.
fn same_as_tshark(trace: &Trace, leg: &Value) -> Outcome {
    let mut streams = trace.streams()?.into_iter();
    let stream = streams
        .find(|s| *s.from.ip() == lab::SECOND && *s.to.ip() == lab::BORDER)
        .ok_or_else(|| Fail::new("tshark saw no stream of the carrier"))?;
    println!("      tshark: {stream:?}");
    let number = |name: &str| leg[name].as_f64().unwrap_or(f64::NAN);
    let (repeated, expected) = (number("duplicates"), number("expected"));
    let theirs = stream.packets as f64 + stream.lost as f64;
    // Where the machine is busy, our port may open after the first packet has come.
    ensure((theirs - 1.0..=theirs).contains(&expected), || {
        format!("{expected} packets expected, by tshark {theirs}")
    })?;
    // tshark lets repeated packets make up for lost ones.
    let lost = number("lost") - repeated;
    ensure(lost == stream.lost as f64, || format!("{lost} lost, by tshark {}", stream.lost))?;
    ensure(repeated >= 5.0 && number("reordered") > 5.0, || format!("a line too good: {leg}"))?;
    let jitter = number("jitter_ms");
    let near = (0.5 * stream.jitter_mean_ms..2.0 * stream.jitter_mean_ms).contains(&jitter);
    ensure(near && jitter <= stream.jitter_max_ms + 1.0, || {
        format!("jitter {jitter} ms, by tshark {} in the mean", stream.jitter_mean_ms)
    })?;
    let gap = number("longest_gap_ms");
    ensure((gap - stream.delta_max_ms).abs() < CLOCKS_MS, || {
        format!("longest gap {gap} ms, by tshark {}", stream.delta_max_ms)
    })?;
    ensure(leg["bursts"]["count"].as_u64() >= Some(1), || {
        format!("the burst was not seen: {leg}")
    })?;
    ensure(number("mos") < 3.5, || format!("too good a score: {leg}"))
}

/// The reports that we send the carrier, whose RTCP ends with us: as tshark takes them apart.
fn reports_are_right(trace: &Trace) -> Outcome {
    let reports = trace.sender_reports(lab::BORDER, lab::SECOND)?;
    ensure(reports.len() >= 2, || format!("{} sender reports in 15 s", reports.len()))?;
    for report in &reports {
        let before = |from, to| trace.rtp(from, to).filter(|p| p.at < report.at);
        let sent = before(lab::BORDER, lab::SECOND).count() as i64;
        let near = |ours: u64, seen: i64| (ours as i64 - seen).abs() <= 2;
        ensure(near(report.packets, sent) && report.octets == 160 * report.packets, || {
            format!("{report:?} after {sent} packets of 160 octets")
        })?;
        // What came by then, and what of it was missing, by the numbers alone.
        let numbers: Vec<u16> = before(lab::SECOND, lab::BORDER).filter_map(sequence).collect();
        let (Some(first), Some(highest)) = (numbers.iter().min(), numbers.iter().max()) else {
            continue;
        };
        let missing = i64::from(highest - first) + 1 - numbers.len() as i64;
        let known = (report.lost - missing).abs() <= 2
            && (i64::from(report.highest) - i64::from(*highest)).abs() <= 2;
        ensure(known, || format!("{report:?} where {missing} up to {highest} were missing"))?;
        let jitter_ms = f64::from(report.jitter) / 8.0;
        ensure((1.0..20.0).contains(&jitter_ms), || format!("{report:?}: jitter {jitter_ms} ms"))?;
    }
    println!("      {} sender reports to the carrier, as tshark reads them", reports.len());
    let last = reports.last().map_or(0, |report| report.lost);
    ensure(last >= 12, || format!("only {last} lost in the last report"))
}

fn sequence(packet: &super::capture::Packet) -> Option<u16> {
    let &[_, _, high, low, ..] = packet.payload.as_slice() else { return None };
    Some(u16::from_be_bytes([high, low]))
}

/// The capture: 3 % lost at random and a burst, 1.5 % twice, each up to [`DELAY_MAX_MS`] late.
fn bad_line() -> Vec<u8> {
    let mut state = 7_u32;
    let mut dice = |sides: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % sides
    };
    let mut packets: Vec<(u32, Vec<u8>)> = Vec::new();
    for n in 0..PACKETS {
        let (lost, twice, late_us) = (dice(100) < 3, dice(200) < 3, dice(DELAY_MAX_MS * 1000));
        let at_us = n * 20_000 + late_us;
        // The first and the last frame the stream.
        let framing = n == 0 || n == PACKETS - 1;
        if !framing && (lost || BURST.contains(&n)) {
            continue;
        }
        packets.push((at_us, rtp(n)));
        if twice {
            packets.push((at_us + 500, rtp(n)));
        }
    }
    packets.sort_by_key(|(at_us, _)| *at_us);
    pcap(&packets)
}

/// A packet of PCMU.
pub(super) fn rtp(n: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend((1000 + n as u16).to_be_bytes());
    packet.extend((n * 160).to_be_bytes());
    packet.extend(0x1122_3344_u32.to_be_bytes());
    packet.extend([0xd5; 160]);
    packet
}

/// The file format of libpcap, with Ethernet, IPv4 and UDP in front of each packet; SIPp puts its own
/// addresses there.
pub(super) fn pcap(packets: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1_u32] {
        file.extend(word.to_le_bytes());
    }
    for (at_us, rtp) in packets {
        let (udp, ip) = (8 + rtp.len() as u16, 28 + rtp.len() as u16);
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        frame.extend([0x45, 0]);
        frame.extend(ip.to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(lab::SECOND.octets());
        frame.extend(lab::BORDER.octets());
        for word in [lab::SIPP_MEDIA, 20_000, udp, 0] {
            frame.extend(word.to_be_bytes());
        }
        frame.extend(rtp);
        let length = frame.len() as u32;
        for word in [at_us / 1_000_000, at_us % 1_000_000, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}
