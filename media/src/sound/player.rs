//! Plays to the far side of a leg: a sound instead of what would be carried, or comfort noise while
//! nothing is (RFC 3389).

use super::sine;
use crate::PacketBuf;
use crate::g711::{Law, RATE_HZ};
use crate::keys::law_of;
use crate::outgoing::{Ours, Outgoing};
use sdp::{Payload, Sound, Stream, Terms, Tone};
use std::time::{Duration, Instant};

/// A packet of 20 ms.
const FRAME: usize = RATE_HZ as usize / 50;
const STEP: Duration = Duration::from_millis(20);
/// Nothing was carried for so long: the other side is silent, not late.
const SILENT: Duration = Duration::from_millis(300);
/// Between two packets of comfort noise: as often as senders of it refresh theirs.
const NOISE_STEP: Duration = Duration::from_millis(200);
/// The level of comfort noise, in -dBov (RFC 3389, 3.1): as quiet as a quiet room.
const NOISE_LEVEL: u8 = 65;
/// The amplitude of noise that we make ourselves, out of 32 767.
const NOISE_AMPLITUDE: i32 = 16;
/// A tone of the network is at -13 dBm0 for each of its frequencies (ITU-T E.180).
const TONE_LEVEL: i32 = sine::amplitude(13);

/// What one leg's far side is played: most are played nothing.
#[derive(Debug, Default)]
pub(crate) struct Player {
    /// Sounds that could not be played for want of G.711.
    pub(crate) unplayed: u64,
    playing: Option<Box<Playing>>,
}

/// A sound, or noise, and how far it has come.
#[derive(Debug, Default)]
struct Playing {
    /// The payload type and law that we speak there; `None`: no G.711 is agreed.
    voice: Option<(u8, Law)>,
    /// The payload type of comfort noise, where that is agreed and wanted.
    noise: Noise,
    plays: Option<Sound>,
    /// Samples of it so far.
    at: u64,
    /// The timestamp of the next packet, where it follows the last without a pause.
    follows: Option<u32>,
    /// When the next packet is due, of what is played.
    due: Option<Instant>,
    /// When something was last carried, or the leg was ready for it.
    carried: Option<Instant>,
    /// When the next noise is due, while nothing is carried.
    noisy: Option<Instant>,
    /// The agreement is new: times are still to be set.
    fresh: bool,
    random: u32,
}

/// What a leg hears while nothing is carried to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Noise {
    /// Nothing.
    #[default]
    No,
    /// Comfort noise in this payload type.
    Described(u8),
    /// Noise in the voice.
    Spoken,
}

impl Player {
    /// The leg has agreed anew. A sound that stays goes on.
    pub(crate) fn agree(&mut self, stream: &Stream, terms: &Terms) {
        if terms.plays.is_none() && !terms.comfort_noise {
            self.playing = None;
            return;
        }
        let playing = self.playing.get_or_insert_default();
        let is_new = playing.plays != terms.plays;
        playing.agree(stream, terms);
        self.unplayed += u64::from(is_new && terms.plays.is_some() && playing.voice.is_none());
    }

    /// Nothing can be sent there.
    pub(crate) fn stop(&mut self) {
        if let Some(playing) = &mut self.playing {
            playing.stop();
        }
    }

    /// There is nowhere to send to yet: it is looked at again soon.
    pub(crate) fn wait(&mut self, now: Instant) {
        if let Some(playing) = &mut self.playing {
            playing.wait(now);
        }
    }

    /// Whether something is played: what would be carried stays behind.
    pub(crate) fn is_playing(&self) -> bool {
        self.playing.as_ref().is_some_and(|playing| playing.is_playing())
    }

    /// Whether nothing of ours is heard, whatever is carried or not.
    pub(crate) fn is_idle(&self) -> bool {
        self.playing.as_ref().is_none_or(|playing| playing.is_idle())
    }

    /// Whether the next packet that is carried is the first after which noise may be due.
    pub(crate) fn begins_to_wait(&self) -> bool {
        self.playing.as_ref().is_some_and(|playing| playing.carried.is_none())
    }

    /// Something is carried to the far side: it hears that.
    pub(crate) fn carries(&mut self, now: Instant) {
        if let Some(playing) = &mut self.playing {
            playing.carried = Some(now);
            (playing.noisy, playing.follows) = (None, None);
        }
    }

    /// Sets the times of a new agreement.
    pub(crate) fn begin(&mut self, now: Instant) {
        if let Some(playing) = &mut self.playing {
            playing.begin(now);
        }
    }

    /// When [`Self::write`] has a packet.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.playing.as_ref()?.due()
    }

    /// Writes the packet that is due; `false` if none is. While keys are pressed there, a sound goes on
    /// unheard.
    pub(crate) fn write(
        &mut self,
        now: Instant,
        pressing: bool,
        outgoing: &mut Outgoing,
        slot: &mut PacketBuf,
    ) -> bool {
        let playing = self.playing.as_mut();
        playing.is_some_and(|playing| playing.write(now, pressing, outgoing, slot))
    }
}

