//! Alarms: what stands and wants an operator's eye, each with a word, a subject, a text and since when.
//!
//! Whoever finds out raises it and clears it again; `tollgate alarms` and `tollgate_alarm_active` show
//! all that stand. Raising one that stands keeps its time.

use crate::clock;
use metrics::{Label, gauge};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The words of all alarms: the `alarm` label of `tollgate_alarm_active`, and what each means.
pub const WORDS: &[(&str, &str)] = &[
    (CONFIG_REFUSED, "the files on disk do not hold, and the configuration before them stays"),
    (
        CONFIG_ROLLED_BACK,
        "the files on disk were rolled back from, and count when they are changed",
    ),
    (TENANT_INVALID, "a tenant's file does not hold: it is as it last was, or absent"),
    (FRAUD_GUARD_NEAR, "a tenant has used much of what it may of a class of destinations"),
    (FRAUD_GUARD_FULL, "a tenant has used all of it, and calls there are refused"),
    (DRAINING, "the host, or a tenant, takes no new calls but to emergency numbers"),
    (TEAMS_DOWN, "Teams takes no OPTIONS of ours under an FQDN: calls there fail"),
    (TEAMS_UNSEEN, "Teams takes our OPTIONS and sends none: it cannot connect to us"),
    (CALLS_NEAR_LIMIT, "the host, a trunk or a tenant has 90 % of the calls that it may have"),
    (TRUNK_RESTING, "calls failed at a target one after the other, and it gets none for a while"),
    (
        UNKNOWN_FQDN,
        "Teams addresses an FQDN that no tenant has; the text names those of the last hour",
    ),
    (DNS_STALE, "a name of a target does not resolve"),
    (HOOK_FAILING, "a tenant's routing hook does not answer, or not as it should"),
    (TENANT_NOT_AT_TEAMS, "Microsoft has no tenant with the FQDN that a tenant's calls to it bear"),
    (
        PEER_REFUSED,
        "a peer from a trunk's sources, or a target of it, was refused in TLS; the text says why",
    ),
    (CERTIFICATE_EXPIRING, "a certificate of ours ends soon, or has ended"),
    (
        CERTIFICATE_INVALID,
        "a certificate in a directory cannot be used: it is as it last was, or absent",
    ),
    (ACME_FAILING, "a certificate could not be had or renewed; it is tried again"),
    (MEDIA_PORTS_GONE, "every media port that a trunk may use is in use, and calls are refused"),
    (
        MEDIA_ENGINE_LOST,
        "a media worker has lost its engine, or an interface of it, and its calls go on another way; the text says why",
    ),
    (
        MEDIA_SETUP,
        "the system is not set up for the media that is configured; the text says what to do",
    ),
];

/// New calls are refused, as somebody wants to work on this.
pub const DRAINING: &str = "draining";
/// No target of Teams takes our OPTIONS under an FQDN.
pub const TEAMS_DOWN: &str = "teams_down";
/// Microsoft sends no OPTIONS to an FQDN though it takes ours (TDR-OPT-024).
pub const TEAMS_UNSEEN: &str = "teams_unseen";
/// Somebody has nearly as many calls as allowed (TDR-MON-003).
pub const CALLS_NEAR_LIMIT: &str = "calls_near_limit";
/// A peer was refused in TLS.
pub const PEER_REFUSED: &str = "peer_refused";
/// A certificate of ours ends soon.
pub const CERTIFICATE_EXPIRING: &str = "certificate_expiring";
/// A certificate in a directory cannot be used.
pub const CERTIFICATE_INVALID: &str = "certificate_invalid";
/// A certificate could not be had by ACME.
pub const ACME_FAILING: &str = "acme_failing";
/// A trunk has no media port left.
pub const MEDIA_PORTS_GONE: &str = "media_ports_gone";
/// A media worker has lost its engine.
pub const MEDIA_ENGINE_LOST: &str = "media_engine_lost";
/// The system is not set up for the media that the configuration asks for.
pub const MEDIA_SETUP: &str = "media_setup";
/// `tollgate.toml` on disk is refused.
pub const CONFIG_REFUSED: &str = "config_refused";
/// The files on disk were rolled back from.
pub const CONFIG_ROLLED_BACK: &str = "config_rolled_back";
/// A tenant's file is.
pub const TENANT_INVALID: &str = "tenant_invalid";
/// A ceiling of the fraud guard is near.
pub const FRAUD_GUARD_NEAR: &str = "fraud_guard_near";
/// It is reached.
pub const FRAUD_GUARD_FULL: &str = "fraud_guard_full";
/// A target rests.
pub const TRUNK_RESTING: &str = "trunk_resting";
/// Teams addresses an FQDN that no tenant has.
pub const UNKNOWN_FQDN: &str = "unknown_fqdn";
/// A target's name does not resolve.
pub const DNS_STALE: &str = "dns_stale";
/// A tenant's routing hook does not answer, or not as it should.
pub const HOOK_FAILING: &str = "hook_failing";

