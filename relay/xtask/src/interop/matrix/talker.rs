//! A mouth and an ear for plain RTP: a tone as PCMU with RTCP beside it, in the weather that is ordered,
//! and a record of all that is heard.

use super::super::audio::{Audio, mulaw_tone};
use super::pair::Weather;
use crate::fail::{Outcome, While};
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Someone who talks and listens.
pub(super) struct Talker {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    tone_hz: u16,
    weather: Weather,
    over: Arc<AtomicBool>,
    heard: Arc<Mutex<Heard>>,
    threads: Vec<JoinHandle<()>>,
    talking: bool,
}

/// What came, as it came.
#[derive(Default)]
pub(super) struct Heard {
    /// SSRC, sequence number and payload.
    packets: Vec<(u32, u16, Vec<u8>)>,
}

impl Talker {
    /// Takes an even port and the next one, and listens.
    pub(super) fn new(
        address: Ipv4Addr,
        port: u16,
        tone_hz: u16,
        weather: Weather,
    ) -> Outcome<Self> {
        let bind = |port| UdpSocket::bind((address, port)).while_(format_args!("{address}:{port}"));
        let mut talker = Self {
            rtp: bind(port)?,
            rtcp: bind(port + 1)?,
            tone_hz,
            weather,
            over: Arc::default(),
            heard: Arc::default(),
            threads: Vec::new(),
            talking: false,
        };
        talker.listen()?;
        Ok(talker)
    }

