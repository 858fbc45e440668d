//! What an operator's files may look like, and what is said of those that cannot be used.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use certs::lab::{Authority, Key, Purpose, Request};
use certs::{FileProblem, Identities, Identity, KeyKind, PeerRefusal, Roots};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A directory of this test's own.
fn dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("files").join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn identity(dir: &Path, authority: &Authority, names: &[&str]) -> Identity {
    let (chain, key) = authority.leaf(names).unwrap().write(dir, "leaf").unwrap();
    Identity::load(&chain, &key).unwrap()
}

/// TDR-CRT-003, TDR-CRT-004
#[test]
fn wildcard_stands_for_one_label_and_not_for_its_base() {
    let dir = dir("wildcard");
    let authority = Authority::new("Wild").unwrap();
    let identity = identity(&dir, &authority, &["*.contoso.com", "*.sbc1.adatum.biz", "192.0.2.7"]);
    // The table of TDR-CRT-004.
    for (name, covered) in [
        ("sbc.contoso.com", true),
        ("SBC.Contoso.COM", true),
        ("sbc.test.contoso.com", false),
        ("customer10.sbc1.contoso.com", false),
        ("contoso.com", false),
        ("woodgrovebank.sbc1.adatum.biz", true),
        ("sbc1.adatum.biz", false),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("not a name", false),
        ("", false),
    ] {
        assert_eq!(identity.covers(name), covered, "{name}");
    }
    assert_eq!(identity.names(), ["*.contoso.com", "*.sbc1.adatum.biz", "192.0.2.7"]);
}

/// TDR-CRT-022
#[test]
fn crlf_notes_and_cisco_paste_around_the_blocks_do_not_matter() {
    let dir = dir("untidy");
    let authority = Authority::new("Untidy").unwrap();
    let leaf = authority.leaf(&["sbc1.example.net"]).unwrap();
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let chain = format!(
        "\u{feff}Bag Attributes\r\n  friendlyName: sbc\r\nsubject=CN = sbc1\r\n{}quit\r\n",
        crlf(leaf.chain_pem())
            .replace("-----END CERTIFICATE-----\r\n", "-----END CERTIFICATE-----\r\nquit\r\n")
    );
    std::fs::write(dir.join("chain.pem"), chain).unwrap();
    std::fs::write(
        dir.join("key.pem"),
        format!("Key Attributes: none\r\n{}", crlf(leaf.key_pem())),
    )
    .unwrap();
    let identity = Identity::load(&dir.join("chain.pem"), &dir.join("key.pem")).unwrap();
    assert_eq!(identity.chain_len(), 2);
    assert!(identity.covers("sbc1.example.net"));
}

#[test]
fn byte_order_mark_right_before_begin_does_not_hide_the_first_certificate() {
    let dir = dir("bom");
    let leaf = Authority::new("Bom").unwrap().leaf(&["a.example.net"]).unwrap();
    std::fs::write(dir.join("chain.pem"), format!("\u{feff}{}", leaf.chain_pem())).unwrap();
    std::fs::write(dir.join("key.pem"), leaf.key_pem()).unwrap();
    let identity = Identity::load(&dir.join("chain.pem"), &dir.join("key.pem")).unwrap();
    assert_eq!(identity.chain_len(), 2);
}

#[test]
fn each_broken_file_is_named_with_what_is_wrong_and_a_way_out() {
    let dir = dir("broken");
    let authority = Authority::new("Broken").unwrap();
    let leaf = authority.leaf(&["a.example.net"]).unwrap();
    let other = authority.leaf(&["b.example.net"]).unwrap();
    let (chain, key) = leaf.write(&dir, "a").unwrap();
    let (_, other_key) = other.write(&dir, "b").unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let problem = |chain: &Path, key: &Path, at: &Path| {
        let error = Identity::load(chain, key).unwrap_err();
        assert_eq!(error.path, at, "{error}");
        assert!(error.to_string().starts_with(&at.display().to_string()));
        assert!(!error.hint().is_empty());
        error.problem
    };

    let missing = dir.join("missing.pem");
    assert!(matches!(problem(&missing, &key, &missing), FileProblem::Unreadable(_)));
    let empty = file("empty.pem", "");
    assert!(matches!(problem(&empty, &key, &empty), FileProblem::NoCertificate));
    assert!(matches!(problem(&key, &key, &key), FileProblem::NoCertificate));
    assert!(matches!(problem(&chain, &chain, &chain), FileProblem::NoKey));
    assert!(matches!(problem(&chain, &other_key, &other_key), FileProblem::KeyMismatch { .. }));
    let torn = file("torn.pem", &leaf.chain_pem()[..200]);
    assert!(matches!(problem(&torn, &key, &torn), FileProblem::Damaged(_)));
    let noise = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let noise = file("noise.pem", noise);
    assert!(matches!(problem(&noise, &key, &noise), FileProblem::NotX509(_)));
    let sealed =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let sealed = file("sealed.key", sealed);
    assert!(matches!(problem(&chain, &sealed, &sealed), FileProblem::EncryptedKey));
    let alien = file("alien.pem", &(leaf.chain_pem().to_owned() + other.chain_pem()));
    assert!(matches!(problem(&alien, &key, &alien), FileProblem::OutOfOrder { number: 2, .. }));
    assert!(matches!(Roots::file(&empty).unwrap_err().problem, FileProblem::NoCertificate));
}

