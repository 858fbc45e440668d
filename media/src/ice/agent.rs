//! The agent of one leg: generations of credentials, what checks make of them, and where media goes.

use super::Bucket;
use super::checks::{Check, Consent};
use super::generation::{CHECKS_BURST, Generation, Ufrag};
use super::stun::{Class, Key, Message, Transaction, Writer};
use crate::{Component, DropReason, PacketBuf};
use sdp::Stream;
use sdp::ice::{Ice, IceOffered, IceReport, IceState, IceTrouble};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often a pair may be checked from afar: an agent with many candidates checks one each 50 ms
/// (RFC 8445, 14.2), all of them together.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// How often a leg answers what is not authentic: enough to tell a far side with old credentials, and
/// nothing for a flood.
const REFUSE_EVERY: Duration = Duration::from_millis(100);
const REFUSALS_BURST: u32 = 10;

/// Between two checks of ours (RFC 8445, 14.2).
const PACE: Duration = Duration::from_millis(50);
/// How long better pairs are waited for once one works.
const NOMINATE_AFTER: Duration = Duration::from_millis(500);
/// How long it may take until a check has succeeded: Microsoft gives up after 10 to 25 s
/// (TDR-DLG-041), and the operator should know first.
const COMPLETE_MAX: Duration = Duration::from_secs(10);

const BOTH: [Component; 2] = [Component::Rtp, Component::Rtcp];

/// The ICE agent of one leg.
#[derive(Debug)]
pub struct Agent {
    /// What an offer of ours has named that is not answered.
    expected: Option<Box<Generation>>,
    current: Option<Box<Generation>>,
    /// What was agreed before, until a pair of the current one works (TDR-ICE-010).
    previous: Option<Box<Generation>>,
    /// Who is agreed only rings: what was agreed before stays, to be gone back to.
    on_trial: bool,
    controlling: bool,
    tie_breaker: u64,
    /// Transactions are drawn from it.
    secret: Key,
    drawn: u64,
    refusals: Bucket,
    watch: Watch,
    consent: Option<Consent>,
    lost: bool,
    /// When the next check may be begun.
    next_check: Option<Instant>,
    /// Since when a pair works that could be chosen.
    works_since: Option<Instant>,
    counted: IceReport,
    trouble: Option<IceTrouble>,
    /// Where media goes, by component.
    to: [Option<SocketAddr>; 2],
    due: Option<Instant>,
}

/// Whether anything comes, and whether it came to anything.
#[derive(Debug, Default)]
struct Watch {
    /// How long nothing may come; `None`: nothing need come.
    patience: Option<Duration>,
    /// Since when something should come.
    expects_since: Option<Instant>,
    /// When something last came that is the far side's.
    heard: Option<Instant>,
    /// When it was agreed, with whom it is now.
    agreed_at: Option<Instant>,
    /// That it takes too long was told.
    told: bool,
    /// When to look again.
    at: Option<Instant>,
}

/// An answer, in the slot that the check came in, back to where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Why it is a refusal, if it is one.
    pub refused: Option<DropReason>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Expected,
    Current,
    Previous,
}

/// What a check that is authentic says.
struct Asked {
    which: Which,
    transaction: Transaction,
    from: Ufrag,
    priority: u32,
    use_candidate: bool,
    role: Option<(bool, u64)>,
}

impl Agent {
    /// One that knows nobody. `seed` is random: its transactions come from it.
    pub fn new(seed: &[u8]) -> Self {
        let secret = Key::new(seed);
        let drawn = secret.code(&[b"tie-breaker"]);
        let tie_breaker = u64::from_be_bytes(std::array::from_fn(|at| drawn[at]));
        Self {
            expected: None,
            current: None,
            previous: None,
            on_trial: false,
            controlling: false,
            tie_breaker,
            secret,
            drawn: 0,
            refusals: Bucket::full(REFUSALS_BURST),
            watch: Watch::default(),
            consent: None,
            lost: false,
            next_check: None,
            works_since: None,
            counted: IceReport::default(),
            trouble: None,
            to: [None; 2],
            due: None,
        }
    }

