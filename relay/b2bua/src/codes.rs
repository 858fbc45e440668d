//! What Microsoft says when a call fails or ends: its correlation id, a phrase and a code of its own
//! (TDR-ERR-001), and what that code means to an operator.

use crate::cause::{reasons, text_of};
use crate::clip::clip;
use sip_core::Headers;

/// Octets of a phrase that are kept.
pub(crate) const PHRASE_MAX: usize = 200;

/// What was said of one end of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Microsoft {
    /// The status of the response that it stood in; `None`: it stood in BYE or CANCEL.
    pub status: Option<u16>,
    /// The Q.850 cause.
    pub cause: Option<u16>,
    /// The id that Microsoft's support and call analytics know the call by.
    pub guid: Option<String>,
    /// The words behind it.
    pub phrase: Option<String>,
    /// The code of Microsoft's own, as far as the words tell it.
    pub sub_code: Option<u32>,
}

impl Microsoft {
    /// What a message of Teams says, if it says anything.
    pub fn of(headers: &Headers, status: Option<u16>) -> Option<Self> {
        let spoken = reasons(headers).find_map(|reason| Some((reason, text_of(reason)?)));
        let silent = || Some((reasons(headers).next()?, ""));
        let Some((reason, text)) = spoken.or_else(silent) else {
            let status = status.filter(|status| *status >= 300)?;
            return Some(Self { status: Some(status), ..Self::default() });
        };
        let (guid, phrase) = match text.split_once(';') {
            Some((guid, phrase)) if is_guid(guid.trim()) => (Some(guid.trim()), phrase.trim()),
            None if is_guid(text.trim()) => (Some(text.trim()), ""),
            _ => (None, text.trim()),
        };
        let cause = reason.split(';').find_map(|it| it.trim().strip_prefix("cause="));
        let mut kept = phrase.to_owned();
        clip(&mut kept, PHRASE_MAX);
        Some(Self {
            status,
            cause: cause.and_then(|cause| cause.trim().parse().ok()),
            guid: guid.map(str::to_owned),
            sub_code: sub_code(status, phrase),
            phrase: Some(kept).filter(|phrase| !phrase.is_empty()),
        })
    }

    /// What it means, and what to do about it.
    pub fn meaning(&self) -> Option<&'static Meaning> {
        meaning(self.status, self.sub_code)
    }
}

fn is_guid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.len() == 36
        && text.bytes().enumerate().all(|(at, octet)| match dashes.contains(&at) {
            true => octet == b'-',
            false => octet.is_ascii_hexdigit(),
        })
}

/// The code: a number of four to six digits that stands in the phrase, else the one that such a phrase
/// goes with.
fn sub_code(status: Option<u16>, phrase: &str) -> Option<u32> {
    let words = phrase.split(|c: char| !c.is_ascii_alphanumeric());
    let numbers = words.filter(|word| (4..=6).contains(&word.len()));
    let numbers = numbers.filter_map(|word| word.parse::<u32>().ok());
    let known =
        |code: &u32| (500_000..600_000).contains(code) || meaning(None, Some(*code)).is_some();
    if let Some(code) = numbers.into_iter().find(known) {
        return Some(code);
    }
    let phrase = phrase.to_ascii_lowercase();
    let said = |it: &&Meaning| {
        it.phrases.iter().any(|words| holds(&phrase, words))
            && status.is_none_or(|status| it.status == status)
    };
    MEANINGS.iter().find(said).map(|it| it.code)
}

/// Whether a phrase holds these words, and not within others: `ack` stands in `blackhole`.
fn holds(phrase: &str, words: &str) -> bool {
    let within = |beside: Option<char>| beside.is_some_and(char::is_alphanumeric);
    phrase.match_indices(words).any(|(at, found)| {
        let before = phrase.get(..at).and_then(|text| text.chars().next_back());
        let after = phrase.get(at + found.len()..).and_then(|text| text.chars().next());
        !within(before) && !within(after)
    })
}

/// One row of what Microsoft's codes mean.
#[derive(Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The SIP status that it goes with.
    pub status: u16,
    /// Microsoft's code; 0: none, the status stands for itself.
    pub code: u32,
    /// What its phrase holds, in lower case.
    phrases: &'static [&'static str],
    /// What has happened.
    pub means: &'static str,
    /// What to do about it.
    pub action: &'static str,
}

