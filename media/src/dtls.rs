//! DTLS-SRTP: the handshake of one component of a leg, and the keys that come of it (RFC 5764).
//!
//! ```text
//!  agreed ─▶ shaking ─▶ keyed      certificate has an agreed fingerprint, both Finished are right
//!              │  ▲
//!              ▼  │ a few attempts, all within one deadline
//!            failed                one reason, told once
//! ```
//!
//! A handshake allocates: it is no packet of the packet path. It is bounded in time, attempts,
//! datagrams and what waits to be sent. What the random generator of the core is to SDES, that of
//! the crypto provider is here: a key exchange cannot be told its secrets.

use crate::{DropReason, packet::PACKET_MAX};
use aws_lc_rs::digest;
use dimpl::{CertificateError, Config, DtlsCertificate, Error, Output, SecurityError, SrtpProfile};
use sdp::{Crypto, Dtls, DtlsFailure, Fingerprint, HashFunction, Role, SrtpKey, Suite};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// From the agreement to the keys. A far side that has not finished by then will not; a caller who
/// hears nothing hangs up sooner.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(20);
/// The first retransmission, doubled by each further one: above nearly every round trip, below what
/// is heard as a missing beginning.
const RETRANSMIT: Duration = Duration::from_millis(250);
/// Retransmissions of one flight: the last is due at the deadline.
const RETRANSMISSIONS: usize = 6;
/// Handshakes of one association that may fail before it does: an alert that a stranger has forged
/// must not end a call.
const ATTEMPTS_MAX: u8 = 3;
/// How long a far side that begins may take to begin again after it has failed.
const AGAIN_WITHIN: Duration = Duration::from_secs(2);
/// Times that an association which has failed is begun anew because signalling agrees it again: by
/// several early answers, then the 200.
const RENEWALS_MAX: u8 = 4;
/// Datagrams of the far side that one attempt looks at: ten times what an ECDSA handshake has.
const RECEIVED_MAX: u16 = 64;
/// Datagrams that wait to be sent: several flights.
const WAITING_MAX: usize = 16;
/// Octets of a datagram of ours: passes every tunnel.
const MTU: usize = 1150;
/// Octets of what the handshake hands out, at first: a certificate is larger than a datagram.
const HANDED_OUT: usize = 2048;
/// Octets of a far side's certificate that are looked at.
const CERTIFICATE_MAX: usize = 16 * 1024;
/// TLS alert `handshake_failure` (RFC 5246, 7.2): no cipher suite in common. All of ours want an
/// ECDSA certificate.
const HANDSHAKE_FAILURE: u8 = 40;
/// TLS alert `bad_certificate`.
const BAD_CERTIFICATE: u8 = 42;
/// TLS alert `unsupported_certificate`.
const UNSUPPORTED_CERTIFICATE: u8 = 43;
/// Octets before what a record holds (RFC 6347, 4.1).
const RECORD_HEADER: usize = 13;
/// The object identifier of RSA keys, as it stands in a certificate (RFC 8017, appendix A).
const RSA_KEY: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// The association of one component of a leg.
#[derive(Debug)]
pub struct Association {
    agreed: Dtls,
    state: State,
    /// When it was last told the time.
    now: Option<Instant>,
    /// When the keys must be there.
    deadline: Option<Instant>,
    attempts: u8,
    renewals: u8,
    /// Why the first attempt failed: what comes of the next may be but a consequence.
    first: Option<DtlsFailure>,
    waiting: VecDeque<Box<[u8]>>,
    /// Who shakes hands since when, where it is not whom signalling named.
    peer: Option<(SocketAddr, Instant)>,
    keys: Option<Crypto>,
    outcome: Option<Outcome>,
}

/// What comes of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The keys of both directions.
    Keyed,
    /// None.
    Failed(DtlsFailure),
}

#[derive(Debug)]
enum State {
    /// Agreed, and not begun.
    Agreed,
    Shaking(Box<Attempt>),
    /// There are keys. What is left answers a far side that has missed our last flight.
    Keyed(Option<Box<Attempt>>),
    Failed,
}

/// One handshake.
struct Attempt {
    dtls: dimpl::Dtls,
    due: Option<Instant>,
    received: u16,
    /// The far side has shown a certificate with an agreed fingerprint.
    certified: bool,
    /// Its certificate has an RSA key, which cannot be used.
    rsa: bool,
    keys: Option<Crypto>,
    finished: bool,
}

impl Association {
    /// What was agreed; the handshake begins with [`Self::turn`].
    pub fn new(agreed: Dtls) -> Self {
        Self {
            agreed,
            state: State::Agreed,
            now: None,
            deadline: None,
            attempts: 0,
            renewals: 0,
            first: None,
            waiting: VecDeque::new(),
            peer: None,
            keys: None,
            outcome: None,
        }
    }

