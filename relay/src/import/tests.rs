//! Tables that become tenant files, and tables that do not.

use super::template::Template;
use super::{File, Import, State, Wish, prepare};
use crate::config;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A host without TLS, so that no certificate is needed.
const HOST: &str = r#"[node]
fqdn = "sbc1.example.net"
[[media.address]]
name = "outside"
bind = "127.0.0.1"
ports = "20000-29999"
[[listener]]
name = "carrier"
transport = "udp"
bind = "127.0.0.1:5060"
[[trunk]]
name = "colt"
kind = "carrier"
listener = "carrier"
targets = ["192.0.2.7:5060"]
sources = ["192.0.2.0/28"]
[[trunk]]
name = "bt"
kind = "carrier"
listener = "carrier"
targets = ["198.51.100.20"]
sources = ["198.51.100.20"]
"#;

/// For a host on which Teams is no trunk.
const TEMPLATE: &str = "fqdns = [\"{name}.sbc1.example.net\"]\nnumbers = {numbers:list}\n\n\
                        [limits]\ncalls = {calls:number?}\n\n\
                        [[route]]\nfrom = \"teams\"\nmatch = \"*\"\nto = {trunks:list}\n";

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tollgate-import-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).unwrap();
        folder.with("tollgate.toml", HOST).with("template.toml", TEMPLATE)
    }

    fn with(self, file: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn import(&self, force: bool) -> Import {
        let (table, template) = (self.0.join("table.csv"), self.0.join("template.toml"));
        prepare(&Wish { table: &table, template: Some(&template), config: &self.0, force })
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap()
    }

    /// What is said, without the folder.
    fn said(&self, import: &Import) -> Vec<String> {
        let folder = format!("{}/", self.0.display());
        let said = import.problems.iter().map(|problem| problem.to_string().replace(&folder, ""));
        said.collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const TABLE: &str = "\u{feff}Name,Numbers,trunks,calls\n\
                     contoso,+4930123450-+4930123459;+4989555010,colt; bt,200\n\
                     fabrikam , +442079460000 , bt ,\n";

#[test]
fn rows_are_no_tenants() {
    let folder = Folder::new().with("table.csv", TABLE);
    let import = folder.import(false);
    assert_eq!(folder.said(&import), Vec::<String>::new());
    assert!(!folder.0.join("tenants.d").exists(), "nothing is written before it is asked for");
    assert_eq!(import.write().unwrap(), 2);
    assert_eq!(
        folder.read("tenants.d/contoso.toml"),
        "fqdns = [\"contoso.sbc1.example.net\"]\n\
         numbers = [\"+4930123450-+4930123459\", \"+4989555010\"]\n\n\
         [limits]\ncalls = 200\n\n\
         [[route]]\nfrom = \"teams\"\nmatch = \"*\"\nto = [\"colt\", \"bt\"]\n"
    );
    // A table of which nothing is left is left out.
    assert!(!folder.read("tenants.d/fabrikam.toml").contains("[limits]"));
    assert_eq!(config::load(&folder.0).unwrap().plan.tenants.len(), 2);
    let left: Vec<_> = std::fs::read_dir(folder.0.join("tenants.d")).unwrap().collect();
    assert_eq!(left.len(), 2);
}

#[test]
fn the_same_table_a_second_time_changes_something() {
    let folder = Folder::new().with("table.csv", TABLE);
    folder.import(false).write().unwrap();
    let again = folder.import(false);
    assert!(again.problems.is_empty());
    assert!(again.files.iter().all(|file| file.state == State::Unchanged));
    assert_eq!(again.write().unwrap(), 0);
}

#[test]
fn a_file_that_somebody_has_changed_is_lost() {
    let folder = Folder::new().with("table.csv", TABLE);
    folder.import(false).write().unwrap();
    let own = "# mine\n".to_owned() + &folder.read("tenants.d/contoso.toml");
    let folder = folder.with("tenants.d/contoso.toml", &own);
    let said = folder.said(&folder.import(false));
    assert_eq!(
        said,
        [
            "table.csv:2: tenants.d/contoso.toml is there and says something else\nhint: --force replaces it"
        ]
    );
    let forced = folder.import(true);
    assert_eq!(forced.write().unwrap(), 1);
    assert!(!folder.read("tenants.d/contoso.toml").contains("mine"));
}

#[test]
fn a_row_does_not_hold() {
    for (row, said) in [
        ("../evil,+4930,colt,", "table.csv:2: \"../evil\" cannot name a tenant"),
        (",+4930,colt,", "table.csv:2: \"\" cannot name a tenant"),
        ("a,+4930,colt", "table.csv:2: has 3 cells where the first line names 4 columns"),
        ("a,,colt,", "table.csv:2: `numbers` is empty"),
        ("a,+4930,colt,many", "table.csv:2: `calls` is \"many\" where a whole number is expected"),
        ("a,+4930,colt,-1", "table.csv:2: `calls` is \"-1\""),
        ("a,+4930,colt,0", "table.csv:2: tenants.d/a.toml:5: [limits]: `calls = 0` is not between"),
        ("a,030,colt,", "table.csv:2: tenants.d/a.toml:2: \"030\" in `numbers` is not a number"),
        ("a,+4930,kolt,", "table.csv:2: tenants.d/a.toml:7: route \"*\" names trunk \"kolt\""),
        ("a,+4930,colt,\nb,+4930,colt,", "overlap +4930 of tenant"),
        ("a,+4930,colt,\na,+4931,colt,", "table.csv:3: tenant \"a\" stands on line 2 already"),
        ("\"a\",\"+4930\nx\",colt,", "table.csv:2: tenants.d/a.toml:2: \"+4930\\nx\" in `numbers`"),
    ] {
        let folder = Folder::new().with("table.csv", format!("name,numbers,trunks,calls\n{row}\n"));
        let import = folder.import(false);
        let problems = folder.said(&import);
        assert!(problems.iter().any(|it| it.contains(said)), "{row:?}: {problems:#?}");
    }
}

#[test]
fn a_table_is_none() {
    for (table, said) in [
        (&b""[..], "column `name` is missing"),
        (b"name,numbers,trunks,calls\n", "has no row"),
        (b"name;numbers\na;b\n", "columns are separated by commas"),
        (b"name,Name\na,b\n", "column `name` stands twice"),
        (b"name,numbers,trunks\n\xff,a,b\n", "table.csv:2: is not UTF-8"),
        (b"fqdn,numbers\na,b\n", "column `name` is missing"),
        (b"name,trunks,numbrs\na,b,c\n", "did you mean {numbrs}?"),
    ] {
        let folder = Folder::new().with("table.csv", table);
        let problems = folder.said(&folder.import(false));
        assert!(problems.iter().any(|it| it.contains(said)), "{problems:?} without {said}");
    }
    let folder = Folder::new();
    assert!(folder.said(&folder.import(false))[0].starts_with("table.csv:1: cannot be read"));
}

#[test]
fn a_number_is_that_of_a_tenant_who_is_there() {
    let folder = Folder::new()
        .with(
            "tenants.d/there.toml",
            "fqdns = [\"there.sbc1.example.net\"]\nnumbers = [\"+4930123455\"]\n",
        )
        .with("table.csv", TABLE);
    let import = folder.import(false);
    let problems = folder.said(&import);
    assert!(problems.iter().any(|it| it.contains("tenant \"there\"")), "{problems:?}");
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn template(text: &str, names: &[&str]) -> Result<Template, String> {
    let folder = Folder::new().with("other.toml", text);
    Template::read(Some(&folder.0.join("other.toml")), &columns(names))
        .map(|(template, _)| template)
        .map_err(|problems| problems[0].message.clone())
}

#[test]
fn a_cell_ends_its_string_or_its_line() {
    let text = "a = {x}\nb = \"<{x}>\"\nc = {x:list}\n# {x}\n";
    let template = template(text, &["x"]).unwrap();
    let hostile = [
        "\"\n[[route]]\nto = [\"colt\"]",
        "\\",
        "\"",
        "\\\"",
        "\u{0}\u{7f}\u{85}\u{2028}",
        "{x}",
        "a\r\nb",
        "'''\"\"\"",
        "\u{202e}#",
    ];
    for cell in hostile {
        let filled = template.fill(&columns(&[cell]), "teams").unwrap();
        let read: toml::Table = toml::from_str(&filled).unwrap_or_else(|e| panic!("{filled}: {e}"));
        assert_eq!(read.len(), 3, "{filled}");
        assert_eq!(read["a"].as_str(), Some(cell));
        assert_eq!(read["b"].as_str(), Some(format!("<{cell}>").as_str()));
        assert_eq!(read["c"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn braces_that_name_no_column_are_touched() {
    let text = "to = [\"colt\", { colt = 70, bt = 30 }]\nmatch = \"/^[0-9]{8}$/\"\n\
                value = \"{called} of {tenant}\"\nx = {teams}\n";
    let filled = template(text, &["x"]).unwrap().fill(&columns(&["1"]), "msteams").unwrap();
    assert_eq!(filled, text.replace("{teams}", "\"msteams\""));
}

#[test]
fn a_template_does_not_hold() {
    for (text, said) in [
        ("a = {y}", "`{y}` names no column of the table"),
        ("a = '{x}'", "cannot stand within '..'"),
        ("a = \"{x:list}\"", "stands within text"),
        ("a = {x:lst}", "`lst` is not one of list, number, flag"),
        ("a = \"\"\"{x}", "no strings of several lines"),
    ] {
        let found = template(text, &["x"]).unwrap_err();
        assert!(found.contains(said), "{found} without {said}");
    }
    assert!(template("a = {y?}\nb = 1", &["x"]).is_ok());
}

#[test]
fn the_built_in_template_makes_another_tenant_than_the_documentation_says() {
    let names = ["name", "fqdn", "numbers", "trunks", "calls", "country"];
    let (template, unused) = Template::read(None, &columns(&names)).unwrap();
    assert!(unused.is_empty());
    let row = ["contoso", "contoso.sbc1.example.net", "+4930123450-+4930123459", "colt;bt", "", ""];
    assert_eq!(
        template.fill(&columns(&row), "teams").unwrap(),
        "# Written by `tollgate tenants import`.\n\
         fqdns = [\"contoso.sbc1.example.net\"]\n\
         numbers = [\"+4930123450-+4930123459\"]\n\n\
         [[route]]\nfrom = \"teams\"\nmatch = \"*\"\nto = [\"colt\", \"bt\"]\n\n\
         [[route]]\nfrom = \"carrier\"\nmatch = \"*\"\nto = [\"teams\"]\n"
    );
    let (_, unused) =
        Template::read(None, &columns(&["name", "fqdn", "numbers", "trunks", "cals"])).unwrap();
    assert_eq!(unused, ["cals"]);
}

#[test]
fn a_disk_that_takes_no_more_leaves_half_of_the_files() {
    let folder = Folder::new();
    let file = |tenant: &str, path: &Path| File {
        tenant: tenant.into(),
        path: path.to_owned(),
        text: "x".into(),
        line: 2,
        state: State::New,
    };
    // The second cannot be written: its folder is a file.
    let files = vec![
        file("a", &folder.0.join("tenants.d/a.toml")),
        file("b", &folder.0.join("tollgate.toml/b.toml")),
    ];
    assert!(Import { files, ..Import::default() }.write().is_err());
    assert_eq!(std::fs::read_dir(folder.0.join("tenants.d")).unwrap().count(), 0);
}
