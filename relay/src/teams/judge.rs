//! What was found, line by line: it passes, wants a look, or fails, with what to do about it.

use super::Known;
use super::facts::{
    Answer, Certificate, Daemon, Door, Facts, Name, Reached, Target, Tenant, Trouble, Trunk,
};
use crate::admin::{FqdnRow, RegionRow};
use crate::config::RSA_BITS_MIN;
use b2bua::codes::Microsoft;
use serde::Serialize;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// How a line turns out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Pass,
    Warn,
    Fail,
}

impl Verdict {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: &'static str,
    /// Of whom.
    pub(crate) subject: String,
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) says: String,
    /// What to do about it, where there is something to do.
    pub(crate) fix: Option<String>,
}

/// The least that is left of a certificate before one has to see to it; Microsoft warns then, too
/// (TDR-MON-003).
const EXPIRY_WARN: Duration = Duration::from_secs(30 * 86_400);
/// A clock that may be off by more than this makes certificates and records doubtful.
const CLOCK_ERROR_MAX: Duration = Duration::from_secs(5);
/// Microsoft takes our OPTIONS for late beyond this.
const SLOW: Duration = Duration::from_secs(1);
/// A region that has asked and does so no more takes us for unhealthy after so long.
const REGION_LATE: Duration = Duration::from_secs(300);
/// Judges all of it.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut lines = Lines::default();
    daemon(facts, &mut lines);
    clock(&facts.clock, &mut lines);
    for trunk in &facts.trunks {
        addresses(trunk, &mut lines);
        for target in &trunk.targets {
            reached(target, &mut lines);
        }
    }
    for name in &facts.names {
        dns(name, &mut lines);
        door(name, facts, &mut lines);
        match &name.certificate {
            Some(certificate) => self::certificate(facts.now, name, certificate, &mut lines),
            None => lines.fail("certificate", &name.fqdn, "there is none", "[[certificate]]"),
        }
    }
    if let Ok(daemon) = &facts.daemon {
        for row in daemon.fqdns.iter().filter(|row| row.asks) {
            seen(row, &mut lines);
        }
    }
    for tenant in &facts.tenants {
        set_up(tenant, &mut lines);
        if let Ok(daemon) = &facts.daemon {
            calls(tenant, daemon, &mut lines);
        }
    }
    lines.all
}

#[derive(Default)]
struct Lines {
    all: Vec<Finding>,
}

impl Lines {
    fn pass(&mut self, check: &'static str, subject: &str, says: impl Into<String>) {
        self.push(Verdict::Pass, check, subject, says.into(), None);
    }

    fn warn(
        &mut self,
        check: &'static str,
        subject: &str,
        says: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(Verdict::Warn, check, subject, says.into(), Some(fix.into()));
    }

    fn fail(
        &mut self,
        check: &'static str,
        subject: &str,
        says: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(Verdict::Fail, check, subject, says.into(), Some(fix.into()));
    }

    fn push(
        &mut self,
        verdict: Verdict,
        check: &'static str,
        subject: &str,
        says: String,
        fix: Option<String>,
    ) {
        self.all.push(Finding { check, subject: subject.to_owned(), verdict, says, fix });
    }
}

fn daemon(facts: &Facts, lines: &mut Lines) {
    let Daemon { drains, .. } = match &facts.daemon {
        Ok(daemon) => daemon,
        Err(why) => {
            let says = format!(
                "is not asked ({why}): left out is what Microsoft sends us, and what came of calls"
            );
            return lines.warn("daemon", "host", says, "start it, or name its --config");
        }
    };
    lines.pass("daemon", "host", "answers");
    for drain in drains {
        match &drain.tenant {
            None => lines.warn("drain", "host", &drain.text, "tollgate drain --cancel"),
            Some(tenant) => {
                let fix = format!("tollgate drain --cancel --tenant {tenant}");
                lines.warn("drain", tenant, &drain.text, fix);
            }
        }
    }
}

fn clock(clock: &Result<Option<Duration>, String>, lines: &mut Lines) {
    const FIX: &str = "run chrony or systemd-timesyncd: certificates are judged by the time";
    match clock {
        Ok(Some(error)) if *error <= CLOCK_ERROR_MAX => {
            lines.pass("clock", "host", format!("is kept, to {} ms", error.as_millis()));
        }
        Ok(Some(error)) => {
            lines.warn("clock", "host", format!("may be off by {} s", error.as_secs()), FIX);
        }
        Ok(None) => lines.warn("clock", "host", "is kept by nobody", FIX),
        Err(why) => lines.warn("clock", "host", format!("cannot be told: {why}"), FIX),
    }
}

