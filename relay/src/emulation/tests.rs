//! Files of the emulation: the examples hold, the document knows every key, slips are told.

use super::peer::Peer;
use super::setup::{self, Attack, Part, Setup, Side};
use super::watch::{News, Watch};
use super::{Failure, attack, pki};
use crate::config::survey::{self, Tables};
use emulate::{Agent, Violation};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DOCUMENT: &str = include_str!("../../../docs/operations/emulate.md");
const TEAMS: &str = include_str!("../../../docs/operations/emulate/teams.toml");
const CARRIER: &str = include_str!("../../../docs/operations/emulate/carrier.toml");

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tollgate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.0.join("side.toml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn problems(side: Side, text: &str) -> Vec<String> {
    let folder = Folder::new("emulate-problems");
    match setup::read(side, &folder.file(text)) {
        Err(Failure::File(problems)) => {
            problems.iter().map(|it| format!("{}: {}", it.line, it.message)).collect()
        }
        other => panic!("{:?}", other.map(|_| "it holds").map_err(|error| error.to_string())),
    }
}

#[test]
fn examples_hold_and_certificates_are_made_once() {
    let folder = Folder::new("emulate-examples");
    let setup = setup::read(Side::Carrier, &folder.file(CARRIER)).unwrap();
    assert!(matches!(setup.part, Part::Carrier(_)));
    assert_eq!(setup.calls.len(), 1);
    let path = folder.file(TEAMS);
    let first = setup::read(Side::Teams, &path).unwrap();
    let Part::Teams(teams) = &first.part else { panic!() };
    assert_eq!((teams.endpoints.len(), teams.tenants.len()), (3, 3));
    assert_eq!(teams.script.forwards.len(), 1);
    let root = std::fs::read(folder.0.join("emulate-lab/root.pem")).unwrap();
    let again = setup::read(Side::Teams, &path).unwrap();
    assert!(again.told[0].starts_with("certificates are those in"), "{:?}", again.told);
    assert_eq!(std::fs::read(folder.0.join("emulate-lab/root.pem")).unwrap(), root);
    let sbc = pki::load(
        "sbc",
        Path::new(&folder.0.join("emulate-lab/sbc.pem")),
        Path::new(&folder.0.join("emulate-lab/sbc.key")),
    );
    let names = sbc.unwrap().named("sbc").unwrap();
    assert!(names.covers("contoso.sbc1.example.net"));
}

fn refused(side: Side, path: &Path) -> Failure {
    match setup::read(side, path) {
        Err(failure) => failure,
        Ok(_) => panic!("it holds"),
    }
}

#[test]
fn certificates_of_another_side_or_for_other_names_are_not_written_over() {
    let folder = Folder::new("emulate-labs");
    let path = folder.file(TEAMS);
    setup::read(Side::Teams, &path).unwrap();
    let root = || std::fs::read(folder.0.join("emulate-lab/root.pem")).unwrap();
    let before = root();
    let tls = CARRIER.replace("[carrier]", "[carrier]\ntransport = \"tls\"");
    setup::read(Side::Carrier, &folder.file(&tls)).unwrap();
    assert!(folder.0.join("emulate-lab-carrier/carrier.pem").exists());
    let shared = tls.replace("[carrier]", "[carrier]\nlab = \"emulate-lab\"");
    let failure = refused(Side::Carrier, &folder.file(&shared));
    assert!(matches!(failure, Failure::Foreign { .. }), "{failure}");
    let added = "[[tenant]]\nfqdn = \"late.sbc1.example.net\"\naddress = \"127.0.0.1:5061\"\n";
    let failure = refused(Side::Teams, &folder.file(&format!("{TEAMS}{added}")));
    assert!(failure.to_string().contains("is not for late.sbc1.example.net"), "{failure}");
    assert_eq!(root(), before);
}

