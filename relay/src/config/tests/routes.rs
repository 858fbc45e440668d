//! Routes and rates: what they become, and every way in which they do not hold.

use super::Directory;
use crate::config::diff::{differences, summary};
use b2bua::plan::{RouteFrom, Step};
use b2bua::routing::{Query, Trace, decide};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

const FULL: &str = r#"fqdns = ["contoso.sbc1.example.net"]
numbers = ["+4930123450-+4930123459"]
country = "DE"
timezone = "Europe/Berlin"
[[route]]
from = "teams"
match = "*"
to = "bt"
[[route]]
name = "office hours"
from = "teams"
match = ["+4930*", "/^\\+4989/"]
calling = "+4930123450-+4930123455"
via = "teams"
when = ["mon-fri 08:00-18:00", "12-24"]
priority = 10
to = [{ colt = 70, bt = 30 }]
[[route]]
from = "teams"
match = "+44*"
when = "sat,sun"
timezone = "Europe/London"
least_cost = "wholesale"
priority = 10
to = ["colt"]
[[route]]
from = "teams"
emergency = true
to = ["colt", "bt"]
[[route]]
from = "carrier"
match = "*"
via = ["colt", "bt"]
to = ["teams"]
"#;

const RATES: &str = "prefix,trunk,price\n+44,colt,0.02\n+44,bt,0.01\n";

fn full() -> Directory {
    let directory = Directory::sample().with("tenants.d/contoso.toml", FULL);
    directory.rates("rates.csv", RATES)
}

impl Directory {
    fn rates(self, file: &str, rows: &str) -> Self {
        let main = std::fs::read_to_string(self.path.join("tollgate.toml")).unwrap();
        let table = format!("[[rates]]\nname = \"wholesale\"\nfile = \"{file}\"\n");
        self.with("tollgate.toml", &(main + &table)).with(file, rows)
    }
}

#[test]
fn every_key_of_a_route_counts() {
    let loaded = full().load();
    assert_eq!(loaded.warnings, []);
    let tenant = &loaded.plan.tenants[0];
    assert_eq!(tenant.emergency, ["110", "112"], "those of Germany");
    let lines: Vec<u32> = tenant.routes.iter().map(|route| route.line).collect();
    assert_eq!(lines, [9, 18, 5, 26, 30], "by priority, then by line");
    let office = &tenant.routes[0];
    assert_eq!(office.called.to_string(), r"+4930*, /^\+4989/");
    assert_eq!(*office.to, [Step::Share([(2, 30), (1, 70)].into())]);
    let rare = office.rare.as_ref().unwrap();
    assert_eq!(rare.name.as_deref(), Some("office hours"));
    assert_eq!(rare.calling.as_ref().unwrap().to_string(), "+4930123450-+4930123455");
    assert_eq!(rare.via, [0]);
    assert_eq!(
        rare.when.as_ref().unwrap().to_string(),
        "mon-fri 08:00-18:00, 12-24 (Europe/Berlin)"
    );
    let rare = tenant.routes[1].rare.as_ref().unwrap();
    assert_eq!(rare.when.as_ref().unwrap().to_string(), "sat,sun (Europe/London)");
    assert_eq!(rare.least_cost, Some(0));
    assert!(tenant.routes[2].rare.is_none(), "the common case is small");
    let sunday = UNIX_EPOCH + std::time::Duration::from_secs(1_795_953_600); // 2026-11-29T12:00Z
    let query = Query {
        tenant: 0,
        from: RouteFrom::Teams,
        via: 0,
        called: "+44207",
        emergency: false,
        calling: "+4930123450",
        at: sunday,
        draw: 0,
    };
    let decision = decide(&loaded.plan, &query, &mut Trace::default()).unwrap();
    assert_eq!((decision.route, decision.trunks), (Some(1), vec![2, 1]), "bt is cheaper");
}

