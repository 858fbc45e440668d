//! `[[header]]` of a trunk or a tenant: header lines of our INVITEs that the operator adds, removes,
//! replaces or takes over from the INVITE that came in.
//!
//! A rule cannot name what a dialog or its security lives by: [`HeaderRule::new`] refuses it.

use crate::plan::{RouteFrom, RulePlace};
use bytes::Bytes;
use regex::bytes::{Regex, RegexBuilder};
use sip_core::Headers;
use std::borrow::Cow;
use std::sync::Arc;

/// Octets of a header's name: the longest in use have thirty.
const NAME_MAX: usize = 64;
/// Octets of one value: what is carried from leg to leg has the same bound.
const VALUE_MAX: usize = 1024;
/// Lines that a rule takes over from the INVITE that came in.
const COPIED_MAX: usize = 4;
/// Octets that the rules of one INVITE may add to it: with SDP and all else it stays well below what
/// a far side takes.
const ADDED_MAX: usize = 8 * 1024;

/// Octets of a regular expression as written,
const EXPRESSION_MAX: usize = 256;
/// and compiled: those that operators write take a tenth.
const COMPILED_MAX: usize = 64 << 10;

/// One `[[header]]`.
#[derive(Clone, Debug)]
pub struct HeaderRule {
    name: Box<str>,
    action: HeaderAction,
    from: Option<RouteFrom>,
    place: RulePlace,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum HeaderAction {
    /// One more line.
    Add(Template),
    /// No line of this name.
    Remove,
    /// What the expression finds in each line, or without one the whole of each line.
    Replace(Option<Arc<Regex>>, Template),
    /// The lines of the INVITE that came in which have this name.
    Copy(Box<str>),
}

/// Why there can be no such rule: completes the sentence that begins with the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct NoHeaderRule {
    /// What is wrong.
    pub said: String,
    /// What to do instead, if that is known.
    pub hint: Option<&'static str>,
}

/// What dialogs, transactions, transports and the body are found and framed by (RFC 3261).
const DIALOG: &[&str] = &[
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Route",
    "Record-Route",
    "Max-Forwards",
    "MIME-Version",
    "Require",
    "Proxy-Require",
    "Supported",
    "Unsupported",
    "Allow",
    "Accept",
    "Accept-Encoding",
    "Session-Expires",
    "Min-SE",
    "Min-Expires",
    "Expires",
    "RAck",
    "RSeq",
    "Replaces",
    "Join",
    "Target-Dialog",
    "Event",
    "Allow-Events",
    "Subscription-State",
    "Path",
    "Service-Route",
    "Recv-Info",
    "Info-Package",
    "Timestamp",
    "Retry-After",
    "User-Agent",
];
/// What proves who somebody is (RFC 3261, 22; RFC 8224; RFC 3329).
const SECURITY: &[&str] = &[
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Authentication-Info",
    "Proxy-Authentication-Info",
    "Identity",
    "Identity-Info",
    "Security-Client",
    "Security-Server",
    "Security-Verify",
];
/// Who calls, which all headers have to agree on.
const CALLER: &[&str] =
    &["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Privacy"];
/// Where the caller is.
const LOCATION: &[&str] = &["Geolocation", "Geolocation-Routing", "Geolocation-Error"];
/// Families of names.
const FAMILIES: &[&str] = &["Content-", "Refer", "Sec-WebSocket-"];
/// Who diverted a call, hosts and hidden numbers included: written anew, never taken over, and to
/// Teams by us alone (TDR-FWD-005).
const DIVERSION: &[&str] = &["Diversion", "History-Info"];
/// What is private to networks, and never for Teams (TDR-OUT-010).
const PRIVATE: &[&str] = &["X-", "P-"];

impl HeaderRule {
    /// A rule for INVITEs of calls from this side, or from either.
    pub fn new(
        name: &str,
        action: HeaderAction,
        from: Option<RouteFrom>,
        place: RulePlace,
    ) -> Result<Self, NoHeaderRule> {
        may_be_changed(name)?;
        if let HeaderAction::Copy(source) = &action {
            may_be_copied(source)?;
        }
        Ok(Self { name: name.into(), action, from, place })
    }

