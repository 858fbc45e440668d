//! The private network: own network, mount and process namespaces that end with the last scenario, so that
//! nothing is left on the host and nothing on the host gets in between.

use super::process::PATH;
use super::{INSIDE, lab};
use crate::fail::{Fail, Outcome, While, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

/// What `unshare` is to open; with the last one everyone inside dies with it.
const NAMESPACES: &[&str] =
    &["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// Can this machine open one?
pub(super) fn probe() -> Outcome {
    let output = unshare().arg("true").output().while_("unshare")?;
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Runs this program again inside, under its hidden verb.
pub(super) fn run_inside(folder: &Path, binary: &Path, only: &str) -> Outcome {
    let own = std::env::current_exe().while_("own path")?;
    let mut command = unshare();
    command.arg(own).arg(INSIDE).arg(folder).arg(binary).arg(only);
    let status = command.stdin(Stdio::null()).status().while_("unshare")?;
    ensure(status.success(), || format!("the private network: {status}"))
}

/// Sets up what the scenarios need: the loopback network and the three names of Teams.
pub(super) fn prepare(folder: &Path) -> Outcome {
    ensure(std::process::id() < 10, || "not inside a private network".to_owned())?;
    run("ip", &["link", "set", "lo", "up"])?;
    let hosts = folder.join("hosts");
    let text = format!(
        "127.0.0.1 localhost\n127.0.1.1 sip.pstnhub.microsoft.com\n\
         127.0.1.2 sip2.pstnhub.microsoft.com\n127.0.1.3 sip3.pstnhub.microsoft.com\n{} {}\n",
        lab::BORDER,
        lab::BASE_FQDN
    );
    std::fs::write(&hosts, text).while_(hosts.display())?;
    run("mount", &["--bind", &hosts.display().to_string(), "/etc/hosts"])
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command
        .args(NAMESPACES)
        .env("PATH", format!("{}:{PATH}", std::env::var("PATH").unwrap_or_default()));
    command
}

fn run(program: &str, words: &[&str]) -> Outcome {
    let output = Command::new(program).args(words).env("PATH", PATH).output().while_(program)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Fail(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))))
}
