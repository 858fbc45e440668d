//! When a certificate is asked for, and what is left on disk. That an authority grants it is seen against
//! a real one (interop).

use super::*;
use crate::config::Challenge;
use b2bua::plan::Roots;
use certs::acme::KeyType;
use certs::lab::{Authority, Request};
use std::os::unix::fs::PermissionsExt as _;

const DAY: Duration = Duration::from_secs(86_400);

fn dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("tollgate-acme-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
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
    let (chain, key) = leaf.write(&dir, "due").unwrap();
    let held = Identity::load(&chain, &key).unwrap();
    let day = |days: u32| SystemTime::UNIX_EPOCH + DAY * (20_454 + days);
    let wanted = |names: &[&str]| names.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
    let (same, other) = (wanted(&["*.sbc1.example.net", "sbc1.example.net"]), wanted(&names[..1]));
    assert_eq!(rest(None, &same, day(1)), None);
    assert_eq!(rest(Some(&held), &same, day(59)), Some(DAY));
    assert_eq!(rest(Some(&held), &same, day(60)), None);
    assert_eq!(rest(Some(&held), &other, day(1)), None);
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
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let order = AcmeOrder {
        // Nobody speaks TLS there: it is closed at once.
        server: format!("https://{taken}/directory"),
        ..order(&dir)
    };
    drop(listener);
    let alarms = Alarms::new();
    let tried = attend(&order, Tried::default(), &alarms).await;
    assert_eq!(tried.failures, 1);
    let text = alarms.list().pop().unwrap().text;
    assert!(text.ends_with("; there is none; tried again in 5 minutes"), "{text}");
    assert!(!order.file.exists());
}

#[tokio::test]
async fn what_a_hook_complains_of_is_told() {
    let dir = dir("hook");
    let hook = dir.join("hook");
    std::fs::write(&hook, "#!/bin/sh\necho \"no zone for $2\" >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let challenge = Challenge::Dns(hook, Duration::ZERO);
    let mut proof = Proof::begin(&challenge).await.unwrap();
    let Proof::Dns { hook, .. } = &proof else { panic!("it is DNS") };
    let failure = proof::run(hook, "add", "_acme-challenge.a.example", "value").await.unwrap_err();
    let said = failure.to_string();
    assert!(said.contains("no zone for _acme-challenge.a.example"), "{said}");
    proof.end().await;
}
