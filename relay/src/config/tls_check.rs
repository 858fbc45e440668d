//! Whether certificates and roots can be used, whether Teams will know us by them, and for how long.

use super::Certificate;
use super::assemble::Linked;
use super::certificate::{CertificateDraft, Loaded, Source};
use super::host::HostDraft;
use super::problem::{At, Problems};
use super::roots::{self, RootsDraft};
use super::teams::Cloud;
use super::tenant::TenantDraft;
use super::trunk::TrunkDraft;
use crate::expiry;
use b2bua::plan::{Roots, Transport, TrunkKind};
use certs::{Identities, Identity, KeyKind};
use std::cell::OnceCell;
use std::path::Path;
use std::time::SystemTime;

/// Teams takes no smaller RSA key (TDR-CRT-002).
pub(crate) const RSA_BITS_MIN: usize = 2048;

/// Certificates, and who shows which.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) host: &'a HostDraft,
    pub(crate) linked: &'a Linked,
    pub(crate) certificates: &'a Loaded,
    pub(crate) identities: &'a Identities,
}

/// Whether each Teams trunk's certificate names this host (TDR-CRT-003), is of a kind that Teams takes, and
/// is whole; and whether the trunk believes Microsoft's.
pub(crate) fn host(directory: &Path, shown: &Shown<'_>, now: SystemTime, problems: &Problems) {
    let Some(first) = teams_trunks(shown.host).next() else { return };
    for (at, trunk) in teams_trunks(shown.host) {
        lacks(directory, trunk, problems);
        let own = trunk.fqdn.as_ref();
        let base = own.or(shown.host.fqdn.as_ref());
        if let (Some(fqdn), Some(certificate)) = (base, certificate_of(shown, at)) {
            let whose = if own.is_some() { &trunk.whose } else { "[node]" };
            covers(shown, whose, fqdn, certificate, problems);
        }
    }
    let known = Known::of(directory, shown.host, first.1);
    for (index, draft) in shown.host.certificates.iter().enumerate() {
        let listeners = shown.linked.certificate_of_listener.iter().enumerate();
        let by: Vec<usize> =
            listeners.filter(|(_, own)| **own == Some(index)).map(|(at, _)| at).collect();
        let of_teams = |at: &usize| {
            teams_trunks(shown.host)
                .any(|(trunk, _)| shown.linked.listener_of_trunk.get(trunk) == Some(&Some(*at)))
        };
        // One that is no listener's own is there to be shown under its names.
        if !by.is_empty() && !by.iter().any(of_teams) {
            continue;
        }
        for certificate in shown.certificates.tables.get(index).into_iter().flatten().flatten() {
            let told =
                || shown.certificates.broken.iter().any(|(name, _)| *name == certificate.name);
            if certificate.identity.is_pending() && told() {
                continue;
            }
            judge(draft, certificate, &known, now, problems);
        }
    }
}

/// Whether a certificate that can be shown on each Teams trunk that a tenant uses names it (TDR-CRT-004).
pub(crate) fn tenant(shown: &Shown<'_>, tenant: &TenantDraft, used: &[usize], problems: &Problems) {
    for (at, _) in teams_trunks(shown.host) {
        let Some(certificate) = certificate_of(shown, at) else { continue };
        if !used.is_empty() && !used.contains(&at) {
            continue;
        }
        for fqdn in &tenant.fqdns {
            covers(shown, &format!("tenant \"{}\"", tenant.name), fqdn, certificate, problems);
        }
    }
}

/// The certificate of a trunk's listener, as far as it is there.
fn certificate_of<'a>(shown: &Shown<'a>, trunk: usize) -> Option<&'a Certificate> {
    let listener = shown.linked.listener_of_trunk.get(trunk).copied().flatten()?;
    let index = shown.linked.certificate_of_listener.get(listener).copied().flatten()?;
    shown.certificates.of_table(shown.host, index)
}

/// The Teams trunks, with their places in the file.
fn teams_trunks(host: &HostDraft) -> impl Iterator<Item = (usize, &TrunkDraft)> {
    let trunks = host.trunks.iter().enumerate();
    trunks.filter(|(_, trunk)| trunk.kind == Some(TrunkKind::Teams))
}

