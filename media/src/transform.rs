//! What happens to a direction's packets, settled once per negotiation: the (profile, profile)
//! table and the payload type map.

pub use crate::agreed::End;
use crate::agreed::{Agreed, Keys};
use crate::rtp::Header;
use crate::srtp::{Authentic, Origin, Receiver, Sender};
use crate::transcode::Clock;
use crate::{Component, DropReason, PacketBuf, Stretch};
use sdp::{Codec, Conversion, Payload, SrtpKey, counterpart};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Contexts of keys that are not in force, kept in case they come back: a leg that goes to plain
/// RTP and back to its old key must not start its indices anew. Our own key is one per dialog, and
/// no far side changes its key so often.
const MAX_PARKED: usize = 8;
/// How long the key before goes on being heard once packets come in under a new agreement: those on
/// their way are there by then, and a far side that changes late has changed.
const OLD_KEY_HEARD: Duration = Duration::from_secs(5);
/// Payload types below this have one meaning everywhere or none (RFC 3551, 6).
const DYNAMIC_FROM: u8 = 35;

/// From one leg's profile to the other's.
#[derive(Debug)]
pub enum Transform {
    /// RTP to RTP.
    Plain,
    /// RTP to SRTP.
    Protect(Box<Sender>),
    /// SRTP to RTP.
    Unprotect(Box<Receiver>),
    /// SRTP to SRTP under another key.
    Rekey(Box<Receiver>, Box<Sender>),
    /// Keys are still to come, on either leg: nothing goes out.
    Keyless(End<Box<Receiver>>, End<Box<Sender>>),
    /// SRTP as it is, where both far sides have each other's keys. What authenticates packets without
    /// decrypting them; nothing does with an AEAD suite, where the source's address has to do.
    Pass(Option<Box<Receiver>>),
}

/// Who vouches for a packet that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nobody: the latch has to decide.
    Unproven,
    /// Its tag.
    Authentic(Authentic),
}

impl Transform {
    /// Takes what came in, under this header, to RTP.
    #[inline]
    pub fn open(&mut self, header: &Header, slot: &mut PacketBuf) -> Result<Opened, DropReason> {
        match self {
            Self::Plain | Self::Protect(_) | Self::Pass(None) | Self::Keyless(End::Plain, _) => {
                Ok(Opened::Unproven)
            }
            Self::Unprotect(from) | Self::Rekey(from, _) | Self::Keyless(End::Keyed(from), _) => {
                from.open(header, slot).map(Opened::Authentic)
            }
            Self::Keyless(End::Awaited, _) => Err(DropReason::NoKeys),
            Self::Pass(Some(from)) => from.verify(slot.packet()).map(Opened::Authentic),
        }
    }

    /// Takes what came in to RTCP.
    pub fn open_rtcp(&mut self, slot: &mut PacketBuf) -> Result<Opened, DropReason> {
        match self {
            Self::Plain | Self::Protect(_) | Self::Pass(None) | Self::Keyless(End::Plain, _) => {
                Ok(Opened::Unproven)
            }
            Self::Unprotect(from) | Self::Rekey(from, _) | Self::Keyless(End::Keyed(from), _) => {
                from.unprotect_rtcp(slot).map(Opened::Authentic)
            }
            Self::Keyless(End::Awaited, _) => Err(DropReason::NoKeys),
            Self::Pass(Some(from)) => from.verify_rtcp(slot.packet()).map(Opened::Authentic),
        }
    }

