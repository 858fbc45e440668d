//! A baresip user agent, driven over its control socket: JSON in netstrings, events on the same socket.

use super::namespace::within;
use super::process::{Process, fill, until};
use crate::fail::{Fail, Outcome, While, ensure};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How an agent is set up.
pub(super) struct Setup<'a> {
    pub(super) name: &'a str,
    /// The network namespace it lives in.
    pub(super) namespace: &'a str,
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
    /// The account line of baresip.
    pub(super) account: &'a str,
    /// The tone it sends, in Hz.
    pub(super) tone_hz: u16,
    pub(super) rtcp_mux: bool,
    /// First and last RTP port.
    pub(super) rtp: &'a str,
    /// Modules beyond those of every agent.
    pub(super) modules: &'a [&'a str],
    /// For TLS: chain and key in one file.
    pub(super) certificate: Option<PathBuf>,
    /// Where its files go.
    pub(super) folder: PathBuf,
}

/// A running agent.
pub(super) struct Agent {
    name: String,
    process: Process,
    control: TcpStream,
    unread: Vec<u8>,
    /// Types of the events seen, in order.
    events: Vec<String>,
    /// The keys that it was told, in order.
    keys: String,
    folder: PathBuf,
}

impl Agent {
    /// Starts it and takes hold of its control socket.
    pub(super) fn start(setup: &Setup<'_>) -> Outcome<Self> {
        let folder = setup.folder.join(setup.name);
        std::fs::create_dir_all(&folder).while_(folder.display())?;
        let control = format!("{}:{CONTROL_PORT}", setup.address);
        let certificate = setup.certificate.as_ref();
        let certificate = certificate
            .map_or_else(String::new, |file| format!("sip_certificate {}", file.display()));
        let modules: String =
            setup.modules.iter().map(|name| format!("module {name}.so\n")).collect();
        let values = [
            ("LISTEN", &*format!("{}:{}", setup.address, setup.port)),
            ("TONE", &*setup.tone_hz.to_string()),
            ("RTP", setup.rtp),
            ("MUX", if setup.rtcp_mux { "yes" } else { "no" }),
            ("ADDRESS", &*setup.address.to_string()),
            ("CONTROL", &*control),
            ("TLS", &*certificate),
            ("MODULES", &*modules),
            ("FOLDER", &*folder.display().to_string()),
        ];
        fill(include_str!("../../peers/baresip.conf"), &values, &folder.join("config"))?;
        let account = format!("{}\n", setup.account);
        std::fs::write(folder.join("accounts"), account).while_("accounts")?;
        std::fs::write(folder.join("contacts"), "").while_("contacts")?;
        let mut command = within(setup.namespace, "baresip");
        // With -s it writes every SIP message it sees into its log, the place to look after a failure.
        command.arg("-s").arg("-f").arg(&folder).current_dir(&folder);
        let mut process = Process::start(setup.name, &mut command, &folder.join("log"))?;
        let mut stream = None;
        process.until("control socket", START, |_| {
            stream = TcpStream::connect(&control).ok();
            stream.is_some()
        })?;
        let stream = stream.ok_or_else(|| Fail::new("no control socket"))?;
        stream.set_read_timeout(Some(POLL)).while_("control socket")?;
        let name = setup.name.to_owned();
        Ok(Self {
            name,
            process,
            control: stream,
            unread: Vec::new(),
            events: Vec::new(),
            keys: String::new(),
            folder,
        })
    }

    /// Gives a command of baresip's menu and waits for its answer.
    pub(super) fn command(&mut self, command: &str, parameters: &str) -> Outcome {
        let text =
            json!({ "command": command, "params": parameters, "token": command }).to_string();
        let message = format!("{}:{text},", text.len());
        self.control.write_all(message.as_bytes()).while_(&self.name)?;
        let began = Instant::now();
        while began.elapsed() < ANSWER {
            if let Some(answer) = self.pump()?.into_iter().find(|answer| answer["token"] == command)
            {
                return ensure(answer["ok"] == true, || {
                    format!("{}: {command}: {answer}", self.name)
                });
            }
        }
        Err(self.process.fail(&format!("did not answer the command {command}")))
    }

