//! The law `laws::handshake` for whatever octets come.
#![no_main]

#[expect(dead_code, reason = "each target plays one of the laws")]
#[path = "../../tests/all/laws.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    laws::handshake(octets);
});