/// A trunk that does not believe all that Microsoft's certificates will chain to loses calls on the day
/// when they do (TDR-CRT-020). A laboratory's own roots are meant as they are.
fn lacks(directory: &Path, trunk: &TrunkDraft, problems: &Problems) {
    let Some(first) = trunk.roots.first().filter(|_| trunk.cloud == Cloud::Commercial) else {
        return;
    };
    let unheard = Problems::default();
    let whose = (trunk.whose.as_str(), trunk.place);
    let named = roots::load(directory, &trunk.roots, Roots::Microsoft, whose, &unheard);
    let Ok(loaded) = crate::transport::load_roots(&named) else { return };
    let missing = loaded.lacks_of_microsoft();
    let all = certs::Roots::microsoft().len();
    let laboratory = missing.len() == all && named != Roots::System;
    if !missing.is_empty() && !laboratory {
        let message = format!(
            "{}: `roots` lack {} of the {all} that Microsoft's certificates chain to: {}",
            trunk.whose,
            missing.len(),
            missing.join(", ")
        );
        let hint = "roots = \"microsoft\", or a list with it in";
        problems.warning(first.place, message, Some(hint.to_owned()));
    }
}

/// What the end of a chain is held against.
struct Known {
    all: Vec<certs::Roots>,
    /// The system's, which are many and seldom needed: they are read for the first certificate that ends
    /// at none of the others. `None` if they cannot be.
    system: OnceCell<Option<certs::Roots>>,
    cloud: Cloud,
    /// Its own roots are named: then private authorities are what is meant.
    laboratory: bool,
}

impl Known {
    fn of(directory: &Path, host: &HostDraft, trunk: &TrunkDraft) -> Self {
        let files = host.trunks.iter().flat_map(|trunk| &trunk.roots);
        let files = files.filter_map(|at| match &at.value {
            RootsDraft::File(file) => certs::Roots::file(&directory.join(file)).ok(),
            RootsDraft::System | RootsDraft::Microsoft => None,
        });
        let mut all: Vec<certs::Roots> = files.collect();
        let laboratory = trunk.roots.iter().any(|at| matches!(at.value, RootsDraft::File(_)));
        all.push(certs::Roots::microsoft());
        Self { all, system: OnceCell::new(), cloud: trunk.cloud, laboratory }
    }

    /// Whether `identity` ends at a root; else who is to be asked for what is missing.
    fn ends<'a>(&self, identity: &'a Identity) -> Result<(), &'a str> {
        let all: Vec<&certs::Roots> = self.all.iter().collect();
        identity.ends_at_a_root_of(&all).or_else(|issuer| {
            let system = self.system.get_or_init(|| certs::Roots::system().ok());
            system.as_ref().map_or(Err(issuer), |system| identity.ends_at_a_root_of(&[system]))
        })
    }
}

/// Authorities that GCC High and DoD take certificates of (TDR-CRT-010).
const GOVERNMENT: [&str; 2] = ["DigiCert Global Root CA", "DigiCert High Assurance EV Root CA"];

fn judge(
    draft: &CertificateDraft,
    certificate: &Certificate,
    known: &Known,
    now: SystemTime,
    problems: &Problems,
) {
    let (identity, place) = (&certificate.identity, draft.said());
    let whose = format!("certificate \"{}\"", certificate.name);
    if identity.is_pending() {
        let message = format!("{whose} has not been issued yet");
        let hint = "the daemon asks for it when it runs: tollgate alarms";
        return problems.warning(place, message, Some(hint.to_owned()));
    }
    if !identity.for_servers() {
        let message = format!("{whose} is not meant for servers, and Teams refuses it");
        let hint = "ask for extended key usage serverAuth".to_owned();
        // What is one tenant's does not keep the others from being served.
        match draft.is_directory() {
            true => problems.warning(place, message, Some(hint)),
            false => problems.error(place, message, Some(hint)),
        }
    }
    match identity.key_kind() {
        KeyKind::Rsa(bits) if bits < RSA_BITS_MIN => {
            let message = format!(
                "{whose} has an RSA key of {bits} bits; Teams takes {RSA_BITS_MIN} or more"
            );
            match draft.is_directory() {
                true => problems.warning(place, message, None),
                false => problems.error(place, message, None),
            }
        }
        KeyKind::Rsa(_) => {}
        KeyKind::Ecdsa(_) | KeyKind::Other => {
            let message =
                format!("{whose} has no RSA key, and Microsoft's cipher suites all need one");
            let hint = "ask for a certificate with an RSA key";
            problems.warning(place, message, Some(hint.to_owned()));
        }
    }
    if let Some(text) = expiry::text(identity, now) {
        let hint = "renew it, and put the new one in the place of the old: no restart is needed";
        problems.warning(place, format!("{whose} {text}"), Some(hint.to_owned()));
    }
    chain(draft, certificate, known, problems);
}

