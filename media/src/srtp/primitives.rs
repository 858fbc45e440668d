//! Which implementation of a primitive protects packets in this process: tried once, at its start.
//!
//! SHA-1 is RustCrypto's and AES-GCM is aws-lc's on every CPU that we could measure, with and without SHA,
//! VAES and AVX-512 instructions; each finds out by itself what its CPU has. For AES counter mode it
//! depends: over the ten blocks of a packet RustCrypto is faster by a third with AES instructions alone,
//! and as good as aws-lc with AVX-512 (perf/README.md has the figures).

use super::counter::Counter;
use super::mac::Mac;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Whose implementation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// aws-lc, by aws-lc-rs.
    AwsLc,
    /// The crates `aes` and `sha1` of RustCrypto.
    RustCrypto,
}

impl Library {
    /// The word for it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsLc => "aws-lc",
            Self::RustCrypto => "rustcrypto",
        }
    }
}

/// Whose primitives protect packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Primitives {
    /// AES in counter mode.
    pub counter_mode: Library,
    /// SHA-1, under HMAC.
    pub sha1: Library,
    /// AES-GCM.
    pub gcm: Library,
    /// What counter mode over one packet took here, by aws-lc and by RustCrypto; `None`: it was not tried.
    pub counter_mode_took: Option<[Duration; 2]>,
}

impl Primitives {
    /// What is used where nothing was tried.
    const UNTRIED: Self = Self {
        counter_mode: Library::RustCrypto,
        sha1: Library::RustCrypto,
        gcm: Library::AwsLc,
        counter_mode_took: None,
    };
}

/// A primitive that does not give the answer that is known: nothing must be protected by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongAnswer(pub &'static str);

impl std::fmt::Display for WrongAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} gives wrong answers on this machine", self.0)
    }
}

impl std::error::Error for WrongAnswer {}

static CHOSEN: OnceLock<Primitives> = OnceLock::new();

/// Whose primitives keys are expanded for from now on, as [`choose`] has found.
pub fn chosen() -> Primitives {
    CHOSEN.get().copied().unwrap_or(Primitives::UNTRIED)
}

/// Checks each primitive by an answer that is known, and times those that there is a choice of, for a
/// fraction of a millisecond. The first choice of a process stands.
pub fn choose(clock: impl FnMut() -> Instant) -> Result<Primitives, WrongAnswer> {
    check()?;
    Ok(*CHOSEN.get_or_init(|| fastest(clock)))
}

/// The octets of speech in a packet of 20 ms of G.711.
const SPEECH: usize = 160;
/// Keys in turn, as calls are.
const KEYS: u8 = 32;
/// The best of so many turns counts: what else runs on the machine can only add.
const TURNS: u32 = 16;
/// A key of aws-lc has three times the size of RustCrypto's, half of it for nothing, and has to be fetched
/// from memory for a packet: what is faster by less than this is slower in the end.
const WORTH_ITS_ROOM: f64 = 1.25;

fn fastest(mut clock: impl FnMut() -> Instant) -> Primitives {
    let keys = [Library::AwsLc, Library::RustCrypto]
        .map(|of| (0..KEYS).map(|n| Counter::new(of, &[n; 16])).collect::<Vec<_>>());
    let mut octets = [0xd5; SPEECH];
    let mut took = [Duration::MAX; 2];
    for _ in 0..TURNS {
        for (keys, took) in keys.iter().zip(&mut took) {
            let before = clock();
            keys.iter().for_each(|key| key.apply([3; 16], std::hint::black_box(&mut octets)));
            *took = (*took).min(clock().saturating_duration_since(before));
        }
    }
    let [aws_lc, rust_crypto] = took.map(|took| took / u32::from(KEYS));
    let counter_mode = match aws_lc.mul_f64(WORTH_ITS_ROOM) < rust_crypto {
        true => Library::AwsLc,
        false => Library::RustCrypto,
    };
    Primitives {
        counter_mode,
        counter_mode_took: Some([aws_lc, rust_crypto]),
        ..Primitives::UNTRIED
    }
}

fn check() -> Result<(), WrongAnswer> {
    // RFC 3711, B.2.
    let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
    let iv = 0xf0f1_f2f3_f4f5_f6f7_f8f9_fafb_fcfd_0000_u128.to_be_bytes();
    let known = 0xe03e_ad09_35c9_5e80_e166_b16d_d92b_4eb4_u128.to_be_bytes();
    for library in [Library::AwsLc, Library::RustCrypto] {
        let mut octets = [0; SPEECH];
        Counter::new(library, &key).apply(iv, &mut octets);
        if octets[..16] != known {
            return Err(WrongAnswer("AES counter mode"));
        }
    }
    // RFC 2202, 3, the first case.
    let tag = Mac::new(&[0x0b; 20]).tag(b"Hi There", &[]);
    if tag != HMAC_KNOWN {
        return Err(WrongAnswer("HMAC-SHA1"));
    }
    // Test case 2 of the GCM specification: one block of zeros under a key of zeros.
    let mut octets = [0; 16];
    let tag = UnboundKey::new(&AES_128_GCM, &[0; 16]).and_then(|key| {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        LessSafeKey::new(key).seal_in_place_separate_tag(nonce, Aad::empty(), &mut octets)
    });
    let sealed = 0x0388_dace_60b6_a392_f328_c2b9_71b2_fe78_u128.to_be_bytes();
    let known = 0xab6e_47d4_2cec_13bd_f53a_67b2_1257_bddf_u128.to_be_bytes();
    match tag {
        Ok(tag) if octets == sealed && tag.as_ref() == known => Ok(()),
        _ => Err(WrongAnswer("AES-GCM")),
    }
}

const HMAC_KNOWN: [u8; 20] = [
    0xb6, 0x17, 0x31, 0x86, 0x55, 0x05, 0x72, 0x64, 0xe2, 0x8b, 0xc0, 0xb6, 0xfb, 0x37, 0x8c, 0x8e,
    0xf1, 0x46, 0xbe, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::zero;

    #[test]
    fn the_faster_one_is_taken_and_the_smaller_one_if_both_are_as_fast() {
        for (aws_lc_us, rust_crypto_us, taken) in
            [(20, 10, Library::RustCrypto), (10, 10, Library::RustCrypto), (10, 20, Library::AwsLc)]
        {
            // The clock is asked before and after each: aws-lc, RustCrypto, aws-lc, ...
            let steps = [0, aws_lc_us, 0, rust_crypto_us].into_iter().cycle();
            let mut now = zero();
            let mut steps = steps.map(Duration::from_micros);
            let primitives = fastest(|| {
                now += steps.next().unwrap();
                now
            });
            assert_eq!(primitives.counter_mode, taken);
            assert!(primitives.counter_mode_took.is_some());
        }
    }

    #[test]
    fn what_is_linked_gives_the_answers_that_are_known() {
        assert_eq!(check(), Ok(()));
    }
}
