//! What of one leg's headers crosses to the other: identities, privacy, diversions, location and
//! the few that are carried as they are.
//!
//! Nothing is copied wholesale. Each header is read into what it says, and written anew under our
//! own host for the leg it goes out on, so that no name of one side is ever seen on the other.

mod asserted;
mod carried;
mod civic;
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

pub use policy::{
    DivertedIdentity, Forwarding, Geolocation, HeaderPolicy, PrivacyId, ReasonPolicy, Trust,
};
pub use rules::{
    HeaderAction, HeaderRule, NoHeaderRule, Template, header_expression, may_be_changed,
};

use crate::identity::Identity;
use crate::lmo::Said;
use crate::party::Caller;
use crate::plan::{Pidf, Trunk, TrunkKind};
use crate::reject::Reject;
use asserted::{Asserted, End};
use bytes::Bytes;
use carried::{Carried, Passage};
use civic::Civic;
use diverted::Diversions;
use location::Locations;
use named::Named;
use privacy::Privacy;
use sip_core::{Headers, Name, Request};

/// What an INVITE says beside who calls whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crossing {
    from_teams: bool,
    emergency: bool,
    privacy: Privacy,
    asserted: Asserted,
    diversions: Diversions,
    /// Who forwards the call, as Teams names them beside or without History-Info.
    referred_by: Option<Named>,
    carried: Carried,
    locations: Locations,
    /// What an emergency route says of them.
    pidf: Option<Pidf>,
    /// What Teams says of where its user is, for an SBC behind us.
    place: Option<Said>,
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
            referred_by: headers
                .get(Name::ReferredBy)
                .filter(|_| trunk.kind == TrunkKind::Teams)
                .and_then(Named::parse)
                .filter(Named::is_telephone),
            carried: Carried::of(headers),
            locations: Locations::of(request),
            pidf: None,
            place: Said::of(headers).filter(|_| trunk.kind == TrunkKind::Teams),
        }
    }

    /// The same for an emergency call, whose location crosses and which nothing here stops
    /// (TDR-EMG-002).
    pub(crate) fn for_emergency(self, emergency: bool) -> Self {
        Self { emergency, ..self }
    }

    /// The same on a route that says what becomes of the location.
    pub(crate) fn located(self, pidf: Option<Pidf>) -> Self {
        Self { pidf, ..self }
    }

    /// What the location of the caller says in words.
    pub(crate) fn civic(&self) -> Civic {
        Civic::of(self.locations.parts())
    }

    /// This number is who calls, to everybody: whoever answers a call for help has to call back.
    pub(crate) fn reveal(&mut self, number: &str) {
        self.privacy = Privacy::default();
        self.asserted = Asserted::of_number(number);
    }

    /// Whether nobody may be told who calls.
    pub(crate) const fn hides_caller(&self) -> bool {
        self.privacy.user || self.privacy.id
    }

    /// The number of who diverted the call last, if that may be told.
    pub(crate) fn diverted_by(&self) -> Option<&str> {
        self.diversions.last()
    }

    /// The number of who forwarded the call last, as far as it is known at all (TDR-FWD-001).
    pub(crate) fn forwarded_by(&self) -> Option<&str> {
        let referred = || self.referred_by.as_ref().map(|named| named.user.as_str());
        self.diversions.last_number().or_else(referred)
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
        let named = self.asserted.parties_mut().chain(self.diversions.parties_mut());
        named.chain(&mut self.referred_by).for_each(|party| {
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
            let diverter = self.forwarded_by().filter(|_| {
                !self.emergency && trunk.headers.diverted == DivertedIdentity::Diverter
            });
            let asserted = diverter.map(Asserted::of_number);
            let asserted = asserted.as_ref().unwrap_or(&self.asserted);
            asserted.write(headers, self.privacy, caller.is_anonymous(), peer);
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

    /// Writes where the Teams user is, for an SBC behind us that optimises media.
    pub(crate) fn write_place(&self, headers: &mut Headers) {
        if let Some(place) = &self.place {
            place.write(headers);
        }
    }

    /// What Teams says of where its user is.
    pub(crate) const fn place(&self) -> Option<&Said> {
        self.place.as_ref()
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
        let location = match (self.pidf, to.headers.geolocation) {
            (Some(pidf), _) if self.emergency => pidf == Pidf::Passthrough,
            (_, Geolocation::Emergency) => self.emergency,
            (_, Geolocation::Pass) => true,
            (_, Geolocation::Strip) => false,
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
