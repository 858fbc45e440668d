//! What holds for every sequence of octets that comes as packets to a call, whatever its legs are: one
//! function each, for ordinary tests and for the fuzz targets alike. A law that does not hold panics.

use media::dtls::Association;
use media::ice::stun::{Class, Key, Writer};
use media::srtp::{Receiver, Sender};
use media::{Carriage, Component, Forward, LatchPolicy, Now, PacketBuf, Side, Terms, Verdict};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use sdp::ice::{Credentials, Ice};
use sdp::{
    Certificate, Crypto, Direction, Dtls, Fingerprint, HashFunction, Payload, Protocol, Role,
    SrtpKey, Stream, Suite,
};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Packets of a case that are played: the laws should stay quick.
const PACKETS_MAX: usize = 48;
/// The kinds of legs.
pub(crate) const KINDS: u8 = 15;

/// A call: the first octet says of what kind leg A is, the second leg B, and then come packets, each
/// with four octets before it: from whom, how made, and the length in two.
///
/// A packet that its leg has not authenticated, and that does not come from where a plain leg is to
/// be believed, is never forwarded and changes nothing but counters. How many packets were refused.
pub(crate) fn packets(octets: &[u8]) -> usize {
    let [a, b, rest @ ..] = octets else { return 0 };
    let mut rest = rest;
    let mut call = Call::new([*a, *b]);
    let mut refused = 0;
    for _ in 0..PACKETS_MAX {
        let [how, made, high, low, more @ ..] = rest else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (packet, more) = more.split_at(length);
        rest = more;
        refused += usize::from(call.plays(*how, *made, packet));
    }
    refused
}

/// A leg's far side.
struct Far {
    kind: u8,
    rtp: SocketAddr,
    rtcp: SocketAddr,
    mux: bool,
    sender: Option<Sender>,
    /// Under the key before, where the key is being changed.
    old_sender: Option<Sender>,
    rtcp_sender: Option<Sender>,
    sequence: u16,
    /// The last packet of its own that has come, as it went out, and whether that was a check.
    last: Option<(Component, Vec<u8>, bool)>,
}

struct Call {
    forward: Forward,
    far: [Far; 2],
    ms: u64,
}

impl Call {
    fn new(kinds: [u8; 2]) -> Self {
        let mut call = Self {
            forward: Forward::new([7; 32]),
            far: [Far::new(kinds[0] % KINDS, 1), Far::new(kinds[1] % KINDS, 2)],
            ms: 0,
        };
        let legs = call.far.each_ref().map(Far::carriage);
        let [a, b] = legs.map(Some);
        call.forward.connect(a, b);
        for side in [Side::A, Side::B] {
            call.shake(side);
            call.settle(side);
        }
        call
    }

    /// Has a leg that is believed by what has come before believe its far side.
    fn settle(&mut self, side: Side) {
        let now = self.now();
        let far = &mut self.far[side as usize];
        let said = match far.kind {
            SYMMETRIC | FAX => far.says(Component::Rtp, false),
            ICE_SRTP | ICE_PLAIN | ICE_FULL => far.says(Component::Rtcp, false),
            REKEYED => {
                let said = far.says(Component::Rtp, true);
                let from = far.rtp;
                let mut slot = packet(&said.1);
                self.forward.packet(now, side, said.0, from, &mut slot);
                let far = &mut self.far[side as usize];
                let agreed = Some(far.carriage_under(far.new_key()));
                let legs = if side == Side::A { (agreed, None) } else { (None, agreed) };
                self.forward.connect(legs.0, legs.1);
                self.far[side as usize].says(Component::Rtp, false)
            }
            _ => return,
        };
        let from = self.far[side as usize].rtp;
        self.forward.packet(now, side, said.0, from, &mut packet(&said.1));
    }

    fn now(&self) -> Now {
        let after = Duration::from_millis(self.ms);
        Now { mono: zero() + after, wall: UNIX_EPOCH + Duration::from_secs(1_750_000_000) + after }
    }

