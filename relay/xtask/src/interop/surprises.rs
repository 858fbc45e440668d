//! What goes wrong between SIPp on one trunk and SIPp on another, each over UDP and over TCP.

use super::peers::Sipp;
use super::sipp::{Over, Role, xml};
use super::{Lab, lab};
use crate::fail::{Outcome, ensure};

/// One call and what goes wrong in it.
pub(super) struct Surprise {
    pub(super) name: &'static str,
    caller: &'static str,
    /// Nobody, where the call must not get that far.
    callee: Option<&'static str>,
    /// Status and cause in the call's record.
    ends: (u16, &'static str),
}

/// The number whose route leads to the callee over this transport.
const fn number(over: Over) -> &'static str {
    match over {
        Over::Udp => lab::OVER_UDP,
        Over::Tcp => lab::OVER_TCP,
    }
}

pub(super) const POLITE_CALLER: &str = "
    > INVITE sdp
    < 100?
    < 180?
    < 200
    > ACK
    pause 300
    > BYE
    < 200";

pub(super) const POLITE_CALLEE: &str = "
    < INVITE
    > 180
    pause 100
    > 200 sdp
    < ACK
    < BYE
    > 200";

const HUNG_UP: (u16, &str) = (200, "caller_hangup");

/// Named by what goes wrong.
pub(super) const SURPRISES: &[Surprise] = &[
    Surprise {
        name: "ack_is_lost",
        caller: "
            > INVITE sdp
            < 100?
            < 180?
            < 200
            < 200 again
            > ACK
            pause 300
            > BYE
            < 200",
        callee: Some(POLITE_CALLEE),
        ends: HUNG_UP,
    },
    Surprise {
        name: "200_comes_twice_and_its_ack_too",
        caller: "
            > INVITE sdp
            < 100?
            < 180?
            < 200
            > ACK
            pause 3000
            > BYE
            < 200",
        callee: Some(
            "
            < INVITE
            > 180
            > 200 sdp
            < ACK
            > 200 sdp for INVITE
            < ACK again
            < BYE
            > 200",
        ),
        ends: HUNG_UP,
    },
    Surprise {
        name: "180_and_200_come_back_to_back",
        caller: POLITE_CALLER,
        callee: Some(
            "
            < INVITE
            > 180
            > 200 sdp
            < ACK
            < BYE
            > 200",
        ),
        ends: HUNG_UP,
    },
    Surprise {
        name: "cancel_is_heard",
        caller: "
            > INVITE sdp
            < 100?
            < 180
            > CANCEL
            < 200
            < 487
            > ACK",
        callee: Some(
            "
            < INVITE
            > 180
            < CANCEL
            > 200
            > 487 for INVITE
            < ACK",
        ),
        ends: (487, "cancelled"),
    },
    Surprise {
        name: "cancel_crosses_200",
        caller: "
            > INVITE sdp
            < 100?
            < 180
            > CANCEL
            < 200
            < 487
            > ACK",
        callee: Some(
            "
            < INVITE
            > 180
            < CANCEL
            > 200
            > 200 sdp for INVITE
            < ACK
            < BYE
            > 200",
        ),
        ends: (487, "cancelled"),
    },
    Surprise {
        name: "invite_without_offer",
        caller: "
            > INVITE
            < 100?
            < 180?
            < 200 | ~application/sdp
            > ACK sdp
            pause 300
            > BYE
            < 200",
        callee: Some(
            "
            < INVITE | ~application/sdp
            > 180
            pause 100
            > 200 sdp
            < ACK
            < BYE
            > 200",
        ),
        ends: HUNG_UP,
    },
    Surprise {
        name: "callee_redirects",
        caller: "
            > INVITE sdp
            < 100?
            < 503
            > ACK",
        callee: Some(
            "
            < INVITE
            > 302 | Contact: <sip:+4930111@198.18.0.9>
            < ACK",
        ),
        ends: (503, "trunk_down"),
    },
    Surprise {
        name: "callee_is_busy",
        caller: "
            > INVITE sdp
            < 100?
            < 180?
            < 486
            > ACK",
        callee: Some(
            "
            < INVITE
            > 180
            > 486
            < ACK",
        ),
        ends: (486, "busy"),
    },
    Surprise {
        name: "callee_asks_for_credentials",
        caller: "
            > INVITE sdp
            < 100?
            < 180?
            < 200
            > ACK
            pause 300
            > BYE
            < 200",
        callee: Some(
            "
            < INVITE
            > 401 | WWW-Authenticate: Digest realm=\"callee\", nonce=\"84f1c1ae\", algorithm=MD5, qop=\"auth\"
            < ACK
            < INVITE | credentials
            > 180
            > 200 sdp
            < ACK
            < BYE
            > 200",
        ),
        ends: HUNG_UP,
    },
    // SIPp verifies Authorization only; of this one it sees that it is there.
    Surprise {
        name: "proxy_asks_for_credentials",
        caller: POLITE_CALLER,
        callee: Some(
            "
            < INVITE
            > 407 | Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"0a1b2c3d\", algorithm=SHA-256, qop=\"auth\"
            < ACK
            < INVITE | ~Proxy-Authorization: Digest .*algorithm=SHA-256.*nc=00000001
            > 180
            > 200 sdp
            < ACK
            < BYE
            > 200",
        ),
        ends: HUNG_UP,
    },
    Surprise {
        name: "callee_does_not_take_our_credentials",
        caller: "
            > INVITE sdp
            < 100?
            < 503
            > ACK",
        callee: Some(
            "
            < INVITE
            > 401 | WWW-Authenticate: Digest realm=\"callee\", nonce=\"84f1c1ae\", algorithm=MD5, qop=\"auth\"
            < ACK
            < INVITE | ~Authorization: Digest
            > 401 | WWW-Authenticate: Digest realm=\"callee\", nonce=\"95a2d2bf\", algorithm=MD5, qop=\"auth\"
            < ACK",
        ),
        ends: (503, "trunk_down"),
    },
    Surprise {
        name: "callee_insists_on_prack",
        caller: POLITE_CALLER,
        callee: Some(
            "
            < INVITE | ~Supported: 100rel
            > 180 | Require: 100rel | RSeq: 4711
            < PRACK | ~RAck: 4711 1 INVITE
            > 200
            > 200 sdp for INVITE
            < ACK
            < BYE
            > 200",
        ),
        ends: HUNG_UP,
    },
    Surprise {
        name: "caller_insists_on_prack",
        caller: "
            > INVITE sdp | Require: 100rel | Supported: 100rel
            < 100?
            < 180 | ~Require: .*100rel | ~RSeq: [0-9]+
            > PRACK | RAck: [$rseq] 1 INVITE
            < 200
            < 200
            > ACK
            pause 300
            > BYE
            < 200",
        callee: Some(POLITE_CALLEE),
        ends: HUNG_UP,
    },
    Surprise {
        name: "session_interval_is_too_small",
        caller: "
            > INVITE sdp | Supported: timer | Session-Expires: 30
            < 100?
            < 422 | ~Min-SE: 90
            > ACK",
        callee: None,
        ends: (422, "session_too_short"),
    },
    Surprise {
        name: "caller_refreshes_by_update_and_by_reinvite",
        caller: "
            > INVITE sdp | Supported: timer | Session-Expires: 1800;refresher=uac
            < 100?
            < 180?
            < 200 | ~Session-Expires: 1800
            > ACK
            > UPDATE | Supported: timer | Session-Expires: 1800;refresher=uac
            < 200
            > INVITE sdp | Supported: timer | Session-Expires: 1800;refresher=uac
            < 100?
            < 200
            > ACK
            > BYE
            < 200",
        callee: Some(POLITE_CALLEE),
        ends: HUNG_UP,
    },
    Surprise {
        name: "twenty_record_routes",
        caller: POLITE_CALLER,
        callee: Some(
            "
            < INVITE
            > 180
            > 200 sdp | Record-Route: <sip:[local_ip]:[local_port];lr;transport=[transport]>, <sip:r02.example;lr>, <sip:r03.example;lr>, <sip:r04.example;lr>, <sip:r05.example;lr>, <sip:r06.example;lr>, <sip:r07.example;lr>, <sip:r08.example;lr>, <sip:r09.example;lr>, <sip:r10.example;lr> | Record-Route: <sip:r11.example;lr>, <sip:r12.example;lr>, <sip:r13.example;lr>, <sip:r14.example;lr>, <sip:r15.example;lr>, <sip:r16.example;lr>, <sip:r17.example;lr>, <sip:r18.example;lr>, <sip:r19.example;lr>, <sip:[local_ip]:[local_port];lr;transport=[transport];last>
            < ACK | ~Route: .*last.*r19.*r18.*r11.*r10.*r02
            < BYE | ~Route: .*last.*r19.*r18.*r11.*r10.*r02
            > 200",
        ),
        ends: HUNG_UP,
    },
    Surprise {
        name: "unknown_extension_is_required",
        caller: "
            > INVITE sdp | Require: moon-phase
            < 100?
            < 420 | ~Unsupported: moon-phase
            > ACK",
        callee: None,
        ends: (0, ""),
    },
];

