//! Keys from leg to leg: told as events at any clock, by signalling, or as tones.

use crate::wire::*;
use media::g711::Law;
use media::{Carriage, Component, Dtmf, Forward, Key, Notice, Order, PacketBuf, Side, Terms};
use media::{DropReason, Verdict};
use sdp::{Direction, Payload, Stream};
use std::time::Duration;

const SPEECH: u8 = 8;

fn events(number: u8, clock_hz: u32) -> Payload {
    Payload { clock_hz, ..payload(number, "telephone-event") }
}

fn with(payloads: Vec<Payload>, remote: &str) -> Stream {
    Stream { payloads, ..stream(remote, None) }
}

/// A call of two plain legs whose A side speaks all the time, and an ear at B.
struct Line {
    forward: Forward,
    ms: u64,
    sequence: u16,
    heard: Vec<Packet>,
    noticed: Vec<(Side, Notice)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    ms: u64,
    payload_type: u8,
    marker: bool,
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
}

impl Packet {
    fn of(ms: u64, slot: &PacketBuf) -> Self {
        let octets = slot.packet();
        Self {
            ms,
            payload_type: octets[1] & 0x7f,
            marker: octets[1] & 0x80 != 0,
            sequence: sequence_of(slot),
            timestamp: word(octets, 4),
            payload: octets[12..].to_vec(),
        }
    }

    /// Event, whether it is over, and its duration.
    fn event(&self) -> (u8, bool, u16) {
        let p = &self.payload;
        assert_eq!(p.len(), 4);
        (p[0], p[1] & 0x80 != 0, u16::from_be_bytes([p[2], p[3]]))
    }
}

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";

impl Line {
    fn new(a: Vec<Payload>, b: Vec<Payload>, told: (Dtmf, Dtmf)) -> Self {
        let mut line = Self {
            forward: Forward::new([7; 32]),
            ms: 0,
            sequence: 65_000,
            heard: Vec::new(),
            noticed: Vec::new(),
        };
        line.agree(a, b, told, Direction::SendRecv);
        line
    }

    fn agree(&mut self, a: Vec<Payload>, b: Vec<Payload>, told: (Dtmf, Dtmf), b_may: Direction) {
        let leg =
            |stream, dtmf| Some(Carriage { stream, terms: Terms { dtmf, ..Terms::default() } });
        let b = Stream { direction: b_may, ..with(b, B) };
        self.forward.connect(leg(with(a, A), told.0), leg(b, told.1));
    }

    /// A's next packet, 20 ms after the last; what is due meanwhile goes first.
    fn sends(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) -> Verdict {
        self.runs(20);
        let mut octets = vec![0x80, payload_type];
        octets.extend(self.sequence.to_be_bytes());
        octets.extend(timestamp.to_be_bytes());
        octets.extend(7_u32.to_be_bytes());
        octets.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        let mut slot = slot(&octets);
        let verdict =
            self.forward.packet(now(self.ms), Side::A, Component::Rtp, addr(A), &mut slot);
        if verdict == forward_to(Side::B, B) {
            self.heard.push(Packet::of(self.ms, &slot));
        }
        self.listens();
        verdict
    }

    fn runs(&mut self, ms: u64) {
        for _ in 0..ms {
            self.ms += 1;
            let mut slot = PacketBuf::new();
            while self.forward.next_due().is_some_and(|due| due <= now(self.ms).mono) {
                let Some(verdict) = self.forward.generate(now(self.ms), &mut slot) else { break };
                assert_eq!(verdict, forward_to(Side::B, B));
                self.heard.push(Packet::of(self.ms, &slot));
            }
            self.listens();
        }
    }

    fn listens(&mut self) {
        while let Some(notice) = self.forward.poll_notice() {
            self.noticed.push(notice);
        }
    }

    fn speaks(&mut self, packets: u16) {
        for _ in 0..packets {
            let timestamp = u32::from(self.sequence) * 160;
            self.sends(SPEECH, timestamp, &[0xd5; 160]);
        }
    }

    /// A presses a key as RFC 4733 has it: reports every 20 ms, the last one three times, with
    /// those left out that `lost` names.
    fn presses(&mut self, pt: u8, clock_hz: u32, code: u8, ms: u32, lost: &[usize]) {
        let timestamp = u32::from(self.sequence) * 160;
        let steps = (ms / 20) as usize;
        for step in 0..steps + 2 {
            let end = step + 1 >= steps;
            let duration = (step as u32 + 1).min(steps as u32) * 20 * clock_hz / 1000;
            let flags = if end { 0x8a } else { 0x0a };
            let [high, low] = (duration as u16).to_be_bytes();
            let marked = pt | if step == 0 { 0x80 } else { 0 };
            if lost.contains(&step) {
                self.runs(20);
                self.sequence = self.sequence.wrapping_add(1);
            } else {
                self.sends(marked, timestamp, &[code, flags, high, low]);
            }
        }
    }

