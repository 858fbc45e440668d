//! How the media of a trunk's legs is to be carried.

use super::reader::Reader;
use super::value;
use sdp::{LatchPolicy, Terms};

/// Reads the keys of a `[[trunk]]` that are about its media.
pub(crate) fn read(table: &mut Reader<'_>, teams: bool) -> Terms {
    Terms { latch: latch(table, teams) }
}

fn latch(table: &mut Reader<'_>, teams: bool) -> LatchPolicy {
    if teams {
        table.idle("symmetric_rtp", "SRTP from Teams is believed by its authentication");
        return LatchPolicy::Signalled;
    }
    match table.optional_or("symmetric_rtp", value::flag, false) {
        true => LatchPolicy::Symmetric,
        false => LatchPolicy::Signalled,
    }
}
