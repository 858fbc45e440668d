//! Unprotects what the far side sends: authenticate, then remember (RFC 3711, 3.3 and 3.4).

use super::PacketIndex;
use super::replay::{Arrival, Window};
use super::suite::{AuthenticRtcp, Context, Mki, RTCP_CLEAR, Scratch};
use crate::rtp::Header;
use crate::{DropReason, PacketBuf};
use sdp::SrtpKey;

/// Keys of the far side that are tried; more crypto lines than this nobody answers.
pub const MAX_KEYS: usize = 4;
/// Sources under one key whose replay windows are kept. To forget one would let its packets be
/// replayed, so at the bound a further source is refused until the key changes.
pub const MAX_SOURCES: usize = 64;
/// How many rollovers ahead of the estimate are tried when a packet of a source that was heard does
/// not authenticate: we missed more than half a round.
const ROC_AHEAD: u32 = 2;
/// A source that was never heard may have sent for long: so many rollovers are tried at once,
const ROC_SLICE: u32 = 8;
/// and so many times as much in turn, which is a day of speech in packets of 20 ms.
const ROC_SLICES: u32 = 8;
/// One packet in so many that fail is worth a search: whoever floods us with forged packets must not
/// multiply what one costs.
const SEARCH_EVERY: u32 = 16;

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
    scratch: Scratch,
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
        Self {
            keys: keys.to_vec(),
            contexts: tried.iter().map(Context::new).collect(),
            forms: forms(tried),
            settled: None,
            rtp: Sources::new(),
            rtcp: Sources::new(),
            failures: 0,
            scratch: Scratch::for_keys(tried),
        }
    }

    /// Whether these are the keys it was made with, whatever is declared beside them now.
    pub fn is_of(&self, keys: &[SrtpKey]) -> bool {
        let mut pairs = self.keys.iter().zip(keys);
        self.keys.len() == keys.len() && pairs.all(|(ours, key)| ours.is_same_secret(key))
    }

    /// Takes what is declared beside its keys now: whether packets carry an MKI, and which.
    pub fn redeclare(&mut self, keys: &[SrtpKey]) {
        if self.keys != keys {
            self.forms = forms(&keys[..keys.len().min(MAX_KEYS)]);
            self.settled = None;
            self.keys = keys.to_vec();
        }
    }

    /// Turns an SRTP packet into RTP in place. A packet that is refused moves nothing, and the slot
    /// still holds it as it came.
    pub fn unprotect(&mut self, slot: &mut PacketBuf) -> Result<Authentic, DropReason> {
        let header = Header::read(slot.packet()).ok_or(DropReason::Malformed)?;
        let (index, (form, end)) = self.believe(slot.packet(), &header)?;
        let session = &self.contexts[self.forms[form].key].rtp;
        session.open(slot, (header.payload_at, end), (header.ssrc, index), &self.scratch)?;
        // Only now: a forged packet must leave no trace.
        self.settled = Some(form);
        Ok(self.rtp.remember(header.ssrc, index.get()))
    }

    /// The same for a packet that stays as it is: only for suites that authenticate what is encrypted.
    pub fn verify(&mut self, packet: &[u8]) -> Result<Authentic, DropReason> {
        let header = Header::read(packet).ok_or(DropReason::Malformed)?;
        let (index, (form, _)) = self.believe(packet, &header)?;
        self.settled = Some(form);
        Ok(self.rtp.remember(header.ssrc, index.get()))
    }

    /// Turns an SRTCP packet into RTCP in place. A packet that is refused moves nothing.
    pub fn unprotect_rtcp(&mut self, slot: &mut PacketBuf) -> Result<Authentic, DropReason> {
        let (ssrc, form, authentic) = self.believe_rtcp(slot.packet())?;
        let session = &self.contexts[self.forms[form].key].rtcp;
        session.open_rtcp(slot, ssrc, authentic, &self.scratch)?;
        self.settled = Some(form);
        Ok(self.rtcp.remember(ssrc, u64::from(authentic.index)))
    }

    /// The same for a packet that stays as it is.
    pub fn verify_rtcp(&mut self, packet: &[u8]) -> Result<Authentic, DropReason> {
        let (ssrc, form, authentic) = self.believe_rtcp(packet)?;
        self.settled = Some(form);
        Ok(self.rtcp.remember(ssrc, u64::from(authentic.index)))
    }

    /// The index and form under which a packet is authentic and new, and where its payload ends.
    fn believe(
        &mut self,
        packet: &[u8],
        header: &Header,
    ) -> Result<(PacketIndex, (usize, usize)), DropReason> {
        let source = self.rtp.find(header.ssrc)?;
        let highest = source.map(|window| PacketIndex::of_window(&window));
        let estimate = match highest {
            Some(highest) => highest.nearest(header.sequence),
            None => Some(PacketIndex::new(0, header.sequence)),
        };
        let estimate = estimate.filter(|index| is_new(source, index.get()));
        if let Some(index) = estimate
            && let Some(found) = self.authenticate(packet, header, index)
        {
            return Ok((index, found));
        }
        let refused = if estimate.is_some() { DropReason::BadTag } else { DropReason::Replay };
        self.search(packet, header, highest).ok_or(refused)
    }

    fn believe_rtcp(&mut self, packet: &[u8]) -> Result<(u32, usize, AuthenticRtcp), DropReason> {
        let ssrc = packet.get(4..RTCP_CLEAR).and_then(|ssrc| ssrc.first_chunk::<4>());
        let ssrc = u32::from_be_bytes(*ssrc.ok_or(DropReason::Malformed)?);
        let source = self.rtcp.find(ssrc)?;
        let (form, authentic) = self.authenticate_rtcp(packet, ssrc, source)?;
        Ok((ssrc, form, authentic))
    }

    /// The form under which the packet authenticates at `index`, and where its payload ends.
    fn authenticate(
        &mut self,
        packet: &[u8],
        header: &Header,
        index: PacketIndex,
    ) -> Option<(usize, usize)> {
        let (contexts, forms, scratch) = (&self.contexts, &self.forms, &mut self.scratch);
        candidates(self.settled, forms).find_map(|at| {
            let Form { key, mki } = forms[at];
            let of = (header.ssrc, index);
            let end = contexts[key].rtp.check(packet, header.payload_at, of, mki, scratch)?;
            Some((at, end))
        })
    }

    /// The form under which an SRTCP packet is authentic and new.
    fn authenticate_rtcp(
        &mut self,
        packet: &[u8],
        ssrc: u32,
        source: Option<Window>,
    ) -> Result<(usize, AuthenticRtcp), DropReason> {
        let (contexts, forms, scratch) = (&self.contexts, &self.forms, &mut self.scratch);
        let mut reason = DropReason::BadTag;
        let found = candidates(self.settled, forms).find_map(|at| {
            let Form { key, mki } = forms[at];
            let session = &contexts[key].rtcp;
            if !is_new(source, u64::from(session.rtcp_index(packet, mki)?)) {
                reason = DropReason::Replay;
                return None;
            }
            Some((at, session.check_rtcp(packet, ssrc, mki, scratch)?))
        });
        found.ok_or(reason)
    }

    /// Tries other rollovers than that of the estimate, which has failed, now and then.
    fn search(
        &mut self,
        packet: &[u8],
        header: &Header,
        highest: Option<PacketIndex>,
    ) -> Option<(PacketIndex, (usize, usize))> {
        let failures = self.failures;
        self.failures = failures.wrapping_add(1);
        if !failures.is_multiple_of(SEARCH_EVERY) {
            return None;
        }
        let (rollovers, above) = match highest {
            Some(highest) => {
                let estimate = highest.nearest(header.sequence).unwrap_or(highest).max(highest);
                (highest.roc()..=highest.roc().saturating_add(ROC_AHEAD), estimate)
            }
            None => {
                let first = failures / SEARCH_EVERY % ROC_SLICES * ROC_SLICE;
                (first..=first + ROC_SLICE - 1, PacketIndex::new(0, header.sequence))
            }
        };
        rollovers
            .map(|roc| PacketIndex::new(roc, header.sequence))
            .filter(|&index| index > above)
            .find_map(|index| Some((index, self.authenticate(packet, header, index)?)))
    }
}

