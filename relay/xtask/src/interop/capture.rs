//! Records what goes over the wire with tshark and reads it back: SIP texts, RTP packets, and tshark's own
//! judgement of each stream.

use super::audio::Audio;
use super::lab;
use super::namespace::on;
use super::process::Process;
use super::srtp;
use crate::fail::{Fail, Outcome, While, ensure};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A capture that runs on both sides.
pub(super) struct Capture {
    wires: Vec<(Process, PathBuf)>,
    folder: PathBuf,
}

/// A capture that ended.
pub(super) struct Trace {
    /// Every UDP datagram of both sides in order.
    pub(super) packets: Vec<Packet>,
    files: Vec<PathBuf>,
    folder: PathBuf,
}

/// One UDP datagram.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// Seconds since the epoch.
    pub(super) at: f64,
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    pub(super) payload: Vec<u8>,
}

/// What tshark says of one RTP stream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stream {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    pub(super) packets: u64,
    pub(super) lost: i64,
    /// The longest time between two packets.
    pub(super) delta_max_ms: f64,
    pub(super) jitter_mean_ms: f64,
    pub(super) jitter_max_ms: f64,
}

/// A sender report with one block, as tshark takes it apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SenderReport {
    /// Seconds since the epoch.
    pub(super) at: f64,
    pub(super) packets: u64,
    pub(super) octets: u64,
    pub(super) lost: i64,
    pub(super) highest: u32,
    pub(super) jitter: u32,
}

impl Capture {
    /// Begins to record all UDP of Teams and of the carriers.
    pub(super) fn start(folder: &Path) -> Outcome<Self> {
        Self::of([lab::TEAMS, lab::CARRIERS], folder)
    }

    /// The same of these sides.
    pub(super) fn of(sides: [lab::Side; 2], folder: &Path) -> Outcome<Self> {
        let mut wires = Vec::new();
        for side in sides {
            let file = folder.join(format!("{}.pcapng", side.name));
            let mut command = on(&side, "tshark");
            // On any interface: between the front and the user there is no wire, only lo.
            command.args(["-q", "-i", "any", "-f", "udp", "-w"]).arg(&file);
            let log = folder.join(format!("{}.tshark.log", side.name));
            wires.push((Process::start("tshark", &mut command, &log)?, file));
        }
        // tshark says that it captures before it does: only a packet in the file is proof.
        let probe = std::net::UdpSocket::bind((lab::BORDER, 0)).while_("probe")?;
        for ((process, file), side) in wires.iter_mut().zip(sides) {
            process.until("first captured packet", START, |_| {
                let _ = probe.send_to(b"probe", (side.hosts[0], DISCARD));
                std::fs::metadata(&*file).is_ok_and(|file| file.len() > HEADERS)
            })?;
        }
        Ok(Self { wires, folder: folder.to_owned() })
    }

    /// Ends it and reads it back.
    pub(super) fn stop(self) -> Outcome<Trace> {
        // dumpcap writes what it holds every so often; the last packets are to be among it.
        std::thread::sleep(FLUSH);
        let (mut packets, mut files) = (Vec::new(), Vec::new());
        for (mut process, file) in self.wires {
            process.signal("INT")?;
            process.ended(START)?;
            let mut command = tshark(&file);
            command.args(["-Y", "udp", "-T", "fields"]);
            for field in FIELDS {
                command.args(["-e", field]);
            }
            packets.extend(said(&mut command)?.lines().filter_map(Packet::read));
            files.push(file);
        }
        packets.sort_by(|a, b| a.at.total_cmp(&b.at));
        Ok(Trace { packets, files, folder: self.folder })
    }
}

/// What is read of each packet.
pub(super) const FIELDS: [&str; 6] =
    ["frame.time_epoch", "ip.src", "udp.srcport", "ip.dst", "udp.dstport", "udp.payload"];

/// What is read of each sender report.
const REPORT_FIELDS: [&str; 6] = [
    "frame.time_epoch",
    "rtcp.sender.packetcount",
    "rtcp.sender.octetcount",
    "rtcp.ssrc.cum_nr",
    "rtcp.ssrc.ext_high",
    "rtcp.ssrc.jitter",
];

/// Where nobody listens (RFC 863).
const DISCARD: u16 = 9;

const START: Duration = Duration::from_secs(60);

const FLUSH: Duration = Duration::from_millis(300);

/// A file is longer than this once it holds a packet.
const HEADERS: u64 = 700;