    /// An offer of ours has gone out: its checks may overtake its answer (TDR-ICE-006).
    pub fn expect(&mut self, offered: &IceOffered) {
        let all = [&self.current, &self.expected];
        if all.into_iter().flatten().all(|known| !known.is_of(&offered.local)) {
            self.expected = Generation::new(offered).map(Box::new);
        }
    }

    /// Whether who is agreed from now on only rings, and may have to give its place back.
    pub const fn try_out(&mut self, on_trial: bool) {
        self.on_trial = on_trial;
    }

    /// Takes what was agreed, also anew. `patience` is how long nothing may come at all while
    /// something should; `None`: as long as it likes (hold). Ask [`Self::generate`] afterwards.
    pub fn agree(&mut self, ice: &Ice, stream: &Stream, patience: Option<Duration>) {
        let is = |known: &Option<Box<Generation>>| {
            known.as_ref().is_some_and(|known| known.is_of(&ice.local))
        };
        let fresh = !is(&self.current);
        if fresh {
            let offered = IceOffered { local: ice.local.clone(), lite: ice.lite };
            let next = match (is(&self.expected), is(&self.previous)) {
                (true, _) => self.expected.take(),
                (_, true) => self.previous.take(),
                _ => Generation::new(&offered).map(Box::new),
            };
            let old = std::mem::replace(&mut self.current, next);
            if let Some(old) = old.filter(|old| old.remote.is_some()) {
                self.counted.restarts += 1;
                // As long as the new one does not work, an older one that does serves on.
                // Who may get the place back has been here before any that are tried.
                let kept = self.on_trial && self.previous.is_some();
                if old.in_use(Component::Rtp).is_some() && !kept {
                    self.previous = Some(old);
                }
            }
            self.controlling = !ice.lite && (ice.remote_lite || ice.ours_first);
        }
        let Some(current) = &mut self.current else { return };
        let before = current.remote.as_ref().map(|remote| remote.fork);
        current.agree(ice, [stream.remote_rtp, stream.remote_rtcp]);
        if fresh || before != current.remote.as_ref().map(|remote| remote.fork) {
            (self.consent, self.lost, self.works_since) = (None, false, None);
            (self.watch.agreed_at, self.watch.told) = (None, false);
        }
        if self.watch.patience != patience {
            (self.watch.patience, self.watch.expects_since) = (patience, None);
        }
        // What is new is looked at when it is next asked for packets: at once.
        self.watch.at = None;
        self.settle();
    }

    /// The leg goes without ICE from now on; an offer that is out stays.
    pub fn leave(&mut self) {
        let current = self.current.take();
        self.previous = self.previous.take().or(current).filter(|_| self.on_trial);
        self.due = None;
        (self.watch, self.consent) = (Watch::default(), None);
        self.to = [None; 2];
    }

    /// Whether ICE says where media goes: it is agreed, and not both ends only answer.
    pub fn leads(&self) -> bool {
        self.current.as_ref().is_some_and(|current| !current.both_lite())
    }

    /// Where media goes; nowhere before anybody has shown that it wants it there.
    pub const fn destination(&self, component: Component) -> Option<SocketAddr> {
        self.to[component as usize]
    }

    /// Whether what comes from here may be the far side's media: a checked pair.
    pub fn believes(&self, component: Component, from: SocketAddr) -> bool {
        self.to[component as usize] == Some(from)
            || self.heard_of().any(|generation| generation.believes(component, from))
    }

    /// What is agreed, and what serves as long as that does not work.
    fn heard_of(&self) -> impl Iterator<Item = &Generation> {
        let current = self.current.as_deref();
        let works = current.is_some_and(|current| current.in_use(Component::Rtp).is_some());
        current.into_iter().chain(self.previous.as_deref().filter(|_| !works))
    }

    /// A packet of the far side came then: it is there. Consent is another thing, which media does not renew
    /// (RFC 7675, 5.1).
    pub fn hear(&mut self, at: Instant) {
        self.watch.heard = self.watch.heard.max(Some(at));
    }

    /// What is wrong, once.
    pub const fn take_trouble(&mut self) -> Option<IceTrouble> {
        self.trouble.take()
    }

