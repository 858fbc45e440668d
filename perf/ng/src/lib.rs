//! rtpengine's ng protocol: bencoded orders over UDP, each behind a cookie that its answer repeats.

#![forbid(unsafe_code)]

mod bencode;

pub use bencode::{Value, Words};

use std::fmt;
use std::io;
use std::net::UdpSocket;

/// Who gives orders.
#[derive(Debug)]
pub struct Client {
    socket: UdpSocket,
    /// Its cookies begin so.
    name: String,
    asked: u32,
}

impl Client {
    /// By a socket that is connected to rtpengine, and whose timeout says how long an order waits for its answer
    /// until it is sent again. Clients with one name take each other's answers for their own.
    pub fn new(socket: UdpSocket, name: impl Into<String>) -> Self {
        Self { socket, name: name.into(), asked: 0 }
    }

    /// Gives an order and waits for its answer.
    pub fn ask(&mut self, command: &str, words: Words) -> Result<Words, Failure> {
        self.asked += 1;
        let cookie = format!("{}-{} ", self.name, self.asked);
        let order = order(&cookie, command, words);
        let mut answer = vec![0; 65_536];
        // The same cookie again: it answers from memory if it has answered.
        for _ in 0..TRIES {
            self.socket.send(&order)?;
            while let Ok(len) = self.socket.recv(&mut answer) {
                let Some(body) = answer[..len].strip_prefix(cookie.as_bytes()) else { continue };
                let Some(said) = Words::read(body) else { continue };
                return match said.text("result") {
                    Some("ok" | "pong") => Ok(said),
                    _ => Err(Failure::Refused(said)),
                };
            }
        }
        Err(Failure::Silent)
    }

    /// Gives an order that may be lost.
    pub fn tell(&self, command: &str, words: Words) -> io::Result<()> {
        let order = order(&format!("{}-told ", self.name), command, words);
        self.socket.send(&order).map(|_| ())
    }
}

fn order(cookie: &str, command: &str, words: Words) -> Vec<u8> {
    let mut order = cookie.as_bytes().to_vec();
    words.and("command", command).write(&mut order);
    order
}

/// Why an order was not followed.
#[derive(Debug)]
pub enum Failure {
    /// It could not be sent.
    Socket(io::Error),
    /// No answer came.
    Silent,
    /// This one came.
    Refused(Words),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => write!(f, "rtpengine cannot be told: {error}"),
            Self::Silent => f.write_str("rtpengine does not answer"),
            Self::Refused(said) => write!(f, "rtpengine says {said:?}"),
        }
    }
}

impl std::error::Error for Failure {}

/// What `SDES` has to say so that it takes this suite alone, or none: Debian's version knows no `only-`.
pub fn unwanted(wanted: Option<&str>) -> Value {
    let others = SUITES.iter().filter(|suite| Some(**suite) != wanted);
    Value::List(others.map(|suite| format!("no-{suite}").as_str().into()).collect())
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
/// How often an order is sent.
const TRIES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn client() -> (Client, UdpSocket) {
        let [ours, theirs] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        ours.connect(theirs.local_addr().unwrap()).unwrap();
        theirs.connect(ours.local_addr().unwrap()).unwrap();
        for socket in [&ours, &theirs] {
            socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        }
        (Client::new(ours, "call"), theirs)
    }

    #[test]
    fn the_answer_to_another_order_is_passed_over() {
        let (mut client, theirs) = client();
        for answer in ["call-11 d6:result2:oke", "call-1 d3:sdp1:a6:result2:oke"] {
            theirs.send(answer.as_bytes()).unwrap();
        }
        let answer = client.ask("offer", Words::default()).unwrap();
        assert_eq!(answer.text("sdp"), Some("a"));
    }

    #[test]
    fn an_order_that_is_refused_is_not_followed() {
        let (mut client, theirs) = client();
        theirs.send(b"call-1 d12:error-reason4:busy6:result5:errore").unwrap();
        let Err(Failure::Refused(said)) = client.ask("offer", Words::default()) else {
            panic!("it is taken for followed");
        };
        assert_eq!(said.text("error-reason"), Some("busy"));
    }

    #[test]
    fn an_order_without_an_answer_is_sent_again_under_its_cookie() {
        let (mut client, theirs) = client();
        assert!(matches!(client.ask("ping", Words::default()), Err(Failure::Silent)));
        let mut received = [0; 100];
        for _ in 0..TRIES {
            let len = theirs.recv(&mut received).unwrap();
            assert_eq!(&received[..len], b"call-1 d7:command4:pinge");
        }
    }

    #[test]
    fn one_suite_alone_is_wanted() {
        let Value::List(unwanted) = unwanted(Some("AEAD_AES_128_GCM")) else { panic!("no list") };
        assert_eq!(unwanted.len(), SUITES.len() - 1);
        assert!(!unwanted.contains(&"no-AEAD_AES_128_GCM".into()));
    }
}
