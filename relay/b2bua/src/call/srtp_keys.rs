//! SRTP keys of a call: passed through to the far sides where both trunks have it so, and changed when
//! ours are worn.
//!
//! ```text
//!  A's offer has K_A ──▶ our offer to B tells K_A
//!  A is told K_B     ◀── B's answer has K_B          nothing is decrypted in between
//! ```

use super::renegotiate::Why;
use super::{Call, Fate, Phase};
use crate::core::Core;
use crate::io::{Event, PeerLeg};
use crate::leg;
use crate::plan::{SrtpPolicy, TrunkKind};
use sdp::{Dtmf, Keying, Negotiation, Rtcp, SrtpKey, Stream};
use std::sync::Arc;

/// Re-INVITEs for the sake of a key on one leg: a far side that will not take a new key is not asked for
/// ever.
const REKEYS_MAX: u8 = 8;

/// How a record says that leg B was told leg A's key and has not answered.
const OFFERED: &str = "offered";

impl Call {
    /// Tells leg B on `trunk` the key of leg A's far side, if both trunks want keys passed through.
    pub(super) fn pass_key(&mut self, core: &mut Core, trunk: usize, b: &mut Negotiation) {
        self.record.passthrough = None;
        match self.key_to_pass(trunk) {
            Some(Ok(key)) => {
                b.tell(key);
                self.record.passthrough = Some(OFFERED.to_owned());
            }
            Some(Err(why)) => self.passes(core, Some(why)),
            None => {}
        }
    }

    /// The key of leg A's far side, or why it cannot be passed; `None` where nobody wants it to be.
    fn key_to_pass(&self, trunk: usize) -> Option<Result<SrtpKey, &'static str>> {
        let (a, b) = (self.plan.trunks.get(self.a.trunk)?, self.plan.trunks.get(trunk)?);
        if !a.passthrough || !b.passthrough {
            return None;
        }
        Some(match self.a.negotiation.remote_key() {
            _ if [a, b].iter().any(|trunk| trunk.terms.rtcp == Rtcp::Terminate) => {
                Err("rtcp_terminate")
            }
            _ if [a, b].iter().any(|t| matches!(t.terms.dtmf, Dtmf::Info | Dtmf::Inband)) => {
                Err("dtmf")
            }
            _ if [a, b].iter().any(|trunk| trunk.terms.comfort_noise) => Err("comfort_noise"),
            _ if [a, b].iter().any(|trunk| trunk.terms.music_on_hold.is_some()) => {
                Err("music_on_hold")
            }
            // Other packets under one key and index, as long as that is not changed again.
            _ if self.transcoding.allowed => Err("transcode"),
            _ if b.keying == Keying::Dtls => Err("dtls"),
            _ if b.srtp == SrtpPolicy::Off => Err("no_srtp"),
            None => Err("no_single_key"),
            Some(key) if b.suites.place(key.suite()).is_none() => Err("no_common_suite"),
            // Its one line is of the first suite (TDR-SDP-005).
            Some(key) if b.kind == TrunkKind::Teams && b.suites.place(key.suite()) != Some(0) => {
                Err("teams_suite")
            }
            Some(key) => Ok(key.clone()),
        })
    }

    /// Leg B has agreed this: leg A is told its far side's key, if leg B was told leg A's, and if packets
    /// mean the same on both legs as they are.
    pub(super) fn pass_key_back(&mut self, core: &mut Core, b: &Stream) {
        let Phase::Setup(setup) = &self.phase else { return };
        if setup.ringing.described || self.record.passthrough.as_deref() != Some(OFFERED) {
            return;
        }
        let offered = &setup.invitation.offer.payloads;
        let means_the_same = |payload: &sdp::Payload| {
            offered.iter().any(|o| o.number == payload.number && o.same_encoding(payload))
        };
        match b.crypto.as_ref().map(|crypto| &crypto.remote[..]) {
            Some([key]) if key.mki().is_none() => {
                let same = b.payloads.iter().all(means_the_same);
                if same {
                    self.a.negotiation.tell(key.clone());
                }
                self.passes(core, (!same).then_some("payload_numbers"));
            }
            _ => self.passes(core, Some("no_single_key")),
        }
    }

    /// Leg A was told the key of a fork that has not answered: it is told one of ours as soon as can be,
    /// as that fork may listen (TDR-EM-008).
    pub(super) fn key_of_a_loser(&mut self, core: &mut Core, b: &Stream) {
        let told = self.a.negotiation.stream().and_then(|stream| stream.crypto.as_ref());
        let told = told.map(|crypto| &crypto.local).filter(|key| key.is_passed());
        let Some(told) = told else { return };
        let theirs = b.crypto.as_ref().map(|crypto| &crypto.remote[..]).unwrap_or_default();
        if !theirs.iter().any(|key| key.is_same_secret(told)) {
            self.media.owes_key[0] = true;
            self.passes(core, Some("forked"));
        }
    }

    /// Notes whether keys pass through this call.
    fn passes(&mut self, core: &mut Core, refused: Option<&'static str>) {
        let said = refused.map_or_else(|| "yes".to_owned(), |why| format!("refused: {why}"));
        self.record.passthrough = Some(said);
        core.emit(Event::PassThrough { call: self.id, refused });
    }

    /// Our key on a leg is worn, or has to take the place of one that was passed: a re-INVITE tells a new
    /// one, after another that is under way.
    pub(super) fn rekey(&mut self, core: &mut Core, which: PeerLeg) -> Fate {
        let of_leg = usize::from(which == PeerLeg::B);
        let up = matches!(self.phase, Phase::Up(_));
        // Before the answer nobody can be asked.
        self.media.owes_key[of_leg] |= matches!(self.phase, Phase::Setup(_));
        if !up || self.media.rekeys[of_leg] == REKEYS_MAX || self.transfers.has_left(which) {
            return Fate::Lives;
        }
        self.media.owes_key[of_leg] = self.is_busy(which);
        if self.media.owes_key[of_leg] {
            return Fate::Lives;
        }
        self.media.rekeys[of_leg] += 1;
        let (plan, trunk) = (Arc::clone(&self.plan), self.trunk_of(which));
        let keys = leg::keys(core, &plan, trunk);
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        leg.negotiation.renew(keys);
        match leg.negotiation.last_local_media().cloned() {
            Some(same) => self.renegotiate(core, which, Why::Rekey, same),
            None => Fate::Lives,
        }
    }

    /// Tells the keys that could not be told while something else was under way.
    pub(super) fn rekey_owed(&mut self, core: &mut Core) -> Fate {
        for (of_leg, which) in [PeerLeg::A, PeerLeg::B].into_iter().enumerate() {
            let owed = std::mem::take(&mut self.media.owes_key[of_leg]);
            if owed && self.rekey(core, which) == Fate::Done {
                return Fate::Done;
            }
        }
        Fate::Lives
    }
}
