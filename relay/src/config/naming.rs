//! What Microsoft's model of trunks demands of FQDNs: a carrier's trunk with names of customers one label
//! below it, each name with one port and in one cloud (TDR-MT-001, TDR-MT-006, TDR-MT-009).

use super::assemble::{Ground, Linked};
use super::host::HostDraft;
use super::problem::{At, Problems};
use super::tenant::TenantDraft;
use super::trunk::TrunkDraft;
use b2bua::plan::{Model, TrunkKind};
use std::collections::BTreeSet;

/// Teams trunks that Microsoft could not tell apart.
pub(crate) fn host(host: &HostDraft, linked: &Linked, problems: &Problems) {
    for (index, trunk) in teams(host) {
        let Some(base) = base(trunk, host) else { continue };
        let place = trunk.fqdn.as_ref().map_or(trunk.place, |fqdn| fqdn.place);
        let same = teams(host).take_while(|(other, _)| *other < index);
        let mut same = same.filter(|(_, other)| self::base(other, host) == Some(base));
        let Some((before, other)) = same.next() else { continue };
        if trunk.cloud != other.cloud {
            let message = format!(
                "{}: {base} is {} too, which is in another cloud of Microsoft's",
                trunk.whose, other.whose
            );
            let hint = "a base name of its own, and a listener: fqdn = \"sbc2.example.net\"";
            problems.error(place, message, Some(hint.to_owned()));
            continue;
        }
        let port = |at: usize| {
            let listener = linked.listener_of_trunk.get(at).copied().flatten()?;
            Some(host.listeners.get(listener)?.advertise.as_ref()?.value.port())
        };
        if let (Some(own), Some(theirs)) = (port(index), port(before))
            && own != theirs
        {
            let message = format!(
                "{}: Microsoft knows {base} with one port, and it is reached on {own} here and on \
                 {theirs} as {}",
                trunk.whose, other.whose
            );
            let hint = "a base name of its own, with a DNS record and a trunk at Microsoft: \
                        fqdn = \"bypass.sbc1.example.net\"";
            problems.warning(place, message, Some(hint.to_owned()));
        }
    }
}

/// Names of a tenant that Teams would not send calls under.
pub(crate) fn tenant(
    ground: &Ground<'_>,
    tenant: &TenantDraft,
    teams_trunks: &[usize],
    problems: &Problems,
) {
    let host = ground.host();
    let used: Vec<&TrunkDraft> = teams(host)
        .filter(|(index, _)| teams_trunks.is_empty() || teams_trunks.contains(index))
        .map(|(_, trunk)| trunk)
        .collect();
    one_cloud(tenant, &used, problems);
    let bases: BTreeSet<&str> = used.iter().filter_map(|trunk| base(trunk, host)).collect();
    if bases.is_empty() || tenant.model == Model::Classic {
        return;
    }
    for fqdn in &tenant.fqdns {
        below(tenant, fqdn, &bases, problems);
    }
}

/// A name of the carrier's model is the base, or one label below it.
fn below(tenant: &TenantDraft, fqdn: &At<String>, bases: &BTreeSet<&str>, problems: &Problems) {
    let labels = |base: &&str| {
        let rest = fqdn.value.strip_suffix(*base)?;
        let above = rest.strip_suffix('.');
        (rest.is_empty() || above.is_some()).then(|| above.map_or(0, |it| it.split('.').count()))
    };
    let known: Vec<&str> = bases.iter().copied().collect();
    let known = known.join(", ");
    match bases.iter().filter_map(labels).min() {
        Some(0 | 1) => {}
        Some(labels) => {
            let message = format!(
                "tenant \"{}\": \"{}\" is {labels} labels below {known}, and a wildcard covers one",
                tenant.name, fqdn.value
            );
            let hint = format!("a name such as \"{}.{known}\"", tenant.name);
            problems.warning(fqdn.place, message, bases.len().eq(&1).then_some(hint));
        }
        None => {
            let message = format!(
                "tenant \"{}\": \"{}\" is not below {known}, the trunk that Microsoft knows here",
                tenant.name, fqdn.value
            );
            let hint = "model = \"classic\" if it is set up as a trunk in the tenant's own Teams";
            problems.warning(fqdn.place, message, Some(hint.to_owned()));
        }
    }
}

/// One Teams tenant is in one cloud.
fn one_cloud(tenant: &TenantDraft, used: &[&TrunkDraft], problems: &Problems) {
    let Some((first, rest)) = used.split_first() else { return };
    let Some(other) = rest.iter().find(|trunk| trunk.cloud != first.cloud) else { return };
    let Some(fqdn) = tenant.fqdns.first() else { return };
    let message = format!(
        "tenant \"{}\": {} and {} lead to different clouds of Microsoft's, and a Teams tenant is in one",
        tenant.name, first.whose, other.whose
    );
    let hint = "name the trunk of its cloud in its route: from = \"carrier\"";
    problems.error(fqdn.place, message, Some(hint.to_owned()));
}

/// The name that Microsoft knows a Teams trunk by.
pub(crate) fn base<'a>(trunk: &'a TrunkDraft, host: &'a HostDraft) -> Option<&'a str> {
    Some(trunk.fqdn.as_ref().or(host.fqdn.as_ref())?.value.as_str())
}

fn teams(host: &HostDraft) -> impl Iterator<Item = (usize, &TrunkDraft)> {
    let trunks = host.trunks.iter().enumerate();
    trunks.filter(|(_, trunk)| trunk.kind == Some(TrunkKind::Teams))
}
