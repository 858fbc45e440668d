//! `[trunk.registrar]` and its files.

use super::Directory;
use super::accounts::{next_line, sample};
use b2bua::accounts::{Secret, Times, User};
use sip_core::auth::Algorithm;
use std::time::Duration;

const REGISTRAR: &str =
    "[trunk.registrar]\n[[trunk.registrar.user]]\nname = \"pbx\"\nsecret_file = \"bt.secret\"\n";
const TARGETS: &str = "targets = [\"198.51.100.20\"]\n";

fn with(lines: &str) -> Directory {
    sample(&REGISTRAR.replace("[trunk.registrar]\n", &format!("[trunk.registrar]\n{lines}")))
}

#[test]
fn registrar_needs_no_more_than_a_user_and_no_targets() {
    let loaded = sample(REGISTRAR).edit("tollgate.toml", TARGETS, "").load();
    let trunk = &loaded.plan.trunks[2];
    assert!(trunk.targets.is_empty() && trunk.name == "bt");
    let registrar = trunk.accounts.registrar.as_deref().unwrap();
    let secret = Secret::new("s3cret");
    assert_eq!(registrar.users, [User { name: "pbx".into(), secret }]);
    assert_eq!(registrar.realm, "sbc1.example.net");
    // What the example shows as defaults.
    let (least, most) = (Duration::from_secs(60), Duration::from_secs(300));
    assert_eq!(registrar.times, Times { least, most });
    assert_eq!(registrar.algorithms, [Algorithm::Md5]);
    assert!(registrar.challenge_calls);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert!(loaded.plan.trunks[1].accounts.registrar.is_none());
}

#[test]
fn every_key_of_a_registrar_counts() {
    let lines = "realm = \"pbx.example\"\nexpires = \"10m\"\nexpires_min = \"2m\"\nchallenge_calls = false\nalgorithms = [\"SHA-256\", \"MD5\"]\n";
    let loaded = with(lines).load();
    let registrar = loaded.plan.trunks[2].accounts.registrar.clone().unwrap();
    assert_eq!(registrar.realm, "pbx.example");
    let (least, most) = (Duration::from_secs(120), Duration::from_secs(600));
    assert_eq!(registrar.times, Times { least, most });
    assert_eq!(registrar.algorithms, [Algorithm::Sha256, Algorithm::Md5]);
    assert!(!registrar.challenge_calls);
    assert_eq!(loaded.plan.trunks[2].targets.len(), 1, "targets may stand beside it");
}

#[test]
fn registrar_that_cannot_be() {
    let line = next_line();
    let at = |more: usize, said: &str| format!("tollgate.toml:{}: trunk \"bt\"{said}", line + more);
    let nobody = at(
        0,
        ", registrar: nobody may register: there is no `user`\nhint: [[trunk.registrar.user]] name = \"pbx\" secret_file = \"pbx.secret\"",
    );
    assert_eq!(sample("[trunk.registrar]\n").problems(), nobody);
    assert_eq!(sample("[trunk.registrar]\nuser = []\n").problems(), nobody);
    let twice = REGISTRAR.replace("[trunk.registrar]\n", "");
    assert_eq!(
        sample(&format!("{REGISTRAR}{twice}")).problems(),
        at(5, ", registrar: user \"pbx\" stands twice")
    );
    assert_eq!(
        sample(&REGISTRAR.replace("bt.secret", "no.secret")).problems(),
        at(
            3,
            ", registrar: user \"pbx\": no.secret cannot be read: No such file or directory (os error 2)\nhint: write the password into it, readable for the service only"
        )
    );
    let slip = sample(&REGISTRAR.replace("secret_file = \"bt.secret\"", "secret = \"hunter2\""));
    let told = slip.problems();
    assert!(told.contains("a secret never stands in the configuration"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    for (lines, said) in [
        ("expires = \"30s\"\n", "registrar: `expires = \"30s\"`"),
        ("expires = \"2h\"\n", "registrar: `expires = \"2h\"`"),
        ("expires_min = \"301s\"\n", "registrar: `expires_min = \"301s\"`"),
        ("realm = \"a\\\"b\"\n", "registrar: `realm = \"a\\\"b\"` holds a quote or backslash"),
        ("challenge_calls = \"yes\"\n", "registrar: `challenge_calls = \"yes\"`"),
        ("users = 1\n", "registrar: unknown key `users`\nhint: did you mean `user`?"),
    ] {
        let told = with(lines).problems();
        assert!(told.contains(said), "{told}");
    }
    let many: String = (0..17).map(|n| twice.replace("\"pbx\"", &format!("\"pbx{n}\""))).collect();
    assert_eq!(
        sample(&format!("[trunk.registrar]\n{many}")).problems(),
        at(0, ", registrar has 17 users; 16 are the most")
    );
}

#[test]
fn trunk_without_targets_registers_nowhere_and_names_whom_it_believes() {
    let register = "[trunk.auth]\nuser = \"x\"\nsecret_file = \"bt.secret\"\n[trunk.register]\n";
    let both = sample(&format!("{REGISTRAR}{register}")).edit("tollgate.toml", TARGETS, "");
    let told = both.problems();
    assert!(told.contains("trunk \"bt\": `targets` is missing"), "{told}");
    let tls = |lines: &str| {
        let trunk = format!("{lines}{REGISTRAR}");
        let listener = "[[listener]]\nname = \"pbx\"\ntransport = \"tls\"\nbind = \"0.0.0.0:5063\"\nadvertise = \"203.0.113.10:5063\"\ncertificate = \"wild\"\n[[trunk]]\nname = \"teams\"";
        sample(&trunk)
            .edit("tollgate.toml", TARGETS, "")
            .edit("tollgate.toml", "[[trunk]]\nname = \"teams\"", listener)
            .edit(
                "tollgate.toml",
                "name = \"bt\"\nkind = \"carrier\"\nlistener = \"carrier\"",
                "name = \"bt\"\nkind = \"carrier\"\nlistener = \"pbx\"\nroots = \"root.pem\"",
            )
    };
    let told = tls("").problems();
    let said = "trunk \"bt\": without `targets`, `peer_names` has to say which certificate the PBX shows\nhint: peer_names = [\"pbx.example.net\"]";
    assert!(told.ends_with(said), "{told}");
    let loaded = tls("peer_names = [\"pbx.example.net\"]\n").load();
    assert_eq!(loaded.plan.trunks[2].peer_names, ["pbx.example.net"]);
}

#[test]
fn nobody_registers_as_teams() {
    let roots = "roots = \"root.pem\"\n";
    let directory =
        Directory::sample().edit("tollgate.toml", roots, &format!("{roots}{REGISTRAR}"));
    let told = directory.problems();
    let said = "trunk \"teams\": `registrar` does nothing here: Teams registers with nobody";
    assert!(told.ends_with(said), "{told}");
}
