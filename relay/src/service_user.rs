//! The user that the service runs as, and which files of the configuration it cannot read: root can read
//! them all, and `systemctl restart` would fail only afterwards.

use crate::media_setup::Shortfall;
use nix::errno::Errno;
use nix::unistd::{
    AccessFlags, Gid, Group, Uid, User, eaccess, getegid, geteuid, getgrouplist, getgroups,
    setegid, seteuid, setgroups,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The user of the unit that comes with Tollgate.
const USER: &str = "tollgate";
/// The unit, and where it may lie: the first that is found counts (systemd.unit(5)).
const UNIT: &str = "tollgate.service";
const UNITS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// What the unit's `ProtectHome` hides from the service, whatever the rights are.
const HIDDEN: [&str; 3] = ["/root", "/home", "/run/user"];
/// Files that are told; ten thousand tenants may all have the same mistake.
const TOLD_MAX: usize = 8;

/// As whom a unit has its service run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunsAs {
    pub(crate) user: String,
    group: Option<String>,
    supplementary: Vec<String>,
}

impl RunsAs {
    /// As the unit of this host says, or the one that comes with Tollgate; `None`: as somebody who may read
    /// all, or nobody that is known before.
    pub(crate) fn here() -> Option<Self> {
        let read = |directory: &&str| std::fs::read_to_string(Path::new(directory).join(UNIT)).ok();
        match UNITS.iter().find_map(read) {
            Some(unit) => Self::of_unit(&[vec![unit], drop_ins()].concat()),
            None => Some(Self::named(USER)),
        }
    }

    pub(crate) fn named(user: &str) -> Self {
        Self { user: user.to_owned(), ..Self::default() }
    }

    /// The unit's text, and those of its drop-ins in their order.
    fn of_unit(texts: &[String]) -> Option<Self> {
        let (mut found, mut known) = (Self::default(), true);
        for (key, value) in texts.iter().flat_map(|text| settings(text)) {
            let words = || value.split_whitespace().map(str::to_owned);
            match key {
                "User" => found.user = value.to_owned(),
                "Group" => found.group = words().next(),
                "SupplementaryGroups" if value.is_empty() => found.supplementary.clear(),
                "SupplementaryGroups" => found.supplementary.extend(words()),
                "DynamicUser" => known = !matches!(value, "yes" | "true" | "on" | "1"),
                // It passes all rights by.
                "AmbientCapabilities" if value.contains("CAP_DAC_") => known = false,
                _ => {}
            }
        }
        (known && !found.user.is_empty()).then_some(found)
    }
}

/// The assignments in `[Service]`.
fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut inside = false;
    text.lines().map(str::trim).filter_map(move |line| {
        if line.starts_with('[') {
            inside = line == "[Service]";
        }
        let (key, value) = line.split_once('=').filter(|_| inside)?;
        Some((key.trim(), value.trim()))
    })
}

/// Drop-ins by file name: one in `/etc` takes the place of one elsewhere.
fn drop_ins() -> Vec<String> {
    let mut found = BTreeMap::new();
    for directory in UNITS.iter().rev() {
        let folder = Path::new(directory).join(format!("{UNIT}.d"));
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|it| it == "conf") {
                found.insert(entry.file_name(), path);
            }
        }
    }
    found.into_values().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

/// A user with all that rights are judged by.
#[derive(Debug)]
pub(crate) struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Account {
    /// The account, if there is one on this host and it is not root's.
    pub(crate) fn of(runs_as: &RunsAs) -> Option<Self> {
        let user = match runs_as.user.parse() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)),
            Err(_) => User::from_name(&runs_as.user),
        };
        let user = user.ok().flatten().filter(|user| !user.uid.is_root())?;
        let gid = match &runs_as.group {
            Some(group) => group_of(group)?,
            None => user.gid,
        };
        let mut groups = getgrouplist(&CString::new(user.name.as_str()).ok()?, gid).ok()?;
        groups.extend(runs_as.supplementary.iter().filter_map(|group| group_of(group)));
        Some(Self { name: user.name, uid: user.uid, gid, groups })
    }

    /// What of these this user cannot read, as the kernel judges it. Only root can tell; the whole process
    /// is that user meanwhile, so nobody else may be at work in it.
    pub(crate) fn unreadable(&self, files: &[PathBuf]) -> nix::Result<Vec<Shortfall>> {
        if !geteuid().is_root() {
            return Err(Errno::EPERM);
        }
        let places: Vec<Place> = files.iter().filter_map(|file| Place::of(file)).collect();
        let (group, groups) = (getegid(), getgroups()?);
        setgroups(&self.groups)?;
        let asked = setegid(self.gid).and_then(|()| seteuid(self.uid));
        let found = asked.map(|()| places.iter().filter_map(Place::obstacle).collect::<Vec<_>>());
        // In the other order: only root may change groups.
        seteuid(Uid::from_raw(0))
            .and_then(|()| setegid(group))
            .and_then(|()| setgroups(&groups))?;
        Ok(self.told(&found?))
    }

    /// Each thing that is in the way once, with how many files lie behind it.
    fn told(&self, found: &[(&Place, &Path)]) -> Vec<Shortfall> {
        let obstacles: BTreeSet<&Path> = found.iter().map(|(_, obstacle)| *obstacle).collect();
        let behind = |obstacle: &Path| {
            found.iter().filter(|(_, at)| *at == obstacle).map(|(it, _)| *it).collect::<Vec<_>>()
        };
        let told = obstacles.iter().take(TOLD_MAX);
        let mut all: Vec<Shortfall> = told.map(|it| self.one(it, &behind(it))).collect();
        let left = obstacles.len().saturating_sub(TOLD_MAX);
        if left > 0 {
            all.push(Shortfall {
                what: format!("the service's user {} cannot read {left} more", self.name),
                mend: "mend those above, and check again".to_owned(),
            });
        }
        all
    }

    fn one(&self, obstacle: &Path, behind: &[&Place]) -> Shortfall {
        let (shown, rights) = (obstacle.display(), rights(obstacle));
        let hides = behind.iter().find(|place| !place.is(obstacle));
        let what = match (hides, behind.len().saturating_sub(1)) {
            (None, _) => format!("{shown} ({rights})"),
            (Some(first), 0) => {
                format!("{}: {shown} cannot be entered ({rights})", first.file.display())
            }
            (Some(first), more) => {
                let first = first.file.display();
                format!("{first} and {more} more: {shown} cannot be entered ({rights})")
            }
        };
        Shortfall {
            what: format!("the service's user {} cannot read {what}", self.name),
            mend: self.mend(obstacle, behind),
        }
    }

    fn mend(&self, obstacle: &Path, behind: &[&Place]) -> String {
        if HIDDEN.iter().any(|hidden| obstacle.starts_with(hidden)) {
            return "move it, below /etc/tollgate for one: the unit hides /root and /home (ProtectHome)"
                .to_owned();
        }
        let shown = obstacle.display();
        let about = std::fs::metadata(obstacle);
        let listed = behind.iter().any(|place| place.is(obstacle));
        let right = match (about.as_ref().is_ok_and(std::fs::Metadata::is_dir), listed) {
            (true, true) => "rx",
            (true, false) => "x",
            (false, _) => "r",
        };
        let owner = about.as_ref().is_ok_and(|it| it.uid() == self.uid.as_raw());
        let member =
            |gid: u32| gid == self.gid.as_raw() || self.groups.contains(&Gid::from_raw(gid));
        match about {
            _ if owner => format!("chmod u+{right} {shown}"),
            Ok(about) if member(about.gid()) => format!("chmod g+{right} {shown}"),
            _ => format!(
                "chgrp {} {shown} && chmod g+{right} {shown}",
                group_name(self.gid.as_raw())
            ),
        }
    }
}

