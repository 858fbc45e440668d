//! A page that crosses by T.38: SIPp calls and answers, spandsp is the terminal at either end, and tshark
//! takes apart what is on the wire.

use super::capture::{Capture, Trace, said, tshark};
use super::namespace::on;
use super::peers::{self, Sipp};
use super::process::Process;
use super::sipp::Over;
use super::sipp::{self, Role};
use super::{Lab, lab};
use crate::fail::{Fail, Outcome, While, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

/// A page at 14 400 bit/s, both terminals' greetings, and what a busy machine adds.
const PAGE: Duration = Duration::from_secs(90);

/// Speaks, asks for the fax, and for speech again once the page should be over.
const CALLER: &str = "
    > INVITE sdp
    < 100?
    < 180?
    < 200
    > ACK
    pause 1000
    > INVITE fax
    < 100?
    < 200 fax
    > ACK
    pause 34000
    > INVITE sdp
    < 100?
    < 200 | ~m=audio
    > ACK
    pause 500
    > BYE
    < 200";

const CALLEE: &str = "
    < INVITE
    > 180
    pause 100
    > 200 sdp
    < ACK
    < INVITE fax
    > 200 fax
    < ACK
    < INVITE | ~m=audio
    > 200 sdp
    < ACK
    < BYE
    > 200";

/// A terminal.
struct Terminal {
    process: Process,
}

impl Terminal {
    fn start(folder: &Path, role: &str, at: Ipv4Addr, told: &str) -> Outcome<Self> {
        let script = folder.join("fax.py");
        std::fs::write(&script, include_str!("../../peers/fax.py")).while_(script.display())?;
        let mut command = on(&lab::CARRIERS, "python3");
        command.arg(&script).arg(role).arg(format!("{at}:{}", lab::FAX_MEDIA));
        command.arg(lab::BORDER.to_string()).arg(folder.join(format!("{told}.port")));
        command.arg(folder.join(format!("{role}.tiff"))).current_dir(folder);
        let process = Process::start("fax", &mut command, &folder.join(format!("{role}.log")))?;
        Ok(Self { process })
    }

    /// What it says at the end.
    fn ended(mut self) -> Outcome<Value> {
        let status = self.process.ended(PAGE)?;
        let said = self.process.said();
        let result = said.lines().rev().find_map(|line| serde_json::from_str(line).ok());
        let result: Value = result.ok_or_else(|| self.process.fail("said nothing of a fax"))?;
        ensure(status.success(), || format!("the terminal says: {result}"))?;
        Ok(result)
    }
}

pub(super) fn a_page_crosses_by_t38(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("fax")?;
    let capture = Capture::start(&folder)?;
    let ladder = |name, role, text| sipp::xml(name, role, Over::Udp, text);
    let callee = ladder("fax_callee", Role::Callee, CALLEE);
    let callee = Sipp::faxes(&folder, "fax_callee", &callee, lab::CALLEE, None)?;
    let caller = ladder("fax_caller", Role::Caller, CALLER);
    let caller = Sipp::faxes(&folder, "fax_caller", &caller, lab::CALLER, Some(lab::OVER_UDP))?;
    lab.calls += 1;
    let takes = Terminal::start(&folder, "take", lab::CALLEE, "fax_callee")?;
    let sends = Terminal::start(&folder, "send", lab::CALLER, "fax_caller")?;
    super::call::wait(Duration::from_secs(5));
    let shown = lab.tollgate.call()?["call"]["audio"].clone();
    ensure(shown == serde_json::json!(["fax", "fax"]), || format!("during it, shown as {shown}"))?;
    let (sent, taken) = (sends.ended()?, takes.ended()?);
    println!("      sent:  {sent}\n      taken: {taken}");
    ensure(sent["page"] == taken["page"] && sent["page"]["rows"] == 400, || {
        "the page that was taken is not the one that was sent".to_owned()
    })?;
    caller.ends_within(PAGE)?;
    callee.ends_within(PAGE)?;
    lab.tollgate.is_empty_again()?;
    let trace = capture.stop()?;
    let there = crossed(&trace, lab::CALLER, lab::CALLEE)?;
    let back = crossed(&trace, lab::CALLEE, lab::CALLER)?;
    ensure(sent["sent"] == there && taken["sent"] == back, || {
        format!("{there} and {back} datagrams crossed: sent {sent}, taken {taken}")
    })?;
    decoded(&trace, there + back)?;
    let record = lab.tollgate.record(lab.calls)?;
    let media = &record["media"];
    let known = record["fax"] == "t38"
        && media["a"]["received"] == there
        && media["b"]["received"] == back
        && media["a"]["silence"].is_null();
    println!("      {there} datagrams there, {back} back");
    ensure(known, || format!("the record does not say so: {record}"))
}

/// How many datagrams went from one terminal to the other through Tollgate, each as it came and in order.
fn crossed(trace: &Trace, from: Ipv4Addr, to: Ipv4Addr) -> Outcome<usize> {
    let fax = |host| SocketAddrV4::new(host, lab::FAX_MEDIA);
    let of = |wanted: &dyn Fn(&super::capture::Packet) -> bool| -> Vec<Vec<u8>> {
        trace.packets.iter().filter(|it| wanted(it)).map(|it| it.payload.clone()).collect()
    };
    let came = of(&|packet| packet.from == fax(from) && *packet.to.ip() == lab::BORDER);
    let went = of(&|packet| packet.to == fax(to) && *packet.from.ip() == lab::BORDER);
    ensure(!came.is_empty() && came == went, || {
        format!("{} datagrams came from {from}, {} went to {to}", came.len(), went.len())
    })?;
    Ok(came.len())
}

/// tshark finds the fax by the SDP of either side and reads the same in each datagram before and behind
/// Tollgate: a page is asked for, sent and confirmed.
fn decoded(trace: &Trace, crossed: usize) -> Outcome {
    const FIELDS: [&str; 5] =
        ["ip.src", "t38.setup-method", "t38.seq_number", "t30.FacsimileControl", "_ws.malformed"];
    let mut command = tshark(trace.file(lab::CARRIERS.name)?);
    command.args(["-Y", "t38", "-T", "fields", "-E", "occurrence=a"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let lines = said(&mut command)?;
    let (mut came, mut went) = (Vec::new(), Vec::new());
    for line in lines.lines() {
        let Some((from, read)) = line.split_once('\t') else { continue };
        let side = if from == lab::BORDER.to_string() { &mut went } else { &mut came };
        side.extend(read.strip_prefix("SDP\t").map(str::to_owned));
    }
    came.sort_unstable();
    went.sort_unstable();
    ensure(came.len() == crossed && came == went, || {
        let (came, went) = (came.len(), went.len());
        format!("tshark reads {came} datagrams before us and {went} behind us, of {crossed}")
    })?;
    let codes = came.iter().filter_map(|read| read.split('\t').nth(1));
    let codes: BTreeSet<u8> =
        codes.flat_map(|codes| codes.split(',')).filter_map(|code| code.parse().ok()).collect();
    println!("      tshark reads all of them; messages of T.30: {codes:?}");
    let missing: Vec<_> = PAGE_SENT.iter().filter(|(code, _)| !codes.contains(code)).collect();
    ensure(missing.is_empty(), || format!("{missing:?} are missing for a page"))
}

/// What a page takes (T.30, 5.3.6), by tshark's numbers.
const PAGE_SENT: [(u8, &str); 6] =
    [(1, "DIS"), (65, "DCS"), (33, "CFR"), (96, "FCD"), (49, "MCF"), (95, "DCN")];

/// TDR-SDP-013, and the user hears nothing of it.
pub(super) fn a_fax_towards_teams_stays_in_audio(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("fax_to_teams")?;
    let capture = Capture::start(&folder)?;
    let mut user = peers::user(&folder)?;
    let ladder = "
        > INVITE sdp
        < 100?
        < 180?
        < 183?
        < 200
        > ACK
        pause 1000
        > INVITE fax
        < 100?
        < 488
        > ACK
        pause 1000
        > BYE
        < 200";
    let scenario = sipp::xml("fax_to_teams", Role::Caller, Over::Udp, ladder);
    let number = Some(lab::USER_NUMBER);
    let caller = Sipp::plays(&folder, "fax_to_teams", &scenario, lab::CALLER, Over::Udp, number)?;
    lab.plays(&mut user, caller)?;
    let trace = capture.stop()?;
    let asked = trace.sip(lab::FRONT, lab::USER).filter(|sip| sip.starts_with("INVITE ")).count();
    ensure(asked == 1, || format!("Teams got {asked} INVITEs"))?;
    let refused = trace
        .packets
        .iter()
        .find(|it| it.sip().is_some_and(|sip| sip.starts_with("SIP/2.0 488")))
        .ok_or_else(|| Fail::new("no 488"))?;
    let later = |packet: &&super::capture::Packet| packet.at > refused.at + 0.1;
    let goes_on = trace.rtp(lab::BORDER, lab::CALLER).filter(later).count();
    ensure(goes_on > 30, || format!("{goes_on} packets of audio after the refusal"))?;
    let record = lab.tollgate.record(lab.calls)?;
    ensure(record["fax"] == "refused", || format!("the record does not say so: {record}"))
}
