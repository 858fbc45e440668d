//! Certificates: where they may come from, and what `check` finds in them before Teams does.

use super::super::{Challenge, Scope, Store};
use super::{Directory, HOST, authority, wild};
use certs::lab::{Authority, Key, Leaf, Purpose, Request};
use std::path::Path;
use std::time::{Duration, SystemTime};

const MAIN: &str = "tollgate.toml";
const PEM: &str = "chain = \"wild.pem\"\nkey = \"wild.key\"";
const NAMES: [&str; 2] = ["sbc1.example.net", "*.sbc1.example.net"];

/// The host's names from an authority of the laboratory.
fn leaf(request: Request<'_>) -> Leaf {
    authority().issue(&Request { names: &NAMES, key: Key::P256, ..request }).unwrap()
}

/// Warnings, but for those of keys that are quick to make, and of Contoso's name.
fn warnings(directory: &Directory) -> String {
    let told = directory.told(&directory.load().warnings);
    let mut lines = told.lines().peekable();
    let mut left = Vec::new();
    while let Some(line) = lines.next() {
        if line.contains("has no RSA key") || line.contains("is not below") {
            lines.next();
            continue;
        }
        left.push(line);
    }
    left.join("\n")
}

/// TDR-CRT-001, TDR-CRT-006
#[test]
fn a_chain_that_teams_cannot_follow_is_told_of() {
    let directory = Directory::sample();
    let whole = leaf(Request::default());
    whole.write(&directory.path, "wild").unwrap();
    assert_eq!(warnings(&directory), "");

    let end = whole.chain_pem().find("-----END CERTIFICATE-----\n").unwrap() + 26;
    std::fs::write(directory.path.join("wild.pem"), &whole.chain_pem()[..end]).unwrap();
    let alone = "tollgate.toml:19: certificate \"wild\" is alone in its file, and its issuer \"CN=Lab Intermediate\" is no root that is known\n\
        hint: add the certificates of the issuers below it, each in turn: Teams looks for none";
    assert_eq!(warnings(&directory), alone);
    // Where Microsoft's own roots are meant, nobody will complete it.
    let directory = directory.edit(MAIN, "roots = \"root.pem\"\n", "");
    assert_eq!(directory.problems(), alone);

    let other = Authority::new("Private").unwrap();
    let request = Request { names: &NAMES, ..Request::default() };
    other.issue(&request).unwrap().write(&directory.path, "wild").unwrap();
    let expected = "tollgate.toml:19: certificate \"wild\" ends at \"CN=Private Root\", which is no root that is known; Teams takes certificates of authorities in the Microsoft Trusted Root Program\n\
        hint: is a certificate missing at its end, or is it a private authority's?";
    assert_eq!(warnings(&directory), expected);
}

/// TDR-CRT-008
#[test]
fn a_certificate_that_ends_soon_or_has_ended_holds_and_is_told_of() {
    let directory = Directory::sample();
    let now = crate::clock::now().wall.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let today = u32::try_from(now.as_secs() / 86_400 - 20_454).unwrap();
    let issued = |days| leaf(Request { days: Some(days), ..Request::default() });
    issued((today, today + 365)).write(&directory.path, "wild").unwrap();
    assert_eq!(warnings(&directory), "");
    issued((today.saturating_sub(300), today + 6)).write(&directory.path, "wild").unwrap();
    let told = warnings(&directory);
    assert!(told.starts_with("tollgate.toml:19: certificate \"wild\" ends on 20"), "{told}");
    assert!(told.contains(", in 5 days\nhint: renew it"), "{told}");
    leaf(Request { expired: true, ..Request::default() }).write(&directory.path, "wild").unwrap();
    let told = warnings(&directory);
    assert!(told.contains("certificate \"wild\" has ended on 2002-01-01T00:00:00Z"), "{told}");
}

