//! The calls. Each is written as it happens; what must hold of it afterwards is in `verdicts`.

use super::attackers::attackers_beside_a_call_hear_and_change_nothing;
use super::audio::Audio;
use super::bad_line::a_bad_line_is_measured_as_tshark_sees_it;
use super::baresip::Agent;
use super::call::{Call, TALK, TALK_PACKETS, now, through_the_front, wait};
use super::capture::Capture;
use super::one_way::one_way_audio_has_one_cause_and_an_end;
use super::peers::{self, Sipp};
use super::reloads::{no_alarm_is_left_after_the_storm, tenants_come_and_go_while_calls_cross};
use super::sipp::Over;
use super::strangers::strangers_get_nothing;
use super::surprises::{SURPRISES, carrier_wants_us_to_register};
use super::tollgate::Metrics;
use super::verdicts::Crossing;
use super::{Lab, lab};
use crate::fail::{Outcome, ensure};
use serde_json::Value;
use std::time::Duration;

/// A scenario: what it plays, and how.
pub(super) type Scenario = Box<dyn Fn(&mut Lab) -> Outcome>;

/// All of them, in this order; the last one ends Tollgate.
pub(super) fn scenarios() -> Vec<(String, Scenario)> {
    let plain = |list: &'static [Plain]| {
        list.iter().map(|(name, play)| ((*name).to_owned(), Box::new(play) as Scenario))
    };
    let surprises = SURPRISES.iter().flat_map(|surprise| {
        [Over::Udp, Over::Tcp].map(|over| {
            let name = format!("{}_over_{}", surprise.name, over.name());
            (name, Box::new(move |lab: &mut Lab| surprise.play(lab, over)) as Scenario)
        })
    });
    plain(CALLS).chain(surprises).chain(plain(CLOSING)).collect()
}

