//! Header names: which are known, their compact forms, and how to recognise one fast
//! (RFC 3261, 7.3.3; compact forms as registered with IANA).

macro_rules! names {
    ($($name:ident $text:literal $($compact:literal)?;)*) => {
        /// A header name. Known names compare by this value, whatever their case or compact form;
        /// others are `Other("Name")`, compared without case.
        #[derive(Clone, Copy, Debug)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "each variant is the header of that name")]
        pub enum Name {
            $($name,)*
            Other(&'static str),
        }

        enum Code { $($name,)* }

        /// The text we write for each code.
        const LONG: &[&str] = &[$($text,)*];

        /// What a known header may be called on the wire, and its code.
        const SPELLINGS: &[(&str, u8)] = &[
            $(($text, Code::$name as u8), $(($compact, Code::$name as u8),)?)*
        ];

        impl Name {
            /// A small number for each known name; [`OTHER`] for the rest.
            pub(super) const fn code(self) -> u8 {
                match self {
                    $(Self::$name => Code::$name as u8,)*
                    Self::Other(text) => code_of(text.as_bytes()),
                }
            }
        }
    };
}

names! {
    Accept "Accept";
    AcceptContact "Accept-Contact" "a";
    Allow "Allow";
    AllowEvents "Allow-Events" "u";
    AlertInfo "Alert-Info";
    Authorization "Authorization";
    CallId "Call-ID" "i";
    CallInfo "Call-Info";
    Contact "Contact" "m";
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding" "e";
    ContentLength "Content-Length" "l";
    ContentType "Content-Type" "c";
    CSeq "CSeq";
    Date "Date";
    Diversion "Diversion";
    Event "Event" "o";
    Expires "Expires";
    From "From" "f";
    Geolocation "Geolocation";
    HistoryInfo "History-Info";
    Identity "Identity" "y";
    IdentityInfo "Identity-Info" "n";
    MaxForwards "Max-Forwards";
    MinExpires "Min-Expires";
    MinSe "Min-SE";
    PAssertedIdentity "P-Asserted-Identity";
    PPreferredIdentity "P-Preferred-Identity";
    Priority "Priority";
    Privacy "Privacy";
    ProxyAuthenticate "Proxy-Authenticate";
    ProxyAuthorization "Proxy-Authorization";
    ProxyRequire "Proxy-Require";
    RAck "RAck";
    Reason "Reason";
    RecordRoute "Record-Route";
    ReferredBy "Referred-By" "b";
    ReferTo "Refer-To" "r";
    RejectContact "Reject-Contact" "j";
    Replaces "Replaces";
    RequestDisposition "Request-Disposition" "d";
    Require "Require";
    RetryAfter "Retry-After";
    Route "Route";
    RSeq "RSeq";
    Server "Server";
    SessionExpires "Session-Expires" "x";
    Subject "Subject" "s";
    SubscriptionState "Subscription-State";
    Supported "Supported" "k";
    To "To" "t";
    Unsupported "Unsupported";
    UserAgent "User-Agent";
    Via "Via" "v";
    Warning "Warning";
    WwwAuthenticate "WWW-Authenticate";
}

/// The code of a name that is not known.
pub(super) const OTHER: u8 = u8::MAX;

/// `parse` keeps a set of codes in one `u64`.
const _: () = assert!(LONG.len() <= 64);

impl Name {
    /// The name as we write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Other(text) => LONG.get(usize::from(code_of(text.as_bytes()))).unwrap_or(&text),
            known => LONG[usize::from(known.code())],
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Other(a), Self::Other(b)) if a.eq_ignore_ascii_case(b) => true,
            (a, b) => a.code() != OTHER && a.code() == b.code(),
        }
    }
}

impl Eq for Name {}

/// The code of a name as written on the wire.
pub(super) const fn code_of(text: &[u8]) -> u8 {
    if text.is_empty() {
        return OTHER;
    }
    match SLOTS[slot_of(text)] {
        0 => OTHER,
        found => {
            let (spelling, code) = SPELLINGS[found as usize - 1];
            if text.eq_ignore_ascii_case(spelling.as_bytes()) { code } else { OTHER }
        }
    }
}

/// The code of a name that is spelled as in the list, case and all: less work than to compare
/// without case.
pub(super) fn code_to_the_letter(text: &[u8]) -> Option<u8> {
    if text.is_empty() {
        return None;
    }
    let (spelling, code) = SPELLINGS.get(usize::from(SLOTS[slot_of(text)]).checked_sub(1)?)?;
    (text == spelling.as_bytes()).then_some(*code)
}

/// The long form of a name as written; what is not known stays as it is.
pub(super) fn long_of(text: &[u8]) -> &[u8] {
    LONG.get(usize::from(code_of(text))).map_or(text, |long| long.as_bytes())
}

const SLOT_COUNT: usize = 512;

/// Length, first and last letter tell all known names apart; the factors were searched so that no
/// two share a slot (checked below, at compile time).
const fn slot_of(text: &[u8]) -> usize {
    let first = (text[0] | 0x20) as usize;
    let last = (text[text.len() - 1] | 0x20) as usize;
    (text.len() * LEN_FACTOR + first * FIRST_FACTOR + last * LAST_FACTOR) % SLOT_COUNT
}

const LEN_FACTOR: usize = 1;
const FIRST_FACTOR: usize = 9;
const LAST_FACTOR: usize = 14;

/// The index in [`SPELLINGS`] plus one; 0 where no known name falls.
const SLOTS: [u8; SLOT_COUNT] = {
    let mut slots = [0_u8; SLOT_COUNT];
    let mut at = 0;
    while at < SPELLINGS.len() {
        let slot = slot_of(SPELLINGS[at].0.as_bytes());
        assert!(slots[slot] == 0, "two names share a slot: choose other factors");
        slots[slot] = at as u8 + 1;
        at += 1;
    }
    slots
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_equal_in_any_spelling() {
        for (text, code) in SPELLINGS {
            assert_eq!(code_of(text.as_bytes()), *code, "{text}");
            assert_eq!(code_of(text.to_ascii_uppercase().as_bytes()), *code, "{text}");
        }
        assert_eq!(Name::Other("v"), Name::Via);
        assert_eq!(Name::Other("call-id"), Name::CallId);
        assert_eq!(Name::Other("X-a"), Name::Other("x-A"));
        assert_ne!(Name::Other("X-a"), Name::Other("X-b"));
        assert_ne!(Name::Via, Name::To);
        assert_eq!(Name::Other("call-id").as_str(), "Call-ID");
        assert_eq!(Name::Other("X-a").as_str(), "X-a");
    }

    #[test]
    fn near_misses_are_unknown() {
        for text in ["", "z", "Vix", "Via ", "T0", "Call_ID", "Content-Lengths", "\u{6}rom"] {
            assert_eq!(code_of(text.as_bytes()), OTHER, "{text:?}");
        }
    }
}
