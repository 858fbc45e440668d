//! All identities of the host: one set, which a reload puts another in the place of (TDR-CRT-007).

use crate::{Identity, KeyKind};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::UnixTime;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// Identities by name and by what they cover; clones share one set.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    set: Arc<Set>,
}

#[derive(Debug, Default)]
struct Set {
    named: BTreeMap<String, Arc<Identity>>,
    /// By alternative name, as written: ten thousand tenants may have one each. The better ones are
    /// first.
    covering: HashMap<String, Vec<Arc<Identity>>>,
    fingerprints: HashSet<[u8; 32]>,
}

impl Identities {
    /// A set of named identities. Of several for one alternative name, one that is valid is found by it;
    /// of these one that a peer of any kind takes, for servers and with an RSA key; of these the one that
    /// is valid longest.
    pub fn new(named: impl IntoIterator<Item = (String, Arc<Identity>)>) -> Self {
        let named: BTreeMap<String, Arc<Identity>> = named.into_iter().collect();
        let mut covering: HashMap<String, Vec<Arc<Identity>>> = HashMap::new();
        for identity in named.values().filter(|identity| !identity.is_pending()) {
            for name in identity.names() {
                covering.entry(name.clone()).or_default().push(Arc::clone(identity));
            }
        }
        let rank = |it: &Identity| {
            let rsa = matches!(it.key_kind(), KeyKind::Rsa(_));
            (it.for_servers(), rsa, it.not_after())
        };
        for all in covering.values_mut() {
            all.sort_by_key(|it| Reverse(rank(it)));
        }
        let fingerprints = named.values().map(|identity| identity.fingerprint()).collect();
        Self { set: Arc::new(Set { named, covering, fingerprints }) }
    }

    /// The identity of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Identity>> {
        self.set.named.get(name).cloned()
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Arc<Identity>)> {
        self.set.named.iter().map(|(name, one)| (name.as_str(), one))
    }

    /// Whether the certificate of this fingerprint is among them.
    pub fn has(&self, fingerprint: [u8; 32]) -> bool {
        self.set.fingerprints.contains(&fingerprint)
    }

    /// Chooses for who goes by `name` here: `default` if it covers that name or there is none, else
    /// the one that covers it, by the whole name before a wildcard, else `default` (TDR-CRT-009,
    /// TDR-CON-005). One that is valid now, as a peer that checks it now will find, comes before all that
    /// are not; while `default` is still to be issued, any other that covers the name comes first.
    pub fn choose(&self, name: Option<&str>, default: &str) -> Option<Arc<Identity>> {
        let fallback = self.set.named.get(default);
        let Some(name) = name else { return fallback.cloned() };
        let own = fallback.filter(|identity| !identity.is_pending() && identity.covers(name));
        let name = name.to_ascii_lowercase();
        let by = |name: &str| self.set.covering.get(name).map_or(&[][..], Vec::as_slice);
        let wild = name.split_once('.').map_or(&[][..], |(_, base)| by(&format!("*.{base}")));
        let mut covering = own.into_iter().chain(by(&name)).chain(wild);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(UnixTime::now().as_secs());
        let valid = |it: &&Arc<Identity>| it.not_before() <= now && now < it.not_after();
        covering.clone().find(valid).or_else(|| covering.next()).or(fallback).cloned()
    }
}

/// Two are the same if they show the same certificates under the same names.
impl PartialEq for Identities {
    fn eq(&self, other: &Self) -> bool {
        let shown = |set: &Self| -> Vec<(String, [u8; 32])> {
            set.all().map(|(name, one)| (name.to_owned(), one.fingerprint())).collect()
        };
        Arc::ptr_eq(&self.set, &other.set) || shown(self) == shown(other)
    }
}

impl Eq for Identities {}

/// What a listener shows to those who connect: chosen by the name they ask for.
#[derive(Debug)]
pub struct ServerIdentity {
    identities: Identities,
    default: String,
    shown: OnceLock<Arc<Identity>>,
}

impl ServerIdentity {
    /// Chooses among `identities`; `default` names the listener's own.
    pub fn new(identities: Identities, default: &str) -> Self {
        Self { identities, default: default.to_owned(), shown: OnceLock::new() }
    }

    /// What was shown to the first who connected: with one of these for each connection, to whoever is
    /// on it.
    pub fn shown(&self) -> Option<Arc<Identity>> {
        self.shown.get().cloned()
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let identity = self.identities.choose(hello.server_name(), &self.default)?;
        let key = identity.certified_key();
        // The first stays: where one configuration serves many, nobody asks.
        let _ = self.shown.set(identity);
        Some(key)
    }
}

/// What we show to those we connect to: always this one, whatever roots they hint at, as a far side
/// judges our Contact by it (TDR-TLS-005, TDR-CON-005).
#[derive(Debug)]
pub struct ClientIdentity {
    identity: Option<Arc<Identity>>,
}

impl ClientIdentity {
    /// Shows the one called `name`.
    pub fn new(identities: Identities, name: &str) -> Self {
        Self { identity: identities.named(name) }
    }

    /// Shows this one.
    pub fn of(identity: Arc<Identity>) -> Self {
        Self { identity: Some(identity) }
    }
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.identity.as_ref()?.certified_key())
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}
