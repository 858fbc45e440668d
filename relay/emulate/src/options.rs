//! OPTIONS from and to the border controller (TDR-OPT-001, TDR-OPT-020).

use crate::Hop;
use crate::agenda::Agenda;
use crate::core::{Asked, Core};
use crate::io::Event;
use crate::persona::{Persona, host_of};
use crate::teams::{Health, Teams};
use media::Now;
use sip_core::transaction::ServerId;
use sip_core::{Request, Response};
use std::time::Instant;

/// Whom which of Teams' proxies probes: indices of endpoint, tenant and region.
type Probe = (usize, usize, usize);

/// When to send OPTIONS next.
#[derive(Debug)]
pub(crate) struct Probes {
    agenda: Agenda<Probe>,
    known: Vec<Probe>,
}

impl Probes {
    pub(crate) const fn new() -> Self {
        Self { agenda: Agenda::new(), known: Vec::new() }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.agenda.next()
    }

    /// Answers OPTIONS. A trunk that sent one gets ours from then on.
    pub(crate) fn received(
        &mut self,
        core: &mut Core,
        now: Now,
        server: ServerId,
        hop: &Hop,
        request: &Request,
    ) {
        core.answer(now.mono, server, request, 200, None);
        let asker = request.headers.contact().unwrap_or_else(|| request.headers.from());
        let host = host_of(&asker);
        if let Persona::Teams(teams) = &core.persona {
            let endpoint = teams.endpoints.iter().position(|e| e.local == hop.local);
            let tenant = teams.tenants.iter().position(|t| t.fqdn == host);
            for region in 0..teams.manner.regions.len() {
                if let Some((endpoint, tenant)) = endpoint.zip(tenant)
                    && !self.known.contains(&(endpoint, tenant, region))
                {
                    self.known.push((endpoint, tenant, region));
                    self.agenda.set((endpoint, tenant, region), Some(now.mono));
                }
            }
        }
        core.emit(Event::OptionsReceived { host, status: 200 });
    }

    /// Sends the OPTIONS that are due.
    pub(crate) fn run(&mut self, core: &mut Core, now: Now) {
        while let Some(probe) = self.agenda.pop_due(now.mono) {
            let (token, tag) = (core.token(), core.token());
            let Persona::Teams(teams) = &core.persona else { return };
            let (Some(endpoint), Some(tenant), Some(region)) = (
                teams.endpoints.get(probe.0),
                teams.tenants.get(probe.1),
                teams.manner.regions.get(probe.2),
            ) else {
                continue;
            };
            let request = Teams::options(tenant, region, &token, &tag);
            let hop = teams.hop_to(tenant, endpoint.local);
            let (host, up) = (tenant.fqdn.clone(), endpoint.health == Health::Up);
            // Each region has a pace of its own (TDR-OPT-021).
            let pace = teams.options_every + teams.options_every / 10 * probe.2 as u32;
            self.agenda.set(probe, Some(now.mono + pace));
            if up {
                core.request(now.mono, &hop, request, Asked::Options { host });
            }
        }
    }
}

/// What the far side answered to our OPTIONS.
pub(crate) fn answered(core: &mut Core, host: String, response: &Response) {
    if response.status >= 200 {
        core.emit(Event::OptionsAnswered { host, status: response.status });
    }
}
