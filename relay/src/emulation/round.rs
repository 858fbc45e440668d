//! One run: the side is up, calls are placed when they are due, and what is seen is told.

use super::peer::Peer;
use super::report::Report;
use super::script::{Change, Planned};
use super::setup::{self, Attack, Part, Setup, Side};
use super::watch::{News, Watch};
use super::{Failure, attack};
use crate::clock;
use crate::config::{Level, Log};
use crate::telemetry;
use emulate::{Agent, Event};
use metrics_exporter_prometheus::PrometheusHandle;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

/// How it is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// JSON in place of text.
    pub(crate) json: bool,
    /// How long; until it is interrupted, without.
    pub(crate) lasts: Option<Duration>,
}

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_millis(100);
/// How long calls that are up may take to end when the time is over.
const PARTING: Duration = Duration::from_secs(1);

/// Emulates this side by this file; whether no rule was broken, and all that was to be done was.
pub(crate) fn run(side: Side, file: &Path, round: Round) -> Result<bool, Failure> {
    let setup = setup::read(side, file)?;
    crate::logging::install(Log { level: Level::Warn, ..Log::default() });
    let recorder = telemetry::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(perform(side, setup, round, &recorder))
}

async fn perform(
    side: Side,
    setup: Setup,
    round: Round,
    recorder: &PrometheusHandle,
) -> Result<bool, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let Setup { part, access, tones, calls, changes, attack, told } = setup;
    for line in told {
        Report::say(&line);
    }
    let trunks: Vec<String> = match &part {
        Part::Teams(teams) => teams.tenants.iter().map(|tenant| tenant.fqdn.clone()).collect(),
        Part::Carrier(_) => Vec::new(),
    };
    for (name, at) in &access.listeners {
        Report::say(&format!("{}: {name} listens on {at}", side.name()));
    }
    let peer = Peer::start(access, tones, |media, rng| match part {
        Part::Teams(teams) => Agent::teams(teams, media, rng),
        Part::Carrier(carrier) => Agent::carrier(carrier, media, rng),
    })?;
    let mut stage =
        Stage { events: peer.events(), peer, watch: Watch::new(), report: Report::new(round.json) };
    let began = clock::now().mono;
    let mut due = Due::new(began, calls, changes, attack);
    let end = round.lasts.map(|lasts| began + lasts);
    loop {
        let now = clock::now().mono;
        if end.is_some_and(|end| end <= now) {
            break;
        }
        due.act(now, &mut stage).await;
        stage.look(recorder, false).await;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    stage.part().await;
    tokio::time::sleep(PARTING).await;
    stage.look(recorder, true).await;
    let silent = trunks.iter().filter(|fqdn| !stage.watch.has_heard(fqdn));
    let silent = silent
        .map(|fqdn| format!("no OPTIONS have come from {fqdn}, and none from a name above it"));
    let undone = silent.chain(due.undone()).collect();
    stage.tell(News { undone, ..News::default() });
    let totals = stage.watch.totals;
    stage.report.end(totals);
    stage.peer.stop().await;
    Ok(totals.are_well())
}

/// Everything that runs.
struct Stage {
    peer: Peer,
    events: Receiver<Event>,
    watch: Watch,
    report: Report,
}

impl Stage {
    /// Tells what has happened since the last look.
    async fn look(&mut self, recorder: &PrometheusHandle, ends: bool) {
        let mut news = News::default();
        loop {
            let now = clock::now().mono;
            match self.events.try_recv() {
                Ok(event) => self.watch.take(now, &self.peer, event, &mut news).await,
                Err(TryRecvError::Lagged(_)) => {}
                Err(_) => break,
            }
        }
        let now = clock::now().mono;
        self.watch.gather(now, &self.peer, recorder, &mut news, ends).await;
        self.tell(news);
    }

    fn tell(&mut self, news: News) {
        for probed in &news.probed {
            self.report.probed(probed);
        }
        for call in &news.calls {
            self.report.call(call);
        }
        for broken in &news.broken {
            self.report.broken(broken);
        }
        for what in &news.undone {
            self.report.undone(what);
        }
        self.watch.totals.undone += news.undone.len() as u64;
    }