    /// Whether packets go out as they came: nothing of ours can go between them.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Pass(_))
    }

    /// Whether tags, and not addresses, say whose packets are: nothing else is taken.
    pub const fn authenticates(&self) -> bool {
        match self {
            Self::Unprotect(_) | Self::Rekey(..) | Self::Pass(Some(_)) => true,
            Self::Keyless(from, _) => !matches!(from, End::Plain),
            Self::Plain | Self::Protect(_) | Self::Pass(None) => false,
        }
    }

    /// Whether our key should be changed for another soon.
    pub const fn is_worn(&self) -> bool {
        match self {
            Self::Protect(to) | Self::Rekey(_, to) | Self::Keyless(_, End::Keyed(to)) => {
                to.is_worn()
            }
            Self::Plain | Self::Unprotect(_) | Self::Pass(_) | Self::Keyless(..) => false,
        }
    }

    /// Takes RTP with this header to what goes out.
    #[inline]
    pub fn seal(&mut self, header: &Header, slot: &mut PacketBuf) -> Result<(), DropReason> {
        match self {
            Self::Plain | Self::Unprotect(_) | Self::Keyless(_, End::Plain) => Ok(()),
            Self::Protect(to) | Self::Rekey(_, to) | Self::Keyless(_, End::Keyed(to)) => {
                to.seal(header, slot)
            }
            Self::Keyless(_, End::Awaited) => Err(DropReason::NoKeys),
            // It is a packet of ours, and the key is not.
            Self::Pass(_) => Err(DropReason::NoFlow),
        }
    }

    /// Takes RTCP to what goes out.
    pub fn seal_rtcp(&mut self, slot: &mut PacketBuf) -> Result<(), DropReason> {
        match self {
            Self::Plain | Self::Unprotect(_) | Self::Keyless(_, End::Plain) => Ok(()),
            Self::Protect(to) | Self::Rekey(_, to) | Self::Keyless(_, End::Keyed(to)) => {
                to.protect_rtcp(slot)
            }
            Self::Keyless(_, End::Awaited) => Err(DropReason::NoKeys),
            Self::Pass(_) => Err(DropReason::NoFlow),
        }
    }

    /// What a packet touches of the keys, on its way in and on its way out.
    pub(crate) fn touched(&self) -> [Stretch; 2] {
        let (from, to) = match self {
            Self::Plain | Self::Keyless(..) => (None, None),
            Self::Protect(to) => (None, Some(to)),
            Self::Unprotect(from) | Self::Pass(Some(from)) => (Some(from), None),
            Self::Rekey(from, to) => (Some(from), Some(to)),
            Self::Pass(None) => (None, None),
        };
        let from = from.map(|from| from.touched()).unwrap_or_default();
        let to = to.map(|to| to.touched()).unwrap_or_default();
        [from, to]
    }

    /// What a source is sent as: itself, unless its SSRC had to change.
    pub fn outward(&self, source: u32) -> u32 {
        match self {
            Self::Protect(to) | Self::Rekey(_, to) | Self::Keyless(_, End::Keyed(to)) => {
                to.ssrc_of(source).unwrap_or(source)
            }
            Self::Plain | Self::Unprotect(_) | Self::Pass(_) | Self::Keyless(..) => source,
        }
    }

    /// Which source is sent as `ssrc`, if any is.
    pub fn origin(&self, ssrc: u32) -> Option<Origin> {
        match self {
            Self::Protect(to) | Self::Rekey(_, to) | Self::Keyless(_, End::Keyed(to)) => {
                to.origin_of(ssrc)
            }
            Self::Plain | Self::Unprotect(_) | Self::Pass(_) | Self::Keyless(..) => {
                Some(Origin { ssrc, sequence_shift: 0 })
            }
        }
    }

    /// The table.
    fn of(from: End<Box<Receiver>>, to: End<Box<Sender>>) -> Self {
        match (from, to) {
            (End::Plain, End::Plain) => Self::Plain,
            (End::Plain, End::Keyed(to)) => Self::Protect(to),
            (End::Keyed(from), End::Plain) => Self::Unprotect(from),
            (End::Keyed(from), End::Keyed(to)) => Self::Rekey(from, to),
            (from, to) => Self::Keyless(from, to),
        }
    }

    fn into_contexts(self) -> (Option<Box<Receiver>>, Option<Box<Sender>>) {
        match self {
            Self::Plain => (None, None),
            Self::Protect(to) => (None, Some(to)),
            Self::Unprotect(from) => (Some(from), None),
            Self::Rekey(from, to) => (Some(from), Some(to)),
            Self::Keyless(from, to) => (from.into_context(), to.into_context()),
            Self::Pass(from) => (from, None),
        }
    }
}

/// One direction of a call: from a leg to the other. What a packet needs is in its first line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Path {
    pub(crate) transform: Transform,
    pub(crate) payloads: PayloadMap,
    /// The source's timestamps, where its speech becomes that of another codec.
    pub(crate) clock: Clock,
    /// What RTCP has of its own: DTLS without rtcp-mux makes other keys on either port. `None`: it
    /// is protected as RTP is. In a box, as few have it.
    rtcp: Option<Box<Apart>>,
    parked: Option<Box<Parked>>,
    /// The receiver of the key before is the last one parked, and is heard until then: from the first
    /// packet on.
    retiring: Option<Option<Instant>>,
    /// That our key is worn has been told.
    worn_told: bool,
}

