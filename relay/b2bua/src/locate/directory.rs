//! The names of the plan in force: what to ask DNS and when, what is known, and what was last good.

use super::record::{Answer, Kind, Question, Record};
use super::{Located, Service, Sought};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Never ask more often, whatever the TTL: there are resolvers that give 0.
const TTL_MIN: Duration = Duration::from_secs(30);
/// Never keep an answer longer, whatever its TTL (TDR-DNS-003).
const TTL_MAX: Duration = Duration::from_secs(15 * 60);
/// How long "there is no such record" holds at most: whoever enters it wants it used soon.
const NOTHING_MAX: Duration = Duration::from_secs(2 * 60);
/// After a failure it is asked again so soon, and then after twice as long each time,
const RETRY_MIN: Duration = Duration::from_secs(2);
/// up to this.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Look-ups under way at once: more would only queue in the resolver.
const IN_FLIGHT_MAX: usize = 16;
/// SRV records that are taken of one name, the best ones; more is no trunk but a mistake.
const SRV_MAX: usize = 32;
/// Addresses that are taken of one host.
const ADDRESSES_MAX: usize = 16;

/// What the directory wants done or known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Look this up, and say by [`Directory::answered`] what came of it.
    Ask(Question),
    /// The name is there from now on. Not told where it only lives on what was last good.
    Located {
        /// The name.
        sought: Sought,
        /// Its endpoints; none where DNS says that the service is not offered (RFC 2782, `.`).
        located: Arc<Located>,
    },
    /// A look-up that the name needs has failed, or the name leads to nothing.
    Failing {
        /// The name.
        sought: Sought,
        /// Why, in words for a log.
        why: String,
        /// Whether endpoints from before serve on.
        stale: bool,
    },
    /// The name is known afresh after it failed.
    Recovered {
        /// The name.
        sought: Sought,
    },
}

/// How a name is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Age {
    /// The name, as configured.
    pub host: String,
    /// Since all of it was last known afresh; `None` if it never was.
    pub since: Option<Duration>,
    /// Whether it fails now.
    pub failing: bool,
    /// Look-ups that failed, and answers that led to nothing, so far.
    pub failures: u64,
}

/// The directory of one host. Told the time; asks by its outputs.
#[derive(Debug, Default)]
pub struct Directory {
    names: BTreeMap<Sought, Name>,
    known: BTreeMap<Question, Known>,
    /// `[resolve]`, for hosts that SRV records name.
    fixed: BTreeMap<String, Vec<IpAddr>>,
    in_flight: usize,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Default)]
struct Name {
    /// The last good answer, kept for as long as the name is in the plan (TDR-DNS-004).
    located: Option<Arc<Located>>,
    needs: BTreeSet<Question>,
    fresh: Option<Instant>,
    failing: bool,
    failures: u64,
}

#[derive(Debug)]
struct Known {
    /// The last answer that was one.
    records: Option<Vec<Record>>,
    /// When it is to be asked next.
    due: Instant,
    /// It is being asked now.
    asked: bool,
    /// Failures in a row.
    failures: u32,
    why: String,
}

/// What following a name through the records gave.
enum Walked {
    /// Some answer is not there yet.
    Pending,
    /// Some answer that nothing can stand in for has failed, and there is none from before.
    Failed,
    /// The endpoints; an empty list where the service is expressly not offered.
    There(Vec<Service>),
    /// Every answer is there, and no endpoint in them.
    Nowhere,
}

impl Directory {
    /// A directory without names.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on these names are wanted. What is known of those that stay, stays.
    pub fn follow(
        &mut self,
        now: Instant,
        wanted: impl IntoIterator<Item = Sought>,
        fixed: BTreeMap<String, Vec<IpAddr>>,
    ) {
        let wanted: BTreeSet<Sought> = wanted.into_iter().collect();
        self.fixed = fixed;
        self.names.retain(|sought, _| wanted.contains(sought));
        for sought in wanted {
            self.names.entry(sought).or_default();
        }
        let all: Vec<Sought> = self.names.keys().cloned().collect();
        for sought in all {
            self.review(now, &sought, false);
        }
        self.forget();
        self.handle_timeout(now);
    }

