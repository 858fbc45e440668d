//! Configurations that hold, and what they come to.

use super::{CONTOSO, Directory, HOST};
use crate::config::load;
use b2bua::plan::{Roots, RouteFrom, SrtpPolicy, TrunkKind};
use certs::lab::Key;
use std::time::Duration;

#[test]
fn the_documented_sample_becomes_a_plan() {
    let directory = Directory::sample();
    let loaded = directory.load();
    let plan = &loaded.plan;
    assert_eq!(plan.node.fqdn, "sbc1.example.net");
    assert_eq!(plan.node.shutdown_deadline, Duration::from_secs(10));
    assert_eq!(plan.media[0].ports, 20000..=29999);
    assert_eq!(plan.trunk_named("bt"), Some(2));
    assert_eq!(plan.trunks[1].listener, 1);
    assert_eq!(plan.trunks[1].options_interval, Some(Duration::from_secs(60)));
    assert_eq!(plan.trunks[2].targets[0].to_string(), "198.51.100.20:5060");
    assert_eq!(plan.trunk_of_source(1, "198.51.100.20".parse().unwrap()), Some(2));
    assert_eq!(plan.trunk_of_source(1, "198.51.100.21".parse().unwrap()), None);
    assert_eq!(plan.tenant_of_fqdn("CONTOSO.sbc1.example.net"), Some(0));
    assert_eq!(plan.numbers.tenant("+4930123455"), Some(0));
    assert_eq!(plan.tenants[0].routes[0].from, RouteFrom::Teams);
    assert_eq!(plan.tenants[0].routes[0].to, vec![1, 2].into());
    assert_eq!(plan.resolve["sip.pstnhub.microsoft.com"][0].to_string(), "127.0.1.1");
    assert!(loaded.certificates[0].identity.covers("contoso.sbc1.example.net"));
    assert_eq!(loaded.warnings, []);
}

/// TDR-MED-002, TDR-MED-003, TDR-MED-005
#[test]
fn media_of_teams_is_learned_within_its_ranges_and_that_of_its_clients_anywhere() {
    let directory = Directory::sample();
    let trunks = &directory.load().plan.trunks;
    let within = trunks[0].terms.learned_within.as_deref().expect("processors have ranges");
    assert_eq!(within, trunks[0].sources);
    assert_eq!(trunks[1].terms.learned_within, None, "a carrier's may be anywhere");
    let kind = "kind = \"teams\"";
    let directory = directory.edit("tollgate.toml", kind, &format!("{kind}\nbypass = true"));
    assert_eq!(directory.load().plan.trunks[0].terms.learned_within, None);
}

/// TDR-DNS-001, TDR-DNS-005, TDR-DNS-006.
#[test]
fn a_teams_trunk_that_says_nothing_has_the_values_of_its_cloud() {
    let directory = Directory::sample();
    let teams = &directory.load().plan.trunks[0];
    let targets: Vec<String> = teams.targets.iter().map(ToString::to_string).collect();
    let expected = [
        "sip.pstnhub.microsoft.com:5061",
        "sip2.pstnhub.microsoft.com:5061",
        "sip3.pstnhub.microsoft.com:5061",
    ];
    assert_eq!(targets, expected);
    assert_eq!((teams.kind, teams.srtp), (TrunkKind::Teams, SrtpPolicy::Required));
    assert_eq!(teams.peer_names, ["sip.pstnhub.microsoft.com"]);
    assert_eq!(teams.roots, Roots::File(directory.path.join("root.pem")));
    let believed =
        |address: &str| teams.sources.iter().any(|block| block.contains(address.parse().unwrap()));
    // Both published versions of the range (TDR-DNS-005), and not one address more.
    for inside in ["52.112.0.0", "52.115.255.255", "52.120.0.0", "52.123.255.255"] {
        assert!(believed(inside), "{inside}");
    }
    for outside in ["52.111.255.255", "52.116.0.0", "52.119.255.255", "52.124.0.0"] {
        assert!(!believed(outside), "{outside}");
    }

    let directory = directory.edit("tollgate.toml", "commercial", "gcc-high");
    let gcc_high = &directory.load().plan.trunks[0];
    assert_eq!(gcc_high.targets[0].host, "sip.pstnhub.gov.teams.microsoft.us");
    assert_eq!(gcc_high.peer_names, ["sip.pstnhub.gov.teams.microsoft.us"]);
    assert!(gcc_high.sources[0].contains("52.127.95.255".parse().unwrap()));
}

/// The one example that is committed, with certificates made for it.
#[test]
fn the_committed_example_holds_without_a_warning() {
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/config");
    let mut directory = Directory::new();
    for file in ["tollgate.toml", "tenants.d/contoso.toml", "tenants.d/fabrikam.toml"] {
        let text = std::fs::read_to_string(example.join(file)).unwrap();
        directory = directory.with(file, &text);
    }
    // The lab's root, so that the test does not depend on the machine's.
    directory = directory.edit("tollgate.toml", "# roots = \"microsoft\"", "roots = \"root.pem\"");
    let loaded = directory.load();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.plan.tenants.len(), 2);
}

/// What the example shows as defaults, uncommented, changes nothing.
#[test]
fn the_defaults_that_the_example_shows_are_the_defaults() {
    let example = include_str!("../../../../systemd/config/tollgate.toml");
    let example = example.replace("# roots = \"microsoft\"", "roots = \"root.pem\"");
    let shown: Vec<String> = example
        .lines()
        .map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let key = bare.split(" = ").next().unwrap_or_default();
            let is_key =
                bare.contains(" = ") && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if is_key && !key.is_empty() { bare.to_owned() } else { line.to_owned() }
        })
        .collect();
    let shown = shown.join("\n");
    assert!(shown.contains("\npeer_names = ") && shown.contains("\nworkers = 1"));
    let one = Directory::new().with("tollgate.toml", &example);
    let other = Directory::new().with("tollgate.toml", &shown);
    let plan = |directory: &Directory| {
        let loaded = directory.load();
        let text = format!("{:#?} {:?} {:?}", loaded.plan, loaded.records, loaded.log);
        text.replace(&directory.path.display().to_string(), "")
    };
    assert_eq!(plan(&one), plan(&other));
}

