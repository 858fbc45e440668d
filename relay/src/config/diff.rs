//! What tells two configurations apart, in words: read from their sources, so every key that a file may
//! have is in it.

use super::store::Replaced;
use super::{Certificate, Loaded};
use b2bua::plan::{Plan, Rates};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use toml::{Table, Value};

/// Characters of a value that are shown.
const SHOWN_MAX: usize = 160;
/// Differences of one source that are listed.
const LISTED_MAX: usize = 500;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The tenant; none for the host.
    pub tenant: Option<String>,
    /// What differs, such as `limits.calls` or `route "+49*"`.
    pub what: String,
    /// What it was; none if it is added.
    pub old: Option<String>,
    /// What it would be; none if it is removed.
    pub new: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "tenant {tenant}: ")?,
            None => f.write_str("host: ")?,
        }
        f.write_str(&self.what)?;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, ": {old} -> {new}"),
            (None, Some(new)) => write!(f, ": added {new}"),
            (Some(old), None) => write!(f, ": removed {old}"),
            (None, None) => Ok(()),
        }
    }
}

/// Every difference of these sources, of the certificates and of the tables of rates.
pub(crate) fn differences(replaced: &[Replaced], old: &Loaded, new: &Loaded) -> Vec<Difference> {
    let mut all = Vec::new();
    for one in replaced {
        all.extend(of_source(one));
    }
    certificates(&old.certificates, &new.certificates, &mut all);
    rates(&old.plan, &new.plan, &mut all);
    all
}

/// A few words for a log line or a list.
pub(crate) fn summary(all: &[Difference]) -> String {
    /// Differences that are told one by one.
    const TOLD_MAX: usize = 4;
    /// Characters of all of it.
    const LENGTH_MAX: usize = 400;
    let told: Vec<String> = all.iter().take(TOLD_MAX).map(ToString::to_string).collect();
    let mut text = told.join("; ");
    if all.len() > TOLD_MAX {
        let tenants: BTreeSet<_> = all.iter().filter_map(|it| it.tenant.as_ref()).collect();
        let (more, tenants) = (all.len() - TOLD_MAX, tenants.len());
        let _ = write!(text, "; and {more} more ({tenants} tenants in all)");
    }
    match text.is_empty() {
        true => "nothing".to_owned(),
        false => text.chars().take(LENGTH_MAX).collect(),
    }
}

fn of_source(replaced: &Replaced) -> Vec<Difference> {
    let tenant = replaced.tenant.as_ref().map(ToString::to_string);
    let parse =
        |text: &Option<std::sync::Arc<str>>| -> Option<Table> { text.as_ref()?.parse().ok() };
    let (old, new) = (parse(&replaced.old), parse(&replaced.new));
    let mut walk = Walk { tenant, found: Vec::new(), more: 0 };
    match (&old, &new) {
        (Some(old), Some(new)) => walk.tables("", old, new),
        (None, Some(new)) => walk.add(String::new(), None, Some(counted(new))),
        (Some(old), None) => walk.add(String::new(), Some(counted(old)), None),
        (None, None) => {}
    }
    let Walk { tenant, mut found, more } = walk;
    if more > 0 {
        found.push(Difference { tenant, what: format!("and {more} more"), old: None, new: None });
    }
    for whole in found.iter_mut().filter(|it| it.what.is_empty()) {
        whole.what = "the tenant".to_owned();
    }
    found
}

/// What a whole source is, in numbers.
fn counted(table: &Table) -> String {
    let counts = table.iter().filter_map(|(key, value)| match value {
        Value::Array(list) => Some(format!("{} in {key}", list.len())),
        _ => None,
    });
    format!("({})", counts.collect::<Vec<_>>().join(", "))
}

struct Walk {
    tenant: Option<String>,
    found: Vec<Difference>,
    more: usize,
}

impl Walk {
    fn add(&mut self, what: String, old: Option<String>, new: Option<String>) {
        if self.found.len() >= LISTED_MAX {
            self.more += 1;
            return;
        }
        self.found.push(Difference { tenant: self.tenant.clone(), what, old, new });
    }