impl Packet {
    /// A line of tab-separated fields.
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let at = fields.next()?.parse().ok()?;
        let mut address = || {
            let ip: Ipv4Addr = fields.next()?.parse().ok()?;
            Some(SocketAddrV4::new(ip, fields.next()?.parse().ok()?))
        };
        let (from, to) = (address()?, address()?);
        let hex = fields.next()?.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let payload = hex
            .chunks_exact(2)
            .map(|pair| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok())
            .collect::<Option<_>>()?;
        Some(Self { at, from, to, payload })
    }

    /// The text, if this is SIP.
    pub(super) fn sip(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.payload).ok()?;
        text.lines().next()?.contains("SIP/2.0").then_some(text)
    }

    /// Is this RTP, and not the RTCP that may share its port (RFC 5761, 4)?
    pub(super) fn is_rtp(&self) -> bool {
        let media = |port| lab::MEDIA_PORTS.contains(&port);
        let [first, second, ..] = *self.payload else { return false };
        media(self.from.port())
            && media(self.to.port())
            && first >> 6 == 2
            && !(192..=223).contains(&second)
    }
}

impl Trace {
    /// RTP from one host to the other, in order.
    pub(super) fn rtp(&self, from: Ipv4Addr, to: Ipv4Addr) -> impl Iterator<Item = &Packet> {
        self.packets.iter().filter(move |p| *p.from.ip() == from && *p.to.ip() == to && p.is_rtp())
    }

    /// SIP from one host to the other, in order.
    pub(super) fn sip(&self, from: Ipv4Addr, to: Ipv4Addr) -> impl Iterator<Item = &str> {
        self.packets
            .iter()
            .filter(move |p| *p.from.ip() == from && *p.to.ip() == to)
            .filter_map(Packet::sip)
    }

    /// The capture of one side.
    pub(super) fn file(&self, side: &str) -> Outcome<&Path> {
        let is = |file: &&PathBuf| file.file_stem().is_some_and(|stem| stem == side);
        let file = self.files.iter().find(is).ok_or_else(|| Fail::new("no such capture"))?;
        Ok(file.as_path())
    }

    /// tshark's table of RTP streams.
    pub(super) fn streams(&self) -> Outcome<Vec<Stream>> {
        let (low, high) = lab::MEDIA_PORTS.into_inner();
        let mut streams = Vec::new();
        for file in &self.files {
            let mut command = tshark(file);
            command.args(["-q", "-d", &format!("udp.port=={low}-{high},rtp"), "-z", "rtp,streams"]);
            streams.extend(said(&mut command)?.lines().filter_map(Stream::read));
        }
        Ok(streams)
    }

    /// The sender reports in the clear from one host to the other, in order.
    pub(super) fn sender_reports(
        &self,
        from: Ipv4Addr,
        to: Ipv4Addr,
    ) -> Outcome<Vec<SenderReport>> {
        let (low, high) = lab::MEDIA_PORTS.into_inner();
        let filter = format!("ip.src=={from} && ip.dst=={to} && rtcp.pt==200");
        let mut reports = Vec::new();
        for file in &self.files {
            let mut command = tshark(file);
            command.args(["-d", &format!("udp.port=={low}-{high},rtcp"), "-Y", &filter]);
            command.args(["-T", "fields"]);
            for field in REPORT_FIELDS {
                command.args(["-e", field]);
            }
            reports.extend(said(&mut command)?.lines().filter_map(SenderReport::read));
        }
        Ok(reports)
    }

    /// What a plain leg carried from `since` on, decoded.
    pub(super) fn plain_audio(&self, from: Ipv4Addr, to: Ipv4Addr, since: f64) -> Audio {
        let packets = self.rtp(from, to).filter(|p| p.at >= since);
        Audio::from_mulaw(packets.map(|p| p.payload.get(12..).unwrap_or_default()))
    }

    /// What the Teams leg carried from `since` on, opened with the keys that the sender gave in SDP.
    pub(super) fn sealed_audio(&self, from: Ipv4Addr, to: Ipv4Addr, since: f64) -> Outcome<Audio> {
        let keys = self.keys(from);
        ensure(!keys.is_empty(), || format!("no SDES key of {from} on the wire"))?;
        let mut payloads = Vec::new();
        for (number, (start, key)) in keys.iter().enumerate() {
            let end = keys.get(number + 1).map_or(f64::MAX, |(next, _)| *next);
            // From the key's first packet on, for the sake of its rollover counter.
            let ours: Vec<&Packet> =
                self.rtp(from, to).filter(|p| (*start..end).contains(&p.at)).collect();
            let mut sources: Vec<u32> = Vec::new();
            for packet in &ours {
                let ssrc = srtp::ssrc(&packet.payload);
                if !sources.contains(&ssrc) {
                    sources.push(ssrc);
                }
            }
            for source in sources {
                let of: Vec<&&Packet> =
                    ours.iter().filter(|p| srtp::ssrc(&p.payload) == source).collect();
                let sealed: Vec<&[u8]> = of.iter().map(|p| p.payload.as_slice()).collect();
                let opened = srtp::open(&sealed, key, &self.folder)?;
                let heard = of.iter().zip(opened).filter(|(p, _)| p.at >= since);
                payloads.extend(heard.map(|(_, payload)| payload));
            }
        }
        Ok(Audio::from_mulaw(payloads.iter().map(Vec::as_slice)))
    }

