//! `tollgate check` as a process: what it prints, where, and its exit code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a test that fails")]

use certs::lab::Authority;
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
