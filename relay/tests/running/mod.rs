//! A running Tollgate with a configuration of its own, gone with the test.
#![allow(dead_code, reason = "not every test needs all of it")]

use certs::lab::Authority;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub(crate) struct Running {
    path: PathBuf,
    metrics: SocketAddr,
    child: Child,
}

/// Anything that takes longer has gone wrong, also on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// A tenant's file.
pub(crate) fn tenant(name: &str, numbers: &str, calls: u32) -> String {
    format!(
        "fqdns = [\"{name}.sbc1.example.net\"]\nnumbers = [\"{numbers}\"]\n[limits]\ncalls = {calls}\n\
         [[route]]\nfrom = \"teams\"\nmatch = \"*\"\nto = [\"colt\"]\n\
         [[route]]\nfrom = \"carrier\"\nmatch = \"*\"\nto = [\"teams\"]\n"
    )
}

/// A port that is free for TCP and UDP, below those that the system gives to whoever asks for any: what a
/// daemon is to bind in a moment, nobody else gets meanwhile.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % u32::from(PORTS)) as u16;
    let mut ports = (0..PORTS)
        .map(|_| PORTS_FROM + (first + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS);
    let is_free = |port: &u16| {
        // Tests of other processes see a name that is taken for as long as this one lives.
        let name = unix::SocketAddr::from_abstract_name(format!("tollgate-test-port-{port}"));
        let Ok(taken) = unix::UnixListener::bind_addr(&name.unwrap()) else { return false };
        std::mem::forget(taken);
        let at = (Ipv4Addr::LOCALHOST, *port);
        TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok()
    };
    ports.find(is_free).unwrap()
}

/// Above those of media (`host`), below those that the system gives away.
const PORTS_FROM: u16 = 28_000;
const PORTS: u16 = 4_000;

impl Running {
    /// One that serves the tenant contoso and answers.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, |host| host)
    }

    /// The same with another text of the host's file.
    pub(crate) fn start_with(name: &str, vary: impl FnOnce(String) -> String) -> Self {
        Self::start_in(name, |_, _, host| vary(host))
    }

    /// The same with more files, and certificates of the same authority.
    pub(crate) fn start_in(
        name: &str,
        vary: impl FnOnce(&Path, &Authority, String) -> String,
    ) -> Self {
        let name = format!("tollgate-reload-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("tenants.d")).unwrap();
        let authority = Authority::new("Lab").unwrap();
        authority.write_root(&path, "root").unwrap();
        let names = ["sbc1.example.net", "*.sbc1.example.net"];
        authority.leaf(&names).unwrap().write(&path, "wild").unwrap();
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let host = vary(&path, &authority, host(metrics, [free_port(), free_port()], ""));
        std::fs::write(path.join("tollgate.toml"), host).unwrap();
        let contoso = tenant("contoso", "+4930123450-+4930123459", 200);
        std::fs::write(path.join("tenants.d/contoso.toml"), contoso).unwrap();
        let child = run(&path);
        let running = Self { path, metrics, child };
        running.wait_for("readiness", || running.is_ready());
        running
    }

    pub(crate) fn restart(&mut self) {
        self.restart_as(run);
    }

    /// The same by another program that starts it, given the command line.
    pub(crate) fn restart_by(&mut self, starter: &[&str]) {
        self.restart_as(|path| {
            let mut command = Command::new(starter[0]);
            command.args(&starter[1..]).arg(env!("CARGO_BIN_EXE_tollgate"));
            spawn(path, command.args(["run", "--config"]).arg(path))
        });
    }

    fn restart_as(&mut self, run: impl FnOnce(&Path) -> Child) {
        self.stop();
        self.child = run(&self.path);
        self.wait_for("readiness", || self.is_ready());
    }

    /// What the kernel says of the process.
    pub(crate) fn status(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap()
    }

    /// How it ended, once it has by itself.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().unwrap()?;
        Some(status.code().unwrap_or(-1))
    }

    fn stop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    pub(crate) fn rename_into(&self, tenant: &str, text: &str) {
        let new = self.file("tenants.d/.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.file(&format!("tenants.d/{tenant}.toml"))).unwrap();
    }

    /// Exit code and what was printed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(arguments).env("TOLLGATE_CONFIG", &self.path);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        self.ask(arguments).1
    }

    pub(crate) fn exit(&self, arguments: &[&str]) -> i32 {
        self.ask(arguments).0
    }

    pub(crate) fn metrics(&self) -> String {
        self.http("/metrics")
    }

    /// The whole response.
    pub(crate) fn http(&self, path: &str) -> String {
        http(self.metrics, path)
    }

    fn is_ready(&self) -> bool {
        TcpStream::connect(self.metrics).is_ok() && self.exit(&["trunks"]) == 0
    }

    pub(crate) fn wait_for(&self, what: &str, done: impl Fn() -> bool) {
        let alarms = || format!("{:?}", self.ask(&["alarms"]));
        until(what, PATIENCE, alarms, || done().then_some(()));
    }

    /// Waits until `now` gives this.
    pub(crate) fn wait_until(
        &mut self,
        what: &str,
        mut now: impl FnMut(&mut Self) -> Option<i32>,
        is: i32,
    ) {
        assert_eq!(until(what, PATIENCE, String::new, || now(self)), is, "{what}");
    }

    /// About as long as it takes to notice a change.
    pub(crate) fn breathe(&self) {
        pause(Duration::from_millis(60));
    }

    /// Longer than it takes to notice a change.
    pub(crate) fn settle(&self) {
        pause(Duration::from_millis(600));
    }
}

