//! Certificates of ours that come, go and take each other's place under open connections.

use crate::world::{SBC, TEAMS, World, call_id, expect, load, options, rest, soon, target, write};
use b2bua::io::{Hop, Target};
use b2bua::plan::{Roots, Transport};
use certs::lab::{Authority, Leaf};
use certs::{Identities, Identity, ServerIdentity, Trust};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tollgate::alarms::PEER_REFUSED;

const CONTOSO: &str = "sbc.contoso.example";

/// Teams as server, which believes any of our names.
struct Teams {
    socket: TcpListener,
    acceptor: TlsAcceptor,
}

impl Teams {
    async fn new(world: &World, names: &[&str]) -> Self {
        let leaf = world.microsoft.leaf(&[TEAMS]).unwrap();
        let shown = Identities::new([("own".to_owned(), load(&world.dir, "teams", &leaf))]);
        let roots = world.microsoft.write_root(&world.dir, "public").unwrap();
        let roots = certs::Roots::file(&roots).unwrap();
        let trust = Trust { roots, names: names.iter().map(|&name| name.to_owned()).collect() };
        let config = certs::server_config(ServerIdentity::new(shown, "own"), &trust).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { socket, acceptor: TlsAcceptor::from(config) }
    }

    fn target(&self, own_name: &str) -> Target {
        let at = self.socket.local_addr().unwrap();
        Target { own_name: Some(own_name.into()), ..target("teams", Transport::Tls, at) }
    }

    async fn accept(&self) -> TlsStream<TcpStream> {
        let (stream, _) = soon(self.socket.accept()).await.unwrap();
        soon(self.acceptor.accept(stream)).await.unwrap()
    }
}

/// What a far side that accepted was shown.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].as_ref().to_vec()
}

fn identity(world: &World, name: &str, names: &[&str]) -> (Leaf, Arc<Identity>) {
    let leaf = world.microsoft.leaf(names).unwrap();
    let loaded = load(&world.dir, name, &leaf);
    (leaf, loaded)
}

/// TDR-CON-005
#[tokio::test]
async fn names_that_one_certificate_covers_share_a_connection_and_others_do_not() {
    let mut world = World::new("bases");
    let names = [SBC, "a.sbc1.example.net", "b.sbc1.example.net", CONTOSO];
    let (_, wild) = identity(&world, "wild", &[SBC, "*.sbc1.example.net"]);
    let (_, contoso) = identity(&world, "contoso", &[CONTOSO]);
    world.identify(&[("own", &wild), ("tenants/contoso", &contoso)]);
    let teams = Teams::new(&world, &names).await;

    world.send(Hop::Target(teams.target(SBC)), "probe;", 1);
    let mut ours = teams.accept().await;
    expect(&mut ours, "probe;").await;
    for name in [names[1], names[2]] {
        world.send(Hop::Target(teams.target(name)), "invite;", 2);
        expect(&mut ours, "invite;").await;
    }
    world.send(Hop::Target(teams.target(CONTOSO)), "contoso;", 3);
    let mut theirs = teams.accept().await;
    expect(&mut theirs, "contoso;").await;
    assert_ne!(shown(&ours), shown(&theirs));
    assert_eq!(world.transports.open_flows(), 2);

    // A request of Contoso's that would go over the connection of the others goes over its own, and an
    // answer stays where its request came.
    write(&mut ours, &options("of-contoso")).await;
    let (flow, _) = world.message().await;
    let otherwise = Some(teams.target(CONTOSO));
    world.send(Hop::Flow { flow: flow.clone(), otherwise }, "bye;", 4);
    expect(&mut theirs, "bye;").await;
    world.send(Hop::Flow { flow, otherwise: None }, "answer;", 5);
    expect(&mut ours, "answer;").await;
    world.nothing_came_in();
}

/// TDR-CRT-009
#[tokio::test]
async fn who_calls_us_by_a_name_is_shown_the_certificate_for_it() {
    let mut world = World::new("sni");
    let (own, loaded) = identity(&world, "sbc-own", &[SBC]);
    let (contoso, of_contoso) = identity(&world, "contoso", &[CONTOSO]);
    world.identify(&[("own", &loaded), ("tenants/contoso", &of_contoso)]);
    let cases = [(SBC, &own), (CONTOSO, &contoso), ("nobody.example", &own)];
    for (name, leaf) in cases {
        let stream = world.tls_to(name).await;
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        assert_eq!(leaf.certificate(), chain[0].as_ref(), "{name}");
    }
}

/// TDR-CRT-007
#[tokio::test]
async fn renewed_certificate_is_shown_at_once_and_what_was_open_goes_when_it_is_quiet() {
    let mut world = World::new("hot-swap");
    let (_, old) = identity(&world, "old", &[SBC]);
    world.identify(&[("own", &old)]);
    let teams = Teams::new(&world, &[SBC]).await;
    world.send(Hop::Target(teams.target(SBC)), "one;", 1);
    let mut first = teams.accept().await;
    expect(&mut first, "one;").await;
    let mut caller = world.teams().await;
    write(&mut caller, &options("before")).await;
    let (of_caller, _) = world.message().await;
    write(&mut first, &options("on-first")).await;
    let (of_first, _) = world.message().await;

    let (leaf, renewed) = identity(&world, "renewed", &[SBC]);
    world.identify(&[("own", &renewed)]);
    // Before anybody needs it.
    let mut second = teams.accept().await;
    assert_eq!(shown(&second), leaf.certificate());
    assert_ne!(shown(&first), shown(&second));
    // A dialog that was heard on the old connection goes on over the new one; answers stay.
    let otherwise = Some(teams.target(SBC));
    world.send(Hop::Flow { flow: of_first.clone(), otherwise }, "bye;", 2);
    expect(&mut second, "bye;").await;
    world.send(Hop::Flow { flow: of_first, otherwise: None }, "200;", 3);
    expect(&mut first, "200;").await;
    let otherwise = Some(teams.target(SBC));
    world.send(Hop::Flow { flow: of_caller, otherwise }, "reinvite;", 4);
    expect(&mut second, "reinvite;").await;
    // What is still under way there comes in.
    write(&mut caller, &options("late")).await;
    assert_eq!(call_id(&world.message().await.1), "late");

    // From here on only the clock moves things.
    tokio::time::pause();
    // As long as an INVITE may ring there (RFC 3261, 16.6), both stay.
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(world.transports.open_flows(), 3);
    tokio::time::sleep(Duration::from_secs(80)).await;
    tokio::time::resume();
    assert_eq!(rest(&mut first).await, "");
    assert_eq!(rest(&mut caller).await, "");
    world.send(Hop::Target(teams.target(SBC)), "on;", 5);
    expect(&mut second, "on;").await;
    assert_eq!(world.transports.open_flows(), 1);
    world.nothing_came_in();
}

