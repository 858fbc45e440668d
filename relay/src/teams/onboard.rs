//! What has to be set up at Microsoft and in DNS before a tenant's first call, filled in from the
//! configuration (TDR-MT-012).

use super::powershell::Command;
use super::{Known, places};
use crate::config::Cloud;
use b2bua::Plan;
use b2bua::plan::{Geolocation, RouteFrom, Tenant, TrunkKind};
use sdp::IcePolicy;
use serde::Serialize;
use std::fmt::Write as _;
use std::net::IpAddr;

/// The guide for one tenant.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Guide {
    pub(crate) tenant: String,
    pub(crate) records: Vec<DnsRecord>,
    pub(crate) steps: Vec<Step>,
}

/// A record that somebody has to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DnsRecord {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) value: String,
    pub(crate) why: &'static str,
}

/// One thing to do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    /// Who does it, and where.
    pub(crate) whose: &'static str,
    pub(crate) title: String,
    pub(crate) powershell: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// Who has a part in it.
const CARRIER: &str = "carrier's Teams tenant, once";
const CUSTOMER: &str = "customer's Teams tenant";
const HERE: &str = "here";

/// What the usage, the voice route and the policies are called at Microsoft.
const NAME: &str = "Tollgate";
/// Stands where a user has to be filled in.
const SOMEBODY: &str = "USER@DOMAIN";
/// Microsoft makes it up for each tenant and domain.
const TXT: &str = "\"MS=ms........\"";

/// Writes the guide for `tenant`; `user` is who gets the first number.
pub(crate) fn guide(plan: &Plan, tenant: &Tenant, user: Option<&str>) -> Guide {
    let names = names(plan, tenant);
    let mut records = Vec::new();
    let mut steps = Vec::new();
    for name in &names {
        name.publish(&mut records);
    }
    let mut bases: Vec<usize> = Vec::new();
    for name in names.iter().filter(|name| name.known == Known::Derived) {
        if !bases.contains(&name.trunk) {
            bases.push(name.trunk);
        }
    }
    for trunk in bases {
        steps.push(carrier_trunk(plan, tenant, trunk));
    }
    steps.push(connect(&names));
    steps.extend(names.iter().filter(|name| name.known != Known::Base).map(Name::domain));
    for name in names.iter().filter(|name| name.known != Known::Derived) {
        steps.push(own_trunk(plan, tenant, name));
    }
    steps.push(routes(&names));
    steps.extend(emergency(tenant, user));
    steps.push(number(tenant, user));
    steps.push(Step {
        whose: HERE,
        title: "look whether it is all there, then call".into(),
        powershell: Vec::new(),
        notes: vec![
            format!("tollgate teams doctor {}", tenant.name),
            "dial the number from outside, then dial out from Teams; the doctor knows what came of it"
                .into(),
        ],
    });
    Guide { tenant: tenant.name.clone(), records, steps }
}

/// One name that Teams reaches us by.
struct Name<'a> {
    fqdn: &'a str,
    known: Known,
    trunk: usize,
    cloud: Cloud,
    address: Option<IpAddr>,
    /// The base that it is below, where it is.
    base: &'a str,
}

fn names<'a>(plan: &'a Plan, tenant: &'a Tenant) -> Vec<Name<'a>> {
    let name = |(fqdn, trunk): (&'a str, usize)| {
        let of = plan.trunks.get(trunk)?;
        Some(Name {
            fqdn,
            known: Known::of(plan, trunk, tenant, fqdn),
            trunk,
            cloud: Cloud::of(of),
            address: plan.listeners.get(of.listener).map(|listener| listener.advertise.ip()),
            base: plan.base_of(trunk),
        })
    };
    places(plan, tenant).into_iter().filter_map(name).collect()
}