/// TDR-CRT-010
#[test]
fn a_government_cloud_takes_certificates_of_few_authorities() {
    let directory = Directory::sample().edit(MAIN, "\"commercial\"", "\"gcc-high\"");
    leaf(Request::default()).write(&directory.path, "wild").unwrap();
    let expected = "tollgate.toml:19: certificate \"wild\" ends at \"CN=Lab Root\"\n\
        hint: GCC High and DoD take those of DigiCert Global Root CA or DigiCert High Assurance EV Root CA";
    assert_eq!(warnings(&directory), expected);
}

/// TDR-CRT-020
#[test]
fn a_teams_trunk_believes_microsofts_seven_roots_and_one_that_lacks_some_is_told_of() {
    let directory = Directory::sample().edit(MAIN, "roots = \"root.pem\"\n", "");
    let roots = directory.load().plan.trunks[0].roots.clone();
    assert_eq!(roots, b2bua::plan::Roots::Microsoft);
    assert_eq!(crate::transport::load_roots(&roots).unwrap().len(), 7);

    // A file of the year before: the four of DigiCert's that there were.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs/roots/microsoft.pem");
    let all = std::fs::read_to_string(shipped).unwrap();
    let end = all.match_indices("-----END CERTIFICATE-----\n").nth(3).unwrap().0 + 26;
    std::fs::write(directory.path.join("old.pem"), &all[..end]).unwrap();
    leaf(Request::default()).write(&directory.path, "wild").unwrap();
    let directory =
        directory.edit(MAIN, "cloud = \"commercial\"", "roots = [\"old.pem\", \"root.pem\"]");
    let expected = "tollgate.toml:35: trunk \"teams\": `roots` lack 3 of the 7 that Microsoft's certificates chain to: DigiCert TLS RSA4096 Root G5, Microsoft ECC Root Certificate Authority 2017, Microsoft RSA Root Certificate Authority 2017\n\
        hint: roots = \"microsoft\", or a list with it in";
    assert_eq!(warnings(&directory), expected);
    let directory = directory.edit(MAIN, "\"old.pem\", ", "\"microsoft\", ");
    assert_eq!(warnings(&directory), "");
}

#[test]
fn a_pkcs12_file_opens_with_the_password_in_its_file_alone() {
    let pkcs12 = "pkcs12 = \"wild.p12\"\npassword_file = \"wild.password\"";
    let directory = Directory::sample().edit(MAIN, PEM, pkcs12);
    let expected = "tollgate.toml:20: certificate \"wild\": wild.password cannot be read: No such file or directory (os error 2)\n\
        hint: write the password into it, readable for the service only";
    assert_eq!(directory.problems(), expected);
    let made = std::process::Command::new("openssl")
        .args(["pkcs12", "-export", "-in", "wild.pem", "-inkey", "wild.key", "-out", "wild.p12"])
        .args(["-passout", "pass:correct horse"])
        .current_dir(&directory.path)
        .status();
    assert!(made.unwrap().success(), "openssl makes it");
    let directory = directory.with("wild.password", "correct horse\n");
    use std::os::unix::fs::PermissionsExt as _;
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(directory.path.join("wild.password"), private).unwrap();
    let loaded = directory.load();
    assert_eq!(directory.told(&loaded.warnings), "");
    assert_eq!(loaded.certificates[0].identity.chain_len(), 2);

    let directory = directory.with("wild.password", "battery staple\n");
    let expected = "tollgate.toml:19: certificate \"wild\": wild.p12 does not open with this password\n\
        hint: write the password it was exported with into password_file";
    assert_eq!(directory.problems(), expected);
    let directory = directory.edit(MAIN, "password_file = \"wild.password\"", "password = \"x\"");
    let expected = "tollgate.toml:17: certificate \"wild\": `password_file` is missing\n\
        tollgate.toml:20: certificate \"wild\": `password` does nothing here: a secret never stands in the configuration: password_file";
    assert_eq!(directory.problems(), expected);
}

