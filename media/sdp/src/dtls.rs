//! DTLS-SRTP in SDP: fingerprints (RFC 8122), roles (RFC 4145, RFC 5763) and when an association
//! goes on (RFC 8842).

use crate::section::MediaDescription;
use crate::words::{text, words};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use zeroize::ZeroizeOnDrop;

/// Most fingerprints kept of one description: a browser writes one, a cluster a handful.
const MAX_FINGERPRINTS: usize = 8;
/// The longest digest, in octets.
const MAX_DIGEST: usize = 64;
/// RFC 8842, 4: an identity has 20 to 255 characters.
const TLS_ID_LENGTH: std::ops::RangeInclusive<usize> = 20..=255;

/// A hash function of a fingerprint, weakest first (RFC 8122, 5; MD2 and MD5 are forbidden there).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say what they are")]
pub enum HashFunction {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl HashFunction {
    const ALL: [Self; 5] = [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Octets of its digest.
    pub const fn octets(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Its name in SDP.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| name.eq_ignore_ascii_case(hash.as_str()))
    }
}

/// The fingerprint of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    hash: HashFunction,
    digest: [u8; MAX_DIGEST],
}

impl Fingerprint {
    /// A fingerprint of this digest, if it is as long as the function's digests are.
    pub fn new(hash: HashFunction, digest: &[u8]) -> Option<Self> {
        let mut kept = [0; MAX_DIGEST];
        (digest.len() == hash.octets()).then(|| kept[..digest.len()].copy_from_slice(digest))?;
        Some(Self { hash, digest: kept })
    }

    /// Reads the value of an `a=fingerprint` attribute; `None` where the hash function is unknown or
    /// forbidden, or the digest is none.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut words = words(value).map(text);
        let hash = HashFunction::named(words.next()??)?;
        let written = words.next()??;
        let mut digest = [0; MAX_DIGEST];
        let mut octets = written.split(':');
        for place in digest.get_mut(..hash.octets())? {
            let octet = octets.next().filter(|octet| octet.len() == 2)?;
            let is_hex = octet.bytes().all(|digit| digit.is_ascii_hexdigit());
            *place = is_hex.then(|| u8::from_str_radix(octet, 16).ok())??;
        }
        (octets.next().is_none() && words.next().is_none()).then_some(Self { hash, digest })
    }

    /// The hash function.
    pub const fn hash(&self) -> HashFunction {
        self.hash
    }

    /// The digest.
    pub fn digest(&self) -> &[u8] {
        &self.digest[..self.hash.octets()]
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.as_str())?;
        for (at, octet) in self.digest().iter().enumerate() {
            write!(f, "{}{octet:02X}", if at == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Our certificate for DTLS, with its key. Wiped when dropped; its `Debug` shows no key octet.
#[derive(PartialEq, Eq, ZeroizeOnDrop)]
pub struct Certificate {
    #[zeroize(skip)]
    der: Vec<u8>,
    /// PKCS #8.
    key: Vec<u8>,
    #[zeroize(skip)]
    fingerprint: Fingerprint,
}

impl Certificate {
    /// A certificate and its key in DER (PKCS #8), with the SHA-256 digest of the certificate.
    pub fn new(der: Vec<u8>, key: Vec<u8>, sha256: &[u8; 32]) -> Option<Self> {
        let fingerprint = Fingerprint::new(HashFunction::Sha256, sha256)?;
        Some(Self { der, key, fingerprint })
    }
    /// The certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
    /// Its key, for the handshake only.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
    /// What we write of it.
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint)
    }
}

/// Who begins the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We do: the DTLS client.
    Active,
    /// The far side does.
    Passive,
}

impl Role {
    /// The role of the other end.
    pub const fn reversed(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Passive => Self::Active,
        }
    }
}

