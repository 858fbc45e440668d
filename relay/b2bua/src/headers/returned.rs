//! What a response to our INVITE says beside its SDP, for the responses that the caller gets.

use super::asserted::{Asserted, End};
use super::carried::{Carried, Passage};
use super::privacy::Privacy;
use crate::cause;
use crate::identity::Identity;
use crate::plan::{Trunk, TrunkKind};
use sip_core::{Headers, Name, Response};

/// The last thing a target has said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returned {
    from_teams: bool,
    status: u16,
    privacy: Privacy,
    asserted: Asserted,
    carried: Carried,
    reason: Option<String>,
}

impl Returned {
    /// Reads a response that came in on `trunk`.
    pub(crate) fn of(trunk: &Trunk, response: &Response) -> Self {
        let headers = &response.headers;
        let mut privacy = Privacy::of(headers);
        let asserted = Asserted::of(headers, End::Called, super::trust(trunk), &mut privacy);
        let from_teams = trunk.kind == TrunkKind::Teams;
        Self {
            from_teams,
            status: response.status,
            privacy: privacy.as_meant(&trunk.headers, false),
            asserted,
            carried: Carried::of(headers),
            reason: cause::returning(headers, from_teams),
        }
    }

    /// Writes it into a response below 300 for the leg on trunk `to`; the identity of who answered
    /// crosses as that of who calls does.
    pub(crate) fn write(&self, headers: &mut Headers, to: (&Trunk, &Identity)) {
        let (trunk, us) = to;
        let teams = trunk.kind == TrunkKind::Teams;
        if !teams {
            let hidden = self.privacy.user;
            self.asserted.write(headers, self.privacy, hidden, (super::trust(trunk), us));
        }
        let passage = Passage { carriers: !teams && !self.from_teams, location: false };
        self.carried.write(headers, passage);
        if self.status < 200
            && let Some(reason) = &self.reason
        {
            headers.push(Name::Reason, reason.clone());
        }
    }

    /// The Reason for a final response of ours with `status`: what the far side said of the same
    /// status, else what the status says (RFC 6432; TDR-ERR-002).
    pub(crate) fn reason(&self, status: u16) -> String {
        match &self.reason {
            Some(reason) if self.status == status => {
                if reason.contains("Q.850") {
                    reason.clone()
                } else {
                    format!("{}, {reason}", cause::reason_of(status))
                }
            }
            _ => cause::reason_of(status),
        }
    }
}