    /// Whether it is the one that was agreed.
    pub fn is_of(&self, agreed: &Dtls) -> bool {
        self.agreed == *agreed
    }

    /// Signalling has agreed it again: if it has failed, it may try again.
    pub fn agreed_again(&mut self) {
        if matches!(self.state, State::Failed) && self.renewals < RENEWALS_MAX {
            self.renewals += 1;
            (self.state, self.attempts, self.first) = (State::Agreed, 0, None);
            (self.deadline, self.peer) = (None, None);
        }
    }

    /// The call is answered: the far side has all its time from here on, and one that has said nothing
    /// yet is asked anew.
    pub fn answered(&mut self) {
        let State::Shaking(attempt) = &self.state else { return };
        self.deadline = None;
        if attempt.received == 0 {
            (self.state, self.attempts, self.first) = (State::Agreed, 0, None);
        }
    }

    /// Whether a source that signalling has not named may shake hands, where its trunk allows that:
    /// the one that does so already, or one that begins while nobody else does.
    pub fn admits(&self, now: Instant, from: SocketAddr, datagram: &[u8]) -> bool {
        match self.peer {
            Some((peer, _)) if peer == from => true,
            Some((_, since)) if now < since + AGAIN_WITHIN => false,
            _ => {
                self.agreed.role == Role::Passive
                    && begins(datagram)
                    && match &self.state {
                        State::Agreed => true,
                        // Whom signalling has named is at it already.
                        State::Shaking(attempt) => self.peer.is_some() || attempt.received == 0,
                        State::Keyed(_) | State::Failed => false,
                    }
            }
        }
    }