/// TDR-CRT-007
#[tokio::test]
async fn connection_that_is_never_quiet_is_renewed_before_long() {
    let mut world = World::new("never-quiet");
    let mut caller = world.teams().await;
    write(&mut caller, &options("0")).await;
    let (flow, _) = world.message().await;
    let (_, renewed) = identity(&world, "renewed", &[SBC]);
    world.identify(&[("own", &renewed)]);
    tokio::time::pause();
    for second in 0..800 {
        world.send(Hop::Flow { flow: flow.clone(), otherwise: None }, "x", second);
        tokio::time::sleep(Duration::from_secs(1)).await;
        if world.transports.open_flows() == 0 {
            // No INVITE rings that long (RFC 3261, 16.6).
            assert!(second > 500, "{second}");
            return;
        }
    }
    panic!("it shows the old certificate to this day");
}

/// TDR-CRT-007, TDR-OPT-020: who asks each minute whether we are there holds no connection, and an INVITE that
/// rings meanwhile has the time that it has without that.
#[tokio::test]
async fn connection_with_nothing_but_options_shows_the_old_certificate_for_long() {
    let mut world = World::new("keep-alive");
    let mut caller = world.teams().await;
    write(&mut caller, &options("0")).await;
    let (flow, _) = world.message().await;
    let (_, renewed) = identity(&world, "renewed", &[SBC]);
    world.identify(&[("own", &renewed)]);
    tokio::time::pause();
    for ten in 0..80 {
        // Ours, and our answer to theirs.
        let request = options("from-us");
        let answer = request.replacen(&format!("OPTIONS sip:{SBC} SIP/2.0"), "SIP/2.0 200 OK", 1);
        for text in [request, answer] {
            world.send(Hop::Flow { flow: flow.clone(), otherwise: None }, &text, ten);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        if world.transports.open_flows() == 0 {
            assert!((18..30).contains(&ten), "{ten}");
            return;
        }
    }
    panic!("it shows the old certificate to this day");
}

/// TDR-CRT-007
#[tokio::test]
async fn other_roots_close_whom_they_do_not_believe_and_nobody_else() {
    let mut world = World::new("roots-added");
    let mut caller = world.teams().await;
    write(&mut caller, &options("a")).await;
    world.message().await;
    // The root of before, and another beside it.
    let other = Authority::new("Other").unwrap().write_root(&world.dir, "other").unwrap();
    let own = world.plan.trunks[2].roots.clone();
    let both = Roots::All(vec![own, Roots::File(other.clone())]);
    world.apply(|plan| plan.trunks[2].roots = both);
    write(&mut caller, &options("b")).await;
    assert_eq!(call_id(&world.message().await.1), "b");
    world.apply(|plan| plan.trunks[2].roots = Roots::File(other));
    assert_eq!(rest(&mut caller).await, "");
}

/// TDR-CRT-021
#[tokio::test]
async fn chain_that_ends_elsewhere_raises_an_alarm_that_says_where() {
    let mut world = World::new("elsewhere");
    let other = Authority::new("Newtrust").unwrap();
    let leaf = other.leaf(&[TEAMS]).unwrap();
    if let Ok(mut stream) = world.tls(Some(&leaf)).await {
        assert_eq!(rest(&mut stream).await, "");
    }
    let text = world.alarm(PEER_REFUSED).unwrap();
    assert!(text.contains("ends at \"CN=Newtrust Root\""), "{text}");
    let sha1 = text.split("SHA-1 ").nth(1).unwrap();
    assert_eq!(sha1.split(')').next().unwrap().len(), 59, "{text}");
    assert!(text.contains("roots = "), "{text}");

    // Added, as it says: the alarm is over, and they come in.
    let added = other.write_root(&world.dir, "added").unwrap();
    world.apply(|plan| {
        plan.trunks[2].roots = Roots::All(vec![plan.trunks[2].roots.clone(), Roots::File(added)]);
    });
    assert_eq!(world.alarm(PEER_REFUSED), None);
    let mut stream = world.tls(Some(&leaf)).await.unwrap();
    write(&mut stream, &options("in")).await;
    assert_eq!(call_id(&world.message().await.1), "in");
}

/// TDR-TLS-008
#[tokio::test]
async fn peer_of_another_name_raises_an_alarm_that_names_who_was_expected() {
    let world = World::new("misnamed");
    let leaf = world.microsoft.leaf(&["sip.example.net"]).unwrap();
    if let Ok(mut stream) = world.tls(Some(&leaf)).await {
        assert_eq!(rest(&mut stream).await, "");
    }
    let text = world.alarm(PEER_REFUSED).unwrap();
    assert!(text.contains(TEAMS) && text.contains("127.0.0.1"), "{text}");
}
