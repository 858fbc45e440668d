//! Who gets through a handshake and who does not, over octets in memory.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up fails")]

use certs::lab::{Authority, Key, Leaf, Purpose, Request};
use certs::{
    ClientIdentity, Identities, Identity, PeerRefusal, Roots, ServerIdentity, Trust, client_config,
    server_config,
};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TEAMS: &str = "sip.pstnhub.microsoft.com";
const SBC: &str = "sbc1.example.net";

fn dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("handshake").join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn identities(dir: &Path, leaf: &Leaf) -> Identities {
    let (chain, key) = leaf.write(dir, "leaf").unwrap();
    Identities::new([("own".to_owned(), Arc::new(Identity::load(&chain, &key).unwrap()))])
}

fn roots(dir: &Path, authority: &Authority) -> Roots {
    Roots::file(&authority.write_root(dir, "root").unwrap()).unwrap()
}

/// An SBC that believes `teams` under the name of Teams.
fn sbc(dir: &Path, teams: &Authority) -> Arc<ServerConfig> {
    let own = Authority::new("Public").unwrap().leaf(&[SBC]).unwrap();
    let identity = ServerIdentity::new(identities(dir, &own), "own");
    let trust = Trust { roots: roots(dir, teams), names: vec![TEAMS.to_owned()] };
    server_config(identity, &trust).unwrap()
}

/// A peer that shows `leaf` (or nothing) and believes everybody: it is the SBC that is tested.
fn peer(
    dir: &Path,
    leaf: Option<&Leaf>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let resolver: Arc<dyn ResolvesClientCert> = match leaf {
        Some(leaf) => Arc::new(ClientIdentity::new(identities(dir, leaf), "own")),
        None => Arc::new(ClientIdentity::new(Identities::default(), "own")),
    };
    let config = ClientConfig::builder_with_provider(Arc::clone(certs::provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer))
        .with_client_cert_resolver(resolver);
    Arc::new(config)
}

/// Carries octets to and fro until both are done or one gives up; the server's error comes first.
fn handshake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let mut client_result = Ok(());
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            let result = server.process_new_packets();
            // An alert of the client's is explained by the client's own error.
            if let (Err(error), Ok(())) = (result, &client_result) {
                return Err(error);
            }
        }
        client_result?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = &wire[..];
        client_result = Ok(());
        while !wire.is_empty() && client_result.is_ok() {
            client.read_tls(&mut wire).unwrap();
            client_result = client.process_new_packets().map(|_| ());
        }
    }
    Ok((server, client))
}

fn refusal(
    dir: &Path,
    teams: &Authority,
    leaf: Option<&Leaf>,
    version: &'static SupportedProtocolVersion,
) -> Option<PeerRefusal> {
    let error = handshake(sbc(dir, teams), peer(dir, leaf, version), SBC).err()?;
    Some(PeerRefusal::of(&error).unwrap_or_else(|| panic!("{error}")))
}

/// TDR-TLS-006, TDR-TLS-007, TDR-TLS-008
#[test]
fn teams_with_a_server_certificate_only_is_believed_and_each_forgery_is_not() {
    let dir = dir("forgeries");
    let teams = Authority::new("Microsoft").unwrap();
    let rogue = Authority::new("Microsoft").unwrap(); // Same names, other keys.
    let leaf = |authority: &Authority, names: &[&str], purpose, expired| {
        authority.issue(&Request { names, purpose, expired, ..Request::default() }).unwrap()
    };
    let wild = ["*.pstnhub.microsoft.com"];
    for version in [&TLS13, &TLS12] {
        let refusal = |leaf: Option<&Leaf>| refusal(&dir, &teams, leaf, version);
        for purpose in [Purpose::Server, Purpose::Client, Purpose::Both] {
            assert_eq!(refusal(Some(&leaf(&teams, &[TEAMS], purpose, false))), None, "{purpose:?}");
        }
        assert_eq!(refusal(Some(&leaf(&teams, &wild, Purpose::Server, false))), None);
        assert_eq!(refusal(None), Some(PeerRefusal::NoCertificate));
        let cases = [
            (leaf(&teams, &[TEAMS], Purpose::Neither, false), PeerRefusal::BadCertificate),
            (leaf(&teams, &[TEAMS], Purpose::Both, true), PeerRefusal::Expired),
            (leaf(&rogue, &[TEAMS], Purpose::Both, false), PeerRefusal::UnknownIssuer),
            (leaf(&teams, &["sip.example.net"], Purpose::Both, false), PeerRefusal::NameMismatch),
            (leaf(&teams, &["*.microsoft.com"], Purpose::Both, false), PeerRefusal::NameMismatch),
            (
                leaf(&teams, &["pstnhub.microsoft.com"], Purpose::Both, false),
                PeerRefusal::NameMismatch,
            ),
        ];
        for (leaf, expected) in &cases {
            assert_eq!(refusal(Some(leaf)), Some(*expected), "{version:?}");
        }
    }
}

