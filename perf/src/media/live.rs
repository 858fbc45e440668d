//! The far sides as BPF programs (`perf/bpf/traffic.bpf.c`): they outrun every relay, as frames are made in
//! the kernel and never see a socket.

use super::order::{FAR_INTERFACE, Order, Sink};
use super::wire::{self, Payload};
use crate::machine;
use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::{SchedClassifier, TcAttachType, Xdp, XdpMode};
use aya::{Ebpf, include_bytes_aligned};
use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};

type Failure = Box<dyn Error>;

/// The programs with their tables, attached to the far end.
pub(super) struct Live {
    ebpf: Ebpf,
    generate: OwnedFd,
    /// Both directions of all calls in the order of sending: those of the first sender, then of the second.
    flows: Vec<(usize, usize)>,
    /// How many of them each sender has.
    shares: Vec<u32>,
    counts: PerCpuArray<MapData, u64>,
    progress: Array<MapData, [u64; 5]>,
}

/// How the far sides send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Packets at once, of each sender.
    pub(super) batch: u32,
    /// From one batch to the next; none: as soon as all others have done.
    pub(super) slot_ns: u64,
    /// So many packets of each stream.
    pub(super) ticks: u32,
    /// What comes back of these counts.
    pub(super) window: [u32; 2],
}

/// Where it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) batches: u64,
    pub(super) late: u64,
    pub(super) tick: u32,
}

/// What has come back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) all: u64,
    pub(super) in_window: u64,
    /// Came from another port of the relay than the leg's.
    pub(super) wrong_port: u64,
}

/// A packet that came back, to be looked at.
pub(super) struct Sample {
    pub(super) call: usize,
    /// The side whose far side received it.
    pub(super) side: usize,
    pub(super) octets: Vec<u8>,
}

impl Live {
    /// The far sides of a relay that is `at` these ports.
    pub(super) fn new(order: &Order, at: &[[u16; 2]], ticks: u32) -> Result<Self, Failure> {
        let mut ebpf = Ebpf::load(OBJECT)?;
        let (flows, shares) = shared_out(order);
        let mut heads: Array<_, [u64; 6]> = Array::try_from(take(&mut ebpf, "flows")?)?;
        let mut awaited: Array<_, u64> = Array::try_from(take(&mut ebpf, "far_ports")?)?;
        let payloads = [0, 1].map(|side| wire::payloads(order, side, ticks as usize));
        let [a, b] = payloads;
        let payloads = [a?, b?];
        for (place, &(call, side)) in flows.iter().enumerate() {
            let far_ports = order.far_ports[call];
            let len = payloads[side].first().map_or(wire::RTP_LEN, |payload| payload.octets.len());
            let (head, sum) = wire::head(far_ports[side], at[call][side], len);
            let mut entry = [0; 48];
            entry[..40].copy_from_slice(&head[..40]);
            entry[42] = side as u8;
            entry[44..].copy_from_slice(&sum.to_ne_bytes());
            heads.set(place as u32, words(&entry), 0)?;
            // It comes back at the other side, from the leg there.
            let other = 1 - side;
            let from = u64::from(at[call][other].to_be());
            let entry = u64::from(place as u32 + 1) | from << 32;
            awaited.set(u32::from(far_ports[other]), entry, 0)?;
        }
        let mut table: Array<_, [u64; 25]> = Array::try_from(take(&mut ebpf, "payloads")?)?;
        for (side, payloads) in payloads.iter().enumerate() {
            for (tick, payload) in payloads.iter().enumerate() {
                table.set(side as u32 * TICKS_MAX + tick as u32, entry(payload), 0)?;
            }
        }
        let program: &mut Xdp = ebpf.program_mut("generate").ok_or(NO_PROGRAM)?.try_into()?;
        program.load()?;
        let generate = program.fd()?.as_fd().try_clone_to_owned()?;
        receive_at(&mut ebpf, order.sink)?;
        Ok(Self {
            generate,
            flows,
            shares,
            counts: PerCpuArray::try_from(take(&mut ebpf, "counts")?)?,
            progress: Array::try_from(take(&mut ebpf, "progress")?)?,
            ebpf,
        })
    }

