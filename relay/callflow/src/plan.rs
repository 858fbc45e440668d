//! The configuration of the test world: two tenants, Teams with three targets, two carriers.

use crate::peer::{OURS, Who};
use b2bua::Plan;
use b2bua::plan::{
    Cidr, Listener, MediaAddress, Node, NumberIndex, NumberRange, Pattern, Patterns, Reliable,
    Route, RouteFrom, SrtpPolicy, TargetName, Tenant, TransferPolicy, Trunk, TrunkKind,
};
use sip_core::usage::session_timer::Terms;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The node's own FQDN.
pub const NODE: &str = "sbc.example.net";
/// The FQDN of tenant contoso.
pub const CONTOSO: &str = "contoso.sbc.example.net";
/// The FQDN of tenant fabrikam.
pub const FABRIKAM: &str = "fabrikam.sbc.example.net";
/// A number of contoso.
pub const ANNA: &str = "+493010001234";
/// A number of fabrikam.
pub const BORIS: &str = "+493020001234";
/// Where a carrier sends its callers to.
pub(crate) const ELSEWHERE: &str = "+4989777";
/// A number in the public network.
pub const PSTN: &str = "+4989123456";
/// The media address towards Teams, by index.
pub const OUTSIDE: usize = 0;
/// The media address towards carriers, by index.
pub const INSIDE: usize = 1;
/// The ports of both.
pub(crate) const MEDIA_PORTS: [std::ops::RangeInclusive<u16>; 2] =
    [20_000..=20_999, 30_000..=30_999];
/// The Teams trunk, by index.
pub const TEAMS: usize = 0;
/// The trunk of the first carrier, by index.
pub const COLT: usize = 1;
/// The trunk of the second carrier, by index.
pub const BT: usize = 2;

/// Sessions of half an hour, on all trunks.
pub const TERMS: Terms = Terms { interval_s: 1800, min_s: 90 };

/// The plan: contoso's calls go out by colt, then bt; fabrikam's by bt alone.
pub fn plan() -> Plan {
    let mut resolve = BTreeMap::new();
    for who in [Who::Sip, Who::Sip2, Who::Sip3] {
        resolve.insert(who.host(), vec![who.address().ip()]);
    }
    let tenants = vec![
        tenant("contoso", CONTOSO, 493_010_000_000, &[COLT, BT]),
        tenant("fabrikam", FABRIKAM, 493_020_000_000, &[BT]),
    ];
    let mut ranges = Vec::new();
    let mut fqdns = HashMap::new();
    for (index, tenant) in tenants.iter().enumerate() {
        ranges.extend(tenant.numbers.iter().map(|range| (*range, index)));
        fqdns.extend(tenant.fqdns.iter().map(|fqdn| (fqdn.clone(), index)));
    }
    Plan {
        generation: 1,
        node: Node {
            fqdn: NODE.into(),
            shutdown_deadline: Duration::from_secs(10),
            calls_max: 1000,
        },
        media: vec![media("outside", 0), media("inside", 1)].into(),
        media_workers: 2,
        transcoders: 1,
        listeners: vec![listener("teams", Who::Sip), listener("carriers", Who::Colt)].into(),
        trunks: vec![
            trunk("teams", TrunkKind::Teams, &[Who::Sip, Who::Sip2, Who::Sip3]),
            trunk("colt", TrunkKind::Carrier, &[Who::Colt]),
            trunk("bt", TrunkKind::Carrier, &[Who::Bt]),
        ]
        .into(),
        tenants: tenants.into(),
        fqdns: fqdns.into(),
        numbers: NumberIndex::new(ranges).expect("the ranges of the test plan do not overlap"),
        absent: Default::default(),
        rates: b2bua::plan::Shared::default(),
        block: Default::default(),
        resolve: resolve.into(),
    }
}

fn media(name: &str, ports: usize) -> MediaAddress {
    let ours = OURS.into();
    MediaAddress {
        name: name.into(),
        bind: ours,
        advertise: ours,
        ports: MEDIA_PORTS[ports].clone(),
        dscp: 46,
    }
}

fn listener(name: &str, who: Who) -> Listener {
    let ours = who.ours();
    Listener {
        name: name.into(),
        transport: who.transport(),
        bind: ours,
        advertise: ours,
        certificate: None,
    }
}

fn trunk(name: &str, kind: TrunkKind, targets: &[Who]) -> Trunk {
    let teams = kind == TrunkKind::Teams;
    let target = |who: &Who| TargetName { host: who.host(), port: Some(who.address().port()) };
    let source = |who: &Who| Cidr { network: who.address().ip(), length: 32 };
    Trunk {
        name: name.into(),
        kind,
        listener: usize::from(!teams),
        targets: targets.iter().map(target).collect(),
        sources: targets.iter().map(source).collect(),
        srtp: if teams { SrtpPolicy::Required } else { SrtpPolicy::Off },
        session_timer: Some(TERMS),
        media: if teams { OUTSIDE } else { INSIDE },
        reliable: if teams { Reliable::Off } else { Reliable::Supported },
        peer_names: if teams { vec![Who::Sip.host()] } else { Vec::new() },
        ..Trunk::default()
    }
}

/// From Teams, what is a number; from carriers, all.
fn teams_or_all(from: RouteFrom) -> Patterns {
    let pattern = if from == RouteFrom::Teams { "+*" } else { "*" };
    pattern.parse::<Pattern>().expect("a pattern").into()
}

fn tenant(name: &str, fqdn: &str, first: u64, carriers: &[usize]) -> Tenant {
    let route = |from, to: &[usize]| Route {
        from,
        called: teams_or_all(from),
        to: to.to_vec().into(),
        ..Route::default()
    };
    Tenant {
        name: name.into(),
        fqdns: vec![fqdn.into()],
        numbers: vec![NumberRange { first, last: first + 9_999, digits: 12 }],
        routes: vec![route(RouteFrom::Teams, carriers), route(RouteFrom::Carrier, &[TEAMS])],
        transfer: TransferPolicy::Refer,
        emergency: vec!["112".into()],
        ..Tenant::default()
    }
}
