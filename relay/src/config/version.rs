//! One version of a tenant's file: what it says, judged by itself and by the host's file it would serve
//! under. What other tenants claim is judged by [`super::settle`].

use super::assemble::Ground;
use super::disk::Content;
use super::problem::{At, Place, Problem, Problems};
use super::source::Source;
use super::tenant::{self, TenantDraft};
use b2bua::plan::{NumberRange, Tenant};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Problems of one file that are kept: who fixes the first hundred will look again.
const PROBLEMS_MAX: usize = 100;

/// The name of a source's content.
pub(crate) type Sum = [u8; 32];

/// The content's name.
pub(crate) fn sum(text: &str) -> Sum {
    Sha256::digest(text.as_bytes()).into()
}

/// One version of a tenant's file.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) path: PathBuf,
    /// What it says, word by word; `None` if it cannot be read.
    pub(crate) text: Option<Arc<str>>,
    pub(crate) sum: Sum,
    /// The tenant, if the version holds.
    pub(crate) tenant: Option<Arc<Tenant>>,
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    claims: Claims,
}

/// Whose names and numbers a version says they are, and on which lines.
#[derive(Debug, Default)]
struct Claims {
    /// Those of a version that does not hold, as far as they can be read.
    readable: Option<Box<(Vec<String>, Vec<NumberRange>)>>,
    fqdn_lines: Vec<u32>,
    number_lines: Vec<u32>,
    damaged: bool,
}

impl Version {
    /// A file's content, not judged yet.
    pub(crate) fn read(content: Content) -> Self {
        match content.text {
            Ok((text, sum)) => Self::remembered(content.path, text, sum),
            Err(problem) => Self::unreadable(problem),
        }
    }

    /// A text that was in force once, not judged yet.
    pub(crate) fn remembered(path: PathBuf, text: Arc<str>, sum: Sum) -> Self {
        let (errors, warnings) = (Vec::new(), Vec::new());
        Self {
            path,
            text: Some(text),
            sum,
            tenant: None,
            errors,
            warnings,
            claims: Claims::default(),
        }
    }

    /// The same text, judged on this ground.
    pub(crate) fn again(&self, ground: &Ground<'_>) -> Self {
        match &self.text {
            Some(text) => Self::judge(&self.path, Arc::clone(text), self.sum, ground),
            None => Self::unreadable(self.errors.first().cloned().unwrap_or_else(|| Problem {
                file: self.path.clone(),
                line: 1,
                message: "cannot be read".to_owned(),
                hint: None,
            })),
        }
    }

    /// Judges `text` of the tenant in `path`.
    fn judge(path: &Path, text: Arc<str>, sum: Sum, ground: &Ground<'_>) -> Self {
        let problems = Problems::default();
        let file = problems.add_file(path);
        let source = Source::new(file, String::from(&*text));
        let draft = tenant::read(path, &source, &problems);
        itself(&draft, &problems);
        let tenant = ground.tenant(&draft, &problems);
        let (mut errors, mut warnings) = problems.into_lists();
        bound(&mut errors);
        bound(&mut warnings);
        let tenant = tenant.filter(|_| errors.is_empty()).map(Arc::new);
        let lines = |places: &mut dyn Iterator<Item = Place>| places.map(|at| at.line).collect();
        let fqdn_lines: Vec<u32> = lines(&mut draft.names().map(|at| at.place));
        let names: Vec<String> = draft.names().map(|at| at.value.clone()).collect();
        let claims = Claims {
            fqdn_lines,
            number_lines: lines(&mut draft.numbers.iter().map(|at| at.place)),
            damaged: draft.damaged,
            readable: tenant
                .is_none()
                .then(|| Box::new((names, draft.numbers.into_iter().map(|at| at.value).collect()))),
        };
        Self { path: path.to_owned(), text: Some(text), sum, tenant, errors, warnings, claims }
    }

