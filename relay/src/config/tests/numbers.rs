//! Rules for numbers, callers, headers and codecs: what becomes of them, and what is told of slips.

use super::{CONTOSO, Directory, HOST};
use b2bua::numbering::NumberFormat;
use b2bua::plan::{CallerPolicy, CallerPrivacy, Change, Party, Ringback, RouteFrom, Way};

const TENANT: &str = "tenants.d/contoso.toml";
const MAIN: &str = "tollgate.toml";

/// The sample, with this at the end of trunk bt and before the first table of the tenant.
fn with(trunk: &str, tenant: &str) -> Directory {
    let tenant = CONTOSO.replace("[limits]", &format!("{tenant}\n[limits]"));
    Directory::new().with(MAIN, &format!("{HOST}{trunk}")).with(TENANT, &tenant)
}

#[test]
fn rules_become_a_plan_and_know_where_they_stand() {
    let trunk = r#"country = "DE"
format = "national"
codecs = ["pcma", "PCMU"]
ringback = "local"
[[trunk.rewrite]]
direction = "in"
number = "called"
match = "9999*"
strip = 4
[[trunk.rewrite]]
direction = "out"
number = "both"
match = '/^\+49(\d+)$/'
replace = "0$1"
[[trunk.header]]
action = "add"
name = "X-Tenant"
value = "{tenant}"
[[trunk.header]]
action = "replace"
name = "X-Old"
match = "/(a)/"
value = "${1}b"
[block]
called = ["+4919*"]
"#;
    let tenant = r#"caller = "own"
caller_number = "+4930123450"
privacy = "anonymous"
country = "AT"
emergency = []
[block]
calling = "+882*"
[[rewrite]]
side = "teams"
direction = "in"
number = "called"
match = "1*"
prepend = "+493012345"
[[header]]
action = "copy"
name = "X-Mine"
from = "X-MS-Theirs"
"#;
    let directory = with(trunk, tenant);
    let loaded = directory.load();
    assert_eq!(loaded.warnings, []);
    let bt = &loaded.plan.trunks[2];
    assert_eq!(bt.country.unwrap().iso, "DE");
    assert_eq!((bt.format, bt.ringback), (Some(NumberFormat::National), Some(Ringback::Local)));
    assert_eq!(bt.codecs, sdp::Codecs::only(["PCMA", "PCMU"]));
    let [first, second] = &bt.rewrite[..] else { panic!("{:?}", bt.rewrite) };
    assert_eq!((first.way, first.party), (Way::In, Some(Party::Called)));
    assert!(matches!(&first.change, Change::Front { strip: 4, prepend } if prepend.is_empty()));
    assert_eq!(&*first.place, "tollgate.toml:57");
    assert!(matches!(&second.change, Change::Replace(_, with) if &**with == "0$1"));
    assert_eq!(bt.header_rules.len(), 2);
    assert_eq!(&**bt.header_rules[0].place(), "tollgate.toml:67");
    assert_eq!(loaded.plan.block.called.as_ref().unwrap().to_string(), "+4919*");
    let contoso = &loaded.plan.tenants[0];
    assert_eq!(contoso.caller.policy, Some(CallerPolicy::Own));
    assert_eq!(contoso.caller.number.as_deref(), Some("+4930123450"));
    assert_eq!(contoso.privacy, CallerPrivacy::Anonymous);
    assert_eq!(contoso.country.unwrap().iso, "AT");
    assert_eq!(contoso.block.calling.as_ref().unwrap().to_string(), "+882*");
    assert_eq!(contoso.rewrite[0].from, Some(RouteFrom::Teams));
    assert_eq!(&*contoso.rewrite[0].place, "tenants.d/contoso.toml:10");
    assert_eq!(contoso.header_rules.len(), 1);
}

#[test]
fn a_host_says_the_country_of_those_who_say_none() {
    let directory = Directory::sample().edit(
        MAIN,
        "fqdn = \"sbc1.example.net\"",
        "fqdn = \"sbc1.example.net\"\ncountry = \"GB\"",
    );
    let plan = directory.load().plan;
    let of = |trunk: usize| plan.trunks[trunk].country.map(|country| country.iso);
    assert_eq!((of(0), of(1), of(2)), (None, Some("GB"), Some("GB")), "Teams is nowhere");
    assert_eq!(plan.tenants[0].country.unwrap().iso, "GB");
}

