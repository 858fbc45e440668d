//! `roots`: which authorities may have issued the certificate of a far side.

use super::problem::{At, Place, Problems};
use super::reader::Wrong;
use super::value;
use b2bua::plan::Roots;
use std::path::Path;
use toml::de::DeValue;

/// `roots`, before its file is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RootsDraft {
    System,
    Microsoft,
    File(String),
}

/// `system`, `microsoft`, or the name of a file.
pub(crate) fn read(written: &DeValue<'_>) -> Result<RootsDraft, Wrong> {
    Ok(match value::path(written)? {
        system if system == "system" => RootsDraft::System,
        microsoft if microsoft == "microsoft" => RootsDraft::Microsoft,
        file => RootsDraft::File(file),
    })
}

/// The roots that are believed; those that cannot be read are a problem of `whose`. `usual`, if none
/// are written.
pub(crate) fn load(
    directory: &Path,
    written: &[At<RootsDraft>],
    usual: Roots,
    (whose, place): (&str, Place),
    problems: &Problems,
) -> Roots {
    let named = |at: &At<RootsDraft>| match &at.value {
        RootsDraft::File(file) => Roots::File(directory.join(file)),
        RootsDraft::System => Roots::System,
        RootsDraft::Microsoft => Roots::Microsoft,
    };
    let check = |roots: &Roots, place: Place| {
        if let Err(error) = crate::transport::load_roots(roots) {
            let message = format!("{whose}: roots: {} {}", error.path.display(), error.problem);
            problems.error(place, message, Some(error.hint().to_owned()));
        }
    };
    let mut all: Vec<Roots> = Vec::new();
    for at in written {
        let roots = named(at);
        check(&roots, at.place);
        all.push(roots);
    }
    match (all.pop(), all.is_empty()) {
        (None, _) => {
            check(&usual, place);
            usual
        }
        (Some(one), true) => one,
        (Some(last), false) => {
            all.push(last);
            Roots::All(all)
        }
    }
}