/// Whether Teams can follow the chain (TDR-CRT-006) to an authority that it may know (TDR-CRT-001).
fn chain(draft: &CertificateDraft, certificate: &Certificate, known: &Known, problems: &Problems) {
    let (identity, place) = (&certificate.identity, draft.said());
    let whose = format!("certificate \"{}\"", certificate.name);
    match known.ends(identity) {
        Ok(()) => {}
        Err(issuer) if identity.chain_len() == 1 => {
            let message = format!(
                "{whose} is alone in its file, and its issuer \"{issuer}\" is no root that is known"
            );
            let hint =
                "add the certificates of the issuers below it, each in turn: Teams looks for none"
                    .to_owned();
            match known.laboratory || draft.is_directory() {
                true => problems.warning(place, message, Some(hint)),
                false => problems.error(place, message, Some(hint)),
            }
        }
        Err(issuer) => {
            let message = format!(
                "{whose} ends at \"{issuer}\", which is no root that is known; Teams takes \
                 certificates of authorities in the Microsoft Trusted Root Program"
            );
            let hint = "is a certificate missing at its end, or is it a private authority's?";
            problems.warning(place, message, Some(hint.to_owned()));
        }
    }
    let government = GOVERNMENT.iter().any(|root| identity.root_name().contains(root));
    if known.cloud != Cloud::Commercial && !government {
        let message = format!("{whose} ends at \"{}\"", identity.root_name());
        let hint = format!("GCC High and DoD take those of {}", GOVERNMENT.join(" or "));
        problems.warning(place, message, Some(hint));
    }
}

/// Whether there is a certificate for a name that Teams knows us by.
fn covers(
    shown: &Shown<'_>,
    whose: &str,
    fqdn: &At<String>,
    certificate: &Certificate,
    problems: &Problems,
) {
    let chosen = shown.identities.choose(Some(&fqdn.value), &certificate.name);
    if chosen.is_some_and(|chosen| chosen.covers(&fqdn.value)) {
        return;
    }
    let names = certificate.identity.names();
    let others = if shown.certificates.all().nth(1).is_some() { ", nor by any other" } else { "" };
    let message = format!(
        "{whose}: \"{}\" is not covered by certificate \"{}\" for {}{others}",
        fqdn.value,
        certificate.name,
        if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
    );
    // It is asked for once this is in force: to refuse it would be to refuse it for ever.
    let coming = shown
        .host
        .certificates
        .iter()
        .find(|draft| matches!(&draft.source, Source::Acme(acme) if acme.covers(&fqdn.value)));
    if let Some(name) = coming.and_then(|draft| draft.name.as_ref()) {
        let hint =
            format!("the daemon asks for \"{}\" anew when it runs: tollgate alarms", name.value);
        return problems.warning(fqdn.place, message, Some(hint));
    }
    // The two mistakes that wildcards invite, each with its cure (TDR-CRT-004).
    let base = names.iter().any(|name| name.strip_prefix("*.") == Some(fqdn.value.as_str()));
    let deeper = names.iter().filter_map(|name| name.strip_prefix('*'));
    let deeper = deeper.into_iter().any(|base| fqdn.value.ends_with(base));
    let hint = match (base, deeper) {
        (true, _) => "a wildcard does not cover its own base: add it as a second name",
        (_, true) => "a wildcard stands for one label only",
        _ => "ask for a certificate with this name",
    };
    problems.error(fqdn.place, message, Some(hint.to_owned()));
}

/// Whether this transport has certificates.
pub(crate) fn is_tls(transport: Option<Transport>) -> bool {
    transport == Some(Transport::Tls)
}
