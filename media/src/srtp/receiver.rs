//! Unprotects what the far side sends: authenticate, then remember (RFC 3711, 3.3 and 3.4).

use super::PacketIndex;
use super::replay::{Arrival, Window};
use super::suite::{Context, Mki, Session};
use crate::rtp::Header;
use crate::{DropReason, PacketBuf};
use sdp::SrtpKey;

/// Keys of the far side that are tried; more crypto lines than this nobody answers.
pub const MAX_KEYS: usize = 4;
/// Sources under one key whose replay windows are kept. To forget one would let its packets be
/// replayed, so at the bound a further source is refused until the key changes.
pub const MAX_SOURCES: usize = 64;
/// How many rollovers ahead of the estimate are tried when a packet does not authenticate: we
/// missed more than half a round, or the first packets of a source that started near its end.
const ROC_SEARCH: u32 = 2;
/// One packet in so many that fail is worth that search: whoever floods us with forged packets
/// must not multiply what one costs.
const SEARCH_EVERY: u32 = 16;
/// SRTCP's E flag, in the word before MKI and tag.
const ENCRYPTED: u32 = 1 << 31;
/// The part of an RTCP packet that stays readable: header and sender SSRC.
const RTCP_CLEAR: usize = 8;

/// What an authenticated packet says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authentic {
    /// No packet of its source that came before has a higher index: it is not a late one.
    pub newest: bool,
}

/// The contexts of one agreed set of remote keys.
pub struct Receiver {
    keys: Vec<SrtpKey>,
    contexts: Vec<Context>,
    forms: Vec<Form>,
    /// The form that authenticated the first packet; from then on the only one.
    settled: Option<usize>,
    rtp: Sources,
    rtcp: Sources,
    failures: u32,
}

/// One way in which packets may be protected. A key that declares an MKI counts twice: its packets
/// may come without (TDR-SDP-003).
#[derive(Clone, Copy)]
struct Form {
    key: usize,
    mki: Option<Mki>,
}

impl Receiver {
    /// A receiver that believes the first of `keys` that authenticates a packet, and from then on
    /// only that; at most [`MAX_KEYS`] are tried.
    pub fn new(keys: &[SrtpKey]) -> Self {
        let tried = &keys[..keys.len().min(MAX_KEYS)];
        let forms = tried.iter().enumerate().flat_map(|(key, declared)| {
            let with_mki = Mki::of(declared).map(|mki| Form { key, mki: Some(mki) });
            with_mki.into_iter().chain([Form { key, mki: None }])
        });
        Self {
            keys: keys.to_vec(),
            contexts: tried.iter().map(Context::new).collect(),
            forms: forms.collect(),
            settled: None,
            rtp: Sources::new(),
            rtcp: Sources::new(),
            failures: 0,
        }
    }

    /// Whether these are the keys it was made with.
    pub fn is_of(&self, keys: &[SrtpKey]) -> bool {
        self.keys == keys
    }

    /// Turns an SRTP packet into RTP in place. A packet that is refused moves nothing, and the slot
    /// still holds it as it came.
    pub fn unprotect(&mut self, slot: &mut PacketBuf) -> Result<Authentic, DropReason> {
        let header = Header::read(slot.packet()).ok_or(DropReason::Malformed)?;
        let source = self.rtp.find(header.ssrc)?;
        let highest = source.map(|window| PacketIndex::of_window(&window));
        let estimate = match highest {
            Some(highest) => highest.nearest(header.sequence),
            None => Some(PacketIndex::new(0, header.sequence)),
        };
        let estimate = estimate.filter(|index| is_new(source, index.get()));
        let believed = estimate.and_then(|index| {
            self.authenticate(slot.packet(), &header, index).map(|found| (index, found))
        });
        let (index, (form, end)) = match believed {
            Some(believed) => believed,
            None => self.search(slot.packet(), &header, highest).ok_or(if estimate.is_some() {
                DropReason::BadTag
            } else {
                DropReason::Replay
            })?,
        };
        let session = &self.contexts[self.forms[form].key].rtp;
        session.apply(header.ssrc, index.get(), &mut slot.packet_mut()[header.payload_at..end])?;
        slot.set_len(end);
        // Only now: a forged packet must leave no trace.
        self.settled = Some(form);
        Ok(self.rtp.remember(header.ssrc, index.get()))
    }

    /// Turns an SRTCP packet into RTCP in place. A packet that is refused moves nothing.
    pub fn unprotect_rtcp(&mut self, slot: &mut PacketBuf) -> Result<Authentic, DropReason> {
        let packet = slot.packet();
        let ssrc = packet.get(4..RTCP_CLEAR).and_then(|ssrc| ssrc.first_chunk::<4>());
        let ssrc = u32::from_be_bytes(*ssrc.ok_or(DropReason::Malformed)?);
        let source = self.rtcp.find(ssrc)?;
        let mut reason = DropReason::BadTag;
        let believed = self.candidates().find_map(|form| {
            let (session, mki) = (&self.contexts[self.forms[form].key].rtcp, self.forms[form].mki);
            let (sent, tag) = split_tag(packet, session, mki, RTCP_CLEAR + 4)?;
            let (end, word) = sent.split_last_chunk::<4>()?;
            let word = u32::from_be_bytes(*word);
            let index = u64::from(word & !ENCRYPTED);
            if !is_new(source, index) {
                reason = DropReason::Replay;
                return None;
            }
            session.tag_is_right(sent, &[], tag).then_some((form, end.len(), word, index))
        });
        let (form, end, word, index) = believed.ok_or(reason)?;
        slot.set_len(end);
        if word & ENCRYPTED != 0 {
            let session = &self.contexts[self.forms[form].key].rtcp;
            session.apply(ssrc, index, &mut slot.packet_mut()[RTCP_CLEAR..])?;
        }
        self.settled = Some(form);
        Ok(self.rtcp.remember(ssrc, index))
    }

