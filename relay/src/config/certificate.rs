//! `[[certificate]]`: where a certificate with its key comes from (PEM files, PKCS #12, a directory of
//! tenants' certificates, or ACME), and what is there now.

use super::Certificate;
use super::accounts;
use super::acme::{self, AcmeDraft};
use super::disk::Print;
use super::host::HostDraft;
use super::problem::{At, Place, Problem, Problems};
use super::reader::Reader;
use super::value;
use certs::{FileError, Identity};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Certificates in one directory: a host has ten thousand tenants at most.
const DIRECTORY_MAX: usize = 10_000;
/// Octets of a PKCS #12 file's password.
const PASSWORD_MAX: u64 = 256;

/// One `[[certificate]]`.
#[derive(Debug)]
pub(crate) struct CertificateDraft {
    pub(crate) name: Option<At<String>>,
    pub(crate) source: Source,
    pub(crate) place: Place,
    pub(crate) whose: String,
}

/// Where it comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Pem {
        chain: Option<At<String>>,
        key: Option<At<String>>,
    },
    Pkcs12 {
        file: Option<At<String>>,
        password_file: Option<At<String>>,
    },
    /// Many: each file, or folder, in it is one.
    Directory(Option<At<String>>),
    Acme(AcmeDraft),
}

/// Reads one `[[certificate]]`.
pub(crate) fn read(table: &mut Reader<'_>) -> CertificateDraft {
    let name = table.required("name", value::name);
    let idle = |table: &mut Reader<'_>, keys: &[&str], why: &str| {
        for key in keys {
            table.idle(key, why);
        }
    };
    let source = if table.has("acme") {
        let why = "`[certificate.acme]` says where it comes from";
        idle(table, &["chain", "key", "pkcs12", "password_file", "directory"], why);
        match table.section("acme", acme::read) {
            Some(draft) => Source::Acme(draft),
            None => Source::Directory(None),
        }
    } else if table.has("directory") {
        let why = "`directory` says where it comes from";
        idle(table, &["chain", "key", "pkcs12", "password_file"], why);
        Source::Directory(table.optional("directory", value::path))
    } else if table.has("pkcs12") {
        idle(table, &["chain", "key"], "`pkcs12` holds both");
        table.idle("password", "a secret never stands in the configuration: password_file");
        Source::Pkcs12 {
            file: table.optional("pkcs12", value::path),
            password_file: table.required("password_file", value::path),
        }
    } else {
        table.idle("password_file", "only a `pkcs12` file has a password");
        Source::Pem {
            chain: table.required("chain", value::path),
            key: table.required("key", value::path),
        }
    };
    CertificateDraft { name, source, place: table.place(), whose: table.whose().to_owned() }
}

impl CertificateDraft {
    /// Where it says what it is made of.
    pub(crate) fn said(&self) -> Place {
        let of = |at: &Option<At<String>>| at.as_ref().map(|at| at.place);
        let place = match &self.source {
            Source::Pem { chain: file, .. } | Source::Directory(file) => of(file),
            Source::Pkcs12 { file, .. } => of(file),
            Source::Acme(draft) => Some(draft.place),
        };
        place.unwrap_or(self.place)
    }

    /// Whether it stands for many.
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.source, Source::Directory(_))
    }

    /// Files and folders that its meaning depends on.
    pub(crate) fn named(&self, directory: &Path, state: &Path) -> Vec<PathBuf> {
        let below = |at: &Option<At<String>>| at.as_ref().map(|at| directory.join(&at.value));
        match &self.source {
            Source::Pem { chain: one, key: two }
            | Source::Pkcs12 { file: one, password_file: two } => {
                below(one).into_iter().chain(below(two)).collect()
            }
            Source::Directory(at) => below(at).map(|it| folder(&it)).unwrap_or_default(),
            Source::Acme(_) => {
                let name = self.name.as_ref().map(|name| name.value.as_str());
                name.map(|name| acme::file(state, name)).into_iter().collect()
            }
        }
    }
}

/// A folder of certificates with all that is in it.
fn folder(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_owned()];
    for entry in entries(path) {
        if let Entry::Pem { folder: Some(folder), .. } = &entry {
            all.push(folder.clone());
        }
        all.extend(entry.files());
    }
    all
}

/// One certificate of a directory.
enum Entry {
    Pem {
        name: String,
        chain: PathBuf,
        key: PathBuf,
        /// Where they are by themselves.
        folder: Option<PathBuf>,
    },
    Pkcs12 {
        name: String,
        file: PathBuf,
        password: PathBuf,
    },
}

