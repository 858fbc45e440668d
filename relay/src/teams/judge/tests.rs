//! One thing is wrong at a time: the line that says so, its verdict, and what it tells to do.

use super::super::facts::*;
use super::*;
use crate::admin::{DrainRow, InvitedRow, RegionRow};

const FQDN: &str = "contoso.sbc1.example.net";
/// What is made wrong.
type Change<T> = fn(&mut T);

const DAY: Duration = Duration::from_secs(86_400);

/// A host on which everything is as it should be.
fn good() -> Facts {
    let now = SystemTime::UNIX_EPOCH + 365 * 50 * DAY;
    let ours: IpAddr = [203, 0, 113, 10].into();
    let answer =
        Answer { status: 200, reason: "OK".into(), said: None, took: Duration::from_millis(24) };
    let reached = Reached {
        address: "52.114.75.24:5061".into(),
        version: "TLS 1.3".into(),
        suite: "TLS13_AES_256_GCM_SHA384".into(),
        answers: vec![("sbc1.example.net".into(), Ok(answer))],
    };
    let certificate = Certificate {
        name: "wild".into(),
        names: vec!["sbc1.example.net".into(), "*.sbc1.example.net".into()],
        covers: true,
        not_before: now - DAY,
        not_after: now + 90 * DAY,
        for_servers: true,
        rsa: Some(2048),
        chain: 2,
        missing: None,
        public: Some(Ok(())),
        private: false,
    };
    let region =
        RegionRow { region: "eu".into(), proxies: 2, seconds_ago: 9, from: "52.114.75.1".into() };
    let row = FqdnRow {
        trunk: "teams".into(),
        fqdn: "sbc1.example.net".into(),
        tenant: None,
        asks: true,
        up: true,
        answered_seconds_ago: Some(20),
        last: Vec::new(),
        regions: vec![region],
        unseen_seconds: None,
        invited: None,
        called_seconds_ago: None,
    };
    let invited = InvitedRow { status: 200, phrase: None, seconds_ago: 60 };
    let tenant = FqdnRow {
        fqdn: FQDN.into(),
        tenant: Some("contoso".into()),
        asks: false,
        regions: Vec::new(),
        invited: Some(invited),
        called_seconds_ago: Some(30),
        ..row.clone()
    };
    Facts {
        now,
        daemon: Ok(Daemon { fqdns: vec![row, tenant], drains: Vec::new() }),
        clock: Ok(Some(Duration::from_millis(3))),
        trunks: vec![Trunk {
            name: "teams".into(),
            advertise: ours,
            media: ours,
            asks: true,
            sources: "52.112.0.0/14, 52.120.0.0/14".into(),
            targets: vec![Target {
                name: "sip.pstnhub.microsoft.com:5061".into(),
                reached: Ok(reached),
            }],
        }],
        names: vec![Name {
            fqdn: FQDN.into(),
            trunk: "teams".into(),
            known: Known::Derived,
            advertise: ours,
            addresses: Ok(vec![ours]),
            fixed: false,
            port: 5061,
            door: Door::ClosedToStrangers,
            certificate: Some(certificate),
        }],
        tenants: vec![Tenant {
            name: "contoso".into(),
            fqdns: vec![FQDN.into()],
            number: Some("+4930123450".into()),
            suspended: false,
            routes_out: true,
            routes_in: true,
        }],
    }
}

/// The lines that do not pass.
fn wrong(facts: &Facts) -> Vec<Finding> {
    judge(facts).into_iter().filter(|it| it.verdict != Verdict::Pass).collect()
}

/// The one line that does not pass: of this check, with this verdict, and a fix that holds these words.
#[track_caller]
fn only(facts: &Facts, check: &str, verdict: Verdict, words: &str) {
    let wrong = wrong(facts);
    let [one] = wrong.as_slice() else { panic!("{wrong:#?}") };
    assert_eq!((one.check, one.verdict), (check, verdict), "{one:#?}");
    let fix = one.fix.as_deref().unwrap_or_default();
    assert!(fix.contains(words) || one.says.contains(words), "{words:?} is not in {one:#?}");
}

