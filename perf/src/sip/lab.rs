//! What a measurement stands on: free ports on loopback, throw-away certificates, configurations.

use super::subject::Subject;
use super::wire::Wire;
use super::{Failure, Way};
use certs::lab::{Authority, Key, Purpose, Request};
use certs::{Identities, Identity, Roots, ServerIdentity, Trust};
use rustls::ServerConfig;
use std::fs::{self, DirBuilder};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Which way media goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Media<'a> {
    /// What stands in `engine`.
    pub(super) engine: &'a str,
    pub(super) offload: bool,
}

impl Media<'_> {
    /// As where nothing is said.
    pub(super) const DEFAULT: Self = Self { engine: "auto", offload: false };
}

/// The folder, the certificates and the programs.
pub(super) struct Lab {
    folder: PathBuf,
    tollgate: PathBuf,
    tls: Arc<ServerConfig>,
}

impl Lab {
    pub(super) fn new(tollgate: Option<&Path>) -> Result<Self, Failure> {
        let tollgate = match tollgate {
            Some(path) => path.to_owned(),
            None => std::env::current_exe()?.with_file_name("tollgate"),
        };
        if !tollgate.is_file() {
            let hint = "cargo build --release -p tollgate";
            return Err(format!("{} is not there; hint: {hint}", tollgate.display()).into());
        }
        let folder = std::env::temp_dir().join(format!("tollgate-perf-{}", std::process::id()));
        DirBuilder::new().mode(0o755).create(&folder)?;
        let tls = certificates(&folder)?;
        Ok(Self { folder, tollgate, tls })
    }

    /// Where tenants' files are.
    pub(super) fn tenants(&self) -> Result<PathBuf, Failure> {
        let folder = self.folder.join("config/tenants.d");
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The host's file.
    pub(super) fn host(&self) -> Result<PathBuf, Failure> {
        Ok(self.folder.join("config/tollgate.toml"))
    }

    /// Where Kamailio is installed, if it is.
    pub(super) fn kamailio(&self) -> Option<&'static Path> {
        ["/usr/sbin/kamailio", "/usr/local/sbin/kamailio"]
            .map(Path::new)
            .into_iter()
            .find(|path| path.is_file())
    }

    pub(super) fn start_tollgate(&self, way: Way, media: Media<'_>) -> Result<Subject, Failure> {
        let wire = self.wire(way)?;
        let sip = datagram(SUBJECT)?;
        let metrics = stream(SUBJECT)?;
        let config = self.folder.join("config");
        fs::create_dir_all(config.join("tenants.d"))?;
        let tls = stream(SUBJECT)?;
        let host = self.host_file(way, &wire, sip, tls, metrics);
        let Media { engine, offload } = media;
        let media = format!("\n[media]\nengine = \"{engine}\"\noffload = {offload}\n");
        fs::write(config.join("tollgate.toml"), host + &media)?;
        fs::write(config.join("tenants.d/load.toml"), tenant_file())?;
        let mut command = Command::new(&self.tollgate);
        command.arg("run").arg("--config").arg(&config);
        let log = self.folder.join("tollgate.log");
        Subject::start("tollgate", command, &log, sip, Some(metrics), wire)
    }

    /// Two workers, as its makers advise for two processors.
    pub(super) fn start_kamailio(&self, way: Way) -> Result<Subject, Failure> {
        let program = self.kamailio().ok_or("kamailio is not installed")?;
        let wire = self.wire(way)?;
        let sip = datagram(SUBJECT)?;
        let file = self.folder.join("kamailio.cfg");
        fs::write(&file, proxy_file(sip, wire.answerer))?;
        let mut command = Command::new(program);
        command.args(["-DD", "-E", "-m", "512", "-M", "16", "-Y"]).arg(&self.folder);
        command.arg("-f").arg(&file);
        Subject::start("kamailio", command, &self.folder.join("kamailio.log"), sip, None, wire)
    }

    fn wire(&self, way: Way) -> Result<Wire, Failure> {
        match way {
            Way::UdpUdp => Ok(Wire::udp(CALLER, ANSWERER)?),
            Way::UdpTls => Ok(Wire::tls(CALLER, TEAMS, Arc::clone(&self.tls))?),
        }
    }