    /// The keys that B is told by events, as a receiver takes them: code and duration in units.
    fn dialled(&self, event: u8) -> Vec<(u8, u64)> {
        let mut keys: Vec<(u8, u64)> = Vec::new();
        let mut open: Option<(u8, u32, u64)> = None;
        let mut last_over = None;
        for packet in self.heard.iter().filter(|packet| packet.payload_type == event) {
            let (code, over, duration) = packet.event();
            if last_over == Some(packet.timestamp) {
                assert!(over, "nothing but its end follows an end");
                continue;
            }
            let (_, segment, before) = match open {
                Some((same, segment, before)) if same == code => {
                    let since = packet.timestamp.wrapping_sub(segment);
                    assert!(since == 0 || since == 65_535, "a segment begins where one ended");
                    assert!(!packet.marker, "a key is marked once");
                    (same, packet.timestamp, before + u64::from(since))
                }
                _ => {
                    assert!(packet.marker, "a key's first report is marked");
                    (code, packet.timestamp, 0)
                }
            };
            open = Some((code, segment, before));
            if over {
                keys.push((code, before + u64::from(duration)));
                (open, last_over) = (None, Some(packet.timestamp));
            }
        }
        assert_eq!(open, None, "every key is released");
        keys
    }

    /// One number after the other, whatever came from where.
    #[track_caller]
    fn is_one_stream(&self) {
        for pair in self.heard.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "{pair:?}");
        }
    }

    fn order(&mut self, side: Side, order: &Order) {
        self.forward.order(now(self.ms), side, order);
        self.listens();
    }

    fn keys(&self) -> (u64, u64) {
        let stats = self.forward.stats();
        (stats.a.keys, stats.b.keys_lost)
    }
}

const BOTH: (Dtmf, Dtmf) = (Dtmf::Auto, Dtmf::Auto);

fn key(event: u8, ms: u64) -> Key {
    Key { event, held: Duration::from_millis(ms) }
}

/// TDR-COD-005
#[test]
fn at_one_clock_every_report_passes_as_it_is_under_the_other_number() {
    let a = vec![payload(8, "PCMA"), events(101, 8000)];
    let b = vec![payload(8, "PCMA"), events(96, 8000)];
    let mut line = Line::new(a, b, BOTH);
    line.speaks(3);
    line.presses(101, 8000, 5, 160, &[]);
    line.speaks(3);
    let reports: Vec<_> = line.heard.iter().filter(|it| it.payload_type == 96).collect();
    assert_eq!(reports.len(), 10);
    assert!(reports[0].marker && reports.iter().all(|it| it.timestamp == reports[0].timestamp));
    assert_eq!(line.dialled(96), [(5, 1280)]);
    assert_eq!(line.keys(), (1, 0));
    line.is_one_stream();
}

#[test]
fn at_another_clock_the_key_is_pressed_anew_and_the_speech_waits() {
    for (clock_hz, speech) in [(48_000, "opus"), (16_000, "SILK"), (8000, "G722")] {
        let a = vec![payload(8, "PCMA"), events(101, 8000)];
        let speech = Payload { clock_hz, ..payload(97, speech) };
        let b = vec![speech, payload(8, "PCMA"), events(110, clock_hz)];
        let mut line = Line::new(a, b, (Dtmf::Auto, Dtmf::Auto));
        line.speaks(5);
        line.presses(101, 8000, 11, 200, &[]);
        line.speaks(8);
        if clock_hz == 8000 {
            assert_eq!(line.dialled(110), [(11, 1600)]);
            continue;
        }
        let units = u64::from(clock_hz) / 5;
        let dialled = line.dialled(110);
        assert_eq!(dialled.len(), 1, "{dialled:?}");
        let slack = u64::from(clock_hz) * 20 / 1000;
        assert!(dialled[0].0 == 11 && dialled[0].1.abs_diff(units) <= slack, "{dialled:?}");
        let reports: Vec<_> = line.heard.iter().filter(|it| it.payload_type == 110).collect();
        let ends = reports.iter().filter(|it| it.event().1).count();
        assert_eq!(ends, 3, "the last report goes out three times");
        let from = line.heard.iter().position(|it| it.payload_type == 110).unwrap();
        let until = line.heard.iter().rposition(|it| it.payload_type == 110).unwrap();
        assert_eq!(until - from + 1, reports.len(), "no speech in between");
        assert!(line.heard[until + 1].marker, "speech begins anew");
        line.is_one_stream();
    }
}

