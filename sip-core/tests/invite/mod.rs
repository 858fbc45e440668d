//! A message of every trait.

/// Compact names, a fold, odd spacing, three Vias in two lines, a comma in quotes.
pub(crate) const INVITE: &str = "INVITE sip:+4930123456@192.0.2.9;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bKtop;rport\r\n\
    v: SIP/2.0/UDP p2;branch=z9hG4bKp2, SIP/2.0/UDP p1\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice, A.\" <sip:alice@192.0.2.1>;tag=a1\r\n\
    t:<sip:bob@192.0.2.9>\r\n\
    Call-ID: c1@192.0.2.1\r\n\
    CSeq: 7 INVITE\r\n\
    m: <sip:alice@192.0.2.1>\r\n\
    Supported: 100rel , timer\r\n\
    X-Folded : one\r\n  two\r\n\
    c: application/sdp\r\n\
    l: 5\r\n\
    \r\n\
    v=0\r\n";
