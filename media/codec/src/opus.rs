//! Opus (RFC 6716, RFC 7587), one channel, by `opus-pure`; its own filters take it to 8 or 16 kHz.

use crate::Failure;
use opus_pure::{Application, OpusDecoder, OpusEncoder, Repacketizer};

/// From samples to packets.
#[derive(Debug)]
pub(crate) struct Encoder {
    inner: Box<OpusEncoder>,
    rate_hz: usize,
    joined: Repacketizer,
}

/// From packets to samples.
#[derive(Debug)]
pub(crate) struct Decoder {
    inner: Box<OpusDecoder>,
    rate_hz: usize,
}

/// Where one more bit is hardly heard: telephone speech, and wideband speech (RFC 7587, 3.1.1).
const NARROW_BPS: i32 = 16_000;
const WIDE_BPS: i32 = 28_000;
/// Half of what the encoder would like to try costs little quality and half the time.
const COMPLEXITY: i32 = 5;
/// A frame lasts one of these, in steps of 2.5 ms, the longest that others are made of first.
const JOINED: [usize; 4] = [8, 4, 2, 1];
const SINGLE: [usize; 6] = [1, 2, 4, 8, 16, 24];
/// Steps of 2.5 ms in a second.
const STEPS: usize = 400;

impl Encoder {
    /// An encoder of samples at this rate.
    pub(crate) fn new(rate_hz: u32) -> Result<Self, Failure> {
        let mut inner = OpusEncoder::new(rate_hz as i32, 1, Application::Voip)?;
        inner.bitrate_bps = if rate_hz > 8000 { WIDE_BPS } else { NARROW_BPS };
        inner.complexity = COMPLEXITY;
        let rate_hz = rate_hz as usize;
        Ok(Self { inner: Box::new(inner), rate_hz, joined: Repacketizer::new() })
    }

    /// Codes all samples into one packet; where no frame is that long (30 ms), into one of several
    /// frames.
    pub(crate) fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) -> Result<(), Failure> {
        let step = self.rate_hz / STEPS;
        let steps = samples.len() / step;
        if steps == 0 || !samples.len().is_multiple_of(step) {
            return Err(Failure::OddLength);
        }
        let mut frame = [0; opus_pure::MAX_PACKET_BYTES];
        if SINGLE.contains(&steps) {
            let len = self.inner.encode_s16(samples, samples.len(), &mut frame)?;
            packet.extend_from_slice(&frame[..len]);
            return Ok(());
        }
        let each = JOINED.into_iter().find(|each| steps.is_multiple_of(*each)).unwrap_or(1) * step;
        self.joined.clear();
        for samples in samples.chunks_exact(each) {
            let len = self.inner.encode_s16(samples, each, &mut frame)?;
            self.joined.cat(&frame[..len])?;
        }
        Ok(self.joined.out_into(packet)?)
    }
}

impl Decoder {
    /// A decoder to samples at this rate.
    pub(crate) fn new(rate_hz: u32) -> Result<Self, Failure> {
        let inner = Box::new(OpusDecoder::new(rate_hz as i32, 1)?);
        Ok(Self { inner, rate_hz: rate_hz as usize })
    }

    /// Decodes a packet; the samples come behind those that are there.
    pub(crate) fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> Result<(), Failure> {
        let (begin, most) = (samples.len(), self.rate_hz * crate::PACKET_MS_MAX / 1000);
        samples.resize(begin + most, 0);
        let decoded = self.inner.decode_s16(packet, most, &mut samples[begin..]);
        samples.truncate(begin + *decoded.as_ref().unwrap_or(&0));
        decoded?;
        Ok(())
    }
}
