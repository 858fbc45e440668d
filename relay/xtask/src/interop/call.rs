//! A call between the two user agents, with everything captured, and what every scenario does with one.

use super::audio::Audio;
use super::baresip::Agent;
use super::capture::{Capture, Trace};
use super::verdicts::Crossing;
use super::{Lab, lab, peers};
use crate::fail::{Outcome, While, ensure};
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

/// How long people talk: enough for a second of audio in the middle and a report of RTCP.
pub(super) const TALK: Duration = Duration::from_secs(6);

/// Packets of [`TALK`] at 20 ms, less half a second for the ends of a call.
pub(super) const TALK_PACKETS: u64 = 275;

/// A call between the two user agents, with everything captured.
pub(super) struct Call {
    pub(super) capture: Capture,
    pub(super) carrier: Agent,
    pub(super) user: Agent,
}

impl Call {
    pub(super) fn begin(lab: &Lab, name: &str) -> Outcome<Self> {
        let folder = lab.scratch(name)?;
        let capture = Capture::start(&folder)?;
        Ok(Self { capture, carrier: peers::carrier(&folder)?, user: peers::user(&folder)? })
    }

    /// The same with the carrier that speaks TLS and SRTP.
    pub(super) fn secure(lab: &Lab, name: &str) -> Outcome<Self> {
        let folder = lab.scratch(name)?;
        let capture = Capture::start(&folder)?;
        let carrier = peers::secure_carrier(&folder, &lab.secure)?;
        Ok(Self { capture, carrier, user: peers::user(&folder)? })
    }

    /// The same with a carrier that speaks one codec alone.
    pub(super) fn in_codec(lab: &Lab, name: &str, (codec, module): (&str, &str)) -> Outcome<Self> {
        let folder = lab.scratch(name)?;
        let capture = Capture::start(&folder)?;
        let carrier = peers::carrier_of(&folder, codec, module)?;
        Ok(Self { capture, carrier, user: peers::user(&folder)? })
    }

    /// Each has heard the other's tone, and the record says between which codecs.
    pub(super) fn ended_transcoded(self, lab: &Lab, codecs: [&str; 2]) -> Outcome {
        self.ended_with_tones(lab)?;
        let record = lab.tollgate.record(lab.calls)?;
        ensure(record["transcoded"] == serde_json::json!(codecs), || {
            format!("the record does not say that it was transcoded: {record}")
        })
    }

    pub(super) fn carrier_dials(&mut self, lab: &mut Lab) -> Outcome {
        let callee = format!("sip:{}@{}", lab::USER_NUMBER, lab::BORDER_SIP);
        self.carrier.command("dial", &callee)?;
        self.is_up(lab)
    }

    pub(super) fn user_dials(&mut self, lab: &mut Lab) -> Outcome {
        self.user.command("dial", &through_the_front(lab::CARRIER_NUMBER))?;
        self.is_up(lab)
    }

    pub(super) fn is_up(&mut self, lab: &mut Lab) -> Outcome {
        lab.calls += 1;
        self.carrier.wait_for("CALL_ESTABLISHED")?;
        self.user.wait_for("CALL_ESTABLISHED")?;
        let calls = lab.tollgate.calls()?;
        ensure(calls == 1, || format!("`tollgate calls` shows {calls} calls during one"))
    }

    /// Both sides learn that it is over, and Tollgate forgets it.
    pub(super) fn is_over(&mut self, lab: &Lab) -> Outcome {
        self.carrier.wait_for("CALL_CLOSED")?;
        self.user.wait_for("CALL_CLOSED")?;
        lab.tollgate.is_empty_again()
    }

    pub(super) fn ended(mut self, lab: &Lab) -> Outcome<Trace> {
        self.is_over(lab)?;
        self.capture.stop()
    }

    /// The same, and each side's recording holds the other side's tone.
    pub(super) fn ended_with_tones(mut self, lab: &Lab) -> Outcome<Trace> {
        self.is_over(lab)?;
        let heard = Audio::from_wav(&self.carrier.recording()?)?;
        heard.must_be(lab::USER_TONE, "the carrier's recording")?;
        let heard = Audio::from_wav(&self.user.recording()?)?;
        heard.must_be(lab::CARRIER_TONE, "the Teams user's recording")?;
        self.capture.stop()
    }
}

impl Crossing<'_> {
    /// Everything that holds of any answered call.
    pub(super) fn judge(&self, lab: &Lab, packets_min: u64) -> Outcome {
        self.judged(lab, packets_min).map(drop)
    }

    /// The same, with the call's record for more questions.
    pub(super) fn judged(&self, lab: &Lab, packets_min: u64) -> Outcome<serde_json::Value> {
        self.nothing_lost(packets_min)?;
        self.teams_leg_is_sealed()?;
        self.ended_cleanly()?;
        self.legs_share_nothing()?;
        let record = lab.tollgate.record(lab.calls)?;
        self.recorded(&record)?;
        Ok(record)
    }
}

/// What the Teams user dials to reach a number outside.
pub(super) fn through_the_front(number: &str) -> String {
    let front: Ipv4Addr = lab::FRONT;
    format!("sip:{number}@{front}:{}", lab::SIP_PORT)
}

pub(super) fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Seconds since the epoch, the clock of the capture.
pub(super) fn now() -> Outcome<f64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).while_("clock")?;
    Ok(since.as_secs_f64())
}
