//! The arrows of ARCHITECTURE.md, enforced: which of our crates may name which crate, ours or foreign.

use crate::cargo::{Workspace, cargo};
use crate::fail::{Fail, Outcome, While, ensure};
use crate::licence;
use serde_json::Value;

/// Who may depend on a crate of ours. A crate that is not listed may be named by nobody.
///
/// `media` by `tollgate`: the composition root hands the engine the values `media` defines and plays
/// the emulated sides of the demonstration. `emulate` by `tollgate`: the same demonstration.
const OURS: &[(&str, &[&str])] = &[
    ("sip-core", &["b2bua", "emulate", "tollgate", "callflow", "perf"]),
    (
        "sdp",
        &["media", "b2bua", "emulate", "tollgate", "callflow", "perf", "media-engine", "codec"],
    ),
    ("codec", &["media-engine", "callflow", "perf"]),
    ("keystream", &["media"]),
    ("media", &["media-engine", "codec", "emulate", "callflow", "perf", "tollgate"]),
    ("media-engine", &["tollgate", "perf"]),
    ("certs", &["tollgate", "callflow", "perf"]),
    ("b2bua", &["tollgate", "callflow", "perf"]),
    ("emulate", &["tollgate", "callflow", "perf"]),
    ("ng", &["perf", "xtask"]),
];

/// Executors, protocols over sockets and sockets: a sans-IO crate that names one is none any more.
const INPUT_OUTPUT: &[&str] = &[
    "async-std",
    "axum",
    "hickory-resolver",
    "hyper",
    "hyper-util",
    "libc",
    "mio",
    "nix",
    "quinn",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "tokio",
    "tokio-rustls",
];

/// The crates whose job is input and output.
const MAY_DO_INPUT_OUTPUT: &[&str] = &["tollgate", "media-engine", "perf", "xtask"];

/// Oracles and test tools: the product is compared with them (by tests, and by `perf`), it does not
/// contain them.
const ORACLES: &[&str] = &["rsip", "sdp-types", "srtp", "proptest", "divan"];

/// Crates whose manifest names a file instead of a licence; each file was read and is MIT.
const READ_AS_MIT: &[(&str, &str)] = &[("rsip", "0.4.0"), ("rsip-derives", "0.4.0")];

/// Never in the product: a second crypto provider beside aws-lc-rs (ring has no AES-CTR for SRTP).
const ABSENT: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

/// The platform the absence is judged for; elsewhere a dependency may pull in what it likes.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Checks every arrow and gives back how many it looked at.
pub(crate) fn check(workspace: &Workspace) -> Outcome<usize> {
    let mut arrows = 0;
    let mut wrong = Vec::new();
    for package in workspace.ours() {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            arrows += 1;
            wrong.extend(objection(&Arrow::read(package, dependency)));
        }
    }
    wrong.extend(licences(workspace));
    for name in ABSENT {
        wrong.extend(presence(name)?);
    }
    ensure(wrong.is_empty(), || wrong.join("\n")).map(|()| arrows)
}

/// One line of a manifest.
#[derive(Clone, Copy)]
struct Arrow<'a> {
    from: &'a str,
    to: &'a str,
    dev: bool,
    optional: bool,
    ours: bool,
}

impl<'a> Arrow<'a> {
    fn read(package: &'a Value, dependency: &'a Value) -> Self {
        Self {
            from: package["name"].as_str().unwrap_or_default(),
            to: dependency["name"].as_str().unwrap_or_default(),
            dev: dependency["kind"] == "dev",
            optional: dependency["optional"] == true,
            ours: dependency["path"].is_string(),
        }
    }
}

/// What is wrong with an arrow, if anything.
fn objection(arrow: &Arrow<'_>) -> Option<String> {
    let Arrow { from, to, dev, optional, ours } = *arrow;
    if ours {
        let may = OURS.iter().find(|(name, _)| *name == to).map_or(&[][..], |(_, may)| may);
        return (!may.contains(&from)).then(|| {
            format!("{from} names {to}: only [{}] may (ARCHITECTURE.md, arrows)", may.join(", "))
        });
    }
    if INPUT_OUTPUT.contains(&to) && !MAY_DO_INPUT_OUTPUT.contains(&from) {
        return Some(format!("{from} names {to}: it is to stay without input and output"));
    }
    if ORACLES.contains(&to) && !dev && !optional && from != "perf" {
        return Some(format!("{from} names {to}: an oracle belongs to dev-dependencies"));
    }
    None
}

/// Foreign crates whose licence is not on the list.
fn licences(workspace: &Workspace) -> Vec<String> {
    let foreign = workspace.packages().filter(|package| !package["source"].is_null());
    foreign
        .filter_map(|package| {
            let licence = package["license"].as_str().unwrap_or_default();
            let (name, version) = (package["name"].as_str()?, package["version"].as_str()?);
            (!licence::allowed(licence) && !READ_AS_MIT.contains(&(name, version)))
                .then(|| format!("{name} {version}: licence `{licence}` is not on the list"))
        })
        .collect()
}

/// Complains if the daemon would link this crate.
fn presence(name: &str) -> Outcome<Option<String>> {
    let words = [
        "tree", "--locked", "-p", "tollgate", "-e", "normal", "--target", PLATFORM, "--prefix",
        "none",
    ];
    let output = cargo(&words).output().while_("starting cargo")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Fail(format!("cargo tree: {said}")));
    }
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = tree.lines().any(|line| line.split(' ').next() == Some(name));
    Ok(found.then(|| format!("tollgate contains {name}: see `cargo tree -i {name} -e normal`")))
}

#[cfg(test)]
mod tests {
    use super::{Arrow, objection};

    const FOREIGN: Arrow<'_> =
        Arrow { from: "b2bua", to: "bytes", dev: false, optional: false, ours: false };

    #[test]
    fn a_core_that_names_a_socket_is_refused_even_for_its_tests() {
        assert!(objection(&Arrow { to: "tokio", dev: true, ..FOREIGN }).is_some());
        assert!(objection(&Arrow { from: "certs", to: "tokio-rustls", ..FOREIGN }).is_some());
        assert!(objection(&Arrow { from: "tollgate", to: "tokio", ..FOREIGN }).is_none());
    }

    #[test]
    fn the_columns_do_not_meet() {
        let ours = Arrow { ours: true, ..FOREIGN };
        assert!(objection(&Arrow { from: "b2bua", to: "media", ..ours }).is_some());
        assert!(objection(&Arrow { from: "media", to: "sip-core", ..ours }).is_some());
        assert!(objection(&Arrow { from: "media", to: "callflow", ..ours }).is_some());
        assert!(objection(&Arrow { from: "b2bua", to: "sdp", ..ours }).is_none());
    }

    #[test]
    fn an_oracle_stays_outside_the_product() {
        let rsip = Arrow { from: "sip-core", to: "rsip", ..FOREIGN };
        assert!(objection(&rsip).is_some());
        assert!(objection(&Arrow { dev: true, ..rsip }).is_none());
        assert!(objection(&Arrow { optional: true, ..rsip }).is_none());
    }
}
