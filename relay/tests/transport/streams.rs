//! Messages in a stream of octets.

use crate::world::{World, call_id, expect, options, options_via, rest, soon, target, write};
use b2bua::io::Hop;
use b2bua::plan::Transport;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// TDR-CON-008.
#[tokio::test]
async fn two_messages_in_one_tls_record_are_two() {
    let mut world = World::new("record");
    let mut teams = world.teams().await;
    write(&mut teams, &(options("one") + &options("two"))).await;
    let (first, one) = world.message().await;
    let (second, two) = world.message().await;
    assert_eq!((call_id(&one).as_str(), call_id(&two).as_str()), ("one", "two"));
    assert_eq!(first, second);
}

/// TDR-CON-008.
#[tokio::test]
async fn one_message_in_many_tls_records_is_one() {
    let mut world = World::new("split");
    let mut teams = world.teams().await;
    for octet in options("slow").as_bytes() {
        teams.write_all(&[*octet]).await.unwrap();
        teams.flush().await.unwrap();
    }
    assert_eq!(call_id(&world.message().await.1), "slow");
}

/// TDR-CON-004.
#[tokio::test]
async fn ping_is_answered_and_stray_crlf_is_not() {
    let mut world = World::new("ping");
    let mut teams = world.teams().await;
    write(&mut teams, &format!("\r\n{}", options("stray"))).await;
    assert_eq!(call_id(&world.message().await.1), "stray");
    write(&mut teams, "\r\n\r\n").await;
    expect(&mut teams, "\r\n").await;
}

#[tokio::test]
async fn bad_message_costs_an_answer_and_the_stream_goes_on() {
    let mut world = World::new("bad");
    let stream = TcpStream::connect(world.at("tcp")).await.unwrap();
    let mut stream = BufReader::new(stream);
    let bad = options("bad").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE");
    write(&mut stream, &(bad + &options("good"))).await;
    assert_eq!(call_id(&world.message().await.1), "good");
    let mut line = String::new();
    soon(stream.read_line(&mut line)).await.unwrap();
    assert!(line.starts_with("SIP/2.0 400 "), "{line}");
    assert_eq!(world.discards("malformed"), 1);
}

#[tokio::test]
async fn stream_out_of_step_is_answered_and_closed() {
    let mut world = World::new("lost");
    let mut stream = TcpStream::connect(world.at("tcp")).await.unwrap();
    let endless = options("endless").replace("Content-Length: 0\r\n", "");
    write(&mut stream, &(options("before") + &endless + &options("after"))).await;
    assert_eq!(call_id(&world.message().await.1), "before");
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("SIP/2.0 400 "), "{answer}");
    assert_eq!(world.discards("framing"), 1);
    world.nothing_came_in();
}

#[tokio::test]
async fn source_is_noted_in_via_on_streams_too() {
    let mut world = World::new("via");
    let mut stream = TcpStream::connect(world.at("tcp")).await.unwrap();
    write(&mut stream, &options_via("a", "SIP/2.0/TCP host.example;rport;branch=z9hG4bK1")).await;
    let (flow, message) = world.message().await;
    let via = message.headers().top_via();
    assert_eq!(via.received(), Some(flow.remote.ip()));
    assert_eq!(via.rport(), Some(flow.remote.port()));
}

/// TDR-IN-007.
#[tokio::test]
async fn answer_to_a_flow_that_is_gone_goes_to_the_sent_by() {
    let mut world = World::new("gone");
    let mut stream = TcpStream::connect(world.at("tcp")).await.unwrap();
    write(&mut stream, &options("a")).await;
    let (flow, _) = world.message().await;
    drop(stream);
    while world.transports.open_flows() > 0 {
        tokio::task::yield_now().await;
    }
    let sent_by = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let otherwise = Some(target("bt", Transport::Tcp, sent_by.local_addr().unwrap()));
    world.send(Hop::Flow { flow: flow.clone(), otherwise }, "answer", 1);
    let (mut back, _) = soon(sent_by.accept()).await.unwrap();
    expect(&mut back, "answer").await;

    world.send(Hop::Flow { flow, otherwise: None }, "answer", 2);
    let (client, why) = world.failure().await;
    assert_eq!((client.0, why.as_str()), (2, "the flow is closed"));
}

#[tokio::test]
async fn queued_messages_go_out_before_a_shutdown_closes() {
    let mut world = World::new("shutdown");
    let mut teams = world.teams().await;
    write(&mut teams, &options("a")).await;
    let (flow, _) = world.message().await;
    let listener = world.at("tls");
    for _ in 0..100 {
        let hop = Hop::Flow { flow: flow.clone(), otherwise: None };
        world.transports.send(hop, Bytes::from_static(b"bye;"), None);
    }
    let read = tokio::spawn(async move { rest(&mut teams).await });
    soon(world.transports.shutdown(std::time::Duration::from_secs(10))).await;
    assert_eq!(soon(read).await.unwrap(), "bye;".repeat(100));
    // The port is free again.
    while TcpStream::connect(listener).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
