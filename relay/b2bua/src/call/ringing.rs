//! What the caller is told and hears of a callee that has not answered: 18x, and early media of the fork
//! that really sends it (RFC 3960; TDR-EM-001 to 023).
//!
//! ```text
//!  the first fork that describes itself ──▶ carried ── another describes itself, and it is silent ──▶ that one
//!                                             │  ╰──── another sends, and it is silent ─────────────▶ that one
//!                                             ╰─────── it has ended ──▶ the last of the others
//! ```

use super::attempt::{Described, Progress};
use super::{Call, Fate, Phase};
use crate::core::Core;
use crate::io::{Hop, PeerLeg};
use crate::leg;
use crate::plan::Ringback;
use crate::timers::Timer;
use sdp::{Carriage, Direction, Media, Sound, Terms};
use sip_core::Response;
use std::sync::Arc;
use std::time::Duration;

/// How long early media may take to begin once the callee rings: as long as it is silent, that is all
/// there is to tell.
const BEGINS_WITHIN: Duration = Duration::from_secs(1);

/// What the caller was told of a call that is not answered yet, and what is heard of ours.
#[derive(Default)]
pub(super) struct Ringing {
    /// The last 18x that leg A was sent.
    pub(super) told: Option<u16>,
    /// Leg A has our description already, in an 18x: it is the only one it gets (TDR-EM-021).
    pub(super) described: bool,
    /// What passes of the early media that was described, as leg A sees us.
    pub(super) passes: Option<Direction>,
    /// What leg A hears of ours.
    pub(super) plays: Option<Sound>,
    /// The callee's side has said that it rings after it had described early media.
    pub(super) rings: bool,
    /// Leg A was told so, as nothing came of that media.
    pub(super) over: bool,
}

impl Call {
    /// A 18x has come.
    pub(super) fn ringing(&mut self, core: &mut Core, from: &Hop, response: &Response) -> Fate {
        let plan = Arc::clone(&self.plan);
        let Phase::Setup(setup) = &mut self.phase else { return Fate::Lives };
        let Some(attempt) = setup.attempt.as_mut() else { return Fate::Lives };
        let carried = attempt.carried().is_some();
        let progress = attempt.progress(core, &plan, from, response);
        if leg::is_teams(&plan, attempt.trunk) {
            let forks = &mut self.record.teams.forks;
            *forks = attempt.forks().max(*forks);
        }
        // RFC 6228: a fork has ended; it rings nobody.
        if response.status == 199 {
            attempt.forget(response);
            self.another_is_heard(core, carried);
            return Fate::Lives;
        }
        let (trunk, status) = (attempt.trunk, response.status);
        let rang = core.now.mono.saturating_duration_since(self.began);
        self.record.ringing.get_or_insert(rang);
        self.note_place(PeerLeg::B, &response.headers);
        match (progress, leg::ringback(&plan, trunk, self.whose())) {
            (Progress::Ignored, _) => {}
            (_, Ringback::Tone) => self.ring_aloud(core, trunk),
            // Whatever the callee's side plays, the caller's own plays that it rings.
            (_, Ringback::Local) => self.ring(core, 180),
            (Progress::Ringing, Ringback::First) if self.has_rung() => {}
            (Progress::Ringing, Ringback::All) if self.is_described() => match status {
                183 => self.plays_again(core),
                status => self.ring_over(core, status),
            },
            (Progress::Ringing, _) => self.ring(core, status),
            (Progress::Described(early), _) => self.fork_described(core, status, &early),
        }
        Fate::Lives
    }

    /// Tells the caller that it rings at the callee; one of each is enough.
    pub(super) fn ring(&mut self, core: &mut Core, status: u16) {
        let offerless = self.asks_for_offer();
        let Phase::Setup(setup) = &mut self.phase else { return };
        if setup.ringing.told == Some(status) {
            return;
        }
        if setup.ringing.described {
            return self.keep_back(core, status);
        }
        setup.ringing.told = Some(status);
        // The first reliable response to an INVITE without offer holds ours (RFC 3261, 13.2.1).
        let first_offer = offerless && self.reliable.is_some();
        setup.ringing.described = first_offer;
        let body = first_offer.then(|| self.a.negotiation.make_offer(&setup.invitation.offer));
        self.inform(core, status, body, None);
    }

    /// Passes the callee's early media on to the caller.
    pub(super) fn describe_early(&mut self, core: &mut Core, status: u16, answer: &Media) {
        let offerless = self.asks_for_offer();
        let Phase::Setup(setup) = &self.phase else { return };
        if setup.ringing.described {
            return;
        }
        // An offer of ours can only be sent reliably (RFC 3261, 13.2.1): without that, the caller's
        // own side plays ringback.
        if offerless && self.reliable.is_none() {
            return self.ring(core, 180);
        }
        let Some(body) = self.describe(answer) else { return };
        let Phase::Setup(setup) = &mut self.phase else { return };
        setup.ringing.described = true;
        setup.ringing.told = Some(status);
        let passes = setup.ringing.passes;
        self.inform(core, status, Some(body), passes);
    }

    fn has_rung(&self) -> bool {
        matches!(&self.phase, Phase::Setup(setup) if setup.ringing.told.is_some())
    }

    fn is_described(&self) -> bool {
        matches!(&self.phase, Phase::Setup(setup) if setup.ringing.described)
    }

