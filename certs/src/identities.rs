//! All identities of the host, swapped whole: a new handshake uses what is newest (TDR-CRT-007).

use crate::Identity;
use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Identities by name; clones share one set.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    current: Arc<ArcSwap<Named>>,
}

type Named = BTreeMap<String, Arc<Identity>>;

impl Identities {
    /// A set of named identities.
    pub fn new(named: impl IntoIterator<Item = (String, Arc<Identity>)>) -> Self {
        let identities = Self::default();
        identities.replace(named);
        identities
    }

    /// Puts another set in force: for handshakes that begin from now on, in and out.
    pub fn replace(&self, named: impl IntoIterator<Item = (String, Arc<Identity>)>) {
        self.current.store(Arc::new(named.into_iter().collect()));
    }

    /// The identity of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Identity>> {
        self.current.load().get(name).cloned()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<(String, Arc<Identity>)> {
        self.current.load().iter().map(|(name, one)| (name.clone(), Arc::clone(one))).collect()
    }

    /// Chooses for a client that asked for `server_name`: `default` if it covers that name or no
    /// name was sent, else the first that covers it, else `default` (TDR-CRT-009).
    pub fn choose(&self, server_name: Option<&str>, default: &str) -> Option<Arc<Identity>> {
        let current = self.current.load();
        let fallback = current.get(default);
        let Some(name) = server_name else { return fallback.cloned() };
        fallback
            .filter(|identity| identity.covers(name))
            .or_else(|| current.values().find(|identity| identity.covers(name)))
            .or(fallback)
            .cloned()
    }
}

/// What a listener shows to those who connect: chosen by the name they ask for.
#[derive(Debug)]
pub struct ServerIdentity {
    identities: Identities,
    default: String,
}

impl ServerIdentity {
    /// Chooses among `identities`; `default` names the listener's own.
    pub fn new(identities: Identities, default: &str) -> Self {
        Self { identities, default: default.to_owned() }
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let identity = self.identities.choose(hello.server_name(), &self.default)?;
        Some(identity.certified_key())
    }
}

/// What we show to those we connect to: always the listener's own, whatever roots they hint at, as
/// a far side judges our Contact by it (TDR-TLS-005, TDR-CON-005).
#[derive(Debug)]
pub struct ClientIdentity {
    identities: Identities,
    name: String,
}

impl ClientIdentity {
    /// Shows the one called `name`.
    pub fn new(identities: Identities, name: &str) -> Self {
        Self { identities, name: name.to_owned() }
    }
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.identities.named(&self.name)?.certified_key())
    }

    fn has_certs(&self) -> bool {
        self.identities.named(&self.name).is_some()
    }
}
