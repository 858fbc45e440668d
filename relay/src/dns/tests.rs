//! A name server on loopback that answers, fails and comes back.

use super::*;
use b2bua::locate::Family;
use b2bua::plan::Transport;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use hickory_resolver::proto::serialize::binary::BinEncodable;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const TTL: u32 = 60;
/// Longer than any answer is kept.
const LATER_SECS: u64 = 1_000;
/// The machine may be busy; a test that fails waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

type Records = HashMap<String, Vec<RData>>;

/// Everything of one test: the server, our side of DNS, and a clock that is moved by hand.
struct World {
    records: Arc<Mutex<Option<Records>>>,
    asked: mpsc::UnboundedReceiver<String>,
    wanted: watch::Sender<Wanted>,
    found: mpsc::Receiver<Found>,
    later: Arc<AtomicU64>,
    tasks: [JoinHandle<()>; 2],
}

impl World {
    async fn new(names: &[Sought], records: Records) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let records = Arc::new(Mutex::new(Some(records)));
        let (log, asked) = mpsc::unbounded_channel();
        let server = tokio::spawn(serve(socket, Arc::clone(&records), log));
        let (wanted, wants) = watch::channel(wanting(names));
        let (tell, found) = mpsc::channel(8);
        let later = Arc::new(AtomicU64::new(0));
        let clock = {
            let (later, began) = (Arc::clone(&later), crate::clock::now().mono);
            move || began + Duration::from_secs(later.load(Ordering::Relaxed))
        };
        let ours = tokio::spawn(Dns::new(resolver(address), clock).run(wants, tell));
        Self { records, asked, wanted, found, later, tasks: [server, ours] }
    }

    /// `None`: from now on the server fails.
    fn has(&self, records: Option<Records>) {
        *self.records.lock().unwrap() = records;
    }

    /// Lets every answer grow old, and everybody notice it.
    fn grow_old(&self) {
        self.later.fetch_add(LATER_SECS, Ordering::Relaxed);
        self.wanted.send_modify(|_| {});
    }

    async fn found(&mut self) -> (String, Vec<String>) {
        let found = tokio::time::timeout(PATIENCE, self.found.recv()).await;
        let Found { sought, located } = found.expect("nothing was found").unwrap();
        (sought.host, located.endpoints().map(|it| it.to_string()).collect())
    }

    async fn is_asked(&mut self, what: &str) {
        let asked = async {
            while let Some(asked) = self.asked.recv().await {
                if asked == what {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect(what);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn resolver(server: SocketAddr) -> TokioResolver {
    let mut connection = ConnectionConfig::udp();
    connection.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let provider = TokioRuntimeProvider::default();
    lookup::without_cache(TokioResolver::builder_with_config(config, provider)).unwrap()
}

async fn serve(
    socket: UdpSocket,
    records: Arc<Mutex<Option<Records>>>,
    log: mpsc::UnboundedSender<String>,
) {
    let mut buffer = [0; 4_096];
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        let request = Message::from_vec(&buffer[..len]).unwrap();
        let query = request.queries[0].clone();
        let name = query.name().to_lowercase().to_ascii();
        let question = format!("{} {name}", query.query_type());
        let mut answer = Message::response(request.metadata.id, request.metadata.op_code);
        answer.add_query(query.clone());
        match &*records.lock().unwrap() {
            None => answer.metadata.response_code = ResponseCode::ServFail,
            Some(records) => {
                let found = records.get(&question).cloned().unwrap_or_default();
                // The name under which the address is, where there is an alias.
                let mut owner = query.name().clone();
                for data in found {
                    answer.add_answer(Record::from_rdata(owner.clone(), TTL, data.clone()));
                    if let RData::CNAME(CNAME(to)) = data {
                        owner = to;
                    }
                }
            }
        }
        socket.send_to(&answer.to_bytes().unwrap(), from).await.unwrap();
        let _ = log.send(question);
    }
}

fn wanting(names: &[Sought]) -> Wanted {
    Wanted { names: names.to_vec(), fixed: Default::default() }
}

fn sought(host: &str, port: Option<u16>) -> Sought {
    Sought { host: host.into(), port, transport: Transport::Udp, family: Family::V4 }
}

fn name(text: &str) -> Name {
    Name::from_str(text).unwrap()
}

fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
}

/// A carrier with NAPTR and two hosts, and a name with an alias.
fn zone() -> Records {
    let naptr = NAPTR::new(
        10,
        10,
        Box::from(&b"S"[..]),
        Box::from(&b"SIP+D2U"[..]),
        Box::from(&b""[..]),
        name("_sip._udp.Edge.example."),
    );
    let srv = |priority, port, host| RData::SRV(SRV::new(priority, 1, port, name(host)));
    let records = [
        ("NAPTR carrier.example.", vec![RData::NAPTR(naptr)]),
        (
            "SRV _sip._udp.edge.example.",
            vec![srv(2, 5062, "two.example."), srv(1, 5060, "one.example.")],
        ),
        ("A one.example.", vec![a(1)]),
        ("A two.example.", vec![a(2)]),
        ("A sip.example.", vec![RData::CNAME(CNAME(name("node.example."))), a(3)]),
    ];
    records.map(|(question, records)| (question.to_owned(), records)).into()
}

#[tokio::test]
async fn names_are_followed_to_their_endpoints_and_dns_that_fails_takes_none_away() {
    let names = [sought("carrier.example", None), sought("sip.example", Some(5061))];
    let mut world = World::new(&names, zone()).await;
    let mut found = [world.found().await, world.found().await];
    found.sort();
    let expected = [
        ("carrier.example".to_owned(), vec!["192.0.2.1:5060".into(), "192.0.2.2:5062".into()]),
        ("sip.example".to_owned(), vec!["192.0.2.3:5061".to_owned()]),
    ];
    assert_eq!(found, expected);

    world.has(None);
    world.grow_old();
    for question in ["A one.example.", "A sip.example."] {
        world.is_asked(question).await;
    }
    // It comes back with another address: whatever was told meanwhile would be told before that.
    let mut moved = zone();
    moved.insert("A one.example.".into(), vec![a(9)]);
    world.has(Some(moved));
    world.grow_old();
    let after = world.found().await;
    assert_eq!(after.0, "carrier.example");
    assert_eq!(after.1, ["192.0.2.9:5060", "192.0.2.2:5062"]);
}

#[tokio::test]
async fn a_plan_that_changes_starts_and_ends_names() {
    let mut world = World::new(&[sought("sip.example", Some(5061))], zone()).await;
    world.found().await;
    world.is_asked("A sip.example.").await;
    world.wanted.send_replace(wanting(&[sought("one.example", Some(5060))]));
    assert_eq!(world.found().await.0, "one.example");
    world.grow_old();
    world.is_asked("A one.example.").await;
    world.is_asked("A one.example.").await;
    assert!(world.asked.try_recv().is_err(), "the name that has left is asked for");
}
