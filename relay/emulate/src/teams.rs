//! Teams' user agent: speaks as Microsoft's SIP proxy and media processor do.

use crate::failure::{Failure, reason};
use crate::manner::{Manner, PROXY, Style};
use crate::mp_sdp::{self, Role};
use crate::persona::Opening;
use crate::script::Script;
use crate::strict::Said;
use crate::{Dial, Hop, Transport};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use sdp::{Direction, Media, Payload, SrtpKey, Suite};
use sip_core::{Headers, Method, Name, Request, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The Teams side: some names it listens under, and the tenants it knows.
#[derive(Clone, Debug)]
pub struct Teams {
    /// `sip.pstnhub.microsoft.com`, `sip2`, `sip3`, each at its own address.
    pub endpoints: Vec<Endpoint>,
    /// The FQDNs that it knows a trunk under: those of the tenants, and that of the controller
    /// itself.
    pub tenants: Vec<Tenant>,
    /// What its users do with calls.
    pub script: Script,
    /// Whether it refuses what Microsoft refuses. What is wrong is written down in any case.
    pub strict: bool,
    /// How its answers give their SRTP keys.
    pub answer_keys: AnswerKeys,
    /// Whether its INVITEs carry a Record-Route (TDR-FO-007).
    pub record_route: bool,
    /// Whether its trunks have media bypass: its clients are full ICE agents.
    pub bypass: bool,
    /// Pause between its OPTIONS to a trunk that has sent OPTIONS (TDR-OPT-001).
    pub options_every: Duration,
    /// How it is set up beyond that, and how it writes.
    pub manner: Manner,
}

/// One of the names that Teams listens under.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The FQDN.
    pub fqdn: String,
    /// The address.
    pub local: SocketAddr,
    /// How it is.
    pub health: Health,
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Up,
    /// It takes messages and says nothing.
    Dead,
    /// It refuses new calls and OPTIONS with 503 and Retry-After (TDR-FO-002).
    Draining,
}

/// A trunk that Teams knows.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its FQDN, in lower case.
    pub fqdn: String,
    /// What the FQDN resolves to, with the port of the trunk.
    pub address: SocketAddr,
    /// What the numbers of its users begin with; without any, every number is one of its users'.
    pub numbers: Vec<String>,
}

impl Tenant {
    /// A tenant that every number belongs to.
    pub fn new(fqdn: impl Into<String>, address: SocketAddr) -> Self {
        Self { fqdn: fqdn.into(), address, numbers: Vec::new() }
    }

    /// Whether a number is one of its users'.
    pub(crate) fn has(&self, number: &str) -> bool {
        self.numbers.is_empty() || self.numbers.iter().any(|start| number.starts_with(start))
    }
}

/// How answers give their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerKeys {
    /// One line, which echoes the tag.
    #[default]
    OneLine,
    /// Two lines with tags of their own, the first with an MKI; media comes under the second
    /// (TDR-SDP-001, D2).
    TwoLines,
    /// The same, and media comes under the first, with its MKI (TDR-SDP-003).
    TwoLinesMki,
}

/// The second key of a call's descriptions.
#[derive(Clone, Debug)]
pub(crate) struct Dress {
    key: SrtpKey,
    /// The line of the short suite in our first offer, behind its tag.
    short: Option<String>,
    pub(crate) style: Style,
}

impl Dress {
    pub(crate) fn new(rng: &mut ChaCha20Rng) -> Self {
        Self { key: second_key(rng), short: None, style: Style::default() }
    }

    /// Another second key: media comes from another machine.
    pub(crate) fn renew(&mut self, rng: &mut ChaCha20Rng) {
        self.key = second_key(rng);
        self.short = None;
    }

    /// Our first offer, before it is dressed.
    pub(crate) fn remember(&mut self, offer: &Bytes) {
        self.short = mp_sdp::short_of(offer);
    }
}

fn second_key(rng: &mut ChaCha20Rng) -> SrtpKey {
    SrtpKey::generate(Suite::AesCm128HmacSha1_80, rng).with_mki(1, 1)
}

impl Teams {
    /// A strict one, all well.
    pub fn new(endpoints: Vec<Endpoint>, tenants: Vec<Tenant>, script: Script) -> Self {
        Self {
            endpoints,
            tenants,
            script,
            strict: true,
            answer_keys: AnswerKeys::OneLine,
            record_route: false,
            bypass: false,
            options_every: Duration::from_secs(60),
            manner: Manner::default(),
        }
    }

