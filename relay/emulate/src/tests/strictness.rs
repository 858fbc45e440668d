//! What the strict Teams side refuses, asked with messages as a wrong border controller writes them.

use super::pipe::{TENANT, at, carrier_address, ms, teams, teams_address, teams_agent};
use crate::{Agent, Behaviour, Event, Health, Hop, Input, Output, Script, Tenant, Transport};
use bytes::Bytes;
use sip_core::Message;

const GOOD_SDP: &str = "v=0\r\n\
    o=- 1700000002 1 IN IP4 127.0.0.1\r\n\
    s=-\r\n\
    c=IN IP4 127.0.0.1\r\n\
    t=0 0\r\n\
    m=audio 20002 RTP/SAVP 8 0 101 13\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:V/Lr6Lsvhad/crSB9kCQ28jrYDxR2Yfk5bXryH5V|2^31\r\n\
    a=rtcp:20002\r\n\
    a=rtcp-mux\r\n\
    a=ptime:20\r\n\
    a=sendrecv\r\n";

/// Fixture F-05, and F-01 for OPTIONS.
fn good(method: &str) -> String {
    let (uri, user) = match method {
        "OPTIONS" => ("sip:sip.pstnhub.microsoft.com:5061;transport=tls".to_owned(), ""),
        _ => {
            let number = "sip:+498912345611@sip.pstnhub.microsoft.com:5061";
            (format!("{number};user=phone;transport=tls"), "+498955501234@")
        }
    };
    let mut text = format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/TLS {TENANT}:5060;branch=z9hG4bKac9911223344\r\n\
         Max-Forwards: 68\r\n\
         From: <sip:{user}{TENANT}>;tag=1c747237679\r\n\
         To: <sip:sip.pstnhub.microsoft.com>\r\n\
         Call-ID: 1a2b3c4d5e6f\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:{user}{TENANT}:5060;transport=tls>\r\n\
         Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY\r\n"
    );
    if method == "INVITE" {
        text += "Content-Type: application/sdp\r\n\r\n";
        text += GOOD_SDP;
    } else {
        text += "\r\n";
    }
    text
}

fn agent() -> Agent {
    teams_agent(teams(Script::always(Behaviour::answer_after(ms(1000)))))
}

/// Hands the agent a message; what it says to it.
fn ask(agent: &mut Agent, endpoint: u16, text: &str) -> Vec<String> {
    let message = Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
    let hop = Hop {
        transport: Transport::Tls,
        local: teams_address(endpoint),
        remote: carrier_address(),
        server_name: None,
        flow: Some(7),
    };
    agent.handle_input(at(ms(0)), Input::Message { hop, message });
    agent.handle_timeout(at(ms(0)));
    said(agent)
}

fn said(agent: &mut Agent) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(output) = agent.poll_output() {
        if let Output::Send { bytes, .. } = output {
            said.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
    }
    said
}

