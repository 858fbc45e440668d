//! RFC 3264: from our ability and the far side's offer to an answer and the agreed stream.
//!
//! One [`Negotiation`] belongs to one leg (one dialog, or one early dialog of a forked INVITE: clone
//! it where an INVITE forks). It speaks for our end only: the pairing of two legs is in
//! [`crate::pair`]. What it refuses changes nothing in it.

mod associations;
mod our_end;
mod transcoding;
mod turns;

use crate::ability::{Ability, Keying, Local, Security};
use crate::codec::Codec;
use crate::codecs::Codecs;
use crate::companions::{accompany, companions};
use crate::direction::Direction;
use crate::dtls::Certificate;
use crate::fax;
use crate::ice::{Credentials, OurIce};
use crate::pair::{Media, assign_numbers, matched};
use crate::payload::Payload;
use crate::refusal::Refusal;
use crate::remote::Remote;
use crate::stream::{Crypto, Protocol, Stream};
use crate::suite::Suite;
use crate::words::is_parameters;
use crate::write::Draft;
use bytes::Bytes;
use our_end::Began;
use std::net::IpAddr;
use std::sync::Arc;
use transcoding::behind_speech;

/// The offer/answer state of one leg.
#[derive(Clone)]
pub struct Negotiation {
    local: Local,
    ability: Ability,
    codecs: Codecs,
    certificate: Option<Arc<Certificate>>,
    ice: OurIce,
    /// What our next description with ICE begun anew names.
    spare: Option<Credentials>,
    /// What this leg may speak where the other leg does not; nothing unless the call may be
    /// transcoded.
    transcoding: &'static [Codec],
    /// An offer of ours that holds names no address.
    old_hold: bool,
    open: Open,
    in_force: Option<Agreed>,
    /// What was agreed before a fax took its place.
    speech: Option<Box<Agreed>>,
    /// The one suite that a first offer of ours is of, where only its key will do.
    only: Option<Suite>,
    /// The version of the last description we wrote; one that was refused is not used again.
    version: u64,
    refresh: bool,
    /// What each payload type number has meant on this leg: it keeps its meaning for the life of
    /// the dialog (RFC 3264, 8.3.2).
    numbers: Vec<Payload>,
    /// Which of our associations of DTLS our descriptions mean.
    tls_id: u32,
    /// The address, RTP and RTCP port that a refusal of what is proposed leads back to.
    left: Option<(IpAddr, u16, u16)>,
}

/// The offer that waits for its answer. Most of the time none does, so it takes no room in the leg.
#[derive(Clone)]
enum Open {
    Nothing,
    Theirs(Box<Remote>),
    Ours(Box<Written>),
}

/// A description that we wrote.
#[derive(Clone)]
struct Written {
    draft: Draft,
    version: u64,
    body: Bytes,
}

/// An offer with its answer.
#[derive(Clone)]
struct Agreed {
    stream: Stream,
    ours: Box<Written>,
    theirs: Box<Remote>,
    /// Whether the offer was ours.
    answers_us: bool,
}

impl Negotiation {
    /// A leg on which nothing has been agreed.
    pub fn new(local: Local, ability: Ability) -> Self {
        let has_key = |suite: &Suite| local.keys.iter().any(|key| key.suite() == *suite);
        let suites = ability.suites.iter().filter(has_key).collect();
        Self {
            local,
            ability: Ability { suites, ..ability },
            codecs: Codecs::default(),
            ice: OurIce::None,
            spare: None,
            transcoding: &[],
            old_hold: false,
            open: Open::Nothing,
            in_force: None,
            speech: None,
            only: None,
            version: 0,
            refresh: false,
            numbers: Vec::new(),
            certificate: None,
            tls_id: 0,
            left: None,
        }
    }

    /// The same for a leg that may use these codecs alone.
    pub fn with_codecs(self, codecs: Codecs) -> Self {
        Self { codecs, ..self }
    }

