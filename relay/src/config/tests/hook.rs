//! `[hook]` of a tenant: what it may say, and what is wrong with it.

use super::Directory;
use b2bua::plan::{Fallback, Hook, Roots};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

fn hooked(hook: &str) -> Directory {
    let directory = Directory::sample().with("contoso.token", "t0ken\n");
    let token = directory.path.join("contoso.token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o640)).unwrap();
    directory.edit("tenants.d/contoso.toml", "[limits]", &format!("[hook]\n{hook}\n[limits]"))
}

fn read(hook: &str) -> Hook {
    let loaded = hooked(hook).load();
    let tenant = loaded.plan.tenants.iter().next().unwrap();
    Hook::clone(tenant.hook.as_ref().unwrap())
}

#[test]
fn a_hook_has_what_is_written_and_what_is_usual() {
    let url = "http://127.0.0.1:8080/route";
    let usual = read(&format!("url = \"{url}\""));
    let timeout = Duration::from_millis(500);
    assert_eq!(usual, Hook { url: url.into(), timeout, ..Hook::default() });
    let whole = read(
        "url = \"https://cc.example.net/\"\ntimeout = \"2s\"\ncache = \"60s\"\nfallback = \"refuse\"\n\
         token_file = \"contoso.token\"\nroots = \"root.pem\"",
    );
    assert_eq!(whole.timeout, Duration::from_secs(2));
    assert_eq!(whole.cache, Some(Duration::from_secs(60)));
    assert_eq!(whole.fallback, Fallback::Refuse);
    assert!(whole.token_file.unwrap().ends_with("contoso.token"));
    assert!(matches!(whole.roots, Roots::File(_)));
}

#[test]
fn a_hook_cannot_be_used() {
    let url = "url = \"http://127.0.0.1/\"\n";
    for (written, said) in [
        ("timeout = \"1s\"".to_owned(), "`url` is missing"),
        ("url = \"ftp://a.example/\"".into(), "is not a URL"),
        ("url = \"/route\"".into(), "is not a URL"),
        ("url = \"https://user:pw@a.example/\"".into(), "holds a user or password"),
        (format!("{url}timeout = \"10s\""), "is not between"),
        (format!("{url}timeout = \"1ms\""), "is not between"),
        (format!("{url}cache = false"), "is not a duration"),
        (format!("{url}fallback = \"tabel\""), "is not one of table, refuse"),
        (format!("{url}token = \"s3cret\""), "a secret never stands in the configuration"),
        (format!("{url}token_file = \"nowhere\""), "cannot be read"),
        (format!("{url}token_file = \"tollgate.toml\""), "has more than one line"),
        (format!("{url}roots = \"system\""), "`roots` does nothing here"),
    ] {
        let problems = hooked(&written).problems();
        assert!(problems.contains(said), "{written}: {problems:?}");
        assert!(!problems.contains("s3cret"), "{problems:?}");
    }
}
