//! Certificates for where there are none: a root of its own, one certificate for the side that is
//! played, one for the border controller, and one for somebody that nobody asked.

use super::Failure;
use super::setup::Side;
use certs::lab::{Authority, Key, LabError, Purpose, Request};
use certs::{Identities, Identity};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a laboratory has.
pub(super) struct Prepared {
    pub(super) root: PathBuf,
    pub(super) identities: Identities,
    /// Of the same root, for a name that has no business here.
    pub(super) stranger: Identities,
    pub(super) told: Vec<String>,
}

/// The name of who has no business here (fixture F-21).
const STRANGER: &str = "attacker.example";
/// What a border controller's certificate and key are called.
const SBC: &str = "sbc";

/// A certificate and its key, under this name.
pub(super) fn load(name: &str, chain: &Path, key: &Path) -> Result<Identities, Failure> {
    let identity = Identity::load(chain, key)?;
    Ok(Identities::new([(name.to_owned(), Arc::new(identity))]))
}

/// Makes what is not there; what is there stays, so that the border controller need not be told
/// another root each time, and nobody's certificates are written over.
pub(super) fn prepare(
    lab: &Path,
    side: Side,
    ours: &[&str],
    theirs: &[&str],
) -> Result<Prepared, Failure> {
    let file = |name: &str, end: &str| lab.join(format!("{name}.{end}"));
    let names = [side.name(), SBC, "stranger"];
    let root = file("root", "pem");
    let files = names.iter().flat_map(|name| [file(name, "pem"), file(name, "key")]);
    let missing = files.into_iter().find(|file| !file.exists());
    let told = match (root.exists(), missing) {
        (true, None) => format!("certificates are those in {}", lab.display()),
        (true, Some(missing)) => return Err(Failure::Foreign { root, missing }),
        (false, _) => {
            make(lab, side, ours, theirs)?;
            format!(
                "certificates were made in {}: the border controller's are {SBC}.pem and {SBC}.key, \
                 and it is to believe root.pem",
                lab.display()
            )
        }
    };
    let identity = |name: &str| load(name, &file(name, "pem"), &file(name, "key"));
    let identities = identity(side.name())?;
    let whole = [(side.name(), ours, identities.clone()), (SBC, theirs, identity(SBC)?)];
    for (name, wanted, identities) in whole {
        let covers = |fqdn: &str| identities.named(name).is_some_and(|it| it.covers(fqdn));
        if let Some(lacks) = wanted.iter().find(|fqdn| !covers(fqdn)) {
            let (file, name) = (file(name, "pem"), (*lacks).to_owned());
            return Err(Failure::Names { file, name });
        }
    }
    Ok(Prepared { identities, stranger: identity("stranger")?, root, told: vec![told] })
}

fn make(lab: &Path, side: Side, ours: &[&str], theirs: &[&str]) -> Result<(), LabError> {
    let failed = |error| LabError::Write { path: lab.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(lab).map_err(failed)?;
    let authority = Authority::new("Emulation")?;
    authority.write_root(lab, "root")?;
    // Microsoft's suites need RSA, and its own certificate is for servers (TDR-TLS-003, TDR-TLS-007).
    let issue = |names: &[&str], purpose| {
        authority.issue(&Request { names, key: Key::Rsa2048, purpose, ..Request::default() })
    };
    issue(ours, Purpose::Server)?.write(lab, side.name())?;
    issue(theirs, Purpose::Both)?.write(lab, SBC)?;
    issue(&[STRANGER], Purpose::Both)?.write(lab, "stranger")?;
    Ok(())
}
