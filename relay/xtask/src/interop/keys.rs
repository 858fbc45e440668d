//! Keys and sounds of ours between real peers.

use super::audio::mulaw_tone;
use super::capture::Capture;
use super::peers::{self, Sipp};
use super::sipp::Over;
use super::sipp::{self, Role};
use super::{Lab, lab};
use crate::fail::{Outcome, While, ensure};
use std::time::Duration;

/// What SIPp presses.
const PRESSED: &str = "5#08*";

/// SIPp tells keys by INFO, and the Teams user is told them by telephone events.
pub(super) fn keys_by_info_reach_teams_as_events(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("keys_by_info")?;
    let capture = Capture::start(&folder)?;
    let mut user = peers::user(&folder)?;
    let keys: String =
        PRESSED.chars().map(|key| format!("> INFO key {key}\n< 200\npause 400\n")).collect();
    let ladder = format!(
        "> INVITE sdp\n< 100?\n< 180?\n< 183?\n< 200\n> ACK\npause 1000\n{keys}pause 500\n> BYE\n< 200"
    );
    let scenario = sipp::xml("keys", Role::Caller, Over::Udp, &ladder);
    let number = Some(lab::USER_NUMBER);
    let caller = Sipp::plays(&folder, "keys", &scenario, lab::CALLER, Over::Udp, number)?;
    lab.plays(&mut user, caller)?;
    let told = user.keys()?.to_owned();
    drop(user);
    let trace = capture.stop()?;
    // A telephone event with its tag: header, four octets, ten.
    let events = trace.rtp(lab::BORDER, lab::USER).filter(|it| it.payload.len() == 26).count();
    ensure(told == PRESSED, || format!("the Teams user was told {told:?}, not {PRESSED:?}"))?;
    // 160 ms in reports of 20 ms, and the last one twice more.
    ensure(events == 10 * PRESSED.len(), || format!("{events} telephone events"))
}

/// The Teams user holds, and the PBX hears the music of its trunk.
pub(super) fn a_held_pbx_hears_our_music(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("music")?;
    let capture = Capture::start(&folder)?;
    let mut pbx = peers::pbx(&folder)?;
    lab.tollgate.sees("tollgate_registrar_bindings", "trunk=\"pbx\"")?;
    let mut user = peers::user(&folder)?;
    user.command("dial", &super::call::through_the_front(lab::PBX_NUMBER))?;
    lab.calls += 1;
    user.wait_for("CALL_ESTABLISHED")?;
    std::thread::sleep(Duration::from_secs(2));
    user.command("hold", "")?;
    std::thread::sleep(Duration::from_secs(1));
    let held = super::call::now()?;
    std::thread::sleep(Duration::from_secs(4));
    user.command("resume", "")?;
    std::thread::sleep(Duration::from_secs(1));
    let resumed = super::call::now()?;
    std::thread::sleep(Duration::from_secs(2));
    user.command("hangup", "")?;
    user.wait_for("CALL_CLOSED")?;
    lab.tollgate.is_empty_again()?;
    pbx.command("quit", "").ok();
    let trace = capture.stop()?;
    // baresip's RTP leaves from its host's first address, and is answered there.
    let packets: Vec<_> = trace
        .rtp(lab::BORDER, lab::CARRIER)
        .filter(|it| (held..held + 3.5).contains(&it.at))
        .collect();
    let heard =
        super::audio::Audio::from_mulaw(packets.iter().filter_map(|it| it.payload.get(12..)));
    heard.must_be(MUSIC, "what the PBX hears in the hold")?;
    trace.plain_audio(lab::BORDER, lab::CARRIER, resumed).must_be(lab::USER_TONE, "after the hold")
}

/// In Hz.
const MUSIC: u16 = 700;

/// A WAV file in mu-law.
pub(super) fn music(folder: &std::path::Path) -> Outcome {
    let samples = mulaw_tone(MUSIC, 3);
    let mut octets = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x07\0\x01\0".to_vec();
    octets.extend(8000_u32.to_le_bytes());
    octets.extend(8000_u32.to_le_bytes());
    octets.extend([1, 0, 8, 0]);
    octets.extend(b"data");
    octets.extend((samples.len() as u32).to_le_bytes());
    octets.extend(samples);
    std::fs::write(folder.join("music.wav"), octets).while_("music.wav")
}