    /// What came of it so far; `None` as long as nothing is agreed and nobody has asked.
    pub fn report(&self) -> Option<IceReport> {
        if self.current.is_none() && self.counted.checks_received == 0 {
            return None;
        }
        let state = match &self.current {
            Some(current) if current.both_lite() => IceState::BothLite,
            _ if self.lost => IceState::ConsentLost,
            Some(current) if current.chosen(Component::Rtp).is_some() => IceState::Selected,
            Some(current) if current.in_use(Component::Rtp).is_some() => IceState::Checked,
            _ => IceState::Waiting,
        };
        Some(IceReport { state, selected: self.to[0], ..self.counted })
    }

    /// A STUN message that came from `from`; the slot holds the answer, if there is one to send.
    pub fn packet(
        &mut self,
        now: Instant,
        component: Component,
        from: SocketAddr,
        slot: &mut PacketBuf,
    ) -> Result<Option<Reply>, DropReason> {
        let message = Message::read(slot.packet()).ok_or(DropReason::Malformed)?;
        match message.class {
            Class::Request => {
                self.counted.checks_received += 1;
                let transaction = message.transaction;
                let answered = match self.judge(&message) {
                    Ok(asked) => self.answer(now, component, from, &asked, slot)?,
                    Err(status) => self.refuse(now, status, transaction, slot)?,
                };
                Ok(Some(answered))
            }
            Class::Success | Class::Error => {
                self.answered(now, component, from, &message)?;
                Ok(None)
            }
            Class::Indication => {
                if self.believes(component, from) {
                    self.hear(now);
                }
                Ok(None)
            }
        }
    }

    /// Whose check it is; the status of its refusal if it is nobody's (TDR-ICE-002).
    fn judge(&self, message: &Message<'_>) -> Result<Asked, u16> {
        let (Some(username), true) = (message.username, message.is_signed()) else {
            return Err(400);
        };
        let colon = username.iter().position(|octet| *octet == b':').ok_or(401u16)?;
        let (ours, theirs) = (&username[..colon], &username[colon + 1..]);
        let known = [
            (Which::Current, &self.current),
            (Which::Previous, &self.previous),
            (Which::Expected, &self.expected),
        ];
        let (which, generation) = known
            .into_iter()
            .filter_map(|(which, generation)| Some((which, generation.as_deref()?)))
            .find(|(_, generation)| generation.ufrag.octets() == ours)
            .ok_or(401u16)?;
        if !message.is_authentic(&generation.key) {
            return Err(401);
        }
        Ok(Asked {
            which,
            transaction: message.transaction,
            from: Ufrag::new(theirs).ok_or(401u16)?,
            priority: message.priority.unwrap_or(0),
            use_candidate: message.use_candidate,
            role: message.role,
        })
    }

    fn refuse(
        &mut self,
        now: Instant,
        status: u16,
        transaction: Transaction,
        slot: &mut PacketBuf,
    ) -> Result<Reply, DropReason> {
        if !self.refusals.take(now, REFUSE_EVERY, REFUSALS_BURST) {
            return Err(DropReason::StunRate);
        }
        Writer::new(slot, Class::Error, transaction).error(status).finish(None);
        Ok(Reply { refused: Some(DropReason::StunCredentials) })
    }

    fn generation(&mut self, which: Which) -> Option<&mut Generation> {
        match which {
            Which::Expected => self.expected.as_deref_mut(),
            Which::Current => self.current.as_deref_mut(),
            Which::Previous => self.previous.as_deref_mut(),
        }
    }

