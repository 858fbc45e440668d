//! What a trunk may be told, and what is believed of what it says: the trunk's keys `identity`,
//! `privacy_id`, `forwarding` and `geolocation`.

/// How headers cross to and from one trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderPolicy {
    /// Whether it is inside the circle that asserts identities to one another (RFC 3325, 2.1).
    pub identity: Trust,
    /// What `Privacy: id` from it means.
    pub privacy_id: PrivacyId,
    /// How it is told who diverted a call. Teams is always told by History-Info (TDR-FWD-005).
    pub forwarding: Forwarding,
    /// Whether it is told where the caller is. Teams never is (TDR-EMG-007).
    pub geolocation: Geolocation,
    /// What it is told in Reason of why a call fails or ends.
    pub reason: ReasonPolicy,
    /// Whom P-Asserted-Identity names where a call was diverted.
    pub diverted: DivertedIdentity,
}

/// Whether a trunk's assertions are believed, and whether it is told identities the caller
/// withholds from the public (TDR-PRI-003).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Yes: who may send on a trunk is told by its addresses or certificate.
    #[default]
    Trusted,
    /// No.
    Untrusted,
}

/// What `Privacy: id` means: Microsoft sends it with every asserted identity (TDR-PRI-002).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrivacyId {
    /// What it says.
    #[default]
    Honour,
    /// What it says, if From is anonymous too; otherwise nothing.
    IfAnonymous,
    /// Nothing.
    Strip,
}

/// What a carrier is told in Reason (TDR-ERR-002): its key `reason`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReasonPolicy {
    /// The Q.850 cause that goes with the status: Microsoft says 34 of a busy user.
    #[default]
    Derive,
    /// The cause that the far side has given.
    Pass,
    /// Nothing.
    Drop,
}

/// Whom P-Asserted-Identity names in a call that was diverted (TDR-FWD-004): the key
/// `identity_diverted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DivertedIdentity {
    /// Who calls, as ever.
    #[default]
    Caller,
    /// Who diverted it last, for carriers that want a number that they have given out.
    Diverter,
}

/// How a carrier is told who diverted a call (RFC 5806, 7044, 7544).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarding {
    /// By Diversion: what most carriers read, and others pass over.
    #[default]
    Diversion,
    /// By History-Info.
    HistoryInfo,
    /// By both.
    Both,
    /// Not at all.
    None,
}

/// Whether a carrier is told where the caller is (RFC 6442; TDR-EMG-004).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Geolocation {
    /// For emergency calls: it is nobody else's business.
    #[default]
    Emergency,
    /// Always, if the caller's side says it.
    Pass,
    /// Never.
    Strip,
}

impl Forwarding {
    pub(super) const fn diversion(self) -> bool {
        matches!(self, Self::Diversion | Self::Both)
    }

    pub(super) const fn history_info(self) -> bool {
        matches!(self, Self::HistoryInfo | Self::Both)
    }
}
