//! Metrics and log lines of trunks: whether their targets serve, and who is registered where.

use b2bua::io::Event;
use metrics::{counter, describe_counter, describe_gauge, gauge};

/// What each means.
pub(super) fn describe() {
    describe_counter!(
        "tollgate_trunk_passed_over_total",
        "Targets of a trunk that a call did not try, by reason"
    );
    describe_gauge!("tollgate_trunk_target_up", "1 if the target answers our OPTIONS");
    describe_gauge!("tollgate_registration_up", "1 while the trunk has us registered");
    describe_counter!(
        "tollgate_challenges_refused_total",
        "Challenges of a trunk that were not met: wrong user or secret, unknown algorithm or realm"
    );
    describe_gauge!(
        "tollgate_registrar_bindings",
        "Contacts that a trunk's PBX has registered with us and that hold now"
    );
    describe_counter!(
        "tollgate_registrar_refusals_total",
        "REGISTERs refused and INVITEs not believed by a trunk's registrar, by reason"
    );
}

/// What has happened to a trunk; all else is told elsewhere.
pub(super) fn event(event: Event) {
    match event {
        Event::PassedOver { trunk, reason } => {
            counter!("tollgate_trunk_passed_over_total", "trunk" => trunk, "reason" => reason)
                .increment(1);
        }
        Event::TargetUp { trunk, target, up, why } => {
            if up {
                tracing::info!(trunk, target, why, "target answers OPTIONS");
            } else {
                tracing::warn!(
                    trunk,
                    target,
                    why,
                    "target does not answer OPTIONS; new calls try the others first"
                );
            }
            gauge!("tollgate_trunk_target_up", "trunk" => trunk, "target" => target).set(if up {
                1.0
            } else {
                0.0
            });
        }
        Event::Registered { trunk, up, why } => {
            match up {
                Some(false) => tracing::warn!(
                    trunk,
                    why,
                    "trunk does not have us registered; new calls try the others first"
                ),
                Some(true) | None => tracing::info!(trunk, why, "registration"),
            }
            gauge!("tollgate_registration_up", "trunk" => trunk).set(if up == Some(true) {
                1.0
            } else {
                0.0
            });
        }
        Event::ChallengeRefused { trunk, why } => {
            tracing::warn!(trunk, why, "trunk challenged a request and got no answer it takes");
            counter!("tollgate_challenges_refused_total", "trunk" => trunk).increment(1);
        }
        Event::Bindings { trunk, bindings, why } => {
            let bindings = bindings.unwrap_or(0);
            tracing::info!(trunk, bindings, why, "bindings at the registrar have changed");
            #[expect(clippy::cast_precision_loss, reason = "bindings are few")]
            gauge!("tollgate_registrar_bindings", "trunk" => trunk).set(bindings as f64);
        }
        Event::RegistrarRefused { trunk, source, reason } => {
            tracing::warn!(trunk, %source, reason, "registrar refused a request");
            counter!("tollgate_registrar_refusals_total", "trunk" => trunk, "reason" => reason)
                .increment(1);
        }
        _ => {}
    }
}