    /// The same for a far side that knows a hold by the address 0.0.0.0 alone (RFC 2543; RFC 3264, 8.4).
    pub fn with_old_hold(self, old_hold: bool) -> Self {
        Self { old_hold, ..self }
    }

    /// Whether an offer of `media` would hold speech that this leg may use, or a fax.
    pub fn can_offer(&self, media: &Media) -> bool {
        if media.fax.is_some() {
            return self.can_fax();
        }
        let more = self.transcodable(media);
        self.codecs.leave_speech(&media.payloads) || self.codecs.leave_speech(&more)
    }

    /// Takes the far side's offer; the offer is open until [`Self::make_answer`] or [`Self::rollback`].
    pub fn receive_offer(&mut self, sdp: &[u8]) -> Result<Media, Refusal> {
        if !matches!(self.open, Open::Nothing) {
            return Err(Refusal::OutOfTurn);
        }
        let ability = Ability { fax: self.can_fax(), ..self.ability };
        let mut theirs = Remote::offer(sdp, &ability, self.preference())?;
        self.without_our_keys(&mut theirs)?;
        if !self.codecs.are_all() && theirs.media.fax.is_none() {
            theirs.media.payloads = self.codecs.of(&theirs.media.payloads);
            if !theirs.media.payloads.iter().any(Payload::is_speech) {
                return Err(Refusal::NoCommonCodec);
            }
        }
        let media = theirs.media.clone();
        self.refresh = self.in_force.as_ref().is_some_and(|last| last.theirs.says_the_same(sdp));
        self.open = Open::Theirs(Box::new(theirs));
        Ok(media)
    }

    /// Whether the open or last received offer says the same as the description before it: a
    /// session refresh (TDR-DLG-013), which [`Self::answer_refresh`] answers.
    pub fn is_refresh(&self) -> bool {
        self.refresh
    }

    /// Answers the open offer with what was agreed before. Where our last description was an answer
    /// to the same offer, the answer is [`Self::last_local`] octet by octet.
    pub fn answer_refresh(&mut self) -> Result<(Bytes, Stream), Refusal> {
        let agreed = self.in_force.as_ref().ok_or(Refusal::OutOfTurn)?;
        let media = agreed.ours.draft.media.clone();
        self.make_answer(&media)
    }

    /// Answers the open offer with what `media` allows of it (payload numbers are the offer's, the
    /// order is `media`'s). Further m-lines are refused with port 0 (TDR-SDP-008). `o=` version
    /// rises only on change.
    pub fn make_answer(&mut self, media: &Media) -> Result<(Bytes, Stream), Refusal> {
        let Open::Theirs(theirs) = &self.open else { return Err(Refusal::OutOfTurn) };
        if theirs.media.fax.is_some() {
            let theirs = theirs.clone();
            return self.answer_fax(theirs, media);
        }
        let payloads: Vec<Payload> = matched(&media.payloads, &theirs.media.payloads)
            .into_iter()
            .map(|(ours, offered)| Payload {
                fmtp: ours.fmtp.clone().filter(|parameters| is_parameters(parameters)),
                ..offered.clone()
            })
            .collect();
        let payloads = self.codecs.of(&payloads);
        if !payloads.iter().any(Payload::is_speech) {
            return Err(Refusal::NoCommonCodec);
        }
        let payloads = accompany(payloads, &theirs.media.payloads, &self.ability, &self.codecs);
        let direction = media.direction.within(theirs.media.direction.reversed());
        let theirs = theirs.clone();
        let crypto = match &theirs.crypto {
            Some(theirs) => {
                let key = self.key(theirs.suite).ok_or(Refusal::SrtpRequired)?;
                vec![(theirs.tag, key.clone())]
            }
            None => Vec::new(),
        };
        let dtls = match &theirs.dtls {
            Some(offered) => Some(self.answer_dtls(&theirs, offered)?),
            None => None,
        };
        let ice = self.ice_for(&theirs);
        let draft = Draft {
            media: Media {
                payloads,
                direction,
                ptime_ms: self.ability.ptime_ms.or(media.ptime_ms),
                fax: None,
            },
            proto: theirs.proto.clone(),
            slots: theirs.slots.clone(),
            rtcp_mux: theirs.rtcp_mux,
            crypto,
            dtls: dtls.as_ref().map(|(lines, _)| lines.clone()),
            rtcp_apart: !theirs.rtcp_mux,
            ice,
            nowhere: false,
        };
        let payloads = draft.media.payloads.clone();
        let mut stream = stream(&theirs, &draft, payloads, direction, &self.agreement(false));
        if let Some((lines, dtls)) = dtls {
            self.tls_id = lines.tls_id.unwrap_or(self.tls_id);
            stream.dtls = Some(dtls);
        }
        let ours = self.issue(draft);
        let body = ours.body.clone();
        self.remember_numbers(&theirs.media.payloads);
        self.agree(Agreed { stream: stream.clone(), ours, theirs, answers_us: false });
        Ok((body, stream))
    }

