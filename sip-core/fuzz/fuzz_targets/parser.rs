//! The law `laws::message` for whatever octets come.
#![no_main]

#[expect(dead_code, reason = "each target plays one of the laws")]
#[path = "../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    laws::message(octets);
});
