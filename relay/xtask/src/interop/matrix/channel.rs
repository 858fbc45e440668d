//! SIP's way between one end and Tollgate: datagrams, a connection, or TLS with OpenSSL's program at the
//! end of two pipes.

use super::super::process::PATH;
use super::pair::Transport;
use crate::fail::{Fail, Outcome, While};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One end's way.
pub(super) struct Channel {
    writer: Writer,
    inbox: Receiver<String>,
    over: Arc<AtomicBool>,
    program: Option<Child>,
}

enum Writer {
    Datagrams(UdpSocket),
    /// Nobody may have come yet.
    Stream(Arc<Mutex<Option<Box<dyn Write + Send>>>>),
}

impl Channel {
    /// Waits for Tollgate at this address, as somebody who is called does.
    pub(super) fn listen(transport: Transport, at: Ipv4Addr, pem: &Path) -> Outcome<Self> {
        match transport {
            Transport::Udp => Self::datagrams(at),
            Transport::Tcp => {
                let listener = TcpListener::bind((at, PORT)).while_(format_args!("{at}:{PORT}"))?;
                let (tell, inbox) = channel();
                let slot: Slot = Arc::default();
                let writer = Writer::Stream(Arc::clone(&slot));
                std::thread::spawn(move || {
                    while let Ok((stream, _)) = listener.accept() {
                        let Ok(twin) = stream.try_clone() else { continue };
                        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(twin));
                        read_all(stream, &tell);
                    }
                });
                Ok(Self { writer, inbox, over: Arc::default(), program: None })
            }
            Transport::Tls => {
                let accept = format!("{at}:{TLS_PORT}");
                let mut command = Command::new("openssl");
                command.args(["s_server", "-quiet", "-accept", &accept, "-cert"]).arg(pem);
                command.arg("-cert_chain").arg(pem).arg("-key").arg(pem);
                Self::program(&mut command)
            }
        }
    }

    /// Goes to Tollgate from this address, as a caller does.
    pub(super) fn connect(transport: Transport, from: Ipv4Addr, pem: &Path) -> Outcome<Self> {
        match transport {
            Transport::Udp => Self::datagrams(from),
            Transport::Tcp => {
                let stream = connected(from).while_("TCP to Tollgate")?;
                let twin = stream.try_clone().while_("TCP to Tollgate")?;
                let (tell, inbox) = channel();
                std::thread::spawn(move || read_all(stream, &tell));
                let writer: Box<dyn Write + Send> = Box::new(twin);
                let writer = Writer::Stream(Arc::new(Mutex::new(Some(writer))));
                Ok(Self { writer, inbox, over: Arc::default(), program: None })
            }
            Transport::Tls => {
                let (to, bind) = (format!("{BORDER}:{TLS_PORT}"), format!("{from}:0"));
                let mut command = Command::new("openssl");
                command.args(["s_client", "-quiet", "-connect", &to, "-bind", &bind, "-cert"]);
                command.arg(pem).arg("-cert_chain").arg(pem).arg("-key").arg(pem);
                Self::program(&mut command)
            }
        }
    }

    fn datagrams(at: Ipv4Addr) -> Outcome<Self> {
        let socket = UdpSocket::bind((at, PORT)).while_(format_args!("{at}:{PORT}"))?;
        let ear = socket.try_clone().while_("SIP")?;
        ear.set_read_timeout(Some(GLANCE)).while_("SIP")?;
        let over = Arc::new(AtomicBool::new(false));
        let (tell, inbox) = channel();
        let until = Arc::clone(&over);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !until.load(Ordering::Relaxed) {
                let Ok(length) = ear.recv(&mut buffer) else { continue };
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                if tell.send(text.into_owned()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { writer: Writer::Datagrams(socket), inbox, over, program: None })
    }

    fn program(command: &mut Command) -> Outcome<Self> {
        command.env("PATH", PATH).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().while_("starting openssl")?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Fail::new("openssl has no pipes"));
        };
        let (tell, inbox) = channel();
        std::thread::spawn(move || read_all(output, &tell));
        let writer: Box<dyn Write + Send> = Box::new(input);
        let writer = Writer::Stream(Arc::new(Mutex::new(Some(writer))));
        Ok(Self { writer, inbox, over: Arc::default(), program: Some(child) })
    }

    pub(super) fn send(&self, message: &str) -> Outcome {
        match &self.writer {
            Writer::Datagrams(socket) => {
                let to = SocketAddrV4::new(BORDER, PORT);
                socket.send_to(message.as_bytes(), to).map(drop).while_("SIP over UDP")
            }
            Writer::Stream(slot) => {
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                let writer = slot.as_mut().ok_or_else(|| Fail::new("nobody has connected"))?;
                writer.write_all(message.as_bytes()).while_("SIP over a connection")?;
                writer.flush().while_("SIP over a connection")
            }
        }
    }

    /// The next message, if one comes within this time.
    pub(super) fn receive(&self, patience: Duration) -> Option<String> {
        self.inbox.recv_timeout(patience).ok()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(program) = &mut self.program {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

type Slot = Arc<Mutex<Option<Box<dyn Write + Send>>>>;

/// Tollgate, as the ends see it.
pub(super) const BORDER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(super) const PORT: u16 = 5060;
pub(super) const TLS_PORT: u16 = 5061;

const GLANCE: Duration = Duration::from_millis(200);

fn connected(from: Ipv4Addr) -> std::io::Result<TcpStream> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&SocketAddr::from((BORDER, PORT)).into())?;
    Ok(socket.into())
}

/// Cuts a stream into messages until it ends.
fn read_all(mut stream: impl Read, tell: &Sender<String>) {
    let (mut unread, mut buffer) = (Vec::new(), [0; 16_384]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        unread.extend_from_slice(buffer.get(..length).unwrap_or_default());
        while let Some(message) = message(&mut unread) {
            if tell.send(message).is_err() {
                return;
            }
        }
    }
}

/// Takes one whole message from the front (RFC 3261, 18.3), past keep-alives.
fn message(unread: &mut Vec<u8>) -> Option<String> {
    let idle = unread.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    unread.drain(..idle);
    let end = unread.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(unread.get(..end)?).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let whole = end + length.unwrap_or(0_usize);
    let text = String::from_utf8_lossy(unread.get(..whole)?).into_owned();
    unread.drain(..whole);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_message_waits_for_its_body_and_keep_alives_are_none() {
        let mut unread = b"\r\n\r\nBYE x SIP/2.0\r\nContent-Length: 3\r\n\r\nab".to_vec();
        assert_eq!(message(&mut unread), None);
        unread.extend(b"cSIP/2.0");
        assert!(message(&mut unread).unwrap().ends_with("\r\n\r\nabc"));
        assert_eq!(unread, b"SIP/2.0");
    }
}
