//! What caller and answerer have in common: a transaction layer over one side of the wire.

use super::wire::Hop;
use bytes::Bytes;
use sip_core::transaction::{Event, Layer};
use std::time::Instant;

/// A layer, and fresh names for its messages.
pub(super) struct Endpoint {
    pub(super) layer: Layer<Hop>,
    named: u64,
    /// Differs between runs, so that nothing of an earlier one is taken for ours.
    run: u32,
}

impl Endpoint {
    pub(super) fn new() -> Self {
        let run = crate::clock::wall_ns() as u32;
        Self { layer: Layer::new(TRANSACTIONS_MAX), named: 0, run }
    }

    /// A name that no other message has.
    pub(super) fn name(&mut self) -> String {
        self.named += 1;
        format!("{:x}-{:x}", self.run, self.named)
    }

    pub(super) fn event(&mut self) -> Option<Event<Hop>> {
        self.layer.poll_event()
    }

    pub(super) fn transmit(&mut self) -> Option<(Hop, Bytes)> {
        self.layer.poll_transmit().map(|transmit| (transmit.hop, transmit.bytes))
    }

    /// Lets what is due happen.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.layer.poll_timeout().is_some_and(|due| due <= now) {
            self.layer.handle_timeout(now);
        }
    }
}

/// A minute of the highest rate: the generator refuses nothing.
const TRANSACTIONS_MAX: usize = 2_000_000;
