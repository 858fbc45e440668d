//! What one end of a call heard.

use crate::reception::Reception;
use crate::tone::Share;
use media::g711::Law;
use media::rtp::Header;
use std::time::Instant;

/// From this share of the energy on, the tone was there and nothing else was.
const TONE_SHARE: f64 = 0.9;

/// What was heard, over a call or since a moment of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// The tone that should come, in Hz.
    pub expected_hz: u32,
    /// Its share of the energy that came, 0 to 1.
    pub tone_share: f64,
    /// Whether it came, and nothing else did.
    pub tone_ok: bool,
    /// RTP packets that came in.
    pub packets: u64,
    /// RTP packets that should have come and did not (RFC 3550, A.3).
    pub lost: u64,
    /// Interarrival jitter in ms (RFC 3550, A.8).
    pub jitter_ms: f64,
    /// The mean opinion score from loss and jitter (E-model for G.711).
    pub mos: f64,
    /// Packets that did not authenticate.
    pub srtp_failures: u64,
    /// Packets from elsewhere than agreed, with a payload type that was not agreed, or that are no
    /// RTP or RTCP.
    pub strays: u64,
    /// RTCP packets that came in whole.
    pub reports: u64,
}

/// Collects what is heard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judge {
    pub(crate) reception: Reception,
    share: Share,
    pub(crate) srtp_failures: u64,
    pub(crate) strays: u64,
    pub(crate) reports: u64,
}

impl Judge {
    pub(crate) fn packet(
        &mut self,
        now: Instant,
        header: &Header,
        sound: Option<(Law, u32, &[u8])>,
    ) {
        self.reception.count(now, header);
        if let Some((law, hz, payload)) = sound {
            self.share.add(hz, payload.iter().map(|octet| law.decode(*octet)));
        }
    }

    pub(crate) fn heard(&self, expected_hz: u32) -> Heard {
        let share = self.share.get();
        let reception = &self.reception;
        Heard {
            expected_hz,
            tone_share: share,
            tone_ok: share >= TONE_SHARE,
            packets: reception.received,
            lost: reception.lost(),
            jitter_ms: reception.jitter_ms(),
            mos: match reception.received {
                0 => 1.0,
                _ => media::mos(reception.loss_fraction(), reception.jitter_ms(), 0.0),
            },
            srtp_failures: self.srtp_failures,
            strays: self.strays,
            reports: self.reports,
        }
    }
}