/// What RTCP is taken out of and put into, where that is not what RTP is.
type Apart = (Option<End<Box<Receiver>>>, Option<End<Box<Sender>>>);

/// Contexts that are not in force. They stay in their boxes: they are large, and come and go whole.
#[expect(clippy::vec_box, reason = "a list that has room for one has room for four")]
#[derive(Debug, Default)]
struct Parked {
    receivers: Vec<Box<Receiver>>,
    senders: Vec<Box<Sender>>,
}

impl Path {
    /// The direction between two legs that have just agreed; `first_ssrc` is random.
    pub(crate) fn between(
        from: &Agreed,
        to: &Agreed,
        first_ssrc: u32,
        may_pass: bool,
        transcode: bool,
    ) -> Self {
        let mut path = Self {
            transform: Transform::Plain,
            payloads: PayloadMap::between(&[], &[], false),
            rtcp: None,
            clock: Clock::default(),
            parked: None,
            retiring: None,
            worn_told: false,
        };
        path.renegotiate(from, to, first_ssrc, may_pass, transcode);
        path
    }

    /// Takes a new agreement; contexts of keys that stay, or come back, go on where they were.
    pub(crate) fn renegotiate(
        &mut self,
        from: &Agreed,
        to: &Agreed,
        first_ssrc: u32,
        may_pass: bool,
        transcode: bool,
    ) {
        let old = std::mem::replace(&mut self.transform, Transform::Plain);
        let (receiver, sender) = old.into_contexts();
        let changes = match (&receiver, &from.keys) {
            (Some(receiver), Some(keys)) => !receiver.is_of(&keys.remote),
            _ => false,
        };
        let follows = sender.is_some();
        self.park(receiver, sender);
        self.payloads = PayloadMap::between(&from.payloads, &to.payloads, transcode);
        self.transform = match passed(from, to).filter(|_| may_pass && self.payloads.is_identity())
        {
            Some(keys) if keys.iter().any(|key| key.suite().is_aead()) => Transform::Pass(None),
            Some(keys) => Transform::Pass(Some(self.receiver(keys))),
            None => {
                let receiver = from.end().map(|keys| self.receiver(&keys.remote));
                let sender = to.end().map(|keys| self.sender(&keys.local, first_ssrc, follows));
                Transform::of(receiver, sender)
            }
        };
        // What passes is not opened, and must not leave opened.
        if self.transform.passes() || from.keys.is_none() {
            self.retiring = None;
        } else if changes {
            self.retiring = Some(None);
        }
        self.worn_told = false;
    }

    /// Who was carried so far is another, one fork of several or somebody that has left: nothing under its
    /// key is on its way that should be heard. Where none of them can come back, all their keys are
    /// forgotten (TDR-EM-008).
    pub(crate) fn leave_others(&mut self, for_good: bool) {
        self.retiring = None;
        if for_good && let Some(parked) = &mut self.parked {
            parked.receivers.clear();
        }
    }

    /// Whether what comes in may still be under the key before.
    pub(crate) const fn is_retiring(&self) -> bool {
        self.retiring.is_some()
    }

    /// What a packet touches of it, but for the keys.
    pub(crate) fn touched(place: &Option<Self>) -> Stretch {
        Stretch::first_line_of(place)
    }

    /// Whether our key is worn, and nobody has been told yet.
    pub(crate) fn wears_out(&mut self) -> bool {
        self.transform.is_worn() && !std::mem::replace(&mut self.worn_told, true)
    }

    /// Takes what came in to RTP, under the key in force or, for a while, the one before.
    #[inline]
    pub(crate) fn open(
        &mut self,
        now: Instant,
        header: &Header,
        slot: &mut PacketBuf,
    ) -> Result<Opened, DropReason> {
        let opened = self.transform.open(header, slot);
        if self.retiring.is_none() {
            return opened;
        }
        self.or_before(now, opened, |receiver| receiver.unprotect(slot))
    }

    /// Takes what came in to RTCP, under the key in force or, for a while, the one before.
    pub(crate) fn open_rtcp(
        &mut self,
        now: Instant,
        component: Component,
        slot: &mut PacketBuf,
    ) -> Result<Opened, DropReason> {
        match self.rtcp.as_mut().and_then(|apart| apart.0.as_mut()) {
            Some(End::Keyed(from)) if component == Component::Rtcp => {
                return from.unprotect_rtcp(slot).map(Opened::Authentic);
            }
            Some(End::Awaited) if component == Component::Rtcp => return Err(DropReason::NoKeys),
            _ => {}
        }
        let opened = self.transform.open_rtcp(slot);
        if self.retiring.is_none() {
            return opened;
        }
        self.or_before(now, opened, |receiver| receiver.unprotect_rtcp(slot))
    }

