//! Calls of Teams that belong together: forwarding and simultaneous ring to the public network, a
//! transfer to a number there, and a client that takes another's place.
//!
//! Teams anchors such calls itself: both are calls of the agent, and what becomes of one decides what
//! becomes of the other.

use crate::call::State;
use crate::core::{Core, Wanted};
use crate::deed::Forward;
use crate::io::{CallId, Event};
use crate::persona::{Persona, user_of};
use crate::{Agent, Dial, Unable};
use media::Now;

/// A call that waits for another, or is joined with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The call that came in.
    came: CallId,
    /// The call that was placed for it.
    went: CallId,
    /// Whether nobody else can answer the first.
    alone: bool,
    joined: bool,
}

/// Links that are kept: one a call.
const LINKS_MAX: usize = 1000;

impl Agent {
    /// Does what calls have asked for, and what events of linked calls bring about.
    pub(crate) fn follow(&mut self, now: Now) {
        loop {
            if let Some(wanted) = self.core.wanted.pop_front() {
                match wanted {
                    Wanted::Forward { of, forward } => self.forward(now, of, &forward),
                    Wanted::Replace { of } => self.take_place(now, of),
                }
            } else if let Some(event) = self.core.news.pop_front() {
                self.follow_event(now, &event);
            } else {
                return;
            }
        }
    }

    /// Calls the number that a user's calls go to.
    fn forward(&mut self, now: Now, of: CallId, forward: &Forward) {
        let Some(call) = self.calls.get(&of) else { return };
        let State::Incoming(incoming) = &call.state else { return };
        let Persona::Teams(teams) = &self.core.persona else { return };
        let endpoint = teams.endpoints.iter().position(|e| e.local == call.hop.local);
        let invite = &incoming.invite;
        let user = user_of(&invite.uri);
        let from = user_of(invite.headers.from().uri);
        // Never for a transfer (TDR-FWD-001).
        let history = forward.cause != 0 && teams.manner.forward_history;
        let dial = Dial {
            anonymous: from.eq_ignore_ascii_case("anonymous"),
            from,
            to: forward.to.clone(),
            tenant: teams.trunk_of(&call.seen.host),
            endpoint: endpoint.unwrap_or_default(),
            headers: if history { history_of(&user, forward) } else { Vec::new() },
            on_behalf_of: Some(user),
            ..Dial::default()
        };
        let alone = !forward.rings_too;
        match self.place_by_itself(now, &dial, None) {
            Ok(went) if self.links.len() < LINKS_MAX => {
                self.links.push(Link { came: of, went, alone, joined: false });
            }
            Ok(_) => {}
            Err(_) if alone => {
                self.with(of, |core, call| call.refuse(core, now, 480));
            }
            Err(_) => {}
        }
    }

    /// Another client of the same user takes this call's place.
    fn take_place(&mut self, now: Now, of: CallId) {
        let Some(call) = self.calls.get(&of) else { return };
        let Some(named) = call.named() else { return };
        let Persona::Teams(teams) = &self.core.persona else { return };
        let tenant = teams.trunk_of(&call.seen.host);
        let dial =
            Dial { from: call.ours.clone(), to: call.theirs.clone(), tenant, ..Dial::default() };
        if self.place_by_itself(now, &dial, Some(named)).is_err() {
            self.core.emit(Event::ChangeRefused { call: of, status: 503 });
        }
    }

    fn place_by_itself(
        &mut self,
        now: Now,
        dial: &Dial,
        replaces: Option<String>,
    ) -> Result<CallId, Unable> {
        let call = self.call_for(now, dial, replaces)?;
        let (from, to) = (dial.from.clone(), dial.to.clone());
        self.core.emit(Event::Placed { call, from, to });
        Ok(call)
    }

    fn follow_event(&mut self, now: Now, event: &Event) {
        let links = self.links.clone();
        for link in links {
            let Link { came, went, alone, .. } = link;
            match event {
                Event::Ringing { call } | Event::EarlyMedia { call } if *call == went && alone => {
                    self.with(came, |core, call| call.ring(core, now));
                }
                Event::Answered { call } if *call == went => {
                    self.join(went);
                    self.with(came, |core, call| call.pick_up(core, now, None));
                }
                Event::Answered { call } if *call == came && !link.joined => {
                    // A client was faster: so is the mobile told (TDR-DLG-042).
                    self.unlink(went);
                    self.with(went, |core, call| call.answered_elsewhere(core, now));
                }
                Event::Refused { call, status } if *call == went => {
                    self.unlink(went);
                    if alone {
                        self.with(came, |core, call| call.refuse(core, now, *status));
                    }
                }
                Event::Refused { call, .. } | Event::Ended { call, .. } if *call == came => {
                    self.unlink(went);
                    self.with(went, |core, call| call.hang_up(core, now));
                }
                Event::Ended { call, .. } if *call == went => {
                    self.unlink(went);
                    self.with(came, |core, call| call.hang_up(core, now));
                }
                _ => {}
            }
        }
    }

    fn join(&mut self, went: CallId) {
        for link in self.links.iter_mut().filter(|link| link.went == went) {
            link.joined = true;
        }
    }

    fn unlink(&mut self, went: CallId) {
        self.links.retain(|link| link.went != went);
    }
}

impl Core {
    /// Whether this number is to be called outside: the target of a transfer that is no user of the
    /// tenant (fixture F-16).
    pub(crate) fn leads_outside(&self, host: &str, number: &str) -> Option<Forward> {
        let Persona::Teams(teams) = &self.persona else { return None };
        let tenant = teams.tenant(host.as_bytes())?;
        (number.starts_with('+') && !tenant.has(number)).then(|| Forward {
            to: number.to_owned(),
            cause: 0,
            after: std::time::Duration::ZERO,
            rings_too: false,
        })
    }
}

/// What an INVITE says of the user that forwards (fixture F-08).
fn history_of(user: &str, forward: &Forward) -> Vec<(String, String)> {
    let text = match forward.cause {
        302 => "Move%20Temporarily",
        408 => "Request%20Timeout",
        480 => "Temporarily%20Unavailable",
        _ => "User%20Busy",
    };
    let host = "sip.pstnhub.microsoft.com;user=phone";
    let (cause, to) = (forward.cause, &forward.to);
    let history = format!(
        "<sip:{user}@{host}?Reason=SIP%3Bcause%3D{cause}%3Btext%3D%22{text}%22>;index=1,\
         <sip:{to}@{host}>;index=1.1"
    );
    vec![
        ("History-Info".to_owned(), history),
        ("Referred-By".to_owned(), format!("<sip:{user}@{host}>")),
    ]
}
