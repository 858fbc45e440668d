//! What packets that did not come out of a socket of the kernel's have to be like, as the far end sees them.

use super::super::capture::{Packet, Trace, said, tshark};
use super::super::lab::{self, Side};
use crate::fail::{Outcome, ensure};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::Range;

/// Expedited forwarding (RFC 3246).
const VOICE: &str = "46";
/// tshark's words for a checksum that is right.
const GOOD: &str = "1";

/// Whatever the border has sent from its media ports to this side has right checksums and is marked as
/// voice. Says how many packets that were.
pub(super) fn is_sound(trace: &Trace, side: &Side) -> Outcome<usize> {
    let (low, high) = lab::MEDIA_PORTS.into_inner();
    let ours = format!("ip.src=={} && udp.srcport>={low} && udp.srcport<={high}", lab::BORDER);
    let mut command = tshark(trace.file(side.name)?);
    command.args(["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-Y", &ours]);
    command.args(["-T", "fields", "-e", "ip.checksum.status", "-e", "udp.checksum.status"]);
    command.args(["-e", "ip.dsfield.dscp", "-e", "frame.number"]);
    let said = said(&mut command)?;
    let sound = [GOOD, GOOD, VOICE].join("\t");
    let wrong: Vec<&str> = said.lines().filter(|line| !line.starts_with(&sound)).collect();
    ensure(wrong.is_empty(), || {
        let first = wrong.first().copied().unwrap_or_default();
        format!("{} packets to {} are not sound, the first: {first}", wrong.len(), side.name)
    })?;
    Ok(said.lines().count())
}

/// Packets that another of their stream may overtake where a flow goes over to the kernel: what comes right
/// behind one that still waits for the worker is sent on at once.
pub(super) const OVERTAKEN_MAX: usize = 2;

/// One stream of ours to this host: of one source, each number there once, but across these times, and so many
/// of them overtaken at most.
pub(super) fn is_unbroken(
    trace: &Trace,
    to: Ipv4Addr,
    but: &[Range<f64>],
    (packets_min, overtaken_max): (usize, usize),
) -> Outcome {
    let ours: Vec<&Packet> = trace.rtp(lab::BORDER, to).collect();
    let sources: BTreeSet<u32> =
        ours.iter().map(|it| super::super::srtp::ssrc(&it.payload)).collect();
    ensure(sources.len() == 1, || format!("sources to {to}: {sources:x?}"))?;
    let number = |packet: &Packet| super::super::srtp::sequence(&packet.payload);
    let mut missing = BTreeSet::new();
    let mut overtaken = 0;
    let mut pairs = ours.windows(2);
    let mut newest = ours.first().map(|first| number(first)).unwrap_or_default();
    while let Some([one, next]) = pairs.next() {
        let is = number(next);
        let across = but.iter().any(|but| one.at < but.end && next.at > but.start);
        let ahead = is.wrapping_sub(newest);
        if across || ahead < 1 << 15 {
            let skipped = if across { 0 } else { ahead.saturating_sub(1) };
            missing.extend((1..=skipped).map(|behind| is.wrapping_sub(behind)));
            ensure(ahead != 0, || format!("to {to} {is} comes twice, at {:.3}", next.at))?;
            newest = is;
        } else {
            let known = missing.remove(&is);
            ensure(known, || format!("to {to} {is} comes twice, at {:.3}", next.at))?;
            overtaken += 1;
        }
    }
    ensure(missing.is_empty(), || format!("to {to} there is no {missing:?}"))?;
    ensure(overtaken <= overtaken_max, || format!("{overtaken} packets to {to} were overtaken"))?;
    ensure(ours.len() >= packets_min, || format!("{} packets to {to}", ours.len()))
}

/// The longest that one host heard nothing of another, from one time to another, in ms.
pub(super) fn gap_ms(trace: &Trace, (from, to): (Ipv4Addr, Ipv4Addr), during: Range<f64>) -> f64 {
    let times: Vec<f64> =
        trace.rtp(from, to).map(|it| it.at).filter(|at| during.contains(at)).collect();
    let first = times.first().map_or(during.end - during.start, |at| at - during.start);
    times.windows(2).map(|pair| pair[1] - pair[0]).fold(first, f64::max) * 1e3
}
