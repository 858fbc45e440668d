//! `tollgate drain` on the running process: what it tells, whom it refuses, and that it ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a test that fails")]

mod running;

use running::Running;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

/// The address behind `bind` of the listener of this name.
fn listener(running: &Running, name: &str) -> SocketAddr {
    let text = std::fs::read_to_string(running.file("tollgate.toml")).unwrap();
    let table = text.split("[[listener]]").find(|it| it.contains(&format!("name = \"{name}\"")));
    let bind = table.unwrap().split("bind = \"").nth(1).unwrap().split('"').next().unwrap();
    bind.parse().unwrap()
}

/// A carrier that calls, and reads what it is answered.
struct Caller {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Caller {
    fn new(running: &Running) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { socket, to: listener(running, "carrier") }
    }

    fn invites(&self, call: &str) {
        let own = self.socket.local_addr().unwrap();
        let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 40000 RTP/AVP 8\r\n";
        let invite = format!(
            "INVITE sip:+4930123450@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{call};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+4989123456@{own}>;tag={call}\r\nTo: <sip:+4930123450@{to}>\r\n\
             Call-ID: {call}\r\nCSeq: 1 INVITE\r\nContact: <sip:pbx@{own}>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}",
            to = self.to,
            length = sdp.len(),
        );
        self.socket.send_to(invite.as_bytes(), self.to).unwrap();
    }

    /// The next response to this call, by its first line; requests and other calls are passed over.
    fn hears(&self, call: &str) -> String {
        let mut datagram = [0; 4096];
        loop {
            let length = match self.socket.recv(&mut datagram) {
                // A process that was stopped and goes on is told so.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                received => received.unwrap(),
            };
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            if text.starts_with("SIP/2.0") && text.contains(&format!("Call-ID: {call}\r\n")) {
                return text.lines().next().unwrap().to_owned();
            }
        }
    }
}

/// TDR-MT-007
#[test]
fn a_tenant_in_maintenance_is_an_alarm_and_a_metric_until_it_is_taken_back() {
    let running = Running::start("drain-tenant");
    assert_eq!(running.exit(&["drain", "--tenant", "nobody"]), 1);
    // No clock goes so far: it is refused, and the host goes on.
    assert_eq!(running.exit(&["drain", "--deadline", "300000000000y"]), 1);
    assert_eq!(running.told(&["drain", "--status"]), "calls are taken\n");
    let said = running.told(&["drain", "--tenant", "contoso"]);
    assert_eq!(said, "tenant contoso: no new calls but to emergency numbers; no call is up\n");
    assert!(running.told(&["alarms"]).contains("draining  tenant contoso"));
    assert!(running.metrics().contains("tollgate_draining{tenant=\"contoso\"} 1"));
    let caller = Caller::new(&running);
    caller.invites("one");
    assert_eq!(caller.hears("one"), "SIP/2.0 100 Trying");
    assert_eq!(caller.hears("one"), "SIP/2.0 503 Draining");
    assert!(running.http("/readyz").contains("200 OK"), "the host itself goes on");
    let route = ["route", "--tenant", "contoso", "--from", "+4930123450", "--to", "+4989555010"];
    assert!(running.told(&route).contains("draining"), "{}", running.told(&route));
    let status = running.told(&["drain", "--status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["drains"][0]["tenant"], "contoso");
    assert_eq!(running.told(&["drain", "--cancel", "--tenant", "contoso"]), "calls are taken\n");
    assert!(running.metrics().contains("tollgate_draining{tenant=\"contoso\"} 0"));
    assert_eq!(running.told(&["alarms"]), "no alarms\n");
}

/// TDR-FO-016
#[test]
fn a_drained_host_says_so_refuses_calls_and_ends_at_its_deadline() {
    // Somebody accepts connections and says nothing: a call to Teams goes on trying.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hole.local_addr().unwrap().port();
    let mut running = Running::start_with("drain-host", |host| {
        let targets = format!(
            "kind = \"teams\"\ntargets = [\"sip.pstnhub.microsoft.com:{port}\"]\nanswer_timeout = \"10s\""
        );
        host.replace("kind = \"teams\"", &targets)
    });
    assert!(running.http("/readyz").ends_with("ready\n"));
    let caller = Caller::new(&running);
    caller.invites("first");
    assert_eq!(caller.hears("first"), "SIP/2.0 100 Trying");
    let said = running.told(&["drain"]);
    assert!(
        said.starts_with("host: no new calls but to emergency numbers; 1 call is up"),
        "{said}"
    );
    let ready = running.http("/readyz");
    assert!(ready.contains("503 Service Unavailable") && ready.ends_with("draining\n"), "{ready}");
    assert!(running.http("/healthz").contains("200 OK"));
    assert!(running.metrics().contains("\ntollgate_draining 1"));
    caller.invites("second");
    assert_eq!(caller.hears("second"), "SIP/2.0 100 Trying");
    assert_eq!(caller.hears("second"), "SIP/2.0 503 Draining");
    // What is up at the deadline is told of the end.
    assert_eq!(running.exit(&["drain", "--deadline", "1s"]), 0);
    assert_eq!(caller.hears("first"), "SIP/2.0 503 Draining");
    running.wait_until("the end", Running::ended, 0);
    let records = std::fs::read_to_string(running.file("records.jsonl")).unwrap();
    assert_eq!(records.matches("\"cause\":\"draining\"").count(), 2, "{records}");
}

#[test]
fn an_idle_host_that_is_drained_ends_at_once_and_well() {
    let mut running = Running::start("drain-idle");
    assert_eq!(running.exit(&["drain"]), 0);
    running.wait_until("the end", Running::ended, 0);
    assert_eq!(running.exit(&["drain", "--status"]), 3);
}
