//! Session timers of a call that is up (RFC 4028), and UPDATE from the far side (RFC 3311).

use crate::call::{Call, State};
use crate::core::Core;
use crate::reinvite::Wish;
use bytes::Bytes;
use media::Now;
use sip_core::transaction::ServerId;
use sip_core::usage::session_timer::Due;
use sip_core::{Name, Request, Response};

impl Call {
    /// Refreshes the session, or ends it, when it is time.
    pub(crate) fn keep_session(&mut self, core: &mut Core, now: Now) {
        match self.session.handle_timeout(now.mono) {
            // What is under way will refresh it, or the next try.
            Some(Due::Refresh) if !self.change(core, now, Wish::Refresh) => {
                self.session.refused(now.mono);
            }
            Some(Due::End) => self.hang_up(core, now),
            Some(Due::Refresh) | None => {}
        }
    }

    /// Refuses a session interval that is too short; whether it was.
    pub(crate) fn refuses_interval(
        &self,
        core: &mut Core,
        now: Now,
        server: ServerId,
        request: &Request,
    ) -> bool {
        let Err(small) = self.session.judge(&request.headers) else { return false };
        let mut response = Response::to(request, 422, Some(&self.tag));
        response.headers.push(Name::MinSe, small.min_s.to_string());
        core.respond(now.mono, server, response);
        true
    }

    /// The far side's UPDATE.
    pub(crate) fn updated(
        &mut self,
        core: &mut Core,
        now: Now,
        server: ServerId,
        request: &Request,
    ) {
        if !request.body().is_empty() {
            return self.changed(core, now, server, request);
        }
        let State::Up(up) = &mut self.state else {
            return core.answer(now.mono, server, request, 481, None);
        };
        if up.dialog.receive(request).is_err() {
            return core.answer(now.mono, server, request, 500, None);
        }
        if !self.refuses_interval(core, now, server, request) {
            self.accept(core, now, server, request, &Bytes::new());
        }
    }
}
