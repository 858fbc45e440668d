//! What a row becomes: a tenant's file with `{column}` where a cell goes.
//!
//! A cell is written as a value, never as text of the file: whatever stands in it, it cannot end its
//! string, its line or its table.

use super::table::is_column;
use crate::config::{Problem, did_you_mean};
use std::fmt::Write as _;
use std::path::Path;

/// What stands in for a template that is not given.
pub(crate) const BUILT_IN: &str = r#"# Written by `tollgate tenants import`.
fqdns = {fqdn:list}
numbers = {numbers:list}
country = {country?}

[limits]
calls = {calls:number?}

[[route]]
from = "teams"
match = "*"
to = {trunks:list}

[[route]]
from = "carrier"
match = "*"
to = [{teams}]
"#;

/// The columns of [`BUILT_IN`].
pub(super) const COLUMNS: &str = "name, fqdn, numbers, trunks and, if need be, calls and country";

/// Octets of a template: a tenant's file with many routes has a tenth.
const TEMPLATE_MAX: u64 = 1 << 20;
/// The column that every table has: the name of the trunk to Teams.
const TEAMS: &str = "teams";
/// Words that header rules know: in a template they stay as they are, unless a column is called so.
const OTHERS: &[&str] = &["called", "calling", "tenant", "trunk", "call"];

/// A template, fitted to the columns of a table.
#[derive(Debug)]
pub(super) struct Template {
    paragraphs: Vec<Vec<Vec<Piece>>>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Cell(Cell),
}

#[derive(Debug)]
struct Cell {
    name: String,
    /// Where it stands in a row; `None`: there is no such column, and it may be left out.
    column: Option<Column>,
    form: Form,
    /// Without a value its line is left out.
    optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    At(usize),
    Teams,
}

/// How a cell is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `{x}`: text in quotes.
    Text,
    /// `{x:list}`: a list of what `;` separates.
    List,
    /// `{x:number}`.
    Number,
    /// `{x:flag}`: true or false.
    Flag,
    /// `"..{x}.."`: text within quotes that are there.
    Within,
    /// `# {x}`.
    Comment,
}

impl Template {
    /// Reads `path`, or takes [`BUILT_IN`]; with it the columns that it does not use.
    pub(super) fn read(
        path: Option<&Path>,
        columns: &[String],
    ) -> Result<(Self, Vec<String>), Vec<Problem>> {
        let Some(path) = path else { return Self::parse(BUILT_IN, Path::new(""), columns) };
        let unread = |error: String| {
            vec![Problem {
                file: path.to_owned(),
                line: 1,
                message: format!("cannot be read: {error}"),
                hint: None,
            }]
        };
        let about = std::fs::metadata(path).map_err(|error| unread(error.to_string()))?;
        if about.len() > TEMPLATE_MAX {
            return Err(unread(format!("it is larger than {} KiB", TEMPLATE_MAX >> 10)));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unread(error.to_string()))?;
        Self::parse(&text, path, columns)
    }

    fn parse(
        text: &str,
        path: &Path,
        columns: &[String],
    ) -> Result<(Self, Vec<String>), Vec<Problem>> {
        let (mut paragraphs, mut paragraph) = (Vec::new(), Vec::new());
        let mut problems = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                paragraphs.push(std::mem::take(&mut paragraph));
                continue;
            }
            match pieces(line, columns) {
                Ok(pieces) => paragraph.push(pieces),
                Err((message, hint)) => problems.push(Problem {
                    file: path.to_owned(),
                    line: u32::try_from(index + 1).unwrap_or(u32::MAX),
                    message,
                    hint,
                }),
            }
        }
        paragraphs.push(paragraph);
        paragraphs.retain(|paragraph| !paragraph.is_empty());
        let template = Self { paragraphs };
        let used = |at: usize| {
            template.cells().any(|cell| cell.column == Some(Column::At(at)))
                || columns.get(at).is_some_and(|column| column == super::table::NAME)
        };
        let unused = (0..columns.len()).filter(|at| !used(*at));
        let unused = unused.filter_map(|at| columns.get(at).cloned()).collect();
        if problems.is_empty() { Ok((template, unused)) } else { Err(problems) }
    }

    fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.paragraphs.iter().flatten().flatten().filter_map(|piece| match piece {
            Piece::Cell(cell) => Some(cell),
            Piece::Text(_) => None,
        })
    }

    /// The file that a row becomes, or all that is wrong with its cells.
    pub(super) fn fill(&self, row: &[String], teams: &str) -> Result<String, Vec<String>> {
        let mut wrong = Vec::new();
        let mut paragraphs = Vec::with_capacity(self.paragraphs.len());
        for paragraph in &self.paragraphs {
            let lines = paragraph.iter().map(|line| filled(line, row, teams, &mut wrong));
            let lines: Vec<Option<String>> = lines.collect();
            let left: Vec<&str> = lines.iter().flatten().map(String::as_str).collect();
            // A table of which nothing is left but its name.
            let hollow = left.len() < lines.len()
                && left.iter().all(|line| line.trim_start().starts_with(['[', '#']));
            if !left.is_empty() && !hollow {
                paragraphs.push(left.join("\n"));
            }
        }
        wrong.dedup();
        if wrong.is_empty() { Ok(paragraphs.join("\n\n") + "\n") } else { Err(wrong) }
    }
}

