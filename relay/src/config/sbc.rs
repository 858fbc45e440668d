//! `[[sbc]]` of a tenant: SBCs behind this one, which Teams reaches through us (Local Media Optimization,
//! docs/operations/local-media.md).

use super::problem::{At, Problems};
use super::reader::Reader;
use super::route::Tables;
use super::{teams, value};
use b2bua::plan::{Sbc, TrunkKind};

/// SBCs of one tenant: branches with telephone lines of their own.
pub(super) const SBCS_MAX: usize = 256;

/// One `[[sbc]]`, as read.
#[derive(Debug)]
pub(crate) struct SbcDraft {
    pub(crate) fqdn: Option<At<String>>,
    trunk: Option<At<String>>,
    whose: String,
}

/// Reads one `[[sbc]]`.
pub(super) fn read(table: &mut Reader<'_>) -> SbcDraft {
    SbcDraft {
        fqdn: table.required("fqdn", teams::sbc_fqdn),
        trunk: table.required("trunk", value::name),
        whose: table.whose().to_owned(),
    }
}

/// The SBCs with the trunks that lead to them; `None` only if a problem has been reported.
pub(super) fn link(
    drafts: &[SbcDraft],
    tables: &Tables<'_>,
    problems: &Problems,
) -> Option<Vec<Sbc>> {
    let sbcs = drafts.iter().map(|draft| {
        let name = draft.trunk.as_ref()?;
        let trunk = tables.trunks.find(name, &draft.whose, problems)?;
        if tables.host.trunks.get(trunk)?.kind == Some(TrunkKind::Teams) {
            let message = format!(
                "{}: trunk \"{}\" leads to Teams, and not to an SBC behind us",
                draft.whose, name.value
            );
            problems.error(name.place, message, None);
        }
        Some(Sbc { fqdn: draft.fqdn.as_ref()?.value.clone(), trunk })
    });
    let sbcs: Vec<Option<Sbc>> = sbcs.collect();
    sbcs.into_iter().collect()
}
