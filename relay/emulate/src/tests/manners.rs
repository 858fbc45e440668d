//! How Teams writes where its documents leave it open.

use super::calls::dial;
use super::pipe::{Pipe, TENANT, ms, teams};
use crate::{Behaviour, Manner, Pidf, Script};
use sdp::Direction;
use std::collections::BTreeSet;

fn answering() -> Script {
    Script::always(Behaviour::answer_after(ms(500)))
}

fn first(pipe: &Pipe) -> String {
    String::from_utf8(pipe.wire[0].to_vec()).unwrap()
}

#[test]
fn varied_calls_are_written_in_many_ways_and_all_come_up() {
    let mut side = teams(answering());
    side.manner.varied = true;
    let mut pipe = Pipe::new(answering(), side);
    let mut contacts = BTreeSet::new();
    let mut froms = BTreeSet::new();
    for _ in 0..20 {
        pipe.wire.clear();
        let call = pipe.teams_calls("+498955501234");
        let invite = first(&pipe);
        let line = |start: &str| {
            let found = invite.lines().find(|line| line.starts_with(start)).unwrap();
            found.split(['=', ';']).next().unwrap().to_owned()
        };
        contacts.insert(line("CONTACT:"));
        froms.insert(line("FROM:"));
        pipe.run_for(ms(1500));
        assert!(pipe.at_teams.contains(&crate::Event::Answered { call }), "{}", pipe.ladder());
        pipe.teams.hang_up(pipe.now(), call);
        pipe.run_for(ms(100));
    }
    assert_eq!(contacts.len(), 4, "{contacts:?}");
    assert_eq!(froms.len(), 4, "{froms:?}");
}

/// The caller withholds its number, and who pays is asserted (TDR-PRI-001, fixture F-09).
#[test]
fn withheld_number_and_asserted_payer() {
    let mut side = teams(answering());
    side.manner.forward_pai = true;
    let mut pipe = Pipe::new(answering(), side);
    let anonymous = crate::Dial { anonymous: true, ..dial("+4930") };
    pipe.teams.call(pipe.now(), &anonymous).unwrap();
    pipe.run_for(ms(0));
    let invite = first(&pipe);
    assert!(invite.contains("FROM: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="));
    let asserted = format!("P-ASSERTED-IDENTITY: <tel:+4989>,<sip:alice@{TENANT}>\r\n");
    assert!(invite.contains(&asserted), "{invite}");
    assert!(invite.contains("PRIVACY: id\r\n"), "{invite}");
}

/// The location stands before or after SDP (TDR-EMG-003, fixture F-10).
#[test]
fn location_comes_in_both_orders() {
    for order in [Pidf::First, Pidf::Last] {
        let mut pipe = Pipe::new(answering(), teams(answering()));
        let emergency = crate::Dial { location: Some(order), ..dial("911") };
        pipe.teams.call(pipe.now(), &emergency).unwrap();
        pipe.run_for(ms(0));
        let invite = first(&pipe);
        let at = |text: &str| invite.find(text).unwrap();
        assert_eq!(at("<?xml") < at("v=0"), order == Pidf::First);
        assert!(invite.starts_with("INVITE sip:911@"), "{invite}");
        assert!(invite.contains("GEOLOCATION: <cid:alice@woodgrovebank.us>\r\n"), "{invite}");
    }
}

/// Headers of Local Media Optimization on INVITE and re-INVITE, and the Request-URI of the border
/// controller behind the trunk (TDR-LMO-001, fixture F-07).
#[test]
fn local_media_optimization_is_told_each_time() {
    let mut side = teams(answering());
    side.manner.headers = Manner::media_optimized(true, "proxysbc.contoso.com, VNsbc", "Vietnam");
    let mut pipe = Pipe::new(answering(), side);
    let host = Some("VNsbc.contoso.com".to_owned());
    let behind = crate::Dial { host, ..dial("+84439263000") };
    let call = pipe.teams.call(pipe.now(), &behind).unwrap();
    pipe.run_for(ms(2000));
    assert!(pipe.teams.refresh(pipe.now(), call));
    pipe.run_for(ms(100));
    let invites: Vec<String> = pipe
        .wire
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .filter(|text| text.starts_with("INVITE"))
        .collect();
    assert_eq!(invites.len(), 2);
    assert!(invites[0].starts_with("INVITE sip:+84439263000@VNsbc.contoso.com:"));
    for invite in invites {
        assert!(invite.contains("X-MS-USERLOCATION: internal\r\n"), "{invite}");
        assert!(invite.contains("X-MS-MEDIAPATH: proxysbc.contoso.com, VNsbc\r\n"), "{invite}");
    }
}

/// A call may begin one-way (TDR-HLD-008).
#[test]
fn call_that_begins_one_way_goes_both_ways_later() {
    let mut pipe = Pipe::new(answering(), teams(answering()));
    let half = crate::Dial { direction: Some(Direction::RecvOnly), ..dial("+4930") };
    let call = pipe.teams.call(pipe.now(), &half).unwrap();
    pipe.run_for(ms(3000));
    assert!(first(&pipe).contains("a=recvonly"));
    assert_eq!(pipe.teams.sent(call), 0);
    assert!(pipe.teams.resume(pipe.now(), call));
    pipe.run_for(ms(3000));
    pipe.assert_clear(true);
}

/// A transfer's words come back octet by octet, and once (TDR-XFR-013, TDR-XFR-019).
#[test]
fn words_of_a_transfer_are_long_and_each_its_own() {
    let mut pipe = Pipe::new(answering(), teams(answering()));
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        let call = pipe.teams_calls("+4930");
        pipe.run_for(ms(1500));
        let target = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:1";
        assert!(pipe.teams.transfer(pipe.now(), call, target, None));
        pipe.run_for(ms(100));
        let refer = pipe.wire.iter().rfind(|bytes| bytes.starts_with(b"REFER")).unwrap();
        let refer = String::from_utf8(refer.to_vec()).unwrap();
        let by = refer.lines().find(|line| line.starts_with("REFERRED-BY:")).unwrap();
        assert!(by.len() > 400, "{by}");
        assert!(seen.insert(by.to_owned()), "{by}");
    }
}
