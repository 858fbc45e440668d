//! Which keys the far side of a leg presses, by whatever it tells them.
//!
//! Events come in any order and with gaps (RFC 4733, 2.6.1): a key counts from the first report of it
//! that comes, whichever that is, and is over with a report that says so, with the next key, or when
//! no more reports come.

use super::event::Event;
use crate::rtp::Header;
use sdp::Key;
use std::time::{Duration, Instant};

/// How long the last report of a key may be back before it counts as released: reports come every
/// 20 to 50 ms, and more than three in a row are seldom lost.
const LOST_END: Duration = Duration::from_millis(200);
/// A far side that tells a key twice (as event and as INFO) does so well within this time: it is
/// believed in the way it was first heard, until it has told nothing that way for so long.
const ONE_WAY: Duration = Duration::from_secs(2);

/// How a key was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A telephone event (RFC 4733).
    Event,
    /// SIP INFO.
    Info,
    /// Two tones in the speech.
    Tones,
}

/// What a far side does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It presses a key.
    Press(u8),
    /// It releases the key that it has pressed.
    Release(Key),
}

/// What it does at once: at most it releases one key, presses the next and releases that.
#[derive(Clone, Copy, Default)]
pub(crate) struct Steps([Option<Step>; 3]);

impl Steps {
    fn push(&mut self, step: Step) {
        if let Some(free) = self.0.iter_mut().find(|place| place.is_none()) {
            *free = Some(step);
        }
    }
}

impl IntoIterator for Steps {
    type Item = Step;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Step>, 3>>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

/// The ear of a leg.
#[derive(Default)]
pub(crate) struct Hearing {
    event: Option<Heard>,
    tone: Option<Tone>,
    /// How keys come, and when the last was heard so.
    believed: Option<(Way, Instant)>,
    /// Keys that counted.
    pub(crate) keys: u64,
}

/// A tone that is heard.
#[derive(Clone, Copy)]
struct Tone {
    code: u8,
    began: Instant,
    at: Instant,
    /// The far side has told the same in another way.
    twice: bool,
}

/// The last event.
#[derive(Clone, Copy)]
struct Heard {
    code: u8,
    ssrc: u32,
    timestamp: u32,
    /// The highest sequence number of its reports.
    sequence: u16,
    duration: u16,
    /// What earlier segments of it took (RFC 4733, 2.5.1.3).
    before: u32,
    clock_hz: u32,
    at: Instant,
    over: bool,
    /// As for [`Tone`].
    twice: bool,
}

impl Hearing {
    /// A report of an event came in; `marker` says that a new one begins. `None`: it is not to be
    /// believed, as the far side tells its keys in another way or the report is late.
    pub(crate) fn event(
        &mut self,
        now: Instant,
        (header, marker): (&Header, bool),
        clock_hz: u32,
        event: Event,
    ) -> Option<Steps> {
        let mut steps = Steps::default();
        match &mut self.event {
            Some(heard) if heard.goes_on(header, marker, event) => heard.follow(now, header, event),
            // Of a key before the last.
            Some(heard) if !heard.is_followed_by(header) => return None,
            _ => {
                if let Some(key) = self.end_event() {
                    steps.push(Step::Release(key));
                }
                let twice = !self.believes(now, Way::Event);
                if !twice {
                    self.keys += 1;
                    steps.push(Step::Press(event.code));
                }
                self.event = Some(Heard::first(now, header, clock_hz, event, twice));
            }
        }
        let twice = self.event.as_ref().is_some_and(|heard| heard.twice);
        self.note(now);
        if event.end
            && let Some(key) = self.end_event()
        {
            steps.push(Step::Release(key));
        }
        (!twice).then_some(steps)
    }

    /// The far side has told a key by INFO; whether it counts.
    pub(crate) fn info(&mut self, now: Instant) -> bool {
        let counts = self.believes(now, Way::Info);
        self.keys += u64::from(counts);
        counts
    }

    /// The tones of a key begin, change or end.
    pub(crate) fn tone(&mut self, now: Instant, code: Option<u8>) -> Steps {
        let mut steps = Steps::default();
        if let Some(tone) = self.tone.as_mut().filter(|tone| Some(tone.code) == code) {
            tone.at = now;
            self.note(now);
            return steps;
        }
        if let Some(key) = self.end_tone(now) {
            steps.push(Step::Release(key));
        }
        if let Some(code) = code {
            let twice = !self.believes(now, Way::Tones);
            self.tone = Some(Tone { code, began: now, at: now, twice });
            if !twice {
                self.keys += 1;
                steps.push(Step::Press(code));
            }
        }
        steps
    }

