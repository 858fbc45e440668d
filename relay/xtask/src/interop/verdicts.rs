//! What must hold of every call on the wire, whoever called and whoever answered.

use super::capture::{Packet, Trace};
use super::{lab, srtp};
use crate::fail::{Fail, Outcome, ensure};
use serde_json::Value;
use std::collections::HashSet;
use std::net::Ipv4Addr;

/// An RTP packet of 20 ms of G.711.
const PLAIN: usize = 12 + 160;

/// One call as it crossed the border: the carrier's host and what was captured.
pub(super) struct Crossing<'a> {
    pub(super) trace: &'a Trace,
    pub(super) carrier: Ipv4Addr,
    /// Packets of each stream that may have come before a resume was agreed.
    pub(super) early_max: i64,
}

impl Crossing<'_> {
    /// The four RTP streams: both legs, both ways.
    fn ways(&self) -> [(Ipv4Addr, Ipv4Addr); 4] {
        let carrier = self.carrier;
        [
            (carrier, lab::BORDER),
            (lab::BORDER, carrier),
            (lab::USER, lab::BORDER),
            (lab::BORDER, lab::USER),
        ]
    }

    /// Every stream has at least this many packets and tshark misses none; of what we send, none but those
    /// that came before their resume was agreed.
    pub(super) fn nothing_lost(&self, packets_min: u64) -> Outcome {
        let streams = self.trace.streams()?;
        for (from, to) in self.ways() {
            let mut of =
                streams.iter().filter(|s| *s.from.ip() == from && *s.to.ip() == to).peekable();
            ensure(of.peek().is_some(), || format!("tshark saw no RTP from {from} to {to}"))?;
            let (packets, lost) = of.fold((0, 0), |(p, l), s| (p + s.packets, l + s.lost));
            let lost_max = if from == lab::BORDER { self.early_max } else { 0 };
            ensure(packets >= packets_min && (0..=lost_max).contains(&lost), || {
                format!("RTP from {from} to {to}: {packets} packets, {lost} lost")
            })?;
        }
        Ok(())
    }

    /// Where what we send misses a packet, it is across the silence of a hold: nothing of the talk before or
    /// after it may be gone.
    pub(super) fn gaps_only_across(&self, silence: f64, silence_ends: f64) -> Outcome {
        for (from, to) in self.ways().into_iter().filter(|(from, _)| *from == lab::BORDER) {
            let mut before: Option<(f64, u16)> = None;
            for packet in self.trace.rtp(from, to) {
                let &[_, _, high, low, ..] = packet.payload.as_slice() else { continue };
                let sequence = u16::from_be_bytes([high, low]);
                if let Some((at, last)) = before {
                    let across = at <= silence && packet.at >= silence_ends;
                    ensure(across || sequence == last.wrapping_add(1), || {
                        format!(
                            "RTP from {from} to {to}: {last} is followed by {sequence} in the talk"
                        )
                    })?;
                }
                before = Some((packet.at, sequence));
            }
        }
        Ok(())
    }

    /// On the Teams leg flows SRTP and nothing else, RTCP on the port of RTP, and no payload of the plain
    /// leg can be recognised.
    pub(super) fn teams_leg_is_sealed(&self) -> Outcome {
        let [a, b, _, _] = self.ways();
        let plain: HashSet<&[u8]> = [a, b]
            .into_iter()
            .flat_map(|(from, to)| self.trace.rtp(from, to))
            .filter_map(|packet| packet.payload.get(12..PLAIN))
            .collect();
        let mut pairs = HashSet::new();
        for packet in self.trace.packets.iter().filter(|packet| is_teams_media(packet)) {
            let own = if *packet.from.ip() == lab::BORDER { packet.from } else { packet.to };
            pairs.insert(own.port());
            if !packet.is_rtp() {
                continue;
            }
            let length = packet.payload.len();
            ensure(length == PLAIN + srtp::TAG, || {
                format!("{length} bytes from {} on the Teams leg: no SRTP", packet.from)
            })?;
            ensure(
                packet.payload.get(12..PLAIN).is_some_and(|sealed| !plain.contains(sealed)),
                || format!("a packet from {} on the Teams leg is in the clear", packet.from),
            )?;
        }
        ensure(pairs.len() == 1, || format!("{} ports for one multiplexed stream", pairs.len()))
    }

    /// While nobody speaks, from `start` to `end`, no RTP flows on either leg.
    pub(super) fn silent(&self, start: f64, end: f64) -> Outcome {
        for (from, to) in self.ways() {
            let count = self.trace.rtp(from, to).filter(|p| (start..end).contains(&p.at)).count();
            ensure(count == 0, || format!("{count} RTP packets from {from} to {to} during hold"))?;
        }
        Ok(())
    }

    /// Both ways carry their tone after `since`, on the wire of both legs.
    pub(super) fn tones_since(&self, since: f64, carrier_hz: u16, user_hz: u16) -> Outcome {
        let (carrier, border, user) = (self.carrier, lab::BORDER, lab::USER);
        let trace = self.trace;
        trace.plain_audio(carrier, border, since).must_be(carrier_hz, "from the carrier")?;
        trace.sealed_audio(border, user, since)?.must_be(carrier_hz, "to the Teams user")?;
        trace.sealed_audio(user, border, since)?.must_be(user_hz, "from the Teams user")?;
        trace.plain_audio(border, carrier, since).must_be(user_hz, "to the carrier")
    }

    /// Each leg saw a BYE and its 200.
    pub(super) fn ended_cleanly(&self) -> Outcome {
        for (ours, theirs) in [(lab::BORDER, self.carrier), (lab::FRONT, lab::USER)] {
            let both = || self.trace.sip(ours, theirs).chain(self.trace.sip(theirs, ours));
            ensure(both().any(|sip| sip.starts_with("BYE ")), || format!("no BYE with {theirs}"))?;
            let answered = both().any(|sip| {
                sip.starts_with("SIP/2.0 200 ")
                    && header(sip, "CSeq").is_some_and(|cseq| cseq.ends_with("BYE"))
            });
            ensure(answered, || format!("the BYE with {theirs} was not answered with 200"))?;
        }
        Ok(())
    }

    /// The legs share no Call-ID and no tag, and neither shows the other side's addresses and names.
    pub(super) fn legs_share_nothing(&self) -> Outcome {
        let (near, far) =
            (self.invite(lab::BORDER, self.carrier)?, self.invite(lab::FRONT, lab::USER)?);
        for name in ["Call-ID", "From", "Via"] {
            let differ = mark(near, name).is_some() && mark(near, name) != mark(far, name);
            ensure(differ, || format!("both legs have the {name} {:?}", mark(near, name)))?;
        }
        let hidden = [lab::TEAMS_PREFIX, "pstnhub", "AES_CM_128"];
        if let Some(sip) =
            self.trace.sip(lab::BORDER, self.carrier).find(|sip| has_any(sip, &hidden))
        {
            return Err(Fail(format!("the carrier sees the Teams side:\n{sip}")));
        }
        match self
            .trace
            .sip(lab::FRONT, lab::USER)
            .find(|sip| has_any(sip, &[lab::CARRIERS_PREFIX]))
        {
            Some(sip) => Err(Fail(format!("Teams sees the carrier's side:\n{sip}"))),
            None => Ok(()),
        }
    }

    /// The record knows both legs by their Call-IDs and says that the call was answered.
    pub(super) fn recorded(&self, record: &Value) -> Outcome {
        let (carrier, teams) =
            (self.invite(lab::BORDER, self.carrier)?, self.invite(lab::FRONT, lab::USER)?);
        let mut wire = [header(carrier, "Call-ID"), header(teams, "Call-ID")];
        let mut book = [record["call_id_in"].as_str(), record["call_id_out"].as_str()];
        wire.sort_unstable();
        book.sort_unstable();
        ensure(wire == book, || format!("Call-IDs on the wire {wire:?}, in the record {record}"))?;
        ensure(record["status"] == 200, || format!("not recorded as answered: {record}"))
    }

    /// The first INVITE between two hosts, in whichever direction.
    fn invite(&self, one: Ipv4Addr, other: Ipv4Addr) -> Outcome<&str> {
        let mut all = self.trace.sip(one, other).chain(self.trace.sip(other, one));
        all.find(|sip| sip.starts_with("INVITE "))
            .ok_or_else(|| Fail(format!("no INVITE between {one} and {other}")))
    }
}

