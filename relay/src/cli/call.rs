//! `tollgate call ID`: one call, with what comes from each side and what the other gets of it; one that is
//! over as its record tells.

mod heard;
pub(super) mod over;

use super::calls::FLOWS;
use super::daemon::{answer, as_json, problems_told};
use super::{ConfigFlag, Exit};
use crate::admin::{Answer, CallRow, FAX, Request};
use crate::terminal::{complain, print, print_json};
use crate::{config, past_calls};
use heard::{FAX_WORD, carried, direction};
use serde_json::Value;
use std::fmt::Write as _;

/// Show one call: both directions as measured, why one is not heard, and where it went; of one that is over how it ended, too
///
/// A call that is over is read from the file of records, also where the daemon does not run.
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// Its number in `tollgate calls` (of one that is over: in `tollgate calls --over`), or the Call-ID of either leg
    call: String,
    #[command(flatten)]
    config: ConfigFlag,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Call {
    pub(crate) fn run(self) -> Exit {
        match self.live() {
            Ok(answer @ Answer::Call { .. }) => {
                match (self.json, answer) {
                    (true, answer) => print_json(&as_json(answer)),
                    (false, Answer::Call { call, media }) => print(&text(&call, media.as_ref())),
                    (false, _) => {}
                }
                Exit::Done
            }
            Ok(refused) => self.over().unwrap_or_else(|| {
                match (self.json, refused) {
                    (true, refused) => print_json(&as_json(refused)),
                    (false, Answer::Refused { problems }) => problems_told(&problems),
                    (false, _) => {}
                }
                Exit::No
            }),
            // Its records are there all the same.
            Err(exit) => self.over().unwrap_or(exit),
        }
    }

    /// What the daemon says of it, if it is up.
    fn live(&self) -> Result<Answer, Exit> {
        let ask = |request| answer(self.config.clone(), request);
        let known = match self.call.parse() {
            Ok(call) => Some(call),
            Err(_) => match ask(Request::Calls)? {
                Answer::Calls { calls } => {
                    let is_it = |row: &&CallRow| {
                        let ids = [Some(&row.call_id_in), row.call_id_out.as_ref()];
                        ids.contains(&Some(&self.call))
                    };
                    calls.iter().find(is_it).map(|row| row.call)
                }
                other => return Ok(other),
            },
        };
        match known {
            Some(call) => ask(Request::Call { call }),
            None => {
                let problems = vec![format!("there is no call with the Call-ID {}", self.call)];
                Ok(Answer::Refused { problems })
            }
        }
    }

    /// What its record says, if it is over and there is one.
    fn over(&self) -> Option<Exit> {
        let records = config::records(&self.config.clone().path());
        let found = match self.call.parse() {
            Ok(call) => past_calls::find(&records, call),
            Err(_) => past_calls::with_call_id(&records, &self.call),
        };
        match found {
            Ok(Some(record)) if self.json => print_json(&over::explained(&record)),
            Ok(Some(record)) => print(&over::text(&record)),
            Ok(None) => return None,
            Err(error) => {
                complain(&format!("{} cannot be read: {error}", records.file.display()));
                return None;
            }
        }
        Some(Exit::Done)
    }
}

fn text(call: &CallRow, media: Option<&Value>) -> String {
    let out = call.trunk_out.as_deref().unwrap_or("-");
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "call {}  {}, {} s, {}",
        call.call, call.state, call.age_seconds, call.direction
    );
    let _ = writeln!(text, "  {} calls {}", call.from, call.to);
    let _ = writeln!(text, "  tenant {}", call.tenant);
    let _ = writeln!(text, "  Call-ID in  {}", call.call_id_in);
    if let Some(id) = &call.call_id_out {
        let _ = writeln!(text, "  Call-ID out {id}");
    }
    let Some(media) = media else {
        text.push_str("  no media is open\n");
        return text;
    };
    let (a, b) = (&media["a"], &media["b"]);
    // What comes in on one leg is what goes out on the other.
    direction(&mut text, (&call.trunk_in, out), (a, b), word(call));
    direction(&mut text, (out, &call.trunk_in), (b, a), word(call));
    carried(&mut text, (&call.trunk_in, out), (a, b));
    text
}

/// What is said of a leg that is not silent.
fn word(call: &CallRow) -> &'static str {
    match &call.audio {
        Some((a, _)) if a == FAX => FAX_WORD,
        _ => FLOWS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured;
    use media::CallStats;

    #[test]
    fn a_call_fits_a_narrow_terminal_and_says_who_is_not_heard() {
        let call = CallRow::example(7);
        let mut stats = CallStats::default();
        stats.a.received_packets = 123_456;
        stats.a.mos = Some(4.3);
        stats.b.drops[media::DropReason::Unlatched as usize] = 9;
        stats.b.silence = sdp::Silences {
            now: Some(sdp::Silence::WrongSource),
            first: Some(sdp::Silence::WrongSource),
            total: std::time::Duration::from_secs(9),
        };
        let carried = [("steer", ""), ("portable", "its port was taken on the fast way")];
        let carried = carried.map(|(by, why)| b2bua::Carried { by, why_not_faster: why.into() });
        let shown = text(&call, Some(&measured::live(&stats, Some(&carried))));
        assert!(shown.contains("\nteams: carried by steer\n"), "{shown}");
        assert!(shown.contains("\ncolt: carried by portable (its port was taken"), "{shown}");
        assert!(shown.contains("teams -> colt: flows\n") && shown.contains("MOS 4.3,"), "{shown}");
        assert!(shown.contains("colt -> teams: wrong_source\n"), "{shown}");
        assert!(shown.contains("dropped: 9 unlatched\n") && shown.contains("MOS -,"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(text(&call, None).contains("no media is open"));
        let fax = CallRow { audio: Some((FAX.into(), FAX.into())), ..call };
        let shown = text(&fax, Some(&measured::live(&CallStats::default(), None)));
        assert!(shown.contains("colt -> teams: fax by T.38\n"), "{shown}");
    }
}
