//! Hooks against a small service on this host that answers well, slowly, wrongly or not at all.

use super::{Answered, Hooks};
use b2bua::CallId;
use b2bua::hook::{Failure, RouteAnswer, RouteQuestion};
use b2bua::plan::{Hook, Roots, RouteFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};

const TABLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"action\":\"table\"}";
/// A test that waits for longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the service does with a request.
#[derive(Clone)]
enum Does {
    /// Answers with these octets.
    Says(String),
    /// The same, then closes the connection.
    SaysAndCloses(String),
    /// Never answers.
    Waits,
}

struct Service {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Does one thing after the other, and the last one for good.
    async fn start(does: Vec<Does>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::default(), Arc::default());
        let service = Self { address, connections, requests };
        let (connections, requests) =
            (Arc::clone(&service.connections), Arc::clone(&service.requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, does.clone(), Arc::clone(&requests)));
            }
        });
        service
    }

    fn hook(&self) -> Hook {
        Hook {
            url: format!("http://{}/route?v=1", self.address),
            timeout: PATIENCE,
            ..Hook::default()
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, does: Vec<Does>, requests: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = request(&mut stream).await {
        let turn = {
            let mut requests = requests.lock().await;
            requests.push(request);
            requests.len() - 1
        };
        match does.get(turn).or(does.last()) {
            Some(Does::Says(text)) => stream.write_all(text.as_bytes()).await.unwrap(),
            Some(Does::SaysAndCloses(text)) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Some(Does::Waits) | None => std::future::pending().await,
        }
    }
}

/// Head and body of one request; `None` at the end of the connection.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut octets = Vec::new();
    loop {
        let text = String::from_utf8(octets.clone()).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                return Some(text);
            }
        }
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(len) => octets.extend_from_slice(&chunk[..len]),
        }
    }
}

struct Asker {
    hooks: Hooks,
    answers: mpsc::Receiver<Answered>,
    calls: u64,
}

impl Asker {
    fn new() -> Self {
        let (sender, answers) = mpsc::channel(16);
        Self { hooks: Hooks::new(sender, Handle::current()), answers, calls: 0 }
    }

    fn question(&mut self, hook: &Arc<Hook>, called: &str) -> RouteQuestion {
        self.calls += 1;
        RouteQuestion {
            call: CallId(self.calls),
            tenant: "contoso".into(),
            hook: Arc::clone(hook),
            from: RouteFrom::Carrier,
            via: "colt".into(),
            called: called.into(),
            calling: "+4989123456".into(),
            name: Some("Anna \"A\"".into()),
            diverted_by: None,
            at: std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            deadline: crate::clock::now().mono + hook.timeout,
        }
    }

    /// Asks, and waits for what comes of it.
    async fn ask(&mut self, hook: &Arc<Hook>, called: &str) -> RouteAnswer {
        let question = self.question(hook, called);
        if let Some(known) = self.hooks.ask(&question) {
            return known;
        }
        let answered = tokio::time::timeout(PATIENCE, self.answers.recv()).await;
        let Answered { call, tenant, answer } = answered.unwrap().unwrap();
        assert_eq!((call, tenant.as_str()), (question.call, "contoso"));
        answer
    }
}

fn says(status: &str, body: &str) -> Does {
    Does::Says(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn failure(answer: &RouteAnswer) -> Option<Failure> {
    match answer {
        RouteAnswer::Failed(failure, _) => Some(*failure),
        _ => None,
    }
}

#[tokio::test]
async fn a_question_is_not_what_a_service_expects() {
    let body = r#"{"action":"route","to":["colt"],"called":"+4930","more":1}"#;
    let service = Service::start(vec![says("200 OK", body)]).await;
    let file = token_file("question", "t0ken\n");
    let hook = Arc::new(Hook { token_file: Some(file.clone()), ..service.hook() });
    let answer = Asker::new().ask(&hook, "+4930123450").await;
    let (to, called) = (vec!["colt".to_owned()], Some("+4930".to_owned()));
    assert_eq!(answer, RouteAnswer::Route { to, called, caller: None });
    let requests = service.requests.lock().await;
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /route?v=1 HTTP/1.1\r\n"), "{head}");
    for line in [
        format!("host: {}", service.address),
        "content-type: application/json".into(),
        "authorization: Bearer t0ken".into(),
    ] {
        assert!(head.lines().any(|it| it == line), "{line} in {head}");
    }
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "version": 1,
            "call": 1,
            "tenant": "contoso",
            "direction": "from_carrier",
            "via": "colt",
            "called": "+4930123450",
            "calling": "+4989123456",
            "display_name": "Anna \"A\"",
            "diverted_by": null,
            "time": "2023-11-14T22:13:20.000Z",
        })
    );
    std::fs::remove_file(&file).unwrap();
}

