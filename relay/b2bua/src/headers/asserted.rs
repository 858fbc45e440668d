//! Who a trusted network says is calling, or has answered (RFC 3325; Remote-Party-ID, its
//! forerunner, is read and not written).

use super::named::Named;
use super::policy::Trust;
use super::privacy::Privacy;
use crate::identity::Identity;
use sip_core::{Headers, Name, NameAddr};

/// Identities of one party: RFC 3325, 9.1 allows a sip and a tel URI.
const IDENTITIES_MAX: usize = 4;
const REMOTE_PARTY_ID: Name = Name::Other("Remote-Party-ID");

/// Which end of the call a message speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The one that calls: in a request.
    Calling,
    /// The one that answers: in a response.
    Called,
}

/// The identities a message asserts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asserted {
    identities: Vec<Named>,
    /// What somebody without our trust would like to be called (RFC 3325, 9.2).
    preferred: Option<Named>,
}

impl Asserted {
    /// Reads them; `privacy` learns what Remote-Party-ID asks for. Who is not trusted asserts
    /// nothing, and who is has nothing to prefer (RFC 3325, 5 and 6).
    pub(crate) fn of(headers: &Headers, end: End, from: Trust, privacy: &mut Privacy) -> Self {
        let named = |name| {
            let listed = headers.list(name).filter_map(Named::parse);
            listed.filter(|named| !named.is_anonymous())
        };
        if from == Trust::Untrusted {
            let preferred = named(Name::PPreferredIdentity).next();
            return Self { preferred, ..Self::default() };
        }
        let mut identities: Vec<Named> =
            named(Name::PAssertedIdentity).take(IDENTITIES_MAX).collect();
        if identities.is_empty() {
            identities.extend(remote_party(headers, end, privacy));
        }
        Self { identities, preferred: None }
    }

    /// A number that we vouch for ourselves.
    pub(crate) fn of_number(number: &str) -> Self {
        Self { identities: vec![Named::number(number)], preferred: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    /// Everybody who is named, to change.
    pub(crate) fn parties_mut(&mut self) -> impl Iterator<Item = &mut Named> {
        self.identities.iter_mut().chain(&mut self.preferred)
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = &str> {
        self.identities.iter().chain(&self.preferred).map(|named| named.user.as_str())
    }

    /// Forgets whom `keep` does not say.
    pub(crate) fn keep(&mut self, keep: impl Fn(&str) -> bool) {
        self.identities.retain(|named| keep(&named.user));
        self.preferred.take_if(|named| !keep(&named.user));
    }

    /// The one to show as caller where only From is read (TDR-OUT-004).
    pub(crate) fn shown(&self) -> Option<&Named> {
        let number = self.identities.iter().find(|named| named.is_telephone());
        number.or(self.preferred.as_ref().filter(|named| named.is_telephone()))
    }

    /// Writes P-Asserted-Identity and Privacy for a trunk that is trusted or not; `hidden` tells
    /// that From names nobody there, which an asserted identity must not undo for the public.
    pub(crate) fn write(
        &self,
        headers: &mut Headers,
        privacy: Privacy,
        hidden: bool,
        to: (Trust, &Identity),
    ) {
        let (trust, us) = to;
        // RFC 3325, 7: with `none` the identity is for everybody.
        let tells = trust == Trust::Trusted || (privacy.is_none() && !hidden);
        if tells && !self.identities.is_empty() {
            let all: Vec<Vec<u8>> =
                self.identities.iter().map(|named| named.asserted(us)).collect();
            headers.push(Name::PAssertedIdentity, all.join(&b", "[..]));
        }
        let withheld = hidden && tells && !self.identities.is_empty();
        if let Some(left) = privacy.left_for(trust, withheld) {
            headers.push(Name::Privacy, left);
        }
    }
}

fn remote_party(headers: &Headers, end: End, privacy: &mut Privacy) -> Option<Named> {
    let wanted = match end {
        End::Calling => &b"calling"[..],
        End::Called => b"called",
    };
    headers.list(REMOTE_PARTY_ID).take(IDENTITIES_MAX).find_map(|element| {
        let address = NameAddr::parse(element).ok()?;
        let party = address.param("party").unwrap_or(wanted);
        if !party.eq_ignore_ascii_case(wanted) {
            return None;
        }
        let asked = address.param("privacy").unwrap_or(b"off").to_ascii_lowercase();
        privacy.id |= [&b"full"[..], b"name", b"uri"].contains(&asked.as_slice());
        Named::parse(element).filter(|named| !named.is_anonymous())
    })
}
