//! UDPTL, which carries a fax (ITU-T T.38, 9.1): what makes a datagram one of it. What is in it is the
//! terminals' business.
//!
//! ```text
//! number(2)  length, packet of the fax  [ 0x00 count { length, earlier packet }
//!                                       | 0x80 span  count { length, parity }   ]
//! ```

/// The bit that tells parity (FEC) from earlier packets; the others are padding.
const PARITY: u8 = 0x80;

/// The number of a datagram that holds what it says; `None` for any other: packets of the speech that was
/// there before among them, nearly always.
pub(crate) fn number(datagram: &[u8]) -> Option<u16> {
    let (number, rest) = datagram.split_first_chunk::<2>()?;
    let rest = field(rest)?;
    // Some leave out that there is nothing to make good with.
    if let Some((kind, rest)) = rest.split_first() {
        let mut rest = match *kind {
            0 => rest,
            PARITY => field(rest)?,
            _ => return None,
        };
        let count;
        (count, rest) = length(rest)?;
        for _ in 0..count {
            rest = field(rest)?;
        }
    }
    Some(u16::from_be_bytes(*number))
}

/// What follows a length and so many octets.
fn field(octets: &[u8]) -> Option<&[u8]> {
    let (length, rest) = length(octets)?;
    rest.get(length..)
}

/// A length of packed encoding (X.691, 10.9), which here fits two octets.
const fn length(octets: &[u8]) -> Option<(usize, &[u8])> {
    match octets {
        [short @ 0..=127, rest @ ..] => Some((*short as usize, rest)),
        [high @ 128..=191, low, rest @ ..] => {
            Some((((*high as usize & 0x3f) << 8) | *low as usize, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_that_holds_what_it_says_is_one() {
        for (octets, wanted) in [
            (&[0, 7, 1, 6][..], Some(7)),
            (&[0x80, 8, 1, 6, 0, 0], Some(0x8008)),
            (&[0, 9, 1, 6, 0, 2, 1, 4, 2, 5, 5], Some(9)),
            (&[0, 9, 1, 6, 0x80, 1, 3, 1, 2, 5, 5], Some(9)),
            (&[0, 1], None),
            (&[0, 1, 2, 6], None),
            (&[0, 1, 1, 6, 0], None),
            (&[0, 1, 1, 6, 0x40, 0], None),
            (&[0, 1, 1, 6, 0, 2, 1, 4], None),
            (&[0, 1, 0xc1, 6], None),
        ] {
            assert_eq!(number(octets), wanted, "{octets:?}");
        }
        let mut long = vec![0, 1, 0x81, 0x2c];
        long.resize(4 + 300, 6);
        assert_eq!(number(&long), Some(1));
        assert_eq!(number(&long[..200]), None);
    }

    #[test]
    fn hardly_any_speech_looks_like_one() {
        let looks = |sequence: &u16| {
            let mut packet = vec![0x80, 8];
            packet.extend(sequence.to_be_bytes());
            packet.extend((u32::from(*sequence) * 160).to_be_bytes());
            packet.extend([0x5a, 0x11, 0xfe, 3]);
            packet.extend([0xd5; 160]);
            number(&packet).is_some()
        };
        let among = (0..=u16::MAX).filter(looks).count();
        assert!(among < 1500, "{among} of 65536");
    }
}
