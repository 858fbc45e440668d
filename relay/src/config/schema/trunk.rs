//! `[[trunk]]` and the tables in it.

use super::Kind::{Flag, List, OneOrMore, Table as One, Tables as Several, Text, Whole, Words};
use super::shapes::{CIDR, COUNTRY, DURATION, DURATION_OR_OFF, FQDN, NAME, PORTS, TARGET};
use super::{Kind, Table, guard, key, rules, table};

/// A crypto suite of SRTP.
const SUITE: Kind = Words(&[
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_80",
    "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM",
]);

pub(super) const TRUNK: Table = table(
    "Microsoft Teams, a carrier or a PBX.",
    &[
        key("name", NAME, "What routes call it.").required(),
        key("kind", Words(&["teams", "carrier"]), "Microsoft Teams, or anybody else.").required(),
        key("listener", NAME, "The listener that its calls come in on and go out from.").required(),
        key(
            "cloud",
            Words(&["commercial", "gcc-high", "dod"]),
            "Which of Microsoft's clouds a Teams trunk leads to; commercial holds GCC.",
        )
        .default("commercial"),
        key(
            "fqdn",
            FQDN,
            "The name that Microsoft knows a Teams trunk by, if it is not that of [node].",
        ),
        key(
            "targets",
            List(&TARGET),
            "Where calls go, in order. A name without a port is looked up by NAPTR and SRV. A Teams trunk has Microsoft's.",
        ),
        key(
            "sources",
            List(&CIDR),
            "Address blocks that messages may come from; nobody else gets an answer. A Teams trunk has Microsoft's.",
        ),
        key(
            "roots",
            OneOrMore(&Text),
            "What the far side's certificate chains to, one or a list: \"microsoft\" (that of Teams, if nothing is written), \"system\", or a PEM file.",
        ),
        key("peer_names", List(&TARGET), "The names of which its certificate carries one."),
        key(
            "options_interval",
            DURATION_OR_OFF,
            "How often OPTIONS is sent to each target; \"off\": never, and every target counts as up.",
        )
        .default("60s"),
        key(
            "session_timer",
            DURATION_OR_OFF,
            "How long a call may go on without a sign of life (RFC 4028); \"off\": no matter how long.",
        )
        .default("30m"),
        key("session_timer_min", DURATION, "The shortest session timer that the far side may ask for.")
            .default("90s"),
        key(
            "srtp",
            Words(&["required", "preferred", "off"]),
            "Whether audio is encrypted; required with Teams, off with a carrier if left out.",
        ),
        key(
            "srtp_suites",
            List(&SUITE),
            "The crypto suites of a carrier, first preferred: each is offered, and the first that is offered taken.",
        )
        .default("[\"AES_CM_128_HMAC_SHA1_80\", \"AES_CM_128_HMAC_SHA1_32\"]"),
        key(
            "srtp_keying",
            Words(&["sdes", "dtls"]),
            "How the keys of SRTP with a carrier are agreed: in SDP, or by a DTLS handshake in the media.",
        )
        .default("sdes"),
        key(
            "srtp_passthrough",
            Flag,
            "Whether a call's far sides are told each other's SRTP keys, so that nothing is decrypted; only where both trunks of a call say so.",
        )
        .default("false"),
        key(
            "bypass",
            Flag,
            "Media bypass: audio comes from Teams clients themselves, found by ICE. Wants a listener of its own.",
        )
            .default("false"),
        key(
            "ice",
            Words(&["off", "lite", "full"]),
            "Connectivity checks (RFC 8445) with a carrier: only answered, or sent, too.",
        )
        .default("off"),
        key(
            "ice_timeout",
            DURATION_OR_OFF,
            "How long nothing at all may come on a leg with ICE that is not held; then its call ends. 10s to 10m.",
        )
        .default("30s"),
        key("media", NAME, "The media address of its calls; the first if left out."),
        key(
            "media_inside",
            NAME,
            "For Teams with Local Media Optimization: the media address for users inside the corporate network.",
        ),
        key("ports", PORTS, "Which ports of that address its calls get; all of them if left out."),
        key("dscp", Whole(0, 63), "What its audio is marked with; what that of its media address is if left out."),
        key(
            "symmetric_rtp",
            Flag,
            "For a carrier behind NAT: send RTP and SIP where they come from, not where they say.",
        )
        .default("false"),
        key(
            "rtcp",
            Words(&["relay", "terminate"]),
            "Whether RTCP passes to the other side and back, or ends here: then both sides get reports of what we measure. Where a side sends none, we make it either way.",
        )
        .default("relay"),
        key(
            "media_timeout",
            DURATION_OR_OFF,
            "A call ends if neither side has sent RTP or RTCP for so long and nobody holds; 15s to 24h. Of two trunks that say, the longer counts.",
        )
        .default("off"),
        key(
            "relatch_after",
            DURATION_OR_OFF,
            "With symmetric_rtp: after so much silence RTP may come from elsewhere; \"off\": after a re-INVITE only.",
        )
        .default("off"),
        key(
            "comfort_noise",
            Flag,
            "Whether it gets comfort noise while the other side is silent, as packets keep coming then.",
        )
        .default("false"),
        key(
            "music_on_hold",
            Text,
            "What a carrier hears that is held: \"tone\", or a WAV file; what Teams sends if left out.",
        ),
        key(
            "dtmf",
            Words(&["auto", "rfc4733", "info", "inband"]),
            "How keys are told to and by a carrier: telephone events, SIP INFO, or tones in the speech.",
        )
        .default("auto"),
        key(
            "fax",
            Words(&["t38", "audio"]),
            "Whether a fax of a carrier may go on by T.38 over UDPTL, where the other trunk lets it, too, or stays in the audio.",
        )
        .default("t38"),
        key(
            "transfer",
            Words(&["refer", "none"]),
            "Whether a PBX may transfer its calls by REFER, to numbers of the same tenant.",
        )
        .default("none"),
        key(
            "reliable",
            Words(&["off", "supported", "required"]),
            "Reliable provisional responses (PRACK) with a carrier.",
        )
        .default("supported"),
        key(
            "follow_redirects",
            Flag,
            "Whether 300, 301 and 302 are followed, to Contacts on hosts of targets and sources only.",
        )
        .default("false"),
        key(
            "identity",
            Words(&["trusted", "untrusted"]),
            "Whether it is told who calls when the caller hides, and believed when it says who calls.",
        )
        .default("trusted"),
        key(
            "privacy_id",
            Words(&["honour", "if-anonymous", "strip"]),
            "What Privacy: id in a call from it means.",
        )
        .default("honour"),
        key(
            "forwarding",
            Words(&["diversion", "history-info", "both", "none"]),
            "How it is told who diverted a call.",
        )
        .default("diversion"),
        key(
            "geolocation",
            Words(&["emergency", "pass", "strip"]),
            "Whether it is told where the caller is: for emergency calls, always, never.",
        )
        .default("emergency"),
        key(
            "identity_diverted",
            Words(&["caller", "diverter"]),
            "Whom P-Asserted-Identity names in a call that was diverted: who calls, or who diverted it last.",
        )
        .default("caller"),
        key(
            "reason",
            Words(&["derive", "pass", "drop"]),
            "What it is told in Reason: the cause that goes with the status, the far side's, nothing.",
        )
        .default("derive"),
        key(
            "format",
            Words(&["e164", "plain", "international", "national"]),
            "How it is told numbers: +49301, 49301, 0049301 or 0301; as they are if left out.",
        ),
        key("rewrite", Several(&rules::TRUNK_REWRITE), "Changes of numbers from and to it."),
        key("header", Several(&rules::TRUNK_HEADER), "Changes of header lines in INVITEs to it."),
        rules::CODECS,
        key(
            "transcode",
            Flag,
            "Whether calls without a codec in common are transcoded; what the other trunk or the tenant says if left out.",
        ),
        key(
            "ringback",
            Words(&["pass", "all", "first", "local", "tone"]),
            "What callers are told and hear before it answers: its early media and what it says, the first of that alone, a tone of their own side, or one of ours; what the tenant says if left out.",
        ),
        key(
            "early_media",
            Words(&["open", "authorized"]),
            "Whether a carrier may send early media unless P-Early-Media forbids it, or only where that authorizes it; then our INVITEs ask for it.",
        )
        .default("open"),
        key(
            "hold",
            Words(&["pass", "sendonly", "inactive", "zero", "absorb"]),
            "How a carrier is told that the other side holds: as that says it, in one dialect (zero: the address 0.0.0.0), or not at all.",
        )
        .default("pass"),
        key("country", COUNTRY, "Where its numbers are dialled; that of [node] if left out."),
        key("limits", One(&guard::TRUNK_LIMITS), "Bounds on calls over it; without them there is none."),
        key("failover", guard::STATUSES, guard::FAILOVER),
        key("answer_timeout", DURATION, guard::ANSWER_TIMEOUT).default("3s"),
        key("breaker", One(&guard::BREAKER), "A target that fails calls one after the other rests."),
        key("auth", One(&AUTH), "Who we are to a carrier that challenges our requests (401, 407)."),
        key("register", One(&REGISTER), "For a carrier that wants us to register with it."),
        key("registrar", One(&REGISTRAR), "For a PBX that registers with us."),
    ],
);

