//! PKCS #12 (RFC 7292), as Windows and many authorities hand certificates out: chain and key in one file
//! with a password.

use crate::facts::parse;
use crate::pem::{self, FileError, FileProblem};
use p12_keystore::error::Error;
use p12_keystore::{CertificateBag, Pkcs12Archive};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// The chain and the key in `path`: own certificate first, then its issuers.
pub(crate) fn read(
    path: &Path,
    password: &str,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), FileError> {
    let failed = |problem| FileError::new(path, problem);
    let octets = pem::read(path)?;
    let archive = Pkcs12Archive::from_pkcs12(&octets, password).map_err(|error| match error {
        Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_) => {
            failed(FileProblem::WrongPassword)
        }
        // What it quotes may be decrypted octets.
        _ => failed(FileProblem::NotPkcs12),
    })?;
    let found = archive.keys.first().ok_or_else(|| failed(FileProblem::NoKey))?;
    let id = found.local_key_id.as_ref().map(AsRef::as_ref);
    let of_key = |one: &CertificateBag| id.is_some() && one.local_key_id.as_deref() == id;
    let own = archive.certs.iter().position(of_key).unwrap_or(0);
    let mut all: Vec<CertificateDer<'static>> =
        archive.certs.iter().map(|one| CertificateDer::from(one.cert.as_der().to_vec())).collect();
    if all.is_empty() {
        return Err(failed(FileProblem::NoCertificate));
    }
    let own = all.remove(own);
    let chain = in_order(own, all).map_err(failed)?;
    let key = PrivateKeyDer::try_from(found.key.as_der().to_vec())
        .map_err(|why| failed(FileProblem::UnsupportedKey(why.to_owned())))?;
    Ok((chain, key))
}

/// The certificates as they have issued each other, from `own` on; others that lie beside them are left
/// out, and so is a root, which a far side believes already or never will.
fn in_order(
    own: CertificateDer<'static>,
    mut rest: Vec<CertificateDer<'static>>,
) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let mut chain = vec![own];
    while let Some(last) = chain.last() {
        let issuer = parse(last)?.issuer().as_raw().to_vec();
        let next = rest.iter().position(|one| {
            parse(one).is_ok_and(|one| {
                one.subject().as_raw() == issuer && one.issuer().as_raw() != one.subject().as_raw()
            })
        });
        match next {
            Some(next) => chain.push(rest.remove(next)),
            None => break,
        }
    }
    Ok(chain)
}
