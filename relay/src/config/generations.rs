//! The last good configurations on disk: each a list of sources, each source a file that is named by its
//! content, so that what ten of them have in common is there once. Secrets are in files that sources
//! name; those are not kept here.
//!
//! ```text
//! DIRECTORY/configuration/list.json        which there are, and which is in force
//! DIRECTORY/configuration/objects/SHA256   a source, or the list of sources of one generation
//! ```

use super::store::Sources;
use super::version::{Sum, sum};
use crate::clock;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How many are kept.
const KEPT: usize = 10;
/// A list is some hundred bytes a generation.
const LIST_MAX: u64 = 1 << 20;
/// A list of sources: one line a tenant.
const MANIFEST_MAX: u64 = 8 << 20;
/// So many new objects are each made sure of; more would take longer than they are worth: what a power
/// cut spoils is known by its name and passed over.
const SYNCED_MAX: usize = 64;
/// What is here is the operator's.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// One generation in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its number, from 1.
    pub number: u64,
    /// When it was put in force.
    pub at: String,
    /// What it changed, in words.
    pub what: String,
    /// Its tenants.
    pub tenants: usize,
    /// It was rolled back from.
    #[serde(default)]
    pub undone: bool,
    manifest: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    /// Whose they are.
    configuration: PathBuf,
    generations: Vec<Kept>,
    /// The one in force.
    current: u64,
    /// The content of the files on disk that were rolled back from: as long as they say that, they
    /// are not read.
    rolled_back_from: Option<String>,
}

/// The generations of one configuration.
#[derive(Debug)]
pub(crate) struct Generations {
    folder: PathBuf,
    list: List,
    /// Objects that are there.
    objects: HashSet<String>,
}

