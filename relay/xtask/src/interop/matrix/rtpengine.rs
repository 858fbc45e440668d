//! rtpengine as a far end: its media engine speaks to Tollgate, our talker stands behind it. It is told by
//! the ng protocol: bencoded dictionaries over UDP.

use super::super::process::Process;
use super::pair::{End, Keying};
use crate::fail::{Fail, Outcome, While};
use ng::{Client, Value, Words};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The running engine.
pub(super) struct Engine {
    process: Process,
}

/// One call's hold on it.
pub(super) struct Session {
    control: Client,
    call: String,
    end: End,
    /// The name of the address it shows to Tollgate.
    outside: String,
}

impl Engine {
    /// Starts it with one address for each end, named after the last two numbers of it.
    pub(super) fn start(folder: &Path, ends: &[Ipv4Addr]) -> Outcome<Self> {
        let mut command = Command::new("rtpengine");
        command.args(["--config-file=none", "--table=-1", "--foreground", "--log-stderr"]);
        command.args(["--log-level=6", "--num-threads=2", "--delete-delay=0", "--tos=0"]);
        command.args(["--port-min=13000", "--port-max=13998", "--dtls-cert-cipher=prime256v1"]);
        command.arg(format!("--listen-ng={NG}")).arg(format!("--interface=inside/{INSIDE}"));
        command.args(ends.iter().map(|at| format!("--interface={}/{at}", name(*at))));
        let mut process = Process::start("rtpengine", &mut command, &folder.join("rtpengine.log"))?;
        let mut ping = Session::new(INSIDE, super::pair::PLAIN, "ping".to_owned())?;
        process.until("pong", START, |_| ping.control.ask("ping", Words::default()).is_ok())?;
        Ok(Self { process })
    }

    /// The end of what it said.
    pub(super) fn fail(&self, what: &str) -> Fail {
        self.process.fail(what)
    }
}

/// Where it listens for orders, and where it meets our talkers.
const NG: SocketAddrV4 = SocketAddrV4::new(INSIDE, 2223);
pub(super) const INSIDE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 2);

const START: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_millis(1500);

fn name(address: Ipv4Addr) -> String {
    let [_, _, third, fourth] = address.octets();
    format!("e{third}-{fourth}")
}

impl Session {
    /// For the end at this address.
    pub(super) fn new(at: Ipv4Addr, end: End, call: String) -> Outcome<Self> {
        let socket = UdpSocket::bind((INSIDE, 0)).while_("ng")?;
        socket.connect(NG).while_("ng")?;
        socket.set_read_timeout(Some(ANSWER)).while_("ng")?;
        let control = Client::new(socket, call.clone());
        Ok(Self { control, call, end, outside: name(at) })
    }

    /// Our talker's offer as Tollgate is to see it.
    pub(super) fn offer_out(&mut self, sdp: &str) -> Outcome<String> {
        let mux = if self.end.path.mux() { "offer" } else { "demux" };
        let words = self.outwards().and("rtcp-mux", &[mux][..]);
        self.exchange("offer", ("talker", None), sdp, Way::Out, words)
    }

    /// Tollgate's answer to it.
    pub(super) fn answer_in(&mut self, sdp: &str) -> Outcome<String> {
        self.exchange("answer", ("talker", Some("tollgate")), sdp, Way::In, inwards())
    }

    /// Tollgate's offer as our talker is to see it.
    pub(super) fn offer_in(&mut self, sdp: &str) -> Outcome<String> {
        let mux: &[&str] = if self.end.path.mux() { &["accept", "demux"] } else { &["reject"] };
        let words = inwards().and("rtcp-mux", mux).and("SDES", self.unwanted());
        self.exchange("offer", ("tollgate", None), sdp, Way::In, words)
    }

    /// Our talker's answer to that.
    pub(super) fn answer_out(&mut self, sdp: &str) -> Outcome<String> {
        let words = self.outwards();
        self.exchange("answer", ("tollgate", Some("talker")), sdp, Way::Out, words)
    }

    fn outwards(&self) -> Words {
        let protocol = match self.end.keying {
            Keying::Rtp => "RTP/AVP",
            Keying::Dtls => "UDP/TLS/RTP/SAVP",
            _ => "RTP/SAVP",
        };
        let ice = if self.end.path.ice() { "force" } else { "remove" };
        let words = Words::from([("transport-protocol", protocol), ("ICE", ice)]);
        let words = words.and("SDES", self.unwanted());
        if self.end.keying == Keying::Dtls { words } else { words.and("DTLS", "off") }
    }

    fn unwanted(&self) -> Value {
        ng::unwanted(self.end.keying.suite())
    }

    fn exchange(
        &mut self,
        command: &str,
        (from, to): (&str, Option<&str>),
        sdp: &str,
        way: Way,
        words: Words,
    ) -> Outcome<String> {
        let ways = match way {
            Way::Out => ["inside", &self.outside],
            Way::In => [&self.outside, "inside"],
        };
        let mut words = words
            .and("call-id", &*self.call)
            .and("from-tag", from)
            .and("sdp", sdp)
            .and("direction", &ways[..])
            .and("replace", &["origin"][..]);
        if let Some(to) = to {
            words = words.and("to-tag", to);
        }
        let answer = self.control.ask(command, words).while_(command)?;
        Ok(answer.text("sdp").unwrap_or_default().to_owned())
    }
}

/// Whose words are to be changed.
#[derive(Clone, Copy)]
enum Way {
    /// Our talker's, for Tollgate.
    Out,
    /// Tollgate's, for our talker.
    In,
}

impl Drop for Session {
    fn drop(&mut self) {
        // It forgets calls by itself as well.
        let words = Words::from([("call-id", &*self.call), ("from-tag", "")]);
        let _ = self.control.tell("delete", words);
    }
}

fn inwards() -> Words {
    Words::from([("transport-protocol", "RTP/AVP"), ("ICE", "remove")])
}
