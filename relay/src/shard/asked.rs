//! What the shard is told from outside of calls: another plan, and what operators ask.

use super::{Order, Shard, deadline};
use crate::admin::{Answer, CallRow, DrainRow, FqdnRow, MediaRow, Request, TargetRow};
use crate::clock;
use crate::daemon;
use crate::explained::{RouteAnswer, RouteQuestion};
use crate::telemetry::{self, Telemetry};
use b2bua::Input;
use b2bua::io::CallView;
use media_engine::{Datapath, MediaId};
use std::collections::BTreeSet;
use tokio::sync::oneshot;

impl Shard {
    pub(super) fn order(&mut self, order: Order) {
        let now = clock::now();
        match order {
            Order::Plan(plan) => {
                self.hooks.planned(&plan);
                self.telemetry.planned(&plan);
                self.b2bua.handle_input(now, Input::Plan(plan));
            }
            Order::Records(records) => self.records = records,
            Order::Shutdown => self.b2bua.handle_input(now, Input::Shutdown),
            Order::Ask(request, answer) => {
                let said = match request {
                    Request::Calls => return self.list_calls(now.mono, answer),
                    Request::Media => Answer::Media(self.media_row()),
                    Request::Call { call } => {
                        let found = self.b2bua.calls(now.mono).into_iter();
                        match found.into_iter().find(|view| view.call.0 == call) {
                            Some(view) => return self.look_at(now.mono, view, answer),
                            None => Answer::Refused {
                                problems: vec![format!("there is no call {call}")],
                            },
                        }
                    }
                    Request::Trace { tenant, since } => self.trace(now.mono, &tenant, since),
                    Request::Trunks => {
                        let targets = self.b2bua.targets(now.mono);
                        let targets = targets.into_iter().map(TargetRow::from).collect();
                        let fqdns = self.b2bua.fqdns(now.mono, None);
                        let fqdns = fqdns.into_iter().map(FqdnRow::from).collect();
                        Answer::Trunks { targets, fqdns }
                    }
                    Request::Teams { tenant } => {
                        let fqdns = self.b2bua.fqdns(now.mono, tenant.as_deref());
                        Answer::Teams {
                            fqdns: fqdns.into_iter().map(FqdnRow::from).collect(),
                            drains: self.drain_rows(now),
                        }
                    }
                    Request::Drains => Answer::Drains { drains: self.drain_rows(now) },
                    Request::Drain { tenant, deadline_seconds } => {
                        match deadline_seconds.map(|seconds| deadline(now.mono, seconds)) {
                            Some(None) => Answer::Refused {
                                problems: vec!["a deadline is a year away at most".to_owned()],
                            },
                            until => {
                                let until = until.flatten();
                                self.set_drain(tenant, |tenant| Input::Drain { tenant, until })
                            }
                        }
                    }
                    Request::Resume { tenant } => {
                        self.set_drain(tenant, |tenant| Input::Resume { tenant })
                    }
                    Request::Route(question) => self.explain(question),
                    Request::Reload
                    | Request::Alarms
                    | Request::Diff { .. }
                    | Request::Replay { .. }
                    | Request::Rollback { .. }
                    | Request::Generations
                    | Request::Knock { .. } => {
                        Answer::Failed { why: "not a question for a shard".into() }
                    }
                };
                // A client that went away is not waited for.
                let _ = answer.send(said);
            }
        }
    }

    /// Asks the media engine what a call's packets did; its answer is the client's.
    fn look_at(
        &mut self,
        now: std::time::Instant,
        view: CallView,
        answer: oneshot::Sender<Answer>,
    ) {
        let (call, worker) = (MediaId(view.call.0), view.worker);
        let row = CallRow::from(view);
        self.looks.begin(now, call, row, answer);
        let asked = worker.map(|worker| self.engine.stats(call, worker));
        if !matches!(asked, Some(Ok(()))) {
            self.looks.answer(call, None);
        }
    }

    /// Asks the media engine what carries the calls; its answers complete the client's.
    fn list_calls(&mut self, now: std::time::Instant, answer: oneshot::Sender<Answer>) {
        let calls = self.b2bua.calls(now);
        let workers: BTreeSet<usize> = calls.iter().filter_map(|call| call.worker).collect();
        let rows = calls.into_iter().map(CallRow::from).collect();
        let asked = workers.into_iter().filter(|worker| self.engine.list(*worker).is_ok());
        let asked = asked.collect();
        self.looks.begin_list(now, rows, asked, answer);
    }

    fn media_row(&self) -> MediaRow {
        let totals = self.engine.totals();
        let legs = Datapath::ALL.iter().zip(&totals.legs).filter(|(_, count)| **count > 0);
        MediaRow {
            engines: self.telemetry.engines().to_vec(),
            legs: legs.map(|(by, count)| (by.name().to_owned(), *count)).collect(),
            offload: self.offload,
            offloaded_packets: totals.offloaded,
            errors: (totals.receive_errors, totals.send_errors),
        }
    }

    /// Begins or ends a drain of the host, or of a tenant that there is.
    fn set_drain(
        &mut self,
        tenant: Option<String>,
        input: impl FnOnce(Option<String>) -> Input,
    ) -> Answer {
        if let Some(name) = tenant.as_ref().filter(|name| !self.b2bua.has_tenant(name)) {
            return Answer::Refused { problems: vec![format!("there is no tenant {name}")] };
        }
        let now = clock::now();
        self.b2bua.handle_input(now, input(tenant));
        self.show_drains();
        Answer::Drains { drains: self.drain_rows(now) }
    }

    fn drain_rows(&self, now: b2bua::Now) -> Vec<DrainRow> {
        self.b2bua.drains(now).into_iter().map(DrainRow::from).collect()
    }

    /// Tells whoever asks whether calls are taken.
    pub(super) fn show_drains(&mut self) {
        let drains = self.b2bua.drains(clock::now());
        let host = drains.iter().find(|drain| drain.tenant.is_none());
        if self.readiness.drains(host.is_some()) {
            let status =
                host.map_or_else(|| "takes calls".to_owned(), telemetry::teams::drain_text);
            daemon::notify(&[sd_notify::NotifyState::Status(&status)]);
        }
        let Telemetry { teams, alarms, .. } = &mut self.telemetry;
        teams.drains(alarms, &drains);
    }

    fn trace(&mut self, now: std::time::Instant, tenant: &str, since: Option<u64>) -> Answer {
        let refused = |why: String| Answer::Refused { problems: vec![why] };
        if !self.b2bua.has_tenant(tenant) {
            return refused(format!("there is no tenant {tenant}"));
        }
        match self.tracer.ask(now, tenant, since) {
            Some((messages, next, lost)) => Answer::Trace { messages, next, lost },
            None => refused("as many tenants as can be are traced already".to_owned()),
        }
    }

    fn explain(&mut self, question: RouteQuestion) -> Answer {
        let explained = question.inquiry().and_then(|inquiry| {
            let explained = self.b2bua.explain(clock::now(), &inquiry)?;
            Ok(RouteAnswer::new(&inquiry, explained))
        });
        match explained {
            Ok(answer) => Answer::Route(Box::new(answer)),
            Err(why) => Answer::Refused { problems: vec![why] },
        }
    }
}
