//! What there is to be found on the way between Teams and us, as it was found; nothing is judged here.

use super::Known;
use crate::admin::{DrainRow, FqdnRow};
use b2bua::codes::Microsoft;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) now: SystemTime,
    /// What the running daemon knows, or why it could not be asked.
    pub(crate) daemon: Result<Daemon, String>,
    /// How far off the clock may be, as who keeps it says: nobody keeps it, or why it cannot be told.
    pub(crate) clock: Result<Option<Duration>, String>,
    pub(crate) trunks: Vec<Trunk>,
    pub(crate) names: Vec<Name>,
    pub(crate) tenants: Vec<Tenant>,
}

/// What the daemon knows.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(crate) fqdns: Vec<FqdnRow>,
    pub(crate) drains: Vec<DrainRow>,
}

/// A trunk to Teams.
#[derive(Clone, Debug)]
pub(crate) struct Trunk {
    pub(crate) name: String,
    /// Where peers reach us for signalling.
    pub(crate) advertise: IpAddr,
    /// And for media.
    pub(crate) media: IpAddr,
    /// Whether OPTIONS is sent at all.
    pub(crate) asks: bool,
    /// Where we are let in from, for a hint.
    pub(crate) sources: String,
    pub(crate) targets: Vec<Target>,
}

/// One of Microsoft's names, tried.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) reached: Result<Reached, Trouble>,
}

/// A connection to it.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) address: String,
    pub(crate) version: String,
    pub(crate) suite: String,
    /// What OPTIONS brought, by the FQDN we asked under.
    pub(crate) answers: Vec<(String, Result<Answer, String>)>,
}

/// A final response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// Microsoft's words, where it gives some.
    pub(crate) said: Option<Microsoft>,
    pub(crate) took: Duration,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The name has no address.
    Unresolved(String),
    /// No TCP connection.
    Unreachable(String),
    /// No TLS.
    Tls(String),
}

/// A name of ours.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) fqdn: String,
    pub(crate) trunk: String,
    pub(crate) known: Known,
    /// Where it ought to lead.
    pub(crate) advertise: IpAddr,
    /// Where it leads, or why that is not known.
    pub(crate) addresses: Result<Vec<IpAddr>, String>,
    /// `[resolve]` says so: DNS was not asked.
    pub(crate) fixed: bool,
    pub(crate) port: u16,
    pub(crate) door: Door,
    pub(crate) certificate: Option<Certificate>,
}

/// What came of connecting to ourselves as Teams would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// There was no address to try.
    Untried,
    /// The daemon could not be told of it, and would have counted it as a stranger's: why.
    Unannounced(String),
    Refused,
    /// Nothing came back.
    Silent(String),
    /// Somebody listens and hangs up before TLS, as we do to whoever is outside `sources`.
    ClosedToStrangers,
    /// TLS began, as far as one comes without a certificate of Microsoft's.
    Shown {
        /// The oldest version that was agreed.
        version: String,
        suite: String,
        /// Whether the certificate that was shown is for the name.
        covers: bool,
    },
    /// TLS did not begin.
    Failed(String),
}

/// The certificate that is shown to who asks for a name, as its files have it.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) name: String,
    pub(crate) names: Vec<String>,
    pub(crate) covers: bool,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) for_servers: bool,
    /// Bits of its RSA key; `None`: it has another.
    pub(crate) rsa: Option<usize>,
    pub(crate) chain: usize,
    /// It is a stand-in for one that is not there, or that we could not read: why.
    pub(crate) missing: Option<String>,
    /// Whether the chain leads to a root of the operating system's, as Microsoft's judgement is likely to
    /// be, which nobody can tell where the system has none; and to those of the trunk, which a lab may have
    /// for both sides.
    pub(crate) public: Option<Result<(), String>>,
    pub(crate) private: bool,
}

/// What a tenant's file says.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) fqdns: Vec<String>,
    pub(crate) number: Option<String>,
    pub(crate) suspended: bool,
    pub(crate) routes_out: bool,
    pub(crate) routes_in: bool,
}
