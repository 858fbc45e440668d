//! OpenSSL on the other side of TLS: it knows nothing of our library.

use crate::world::{SBC, TEAMS, World, call_id, load, options, soon, target};
use b2bua::io::{Hop, Target};
use b2bua::plan::Transport;
use certs::lab::{Key, Leaf, Request};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use tollgate::alarms::PEER_REFUSED;

/// Teams' certificate is RSA, and so is ours: its suites need that.
fn rsa(world: &World, names: &[&str]) -> Leaf {
    let request = Request { names, key: Key::Rsa2048, ..Request::default() };
    world.microsoft.issue(&request).unwrap()
}

/// `openssl s_client` as Teams calls us; what it is told to say is one OPTIONS.
async fn call(world: &World, leaf: Option<&Leaf>, words: &[&str], id: &str) -> Output {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-nocommands", "-connect", &world.at("tls").to_string()]);
    command.args(["-servername", SBC]).args(words);
    if let Some(leaf) = leaf {
        let (chain, key) = leaf.write(&world.dir, "openssl").unwrap();
        command.arg("-cert").arg(&chain).arg("-cert_chain").arg(&chain).arg("-key").arg(&key);
    }
    // What a distribution forbids by its configuration is what the old version test is about.
    command.env("OPENSSL_CONF", "/dev/null");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl is installed");
    let said = options(id);
    let talk = move || {
        // One that was refused has gone already.
        let _ = child.stdin.take().unwrap().write_all(said.as_bytes());
        child.wait_with_output().unwrap()
    };
    soon(tokio::task::spawn_blocking(talk)).await.unwrap()
}

/// TDR-TLS-002, TDR-TLS-003, TDR-TLS-006
#[tokio::test]
async fn openssl_with_teams_certificate_is_heard_in_each_suite_and_version_of_microsofts() {
    let mut world = World::new("openssl");
    let own = load(&world.dir, "rsa", &rsa(&world, &[SBC]));
    world.identify(&[("own", &own)]);
    let leaf = rsa(&world, &[TEAMS]);
    let suites = ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"];
    let older = suites.iter().map(|suite| vec!["-tls1_2", "-cipher", suite]);
    for (number, words) in older.chain([vec!["-tls1_3"]]).enumerate() {
        let id = number.to_string();
        call(&world, Some(&leaf), &words, &id).await;
        assert_eq!(call_id(&world.message().await.1), id, "{words:?}");
    }
}

/// TDR-TLS-002
#[tokio::test]
async fn openssl_with_tls_1_1_is_refused_by_that_name() {
    let mut world = World::new("openssl-old");
    let own = load(&world.dir, "rsa", &rsa(&world, &[SBC]));
    world.identify(&[("own", &own)]);
    let leaf = rsa(&world, &[TEAMS]);
    let words = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    let said = call(&world, Some(&leaf), &words, "old").await;
    assert!(!String::from_utf8_lossy(&said.stdout).contains("SIP/2.0"));
    assert_eq!(world.refusals("tls", "tls_version_unsupported"), 1);
    assert!(world.alarm(PEER_REFUSED).unwrap().contains("TLS from 1.2"));
    world.nothing_came_in();
}

/// TDR-TLS-006, TDR-SEC-002
#[tokio::test]
async fn openssl_without_a_certificate_gets_an_alert_and_no_sip() {
    let mut world = World::new("openssl-bare");
    for version in ["-tls1_2", "-tls1_3"] {
        let said = call(&world, None, &[version], "bare").await;
        assert!(!String::from_utf8_lossy(&said.stdout).contains("SIP/2.0"));
        // In TLS 1.3 a client is done before it is refused, and does not wait for what we say to it.
        let told = String::from_utf8_lossy(&said.stderr);
        assert!(version == "-tls1_3" || told.contains("alert"), "{told}");
    }
    let refused = async {
        while world.refusals("tls", "no_certificate") < 2 {
            tokio::task::yield_now().await;
        }
    };
    soon(refused).await;
    world.nothing_came_in();
}

/// Ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What OpenSSL shows of the server name extension, as in `0000 - 00 1d 00 00 1a 73 69 70-2e 70   ....sip.p`.
fn server_name(said: &str) -> String {
    let (_, rest) = said.split_once("extension \"server name\" (id=0)").unwrap_or_default();
    let rows = rest.lines().skip(1).map_while(|row| row.split_once(" - "));
    let octets = rows.flat_map(|(_, row)| {
        let hexadecimal = row.get(..HEXADECIMAL).unwrap_or(row);
        hexadecimal.split([' ', '-']).filter_map(|octet| u8::from_str_radix(octet, 16).ok())
    });
    String::from_utf8_lossy(&octets.collect::<Vec<u8>>()).into_owned()
}

/// Columns of a row of sixteen octets, before the same in letters.
const HEXADECIMAL: usize = 48;

/// TDR-TLS-004, TDR-TLS-005
#[tokio::test]
async fn openssl_as_teams_is_asked_by_name_and_can_follow_our_chain_to_the_root() {
    let mut world = World::new("openssl-server");
    let own = load(&world.dir, "rsa", &rsa(&world, &[SBC]));
    world.identify(&[("own", &own)]);
    let (chain, key) = rsa(&world, &[TEAMS]).write(&world.dir, "teams").unwrap();
    let root = world.microsoft.write_root(&world.dir, "root").unwrap();
    let log = world.dir.join("s_server.log");
    let out = std::fs::File::create(&log).unwrap();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", "127.0.0.1:0", "-tls1_2"]);
    command.args(["-tlsextdebug", "-Verify", "3", "-verify_return_error"]);
    command.arg("-cert").arg(&chain).arg("-cert_chain").arg(&chain);
    command.arg("-key").arg(&key).arg("-CAfile").arg(&root);
    command.stdin(Stdio::piped()).stdout(out.try_clone().unwrap()).stderr(out);
    let said = || std::fs::read_to_string(&log).unwrap();
    let mut server = Server(command.spawn().expect("openssl is installed"));
    let listens = async {
        loop {
            // As in `ACCEPT 127.0.0.1:37041`.
            let at = said().split_once("ACCEPT ").and_then(|(_, rest)| {
                let (at, _) = rest.split_once(char::is_whitespace)?;
                at.parse::<SocketAddr>().ok()
            });
            if let Some(at) = at {
                break at;
            }
            assert!(server.0.try_wait().unwrap().is_none(), "{}", said());
            tokio::task::yield_now().await;
        }
    };
    let at = soon(listens).await;
    let to = Target { own_name: Some(SBC.into()), ..target("teams", Transport::Tls, at) };
    world.send(Hop::Target(to), "said to openssl\r\n", 1);
    let heard = async {
        while !said().contains("said to openssl") {
            tokio::task::yield_now().await;
        }
    };
    soon(heard).await;
    let said = said();
    assert!(server_name(&said).ends_with(TEAMS), "{said}");
    // Root, intermediate and leaf: it has only the first by itself.
    for depth in ["depth=2", "depth=1", "depth=0"] {
        assert!(said.contains(depth), "{said}");
    }
}