    /// Takes what RTCP has of its own on either leg.
    pub(crate) fn protect_rtcp_apart(
        &mut self,
        from: Option<End<Keys>>,
        to: Option<End<Keys>>,
        first_ssrc: u32,
    ) {
        let (receiver, sender) = self.rtcp.take().map_or((None, None), |apart| *apart);
        self.park(receiver.and_then(End::into_context), sender.and_then(End::into_context));
        let from = from.map(|end| end.map(|keys| self.receiver(&keys.remote)));
        let to = to.map(|end| end.map(|keys| self.sender(&keys.local, first_ssrc, false)));
        let apart = from.is_some() || to.is_some();
        self.rtcp = apart.then(|| Box::new((from, to)));
    }

    /// Protects RTCP that goes out.
    pub(crate) fn seal_rtcp(&mut self, slot: &mut PacketBuf) -> Result<(), DropReason> {
        match self.rtcp.as_mut().and_then(|apart| apart.1.as_mut()) {
            None => self.transform.seal_rtcp(slot),
            Some(End::Plain) => Ok(()),
            Some(End::Keyed(to)) => to.protect_rtcp(slot),
            Some(End::Awaited) => Err(DropReason::NoKeys),
        }
    }

    fn or_before(
        &mut self,
        now: Instant,
        opened: Result<Opened, DropReason>,
        open: impl FnOnce(&mut Receiver) -> Result<Authentic, DropReason>,
    ) -> Result<Opened, DropReason> {
        let until = self.retiring.flatten().unwrap_or(now + OLD_KEY_HEARD);
        let before = self.parked.as_mut().and_then(|parked| parked.receivers.last_mut());
        let opened = match (opened, before) {
            // What comes under the key before is on its way since before: it moves no latch.
            (Err(DropReason::BadTag), Some(before)) if now < until => {
                open(before).map(|_| Opened::Authentic(Authentic { newest: false }))
            }
            (opened, _) => opened,
        };
        // A packet that is refused begins nothing.
        if opened.is_ok() {
            self.retiring = (now < until).then_some(Some(until));
        }
        opened
    }

    /// Keeps what is not in force any more.
    fn park(&mut self, receiver: Option<Box<Receiver>>, sender: Option<Box<Sender>>) {
        if receiver.is_some() || sender.is_some() {
            let parked = self.parked.get_or_insert_default();
            keep(&mut parked.receivers, receiver);
            keep(&mut parked.senders, sender);
        }
    }

    fn receiver(&mut self, keys: &Arc<[SrtpKey]>) -> Box<Receiver> {
        let mut parked = self.parked.as_mut().map(|parked| &mut parked.receivers);
        let back = parked.as_mut().and_then(|parked| {
            let at = parked.iter().position(|parked| parked.is_of(keys))?;
            Some(parked.remove(at))
        });
        match back {
            Some(mut receiver) => {
                receiver.redeclare(keys);
                receiver
            }
            None => Box::new(Receiver::of(Arc::clone(keys))),
        }
    }

    /// The sender of a key of ours; a new one goes on where the one that was in force until now stops.
    fn sender(&mut self, key: &Arc<SrtpKey>, first_ssrc: u32, follows: bool) -> Box<Sender> {
        let parked = self.parked.as_mut().map(|parked| &mut parked.senders);
        let back = parked.and_then(|parked| {
            let at = parked.iter().position(|parked| parked.is_of(key))?;
            Some(parked.remove(at))
        });
        back.unwrap_or_else(|| {
            let parked = self.parked.as_ref().and_then(|parked| parked.senders.last());
            let key = Arc::clone(key);
            Box::new(match parked.filter(|_| follows) {
                Some(before) => Sender::following(before, key, first_ssrc),
                None => Sender::of(key, first_ssrc),
            })
        })
    }
}

/// The key that a far side protects with, where the other far side was told it.
fn passed<'s>(from: &'s Agreed, to: &Agreed) -> Option<&'s Arc<[SrtpKey]>> {
    let told = &to.keys.as_ref()?.local;
    let keys = &from.keys.as_ref()?.remote;
    match &keys[..] {
        [key] if told.is_passed() && told.is_same_secret(key) && key.mki().is_none() => Some(keys),
        _ => None,
    }
}

