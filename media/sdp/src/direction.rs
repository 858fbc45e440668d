//! Which way media may go.

/// The direction attribute, seen from whoever holds it (RFC 3264, 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// The holder sends only.
    SendOnly,
    /// The holder receives only.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// The same stream seen from the other end.
    pub const fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            both => both,
        }
    }
    /// What is left of this where the other end allows no more than `limit` (RFC 3264, 6.1); both
    /// are seen from the same end.
    pub const fn within(self, limit: Self) -> Self {
        match (self.sends() && limit.sends(), self.receives() && limit.receives()) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }
    /// Whether the holder may send.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }
    /// Whether the holder may receive.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}