    /// The source that it is bound to, where signalling named another.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer.map(|(peer, _)| peer)
    }

    /// The keys, once there are any.
    pub const fn keys(&self) -> Option<&Crypto> {
        self.keys.as_ref()
    }

    /// A datagram of the far side, from `unsignalled` where signalling has named another source.
    pub fn receive(
        &mut self,
        now: Instant,
        unsignalled: Option<SocketAddr>,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        self.turn(now);
        self.advance(now);
        if unsignalled != self.peer() && matches!(self.state, State::Shaking(_)) {
            // A source that nobody named has to prove that it receives what it asks for.
            self.peer = unsignalled.map(|from| (from, now));
            self.start(now);
        }
        let (State::Shaking(attempt) | State::Keyed(Some(attempt))) = &mut self.state else {
            return Err(DropReason::Dtls);
        };
        if attempt.received >= RECEIVED_MAX {
            return Err(DropReason::Dtls);
        }
        attempt.received += 1;
        let done = attempt.dtls.handle_packet(datagram);
        self.settle(now, done);
        Ok(())
    }

    /// Does what is due: begins, retransmits, gives up.
    pub fn turn(&mut self, now: Instant) {
        self.now = Some(now);
        if matches!(self.state, State::Agreed | State::Shaking(_)) && self.deadline.is_none() {
            self.deadline = Some(now + HANDSHAKE_MAX);
        }
        if matches!(self.state, State::Agreed) {
            self.start(now);
        }
        if let State::Shaking(attempt) | State::Keyed(Some(attempt)) = &self.state
            && attempt.due.is_some_and(|due| due <= now)
        {
            self.advance(now);
        }
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        if late && matches!(self.state, State::Shaking(_)) {
            self.give_up(self.first.unwrap_or(DtlsFailure::Timeout));
        }
    }

    /// Tells the handshake the time.
    fn advance(&mut self, now: Instant) {
        if let State::Shaking(attempt) | State::Keyed(Some(attempt)) = &mut self.state {
            let done = attempt.dtls.handle_timeout(now);
            self.settle(now, done);
        }
    }

    /// When [`Self::turn`] is to be called next, or a datagram waits.
    pub fn due(&self) -> Option<Instant> {
        if !self.waiting.is_empty() {
            return self.now;
        }
        match &self.state {
            State::Agreed | State::Failed | State::Keyed(None) => None,
            State::Shaking(attempt) => attempt.due.into_iter().chain(self.deadline).min(),
            State::Keyed(Some(attempt)) => attempt.due,
        }
    }

    /// The next datagram of ours.
    pub fn datagram(&mut self) -> Option<Box<[u8]>> {
        self.waiting.pop_front()
    }

    /// What has come of it, once.
    pub fn outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    /// Begins a handshake.
    fn start(&mut self, now: Instant) {
        self.waiting.clear();
        let Some(config) = config(self.peer.is_some()) else {
            return self.give_up(DtlsFailure::Protocol);
        };
        let ours = DtlsCertificate {
            certificate: self.agreed.local.der().to_vec(),
            private_key: self.agreed.local.key().to_vec(),
        };
        // Every peer has DTLS 1.2, so that is what we begin with; who begins with 1.3 gets it.
        let dtls = match self.agreed.role {
            Role::Active => {
                let mut dtls = dimpl::Dtls::new_12(config, ours, now);
                dtls.set_active(true);
                dtls
            }
            Role::Passive => dimpl::Dtls::new_auto(config, ours, now),
        };
        let mut attempt = Box::new(Attempt::new(dtls));
        let done = attempt.dtls.handle_timeout(now);
        self.state = State::Shaking(attempt);
        self.settle(now, done);
    }

    /// Takes what a handshake hands out, and what comes of it.
    fn settle(&mut self, now: Instant, done: Result<(), Error>) {
        let (State::Shaking(attempt) | State::Keyed(Some(attempt))) = &mut self.state else {
            return;
        };
        let mut shown = true;
        let handed_out = attempt.drain(&self.agreed, &mut self.waiting);
        let failed = match (handed_out, done) {
            (Err(failure), _) => Some(failure),
            (Ok(()), Err(error)) => {
                // What it has shown is not what a stranger's alert says.
                shown = !matches!(error, Error::SecurityError(SecurityError::FatalAlert { .. }));
                Some(attempt.failure(&error))
            }
            (Ok(()), Ok(())) => None,
        };
        match (&mut self.state, failed) {
            // Keys that are there stay.
            (State::Keyed(rest), Some(_)) => *rest = None,
            (_, Some(failure)) => self.failed(now, failure, shown),
            (State::Shaking(attempt), None) if attempt.finished => match attempt.keys.take() {
                Some(keys) => self.keyed(keys),
                None => self.failed(now, DtlsFailure::NoProfile, shown),
            },
            (_, None) => {}
        }
    }

    fn keyed(&mut self, keys: Crypto) {
        if let State::Shaking(mut attempt) = std::mem::replace(&mut self.state, State::Failed) {
            attempt.received = 0;
            self.state = State::Keyed(Some(attempt));
        }
        (self.keys, self.outcome, self.deadline) = (Some(keys), Some(Outcome::Keyed), None);
    }

    /// An attempt has failed: the next, as long as there is one, unless the far side itself has
    /// `shown` that it would end likewise.
    fn failed(&mut self, now: Instant, failure: DtlsFailure, shown: bool) {
        let first = *self.first.get_or_insert(failure);
        self.attempts += 1;
        let alert = match failure {
            DtlsFailure::Fingerprint => Some(BAD_CERTIFICATE),
            DtlsFailure::NoEcdsa => Some(UNSUPPORTED_CERTIFICATE),
            _ => None,
        };
        let last = match failure {
            DtlsFailure::Timeout | DtlsFailure::Fingerprint => true,
            DtlsFailure::NoEcdsa | DtlsFailure::NoProfile => shown,
            DtlsFailure::Alert(_) | DtlsFailure::Protocol => false,
        };
        if last || self.attempts >= ATTEMPTS_MAX {
            self.give_up(first);
        }
        if self.agreed.role == Role::Passive {
            let again = now + AGAIN_WITHIN;
            self.deadline = Some(self.deadline.map_or(again, |deadline| deadline.min(again)));
        }
        // What was to be sent may say why: an alert.
        let said = std::mem::take(&mut self.waiting);
        if matches!(self.state, State::Shaking(_)) {
            self.start(now);
        }
        let alert = alert.map(|description| Box::from(alert_record(description)));
        self.waiting.extend(said.into_iter().chain(alert).take(WAITING_MAX));
    }

    fn give_up(&mut self, failure: DtlsFailure) {
        self.state = State::Failed;
        self.outcome = Some(Outcome::Failed(failure));
    }
}

impl Attempt {
    const fn new(dtls: dimpl::Dtls) -> Self {
        Self {
            dtls,
            due: None,
            received: 0,
            certified: false,
            rsa: false,
            keys: None,
            finished: false,
        }
    }

    /// Takes all that the handshake hands out.
    fn drain(
        &mut self,
        agreed: &Dtls,
        waiting: &mut VecDeque<Box<[u8]>>,
    ) -> Result<(), DtlsFailure> {
        let mut room = vec![0; HANDED_OUT];
        loop {
            match self.dtls.poll_output(&mut room) {
                Output::Packet(datagram) => {
                    let fits = waiting.len() < WAITING_MAX && datagram.len() <= PACKET_MAX;
                    waiting.extend(fits.then(|| datagram.into()));
                }
                Output::BufferTooSmall { needed } if needed > CERTIFICATE_MAX => {
                    return Err(DtlsFailure::Protocol);
                }
                Output::BufferTooSmall { needed } => room.resize(needed, 0),
                Output::PeerCert(certificate) => {
                    self.rsa = certificate.windows(RSA_KEY.len()).any(|at| at == RSA_KEY);
                    if !agreed.remote.iter().any(|agreed| is_of(certificate, agreed)) {
                        return Err(DtlsFailure::Fingerprint);
                    }
                    self.certified = true;
                }
                Output::KeyingMaterial(material, profile) if self.certified => {
                    let material = Zeroizing::new(material.to_vec());
                    self.keys = keys(&material, profile, agreed.role);
                }
                Output::Connected => self.finished = true,
                Output::Timeout(due) => {
                    self.due = Some(due);
                    return Ok(());
                }
                // Keys of nobody we know; data, which nobody asked for; the far side says goodbye,
                // which it says to signalling too.
                Output::KeyingMaterial(..) | Output::ApplicationData(_) | Output::CloseNotify => {}
                _ => {}
            }
        }
    }

