//! Who calls and who is called: numbers, names and privacy, read from one INVITE and written into
//! the next.

use crate::identity::Identity;
use bytes::Bytes;
use sip_core::{Headers, Name, Uri};

/// The calling party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user part of From, as written.
    pub(crate) user: String,
    /// The display name as written, with its quotes.
    display: Bytes,
    anonymous: bool,
}

/// The called party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Called {
    /// The user part of the Request-URI as written, with its `;parameters` (TDR-OUT-014).
    pub(crate) user: String,
    /// The number to route by: without parameters and visual separators.
    pub(crate) number: String,
}

impl Called {
    pub(crate) fn of(uri: &Uri<'_>) -> Option<Self> {
        let user = std::str::from_utf8(uri.user?).ok()?.to_owned();
        let bare = user.split(';').next().unwrap_or_default();
        let telephone = bare.bytes().all(|b| b.is_ascii_digit() || b"+-.()*#".contains(&b));
        let number = if telephone {
            bare.chars().filter(|c| !"-.()".contains(*c)).collect()
        } else {
            bare.to_owned()
        };
        (!number.is_empty()).then_some(Self { user, number })
    }

    /// The same party with its number in E.164 with `+` and nothing between the digits, which
    /// Teams insists on (TDR-OUT-001). Parameters stay as they are (TDR-OUT-014).
    pub(crate) fn with_plus(mut self) -> Self {
        let digits = self.number.strip_prefix('+').unwrap_or(&self.number);
        if digits.bytes().all(|b| b.is_ascii_digit()) {
            let number = format!("+{digits}");
            let params = self.user.find(';').map_or("", |at| &self.user[at..]);
            self.user = format!("{number}{params}");
            self.number = number;
        }
        self
    }
}

impl Caller {
    pub(crate) fn of(headers: &Headers) -> Self {
        let from = headers.from();
        let user = from
            .uri()
            .ok()
            .and_then(|uri| std::str::from_utf8(uri.user?).ok())
            .map_or_else(String::new, str::to_owned);
        let host_says = from.uri().is_ok_and(|uri| uri.host.eq_ignore_ascii_case(ANONYMOUS_HOST));
        let asked = ["id", "user", "full"].iter().any(|word| {
            headers.all(Name::Privacy).any(|line| {
                line.split(|b| *b == b';')
                    .any(|w| w.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
            })
        });
        Self { user, display: Bytes::copy_from_slice(from.display), anonymous: host_says || asked }
    }

    /// From without its tag. Privacy is honoured here, as no other header carries the caller
    /// across (RFC 3323, 4.1.1.3; TDR-OUT-015, TDR-PRI-006).
    pub(crate) fn from(&self, us: &Identity) -> Vec<u8> {
        if self.anonymous {
            return br#""Anonymous" <sip:anonymous@anonymous.invalid>"#.to_vec();
        }
        let mut from = self.display.to_vec();
        if !from.is_empty() {
            from.push(b' ');
        }
        let at = if self.user.is_empty() { "" } else { "@" };
        let phone = if is_telephone(&self.user) { ";user=phone" } else { "" };
        from.extend_from_slice(format!("<sip:{}{at}{}{phone}>", self.user, us.host()).as_bytes());
        from
    }

    /// The user part for our Contact: none for an anonymous caller.
    pub(crate) fn contact_user(&self) -> &str {
        if self.anonymous { "" } else { &self.user }
    }
}

const ANONYMOUS_HOST: &[u8] = b"anonymous.invalid";

/// Whether a user part is a telephone number.
pub(crate) fn is_telephone(user: &str) -> bool {
    let bare = user.split(';').next().unwrap_or_default();
    let digits = bare.strip_prefix('+').unwrap_or(bare);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_goes_to_teams_as_e164_whatever_stands_between_its_digits() {
        for (uri, user) in [
            ("sip:+493010001234@sbc.example.net", "+493010001234"),
            ("sip:493010001234@sbc.example.net", "+493010001234"),
            ("sip:+49-30-1000(1234)@sbc.example.net", "+493010001234"),
            ("sip:+493010001234;ext=1001@sbc.example.net", "+493010001234;ext=1001"),
            ("tel:+49-30-10001234", "+493010001234"),
            ("sip:anna@sbc.example.net", "anna"),
        ] {
            let uri = Uri::parse(uri.as_bytes()).unwrap();
            assert_eq!(Called::of(&uri).unwrap().with_plus().user, user);
        }
    }
}
