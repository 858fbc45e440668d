//! What the message tests share: a message of every trait, the corpus, a seeded generator.

use bytes::Bytes;
use std::path::Path;

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

/// Every message of the corpus.
pub(crate) fn corpus_messages() -> Vec<Bytes> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files = Vec::new();
    for folder in ["rfc4475", "rfc5118", "extra"] {
        let entries = std::fs::read_dir(corpus.join(folder)).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()));
    }
    // The order of a folder differs between machines; a seed should not.
    files.sort();
    assert_eq!(files.len(), 116);
    files.iter().filter_map(|file| std::fs::read(file).ok()).map(Bytes::from).collect()
}

/// splitmix64: the same run for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}
