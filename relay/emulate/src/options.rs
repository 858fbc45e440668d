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

/// Whom an endpoint of Teams probes: indices of endpoint and tenant.
type Probe = (usize, usize);

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
            if let Some(probe) = endpoint.zip(tenant)
                && !self.known.contains(&probe)
            {
                self.known.push(probe);
                self.agenda.set(probe, Some(now.mono));
            }
        }
        core.emit(Event::OptionsReceived { host, status: 200 });
    }

    /// Sends the OPTIONS that are due.
    pub(crate) fn run(&mut self, core: &mut Core, now: Now) {
        while let Some(probe) = self.agenda.pop_due(now.mono) {
            let (token, tag) = (core.token(), core.token());
            let Persona::Teams(teams) = &core.persona else { return };
            let (Some(endpoint), Some(tenant)) =
                (teams.endpoints.get(probe.0), teams.tenants.get(probe.1))
            else {
                continue;
            };
            let (request, hop) =
                (Teams::options(tenant, &token, &tag), teams.hop_to(tenant, endpoint.local));
            let (host, up) = (tenant.fqdn.clone(), endpoint.health == Health::Up);
            self.agenda.set(probe, Some(now.mono + teams.options_every));
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
