//! What of each source under one key of the far side has authenticated.

use super::Authentic;
use super::replay::Window;
use crate::DropReason;

/// Sources under one key whose replay windows are kept. To forget one would let its packets be
/// replayed, so at the bound a further source is refused until the key changes.
pub const MAX_SOURCES: usize = 64;
/// Sources whose windows are kept in full: those that speak side by side, before and after a change
/// of who does. Of the others none is late any more, so that their highest index says it all.
const HEARD_MAX: usize = 4;
/// Sources that may rest before more room is made for them: a far side that has authenticated as so many
/// and more, under one key, has that done three times at most.
const RESTED_USUAL: usize = 12;

/// The sources of one key and protocol.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Sources {
    len: u8,
    /// Those heard last, the very last first: nearly always the next packet's, too.
    heard: [Heard; HEARD_MAX],
    /// Those that have made room.
    rested: Vec<Rested>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    ssrc: u32,
    window: Window,
}

/// A source and its highest index, of 48 bits, without the gaps of alignment: there is room for many.
#[derive(Clone, Copy, Debug)]
struct Rested {
    ssrc: [u16; 2],
    highest: [u16; 3],
}

impl Rested {
    const fn new(ssrc: u32, highest: u64) -> Self {
        Self {
            ssrc: [(ssrc >> 16) as u16, ssrc as u16],
            highest: [(highest >> 32) as u16, (highest >> 16) as u16, highest as u16],
        }
    }

    fn is_of(&self, ssrc: u32) -> bool {
        self.ssrc == [(ssrc >> 16) as u16, ssrc as u16]
    }

    /// Its window: nothing up to the highest is new.
    fn window(&self) -> Window {
        let [high, middle, low] = self.highest.map(u64::from);
        Window::closed(high << 32 | middle << 16 | low)
    }
}

impl Sources {
    pub(super) fn new() -> Self {
        let nobody = Heard { ssrc: 0, window: Window::starting(0) };
        Self { len: 0, heard: [nobody; HEARD_MAX], rested: Vec::with_capacity(RESTED_USUAL) }
    }

    fn heard(&self) -> &[Heard] {
        &self.heard[..usize::from(self.len)]
    }

    /// Where what the packet of a source that goes on touches ends.
    pub(super) const fn touched_to(&self) -> &impl Sized {
        &self.heard[0]
    }

    /// A source's window, `None` for a new source; refuses a new one at the bound.
    pub(super) fn find(&self, ssrc: u32) -> Result<Option<Window>, DropReason> {
        if let Some(heard) = self.heard().iter().find(|heard| heard.ssrc == ssrc) {
            return Ok(Some(heard.window));
        }
        match self.rested.iter().find(|rested| rested.is_of(ssrc)) {
            Some(rested) => Ok(Some(rested.window())),
            None if self.heard().len() + self.rested.len() < MAX_SOURCES => Ok(None),
            None => Err(DropReason::Replay),
        }
    }

    /// Moves a source's window, after authentication only.
    pub(super) fn remember(&mut self, ssrc: u32, index: u64) -> Authentic {
        match self.heard().iter().position(|heard| heard.ssrc == ssrc) {
            Some(0) => self.heard[0].window.advance(index),
            Some(at) => {
                self.heard[..=at].rotate_right(1);
                self.heard[0].window.advance(index)
            }
            None => self.begin(ssrc, index),
        }
    }

    /// A source that is new, or has rested, is heard.
    fn begin(&mut self, ssrc: u32, index: u64) -> Authentic {
        let back = self.rested.iter().position(|rested| rested.is_of(ssrc));
        let window = match back.map(|at| self.rested.swap_remove(at)) {
            Some(rested) => {
                let mut window = rested.window();
                window.insert(index);
                window
            }
            None => Window::starting(index),
        };
        if usize::from(self.len) < HEARD_MAX {
            self.len += 1;
        } else {
            let longest = self.heard[HEARD_MAX - 1];
            self.rested.push(Rested::new(longest.ssrc, longest.window.highest()));
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
