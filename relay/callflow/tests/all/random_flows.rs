//! Calls by chance over a bad network, with far sides that misbehave: nobody knows what happens, but
//! the laws hold. A failure prints its seed with the ladder; `cargo xtask simulate --seed N` plays
//! that one alone, and `cargo xtask simulate` many more.

use callflow::chance::play;
use callflow::met::Met;
use std::collections::BTreeMap;

/// As many as a run without optimisation can wait for; `cargo xtask test` plays 10,000 with it.
const FLOWS: u64 = 200;

/// TDR-MT-003, TDR-DLG-001, TDR-OUT-009, TDR-OUT-011.
#[test]
fn whatever_happens_the_laws_hold() {
    let mut causes: BTreeMap<String, u32> = BTreeMap::new();
    let mut met = Met::default();
    for played in (0..FLOWS).map(play) {
        met.add(&played.met);
        played.causes.into_iter().for_each(|cause| *causes.entry(cause).or_default() += 1);
    }
    // Chance has met what it was to meet; `cargo xtask test` asks for more of it.
    for what in [
        "prack given",
        "prack taken",
        "offerless",
        "update taken",
        "redirected",
        "signed",
        "hook asked",
    ] {
        assert!(met.of(what) > 0, "{what}: {met:?}");
    }
    for cause in ["caller_hangup", "callee_hangup", "cancelled", "busy", "timeout"] {
        assert!(causes.get(cause).is_some_and(|met| *met >= 5), "{cause}: {causes:?}");
    }
}