/// One that is a function.
type Plain = (&'static str, fn(&mut Lab) -> Outcome);

/// Calls with audio, between people.
const CALLS: &[Plain] = &[
    ("carrier_calls_teams", carrier_calls_teams),
    ("teams_calls_carrier", teams_calls_carrier),
    ("carrier_holds_and_resumes", carrier_holds_and_resumes),
    ("teams_holds_and_resumes", teams_holds_and_resumes),
    ("sipp_calls_teams_with_rtp", sipp_calls_teams_with_rtp),
    ("a_bad_line_is_measured_as_tshark_sees_it", a_bad_line_is_measured_as_tshark_sees_it),
    ("one_way_audio_has_one_cause_and_an_end", one_way_audio_has_one_cause_and_an_end),
    ("first_trunk_answers_503_and_the_second_takes_the_call", first_trunk_answers_503),
    ("unknown_number_ends_with_404", unknown_number_ends_with_404),
    ("carrier_over_tls_and_srtp_calls_teams", carrier_over_tls_calls_teams),
    ("teams_calls_carrier_over_tls_and_srtp", teams_calls_carrier_over_tls),
    ("pbx_registers_and_is_called", pbx_registers_and_is_called),
    ("carrier_of_opus_alone_calls_teams", carrier_of_opus_alone_calls_teams),
    ("teams_calls_carrier_of_g722_alone", teams_calls_carrier_of_g722_alone),
    ("carrier_wants_us_to_register", carrier_wants_us_to_register),
    ("pebble_issues_by_http_01", super::certificates::pebble_issues_by_http_01),
    (
        "pebble_issues_and_renews_by_tls_alpn_01",
        super::certificates::pebble_issues_and_renews_by_tls_alpn_01,
    ),
    ("pebble_issues_a_wildcard_by_dns_01", super::certificates::pebble_issues_a_wildcard_by_dns_01),
    (
        "certificate_is_replaced_under_a_call",
        super::certificates::certificate_is_replaced_under_a_call,
    ),
    ("keys_by_info_reach_teams_as_events", super::keys::keys_by_info_reach_teams_as_events),
    ("a_held_pbx_hears_our_music", super::keys::a_held_pbx_hears_our_music),
    ("carrier_calls_teams_by_bypass", super::bypass::carrier_calls_teams_by_bypass),
    ("teams_calls_carrier_by_bypass", super::bypass::teams_calls_carrier_by_bypass),
    ("a_page_crosses_by_t38", super::fax::a_page_crosses_by_t38),
    ("a_fax_towards_teams_stays_in_audio", super::fax::a_fax_towards_teams_stays_in_audio),
    ("of_several_m_lines_one_is_taken", super::streams::of_several_m_lines_one_is_taken),
    ("clearmode_crosses_as_it_came", super::streams::clearmode_crosses_as_it_came),
    (
        "music_from_teams_comes_from_another_source_under_another_key",
        super::music::music_from_teams_comes_from_another_source_under_another_key,
    ),
    (
        "of_two_forks_the_one_that_sends_is_heard",
        super::ringing::of_two_forks_the_one_that_sends_is_heard,
    ),
    (
        "a_teams_user_hears_our_ringing_and_its_keys_become_tones",
        super::ringing::a_teams_user_hears_our_ringing_and_its_keys_become_tones,
    ),
    (
        "tones_in_a_carriers_speech_reach_teams_as_keys",
        super::ringing::tones_in_a_carriers_speech_reach_teams_as_keys,
    ),
    (
        "attackers_beside_a_call_hear_and_change_nothing",
        attackers_beside_a_call_hear_and_change_nothing,
    ),
];

/// After all calls.
const CLOSING: &[Plain] = &[
    ("tenants_come_and_go_while_calls_cross", tenants_come_and_go_while_calls_cross),
    ("no_alarm_is_left_after_the_storm", no_alarm_is_left_after_the_storm),
    ("strangers_get_nothing", strangers_get_nothing),
    ("books_balance", books_balance),
    ("stop_ends_both_legs", stop_ends_both_legs),
];

/// After a change of direction: both legs' re-INVITEs, and what was under way in the buffers.
const SETTLE: Duration = Duration::from_millis(800);

fn carrier_calls_teams(lab: &mut Lab) -> Outcome {
    let mut call = Call::begin(lab, "carrier_calls_teams")?;
    call.carrier_dials(lab)?;
    wait(TALK);
    call.carrier.command("hangup", "")?;
    let trace = call.ended_with_tones(lab)?;
    Crossing { trace: &trace, carrier: lab::CARRIER, early_max: 0 }.judge(lab, TALK_PACKETS)
}

fn teams_calls_carrier(lab: &mut Lab) -> Outcome {
    let mut call = Call::begin(lab, "teams_calls_carrier")?;
    call.user_dials(lab)?;
    wait(TALK);
    call.user.command("hangup", "")?;
    let trace = call.ended_with_tones(lab)?;
    Crossing { trace: &trace, carrier: lab::CARRIER, early_max: 0 }.judge(lab, TALK_PACKETS)
}

fn carrier_holds_and_resumes(lab: &mut Lab) -> Outcome {
    let mut call = Call::begin(lab, "carrier_holds")?;
    call.carrier_dials(lab)?;
    hold_and_resume(lab, call, |call| &mut call.carrier)
}

fn teams_holds_and_resumes(lab: &mut Lab) -> Outcome {
    let mut call = Call::begin(lab, "teams_holds")?;
    call.user_dials(lab)?;
    hold_and_resume(lab, call, |call| &mut call.user)
}

/// baresip sends again as soon as it has asked to resume. What comes before both sides have agreed meets a
/// leg that is still held and goes no further: two packets would take 40 ms to be asked and answered.
const EARLY_MAX: i64 = 2;

/// Talk, silence, talk again; the tones of the second part are judged on the wire, because baresip's
/// recordings end at the hold.
fn hold_and_resume(lab: &mut Lab, mut call: Call, who: fn(&mut Call) -> &mut Agent) -> Outcome {
    wait(TALK / 2);
    who(&mut call).command("hold", "")?;
    wait(SETTLE);
    let silence = now()?;
    wait(TALK / 3);
    let silence_ends = now()?;
    who(&mut call).command("resume", "")?;
    wait(SETTLE);
    let resumed = now()?;
    wait(TALK / 2);
    who(&mut call).command("hangup", "")?;
    let trace = call.ended(lab)?;
    let crossing = Crossing { trace: &trace, carrier: lab::CARRIER, early_max: EARLY_MAX };
    crossing.silent(silence, silence_ends)?;
    crossing.gaps_only_across(silence, silence_ends)?;
    crossing.tones_since(resumed, lab::CARRIER_TONE, lab::USER_TONE)?;
    crossing.judge(lab, TALK_PACKETS * 3 / 4)
}

fn sipp_calls_teams_with_rtp(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("sipp_calls")?;
    let capture = Capture::start(&folder)?;
    let mut user = peers::user(&folder)?;
    let caller = Sipp::caller(&folder, lab::SECOND)?;
    lab.plays(&mut user, caller)?;
    let heard = Audio::from_wav(&user.recording()?)?;
    heard.must_be(lab::SIPP_TONE, "the Teams user's recording")?;
    let trace = capture.stop()?;
    Crossing { trace: &trace, carrier: lab::SECOND, early_max: 0 }.judge(lab, ECHO_PACKETS)
}

/// SIPp's tone lasts five seconds; less half a second for the ends.
const ECHO_PACKETS: u64 = 225;

fn first_trunk_answers_503(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("failover")?;
    let capture = Capture::start(&folder)?;
    let busy = Sipp::busy(&folder, lab::BUSY)?;
    let second = Sipp::answerer(&folder, lab::SECOND)?;
    let mut user = peers::user(&folder)?;
    user.command("dial", &through_the_front(lab::SECOND_NUMBER))?;
    lab.calls += 1;
    user.wait_for("CALL_ESTABLISHED")?;
    wait(TALK);
    user.command("hangup", "")?;
    user.wait_for("CALL_CLOSED")?;
    busy.completes()?;
    second.completes()?;
    lab.tollgate.is_empty_again()?;
    let heard = Audio::from_wav(&user.recording()?)?;
    heard.must_be(lab::USER_TONE, "the Teams user's own voice, back from the carrier")?;
    let trace = capture.stop()?;
    let record =
        Crossing { trace: &trace, carrier: lab::SECOND, early_max: 0 }.judged(lab, TALK_PACKETS)?;
    let tried: Vec<&str> = record["attempts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|attempt| attempt["trunk"].as_str())
        .collect();
    ensure(tried == ["busy", "second"], || format!("tried {tried:?}: {record}"))
}

/// Nobody has this number: the caller hears so, and Teams nothing.
fn unknown_number_ends_with_404(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("unknown")?;
    let capture = Capture::start(&folder)?;
    let mut carrier = peers::carrier(&folder)?;
    carrier.command("dial", &format!("sip:+4930999999@{}", lab::BORDER_SIP))?;
    carrier.wait_for("CALL_CLOSED")?;
    let trace = capture.stop()?;
    let refused = trace.sip(lab::BORDER, lab::CARRIER).any(|sip| sip.starts_with("SIP/2.0 404 "));
    ensure(refused, || "the caller got no 404".to_owned())?;
    let leaked = trace.sip(lab::FRONT, lab::USER).any(|sip| sip.starts_with("INVITE "));
    ensure(!leaked, || "the call reached Teams".to_owned())?;
    lab.calls += 1;
    let record = lab.tollgate.record(lab.calls)?;
    let said = record["status"] == 404 && record["cause"] == "unknown_tenant";
    ensure(said, || format!("the record does not say why: {record}"))
}

/// SIP over mutual TLS and SRTP on both legs: the ear is in the recordings, as nothing is plain on the wire.
fn carrier_over_tls_calls_teams(lab: &mut Lab) -> Outcome {
    let mut call = Call::secure(lab, "carrier_over_tls_calls")?;
    let callee = format!("sip:{}@{};transport=tls", lab::USER_NUMBER, lab::BORDER_SECURE);
    call.carrier.command("dial", &callee)?;
    call.is_up(lab)?;
    wait(TALK);
    call.carrier.command("hangup", "")?;
    call.ended_with_tones(lab).map(drop)
}

fn teams_calls_carrier_over_tls(lab: &mut Lab) -> Outcome {
    let mut call = Call::secure(lab, "teams_calls_over_tls")?;
    call.user.command("dial", &through_the_front(lab::SECURE_NUMBER))?;
    call.is_up(lab)?;
    wait(TALK);
    call.user.command("hangup", "")?;
    call.ended_with_tones(lab).map(drop)
}

/// Nobody has told Tollgate where the PBX is but the PBX; its RTP comes from another address than it says.
fn pbx_registers_and_is_called(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("pbx")?;
    let capture = Capture::start(&folder)?;
    let carrier = peers::pbx(&folder)?;
    lab.tollgate.sees("tollgate_registrar_bindings", "trunk=\"pbx\"")?;
    let mut call = Call { capture, carrier, user: peers::user(&folder)? };
    call.user.command("dial", &through_the_front(lab::PBX_NUMBER))?;
    call.is_up(lab)?;
    wait(TALK);
    call.user.command("hangup", "")?;
    call.ended_with_tones(lab).map(drop)
}

/// The Teams user has G.711 alone: each hears the other in its own codec.
fn carrier_of_opus_alone_calls_teams(lab: &mut Lab) -> Outcome {
    let mut call = Call::in_codec(lab, "opus", ("opus/48000/2", "opus"))?;
    call.carrier_dials(lab)?;
    wait(TALK);
    call.carrier.command("hangup", "")?;
    call.ended_transcoded(lab, ["opus", "PCMU"])
}

fn teams_calls_carrier_of_g722_alone(lab: &mut Lab) -> Outcome {
    let mut call = Call::in_codec(lab, "g722", ("G722/16000", "g722"))?;
    call.user_dials(lab)?;
    wait(TALK);
    call.user.command("hangup", "")?;
    call.ended_transcoded(lab, ["PCMU", "G722"])
}

/// What was played is what the metrics and the records say.
fn books_balance(lab: &mut Lab) -> Outcome {
    let metrics = Metrics::scrape()?;
    let records = lab.tollgate.records()?;
    ensure(records.len() == lab.calls, || {
        format!("{} records of {} calls", records.len(), lab.calls)
    })?;
    // What went out to a target was a call and ended; what did not was rejected.
    let went_out = |record: &&Value| record["attempts"].as_array().is_some_and(|it| !it.is_empty());
    let out = records.iter().filter(went_out).count();
    let ended = metrics.sum("tollgate_calls_total", &[]);
    let rejected = metrics.sum("tollgate_rejects_total", &[]);
    let agree = ended == out as f64 && rejected >= (records.len() - out) as f64;
    ensure(agree, || {
        format!(
            "the metrics know {ended} ended and {rejected} rejected of {out} that went out and {} in all",
            lab.calls
        )
    })?;
    let refused = metrics.sum("tollgate_peer_refusals_total", &[]);
    ensure(refused >= lab.refusals as f64, || {
        format!("tollgate_peer_refusals_total is {refused} after {} strangers", lab.refusals)
    })?;
    let active = metrics.sum("tollgate_calls_active", &[]);
    ensure(active == 0.0, || format!("tollgate_calls_active is {active}"))?;
    let ports = metrics.sum("tollgate_media_ports_in_use", &[]);
    ensure(ports == 0.0, || format!("tollgate_media_ports_in_use is {ports}"))
}

/// SIGTERM during a call: both sides get their BYE, and the exit is clean.
fn stop_ends_both_legs(lab: &mut Lab) -> Outcome {
    let mut call = Call::begin(lab, "stop")?;
    call.carrier_dials(lab)?;
    wait(SETTLE);
    let status = lab.tollgate.terminate()?;
    ensure(status.success(), || format!("tollgate ended with {status}"))?;
    call.carrier.wait_for("CALL_CLOSED")?;
    call.user.wait_for("CALL_CLOSED")?;
    let trace = call.capture.stop()?;
    let crossing = Crossing { trace: &trace, carrier: lab::CARRIER, early_max: 0 };
    crossing.ended_cleanly()?;
    crossing.recorded(&lab.tollgate.record(lab.calls)?)
}
