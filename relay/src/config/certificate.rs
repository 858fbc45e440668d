//! `[[certificate]]`: where a certificate with its key comes from (PEM files, PKCS #12, a directory of
//! tenants' certificates, or ACME), and what is there now.

use super::Certificate;
use super::acme::{self, AcmeDraft};
use super::credentials;
use super::disk::Print;
use super::host::HostDraft;
use super::problem::{At, Place, Problem, Problems};
use super::reader::Reader;
use super::value;
use certs::{FileError, FileProblem, Identity};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::ErrorKind;
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

    /// Of several with one name the lowest is taken, in the order that the documentation has them in.
    fn order(&self) -> u8 {
        let is = |file: &Path, ending: &str| file.extension().is_some_and(|it| it == ending);
        match self {
            Self::Pem { folder: Some(_), .. } => 4,
            Self::Pem { chain, .. } => u8::from(!is(chain, "pem")),
            Self::Pkcs12 { file, .. } => 2 + u8::from(!is(file, "p12")),
        }
    }

    /// What it is to be seen by.
    fn path(&self) -> &Path {
        match self {
            Self::Pem { folder: Some(folder), .. } => folder,
            Self::Pem { chain: file, .. } | Self::Pkcs12 { file, .. } => file,
        }
    }

    /// Reads it.
    fn load(&self) -> Result<Identity, FileError> {
        match self {
            Self::Pem { chain, key, .. } => Identity::load(chain, key),
            Self::Pkcs12 { file, password, .. } => {
                let unreadable = |error: std::io::Error| {
                    let problem = FileProblem::Unreadable(error.kind());
                    FileError { path: password.clone(), problem }
                };
                match std::fs::read_to_string(password) {
                    Ok(secret) => {
                        Identity::load_pkcs12(file, secret.trim_end_matches(['\r', '\n']))
                    }
                    // It may need none.
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        Identity::load_pkcs12(file, "").map_err(|other| match other.problem {
                            FileProblem::WrongPassword => unreadable(error),
                            _ => other,
                        })
                    }
                    Err(error) => Err(unreadable(error)),
                }
            }
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
    let by = |it: &Entry| (it.name().to_owned(), it.order(), it.path().to_owned());
    all.sort_by_cached_key(by);
    all.truncate(DIRECTORY_MAX);
    all
}

/// What was loaded before, to be kept where nothing has changed, or nothing better is there.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// How its files looked when they were read.
    prints: Prints,
    identity: Arc<Identity>,
}

/// How the two files of a certificate look; `None` for one that is not there.
type Prints = [Option<Print>; 2];