    /// Answers a check that is authentic, and remembers who has sent it.
    fn answer(
        &mut self,
        now: Instant,
        component: Component,
        from: SocketAddr,
        asked: &Asked,
        slot: &mut PacketBuf,
    ) -> Result<Reply, DropReason> {
        let (leads, tie_breaker) = (self.controlling, self.tie_breaker);
        let generation = self.generation(asked.which).ok_or(DropReason::StunCredentials)?;
        let ufrag = asked.from.octets();
        let fork = generation.fork_of(ufrag).or_else(|| generation.add_fork(ufrag));
        let at = fork.and_then(|fork| {
            let known = generation.pair(fork, component, from);
            known.or_else(|| {
                let at = generation.add(fork, component, from)?;
                let signalled = generation.signalled(fork, component, from);
                generation.pairs[at].priority = signalled.unwrap_or(asked.priority);
                Some(at)
            })
        });
        let mut switches = false;
        if let Some(at) = at {
            let lite = generation.lite;
            let pair = &mut generation.pairs[at];
            if !pair.rate.take(now, CHECK_EVERY, CHECKS_BURST) {
                return Err(DropReason::StunRate);
            }
            // RFC 8445, 7.3.1.1. Who only answers follows whoever asks.
            if let Some((they_lead, theirs)) = asked.role
                && !lite
                && they_lead == leads
            {
                switches = (tie_breaker >= theirs) != leads;
                if !switches {
                    Writer::new(slot, Class::Error, asked.transaction)
                        .error(487)
                        .finish(Some(&generation.key));
                    return Ok(Reply { refused: None });
                }
            }
            let leads = leads != switches;
            pair.heard = Some(now);
            if !lite {
                pair.check.trigger();
            }
            if asked.use_candidate && !leads {
                pair.nominated = true;
                // A pair that we check ourselves has to work first (RFC 8445, 7.3.1.5).
                if lite || pair.check.has_succeeded() {
                    generation.choose(at);
                }
            }
        }
        Writer::new(slot, Class::Success, asked.transaction)
            .mapped(from)
            .finish(Some(&generation.key));
        self.controlling = leads != switches;
        self.counted.checks_answered += 1;
        self.hear(now);
        self.settle();
        Ok(Reply { refused: None })
    }

    /// An answer to a check of ours.
    fn answered(
        &mut self,
        now: Instant,
        component: Component,
        from: SocketAddr,
        message: &Message<'_>,
    ) -> Result<(), DropReason> {
        let current = self.current.as_deref_mut().ok_or(DropReason::StunCredentials)?;
        let remote = current.remote.as_ref().ok_or(DropReason::StunCredentials)?;
        if !message.is_authentic(&remote.key) {
            return Err(DropReason::StunCredentials);
        }
        self.watch.heard = Some(now);
        if let Some(consent) = &mut self.consent
            && consent.transaction == Some(message.transaction)
            && message.class == Class::Success
        {
            consent.transaction = None;
            consent.expires = now + Consent::LASTS;
            return Ok(());
        }
        let asked = current.pairs.iter().position(|pair| {
            pair.component == component && pair.check.is_answered_by(&message.transaction).is_some()
        });
        // A repeat of an answer is nothing new.
        let Some(at) = asked else { return Ok(()) };
        let pair = &mut current.pairs[at];
        let nominates = pair.check.is_answered_by(&message.transaction) == Some(true);
        match (message.class, message.error) {
            // RFC 8445, 7.2.5.2.1: the way back is another one.
            (Class::Success, _) if pair.remote == from => {
                pair.check = Check::Succeeded;
                pair.nominated |= nominates;
                if pair.nominated {
                    current.choose(at);
                }
            }
            (_, Some(487)) => {
                self.controlling = !self.controlling;
                pair.check = Check::Waiting { triggered: true };
            }
            _ => pair.check = Check::Failed,
        }
        if self.works_since.is_none() {
            let works = current.pairs.iter().any(|pair| pair.check.has_succeeded());
            self.works_since = works.then_some(now);
        }
        self.settle();
        Ok(())
    }

    /// Works out where media goes, after anything that could change it.
    fn settle(&mut self) {
        let current = self.current.as_deref();
        let works = current.is_some_and(|current| current.in_use(Component::Rtp).is_some());
        if works && !self.on_trial {
            self.previous = None;
        }
        let to = |generation: Option<&Generation>, component| {
            let generation = generation?;
            generation.in_use(component).map(|at| generation.pairs[at].remote)
        };
        self.to = BOTH.map(|component| match self.lost {
            true => None,
            false => to(self.current.as_deref(), component)
                .or_else(|| to(self.previous.as_deref(), component)),
        });
        self.due = self.next_check_due();
    }

