//! One connection to Teams, as the daemon makes it, and one to ourselves, as Teams would make it up to the
//! certificate that only Microsoft has.

use super::facts::{Answer, Door, Trouble};
use crate::clock;
use b2bua::codes::Microsoft;
use certs::{ClientIdentity, Identities, Identity, Roots};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion, SignatureScheme,
    version,
};
use sip_core::framing::{Framed, Framer};
use sip_core::{Message, Response};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What a connection, a handshake and an answer may take each. Microsoft is asked from every corner of the
/// world, and a second is long there.
const PATIENCE: Duration = Duration::from_secs(4);
/// A response to OPTIONS is a few hundred octets.
const RESPONSE_MAX: usize = 16 * 1024;

/// A connection to one of Microsoft's names.
pub(super) struct Line {
    tls: ClientConnection,
    stream: TcpStream,
}

/// How we go out: from which address, under which certificate, believing whom.
pub(super) struct Us {
    pub(super) from: Option<IpAddr>,
    pub(super) identity: Arc<Identity>,
    pub(super) roots: Roots,
}

impl Line {
    /// Connects to `name` at `to`.
    pub(super) fn open(us: &Us, name: &str, to: SocketAddr) -> Result<Self, Trouble> {
        let mut stream = dial(us.from, to).map_err(|error| Trouble::Unreachable(words(&error)))?;
        let tls = |error: &dyn std::fmt::Display| Trouble::Tls(error.to_string());
        let own = Identities::new([("own".to_owned(), Arc::clone(&us.identity))]);
        let config = certs::client_config(ClientIdentity::new(own, "own"), &us.roots);
        let config = config.map_err(|error| tls(&error))?;
        let name = certs::server_name(Some(name), to.ip()).map_err(|error| tls(&error))?;
        let mut connection = ClientConnection::new(config, name).map_err(|error| tls(&error))?;
        connection.complete_io(&mut stream).map_err(|error| Trouble::Tls(words(&error)))?;
        Ok(Self { tls: connection, stream })
    }

    /// The version and the suite that were agreed.
    pub(super) fn agreed(&self) -> (String, String) {
        agreed(&self.tls)
    }

    /// Sends OPTIONS to `target` (`host:port`) as `us` (`fqdn:port`), and waits for its final response.
    pub(super) fn options(&mut self, target: &str, us: &str) -> Result<Answer, String> {
        let began = clock::now().mono;
        let request = options(target, us);
        let mut wire = rustls::Stream::new(&mut self.tls, &mut self.stream);
        wire.write_all(request.as_bytes()).and_then(|()| wire.flush()).map_err(|e| words(&e))?;
        let mut framer = Framer::new();
        let (mut chunk, mut heard) = ([0; 2048], 0);
        loop {
            let took = clock::now().mono.saturating_duration_since(began);
            if took > PATIENCE || heard > RESPONSE_MAX {
                return Err("none in time".into());
            }
            let read = wire.read(&mut chunk).map_err(|error| words(&error))?;
            if read == 0 {
                return Err("the connection was closed".into());
            }
            heard += read;
            let pushed = framer.push(chunk.get(..read).unwrap_or_default());
            pushed.map_err(|error| error.to_string())?;
            if let Some(response) = final_response(&mut framer)? {
                let (status, reason) = (response.status, &response.reason);
                return Ok(Answer {
                    status,
                    reason: String::from_utf8_lossy(reason).into_owned(),
                    said: Microsoft::of(&response.headers, Some(status)),
                    took: clock::now().mono.saturating_duration_since(began),
                });
            }
        }
    }
}

/// OPTIONS as the daemon sends it.
fn options(target: &str, us: &str) -> String {
    let mut random = ChaCha20Rng::from_os_rng();
    let mut token = || format!("{:016x}", random.next_u64());
    let (branch, tag, call_id) = (token(), token(), token());
    let product = concat!("Tollgate/", env!("CARGO_PKG_VERSION"));
    format!(
        "OPTIONS sip:{target};transport=tls SIP/2.0\r\n\
         Via: SIP/2.0/TLS {us};branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:{us}>;tag={tag}\r\n\
         To: <sip:{target}>\r\n\
         Call-ID: {call_id}\r\n\
         CSeq: 1 OPTIONS\r\n\
         Contact: <sip:{us};transport=tls>\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY\r\n\
         Accept: application/sdp\r\n\
         User-Agent: {product}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// The first final response in what has come. Requests that come on the same connection are passed over,
/// and so is what the daemon would not read.
fn final_response(framer: &mut Framer) -> Result<Option<Response>, String> {
    for framed in framer {
        match framed {
            Framed::Message(octets) => match Message::parse(octets) {
                Ok(Message::Response(response)) if response.status >= 200 => {
                    return Ok(Some(response));
                }
                Ok(_) | Err(_) => {}
            },
            Framed::Ping | Framed::Pong => {}
            Framed::Lost(error) => return Err(format!("it is no SIP: {error}")),
        }
    }
    Ok(None)
}

/// Connects to ourselves and begins TLS 1.2, which Microsoft needs, asking for `fqdn`. The daemon is told
/// from where beforehand by `announce`: what cannot be announced is not done, as it would be a stranger's.
pub(super) fn knock(
    fqdn: &str,
    from: Option<IpAddr>,
    to: SocketAddr,
    announce: impl FnOnce(SocketAddr) -> Result<(), String>,
) -> Door {
    let (socket, local) = match from.map_or_else(|| source(to), Ok).and_then(|it| bound(it, to)) {
        Ok(bound) => bound,
        Err(error) => return Door::Silent(words(&error)),
    };
    if let Err(why) = announce(local) {
        return Door::Unannounced(why);
    }
    let mut stream = match connected(socket, to) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Door::Refused,
        Err(error) => return Door::Silent(words(&error)),
    };
    let seen = Arc::new(Seen::default());
    let connection = certs::server_name(Some(fqdn), to.ip())
        .map_err(|error| error.to_string())
        .and_then(|name| begin(&seen, name));
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(why) => return Door::Failed(why),
    };
    let done = connection.complete_io(&mut stream);
    if let Some(covers) = seen.covers.get() {
        let (version, suite) = agreed(&connection);
        return Door::Shown { version, suite, covers: *covers };
    }
    match done {
        Ok(_) => Door::Failed("no certificate was shown".into()),
        Err(error) => match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => Door::ClosedToStrangers,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Door::Silent("TLS does not begin".into())
            }
            _ => Door::Failed(words(&error)),
        },
    }
}

