//! Presses keys towards the far side of a leg: as telephone events (RFC 4733, 2.5.1) or as tones in
//! its G.711.
//!
//! While a key is pressed, what would be carried to that side stays behind.

use super::event::Event;
use super::tones;
use crate::PacketBuf;
use crate::g711::{Law, RATE_HZ};
use crate::outgoing::{Ours, Outgoing};
use sdp::{Dtmf, Stream};
use std::time::{Duration, Instant};

/// Keys that may wait for those before them: a calling card number with its PIN, pressed at once.
/// Further ones are not pressed, and counted.
const WAITING_MAX: usize = 48;
/// Reports of an event, and frames of a tone, come in packets of this length.
const STEP: Duration = Duration::from_millis(20);
/// A key is held at least so long; detectors may ignore what is shorter than 40 ms (ITU-T Q.24).
const HELD_MIN: Duration = Duration::from_millis(60);
/// No key is held longer: whoever says so says it in error.
const HELD_MAX: Duration = Duration::from_secs(60);
/// Between two keys (ITU-T Q.24 asks for 40 ms). An event's last report is repeated meanwhile.
const PAUSE_STEPS: u32 = 3;
/// An event's last report goes out three times (RFC 4733, 2.5.1.4).
const ENDS: u32 = 3;

/// How the far side of a leg is told keys, as its stream and terms have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum How {
    /// It cannot be told.
    #[default]
    Not,
    /// Signalling tells it; where it cannot, tones are left, if this law is spoken.
    BySignalling(Option<(u8, Law)>),
    /// By events of this payload type and clock, in a stream whose speech has that clock.
    Events { number: u8, clock_hz: u32, speech_hz: u32 },
    /// By tones in this payload type.
    Tones(u8, Law),
}

impl How {
    /// For a leg that has agreed this stream.
    pub(crate) fn of(stream: &Stream, told: Dtmf) -> Self {
        let speech = stream.payloads.iter().find(|payload| payload.is_speech());
        let speech_hz = speech.map_or(RATE_HZ, |payload| payload.clock_hz);
        let fits = |clock_hz: u32| clock_hz == speech_hz;
        // An event at another clock than the speech's still dials (TDR-COD-006).
        let event = stream.payloads.iter().filter(|payload| payload.is_event());
        let event = event.min_by_key(|payload| !fits(payload.clock_hz));
        let events =
            event.map(|it| Self::Events { number: it.number, clock_hz: it.clock_hz, speech_hz });
        let law = speech.and_then(|payload| Some((payload.number, super::law_of(payload)?)));
        let tones = law.map(|(number, law)| Self::Tones(number, law));
        match told {
            Dtmf::Auto => events.unwrap_or(Self::BySignalling(law)),
            Dtmf::Rfc4733 => events.unwrap_or_default(),
            Dtmf::Info => Self::BySignalling(law),
            Dtmf::Inband => tones.or(events).unwrap_or_default(),
        }
    }
}

/// How keys are pressed on a leg.
#[derive(Default)]
pub(crate) struct Pressing {
    how: How,
    /// Keys that were not pressed: too many waited, or the far side cannot be told.
    pub(crate) lost: u64,
    /// What presses them: most legs need none, as their keys pass by as they come.
    finger: Option<Box<Finger>>,
}

/// The keys of a leg that are pressed, one after the other.
#[derive(Default)]
struct Finger {
    waiting: Waiting,
    /// Since when there is something to begin.
    ready: Option<Instant>,
    now: Option<Pressed>,
}

/// A key to be pressed.
#[derive(Clone, Copy, Default)]
struct Press {
    code: u8,
    /// Zero, which is no time to hold a key for: until it is released. Many wait without gaps.
    held_ms: [u8; 2],
}

impl Press {
    fn new(code: u8, held: Option<Duration>) -> Self {
        Self { code, held_ms: held.map_or(0, within_ms).to_ne_bytes() }
    }

    fn held(self) -> Option<Duration> {
        let ms = u16::from_ne_bytes(self.held_ms);
        (ms > 0).then(|| Duration::from_millis(ms.into()))
    }

    fn hold(&mut self, held: Duration) {
        self.held_ms = within_ms(held).to_ne_bytes();
    }
}

/// The key that is pressed now.
struct Pressed {
    key: Press,
    how: How,
    began: Instant,
    /// What began then, on the stream's clock.
    timestamp: u32,
    /// Packets so far.
    steps: u32,
    /// Of those, the ones after its end.
    after: u32,
    /// Units of earlier segments (RFC 4733, 2.5.1.3).
    before: u32,
    /// How long it has lasted by the last report.
    reported: Duration,
    due: Instant,
}

