//! What a reload refuses, by name, before anything is applied.

use super::{CONTOSO, Directory};
use crate::config::refusals;
use crate::transport::StartError;
use b2bua::plan::Transport;

/// The refusals of a reload after one edit of the sample.
fn refused(old: &str, new: &str) -> Vec<String> {
    let directory = Directory::sample();
    let before = directory.load();
    let directory = directory.edit("tollgate.toml", old, new);
    let refused = refusals(&before, &directory.load());
    refused.iter().map(|problem| directory.told(std::slice::from_ref(problem))).collect()
}

#[test]
fn sockets_and_threads_stay() {
    let table: &[(&str, &str, &str)] = &[
        (
            "/admin.sock",
            "/other.sock",
            "tollgate.toml:3: [admin]: `socket` cannot change from /run/tollgate/admin.sock to /run/tollgate/other.sock without a restart",
        ),
        (
            ":9464",
            ":9465",
            "tollgate.toml:5: [metrics]: `listen` cannot change from 127.0.0.1:9464 to 127.0.0.1:9465 without a restart",
        ),
        (
            "workers = 1",
            "workers = 2",
            "tollgate.toml:7: [media]: `workers` cannot change from 1 to 2 without a restart",
        ),
        (
            "\"auto\"",
            "\"portable\"",
            "tollgate.toml:7: [media]: `engine` cannot change from auto to portable without a restart",
        ),
        (
            "engine = \"auto\"",
            "offload = true",
            "tollgate.toml:7: [media]: `offload` cannot change from false to true without a restart",
        ),
    ];
    for (old, new, expected) in table {
        assert_eq!(refused(old, new), [*expected]);
    }
}

#[test]
fn media_addresses_come_and_go() {
    let media = "[[media.address]]\nname = \"inside\"\nbind = \"10.0.0.1\"\nports = \"30000-30099\"\n[resolve]";
    assert_eq!(refused("[resolve]", media), [""; 0]);
    assert_eq!(refused("20000-29999", "20000-39999"), [""; 0]);
    let directory = Directory::sample().edit("tollgate.toml", "[resolve]", media);
    let before = directory.load();
    let directory = directory.edit("tollgate.toml", media, "[resolve]");
    assert_eq!(refusals(&before, &directory.load()), []);
}

#[test]
fn everything_else_may_change() {
    let listener = "[[listener]]\nname = \"new\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:5062\"\n[[trunk]]\nname = \"teams\"";
    assert_eq!(refused("[[trunk]]\nname = \"teams\"", listener), [""; 0]);
    assert_eq!(refused("\"0.0.0.0:5060\"", "\"0.0.0.0:5070\""), [""; 0]);
    assert_eq!(refused("transport = \"udp\"", "transport = \"tcp\""), [""; 0]);
    assert_eq!(refused("203.0.113.10:5061", "203.0.113.11:5061"), [""; 0]);
    assert_eq!(refused("\"192.0.2.7:5060\"", "\"192.0.2.8:5060\", \"192.0.2.9:5060\""), [""; 0]);
    assert_eq!(refused("advertise = \"203.0.113.10\"", "advertise = \"203.0.113.12\""), [""; 0]);
    let limits = "sources = [\"198.51.100.20\"]\n[trunk.limits]\ncalls = 3";
    assert_eq!(refused("sources = [\"198.51.100.20\"]", limits), [""; 0]);
    let directory = Directory::sample();
    let before = directory.load();
    let fabrikam = CONTOSO.replace("contoso", "fabrikam").replace("+4930", "+4940");
    let directory = directory.with("tenants.d/fabrikam.toml", &fabrikam);
    assert_eq!(refusals(&before, &directory.load()), []);
}

#[test]
fn an_engine_that_cannot_be_had_is_not_told_with_its_line() {
    let directory = Directory::sample().edit("tollgate.toml", "\"auto\"", "\"steer\"");
    let text = std::fs::read_to_string(directory.path.join("tollgate.toml")).unwrap();
    let line = text.lines().position(|line| line.starts_with("engine")).unwrap() + 1;
    let problem = directory.load().engine_is_not_here("no programs here");
    let told = directory.told(&[problem]);
    let wanted =
        format!("tollgate.toml:{line}: `engine = \"steer\"` cannot be had here: no programs");
    assert!(told.starts_with(&wanted) && told.contains("media-engine.md"), "{told}");
}

#[test]
fn an_address_that_cannot_be_bound_is_not_told_with_its_line() {
    let directory = Directory::sample();
    let text = std::fs::read_to_string(directory.path.join("tollgate.toml")).unwrap();
    let line = text.lines().position(|line| line.contains("0.0.0.0:5061")).unwrap() + 1;
    let error = StartError::Bind {
        listener: "teams".into(),
        transport: Transport::Tls,
        address: "192.0.2.1:5061".parse().unwrap(),
        error: std::io::ErrorKind::AddrNotAvailable.into(),
    };
    let problem = crate::in_force::problem(&error, &directory.load()).unwrap();
    let wanted = format!(
        "tollgate.toml:{line}: listener \"teams\" cannot use tls 192.0.2.1:5061: address not available\n\
         hint: is the address on this host"
    );
    let told = directory.told(&[problem]);
    assert!(told.starts_with(&wanted), "{told}");
}
