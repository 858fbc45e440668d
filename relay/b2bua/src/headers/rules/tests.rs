//! Rules that must not be, and what those do that may.

use super::*;
use proptest::prelude::*;
use sip_core::Name;

const FACTS: Facts<'_> = Facts {
    called: "+4930123456",
    calling: "+4989$1",
    tenant: "contoso",
    trunk: "colt",
    call: 7,
    teams: false,
};

fn rule(name: &str, action: HeaderAction) -> Result<HeaderRule, NoHeaderRule> {
    HeaderRule::new(name, action, None, "tollgate.toml:1".into())
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn add(name: &str, value: &str) -> HeaderRule {
    rule(name, HeaderAction::Add(template(value))).unwrap()
}

fn headers(lines: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::default();
    lines.iter().for_each(|(name, value)| headers.push_named(name, (*value).to_owned()));
    headers
}

fn after(rules: &[HeaderRule], lines: &[(&str, &str)], received: &[(&str, &str)]) -> Vec<String> {
    let mut ours = headers(lines);
    apply(rules.iter(), RouteFrom::Teams, &mut ours, &FACTS, Some(&headers(received)));
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    ours.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
}

#[test]
fn headers_that_the_call_lives_by_are_refused_in_any_spelling() {
    for name in [
        "Via",
        "v",
        "FROM",
        "f",
        "To",
        "t",
        "Call-ID",
        "i",
        "cseq",
        "Contact",
        "m",
        "Route",
        "Record-Route",
        "Max-Forwards",
        "Content-Type",
        "c",
        "Content-Length",
        "l",
        "Content-Anything",
        "Content-Encoding",
        "e",
        "Require",
        "Supported",
        "k",
        "Allow",
        "Session-Expires",
        "x",
        "Min-SE",
        "RAck",
        "RSeq",
        "Authorization",
        "Proxy-Authorization",
        "WWW-Authenticate",
        "Replaces",
        "Refer-To",
        "r",
        "Referred-By",
        "b",
        "Refer-Sub",
        "Event",
        "o",
        "Subscription-State",
        "Identity",
        "y",
        "Identity-Info",
        "P-Asserted-Identity",
        "Privacy",
        "Geolocation",
        "User-Agent",
        "",
        "X Foo",
        "X-Foo:",
        "X-Foo\r\nVia",
    ] {
        for action in [HeaderAction::Remove, HeaderAction::Add(template("x"))] {
            assert!(rule(name, action).is_err(), "{name}");
        }
        assert!(rule("X-Copy", HeaderAction::Copy(name.into())).is_err(), "{name}");
    }
    assert!(rule("X-Copy", HeaderAction::Copy("History-Info".into())).is_err());
    assert!(rule("Diversion", HeaderAction::Remove).is_ok());
    assert!(rule("Diversion", HeaderAction::Remove).unwrap().breaks_teams().is_some());
    for private in ["P-Charging-Vector", "x-colour", "History-Info"] {
        assert!(rule(private, HeaderAction::Remove).unwrap().breaks_teams().is_some());
    }
    assert!(rule("Subject", HeaderAction::Remove).unwrap().breaks_teams().is_none());
}

#[test]
fn a_value_that_ends_its_line_or_names_nothing_is_refused() {
    for (value, said) in [
        ("a\r\nVia: b", "has a character that ends a line or is none"),
        ("a\0", "has a character that ends a line or is none"),
        ("{tenants}", "has {tenants}, which stands for nothing"),
        ("{tenant", "has a { without }"),
    ] {
        assert_eq!(Template::parse(value).unwrap_err().said, said);
    }
    assert!(Template::parse(&"x".repeat(1025)).is_err());
}

#[test]
fn lines_are_added_removed_replaced_and_taken_over() {
    let find = |text: &str| Some(Arc::new(Regex::new(text).unwrap()));
    let rules = [
        add("X-Who", "{calling} {called};tenant={tenant};trunk={trunk};call={call}"),
        rule("subject", HeaderAction::Remove).unwrap(),
        rule("Priority", HeaderAction::Replace(None, template("normal"))).unwrap(),
        rule("X-None", HeaderAction::Replace(None, template("normal"))).unwrap(),
        rule("X-Old", HeaderAction::Replace(find("b(.)"), template("<$1{calling}>"))).unwrap(),
        rule("X-Mine", HeaderAction::Copy("X-Theirs".into())).unwrap(),
    ];
    let got = after(
        &rules,
        &[("Subject", "secret"), ("Priority", "urgent"), ("X-Old", "abc"), ("Via", "v")],
        &[("x-theirs", "one"), ("X-Theirs", "two\u{1}"), ("X-Other", "three")],
    );
    let expected = [
        "Via: v",
        "X-Who: +4989$1 +4930123456;tenant=contoso;trunk=colt;call=7",
        "Priority: normal",
        "X-Old: a<c+4989$1>",
        "X-Mine: one",
    ];
    assert_eq!(got, expected);
}

#[test]
fn teams_is_sent_nothing_that_it_must_not_see() {
    let rules = [add("X-Colour", "blue"), add("Subject", "hello"), add("Call-Info", "<SIPS:a@b>")];
    let mut ours = Headers::default();
    let facts = Facts { teams: true, ..FACTS };
    apply(rules.iter(), RouteFrom::Carrier, &mut ours, &facts, None);
    assert_eq!(ours.iter().collect::<Vec<_>>(), [(&b"Subject"[..], &b"hello"[..])]);
}

#[test]
fn what_a_far_side_sends_does_not_grow_without_bound() {
    let rules: Vec<HeaderRule> =
        (0..64).map(|_| rule("X-Mine", HeaderAction::Copy("X-Big".into())).unwrap()).collect();
    let (fits, long) = ("a".repeat(1000), "a".repeat(2000));
    assert_eq!(after(&rules, &[], &[("X-Big", &fits)]).len(), 8);
    assert_eq!(after(&rules, &[], &[("X-Big", &long)]).len(), 0);
}

/// Names as an operator may write them, those that are protected among them.
fn any_name() -> impl Strategy<Value = String> {
    let known: Vec<&str> = [DIALOG, SECURITY, CALLER, LOCATION].concat();
    prop_oneof![
        proptest::sample::select(known).prop_map(str::to_owned),
        proptest::sample::select(known_short()).prop_map(str::to_owned),
        "[A-Za-z-]{1,12}",
        any::<String>(),
    ]
}

fn known_short() -> Vec<&'static str> {
    vec!["v", "f", "t", "i", "m", "l", "c", "e", "k", "x", "r", "b", "o", "y", "n"]
}

