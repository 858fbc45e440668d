//! What `perf media` and our engine put on the wire, as tshark sees it: whole streams, and sums that are right.
//!
//! Where root or tshark is missing nothing is judged, unless TOLLGATE_STRICT is set.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panic")]
#![expect(clippy::print_stderr, reason = "what was skipped is said")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Packets in front of the stack at the relay are those of the far sides, and what steer sends goes by there
/// as well, with sums of our own.
#[test]
fn what_far_sides_send_and_steer_sends_on_is_whole_by_tshark() {
    judge("steer", Where::Relay, |streams| {
        assert_eq!(streams.len(), 4 * CALLS, "to and from each leg: {streams:?}");
    });
}

/// AF_XDP goes by where the relay's interface can be looked at: its packets are seen at the far end.
#[test]
fn what_xdp_sends_on_is_whole_by_tshark() {
    judge("xdp", Where::FarSides, |streams| {
        assert_eq!(streams.len(), 2 * CALLS, "from each leg: {streams:?}");
    });
}

/// In which network somebody looks.
#[derive(Clone, Copy)]
enum Where {
    Relay,
    FarSides,
}

/// The address and port that a packet is from, and the port that it is to.
type Way = (String, u16, u16);

/// Has calls go through an engine, and tshark say what it saw of them.
fn judge(engine: &str, place: Where, are_all: impl Fn(&BTreeMap<Way, Vec<u16>>)) {
    for needed in ["tshark", "dumpcap", "nsenter"] {
        let found = Command::new(needed).arg("--version").stdout(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return skipped(needed);
        }
    }
    if !privileged() {
        return skipped("root");
    }
    let trace = Trace::new(engine);
    let calls = CALLS.to_string();
    let mut perf = Command::new(env!("CARGO_BIN_EXE_perf"))
        .args(["media", "--net", "veth", "--calls", &calls, "--engine", engine])
        .args(["--against", "floor", "--rounds", "1", "--seconds", "2", "--sink", "tc"])
        .args(["--json", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who still has something to say must be heard.
    let mut said = BufReader::new(perf.stderr.take().unwrap());
    let (interface, process) = stands(&perf, &mut said, engine, place);
    let packets = PACKETS.to_string();
    let captured = Command::new("nsenter")
        .args(["--net", "--target", &process.to_string(), "dumpcap", "-q", "-i", interface])
        .args(["-f", "udp", "-a", "duration:20", "-c", &packets, "-w"])
        .arg(&trace.0)
        .output()
        .unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(perf.wait_with_output().unwrap().status.success(), "perf: {rest}");
    assert!(captured.status.success(), "{}", String::from_utf8_lossy(&captured.stderr));
    let streams = streams(&trace.0);
    are_all(&streams);
    for (way, sequence) in &streams {
        assert!(sequence.len() > 10, "{way:?}: {sequence:?}");
        let gaps = sequence.windows(2).filter(|pair| pair[0].wrapping_add(1) != pair[1]);
        assert_eq!(gaps.count(), 0, "{way:?}: {sequence:?}");
    }
}

/// Waits until the engine's relay stands; where to look, and whose network that is in.
fn stands(
    perf: &Child,
    said: &mut impl BufRead,
    engine: &str,
    place: Where,
) -> (&'static str, u32) {
    let begin = format!("perf: {engine} stands as process ");
    let mut line = String::new();
    let relay = loop {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "perf has ended");
        if let Some(process) = line.strip_prefix(&begin) {
            break process.trim().parse().unwrap();
        }
    };
    match place {
        Where::Relay => ("rel0", relay),
        Where::FarSides => ("far0", perf.id()),
    }
}

/// The sequence numbers of each stream in the order of the trace. Every packet's sums are right.
fn streams(trace: &PathBuf) -> BTreeMap<Way, Vec<u16>> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(trace).args(["-o", "ip.check_checksum:TRUE"]);
    tshark.args(["-o", "udp.check_checksum:TRUE", "-d", "udp.port==10000-10100,rtp"]);
    tshark.args(["-Y", "rtp.p_type == 8", "-T", "fields", "-E", "separator=;"]);
    for field in FIELDS {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut streams: BTreeMap<Way, Vec<u16>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let fields: Vec<&str> = line.split(';').collect();
        let [host, from, to, sequence, of_ip, of_udp] = fields[..] else { panic!("{line}") };
        assert_eq!((of_ip, of_udp), (GOOD, GOOD), "sums: {line}");
        let way = (host.to_owned(), from.parse().unwrap(), to.parse().unwrap());
        streams.entry(way).or_default().push(sequence.parse().unwrap());
    }
    streams
}

/// A file that is gone when nobody looks at it any more.
struct Trace(PathBuf);

impl Trace {
    fn new(engine: &str) -> Self {
        let name = format!("tollgate-perf-wire-{}-{engine}.pcapng", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // It was not made, or is of no use.
        let _ = fs::remove_file(&self.0);
    }
}

fn skipped(want: &str) {
    assert!(std::env::var_os("TOLLGATE_STRICT").is_none() || !privileged(), "no {want}");
    eprintln!("SKIPPED: no {want}");
}

fn privileged() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    uids.split_whitespace().nth(1) == Some("0")
}

const CALLS: usize = 3;
/// Two dozen of each stream.
const PACKETS: usize = 320;
const FIELDS: [&str; 6] = [
    "ip.src",
    "udp.srcport",
    "udp.dstport",
    "rtp.seq",
    "ip.checksum.status",
    "udp.checksum.status",
];
/// As tshark has it in fields.
const GOOD: &str = "1";
