//! Names that Microsoft would not know, or would take for another trunk's.

use super::{Directory, HOST};
use certs::lab::Key;

const MAIN: &str = "tollgate.toml";
const TENANT: &str = "tenants.d/contoso.toml";

/// A second trunk to Teams, on a listener of its own.
fn second(port: u16, keys: &str) -> String {
    format!(
        "[[listener]]\nname = \"second\"\ntransport = \"tls\"\nbind = \"0.0.0.0:{port}\"\n\
         advertise = \"203.0.113.10:{port}\"\ncertificate = \"wild\"\n\
         [[trunk]]\nname = \"direct\"\nkind = \"teams\"\nlistener = \"second\"\nroots = \"root.pem\"\n{keys}\n"
    )
}

fn with_second(port: u16, keys: &str) -> Directory {
    Directory::sample().with(MAIN, &format!("{HOST}{}", second(port, keys)))
}

/// The warnings but for those on the lab's keys, as `check` prints them.
fn warnings(directory: &Directory) -> String {
    let loaded = directory.load();
    let named = loaded.warnings.iter().filter(|it| !it.message.contains("RSA"));
    directory.told(&named.cloned().collect::<Vec<_>>())
}

/// TDR-MT-001 TDR-DNS-008
#[test]
fn a_name_is_deeper_below_the_trunk_than_a_wildcard_reaches() {
    let deep = Directory::sample().edit(TENANT, "contoso.sbc1", "contoso.emea.sbc1");
    deep.certificate("wild", &["sbc1.example.net", "*.emea.sbc1.example.net"], Key::P256);
    assert_eq!(
        warnings(&deep),
        "tenants.d/contoso.toml:1: tenant \"contoso\": \"contoso.emea.sbc1.example.net\" is 2 labels below \
         sbc1.example.net, and a wildcard covers one\nhint: a name such as \"contoso.sbc1.example.net\""
    );
    assert_eq!(warnings(&Directory::sample()), "");
    let base = Directory::sample().edit(TENANT, "contoso.sbc1.example.net", "sbc1.example.net");
    assert_eq!(warnings(&base), "", "the carrier's own users have the base");
}

/// TDR-MT-011
#[test]
fn a_name_in_the_customers_own_domain_says_that_it_is_a_trunk_of_its_own() {
    let own = Directory::sample().edit(TENANT, "contoso.sbc1.example.net", "sbc.contoso.com");
    own.certificate("wild", &["sbc1.example.net", "sbc.contoso.com"], Key::P256);
    assert_eq!(
        warnings(&own),
        "tenants.d/contoso.toml:1: tenant \"contoso\": \"sbc.contoso.com\" is not below sbc1.example.net, the \
         trunk that Microsoft knows here\n\
         hint: model = \"classic\" if it is set up as a trunk in the tenant's own Teams"
    );
    let own = own.edit(TENANT, "[limits]", "model = \"classic\"\n[limits]");
    assert_eq!(warnings(&own), "");
    assert_eq!(own.load().plan.tenants[0].model, b2bua::plan::Model::Classic);
}

/// TDR-MT-006
#[test]
fn one_name_on_two_ports_is_one_trunk_too_many() {
    assert_eq!(
        warnings(&with_second(5062, "bypass = true")),
        "tollgate.toml:59: trunk \"direct\": Microsoft knows sbc1.example.net with one port, and it is reached on \
         5062 here and on 5061 as trunk \"teams\"\n\
         hint: a base name of its own, with a DNS record and a trunk at Microsoft: fqdn = \"bypass.sbc1.example.net\""
    );
    let apart = with_second(5062, "bypass = true\nfqdn = \"bypass.sbc1.example.net\"");
    assert_eq!(warnings(&apart), "");
    assert_eq!(apart.load().plan.base_of(3), "bypass.sbc1.example.net");
}

/// TDR-MT-009
#[test]
fn two_clouds_share_a_name_or_a_tenant() {
    assert_eq!(
        with_second(5061, "cloud = \"gcc-high\"")
            .edit(MAIN, "0.0.0.0:5061\"\nadvertise = \"203.0.113.10:5061\"\ncertificate = \"wild\"\n[[trunk]]\nname = \"direct\"", "127.0.0.9:5063\"\nadvertise = \"203.0.113.11:5061\"\ncertificate = \"wild\"\n[[trunk]]\nname = \"direct\"")
            .problems(),
        "tollgate.toml:59: trunk \"direct\": sbc1.example.net is trunk \"teams\" too, which is in another cloud of \
         Microsoft's\nhint: a base name of its own, and a listener: fqdn = \"sbc2.example.net\""
    );
    let both = with_second(5061, "cloud = \"gcc-high\"\nfqdn = \"gov.sbc1.example.net\"")
        .edit(MAIN, "0.0.0.0:5061\"\nadvertise = \"203.0.113.10:5061\"\ncertificate = \"wild\"\n[[trunk]]\nname = \"direct\"", "127.0.0.9:5063\"\nadvertise = \"203.0.113.11:5061\"\ncertificate = \"wild\"\n[[trunk]]\nname = \"direct\"")
        .edit(TENANT, "to = [\"teams\"]", "to = [\"teams\", \"direct\"]");
    let told = both.problems();
    assert!(
        told.contains(
            "tenant \"contoso\": trunk \"teams\" and trunk \"direct\" lead to different clouds"
        ),
        "{told}"
    );
}

#[test]
fn a_base_name_of_a_trunk_is_for_teams_and_covered_by_its_certificate() {
    let carrier = Directory::sample().edit(MAIN, "srtp = \"off\"", "fqdn = \"a.example.net\"");
    assert!(carrier.problems().contains("`fqdn` does nothing here"), "{}", carrier.problems());
    let uncovered = with_second(5062, "fqdn = \"sbc.example.org\"").problems();
    assert!(
        uncovered.contains("trunk \"direct\": \"sbc.example.org\" is not covered by certificate"),
        "{uncovered}"
    );
}

/// TDR-FO-013 TDR-OPT-001 TDR-OPT-002
#[test]
fn a_trunk_to_teams_sends_options_unless_it_is_told_not_to() {
    let minute = std::time::Duration::from_secs(60);
    let sample = Directory::sample();
    assert_eq!(sample.load().plan.trunks[0].options_interval, Some(minute));
    let off = sample.edit(MAIN, "cloud = \"commercial\"", "options_interval = \"off\"");
    assert!(warnings(&off).contains("Teams sends calls only to an SBC whose OPTIONS it sees"));
}
