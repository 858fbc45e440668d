//! Whole calls from a carrier to Teams over TLS, set up and ended as fast as the sides around go along.

use super::{Failure, say, used_ns};
use crate::clock;
use crate::demo::lab::{FABRIKAM_NAME, Folder};
use crate::demo::stage::{Clock, Size, Stage};
use crate::telemetry;
use emulate::{Dial, Event};
use serde::Serialize;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

/// What was seen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Calls {
    /// Calls that came to their end, and those that were refused.
    pub(crate) ended: u64,
    pub(crate) refused: u64,
    pub(crate) seconds: f64,
    /// CPU time for one call: of the thread that all signalling runs on, and of the media worker, which
    /// opens and closes the ports.
    pub(crate) us_per_call: f64,
    pub(crate) media_us_per_call: f64,
}

pub(super) fn measure() -> Result<Calls, Failure> {
    say("calls over TLS, set up and ended");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let recorder = telemetry::install()?;
    runtime.block_on(async {
        let folder = Folder::temporary().map_err(crate::demo::stage::StageFailure::from)?;
        let stage = Stage::set(&folder, recorder, Clock::start(), SIZE).await?;
        stage.probes().await;
        let measured = play(&stage).await;
        stage.strike().await;
        let calls = measured?;
        say(&format!("{} calls in {:.1} s, {} refused", calls.ended, calls.seconds, calls.refused));
        Ok(calls)
    })
}

async fn play(stage: &Stage) -> Result<Calls, Failure> {
    let mut events = stage.bt.events();
    let (mut up, mut begun, mut ended, mut refused) = (0_usize, 0_usize, 0_u64, 0_u64);
    let (cpu, media) = (used_ns(SIGNALLING)?, used_ns("media-")?);
    let begin = clock::now().mono;
    let elapsed = || clock::now().mono.saturating_duration_since(begin);
    loop {
        while up < AT_ONCE && begun < CALLS_MAX && elapsed() < TIME {
            let dial = Dial {
                from: "+441632960002".to_owned(),
                to: "+442079460002".to_owned(),
                tenant: FABRIKAM_NAME.to_owned(),
                talk: Some(Duration::ZERO),
                ..Dial::default()
            };
            let called = stage.bt.with(move |agent, now| agent.call(now, &dial)).await;
            if !matches!(called, Some(Ok(_))) {
                return Err(Failure::Media("the emulated carrier cannot call"));
            }
            (up, begun) = (up + 1, begun + 1);
        }
        if up == 0 {
            break;
        }
        match timeout(PATIENCE, events.recv()).await {
            Ok(Ok(Event::Ended { .. })) => (up, ended) = (up - 1, ended + 1),
            Ok(Ok(Event::Refused { .. })) => (up, refused) = (up - 1, refused + 1),
            Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
            // What has not ended by now does not.
            Err(_) | Ok(Err(RecvError::Closed)) => break,
        }
    }
    let calls = ended.max(1) as f64;
    Ok(Calls {
        ended,
        refused,
        seconds: elapsed().as_secs_f64(),
        us_per_call: (used_ns(SIGNALLING)? - cpu) as f64 / 1e3 / calls,
        media_us_per_call: (used_ns("media-")? - media) as f64 / 1e3 / calls,
    })
}

/// The thread of the core, its timers, its datagrams and its connections.
const SIGNALLING: &str = "signalling";
/// Calls that are up at once: enough that messages of several come together.
const AT_ONCE: usize = 32;
/// Ports rest after a call, so the SBC's own end it.
const CALLS_MAX: usize = 1_900;
const TIME: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(3);
const SIZE: Size = Size {
    calls: 2 * AT_ONCE,
    media_ports: 8_000,
    ring_after: Duration::ZERO,
    answer_after: Duration::ZERO,
};