/// A host whose tenants bring certificates of their own, and Contoso with a base domain of its own.
fn with_directory() -> Directory {
    let more = "[[certificate]]\nname = \"tenants\"\ndirectory = \"certificates.d\"\n[[listener]]\nname = \"teams\"";
    let directory = Directory::sample().edit(MAIN, "[[listener]]\nname = \"teams\"", more).edit(
        "tenants.d/contoso.toml",
        "contoso.sbc1.example.net",
        "sbc.contoso.example",
    );
    std::fs::create_dir_all(directory.path.join("certificates.d")).unwrap();
    directory
}

/// TDR-CRT-003, TDR-CRT-004, TDR-CRT-009
#[test]
fn a_tenant_with_its_own_domain_is_covered_by_a_certificate_in_the_directory() {
    let directory = with_directory();
    let expected = "tenants.d/contoso.toml:1: tenant \"contoso\": \"sbc.contoso.example\" is not covered by certificate \"wild\" for sbc1.example.net, *.sbc1.example.net\n\
        hint: ask for a certificate with this name";
    assert_eq!(directory.problems(), expected);
    directory.certificate("certificates.d/contoso", &["sbc.contoso.example"], Key::P256);
    let names: Vec<String> = directory.load().certificates.into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["wild", "tenants/contoso"]);
}

#[test]
fn each_way_to_lay_a_certificate_into_the_directory_is_found() {
    let directory = with_directory();
    let folder = directory.path.join("certificates.d");
    let names = |name: &str| format!("sbc.{name}.example");
    let made = |name: &str| {
        let name = names(name);
        authority().issue(&Request { names: &[&name], ..Request::default() }).unwrap()
    };
    made("contoso").write(&folder, "contoso").unwrap();
    let one = made("both");
    std::fs::write(folder.join("both.pem"), format!("{}{}", one.chain_pem(), one.key_pem()))
        .unwrap();
    for (name, chain, key) in
        [("certbot", "fullchain.pem", "privkey.pem"), ("kubernetes", "tls.crt", "tls.key")]
    {
        let leaf = made(name);
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join(chain), leaf.chain_pem()).unwrap();
        std::fs::write(folder.join(name).join(key), leaf.key_pem()).unwrap();
    }
    for ignored in ["README", ".hidden.pem", "contoso.csr", "note.txt"] {
        std::fs::write(folder.join(ignored), "no certificate").unwrap();
    }
    std::fs::create_dir(folder.join("empty")).unwrap();
    let loaded = directory.load();
    let found: Vec<&str> = loaded.certificates.iter().map(|it| it.name.as_str()).collect();
    let expected =
        ["wild", "tenants/both", "tenants/certbot", "tenants/contoso", "tenants/kubernetes"];
    assert_eq!(found, expected);
    assert!(loaded.broken_certificates.is_empty());
    let watched = |file: &str| loaded.named.contains(&folder.join(file));
    assert!(watched("certbot/privkey.pem") && watched("both.pem"));
    assert!(loaded.named.contains(&folder), "what is new there is noticed");
}

