//! What the demo stands on: free ports, throw-away certificates, and a configuration on disk as an
//! operator would write it.

use certs::lab::{Authority, Key, LabError, Leaf, Purpose, Request};
use certs::{FileError, Identities, Identity, Roots};
use std::fs::{self, DirBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The names that Teams is reached under, in order of preference.
pub(super) const TEAMS_NAMES: [&str; 3] =
    ["sip.pstnhub.microsoft.com", "sip2.pstnhub.microsoft.com", "sip3.pstnhub.microsoft.com"];
/// The base FQDN of the SBC.
pub(super) const SBC_NAME: &str = "sbc1.example.net";
/// The tenants' names of it.
pub(super) const CONTOSO_NAME: &str = "contoso.sbc1.example.net";
pub(crate) const FABRIKAM_NAME: &str = "fabrikam.sbc1.example.net";

/// Where everybody is: loopback addresses that differ, so that a trace tells who is who.
const SBC: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TEAMS: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, 2)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, 3)),
];
const COLT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 2, 1));
const BT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 3, 1));
/// The forger: inside the sources of the Teams trunk, so that only its certificate gives it away.
pub(super) const FORGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 66));

/// Where media ports are looked for: below the ephemeral range, which connections take ports from.
pub(super) const MEDIA_PORTS: RangeInclusive<u16> = 20_000..=31_999;

/// The first line of a configuration of ours, by which we know it again.
const MARK: &str = "# Written by `tollgate demo`.";
/// The host's file.
const HOST_FILE: &str = "tollgate.toml";

/// Why the demo has nothing to stand on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabFailure {
    #[error("{}: {error}", path.display())]
    Folder { path: PathBuf, error: io::Error },
    #[error("{} is not empty, and not of an earlier demo", .0.display())]
    Foreign(PathBuf),
    #[error("loopback does not carry packets: {0}")]
    Loopback(io::Error),
    #[error("no free port on {address}: {error}")]
    Port { address: IpAddr, error: io::Error },
    #[error(transparent)]
    Certificate(#[from] LabError),
    #[error(transparent)]
    Load(#[from] FileError),
}

/// Everything that stands before the first message is sent.
pub(super) struct Lab {
    dir: PathBuf,
    pub(super) ports: Ports,
    /// The file of the accepted root.
    pub(super) root: PathBuf,
    /// What the emulated Teams shows.
    pub(super) teams: Identities,
    /// What the forger shows: the right names, of an authority that nobody trusts.
    pub(super) rogue: Identities,
}

/// Addresses that were free a moment ago.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) sbc_tls: SocketAddr,
    pub(super) sbc_udp: SocketAddr,
    pub(super) metrics: SocketAddr,
    pub(super) teams: [SocketAddr; 3],
    pub(super) colt: SocketAddr,
    pub(super) bt: SocketAddr,
    media: RangeInclusive<u16>,
}

impl Lab {
    /// Chooses ports, makes certificates and writes the configuration into `dir`.
    /// `media_ports` are how many the SBC has.
    pub(super) fn new(dir: &Path, media_ports: u16) -> Result<Self, LabFailure> {
        let ports = Ports::choose(media_ports)?;
        let authority = Authority::new("Demo")?;
        let root = authority.write_root(dir, "root")?;
        // Microsoft's suites need RSA (TDR-TLS-003).
        let issue = |authority: &Authority, names: &[&str], purpose| {
            authority.issue(&Request { names, key: Key::Rsa2048, purpose, ..Request::default() })
        };
        let wildcard = format!("*.{SBC_NAME}");
        issue(&authority, &[SBC_NAME, &wildcard], Purpose::Both)?.write(dir, "sbc")?;
        let teams = issue(&authority, &TEAMS_NAMES, Purpose::Server)?;
        let rogue = issue(&Authority::new("Rogue")?, &TEAMS_NAMES, Purpose::Server)?;
        let teams = identities(&teams, dir, "teams")?;
        let rogue = identities(&rogue, dir, "rogue")?;
        write(&dir.join(HOST_FILE), &host_file(&ports))?;
        let tenants = dir.join("tenants.d");
        fs::create_dir_all(&tenants)
            .map_err(|error| LabFailure::Folder { path: tenants.clone(), error })?;
        write(&tenants.join("contoso.toml"), CONTOSO)?;
        write(&tenants.join("fabrikam.toml"), FABRIKAM)?;
        Ok(Self { dir: dir.to_owned(), ports, root, teams, rogue })
    }

