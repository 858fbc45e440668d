//! `perf transcode`: what it costs a transcoder's thread to turn a packet of 20 ms, codec by codec.

use crate::cpu;
use clap::Args;
use codec::Transcoder;
use sdp::{Codec, Conversion};
use serde::Serialize;
use std::error::Error;
use std::f64::consts::TAU;
use std::fmt;
use std::hint::black_box;

/// What is to be measured.
#[derive(Args)]
pub(crate) struct Plan {
    /// Seconds of speech per pair of codecs
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Prints one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// CPU time, as the scheduler has counted it for this thread.
#[derive(Serialize)]
pub(crate) struct Report {
    pairs: Vec<Pair>,
}

#[derive(Serialize)]
struct Pair {
    from: &'static str,
    to: &'static str,
    /// For a packet of 20 ms.
    us: f64,
}

/// Measures.
pub(crate) fn run(plan: &Plan) -> Result<Report, Box<dyn Error>> {
    let own = [std::process::id().try_into()?];
    let mut pairs = Vec::new();
    for from in Codec::ALL {
        let packets = speech(from, plan.seconds)?;
        for to in Codec::ALL.into_iter().filter(|to| *to != from) {
            let mut transcoder = Transcoder::new(Conversion { from, to })?;
            let mut out = Vec::new();
            let before = cpu::used_ns(&own)?;
            for packet in &packets {
                out.clear();
                transcoder.transcode(black_box(packet), &mut out)?;
                black_box(&out);
            }
            let used_ns = cpu::used_ns(&own)? - before;
            let us = used_ns as f64 / packets.len() as f64 / 1000.0;
            pairs.push(Pair { from: from.as_str(), to: to.as_str(), us });
        }
    }
    Ok(Report { pairs })
}

/// Something like a voice: overtones of a pitch that moves, louder and lower by turns.
fn speech(codec: Codec, seconds: u32) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut phase = 0.0;
    let sample = |n: u32| {
        let at = f64::from(n) / 8000.0;
        phase += (180.0 + 60.0 * (2.1 * at).sin()) / 8000.0;
        let voice: f64 = (1..12).map(|k| (TAU * phase * f64::from(k)).sin() / f64::from(k)).sum();
        (6000.0 * voice * (0.55 + 0.45 * (7.0 * at).sin())) as i16
    };
    let law = media::g711::Law::A;
    let spoken: Vec<u8> = (0..8000 * seconds).map(sample).map(|it| law.encode(it)).collect();
    let packets = spoken.chunks_exact(160).map(<[u8]>::to_vec);
    if codec == Codec::Pcma {
        return Ok(packets.collect());
    }
    let mut transcoder = Transcoder::new(Conversion { from: Codec::Pcma, to: codec })?;
    let turned = packets.map(|packet| {
        let mut out = Vec::new();
        transcoder.transcode(&packet, &mut out).map(|()| out)
    });
    Ok(turned.collect::<Result<_, _>>()?)
}

impl Report {
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "from   to     us of CPU for 20 ms")?;
        for Pair { from, to, us } in &self.pairs {
            writeln!(f, "{from:<6} {to:<6} {us:>8.1}")?;
        }
        Ok(())
    }
}
