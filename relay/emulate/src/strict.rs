//! What Microsoft refuses, and what its documents forbid though it may go through: each by the rule
//! it breaks.

use crate::call::Call;
use crate::core::Core;
use crate::persona::{Persona, host_of, user_of};
use crate::teams::Teams;
use crate::{Carrier, Hop};
use crate::{strict_headers, strict_sdp};
use bytes::Bytes;
use sdp::Security;
use sip_core::{Headers, Message, Method, Name, NameAddr, Request, Response};
use std::net::IpAddr;
use std::time::Instant;

/// Something the border controller sent that it must not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// The rule of the reference it breaks.
    pub rule: &'static str,
    /// What was wrong.
    pub what: String,
    /// The start line of the message.
    pub message: String,
}

/// A broken rule, and the answer that Microsoft gives to a request that breaks it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
    pub(crate) refuse: Option<(u16, Said)>,
}

/// What Microsoft says in a Reason header, and its own number for it (0: none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) phrase: &'static str,
    pub(crate) sub_code: u32,
}

impl Fault {
    pub(crate) fn noted(rule: &'static str, what: impl Into<String>) -> Self {
        Self { rule, what: what.into(), refuse: None }
    }

    pub(crate) fn refused(
        rule: &'static str,
        status: u16,
        sub_code: u32,
        phrase: &'static str,
    ) -> Self {
        let refuse = Some((status, Said { phrase, sub_code }));
        Self { rule, what: phrase.to_owned(), refuse }
    }

    /// The same, told in other words than Microsoft's.
    pub(crate) fn because(self, what: impl Into<String>) -> Self {
        Self { what: what.into(), ..self }
    }
}

impl Violation {
    pub(crate) fn new(at: Instant, fault: &Fault, message: &Message) -> Self {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let message = match message {
            Message::Request(r) => format!("{} {}", text(r.method.as_bytes()), text(&r.uri)),
            Message::Response(r) => {
                let method = r.headers.cseq().method;
                format!("{} {} ({})", r.status, text(&r.reason), text(method.as_bytes()))
            }
        };
        Self { at, rule: fault.rule, what: fault.what.clone(), message }
    }

    pub(crate) fn ack_missing(at: Instant) -> Self {
        let what = "no ACK for a 200 to INVITE".to_owned();
        Self { at, rule: "TDR-DLG-040", what, message: "ACK".to_owned() }
    }

    pub(crate) fn nothing_heard(at: Instant) -> Self {
        let what = "no answer but 100 within the failover time".to_owned();
        Self { at, rule: "TDR-FO-012", what, message: "INVITE".to_owned() }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} in {}", self.rule, self.what, self.message)
    }
}

/// The answer to a request with these faults, if it is refused.
pub(crate) fn refusal(persona: &Persona, faults: &[Fault]) -> Option<(u16, Said)> {
    match persona {
        Persona::Teams(teams) if teams.strict => faults.iter().find_map(|fault| fault.refuse),
        _ => None,
    }
}

/// What is wrong with a request; `call` is the one it belongs to.
pub(crate) fn request(
    core: &Core,
    hop: &Hop,
    request: &Request,
    call: Option<&Call>,
) -> Vec<Fault> {
    let teams = match &core.persona {
        Persona::Teams(teams) => teams,
        Persona::Carrier(carrier) => return to_carrier(carrier, request),
    };
    if !METHODS.contains(&request.method) {
        return vec![Fault::refused("TDR-DLG-001", 405, 0, "Method is not supported")];
    }
    let mut faults = Vec::new();
    everywhere(&request.headers, &mut faults);
    if matches!(request.method, Method::Invite | Method::Options) {
        let shown = hop.flow.and_then(|flow| core.shown.get(&flow));
        identity(teams, &request.headers, shown, &mut faults);
    }
    match (&request.method, call) {
        (Method::Options, _) => probe(request, &mut faults),
        // One of a call that is over is no new call: it gets its 481 and nothing else is wrong.
        (Method::Invite, None) if request.headers.to().tag().is_none() => {
            called(teams, hop, request, &mut faults);
            strict_headers::caller(&request.headers, &mut faults);
            invite(teams.bypass, request, None, &mut faults);
        }
        (Method::Invite, Some(call)) => {
            invite(teams.bypass, request, call.seen.sdp.as_ref(), &mut faults);
        }
        _ => {}
    }
    if request.method == Method::Notify {
        strict_headers::progress(request, &mut faults);
    }
    if let Some(call) = call {
        target(call, request, &mut faults);
        same_tenant(call, request, &mut faults);
    }
    faults
}

