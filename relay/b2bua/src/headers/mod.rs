//! What of one leg's headers crosses to the other: identities, privacy, diversions, location and
//! the few that are carried as they are.
//!
//! Nothing is copied wholesale. Each header is read into what it says, and written anew under our
//! own host for the leg it goes out on, so that no name of one side is ever seen on the other.

mod asserted;
mod carried;
mod diverted;
mod history;
mod location;
mod named;
mod policy;
mod privacy;
mod returned;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use returned::Returned;
pub(crate) use rules::{Facts, apply as apply_rules};

pub use policy::{Forwarding, Geolocation, HeaderPolicy, PrivacyId, Trust};
pub use rules::{
    HeaderAction, HeaderRule, NoHeaderRule, Template, header_expression, may_be_changed,
};

use crate::identity::Identity;
use crate::party::Caller;
use crate::plan::{Trunk, TrunkKind};
use crate::reject::Reject;
use asserted::{Asserted, End};
use bytes::Bytes;
use carried::{Carried, Passage};
use diverted::Diversions;
use location::Locations;
use privacy::Privacy;
use sip_core::{Headers, Request};

/// What an INVITE says beside who calls whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crossing {
    from_teams: bool,
    emergency: bool,
    privacy: Privacy,
    asserted: Asserted,
    diversions: Diversions,
    carried: Carried,
    locations: Locations,
}

impl Crossing {
    /// Reads an INVITE that came in on `trunk` from `caller`.
    pub(crate) fn of(trunk: &Trunk, caller: &Caller, request: &Request) -> Self {
        let headers = &request.headers;
        let mut privacy = Privacy::of(headers);
        let asserted = Asserted::of(headers, End::Calling, trust(trunk), &mut privacy);
        let privacy = privacy.as_meant(&trunk.headers, caller.is_anonymous());
        Self {
            from_teams: trunk.kind == TrunkKind::Teams,
            emergency: false,
            privacy,
            asserted,
            diversions: Diversions::of(headers, privacy),
            carried: Carried::of(headers),
            locations: Locations::of(request),
        }
    }

    /// The same for an emergency call, whose location crosses and which nothing here stops
    /// (TDR-EMG-002).
    pub(crate) fn for_emergency(self, emergency: bool) -> Self {
        Self { emergency, ..self }
    }

    /// Whether nobody may be told who calls.
    pub(crate) const fn hides_caller(&self) -> bool {
        self.privacy.user || self.privacy.id
    }

    /// The number of who diverted the call last, if that may be told.
    pub(crate) fn diverted_by(&self) -> Option<&str> {
        self.diversions.last()
    }

    /// Why no call can be made of it.
    pub(crate) fn refusal(&self) -> Option<(Reject, &'static str)> {
        if self.emergency {
            None
        } else if self.privacy.refuses() {
            Some((Reject::Privacy, "Privacy asks for what we cannot do, and says critical"))
        } else if self.diversions.are_too_many() {
            Some((Reject::ForwardLoop, "the call was diverted too often"))
        } else {
            None
        }
    }

    /// Changes every number of the calling side that `change` has another one for.
    pub(crate) fn renumber(&mut self, change: &dyn Fn(&str) -> Option<String>) {
        self.asserted.parties_mut().chain(self.diversions.parties_mut()).for_each(|party| {
            if let Some(user) = change(&party.user) {
                party.is_now(user);
            }
        });
    }

    /// Who a trusted network says is calling, as user parts.
    pub(crate) fn vouched(&self) -> impl Iterator<Item = &str> {
        self.asserted.users()
    }

    /// Nobody is vouched for but whom `keep` says.
    pub(crate) fn vouch_only_for(&mut self, keep: impl Fn(&str) -> bool) {
        self.asserted.keep(keep);
    }

    /// This number alone is vouched for, where anybody was or the caller hides.
    pub(crate) fn vouch_for(&mut self, number: &str, hidden: bool) {
        if hidden || !self.asserted.is_empty() {
            self.asserted = Asserted::of_number(number);
        }
    }

    /// Hides the caller, who is told to trusted networks alone: `number`, if nobody is vouched for.
    pub(crate) fn hide(&mut self, number: Option<&str>) {
        self.privacy = self.privacy.hidden();
        if let Some(number) = number.filter(|_| self.asserted.is_empty()) {
            self.asserted = Asserted::of_number(number);
        }
    }

    /// Who is named as caller towards `to`: nobody where that is asked for, and towards Teams,
    /// which reads nothing but From, whoever the carrier vouches for (TDR-OUT-004, TDR-PRI-003,
    /// TDR-PRI-006).
    pub(crate) fn caller(&self, caller: &Caller, to: &Trunk) -> Caller {
        let teams = to.kind == TrunkKind::Teams;
        let public = !self.emergency && (teams || trust(to) == Trust::Untrusted);
        if self.privacy.user || (self.privacy.id && public) {
            return caller.clone().unnamed();
        }
        match self.asserted.shown() {
            Some(shown) if teams => caller.clone().shown_as(&shown.user, &shown.display),
            _ => caller.clone(),
        }
    }

    /// Writes what the INVITE to `to` says, for `caller` as it is named there.
    pub(crate) fn write(
        &self,
        headers: &mut Headers,
        caller: &Caller,
        called: &str,
        to: (&Trunk, &Identity),
    ) {
        let (trunk, us) = to;
        let teams = trunk.kind == TrunkKind::Teams;
        // Who calls for help is to be found.
        let peer = (if self.emergency { Trust::Trusted } else { trust(trunk) }, us);
        // TDR-PRI-006: Microsoft reads no asserted identity.
        if !teams {
            self.asserted.write(headers, self.privacy, caller.is_anonymous(), peer);
        }
        let forwarding = trunk.headers.forwarding;
        if teams || forwarding.history_info() {
            history::write(&self.diversions, headers, called, peer, teams);
        }
        if !teams && forwarding.diversion() {
            self.diversions.write(headers, peer);
        }
        self.carried.write(headers, self.passage(trunk));
    }

    /// The body for `to`: the SDP, and the location beside it where that crosses.
    pub(crate) fn body(&self, sdp: Bytes, to: &Trunk, token: &str) -> (Bytes, Bytes) {
        if self.locations.is_empty() || !self.passage(to).location {
            return (crate::leg::SDP.into(), sdp);
        }
        let (kind, body) = self.locations.beside(&sdp, token);
        (kind.into(), body)
    }

    fn passage(&self, to: &Trunk) -> Passage {
        let teams = to.kind == TrunkKind::Teams;
        let location = match to.headers.geolocation {
            Geolocation::Emergency => self.emergency,
            Geolocation::Pass => true,
            Geolocation::Strip => false,
        };
        Passage { carriers: !teams && !self.from_teams, location: location && !teams }
    }
}

/// Microsoft asserts, and is told what was asked to be withheld in clear (TDR-FWD-003).
fn trust(trunk: &Trunk) -> Trust {
    match trunk.kind {
        TrunkKind::Teams => Trust::Trusted,
        TrunkKind::Carrier => trunk.headers.identity,
    }
}