    /// The root that both sides accept.
    pub(super) fn roots(&self) -> Result<Roots, LabFailure> {
        Ok(Roots::file(&self.root)?)
    }

    /// Where the SBC writes its call records.
    pub(super) fn records(&self) -> PathBuf {
        self.dir.join("records.jsonl")
    }
}

fn identities(leaf: &Leaf, dir: &Path, name: &str) -> Result<Identities, LabFailure> {
    let (chain, key) = leaf.write(dir, name)?;
    let identity = Identity::load(&chain, &key)?;
    Ok(Identities::new([(name.to_owned(), Arc::new(identity))]))
}

fn write(path: &Path, text: &str) -> Result<(), LabFailure> {
    fs::write(path, text).map_err(|error| LabFailure::Folder { path: path.to_owned(), error })
}

impl Ports {
    fn choose(media_ports: u16) -> Result<Self, LabFailure> {
        let [one, two, three] = TEAMS;
        // Where it is down, binding works and sending does not. Nobody listens to the discard port.
        let probe = UdpSocket::bind(SocketAddr::new(SBC, 0));
        let sent = probe.and_then(|probe| probe.send_to(&[], SocketAddr::new(COLT, 9)));
        sent.map_err(LabFailure::Loopback)?;
        let ports = Self {
            sbc_tls: free(SBC, 5061, stream)?,
            sbc_udp: free(SBC, 5060, datagram)?,
            metrics: free(SBC, 9464, stream)?,
            teams: [free(one, 5061, stream)?, free(two, 5061, stream)?, free(three, 5061, stream)?],
            colt: free(COLT, 5060, datagram)?,
            bt: free(BT, 5060, datagram)?,
            media: media_range(media_ports)?,
        };
        Ok(ports)
    }
}

/// The usual port if it is free, else any that is.
fn free(
    address: IpAddr,
    usual: u16,
    bind: fn(SocketAddr) -> io::Result<SocketAddr>,
) -> Result<SocketAddr, LabFailure> {
    bind(SocketAddr::new(address, usual))
        .or_else(|_| bind(SocketAddr::new(address, 0)))
        .map_err(|error| LabFailure::Port { address, error })
}

fn stream(address: SocketAddr) -> io::Result<SocketAddr> {
    TcpListener::bind(address)?.local_addr()
}

fn datagram(address: SocketAddr) -> io::Result<SocketAddr> {
    UdpSocket::bind(address)?.local_addr()
}

fn media_range(count: u16) -> Result<RangeInclusive<u16>, LabFailure> {
    let ranges = MEDIA_PORTS.step_by(usize::from(count));
    let mut ranges = ranges.map(|first| first..=first + (count - 1));
    let is_free = |range: &RangeInclusive<u16>| {
        range.clone().all(|port| datagram(SocketAddr::new(SBC, port)).is_ok())
    };
    let none = io::Error::from(io::ErrorKind::AddrInUse);
    ranges.find(is_free).ok_or(LabFailure::Port { address: SBC, error: none })
}