#[test]
fn each_mistake_in_a_route_is_told() {
    let file = "tenants.d/contoso.toml";
    let told = |old: &str, new: &str| {
        full().edit(file, old, new).problems().replace("tenants.d/contoso.toml", "F")
    };
    let cases = [
        (
            "\"mon-fri 08:00-18:00\"",
            "\"mon-fry\"",
            "F:15: route 2: \"mon-fry\" in `when` names a day that is none\nhint: days are mon, tue, wed, thu, fri, sat, sun",
        ),
        (
            "{ colt = 70, bt = 30 }",
            "{ colt = 70, kolt = 30 }",
            "F:17: route 2 names trunk \"kolt\", which does not exist\nhint: did you mean \"colt\"?",
        ),
        (
            "{ colt = 70, bt = 30 }",
            "{ colt = 70 }, \"colt\"",
            "F:17: route 2 names trunk \"colt\" twice",
        ),
        (
            "{ colt = 70, bt = 30 }",
            "{ colt = \"a\" }",
            "F:17: route 2: {...} in `to` has a weight for \"colt\" that is text where a number is expected",
        ),
        (
            "{ colt = 70, bt = 30 }",
            "{ colt = 0 }",
            "F:17: route 2: {...} in `to` shares nothing\nhint: { colt = 70, bt = 30 }",
        ),
        (
            "via = \"teams\"",
            "via = \"colt\"",
            "F:14: route 2: calls from teams do not come in on trunk \"colt\"\nhint: from = \"carrier\"",
        ),
        (
            "\"Europe/London\"",
            "\"Europe/Lodnon\"",
            "F:22: route \"+44*\": `timezone = \"Europe/Lodnon\"` is not a time zone such as \"Europe/Berlin\"\nhint: did you mean \"Europe/London\"?",
        ),
        (
            "timezone = \"Europe/Berlin\"",
            "",
            "F:9: route 2: `when` needs to know whose clock counts\nhint: timezone = \"Europe/Berlin\", here or above the first table",
        ),
        (
            "when = \"sat,sun\"\n",
            "",
            "F:21: route \"+44*\": `timezone` does nothing here: there is no `when`",
        ),
        (
            "least_cost = \"wholesale\"",
            "least_cost = \"wholesail\"",
            "F:23: route \"+44*\" names rates \"wholesail\", which does not exist\nhint: did you mean \"wholesale\"?",
        ),
        (
            "\"/^\\\\+4989/\"",
            "\"/(4989/\"",
            "F:12: route 2: \"/(4989/\" in `match` is no regular expression: unclosed group",
        ),
        (
            "name = \"office hours\"",
            "name = \" \"",
            "F:10: route 2: `name = \" \"` is no label: some words, at most 64 octets",
        ),
    ];
    for (old, new, expected) in cases {
        assert_eq!(told(old, new), expected, "{old:?} -> {new:?}");
    }
}

#[test]
fn emergency_numbers_of_the_country_that_no_route_reaches_are_warned_of() {
    let directory = full().edit("tenants.d/contoso.toml", "emergency = true", "match = \"+2*\"");
    let directory = directory.edit(
        "tenants.d/contoso.toml",
        "match = \"*\"\nto = \"bt\"",
        "match = \"+49*\"\nto = \"bt\"",
    );
    let warnings = directory.load().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        warnings[0].message,
        "emergency number \"110\" of its country is matched by no route from Teams"
    );
}

#[test]
fn a_file_of_rates_is_read_once_for_as_long_as_it_stays() {
    let directory = full();
    let one = directory.load();
    let other = directory.load();
    assert!(Arc::ptr_eq(&one.plan.rates[0].table, &other.plan.rates[0].table));
    assert!(differences(&[], &one, &other).is_empty());
    let directory = directory.with("rates.csv", "+44,colt,0.005\n+44,bt,0.01\n+33,bt,1\n");
    let third = directory.load();
    let differences = differences(&[], &one, &third);
    let told = summary(&differences);
    assert_eq!(told, "host: rates \"wholesale\", content: 2 prices -> 3 prices");
    assert!(!Arc::ptr_eq(&one.plan.rates[0].table, &third.plan.rates[0].table));
    assert_eq!(third.plan.rates[0].offers("+44")[0].trunk, 1, "colt is cheaper now");
}

#[test]
fn what_is_wrong_in_a_file_of_rates_is_told_with_its_line() {
    let told = |rows: &str| full().with("rates.csv", rows).problems();
    assert_eq!(
        told("+44,colt\n+44,colt,x\n"),
        "rates.csv:1: is not prefix,trunk,price\nrates.csv:2: \"x\" is no price such as 0.0125"
    );
    assert_eq!(
        told("+44,colt,1\n+44,kolt,1\n"),
        "rates.csv:2: rates \"wholesale\" names trunk \"kolt\", which does not exist\nhint: did you mean \"colt\"?"
    );
    assert_eq!(
        told("+44,teams,1\n"),
        "rates.csv:1: rates \"wholesale\" names trunk \"teams\", which is Teams itself"
    );
    let missing = full();
    std::fs::remove_file(missing.path.join("rates.csv")).unwrap();
    assert!(missing.problems().contains("rates.csv cannot be read"), "{}", missing.problems());
}