/// What a tenant's file says at its top, and what is told.
#[test]
fn what_does_not_hold_in_a_tenant_is_told_with_a_way_out() {
    for (written, told) in [
        (
            "country = \"UK\"",
            "`country = \"UK\"` is not the code of a country (ISO 3166), such as \"DE\" or \"US\"\nhint: did you mean \"GB\"?",
        ),
        (
            "caller = \"onw\"",
            "`caller = \"onw\"` is not one of pass, own, substitute, anonymous\nhint: did you mean \"own\"?",
        ),
        (
            "caller = \"substitute\"",
            "`caller = \"substitute\"` needs `caller_number`, the number to show",
        ),
        (
            "caller_number = \"030123450\"",
            "`caller_number = \"030123450\"` is not a number or range in E.164, such as \"+4930123450-+4930123459\"",
        ),
        (
            "codecs = [\"PCAM\"]",
            "\"PCAM\" in `codecs` is no codec that is known\nhint: did you mean \"PCMA\"?",
        ),
        (
            "codecs = [\"CN\"]",
            "`codecs` has none that carries speech\nhint: codecs = [\"PCMA\", \"PCMU\"]",
        ),
        (
            "ringback = \"remote\"",
            "`ringback = \"remote\"` is not one of pass, all, first, local, tone",
        ),
    ] {
        let problems = with("", written).problems();
        assert_eq!(problems, format!("{TENANT}:3: {told}"), "{written}");
    }
}

#[test]
fn a_rule_that_changes_nothing_or_not_so_is_told() {
    let front = "direction = \"out\"\nnumber = \"called\"\nmatch = ";
    for (written, line, told) in [
        (
            format!("{front}\"+49*\"\n"),
            1,
            "rewrite \"+49*\": changes nothing\nhint: strip = 3 and prepend = \"0\", or replace = \"+49$1\" for a regular expression",
        ),
        (
            format!("{front}\"+49*\"\nreplace = \"0$1\"\n"),
            5,
            "rewrite \"+49*\": `replace = \"0$1\"` needs a regular expression in `match`\nhint: match = '/^\\+49(\\d+)$/' with a group, or strip and prepend",
        ),
        (
            format!("{front}'/^49(.*)/'\nreplace = \"0$12\"\n"),
            5,
            "rewrite \"/^49(.*)/\": `replace = \"0$12\"` names the group $12, which the regular expression has not\nhint: groups are counted from $1; before a digit write ${1}",
        ),
        (
            format!("{front}'/^49(.*)/'\nreplace = \"$1@b\"\n"),
            5,
            "rewrite \"/^49(.*)/\": `replace = \"$1@b\"` cannot stand in a number: digits, letters, + * # - . and _ can",
        ),
        (
            format!("{front}\"+49*\"\nprepend = \"0;ext=\"\n"),
            5,
            "rewrite \"+49*\": `prepend = \"0;ext=\"` cannot stand in a number: digits, letters, + * # - . and _ can",
        ),
        (
            format!("{front}'/^49(.*)/'\nreplace = \"$1\"\nstrip = 1\n"),
            5,
            "rewrite \"/^49(.*)/\": `replace` makes the whole number; `strip` and `prepend` do nothing beside it",
        ),
        (
            format!("side = \"teams\"\n{front}\"+49*\"\nstrip = 1\n"),
            2,
            "rewrite \"+49*\": `side` does nothing here: a trunk has one direction for each side already",
        ),
    ] {
        let before = HOST.lines().count();
        let problems = with(&format!("[[trunk.rewrite]]\n{written}"), "").problems();
        let place = format!("{MAIN}:{}", before + line);
        assert_eq!(problems, format!("{place}: {told}"), "{written}");
    }
}

