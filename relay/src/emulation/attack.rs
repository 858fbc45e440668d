//! Peers that claim to be Teams and are not: all that they may get is a closed connection
//! (fixture F-21, TDR-SEC-001, TDR-SEC-002).

use super::setup::Attack;
use certs::lab::Authority;
use certs::{ClientIdentity, Identities, Roots};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// A refusal comes in this time; it comes in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// How one attempt went.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Who tried, in words.
    pub(super) who: &'static str,
    /// What it got.
    pub(super) got: Result<Got, String>,
}

impl Attempt {
    /// Whether it was tried, and got nothing that a stranger may not get.
    pub(super) fn held(&self) -> bool {
        self.got.as_ref().is_ok_and(|got| got.octets == 0 && !got.left_open)
    }
}

/// What a peer got for its INVITE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Got {
    /// Octets of SIP.
    pub(crate) octets: usize,
    /// What TLS said as it ended.
    pub(crate) alert: Option<String>,
    /// It has its address: what fails from here on is the far side's doing.
    pub(crate) bound: bool,
    /// The connection was there.
    pub(crate) connected: bool,
    /// The connection was neither refused nor closed.
    pub(crate) left_open: bool,
}

/// Tries all of them.
pub(super) async fn play(attack: &Attack) -> Vec<Attempt> {
    let roots = crate::transport::load_roots(&attack.roots);
    let forged = forged();
    let (Ok(roots), Ok(forged)) = (roots, forged) else {
        let who = "a peer with a certificate of its own making";
        return vec![Attempt { who, got: Err("no certificate could be made for it".to_owned()) }];
    };
    let mut attempts = Vec::new();
    let inside = attack.inside;
    let forger = (Some((&forged, "forged")), &roots);
    if let Some(outside) = attack.outside {
        let who = "a peer from an address that is not Microsoft's";
        attempts.push(attempt(who, attack, outside, forger).await);
    }
    let who = "a peer with a certificate of its own making";
    attempts.push(attempt(who, attack, inside, forger).await);
    let who = "a peer without a certificate";
    attempts.push(attempt(who, attack, inside, (None, &roots)).await);
    if let Some(stranger) = &attack.stranger {
        let who = "a peer with an accepted certificate of somebody else";
        attempts.push(attempt(who, attack, inside, (Some((stranger, "stranger")), &roots)).await);
    }
    attempts
}

/// What a peer shows, and whom it believes.
type Shows<'a> = (Option<(&'a Identities, &'a str)>, &'a Roots);

async fn attempt(who: &'static str, attack: &Attack, from: IpAddr, shows: Shows<'_>) -> Attempt {
    let invite = invite(&attack.fqdn, attack.sbc, from);
    let dialled = (attack.sbc, attack.fqdn.as_str());
    let mut got = Got::default();
    let trying = try_it(from, dialled, shows, invite.as_bytes(), &mut got);
    let got = match tokio::time::timeout(PATIENCE, trying).await {
        // A firewall that drops what it does not know is as good.
        Ok(Err(_)) | Err(_) if got.bound && !got.connected && attack.outside == Some(from) => {
            Ok(got)
        }
        Ok(Err(error)) if got.connected => {
            Err(format!("TLS with {} fails on our own side: {error}", attack.sbc))
        }
        Ok(Err(error)) if got.bound => Err(format!("{} was not reached: {error}", attack.sbc)),
        Ok(Err(error)) => Err(format!("cannot call from {from}: {error}")),
        Ok(Ok(())) => Ok(got),
        Err(_) if !got.connected => Err(format!("{} was not reached in time", attack.sbc)),
        Err(_) => Ok(Got { left_open: got.connected, ..got }),
    };
    Attempt { who, got }
}

/// Microsoft's names under a root that nobody has.
fn forged() -> Result<Identities, certs::lab::LabError> {
    let leaf = Authority::new("Forger")?.leaf(&["sip.pstnhub.microsoft.com"])?;
    Ok(Identities::new([("forged".to_owned(), Arc::new(leaf.identity()?))]))
}

/// Connects from this address, sends a request that a real Teams would get an answer to, and reads to
/// the end.
pub(crate) async fn try_it(
    from: IpAddr,
    (sbc, fqdn): (SocketAddr, &str),
    (shown, roots): Shows<'_>,
    request: &[u8],
    got: &mut Got,
) -> io::Result<()> {
    let config = match shown {
        Some((identities, name)) => {
            certs::client_config(ClientIdentity::new(identities.clone(), name), roots)
        }
        // Under a name that is not there, nothing is shown.
        None => certs::client_config(ClientIdentity::new(Identities::new([]), "nobody"), roots),
    };
    let config = config.map_err(io::Error::other)?;
    let name = certs::server_name(Some(fqdn), sbc.ip()).map_err(io::Error::other)?;
    let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    got.bound = true;
    let stream = socket.connect(sbc).await?;
    got.connected = true;
    let mut stream = match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => stream,
        Err(error) => {
            got.alert = refused(error)?;
            return Ok(());
        }
    };
    // With TLS 1.3 the client is done before the server has looked at its certificate.
    let written = stream.write_all(request).await;
    got.alert = written.err().as_ref().and_then(alert);
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(octets) => got.octets += octets,
            Err(error) => {
                got.alert = refused(error)?.or(got.alert.take());
                return Ok(());
            }
        }
    }
}

/// What the far side said as it refused the connection, if anything. What else TLS fails of is our own, and
/// says nothing of the far side.
fn refused(error: io::Error) -> io::Result<Option<String>> {
    let said = alert(&error);
    let hung_up = matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    );
    if said.is_some() || hung_up { Ok(said) } else { Err(error) }
}

fn alert(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(format!("{alert:?}")),
        _ => None,
    }
}

fn invite(fqdn: &str, sbc: SocketAddr, from: IpAddr) -> String {
    let port = sbc.port();
    let sdp = format!(
        "v=0\r\no=- 85 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 {from}\r\nt=0 0\r\n\
         m=audio 52004 RTP/SAVP 8 101\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:JPEaIxHegfuv53ykBPZk8hV0GO8kTiiqRMfHimEE|2^31\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=rtcp-mux\r\n"
    );
    let len = sdp.len();
    format!(
        "INVITE sip:+882160000000@{fqdn}:{port};user=phone;transport=tls SIP/2.0\r\n\
         FROM: <sip:+4989123456@sip.pstnhub.microsoft.com:5061;user=phone>;tag=forged\r\n\
         TO: <sip:+882160000000@{fqdn}:{port};user=phone>\r\nCSEQ: 1 INVITE\r\n\
         CALL-ID: forged-{port}\r\nMAX-FORWARDS: 70\r\n\
         VIA: SIP/2.0/TLS {from}:5061;branch=z9hG4bKforged\r\n\
         CONTACT: <sip:api-du-a-euwe.pstnhub.microsoft.com:443;x-i=1;x-c=2>\r\n\
         USER-AGENT: Microsoft.PSTNHub.SIPProxy v.2026.1.9.3 i.EUWE.2\r\n\
         CONTENT-TYPE: application/sdp\r\nCONTENT-LENGTH: {len}\r\n\r\n{sdp}"
    )
}
