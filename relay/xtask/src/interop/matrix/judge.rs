//! What must hold of a call on the wire, of whichever kind its two ends are.

use super::super::audio::Audio;
use super::super::capture::{Packet, Stream};
use super::channel::BORDER;
use super::pair::{End, Keying, Pair, Weather};
use super::stage::Placed;
use crate::fail::{Outcome, ensure};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::Ipv4Addr;

/// What an end of a call leaves for the judge.
pub(super) struct Heard {
    pub(super) audio: Audio,
    /// Every description that went between it and Tollgate, as far as it can be seen.
    pub(super) descriptions: String,
}

/// A call with its evidence.
pub(super) struct Case<'a> {
    pub(super) pair: &'a Pair,
    pub(super) ends: [&'a Placed; 2],
    pub(super) tones_hz: [u16; 2],
    pub(super) heard: [Heard; 2],
    /// Everything on the wire while it lasted, other calls' packets included.
    pub(super) packets: &'a [Packet],
    /// tshark's table of streams.
    pub(super) streams: &'a [Stream],
}

/// Packets from one host to another in a call, by kind.
#[derive(Default)]
struct Way<'a> {
    rtp: Vec<&'a Packet>,
    reports: Vec<&'a Packet>,
    checks: usize,
    handshakes: usize,
}

