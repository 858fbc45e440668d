//! What a response to our INVITE says beside its SDP, for the responses that the caller gets.

use super::asserted::{Asserted, End};
use super::carried::{Carried, Passage};
use super::privacy::Privacy;
use crate::cause;
use crate::identity::Identity;
use crate::plan::{ReasonPolicy, Trunk, TrunkKind};
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
    /// The same with the Q.850 cause, whoever gave it.
    passed: Option<String>,
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
            passed: cause::returning(headers, false),
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
        let reason = match trunk.headers.reason {
            ReasonPolicy::Derive => &self.reason,
            ReasonPolicy::Pass => &self.passed,
            ReasonPolicy::Drop => &None,
        };
        if self.status < 200
            && let Some(reason) = reason
        {
            headers.push(Name::Reason, reason.clone());
        }
    }

    /// The Reason for a final response of ours with `status` to this trunk: what the far side said of
    /// the same status, else what the status says (RFC 6432; TDR-ERR-002).
    pub(crate) fn reason(&self, status: u16, to: Option<&Trunk>) -> Option<String> {
        let said = match to.map(|trunk| trunk.headers.reason).unwrap_or_default() {
            ReasonPolicy::Derive => &self.reason,
            ReasonPolicy::Pass => &self.passed,
            ReasonPolicy::Drop => return None,
        };
        Some(match said {
            Some(reason) if self.status == status => {
                if reason.contains("Q.850") {
                    reason.clone()
                } else {
                    format!("{}, {reason}", cause::reason_of(status))
                }
            }
            _ => cause::reason_of(status),
        })
    }
}