    /// When a check of ours is due.
    fn next_check_due(&self) -> Option<Instant> {
        let current = self.current.as_deref().filter(|current| !current.lite && !self.lost)?;
        let remote = current.remote.as_ref()?;
        let of = || current.pairs.iter().filter(|pair| usize::from(pair.fork) == remote.fork);
        let waiting = of().any(|pair| matches!(pair.check, Check::Waiting { .. }));
        let soon = self.next_check.or(self.watch.agreed_at);
        let begun = waiting.then_some(soon).flatten();
        let again = of().filter_map(|pair| pair.check.again_at()).min();
        let chooses = self.controlling
            && BOTH.into_iter().any(|component| {
                current.chosen(component).is_none() && current.in_use(component).is_some()
            });
        let chosen_by = self.works_since.map(|since| since + NOMINATE_AFTER);
        let chosen_by = chosen_by.filter(|_| chooses && !of().any(is_choosing));
        let consent = self.consent.map(|consent| consent.next.min(consent.expires));
        [begun, again, chosen_by, consent].into_iter().flatten().min()
    }

    /// When [`Self::generate`] has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        [self.due, self.watch.at].into_iter().flatten().min()
    }

    /// Fills `slot` with a check that is due, if any; where from and where to.
    pub fn generate(
        &mut self,
        now: Instant,
        slot: &mut PacketBuf,
    ) -> Option<(Component, SocketAddr)> {
        self.look(now);
        let check = self.check(now, slot);
        self.due = self.next_check_due();
        if check.is_some() {
            self.counted.checks_sent += 1;
        }
        check
    }

    /// The call is answered: silence counts from here on.
    pub fn call_answered(&mut self) {
        (self.watch.expects_since, self.watch.at) = (None, None);
    }

    /// Looks whether anything comes.
    fn look(&mut self, now: Instant) {
        let Some(current) = self.current.as_deref() else { return };
        let agreed_at = *self.watch.agreed_at.get_or_insert(now);
        let waits = !current.both_lite() && current.in_use(Component::Rtp).is_none();
        let complete_by = (waits && !self.watch.told).then_some(agreed_at + COMPLETE_MAX);
        if complete_by.is_some_and(|by| by <= now) {
            self.watch.told = true;
            self.trouble = Some(IceTrouble::NeverCompleted);
        }
        let expects_since = *self.watch.expects_since.get_or_insert(now);
        let silent_at = self.watch.patience.map(|patience| {
            self.watch.heard.map_or(expects_since, |heard| heard.max(expects_since)) + patience
        });
        let silent_at = silent_at.map(|at| {
            if at > now {
                return at;
            }
            self.trouble = Some(IceTrouble::Silent);
            // It is told again as long as nobody ends the call.
            self.watch.expects_since = Some(now);
            now + self.watch.patience.unwrap_or(COMPLETE_MAX)
        });
        let complete_by = complete_by.filter(|_| !self.watch.told);
        let far = Some(now + COMPLETE_MAX);
        self.watch.at = [complete_by, silent_at, far].into_iter().flatten().min();
    }

    /// The check that is due: consent, one to be repeated, the one that chooses, the next.
    fn check(&mut self, now: Instant, slot: &mut PacketBuf) -> Option<(Component, SocketAddr)> {
        if self.lost || self.current.as_deref().is_none_or(|current| current.lite) {
            return None;
        }
        if let Some(asks) = self.ask_consent(now) {
            return self.send(asks, slot);
        }
        let leads = self.controlling;
        let works_since = self.works_since;
        let current = self.current.as_deref_mut()?;
        let fork = current.remote.as_ref()?.fork;
        let pairs = &mut current.pairs;
        for (at, pair) in pairs.iter_mut().enumerate() {
            if let Some((transaction, nominates)) = pair.check.repeat(now) {
                return self.send(Sending { at, transaction, nominates }, slot);
            }
        }
        let chooses = match leads {
            true => to_choose(current, works_since, now),
            false => None,
        };
        let paced = self.next_check.is_none_or(|at| at <= now);
        let next = || {
            let waiting = current.pairs.iter().enumerate().filter_map(|(at, pair)| {
                let Check::Waiting { triggered } = pair.check else { return None };
                (usize::from(pair.fork) == fork).then_some((triggered, pair.priority, at))
            });
            waiting.max().map(|(.., at)| at)
        };
        let (at, nominates) = match chooses {
            Some(at) => (at, true),
            None if paced => (next()?, false),
            None => return None,
        };
        let transaction = self.draw();
        let current = self.current.as_deref_mut()?;
        current.pairs.get_mut(at)?.check.sent(now, transaction, nominates);
        self.next_check = Some(now + PACE);
        self.send(Sending { at, transaction, nominates }, slot)
    }

    /// Asks the far side of the pair in use whether it wants to go on (RFC 7675).
    fn ask_consent(&mut self, now: Instant) -> Option<Sending> {
        let current = self.current.as_deref()?;
        let at = current.chosen(Component::Rtp)?;
        let consent = *self.consent.get_or_insert(Consent::given(now));
        if consent.expires <= now {
            self.lost = true;
            self.trouble = Some(IceTrouble::ConsentLost);
            self.settle();
            return None;
        }
        if consent.next > now {
            return None;
        }
        let transaction = self.draw();
        // Between 0.8 and 1.2 times the interval (RFC 7675, 5.1).
        let spread = u32::from(transaction[0]) * 8 / 5;
        let next = now + Consent::EVERY * (800 + spread) / 1000;
        self.consent = Some(Consent { transaction: Some(transaction), next, ..consent });
        Some(Sending { at, transaction, nominates: false })
    }

    fn send(&self, sending: Sending, slot: &mut PacketBuf) -> Option<(Component, SocketAddr)> {
        let Sending { at, transaction, nominates } = sending;
        let current = self.current.as_deref()?;
        let (pair, remote) = (current.pairs.get(at)?, current.remote.as_ref()?);
        let theirs = current.forks.get(remote.fork)?.ufrag;
        let component = if pair.component == Component::Rtp { 1 } else { 2 };
        let check = Writer::new(slot, Class::Request, transaction)
            .username(theirs.octets(), current.ufrag.octets())
            .priority(PEER_REFLEXIVE | (256 - component))
            .role(self.controlling, self.tie_breaker);
        let check = if nominates { check.use_candidate() } else { check };
        check.finish(Some(&remote.key));
        Some((pair.component, pair.remote))
    }

    fn draw(&mut self) -> Transaction {
        self.drawn += 1;
        let code = self.secret.code(&[&self.drawn.to_be_bytes()]);
        std::array::from_fn(|at| code[at])
    }
}

