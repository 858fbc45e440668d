//! Who called, who diverted and where they are, as far as Microsoft's documents let us say it.

use crate::persona::host_of;
use crate::strict::{Fault, expect};
use sip_core::{Headers, Name, NameAddr, Request};

/// Headers that mean nothing to Teams, or tell it what is not for it, and the rule for each.
const UNWANTED: &[(Name, &str)] = &[
    (Name::PAssertedIdentity, "TDR-PRI-006"),
    (Name::PPreferredIdentity, "TDR-PRI-006"),
    (Name::Other("Remote-Party-ID"), "TDR-PRI-006"),
    (Name::Privacy, "TDR-PRI-006"),
    (Name::Other("P-Early-Media"), "TDR-OUT-010"),
    (Name::Geolocation, "TDR-EMG-007"),
    (Name::Other("Geolocation-Routing"), "TDR-EMG-007"),
];

/// What is wrong with the headers of any message.
pub(crate) fn unwanted(headers: &Headers, faults: &mut Vec<Fault>) {
    for (name, rule) in UNWANTED {
        let what = format!("{} is not for Teams", name.as_str());
        expect(headers.get(*name).is_none(), rule, &what, faults);
    }
}

/// What is wrong with who calls, in an INVITE that begins a call.
pub(crate) fn caller(headers: &Headers, faults: &mut Vec<Fault>) {
    let from = headers.from();
    let user = from.uri().ok().and_then(|uri| uri.user).unwrap_or_default();
    let nobody = user.eq_ignore_ascii_case(b"anonymous");
    let right = !nobody || host_of(&from) == "anonymous.invalid";
    expect(right, "TDR-OUT-015", "From is anonymous at a host, which is shown as digits", faults);
    let national = user.first().is_some_and(u8::is_ascii_digit);
    expect(!national, "TDR-PRI-008", "the calling number has no +", faults);
    let contact = headers.contact().map(|contact| host_of(&contact)).unwrap_or_default();
    for entry in headers.list(Name::HistoryInfo) {
        let Ok(entry) = NameAddr::parse(entry) else {
            faults.push(Fault::noted("TDR-FWD-001", "History-Info that is no address"));
            continue;
        };
        let host = host_of(&entry);
        let ours = host == contact || host == "anonymous.invalid";
        expect(ours, "TDR-FWD-002", "History-Info names another host than Contact", faults);
        let indexed = entry.param("index").is_some_and(|index| index.starts_with(b"1"));
        expect(indexed, "TDR-FWD-001", "History-Info without index", faults);
    }
}

/// What is wrong with a NOTIFY that tells of a transfer (TDR-XFR-011, TDR-XFR-016).
pub(crate) fn progress(notify: &Request, faults: &mut Vec<Fault>) {
    let headers = &notify.headers;
    let value = |name| headers.get(name).unwrap_or_default().to_ascii_lowercase();
    let refer = value(Name::Event).starts_with(b"refer");
    expect(refer, "TDR-XFR-011", "NOTIFY without Event: refer", faults);
    let state = value(Name::SubscriptionState);
    let final_word = notify.body().get(8..9).is_some_and(|class| class > &b"1"[..]);
    let right =
        if final_word { state.starts_with(b"terminated") } else { state.starts_with(b"active") };
    expect(right, "TDR-XFR-016", "Subscription-State does not fit what is told", faults);
    let fragment = value(Name::ContentType).starts_with(b"message/sipfrag");
    expect(fragment, "TDR-XFR-011", "NOTIFY without a message/sipfrag", faults);
}