#[test]
fn a_key_that_outlasts_its_duration_field_is_told_in_segments() {
    let a = vec![payload(8, "PCMA"), events(101, 8000)];
    let opus = Payload { clock_hz: 48_000, ..payload(97, "opus") };
    let b = vec![opus, events(110, 48_000)];
    let mut line = Line::new(a, b, BOTH);
    line.speaks(2);
    line.presses(101, 8000, 9, 4000, &[]);
    line.speaks(8);
    let full = line.heard.iter().filter(|it| it.payload_type == 110 && it.event().2 == 65_535);
    assert!(full.clone().all(|it| !it.event().1), "a full segment is not the end");
    assert_eq!(full.count(), 2);
    let dialled = line.dialled(110);
    assert!(dialled[0].1.abs_diff(192_000) <= 960, "{dialled:?}");
    assert_eq!((dialled.len(), line.keys()), (1, (1, 0)));
}

#[test]
fn segments_of_a_long_key_are_one_key() {
    let a = vec![payload(8, "PCMA"), events(101, 48_000)];
    let b = vec![payload(8, "PCMA"), events(96, 8000)];
    let mut line = Line::new(a, b, BOTH);
    line.speaks(2);
    let first = u32::from(line.sequence) * 160;
    let mut units = 0_u32;
    for step in 0..100 {
        units += 960;
        let segments = units / 65_535;
        let report = (units - segments * 65_535) as u16;
        let [high, low] = report.to_be_bytes();
        let end = if step == 99 { 0x80 } else { 0 };
        let marker = if step == 0 { 0x80 } else { 0 };
        line.sends(101 | marker, first + segments * 65_535, &[4, end | 10, high, low]);
    }
    line.speaks(8);
    let dialled = line.dialled(96);
    assert_eq!(dialled.len(), 1, "{dialled:?}");
    assert!(dialled[0].1.abs_diff(16_000) <= 320, "{dialled:?}");
}

/// TDR-COD-005
#[test]
fn lost_reports_cost_no_key_whichever_they_are() {
    let steps = 10_usize;
    let lost: [&[usize]; 6] = [
        &[0],
        &[0, 1, 2, 3, 4],
        &[steps - 1],
        &[steps - 1, steps, steps + 1],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8],
        &[1, 3, 5, 7, 9],
    ];
    for lost in lost {
        let a = vec![payload(8, "PCMA"), events(101, 16_000)];
        let b = vec![payload(8, "PCMA"), events(96, 8000)];
        let mut line = Line::new(a, b, BOTH);
        line.speaks(3);
        line.presses(101, 16_000, 7, 200, lost);
        line.presses(101, 16_000, 7, 200, &[]);
        line.speaks(30);
        let codes: Vec<u8> = line.dialled(96).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, [7, 7], "lost {lost:?}");
        assert_eq!(line.keys(), (2, 0));
        line.heard.clear();
        line.speaks(3);
        line.is_one_stream();
    }
}

#[test]
fn a_key_whose_end_is_lost_in_a_pause_is_released_all_the_same() {
    let a = vec![payload(8, "PCMA"), events(101, 16_000)];
    let b = vec![payload(8, "PCMA"), events(96, 8000)];
    let mut line = Line::new(a, b, BOTH);
    line.speaks(1);
    line.presses(101, 16_000, 0, 100, &[4, 5, 6]);
    line.runs(1000);
    assert_eq!(line.dialled(96).len(), 1);
    assert_eq!(line.forward.next_due(), None, "nothing is left to do");
}

#[test]
fn a_sender_that_gives_each_report_its_own_timestamp_presses_one_key() {
    let a = vec![payload(8, "PCMA"), events(101, 16_000)];
    let b = vec![payload(8, "PCMA"), events(96, 8000)];
    let mut line = Line::new(a, b, BOTH);
    line.speaks(1);
    for step in 1..=8_u16 {
        let [high, low] = (step * 320).to_be_bytes();
        let end = if step == 8 { 0x80 } else { 0 };
        let marker = if step == 1 { 0x80 } else { 0 };
        line.sends(101 | marker, u32::from(step) * 320, &[3, end | 10, high, low]);
    }
    line.speaks(8);
    assert_eq!(line.dialled(96).len(), 1);
}