    pub(crate) fn tenant(&self, host: &[u8]) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.fqdn.as_bytes().eq_ignore_ascii_case(host))
    }

    /// The trunk that calls of this one go out by: a border controller that names itself by an address,
    /// which is borne where Teams is not strict, gets the first.
    pub(crate) fn trunk_of(&self, host: &str) -> String {
        let known = self.tenant(host.as_bytes()).or(self.tenants.first());
        known.map(|tenant| tenant.fqdn.clone()).unwrap_or_default()
    }

    pub(crate) fn endpoint(&self, local: SocketAddr) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.local == local)
    }

    pub(crate) fn hop_to(&self, tenant: &Tenant, local: SocketAddr) -> Hop {
        Hop {
            transport: Transport::Tls,
            local,
            remote: tenant.address,
            server_name: Some(Arc::from(tenant.fqdn.as_str())),
            flow: None,
        }
    }

    pub(crate) fn opening(
        &self,
        dial: &Dial,
        token: &str,
        guid: &str,
        style: Style,
    ) -> Option<Opening> {
        let tenant = self.tenant(dial.tenant.as_bytes())?;
        let endpoint = self.endpoints.get(dial.endpoint)?;
        let (fqdn, port) = (&tenant.fqdn, tenant.address.port());
        let host = dial.host.as_ref().unwrap_or(fqdn);
        let (from, to) = (&dial.from, &dial.to);
        let (shown, at) = (style.display_name(), style.port_in_from());
        Some(Opening {
            hop: self.hop_to(tenant, endpoint.local),
            uri: format!("sip:{to}@{host}:{port};user=phone;transport=tls"),
            // Fixtures F-03 and F-09.
            from: match dial.anonymous {
                true => "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(),
                false => format!("{shown}<sip:{from}@sip.pstnhub.microsoft.com{at};user=phone>"),
            },
            to: format!("<sip:{to}@{host}:{port};user=phone>"),
            contact: Self::contact(token, guid, style),
            further: self.asserted(dial, fqdn),
            routed: style.record_route() && !self.record_route,
        })
    }

    /// Who pays, with `ForwardPai`; Microsoft says `Privacy: id` with it (TDR-PRI-001).
    fn asserted(&self, dial: &Dial, fqdn: &str) -> Vec<(String, String)> {
        if !self.manner.forward_pai {
            return Vec::new();
        }
        let payer = dial.on_behalf_of.as_ref().unwrap_or(&dial.from);
        let identity = match &dial.on_behalf_of {
            Some(_) => format!("<tel:{payer}>"),
            None => format!("<tel:{payer}>,<sip:alice@{fqdn}>"),
        };
        vec![("P-Asserted-Identity".to_owned(), identity), ("Privacy".to_owned(), "id".to_owned())]
    }

    /// The Record-Route of a call that has one.
    pub(crate) fn route() -> String {
        format!("<sip:{PROXY}:5061;transport=tls;lr>")
    }

    /// TDR-IN-006.
    pub(crate) fn contact(token: &str, guid: &str, style: Style) -> String {
        let reversed: String = token.chars().rev().collect();
        let (region, middle) = style.contact();
        format!(
            "<sip:api-du-a-{region}.pstnhub.microsoft.com:443;x-i={guid};\
             x-c={token}/{middle}/{reversed}>"
        )
    }

    /// An OPTIONS of its own (fixture F-02).
    pub(crate) fn options(tenant: &Tenant, region: &str, token: &str, tag: &str) -> Request {
        let (fqdn, port) = (&tenant.fqdn, tenant.address.port());
        let uri = format!("sip:{fqdn}:{port};transport=tls");
        let mut request = Request::new(Method::Options, uri);
        let headers = &mut request.headers;
        headers.push(Name::From, format!("<sip:{region}:5061>;tag={tag}"));
        headers.push(Name::To, format!("<sip:{fqdn}>"));
        headers.push(Name::CSeq, "1 OPTIONS");
        headers.push(Name::CallId, token.to_owned());
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::Contact, format!("<sip:{region}:5061>"));
        request
    }

    pub(crate) fn stamp_request(&self, request: &mut Request) {
        let first = request.method == Method::Invite && request.headers.to().tag().is_none();
        let headers = &mut request.headers;
        headers.set(Name::UserAgent, PRODUCT);
        headers.set(Name::Allow, ALLOW);
        if request.method == Method::Invite {
            headers.set(Name::MinSe, "300");
            headers.set(Name::Supported, "histinfo,timer");
            headers.set(Name::SessionExpires, "3600;refresher=uac");
        }
        if first && self.record_route {
            headers.push(Name::RecordRoute, Self::route());
        }
    }

    pub(crate) fn stamp_response(&self, response: &mut Response) {
        response.headers.set(Name::Allow, ALLOW);
        response.headers.set(Name::Server, PRODUCT);
        forget_source(&mut response.headers);
    }

    pub(crate) fn explain(&self, response: &mut Response, guid: &str, said: Option<Said>) {
        let usual = Failure::of_status(response.status);
        let exact = said.and_then(|said| Failure::find(response.status, said.sub_code));
        let cause = exact.or(usual).map_or(63, |failure| failure.cause);
        let text = match (said, usual) {
            (Some(said), _) => reason(cause, guid, said.phrase, said.sub_code),
            (None, Some(usual)) => usual.reason(guid),
            (None, None) => reason(cause, guid, "Request was refused", 0),
        };
        response.headers.set(Name::Reason, text);
        match response.status {
            422 => response.headers.set(Name::MinSe, self.manner.min_se_s.to_string()),
            503 => response.headers.set(Name::RetryAfter, "1"),
            _ => {}
        }
    }

    pub(crate) fn farewell(guid: &str) -> String {
        format!("Q.850;cause=16;text=\"{guid};CallEndReasonLocalUserInitiated\"")
    }

    /// Fixture F-03; only G.711 of it can be played here.
    pub(crate) fn offers() -> Media {
        let payload = |number, encoding: &str, clock_hz, fmtp: Option<&str>| Payload {
            number,
            encoding: encoding.into(),
            clock_hz,
            channels: 1,
            fmtp: fmtp.map(str::to_owned),
        };
        let silk = Some("useinbandfec=1; usedtx=0");
        let payloads = vec![
            payload(104, "SILK", 16_000, silk),
            payload(9, "G722", 8000, None),
            payload(103, "SILK", 8000, silk),
            payload(111, "SIREN", 16_000, Some("bitrate=16000")),
            payload(18, "G729", 8000, Some("annexb=no")),
            payload(0, "PCMU", 8000, None),
            payload(8, "PCMA", 8000, None),
            payload(97, "RED", 8000, None),
            payload(101, "telephone-event", 8000, Some("0-16")),
            payload(13, "CN", 8000, None),
            payload(118, "CN", 16_000, None),
        ];
        Media { payloads, direction: Direction::SendRecv, ptime_ms: Some(20), fax: None }
    }

    pub(crate) fn dress(&self, body: &Bytes, role: Role, dress: &Dress) -> Bytes {
        let keys = (&dress.key, dress.short.as_deref());
        mp_sdp::dress(body, role, self.answer_keys, keys, dress.style)
    }

    /// What media is protected with, where it is not the key of our last line.
    pub(crate) fn media_key<'a>(&self, role: Role, dress: &'a Dress) -> Option<&'a SrtpKey> {
        let mki = role == Role::Answer && self.answer_keys == AnswerKeys::TwoLinesMki;
        mki.then_some(&dress.key)
    }
}