    /// Whether this event has come.
    pub(super) fn saw(&mut self, event: &str) -> Outcome<bool> {
        self.pump()?;
        Ok(self.events.iter().any(|seen| seen == event))
    }

    /// The keys that it was told so far.
    pub(super) fn keys(&mut self) -> Outcome<&str> {
        self.pump()?;
        Ok(&self.keys)
    }

    /// What it has said on its terminal, every SIP message included.
    pub(super) fn said(&self) -> String {
        self.process.said()
    }

    /// Waits until this event has come, at once if it came before.
    pub(super) fn wait_for(&mut self, event: &str) -> Outcome {
        let began = Instant::now();
        while !self.events.iter().any(|seen| seen == event) {
            if began.elapsed() > EVENT {
                let seen = self.events.join(" ");
                return Err(self.process.fail(&format!("saw no {event}, only [{seen}]")));
            }
            self.pump()?;
        }
        Ok(())
    }

    /// Ends it in peace, so that its recordings are complete, and gives back what it heard.
    pub(super) fn recording(mut self) -> Outcome<PathBuf> {
        self.command("quit", "").or_else(|fail| {
            // It may close the socket before it answers.
            if self.process.ended(START).is_ok() { Ok(()) } else { Err(fail) }
        })?;
        self.process.ended(START)?;
        let mut heard = None;
        until("recording", START, || {
            let files = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
            heard = files.map(|entry| entry.path()).find(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-dec.wav"))
            });
            heard.is_some()
        })?;
        heard.ok_or_else(|| Fail::new("no recording"))
    }

    /// Reads what has come: events are kept, answers given back.
    fn pump(&mut self) -> Outcome<Vec<Value>> {
        let mut buffer = [0; 4096];
        match self.control.read(&mut buffer) {
            Ok(0) => return Err(self.process.fail("closed its control socket")),
            Ok(length) => self.unread.extend(buffer.iter().take(length)),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            Err(error) => return Err(Fail(format!("{}: {error}", self.name))),
        }
        let mut answers = Vec::new();
        while let Some(message) = netstring(&mut self.unread) {
            let message: Value = serde_json::from_slice(&message).while_(&self.name)?;
            match message["type"].as_str() {
                Some(kind) => {
                    if kind == "CALL_DTMF_START" {
                        self.keys.push_str(message["param"].as_str().unwrap_or_default());
                    }
                    self.events.push(kind.to_owned());
                }
                None => answers.push(message),
            }
        }
        Ok(answers)
    }
}

/// The same on every agent: each has an address of its own.
const CONTROL_PORT: u16 = 4444;

/// How long one look at the control socket may take.
const POLL: Duration = Duration::from_millis(50);

/// For a start or an end of the program.
const START: Duration = Duration::from_secs(60);

/// For the answer to a command.
const ANSWER: Duration = Duration::from_secs(20);

/// For an event: a call through two TLS hops on a busy machine.
const EVENT: Duration = Duration::from_secs(30);

/// Takes one whole `LENGTH:TEXT,` from the front, if it is there.
fn netstring(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let colon = unread.iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(unread.get(..colon)?).ok()?.parse().ok()?;
    let end = colon + 1 + length;
    let text = unread.get(colon + 1..end)?.to_vec();
    unread.get(end)?;
    unread.drain(..=end);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::netstring;

    #[test]
    fn a_netstring_cut_in_the_middle_waits_for_its_rest() {
        let mut unread = b"2:{},5:{\"a\":".to_vec();
        assert_eq!(netstring(&mut unread), Some(b"{}".to_vec()));
        assert_eq!(netstring(&mut unread), None);
        assert_eq!(unread, b"5:{\"a\":");
    }
}
