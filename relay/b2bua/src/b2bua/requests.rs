//! A request of the far side finds the call it belongs to, makes one, or is answered here.

use super::B2bua;
use crate::call::incoming::{self, NewCall};
use crate::call::{Ask, Newcomer, lacks_reliable};
use crate::identity::{Identity, PRODUCT};
use crate::io::{CallId, Event, Flow, Hop};
use crate::plan::TrunkKind;
use crate::registrar::Registrars;
use crate::supported;
use sip_core::message::{Rejection, judge};
use sip_core::transaction::ServerId;
use sip_core::usage::prack::REL100;
use sip_core::usage::replaces::Replaces;
use sip_core::{Dialog, Method, Name, Request, Response};
use std::net::IpAddr;
use std::sync::Arc;

impl B2bua {
    /// A request came in.
    pub(super) fn request(&mut self, server: ServerId, hop: &Hop, request: Request) {
        let Hop::Flow { flow, .. } = hop else { return };
        let flow = flow.clone();
        if request.headers.to().tag().is_some() {
            return self.in_dialog(server, &flow, request);
        }
        let plan = Arc::clone(&self.core.plan);
        let trunk = plan.trunk(&flow.trunk);
        let supported = supported::on(trunk);
        if let Err(rejection) = judge(&request, &supported) {
            let mut response =
                rejection.response(&request, &supported, Some(self.core.token().as_bytes()));
            response.headers.push(Name::Server, PRODUCT);
            return self.core.respond(server, response);
        }
        match request.method {
            Method::Register => Registrars::register(&mut self.core, server, &flow, &request),
            Method::Invite if !Registrars::admits(&mut self.core, server, &flow, &request) => {}
            Method::Invite if lacks_reliable(trunk, &request.headers) => {
                self.refuse(server, &request, 421);
            }
            Method::Invite if request.headers.get(Name::Replaces).is_some() => {
                self.replace(server, flow, request);
            }
            Method::Invite => {
                let id = CallId(self.next_call);
                self.next_call += 1;
                let new = Box::new(NewCall { id, server, flow, request });
                let room = self.may_ask();
                let Some(arrival) = incoming::arrive(&mut self.core, new) else { return };
                let Some(open) = arrival.open(&mut self.core) else { return };
                self.make_room(&arrival, &open);
                let begun = incoming::begin(&mut self.core, arrival, open, room);
                self.core.ports.take_back(self.core.now.mono);
                self.begun(id, begun);
            }
            Method::Options => self.options(server, &flow, &request),
            // Nothing is transferred that is no call of ours (TDR-IN-011).
            Method::Refer => self.refuse(server, &request, 403),
            // A request that belongs to no dialog of ours (RFC 3261, 12.2.2).
            _ => self.refuse(server, &request, 481),
        }
    }

    fn in_dialog(&mut self, server: ServerId, flow: &Flow, request: Request) {
        let id = Dialog::id_of_request(&request);
        let key = (id.call_id, id.local_tag);
        let found = self.core.dialogs.get(&key).copied();
        if let Some((call, _)) = found
            && self.calls.get(&call).is_some_and(|call| call.was_replaced(&key, &id.remote_tag))
        {
            return self
                .with(call, |call, core| call.asked_once_more(core, server, &request, flow));
        }
        let ours = found.and_then(|(call, leg)| {
            self.calls.get(&call)?.knows(leg, &id.remote_tag).then_some((call, leg))
        });
        let Some((call, leg)) = ours else {
            return self.refuse(server, &request, 481);
        };
        let plan = Arc::clone(&self.core.plan);
        let trunk = plan.trunk(&flow.trunk);
        let supported = supported::on(trunk);
        // Methods and bodies are the call's to judge, which says what it takes there.
        if let Err(rejection @ Rejection::BadExtension(_)) = judge(&request, &supported) {
            let mut response = rejection.response(&request, &supported, None);
            response.headers.push(Name::Server, PRODUCT);
            return self.core.respond(server, response);
        }
        self.with(call, |call, core| call.asked(core, Ask { leg, server, request }, flow));
    }

