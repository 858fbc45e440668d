//! What the one who sent REFER is told of its outcome (RFC 3515, 2.4.4). Whether NOTIFY gets through
//! is nobody else's business: a refused one ends the subscription, and the call goes on.

use super::{Call, Fate};
use crate::core::{Core, Owner};
use crate::io::PeerLeg;
use crate::timers::Timer;
use sip_core::Method;
use sip_core::transaction::ClientId;
use sip_core::usage::subscription::{Notice, Subscription};
use std::sync::Arc;
use std::time::Instant;

/// The subscription of one REFER.
pub(super) struct Referral {
    pub(super) by: Referrer,
    /// Names the REFER where it is not the first of its dialog (RFC 3515, 2.4.6).
    id: Option<u32>,
    subscription: Subscription,
    /// The NOTIFY that is out.
    client: Option<ClientId>,
}

/// Whose dialog the NOTIFYs go out on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Referrer {
    /// A leg of the call.
    Leg(PeerLeg),
    /// The leg that has given its place away.
    Former,
}

impl Referral {
    pub(super) fn due(&self) -> Option<Instant> {
        self.subscription.due()
    }
}

impl Call {
    /// A REFER has been accepted; `id` is its CSeq number if it is not the first of its dialog.
    pub(super) fn subscribe(&mut self, core: &mut Core, by: PeerLeg, id: Option<u32>) {
        let (subscription, first) = Subscription::begin(core.now.mono);
        let by = Referrer::Leg(by);
        self.transfers.referral = Some(Box::new(Referral { by, id, subscription, client: None }));
        self.notify(core, Some(first));
    }

    /// The new call makes progress.
    pub(super) fn tell_progress(&mut self, core: &mut Core, status: u16) {
        let now = core.now.mono;
        let referral = self.transfers.referral.as_mut();
        let notice = referral.and_then(|referral| referral.subscription.progress(now, status));
        self.notify(core, notice);
    }

    /// The new call is answered, or has failed.
    pub(super) fn tell_outcome(&mut self, core: &mut Core, status: u16) {
        let now = core.now.mono;
        let referral = self.transfers.referral.as_mut();
        let notice = referral.and_then(|referral| referral.subscription.outcome(now, status));
        if let Some(due) = self.transfers.referral.as_ref().and_then(|referral| referral.due()) {
            core.timers.arm(due, Timer::Transfer(self.id));
        }
        self.notify(core, notice);
    }

    /// Repeats what is due to be repeated.
    pub(super) fn tell_again(&mut self, core: &mut Core) {
        let now = core.now.mono;
        let referral = self.transfers.referral.as_mut();
        let notice = referral.and_then(|referral| referral.subscription.handle_timeout(now));
        self.notify(core, notice);
    }

    /// A NOTIFY was answered; `None` where nothing came.
    pub(crate) fn notify_answered(
        &mut self,
        core: &mut Core,
        client: ClientId,
        status: Option<u16>,
    ) -> Fate {
        let Some(referral) = &mut self.transfers.referral else { return Fate::Lives };
        if referral.client.take_if(|ours| *ours == client).is_none() {
            return Fate::Lives;
        }
        let notice = referral.subscription.answered(core.now.mono, status);
        if referral.subscription.is_over() {
            self.transfers.referral = None;
        } else if let Some(due) = referral.due() {
            core.timers.arm(due, Timer::Transfer(self.id));
        }
        self.notify(core, notice);
        Fate::Lives
    }

    fn notify(&mut self, core: &mut Core, notice: Option<Notice>) {
        let (Some(notice), Some(referral)) = (notice, &self.transfers.referral) else { return };
        let (by, id) = (referral.by, referral.id);
        let plan = Arc::clone(&self.plan);
        let leg = match by {
            Referrer::Leg(which) => self.leg(which),
            Referrer::Former => self.transfers.former.as_mut().map(|former| &mut former.leg),
        };
        let Some(leg) = leg else { return };
        let Some(hop) = leg.hop(core, &plan) else { return };
        let mut request = leg.request(core, Method::Notify);
        notice.write(&mut request, id);
        let client = core.request(hop, request, Owner::Notify(self.id));
        if let Some(referral) = &mut self.transfers.referral {
            referral.client = Some(client);
        }
    }
}