/// The DTLS association of one stream. As long as two are equal it is one association, which goes
/// on; where anything differs a new handshake is due (RFC 8842, 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dtls {
    /// Who we are.
    pub local: Arc<Certificate>,
    /// Who the far side is: its certificate has one of these, all of one hash function.
    pub remote: Vec<Fingerprint>,
    /// Who begins.
    pub role: Role,
    /// The leg and which association of it.
    pub association: (u64, u32),
    /// Where the far side was when it was agreed: two forks may have one certificate.
    pub at: Option<SocketAddr>,
}

/// `a=setup` (RFC 4145, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    ActPass,
    Active,
    Passive,
    HoldConn,
}

impl Setup {
    const ALL: [Self; 4] = [Self::ActPass, Self::Active, Self::Passive, Self::HoldConn];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ActPass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
            Self::HoldConn => "holdconn",
        }
    }

    pub(crate) const fn of(role: Role) -> Self {
        match role {
            Role::Active => Self::Active,
            Role::Passive => Self::Passive,
        }
    }
}

/// What the far side says of DTLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteDtls {
    /// Of the strongest hash function that it wrote (RFC 8122, 5), in order.
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) setup: Option<Setup>,
    pub(crate) tls_id: Option<Box<str>>,
    /// It speaks ICE, which may move the stream without beginning it anew.
    pub(crate) ice: bool,
}

impl RemoteDtls {
    /// Reads what stands here, else for the session; `None` without a fingerprint that can be
    /// checked.
    pub(crate) fn read(media: &MediaDescription<'_>) -> Option<Self> {
        let sections = [media.section(), media.session()];
        let values = |name| {
            let mut found = sections.into_iter().map(move |section| section.attribute(name));
            found.find_map(|values| {
                let values: Vec<&[u8]> = values.take(MAX_FINGERPRINTS).collect();
                (!values.is_empty()).then_some(values)
            })
        };
        let written = values("fingerprint")?;
        let mut fingerprints: Vec<Fingerprint> =
            written.into_iter().filter_map(Fingerprint::parse).collect();
        let strongest = fingerprints.iter().map(Fingerprint::hash).max()?;
        fingerprints.retain(|fingerprint| fingerprint.hash == strongest);
        fingerprints.sort_unstable();
        fingerprints.dedup();
        let word = |name| values(name).and_then(|values| text(values.first()?));
        let setup = word("setup").and_then(|word| {
            Setup::ALL.into_iter().find(|setup| word.eq_ignore_ascii_case(setup.as_str()))
        });
        let tls_id = word("tls-id").filter(|id| TLS_ID_LENGTH.contains(&id.len()));
        let ice = values("ice-ufrag").is_some();
        Some(Self { fingerprints, setup, tls_id: tls_id.map(Box::from), ice })
    }

    /// Our role if this is an offer; `None` where it leaves none. `now` is the role we have.
    pub(crate) fn role_answering(&self, now: Option<Role>, prefer: Role) -> Option<Role> {
        match self.setup {
            Some(Setup::ActPass) => Some(now.unwrap_or(prefer)),
            Some(Setup::Passive) => Some(Role::Active),
            // What is not written is active (RFC 4145, 4.1).
            Some(Setup::Active) | None => Some(Role::Passive),
            Some(Setup::HoldConn) => None,
        }
    }

    /// Our role if this answers an offer that left it open.
    pub(crate) const fn role_answered(&self) -> Option<Role> {
        match self.setup {
            Some(Setup::Passive) => Some(Role::Active),
            Some(Setup::Active | Setup::ActPass) | None => Some(Role::Passive),
            Some(Setup::HoldConn) => None,
        }
    }

    /// Whether the far side means the association that `before` began. Without identities on both
    /// sides a stream that moved, other than by ICE, begins anew.
    pub(crate) fn goes_on(
        &self,
        before: &Self,
        (now_at, was_at): (Option<SocketAddr>, Option<SocketAddr>),
    ) -> bool {
        let moved = now_at.is_some() && was_at.is_some() && now_at != was_at;
        let said = self.tls_id.is_some() && before.tls_id.is_some();
        self.fingerprints == before.fingerprints
            && (said && self.tls_id == before.tls_id || !said && (!moved || self.ice))
    }
}