    /// The word for an error. Without a certificate of theirs, or with one of RSA, there was none
    /// that we can use.
    fn failure(&self, error: &Error) -> DtlsFailure {
        match error {
            Error::Timeout(_) => DtlsFailure::Timeout,
            _ if self.rsa => DtlsFailure::NoEcdsa,
            Error::CertificateError(
                CertificateError::NoClientCertificateReceived
                | CertificateError::NoServerCertificateReceived,
            ) => DtlsFailure::NoEcdsa,
            Error::SecurityError(SecurityError::FatalAlert { description }) => {
                if *description == HANDSHAKE_FAILURE && !self.certified {
                    DtlsFailure::NoEcdsa
                } else {
                    DtlsFailure::Alert(*description)
                }
            }
            Error::SecurityError(
                SecurityError::NoMutuallyAcceptableCipherSuite | SecurityError::NoCommonCipherSuite,
            ) => DtlsFailure::NoEcdsa,
            _ => DtlsFailure::Protocol,
        }
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("certified", &self.certified)
            .field("finished", &self.finished)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// A fatal alert in the clear (RFC 5246, 7.2), under a sequence number that no record before it has.
const fn alert_record(description: u8) -> [u8; RECORD_HEADER + 2] {
    [21, 254, 253, 0, 0, 0, 0, 0, 0, 255, 255, 0, 2, 2, description]
}

/// Makes ready what every handshake shares: some milliseconds of self-tests, which the first call
/// need not wait for.
pub fn prepare() {
    let _ = config(false);
}

/// What every handshake shares, with or without a round that proves a source of its own.
fn config(cookie: bool) -> Option<Arc<Config>> {
    static CONFIGS: OnceLock<[Option<Arc<Config>>; 2]> = OnceLock::new();
    let made = CONFIGS.get_or_init(|| {
        [false, true].map(|cookie| {
            let config = Config::builder()
                .mtu(MTU)
                .use_server_cookie(cookie)
                .require_client_certificate(true)
                .flight_start_rto(RETRANSMIT)
                .flight_retries(RETRANSMISSIONS)
                .handshake_timeout(HANDSHAKE_MAX)
                .build();
            config.ok().map(Arc::new)
        })
    });
    made[usize::from(cookie)].clone()
}

/// Whether a datagram is a ClientHello in the clear: a handshake record whose first message is of
/// type 1.
fn begins(datagram: &[u8]) -> bool {
    matches!(datagram, [22, 254, ..]) && datagram.get(RECORD_HEADER) == Some(&1)
}

/// Whether a certificate has this fingerprint.
fn is_of(certificate: &[u8], fingerprint: &Fingerprint) -> bool {
    let function = match fingerprint.hash() {
        HashFunction::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        HashFunction::Sha224 => &digest::SHA224,
        HashFunction::Sha256 => &digest::SHA256,
        HashFunction::Sha384 => &digest::SHA384,
        HashFunction::Sha512 => &digest::SHA512,
    };
    digest::digest(function, certificate).as_ref() == fingerprint.digest()
}

/// The keys of both directions: client key, server key, client salt, server salt (RFC 5764, 4.2).
fn keys(material: &[u8], profile: SrtpProfile, role: Role) -> Option<Crypto> {
    let (suite, key, salt) = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => (Suite::AesCm128HmacSha1_80, 16, 14),
        SrtpProfile::AEAD_AES_128_GCM => (Suite::AeadAes128Gcm, 16, 12),
        SrtpProfile::AEAD_AES_256_GCM => (Suite::AeadAes256Gcm, 32, 12),
        _ => return None,
    };
    let of = |which: usize| {
        let key_at = which * key;
        let salt_at = 2 * key + which * salt;
        let parts = [material.get(key_at..key_at + key)?, material.get(salt_at..salt_at + salt)?];
        SrtpKey::from_octets(suite, &Zeroizing::new(parts.concat()))
    };
    let (client, server) = (of(0)?, of(1)?);
    Some(match role {
        Role::Active => Crypto { local: client, remote: vec![server] },
        Role::Passive => Crypto { local: server, remote: vec![client] },
    })
}
