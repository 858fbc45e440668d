//! What a call costs in memory while it stands.

use super::lab::{Lab, Media};
use super::load::Play;
use super::subject::Subject;
use super::{Failure, Way};
use crate::clock;
use serde::Serialize;
use std::time::Duration;

/// Memory of calls that stand.
#[derive(Serialize)]
pub(super) struct Standing {
    way: Way,
    calls: u64,
    /// Resident octets before the first.
    before: u64,
    /// Once the last is answered, with the transactions of all of them.
    answered: u64,
    /// Once their transactions are over.
    settled: u64,
}

impl Standing {
    pub(super) const fn way(&self) -> Way {
        self.way
    }

    pub(super) const fn calls(&self) -> u64 {
        self.calls
    }

    /// Kilobytes of one call whose transactions are over.
    pub(super) fn settled_kb(&self) -> f64 {
        self.settled.saturating_sub(self.before) as f64 / self.calls.max(1) as f64 / 1000.0
    }

    /// Kilobytes of one call that has just been answered.
    pub(super) fn answered_kb(&self) -> f64 {
        self.answered.saturating_sub(self.before) as f64 / self.calls.max(1) as f64 / 1000.0
    }
}

/// Sets up `calls` in a fresh Tollgate, looks, and hangs them up.
pub(super) fn measure(
    lab: &Lab,
    way: Way,
    media: Media<'_>,
    calls: u32,
) -> Result<Standing, Failure> {
    let mut subject = lab.start_tollgate(way, media)?;
    crate::complain(&format!("{calls} standing calls, {}", way.name()));
    // The first call brings code and tables into memory that all others share.
    let mut play = Play::new(&subject, None);
    play.caller.begin(clock::monotonic());
    run(&mut play, &mut subject, |play| play.caller.tally.answered == 1)?;
    let before = subject.usage()?.resident;
    let began = clock::monotonic();
    let wanted = u64::from(calls) + 1;
    run(&mut play, &mut subject, |play| {
        let since = (clock::monotonic() - began).as_secs_f64();
        let due = ((since * SETUP_CPS) as u64).min(wanted);
        while play.caller.tally.begun < due {
            play.caller.begin(clock::monotonic());
        }
        play.caller.tally.answered + play.caller.tally.failed == wanted
    })?;
    if play.caller.tally.failed > 0 {
        return Err(format!("calls failed: {:?}", play.caller.tally.why).into());
    }
    let answered = subject.usage()?.resident;
    crate::complain("waiting until their transactions are over");
    let due = clock::monotonic() + TRANSACTIONS_OVER;
    run(&mut play, &mut subject, |_| clock::monotonic() > due)?;
    let settled = subject.usage()?.resident;
    run(&mut play, &mut subject, |play| {
        for _ in 0..HANG_UP_LOT {
            play.caller.hang_up_first(clock::monotonic());
        }
        play.caller.pending() == 0
    })?;
    subject.stop()?;
    Ok(Standing { way, calls: calls.into(), before, answered, settled })
}

/// Plays on until `done`.
fn run(
    play: &mut Play,
    subject: &mut Subject,
    mut done: impl FnMut(&mut Play) -> bool,
) -> Result<(), Failure> {
    let due = clock::monotonic() + LONGEST;
    while !done(play) {
        if !play.turn(subject)? {
            subject.wire.wait(Duration::from_millis(2));
        }
        if clock::monotonic() > due {
            return Err("calls do not come to stand or to an end".into());
        }
    }
    Ok(())
}

/// Slow enough that nothing is repeated.
const SETUP_CPS: f64 = 250.0;
const HANG_UP_LOT: usize = 4;
/// 64*T1 after the 200 (RFC 3261, 17 and RFC 6026), and a little.
const TRANSACTIONS_OVER: Duration = Duration::from_secs(35);
const LONGEST: Duration = Duration::from_secs(120);
