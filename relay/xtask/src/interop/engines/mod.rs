//! Calls over each way that media takes through the host, and what becomes of them when it is closed.

mod calls;
mod losses;
mod privileges;
mod wire;

use super::scenarios::Scenario;
use super::setting::Setting;

/// All of them, each with the daemon that it is for.
pub(super) fn scenarios() -> Vec<(String, Setting, Scenario)> {
    let named = |(name, setting, play): &(&str, Setting, fn(&mut super::Lab) -> _)| {
        ((*name).to_owned(), *setting, Box::new(*play) as Scenario)
    };
    [calls::ALL, losses::ALL, privileges::ALL].concat().iter().map(named).collect()
}

/// A scenario with its daemon.
type Played = (&'static str, Setting, fn(&mut super::Lab) -> crate::fail::Outcome);
