//! `tollgate schema`: the JSON schema of the configuration files, for editors.

use super::Exit;
use crate::config::schema::{File, schema};
use crate::terminal::print;

/// Print the JSON schema of the configuration files, which editors complete from
///
/// An editor that knows taplo (Even Better TOML) reads it where the first line of a file is
/// `#:schema PATH`.
#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    /// Of this file only [default: one schema that both files fit]
    file: Option<File>,
    /// Print JSON, which it is anyway
    #[arg(long, hide = true)]
    json: bool,
}

impl Schema {
    pub(crate) fn run(self) -> Exit {
        print(&format!("{:#}\n", schema(self.file)));
        Exit::Done
    }
}
