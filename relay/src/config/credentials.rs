//! Names, realms and secrets of accounts, whoever has to show them. A secret is in a file of its own.

use super::problem::{At, Problems};
use super::reader::{Reader, Wrong};
use super::value;
use b2bua::accounts::Secret;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use toml::de::DeValue;

/// Octets of a secret: longer files hold something else.
const SECRET_MAX: u64 = 256;

/// The name of an account, as digest quotes it.
pub(super) fn user(written: &DeValue<'_>) -> Result<String, Wrong> {
    let text = quotable(written)?;
    match text.contains(':') {
        true => Err(Wrong::new("holds a colon, which separates user and realm (RFC 7616, 3.4.2)")),
        false => Ok(text),
    }
}

/// A realm, as digest quotes it.
pub(super) fn realm(written: &DeValue<'_>) -> Result<String, Wrong> {
    let text = quotable(written)?;
    match text.contains(['"', '\\']) {
        true => Err(Wrong::new("holds a quote or backslash")),
        false => Ok(text),
    }
}

/// The name of a file with a secret; that a secret itself stands in the configuration is noticed.
pub(super) fn secret_file(table: &mut Reader<'_>) -> Option<At<String>> {
    for slip in ["secret", "password"] {
        table.idle(
            slip,
            "a secret never stands in the configuration; write it into a file of its own and name \
             that as secret_file",
        );
    }
    table.required("secret_file", value::path)
}

/// The secret in a file: all of it but the newline at its end. Nothing of it is ever told.
pub(super) fn secret(
    directory: &Path,
    file: &At<String>,
    whose: &str,
    problems: &Problems,
) -> Option<Secret> {
    secret_within(directory, file, whose, SECRET_MAX, problems)
}

/// A secret of at most so many octets.
pub(super) fn secret_within(
    directory: &Path,
    file: &At<String>,
    whose: &str,
    octets_max: u64,
    problems: &Problems,
) -> Option<Secret> {
    let path = directory.join(&file.value);
    let refused = |said: String, hint: Option<&str>| {
        let message = format!("{whose}: {} {said}", path.display());
        problems.error(file.place, message, hint.map(str::to_owned));
        None
    };
    let about = match std::fs::metadata(&path) {
        Ok(about) => about,
        Err(error) => {
            let hint = "write the password into it, readable for the service only";
            return refused(format!("cannot be read: {error}"), Some(hint));
        }
    };
    if about.len() > octets_max {
        let said = format!("has {} octets; a secret has at most {octets_max}", about.len());
        return refused(said, Some("the file holds the password and nothing else"));
    }
    if about.permissions().mode() & 0o007 != 0 {
        let message = format!("{whose}: {} is open to everybody on this host", path.display());
        problems.warning(file.place, message, Some(format!("chmod o-rwx {}", path.display())));
    }
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) => return refused(format!("cannot be read: {error}"), None),
    };
    let secret = text.strip_suffix(b"\n").unwrap_or(&text);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.is_empty() {
        return refused("is empty".to_owned(), Some("write the password into it"));
    }
    if secret.contains(&b'\n') {
        let hint = "the file holds the password and nothing else";
        return refused("has more than one line".to_owned(), Some(hint));
    }
    Some(Secret::new(secret))
}

/// What stands in quotes between us and the far side, and must not break out of them.
fn quotable(written: &DeValue<'_>) -> Result<String, Wrong> {
    let text = value::text(written)?;
    match text.chars().any(char::is_control) {
        true => Err(Wrong::new("holds a control character")),
        false if text.is_empty() => Err(Wrong::new("is empty")),
        false => Ok(text),
    }
}
