//! The early dialogs of one INVITE that a proxy forked, until one of them wins
//! (RFC 3261, 12.1.2 and 13.2.2.4).

use super::{Dialog, DialogError};
use crate::message::{Request, Response};
use smallvec::SmallVec;

/// Early dialogs by To tag.
#[derive(Clone, Debug, Default)]
pub struct EarlyDialogs {
    dialogs: SmallVec<[Dialog; 1]>,
}

/// Early dialogs of one INVITE: as many as it may have forks, as the far side chooses the tags.
pub const MAX_EARLY: usize = crate::transaction::MAX_FORKS;

/// What a provisional response did.
#[derive(Debug)]
pub enum Early<'a> {
    /// It made this dialog.
    New(&'a mut Dialog),
    /// It belongs to this dialog.
    Known(&'a mut Dialog),
    /// It makes none: 100, no To tag, or no usable Contact, which many gateways leave out of 180.
    None,
    /// One more than [`MAX_EARLY`].
    TooMany,
}

impl EarlyDialogs {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A provisional response to `invite` came.
    pub fn provisional(&mut self, invite: &Request, response: &Response) -> Early<'_> {
        let tag = response.headers.to().tag().unwrap_or_default();
        if tag.is_empty() || !(101..200).contains(&response.status) {
            return Early::None;
        }
        if let Some(at) = self.position(tag) {
            return Early::Known(&mut self.dialogs[at]);
        }
        if self.dialogs.len() == MAX_EARLY {
            return Early::TooMany;
        }
        let Ok(dialog) = Dialog::uac(invite, response) else { return Early::None };
        self.dialogs.push(dialog);
        self.dialogs.last_mut().map_or(Early::None, Early::New)
    }

    /// A 2xx to `invite` came: its dialog, confirmed, and no longer among the early ones. Each fork
    /// that answers gives one; the user keeps the first and ends the others with ACK and BYE.
    pub fn winner(&mut self, invite: &Request, response: &Response) -> Result<Dialog, DialogError> {
        let tag = response.headers.to().tag().unwrap_or_default();
        match self.position(tag) {
            Some(at) => {
                let mut dialog = self.dialogs.remove(at);
                dialog.confirm(response);
                Ok(dialog)
            }
            None => Dialog::uac(invite, response),
        }
    }

    /// The early dialog with this remote tag.
    pub fn get_mut(&mut self, remote_tag: &[u8]) -> Option<&mut Dialog> {
        let at = self.position(remote_tag)?;
        self.dialogs.get_mut(at)
    }

    /// How many are early still.
    pub fn len(&self) -> usize {
        self.dialogs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.dialogs.is_empty()
    }

    fn position(&self, remote_tag: &[u8]) -> Option<usize> {
        self.dialogs.iter().position(|dialog| dialog.id().remote_tag == remote_tag)
    }
}