    /// Answers the open offer with what the other leg has agreed, as [`Media::answer_for`] and
    /// [`Self::make_answer`] have it; without any speech in common, with the first that can be
    /// transcoded, if it may.
    pub fn answer_like(&mut self, agreed: &Media) -> Result<(Bytes, Stream), Refusal> {
        let Open::Theirs(theirs) = &self.open else { return Err(Refusal::OutOfTurn) };
        let answer = match agreed.answer_for(&theirs.media) {
            Err(Refusal::NoCommonCodec) => self.other_speech(agreed, &theirs.media)?,
            answer => answer?,
        };
        self.make_answer(&answer)
    }

    /// Makes an offer of `media`; it is open until [`Self::receive_answer`] or [`Self::rollback`],
    /// and takes the place of one that is open already. A payload type whose number is taken, or
    /// has meant something else on this leg, gets another; without any speech in `media` the offer
    /// is of [`Media::g711`]. What the leg may not use is left out, where that leaves any speech.
    pub fn make_offer(&mut self, media: &Media) -> Bytes {
        if media.fax.is_some() {
            let draft = Draft::of_fax(media.clone(), fax::PROTO.to_owned(), self.slots_for(true));
            return self.offer(draft);
        }
        let g711 = Media::g711();
        let mut more = self.codecs.of(&self.transcodable(media));
        if !more.iter().any(Payload::is_speech) {
            more.clear();
        }
        let own = behind_speech(self.codecs.of(&media.payloads), more);
        let offers = [own, self.codecs.of(&g711.payloads)];
        let offers = offers.into_iter().chain([g711.payloads]);
        let mut offers = offers.map(|payloads| {
            let companions = companions(&payloads);
            let payloads = accompany(payloads, &companions, &self.ability, &self.codecs);
            assign_numbers(&payloads, &self.numbers)
        });
        let speaks = |payloads: &Vec<Payload>| payloads.iter().any(Payload::is_speech);
        let payloads = offers.find(speaks).unwrap_or_default();
        let ptime_ms = self.ability.ptime_ms.or(media.ptime_ms);
        let media = Media { payloads, ptime_ms, ..media.clone() };
        let holds = media.direction == Direction::Inactive;
        let draft = match self.speech_agreed() {
            // Profile, suite and the m-lines that were refused stay as they were agreed.
            Some(Agreed { stream, ours, theirs, .. }) => Draft {
                media,
                proto: ours.draft.proto.clone(),
                slots: self.slots_for(false),
                rtcp_mux: stream.rtcp_mux || stream.crypto.is_some() || stream.dtls.is_some(),
                crypto: self.lines(theirs.crypto.iter().map(|crypto| crypto.suite)),
                dtls: ours.draft.dtls.as_ref().and(self.offer_dtls()),
                rtcp_apart: !stream.rtcp_mux,
                ice: if stream.ice.is_some() { self.ice.clone() } else { OurIce::None },
                // With candidates, an address that is none of them would be a mismatch.
                nowhere: self.old_hold && holds && stream.ice.is_none(),
            },
            None => {
                let plain = self.ability.security == Security::Off;
                let dtls = self.offer_dtls().filter(|_| !plain);
                let dtls = dtls.filter(|_| self.ability.keying == Keying::Dtls);
                let (proto, lines) = match (plain, &dtls, self.ability.one_line) {
                    (true, ..) => ("RTP/AVP", 0),
                    (false, Some(_), _) => ("UDP/TLS/RTP/SAVP", 0),
                    (false, None, true) => ("RTP/SAVP", 1),
                    (false, None, false) => ("RTP/SAVP", self.ability.suites.iter().count()),
                };
                let told = |suite: &Suite| self.only.is_none_or(|only| only == *suite);
                let offered = self.ability.suites.iter().filter(told).take(lines);
                Draft {
                    media,
                    proto: proto.to_owned(),
                    slots: self.slots_for(false),
                    rtcp_mux: !plain,
                    crypto: self.lines(offered),
                    dtls,
                    // The answer may refuse to multiplex (RFC 5761, 5.1.1).
                    rtcp_apart: true,
                    ice: self.ice.clone(),
                    nowhere: false,
                }
            }
        };
        self.offer(draft)
    }

