//! `[trunk.auth]`, `[trunk.register]`: who we are to a trunk that asks, and whether we register there.
//! The secret is in a file of its own. ([`super::registrar`] has the other direction.)

use super::credentials::{realm, secret, secret_file, user};
use super::problem::{At, Place, Problems};
use super::reader::{Reader, Wrong};
use super::trunk::TrunkDraft;
use super::{registrar, value};
use b2bua::accounts::{Account, Accounts, Register};
use b2bua::plan::TargetName;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use toml::de::DeValue;

/// The time that is asked for: what most carriers grant (RFC 3261, 10.2).
const EXPIRES: Duration = Duration::from_secs(3600);
/// Below a minute a registrar would do little else; above a day nobody notices that it is gone.
const EXPIRES_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(24 * 3600);

/// `[trunk.auth]`, before its file is looked at.
#[derive(Debug)]
pub(crate) struct AuthDraft {
    user: Option<At<String>>,
    secret_file: Option<At<String>>,
    realm: Option<At<String>>,
    whose: String,
}

/// `[trunk.register]`, as read.
#[derive(Debug)]
pub(crate) struct RegisterDraft {
    user: Option<At<String>>,
    domain: Option<At<String>>,
    expires: Duration,
    place: Place,
    whose: String,
}

impl AuthDraft {
    /// The file of its secret.
    pub(crate) fn named(&self) -> Option<&str> {
        self.secret_file.as_ref().map(|at| at.value.as_str())
    }
}

/// Reads `[trunk.register]`.
pub(crate) fn register(table: &mut Reader<'_>) -> RegisterDraft {
    RegisterDraft {
        user: table.optional("user", uri_user),
        domain: table.optional("domain", domain),
        expires: table.optional_or("expires", value::duration(EXPIRES_RANGE), EXPIRES),
        place: table.place(),
        whose: table.whose().to_owned(),
    }
}

/// Reads `[trunk.auth]`.
pub(crate) fn auth(table: &mut Reader<'_>) -> AuthDraft {
    AuthDraft {
        user: table.required("user", user),
        secret_file: secret_file(table),
        realm: table.optional("realm", realm),
        whose: table.whose().to_owned(),
    }
}

/// The accounts of a trunk; `None` if one cannot be used, which is told. `realm` is that of our
/// challenges where a trunk names none.
pub(crate) fn load(
    directory: &Path,
    trunk: &TrunkDraft,
    realm: Option<&str>,
    problems: &Problems,
) -> Option<Accounts> {
    let ours = match &trunk.auth {
        Some(draft) => Some(Arc::new(account(directory, draft, problems)?)),
        None => None,
    };
    let register = match &trunk.register {
        Some(draft) => Some(registration(draft, trunk, problems)?),
        None => None,
    };
    let registrar = match &trunk.registrar {
        Some(draft) => Some(Arc::new(registrar::load(directory, draft, realm, problems)?)),
        None => None,
    };
    Some(Accounts { ours, register, registrar })
}

/// A registration stands under the account's name at the first target, unless it says otherwise.
fn registration(
    draft: &RegisterDraft,
    trunk: &TrunkDraft,
    problems: &Problems,
) -> Option<Register> {
    let Some(auth) = &trunk.auth else {
        let message = format!("{}: no registrar takes us without `[trunk.auth]`", draft.whose);
        let hint = "[trunk.auth] user = \"...\" secret_file = \"...\"";
        problems.error(draft.place, message, Some(hint.to_owned()));
        return None;
    };
    let user = match &draft.user {
        Some(user) => user.value.clone(),
        None => {
            let user = auth.user.as_ref()?;
            if !is_uri_user(&user.value) {
                let message = format!(
                    "{}: user \"{}\" of `[trunk.auth]` cannot stand in a SIP URI",
                    draft.whose, user.value
                );
                let hint = "write the user part of the address-of-record: user = \"4930123450\"";
                problems.error(draft.place, message, Some(hint.to_owned()));
                return None;
            }
            user.value.clone()
        }
    };
    let domain = match &draft.domain {
        Some(domain) => domain.value.clone(),
        None => host_part(trunk.targets.first()?.value.0.clone()),
    };
    Some(Register { user, domain, expires: draft.expires })
}

fn account(directory: &Path, draft: &AuthDraft, problems: &Problems) -> Option<Account> {
    let secret = secret(directory, draft.secret_file.as_ref()?, &draft.whose, problems);
    Some(Account {
        user: draft.user.as_ref()?.value.clone(),
        secret: secret?,
        realm: draft.realm.as_ref().map(|realm| realm.value.clone()),
    })
}

/// The user part of a URI, which needs no escapes (RFC 3261, 25.1: `user`).
fn uri_user(written: &DeValue<'_>) -> Result<String, Wrong> {
    let text = value::text(written)?;
    match is_uri_user(&text) {
        true => Ok(text),
        false => Err(Wrong::new("cannot stand in a SIP URI")
            .hint("the part before the @ of the address-of-record: \"4930123450\"")),
    }
}

fn is_uri_user(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/%".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

/// The host of an address-of-record.
fn domain(written: &DeValue<'_>) -> Result<String, Wrong> {
    match value::target(written)? {
        (host, None) => Ok(host_part(host)),
        (host, Some(_)) => Err(Wrong::new("has a port, which an address-of-record has not")
            .hint(format!("did you mean \"{host}\"?"))),
    }
}

/// A host as it stands in a URI.
fn host_part(host: String) -> String {
    TargetName { host, port: None }.host_part()
}
