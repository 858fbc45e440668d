//! How Microsoft says no: status, Q.850 cause, phrase and sub-code (fixture F-11).

/// One of Microsoft's refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status.
    pub status: u16,
    /// The cause in its Reason.
    pub cause: u16,
    /// Microsoft's own number for it, as the admin centre shows it; 0 where there is none.
    pub sub_code: u32,
    /// Its words.
    pub phrase: &'static str,
}

impl Failure {
    const fn new(status: u16, cause: u16, sub_code: u32, phrase: &'static str) -> Self {
        Self { status, cause, sub_code, phrase }
    }

    /// The usual one of a status.
    pub fn of_status(status: u16) -> Option<&'static Self> {
        FAILURES.iter().find(|failure| failure.status == status)
    }

    /// The one with this sub-code.
    pub fn of_sub_code(sub_code: u32) -> Option<&'static Self> {
        FAILURES.iter().find(|failure| failure.sub_code == sub_code && sub_code != 0)
    }

    pub(crate) fn find(status: u16, sub_code: u32) -> Option<&'static Self> {
        FAILURES.iter().find(|it| (it.status, it.sub_code) == (status, sub_code))
    }

    /// The value of its Reason header: support is told the GUID.
    pub(crate) fn reason(&self, guid: &str) -> String {
        reason(self.cause, guid, self.phrase, self.sub_code)
    }
}

/// The value of a Reason header as Microsoft writes it.
pub(crate) fn reason(cause: u16, guid: &str, phrase: &str, sub_code: u32) -> String {
    match sub_code {
        0 => format!("Q.850;cause={cause};text=\"{guid};{phrase}\""),
        code => format!("Q.850;cause={cause};text=\"{guid};{phrase} ({code})\""),
    }
}

/// What Microsoft refuses calls with; the first of a status is the usual one.
pub const FAILURES: &[Failure] = &[
    Failure::new(400, 63, 540_400, "Bad request"),
    Failure::new(403, 63, 510_532, "No trunk config was found"),
    Failure::new(403, 21, 510_534, "Calling number is blocked"),
    Failure::new(403, 63, 510_546, "No trunk is allowed by location based routing"),
    Failure::new(403, 63, 10_199, "Private calling is disabled for the user"),
    Failure::new(404, 1, 511_404, "Number was not found in the tenant"),
    Failure::new(404, 1, 10_202, "Replacement call was not found"),
    Failure::new(408, 102, 1106, "Acknowledgement was not received"),
    Failure::new(408, 102, 500_001, "Gateway did not respond within the failover time"),
    Failure::new(410, 102, 531_004, "IceConnectivityChecksFailed"),
    Failure::new(410, 63, 531_000, "Media description could not be parsed"),
    Failure::new(410, 102, 531_005, "Media connectivity failure"),
    Failure::new(415, 79, 540_415, "Unsupported media type"),
    Failure::new(420, 63, 560_420, "Bad extension"),
    Failure::new(422, 63, 540_422, "Session Interval Too Small"),
    Failure::new(480, 31, 10_037, "No callee endpoints were found"),
    Failure::new(480, 31, 10_191, "Routing to voicemail is disabled by policy"),
    Failure::new(484, 28, 560_484, "Address is incomplete"),
    Failure::new(486, 34, 10_321, "Callee is busy"),
    Failure::new(487, 0, 540_200, "Call completed elsewhere"),
    Failure::new(488, 88, 531_000, "CannotSupportAnyMedia"),
    Failure::new(488, 88, 531_027, "No ICE candidates were found"),
    Failure::new(488, 88, 531_052, "Cannot negotiate a new modality with blackhole media"),
    Failure::new(500, 63, 510_482, "Loop was detected"),
    Failure::new(503, 41, 540_998, "Service state: DrainingTransactions"),
    Failure::new(503, 63, 10_320, "Service state: Inactive"),
    Failure::new(504, 38, 569_002, "Gateway could not be reached"),
    Failure::new(603, 21, 560_603, "Callee declined"),
];
