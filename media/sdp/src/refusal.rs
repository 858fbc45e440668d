//! Why an offer or answer cannot be taken.

/// Why an offer or answer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what they are")]
pub enum Refusal {
    #[error("the SDP cannot be read: {0}")]
    Unreadable(#[from] crate::text::SdpError),
    #[error("no audio stream")]
    NoAudio,
    #[error("SRTP is required and was not offered, or no suite or key of it can be used")]
    SrtpRequired,
    #[error("SRTP was offered or answered where only plain RTP is allowed")]
    SrtpNotAllowed,
    #[error("DTLS was offered or answered without a fingerprint or role that can be used")]
    NoFingerprint,
    #[error("no codec in common")]
    NoCommonCodec,
    #[error("no fax by T.38 can be carried here")]
    NoFax,
    #[error("an answer came without an offer, or an offer while one is open")]
    OutOfTurn,
}
