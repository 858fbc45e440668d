//! RTPBleed beside a real call: strangers send to every media port what they can make up, and to the ports
//! of the call all that has crossed the wire so far, back as it was. The two who talk hear each other and
//! nobody else, and the strangers get nothing at all.

use super::call::{Call, TALK, TALK_PACKETS, wait};
use super::capture::{Capture, Trace};
use super::lab::Side;
use super::namespace::on;
use super::process::Process;
use super::tollgate::Metrics;
use super::verdicts::Crossing;
use super::{Lab, lab};
use crate::fail::{Fail, Outcome, While, ensure};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// The hidden verb under which this program runs itself as an attacker.
pub(crate) const ATTACK: &str = "interop-attack";

pub(super) fn attackers_beside_a_call_hear_and_change_nothing(lab: &mut Lab) -> Outcome {
    let drops = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        Metrics::scrape().map(|m| m.sum("tollgate_media_drops_total", &[&label]))
    };
    let reasons = ["unlatched", "bad_tag", "replay"];
    let before = reasons.map(drops);
    let mut call = Call::begin(lab, "attacked")?;
    call.carrier_dials(lab)?;
    let folder = lab.scratch("attackers")?;
    let seen = Capture::start(&folder)?;
    wait(TALK / 4);
    let loot = folder.join("captured");
    let captured = write_loot(&seen.stop()?, &loot)?;
    // One from nowhere, one on the carrier's own network.
    let attackers = [(lab::ELSEWHERE, lab::ELSEWHERE.hosts[0]), (lab::CARRIERS, lab::CALLER)];
    let running = attackers.map(|(side, host)| start(&side, host, &loot, &folder));
    for (running, (_, host)) in running.into_iter().zip(attackers) {
        let mut attacker = running?;
        let status = attacker.ended(ATTACK_MAX)?;
        let said = attacker.said();
        ensure(status.success() && said.contains("got 0 packets"), || format!("{host}: {said}"))?;
    }
    wait(TALK / 3);
    call.carrier.command("hangup", "")?;
    let trace = call.ended_with_tones(lab)?;
    let crossing = Crossing { trace: &trace, carrier: lab::CARRIER, early_max: 0 };
    crossing.judge(lab, TALK_PACKETS)?;
    for (_, host) in attackers {
        let got = trace.packets.iter().filter(|p| *p.to.ip() == host).count();
        ensure(got == 0, || format!("{got} packets went to the attacker {host}"))?;
    }
    let ssrcs: BTreeSet<&[u8]> = trace
        .rtp(lab::BORDER, lab::CARRIER)
        .filter_map(|packet| packet.payload.get(8..12))
        .collect();
    ensure(ssrcs.len() == 1, || format!("the carrier heard {} sources", ssrcs.len()))?;
    for (reason, before) in reasons.into_iter().zip(before) {
        // Strangers send what was captured to each port of the call, and each port something of their own.
        let (before, now) = (before?, drops(reason)?);
        ensure(now >= before + 100.0, || {
            format!("{reason} rose from {before} to {now} by {captured} captured packets and more")
        })?;
    }
    Ok(())
}

fn start(side: &Side, host: Ipv4Addr, loot: &Path, folder: &Path) -> Outcome<Process> {
    let own = std::env::current_exe().while_("own path")?;
    let mut command: Command = on(side, &own.display().to_string());
    command.arg(ATTACK).arg(host.to_string()).arg(loot);
    Process::start("attacker", &mut command, &folder.join(format!("{host}.log")))
}

/// An attack lasts [`ATTACK_FOR`], and the machine may be busy.
const ATTACK_MAX: Duration = Duration::from_secs(30);
const ATTACK_FOR: Duration = Duration::from_secs(3);
/// Between two packets of a kind to one port: this is no flood, of which everybody here would lose packets.
const ROUND: Duration = Duration::from_millis(100);
/// Captured packets that are sent to one port at once.
const PORTION: usize = 16;

