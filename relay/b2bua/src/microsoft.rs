//! What Microsoft makes of us under each FQDN: the OPTIONS that its proxies send (TDR-OPT-021), how that
//! fits what they answer to ours (TDR-OPT-024), and what came of the last calls (TDR-MT-012).
//!
//! Nothing is decided by it. It tells an operator which side cannot hear the other.

use crate::cause;
use crate::clip::clip;
use crate::codes::PHRASE_MAX;
use crate::core::Core;
use crate::io::{FqdnView, RegionView};
use crate::plan::{Plan, TrunkKind};
use crate::trunk::Said;
use sip_core::{Request, Response};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// When Microsoft sends none of its own for so long though it takes ours, it cannot connect to us; it
/// sends calls elsewhere then (TDR-OPT-024).
const UNSEEN_MAX: Duration = Duration::from_secs(300);
/// Proxies that are told apart for one FQDN: Microsoft has some dozen. Another one takes the place of the
/// one that has been silent for the longest.
const PROXIES_MAX: usize = 64;
/// A proxy that has been silent for so long has been taken down, or has another name by now.
const GONE_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Octets of a proxy's name that are kept.
const NAME_MAX: usize = 128;

/// By trunk and FQDN, both of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Microsoft {
    known: HashMap<(String, String), Known>,
}

#[derive(Debug, Default)]
struct Known {
    proxies: Vec<Proxy>,
    invited: Option<(u16, Option<String>, Instant)>,
    called: Option<Instant>,
}

#[derive(Debug)]
struct Proxy {
    /// The host it names in From: a name to tell it by, never one to believe (TDR-OPT-021).
    name: String,
    from: IpAddr,
    at: Instant,
}

impl Microsoft {
    /// One of its proxies has sent OPTIONS to this FQDN of ours.
    pub(crate) fn asked(
        &mut self,
        now: Instant,
        (trunk, fqdn): (&str, &str),
        from: IpAddr,
        request: &Request,
    ) {
        let host = request.headers.from().uri().ok().map(|uri| uri.host.to_ascii_lowercase());
        let mut name = String::from_utf8_lossy(&host.unwrap_or_default()).into_owned();
        clip(&mut name, NAME_MAX);
        let proxies = &mut self.of(trunk, fqdn).proxies;
        proxies.retain(|proxy| now.saturating_duration_since(proxy.at) <= GONE_AFTER);
        let known = proxies.iter_mut().find(|proxy| proxy.name == name);
        if let Some(proxy) = known {
            (proxy.from, proxy.at) = (from, now);
            return;
        }
        if proxies.len() >= PROXIES_MAX
            && let Some(oldest) = (0..proxies.len()).min_by_key(|at| proxies[*at].at)
        {
            proxies.swap_remove(oldest);
        }
        proxies.push(Proxy { name, from, at: now });
    }

    /// A user of this FQDN calls.
    pub(crate) fn called(&mut self, now: Instant, trunk: &str, fqdn: &str) {
        self.of(trunk, fqdn).called = Some(now);
    }

    /// Teams has answered an INVITE under this FQDN for good.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        (trunk, fqdn): (&str, &str),
        response: &Response,
    ) {
        let mut phrase = cause::text(&response.headers).map(str::to_owned);
        if let Some(phrase) = &mut phrase {
            clip(phrase, PHRASE_MAX);
        }
        self.of(trunk, fqdn).invited = Some((response.status, phrase, now));
    }

    fn of(&mut self, trunk: &str, fqdn: &str) -> &mut Known {
        self.known.entry((trunk.to_owned(), fqdn.to_owned())).or_default()
    }

    /// Follows a new snapshot: what is no trunk or no name of ours any more is forgotten.
    pub(crate) fn follow(&mut self, plan: &Plan) {
        self.known.retain(|(trunk, fqdn), _| {
            let trunk = plan.trunk_named(trunk);
            let ours = |trunk| plan.base_of(trunk) == fqdn || plan.tenant_of_fqdn(fqdn).is_some();
            trunk.is_some_and(ours)
        });
    }

    /// Every FQDN that we send OPTIONS under; of a tenant all that it has, and the bases.
    pub(crate) fn view(core: &Core, now: Instant, tenant: Option<&str>) -> Vec<FqdnView> {
        let plan = &core.plan;
        let wanted = tenant.and_then(|name| plan.tenants.named(name));
        let mut rows = Vec::new();
        for (index, trunk) in plan.trunks.iter().enumerate() {
            if trunk.kind != TrunkKind::Teams {
                continue;
            }
            let base = plan.base_of(index);
            let own: Vec<String> = match wanted {
                Some(at) => {
                    let of =
                        plan.tenants.get(at).filter(|of| plan.teams_trunks_of(of).contains(&index));
                    of.map_or_else(Vec::new, |of| of.own_fqdns().cloned().collect())
                }
                None if tenant.is_some() => Vec::new(),
                None => core.health.names_asked_under(&trunk.name),
            };
            let own = own.iter().map(String::as_str).filter(|fqdn| *fqdn != base);
            let names = [(base, None)].into_iter().chain(own.map(|fqdn| (fqdn, Some(fqdn))));
            for (fqdn, asked_as) in names {
                let said = core.health.said(trunk, asked_as);
                let known = core.microsoft.known.get(&(trunk.name.clone(), fqdn.to_owned()));
                let of = plan.tenant_under(fqdn);
                let quiet = core.drains.holds(of.map(|it| it.name.as_str()));
                let tenant = of.map(|it| it.name.clone());
                rows.push(row(now, (trunk.name.as_str(), fqdn, tenant), said, known, quiet));
            }
        }
        rows
    }
}