#[test]
fn a_header_rule_that_would_break_a_dialog_is_refused_by_name() {
    for (written, line, told) in [
        (
            "action = \"add\"\nname = \"Via\"\nvalue = \"x\"\n",
            3,
            "header \"Via\": `name = \"Via\"` is a header that the dialog lives by",
        ),
        (
            "action = \"remove\"\nname = \"content-type\"\n",
            3,
            "header \"content-type\": `name = \"content-type\"` is a header that the dialog lives by",
        ),
        (
            "action = \"add\"\nname = \"P-Asserted-Identity\"\nvalue = \"<sip:{called}@a>\"\n",
            3,
            "header \"P-Asserted-Identity\": `name = \"P-Asserted-Identity\"` says who calls, as other headers do\nhint: caller, caller_number and privacy say who is shown, identity and privacy_id of the trunk to whom",
        ),
        (
            "action = \"copy\"\nname = \"X-A\"\nfrom = \"Proxy-Authorization\"\n",
            3,
            "header \"X-A\": is a header that security lives by",
        ),
        (
            "action = \"add\"\nname = \"X-A\"\nvalue = \"a\\r\\nVia: b\"\n",
            4,
            "header \"X-A\": `value = \"a\\r\\nVia: b\"` has a character that ends a line or is none",
        ),
        (
            "action = \"add\"\nname = \"X-A\"\nvalue = \"{caller}\"\n",
            4,
            "header \"X-A\": `value = \"{caller}\"` has {caller}, which stands for nothing\nhint: {called}, {calling}, {tenant}, {trunk} and {call} are known",
        ),
        (
            "action = \"remove\"\nname = \"X-A\"\nvalue = \"a\"\n",
            4,
            "header \"X-A\": `value` does nothing here: only add and replace write one",
        ),
        (
            "action = \"replace\"\nname = \"X-A\"\nmatch = \"a\"\nvalue = \"b\"\n",
            4,
            "header \"X-A\": `match = \"a\"` is no regular expression\nhint: write it between slashes, such as '/;cpc=[a-z]+/'",
        ),
    ] {
        let before = HOST.lines().count();
        let problems = with(&format!("[[trunk.header]]\n{written}"), "").problems();
        let place = format!("{MAIN}:{}", before + line);
        assert_eq!(problems, format!("{place}: {told}"), "{written}");
    }
}

#[test]
fn formats_and_headers_that_teams_or_nobody_could_read() {
    let before = HOST.lines().count();
    let told = with("format = \"national\"\n", "").problems();
    let expected = format!(
        "{MAIN}:{}: trunk \"bt\": `format = \"national\"` needs `country`\nhint: country = \"DE\", here or in [node]",
        before + 1
    );
    assert_eq!(told, expected);
    let told = Directory::sample()
        .edit(
            MAIN,
            "cloud = \"commercial\"",
            "cloud = \"commercial\"\nformat = \"plain\"\ncountry = \"DE\"\n[[trunk.header]]\naction = \"add\"\nname = \"Diversion\"\nvalue = \"x\"\n[trunk.limits]",
        )
        .problems();
    assert!(told.contains("`format` does nothing here: Teams takes numbers in E.164 alone"));
    assert!(told.contains("`country` does nothing here: Teams has its numbers in E.164"), "{told}");
    assert!(told.contains("header \"Diversion\": is not for Teams"), "{told}");
}

#[test]
fn a_route_whose_caller_number_is_missing_or_idle_is_told() {
    for (of_tenant, of_route, told) in [
        (
            "",
            "caller = \"substitute\"",
            "route \"+49*\": `caller = \"substitute\"` needs `caller_number`, the number to show",
        ),
        ("caller_number = \"+4930123450\"", "caller = \"substitute\"", ""),
        (
            "",
            "caller = \"anonymous\"\ncaller_number = \"+4930123450\"",
            "route \"+49*\": `caller_number` does nothing here: `caller` is neither \"substitute\" nor \"own\"",
        ),
    ] {
        let directory = with("", of_tenant).edit(
            TENANT,
            "match = \"+49*\"",
            &format!("match = \"+49*\"\n{of_route}"),
        );
        let problems = directory.problems();
        assert_eq!(problems.is_empty(), told.is_empty(), "{problems}");
        assert!(problems.contains(told), "{problems}");
    }
}
