//! rtpengine as a far end: its media engine speaks to Tollgate, our talker stands behind it. It is told by
//! the ng protocol: bencoded dictionaries over UDP.

use super::super::process::Process;
use super::pair::{End, Keying};
use crate::fail::{Fail, Outcome, While, ensure};
use std::collections::BTreeMap;
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
    socket: UdpSocket,
    call: String,
    end: End,
    /// The name of the address it shows to Tollgate.
    outside: String,
    asked: u32,
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
        process.until("pong", START, |_| ping.ask("ping", BTreeMap::new()).is_ok())?;
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

const START: Duration = Duration::from_secs(15);
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
        Ok(Self { socket, call, end, outside: name(at), asked: 0 })
    }

    /// Our talker's offer as Tollgate is to see it.
    pub(super) fn offer_out(&mut self, sdp: &str) -> Outcome<String> {
        let mux = if self.end.path.mux() { "offer" } else { "demux" };
        let words = self.outwards([("rtcp-mux", list(&[mux]))]);
        self.exchange(
            "offer",
            ("talker", None),
            sdp,
            ["inside".to_owned(), self.outside.clone()],
            words,
        )
    }

    /// Tollgate's answer to it.
    pub(super) fn answer_in(&mut self, sdp: &str) -> Outcome<String> {
        let ways = [self.outside.clone(), "inside".to_owned()];
        self.exchange("answer", ("talker", Some("tollgate")), sdp, ways, inwards(&[]))
    }

    /// Tollgate's offer as our talker is to see it.
    pub(super) fn offer_in(&mut self, sdp: &str) -> Outcome<String> {
        let ways = [self.outside.clone(), "inside".to_owned()];
        let accept: &[&str] = if self.end.path.mux() { &["accept", "demux"] } else { &["reject"] };
        let mut words = inwards(accept);
        words.insert("SDES".to_owned(), list(&unwanted(self.end.keying)));
        self.exchange("offer", ("tollgate", None), sdp, ways, words)
    }

    /// Our talker's answer to that.
    pub(super) fn answer_out(&mut self, sdp: &str) -> Outcome<String> {
        let ways = ["inside".to_owned(), self.outside.clone()];
        let words = self.outwards([]);
        self.exchange("answer", ("tollgate", Some("talker")), sdp, ways, words)
    }

    fn outwards<const N: usize>(&self, more: [(&str, Value); N]) -> BTreeMap<String, Value> {
        let protocol = match self.end.keying {
            Keying::Rtp => "RTP/AVP",
            Keying::Dtls => "UDP/TLS/RTP/SAVP",
            _ => "RTP/SAVP",
        };
        let ice = if self.end.path.ice() { "force" } else { "remove" };
        let dtls = if self.end.keying == Keying::Dtls { "passive" } else { "off" };
        let mut words = BTreeMap::from([
            ("transport-protocol".to_owned(), text(protocol)),
            ("ICE".to_owned(), text(ice)),
            ("SDES".to_owned(), list(&unwanted(self.end.keying))),
        ]);
        if dtls == "off" {
            words.insert("DTLS".to_owned(), text(dtls));
        }
        words.extend(more.map(|(key, value)| (key.to_owned(), value)));
        words
    }

    fn exchange(
        &mut self,
        command: &str,
        (from, to): (&str, Option<&str>),
        sdp: &str,
        ways: [String; 2],
        mut words: BTreeMap<String, Value>,
    ) -> Outcome<String> {
        words.insert("sdp".to_owned(), text(sdp));
        words.insert("from-tag".to_owned(), text(from));
        if let Some(to) = to {
            words.insert("to-tag".to_owned(), text(to));
        }
        words.insert("direction".to_owned(), Value::List(ways.map(Value::Text).into()));
        words.insert("replace".to_owned(), list(&["origin"]));
        self.ask(command, words)
    }

    fn ask(&mut self, command: &str, mut words: BTreeMap<String, Value>) -> Outcome<String> {
        words.insert("command".to_owned(), text(command));
        words.insert("call-id".to_owned(), text(&self.call));
        self.asked += 1;
        let cookie = format!("{}-{}", self.call, self.asked);
        let mut message = cookie.clone().into_bytes();
        message.push(b' ');
        Value::Table(words).write(&mut message);
        let mut buffer = vec![0; 65_536];
        for _ in 0..TRIES {
            self.socket.send(&message).while_("ng")?;
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let answer = buffer.get(..length).unwrap_or_default();
            let Some(answer) = answer.strip_prefix(cookie.as_bytes()) else { continue };
            let mut rest = answer.get(1..).unwrap_or_default();
            let Some(Value::Table(answer)) = Value::read(&mut rest) else { continue };
            let result = answer.get("result").and_then(Value::as_text).unwrap_or_default();
            ensure(["ok", "pong"].contains(&result), || {
                format!("rtpengine: {command}: {answer:?}")
            })?;
            let sdp = answer.get("sdp").and_then(Value::as_text).unwrap_or_default();
            return Ok(sdp.to_owned());
        }
        Err(Fail(format!("rtpengine did not answer {command}")))
    }
}