    fn tables(&mut self, path: &str, old: &Table, new: &Table) {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match (old.get(key), new.get(key)) {
                (Some(old), Some(new)) if old == new => {}
                (Some(Value::Table(old)), Some(Value::Table(new))) => self.tables(&path, old, new),
                (old, new) if is_list_of_tables(old) || is_list_of_tables(new) => {
                    self.list_of_tables(&path, list(old), list(new));
                }
                (Some(Value::Array(old)), Some(Value::Array(new))) => self.lists(&path, old, new),
                (old, new) => self.add(path, old.map(show), new.map(show)),
            }
        }
    }

    /// Lists of values: what came and went; or their order.
    fn lists(&mut self, path: &str, old: &[Value], new: &[Value]) {
        let (gone, come) = (without(old, new), without(new, old));
        if gone.is_empty() && come.is_empty() {
            let whole = |list: &[Value]| Some(show(&Value::Array(list.to_vec())));
            return self.add(format!("{path}, order"), whole(old), whole(new));
        }
        for value in gone {
            self.add(path.to_owned(), Some(show(value)), None);
        }
        for value in come {
            self.add(path.to_owned(), None, Some(show(value)));
        }
    }

    /// Lists of tables: pairs are found by what the tables call themselves.
    fn list_of_tables(&mut self, path: &str, old: &[Value], new: &[Value]) {
        let gone = without(old, new);
        let mut come = without(new, old);
        let mut moved = gone.is_empty() && come.is_empty();
        for value in gone {
            let name = label(value);
            let pair = come.iter().position(|other| label(other) == name);
            match (pair.map(|at| come.remove(at)), value) {
                (Some(Value::Table(new)), Value::Table(old)) => {
                    self.tables(&format!("{path} {name}"), old, new);
                }
                _ => self.add(format!("{path} {name}"), Some(show(value)), None),
            }
        }
        for value in come {
            moved = false;
            self.add(format!("{path} {}", label(value)), None, Some(show(value)));
        }
        if moved {
            let names =
                |list: &[Value]| Some(list.iter().map(label).collect::<Vec<_>>().join(", "));
            self.add(format!("{path}, order"), names(old).map(cut), names(new).map(cut));
        }
    }
}

/// The values of `list` that are not in `other`, each as often as it is missing.
fn without<'a>(list: &'a [Value], other: &[Value]) -> Vec<&'a Value> {
    let mut there: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for value in other {
        *there.entry(value.to_string()).or_default() += 1;
    }
    let missing = |value: &&Value| match there.get_mut(&value.to_string()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    list.iter().filter(missing).collect()
}

fn is_list_of_tables(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Array(list)) if list.first().is_some_and(Value::is_table))
}

fn list(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(list)) => list,
        _ => &[],
    }
}

/// What a table calls itself: its name, else what it is for.
fn label(value: &Value) -> String {
    let Value::Table(table) = value else { return show(value) };
    if let Some(name) = table.get("name") {
        return show(name);
    }
    let keys =
        ["from", "direction", "number", "match", "calling", "via", "when", "class", "action"];
    let words = keys.iter().filter_map(|key| Some(format!("{key} {}", show(table.get(*key)?))));
    let words: Vec<String> = words.collect();
    match words.is_empty() {
        true => show(value),
        false => words.join(" "),
    }
}

