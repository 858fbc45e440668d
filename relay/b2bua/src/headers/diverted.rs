//! Who diverted a call, and why: one list, read from History-Info (RFC 7044) or Diversion
//! (RFC 5806) and written as either (RFC 7544).

use super::history;
use super::named::{NOBODY, Named};
use super::policy::Trust;
use super::privacy::Privacy;
use crate::identity::Identity;
use sip_core::{Headers, Name, NameAddr};

/// Diversions of one call: the redirection counter of the telephone network ends at five (ITU-T
/// Q.732.2), and a call that was diverted more often goes round in circles (TDR-FWD-009).
pub(crate) const DIVERSIONS_MAX: u32 = 5;
/// Elements that are read; more are as bad as too many diversions.
pub(super) const ELEMENTS_MAX: usize = 32;

/// One diversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diversion {
    /// Who diverted the call.
    pub(super) party: Named,
    pub(super) why: Why,
    /// Who it was is to be withheld from those who are not trusted.
    pub(super) private: bool,
    /// How often the call was diverted here, other parties unnamed.
    pub(super) times: u32,
}

/// The diversions of one call, the first one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Diversions {
    pub(super) list: Vec<Diversion>,
    pub(super) too_many: bool,
}

impl Diversions {
    /// Reads History-Info where it tells of a diversion, else Diversion.
    pub(crate) fn of(headers: &Headers, privacy: Privacy) -> Self {
        let mut found = history::read(headers);
        if found.list.is_empty() && !found.too_many {
            found = read(headers);
        }
        for diversion in &mut found.list {
            diversion.private |= privacy.history || diversion.party.is_anonymous();
        }
        found
    }

    /// Everybody who is named, to change.
    pub(crate) fn parties_mut(&mut self) -> impl Iterator<Item = &mut Named> {
        self.list.iter_mut().map(|one| &mut one.party)
    }

    /// The number of who diverted last, unless that is to be withheld.
    pub(crate) fn last(&self) -> Option<&str> {
        self.list.last().filter(|one| !one.private).map(|one| one.party.user.as_str())
    }

    /// The number of who diverted last, for who may know it.
    pub(crate) fn last_number(&self) -> Option<&str> {
        let last = self.list.last().filter(|one| one.party.is_telephone())?;
        Some(last.party.user.as_str())
    }

    pub(crate) fn are_too_many(&self) -> bool {
        let times = self.list.iter().fold(0_u32, |sum, one| sum.saturating_add(one.times));
        self.too_many || times > DIVERSIONS_MAX
    }

    /// Writes Diversion: the last diversion on top (RFC 5806, 4.1).
    pub(crate) fn write(&self, headers: &mut Headers, to: (Trust, &Identity)) {
        let (trust, us) = to;
        for one in self.list.iter().rev() {
            let hidden = one.private && trust == Trust::Untrusted;
            let uri = if hidden { NOBODY.to_owned() } else { one.party.uri(us, false) };
            let mut text = format!("<{uri}>;reason={}", one.why.word());
            if one.times > 1 {
                text.push_str(&format!(";counter={}", one.times));
            }
            if one.private {
                text.push_str(";privacy=full");
            }
            headers.push(Name::Diversion, text);
        }
    }
}

/// Diversion, in the order of the diversions.
fn read(headers: &Headers) -> Diversions {
    let mut list: Vec<Diversion> =
        headers.list(Name::Diversion).take(ELEMENTS_MAX).filter_map(element).collect();
    list.reverse();
    Diversions { too_many: headers.list(Name::Diversion).nth(ELEMENTS_MAX).is_some(), list }
}

fn element(text: &[u8]) -> Option<Diversion> {
    let address = NameAddr::parse(text).ok()?;
    let param = |name| {
        let value = std::str::from_utf8(address.param(name)?).ok()?;
        Some(value.trim().trim_matches('"').to_ascii_lowercase())
    };
    let private = param("privacy").is_some_and(|privacy| privacy != "off");
    let times = param("counter").and_then(|counter| counter.parse().ok()).unwrap_or(1);
    let why = param("reason").map_or(Why::Unknown, |word| Why::of_word(&word));
    // Each is a level of History-Info: an emergency call, which nothing stops, is not to fill memory.
    let times = times.clamp(1, DIVERSIONS_MAX + 1);
    Some(Diversion { party: Named::parse(text)?, why, private, times })
}

/// Why a call was diverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Unknown,
    Unconditional,
    Busy,
    NoAnswer,
    /// By the callee's own hand, before or after ringing.
    Deflection,
    Unavailable,
}

impl Why {
    /// The reason of Diversion; those that no cause stands for are `unknown` (RFC 7544, 7.1).
    fn of_word(word: &str) -> Self {
        match word {
            "unconditional" => Self::Unconditional,
            "user-busy" => Self::Busy,
            "no-answer" => Self::NoAnswer,
            "deflection" => Self::Deflection,
            "unavailable" => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unconditional => "unconditional",
            Self::Busy => "user-busy",
            Self::NoAnswer => "no-answer",
            Self::Deflection => "deflection",
            Self::Unavailable => "unavailable",
        }
    }

    /// The cause of RFC 4458; 496 is Microsoft's word for busy (TDR-FWD-001).
    pub(super) const fn of_cause(cause: u16) -> Self {
        match cause {
            302 => Self::Unconditional,
            486 | 496 | 600 => Self::Busy,
            408 => Self::NoAnswer,
            480 | 487 | 603 => Self::Deflection,
            503 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    pub(super) const fn cause(self) -> u16 {
        match self {
            Self::Unknown => 404,
            Self::Unconditional => 302,
            Self::Busy => 486,
            Self::NoAnswer => 408,
            Self::Deflection => 480,
            Self::Unavailable => 503,
        }
    }
}
