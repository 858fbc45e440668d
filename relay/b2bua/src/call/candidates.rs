//! Whom a call tries, and in which order: the endpoints of its route's targets (RFC 3263, TDR-FO-005).

use super::attempt::Candidate;
use crate::core::Core;
use crate::endpoint::Standing;
use crate::io::Hop;
use crate::plan::{Plan, TargetName, TrunkKind};
use crate::registrar::Way;
use crate::routing::Trace;
use std::time::Duration;

/// Endpoints of one of Microsoft's names that a call tries: each name leads to a region, and the
/// next region is tried instead (TDR-FO-006).
const TEAMS_ENDPOINTS_PER_TARGET: usize = 1;
/// Endpoints of a carrier's target that a call tries before the next target: three silent ones take
/// all the time there is.
const ENDPOINTS_PER_TARGET: usize = 4;

/// How soon a candidate is tried.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Good,
    Failed,
    Down,
}

/// The endpoints of the route's targets in the order to try: trunk by trunk, in each the healthy
/// ones first, then those that failed a moment ago, then those of targets that are down. None of
/// these is never tried (TDR-FO-005); one that has asked for a pause is (RFC 3261, 21.5.4), but
/// for an emergency.
///
/// Whether a target is up may be another matter for the `fqdn` that is called under than for others.
pub(super) fn candidates(
    core: &mut Core,
    plan: &Plan,
    (trunks, fqdn): (&[usize], &str),
    emergency: bool,
) -> Vec<Candidate> {
    let mut ranked = Vec::new();
    let mut resting = Vec::new();
    for index in trunks {
        let Some(trunk) = plan.trunks.get(*index) else { continue };
        let most = match trunk.kind {
            TrunkKind::Teams => TEAMS_ENDPOINTS_PER_TARGET,
            TrunkKind::Carrier => ENDPOINTS_PER_TARGET,
        };
        let mut rank = |core: &Core, up: bool, candidate: Candidate| {
            let standing = match &candidate.to {
                Ok(to) => core.endpoints.standing(core.now.mono, &to.endpoint()),
                Err(_) => return ranked.push((Rank::Down, candidate)),
            };
            let rests = candidate.to.as_ref().ok().and_then(|to| {
                let left = core.breakers.rests(core.now.mono, &to.endpoint())?;
                Some((left, to.clone()))
            });
            if let Some((left, to)) = rests.filter(|_| standing != Standing::Resting) {
                match emergency {
                    true => ranked.push((Rank::Down, candidate)),
                    false => {
                        resting.push((left, Candidate { to: Err("resting"), ..candidate }, to))
                    }
                }
                return;
            }
            ranked.push(match standing {
                Standing::Resting if !emergency => {
                    (Rank::Down, Candidate { to: Err("retry_after"), ..candidate })
                }
                Standing::Good if up => (Rank::Good, candidate),
                Standing::Failed if up => (Rank::Failed, candidate),
                Standing::Good | Standing::Failed | Standing::Resting => (Rank::Down, candidate),
            });
        };
        if let Some(registrar) = &trunk.accounts.registrar {
            let bound = core.registrars.ways(core.now.mono, plan, *index);
            if bound.is_empty() && trunk.targets.is_empty() {
                let nobody = TargetName { host: registrar.realm.clone(), port: None };
                rank(core, false, Candidate::new(*index, nobody, Err("not_registered")));
            }
            for Way { target, params, hop } in bound {
                let to = Ok(hop);
                let trunk = *index;
                let candidate = Candidate::new(trunk, target, Err("no_address"));
                rank(core, true, Candidate { to, params, ..candidate });
            }
        }
        for target in &trunk.targets {
            let candidate = |to| Candidate::new(*index, target.clone(), to);
            let endpoints = core.endpoints(plan, *index, target);
            if endpoints.is_empty() {
                rank(core, false, candidate(Err("no_address")));
            }
            let up = core.is_up(&trunk.name, target, Some(fqdn));
            for to in endpoints.into_iter().take(most) {
                rank(core, up, candidate(Ok(to)));
            }
        }
    }
    // Stable: within a rank, the route's order stays.
    wake_one(&mut ranked, resting);
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Says which targets get no call for now: those behind one that takes it are not seen in the attempts.
pub(super) fn note_resting(plan: &Plan, candidates: &[Candidate], trace: &mut Trace) {
    for Candidate { trunk, target, to, .. } in candidates {
        if let Err(why @ ("resting" | "retry_after")) = to {
            let trunk = plan.trunks.get(*trunk).map_or("?", |trunk| trunk.name.as_str());
            trace.note(format!("{trunk} {target} gets no calls for now ({why})"));
        }
    }
}

/// Puts those that rest, as calls failed there, behind all others. If none of the others is up, the one
/// whose rest is over first is tried all the same, and that one alone: a breaker spares callers a wait,
/// it does not take their last way out.
fn wake_one(ranked: &mut Vec<(Rank, Candidate)>, mut resting: Vec<(Duration, Candidate, Hop)>) {
    let up = |(rank, candidate): &(Rank, Candidate)| *rank < Rank::Down && candidate.to.is_ok();
    if !ranked.iter().any(up)
        && let Some(first) = resting.iter_mut().min_by_key(|(left, ..)| *left)
    {
        first.1.to = Ok(first.2.clone());
        first.1.last_resort = true;
    }
    ranked.extend(resting.into_iter().map(|(_, candidate, _)| (Rank::Down, candidate)));
}
