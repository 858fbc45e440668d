//! Session descriptions as the far sides write them.

use std::net::SocketAddr;

/// What a carrier usually offers or answers: PCMA and PCMU, telephone events, plain RTP.
pub fn carrier(media: SocketAddr) -> String {
    plain(media, &["8 PCMA/8000", "0 PCMU/8000", "101 telephone-event/8000"])
}

/// Plain RTP with these payload types (`number encoding/clock`).
pub fn plain(media: SocketAddr, payloads: &[&str]) -> String {
    format!(
        "v=0\r\no=- 7310 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP{numbers}\r\n{maps}a=ptime:20\r\na=sendrecv\r\n",
        ip = media.ip(),
        port = media.port(),
        numbers = numbers(payloads),
        maps = maps(payloads),
    )
}

/// What Teams usually offers or answers: SRTP with rtcp-mux.
pub fn teams(media: SocketAddr) -> String {
    secure(media, &["8 PCMA/8000", "0 PCMU/8000", "101 telephone-event/8000"])
}

/// SRTP with these payload types.
pub fn secure(media: SocketAddr, payloads: &[&str]) -> String {
    format!(
        "v=0\r\no=- 4211 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 {ip}\r\nb=CT:10000000\r\nt=0 0\r\n\
         m=audio {port} RTP/SAVP{numbers}\r\na=rtcp:{port}\r\na=rtcp-mux\r\na=label:main-audio\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\n\
         {maps}a=ptime:20\r\na=sendrecv\r\n",
        ip = media.ip(),
        port = media.port(),
        numbers = numbers(payloads),
        maps = maps(payloads),
    )
}

/// The master key and salt of the scripted Teams side: octets 0 to 29.
pub const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";

/// The same description with another direction, and its version one up.
pub fn turned(sdp: &str, direction: &str) -> String {
    let held = sdp.replace("a=sendrecv", &format!("a={direction}"));
    held.replacen(" 1 IN", " 2 IN", 1).replacen(" 0 IN", " 1 IN", 1)
}

fn numbers(payloads: &[&str]) -> String {
    let number = |payload: &&str| format!(" {}", payload.split(' ').next().unwrap_or_default());
    payloads.iter().map(number).collect()
}

fn maps(payloads: &[&str]) -> String {
    payloads.iter().map(|payload| format!("a=rtpmap:{payload}\r\n")).collect()
}

/// A fax by T.38 over UDPTL, and nothing else.
pub fn fax(media: SocketAddr) -> String {
    format!(
        "v=0\r\no=- 7310 2 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=image {port} udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\n\
         a=T38FaxRateManagement:transferredTCF\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n",
        ip = media.ip(),
        port = media.port(),
    )
}