    /// Prepares a run; gives back what makes it, for each sender: to be called on a thread that is on its
    /// processor, and will not leave it.
    pub(super) fn sending(&mut self, pace: &Pace, on: &[usize]) -> Result<Vec<Sending>, Failure> {
        let [from, to] = pace.window;
        let interface = u64::from(machine::interface_index(FAR_INTERFACE)?);
        let map = self.ebpf.map_mut("plan").ok_or(NO_MAP)?;
        let mut plans = Array::<_, [u64; 5]>::try_from(map)?;
        let mut first = 0;
        let mut sendings = Vec::new();
        for ((&flows, &cpu), stamps) in self.shares.iter().zip(on).zip(0_u64..) {
            let plan = [
                u64::from(flows) | u64::from(pace.batch) << 32,
                pace.slot_ns,
                interface | u64::from(from) << 32,
                u64::from(to) | u64::from(to.saturating_sub(1)) << 32,
                u64::from(first) | stamps << 32,
            ];
            if self.shares.len() == 1 {
                // Wherever it is sent from.
                (0..SENDERS).try_for_each(|sender| plans.set(sender, plan, 0))?;
            } else {
                plans.set(cpu as u32 % SENDERS, plan, 0)?;
            }
            sendings.push(Sending {
                program: self.generate.try_clone()?,
                packets: pace.ticks * flows,
                batch: pace.batch,
            });
            first += flows;
        }
        Ok(sendings)
    }

    pub(super) fn flows(&self) -> u32 {
        self.flows.len() as u32
    }

    /// Of all senders together; the tick is that of the last one.
    pub(super) fn progress(&self) -> Result<Progress, Failure> {
        let mut all = Progress { tick: u32::MAX, ..Progress::default() };
        let mut senders = 0;
        for sender in 0..SENDERS {
            let [batches, _, late, place, _] = self.progress.get(&sender, 0)?;
            if batches == 0 {
                continue;
            }
            senders += 1;
            all.batches += batches;
            all.late += late;
            all.tick = all.tick.min((place >> 32) as u32);
        }
        // Who has not begun is at the beginning.
        Ok(if senders < self.shares.len() { Progress { tick: 0, ..all } } else { all })
    }

    pub(super) fn counts(&self) -> Result<Counts, Failure> {
        let of =
            |which: u32| -> Result<u64, Failure> { Ok(self.counts.get(&which, 0)?.iter().sum()) };
        Ok(Counts { all: of(0)?, in_window: of(1)?, wrong_port: of(2)? })
    }

    /// How often each latency was seen, by its bucket.
    pub(super) fn latency(&self) -> Result<Vec<u64>, Failure> {
        let map = self.ebpf.map("latency").ok_or(NO_MAP)?;
        let map = PerCpuArray::<_, u64>::try_from(map)?;
        (0..map.len()).map(|bucket| Ok(map.get(&bucket, 0)?.iter().sum())).collect()
    }

    /// The first packets of the last tick that counts.
    pub(super) fn samples(&self) -> Result<Vec<Sample>, Failure> {
        let map = self.ebpf.map("samples").ok_or(NO_MAP)?;
        let map = Array::<_, [u64; 25]>::try_from(map)?;
        let mut samples = Vec::new();
        for place in 0..map.len() {
            let sample = map.get(&place, 0)?;
            let (flow, len) = (sample[0] as u32 as usize, (sample[0] >> 32) as usize);
            if let Some(&(call, side)) = flow.checked_sub(1).and_then(|flow| self.flows.get(flow)) {
                let octets: Vec<u8> =
                    sample[1..].iter().flat_map(|word| word.to_ne_bytes()).collect();
                let octets = octets[..len.min(octets.len())].to_vec();
                samples.push(Sample { call, side: 1 - side, octets });
            }
        }
        Ok(samples)
    }
}

/// What one sender is to send.
pub(super) struct Sending {
    program: OwnedFd,
    packets: u32,
    batch: u32,
}

impl Sending {
    /// Sends it all; takes as long as the far sides talk.
    pub(super) fn send(self) -> std::io::Result<()> {
        let len = wire::HEAD_LEN + wire::PAYLOAD_MAX;
        machine::send_frames(self.program.as_fd(), len, self.packets, self.batch)
    }
}

/// Has what the relay sends end here.
fn receive_at(ebpf: &mut Ebpf, sink: Sink) -> Result<(), Failure> {
    match sink {
        Sink::Xdp => {
            let program: &mut Xdp = ebpf.program_mut("take").ok_or(NO_PROGRAM)?.try_into()?;
            program.load()?;
            program.attach(FAR_INTERFACE, XdpMode::Driver)?;
        }
        Sink::Tc => {
            let program = ebpf.program_mut("take_at_tc").ok_or(NO_PROGRAM)?;
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()?;
            program.attach(FAR_INTERFACE, TcAttachType::Ingress)?;
        }
    }
    Ok(())
}

