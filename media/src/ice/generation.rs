//! One description of ours and who has answered it: forks, and the pairs of each.

use super::Bucket;
use super::checks::Check;
use super::stun::Key;
use crate::Component;
use sdp::ice::{Candidate, Credentials, Ice, IceOffered};
use std::net::SocketAddr;
use std::time::Instant;

/// Far sides that may answer one offer (TDR-ICE-005 asks for eight): beyond that a check is answered
/// and not remembered.
pub(super) const FORKS_MAX: usize = 16;
/// Addresses of one fork and component (TDR-ICE-005 asks for twenty). At the bound the one that has
/// been silent for longest gives way: it is not the one in use.
pub(super) const PAIRS_PER_FORK_MAX: usize = 20;
/// How many checks of one may come at once: some agents send all they have.
pub(super) const CHECKS_BURST: u32 = 20;
/// All pairs of a generation: eight forks with all of theirs.
const PAIRS_MAX: usize = 8 * PAIRS_PER_FORK_MAX;

/// A user fragment, of at most the 256 octets that RFC 8839 allows.
#[derive(Clone, Copy)]
pub(super) struct Ufrag {
    len: u16,
    octets: [u8; 256],
}

impl Ufrag {
    pub(super) fn new(text: &[u8]) -> Option<Self> {
        let mut octets = [0; 256];
        octets.get_mut(..text.len())?.copy_from_slice(text);
        (!text.is_empty()).then_some(Self { len: text.len() as u16, octets })
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for Ufrag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.octets().escape_ascii())
    }
}

/// A far side that answers, or may answer, our description.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fork {
    pub(super) ufrag: Ufrag,
    /// The pair that was chosen last, by component.
    pub(super) chosen: [Option<u16>; 2],
}

/// An address of a fork, towards the one candidate that each component of ours has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) fork: u8,
    pub(super) component: Component,
    pub(super) remote: SocketAddr,
    /// Of the far side's candidate.
    pub(super) priority: u32,
    /// When an authentic check last came from here.
    pub(super) heard: Option<Instant>,
    /// The far side has chosen it.
    pub(super) nominated: bool,
    /// Our own check of it; none as long as we only answer.
    pub(super) check: Check,
    /// How often checks are taken from here.
    pub(super) rate: Bucket,
}

/// Who has answered for good, or for now.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) key: Key,
    pub(super) lite: bool,
    pub(super) fork: usize,
    candidates: Vec<Candidate>,
}

fn component(candidate: &Candidate) -> Component {
    if candidate.component == 1 { Component::Rtp } else { Component::Rtcp }
}

/// One description of ours.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) ufrag: Ufrag,
    pub(super) key: Key,
    pub(super) lite: bool,
    pub(super) remote: Option<Remote>,
    pub(super) forks: Vec<Fork>,
    pub(super) pairs: Vec<Pair>,
}

impl Generation {
    pub(super) fn new(offered: &IceOffered) -> Option<Self> {
        Some(Self {
            ufrag: Ufrag::new(offered.local.ufrag().as_bytes())?,
            key: Key::new(offered.local.pwd().as_bytes()),
            lite: offered.lite,
            remote: None,
            // All the room there will be: packets make no more.
            forks: Vec::with_capacity(FORKS_MAX),
            pairs: Vec::with_capacity(PAIRS_MAX),
        })
    }

    /// Whether it is that of these credentials.
    pub(super) fn is_of(&self, local: &Credentials) -> bool {
        self.ufrag.octets() == local.ufrag().as_bytes()
    }

    /// Takes what the far side has said: its checks belong to it from now on, those that came before
    /// among them (TDR-ICE-006).
    pub(super) fn agree(&mut self, ice: &Ice, default: [Option<SocketAddr>; 2]) {
        let ufrag = ice.remote.ufrag().as_bytes();
        let Some(fork) = self.fork_of(ufrag).or_else(|| self.make_room(ufrag)) else { return };
        let key = Key::new(ice.remote.pwd().as_bytes());
        let candidates = ice.candidates.clone();
        self.remote = Some(Remote { key, lite: ice.remote_lite, fork, candidates });
        for candidate in &ice.candidates {
            let component = component(candidate);
            let known = self.pair(fork, component, candidate.address);
            // Whoever only answers learns from the checks where the far side is.
            let at = match known {
                None if !self.lite => self.add(fork, component, candidate.address),
                known => known,
            };
            if let Some(pair) = at.and_then(|at| self.pairs.get_mut(at)) {
                pair.priority = candidate.priority;
                if !self.lite {
                    pair.check.begin();
                }
            }
        }
        if ice.concluded {
            // TDR-ICE-009: the pair's far end is the address of the m-line.
            for (component, remote) in [Component::Rtp, Component::Rtcp].into_iter().zip(default) {
                if let Some(remote) = remote
                    && let Some(at) = self
                        .pair(fork, component, remote)
                        .or_else(|| self.lite.then(|| self.add(fork, component, remote)).flatten())
                {
                    self.pairs[at].nominated = true;
                    self.choose(at);
                }
            }
        }
    }

