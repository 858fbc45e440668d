//! What of a call's memory a packet touches, so that it can be fetched beforehand.

/// Octets that memory is fetched by, on every processor that we know.
const LINE: usize = 64;

/// Memory that is touched soon: addresses to be fetched from, and never to be read by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stretch {
    first: usize,
    end: usize,
}

impl Stretch {
    /// From the beginning of one value to the end of another, which stands behind it or is it.
    pub fn between<T, U>(first: &T, last: &U) -> Self {
        let end = (&raw const *last).addr() + size_of::<U>();
        Self { first: (&raw const *first).addr(), end }
    }

    /// The first line of a value that begins with one.
    pub fn first_line_of<T>(value: &T) -> Self {
        let first = (&raw const *value).addr();
        Self { first, end: first + LINE.min(size_of::<T>()) }
    }

    /// An address in each of its lines.
    pub fn lines(self) -> impl Iterator<Item = *const u8> {
        (self.first / LINE * LINE..self.end).step_by(LINE).map(std::ptr::without_provenance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_and_ends_within_lines_has_each_of_them_once() {
        #[repr(align(64))]
        struct Lines([u8; 256]);
        let lines = Lines([0; 256]);
        let count =
            |from: usize, to: usize| Stretch::between(&lines.0[from], &lines.0[to]).lines().count();
        assert_eq!((count(0, 63), count(0, 64), count(63, 64), count(60, 200)), (1, 2, 2, 4));
        assert_eq!(Stretch::default().lines().count(), 0);
    }
}
