//! What our end of a leg names: its address and ports, its keys, and its part in ICE.

use super::{Agreed, Local, Negotiation, Open, Refusal};
use crate::ice::{Credentials, IceOffered, IcePolicy, OurIce};
use crate::remote::Remote;
use crate::suite::{SrtpKey, Suite};
use std::net::IpAddr;

impl Negotiation {
    /// The same for a leg that takes part in ICE. The credentials are fresh: they are those of all
    /// forks of our offer, and of nobody else (TDR-ICE-005).
    pub fn with_ice(self, policy: IcePolicy, credentials: Credentials) -> Self {
        let ice = match policy {
            IcePolicy::Off => OurIce::None,
            policy => OurIce::Agent(policy, credentials),
        };
        Self { ice, ..self }
    }

    /// Whether it has nothing to name should the far side begin ICE anew.
    pub const fn wants_credentials(&self) -> bool {
        matches!(self.ice, OurIce::Agent(..)) && self.spare.is_none()
    }

    /// What to name should the far side begin ICE anew (TDR-ICE-010).
    pub fn spare_credentials(&mut self, fresh: Credentials) {
        self.spare = Some(fresh);
    }

    /// Begins ICE anew by the next offer, if there is any ICE (RFC 8445, 9).
    pub fn restart_ice(&mut self, fresh: Credentials) {
        if let OurIce::Agent(_, ours) = &mut self.ice {
            *ours = fresh;
        }
    }

    /// Our end of ICE as our open offer names it, if it does.
    pub fn ice_offered(&self) -> Option<IceOffered> {
        let Open::Ours(ours) = &self.open else { return None };
        let (policy, local) = ours.draft.ice.offered()?;
        Some(IceOffered { local: local.clone(), lite: policy != IcePolicy::Full })
    }

    /// From now on our descriptions tell `key`, which the far side of another leg protects with.
    pub fn tell(&mut self, key: SrtpKey) {
        self.only = Some(key.suite());
        self.renew([key.passed()]);
    }

    /// From now on our descriptions tell these keys, each in place of the one of its suite.
    pub fn renew(&mut self, keys: impl IntoIterator<Item = SrtpKey>) {
        for key in keys {
            self.local.keys.retain(|known| known.suite() != key.suite());
            self.local.keys.push(key);
        }
    }

    /// From now on our descriptions name this address and these ports: the leg's media has moved there.
    pub fn relocate(&mut self, address: IpAddr, rtp_port: u16, rtcp_port: u16) {
        (self.local.address, self.local.rtp_port) = (address, rtp_port);
        self.local.rtcp_port = rtcp_port;
    }

    /// What is described next names this address and these ports; a [rollback](Self::rollback) leads back
    /// to those before it (TDR-LMO-003).
    pub fn propose(&mut self, address: IpAddr, rtp_port: u16, rtcp_port: u16) {
        let Local { address: at, rtp_port: rtp, rtcp_port: rtcp, .. } = self.local;
        self.left.get_or_insert((at, rtp, rtcp));
        self.relocate(address, rtp_port, rtcp_port);
    }

    /// Whether our answer to the open offer may name another address than before: ICE that goes on would
    /// not check it, as only whoever offers may begin it anew for that (RFC 8839, 4.4.1.1.1).
    pub fn may_answer_elsewhere(&self) -> bool {
        let Open::Theirs(theirs) = &self.open else { return false };
        let before = self.stream().and_then(|stream| stream.ice.as_ref());
        let goes_on = before.zip(theirs.ice.as_ref());
        goes_on.is_none_or(|(before, offered)| before.remote != offered.credentials)
    }

    /// The key that the far side protects with, by its last description: none if it named several, or
    /// one with an MKI.
    pub fn remote_key(&self) -> Option<&SrtpKey> {
        let theirs = match (&self.open, &self.in_force) {
            (Open::Theirs(theirs), _) | (_, Some(Agreed { theirs, .. })) => theirs,
            _ => return None,
        };
        match &theirs.crypto.as_ref()?.keys[..] {
            [key] if key.mki().is_none() => Some(key),
            _ => None,
        }
    }

    /// A crypto line for each suite, with tags from 1 on (TDR-SDP-005).
    pub(super) fn lines(&self, suites: impl Iterator<Item = Suite>) -> Vec<(u32, SrtpKey)> {
        (1..).zip(suites.filter_map(|suite| self.key(suite).cloned())).collect()
    }

    /// Keys of ours are nobody else's (RFC 4568, 6.1): under them our own packets, sent back to us, would
    /// be authentic.
    pub(super) fn without_our_keys(&self, theirs: &mut Remote) -> Result<(), Refusal> {
        let Some(crypto) = &mut theirs.crypto else { return Ok(()) };
        let is_ours =
            |key: &SrtpKey| self.local.keys.iter().any(|own| own.key_salt() == key.key_salt());
        crypto.keys.retain(|key| !is_ours(key));
        if crypto.keys.is_empty() { Err(Refusal::SrtpRequired) } else { Ok(()) }
    }

    pub(super) fn key(&self, suite: Suite) -> Option<&SrtpKey> {
        self.local.keys.iter().find(|key| key.suite() == suite)
    }

    pub(super) fn suite_in_force(&self) -> Option<Suite> {
        let crypto = self.stream()?.crypto.as_ref()?;
        Some(crypto.local.suite())
    }

    /// What to answer of ICE: with our credentials, and new ones where theirs are (RFC 8445, 9).
    pub(super) fn ice_for(&mut self, theirs: &Remote) -> OurIce {
        let (OurIce::Agent(policy, ours), Some(offered)) = (&self.ice, &theirs.ice) else {
            return OurIce::None;
        };
        if offered.mismatch && *policy != IcePolicy::Bypass {
            return OurIce::Mismatch;
        }
        let before = self.in_force.as_ref().and_then(|agreed| agreed.stream.ice.as_ref());
        let anew = before.is_some_and(|ice| ice.remote != offered.credentials);
        let ours = match (anew, &self.spare) {
            (true, Some(fresh)) => fresh.clone(),
            _ => ours.clone(),
        };
        let ice = OurIce::Agent(*policy, ours);
        if anew {
            self.ice = ice.clone();
            self.spare = None;
        }
        ice
    }

    /// Who began the ICE that is in force: a description that changes nothing of it begins nothing.
    pub(super) fn agreement(&self, ours: bool) -> Began {
        let known = self.in_force.as_ref().and_then(|agreed| agreed.stream.ice.as_ref());
        let known = known.map(|ice| (ice.remote.clone(), ice.ours_first));
        Began { ours, known, address: self.local.address }
    }
}

/// Who describes ICE first, in an exchange and in the one before it.
pub(super) struct Began {
    ours: bool,
    known: Option<(Credentials, bool)>,
    /// Ours.
    pub(super) address: IpAddr,
}

impl Began {
    pub(super) fn ours_first(&self, theirs: &Remote) -> bool {
        let credentials = theirs.ice.as_ref().map(|ice| &ice.credentials);
        let known = self.known.as_ref().filter(|(known, _)| Some(known) == credentials);
        known.map_or(self.ours, |(_, ours_first)| *ours_first)
    }
}
