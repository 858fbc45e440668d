//! What Microsoft's documents and public traces leave open, or let an administrator choose.

use std::time::Duration;

/// The proxy whose OPTIONS a trunk sees where nothing else is said (fixture F-02).
pub(crate) const PROXY: &str = "sip-du-a-eu.pstnhub.microsoft.com";

/// How the Teams side is set up, and how it writes.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Each call is written another way among those that are left open: port and name in From,
    /// Record-Route, region in Contact, `a=rtcp` (fixture F-03).
    pub varied: bool,
    /// `ForwardPai`: P-Asserted-Identity and Privacy (TDR-PRI-001).
    pub forward_pai: bool,
    /// `ForwardCallHistory`: History-Info and Referred-By on calls that were forwarded (TDR-FWD-001).
    pub forward_history: bool,
    /// The names of the proxies that send OPTIONS, each at a pace of its own (TDR-OPT-021).
    pub regions: Vec<String>,
    /// A session interval below this is refused with 422 (TDR-DLG-032).
    pub min_se_s: u32,
    /// `FailoverTimeSeconds`: a border controller that has said nothing by then but 100 loses the
    /// call to the next trunk (TDR-FO-012).
    pub patience: Option<Duration>,
    /// Pause between re-INVITEs that change nothing (TDR-DLG-013).
    pub refresh_every: Option<Duration>,
    /// Headers of its INVITEs, re-INVITEs and answers to INVITE beyond the usual: those of Local
    /// Media Optimization (TDR-LMO-001).
    pub headers: Vec<(String, String)>,
}

impl Default for Manner {
    /// Nothing special, and no haste.
    fn default() -> Self {
        Self {
            varied: false,
            forward_pai: false,
            forward_history: false,
            regions: vec![PROXY.to_owned()],
            min_se_s: 90,
            patience: None,
            refresh_every: None,
            headers: Vec::new(),
        }
    }
}

impl Manner {
    /// The headers of Local Media Optimization (fixture F-07): where the user is, by which border
    /// controllers media goes, and the user's site.
    pub fn media_optimized(internal: bool, path: &str, site: &str) -> Vec<(String, String)> {
        let location = if internal { "internal" } else { "external" };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            header("X-MS-UserLocation", location),
            header("X-MS-MediaPath", path),
            header("X-MS-UserSite", site),
        ]
    }
}

/// How one call is written: the choices that [`Manner::varied`] makes anew each time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    chance: u32,
}

impl Style {
    /// Of this call, by this number; the usual one unless calls vary.
    pub(crate) const fn new(varied: bool, chance: u32) -> Self {
        Self { chance: if varied { chance } else { 0 } }
    }

    const fn bit(self, number: u32) -> bool {
        self.chance >> number & 1 == 1
    }

    /// `:5061` in From, unless it varies away.
    pub(crate) const fn port_in_from(self) -> &'static str {
        if self.bit(0) { "" } else { ":5061" }
    }

    pub(crate) const fn display_name(self) -> &'static str {
        if self.bit(1) { "\"Alice Example\" " } else { "" }
    }

    pub(crate) const fn record_route(self) -> bool {
        self.bit(2)
    }

    /// `a=rtcp` names the next port, though RTCP is multiplexed.
    pub(crate) const fn rtcp_next(self) -> bool {
        self.bit(3)
    }

    /// Region and the middle of the odd parameter `x-c` (TDR-IN-006).
    pub(crate) const fn contact(self) -> (&'static str, &'static str) {
        match self.chance >> 4 & 3 {
            0 => ("euwe", "d/8"),
            1 => ("usea", "s/1"),
            2 => ("asse", "d/12"),
            _ => ("uswe2", "s/3"),
        }
    }
}