impl Entry {
    fn name(&self) -> &str {
        match self {
            Self::Pem { name, .. } | Self::Pkcs12 { name, .. } => name,
        }
    }

    fn files(&self) -> [PathBuf; 2] {
        match self {
            Self::Pem { chain: one, key: two, .. }
            | Self::Pkcs12 { file: one, password: two, .. } => [one.clone(), two.clone()],
        }
    }
}

/// The certificates of a directory: `NAME.pem` or `NAME.crt` with `NAME.key` beside it, or with the key in
/// it; `NAME.p12` or `NAME.pfx` with `NAME.password`; a folder `NAME` as certbot (`fullchain.pem`,
/// `privkey.pem`) or Kubernetes (`tls.crt`, `tls.key`) has it. What is called otherwise is none.
fn entries(path: &Path) -> Vec<Entry> {
    let mut all: Vec<Entry> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let name = path.file_stem()?.to_str()?.to_owned();
            if entry.file_name().to_string_lossy().starts_with('.') {
                return None;
            }
            let beside = |ending: &str| path.with_extension(ending);
            if path.is_dir() {
                let name = entry.file_name().to_str()?.to_owned();
                let pairs = [("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key")];
                let (chain, key) =
                    pairs.into_iter().find(|(chain, _)| path.join(chain).exists())?;
                let (chain, key) = (path.join(chain), path.join(key));
                return Some(Entry::Pem { name, chain, key, folder: Some(path) });
            }
            match path.extension()?.to_str()? {
                "pem" | "crt" => {
                    let key = Some(beside("key")).filter(|key| key.exists());
                    let key = key.unwrap_or_else(|| path.clone());
                    Some(Entry::Pem { name, chain: path, key, folder: None })
                }
                "p12" | "pfx" => {
                    Some(Entry::Pkcs12 { name, password: beside("password"), file: path })
                }
                _ => None,
            }
        })
        .collect();
    all.sort_by(|one, two| one.name().cmp(two.name()));
    all.truncate(DIRECTORY_MAX);
    all
}

/// What was loaded before, to be kept where nothing has changed, or nothing better is there.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// How its files looked when they were read.
    prints: Vec<Option<Print>>,
    identity: Arc<Identity>,
}

/// All certificates of the host's file.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// By table, in the order of the file; `None` stands for one that cannot be used, and is told. A
    /// directory has any number.
    pub(crate) tables: Vec<Option<Vec<Certificate>>>,
    /// Those of directories that cannot be used, and why: they are as they last were, or absent.
    pub(crate) broken: Vec<(String, Problem)>,
    kept: HashMap<String, Kept>,
}

impl Loaded {
    /// Every certificate that there is.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Certificate> {
        self.tables.iter().flatten().flatten()
    }

    /// The one of a table that has one.
    pub(crate) fn of_table(&self, host: &HostDraft, index: usize) -> Option<&Certificate> {
        let draft = host.certificates.get(index)?;
        self.tables.get(index)?.as_ref()?.first().filter(|_| !draft.is_directory())
    }
}

/// Loads every certificate with its key.
pub(crate) fn load(
    directory: &Path,
    host: &HostDraft,
    before: Option<&Loaded>,
    now: SystemTime,
    problems: &Problems,
) -> Loaded {
    let mut loading = Loading { directory, before, now, problems, loaded: Loaded::default() };
    for draft in &host.certificates {
        let table = loading.table(draft, &directory.join(&host.state));
        loading.loaded.tables.push(table);
    }
    loading.loaded
}

struct Loading<'a> {
    directory: &'a Path,
    before: Option<&'a Loaded>,
    now: SystemTime,
    problems: &'a Problems,
    loaded: Loaded,
}