fn addresses(trunk: &Trunk, lines: &mut Lines) {
    let own = [("signalling", "[[listener]] advertise", trunk.advertise)];
    let media = [("media", "[[media.address]] advertise", trunk.media)];
    for (what, key, address) in own.into_iter().chain(media) {
        match reach(address) {
            Reach::Public => {
                lines.pass("address", &trunk.name, format!("{what} on {address}, a public one"));
            }
            Reach::Lab => {
                let says = format!("{what} on {address}, where only a lab on this host reaches us");
                lines.warn("address", &trunk.name, says, format!("{key} = the public address"));
            }
            Reach::Private => {
                let says = format!("{what} on {address}, which Microsoft cannot reach");
                let fix = format!("{key} = the public address that leads here");
                lines.fail("address", &trunk.name, says, fix);
            }
        }
    }
    if !trunk.asks {
        let says = "OPTIONS is off: Teams sends no calls to an SBC that it does not hear";
        lines.fail("options", &trunk.name, says, "options_interval = \"60s\"");
    }
}

/// Who can reach an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
    Lab,
}

fn reach(address: IpAddr) -> Reach {
    match address {
        address if address.is_loopback() => Reach::Lab,
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            match v4.is_private() || v4.is_link_local() || v4.is_unspecified() || shared {
                true => Reach::Private,
                false => Reach::Public,
            }
        }
        IpAddr::V6(v6) => {
            match v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified() {
                true => Reach::Private,
                false => Reach::Public,
            }
        }
    }
}

fn reached(target: &Target, lines: &mut Lines) {
    let Reached { address, version, suite, answers } = match &target.reached {
        Ok(reached) => reached,
        Err(trouble) => {
            let (says, fix) = match trouble {
                Trouble::Unresolved(why) => (
                    format!("has no address: {why}"),
                    "does this host resolve names (/etc/resolv.conf)?",
                ),
                Trouble::Unreachable(why) => {
                    (format!("cannot be connected to: {why}"), "let TCP out to it, port and all")
                }
                Trouble::Tls(why) => (format!("TLS fails: {why}"), tls_fix(why)),
            };
            return lines.fail("reach teams", &target.name, says, fix);
        }
    };
    let says = format!("{version} with {suite}, to {address}");
    lines.pass("reach teams", &target.name, says);
    for (fqdn, answer) in answers {
        let subject = format!("{fqdn} at {}", target.name);
        options(&subject, fqdn, answer, lines);
    }
}

/// What a failed handshake asks for.
fn tls_fix(why: &str) -> &'static str {
    let why = why.to_ascii_lowercase();
    match () {
        () if why.contains("alert") || why.contains("handshake") => {
            "Microsoft does not take our certificate: see the lines on it"
        }
        () if why.contains("issuer") => {
            "its root is not among `roots`: add it (docs/operations/certificates.md)"
        }
        () if why.contains("name") => {
            "is a proxy between us and Microsoft? `targets` and DNS say who"
        }
        () => "does a firewall look into TLS on the way?",
    }
}

/// The answer to OPTIONS that we have sent as `fqdn` (TDR-OPT-009, TDR-MT-013).
fn options(subject: &str, fqdn: &str, answer: &Result<Answer, String>, lines: &mut Lines) {
    const CHECK: &str = "options";
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => {
            let fix = match why.to_ascii_lowercase().contains("alert") {
                true => tls_fix(why),
                false => {
                    "is the trunk set up at Microsoft? tollgate teams onboard has the commands"
                }
            };
            return lines.fail(CHECK, subject, format!("no answer: {why}"), fix);
        }
    };
    let Answer { status, reason, said, took } = answer;
    let words = said.as_ref().map(|said| [&said.guid, &said.phrase].map(Option::as_deref));
    let words: Vec<&str> = words.into_iter().flatten().flatten().collect();
    let words = if words.is_empty() { String::new() } else { format!(" ({})", words.join(";")) };
    let says = format!("{status} {reason}{words} in {} ms", took.as_millis());
    match *status {
        200..=299 if *took > SLOW => {
            lines.warn(CHECK, subject, says, "is the way to Microsoft congested?");
        }
        200..=299 => lines.pass(CHECK, subject, says),
        403 => {
            let fix = format!(
                "Microsoft knows no trunk {fqdn}, or not with this certificate: New-CsOnlinePSTNGateway \
                 -Fqdn '{fqdn}' in the tenant that has the domain, which takes up to 24 hours to be known"
            );
            lines.fail(CHECK, subject, says, fix);
        }
        503 => lines.warn(CHECK, subject, says, "a datacentre is being drained: try again soon"),
        _ => {
            // A status alone is about calls.
            let said = said.as_ref().filter(|said| said.sub_code.is_some());
            let fix = said.and_then(Microsoft::meaning).map(|meaning| meaning.action);
            let fix = fix.unwrap_or("see docs/teams.md, by what Microsoft answers");
            lines.fail(CHECK, subject, says, fix);
        }
    }
}

