//! What the daemon was started with stays with it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a test that fails")]

mod running;

use running::Running;
use std::process::Command;

#[test]
fn programs_that_the_daemon_starts_get_none_of_its_capabilities() {
    // As systemd does it with `AmbientCapabilities`.
    let starter = ["setpriv", "--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"];
    let mut probe = Command::new(starter[0]);
    probe.args(&starter[1..]).args(["grep", "CapAmb", "/proc/self/status"]);
    let Ok(probe) = probe.output() else { return skipped("there is no setpriv") };
    if !probe.status.success() {
        return skipped("capabilities can be given by root alone");
    }
    let ambient = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapAmb:")).unwrap().trim();
        u64::from_str_radix(line, 16).unwrap()
    };
    assert_ne!(ambient(&String::from_utf8_lossy(&probe.stdout)), 0);
    let mut running = Running::start("privileges");
    running.restart_by(&starter);
    assert_eq!(ambient(&running.status()), 0);
}

/// Says so, and fails where nothing may be left out.
#[expect(clippy::print_stderr, reason = "who runs the tests is to see it")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(std::env::var_os("TOLLGATE_STRICT").is_none(), "{why}");
}