impl Playing {
    fn agree(&mut self, stream: &Stream, terms: &Terms) {
        let speech = |it: &Payload| Some((it.number, law_of(it)?));
        self.voice = stream.payloads.iter().find_map(speech);
        let described = stream.payloads.iter().find(|it| it.is_noise() && it.clock_hz == RATE_HZ);
        let was_quiet = self.noise == Noise::No;
        self.noise = match (terms.comfort_noise, described, self.voice) {
            (false, ..) | (true, None, None) => Noise::No,
            (true, Some(described), _) => Noise::Described(described.number),
            (true, None, Some(_)) => Noise::Spoken,
        };
        // Until now nobody had to say when something was carried.
        if was_quiet && self.noise != Noise::No {
            self.carried = None;
        }
        if self.plays != terms.plays {
            self.plays.clone_from(&terms.plays);
            (self.at, self.due, self.follows) = (0, None, None);
        }
        if !stream.direction.sends() {
            self.stop();
        }
        self.fresh = stream.direction.sends();
    }

    const fn stop(&mut self) {
        (self.due, self.carried, self.noisy, self.follows) = (None, None, None, None);
    }

    fn wait(&mut self, now: Instant) {
        self.due = self.due.map(|_| now + STEP);
        self.carried = self.carried.map(|_| now);
        (self.noisy, self.follows) = (None, None);
    }

    const fn is_playing(&self) -> bool {
        self.plays.is_some() && self.voice.is_some()
    }

    fn is_idle(&self) -> bool {
        !self.is_playing() && self.noise == Noise::No
    }

    fn begin(&mut self, now: Instant) {
        if std::mem::take(&mut self.fresh) {
            if self.is_playing() && self.due.is_none() {
                self.due = Some(now);
            }
            self.carried = self.carried.or(Some(now));
        }
    }

    fn due(&self) -> Option<Instant> {
        if self.is_playing() {
            return self.due;
        }
        match self.noise {
            Noise::No => None,
            _ => self.noisy.or_else(|| self.carried.map(|at| at + SILENT)),
        }
    }

    fn write(
        &mut self,
        now: Instant,
        pressing: bool,
        outgoing: &mut Outgoing,
        slot: &mut PacketBuf,
    ) -> bool {
        let Some(due) = self.due().filter(|due| *due <= now) else { return false };
        let first = self.at == 0;
        let playing = self.is_playing();
        // A thread that was late goes on from now.
        let step = if playing || self.noise == Noise::Spoken { STEP } else { NOISE_STEP };
        let late = due + step + STEP < now;
        let next = if late { now + step } else { due + step };
        let mut frame = [0; FRAME];
        let silent = self.noisy.is_none();
        if playing {
            self.due = Some(next);
            self.at += FRAME as u64;
        } else {
            self.noisy = Some(next);
        }
        let follows = self.follows.take().filter(|_| !late);
        if pressing {
            return false;
        }
        let timestamp = follows.unwrap_or_else(|| outgoing.clock(now, RATE_HZ));
        self.follows = Some(timestamp.wrapping_add((step.as_millis() as u32) * (RATE_HZ / 1000)));
        let (payload_type, marker, payload) = match (playing, self.noise, self.voice) {
            (true, _, Some((number, law))) => {
                self.sound(law, &mut frame);
                (number, first, &frame[..])
            }
            (false, Noise::Described(number), _) => {
                frame[0] = NOISE_LEVEL;
                (number, false, &frame[..1])
            }
            (false, Noise::Spoken, Some((number, law))) => {
                for octet in &mut frame {
                    *octet = law.encode(self.roll());
                }
                (number, silent, &frame[..])
            }
            _ => return false,
        };
        outgoing.write(
            now,
            slot,
            &Ours { payload_type, marker, timestamp, clocked: true, payload },
        );
        true
    }

    /// The frame that ends at the sample that is next.
    fn sound(&self, law: Law, frame: &mut [u8; FRAME]) {
        let first = self.at - FRAME as u64;
        match &self.plays {
            Some(Sound::Tone(tone)) => {
                for (octet, at) in frame.iter_mut().zip(first..) {
                    *octet = law.encode(tone_at(tone, at));
                }
            }
            Some(Sound::Recording(recording)) => {
                let samples = recording.samples();
                for (octet, at) in frame.iter_mut().zip(first..) {
                    let at = (at % samples.len().max(1) as u64) as usize;
                    *octet = law.encode(samples.get(at).copied().unwrap_or_default());
                }
            }
            None => frame.fill(law.encode(0)),
        }
    }

    /// White noise.
    fn roll(&mut self) -> i16 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let roll = (self.random >> 16) as i32 - 32_768;
        ((roll * NOISE_AMPLITUDE) >> 15) as i16
    }
}

/// One sample of a tone that began with sample 0.
fn tone_at(tone: &Tone, at: u64) -> i16 {
    let spans = tone.cadence_ms.map(|ms| u64::from(ms) * u64::from(RATE_HZ) / 1000);
    let round: u64 = spans.iter().sum();
    let mut within = if round > 0 { at % round } else { at };
    for (place, span) in spans.iter().enumerate() {
        if within < *span {
            if place % 2 == 1 {
                return 0;
            }
            break;
        }
        within -= span;
    }
    let sum: i32 = tone
        .hz
        .iter()
        .filter(|hz| **hz > 0)
        .map(|hz| (i32::from(sine::sample(u32::from(*hz), at)) * TONE_LEVEL) >> 15)
        .sum();
    sum as i16
}
