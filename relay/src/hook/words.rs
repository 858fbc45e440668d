//! The JSON of a question and of an answer (docs/operations/hook.md).

use crate::direction;
use b2bua::hook::{RouteAnswer, RouteQuestion};
use serde::Deserialize;
use serde_json::json;

/// Rises when a question changes so that a service has to.
const VERSION: u32 = 1;

/// What is posted.
pub(super) fn question(question: &RouteQuestion) -> String {
    json!({
        "version": VERSION,
        "call": question.call.0,
        "tenant": question.tenant,
        "direction": direction::word(question.from),
        "via": question.via,
        "called": question.called,
        "calling": question.calling,
        "display_name": question.name,
        "diverted_by": question.diverted_by,
        "time": humantime::format_rfc3339_millis(question.at).to_string(),
    })
    .to_string()
}

/// What comes back. Members that are not known are passed over: a service may say more than we read.
#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum Said {
    Route {
        to: Vec<String>,
        #[serde(default)]
        called: Option<String>,
        #[serde(default)]
        caller: Option<String>,
    },
    Table,
    Reject {
        status: u16,
        #[serde(default)]
        reason: String,
    },
}

/// Reads an answer, or tells what is wrong with it. Whether the tenant may have what it asks for is the
/// core's to judge.
pub(super) fn answer(octets: &[u8]) -> Result<RouteAnswer, String> {
    Ok(match serde_json::from_slice(octets).map_err(|error| error.to_string())? {
        Said::Route { to, called, caller } => RouteAnswer::Route { to, called, caller },
        Said::Table => RouteAnswer::Table,
        Said::Reject { status, reason } => RouteAnswer::Reject { status, reason },
    })
}
