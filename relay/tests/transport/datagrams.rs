//! UDP.

use crate::world::{World, call_id, options_via, soon, target};
use b2bua::io::Hop;
use b2bua::plan::Transport;
use tokio::net::UdpSocket;

async fn carrier(world: &World, address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).await.unwrap();
    socket.connect(world.at("udp")).await.unwrap();
    socket
}

fn request(call_id: &str) -> String {
    options_via(call_id, "SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK1")
}

async fn received(socket: &UdpSocket) -> String {
    let mut buffer = [0; 2048];
    let len = soon(socket.recv(&mut buffer)).await.unwrap();
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

#[tokio::test]
async fn answer_behind_a_nat_goes_back_where_the_request_came_from() {
    let mut world = World::new("rport");
    let carrier = carrier(&world, "127.0.0.1").await;
    carrier.send(request("a").as_bytes()).await.unwrap();
    let (flow, message) = world.message().await;
    let source = carrier.local_addr().unwrap();
    assert_eq!((flow.remote, &*flow.trunk, &*flow.listener), (source, "colt", "udp"));
    let via = message.headers().top_via();
    assert_eq!((via.received(), via.rport()), (Some(source.ip()), Some(source.port())));
    // The socket is connected: only what comes from the listener's own address is received.
    world.send(Hop::Flow { flow: flow.clone(), otherwise: None }, "answer", 1);
    assert_eq!(received(&carrier).await, "answer");
    world.send(Hop::Target(target("colt", Transport::Udp, source)), "request", 2);
    assert_eq!(received(&carrier).await, "request");

    carrier.send(request("b").as_bytes()).await.unwrap();
    assert_eq!(world.message().await.0.id, flow.id, "the same pair of addresses");
}

#[tokio::test]
async fn calls_on_a_listener_that_was_removed_go_on_and_no_other_begins() {
    let mut world = World::new("removed-udp");
    let carrier = carrier(&world, "127.0.0.1").await;
    carrier.send(request("a").as_bytes()).await.unwrap();
    let (flow, _) = world.message().await;
    let gone = world.plan.listeners.iter().position(|it| it.name == "udp").unwrap();
    world.apply(|plan| {
        let mut listeners = plan.listeners.to_vec();
        listeners.remove(gone);
        plan.listeners = listeners.into();
        for trunk in &mut plan.trunks {
            let (was, other) = (trunk.listener, usize::from(gone == 0));
            trunk.listener = match was.cmp(&gone) {
                std::cmp::Ordering::Less => was,
                std::cmp::Ordering::Equal => other,
                std::cmp::Ordering::Greater => was - 1,
            };
        }
    });
    world.send(Hop::Flow { flow: flow.clone(), otherwise: None }, "in the call", 1);
    assert_eq!(received(&carrier).await, "in the call");
    let invite = request("new").replace("OPTIONS", "INVITE");
    carrier.send(invite.as_bytes()).await.unwrap();
    let within =
        request("within").replace("OPTIONS", "BYE").replace(">\r\nCall-ID", ">;tag=2\r\nCall-ID");
    carrier.send(within.as_bytes()).await.unwrap();
    let (again, message) = world.message().await;
    assert_eq!((call_id(&message), again.trunk), ("within".to_owned(), flow.trunk));
    assert_eq!(world.refusals("udp", "source"), 1);
}

#[tokio::test]
async fn a_listener_may_come_back_to_an_address_that_calls_still_use() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (at, other) = (free.local_addr().unwrap(), std::net::UdpSocket::bind("127.0.0.1:0"));
    let elsewhere = other.and_then(|socket| socket.local_addr()).unwrap();
    drop(free);
    let mut world = World::with("back-udp", |plan| plan.listeners[0].bind = at);
    let carrier = carrier(&world, "127.0.0.1").await;
    world.apply(|plan| plan.listeners[0].bind = elsewhere);
    assert_eq!(world.at("udp"), elsewhere);
    world.apply(|plan| plan.listeners[0].bind = at);
    for (number, call) in ["a", "b", "c", "d"].into_iter().enumerate() {
        carrier.send(request(call).as_bytes()).await.unwrap();
        let (flow, message) = world.message().await;
        assert_eq!((call_id(&message), &*flow.listener), (call.to_owned(), "udp"));
        world.send(Hop::Flow { flow, otherwise: None }, "answer", number as u64 + 1);
        assert_eq!(received(&carrier).await, "answer");
    }
    let removed = world.plan.clone();
    world.apply(|plan| {
        plan.listeners = plan.listeners[1..].to_vec().into();
        for trunk in &mut plan.trunks {
            trunk.listener = trunk.listener.saturating_sub(1);
        }
    });
    world.apply(|plan| *plan = removed);
    assert_eq!(world.at("udp"), at);
    carrier.send(request("e").as_bytes()).await.unwrap();
    assert_eq!(call_id(&world.message().await.1), "e");
}

#[tokio::test]
async fn datagram_of_a_stranger_is_dropped_and_counted() {
    let mut world = World::new("stranger-udp");
    let stranger = carrier(&world, "127.0.0.9").await;
    let carrier = carrier(&world, "127.0.0.1").await;
    stranger.send(request("forged").as_bytes()).await.unwrap();
    stranger.send(b"INVITE nonsense SIP/2.0\r\n\r\n").await.unwrap();
    carrier.send(request("own").as_bytes()).await.unwrap();
    assert_eq!(call_id(&world.message().await.1), "own");
    assert_eq!(world.refusals("udp", "source"), 2);
    assert!(stranger.try_recv(&mut [0; 16]).is_err());
    world.nothing_came_in();
}

#[tokio::test]
async fn keepalives_are_ignored_and_malformed_requests_answered() {
    let mut world = World::new("malformed-udp");
    let carrier = carrier(&world, "127.0.0.1").await;
    for keepalive in [&b""[..], b"\r\n\r\n", b"\0\0\0\0"] {
        carrier.send(keepalive).await.unwrap();
    }
    let bad = request("bad").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE");
    carrier.send(bad.as_bytes()).await.unwrap();
    assert!(received(&carrier).await.starts_with("SIP/2.0 400 "));
    carrier.send(b"neither this nor that").await.unwrap();
    carrier.send(request("good").as_bytes()).await.unwrap();
    assert_eq!(call_id(&world.message().await.1), "good");
    assert_eq!(world.discards("malformed"), 2);
    assert!(carrier.try_recv(&mut [0; 16]).is_err());
}

#[tokio::test]
async fn datagram_that_is_too_large_is_reported_at_once() {
    let mut world = World::new("large-udp");
    let carrier = carrier(&world, "127.0.0.1").await;
    let hop = Hop::Target(target("colt", Transport::Udp, carrier.local_addr().unwrap()));
    world.send(hop, &"x".repeat(70_000), 7);
    assert_eq!(world.failure().await.0.0, 7);
}