fn keep<T>(parked: &mut Vec<T>, context: Option<T>) {
    parked.extend(context);
    if parked.len() > MAX_PARKED {
        parked.remove(0);
    }
}

/// What becomes of each payload type of a leg on the other.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct PayloadMap {
    /// The last one that was asked for, as a stream seldom has two.
    last: (u8, Mapped),
    /// Those that the leg has agreed.
    agreed: Box<[Entry]>,
    /// Dynamic numbers that mean something on the other leg, bit by bit.
    taken: [u64; 2],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u8,
    mapped: Mapped,
}

/// Speech that the other leg knows in another codec alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Becomes {
    pub(crate) conversion: Conversion,
    /// The number of that codec on the other leg.
    pub(crate) number: u8,
}

/// One payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// Its number on the other leg; `None` if it would mean something else there.
    pub(crate) number: Option<u8>,
    /// The clock of its timestamps, where they say when a packet was sent.
    pub(crate) clock_hz: Option<u32>,
    /// What it has to be turned into first.
    pub(crate) becomes: Option<Becomes>,
    /// It says that nothing is said where the other leg has agreed no comfort noise (TDR-COD-007): that the
    /// far side is silent is heard here, and not told there.
    pub(crate) quiet: bool,
    /// It carries telephone events.
    pub(crate) event: bool,
}

impl Mapped {
    const NOWHERE: Self =
        Self { number: None, clock_hz: None, becomes: None, quiet: false, event: false };
}

impl PayloadMap {
    /// Matches encodings. What only one leg knows keeps its number, where that is free; speech of
    /// that kind is turned into the speech that the other leg prefers, if `transcode` allows.
    pub(crate) fn between(from: &[Payload], to: &[Payload], transcode: bool) -> Self {
        let mut taken = [0; 2];
        for number in to.iter().map(|payload| payload.number).filter(|n| *n >= DYNAMIC_FROM) {
            if let Some(place) = taken.get_mut(usize::from(number >> 6)) {
                *place |= 1 << (number & 0x3f);
            }
        }
        let wanted = to.iter().find_map(|it| Some((Codec::of(it)?, it.number)));
        let becomes = |payload: &Payload| {
            let (wanted, number) = wanted.filter(|_| transcode)?;
            let conversion = Conversion { from: Codec::of(payload)?, to: wanted };
            counterpart(payload, to).is_none().then_some(Becomes { conversion, number })
        };
        let entry = |payload: &Payload| {
            let number = payload.number;
            let is_free = !to.iter().any(|other| other.number == number);
            let there = counterpart(payload, to).map(|other| other.number);
            let mapped = match (payload.is_noise(), payload.is_speech()) {
                (true, _) => Mapped { number: there, quiet: there.is_none(), ..Mapped::NOWHERE },
                (false, is_speech) => Mapped {
                    number: there.or(is_free.then_some(number)),
                    clock_hz: is_speech.then_some(payload.clock_hz),
                    becomes: becomes(payload).filter(|_| is_speech),
                    ..Mapped::NOWHERE
                },
            };
            let event = from.iter().any(|other| other.number == number && other.is_event());
            let mapped = Mapped { event, ..mapped };
            Entry { number, mapped }
        };
        // Of two with one number the first counts.
        let first = |at: usize| from[..at].iter().all(|other| other.number != from[at].number);
        let agreed = from.iter().enumerate().filter(|(at, _)| first(*at));
        let agreed = agreed.map(|(_, payload)| entry(payload)).collect();
        let mut map = Self { last: (0, Mapped::NOWHERE), agreed, taken };
        map.last.1 = map.look(0);
        map
    }

    /// Whether each agreed payload type has the same number on both legs, and nothing is turned.
    fn is_identity(&self) -> bool {
        (0..128).all(|number| {
            let mapped = self.look(number);
            mapped.number.map_or(mapped.quiet, |to| to == number) && mapped.becomes.is_none()
        })
    }

    /// What becomes of a packet.
    #[inline]
    pub(crate) fn of(&mut self, payload_type: u8) -> Mapped {
        if self.last.0 != payload_type {
            self.last = (payload_type, self.look(payload_type));
        }
        self.last.1
    }