#[test]
fn a_key_told_by_info_is_pressed_and_not_twice_if_it_comes_as_event_too() {
    let both = || vec![payload(8, "PCMA"), events(101, 8000)];
    for info_first in [true, false] {
        let mut line = Line::new(both(), both(), BOTH);
        line.speaks(5);
        for code in [1, 2, 2] {
            if info_first {
                line.order(Side::A, &Order::Pressed(key(code, 100)));
            }
            line.presses(101, 8000, code, 100, &[]);
            if !info_first {
                line.order(Side::A, &Order::Pressed(key(code, 100)));
            }
            line.speaks(8);
        }
        let codes: Vec<u8> = line.dialled(101).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, [1, 2, 2], "info first: {info_first}");
        assert_eq!(line.keys(), (3, 0));
        line.is_one_stream();
    }
}

#[test]
fn a_far_side_that_changes_its_ways_is_believed_after_a_while() {
    let both = || vec![payload(8, "PCMA"), events(101, 8000)];
    let mut line = Line::new(both(), both(), BOTH);
    line.presses(101, 8000, 1, 100, &[]);
    line.speaks(120);
    line.order(Side::A, &Order::Pressed(key(2, 100)));
    line.speaks(20);
    let codes: Vec<u8> = line.dialled(101).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [1, 2]);
}

#[test]
fn a_number_dialled_at_once_by_info_is_pressed_key_by_key() {
    let both = || vec![payload(8, "PCMA"), events(101, 8000)];
    let mut line = Line::new(both(), both(), BOTH);
    line.speaks(2);
    let number = [0, 8, 0, 0, 10, 11, 3, 3, 3];
    for code in number {
        line.order(Side::A, &Order::Pressed(key(code, 100)));
    }
    line.speaks(100);
    let dialled = line.dialled(101);
    let codes: Vec<u8> = dialled.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, number);
    assert!(dialled.iter().all(|(_, units)| *units == 800), "{dialled:?}");
    line.is_one_stream();
    for _ in 0..60 {
        line.order(Side::A, &Order::Pressed(key(1, 100)));
    }
    assert_eq!(line.keys().1, 12, "what cannot wait is counted");
}

#[test]
fn without_events_on_the_other_leg_signalling_is_told() {
    let a = vec![payload(8, "PCMA"), events(101, 8000)];
    for told in [Dtmf::Auto, Dtmf::Info] {
        let mut b = vec![payload(8, "PCMA")];
        if told == Dtmf::Info {
            b.push(events(101, 8000));
        }
        let mut line = Line::new(a.clone(), b, (Dtmf::Auto, told));
        line.speaks(2);
        line.presses(101, 8000, 6, 160, &[]);
        line.presses(101, 8000, 6, 100, &[4, 5, 6]);
        line.speaks(20);
        let held = line.noticed.iter().map(|(side, notice)| {
            let Notice::Pressed(key) = notice else { panic!("{notice:?}") };
            (*side, key.event, key.held.as_millis())
        });
        assert_eq!(held.collect::<Vec<_>>(), [(Side::A, 6, 160), (Side::A, 6, 80)]);
        assert!(line.heard.iter().all(|packet| packet.payload_type == SPEECH));
        // The far side takes no INFO: signalling has it pressed.
        line.order(Side::B, &Order::Press(key(6, 100)));
        line.speaks(10);
        assert_eq!(tones(&line), [6]);
    }
}

/// The keys that are in the speech that B hears, by a transform of its own.
fn tones(line: &Line) -> Vec<u8> {
    let samples: Vec<f64> = line
        .heard
        .iter()
        .filter(|it| it.payload_type == SPEECH)
        .flat_map(|it| it.payload.iter().map(|octet| f64::from(Law::A.decode(*octet))))
        .collect();
    let power = |block: &[f64], hz: f64| {
        let (mut re, mut im) = (0.0, 0.0);
        for (at, sample) in block.iter().enumerate() {
            let angle = std::f64::consts::TAU * hz * at as f64 / 8000.0;
            (re, im) = (re + sample * angle.cos(), im + sample * angle.sin());
        }
        re * re + im * im
    };
    let pad = b"123A456B789C*0#D";
    let code = |name: u8| b"0123456789*#ABCD".iter().position(|it| *it == name).unwrap() as u8;
    let mut keys = Vec::new();
    let mut last = None;
    for block in samples.chunks_exact(160) {
        let best = |of: [f64; 4]| {
            let powers = of.map(|hz| power(block, hz));
            let at = (0..4).max_by(|a, b| powers[*a].total_cmp(&powers[*b])).unwrap();
            (at, powers[at])
        };
        let (row, low) = best([697.0, 770.0, 852.0, 941.0]);
        let (column, high) = best([1209.0, 1336.0, 1477.0, 1633.0]);
        let energy: f64 = block.iter().map(|sample| sample * sample).sum();
        let is_key = low + high > 0.7 * energy * 80.0;
        let seen = is_key.then(|| code(pad[row * 4 + column]));
        if seen != last {
            keys.extend(seen);
        }
        last = seen;
    }
    keys
}