/// A port of this address that nobody is on.
fn free(address: &str) -> SocketAddr {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn border_controller_that_is_down_breaks_no_rule_and_holds_against_nobody() {
    let folder = Folder::new("emulate-down");
    let setup = setup::read(Side::Teams, &folder.file(TEAMS)).unwrap();
    let attack = Attack {
        fqdn: "sbc1.example.net".to_owned(),
        sbc: free("127.0.14.9"),
        inside: [127, 0, 14, 1].into(),
        // Not one of this host.
        outside: Some([192, 0, 2, 1].into()),
        stranger: None,
        roots: setup.access.roots,
        after: Duration::ZERO,
    };
    let attempts = attack::play(&attack).await;
    let held: Vec<_> = attempts.iter().map(attack::Attempt::held).collect();
    assert_eq!(held, [false; 3]);
    let (mut watch, mut news) = (Watch::new(), News::default());
    watch.attacked(&attempts, &mut news);
    assert_eq!((news.broken.len(), news.undone.len()), (0, 3), "{news:?}");
    assert!(news.undone[0].contains("cannot call from 192.0.2.1"), "{news:?}");
    assert!(news.undone[1].contains("was not reached"), "{news:?}");
}

/// A handshake that fails as we do not believe the border controller's certificate refuses nobody.
#[tokio::test]
async fn attack_whose_own_side_ends_the_handshake_proves_nothing() {
    let folder = Folder::new("emulate-unbelieved");
    let at = free("127.0.14.3");
    let text = format!(
        "[teams]\nlisten = [\"{at}\"]\nsources = [\"127.0.14.0/24\"]\n\
         [[tenant]]\nfqdn = \"one.example.net\"\naddress = \"127.0.14.9:5061\"\n"
    );
    let setup = setup::read(Side::Teams, &folder.file(&text)).unwrap();
    let believed = setup.access.roots.clone();
    let other = Folder::new("emulate-other");
    let believed_elsewhere = setup::read(Side::Teams, &other.file(&text)).unwrap().access.roots;
    let Part::Teams(teams) = setup.part else { panic!() };
    // It stands for a border controller: it lets in whom its root is behind.
    let peer = Peer::start(setup.access, setup.tones, |media, rng| Agent::teams(teams, media, rng));
    let peer = peer.unwrap();
    for (roots, held) in [(believed, true), (believed_elsewhere, false)] {
        let attack = Attack {
            fqdn: "sip.pstnhub.microsoft.com".to_owned(),
            sbc: at,
            inside: [127, 0, 14, 1].into(),
            outside: None,
            stranger: None,
            roots,
            after: Duration::ZERO,
        };
        let attempts = attack::play(&attack).await;
        assert!(attempts.iter().all(|attempt| attempt.held() == held), "{attempts:?}");
        let (mut watch, mut news) = (Watch::new(), News::default());
        watch.attacked(&attempts, &mut news);
        let undone = if held { 0 } else { attempts.len() };
        assert_eq!((news.broken.len(), news.undone.len()), (0, undone), "{news:?}");
    }
    peer.stop().await;
}

/// TDR-CON-005, by the certificate of a real connection.
#[tokio::test]
async fn tenant_on_the_connection_of_another_is_told() {
    let folder = Folder::new("emulate-shown");
    let at = free("127.0.14.2");
    let text = format!(
        "[teams]\nlisten = [\"{at}\"]\nsources = [\"127.0.14.0/24\"]\n\
         [[tenant]]\nfqdn = \"one.example.net\"\naddress = \"127.0.14.9:5061\"\n"
    );
    let path = folder.file(&text);
    setup::read(Side::Teams, &path).unwrap();
    let lab = folder.0.join("emulate-lab");
    let own = "[teams]\nroots = \"emulate-lab/root.pem\"\nchain = \"emulate-lab/teams.pem\"\n\
               key = \"emulate-lab/teams.key\"";
    let text = text.replace("[teams]", own);
    let second = "[[tenant]]\nfqdn = \"two.example.net\"\naddress = \"127.0.14.9:5061\"\n";
    let Setup { part, access, tones, .. } =
        setup::read(Side::Teams, &folder.file(&format!("{text}{second}"))).unwrap();
    let Part::Teams(teams) = part else { panic!() };
    let peer = Peer::start(access, tones, |media, rng| Agent::teams(teams, media, rng)).unwrap();
    let roots = certs::Roots::file(&lab.join("root.pem")).unwrap();
    let identities = pki::load("sbc", &lab.join("sbc.pem"), &lab.join("sbc.key")).unwrap();
    let ask = |fqdn: &'static str| {
        let request = format!(
            "OPTIONS sip:sip.pstnhub.microsoft.com:5061;transport=tls SIP/2.0\r\n\
             Via: SIP/2.0/TLS {fqdn}:5061;branch=z9hG4bK{fqdn}\r\nMax-Forwards: 70\r\n\
             From: <sip:{fqdn}:5061>;tag=1\r\nTo: <sip:sip.pstnhub.microsoft.com:5061>\r\n\
             Call-ID: {fqdn}\r\nCSeq: 1 OPTIONS\r\n\
             Contact: <sip:{fqdn}:5061;transport=tls>\r\nContent-Length: 0\r\n\r\n"
        );
        let (identities, roots) = (identities.clone(), roots.clone());
        tokio::spawn(async move {
            let dialled = (at, "sip.pstnhub.microsoft.com");
            let shows = (Some((&identities, "sbc")), &roots);
            let mut got = attack::Got::default();
            let from = [127, 0, 14, 9].into();
            attack::try_it(from, dialled, shows, request.as_bytes(), &mut got).await
        })
    };
    let mut events = peer.events();
    let (one, two) = (ask("one.example.net"), ask("two.example.net"));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let emulate::Event::OptionsReceived { host, status } = events.recv().await.unwrap() {
            seen.push((host, status));
        }
    }
    seen.sort();
    assert_eq!(seen, [("one.example.net".to_owned(), 200), ("two.example.net".to_owned(), 403)]);
    let violations: Vec<Violation> = peer.with(|agent, _| agent.take_violations()).await.unwrap();
    let rules: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
    assert_eq!(rules, ["TDR-CON-005"]);
    for asking in [one, two] {
        asking.abort();
    }
    peer.stop().await;
}