    /// The same for one that nobody has asked for before.
    #[inline(never)]
    pub(crate) fn look(&self, payload_type: u8) -> Mapped {
        let payload_type = payload_type & 0x7f;
        if let Some(entry) = self.agreed.iter().find(|entry| entry.number == payload_type) {
            return entry.mapped;
        }
        let taken = self.taken[usize::from(payload_type >> 6)] >> (payload_type & 0x3f) & 1 == 1;
        Mapped { number: (!taken).then_some(payload_type), ..Mapped::NOWHERE }
    }

    /// The number of what a conversion leads to, if it is still asked for.
    pub(crate) fn goal(&self, conversion: Conversion) -> Option<u8> {
        let becomes = self.agreed.iter().filter_map(|entry| entry.mapped.becomes);
        becomes.into_iter().find(|it| it.conversion == conversion).map(|it| it.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(number: u8, encoding: &str, clock_hz: u32) -> Payload {
        Payload { number, encoding: encoding.into(), clock_hz, channels: 1, fmtp: None }
    }

    #[test]
    fn events_of_another_clock_are_not_taken_for_ours() {
        let from = [payload(8, "PCMA", 8000), payload(101, "telephone-event", 8000)];
        let to = [
            payload(8, "pcma", 8000),
            payload(101, "telephone-event", 16_000),
            payload(97, "telephone-event", 8000),
        ];
        let map = PayloadMap::between(&from, &to, false);
        let same = Mapped { number: Some(8), clock_hz: Some(8000), ..Mapped::NOWHERE };
        assert_eq!(map.look(8), same);
        assert_eq!(map.look(101), Mapped { number: Some(97), event: true, ..Mapped::NOWHERE });
    }

    /// TDR-COD-007
    #[test]
    fn comfort_noise_crosses_by_its_number_and_stays_behind_where_there_is_none() {
        let from = [payload(8, "PCMA", 8000), payload(13, "CN", 8000), payload(118, "CN", 16_000)];
        let to = [payload(8, "PCMA", 8000), payload(97, "CN", 8000)];
        let map = PayloadMap::between(&from, &to, false);
        assert_eq!(map.look(13).number, Some(97));
        assert_eq!((map.look(118).number, map.look(118).quiet), (None, true));
        let map = PayloadMap::between(&from, &to[..1], false);
        assert_eq!((map.look(13).number, map.look(13).quiet), (None, true));
        assert_eq!(map.look(8).number, Some(8));
    }

    #[test]
    fn a_number_that_means_something_else_there_does_not_pass() {
        let from = [payload(8, "PCMA", 8000), payload(96, "opus", 48_000)];
        let to = [payload(8, "PCMA", 8000), payload(96, "telephone-event", 8000)];
        let map = PayloadMap::between(&from, &to, false);
        assert_eq!(map.look(96).number, None);
        assert_eq!(map.look(13).number, Some(13), "comfort noise nobody declared");
        assert_eq!(map.look(97).number, Some(97));
    }

    #[test]
    fn of_two_numbers_for_one_thing_the_first_is_sent() {
        let event = |number| payload(number, "telephone-event", 8000);
        let map = PayloadMap::between(&[event(101)], &[event(96), event(101)], false);
        assert_eq!(map.look(101).number, Some(96), "what the far side answered with");
    }

    #[test]
    fn speech_that_the_other_leg_does_not_know_is_turned_if_it_may_be() {
        let from = [payload(9, "G722", 8000), payload(18, "G729", 8000), payload(8, "PCMA", 8000)];
        let opus = Payload { channels: 2, ..payload(111, "opus", 48_000) };
        let to = [opus, payload(0, "PCMU", 8000), payload(8, "PCMA", 8000)];
        let map = PayloadMap::between(&from, &to, true);
        let conversion = Conversion { from: Codec::G722, to: Codec::Opus };
        assert_eq!(map.look(9).becomes, Some(Becomes { conversion, number: 111 }));
        assert_eq!(map.look(18).becomes, None, "nobody here speaks it");
        let static_numbers = [payload(0, "PCMU", 8000)];
        assert!(PayloadMap::between(&static_numbers, &static_numbers, true).is_identity());
        assert!(!PayloadMap::between(&from[..1], &static_numbers, true).is_identity());
        assert_eq!(map.look(8).becomes, None, "it is understood as it is");
        assert_eq!(map.goal(conversion), Some(111));
        assert_eq!(map.goal(Conversion { from: Codec::Pcma, ..conversion }), None);
        assert_eq!(PayloadMap::between(&from, &to, false).look(9).becomes, None);
    }
}
