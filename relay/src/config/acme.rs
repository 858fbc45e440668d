//! `[certificate.acme]`: a certificate that is asked for, and renewed, by ACME (RFC 8555).

use super::credentials;
use super::problem::{At, Place, Problems};
use super::reader::{Reader, Wrong};
use super::roots::{self, RootsDraft};
use super::value;
use b2bua::plan::Roots;
use certs::KeyType;
use hyper::Uri;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

/// Names in one certificate: what public authorities take.
const NAMES_MAX: usize = 100;
const CONTACTS_MAX: usize = 5;
const URL_MAX: usize = 1024;
/// Octets of the key that an authority gives to its customers, in base64url.
const EXTERNAL_KEY_MAX: u64 = 1024;
/// Until all servers of a zone have what the hook has written, most often.
const SETTLE: Duration = Duration::from_secs(30);

/// How a name is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    TlsAlpn,
    Dns,
}

const CHALLENGES: &[(&str, Kind)] =
    &[("http-01", Kind::Http), ("tls-alpn-01", Kind::TlsAlpn), ("dns-01", Kind::Dns)];
const KEYS: &[(&str, KeyType)] = &[
    ("rsa-2048", KeyType::Rsa2048),
    ("rsa-4096", KeyType::Rsa4096),
    ("p256", KeyType::P256),
    ("p384", KeyType::P384),
];

/// `[certificate.acme]`, as read.
#[derive(Debug)]
pub(crate) struct AcmeDraft {
    server: Option<At<String>>,
    names: Vec<At<String>>,
    challenge: Option<At<Kind>>,
    bind: Option<SocketAddr>,
    hook: Option<At<String>>,
    settle: Duration,
    contacts: Vec<String>,
    key: KeyType,
    roots: Option<At<RootsDraft>>,
    account_id: Option<At<String>>,
    account_key_file: Option<At<String>>,
    pub(crate) place: Place,
    whose: String,
}

/// A certificate that is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeOrder {
    /// Its name in the configuration.
    pub certificate: String,
    /// The directory of the authority (RFC 8555, 7.1.1).
    pub server: String,
    /// What it covers.
    pub names: Vec<String>,
    /// How that is proved.
    pub challenge: Challenge,
    /// Addresses that the authority may write to.
    pub contacts: Vec<String>,
    /// The kind of its key.
    pub key: KeyType,
    /// Whom the authority's own server has to chain to.
    pub roots: Roots,
    /// The customer's account that ours is bound to (RFC 8555, 7.3.4): its id, and the file of its key.
    pub external: Option<(String, PathBuf)>,
    /// Chain and key go there, together.
    pub file: PathBuf,
}

/// How names are proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// By a file over HTTP (RFC 8555, 8.3), served here.
    Http(SocketAddr),
    /// By a certificate (RFC 8737), shown here.
    TlsAlpn(SocketAddr),
    /// By a record in DNS (RFC 8555, 8.4) that this program writes, and how long that takes.
    Dns(PathBuf, Duration),
}

/// Where a certificate that is had by ACME is kept, with its key.
pub(crate) fn file(state: &Path, certificate: &str) -> PathBuf {
    state.join("acme").join(format!("{certificate}.pem"))
}

/// Reads `[certificate.acme]`.
pub(crate) fn read(table: &mut Reader<'_>) -> AcmeDraft {
    let server = table.required("server", url);
    if !table.has("names") {
        table.missing("names", Some("names = [\"sbc1.example.net\"]".to_owned()));
    }
    let names = table.list("names", 1..=NAMES_MAX, name).unwrap_or_default();
    let challenge = table.required("challenge", value::one_of(CHALLENGES));
    let kind = challenge.as_ref().map(|at| at.value);
    let dns = kind == Some(Kind::Dns);
    if let (false, true, Some(wild)) =
        (dns, kind.is_some(), names.iter().find(|name| name.value.starts_with("*.")))
    {
        let said = format!("\"{}\" is a wildcard, which only dns-01 can prove", wild.value);
        table.error(wild.place, &said, Some("challenge = \"dns-01\"".to_owned()));
    }
    let (bind, hook, settle) = if dns {
        table.idle("bind", "dns-01 is proved by DNS alone");
        let settle = value::duration(Duration::ZERO..=Duration::from_secs(3600));
        (None, table.required("hook", value::path), table.optional_or("settle", settle, SETTLE))
    } else {
        table.idle("hook", "only dns-01 has a program that writes records");
        table.idle("settle", "only dns-01 waits for records to be everywhere");
        (table.optional("bind", value::socket_address).map(|at| at.value), None, SETTLE)
    };
    let account_id = table.optional("account_id", value::text);
    for slip in ["account_key", "secret", "password"] {
        table.idle(slip, "a secret never stands in the configuration: account_key_file");
    }
    let account_key_file = match &account_id {
        Some(_) => table.required("account_key_file", value::path),
        None => {
            table.idle("account_key_file", "it is the key of `account_id`, which is missing");
            None
        }
    };
    AcmeDraft {
        server,
        names,
        challenge,
        bind,
        hook,
        settle,
        contacts: table
            .list("contacts", 1..=CONTACTS_MAX, contact)
            .unwrap_or_default()
            .into_iter()
            .map(|at| at.value)
            .collect(),
        key: table.optional_or("key", value::one_of(KEYS), KeyType::default()),
        roots: table.optional("roots", roots::read),
        account_id,
        account_key_file,
        place: table.place(),
        whose: table.whose().to_owned(),
    }
}