#[test]
fn a_slip_in_the_directory_costs_no_other_certificate_and_the_one_before_stays() {
    let directory = with_directory();
    directory.certificate("certificates.d/contoso", &["sbc.contoso.example"], Key::P256);
    directory.certificate("certificates.d/fabrikam", &["sbc.fabrikam.example"], Key::P256);
    let mut store = Store::new(&directory.path);
    let now = crate::clock::now().wall;
    let look = store.look(&Scope::all(), now);
    let candidate = store.judge(look, false).unwrap();
    assert_eq!(candidate.loaded.certificates.len(), 3);
    let before = candidate.loaded.certificates[1].identity.fingerprint();
    store.commit(candidate);

    // A key that is not the certificate's: another file was put there by mistake.
    let folder = directory.path.join("certificates.d");
    std::fs::copy(folder.join("fabrikam.key"), folder.join("contoso.key")).unwrap();
    std::fs::write(folder.join("new.pem"), "not yet").unwrap();
    let later = now + Duration::from_secs(10);
    let look = store.look(&Scope::all(), later);
    let loaded = store.judge(look, false).unwrap().loaded;
    assert!(loaded.broken.is_empty(), "the tenant is served as before");
    assert_eq!(loaded.certificates.len(), 3);
    assert_eq!(loaded.certificates[1].identity.fingerprint(), before);
    let told: Vec<String> = loaded
        .broken_certificates
        .iter()
        .map(|(name, problem)| format!("{name}: {}", problem.message))
        .collect();
    let chain = folder.join("contoso.pem");
    let expected = [
        format!(
            "tenants/contoso: certificate \"tenants/contoso\" is as it last was: is not the key of the first certificate in {}",
            chain.display()
        ),
        "tenants/new: certificate \"tenants/new\" is absent: holds no certificate".to_owned(),
    ];
    assert_eq!(told, expected);
}

#[test]
fn two_of_one_name_are_told_of_and_the_same_one_counts_each_time() {
    let directory = with_directory();
    directory.certificate("certificates.d/contoso", &["sbc.contoso.example"], Key::P256);
    let folder = directory.path.join("certificates.d");
    let shown = directory.load().certificates[1].identity.fingerprint();
    let newer = Request { names: &["sbc.contoso.example"], ..Request::default() };
    let newer = authority().issue(&newer).unwrap();
    std::fs::write(folder.join("contoso.crt"), format!("{}{}", newer.chain_pem(), newer.key_pem()))
        .unwrap();
    let loaded = directory.load();
    assert_eq!(loaded.certificates.len(), 2);
    assert_eq!(loaded.certificates[1].identity.fingerprint(), shown);
    let [(name, problem)] = loaded.broken_certificates.as_slice() else { panic!() };
    let expected = "certificate \"tenants/contoso\" is contoso.pem, and this one is left alone";
    assert_eq!((name.as_str(), problem.message.as_str()), ("tenants/contoso", expected));
    assert_eq!(problem.file, folder.join("contoso.crt"));
}

#[test]
fn a_file_of_one_name_that_holds_no_certificate_of_ours_hides_the_one_that_does() {
    let directory = with_directory();
    let folder = directory.path.join("certificates.d");
    let request = Request { names: &["sbc.contoso.example"], ..Request::default() };
    let leaf = authority().issue(&request).unwrap();
    let end = leaf.chain_pem().find("-----END CERTIFICATE-----\n").unwrap() + 26;
    std::fs::write(folder.join("contoso.crt"), &leaf.chain_pem()[..end]).unwrap();
    std::fs::write(folder.join("contoso.key"), leaf.key_pem()).unwrap();
    // As an authority hands it out: the chain alone, under the same name.
    let chain = folder.join("contoso.pem");
    std::fs::write(&chain, &leaf.chain_pem()[end..]).unwrap();
    let loaded = directory.load();
    assert!(loaded.certificates[1].identity.covers("sbc.contoso.example"));
    let [(name, problem)] = loaded.broken_certificates.as_slice() else { panic!() };
    let expected = format!(
        "certificate \"tenants/contoso\" is contoso.crt, and this one is left alone: contoso.key is not the key of the first certificate in {}",
        chain.display()
    );
    assert_eq!((name.as_str(), &problem.message), ("tenants/contoso", &expected));
    assert_eq!(problem.file, chain);

    // An alarm has room for one text of one name.
    std::fs::write(folder.join("new.pem"), "not yet").unwrap();
    std::fs::write(folder.join("new.crt"), "not yet").unwrap();
    let loaded = directory.load();
    let [(_, _), (name, problem)] = loaded.broken_certificates.as_slice() else { panic!() };
    let expected =
        "certificate \"tenants/new\" is absent: holds no certificate; new.crt holds no certificate";
    assert_eq!((name.as_str(), problem.message.as_str()), ("tenants/new", expected));
}

