//! What of each source under one key of the far side has authenticated.

use super::Authentic;
use super::replay::Window;
use crate::DropReason;

/// Sources under one key, of RTP or RTCP, whose replay windows are kept. To forget one would let its packets be
/// replayed, so at the bound a further source is refused until the key changes.
pub const MAX_SOURCES: usize = 48;
/// Sources of RTP whose windows are kept in full: those that speak side by side, before and after a change
/// of who does. Of the others none is late any more, so that their highest index says it all.
const HEARD_MAX: usize = 4;
/// Of RTCP the last one: packets are seconds apart, and who sends next has not been overtaken.
const RTCP_HEARD_MAX: usize = 1;

/// The sources of RTP under one key.
pub(super) type RtpSources = Sources<HEARD_MAX, true>;
/// Those of RTCP.
pub(super) type RtcpSources = Sources<RTCP_HEARD_MAX, false>;

/// The sources of one key and protocol: of RTP, or of RTCP.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Sources<const HEARD: usize, const RTP: bool> {
    len: u8,
    /// Those heard last, the very last first: nearly always the next packet's, too.
    heard: [Heard; HEARD],
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    ssrc: u32,
    window: Window,
}

/// Every source that has authenticated, with what it had sent when it made room for another: in a place that
/// is there from the beginning, so that no packet waits for memory, whoever sends it.
#[derive(Debug)]
pub(super) struct Known {
    len: u8,
    all: [Source; MAX_SOURCES],
}

/// A source and one past its highest index of either protocol when that made room, 0 where it never did;
/// without the gaps of alignment, as there is room for many.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: [u16; 2],
    /// 48 bits. The very last index counts as the one before it: no key gets so far.
    rtp: [u16; 3],
    rtcp: [u16; 2],
}

impl Source {
    const fn of(ssrc: u32) -> Self {
        Self { ssrc: halves(ssrc), rtp: [0; 3], rtcp: [0; 2] }
    }

    /// Its window in a protocol, if that has made room: nothing up to the highest index is new.
    fn window(&self, is_rtp: bool) -> Option<Window> {
        let words: &[u16] = if is_rtp { &self.rtp } else { &self.rtcp };
        let end = words.iter().fold(0, |end, &word| end << 16 | u64::from(word));
        end.checked_sub(1).map(Window::closed)
    }

    fn rest(&mut self, is_rtp: bool, highest: u64) {
        match is_rtp {
            true => {
                let end = (highest + 1).min((1 << 48) - 1);
                self.rtp = [(end >> 32) as u16, (end >> 16) as u16, end as u16];
            }
            false => self.rtcp = halves((highest + 1) as u32),
        }
    }
}

const fn halves(word: u32) -> [u16; 2] {
    [(word >> 16) as u16, word as u16]
}

impl Known {
    pub(super) const fn new() -> Self {
        Self { len: 0, all: [Source::of(0); MAX_SOURCES] }
    }

    fn find(&self, ssrc: u32) -> Option<&Source> {
        let ssrc = halves(ssrc);
        self.all[..usize::from(self.len)].iter().find(|source| source.ssrc == ssrc)
    }

    const fn is_full(&self) -> bool {
        self.len as usize == MAX_SOURCES
    }

    /// The place of a source, from now on if it is new and there is one.
    fn place(&mut self, ssrc: u32) -> Option<&mut Source> {
        let wanted = halves(ssrc);
        let len = usize::from(self.len);
        let at = self.all[..len].iter().position(|source| source.ssrc == wanted).unwrap_or(len);
        let place = self.all.get_mut(at)?;
        if at == len {
            *place = Source::of(ssrc);
            self.len += 1;
        }
        Some(place)
    }
}

impl<const HEARD: usize, const RTP: bool> Sources<HEARD, RTP> {
    pub(super) const fn new() -> Self {
        let nobody = Heard { ssrc: 0, window: Window::starting(0) };
        Self { len: 0, heard: [nobody; HEARD] }
    }

    fn heard(&self) -> &[Heard] {
        &self.heard[..usize::from(self.len)]
    }

    /// Where what the packet of a source that goes on touches ends.
    pub(super) const fn touched_to(&self) -> &impl Sized {
        &self.heard[0]
    }

    /// A source's window, `None` for a new source; refuses a new one at the bound.
    pub(super) fn find(&self, known: &Known, ssrc: u32) -> Result<Option<Window>, DropReason> {
        if let Some(heard) = self.heard().iter().find(|heard| heard.ssrc == ssrc) {
            return Ok(Some(heard.window));
        }
        match known.find(ssrc) {
            Some(source) => Ok(source.window(RTP)),
            None if known.is_full() => Err(DropReason::Replay),
            None => Ok(None),
        }
    }

    /// Moves a source's window, after authentication only.
    pub(super) fn remember(&mut self, known: &mut Known, ssrc: u32, index: u64) -> Authentic {
        match self.heard().iter().position(|heard| heard.ssrc == ssrc) {
            Some(0) => self.heard[0].window.advance(index),
            Some(at) => {
                self.heard[..=at].rotate_right(1);
                self.heard[0].window.advance(index)
            }
            None => self.begin(known, ssrc, index),
        }
    }

    /// A source that is new, or had made room, is heard.
    fn begin(&mut self, known: &mut Known, ssrc: u32, index: u64) -> Authentic {
        let window = match known.place(ssrc).and_then(|source| source.window(RTP)) {
            Some(mut window) => {
                window.insert(index);
                window
            }
            None => Window::starting(index),
        };
        if usize::from(self.len) < HEARD {
            self.len += 1;
        } else {
            let longest = self.heard[HEARD - 1];
            if let Some(source) = known.place(longest.ssrc) {
                source.rest(RTP, longest.window.highest());
            }
        }
        self.heard.rotate_right(1);
        self.heard[0] = Heard { ssrc, window };
        Authentic { newest: true }
    }
}

impl Window {
    /// Marks an index as there, and says whether it is the newest.
    fn advance(&mut self, index: u64) -> Authentic {
        let newest = index > self.highest();
        self.insert(index);
        Authentic { newest }
    }
}