    /// A file that cannot be read, or not as text.
    fn unreadable(problem: Problem) -> Self {
        let claims = Claims { damaged: true, readable: Some(Box::default()), ..Claims::default() };
        Self {
            path: problem.file.clone(),
            text: None,
            sum: sum(&problem.to_string()),
            tenant: None,
            errors: vec![problem],
            warnings: Vec::new(),
            claims,
        }
    }

    /// The FQDNs it claims.
    pub(crate) fn fqdns(&self) -> &[String] {
        match (&self.tenant, &self.claims.readable) {
            (Some(tenant), _) => &tenant.fqdns,
            (None, Some(readable)) => &readable.0,
            (None, None) => &[],
        }
    }

    /// The numbers it claims.
    pub(crate) fn numbers(&self) -> &[NumberRange] {
        match (&self.tenant, &self.claims.readable) {
            (Some(tenant), _) => &tenant.numbers,
            (None, Some(readable)) => &readable.1,
            (None, None) => &[],
        }
    }

    /// Whether its FQDNs could not be read.
    pub(crate) fn fqdns_unknown(&self) -> bool {
        self.fqdns().is_empty()
    }

    /// Whether its numbers could not be read; it may have none.
    pub(crate) fn numbers_unknown(&self) -> bool {
        self.numbers().is_empty() && self.claims.damaged
    }

    /// The line of its FQDN.
    pub(crate) fn fqdn_line(&self, fqdn: &str) -> u32 {
        let place = self.fqdns().iter().position(|own| own == fqdn);
        place.and_then(|at| self.claims.fqdn_lines.get(at)).copied().unwrap_or(1)
    }

    /// The line of its number range.
    pub(crate) fn number_line(&self, range: &NumberRange) -> u32 {
        let place = self.numbers().iter().position(|own| own == range);
        place.and_then(|at| self.claims.number_lines.get(at)).copied().unwrap_or(1)
    }

    /// `FILE:LINE`.
    pub(crate) fn at(&self, line: u32) -> String {
        format!("{}:{line}", self.path.display())
    }
}

fn bound(problems: &mut Vec<Problem>) {
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    problems.truncate(PROBLEMS_MAX);
    if let (Some(last), true) = (problems.last().cloned(), more > 0) {
        problems.push(Problem { message: format!("and {more} more"), hint: None, ..last });
    }
}

/// What a tenant must not claim twice itself.
fn itself(draft: &TenantDraft, problems: &Problems) {
    let name = &draft.name;
    let mut seen: HashMap<&str, Place> = HashMap::new();
    for fqdn in draft.names() {
        if let Some(first) = seen.insert(&fqdn.value, fqdn.place) {
            let message = format!(
                "FQDN \"{}\" of tenant \"{name}\" is already that of tenant \"{name}\" at {}",
                fqdn.value,
                problems.locate(first)
            );
            problems.error(fqdn.place, message, Some(FQDN_HINT.to_owned()));
        }
    }
    let mut ranges: Vec<&At<NumberRange>> = draft.numbers.iter().collect();
    ranges.sort_by_key(|at| (at.value.digits, at.value.first, at.place));
    // The range so far that reaches furthest: what begins before its end overlaps it.
    let mut furthest: Option<&At<NumberRange>> = None;
    for range in ranges {
        if let Some(before) = furthest.filter(|before| before.value.overlaps(&range.value)) {
            let (later, earlier) =
                if range.place >= before.place { (range, before) } else { (before, range) };
            let message = format!(
                "numbers {} of tenant \"{name}\" overlap {} of tenant \"{name}\" at {}",
                later.value,
                earlier.value,
                problems.locate(earlier.place)
            );
            problems.error(later.place, message, Some(NUMBER_HINT.to_owned()));
        }
        if furthest.is_none_or(|before| {
            before.value.digits != range.value.digits || range.value.last > before.value.last
        }) {
            furthest = Some(range);
        }
    }
}

pub(crate) const FQDN_HINT: &str = "an FQDN tells one tenant from another";
pub(crate) const NUMBER_HINT: &str = "a number belongs to one tenant of the host";
