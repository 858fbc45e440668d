//! `tenants.d/NAME.toml`: whose calls cross this host, and how.

use super::{
    Block, CallerId, CallerPrivacy, Ceiling, HeaderRule, Help, Hook, Limits, NumberRange, Rewrite,
    Ringback, Route,
};
use crate::numbering::Country;
use sdp::Codecs;
use std::sync::Arc;
use std::time::Duration;

/// One tenant: a file in `tenants.d/`.
#[derive(Clone, Debug, Default)]
pub struct Tenant {
    /// The file's stem.
    pub name: String,
    /// Whose trunk its FQDNs are at Microsoft.
    pub model: Model,
    /// Its SBC FQDNs in lower case; the first is the one in Contact towards Teams for calls from carriers.
    pub fqdns: Vec<String>,
    /// SBCs of its own behind this one, whose FQDNs stand behind its own.
    pub sbcs: Vec<Sbc>,
    /// What Microsoft calls the tenant: a GUID, in lower case.
    pub tenant_id: Option<String>,
    /// Its numbers.
    pub numbers: Vec<NumberRange>,
    /// Bounds on calls, whoever makes them.
    pub limits: Limits,
    /// Bounds on calls from Teams.
    pub limits_from_teams: Limits,
    /// Bounds on calls from carriers.
    pub limits_from_carrier: Limits,
    /// A call beyond these bounds finds it busy, rather than unavailable.
    pub busy_when_full: bool,
    /// What it may use of destinations that cost.
    pub fraud: Vec<Ceiling>,
    /// It makes and takes no calls but to emergency numbers.
    pub suspended: bool,
    /// Routes by priority, then in file order: the first that matches decides.
    pub routes: Vec<Route>,
    /// Where it is.
    pub country: Option<&'static Country>,
    /// Whom it is not connected with.
    pub block: Block,
    /// Changes of numbers, in E.164; the first that is for a number decides.
    pub rewrite: Vec<Rewrite>,
    /// Changes of header lines in INVITEs of its calls, before those of the trunk.
    pub header_rules: Vec<HeaderRule>,
    /// Who is shown as caller of its calls from Teams, where the route does not say.
    pub caller: CallerId,
    /// Whether its callers are shown to carriers at all.
    pub privacy: CallerPrivacy,
    /// The codecs of its calls.
    pub codecs: Codecs,
    /// Whether its calls may be transcoded, where no trunk says.
    pub transcode: bool,
    /// What its callers are told and hear before the callee answers.
    pub ringback: Ringback,
    /// After so long without a word of a carrier's, Teams is told 183; `None`: never.
    pub progress_after: Option<Duration>,
    /// Whose clock counts where its routes say when, and they do not say whose.
    pub timezone: Option<jiff::tz::TimeZone>,
    /// How a carrier's hold reaches Teams.
    pub hold: HoldPolicy,
    /// Who does a transfer that a Teams user asks for.
    pub transfer: TransferPolicy,
    /// Emergency numbers of this tenant, digits as dialled.
    pub emergency: Vec<String>,
    /// What it says of calls to them.
    pub help: Help,
    /// Who is asked where a call goes before the routes are.
    pub hook: Option<Arc<Hook>>,
}

/// Whose trunk the FQDNs of a tenant are at Microsoft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// The carrier's: they are names below the base FQDN, whose health they share (TDR-OPT-010).
    #[default]
    Carrier,
    /// The tenant's own: each has been set up as a trunk in its Teams tenant, and is asked under by
    /// OPTIONS of its own (TDR-MT-011).
    Classic,
}

/// An SBC behind this one, which Teams knows by a name of its own and reaches through us (Local Media
/// Optimization; TDR-IN-004).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sbc {
    /// Its FQDN in lower case.
    pub fqdn: String,
    /// The trunk that leads to it.
    pub trunk: usize,
}

impl Tenant {
    /// Its FQDNs that are names of this host.
    pub fn own_fqdns(&self) -> impl Iterator<Item = &String> {
        self.fqdns.iter().filter(|fqdn| self.sbcs.iter().all(|sbc| sbc.fqdn != **fqdn))
    }
}

/// How a hold from the carrier reaches Teams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HoldPolicy {
    /// As `a=inactive` (TDR-HLD-001).
    #[default]
    Inactive,
    /// Not at all: Teams stays on sendrecv.
    Absorb,
}

/// Who does a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransferPolicy {
    /// The far side by itself: we name no REFER in Allow and refuse it (TDR-XFR-001).
    #[default]
    None,
    /// We, by a new INVITE for each REFER.
    Refer,
}
