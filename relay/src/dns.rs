//! Names of trunks to addresses, refreshed off the call path: no call ever waits for DNS.

use hickory_resolver::TokioResolver;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Never keep an answer longer, whatever its TTL (TDR-DNS-003).
const REFRESH_MAX: Duration = Duration::from_secs(15 * 60);
/// Never ask more often, whatever the TTL.
const REFRESH_MIN: Duration = Duration::from_secs(30);
/// After a failure, while the last good addresses serve (TDR-DNS-004).
const RETRY: Duration = Duration::from_secs(15);

/// What a name resolves to now.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The name.
    pub(crate) name: String,
    /// Its addresses, IPv4 first.
    pub(crate) addresses: Vec<IpAddr>,
}

/// Keeps the names in `wanted` resolved and sends what changes to `found`. Ends when either side
/// is gone.
pub(crate) async fn keep_resolved(
    mut wanted: watch::Receiver<Vec<String>>,
    found: mpsc::Sender<Resolved>,
) {
    // On a host that is just coming up, resolv.conf may be written later than we start.
    let resolver = loop {
        match TokioResolver::builder(TokioRuntimeProvider::default())
            .and_then(hickory_resolver::ResolverBuilder::build)
        {
            Ok(resolver) => break resolver,
            Err(error) => {
                tracing::warn!(%error, "no DNS: names outside [resolve] have no address");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = found.closed() => return,
        }
    };
    let mut failing: BTreeSet<String> = BTreeSet::new();
    loop {
        let names = wanted.borrow_and_update().clone();
        let mut wait = REFRESH_MAX;
        for name in names {
            match resolver.lookup_ip(format!("{name}.")).await {
                Ok(answer) => {
                    let mut addresses: Vec<IpAddr> = answer.iter().collect();
                    addresses.sort_by_key(IpAddr::is_ipv6);
                    let left =
                        answer.valid_until().saturating_duration_since(crate::clock::now().mono);
                    wait = wait.min(left.max(REFRESH_MIN));
                    if failing.remove(&name) {
                        tracing::info!(name, "name resolves again");
                    }
                    if found.send(Resolved { name, addresses }).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    wait = wait.min(RETRY);
                    if failing.insert(name.clone()) {
                        tracing::warn!(name, %error, "name does not resolve; the last good addresses stay");
                    }
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}
