//! Files of the emulation: the examples hold, the document knows every key, slips are told.

use super::setup::{self, Part, Side};
use super::{Failure, pki};
use crate::config::survey::{self, Tables};
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../../docs/operations/emulate.md");
const TEAMS: &str = include_str!("../../../docs/operations/emulate/teams.toml");
const CARRIER: &str = include_str!("../../../docs/operations/emulate/carrier.toml");

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tollgate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.0.join("side.toml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn problems(side: Side, text: &str) -> Vec<String> {
    let folder = Folder::new("emulate-problems");
    match setup::read(side, &folder.file(text)) {
        Err(Failure::File(problems)) => {
            problems.iter().map(|it| format!("{}: {}", it.line, it.message)).collect()
        }
        other => panic!("{:?}", other.map(|_| "it holds").map_err(|error| error.to_string())),
    }
}

#[test]
fn examples_hold_and_certificates_are_made_once() {
    let folder = Folder::new("emulate-examples");
    let setup = setup::read(Side::Carrier, &folder.file(CARRIER)).unwrap();
    assert!(matches!(setup.part, Part::Carrier(_)));
    assert_eq!(setup.calls.len(), 1);
    let path = folder.file(TEAMS);
    let first = setup::read(Side::Teams, &path).unwrap();
    let Part::Teams(teams) = &first.part else { panic!() };
    assert_eq!((teams.endpoints.len(), teams.tenants.len()), (3, 3));
    assert_eq!(teams.script.forwards.len(), 1);
    let root = std::fs::read(folder.0.join("emulate-lab/root.pem")).unwrap();
    let again = setup::read(Side::Teams, &path).unwrap();
    assert!(again.told[0].starts_with("certificates are those in"), "{:?}", again.told);
    assert_eq!(std::fs::read(folder.0.join("emulate-lab/root.pem")).unwrap(), root);
    let sbc = pki::load(
        "sbc",
        Path::new(&folder.0.join("emulate-lab/sbc.pem")),
        Path::new(&folder.0.join("emulate-lab/sbc.key")),
    );
    let names = sbc.unwrap().named("sbc").unwrap();
    assert!(names.covers("contoso.sbc1.example.net"));
}

#[test]
fn slips_are_told_with_their_lines() {
    let text = TEAMS.replace("3s music", "3 music").replace("forks", "fork");
    let told = problems(Side::Teams, &text);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("`progress = \"fork\"` is not one of"), "{told:#?}");
    assert!(told[1].contains("\"3 music\" in `then`"), "{told:#?}");
    let told = problems(Side::Carrier, "[carrier]\nlisten = \"127.0.0.1:5060\"\nsbcs = 1\n");
    assert!(told.iter().any(|it| it.contains("`sbc` is missing")), "{told:#?}");
    assert!(told.iter().any(|it| it.contains("unknown key `sbcs`")), "{told:#?}");
    let told = problems(Side::Teams, "[teams]\nlisten = []\n");
    assert!(told.iter().any(|it| it.contains("`tenant` is missing")), "{told:#?}");
    let odd = "[[user]]\nnumber = \"*\"\ndoes = \"refuse\"\nsub_code = 1\n";
    let told = problems(Side::Teams, &format!("{TEAMS}{odd}"));
    assert!(told[0].contains("none that Microsoft is known to give"), "{told:#?}");
}

/// What the reader asks for in a file of this side.
fn asked(side: Side) -> Tables {
    let folder = Folder::new("emulate-survey");
    let path = folder.file("");
    survey::of(|| {
        let _ = setup::read(side, &path);
    })
}

#[test]
fn document_knows_every_key() {
    for side in [Side::Teams, Side::Carrier] {
        for (table, keys) in asked(side) {
            for key in keys.keys() {
                let known = DOCUMENT.contains(&format!("`{key}`"))
                    || DOCUMENT.contains(&format!("[{key}]"));
                assert!(known, "{key} of [{table}] is not in docs/operations/emulate.md");
            }
        }
    }
}
