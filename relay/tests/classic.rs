//! A tenant that is a trunk of its own in its Teams tenant, beside one of the carrier's, on one listener:
//! OPTIONS under each name, with the certificate that is for it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a test that fails")]

mod running;

use certs::lab::Authority;
use certs::{Identities, Identity, Roots, ServerIdentity, Trust};
use running::Running;
use rustls::{ServerConfig, ServerConnection, Stream};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

const TEAMS: &str = "sip.pstnhub.microsoft.com";
const BASE: &str = "sbc1.example.net";
const OWN: &str = "sbc.contoso.com";

/// What came as OPTIONS: the host in Contact, and the certificate of the connection.
type Asked = (String, Vec<u8>);

/// Teams, as far as it takes OPTIONS on any number of connections.
fn teams(path: &Path, authority: &Authority, listener: TcpListener) -> mpsc::Receiver<Asked> {
    let (chain, key) = authority.leaf(&[TEAMS]).unwrap().write(path, "teams").unwrap();
    let identity = Arc::new(Identity::load(&chain, &key).unwrap());
    let identities = Identities::new([("teams".to_owned(), identity)]);
    let roots = Roots::file(&path.join("root.pem")).unwrap();
    let trust = Trust { roots, names: vec![BASE.to_owned(), OWN.to_owned()] };
    let config = certs::server_config(ServerIdentity::new(identities, "teams"), &trust).unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, tell) = (Arc::clone(&config), tell.clone());
            let Ok(stream) = stream else { return };
            std::thread::spawn(move || serve(config, stream, &tell));
        }
    });
    told
}

/// Serves one connection until it ends.
fn serve(
    config: Arc<ServerConfig>,
    mut stream: TcpStream,
    tell: &mpsc::Sender<Asked>,
) -> Option<()> {
    let mut connection = ServerConnection::new(config).ok()?;
    let mut text = String::new();
    let mut chunk = [0; 4096];
    loop {
        let mut wire = Stream::new(&mut connection, &mut stream);
        let read = wire.read(&mut chunk).ok().filter(|read| *read > 0)?;
        text.push_str(&String::from_utf8_lossy(chunk.get(..read)?));
        while let Some((request, rest)) = text.split_once("\r\n\r\n") {
            let line = |name: &str| request.lines().find(|line| line.starts_with(name));
            let contact = line("Contact: <sip:")?.trim_start_matches("Contact: <sip:");
            let host = contact.split(':').next()?.to_owned();
            let same: Vec<&str> = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
                .into_iter()
                .filter_map(line)
                .collect();
            let answer =
                format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", same.join("\r\n"));
            let rest = rest.to_owned();
            let mut wire = Stream::new(&mut connection, &mut stream);
            wire.write_all(answer.as_bytes()).ok()?;
            let leaf = connection.peer_certificates()?.first()?.to_vec();
            tell.send((host, leaf)).ok()?;
            text = rest;
        }
    }
}

/// The leaf in a PEM file that we have written ourselves.
fn leaf(file: &Path) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_file(file).unwrap().to_vec()
}

/// TDR-MT-011 TDR-OPT-010
#[test]
fn each_name_is_asked_under_with_the_certificate_that_is_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut told = None;
    let running = Running::start_in("classic", |path, authority, host| {
        authority.leaf(&[OWN]).unwrap().write(path, "own").unwrap();
        told = Some(teams(path, authority, listener));
        let own = running::tenant("own", "+4940123450", 10).replace("own.sbc1.example.net", OWN);
        std::fs::write(path.join("tenants.d/own.toml"), format!("model = \"classic\"\n{own}"))
            .unwrap();
        let own =
            "[[certificate]]\nname = \"own\"\nchain = \"own.pem\"\nkey = \"own.key\"\n[[listener]]";
        let targets = format!("kind = \"teams\"\ntargets = [\"{TEAMS}:{port}\"]");
        let unasked = "kind = \"teams\"\noptions_interval = \"off\"";
        assert!(host.contains(unasked));
        host.replacen("[[listener]]", own, 1).replace(unasked, &targets)
    });
    let told = told.unwrap();
    let mut asked = BTreeSet::new();
    while asked.len() < 2 {
        asked.insert(told.recv_timeout(Duration::from_secs(20)).unwrap());
    }
    let (wild, own) = (leaf(&running.file("wild.pem")), leaf(&running.file("own.pem")));
    let expected = [(OWN.to_owned(), own), (BASE.to_owned(), wild)];
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), expected);
    running.wait_for("both names to be taken", || {
        let text = running.told(&["trunks", "--json"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let fqdns = value["fqdns"].as_array().unwrap().clone();
        fqdns.len() == 2 && fqdns.iter().all(|row| row["up"] == true)
    });
    let text = running.told(&["teams", "onboard", "own"]);
    assert!(text.contains(&format!("New-CsOnlinePSTNGateway -Fqdn '{OWN}'")), "{text}");
}