impl AcmeDraft {
    /// What it covers.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.iter().map(|at| at.value.clone()).collect()
    }

    /// Whether what is asked for covers `fqdn`.
    pub(crate) fn covers(&self, fqdn: &str) -> bool {
        let base = fqdn.split_once('.').map(|(_, base)| base);
        self.names.iter().any(|at| match at.value.strip_prefix("*.") {
            Some(below) => base == Some(below),
            None => at.value == fqdn,
        })
    }

    /// Files that its meaning depends on.
    pub(crate) fn named(&self) -> Vec<&str> {
        let roots = match self.roots.as_ref().map(|at| &at.value) {
            Some(RootsDraft::File(file)) => Some(file.as_str()),
            _ => None,
        };
        let key = self.account_key_file.as_ref().map(|at| at.value.as_str());
        let hook = self.hook.as_ref().map(|at| at.value.as_str());
        roots.into_iter().chain(key).chain(hook).collect()
    }

    /// What is to be had; `None` if it cannot be asked for, which is told.
    pub(crate) fn order(
        &self,
        directory: &Path,
        state: &Path,
        certificate: &str,
        problems: &Problems,
    ) -> Option<AcmeOrder> {
        let whose = (self.whose.as_str(), self.place);
        let roots = match &self.roots {
            Some(at) => {
                let at = std::slice::from_ref(at);
                roots::load(directory, at, Roots::System, whose, problems)
            }
            None => Roots::System,
        };
        let all = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let at = |port| self.bind.unwrap_or(SocketAddr::new(all.ip(), port));
        let challenge = match self.challenge.as_ref()?.value {
            Kind::Http => Challenge::Http(at(80)),
            Kind::TlsAlpn => Challenge::TlsAlpn(at(443)),
            Kind::Dns => {
                let hook = self.hook.as_ref()?;
                let path = directory.join(&hook.value);
                if let Some(said) = unfit(&path) {
                    let message = format!("{}: hook: {} {said}", self.whose, path.display());
                    let hint = "a program that is called with add or remove, a name and a value";
                    problems.error(hook.place, message, Some(hint.to_owned()));
                    return None;
                }
                Challenge::Dns(path, self.settle)
            }
        };
        let external = match (&self.account_id, &self.account_key_file) {
            (Some(id), Some(file)) => {
                let whose = &self.whose;
                credentials::secret_within(directory, file, whose, EXTERNAL_KEY_MAX, problems)?;
                Some((id.value.clone(), directory.join(&file.value)))
            }
            _ => None,
        };
        Some(AcmeOrder {
            certificate: certificate.to_owned(),
            server: self.server.as_ref()?.value.clone(),
            names: self.names(),
            challenge,
            contacts: self.contacts.clone(),
            key: self.key,
            roots,
            external,
            file: file(state, certificate),
        })
    }
}

/// What keeps a file from being run.
fn unfit(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::metadata(path) {
        Err(error) => Some(format!("cannot be run: {error}")),
        Ok(about) if !about.is_file() => Some("is not a file".to_owned()),
        Ok(about) if about.permissions().mode() & 0o111 == 0 => {
            Some("may not be executed".to_owned())
        }
        Ok(_) => None,
    }
}

/// The directory of an authority.
fn url(written: &DeValue<'_>) -> Result<String, Wrong> {
    let text = value::text(written)?;
    let nonsense = || Wrong::new("is not a URL such as \"https://acme.example.net/directory\"");
    let uri: Uri = text.parse().map_err(|_| nonsense())?;
    let whole = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") if whole && text.len() <= URL_MAX => Ok(text),
        Some("http") => Err(Wrong::new("is not secure").hint("ACME is spoken over https://")),
        _ => Err(nonsense()),
    }
}

/// A name, or a wildcard one label deep.
fn name(written: &DeValue<'_>) -> Result<String, Wrong> {
    let text = value::text(written)?;
    match text.strip_prefix("*.") {
        Some(base) => {
            let base = DeValue::String(base.to_owned().into());
            Ok(format!("*.{}", value::fqdn(&base)?))
        }
        None => value::fqdn(written),
    }
}

fn contact(written: &DeValue<'_>) -> Result<String, Wrong> {
    let text = value::text(written)?;
    let holds =
        text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    match holds && text.chars().all(|c| c.is_ascii_graphic()) {
        true => Ok(text),
        false => Err(Wrong::new("is not an address such as \"noc@example.net\"")),
    }
}
