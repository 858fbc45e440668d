//! The record of a call as operators read it: one line of JSON, written as it is, without a tree in between.

use crate::measured::{self, Measured};
use b2bua::codes::Microsoft;
use b2bua::record::{Attempt, Fax, Record, TeamsLeg, Transfer};
use serde::{Serialize, Serializer};
use std::net::IpAddr;
use std::time::Duration;

/// A record, by the names that its fields have in files.
#[derive(Serialize)]
pub(crate) struct Line<'r> {
    call: u64,
    direction: &'static str,
    tenant: Option<&'r str>,
    fqdn: Option<&'r str>,
    #[serde(serialize_with = "displayed")]
    started: humantime::Rfc3339Timestamp,
    ringing_ms: Option<u64>,
    setup_ms: Option<u64>,
    talk_ms: u64,
    from: &'r str,
    to: &'r str,
    call_id_in: &'r str,
    call_id_out: Option<&'r str>,
    trunk_in: &'r str,
    #[serde(serialize_with = "attempts")]
    attempts: &'r [Attempt],
    classes: &'r [String],
    route: &'r str,
    decision: &'r [String],
    status: u16,
    cause: &'r str,
    reason: Option<&'r str>,
    microsoft: Option<MicrosoftSaid<'r>>,
    teams: TeamsSaid<'r>,
    transcoded: Option<[&'static str; 2]>,
    fax: Option<&'static str>,
    #[serde(serialize_with = "transfers")]
    transfers: &'r [Transfer],
    dtls: Sides,
    srtp_passthrough: Option<&'r str>,
    media: Option<Measured<'r>>,
}

#[derive(Serialize)]
struct Sides {
    a: Option<&'static str>,
    b: Option<&'static str>,
}

#[derive(Serialize)]
struct MicrosoftSaid<'r> {
    status: Option<u16>,
    q850: Option<u16>,
    code: Option<u32>,
    guid: Option<&'r str>,
    phrase: Option<&'r str>,
}

#[derive(Serialize)]
struct TeamsSaid<'r> {
    address: Option<IpAddr>,
    agent: Option<&'r str>,
    forks: usize,
    media: Option<&'static str>,
    codec: Option<&'r str>,
}

#[derive(Serialize)]
struct AttemptSaid<'r> {
    trunk: &'r str,
    target: &'r str,
    outcome: &'r str,
}

#[derive(Serialize)]
struct TransferSaid<'r> {
    by: &'static str,
    leg: &'static str,
    to: &'r str,
    id: Option<&'r str>,
    after_ms: u64,
    outcome: &'r str,
}

/// What is written of a record.
pub(crate) fn of(record: &Record) -> Line<'_> {
    let ms = |time: Duration| time.as_millis() as u64;
    Line {
        call: record.call,
        direction: crate::direction::word(record.direction),
        tenant: record.tenant.as_deref(),
        fqdn: record.fqdn.as_deref(),
        started: humantime::format_rfc3339_millis(record.started),
        ringing_ms: record.ringing.map(ms),
        setup_ms: record.setup.map(ms),
        talk_ms: ms(record.talk),
        from: &record.from,
        to: &record.to,
        call_id_in: &record.call_id_in,
        call_id_out: record.call_id_out.as_deref(),
        trunk_in: &record.trunk_in,
        attempts: &record.attempts,
        classes: &record.classes,
        route: &record.route,
        decision: &record.decision,
        status: record.status,
        cause: &record.cause,
        reason: record.reason.as_deref(),
        microsoft: record.microsoft.as_ref().map(microsoft),
        teams: teams(&record.teams),
        transcoded: record.transcoded.map(|it| [it.from.as_str(), it.to.as_str()]),
        fax: record.fax.map(Fax::as_str),
        transfers: &record.transfers,
        dtls: Sides { a: record.dtls.0, b: record.dtls.1 },
        srtp_passthrough: record.passthrough.as_deref(),
        media: record
            .media
            .as_deref()
            .map(|media| measured::call(media, record.carried.as_deref())),
    }
}

fn microsoft(said: &Microsoft) -> MicrosoftSaid<'_> {
    MicrosoftSaid {
        status: said.status,
        q850: said.cause,
        code: said.sub_code,
        guid: said.guid.as_deref(),
        phrase: said.phrase.as_deref(),
    }
}

fn teams(leg: &TeamsLeg) -> TeamsSaid<'_> {
    TeamsSaid {
        address: leg.address,
        agent: leg.agent.as_deref(),
        forks: leg.forks,
        media: leg.media,
        codec: leg.codec.as_deref(),
    }
}

fn attempts<S: Serializer>(attempts: &[Attempt], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(attempts.iter().map(|it| AttemptSaid {
        trunk: &it.trunk,
        target: &it.target,
        outcome: &it.outcome,
    }))
}

fn transfers<S: Serializer>(transfers: &[Transfer], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(transfers.iter().map(|it| TransferSaid {
        by: it.by,
        leg: it.leg,
        to: &it.to,
        id: it.id.as_deref(),
        after_ms: it.after.as_millis() as u64,
        outcome: &it.outcome,
    }))
}

fn displayed<S: Serializer>(value: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_file::tests::record;
    use serde_json::Value;

    /// Billing and statistics are written against these pages.
    const RECORDS: &str = include_str!("../../docs/operations/records.md");
    const MEDIA: &str = include_str!("../../docs/operations/media.md");

    #[test]
    fn a_field_of_a_record_stands_on_no_page() {
        let attempt =
            Attempt { trunk: String::new(), target: String::new(), outcome: String::new() };
        let transfer = Transfer {
            by: "refer",
            leg: "a",
            to: String::new(),
            id: None,
            after: Duration::ZERO,
            outcome: String::new(),
        };
        let full = Record {
            attempts: vec![attempt],
            transfers: vec![transfer],
            microsoft: Some(Microsoft::default()),
            media: Some(Box::default()),
            ..record(1)
        };
        let line = serde_json::to_value(of(&full)).unwrap();
        let unsaid: Vec<_> = names(&line).filter(|name| !is_told(name)).collect();
        assert_eq!(unsaid, Vec::<&str>::new());
    }

    fn is_told(name: &str) -> bool {
        let quoted = format!("`{name}`");
        RECORDS.contains(&quoted) || MEDIA.contains(&quoted)
    }

    /// The names of fields, and of those within them.
    fn names(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
        match value {
            Value::Object(fields) => Box::new(
                fields
                    .iter()
                    .flat_map(|(name, value)| std::iter::once(&**name).chain(names(value))),
            ),
            Value::Array(items) => Box::new(items.iter().flat_map(names)),
            _ => Box::new(std::iter::empty()),
        }
    }
}
