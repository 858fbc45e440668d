//! What must not be claimed twice: bound addresses, media ports, FQDNs, numbers.

use super::host::HostDraft;
use super::problem::{At, Place, Problems};
use super::tenant::TenantDraft;
use b2bua::plan::{NumberRange, Transport};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Reports addresses and ports of the host that two things would bind.
pub(crate) fn host(host: &HostDraft, problems: &Problems) {
    binds(host, problems);
    media(host, problems);
}

/// Whether binding both would bind one address twice.
fn same_address(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified())
}

fn binds(host: &HostDraft, problems: &Problems) {
    let mut bound: Vec<(String, SocketAddr, bool, Place)> = Vec::new();
    if let Some(metrics) = host.metrics {
        bound.push(("[metrics]".to_owned(), metrics, true, host.lines.metrics));
    }
    for listener in &host.listeners {
        let (Some(bind), Some(transport)) = (&listener.bind, listener.transport) else { continue };
        let stream = transport != Transport::Udp;
        let taken = bound.iter().find(|(_, other, other_stream, _)| {
            stream == *other_stream
                && other.port() == bind.value.port()
                && same_address(other.ip(), bind.value.ip())
        });
        if let Some((whose, other, _, place)) = taken {
            let message = format!(
                "{}: `bind = \"{}\"` is taken by {whose}, {other} at {}",
                listener.whose,
                bind.value,
                problems.locate(*place)
            );
            problems.error(bind.place, message, None);
        }
        bound.push((listener.whose.clone(), bind.value, stream, bind.place));
    }
}

fn media(host: &HostDraft, problems: &Problems) {
    for (index, one) in host.media.iter().enumerate() {
        let (Some(bind), Some(ports)) = (&one.bind, &one.ports) else { continue };
        let name = one.name.as_ref().map_or("?", |name| name.value.as_str());
        for before in host.media.iter().take(index) {
            let (Some(other_bind), Some(other)) = (&before.bind, &before.ports) else { continue };
            let apart =
                other.value.end() < ports.value.start() || ports.value.end() < other.value.start();
            if apart || !same_address(bind.value, other_bind.value) {
                continue;
            }
            let other_name = before.name.as_ref().map_or("?", |name| name.value.as_str());
            let message = format!(
                "media address \"{name}\": ports {}-{} overlap {}-{} of media address \"{other_name}\" at {}",
                ports.value.start(),
                ports.value.end(),
                other.value.start(),
                other.value.end(),
                problems.locate(other.place)
            );
            problems.error(ports.place, message, None);
        }
        for listener in host.listeners.iter().filter(|one| one.transport == Some(Transport::Udp)) {
            let Some(sip) = &listener.bind else { continue };
            if ports.value.contains(&sip.value.port()) && same_address(bind.value, sip.value.ip()) {
                let message = format!(
                    "media address \"{name}\": ports {}-{} hold port {} of {} at {}",
                    ports.value.start(),
                    ports.value.end(),
                    sip.value.port(),
                    listener.whose,
                    problems.locate(sip.place)
                );
                problems.error(ports.place, message, None);
            }
        }
    }
}

/// FQDN to tenant; one that stands twice is a problem (TDR-MT-002).
pub(crate) fn fqdns(tenants: &[TenantDraft], problems: &Problems) -> HashMap<String, usize> {
    let mut owners: HashMap<String, usize> = HashMap::new();
    let mut places: HashMap<&str, Place> = HashMap::new();
    for (index, tenant) in tenants.iter().enumerate() {
        for fqdn in &tenant.fqdns {
            let Some(owner) = owners.get(&fqdn.value).copied() else {
                owners.insert(fqdn.value.clone(), index);
                places.insert(&fqdn.value, fqdn.place);
                continue;
            };
            let first = places.get(fqdn.value.as_str()).copied().unwrap_or_default();
            let owner = tenants.get(owner).map_or("?", |owner| owner.name.as_str());
            let message = format!(
                "FQDN \"{}\" of tenant \"{}\" is already that of tenant \"{owner}\" at {}",
                fqdn.value,
                tenant.name,
                problems.locate(first)
            );
            problems.error(
                fqdn.place,
                message,
                Some("an FQDN tells one tenant from another".to_owned()),
            );
        }
    }
    owners
}

/// All number ranges with their tenants; each range that overlaps another is a problem that names both.
pub(crate) fn numbers(tenants: &[TenantDraft], problems: &Problems) -> Vec<(NumberRange, usize)> {
    let mut ranges: Vec<(&At<NumberRange>, usize)> = Vec::new();
    for (index, tenant) in tenants.iter().enumerate() {
        ranges.extend(tenant.numbers.iter().map(|range| (range, index)));
    }
    ranges.sort_by_key(|(range, _)| (range.value.digits, range.value.first, range.place));
    // The range so far that reaches furthest: what begins before its end overlaps it.
    let mut furthest: Option<(&At<NumberRange>, usize)> = None;
    for &(range, tenant) in &ranges {
        let Some((before, owner)) =
            furthest.filter(|(before, _)| before.value.digits == range.value.digits)
        else {
            furthest = Some((range, tenant));
            continue;
        };
        if range.value.first <= before.value.last {
            let (one, other) = ((range, tenant), (before, owner));
            let (later, earlier) =
                if one.0.place >= other.0.place { (one, other) } else { (other, one) };
            let name =
                |tenant: usize| tenants.get(tenant).map_or("?", |tenant| tenant.name.as_str());
            let message = format!(
                "numbers {} of tenant \"{}\" overlap {} of tenant \"{}\" at {}",
                written(later.0.value),
                name(later.1),
                written(earlier.0.value),
                name(earlier.1),
                problems.locate(earlier.0.place)
            );
            problems.error(
                later.0.place,
                message,
                Some("a number belongs to one tenant of the host".to_owned()),
            );
        }
        if range.value.last > before.value.last {
            furthest = Some((range, tenant));
        }
    }
    ranges.into_iter().map(|(range, tenant)| (range.value, tenant)).collect()
}

/// As in a file.
fn written(range: NumberRange) -> String {
    let width = usize::from(range.digits);
    match range.first == range.last {
        true => format!("+{:0width$}", range.first),
        false => format!("+{:0width$}-+{:0width$}", range.first, range.last),
    }
}
