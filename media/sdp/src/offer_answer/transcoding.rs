//! Speech that this leg may speak though the other leg does not know it.

use super::{Media, Negotiation, Refusal};
use crate::codec::Codec;
use crate::pair::{fitting, matched};
use crate::payload::Payload;

impl Negotiation {
    /// From now on the leg may speak these codecs, which the other leg need not know, first preferred:
    /// what is between them will be transcoded.
    pub fn transcode_to(&mut self, codecs: &'static [Codec]) {
        self.transcoding = codecs;
    }

    /// Whether the speech of `media` can be made that of the stream in force, and the other way.
    pub fn can_transcode(&self, media: &Media) -> bool {
        let in_force = self.stream().and_then(|stream| stream.payloads.iter().find_map(Codec::of));
        !self.transcoding.is_empty() && in_force.is_some() && speaks_any_codec(media)
    }

    /// What the leg may be offered beyond `media`, where the other leg speaks that: speech, and
    /// telephone events at the clock of it if there are others.
    pub(super) fn transcodable(&self, media: &Media) -> Vec<Payload> {
        if !speaks_any_codec(media) {
            return Vec::new();
        }
        let known = |payload: &Payload| media.payloads.iter().any(|it| it.same_encoding(payload));
        let more = self.transcoding.iter().map(|codec| codec.payload());
        let mut more: Vec<Payload> = more.filter(|payload| !known(payload)).collect();
        let event = media.payloads.iter().find(|payload| payload.is_event());
        let narrow = more.iter().any(|payload| payload.clock_hz == EVENTS_HZ);
        if let Some(event) = event.filter(|_| narrow) {
            let event = Payload { clock_hz: EVENTS_HZ, ..event.clone() };
            more.extend(Some(event).filter(|event| !known(event)));
        }
        more
    }

    /// Of an offer, the first speech that can be made that of `agreed`, and what goes with it.
    pub(super) fn other_speech(&self, agreed: &Media, offered: &Media) -> Result<Media, Refusal> {
        let may = |payload: &&Payload| {
            Codec::of(payload).is_some_and(|codec| self.transcoding.contains(&codec))
        };
        let speech = offered.payloads.iter().find(may);
        let speech = speech.filter(|_| speaks_any_codec(agreed)).ok_or(Refusal::NoCommonCodec)?;
        let presses = agreed.payloads.iter().any(Payload::is_event);
        let common = matched(&agreed.payloads, &offered.payloads);
        let beside = |payload: &&Payload| match payload.is_event() {
            true => presses,
            false => {
                !payload.is_speech()
                    && payload.clock_hz == speech.clock_hz
                    && common.iter().any(|(_, theirs)| theirs.number == payload.number)
            }
        };
        let beside = offered.payloads.iter().filter(beside).cloned();
        let payloads = fitting(std::iter::once(speech.clone()).chain(beside).collect());
        Ok(Media { payloads, fax: None, ..agreed.clone() })
    }
}

/// The clock of telephone events of all that is transcoded but Opus, which has them beside it.
const EVENTS_HZ: u32 = 8000;

/// Whether speech of `media` can be transcoded.
pub(super) fn speaks_any_codec(media: &Media) -> bool {
    media.payloads.iter().any(|payload| Codec::of(payload).is_some())
}

/// `more` behind the speech of `payloads`: what needs no transcoding comes first.
pub(super) fn behind_speech(mut payloads: Vec<Payload>, more: Vec<Payload>) -> Vec<Payload> {
    let at = payloads.iter().rposition(Payload::is_speech).map_or(0, |last| last + 1);
    payloads.splice(at..at, more);
    payloads
}
