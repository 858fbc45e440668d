//! History-Info and Diversion, one into the other.

use super::diverted::Diversions;
use super::history;
use super::policy::Trust;
use super::privacy::Privacy;
use crate::identity::Identity;
use sip_core::{Headers, Name};

fn us() -> Identity {
    Identity::named("sbc.example.net", 5061)
}

fn read(name: Name, lines: &[&str]) -> Diversions {
    let mut headers = Headers::default();
    for line in lines {
        headers.push(name, (*line).to_owned());
    }
    Diversions::of(&headers, Privacy::default())
}

fn all(headers: &Headers, name: Name) -> Vec<String> {
    headers.list(name).map(|one| String::from_utf8_lossy(one).into_owned()).collect()
}

fn as_diversion(diversions: &Diversions, to: Trust) -> Vec<String> {
    let mut headers = Headers::default();
    diversions.write(&mut headers, (to, &us()));
    all(&headers, Name::Diversion)
}

fn as_history(diversions: &Diversions, to: Trust) -> Vec<String> {
    let mut headers = Headers::default();
    history::write(diversions, &mut headers, "+4989123456", (to, &us()), true);
    all(&headers, Name::HistoryInfo)
}

/// TDR-FWD-001, TDR-FWD-002.
#[test]
fn what_microsoft_writes_unescaped_or_escaped_says_who_diverted() {
    let both = [
        "<sip:+14257123456@sip.pstnhub.microsoft.com;user=phone?Reason=SIP;cause=302;text=\"Move Temporarily\">;index=1",
        "<sip:+14257123457@sip.pstnhub.microsoft.com;user=phone?Reason=SIP;cause=496;text=\"User Busy\">;index=1.1",
    ];
    let expected = [
        "<sip:+14257123457@sbc.example.net;user=phone>;reason=user-busy",
        "<sip:+14257123456@sbc.example.net;user=phone>;reason=unconditional",
    ];
    assert_eq!(as_diversion(&read(Name::HistoryInfo, &both), Trust::Trusted), expected);
    assert_eq!(
        as_diversion(&read(Name::HistoryInfo, &[&both.join(",")]), Trust::Trusted),
        expected
    );
    let acs = "<sip:+4989100@sip.pstnhub.microsoft.com:5061;user=phone?Reason=SIP%3Bcause%3D302%3Btext%3D%22Move%20Temporarily%22>;index=1,\
               <sip:+4989123@sip.pstnhub.microsoft.com;user=phone>;index=1.1";
    let expected = ["<sip:+4989100@sbc.example.net;user=phone>;reason=unconditional"];
    assert_eq!(as_diversion(&read(Name::HistoryInfo, &[acs]), Trust::Trusted), expected);
    let broken = "<sip:UserB@sip.pstnhub.microsoft.com?Privacy=history&Reason=SIP%3B\\cause%3D486>;index=1.2,";
    let found = read(Name::HistoryInfo, &[broken]);
    let expected = ["<sip:UserB@sbc.example.net>;reason=user-busy;privacy=full"];
    assert_eq!(as_diversion(&found, Trust::Trusted), expected);
    let expected = ["<sip:anonymous@anonymous.invalid>;reason=user-busy;privacy=full"];
    assert_eq!(as_diversion(&found, Trust::Untrusted), expected);
}

#[test]
fn entries_are_told_in_the_order_of_their_index() {
    let mixed = [
        "<sip:+493@a.example;cause=408>;index=1.1.1;mp=1.1",
        "<sip:+491@a.example>;index=1",
        "<sip:+492@a.example;cause=486>;index=1.1;mp=1",
    ];
    let expected = [
        "<sip:+492@sbc.example.net;user=phone>;reason=no-answer",
        "<sip:+491@sbc.example.net;user=phone>;reason=user-busy",
    ];
    assert_eq!(as_diversion(&read(Name::HistoryInfo, &mixed), Trust::Trusted), expected);
}

