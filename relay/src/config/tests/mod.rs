//! Whole configurations in a directory of their own: what holds, what does not, what a reload refuses.

mod accounts;
mod certificates;
mod emergency;
mod files;
mod guard;
mod hook;
mod mistakes;
mod naming;
mod numbers;
mod registrar;
mod reload;
mod routes;
mod valid;

use super::{Loaded, load};
use certs::lab::{Authority, Key, Leaf, Request};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The sample of the documentation, with the roots of the lab in place of the system's.
const HOST: &str = r#"[node]
fqdn = "sbc1.example.net"
[admin]
socket = "/run/tollgate/admin.sock"
[metrics]
listen = "127.0.0.1:9464"
[media]
workers = 1
engine = "auto"
[[media.address]]
name = "outside"
bind = "0.0.0.0"
advertise = "203.0.113.10"
ports = "20000-29999"
[resolve]
"sip.pstnhub.microsoft.com" = ["127.0.1.1"]
[[certificate]]
name = "wild"
chain = "wild.pem"
key = "wild.key"
[[listener]]
name = "teams"
transport = "tls"
bind = "0.0.0.0:5061"
advertise = "203.0.113.10:5061"
certificate = "wild"
[[listener]]
name = "carrier"
transport = "udp"
bind = "0.0.0.0:5060"
advertise = "203.0.113.10:5060"
[[trunk]]
name = "teams"
kind = "teams"
cloud = "commercial"
listener = "teams"
roots = "root.pem"
[[trunk]]
name = "colt"
kind = "carrier"
listener = "carrier"
targets = ["192.0.2.7:5060"]
sources = ["192.0.2.0/28"]
srtp = "off"
options_interval = "60s"
media = "outside"
[[trunk]]
name = "bt"
kind = "carrier"
listener = "carrier"
targets = ["198.51.100.20"]
sources = ["198.51.100.20"]
"#;

const CONTOSO: &str = r#"fqdns = ["contoso.sbc1.example.net"]
numbers = ["+4930123450-+4930123459"]
[limits]
calls = 200
calls_per_second = 10
[[route]]
from = "teams"
match = "+49*"
to = ["colt", "bt"]
[[route]]
from = "carrier"
match = "*"
to = ["teams"]
"#;

/// A configuration directory that is gone with the test.
struct Directory {
    path: PathBuf,
}

impl Directory {
    /// A directory with nothing but certificates: `wild` covers the host and one level below.
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tollgate-config-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("tenants.d")).unwrap();
        let directory = Self { path };
        wild().write(&directory.path, "wild").unwrap();
        authority().write_root(&directory.path, "root").unwrap();
        directory
    }

    /// The documentation's sample.
    fn sample() -> Self {
        Self::new().with("tollgate.toml", HOST).with("tenants.d/contoso.toml", CONTOSO)
    }

    fn certificate(&self, file: &str, names: &[&str], key: Key) {
        let request = Request { names, key, ..Request::default() };
        authority().issue(&request).unwrap().write(&self.path, file).unwrap();
    }

    /// With this file as well.
    fn with(self, file: &str, text: &str) -> Self {
        std::fs::write(self.path.join(file), text).unwrap();
        self
    }

    /// With `old`, which stands once in `file`, replaced by `new`.
    fn edit(self, file: &str, old: &str, new: &str) -> Self {
        let text = std::fs::read_to_string(self.path.join(file)).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{old:?} in {file}");
        let text = text.replace(old, new);
        self.with(file, &text)
    }

    fn load(&self) -> Loaded {
        match load(&self.path) {
            Ok(loaded) => loaded,
            Err(problems) => panic!("{}", self.told(&problems)),
        }
    }

    /// Every problem as `check` prints it, with file names as seen from the directory.
    fn problems(&self) -> String {
        match load(&self.path) {
            Ok(_) => String::new(),
            Err(problems) => self.told(&problems),
        }
    }

    fn told(&self, problems: &[super::Problem]) -> String {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n").replace(&format!("{}/", self.path.display()), "")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl AsRef<Path> for Directory {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// An RSA key takes a while to make; all tests share one.
fn wild() -> &'static Leaf {
    static WILD: OnceLock<Leaf> = OnceLock::new();
    let names = &["sbc1.example.net", "*.sbc1.example.net"];
    let request = Request { names, key: Key::Rsa2048, ..Request::default() };
    WILD.get_or_init(|| authority().issue(&request).unwrap())
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new("Lab").unwrap())
}