fn status(text: &str) -> u16 {
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The final answer, and the rules that were broken.
fn judged(text: &str) -> (u16, String, Vec<&'static str>) {
    let mut agent = agent();
    let said = ask(&mut agent, 0, text);
    let last = said.iter().rfind(|text| text.starts_with("SIP/2.0")).unwrap().clone();
    let rules = agent.violations().iter().map(|violation| violation.rule).collect();
    (status(&last), last, rules)
}

#[test]
fn what_is_right_is_not_complained_of() {
    let (status, _, rules) = judged(&good("INVITE"));
    assert_eq!((status, rules), (180, vec![]));
    let (status, _, rules) = judged(&good("OPTIONS"));
    assert_eq!((status, rules), (200, vec![]));
}

/// What is refused, with status and sub-code: TDR-OPT-003, TDR-OUT-001, TDR-OUT-003, TDR-OUT-008,
/// TDR-OUT-009, TDR-OUT-010, TDR-OUT-011, TDR-MED-001, TDR-SDP-004, TDR-SDP-010, TDR-HLD-001.
#[test]
fn what_microsoft_refuses() {
    let invite = good("INVITE");
    let contact = format!("Contact: <sip:+498955501234@{TENANT}:5060;transport=tls>\r\n");
    let crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80";
    for (from, to, status, sub_code, rule) in [
        (&contact[..], "Contact: <sip:203.0.113.10:5060;transport=tls>\r\n", 403, 0, "TDR-OPT-003"),
        (&contact, "", 400, 0, "TDR-OPT-003"),
        (&contact, "Contact: <sip:a.example;transport=tls>\r\n", 403, 510_532, "TDR-OUT-003"),
        ("Max-F", "Record-Route: <sip:10.0.0.1;lr>\r\nMax-F", 403, 0, "TDR-OPT-003"),
        ("Max-F", "Replaces: a;from-tag=b;to-tag=c\r\nMax-F", 420, 560_420, "TDR-OUT-008"),
        ("Max-F", "Require: 100rel\r\nMax-F", 420, 560_420, "TDR-OUT-011"),
        ("sip:+4989", "sip:4989", 404, 511_404, "TDR-OUT-001"),
        ("RTP/SAVP", "RTP/AVP", 488, 531_000, "TDR-MED-001"),
        ("RTP/SAVP 8 0 101", "RTP/SAVP 8 0 8 101", 488, 531_000, "TDR-SDP-010"),
        ("a=rtpmap:8 ", "a=rtpmap:18 ", 488, 531_000, "TDR-SDP-010"),
        ("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0", 488, 531_052, "TDR-HLD-001"),
        (crypto, "a=x-crypto:1 AES_CM_128_HMAC_SHA1_80", 488, 531_000, "TDR-SDP-004"),
        ("V/Lr6Lsvhad/crSB9kCQ28jrYDxR2Yfk5bXryH5V", "V/Lr6Lsv", 488, 531_000, "TDR-SDP-004"),
        (crypto, "a=crypto:1 F8_128_HMAC_SHA1_80", 488, 531_000, "TDR-SDP-004"),
        (GOOD_SDP, "", 488, 531_000, "TDR-OUT-009"),
        ("application/sdp", "multipart/mixed", 415, 540_415, "TDR-OUT-010"),
    ] {
        let bad = invite.replacen(from, to, 1);
        assert_ne!(bad, invite, "{from}");
        let (got, answer, rules) = judged(&bad);
        assert_eq!(got, status, "{to}: {answer}");
        assert!(rules.contains(&rule), "{to}: {rules:?}");
        assert!(answer.contains("\r\nREASON: Q.850;cause="), "{answer}");
        let told = format!(" ({sub_code})\"\r\n");
        assert_eq!(answer.contains(&told), sub_code != 0, "{to}: {answer}");
    }
}

/// Methods that Microsoft does not know get 405 with its Allow (TDR-DLG-001).
#[test]
fn methods_that_microsoft_does_not_know() {
    for method in ["UPDATE", "INFO", "REFER", "PRACK", "MESSAGE", "SUBSCRIBE"] {
        let (got, answer, rules) = judged(&good(method));
        assert_eq!((got, &rules[..]), (405, &["TDR-DLG-001"][..]), "{method}");
        assert!(answer.contains("\r\nALLOW: INVITE,ACK,OPTIONS,CANCEL,BYE,NOTIFY\r\n"), "{answer}");
    }
}

#[test]
fn missing_contact_is_told_in_microsofts_words() {
    let options = good("OPTIONS");
    let contact = format!("Contact: <sip:{TENANT}:5060;transport=tls>\r\n");
    let (status, answer, _) = judged(&options.replace(&contact, ""));
    assert_eq!(status, 400);
    assert!(answer.contains(";Record-Route and Contact headers are missing\""), "{answer}");
    // Recognised by its Record-Route, which it should not have either.
    let route = format!("Record-Route: <sip:{TENANT}:5060;transport=tls;lr>\r\n");
    let (status, _, rules) = judged(&options.replace(&contact, &route));
    assert_eq!((status, &rules[..]), (200, &["TDR-OPT-003", "TDR-OUT-007"][..]));
}

/// TDR-OUT-006.
#[test]
fn public_address_in_via_is_borne_and_a_private_one_is_told() {
    for (address, right) in [
        ("195.189.192.1", true),
        ("[2001:db8::1]", true),
        ("172.16.0.1", false),
        ("100.64.0.1", false),
        ("[fd00::1]", false),
    ] {
        let via = format!("TLS {address}");
        let (status, _, rules) = judged(&good("OPTIONS").replace(&format!("TLS {TENANT}"), &via));
        assert_eq!(status, 200);
        assert_eq!(rules.is_empty(), right, "{address}: {rules:?}");
    }
}

#[test]
fn what_microsoft_bears_is_written_down() {
    let invite = good("INVITE");
    for (from, to, rule) in [
        ("5061;user=phone", "5061", "TDR-OUT-001"),
        ("@sip.pstn", "@sip2.pstn", "TDR-OUT-001"),
        (":5060;transport=tls>", ":5060>", "TDR-OUT-002"),
        (":5060;transport=tls>", ":5099;transport=tls>", "TDR-OUT-002"),
        ("From: <sip:+498955501234@", "From: <sip:+498955501234@a.", "TDR-OUT-004"),
        ("TLS woodgrovebank.sbc1.adatum.biz", "TLS 10.0.0.1", "TDR-OUT-006"),
        (", NOTIFY", "", "TDR-OUT-012"),
        ("Max-F", "P-Charging-Vector: x\r\nMax-F", "TDR-OUT-010"),
        ("Max-F", "Supported: 100rel\r\nMax-F", "TDR-OUT-011"),
        ("Max-F", "P-Asserted-Identity: <tel:+4930>\r\nMax-F", "TDR-PRI-006"),
        ("Max-F", "Remote-Party-ID: <sip:+4930@a.example>\r\nMax-F", "TDR-PRI-006"),
        ("Max-F", "Privacy: id\r\nMax-F", "TDR-PRI-006"),
        ("Max-F", "P-Early-Media: supported\r\nMax-F", "TDR-OUT-010"),
        ("Max-F", "Geolocation: <cid:a@b>\r\nMax-F", "TDR-EMG-007"),
        ("From: <sip:+498955501234@", "From: <sip:anonymous@", "TDR-OUT-015"),
        ("Max-F", "History-Info: <sip:+4930@10.0.0.1>;index=1\r\nMax-F", "TDR-FWD-002"),
        (
            "Max-F",
            "History-Info: <sip:+4930@woodgrovebank.sbc1.adatum.biz>\r\nMax-F",
            "TDR-FWD-001",
        ),
        ("Max-F", "Record-Route: <sip:woodgrovebank.sbc1.adatum.biz;lr>\r\nMax-F", "TDR-OUT-007"),
        ("a=rtcp-mux\r\n", "", "TDR-SDP-006"),
        ("a=rtcp:20002\r\n", "", "TDR-SDP-006"),
        ("a=ptime:20\r\n", "a=silenceSupp:off\r\n", "TDR-SDP-012"),
        ("a=crypto:1", "a=crypto:4", "TDR-SDP-002"),
        ("|2^31", "|2^31|1:1", "TDR-SDP-005"),
    ] {
        let bad = invite.replacen(from, to, 1);
        assert_ne!(bad, invite, "{from}");
        let (status, answer, rules) = judged(&bad);
        assert_eq!((status, &rules[..]), (180, &[rule][..]), "{to}: {answer}");
    }
}

#[test]
fn teams_sends_options_only_to_whom_it_had_options_from() {
    let mut agent = agent();
    assert_eq!(agent.poll_timeout(), None);
    let said = ask(&mut agent, 1, &good("OPTIONS").replace("sip.pstn", "sip2.pstn"));
    let [answer, ours] = &said[..] else { panic!("{said:#?}") };
    assert!(answer.starts_with("SIP/2.0 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nTO: <sip:sip2.pstnhub.microsoft.com>\r\n"), "no tag: {answer}");
    assert!(ours.starts_with(&format!("OPTIONS sip:{TENANT}:5060;transport=tls SIP/2.0\r\n")));
    agent.handle_timeout(at(ms(59_000)));
    assert_eq!(said_of(&mut agent, "OPTIONS"), 0);
    agent.handle_timeout(at(ms(60_000)));
    assert_eq!(said_of(&mut agent, "OPTIONS"), 1);
}

fn said_of(agent: &mut Agent, start: &str) -> usize {
    said(agent).iter().filter(|text| text.starts_with(start)).count()
}

#[test]
fn dead_endpoint_is_silent_and_draining_one_says_when_to_come_back() {
    let mut agent = agent();
    agent.set_health("sip.pstnhub.microsoft.com", Health::Dead);
    agent.set_health("sip2.pstnhub.microsoft.com", Health::Draining);
    assert_eq!(ask(&mut agent, 0, &good("INVITE")), Vec::<String>::new());
    let said = ask(&mut agent, 1, &good("INVITE").replace("@sip.", "@sip2."));
    let refused = said.last().unwrap();
    assert_eq!(status(refused), 503);
    assert!(refused.contains("\r\nRETRY-AFTER: 1\r\n"), "{refused}");
    let said = ask(&mut agent, 2, &good("OPTIONS"));
    assert_eq!(status(&said[0]), 200);
}

#[test]
fn lost_ack_is_a_violation_and_ends_the_call() {
    let mut agent = agent();
    ask(&mut agent, 0, &good("INVITE"));
    let mut now = ms(0);
    while let Some(due) = agent.poll_timeout() {
        now = now.max(due - super::zero());
        if now > ms(40_000) {
            break;
        }
        agent.handle_timeout(at(now));
        while let Some(output) = agent.poll_output() {
            if let Output::Event(Event::Ended { by_us, .. }) = output {
                assert!(by_us);
                assert_eq!(agent.violations()[0].rule, "TDR-DLG-040");
                return;
            }
        }
    }
    panic!("the call goes on without ACK");
}

/// The FQDN in Contact is checked against the certificate of the connection, whose wildcard stands
/// for one label (TDR-CON-005, TDR-CRT-004).
#[test]
fn certificate_that_does_not_cover_the_contact_is_refused() {
    let parent = TENANT.split_once('.').unwrap().1;
    for (names, right) in [
        (vec![TENANT.to_owned()], true),
        (vec![format!("*.{parent}"), parent.to_owned()], true),
        (vec![parent.to_owned()], false),
        (vec![format!("*.{}", parent.split_once('.').unwrap().1)], false),
        (vec![], false),
    ] {
        let mut agent = agent();
        agent.handle_input(at(ms(0)), Input::Shown { flow: 7, names: names.clone() });
        let said = ask(&mut agent, 0, &good("OPTIONS"));
        let answer = &said[0];
        assert_eq!(status(answer), if right { 200 } else { 403 }, "{names:?}: {answer}");
        let rules: Vec<_> = agent.violations().iter().map(|violation| violation.rule).collect();
        assert_eq!(rules.contains(&"TDR-CON-005"), !right, "{names:?}");
        assert_eq!(answer.contains("No trunk config was found (510532)"), !right, "{answer}");
    }
}

/// A border controller behind a proxy that records its route is seen on the proxy's connection (TDR-CON-005).
#[test]
fn border_controller_behind_a_proxy_is_refused_for_the_proxys_certificate() {
    const BEHIND: &str = "behind.contoso.example";
    for (shown, right) in [(TENANT, true), (BEHIND, false)] {
        let mut side = teams(Script::always(Behaviour::answer_after(ms(1000))));
        side.tenants.push(Tenant::new(BEHIND, side.tenants[0].address));
        let mut agent = teams_agent(side);
        agent.handle_input(at(ms(0)), Input::Shown { flow: 7, names: vec![shown.to_owned()] });
        let route = format!("Record-Route: <sip:{TENANT}:5060;transport=tls;lr>\r\nContact");
        let asks = good("OPTIONS")
            .replace(&format!("Contact: <sip:{TENANT}"), &format!("Contact: <sip:{BEHIND}"))
            .replace("Contact", &route);
        let said = ask(&mut agent, 0, &asks);
        assert_eq!(status(&said[0]), if right { 200 } else { 403 }, "{shown}: {}", said[0]);
        let rules: Vec<_> = agent.violations().iter().map(|violation| violation.rule).collect();
        assert_eq!(rules.contains(&"TDR-CON-005"), !right, "{shown}: {rules:?}");
    }
}

/// A number of another tenant than that of Contact is not found (TDR-OUT-003).
#[test]
fn number_of_another_tenant_is_not_found() {
    let mut side = teams(Script::always(Behaviour::answer_after(ms(1000))));
    side.tenants[0].numbers = vec!["+4930".to_owned()];
    let mut agent = teams_agent(side);
    let said = ask(&mut agent, 0, &good("INVITE"));
    let last = said.last().unwrap();
    assert_eq!(status(last), 404, "{last}");
    assert!(last.contains("Number was not found in the tenant (511404)"), "{last}");
}

/// A session interval below Microsoft's least is refused with 422 and Min-SE; to ask for one is no
/// violation (TDR-DLG-032).
#[test]
fn session_interval_too_small_is_told_the_least() {
    let mut side = teams(Script::always(Behaviour::answer_after(ms(1000))));
    side.manner.min_se_s = 300;
    let mut agent = teams_agent(side);
    let short = good("INVITE").replace("Max-F", "Session-Expires: 120;refresher=uac\r\nMax-F");
    let said = ask(&mut agent, 0, &short);
    let refused = said.last().unwrap();
    assert_eq!(status(refused), 422);
    assert!(refused.contains("\r\nMIN-SE: 300\r\n"), "{refused}");
    assert!(refused.contains("(540422)"), "{refused}");
    assert!(agent.violations().is_empty(), "{:?}", agent.violations());
}

/// Microsoft returns rport without a value, and no received (TDR-OPT-008).
#[test]
fn where_a_request_came_from_is_not_told() {
    let mut agent = agent();
    let via = ";branch=z9hG4bKac9911223344";
    let noted = format!("{via};rport=33333;received=127.0.0.1");
    let said = ask(&mut agent, 0, &good("OPTIONS").replace(via, &noted));
    assert!(said[0].contains(";branch=z9hG4bKac9911223344;rport\r\n"), "{}", said[0]);
}

/// Each region's proxy sends OPTIONS of its own, at its own pace (TDR-OPT-021).
#[test]
fn several_regions_send_options() {
    let mut side = teams(Script::always(Behaviour::answer_after(ms(1000))));
    side.manner.regions =
        ["us", "eu", "as"].map(|it| format!("sip-du-a-{it}.pstnhub.microsoft.com")).into();
    let mut agent = teams_agent(side);
    let said = ask(&mut agent, 0, &good("OPTIONS"));
    for region in ["us", "eu", "as"] {
        let from = format!("FROM: <sip:sip-du-a-{region}.pstnhub.microsoft.com:5061>;tag=");
        assert_eq!(said.iter().filter(|text| text.contains(&from)).count(), 1, "{said:#?}");
    }
    agent.handle_timeout(at(ms(60_000)));
    assert_eq!(said_of(&mut agent, "OPTIONS"), 1);
    agent.handle_timeout(at(ms(66_000)));
    assert_eq!(said_of(&mut agent, "OPTIONS"), 1);
}

/// Each refusal of fixture F-11 is said in Microsoft's words, with its cause and sub-code
/// (TDR-ERR-001).
#[test]
fn failures_are_told_in_microsofts_words() {
    for failure in crate::FAILURES {
        let fails = Behaviour::Fail { failure, after: ms(0) };
        let mut agent = teams_agent(teams(Script::always(fails)));
        let said = ask(&mut agent, 0, &good("INVITE"));
        let last = said.last().unwrap();
        assert_eq!(status(last), failure.status);
        let cause = format!("\r\nREASON: Q.850;cause={};text=\"", failure.cause);
        assert!(last.contains(&cause), "{last}");
        let words = format!(";{} ({})\"", failure.phrase, failure.sub_code);
        assert!(last.contains(&words), "{last}");
        assert_eq!(last.contains("\r\nRETRY-AFTER: 1\r\n"), failure.status == 503);
    }
}
