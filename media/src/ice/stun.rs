//! STUN messages as connectivity checks have them, read and written in place (RFC 8489; RFC 8445, 16).

use crate::PacketBuf;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use subtle::ConstantTimeEq;

/// What a message is. Methods other than Binding are nothing to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A check.
    Request,
    /// A keepalive that wants no answer.
    Indication,
    /// A check has succeeded.
    Success,
    /// A check was refused.
    Error,
}

impl Class {
    /// The message type with the method Binding (RFC 8489, 5).
    const fn of_binding(self) -> u16 {
        match self {
            Self::Request => 0x0001,
            Self::Indication => 0x0011,
            Self::Success => 0x0101,
            Self::Error => 0x0111,
        }
    }
}

/// A transaction id.
pub type Transaction = [u8; 12];

/// The password of one end, ready to authenticate messages. Holds no memory beyond itself.
#[derive(Clone)]
pub struct Key(Hmac<Sha1>);

impl Key {
    /// Of a password (short-term credentials; RFC 8489, 9.1.1).
    pub fn new(pwd: &[u8]) -> Self {
        // A key longer than the block is its hash, a shorter one is padded (RFC 2104, 2).
        let mut block = [0; 64];
        match block.get_mut(..pwd.len()) {
            Some(start) => start.copy_from_slice(pwd),
            None => block[..20].copy_from_slice(&<Sha1 as sha1::Digest>::digest(pwd)),
        }
        Self(Hmac::new(&block.into()))
    }

    /// The code over several pieces.
    pub(super) fn code(&self, pieces: &[&[u8]]) -> [u8; 20] {
        let mut mac = self.0.clone();
        pieces.iter().for_each(|piece| mac.update(piece));
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// A message that was read: the attributes that a check needs. Those we do not know are passed over,
/// comprehension-required ones too (TDR-ICE-003).
#[derive(Clone, Copy, Debug)]
pub struct Message<'p> {
    octets: &'p [u8],
    /// What it is.
    pub class: Class,
    /// Its transaction.
    pub transaction: Transaction,
    /// USERNAME.
    pub username: Option<&'p [u8]>,
    /// PRIORITY.
    pub priority: Option<u32>,
    /// USE-CANDIDATE: the pair is chosen.
    pub use_candidate: bool,
    /// Whether the far side leads (ICE-CONTROLLING), and its tie-breaker.
    pub role: Option<(bool, u64)>,
    /// XOR-MAPPED-ADDRESS.
    pub mapped: Option<SocketAddr>,
    /// ERROR-CODE.
    pub error: Option<u16>,
    /// Where MESSAGE-INTEGRITY stands.
    integrity_at: Option<usize>,
}

impl<'p> Message<'p> {
    /// Reads a datagram; `None` if it is no Binding message as it should be, or its FINGERPRINT is
    /// wrong.
    pub fn read(octets: &'p [u8]) -> Option<Self> {
        let (header, _) = octets.split_first_chunk::<HEADER>()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let class = [Class::Request, Class::Indication, Class::Success, Class::Error]
            .into_iter()
            .find(|class| class.of_binding() == kind)?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[4..8] != COOKIE || len % 4 != 0 || octets.len() != HEADER + len {
            return None;
        }
        let mut message = Self {
            octets,
            class,
            transaction: header[8..].try_into().ok()?,
            username: None,
            priority: None,
            use_candidate: false,
            role: None,
            mapped: None,
            error: None,
            integrity_at: None,
        };
        let mut at = HEADER;
        while at < octets.len() {
            let kind = u16::from_be_bytes(octets.get(at..at + 2)?.try_into().ok()?);
            let len = usize::from(u16::from_be_bytes(octets.get(at + 2..at + 4)?.try_into().ok()?));
            let value = octets.get(at + 4..at + 4 + len)?;
            if kind == FINGERPRINT {
                // It is the last one (RFC 8489, 14.7).
                let right = at + 8 == octets.len() && value == fingerprint(&octets[..at]);
                return right.then_some(message);
            }
            // What stands behind the code is not covered by it (RFC 8489, 14.5).
            if message.integrity_at.is_none() {
                message.take(kind, value, at)?;
            }
            at += 4 + len.next_multiple_of(4);
        }
        // Padding of the last attribute may be cut off by nobody: the length says so.
        (at == octets.len()).then_some(message)
    }