impl std::fmt::Debug for Receiver {
    /// Shows what packets are judged by; what only counts stays out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("keys", &self.keys)
            .field("settled", &self.settled)
            .field("rtp", &self.rtp)
            .field("rtcp", &self.rtcp)
            .finish_non_exhaustive()
    }
}

impl PacketIndex {
    /// The highest index of a window of packet indices.
    fn of_window(window: &Window) -> Self {
        Self::new((window.highest() >> 16) as u32, window.highest() as u16)
    }
}

fn forms(keys: &[SrtpKey]) -> Vec<Form> {
    let of = |(key, declared): (usize, &SrtpKey)| {
        let with_mki = Mki::of(declared).map(|mki| Form { key, mki: Some(mki) });
        with_mki.into_iter().chain([Form { key, mki: None }])
    };
    keys.iter().enumerate().flat_map(of).collect()
}

/// The forms that a packet may have: all until one has been believed.
fn candidates(settled: Option<usize>, forms: &[Form]) -> std::ops::Range<usize> {
    match settled {
        Some(form) => form..form + 1,
        None => 0..forms.len(),
    }
}

/// Whether an index may come: the source is new, or its window has not had it.
fn is_new(source: Option<Window>, index: u64) -> bool {
    source.is_none_or(|window| window.look(index) == Arrival::New)
}

/// What of each source has authenticated.
#[derive(Debug)]
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