#[test]
fn peer_is_refused_where_no_name_is_expected() {
    let dir = dir("nameless");
    let teams = Authority::new("Microsoft").unwrap();
    let own = identities(&dir, &Authority::new("Public").unwrap().leaf(&[SBC]).unwrap());
    let trust = Trust { roots: roots(&dir, &teams), names: Vec::new() };
    let server = server_config(ServerIdentity::new(own, "own"), &trust).unwrap();
    let client = peer(&dir, Some(&teams.leaf(&[TEAMS]).unwrap()), &TLS13);
    let error = handshake(server, client, SBC).err().unwrap();
    assert_eq!(PeerRefusal::of(&error), Some(PeerRefusal::NameMismatch));
}

/// TDR-CRT-021
#[test]
fn chains_of_each_key_kind_are_verified() {
    let dir = dir("kinds");
    for key in [Key::P256, Key::P384, Key::Rsa2048, Key::Rsa4096] {
        let teams = Authority::with_key("Kind", key).unwrap();
        // One RSA-4096 key pair in the chain is enough, and costs seconds.
        let key = if key == Key::Rsa4096 { Key::Rsa2048 } else { key };
        let leaf = teams.issue(&Request { names: &[TEAMS], key, ..Request::default() }).unwrap();
        assert_eq!(refusal(&dir, &teams, Some(&leaf), &TLS12), None, "{key:?}");
    }
}

/// TDR-TLS-009
#[test]
fn no_handshake_is_resumed_so_that_each_peer_is_checked_again() {
    let dir = dir("resumed");
    let teams = Authority::new("Microsoft").unwrap();
    let leaf = teams.leaf(&[TEAMS]).unwrap();
    for version in [&TLS13, &TLS12] {
        let (server, client) = (sbc(&dir, &teams), peer(&dir, Some(&leaf), version));
        for _ in 0..2 {
            let (server, _) = handshake(Arc::clone(&server), Arc::clone(&client), SBC).unwrap();
            assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Full), "{version:?}");
        }
    }
}

/// TDR-TLS-002, TDR-TLS-003
#[test]
fn teams_gcm_suite_is_agreed_with_an_rsa_certificate_on_tls_1_2() {
    let dir = dir("suite");
    let teams = Authority::new("Microsoft").unwrap();
    let rsa = Request { names: &[SBC], key: Key::Rsa2048, ..Request::default() };
    let own = identities(&dir, &Authority::new("Public").unwrap().issue(&rsa).unwrap());
    let trust = Trust { roots: roots(&dir, &teams), names: vec![TEAMS.to_owned()] };
    let server = server_config(ServerIdentity::new(own, "own"), &trust).unwrap();
    let client = peer(&dir, Some(&teams.leaf(&[TEAMS]).unwrap()), &TLS12);
    let (server, _client) = handshake(server, client, SBC).unwrap();
    let suite = server.negotiated_cipher_suite().as_ref().map(SupportedCipherSuite::suite);
    assert_eq!(suite, Some(rustls::CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384));
}

/// TDR-TLS-008
#[test]
fn far_side_that_we_dial_must_carry_the_name_dialled() {
    let dir = dir("dialled");
    let public = Authority::new("Public").unwrap();
    let own = identities(&dir, &public.leaf(&[SBC]).unwrap());
    let rogue = Authority::new("Rogue").unwrap();
    // We dial; the far side believes our public authority.
    let dial = |authority: &Authority, purpose, expired| {
        let far =
            Request { names: &["*.pstnhub.microsoft.com"], purpose, expired, ..Request::default() };
        let far = identities(&dir, &authority.issue(&far).unwrap());
        let trust = Trust { roots: roots(&dir, &public), names: vec![SBC.to_owned()] };
        let server = server_config(ServerIdentity::new(far, "own"), &trust).unwrap();
        let believed = roots(&dir, &public);
        let client = client_config(ClientIdentity::new(own.clone(), "own"), &believed).unwrap();
        move |name: &str| {
            let result = handshake(Arc::clone(&server), Arc::clone(&client), name);
            result.err().and_then(|error| PeerRefusal::of(&error))
        }
    };
    let good = dial(&public, Purpose::Server, false);
    assert_eq!(good("sip2.pstnhub.microsoft.com"), None);
    assert_eq!(good("sip.example.net"), Some(PeerRefusal::NameMismatch));
    assert_eq!(good("192.0.2.1"), Some(PeerRefusal::NameMismatch));
    let refused = dial(&public, Purpose::Server, true)(TEAMS);
    assert_eq!(refused, Some(PeerRefusal::Expired));
    let refused = dial(&public, Purpose::Client, false)(TEAMS);
    assert_eq!(refused, Some(PeerRefusal::BadCertificate));
    let refused = dial(&rogue, Purpose::Server, false)(TEAMS);
    assert_eq!(refused, Some(PeerRefusal::UnknownIssuer));
}

/// Believes every server: stands for a far side whose checks are not the matter.
#[derive(Debug)]
struct Believer;

impl rustls::client::danger::ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end_entity: &rustls::pki_types::CertificateDer<'_>,
        _intermediates: &[rustls::pki_types::CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &rustls::pki_types::CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &rustls::pki_types::CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        certs::provider().signature_verification_algorithms.supported_schemes()
    }
}