/// The meaning of a code with that status, else of the code, else of the status alone.
pub fn meaning(status: Option<u16>, code: Option<u32>) -> Option<&'static Meaning> {
    let of = |status: Option<u16>, code: u32| {
        MEANINGS
            .iter()
            .find(|it| it.code == code && status.is_none_or(|status| it.status == status))
    };
    match code {
        Some(code) => of(status, code).or_else(|| of(None, code)).or_else(|| ours(code)),
        None => of(Some(status?), 0),
    }
}

/// `560xxx`: the SBC answered xxx.
fn ours(code: u32) -> Option<&'static Meaning> {
    (560_300..=560_699).contains(&code).then_some(&OURS)
}

const OURS: Meaning = row(
    0,
    560_000,
    &[],
    "the last three digits are the status that we answered Microsoft with",
    "look up this call's cause and route in its record",
);

const fn row(
    status: u16,
    code: u32,
    phrases: &'static [&'static str],
    means: &'static str,
    action: &'static str,
) -> Meaning {
    Meaning { status, code, phrases, means, action }
}

/// All rows, for a page.
pub const MEANINGS: &[Meaning] = &[
    row(
        400,
        540_400,
        &["bad request"],
        "Microsoft could not read our message, or a transfer's target",
        "take a trace of the tenant and open a case with it",
    ),
    row(
        403,
        510_532,
        &["no trunk config was found", "trunk config not found"],
        "no tenant of Microsoft's has the FQDN that stands in our Contact as its SBC",
        "the Teams admin adds and verifies that FQDN as a domain, puts a licensed user on it, and names it in a voice route; it takes up to 24 hours",
    ),
    row(
        403,
        10_199,
        &["private calling"],
        "private calling is off for the user",
        "the Teams admin changes the user's calling policy",
    ),
    row(
        403,
        10_500,
        &["location based routing", "location-based routing"],
        "location-based routing forbids the call",
        "the Teams admin checks the sites and gateways of location-based routing",
    ),
    row(
        403,
        10_553,
        &["compliance recorder"],
        "the recorder that policy demands could not be invited",
        "the Teams admin checks the recording application",
    ),
    row(
        403,
        510_534,
        &["inbound call blocking", "number is blocked"],
        "the tenant blocks the caller's number",
        "nothing here; the Teams admin has it on the list of blocked numbers",
    ),
    row(
        403,
        510_546,
        &["no trunk allowed"],
        "location-based routing leaves no trunk for the call",
        "the Teams admin enables location-based routing on the gateway of that site",
    ),
    row(
        403,
        510_559,
        &["no voice route"],
        "no voice route of the tenant matches the number",
        "the Teams admin adds a voice route; we never see such a call",
    ),
    row(
        403,
        510_560,
        &["not enterprise voice enabled"],
        "the user is not enabled for telephony",
        "the Teams admin assigns a phone licence and enables enterprise voice",
    ),
    row(
        403,
        510_562,
        &["not allowed to make outbound"],
        "the user may not call the public network",
        "the Teams admin changes the user's outbound calling policy",
    ),
    row(
        403,
        510_563,
        &["domestic"],
        "the user may call within the country alone",
        "the Teams admin changes the user's outbound calling policy",
    ),
    row(
        404,
        10_202,
        &["replacement call was not found"],
        "a transfer was asked for twice, or too late",
        "nothing; it is not to be tried again",
    ),
    row(
        404,
        511_404,
        &["number not found", "user not found"],
        "no user of the tenant has the number that we sent",
        "compare the number in the record with the user's in Teams: it has to be E.164 with +",
    ),
    row(
        408,
        1_106,
        &["ack", "acknowledgement"],
        "Microsoft answered, and our ACK did not get there",
        "look for a firewall that ends idle connections, and at the trunk's TLS",
    ),
    row(
        408,
        500_001,
        &["did not respond", "no response"],
        "we said nothing within the time that Microsoft waits",
        "look at the carrier's answers in the record; an 18x has to come within 10 seconds",
    ),
    row(
        410,
        531_000,
        &["sdp parsing"],
        "Microsoft could not read our SDP",
        "take a trace of the tenant and open a case with it",
    ),
    row(
        410,
        531_004,
        &["ice connectivity", "iceconnectivitychecksfailed"],
        "connectivity checks found no way between the client and us",
        "let UDP to our media ports in from everywhere, and check that advertise of the media address is right",
    ),
    row(
        410,
        531_005,
        &["media connectivity"],
        "no media passed between Microsoft and us",
        "let UDP pass between our media ports and Microsoft's ranges",
    ),
    row(
        412,
        510_412,
        &["conditional"],
        "a condition of the request did not hold",
        "take a trace of the tenant and open a case with it",
    ),
    row(
        415,
        540_415,
        &["unsupported media type"],
        "Microsoft takes no body but SDP",
        "this is a bug of ours: please report it with a trace",
    ),
    row(
        420,
        560_420,
        &["bad extension"],
        "a request demanded an extension that Microsoft does not have",
        "look for a header rule that adds Require or Replaces",
    ),
    row(
        422,
        540_422,
        &["session interval too small"],
        "the session timer was too short",
        "nothing: the call was tried again; raise session_timer of the Teams trunk to save the trip",
    ),
    row(
        480,
        10_037,
        &["no callee endpoints were found"],
        "the user is signed in nowhere, or an FQDN is registered with Azure as well",
        "nothing for a user who is away; if nobody of the tenant can be called, the FQDN must be removed from Azure Communication Services",
    ),
    row(
        480,
        10_140,
        &["null settings"],
        "the called application has no settings",
        "the Teams admin checks the resource account",
    ),
    row(
        480,
        10_191,
        &["voicemail disabled", "voicemail is disabled"],
        "the call was to go to voicemail, which policy forbids",
        "the Teams admin changes the voicemail policy",
    ),
    row(
        484,
        560_484,
        &["address incomplete"],
        "the carrier says that the number is incomplete",
        "look at the number in the record and at the rules that made it",
    ),
    row(486, 10_321, &["bot is busy"], "the called application is busy", "nothing"),
    row(
        487,
        540_200,
        &["call completed elsewhere"],
        "somebody else has answered, or the caller gave up",
        "nothing",
    ),
    row(
        488,
        531_000,
        &["cannotsupportanymedia", "no media acceptable", "srtpencryptionrequired"],
        "no codec in common, or no SRTP",
        "look at codecs and srtp of the Teams trunk; Microsoft takes SRTP alone",
    ),
    row(
        488,
        531_027,
        &["no ice candidates"],
        "the trunk has media bypass at Microsoft and none here",
        "set bypass = true on the trunk, or switch media bypass off at Microsoft",
    ),
    row(
        488,
        531_052,
        &["blackhole media"],
        "a hold with the address 0.0.0.0",
        "this is a bug of ours: please report it with a trace",
    ),
    row(
        500,
        510_482,
        &["loop detected"],
        "users or numbers forward to one another for ever",
        "the Teams admin looks at the forwarding of the called user",
    ),
    row(
        500,
        510_544,
        &["no gateways for emergency"],
        "Microsoft has no trunk for an emergency call",
        "the Teams admin checks emergency call routing policies at once",
    ),
    row(
        503,
        540_998,
        &["drainingtransactions", "service state"],
        "that host of Microsoft's is going down for maintenance",
        "nothing: the call went to the next one",
    ),
    row(503, 10_320, &["bot unavailable"], "the called application cannot be reached", "nothing"),
    row(
        504,
        549_002,
        &["could not connect"],
        "Microsoft could not connect to us",
        "let TCP to our listener in from all of Microsoft's ranges",
    ),
    row(
        504,
        569_002,
        &["tls"],
        "TLS between Microsoft and us failed",
        "check the certificate: names, chain, and that it is for servers",
    ),
    row(
        504,
        569_008,
        &["certificate expired", "0x80090328"],
        "our certificate has expired, as Microsoft saw it",
        "renew it and reload: connections under the old one are opened anew",
    ),
    row(
        504,
        569_009,
        &["untrusted root", "0x80090325"],
        "Microsoft does not know who issued our certificate",
        "send the whole chain, of an issuer in Microsoft's root programme",
    ),
    row(
        504,
        569_015,
        &["no such host"],
        "the FQDN of the trunk has no address",
        "add the A record for it",
    ),
    row(
        504,
        569_018,
        &["invalid response line", "invalid request line"],
        "Microsoft could not read our message",
        "this is a bug of ours: please report it with a trace",
    ),
    row(
        403,
        0,
        &[],
        "Microsoft refuses the call and does not say why",
        "check that the tenant's FQDN is registered and active at Microsoft, and that the certificate covers it",
    ),
    row(
        404,
        0,
        &[],
        "Microsoft knows no such number",
        "compare it with the user's number in Teams",
    ),
    row(480, 0, &[], "the user cannot be reached now", "nothing"),
    row(486, 0, &[], "the user is busy", "nothing"),
    row(
        488,
        0,
        &[],
        "Microsoft does not take our media",
        "look at codecs, srtp and bypass of the Teams trunk",
    ),
    row(
        503,
        0,
        &[],
        "Microsoft is overloaded or going down there",
        "nothing: the next host is tried",
    ),
    row(603, 0, &[], "the user has declined the call", "nothing"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use sip_core::Name;

    fn said(status: Option<u16>, reason: &str) -> Microsoft {
        let mut headers = Headers::default();
        headers.push(Name::Reason, reason.to_owned());
        Microsoft::of(&headers, status).unwrap()
    }

    const GUID: &str = "23b8c1e9-3924-56de-3eb1-3b9046685257";

    /// TDR-ERR-001: id, phrase and code come out of the one text that Microsoft writes.
    #[test]
    fn id_phrase_and_code_are_told_apart() {
        for (status, text, phrase, code) in [
            (403, "No trunk config was found", "No trunk config was found", Some(510_532)),
            (
                488,
                "531052 Cannot negotiate a new modality",
                "531052 Cannot negotiate a new modality",
                Some(531_052),
            ),
            (480, "No callee endpoints were found", "No callee endpoints were found", Some(10_037)),
            (500, "something 599999 new", "something 599999 new", Some(599_999)),
            (486, "20260115", "20260115", None),
            (603, "", "", None),
        ] {
            let found = said(Some(status), &format!("Q.850;cause=63;text=\"{GUID};{text}\""));
            assert_eq!(found.guid.as_deref(), Some(GUID), "{text}");
            assert_eq!(found.phrase.as_deref().unwrap_or_default(), phrase);
            assert_eq!((found.cause, found.sub_code, found.status), (Some(63), code, Some(status)));
        }
        let found = said(None, "q.850 ; cause=16 ; TEXT=\"no id; a;b\"");
        assert_eq!((found.guid, found.phrase.as_deref()), (None, Some("no id; a;b")));
        assert_eq!(said(None, "SIP;cause=200").cause, Some(200));
        let silent = Microsoft::of(&Headers::default(), Some(486)).unwrap();
        assert_eq!(silent.meaning().unwrap().means, "the user is busy");
        assert_eq!(Microsoft::of(&Headers::default(), None), None);
    }

    #[test]
    fn a_phrase_within_another_word_is_not_meant() {
        for (status, text, code) in [
            (None, "Cannot negotiate a new modality with blackhole media", Some(531_052)),
            (None, "The user did not call back", None),
            (None, "no ACK", Some(1_106)),
            (None, "No_ACK_received, and blackhole", Some(1_106)),
            (Some(408), "Acknowledgement was not received", Some(1_106)),
            (Some(412), "unconditional", None),
        ] {
            let found = said(status, &format!("Q.850;cause=63;text=\"{GUID};{text}\""));
            assert_eq!(found.sub_code, code, "{text}");
        }
    }

    /// TDR-LBR-001: what location-based routing forbids is seen in the code alone.
    #[test]
    fn every_code_has_a_meaning_and_something_to_do() {
        for row in MEANINGS {
            assert!(!row.means.is_empty() && !row.action.is_empty(), "{}", row.code);
            assert!((300..700).contains(&row.status), "{}", row.code);
            let again = meaning(Some(row.status), Some(row.code).filter(|code| *code > 0));
            assert_eq!(again, Some(row), "{} {}", row.status, row.code);
            assert!(row.phrases.iter().all(|it| *it == it.to_lowercase()), "{}", row.code);
        }
        for code in [10_500, 510_546] {
            assert!(meaning(Some(403), Some(code)).unwrap().means.contains("location-based"));
        }
        assert!(meaning(Some(403), Some(560_403)).unwrap().means.contains("three digits"));
        assert_eq!(meaning(Some(200), None), None);
        assert_eq!(meaning(None, Some(123_456)), None);
    }

    #[test]
    fn a_hostile_text_harms_nobody() {
        for text in [
            "",
            "\"",
            "text=\"",
            "text=\"\u{e9}",
            ";;;",
            "Q.850;text=\"a",
            "Q.850;cause=;text=\"\"",
        ] {
            let _ = said(Some(500), text);
        }
        let long = said(Some(500), &format!("Q.850;text=\"{}\"", "\u{e9}".repeat(5000)));
        assert!(long.phrase.unwrap().len() <= PHRASE_MAX);
    }
}
