//! `[hook]` of a tenant: who is asked where a call goes. The token is in a file of its own.

use super::credentials;
use super::problem::{At, Place, Problems};
use super::reader::{Reader, Wrong};
use super::roots::{self, RootsDraft};
use super::value;
use b2bua::plan::{Fallback, Hook, Roots};
use hyper::Uri;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;
use toml::de::DeValue;

/// Octets of an address: longer ones hold something else.
const URL_MAX: usize = 1024;
/// Octets of a token: a JWT with a few claims has some hundred.
const TOKEN_MAX: u64 = 4096;
/// What a service in the same country needs at most, and a caller does not notice.
const TIMEOUT: Duration = Duration::from_millis(500);
/// Below, no network answers in time; above, the caller has hung up, or Teams has asked somebody else.
const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(5);
const CACHE_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

const FALLBACK: &[(&str, Fallback)] = &[("table", Fallback::Table), ("refuse", Fallback::Refuse)];

/// `[hook]`, before its files are looked at.
#[derive(Debug)]
pub(crate) struct HookDraft {
    url: Option<At<String>>,
    timeout: Duration,
    cache: Option<Duration>,
    fallback: Fallback,
    token_file: Option<At<String>>,
    roots: Option<At<RootsDraft>>,
    place: Place,
    whose: String,
}

/// Reads `[hook]`.
pub(crate) fn read(table: &mut Reader<'_>) -> HookDraft {
    for slip in ["token", "secret", "password"] {
        table.idle(
            slip,
            "a secret never stands in the configuration; write it into a file of its own and name \
             that as token_file",
        );
    }
    let url = table.required("url", url);
    let secure = url.as_ref().is_none_or(|url| url.value.starts_with("https"));
    let token_file = table.optional("token_file", value::path);
    if let (Some(url), Some(token)) = (&url, &token_file)
        && !secure
        && !is_here(&url.value)
    {
        let said = "the token crosses the network for everybody to read";
        table.warning(token.place, said, Some("url = \"https://...\"".to_owned()));
    }
    let roots = match secure {
        true => table.optional("roots", roots::read),
        false => {
            table.idle("roots", "only https:// has certificates");
            None
        }
    };
    HookDraft {
        url,
        timeout: table.optional_or("timeout", value::duration(TIMEOUT_RANGE), TIMEOUT),
        cache: table.optional_or("cache", value::off_or_duration(CACHE_RANGE), None),
        fallback: table.optional_or("fallback", value::one_of(FALLBACK), Fallback::default()),
        token_file,
        roots,
        place: table.place(),
        whose: table.whose().to_owned(),
    }
}

/// The hook; `None` if it cannot be used, which is told.
pub(crate) fn load(directory: &Path, draft: &HookDraft, problems: &Problems) -> Option<Hook> {
    let token_file = match &draft.token_file {
        None => None,
        Some(file) => {
            let whose = draft.whose.as_str();
            let token = credentials::secret_within(directory, file, whose, TOKEN_MAX, problems)?;
            if !token.octets().iter().all(u8::is_ascii_graphic) {
                let message = format!("{whose}: the token holds what cannot stand in a header");
                problems.error(file.place, message, None);
                return None;
            }
            Some(directory.join(&file.value))
        }
    };
    let url = draft.url.as_ref()?.value.clone();
    // The system's are not looked at here: ten thousand tenants would each read them.
    let roots = match &draft.roots {
        Some(roots) if roots.value != RootsDraft::System => {
            let who = (draft.whose.as_str(), draft.place);
            let written = std::slice::from_ref(roots);
            roots::load(directory, written, Roots::System, who, problems)
        }
        _ => Roots::System,
    };
    let HookDraft { timeout, cache, fallback, .. } = *draft;
    Some(Hook { url, timeout, cache, fallback, token_file, roots })
}

/// `http://HOST[:PORT]/PATH`, or with `https`.
fn url(written: &DeValue<'_>) -> Result<String, Wrong> {
    let text = value::text(written)?;
    let nonsense = || Wrong::new("is not a URL such as \"https://cc.example.net/route\"");
    if text.len() > URL_MAX {
        return Err(Wrong::new(format!("has {} octets; {URL_MAX} are the most", text.len())));
    }
    let uri: Uri = text.parse().map_err(|_| nonsense())?;
    let authority = uri.authority().ok_or_else(nonsense)?;
    if authority.as_str().contains('@') {
        return Err(Wrong::new("holds a user or password")
            .hint("write what shows who we are into a file, and name that as token_file"));
    }
    if authority.host().is_empty() || text.contains('#') {
        return Err(nonsense());
    }
    match uri.scheme_str() {
        Some("http" | "https") => Ok(text),
        _ => Err(nonsense()),
    }
}

/// Whether it is a service on this host.
fn is_here(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