fn show(value: &Value) -> String {
    cut(value.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
}

fn cut(text: String) -> String {
    match text.chars().nth(SHOWN_MAX) {
        Some(_) => format!("{}...", text.chars().take(SHOWN_MAX).collect::<String>()),
        None => text,
    }
}

/// Certificates whose files have others in them now.
fn certificates(old: &[Certificate], new: &[Certificate], all: &mut Vec<Difference>) {
    for now in new {
        let Some(before) = old.iter().find(|before| before.name == now.name) else { continue };
        let shown = |one: &Certificate| {
            let expires = humantime::format_rfc3339_seconds(one.identity.not_after());
            format!("{} until {expires}", one.identity.names().join(", "))
        };
        let (was, is) = (shown(before), shown(now));
        if was != is {
            let what = format!("certificate \"{}\", content", now.name);
            all.push(Difference { tenant: None, what, old: Some(was), new: Some(is) });
        }
    }
}

/// Tables of rates whose files have other rows in them now.
fn rates(old: &Plan, new: &Plan, all: &mut Vec<Difference>) {
    for now in new.rates.iter() {
        let before = old.rates.iter().find(|before| before.name == now.name);
        // Snapshots share a table for as long as its file stays as it is.
        let Some(before) = before.filter(|before| !Arc::ptr_eq(&before.table, &now.table)) else {
            continue;
        };
        let what = format!("rates \"{}\", content", now.name);
        let shown = |rates: &Rates| Some(format!("{} prices", rates.table.len()));
        all.push(Difference { tenant: None, what, old: shown(before), new: shown(now) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(old: &str, new: &str) -> Vec<String> {
        let text = |text: &str| (!text.is_empty()).then(|| text.into());
        let replaced = Replaced { tenant: Some("contoso".into()), old: text(old), new: text(new) };
        of_source(&replaced).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keys_lists_and_tables_are_told_with_old_and_new() {
        let old = "fqdns = [\"a\"]\nnumbers = [\"+49301\", \"+49302\"]\n[limits]\ncalls = 200\n[[route]]\nfrom = \"teams\"\nmatch = \"+49*\"\nto = [\"colt\"]\n[[route]]\nfrom = \"carrier\"\nmatch = \"*\"\nto = [\"teams\"]\n";
        let new = "hold = \"absorb\"\nfqdns = [\"a\"]\nnumbers = [\"+49302\", \"+49303\"]\n[limits]\ncalls = 300\n[[route]]\nfrom = \"teams\"\nmatch = \"+49*\"\nto = [\"bt\", \"colt\"]\n[[route]]\nfrom = \"carrier\"\nmatch = \"+4930*\"\nto = [\"teams\"]\n";
        assert_eq!(
            told(old, new),
            [
                "tenant contoso: hold: added \"absorb\"",
                "tenant contoso: limits.calls: 200 -> 300",
                "tenant contoso: numbers: removed \"+49301\"",
                "tenant contoso: numbers: added \"+49303\"",
                "tenant contoso: route from \"teams\" match \"+49*\".to: added \"bt\"",
                "tenant contoso: route from \"carrier\" match \"*\": removed { from = \"carrier\", match = \"*\", to = [\"teams\"] }",
                "tenant contoso: route from \"carrier\" match \"+4930*\": added { from = \"carrier\", match = \"+4930*\", to = [\"teams\"] }",
            ]
        );
        assert_eq!(told(old, &format!("# a comment\n{old}")), [""; 0]);
    }

    #[test]
    fn order_counts_where_the_first_that_matches_decides() {
        let (one, two) =
            ("[[route]]\nname = \"a\"\nto = [\"x\"]\n", "[[route]]\nname = \"b\"\nto = [\"x\"]\n");
        assert_eq!(
            told(&format!("{one}{two}"), &format!("{two}{one}")),
            ["tenant contoso: route, order: \"a\", \"b\" -> \"b\", \"a\""]
        );
        assert_eq!(
            told("to = [\"x\", \"y\"]\n", "to = [\"y\", \"x\"]\n"),
            ["tenant contoso: to, order: [\"x\", \"y\"] -> [\"y\", \"x\"]"]
        );
    }

    #[test]
    fn a_whole_tenant_is_one_line_and_a_long_list_is_bounded() {
        assert_eq!(
            told("", "fqdns = [\"a\"]\n"),
            ["tenant contoso: the tenant: added (1 in fqdns)"]
        );
        assert_eq!(
            told("fqdns = [\"a\"]\n", ""),
            ["tenant contoso: the tenant: removed (1 in fqdns)"]
        );
        let many: String = (0..2 * LISTED_MAX).map(|n| format!("key{n} = 1\n")).collect();
        let lines = told("hold = 1\n", &many);
        assert_eq!(lines.len(), LISTED_MAX + 1);
        assert!(lines[LISTED_MAX].contains("and 501 more"));
    }
}
