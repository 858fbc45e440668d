//! Directions whose packets need other addresses and nothing else: they may be sent on where that costs
//! less than coming here.
//!
//! ```text
//!  offloadable(side) ──▶ Flow ──▶ whoever carries it: what is not exactly of this flow comes here
//!  absorb(side, ..)  ◀── each packet that went by, before anything else is asked or told
//! ```
//!
//! What is measured of packets that went by is what would have been of packets that came here: the
//! headers of all of them are told, with the time that they came at.

use super::{Forward, pair};
use crate::Side;
use crate::leg::LegMedia;
use crate::rtp::{FIXED_HEADER, Header};
use crate::transform::{Path, Transform};
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

/// What the packets of one direction are, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The one source that is believed.
    pub from: SocketAddr,
    /// Where they go.
    pub to: SocketAddr,
    /// Their SSRC, which stays.
    pub ssrc: u32,
    /// What is added to their sequence numbers.
    pub shift: u16,
    /// What each payload type becomes; [`Self::COMES_HERE`] for those that are not of the flow.
    pub payload_types: [u8; 128],
}

impl Flow {
    /// Stands for no payload type: they have seven bits.
    pub const COMES_HERE: u8 = 0xff;
}

/// A packet of a flow that went by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// When it came.
    pub at: Instant,
    /// Its payload type, as it came.
    pub payload_type: u8,
    /// Its sequence number, as it came.
    pub sequence: u16,
    /// Its timestamp.
    pub timestamp: u32,
    /// Its length, header included.
    pub octets: u16,
    /// The length of its payload.
    pub payload_octets: u16,
}

/// Why the packets of a direction have to come here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// Nothing is agreed, or the direction is on hold.
    NotAgreed,
    /// It is a fax.
    Fax,
    /// They have to be encrypted or decrypted.
    Encrypted,
    /// They pass as they are, but their tags are checked.
    Authenticated,
    /// Whose they are is not settled.
    NotLatched,
    /// Others than the one that is carried may yet answer.
    Early,
    /// Keys are listened for in the speech.
    KeysInSpeech,
    /// Keys, sounds or comfort noise of ours go out instead, or may at any time.
    OursBetween,
    /// Ours went out a short while ago, and their numbers are not all moved alike yet.
    Renumbered,
    /// Their speech has to become that of another codec.
    Transcoded,
}