impl Generations {
    /// Opens those in `directory` of the configuration in `of`, or begins anew where they are of another.
    pub(crate) fn open(directory: &Path, of: &Path) -> io::Result<Self> {
        let folder = directory.join("configuration");
        let objects = folder.join("objects");
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&objects)?;
        // As it is configured: a link on the way leads somewhere else after each release.
        let of = std::path::absolute(of).unwrap_or_else(|_| of.to_owned());
        let list = super::source::bounded(&folder.join("list.json"), LIST_MAX);
        let list = list.ok().and_then(|text| serde_json::from_slice::<List>(&text).ok());
        let list = list.filter(|list| list.configuration == of);
        let list = list.unwrap_or_else(|| List { configuration: of, ..List::default() });
        // A power cut leaves those empty that were not on disk yet: they are written again.
        let names = std::fs::read_dir(&objects)?.flatten();
        let whole = names.filter(|it| it.metadata().is_ok_and(|about| about.len() > 0));
        let objects = whole.filter_map(|it| it.file_name().into_string().ok()).collect();
        Ok(Self { folder, list, objects })
    }

    /// All, the newest last, with the number of the one in force.
    pub(crate) fn list(&self) -> (Vec<Kept>, u64) {
        (self.list.generations.clone(), self.list.current)
    }

    /// What is in force by name of content, as far as it is known: the host's, and each tenant's.
    pub(crate) fn current(&self) -> Option<BTreeMap<String, String>> {
        self.manifest(self.list.current)
    }

    /// The files whose content was rolled back from.
    pub(crate) fn rolled_back_from(&self) -> Option<&str> {
        self.list.rolled_back_from.as_deref()
    }

    /// The one before that in force, which was not rolled back from.
    pub(crate) fn previous(&self) -> Option<u64> {
        let before = self.list.generations.iter().rev();
        let mut before = before.filter(|it| it.number < self.list.current && !it.undone);
        before.next().map(|it| it.number)
    }

    /// The sources of a generation; or why they cannot be had.
    pub(crate) fn sources(&self, number: u64) -> Result<Sources, String> {
        let Some(manifest) = self.manifest(number) else {
            return Err(format!(
                "there is no configuration {number}: see tollgate rollback --list"
            ));
        };
        let mut host = None;
        let mut tenants = Vec::new();
        for (name, object) in manifest {
            let text = self.object(&object, super::source::FILE_SIZE_MAX);
            let text =
                text.ok_or_else(|| format!("{object} of configuration {number} is spoiled"))?;
            let (text, sum) = (text.as_str().into(), sum(&text));
            match name.as_str() {
                HOST => host = Some((text, sum)),
                tenant => tenants.push((tenant.into(), text, sum)),
            }
        }
        let host = host.ok_or_else(|| format!("configuration {number} is spoiled"))?;
        Ok(Sources { host, tenants })
    }

    /// The text of one object, if it is whole.
    pub(crate) fn text(&self, object: &str) -> Option<String> {
        self.object(object, super::source::FILE_SIZE_MAX)
    }

    /// These sources are in force: they become the newest generation, unless they are those of the one
    /// in force.
    pub(crate) fn keep(&mut self, sources: &Sources, what: &str) -> io::Result<()> {
        let mut manifest = format!("{} {HOST}\n", hex(&sources.host.1));
        for (name, _, sum) in &sources.tenants {
            let _ = writeln!(manifest, "{} {name}", hex(sum));
        }
        let name = hex(&sum(&manifest));
        let current = self.list.generations.iter().find(|it| it.number == self.list.current);
        let same = current.is_some_and(|it| it.manifest == name);
        let texts = std::iter::once((&sources.host.0, &sources.host.1));
        let texts = texts.chain(sources.tenants.iter().map(|(_, text, sum)| (text, sum)));
        let mut objects: Vec<(String, &str)> =
            texts.map(|(text, sum)| (hex(sum), &**text)).collect();
        objects.push((name.clone(), &manifest));
        objects.retain(|(name, _)| !self.objects.contains(name));
        let synced = objects.len() <= SYNCED_MAX;
        for (name, text) in objects {
            write(&self.folder.join("objects"), &name, text.as_bytes(), synced)?;
            self.objects.insert(name);
        }
        if same && self.list.rolled_back_from.is_none() {
            return Ok(());
        }
        let number = self.list.generations.last().map_or(1, |it| it.number + 1);
        self.list.generations.push(Kept {
            number,
            at: humantime::format_rfc3339_seconds(clock::now().wall).to_string(),
            what: what.to_owned(),
            tenants: sources.tenants.len(),
            undone: false,
            manifest: name,
        });
        self.list.current = number;
        self.list.rolled_back_from = None;
        let more = self.list.generations.len().saturating_sub(KEPT);
        self.list.generations.drain(..more);
        self.save()?;
        match more {
            0 => Ok(()),
            _ => self.collect(),
        }
    }

    /// Generation `number` is in force again, and the files on disk, of this content, are not.
    pub(crate) fn rolled_back(&mut self, number: u64, from: &str) -> io::Result<()> {
        let current = self.list.current;
        for kept in &mut self.list.generations {
            kept.undone |= kept.number > number && kept.number <= current;
            kept.undone &= kept.number != number;
        }
        self.list.current = number;
        self.list.rolled_back_from = Some(from.to_owned());
        self.save()
    }

    fn manifest(&self, number: u64) -> Option<BTreeMap<String, String>> {
        let kept = self.list.generations.iter().find(|it| it.number == number)?;
        let text = self.object(&kept.manifest, MANIFEST_MAX)?;
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        Some(lines.map(|(object, name)| (name.to_owned(), object.to_owned())).collect())
    }

    fn object(&self, name: &str, most: u64) -> Option<String> {
        let bytes = super::source::bounded(&self.folder.join("objects").join(name), most).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        (hex(&sum(&text)) == name).then_some(text)
    }

    fn save(&self) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.list)?;
        write(&self.folder, "list.json", &text, true)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Removes the objects of no generation.
    fn collect(&mut self) -> io::Result<()> {
        let mut used: BTreeSet<String> = BTreeSet::new();
        for kept in &self.list.generations {
            used.insert(kept.manifest.clone());
            used.extend(self.manifest(kept.number).unwrap_or_default().into_values());
        }
        let unused: Vec<String> =
            self.objects.iter().filter(|name| !used.contains(*name)).cloned().collect();
        for name in unused {
            match std::fs::remove_file(self.folder.join("objects").join(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => drop(self.objects.remove(&name)),
            }
        }
        Ok(())
    }
}

/// The host's file in a list of sources: no tenant has a name with a slash.
const HOST: &str = "/host";

/// The name of the content of all these sources together.
pub(crate) fn digest<'a>(host: &Sum, tenants: impl Iterator<Item = (&'a str, &'a Sum)>) -> String {
    let mut all = hex(host);
    let tenants: BTreeMap<&str, &Sum> = tenants.collect();
    for (name, sum) in tenants {
        let _ = write!(all, "\n{name} {}", hex(sum));
    }
    hex(&sum(&all))
}