/// The priority of the candidate that a check of ours would make known, without its component
/// (RFC 8445, 7.1.1).
const PEER_REFLEXIVE: u32 = (110 << 24) | (65_535 << 8);

/// A check of ours that goes out.
#[derive(Clone, Copy)]
struct Sending {
    at: usize,
    transaction: Transaction,
    nominates: bool,
}

fn is_choosing(pair: &super::generation::Pair) -> bool {
    matches!(pair.check, Check::Sent { nominates: true, .. })
}

/// The pair to be chosen now: the best that works, once nothing better can come or that has had its
/// time (RFC 8445, 8.1.1).
fn to_choose(current: &Generation, since: Option<Instant>, now: Instant) -> Option<usize> {
    let fork = current.remote.as_ref()?.fork;
    let waited = since.is_some_and(|since| since + NOMINATE_AFTER <= now);
    BOTH.into_iter().find_map(|component| {
        let of = || {
            let all = current.pairs.iter().filter(|pair| pair.component == component);
            all.filter(|pair| usize::from(pair.fork) == fork)
        };
        let best = current.in_use(component).filter(|_| current.chosen(component).is_none())?;
        let priority = current.pairs.get(best)?.priority;
        let better = of().any(|pair| pair.check.is_open() && pair.priority > priority);
        (!of().any(is_choosing) && (waited || !better)).then_some(best)
    })
}
