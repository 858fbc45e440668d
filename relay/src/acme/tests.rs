//! When a certificate is asked for, and what is left on disk. That an authority grants it is seen against
//! a real one (interop).

use super::disk::write;
use super::*;
use crate::config::Challenge;
use b2bua::plan::Roots;
use certs::KeyType;
use certs::lab::{Authority, Request};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

const DAY: Duration = Duration::from_secs(86_400);

fn dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("tollgate-acme-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// A program to be run. Another writes it: a process that a test beside this one is just making would hold
/// what is open here for writing, and nobody may run that.
fn program(path: &Path, text: &str) {
    let script = "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"";
    let mut writer = std::process::Command::new("sh");
    let status = writer.args(["-c", script, "sh"]).arg(path).arg(text).status().unwrap();
    assert!(status.success());
}

/// A port of an address that no other test has ports at.
fn own_port(host: u8) -> SocketAddr {
    let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 7, host], 0)));
    listener.unwrap().local_addr().unwrap()
}

fn order(dir: &Path) -> AcmeOrder {
    AcmeOrder {
        certificate: "wild".to_owned(),
        server: "https://acme.example.net:14000/dir".to_owned(),
        names: vec!["sbc1.example.net".to_owned()],
        challenge: Challenge::Http("127.0.0.1:0".parse().unwrap()),
        contacts: Vec::new(),
        key: KeyType::P256,
        roots: Roots::System,
        external: None,
        file: dir.join("acme/wild.pem"),
    }
}

#[test]
fn a_certificate_is_asked_for_when_a_third_of_its_life_is_left_or_its_names_are_others() {
    let dir = dir("due");
    let names = &["sbc1.example.net", "*.sbc1.example.net"][..];
    let request = Request { names, days: Some((0, 90)), ..Request::default() };
    let leaf = Authority::new("Due").unwrap().issue(&request).unwrap();
    let identity = leaf.identity().unwrap();
    let held = Held { identity, server: None };
    let day = |days: u32| SystemTime::UNIX_EPOCH + DAY * (20_454 + days);
    let wanted = |names: &[&str]| names.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
    let of = |names: &[&str]| AcmeOrder { names: wanted(names), ..order(&dir) };
    let same = of(&["*.sbc1.example.net", "sbc1.example.net"]);
    assert_eq!(rest(None, &same, day(1)), None);
    assert_eq!(rest(Some(&held), &same, day(59)), Some(DAY));
    assert_eq!(rest(Some(&held), &same, day(60)), None);
    assert_eq!(rest(Some(&held), &of(&names[..1]), day(59)), Some(DAY), "more than is wanted");
    assert_eq!(rest(Some(&held), &of(&["sbc2.example.net"]), day(1)), None);
    let key = KeyType::Rsa2048;
    assert_eq!(rest(Some(&held), &AcmeOrder { key, ..same.clone() }, day(1)), None);
    let held = Held { server: Some("https://other.example.net/dir".to_owned()), ..held };
    assert_eq!(rest(Some(&held), &same, day(1)), None, "another authority's");
}

#[test]
fn a_key_of_each_kind_is_known_again() {
    let dir = dir("kinds");
    for key in [KeyType::P384, KeyType::Rsa2048] {
        let names = &["sbc1.example.net"][..];
        let request = Request { names, key, days: Some((0, 90)), ..Request::default() };
        let leaf = Authority::new("Kinds").unwrap().issue(&request).unwrap();
        let held = Held { identity: leaf.identity().unwrap(), server: None };
        let now = SystemTime::UNIX_EPOCH + DAY * 20_455;
        assert!(rest(Some(&held), &AcmeOrder { key, ..order(&dir) }, now).is_some(), "{key:?}");
    }
}

#[test]
fn a_certificate_that_serves_is_not_given_up_for_one_that_does_not_fit() {
    let dir = dir("unfit");
    let file = dir.join("acme/wild.pem");
    let issued = |names: &[&str]| {
        let request = Request { names, ..Request::default() };
        Authority::new("Unfit").unwrap().issue(&request).unwrap()
    };
    let (good, bad) = (issued(&["sbc1.example.net"]), issued(&["other.example.net"]));
    let server = "https://acme.example.net/dir";
    let coming = || Coming::begin(&file, server, good.key_pem().to_owned()).unwrap();
    let fits = |held: &Held| held.identity.covers("sbc1.example.net");
    coming().finish(good.chain_pem(), fits).unwrap();
    assert_eq!(Held::load(&file).unwrap().server.as_deref(), Some(server));
    let before = std::fs::read(&file).unwrap();
    assert!(before.ends_with(good.key_pem().as_bytes()), "nothing of the room is left");

    // For another key, for other names, and none at all.
    assert!(matches!(coming().finish(bad.chain_pem(), fits), Err(Failure::Unfit)));
    let other = Coming::begin(&file, server, bad.key_pem().to_owned()).unwrap();
    assert!(matches!(other.finish(bad.chain_pem(), fits), Err(Failure::Unfit)));
    assert!(matches!(coming().finish("", fits), Err(Failure::Unfit)));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(std::fs::read_dir(dir.join("acme")).unwrap().count(), 1);
}

