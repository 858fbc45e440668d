//! What we take as a user agent server: the one list for the daemon and for `tollgate sip`.

use crate::plan::{Reliable, Trunk, TrunkKind};
use sip_core::Method;
use sip_core::message::Supported;
use sip_core::usage::prack::REL100;

/// What some trunk takes; REGISTER, the last, only one with a registrar.
const METHODS: &[Method] = &[
    Method::Invite,
    Method::Ack,
    Method::Bye,
    Method::Cancel,
    Method::Options,
    Method::Notify,
    Method::Update,
    Method::Prack,
    // Keys, and whether we are there.
    Method::Info,
    // Within a dialog, where the tenant or trunk says so.
    Method::Refer,
    Method::Register,
];

/// What we take as a user agent server, on one kind of trunk or another.
pub const SUPPORTED: Supported<'_> = Supported {
    methods: METHODS.split_at(METHODS.len() - 1).0,
    schemes: &["sip", "tel"],
    extensions: &["timer", "replaces", REL100],
    content_types: &["application/sdp", "multipart/mixed"],
    // A call is better carried without its note than refused for it.
    unread_types: &["text/plain"],
    // A call goes on to another hop, but its Max-Forwards is judged with its route.
    forwards: false,
};

/// What we take on this trunk: reliable provisional responses only from a carrier, and only where
/// its trunk has them (TDR-EM-024), and REGISTER only where there is a registrar.
pub(crate) fn on(trunk: Option<&Trunk>) -> Supported<'static> {
    let registrar = trunk.is_some_and(|trunk| trunk.accounts.registrar.is_some());
    let methods = if registrar { METHODS } else { SUPPORTED.methods };
    let supported = match trunk {
        Some(Trunk { kind: TrunkKind::Carrier, reliable, .. }) if *reliable != Reliable::Off => {
            SUPPORTED
        }
        _ => Supported { extensions: &["timer", "replaces"], ..SUPPORTED },
    };
    Supported { methods, ..supported }
}

#[cfg(test)]
mod tests {
    use super::SUPPORTED;
    use crate::identity::{REFER, allow};
    use crate::plan::TrunkKind;
    use std::collections::BTreeSet;

    #[test]
    fn what_we_allow_is_what_we_take() {
        let allowed: BTreeSet<&[u8]> = [TrunkKind::Teams, TrunkKind::Carrier]
            .iter()
            .flat_map(|kind| allow(*kind).split(", ").chain([REFER]).map(str::as_bytes))
            .collect();
        let taken: BTreeSet<&[u8]> = SUPPORTED.methods.iter().map(|m| m.as_bytes()).collect();
        assert_eq!(allowed, taken);
    }
}