proptest! {
    #[test]
    fn no_rule_changes_a_protected_header(
        name in any_name(),
        source in any_name(),
        value in any::<String>(),
        kind in 0..4,
        lower in any::<bool>(),
        received in any::<String>(),
    ) {
        let name = if lower { name.to_lowercase() } else { name };
        let value = Template::parse(&value).unwrap_or_else(|_| template("x"));
        let action = match kind {
            0 => HeaderAction::Add(value),
            1 => HeaderAction::Remove,
            2 => HeaderAction::Replace(None, value),
            _ => HeaderAction::Copy(source.clone().into()),
        };
        let Ok(rule) = rule(&name, action) else { return Ok(()) };
        let mut ours = Headers::default();
        let all = [DIALOG, SECURITY, CALLER, LOCATION].concat();
        for name in &all {
            ours.push_named(name, "as it was");
        }
        let theirs = headers(&[(source.as_str(), received.as_str()), ("Via", "theirs")]);
        apply([&rule].into_iter(), RouteFrom::Teams, &mut ours, &FACTS, Some(&theirs));
        for name in &all {
            let values: Vec<&[u8]> = ours.named(name).collect();
            prop_assert_eq!(values, [&b"as it was"[..]], "{}", name);
        }
        let names = [Name::ContentLength, Name::ContentType, Name::ReferTo, Name::ReferredBy];
        for name in names {
            prop_assert!(ours.get(name).is_none());
        }
    }
}
