//! How the daemon of a scenario is run: which way its media takes, and with which privileges.

use super::lab;
use crate::fail::{Outcome, While};
use std::path::Path;
use std::process::Command;

/// What differs from a daemon that root starts with what is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// `engine`, and `offload`.
    pub(super) media: Option<(&'static str, bool)>,
    pub(super) privileges: Privileges,
}

/// What the daemon may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privileges {
    /// Whatever root may.
    All,
    /// What the unit gives with the drop-in for fast media, to a user of its own.
    OfTheUnit,
    /// Nothing: a user of its own.
    No,
}

impl Privileges {
    /// As setpriv(1) has them; `None` where nothing is taken away.
    fn capabilities(self) -> Option<String> {
        let of_the_unit = || {
            let line = DROP_IN.lines().find_map(|line| line.strip_prefix("AmbientCapabilities="));
            let names = line.unwrap_or_default().split_whitespace();
            names.map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()))
        };
        match self {
            Self::All => None,
            Self::OfTheUnit => {
                // The drop-in lifts the limit of locked memory, which not every machine lets root do.
                Some(of_the_unit().fold("-all,+ipc_lock".to_owned(), |all, it| all + &it))
            }
            Self::No => Some("-all".to_owned()),
        }
    }
}

impl Setting {
    /// Nothing does.
    pub(super) const USUAL: Self = Self { media: None, privileges: Privileges::All };

    /// Media goes this way.
    pub(super) const fn of(engine: &'static str, offload: bool) -> Self {
        Self { media: Some((engine, offload)), privileges: Privileges::All }
    }

    /// Further lines of `tollgate.toml`.
    pub(super) fn host(&self) -> String {
        let (partner, port) = (lab::PARTNER, lab::SIP_PORT);
        let media = self.media.map_or_else(String::new, |(engine, offload)| {
            format!("\n[media]\nengine = \"{engine}\"\noffload = {offload}\n")
        });
        format!(
            r#"{media}
[[trunk]]
name = "partner"
kind = "carrier"
listener = "carriers"
targets = ["{partner}:{port}"]
sources = ["{partner}/32"]
srtp = "off"
options_interval = "off"
"#
        )
    }

    /// The binary, run by whom it is to be.
    pub(super) fn command(&self, binary: &Path, folder: &Path) -> Outcome<Command> {
        let Some(capabilities) = self.privileges.capabilities() else {
            return Ok(Command::new(binary));
        };
        // With the certificates beside it, and the program: whoever builds it may let nobody in there.
        let all = folder.parent().unwrap_or(folder);
        let program = all.join("program");
        if !program.exists() {
            std::fs::copy(binary, &program).while_(binary.display())?;
        }
        let owner = format!("{USER}:{USER}");
        let status = Command::new("chown").args(["-R", &owner]).arg(all).status();
        status.while_("chown")?;
        let mut command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--no-new-privs"]);
        for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
            command.arg(format!("{set}={capabilities}"));
        }
        command.arg(program);
        Ok(command)
    }
}

const DROP_IN: &str = include_str!("../../../../systemd/fast-media.conf");
/// Nobody's.
const USER: &str = "65534";

/// The tenant of the carrier on the other wire.
pub(super) fn tenant() -> String {
    let (base, number) = (lab::BASE_FQDN, lab::PARTNER_NUMBER);
    format!(
        "fqdns = [\"partner.{base}\"]\nnumbers = [\"{number}\"]\n\n\
         [[route]]\nfrom = \"carrier\"\nmatch = \"*\"\nto = [\"partner\"]\n"
    )
}