/// Microsoft knows a tenant's FQDN not, or not yet.
pub const TENANT_NOT_AT_TEAMS: &str = "tenant_not_at_teams";

/// Alarms that stand at once: each tenant of a full host may have one, and some are left for the rest.
const ALARMS_MAX: usize = 25_000;
/// Characters of a text: it is one line of a table.
const TEXT_MAX: usize = 400;

/// Who or what an alarm is about. Names are those of the configuration, so labels stay bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The host.
    #[default]
    Host,
    /// A tenant.
    Tenant(String),
    /// A class of destinations of a tenant.
    Class {
        /// The tenant.
        tenant: String,
        /// The class.
        class: String,
    },
    /// A trunk.
    Trunk(String),
    /// A name that Teams knows a trunk by.
    Fqdn {
        /// The trunk.
        trunk: String,
        /// The FQDN.
        fqdn: String,
    },
    /// A certificate.
    Certificate(String),
    /// A target of a trunk.
    Target {
        /// The trunk.
        trunk: String,
        /// The target, as configured.
        target: String,
    },
}

impl Subject {
    /// As labels of the metric.
    fn labels(&self) -> Vec<Label> {
        match self {
            Self::Host => Vec::new(),
            Self::Tenant(tenant) => vec![Label::new("tenant", tenant.clone())],
            Self::Class { tenant, class } => {
                vec![Label::new("tenant", tenant.clone()), Label::new("class", class.clone())]
            }
            Self::Trunk(trunk) => vec![Label::new("trunk", trunk.clone())],
            Self::Fqdn { trunk, fqdn } => {
                vec![Label::new("trunk", trunk.clone()), Label::new("fqdn", fqdn.clone())]
            }
            Self::Certificate(name) => vec![Label::new("certificate", name.clone())],
            Self::Target { trunk, target } => {
                vec![Label::new("trunk", trunk.clone()), Label::new("target", target.clone())]
            }
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Tenant(tenant) => write!(f, "tenant {tenant}"),
            Self::Class { tenant, class } => write!(f, "tenant {tenant}, class {class}"),
            Self::Trunk(trunk) => write!(f, "trunk {trunk}"),
            Self::Fqdn { trunk, fqdn } => write!(f, "trunk {trunk}, {fqdn}"),
            Self::Certificate(name) => write!(f, "certificate {name}"),
            Self::Target { trunk, target } => write!(f, "trunk {trunk}, target {target}"),
        }
    }
}

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// One of [`WORDS`].
    pub word: &'static str,
    /// Who or what it is about.
    pub subject: Subject,
    /// What an operator reads.
    pub text: String,
    /// Since when.
    pub since: SystemTime,
}

/// All alarms of the process; clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    standing: Arc<Mutex<Standing>>,
}

