//! A throw-away certificate authority made with openssl: root, intermediate, leaves, and what forgers hold.

use crate::fail::{Fail, Outcome, While};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A root and an intermediate that signs the leaves, as public authorities do.
pub(crate) struct Authority {
    folder: PathBuf,
    name: String,
    /// The root certificate, for trust lists.
    pub(crate) root: PathBuf,
}

/// A leaf with its key.
pub(crate) struct Leaf {
    /// Leaf first, then the intermediate.
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// Makes the authority below `folder`; `name` begins its file names, `common` is in its subject.
    pub(crate) fn new(folder: &Path, name: &str, common: &str) -> Outcome<Self> {
        let folder = folder.join("pki");
        std::fs::create_dir_all(&folder).while_(folder.display())?;
        let root = folder.join(format!("{name}-root.pem"));
        let authority = Self { folder, name: name.to_owned(), root };
        authority.make_root(common)?;
        authority.make_intermediate(common)?;
        Ok(authority)
    }

    /// Signs a leaf for these names, written as `DNS:a,DNS:b`, with these extended key usages.
    pub(crate) fn leaf(&self, name: &str, names: &str, usage: &str) -> Outcome<Leaf> {
        let subject = names.split(',').next().and_then(|first| first.split_once(':'));
        let subject = subject.map(|(_, host)| host).unwrap_or_default();
        let extensions = format!(
            "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\n\
             extendedKeyUsage={usage}\nsubjectAltName={names}\n"
        );
        let issuer = self.file("intermediate");
        let certificate = self.sign(name, &format!("/CN={subject}"), &extensions, &issuer)?;
        let chain = self.folder.join(format!("{name}.chain.pem"));
        let mut text = std::fs::read(&certificate).while_(certificate.display())?;
        let intermediate = issuer.with_extension("pem");
        text.extend(std::fs::read(&intermediate).while_(intermediate.display())?);
        std::fs::write(&chain, text).while_(chain.display())?;
        Ok(Leaf { chain, key: self.folder.join(format!("{name}.key")) })
    }

    fn file(&self, part: &str) -> PathBuf {
        self.folder.join(format!("{}-{part}", self.name))
    }

    fn make_root(&self, common: &str) -> Outcome {
        let key = self.file("root").with_extension("key");
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS]);
        command.args(["-subj", &format!("/O=Interop/CN={common}")]);
        command.args(["-addext", "basicConstraints=critical,CA:TRUE"]);
        command.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        openssl(command.arg("-keyout").arg(key).arg("-out").arg(&self.root))
    }

    fn make_intermediate(&self, common: &str) -> Outcome {
        let extensions = "basicConstraints=critical,CA:TRUE,pathlen:0\n\
                          keyUsage=critical,keyCertSign,cRLSign\n";
        let name = format!("{}-intermediate", self.name);
        let subject = format!("/O=Interop/CN={common} issuing");
        self.sign(&name, &subject, extensions, &self.file("root")).map(drop)
    }

    /// Makes a key and a certificate under `issuer`, whose key lies beside it.
    fn sign(&self, name: &str, subject: &str, extensions: &str, issuer: &Path) -> Outcome<PathBuf> {
        let file = |ending: &str| self.folder.join(format!("{name}.{ending}"));
        let (request, list, certificate) = (file("csr"), file("ext"), file("pem"));
        std::fs::write(&list, extensions).while_(list.display())?;
        let mut command = Command::new("openssl");
        command.args(["req", "-newkey", "rsa:2048", "-nodes", "-subj", subject]);
        openssl(command.arg("-keyout").arg(file("key")).arg("-out").arg(&request))?;
        let mut command = Command::new("openssl");
        command.args(["x509", "-req", "-days", DAYS, "-in"]).arg(&request);
        command.arg("-CA").arg(issuer.with_extension("pem"));
        command.arg("-CAkey").arg(issuer.with_extension("key")).arg("-CAcreateserial");
        openssl(command.arg("-extfile").arg(&list).arg("-out").arg(&certificate))?;
        Ok(certificate)
    }
}

/// Longer than any run, shorter than any warning about expiry would like: nothing is kept.
const DAYS: &str = "90";

fn openssl(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output().while_("openssl")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Fail(format!("openssl: {}", String::from_utf8_lossy(&output.stderr))))
}