    /// The forms that a packet may have: all until one has been believed.
    fn candidates(&self) -> std::ops::Range<usize> {
        match self.settled {
            Some(form) => form..form + 1,
            None => 0..self.forms.len(),
        }
    }

    /// The form under which the packet authenticates at `index`, and where its payload ends.
    fn authenticate(
        &self,
        packet: &[u8],
        header: &Header,
        index: PacketIndex,
    ) -> Option<(usize, usize)> {
        self.candidates().find_map(|form| {
            let (session, mki) = (&self.contexts[self.forms[form].key].rtp, self.forms[form].mki);
            let (sent, tag) = split_tag(packet, session, mki, header.payload_at)?;
            let roc = index.roc().to_be_bytes();
            session.tag_is_right(sent, &roc, tag).then_some((form, sent.len()))
        })
    }

    /// Tries the rollovers ahead of the estimate that has failed, now and then.
    fn search(
        &mut self,
        packet: &[u8],
        header: &Header,
        highest: Option<PacketIndex>,
    ) -> Option<(PacketIndex, (usize, usize))> {
        let due = self.failures.is_multiple_of(SEARCH_EVERY);
        self.failures = self.failures.wrapping_add(1);
        if !due {
            return None;
        }
        let base = highest.unwrap_or(PacketIndex::new(0, header.sequence));
        let estimate = base.nearest(header.sequence).unwrap_or(base).max(base);
        (0..=ROC_SEARCH)
            .filter_map(|ahead| {
                Some(PacketIndex::new(base.roc().checked_add(ahead)?, header.sequence))
            })
            .filter(|&index| index > estimate)
            .find_map(|index| Some((index, self.authenticate(packet, header, index)?)))
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("keys", &self.keys)
            .field("settled", &self.settled)
            .finish_non_exhaustive()
    }
}

impl PacketIndex {
    /// The highest index of a window of packet indices.
    fn of_window(window: &Window) -> Self {
        Self::new((window.highest() >> 16) as u32, window.highest() as u16)
    }
}

/// Cuts a packet into what is authenticated and its tag; `None` if it is too short for its `least`
/// octets, or carries another MKI.
fn split_tag<'p>(
    packet: &'p [u8],
    session: &Session,
    mki: Option<Mki>,
    least: usize,
) -> Option<(&'p [u8], &'p [u8])> {
    let (rest, tag) = packet.split_at_checked(packet.len().checked_sub(session.tag_len())?)?;
    let sent = match mki {
        Some(mki) => {
            let (sent, carried) = rest.split_at_checked(rest.len().checked_sub(mki.len())?)?;
            mki.matches(carried).then_some(sent)?
        }
        None => rest,
    };
    (sent.len() >= least).then_some((sent, tag))
}

/// Whether an index may come: the source is new, or its window has not had it.
fn is_new(source: Option<Window>, index: u64) -> bool {
    source.is_none_or(|window| window.look(index) == Arrival::New)
}

/// What of each source has authenticated.
struct Sources {
    /// Those heard last, the very last first: nearly always the next packet's, too.
    heard: Vec<(u32, Window)>,
    /// Those that have made room, each with its highest index.
    rested: Vec<(u32, u64)>,
}

/// Sources whose windows are kept in full: those that speak side by side, before and after a change
/// of who does. Of the others none is late any more, so that their highest index says it all.
const HEARD_MAX: usize = 4;

impl Sources {
    fn new() -> Self {
        let rested = Vec::with_capacity(MAX_SOURCES - HEARD_MAX);
        Self { heard: Vec::with_capacity(HEARD_MAX), rested }
    }

    fn len(&self) -> usize {
        self.heard.len() + self.rested.len()
    }

    /// A source's window, `None` for a new source; refuses a new one at the bound.
    fn find(&self, ssrc: u32) -> Result<Option<Window>, DropReason> {
        if let Some((_, window)) = self.heard.iter().find(|(known, _)| *known == ssrc) {
            return Ok(Some(*window));
        }
        match self.rested.iter().find(|(known, _)| *known == ssrc) {
            Some((_, highest)) => Ok(Some(Window::closed(*highest))),
            None if self.len() < MAX_SOURCES => Ok(None),
            None => Err(DropReason::Replay),
        }
    }

    /// Moves a source's window, after authentication only.
    fn remember(&mut self, ssrc: u32, index: u64) -> Authentic {
        if let Some(at) = self.heard.iter().position(|(known, _)| *known == ssrc) {
            self.heard[..=at].rotate_right(1);
            let window = &mut self.heard[0].1;
            let newest = index > window.highest();
            window.insert(index);
            return Authentic { newest };
        }
        let back = self.rested.iter().position(|(known, _)| *known == ssrc);
        let window = match back.map(|at| self.rested.swap_remove(at)) {
            Some((_, highest)) => {
                let mut window = Window::closed(highest);
                window.insert(index);
                window
            }
            None => Window::starting(index),
        };
        if self.heard.len() == HEARD_MAX
            && let Some((longest, window)) = self.heard.pop()
        {
            self.rested.push((longest, window.highest()));
        }
        self.heard.insert(0, (ssrc, window));
        Authentic { newest: true }
    }
}