    /// The SDES keys under which a host of the Teams leg sends, with the time each was first seen.
    ///
    /// TLS hides the leg itself; the front passes SDP on to the user in the clear, Tollgate's too.
    fn keys(&self, sender: Ipv4Addr) -> Vec<(f64, String)> {
        let teller = if sender == lab::BORDER { lab::FRONT } else { sender };
        let mut keys: Vec<(f64, String)> = Vec::new();
        for packet in self.packets.iter().filter(|p| *p.from.ip() == teller) {
            let Some(line) = packet.sip().and_then(|sip| {
                sip.lines().find(|line| {
                    line.starts_with("a=crypto:") && line.contains(" AES_CM_128_HMAC_SHA1_80 ")
                })
            }) else {
                continue;
            };
            let key = line.split("inline:").nth(1).unwrap_or_default();
            let key = key.split(['|', ' ']).next().unwrap_or_default();
            if keys.last().is_none_or(|(_, last)| last != key) {
                keys.push((packet.at, key.to_owned()));
            }
        }
        keys
    }
}

impl Stream {
    /// A row: two times, then both addresses, SSRC, payload names, packets and `LOST (PERCENT)`.
    pub(super) fn read(row: &str) -> Option<Self> {
        let words: Vec<&str> = row.split_whitespace().collect();
        let [_, _, from, from_port, to, to_port, ssrc, ..] = *words else { return None };
        if !ssrc.starts_with("0x") {
            return None;
        }
        let percent =
            words.iter().position(|word| word.starts_with('(') && word.ends_with("%)"))?;
        // After the percentage: three deltas, three jitters.
        let number = |ahead: usize| words.get(percent + ahead)?.parse::<f64>().ok();
        let address =
            |ip: &str, port: &str| Some(SocketAddrV4::new(ip.parse().ok()?, port.parse().ok()?));
        Some(Self {
            from: address(from, from_port)?,
            to: address(to, to_port)?,
            packets: words.get(percent.checked_sub(2)?)?.parse().ok()?,
            lost: words.get(percent.checked_sub(1)?)?.parse().ok()?,
            delta_max_ms: number(3)?,
            jitter_mean_ms: number(5)?,
            jitter_max_ms: number(6)?,
        })
    }
}

impl SenderReport {
    /// A line of tab-separated fields; one without a block has nothing to compare.
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        Some(Self {
            at: fields.next()?.parse().ok()?,
            packets: fields.next()?.parse().ok()?,
            octets: fields.next()?.parse().ok()?,
            lost: fields.next()?.parse().ok()?,
            highest: fields.next()?.parse().ok()?,
            jitter: fields.next()?.parse().ok()?,
        })
    }
}

pub(super) fn tshark(file: &Path) -> Command {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file);
    command
}

pub(super) fn said(command: &mut Command) -> Outcome<String> {
    let output = command.output().while_("tshark")?;
    ensure(output.status.success(), || {
        format!("tshark: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Packet, Stream};

    #[test]
    fn a_row_of_the_stream_table_is_read() {
        let row = "     0.625139     12.044869       127.0.1.9 11922       127.0.2.1 20154 0xCEEEC80D            \
                   g711U, telephone-event   412     3 (0.7%)          16.356          27.785        3218.797           0.059           3.785           5.597 X";
        let stream = Stream::read(row).unwrap();
        assert_eq!((stream.packets, stream.lost), (412, 3));
        assert_eq!((stream.delta_max_ms, stream.jitter_mean_ms), (3218.797, 3.785));
        assert_eq!(stream.from, "127.0.1.9:11922".parse().unwrap());
        assert_eq!(Stream::read("======"), None);
    }

    #[test]
    fn rtcp_on_the_same_port_is_no_rtp() {
        let line = |payload: &str| {
            Packet::read(&format!("1.5\t127.0.1.9\t11922\t127.0.2.1\t20154\t{payload}")).unwrap()
        };
        assert!(line("8000ffff").is_rtp());
        assert!(!line("80c8ffff").is_rtp());
        assert!(!line("0001ffff").is_rtp());
    }
}