impl Stays {
    /// In words for a log.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotAgreed => "nothing is to pass now",
            Self::Fax => "it is a fax",
            Self::Encrypted => "SRTP has to be made or opened",
            Self::Authenticated => "the tags of SRTP are checked",
            Self::NotLatched => "the source is not latched yet",
            Self::Early => "other branches may yet answer",
            Self::KeysInSpeech => "keys are listened for in the speech",
            Self::OursBetween => "keys, sounds or comfort noise of ours go between",
            Self::Renumbered => "packets of ours went out a short while ago",
            Self::Transcoded => "speech is turned into that of another codec",
        }
    }
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl Forward {
    /// What the packets that come in on `side` are, if each of them may go to the other leg without
    /// being seen here. To be asked again after everything that this call is told.
    ///
    /// A packet that is not exactly so (source, SSRC, payload type) has to come here, RTCP and all that is
    /// not RTP as well. SRTP whose keys are the far sides' own goes by only under an AEAD suite: nothing
    /// but its source's address is checked here either, while the tags of the others are.
    pub fn offloadable(&self, side: Side) -> Result<Flow, Stays> {
        let (from, to) = (&self.legs[side as usize], &self.legs[side.other() as usize]);
        let path = self.paths[side as usize].as_ref().ok_or(Stays::NotAgreed)?;
        if from.is_fax() || to.is_fax() {
            return Err(Stays::Fax);
        }
        if !from.hears() || !to.speaks() {
            return Err(Stays::NotAgreed);
        }
        if from.is_early() {
            return Err(Stays::Early);
        }
        let ssrc = from.reception.ssrc().ok_or(Stays::NotLatched)?;
        let payload_types = self.payload_types(side, path);
        if let Some((speech, _)) = from.reception.speech()
            && payload_types[usize::from(speech & 0x7f)] == Flow::COMES_HERE
        {
            return Err(Stays::Transcoded);
        }
        let (ssrc, shift) = match &path.transform {
            Transform::Plain => (ssrc, steady(from, to, ssrc)?),
            Transform::Pass(None) => (ssrc, 0),
            Transform::Pass(Some(_)) => return Err(Stays::Authenticated),
            _ => return Err(Stays::Encrypted),
        };
        Ok(Flow {
            from: from.source().ok_or(Stays::NotLatched)?,
            to: to.destination(crate::Component::Rtp).ok_or(Stays::NotLatched)?,
            ssrc,
            shift,
            payload_types,
        })
    }

    /// What becomes of each payload type: keys are for us to hear, and what stays behind to count.
    fn payload_types(&self, side: Side, path: &Path) -> [u8; 128] {
        let passes = path.transform.passes();
        std::array::from_fn(|number| {
            let payload_type = number as u8;
            let mapped = path.payloads.look(payload_type);
            let is_key = !passes && self.crossings[side as usize].event(payload_type).is_some();
            let stays = is_key || mapped.quiet || mapped.becomes.is_some() || is_rtcp(payload_type);
            mapped.number.filter(|_| !stays).unwrap_or(Flow::COMES_HERE)
        })
    }

    /// Takes down packets of `side` that went by as this flow, in the order they came in.
    pub fn absorb(&mut self, side: Side, flow: &Flow, passed: impl IntoIterator<Item = Passed>) {
        let Some(path) = self.paths[side as usize].as_ref() else { return };
        let (from, to) = pair(&mut self.legs, side);
        let passes = path.transform.passes();
        let mut last = None;
        for packet in passed {
            let mut header = Header {
                payload_type: packet.payload_type & 0x7f,
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                ssrc: flow.ssrc,
                payload_at: FIXED_HEADER,
            };
            // A silence ends with the first.
            if last.is_none()
                && let Some(notice) = from.watch.heard(packet.at)
            {
                self.notices.push(side, notice);
            }
            let clock_hz = path.payloads.look(header.payload_type).clock_hz;
            from.reception.count(packet.at, &header, clock_hz);
            if !passes {
                // Its place is known: numbers are steady.
                let _ = to.outgoing.follow(packet.at, &header, clock_hz.is_some());
            }
            from.came.count(packet.octets.into());
            to.went.count(packet.octets.into());
            header.payload_type = flow.payload_types[usize::from(header.payload_type)] & 0x7f;
            to.count_sent(packet.at, &header, packet.payload_octets.into(), clock_hz);
            last = Some(packet.at);
        }
        let Some(last) = last else { return };
        self.sooner = true;
        if let Some(notice) = from.watch.heard(last) {
            self.notices.push(side, notice);
        }
        from.rtp.note(flow.from, flow.ssrc, last);
        from.expect_reports(last);
        to.expect_reports(last);
        to.player.carries(last);
        self.look_for_the_unusual();
    }
}

/// What is added to the numbers of `ssrc`, if nothing is done to its packets beside.
fn steady(from: &LegMedia, to: &LegMedia, ssrc: u32) -> Result<u16, Stays> {
    if from.ear.is_some() {
        return Err(Stays::KeysInSpeech);
    }
    if to.pressing.is_busy() || !to.player.is_idle() {
        return Err(Stays::OursBetween);
    }
    match to.outgoing.steady() {
        Some((carried, shift)) if carried == ssrc => Ok(shift),
        Some(_) => Err(Stays::NotLatched),
        None => Err(Stays::Renumbered),
    }
}

/// These are RTCP where both share a port (RFC 5761, 4).
const fn is_rtcp(payload_type: u8) -> bool {
    64 <= payload_type && payload_type <= 95
}
