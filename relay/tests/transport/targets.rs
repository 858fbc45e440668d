//! Connections that we open.

use crate::world::{SBC, TEAMS, World, call_id, expect, load, options, rest, soon, target, write};
use b2bua::io::{Hop, Target};
use b2bua::plan::Transport;
use certs::lab::{Authority, Leaf};
use certs::{Identities, Roots, ServerIdentity, Trust};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Teams as server: shows `leaf`, demands a certificate of `believed` for our name.
struct Teams {
    socket: TcpListener,
    acceptor: TlsAcceptor,
}

impl Teams {
    async fn new(world: &World, leaf: &Leaf, believed: &Authority) -> Self {
        let shown = Identities::new([("own".to_owned(), load(&world.dir, "teams", leaf))]);
        let roots = Roots::file(&believed.write_root(&world.dir, "public").unwrap()).unwrap();
        let trust = Trust { roots, names: vec![SBC.to_owned()] };
        let config = certs::server_config(ServerIdentity::new(shown, "own"), &trust).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { socket, acceptor: TlsAcceptor::from(config) }
    }

    fn target(&self) -> Target {
        target("teams", Transport::Tls, self.socket.local_addr().unwrap())
    }

    async fn accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (stream, _) = soon(self.socket.accept()).await.unwrap();
        soon(self.acceptor.accept(stream)).await
    }
}

/// TDR-FO-001.
#[tokio::test]
async fn refused_connection_is_reported_at_once_for_each_queued_request() {
    let mut world = World::new("refused");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for client in [1, 2, 3] {
        world.send(Hop::Target(target("bt", Transport::Tcp, closed)), "request", client);
    }
    for expected in [1, 2, 3] {
        // Well before the four seconds that a silent target would cost.
        let failure = tokio::time::timeout(Duration::from_secs(2), world.failure());
        let (client, why) = failure.await.unwrap();
        assert_eq!(client.0, expected);
        assert!(why.starts_with(&format!("tcp to {closed}: ")), "{why}");
    }
    assert_eq!(world.transports.open_flows(), 0);
}

/// TDR-FO-001.
#[tokio::test]
async fn target_that_accepts_and_says_nothing_in_tls_is_given_up_in_time() {
    let mut world = World::new("silent");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    world.send(Hop::Target(target("teams", Transport::Tls, address)), "request", 1);
    let (_open, _) = soon(silent.accept()).await.unwrap();
    // From here on only the clock can move things.
    tokio::time::pause();
    let (client, why) = world.failure().await;
    assert_eq!(client.0, 1);
    assert!(why.contains("no connection in time"), "{why}");
}

/// TDR-TLS-004, TDR-TLS-005, TDR-CON-001.
#[tokio::test]
async fn requests_share_one_flow_and_the_far_side_may_use_it_too() {
    let mut world = World::new("pool");
    let leaf = world.microsoft.leaf(&[TEAMS]).unwrap();
    let teams = Teams::new(&world, &leaf, &world.microsoft).await;
    // The first waits for the connection, the second for nothing.
    world.send(Hop::Target(teams.target()), "one;", 1);
    world.send(Hop::Target(teams.target()), "two;", 2);
    let mut stream = teams.accept().await.unwrap();
    expect(&mut stream, "one;two;").await;
    let (tcp, tls) = stream.get_ref();
    assert_eq!(tls.server_name(), Some(TEAMS), "SNI (TDR-TLS-004)");
    assert_eq!(tls.peer_certificates().map(<[_]>::len), Some(2), "the whole chain (TDR-TLS-005)");
    assert_eq!(tcp.peer_addr().unwrap().ip(), world.at("tls").ip());

    write(&mut stream, &options("from-teams")).await;
    let (flow, message) = world.message().await;
    assert_eq!((&*flow.trunk, &*flow.listener), ("teams", "tls"));
    assert_eq!(flow.remote, teams.target().address);
    assert_eq!(call_id(&message), "from-teams");
    world.send(Hop::Flow { flow, otherwise: None }, "answer;", 3);
    world.send(Hop::Target(teams.target()), "three;", 4);
    expect(&mut stream, "answer;three;").await;
    assert_eq!(world.transports.open_flows(), 1);
}

#[tokio::test]
async fn other_name_opens_another_flow() {
    let mut world = World::new("renewed");
    let leaf = world.microsoft.leaf(&["*.pstnhub.microsoft.com"]).unwrap();
    let teams = Teams::new(&world, &leaf, &world.microsoft).await;
    world.send(Hop::Target(teams.target()), "one", 1);
    let mut first = teams.accept().await.unwrap();
    expect(&mut first, "one").await;

    let name = Some("sip2.pstnhub.microsoft.com".into());
    world.send(Hop::Target(Target { server_name: name, ..teams.target() }), "two", 2);
    let mut second = teams.accept().await.unwrap();
    expect(&mut second, "two").await;

    assert_eq!(world.transports.open_flows(), 2);
    world.nothing_came_in();
}

