//! Emergency calls, SBCs behind this one and what carriers are told of an end: what holds, and what does not.

use super::Directory;
use b2bua::plan::{CALL_BACK, DivertedIdentity, Pidf, ReasonPolicy};
use std::time::Duration;

const TENANT: &str = "tenants.d/contoso.toml";
const MAIN: &str = "tollgate.toml";

/// The sample's tenant with this above its tables, and this behind them.
fn with(top: &str, tables: &str) -> Directory {
    let directory = Directory::sample();
    let text = std::fs::read_to_string(directory.path.join(TENANT)).unwrap();
    directory.with(TENANT, &format!("{top}\n{text}\n{tables}\n"))
}

const ROUTE: &str =
    "[[route]]\nfrom = \"teams\"\nemergency = true\npidf = \"elin\"\nto = [\"colt\"]\n";

#[test]
fn locations_and_the_way_back_become_what_is_said_of_them() {
    let tables = format!(
        "{ROUTE}[[location]]\nname = \"third floor\"\nelin = [\"+4930123451\", \"+4930123452\"]\n\
         civic = {{ A3 = \"Berlin\", FLR = \" 3 \" }}\n\
         [[location]]\nname = \"elsewhere\"\nelin = [\"+4930123459\"]\n"
    );
    let top =
        "emergency = [\"112\"]\nemergency_caller = \"+4930123450\"\nemergency_call_back = \"2h\"";
    let loaded = with(top, &tables).load();
    assert_eq!(loaded.warnings, []);
    let tenant = &loaded.plan.tenants[0];
    assert_eq!(tenant.help.caller.as_deref(), Some("+4930123450"));
    assert_eq!(tenant.help.call_back(), Duration::from_secs(7200));
    let places = &tenant.help.locations;
    assert_eq!(
        (&*places[0].name, places[0].elins.len(), places[0].civic.len()),
        ("third floor", 2, 2)
    );
    assert!(places[0].civic.contains(&("FLR".into(), "3".into())));
    assert!(places[1].civic.is_empty());
    let route = tenant.routes.iter().find(|route| route.emergency).unwrap();
    assert_eq!(route.rare.as_ref().unwrap().pidf, Some(Pidf::Elin));
    let usual = Directory::sample().load();
    assert_eq!(usual.plan.tenants[0].help.call_back(), CALL_BACK);
}

#[test]
fn an_elin_that_nobody_can_call_back_is_refused() {
    let tables = "[[location]]\nname = \"a\"\nelin = [\"+49891\", \"+4930123451\"]\n[[location]]\nelin = []\n";
    let told = with("", tables).problems();
    assert!(told.contains("location \"a\": ELIN \"+49891\" is no number of the tenant"), "{told}");
    assert!(!told.contains("+4930123451"), "{told}");
    assert!(
        told.contains("location 2: `name` is missing") && told.contains("`elin` is empty"),
        "{told}"
    );
    let route =
        "[[route]]\nfrom = \"teams\"\nmatch = \"+49*\"\npidf = \"strip\"\nto = [\"colt\"]\n";
    let told = with("", route).problems();
    assert!(told.contains("`pidf` does nothing here"), "{told}");
    let warned =
        with("emergency_caller = \"+49891\"\nemergency_call_back = \"10m\"", "").load().warnings;
    let warned: Vec<String> = warned.iter().map(|it| it.message.clone()).collect();
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(warned.iter().all(|it| it.starts_with("`emergency_ca")), "{warned:?}");
}

/// TDR-IN-004: the name of an SBC behind us is the tenant's as its own names are, and no certificate of
/// ours has to cover it.
#[test]
fn an_sbc_behind_us_has_a_name_and_a_trunk() {
    let sbc = "[[sbc]]\nfqdn = \"VNsbc.contoso.com\"\ntrunk = \"colt\"\n";
    let loaded =
        with("", sbc).edit(MAIN, "cloud = \"commercial\"", "media_inside = \"outside\"").load();
    let plan = &loaded.plan;
    assert_eq!(plan.tenant_of_fqdn("vnsbc.contoso.com"), Some(0));
    assert_eq!(plan.tenants[0].sbcs[0].trunk, 1);
    let own: Vec<&String> = plan.tenants[0].own_fqdns().collect();
    assert_eq!(own, ["contoso.sbc1.example.net"]);
    assert_eq!(plan.trunks[0].inside, Some(0));
    for (fqdn, trunk, expected) in [
        ("vnsbc.contoso.com", "kolt", "which does not exist"),
        ("vnsbc.contoso.com", "teams", "trunk \"teams\" leads to Teams"),
        ("contoso.sbc1.example.net", "colt", "is already that of tenant \"contoso\""),
    ] {
        let sbc = format!("[[sbc]]\nfqdn = \"{fqdn}\"\ntrunk = \"{trunk}\"\n");
        let told = with("", &sbc).problems();
        assert!(told.contains(expected), "{told}");
    }
    let told =
        Directory::sample().edit(MAIN, "srtp = \"off\"", "media_inside = \"outside\"").problems();
    assert!(told.contains("`media_inside` does nothing here"), "{told}");
}

#[test]
fn what_a_carrier_is_told_of_an_end_is_its_own_to_say() {
    let both = "reason = \"drop\"\nidentity_diverted = \"diverter\"";
    let loaded = Directory::sample().edit(MAIN, "srtp = \"off\"", both).load();
    let headers = &loaded.plan.trunks[1].headers;
    assert_eq!(headers.reason, ReasonPolicy::Drop);
    assert_eq!(headers.diverted, DivertedIdentity::Diverter);
    let busy = Directory::sample().edit(TENANT, "calls = 200", "calls = 200\nwhen_full = \"busy\"");
    assert!(busy.load().plan.tenants[0].busy_when_full);
    let told =
        Directory::sample().edit(MAIN, "cloud = \"commercial\"", "reason = \"drop\"").problems();
    assert!(told.contains("`reason` does nothing here"), "{told}");
}