    /// Finishes the handshakes of a leg, where it has any and is to.
    fn shake(&mut self, side: Side) {
        let far = &self.far[side as usize];
        let (kind, mux) = (far.kind, far.mux);
        let ends = [(Component::Rtp, far.rtp), (Component::Rtcp, far.rtcp)];
        if !(6..=7).contains(&kind) {
            return;
        }
        let dtls = far_dtls();
        let mut far = ends.map(|_| Association::new(dtls.clone()));
        let mut slot = PacketBuf::new();
        // What another leg says meanwhile is lost, and is said again.
        let needed = if mux { 1 } else { 2 };
        for _ in 0..200 {
            if far.iter().take(needed).all(|one| one.keys().is_some()) {
                break;
            }
            self.ms += 10;
            let now = self.now();
            far.iter_mut().take(needed).for_each(|one| one.turn(now.mono));
            for ((component, from), one) in ends.into_iter().zip(&mut far) {
                while let Some(datagram) = one.datagram() {
                    let mut packet = packet(&datagram);
                    self.forward.packet(now, side, component, from, &mut packet);
                }
            }
            while let Some(verdict) = self.forward.generate(now, &mut slot) {
                let Verdict::Forward { side: at, component, .. } = verdict else { continue };
                if at == side && matches!(slot.packet().first(), Some(20..=63)) {
                    let _ = far[component as usize].receive(now.mono, None, slot.packet());
                }
            }
            while self.forward.poll_notice().is_some() {}
        }
        let keys = |one: &Association| one.keys().map(|keys| Sender::new(&keys.local, 1));
        let sender = keys(&far[0]).expect("the handshake is done");
        self.far[side as usize].sender = Some(sender);
        if !mux {
            let sender = keys(&far[1]).expect("the handshake of RTCP is done");
            self.far[side as usize].rtcp_sender = Some(sender);
        }
    }

    /// Plays a packet; whether it was one that is to be refused.
    fn plays(&mut self, how: u8, made: u8, octets: &[u8]) -> bool {
        self.ms += 20;
        let now = self.now();
        let side = if how & 1 == 0 { Side::A } else { Side::B };
        let component = if how & 2 == 0 { Component::Rtp } else { Component::Rtcp };
        let stranger = how & 4 != 0;
        let far = &mut self.far[side as usize];
        let secured = matches!(far.kind, 1..=8 | ICE_SRTP | ICE_FULL | REKEYED);
        let old_key = how & 8 != 0 && far.kind == REKEYED;
        // A check may be sent again: who has its key has sent it once. Speech is not believed before one
        // of ours is answered.
        let checks =
            matches!(far.kind, ICE_SRTP | ICE_PLAIN | ICE_FULL) && component == Component::Rtcp;
        let proves = far.kind != ICE_FULL || checks;
        let from = match (stranger, component) {
            (true, _) => SocketAddr::from(([203, 0, 113, 66], 6666)),
            (false, Component::Rtp) => far.rtp,
            (false, Component::Rtcp) => far.rtcp,
        };
        // Octets as they are; or of what the far side says with its keys: a new packet, that packet
        // changed, or the last one again.
        let (component, octets, authentic) = match made % 4 {
            0 => (component, octets.to_vec(), false),
            1 => {
                let (component, said) = far.says(component, old_key);
                far.last = Some((component, said.clone(), checks));
                (component, said, proves)
            }
            2 => {
                let (component, mut said) = far.says(component, old_key);
                let before = said.clone();
                for (place, octet) in octets.chunks(2).filter_map(|two| two.split_first()) {
                    let at = usize::from(*place) % said.len();
                    said[at] ^= octet.first().copied().unwrap_or(1);
                }
                // What stands behind the code of a check counts for nothing (RFC 8489, 14.5).
                let covered = said.len() - if checks { 8 } else { 0 };
                let same = said[..covered] == before[..covered];
                (component, said, same && proves)
            }
            _ => match &far.last {
                Some((component, said, check)) => (*component, said.clone(), *check),
                None => (component, octets.to_vec(), false),
            },
        };
        // Whoever has checked is the far side, so strangers do not.
        let checked = authentic && (checks || made % 4 == 3);
        let from = if checked { far.rtp } else { from };
        let first = octets.first().copied().unwrap_or(0);
        // A handshake is what believed datagrams move.
        let shakes = matches!(first, 20..=63) && !stranger && (6..=8).contains(&far.kind);
        // A source with the right key is believed wherever it is.
        let refused = if secured { !authentic && !shakes } else { stranger && !checked };
        let before = refused.then(|| state(&self.forward));
        let mut slot = packet(&octets);
        let verdict = self.forward.packet(now, side, component, from, &mut slot);
        if let Some(before) = before {
            match verdict {
                // Who asks without the key is told so, and nobody else is told anything.
                Verdict::Forward { side: at, to, .. } if at == side && to == from => {
                    assert_eq!(slot.packet()[..2], [0x01, 0x11], "{octets:02x?}");
                }
                verdict => {
                    let sent = matches!(verdict, Verdict::Forward { .. });
                    assert!(!sent, "{side:?} {octets:02x?}");
                }
            }
            let after = state(&self.forward);
            assert!(before == after, "{}", difference(&before, &after));
        }
        // What is due meanwhile goes out; nothing of it is in the clear where keys are.
        let mut slot = PacketBuf::new();
        while let Some(verdict) = self.forward.generate(now, &mut slot) {
            assert!(matches!(verdict, Verdict::Forward { .. }));
        }
        while self.forward.poll_notice().is_some() {}
        refused
    }
}

