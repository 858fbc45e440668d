//! DTLS on a leg: which association a description means, and whether one goes on (RFC 8842).

use super::{Negotiation, Refusal};
use crate::ability::Keying;
use crate::dtls::{Certificate, Dtls, RemoteDtls, Role, Setup};
use crate::remote::{DtlsPreference, Preference, Remote};
use crate::write::DtlsLines;
use std::sync::Arc;

impl Negotiation {
    /// The same for a leg that may have its keys made by DTLS, under this certificate.
    pub fn with_certificate(self, certificate: Option<Arc<Certificate>>) -> Self {
        Self { certificate, ..self }
    }

    pub(super) fn preference(&self) -> Preference {
        let in_force = self.stream();
        let dtls = match (&self.certificate, in_force) {
            (None, _) => DtlsPreference::Never,
            (Some(_), Some(stream)) if stream.dtls.is_some() => DtlsPreference::First,
            (Some(_), Some(stream)) if stream.crypto.is_some() => DtlsPreference::Second,
            (Some(_), _) if self.ability.keying == Keying::Dtls => DtlsPreference::First,
            (Some(_), _) => DtlsPreference::Second,
        };
        Preference { suite: self.suite_in_force(), dtls }
    }

    /// What an offer of ours says of DTLS: the association that we have, if any, and any role, which
    /// an answer to it keeps (RFC 8842, 5.5).
    pub(super) fn offer_dtls(&self) -> Option<DtlsLines> {
        let fingerprint = *self.certificate.as_ref()?.fingerprint();
        Some(DtlsLines { fingerprint, setup: Setup::ActPass, tls_id: Some(self.tls_id) })
    }

    /// The association that the open offer asks for, and what our answer says of it (RFC 8842, 5.3).
    pub(super) fn answer_dtls(
        &self,
        theirs: &Remote,
        offered: &RemoteDtls,
    ) -> Result<(DtlsLines, Dtls), Refusal> {
        let local = self.certificate.as_ref().ok_or(Refusal::SrtpRequired)?;
        let before = self.dtls_before(theirs, offered);
        let prefer = if self.ability.behind_nat { Role::Passive } else { Role::Active };
        let role = offered.role_answering(before.map(|dtls| dtls.role), prefer);
        let role = role.ok_or(Refusal::NoFingerprint)?;
        let goes_on = before.filter(|dtls| dtls.role == role);
        let begun_anew = goes_on.is_none() && self.stream().is_some_and(|it| it.dtls.is_some());
        let lines = DtlsLines {
            fingerprint: *local.fingerprint(),
            setup: Setup::of(role),
            tls_id: offered.tls_id.as_ref().map(|_| self.tls_id + u32::from(begun_anew)),
        };
        let dtls = goes_on.cloned().unwrap_or_else(|| self.new_dtls(local, theirs, offered, role));
        Ok((lines, dtls))
    }

    /// The association that an answer to our offer means.
    pub(super) fn take_dtls(
        &self,
        theirs: &Remote,
        answered: &RemoteDtls,
        lines: &DtlsLines,
    ) -> Result<Dtls, Refusal> {
        let local = self.certificate.as_ref().ok_or(Refusal::SrtpRequired)?;
        let role = match lines.setup {
            Setup::ActPass => answered.role_answered(),
            Setup::Active => Some(Role::Active),
            Setup::Passive => Some(Role::Passive),
            Setup::HoldConn => None,
        };
        let role = role.ok_or(Refusal::NoFingerprint)?;
        let goes_on = self.dtls_before(theirs, answered).filter(|dtls| dtls.role == role);
        Ok(goes_on.cloned().unwrap_or_else(|| self.new_dtls(local, theirs, answered, role)))
    }

    /// The association in force, if that is what `said` means.
    pub(super) fn dtls_before(&self, theirs: &Remote, said: &RemoteDtls) -> Option<&Dtls> {
        let agreed = self.in_force.as_ref()?;
        let before = agreed.theirs.dtls.as_ref()?;
        let places = (theirs.rtp, agreed.stream.dtls.as_ref()?.at);
        said.goes_on(before, places).then_some(agreed.stream.dtls.as_ref())?
    }

    pub(super) fn new_dtls(
        &self,
        local: &Arc<Certificate>,
        theirs: &Remote,
        said: &RemoteDtls,
        role: Role,
    ) -> Dtls {
        let last = self.stream().and_then(|stream| stream.dtls.as_ref());
        let which = last.map_or(0, |dtls| dtls.association.1 + 1);
        Dtls {
            local: Arc::clone(local),
            remote: said.fingerprints.clone(),
            role,
            association: (self.local.session_id, which),
            at: theirs.rtp,
        }
    }
}
