//! Checks what an operator installs: the example configuration and the systemd unit.

use crate::bench::{Bench, TemporaryFolder};
use crate::fail::{Fail, Outcome, While, ensure};
use crate::interop::Authority;
use crate::packages;
use crate::tally::Tally;
use std::path::Path;
use std::process::Command;

/// `tollgate check` on the committed example, with certificates where it names them.
pub(crate) fn example_configuration(bench: &Bench) -> Outcome<Tally> {
    let missing = packages::provide(&[packages::OPENSSL], &bench.scratch)?;
    if !missing.is_empty() {
        return Ok(Tally::skip("example-configuration (needs openssl)"));
    }
    let binary = bench.release_binary()?;
    let mut folder = TemporaryFolder::new("example")?;
    let example = bench.workspace.root.join("systemd/config");
    copy(&example, folder.path())?;
    give_certificates(folder.path())?;
    let mut command = Command::new(binary);
    command.args(["check", "--config"]).arg(folder.path());
    let finished = bench.watch(&mut command, "example-configuration.log")?;
    if finished.success() {
        return Ok(Tally::pass());
    }
    folder.keep();
    Err(Fail(finished.account()))
}

fn copy(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to).while_(to.display())?;
    for entry in std::fs::read_dir(from).while_(from.display())? {
        let path = entry.while_(from.display())?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            std::fs::copy(&path, to.join(name)).while_(path.display())?;
        }
    }
    Ok(())
}

/// Puts a throw-away chain and key wherever the example's `chain`, `key` and `roots` point, and turns
/// absolute paths, which belong to a real host, into ones below the copy.
fn give_certificates(folder: &Path) -> Outcome {
    let file = folder.join("tollgate.toml");
    let text = std::fs::read_to_string(&file).while_(file.display())?;
    let authority = Authority::new(folder, "example", "Example CA")?;
    let leaf = authority.leaf("leaf", &example_names(&text), "serverAuth,clientAuth")?;
    let mut moved = text.clone();
    for (key, content) in [("chain", &leaf.chain), ("key", &leaf.key), ("roots", &authority.root)] {
        for value in
            values(&text, key).into_iter().filter(|value| value != "system" && value != "microsoft")
        {
            let local = folder.join(value.trim_start_matches('/'));
            if let Some(parent) = local.parent() {
                std::fs::create_dir_all(parent).while_(parent.display())?;
            }
            std::fs::copy(content, &local).while_(local.display())?;
            moved = moved.replace(&format!("\"{value}\""), &format!("\"{}\"", local.display()));
        }
    }
    std::fs::write(&file, moved).while_(file.display())
}

/// The node's name and the wildcard below it: what its tenants' names need.
fn example_names(text: &str) -> String {
    let node = values(text, "fqdn").into_iter().next().unwrap_or_default();
    format!("DNS:{node},DNS:*.{node}")
}

/// The quoted values of a key wherever it stands at the start of a line.
fn values(text: &str, key: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))
        .filter_map(|value| Some(value.trim().strip_prefix('"')?.split_once('"')?.0.to_owned()))
        .collect()
}

/// The unit as the service manager reads it, pointed at the binary built here.
pub(crate) fn unit(bench: &Bench) -> Outcome<Tally> {
    let missing = packages::provide(packages::UNIT, &bench.scratch)?;
    if !missing.is_empty() {
        return Ok(Tally::skip(format!("unit (needs {})", packages::names(&missing))));
    }
    let binary = bench.release_binary()?;
    let folder = TemporaryFolder::new("unit")?;
    let source = bench.workspace.root.join("systemd/tollgate.service");
    let text = std::fs::read_to_string(&source).while_(source.display())?;
    ensure(text.contains(INSTALLED), || format!("{}: no {INSTALLED}", source.display()))?;
    let copy = folder.path().join("tollgate.service");
    let pointed = text.replace(INSTALLED, &binary.display().to_string());
    std::fs::write(&copy, pointed).while_(copy.display())?;
    // What the media engines need is on top of it, as an operator would have it.
    let drop_ins = folder.path().join("tollgate.service.d");
    std::fs::create_dir(&drop_ins).while_(drop_ins.display())?;
    let fast = bench.workspace.root.join("systemd/fast-media.conf");
    std::fs::copy(&fast, drop_ins.join("fast-media.conf")).while_(fast.display())?;
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).arg(&copy);
    let finished = bench.watch(&mut command, "unit.log")?;
    // It exits 0 for a directive it does not know and only says so.
    let complaint = finished.said.lines().any(|line| line.contains("tollgate.service"));
    ensure(finished.success() && !complaint, || finished.account())?;
    Ok(Tally::pass())
}

/// Where the package puts the binary.
const INSTALLED: &str = "/usr/bin/tollgate";

#[cfg(test)]
mod tests {
    use super::{example_names, values};

    const TEXT: &str =
        "[node]\nfqdn = \"sbc.example\"   # name\n# chain = \"no.pem\"\nchain=\"a.pem\"\n";

    #[test]
    fn a_commented_value_is_no_value() {
        assert_eq!(values(TEXT, "chain"), ["a.pem"]);
        assert_eq!(example_names(TEXT), "DNS:sbc.example,DNS:*.sbc.example");
    }
}
