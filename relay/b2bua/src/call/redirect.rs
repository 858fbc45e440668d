//! A carrier's 3xx, followed where its trunk says so and only to that carrier's own hosts: a Contact
//! elsewhere would let the far side choose whom we call on the tenant's account.

use super::Call;
use super::attempt::Candidate;
use crate::core::Core;
use crate::party::Called;
use crate::plan::{TargetName, Transport, Trunk, TrunkKind};
use sip_core::message::Params;
use sip_core::{Name, NameAddr, Response, Uri};
use std::net::IpAddr;

/// Redirections followed in one call: a carrier moves a call between its hosts once or twice; more
/// is a loop.
const REDIRECTS_MAX: usize = 3;
/// The q of a Contact that gives none.
const Q_ONE: f32 = 1.0;

impl Call {
    /// Puts the Contacts of a redirection before the targets that still wait; whether there is one
    /// that may be followed. 305 and 380 ask for more than another address.
    pub(super) fn follow(&mut self, core: &mut Core, response: &Response) -> bool {
        if !matches!(response.status, 300..=302) {
            return false;
        }
        let plan = std::sync::Arc::clone(&self.plan);
        let Some(setup) = self.setup() else { return false };
        let Some(index) = setup.attempt.as_ref().map(|attempt| attempt.trunk) else { return false };
        let Some(trunk) = plan.trunks.get(index).filter(|trunk| follows(trunk)) else {
            return false;
        };
        let transport = plan.listeners.get(trunk.listener).map(|listener| listener.transport);
        let Some(transport) = transport else { return false };
        let mut contacts: Vec<(f32, Candidate)> = response
            .headers
            .list(Name::Contact)
            .filter_map(|contact| {
                let contact = NameAddr::parse(contact).ok()?;
                let (target, called) = place(trunk, transport, &contact.uri().ok()?)?;
                let to = core.target(&plan, index, &target).ok_or("no_address");
                let candidate = Candidate::new(index, target, to);
                Some((q(&contact), Candidate { redirected: Some(called), ..candidate }))
            })
            .collect();
        contacts.sort_by(|one, two| two.0.total_cmp(&one.0));
        contacts.truncate(REDIRECTS_MAX.saturating_sub(setup.redirects));
        setup.redirects += contacts.len();
        let followed = !contacts.is_empty();
        for (_, candidate) in contacts.into_iter().rev() {
            setup.waiting.push_front(candidate);
        }
        followed
    }
}

fn follows(trunk: &Trunk) -> bool {
    trunk.kind == TrunkKind::Carrier && trunk.follow_redirects
}

/// Where a Contact leads, if that is this carrier over this trunk's transport, and whom it names.
fn place(trunk: &Trunk, transport: Transport, uri: &Uri<'_>) -> Option<(TargetName, Called)> {
    let same = |it: &[u8]| it.eq_ignore_ascii_case(transport.param().as_bytes());
    if !uri.is_sip() || !uri.param("transport").is_none_or(same) {
        return None;
    }
    let host = std::str::from_utf8(uri.host).ok()?.to_ascii_lowercase();
    let named = trunk.targets.iter().any(|target| target.host == host);
    let address = host.parse::<IpAddr>().ok();
    let inside = address.is_some_and(|ip| trunk.sources.iter().any(|block| block.contains(ip)));
    if !named && !inside {
        return None;
    }
    let default = if transport == Transport::Tls { 5061 } else { 5060 };
    Some((TargetName { host, port: Some(uri.port.unwrap_or(default)) }, Called::of(uri)?))
}

/// How much a Contact is preferred (RFC 3261, 20.10).
fn q(contact: &NameAddr<'_>) -> f32 {
    let written = Params::new(contact.params()).find(|(name, _)| name.eq_ignore_ascii_case(b"q"));
    let value = written.and_then(|(_, value)| std::str::from_utf8(value?).ok());
    value.and_then(|value| value.parse().ok()).unwrap_or(Q_ONE)
}