impl Case<'_> {
    /// Everything.
    pub(super) fn judge(&self) -> Outcome {
        self.tones()?;
        let ways = [self.ways(0), self.ways(1)];
        for (side, placed) in self.ends.into_iter().enumerate() {
            let (to_us, from_us) = &ways[side];
            self.kept(placed, to_us, from_us)?;
            self.agreed(side)?;
        }
        self.passed(&ways[0].0, &ways[1].1, "caller to callee")?;
        self.passed(&ways[1].0, &ways[0].1, "callee to caller")?;
        self.secret(&ways)?;
        self.tshark_misses_nothing()
    }

    fn tones(&self) -> Outcome {
        for (ear, mouth) in [(0, 1), (1, 0)] {
            let whose = format!("what {} heard", self.ends[ear].end);
            self.heard[ear].audio.must_be(self.tones_hz[mouth], &whose)?;
        }
        Ok(())
    }

    /// What the end sent to us, and we to the end.
    fn ways(&self, side: usize) -> (Way<'_>, Way<'_>) {
        let address = self.ends[side].address;
        (self.way(address, BORDER), self.way(BORDER, address))
    }

    fn way(&self, from: Ipv4Addr, to: Ipv4Addr) -> Way<'_> {
        let mut way = Way::default();
        for packet in self.packets.iter().filter(|it| *it.from.ip() == from && *it.to.ip() == to) {
            match packet.payload.as_slice() {
                [0..=3, ..] => way.checks += 1,
                [20..=63, ..] => way.handshakes += 1,
                [128..=191, 192..=223, ..] => way.reports.push(packet),
                [128..=191, ..] if packet.is_rtp() => way.rtp.push(packet),
                _ => {}
            }
        }
        way
    }

    /// The end's leg is of its kind: ports, lengths, checks and handshakes.
    fn kept(&self, placed: &Placed, to_us: &Way<'_>, from_us: &Way<'_>) -> Outcome {
        let Placed { end, .. } = placed;
        let End { keying, path, .. } = *end;
        ensure(!from_us.rtp.is_empty(), || format!("{end}: no RTP from Tollgate"))?;
        let lengths: BTreeSet<usize> =
            to_us.rtp.iter().chain(&from_us.rtp).map(|packet| packet.payload.len()).collect();
        let known = keying.tags().iter().any(|tag| lengths == [HEADER + PAYLOAD + tag].into());
        ensure(known, || format!("{end}: packets of {lengths:?} bytes"))?;
        let ports: BTreeSet<u16> = from_us.rtp.iter().map(|packet| packet.from.port()).collect();
        ensure(ports.len() == 1, || format!("{end}: we send RTP from the ports {ports:?}"))?;
        let own = ports.first().copied().unwrap_or_default();
        for packet in &from_us.reports {
            let wanted = if path.mux() { own } else { own + 1 };
            ensure(packet.from.port() == wanted, || {
                format!("{end}: RTCP from port {}, RTP from {own}", packet.from.port())
            })?;
        }
        let checked = to_us.checks > 0 && from_us.checks > 0;
        ensure(checked == path.ice(), || {
            format!("{end}: {} checks to us and {} from us", to_us.checks, from_us.checks)
        })?;
        let shook = to_us.handshakes > 0 && from_us.handshakes > 0;
        ensure(shook == (keying == Keying::Dtls), || {
            format!(
                "{end}: {} DTLS packets to us and {} from us",
                to_us.handshakes, from_us.handshakes
            )
        })
    }

    /// The suite of the pair, and no other, was agreed.
    fn agreed(&self, side: usize) -> Outcome {
        let end = self.ends[side].end;
        let text = &self.heard[side].descriptions;
        match end.keying {
            Keying::Rtp => ensure(!text.contains("a=crypto:"), || format!("{end}: keys in SDP"))?,
            Keying::Dtls => {
                ensure(text.contains("a=fingerprint:") && !text.contains("a=crypto:"), || {
                    format!("{end}: no fingerprint, or keys, in SDP: {text}")
                })?
            }
            keying => {
                let suite = keying.suite().unwrap_or_default();
                ensure(text.contains(suite), || format!("{end}: no {suite} in SDP: {text}"))?;
            }
        }
        let mux = text.contains("a=rtcp-mux");
        ensure(mux || !end.path.mux(), || format!("{end}: no rtcp-mux in SDP: {text}"))?;
        let ice = text.contains("a=ice-ufrag:") && text.contains("a=candidate:");
        ensure(ice == end.path.ice(), || format!("{end}: ICE in SDP is {ice}: {text}"))
    }

    /// What came to us went out, once each, from its first packet that did to its last: where something is
    /// missing, it did not reach us.
    fn passed(&self, came: &Way<'_>, went: &Way<'_>, which: &str) -> Outcome {
        let (came, went) = (indexes(&came.rtp), indexes(&went.rtp));
        let shift = shift(&came, &went);
        let sent: BTreeMap<i64, usize> =
            went.iter().fold(BTreeMap::new(), |mut sent, (index, _)| {
                *sent.entry(index - shift).or_default() += 1;
                sent
            });
        let arrived: BTreeSet<i64> = came.iter().map(|(index, _)| *index).collect();
        let invented = sent.keys().find(|index| !arrived.contains(index));
        ensure(invented.is_none(), || format!("{which}: {invented:?} went out and never came"))?;
        let (Some((&first, _)), Some((&last, _))) = (sent.first_key_value(), sent.last_key_value())
        else {
            return ensure(false, || format!("{which}: nothing went out"));
        };
        // What came after our last packet went out came after the end of the call.
        let end = went.last().map_or(0.0, |(_, at)| *at);
        let lost: Vec<i64> = came
            .iter()
            .filter(|(index, at)| (first..=last).contains(index) && *at < end)
            .map(|(index, _)| *index)
            .filter(|index| !sent.contains_key(index))
            .collect();
        ensure(lost.is_empty(), || {
            format!(
                "{which}: {} of {} packets were lost by us: {lost:?}",
                lost.len(),
                arrived.len()
            )
        })?;
        let setup = first - arrived.first().copied().unwrap_or(first);
        ensure(setup <= self.setup_max(), || {
            format!("{which}: the first {setup} packets are lost")
        })?;
        let least = PACKETS_MIN - self.setup_max();
        ensure(sent.len() as i64 >= least, || format!("{which}: only {} packets", sent.len()))?;
        let twice = sent.values().filter(|count| **count > 1).count();
        let came_twice = came.len() - arrived.len();
        ensure(twice <= came_twice, || format!("{which}: {twice} packets went out twice"))
    }

    /// Packets that may come before a leg can carry them: a handshake of DTLS, checks of ICE.
    fn setup_max(&self) -> i64 {
        let slow = |placed: &&Placed| placed.end.keying == Keying::Dtls || placed.end.path.ice();
        if self.ends.iter().any(slow) { SLOW_SETUP_MAX } else { SETUP_MAX }
    }

    /// No payload of a plain leg can be recognised on one that is not, nor one of a leg on the other.
    fn secret(&self, ways: &[(Way<'_>, Way<'_>); 2]) -> Outcome {
        let payloads = |side: usize| -> HashSet<&[u8]> {
            let (to_us, from_us) = &ways[side];
            let all = to_us.rtp.iter().chain(&from_us.rtp);
            all.filter_map(|packet| packet.payload.get(HEADER..HEADER + PAYLOAD)).collect()
        };
        if self.ends.iter().all(|placed| placed.end.keying == Keying::Rtp) {
            return Ok(());
        }
        let (a, b) = (payloads(0), payloads(1));
        let known = a.intersection(&b).count();
        ensure(known == 0, || format!("{known} payloads are the same on both legs"))
    }

    /// In fair weather tshark's own count of what is missing is zero.
    fn tshark_misses_nothing(&self) -> Outcome {
        if self.pair.weather != Weather::Fair {
            return Ok(());
        }
        for placed in self.ends {
            for (from, to) in [(placed.address, BORDER), (BORDER, placed.address)] {
                let of = |it: &&Stream| *it.from.ip() == from && *it.to.ip() == to;
                let lost: i64 = self.streams.iter().filter(of).map(|stream| stream.lost).sum();
                let seen = self.streams.iter().any(|it| of(&it));
                ensure(seen && lost == 0, || {
                    format!("tshark of {from} to {to}: seen {seen}, {lost} lost")
                })?;
            }
        }
        Ok(())
    }
}