fn name(change: impl FnOnce(&mut Name)) -> Facts {
    let mut facts = good();
    change(&mut facts.names[0]);
    facts
}

fn certificate(change: impl FnOnce(&mut Certificate)) -> Facts {
    name(|name| change(name.certificate.as_mut().unwrap()))
}

fn answered(answer: Result<Answer, String>) -> Facts {
    let mut facts = good();
    facts.trunks[0].targets[0].reached.as_mut().unwrap().answers[0].1 = answer;
    facts
}

fn daemon(change: impl FnOnce(&mut Daemon)) -> Facts {
    let mut facts = good();
    change(facts.daemon.as_mut().unwrap());
    facts
}

/// TDR-MT-012
#[test]
fn all_is_well_and_each_thing_that_was_looked_at_has_a_line_that_passes() {
    let lines = judge(&good());
    assert!(lines.iter().all(|line| line.verdict == Verdict::Pass && line.fix.is_none()));
    let checks: Vec<&str> = lines.iter().map(|line| line.check).collect();
    for check in [
        "daemon",
        "clock",
        "address",
        "reach teams",
        "options",
        "dns",
        "port",
        "certificate",
        "seen by teams",
        "tenant",
        "calls",
    ] {
        assert!(checks.contains(&check), "{check}");
    }
}

/// TDR-DNS-007 TDR-MT-012
#[test]
fn a_name_leads_nowhere_elsewhere_or_to_two_places() {
    let ours: IpAddr = [203, 0, 113, 10].into();
    let other: IpAddr = [203, 0, 113, 11].into();
    let record = "contoso.sbc1.example.net. A 203.0.113.10";
    for addresses in [
        Err("there is no such record".to_owned()),
        Ok(Vec::new()),
        Ok(vec![other]),
        Ok(vec![ours, other]),
    ] {
        only(&name(|it| it.addresses = addresses), "dns", Verdict::Fail, record);
    }
    // Where we are behind a NAT and do not say where, nothing can be compared.
    let mut facts = name(|it| it.advertise = [10, 0, 0, 5].into());
    facts.names[0].addresses = Ok(vec![other]);
    only(&facts, "dns", Verdict::Warn, "advertise");
}

/// TDR-DNS-009
#[test]
fn a_host_on_ipv6_needs_a_record_of_that_kind() {
    let v6: IpAddr = "2001:db8::10".parse().unwrap();
    let facts = name(|it| it.advertise = v6);
    only(&facts, "dns", Verdict::Fail, "AAAA 2001:db8::10");
    let both = name(|it| {
        it.advertise = v6;
        it.addresses = Ok(vec![[203, 0, 113, 10].into(), v6]);
    });
    assert!(wrong(&both).is_empty(), "one of each kind is one of its kind");
}

#[test]
fn nobody_is_behind_the_port_or_somebody_else() {
    for (door, verdict, words) in [
        (Door::Refused, Verdict::Fail, "is tollgate running"),
        (Door::Silent("nothing came in time".into()), Verdict::Warn, "52.112.0.0/14"),
        (Door::Untried, Verdict::Warn, "dns"),
        (Door::Unannounced("permission denied".into()), Verdict::Warn, "run this as root"),
        (Door::Failed("HandshakeFailure".into()), Verdict::Fail, "TLS 1.2"),
    ] {
        only(&name(|it| it.door = door), "port", verdict, words);
    }
    let shown = |covers| Door::Shown { version: "TLS 1.2".into(), suite: "X".into(), covers };
    only(&name(|it| it.door = shown(false)), "port", Verdict::Fail, "not for contoso");
    assert!(wrong(&name(|it| it.door = shown(true))).is_empty());
}

