//! What is kept of the Teams leg of a call: who has answered there, what it has come to, and Microsoft's
//! words about the end (TDR-MON-004, TDR-ERR-001).

use super::Call;
use crate::core::Core;
use crate::io::Hop;
use crate::leg;
use crate::plan::TrunkKind;
use sip_core::{Headers, Name, Response};
use std::net::{IpAddr, SocketAddr};

impl Call {
    /// Keeps what a message on this trunk says about the end of the call, if it is Microsoft's.
    pub(super) fn note_reason(&mut self, trunk: usize, headers: &Headers, status: Option<u16>) {
        if leg::is_teams(&self.plan, trunk) {
            self.record.note_reason(headers, status);
        }
    }

    /// Keeps who of Microsoft's has answered (TDR-IN-014, TDR-MON-004), and what for good.
    pub(super) fn note_teams(
        &mut self,
        core: &mut Core,
        trunk: usize,
        hop: &Hop,
        response: &Response,
    ) {
        let Some(of) = self.plan.trunks.get(trunk).filter(|of| of.kind == TrunkKind::Teams) else {
            return;
        };
        if response.status >= 200 {
            let names = (of.name.as_str(), self.fqdn.as_str());
            core.microsoft.answered(core.now.mono, names, response);
        }
        let agent = [Name::Server, Name::UserAgent];
        let agent = agent.into_iter().find_map(|name| response.headers.get(name));
        let teams = &mut self.record.teams;
        teams.address = Some(hop.endpoint().address.ip());
        teams.agent = agent.map(super::text).or_else(|| teams.agent.take());
    }

    /// Keeps what the Teams leg has come to.
    pub(super) fn note_teams_leg(&mut self) {
        let legs = [Some(&self.a), self.b.as_ref()];
        let leg = legs.into_iter().flatten().find(|leg| leg::is_teams(&self.plan, leg.trunk));
        let Some(stream) = leg.and_then(|leg| leg.negotiation.stream()) else { return };
        let speech = stream.payloads.iter().find(|payload| payload.is_speech());
        self.record.teams.codec = speech.map(|payload| payload.encoding.to_string());
        self.record.teams.media = stream.remote_rtp.map(teams_media);
    }
}

/// Who is at an address of media that Teams has named: its processors have ranges and ports of their own,
/// its relays other ports there, and clients are anywhere (TDR-MED-002, TDR-MED-003).
fn teams_media(address: SocketAddr) -> &'static str {
    let of_microsoft = match address.ip() {
        IpAddr::V4(ip) => {
            let ip = u32::from(ip);
            [[52, 112, 0, 0], [52, 120, 0, 0]]
                .iter()
                .any(|block| ip >> 18 == u32::from_be_bytes(*block) >> 18)
        }
        IpAddr::V6(_) => false,
    };
    match (of_microsoft, address.port()) {
        (true, 3478..=3481 | 49_152..=53_247) => "processor",
        (true, _) => "relay",
        (false, _) => "client",
    }
}