    /// What came of a look-up.
    pub fn answered(&mut self, now: Instant, question: &Question, answer: Answer) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(known) = self.known.get_mut(question) else {
            // Asked for a name that is wanted no longer.
            return self.handle_timeout(now);
        };
        known.asked = false;
        let no_good = !matches!(answer, Answer::Records { .. });
        match answer {
            Answer::Records { records, ttl } => {
                known.records = Some(records);
                known.due = now + ttl.clamp(TTL_MIN, TTL_MAX);
                known.failures = 0;
            }
            Answer::Nothing { ttl } => {
                known.records = Some(Vec::new());
                known.due = now + ttl.unwrap_or(NOTHING_MAX).clamp(TTL_MIN, NOTHING_MAX);
                known.failures = 0;
            }
            Answer::Failed { why } => {
                let doubled = RETRY_MIN.saturating_mul(1 << known.failures.min(16));
                known.due = now + doubled.min(RETRY_MAX);
                known.failures = known.failures.saturating_add(1);
                known.why = why;
            }
        }
        let concerned = self.names.iter().filter(|(_, name)| name.needs.contains(question));
        let concerned: Vec<Sought> = concerned.map(|(sought, _)| sought.clone()).collect();
        for sought in concerned {
            self.review(now, &sought, true);
            if let Some(name) = self.names.get_mut(&sought)
                && name.failing
                && no_good
            {
                name.failures += 1;
            }
        }
        self.forget();
        self.handle_timeout(now);
    }

    /// Asks what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (question, known) in &mut self.known {
            if self.in_flight >= IN_FLIGHT_MAX {
                return;
            }
            if !known.asked && known.due <= now {
                known.asked = true;
                self.in_flight += 1;
                self.outputs.push_back(Output::Ask(question.clone()));
            }
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`]; `None` while only answers can move things.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.in_flight >= IN_FLIGHT_MAX {
            return None;
        }
        self.known.values().filter(|known| !known.asked).map(|known| known.due).min()
    }

    /// How each name is doing, for metrics. A name that several trunks use shows once, as it does
    /// worst.
    pub fn ages(&self, now: Instant) -> Vec<Age> {
        let mut ages: BTreeMap<&str, Age> = BTreeMap::new();
        for (sought, name) in &self.names {
            let since = name.fresh.map(|fresh| now.saturating_duration_since(fresh));
            let age = ages.entry(&sought.host).or_insert_with(|| Age {
                host: sought.host.clone(),
                since,
                failing: false,
                failures: 0,
            });
            age.since = age.since.zip(since).map(|(one, other)| one.max(other));
            age.failing |= name.failing;
            age.failures += name.failures;
        }
        ages.into_values().collect()
    }
}

impl Directory {
    /// Follows one name through what is known, asks for what is not, and tells what is new.
    fn review(&mut self, now: Instant, sought: &Sought, answered: bool) {
        let mut needs = BTreeSet::new();
        let walked = self.walk(sought, &mut needs);
        for question in &needs {
            self.known.entry(question.clone()).or_insert_with(|| Known {
                records: None,
                due: now,
                asked: false,
                failures: 0,
                why: String::new(),
            });
        }
        let why = needs.iter().find_map(|question| {
            let known = self.known.get(question).filter(|known| known.failures > 0)?;
            let missed = question.kind != Kind::Naptr || known.records.is_some();
            missed.then(|| format!("{question}: {}", known.why))
        });
        let Some(name) = self.names.get_mut(sought) else { return };
        name.needs = needs;
        let why = match walked {
            Walked::Pending => return,
            Walked::Failed => why.or_else(|| Some("look-up failed".to_owned())),
            Walked::Nowhere => why.or_else(|| Some("it leads to no address".to_owned())),
            Walked::There(services) => {
                let located = Located::new(services);
                if name.located.as_deref() != Some(&located) {
                    let located = Arc::new(located);
                    name.located = Some(Arc::clone(&located));
                    let sought = sought.clone();
                    self.outputs.push_back(Output::Located { sought, located });
                }
                why
            }
        };
        match why {
            None => {
                if answered || name.fresh.is_none() {
                    name.fresh = Some(now);
                }
                if std::mem::take(&mut name.failing) {
                    self.outputs.push_back(Output::Recovered { sought: sought.clone() });
                }
            }
            Some(why) => {
                let stale = name.located.is_some();
                if !std::mem::replace(&mut name.failing, true) {
                    self.outputs.push_back(Output::Failing { sought: sought.clone(), why, stale });
                }
            }
        }
    }

    /// Drops what no name needs any more.
    fn forget(&mut self) {
        let needed: BTreeSet<&Question> =
            self.names.values().flat_map(|name| &name.needs).collect();
        self.known.retain(|question, _| needed.contains(question));
    }

    fn walk(&self, sought: &Sought, needs: &mut BTreeSet<Question>) -> Walked {
        if sought.port.is_some() {
            return self.host(sought, needs);
        }
        let naptr = Question { name: sought.host.clone(), kind: Kind::Naptr };
        let service = match self.ask(naptr, needs) {
            None => return Walked::Pending,
            // Few names have NAPTR, and some resolvers cannot ask for it: a failure is as good as none.
            Some(Err(())) => sought.service(),
            Some(Ok(records)) => {
                naptr_replacement(sought, records).unwrap_or_else(|| sought.service())
            }
        };
        let records = match self.ask(Question { name: service, kind: Kind::Srv }, needs) {
            None => return Walked::Pending,
            Some(Err(())) => return Walked::Failed,
            Some(Ok(records)) => records,
        };
        let mut hosts: Vec<(u16, u16, u16, &str)> = Vec::new();
        for record in records {
            if let Record::Srv { priority, weight, port, host } = record {
                hosts.push((*priority, *weight, *port, host));
            }
        }
        match hosts.as_slice() {
            // No SRV: the host itself, at the port the transport has by default (RFC 3263, 4.2).
            [] => return self.host(sought, needs),
            [(.., "")] => return Walked::There(Vec::new()),
            _ => {}
        }
        hosts.retain(|(.., host)| !host.is_empty());
        hosts.sort_by_key(|(priority, ..)| *priority);
        hosts.truncate(SRV_MAX);
        self.hosts(sought, &hosts, needs)
    }

    /// The hosts of SRV records: priority, weight, port, name.
    fn hosts(
        &self,
        sought: &Sought,
        hosts: &[(u16, u16, u16, &str)],
        needs: &mut BTreeSet<Question>,
    ) -> Walked {
        let mut services = Vec::new();
        let mut pending = false;
        for (priority, weight, port, host) in hosts {
            match self.addresses(sought, host, *port, needs) {
                None => pending = true,
                // One host that cannot be found does not take the others away.
                Some(Err(())) => {}
                Some(Ok(addresses)) => {
                    let (priority, weight) = (*priority, *weight);
                    services.push(Service { priority, weight, addresses });
                }
            }
        }
        match (pending, services.iter().all(|service| service.addresses.is_empty())) {
            (true, _) => Walked::Pending,
            (false, true) => Walked::Nowhere,
            (false, false) => Walked::There(services),
        }
    }

    /// The name itself, by its addresses.
    fn host(&self, sought: &Sought, needs: &mut BTreeSet<Question>) -> Walked {
        match self.addresses(sought, &sought.host, sought.default_port(), needs) {
            None => Walked::Pending,
            Some(Err(())) => Walked::Failed,
            Some(Ok(addresses)) if addresses.is_empty() => Walked::Nowhere,
            Some(Ok(addresses)) => {
                Walked::There(vec![Service { priority: 0, weight: 0, addresses }])
            }
        }
    }

    fn addresses(
        &self,
        sought: &Sought,
        host: &str,
        port: u16,
        needs: &mut BTreeSet<Question>,
    ) -> Option<Result<Vec<SocketAddr>, ()>> {
        let fitting = |address: &IpAddr| sought.family.has(*address);
        let at = |address: IpAddr| SocketAddr::new(address, port);
        // SRV may not name an address (RFC 2782), but does where somebody meant well.
        let literal = host.parse::<IpAddr>().ok().map(|address| vec![address]);
        if let Some(fixed) = literal.as_ref().or_else(|| self.fixed.get(host)) {
            return Some(Ok(fixed.iter().filter(|it| fitting(it)).map(|it| at(*it)).collect()));
        }
        let question = Question { name: host.to_owned(), kind: sought.family.kind() };
        let answer = self.ask(question, needs)?;
        Some(answer.map(|records| {
            let addresses = records.iter().filter_map(|record| match record {
                Record::Address(address) => Some(*address),
                Record::Naptr { .. } | Record::Srv { .. } => None,
            });
            addresses.filter(fitting).take(ADDRESSES_MAX).map(at).collect()
        }))
    }

    /// What is known: nothing yet, that it failed and was never known, or the last good records.
    fn ask(
        &self,
        question: Question,
        needs: &mut BTreeSet<Question>,
    ) -> Option<Result<&[Record], ()>> {
        let known = self.known.get(&question);
        needs.insert(question);
        match known {
            Some(Known { records: Some(records), .. }) => Some(Ok(records)),
            Some(Known { failures: 1.., .. }) => Some(Err(())),
            _ => None,
        }
    }
}

/// The name of the SRV records of our transport, by the NAPTR record to be taken first.
fn naptr_replacement(sought: &Sought, records: &[Record]) -> Option<String> {
    let fitting = records.iter().filter_map(|record| match record {
        Record::Naptr { order, preference, flags, service, replacement } => {
            let ours = service.eq_ignore_ascii_case(sought.naptr_service());
            let usable = flags.eq_ignore_ascii_case("s") && !replacement.is_empty();
            (ours && usable).then_some(((order, preference), replacement))
        }
        Record::Srv { .. } | Record::Address(_) => None,
    });
    fitting.min_by_key(|(rank, _)| *rank).map(|(_, replacement)| replacement.clone())
}