/// Each name has one address, which is ours (TDR-DNS-007, TDR-MT-012).
fn dns(name: &Name, lines: &mut Lines) {
    const CHECK: &str = "dns";
    let Name { fqdn, advertise, .. } = name;
    let kind = if advertise.is_ipv4() { "A" } else { "AAAA" };
    let record = format!("{fqdn}. {kind} {advertise}");
    let addresses = match &name.addresses {
        Ok(addresses) => addresses,
        Err(why) => {
            let fix = format!("publish {record}; Microsoft answers 569015 or 569016 without it");
            return lines.fail(CHECK, fqdn, format!("does not resolve: {why}"), fix);
        }
    };
    let family = |address: &&IpAddr| address.is_ipv4() == advertise.is_ipv4();
    let found: Vec<&IpAddr> = addresses.iter().filter(family).collect();
    let listed: Vec<String> = found.iter().map(ToString::to_string).collect();
    let whose = if name.fixed { ", by [resolve]" } else { "" };
    match found.as_slice() {
        [] => {
            let fix = format!("publish {record}; Microsoft answers 569015 or 569016 without it");
            lines.fail(CHECK, fqdn, format!("has no {kind} record"), fix);
        }
        [one] if *one == advertise => {
            lines.pass(CHECK, fqdn, format!("is {advertise}, ours{whose}"));
        }
        [one] if reach(*advertise) != Reach::Public => {
            let says = format!("is {one}, and cannot be compared with {advertise}");
            lines.warn(CHECK, fqdn, says, "[[listener]] advertise = the public address");
        }
        [one] => {
            let says = format!("is {one}, and we advertise {advertise}");
            lines.fail(CHECK, fqdn, says, format!("publish {record}, or mend `advertise`"));
        }
        _ => {
            let says = format!("has {} addresses: {}", found.len(), listed.join(", "));
            let fix = format!("one record alone, {record}: another host is another FQDN");
            lines.fail(CHECK, fqdn, says, fix);
        }
    }
}

/// Whether we are there where the name leads.
fn door(name: &Name, facts: &Facts, lines: &mut Lines) {
    const CHECK: &str = "port";
    let trunk = facts.trunks.iter().find(|trunk| trunk.name == name.trunk);
    let sources = trunk.map_or("Microsoft", |trunk| trunk.sources.as_str());
    let (fqdn, port) = (&name.fqdn, name.port);
    match &name.door {
        Door::Untried => {
            let fix = "publish the name first: see its line on dns";
            lines.warn(CHECK, fqdn, format!("{port} was not tried"), fix);
        }
        Door::Unannounced(why) => {
            let fix =
                "run this as root or as the service's user; after an upgrade, restart tollgate";
            let says = format!(
                "{port} was not tried: the daemon cannot be told of it, and would count a stranger ({why})"
            );
            lines.warn(CHECK, fqdn, says, fix);
        }
        Door::Refused => {
            let fix = "is tollgate running, and does a NAT or firewall lead the port to it?";
            lines.fail(CHECK, fqdn, format!("{port} is closed"), fix);
        }
        Door::Silent(why) => {
            let fix = format!(
                "let TCP {port} in from {sources}; from here it may be silent where a NAT does not lead \
                 back inside"
            );
            lines.warn(CHECK, fqdn, format!("{port} says nothing: {why}"), fix);
        }
        Door::ClosedToStrangers => {
            let says = format!("{port} is open, and hangs up on us, who are outside `sources`");
            lines.pass(CHECK, fqdn, says);
        }
        Door::Shown { version, suite, covers: true } => {
            let says = format!("{port} is open: {version} with {suite}, certificate for the name");
            lines.pass(CHECK, fqdn, says);
        }
        Door::Shown { version, .. } => {
            let says =
                format!("{port} is open: {version}, and a certificate that is not for {fqdn}");
            lines.fail(CHECK, fqdn, says, "see the line on its certificate; was it reloaded?");
        }
        Door::Failed(why) => {
            let fix =
                "Microsoft needs TLS 1.2 with ECDHE-RSA and AES-GCM: does a proxy end TLS there?";
            lines.fail(CHECK, fqdn, format!("{port} is open, and TLS fails: {why}"), fix);
        }
    }
}