    fn host_file(
        &self,
        way: Way,
        wire: &Wire,
        sip: SocketAddr,
        tls: SocketAddr,
        metrics: SocketAddr,
    ) -> String {
        let folder = self.folder.display();
        let (caller, answerer) = (wire.caller, wire.answerer);
        let (near, far) = (caller.ip(), answerer.ip());
        let out = match way {
            Way::UdpUdp => format!(
                r#"
[[trunk]]
name = "out"
kind = "carrier"
listener = "udp"
targets = ["{answerer}"]
sources = ["{far}/32"]
options_interval = "off"
media = "out"
"#
            ),
            Way::UdpTls => format!(
                r#"
[resolve]
"{TEAMS_NAME}" = ["{far}"]

[[certificate]]
name = "sbc"
chain = "{folder}/sbc.pem"
key = "{folder}/sbc.key"

[[listener]]
name = "tls"
transport = "tls"
bind = "{tls}"
certificate = "sbc"

[[trunk]]
name = "out"
kind = "teams"
listener = "tls"
targets = ["{TEAMS_NAME}:{port}"]
sources = ["{far}/32"]
roots = "{folder}/root.pem"
media = "out"
"#,
                port = answerer.port(),
            ),
        };
        format!(
            r#"[node]
fqdn = "{SBC_NAME}"
shutdown_deadline = "5s"

[admin]
socket = "{folder}/admin.sock"

[metrics]
listen = "{metrics}"

[state]
directory = "{folder}/state"

[log]
level = "warn"

[records]
file = "{folder}/records.jsonl"

[[media.address]]
name = "in"
bind = "{MEDIA_IN}"
ports = "10000-65535"

[[media.address]]
name = "out"
bind = "{MEDIA_OUT}"
ports = "10000-65535"

[[listener]]
name = "udp"
transport = "udp"
bind = "{sip}"

[[trunk]]
name = "in"
kind = "carrier"
listener = "udp"
targets = ["{caller}"]
sources = ["{near}/32"]
options_interval = "off"
media = "in"
{out}"#
        )
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn tenant_file() -> String {
    format!(
        r#"fqdns = ["load.{SBC_NAME}"]
numbers = ["{CALLED}"]

[[route]]
from = "carrier"
match = "*"
to = ["out"]
"#
    )
}

/// A stateful proxy that stays on the route: the least that anybody does with a call.
fn proxy_file(sip: SocketAddr, to: SocketAddr) -> String {
    format!(
        r#"#!KAMAILIO
debug=0
log_stderror=yes
fork=yes
children=2
disable_tcp=yes
auto_aliases=no
listen=udp:{sip}
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"

request_route {{
    if (!mf_process_maxfwd_header("70")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            t_relay();
        }} else if (is_method("ACK")) {{
            if (t_check_trans()) t_relay();
        }} else {{
            sl_send_reply("404", "Not here");
        }}
        exit;
    }}
    t_check_trans();
    if (is_method("INVITE")) record_route();
    $du = "sip:{to}";
    t_relay();
}}
"#
    )
}

/// Makes what both sides show, and writes what Tollgate reads.
fn certificates(folder: &Path) -> Result<Arc<ServerConfig>, Failure> {
    let authority = Authority::new("Load")?;
    let root = authority.write_root(folder, "root")?;
    let issue = |names: &[&str], purpose| {
        authority.issue(&Request { names, key: Key::Rsa2048, purpose, ..Request::default() })
    };
    let wildcard = format!("*.{SBC_NAME}");
    issue(&[SBC_NAME, &wildcard], Purpose::Both)?.write(folder, "sbc")?;
    let (chain, key) = issue(&[TEAMS_NAME], Purpose::Server)?.write(folder, "teams")?;
    let teams = Arc::new(Identity::load(&chain, &key)?);
    let teams = Identities::new([("teams".to_owned(), teams)]);
    let trust = Trust { roots: Roots::file(&root)?, names: vec![SBC_NAME.to_owned()] };
    Ok(certs::server_config(ServerIdentity::new(teams, "teams"), &trust)?)
}

fn datagram(address: IpAddr) -> Result<SocketAddr, Failure> {
    Ok(UdpSocket::bind(SocketAddr::new(address, 0))?.local_addr()?)
}

fn stream(address: IpAddr) -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind(SocketAddr::new(address, 0))?.local_addr()?)
}

/// Who is where: loopback addresses that differ, so that sources tell trunks apart.
const SUBJECT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 6, 1));
const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 6, 2));
const ANSWERER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 6, 3));
const TEAMS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 6, 4));
/// An address for each side's media: a port that was used rests for ten seconds, and at a thousand
/// calls a second that is half of all ports.
const MEDIA_IN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 6, 5));
const MEDIA_OUT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 6, 6));
const SBC_NAME: &str = "sbc1.example.net";
const TEAMS_NAME: &str = "sip.pstnhub.microsoft.com";
/// The number that is called.
pub(super) const CALLED: &str = "+4930123450";