#[tokio::test]
async fn nobody_is_asked_for_what_cannot_be_written() {
    let dir = dir("full");
    // A folder cannot be made where a file is.
    std::fs::write(dir.join("acme"), "").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("https://{}/directory", listener.local_addr().unwrap());
    let order = AcmeOrder { server, ..order(&dir) };
    assert!(matches!(
        obtain(&order, &Doors::default(), std::future::pending()).await,
        Err(Failure::File { .. })
    ));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "the authority was asked");
}

#[test]
fn a_name_that_was_not_asked_for_reaches_no_program() {
    let order = AcmeOrder { names: vec!["*.sbc1.example.net".to_owned()], ..order(&dir("names")) };
    for name in ["sbc1.example.net", "*.sbc1.example.net"] {
        asked_for(&order, name).unwrap();
    }
    for name in ["", "-x", "a.sbc1.example.net", "sbc1.example.net;reboot", "*.*.sbc1.example.net"]
    {
        assert!(asked_for(&order, name).is_err(), "{name}");
    }
}

#[test]
fn an_order_has_time_for_its_records_to_be_everywhere() {
    let challenge = Challenge::Dns(PathBuf::from("hook"), Duration::from_secs(3600));
    let slow = AcmeOrder { challenge, ..order(&dir("longest")) };
    let others = hook::MAX * ORDERS_MAX as u32;
    assert_eq!(longest(&slow), ORDER_MAX + others + Duration::from_secs(3600));
    assert_eq!(longest(&order(&dir("longest"))), ORDER_MAX);
}

#[tokio::test]
async fn a_hook_that_nobody_waits_for_is_ended() {
    let dir = dir("left");
    let (hook, told) = (dir.join("hook"), dir.join("told"));
    // A shell, and what it runs.
    let text = format!(
        "#!/bin/sh\nsleep 100 &\necho $$ $! > {0}.new; mv {0}.new {0}\nwait\n",
        told.display()
    );
    program(&hook, &text);
    let seen = async {
        while !told.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = hook::run(&hook, "add", "_acme-challenge.a.example", "value") => panic!("{ended:?}"),
        () = seen => {}
    }
    let both = std::fs::read_to_string(&told).unwrap();
    let (shell, sleeps) = both.trim().split_once(' ').unwrap();
    let shell = Path::new("/proc").join(shell);
    assert!(!shell.exists(), "it is left, or not reaped");
    // Whoever reaps orphans reaps this one, in its own time.
    let state = || std::fs::read_to_string(Path::new("/proc").join(sleeps).join("stat"));
    while let Ok(state) = state() {
        if state.contains(") Z ") {
            break;
        }
        assert!(!state.contains(") S "), "it sleeps on");
        tokio::task::yield_now().await;
    }
}

/// What a program leaves running has its standard error, too.
#[test]
fn a_hook_that_leaves_a_child_keeps_neither_the_order_nor_the_end_of_the_process() {
    let dir = dir("child");
    let hook = dir.join("hook");
    for code in [0, 3] {
        program(&hook, &format!("#!/bin/sh\nsleep 20 &\necho sorry >&2\nexit {code}\n"));
        let (over, is_over) = std::sync::mpsc::channel();
        let hook = hook.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap();
            let ended = runtime.block_on(hook::run(&hook, "add", "a.example", "value"));
            drop(runtime);
            over.send(ended.map_err(|failure| failure.to_string())).unwrap();
        });
        let ended = is_over.recv_timeout(Duration::from_secs(10)).expect("it waits for the child");
        assert_eq!(ended.is_ok(), code == 0);
        assert!(ended.err().is_none_or(|said| said.ends_with("3: sorry")));
    }
}

#[tokio::test]
async fn the_port_of_proofs_is_free_for_the_next_order_at_once() {
    let at = own_port(1);
    let doors = Doors::default();
    for challenge in [Challenge::Http(at), Challenge::TlsAlpn(at), Challenge::Http(at)] {
        Proof::begin(&challenge, &doors).await.unwrap().end().await;
    }
}