/// A folder for the configuration, removed when it is dropped unless it is to be kept.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    /// A new one below the system's temporary folder, for this user's eyes only.
    pub(crate) fn temporary() -> Result<Self, LabFailure> {
        let base = std::env::temp_dir();
        let mut number = 0_u32;
        loop {
            let path = base.join(format!("tollgate-demo-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, kept: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => {
                    number += 1;
                }
                Err(error) => return Err(LabFailure::Folder { path, error }),
            }
        }
    }

    /// This one, which stays. It is empty, new, or of an earlier demo: nobody's real configuration
    /// is overwritten.
    pub(super) fn kept(path: PathBuf) -> Result<Self, LabFailure> {
        let failed = |error| LabFailure::Folder { path: path.clone(), error };
        DirBuilder::new().mode(0o700).recursive(true).create(&path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let is_empty = fs::read_dir(&path).map_err(failed)?.next().is_none();
        let before = fs::read_to_string(path.join(HOST_FILE)).unwrap_or_default();
        if !is_empty && !before.starts_with(MARK) {
            return Err(LabFailure::Foreign(path));
        }
        Ok(Self { path, kept: true })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it for whoever looks into a failure.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Whether it stays.
    pub(super) const fn stays(&self) -> bool {
        self.kept
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn host_file(ports: &Ports) -> String {
    let Ports { sbc_tls, sbc_udp, metrics, teams, colt, bt, media } = ports;
    let [one, two, three] = TEAMS_NAMES;
    let [at_one, at_two, at_three] = teams;
    let port = SocketAddr::port;
    let (p1, p2, p3) = (port(at_one), port(at_two), port(at_three));
    let (ip1, ip2, ip3) = (at_one.ip(), at_two.ip(), at_three.ip());
    let (first, last) = (media.start(), media.end());
    let (colt_ip, bt_ip) = (colt.ip(), bt.ip());
    format!(
        r#"{MARK}
# A whole SBC on loopback: Teams is at 127.0.1.1 to .3, the carriers at 127.0.2.1 and 127.0.3.1.

[node]
fqdn = "{SBC_NAME}"
shutdown_deadline = "5s"

[admin]
socket = "admin.sock"

[state]
directory = "state"

[metrics]
listen = "{metrics}"

[log]
level = "warn"

[records]
file = "records.jsonl"

[[media.address]]
name = "loopback"
bind = "{SBC}"
ports = "{first}-{last}"

# In place of DNS.
[resolve]
"{one}" = ["{ip1}"]
"{two}" = ["{ip2}"]
"{three}" = ["{ip3}"]
"{SBC_NAME}" = ["{SBC}"]
"{CONTOSO_NAME}" = ["{SBC}"]
"{FABRIKAM_NAME}" = ["{SBC}"]

[[certificate]]
name = "sbc"
chain = "sbc.pem"
key = "sbc.key"

[[listener]]
name = "teams"
transport = "tls"
bind = "{sbc_tls}"
certificate = "sbc"

[[listener]]
name = "carrier"
transport = "udp"
bind = "{sbc_udp}"

# Only targets, sources and roots differ from a trunk to the real Teams, which needs none of them.
[[trunk]]
name = "teams"
kind = "teams"
listener = "teams"
targets = ["{one}:{p1}", "{two}:{p2}", "{three}:{p3}"]
sources = ["127.0.1.0/24"]
roots = "root.pem"

[[trunk]]
name = "colt"
kind = "carrier"
listener = "carrier"
targets = ["{colt}"]
sources = ["{colt_ip}"]

[[trunk]]
name = "bt"
kind = "carrier"
listener = "carrier"
targets = ["{bt}"]
sources = ["{bt_ip}"]
"#
    )
}

const CONTOSO: &str = r#"# The tenant "contoso".
fqdns = ["contoso.sbc1.example.net"]
numbers = ["+4930123450-+4930123459"]

# bt takes what colt cannot.
[[route]]
from = "teams"
match = "+49*"
to = ["colt", "bt"]

[[route]]
from = "carrier"
match = "*"
to = ["teams"]
"#;

const FABRIKAM: &str = r#"# The tenant "fabrikam".
fqdns = ["fabrikam.sbc1.example.net"]
numbers = ["+442079460000-+442079460099"]

[[route]]
from = "teams"
match = "*"
to = ["bt", "colt"]

[[route]]
from = "carrier"
match = "*"
to = ["teams"]
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn configuration_holds_without_a_warning() {
        let folder = Folder::temporary().unwrap();
        Lab::new(folder.path(), 64).unwrap();
        let loaded = config::load(folder.path()).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.plan.tenants.len(), 2);
    }

    #[test]
    fn real_configuration_is_never_overwritten() {
        let folder = Folder::temporary().unwrap();
        fs::write(folder.path().join(HOST_FILE), "[node]\nfqdn = \"sbc.example.net\"\n").unwrap();
        assert!(matches!(Folder::kept(folder.path().to_owned()), Err(LabFailure::Foreign(_))));
        fs::write(folder.path().join(HOST_FILE), MARK).unwrap();
        assert!(Folder::kept(folder.path().to_owned()).is_ok());
    }
}
