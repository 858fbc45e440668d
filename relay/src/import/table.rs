//! The table: CSV with a line of column names, each row one tenant.

use crate::config::{Problem, is_name};
use csv::{ReaderBuilder, StringRecord, Trim};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Octets of a table: twenty thousand tenants with a few hundred numbers each.
const TABLE_MAX: u64 = 64 << 20;
/// Rows: as many tenants as a host may have.
const ROWS_MAX: usize = 20_000;
/// Columns: what a spreadsheet has of a tenant.
const COLUMNS_MAX: usize = 100;
/// Problems that are listed: who has corrected these asks again.
const PROBLEMS_MAX: usize = 100;

/// The column that names the tenant, and its file.
pub(super) const NAME: &str = "name";

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// One tenant.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u32,
    pub(super) name: String,
    /// By column.
    pub(super) cells: Vec<String>,
}

impl Table {
    /// Reads `path`: what holds of it, and what is wrong.
    pub(super) fn read(path: &Path) -> (Self, Vec<Problem>) {
        let mut table = Self::default();
        let mut problems = Vec::new();
        let mut tell = |line: u64, message: String, hint: Option<&str>| {
            if problems.len() < PROBLEMS_MAX {
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                let hint = hint.map(str::to_owned);
                problems.push(Problem { file: path.to_owned(), line, message, hint });
            }
        };
        let octets = match bounded(path) {
            Ok(octets) => octets,
            Err(error) => {
                tell(1, format!("cannot be read: {error}"), None);
                return (table, problems);
            }
        };
        // What spreadsheets put before the first column.
        let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&octets);
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(octets);
        let header = match reader.headers() {
            Ok(header) => header.clone(),
            Err(error) => {
                tell(1, said(&error), None);
                return (table, problems);
            }
        };
        if !table.header(&header, &mut tell) {
            return (table, problems);
        }
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let line = error.position().map_or(1, csv::Position::line);
                    tell(line, said(&error), None);
                    continue;
                }
            };
            let line = record.position().map_or(1, csv::Position::line);
            if table.rows.len() >= ROWS_MAX {
                tell(line, format!("has more than {ROWS_MAX} rows"), None);
                break;
            }
            table.row(line, &record, &mut seen, &mut tell);
        }
        if table.rows.is_empty() && problems.is_empty() {
            problems.push(Problem {
                file: path.to_owned(),
                line: 1,
                message: "has no row below its line of column names".to_owned(),
                hint: None,
            });
        }
        (table, problems)
    }

    fn header(
        &mut self,
        header: &StringRecord,
        tell: &mut impl FnMut(u64, String, Option<&str>),
    ) -> bool {
        self.columns = header.iter().map(str::to_ascii_lowercase).collect();
        let semicolons = self.columns.iter().any(|column| column.contains(';'));
        let mut holds = true;
        for (index, column) in self.columns.iter().enumerate() {
            let said = if !is_column(column) {
                format!("{column:?} is no name of a column: letters, digits, `_` and `-`")
            } else if self.columns.iter().take(index).any(|before| before == column) {
                format!("column `{column}` stands twice")
            } else {
                continue;
            };
            holds = false;
            let hint = "columns are separated by commas; `;` separates what is in one cell";
            tell(1, said, semicolons.then_some(hint));
        }
        if self.columns.len() > COLUMNS_MAX {
            tell(
                1,
                format!("has {} columns; {COLUMNS_MAX} are the most", self.columns.len()),
                None,
            );
            holds = false;
        }
        if holds && !self.columns.iter().any(|column| column == NAME) {
            let hint = "the first line names the columns: name,fqdn,numbers,trunks";
            tell(1, format!("column `{NAME}` is missing"), Some(hint));
            holds = false;
        }
        holds
    }

    fn row(
        &mut self,
        line: u64,
        record: &StringRecord,
        seen: &mut BTreeMap<String, u32>,
        tell: &mut impl FnMut(u64, String, Option<&str>),
    ) {
        let cells: Vec<String> = record.iter().map(str::to_owned).collect();
        let at = self.columns.iter().position(|column| column == NAME);
        let name = at.and_then(|at| cells.get(at)).cloned().unwrap_or_default();
        if !is_name(&name) {
            let hint = "letters, digits, `-`, `_` and `.`, at most 64, a letter or digit first";
            return tell(line, format!("{name:?} cannot name a tenant"), Some(hint));
        }
        let line_number = u32::try_from(line).unwrap_or(u32::MAX);
        if let Some(first) = seen.insert(name.clone(), line_number) {
            return tell(line, format!("tenant \"{name}\" stands on line {first} already"), None);
        }
        self.rows.push(Row { line: line_number, name, cells });
    }
}

/// Whether it can stand in `{..}`.
pub(super) fn is_column(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?.take(TABLE_MAX + 1).read_to_end(&mut octets)?;
    match octets.len() as u64 > TABLE_MAX {
        true => Err(std::io::Error::other(format!("it is larger than {} MiB", TABLE_MAX >> 20))),
        false => Ok(octets),
    }
}

/// What is wrong, without the position that stands before it.
fn said(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} cells where the first line names {expected_len} columns")
        }
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
        other => format!("is not CSV: {other:?}"),
    }
}
