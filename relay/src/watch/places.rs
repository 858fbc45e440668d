//! Where a configuration is on disk: the folders to watch, and what each name in them means.

use super::is_tenant_file;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// What a change of a name calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A look at everything: the way to the files is another.
    Everything,
    /// At the host's file and what that names.
    Host,
    /// At this tenant's file.
    Tenant(String),
}

/// Links on the way to one file: more are a loop (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// The folders of one configuration.
#[derive(Debug, Default)]
pub(crate) struct Places {
    folders: BTreeMap<PathBuf, HashMap<OsString, Meaning>>,
    /// Folders that are named themselves: whatever is in them counts.
    whole: BTreeSet<PathBuf>,
    /// Where the tenants' files are.
    tenants: Option<PathBuf>,
    /// The files as they are configured.
    host_file: PathBuf,
    tenants_folder: PathBuf,
}

impl Places {
    /// Looks for them: those of the host's file, of the folder of tenants' files and those `named`.
    pub(crate) fn find(host: &Path, tenants: &Path, named: &[PathBuf]) -> Self {
        let mut places = Self {
            host_file: host.to_owned(),
            tenants_folder: tenants.to_owned(),
            ..Self::default()
        };
        for file in named {
            let end = places.add(file, &Meaning::Host);
            if let Some(folder) = end.filter(|end| end.is_dir()) {
                places.folders.entry(folder.clone()).or_default();
                places.whole.insert(folder);
            }
        }
        places.add(host, &Meaning::Host);
        let folder = host.parent().filter(|it| !it.as_os_str().is_empty());
        places.add(folder.unwrap_or(Path::new(".")), &Meaning::Everything);
        if let Some(folder) = places.add(tenants, &Meaning::Everything) {
            places.folders.entry(folder.clone()).or_default();
            places.tenants = Some(folder);
        }
        for entry in std::fs::read_dir(tenants).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let link = entry.file_type().is_ok_and(|it| it.is_symlink());
            if link && is_tenant_file(&name) {
                let tenant = Path::new(&name).file_stem().unwrap_or_default().to_string_lossy();
                places.add(&entry.path(), &Meaning::Tenant(tenant.into_owned()));
            }
        }
        places
    }

    /// The folders to watch.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.keys().map(PathBuf::as_path)
    }

    /// What a change of this name in this folder means, if anything.
    pub(crate) fn meaning(&self, folder: &Path, name: &OsStr) -> Option<Meaning> {
        let known = self.folders.get(folder)?.get(name);
        let tenant = || {
            let of_tenant = self.tenants.as_deref() == Some(folder) && is_tenant_file(name);
            let tenant = || Path::new(name).file_stem().map(|it| it.to_string_lossy().into_owned());
            of_tenant.then(tenant).flatten().map(Meaning::Tenant)
        };
        let hidden = || name.as_encoded_bytes().starts_with(b".");
        let whole = || (self.whole.contains(folder) && !hidden()).then_some(Meaning::Host);
        known.cloned().or_else(tenant).or_else(whole)
    }

    /// The file of the configuration that this name stands for.
    pub(crate) fn file(&self, folder: &Path, name: &OsStr) -> Option<PathBuf> {
        match self.meaning(folder, name)? {
            Meaning::Tenant(tenant) => Some(self.tenants_folder.join(format!("{tenant}.toml"))),
            Meaning::Host if folder.join(name).file_name() == self.host_file.file_name() => {
                Some(self.host_file.clone())
            }
            Meaning::Host | Meaning::Everything => None,
        }
    }

    /// Follows `path` link by link; where it ends.
    fn add(&mut self, path: &Path, meaning: &Meaning) -> Option<PathBuf> {
        let start =
            if path.is_absolute() { PathBuf::from("/") } else { std::env::current_dir().ok()? };
        let mut to_go: VecDeque<OsString> = parts(path);
        let mut at = start;
        let mut links = 0;
        while let Some(part) = to_go.pop_front() {
            if part == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            let Ok(target) = std::fs::read_link(&next) else {
                if to_go.is_empty() {
                    self.name(&at, &part, meaning);
                }
                at = next;
                continue;
            };
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            // Where a tenant's own file is a link, its swap is that tenant's change alone.
            let swap = match meaning {
                Meaning::Tenant(_) if to_go.is_empty() && links == 1 => meaning,
                _ => &Meaning::Everything,
            };
            self.name(&at, &part, swap);
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                to_go.push_front(part);
            }
        }
        Some(at)
    }

    fn name(&mut self, folder: &Path, name: &OsStr, meaning: &Meaning) {
        let names = self.folders.entry(folder.to_owned()).or_default();
        match names.get_mut(name) {
            Some(known) if known != meaning => *known = Meaning::Everything,
            Some(_) => {}
            None => drop(names.insert(name.to_owned(), meaning.clone())),
        }
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}