impl Far {
    fn new(kind: u8, n: u8) -> Self {
        let mux = matches!(kind, 2 | 4 | 5 | 6 | 8 | ICE_SRTP | ICE_PLAIN | ICE_FULL | REKEYED);
        let rtp = SocketAddr::from(([192, 0, 2, n], 4000));
        let rtcp = if mux { rtp } else { SocketAddr::new(rtp.ip(), 4001) };
        let sender = suite(kind).map(|suite| Sender::new(&key(suite, n + 100), 1));
        let old_sender = suite(kind).filter(|_| kind == REKEYED);
        let old_sender = old_sender.map(|suite| Sender::new(&key(suite, n + 150), 2));
        Self {
            kind,
            rtp,
            rtcp,
            mux,
            sender,
            old_sender,
            rtcp_sender: None,
            sequence: 100,
            last: None,
        }
    }

    fn n(&self) -> u8 {
        if self.rtp.ip().to_string().ends_with('1') { 1 } else { 2 }
    }

    fn new_key(&self) -> Vec<SrtpKey> {
        suite(self.kind).map(|suite| key(suite, self.n() + 100)).into_iter().collect()
    }

    fn carriage(&self) -> Carriage {
        let n = self.n();
        let keys = suite(self.kind).into_iter().flat_map(|suite| match self.kind {
            REKEYED => vec![key(suite, n + 150)],
            _ => vec![key(suite, n + 50), key(suite, n + 100)],
        });
        self.carriage_under(keys.collect())
    }

    fn carriage_under(&self, remote: Vec<SrtpKey>) -> Carriage {
        let n = self.n();
        let payload = |number, encoding: &str| Payload {
            number,
            encoding: encoding.into(),
            clock_hz: 8000,
            channels: 1,
            fmtp: None,
        };
        let stream = Stream {
            remote_rtp: Some(self.rtp),
            remote_rtcp: Some(self.rtcp),
            rtcp_mux: self.mux,
            direction: Direction::SendRecv,
            crypto: suite(self.kind).map(|suite| Crypto { local: key(suite, n), remote }),
            dtls: (6..=8).contains(&self.kind).then(our_dtls),
            payloads: match self.kind {
                FAX => Vec::new(),
                _ => vec![payload(8, "PCMA"), payload(101, "telephone-event")],
            },
            ice: self.ice(),
            protocol: if self.kind == FAX { Protocol::Udptl } else { Protocol::Rtp },
            ..Stream::default()
        };
        let latch = match self.kind {
            SYMMETRIC => LatchPolicy::Symmetric,
            _ => LatchPolicy::Signalled,
        };
        Carriage { stream, terms: Terms::latching(latch) }
    }

    fn ice(&self) -> Option<Ice> {
        matches!(self.kind, ICE_SRTP | ICE_PLAIN | ICE_FULL).then(|| Ice {
            local: our_credentials(),
            remote: Credentials::new("far1", "0aV5bSx1uDkqPq9mZr2cT7yE").expect("credentials"),
            lite: self.kind != ICE_FULL,
            remote_lite: false,
            ours_first: false,
            candidates: Vec::new(),
            concluded: false,
        })
    }

