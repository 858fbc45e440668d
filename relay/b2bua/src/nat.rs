//! Far sides behind NAT: what they write about themselves leads nowhere, so answers and requests go
//! where they were heard from.

use crate::plan::Plan;
use std::net::IpAddr;

/// Whether the trunk is said to be behind NAT: `symmetric_rtp` says it of its media, and a NAT that
/// rewrites one rewrites the other.
pub(crate) fn is_configured(plan: &Plan, trunk: &str) -> bool {
    let trunk = plan.trunk(trunk);
    trunk.is_some_and(|trunk| trunk.is_symmetric())
}

/// Whether an address that a far side writes of itself, beside the one it sends from, shows a NAT in
/// between: it is one that means something only behind it.
pub(crate) fn shows(written: IpAddr, source: IpAddr) -> bool {
    let (written, source) = (written.to_canonical(), source.to_canonical());
    written != source && is_local(written)
}

/// An address that other networks have too, or nobody.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            // RFC 6598: between a subscriber and a carrier's NAT.
            let shared = matches!(address.octets(), [100, 64..=127, ..]);
            shared
                || address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
        }
        IpAddr::V6(address) => {
            address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_loopback()
                || address.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nat_shows_where_a_local_address_is_written_and_another_is_sent_from() {
        for (written, source, nat) in [
            ("10.0.0.7", "192.0.2.1", true),
            ("172.31.255.1", "192.0.2.1", true),
            ("100.64.3.4", "192.0.2.1", true),
            ("fd00::7", "2001:db8::1", true),
            ("192.168.1.5", "10.8.0.1", true),
            ("10.0.0.7", "10.0.0.7", false),
            ("::ffff:10.0.0.7", "10.0.0.7", false),
            ("192.0.2.7", "192.0.2.1", false),
            ("100.128.0.1", "192.0.2.1", false),
            ("2001:db8::7", "2001:db8::1", false),
        ] {
            let [written, source] = [written, source].map(|it| it.parse().unwrap());
            assert_eq!(shows(written, source), nat, "{written} from {source}");
        }
    }
}
