//! The payload of a telephone event (RFC 4733, 2.3).

/// One report of an event, in four octets:
///
/// ```text
///  event (8) | E (1) | R (1) | volume (6) | duration (16)
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// Which key, or what else it is (RFC 4733, 3.2).
    pub(crate) code: u8,
    /// The event is over.
    pub(crate) end: bool,
    /// How long it has lasted up to here, in units of the payload's clock.
    pub(crate) duration: u16,
}

/// Octets of one report.
pub(crate) const EVENT_LEN: usize = 4;
/// The last of the keys: flash. Events beyond are signals of lines and modems.
pub(crate) const FLASH: u8 = 16;
/// The loudness that our events name, in -dBm0: that of a telephone.
const VOLUME: u8 = 10;

impl Event {
    /// Reads the first report of a payload. Some senders put more octets behind it.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let &[code, flags, high, low] = payload.first_chunk::<EVENT_LEN>()?;
        Some(Self { code, end: flags & 0x80 != 0, duration: u16::from_be_bytes([high, low]) })
    }

    pub(crate) fn write(self) -> [u8; EVENT_LEN] {
        let [high, low] = self.duration.to_be_bytes();
        [self.code, u8::from(self.end) << 7 | VOLUME, high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_4733_is_read() {
        // Digit 9, ended, volume 7, 1600 units (RFC 4733, 5).
        let read = Event::read(&[9, 0x87, 0x06, 0x40]).unwrap();
        assert_eq!((read.code, read.end, read.duration), (9, true, 1600));
        assert!(Event::read(&[9, 0x87, 0x06]).is_none());
        let again = Event::read(&read.write()).unwrap();
        assert!(again == read);
    }
}
