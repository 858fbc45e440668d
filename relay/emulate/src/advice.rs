//! What Microsoft would do about each broken rule, and what to change at the border controller.

/// Words for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What Microsoft does, or what its users see.
    pub microsoft: &'static str,
    /// What to change.
    pub mend: &'static str,
}

/// What is to be said of a rule of [`crate::Violation::rule`].
pub fn advice(rule: &str) -> Advice {
    let found = TABLE.iter().find(|(known, ..)| *known == rule);
    let (_, microsoft, mend) = found.copied().unwrap_or(("", OTHERWISE.0, OTHERWISE.1));
    Advice { microsoft, mend }
}

const OTHERWISE: (&str, &str) = (
    "Microsoft's documents do not have it so; it may bear it, or not after the next change.",
    "Compare the message with the ladder and with Microsoft's documents.",
);

/// Rule, what Microsoft does, what to change.
const TABLE: &[(&str, &str, &str)] = &[
    (
        "TDR-OPT-003",
        "Microsoft answers 403 Forbidden to an IP address in Contact or Record-Route, and refuses a message with neither: the trunk never becomes active.",
        "Write Contact as <sip:FQDN:PORT;transport=tls> with the trunk's own FQDN, and send no Record-Route.",
    ),
    (
        "TDR-OPT-004",
        "The trunk is recognised by Contact; a user part in From or To of OPTIONS is only noise.",
        "Leave the user part out of From and To in OPTIONS.",
    ),
    (
        "TDR-OPT-020",
        "Without Contact in the 200 Microsoft does not know which trunk has answered.",
        "Answer OPTIONS with 200, Contact (FQDN of the trunk) and Allow.",
    ),
    (
        "TDR-OUT-001",
        "A number without + is not found: 404 with sub-code 511404. Without user=phone Microsoft guesses.",
        "Call sip:+NUMBER@sip.pstnhub.microsoft.com:5061;user=phone;transport=tls, the host being the one that is dialled.",
    ),
    (
        "TDR-OUT-002",
        "Microsoft sends its requests in the dialog to Contact: wrong port or transport, and re-INVITE, BYE and REFER never arrive.",
        "Write the trunk's SIP port and ;transport=tls into Contact.",
    ),
    (
        "TDR-OUT-003",
        "403 Forbidden, sub-code 510532 \"No trunk config was found\", if no tenant has the FQDN in Contact; 404, sub-code 511404, if that tenant has not the number.",
        "Use in Contact the FQDN that is registered in the tenant whose user is called.",
    ),
    (
        "TDR-OUT-004",
        "Teams shows the user part of From; another host there may end in the wrong tenant's reports.",
        "Write From as <sip:+NUMBER@FQDN>, the FQDN being that of Contact.",
    ),
    ("TDR-OUT-006", "A private address in Via is asking for trouble.", "Write the FQDN into Via."),
    (
        "TDR-OUT-007",
        "Record-Route has precedence over Contact: the call goes to the wrong trunk, or is refused.",
        "Send no Record-Route, but for Local Media Optimization.",
    ),
    (
        "TDR-OUT-008",
        "Replaces is refused with 420 (sub-code 560420) since April 2022.",
        "Take Replaces out; transfer by the INVITE that Refer-To names.",
    ),
    (
        "TDR-OUT-009",
        "An INVITE or re-INVITE without an offer is refused.",
        "Send SDP in each INVITE; answer a carrier's offerless one yourself.",
    ),
    (
        "TDR-OUT-010",
        "A body that is not SDP alone is refused with 415 (sub-code 540415); private headers are ignored at best.",
        "Strip ISUP, PIDF-LO and private headers towards Teams.",
    ),
    (
        "TDR-OUT-011",
        "Require is refused with 420 (sub-code 560420); Supported: 100rel asks for what Microsoft has not.",
        "Terminate 100rel and preconditions on the carrier's side.",
    ),
    (
        "TDR-OUT-012",
        "Without NOTIFY in Allow Microsoft cannot transfer the call.",
        "Write NOTIFY, and REFER if it is supported, into Allow.",
    ),
    (
        "TDR-OUT-015",
        "Teams shows a caller \"anonymous\" at a host as the digits 266696687.",
        "Write From as sip:anonymous@anonymous.invalid.",
    ),
    (
        "TDR-IN-015",
        "Microsoft sends what follows in this call to the FQDN of this Contact, and checks it against the certificate: re-INVITE, REFER and BYE fail.",
        "Answer with the FQDN, port and transport of the tenant's trunk in Contact.",
    ),
    (
        "TDR-IN-016",
        "Microsoft learns from Allow in 18x and 200 what it may send.",
        "Write Allow with NOTIFY into each answer to INVITE.",
    ),
    (
        "TDR-MT-003",
        "Microsoft takes the message for another tenant's: 403 (sub-code 510532), or one tenant's data with another.",
        "Keep to the FQDN of the call's own tenant for the whole dialog.",
    ),
    (
        "TDR-CON-005",
        "Microsoft checks the FQDN in Contact against the certificate of this very connection: 403 Forbidden.",
        "Show a certificate that covers the tenant's FQDN; a wildcard covers one label only. Do not share connections between certificates.",
    ),
    ("TDR-TLS-010", "sips URIs are not supported.", "Write sip: with ;transport=tls."),
    (
        "TDR-DLG-001",
        "Microsoft knows INVITE, ACK, OPTIONS, CANCEL, BYE and NOTIFY; anything else is refused with 405.",
        "Change calls by re-INVITE with SDP; terminate UPDATE, PRACK, INFO and REFER yourself.",
    ),
    (
        "TDR-DLG-012",
        "Microsoft goes on to send media to the first address: one-way audio.",
        "Keep your media address and port for the life of the dialog.",
    ),
    (
        "TDR-DLG-030",
        "The carrier may refuse an INVITE with two Session-Expires or Min-SE.",
        "Write your own session timer towards the carrier, and none of Microsoft's.",
    ),
    (
        "TDR-DLG-040",
        "Without ACK the call is dropped after about 4 s: 408, sub-code 1106.",
        "Send ACK at once, by the route set, to the Contact of the 200.",
    ),
    (
        "TDR-FO-007",
        "Microsoft does not find the call by another URI than its Contact: 481 or 404.",
        "Send requests in a dialog to Microsoft's Contact octet by octet, by its route set.",
    ),
    (
        "TDR-FO-012",
        "After 10 s without a sign of life the call goes to the next trunk of the route: 408, sub-code 500001.",
        "Answer 180 or 183 earlier, or let the tenant raise FailoverTimeSeconds.",
    ),
    (
        "TDR-EM-005",
        "Carriers lose a call whose early dialogs fork.",
        "Show the carrier one To tag, whichever Teams client rings.",
    ),
    (
        "TDR-EM-024",
        "Microsoft has no 100rel: a reliable 18x ends the call.",
        "Send 18x unreliably towards Teams.",
    ),
    (
        "TDR-HLD-001",
        "0.0.0.0 is refused with 488 (sub-code 531052); sendonly and recvonly are not understood as hold.",
        "Hold with a=inactive and your real address.",
    ),
    (
        "TDR-XFR-001",
        "Microsoft sends REFER to whoever allows it, and the transfer fails.",
        "Support REFER wholly, or leave it out of Allow.",
    ),
    (
        "TDR-XFR-011",
        "The transfer hangs: Microsoft waits for 202 and NOTIFY.",
        "Answer REFER with 202 and Contact, then NOTIFY with Event: refer and a message/sipfrag.",
    ),
    (
        "TDR-XFR-013",
        "404 \"Replacement call was not found\" (sub-code 10202), or 400 (540400).",
        "Copy Refer-To into the Request-URI and Referred-By into the INVITE octet by octet: case and escapes matter.",
    ),
    (
        "TDR-XFR-016",
        "Microsoft takes the transfer for unfinished, or for over too early.",
        "Say active while it goes on, and terminated;reason=noresource with its outcome.",
    ),
    (
        "TDR-XFR-019",
        "A transfer can be taken up once: 404 (sub-code 10202).",
        "Do not repeat an INVITE that comes of a REFER.",
    ),
    (
        "TDR-XFR-020",
        "Nothing: this is on the carrier's side.",
        "Never relay REFER to a carrier; take it up yourself.",
    ),
    (
        "TDR-FWD-001",
        "History-Info that cannot be read is dropped.",
        "Write entries as addresses with an index.",
    ),
    (
        "TDR-FWD-002",
        "Foreign hosts in History-Info mean nothing to Microsoft.",
        "Write your own FQDN into History-Info.",
    ),
    (
        "TDR-PRI-006",
        "Microsoft ignores these headers from a trunk: From says who calls.",
        "Take the caller from P-Asserted-Identity into From, and send neither it nor Privacy.",
    ),
    (
        "TDR-PRI-008",
        "Blocking, reverse look-up and the list of missed calls need E.164: the caller is shown as an unknown number.",
        "Write the calling number with + and country code.",
    ),
    (
        "TDR-EMG-007",
        "A location towards Teams is refused with 415 (sub-code 540415).",
        "Strip Geolocation and PIDF-LO towards Teams.",
    ),
    (
        "TDR-SDP-001",
        "SDP that cannot be read: 488 or 410 (sub-code 531000).",
        "Offer one audio stream as RTP/SAVP.",
    ),
    (
        "TDR-MED-001",
        "488 \"SrtpEncryptionRequired\" (sub-code 531000).",
        "Offer RTP/SAVP with a=crypto.",
    ),
    (
        "TDR-SDP-002",
        "The media processor uses the key under the tag that it knows: silence.",
        "Echo the tag of the AES_CM_128_HMAC_SHA1_80 line in the answer; offer tag 1.",
    ),
    ("TDR-SDP-004", "488, or BYE after the answer.", "Name one key of 30 octets in base64."),
    (
        "TDR-SDP-005",
        "More suites than one, or an MKI, gave no audio in the field.",
        "Offer one line: a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^31.",
    ),
    (
        "TDR-SDP-006",
        "Without a=rtcp-mux and a=rtcp RTCP goes astray, and the dashboard shows no quality.",
        "Write a=rtcp-mux and a=rtcp with the RTP port.",
    ),
    (
        "TDR-SDP-007",
        "Nothing: this is on the carrier's side.",
        "Write SDP of your own towards the carrier.",
    ),
    (
        "TDR-SDP-009",
        "A version that does not count changes is taken for no change.",
        "Keep the session id of o=, and raise its version with each change.",
    ),
    (
        "TDR-SDP-010",
        "488 (sub-code 531000).",
        "Give each payload type one number, and rtpmap to listed ones alone.",
    ),
    (
        "TDR-SDP-012",
        "Attributes that Microsoft does not know have broken calls.",
        "Send rtpmap, fmtp, ptime, direction, crypto, rtcp, rtcp-mux and ICE alone.",
    ),
    ("TDR-SRTP-001", "Other suites gave no audio in the field.", "Use AES_CM_128_HMAC_SHA1_80."),
    (
        "TDR-ICE-001",
        "488 (sub-code 531027) without candidates on a trunk with media bypass.",
        "Be ICE-lite with exactly one IPv4 host candidate, that of the m-line; without bypass write none.",
    ),
    (
        "TDR-TLS-003",
        "Microsoft speaks TLS 1.2 with four suites of ECDHE and RSA: 504, sub-code 569002.",
        "Allow TLS 1.2 and TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 or its sister of 128 bits; use an RSA key.",
    ),
    (
        "TDR-TLS-005",
        "Both sides show a certificate: without one the connection ends with an alert.",
        "Show the certificate of the trunk with all its intermediates also as a client, and send SNI.",
    ),
    (
        "TDR-CRT-001",
        "504, sub-code 569009 (0x80090325): the chain leads to no root of Microsoft's Trusted Root Program.",
        "Use a certificate of a public authority in that programme, and send its intermediates. Here: one of the root that this emulation accepts.",
    ),
    (
        "TDR-CRT-003",
        "504, sub-code 569002 (0x80090322), or 403: the certificate is somebody else's.",
        "Have the trunk's FQDN among the alternative names; a wildcard covers one label, and not its parent.",
    ),
    (
        "TDR-CRT-005",
        "504, CERT_E_WRONG_USAGE: the certificate is not for TLS servers.",
        "Use one with serverAuth.",
    ),
    (
        "TDR-CRT-007",
        "504, sub-code 569008 (0x80090328): every call fails.",
        "Renew the certificate, and open connections anew.",
    ),
    (
        "TDR-SEC-002",
        "Whoever claims to be Microsoft can call the world at the tenant's expense.",
        "Accept connections from Microsoft's addresses alone, and with a certificate of an accepted root for sip.pstnhub.microsoft.com.",
    ),
    (
        "topology",
        "Nothing: this is on the carrier's side.",
        "Hide Microsoft's hosts and headers from carriers.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_that_can_be_broken_has_its_advice() {
        let sources = [
            include_str!("strict.rs"),
            include_str!("strict_sdp.rs"),
            include_str!("strict_headers.rs"),
            include_str!("strict_transfer.rs"),
        ];
        for source in sources {
            for rule in source.split('"').filter(|text| text.starts_with("TDR-")) {
                assert!(TABLE.iter().any(|(known, ..)| *known == rule), "{rule}");
            }
        }
    }
}
