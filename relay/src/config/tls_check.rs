//! Whether certificates, keys and roots can be used, and whether Teams will know us by them.

use super::Certificate;
use super::assemble::{Ground, Linked};
use super::host::HostDraft;
use super::problem::{At, Place, Problems};
use super::tenant::TenantDraft;
use super::trunk::RootsDraft;
use b2bua::plan::{Roots, Transport, TrunkKind};
use certs::{Identity, KeyKind};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Teams takes no smaller RSA key (TDR-CRT-002).
const RSA_BITS_MIN: usize = 2048;

/// Loads every certificate with its key; `None` stands for one that cannot be used, and is told.
pub(crate) fn certificates(
    directory: &Path,
    host: &HostDraft,
    problems: &Problems,
) -> Vec<Option<Certificate>> {
    let load = |draft: &super::host::CertificateDraft| {
        let (Some(chain), Some(key)) = (&draft.chain, &draft.key) else { return None };
        let (chain_file, key_file) = (directory.join(&chain.value), directory.join(&key.value));
        match Identity::load(&chain_file, &key_file) {
            Ok(identity) => Some(Certificate {
                name: draft.name.as_ref()?.value.clone(),
                chain: chain_file,
                key: key_file,
                identity: Arc::new(identity),
            }),
            Err(error) => {
                let place = if error.path == key_file { key.place } else { chain.place };
                let message =
                    format!("{}: {} {}", draft.whose, error.path.display(), error.problem);
                problems.error(place, message, Some(error.hint().to_owned()));
                None
            }
        }
    };
    host.certificates.iter().map(load).collect()
}

/// The roots a TLS trunk believes; those that cannot be read are a problem of `whose`.
pub(crate) fn roots(
    directory: &Path,
    written: Option<&At<RootsDraft>>,
    (whose, place): (&str, Place),
    problems: &Problems,
) -> Roots {
    let (named, loaded) = match written.map(|at| &at.value) {
        Some(RootsDraft::File(file)) => {
            let path = directory.join(file);
            let loaded = certs::Roots::file(&path);
            (Roots::File(path), loaded)
        }
        Some(RootsDraft::System) | None => (Roots::System, certs::Roots::system()),
    };
    if let Err(error) = loaded {
        let place = written.map_or(place, |at| at.place);
        let message = format!("{whose}: roots: {} {}", error.path.display(), error.problem);
        problems.error(place, message, Some(error.hint().to_owned()));
    }
    named
}

/// Whether each Teams trunk's certificate names this host (TDR-CRT-003), and is of a kind that Teams
/// takes.
pub(crate) fn teams(
    host: &HostDraft,
    linked: &Linked,
    certificates: &[Option<Certificate>],
    problems: &Problems,
) {
    let mut judged = BTreeSet::new();
    for (trunk, index, certificate) in teams_certificates(host, linked, certificates) {
        let draft = &host.certificates[index];
        if judged.insert(index)
            && let Some(chain) = &draft.chain
        {
            judge(&certificate.identity, &draft.whose, chain.place, problems);
        }
        let own = host.trunks[trunk].fqdn.as_ref();
        if let Some(fqdn) = own.or(host.fqdn.as_ref())
            && !certificate.identity.covers(&fqdn.value)
        {
            let whose = if own.is_some() { &host.trunks[trunk].whose } else { "[node]" };
            uncovered(whose, fqdn, certificate, problems);
        }
    }
}

/// Whether the certificate of each Teams trunk that a tenant uses names it (TDR-CRT-004).
pub(crate) fn tenant(
    ground: &Ground<'_>,
    tenant: &TenantDraft,
    teams_trunks: &[usize],
    problems: &Problems,
) {
    let Ground { linked, certificates, .. } = ground;
    for (trunk, _, certificate) in teams_certificates(ground.host(), linked, certificates) {
        if !teams_trunks.is_empty() && !teams_trunks.contains(&trunk) {
            continue;
        }
        for fqdn in tenant.fqdns.iter().filter(|one| !certificate.identity.covers(&one.value)) {
            uncovered(&format!("tenant \"{}\"", tenant.name), fqdn, certificate, problems);
        }
    }
}

/// The Teams trunks, each with the index of its certificate and the certificate, as far as they are
/// there.
fn teams_certificates<'a>(
    host: &'a HostDraft,
    linked: &'a Linked,
    certificates: &'a [Option<Certificate>],
) -> impl Iterator<Item = (usize, usize, &'a Certificate)> {
    teams_trunks(host).filter_map(|trunk| {
        let listener = linked.listener_of_trunk.get(trunk).copied().flatten()?;
        let index = linked.certificate_of_listener.get(listener).copied().flatten()?;
        Some((trunk, index, certificates.get(index)?.as_ref()?))
    })
}

/// Indices of the Teams trunks.
fn teams_trunks(host: &HostDraft) -> impl Iterator<Item = usize> {
    let trunks = host.trunks.iter().enumerate();
    trunks.filter(|(_, trunk)| trunk.kind == Some(TrunkKind::Teams)).map(|(index, _)| index)
}

fn judge(identity: &Identity, whose: &str, place: Place, problems: &Problems) {
    if !identity.for_servers() {
        let message = format!("{whose} is not meant for servers, and Teams refuses it");
        let hint = "ask for extended key usage serverAuth";
        problems.error(place, message, Some(hint.to_owned()));
    }
    match identity.key_kind() {
        KeyKind::Rsa(bits) if bits < RSA_BITS_MIN => {
            let message = format!(
                "{whose} has an RSA key of {bits} bits; Teams takes {RSA_BITS_MIN} or more"
            );
            problems.error(place, message, None);
        }
        KeyKind::Rsa(_) => {}
        KeyKind::Ecdsa(_) | KeyKind::Other => {
            let message =
                format!("{whose} has no RSA key, and Microsoft's cipher suites all need one");
            problems.warning(
                place,
                message,
                Some("ask for a certificate with an RSA key".to_owned()),
            );
        }
    }
}

fn uncovered(whose: &str, fqdn: &At<String>, certificate: &Certificate, problems: &Problems) {
    let names = certificate.identity.names();
    let message = format!(
        "{whose}: \"{}\" is not covered by certificate \"{}\" for {}",
        fqdn.value,
        certificate.name,
        if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
    );
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
