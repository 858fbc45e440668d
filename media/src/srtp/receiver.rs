//! Unprotects what the far side sends: authenticate, then remember (RFC 3711, 3.3 and 3.4).

use super::PacketIndex;
use super::replay::{Arrival, Window};
use super::sources::{Known, RtcpSources, RtpSources};
use super::srtcp::{self, AuthenticRtcp, RTCP_CLEAR, Srtcp};
use super::suite::{Mki, Scratch, Session, with_scratch};
use crate::rtp::Header;
use crate::{DropReason, PacketBuf, Stretch};
use sdp::SrtpKey;
use std::sync::Arc;

/// Keys of the far side that are tried; more crypto lines than this nobody answers.
pub const MAX_KEYS: usize = 4;
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
///
/// What an RTP packet needs stands together and in front, in lines of memory of its own: between two of
/// them of one call are those of thousands of others, and each line has to be fetched anew.
#[repr(C, align(64))]
pub struct Receiver {
    /// Of the first key, nearly always the only one.
    first: Option<Session>,
    /// The form that authenticated the first packet; from then on the only one.
    settled: Option<Form>,
    /// A packet is opened to be checked, under any of the keys.
    is_aead: bool,
    failures: u32,
    rtp: RtpSources,
    rtcp: RtcpSources,
    known: Known,
    /// Of the further keys.
    others: Option<Box<[Option<Session>; MAX_KEYS - 1]>>,
    keys: Arc<[SrtpKey]>,
}

/// One way in which packets may be protected. A key that declares an MKI counts twice: its packets
/// may come without (TDR-SDP-003).
#[derive(Clone, Copy, Debug)]
struct Form {
    key: u8,
    mki: Option<Mki>,
}

/// What a packet has been found to be: its form, and where its payload ends.
type Found = (Form, usize);

impl Receiver {
    /// A receiver that believes the first of `keys` that authenticates a packet, and from then on
    /// only that; at most [`MAX_KEYS`] are tried.
    pub fn new(keys: &[SrtpKey]) -> Self {
        Self::of(keys.into())
    }

    /// The same with keys that others have, too.
    pub(crate) fn of(keys: Arc<[SrtpKey]>) -> Self {
        let tried = &keys[..keys.len().min(MAX_KEYS)];
        let is_aead = tried.iter().any(|key| key.suite().is_aead());
        let mut sessions = tried.iter().map(Session::new);
        let first = sessions.next();
        let others = (tried.len() > 1).then(|| Box::new(std::array::from_fn(|_| sessions.next())));
        Self {
            first,
            others,
            settled: None,
            failures: 0,
            is_aead,
            rtp: RtpSources::new(),
            rtcp: RtcpSources::new(),
            known: Known::new(),
            keys,
        }
    }

    /// Whether these are the keys it was made with, whatever is declared beside them now.
    pub fn is_of(&self, keys: &[SrtpKey]) -> bool {
        let mut pairs = self.keys.iter().zip(keys);
        self.keys.len() == keys.len() && pairs.all(|(ours, key)| ours.is_same_secret(key))
    }

    /// Takes what is declared beside its keys now: whether packets carry an MKI, and which.
    pub(crate) fn redeclare(&mut self, keys: &Arc<[SrtpKey]>) {
        if self.keys != *keys {
            self.settled = None;
        }
        self.keys = Arc::clone(keys);
    }

    /// What an RTP packet touches.
    pub(crate) fn touched(&self) -> Stretch {
        Stretch::between(&self.first, self.rtp.touched_to())
    }

    /// Turns an SRTP packet into RTP in place. A packet that is refused moves nothing, and the slot
    /// still holds it as it came.
    pub fn unprotect(&mut self, slot: &mut PacketBuf) -> Result<Authentic, DropReason> {
        let header = Header::read(slot.packet()).ok_or(DropReason::Malformed)?;
        self.open(&header, slot)
    }

    /// The same with its header, which has been read.
    pub(crate) fn open(
        &mut self,
        header: &Header,
        slot: &mut PacketBuf,
    ) -> Result<Authentic, DropReason> {
        with_scratch(self.is_aead, slot.len(), |scratch| {
            let (index, (form, end)) = self.believe(slot.packet(), header, scratch)?;
            let session = self.session(form).ok_or(DropReason::NoKeys)?;
            let of = (header.ssrc, index);
            session.open(slot, (header.payload_at, end), of, scratch);
            // Only now: a forged packet must leave no trace.
            self.settled = Some(form);
            Ok(self.rtp.remember(&mut self.known, header.ssrc, index.get()))
        })
    }

    /// The same for a packet that stays as it is: only for suites that authenticate what is encrypted.
    pub fn verify(&mut self, packet: &[u8]) -> Result<Authentic, DropReason> {
        let header = Header::read(packet).ok_or(DropReason::Malformed)?;
        let (index, (form, _)) = self.believe(packet, &header, &mut [])?;
        self.settled = Some(form);
        Ok(self.rtp.remember(&mut self.known, header.ssrc, index.get()))
    }

    /// Turns an SRTCP packet into RTCP in place. A packet that is refused moves nothing.
    pub fn unprotect_rtcp(&mut self, slot: &mut PacketBuf) -> Result<Authentic, DropReason> {
        let (ssrc, form, session, authentic) = self.believe_rtcp(slot.packet())?;
        session.open(slot, ssrc, &authentic)?;
        self.settled = Some(form);
        Ok(self.rtcp.remember(&mut self.known, ssrc, u64::from(authentic.index())))
    }

