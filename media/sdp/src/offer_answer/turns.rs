//! A fax takes the place of speech on a leg, and speech that of a fax (ITU-T T.38, annex D).

use super::{Agreed, Media, Negotiation, Open, Refusal, Written};
use crate::remote::Remote;
use crate::stream::Stream;
use crate::write::{Draft, Slot};
use bytes::Bytes;

impl Negotiation {
    /// Whether a fax may take the place of what is agreed: of what is encrypted nothing goes on in the
    /// clear, and where ICE has found the way nothing else has to.
    pub fn can_fax(&self) -> bool {
        let plain = |it: &Stream| it.crypto.is_none() && it.dtls.is_none() && it.ice.is_none();
        self.ability.fax && self.stream().is_none_or(plain)
    }

    /// Answers an offer of a fax with one.
    pub(super) fn answer_fax(
        &mut self,
        theirs: Box<Remote>,
        media: &Media,
    ) -> Result<(Bytes, Stream), Refusal> {
        if media.fax.is_none() {
            return Err(Refusal::NoFax);
        }
        let direction = media.direction.within(theirs.media.direction.reversed());
        let media = Media { direction, ..media.clone() };
        let draft = Draft::of_fax(media, theirs.proto.clone(), theirs.slots.clone());
        let stream = super::stream(&theirs, &draft, Vec::new(), direction, &self.agreement(false));
        let ours = self.issue(draft);
        let body = ours.body.clone();
        self.agree(Agreed { stream: stream.clone(), ours, theirs, answers_us: false });
        Ok((body, stream))
    }

    /// Takes the answer to an offer of a fax.
    pub(super) fn take_fax(&mut self, ours: Box<Written>, theirs: Box<Remote>) -> (Media, Stream) {
        let offered = ours.draft.media.direction;
        let direction = offered.within(theirs.media.direction.reversed());
        let began = self.agreement(true);
        let stream = super::stream(&theirs, &ours.draft, Vec::new(), direction, &began);
        let media = theirs.media.clone();
        self.agree(Agreed { stream: stream.clone(), ours, theirs, answers_us: true });
        (media, stream)
    }

    /// An offer has its answer.
    pub(super) fn agree(&mut self, agreed: Agreed) {
        let is_fax = |agreed: &Agreed| agreed.ours.draft.media.fax.is_some();
        self.open = Open::Nothing;
        self.left = None;
        match is_fax(&agreed) {
            true => {
                let before = self.in_force.take().filter(|before| !is_fax(before));
                self.speech = before.map(Box::new).or(self.speech.take());
            }
            false => self.speech = None,
        }
        self.in_force = Some(agreed);
    }

    /// The m-lines of our next offer.
    pub(super) fn slots_for(&self, fax: bool) -> Vec<Slot> {
        match &self.in_force {
            Some(agreed) => agreed.ours.draft.slots_for(fax),
            None => vec![Slot::Agreed { mid: None }],
        }
    }

    /// The speech that is agreed, or was before a fax took its place.
    pub(super) fn speech_agreed(&self) -> Option<&Agreed> {
        let in_force = self.in_force.as_ref().filter(|it| it.ours.draft.media.fax.is_none());
        in_force.or(self.speech.as_deref())
    }

    /// Forgets an open offer that the far side took without any stream of it. It does not hold any more
    /// what was in force, which our next offer describes anew.
    pub fn abandon(&mut self) {
        self.rollback();
        if let Some(agreed) = &mut self.in_force {
            agreed.ours.body = Bytes::new();
        }
    }
}