/// TDR-CRT-020: SHA-1 as Microsoft has announced them.
#[test]
fn the_seven_roots_that_are_shipped_are_those_of_microsoft() {
    let announced = [
        "A8985D3A65E5E5C4B2D7D66D40C6DD2FB19C5436",
        "DF3C24F9BFD666761B268073FE06D1CC8D4F82A4",
        "7E04DE896A3E666D00E687D33FFAD93BE83D349E",
        "17F3DE5E9F0F19E98EF61F32266E20C407AE30EE",
        "A78849DC5D7C758C8CDE399856B3AAD0B2A57135",
        "999A64C37FF47D9FAB95F14769891460EEC4C3C5",
        "73A5E64A3BFF8316FF0EDCCC618A906E4EAE4D74",
    ];
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("roots/microsoft.pem");
    let text = std::fs::read(&file).unwrap();
    let shipped: Vec<String> = CertificateDer::pem_slice_iter(&text)
        .map(|one| {
            let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
            let digest = aws_lc_rs::digest::digest(sha1, one.unwrap().as_ref());
            digest.as_ref().iter().map(|octet| format!("{octet:02X}")).collect()
        })
        .collect();
    assert_eq!(shipped, announced);
    let roots = Roots::microsoft();
    assert_eq!(roots.len(), 7);
    assert!(roots.lacks_of_microsoft().is_empty());
    let dir = dir("other-root");
    let other = Authority::new("Other").unwrap();
    let other = Roots::file(&other.write_root(&dir, "other").unwrap()).unwrap();
    assert_eq!(other.lacks_of_microsoft().len(), 7);
    let both = Roots::all(&[other, roots.clone(), roots]);
    assert_eq!((both.len(), both.lacks_of_microsoft().len()), (8, 0), "none is there twice");
}

/// As OpenSSL 3 writes them, and as Windows and OpenSSL 1 did.
#[test]
fn pkcs12_of_each_make_opens_and_only_with_its_password() {
    let dir = dir("pkcs12");
    let authority = Authority::new("Pkcs12").unwrap();
    let leaf = authority.leaf(&["a.example.net"]).unwrap();
    let (chain, key) = leaf.write(&dir, "a").unwrap();
    let root = authority.write_root(&dir, "root").unwrap();
    let makes: [&[&str]; 3] = [
        &[],
        &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
        &["-keypbe", "AES-128-CBC", "-certpbe", "NONE", "-macalg", "sha512"],
    ];
    for make in makes {
        let file = dir.join("a.p12");
        let status = std::process::Command::new("openssl")
            .args(["pkcs12", "-export", "-passout", "pass:s3cret äß", "-in"])
            .arg(&chain)
            .arg("-inkey")
            .arg(&key)
            // A root in it is not shown: a far side has it, or does not believe it.
            .arg("-certfile")
            .arg(&root)
            .arg("-out")
            .arg(&file)
            .args(make)
            .status();
        assert!(status.expect("openssl is installed").success());
        let identity = Identity::load_pkcs12(&file, "s3cret äß").unwrap();
        assert_eq!(identity.chain_len(), 2, "{make:?}");
        assert_eq!(identity.fingerprint(), Identity::load(&chain, &key).unwrap().fingerprint());
        let error = Identity::load_pkcs12(&file, "wrong").unwrap_err();
        assert!(matches!(error.problem, FileProblem::WrongPassword), "{make:?}: {error}");
    }
    let error = Identity::load_pkcs12(&chain, "s3cret äß").unwrap_err();
    assert!(matches!(error.problem, FileProblem::NotPkcs12), "{error}");
}