/// A file, and where it really is.
struct Place {
    file: PathBuf,
    real: PathBuf,
    directory: bool,
}

impl Place {
    /// `None`: it is not there, which is another matter.
    fn of(file: &Path) -> Option<Self> {
        let (file, real) = (std::path::absolute(file).ok()?, std::fs::canonicalize(file).ok()?);
        let directory = real.is_dir();
        Some(Self { file, real, directory })
    }

    fn is(&self, path: &Path) -> bool {
        self.file == path || self.real == path
    }

    /// What keeps whoever we are from it: the first directory on the way to it or to what it leads to, or
    /// itself.
    fn obstacle(&self) -> Option<(&Self, &Path)> {
        let wanted = match self.directory {
            true => AccessFlags::R_OK | AccessFlags::X_OK,
            false => AccessFlags::R_OK,
        };
        let denied = |path: &Path, to: AccessFlags| eaccess(path, to) == Err(Errno::EACCES);
        if !denied(&self.file, wanted) {
            return None;
        }
        for path in [&self.file, &self.real] {
            let above = path.ancestors().skip(1).collect::<Vec<_>>();
            let closed = above.into_iter().rev().find(|it| denied(it, AccessFlags::X_OK));
            if let Some(closed) = closed {
                return Some((self, closed));
            }
        }
        Some((self, &self.real))
    }
}

fn group_of(group: &str) -> Option<Gid> {
    match group.parse() {
        Ok(gid) => Some(Gid::from_raw(gid)),
        Err(_) => Group::from_name(group).ok().flatten().map(|group| group.gid),
    }
}

fn group_name(gid: u32) -> String {
    let known = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    known.map_or_else(|| gid.to_string(), |group| group.name)
}

/// Mode and owners, as `ls` says them.
fn rights(path: &Path) -> String {
    let Ok(about) = std::fs::metadata(path) else { return "gone".to_owned() };
    let user = User::from_uid(Uid::from_raw(about.uid())).ok().flatten();
    let user = user.map_or_else(|| about.uid().to_string(), |user| user.name);
    format!("{:04o} {user}:{}", about.permissions().mode() & 0o7777, group_name(about.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(texts: &[&str]) -> Option<RunsAs> {
        RunsAs::of_unit(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_units_user_is_that_of_its_last_word_and_nobody_where_nobody_is_known() {
        let ours = include_str!("../../systemd/tollgate.service");
        let known = RunsAs { group: Some(USER.to_owned()), ..RunsAs::named(USER) };
        assert_eq!(unit(&[ours]), Some(known.clone()));
        let drop_in = "[Unit]\nUser=no\n[Service]\nUser=sbc\nSupplementaryGroups=ssl-cert\n";
        let expected =
            RunsAs { user: "sbc".into(), supplementary: vec!["ssl-cert".into()], ..known };
        assert_eq!(unit(&[ours, drop_in]), Some(expected));
        for nobody in
            ["User=", "DynamicUser=yes", "AmbientCapabilities=CAP_NET_RAW CAP_DAC_READ_SEARCH"]
        {
            assert_eq!(unit(&[ours, &format!("[Service]\n{nobody}\n")]), None, "{nobody}");
        }
        assert_eq!(unit(&["[Service]\nExecStart=/usr/bin/tollgate\n"]), None, "root");
    }

    #[test]
    fn a_user_that_is_not_there_and_root_are_nobody_to_be_warned_of() {
        assert!(Account::of(&RunsAs::named("nobody-of-this-name")).is_none());
        assert!(Account::of(&RunsAs::named("root")).is_none());
    }
}