    /// Why Teams must not be sent what it makes.
    pub fn breaks_teams(&self) -> Option<NoHeaderRule> {
        let private = starts_with_one_of(&self.name, PRIVATE);
        let refused = private || is_one_of(&self.name, DIVERSION);
        let hint =
            Some("what is private to networks and who diverted a call is not sent there by rule");
        refused.then(|| NoHeaderRule { said: "is not for Teams".into(), hint })
    }

    /// Where it stands.
    pub fn place(&self) -> &RulePlace {
        &self.place
    }
}

/// A regular expression between slashes, as `match` of a rule has it.
pub fn header_expression(written: &str) -> Result<Arc<Regex>, NoHeaderRule> {
    let refused = |said: String, hint| Err(NoHeaderRule { said, hint });
    let bare = written.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    let Some(bare) = bare.filter(|bare| !bare.is_empty()) else {
        let hint = Some("write it between slashes, such as '/;cpc=[a-z]+/'");
        return refused("is no regular expression".to_owned(), hint);
    };
    if bare.len() > EXPRESSION_MAX {
        return refused(format!("has more than {EXPRESSION_MAX} characters"), None);
    }
    let built =
        RegexBuilder::new(bare).size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX).build();
    built.map(Arc::new).or_else(|error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        let said = last.strip_prefix("error: ").unwrap_or(last);
        refused(format!("is no regular expression: {said}"), None)
    })
}

/// Whether rules may touch this header.
pub fn may_be_changed(name: &str) -> Result<(), NoHeaderRule> {
    let refused = |said: &str, hint| Err(NoHeaderRule { said: said.into(), hint });
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(token) {
        return refused("is not the name of a header", None);
    }
    let long = sip_core::message::long_name(name.as_bytes());
    let long = std::str::from_utf8(long).unwrap_or(name);
    if is_one_of(long, DIALOG) || starts_with_one_of(long, FAMILIES) {
        return refused("is a header that the dialog lives by", None);
    }
    if is_one_of(long, SECURITY) {
        return refused("is a header that security lives by", None);
    }
    if is_one_of(long, CALLER) {
        let hint = "caller, caller_number and privacy say who is shown, identity and privacy_id of the trunk to whom";
        return refused("says who calls, as other headers do", Some(hint));
    }
    if is_one_of(long, LOCATION) {
        return refused("says where the caller is", Some("the trunk's key geolocation says it"));
    }
    Ok(())
}

fn may_be_copied(name: &str) -> Result<(), NoHeaderRule> {
    may_be_changed(name)?;
    match is_one_of(name, DIVERSION) {
        true => Err(NoHeaderRule {
            said: "tells of others than the caller, who may be hidden".into(),
            hint: Some("the trunk's key forwarding says how it is told who diverted a call"),
        }),
        false => Ok(()),
    }
}

fn starts_with_one_of(name: &str, list: &[&str]) -> bool {
    let starts = |one: &&str| name.get(..one.len()).is_some_and(|it| it.eq_ignore_ascii_case(one));
    list.iter().any(starts)
}

fn is_one_of(name: &str, list: &[&str]) -> bool {
    list.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// A value with places for what is known of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Called,
    Calling,
    Tenant,
    Trunk,
    Call,
}

/// What a template may say.
const PLACES: &[(&str, Part)] = &[
    ("called", Part::Called),
    ("calling", Part::Calling),
    ("tenant", Part::Tenant),
    ("trunk", Part::Trunk),
    ("call", Part::Call),
];

