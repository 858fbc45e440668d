//! The media engine of the daemon, and what it says to the shard.

use super::error::DaemonError;
use crate::clock;
use crate::config::Loaded;
use media_engine::Engine;
use tokio::sync::mpsc;

/// Starts the media engine; gives back what it says from now on, too.
pub(super) fn start(
    loaded: &Loaded,
) -> Result<(Engine, mpsc::Receiver<media_engine::Event>), DaemonError> {
    let (events, told) = mpsc::channel(NOTICES_MAX + ENDS_MAX);
    let config = media_engine::Config {
        workers: loaded.plan.media_workers,
        transcoders: loaded.plan.transcoders,
        engine: loaded.media_engine,
        offload: loaded.media_offload,
        media: loaded.plan.media.iter().map(|address| address.bind).collect(),
        ..media_engine::Config::default()
    };
    let srtp = media::srtp::choose(|| clock::now().mono)?;
    tracing::info!(
        counter_mode = srtp.counter_mode.as_str(),
        sha1 = srtp.sha1.as_str(),
        gcm = srtp.gcm.as_str(),
        "SRTP is protected by these"
    );
    tracing::debug!(took = ?srtp.counter_mode_took, "SRTP: a short and a long packet under each counter mode");
    let engine = Engine::start(config, Box::new(move |event| tell(&events, event)));
    let engine = engine.map_err(|error| match error {
        media_engine::EngineError::NotHere { why, .. } => {
            DaemonError::NoSuchEngine(loaded.engine_is_not_here(&why))
        }
        other => other.into(),
    })?;
    let media_engine::Chosen { by, why } = engine.chosen();
    tracing::info!(engine = %by, why, workers = engine.workers(), "media engine");
    Ok((engine, told))
}

/// Passes an event of the media engine on. What can be lost goes only where there is room beside what
/// cannot.
fn tell(events: &mpsc::Sender<media_engine::Event>, event: media_engine::Event) {
    use media_engine::Event::{Closed, FellBack, Listed, Notice, OpenFailed, Regained, Stats};
    let may_go = match &event {
        Closed { .. } | OpenFailed { .. } | FellBack { .. } | Regained { .. } => true,
        Notice { .. } | Stats { .. } | Listed { .. } => events.capacity() > ENDS_MAX,
    };
    if !may_go {
        metrics::counter!("tollgate_media_notices_lost_total").increment(1);
    } else if events.try_send(event).is_err() {
        tracing::warn!("a media event is lost: the shard has ended");
    }
}

/// Notices and counters of running calls that wait for the shard; beyond that they are lost and counted.
const NOTICES_MAX: usize = 65_536;
/// Room that is kept in the same queue for what must arrive, because a call waits for it: that its media
/// is closed, or could not be opened. Four of each call of a host that is as full as it may be, all at
/// once. The queue takes memory for what is in it only.
const ENDS_MAX: usize = 4 * CALLS_CEILING;
/// What `calls_max` of `[node]` may be at most.
const CALLS_CEILING: usize = 500_000;

#[cfg(test)]
mod tests {
    use super::*;
    use media_engine::{Event, MediaId};

    #[test]
    fn notices_that_nobody_reads_leave_room_for_the_end_of_every_call() {
        let (sender, mut events) = mpsc::channel(NOTICES_MAX + ENDS_MAX);
        for call in 0..NOTICES_MAX as u64 + 1000 {
            let notice = sdp::Notice::Silent(sdp::Silence::NoPackets);
            tell(&sender, Event::Notice { call: MediaId(call), side: media::Side::A, notice });
        }
        let ends = 10_000;
        for call in 0..ends {
            tell(
                &sender,
                Event::Closed {
                    call: MediaId(call),
                    stats: media::CallStats::default(),
                    carried: None,
                },
            );
        }
        let (mut notices, mut closed) = (0, 0);
        while let Ok(event) = events.try_recv() {
            match event {
                Event::Notice { .. } => notices += 1,
                _ => closed += 1,
            }
        }
        assert_eq!((notices, closed), (NOTICES_MAX, ends));
    }
}