impl Pressing {
    /// The leg has agreed anew. A key that is half pressed is given up if it cannot go on.
    pub(crate) fn agree(&mut self, stream: &Stream, told: Dtmf) {
        self.how = How::of(stream, told);
        if let Some(finger) = &mut self.finger {
            let how = self.how;
            finger.now.take_if(|pressed| pressed.how != how && pressed.how != how.with_tones());
        }
    }

    /// Packets may have keys pressed from now on: they find what is needed for it, and wait for no memory.
    pub(crate) fn get_ready(&mut self) {
        self.finger.get_or_insert_default();
    }

    pub(crate) const fn how(&self) -> How {
        self.how
    }

    /// A key begins; `held` says for how long, unless [`Self::release`] will.
    pub(crate) fn press(&mut self, now: Instant, code: u8, held: Option<Duration>) {
        let can = matches!(self.how.with_tones(), How::Events { .. } | How::Tones(..));
        let can = can && (code < tones::KEYS || matches!(self.how, How::Events { .. }));
        let finger = self.finger.get_or_insert_default();
        if !finger.is_busy() {
            finger.ready = Some(now);
        }
        if !can || !finger.waiting.push(Press::new(code, held)) {
            self.lost += 1;
        }
    }

    /// The key that began last was released after this time.
    pub(crate) fn release(&mut self, now: Instant, code: u8, held: Duration) {
        let Some(finger) = &mut self.finger else { return };
        let newest = finger.waiting.newest();
        let pressed = finger.now.as_mut().map(|pressed| &mut pressed.key);
        // Only if it waits no more is it the one that is pressed.
        let open = newest.or(pressed).filter(|key| key.held().is_none() && key.code == code);
        if let Some(key) = open {
            key.hold(held);
        }
        if let Some(pressed) = finger.now.as_mut().filter(|it| it.after == 0 && it.is_over(now)) {
            pressed.due = now;
        }
    }

    /// Forgets everything: nothing may be sent there.
    pub(crate) fn stop(&mut self) {
        let Some(finger) = &mut self.finger else { return };
        self.lost += u64::from(finger.waiting.len) + u64::from(finger.now.is_some());
        (finger.now, finger.waiting) = (None, Waiting::default());
    }

    /// Whether a key is pressed, or about to be: what is carried stays behind.
    pub(crate) fn is_busy(&self) -> bool {
        self.finger.as_ref().is_some_and(|finger| finger.is_busy())
    }

    /// When [`Self::write`] has a packet.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.finger.as_ref()?.due()
    }

    /// Writes the packet that is due; `false` if none is.
    pub(crate) fn write(
        &mut self,
        now: Instant,
        outgoing: &mut Outgoing,
        slot: &mut PacketBuf,
    ) -> bool {
        let how = self.how.with_tones();
        self.finger.as_mut().is_some_and(|finger| finger.write(now, how, outgoing, slot))
    }
}

impl Finger {
    const fn is_busy(&self) -> bool {
        self.now.is_some() || self.waiting.len > 0
    }

    fn due(&self) -> Option<Instant> {
        match &self.now {
            Some(pressed) => Some(pressed.due),
            None => self.ready.filter(|_| self.waiting.len > 0),
        }
    }

    fn write(
        &mut self,
        now: Instant,
        how: How,
        outgoing: &mut Outgoing,
        slot: &mut PacketBuf,
    ) -> bool {
        if let Some(pressed) = &mut self.now {
            if pressed.due > now {
                return false;
            }
            if pressed.write(now, outgoing, slot) {
                return true;
            }
            self.now = None;
        }
        let Some(key) = self.waiting.pop() else { return false };
        let pressed = self.now.insert(Pressed::begin(now, key, how, outgoing));
        pressed.write(now, outgoing, slot)
    }
}

impl std::fmt::Debug for Pressing {
    /// Shows no digit.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pressing").field("how", &self.how).finish_non_exhaustive()
    }
}

impl How {
    /// What is left where signalling cannot tell it.
    fn with_tones(self) -> Self {
        match self {
            Self::BySignalling(Some((number, law))) => Self::Tones(number, law),
            other => other,
        }
    }
}

impl Pressed {
    fn begin(now: Instant, key: Press, how: How, outgoing: &Outgoing) -> Self {
        let speech_hz = match how {
            How::Events { speech_hz, .. } => speech_hz,
            _ => RATE_HZ,
        };
        let timestamp = outgoing.clock(now, speech_hz);
        Self {
            key,
            how,
            began: now,
            timestamp,
            steps: 0,
            after: 0,
            before: 0,
            reported: Duration::ZERO,
            due: now,
        }
    }