    /// A packet of its own as it goes out: where to, and what.
    fn says(&mut self, component: Component, old_key: bool) -> (Component, Vec<u8>) {
        self.sequence = self.sequence.wrapping_add(1);
        let report = component == Component::Rtcp;
        match self.kind {
            ICE_SRTP | ICE_PLAIN | ICE_FULL if report => {
                return (Component::Rtp, check(self.sequence));
            }
            FAX => {
                let mut datagram = self.sequence.to_be_bytes().to_vec();
                datagram.extend([3, 0xc0, 1, 0x80, 0, 0]);
                return (Component::Rtp, datagram);
            }
            _ => {}
        }
        let component = if self.mux { Component::Rtp } else { component };
        let mut octets = Vec::new();
        if report {
            octets.extend([0x80, 201, 0, 1, 0, 0, 0, 7, 0x81, 202, 0, 3, 0, 0, 0, 7]);
            octets.extend([1, 3, b'f', b'a', b'r', 0, 0, 0]);
        } else {
            octets.extend([0x80, 8]);
            octets.extend(self.sequence.to_be_bytes());
            octets.extend((u32::from(self.sequence) * 160).to_be_bytes());
            octets.extend([0, 0, 0, 7]);
            octets.extend([0xd5; 160]);
        }
        let mut slot = packet(&octets);
        let apart = self.rtcp_sender.as_mut().filter(|_| report);
        let old = self.old_sender.as_mut().filter(|_| old_key);
        if let Some(sender) = apart.or(old).or(self.sender.as_mut()) {
            let done =
                if report { sender.protect_rtcp(&mut slot) } else { sender.protect(&mut slot) };
            done.expect("the far side can say it");
        }
        (component, slot.packet().to_vec())
    }
}

/// A leg of plain RTP behind NAT, whose source is known.
const SYMMETRIC: u8 = 9;
/// Legs whose far side has checked us: with SRTP and without.
const ICE_SRTP: u8 = 10;
const ICE_PLAIN: u8 = 11;
/// One whose far side is being changed from one key to the next: both are heard.
const REKEYED: u8 = 12;
const FAX: u8 = 13;
/// One of plain RTP that we check ourselves, and whose far side has not answered yet.
const ICE_FULL: u8 = 14;

/// Plain; SDES of each suite, with and without rtcp-mux; DTLS with and without, and one whose
/// handshake never ends; then the legs above.
const fn suite(kind: u8) -> Option<Suite> {
    match kind {
        ICE_SRTP | REKEYED => Some(Suite::AesCm128HmacSha1_80),
        1 => Some(Suite::AesCm128HmacSha1_80),
        2 => Some(Suite::AesCm128HmacSha1_32),
        3 => Some(Suite::Aes256CmHmacSha1_80),
        4 => Some(Suite::AeadAes128Gcm),
        5 => Some(Suite::AeadAes256Gcm),
        _ => None,
    }
}

fn key(suite: Suite, n: u8) -> SrtpKey {
    let octets: [u8; 46] = std::array::from_fn(|at| n ^ (at as u8).wrapping_mul(37));
    SrtpKey::from_octets(suite, &octets[..suite.key_salt_len()]).expect("octets for the suite")
}

fn packet(octets: &[u8]) -> PacketBuf {
    let mut slot = PacketBuf::new();
    let length = octets.len().min(slot.octets_mut().len());
    slot.octets_mut()[..length].copy_from_slice(&octets[..length]);
    slot.set_len(length);
    slot
}

/// All that is in a call but its counters: its `Debug`, without the blocks that only count.
fn state(forward: &Forward) -> Vec<String> {
    let text = format!("{forward:#?}");
    let mut left_out: Option<usize> = None;
    let lines: Vec<&str> = text.lines().collect();
    // When a latch first looked: it is told no time before.
    let first_look = |at: usize| {
        let next = lines.get(at + 1).is_some_and(|next| next.trim_start().starts_with("Instant"));
        match lines[at].trim() {
            "agreed: None," | "begun: false," | "begun: true," => true,
            "agreed: Some(" => next,
            _ => false,
        }
    };
    let kept = (0..lines.len()).filter(|at| {
        let line = lines[*at];
        let depth = line.len() - line.trim_start().len();
        let begins = ["stats: ", "watch: ", "received: ", "now: ", "counted: ", "refusals: "];
        match left_out {
            Some(until) if depth > until => return false,
            Some(until) if depth == until && line.trim_start().starts_with(['}', ')', ']']) => {
                left_out = None;
                return false;
            }
            _ => left_out = None,
        }
        if first_look(*at) || begins.iter().any(|name| line.trim_start().starts_with(name)) {
            if line.ends_with(['{', '(', '[']) {
                left_out = Some(depth);
            }
            return false;
        }
        true
    });
    kept.map(|at| lines[at].to_owned()).collect()
}