#[tokio::test]
async fn a_file_over_http_is_shown_under_its_token_alone() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let at = own_port(2);
    let doors = Doors::default();
    let proof = Proof::begin(&Challenge::Http(at), &doors).await.unwrap();
    // Another order shows something there, too, and ends first.
    let mut other = Proof::begin(&Challenge::Http(at), &doors).await.unwrap();
    for (proof, token) in [(&proof, "one"), (&other, "two")] {
        let Proof::At { shown: proof::Shown::Tokens(tokens), .. } = proof else {
            panic!("it is HTTP")
        };
        tokens.lock().unwrap().insert(token.to_owned(), format!("{token}.thumb"));
    }
    let Proof::At { own, .. } = &mut other else { panic!("it is HTTP") };
    own.push("two".to_owned());
    other.end().await;
    assert!(Proof::begin(&Challenge::TlsAlpn(at), &doors).await.is_err(), "one kind at a time");
    let cases = [("GET", "one", "200"), ("GET", "two", "404"), ("POST", "one", "404")];
    for (method, token, status) in cases {
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let path = format!("/.well-known/acme-challenge/{token}");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        // It ends: a connection is for one request.
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{said}");
        assert_eq!(said.ends_with("\r\n\r\none.thumb"), status == "200", "{said}");
    }
}

#[test]
fn failures_come_less_and_less_often() {
    let minutes: Vec<u64> = (0..9).map(|failures| again_after(failures).as_secs() / 60).collect();
    assert_eq!(minutes, [5, 10, 20, 40, 80, 160, 320, 360, 360]);
    assert_eq!(again_after(u32::MAX), AGAIN_MAX);
}

