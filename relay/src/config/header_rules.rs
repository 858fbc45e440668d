//! `[[header]]` of a trunk or a tenant: header lines of INVITEs that are added, removed, replaced or
//! taken over.

use super::numbers::{RULES_MAX, side};
use super::reader::{Reader, Wrong};
use super::value;
use b2bua::plan::{HeaderAction, HeaderRule, NoHeaderRule, Template, header_expression};

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Add,
    Remove,
    Replace,
    Copy,
}

const ACTIONS: &[(&str, Action)] = &[
    ("add", Action::Add),
    ("remove", Action::Remove),
    ("replace", Action::Replace),
    ("copy", Action::Copy),
];

/// Reads every `[[header]]` of a tenant, or of a trunk that is one of Teams or is not.
pub(crate) fn read(table: &mut Reader<'_>, teams: Option<bool>) -> Vec<HeaderRule> {
    let rules = table.each("header", "header", "name", |rule| header(rule, teams));
    if rules.len() > RULES_MAX {
        let said = format!("{} tables [[header]]; {RULES_MAX} are the most", rules.len());
        table.error(table.place(), &said, None);
    }
    rules.into_iter().flatten().collect()
}

fn header(rule: &mut Reader<'_>, teams: Option<bool>) -> Option<HeaderRule> {
    let action = rule.required("action", value::one_of(ACTIONS)).map(|at| at.value);
    let name = rule.required("name", |written| {
        let name = value::text(written)?;
        b2bua::plan::may_be_changed(&name).map_err(wrong)?;
        Ok(name)
    });
    let from_side = side(rule, teams.is_none());
    let has_value = matches!(action, Some(Action::Add | Action::Replace) | None);
    let value = match has_value {
        true => {
            rule.required("value", |written| Template::parse(&value::text(written)?).map_err(wrong))
        }
        false => {
            rule.idle("value", "only add and replace write one");
            None
        }
    };
    let find = match action {
        Some(Action::Replace) | None => rule
            .optional("match", |written| header_expression(&value::text(written)?).map_err(wrong)),
        Some(_) => {
            rule.idle("match", "only replace looks into a line");
            None
        }
    };
    let from = match action {
        Some(Action::Copy) | None => rule.optional("from", value::text),
        Some(_) => {
            rule.idle("from", "only copy takes a line over");
            None
        }
    };
    let name = name?;
    let action = match action? {
        Action::Add => HeaderAction::Add(value?.value),
        Action::Remove => HeaderAction::Remove,
        Action::Replace if find.is_none() && rule.has("match") => return None,
        Action::Replace => HeaderAction::Replace(find.map(|at| at.value), value?.value),
        Action::Copy => {
            let from = from.map_or_else(|| name.value.clone(), |at| at.value);
            HeaderAction::Copy(from.into())
        }
    };
    let made = HeaderRule::new(&name.value, action, from_side, rule.named_place().into());
    let told = |of: NoHeaderRule| rule.error(name.place, &of.said, of.hint.map(str::to_owned));
    match made {
        Ok(made) => {
            let breaks = made.breaks_teams().filter(|_| teams == Some(true));
            let holds = breaks.is_none();
            breaks.map(told);
            holds.then_some(made)
        }
        Err(refused) => {
            told(refused);
            None
        }
    }
}

fn wrong(refused: NoHeaderRule) -> Wrong {
    Wrong { said: refused.said, hint: refused.hint.map(str::to_owned) }
}
