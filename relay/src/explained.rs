//! `tollgate route` as it goes over the admin socket: the question, and the answer as `--json` prints it.

use b2bua::{Explanation, Inquiry, TargetState, When};
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// A call as an operator imagines it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Inquiry")]
pub struct RouteQuestion {
    pub tenant: String,
    pub from: String,
    pub to: String,
    pub via: Option<String>,
    /// As `--at` takes it.
    pub at: Option<String>,
}

impl RouteQuestion {
    /// As the core is asked.
    pub fn inquiry(self) -> Result<Inquiry, String> {
        let at = self.at.as_deref().map_or(Ok(When::Now), when)?;
        Ok(Inquiry { tenant: self.tenant, from: self.from, to: self.to, via: self.via, at })
    }
}

/// `2026-12-24T18:30:00+01:00`, or `2026-12-24 18:30` by the tenant's clock.
pub fn when(written: &str) -> Result<When, String> {
    if let Ok(at) = written.parse::<Timestamp>() {
        return Ok(When::At(at.into()));
    }
    written.parse::<DateTime>().map(When::Local).map_err(|_| {
        "is no time such as \"2026-12-24 18:30\" or \"2026-12-24T18:30:00+01:00\"".to_owned()
    })
}

/// Where a call would go, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Explanation")]
pub struct RouteAnswer {
    pub ok: bool,
    pub tenant: String,
    pub direction: String,
    pub via: String,
    pub at: String,
    pub from: String,
    pub to: String,
    pub emergency: bool,
    pub before: Vec<String>,
    pub routes: Vec<RouteRow>,
    pub decided: Option<String>,
    pub after: Vec<String>,
    pub targets: Vec<RouteTarget>,
    pub refused: Option<RouteRefusal>,
}

/// A route that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Tried")]
pub struct RouteRow {
    pub place: String,
    pub route: String,
    pub matches: bool,
    pub why_not: Option<String>,
    /// It is for calls from the other side.
    pub other_side: bool,
}

/// A place that the call would be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of TargetState")]
pub struct RouteTarget {
    pub trunk: String,
    pub target: String,
    pub address: Option<String>,
    pub state: String,
    /// The numbers as it is told them.
    pub from: String,
    pub to: String,
    pub full: Option<String>,
    pub tried: bool,
}

/// Why the call would be refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "status, reason and words of a reject")]
pub struct RouteRefusal {
    pub status: u16,
    pub reason: String,
    pub why: String,
}

impl RouteAnswer {
    /// The core's answer to this question.
    pub fn new(asked: &Inquiry, explained: Explanation) -> Self {
        let routes = explained.routes.into_iter().map(|tried| RouteRow {
            place: tried.place,
            route: tried.route,
            matches: tried.why_not.is_none(),
            why_not: tried.why_not,
            other_side: tried.other_side,
        });
        Self {
            ok: explained.refused.is_none(),
            tenant: explained.tenant,
            direction: explained.direction.word().to_owned(),
            via: explained.via,
            at: explained.at,
            from: asked.from.clone(),
            to: asked.to.clone(),
            emergency: explained.emergency,
            before: explained.before,
            routes: routes.collect(),
            decided: explained.decided,
            after: explained.after,
            targets: explained.targets.into_iter().map(RouteTarget::from).collect(),
            refused: explained.refused.map(|(reject, why)| RouteRefusal {
                status: reject.status(),
                reason: reject.as_str().to_owned(),
                why,
            }),
        }
    }
}

impl From<TargetState> for RouteTarget {
    fn from(state: TargetState) -> Self {
        Self {
            tried: state.is_tried(),
            trunk: state.trunk,
            target: state.target,
            address: state.address.map(|address| address.to_string()),
            state: state.state.to_owned(),
            from: state.numbers.0,
            to: state.numbers.1,
            full: state.full,
        }
    }
}