    /// An INVITE that is to take the place of a dialog. A stranger's finds none, whatever it knows of
    /// it (RFC 3891, 3; TDR-XFR-030).
    fn replace(&mut self, server: ServerId, flow: Flow, request: Request) {
        let replaces = match Replaces::of(&request.headers) {
            Ok(Some(replaces)) => replaces,
            Ok(None) | Err(_) => return self.refuse(server, &request, 400),
        };
        let Replaces { call_id, to_tag, from_tag, early_only } = replaces;
        let found = self.core.dialogs.get(&(call_id, to_tag)).copied().filter(|(call, leg)| {
            let call = self.calls.get(call);
            call.is_some_and(|call| {
                call.remote_tag(*leg) == Some(&from_tag)
                    && call.may_be_replaced(*leg, &flow, &request)
            })
        });
        let Some((call, leg)) = found else {
            self.core.emit(Event::Discarded { reason: "replaces_no_dialog" });
            return self.refuse(server, &request, 481);
        };
        // The dialogs we list are confirmed, or early ones that the far side began, which cannot be
        // replaced at all.
        let newcomer = Newcomer { server, flow, request, early_only };
        self.with(call, |call, core| call.replace(core, leg, newcomer));
    }

    fn refuse(&mut self, server: ServerId, request: &Request, status: u16) {
        let mut response = Response::to(request, status, Some(self.core.token().as_bytes()));
        response.headers.push(Name::Server, PRODUCT);
        if status == 421 {
            response.headers.push(Name::Require, REL100);
        }
        self.core.respond(server, response);
    }

    /// OPTIONS from a peer: 200 for a name that is ours (TDR-OPT-020), 404 for another (TDR-OPT-023).
    fn options(&mut self, server: ServerId, flow: &Flow, request: &Request) {
        let plan = Arc::clone(&self.core.plan);
        let Some(trunk) = plan.trunk_named(&flow.trunk) else { return };
        let host =
            request.request_uri().map(|uri| String::from_utf8_lossy(uri.host).to_ascii_lowercase());
        let host = host.unwrap_or_default();
        let teams = plan.trunks.get(trunk).is_some_and(|trunk| trunk.kind == TrunkKind::Teams);
        let ours = host == plan.base_of(trunk)
            || plan.tenant_of_fqdn(&host).is_some()
            || host.parse::<IpAddr>().is_ok();
        if teams && !ours {
            self.core.emit(Event::Discarded { reason: "unknown_fqdn" });
            self.core.emit(Event::unknown_fqdn(&flow.trunk, &host));
            return self.refuse(server, request, 404);
        }
        // A carrier learns so that calls go elsewhere. Teams learns by missing ours (TDR-OPT-022).
        if self.core.stopping || (!teams && self.core.drains.holds(None)) {
            return self.refuse(server, request, 503);
        }
        if teams {
            let fqdn = plan.tenant_of_fqdn(&host).map_or(plan.base_of(trunk), |_| host.as_str());
            let (now, from) = (self.core.now.mono, flow.remote.ip());
            self.core.microsoft.asked(now, (&*flow.trunk, fqdn), from, request);
        }
        let fqdn = plan.tenant_of_fqdn(&host).map(|_| host.as_str());
        let us = Identity::new(&plan, trunk, fqdn);
        let mut response = Response::to(request, 200, Some(self.core.token().as_bytes()));
        response.headers.push(Name::Contact, us.contact(""));
        response.headers.push(Name::Allow, us.allow());
        response.headers.push(Name::Accept, "application/sdp");
        let supported = supported::on(plan.trunks.get(trunk));
        response.headers.push(Name::Supported, supported.extensions.join(", "));
        response.headers.push(Name::Server, PRODUCT);
        self.core.respond(server, response);
        self.core.emit(Event::Options {
            trunk: flow.trunk.to_string(),
            target: flow.remote.ip().to_string(),
            direction: "in",
        });
    }
}