fn is_teams_media(packet: &Packet) -> bool {
    let hosts = [*packet.from.ip(), *packet.to.ip()];
    let media = lab::MEDIA_PORTS.contains(&packet.from.port());
    media && (hosts == [lab::BORDER, lab::USER] || hosts == [lab::USER, lab::BORDER])
}

/// The part of a header that belongs to its leg alone: a tag, a branch, a Call-ID.
fn mark<'a>(sip: &'a str, name: &str) -> Option<&'a str> {
    let value = header(sip, name)?;
    match name {
        "From" => value.split("tag=").nth(1),
        // A proxy adds its own above: the lowest one is the leg's.
        "Via" => headers(sip, name).last()?.split("branch=").nth(1)?.split(';').next(),
        _ => Some(value),
    }
}

pub(super) fn header<'a>(sip: &'a str, name: &str) -> Option<&'a str> {
    headers(sip, name).next()
}

pub(super) fn headers<'a>(sip: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    sip.lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .filter(move |(found, _)| found.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn has_any(text: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| text.contains(part))
}

#[cfg(test)]
mod tests {
    use super::{header, mark};

    const INVITE: &str = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP proxy;branch=z9hG4bKp\r\n\
                          Via: SIP/2.0/TLS own;branch=z9hG4bKo;rport\r\nFROM: <sip:c@d>;tag=77\r\n\
                          Call-ID: x@y\r\n\r\nFrom: body";

    #[test]
    fn the_mark_of_a_leg_is_its_own_and_not_the_proxys() {
        assert_eq!(mark(INVITE, "Via"), Some("z9hG4bKo"));
        assert_eq!(mark(INVITE, "From"), Some("77"));
        assert_eq!(header(INVITE, "call-id"), Some("x@y"));
    }
}