#[test]
fn a_certificate_that_is_still_to_come_is_chosen_for_no_name_but_its_listeners() {
    let dir = dir("pending");
    let authority = Authority::new("Pending").unwrap();
    let pending = Arc::new(Identity::pending(&["*.one.example".to_owned()]).unwrap());
    assert!(pending.is_pending() && pending.covers("a.one.example"));
    let there = Arc::new(identity(&dir, &authority, &["*.one.example"]));
    let named = [("a".to_owned(), Arc::clone(&pending)), ("b".to_owned(), Arc::clone(&there))];
    let identities = Identities::new(named);
    let chosen = |default| identities.choose(Some("a.one.example"), default).unwrap().is_pending();
    assert!(!chosen("a") && !chosen("b") && !chosen("c"), "a peer believes the one that is there");
    let other = identities.choose(Some("unknown.example"), "a").unwrap();
    assert!(other.is_pending());
    let alone = Identities::new([("a".to_owned(), pending)]);
    assert!(alone.choose(Some("a.one.example"), "a").unwrap().is_pending());
}

#[test]
fn key_octets_are_neither_in_errors_nor_in_debug() {
    let dir = dir("secret");
    let leaf = Authority::new("Secret").unwrap().leaf(&["a.example.net"]).unwrap();
    let (chain, key) = leaf.write(&dir, "a").unwrap();
    let secret = leaf.key_pem().lines().nth(1).unwrap();
    assert!(!format!("{:?}", Identity::load(&chain, &key).unwrap()).contains(secret));
    // A BEGIN line glued to the key's first line: the decoder quotes it.
    let glued = leaf.key_pem().replacen("-----\n", "-----", 1);
    std::fs::write(&key, glued).unwrap();
    let error = Identity::load(&chain, &key).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&secret[..20]));
}

/// TDR-CRT-002, TDR-CRT-005
#[test]
fn facts_of_a_certificate_are_read_as_they_are() {
    let dir = dir("facts");
    let authority = Authority::with_key("Facts", Key::P384).unwrap();
    let names = &["sbc1.example.net"][..];
    let request =
        Request { names, key: Key::Rsa2048, purpose: Purpose::Server, expired: true, days: None };
    let (chain, key) = authority.issue(&request).unwrap().write(&dir, "rsa").unwrap();
    let identity = Identity::load(&chain, &key).unwrap();
    assert_eq!(identity.key_kind(), KeyKind::Rsa(2048));
    assert!(identity.for_servers() && !identity.for_clients());
    let days = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
    assert_eq!(identity.not_after(), days(11_688)); // 2002-01-01
    assert_eq!(identity.not_before(), days(11_323)); // 2001-01-01

    let request = Request { names, key: Key::P384, purpose: Purpose::Client, ..Request::default() };
    let (chain, key) = authority.issue(&request).unwrap().write(&dir, "ec").unwrap();
    let identity = Identity::load(&chain, &key).unwrap();
    assert_eq!(identity.key_kind(), KeyKind::Ecdsa(384));
    assert!(!identity.for_servers() && identity.for_clients());
}

/// TDR-CRT-006
#[test]
fn missing_intermediate_is_found_before_a_far_side_finds_it() {
    let dir = dir("chain");
    let authority = Authority::new("Chain").unwrap();
    let leaf = authority.leaf(&["a.example.net"]).unwrap();
    let roots = Roots::file(&authority.write_root(&dir, "root").unwrap()).unwrap();
    let (chain, key) = leaf.write(&dir, "a").unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000);
    assert_eq!(Identity::load(&chain, &key).unwrap().reaches(&roots, now), Ok(()));
    let end = leaf.chain_pem().find("-----END CERTIFICATE-----\n").unwrap() + 26;
    std::fs::write(&chain, &leaf.chain_pem()[..end]).unwrap();
    let alone = Identity::load(&chain, &key).unwrap();
    assert_eq!(alone.reaches(&roots, now), Err(PeerRefusal::UnknownIssuer));
}