impl Template {
    /// Reads `text`, in which `{called}` stands for the number that is called, and so on.
    pub fn parse(text: &str) -> Result<Self, NoHeaderRule> {
        let refused = |said: String, hint| Err(NoHeaderRule { said, hint });
        if text.len() > VALUE_MAX {
            return refused(format!("has more than {VALUE_MAX} octets"), None);
        }
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return refused("has a character that ends a line or is none".to_owned(), None);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            // A group of a regular expression, `${1}`, is no place of ours.
            if before.ends_with('$') {
                let (group, behind) = after.split_once('}').unwrap_or((after, ""));
                parts.push(Part::Text(format!("{before}{{{group}}}").into()));
                rest = behind;
                continue;
            }
            let known = Some("{called}, {calling}, {tenant}, {trunk} and {call} are known");
            let Some((name, behind)) = after.split_once('}') else {
                return refused("has a { without }".to_owned(), known);
            };
            let Some((_, part)) = PLACES.iter().find(|(place, _)| *place == name) else {
                return refused(format!("has {{{name}}}, which stands for nothing"), known);
            };
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(part.clone());
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self(parts.into()))
    }

    fn fill(&self, of: &Facts<'_>) -> String {
        let call = of.call.to_string();
        let mut filled = String::new();
        for part in &self.0 {
            filled.push_str(match part {
                Part::Text(text) => text,
                Part::Called => of.called,
                Part::Calling => of.calling,
                Part::Tenant => of.tenant,
                Part::Trunk => of.trunk,
                Part::Call => &call,
            });
        }
        filled
    }

    /// The same where the text is the replacement of a regular expression: nothing that comes in from
    /// outside is a reference to a group.
    fn fill_quoted(&self, of: &Facts<'_>) -> String {
        let quoted = |text: &str| text.replace('$', "$$");
        let (called, calling) = (quoted(of.called), quoted(of.calling));
        self.fill(&Facts { called: &called, calling: &calling, ..*of })
    }
}

/// What templates are filled with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The number called, as the INVITE names it.
    pub(crate) called: &'a str,
    /// The number calling as From names it: a caller who hides is `anonymous` here, too.
    pub(crate) calling: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) trunk: &'a str,
    pub(crate) call: u64,
    /// The INVITE goes to Teams, where not every header may.
    pub(crate) teams: bool,
}

/// Applies the rules of a tenant and then those of a trunk to our INVITE, for a call from this side;
/// `received` is the INVITE that it came with.
pub(crate) fn apply<'r>(
    rules: impl Iterator<Item = &'r HeaderRule>,
    from: RouteFrom,
    headers: &mut Headers,
    facts: &Facts<'_>,
    received: Option<&Headers>,
) {
    let mut room = ADDED_MAX;
    let fits = |rule: &&HeaderRule| {
        rule.from.is_none_or(|of| of == from) && !(facts.teams && rule.breaks_teams().is_some())
    };
    for rule in rules.filter(fits) {
        rule.apply(headers, facts, received, &mut room);
    }
}

impl HeaderRule {
    fn apply(
        &self,
        headers: &mut Headers,
        facts: &Facts<'_>,
        received: Option<&Headers>,
        room: &mut usize,
    ) {
        let name = &self.name;
        let mut push = |headers: &mut Headers, value: Vec<u8>| {
            let size = name.len() + value.len();
            // Microsoft takes no sips URI anywhere (TDR-TLS-010).
            let refused = facts.teams && value.windows(5).any(|w| w.eq_ignore_ascii_case(b"sips:"));
            if value.len() <= VALUE_MAX && size <= *room && is_plain(&value) && !refused {
                *room -= size;
                headers.push_named(name, value);
            }
        };
        match &self.action {
            HeaderAction::Add(value) => push(headers, value.fill(facts).into_bytes()),
            HeaderAction::Remove => {
                headers.remove_named(name);
            }
            HeaderAction::Replace(find, value) => {
                let lines: Vec<Bytes> = headers.named(name).map(Bytes::copy_from_slice).collect();
                headers.remove_named(name);
                for line in lines {
                    let made = match find {
                        Some(find) => find.replace_all(&line, value.fill_quoted(facts).as_bytes()),
                        None => Cow::Owned(value.fill(facts).into_bytes()),
                    };
                    push(headers, made.into_owned());
                }
            }
            HeaderAction::Copy(source) => {
                let lines = received.into_iter().flat_map(|received| received.named(source));
                let lines: Vec<Vec<u8>> = lines.take(COPIED_MAX).map(<[u8]>::to_vec).collect();
                lines.into_iter().for_each(|line| push(headers, line));
            }
        }
    }
}

/// Whether a value is text on one line: folds of a far side do not count as such.
fn is_plain(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|b| (*b >= b' ' && *b != 0x7f) || *b == b'\t')
}

#[cfg(test)]
mod tests;