    fn take(&mut self, kind: u16, value: &'p [u8], at: usize) -> Option<()> {
        let long = || value.try_into().ok().map(u64::from_be_bytes);
        match kind {
            USERNAME => self.username = self.username.or(Some(value)),
            MESSAGE_INTEGRITY if value.len() == 20 => self.integrity_at = Some(at),
            MESSAGE_INTEGRITY => return None,
            PRIORITY => self.priority = Some(u32::from_be_bytes(value.try_into().ok()?)),
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLED => self.role = Some((false, long()?)),
            ICE_CONTROLLING => self.role = Some((true, long()?)),
            XOR_MAPPED_ADDRESS => self.mapped = Some(self.unmask(value)?),
            ERROR_CODE => {
                let [_, _, hundreds, rest, ..] = value else { return None };
                self.error = Some(u16::from(hundreds & 7) * 100 + u16::from(*rest));
            }
            _ => {}
        }
        Some(())
    }

    fn unmask(&self, value: &[u8]) -> Option<SocketAddr> {
        let (head, address) = value.split_first_chunk::<4>()?;
        let port = u16::from_be_bytes([head[2], head[3]]) ^ PORT_MASK;
        let mask = mask(&self.transaction);
        let ip = match (head[1], address.len()) {
            (1, 4) => IpAddr::V4(Ipv4Addr::from(masked::<4>(address, &mask)?)),
            (2, 16) => IpAddr::V6(Ipv6Addr::from(masked::<16>(address, &mask)?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// Whether it has a MESSAGE-INTEGRITY at all.
    pub const fn is_signed(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Whether its MESSAGE-INTEGRITY is that of this password.
    pub fn is_authentic(&self, key: &Key) -> bool {
        let Some(at) = self.integrity_at else { return false };
        let (Some(covered), Some(code)) =
            (self.octets.get(..at), self.octets.get(at + 4..at + INTEGRITY_LEN))
        else {
            return false;
        };
        key.code(&[&covered[..2], &length(at + INTEGRITY_LEN), &covered[4..]]).ct_eq(code).into()
    }
}

/// Writes a message into a slot.
#[derive(Debug)]
pub struct Writer<'s> {
    slot: &'s mut PacketBuf,
    transaction: Transaction,
    len: usize,
}

impl<'s> Writer<'s> {
    /// A message without attributes.
    pub fn new(slot: &'s mut PacketBuf, class: Class, transaction: Transaction) -> Self {
        let octets = slot.octets_mut();
        octets[..2].copy_from_slice(&class.of_binding().to_be_bytes());
        octets[4..8].copy_from_slice(&COOKIE);
        octets[8..HEADER].copy_from_slice(&transaction);
        Self { slot, transaction, len: HEADER }
    }

    /// Adds an attribute of pieces that follow each other. What a slot cannot hold is left out.
    fn put(mut self, kind: u16, pieces: &[&[u8]]) -> Self {
        let value_len: usize = pieces.iter().map(|piece| piece.len()).sum();
        let end = self.len + 4 + value_len.next_multiple_of(4);
        if let Some(room) = self.slot.octets_mut().get_mut(self.len..end) {
            room.fill(0);
            room[..2].copy_from_slice(&kind.to_be_bytes());
            room[2..4].copy_from_slice(&(value_len as u16).to_be_bytes());
            let mut at = 4;
            for piece in pieces {
                room[at..at + piece.len()].copy_from_slice(piece);
                at += piece.len();
            }
            self.len = end;
        }
        self
    }

    /// USERNAME: whom it is for, and who it is from.
    #[must_use]
    pub fn username(self, to: &[u8], from: &[u8]) -> Self {
        self.put(USERNAME, &[to, b":", from])
    }

    /// PRIORITY.
    #[must_use]
    pub fn priority(self, priority: u32) -> Self {
        self.put(PRIORITY, &[&priority.to_be_bytes()])
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    #[must_use]
    pub fn role(self, controlling: bool, tie_breaker: u64) -> Self {
        let kind = if controlling { ICE_CONTROLLING } else { ICE_CONTROLLED };
        self.put(kind, &[&tie_breaker.to_be_bytes()])
    }

    /// USE-CANDIDATE.
    #[must_use]
    pub fn use_candidate(self) -> Self {
        self.put(USE_CANDIDATE, &[])
    }

    /// XOR-MAPPED-ADDRESS.
    #[must_use]
    pub fn mapped(self, address: SocketAddr) -> Self {
        let mask = mask(&self.transaction);
        let port = (address.port() ^ PORT_MASK).to_be_bytes();
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let ip = masked::<4>(&ip.octets(), &mask).unwrap_or_default();
                self.put(XOR_MAPPED_ADDRESS, &[&[0, 1], &port, &ip])
            }
            IpAddr::V6(ip) => {
                let ip = masked::<16>(&ip.octets(), &mask).unwrap_or_default();
                self.put(XOR_MAPPED_ADDRESS, &[&[0, 2], &port, &ip])
            }
        }
    }

    /// ERROR-CODE, with the usual words.
    #[must_use]
    pub fn error(self, code: u16) -> Self {
        let words: &[u8] = match code {
            400 => b"Bad Request",
            401 => b"Unauthorized",
            487 => b"Role Conflict",
            _ => b"",
        };
        self.put(ERROR_CODE, &[&[0, 0, (code / 100) as u8, (code % 100) as u8], words])
    }

    /// An attribute of any kind.
    #[must_use]
    pub fn attribute(self, kind: u16, value: &[u8]) -> Self {
        self.put(kind, &[value])
    }

    /// Ends it: MESSAGE-INTEGRITY where it has a key, and FINGERPRINT.
    pub fn finish(mut self, key: Option<&Key>) {
        if let Some(key) = key {
            let len = length(self.len + INTEGRITY_LEN);
            let written = &self.slot.octets_mut()[..self.len];
            let code = key.code(&[&written[..2], &len, &written[4..]]);
            self = self.put(MESSAGE_INTEGRITY, &[&code]);
        }
        let len = self.len;
        let crc = fingerprint(&self.slot.octets_mut()[..len]);
        self = self.put(FINGERPRINT, &[&crc]);
        let len = self.len;
        self.slot.octets_mut()[2..4].copy_from_slice(&length(len));
        self.slot.set_len(len);
    }
}

/// The length field of a message that ends at `end`.
const fn length(end: usize) -> [u8; 2] {
    ((end - HEADER) as u16).to_be_bytes()
}

/// What addresses are masked with: the cookie and the transaction.
fn mask(transaction: &Transaction) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE);
    mask[4..].copy_from_slice(transaction);
    mask
}

fn masked<const N: usize>(octets: &[u8], mask: &[u8; 16]) -> Option<[u8; N]> {
    let octets: [u8; N] = octets.try_into().ok()?;
    Some(std::array::from_fn(|at| octets[at] ^ mask[at]))
}

/// The value of a FINGERPRINT that stands behind `covered`, whatever length its header names
/// (RFC 8489, 14.7).
fn fingerprint(covered: &[u8]) -> [u8; 4] {
    const FINGERPRINT_LEN: usize = 8;
    let len = length(covered.len() + FINGERPRINT_LEN);
    let pieces: [&[u8]; 3] = [&covered[..2], &len, &covered[4..]];
    let mut crc = u32::MAX;
    for octet in pieces.into_iter().flatten() {
        crc = CRC[((crc ^ u32::from(*octet)) & 0xff) as usize] ^ (crc >> 8);
    }
    (!crc ^ 0x5354_554e).to_be_bytes()
}

/// The table of the CRC-32 of ITU V.42.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Ports are masked with the first half of the cookie.
const PORT_MASK: u16 = 0x2112;
/// MESSAGE-INTEGRITY with its header.
const INTEGRITY_LEN: usize = 24;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769, 2.1: the user is `evtj:h6vY`, the password is that of all of them.
    const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09evtj:h6vY\x20\x20\x20\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\
        \xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    /// RFC 5769, 2.2.
    const RESPONSE_4: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector\x20\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
        \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
        \x80\x28\x00\x04\xc0\x7d\x4c\x96";
    /// RFC 5769, 2.3.
    const RESPONSE_6: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector\x20\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\
        \xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\
        \x82\x92\xc2\x75\xbf\xe3\xed\x41\x80\x28\x00\x04\xc8\xfb\x0b\x4c";
    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn the_vectors_of_rfc_5769_are_read() {
        let key = Key::new(PASSWORD);
        let request = Message::read(REQUEST).expect("a request");
        assert!(request.is_authentic(&key) && !request.is_authentic(&Key::new(b"another")));
        assert_eq!(request.class, Class::Request);
        assert_eq!(request.username, Some(&b"evtj:h6vY"[..]));
        assert_eq!(request.priority, Some(0x6e00_01ff));
        assert_eq!(request.role, Some((false, 0x932f_f9b1_5126_3b36)));
        assert!(!request.use_candidate);
        for (octets, mapped) in [
            (RESPONSE_4, "192.0.2.1:32853"),
            (RESPONSE_6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            let response = Message::read(octets).expect("a response");
            assert!(response.is_authentic(&key), "{mapped}");
            assert_eq!((response.class, response.mapped), (Class::Success, mapped.parse().ok()));
        }
    }

    #[test]
    fn what_is_written_is_what_the_vectors_hold() {
        let key = Key::new(PASSWORD);
        for (octets, mapped) in [
            (RESPONSE_4, "192.0.2.1:32853"),
            (RESPONSE_6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            let mut slot = PacketBuf::new();
            let transaction = Message::read(octets).unwrap().transaction;
            Writer::new(&mut slot, Class::Success, transaction)
                .mapped(mapped.parse().unwrap())
                .finish(Some(&key));
            let written = Message::read(slot.packet()).expect("it can be read back");
            assert!(written.is_authentic(&key));
            assert_eq!(written.mapped, mapped.parse().ok());
            let of = |octets: &[u8]| {
                let at = octets.windows(4).position(|it| it[..2] == [0, 0x20] && it[2] == 0);
                at.map(|at| octets[at..at + 12].to_vec())
            };
            assert_eq!(of(slot.packet()), of(octets), "the masked address");
        }
    }

    #[test]
    fn any_octet_that_changes_makes_it_another_message_or_none() {
        let key = Key::new(PASSWORD);
        // Behind the code, only the value of the fingerprint is judged.
        for at in (0..REQUEST.len() - 8).chain(REQUEST.len() - 4..REQUEST.len()) {
            let mut octets = REQUEST.to_vec();
            octets[at] ^= 0x40;
            let read = Message::read(&octets);
            assert!(read.is_none_or(|message| !message.is_authentic(&key)), "octet {at}");
        }
        for len in 0..REQUEST.len() {
            assert!(Message::read(&REQUEST[..len]).is_none(), "{len} octets of it");
        }
    }

    #[test]
    fn a_fingerprint_that_is_missing_is_not_missed_and_what_follows_the_code_counts_for_nothing() {
        let key = Key::new(PASSWORD);
        let measured = |mut octets: Vec<u8>| {
            let len = length(octets.len());
            octets[2..4].copy_from_slice(&len);
            octets
        };
        let mut octets = measured(REQUEST[..REQUEST.len() - 8].to_vec());
        assert!(Message::read(&octets).expect("without fingerprint").is_authentic(&key));
        octets.extend([0, 0x25, 0, 0]);
        let octets = measured(octets);
        let message = Message::read(&octets).expect("with more");
        assert!(message.is_authentic(&key) && !message.use_candidate, "nobody vouches for it");
    }

    #[test]
    fn a_long_password_is_hashed() {
        let (long, other) = ([b'a'; 100], [b'a'; 101]);
        assert_ne!(Key::new(&long).code(&[b"x"]), Key::new(&other).code(&[b"x"]));
        let hashed = <Sha1 as sha1::Digest>::digest(long);
        assert_eq!(Key::new(&long).code(&[b"x"]), Key::new(&hashed).code(&[b"x"]));
    }
}
