//! Transfers that an agent asks for: REFER and what it is told of it (RFC 3515), and INVITE that
//! takes the place of a call (RFC 3891).

use crate::call::{Call, State};
use crate::core::{Asked, Core};
use crate::deed::HASTE;
use crate::io::CallId;
use crate::persona::Persona;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use media::Now;
use sip_core::{Method, Name, Request};

/// A transfer that has been asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    /// The call that asked its target, which is over as well when the transfer succeeds.
    consulted: Option<CallId>,
    /// Hangs up soon after the 202, whatever comes of it (TDR-XFR-017).
    hasty: bool,
}

/// Who transfers, as Microsoft names it, with the transfer hidden in base64 (fixture F-14): some 480
/// octets, which come back as they are.
fn referred_by(core: &mut Core) -> String {
    let (tenant, call) = (core.guid(), core.guid());
    let hidden = format!(
        "https://api-du-a-euwe.pstnhub.microsoft.com/v1/ngc/callnotification?dci={}&cid={}&leg={}",
        core.token(),
        core.guid(),
        core.token()
    );
    // Its padding is escaped; its case matters.
    let hidden = STANDARD.encode(hidden).replace('=', "%3D").replace('+', "%2B");
    format!(
        "<sip:sip.pstnhub.microsoft.com:5061;x-m=8:orgid:47378190-96da-1dac-72ff-5d2a386ecbe0;\
         x-t={tenant};x-ti={call};x-tt={hidden}>"
    )
}

impl Call {
    /// Asks the far side to call `to` instead of us; whether the call is in a state for that.
    pub(crate) fn refer(
        &mut self,
        core: &mut Core,
        now: Now,
        to: &str,
        consulted: Option<CallId>,
        hasty: bool,
    ) -> bool {
        let teams = matches!(core.persona, Persona::Teams(_));
        let by = teams.then(|| referred_by(core));
        let State::Up(up) = &mut self.state else { return false };
        if up.change.is_some() || up.transfer.is_some() {
            return false;
        }
        let mut refer = up.dialog.request(Method::Refer);
        up.transfer = Some(Transfer { consulted, hasty });
        let hop = core.persona.next_hop(&up.dialog.next_hop(), &self.hop);
        refer.headers.push(Name::Contact, self.contact.clone());
        refer.headers.push(Name::ReferTo, format!("<{to}>"));
        if let Some(by) = by {
            refer.headers.push(Name::ReferredBy, by.clone());
            core.refers(Bytes::copy_from_slice(to.as_bytes()), by.into());
        }
        core.request(now.mono, &hop, refer, Asked::Refer(self.id));
        true
    }

    /// REFER was accepted: who is hasty does not wait for what comes of it.
    pub(crate) fn refer_accepted(&mut self, now: Now) {
        if let State::Up(up) = &mut self.state
            && up.transfer.is_some_and(|transfer| transfer.hasty)
        {
            up.hang_up_at = Some(now.mono + HASTE);
        }
    }

    /// REFER was refused, or never answered.
    pub(crate) fn refer_refused(&mut self) {
        if let State::Up(up) = &mut self.state {
            up.transfer = None;
        }
    }

    /// NOTIFY tells how the new call fares (a status line). When it is up, this one is over; the
    /// call to end with it.
    pub(crate) fn notified(
        &mut self,
        core: &mut Core,
        now: Now,
        notify: &Request,
    ) -> Option<CallId> {
        let status = std::str::from_utf8(notify.body().get(8..11)?).ok()?.parse::<u16>().ok()?;
        let State::Up(up) = &mut self.state else { return None };
        let transfer = up.transfer.filter(|_| status >= 200)?;
        up.transfer = None;
        if status >= 300 {
            return None;
        }
        self.hang_up(core, now);
        transfer.consulted
    }

    /// How an INVITE names this call to take its place (fixture F-17).
    pub(crate) fn named(&self) -> Option<String> {
        let State::Up(up) = &self.state else { return None };
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let (call_id, ours) = (text(&self.call_id), text(&self.tag));
        let theirs = text(&up.dialog.id().remote_tag);
        Some(format!("{call_id};from-tag={ours};to-tag={theirs}"))
    }
}