/// TDR-CRT-009
#[test]
fn name_asked_for_decides_and_the_listeners_own_is_the_fallback() {
    let dir = dir("choose");
    let authority = Authority::new("Choose").unwrap();
    let one = Arc::new(identity(&dir, &authority, &["*.one.example"]));
    let two = Arc::new(identity(&dir, &authority, &["*.two.example", "a.one.example"]));
    let named = |one: &Arc<Identity>| {
        [("one".to_owned(), Arc::clone(one)), ("two".to_owned(), Arc::clone(&two))]
    };
    let identities = Identities::new(named(&one));
    let chosen = |asked, default| identities.choose(asked, default).map(|one| one.names().to_vec());
    assert_eq!(chosen(Some("a.two.example"), "one").unwrap()[0], "*.two.example");
    assert_eq!(chosen(Some("a.one.example"), "one").unwrap()[0], "*.one.example");
    assert_eq!(chosen(Some("a.one.example"), "two").unwrap()[0], "*.two.example");
    assert_eq!(chosen(Some("unknown.example"), "two").unwrap()[0], "*.two.example");
    assert_eq!(chosen(None, "one").unwrap()[0], "*.one.example");
    assert_eq!(chosen(None, "gone"), None);

    // Two have the same wildcard, and the one that is asked for by its whole name is found before it.
    let other = Arc::new(identity(&dir, &authority, &["b.one.example"]));
    let identities =
        Identities::new(named(&one).into_iter().chain([("other".to_owned(), Arc::clone(&other))]));
    assert_eq!(identities.choose(Some("B.one.example"), "two").unwrap().names(), other.names());
    assert_eq!(identities.choose(Some("c.one.example"), "two").unwrap().names(), one.names());
}

/// TDR-CRT-007, TDR-CRT-009
#[test]
fn one_that_has_ended_hides_the_wildcard_that_is_valid() {
    let dir = dir("ended");
    let authority = Authority::new("Ended").unwrap();
    let made = |file: &str, request: Request<'_>| {
        let (chain, key) = authority.issue(&request).unwrap().write(&dir, file).unwrap();
        (file.to_owned(), Arc::new(Identity::load(&chain, &key).unwrap()))
    };
    let whole = &["a.example.net"][..];
    let past = made("past", Request { names: whole, expired: true, ..Request::default() });
    let wild = made("wild", Request { names: &["*.example.net"], ..Request::default() });
    let identities = Identities::new([past.clone(), wild.clone()]);
    // By the whole name, and as a listener's own.
    for default in ["none", "past"] {
        let chosen = identities.choose(Some("a.example.net"), default).unwrap();
        assert_eq!(chosen.fingerprint(), wild.1.fingerprint(), "{default}");
    }
    // Of two that have ended the listener's own is no worse.
    let older =
        made("older", Request { names: &["*.example.net"], expired: true, ..Request::default() });
    let identities = Identities::new([past.clone(), older]);
    let chosen = identities.choose(Some("a.example.net"), "past").unwrap();
    assert_eq!(chosen.fingerprint(), past.1.fingerprint());
}

/// TDR-CRT-002, TDR-CRT-005, TDR-CRT-009
#[test]
fn next_years_certificate_and_one_that_teams_refuses_do_not_hide_the_one_that_is_good() {
    let dir = dir("better");
    let authority = Authority::new("Better").unwrap();
    let made = |file: &str, request: Request<'_>| {
        let request = Request { names: &["a.example.net"], ..request };
        let (chain, key) = authority.issue(&request).unwrap().write(&dir, file).unwrap();
        (file.to_owned(), Arc::new(Identity::load(&chain, &key).unwrap()))
    };
    // Without days, leaves are valid until 4096.
    let longer = Some((0, 800_000));
    let good = made("good", Request { key: Key::Rsa2048, ..Request::default() });
    let ec = made("ec", Request { days: longer, ..Request::default() });
    let client = Request { purpose: Purpose::Client, key: Key::Rsa2048, ..Request::default() };
    let client = made("client", Request { days: longer, ..client });
    let rsa = Request { key: Key::Rsa2048, ..Request::default() };
    let future = made("future", Request { days: Some((700_000, 800_000)), ..rsa.clone() });
    let past = made("past", Request { expired: true, ..rsa });
    let chosen = |all: &[&(String, Arc<Identity>)]| {
        let identities = Identities::new(all.iter().map(|one| (*one).clone()));
        identities.choose(Some("a.example.net"), "none").unwrap().fingerprint()
    };
    for other in [&ec, &client, &future, &past] {
        assert_eq!(chosen(&[other, &good]), good.1.fingerprint(), "{}", other.0);
    }
    assert_eq!(chosen(&[&past, &ec]), ec.1.fingerprint(), "an end that has passed counts first");
    assert_eq!(chosen(&[&future]), future.1.fingerprint(), "better than none");
}
