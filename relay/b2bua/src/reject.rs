//! Why a call was refused: return value, metric label, log field and record cause at once.

/// A refusal of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// No route of the tenant matches the called number.
    NoRoute,
    /// No tenant has this FQDN or number.
    UnknownTenant,
    /// The tenant's file does not hold, and never did.
    TenantInvalid,
    /// The tenant is suspended.
    TenantSuspended,
    /// Every trunk of the route is down or refused the call.
    TrunkDown,
    /// Too many calls on the host, the trunk or for the tenant.
    CallLimit,
    /// Too many new calls per second.
    RateLimit,
    /// The legs have no codec in common.
    NoCommonCodec,
    /// A fax by T.38 was asked for and nothing else, and a leg cannot have it.
    NoFax,
    /// SRTP is required and was not offered (TDR-MED-001).
    SrtpRequired,
    /// The session interval is below our minimum (RFC 4028, 6).
    SessionTooShort,
    /// Max-Forwards ran out.
    Loop,
    /// A bound of the host was hit.
    Overload,
    /// Every media port that the trunk may use is in use, or rests.
    NoMediaPort,
    /// The host takes no new calls.
    Draining,
    /// The fraud guard said no.
    FraudGuard,
    /// The call was diverted more often than any telephone network does (TDR-FWD-009).
    ForwardLoop,
    /// A block list of the host or of the tenant has the number called or calling.
    Blocked,
    /// The route shows numbers of the tenant alone, and the caller has none.
    CallerNotAllowed,
    /// The tenant's routing hook said no; it also says with which status.
    HookRejected,
    /// The tenant's routing hook has no answer, and nothing else may decide.
    HookFailed,
    /// The caller insists on a privacy that we cannot give (RFC 3323, 5).
    Privacy,
    /// Teams takes nothing but numbers, and what is called is none (TDR-OUT-001).
    NotANumber,
}

impl Reject {
    /// The one map from a reason to a SIP status (teams.md section 16, TDR-FO-011: 503 only where
    /// another SBC may do better).
    pub const fn status(self) -> u16 {
        match self {
            Self::NoRoute | Self::UnknownTenant => 404,
            Self::TenantSuspended
            | Self::FraudGuard
            | Self::Blocked
            | Self::CallerNotAllowed
            | Self::HookRejected => 403,
            Self::TrunkDown
            | Self::TenantInvalid
            | Self::CallLimit
            | Self::RateLimit
            | Self::Overload
            | Self::NoMediaPort
            | Self::HookFailed
            | Self::Draining => 503,
            Self::NoCommonCodec | Self::NoFax | Self::SrtpRequired => 488,
            Self::SessionTooShort => 422,
            Self::Loop => 483,
            Self::ForwardLoop => 482,
            Self::Privacy => 500,
            Self::NotANumber => 484,
        }
    }
    /// The reason phrase of the response (TDR-ERR-003).
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::NoRoute => "No Route For This Number",
            Self::UnknownTenant => "Unknown Trunk FQDN Or Number",
            Self::TenantInvalid => "Tenant Not Configured",
            Self::TenantSuspended => "Tenant Suspended",
            Self::TrunkDown => "No Trunk Available",
            Self::CallLimit => "Call Limit Reached",
            Self::RateLimit => "Call Rate Limit Reached",
            Self::NoCommonCodec => "No Common Codec",
            Self::NoFax => "No Fax Here",
            Self::SrtpRequired => "SRTP Required",
            Self::SessionTooShort => "Session Interval Too Small",
            Self::Loop => "Too Many Hops",
            Self::Overload => "Overloaded",
            Self::NoMediaPort => "No Media Port Free",
            Self::Draining => "Draining",
            Self::FraudGuard => "Fraud Guard",
            Self::ForwardLoop => "Diverted Too Often",
            Self::Blocked => "Number Blocked",
            Self::CallerNotAllowed => "Caller Number Not Allowed",
            Self::HookRejected => "Rejected By Policy",
            Self::HookFailed => "Policy Not Available",
            Self::Privacy => "Privacy Not Possible",
            Self::NotANumber => "Not A Number",
        }
    }

    /// The word for it in metrics, logs and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::UnknownTenant => "unknown_tenant",
            Self::TenantInvalid => "tenant_invalid",
            Self::TenantSuspended => "tenant_suspended",
            Self::TrunkDown => "trunk_down",
            Self::CallLimit => "call_limit",
            Self::RateLimit => "rate_limit",
            Self::NoCommonCodec => "no_common_codec",
            Self::NoFax => "no_fax",
            Self::SrtpRequired => "srtp_required",
            Self::SessionTooShort => "session_too_short",
            Self::Loop => "loop",
            Self::Overload => "overload",
            Self::NoMediaPort => "no_media_port",
            Self::Draining => "draining",
            Self::FraudGuard => "fraud_guard",
            Self::ForwardLoop => "forward_loop",
            Self::Blocked => "blocked",
            Self::CallerNotAllowed => "caller_not_allowed",
            Self::HookRejected => "hook_rejected",
            Self::HookFailed => "hook_failed",
            Self::Privacy => "privacy",
            Self::NotANumber => "not_a_number",
        }
    }
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TDR-FO-011
    #[test]
    fn only_where_another_sbc_may_do_better_is_microsoft_told_to_try_one() {
        use Reject::{
            Blocked, CallLimit, CallerNotAllowed, Draining, ForwardLoop, FraudGuard, HookRejected,
            Loop, NoCommonCodec, NoMediaPort, NoRoute, Overload, Privacy, RateLimit,
            SessionTooShort, SrtpRequired, TenantInvalid, TenantSuspended, TrunkDown,
            UnknownTenant,
        };
        for elsewhere in
            [TrunkDown, TenantInvalid, CallLimit, RateLimit, Overload, NoMediaPort, Draining]
        {
            assert_eq!(elsewhere.status(), 503, "{elsewhere}");
        }
        for here in [
            NoRoute,
            UnknownTenant,
            TenantSuspended,
            FraudGuard,
            Blocked,
            CallerNotAllowed,
            HookRejected,
            NoCommonCodec,
            SrtpRequired,
            SessionTooShort,
            Loop,
            ForwardLoop,
            Privacy,
        ] {
            // Microsoft fails over on 408, 503 and 504, unless an admin has said otherwise.
            assert!(![408, 503, 504].contains(&here.status()), "{here}");
        }
    }
}