impl Name<'_> {
    /// One address for each name (TDR-DNS-007), and for one that a customer has to prove as a domain
    /// what Microsoft wants to find there.
    fn publish(&self, records: &mut Vec<DnsRecord>) {
        let mut add = |record: DnsRecord| {
            if !records.contains(&record) {
                records.push(record);
            }
        };
        let mut here = |name: &str, address: Option<IpAddr>, why| {
            if let Some(address) = address {
                let kind = if address.is_ipv4() { "A" } else { "AAAA" };
                let (name, value) = (format!("{name}."), address.to_string());
                add(DnsRecord { name, kind, value, why });
            }
        };
        if self.known == Known::Derived {
            here(self.base, self.address, "this host, as the carrier's trunk");
        }
        here(self.fqdn, self.address, "this host; one record, and no other address");
        add(DnsRecord {
            name: format!("{}.", self.fqdn),
            kind: "TXT",
            value: TXT.into(),
            why: "shown where the domain is added in the customer's tenant",
        });
    }

    /// The name becomes a domain of the customer's, and a live one (TDR-DNS-008, TDR-MT-013).
    fn domain(&self) -> Step {
        let graph = Command::new("Connect-MgGraph").text("Scopes", "Domain.ReadWrite.All");
        let graph = match self.cloud {
            Cloud::Commercial => graph,
            Cloud::GccHigh => graph.word("Environment", "USGov"),
            Cloud::Dod => graph.word("Environment", "USGovDoD"),
        };
        let of_domain = |cmdlet| Command::new(cmdlet).text("DomainId", self.fqdn);
        Step {
            whose: CUSTOMER,
            title: format!("make {} a domain of the tenant, and use it once", self.fqdn),
            powershell: vec![
                graph.line(),
                Command::new("New-MgDomain").text("Id", self.fqdn).line(),
                of_domain("Get-MgDomainVerificationDnsRecord").then("| Format-List").line(),
                of_domain("Confirm-MgDomain").line(),
            ],
            notes: vec![
                "the third command shows the TXT record; publish it before the fourth".into(),
                format!(
                    "give one user a name @{} and a licence with Teams: without it calls get 403 or 404, \
                     and it takes up to 24 hours to be known",
                    self.fqdn
                ),
                "the name must not be in use with Azure Communication Services".into(),
            ],
        }
    }
}