    /// A fork has described its early media, anew or under another authorization. One that sends is not
    /// left for it (TDR-EM-007).
    pub(super) fn fork_described(&mut self, core: &mut Core, status: u16, early: &Described) {
        let (plan, whose) = (Arc::clone(&self.plan), self.whose());
        let Phase::Setup(setup) = &mut self.phase else { return };
        let Some(attempt) = setup.attempt.as_mut() else { return };
        // The caller's side plays ringback, and was told nothing else.
        let rings = setup.ringing.told.is_some() && !setup.ringing.described;
        if rings && leg::ringback(&plan, attempt.trunk, whose) == Ringback::First {
            return;
        }
        let stays = attempt.carried().filter(|it| it.fork != early.fork).is_some_and(|carried| {
            carried.authorized.receives() && (attempt.streams || !early.authorized.receives())
        });
        if !stays {
            attempt.carry(early.fork);
        }
        self.hear_fork(core, status);
    }

    /// Has the caller hear the fork that is carried, as far as its early media is authorized.
    fn hear_fork(&mut self, core: &mut Core, status: u16) {
        let plan = Arc::clone(&self.plan);
        let Phase::Setup(setup) = &mut self.phase else { return };
        let Some(attempt) = setup.attempt.as_ref() else { return };
        let Some(early) = attempt.carried() else { return };
        let terms = Terms { early: attempt.early(), ..leg::terms(&plan, attempt.trunk) };
        let mut stream = early.stream;
        stream.direction = stream.direction.within(early.authorized);
        setup.ringing.passes = Some(early.authorized.reversed());
        let heard = early.authorized.receives();
        if !heard && !setup.ringing.described {
            return self.ring(core, 180);
        }
        setup.ringing.plays = None;
        if heard {
            self.pass_key_back(core, &stream);
            self.describe_early(core, status, &early.answer);
            // What was described before is told again where it was said to be over.
            self.plays_again(core);
        } else {
            self.ring_over(core, 180);
        }
        let a = self.early_a();
        self.connect(core, a, Some(Carriage { stream, terms }));
    }

    /// A fork has ended: if it was heard, another one is from now on, if there is any.
    pub(super) fn another_is_heard(&mut self, core: &mut Core, was_carried: bool) {
        let attempt = self.setup().and_then(|setup| setup.attempt.as_mut());
        if let Some(attempt) = attempt.filter(|it| was_carried && it.carried().is_none())
            && let Some(next) = attempt.last_described()
        {
            attempt.carry(next.fork);
            self.hear_fork(core, 183);
        }
    }

    /// Leg A before the answer, with what it hears of ours.
    pub(super) fn early_a(&self) -> Option<Carriage> {
        let mut a = self.a.carriage(&self.plan)?;
        if let Phase::Setup(setup) = &self.phase {
            a.terms.plays = setup.ringing.plays.clone();
        }
        Some(a)
    }

    /// The callee rings after it has described early media: that is told once nothing comes of it, as
    /// the caller's own side would play over what does (TDR-EM-003, TDR-EM-023).
    pub(super) fn keep_back(&mut self, core: &mut Core, status: u16) {
        let Phase::Setup(setup) = &mut self.phase else { return };
        if status != 180 || setup.ringing.rings {
            return;
        }
        setup.ringing.rings = true;
        if setup.attempt.as_ref().is_some_and(|attempt| !attempt.streams) {
            core.arm(BEGINS_WITHIN, Timer::Quiet(self.id));
        }
    }

    /// The early media of a callee that rings has had its time to begin.
    pub(crate) fn still_quiet(&mut self, core: &mut Core) -> Fate {
        if let Phase::Setup(setup) = &self.phase
            && setup.ringing.rings
            && setup.attempt.as_ref().is_some_and(|attempt| !attempt.streams)
        {
            self.ring_over(core, 180);
        }
        Fate::Lives
    }

    /// Tells a caller who has early media described that it rings.
    fn ring_over(&mut self, core: &mut Core, status: u16) {
        let Phase::Setup(setup) = &mut self.phase else { return };
        if setup.ringing.told.replace(status) != Some(status) {
            setup.ringing.over = true;
            self.inform(core, status, None, Some(Direction::Inactive));
        }
    }

    /// Tells a caller who was told that it rings that there is early media again: what it has described.
    fn plays_again(&mut self, core: &mut Core) {
        let reliable = self.reliable.is_some();
        let body = self.a.negotiation.last_local().cloned();
        let Phase::Setup(setup) = &mut self.phase else { return };
        let passes = setup.ringing.passes;
        if std::mem::take(&mut setup.ringing.over) {
            setup.ringing.told = Some(183);
            // What is acknowledged is not said again (RFC 3261, 13.2.1).
            self.inform(core, 183, body.filter(|_| !reliable), passes);
        }
    }

    /// A fork sends early media: the one that is carried, or another while that one does not.
    pub(super) fn fork_streams(&mut self, core: &mut Core, which: PeerLeg, fork: u32) -> Fate {
        let attempt = self.setup().and_then(|setup| setup.attempt.as_mut());
        let Some(attempt) = attempt.filter(|_| which == PeerLeg::B) else { return Fate::Lives };
        if attempt.described_by(fork).is_none_or(|it| !it.authorized.receives()) {
            return Fate::Lives;
        }
        let moves = attempt.carried().is_none_or(|carried| carried.fork != fork);
        attempt.carry(fork);
        attempt.streams = true;
        if moves {
            self.hear_fork(core, 183);
        }
        self.plays_again(core);
        Fate::Lives
    }

    /// The fork that is carried does not send any more.
    pub(super) fn fork_stops(&mut self, core: &mut Core, which: PeerLeg, fork: u32) -> Fate {
        let Some(setup) = self.setup().filter(|_| which == PeerLeg::B) else { return Fate::Lives };
        let rings = setup.ringing.rings;
        let attempt = setup.attempt.as_mut();
        if let Some(attempt) = attempt.filter(|it| it.carried().is_some_and(|it| it.fork == fork)) {
            attempt.streams = false;
            if rings {
                self.ring_over(core, 180);
            }
        }
        Fate::Lives
    }
}