fn row(
    now: Instant,
    (trunk, fqdn, tenant): (&str, &str, Option<String>),
    said: Option<Said>,
    known: Option<&Known>,
    quiet: bool,
) -> FqdnView {
    let ago = |at: Instant| now.saturating_duration_since(at);
    let nobody = Known::default();
    let known = known.unwrap_or(&nobody);
    let asks = said.is_some();
    let said = said.unwrap_or_default();
    let seen = known.proxies.iter().map(|proxy| proxy.at).max();
    // Whoever does not take ours has no reason to send any, and neither has one who hears none.
    let missing =
        said.up_since.filter(|_| !quiet).map(|since| ago(seen.unwrap_or(since).max(since)));
    FqdnView {
        trunk: trunk.to_owned(),
        fqdn: fqdn.to_owned(),
        tenant,
        asks,
        up: said.up_since.is_some(),
        down: said.down,
        answered_ago: said.answered.map(ago),
        last: said.last,
        regions: regions(now, &known.proxies),
        unseen: missing.filter(|missing| *missing > UNSEEN_MAX),
        invited: known
            .invited
            .as_ref()
            .map(|(status, phrase, at)| (*status, phrase.clone(), ago(*at))),
        called_ago: known.called.map(ago),
    }
}

fn regions(now: Instant, proxies: &[Proxy]) -> Vec<RegionView> {
    let mut regions = Vec::new();
    for region in REGIONS {
        let of = || proxies.iter().filter(|proxy| region_of(&proxy.name) == region);
        if let Some(last) = of().max_by_key(|proxy| proxy.at) {
            let ago = now.saturating_duration_since(last.at);
            regions.push(RegionView { region, proxies: of().count(), ago, from: last.from });
        }
    }
    regions
}

/// The regions that Microsoft's proxies are told apart by.
const REGIONS: [&str; 5] = ["us", "eu", "as", "oc", OTHER];
const OTHER: &str = "other";

/// The region in a name such as `sip-du-a-euwe.pstnhub.microsoft.com`.
fn region_of(name: &str) -> &'static str {
    let label = name.split('.').next().unwrap_or_default();
    let Some(("sip-du-a" | "sip-du-b", place)) = label.rsplit_once('-') else { return OTHER };
    match place.get(..2) {
        Some("us") => "us",
        Some("eu") => "eu",
        Some("as") => "as",
        Some("oc" | "au") => "oc",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a beginning to count from")]
    fn beginning() -> Instant {
        Instant::now()
    }

    /// TDR-OPT-021
    #[test]
    fn a_proxy_that_names_no_region_is_counted_among_the_others() {
        for (name, region) in [
            ("sip-du-a-us.pstnhub.microsoft.com", "us"),
            ("sip-du-a-euwe.pstnhub.microsoft.com", "eu"),
            ("sip-du-a-asse.pstnhub.microsoft.com", "as"),
            ("sip-du-a-auea.pstnhub.microsoft.com", "oc"),
            ("sip-du-a-mars.pstnhub.microsoft.com", OTHER),
            ("sip.pstnhub.microsoft.com", OTHER),
            ("us.example.net", OTHER),
            ("", OTHER),
        ] {
            assert_eq!(region_of(name), region, "{name}");
        }
    }

    #[test]
    fn a_peer_that_invents_names_takes_no_more_room_than_microsoft_needs() {
        let mut microsoft = Microsoft::default();
        let now = beginning();
        for number in 0..10 * PROXIES_MAX {
            let mut request = Request::new(sip_core::Method::Options, "sip:sbc.example.net");
            let from = format!("<sip:sip-du-a-eu{number}.pstnhub.microsoft.com>;tag=1");
            request.headers.push(sip_core::Name::From, from);
            let from = IpAddr::from([52, 112, 0, 1]);
            microsoft.asked(now, ("teams", "sbc.example.net"), from, &request);
        }
        let known = microsoft.known.values().next().unwrap();
        assert_eq!((microsoft.known.len(), known.proxies.len()), (1, PROXIES_MAX));
    }
}