fn begin(seen: &Arc<Seen>, name: ServerName<'static>) -> Result<ClientConnection, String> {
    let config = ClientConfig::builder_with_provider(Arc::clone(certs::provider()))
        .with_protocol_versions(&[&version::TLS12])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Seen>::clone(seen))
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())
}

/// Takes whatever certificate is shown, and remembers whether it is for the name: no octet of ours
/// follows.
#[derive(Debug, Default)]
struct Seen {
    covers: OnceLock<bool>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let covers = rustls::client::verify_server_name(&parsed, name).is_ok();
        // The first stays.
        let _ = self.covers.set(covers);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &certs::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &certs::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        certs::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The address of ours that a connection there comes from.
fn source(to: SocketAddr) -> io::Result<IpAddr> {
    let any = match to {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    // Sends nothing: the kernel looks the way up.
    let asks = UdpSocket::bind((any, 0))?;
    asks.connect(to)?;
    Ok(asks.local_addr()?.ip())
}

/// A socket on a port of this address, and where that is.
fn bound(from: IpAddr, to: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    let local = socket.local_addr()?.as_socket().ok_or(ErrorKind::AddrNotAvailable)?;
    Ok((socket, local))
}

/// A TCP connection, from this address of ours if it is one.
fn dial(from: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = match from.filter(|from| from.is_ipv4() == to.is_ipv4()) {
        Some(from) => bound(from, to)?.0,
        None => Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?,
    };
    connected(socket, to)
}

fn connected(socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn agreed(connection: &ClientConnection) -> (String, String) {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let suite = connection.negotiated_cipher_suite().and_then(|it| it.suite().as_str());
    (version.to_owned(), suite.unwrap_or("a suite").to_owned())
}

/// An error in words, without what a read that waited for too long is called by the system.
fn words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "nothing came in time".into(),
        ErrorKind::UnexpectedEof => "the connection was closed".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TDR-OPT-008
    #[test]
    fn an_answer_in_upper_case_without_a_tag_is_read_whatever_comes_before_it() {
        let rest = "VIA: SIP/2.0/TLS sbc1.example.net:5061;branch=z9hG4bK1\r\n\
            FROM: <sip:sbc1.example.net>;tag=1\r\nTO: <sip:sip.pstnhub.microsoft.com:5061>\r\n\
            CALL-ID: 1\r\nCSEQ: 1 OPTIONS\r\nCONTENT-LENGTH: 0\r\n\r\n";
        let reason = "REASON: Q.850;cause=63;text=\"6c1e;Trunk not found\"\r\n";
        let heard = format!(
            "OPTIONS sip:sbc1.example.net SIP/2.0\r\n{rest}\r\n\r\nSIP/2.0 100 Trying\r\n{rest}\
             SIP/2.0 403 Forbidden\r\n{reason}{rest}"
        );
        let (head, last) = heard.as_bytes().split_at(heard.len() - 1);
        let mut framer = Framer::new();
        framer.push(head).unwrap();
        assert!(final_response(&mut framer).unwrap().is_none(), "not whole yet");
        framer.push(last).unwrap();
        let response = final_response(&mut framer).unwrap().unwrap();
        assert_eq!((response.status, &response.reason[..]), (403, &b"Forbidden"[..]));
        let said = Microsoft::of(&response.headers, Some(403)).unwrap();
        assert_eq!(said.phrase.as_deref(), Some("6c1e;Trunk not found"));
        let mut framer = Framer::new();
        framer.push(format!("HTTP/1.1 400 Bad Request\r\n{rest}").as_bytes()).unwrap();
        assert!(!matches!(final_response(&mut framer), Ok(Some(_))));
    }

    /// TDR-OPT-003 TDR-OPT-004 TDR-OPT-007
    #[test]
    fn options_goes_out_under_the_fqdn_with_a_contact_and_without_a_user() {
        let request = options("sip.pstnhub.microsoft.com:5061", "sbc1.example.net:5061");
        let parsed = sip_core::Message::parse(request.into_bytes().into()).unwrap();
        let contact = parsed.headers().contact().unwrap();
        assert_eq!(contact.uri, b"sip:sbc1.example.net:5061;transport=tls");
        assert_eq!(parsed.headers().from().uri, b"sip:sbc1.example.net:5061");
    }
}