#[test]
fn a_password_file_that_cannot_be_read_is_told_of_and_not_taken_for_an_empty_one() {
    let directory = with_directory();
    directory.certificate("certificates.d/contoso", &["sbc.contoso.example"], Key::P256);
    let folder = directory.path.join("certificates.d");
    std::fs::write(folder.join("fabrikam.pfx"), "locked").unwrap();
    std::fs::create_dir(folder.join("fabrikam.password")).unwrap();
    let loaded = directory.load();
    let [(_, problem)] = loaded.broken_certificates.as_slice() else { panic!() };
    assert_eq!(problem.file, folder.join("fabrikam.password"));
    assert!(problem.message.contains("cannot be read: is a directory"), "{}", problem.message);
}

#[test]
fn a_listener_has_one_certificate_and_not_a_directory() {
    let directory =
        with_directory().edit(MAIN, "certificate = \"wild\"", "certificate = \"tenants\"");
    let expected = "tollgate.toml:29: listener \"teams\": certificate \"tenants\" is a directory of certificates, and a listener has one of its own\n\
        hint: those of a directory are shown to whoever asks for their names";
    assert_eq!(directory.problems(), expected);
}

const ACME: &str = "[certificate.acme]\nserver = \"https://acme.example.net/directory\"\n\
    names = [\"sbc1.example.net\", \"*.sbc1.example.net\"]\nchallenge = \"dns-01\"\nhook = \"hook\"";