impl Loading<'_> {
    fn table(&mut self, draft: &CertificateDraft, state: &Path) -> Option<Vec<Certificate>> {
        let name = || Some(draft.name.as_ref()?.value.clone());
        match &draft.source {
            Source::Pem { chain, key } => {
                let (chain, key) = (chain.as_ref()?, key.as_ref()?);
                let (one, two) =
                    (self.directory.join(&chain.value), self.directory.join(&key.value));
                match Identity::load(&one, &two) {
                    Ok(identity) => Some(vec![self.certificate(name()?, [one, two], identity)]),
                    Err(error) => {
                        let place = if error.path == two { key.place } else { chain.place };
                        self.told(draft, place, &error)
                    }
                }
            }
            Source::Pkcs12 { file, password_file } => {
                let (file, password_file) = (file.as_ref()?, password_file.as_ref()?);
                let password = accounts::secret_within(
                    self.directory,
                    password_file,
                    &draft.whose,
                    PASSWORD_MAX,
                    self.problems,
                )?;
                let password = String::from_utf8_lossy(password.octets()).into_owned();
                let files = [&file.value, &password_file.value].map(|it| self.directory.join(it));
                match Identity::load_pkcs12(&files[0], &password) {
                    Ok(identity) => Some(vec![self.certificate(name()?, files, identity)]),
                    Err(error) => self.told(draft, file.place, &error),
                }
            }
            Source::Directory(at) => {
                let at = at.as_ref()?;
                let path = self.directory.join(&at.value);
                if let Err(error) = std::fs::read_dir(&path) {
                    let message = format!("{}: {} {error}", draft.whose, path.display());
                    let hint = "make the directory, and put certificates of tenants there";
                    self.problems.error(at.place, message, Some(hint.to_owned()));
                    return None;
                }
                let (of, entries) = (name()?, entries(&path));
                Some(entries.iter().filter_map(|entry| self.entry(&of, entry)).collect())
            }
            Source::Acme(acme) => {
                let name = name()?;
                let file = acme::file(state, &name);
                let files = [file.clone(), file.clone()];
                let known = self.unchanged(&name, &files);
                let loaded = known.or_else(|| Identity::load(&file, &file).ok().map(Arc::new));
                if let Some(identity) = loaded {
                    return Some(vec![self.keep(name, files, identity)]);
                }
                // One that was there is better than none; one that stood in has to have the names of now.
                let names = acme.names();
                let before = self.before.and_then(|before| before.kept.get(&name));
                let before = before.map(|kept| &kept.identity);
                let before = before.filter(|it| !it.is_pending() || it.names() == names.as_slice());
                let identity = match before.map(Arc::clone) {
                    Some(identity) => identity,
                    None => Arc::new(Identity::pending(&names).ok()?),
                };
                Some(vec![self.keep(name, files, identity)])
            }
        }
    }

    /// One of a directory. That it cannot be used is not a reason to refuse the rest: another tenant's
    /// slip is not this one's.
    fn entry(&mut self, of: &str, entry: &Entry) -> Option<Certificate> {
        let (name, files) = (format!("{of}/{}", entry.name()), entry.files());
        if let Some(identity) = self.unchanged(&name, &files) {
            return Some(self.keep(name, files, identity));
        }
        let loaded = match entry {
            Entry::Pem { chain, key, .. } => Identity::load(chain, key),
            Entry::Pkcs12 { file, password, .. } => {
                let secret = std::fs::read_to_string(password).unwrap_or_default();
                Identity::load_pkcs12(file, secret.trim_end_matches(['\r', '\n']))
            }
        };
        match loaded {
            Ok(identity) => Some(self.keep(name, files, Arc::new(identity))),
            Err(error) => {
                let kept = self.before.and_then(|before| before.kept.get(&name)).cloned();
                let state = if kept.is_some() { "as it last was" } else { "absent" };
                self.loaded.broken.push((
                    name.clone(),
                    Problem {
                        file: error.path.clone(),
                        line: 1,
                        message: format!("certificate \"{name}\" is {state}: {}", error.problem),
                        hint: Some(error.hint().to_owned()),
                    },
                ));
                let Kept { prints, identity } = kept?;
                self.loaded
                    .kept
                    .insert(name.clone(), Kept { prints, identity: Arc::clone(&identity) });
                Some(Certificate { name, identity })
            }
        }
    }

    fn unchanged(&self, name: &str, files: &[PathBuf; 2]) -> Option<Arc<Identity>> {
        let kept = self.before?.kept.get(name)?;
        let still = kept.prints.iter().zip(files).all(|(before, file)| {
            let now = Print::now(file, self.now);
            matches!((before, now), (Some(before), Some(now)) if before.still(&now))
        });
        still.then(|| Arc::clone(&kept.identity))
    }

    fn certificate(
        &mut self,
        name: String,
        files: [PathBuf; 2],
        identity: Identity,
    ) -> Certificate {
        self.keep(name, files, Arc::new(identity))
    }

    fn keep(&mut self, name: String, files: [PathBuf; 2], identity: Arc<Identity>) -> Certificate {
        let prints = files.iter().map(|file| Print::now(file, self.now)).collect();
        self.loaded.kept.insert(name.clone(), Kept { prints, identity: Arc::clone(&identity) });
        Certificate { name, identity }
    }

    fn told<T>(&self, draft: &CertificateDraft, place: Place, error: &FileError) -> Option<T> {
        let message = format!("{}: {} {}", draft.whose, error.path.display(), error.problem);
        self.problems.error(place, message, Some(error.hint().to_owned()));
        None
    }
}