#[test]
fn slips_are_told_with_their_lines() {
    let text = TEAMS.replace("3s music", "3 music").replace("forks", "fork");
    let told = problems(Side::Teams, &text);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("`progress = \"fork\"` is not one of"), "{told:#?}");
    assert!(told[1].contains("\"3 music\" in `then`"), "{told:#?}");
    let told = problems(Side::Carrier, "[carrier]\nlisten = \"127.0.0.1:5060\"\nsbcs = 1\n");
    assert!(told.iter().any(|it| it.contains("`sbc` is missing")), "{told:#?}");
    assert!(told.iter().any(|it| it.contains("unknown key `sbcs`")), "{told:#?}");
    let told = problems(Side::Teams, "[teams]\nlisten = []\n");
    assert!(told.iter().any(|it| it.contains("`tenant` is missing")), "{told:#?}");
    let odd = "[[user]]\nnumber = \"*\"\ndoes = \"refuse\"\nsub_code = 1\n";
    let told = problems(Side::Teams, &format!("{TEAMS}{odd}"));
    assert!(told[0].contains("none that Microsoft is known to give"), "{told:#?}");
}

/// What the reader asks for in a file of this side.
fn asked(side: Side) -> Tables {
    let folder = Folder::new("emulate-survey");
    let path = folder.file("");
    survey::of(|| {
        let _ = setup::read(side, &path);
    })
}

#[test]
fn document_knows_every_key() {
    for side in [Side::Teams, Side::Carrier] {
        for (table, keys) in asked(side) {
            for key in keys.keys() {
                let known = DOCUMENT.contains(&format!("`{key}`"))
                    || DOCUMENT.contains(&format!("[{key}]"));
                assert!(known, "{key} of [{table}] is not in docs/operations/emulate.md");
            }
        }
    }
}