fn connect(names: &[Name<'_>]) -> Step {
    let teams = Command::new("Connect-MicrosoftTeams");
    let cloud = names.first().map_or(Cloud::Commercial, |name| name.cloud);
    let teams = match cloud {
        Cloud::Commercial => teams,
        Cloud::GccHigh => teams.word("TeamsEnvironmentName", "TeamsGCCH"),
        Cloud::Dod => teams.word("TeamsEnvironmentName", "TeamsDOD"),
    };
    Step {
        whose: CUSTOMER,
        title: "connect as a Teams administrator".into(),
        powershell: vec![teams.line()],
        notes: Vec::new(),
    }
}

/// The trunk that all names below a base share: its port, media and options are theirs (TDR-MT-006).
fn carrier_trunk(plan: &Plan, tenant: &Tenant, trunk: usize) -> Step {
    let base = plan.base_of(trunk);
    Step {
        whose: CARRIER,
        title: format!("set up {base}, which the names of customers are below"),
        powershell: vec![gateway(plan, tenant, trunk, base, None)],
        notes: vec![
            "its port, media bypass and options hold for every customer below it".into(),
            format!(
                "disabling or draining {base} does so for all of them; one alone is drained here:"
            ),
            format!("tollgate drain --tenant {}", tenant.name),
        ],
    }
}

fn own_trunk(plan: &Plan, tenant: &Tenant, name: &Name<'_>) -> Step {
    Step {
        whose: CUSTOMER,
        title: format!("set up {} as a trunk", name.fqdn),
        powershell: vec![gateway(plan, tenant, name.trunk, name.fqdn, Some(tenant))],
        notes: vec![format!("this host sends OPTIONS as {}", name.fqdn)],
    }
}

/// `New-CsOnlinePSTNGateway`, as our side of the trunk is configured.
fn gateway(
    plan: &Plan,
    tenant: &Tenant,
    trunk: usize,
    fqdn: &str,
    bounded_by: Option<&Tenant>,
) -> String {
    let of = plan.trunks.get(trunk);
    let listener = of.and_then(|of| plan.listeners.get(of.listener));
    let port = listener.map_or(5061, |listener| listener.advertise.port());
    let host = u32::try_from(plan.node.calls_max).unwrap_or(u32::MAX);
    let bounds = [of.and_then(|of| of.limits.calls), bounded_by.and_then(|it| it.limits.calls)];
    let sessions = bounds.into_iter().flatten().fold(host, u32::min);
    let bypass = of.is_some_and(|of| of.ice == IcePolicy::Bypass);
    let command = Command::new("New-CsOnlinePSTNGateway")
        .text("Fqdn", fqdn)
        .word("SipSignalingPort", port)
        .word("MaxConcurrentSessions", sessions)
        .flag("MediaBypass", bypass)
        .flag("ForwardPai", true)
        .flag("ForwardCallHistory", true)
        .flag("SendSipOptions", true)
        .flag("PidfLoSupported", carries_location(plan, tenant));
    let command = match listener.is_some_and(|listener| listener.advertise.is_ipv6()) {
        true => command.word("IPAddressVersion", "IPv6"),
        false => command,
    };
    command.flag("Enabled", true).line()
}

/// Whether a carrier of the tenant's takes the location of emergency callers.
fn carries_location(plan: &Plan, tenant: &Tenant) -> bool {
    let routes = tenant.routes.iter().filter(|route| route.from == RouteFrom::Teams);
    let mut trunks = routes.flat_map(|route| route.to.trunks());
    trunks.any(|trunk| {
        let trunk = plan.trunks.get(trunk).filter(|it| it.kind == TrunkKind::Carrier);
        trunk.is_some_and(|trunk| trunk.headers.geolocation != Geolocation::Strip)
    })
}

/// Usage, voice route and policy: all of the tenant's names are gateways of one route, tried in no order.
fn routes(names: &[Name<'_>]) -> Step {
    let gateways: Vec<String> = names.iter().map(|name| name.fqdn.to_owned()).collect();
    let usage = |command: Command| command.text("OnlinePstnUsages", NAME).line();
    let mut notes = vec![
        "where calls go from here is for the tenant's routes in tollgate, so all numbers may come"
            .into(),
    ];
    if names.iter().any(|name| name.known == Known::Derived) {
        notes.push("a name below the carrier's trunk is named here and nowhere else: no gateway is made of it".into());
    }
    Step {
        whose: CUSTOMER,
        title: "let calls go there".into(),
        powershell: vec![
            Command::new("Set-CsOnlinePstnUsage")
                .text("Identity", "Global")
                .adds("Usage", NAME)
                .line(),
            usage(
                Command::new("New-CsOnlineVoiceRoute")
                    .text("Identity", NAME)
                    .text("NumberPattern", ".*")
                    .texts("OnlinePstnGatewayList", &gateways)
                    .word("Priority", 1),
            ),
            usage(Command::new("New-CsOnlineVoiceRoutingPolicy").text("Identity", NAME)),
        ],
        notes,
    }
}

fn emergency(tenant: &Tenant, user: Option<&str>) -> Option<Step> {
    if tenant.emergency.is_empty() {
        return None;
    }
    let made = |number: &String| {
        let dialled = Command::new("New-CsTeamsEmergencyNumber")
            .text("EmergencyDialString", number)
            .text("EmergencyDialMask", number)
            .text("OnlinePSTNUsage", NAME);
        format!("$numbers += {}", dialled.line())
    };
    let mut powershell = vec!["$numbers = @()".to_owned()];
    powershell.extend(tenant.emergency.iter().map(made));
    powershell.push(
        Command::new("New-CsTeamsEmergencyCallRoutingPolicy")
            .text("Identity", NAME)
            .word("EmergencyNumbers", "@{Add=$numbers}")
            .word("AllowEnhancedEmergencyServices", "$true")
            .line(),
    );
    powershell.push(
        Command::new("Grant-CsTeamsEmergencyCallRoutingPolicy")
            .text("Identity", user.unwrap_or(SOMEBODY))
            .text("PolicyName", NAME)
            .line(),
    );
    Some(Step {
        whose: CUSTOMER,
        title: format!("emergency numbers: {}", tenant.emergency.join(", ")),
        powershell,
        notes: vec!["these are the tenant's `emergency` numbers, or those of its country".into()],
    })
}

fn number(tenant: &Tenant, user: Option<&str>) -> Step {
    let user = user.unwrap_or(SOMEBODY);
    let grant = Command::new("Grant-CsOnlineVoiceRoutingPolicy");
    let grant = grant.text("Identity", user).text("PolicyName", NAME).line();
    let first = tenant.numbers.first().map(|range| {
        let width = usize::from(range.digits);
        format!("+{:0width$}", range.first)
    });
    let (title, assign) = match &first {
        Some(number) => (
            format!("give a user {number}"),
            Some(
                Command::new("Set-CsPhoneNumberAssignment")
                    .text("Identity", user)
                    .text("PhoneNumber", number)
                    .word("PhoneNumberType", "DirectRouting")
                    .line(),
            ),
        ),
        None => ("give a user a number".into(), None),
    };
    let mut notes = Vec::new();
    if assign.is_none() {
        notes.push("the tenant has no `numbers`: nobody can call it".into());
    }
    notes.push("the user needs a licence with Teams Phone".into());
    let powershell = assign.into_iter().chain([grant]).collect();
    Step { whose: CUSTOMER, title, powershell, notes }
}

impl Guide {
    /// The guide as text; commands stand alone on their lines, to be copied.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("tenant {}\n\nDNS\n", self.tenant);
        let rows = self
            .records
            .iter()
            .map(|it| [format!("  {}", it.name), it.kind.into(), it.value.clone(), it.why.into()]);
        text.push_str(&crate::terminal::table(&["  NAME", "TYPE", "VALUE", "WHY"], rows));
        for (number, step) in (1..).zip(&self.steps) {
            let _ = writeln!(text, "\n{number}. {} ({})", step.title, step.whose);
            for note in &step.notes {
                let _ = writeln!(text, "   - {note}");
            }
            for line in &step.powershell {
                let _ = writeln!(text, "\n{line}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;
