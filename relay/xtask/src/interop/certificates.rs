//! Certificates: had from pebble by each way of ACME, renewed in time, and exchanged under a call.

use super::Lab;
use super::call::{Call, TALK, wait};
use super::lab;
use super::namespace::on;
use super::pki::{Authority, Leaf};
use super::process::{Process, until};
use crate::fail::{Outcome, While, ensure};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where pebble has its directory, and looks for proofs.
const PEBBLE: &str = "127.0.0.1:14000";
const HTTP_PORT: u16 = 5002;
const TLS_PORT: u16 = 5001;
/// Where its name server is, and is told what to say.
const DNS: &str = "127.0.0.1:8053";
const DNS_TOLD: &str = "127.0.0.1:8055";

/// From the start of a program until it serves.
const START: Duration = Duration::from_secs(60);
/// From the configuration until what is had is shown; pebble refuses some nonces, to be asked again.
const ISSUED: Duration = Duration::from_secs(60);

/// How long a certificate of pebble's is valid, in seconds: a quarter, as public authorities have it, and
/// no longer than a scenario can wait for.
const QUARTER: u32 = 90 * 86_400;
const MOMENT: u32 = 24;

/// An authority with its name server.
struct Pebble {
    _authority: Process,
    _names: Process,
    /// Whom its own server chains to.
    root: std::path::PathBuf,
}

impl Pebble {
    fn start(folder: &Path, valid: u32) -> Outcome<Self> {
        let own = Authority::new(folder, "pebble", "Pebble's own")?;
        let leaf = own.leaf("pebble-server", "IP:127.0.0.1", "serverAuth")?;
        let config = serde_json::json!({ "pebble": {
            "listenAddress": PEBBLE,
            "managementListenAddress": "127.0.0.1:15000",
            "certificate": leaf.chain,
            "privateKey": leaf.key,
            "httpPort": HTTP_PORT,
            "tlsPort": TLS_PORT,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": valid,
        }});
        let file = folder.join("pebble.json");
        std::fs::write(&file, config.to_string()).while_(file.display())?;
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-dns01", DNS, "-management", DNS_TOLD, "-http01", "", "-https01", ""]);
        names.args(["-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        let names = Process::start("pebble-challtestsrv", &mut names, &folder.join("names.log"))?;
        let mut command = Command::new("pebble");
        command.arg("-config").arg(&file).args(["-dnsserver", DNS]);
        // It would wait for up to fifteen seconds before it looks.
        command.env("PEBBLE_VA_NOSLEEP", "1");
        let mut pebble = Process::start("pebble", &mut command, &folder.join("pebble.log"))?;
        pebble.until("directory", START, |it| it.said().contains("ACME directory available"))?;
        Ok(Self { _authority: pebble, _names: names, root: own.root })
    }

    /// What a certificate of it looks like in the configuration.
    fn table(&self, names: &[&str], challenge: &str) -> String {
        format!(
            "\n[[certificate]]\nname = \"pebble\"\n[certificate.acme]\nserver = \"https://{PEBBLE}/dir\"\n\
             names = {names:?}\nroots = \"{}\"\ncontacts = [\"noc@interop.example\"]\n{challenge}\n",
            self.root.display()
        )
    }
}

/// What we show to Teams when it asks for `name`, as OpenSSL tells it.
fn shown(lab: &Lab, name: &str) -> Outcome<String> {
    let mut command = on(&lab::TEAMS, "openssl");
    command.args(["s_client", "-connect", &lab::BORDER_TLS.to_string(), "-servername", name]);
    command.arg("-cert").arg(&lab.teams.chain).arg("-cert_chain").arg(&lab.teams.chain);
    command.arg("-key").arg(&lab.teams.key);
    let output = command.stdin(Stdio::null()).output().while_("openssl s_client")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The certificate by itself tells one from its renewal.
    let pem = text.split_once("-----BEGIN CERTIFICATE-----").map(|(_, rest)| rest);
    let pem = pem.and_then(|rest| rest.split_once("-----END CERTIFICATE-----")).map(|(pem, _)| pem);
    let issuer = text.lines().find(|line| line.starts_with("issuer=")).unwrap_or_default();
    Ok(format!("{issuer}\n{}", pem.unwrap_or_default()))
}

/// Puts it into the configuration and waits until it is shown for its name.
fn had(lab: &mut Lab, table: &str, name: &str) -> Outcome<String> {
    lab.tollgate.reconfigure(table)?;
    let mut seen = String::new();
    let waited = until("certificate of pebble's", ISSUED, || {
        seen = shown(lab, name).unwrap_or_default();
        seen.contains("Pebble Intermediate CA")
    });
    waited.while_(format_args!(
        "{}; alarms: {}",
        seen,
        lab.tollgate.ask(&["alarms"]).unwrap_or_default()
    ))?;
    let file = lab.tollgate.folder().join("state/acme/pebble.pem");
    let mode = std::fs::metadata(&file).while_(file.display())?.permissions().mode() & 0o777;
    ensure(mode == 0o600, || format!("the key is open to others: {mode:o}"))?;
    Ok(seen)
}

/// Leaves nothing of it: the next scenario asks anew.
fn forget(lab: &mut Lab) -> Outcome {
    lab.tollgate.reconfigure("")?;
    let folder = lab.tollgate.folder().join("state/acme");
    std::fs::remove_dir_all(&folder).while_(folder.display())
}

pub(super) fn pebble_issues_by_http_01(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("acme_http")?;
    let pebble = Pebble::start(&folder, QUARTER)?;
    let (one, two) = ("http.interop.example", "http2.interop.example");
    let challenge = format!("challenge = \"http-01\"\nbind = \"127.0.0.1:{HTTP_PORT}\"");
    let first = had(lab, &pebble.table(&[one, two], &challenge), one)?;
    ensure(first == shown(lab, two)?, || "its second name is shown another".to_owned())?;
    // Whoever asks for another name is shown the listener's own.
    ensure(!shown(lab, lab::BASE_FQDN)?.contains("Pebble"), || "it is shown to all".to_owned())?;
    // The port is free again.
    std::net::TcpListener::bind(("127.0.0.1", HTTP_PORT)).while_("the port of proofs")?;
    forget(lab)
}

/// And renews it: a third of its life is left after sixteen seconds.
pub(super) fn pebble_issues_and_renews_by_tls_alpn_01(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("acme_alpn")?;
    let pebble = Pebble::start(&folder, MOMENT)?;
    let name = "alpn.interop.example";
    let challenge =
        format!("challenge = \"tls-alpn-01\"\nbind = \"127.0.0.1:{TLS_PORT}\"\nkey = \"p256\"");
    let first = had(lab, &pebble.table(&[name], &challenge), name)?;
    until("renewal", Duration::from_secs(u64::from(MOMENT) + 10), || {
        shown(lab, name).is_ok_and(|now| now.contains("Pebble") && now != first)
    })?;
    forget(lab)
}

/// The operator's program: tells pebble's name server.
const HOOK: &str = r#"#!/bin/bash
case "$1" in add) path=/set-txt;; remove) path=/clear-txt;; *) exit 2;; esac
body="{\"host\":\"$2.\",\"value\":\"$3\"}"
exec 3<>"/dev/tcp/@HOST@/@PORT@"
printf 'POST %s HTTP/1.1\r\nHost: names\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
    "$path" "${#body}" "$body" >&3