    fn offer(&mut self, draft: Draft) -> Bytes {
        let ours = self.issue(draft);
        let body = ours.body.clone();
        self.open = Open::Ours(ours);
        body
    }

    /// Takes the far side's answer to our open offer. An answer may come again unchanged (183 then
    /// 200, TDR-EM-021), which changes nothing; one that changed is taken as the new answer to the
    /// same offer, as long as no other offer was answered since: some carriers do so when
    /// the call moves from an announcement to the subscriber.
    pub fn receive_answer(&mut self, sdp: &[u8]) -> Result<(Media, Stream), Refusal> {
        let ours = match (&self.open, &self.in_force) {
            (Open::Ours(ours), _) => ours,
            (Open::Nothing, Some(Agreed { ours, answers_us: true, .. })) => ours,
            _ => return Err(Refusal::OutOfTurn),
        };
        let ours = ours.clone();
        let mut theirs = Box::new(Remote::answer(sdp, &ours.draft)?);
        self.without_our_keys(&mut theirs)?;
        let offered = &ours.draft.media;
        if offered.fax.is_some() {
            return Ok(self.take_fax(ours, theirs));
        }
        let accepted = matched(&theirs.media.payloads, &offered.payloads);
        if !accepted.iter().any(|(payload, _)| payload.is_speech()) {
            return Err(Refusal::NoCommonCodec);
        }
        let in_use = with_own_numbers(&accepted);
        let payloads = accepted.into_iter().map(|(payload, _)| payload.clone()).collect();
        let direction = offered.direction.within(theirs.media.direction.reversed());
        theirs.rtcp_mux &= ours.draft.rtcp_mux;
        theirs.media.payloads = payloads;

        let mut stream = stream(&theirs, &ours.draft, in_use, direction, &self.agreement(true));
        if let (Some(lines), Some(answered)) = (&ours.draft.dtls, &theirs.dtls) {
            stream.dtls = Some(self.take_dtls(&theirs, answered, lines)?);
        }
        let media = theirs.media.clone();
        self.remember_numbers(&ours.draft.media.payloads);
        self.remember_numbers(&media.payloads);
        self.agree(Agreed { stream: stream.clone(), ours, theirs, answers_us: true });
        Ok((media, stream))
    }

    /// Forgets an open offer: a re-INVITE that failed leaves the old state (TDR-DLG-017).
    pub fn rollback(&mut self) {
        // Credentials that nobody has answered are nobody's.
        if let (Open::Ours(_), Some(agreed)) = (&self.open, &self.in_force)
            && agreed.stream.ice.is_some()
        {
            self.ice = agreed.ours.draft.ice.clone();
        }
        self.open = Open::Nothing;
        if let Some((address, rtp_port, rtcp_port)) = self.left.take() {
            self.relocate(address, rtp_port, rtcp_port);
        }
    }

