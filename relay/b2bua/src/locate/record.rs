//! What is asked of DNS, and what it answers, in the words of this crate.

use std::net::IpAddr;
use std::time::Duration;

/// One look-up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// The name, in lower case, without its last dot.
    pub name: String,
    /// The type.
    pub kind: Kind,
}

/// A type of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Which services there are.
    Naptr,
    /// Which hosts offer a service.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// One record that answers a [`Question`]; aliases (CNAME) have been followed by the resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A service and the name of its SRV records (RFC 3263, 4.1).
    Naptr {
        /// Lower is taken before higher.
        order: u16,
        /// Among equal orders, lower is taken before higher.
        preference: u16,
        /// `s` where the replacement has SRV records; other flags are not for SIP.
        flags: String,
        /// Such as `SIP+D2U`.
        service: String,
        /// The name to ask SRV for, as in [`Question::name`].
        replacement: String,
    },
    /// A host that offers the service (RFC 2782).
    Srv {
        /// Lower is tried before higher.
        priority: u16,
        /// The share of what goes to its priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host, as in [`Question::name`]; empty where the service is not offered.
        host: String,
    },
    /// An address.
    Address(IpAddr),
}

/// What came of a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These records, for so long.
    Records {
        /// As DNS had them.
        records: Vec<Record>,
        /// The least of their lifetimes.
        ttl: Duration,
    },
    /// There is no such record.
    Nothing {
        /// How long that holds, where the answer says so.
        ttl: Option<Duration>,
    },
    /// DNS could not say.
    Failed {
        /// Why, in words for a log.
        why: String,
    },
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Naptr => "NAPTR",
            Kind::Srv => "SRV",
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
        };
        write!(f, "{kind} {}", self.name)
    }
}