fn token_file(name: &str, token: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("tollgate-hook-{name}-{}", std::process::id()));
    std::fs::write(&file, token).unwrap();
    file
}

#[tokio::test]
async fn a_token_is_replaced_in_its_file() {
    let no = says("401 Unauthorized", "");
    let table = || Does::Says(TABLE.into());
    let service = Service::start(vec![table(), no.clone(), table(), no]).await;
    let file = token_file("replaced", "old");
    let (mut asker, hook) =
        (Asker::new(), Arc::new(Hook { token_file: Some(file.clone()), ..service.hook() }));
    assert_eq!(asker.ask(&hook, "1").await, RouteAnswer::Table);
    std::fs::write(&file, "new").unwrap();
    assert_eq!(asker.ask(&hook, "1").await, RouteAnswer::Table);
    // The same token again is not tried twice.
    assert_eq!(failure(&asker.ask(&hook, "1").await), Some(Failure::Unavailable));
    let requests = service.requests.lock().await;
    let tokens = requests.iter().map(|it| it.contains("authorization: Bearer new"));
    assert_eq!(tokens.collect::<Vec<_>>(), [false, false, true, true]);
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn each_call_opens_a_connection_of_its_own() {
    let service = Service::start(vec![Does::Says(TABLE.into())]).await;
    let (mut asker, hook) = (Asker::new(), Arc::new(service.hook()));
    for _ in 0..5 {
        assert_eq!(asker.ask(&hook, "1").await, RouteAnswer::Table);
    }
    assert_eq!(service.connections(), 1);
    assert_eq!(service.requests.lock().await.len(), 5);
}

#[tokio::test]
async fn a_connection_that_was_kept_is_closed_at_the_far_end() {
    let service = Service::start(vec![Does::SaysAndCloses(TABLE.into())]).await;
    let (mut asker, hook) = (Asker::new(), Arc::new(service.hook()));
    for _ in 0..5 {
        assert_eq!(asker.ask(&hook, "1").await, RouteAnswer::Table);
    }
    assert_eq!(service.connections(), 5);
}

#[tokio::test]
async fn an_answer_is_none() {
    let long = "x".repeat(super::client::ANSWER_MAX);
    for (does, expected) in [
        (says("500 Oops", ""), Failure::Unavailable),
        (says("302 Found\r\nlocation: http://elsewhere.example/", ""), Failure::Unavailable),
        (says("204 No Content", ""), Failure::Unavailable),
        (says("200 OK", ""), Failure::Invalid),
        (says("200 OK", "[1"), Failure::Invalid),
        (says("200 OK", r#"{"action":"dance"}"#), Failure::Invalid),
        (says("200 OK", r#"{"action":"route"}"#), Failure::Invalid),
        (says("200 OK", r#"{"action":"reject","status":99999}"#), Failure::Invalid),
        (says("200 OK", &format!(r#"{{"action":"table","x":"{long}"}}"#)), Failure::Invalid),
        (Does::Says(format!("HTTP/1.1 200 OK\r\nx: {long}{long}\r\n\r\n")), Failure::Unavailable),
        (Does::Says("SIP/2.0 200 OK\r\n\r\n".into()), Failure::Unavailable),
        (
            Does::SaysAndCloses("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".into()),
            Failure::Unavailable,
        ),
        (Does::SaysAndCloses(String::new()), Failure::Unavailable),
    ] {
        let service = Service::start(vec![does]).await;
        let answer = Asker::new().ask(&Arc::new(service.hook()), "1").await;
        assert_eq!(failure(&answer), Some(expected), "{answer:?}");
    }
}

#[tokio::test]
async fn nobody_listens() {
    // Bound, so that nobody else listens there either.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    let hook = Hook { url, timeout: PATIENCE, ..Hook::default() };
    let answer = Asker::new().ask(&Arc::new(hook), "1").await;
    assert_eq!(failure(&answer), Some(Failure::Unavailable));
}

#[tokio::test]
async fn a_slow_service_is_asked_without_end() {
    let service = Service::start(vec![Does::Waits]).await;
    let (mut asker, hook) = (Asker::new(), Arc::new(service.hook()));
    for _ in 0..super::REQUESTS_MAX {
        let question = asker.question(&hook, "1");
        assert_eq!(asker.hooks.ask(&question), None);
    }
    let question = asker.question(&hook, "1");
    let answer = asker.hooks.ask(&question).unwrap();
    assert_eq!(failure(&answer), Some(Failure::Full));
}

#[tokio::test]
async fn an_answer_is_asked_for_again_while_it_holds() {
    let service = Service::start(vec![Does::Says(TABLE.into())]).await;
    let cache = Some(Duration::from_secs(60));
    let (mut asker, hook) = (Asker::new(), Arc::new(Hook { cache, ..service.hook() }));
    for called in ["1", "1", "2", "1"] {
        assert_eq!(asker.ask(&hook, called).await, RouteAnswer::Table);
    }
    assert_eq!(service.requests.lock().await.len(), 2);
    // Another hook of the same tenant, after a reload, has said nothing yet.
    let timeout = PATIENCE / 2;
    let hook = Arc::new(Hook { timeout, ..Hook::clone(&hook) });
    assert_eq!(asker.ask(&hook, "1").await, RouteAnswer::Table);
    assert_eq!(service.requests.lock().await.len(), 3);
}

#[tokio::test]
async fn a_failure_is_remembered() {
    let service = Service::start(vec![says("500 Oops", ""), Does::Says(TABLE.into())]).await;
    let cache = Some(Duration::from_secs(60));
    let (mut asker, hook) = (Asker::new(), Arc::new(Hook { cache, ..service.hook() }));
    assert_eq!(failure(&asker.ask(&hook, "1").await), Some(Failure::Unavailable));
    assert_eq!(asker.ask(&hook, "1").await, RouteAnswer::Table);
}

#[tokio::test]
async fn a_service_behind_tls_shows_a_certificate_of_somebody_else() {
    let folder = std::env::temp_dir().join(format!("tollgate-hook-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let authority = certs::lab::Authority::new("ours").unwrap();
    authority.write_root(&folder, "ours").unwrap();
    for (name, works) in [("localhost", true), ("elsewhere.example", false)] {
        let names = [name];
        let request = certs::lab::Request { names: &names, ..certs::lab::Request::default() };
        let leaf = authority.issue(&request).unwrap();
        let port = tls_service(&leaf).await;
        let hook = Hook {
            url: format!("https://localhost:{port}/"),
            timeout: PATIENCE,
            roots: Roots::File(folder.join("ours.pem")),
            ..Hook::default()
        };
        let answer = Asker::new().ask(&Arc::new(hook), "1").await;
        assert_eq!(answer == RouteAnswer::Table, works, "{name}: {answer:?}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn the_core_reads_no_certificates_from_files() {
    let hook = Hook {
        url: "https://localhost:1/".into(),
        timeout: PATIENCE,
        roots: Roots::File("/nowhere/ours.pem".into()),
        ..Hook::default()
    };
    let mut asker = Asker::new();
    let question = asker.question(&Arc::new(hook), "1");
    let known = asker.hooks.ask(&question);
    assert_eq!(known, None, "found out while the core waited");
    let answer = asker.answers.recv().await.unwrap().answer;
    let RouteAnswer::Failed(Failure::Unavailable, why) = answer else { panic!("{answer:?}") };
    assert!(why.contains("ours.pem"), "{why}");
}

/// A service over TLS that shows this certificate; the port it listens on.
async fn tls_service(leaf: &certs::lab::Leaf) -> u16 {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(leaf.chain_pem().as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(certs::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut chunk = [0; 4096];
                let _ = stream.read(&mut chunk).await;
                let _ = stream.write_all(TABLE.as_bytes()).await;
            });
        }
    });
    port
}