/// What Microsoft wants of the certificate (TDR-CRT-002 to -006).
fn certificate(now: SystemTime, name: &Name, it: &Certificate, lines: &mut Lines) {
    const CHECK: &str = "certificate";
    let fqdn = &name.fqdn;
    let mut good = true;
    if let Some(why) = &it.missing {
        let fix = "tollgate alarms; where it cannot be read, look as the user of the service";
        return lines.warn(CHECK, fqdn, format!("\"{}\" cannot be judged: {why}", it.name), fix);
    }
    let mut fail = |says: String, fix: &str| {
        lines.fail(CHECK, fqdn, format!("\"{}\" {says}", it.name), fix);
        good = false;
    };
    if !it.covers {
        let fix = match name.known {
            Known::Derived => "ask for the base name and a wildcard below it as alternative names",
            Known::Base | Known::Classic => "ask for one with this name as an alternative name",
        };
        fail(format!("is for {}", it.names.join(", ")), fix);
    }
    if !it.for_servers {
        fail("is not meant for servers".into(), "ask for extended key usage serverAuth");
    }
    match it.rsa {
        Some(bits) if bits < RSA_BITS_MIN => {
            fail(format!("has an RSA key of {bits} bits"), "ask for one with 2048 bits or more");
        }
        Some(_) => {}
        None => fail("has no RSA key, which Microsoft's suites need".into(), "ask for an RSA key"),
    }
    if it.not_before > now {
        fail("is not valid yet".into(), "is the clock of this host right?");
    }
    let left = it.not_after.duration_since(now).unwrap_or_default();
    if left.is_zero() {
        fail("has expired".into(), "renew it");
    }
    // The same is told of one that has expired itself.
    if let Some(Err(why)) = &it.public
        && !it.private
        && !left.is_zero()
    {
        let says = format!("does not lead to a public root with {}: {why}", chain(it));
        let fix = match why.as_str() {
            "expired" => {
                "one of its issuers has expired: put the authority's current ones into the chain file"
            }
            _ => {
                "put the issuers behind it into the chain file; Microsoft takes public authorities"
            }
        };
        fail(says, fix);
    }
    if !good {
        return;
    }
    let days = left.as_secs() / 86_400;
    if left < EXPIRY_WARN {
        let says = format!("\"{}\" expires in {days} days", it.name);
        lines.warn(CHECK, fqdn, says, "renew it; a reload puts it in force");
    } else if it.public.is_none() && !it.private {
        let says = format!("whether \"{}\" leads to a public root cannot be told", it.name);
        lines.warn(CHECK, fqdn, says, "this host has no roots to compare with: ca-certificates");
    } else if it.public != Some(Ok(())) {
        let says = format!("\"{}\" leads to the trunk's own `roots` alone: a lab's", it.name);
        lines.warn(CHECK, fqdn, says, "Microsoft takes certificates of public authorities");
    } else {
        let says = format!("\"{}\": {}, {days} days left", it.name, chain(it));
        lines.pass(CHECK, fqdn, says);
    }
}

/// How many certificates its file has.
fn chain(it: &Certificate) -> String {
    match it.chain {
        1 => "1 certificate".to_owned(),
        all => format!("{all} certificates"),
    }
}

