//! `cargo xtask deb`: the binary, its unit and its documentation as a Debian package.

use crate::bench::Bench;
use crate::fail::{Fail, Outcome, While, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Builds the package of this program as it is, else of the release build.
pub(crate) fn run(binary: Option<&str>) -> ExitCode {
    match Bench::open().and_then(|bench| pack(&bench, binary)) {
        Ok(package) => {
            println!("{}", package.display());
            ExitCode::SUCCESS
        }
        Err(fail) => {
            println!("{fail}");
            ExitCode::FAILURE
        }
    }
}

/// What lies where: from the workspace, below the root of the host. A folder goes with all that is in it.
const FILES: &[(&str, &str)] = &[
    ("systemd/tollgate.service", "usr/lib/systemd/system/tollgate.service"),
    ("systemd/tollgate.sysusers.conf", "usr/lib/sysusers.d/tollgate.conf"),
    ("systemd/tollgate.sysctl.conf", "usr/lib/sysctl.d/60-tollgate.conf"),
    ("systemd/fast-media.conf", "usr/share/tollgate/fast-media.conf"),
    ("systemd/config", "usr/share/tollgate/config"),
    ("README.md", "usr/share/doc/tollgate/README.md"),
    ("CHANGELOG.md", "usr/share/doc/tollgate/CHANGELOG.md"),
    ("LICENSE-MIT", "usr/share/doc/tollgate/copyright"),
    ("docs", "usr/share/doc/tollgate/docs"),
];
/// What the package does when it comes and goes.
const SCRIPTS: &[&str] = &["postinst", "prerm", "postrm"];

fn pack(bench: &Bench, binary: Option<&str>) -> Outcome<PathBuf> {
    let (root, stage) = (&bench.workspace.root, bench.scratch.join("deb"));
    let binary = match binary {
        Some(file) => PathBuf::from(file),
        None => bench.release_binary()?,
    };
    if stage.exists() {
        fs::remove_dir_all(&stage).while_(stage.display())?;
    }
    let bin = stage.join("usr/bin/tollgate");
    copy(&binary, &bin)?;
    said("strip", Command::new("strip").arg("--strip-unneeded").arg(&bin))?;
    for (from, to) in FILES {
        copy(&root.join(from), &stage.join(to))?;
    }
    for name in SCRIPTS {
        copy(&root.join("systemd/deb").join(name), &stage.join("DEBIAN").join(name))?;
    }
    modes(&stage)?;
    let version = version(bench)?;
    let kind = said("dpkg", Command::new("dpkg").arg("--print-architecture"))?;
    let text = control(&version, kind.trim(), libraries(bench, &bin)?.trim());
    let control = stage.join("DEBIAN/control");
    fs::write(&control, text).while_(control.display())?;
    let package = bench.workspace.target.join(format!("tollgate_{version}_{}.deb", kind.trim()));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]).arg(&stage).arg(&package);
    said("dpkg-deb", &mut build)?;
    Ok(package)
}

/// What the archive says of itself.
fn control(version: &str, kind: &str, libraries: &str) -> String {
    format!(
        "Package: tollgate\n\
         Version: {version}\n\
         Architecture: {kind}\n\
         Maintainer: The Tollgate authors <https://github.com/tollgate-sbc/tollgate>\n\
         Section: net\n\
         Priority: optional\n\
         Depends: {libraries}, systemd (>= 252)\n\
         Recommends: ca-certificates\n\
         Description: session border controller for Microsoft Teams Direct Routing\n \
         Carrier trunks on one side, many Teams tenants on the other; SIP, and RTP or\n \
         SRTP media, through one process.\n"
    )
}

fn version(bench: &Bench) -> Outcome<String> {
    let mut ours = bench.workspace.ours();
    let package = ours.find(|package| package["name"] == "tollgate");
    let version = package.and_then(|package| package["version"].as_str());
    version.map(str::to_owned).ok_or_else(|| Fail::new("no package tollgate"))
}

/// The packages that the binary's libraries are in, with the versions that it needs.
fn libraries(bench: &Bench, binary: &Path) -> Outcome<String> {
    // It insists on a source package to speak of.
    let source = bench.scratch.join("deb-source");
    fs::create_dir_all(source.join("debian")).while_(source.display())?;
    let file = source.join("debian/control");
    fs::write(&file, "Source: tollgate\n\nPackage: tollgate\nArchitecture: any\n")
        .while_(file.display())?;
    let mut ask = Command::new("dpkg-shlibdeps");
    ask.current_dir(&source).args(["-O", "-e"]).arg(binary);
    let told = said("dpkg-shlibdeps (Debian: dpkg-dev)", &mut ask)?;
    let named = told.trim().strip_prefix("shlibs:Depends=").map(str::to_owned);
    named.ok_or_else(|| Fail(format!("dpkg-shlibdeps: {told}")))
}

/// What a program has said, if it was well.
fn said(name: &str, command: &mut Command) -> Outcome<String> {
    let output = command.output().while_(format_args!("starting {name}"))?;
    ensure(output.status.success(), || {
        format!("{name}: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    if from.is_dir() {
        for entry in from.read_dir().while_(from.display())? {
            let path = entry.while_(from.display())?.path();
            let Some(name) = path.file_name() else { continue };
            copy(&path, &to.join(name))?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).while_(folder.display())?;
    }
    fs::copy(from, to).map(drop).while_(from.display())
}

/// As they are on a host, whatever the umask here: programs and folders 0755, all else 0644.
fn modes(path: &Path) -> Outcome {
    let folder = path.is_dir();
    let below = path.ancestors().nth(1).and_then(Path::file_name);
    let program = below.is_some_and(|name| name == "bin" || name == "DEBIAN");
    let mode = if folder || program { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).while_(path.display())?;
    if folder {
        for entry in path.read_dir().while_(path.display())? {
            modes(&entry.while_(path.display())?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_does_not_name_what_it_needs() {
        let text = control("0.1.0", "amd64", "libc6 (>= 2.34)");
        assert!(text.contains("\nDepends: libc6 (>= 2.34), systemd (>= 252)\n"), "{text}");
        // A description's further lines begin with a blank, or dpkg takes them for fields.
        assert!(text.contains("\n Carrier trunks") && text.ends_with("process.\n"), "{text}");
    }

    #[test]
    fn a_file_of_the_package_is_not_there_any_more() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let scripts = SCRIPTS.iter().map(|name| format!("systemd/deb/{name}"));
        let files = FILES.iter().map(|(from, _)| (*from).to_owned()).chain(scripts);
        for file in files {
            assert!(root.join(&file).exists(), "{file}");
        }
    }
}
