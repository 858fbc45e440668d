//! Whether a call's speech may be turned from one codec to another, and whether it is.

use super::{Call, Phase};
use crate::core::Core;
use crate::io::Event;
use crate::leg;
use sdp::{Carriage, Conversion, Negotiation};
use std::sync::Arc;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Transcoding {
    /// The legs may have no codec in common.
    pub(super) allowed: bool,
    /// The call holds one of the places there are.
    reserved: bool,
    /// What leg A's speech is turned into for leg B.
    now: Option<Conversion>,
}

impl Call {
    /// Settles whether the call may be transcoded with leg B on `trunk`: if trunks and tenant allow,
    /// and there is a place.
    pub(super) fn settle_transcoding(&mut self, core: &mut Core, trunk: usize) {
        let plan = Arc::clone(&self.plan);
        let wanted = leg::may_transcode(&plan, [self.a.trunk, trunk], self.whose());
        if wanted && !self.transcoding.reserved {
            self.transcoding.reserved = core.transcoded.reserve(&plan);
            if !self.transcoding.reserved {
                core.emit(Event::TranscodingRefused);
            }
        }
        self.transcoding.allowed = wanted && self.transcoding.reserved;
        if !self.transcoding.allowed {
            // The target before this one was allowed to: nothing of that is left.
            if self.transcoding.now.is_some() {
                self.tell_who_counts(core, None);
                self.transcoding.now = None;
            }
            if std::mem::take(&mut self.transcoding.reserved) {
                core.transcoded.leave();
            }
        }
        let a = self.a.trunk;
        Self::tell(&plan, self.transcoding.allowed, a, &mut self.a.negotiation);
    }

    /// The same for a leg on `trunk` that is about to be made.
    pub(super) fn tell_transcoding(&self, trunk: usize, negotiation: &mut Negotiation) {
        let forbids = self.plan.trunks.get(trunk).is_some_and(|it| it.transcode == Some(false));
        Self::tell(&self.plan, self.transcoding.allowed && !forbids, trunk, negotiation);
    }

    fn tell(plan: &crate::plan::Plan, allowed: bool, trunk: usize, negotiation: &mut Negotiation) {
        negotiation.transcode_to(if allowed { leg::transcodable(plan, trunk) } else { &[] });
    }

    /// Whether the legs speak different codecs now.
    pub(super) const fn is_transcoded(&self) -> bool {
        self.transcoding.now.is_some()
    }

    /// Something new is to be carried: notes what that means, for the record and those who count.
    pub(super) fn note_transcoding(
        &mut self,
        core: &mut Core,
        a: Option<&Carriage>,
        b: Option<&Carriage>,
    ) {
        if !self.transcoding.allowed {
            return;
        }
        let in_force_b = self.b.as_ref().and_then(|leg| leg.negotiation.stream());
        let a = a.map(|carriage| &carriage.stream).or(self.a.negotiation.stream());
        let b = b.map(|carriage| &carriage.stream).or(in_force_b);
        let Some((a, b)) = a.zip(b) else { return };
        let now = Conversion::between(a, b);
        if now != self.transcoding.now {
            self.tell_who_counts(core, now);
            self.record.transcoded = now.or(self.record.transcoded);
            self.transcoding.now = now;
        }
        // Until the answer, another fork may need the place.
        if matches!(self.phase, Phase::Up(_)) {
            match (now, self.transcoding.reserved) {
                (Some(_), false) => core.transcoded.enter(),
                (None, true) => core.transcoded.leave(),
                _ => return,
            }
            self.transcoding.reserved = now.is_some();
        }
    }

    fn tell_who_counts(&self, core: &mut Core, now: Option<Conversion>) {
        let word = |conversion: Conversion| (conversion.from.as_str(), conversion.to.as_str());
        core.emit(Event::Transcoded { was: self.transcoding.now.map(word), now: now.map(word) });
    }

    /// The call is over.
    pub(super) fn end_transcoding(&mut self, core: &mut Core) {
        if self.transcoding.now.is_some() {
            self.tell_who_counts(core, None);
        }
        if self.transcoding.reserved {
            core.transcoded.leave();
        }
        self.transcoding = Transcoding::default();
    }
}