/// Whether Microsoft sends OPTIONS to us (TDR-OPT-024).
fn seen(row: &FqdnRow, lines: &mut Lines) {
    const CHECK: &str = "seen by teams";
    const FIX: &str = "it cannot connect to us: firewall (TCP in from its networks), dns, port, certificate \
                       and SendSipOptions of the trunk, each on its line";
    let fqdn = &row.fqdn;
    let told = |it: &RegionRow| {
        let many = if it.proxies == 1 { "proxy" } else { "proxies" };
        let RegionRow { region, seconds_ago, proxies, from } = it;
        format!("{region} {seconds_ago} s ago ({proxies} {many}, from {from})")
    };
    let regions: Vec<String> = row.regions.iter().map(told).collect();
    let late = |it: &&RegionRow| it.seconds_ago > REGION_LATE.as_secs();
    let late: Vec<&str> = row.regions.iter().filter(late).map(|it| it.region.as_str()).collect();
    match (row.unseen_seconds, regions.is_empty()) {
        (Some(seconds), _) => {
            let says = format!("no OPTIONS from Microsoft for {seconds} s, though it takes ours");
            lines.fail(CHECK, fqdn, says, FIX);
        }
        (None, false) if !late.is_empty() => {
            let fix = format!(
                "calls of users in {} go elsewhere first: do firewall and provider let all of Microsoft's networks in?",
                late.join(", ")
            );
            lines.warn(CHECK, fqdn, format!("OPTIONS from {}", regions.join(", ")), fix);
        }
        (None, false) => lines.pass(CHECK, fqdn, format!("OPTIONS from {}", regions.join(", "))),
        (None, true) if row.up => {
            let fix = "wait: it begins minutes after it has taken ours";
            lines.warn(CHECK, fqdn, "no OPTIONS from Microsoft yet", fix);
        }
        (None, true) => {
            let fix =
                "it sends none before it has taken ours: see the lines on reach teams and options";
            lines.warn(CHECK, fqdn, "no OPTIONS from Microsoft", fix);
        }
    }
}

fn set_up(tenant: &Tenant, lines: &mut Lines) {
    const CHECK: &str = "tenant";
    let name = &tenant.name;
    let before = lines.all.len();
    if tenant.suspended {
        lines.warn(CHECK, name, "is suspended: its calls get 403", "suspended = false");
    }
    if tenant.number.is_none() {
        lines.warn(CHECK, name, "has no numbers: nobody can call it", "numbers = [\"+49...\"]");
    }
    if !tenant.routes_out {
        let fix = "[[route]] from = \"teams\" match = \"*\" to = [\"CARRIER\"]";
        lines.fail(CHECK, name, "has no route for calls from Teams", fix);
    }
    if !tenant.routes_in {
        let fix = "[[route]] from = \"carrier\" match = \"*\" to = [\"teams\"]";
        lines.fail(CHECK, name, "has no route for calls to Teams", fix);
    }
    if lines.all.len() == before {
        lines.pass(CHECK, name, "has numbers, and routes both ways");
    }
}

/// What the last calls came to (TDR-MT-012, TDR-MT-013).
fn calls(tenant: &Tenant, daemon: &Daemon, lines: &mut Lines) {
    const CHECK: &str = "calls";
    let own = |row: &&FqdnRow| tenant.fqdns.contains(&row.fqdn);
    let called = daemon.fqdns.iter().filter(own).filter_map(|row| row.called_seconds_ago).min();
    match called {
        Some(ago) => lines.pass(CHECK, &tenant.name, format!("from Teams: the last {ago} s ago")),
        None => {
            let fix = "dial out from Teams; without a call the voice route or the user's policy is missing";
            lines.warn(CHECK, &tenant.name, "from Teams: none since tollgate started", fix);
        }
    }
    let invited = daemon.fqdns.iter().filter(own).filter_map(|row| row.invited.as_ref());
    let Some(last) = invited.min_by_key(|invited| invited.seconds_ago) else {
        let number = tenant.number.as_deref().unwrap_or("a number of it");
        let fix = format!("call {number} from outside");
        return lines.warn(CHECK, &tenant.name, "to Teams: none since tollgate started", fix);
    };
    let phrase = last.phrase.as_ref().map_or_else(String::new, |phrase| format!(" ({phrase})"));
    let says = format!("to Teams: {}{phrase}, {} s ago", last.status, last.seconds_ago);
    match last.status {
        200..=299 | 480 | 486 | 487 | 600 | 603 => lines.pass(CHECK, &tenant.name, says),
        403 => {
            let fqdns = tenant.fqdns.join(", ");
            let fix = format!(
                "Microsoft does not know {fqdns} in the tenant: is it a verified domain there with a licensed \
                 user in it (up to 24 hours), and has the one who is called the number and the voice route?"
            );
            lines.fail(CHECK, &tenant.name, says, fix);
        }
        404 => {
            let fix = "no user of the tenant has the number: Set-CsPhoneNumberAssignment";
            lines.warn(CHECK, &tenant.name, says, fix);
        }
        488 => {
            let fix = "SRTP and codecs: what the trunk and tenant keys allow must hold G.711";
            lines.fail(CHECK, &tenant.name, says, fix);
        }
        _ => lines.warn(CHECK, &tenant.name, says, "see docs/teams.md, by what Microsoft answers"),
    }
}

#[cfg(test)]
mod tests;
