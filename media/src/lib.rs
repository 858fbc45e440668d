//! SRTP, latching and forwarding of the packets of one call, without I/O.
#![forbid(unsafe_code)]