/// A request that is sent again finds its answer by its cookie.
const TRIES: usize = 4;

impl Drop for Session {
    fn drop(&mut self) {
        let mut message = format!("{}-end ", self.call).into_bytes();
        let words = [("command", "delete"), ("call-id", &self.call), ("from-tag", "")];
        let words = words.map(|(key, value)| (key.to_owned(), text(value)));
        Value::Table(words.into()).write(&mut message);
        // It forgets calls by itself as well.
        let _ = self.socket.send(&message);
    }
}

fn inwards(mux: &[&str]) -> BTreeMap<String, Value> {
    let mut words = BTreeMap::from([
        ("transport-protocol".to_owned(), text("RTP/AVP")),
        ("ICE".to_owned(), text("remove")),
    ]);
    if !mux.is_empty() {
        words.insert("rtcp-mux".to_owned(), list(mux));
    }
    words
}

/// Every suite but the one; this release knows no "only".
fn unwanted(keying: Keying) -> Vec<String> {
    let wanted = keying.suite();
    SUITES.iter().filter(|it| Some(**it) != wanted).map(|suite| format!("no-{suite}")).collect()
}

const SUITES: [&str; 12] = [
    "AEAD_AES_256_GCM",
    "AEAD_AES_128_GCM",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
    "AES_192_CM_HMAC_SHA1_80",
    "AES_192_CM_HMAC_SHA1_32",
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "F8_128_HMAC_SHA1_80",
    "F8_128_HMAC_SHA1_32",
    "NULL_HMAC_SHA1_80",
    "NULL_HMAC_SHA1_32",
];

/// What bencoding knows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(i64),
    Text(String),
    List(Vec<Self>),
    Table(BTreeMap<String, Self>),
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list<T: AsRef<str>>(words: &[T]) -> Value {
    Value::List(words.iter().map(|word| text(word.as_ref())).collect())
}

impl Value {
    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        let string = |text: &str, to: &mut Vec<u8>| {
            to.extend(format!("{}:{text}", text.len()).into_bytes());
        };
        match self {
            Self::Number(number) => to.extend(format!("i{number}e").into_bytes()),
            Self::Text(text) => string(text, to),
            Self::List(values) => {
                to.push(b'l');
                values.iter().for_each(|value| value.write(to));
                to.push(b'e');
            }
            Self::Table(values) => {
                to.push(b'd');
                for (key, value) in values {
                    string(key, to);
                    value.write(to);
                }
                to.push(b'e');
            }
        }
    }

    /// Takes one value from the front.
    fn read(from: &mut &[u8]) -> Option<Self> {
        let (&first, rest) = from.split_first()?;
        match first {
            b'i' => {
                let end = rest.iter().position(|byte| *byte == b'e')?;
                let number = std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
                *from = rest.get(end + 1..)?;
                Some(Self::Number(number))
            }
            b'l' | b'd' => {
                *from = rest;
                let mut values = Vec::new();
                while from.first()? != &b'e' {
                    values.push(Self::read(from)?);
                }
                *from = from.get(1..)?;
                if first == b'l' {
                    return Some(Self::List(values));
                }
                let mut table = BTreeMap::new();
                let mut values = values.into_iter();
                while let (Some(Self::Text(key)), Some(value)) = (values.next(), values.next()) {
                    table.insert(key, value);
                }
                Some(Self::Table(table))
            }
            _ => {
                let colon = from.iter().position(|byte| *byte == b':')?;
                let length: usize = std::str::from_utf8(from.get(..colon)?).ok()?.parse().ok()?;
                let text = from.get(colon + 1..colon + 1 + length)?;
                *from = from.get(colon + 1 + length..)?;
                Some(Self::Text(String::from_utf8_lossy(text).into_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Keying, Value, list, text, unwanted};

    #[test]
    fn what_is_written_is_read() {
        let table = Value::Table(
            [
                ("sdp".to_owned(), text("v=0\r\n")),
                ("ICE".to_owned(), list(&["a", "b"])),
                ("n".to_owned(), Value::Number(-3)),
            ]
            .into(),
        );
        let mut octets = Vec::new();
        table.write(&mut octets);
        assert_eq!(Value::read(&mut octets.as_slice()), Some(table));
        assert_eq!(Value::read(&mut &octets[..octets.len() - 1]), None);
    }

    #[test]
    fn one_suite_alone_is_wanted() {
        assert_eq!(unwanted(Keying::Gcm128).len(), 11);
        assert!(!unwanted(Keying::Gcm128).contains(&"no-AEAD_AES_128_GCM".to_owned()));
    }
}