fn with_acme() -> Directory {
    use std::os::unix::fs::PermissionsExt as _;
    let state = "[state]\ndirectory = \"state\"\n[[certificate]]";
    let directory =
        Directory::new().with(MAIN, &HOST.replace(PEM, ACME).replacen("[[certificate]]", state, 1));
    let directory = directory.with("hook", "#!/bin/sh\n");
    let hook = directory.path.join("hook");
    std::fs::set_permissions(hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[test]
fn a_certificate_by_acme_stands_in_for_itself_until_it_is_there() {
    let directory = with_acme();
    let loaded = directory.load();
    assert!(loaded.certificates[0].identity.is_pending());
    let expected = "tollgate.toml:21: certificate \"wild\" has not been issued yet\n\
        hint: the daemon asks for it when it runs: tollgate alarms";
    assert_eq!(directory.told(&loaded.warnings), expected);
    let order = &loaded.acme[0];
    assert_eq!(order.names, NAMES);
    let hook = directory.path.join("hook");
    assert_eq!(order.challenge, Challenge::Dns(hook, Duration::from_secs(30)));
    assert_eq!(order.file, directory.path.join("state/acme/wild.pem"));
    assert!(loaded.named.contains(&order.file), "it counts as soon as it is there");

    std::fs::create_dir_all(directory.path.join("state/acme")).unwrap();
    // It is there, and cannot be read, which is another thing.
    std::fs::create_dir(&order.file).unwrap();
    let loaded = directory.load();
    let file = order.file.display();
    let told = directory.told(&loaded.warnings);
    assert!(
        told.contains("certificate \"wild\" is absent: cannot be read: is a directory"),
        "{told}"
    );
    assert!(!told.contains("not been issued"), "{file}: {told}");
    std::fs::remove_dir(&order.file).unwrap();
    let both = format!("{}{}", wild().chain_pem(), wild().key_pem());
    std::fs::write(&order.file, both).unwrap();
    let loaded = directory.load();
    assert!(!loaded.certificates[0].identity.is_pending());
    assert_eq!(directory.told(&loaded.warnings), "");
}

#[test]
fn names_change_under_acme_before_their_certificate_is_there() {
    let directory = with_acme();
    std::fs::create_dir_all(directory.path.join("state/acme")).unwrap();
    let both = format!("{}{}", wild().chain_pem(), wild().key_pem());
    std::fs::write(directory.path.join("state/acme/wild.pem"), both).unwrap();
    let directory = directory
        .edit(MAIN, "fqdn = \"sbc1.example.net\"", "fqdn = \"sbc2.example.net\"")
        .edit(MAIN, "names = [", "names = [\"sbc2.example.net\", ");
    let loaded = directory.load();
    let told = directory.told(&loaded.warnings);
    assert!(told.contains("\"sbc2.example.net\" is not covered by certificate \"wild\""), "{told}");
    assert!(told.contains("hint: the daemon asks for \"wild\" anew"), "{told}");
    assert_eq!(loaded.acme[0].names[0], "sbc2.example.net");
}

#[test]
fn what_stands_in_has_the_names_of_now() {
    let directory = with_acme();
    let mut store = Store::new(&directory.path);
    let now = crate::clock::now().wall;
    let mut names = || {
        let look = store.look(&Scope::all(), now);
        let candidate = store.judge(look, false).unwrap();
        let names = candidate.loaded.certificates[0].identity.names().to_vec();
        store.commit(candidate);
        names
    };
    assert_eq!(names(), NAMES);
    let _directory = directory.edit(MAIN, "names = [", "names = [\"sbc2.example.net\", ");
    assert_eq!(names(), ["sbc2.example.net", NAMES[0], NAMES[1]]);
}

#[test]
fn what_acme_cannot_do_is_told_before_it_is_tried() {
    let cases = [
        (
            "challenge = \"dns-01\"\nhook = \"hook\"",
            "challenge = \"http-01\"",
            "tollgate.toml:23: certificate \"wild\", acme: \"*.sbc1.example.net\" is a wildcard, which only dns-01 can prove\nhint: challenge = \"dns-01\"",
        ),
        (
            "https://acme",
            "http://acme",
            "tollgate.toml:22: certificate \"wild\", acme: `server = \"http://acme.example.net/directory\"` is not secure\nhint: ACME is spoken over https://",
        ),
        (
            "hook = \"hook\"",
            "hook = \"root.pem\"",
            "tollgate.toml:25: certificate \"wild\", acme: hook: root.pem may not be executed\nhint: a program that is called with add or remove, a name and a value",
        ),
        (
            "hook = \"hook\"",
            "hook = \"hook\"\nbind = \"0.0.0.0:80\"",
            "tollgate.toml:26: certificate \"wild\", acme: `bind` does nothing here: dns-01 is proved by DNS alone",
        ),
        (
            "hook = \"hook\"",
            "hook = \"hook\"\naccount_id = \"customer-7\"",
            "tollgate.toml:21: certificate \"wild\", acme: `account_key_file` is missing",
        ),
        (
            "[certificate.acme]",
            "chain = \"wild.pem\"\n[certificate.acme]",
            "tollgate.toml:21: certificate \"wild\": `chain` does nothing here: `[certificate.acme]` says where it comes from",
        ),
    ];
    for (old, new, expected) in cases {
        assert_eq!(with_acme().edit(MAIN, old, new).problems(), expected, "{new}");
    }
}

/// TDR-CRT-002, TDR-CRT-005
#[test]
fn a_tenants_certificate_of_the_wrong_kind_is_told_of_and_costs_the_others_nothing() {
    let directory = with_directory();
    directory.certificate("certificates.d/contoso", &["sbc.contoso.example"], Key::P256);
    let names = &["sbc.fabrikam.example"][..];
    let request = Request { names, purpose: Purpose::Client, ..Request::default() };
    let leaf = authority().issue(&request).unwrap();
    leaf.write(&directory.path.join("certificates.d"), "fabrikam").unwrap();
    let expected = "tollgate.toml:23: certificate \"tenants/fabrikam\" is not meant for servers, and Teams refuses it\n\
        hint: ask for extended key usage serverAuth";
    assert_eq!(warnings(&directory), expected);
}