/// A registrar that asks for credentials, is registered with, and is left.
const REGISTRAR: &str = "
    < REGISTER
    > 401 | WWW-Authenticate: Digest realm=\"registrar\", nonce=\"1c2d3e4f\", algorithm=MD5, qop=\"auth\"
    < REGISTER | credentials
    > 200 | Expires: 600
    < REGISTER | ~Expires: 0
    > 200";

/// A trunk appears that wants us to register; when it goes, we take our leave.
pub(super) fn carrier_wants_us_to_register(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("register")?;
    let scenario = xml("registrar", Role::Callee, Over::Udp, REGISTRAR);
    let registrar = Sipp::plays(&folder, "registrar", &scenario, lab::REGISTRAR, Over::Udp, None)?;
    lab.tollgate.reconfigure(REGISTERING_TRUNK)?;
    lab.tollgate.sees("tollgate_registration_up", "trunk=\"registrar\"")?;
    lab.tollgate.reconfigure("")?;
    registrar.completes()
}

const REGISTERING_TRUNK: &str = r#"
[[trunk]]
name = "registrar"
kind = "carrier"
listener = "carriers"
targets = ["192.0.2.6:5060"]
sources = ["192.0.2.6/32"]
options_interval = "off"
srtp = "off"

[trunk.auth]
user = "trunk-7"
secret_file = "sipp.secret"

[trunk.register]
"#;

impl Surprise {
    /// Plays it; both sides go through their scenario step by step, and the books say how it ended.
    pub(super) fn play(&self, lab: &mut Lab, over: Over) -> Outcome {
        let folder = lab.scratch(&format!("{}_over_{}", self.name, over.name()))?;
        let callee = self.callee.map(|ladder| xml(self.name, Role::Callee, over, ladder));
        let callee = callee
            .map(|scenario| Sipp::plays(&folder, "callee", &scenario, lab::CALLEE, over, None));
        let callee = callee.transpose()?;
        let caller = xml(self.name, Role::Caller, over, self.caller);
        let number = Some(number(over));
        let caller = Sipp::plays(&folder, "caller", &caller, lab::CALLER, over, number)?;
        caller.completes()?;
        if let Some(callee) = callee {
            callee.completes()?;
        }
        lab.tollgate.is_empty_again()?;
        let (status, cause) = self.ends;
        // What was refused before it was a call leaves no record.
        if cause.is_empty() {
            return Ok(());
        }
        lab.calls += 1;
        let record = lab.tollgate.record(lab.calls)?;
        ensure(record["status"] == status && record["cause"] == cause, || {
            format!("the record says otherwise: {record}")
        })
    }
}