/// An RTP header without extensions, and 20 ms of G.711.
const HEADER: usize = 12;
const PAYLOAD: usize = 160;

/// Six seconds of talk, less half a second.
const PACKETS_MIN: i64 = 275;
/// Before both sides know each other.
const SETUP_MAX: i64 = 25;
const SLOW_SETUP_MAX: i64 = 120;

/// Each packet's index (sequence number with its wraps) and time, by SSRC one after another.
fn indexes(packets: &[&Packet]) -> Vec<(i64, f64)> {
    let mut highest: Option<i64> = None;
    packets
        .iter()
        .map(|packet| {
            let sequence =
                packet.payload.get(2..4).map_or(0, |it| u16::from_be_bytes([it[0], it[1]]));
            let index = highest.map_or(i64::from(sequence), |highest| {
                highest + i64::from(sequence.wrapping_sub(highest as u16) as i16)
            });
            highest = Some(highest.map_or(index, |highest| highest.max(index)));
            (index, packet.at)
        })
        .collect()
}

/// By how much we number higher than who sends: what most packets say that left right after one came.
fn shift(came: &[(i64, f64)], went: &[(i64, f64)]) -> i64 {
    let mut votes: BTreeMap<i64, usize> = BTreeMap::new();
    let mut next = 0;
    for (index, at) in went {
        while came.get(next).is_some_and(|(_, came_at)| came_at <= at) {
            next += 1;
        }
        if let Some((before, _)) = next.checked_sub(1).and_then(|last| came.get(last)) {
            *votes.entry(index - before).or_default() += 1;
        }
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map_or(0, |(shift, _)| shift)
}

/// The descriptions in a log of SIP messages: every line that SDP has and SIP has not.
pub(super) fn descriptions(log: &str) -> String {
    let mut text = String::new();
    for line in log.lines().filter(|line| line.starts_with("a=") || line.starts_with("m=")) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::shift;

    #[test]
    fn the_numbers_of_both_legs_are_compared_by_what_left_when() {
        let came: Vec<(i64, f64)> = (0..50).map(|at| (at, at as f64 * 0.02)).collect();
        let mut went: Vec<(i64, f64)> = came.iter().map(|(i, at)| (i + 700, at + 0.001)).collect();
        went.remove(20);
        assert_eq!(shift(&came, &went), 700);
    }
}
