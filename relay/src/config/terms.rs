//! How the media of a trunk's legs is to be carried.

use super::reader::Reader;
use super::value;
use sdp::{Dtmf, LatchPolicy, Rtcp, Terms};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Shorter than some intervals of RTCP, a call that lives would be taken for dead.
const MEDIA_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_secs(15)..=Duration::from_secs(86_400);

/// Less is what silence suppression makes of a pause in speech.
const RELATCH_AFTER: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(3600);

const RTCP: &[(&str, Rtcp)] = &[("relay", Rtcp::Relay), ("terminate", Rtcp::Terminate)];

/// Reads the keys of a `[[trunk]]` that are about its media.
pub(crate) fn read(table: &mut Reader<'_>, teams: bool) -> Terms {
    let latch = latch(table, teams);
    Terms {
        latch,
        relatch_after: relatch_after(table, latch),
        rtcp: table.optional_or("rtcp", value::one_of(RTCP), Rtcp::default()),
        media_timeout: media_timeout(table),
        dtmf: dtmf(table, teams),
        comfort_noise: table.optional_or("comfort_noise", value::flag, false),
        ..Terms::default()
    }
}

/// Off by default: whose far side is gone is found by the session timer, and who is on the line hangs
/// up.
fn media_timeout(table: &mut Reader<'_>) -> Option<Duration> {
    table.optional_or("media_timeout", value::off_or_duration(MEDIA_TIMEOUT), None)
}

/// Off by default: silence is no proof of anything, and who waits for it may be anybody.
fn relatch_after(table: &mut Reader<'_>, latch: LatchPolicy) -> Option<Duration> {
    let written = table.optional("relatch_after", value::off_or_duration(RELATCH_AFTER))?;
    if latch != LatchPolicy::Symmetric {
        let said = "`relatch_after` is of no use: without symmetric_rtp only the signalled address is believed";
        table.warning(written.place, said, None);
        return None;
    }
    written.value
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

const DTMF: &[(&str, Dtmf)] = &[
    ("auto", Dtmf::Auto),
    ("rfc4733", Dtmf::Rfc4733),
    ("info", Dtmf::Info),
    ("inband", Dtmf::Inband),
];

fn dtmf(table: &mut Reader<'_>, teams: bool) -> Dtmf {
    if teams {
        table.idle("dtmf", "Teams tells keys, and is told them, by telephone events alone");
        return Dtmf::Rfc4733;
    }
    table.optional_or("dtmf", value::one_of(DTMF), Dtmf::default())
}