/// Microsoft returns `rport` without a value and says nothing of where a request came from
/// (TDR-OPT-008, fixture F-01).
fn forget_source(headers: &mut Headers) {
    let Some(top) = headers.list(Name::Via).next().map(<[u8]>::to_vec) else { return };
    let mut parts = top.split(|octet| *octet == b';');
    let mut kept = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let name = part.split(|octet| *octet == b'=').next().unwrap_or_default();
        if name.eq_ignore_ascii_case(b"received") {
            continue;
        }
        kept.push(b';');
        kept.extend_from_slice(if name.eq_ignore_ascii_case(b"rport") { b"rport" } else { part });
    }
    if kept != top {
        headers.pop(Name::Via);
        headers.push_front(Name::Via, kept);
    }
}

/// A message with its header names in upper case (TDR-IN-005).
pub(crate) fn upper_case(bytes: &Bytes) -> Bytes {
    let mut out = bytes.to_vec();
    let head = out.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(out.len());
    for line in out[..head].split_mut(|octet| *octet == b'\n').skip(1) {
        if let Some(colon) = line.iter().position(|octet| *octet == b':') {
            line[..colon].make_ascii_uppercase();
        }
    }
    out.into()
}

pub(crate) const ALLOW: &str = "INVITE,ACK,OPTIONS,CANCEL,BYE,NOTIFY";
const PRODUCT: &str = "Microsoft.PSTNHub.SIPProxy v.2026.1.9.3 i.EUWE.2";
