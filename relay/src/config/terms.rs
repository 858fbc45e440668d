//! How the media of a trunk's legs is to be carried.

use super::reader::Reader;
use super::value;
use sdp::{LatchPolicy, Rtcp, Terms};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Shorter than some intervals of RTCP, a call that lives would be taken for dead.
const MEDIA_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_secs(15)..=Duration::from_secs(86_400);

const RTCP: &[(&str, Rtcp)] = &[("relay", Rtcp::Relay), ("terminate", Rtcp::Terminate)];

/// Reads the keys of a `[[trunk]]` that are about its media.
pub(crate) fn read(table: &mut Reader<'_>, teams: bool) -> Terms {
    Terms {
        latch: latch(table, teams),
        rtcp: table.optional_or("rtcp", value::one_of(RTCP), Rtcp::default()),
        media_timeout: media_timeout(table),
        ..Terms::default()
    }
}

/// Off by default: whose far side is gone is found by the session timer, and who is on the line hangs
/// up.
fn media_timeout(table: &mut Reader<'_>) -> Option<Duration> {
    table.optional_or("media_timeout", value::off_or_duration(MEDIA_TIMEOUT), None)
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
