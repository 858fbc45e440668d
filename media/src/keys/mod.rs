//! Keys of a telephone: heard on one leg, pressed towards the other.
//!
//! ```text
//!  far side ── events, tones ──▶ Hearing ─┐               ┌─▶ events pass, packet by packet
//!           ── INFO ──▶ signalling ───────┴─▶ Crossing ───┼─▶ Pressing: events or tones of ours
//!                                                         └─▶ Notice::Pressed: signalling sends INFO
//! ```
//!
//! What becomes of a key is settled when the legs agree. No digit is kept longer than it takes to
//! press it, and none is shown: it may be part of a PIN.

mod event;
mod hearing;
mod pressing;
mod tones;

pub(crate) use hearing::{Hearing, Step};
pub(crate) use pressing::{How, Pressing};

use crate::agreed::Agreed;
use crate::g711::Law;
use crate::rtp::Header;
use event::{Event, FLASH};
use sdp::{Dtmf, Payload, Stream};
use std::time::Instant;
use tones::Detector;

/// What becomes of the events that come in on one leg, on their way to the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crossing {
    /// The event payload types that come in: number, clock, and whether they pass as they are.
    events: Box<[(u8, u32, bool)]>,
}

impl Crossing {
    /// Between two legs that have agreed. Events pass where both legs have them at one clock and
    /// the far side is told keys so.
    pub(crate) fn between(from: &Agreed, to: &Agreed, told: Dtmf) -> Self {
        let speech = |agreed: &Agreed| agreed.payloads.iter().find(|p| p.is_speech()).cloned();
        let speech_passes = match (speech(from), speech(to)) {
            (Some(one), Some(_)) => to.payloads.iter().any(|other| other.same_encoding(&one)),
            _ => false,
        };
        let as_events = matches!(told, Dtmf::Auto | Dtmf::Rfc4733) && speech_passes;
        let passes = |event: &Payload| {
            as_events && to.payloads.iter().any(|other| other.same_encoding(event))
        };
        let events = from.payloads.iter().filter(|payload| payload.is_event());
        Self { events: events.map(|it| (it.number, it.clock_hz, passes(it))).collect() }
    }

    /// Whether keys that come in as events may have to be pressed on the other leg.
    pub(crate) fn has_keys_pressed(&self) -> bool {
        self.events.iter().any(|(_, _, passes)| !passes)
    }

    /// The clock of an event payload type, and whether it passes; `None` for anything else.
    pub(crate) fn event(&self, payload_type: u8) -> Option<(u32, bool)> {
        let known = self.events.iter().find(|(number, ..)| *number == payload_type);
        known.map(|(_, clock_hz, passes)| (*clock_hz, *passes))
    }
}

/// What hears keys in the speech of a leg.
#[derive(Debug)]
pub(crate) struct Ear {
    /// Its payload types in G.711.
    laws: Box<[(u8, Law)]>,
    detector: Detector,
}

impl Ear {
    /// For a leg that has agreed this stream, if its keys come in the speech.
    pub(crate) fn of(stream: &Stream, told: Dtmf) -> Option<Box<Self>> {
        let laws = stream.payloads.iter().filter_map(|it| Some((it.number, law_of(it)?)));
        let laws: Box<[_]> = laws.collect();
        let hears = told == Dtmf::Inband && !laws.is_empty();
        hears.then(|| Box::new(Self { laws, detector: Detector::new() }))
    }

    /// The key that is heard at the end of a packet.
    fn hear(&mut self, payload_type: u8, payload: &[u8]) -> Option<u8> {
        let (_, law) = self.laws.iter().find(|(number, _)| *number == payload_type)?;
        self.detector.hear(*law, payload)
    }
}

/// What is to be done with a packet that may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Passes,
    /// The other leg must not have it.
    StaysBehind,
    /// It is an event and does not look like one.
    Malformed,
}

/// Looks for keys in a packet that is believed. `tell` is told what the far side does with them,
/// where the packet itself does not tell the other leg, which is `busy` pressing another.
pub(crate) fn hear(
    now: Instant,
    (hearing, ear): (&mut Hearing, Option<&mut Ear>),
    crossing: &Crossing,
    (header, packet): (&Header, &[u8]),
    busy: bool,
    mut tell: impl FnMut(Step),
) -> Fate {
    let payload = packet.get(header.payload_at..).unwrap_or_default();
    if let Some((clock_hz, passes)) = crossing.event(header.payload_type) {
        let Some(event) = Event::read(payload) else { return Fate::Malformed };
        if event.code > FLASH {
            return if passes { Fate::Passes } else { Fate::StaysBehind };
        }
        let marker = packet.get(1).is_some_and(|octet| octet & 0x80 != 0);
        let Some(steps) = hearing.event(now, (header, marker), clock_hz, event) else {
            return Fate::StaysBehind;
        };
        if passes && !busy {
            return Fate::Passes;
        }
        steps.into_iter().for_each(tell);
        return Fate::StaysBehind;
    }
    if let Some(ear) = ear {
        let code = ear.hear(header.payload_type, payload);
        hearing.tone(now, code).into_iter().for_each(&mut tell);
        if hearing.is_tone() {
            return Fate::StaysBehind;
        }
    }
    Fate::Passes
}

/// The law of a payload type, where it is G.711.
pub(crate) fn law_of(payload: &Payload) -> Option<Law> {
    Law::of(&payload.encoding).filter(|_| payload.clock_hz == crate::g711::RATE_HZ)
}
