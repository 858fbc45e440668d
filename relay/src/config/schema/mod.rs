//! What the configuration files may say, as data: the JSON schema that editors complete from is made of
//! it. Each key that a reader asks for stands here once; a test compares the two, in both directions.
//!
//! ```text
//! host.rs  trunk.rs  tenant.rs  guard.rs    the tables of the files       shapes.rs    kinds of text
//! ```

mod guard;
mod host;
mod rules;
mod shapes;
mod tenant;
mod trunk;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

/// What editors for TOML understand (taplo, Even Better TOML).
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";
/// Names the schema; nothing is fetched from there.
const ID: &str = "https://github.com/tollgate-sbc/tollgate/schema.json";

/// A table of a file.
pub(crate) struct Table {
    pub(crate) about: &'static str,
    pub(crate) keys: &'static [Key],
    /// For a table that is a map: what each of its keys holds.
    pub(crate) every: Option<Kind>,
}

/// One key of a table.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
    default: Option<&'static str>,
    required: bool,
}

/// What a key holds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number between these.
    Whole(u64, u64),
    /// A number between these, with or without a fraction.
    Number(f64, f64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// Text that matches this regular expression, by an example.
    Shaped(&'static str, &'static str),
    /// One of these kinds.
    Either(&'static [Kind]),
    /// A list of these.
    List(&'static Kind),
    /// One of these, or a list of them.
    OneOrMore(&'static Kind),
    /// `[key]`.
    Table(&'static Table),
    /// `[[key]]`.
    Tables(&'static Table),
}

/// A key that may be left out.
const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, about, default: None, required: false }
}

impl Key {
    /// What holds where it is left out, as TOML without quotes.
    const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// A key that has to be there.
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// A table of these keys.
const fn table(about: &'static str, keys: &'static [Key]) -> Table {
    Table { about, keys, every: None }
}

/// Which of the files a schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum File {
    /// tollgate.toml
    Host,
    /// tenants.d/NAME.toml
    Tenant,
}

impl File {
    pub(crate) const fn table(self) -> &'static Table {
        match self {
            Self::Host => &host::HOST,
            Self::Tenant => &tenant::TENANT,
        }
    }
}

/// The schema of one kind of file, or of both: then a file is whichever it fits.
pub(crate) fn schema(file: Option<File>) -> Value {
    let mut schema = json!({ "$schema": DRAFT, "$id": ID });
    let body = match file {
        Some(file) => file.table().schema(),
        None => json!({
            "title": "Tollgate: tollgate.toml or tenants.d/NAME.toml",
            "anyOf": [{ "$ref": "#/$defs/host" }, { "$ref": "#/$defs/tenant" }],
            "$defs": {
                "host": File::Host.table().schema(),
                "tenant": File::Tenant.table().schema(),
            },
        }),
    };
    if let (Some(schema), Value::Object(body)) = (schema.as_object_mut(), body) {
        schema.extend(body);
    }
    schema
}

impl Table {
    fn schema(&self) -> Value {
        let keys = self.keys.iter().map(|key| (key.name.to_owned(), key.schema()));
        let required = self.keys.iter().filter(|key| key.required).map(|key| key.name);
        let required: Vec<&str> = required.collect();
        let mut schema = json!({
            "type": "object",
            "description": self.about,
            "properties": keys.collect::<Map<String, Value>>(),
            "additionalProperties": self.every.map_or(Value::Bool(false), Kind::schema),
        });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }
}

impl Key {
    fn schema(&self) -> Value {
        let mut schema = self.kind.schema();
        schema["description"] = self.about.into();
        if let Some(default) = self.default {
            // A number, a flag or a list is JSON as it stands; all else is text.
            schema["default"] = serde_json::from_str(default).unwrap_or_else(|_| default.into());
        }
        schema
    }
}

impl Kind {
    fn schema(self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Whole(least, most) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Self::Number(least, most) => {
                json!({ "type": "number", "minimum": least, "maximum": most })
            }
            Self::Words(words) => json!({ "type": "string", "enum": words }),
            Self::Shaped(pattern, example) => {
                json!({ "type": "string", "pattern": pattern, "examples": [example] })
            }
            Self::Either(kinds) => {
                json!({ "anyOf": kinds.iter().map(|kind| kind.schema()).collect::<Vec<_>>() })
            }
            Self::List(of) => json!({ "type": "array", "items": of.schema() }),
            Self::OneOrMore(of) => json!({ "anyOf": [of.schema(), Self::List(of).schema()] }),
            Self::Table(table) => table.schema(),
            Self::Tables(table) => json!({ "type": "array", "items": table.schema() }),
        }
    }
}
