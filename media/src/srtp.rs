//! SRTP and SRTCP in place (RFC 3711): suites, key derivation, packet index, replay window.
