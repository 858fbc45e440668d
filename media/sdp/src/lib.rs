//! SDP text, offer/answer and the agreed stream, without I/O.
#![forbid(unsafe_code)]