/// TDR-CRT-002 TDR-CRT-004 TDR-CRT-005 TDR-CRT-006 TDR-MON-003
#[test]
fn a_certificate_that_microsoft_would_not_take_is_told_before_it_is_shown() {
    let fails: [(Change<Certificate>, &str); 6] = [
        (|it| it.covers = false, "wildcard"),
        (|it| it.for_servers = false, "serverAuth"),
        (|it| it.rsa = None, "RSA"),
        (|it| it.rsa = Some(1024), "2048"),
        (|it| it.not_after = it.not_before, "renew"),
        (|it| it.public = Some(Err("unknown issuer".into())), "chain file"),
    ];
    for (change, words) in fails {
        only(&certificate(change), "certificate", Verdict::Fail, words);
    }
    // Once, and not as a chain that is not whole.
    let expired = certificate(|it| {
        it.not_after = it.not_before;
        it.public = Some(Err("expired".into()));
    });
    only(&expired, "certificate", Verdict::Fail, "renew it");
    let issuer = certificate(|it| it.public = Some(Err("expired".into())));
    only(&issuer, "certificate", Verdict::Fail, "one of its issuers has expired");
    let soon = certificate(|it| it.not_after = it.not_before + 30 * DAY);
    only(&soon, "certificate", Verdict::Warn, "expires in 29 days");
    let lab = certificate(|it| {
        it.public = Some(Err("unknown issuer".into()));
        it.private = true;
    });
    only(&lab, "certificate", Verdict::Warn, "public authorities");
    let bare = certificate(|it| it.public = None);
    only(&bare, "certificate", Verdict::Warn, "ca-certificates");
    let pending = certificate(|it| {
        it.missing = Some("it has not been issued yet".into());
        (it.rsa, it.public) = (None, Some(Err("unknown issuer".into())));
    });
    only(&pending, "certificate", Verdict::Warn, "tollgate alarms");
}

/// TDR-OPT-009 TDR-MT-013
#[test]
fn microsoft_answers_options_otherwise_than_it_should() {
    let coded = |status: u16, sub_code: Option<u32>| {
        let phrase = Some("Not found".to_owned());
        let said = Microsoft { status: Some(status), phrase, sub_code, ..Microsoft::default() };
        let (reason, took) = ("Forbidden".to_owned(), Duration::from_millis(5));
        Ok(Answer { status, reason, said: Some(said), took })
    };
    let said = |status| coded(status, None);
    only(&answered(said(403)), "options", Verdict::Fail, "New-CsOnlinePSTNGateway");
    only(&answered(said(503)), "options", Verdict::Warn, "datacentre");
    only(&answered(said(404)), "options", Verdict::Fail, "docs/teams.md");
    only(&answered(coded(504, Some(569_008))), "options", Verdict::Fail, "renew it");
    only(&answered(Err("none in time".into())), "options", Verdict::Fail, "onboard");
    let slow = Answer { took: Duration::from_secs(2), ..said(200).unwrap() };
    only(&answered(Ok(slow)), "options", Verdict::Warn, "congested");
    let mut off = good();
    off.trunks[0].asks = false;
    only(&off, "options", Verdict::Fail, "options_interval");
}

#[test]
fn microsoft_cannot_be_reached_or_does_not_take_us() {
    for (trouble, words) in [
        (Trouble::Unresolved("DNS does not answer".into()), "resolv.conf"),
        (Trouble::Unreachable("nothing came in time".into()), "let TCP out"),
        (Trouble::Tls("received fatal alert: CertificateUnknown".into()), "our certificate"),
        (Trouble::Tls("invalid peer certificate: UnknownIssuer".into()), "certificates.md"),
        (Trouble::Tls("certificate not valid for name".into()), "proxy"),
    ] {
        let mut facts = good();
        facts.trunks[0].targets[0].reached = Err(trouble);
        only(&facts, "reach teams", Verdict::Fail, words);
    }
}