    /// Whether its time is over once the next packet has gone out.
    fn is_over(&self, now: Instant) -> bool {
        let lasted = now.saturating_duration_since(self.began) + STEP;
        self.key.held().is_some_and(|held| lasted >= held) || lasted >= HELD_MAX
    }

    /// The next packet; `false` once key and pause are over.
    fn write(&mut self, now: Instant, outgoing: &mut Outgoing, slot: &mut PacketBuf) -> bool {
        let wrote = match self.how {
            How::Events { number, clock_hz, speech_hz } => {
                self.report(now, (number, clock_hz, speech_hz), outgoing, slot)
            }
            How::Tones(number, law) => self.tone(now, (number, law), outgoing, slot),
            How::Not | How::BySignalling(_) => false,
        };
        // A thread that was late catches up with the key's time, not with its packets.
        let next = self.due + STEP;
        self.due = if next + STEP < now { now + STEP } else { next };
        wrote
    }

    fn report(
        &mut self,
        now: Instant,
        (number, clock_hz, speech_hz): (u8, u32, u32),
        outgoing: &mut Outgoing,
        slot: &mut PacketBuf,
    ) -> bool {
        if self.after == ENDS {
            return false;
        }
        let end = self.after > 0 || self.is_over(now);
        let lasted = match (end, self.key.held()) {
            (true, Some(held)) => held,
            _ => now.saturating_duration_since(self.began) + STEP,
        };
        // What was reported once is not taken back.
        let lasted = lasted.max(self.reported);
        self.reported = lasted;
        let units = (lasted.as_micros() * u128::from(clock_hz) / 1_000_000) as u32;
        let segment = units.saturating_sub(self.before);
        // A full segment is reported as such, and only then is it over (RFC 4733, 2.5.1.3).
        let full = segment > u32::from(u16::MAX);
        let duration = u16::try_from(segment).unwrap_or(u16::MAX);
        let since = u64::from(self.before) * u64::from(speech_hz) / u64::from(clock_hz.max(1));
        let payload = Event { code: self.key.code, end: end && !full, duration }.write();
        let ours = Ours {
            payload_type: number,
            marker: self.steps == 0,
            timestamp: self.timestamp.wrapping_add(since as u32),
            clocked: false,
            payload: &payload,
        };
        outgoing.write(now, slot, &ours);
        self.steps += 1;
        if full {
            self.before += u32::from(u16::MAX);
        } else if end {
            if self.key.held().is_none() {
                self.key.hold(lasted);
            }
            self.after += 1;
        }
        true
    }

    fn tone(
        &mut self,
        now: Instant,
        (number, law): (u8, Law),
        outgoing: &mut Outgoing,
        slot: &mut PacketBuf,
    ) -> bool {
        if self.after == PAUSE_STEPS {
            return false;
        }
        let first = u64::from(self.steps) * tones::FRAME as u64;
        let silent = self.after > 0;
        let mut frame = [law.encode(0); tones::FRAME];
        if !silent {
            tones::fill(&mut frame, law, self.key.code, first);
        }
        let ours = Ours {
            payload_type: number,
            marker: self.steps == 0,
            timestamp: self.timestamp.wrapping_add(first as u32),
            clocked: true,
            payload: &frame,
        };
        outgoing.write(now, slot, &ours);
        self.steps += 1;
        if silent || self.is_over(self.began + STEP * (self.steps - 1)) {
            self.after += 1;
        }
        true
    }
}

/// Keys that wait, in order, without allocation.
#[derive(Clone, Copy)]
struct Waiting {
    keys: [Press; WAITING_MAX],
    first: u8,
    len: u8,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { keys: [Press::default(); WAITING_MAX], first: 0, len: 0 }
    }
}

impl Waiting {
    /// Where the one is that has so many before it.
    fn place(&self, before: u8) -> usize {
        (usize::from(self.first) + usize::from(before)) % WAITING_MAX
    }

    fn push(&mut self, key: Press) -> bool {
        if usize::from(self.len) == WAITING_MAX {
            return false;
        }
        self.keys[self.place(self.len)] = key;
        self.len += 1;
        true
    }

    fn pop(&mut self) -> Option<Press> {
        if self.len == 0 {
            return None;
        }
        let key = std::mem::take(&mut self.keys[usize::from(self.first)]);
        self.first = self.place(1) as u8;
        self.len -= 1;
        Some(key)
    }

    fn newest(&mut self) -> Option<&mut Press> {
        let last = self.len.checked_sub(1)?;
        let place = self.place(last);
        self.keys.get_mut(place)
    }
}

/// The time that a key is held for, in ms.
fn within_ms(held: Duration) -> u16 {
    held.clamp(HELD_MIN, HELD_MAX).as_millis() as u16
}
