//! What is had, on disk: chain and key in one file, below a line that says of whom they are had.

use super::Failure;
use certs::Identity;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Before the directory of the authority; readers of PEM skip what is outside of its lines (RFC 7468, 2).
const SERVER: &str = "Server: ";
/// Octets that are held free for a chain: they have a few thousand.
const CHAIN_ROOM: usize = 64 << 10;

/// What there is.
pub(super) struct Held {
    pub(super) identity: Identity,
    /// Of whom it is had, where that is known.
    pub(super) server: Option<String>,
}

impl Held {
    /// Reads both; `None` if there is nothing that can be used.
    pub(super) fn load(file: &Path) -> Option<Self> {
        let identity = Identity::load(file, file).ok()?;
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let above = text.lines().take_while(|line| !line.starts_with("-----BEGIN"));
        let server = above.filter_map(|line| line.strip_prefix(SERVER)).map(str::to_owned).next();
        Some(Self { identity, server })
    }
}

/// A certificate to come: its key is on disk, with room for its chain, before anybody is asked for it.
/// What was issued and cannot be written is lost, and authorities count it all the same.
pub(super) struct Coming {
    file: File,
    beside: PathBuf,
    path: PathBuf,
    key: String,
    server: String,
}

impl Coming {
    /// Writes the key beside `path`.
    pub(super) fn begin(path: &Path, server: &str, key: String) -> Result<Self, Failure> {
        let (mut file, beside) = create(path)?;
        let room = vec![b'\n'; CHAIN_ROOM];
        file.write_all(key.as_bytes())
            .and_then(|()| file.write_all(&room))
            .and_then(|()| file.sync_all())
            .map_err(|error| Failure::File { path: beside.clone(), error })?;
        Ok(Self { file, beside, path: path.to_owned(), key, server: server.to_owned() })
    }

    /// Writes the chain to it, and puts both in the place of what was there if `fits` has nothing against
    /// it: a certificate that serves is never given up for one that does not.
    pub(super) fn finish(
        mut self,
        chain: &str,
        fits: impl FnOnce(&Held) -> bool,
    ) -> Result<(), Failure> {
        let text = format!("{SERVER}{}\n{}\n{}", self.server, chain.trim_end(), self.key);
        self.fill(&text).map_err(|error| Failure::File { path: self.beside.clone(), error })?;
        if !Held::load(&self.beside).is_some_and(|held| fits(&held)) {
            let _ = std::fs::remove_file(&self.beside);
            return Err(Failure::Unfit);
        }
        rename(&self.beside, &self.path)
    }

    fn fill(&mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()
    }
}

/// Makes the folder of what is had, for its owner alone.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a secret in one step: whoever reads sees the old or the new, and nobody else any.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let (mut file, beside) = create(path)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| Failure::File { path: beside.clone(), error })?;
    rename(&beside, path)
}

/// A file beside `path`, which nobody looks at.
fn create(path: &Path) -> Result<(File, PathBuf), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder).map_err(|error| Failure::File { path: folder.to_owned(), error })?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.new"));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    match options.open(&beside) {
        Ok(file) => Ok((file, beside)),
        Err(error) => Err(Failure::File { path: beside, error }),
    }
}

fn rename(beside: &Path, path: &Path) -> Result<(), Failure> {
    std::fs::rename(beside, path).map_err(|error| Failure::File { path: path.to_owned(), error })
}
