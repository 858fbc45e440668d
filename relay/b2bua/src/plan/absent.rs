//! Tenants that are configured and not there: their files do not hold, and never did. Their calls get
//! another answer than those of strangers.

use super::{Fqdns, NumberIndex};

/// Whose calls are refused with `tenant_invalid`.
#[derive(Clone, Debug, Default)]
pub struct Absent {
    /// Their names.
    pub tenants: Vec<String>,
    /// Their FQDNs, as far as they can be read, to the place of the name.
    pub fqdns: Fqdns,
    /// Their numbers, likewise.
    pub numbers: NumberIndex,
    /// Somebody's FQDNs cannot be read: one that is nobody's may be theirs.
    pub fqdns_unknown: bool,
    /// Somebody's numbers cannot be read.
    pub numbers_unknown: bool,
}

impl Absent {
    /// Why a call to this FQDN (in lower case), which no tenant in force has, may still be a tenant's.
    pub fn fqdn(&self, fqdn: &str) -> Option<String> {
        self.why(self.fqdns.get(fqdn), self.fqdns_unknown)
    }

    /// The same for a number.
    pub fn number(&self, number: &str) -> Option<String> {
        self.why(self.numbers.tenant(number), self.numbers_unknown)
    }

    fn why(&self, tenant: Option<usize>, unknown: bool) -> Option<String> {
        match tenant.and_then(|tenant| self.tenants.get(tenant)) {
            Some(name) => Some(format!("the file of tenant {name} does not hold")),
            None => unknown.then(|| "it may be a tenant's whose file does not hold".to_owned()),
        }
    }
}