    /// The same for a packet that stays as it is.
    pub fn verify_rtcp(&mut self, packet: &[u8]) -> Result<Authentic, DropReason> {
        let (ssrc, form, _, authentic) = self.believe_rtcp(packet)?;
        self.settled = Some(form);
        Ok(self.rtcp.remember(&mut self.known, ssrc, u64::from(authentic.index())))
    }

    fn session(&self, form: Form) -> Option<&Session> {
        match form.key {
            0 => self.first.as_ref(),
            key => self.others.as_ref()?.get(usize::from(key) - 1)?.as_ref(),
        }
    }

    /// The index and form under which a packet is authentic and new, and where its payload ends.
    fn believe(
        &mut self,
        packet: &[u8],
        header: &Header,
        scratch: Scratch<'_>,
    ) -> Result<(PacketIndex, Found), DropReason> {
        let source = self.rtp.find(&self.known, header.ssrc)?;
        let highest = source.map(|window| PacketIndex::of_window(&window));
        let estimate = match highest {
            Some(highest) => highest.nearest(header.sequence),
            None => Some(PacketIndex::new(0, header.sequence)),
        };
        let estimate = estimate.filter(|index| is_new(source, index.get()));
        if let Some(index) = estimate
            && let Some(found) = self.authenticate(packet, header, index, scratch)
        {
            return Ok((index, found));
        }
        let refused = if estimate.is_some() { DropReason::BadTag } else { DropReason::Replay };
        self.search(packet, header, highest, scratch).ok_or(refused)
    }

    fn believe_rtcp(
        &mut self,
        packet: &[u8],
    ) -> Result<(u32, Form, Srtcp, AuthenticRtcp), DropReason> {
        let ssrc = packet.get(4..RTCP_CLEAR).and_then(|ssrc| ssrc.first_chunk::<4>());
        let ssrc = u32::from_be_bytes(*ssrc.ok_or(DropReason::Malformed)?);
        let source = self.rtcp.find(&self.known, ssrc)?;
        let (form, session, authentic) = self.authenticate_rtcp(packet, ssrc, source)?;
        Ok((ssrc, form, session, authentic))
    }

    /// The forms that a packet may have: all until one has been believed.
    fn candidates(&self) -> impl Iterator<Item = Form> {
        let tried = if self.settled.is_some() { 0 } else { self.keys.len().min(MAX_KEYS) };
        self.settled.into_iter().chain(forms(&self.keys[..tried]))
    }

    /// The form under which the packet authenticates at `index`, and where its payload ends.
    fn authenticate(
        &self,
        packet: &[u8],
        header: &Header,
        index: PacketIndex,
        scratch: Scratch<'_>,
    ) -> Option<Found> {
        let of = (header.ssrc, index);
        self.candidates().find_map(|form| {
            let end =
                self.session(form)?.check(packet, header.payload_at, of, form.mki, scratch)?;
            Some((form, end))
        })
    }

    /// The form under which an SRTCP packet is authentic and new.
    fn authenticate_rtcp(
        &self,
        packet: &[u8],
        ssrc: u32,
        source: Option<Window>,
    ) -> Result<(Form, Srtcp, AuthenticRtcp), DropReason> {
        let mut reason = DropReason::BadTag;
        let found = self.candidates().find_map(|form| {
            let key = self.keys.get(usize::from(form.key))?;
            if !is_new(source, u64::from(srtcp::index(key.suite(), packet, form.mki)?)) {
                reason = DropReason::Replay;
                return None;
            }
            let session = Srtcp::new(key);
            let authentic = session.check(packet, ssrc, form.mki)?;
            Some((form, session, authentic))
        });
        found.ok_or(reason)
    }

    /// Tries other rollovers than that of the estimate, which has failed, now and then.
    fn search(
        &mut self,
        packet: &[u8],
        header: &Header,
        highest: Option<PacketIndex>,
        scratch: Scratch<'_>,
    ) -> Option<(PacketIndex, Found)> {
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
            .find_map(|index| Some((index, self.authenticate(packet, header, index, scratch)?)))
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
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl PacketIndex {
    /// The highest index of a window of packet indices.
    fn of_window(window: &Window) -> Self {
        Self::new((window.highest() >> 16) as u32, window.highest() as u16)
    }
}

fn forms(keys: &[SrtpKey]) -> impl Iterator<Item = Form> {
    let of = |(key, declared): (u8, &SrtpKey)| {
        let with_mki = Mki::of(declared).map(|mki| Form { key, mki: Some(mki) });
        with_mki.into_iter().chain([Form { key, mki: None }])
    };
    (0..).zip(keys).flat_map(of)
}

/// Whether an index may come: the source is new, or its window has not had it.
fn is_new(source: Option<Window>, index: u64) -> bool {
    source.is_none_or(|window| window.look(index) == Arrival::New)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdp::Suite;

    #[test]
    fn what_a_packet_touches_fills_no_more_than_five_lines_of_memory() {
        for suite in Suite::ALL {
            let key = SrtpKey::from_octets(suite, &vec![7; suite.key_salt_len()]).unwrap();
            assert!(Receiver::new(&[key]).touched().lines().count() <= 5, "{suite:?}");
        }
    }
}