    /// Whether the speech is a key's tones now.
    pub(crate) const fn is_tone(&self) -> bool {
        self.tone.is_some()
    }

    /// When [`Self::overdue`] has something to say.
    pub(crate) fn due(&self) -> Option<Instant> {
        let event = self.event.as_ref().filter(|heard| !heard.over).map(|heard| heard.at);
        event.into_iter().chain(self.tone.map(|tone| tone.at)).min().map(|at| at + LOST_END)
    }

    /// A key whose end was lost.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<Key> {
        let lost = |at: Instant| at + LOST_END <= now;
        if self.event.as_ref().is_some_and(|heard| !heard.over && lost(heard.at)) {
            return self.end_event();
        }
        match self.tone {
            Some(tone) if lost(tone.at) => self.end_tone(tone.at),
            _ => None,
        }
    }

    /// The tone that is heard is over; its key, if it counted.
    fn end_tone(&mut self, now: Instant) -> Option<Key> {
        let tone = self.tone.take().filter(|tone| !tone.twice)?;
        let held = now.saturating_duration_since(tone.began);
        Some(Key { event: tone.code, held })
    }

    /// The event that is open is over; its key, if it counted.
    fn end_event(&mut self) -> Option<Key> {
        let heard = self.event.as_mut().filter(|heard| !heard.over)?;
        heard.over = true;
        (!heard.twice).then(|| heard.key())
    }

    /// Whether keys that come this way count now.
    fn believes(&mut self, now: Instant, way: Way) -> bool {
        let other = self.believed.filter(|(believed, _)| *believed != way);
        if other.is_some_and(|(_, at)| now.saturating_duration_since(at) < ONE_WAY) {
            return false;
        }
        self.believed = Some((way, now));
        true
    }

    /// A key is being told, whichever way: until it is over it is no other.
    fn note(&mut self, now: Instant) {
        if let Some((_, at)) = &mut self.believed {
            *at = now;
        }
    }
}

impl std::fmt::Debug for Hearing {
    /// Shows no digit.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hearing").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Heard {
    fn first(now: Instant, header: &Header, clock_hz: u32, event: Event, twice: bool) -> Self {
        Self {
            code: event.code,
            ssrc: header.ssrc,
            timestamp: header.timestamp,
            sequence: header.sequence,
            duration: event.duration,
            before: 0,
            clock_hz,
            at: now,
            over: false,
            twice,
        }
    }

    fn is_followed_by(&self, header: &Header) -> bool {
        self.ssrc != header.ssrc || (header.sequence.wrapping_sub(self.sequence) as i16) > 0
    }

    /// Whether this is a report of the same key: of one timestamp, of its next segment (RFC 4733,
    /// 2.5.1.3), or of a sender that gives each report its own timestamp.
    fn goes_on(&self, header: &Header, marker: bool, event: Event) -> bool {
        if self.ssrc != header.ssrc || self.code != event.code {
            return false;
        }
        if self.timestamp == header.timestamp {
            return true;
        }
        let grows = event.duration > self.duration && self.duration > 0;
        !self.over && !marker && (self.is_next_segment(header) || grows)
    }

    /// A segment is full at 65 535 units; its last reports may be those that were lost.
    fn is_next_segment(&self, header: &Header) -> bool {
        let since = header.timestamp.wrapping_sub(self.timestamp);
        self.duration >= SEGMENT_MIN
            && (u32::from(SEGMENT_MIN)..=u32::from(u16::MAX)).contains(&since)
    }

    fn follow(&mut self, now: Instant, header: &Header, event: Event) {
        if self.over {
            return;
        }
        self.at = now;
        if !self.is_followed_by(header) {
            return;
        }
        if self.timestamp != header.timestamp && self.is_next_segment(header) {
            self.before = self.before.saturating_add(header.timestamp.wrapping_sub(self.timestamp));
            self.duration = 0;
        }
        self.timestamp = header.timestamp;
        self.sequence = header.sequence;
        self.duration = self.duration.max(event.duration);
    }

    fn key(&self) -> Key {
        let units = u64::from(self.before) + u64::from(self.duration);
        let held_us = units * 1_000_000 / u64::from(self.clock_hz.max(1));
        Key { event: self.code, held: Duration::from_micros(held_us) }
    }
}

/// What is shorter was no segment that had to end.
const SEGMENT_MIN: u16 = 1 << 15;