read -r _ status _ <&3
[ "$status" = 200 ] || { echo "the name server says $status" >&2; exit 1; }
"#;

pub(super) fn pebble_issues_a_wildcard_by_dns_01(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("acme_dns")?;
    let pebble = Pebble::start(&folder, QUARTER)?;
    let hook = folder.join("write-record");
    let (host, port) = DNS_TOLD.split_once(':').unwrap_or_default();
    let text = HOOK.replace("@HOST@", host).replace("@PORT@", port);
    std::fs::write(&hook, text).while_(hook.display())?;
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).while_("hook")?;
    let names = ["dns.interop.example", "*.dns.interop.example"];
    let challenge =
        format!("challenge = \"dns-01\"\nhook = \"{}\"\nsettle = \"0s\"", hook.display());
    had(lab, &pebble.table(&names, &challenge), "any.dns.interop.example")?;
    let deeper = shown(lab, "deeper.any.dns.interop.example")?;
    ensure(!deeper.contains("Pebble"), || "a wildcard stands for one label".to_owned())?;
    forget(lab)
}

/// TDR-CRT-007: the certificate of the Teams listener is replaced on disk while people talk: whoever connects is shown the
/// new one at once, the call goes on, and its end finds its way.
pub(super) fn certificate_is_replaced_under_a_call(lab: &mut Lab) -> Outcome {
    let mut call = Call::begin(lab, "replaced")?;
    call.carrier_dials(lab)?;
    wait(TALK / 3);
    let before = shown(lab, lab::BASE_FQDN)?;
    let names = format!("DNS:{0},DNS:*.{0}", lab::BASE_FQDN);
    let next = lab.authority.leaf("own-next", &names, "serverAuth,clientAuth")?;
    replace(&next, &lab.own)?;
    until("new certificate", Duration::from_secs(5), || {
        shown(lab, lab::BASE_FQDN).is_ok_and(|now| now != before && now.contains("issuer="))
    })?;
    // A re-INVITE of ours crosses to the front by a connection that shows it.
    call.carrier.command("hold", "")?;
    wait(TALK / 3);
    call.carrier.command("resume", "")?;
    wait(TALK / 3);
    call.carrier.command("hangup", "")?;
    call.is_over(lab)?;
    let record = lab.tollgate.record(lab.calls)?;
    ensure(record["status"] == 200 && record["cause"] == "caller_hangup", || {
        format!("the call did not go on: {record}")
    })?;
    ensure(lab.tollgate.process.said().contains("connections are renewed"), || {
        "no connection was renewed".to_owned()
    })
}

/// As a tool that knows how does it: each file in one step.
fn replace(next: &Leaf, own: &Leaf) -> Outcome {
    for (from, to) in [(&next.chain, &own.chain), (&next.key, &own.key)] {
        std::fs::rename(from, to).while_(to.display())?;
    }
    Ok(())
}