/// As in a name.
pub(crate) fn hex(sum: &Sum) -> String {
    sum.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes a file whole or not at all.
pub(crate) fn write(folder: &Path, name: &str, content: &[u8], synced: bool) -> io::Result<()> {
    let new = folder.join(format!(".{name}.new"));
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(FILE_MODE).open(&new)?;
    file.write_all(content)?;
    if synced {
        file.sync_all()?;
    }
    std::fs::rename(new, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn folder(name: &str) -> PathBuf {
        let name = format!("tollgate-generations-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    fn sources(host: &str, contoso: &str) -> Sources {
        Sources {
            host: (host.into(), sum(host)),
            tenants: vec![("contoso".into(), contoso.into(), sum(contoso))],
        }
    }

    #[test]
    fn the_last_ten_are_kept_and_nothing_else() {
        let folder = folder("ten");
        let mut kept = Generations::open(&folder, Path::new("/etc/a")).unwrap();
        for number in 1..=14 {
            kept.keep(&sources("host", &number.to_string()), "what").unwrap();
            kept.keep(&sources("host", &number.to_string()), "the same again").unwrap();
        }
        let (list, current) = kept.list();
        assert_eq!((list.len(), list[0].number, current), (KEPT, 5, 14));
        // Ten tenants' files, ten lists, and the host's.
        let objects = std::fs::read_dir(folder.join("configuration/objects")).unwrap();
        assert_eq!(objects.count(), 21);
        let again = Generations::open(&folder, Path::new("/etc/a")).unwrap();
        assert_eq!(again.list(), (list, 14));
        assert_eq!(&*again.sources(5).unwrap().tenants[0].1, "5");
        assert!(again.sources(4).unwrap_err().contains("no configuration 4"));
        let other = Generations::open(&folder, Path::new("/etc/b")).unwrap();
        assert_eq!(other.list().0, [], "those of another configuration are not ours");
        for (path, mode) in [("configuration", 0o700), ("configuration/list.json", 0o600)] {
            let about = std::fs::metadata(folder.join(path)).unwrap();
            assert_eq!(about.permissions().mode() & 0o777, mode);
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_was_rolled_back_from_is_not_gone_back_to() {
        let folder = folder("back");
        let mut kept = Generations::open(&folder, Path::new("/etc/a")).unwrap();
        for text in ["one", "bad", "worse"] {
            kept.keep(&sources("host", text), text).unwrap();
        }
        assert_eq!(kept.previous(), Some(2));
        kept.rolled_back(1, "disk").unwrap();
        assert_eq!(
            (kept.list().1, kept.rolled_back_from(), kept.previous()),
            (1, Some("disk"), None)
        );
        kept.keep(&sources("host", "good"), "good").unwrap();
        assert_eq!((kept.list().1, kept.rolled_back_from(), kept.previous()), (4, None, Some(1)));
        // Files that are put back as they were are in force again, under a number of their own.
        kept.rolled_back(1, "disk").unwrap();
        kept.keep(&sources("host", "one"), "one").unwrap();
        assert_eq!((kept.list().1, kept.rolled_back_from()), (5, None));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn generations_outlive_a_release_that_comes_by_another_link() {
        let folder = folder("link");
        for release in ["one", "two"] {
            std::fs::create_dir_all(folder.join(release)).unwrap();
            std::fs::write(folder.join(release).join("tollgate.toml"), "").unwrap();
        }
        let link = folder.join("current");
        std::os::unix::fs::symlink("one", &link).unwrap();
        let of = link.join("tollgate.toml");
        let mut kept = Generations::open(&folder, &of).unwrap();
        kept.keep(&sources("host", "one"), "").unwrap();
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("two", &link).unwrap();
        assert_eq!(Generations::open(&folder, &of).unwrap().list().1, 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_source_that_a_power_cut_left_empty_is_written_again() {
        let folder = folder("empty");
        let mut kept = Generations::open(&folder, Path::new("/etc/a")).unwrap();
        kept.keep(&sources("host", "one"), "").unwrap();
        std::fs::write(folder.join("configuration/objects").join(hex(&sum("one"))), "").unwrap();
        let mut again = Generations::open(&folder, Path::new("/etc/a")).unwrap();
        assert!(again.sources(1).is_err());
        again.keep(&sources("host", "one"), "at a start").unwrap();
        assert!(again.sources(1).is_ok());
        assert_eq!(again.list().0.len(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_spoiled_is_not_put_in_force() {
        let folder = folder("spoiled");
        let mut kept = Generations::open(&folder, Path::new("/etc/a")).unwrap();
        kept.keep(&sources("host", "one"), "").unwrap();
        std::fs::write(folder.join("configuration/objects").join(hex(&sum("one"))), "two").unwrap();
        assert!(kept.sources(1).unwrap_err().contains("is spoiled"));
        assert_eq!(kept.text(&hex(&sum("one"))), None);
        std::fs::write(folder.join("configuration/list.json"), "{").unwrap();
        assert_eq!(Generations::open(&folder, Path::new("/etc/a")).unwrap().list().0, []);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
