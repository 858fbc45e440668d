//! Asks the tenants' routing hooks, outside of the core: JSON over HTTP/1.1, over connections that are
//! kept, no longer than a call may wait, and not again for what was answered a moment ago.
//!
//! ```text
//! words.rs     the JSON of question and answer        cache.rs     answers that still hold
//! client.rs    connections, TLS, one request          health.rs    the alarm, and what is counted
//! ```

mod cache;
mod client;
mod health;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use health::Health;

use b2bua::CallId;
use b2bua::Plan;
use b2bua::hook::{Failure, RouteAnswer, RouteQuestion};
use b2bua::plan::Hook;
use cache::{Cache, Key};
use client::Client;
use metrics::histogram;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore, mpsc};

/// Requests of one tenant that are out at once: at half a second each, a hundred calls a second.
const REQUESTS_MAX: usize = 64;
/// An answer that comes this much too late is of no use to its call, and is remembered for the next.
const LATE_MAX: Duration = Duration::from_secs(2);

/// An answer on its way to the core.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) call: CallId,
    pub(crate) tenant: String,
    pub(crate) answer: RouteAnswer,
}

/// The hooks of all tenants.
#[derive(Debug)]
pub(crate) struct Hooks {
    services: HashMap<String, Arc<Service>>,
    answers: mpsc::Sender<Answered>,
    /// Where requests run: not on the thread of the core.
    runtime: Handle,
}

/// One tenant's.
#[derive(Debug)]
struct Service {
    hook: Arc<Hook>,
    /// Made by the first request: certificates are read from files, and the core waits for none.
    client: OnceCell<Client>,
    requests: Arc<Semaphore>,
    answered: Mutex<Cache>,
}

impl Hooks {
    /// Answers go to `answers`.
    pub(crate) fn new(answers: mpsc::Sender<Answered>, runtime: Handle) -> Self {
        Self { services: HashMap::new(), answers, runtime }
    }

    /// Asks, unless the answer is known. What is given back is for the core at once.
    pub(crate) fn ask(&mut self, question: &RouteQuestion) -> Option<RouteAnswer> {
        let service = self.service(question);
        let key = Key::of(question);
        if let Some(answer) = service.answered().get(&key, crate::clock::now().mono) {
            return Some(answer);
        }
        let Ok(permit) = Arc::clone(&service.requests).try_acquire_owned() else {
            let why = format!("{REQUESTS_MAX} requests are out already");
            return Some(RouteAnswer::Failed(Failure::Full, why));
        };
        let (body, answers) = (words::question(question), self.answers.clone());
        let (call, tenant) = (question.call, question.tenant.clone());
        let deadline = question.deadline;
        self.runtime.spawn(async move {
            let answer = service.request(body, deadline + LATE_MAX, &tenant).await;
            drop(permit);
            let now = crate::clock::now().mono;
            match &answer {
                // That there was no answer in time the core has found by itself.
                RouteAnswer::Failed(..) if now >= deadline => return,
                RouteAnswer::Failed(..) => {}
                answer => service.answered().put(key, answer.clone(), now),
            }
            // Gone if the daemon stops.
            let _ = answers.send(Answered { call, tenant, answer }).await;
        });
        None
    }

    /// Forgets the hooks that `plan` does not have, and what they have answered.
    pub(crate) fn planned(&mut self, plan: &Plan) {
        self.services.retain(|name, service| {
            let tenant = plan.tenant(name);
            tenant.and_then(|tenant| tenant.hook.as_ref()) == Some(&service.hook)
        });
    }

    fn service(&mut self, question: &RouteQuestion) -> Arc<Service> {
        let known = self.services.get(&question.tenant);
        if let Some(service) = known.filter(|service| service.hook == question.hook) {
            return Arc::clone(service);
        }
        let service = Arc::new(Service {
            hook: Arc::clone(&question.hook),
            client: OnceCell::new(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            answered: Mutex::new(Cache::new(question.hook.cache)),
        });
        self.services.insert(question.tenant.clone(), Arc::clone(&service));
        service
    }
}

impl Service {
    fn answered(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn client(&self) -> Result<&Client, client::Failed> {
        let made = || async {
            let hook = Arc::clone(&self.hook);
            let made = tokio::task::spawn_blocking(move || Client::new(&hook)).await;
            made.map_err(client::Failed::of)?.map_err(client::Failed::Unavailable)
        };
        self.client.get_or_try_init(made).await
    }

    async fn request(&self, body: String, deadline: Instant, tenant: &str) -> RouteAnswer {
        let began = crate::clock::now().mono;
        let asked = async { self.client().await?.post(body).await };
        let answer = match tokio::time::timeout_at(deadline.into(), asked).await {
            Ok(Ok(octets)) => words::answer(&octets)
                .unwrap_or_else(|why| RouteAnswer::Failed(Failure::Invalid, why)),
            Ok(Err(client::Failed::Unavailable(why))) => {
                RouteAnswer::Failed(Failure::Unavailable, why)
            }
            Ok(Err(client::Failed::Unauthorized)) => {
                RouteAnswer::Failed(Failure::Unavailable, "status 401".into())
            }
            Ok(Err(client::Failed::TooLarge)) => {
                let why = format!("the answer is larger than {} octets", client::ANSWER_MAX);
                RouteAnswer::Failed(Failure::Invalid, why)
            }
            Err(_) => RouteAnswer::Failed(Failure::Timeout, "there was no answer".into()),
        };
        let took = crate::clock::now().mono.saturating_duration_since(began);
        histogram!("tollgate_hook_seconds", "tenant" => tenant.to_owned()).record(took);
        answer
    }
}
