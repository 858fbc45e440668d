//! Whole calls, each test named by what goes wrong in it.
#![expect(clippy::expect_used, reason = "these are tests, their shared parts too")]

mod cancel;
mod carrier_calls_teams;
mod challenged;
mod datagrams_lost;
mod diverted_calls;
mod early_media_then_answer;
mod emergency_location;
mod ending;
mod flows;
mod fraud;
mod glare;
mod hook;
mod identity;
mod limits;
mod located;
mod named_events;
mod next_target;
mod offerless;
mod options;
mod overload;
mod prack;
mod random_flows;
mod refused;
mod registrar;
mod registration;
mod reinvite;
mod replaces;
mod routes;
mod session_timers;
mod sound;
mod teams_calls_carrier_and_hangs_up;
mod transfer;
mod update;