/// The media of a call, as text: our port on a line of its own, or a packet.
fn write_loot(seen: &Trace, to: &Path) -> Outcome<usize> {
    let (mut text, mut ports, mut packets) = (String::new(), BTreeSet::new(), 0);
    for packet in &seen.packets {
        let ours = [packet.from, packet.to].into_iter().find(|it| *it.ip() == lab::BORDER);
        let Some(port) = ours.map(|it| it.port()).filter(|it| lab::MEDIA_PORTS.contains(it)) else {
            continue;
        };
        ports.insert(port);
        packets += 1;
        text.push_str("packet ");
        for octet in &packet.payload {
            let _ = write!(text, "{octet:02x}");
        }
        text.push('\n');
    }
    for port in &ports {
        let _ = writeln!(text, "port {port}");
    }
    ensure(packets > 100 && ports.len() >= 2, || {
        format!("{packets} packets on ports {ports:?} were captured: too few to attack with")
    })?;
    std::fs::write(to, text).while_(to.display())?;
    Ok(packets)
}

/// The part that runs on an attacker's side.
pub(crate) fn attack(host: &str, loot: &str) -> ExitCode {
    match attacked(host, loot) {
        Ok((sent, got)) => {
            println!("sent {sent} packets, got {got} packets");
            ExitCode::SUCCESS
        }
        Err(fail) => {
            println!("{fail}");
            ExitCode::FAILURE
        }
    }
}

fn attacked(host: &str, loot: &str) -> Outcome<(usize, usize)> {
    let host: Ipv4Addr = host.parse().while_(host)?;
    let text = std::fs::read_to_string(loot).while_(loot)?;
    let of = |word: &str| {
        let start = format!("{word} ");
        text.lines().filter_map(move |line| line.strip_prefix(&start).map(str::to_owned))
    };
    let captured: Vec<Vec<u8>> = of("packet").map(|hex| octets(&hex)).collect::<Outcome<_>>()?;
    let live: Vec<u16> = of("port").filter_map(|port| port.parse().ok()).collect();
    let (first, last) = lab::BORDER_MEDIA.split_once('-').ok_or_else(|| Fail::new("ports"))?;
    let all = first.parse::<u16>().while_(first)?..=last.parse::<u16>().while_(last)?;
    let socket = UdpSocket::bind((host, 0)).while_("attacker's socket")?;
    socket.set_nonblocking(true).while_("attacker's socket")?;
    let (mut sent, mut got, mut round, began) = (0, 0, 0u16, Instant::now());
    let mut buffer = [0; 2048];
    while began.elapsed() < ATTACK_FOR {
        let mut send = |packet: &[u8], port: u16| {
            // A port that is closed answers by ICMP, and the next call says so.
            sent +=
                usize::from(socket.send_to(packet, SocketAddrV4::new(lab::BORDER, port)).is_ok());
        };
        for port in all.clone() {
            made_up(round, port).iter().for_each(|packet| send(packet, port));
        }
        for port in &live {
            // Few at a time, as a port that is flooded loses what is its own, too.
            let from = usize::from(round) * PORTION;
            captured.iter().cycle().skip(from).take(PORTION).for_each(|packet| send(packet, *port));
        }
        round = round.wrapping_add(1);
        wait(ROUND);
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            println!("{length} octets from {from}");
            got += 1;
        }
    }
    Ok((sent, got))
}

/// Sound of our own in sequence, reports, a good-bye and a binding request.
fn made_up(round: u16, port: u16) -> Vec<Vec<u8>> {
    let ssrc = 0xbad0_0000_u32 | u32::from(port);
    let rtp = [
        &[0x80, 0][..],
        &round.to_be_bytes(),
        &(u32::from(round) * 160).to_be_bytes(),
        &ssrc.to_be_bytes(),
        &[0x55; 160],
    ]
    .concat();
    let report = [&[0x80, 200, 0, 6][..], &ssrc.to_be_bytes(), &[0; 20]].concat();
    let bye = [&[0x81, 203, 0, 1][..], &ssrc.to_be_bytes()].concat();
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    vec![rtp, [report, bye.clone()].concat(), bye, stun]
}

fn octets(hex: &str) -> Outcome<Vec<u8>> {
    let pairs = hex.as_bytes().chunks_exact(2);
    let octet = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).while_("captured packet")?;
        u8::from_str_radix(pair, 16).while_(pair)
    };
    pairs.map(octet).collect()
}
