//! The parsed view of a message, for a reader and as JSON.

use crate::judgement::{Judged, Verdict};
use serde_json::{Value, json};
use sip_core::message::{Params, long_name};
use sip_core::{Headers, Message, Name, NameAddr, Uri, Via};
use std::fmt::Write as _;

/// Octets of a line at fault that are shown around the fault.
const CONTEXT_OCTETS: usize = 60;

/// The parsed view, indented below the verdict; the line at fault; the answer.
pub(super) fn as_text(judged: &Judged) -> String {
    let mut rows = Vec::new();
    if let Some(message) = &judged.message {
        rows = understood(message);
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in &rows {
        let _ = writeln!(text, "{}", format!("  {name:width$}  {value}").trim_end());
    }
    if let Verdict::Accept(Some(fault)) | Verdict::Reject(fault) | Verdict::Discard(fault) =
        &judged.verdict
    {
        text.push_str(&at_fault(&judged.bytes, fault.offset));
    }
    if let Some(answer) = &judged.answer {
        text.push_str("  answer:\n");
        let bytes = Message::Response((**answer).clone()).to_bytes();
        for line in bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii_end) {
            if !line.is_empty() {
                let _ = writeln!(text, "    {}", readable(line));
            }
        }
    }
    text
}

/// The line that holds `offset`, with a mark below it.
fn at_fault(bytes: &[u8], offset: usize) -> String {
    let (before, after) = bytes.split_at(offset.min(bytes.len()));
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let start = start.max(offset.saturating_sub(CONTEXT_OCTETS)).min(before.len());
    let before = readable(before.get(start..).unwrap_or_default());
    let end = after.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(after.len());
    let after = readable(after.get(..end.min(CONTEXT_OCTETS)).unwrap_or_default());
    if before.is_empty() && after.is_empty() {
        return String::new();
    }
    format!(
        "  at octet {offset}:\n    {before}{after}\n    {:>1$}\n",
        '^',
        before.chars().count() + 1
    )
}

/// What was understood: a name and its parts each.
fn understood(message: &Message) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    match message {
        Message::Request(request) => {
            row("request", readable(request.method.as_bytes()));
            match request.request_uri() {
                Ok(uri) => row("Request-URI", uri_parts(&uri)),
                Err(_) => row("Request-URI", readable(&request.uri)),
            }
        }
        Message::Response(response) => {
            row("response", format!("{} {}", response.status, readable(&response.reason)));
        }
    }
    let headers = message.headers();
    for via in headers.list(Name::Via).filter_map(|via| Via::parse(via).ok()) {
        row("Via", via_parts(&via));
    }
    for name in ADDRESSES {
        for value in headers.list(*name) {
            row(name.as_str(), address_parts(value));
        }
    }
    row("Call-ID", readable(headers.call_id()));
    let cseq = headers.cseq();
    row("CSeq", format!("{} {}", cseq.number, cseq.method));
    for (name, value) in others(headers) {
        row(&readable(long_name(name)), one_line(value));
    }
    if !message.body().is_empty() {
        row("body", body_parts(message));
    }
    rows
}

/// Headers that hold addresses, in the order they are shown.
const ADDRESSES: &[Name] = &[
    Name::From,
    Name::To,
    Name::Contact,
    Name::Route,
    Name::RecordRoute,
    Name::PAssertedIdentity,
    Name::ReferTo,
];

/// Header lines that were not taken apart.
fn others(headers: &Headers) -> impl Iterator<Item = (&[u8], &[u8])> {
    const TAKEN_APART: &[Name] = &[Name::Via, Name::CallId, Name::CSeq];
    let is = |names: &[Name], value: &[u8]| {
        names.iter().any(|name| headers.all(*name).any(|known| std::ptr::eq(known, value)))
    };
    headers.iter().filter(move |(_, value)| !is(TAKEN_APART, value) && !is(ADDRESSES, value))
}

fn uri_parts(uri: &Uri<'_>) -> String {
    let mut parts = vec![format!("scheme {}", readable(uri.scheme))];
    let mut part = |name: &str, value: &[u8]| {
        if !value.is_empty() {
            parts.push(format!("{name} {}", readable(value)));
        }
    };
    if !uri.is_sip() && !uri.is_tel() {
        part("rest", uri.scheme_part());
    }
    part("user", uri.user.unwrap_or_default());
    part("host", uri.host);
    part("port", uri.port.map(|port| port.to_string()).unwrap_or_default().as_bytes());
    part("parameters", uri.params());
    part("headers", uri.header_part());
    parts.join(", ")
}

fn via_parts(via: &Via<'_>) -> String {
    let host = readable(via.host);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let mut text = format!("{} {host}", readable(via.transport));
    if let Some(port) = via.port {
        let _ = write!(text, ":{port}");
    }
    push_params(&mut text, via.params());
    text
}

fn address_parts(value: &[u8]) -> String {
    let Ok(address) = NameAddr::parse(value) else { return one_line(value) };
    let mut text = String::new();
    if !address.display.is_empty() {
        let _ = write!(text, "{} ", one_line(address.display));
    }
    let _ = write!(text, "<{}>", readable(address.uri));
    push_params(&mut text, address.params());
    text
}

fn push_params(text: &mut String, params: &[u8]) {
    for (name, value) in Params::new(params) {
        let _ = match value {
            Some(value) => write!(text, ", {} {}", readable(name), one_line(value)),
            None => write!(text, ", {}", readable(name)),
        };
    }
}

fn body_parts(message: &Message) -> String {
    let kind = message.headers().get(Name::ContentType);
    let kind = kind.map_or_else(|| "no type".to_owned(), one_line);
    format!("{} octets of {kind}", message.body().len())
}

/// The same as an object; `null` for what does not parse.
pub(super) fn as_json(judged: &Judged) -> Value {
    let Some(message) = &judged.message else { return Value::Null };
    let headers: Vec<Value> = message
        .headers()
        .iter()
        .map(|(name, value)| {
            json!({
                "name": readable(long_name(name)),
                "value": one_line(value),
                "offset": message.headers().offset(name),
            })
        })
        .collect();
    let mut object = match message {
        Message::Request(request) => json!({
            "method": readable(request.method.as_bytes()),
            "uri": readable(&request.uri),
        }),
        Message::Response(response) => json!({
            "status": response.status,
            "reason": readable(&response.reason),
        }),
    };
    object["headers"] = headers.into();
    object["body_octets"] = message.body().len().into();
    object
}

/// A folded value on one line.
fn one_line(value: &[u8]) -> String {
    let words = value.split(|b| matches!(b, b'\r' | b'\n')).map(<[u8]>::trim_ascii);
    let words: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
    readable(&words.join(&b' '))
}

/// Text as it is; what is no text, or would act on a terminal, escaped.
pub(super) fn readable(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => octets.escape_ascii().to_string(),
    }
}