#[test]
fn keys_become_tones_where_the_trunk_wants_them_and_the_speech_waits() {
    let a = vec![payload(8, "PCMA"), events(101, 8000)];
    let b = vec![payload(8, "PCMA")];
    let mut line = Line::new(a, b, (Dtmf::Auto, Dtmf::Inband));
    line.speaks(5);
    for code in 0..16 {
        line.presses(101, 8000, code, 100, &[]);
        line.speaks(8);
    }
    assert_eq!(tones(&line), (0..16).collect::<Vec<u8>>());
    assert_eq!(line.keys(), (16, 0));
    line.is_one_stream();
    let first = line.heard.iter().position(|it| it.payload != [0xd5; 160]).unwrap();
    let (before, tone) = (&line.heard[first - 1], &line.heard[first..first + 5]);
    assert!(tone[0].marker);
    for (at, packet) in tone.iter().enumerate() {
        let since = packet.timestamp.wrapping_sub(before.timestamp);
        assert!(since.abs_diff(160 * (at as u32 + 1)) <= 160, "{at}: {since}");
    }
}

/// TDR-COD-005
#[test]
fn tones_become_events_and_the_tones_stay_behind() {
    let a = vec![payload(8, "PCMA")];
    let b = vec![payload(8, "PCMA"), events(101, 8000)];
    let mut line = Line::new(a, b, (Dtmf::Inband, Dtmf::Auto));
    line.speaks(5);
    let pad = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];
    let mut pressed = Vec::new();
    for (row, low) in [697.0, 770.0, 852.0, 941.0].into_iter().enumerate() {
        for (column, high) in [1209.0, 1336.0, 1477.0, 1633.0].into_iter().enumerate() {
            pressed.push(pad[row][column]);
            for packet in 0..4 {
                let tone: Vec<u8> = (0..160)
                    .map(|at| {
                        let t = f64::from(packet * 160 + at) * std::f64::consts::TAU / 8000.0;
                        let sample = 6000.0 * (low * t).sin() + 8000.0 * (high * t).sin();
                        Law::A.encode(sample as i16)
                    })
                    .collect();
                let timestamp = u32::from(line.sequence) * 160;
                line.sends(SPEECH, timestamp, &tone);
            }
            line.speaks(5);
        }
    }
    line.speaks(10);
    let codes: Vec<u8> = line.dialled(101).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, pressed);
    let leaked =
        line.heard.iter().filter(|it| it.payload_type == SPEECH && it.payload != [0xd5; 160]);
    assert!(leaked.count() <= 2 * 16, "no more of a tone is heard than it takes to know it");
    line.is_one_stream();
}

#[test]
fn in_a_hold_keys_go_nowhere_and_nothing_is_left_to_do() {
    let both = || vec![payload(8, "PCMA"), events(101, 8000)];
    let mut line = Line::new(both(), both(), BOTH);
    line.speaks(3);
    line.agree(both(), both(), BOTH, Direction::Inactive);
    let heard = line.heard.len();
    line.presses(101, 8000, 1, 100, &[]);
    line.order(Side::A, &Order::Pressed(key(2, 100)));
    line.order(Side::B, &Order::Press(key(2, 100)));
    line.runs(500);
    assert_eq!((line.heard.len(), line.forward.next_due()), (heard, None));
}

#[test]
fn what_is_no_event_is_dropped_under_its_number() {
    let both = || vec![payload(8, "PCMA"), events(101, 8000)];
    let mut line = Line::new(both(), both(), BOTH);
    assert_eq!(line.sends(101, 0, &[1, 0x8a, 0]), Verdict::Drop(DropReason::Malformed));
    assert_eq!(line.keys(), (0, 0));
}

#[test]
fn no_digit_shows_in_debug_output() {
    let both = || vec![payload(8, "PCMA"), events(101, 16_000)];
    let a = vec![payload(8, "PCMA"), events(101, 8000)];
    let mut shown = Vec::new();
    for code in [4, 7] {
        let mut line = Line::new(a.clone(), both(), (Dtmf::Inband, Dtmf::Auto));
        line.speaks(2);
        line.sends(101 | 0x80, 5, &[code, 10, 0, 160]);
        line.order(Side::A, &Order::Pressed(key(code, 100)));
        shown.push(format!("{:?} {:?}", line.forward, Order::Press(key(code, 100))));
    }
    assert_eq!(shown[0], shown[1]);
}