/// What is wrong with a request to a carrier.
fn to_carrier(carrier: &Carrier, request: &Request) -> Vec<Fault> {
    let mut faults = leaks(carrier, &request.headers, request.body());
    if request.method == Method::Refer {
        faults.push(Fault::noted("TDR-XFR-020", "REFER to a carrier"));
    }
    for name in [Name::SessionExpires, Name::MinSe] {
        let what = format!("{} twice", name.as_str());
        expect(request.headers.all(name).count() < 2, "TDR-DLG-030", &what, &mut faults);
    }
    faults
}

/// A request in a dialog comes from the tenant that the dialog is of (TDR-MT-003).
fn same_tenant(call: &Call, request: &Request, faults: &mut Vec<Fault>) {
    let Some(contact) = request.headers.contact() else { return };
    let host = host_of(&contact);
    if request.method == Method::Invite && host != call.seen.host {
        let what = format!("Contact {host} in a call of {}", call.seen.host);
        let fault = Fault::refused("TDR-MT-003", 403, 510_532, "No trunk config was found");
        faults.push(fault.because(what));
    }
}

/// What is wrong with an ACK.
pub(crate) fn ack(persona: &Persona, message: &Message) -> Vec<Fault> {
    let mut faults = Vec::new();
    match persona {
        Persona::Teams(_) => everywhere(message.headers(), &mut faults),
        Persona::Carrier(carrier) => {
            faults = leaks(carrier, message.headers(), message.body());
        }
    }
    faults
}

/// What is wrong with a response to a request of ours; `call` is the one it belongs to, which
/// remembers what was said.
pub(crate) fn response(
    persona: &Persona,
    response: &Response,
    call: Option<&mut Call>,
) -> Vec<Fault> {
    let headers = &response.headers;
    let method = headers.cseq().method;
    let mut faults = Vec::new();
    if let Persona::Carrier(carrier) = persona {
        faults = leaks(carrier, headers, response.body());
    } else {
        everywhere(headers, &mut faults);
    }
    let dialog = method == Method::Invite && (101..300).contains(&response.status);
    if method == Method::Refer && (200..300).contains(&response.status) {
        expect(response.status == 202, "TDR-XFR-011", "REFER is accepted by 202", &mut faults);
        expect(headers.contact().is_some(), "TDR-XFR-011", "no Contact", &mut faults);
    }
    if method == Method::Refer && response.status == 405 {
        let what = "REFER is in Allow and is refused with 405";
        let allowed = call.as_ref().is_some_and(|call| call.seen.allows_refer);
        expect(!allowed, "TDR-XFR-001", what, &mut faults);
    }
    let Some(call) = call.filter(|_| dialog) else {
        if method == Method::Options && response.status == 200 {
            expect(headers.contact().is_some(), "TDR-OPT-020", "no Contact", &mut faults);
        }
        return faults;
    };
    let tag = headers.to().tag().map(Bytes::copy_from_slice);
    let known = call.seen.to_tag.get_or_insert_with(|| tag.clone().unwrap_or_default());
    expect(tag.as_ref() == Some(known), "TDR-EM-005", "a second To tag", &mut faults);
    call.seen.allows_refer |= headers.has_token(Name::Allow, "REFER");
    if let Persona::Teams(teams) = persona {
        expect(!headers.has_token(Name::Require, "100rel"), "TDR-EM-024", "100rel", &mut faults);
        answer_identity(teams, headers, &call.seen.host, &mut faults);
        let early = response.status < 200;
        strict_sdp::answer(
            teams.bypass,
            response.body(),
            call.seen.sdp.as_ref().filter(|_| !early),
            &mut faults,
        );
    }
    if !response.body().is_empty() {
        call.seen.sdp = Some(response.body().clone());
    }
    faults
}

/// Nothing of Microsoft's may reach a carrier, nor of the tenant's Teams leg.
fn leaks(carrier: &Carrier, headers: &Headers, body: &[u8]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, value) in headers.iter() {
        let microsoft =
            contains(value, b"pstnhub") || name.to_ascii_uppercase().starts_with(b"X-MS-");
        if microsoft {
            let name = String::from_utf8_lossy(name);
            faults.push(Fault::noted("topology", format!("{name} shows the Teams leg")));
        }
    }
    let plain = carrier.ability.security == Security::Off;
    // A candidate of our own has type host.
    for line in [&b"a=crypto"[..], b"a=label", b"a=mid", b"typ relay", b"typ srflx"] {
        if plain && contains(body, line) {
            let line = String::from_utf8_lossy(line);
            faults.push(Fault::noted("TDR-SDP-007", format!("{line} from the Teams leg")));
        }
    }
    faults
}

