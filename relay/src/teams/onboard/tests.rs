//! Guides for the carrier's model, the classic one, and a tenant whose name is the host's.

use super::*;
use b2bua::plan::{
    Limits, Listener, Model, Node, NumberRange, Pattern, Route, TargetName, Transport, Trunk,
};

fn plan() -> Plan {
    let listener = |name: &str, port: u16| Listener {
        name: name.into(),
        transport: Transport::Tls,
        bind: ([0, 0, 0, 0], port).into(),
        advertise: ([203, 0, 113, 10], port).into(),
        certificate: Some("wild".into()),
    };
    let trunk = |name: &str, kind, listener| Trunk {
        name: name.into(),
        kind,
        listener,
        targets: vec![TargetName { host: "sip.pstnhub.microsoft.com".into(), port: Some(5061) }],
        ..Trunk::default()
    };
    let bypass = Trunk {
        ice: IcePolicy::Bypass,
        fqdn: Some("bypass.example.net".into()),
        ..trunk("bypass", TrunkKind::Teams, 1)
    };
    Plan {
        node: Node { fqdn: "sbc1.example.net".into(), calls_max: 4000, ..Node::default() },
        listeners: vec![listener("teams", 5068), listener("bypass", 5069)].into(),
        trunks: vec![
            trunk("teams", TrunkKind::Teams, 0),
            trunk("colt", TrunkKind::Carrier, 0),
            bypass,
        ]
        .into(),
        ..Plan::default()
    }
}

fn tenant(model: Model, fqdn: &str, teams: usize) -> Tenant {
    let route = |from, to: usize| Route {
        from,
        called: "*".parse::<Pattern>().unwrap().into(),
        to: vec![to].into(),
        ..Route::default()
    };
    Tenant {
        name: "contoso".into(),
        model,
        fqdns: vec![fqdn.into()],
        numbers: vec![NumberRange { first: 4_930_123_450, last: 4_930_123_459, digits: 10 }],
        limits: Limits { calls: Some(200), ..Limits::default() },
        routes: vec![route(RouteFrom::Teams, 1), route(RouteFrom::Carrier, teams)],
        emergency: vec!["112".into()],
        ..Tenant::default()
    }
}

fn commands(guide: &Guide) -> String {
    let lines: Vec<&str> =
        guide.steps.iter().flat_map(|step| &step.powershell).map(String::as_str).collect();
    lines.join("\n")
}

/// TDR-MT-006 TDR-MT-012 TDR-DNS-007 TDR-DNS-010
#[test]
fn a_name_below_the_carriers_trunk_gets_records_and_routes_and_no_gateway_of_its_own() {
    let contoso = tenant(Model::Carrier, "contoso.sbc1.example.net", 0);
    let guide = guide(&plan(), &contoso, Some("o'brien@contoso.com"));
    let records: Vec<(&str, &str, &str)> =
        guide.records.iter().map(|it| (it.name.as_str(), it.kind, it.value.as_str())).collect();
    assert_eq!(
        records,
        [
            ("sbc1.example.net.", "A", "203.0.113.10"),
            ("contoso.sbc1.example.net.", "A", "203.0.113.10"),
            ("contoso.sbc1.example.net.", "TXT", TXT),
        ]
    );
    let commands = commands(&guide);
    for line in [
        "New-CsOnlinePSTNGateway -Fqdn 'sbc1.example.net' -SipSignalingPort 5068 -MaxConcurrentSessions 4000 \
         -MediaBypass $false -ForwardPai $true -ForwardCallHistory $true -SendSipOptions $true \
         -PidfLoSupported $true -Enabled $true",
        "Get-MgDomainVerificationDnsRecord -DomainId 'contoso.sbc1.example.net' | Format-List",
        "New-CsOnlineVoiceRoute -Identity 'Tollgate' -NumberPattern '.*' \
         -OnlinePstnGatewayList 'contoso.sbc1.example.net' -Priority 1 -OnlinePstnUsages 'Tollgate'",
        "$numbers += New-CsTeamsEmergencyNumber -EmergencyDialString '112' -EmergencyDialMask '112' \
         -OnlinePSTNUsage 'Tollgate'",
        "Set-CsPhoneNumberAssignment -Identity 'o''brien@contoso.com' -PhoneNumber '+4930123450' \
         -PhoneNumberType DirectRouting",
    ] {
        assert!(commands.contains(line), "{line}\nis not in\n{commands}");
    }
    assert_eq!(commands.matches("New-CsOnlinePSTNGateway").count(), 1);
    let text = guide.text();
    assert!(text.contains("up to 24 hours") && text.contains("tollgate teams doctor contoso"));
    assert!(
        text.contains("Azure Communication Services") && text.contains("drain --tenant contoso")
    );
}

/// TDR-MT-006 TDR-MT-011
#[test]
fn a_trunk_in_the_customers_own_tenant_is_set_up_there_with_its_port_and_media() {
    let own = tenant(Model::Classic, "sbc.contoso.com", 2);
    let guide = guide(&plan(), &own, None);
    let commands = commands(&guide);
    assert!(
        commands.contains(
            "New-CsOnlinePSTNGateway -Fqdn 'sbc.contoso.com' -SipSignalingPort 5069 \
             -MaxConcurrentSessions 200 -MediaBypass $true"
        ),
        "{commands}"
    );
    assert!(guide.steps.iter().all(|step| step.whose != CARRIER));
    assert!(guide.records.iter().all(|it| it.name == "sbc.contoso.com."));
    assert!(commands.contains("-Identity 'USER@DOMAIN'"));
}

/// TDR-MT-009
#[test]
fn a_host_of_one_customer_in_the_government_cloud_is_its_own_trunk_there() {
    let mut plan = plan();
    let mut teams = plan.trunks.first().unwrap().clone();
    teams.targets =
        vec![TargetName { host: "sip.pstnhub.gov.teams.microsoft.us".into(), port: Some(5061) }];
    plan.trunks = vec![teams].into();
    let own = tenant(Model::Carrier, "sbc1.example.net", 0);
    let guide = guide(&plan, &own, None);
    let commands = commands(&guide);
    assert!(commands.contains("Connect-MicrosoftTeams -TeamsEnvironmentName TeamsGCCH"));
    assert!(commands.contains("-Fqdn 'sbc1.example.net'"));
    assert!(!commands.contains("New-MgDomain"), "it is a domain of the tenant's already");
}