    async fn place(&mut self, planned: &Planned) {
        let dial = planned.dial.clone();
        let placed = self.peer.with(move |agent, now| {
            let id = agent.call(now, &dial)?;
            Ok::<_, emulate::Unable>((id, agent.call_id(id).cloned().unwrap_or_default()))
        });
        match placed.await {
            Some(Ok((id, call_id))) => {
                let call_id = String::from_utf8_lossy(&call_id).into_owned();
                let ends = (planned.dial.from.as_str(), planned.dial.to.as_str());
                self.watch.placed(id, ends, call_id);
            }
            Some(Err(why)) => {
                let undone = vec![format!("no call to {}: {why}", planned.dial.to)];
                self.tell(News { undone, ..News::default() });
            }
            None => {}
        }
    }

    /// Lets strangers call.
    async fn attacked(&mut self, attack: &Attack) {
        let attempts = attack::play(attack).await;
        self.report.attacked(&attempts);
        let mut news = News::default();
        self.watch.attacked(&attempts, &mut news);
        self.tell(news);
    }

    /// Ends what is up.
    async fn part(&self) {
        self.peer.with(Agent::hang_up_all).await;
    }
}

/// What is to be done when.
struct Due {
    began: Instant,
    calls: Vec<(Instant, Planned)>,
    changes: Vec<Change>,
    attack: Option<Attack>,
}

impl Due {
    fn new(
        began: Instant,
        calls: Vec<Planned>,
        changes: Vec<Change>,
        attack: Option<Attack>,
    ) -> Self {
        let calls = calls.into_iter().map(|call| (began + call.after, call)).collect();
        Self { began, calls, changes, attack }
    }

    /// What was planned, and has not come about as the time was over first.
    fn undone(&self) -> Vec<String> {
        let after = |what: String, after: Duration| {
            format!("{what}: all was over before {}", humantime::format_duration(after))
        };
        // One that is placed again and again has another time by now.
        let calls = self.calls.iter().filter(|(at, call)| *at == self.began + call.after);
        let calls =
            calls.map(|(_, call)| after(format!("no call to {}", call.dial.to), call.after));
        let changes = self.changes.iter().map(|Change { after: at, endpoint, health }| {
            after(format!("{endpoint} was not {health:?}"), *at)
        });
        let attack = self.attack.iter().map(|it| after("no attack".to_owned(), it.after));
        calls.chain(changes).chain(attack).collect()
    }

    async fn act(&mut self, now: Instant, stage: &mut Stage) {
        let mut later = Vec::new();
        for (at, call) in std::mem::take(&mut self.calls) {
            if at > now {
                later.push((at, call));
                continue;
            }
            stage.place(&call).await;
            if let Some(every) = call.every {
                later.push((at + every, call));
            }
        }
        self.calls = later;
        let passed = now.saturating_duration_since(self.began);
        if let Some(attack) = self.attack.take_if(|attack| attack.after <= passed) {
            stage.attacked(&attack).await;
        }
        let (due, later) =
            std::mem::take(&mut self.changes).into_iter().partition(|it| it.after <= passed);
        self.changes = later;
        for Change { endpoint, health, .. } in due {
            Report::say(&format!("{endpoint} is {health:?} from now on"));
            stage.peer.with(move |agent, _| agent.set_health(&endpoint, health)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emulate::{Dial, Health};

    #[test]
    fn what_comes_later_than_the_end_is_forgotten() {
        let began = clock::now().mono;
        let secs = Duration::from_secs;
        let dial = Dial { to: "+49891".to_owned(), ..Dial::default() };
        let call = |after, every| Planned { dial: dial.clone(), after: secs(after), every };
        let change = Change {
            after: secs(90),
            endpoint: "sip2.pstnhub.microsoft.com".to_owned(),
            health: Health::Dead,
        };
        let calls = vec![call(0, Some(secs(7))), call(70, None)];
        let mut due = Due::new(began, calls, vec![change], None);
        // The first has been placed, and is to be again.
        due.calls[0].0 += secs(7);
        assert_eq!(
            due.undone(),
            [
                "no call to +49891: all was over before 1m 10s",
                "sip2.pstnhub.microsoft.com was not Dead: all was over before 1m 30s"
            ]
        );
    }
}