    /// The stream in force, if one has been agreed.
    pub fn stream(&self) -> Option<&Stream> {
        self.in_force.as_ref().map(|agreed| &agreed.stream)
    }

    /// The SDP we sent last and that was not rolled back, if any.
    pub fn last_local(&self) -> Option<&Bytes> {
        self.last_written().map(|written| &written.body)
    }

    /// The media we described last, if any; the direction is ours.
    pub fn last_local_media(&self) -> Option<&Media> {
        self.last_written().map(|written| &written.draft.media)
    }

    /// The media the far side described last, if any.
    pub fn last_remote(&self) -> Option<&Media> {
        match (&self.open, &self.in_force) {
            (Open::Theirs(theirs), _) | (_, Some(Agreed { theirs, .. })) => Some(&theirs.media),
            _ => None,
        }
    }

    fn last_written(&self) -> Option<&Written> {
        match (&self.open, &self.in_force) {
            (Open::Ours(ours), _) | (_, Some(Agreed { ours, .. })) => Some(ours),
            _ => None,
        }
    }

    /// Gives a draft its version: that of the description it repeats, else the next.
    fn issue(&mut self, draft: Draft) -> Box<Written> {
        let open = match &self.open {
            Open::Ours(ours) => Some(ours),
            _ => None,
        };
        for known in open.into_iter().chain(self.in_force.as_ref().map(|agreed| &agreed.ours)) {
            let body = draft.write(&self.local, known.version);
            if body == known.body {
                return Box::new(Written { draft, version: known.version, body });
            }
        }
        self.version += 1;
        let body = draft.write(&self.local, self.version);
        Box::new(Written { draft, version: self.version, body })
    }

    fn remember_numbers(&mut self, payloads: &[Payload]) {
        for payload in payloads {
            if self.numbers.iter().all(|known| known.number != payload.number) {
                self.numbers.push(payload.clone());
            }
        }
    }
}

impl std::fmt::Debug for Negotiation {
    /// Shows no SDP: there are keys in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Negotiation")
            .field("ability", &self.ability)
            .field("version", &self.version)
            .field("stream", &self.stream())
            .finish_non_exhaustive()
    }
}

fn stream(
    theirs: &Remote,
    ours: &Draft,
    payloads: Vec<Payload>,
    direction: Direction,
    began: &Began,
) -> Stream {
    let local = |suite: Suite| ours.crypto.iter().find(|(_, key)| key.suite() == suite);
    let keys = theirs.crypto.as_ref().and_then(|theirs| Some((local(theirs.suite)?, theirs)));
    let ice = ours.ice.with(theirs.ice.as_ref(), began.address, began.ours_first(theirs));
    let fax = theirs.media.fax.is_some();
    Stream {
        remote_rtp: theirs.rtp,
        remote_rtcp: if theirs.rtcp_mux { theirs.rtp } else { theirs.rtcp },
        rtcp_mux: theirs.rtcp_mux,
        direction,
        crypto: keys.map(|((_, local), remote)| Crypto {
            local: local.clone(),
            remote: remote.keys.clone(),
        }),
        dtls: None,
        payloads,
        ptime_ms: theirs.media.ptime_ms,
        ice,
        protocol: if fax { Protocol::Udptl } else { Protocol::Rtp },
    }
}

/// What was accepted, by the numbers of the answer, which are those we send; then, where our offer
/// used others, those too, because they are what the far side should send (RFC 3264, 6.1).
fn with_own_numbers(accepted: &[(&Payload, &Payload)]) -> Vec<Payload> {
    let mut in_use: Vec<Payload> = accepted.iter().map(|(answer, _)| (*answer).clone()).collect();
    for (answer, offered) in accepted {
        if in_use.iter().all(|payload| payload.number != offered.number) {
            in_use.push(Payload { number: offered.number, ..(*answer).clone() });
        }
    }
    in_use
}