/// Our `a=tls-id` for one of a leg's associations.
pub(crate) fn tls_id(session_id: u64, which: u32) -> String {
    format!("{session_id:016x}{which:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::SessionDescription;

    fn sha256(octet: u8) -> String {
        format!("sha-256 {}", vec![format!("{octet:02X}"); 32].join(":"))
    }

    fn read(session: &str, media: &str) -> Option<RemoteDtls> {
        let body = format!("v=0\r\n{session}m=audio 4000 UDP/TLS/RTP/SAVP 8\r\n{media}");
        let sdp = SessionDescription::parse(body.as_bytes()).unwrap();
        RemoteDtls::read(&sdp.media().next().unwrap())
    }

    #[test]
    fn a_fingerprint_is_read_as_it_is_written() {
        let written = sha256(0xab);
        let read = Fingerprint::parse(written.as_bytes()).unwrap();
        assert_eq!((read.hash(), read.digest()), (HashFunction::Sha256, &[0xab; 32][..]));
        assert_eq!(read.to_string(), written);
        assert_eq!(Fingerprint::parse(written.to_ascii_lowercase().as_bytes()), Some(read));
    }

    #[test]
    fn a_fingerprint_of_an_unknown_hash_or_length_is_none() {
        let digits = |n: usize| vec!["0A"; n].join(":");
        for (name, octets) in
            [("sha-1", 20), ("sha-224", 28), ("SHA-256", 32), ("sha-384", 48), ("sha-512", 64)]
        {
            assert!(Fingerprint::parse(format!("{name} {}", digits(octets)).as_bytes()).is_some());
            for wrong in [octets - 1, octets + 1, 0] {
                let value = format!("{name} {}", digits(wrong));
                assert_eq!(Fingerprint::parse(value.as_bytes()), None, "{value}");
            }
        }
        for value in [
            String::new(),
            "sha-256".to_owned(),
            format!("md5 {}", digits(16)),
            format!("md2 {}", digits(16)),
            format!("sha-3 {}", digits(32)),
            format!("sha-256 {} more", digits(32)),
            format!("sha-256 {}", "0A".repeat(32)),
            format!("sha-256 +1:{}", digits(31)),
        ] {
            assert_eq!(Fingerprint::parse(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn what_stands_at_the_media_line_wins_over_the_session() {
        let session = format!("a=fingerprint:{}\r\na=setup:active\r\n", sha256(1));
        let of_session = read(&session, "").unwrap();
        assert_eq!(of_session.fingerprints[0].digest(), [1; 32]);
        assert_eq!(of_session.setup, Some(Setup::Active));
        let media = format!("a=fingerprint:{}\r\na=setup:actpass\r\n", sha256(2));
        let of_media = read(&session, &media).unwrap();
        assert_eq!(of_media.fingerprints[0].digest(), [2; 32]);
        assert_eq!(of_media.setup, Some(Setup::ActPass));
    }

    #[test]
    fn of_several_fingerprints_those_of_the_strongest_function_count() {
        let sha1 = format!("sha-1 {}", vec!["01"; 20].join(":"));
        let lines = [sha256(3), sha1, sha256(2), format!("md5 {}", vec!["01"; 16].join(":"))]
            .map(|value| format!("a=fingerprint:{value}\r\n"))
            .concat();
        let digests: Vec<u8> =
            read("", &lines).unwrap().fingerprints.iter().map(|f| f.digest()[0]).collect();
        assert_eq!(digests, [2, 3]);
        assert_eq!(read("", "a=fingerprint:md5 01:02\r\n"), None);
        assert_eq!(read("", ""), None);
    }
}
