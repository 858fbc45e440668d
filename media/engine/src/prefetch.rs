//! Tells the processor what memory is touched next.

use media::Stretch;

/// Has all of `value` fetched into the nearest cache, without waiting for it.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    prefetch_all([Stretch::between(value, value)]);
}

/// The same for all lines of some stretches.
#[inline]
pub(crate) fn prefetch_all<const N: usize>(stretches: [Stretch; N]) {
    for line in stretches.into_iter().flat_map(Stretch::lines) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint, which reads nothing and cannot fault, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}