/// What may stand in no message.
fn everywhere(headers: &Headers, faults: &mut Vec<Fault>) {
    for (name, value) in headers.iter() {
        if contains(value, b"sips:") {
            faults.push(Fault::noted("TDR-TLS-010", "sips URI"));
        }
        let name = name.to_ascii_uppercase();
        if name.starts_with(b"P-CHARGING") || name == b"DIVERSION" || name.starts_with(b"X-") {
            let name = String::from_utf8_lossy(&name);
            faults.push(Fault::noted("TDR-OUT-010", format!("{name} is private")));
        }
    }
    if headers.get(Name::Require).is_some_and(|require| !require.eq_ignore_ascii_case(b"timer")) {
        faults.push(Fault::refused("TDR-OUT-011", 420, 560_420, "Require is not supported"));
    }
    expect(!headers.has_token(Name::Supported, "100rel"), "TDR-OUT-011", "100rel", faults);
    strict_headers::unwanted(headers, faults);
}

/// Who asks: Contact and Record-Route (TDR-OPT-003, TDR-OUT-003, TDR-OUT-007).
fn identity(
    teams: &Teams,
    headers: &Headers,
    shown: Option<&Vec<String>>,
    faults: &mut Vec<Fault>,
) {
    let contact = headers.contact();
    let route = headers.list(Name::RecordRoute).next().and_then(|r| NameAddr::parse(r).ok());
    if contact.is_none() && route.is_none() {
        let text = "Record-Route and Contact headers are missing";
        return faults.push(Fault::refused("TDR-OPT-003", 400, 0, text));
    }
    expect(contact.is_some(), "TDR-OPT-003", "no Contact", faults);
    for (at, address) in contact.iter().chain(&route).enumerate() {
        // Behind a proxy that records its route the connection is the proxy's.
        let on_the_connection = route.is_none() || contact.is_none() || at == 1;
        let host = host_of(address);
        if is_address(&host) {
            let text = "An address in Contact or Record-Route";
            faults.push(Fault::refused("TDR-OPT-003", 403, 0, text));
            continue;
        }
        let unknown = Fault::refused("TDR-OUT-003", 403, 510_532, "No trunk config was found");
        if teams.tenant(host.as_bytes()).is_none() {
            faults.push(unknown.because(format!("{host} is registered in no tenant")));
        } else if on_the_connection && shown.is_some_and(|names| !covered(names, &host)) {
            let what = format!("the certificate of this connection does not cover {host}");
            faults.push(Fault { rule: "TDR-CON-005", ..unknown.because(what) });
        }
    }
    expect(route.is_none(), "TDR-OUT-007", "Record-Route", faults);
    if let Some(contact) = contact {
        contact_form(teams, &contact, faults);
    }
    let via = String::from_utf8_lossy(headers.top_via().host).into_owned();
    expect(!is_private(&via), "TDR-OUT-006", "a private address in Via", faults);
}

/// Whether a certificate with these names is one of `host`; a wildcard stands for one label
/// (TDR-CRT-004).
pub(crate) fn covered(names: &[String], host: &str) -> bool {
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, of)| of.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    })
}

/// Contact names the trunk's port and TLS (TDR-OUT-002, TDR-IN-015).
fn contact_form(teams: &Teams, contact: &NameAddr<'_>, faults: &mut Vec<Fault>) {
    let Ok(uri) = contact.uri() else { return };
    let tls = uri.param("transport").is_some_and(|value| value.eq_ignore_ascii_case(b"tls"));
    expect(tls, "TDR-OUT-002", "Contact without transport=tls", faults);
    if let Some(tenant) = teams.tenant(uri.host) {
        let port = uri.port.unwrap_or(5061) == tenant.address.port();
        expect(port, "TDR-OUT-002", "Contact with another port than the trunk's", faults);
    }
}

fn answer_identity(teams: &Teams, headers: &Headers, host: &str, faults: &mut Vec<Fault>) {
    match headers.contact() {
        None => faults.push(Fault::noted("TDR-IN-015", "no Contact")),
        Some(contact) => {
            let ours = host_of(&contact);
            if ours != host {
                let other = teams.tenant(ours.as_bytes()).is_some();
                let rule = if other { "TDR-MT-003" } else { "TDR-IN-015" };
                faults.push(Fault::noted(rule, format!("Contact {ours}, not {host}")));
            }
            contact_form(teams, &contact, faults);
        }
    }
    expect(headers.has_token(Name::Allow, "NOTIFY"), "TDR-IN-016", "no NOTIFY in Allow", faults);
}