#[test]
fn what_is_had_is_for_its_owner_alone_and_whole_at_once() {
    let dir = dir("write");
    let file = dir.join("acme/wild.pem");
    write(&file, "one").unwrap();
    write(&file, "two").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&dir.join("acme"))), (0o600, 0o700));
    assert_eq!(
        std::fs::read_dir(dir.join("acme")).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn each_authority_and_each_customer_has_an_account_of_its_own() {
    let dir = dir("accounts");
    let one = order(&dir);
    let server = "https://acme.example.net:14000/dir2".to_owned();
    let two = AcmeOrder { server, ..one.clone() };
    let external = Some(("customer-7".to_owned(), dir.join("key")));
    let three = AcmeOrder { external, ..one.clone() };
    let files = [&one, &two, &three].map(account_file);
    assert!(files[0] != files[1] && files[0] != files[2] && files[1] != files[2], "{files:?}");
    assert!(files[0].starts_with(dir.join("acme/accounts")));
    assert!(files[0].to_string_lossy().contains("acme.example.net-14000-dir"));
}

#[test]
fn the_key_of_a_customer_is_taken_as_authorities_hand_it_out() {
    let dir = dir("external");
    for text in ["-_-_AA", "-_-_AA==\n", "+/+/AA=="] {
        std::fs::write(dir.join("key"), text).unwrap();
        assert_eq!(external_key(&dir.join("key")).unwrap(), [251, 255, 191, 0], "{text}");
    }
    std::fs::write(dir.join("key"), "no key").unwrap();
    assert!(external_key(&dir.join("key")).is_err());
}

#[tokio::test]
async fn a_failure_raises_an_alarm_that_says_why_and_when_it_is_tried_again() {
    let dir = dir("failing");
    // Bound, so that nobody else listens there either.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let taken = nobody.local_addr().unwrap();
    let order = AcmeOrder { server: format!("https://{taken}/directory"), ..order(&dir) };
    let alarms = Alarms::new();
    let (_sender, wanted) = watch::channel([order.clone()].into());
    let tried = attend(&order, Tried::default(), &wanted, &alarms, &Doors::default()).await;
    assert_eq!(tried.failures, 1);
    let text = alarms.list().pop().unwrap().text;
    assert!(text.ends_with("; there is none; tried again in 5 minutes"), "{text}");
    assert!(!order.file.exists());
}

#[tokio::test]
async fn an_authority_that_says_nothing_keeps_back_no_order_at_another() {
    let dir = dir("beside");
    let listeners: Vec<_> =
        (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    // All want the same port of proofs.
    let at = own_port(3);
    let orders: Vec<AcmeOrder> = listeners
        .iter()
        .enumerate()
        .map(|(n, listener)| AcmeOrder {
            certificate: format!("c{n}"),
            server: format!("https://{}/directory", listener.local_addr().unwrap()),
            names: vec![format!("sbc{n}.example.net")],
            challenge: Challenge::Http(at),
            ..order(&dir)
        })
        .collect();
    let (wanted, watched) = watch::channel(orders.into());
    let keeping = tokio::spawn(keep(watched, Alarms::new()));
    let mut held = Vec::new();
    for listener in listeners {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let asked = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await;
        // Whoever holds the connection keeps its client waiting.
        held.push((asked.expect("it is not asked").unwrap().0, listener));
    }
    drop(wanted);
    let ended = tokio::time::timeout(Duration::from_secs(10), keeping).await;
    ended.expect("it does not end").unwrap();
    std::net::TcpListener::bind(at).expect("the port of proofs is free again");
}

#[tokio::test]
async fn an_authority_that_says_nothing_to_many_orders_leaves_room_for_one_at_another() {
    let dir = dir("room");
    let [silent, other] = [(), ()].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let at = own_port(4);
    std::fs::write(dir.join("key"), "AAAA").unwrap();
    let order = |n: usize, listener: &std::net::TcpListener| AcmeOrder {
        certificate: format!("c{n}"),
        server: format!("https://{}/directory", listener.local_addr().unwrap()),
        names: vec![format!("sbc{n}.example.net")],
        challenge: Challenge::Http(at),
        // Each has an account of its own to make.
        external: Some((format!("customer-{n}"), dir.join("key"))),
        ..order(&dir)
    };
    let mut orders: Vec<AcmeOrder> = (0..ORDERS_MAX + 2).map(|n| order(n, &silent)).collect();
    orders.push(order(orders.len(), &other));
    let (wanted, watched) = watch::channel(orders.into());
    let keeping = tokio::spawn(keep(watched, Alarms::new()));
    other.set_nonblocking(true).unwrap();
    let other = tokio::net::TcpListener::from_std(other).unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(10), other.accept()).await;
    let _held = asked.expect("it is not asked").unwrap();
    drop(wanted);
    let ended = tokio::time::timeout(Duration::from_secs(10), keeping).await;
    ended.expect("it does not end").unwrap();
}

#[test]
fn orders_that_prove_one_name_or_would_make_one_account_come_one_after_the_other() {
    let dir = dir("disturbs");
    let one = AcmeOrder { certificate: "one".to_owned(), ..order(&dir) };
    let elsewhere = "https://acme.example.com/dir".to_owned();
    let two = AcmeOrder { certificate: "two".to_owned(), server: elsewhere, ..order(&dir) };
    assert!(disturbs(&one, &two), "the same name");
    let two = AcmeOrder { names: vec!["sbc2.example.net".to_owned()], ..two };
    assert!(!disturbs(&one, &two));
    let two = AcmeOrder { server: one.server.clone(), ..two };
    assert!(disturbs(&one, &two), "there is no account yet");
    write(&account_file(&one), "{}").unwrap();
    assert!(!disturbs(&one, &two));
}

#[tokio::test]
async fn an_authority_that_says_nothing_keeps_back_no_order_that_is_wanted_now_nor_the_end() {
    let dir = dir("silent");
    let silent = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let asked = |listener: std::net::TcpListener| async move {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let asked = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await;
        // Whoever holds the connection keeps its client waiting.
        (asked.expect("it is not asked").unwrap().0, listener)
    };
    let (first, second) = (silent(), silent());
    let of = |listener: &std::net::TcpListener| {
        let server = format!("https://{}/directory", listener.local_addr().unwrap());
        Arc::from([AcmeOrder { server, ..order(&dir) }])
    };
    let (wanted, orders) = watch::channel(of(&first));
    let keeping = tokio::spawn(keep(orders, Alarms::new()));
    let _held = asked(first).await;
    wanted.send_replace(of(&second));
    let _held_too = asked(second).await;
    drop(wanted);
    let ended = tokio::time::timeout(Duration::from_secs(10), keeping).await;
    ended.expect("it does not end").unwrap();
}

#[tokio::test]
async fn what_a_hook_complains_of_is_told() {
    let dir = dir("hook");
    let hook = dir.join("hook");
    program(&hook, "#!/bin/sh\necho \"no zone for $2\" >&2\nexit 3\n");
    let challenge = Challenge::Dns(hook, Duration::ZERO);
    let mut proof = Proof::begin(&challenge, &Doors::default()).await.unwrap();
    let Proof::Dns { hook, .. } = &proof else { panic!("it is DNS") };
    let failure = hook::run(hook, "add", "_acme-challenge.a.example", "value").await.unwrap_err();
    let said = failure.to_string();
    assert!(said.contains("no zone for _acme-challenge.a.example"), "{said}");
    proof.end().await;
}
