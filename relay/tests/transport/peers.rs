//! Who gets in.

use crate::world::{TEAMS, World, call_id, connect_from, expect, options, rest, soon, write};
use b2bua::io::Hop;
use certs::lab::{Authority, Leaf, Purpose, Request};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tollgate::alarms::PEER_REFUSED;

/// Tries to get an OPTIONS in with `leaf`; what came back, alerts not counted.
async fn attempt(world: &mut World, leaf: Option<&Leaf>) -> String {
    let Ok(mut stream) = world.tls(leaf).await else { return String::new() };
    // With TLS 1.3 we are refused only now.
    let _ = stream.write_all(options("forged").as_bytes()).await;
    let _ = stream.flush().await;
    rest(&mut stream).await
}

/// TDR-TLS-006, TDR-TLS-008, TDR-SEC-002
#[tokio::test]
async fn forged_teams_peer_gets_not_one_sip_octet() {
    let mut world = World::new("forged");
    let rogue = Authority::new("Microsoft").unwrap();
    let leaf = |authority: &Authority, names: &[&str], expired| {
        let purpose = Purpose::Both;
        authority.issue(&Request { names, expired, purpose, ..Request::default() }).unwrap()
    };
    let wrong_name = leaf(&world.microsoft, &["sip.example.net"], false);
    let expired = leaf(&world.microsoft, &[TEAMS], true);
    let names = &[TEAMS][..];
    let purpose = Request { names, purpose: Purpose::Neither, ..Request::default() };
    let for_code = world.microsoft.issue(&purpose).unwrap();
    let cases = [
        (Some(leaf(&rogue, &[TEAMS], false)), "unknown_issuer"),
        (Some(wrong_name), "name_mismatch"),
        (Some(expired), "expired"),
        (Some(for_code), "bad_certificate"),
        (None, "no_certificate"),
    ];
    for (leaf, reason) in &cases {
        assert_eq!(attempt(&mut world, leaf.as_ref()).await, "", "{reason}");
        assert_eq!(world.refusals("tls", reason), 1, "{reason}");
    }
    world.nothing_came_in();
    assert_eq!(world.transports.open_flows(), 0);
}

#[tokio::test]
async fn refused_peer_is_told_why_by_an_alert() {
    let world = World::new("alert");
    let rogue = Authority::new("Rogue").unwrap().leaf(&[TEAMS]).unwrap();
    let mut stream = world.tls(Some(&rogue)).await.unwrap();
    let error = soon(stream.read(&mut [0; 1])).await.unwrap_err();
    let alert = error.get_ref().unwrap().downcast_ref::<rustls::Error>().unwrap();
    let expected = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
    assert_eq!(*alert, expected);
}

/// TDR-TLS-007
#[tokio::test]
async fn teams_with_serverauth_only_gets_in() {
    let mut world = World::new("serverauth");
    let names = &["*.pstnhub.microsoft.com"][..];
    for purpose in [Purpose::Server, Purpose::Client] {
        let request = Request { names, purpose, ..Request::default() };
        let leaf = world.microsoft.issue(&request).unwrap();
        let mut stream = world.tls(Some(&leaf)).await.unwrap();
        write(&mut stream, &options("a")).await;
        let (flow, message) = world.message().await;
        assert_eq!((&*flow.trunk, &*flow.listener), ("teams", "tls"));
        assert_eq!(flow.remote, stream.get_ref().0.local_addr().unwrap());
        assert_eq!(call_id(&message), "a");
        world.send(Hop::Flow { flow, otherwise: None }, "answer", 1);
        expect(&mut stream, "answer").await;
    }
}

/// TDR-SEC-001
#[tokio::test]
async fn stranger_is_closed_before_tls_without_an_octet() {
    let mut world = World::new("stranger");
    for listener in ["tls", "tcp"] {
        // Waits for us to speak first, and is closed all the same.
        let mut silent = connect_from([127, 0, 0, 9], world.at(listener)).await.unwrap();
        assert_eq!(rest(&mut silent).await, "");
        assert_eq!(world.refusals(listener, "source"), 1);
        // Speaks first, and is not heard.
        let mut loud = connect_from([127, 0, 0, 9], world.at(listener)).await.unwrap();
        let _ = loud.write_all(options("forged").as_bytes()).await;
        assert_eq!(rest(&mut loud).await, "");
        assert_eq!(world.refusals(listener, "source"), 2);
    }
    world.nothing_came_in();
}

/// A tool of ours that looks whether we are there is refused like anybody, and is no peer that was turned
/// away: not what it knocks with counts, nor that it was there before.
#[tokio::test]
async fn a_knock_that_was_announced_gets_nothing_and_is_not_counted_and_the_next_is() {
    let world = World::new("knock");
    for (ip, reason) in [([127, 0, 0, 9], "source"), ([127, 0, 0, 1], "no_certificate")] {
        let mut from = None;
        for counted in [0, 1] {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(from.unwrap_or_else(|| SocketAddr::from((ip, 0)))).unwrap();
            let local = socket.local_addr().unwrap();
            if from.is_none() {
                assert!(world.transports.expect_knock(&[local]));
            }
            let stream = soon(socket.connect(world.at("tls"))).await.unwrap();
            // Gone at once, so that its port is free for the next.
            stream.set_zero_linger().unwrap();
            if let Ok(mut stream) = world.secure(None, stream).await {
                assert_eq!(rest(&mut stream).await, "");
            }
            assert_eq!(world.refusals("tls", reason), counted, "{reason}");
            let alarm = world.alarm(PEER_REFUSED).is_some();
            assert_eq!(alarm, counted == 1 && reason == "no_certificate");
            from = Some(local);
        }
    }
}

/// TDR-TLS-001
#[tokio::test]
async fn plain_sip_on_the_tls_port_gets_no_sip_back() {
    let mut world = World::new("plain");
    let mut stream = TcpStream::connect(world.at("tls")).await.unwrap();
    write(&mut stream, &options("plain")).await;
    assert!(!rest(&mut stream).await.contains("SIP"));
    assert_eq!(world.refusals("tls", "tls"), 1);
    world.nothing_came_in();
}

#[tokio::test]
async fn carrier_with_too_many_connections_is_refused_the_next_and_served_on_the_others() {
    let mut world = World::new("limit");
    let mut open = Vec::new();
    for at in 0..100 {
        let mut stream = TcpStream::connect(world.at("tcp")).await.unwrap();
        write(&mut stream, &options(&at.to_string())).await;
        world.message().await;
        open.push(stream);
    }
    let mut one_more = TcpStream::connect(world.at("tcp")).await.unwrap();
    assert_eq!(rest(&mut one_more).await, "");
    assert_eq!(world.refusals("tcp", "limit"), 1);
    write(&mut open[7], &options("still")).await;
    assert_eq!(call_id(&world.message().await.1), "still");
}