fn difference(before: &[String], after: &[String]) -> String {
    let differ = before.iter().zip(after).filter(|(one, other)| one != other).take(4);
    differ.map(|(one, other)| format!("{one} became {other}; ")).collect()
}

fn our_credentials() -> Credentials {
    Credentials::new("sB1x", "7Gk2mR0yVt4QwLz8cN5hJp3e").expect("credentials")
}

/// A check of the far side, which chooses the pair.
fn check(n: u16) -> Vec<u8> {
    let ours = our_credentials();
    let mut transaction = [9; 12];
    transaction[..2].copy_from_slice(&n.to_be_bytes());
    let mut slot = PacketBuf::new();
    Writer::new(&mut slot, Class::Request, transaction)
        .username(ours.ufrag().as_bytes(), b"far1")
        .priority(1000)
        .role(true, 7)
        .use_candidate()
        .finish(Some(&Key::new(ours.pwd().as_bytes())));
    slot.packet().to_vec()
}

fn certificates() -> &'static [Arc<Certificate>; 2] {
    static MADE: OnceLock<[Arc<Certificate>; 2]> = OnceLock::new();
    MADE.get_or_init(|| {
        [(); 2].map(|()| {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
            let made = CertificateParams::default().self_signed(&key).expect("a certificate");
            let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, made.der());
            let sha256: [u8; 32] = sha256.as_ref().try_into().expect("32 octets");
            let made = Certificate::new(made.der().to_vec(), key.serialize_der(), &sha256);
            Arc::new(made.expect("a certificate"))
        })
    })
}

fn dtls(which: usize, role: Role) -> Dtls {
    let [one, other] = certificates();
    let (local, remote) = if which == 0 { (one, other) } else { (other, one) };
    let remote: Fingerprint = *remote.fingerprint();
    assert_eq!(remote.hash(), HashFunction::Sha256);
    Dtls { local: Arc::clone(local), remote: vec![remote], role, association: (1, 0), at: None }
}

fn our_dtls() -> Dtls {
    dtls(0, Role::Active)
}

fn far_dtls() -> Dtls {
    dtls(1, Role::Passive)
}

#[expect(clippy::disallowed_methods, reason = "any instant serves as the virtual zero")]
fn zero() -> Instant {
    static ZERO: OnceLock<Instant> = OnceLock::new();
    *ZERO.get_or_init(Instant::now)
}

/// Whatever octets a handshake is sent, by whom it believes, it neither panics nor makes keys.
pub(crate) fn handshake(octets: &[u8]) {
    let [role, rest @ ..] = octets else { return };
    let role = if role & 1 == 0 { Role::Active } else { Role::Passive };
    let mut association = Association::new(dtls(0, role));
    let mut rest = rest;
    for n in 0..PACKETS_MAX as u64 {
        let now = zero() + Duration::from_millis(20 * n);
        association.turn(now);
        let [high, low, more @ ..] = rest else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (datagram, more) = more.split_at(length);
        rest = more;
        let _ = association.receive(now, None, datagram);
        while association.datagram().is_some() {}
        assert!(association.keys().is_none(), "keys of nobody");
    }
}

/// A receiver alone: what it refuses leaves it as it was, and the packet as it came.
pub(crate) fn unprotect(octets: &[u8]) {
    let [suite, rest @ ..] = octets else { return };
    let suite = Suite::ALL[usize::from(*suite) % Suite::ALL.len()];
    let mut receiver = Receiver::new(&[key(suite, 1)]);
    for rtcp in [false, true] {
        let mut slot = packet(rest);
        let came = slot.packet().to_vec();
        let before = format!("{receiver:?}");
        let done =
            if rtcp { receiver.unprotect_rtcp(&mut slot) } else { receiver.unprotect(&mut slot) };
        if done.is_err() {
            assert_eq!(format!("{receiver:?}"), before);
            assert_eq!(slot.packet(), came);
        }
    }
}
