//! Who still gets in when there is more to do than time: new calls are turned away before memory or the
//! calls that are up suffer.

use crate::core::Core;
use crate::io::Flow;
use crate::party::Called;
use crate::routing;
use sip_core::transaction::Share;
use sip_core::{Method, Request};
use std::time::{Duration, Instant};

/// Messages that wait for so long say that there is more than we can do: a fifth of T1, so that nothing
/// has been sent again yet, and set-up is not felt to be slow.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// For so long all of them have to, as a machine that stood still for a moment catches up by itself.
const PERSISTS: Duration = Duration::from_millis(500);
/// From then on, only a queue that is as good as empty says that it is over.
const WAIT_OVER: Duration = Duration::from_millis(20);

/// Whether messages wait too long.
#[derive(Debug, Default)]
pub(crate) struct Overload {
    behind: bool,
    /// Since when every message has waited too long.
    late_since: Option<Instant>,
}

impl Overload {
    /// The message that comes next has waited for so long.
    pub(crate) fn waited(&mut self, now: Instant, wait: Duration) {
        if wait >= WAIT_MAX {
            let since = *self.late_since.get_or_insert(now);
            self.behind |= now.saturating_duration_since(since) >= PERSISTS;
        } else {
            self.late_since = None;
            self.behind &= wait > WAIT_OVER;
        }
    }
}

/// What of the transaction table a request may take. What ends calls, asks whether we live or may save
/// a life has a share of its own, and no wait shuts it out.
pub(crate) fn share(core: &Core, flow: &Flow, request: &Request) -> Share {
    if request.headers.to().tag().is_some() || request.method == Method::Options {
        return Share::Reserve;
    }
    let pressed = core.overload.behind || core.layer.is_full();
    if pressed && request.method == Method::Invite && is_emergency(core, flow, request) {
        return Share::Reserve;
    }
    if core.overload.behind { Share::Nothing } else { Share::Usual }
}

/// An emergency number that a tenant dials (TDR-EMG-001).
fn is_emergency(core: &Core, flow: &Flow, request: &Request) -> bool {
    let plan = &core.plan;
    let Ok(uri) = request.request_uri() else { return false };
    let Some(called) = Called::of(&uri) else { return false };
    let trunk = plan.trunk(&flow.trunk);
    let Some(trunk) = trunk else { return false };
    let host = String::from_utf8_lossy(uri.host).to_ascii_lowercase();
    let tenant = plan.tenant_under(&host);
    let from = routing::direction_from(trunk.kind);
    tenant.is_some_and(|tenant| routing::is_emergency(tenant, from, &called.number))
}