#[test]
fn the_same_number_at_another_place_was_diverted_by_nobody() {
    for history in [
        "<sip:+491@a.example>;index=1, <sip:+491@pbx.a.example>;index=1.1;rc=1",
        "<sip:+491@a.example>;index=1, <sip:pbx@a.example>;index=1.1;np=1",
        "<sip:+491@a.example?Reason=SIP%3Bcause%3D503>;index=1, <sip:+491@b.example>;index=2",
        "<sip:+491@a.example>;index=1",
        "not an address, <sip:a b@c>;index=1",
    ] {
        assert_eq!(read(Name::HistoryInfo, &[history]), Diversions::default(), "{history}");
    }
}

#[test]
fn diversions_become_a_history_with_causes_and_gaps_for_the_unnamed() {
    let lines = [
        "<sip:30200@pbx.b.example>;reason=\"user-busy\";counter=2;screen=no",
        "\"Bob\" <tel:+49-30-100>;reason=unconditional;privacy=full",
    ];
    let found = read(Name::Diversion, &lines);
    let expected = [
        "<sip:+4930100@sbc.example.net;user=phone?Privacy=history&Reason=SIP%3Bcause%3D302>;index=1",
        "<sip:+30200@sbc.example.net;user=phone;cause=302?Reason=SIP%3Bcause%3D486>;index=1.1;mp=1",
        "<sip:+4989123456@sbc.example.net;user=phone;cause=486>;index=1.1.1.1;mp=1.1",
    ];
    assert_eq!(as_history(&found, Trust::Trusted), expected);
    let hidden =
        "<sip:anonymous@anonymous.invalid?Privacy=history&Reason=SIP%3Bcause%3D302>;index=1";
    assert_eq!(as_history(&found, Trust::Untrusted)[0], hidden);
}

#[test]
fn a_history_of_ours_reads_back_as_the_diversions_it_was_made_of() {
    for reason in
        ["unknown", "unconditional", "user-busy", "no-answer", "deflection", "unavailable"]
    {
        let second = "<sip:+492@sbc.example.net;user=phone>;reason=deflection;counter=3";
        let first = format!("<sip:+491@sbc.example.net;user=phone>;reason={reason}");
        let lines = [second, &first];
        let found = read(Name::Diversion, &lines);
        let history = as_history(&found, Trust::Trusted).join(", ");
        let back = read(Name::HistoryInfo, &[&history]);
        assert_eq!(as_diversion(&back, Trust::Trusted), lines, "{history}");
    }
}

/// TDR-FWD-009.
#[test]
fn five_diversions_pass_and_a_sixth_does_not() {
    let one = |n: u32| format!("<sip:+49{n}@a.example>;reason=unconditional");
    let lines: Vec<String> = (1..=6).map(one).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert!(!read(Name::Diversion, &lines[..5]).are_too_many());
    assert!(read(Name::Diversion, &lines).are_too_many());
    for counter in ["6", "4294967295"] {
        let counted = format!("<sip:+49@a.example>;reason=unknown;counter={counter}");
        assert!(read(Name::Diversion, &[&counted, lines[0]]).are_too_many());
    }
    let deep = format!("<sip:+491@a>;index=1, <sip:+492@a>;index=1{}", ".1".repeat(6));
    assert!(read(Name::HistoryInfo, &[&deep]).are_too_many());
    let same = vec!["<sip:+491@a.example>;index=1"; 40].join(",");
    assert!(read(Name::HistoryInfo, &[&same]).are_too_many());
}

#[test]
fn no_octet_of_a_history_upsets_its_reader() {
    let whole =
        "<sip:+491@a.example;cause=302?Reason=SIP%3Bcause%3D486&Privacy=history>;index=1.1;mp=1";
    for end in 0..whole.len() {
        let _ = read(Name::HistoryInfo, &[&whole[..end]]);
        for octet in ["%", "\\", "<", ">", "?", ";", "\"", "é"] {
            let _ =
                read(Name::HistoryInfo, &[&format!("{}{octet}{}", &whole[..end], &whole[end..])]);
        }
    }
}