fn probe(request: &Request, faults: &mut Vec<Fault>) {
    let user = request.headers.contact().and_then(|c| c.uri().ok()).and_then(|uri| uri.user);
    expect(user.is_none(), "TDR-OPT-003", "user part in the Contact of OPTIONS", faults);
    for address in [request.headers.from(), request.headers.to()] {
        let user = address.uri().ok().and_then(|uri| uri.user);
        expect(user.is_none(), "TDR-OPT-004", "user part in From or To of OPTIONS", faults);
    }
}

/// Whom the INVITE calls, and from whom (TDR-OUT-001, TDR-OUT-004).
fn called(teams: &Teams, hop: &Hop, request: &Request, faults: &mut Vec<Fault>) {
    let Ok(uri) = request.request_uri() else { return };
    // Whom a transfer names is called as Microsoft wrote it (TDR-XFR-010).
    if request.headers.get(Name::ReferredBy).is_some() {
        return;
    }
    if !uri.user.is_some_and(|user| user.starts_with(b"+")) {
        let fault =
            Fault::refused("TDR-OUT-001", 404, 511_404, "Number was not found in the tenant");
        faults.push(fault.because("number is not in E.164 form"));
    } else if let Some(tenant) = request.headers.contact().and_then(|contact| {
        let host = host_of(&contact);
        teams.tenant(host.as_bytes())
    }) {
        let number = user_of(&request.uri);
        if !tenant.has(&number) {
            let what = format!("{number} is no number of the tenant {}", tenant.fqdn);
            let text = "Number was not found in the tenant";
            faults.push(Fault::refused("TDR-OUT-003", 404, 511_404, text).because(what));
        }
    }
    let phone = uri.param("user") == Some(b"phone");
    expect(phone, "TDR-OUT-001", "no user=phone in the Request-URI", faults);
    if let Some(endpoint) = teams.endpoint(hop.local) {
        let host = uri.host.eq_ignore_ascii_case(endpoint.fqdn.as_bytes());
        expect(host, "TDR-OUT-001", "Request-URI names another host than was dialled", faults);
    }
    let contact = request.headers.contact().map(|contact| host_of(&contact));
    let from = host_of(&request.headers.from());
    let from_ok = from == "anonymous.invalid" || Some(&from) == contact.as_ref();
    expect(from_ok, "TDR-OUT-004", "From names another host than Contact", faults);
}

fn invite(bypass: bool, request: &Request, before: Option<&Bytes>, faults: &mut Vec<Fault>) {
    let headers = &request.headers;
    if headers.get(Name::Replaces).is_some() {
        faults.push(Fault::refused("TDR-OUT-008", 420, 560_420, "Replaces is not supported"));
    }
    expect(headers.has_token(Name::Allow, "NOTIFY"), "TDR-OUT-012", "no NOTIFY in Allow", faults);
    if request.body().is_empty() {
        return faults.push(Fault::refused("TDR-OUT-009", 488, 531_000, "INVITE without SDP"));
    }
    let sdp = headers.get(Name::ContentType).unwrap_or_default();
    if !sdp.to_ascii_lowercase().starts_with(b"application/sdp") {
        return faults.push(Fault::refused("TDR-OUT-010", 415, 540_415, "Body is no SDP"));
    }
    strict_sdp::offer(bypass, request.body(), before, faults);
}

/// A request in a dialog names our Contact octet by octet (TDR-FO-007).
fn target(call: &Call, request: &Request, faults: &mut Vec<Fault>) {
    let contact = NameAddr::parse(&call.contact).map(|contact| contact.uri).unwrap_or_default();
    expect(request.uri == contact, "TDR-FO-007", "Request-URI is not our Contact", faults);
}

pub(crate) fn expect(right: bool, rule: &'static str, what: &str, faults: &mut Vec<Fault>) {
    if !right {
        faults.push(Fault::noted(rule, what));
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// An address that means something only behind a NAT; Microsoft bears a public one.
fn is_private(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => {
            // RFC 6598.
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_link_local() || v4.is_loopback() || shared
        }
        Ok(IpAddr::V6(v6)) => {
            v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback()
        }
        Err(_) => false,
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// TDR-DLG-001.
const METHODS: [Method; 6] =
    [Method::Invite, Method::Ack, Method::Options, Method::Cancel, Method::Bye, Method::Notify];