/// All certificates of the host's file.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// By table, in the order of the file; `None` stands for one that cannot be used, and is told. A
    /// directory has any number.
    pub(crate) tables: Vec<Option<Vec<Certificate>>>,
    /// Those of directories, and of ACME, that cannot be used, and why: they are as they last were, or
    /// absent.
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
                let files = [&chain.value, &key.value].map(|it| self.directory.join(it));
                let prints = self.prints(&files);
                match Identity::load(&files[0], &files[1]) {
                    Ok(identity) => Some(vec![self.keep(name()?, prints, Arc::new(identity))]),
                    Err(error) => {
                        let place = if error.path == files[1] { key.place } else { chain.place };
                        self.told(draft, place, &error)
                    }
                }
            }
            Source::Pkcs12 { file, password_file } => {
                let (file, password_file) = (file.as_ref()?, password_file.as_ref()?);
                let files = [&file.value, &password_file.value].map(|it| self.directory.join(it));
                let prints = self.prints(&files);
                let password = credentials::secret_within(
                    self.directory,
                    password_file,
                    &draft.whose,
                    PASSWORD_MAX,
                    self.problems,
                )?;
                let password = String::from_utf8_lossy(password.octets()).into_owned();
                match Identity::load_pkcs12(&files[0], &password) {
                    Ok(identity) => Some(vec![self.keep(name()?, prints, Arc::new(identity))]),
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
                let named = entries.chunk_by(|one, next| one.name() == next.name());
                Some(named.filter_map(|same| self.entry(&of, same)).collect())
            }
            Source::Acme(acme) => {
                let name = name()?;
                let file = acme::file(state, &name);
                let files = [file.clone(), file.clone()];
                let prints = self.prints(&files);
                let known = self.unchanged(&name, &prints).map(Ok);
                let loaded = known.unwrap_or_else(|| Identity::load(&file, &file).map(Arc::new));
                let error = match loaded {
                    Ok(identity) => return Some(vec![self.keep(name, prints, identity)]),
                    Err(error) => error,
                };
                // One that was there is better than none; one that stood in has to have the names of now.
                let names = acme.names();
                let before = self.before.and_then(|before| before.kept.get(&name));
                let before = before.map(|kept| &kept.identity);
                let before = before.filter(|it| !it.is_pending() || it.names() == names.as_slice());
                let identity = match before.map(Arc::clone) {
                    Some(identity) => identity,
                    None => Arc::new(Identity::pending(&names).ok()?),
                };
                if !matches!(error.problem, FileProblem::Unreadable(ErrorKind::NotFound)) {
                    self.broken(&name, !identity.is_pending(), &[error]);
                }
                // Without prints it is read, and told of, again.
                Some(vec![self.keep(name, Prints::default(), identity)])
            }
        }
    }

    /// One of a directory: of those with its name the first that can be used. That none can is not a
    /// reason to refuse the rest: another tenant's slip is not this one's. At most one problem is told of
    /// a name, as a later one would hide it.
    fn entry(&mut self, of: &str, same: &[Entry]) -> Option<Certificate> {
        let name = format!("{of}/{}", same.first()?.name());
        let mut failed = Vec::new();
        for (at, entry) in same.iter().enumerate() {
            let prints = self.prints(&entry.files());
            let known = self.unchanged(&name, &prints).map(Ok);
            match known.unwrap_or_else(|| entry.load().map(Arc::new)) {
                Ok(identity) => {
                    let after = same.get(at + 1).map(|entry| (entry, None));
                    let left = same.iter().zip(&failed).map(|(entry, why)| (entry, Some(why)));
                    if let Some((left, why)) = left.chain(after).next() {
                        self.left(&name, entry, left, why);
                    }
                    return Some(self.keep(name, prints, identity));
                }
                Err(error) => failed.push(error),
            }
        }
        let kept = self.before.and_then(|before| before.kept.get(&name)).cloned();
        self.broken(&name, kept.is_some(), &failed);
        let Kept { prints, identity } = kept?;
        Some(self.keep(name, prints, identity))
    }

    /// One that cannot be used, by none of its files, and whether that before it stays.
    fn broken(&mut self, name: &str, stays: bool, errors: &[FileError]) {
        let Some((first, others)) = errors.split_first() else { return };
        let state = if stays { "as it last was" } else { "absent" };
        let mut message = format!("certificate \"{name}\" is {state}: {}", first.problem);
        for error in others {
            message.push_str(&format!("; {}", in_words(error)));
        }
        let hint = Some(first.hint().to_owned());
        let problem = Problem { file: first.path.clone(), line: 1, message, hint };
        self.loaded.broken.push((name.to_owned(), problem));
    }

    /// Two in one directory have one name: the one that is left, perhaps as it cannot be used, may be the
    /// newer one, and nobody sees it.
    fn left(&mut self, name: &str, taken: &Entry, left: &Entry, why: Option<&FileError>) {
        let taken = file_name(taken.path());
        let why = why.map(|error| format!(": {}", in_words(error))).unwrap_or_default();
        let problem = Problem {
            file: left.path().to_owned(),
            line: 1,
            message: format!("certificate \"{name}\" is {taken}, and this one is left alone{why}"),
            hint: Some("take one of them away, or give it another name".to_owned()),
        };
        self.loaded.broken.push((name.to_owned(), problem));
    }

    /// How files look before they are read: a change while that is done is one more change.
    fn prints(&self, files: &[PathBuf; 2]) -> Prints {
        files.each_ref().map(|file| Print::now(file, self.now))
    }

    fn unchanged(&self, name: &str, prints: &Prints) -> Option<Arc<Identity>> {
        let kept = self.before?.kept.get(name)?;
        let still = kept.prints.iter().zip(prints).all(
            |(before, now)| matches!((before, now), (Some(before), Some(now)) if before.still(now)),
        );
        still.then(|| Arc::clone(&kept.identity))
    }

    fn keep(&mut self, name: String, prints: Prints, identity: Arc<Identity>) -> Certificate {
        self.loaded.kept.insert(name.clone(), Kept { prints, identity: Arc::clone(&identity) });
        Certificate { name, identity }
    }

    fn told<T>(&self, draft: &CertificateDraft, place: Place, error: &FileError) -> Option<T> {
        let message = format!("{}: {} {}", draft.whose, error.path.display(), error.problem);
        self.problems.error(place, message, Some(error.hint().to_owned()));
        None
    }
}

/// Which file it is, and what is wrong with it.
fn in_words(error: &FileError) -> String {
    format!("{} {}", file_name(&error.path), error.problem)
}

fn file_name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
