//! `tollgate check` as a process: what it prints, where, and its exit code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a test that fails")]

use certs::lab::Authority;
use nix::unistd::{Group, Uid};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The committed example in a directory of its own, with certificates, gone with the test.
struct Example {
    path: PathBuf,
}

impl Example {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("tollgate-check-{}-{name}", std::process::id()));
        std::fs::create_dir_all(path.join("tenants.d")).unwrap();
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/config");
        for file in ["tollgate.toml", "tenants.d/contoso.toml", "tenants.d/fabrikam.toml"] {
            let text = std::fs::read_to_string(committed.join(file)).unwrap();
            // The lab's root, so that the test does not depend on the machine's.
            let text = text.replace("# roots = \"microsoft\"", "roots = \"root.pem\"");
            std::fs::write(path.join(file), text).unwrap();
        }
        let authority = Authority::new("Lab").unwrap();
        authority.write_root(&path, "root").unwrap();
        let names = ["sbc1.example.net", "*.sbc1.example.net"];
        authority.leaf(&names).unwrap().write(&path, "wild").unwrap();
        Self { path }
    }

    fn spoil(&self) {
        let file = self.path.join("tenants.d/contoso.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("[\"colt\"", "[\"kolt\"", 1)).unwrap();
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn tollgate(arguments: &[&str], environment: Option<&Path>) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).env_remove("TOLLGATE_CONFIG");
    if let Some(path) = environment {
        command.env("TOLLGATE_CONFIG", path);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_configuration_that_holds_ends_with_0_and_a_summary() {
    let example = Example::new("holds");
    let (code, stdout, stderr) = tollgate(&["check"], Some(&example.path));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    // The lab's key is not RSA, which is a warning.
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].contains("/tollgate.toml:") && lines[0].contains(": warning: "), "{stdout}");
    assert_eq!(lines.last(), Some(&"ok: 2 listeners, 3 trunks, 2 tenants, 111 numbers"));
}

/// Files as root leaves them: the restart would find out.
/// As root of a container may be.
#[test]
fn a_user_that_was_asked_for_is_passed_by_in_silence_where_root_may_not_be_another() {
    if !Uid::effective().is_root() {
        return skipped("only root can look as another user");
    }
    let example = Example::new("confined");
    let mut confined = Command::new("setpriv");
    confined.args(["--bounding-set", "-setuid,-setgid", env!("CARGO_BIN_EXE_tollgate")]);
    confined.args(["check", "--user", "nobody", "--config"]).arg(&example.path);
    let Output { status, stdout, .. } = confined.output().unwrap();
    let told = String::from_utf8(stdout).unwrap();
    assert!(status.success() && told.contains("what the user may read is not known"), "{told}");
}

#[test]
fn what_the_services_user_cannot_read_is_a_warning_with_a_way_out() {
    if !Uid::effective().is_root() {
        return skipped("only root can look as another user");
    }
    let example = Example::new("rights");
    let set = |file: &str, mode| {
        let path = example.path.join(file);
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let told = || {
        let (code, stdout, _) = tollgate(&["check", "--user", "nobody"], Some(&example.path));
        assert_eq!(code, Some(0), "{stdout}");
        let told = stdout.lines().skip_while(|line| !line.contains("user nobody cannot read"));
        told.take_while(|line| !line.starts_with("ok: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let path = example.path.display().to_string();
    for file in ["", "tenants.d"] {
        set(file, 0o755);
    }
    for file in ["tollgate.toml", "tenants.d/contoso.toml", "tenants.d/fabrikam.toml"] {
        set(file, 0o644);
    }
    for file in ["wild.pem", "wild.key", "root.pem"] {
        set(file, 0o644);
    }
    assert_eq!(told(), [""; 0], "all can read");

    set("wild.key", 0o600);
    let key = told();
    assert_eq!(key.len(), 2, "{key:?}");
    assert!(key[0].contains(&format!("{path}/wild.key (0600 root:root)")), "{key:?}");
    let group = std::process::Command::new("id").args(["-gn", "nobody"]).output().unwrap();
    let group = String::from_utf8(group.stdout).unwrap();
    let (group, file) = (group.trim(), format!("{path}/wild.key"));
    assert_eq!(key[1], format!("  hint: chgrp {group} {file} && chmod g+r {file}"));

    // The group has the right already, by its number; a directory keeps it out.
    std::os::unix::fs::chown(&file, None, Some(group_id(group))).unwrap();
    set("wild.key", 0o640);
    assert_eq!(told(), [""; 0], "its group can read");
    set("tenants.d", 0o700);
    let folder = told();
    assert_eq!(folder.len(), 2, "one obstacle, however many files it hides: {folder:?}");
    assert!(folder[0].contains("and 2 more: ") && folder[0].contains("cannot be entered (0700"));
    assert!(folder[1].ends_with(&format!("chmod g+rx {path}/tenants.d")), "{folder:?}");
}

fn group_id(group: &str) -> u32 {
    Group::from_name(group).unwrap().unwrap().gid.as_raw()
}

/// Says so, and fails where nothing may be left out.
#[expect(clippy::print_stderr, reason = "who runs the tests is to see it")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(std::env::var_os("TOLLGATE_STRICT").is_none(), "{why}");
}

#[test]
fn a_configuration_that_does_not_hold_ends_with_1_and_every_problem() {
    let example = Example::new("broken");
    example.spoil();
    let path = example.path.to_str().unwrap();
    let (code, stdout, _) = tollgate(&["check", "--config", path], Some(Path::new("/nonexistent")));
    assert_eq!(code, Some(1));
    let text = std::fs::read_to_string(example.path.join("tenants.d/contoso.toml")).unwrap();
    let at = 1 + text.lines().position(|line| line.contains("kolt")).unwrap();
    let line = format!(
        "{path}/tenants.d/contoso.toml:{at}: route 1 names trunk \"kolt\", which does not exist\nhint: did you mean \"colt\"?\n{path}/tenants.d/contoso.toml: 1 problem\n"
    );
    assert_eq!(stdout, line);

    let file = format!("{path}/tollgate.toml");
    let (code, stdout, _) = tollgate(&["check", "--config", &file, "--json"], None);
    assert_eq!(code, Some(1));
    let value: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(value["ok"], false);
    assert_eq!(value["problems"][0]["line"], at);
    assert_eq!(value["problems"][0]["hint"], "did you mean \"colt\"?");
}

#[test]
fn wrong_usage_ends_with_2() {
    let (code, stdout, stderr) = tollgate(&["check", "--konfig", "x"], None);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("--config"), "{stderr}");
}