type Standing = BTreeMap<(&'static str, Subject), (String, SystemTime)>;

impl Alarms {
    /// Nothing stands.
    pub fn new() -> Self {
        for (word, _) in WORDS {
            // The host's own are there to alert on before they first rise.
            show(word, &Subject::Host, false);
        }
        Self::default()
    }

    /// Raises an alarm, with one WARN line; one that stands gets the new text, silently. Whether it is
    /// new.
    pub fn raise(&self, word: &'static str, subject: Subject, text: &str) -> bool {
        // What strangers say of themselves may stand in it, and an operator's terminal obeys some of these.
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        // A problem has its hint on a line of its own.
        let text = text.replace("\nhint: ", "; hint: ");
        let text: String = text.chars().take(TEXT_MAX).map(shown).collect();
        let mut standing = self.lock();
        if let Some((old, _)) = standing.get_mut(&(word, subject.clone())) {
            *old = text;
            return false;
        }
        if standing.len() >= ALARMS_MAX {
            drop(standing);
            tracing::warn!(alarm = word, %subject, text, "alarm, and no room to keep it");
            return false;
        }
        show(word, &subject, true);
        standing.insert((word, subject.clone()), (text.clone(), clock::now().wall));
        drop(standing);
        tracing::warn!(alarm = word, %subject, text, "alarm");
        true
    }

    /// What was wrong is over: one INFO line if the alarm stood. Whether it did.
    pub fn clear(&self, word: &'static str, subject: &Subject) -> bool {
        let stood = self.lock().remove(&(word, subject.clone())).is_some();
        if stood {
            show(word, subject, false);
            tracing::info!(alarm = word, %subject, "alarm is over");
        }
        stood
    }

    /// Raises it with a text, clears it without.
    pub fn set(&self, word: &'static str, subject: Subject, text: Option<&str>) {
        match text {
            Some(text) => self.raise(word, subject, text),
            None => self.clear(word, &subject),
        };
    }

    /// Exactly these subjects have this alarm from now on.
    pub fn replace(&self, word: &'static str, subjects: Vec<(Subject, String)>) {
        let kept: std::collections::BTreeSet<&Subject> = subjects.iter().map(|(s, _)| s).collect();
        let gone: Vec<Subject> = self
            .lock()
            .keys()
            .filter(|(known, _)| *known == word)
            .filter(|(_, subject)| !kept.contains(subject))
            .map(|(_, subject)| subject.clone())
            .collect();
        for subject in gone {
            self.clear(word, &subject);
        }
        for (subject, text) in subjects {
            self.raise(word, subject, &text);
        }
    }

    /// All that stand, by word and subject.
    pub fn list(&self) -> Vec<Alarm> {
        let standing = self.lock();
        let alarm = |((word, subject), (text, since)): (
            &(&'static str, Subject),
            &(String, SystemTime),
        )| Alarm {
            word,
            subject: subject.clone(),
            text: text.clone(),
            since: *since,
        };
        standing.iter().map(alarm).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn show(word: &'static str, subject: &Subject, stands: bool) {
    let mut labels = vec![Label::new("alarm", word)];
    labels.extend(subject.labels());
    gauge!("tollgate_alarm_active", labels).set(f64::from(u8::from(stands)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Subject {
        Subject::Tenant(name.into())
    }

    #[test]
    fn an_alarm_that_is_raised_again_keeps_its_time_and_shows_the_newest_text() {
        let alarms = Alarms::new();
        assert!(alarms.raise(TENANT_INVALID, tenant("a"), "one"));
        let since = alarms.list()[0].since;
        assert!(!alarms.clone().raise(TENANT_INVALID, tenant("a"), "two"));
        assert!(alarms.raise(TENANT_INVALID, tenant("b"), "three"));
        let listed = alarms.list();
        assert_eq!(listed.len(), 2);
        assert_eq!((listed[0].text.as_str(), listed[0].since), ("two", since));
        assert!(alarms.clear(TENANT_INVALID, &tenant("a")));
        assert!(!alarms.clear(TENANT_INVALID, &tenant("a")));
        assert_eq!(alarms.list().len(), 1);
    }

    #[test]
    fn a_replaced_set_clears_who_is_not_in_it_and_leaves_other_alarms_alone() {
        let alarms = Alarms::new();
        alarms.raise(CONFIG_REFUSED, Subject::Host, "refused");
        alarms.replace(TENANT_INVALID, vec![(tenant("a"), "x".into()), (tenant("b"), "y".into())]);
        alarms.replace(TENANT_INVALID, vec![(tenant("b"), "z".into())]);
        let words: Vec<_> = alarms.list().into_iter().map(|it| (it.word, it.text)).collect();
        assert_eq!(words, [(CONFIG_REFUSED, "refused".into()), (TENANT_INVALID, "z".into())]);
    }

    #[test]
    fn a_name_of_a_stranger_does_not_speak_to_the_terminal() {
        let alarms = Alarms::new();
        alarms.raise(PEER_REFUSED, Subject::Trunk("teams".into()), "CN=\u{1b}[2Jx\r\ny\u{9b}ä");
        assert_eq!(alarms.list()[0].text, "CN= [2Jx  y ä");
        alarms.raise(
            CONFIG_REFUSED,
            Subject::Host,
            "a.toml:1: no such trunk\nhint: did you mean \"colt\"?",
        );
        let told = alarms.list().into_iter().find(|alarm| alarm.word == CONFIG_REFUSED).unwrap();
        assert_eq!(told.text, "a.toml:1: no such trunk; hint: did you mean \"colt\"?");
    }

    #[test]
    fn alarms_are_bounded() {
        let alarms = Alarms::new();
        for number in 0..=ALARMS_MAX {
            let kept = alarms.raise(
                DNS_STALE,
                Subject::Trunk(number.to_string()),
                &"x".repeat(2 * TEXT_MAX),
            );
            assert_eq!(kept, number < ALARMS_MAX);
        }
        assert!(alarms.list().iter().all(|alarm| alarm.text.len() == TEXT_MAX));
    }
}