/// One line, filled; `None` if it is left out.
fn filled(line: &[Piece], row: &[String], teams: &str, wrong: &mut Vec<String>) -> Option<String> {
    let mut text = String::new();
    for piece in line {
        let cell = match piece {
            Piece::Text(part) => {
                text.push_str(part);
                continue;
            }
            Piece::Cell(cell) => cell,
        };
        let value = match cell.column {
            Some(Column::At(at)) => row.get(at).map_or("", String::as_str),
            Some(Column::Teams) => teams,
            None => "",
        };
        if value.is_empty() && cell.optional {
            return None;
        }
        if value.is_empty() && cell.form != Form::Comment {
            wrong.push(format!("`{}` is empty", cell.name));
            continue;
        }
        if let Err(said) = cell.form.write(value, &mut text) {
            wrong.push(format!("`{}` {said}", cell.name));
        }
    }
    Some(text)
}

impl Form {
    fn write(self, value: &str, text: &mut String) -> Result<(), String> {
        match self {
            Self::Text => quoted(value, text),
            Self::Within => escaped(value, text),
            Self::Comment => text.extend(value.chars().filter(|c| !c.is_control())),
            Self::List => {
                let parts = value.split(';').map(str::trim).filter(|part| !part.is_empty());
                text.push('[');
                for (index, part) in parts.enumerate() {
                    text.push_str(if index == 0 { "" } else { ", " });
                    quoted(part, text);
                }
                text.push(']');
            }
            Self::Number => match value.parse::<u32>() {
                Ok(number) if value.bytes().all(|b| b.is_ascii_digit()) => {
                    let _ = write!(text, "{number}");
                }
                _ => return Err(format!("is {value:?} where a whole number is expected")),
            },
            Self::Flag => match value {
                "true" | "false" => text.push_str(value),
                _ => return Err(format!("is {value:?} where true or false is expected")),
            },
        }
        Ok(())
    }
}

/// A TOML string of one line.
fn quoted(value: &str, text: &mut String) {
    text.push('"');
    escaped(value, text);
    text.push('"');
}

fn escaped(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
}

/// Where in a line of TOML something stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Open,
    Basic,
    Literal,
    Comment,
}

type Said = (String, Option<String>);

/// Cuts a line into what stays and what is filled.
fn pieces(line: &str, columns: &[String]) -> Result<Vec<Piece>, Said> {
    if line.contains("\"\"\"") || line.contains("'''") {
        return Err(("a template has no strings of several lines".to_owned(), None));
    }
    let mut pieces = Vec::new();
    let (mut place, mut text, mut rest) = (Place::Open, String::new(), line);
    while let Some(c) = rest.chars().next() {
        if c == '{'
            && let Some((inside, after)) = rest.get(1..).and_then(|rest| rest.split_once('}'))
            && let Some(cell) = cell(inside, place, columns)?
        {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(Piece::Cell(cell));
            rest = after;
            continue;
        }
        let mut taken = c.len_utf8();
        place = match (place, c) {
            (Place::Basic, '\\') => {
                taken += rest.chars().nth(1).map_or(0, char::len_utf8);
                Place::Basic
            }
            (Place::Open, '"') => Place::Basic,
            (Place::Open, '\'') => Place::Literal,
            (Place::Open, '#') => Place::Comment,
            (Place::Basic, '"') | (Place::Literal, '\'') => Place::Open,
            (place, _) => place,
        };
        let (part, after) = rest.split_at(taken);
        text.push_str(part);
        rest = after;
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

/// What stands in braces, if it names a cell.
fn cell(inside: &str, place: Place, columns: &[String]) -> Result<Option<Cell>, Said> {
    let bare = inside.strip_suffix('?').unwrap_or(inside);
    let optional = bare.len() < inside.len();
    let (name, form) = bare.split_once(':').unwrap_or((bare, ""));
    if !is_column(name) {
        // A table in one line, or a count in a regular expression.
        return Ok(None);
    }
    let at = columns.iter().position(|column| column == name).map(Column::At);
    let column = at.or((name == TEAMS).then_some(Column::Teams));
    if column.is_none() && !optional {
        if place == Place::Comment || OTHERS.contains(&name) {
            return Ok(None);
        }
        let near = did_you_mean(name, columns.iter().map(String::as_str));
        let hint = near.map_or_else(
            || format!("columns of the table are {}", columns.join(", ")),
            |near| format!("did you mean {{{near}}}?"),
        );
        return Err((format!("`{{{inside}}}` names no column of the table"), Some(hint)));
    }
    let form = match (place, form) {
        (Place::Literal, _) => {
            let hint = "write \"..\" in place of '..'".to_owned();
            return Err((format!("`{{{inside}}}` cannot stand within '..'"), Some(hint)));
        }
        (Place::Open, "") => Form::Text,
        (Place::Open, "list") => Form::List,
        (Place::Open, "number") => Form::Number,
        (Place::Open, "flag") => Form::Flag,
        (Place::Basic, "") => Form::Within,
        (Place::Comment, "") => Form::Comment,
        (Place::Basic | Place::Comment, "list" | "number" | "flag") => {
            let said = format!("`{{{inside}}}` stands within text, where a cell is only text");
            return Err((said, Some(format!("write {{{name}}}, or take the quotes away"))));
        }
        (_, other) => {
            let said = format!("`{other}` is not one of list, number, flag");
            let near = did_you_mean(other, ["list", "number", "flag"]);
            return Err((said, near.map(|near| format!("did you mean {{{name}:{near}}}?"))));
        }
    };
    Ok(Some(Cell { name: name.to_owned(), column, form, optional }))
}
