//! What one host must not bind twice: addresses and media ports. ([`super::settle`] has FQDNs and
//! numbers.)

use super::host::{HostDraft, MediaDraft};
use super::problem::{Place, Problems};
use super::trunk::TrunkDraft;
use b2bua::plan::Transport;
use std::net::{IpAddr, SocketAddr};

/// Reports addresses and ports of the host that two things would bind.
pub(crate) fn host(host: &HostDraft, problems: &Problems) {
    binds(host, problems);
    media(host, problems);
    for trunk in &host.trunks {
        trunk_ports(trunk, host, problems);
    }
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

/// A trunk's ports are some of those of its media address. Trunks may share them.
fn trunk_ports(trunk: &TrunkDraft, host: &HostDraft, problems: &Problems) {
    let Some(ports) = &trunk.ports else { return };
    let named = |one: &&MediaDraft| match (&one.name, &trunk.media) {
        (Some(name), Some(wanted)) => name.value == wanted.value,
        (_, None) => true,
        (None, Some(_)) => false,
    };
    let Some(home) = host.media.iter().find(named) else { return };
    let Some(all) = &home.ports else { return };
    let (own, all) = (&ports.value, &all.value);
    if own.start() < all.start() || own.end() > all.end() {
        let name = home.name.as_ref().map_or("?", |name| name.value.as_str());
        let message = format!(
            "{}: ports {}-{} are not all among {}-{} of media address \"{name}\"",
            trunk.whose,
            own.start(),
            own.end(),
            all.start(),
            all.end()
        );
        problems.error(ports.place, message, None);
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
