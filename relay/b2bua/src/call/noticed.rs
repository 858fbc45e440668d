//! What happens on a leg's media and what it means for the call.

use super::{Call, Fate};
use crate::core::Core;
use crate::io::PeerLeg;
use sdp::Notice;

impl Call {
    /// Something happened on leg `which`.
    pub(crate) fn noticed(&mut self, _core: &mut Core, _which: PeerLeg, notice: Notice) -> Fate {
        match notice {
            Notice::Pressed(_) => Fate::Lives,
        }
    }
}
