//! `[trunk.auth]` and its file.

use super::{Directory, HOST};
use b2bua::accounts::Secret;
use std::os::unix::fs::PermissionsExt;

const MAIN: &str = "tollgate.toml";
const BT: &str = "sources = [\"198.51.100.20\"]\n";

/// The sample with these lines at the end of trunk bt, and a secret that only its owner can read.
pub(super) fn sample(lines: &str) -> Directory {
    let directory = Directory::sample().edit(MAIN, BT, &format!("{BT}{lines}"));
    directory.secret("bt.secret", "s3cret\n", 0o600)
}

impl Directory {
    pub(super) fn secret(self, file: &str, text: &str, mode: u32) -> Self {
        let directory = self.with(file, text);
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(directory.path.join(file), permissions).unwrap();
        directory
    }
}

/// The line that is the first after the sample.
pub(super) fn next_line() -> usize {
    HOST.lines().count() + 1
}

const AUTH: &str = "[trunk.auth]\nuser = \"trunk-7\"\nsecret_file = \"bt.secret\"\n";

#[test]
fn secret_is_the_files_line_without_its_end() {
    for text in ["s3cret", "s3cret\n", "s3cret\r\n"] {
        let loaded = sample(AUTH).secret("bt.secret", text, 0o640).load();
        let account = loaded.plan.trunks[2].accounts.ours.clone().unwrap();
        assert_eq!((account.user.as_str(), &account.realm), ("trunk-7", &None));
        assert_eq!(account.secret, Secret::new("s3cret"));
        assert!(loaded.plan.trunks[1].accounts.ours.is_none());
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
    let realm = format!("{AUTH}realm = \"sip.bt.example\"\n");
    let loaded = sample(&realm).load();
    let account = loaded.plan.trunks[2].accounts.ours.clone().unwrap();
    assert_eq!(account.realm.as_deref(), Some("sip.bt.example"));
}

#[test]
fn secret_that_everybody_can_read_is_complained_about() {
    let directory = sample(AUTH).secret("bt.secret", "s3cret", 0o644);
    let told = directory.told(&directory.load().warnings);
    let line = next_line() + 2;
    assert_eq!(
        told,
        format!(
            "tollgate.toml:{line}: trunk \"bt\", auth: bt.secret is open to everybody on this host\n\
             hint: chmod o-rwx bt.secret"
        )
    );
}

#[test]
fn each_mistake_is_told_and_no_secret_is() {
    let line = next_line();
    let at = |more: usize, said: &str| {
        format!("tollgate.toml:{}: trunk \"bt\", auth: {said}", line + more)
    };
    let only = "hint: the file holds the password and nothing else";
    for (old, new, expected) in [
        ("user = \"trunk-7\"\n", "", at(0, "`user` is missing")),
        (
            "\"trunk-7\"",
            "\"a:b\"",
            at(
                1,
                "`user = \"a:b\"` holds a colon, which separates user and realm (RFC 7616, 3.4.2)",
            ),
        ),
        ("\"trunk-7\"", "\"\"", at(1, "`user = \"\"` is empty")),
        (
            "secret_file = \"bt.secret\"",
            "secret_file = \"bt.secret\"\nrealm = \"a\\\"b\"",
            at(3, "`realm = \"a\\\"b\"` holds a quote or backslash"),
        ),
        (
            "bt.secret",
            "no.secret",
            at(
                2,
                "no.secret cannot be read: No such file or directory (os error 2)\nhint: write the password into it, readable for the service only",
            ),
        ),
        ("bt.secret", "two", at(2, &format!("two has more than one line\n{only}"))),
        ("bt.secret", "none", at(2, "none is empty\nhint: write the password into it")),
        (
            "bt.secret",
            "long",
            at(2, &format!("long has 300 octets; a secret has at most 256\n{only}")),
        ),
    ] {
        let directory = sample(&AUTH.replace(old, new))
            .secret("two", "s3cret\nmore\n", 0o600)
            .secret("none", "\n", 0o600)
            .secret("long", &"x".repeat(300), 0o600);
        let told = directory.problems();
        assert_eq!(told, expected);
        assert!(!told.contains("s3cret"));
    }
}

#[test]
fn secret_in_the_configuration_itself_is_refused_and_not_shown() {
    let directory = sample("[trunk.auth]\nuser = \"trunk-7\"\nsecret = \"hunter2\"\n");
    let told = directory.problems();
    assert!(told.contains("a secret never stands in the configuration"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn teams_challenges_nobody() {
    let directory = Directory::sample().edit(
        MAIN,
        "roots = \"root.pem\"\n",
        "roots = \"root.pem\"\n[trunk.auth]\nuser = \"x\"\nsecret_file = \"x\"\n",
    );
    let told = directory.problems();
    let said = "trunk \"teams\": `auth` does nothing here: Teams knows us by our certificate and challenges nobody";
    assert!(told.ends_with(said), "{told}");
}

const REGISTER: &str =
    "[trunk.auth]\nuser = \"trunk-7\"\nsecret_file = \"bt.secret\"\n[trunk.register]\n";

#[test]
fn registration_takes_its_name_and_domain_from_account_and_target() {
    let register = |lines: &str| {
        let loaded = sample(&format!("{REGISTER}{lines}")).load();
        let register = loaded.plan.trunks[2].accounts.register.clone().unwrap();
        (register.user, register.domain, register.expires.as_secs())
    };
    assert_eq!(register(""), ("trunk-7".into(), "198.51.100.20".into(), 3600));
    let all = "user = \"4930\"\ndomain = \"SIP.bt.example\"\nexpires = \"10m\"\n";
    assert_eq!(register(all), ("4930".into(), "sip.bt.example".into(), 600));
}

#[test]
fn registration_that_cannot_be() {
    let line = next_line();
    let at = |more: usize, said: &str| {
        format!("tollgate.toml:{}: trunk \"bt\", register: {said}", line + more)
    };
    for (lines, expected) in [
        (
            "[trunk.register]\n".to_owned(),
            at(
                0,
                "no registrar takes us without `[trunk.auth]`\nhint: [trunk.auth] user = \"...\" secret_file = \"...\"",
            ),
        ),
        (
            REGISTER.replace("trunk-7", "trunk 7"),
            at(
                3,
                "user \"trunk 7\" of `[trunk.auth]` cannot stand in a SIP URI\nhint: write the user part of the address-of-record: user = \"4930123450\"",
            ),
        ),
        (
            format!("{REGISTER}user = \"a@b\"\n"),
            at(
                4,
                "`user = \"a@b\"` cannot stand in a SIP URI\nhint: the part before the @ of the address-of-record: \"4930123450\"",
            ),
        ),
        (
            format!("{REGISTER}domain = \"bt.example:5060\"\n"),
            at(
                4,
                "`domain = \"bt.example:5060\"` has a port, which an address-of-record has not\nhint: did you mean \"bt.example\"?",
            ),
        ),
    ] {
        assert_eq!(sample(&lines).problems(), expected);
    }
    let brief = sample(&format!("{REGISTER}expires = \"5s\"\n")).problems();
    assert!(brief.contains("register: `expires = \"5s\"`"), "{brief}");
}
