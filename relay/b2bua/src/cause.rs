//! Status codes and Q.850 causes from one leg to the other (teams.md section 16).

use sip_core::{Headers, Name};

/// What the caller is told when the callee's side answered `status`, after all targets were tried.
///
/// A subscriber's result stays what it is (TDR-ERR-004). What concerns only our relation with the
/// next hop does not cross: a challenge or redirection would mean nothing to the caller
/// (TDR-XFR-040), and becomes 503 so that another SBC may try (TDR-FO-011).
pub(crate) const fn across(status: u16) -> u16 {
    match status {
        300..=399 | 401 | 407 | 422 | 503 => 503,
        408 | 504 => 504,
        400..=699 => status,
        _ => 500,
    }
}

/// How long the far side wants no more requests (RFC 3261, 20.33); a comment or parameter after the
/// number says nothing to us.
pub(crate) fn retry_after(headers: &Headers) -> Option<std::time::Duration> {
    let value = std::str::from_utf8(headers.get(Name::RetryAfter)?).ok()?.trim_start();
    let end = value.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
    value.get(..end)?.parse().ok().map(std::time::Duration::from_secs)
}

/// The word for a final status in records and metrics.
pub(crate) const fn word(status: u16) -> &'static str {
    match status {
        404 | 410 | 484 | 604 => "unallocated",
        408 | 504 => "timeout",
        480 => "unavailable",
        486 | 600 => "busy",
        487 => "cancelled",
        488 | 606 | 415 => "media_refused",
        403 => "forbidden",
        603 => "declined",
        500..=599 => "trunk_down",
        _ => "failed",
    }
}

/// The Q.850 cause of a status (RFC 4497, 8.4.1; TDR-ERR-002: derived, since Microsoft's own
/// mapping sends 34 with 486).
pub(crate) const fn q850(status: u16) -> u8 {
    match status {
        404 | 604 => 1,
        486 | 600 => 17,
        408 => 102,
        480 => 18,
        410 => 22,
        484 => 28,
        403 | 603 => 21,
        488 | 606 | 415 => 88,
        502 => 38,
        503 => 34,
        504 => 102,
        487 => 16,
        _ => 31,
    }
}

/// A Reason header for a failure response.
pub(crate) fn reason_of(status: u16) -> String {
    format!("Q.850;cause={}", q850(status))
}

/// What of a Reason in a request crosses to the other leg, one per protocol (RFC 3326, 2):
/// `SIP;...` whole, since `cause=200` there keeps a Teams client from showing a missed call
/// (TDR-DLG-042); of Q.850 the cause alone, since the text holds Microsoft's ids (TDR-DLG-043); of
/// other registered protocols the cause alone. What is registered nowhere concerns its own network.
pub(crate) fn crossing(headers: &Headers) -> Option<String> {
    crossing_but(headers, &[])
}

/// What of a Reason in a response crosses (RFC 6432): as in a request, but for the Q.850 cause from
/// Teams, which says 34 of a busy user (TDR-ERR-002).
pub(crate) fn returning(headers: &Headers, from_teams: bool) -> Option<String> {
    crossing_but(headers, if from_teams { &["Q.850"] } else { &[] })
}

/// The protocols IANA has for Reason, as they are written.
const PROTOCOLS: [&str; 5] = ["SIP", "Q.850", "Preemption", "STIR", "Emergency"];
/// Octets of one reason; a text is a phrase.
const REASON_MAX: usize = 256;
/// Reasons that are looked at.
const REASONS_MAX: usize = 16;

fn crossing_but(headers: &Headers, left_out: &[&str]) -> Option<String> {
    let mut kept: Vec<(&str, String)> = Vec::new();
    for reason in reasons(headers).filter(|reason| reason.len() <= REASON_MAX) {
        let written = reason.split(';').next().unwrap_or_default().trim();
        let known = PROTOCOLS.iter().find(|name| name.eq_ignore_ascii_case(written));
        let Some(protocol) = known.filter(|name| !left_out.contains(name)) else { continue };
        if kept.iter().any(|(name, _)| name == protocol) {
            continue;
        }
        if *protocol == "SIP" {
            kept.push((protocol, reason.to_owned()));
        } else if let Some(cause) = parameter(reason, "cause").and_then(|c| c.parse::<u16>().ok())
            && (*protocol != "Q.850" || cause <= Q850_MAX)
        {
            kept.push((protocol, format!("{protocol};cause={cause}")));
        }
    }
    let texts: Vec<String> = kept.into_iter().map(|(_, text)| text).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// A Q.850 cause has seven bits.
const Q850_MAX: u16 = 127;

/// What Reason says, an element for each protocol.
pub(crate) fn reasons(headers: &Headers) -> impl Iterator<Item = &str> {
    let all = headers.list(Name::Reason).take(REASONS_MAX);
    all.filter_map(|element| std::str::from_utf8(element).ok())
}

/// The first text of Reason: Microsoft's correlation id and phrase (TDR-ERR-001).
pub(crate) fn text(headers: &Headers) -> Option<&str> {
    reasons(headers).find_map(text_of)
}

/// The text between quotes; a quote in it is escaped.
pub(crate) fn text_of(reason: &str) -> Option<&str> {
    let lower = reason.to_ascii_lowercase();
    let start = lower.find("text=\"")? + "text=\"".len();
    let rest = reason.get(start..)?;
    rest.get(..rest.find('"')?)
}

fn parameter<'a>(reason: &'a str, name: &str) -> Option<&'a str> {
    reason.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
