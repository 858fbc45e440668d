//! What Microsoft dictates to the configuration of a Teams trunk: names, addresses, ports, bounds.

use super::reader::Wrong;
use super::value;
use b2bua::plan::{Cidr, TargetName, Trunk};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

/// Port of every Teams target (TDR-DNS-001).
pub(crate) const PORT: u16 = 5061;

/// Microsoft takes a trunk for bad outside this (TDR-OPT-002).
pub(crate) const OPTIONS_INTERVAL: RangeInclusive<Duration> =
    Duration::from_secs(30)..=Duration::from_secs(180);

/// Longest FQDN of an SBC (TDR-DNS-008).
const SBC_FQDN_LENGTH_MAX: usize = 63;

/// Which of Microsoft's clouds a trunk leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cloud {
    /// Commercial and GCC.
    #[default]
    Commercial,
    /// GCC High.
    GccHigh,
    /// US Department of Defense.
    Dod,
}

/// The clouds as they are written.
pub(crate) const CLOUDS: &[(&str, Cloud)] =
    &[("commercial", Cloud::Commercial), ("gcc-high", Cloud::GccHigh), ("dod", Cloud::Dod)];

impl Cloud {
    /// That of a trunk in force, by the names it is reached at; a lab's is commercial.
    pub(crate) fn of(trunk: &Trunk) -> Self {
        let leads = |cloud: &Self| {
            let mut domains = cloud.names().iter().filter_map(|name| name.strip_prefix("sip"));
            domains.any(|domain| trunk.targets.iter().any(|it| it.host.ends_with(domain)))
        };
        [Self::GccHigh, Self::Dod].into_iter().find(leads).unwrap_or_default()
    }

    /// The names calls go to, in order of preference (TDR-DNS-001; teams.md 2.1).
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Commercial => &[
                "sip.pstnhub.microsoft.com",
                "sip2.pstnhub.microsoft.com",
                "sip3.pstnhub.microsoft.com",
            ],
            Self::GccHigh => &["sip.pstnhub.gov.teams.microsoft.us"],
            Self::Dod => &["sip.pstnhub.dod.teams.microsoft.us"],
        }
    }

    /// The targets if none are written.
    pub(crate) fn targets(self) -> Vec<TargetName> {
        let target = |name: &&str| TargetName { host: (*name).to_owned(), port: Some(PORT) };
        self.names().iter().map(target).collect()
    }

    /// The name Microsoft's certificate carries (TDR-TLS-008).
    pub(crate) fn peer_names(self) -> Vec<String> {
        self.names().first().map(|name| (*name).to_owned()).into_iter().collect()
    }

    /// The addresses Microsoft signals from (TDR-DNS-005): both published versions of the range,
    /// since too narrow a list loses calls.
    pub(crate) fn sources(self) -> Vec<Cidr> {
        let block =
            |a, b, c, length| Cidr { network: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), length };
        match self {
            Self::Commercial => vec![block(52, 112, 0, 14), block(52, 120, 0, 14)],
            Self::GccHigh => vec![block(52, 127, 88, 21)],
            Self::Dod => vec![block(52, 127, 64, 21)],
        }
    }

    /// Whether the listener must be on 5061 exactly (TDR-DNS-006).
    pub(crate) const fn fixes_port(self) -> bool {
        match self {
            Self::Commercial => false,
            Self::GccHigh | Self::Dod => true,
        }
    }
}

/// An FQDN that Microsoft lets an SBC have (TDR-DNS-008).
pub(crate) fn sbc_fqdn(value: &DeValue<'_>) -> Result<String, Wrong> {
    let name = value::fqdn(value)?;
    if name.len() > SBC_FQDN_LENGTH_MAX {
        let said = format!("has {} characters; Teams takes {SBC_FQDN_LENGTH_MAX}", name.len());
        return Err(Wrong::new(said));
    }
    if name.ends_with(".onmicrosoft.com") {
        return Err(Wrong::new("is under onmicrosoft.com, where no SBC can be")
            .hint("use a domain that is registered in the tenant"));
    }
    Ok(name)
}

/// `Err` for the names that Microsoft has retired (TDR-DNS-002).
pub(crate) fn not_retired(name: &str) -> Result<(), Wrong> {
    let retired = name.strip_prefix("sip-all.pstnhub.").filter(|rest| {
        matches!(*rest, "microsoft.com" | "gov.teams.microsoft.us" | "dod.teams.microsoft.us")
    });
    match retired {
        Some(rest) => Err(Wrong::new("was retired by Microsoft in 2022")
            .hint(format!("did you mean \"sip.pstnhub.{rest}\"?"))),
        None => Ok(()),
    }
}
