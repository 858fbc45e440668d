//! Who we are on a leg: the host in Via, Contact and From.
//!
//! Towards Teams the host is an FQDN, the tenant's for its calls and the node's for OPTIONS
//! (TDR-OUT-002, TDR-MT-003); Microsoft refuses an address there. Towards a carrier it is the
//! listener's advertised address.

use crate::plan::{Plan, Tenant, TransferPolicy, Transport, TrunkKind};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;

/// The methods we take on a trunk of this kind (RFC 3261, 20.5). NOTIFY must be named towards Teams
/// (TDR-OUT-012), which takes no UPDATE itself (TDR-DLG-001).
pub(crate) const fn allow(kind: TrunkKind) -> &'static str {
    match kind {
        TrunkKind::Teams => "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY",
        TrunkKind::Carrier => "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, UPDATE, PRACK, INFO",
    }
}

/// Named beside them only where it is taken (TDR-XFR-001).
pub(crate) const REFER: &str = "REFER";

/// The extensions that a peer may make use of (TDR-XFR-002).
pub(crate) const EXTENSIONS: &str = "replaces";

/// What we call ourselves in User-Agent and Server.
pub(crate) const PRODUCT: &str = concat!("Tollgate/", env!("CARGO_PKG_VERSION"));

/// Our name on one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    host: Arc<str>,
    port: u16,
    transport: Transport,
    kind: TrunkKind,
    transfer: TransferPolicy,
    /// The name of ours that Microsoft reaches an SBC behind us by, where `host` is that SBC's
    /// (TDR-LMO-004).
    proxy: Option<Arc<str>>,
}

impl Identity {
    /// Our name on `trunk`, for the tenant FQDN `fqdn` where the trunk leads to Teams.
    pub(crate) fn new(plan: &Plan, trunk: usize, fqdn: Option<&str>) -> Self {
        let of = plan.trunks.get(trunk);
        let listener = of.and_then(|trunk| plan.listeners.get(trunk.listener));
        let advertise = listener.map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |l| l.advertise);
        let transport = listener.map_or(Transport::Tls, |l| l.transport);
        let kind = of.map_or(TrunkKind::Carrier, |trunk| trunk.kind);
        let host: Arc<str> = match kind {
            TrunkKind::Teams => fqdn.unwrap_or(plan.base_of(trunk)).into(),
            TrunkKind::Carrier => uri_host(advertise).into(),
        };
        let tenant = |fqdn: &str| plan.tenant_under(fqdn);
        let transfer = match (kind, fqdn) {
            (TrunkKind::Teams, Some(fqdn)) => tenant(fqdn).map(|tenant| tenant.transfer),
            // Under the node's own name we say what some tenant may do (TDR-OPT-006).
            (TrunkKind::Teams, None) => {
                let refer = |tenant: &Tenant| tenant.transfer == TransferPolicy::Refer;
                plan.tenants.iter().any(refer).then_some(TransferPolicy::Refer)
            }
            (TrunkKind::Carrier, _) => of.map(|trunk| trunk.transfer),
        };
        let transfer = transfer.unwrap_or_default();
        let proxy = fqdn.and_then(tenant).filter(|tenant| {
            kind == TrunkKind::Teams && crate::lmo::behind(tenant, &host).is_some()
        });
        let proxy =
            proxy.map(|it| it.own_fqdns().next().unwrap_or(&plan.node.fqdn).as_str().into());
        Self { host, port: advertise.port(), transport, kind, transfer, proxy }
    }

    /// A name for tests.
    #[cfg(test)]
    pub(crate) fn named(host: &str, port: u16) -> Self {
        let (transport, kind) = (Transport::Tls, TrunkKind::Teams);
        let transfer = TransferPolicy::None;
        Self { host: host.into(), port, transport, kind, transfer, proxy: None }
    }

    /// The name that the certificate on our connections there has to cover: Teams compares it with our
    /// Contact (TDR-CON-005).
    pub(crate) fn certified(&self) -> Option<&Arc<str>> {
        let host = self.proxy.as_ref().unwrap_or(&self.host);
        (self.kind == TrunkKind::Teams).then_some(host)
    }

    /// `host:port`.
    pub(crate) fn sent_by(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A top Via. `rport` asks a UDP peer to answer where we sent from (RFC 3581, 3).
    pub(crate) fn via(&self, branch: &str) -> Bytes {
        let rport = if self.transport.reliable() { "" } else { ";rport" };
        let transport = self.transport.via();
        let host = self.proxy.as_ref().unwrap_or(&self.host);
        format!("SIP/2.0/{transport} {host}:{};branch={branch}{rport}", self.port).into()
    }

    /// Our Contact: no user part and no `@` where `user` is empty (TDR-OPT-003).
    pub(crate) fn contact(&self, user: &str) -> Bytes {
        let at = if user.is_empty() { "" } else { "@" };
        format!("<sip:{user}{at}{};transport={}>", self.sent_by(), self.transport.param()).into()
    }

    /// How requests of the dialog come by us to the SBC that we speak for (TDR-LMO-004).
    pub(crate) fn record_route(&self) -> Option<Bytes> {
        let proxy = self.proxy.as_ref()?;
        let transport = self.transport.param();
        Some(format!("<sip:{proxy}:{};transport={transport};lr>", self.port).into())
    }

    /// The methods we take there.
    pub(crate) fn allow(&self) -> Bytes {
        let without = allow(self.kind);
        match self.transfer {
            TransferPolicy::None => Bytes::from_static(without.as_bytes()),
            TransferPolicy::Refer => format!("{without}, {REFER}").into(),
        }
    }

    /// Whether REFER is taken there.
    pub(crate) fn takes_refer(&self) -> bool {
        self.transfer == TransferPolicy::Refer
    }

    /// The host alone, for From and To.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

/// An address as a URI host: IPv6 in brackets.
pub(crate) fn uri_host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
