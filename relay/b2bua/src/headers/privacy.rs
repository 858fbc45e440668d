//! What a caller asks to be withheld (RFC 3323, 4.2; RFC 3325, 9.3; RFC 7044, 10.1), and what is
//! left to ask of the next hop after we did our part.

use super::policy::{HeaderPolicy, PrivacyId, Trust};
use sip_core::{Headers, Name};

/// Values that are looked at: there are eight.
const VALUES_MAX: usize = 16;

/// The values of Privacy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Privacy {
    /// Asserted identities stay among those who trust one another.
    pub(crate) id: bool,
    /// From names nobody.
    pub(crate) user: bool,
    /// Who diverted the call stays among those who trust one another.
    pub(crate) history: bool,
    none: bool,
    /// Refuse the call rather than reveal anything.
    critical: bool,
    /// A value that we do not know.
    unknown: bool,
}

impl Privacy {
    pub(crate) fn of(headers: &Headers) -> Self {
        let mut privacy = Self::default();
        // Separated by `;` by its grammar, by `,` in the wild.
        let values = headers.all(Name::Privacy).flat_map(|line| line.split(|b| b";,".contains(b)));
        for value in values.map(<[u8]>::trim_ascii).filter(|v| !v.is_empty()).take(VALUES_MAX) {
            match value.to_ascii_lowercase().as_slice() {
                b"id" => privacy.id = true,
                b"user" => privacy.user = true,
                b"history" => privacy.history = true,
                // No Via, Contact or Record-Route of one leg is ever seen on the other, and no
                // media address either: done for every call. The history goes with them (RFC 7044,
                // 10.1.2).
                b"header" | b"session" => privacy.history = true,
                // All of it, in a draft before RFC 3323 that is still met.
                b"full" => {
                    (privacy.id, privacy.user, privacy.history) = (true, true, true);
                }
                b"none" => privacy.none = true,
                b"critical" => privacy.critical = true,
                _ => privacy.unknown = true,
            }
        }
        // `none` stands alone (RFC 3323, 4.2): beside another value, the careful reading wins.
        privacy.none &= !(privacy.id || privacy.user || privacy.history || privacy.unknown);
        privacy
    }

    /// As a trunk means it; `anonymous` tells whether its From is.
    pub(crate) fn as_meant(mut self, policy: &HeaderPolicy, anonymous: bool) -> Self {
        self.id &= match policy.privacy_id {
            PrivacyId::Honour => true,
            PrivacyId::IfAnonymous => anonymous,
            PrivacyId::Strip => false,
        };
        self
    }

    /// The same where the caller is hidden, whether asked or not.
    pub(crate) const fn hidden(self) -> Self {
        Self { id: true, user: true, none: false, ..self }
    }

    /// Whether something is asked that we cannot do and that must be done (RFC 3323, 5).
    pub(crate) const fn refuses(self) -> bool {
        self.critical && self.unknown
    }

    /// Whether those who are not trusted may be told who calls: where the caller says so.
    pub(crate) const fn is_none(self) -> bool {
        self.none
    }

    /// What is still to be asked of the next hop: what we have done is taken out (RFC 3323, 5.1),
    /// and those who are not trusted are told nothing that is to be withheld. `withheld` tells that
    /// an asserted identity goes along which the caller hides otherwise.
    pub(crate) fn left_for(self, to: Trust, withheld: bool) -> Option<String> {
        if self.none {
            return Some("none".to_owned());
        }
        if to == Trust::Untrusted {
            return None;
        }
        let mut left = Vec::new();
        if self.id || withheld {
            left.push("id");
        }
        if self.history {
            left.push("history");
        }
        if self.critical && !left.is_empty() {
            left.push("critical");
        }
        (!left.is_empty()).then(|| left.join(";"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privacy(value: &str) -> Privacy {
        let mut headers = Headers::default();
        headers.push(Name::Privacy, value.to_owned());
        Privacy::of(&headers)
    }

    #[test]
    fn what_was_done_is_taken_out_and_the_rest_goes_to_who_is_trusted() {
        for (asked, trusted, untrusted) in [
            ("id", Some("id"), None),
            ("user;header;session", Some("history"), None),
            ("user", None, None),
            ("ID ; critical", Some("id;critical"), None),
            ("user;critical", None, None),
            ("none", Some("none"), Some("none")),
            ("none;id", Some("id"), None),
            ("full", Some("id;history"), None),
            ("", None, None),
        ] {
            let privacy = privacy(asked);
            assert_eq!(privacy.left_for(Trust::Trusted, false).as_deref(), trusted, "{asked}");
            assert_eq!(privacy.left_for(Trust::Untrusted, false).as_deref(), untrusted, "{asked}");
            assert!(!privacy.refuses(), "{asked}");
        }
    }

    #[test]
    fn only_what_is_critical_and_unknown_refuses() {
        assert!(privacy("critical;veil").refuses());
        assert!(!privacy("veil").refuses());
        assert!(!privacy("critical;id;user;header;session;history").refuses());
    }
}
