//! What the readers ask for, table by table, written down in tests: so the schema cannot drift from them.
//!
//! While a survey runs, a table that is absent is read as an empty one, so that its keys are asked for
//! as well. Keys that a table only asks for beside certain values need a file that has these values.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Tables in each other: a reader that calls itself for the table below ends here.
const DEPTH_MAX: usize = 6;

/// How a key is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Value,
    List,
    /// A value, or a list of them.
    OneOrMore,
    Table,
    Tables,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) how: How,
    /// The words it may be, where it is one of some.
    pub(crate) words: Option<Vec<String>>,
}

/// The keys of each table, by its path: `""` is the file, `trunk.limits` a table in each `[[trunk]]`.
pub(crate) type Tables = BTreeMap<String, BTreeMap<String, Asked>>;

#[derive(Default)]
struct Survey {
    path: Vec<String>,
    tables: Tables,
    /// Words of a value that is about to be asked for.
    words: Option<Vec<String>>,
}

thread_local! {
    static SURVEY: RefCell<Option<Survey>> = const { RefCell::new(None) };
}

/// Runs `read`, and gives back what was asked for meanwhile.
pub(crate) fn of(read: impl FnOnce()) -> Tables {
    SURVEY.with(|survey| *survey.borrow_mut() = Some(Survey::default()));
    read();
    SURVEY.with(|survey| survey.borrow_mut().take()).map(|survey| survey.tables).unwrap_or_default()
}

/// The table that is being read asks for `key`; of several ways, the first one counts.
pub(crate) fn asked(key: &str, how: How) {
    with(|survey| {
        let words = survey.words.take();
        let table = survey.tables.entry(survey.path.join(".")).or_default();
        table.entry(key.to_owned()).or_insert(Asked { how, words });
    });
}

/// A value that is one of these words is about to be asked for.
pub(crate) fn words<'a>(words: impl Iterator<Item = &'a str>) {
    with(|survey| survey.words = Some(words.map(str::to_owned).collect()));
}

/// The table `key` is read from here on. Whether it should be, if it is absent.
pub(crate) fn enter(key: &str) -> bool {
    with(|survey| {
        survey.path.push(key.to_owned());
        survey.tables.entry(survey.path.join(".")).or_default();
        survey.path.len() <= DEPTH_MAX
    })
    .unwrap_or(false)
}

/// The table that was entered last is read.
pub(crate) fn leave() {
    with(|survey| survey.path.pop());
}

fn with<T>(act: impl FnOnce(&mut Survey) -> T) -> Option<T> {
    SURVEY.with(|survey| survey.borrow_mut().as_mut().map(act))
}
