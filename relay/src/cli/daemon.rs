//! Asking the running daemon over its admin socket, as every verb does that needs it.

use super::{ConfigFlag, Exit};
use crate::admin::{self, Answer, Request};
use crate::config;
use crate::terminal::complain;
use serde_json::json;

/// Problems as talk.
pub(super) fn problems_told(problems: &[String]) {
    for problem in problems {
        complain(problem);
    }
}

/// The daemon's answer; who cannot be asked is complained about.
pub(super) fn answer(config: ConfigFlag, request: Request) -> Result<Answer, Exit> {
    let path = config.path();
    let socket = config::admin_socket(&path);
    match admin::ask(&socket, request) {
        Ok(Answer::Failed { why }) => complain(&why),
        Ok(answer) => return Ok(answer),
        Err(error) => complain(&format!(
            "no answer on {}: {error}\nhint: is tollgate running with --config {}, and may you open its socket?",
            socket.display(),
            path.display(),
        )),
    }
    Err(Exit::Unreachable)
}

/// The answer without its envelope.
pub(super) fn as_json(answer: Answer) -> serde_json::Value {
    match answer {
        Answer::Media(media) => json!(media),
        Answer::Calls { calls } => json!({ "calls": calls }),
        Answer::Call { call, media } => json!({ "call": call, "media": media }),
        Answer::Trunks { targets, fqdns } => json!({ "targets": targets, "fqdns": fqdns }),
        Answer::Teams { fqdns, drains } => json!({ "fqdns": fqdns, "drains": drains }),
        Answer::Drains { drains } => json!({ "ok": true, "drains": drains }),
        Answer::Alarms { alarms } => json!({ "alarms": alarms }),
        Answer::Reloaded { generation, problems } => {
            json!({ "ok": problems.is_empty(), "generation": generation, "problems": problems })
        }
        Answer::Refused { problems } => json!({ "ok": false, "problems": problems }),
        answer @ (Answer::Differs { .. }
        | Answer::Replayed(_)
        | Answer::Trace { .. }
        | Answer::Generations { .. }
        | Answer::Expected) => {
            json!(answer)
        }
        Answer::Route(answer) => json!(answer),
        Answer::Failed { why } => json!({ "ok": false, "problems": [why] }),
    }
}
