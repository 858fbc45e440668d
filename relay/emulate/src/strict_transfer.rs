//! What comes back of a transfer: the words of REFER octet by octet, and once only.

use crate::core::Core;
use crate::persona::Persona;
use crate::strict::Fault;
use sip_core::{Method, Name, Request};

/// What is wrong with an INVITE that comes of a REFER of ours (TDR-XFR-013, TDR-XFR-019).
pub(crate) fn invite(core: &Core, request: &Request) -> Vec<Fault> {
    let mut faults = Vec::new();
    let begins = request.method == Method::Invite && request.headers.to().tag().is_none();
    let by = request.headers.get(Name::ReferredBy);
    let (Persona::Teams(_), true, Some(by)) = (&core.persona, begins, by) else { return faults };
    // What else has Referred-By is a forwarded call, which names no transfer of ours.
    if !by.windows(4).any(|window| window.eq_ignore_ascii_case(b"x-m=")) {
        return faults;
    }
    let gone = "Replacement call was not found";
    match core.referred.iter().find(|referred| referred.by == by) {
        None => faults.push(Fault::refused("TDR-XFR-013", 404, 10_202, gone)),
        Some(referred) if referred.target != request.uri => {
            let text = "Request-URI is not what Refer-To names";
            faults.push(Fault::refused("TDR-XFR-013", 400, 540_400, text));
        }
        Some(referred) if referred.used => {
            faults.push(Fault::refused("TDR-XFR-019", 404, 10_202, gone));
        }
        Some(_) => {}
    }
    faults
}

/// Its call has come up, or was refused for good.
pub(crate) fn use_up(core: &mut Core, request: &Request) {
    let Some(by) = request.headers.get(Name::ReferredBy) else { return };
    for referred in core.referred.iter_mut().filter(|referred| referred.by == by) {
        referred.used = true;
    }
}