/// The whole response of who serves metrics here.
pub(crate) fn http(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Looks again and again until there is something; if there never is, tells how things stand.
pub(crate) fn until<T>(
    what: &str,
    patience: Duration,
    stands: impl Fn() -> String,
    mut now: impl FnMut() -> Option<T>,
) -> T {
    #[expect(clippy::disallowed_methods, reason = "a process is waited for")]
    let began = Instant::now();
    loop {
        if let Some(found) = now() {
            return found;
        }
        assert!(began.elapsed() < patience, "{what} in vain: {}", stands());
        pause(PAUSE);
    }
}

#[expect(clippy::disallowed_methods, reason = "a process is waited for")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn run(path: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    spawn(path, command.args(["run", "--config"]).arg(path))
}

fn spawn(path: &Path, command: &mut Command) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(path.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// A host whose Teams is not there, and is not asked: that would be an alarm after a while.
pub(crate) fn host(metrics: SocketAddr, [tls, udp]: [u16; 2], more: &str) -> String {
    // Those of daemons side by side are apart.
    let first = 20_000 + udp % 125 * 64;
    let last = first + 63;
    format!(
        r#"[node]
fqdn = "sbc1.example.net"
[admin]
socket = "admin.sock"
[metrics]
listen = "{metrics}"
[state]
directory = "state"
[records]
file = "records.jsonl"
[[media.address]]
name = "lo"
bind = "127.0.0.1"
ports = "{first}-{last}"
[resolve]
"sip.pstnhub.microsoft.com" = ["127.0.0.1"]
"sip2.pstnhub.microsoft.com" = ["127.0.0.1"]
"sip3.pstnhub.microsoft.com" = ["127.0.0.1"]
[[certificate]]
name = "wild"
chain = "wild.pem"
key = "wild.key"
[[listener]]
name = "teams"
transport = "tls"
bind = "127.0.0.1:{tls}"
certificate = "wild"
[[listener]]
name = "carrier"
transport = "udp"
bind = "127.0.0.1:{udp}"
[[trunk]]
name = "teams"
kind = "teams"
options_interval = "off"
listener = "teams"
roots = "root.pem"
sources = ["127.0.0.1"]
[[trunk]]
name = "colt"
kind = "carrier"
listener = "carrier"
targets = ["127.0.0.1:9"]
sources = ["127.0.0.0/8"]
options_interval = "off"
{more}"#
    )
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.file("log")).unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "{log}");
        }
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