#[test]
fn the_file_may_be_named_in_place_of_its_directory() {
    let directory = Directory::sample();
    let loaded = load(&directory.path.join("tollgate.toml")).unwrap();
    assert_eq!(loaded.plan.tenants[0].name, "contoso");
}

#[test]
fn what_an_editor_leaves_behind_is_no_tenant() {
    let wrong = "this is not TOML";
    let mut directory = Directory::sample();
    for file in [
        ".contoso.toml.swp",
        ".contoso.toml",
        "contoso.toml~",
        "contoso.toml.bak",
        "#contoso.toml#",
        "README",
    ] {
        directory = directory.with(&format!("tenants.d/{file}"), wrong);
    }
    assert_eq!(directory.load().plan.tenants.len(), 1);
    // A slip in the ending loses a tenant: that is told.
    let directory = directory.with("tenants.d/fabrikam.tmol", wrong);
    let warnings = directory.load().warnings;
    assert!(warnings[0].to_string().ends_with("fabrikam.toml"), "{warnings:?}");
}

#[test]
fn a_host_without_tenants_holds() {
    let directory = Directory::new().with("tollgate.toml", HOST);
    std::fs::remove_dir(directory.path.join("tenants.d")).unwrap();
    assert_eq!(directory.load().plan.tenants.len(), 0);
}

#[test]
fn tenants_are_in_the_order_of_their_names() {
    let other = CONTOSO.replace("contoso", "other").replace("+4930", "+4940");
    let directory = Directory::sample().with("tenants.d/contoso-b.toml", &other);
    let tenants = directory.load().plan.tenants;
    let names: Vec<&str> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["contoso", "contoso-b"]);
}

#[test]
fn emergency_routes_need_no_match() {
    let emergency = "emergency = [\"112\"]\n[limits]";
    let route = "[[route]]\nfrom = \"teams\"\nemergency = true\nto = [\"bt\"]\n";
    let directory = Directory::sample().edit("tenants.d/contoso.toml", "[limits]", emergency).edit(
        "tenants.d/contoso.toml",
        "[[route]]\nfrom = \"teams\"\n",
        &format!("{route}[[route]]\nfrom = \"teams\"\n"),
    );
    let tenant = &directory.load().plan.tenants[0];
    assert_eq!(tenant.emergency, ["112"]);
    assert!(tenant.routes[0].emergency && tenant.routes[0].called.matches("112"));
}

#[test]
fn a_carrier_over_tls_is_believed_by_what_it_is_dialled_by() {
    let directory = Directory::sample()
        .edit("tollgate.toml", "transport = \"udp\"", "transport = \"tls\"\ncertificate = \"wild\"")
        .edit(
            "tollgate.toml",
            "[\"192.0.2.7:5060\"]",
            "[\"sip.colt.example\", \"192.0.2.7\"]\nroots = \"root.pem\"",
        )
        .edit(
            "tollgate.toml",
            "[\"198.51.100.20\"]\nsources",
            "[\"198.51.100.20\"]\nroots = \"root.pem\"\nsources",
        );
    let colt = &directory.load().plan.trunks[1];
    assert_eq!(colt.peer_names, ["sip.colt.example", "192.0.2.7"]);
    // The name is left to SRV; the address is not.
    assert_eq!(colt.targets[0].to_string(), "sip.colt.example");
    assert_eq!(colt.targets[1].to_string(), "192.0.2.7:5061");
}

/// TDR-OPT-002.
#[test]
fn what_holds_and_is_hardly_meant_is_a_warning() {
    let directory = Directory::sample()
        .edit("tollgate.toml", "[\"192.0.2.0/28\"]", "[\"0.0.0.0/0\"]")
        .edit("tollgate.toml", "sources = [\"198.51.100.20\"]", "sources = [\"0.0.0.0/0\"]")
        .edit(
            "tollgate.toml",
            "cloud = \"commercial\"",
            "options_interval = \"off\"\nsrtp = \"off\"",
        )
        .edit(
            "tollgate.toml",
            "name = \"bt\"",
            "name = \"bt\"\nmusic_on_hold = \"tone\"\nhold = \"zero\"",
        );
    directory.certificate("wild", &["sbc1.example.net", "*.sbc1.example.net"], Key::P256);
    let loaded = directory.load();
    let expected = r#"tollgate.toml:19: certificate "wild" has no RSA key, and Microsoft's cipher suites all need one
hint: ask for a certificate with an RSA key
tollgate.toml:35: trunk "teams": Teams sends calls only to an SBC whose OPTIONS it sees every 30 to 180 seconds
hint: options_interval = "60s"
tollgate.toml:36: trunk "teams": Teams takes no call without SRTP
tollgate.toml:44: trunk "colt": `sources` lets the whole Internet call in
hint: name the blocks of the far side
tollgate.toml:51: trunk "bt": `hold` asks the carrier not to listen, so that nobody hears `music_on_hold`
hint: hold = "sendonly"
tollgate.toml:55: trunk "bt": `sources` lets the whole Internet call in
hint: name the blocks of the far side
tollgate.toml:55: trunk "bt": what comes from 0.0.0.0/0 counts as trunk "colt", which has the same block on the same listener
hint: give each a listener of its own to tell them apart"#;
    assert_eq!(directory.told(&loaded.warnings), expected);
}