const AUTH: Table = table(
    "Who we are to a carrier that challenges our requests (401, 407).",
    &[
        key("user", Text, "The user name.").required(),
        key(
            "secret_file",
            Text,
            "The file with the password and nothing else, readable for the service only.",
        )
        .required(),
        key("realm", Text, "The only realm that gets an answer; any does if left out."),
    ],
);

const REGISTER: Table = table(
    "Registers us at the trunk's targets.",
    &[
        key("user", Text, "The user of the address-of-record; that of [trunk.auth] if left out."),
        key("domain", Text, "Its domain; the host of the first target if left out."),
        key("expires", DURATION, "The time that is asked for; 60s to 24h.").default("1h"),
    ],
);

const REGISTRAR: Table = table(
    "For a PBX that registers with us: calls go to what it has registered.",
    &[
        key("user", Several(&REGISTRAR_USER), "Who may register; calls try them in order.")
            .required(),
        key("realm", Text, "The realm of our challenges; the fqdn of [node] if left out."),
        key(
            "algorithms",
            List(&Words(&["MD5", "SHA-256", "SHA-512-256"])),
            "What we challenge with, in order; many PBXs give up on what they do not know.",
        )
        .default("[\"MD5\"]"),
        key("expires", DURATION, "What is granted at most; 60s to 10m.").default("5m"),
        key("expires_min", DURATION, "Less than this is refused.").default("60s"),
        key(
            "challenge_calls",
            Flag,
            "Whether a call that does not come over a flow it is registered on needs its password.",
        )
        .default("true"),
    ],
);

const REGISTRAR_USER: Table = table(
    "Somebody who may register.",
    &[
        key("name", Text, "The user name.").required(),
        key(
            "secret_file",
            Text,
            "The file with the password and nothing else, readable for the service only.",
        )
        .required(),
    ],
);