/// TDR-FO-002.
#[tokio::test]
async fn flow_that_we_close_sends_what_is_queued_first_and_the_next_request_opens_another() {
    let mut world = World::new("draining");
    let leaf = world.microsoft.leaf(&[TEAMS]).unwrap();
    let teams = Teams::new(&world, &leaf, &world.microsoft).await;
    world.send(Hop::Target(teams.target()), "invite;", 1);
    let mut stream = teams.accept().await.unwrap();
    expect(&mut stream, "invite;").await;
    write(&mut stream, &options("503")).await;
    let (flow, _) = world.message().await;
    world.send(Hop::Target(teams.target()), "ack;", 2);
    world.transports.close(flow.id);
    assert_eq!(rest(&mut stream).await, "ack;");

    world.send(Hop::Flow { flow, otherwise: Some(teams.target()) }, "bye;", 3);
    let mut stream = teams.accept().await.unwrap();
    expect(&mut stream, "bye;").await;
    world.nothing_came_in();
}

/// TDR-CON-003.
#[tokio::test]
async fn flow_that_the_far_side_closed_is_opened_again() {
    let mut world = World::new("reopened");
    let carrier = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hop = Hop::Target(target("bt", Transport::Tcp, carrier.local_addr().unwrap()));
    for text in ["one", "two"] {
        world.send(hop.clone(), text, 1);
        let (mut stream, _) = soon(carrier.accept()).await.unwrap();
        expect(&mut stream, text).await;
        write(&mut stream, &options("heard")).await;
        world.message().await;
        drop(stream);
        while world.transports.open_flows() > 0 {
            tokio::task::yield_now().await;
        }
    }
    world.nothing_came_in();
}

/// TDR-TLS-008
#[tokio::test]
async fn forged_target_gets_no_request() {
    let mut world = World::new("forged-target");
    let rogue = Authority::new("Microsoft").unwrap();
    let cases = [
        (rogue.leaf(&[TEAMS]).unwrap(), "bad_certificate"),
        (Authority::new("Rogue").unwrap().leaf(&[TEAMS]).unwrap(), "unknown_issuer"),
        (world.microsoft.leaf(&["sip.example.net"]).unwrap(), "name_mismatch"),
    ];
    for (leaf, reason) in &cases {
        let teams = Teams::new(&world, leaf, &world.microsoft).await;
        world.send(Hop::Target(teams.target()), "request", 1);
        assert!(teams.accept().await.is_err(), "{reason}");
        let (_, why) = world.failure().await;
        assert!(why.contains(reason), "{why}");
        assert_eq!(world.refusals("tls", reason), 1);
    }
}

#[tokio::test]
async fn request_to_a_target_that_refuses_our_certificate_is_reported() {
    let mut world = World::new("not-believed");
    let leaf = world.microsoft.leaf(&[TEAMS]).unwrap();
    // With TLS 1.3 our side of the handshake is done, and the request sent, before it refuses.
    let teams = Teams::new(&world, &leaf, &Authority::new("Other").unwrap()).await;
    world.send(Hop::Target(teams.target()), "request", 1);
    assert!(teams.accept().await.is_err());
    assert_eq!(world.failure().await.0.0, 1);
}

#[tokio::test]
async fn far_side_that_takes_nothing_fills_its_queue_and_stalls_nobody() {
    let mut world = World::new("stuck");
    let stuck = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hop = Hop::Target(target("bt", Transport::Tcp, stuck.local_addr().unwrap()));
    // Nothing is written before the connection is there, and that needs a turn of this thread.
    for client in 0..257 {
        world.send(hop.clone(), "request;", client);
    }
    let (client, why) = world.failure().await;
    assert_eq!(client.0, 256);
    assert!(why.contains("full"), "{why}");
    let (mut stream, _) = soon(stuck.accept()).await.unwrap();
    expect(&mut stream, &"request;".repeat(256)).await;
}

/// TDR-CON-006.
#[tokio::test]
async fn far_side_that_never_reads_is_given_up_and_what_waited_for_it_is_told() {
    let mut world = World::new("deaf");
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hop = Hop::Target(target("bt", Transport::Tcp, deaf.local_addr().unwrap()));
    world.send(hop.clone(), "request;", 0);
    let (mut open, _) = soon(deaf.accept()).await.unwrap();
    expect(&mut open, "request;").await;
    // More than the kernels on both sides hold.
    let much = "x".repeat(256 * 1024);
    for client in 1..=200 {
        world.send(hop.clone(), &much, client);
    }
    tokio::time::pause();
    let (_, why) = world.failure().await;
    assert!(why.contains("takes nothing"), "{why}");
}

#[tokio::test]
async fn target_without_a_listener_or_of_another_family_fails() {
    let mut world = World::new("nowhere");
    let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 5060));
    world.send(Hop::Target(target("bt", Transport::Tcp, v6)), "request", 1);
    assert_eq!(world.failure().await.0.0, 1);
    let listener = Arc::from("gone");
    let gone = Target { listener, ..target("bt", Transport::Tcp, v6) };
    world.send(Hop::Target(gone), "request", 2);
    let (client, why) = world.failure().await;
    assert_eq!((client.0, why.as_str()), (2, "listener gone is closed"));
}

#[tokio::test]
async fn shutdown_sends_what_waits_for_a_connection() {
    let world = World::new("shutdown-target");
    let carrier = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hop = Hop::Target(target("bt", Transport::Tcp, carrier.local_addr().unwrap()));
    world.send(hop, "bye", 1);
    let read = async {
        let (mut stream, _) = carrier.accept().await.unwrap();
        rest(&mut stream).await
    };
    let (read, ()) =
        soon(async { tokio::join!(read, world.transports.shutdown(Duration::from_secs(10))) })
            .await;
    assert_eq!(read, "bye");
}