    /// Speaks to this address, once.
    pub(super) fn talk(&mut self, rtp: SocketAddr, rtcp: SocketAddr) -> Outcome {
        if std::mem::replace(&mut self.talking, true) {
            return Ok(());
        }
        let sockets = (self.rtp.try_clone().while_("RTP")?, self.rtcp.try_clone().while_("RTCP")?);
        let over = Arc::clone(&self.over);
        let mut speech = Speech::new(self.tone_hz, self.weather);
        self.threads.push(std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                for (packet, report) in speech.due(Instant::now()) {
                    let (socket, to) = if report { (&sockets.1, rtcp) } else { (&sockets.0, rtp) };
                    // Who is not there yet will be at the next packet.
                    let _ = socket.send_to(&packet, to);
                }
                std::thread::sleep(speech.next().saturating_duration_since(Instant::now()));
            }
        }));
        Ok(())
    }

    fn listen(&mut self) -> Outcome {
        let socket = self.rtp.try_clone().while_("listening")?;
        socket.set_read_timeout(Some(GLANCE)).while_("listening")?;
        let (over, heard) = (Arc::clone(&self.over), Arc::clone(&self.heard));
        self.threads.push(std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !over.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                let packet = buffer.get(..length).unwrap_or_default();
                heard.lock().unwrap_or_else(PoisonError::into_inner).take(packet);
            }
        }));
        Ok(())
    }

    /// Falls silent, and gives back what was heard.
    pub(super) fn end(mut self) -> Heard {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Heard {
    fn take(&mut self, packet: &[u8]) {
        let &[first, second, high, low, _, _, _, _, s0, s1, s2, s3, ref payload @ ..] = packet
        else {
            return;
        };
        if first >> 6 == 2 && second & 0x7f == PCMU {
            let ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
            self.packets.push((ssrc, u16::from_be_bytes([high, low]), payload.to_vec()));
        }
    }

    /// What a telephone would play: each packet once, in the order of its source.
    pub(super) fn audio(&self) -> Audio {
        let mut sources: Vec<u32> = Vec::new();
        for (ssrc, _, _) in &self.packets {
            if !sources.contains(ssrc) {
                sources.push(*ssrc);
            }
        }
        let mut payloads: Vec<&[u8]> = Vec::new();
        for source in sources {
            let mut highest: Option<i64> = None;
            let mut of: Vec<(i64, &[u8])> = Vec::new();
            for (_, sequence, payload) in self.packets.iter().filter(|it| it.0 == source) {
                let index = highest.map_or(i64::from(*sequence), |highest| {
                    highest + i64::from(sequence.wrapping_sub(highest as u16) as i16)
                });
                highest = Some(highest.map_or(index, |highest| highest.max(index)));
                of.push((index, payload));
            }
            of.sort_by_key(|(index, _)| *index);
            of.dedup_by_key(|(index, _)| *index);
            payloads.extend(of.into_iter().map(|(_, payload)| payload));
        }
        Audio::from_mulaw(payloads)
    }
}

/// What is said, packet by packet.
struct Speech {
    tone: Vec<u8>,
    ssrc: u32,
    began: Instant,
    /// Packets that were made so far.
    made: u32,
    /// Those under way: when each leaves, latest first in the order of the heap.
    waiting: BinaryHeap<Waiting>,
    weather: Weather,
    chance: u32,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    /// The earliest is the greatest.
    due: std::cmp::Reverse<Instant>,
    packet: Vec<u8>,
    report: bool,
}

impl Speech {
    fn new(tone_hz: u16, weather: Weather) -> Self {
        Self {
            tone: mulaw_tone(tone_hz, 1),
            ssrc: 0x5000_0000 | u32::from(tone_hz),
            began: Instant::now(),
            made: 0,
            waiting: BinaryHeap::new(),
            weather,
            chance: u32::from(tone_hz),
        }
    }

    /// When something is to be done next.
    fn next(&self) -> Instant {
        let making = self.began + FRAME * self.made;
        self.waiting.peek().map_or(making, |first| first.due.0.min(making))
    }

    /// What leaves now.
    fn due(&mut self, now: Instant) -> Vec<(Vec<u8>, bool)> {
        while self.began + FRAME * self.made <= now {
            self.make();
        }
        let mut leaving = Vec::new();
        while self.waiting.peek().is_some_and(|first| first.due.0 <= now) {
            leaving.extend(self.waiting.pop().map(|it| (it.packet, it.report)));
        }
        leaving
    }

    fn make(&mut self) {
        let due = self.began + FRAME * self.made;
        let at = self.made as usize * SAMPLES % self.tone.len();
        // The sequence wraps after two seconds of each call.
        let sequence = FIRST.wrapping_add(self.made as u16);
        let mut packet = vec![0x80, PCMU];
        packet.extend(sequence.to_be_bytes());
        packet.extend((self.made * SAMPLES as u32).to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(self.tone.get(at..at + SAMPLES).unwrap_or_default());
        if self.made % REPORT_EVERY == REPORT_EVERY - 1 {
            let packet = self.report();
            self.waiting.push(Waiting { due: std::cmp::Reverse(due), packet, report: true });
        }
        self.made += 1;
        for due in self.departures(due) {
            let due = std::cmp::Reverse(due);
            self.waiting.push(Waiting { due, packet: packet.clone(), report: false });
        }
    }

    /// When this packet leaves: never, once or twice.
    fn departures(&mut self, due: Instant) -> Vec<Instant> {
        let draw = self.draw();
        match self.weather {
            Weather::Fair => vec![due],
            Weather::Loss if draw % 100 < 3 => Vec::new(),
            // Within the time of one packet, so that the order stays.
            Weather::Jitter => vec![due + Duration::from_micros(u64::from(draw % 19_000))],
            Weather::Reorder if draw % 100 < 5 => vec![due + FRAME * 2 + FRAME / 2],
            Weather::Duplicates if draw % 100 < 5 => vec![due, due + FRAME / 4],
            Weather::Loss | Weather::Reorder | Weather::Duplicates => vec![due],
        }
    }

    fn draw(&mut self) -> u32 {
        self.chance = self.chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.chance >> 8
    }

    /// A sender's report and the name of the source (RFC 3550, 6.4.1 and 6.5).
    fn report(&self) -> Vec<u8> {
        let mut packet = vec![0x80, 200, 0, 6];
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend((u64::from(self.made) << 24).to_be_bytes());
        packet.extend((self.made * SAMPLES as u32).to_be_bytes());
        packet.extend(self.made.to_be_bytes());
        packet.extend((self.made * SAMPLES as u32).to_be_bytes());
        packet.extend([0x81, 202, 0, 3]);
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(*b"\x01\x04talk\0\0");
        packet
    }
}

/// G.711 mu-law.
const PCMU: u8 = 0;
const SAMPLES: usize = 160;
const FRAME: Duration = Duration::from_millis(20);
/// A hundred packets before the wrap.
const FIRST: u16 = 65_436;
/// Packets between two reports: one a second.
const REPORT_EVERY: u32 = 50;
const GLANCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::{FRAME, Heard, Speech, Weather};

    fn said(weather: Weather) -> Vec<u16> {
        let mut speech = Speech::new(440, weather);
        let mut all = Vec::new();
        for step in 0..500 {
            let leaving = speech.due(speech.began + FRAME * step);
            all.extend(leaving.into_iter().filter(|(_, report)| !report).map(|(packet, _)| {
                u16::from_be_bytes([packet[2], packet[3]]).wrapping_sub(super::FIRST)
            }));
        }
        all
    }

    #[test]
    fn the_weather_is_what_its_name_says() {
        let fair: Vec<u16> = (0..500).collect();
        assert_eq!(said(Weather::Fair), fair);
        assert!((470..500).contains(&said(Weather::Loss).len()));
        assert!(said(Weather::Jitter).is_sorted());
        let reordered = said(Weather::Reorder);
        assert!(!reordered.is_sorted());
        assert!(said(Weather::Duplicates).len() > 505);
    }

    #[test]
    fn what_came_late_and_twice_is_played_in_its_place() {
        let mut heard = Heard::default();
        for (sequence, value) in [(65535_u16, 1), (1, 3), (0, 2), (0, 2), (2, 4)] {
            let mut packet = vec![0x80, 0];
            packet.extend(sequence.to_be_bytes());
            packet.extend([0; 8]);
            packet.push(value);
            heard.take(&packet);
        }
        let ascending = super::Audio::from_mulaw([[1, 2, 3, 4].as_slice()]);
        assert_eq!(heard.audio().samples, ascending.samples);
    }
}
