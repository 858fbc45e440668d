//! Another plan is put in force under open flows.

use crate::world::{SBC, World, call_id, expect, listener, load, options, rest, soon, write};
use b2bua::io::Hop;
use b2bua::plan::{Cidr, Roots, Transport};
use certs::lab::Authority;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tollgate::transport::{StartError, Transports};

#[tokio::test]
async fn flow_whose_source_is_not_admitted_any_more_is_closed_and_others_stay() {
    let mut world = World::new("revoked");
    let mut carrier = TcpStream::connect(world.at("tcp")).await.unwrap();
    let mut teams = world.teams().await;
    write(&mut carrier, &options("a")).await;
    world.message().await;
    write(&mut teams, &options("b")).await;
    let (flow, _) = world.message().await;

    world.apply(|plan| {
        plan.trunks[1].sources = vec![Cidr { network: IpAddr::from([192, 0, 2, 0]), length: 24 }];
    });
    assert_eq!(rest(&mut carrier).await, "");
    let mut again = TcpStream::connect(world.at("tcp")).await.unwrap();
    assert_eq!(rest(&mut again).await, "");
    assert_eq!(world.refusals("tcp", "source"), 1);

    world.send(Hop::Flow { flow, otherwise: None }, "still here", 1);
    expect(&mut teams, "still here").await;
    world.nothing_came_in();
}

#[tokio::test]
async fn source_that_moved_to_another_trunk_starts_anew() {
    let mut world = World::new("moved");
    let mut carrier = TcpStream::connect(world.at("tcp")).await.unwrap();
    write(&mut carrier, &options("a")).await;
    assert_eq!(&*world.message().await.0.trunk, "bt");
    world.apply(|plan| plan.trunks[1].name = "bt2".to_owned());
    assert_eq!(rest(&mut carrier).await, "");
    let mut carrier = TcpStream::connect(world.at("tcp")).await.unwrap();
    write(&mut carrier, &options("b")).await;
    assert_eq!(&*world.message().await.0.trunk, "bt2");
}

#[tokio::test]
async fn peer_that_is_not_believed_any_more_is_closed() {
    let mut world = World::new("distrusted");
    let mut teams = world.teams().await;
    write(&mut teams, &options("a")).await;
    world.message().await;
    let other = Authority::new("Other").unwrap();
    let roots = other.write_root(&world.dir, "other").unwrap();
    world.apply(|plan| plan.trunks[2].roots = Roots::File(roots));
    assert_eq!(rest(&mut teams).await, "");
    let leaf = world.microsoft.leaf(&[crate::world::TEAMS]).unwrap();
    if let Ok(mut stream) = world.tls(Some(&leaf)).await {
        assert_eq!(rest(&mut stream).await, "");
    }
    assert_eq!(world.refusals("tls", "unknown_issuer"), 1);
}

#[tokio::test]
async fn same_plan_again_closes_nothing() {
    let mut world = World::new("same");
    let mut teams = world.teams().await;
    write(&mut teams, &options("a")).await;
    world.message().await;
    let before = world.at("tls");
    world.apply(|plan| plan.generation += 1);
    assert_eq!(world.at("tls"), before);
    write(&mut teams, &options("b")).await;
    assert_eq!(call_id(&world.message().await.1), "b");
}

#[tokio::test]
async fn listener_comes_goes_and_changes_its_transport_on_its_port() {
    let mut world = World::new("listeners");
    // Port 0 would be another port each time.
    let at = world.at("tcp");
    world.apply(|plan| plan.listeners[1].bind.set_port(0));
    world.apply(|plan| {
        plan.listeners.push(listener("more", Transport::Tcp));
        plan.trunks[1].listener = 3;
    });
    let mut carrier = TcpStream::connect(world.at("more")).await.unwrap();
    write(&mut carrier, &options("a")).await;
    let (flow, _) = world.message().await;
    assert_eq!((&*flow.listener, &*flow.trunk), ("more", "bt"));
    assert!(TcpStream::connect(at).await.is_ok(), "still bound, though no trunk is on it");

    let port = world.at("more");
    world.apply(|plan| {
        plan.trunks[1].listener = 1;
        plan.listeners = plan.listeners.split_last().unwrap().1.to_vec().into();
    });
    // Its calls go on over the connection they have; nobody else comes in.
    write(&mut carrier, &options("b")).await;
    assert_eq!(call_id(&world.message().await.1), "b");
    world.send(Hop::Flow { flow, otherwise: None }, "still here", 1);
    expect(&mut carrier, "still here").await;
    while TcpStream::connect(port).await.is_ok() {
        tokio::task::yield_now().await;
    }
    world.apply(|plan| {
        plan.listeners.push(listener("more", Transport::Tcp));
        plan.listeners[3].bind = port;
        plan.trunks[1].listener = 3;
    });
    world.apply(|plan| {
        plan.listeners[3] = listener("other", Transport::Tls);
        plan.listeners[3].bind = port;
        plan.trunks[1].listener = 0;
        plan.trunks[2].listener = 3;
    });
    assert_eq!(world.at("other"), port);
}

#[tokio::test]
async fn plan_that_cannot_be_served_changes_nothing() {
    let mut world = World::new("refused-plan");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = world.plan.clone();
    plan.trunks[1].sources.clear();
    plan.listeners.push(listener("more", Transport::Tcp));
    plan.listeners[3].bind = taken.local_addr().unwrap();
    let error = world.transports.apply(Arc::new(plan), world.identities.clone()).unwrap_err();
    assert!(matches!(&error, StartError::Bind { listener, .. } if listener == "more"), "{error}");

    let mut plan = world.plan.clone();
    plan.trunks[1].sources.clear();
    plan.listeners[2].certificate = Some("gone".to_owned());
    let error = world.transports.apply(Arc::new(plan), world.identities.clone()).unwrap_err();
    assert!(matches!(error, StartError::NoCertificate { .. }), "{error}");

    let mut plan = world.plan.clone();
    plan.trunks[1].sources.clear();
    plan.trunks[2].roots = Roots::File(world.dir.join("missing.pem"));
    let error = world.transports.apply(Arc::new(plan), world.identities.clone()).unwrap_err();
    assert!(matches!(&error, StartError::Roots { trunk, .. } if trunk == "teams"), "{error}");

    let mut carrier = TcpStream::connect(world.at("tcp")).await.unwrap();
    write(&mut carrier, &options("a")).await;
    assert_eq!(call_id(&world.message().await.1), "a");
}

#[tokio::test]
async fn ipv6_listener_speaks_ipv6() {
    let mut world = World::new("ipv6");
    world.apply(|plan| {
        plan.listeners.push(listener("v6", Transport::Tcp));
        plan.listeners[3].bind = "[::1]:0".parse().unwrap();
        plan.trunks[1].listener = 3;
        plan.trunks[1].sources = vec![Cidr { network: "::1".parse().unwrap(), length: 128 }];
    });
    let mut carrier = soon(TcpStream::connect(world.at("v6"))).await.unwrap();
    write(&mut carrier, &options("six")).await;
    let (flow, message) = world.message().await;
    assert_eq!(call_id(&message), "six");
    assert_eq!(message.headers().top_via().received(), Some(flow.remote.ip()));
}

#[tokio::test]
async fn host_without_its_certificate_does_not_start() {
    let world = World::new("no-certificate");
    let plan = Arc::new(world.plan.clone());
    let other = load(&world.dir, "other", &world.microsoft.leaf(&[SBC]).unwrap());
    let identities = certs::Identities::new([("other".to_owned(), other)]);
    assert!(matches!(Transports::start(plan, identities), Err(StartError::NoCertificate { .. })));
}
