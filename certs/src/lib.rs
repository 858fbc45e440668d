//! Certificates, trust roots and peer checks, found by FQDN.
#![forbid(unsafe_code)]
