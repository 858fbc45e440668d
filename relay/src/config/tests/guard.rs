//! Limits, ceilings, failover and breakers as they are read, and what is told of those that do not hold.

use super::{CONTOSO, Directory, HOST};
use std::time::Duration;

const TENANT: &str = "tenants.d/contoso.toml";

/// The sample with more in both of its files: the host's after its last trunk.
fn with(host: &str, tenant: &str) -> Directory {
    Directory::sample()
        .with("tollgate.toml", &format!("{HOST}{host}"))
        .with(TENANT, &format!("{CONTOSO}{tenant}"))
}

#[test]
fn limits_by_direction_ceilings_failover_and_breaker_become_a_plan() {
    let directory = with(
        r#"failover = ["408", "5xx"]
answer_timeout = "1500ms"
[trunk.limits]
burst = 30
calls_per_second = 10
in = { calls = 5 }
out.calls_per_second = 3
[trunk.breaker]
pause = "10s"
[[class]]
name = "premium"
prefixes = ["+49700*"]
[[class]]
name = "islands"
prefixes = ["+1876", "+1809"]
"#,
        r#"failover = ["486"]
answer_timeout = "5s"
[[fraud]]
class = "international"
minutes_per_day = 60
alarm_at = 0.5
[[fraud]]
class = "premium"
calls_per_hour = 0
[[fraud]]
class = "islands"
calls_per_day = 7
"#,
    )
    .edit(TENANT, "fqdns", "country = \"DE\"\nsuspended = true\nfqdns")
    .edit(
        TENANT,
        "calls = 200",
        "from_teams.burst = 4\nfrom_teams.calls_per_second = 2\ncalls = 200",
    );
    let loaded = directory.load();
    let (bt, contoso) = (&loaded.plan.trunks[2], &loaded.plan.tenants[0]);
    assert_eq!(bt.limits.rate(), Some((10, 30)));
    assert_eq!((bt.limits_in.calls, bt.limits_out.rate()), (Some(5), Some((3, 3))));
    let failover = bt.failover.as_ref().unwrap();
    assert!(failover.holds(500) && failover.holds(408) && !failover.holds(401));
    assert_eq!(bt.answer_timeout, Some(Duration::from_millis(1500)));
    let breaker = bt.breaker.unwrap();
    assert_eq!((breaker.failures, breaker.pause), (5, Duration::from_secs(10)));
    assert!(loaded.plan.trunks[1].breaker.is_none());

    assert!(contoso.suspended);
    assert_eq!(contoso.limits_from_teams.rate(), Some((2, 4)));
    assert_eq!(contoso.limits_from_carrier.rate(), None);
    let route = contoso.routes.last().unwrap();
    assert!(route.failover().unwrap().holds(486));
    assert_eq!(route.answer_timeout(), Some(Duration::from_secs(5)));
    let [abroad, premium, islands] = &contoso.fraud[..] else { panic!("three ceilings") };
    assert_eq!((abroad.minutes_per_day, abroad.alarm_at), (Some(60), 0.5));
    assert!(abroad.class.holds("+442079460000") && !abroad.class.holds("+4989123456"));
    assert!(premium.class.holds("+49900123456") && premium.class.holds("+49700123"));
    assert_eq!((premium.calls_per_hour, premium.alarm_at), (Some(0), 0.8));
    assert!(islands.class.holds("+18765550100") && !islands.class.holds("+12125550100"));
}

#[test]
fn what_does_not_hold_is_told_with_a_way_out() {
    for (host, tenant, told) in [
        (
            "[trunk.limits]\nburst = 3\n",
            "",
            "tollgate.toml:54: trunk \"bt\", limits: `burst` does nothing here: it is what may come at once of `calls_per_second`, which is missing",
        ),
        (
            "failover = [\"2xx\", \"487\", \"6xx\", \"5\", 503]\n",
            "",
            "tollgate.toml:53: trunk \"bt\": \"2xx\" in `failover` is no failure\n\
             tollgate.toml:53: trunk \"bt\": \"487\" in `failover` is what the caller's own hang-up leads to\n\
             tollgate.toml:53: trunk \"bt\": \"5\" in `failover` is no status such as \"503\" or \"5xx\"\n\
             tollgate.toml:53: trunk \"bt\": \"6xx\" in `failover` is what the subscriber has decided for all his places\n\
             hint: name the ones that are meant, such as \"604\"\n\
             tollgate.toml:53: trunk \"bt\": 503 in `failover` is a number where text is expected\n\
             hint: put it in quotes: \"503\"",
        ),
        (
            "answer_timeout = \"60s\"\n",
            "",
            "tollgate.toml:53: trunk \"bt\": `answer_timeout = \"60s\"` is not between 500ms and 30s",
        ),
        (
            "[[class]]\nname = \"dear\"\nprefixes = [\"0900\", \"+0\"]\n",
            "",
            "tollgate.toml:55: class \"dear\": \"+0\" in `prefixes` is not the beginning of a number in E.164, such as \"+49900\"\n\
             tollgate.toml:55: class \"dear\": \"0900\" in `prefixes` is not the beginning of a number in E.164, such as \"+49900\"",
        ),
        (
            "",
            "[[fraud]]\nclass = \"premum\"\ncalls_per_day = 1\n",
            "tenants.d/contoso.toml:15: fraud \"premum\": there is no class \"premum\"\nhint: did you mean \"premium\"?",
        ),
        (
            "",
            "[[fraud]]\nclass = \"international\"\ncalls_per_day = 1\n",
            "tenants.d/contoso.toml:14: fraud \"international\": the tenant has no country to be outside of\nhint: country = \"DE\", here above the first table or under [node]",
        ),
        (
            "",
            "[[fraud]]\nclass = \"satellite\"\nalarm_at = 80\n",
            "tenants.d/contoso.toml:14: fraud \"satellite\": sets no ceiling\n\
             hint: at least one of calls_per_hour, calls_per_day, minutes_per_hour, minutes_per_day\n\
             tenants.d/contoso.toml:16: fraud \"satellite\": `alarm_at = 80` is not between 0 and 1\n\
             hint: 0.8 is four fifths of a ceiling",
        ),
        (
            "",
            "[[fraud]]\nclass = \"premium\"\ncalls_per_day = 1\n[[fraud]]\nclass = \"premium\"\ncalls_per_hour = 1\n",
            "tenants.d/contoso.toml:18: fraud \"premium\": stands twice; write all its ceilings in one",
        ),
    ] {
        assert_eq!(with(host, tenant).problems(), told);
    }
}
