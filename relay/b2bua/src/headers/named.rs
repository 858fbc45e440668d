//! Somebody whom a header names: a number or a name, and never the host it came with.

use crate::identity::Identity;
use crate::party::{ANONYMOUS_HOST, is_telephone};
use bytes::Bytes;
use sip_core::{NameAddr, Uri};

/// Octets of a display name that crosses; longer ones are no names.
const DISPLAY_MAX: usize = 256;
/// Octets of a user part that crosses: a number has 15 digits, a name in use well below this.
const USER_MAX: usize = 128;
/// How nobody is written (RFC 3323, 4.1.1.3).
pub(crate) const NOBODY: &str = "sip:anonymous@anonymous.invalid";

/// A party named in an identity or forwarding header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The display name as written, with its quotes.
    pub(crate) display: Bytes,
    /// The number without separators, or the name; with `;ext=` where it had one (TDR-OUT-014).
    pub(crate) user: String,
    /// It was written as a tel URI with a global number, which needs no host.
    tel: bool,
    anonymous: bool,
}

impl Named {
    /// Reads a name-addr or addr-spec.
    pub(crate) fn parse(element: &[u8]) -> Option<Self> {
        let address = NameAddr::parse(element).ok()?;
        Self::of(address.display, &address.uri().ok()?)
    }

    pub(crate) fn of(display: &[u8], uri: &Uri<'_>) -> Option<Self> {
        if !uri.is_sip() && !uri.is_tel() {
            return None;
        }
        let user = user(std::str::from_utf8(uri.user?).ok()?)?;
        let fits = display.len() <= DISPLAY_MAX && !display.contains(&b'\n');
        Some(Self {
            display: if fits { Bytes::copy_from_slice(display) } else { Bytes::new() },
            tel: uri.is_tel() && user.starts_with('+'),
            user,
            anonymous: uri.host.eq_ignore_ascii_case(ANONYMOUS_HOST),
        })
    }

    /// A number, and nothing else.
    pub(crate) fn number(user: &str) -> Self {
        Self { display: Bytes::new(), user: user.to_owned(), tel: false, anonymous: false }
    }

    /// The same party under another number; without `+` a tel URI would need a context.
    pub(crate) fn is_now(&mut self, user: String) {
        self.tel &= user.starts_with('+');
        self.user = user;
    }

    /// Whether it says that it says nobody.
    pub(crate) const fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    pub(crate) fn is_telephone(&self) -> bool {
        !self.anonymous && is_telephone(&self.user)
    }

    /// The user part with `+` before a number that lacks it, which Teams insists on
    /// (TDR-OUT-001). A national number stays: its country is not known here.
    fn with_plus(&self) -> String {
        match self.user.strip_prefix("00") {
            _ if !self.is_telephone() || self.user.starts_with('+') => self.user.clone(),
            Some(international) => format!("+{international}"),
            None if self.user.starts_with('0') => self.user.clone(),
            None => format!("+{}", self.user),
        }
    }

    /// Name and URI as an asserted identity: our host stands for the one it came with.
    pub(crate) fn asserted(&self, us: &Identity) -> Vec<u8> {
        let mut text = self.display.to_vec();
        if !text.is_empty() {
            text.push(b' ');
        }
        let uri = if self.tel { format!("tel:{}", self.user) } else { self.uri(us, false) };
        text.extend_from_slice(format!("<{uri}>").as_bytes());
        text
    }

    /// The SIP URI under our host, with `user=phone` for a number; `plus` asks for E.164.
    pub(crate) fn uri(&self, us: &Identity, plus: bool) -> String {
        if self.anonymous {
            return NOBODY.to_owned();
        }
        let user = if plus { self.with_plus() } else { self.user.clone() };
        let phone = if self.is_telephone() { ";user=phone" } else { "" };
        format!("sip:{user}@{}{phone}", us.host())
    }
}

/// A user part without visual separators in its number, and without parameters that name places.
fn user(written: &str) -> Option<String> {
    let (bare, params) = written.split_once(';').unwrap_or((written, ""));
    let number = bare.bytes().all(|b| b.is_ascii_digit() || b"+-.()".contains(&b));
    let mut user: String =
        if number { bare.chars().filter(|c| !"-.()".contains(*c)).collect() } else { bare.into() };
    if let Some(ext) = params.split(';').find(|param| param.starts_with("ext=")) {
        user = format!("{user};{ext}");
    }
    (!bare.is_empty() && user.len() <= USER_MAX).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_not_ours_does_not_come_along() {
        for (written, user) in [
            ("<tel:+49-30-1000(1234)>", "+493010001234"),
            ("<sip:+4930;ext=17;phone-context=a.example@b.example;user=phone>", "+4930;ext=17"),
            ("<sip:1001;phone-context=a.example@b.example>", "1001"),
            ("\"A\" <sips:alice@a.example>;x=y", "alice"),
        ] {
            assert_eq!(Named::parse(written.as_bytes()).unwrap().user, user);
        }
        for nothing in ["<sip:a.example>", "<urn:service:sos>", "<>", "", "<sip:@a>", "<tel:>"] {
            assert_eq!(Named::parse(nothing.as_bytes()), None, "{nothing}");
        }
    }

    #[test]
    fn a_number_becomes_e164_where_its_country_is_known() {
        for (written, plus) in [
            ("4930123", "+4930123"),
            ("+4930123", "+4930123"),
            ("004930123", "+4930123"),
            ("030123", "030123"),
            ("alice", "alice"),
        ] {
            let named = Named::parse(format!("<sip:{written}@a.example>").as_bytes()).unwrap();
            assert_eq!(named.with_plus(), plus);
        }
    }
}