/// TDR-OPT-024
#[test]
fn microsoft_takes_our_options_and_sends_none() {
    let unseen = daemon(|it| it.fqdns[0].unseen_seconds = Some(420));
    only(&unseen, "seen by teams", Verdict::Fail, "firewall");
    let one_region = daemon(|it| {
        let us =
            RegionRow { region: "us".into(), seconds_ago: 900, ..it.fqdns[0].regions[0].clone() };
        it.fqdns[0].regions.push(us);
    });
    only(&one_region, "seen by teams", Verdict::Warn, "users in us");
    let soon = daemon(|it| it.fqdns[0].regions.clear());
    only(&soon, "seen by teams", Verdict::Warn, "wait");
    let down = daemon(|it| {
        it.fqdns[0].regions.clear();
        it.fqdns[0].up = false;
    });
    only(&down, "seen by teams", Verdict::Warn, "options");
}

/// TDR-MT-012 TDR-MT-013
#[test]
fn the_first_call_to_teams_says_what_is_missing_there() {
    for (status, verdict, words) in [
        (403, Verdict::Fail, "licensed user"),
        (404, Verdict::Warn, "Set-CsPhoneNumberAssignment"),
        (488, Verdict::Fail, "SRTP"),
        (500, Verdict::Warn, "docs/teams.md"),
    ] {
        let facts = daemon(|it| it.fqdns[1].invited.as_mut().unwrap().status = status);
        only(&facts, "calls", verdict, words);
    }
    for status in [480, 486, 603] {
        let facts = daemon(|it| it.fqdns[1].invited.as_mut().unwrap().status = status);
        assert!(wrong(&facts).is_empty(), "{status} is what a user does");
    }
    let none = daemon(|it| it.fqdns[1].invited = None);
    only(&none, "calls", Verdict::Warn, "call +4930123450 from outside");
    let silent = daemon(|it| it.fqdns[1].called_seconds_ago = None);
    only(&silent, "calls", Verdict::Warn, "dial out");
}

#[test]
fn the_daemon_does_not_run_drains_or_lives_without_a_clock() {
    let mut facts = good();
    facts.daemon = Err("admin.sock: No such file".into());
    only(&facts, "daemon", Verdict::Warn, "left out");
    let drain = |tenant: Option<&str>| DrainRow {
        tenant: tenant.map(str::to_owned),
        seconds: 5,
        ends_in_seconds: None,
        calls: 0,
        text: "no new calls".into(),
    };
    let host = daemon(|it| it.drains = vec![drain(None)]);
    only(&host, "drain", Verdict::Warn, "tollgate drain --cancel");
    let tenant = daemon(|it| it.drains = vec![drain(Some("contoso"))]);
    only(&tenant, "drain", Verdict::Warn, "--tenant contoso");
    for clock in [Ok(None), Ok(Some(Duration::from_secs(16))), Err("not permitted".into())] {
        only(&Facts { clock, ..good() }, "clock", Verdict::Warn, "chrony");
    }
}

#[test]
fn an_address_that_only_this_side_of_a_nat_knows_is_told() {
    for (address, verdict) in [
        ("10.0.0.5", Verdict::Fail),
        ("192.168.1.2", Verdict::Fail),
        ("100.64.0.1", Verdict::Fail),
        ("fd00::1", Verdict::Fail),
        ("127.0.0.1", Verdict::Warn),
    ] {
        let mut facts = good();
        facts.trunks[0].media = address.parse().unwrap();
        only(&facts, "address", verdict, "[[media.address]] advertise");
    }
}

#[test]
fn a_tenant_whose_calls_lead_nowhere_is_told() {
    let changes: [(Change<Tenant>, Verdict, &str); 4] = [
        (|it| it.suspended = true, Verdict::Warn, "suspended"),
        (|it| it.number = None, Verdict::Warn, "numbers"),
        (|it| it.routes_out = false, Verdict::Fail, "from = \"teams\""),
        (|it| it.routes_in = false, Verdict::Fail, "from = \"carrier\""),
    ];
    for (change, verdict, words) in changes {
        let mut facts = good();
        change(&mut facts.tenants[0]);
        only(&facts, "tenant", verdict, words);
    }
}