/// A relay's interface at which all that is UDP ends.
pub(super) struct Discarding {
    _ebpf: Ebpf,
}

impl Discarding {
    pub(super) fn at(interface: &str) -> Result<Self, Failure> {
        let mut ebpf = Ebpf::load(OBJECT)?;
        let program: &mut Xdp = ebpf.program_mut("discard").ok_or(NO_PROGRAM)?.try_into()?;
        program.load()?;
        program.attach(interface, XdpMode::Driver)?;
        Ok(Self { _ebpf: ebpf })
    }
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, Failure> {
    Ok(ebpf.take_map(name).ok_or(NO_MAP)?)
}

/// Both directions of all calls, so that neighbours in time are not neighbours in memory.
pub(super) fn in_order(calls: usize) -> Vec<(usize, usize)> {
    let flows = 2 * calls;
    // A stride that shares no factor with the number of flows visits each once.
    let stride = (flows * 5 / 8..flows).find(|&stride| coprime(stride, flows)).unwrap_or(1);
    (0..flows).map(|at| at * stride % flows).map(|flow| (flow / 2, flow % 2)).collect()
}

/// The flows of each sender, and how many they are: where several relay, each has a sender for its calls.
fn shared_out(order: &Order) -> (Vec<(usize, usize)>, Vec<u32>) {
    let (mut flows, mut shares, mut first) = (Vec::new(), Vec::new(), 0);
    let senders = if order.threaded { 1 } else { order.workers.min(SENDERS as usize) };
    for sender in 0..senders {
        let calls = match senders {
            1 => order.calls(),
            _ => (0..order.calls()).filter(|&call| order.worker_of(call) == sender).count(),
        };
        flows.extend(in_order(calls).into_iter().map(|(call, side)| (first + call, side)));
        shares.push(2 * calls as u32);
        first += calls;
    }
    (flows, shares)
}

fn coprime(a: usize, b: usize) -> bool {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

fn entry(payload: &Payload) -> [u64; 25] {
    let mut entry = [0; 200];
    entry[..payload.octets.len()].copy_from_slice(&payload.octets);
    entry[192..196].copy_from_slice(&(payload.octets.len() as u32).to_ne_bytes());
    entry[196..].copy_from_slice(&wire::sum(&payload.octets).to_ne_bytes());
    words(&entry)
}

fn words<const N: usize>(octets: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, octets) in words.iter_mut().zip(octets.chunks_exact(8)) {
        let mut eight = [0; 8];
        eight.copy_from_slice(octets);
        *word = u64::from_ne_bytes(eight);
    }
    words
}

/// The upper end of a bucket of latency, in nanoseconds (`bucket_of` in the program).
pub(super) fn bucket_end_ns(bucket: usize) -> u64 {
    let (octave, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    if octave == 0 { step + 1 } else { (STEPS + step + 1) << (octave - 1) }
}

static OBJECT: &[u8] = include_bytes_aligned!("../../bpf/traffic.bpf.o");
const NO_PROGRAM: &str = "perf/bpf/traffic.bpf.o lacks a program";
const NO_MAP: &str = "perf/bpf/traffic.bpf.o lacks a table";
/// As in the program.
pub(super) const TICKS_MAX: u32 = 16_384;
/// The same: processors that make packets.
const SENDERS: u32 = 2;
const STEPS: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_has_its_place_and_neighbours_are_apart() {
        for calls in [1, 2, 7, 500] {
            let mut order = in_order(calls);
            order.sort_unstable();
            let all: Vec<_> = (0..calls).flat_map(|call| [(call, 0), (call, 1)]).collect();
            assert_eq!(order, all);
        }
        assert!(in_order(500).windows(2).all(|pair| pair[0].0.abs_diff(pair[1].0) > 1));
    }

    #[test]
    fn buckets_are_narrow_and_in_order() {
        assert_eq!((bucket_end_ns(0), bucket_end_ns(31)), (1, 32));
        assert_eq!((bucket_end_ns(32), bucket_end_ns(63), bucket_end_ns(64)), (33, 64, 66));
        assert!((0..800).all(|at| bucket_end_ns(at) < bucket_end_ns(at + 1)));
    }
}
