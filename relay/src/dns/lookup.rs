//! One look-up by the host's resolver, in the words of the core.

use b2bua::locate::{Answer, Kind, Question, Record};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use std::net::IpAddr;
use std::time::Duration;

/// The host's resolver: /etc/resolv.conf and /etc/hosts.
pub(super) fn of_host() -> Result<TokioResolver, NetError> {
    without_cache(TokioResolver::builder(TokioRuntimeProvider::default())?)
}

/// The directory keeps what is known, and asks when that is to be renewed: a second memory would
/// only make it older.
pub(super) fn without_cache(
    mut builder: ResolverBuilder<TokioRuntimeProvider>,
) -> Result<TokioResolver, NetError> {
    builder.options_mut().cache_size = 0;
    builder.build()
}

/// Said where no server of /etc/resolv.conf can be spoken to.
const NOBODY: &str = "no name server answers (/etc/resolv.conf says which are asked)";

/// Asks; never fails but in words. Aliases (CNAME) are followed by the resolver.
pub(super) async fn ask(resolver: TokioResolver, question: Question) -> Answer {
    let kind = match question.kind {
        Kind::Naptr => RecordType::NAPTR,
        Kind::Srv => RecordType::SRV,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
    };
    // With its last dot, so that no search list is tried.
    match resolver.lookup(format!("{}.", question.name), kind).await {
        Ok(lookup) => {
            let answers = lookup.answers();
            let seconds = answers.iter().map(|answer| answer.ttl).min().unwrap_or(0);
            let ttl = Duration::from_secs(u64::from(seconds));
            let records: Vec<Record> = answers.iter().filter_map(|it| record(&it.data)).collect();
            match records.is_empty() {
                true => Answer::Nothing { ttl: Some(ttl) },
                false => Answer::Records { records, ttl },
            }
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(nothing))) => Answer::Nothing {
            ttl: nothing.negative_ttl.map(|ttl| Duration::from_secs(u64::from(ttl))),
        },
        Err(NetError::NoConnections) => Answer::Failed { why: NOBODY.to_owned() },
        Err(error) => Answer::Failed { why: error.to_string() },
    }
}

fn record(data: &RData) -> Option<Record> {
    match data {
        RData::A(address) => Some(Record::Address(IpAddr::V4(address.0))),
        RData::AAAA(address) => Some(Record::Address(IpAddr::V6(address.0))),
        RData::SRV(srv) => Some(Record::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            host: text(&srv.target),
        }),
        RData::NAPTR(naptr) => Some(Record::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
            service: String::from_utf8_lossy(&naptr.services).into_owned(),
            replacement: text(&naptr.replacement),
        }),
        _ => None,
    }
}

/// A name as the core writes it: lower case, without the last dot.
fn text(name: &Name) -> String {
    let ascii = name.to_lowercase().to_ascii();
    ascii.strip_suffix('.').unwrap_or(&ascii).to_owned()
}