    /// The priority that the far side has given this address.
    pub(super) fn signalled(&self, fork: usize, of: Component, remote: SocketAddr) -> Option<u32> {
        let agreed = self.remote.as_ref().filter(|agreed| agreed.fork == fork)?;
        let named = |it: &&Candidate| it.address == remote && component(it) == of;
        agreed.candidates.iter().find(named).map(|candidate| candidate.priority)
    }

    /// The fork with this user fragment.
    pub(super) fn fork_of(&self, ufrag: &[u8]) -> Option<usize> {
        self.forks.iter().position(|fork| fork.ufrag.octets() == ufrag)
    }

    /// A new fork, if there is room.
    pub(super) fn add_fork(&mut self, ufrag: &[u8]) -> Option<usize> {
        if self.forks.len() == FORKS_MAX {
            return None;
        }
        self.forks.push(Fork { ufrag: Ufrag::new(ufrag)?, chosen: [None; 2] });
        Some(self.forks.len() - 1)
    }

    /// Room for the fork that was signalled, whoever else has sent checks.
    fn make_room(&mut self, ufrag: &[u8]) -> Option<usize> {
        if let Some(fork) = self.add_fork(ufrag) {
            return Some(fork);
        }
        let agreed = self.remote.as_ref().map(|remote| remote.fork);
        let fork = (0..FORKS_MAX).find(|fork| Some(*fork) != agreed)?;
        self.forks[fork] = Fork { ufrag: Ufrag::new(ufrag)?, chosen: [None; 2] };
        for pair in self.pairs.iter_mut().filter(|pair| usize::from(pair.fork) == fork) {
            (pair.heard, pair.nominated, pair.check) = (None, false, Check::default());
        }
        Some(fork)
    }

    pub(super) fn pair(
        &self,
        fork: usize,
        component: Component,
        remote: SocketAddr,
    ) -> Option<usize> {
        self.pairs.iter().position(|pair| {
            usize::from(pair.fork) == fork && pair.component == component && pair.remote == remote
        })
    }

    /// A new pair; the stalest of its fork and component makes room for it.
    pub(super) fn add(
        &mut self,
        fork: usize,
        component: Component,
        remote: SocketAddr,
    ) -> Option<usize> {
        let pair = Pair {
            fork: fork as u8,
            component,
            remote,
            priority: 0,
            heard: None,
            nominated: false,
            check: Check::default(),
            rate: Bucket::full(CHECKS_BURST),
        };
        let of = |pair: &Pair| usize::from(pair.fork) == fork && pair.component == component;
        let full = self.pairs.iter().filter(|pair| of(pair)).count() >= PAIRS_PER_FORK_MAX;
        if !full && self.pairs.len() < PAIRS_MAX {
            self.pairs.push(pair);
            return Some(self.pairs.len() - 1);
        }
        let chosen = self.forks.get(fork)?.chosen[component as usize].map(usize::from);
        let (at, stalest) = self
            .pairs
            .iter_mut()
            .enumerate()
            .filter(|(at, pair)| of(pair) && Some(*at) != chosen)
            .min_by_key(|(_, pair)| pair.heard)?;
        *stalest = pair;
        Some(at)
    }

    /// This pair is the one of its fork and component.
    pub(super) fn choose(&mut self, at: usize) {
        let pair = self.pairs[at];
        if let Some(fork) = self.forks.get_mut(usize::from(pair.fork)) {
            fork.chosen[pair.component as usize] = Some(at as u16);
        }
    }

    /// Whether media may go to, and come from, this pair.
    pub(super) fn works(&self, pair: &Pair) -> bool {
        match self.lite {
            true => pair.heard.is_some() || pair.nominated,
            false => pair.check.has_succeeded(),
        }
    }

    fn agreed_pairs(&self, component: Component) -> impl Iterator<Item = (usize, &Pair)> {
        let fork = self.remote.as_ref().map(|remote| remote.fork);
        self.pairs.iter().enumerate().filter(move |(_, pair)| {
            Some(usize::from(pair.fork)) == fork && pair.component == component
        })
    }

    /// The pair that is chosen.
    pub(super) fn chosen(&self, component: Component) -> Option<usize> {
        let fork = self.forks.get(self.remote.as_ref()?.fork)?;
        fork.chosen[component as usize].map(usize::from)
    }

    /// The pair in use: the one that is chosen, or else the best that works (TDR-ICE-007).
    pub(super) fn in_use(&self, component: Component) -> Option<usize> {
        let best = || {
            let works = self.agreed_pairs(component).filter(|(_, pair)| self.works(pair));
            works.max_by_key(|(_, pair)| pair.priority).map(|(at, _)| at)
        };
        self.chosen(component).or_else(best)
    }

    /// Whether media from here may be that of the one who has answered.
    pub(super) fn believes(&self, component: Component, from: SocketAddr) -> bool {
        self.agreed_pairs(component).any(|(_, pair)| pair.remote == from && self.works(pair))
    }

    pub(super) fn both_lite(&self) -> bool {
        self.lite && self.remote.as_ref().is_some_and(|remote| remote.lite)
    }
}
